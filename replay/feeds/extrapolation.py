"""Depth beyond the recorded levels, by one stated rule, flagged so that whatever fills there can be told apart."""

import numpy as np

from exchange import codes
from exchange.errors import FeedError
from exchange.schema import EVENT
from replay.tape import Tape

LEVELS_MIN = 4  # a side with fewer recorded levels says nothing about density
LEVELS_MAX = 1_000_000
LOTS_MAX = 2**31 - 1


def extrapolate(tape: Tape, reach_ppm: int, every_ticks: int | None = None) -> Tape:
    """Continue each snapshot's sides with EXTRAPOLATED levels out to `reach_ppm` from its mid.

    The rule, for each side of each snapshot: take the outer half of its recorded levels (those furthest from the mid,
    rounded down). They span `s` ticks; all but the innermost, which only marks where the span begins, hold `q` lots.
    New levels stand every `k` ticks outward from the furthest recorded one, `k` being `every_ticks` or else the mean
    spacing of those levels, rounded, at least 1; each holds `q * k // s` lots, at least 1. So the density (lots a tick)
    goes on as it was in the outer half. A later recorded update of such a price sets it like any other level.

    Parameters
    ----------
    reach_ppm : distance from the mid, 1..999999
    every_ticks : spacing of the new levels in ticks

    Returns
    -------
    A new tape; its last report says how many levels and lots were added to each side.
    """
    if not 1 <= reach_ppm <= 999_999:
        raise FeedError("reach_ppm", f"expected 1..999999, got {reach_ppm}")
    if every_ticks is not None and every_ticks < 1:
        raise FeedError("every_ticks", f"expected at least 1, got {every_ticks}")
    rows = tape.rows
    parts, levels, lots, at = [], [0, 0], [0, 0], 0
    for start, end in _snapshots(rows):
        added = _beyond(rows[start:end], reach_ppm, every_ticks)
        for side in (codes.BID, codes.ASK):
            mine = added["side"] == side
            levels[side] += int(mine.sum())
            lots[side] += int(added["qty"][mine].sum())
        whole = np.concatenate([rows[at:end], added])
        if len(added):
            whole["flags"][end - at - 1] &= ~codes.LAST
            whole["flags"][-1] |= codes.LAST
        parts.append(whole)
        at = end
    report = {
        "step": "extrapolation",
        "reach_ppm": reach_ppm,
        "every_ticks": every_ticks or 0,
        "snapshots": len(parts),
        "levels": levels,
        "lots": lots,
    }
    return tape.with_report(np.concatenate([*parts, rows[at:]]), report)


def _snapshots(rows: np.ndarray) -> list[tuple[int, int]]:
    """Rows (first LEVEL_SET, one past the last) of every snapshot that has levels."""
    clears = np.flatnonzero((rows["kind"] == codes.BOOK_CLEAR) & (rows["flags"] & codes.LAST == 0))
    lasts = np.flatnonzero((rows["kind"] == codes.LEVEL_SET) & (rows["flags"] & codes.LAST != 0))
    followed = np.searchsorted(lasts, clears)
    clears, followed = clears[followed < len(lasts)], followed[followed < len(lasts)]
    return [(int(clear) + 1, int(last) + 1) for clear, last in zip(clears, lasts[followed], strict=True)]


def _beyond(snapshot: np.ndarray, reach_ppm: int, every_ticks: int | None) -> np.ndarray:
    sides = [np.sort(snapshot[snapshot["side"] == side], order="price") for side in (codes.BID, codes.ASK)]
    if min(len(side) for side in sides) < LEVELS_MIN:
        return np.zeros(0, EVENT)
    twice_mid = int(sides[codes.BID]["price"][-1]) + int(sides[codes.ASK]["price"][0])
    bids, asks = sides[codes.BID][: len(sides[codes.BID]) // 2], sides[codes.ASK][-(len(sides[codes.ASK]) // 2) :]
    lowest = max(1, -(-twice_mid * (1_000_000 - reach_ppm) // 2_000_000))
    highest = twice_mid * (1_000_000 + reach_ppm) // 2_000_000
    return np.concatenate([_continue(bids[::-1], -1, lowest, every_ticks), _continue(asks, 1, highest, every_ticks)])


def _continue(outer: np.ndarray, direction: int, limit: int, every_ticks: int | None) -> np.ndarray:
    """New rows beyond `outer` (levels of one side from inner to outer), up to and with the price `limit`."""
    span = max(1, abs(int(outer["price"][-1]) - int(outer["price"][0])))
    gaps = len(outer) - 1
    spacing = every_ticks or max(1, (2 * span + gaps) // (2 * gaps))
    count = max(0, (limit - int(outer["price"][-1])) * direction // spacing)
    if count > LEVELS_MAX:
        raise FeedError("every_ticks", f"{count} levels to reach the limit, at most {LEVELS_MAX}; use a wider spacing")
    rows = np.repeat(outer[-1:], count)
    rows["price"] += direction * spacing * np.arange(1, count + 1)
    rows["qty"] = min(LOTS_MAX, max(1, int(outer["qty"][1:].sum()) * spacing // span))
    rows["flags"] = codes.EXTRAPOLATED
    return rows
