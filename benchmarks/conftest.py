"""Fixtures of the benchmarks: the message stream, and a folder for what they write."""

import pytest

from benchmarks import streams


@pytest.fixture(scope="session")
def stream() -> streams.Stream:
    return streams.make_stream()
