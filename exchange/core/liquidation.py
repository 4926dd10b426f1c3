"""Liquidation: a small state machine a unit, one stage a timer. DESIGN §4; rules LIQ-3 to LIQ-6, MON-5.

cancel orders -> re-check -> forced order limited at the bankruptcy price -> insurance fund -> auto-deleveraging.
"""

import numpy as np

from exchange.codes import (
    ADL_NEVER,
    ASK,
    BID,
    CANCELLED_BY_LIQUIDATION,
    CANCELLED_BY_VENUE,
    CLOSED,
    DEFICIT,
    FOK_UNFILLABLE,
    FORCED,
    INSURANCE,
    LIQUIDATION_END,
    LIQUIDATION_ORDER,
    LIQUIDATION_START,
    MODE_SHADOW,
    RECOVERED,
    REDUCE_ONLY,
    REDUCED,
    STAGE,
    STAGE_ADL,
    STAGE_AUCTION,
    STAGE_CANCEL,
    STAGE_DETECTED,
    STAGE_FUND,
    STAGE_NONE,
    STAGE_PART,
    STAGE_REDUCE,
    STAGE_TAKEOVER,
    STATE_AUCTION,
    STATE_CONTINUOUS,
    STP_NONE,
)
from exchange.core.adl import close_by_ranking
from exchange.core.admission import reach_of
from exchange.core.allocation import execute_called
from exchange.core.arith import ratio_ppm
from exchange.core.auction import interrupt
from exchange.core.backstop import give_to_backstop
from exchange.core.book import find_id, order_room
from exchange.core.dutch import hold_auction, wait_for_takers
from exchange.core.fund import affordable_lots, cover_shortfall, fund_unit, give_to_fund, stands_back, usable
from exchange.core.guards import clear_dirty, disarm_unit, set_liquidation_timer, set_stage, touch, touch_position
from exchange.core.kernel import kernel, leaf
from exchange.core.ledger import shift_margin
from exchange.core.margin import (
    account_of,
    is_breached,
    unit_account,
    unit_numbers,
    unit_of,
    unit_stage,
)
from exchange.core.orders import rest_order
from exchange.core.outbox import emit
from exchange.core.plan import (
    begin_at_largest,
    current_leg,
    instrument_label,
    leg_rank,
    liquidation_id_of,
    place_legs,
    plan,
    set_liquidation_id,
)
from exchange.core.removal import after_account, emit_cancelled, remove_order
from exchange.core.shadow import execute_shadow
from exchange.core.socialise import socialise
from exchange.core.stages import (
    action_of,
    begin_driving,
    deepen,
    driving_stage,
    end_driving,
    first_stage,
    first_standing,
    goal_of,
    set_stage_timer,
)
from exchange.core.states import stands_still, wait_for_market
from exchange.core.steps import is_killed, order_limit, step_lots


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
        state.ledger.wallets[unit]["next_rank"] = leg_rank(state.ledger, state.prices, p) + 1
    fund = unit_account(state.ledger, state.prices, unit) == INSURANCE
    go_on(state, unit, STAGE_ADL if fund else STAGE_REDUCE)


@leaf
def cancel_orders(state, unit, code, liquidation_id):
    """Remove every live order of a unit, oldest first."""
    wallet = np.int64(state.ledger.positions[-unit]["wallet"]) if unit < 0 else unit
    slot = np.int64(state.ledger.wallets[wallet]["first_order"])
    while slot != 0:
        after = after_account(state.book, slot)
        if unit_of(state.ledger, np.int64(state.book.orders[slot]["position"])) == unit:
            emit_cancelled(state, slot, code, liquidation_id)
            remove_order(state, slot)
        slot = after


@kernel
def begin_liquidation(state, unit, cause_seq):
    """Stage DETECTED: begin, unless the unit has recovered."""
    ledger, prices, io = state.ledger, state.prices, state.io
    equity, required, legs = unit_numbers(ledger, prices, unit)
    if is_breached(ledger, prices, unit, equity, required, legs):
        start_liquidation(state, unit, cause_seq, equity, required)
    else:
        set_stage(ledger, unit, STAGE_NONE)
        touch(ledger, io, unit)


