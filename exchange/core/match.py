"""Matching: one taker order against the book, each fill settled as it happens. DESIGN §3.1, §4; rules BK-3, BK-6."""

import numpy as np

from exchange.codes import (
    ASK,
    BID,
    CANCELLED,
    CANCELLED_BY_LINK,
    CANCELLED_REDUCE_ONLY,
    EXTERNAL,
    EXTRAPOLATED,
    FEES,
    FILL,
    FORCED,
    INSURANCE,
    LINEAR,
    LIQUIDATION_FEE,
    MAKER,
    PARKED,
    PRIORITY_REFILL,
    REDUCE_ONLY,
    REFILL_DECAY,
    REFILL_TICK,
    SELL,
    SHADOW,
    TERMED,
)
from exchange.core.arith import fee_of, ppm_up
from exchange.core.book import (
    crosses,
    cut_leaves,
    delist,
    free_order_slot,
    level_of,
    next_level,
    remove_id,
    unlink_order,
)
from exchange.core.contract import trade_notional
from exchange.core.external import cut_part
from exchange.core.guards import touch, touch_position
from exchange.core.impact import note_flow
from exchange.core.kernel import kernel, leaf
from exchange.core.ledger import apply_trade, collect_fee
from exchange.core.margin import account_of, external_position
from exchange.core.outbox import emit
from exchange.core.terms import release_terms
from exchange.core.timers import push_timer


@leaf
def book_trade(state, instrument, p, lots, ticks, fee, fund_charge):
    """Book one side of a trade, keep open interest, touch the unit. `fund_charge` is a liquidation fee."""
    record, market = state.prices.instruments[instrument], state.prices.markets[instrument]
    asset, assets = np.int64(record["asset"]), np.int64(state.prices.policy[0]["assets"])
    market["open_interest_lots"] += apply_trade(
        state.ledger, state.prices, instrument, p, lots, ticks, fee + fund_charge
    )
    market["net_lots"] += lots
    if fee != 0:
        collect_fee(state.ledger, FEES * assets + asset, asset, fee)
    if fund_charge != 0:
        collect_fee(state.ledger, INSURANCE * assets + asset, asset, fund_charge)
        touch(state.ledger, state.io, INSURANCE * assets + asset)
    touch_position(state.ledger, state.io, p)


@leaf
def change_open_order(ledger, prices, order, before_lots, lots):
    """Let an order count with `lots` instead of `before_lots` in its position's sums; reduce-only ones do not count."""
    if order["flags"] & REDUCE_ONLY:
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
def after_queue(book, slot):
    """The same in its level's queue."""
    after = np.int64(book.orders[slot]["next"])
    if after != 0 and book.orders[slot]["flags"] & TERMED and book.terms[slot]["link"] == after:
        return np.int64(book.orders[after]["next"])
    return after


@leaf
def take_out(state, slot):
    """Take an order out of its queue and out of the sums. Mutates book, ledger."""
    book, order = state.book, state.book.orders[slot]
    leaves = np.int64(order["leaves_lots"])
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
        np.int64(order["leaves_lots"]),
        0,
        flags,
        liquidation_id,
    )


@leaf
def take_from_order(state, slot, lots):
    """A fill takes `lots` out of a simulated resting order. A filled order is removed."""
    order = state.book.orders[slot]
    if lots == order["leaves_lots"]:
        remove_order(state, slot)
    else:
        leaves = np.int64(order["leaves_lots"])
        cut_leaves(state.book, slot, lots)
        change_open_order(state.ledger, state.prices, order, leaves, leaves - lots)
        state.book.books[np.int64(order["instrument"])]["order_lots"] -= lots
        if order["flags"] & TERMED:
            remove_partner(state, slot)


