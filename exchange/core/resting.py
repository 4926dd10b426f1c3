"""What the end of an event does to resting orders: reduce-only ones shrink with their position. DESIGN §3.6."""

import numpy as np

from exchange.codes import ASK, BID, CANCELLED_BY_VENUE, EXTERNAL, FORCED, PARKED, REDUCE_ONLY
from exchange.core.admission import reducible_lots
from exchange.core.book import level_of, next_level
from exchange.core.iceberg import all_lots, refresh_icebergs
from exchange.core.kernel import kernel
from exchange.core.reduce import TRIM_QUEUED
from exchange.core.removal import after_queue, before_account, emit_cancelled, remove_order, shrink_order


@kernel
def finish_orders(state):
    """Bring the orders in line with what the event changed. Mutates book, sums, `trims`."""
    control = state.io.control[0]
    for k in range(np.int64(control["trim_count"])):
        trim_position(state, np.int64(state.io.trims[k]))
    control["order_work"] -= np.int64(control["trim_count"])
    control["trim_count"] = 0
    if control["thinned_count"] != 0:
        refresh_icebergs(state.book, state.io)


@kernel
def trim_position(state, p):
    """Cut the reduce-only orders of a position to what it holds, the newest first. Mutates book, sums. Rule ORD-1."""
    ledger, orders = state.ledger, state.book.orders
    position, rests = ledger.positions[p], ledger.legs[p]["reduce_lots"]
    position["reducing"] &= ~TRIM_QUEUED
    slot = np.int64(ledger.wallets[np.int64(position["wallet"])]["last_order"])
    while rests[BID] > reducible_lots(ledger, p, BID) or rests[ASK] > reducible_lots(ledger, p, ASK):
        order = orders[slot]
        before, side, excess = np.int64(order["account_prev"]), np.int64(order["side"]), np.int64(0)
        if order["position"] == p and order["flags"] & (REDUCE_ONLY | PARKED) == REDUCE_ONLY:
            excess = np.int64(rests[side]) - reducible_lots(ledger, p, side)
        if excess > 0:
            if excess >= all_lots(state.book, slot):
                before = before_account(state.book, slot)
            shrink_order(state, slot, min(excess, all_lots(state.book, slot)))
        slot = before


@kernel
def clear_orders(state, instrument, sides):
    """The venue cancels everybody's orders of one instrument or (-1) of all; `sides`: 0 both, 1 bids, 2 asks.

    Best price first, oldest first, bids before asks. Returns how many. Mutates book, sums.
    """
    count = np.int64(0)
    for k in range(np.int64(state.prices.policy[0]["instruments"])):
        if instrument != -1 and instrument != k:
            continue
        for side in range(2):
            if sides != 0 and sides != side + 1:
                continue
            ticks = np.int64(state.book.books[k]["best_ticks"][side])
            while ticks != 0:
                count += clear_level_orders(state, k, side, ticks)
                ticks = next_level(state.book, k, side, ticks)
    return count


@kernel
def clear_level_orders(state, instrument, side, ticks):
    """Cancel the simulated orders of one price. Returns how many."""
    orders, count = state.book.orders, np.int64(0)
    slot = np.int64(state.book.levels[level_of(state.book, instrument, side, ticks)]["head"])
    while slot != 0:
        after = after_queue(state.book, slot)
        if orders[slot]["account"] != EXTERNAL and not orders[slot]["flags"] & FORCED:
            emit_cancelled(state, slot, CANCELLED_BY_VENUE, 0)
            remove_order(state, slot)
            count += 1
        slot = after
    return count