@kernel
def start_liquidation(state, unit, cause_seq, equity, required):
    """Give a liquidation its id, cancel the unit's orders, allot its equity to its legs."""
    ledger, prices, io = state.ledger, state.prices, state.io
    io.control[0]["liquidation_seq"] += 1
    liquidation_id, account = np.int64(io.control[0]["liquidation_seq"]), unit_account(ledger, prices, unit)
    set_liquidation_id(ledger, unit, liquidation_id)
    instrument, lots, price = np.int64(-1), np.int64(0), np.int64(0)
    if unit < 0:
        instrument, lots = np.int64(ledger.positions[-unit]["instrument"]), np.int64(ledger.positions[-unit]["lots"])
        price = np.int64(prices.markets[instrument]["mark_sub"])
    else:
        ledger.wallets[unit]["next_rank"] = 0
        if account != INSURANCE:
            place_legs(ledger, prices, unit)
    emit(io, LIQUIDATION_START, 0, instrument, account, 0, 0, price, lots, equity, 0, liquidation_id)
    io.outbox[np.int64(io.control[0]["outbox_count"]) - 1]["cause_seq"] = cause_seq
    cancel_orders(state, unit, CANCELLED_BY_LIQUIDATION, liquidation_id)
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
    """Stage REDUCE: over, or an order for the leg at work, unless the fund takes it at once."""
    ledger, prices = state.ledger, state.prices
    equity, required, legs = unit_numbers(ledger, prices, unit)
    k = driving_stage(ledger, prices, unit)
    if k >= 0:
        k = deepen(ledger, prices, unit, k, equity, required, np.int64(state.io.control[0]["clock_ns"]))
    action = action_of(ledger, prices, unit, k)
    if action == STAGE_AUCTION:
        plan(ledger, prices, unit, equity, required)
    p = current_leg(ledger, prices, unit)
    if equity >= goal_of(ledger, prices, unit, k, required) or p == 0:
        end_liquidation(state, unit)
    elif action == STAGE_AUCTION and hold_auction(state, unit, k):
        wait_for_takers(state, unit, k)
    elif action == STAGE_FUND or action == STAGE_AUCTION:
        take_over_leg(state, unit)
    else:
        limit = order_limit(ledger, prices, unit, k, p, equity, required)
        lots = step_lots(state, unit, k, p, equity, limit)
        if is_killed(state, unit, k, p, limit, lots):
            emit_order(state, unit, p, FOK_UNFILLABLE, limit, lots, equity)
            take_over_leg(state, unit)
        else:
            sell_leg(state, unit, p, k, limit, lots, equity)


@leaf
def emit_order(state, unit, p, code, ticks, lots, equity):
    """Announce a liquidation order, or one that is not sent."""
    instrument, account = (
        np.int64(state.ledger.positions[p]["instrument"]),
        unit_account(state.ledger, state.prices, unit),
    )
    liquidation_id = liquidation_id_of(state.ledger, unit)
    emit(state.io, LIQUIDATION_ORDER, code, instrument, account, 0, 0, ticks, lots, equity, 0, liquidation_id)


@kernel
def sell_leg(state, unit, p, k, limit, lots, equity):
    """One immediate order for `lots` of a leg; one that joins an auction is limited at the bankruptcy price."""
    ledger, prices = state.ledger, state.prices
    position = ledger.positions[p]
    instrument, signed = np.int64(position["instrument"]), np.int64(position["lots"])
    ticks = np.int64(ledger.legs[p]["bankruptcy_ticks"])
    joins = prices.policy[0]["join_auctions"] != 0 and prices.markets[instrument]["state"] == STATE_AUCTION
    joins = joins and order_room(state.book.pools, state.book.orders)
    if prices.markets[instrument]["state"] != STATE_CONTINUOUS and stands_still(prices.markets[instrument]):
        wait_for_market(ledger, prices, instrument, p)
        if not joins:
            return
    side = ASK if signed > 0 else BID
    limit = ticks if joins else limit
    liquidation_id = liquidation_id_of(ledger, unit)
    emit_order(state, unit, p, 0, limit, lots, equity)
    if joins:
        join_auction(state, instrument, p, side, ticks, lots, liquidation_id)
        return
    if prices.policy[0]["mode"] == MODE_SHADOW:
        left = execute_shadow(state, instrument, p, side, limit, lots, ticks, liquidation_id, FORCED)
    else:
        reach = reach_of(state, instrument, side, limit, 1)
        left, _, _ = execute_called(state, instrument, p, side, reach, lots, 0, FORCED, ticks, liquidation_id, STP_NONE)
        if left > 0 and reach != limit:
            interrupt(state, instrument, side, limit)
    if left > 0 and prices.markets[instrument]["state"] == STATE_AUCTION:
        wait_for_market(ledger, prices, instrument, p)
        if prices.policy[0]["join_auctions"] and order_room(state.book.pools, state.book.orders):
            join_auction(state, instrument, p, side, ticks, left, liquidation_id)
    elif action_of(ledger, prices, unit, k) == STAGE_PART:
        end_liquidation(state, unit)
    elif left == 0:
        next_leg_stage(state, unit, p)
    else:
        go_on(state, unit, STAGE_TAKEOVER)


