"""Events of prices, funding and fees: their checks, and what each sets off. DESIGN §3.3, §3.4."""

import numpy as np

from exchange.codes import (
    BAD_AMOUNT,
    BAD_CONSTITUENT,
    BAD_INSTRUMENT,
    BAD_PRICE,
    INDEX_COMPOSITE,
    MARK_RECORDED,
    OK,
)
from exchange.core.accounts import BILLION, done
from exchange.core.admission import instrument_exists
from exchange.core.kernel import leaf
from exchange.core.outbox import refuse
from exchange.core.prices import clip_sub, set_mark, take_index

FEE_PPM_MAX = 100_000


@leaf
def index_event(state, event):
    """INDEX: constituent 0 is the composite."""
    prices, instrument, constituent = state.prices, np.int64(event["instrument"]), np.int64(event["order_id"])
    if not instrument_exists(prices, instrument):
        refuse(state.io, event, BAD_INSTRUMENT)
        return
    if clip_sub(prices, instrument, np.int64(event["price"])) != event["price"]:
        refuse(state.io, event, BAD_PRICE)
        return
    record, composite = prices.instruments[instrument], prices.policy[0]["index_rule"] == INDEX_COMPOSITE
    if (constituent != 0) if composite else (constituent < 1 or constituent > record["constituent_count"]):
        refuse(state.io, event, BAD_CONSTITUENT)
        return
    take_index(
        state.book, state.ledger, state.guards, prices, state.io, instrument, constituent, np.int64(event["price"])
    )


@leaf
def mark_event(state, event):
    """MARK: the recorded mark, used where the profile's mark is the recorded one."""
    prices, instrument = state.prices, np.int64(event["instrument"])
    if not instrument_exists(prices, instrument):
        refuse(state.io, event, BAD_INSTRUMENT)
        return
    if clip_sub(prices, instrument, np.int64(event["price"])) != event["price"]:
        refuse(state.io, event, BAD_PRICE)
        return
    market = prices.markets[instrument]
    market["recorded_mark_sub"] = np.int64(event["price"])
    if prices.policy[0]["mark_source"] == MARK_RECORDED:
        set_mark(
            state.ledger,
            state.guards,
            prices,
            state.io,
            instrument,
            np.int64(event["price"]) + np.int64(market["index_shift_sub"]),
        )


@leaf
def funding_rate(state, event):
    """FUNDING_RATE: the rate in force and when it settles next."""
    instrument = np.int64(event["instrument"])
    if not instrument_exists(state.prices, instrument):
        refuse(state.io, event, BAD_INSTRUMENT)
    elif event["price"] > BILLION or event["price"] < -BILLION or event["qty"] < 0:
        refuse(state.io, event, BAD_AMOUNT)
    else:
        state.prices.markets[instrument]["funding_rate_ppb"] = np.int64(event["price"])
        state.prices.markets[instrument]["next_funding_ns"] = np.int64(event["qty"])


@leaf
def funding_settle(state, event):
    """FUNDING_SETTLE: start the sweep that pays every position; it goes on as continuations of this event."""
    instrument, control = np.int64(event["instrument"]), state.io.control[0]
    if not instrument_exists(state.prices, instrument):
        refuse(state.io, event, BAD_INSTRUMENT)
    elif event["price"] > BILLION or event["price"] < -BILLION:
        refuse(state.io, event, BAD_AMOUNT)
    elif state.prices.markets[instrument]["mark_sub"] != 0:
        control["sweep_instrument"] = instrument
        control["sweep_value"] = np.int64(event["price"])
        control["sweep_next"] = 1


@leaf
def set_fees(state, event):
    """SET_FEES: maker and taker rates from now on."""
    instrument = np.int64(event["instrument"])
    if not instrument_exists(state.prices, instrument):
        done(state, event, BAD_INSTRUMENT)
    elif not (-FEE_PPM_MAX <= event["price"] <= FEE_PPM_MAX and -FEE_PPM_MAX <= event["qty"] <= FEE_PPM_MAX):
        done(state, event, BAD_AMOUNT)
    else:
        state.prices.instruments[instrument]["maker_ppm"] = np.int64(event["price"])
        state.prices.instruments[instrument]["taker_ppm"] = np.int64(event["qty"])
        done(state, event, OK)
