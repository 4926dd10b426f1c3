"""The backstop: it takes legs over before the fund; what was taken over is worked off by a timer. DESIGN §4.4."""

import numpy as np

from exchange.codes import (
    AROUND_INDEX,
    AROUND_MID,
    ASK,
    BACKSTOP,
    BID,
    DEFICIT,
    DISPOSAL,
    FORCED,
    INSURANCE,
    MODE_SHADOW,
    OK,
    STAGE_NONE,
    STP_NONE,
)
from exchange.core.admission import band_around, open_user, wallet_for
from exchange.core.allocation import execute_called
from exchange.core.arith import ppm_up
from exchange.core.auction import interrupt
from exchange.core.contract import contract_value, mark_value, trade_value
from exchange.core.depth import lots_within
from exchange.core.dutch import can_carry
from exchange.core.fund import fund_unit, set_disposal_timer
from exchange.core.index import mid_sub
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import (
    account_of,
    find_position,
    insurance_position,
    unit_account,
    unit_numbers,
    unit_of,
    unit_stage,
)
from exchange.core.offers import hand_over, make_taker, passes_limit
from exchange.core.outbox import emit
from exchange.core.shadow import execute_shadow
from exchange.core.socialise import socialise
from exchange.core.states import reach_of, stands_still
from exchange.core.steps import price_around
from exchange.core.wide import wide_div


@leaf
def backstop_rules(prices, instrument):
    """The rules of an instrument's settlement asset."""
    return prices.waterfalls[np.int64(prices.instruments[instrument]["asset"])]


@leaf
def takeover_sub(prices, instrument, ticks):
    """Where the backstop takes over, in sub-ticks."""
    if backstop_rules(prices, instrument)["backstop_mark"] != 0:
        return np.int64(prices.markets[instrument]["mark_sub"])
    return ticks * np.int64(prices.instruments[instrument]["mark_per_tick"])


@leaf
def left_margin(prices, instrument, ticks, lots):
    """What is left of the margin allotted to so many lots (signed) where they are taken over at the mark."""
    if backstop_rules(prices, instrument)["backstop_mark"] == 0:
        return np.int64(0)
    return max(np.int64(0), mark_value(prices, instrument, lots) - trade_value(prices, instrument, ticks, lots))


@kernel
def carries(ledger, prices, other, instrument, ticks, lots):
    """Can the backstop's position `other` take so many lots (signed) over?"""
    if passes_limit(ledger, prices, other, lots):
        return False
    value = contract_value(prices, instrument, takeover_sub(prices, instrument, ticks), lots)
    gain = mark_value(prices, instrument, lots) - value + left_margin(prices, instrument, ticks, lots)
    return can_carry(ledger, prices, other, lots, gain)


@kernel
def carried_lots(ledger, prices, other, instrument, ticks, lots):
    """How much of a leg the backstop can take: all of it, or what halving finds."""
    if carries(ledger, prices, other, instrument, ticks, lots):
        return abs(lots)
    few, many = np.int64(0), abs(lots)
    while many - few > 1:
        middle = (few + many) >> 1
        if carries(ledger, prices, other, instrument, ticks, middle if lots > 0 else -middle):
            few = middle
        else:
            many = middle
    return few


@kernel
def give_to_backstop(state, unit, p):
    """The backstop takes what it carries of a leg, but of its own and of holdings. Returns whether that is all."""
    ledger, prices = state.ledger, state.prices
    instrument, lots = np.int64(ledger.positions[p]["instrument"]), np.int64(ledger.positions[p]["lots"])
    account = np.int64(backstop_rules(prices, instrument)["backstop"])
    if account == 0 or prices.instruments[instrument]["spot"] != 0:
        return False
    if account == unit_account(ledger, prices, unit) or not open_user(ledger, prices, account, instrument):
        return False
    other, code = make_taker(state, p, account)
    if code != OK:
        return False
    ticks = np.int64(ledger.legs[p]["bankruptcy_ticks"])
    taken = carried_lots(ledger, prices, other, instrument, ticks, lots)
    if taken != 0:
        change = -taken if lots > 0 else taken
        paid = left_margin(prices, instrument, ticks, -change)
        price_sub = takeover_sub(prices, instrument, ticks)
        hand_over(state, unit, p, other, change, price_sub, paid, np.int64(0), BACKSTOP)
        set_disposal_timer(state, instrument)
    return taken == abs(lots)


