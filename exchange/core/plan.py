"""The plan of a liquidation: a unit's equity allotted to its legs, each leg's bankruptcy price. DESIGN §4."""

import numpy as np

from exchange.codes import LEGS_FUTURES, LEGS_LOSS, SELL_LAST, SELL_LISTED
from exchange.core.arith import BILLION, most_fee, mul_div_floor, ppm_up, ratio_ppm
from exchange.core.contract import mark_value, worst_ticks
from exchange.core.grid import grid_leg, in_grid
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import first_leg, leg_of, live_leg, next_leg
from exchange.core.requirement import leg_maintenance
from exchange.core.wide import wide_div

WEIGHT_BITS = 31
GROUP_RANKS = 1000  # more instruments no venue has


@leaf
def leg_weight(ledger, prices, unit, p, by_notional):
    """A leg's share of the unit's equity: its maintenance, or its notional where nothing is maintained."""
    instrument = np.int64(ledger.positions[p]["instrument"])
    lots = np.int64(ledger.positions[p]["lots"])
    notional = abs(mark_value(prices, instrument, lots))
    if in_grid(ledger, prices, p) and not by_notional:
        return grid_leg(prices, instrument, lots)
    return notional if by_notional else leg_maintenance(ledger, prices, p, instrument, notional)


@leaf
def leg_rank(ledger, prices, p):
    """Place of a leg in its unit's liquidation, with holdings before all contracts, after or among them."""
    instrument, order = np.int64(ledger.positions[p]["instrument"]), prices.policy[0]["sell_order"]
    record, rank, place = prices.instruments[instrument], instrument, np.int64(ledger.legs[p]["place"])
    if prices.policy[0]["leg_order"] == LEGS_FUTURES and record["option"] != 0:
        rank += GROUP_RANKS
    elif prices.policy[0]["leg_order"] >= LEGS_LOSS:
        rank = place if place != 0 else GROUP_RANKS + instrument
    waits = order != SELL_LISTED and (record["spot"] != 0) == (order == SELL_LAST)
    return rank + 2 * GROUP_RANKS if waits else rank


@leaf
def leg_score(ledger, prices, wallet, p):
    """What legs are ordered by, the largest first: loss at the mark; or maintenance over the fees of closing."""
    instrument, lots = np.int64(ledger.positions[p]["instrument"]), np.int64(ledger.positions[p]["lots"])
    if prices.policy[0]["leg_order"] == LEGS_LOSS:
        return np.int64(ledger.positions[p]["entry_value"]) - mark_value(prices, instrument, lots)
    fees = closing_fees(prices, instrument, abs(lots))
    return ratio_ppm(leg_weight(ledger, prices, wallet, p, False), max(np.int64(1), fees))


@kernel
def place_legs(ledger, prices, wallet):
    """Where a score orders a wallet's legs, note the place of each as of now, the first of equals first."""
    p = first_leg(ledger, wallet) if prices.policy[0]["leg_order"] >= LEGS_LOSS else np.int64(0)
    while p != 0:
        ledger.legs[p]["place"] = 0
        if live_leg(ledger, prices, wallet, p):
            score, place, q = leg_score(ledger, prices, wallet, p), np.int64(1), first_leg(ledger, wallet)
            while q != 0:
                if q != p and live_leg(ledger, prices, wallet, q):
                    other = leg_score(ledger, prices, wallet, q)
                    earlier = ledger.positions[q]["instrument"] < ledger.positions[p]["instrument"]
                    place += other > score or (other == score and earlier)
                q = next_leg(ledger, wallet, q)
            ledger.legs[p]["place"] = place
        p = next_leg(ledger, wallet, p)


@leaf
def closing_fees(prices, instrument, lots):
    """What a liquidation order for `lots` pays at the mark, where its surplus is enough."""
    record, value = prices.instruments[instrument], abs(mark_value(prices, instrument, lots))
    taker = most_fee(value, np.int64(record["taker_ppb"]))
    return taker + ppm_up(value, np.int64(record["liquidation_ppm"]))


