"""Fixtures: the shared data, which is not part of the project."""

import gzip
import json
import os
from pathlib import Path

import pytest
from binance_lines import START
from hypothesis import settings

# The same examples on every run; `pytest --hypothesis-profile=default` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

SHARED = Path(os.environ.get("DELEVERAGE_SHARED") or Path(__file__).parents[1] / ".." / "shared")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recorded data. Without it a test skips, or fails where DELEVERAGE_REQUIRE_SHARED=1 asks for it."""
    folder = SHARED / "data"
    if not folder.is_dir():
        message = f"recorded data is not there: {folder} (set DELEVERAGE_SHARED to its parent)"
        if os.environ.get("DELEVERAGE_REQUIRE_SHARED") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def binance_captures(shared_data: Path) -> Path:
    """The folder of raw Binance captures."""
    return shared_data / "binance_ws"


@pytest.fixture
def capture(tmp_path):
    """Write messages (objects or ready text) as a capture, one microsecond apart, and give its path."""

    def write(*messages, name="one.dat", stamps=None):
        lines = []
        for k, message in enumerate(messages):
            stamp = stamps[k] if stamps else START + k
            lines.append(f"{stamp} {message if isinstance(message, str) else json.dumps(message)}\n")
        path = tmp_path / name
        path.write_bytes(gzip.compress("".join(lines).encode()) if name.endswith("gz") else "".join(lines).encode())
        return path

    return write
