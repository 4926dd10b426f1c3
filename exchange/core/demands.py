"""What a taker would fill: for fill-or-kill, minimum quantity and budget. DESIGN §3.1, §3.5."""

import numpy as np

from exchange.codes import (
    ASK,
    BID,
    BUDGET,
    FOK_UNFILLABLE,
    MIN_LOTS_UNFILLABLE,
    OK,
    PARKED,
    REDUCE_ONLY,
    TERMED,
)
from exchange.core.book import crosses, level_of, next_level
from exchange.core.contract import trade_notional
from exchange.core.kernel import kernel, leaf


@kernel
def check_demands(state, event, instrument, limit_ticks, lots):
    """Minimum quantity, then the budget of a fill-or-kill order. Returns a code; mutates nothing."""
    side, min_lots = np.int64(event["side"]), np.int64(state.io.held[0]["min_lots"])
    if min_lots != 0:
        if min_lots > lots or fillable_lots(state, instrument, side, limit_ticks, min_lots) < min_lots:
            return MIN_LOTS_UNFILLABLE
    if event["flags"] & BUDGET:
        total = total_value(state, instrument, side, limit_ticks, lots)
        if total > event["price"] if side == BID else total < event["price"]:
            return FOK_UNFILLABLE
    return OK


@kernel
def total_value(state, instrument, side, limit_ticks, lots):
    """Money of all fills of a taker of `lots`, which can be filled within the limit."""
    book, total = state.book, np.int64(0)
    other = ASK if side == BID else BID
    ticks = np.int64(book.books[instrument]["best_ticks"][other])
    while lots > 0 and crosses(side, limit_ticks, ticks):
        slot = np.int64(book.levels[level_of(book, instrument, other, ticks)]["head"])
        while slot != 0 and lots > 0:
            if counts(book, slot):
                fill = min(lots, np.int64(book.orders[slot]["leaves_lots"]))
                total += trade_notional(state.prices, instrument, ticks, fill)
                lots -= fill
            slot = np.int64(book.orders[slot]["next"])
        ticks = next_level(book, instrument, other, ticks)
    return total


@leaf
def counts(book, slot):
    """Would a taker that walks the queues surely fill this order, as far as it is firm?

    Not a reduce-only one, nor the second of a linked pair: the first one's fill removes it.
    """
    if book.orders[slot]["flags"] & (REDUCE_ONLY | TERMED) == 0:
        return True
    return book.orders[slot]["flags"] & REDUCE_ONLY == 0 and not stands_behind(book, slot)


@kernel
def stands_behind(book, slot):
    """Is this order's partner on the same side and ahead of it?"""
    partner = np.int64(book.terms[slot]["link"])
    mine, other = book.orders[slot], book.orders[partner]
    if partner == 0 or other["flags"] & PARKED or other["side"] != mine["side"]:
        return False
    if other["ticks"] == mine["ticks"]:
        return other["priority_seq"] < mine["priority_seq"]
    return (other["ticks"] > mine["ticks"]) == (mine["side"] == BID)


@kernel
def fillable_lots(state, instrument, side, limit_ticks, lots):
    """Lots within the limit that are not reduce-only, counted no further than `lots`. For fill-or-kill."""
    book = state.book
    other = ASK if side == BID else BID
    ticks, found = np.int64(book.books[instrument]["best_ticks"][other]), np.int64(0)
    while found < lots and crosses(side, limit_ticks, ticks):
        slot = np.int64(book.levels[level_of(book, instrument, other, ticks)]["head"])
        while slot != 0 and found < lots:
            if counts(book, slot):
                found += np.int64(book.orders[slot]["leaves_lots"])
            slot = np.int64(book.orders[slot]["next"])
        ticks = next_level(book, instrument, other, ticks)
    return found
