"""What an auction of a unit is made of: its curves, what is on offer, how it changes hands. DESIGN §4.2."""

import numpy as np

from exchange.codes import (
    ASK,
    BAD_ACCOUNT,
    BID,
    CROSS,
    CURVE_POINTS,
    HALTED,
    IN_LIQUIDATION,
    INSURANCE,
    LIQUIDATION_FEE,
    OK,
    POSITIONS_FULL,
    TAKEN,
)
from exchange.core.admission import reachable_lots, wallet_for
from exchange.core.arith import mul_div_floor
from exchange.core.kernel import leaf
from exchange.core.ledger import pay_taker
from exchange.core.margin import account_of, in_liquidation, live_leg, make_position, unit_account
from exchange.core.match import book_trade_at
from exchange.core.outbox import emit
from exchange.core.plan import liquidation_id_of
from exchange.core.stages import first_standing
from exchange.core.states import stands_still
from exchange.core.wide import wide_div

BILLION = 10**9
CONCESSION, ALLOWANCE, PAYOUT = 0, 1, 2  # curves


@leaf
def curve_ppb(prices, row, curve, after_ns):
    """A curve so long after the start: straight between its points, the first before it, the last after it."""
    stage, base = prices.stages[row], curve * CURVE_POINTS
    points = np.int64(stage["curve_points"][curve])
    if points == 0:
        return np.int64(0)
    k = np.int64(0)
    while k < points and stage["curve_ns"][base + k] <= after_ns:
        k += 1
    if k == 0:
        return 1_000 * np.int64(stage["curve_ppm"][base])
    low = 1_000 * np.int64(stage["curve_ppm"][base + k - 1])
    if k == points:
        return low
    begin_ns, rise = np.int64(stage["curve_ns"][base + k - 1]), 1_000 * np.int64(stage["curve_ppm"][base + k]) - low
    whole_ns = np.int64(stage["curve_ns"][base + k]) - begin_ns
    more, rest = wide_div(rise, after_ns - begin_ns, whole_ns)
    return low + more + (2 * rest >= whole_ns)


@leaf
def ppb_down(value, ppb):
    """floor(value * ppb / 10**9) for value >= 0 and ppb within ±10**9."""
    return mul_div_floor(value, ppb, np.int64(BILLION))


@leaf
def time_in_auction(state, unit, k):
    began_ns = np.int64(state.ledger.standings[first_standing(state.ledger, state.prices, unit) + k]["began_ns"])
    return np.int64(state.io.control[0]["clock_ns"]) - began_ns


@leaf
def is_offered(ledger, prices, unit, p):
    """May takers have lots of this position? Not of a holding, which nobody could owe."""
    spot = prices.instruments[np.int64(ledger.positions[p]["instrument"])]["spot"] != 0
    return live_leg(ledger, prices, unit, p) and not spot


@leaf
def make_taker(state, p, account):
    """(position, code) of an account that takes lots of leg `p`."""
    ledger, prices, instrument = state.ledger, state.prices, np.int64(state.ledger.positions[p]["instrument"])
    if stands_still(prices.markets[instrument]):
        return np.int64(0), HALTED
    other = make_position(ledger, prices, state.io.control, wallet_for(prices, account, instrument), instrument)
    if other == 0:
        return other, POSITIONS_FULL
    if ledger.positions[other]["mode"] != CROSS:
        return other, BAD_ACCOUNT
    return other, IN_LIQUIDATION if in_liquidation(ledger, np.int64(ledger.positions[other]["wallet"])) else OK


@leaf
def passes_limit(ledger, prices, other, lots):
    """Would a position with `lots` (signed) more pass the position limit?"""
    most = np.int64(prices.instruments[np.int64(ledger.positions[other]["instrument"])]["position_max_lots"])
    return reachable_lots(ledger, other, BID if lots > 0 else ASK) + abs(lots) > most


@leaf
def hand_over(state, unit, p, other, lots, price_sub, paid, charge, flags):
    """`lots` (signed, as they leave the unit) go to a taker, to whom the unit pays, and a charge to the fund."""
    ledger, prices, io = state.ledger, state.prices, state.io
    instrument, liquidation_id = np.int64(ledger.positions[p]["instrument"]), liquidation_id_of(ledger, unit)
    account, taker = unit_account(ledger, prices, unit), account_of(prices, np.int64(ledger.positions[other]["wallet"]))
    pay_taker(ledger, p, other, paid)
    book_trade_at(state, instrument, p, lots, price_sub, 0, charge)
    book_trade_at(state, instrument, other, -lots, price_sub, 0, 0)
    emit(io, TAKEN, 0, instrument, account, taker, 0, price_sub, lots, -paid, flags, liquidation_id)
    emit(io, TAKEN, 0, instrument, taker, account, 0, price_sub, -lots, paid, flags, liquidation_id)
    if charge != 0:
        emit(io, LIQUIDATION_FEE, 0, instrument, account, INSURANCE, 0, price_sub, abs(lots), charge, 0, liquidation_id)