@kernel
def take_over_leg(state, unit):
    """Stage TAKEOVER: the backstop, then the fund takes what it may and can carry, unless it stands back."""
    ledger, prices = state.ledger, state.prices
    p = current_leg(ledger, prices, unit)
    if p == 0:
        end_liquidation(state, unit)
        return
    if give_to_backstop(state, unit, p):
        next_leg_stage(state, unit, p)
        return
    position = ledger.positions[p]
    instrument, lots, ticks = (
        np.int64(position["instrument"]),
        np.int64(position["lots"]),
        np.int64(ledger.legs[p]["bankruptcy_ticks"]),
    )
    fund_equity, required, legs = unit_numbers(ledger, prices, fund_unit(prices, instrument))
    asset, taken = np.int64(prices.instruments[instrument]["asset"]), np.int64(0)
    if not stands_back(state, asset, fund_equity):
        taken = affordable_lots(prices, instrument, lots, ticks, usable(state, asset, fund_equity))
    if taken > 0:
        give_to_fund(state, unit, p, taken if lots > 0 else -taken, fund_equity)
    if taken == abs(lots):
        next_leg_stage(state, unit, p)
    else:
        go_on(state, unit, STAGE_ADL)


@kernel
def deleverage_leg(state, unit):
    """Stage ADL: close against the ranked counterparties; what none takes falls to the fund, its deficit to others."""
    ledger, prices, io = state.ledger, state.prices, state.io
    fund = unit_account(ledger, prices, unit) == INSURANCE
    equity, required, legs = unit_numbers(ledger, prices, unit)
    p = current_leg(ledger, prices, unit)
    if p == 0 or (fund and equity >= required):
        end_liquidation(state, unit)
        return
    instrument, ticks = np.int64(ledger.positions[p]["instrument"]), np.int64(ledger.legs[p]["bankruptcy_ticks"])
    asset = np.int64(prices.instruments[instrument]["asset"])
    exhausted = prices.instruments[instrument]["spot"] != 0  # nobody owes a holding
    exhausted = exhausted or prices.waterfalls[asset]["trigger"] == ADL_NEVER
    if not exhausted:
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
        socialise(state, unit, instrument, liquidation_id_of(ledger, unit))
        if fund:  # nobody can take it: on the record, and looked at again when something changes
            set_stage(ledger, unit, STAGE_NONE)
            if after < 0:
                clear_dirty(ledger, unit)
        else:
            next_leg_stage(state, unit, p)


@kernel
def end_liquidation(state, unit):
    """Close the book on a liquidation: cover a shortfall, release isolated margin, back to stage NONE."""
    ledger, prices, io = state.ledger, state.prices, state.io
    liquidation_id, account = liquidation_id_of(ledger, unit), unit_account(ledger, prices, unit)
    equity, required, legs = unit_numbers(ledger, prices, unit)
    code, k = CLOSED if legs == 0 else RECOVERED, driving_stage(ledger, prices, unit)
    if k >= 0:
        code = REDUCED if legs != 0 and equity < goal_of(ledger, prices, unit, k, required) else code
        end_driving(ledger, prices, unit, k)
    if legs == 0 and equity < 0:
        if account != INSURANCE:
            cover_shortfall(state, unit, liquidation_id)
            equity = np.int64(0)
        socialise(state, unit, instrument_label(ledger, unit), liquidation_id)
    if unit < 0 and legs == 0:
        shift_margin(ledger, -unit, -np.int64(ledger.positions[-unit]["isolated_margin"]))
        equity = np.int64(0)
    emit(
        io,
        LIQUIDATION_END,
        code,
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
def stage_tick(state, unit, k, cause_seq):
    """STAGE_TICK timer: a stage acts on a unit that is in it, has been for long enough, and is not liquidated yet."""
    ledger, prices, io = state.ledger, state.prices, state.io
    standing = ledger.standings[first_standing(ledger, prices, unit) + k]
    standing["timed"] = 0
    if standing["inside"] == 0 or unit_stage(ledger, unit) != STAGE_NONE:
        return
    now_ns = np.int64(io.control[0]["clock_ns"])
    if now_ns < standing["due_ns"]:
        set_stage_timer(ledger, prices, io, unit, k, np.int64(standing["due_ns"]))
        return
    stage = prices.stages[first_stage(ledger, prices, unit) + k]
    standing["ready_ns"] = now_ns + np.int64(stage["cooldown_ns"])
    standing["acted"] += stage["then_all"]
    equity, required, legs = unit_numbers(ledger, prices, unit)
    ratio = ratio_ppm(max(equity, np.int64(0)), max(required, np.int64(1)))
    account, action = unit_account(ledger, prices, unit), np.int64(stage["action"])
    emit(io, STAGE, 0, instrument_label(ledger, unit), account, 0, 0, ratio, k + 1, equity, action, 0)
    if action == STAGE_CANCEL:
        cancel_orders(state, unit, CANCELLED_BY_VENUE, 0)
    if action >= STAGE_PART:
        disarm_unit(ledger, state.guards, unit)
        begin_driving(ledger, prices, unit, k, now_ns, np.int64(0))
        start_liquidation(state, unit, cause_seq, equity, required)
        if action == STAGE_PART and unit > 0:
            begin_at_largest(ledger, prices, unit)


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
