"""The event loop: read this file first.

    next = unfinished continuation, else the tape head, else timers by (ts, priority, account, order, seq)
    decode -> throttle -> admit -> match -> settle -> fees -> price -> fund -> re-margin -> liquidate -> close the step

Nothing reacts inside a reaction: what an event causes later is a timer. Outcomes do not depend on how the input is cut
into calls.
"""

import numpy as np

from exchange.codes import (
    AMEND,
    ASK,
    AUCTION_END,
    AUCTION_START,
    AUCTION_TICK,
    BID,
    BOOK_CLEAR,
    BROKEN,
    CANCEL,
    CANCEL_ALL,
    CONVERT,
    DEPOSIT,
    DEPOSIT_ASSET,
    DISPOSE,
    DONE,
    ENGINE_PAUSE,
    ENGINE_RESUME,
    EXPIRE,
    EXTERNAL,
    FUNDING_RATE,
    FUNDING_SETTLE,
    FUNDING_TICK,
    HALT,
    IMPACT_TICK,
    INDEX,
    LEVEL_SET,
    LIFE_TICK,
    LIQUIDATE,
    MARK,
    MARK_TICK,
    NEED_INPUT,
    NEW,
    OPEN_POSITION,
    OPTION_TICK,
    OUT_OF_ORDER,
    OUTBOX_FULL,
    REFILL_TICK,
    RESUME,
    SET_FEES,
    SET_GROUP,
    SET_LEVERAGE,
    SET_MARGIN_MODE,
    SET_STATE,
    SET_THROTTLE,
    SET_TIERS,
    SETTLE,
    SHIFT,
    STAGE_PLACES,
    STAGE_TICK,
    TAKE,
    TERMS,
    TRADE_PRINT,
    TRANSFER,
    TRIGGER,
    UNSUPPORTED_KIND,
    VOLATILITY,
    WITHDRAW,
    WITHDRAW_ASSET,
)
from exchange.core.accounts import (
    deposit_money,
    open_position,
    set_leverage,
    transfer_margin,
    withdraw_money,
)
from exchange.core.admission import instrument_exists
from exchange.core.ahead import LOOK_AHEAD, fetch_position
from exchange.core.amend import amend_order, amend_termed
from exchange.core.auction import auction_event, auction_tick, set_state
from exchange.core.backstop import dispose
from exchange.core.book import id_home, level_of
from exchange.core.collateral import convert_holdings, deposit_asset, withdraw_asset
from exchange.core.dutch import take_event
from exchange.core.funding import funding_tick
from exchange.core.gateway import arrive, end_command, serve, wait_for_engine
from exchange.core.guards import close_step
from exchange.core.kernel import entry, inlined, kernel, leaf, prefetch
from exchange.core.liquidation import liquidate, stage_tick
from exchange.core.margin_events import set_tiers
from exchange.core.margin_mode import set_margin_mode
from exchange.core.mark import mark_tick, set_mark_timer
from exchange.core.market_events import funding_rate, funding_settle, index_event, mark_event, set_fees
from exchange.core.options import option_tick, volatility_event
from exchange.core.orders import cancel_all, cancel_order, new_order
from exchange.core.outbox import has_room, refuse
from exchange.core.pause import engine_pause, engine_resume, is_paused, passes_pause
from exchange.core.recorded import book_clear, level_set, refill_tick, trade_print
from exchange.core.repricing import follow_pegs
from exchange.core.resting import finish_orders
from exchange.core.self_trade import set_group
from exchange.core.settlement import life_tick, settle_event, sweep
from exchange.core.shift import impact_tick, shift_market
from exchange.core.terms import drop_terms, hold_terms
from exchange.core.throttle import set_throttle
from exchange.core.timers import pop_timer
from exchange.core.triggers import expire_order, fire_trigger, watch_triggers


