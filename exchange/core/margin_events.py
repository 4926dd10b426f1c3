"""Events that change what positions must hold: another tier table, another closing fee. DESIGN §3.15."""

import numpy as np

from exchange.codes import BAD_INSTRUMENT, BAD_TIERS, CLOSING_TAKER, FIRST_USER, OK, SWEEP_TOUCH
from exchange.core.accounts import done
from exchange.core.admission import instrument_exists
from exchange.core.arith import ceil_div
from exchange.core.kernel import kernel, leaf


@kernel
def set_tiers(state, event):
    """SET_TIERS: another of the instrument's tier tables holds from now on."""
    prices, instrument, chosen = state.prices, np.int64(event["instrument"]), np.int64(event["qty"])
    if not instrument_exists(prices, instrument):
        done(state, event, BAD_INSTRUMENT)
        return
    record, row = prices.instruments[instrument], prices.margins[instrument]
    if chosen < 0 or chosen >= row["set_count"]:
        done(state, event, BAD_TIERS)
        return
    record["tier_base"] = np.int64(row["set_base"][chosen])
    record["tier_count"] = np.int64(row["set_size"][chosen])
    row["tier_set"] = chosen
    touch_users(state, instrument)
    done(state, event, OK)


@leaf
def touch_users(state, instrument):
    """Start the sweep that re-checks every user with a position: it goes on as continuations of this event."""
    control = state.io.control[0]
    control["sweep_kind"] = SWEEP_TOUCH
    control["sweep_instrument"] = instrument
    control["sweep_next"] = FIRST_USER * np.int64(state.prices.policy[0]["assets"])


@kernel
def reserve_fee(state, instrument):
    """The taker rate of an instrument changed: where maintenance holds that fee, so does what its holders need."""
    row = state.prices.margins[instrument]
    if row["closing_fee"] == CLOSING_TAKER:
        taker_ppb = np.int64(state.prices.instruments[instrument]["taker_ppb"])
        row["reserve_ppm"] = max(np.int64(0), ceil_div(taker_ppb, 1000))
        touch_users(state, instrument)
