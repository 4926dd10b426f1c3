"""Matching: one taker order against the book, each fill settled as it happens. DESIGN §3.1, §4; rules BK-3, BK-6."""

import numpy as np

from exchange.codes import (
    ASK,
    BACKSTOP,
    BID,
    CANCELLED_SELF_TRADE,
    EXTERNAL,
    EXTRAPOLATED,
    FEES,
    FILL,
    FORCED,
    INSURANCE,
    LINEAR,
    LIQUIDATION_FEE,
    MAKER,
    OK,
    PREVENTED,
    PRIORITY_REFILL,
    REDUCE_ONLY,
    REFILL_DECAY,
    REFILL_TICK,
    SELL,
    STP_CANCEL_NEWEST,
    STP_CANCEL_OLDEST,
    STP_DECREMENT,
    STP_NONE,
    TERMED,
)
from exchange.core.arith import fee_of, ppm_down, ppm_up
from exchange.core.book import crosses, cut_leaves, level_of
from exchange.core.contract import contract_value, trade_notional, trade_value
from exchange.core.external import cut_part
from exchange.core.guards import touch, touch_position
from exchange.core.iceberg import all_lots, take_shown
from exchange.core.impact import note_flow
from exchange.core.kernel import kernel, leaf
from exchange.core.ledger import apply_trade, collect_fee
from exchange.core.margin import account_of, external_position
from exchange.core.outbox import emit
from exchange.core.printed import note_trade
from exchange.core.reduce import HAS_REDUCING, queue_trim
from exchange.core.removal import (
    change_open_order,
    emit_cancelled,
    remove_order,
    remove_partner,
    shrink,
    trim_reduce_only,
)
from exchange.core.self_trade import same_owner
from exchange.core.timers import push_timer


@leaf
def book_trade(state, instrument, p, lots, ticks, fee, fund_charge):
    """Book one side of a trade at a price in ticks. `fund_charge` is a liquidation fee."""
    price_sub = ticks * np.int64(state.prices.instruments[instrument]["mark_per_tick"])
    book_trade_at(state, instrument, p, lots, price_sub, fee, fund_charge)


@leaf
def book_trade_at(state, instrument, p, lots, price_sub, fee, fund_charge):
    """Book one side of a trade at a price in sub-ticks, keep open interest, touch the unit."""
    record, market = state.prices.instruments[instrument], state.prices.markets[instrument]
    asset, assets = np.int64(record["asset"]), np.int64(state.prices.policy[0]["assets"])
    market["open_interest_lots"] += apply_trade(
        state.ledger, state.prices, instrument, p, lots, price_sub, fee + fund_charge
    )
    market["net_lots"] += lots
    if state.ledger.positions[p]["reducing"] == HAS_REDUCING:
        queue_trim(state.ledger, state.io, p)
    if fee != 0:
        collect_fee(state.ledger, FEES * assets + asset, asset, fee)
    if fund_charge != 0:
        collect_fee(state.ledger, INSURANCE * assets + asset, asset, fund_charge)
        touch(state.ledger, state.io, INSURANCE * assets + asset)
    touch_position(state.ledger, state.io, p)


@leaf
def take_from_order(state, slot, lots):
    """A fill takes `lots` out of a simulated resting order. A filled order is removed."""
    order = state.book.orders[slot]
    leaves = all_lots(state.book, slot)
    if lots == leaves:
        remove_order(state, slot)
    else:
        change_open_order(state.ledger, state.prices, order, leaves, leaves - lots)
        state.book.books[np.int64(order["instrument"])]["order_lots"] -= lots
        if order["flags"] & TERMED:
            take_shown(state.book, state.io, slot, lots)
            remove_partner(state, slot)
        else:
            cut_leaves(state.book, slot, lots)


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
def count_filled(state, slot):
    """Count a resting order's first fill. Mutates its account's conduct."""
    order = state.book.orders[slot]
    if state.prices.policy[0]["count_quotes"] != 0 and all_lots(state.book, slot) == order["order_lots"]:
        state.gate.conduct[np.int64(order["account"])]["filled"] += 1


