"""Recorded market: external levels, prints, clears, refill. DESIGN §3.3.

Recorded size at a price is an order of EXTERNAL in that level's queue (several under a queue model); simulated orders
queue around it.
"""

import numpy as np

from exchange.codes import (
    ASK,
    BAD_INSTRUMENT,
    BAD_LOTS,
    BAD_PRICE,
    BAD_SIDE,
    BID,
    EVIDENCE,
    EXTERNAL,
    EXTRAPOLATED,
    LAST,
    OK,
    REDUCE_ONLY,
    REFILL_KEEP_PPM,
    REFILL_NONE,
    STATE_CONTINUOUS,
)
from exchange.core.admission import instrument_exists
from exchange.core.arith import ppm_down
from exchange.core.book import (
    first_simulated,
    level_of,
    next_level,
)
from exchange.core.external import (
    LOTS_MAX,
    add_external,
    drop_crossed,
    drop_external,
    external_order,
    scaled_lots,
)
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import external_position
from exchange.core.match import book_trade, extrapolated_flag, fill_maker, start_refill, take_from_external
from exchange.core.outbox import refuse
from exchange.core.printed import note_trade
from exchange.core.queue_model import resize_external
from exchange.core.removal import after_queue, trim_reduce_only
from exchange.core.states import stands_still


@leaf
def fill_against_external(state, instrument, slot, lots, flags):
    """A simulated resting order fills at its own price against EXTERNAL (print, or uncrossing)."""
    order = state.book.orders[slot]
    ticks, bid = np.int64(order["ticks"]), order["side"] == BID
    book_trade(state, instrument, external_position(instrument), -lots if bid else lots, ticks, 0, 0)
    fill_maker(state, instrument, slot, lots, EXTERNAL, flags, 0)


@kernel
def uncross(state, instrument, side):
    """Resolve a book that a recorded message crossed. DESIGN §3.3.

    Simulated orders fill at their own price, then recorded levels of the side opposite to `side` give way. Where the
    market stands still nothing fills.
    """
    book = state.book
    if stands_still(state.prices.markets[instrument]):
        drop_crossed(book, instrument, side)
        return
    best = book.books[instrument]["best_ticks"]
    while best[BID] != 0 and best[ASK] != 0 and best[BID] >= best[ASK]:
        bid, ask = np.int64(best[BID]), np.int64(best[ASK])
        bid_level = book.levels[level_of(book, instrument, BID, bid)]
        ask_level = book.levels[level_of(book, instrument, ASK, ask)]
        bid_external, ask_external = external_order(book, bid_level), external_order(book, ask_level)
        simulated, external = first_simulated(book, instrument, BID, bid), ask_external
        if simulated == 0 or external == 0:
            simulated, external = first_simulated(book, instrument, ASK, ask), bid_external
        if simulated != 0 and external != 0:
            if book.orders[simulated]["flags"] & REDUCE_ONLY and not trim_reduce_only(state, simulated):
                continue
            fill = min(np.int64(book.orders[simulated]["leaves_lots"]), np.int64(book.orders[external]["leaves_lots"]))
            flags = extrapolated_flag(state, external)
            take_from_external(state, external, fill)
            fill_against_external(state, instrument, simulated, fill, flags)
        elif bid_external != 0 and ask_external != 0:
            level = ask_level if side == BID else bid_level
            drop_external(book, np.int64(level["external"]))
            book.books[instrument]["crossed_levels"] += 1
        else:
            break


@leaf
def check_level(prices, event, lots_min):
    """Checks shared by LEVEL_SET and TRADE_PRINT. Returns a code."""
    instrument, side = np.int64(event["instrument"]), np.int64(event["side"])
    if not instrument_exists(prices, instrument):
        return BAD_INSTRUMENT
    if side != BID and side != ASK:
        return BAD_SIDE
    if event["qty"] < lots_min or event["qty"] > LOTS_MAX:
        return BAD_LOTS
    if event["price"] < 1 or event["price"] > LOTS_MAX:
        return BAD_PRICE
    ticks = np.int64(event["price"]) + np.int64(prices.markets[instrument]["shift_ticks"])
    if ticks < prices.instruments[instrument]["ticks_min"] or ticks > prices.instruments[instrument]["ticks_max"]:
        return BAD_PRICE
    return OK


@leaf
def set_level(state, event, instrument, side, ticks):
    """Apply one recorded level. Returns a code. Mutates book."""
    book, prices = state.book, state.prices
    e = np.int64(book.levels[level_of(book, instrument, side, ticks)]["external"])
    lots = np.int64(event["qty"])
    if lots == 0:
        if e != 0:
            drop_external(book, e)
        return OK
    code = OK
    if e == 0:
        e, code = add_external(book, instrument, side, ticks)
    if code == OK:
        external = book.externals[e]
        shown = scaled_lots(prices, instrument, lots)
        external["recorded_lots"] = lots
        external["recorded_ticks"] = np.int64(event["price"])
        external["lots"] = shown
        external["extrapolated"] = 1 if event["flags"] & EXTRAPOLATED else 0
        returns = prices.policy[0]["refill"] == REFILL_NONE
        external["displaced_lots"] = np.int64(0) if returns else min(np.int64(external["displaced_lots"]), shown)
        printed = np.int64(external["printed_lots"])
        external["printed_lots"] = 0
        resize_external(book, prices, e, printed)
    return code


