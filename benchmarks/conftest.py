"""Fixtures of the benchmarks."""

import pytest

from benchmarks import streams


@pytest.fixture(scope="session")
def stream() -> streams.Stream:
    return streams.make_stream()
