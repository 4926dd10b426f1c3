"""Instruments of a capture whose symbols no profile knows: tick and lot from the digits the exchange wrote."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exchange.errors import FeedError
from replay.feeds import binance_messages as messages
from replay.feeds.files import CaptureFile
from replay.tape import InstrumentSpec

MARK_PER_TICK = 100


class _Symbol:
    """Texts of one block and the most decimals seen so far, of prices and of sizes."""

    def __init__(self) -> None:
        self.lists: list[Any] = []
        self.prices: list[str] = []
        self.sizes: list[str] = []
        self.most = np.zeros(2, np.int64)

    def take(self) -> None:
        from replay.feeds.text_kernels import significant_decimals

        significant_decimals(np.frombuffer(b"".join(self.lists), np.uint8), self.most, True)
        for part, texts in enumerate((self.prices, self.sizes)):
            significant_decimals(np.frombuffer(",".join(texts).encode(), np.uint8), self.most[part:], False)
            texts.clear()
        self.lists.clear()


def infer(paths: Sequence[Path], known: Sequence[InstrumentSpec] = ()) -> list[InstrumentSpec]:
    """Instruments of all symbols in the files, by name; `known` ones are taken as they are.

    A tick (lot) is one unit of the last decimal that any price (size) of the symbol uses: never too coarse for these
    files, maybe finer than the exchange's own where it counts in fives. A COIN-M symbol (BTCUSD_PERP) is inverse.
    """
    given = {spec.symbol: spec for spec in known}
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
    return [
        given.get(name)
        or InstrumentSpec(
            name, _step(symbol.most[0]), _step(symbol.most[1]), MARK_PER_TICK, "inverse" if "USD_" in name else "linear"
        )
        for name, symbol in sorted(symbols.items())
    ]


def _collect(message: Any, symbols: dict[str, _Symbol], unnamed: _Symbol) -> None:
    if isinstance(message, messages.Snapshot):
        (symbols[message.symbol] if message.symbol else unnamed).lists += (message.bids, message.asks)
    elif isinstance(message, messages.DepthUpdate):
        symbols[message.s].lists += (message.b, message.a)
    elif isinstance(message, messages.BookTicker | messages.SpotBookTicker):
        symbol = symbols[message.s]
        symbol.prices += (message.b, message.a)
        symbol.sizes += (message.B, message.A)
    elif isinstance(message, messages.Trade | messages.AggTrade):
        symbol = symbols[message.s]
        symbol.prices.append(message.p)
        symbol.sizes.append(message.q)


def _step(decimals: int) -> str:
    return "0." + "0" * (int(decimals) - 1) + "1" if decimals else "1"
