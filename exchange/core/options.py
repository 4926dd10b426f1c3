"""European options: their marks, and what a short must hold, refreshed together. DESIGN §3.14.

Neither moves between refreshes, so options have no guards: a refresh touches those who hold them.
"""

import numpy as np

from exchange.codes import (
    BAD_AMOUNT,
    BAD_INSTRUMENT,
    CALL,
    OPTION_TICK,
    PRIORITY_MARK,
    PUT,
    SETTLED,
    STATE_SETTLED,
)
from exchange.core.admission import instrument_exists
from exchange.core.arith import MILLION, ppm_up
from exchange.core.black76 import black_sub, discount_ppb
from exchange.core.guards import touch
from exchange.core.index import clip_sub
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import unit_of
from exchange.core.mark import set_mark
from exchange.core.option_grid import refresh_option_risks
from exchange.core.outbox import refuse
from exchange.core.timers import push_timer

VOLATILITY_MAX = 100  # a year


@leaf
def in_strikes(option, price_sub):
    """A price of the underlying, in its sub-ticks, in the unit of the strike."""
    return price_sub * np.int64(option["numerator"]) // np.int64(option["denominator"])


@leaf
def payoff(option, price):
    """What a lot pays at a price > 0 of the underlying in the unit of the strike: sub-ticks, rounded down."""
    gain = price - np.int64(option["strike"])
    gain = max(np.int64(0), gain if option["right"] == CALL else -gain)
    return gain if option["coin_sub"] == 0 else np.int64(option["coin_sub"]) * gain // price


@leaf
def worth_of(option, forward):
    """What the underlying of an option is worth, in its sub-ticks."""
    return forward if option["coin_sub"] == 0 else np.int64(option["coin_sub"])


@leaf
def short_rule(option, forward, mark_sub):
    """(initial, maintenance) of a short lot in sub-ticks, the mark itself left out: equity has paid it already."""
    away, whole = np.int64(option["strike"]) - forward, worth_of(option, forward)
    away = max(np.int64(0), away if option["right"] == CALL else -away)
    if option["coin_sub"] != 0:
        away = whole * away // forward
    base = max(whole, mark_sub) if option["right"] == PUT else whole
    maintenance = ppm_up(base, np.int64(option["maintenance_ppm"]))
    initial = ppm_up(whole, np.int64(option["initial_ppm"])) - away
    return max(initial, ppm_up(whole, np.int64(option["floor_ppm"])), maintenance), maintenance


@leaf
def charged_sub(prices, instrument, forward):
    """What the underlying of an option is worth where charges are reckoned: at the forward, or at its index."""
    option = prices.options[instrument]
    index_sub = np.int64(prices.markets[np.int64(option["underlying"])]["index_sub"])
    if prices.members[instrument]["at_index"] == 0 or index_sub == 0:
        return worth_of(option, forward)
    return worth_of(option, in_strikes(option, index_sub))


@kernel
def option_terms(prices, clock_ns, instrument, recorded_sub):
    """(mark, as recorded or (0) by Black-76; initial, maintenance of a short lot; worth of the underlying); a mark of
    0 = there is none."""
    option, market, nothing = prices.options[instrument], prices.markets[instrument], np.int64(0)
    forward = in_strikes(option, np.int64(prices.markets[np.int64(option["underlying"])]["mark_sub"]))
    if forward == 0 or market["state"] == STATE_SETTLED:
        return nothing, nothing, nothing, nothing
    mark_sub = recorded_sub if recorded_sub != 0 else np.int64(market["mark_sub"])
    if recorded_sub == 0 and option["volatility_parts"] != 0:
        left_ns = max(nothing, np.int64(prices.lives[instrument]["expiry_ns"]) - clock_ns)
        mark_sub = black_sub(
            forward,
            np.int64(option["strike"]),
            left_ns,
            np.int64(option["volatility_parts"]),
            np.int64(option["whole_parts"]),
            np.int64(option["right"]),
            np.int64(option["coin_sub"]),
            discount_ppb(MILLION, np.int64(option["rate_ppm"]), left_ns),
        )
    elif mark_sub == 0:
        return nothing, nothing, nothing, nothing
    mark_sub = clip_sub(prices, instrument, mark_sub)
    initial, maintenance = short_rule(option, forward, mark_sub)
    return mark_sub, initial, maintenance, charged_sub(prices, instrument, forward)


