"""What an order may demand of its fills before it enters: a least quantity, a total price. DESIGN §3.5."""

import numpy as np

from exchange.codes import ASK, BID, BUDGET, FOK_UNFILLABLE, MIN_LOTS_UNFILLABLE, OK
from exchange.core.book import crosses, level_of, next_level
from exchange.core.contract import trade_notional
from exchange.core.kernel import kernel
from exchange.core.match import counts, fillable_lots


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
