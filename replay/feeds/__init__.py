"""Readers of recorded feeds.

A feed is a module with NAME, `matches(head)`, `contracts`, `infer`, `read_capture` and `read_with_oracle`. To add one,
write the module and name it in `FEEDS`.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from exchange.errors import FeedError

if TYPE_CHECKING:
    from replay.feeds.binance_ws import Capture
    from replay.tape import InstrumentSpec, Tape

FEEDS = {"binance_ws": "replay.feeds.binance_ws"}


def _feed(kind: str) -> ModuleType:
    if kind not in FEEDS:
        raise FeedError(kind, f"no such feed; known are {', '.join(sorted(FEEDS))}")
    return importlib.import_module(FEEDS[kind])


def detect(path: Path) -> str:
    """The kind of feed a file holds, from the beginning of its text."""
    from replay.feeds.files import head

    text = head(path)
    for kind in FEEDS:
        if _feed(kind).matches(text):
            return kind
    raise FeedError(Path(path).name, f"not a feed this version reads; known are {', '.join(sorted(FEEDS))}")


def _kind_of(paths: Sequence[Path]) -> str:
    if not paths:
        raise FeedError("feed", "no file given")
    kinds = {path: detect(path) for path in paths}
    if len(set(kinds.values())) > 1:
        raise FeedError("feed", f"files of different feeds: {', '.join(f'{p.name} {k}' for p, k in kinds.items())}")
    return kinds[paths[0]]


def contracts(path: Path) -> list[tuple[str, str]]:
    """(symbol, kind) of the markets that the beginning of a file names."""
    return _feed(detect(path)).contracts(path)


def infer(paths: Sequence[Path], known: Sequence[InstrumentSpec] = (), kind: str | None = None) -> list[InstrumentSpec]:
    """The instruments the files hold: as known where the symbol is known, else with steps read off the numbers."""
    return _feed(kind or _kind_of(paths)).infer(paths, known)


def read(paths: Sequence[Path], instruments: Sequence[InstrumentSpec], kind: str | None = None) -> Tape:
    """Read the files of one continuous session, in time order, into a tape."""
    return _feed(kind or _kind_of(paths)).read_capture(paths, instruments)


def read_with_oracle(paths: Sequence[Path], instruments: Sequence[InstrumentSpec], kind: str | None = None) -> Capture:
    """Like `read`, with the best quotes recorded beside the book."""
    return _feed(kind or _kind_of(paths)).read_with_oracle(paths, instruments)


_WARM_CAPTURE = """\
1680652700000000 {"lastUpdateId":1,"E":1680652700000,"T":1680652700000,"bids":[["10.0","1.000"]],\
"asks":[["10.2","3.000"]]}
1680652700000001 {"stream":"x@depth","data":{"e":"depthUpdate","E":1680652700001,"T":1680652700001,"s":"X","U":1,\
"u":2,"pu":0,"b":[["9.9","1.000"]],"a":[]}}
1680652700000002 {"stream":"x@trade","data":{"e":"trade","E":1680652700001,"T":1680652700001,"s":"X","t":1,"p":"10.0",\
"q":"0.005","X":"MARKET","m":true}}
"""


def compile_readers() -> None:
    """Compile the readers' text kernels into the cache, by reading a three-line capture."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "warm"
        path.write_text(_WARM_CAPTURE, encoding="utf-8")
        read([path], infer([path]))