@leaf
def level_set(state, event):
    """LEVEL_SET: the absolute recorded size at a price; the last row of a message uncrosses the book."""
    prices = state.prices
    code = check_level(prices, event, 0)
    if code == OK:
        instrument, side = np.int64(event["instrument"]), np.int64(event["side"])
        ticks = np.int64(event["price"]) + np.int64(prices.markets[instrument]["shift_ticks"])
        code = set_level(state, event, instrument, side, ticks)
        if code == OK:
            best = state.book.books[instrument]["best_ticks"]
            if event["flags"] & LAST and best[BID] != 0 and best[ASK] != 0 and best[BID] >= best[ASK]:
                uncross(state, instrument, side)
    if code != OK:
        refuse(state.io, event, code)


@kernel
def book_clear(state, event):
    """BOOK_CLEAR: every recorded level goes, with what was displaced of it. Simulated orders stay."""
    instrument = np.int64(event["instrument"])
    if not instrument_exists(state.prices, instrument):
        refuse(state.io, event, BAD_INSTRUMENT)
        return
    while state.book.books[instrument]["external_head"] != 0:
        drop_external(state.book, np.int64(state.book.books[instrument]["external_head"]))


@kernel
def trade_print(state, event):
    """TRADE_PRINT: fills the simulated orders that its price and size reach behind the recorded size ahead of them."""
    book, prices = state.book, state.prices
    code = check_level(prices, event, 1)
    if code != OK:
        refuse(state.io, event, code)
        return
    if event["flags"] & EVIDENCE:
        return
    instrument = np.int64(event["instrument"])
    side = ASK if event["side"] == BID else BID  # the side that was hit
    market = prices.markets[instrument]
    ticks = np.int64(event["price"]) + np.int64(market["shift_ticks"])
    market["last_ticks"] = ticks
    if market["trades"] != 0:
        note_trade(prices, np.int64(state.io.control[0]["clock_ns"]), instrument, ticks, np.int64(event["qty"]), 0)
    if market["state"] != STATE_CONTINUOUS and stands_still(market):
        return
    budget = np.int64(event["qty"])
    best = book.books[instrument]["best_ticks"]
    at = np.int64(best[side])
    while budget > 0 and at != 0 and (at >= ticks if side == BID else at <= ticks):
        budget = print_level(state, instrument, side, at, at == ticks, budget)
        at = next_level(book, instrument, side, at)


@leaf
def print_level(state, instrument, side, ticks, own_price, budget):
    """Walk one level's queue with a print's budget; returns what is left of it."""
    book = state.book
    level = book.levels[level_of(book, instrument, side, ticks)]
    slot, printed = np.int64(level["head"]), np.int64(book.externals[np.int64(level["external"])]["printed_lots"])
    while slot != 0 and budget > 0:
        order = book.orders[slot]
        after = after_queue(book, slot)
        if order["account"] == EXTERNAL:
            external = book.externals[np.int64(order["position"])]
            gone = min(printed, np.int64(order["leaves_lots"]))  # earlier prints took the front of the queue
            printed -= gone
            ahead = min(budget, np.int64(order["leaves_lots"]) - gone)
            if own_price:
                external["printed_lots"] += ahead
            budget -= ahead
        elif order["flags"] & REDUCE_ONLY == 0 or trim_reduce_only(state, slot):
            fill = min(budget, np.int64(order["leaves_lots"]))
            budget -= fill
            fill_against_external(state, instrument, slot, fill, 0)
            if after == 0 and book.orders[slot]["leaves_lots"] != 0:  # an iceberg, at the tail again
                after = slot
        slot = after
    return budget


@kernel
def refill_tick(state, instrument):
    """REFILL_TICK: displaced size decays by one step and joins its order again; while any is left, so does the timer.

    Mutates book, market, timers.
    """
    book, left = state.book, np.int64(0)
    e = np.int64(book.books[instrument]["external_head"])
    while e != 0:
        external = book.externals[e]
        if external["displaced_lots"] != 0:
            external["displaced_lots"] = ppm_down(np.int64(external["displaced_lots"]), REFILL_KEEP_PPM)
            resize_external(book, state.prices, e, np.int64(0))
            left = max(left, np.int64(external["displaced_lots"]))
        e = np.int64(external["next"])
    state.prices.markets[instrument]["refill_timer"] = 0
    if left != 0:
        start_refill(state.prices, state.io, instrument)
    uncross(state, instrument, BID)
