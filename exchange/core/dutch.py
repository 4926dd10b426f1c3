"""Dutch auctions: takers have a unit in liquidation, or lots of a leg, at a price that falls with time. DESIGN §4.2."""

import numpy as np

from exchange.codes import (
    BAD_ACCOUNT,
    BAD_LOTS,
    BID,
    CONCEDE_EQUITY,
    CONCEDE_INDEX,
    INSUFFICIENT_MARGIN,
    NOT_OFFERED,
    OK,
    POSITION_LIMIT,
    STAGE_AUCTION,
    STAGE_REDUCE,
)
from exchange.core.admission import open_user, wallet_for
from exchange.core.arith import close_share, mul_div_floor, ppm_up
from exchange.core.contract import contract_value, mark_value
from exchange.core.dutch_share import take_share
from exchange.core.guards import set_liquidation_timer
from exchange.core.kernel import kernel, leaf
from exchange.core.ledger import try_position
from exchange.core.margin import (
    find_position,
    first_leg,
    next_leg,
    unit_account,
    unit_numbers,
    unit_of,
    unit_stage,
    wallet_equity,
    wallet_margin,
)
from exchange.core.match import forced_fees
from exchange.core.offers import (
    ALLOWANCE,
    BILLION,
    CONCESSION,
    curve_ppb,
    hand_over,
    is_offered,
    make_taker,
    passes_limit,
    ppb_down,
    time_in_auction,
)
from exchange.core.outbox import answer
from exchange.core.spot import check_contract
from exchange.core.stages import action_of, driving_stage, first_stage, first_standing, goal_of
from exchange.core.steps import price_around, worst_paid


@leaf
def is_over(state, unit, k):
    row = first_stage(state.ledger, state.prices, unit) + k
    return time_in_auction(state, unit, k) >= state.prices.stages[row]["duration_ns"]


@leaf
def wait_for_takers(state, unit, k):
    """Set the next time at which the venue looks at an auction: at its end the last. Mutates the heap."""
    stage = state.prices.stages[first_stage(state.ledger, state.prices, unit) + k]
    left_ns = np.int64(stage["duration_ns"]) - time_in_auction(state, unit, k)
    set_liquidation_timer(state.ledger, state.prices, state.io, unit, min(np.int64(stage["period_ns"]), left_ns))


@kernel
def hold_auction(state, unit, k):
    """One look at an auction: its next standing bid, if its concession is reached. False: its time is over."""
    ledger, prices = state.ledger, state.prices
    row, own = first_stage(ledger, prices, unit) + k, first_standing(ledger, prices, unit) + k
    if is_over(state, unit, k):
        return False
    stage, bid = prices.stages[row], np.int64(ledger.standings[own]["bid"])
    now_ppb = curve_ppb(prices, row, CONCESSION, time_in_auction(state, unit, k))
    if bid < stage["bids"] and now_ppb >= 1_000 * np.int64(stage["bid_ppm"][bid]):
        ledger.standings[own]["bid"] = bid + 1
        bidder, share = np.int64(stage["bidder"]), np.int64(stage["bid_share_ppm"][bid])
        whole, p = stage["concession_from"] == CONCEDE_EQUITY, first_leg(ledger, unit)
        while p != 0:
            if is_offered(ledger, prices, unit, p) and can_take(state, unit, p, bidder):
                take(state, unit, k, p, bidder, ppm_up(abs(np.int64(ledger.positions[p]["lots"])), share))
                if whole:
                    break
            p = next_leg(ledger, unit, p)
    return True


@leaf
def can_take(state, unit, p, account):
    """Is the account an open user, and not the one whose unit it is?"""
    instrument = np.int64(state.ledger.positions[p]["instrument"])
    known = open_user(state.ledger, state.prices, account, instrument)
    return known and account != unit_account(state.ledger, state.prices, unit)


@kernel
def take_event(state, event):
    """TAKE: an account takes lots of a unit that is auctioned, `order_id` being whose it is."""
    ledger, prices = state.ledger, state.prices
    instrument, account, owner = np.int64(event["instrument"]), np.int64(event["account"]), np.int64(event["order_id"])
    lots, code = np.int64(event["qty"]), check_contract(prices, instrument)
    if code == OK and not (open_user(ledger, prices, account, instrument) and account != owner):
        code = BAD_ACCOUNT
    if code == OK and not 1 <= lots <= prices.instruments[instrument]["order_max_lots"]:
        code = BAD_LOTS
    p = np.int64(0)
    if code == OK and open_user(ledger, prices, owner, instrument):
        p = find_position(ledger, wallet_for(prices, owner, instrument), instrument)
    unit = unit_of(ledger, p)
    if code == OK:
        code = NOT_OFFERED
        if p != 0 and unit_stage(ledger, unit) == STAGE_REDUCE and is_offered(ledger, prices, unit, p):
            k = driving_stage(ledger, prices, unit)
            if action_of(ledger, prices, unit, k) == STAGE_AUCTION and not is_over(state, unit, k):
                code, lots = take(state, unit, k, p, account, lots)
    answer(state.io, event, instrument, code, np.int64(event["price"]), lots)


@kernel
def take(state, unit, k, p, account, wanted):
    """Let an account have up to `wanted` lots of a leg, or as much of each leg. Returns a code, and how many it has."""
    ledger, prices = state.ledger, state.prices
    equity, required, legs = unit_numbers(ledger, prices, unit)
    goal = goal_of(ledger, prices, unit, k, required)
    if equity >= goal:
        return NOT_OFFERED, wanted
    if prices.stages[first_stage(ledger, prices, unit) + k]["concession_from"] == CONCEDE_EQUITY:
        return take_share(state, unit, k, p, account, wanted, equity, goal)
    return take_leg(state, unit, k, p, account, wanted, equity, goal)


