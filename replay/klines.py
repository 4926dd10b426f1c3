"""Reads klines as the Binance archive has them: CSV with or without a header, plain or the one file of a zip."""

import csv
import hashlib
import io
import zipfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np

from exchange import units
from exchange.errors import FeedError

COLUMNS = ("open_time", "open", "high", "low", "close", "volume", "close_time")  # what follows is not needed
MICROSECONDS_FROM = 10**14  # a stamp of this size is in microseconds: spot archives from 2025 on; else milliseconds
VOLUME_STEP = Decimal("0.001")


class Klines(msgspec.Struct, frozen=True):
    """Bars in time order: stamps of start and end (exclusive), prices in sub-ticks, volume in thousandths."""

    names: tuple[str, ...]
    start_ns: np.ndarray
    end_ns: np.ndarray
    low_sub: np.ndarray
    high_sub: np.ndarray
    close_sub: np.ndarray
    volume: np.ndarray

    def digest(self) -> str:
        """Hash of the bars."""
        arrays = (self.start_ns, self.end_ns, self.low_sub, self.high_sub, self.close_sub, self.volume)
        return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def read_klines(paths: Sequence[Path], mark_step: Decimal) -> Klines:
    """Read files in time order; `mark_step` is the price of a sub-tick.

    Raises
    ------
    FeedError
        At `file:line`, where a bar cannot be read, is no bar, or starts before the one ahead of it has ended.
    """
    bars: list[tuple[int, ...]] = []
    for path in paths:
        before = len(bars)
        reader = csv.reader(io.StringIO(_text(path), newline=""))
        for row in reader:
            if row and not (reader.line_num == 1 and row[0] == COLUMNS[0]):
                bars.append(_bar(row, mark_step, bars[-1][1] if bars else 0, f"{path}:{reader.line_num}"))
        if len(bars) == before:
            raise FeedError(str(path), f"no bars; expected CSV rows of {', '.join(COLUMNS)}")
    columns = (np.array(column, np.int64) for column in zip(*bars, strict=True))
    return Klines(tuple(path.name for path in paths), *columns)


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


def _bar(row: list[str], mark_step: Decimal, previous_end_ns: int, where: str) -> tuple[int, ...]:
    if len(row) < len(COLUMNS):
        raise FeedError(where, f"{len(row)} columns; expected at least {', '.join(COLUMNS)}")
    try:
        opened, closed = int(row[0]), int(row[6])
        prices = [units.nearest(units.decimal(text), mark_step) for text in row[1:5]]
        volume = units.floor_count(units.decimal(row[5]), VOLUME_STEP)
    except ValueError as error:
        raise FeedError(where, f"{error}; expected {', '.join(COLUMNS)}") from None
    to_ns = 1_000 if opened >= MICROSECONDS_FROM else 1_000_000
    start_ns, end_ns = opened * to_ns, (closed + 1) * to_ns  # an archive's close_time is the last stamp inside
    first, high, low, close = prices
    if not 0 < low <= min(first, close) <= max(first, close) <= high < 2**50 or not 0 <= volume < 2**53:
        raise FeedError(where, "is no bar; expected 0 < low <= open, close <= high and volume >= 0, of legal size")
    if not previous_end_ns <= start_ns < end_ns < 2**62:
        raise FeedError(
            where,
            f"open_time {row[0]}, close_time {row[6]}; expected a bar that starts where the one before ended or later",
        )
    return start_ns, end_ns, low, high, close, volume
