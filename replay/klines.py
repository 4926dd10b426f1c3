"""Reads klines as the Binance archive has them: CSV with or without a header, plain or the one file of a zip."""

import csv
import hashlib
import io
import zipfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from exchange import units
from exchange.errors import FeedError

COLUMNS = ("open_time", "open", "high", "low", "close", "volume", "close_time")  # what follows is not needed
MICROSECONDS_FROM = 10**14  # a stamp of this size is in microseconds: spot archives from 2025 on; else milliseconds
VOLUME_STEP = Decimal("0.001")
PRICE_MAX = Decimal(10) ** 15
SUB_MAX = 2**50  # sub-ticks of a price


class Bars(msgspec.Struct, frozen=True):
    """Bars in time order: stamps of start and end (exclusive), prices in sub-ticks, volume in thousandths."""

    names: tuple[str, ...]
    start_ns: np.ndarray
    end_ns: np.ndarray
    low_sub: np.ndarray
    high_sub: np.ndarray
    close_sub: np.ndarray
    volume: np.ndarray


class Klines(msgspec.Struct, frozen=True):
    """Bars as read, prices exact: whose sub-ticks they are is known when an instrument is seeded."""

    names: tuple[str, ...]
    start_ns: np.ndarray
    end_ns: np.ndarray
    low: tuple[Decimal, ...]
    high: tuple[Decimal, ...]
    close: tuple[Decimal, ...]
    volume: np.ndarray

    def digest(self) -> str:
        """Hash of the bars."""
        prices = [str(price.normalize()) for price in (*self.low, *self.high, *self.close)]
        stamps = b"".join(column.tobytes() for column in (self.start_ns, self.end_ns, self.volume))
        return hashlib.sha256(stamps + " ".join(prices).encode()).hexdigest()

    def bars(self, mark_step: Decimal) -> Bars:
        """Prices in sub-ticks of `mark_step` each.

        Raises
        ------
        FeedError
            When a price is below one sub-tick, or too many of them.
        """
        for price in (min(self.low), max(self.high)):
            if not mark_step <= price < mark_step * SUB_MAX:
                raise FeedError(
                    ", ".join(self.names),
                    f"has a price of {price}; expected {mark_step:f} or more, the smallest step of the instrument's "
                    f"mark, and less than {mark_step * SUB_MAX:f}; name klines of the instrument that is seeded",
                )
        low, high, close = (
            np.array([units.nearest(price, mark_step) for price in prices], np.int64)
            for prices in (self.low, self.high, self.close)
        )
        return Bars(self.names, self.start_ns, self.end_ns, low, high, close, self.volume)


def read_klines(paths: Sequence[Path]) -> Klines:
    """Read files in time order.

    Raises
    ------
    FeedError
        At `file:line`, where a bar cannot be read, is no bar, or starts before the one ahead of it has ended.
    """
    bars: list[tuple[Any, ...]] = []
    for path in paths:
        before = len(bars)
        reader = csv.reader(io.StringIO(_text(path), newline=""))
        for row in reader:
            if row and not (reader.line_num == 1 and row[0] == COLUMNS[0]):
                bars.append(_bar(row, bars[-1][1] if bars else 0, f"{path}:{reader.line_num}"))
        if len(bars) == before:
            raise FeedError(str(path), f"no bars; expected CSV rows of {', '.join(COLUMNS)}")
    start_ns, end_ns, low, high, close, volume = zip(*bars, strict=True)
    stamps = np.array(start_ns, np.int64), np.array(end_ns, np.int64)
    return Klines(tuple(path.name for path in paths), *stamps, low, high, close, np.array(volume, np.int64))


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                if len(archive.namelist()) != 1:
                    raise FeedError(
                        str(path), f"holds {len(archive.namelist())} files; expected one CSV file of klines"
                    )
                data = archive.read(archive.namelist()[0])
        return data.decode("utf-8-sig")
    except (OSError, zipfile.BadZipFile) as error:
        raise FeedError(str(path), f"cannot be read ({error}); expected a CSV file of klines or a zip of one") from None
    except UnicodeDecodeError:
        raise FeedError(str(path), "is not text; expected a CSV file of klines or a zip of one") from None


def _bar(row: list[str], previous_end_ns: int, where: str) -> tuple[Any, ...]:
    if len(row) < len(COLUMNS):
        raise FeedError(where, f"{len(row)} columns; expected at least {', '.join(COLUMNS)}")
    try:
        opened, closed = int(row[0]), int(row[6])
        prices = [units.decimal(text) for text in row[1:5]]
        volume = units.floor_count(units.decimal(row[5]), VOLUME_STEP)
    except ValueError as error:
        raise FeedError(where, f"{error}; expected {', '.join(COLUMNS)}") from None
    to_ns = 1_000 if opened >= MICROSECONDS_FROM else 1_000_000
    start_ns, end_ns = opened * to_ns, (closed + 1) * to_ns  # an archive's close_time is the last stamp inside
    first, high, low, close = prices
    if not 0 < low <= min(first, close) <= max(first, close) <= high < PRICE_MAX or not 0 <= volume < 2**53:
        raise FeedError(where, "is no bar; expected 0 < low <= open, close <= high and volume >= 0, of legal size")
    if not previous_end_ns <= start_ns < end_ns < 2**62:
        raise FeedError(
            where,
            f"open_time {row[0]}, close_time {row[6]}; expected a bar that starts where the one before ended or later",
        )
    return start_ns, end_ns, low, high, close, volume