@leaf
def fill_maker(state, instrument, slot, lots, counterparty, flags, liquidation_id):
    """Settle and announce the resting side of a fill at its own price; `flags` tell of a forced taker."""
    order, prices = state.book.orders[slot], state.prices
    p, ticks, side = np.int64(order["position"]), np.int64(order["ticks"]), np.int64(order["side"])
    account, order_id = np.int64(order["account"]), np.int64(order["order_id"])
    fee = fee_of(trade_notional(prices, instrument, ticks, lots), np.int64(prices.instruments[instrument]["maker_ppb"]))
    book_trade(state, instrument, p, lots if side == BID else -lots, ticks, fee, 0)
    flags |= MAKER | (SELL if side == ASK else 0)
    emit(state.io, FILL, 0, instrument, account, counterparty, order_id, ticks, lots, fee, flags, liquidation_id)
    count_filled(state, slot)
    take_from_order(state, slot, lots)


@kernel
def forced_fees(prices, instrument, lots, price_sub, bankruptcy_ticks, fee, notional):
    """(fee, liquidation fee) of lots of a unit in liquidation: its fee is paid out of what the bankruptcy price leaves
    for it and of the advantage over that price, then the liquidation fee out of the rest, of which the fund gets a
    least and a most; what is missing to that price the fund pays.

    `lots` signed as the change of the position; `notional` is what the liquidation fee is a rate of.
    """
    record, policy = prices.instruments[instrument], prices.policy[0]
    value = contract_value(prices, instrument, price_sub, lots)
    surplus = trade_value(prices, instrument, bankruptcy_ticks, lots) - value
    if surplus < 0:
        return np.int64(0), surplus
    if record["kind"] != LINEAR:  # rounding must not take more than the account has
        surplus = max(np.int64(0), surplus - 1)
    reserve = np.int64(0)
    if policy["bankruptcy_fee"] != 0:
        at_bankruptcy = abs(trade_value(prices, instrument, bankruptcy_ticks, lots))
        reserve = -fee_of(at_bankruptcy, -max(np.int64(0), np.int64(record["taker_ppb"])))
    fee = min(fee, surplus + reserve)
    surplus -= fee - min(max(np.int64(0), fee), reserve)
    least, most = (
        ppm_down(surplus, np.int64(policy["fund_least_ppm"])),
        ppm_down(surplus, np.int64(policy["fund_most_ppm"])),
    )
    return fee, min(max(ppm_up(notional, np.int64(record["liquidation_ppm"])), least), most)


@leaf
def fill_taker(
    state, instrument, p, side, ticks, lots, order_id, counterparty, flags, bankruptcy_ticks, liquidation_id
):
    """Settle and announce the taking side of a fill."""
    prices, io = state.prices, state.io
    record, signed = prices.instruments[instrument], lots if side == BID else -lots
    account = account_of(prices, np.int64(state.ledger.positions[p]["wallet"]))
    value = trade_notional(prices, instrument, ticks, lots)
    fee, charge = fee_of(value, np.int64(record["taker_ppb"])), np.int64(0)
    if flags & FORCED and not flags & BACKSTOP:
        price_sub = ticks * np.int64(record["mark_per_tick"])
        fee, charge = forced_fees(prices, instrument, signed, price_sub, bankruptcy_ticks, fee, value)
    book_trade(state, instrument, p, signed, ticks, fee, charge)
    flags |= SELL if side == ASK else 0
    emit(io, FILL, 0, instrument, account, counterparty, order_id, ticks, lots, fee, flags, liquidation_id)
    if charge != 0:
        emit(io, LIQUIDATION_FEE, 0, instrument, account, INSURANCE, 0, ticks, lots, charge, 0, liquidation_id)


@leaf
def extrapolated_flag(state, slot):
    return (
        EXTRAPOLATED if state.book.externals[np.int64(state.book.orders[slot]["position"])]["extrapolated"] != 0 else 0
    )


