"""What the end of an event does to pegged orders: they follow their references, wait, or come back. DESIGN §3.6; PEG-1.

Whoever is moved more than once in an event was first held off by another pegged order; two moves are enough.
"""

import numpy as np

from exchange.codes import ASK, BID, BOOK_CLEAR, LAST, LEVEL_SET, PARKED, PRIORITY_TRIGGER, REPRICED, SELL, TRIGGER
from exchange.core.book import link_order
from exchange.core.iceberg import all_lots, set_hidden
from exchange.core.kernel import kernel
from exchange.core.outbox import emit
from exchange.core.pegs import STILL, firm_best, peg_ticks, settle, settled
from exchange.core.removal import change_open_order, take_out
from exchange.core.states import stands_still
from exchange.core.timers import push_order_timer


@kernel
def follow_pegs(state, event):
    """Where an event is over, bring every pegged order in line with its reference, but in the middle of a message.

    Mutates book, sums, lists, the heap.
    """
    control, kind = state.io.control[0], event["kind"]
    control["unfinished"] = kind == BOOK_CLEAR or (kind == LEVEL_SET and event["flags"] & LAST == 0)
    if control["unfinished"] or control["sweep_next"] != 0:
        return
    for instrument in range(np.int64(state.prices.policy[0]["instruments"])):
        if state.triggers.watches[instrument]["peg_head"] != 0:
            still = stands_still(state.prices.markets[instrument])
            bid = np.int64(STILL) if still else firm_best(state.book, instrument, BID)
            ask = np.int64(STILL) if still else firm_best(state.book, instrument, ASK)
            if not settled(state, instrument, bid, ask):
                while reprice_all(state, instrument, bid, ask):
                    pass
                if not still:
                    fire_pegs(state, instrument, bid, ask)
                settle(state, instrument, bid, ask)


@kernel
def ticks_of_peg(state, slot, bid, ask):
    """Where a pegged order stands while `bid` and `ask` are the references; 0 = nowhere."""
    order, terms = state.book.orders[slot], state.book.terms[slot]
    if bid == STILL:
        return np.int64(0)
    instrument, side, peg = np.int64(order["instrument"]), np.int64(order["side"]), np.int64(terms["peg"])
    cap_ticks, offset_ticks = np.int64(terms["limit_ticks"]), np.int64(terms["offset_ticks"])
    return peg_ticks(state, instrument, side, peg, offset_ticks, cap_ticks, bid, ask)


@kernel
def reprice_all(state, instrument, bid, ask):
    """Move the resting pegged orders of an instrument that do not stand where they should. Returns if one did not."""
    slot, moved = np.int64(state.triggers.watches[instrument]["peg_head"]), False
    while slot != 0:
        if not state.book.orders[slot]["flags"] & PARKED:
            ticks = ticks_of_peg(state, slot, bid, ask)
            if ticks != state.book.orders[slot]["ticks"]:
                reprice(state, slot, ticks)
                moved = True
        slot = np.int64(state.book.terms[slot]["next"])
    return moved


@kernel
def reprice(state, slot, ticks):
    """Put a resting order at the tail of another price; 0: let it wait for one. Mutates book, sums; REPRICED."""
    book, order = state.book, state.book.orders[slot]
    instrument, lots = np.int64(order["instrument"]), all_lots(book, slot)
    take_out(state, slot)
    if ticks != 0:
        order["ticks"] = ticks
        link_order(book, slot)
        change_open_order(state.ledger, state.prices, order, np.int64(0), lots)
        book.books[instrument]["order_lots"] += lots
    else:
        set_hidden(book, slot, np.int64(0))
        order["flags"] |= PARKED
        order["ticks"] = np.int64(book.terms[slot]["limit_ticks"])
        order["order_lots"] = lots
        order["leaves_lots"] = lots
    account, order_id, flags = np.int64(order["account"]), np.int64(order["order_id"]), np.int64(0)
    if order["side"] == ASK:
        flags = np.int64(SELL)
    emit(state.io, REPRICED, 0, instrument, account, 0, order_id, ticks, lots, 0, flags, 0)


@kernel
def fire_pegs(state, instrument, bid, ask):
    """What waits and has a price again comes back, like an order whose trigger is reached. Mutates the heap."""
    slot, clock_ns = np.int64(state.triggers.watches[instrument]["peg_head"]), np.int64(state.io.control[0]["clock_ns"])
    while slot != 0:
        waits = state.book.orders[slot]["flags"] & PARKED and state.io.order_timers[2 * slot + 1] == 0
        if waits and ticks_of_peg(state, slot, bid, ask) != 0:
            push_order_timer(state.io, clock_ns, PRIORITY_TRIGGER, slot, TRIGGER)
        slot = np.int64(state.book.terms[slot]["next"])
