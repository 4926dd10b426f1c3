"""What a taker is sure to fill: for fill-or-kill, minimum quantity and budget. DESIGN §3.1, §3.5, §3.6."""

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
    STP_CANCEL_OLDEST,
    STP_NONE,
    TERMED,
)
from exchange.core.book import crosses, level_of, next_level
from exchange.core.contract import trade_notional
from exchange.core.iceberg import all_lots
from exchange.core.kernel import kernel, leaf
from exchange.core.self_trade import same_owner
from exchange.core.states import reach_of


@kernel
def check_demands(state, event, instrument, limit_ticks, lots, self_trade):
    """Minimum quantity, then the budget of a fill-or-kill order. Returns a code; mutates nothing."""
    side, account = np.int64(event["side"]), np.int64(event["account"])
    min_lots = np.int64(state.io.held[0]["min_lots"])
    reach = reach_of(state, instrument, side, limit_ticks, 0)
    if min_lots != 0:
        found, _ = sure_fill(state, instrument, side, reach, min_lots, account, self_trade)
        if min_lots > lots or found < min_lots:
            return MIN_LOTS_UNFILLABLE
    if event["flags"] & BUDGET:
        _, money = sure_fill(state, instrument, side, reach, lots, account, self_trade)
        if money > event["price"] if side == BID else money < event["price"]:
            return FOK_UNFILLABLE
    return OK


@kernel
def sure_fill(state, instrument, side, limit_ticks, lots, account, self_trade):
    """(lots, money) that a taker of `lots` is sure to fill within its limit.

    A reduce-only order is sure unless another order of its position may fill first and take away what it reduces. An
    order of the taker's own owner counts for nothing, and where it would stop or shorten the taker ends the count.
    """
    book, shared = state.book, state.prices.instruments[instrument]["allocation"] != 0
    other = ASK if side == BID else BID
    ticks = np.int64(book.books[instrument]["best_ticks"][other])
    found, money, ends = np.int64(0), np.int64(0), False
    while found < lots and not ends and crosses(side, limit_ticks, ticks):
        slot = np.int64(book.levels[level_of(book, instrument, other, ticks)]["head"])
        piece, left = np.int64(0), lots - found
        while slot != 0 and not ends and (piece < left or shared):
            mine = self_trade > STP_NONE and same_owner(
                state.ledger, state.prices, account, np.int64(book.orders[slot]["account"])
            )
            if mine:
                ends = self_trade != STP_CANCEL_OLDEST
            elif is_sure(state, slot, other, shared):
                leaves = all_lots(book, slot)
                if not shared:
                    money += trade_notional(state.prices, instrument, ticks, min(leaves, left - piece))
                piece += leaves
            slot = np.int64(book.orders[slot]["next"])
        if shared:
            piece = np.int64(0) if ends else piece  # a shared level prevents before it fills
            money += trade_notional(state.prices, instrument, ticks, min(piece, left))
        found += min(piece, left)
        ticks = next_level(book, instrument, other, ticks)
    return found, money


@leaf
def is_sure(state, slot, side, shared):
    """Can nothing shrink or remove this order before a taker comes to it?"""
    order = state.book.orders[slot]
    if order["flags"] & (REDUCE_ONLY | TERMED) == 0:
        return True
    if order["flags"] & REDUCE_ONLY and not alone(state.ledger, order, side):
        return False
    return order["flags"] & TERMED == 0 or not stands_behind(state.book, slot, shared)


@leaf
def alone(ledger, order, side):
    """Has the position of a reduce-only order nothing but reduce-only orders on this side?"""
    position = ledger.positions[np.int64(order["position"])]
    return position["bid_lots"] == 0 if side == BID else position["ask_lots"] == 0


@kernel
def stands_behind(book, slot, shared):
    """Is this order's partner on the same side and ahead of it? Where a level is shared, nobody knows who is."""
    partner = np.int64(book.terms[slot]["link"])
    mine, other = book.orders[slot], book.orders[partner]
    if partner == 0 or other["flags"] & PARKED or other["side"] != mine["side"]:
        return False
    if other["ticks"] == mine["ticks"]:
        return shared or other["priority_seq"] < mine["priority_seq"]
    return (other["ticks"] > mine["ticks"]) == (mine["side"] == BID)
