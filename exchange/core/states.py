"""What a market's state lets through: which orders, how far a taker reaches, what waits. DESIGN §3.7."""

import numpy as np

from exchange.codes import (
    AUCTION_TICK,
    BID,
    CANCEL_ONLY,
    GTC,
    GTD,
    HALTED,
    MARKET,
    NOT_IN_AUCTION,
    NOT_LISTED,
    OK,
    POST_ONLY,
    POST_ONLY_STATE,
    PRIORITY_AUCTION,
    REDUCE_ONLY,
    REDUCE_ONLY_STATE,
    SETTLED,
    STATE_AUCTION,
    STATE_CANCEL_ONLY,
    STATE_HALTED,
    STATE_POST_ONLY,
    STATE_REDUCE_ONLY,
    STATE_SETTLED,
    STATE_UNLISTED,
    TO_LIMIT,
)
from exchange.core.arith import MILLION, ceil_div
from exchange.core.guards import set_liquidation_timer
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import unit_of
from exchange.core.timers import push_timer


@leaf
def stands_still(market):
    """Does nothing match in this market?"""
    return market["state"] == STATE_HALTED or market["state"] >= STATE_AUCTION


@leaf
def check_life(state_code):
    """Is the instrument listed, and not settled yet? Returns a code."""
    if state_code < STATE_SETTLED:
        return OK
    return NOT_LISTED if state_code == STATE_UNLISTED else SETTLED


@leaf
def rests(prices, instrument, flags, tif):
    """Does what an order does not fill at once rest? A market order's does in an auction, or as a limit order."""
    if tif == GTC or tif == GTD:
        return flags & MARKET == 0 or prices.markets[instrument]["state"] == STATE_AUCTION
    return tif == TO_LIMIT


@leaf
def reach_of(state, instrument, side, limit_ticks, enters):
    """How far a taker of this limit gets: all the way, but for auctions and price bands."""
    if state.prices.markets[instrument]["fenced"] == 0:
        return limit_ticks
    return fence(state.prices, state.io, instrument, side, limit_ticks, enters)


@kernel
def check_state(state_code, flags, tif, waits):
    """May an order of these flags enter a market in this state? Returns a code.

    `waits`: it does so for its trigger, which in an auction nothing reaches.
    """
    if state_code == STATE_HALTED:
        return HALTED
    if state_code == STATE_CANCEL_ONLY:
        return CANCEL_ONLY
    if state_code == STATE_POST_ONLY and not flags & POST_ONLY:
        return POST_ONLY_STATE
    if state_code == STATE_REDUCE_ONLY and not flags & REDUCE_ONLY:
        return REDUCE_ONLY_STATE
    if state_code == STATE_AUCTION and not waits and (flags & POST_ONLY or (tif != GTC and tif != GTD)):
        return NOT_IN_AUCTION
    return check_life(state_code)


@leaf
def narrowed(low, high, ticks, ppm):
    """A band within `low`..`high`: no further than `ppm` from `ticks`, where both are known."""
    if ticks != 0 and ppm != 0:
        low = max(low, ceil_div(ticks * (MILLION - ppm), MILLION))
        high = min(high, ticks * (MILLION + ppm) // MILLION)
    return low, high


@leaf
def reference_period(auction, clock_ns):
    period_ns = np.int64(auction["reference_period_ns"])
    return clock_ns // period_ns if period_ns != 0 else np.int64(0)


@leaf
def static_reference(prices, clock_ns, instrument):
    """What the static band stands around: the price kept for this period, else the last one."""
    auction = prices.auctions[instrument]
    kept = np.int64(auction["static_ticks"])
    if kept == 0 or auction["static_period"] != reference_period(auction, clock_ns):
        return np.int64(prices.markets[instrument]["last_ticks"])
    return kept


@leaf
def keep_static(prices, clock_ns, instrument, ticks):
    """Let the static band stand around `ticks` for this period. Mutates the auction record."""
    prices.auctions[instrument]["static_ticks"] = ticks
    prices.auctions[instrument]["static_period"] = reference_period(prices.auctions[instrument], clock_ns)


@leaf
def bands(prices, clock_ns, instrument):
    """(lowest, highest) price that a taker may trade at."""
    auction, record = prices.auctions[instrument], prices.instruments[instrument]
    last = np.int64(prices.markets[instrument]["last_ticks"])
    low, high = np.int64(record["ticks_min"]), np.int64(record["ticks_max"])
    low, high = narrowed(low, high, last, np.int64(auction["dynamic_ppm"]))
    return narrowed(low, high, static_reference(prices, clock_ns, instrument), np.int64(auction["static_ppm"]))


@kernel
def fence(prices, io, instrument, side, limit_ticks, enters):
    """How far a taker of this limit reaches: nowhere in an auction, else to the end of the bands.

    `enters`: the order is admitted, so the static band's reference is kept, and an auction that ticks begins to.
    """
    clock_ns = np.int64(io.control[0]["clock_ns"])
    if prices.markets[instrument]["state"] == STATE_AUCTION:
        if enters and prices.auctions[instrument]["timer"] == 0:
            set_auction_timer(prices, io, instrument)
        return np.int64(0) if side == BID else np.int64(prices.instruments[instrument]["ticks_max"]) + 1
    low, high = bands(prices, clock_ns, instrument)
    if enters:
        keep_static(prices, clock_ns, instrument, static_reference(prices, clock_ns, instrument))
    return min(limit_ticks, high) if side == BID else max(limit_ticks, low)


@leaf
def set_auction_timer(prices, io, instrument):
    """Set an auction's next timer, for its end or an indicative price, if there is either. Mutates the heap."""
    auction, clock_ns = prices.auctions[instrument], np.int64(io.control[0]["clock_ns"])
    due_ns, step_ns = np.int64(auction["end_ns"]), np.int64(auction["indicative_ns"])
    if step_ns != 0 and (due_ns == 0 or clock_ns + step_ns < due_ns):
        due_ns = clock_ns + step_ns
    if due_ns != 0:
        auction["timer"] = 1
        push_timer(io, due_ns, PRIORITY_AUCTION, 0, instrument, instrument, AUCTION_TICK)


@kernel
def wait_for_market(ledger, prices, instrument, p):
    """Put a leg under liquidation on the list of those whose order waits until its market matches again."""
    auction, legs = prices.auctions[instrument], ledger.legs
    tail = np.int64(auction["waiting_tail"])
    legs[p]["waiting_next"] = 0
    if tail != 0:
        legs[tail]["waiting_next"] = p
    else:
        auction["waiting_head"] = p
    auction["waiting_tail"] = p


@kernel
def wake_legs(state, auction):
    """Each leg that waits for a market gets its timer. Mutates the list, the heap."""
    p = np.int64(auction["waiting_head"])
    while p != 0:
        set_liquidation_timer(state.ledger, state.prices, state.io, unit_of(state.ledger, p), np.int64(0))
        after = np.int64(state.ledger.legs[p]["waiting_next"])
        state.ledger.legs[p]["waiting_next"] = 0
        p = after
    auction["waiting_head"] = 0
    auction["waiting_tail"] = 0
