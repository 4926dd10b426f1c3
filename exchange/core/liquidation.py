"""Liquidation: a small state machine a unit, one stage a timer. DESIGN §4; rules LIQ-3 to LIQ-6, MON-5.

cancel orders -> re-check -> forced order limited at the bankruptcy price -> insurance fund -> auto-deleveraging.
"""

import numpy as np

from exchange.codes import (
    ASK,
    BID,
    CANCELLED_BY_LIQUIDATION,
    CLOSED,
    DEFICIT,
    FORCED,
    INSURANCE,
    LINEAR,
    LIQUIDATION_END,
    LIQUIDATION_ORDER,
    LIQUIDATION_START,
    MODE_SHADOW,
    RECOVERED,
    REDUCE_ONLY,
    STAGE_ADL,
    STAGE_DETECTED,
    STAGE_NONE,
    STAGE_REDUCE,
    STAGE_TAKEOVER,
    STATE_AUCTION,
    STATE_CONTINUOUS,
    STP_NONE,
    TAKEOVER,
)
from exchange.core.adl import close_by_ranking
from exchange.core.admission import reach_of
from exchange.core.allocation import execute_called
from exchange.core.arith import ceil_div
from exchange.core.auction import interrupt
from exchange.core.book import find_id, order_room
from exchange.core.contract import mark_value, trade_value
from exchange.core.guards import clear_dirty, set_liquidation_timer, set_stage, touch, touch_position
from exchange.core.kernel import kernel, leaf
from exchange.core.ledger import cover_wallet, pay_insurance, shift_margin
from exchange.core.margin import (
    account_of,
    first_leg,
    insurance_position,
    is_breached,
    live_leg,
    next_leg,
    unit_account,
    unit_numbers,
    unit_of,
    unit_pocket,
    unit_stage,
)
from exchange.core.match import book_trade
from exchange.core.orders import rest_order
from exchange.core.outbox import emit
from exchange.core.plan import plan
from exchange.core.removal import after_account, emit_cancelled, remove_order
from exchange.core.shadow import execute_shadow
from exchange.core.states import stands_still, wait_for_market


@leaf
def liquidation_id_of(ledger, unit):
    if unit < 0:
        return np.int64(ledger.legs[-unit]["liquidation_id"])
    return np.int64(ledger.wallets[unit]["liquidation_id"])


@leaf
def set_liquidation_id(ledger, unit, liquidation_id):
    if unit < 0:
        ledger.legs[-unit]["liquidation_id"] = liquidation_id
    else:
        ledger.wallets[unit]["liquidation_id"] = liquidation_id


@leaf
def instrument_label(ledger, unit):
    """Instrument of an isolated unit, -1 for a wallet."""
    return np.int64(ledger.positions[-unit]["instrument"]) if unit < 0 else np.int64(-1)


@leaf
def current_leg(ledger, prices, unit):
    """The leg at work: the first live one of the plan at or after the unit's place; 0 = none."""
    p = first_leg(ledger, unit)
    start = np.int64(0) if unit < 0 else np.int64(ledger.wallets[unit]["leg_instrument"])
    while p != 0 and (
        ledger.positions[p]["instrument"] < start
        or ledger.legs[p]["bankruptcy_ticks"] == 0
        or not live_leg(ledger, prices, unit, p)
    ):
        p = next_leg(ledger, unit, p)
    return p


@leaf
def go_on(state, unit, stage):
    """Set the next stage and its timer. Mutates the unit, the heap."""
    set_stage(state.ledger, unit, stage)
    set_liquidation_timer(
        state.ledger, state.prices, state.io, unit, np.int64(state.prices.policy[0]["order_delay_ns"])
    )


@leaf
def next_leg_stage(state, unit, p):
    """A leg is closed: go on with the one after it. The fund's own legs are only ever deleveraged."""
    if unit > 0:
        state.ledger.wallets[unit]["leg_instrument"] = np.int64(state.ledger.positions[p]["instrument"]) + 1
    fund = unit_account(state.ledger, state.prices, unit) == INSURANCE
    go_on(state, unit, STAGE_ADL if fund else STAGE_REDUCE)


