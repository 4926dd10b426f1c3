"""Times of recordings: stamps as readable text, and whether recordings can be played one after the other."""

import numpy as np

from exchange.errors import FeedError

STEP_BACK_MAX_NS = 1_000_000_000  # a recorder's clock may be set back a little between two files
# Recorders lose minutes to a lost connection or a restart. After an hour it is another session: its book is another
# one, and every empty second would still be played.
HOLE_MAX_NS = 3600 * 1_000_000_000


def utc(ts_ns: int) -> str:
    """A stamp as text, to the millisecond: 2023-04-05 00:00:00.005 UTC."""
    return np.datetime_as_string(np.datetime64(int(ts_ns), "ns"), unit="ms").replace("T", " ") + " UTC"


def check_follows(where: str, start_ns: int, before: str, before_start_ns: int, before_end_ns: int) -> None:
    """Refuse a recording that does not continue the one named `before`.

    Raises
    ------
    FeedError
        When it overlaps the other one, comes before it, or begins more than `HOLE_MAX_NS` after its end.
    """
    span = f"{utc(before_start_ns)} to {utc(before_end_ns)}"
    times = f"at {utc(start_ns)}, where {before} goes from {span}"
    if start_ns <= before_start_ns:
        raise FeedError(
            where, f"starts no later than the file ahead of it: {times}; give each file once, in time order"
        )
    if start_ns < before_end_ns - STEP_BACK_MAX_NS:
        raise FeedError(
            where,
            f"starts before the file ahead of it ends: {times}; what both hold would be played twice: give files of "
            "one market that do not overlap",
        )
    if start_ns - before_end_ns > HOLE_MAX_NS:
        raise FeedError(
            where,
            f"starts {(start_ns - before_end_ns) / 1e9:,.0f} s after the file ahead of it ends: {times}; expected at "
            f"most {HOLE_MAX_NS // 10**9:,} s: replay them apart",
        )
