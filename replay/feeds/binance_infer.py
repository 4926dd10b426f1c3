"""What a capture holds: its symbols, the market each belongs to, and steps from the digits the exchange wrote."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from exchange.errors import FeedError
from replay.feeds import binance_messages as messages
from replay.feeds.files import CaptureFile, head
from replay.tape import InstrumentSpec, Kind

MARK_PER_TICK = 100
HEAD_BYTES = 1 << 20  # a snapshot of 5,000 levels a side is 0.3 MB


class _Symbol:
    """Texts of one block and the most decimals seen so far, of prices and of sizes."""

    def __init__(self) -> None:
        self.lists: list[Any] = []
        self.prices: list[str] = []
        self.sizes: list[str] = []
        self.spot = False
        self.most = np.zeros(2, np.int64)

    def take(self) -> None:
        from replay.feeds.text_kernels import significant_decimals

        significant_decimals(np.frombuffer(b"".join(self.lists), np.uint8), self.most, True)
        for part, texts in enumerate((self.prices, self.sizes)):
            significant_decimals(np.frombuffer(",".join(texts).encode(), np.uint8), self.most[part:], False)
            texts.clear()
        self.lists.clear()


def infer(paths: Sequence[Path], known: Sequence[InstrumentSpec] = ()) -> list[InstrumentSpec]:
    """Instruments of all symbols in the files, by name; `known` ones of the same market are taken as they are.

    A tick (lot) is one unit of the last decimal that any price (size) of the symbol uses: never too coarse for these
    files, maybe finer than the exchange's own where it counts in fives.
    """
    given = {(spec.symbol, spec.kind): spec for spec in known}
    symbols: defaultdict[str, _Symbol] = defaultdict(_Symbol)
    unnamed = _Symbol()
    for path in paths:
        file = CaptureFile(path)
        decoder = messages.Decoder()
        for lines in file.blocks():
            for row, line in enumerate(lines, file.row + 1):
                if not line.strip():
                    continue
                try:
                    message = decoder.decode(line.partition(b" ")[2])
                except messages.BAD_JSON as error:
                    raise FeedError(f"{file.name}:{row}", f"malformed JSON message: {error}") from None
                _collect(message, symbols, unnamed)
            for symbol in (*symbols.values(), unnamed):
                symbol.take()
    if len(symbols) == 1:
        only = next(iter(symbols.values()))
        only.most = np.maximum(only.most, unnamed.most)
    found = []
    for name, symbol in sorted(symbols.items()):
        kind = _kind(name, symbol.spot)
        tick, lot = _step(symbol.most[0]), _step(symbol.most[1])
        found.append(given.get((name, kind)) or InstrumentSpec(name, tick, lot, MARK_PER_TICK, kind))
    return found


def contracts(path: Path) -> list[tuple[str, str]]:
    """Symbol and kind of the markets that the beginning of a capture names. Bad lines are left to the reader."""
    symbols: defaultdict[str, _Symbol] = defaultdict(_Symbol)
    decoder = messages.Decoder()
    for line in head(path, HEAD_BYTES).split(b"\n")[:-1]:
        with suppress(*messages.BAD_JSON):
            _collect(decoder.decode(line.partition(b" ")[2]), symbols, _Symbol())
    return [(name, _kind(name, symbol.spot)) for name, symbol in symbols.items()]


def _kind(symbol: str, spot: bool) -> Kind:
    """COIN-M symbols (BTCUSD_PERP) are inverse."""
    return "spot" if spot else "inverse" if "USD_" in symbol else "linear"


def _collect(message: Any, symbols: dict[str, _Symbol], unnamed: _Symbol) -> None:
    if isinstance(message, messages.Snapshot):
        (symbols[message.symbol] if message.symbol else unnamed).lists += (message.bids, message.asks)
    elif isinstance(message, messages.DepthUpdate):
        symbol = symbols[message.s]
        symbol.lists += (message.b, message.a)
        symbol.spot |= message.pu is None  # only futures carry the chain in the message
    elif isinstance(message, messages.BookTicker | messages.SpotBookTicker):
        symbol = symbols[message.s]
        symbol.prices += (message.b, message.a)
        symbol.sizes += (message.B, message.A)
        symbol.spot |= isinstance(message, messages.SpotBookTicker)
    elif isinstance(message, messages.Trade | messages.AggTrade):
        symbol = symbols[message.s]
        symbol.prices.append(message.p)
        symbol.sizes.append(message.q)


def _step(decimals: int) -> str:
    return "0." + "0" * (int(decimals) - 1) + "1" if decimals else "1"