@leaf
def cancel_orders(state, unit, liquidation_id):
    """Remove every live order of a unit, oldest first."""
    wallet = np.int64(state.ledger.positions[-unit]["wallet"]) if unit < 0 else unit
    slot = np.int64(state.ledger.wallets[wallet]["first_order"])
    while slot != 0:
        after = after_account(state.book, slot)
        if unit_of(state.ledger, np.int64(state.book.orders[slot]["position"])) == unit:
            emit_cancelled(state, slot, CANCELLED_BY_LIQUIDATION, liquidation_id)
            remove_order(state, slot)
        slot = after


@kernel
def begin_liquidation(state, unit, cause_seq):
    """Stage DETECTED: give the liquidation its id, cancel orders, allot equity to legs."""
    ledger, prices, io = state.ledger, state.prices, state.io
    equity, required, legs = unit_numbers(ledger, prices, unit)
    if not is_breached(ledger, prices, unit, equity, required, legs):
        set_stage(ledger, unit, STAGE_NONE)
        touch(ledger, io, unit)
        return
    io.control[0]["liquidation_seq"] += 1
    liquidation_id, account = np.int64(io.control[0]["liquidation_seq"]), unit_account(ledger, prices, unit)
    set_liquidation_id(ledger, unit, liquidation_id)
    instrument, lots, price = np.int64(-1), np.int64(0), np.int64(0)
    if unit < 0:
        instrument, lots = np.int64(ledger.positions[-unit]["instrument"]), np.int64(ledger.positions[-unit]["lots"])
        price = np.int64(prices.markets[instrument]["mark_sub"])
    else:
        ledger.wallets[unit]["leg_instrument"] = 0
    emit(io, LIQUIDATION_START, 0, instrument, account, 0, 0, price, lots, equity, 0, liquidation_id)
    io.outbox[np.int64(io.control[0]["outbox_count"]) - 1]["cause_seq"] = cause_seq
    cancel_orders(state, unit, liquidation_id)
    plan(ledger, prices, unit, equity, required)
    if current_leg(ledger, prices, unit) == 0:
        end_liquidation(state, unit)
    else:
        go_on(state, unit, STAGE_ADL if account == INSURANCE else STAGE_REDUCE)


@kernel
def join_auction(state, instrument, p, side, ticks, lots, liquidation_id):
    """A liquidation order rests in an auction: reduce-only, under an id that no user can name. A slot is free."""
    account, flags = account_of(state.prices, np.int64(state.ledger.positions[p]["wallet"])), REDUCE_ONLY | FORCED
    rest_order(state, instrument, p, account, -liquidation_id, side, ticks, lots, lots, flags)
    slot = find_id(state.book.ids, state.book.orders, -liquidation_id)
    state.book.orders[slot]["liquidation_id"] = liquidation_id


