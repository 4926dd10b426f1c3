"""A price history cut into windows: what a position could have lost while it was being liquidated."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from exchange import codes, units
from exchange.config import Instrument
from exchange.errors import ConfigError, FeedError
from replay.klines import read_klines
from replay.source import read_files, tapes_among
from replay.tape import Tape, spec_of

KLINE_SUFFIXES = (".csv", ".zip")
SOURCES = ((codes.MARK, "recorded marks"), (codes.INDEX, "recorded indices"), (codes.TRADE_PRINT, "recorded trades"))


class History(msgspec.Struct, frozen=True):
    """Prices in sub-ticks by bar, or by print with all three the same, in order of the time at which each ends."""

    source: str
    end_ns: np.ndarray
    low_sub: np.ndarray
    high_sub: np.ndarray
    close_sub: np.ndarray


class Windows(msgspec.Struct, frozen=True):
    """Windows of one length that follow each other: the price each starts at, and how far it went until its end."""

    start_ns: np.ndarray
    start_sub: np.ndarray
    low_sub: np.ndarray
    high_sub: np.ndarray
    end_sub: np.ndarray
    empty: int  # windows without a price, left out


def read_history(paths: Sequence[Path], instrument: Instrument) -> History:
    """Klines (CSV or zip), a tape or captures: marks where they were recorded, else indices, else trades.

    Raises
    ------
    FeedError
        When a file cannot be read, or has no price of the instrument.
    """
    if all(path.suffix.lower() in KLINE_SUFFIXES for path in paths):
        step = units.decimal(instrument.tick) / instrument.mark_per_tick
        bars = read_klines(paths).bars(step)
        return History(f"klines {', '.join(bars.names)}", bars.end_ns, bars.low_sub, bars.high_sub, bars.close_sub)
    tapes_among(paths)
    return _of_tape(read_files(paths, (spec_of(instrument),)), instrument, ", ".join(path.name for path in paths))


def _of_tape(tape: Tape, instrument: Instrument, names: str) -> History:
    symbols = [spec.symbol for spec in tape.instruments]
    if instrument.symbol not in symbols:
        raise FeedError(names, f"has {', '.join(symbols)}; expected {instrument.symbol}: name another --symbol")
    rows = tape.rows[tape.rows["instrument"] == symbols.index(instrument.symbol)]
    for kind, words in SOURCES:
        own = rows[(rows["kind"] == kind) & (rows["flags"] & codes.EVIDENCE == 0) & (rows["price"] > 0)]
        if len(own):
            price = own["price"] * (instrument.mark_per_tick if kind == codes.TRADE_PRINT else 1)
            return History(f"{words} of {names}", own["ts_ns"], price, price, price)
    raise FeedError(names, f"has no mark, index or trade of {instrument.symbol}")


def cut(history: History, horizon_ns: int) -> Windows:
    """Windows of `horizon_ns` from the end of the first bar on; what is left at the end makes none.

    Raises
    ------
    ConfigError
        When a window would be shorter than a bar, or there are fewer than two.
    """
    end_ns, close = history.end_ns, history.close_sub
    shortest = int(np.diff(end_ns).min()) if len(end_ns) > 1 else 0
    if horizon_ns < max(1, shortest):
        raise ConfigError("--horizon", f"{horizon_ns / 1e9:g} s is shorter than a bar, {shortest / 1e9:g} s")
    first = int(end_ns[0])
    count = (int(end_ns[-1]) - first) // horizon_ns
    if count < 2:
        raise ConfigError(
            "--horizon",
            f"the history holds {count} windows of {horizon_ns / 1e9:g} s; expected two or more: give a longer history",
        )
    place = (end_ns - first - 1) // horizon_ns  # a bar belongs to the window in which it ends; the first starts it all
    inside = np.flatnonzero((place >= 0) & (place < count))
    held, begins = np.unique(place[inside], return_index=True)
    begins = inside[begins]
    ends = np.append(begins[1:], inside[-1] + 1)
    start = close[begins - 1]
    low = np.minimum(np.minimum.reduceat(history.low_sub[: ends[-1]], begins), start)
    high = np.maximum(np.maximum.reduceat(history.high_sub[: ends[-1]], begins), start)
    return Windows(first + held * horizon_ns, start, low, high, close[ends - 1], int(count - len(held)))