@leaf
def start_refill(prices, io, instrument):
    """Set the timer that brings displaced size back, unless it is set. Mutates market, timers."""
    if prices.markets[instrument]["refill_timer"] == 0:
        period = np.int64(prices.policy[0]["refill_period_ns"])
        due_ns = (np.int64(io.control[0]["clock_ns"]) // period + 1) * period
        prices.markets[instrument]["refill_timer"] = 1
        push_timer(io, due_ns, PRIORITY_REFILL, 0, instrument, instrument, REFILL_TICK)


@leaf
def take_from_external(state, slot, lots):
    """A fill takes `lots` of recorded size: it is displaced until the refill policy brings it back."""
    order = state.book.orders[slot]
    if state.prices.policy[0]["refill"] == REFILL_DECAY:
        start_refill(state.prices, state.io, np.int64(order["instrument"]))
    state.book.externals[np.int64(order["position"])]["displaced_lots"] += lots
    cut_part(state.book, slot, lots)


@leaf
def firm_lots(state, slot):
    """What a resting simulated order may fill now: leaves, for reduce-only at most its opposite position."""
    order = state.book.orders[slot]
    leaves = np.int64(order["leaves_lots"])
    if order["flags"] & REDUCE_ONLY:
        held = np.int64(state.ledger.positions[np.int64(order["position"])]["lots"])
        held = -held if order["side"] == BID else held
        return max(np.int64(0), min(leaves, held))
    return leaves


@leaf
def trim_reduce_only(state, slot):
    """Bring a resting reduce-only order down to its position; returns False when that removed it."""
    firm, leaves = firm_lots(state, slot), np.int64(state.book.orders[slot]["leaves_lots"])
    if firm == leaves:
        return True
    if firm == 0:
        emit_cancelled(state, slot, CANCELLED_REDUCE_ONLY, 0)
        remove_order(state, slot)
        return False
    cut_leaves(state.book, slot, leaves - firm)
    state.book.orders[slot]["order_lots"] -= leaves - firm
    state.book.books[np.int64(state.book.orders[slot]["instrument"])]["order_lots"] -= leaves - firm
    return True


@leaf
def fill_maker(state, instrument, slot, lots, counterparty, flags, liquidation_id):
    """Settle and announce the resting side of a fill at its own price; `flags` tell of a forced taker."""
    order, prices = state.book.orders[slot], state.prices
    p, ticks, side = np.int64(order["position"]), np.int64(order["ticks"]), np.int64(order["side"])
    account, order_id = np.int64(order["account"]), np.int64(order["order_id"])
    fee = fee_of(trade_notional(prices, instrument, ticks, lots), np.int64(prices.instruments[instrument]["maker_ppm"]))
    book_trade(state, instrument, p, lots if side == BID else -lots, ticks, fee, 0)
    flags |= MAKER | (SELL if side == ASK else 0)
    emit(state.io, FILL, 0, instrument, account, counterparty, order_id, ticks, lots, fee, flags, liquidation_id)
    take_from_order(state, slot, lots)


@leaf
def fill_taker(
    state, instrument, p, side, ticks, lots, order_id, counterparty, flags, bankruptcy_ticks, liquidation_id
):
    """Settle and announce the taking side of a fill.

    A forced one pays its fee out of its advantage over the bankruptcy price, then the liquidation fee out of the rest.
    """
    prices, io = state.prices, state.io
    record = prices.instruments[instrument]
    account = account_of(prices, np.int64(state.ledger.positions[p]["wallet"]))
    value = trade_notional(prices, instrument, ticks, lots)
    fee, charge = fee_of(value, np.int64(record["taker_ppm"])), np.int64(0)
    if flags & FORCED:
        surplus = abs(value - trade_notional(prices, instrument, bankruptcy_ticks, lots))
        if record["kind"] != LINEAR:  # rounding must not take more than the account has
            surplus = max(np.int64(0), surplus - 1)
        fee = min(fee, surplus)
        charge = min(ppm_up(value, np.int64(record["liquidation_ppm"])), surplus - fee)
    book_trade(state, instrument, p, lots if side == BID else -lots, ticks, fee, charge)
    flags |= SELL if side == ASK else 0
    emit(io, FILL, 0, instrument, account, counterparty, order_id, ticks, lots, fee, flags, liquidation_id)
    if charge > 0:
        emit(io, LIQUIDATION_FEE, 0, instrument, account, INSURANCE, 0, ticks, lots, charge, 0, liquidation_id)


@leaf
def extrapolated_flag(state, slot):
    return (
        EXTRAPOLATED if state.book.externals[np.int64(state.book.orders[slot]["position"])]["extrapolated"] != 0 else 0
    )


@leaf
def execute(state, instrument, p, side, limit_ticks, lots, order_id, flags, bankruptcy_ticks, liquidation_id):
    """Match an order of position `p` while quantity is left and the opposite best is within the limit.

    Parameters
    ----------
    limit_ticks : worst price; lots : quantity; flags : FORCED for a liquidation order, whose fees are capped by
        its advantage over `bankruptcy_ticks`

    Returns
    -------
    int64
        Lots not filled. Mutates book, ledger, market, outbox.
    """
    book, market = state.book, state.prices.markets[instrument]
    other = ASK if side == BID else BID
    account = account_of(state.prices, np.int64(state.ledger.positions[p]["wallet"]))
    asked = lots
    while lots > 0:
        ticks = np.int64(book.books[instrument]["best_ticks"][other])
        if not crosses(side, limit_ticks, ticks):
            break
        slot = np.int64(book.levels[level_of(book, instrument, other, ticks)]["head"])
        maker = np.int64(book.orders[slot]["account"])
        if maker == EXTERNAL:
            fill = min(lots, np.int64(book.orders[slot]["leaves_lots"]))
            extrapolated = extrapolated_flag(state, slot)
            book_trade(state, instrument, external_position(instrument), -fill if side == BID else fill, ticks, 0, 0)
            take_from_external(state, slot, fill)
        else:
            if book.orders[slot]["flags"] & REDUCE_ONLY and not trim_reduce_only(state, slot):
                continue
            extrapolated = 0
            fill = min(lots, np.int64(book.orders[slot]["leaves_lots"]))
            fill_maker(state, instrument, slot, fill, account, flags, liquidation_id)
        market["last_ticks"] = ticks
        fill_taker(
            state,
            instrument,
            p,
            side,
            ticks,
            fill,
            order_id,
            maker,
            flags | extrapolated,
            bankruptcy_ticks,
            liquidation_id,
        )
        lots -= fill
    if lots != asked:
        note_flow(state.prices, state.io, instrument, side, asked - lots, flags & FORCED)
    return lots


@kernel
def execute_shadow(state, instrument, p, side, limit_ticks, lots, bankruptcy_ticks, liquidation_id):
    """Fill a forced order against the recorded size it would meet, leaving the book as it is (no-feedback run).

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
                    FORCED | SHADOW | extrapolated_flag(state, slot),
                    bankruptcy_ticks,
                    liquidation_id,
                )
                lots -= fill
            slot = np.int64(book.orders[slot]["next"])
        ticks = next_level(book, instrument, other, ticks)
    return lots