@kernel
def reduce_leg(state, unit):
    """Stage REDUCE: one immediate order for the whole leg, limited at its bankruptcy price."""
    ledger, prices = state.ledger, state.prices
    equity, required, legs = unit_numbers(ledger, prices, unit)
    p = current_leg(ledger, prices, unit)
    if equity >= required or p == 0:
        end_liquidation(state, unit)
        return
    position = ledger.positions[p]
    instrument, lots = np.int64(position["instrument"]), np.int64(position["lots"])
    ticks = np.int64(ledger.legs[p]["bankruptcy_ticks"])
    joins = prices.policy[0]["join_auctions"] != 0 and prices.markets[instrument]["state"] == STATE_AUCTION
    joins = joins and order_room(state.book.pools, state.book.orders)
    if prices.markets[instrument]["state"] != STATE_CONTINUOUS and stands_still(prices.markets[instrument]):
        wait_for_market(ledger, prices, instrument, p)
        if not joins:
            return
    liquidation_id = liquidation_id_of(ledger, unit)
    emit(
        state.io,
        LIQUIDATION_ORDER,
        0,
        instrument,
        unit_account(ledger, prices, unit),
        0,
        0,
        ticks,
        abs(lots),
        equity,
        0,
        liquidation_id,
    )
    side = ASK if lots > 0 else BID
    if joins:
        join_auction(state, instrument, p, side, ticks, abs(lots), liquidation_id)
        return
    if prices.policy[0]["mode"] == MODE_SHADOW:
        left = execute_shadow(state, instrument, p, side, ticks, abs(lots), ticks, liquidation_id)
    else:
        reach = reach_of(state, instrument, side, ticks, 1)
        left, _, _ = execute_called(
            state, instrument, p, side, reach, abs(lots), 0, FORCED, ticks, liquidation_id, STP_NONE
        )
        if left > 0 and reach != ticks:
            interrupt(state, instrument, side, ticks)
    if left == 0:
        next_leg_stage(state, unit, p)
    elif prices.markets[instrument]["state"] == STATE_AUCTION:
        wait_for_market(ledger, prices, instrument, p)
        if prices.policy[0]["join_auctions"] and order_room(state.book.pools, state.book.orders):
            join_auction(state, instrument, p, side, ticks, left, liquidation_id)
    else:
        go_on(state, unit, STAGE_TAKEOVER)


@leaf
def give_to_fund(state, unit, p, lots, fund_equity):
    """The fund takes `lots` (signed like the position) at the bankruptcy price."""
    instrument, ticks = (
        np.int64(state.ledger.positions[p]["instrument"]),
        np.int64(state.ledger.legs[p]["bankruptcy_ticks"]),
    )
    book_trade(state, instrument, p, -lots, ticks, 0, 0)
    book_trade(state, instrument, insurance_position(state.prices, instrument), lots, ticks, 0, 0)
    emit(
        state.io,
        TAKEOVER,
        0,
        instrument,
        unit_account(state.ledger, state.prices, unit),
        INSURANCE,
        0,
        ticks,
        lots,
        fund_equity,
        0,
        liquidation_id_of(state.ledger, unit),
    )


@leaf
def fund_unit(prices, instrument):
    """INSURANCE's wallet in an instrument's settlement asset."""
    return INSURANCE * np.int64(prices.policy[0]["assets"]) + np.int64(prices.instruments[instrument]["asset"])


@leaf
def affordable_lots(prices, instrument, lots, ticks, fund_equity):
    """How much of a leg the fund's equity can take at `ticks`, losing the difference to the mark."""
    loss = trade_value(prices, instrument, ticks, lots) - mark_value(prices, instrument, lots)
    if prices.instruments[instrument]["kind"] != LINEAR:
        fund_equity -= 1  # values are rounded: a position of both is worth up to a quantum less than each
    fund_equity = max(np.int64(0), fund_equity)
    return abs(lots) if loss <= fund_equity else fund_equity // ceil_div(loss, abs(lots))


@kernel
def take_over_leg(state, unit):
    """Stage TAKEOVER: the fund takes what its equity can carry at the mark."""
    ledger, prices = state.ledger, state.prices
    p = current_leg(ledger, prices, unit)
    if p == 0:
        end_liquidation(state, unit)
        return
    position = ledger.positions[p]
    instrument, lots, ticks = (
        np.int64(position["instrument"]),
        np.int64(position["lots"]),
        np.int64(ledger.legs[p]["bankruptcy_ticks"]),
    )
    fund_equity, required, legs = unit_numbers(ledger, prices, fund_unit(prices, instrument))
    taken = affordable_lots(prices, instrument, lots, ticks, fund_equity)
    if taken > 0:
        give_to_fund(state, unit, p, taken if lots > 0 else -taken, fund_equity)
    if taken == abs(lots):
        next_leg_stage(state, unit, p)
    else:
        go_on(state, unit, STAGE_ADL)