@kernel
def leg_price(state, unit, k, p):
    """What a taker pays for a lot of a leg, in sub-ticks: mark or index less the concession, rounded for the unit."""
    ledger, prices, position = state.ledger, state.prices, state.ledger.positions[p]
    row, instrument, lots = first_stage(ledger, prices, unit) + k, np.int64(position["instrument"]), position["lots"]
    stage = prices.stages[row]
    record, worst = prices.instruments[instrument], np.int64(ledger.legs[p]["bankruptcy_ticks"])
    if stage["beyond"] != 0:
        worst = worst_paid(ledger, prices, p)
    around = price_around(prices, instrument, stage["concession_from"] == CONCEDE_INDEX)
    given_ppb, per_tick = curve_ppb(prices, row, CONCESSION, time_in_auction(state, unit, k)), record["mark_per_tick"]
    low, high = np.int64(record["ticks_min"]) * per_tick, np.int64(record["ticks_max"]) * per_tick
    if lots > 0:
        low, price_sub = max(low, worst * per_tick), -mul_div_floor(-around, BILLION - given_ppb, np.int64(BILLION))
    else:
        high, price_sub = min(high, worst * per_tick), mul_div_floor(around, BILLION + given_ppb, np.int64(BILLION))
    return max(low, min(price_sub, high))


@leaf
def charge_at(prices, instrument, change, price_sub, bankruptcy_ticks):
    """The liquidation fee of lots that leave a unit at a price, a rate of their value at the mark."""
    notional = abs(mark_value(prices, instrument, change))
    _, charge = forced_fees(prices, instrument, change, price_sub, bankruptcy_ticks, np.int64(0), notional)
    return charge


@kernel
def lots_allowed(state, unit, k, p, price_sub, equity, goal):
    """The fewest lots of a leg that, taken at a price, bring the unit to its exit, or as far as takers may; or all.

    Mutates nothing that stays changed.
    """
    ledger, prices, position = state.ledger, state.prices, state.ledger.positions[p]
    row, lots = first_stage(ledger, prices, unit) + k, np.int64(position["lots"])
    entry = np.int64(position["entry_value"])
    instrument, ticks = np.int64(position["instrument"]), np.int64(ledger.legs[p]["bankruptcy_ticks"])
    rest = np.int64(0)  # of what is missing, what takers may not make good yet
    if prices.stages[row]["curve_points"][ALLOWANCE] != 0:
        freed = np.int64(ledger.standings[first_standing(ledger, prices, unit) + k]["freed"])
        share_ppb = curve_ppb(prices, row, ALLOWANCE, time_in_auction(state, unit, k))
        rest = goal - equity + freed - ppb_down(goal - equity + freed, share_ppb)
        if rest >= goal - equity:
            return np.int64(0)
    few, many = np.int64(0), abs(lots)
    while many - few > 1:
        middle = (few + many) >> 1
        change = -middle if lots > 0 else middle
        try_position(ledger, p, lots + change, entry - close_share(entry, middle, abs(lots)))
        _, required, _ = unit_numbers(ledger, prices, unit)
        charge = charge_at(prices, instrument, change, price_sub, ticks)
        given = contract_value(prices, instrument, price_sub, change) - mark_value(prices, instrument, change)
        if equity - given - charge + rest >= goal_of(ledger, prices, unit, k, required):
            many = middle
        else:
            few = middle
    try_position(ledger, p, lots, entry)
    return many


@kernel
def take_leg(state, unit, k, p, account, wanted, equity, goal):
    """Lots of one leg change hands at the price of the time. Returns a code, and how many."""
    ledger, prices, own = state.ledger, state.prices, first_standing(state.ledger, state.prices, unit) + k
    instrument, held = np.int64(ledger.positions[p]["instrument"]), np.int64(ledger.positions[p]["lots"])
    other, code = make_taker(state, p, account)
    if code != OK:
        return code, wanted
    price_sub = leg_price(state, unit, k, p)
    lots = min(wanted, lots_allowed(state, unit, k, p, price_sub, equity, goal))
    if lots == 0:
        return NOT_OFFERED, wanted
    change = -lots if held > 0 else lots
    if passes_limit(ledger, prices, other, -change):
        return POSITION_LIMIT, wanted
    gain = contract_value(prices, instrument, price_sub, change) - mark_value(prices, instrument, change)
    if not can_carry(ledger, prices, other, -change, gain):
        return INSUFFICIENT_MARGIN, wanted
    ticks = np.int64(ledger.legs[p]["bankruptcy_ticks"])
    charge = charge_at(prices, instrument, change, price_sub, ticks)
    hand_over(state, unit, p, other, change, price_sub, np.int64(0), charge, 0)
    after, required, legs = unit_numbers(ledger, prices, unit)
    missing = max(np.int64(0), goal_of(ledger, prices, unit, k, required) - after)
    ledger.standings[own]["freed"] += max(np.int64(0), goal - equity - missing)
    return OK, lots


@leaf
def can_carry(ledger, prices, other, lots, gain):
    """Has a taker's wallet its initial margin with `lots` (signed) more of a position, and a gain?"""
    position = ledger.positions[other]
    wallet, held, entry = np.int64(position["wallet"]), np.int64(position["lots"]), np.int64(position["entry_value"])
    equity = wallet_equity(ledger, prices, wallet) + gain
    try_position(ledger, other, held + lots, entry)
    required = wallet_margin(ledger, prices, wallet, 0, BID, 0, 0)
    try_position(ledger, other, held, entry)
    return equity >= required
