"""One guard filed under its price in the ladder of an instrument and direction, and taken out again. DESIGN §6."""

import numpy as np

from exchange.core.kernel import leaf
from exchange.core.ladder import clear_level, mark_level


@leaf
def disarm(ledger, guards, p):
    """Take both guards of a position out. Mutates guards."""
    instrument = np.int64(ledger.positions[p]["instrument"])
    for direction in range(2):
        g = 2 * p + direction
        guard = guards.guards[g]
        if guard["mark_sub"] != 0:
            ladder = guards.ladders[2 * instrument + direction]
            before, after = np.int64(guard["prev"]), np.int64(guard["next"])
            if after != 0:
                guards.guards[after]["prev"] = before
            if before > 0:
                guards.guards[before]["next"] = after
            else:
                bucket = -before
                guards.heads[np.int64(ladder["level_base"]) + bucket] = after
                if after == 0:
                    clear_level(guards.words, ladder, bucket)
                else:
                    guards.guards[after]["prev"] = -bucket
            guard["mark_sub"] = 0
            guard["next"] = 0
            guard["prev"] = 0


@leaf
def arm(ledger, guards, prices, p, direction, mark_sub):
    """File one guard at an exact sub-tick price; a price off the ladder needs none. Mutates guards.

    The first guard of a bucket keeps minus the bucket in `prev`, so that it can be taken out in O(1).
    """
    instrument = np.int64(ledger.positions[p]["instrument"])
    ladder = guards.ladders[2 * instrument + direction]
    per_tick = np.int64(prices.instruments[instrument]["mark_per_tick"])
    if mark_sub < 1 or mark_sub >= (np.int64(ladder["ticks_max"]) + 1) * per_tick:
        return
    bucket = max(mark_sub // per_tick, np.int64(1))  # tick 0 is never a level; the guard's own price stays exact
    g = 2 * p + direction
    guard = guards.guards[g]
    at = np.int64(ladder["level_base"]) + bucket
    head = np.int64(guards.heads[at])
    guard["mark_sub"] = mark_sub
    guard["next"] = head
    guard["prev"] = -bucket
    if head != 0:
        guards.guards[head]["prev"] = g
    else:
        mark_level(guards.words, ladder, bucket)
    guards.heads[at] = g