@kernel
def deleverage_leg(state, unit):
    """Stage ADL: close against the ranked counterparties at the bankruptcy price; what none can take is a deficit."""
    ledger, prices, io = state.ledger, state.prices, state.io
    fund = unit_account(ledger, prices, unit) == INSURANCE
    equity, required, legs = unit_numbers(ledger, prices, unit)
    p = current_leg(ledger, prices, unit)
    if p == 0 or (fund and equity >= required):
        end_liquidation(state, unit)
        return
    instrument, ticks = np.int64(ledger.positions[p]["instrument"]), np.int64(ledger.legs[p]["bankruptcy_ticks"])
    exhausted = close_by_ranking(state, p, instrument, ticks, liquidation_id_of(ledger, unit))
    lots = np.int64(ledger.positions[p]["lots"])
    if lots == 0:
        next_leg_stage(state, unit, p)
    elif not exhausted:
        go_on(state, unit, STAGE_ADL)
    else:
        if not fund:
            before, required, legs = unit_numbers(ledger, prices, fund_unit(prices, instrument))
            give_to_fund(state, unit, p, lots, before)
        after, required, legs = unit_numbers(ledger, prices, fund_unit(prices, instrument))
        emit(io, DEFICIT, 0, instrument, INSURANCE, 0, 0, 0, 0, after, 0, liquidation_id_of(ledger, unit))
        if fund:  # nobody can take it: on the record, and looked at again when something changes
            set_stage(ledger, unit, STAGE_NONE)
            if after < 0:
                clear_dirty(ledger, unit)
        else:
            next_leg_stage(state, unit, p)


@leaf
def cover_shortfall(state, unit, liquidation_id):
    """A flat unit whose pocket is negative is paid out by the fund, on the record. Mutates both."""
    ledger, prices = state.ledger, state.prices
    short = unit_pocket(ledger, unit)
    assets = np.int64(prices.policy[0]["assets"])
    if unit < 0:
        asset = np.int64(ledger.positions[-unit]["wallet"]) % assets
        pay_insurance(ledger, -unit, assets, asset, short)
    else:
        asset = unit % assets
        cover_wallet(ledger, unit, assets, asset, -short)
    touch(ledger, state.io, INSURANCE * assets + asset)
    emit(
        state.io,
        DEFICIT,
        0,
        instrument_label(ledger, unit),
        unit_account(ledger, prices, unit),
        INSURANCE,
        0,
        0,
        0,
        short,
        0,
        liquidation_id,
    )


@kernel
def end_liquidation(state, unit):
    """Close the book on a liquidation: cover a shortfall, release isolated margin, back to stage NONE."""
    ledger, prices, io = state.ledger, state.prices, state.io
    liquidation_id, account = liquidation_id_of(ledger, unit), unit_account(ledger, prices, unit)
    equity, required, legs = unit_numbers(ledger, prices, unit)
    if legs == 0 and equity < 0 and account != INSURANCE:
        cover_shortfall(state, unit, liquidation_id)
        equity = np.int64(0)
    if unit < 0 and legs == 0:
        shift_margin(ledger, -unit, -np.int64(ledger.positions[-unit]["isolated_margin"]))
        equity = np.int64(0)
    emit(
        io,
        LIQUIDATION_END,
        CLOSED if legs == 0 else RECOVERED,
        instrument_label(ledger, unit),
        account,
        0,
        0,
        0,
        0,
        equity,
        0,
        liquidation_id,
    )
    set_stage(ledger, unit, STAGE_NONE)
    set_liquidation_id(ledger, unit, 0)
    if unit < 0:
        touch_position(ledger, io, -unit)
    else:
        touch(ledger, io, unit)


@kernel
def liquidate(state, unit, cause_seq):
    """LIQUIDATE timer: one step of one unit."""
    stage = unit_stage(state.ledger, unit)
    if stage == STAGE_DETECTED:
        begin_liquidation(state, unit, cause_seq)
    elif stage == STAGE_REDUCE:
        reduce_leg(state, unit)
    elif stage == STAGE_TAKEOVER:
        take_over_leg(state, unit)
    elif stage == STAGE_ADL:
        deleverage_leg(state, unit)
