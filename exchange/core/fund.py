"""What the fund takes over and pays for in a liquidation, when it stands back; disposal timers. DESIGN §4–§4.4."""

import numpy as np

from exchange.codes import (
    ADL_DRAWDOWN,
    ADL_EQUITY,
    ADL_FIRST,
    DEFICIT,
    DISPOSE,
    INSURANCE,
    LINEAR,
    PRIORITY_DISPOSE,
    TAKEOVER,
)
from exchange.core.arith import ceil_div, ppm_down
from exchange.core.contract import mark_value, trade_value
from exchange.core.guards import touch
from exchange.core.kernel import leaf
from exchange.core.ledger import cover_wallet, pay_insurance
from exchange.core.margin import insurance_position, unit_account, unit_pocket
from exchange.core.match import book_trade
from exchange.core.outbox import emit
from exchange.core.plan import instrument_label, liquidation_id_of
from exchange.core.timers import push_timer


@leaf
def count_use(state, asset, money):
    """Note that the fund bears `money` more, where its use is bounded; a gain is none. Mutates what it remembers."""
    rules, fund = state.prices.waterfalls[asset], state.ledger.funds[asset]
    if rules["interval_ns"] != 0:
        interval = np.int64(state.io.control[0]["clock_ns"]) // np.int64(rules["interval_ns"]) + 1
        if fund["interval"] != interval:
            fund["interval"] = interval
            fund["used"] = 0
        fund["used"] += max(np.int64(0), money)


@leaf
def usable(state, asset, fund_equity):
    """What of its equity the fund may bear losses with now."""
    rules, fund = state.prices.waterfalls[asset], state.ledger.funds[asset]
    if rules["interval_ns"] == 0:
        return fund_equity
    interval = np.int64(state.io.control[0]["clock_ns"]) // np.int64(rules["interval_ns"]) + 1
    used = np.int64(fund["used"]) if fund["interval"] == interval else np.int64(0)
    return min(fund_equity, np.int64(rules["use_max"]) - used)


@leaf
def stands_back(state, asset, fund_equity):
    """Does auto-deleveraging come before the fund now? Mutates what the fund remembers."""
    rules, fund = state.prices.waterfalls[asset], state.ledger.funds[asset]
    trigger = rules["trigger"]
    if trigger == ADL_EQUITY:
        bound = np.int64(rules["stop_at"]) if fund["deleveraging"] != 0 else np.int64(rules["start_below"])
        fund["deleveraging"] = 1 if fund_equity < bound else 0
        return fund_equity < bound
    if trigger == ADL_DRAWDOWN:
        window = np.int64(state.io.control[0]["clock_ns"]) // np.int64(rules["window_ns"]) + 1
        if fund["window"] != window or fund_equity > fund["peak"]:
            fund["window"] = window
            fund["peak"] = fund_equity
        peak = np.int64(fund["peak"])
        allowed = np.int64(rules["drawdown"])
        if rules["drawdown_ppm"] != 0:
            allowed = ppm_down(max(np.int64(0), peak), np.int64(rules["drawdown_ppm"]))
        return peak - fund_equity > allowed
    return trigger == ADL_FIRST


@leaf
def set_disposal_timer(state, instrument):
    """Set the timer that works an instrument's positions off, if there is one and it is not set. Mutates the heap."""
    prices, market = state.prices, state.prices.markets[instrument]
    period_ns = np.int64(prices.waterfalls[np.int64(prices.instruments[instrument]["asset"])]["disposal_ns"])
    if period_ns != 0 and market["disposal_timer"] == 0 and prices.instruments[instrument]["spot"] == 0:
        market["disposal_timer"] = 1
        due_ns = np.int64(state.io.control[0]["clock_ns"]) + period_ns
        push_timer(state.io, due_ns, PRIORITY_DISPOSE, 0, instrument, instrument, DISPOSE)


@leaf
def give_to_fund(state, unit, p, lots, fund_equity):
    """The fund takes `lots` (signed like the position) at the bankruptcy price."""
    instrument, ticks = (
        np.int64(state.ledger.positions[p]["instrument"]),
        np.int64(state.ledger.legs[p]["bankruptcy_ticks"]),
    )
    loss = trade_value(state.prices, instrument, ticks, lots) - mark_value(state.prices, instrument, lots)
    count_use(state, np.int64(state.prices.instruments[instrument]["asset"]), loss)
    book_trade(state, instrument, p, -lots, ticks, 0, 0)
    book_trade(state, instrument, insurance_position(state.prices, instrument), lots, ticks, 0, 0)
    if state.prices.waterfalls[np.int64(state.prices.instruments[instrument]["asset"])]["backstop"] == 0:
        set_disposal_timer(state, instrument)
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
    count_use(state, asset, -short)
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
