"""Fixtures of the benchmarks."""

from contextlib import suppress

with suppress(ImportError):  # first of all: after the kernels, its C++ runtime finds no thread-local memory left
    import lrvx  # noqa: F401

import pytest

from benchmarks import streams


@pytest.fixture(scope="session")
def stream() -> streams.Stream:
    return streams.make_stream()
