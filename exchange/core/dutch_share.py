"""Auctions of a whole unit: a share of every leg, for a share of the unit's equity. DESIGN §4.2."""

import numpy as np

from exchange.codes import BID, INSUFFICIENT_MARGIN, NOT_OFFERED, OK, POSITION_LIMIT
from exchange.core.admission import wallet_for
from exchange.core.arith import close_share
from exchange.core.fund import fund_unit
from exchange.core.kernel import kernel, leaf
from exchange.core.ledger import try_position
from exchange.core.margin import find_position, first_leg, next_leg, unit_numbers, wallet_equity, wallet_margin
from exchange.core.offers import (
    CONCESSION,
    PAYOUT,
    curve_ppb,
    hand_over,
    is_offered,
    make_taker,
    passes_limit,
    ppb_down,
    time_in_auction,
)
from exchange.core.stages import first_stage, first_standing
from exchange.core.wide import wide_div


@leaf
def whole_concession(state, unit, k, equity, goal):
    """What all of a unit gives up to takers of it: the concession of its equity, or, if it owes, what the fund pays."""
    prices, row = state.prices, first_stage(state.ledger, state.prices, unit) + k
    after_ns = time_in_auction(state, unit, k)
    if equity > 0:
        return ppb_down(equity, curve_ppb(prices, row, CONCESSION, after_ns))
    return equity + ppb_down(goal - equity, curve_ppb(prices, row, PAYOUT, after_ns))


@kernel
def check_takers(state, unit, account):
    """Positions of a taker of all legs. Returns a code."""
    p = first_leg(state.ledger, unit)
    while p != 0:
        if is_offered(state.ledger, state.prices, unit, p):
            other, code = make_taker(state, p, account)
            if code != OK:
                return code
        p = next_leg(state.ledger, unit, p)
    return OK


@leaf
def share_change(ledger, p, lots, of):
    """What leaves a leg (signed) when `lots` of `of` lots of the leg that was named do; no part of a lot."""
    held = np.int64(ledger.positions[p]["lots"])
    part = abs(held) * lots // of
    return -part if held > 0 else part


@kernel
def add_shares(ledger, prices, unit, account, lots, of, sign):
    """See a taker as if it had its share of every leg, or (sign -1) no more. Returns whether it passes a limit then."""
    p, passes = first_leg(ledger, unit), False
    while p != 0:
        if is_offered(ledger, prices, unit, p):
            instrument = np.int64(ledger.positions[p]["instrument"])
            other = find_position(ledger, wallet_for(prices, account, instrument), instrument)
            change = -share_change(ledger, p, lots, of)
            if sign > 0 and change != 0 and passes_limit(ledger, prices, other, change):
                passes = True
            held, entry = np.int64(ledger.positions[other]["lots"]), np.int64(ledger.positions[other]["entry_value"])
            try_position(ledger, other, held + sign * change, entry)
        p = next_leg(ledger, unit, p)
    return passes


@leaf
def lots_to_sell(lots, missing, relief):
    """How much of a leg must go, and as much of all others, for all of it brings `relief`; all where that is less."""
    if relief <= missing:
        return lots
    least, rest = wide_div(lots, missing, relief)
    return least + (rest != 0)


@kernel
def take_share(state, unit, k, p, account, wanted, equity, goal):
    """A share of every leg changes hands at the marks, and money with it. Returns a code, and how many."""
    ledger, prices, own = state.ledger, state.prices, first_standing(state.ledger, state.prices, unit) + k
    held, kept = abs(np.int64(ledger.positions[p]["lots"])), np.int64(ledger.standings[own]["kept"])
    code = check_takers(state, unit, account)
    if code != OK:
        return code, wanted
    unsold = equity - kept
    given = whole_concession(state, unit, k, unsold, goal)
    lots = min(wanted, lots_to_sell(held, goal - equity, goal - given))
    paid = close_share(given, lots, held)
    kept += close_share(unsold, lots, held) - paid
    instrument = np.int64(ledger.positions[p]["instrument"])
    fund_equity, required, legs = unit_numbers(ledger, prices, fund_unit(prices, instrument))
    if kept < 0 and kept < -fund_equity:
        return NOT_OFFERED, wanted
    wallet = wallet_for(prices, account, instrument)
    has = wallet_equity(ledger, prices, wallet) + paid
    passes = add_shares(ledger, prices, unit, account, lots, held, 1)
    required = wallet_margin(ledger, prices, wallet, 0, BID, 0, 0)
    add_shares(ledger, prices, unit, account, lots, held, -1)
    if passes:
        return POSITION_LIMIT, wanted
    if has < required:
        return INSUFFICIENT_MARGIN, wanted
    if unit > 0 or unsold <= 0:  # else what is closed of an isolated position releases its equity to the wallet
        ledger.standings[own]["kept"] = kept
    leg = first_leg(ledger, unit)
    while leg != 0:
        if is_offered(ledger, prices, unit, leg):
            change, paid_here = share_change(ledger, leg, lots, held), paid if leg == p else np.int64(0)
            instrument = np.int64(ledger.positions[leg]["instrument"])
            other = find_position(ledger, wallet_for(prices, account, instrument), instrument)
            if change != 0:
                mark_sub = np.int64(prices.markets[instrument]["mark_sub"])
                hand_over(state, unit, leg, other, change, mark_sub, paid_here, np.int64(0), 0)
        leg = next_leg(ledger, unit, leg)
    return OK, lots
