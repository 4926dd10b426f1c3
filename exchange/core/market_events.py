"""Events of prices, funding and fees: their checks, and what each sets off. DESIGN §3.3, §3.4."""

import numpy as np

from exchange.codes import (
    BAD_AMOUNT,
    BAD_CONSTITUENT,
    BAD_INSTRUMENT,
    BAD_PRICE,
    BY_MARK,
    MARK_RECORDED,
    OK,
)
from exchange.core.accounts import done
from exchange.core.admission import instrument_exists
from exchange.core.depth import measure
from exchange.core.funding import BILLION, start_settlement
from exchange.core.index import clip_sub, is_source, price_fits
from exchange.core.kernel import leaf
from exchange.core.margin_events import reserve_fee
from exchange.core.mark import set_mark, source_came, take_index
from exchange.core.options import refresh_one
from exchange.core.outbox import refuse
from exchange.core.spot import check_contract

FEE_PPM_MAX = 100_000


@leaf
def index_event(state, event):
    """INDEX: constituent 0 is the composite. An option has none of its own."""
    prices, instrument, constituent = state.prices, np.int64(event["instrument"]), np.int64(event["order_id"])
    if not instrument_exists(prices, instrument) or prices.instruments[instrument]["option"] != 0:
        refuse(state.io, event, BAD_INSTRUMENT)
        return
    if not price_fits(prices, instrument, np.int64(event["price"])):
        refuse(state.io, event, BAD_PRICE)
        return
    if not is_source(prices, instrument, constituent):
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
    if prices.instruments[instrument]["option"] != 0:
        refresh_one(state, instrument, max(np.int64(event["price"]) + np.int64(market["index_shift_sub"]), np.int64(1)))
    elif prices.policy[0]["mark_source"] == MARK_RECORDED and prices.instruments[instrument]["spot"] == 0:
        set_mark(
            state.ledger,
            state.guards,
            prices,
            state.io,
            instrument,
            np.int64(event["price"]) + np.int64(market["index_shift_sub"]),
        )
        if prices.members[instrument]["measured"] != 0:
            measure(state.book, state.ledger, prices, state.io, instrument)
    elif prices.instruments[instrument]["spot"] == 0 and prices.pricing[0]["mark_mask"] & 1 << BY_MARK:
        prices.price_states[instrument]["mark_ns"] = np.int64(state.io.control[0]["clock_ns"])
        source_came(state.book, state.ledger, state.guards, prices, state.io, instrument)


@leaf
def funding_rate(state, event):
    """FUNDING_RATE: the rate in force and when it settles next; nothing where the venue computes it."""
    instrument = np.int64(event["instrument"])
    code = check_contract(state.prices, instrument)
    if code != OK:
        refuse(state.io, event, code)
    elif event["price"] > BILLION or event["price"] < -BILLION or event["qty"] < 0:
        refuse(state.io, event, BAD_AMOUNT)
    elif state.prices.pricing[0]["funding_computed"] == 0:
        state.prices.markets[instrument]["funding_rate_ppb"] = np.int64(event["price"])
        state.prices.markets[instrument]["next_funding_ns"] = np.int64(event["qty"])


@leaf
def funding_settle(state, event):
    """FUNDING_SETTLE: start the sweep that pays every position; nothing where the venue computes the rate."""
    instrument = np.int64(event["instrument"])
    code = check_contract(state.prices, instrument)
    if code != OK:
        refuse(state.io, event, code)
    elif event["price"] > BILLION or event["price"] < -BILLION:
        refuse(state.io, event, BAD_AMOUNT)
    elif state.prices.pricing[0]["funding_computed"] == 0:
        start_settlement(state.prices, state.io, instrument, np.int64(event["price"]), 1, 1)


@leaf
def set_fees(state, event):
    """SET_FEES: maker and taker rates from now on."""
    instrument = np.int64(event["instrument"])
    if not instrument_exists(state.prices, instrument):
        done(state, event, BAD_INSTRUMENT)
    elif not (-FEE_PPM_MAX <= event["price"] <= FEE_PPM_MAX and -FEE_PPM_MAX <= event["qty"] <= FEE_PPM_MAX):
        done(state, event, BAD_AMOUNT)
    else:
        state.prices.instruments[instrument]["maker_ppb"] = 1000 * np.int64(event["price"])
        state.prices.instruments[instrument]["taker_ppb"] = 1000 * np.int64(event["qty"])
        reserve_fee(state, instrument)
        done(state, event, OK)
