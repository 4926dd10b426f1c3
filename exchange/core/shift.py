"""Moves of the whole recorded ladder: by a SHIFT event, and by price impact. DESIGN §3.3."""

import numpy as np

from exchange.codes import ASK, BAD_AMOUNT, BAD_INSTRUMENT, BAD_PRICE, BAD_SIDE, BID, OK, SHIFT_BOOK, SHIFT_INDEX
from exchange.core.admission import instrument_exists
from exchange.core.book import unlink_order
from exchange.core.external import (
    drop_external,
    file_external,
    lone_part,
    recorded_best,
    scaled_lots,
    show_external,
    unfile_external,
)
from exchange.core.impact import absorb_flow, impact_ticks, set_impact_timer
from exchange.core.kernel import kernel
from exchange.core.outbox import refuse
from exchange.core.recorded import uncross

DEPTH_PPM_MAX = 100_000_000


@kernel
def shift_market(state, event):
    """SHIFT: move recorded index and marks, or the recorded ladder and prints with a depth factor, or both."""
    book, prices = state.book, state.prices
    instrument, side = np.int64(event["instrument"]), np.int64(event["side"])
    if not instrument_exists(prices, instrument):
        refuse(state.io, event, BAD_INSTRUMENT)
        return
    market = prices.markets[instrument]
    ticks_max = np.int64(prices.instruments[instrument]["ticks_max"])
    code = OK
    if side != BID and side != ASK:
        code = BAD_SIDE
    elif event["flags"] & SHIFT_BOOK and (event["qty"] < 1 or event["qty"] > DEPTH_PPM_MAX):
        code = BAD_AMOUNT
    elif event["price"] > ticks_max or event["price"] < -ticks_max:
        code = BAD_PRICE
    if code != OK:
        refuse(state.io, event, code)
        return
    if event["flags"] & SHIFT_INDEX:
        market["index_shift_sub"] = np.int64(event["price"]) * np.int64(prices.instruments[instrument]["mark_per_tick"])
    if event["flags"] & SHIFT_BOOK:
        market["shift_ticks"] = np.int64(event["price"]) + np.int64(prices.impacts[instrument]["ticks"])
        market["depth_ppm"] = np.int64(event["qty"])
        move_externals(book, prices, instrument)
        uncross(state, instrument, side)


@kernel
def move_externals(book, prices, instrument):
    """Re-file every recorded level of an instrument under the current shift and depth factor. Mutates book."""
    shift, ticks_max = np.int64(prices.markets[instrument]["shift_ticks"]), prices.instruments[instrument]["ticks_max"]
    e = np.int64(book.books[instrument]["external_head"])
    while e != 0:
        external = book.externals[e]
        lone_part(book, e)
        slot = np.int64(external["order"])
        if book.orders[slot]["leaves_lots"] != 0:
            unlink_order(book, slot)
            book.orders[slot]["leaves_lots"] = 0
        unfile_external(book, e)
        e = np.int64(external["next"])
    e = np.int64(book.books[instrument]["external_head"])
    while e != 0:
        external = book.externals[e]
        after, ticks = np.int64(external["next"]), np.int64(external["recorded_ticks"]) + shift
        if ticks < prices.instruments[instrument]["ticks_min"] or ticks > ticks_max:
            drop_external(book, e)
        else:
            external["ticks"] = ticks
            external["lots"] = scaled_lots(prices, instrument, np.int64(external["recorded_lots"]))
            external["displaced_lots"] = min(np.int64(external["displaced_lots"]), np.int64(external["lots"]))
            external["printed_lots"] = 0
            book.orders[np.int64(external["order"])]["ticks"] = ticks
            file_external(book, e)
            show_external(book, e)
        e = after


@kernel
def impact_tick(state, instrument):
    """IMPACT_TICK: the recorded quotes answer what simulated takers executed. Mutates book; sets the next timer.

    Without a recorded bid or ask there is no mid to state the move in, and the shift stays as it is. The timer rests
    once no flow and no shift are left.
    """
    book, prices = state.book, state.prices
    impact, market = prices.impacts[instrument], prices.markets[instrument]
    absorb_flow(impact)
    bid, ask = recorded_best(book, instrument, BID), recorded_best(book, instrument, ASK)
    if bid != 0 and ask != 0:
        before = np.int64(impact["ticks"])
        ticks = impact_ticks(impact, bid + ask - 2 * np.int64(market["shift_ticks"]))
        if ticks != before:
            impact["ticks"] = ticks
            market["shift_ticks"] += ticks - before
            move_externals(book, prices, instrument)
            uncross(state, instrument, BID if ticks > before else ASK)
    impact["timer"] = 0
    if impact["decaying_mlots"] != 0 or impact["permanent_mlots"] != 0 or impact["ticks"] != 0:
        set_impact_timer(state.io, impact, instrument)
