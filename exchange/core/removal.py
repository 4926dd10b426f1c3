"""How orders leave the book, whole or in part, other than by a trade; their partners go with them. DESIGN §3.1, §3.5.

Whoever walks a list of orders while it removes some takes the next one from `after_account`, `before_account` or
`after_queue`: a removed order may take its neighbour with it.
"""

import numpy as np

from exchange.codes import (
    ASK,
    BID,
    CANCELLED,
    CANCELLED_BY_LINK,
    CANCELLED_REDUCE_ONLY,
    PARKED,
    REDUCE_ONLY,
    SELL,
    SHRUNK_REDUCE_ONLY,
    TERMED,
)
from exchange.core.book import delist, free_order_slot, remove_id, unlink_order
from exchange.core.contract import trade_notional
from exchange.core.iceberg import all_lots, cut_all
from exchange.core.kernel import kernel, leaf
from exchange.core.outbox import emit
from exchange.core.reduce import count_reducing
from exchange.core.terms import release_terms


@leaf
def change_open_order(ledger, prices, order, before_lots, lots):
    """Let an order count with `lots` instead of `before_lots` in its position's sums; reduce-only ones have others."""
    if order["flags"] & REDUCE_ONLY:
        count_reducing(ledger, np.int64(order["position"]), np.int64(order["side"]), lots - before_lots)
        return
    position = ledger.positions[np.int64(order["position"])]
    instrument, ticks = np.int64(order["instrument"]), np.int64(order["ticks"])
    value = trade_notional(prices, instrument, ticks, lots) - trade_notional(prices, instrument, ticks, before_lots)
    lots -= before_lots
    if order["side"] == BID:
        position["bid_value"] += value
        position["bid_lots"] += lots
    else:
        position["ask_value"] += value
        position["ask_lots"] += lots


@leaf
def remove_order(state, slot):
    """Take a simulated order out of the book, its lists and its account's sums, and free it; its partner goes too."""
    if state.book.orders[slot]["flags"] & TERMED:
        remove_termed(state, slot)
    else:
        take_out(state, slot)
        forget_order(state, slot)


@kernel
def remove_termed(state, slot):
    """`remove_order` of an order with terms."""
    remove_partner(state, slot)
    discard(state, slot)


@leaf
def discard(state, slot):
    """Remove an order with terms that has no partner."""
    if not state.book.orders[slot]["flags"] & PARKED:
        take_out(state, slot)
    release_terms(state, slot)
    forget_order(state, slot)


@kernel
def remove_partner(state, slot):
    """One cancels other: remove the order that `slot` is linked to, if any. Mutates both."""
    partner = np.int64(state.book.terms[slot]["link"])
    if partner != 0:
        cut_link(state.book, slot)
        emit_cancelled(state, partner, CANCELLED_BY_LINK, 0)
        discard(state, partner)


@leaf
def cut_link(book, slot):
    """Undo the link of two orders. Mutates the terms of both."""
    book.terms[np.int64(book.terms[slot]["link"])]["link"] = 0
    book.terms[slot]["link"] = 0


@leaf
def after_account(book, slot):
    """The order after `slot` in its wallet's list that is still there once `slot` is removed with its partner."""
    after = np.int64(book.orders[slot]["account_next"])
    if after != 0 and book.orders[slot]["flags"] & TERMED and book.terms[slot]["link"] == after:
        return np.int64(book.orders[after]["account_next"])
    return after


@leaf
def before_account(book, slot):
    """The same before it."""
    before = np.int64(book.orders[slot]["account_prev"])
    if before != 0 and book.orders[slot]["flags"] & TERMED and book.terms[slot]["link"] == before:
        return np.int64(book.orders[before]["account_prev"])
    return before


@leaf
def after_queue(book, slot):
    """The same after it in its level's queue."""
    after = np.int64(book.orders[slot]["next"])
    if after != 0 and book.orders[slot]["flags"] & TERMED and book.terms[slot]["link"] == after:
        return np.int64(book.orders[after]["next"])
    return after