@entry
def run(state, events, terms, first, until_ns, horizon_ns):
    """Process events[first:] with ts < until_ns and the timers due, and with no event left timers before horizon_ns.

    `terms` is `events` seen as TERMS records.

    Returns a stop code; `control.next_event` says where to go on.
    """
    io = state.io
    control = io.control[0]
    k, count = first, events.shape[0]
    code = NEED_INPUT
    while True:
        if not has_room(state):
            code = OUTBOX_FULL
            break
        event, extra = io.gateway[0], io.held[0]  # what a timer that serves the gateway lets through
        if control["sweep_next"] != 0:
            sweep(state)
        else:
            due_ns = horizon_ns
            if k < count:
                due_ns = min(np.int64(events[k]["ts_ns"]), until_ns)
            if control["timer_count"] > 0 and max(io.timers[1]["ts_ns"], control["paused_until_ns"]) < due_ns:
                passed = fire_timer(state)
            elif k < count and events[k]["ts_ns"] < until_ns:
                if k + 4 * LOOK_AHEAD < count:
                    look_ahead(state, events, k)
                event, extra = events[k], terms[k]
                passed = begin_event(state, event)
                k += 1
            else:
                code = DONE if k < count else NEED_INPUT
                break
            if passed:
                apply_event(state, event, extra)
        if control["order_work"] != 0:
            finish_orders(state)
        if control["pegged"] != 0:
            follow_pegs(state, event)
        if control["waiting"] != 0:
            watch_triggers(state)
        if control["dirty_count"] != 0:
            close_step(state.ledger, state.guards, state.prices, io)
        if not balanced(state.ledger, state.prices):
            code = BROKEN
            break
    control["next_event"] = k
    return code


@leaf
def balanced(ledger, prices):
    """Rules MON-1 and POS-1 by their running sums."""
    for asset in range(np.int64(prices.policy[0]["assets"])):
        total = ledger.totals[asset]
        if total["balance"] != total["deposits"] - total["withdrawals"]:
            return False
    for instrument in range(np.int64(prices.policy[0]["instruments"])):
        if prices.markets[instrument]["net_lots"] != 0:
            return False
    return True


@inlined
def look_ahead(state, events, k):
    """Fetch what orders a little later will touch: with many accounts each would wait for memory. Changes only time."""
    wallets, ids, orders = state.ledger.wallets, state.book.ids, state.book.orders
    assets = np.int64(state.prices.policy[0]["assets"])
    event = events[k + 4 * LOOK_AHEAD]
    wallet = np.int64(event["account"]) * assets
    if event["kind"] <= CANCEL_ALL and 0 < wallet < wallets.shape[0]:
        prefetch(wallets, wallet)
        prefetch(ids, id_home(ids, np.int64(event["order_id"])))
    event = events[k + 2 * LOOK_AHEAD]
    wallet = np.int64(event["account"]) * assets
    if event["kind"] <= CANCEL_ALL and 0 < wallet < wallets.shape[0]:
        fetch_position(state.ledger, state.guards, np.int64(wallets[wallet]["first_position"]))
        if event["kind"] != NEW:
            prefetch(orders, np.int64(ids[id_home(ids, np.int64(event["order_id"]))]))
    event = events[k + LOOK_AHEAD]
    if event["kind"] == CANCEL:
        slot = np.int64(ids[id_home(ids, np.int64(event["order_id"]))])
        prefetch(orders, np.int64(orders[slot]["prev"]))
        prefetch(orders, np.int64(orders[slot]["next"]))
    if event["kind"] == NEW and instrument_exists(state.prices, np.int64(event["instrument"])):
        side = ASK if event["side"] == BID else BID
        instrument = np.int64(event["instrument"])
        best = np.int64(state.book.books[instrument]["best_ticks"][side])
        maker = np.int64(state.book.levels[level_of(state.book, instrument, side, best)]["head"])
        if state.book.orders[maker]["account"] != EXTERNAL:
            fetch_position(state.ledger, state.guards, np.int64(state.book.orders[maker]["position"]))
            prefetch(wallets, np.int64(state.book.orders[maker]["account"]) * assets)


@inlined
def begin_event(state, event):
    """Number a tape event and let time pass until it. False: it is done with, refused or queued."""
    control, is_order = state.io.control[0], event["kind"] < TERMS
    control["event_seq"] += 1
    passed = event["ts_ns"] >= control["clock_ns"]
    if passed:
        control["clock_ns"] = np.int64(event["ts_ns"])
        if is_order and state.prices.policy[0]["gated"] != 0:
            passed = arrive(state, event)
        if passed and is_paused(state.io):
            passed = passes_pause(state.io, event)
    else:
        refuse(state.io, event, OUT_OF_ORDER)
    if not passed and is_order and state.io.held[0]["kind"] != 0:
        drop_terms(state.io)
    return passed


@inlined
def apply_event(state, event, terms):
    """Apply an event that passed; `terms` is the same event seen as a TERMS record."""
    kind = np.int64(event["kind"])
    dispatch(state, event, terms, kind)
    if kind < TERMS:
        if state.io.held[0]["kind"] != 0:
            drop_terms(state.io)
        if state.prices.policy[0]["gated"] != 0:
            end_command(state, event)


