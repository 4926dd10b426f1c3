"""Orders of a stage: how far from the mark one may trade, and how much of a leg it is for. DESIGN §4.1."""

import numpy as np

from exchange.codes import ASK, BID, MODE_SHADOW, STAGE_PART, STP_NONE
from exchange.core.admission import band_around
from exchange.core.arith import MILLION, close_share, ppm_down, ppm_up, ratio_ppm
from exchange.core.contract import mark_value, trade_value, worst_ticks
from exchange.core.demands import sure_fill
from exchange.core.depth import lots_within
from exchange.core.fund import fund_unit
from exchange.core.kernel import kernel, leaf
from exchange.core.ledger import try_position
from exchange.core.margin import unit_account, unit_numbers
from exchange.core.plan import closing_fees, leg_weight
from exchange.core.requirement import tier_of
from exchange.core.shadow import recorded_within
from exchange.core.stages import action_of, first_stage, first_standing, goal_of
from exchange.core.states import reach_of, stands_still
from exchange.core.wide import wide_div


@kernel
def order_limit(ledger, prices, unit, k, p, equity, required):
    """Worst price (ticks) of an order of stage `k` (-1: of none): its bankruptcy price, or nearer the mark."""
    instrument, lots = np.int64(ledger.positions[p]["instrument"]), np.int64(ledger.positions[p]["lots"])
    worst, side = np.int64(ledger.legs[p]["bankruptcy_ticks"]), ASK if lots > 0 else BID
    if k < 0:
        return worst
    stage, near = prices.stages[first_stage(ledger, prices, unit) + k], worst
    if stage["beyond"] != 0:
        worst = worst_paid(ledger, prices, p)
    if stage["band_ppm"] != 0:
        around = price_around(prices, instrument, stage["band_index"] != 0)
        near = band_around(prices, instrument, side, np.int64(stage["band_ppm"]), around)
    elif stage["spread_ppm"] != 0:
        ratio = ratio_ppm(max(np.int64(0), equity), max(np.int64(1), required))
        missing = ppm_down(MILLION - min(np.int64(MILLION), ratio), np.int64(stage["shortage_ppm"]))
        given_up = ppm_down(leg_weight(ledger, prices, unit, p, False), np.int64(stage["spread_ppm"]))
        value = mark_value(prices, instrument, lots) - ppm_down(given_up, min(np.int64(MILLION), missing))
        near = worst_ticks(prices, instrument, lots, value)
    return max(near, worst) if side == ASK else min(near, worst)


@leaf
def price_around(prices, instrument, by_index):
    """The index (sub-ticks), where it is asked for and known; else the mark."""
    market = prices.markets[instrument]
    return np.int64(market["index_sub"]) if by_index and market["index_sub"] != 0 else np.int64(market["mark_sub"])


@kernel
def worst_paid(ledger, prices, p):
    """The worst price (ticks) for a leg at which the fund could pay what is missing to its bankruptcy price."""
    instrument, lots = np.int64(ledger.positions[p]["instrument"]), np.int64(ledger.positions[p]["lots"])
    equity, required, legs = unit_numbers(ledger, prices, fund_unit(prices, instrument))
    value = trade_value(prices, instrument, np.int64(ledger.legs[p]["bankruptcy_ticks"]), lots)
    return worst_ticks(prices, instrument, lots, value - max(np.int64(0), equity))


