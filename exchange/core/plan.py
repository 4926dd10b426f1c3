"""The plan of a liquidation: a unit's equity allotted to its legs, each leg's bankruptcy price. DESIGN §4."""

import numpy as np

from exchange.core.arith import mul_div_floor
from exchange.core.contract import mark_value, worst_ticks
from exchange.core.kernel import leaf
from exchange.core.margin import first_leg, leg_of, live_leg, maintenance, next_leg

WEIGHT_BITS = 31


@leaf
def leg_weight(ledger, prices, unit, p, by_notional):
    """A leg's share of the unit's equity: its maintenance, or its notional where nothing is maintained."""
    instrument = np.int64(ledger.positions[p]["instrument"])
    notional = abs(mark_value(prices, instrument, np.int64(ledger.positions[p]["lots"])))
    return notional if by_notional else maintenance(prices, instrument, notional)


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
            value = mark_value(prices, instrument, lots) - share
            ledger.legs[p]["bankruptcy_ticks"] = worst_ticks(prices, instrument, lots, value)
        p = next_leg(ledger, unit, p)
