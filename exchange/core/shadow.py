"""Forced orders in a run without feedback: filled against the recorded size, which stays. DESIGN §4."""

import numpy as np

from exchange.codes import ASK, BID, EXTERNAL, SHADOW
from exchange.core.book import crosses, level_of, next_level
from exchange.core.kernel import kernel
from exchange.core.margin import external_position
from exchange.core.match import book_trade, extrapolated_flag, fill_taker


@kernel
def execute_shadow(state, instrument, p, side, limit_ticks, lots, bankruptcy_ticks, liquidation_id, flags):
    """Fill a forced order against the recorded size it would meet, leaving the book as it is (no-feedback run).

    `flags`: FORCED of a liquidation, also BACKSTOP where that works off a position, CONVERTED of a conversion.

    Returns lots not filled. Mutates ledger, market's open interest, outbox; neither book, displaced nor last.
    """
    book = state.book
    other = ASK if side == BID else BID
    ticks = np.int64(book.books[instrument]["best_ticks"][other])
    while lots > 0 and crosses(side, limit_ticks, ticks):
        slot = np.int64(book.levels[level_of(book, instrument, other, ticks)]["head"])
        while slot != 0 and lots > 0:
            if book.orders[slot]["account"] == EXTERNAL:
                fill = min(lots, np.int64(book.orders[slot]["leaves_lots"]))
                book_trade(
                    state, instrument, external_position(instrument), -fill if side == BID else fill, ticks, 0, 0
                )
                fill_taker(
                    state,
                    instrument,
                    p,
                    side,
                    ticks,
                    fill,
                    0,
                    EXTERNAL,
                    flags | SHADOW | extrapolated_flag(state, slot),
                    bankruptcy_ticks,
                    liquidation_id,
                )
                lots -= fill
            slot = np.int64(book.orders[slot]["next"])
        ticks = next_level(book, instrument, other, ticks)
    return lots


@kernel
def recorded_within(book, instrument, side, limit_ticks):
    """Lots of recorded size on a side at a limit or better for who takes them."""
    other, found = ASK if side == BID else BID, np.int64(0)
    ticks = np.int64(book.books[instrument]["best_ticks"][side])
    while crosses(other, limit_ticks, ticks):
        slot = np.int64(book.levels[level_of(book, instrument, side, ticks)]["head"])
        while slot != 0:
            if book.orders[slot]["account"] == EXTERNAL:
                found += np.int64(book.orders[slot]["leaves_lots"])
            slot = np.int64(book.orders[slot]["next"])
        ticks = next_level(book, instrument, side, ticks)
    return found