@leaf
def held_position(state, instrument):
    """Position of who works off what is taken over: the backstop, or the fund; 0 = none."""
    account = np.int64(backstop_rules(state.prices, instrument)["backstop"])
    if account == 0:
        return insurance_position(state.prices, instrument)
    return find_position(state.ledger, wallet_for(state.prices, account, instrument), instrument)


@leaf
def disposal_limit(state, instrument, side):
    """Worst price (ticks) of an order that works a position off."""
    prices, rules = state.prices, backstop_rules(state.prices, instrument)
    record = prices.instruments[instrument]
    if rules["band_ppm"] == 0:
        return np.int64(record["ticks_min"]) if side == ASK else np.int64(record["ticks_max"])
    around = price_around(prices, instrument, rules["band_around"] == AROUND_INDEX)
    best = state.book.books[instrument]["best_ticks"]
    bid, ask = np.int64(best[BID]), np.int64(best[ASK])
    if rules["band_around"] == AROUND_MID and 0 < bid < ask:
        around = mid_sub(bid, ask, np.int64(record["mark_per_tick"]))
    return band_around(prices, instrument, side, np.int64(rules["band_ppm"]), around)


@leaf
def disposal_lots(state, instrument, lots, limit_ticks):
    """How much of a position one order works off (> 0)."""
    rules, notional = backstop_rules(state.prices, instrument), abs(mark_value(state.prices, instrument, lots))
    taken = abs(lots)
    if notional > rules["notional_above"]:
        taken = ppm_up(taken, np.int64(rules["share_ppm"]))
    if 0 < rules["notional_max"] < notional:
        most, _ = wide_div(abs(lots), np.int64(rules["notional_max"]), notional)
        taken = min(taken, max(np.int64(1), most))
    if rules["offer_ppm"] != 0:
        offered = lots_within(state.book, instrument, BID if lots > 0 else ASK, limit_ticks)
        taken = min(taken, max(np.int64(1), ppm_up(offered, np.int64(rules["offer_ppm"]))))
    return taken


@kernel
def work_off(state, instrument, p):
    """One immediate order for a part of a position, with fees like anybody's; its trades are forced ones."""
    ledger, prices = state.ledger, state.prices
    signed, unit = np.int64(ledger.positions[p]["lots"]), unit_of(ledger, p)
    side = ASK if signed > 0 else BID
    limit = disposal_limit(state, instrument, side)
    lots, flags = disposal_lots(state, instrument, signed, limit), FORCED | BACKSTOP
    equity, required, legs = unit_numbers(ledger, prices, unit)
    account = account_of(prices, np.int64(ledger.positions[p]["wallet"]))
    emit(state.io, DISPOSAL, 0, instrument, account, 0, 0, limit, lots, equity, BACKSTOP, 0)
    if prices.policy[0]["mode"] == MODE_SHADOW:
        execute_shadow(state, instrument, p, side, limit, lots, limit, 0, flags)
        return
    reach = reach_of(state, instrument, side, limit, 1)
    left, _, _ = execute_called(state, instrument, p, side, reach, lots, 0, flags, limit, 0, STP_NONE)
    if left > 0 and reach != limit:
        interrupt(state, instrument, side, limit)


@kernel
def settle_debt(state, instrument):
    """A fund that has sold all, and owes: on the record, and others may bear it."""
    unit = fund_unit(state.prices, instrument)
    equity, required, legs = unit_numbers(state.ledger, state.prices, unit)
    if legs == 0 and equity < 0:
        emit(state.io, DEFICIT, 0, instrument, INSURANCE, 0, 0, 0, 0, equity, 0, 0)
        socialise(state, unit, instrument, 0)


@kernel
def dispose(state, instrument):
    """DISPOSE timer: a part of what is held goes to the market, if both stand well; again until nothing is left."""
    ledger, market = state.ledger, state.prices.markets[instrument]
    market["disposal_timer"] = 0
    p = held_position(state, instrument)
    if p == 0 or ledger.positions[p]["lots"] == 0:
        return
    calm = unit_stage(ledger, unit_of(ledger, p)) == STAGE_NONE
    if calm and market["mark_sub"] != 0 and not stands_still(market):
        work_off(state, instrument, p)
        if p == insurance_position(state.prices, instrument):
            settle_debt(state, instrument)
    if ledger.positions[p]["lots"] != 0:
        set_disposal_timer(state, instrument)