@inlined
def dispatch(state, event, terms, kind):
    """One function a kind, the frequent kinds first."""
    if kind == LEVEL_SET:
        level_set(state, event)
    elif kind == NEW:
        new_order(state, event)
    elif kind == CANCEL:
        cancel_order(state, event)
    elif kind == TRADE_PRINT:
        trade_print(state, event)
    elif kind == AMEND:
        if not amend_order(state, event):
            amend_termed(state, event)
    elif kind == TERMS:
        hold_terms(state.io, terms)
    else:
        apply_rare(state, event, kind)


@kernel
def apply_rare(state, event, kind):
    """Dispatch the kinds that come seldom."""
    if kind == INDEX:
        index_event(state, event)
    elif kind == MARK:
        mark_event(state, event)
    elif kind == FUNDING_RATE:
        funding_rate(state, event)
    elif kind == FUNDING_SETTLE:
        funding_settle(state, event)
    elif kind == BOOK_CLEAR:
        book_clear(state, event)
    elif kind == SHIFT:
        shift_market(state, event)
    elif kind == CANCEL_ALL:
        cancel_all(state, event)
    elif kind == DEPOSIT:
        deposit_money(state, event)
    elif kind == OPEN_POSITION:
        open_position(state, event)
    elif kind == SET_LEVERAGE:
        set_leverage(state, event)
    elif kind == SET_MARGIN_MODE:
        set_margin_mode(state, event)
    elif kind == TRANSFER:
        transfer_margin(state, event)
    elif kind == WITHDRAW:
        withdraw_money(state, event)
    elif kind == DEPOSIT_ASSET:
        deposit_asset(state, event)
    elif kind == WITHDRAW_ASSET:
        withdraw_asset(state, event)
    elif kind == TAKE:
        take_event(state, event)
    elif kind == SET_FEES:
        set_fees(state, event)
    elif kind == SET_TIERS:
        set_tiers(state, event)
    elif kind == SET_GROUP:
        set_group(state, event)
    elif kind == SET_THROTTLE:
        set_throttle(state, event)
    elif kind == HALT or kind == RESUME or kind == SET_STATE:
        set_state(state, event, kind)
    elif kind == AUCTION_START or kind == AUCTION_END:
        auction_event(state, event, kind == AUCTION_START)
    elif kind == SETTLE:
        settle_event(state, event)
    elif kind == VOLATILITY:
        volatility_event(state, event)
    elif kind == ENGINE_PAUSE:
        engine_pause(state, event)
    else:
        refuse(state.io, event, UNSUPPORTED_KIND)


@kernel
def fire_timer(state):
    """Process the earliest timer as an event of its own. True: `gateway[0]` is a command to apply as this event."""
    io = state.io
    pop_timer(io)
    timer, control = io.timers[0], io.control[0]
    control["event_seq"] += 1
    due_ns = max(np.int64(timer["ts_ns"]), np.int64(control["paused_until_ns"]))
    control["clock_ns"] = max(np.int64(control["clock_ns"]), due_ns)
    kind, unit, cause_seq = np.int64(timer["kind"]), np.int64(timer["unit"]), np.int64(timer["cause_seq"])
    if kind == LIQUIDATE:
        liquidate(state, unit, cause_seq)
    elif kind == MARK_TICK:
        mark_tick(state.book, state.ledger, state.guards, state.prices, io, unit)
        set_mark_timer(state.prices, io, unit)
    elif kind == FUNDING_TICK:
        funding_tick(state.book, state.prices, io, unit, np.int64(timer["ts_ns"]))
    elif kind == REFILL_TICK:
        refill_tick(state, unit)
    elif kind == IMPACT_TICK:
        impact_tick(state, unit)
    elif kind == EXPIRE:
        expire_order(state, unit)
    elif kind == TRIGGER:
        fire_trigger(state, unit)
    elif kind == AUCTION_TICK:
        auction_tick(state, unit)
    elif kind == LIFE_TICK:
        life_tick(state, unit)
    elif kind == OPTION_TICK:
        option_tick(state)
    elif kind == CONVERT:
        convert_holdings(state, unit)
    elif kind == ENGINE_RESUME:
        engine_resume(state)
    elif kind == DISPOSE:
        dispose(state, unit)
    elif kind == STAGE_TICK:
        stage_tick(state, unit, np.int64(timer["order"]) // STAGE_PLACES, cause_seq)
    elif timer["ts_ns"] < control["paused_until_ns"]:
        wait_for_engine(io, state.gate.gate[0])
    else:
        serve(state)
        return True
    return False