@kernel
def step_lots(state, unit, k, p, equity, limit_ticks):
    """How much of a leg an order of a stage is for (> 0)."""
    ledger, prices = state.ledger, state.prices
    lots, instrument = np.int64(ledger.positions[p]["lots"]), np.int64(ledger.positions[p]["instrument"])
    taken = abs(lots)
    if action_of(ledger, prices, unit, k) != STAGE_PART:
        return taken
    stage, notional = prices.stages[first_stage(ledger, prices, unit) + k], abs(mark_value(prices, instrument, lots))
    acted = ledger.standings[first_standing(ledger, prices, unit) + k]["acted"]
    if notional > stage["notional_above"] and acted <= 1:
        least, rest = wide_div(abs(lots), min(notional, np.int64(stage["notional_min"])), notional)
        taken = max(taken_at_once(ledger, prices, unit, k, p, equity), least + (rest != 0))
    if 0 < stage["notional_max"] < notional:
        most, _ = wide_div(abs(lots), np.int64(stage["notional_max"]), notional)
        taken = min(taken, max(np.int64(1), most))
    if stage["offer_ppm"] != 0:
        offered = lots_within(state.book, instrument, BID if lots > 0 else ASK, limit_ticks)
        taken = min(taken, max(np.int64(1), ppm_up(offered, np.int64(stage["offer_ppm"]))))
    return taken


@kernel
def is_killed(state, unit, k, p, limit_ticks, lots):
    """Is an order to be filled whole or not sent, and would the book not fill it?"""
    prices, position = state.prices, state.ledger.positions[p]
    if k < 0 or prices.stages[first_stage(state.ledger, prices, unit) + k]["fill_or_kill"] == 0:
        return False
    instrument, side = np.int64(position["instrument"]), ASK if position["lots"] > 0 else BID
    if stands_still(prices.markets[instrument]):  # it waits, or joins an auction
        return False
    if prices.policy[0]["mode"] == MODE_SHADOW:
        return recorded_within(state.book, instrument, BID if side == ASK else ASK, limit_ticks) < lots
    reach = reach_of(state, instrument, side, limit_ticks, 0)
    account = unit_account(state.ledger, prices, unit)
    found, _ = sure_fill(state, instrument, side, reach, lots, account, STP_NONE)
    return found < lots


@kernel
def taken_at_once(ledger, prices, unit, k, p, equity):
    """A share of a leg; or the fewest lots with which it is so many tiers lower, or the unit at its exit; or all."""
    stage, lots = prices.stages[first_stage(ledger, prices, unit) + k], abs(np.int64(ledger.positions[p]["lots"]))
    if stage["share_ppm"] != 0:
        return ppm_up(lots, np.int64(stage["share_ppm"]))
    if stage["tiers_down"] != 0:
        return lots_to_tier(ledger, prices, p, np.int64(stage["tiers_down"]))
    return lots_to_exit(ledger, prices, unit, k, p, equity)


@leaf
def lots_to_tier(ledger, prices, p, tiers_down):
    """The fewest lots of a leg without which its notional is so many tiers lower; all of it where there are none."""
    instrument, lots = np.int64(ledger.positions[p]["instrument"]), abs(np.int64(ledger.positions[p]["lots"]))
    goal = tier_of(prices, instrument, abs(mark_value(prices, instrument, lots))) - tiers_down
    few, many = np.int64(0), lots
    if goal < prices.instruments[instrument]["tier_base"]:
        return many
    while many - few > 1:
        middle = (few + many) >> 1
        if tier_of(prices, instrument, abs(mark_value(prices, instrument, lots - middle))) <= goal:
            many = middle
        else:
            few = middle
    return many


@kernel
def lots_to_exit(ledger, prices, unit, k, p, equity):
    """The fewest lots of a leg without which, sold at the mark, the unit is at its exit; all of it where that is less.

    Mutates nothing that stays changed.
    """
    position, stage = ledger.positions[p], prices.stages[first_stage(ledger, prices, unit) + k]
    lots, instrument = np.int64(position["lots"]), np.int64(position["instrument"])
    entry, few, many = np.int64(position["entry_value"]), np.int64(0), abs(lots)
    while many - few > 1:
        middle = (few + many) >> 1
        left = lots - middle if lots > 0 else lots + middle
        try_position(ledger, p, left, entry - close_share(entry, middle, abs(lots)))
        _, required, _ = unit_numbers(ledger, prices, unit)
        fees = closing_fees(prices, instrument, middle) if stage["after_fees"] != 0 else np.int64(0)
        if equity - fees >= goal_of(ledger, prices, unit, k, required):
            many = middle
        else:
            few = middle
    try_position(ledger, p, lots, entry)
    return many