@kernel
def prevent(state, slot, lots, taker, self_trade):
    """Keep a taker from trading with a resting order of its own owner, by the taker's mode.

    Returns (lots that the taker goes on with, whether it ends here). Mutates book, the maker's sums, outbox.
    """
    order = state.book.orders[slot]
    if self_trade == STP_DECREMENT:
        leaves = all_lots(state.book, slot)
        cut = min(lots, leaves)
        instrument, maker = np.int64(order["instrument"]), np.int64(order["account"])
        order_id, ticks = np.int64(order["order_id"]), np.int64(order["ticks"])
        code, flags = CANCELLED_SELF_TRADE if cut == leaves else OK, SELL if order["side"] == ASK else 0
        emit(state.io, PREVENTED, code, instrument, maker, taker, order_id, ticks, cut, 0, flags, 0)
        if cut == leaves:
            remove_order(state, slot)
        else:
            shrink(state, slot, cut)
        return lots - cut, cut == lots
    if self_trade != STP_CANCEL_NEWEST:
        emit_cancelled(state, slot, CANCELLED_SELF_TRADE, 0)
        remove_order(state, slot)
    return lots, self_trade != STP_CANCEL_OLDEST


@leaf
def fill_both(state, instrument, p, side, slot, lots, order_id, account, flags, bankruptcy_ticks, liquidation_id):
    """One fill of a taker with a resting order at its price: the maker first, then the taker."""
    order = state.book.orders[slot]
    ticks, maker, extrapolated = np.int64(order["ticks"]), np.int64(order["account"]), 0
    if maker == EXTERNAL:
        extrapolated = extrapolated_flag(state, slot)
        book_trade(state, instrument, external_position(instrument), -lots if side == BID else lots, ticks, 0, 0)
        take_from_external(state, slot, lots)
    else:
        fill_maker(state, instrument, slot, lots, account, flags, liquidation_id)
    if state.prices.markets[instrument]["trades"] == 0:
        state.prices.markets[instrument]["last_ticks"] = ticks
    else:
        note_trade(state.prices, np.int64(state.io.control[0]["clock_ns"]), instrument, ticks, lots, flags & FORCED)
    flags |= extrapolated
    fill_taker(state, instrument, p, side, ticks, lots, order_id, maker, flags, bankruptcy_ticks, liquidation_id)


@leaf
def execute_fifo(
    state, instrument, p, side, limit_ticks, lots, order_id, flags, bankruptcy_ticks, liquidation_id, self_trade
):
    """Match an order of position `p`, oldest maker first, while quantity is left and the best is within the limit.

    Parameters
    ----------
    limit_ticks : worst price; lots : quantity; flags : FORCED for a liquidation order, whose fees are capped by
        its advantage over `bankruptcy_ticks`; self_trade : STP_*, STP_NONE for a forced order

    Returns
    -------
    (int64, int64, bool)
        Lots not filled, the quantity less what prevention of self-trades took off it, and whether prevention ended
        the order. Mutates book, ledger, market, outbox.
    """
    book = state.book
    other = ASK if side == BID else BID
    account = account_of(state.prices, np.int64(state.ledger.positions[p]["wallet"]))
    kept, ended = lots, False
    while lots > 0 and not ended:
        ticks = np.int64(book.books[instrument]["best_ticks"][other])
        if not crosses(side, limit_ticks, ticks):
            break
        slot = np.int64(book.levels[level_of(book, instrument, other, ticks)]["head"])
        maker = np.int64(book.orders[slot]["account"])
        if maker != EXTERNAL:
            if book.orders[slot]["flags"] & REDUCE_ONLY and not trim_reduce_only(state, slot):
                continue
            if self_trade > STP_NONE and same_owner(state.ledger, state.prices, account, maker):
                left, ended = prevent(state, slot, lots, account, self_trade)
                kept -= lots - left
                lots = left
                continue
        fill = min(lots, np.int64(book.orders[slot]["leaves_lots"]))
        fill_both(state, instrument, p, side, slot, fill, order_id, account, flags, bankruptcy_ticks, liquidation_id)
        lots -= fill
    if lots != kept:
        note_flow(state.prices, state.io, instrument, side, kept - lots, flags & FORCED)
    return lots, kept, ended