@leaf
def take_out(state, slot):
    """Take an order out of its queue and out of the sums. Mutates book, ledger."""
    book, order = state.book, state.book.orders[slot]
    leaves = all_lots(book, slot)
    unlink_order(book, slot)
    change_open_order(state.ledger, state.prices, order, leaves, np.int64(0))
    book.books[np.int64(order["instrument"])]["order_lots"] -= leaves


@leaf
def forget_order(state, slot):
    """Free an order that is in no queue any more: its id, its place in the wallet's list, its slot. Mutates book."""
    book, order = state.book, state.book.orders[slot]
    remove_id(book.ids, book.orders, slot)
    delist(
        book.orders, state.ledger.wallets, np.int64(state.ledger.positions[np.int64(order["position"])]["wallet"]), slot
    )
    free_order_slot(book.pools, book.orders, slot)


@leaf
def emit_cancelled(state, slot, code, liquidation_id):
    """Announce that an order is removed other than by its own command."""
    emit_cut(state, slot, code, all_lots(state.book, slot), liquidation_id)


@leaf
def emit_cut(state, slot, code, lots, liquidation_id):
    """Announce that an order loses `lots` without a trade."""
    order = state.book.orders[slot]
    flags = SELL if order["side"] == ASK else 0
    emit(
        state.io,
        CANCELLED,
        code,
        np.int64(order["instrument"]),
        np.int64(order["account"]),
        0,
        np.int64(order["order_id"]),
        np.int64(order["ticks"]),
        lots,
        0,
        flags,
        liquidation_id,
    )


@leaf
def firm_lots(state, slot):
    """What a resting simulated order may fill now: leaves, for reduce-only at most its opposite position."""
    order = state.book.orders[slot]
    leaves = all_lots(state.book, slot)
    if order["flags"] & REDUCE_ONLY:
        held = np.int64(state.ledger.positions[np.int64(order["position"])]["lots"])
        held = -held if order["side"] == BID else held
        return max(np.int64(0), min(leaves, held))
    return leaves


@leaf
def trim_reduce_only(state, slot):
    """Bring a resting reduce-only order down to its position; returns False when that removed it."""
    firm, leaves = firm_lots(state, slot), all_lots(state.book, slot)
    if firm != leaves:
        shrink_order(state, slot, leaves - firm)
    return firm > 0


@kernel
def shrink_order(state, slot, cut):
    """Take `cut` lots off a reduce-only order because more would not reduce its position; all of them remove it."""
    if cut == all_lots(state.book, slot):
        emit_cancelled(state, slot, CANCELLED_REDUCE_ONLY, 0)
        remove_order(state, slot)
        return
    emit_cut(state, slot, SHRUNK_REDUCE_ONLY, cut, 0)
    shrink(state, slot, cut)


@kernel
def shrink(state, slot, cut):
    """Take `cut` lots, not all, off a resting order without a trade, priority kept. Mutates book, ledger."""
    order = state.book.orders[slot]
    leaves = all_lots(state.book, slot)
    cut_all(state.book, slot, cut)
    change_open_order(state.ledger, state.prices, order, leaves, leaves - cut)
    order["order_lots"] -= cut
    state.book.books[np.int64(order["instrument"])]["order_lots"] -= cut


@kernel
def withdraw_orders(state, wallet, p, code):
    """Cancel every order of a wallet in the instrument of its position `p`, oldest first. Mutates book, sums, lists."""
    orders = state.book.orders
    slot = np.int64(state.ledger.wallets[wallet]["first_order"])
    while slot != 0:
        after = np.int64(orders[slot]["account_next"])
        if orders[slot]["position"] == p:
            after = after_account(state.book, slot)
            emit_cancelled(state, slot, code, np.int64(orders[slot]["liquidation_id"]))
            remove_order(state, slot)
        slot = after