@leaf
def sum_weights(ledger, prices, unit, by_notional, shift):
    total = np.int64(0)
    p = first_leg(ledger, unit)
    while p != 0:
        if live_leg(ledger, prices, unit, p):
            total += leg_weight(ledger, prices, unit, p, by_notional) >> shift
        p = next_leg(ledger, unit, p)
    return total


@leaf
def before_fee(prices, instrument, value):
    """The least trade value that leaves `value` when the taker's fee is paid out of it, where that is left for it."""
    rate_ppb = max(np.int64(0), np.int64(prices.instruments[instrument]["taker_ppb"]))
    if prices.policy[0]["bankruptcy_fee"] == 0:
        return value
    if value < 0:
        most, _ = wide_div(-value, np.int64(BILLION), BILLION + rate_ppb)
        return -most
    least, rest = wide_div(value, np.int64(BILLION), BILLION - rate_ppb)
    return least + (rest != 0)


@leaf
def plan(ledger, prices, unit, equity, required):
    """Allot a unit's equity to its legs by maintenance; note each leg's bankruptcy price, in the account's favour."""
    by_notional, shift = required == 0, np.int64(0)
    while sum_weights(ledger, prices, unit, by_notional, shift) >= np.int64(1) << WEIGHT_BITS:
        shift += 1
    total = sum_weights(ledger, prices, unit, by_notional, shift)
    p = first_leg(ledger, unit)
    while p != 0:
        if leg_of(ledger, unit, p):  # an isolated position of the wallet may have a plan of its own
            ledger.legs[p]["bankruptcy_ticks"] = 0
        if live_leg(ledger, prices, unit, p):
            position = ledger.positions[p]
            instrument, lots = np.int64(position["instrument"]), np.int64(position["lots"])
            share = mul_div_floor(equity, leg_weight(ledger, prices, unit, p, by_notional) >> shift, total)
            value = before_fee(prices, instrument, mark_value(prices, instrument, lots) - share)
            ledger.legs[p]["bankruptcy_ticks"] = worst_ticks(prices, instrument, lots, value)
        p = next_leg(ledger, unit, p)


@leaf
def liquidation_id_of(ledger, unit):
    if unit < 0:
        return np.int64(ledger.legs[-unit]["liquidation_id"])
    return np.int64(ledger.wallets[unit]["liquidation_id"])


@leaf
def set_liquidation_id(ledger, unit, liquidation_id):
    if unit < 0:
        ledger.legs[-unit]["liquidation_id"] = liquidation_id
    else:
        ledger.wallets[unit]["liquidation_id"] = liquidation_id


@leaf
def instrument_label(ledger, unit):
    """Instrument of an isolated unit, -1 for a wallet."""
    return np.int64(ledger.positions[-unit]["instrument"]) if unit < 0 else np.int64(-1)


@leaf
def current_leg(ledger, prices, unit):
    """The leg at work: the live one of the plan that comes first at or after the unit's place; 0 = none."""
    p, found, best = first_leg(ledger, unit), np.int64(0), np.int64(4 * GROUP_RANKS)
    start = np.int64(0) if unit < 0 else np.int64(ledger.wallets[unit]["next_rank"])
    while p != 0:
        rank = leg_rank(ledger, prices, p)
        if start <= rank < best and ledger.legs[p]["bankruptcy_ticks"] != 0 and live_leg(ledger, prices, unit, p):
            found, best = p, rank
        p = next_leg(ledger, unit, p)
    return found


@leaf
def begin_at_largest(ledger, prices, wallet):
    """A reduction takes one leg a step: the one that maintains most, the first of equals. Mutates the wallet."""
    p, most = first_leg(ledger, wallet), np.int64(-1)
    while p != 0:
        if live_leg(ledger, prices, wallet, p):
            held = leg_weight(ledger, prices, wallet, p, False)
            rank = leg_rank(ledger, prices, p)
            if held > most or (held == most and rank < ledger.wallets[wallet]["next_rank"]):
                most = held
                ledger.wallets[wallet]["next_rank"] = rank
        p = next_leg(ledger, wallet, p)
