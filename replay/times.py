"""Times of recordings: stamps as text, whether files can be played one after the other, where a market's book ends."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from exchange import codes
from exchange.errors import FeedError
from replay.tape import Tape, active_instruments

STEP_BACK_MAX_NS = 1_000_000_000  # a recorder's clock may be set back a little between two files
EARLY_NS = 5_000_000_000  # books change several times a second; files of one hour end within a second of each other
# Recorders lose minutes to a lost connection or a restart. After an hour it is another session: its book is another
# one, and every empty second would still be played.
HOLE_MAX_NS = 3600 * 1_000_000_000


def utc(ts_ns: int) -> str:
    """A stamp as text, to the millisecond: 2023-04-05 00:00:00.005 UTC."""
    return np.datetime_as_string(np.datetime64(int(ts_ns), "ns"), unit="ms").replace("T", " ") + " UTC"


class Span(NamedTuple):
    """What a file holds, from its first to its last stamp."""

    start_ns: int
    end_ns: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} goes from {utc(self.start_ns)} to {utc(self.end_ns)}"


def check_after(where: str, start_ns: int, before: Span) -> None:
    """Refuse a recording of a market that overlaps the one ahead of it, or comes before it.

    Raises
    ------
    FeedError
        With the times of both.
    """
    times = f"at {utc(start_ns)}, where {before}"
    if start_ns <= before.start_ns:
        raise FeedError(
            where, f"starts no later than the file ahead of it: {times}; give each file once, in time order"
        )
    if start_ns < before.end_ns - STEP_BACK_MAX_NS:
        raise FeedError(
            where,
            f"starts before the file ahead of it ends: {times}; what both hold would be played twice: give files of "
            "one market that do not overlap",
        )


def check_near(where: str, start_ns: int, before: Span) -> None:
    """Refuse a recording that begins more than `HOLE_MAX_NS` after the end of the one ahead of it.

    Raises
    ------
    FeedError
        With the times of both.
    """
    hole_ns = start_ns - before.end_ns
    if hole_ns > HOLE_MAX_NS:
        raise FeedError(
            where,
            f"starts {hole_ns / 1e9:,.0f} s after the file ahead of it ends: at {utc(start_ns)}, where {before}; "
            f"expected at most {HOLE_MAX_NS // 10**9:,} s: replay them apart",
        )


def check_holes(stamps: np.ndarray, spans: Sequence[Span]) -> None:
    """Refuse sorted stamps in which nothing is recorded for more than `HOLE_MAX_NS`; `spans` are the files they are of.

    Raises
    ------
    FeedError
        With the times around the longest hole and those of every file.
    """
    holes = np.diff(stamps)
    if not len(holes) or holes.max() <= HOLE_MAX_NS:
        return
    at = int(holes.argmax())
    raise FeedError(
        ", ".join(span.name for span in spans),
        f"nothing is recorded for {int(holes[at]) / 1e9:,.0f} s, from {utc(stamps[at])} to {utc(stamps[at + 1])}; "
        f"expected at most {HOLE_MAX_NS // 10**9:,} s, since empty time is played too: replay what is before and what "
        f"is after it apart ({'; '.join(str(span) for span in spans)})",
    )


def recorded_until(tape: Tape) -> list[str]:
    """A line for each instrument whose recorded book ends before the tape does: it stands still from there on."""
    rows, lines = tape.rows, []
    books = np.isin(rows["kind"], (codes.LEVEL_SET, codes.BOOK_CLEAR))
    for place in active_instruments(rows):
        last = int(rows["ts_ns"][books & (rows["instrument"] == place)][-1])
        early = int(rows["ts_ns"][-1]) - last
        if early > EARLY_NS:
            lines.append(
                f"{tape.instruments[place].symbol}: book recorded until {utc(last)}, {early / 1e9:,.1f} s before the "
                "end; it stands still after that"
            )
    return lines