@kernel
def refresh_option(ledger, guards, prices, io, instrument, recorded_sub):
    """Set an option's mark and what a short holds; nothing without a forward."""
    option, market = prices.options[instrument], prices.markets[instrument]
    clock_ns = np.int64(io.control[0]["clock_ns"])
    mark_sub, initial, maintenance, whole = option_terms(prices, clock_ns, instrument, recorded_sub)
    if mark_sub == 0:
        return
    held = initial != option["initial_sub"] or maintenance != option["maintenance_sub"]
    if held or mark_sub != market["mark_sub"] or whole != option["whole_sub"]:
        option["initial_sub"] = initial
        option["maintenance_sub"] = maintenance
        option["whole_sub"] = whole
        option["moved"] = 1
        set_mark(ledger, guards, prices, io, instrument, mark_sub)
    if prices.grids[0]["holders"] != 0:
        forward = in_strikes(option, np.int64(prices.markets[np.int64(option["underlying"])]["mark_sub"]))
        if refresh_option_risks(prices, io, instrument, forward):
            option["moved"] = 1


@kernel
def touch_moved(ledger, prices, io):
    """Touch every unit with a position in an option that was refreshed. Mutates the dirty list."""
    options = prices.options
    for p in range(1, np.int64(io.control[0]["position_high"]) + 1):
        position = ledger.positions[p]
        if position["lots"] != 0 and options[np.int64(position["instrument"])]["moved"] != 0:
            touch(ledger, io, unit_of(ledger, p))
    for k in range(options.shape[0]):
        options[k]["moved"] = 0


@leaf
def set_option_timer(prices, io, due_ns):
    """Set the venue's next OPTION_TICK: after all MARK_TICKs of its time. Mutates the heap."""
    prices.options[0]["timer"] = 1
    push_timer(io, due_ns, PRIORITY_MARK, 0, np.int64(prices.policy[0]["instruments"]), 0, OPTION_TICK)


@kernel
def refresh_one(state, instrument, recorded_sub):
    """Refresh one option because of an event; the first sets the timer."""
    prices, period = state.prices, np.int64(state.prices.policy[0]["option_period_ns"])
    refresh_option(state.ledger, state.guards, prices, state.io, instrument, recorded_sub)
    touch_moved(state.ledger, prices, state.io)
    if prices.options[0]["timer"] == 0:
        set_option_timer(prices, state.io, (np.int64(state.io.control[0]["clock_ns"]) // period + 1) * period)


@kernel
def option_tick(state):
    """OPTION_TICK: refresh every option; the next one comes a period later, while one is not settled."""
    prices, lives = state.prices, False
    prices.options[0]["timer"] = 0
    for k in range(np.int64(prices.policy[0]["instruments"])):
        if prices.instruments[k]["option"] != 0:
            refresh_option(state.ledger, state.guards, prices, state.io, k, np.int64(0))
            lives = lives or prices.markets[k]["state"] != STATE_SETTLED
    touch_moved(state.ledger, prices, state.io)
    if lives:
        clock_ns = np.int64(state.io.control[0]["clock_ns"])
        set_option_timer(prices, state.io, clock_ns + np.int64(prices.policy[0]["option_period_ns"]))


@kernel
def volatility_event(state, event):
    """VOLATILITY: an option's mark volatility (parts a year) from now on."""
    instrument, prices = np.int64(event["instrument"]), state.prices
    if not instrument_exists(prices, instrument) or prices.instruments[instrument]["option"] == 0:
        refuse(state.io, event, BAD_INSTRUMENT)
    elif event["price"] < 1 or event["price"] > VOLATILITY_MAX * np.int64(prices.options[instrument]["whole_parts"]):
        refuse(state.io, event, BAD_AMOUNT)
    elif prices.markets[instrument]["state"] == STATE_SETTLED:
        refuse(state.io, event, SETTLED)
    else:
        prices.options[instrument]["volatility_parts"] = np.int64(event["price"])
        refresh_one(state, instrument, np.int64(0))
