"""Where accounts break along one mark, the other marks held. Reads the venue; what it moves is a copy. DESIGN §6.

The requirement of a unit is whatever `core/margin.py` says it is: the health of a unit is monotone in a mark while the
position's notional stays in one tier, and from tier to tier it may jump.
"""

import numpy as np

from exchange.core.arith import MILLION, ppm_up
from exchange.core.contract import contract_value
from exchange.core.grid import refresh_risks
from exchange.core.kernel import entry, kernel, leaf
from exchange.core.margin import unit_numbers, unit_of, wallet_margin
from exchange.core.requirement import tier_of

COVERED = 1 << 62  # beyond all money


@leaf
def move_mark(prices, instrument, mark_sub):
    """Put a mark elsewhere, with all that is kept for it. Mutates the market, risks: a copy's."""
    prices.markets[instrument]["mark_sub"] = mark_sub
    if prices.grids[0]["holders"] != 0:
        refresh_risks(prices, instrument)


@kernel
def is_below(state, unit, instrument, mark_sub, ratio_ppm):
    """Is the equity of a unit less than a share of its maintenance at a mark? Mutates that mark, which is a copy's."""
    move_mark(state.prices, instrument, mark_sub)
    equity, required, legs = unit_numbers(state.ledger, state.prices, unit)
    if required // MILLION > COVERED // max(ratio_ppm, np.int64(1)):
        return True
    return equity < ppm_up(required, ratio_ppm)


@leaf
def tier_at(prices, instrument, lots, mark_sub):
    return tier_of(prices, instrument, abs(contract_value(prices, instrument, mark_sub, lots)))


@kernel
def end_of_tier(prices, instrument, lots, near, end):
    """The last mark on the way from `near` to `end` at which the position's notional is in the tier that it is in."""
    tier = tier_at(prices, instrument, lots, near)
    if tier_at(prices, instrument, lots, end) == tier:
        return end
    while abs(end - near) > 1:
        middle = (near + end) >> 1
        if tier_at(prices, instrument, lots, middle) == tier:
            near = middle
        else:
            end = middle
    return near


@kernel
def first_below(state, p, ratio_ppm, step):
    """The first mark from where it stands, going by `step`, that puts the unit of `p` below a ratio; 0 = none."""
    position, prices = state.ledger.positions[p], state.prices
    instrument, lots, unit = np.int64(position["instrument"]), np.int64(position["lots"]), unit_of(state.ledger, p)
    record = prices.instruments[instrument]
    near, last = np.int64(prices.markets[instrument]["mark_sub"]), np.int64(record["ticks_min"])
    if step > 0:
        last = np.int64(record["ticks_max"])
    end = last * np.int64(record["mark_per_tick"])
    while not is_below(state, unit, instrument, near, ratio_ppm):
        far = end_of_tier(prices, instrument, lots, near, end)
        if is_below(state, unit, instrument, far, ratio_ppm):
            while abs(far - near) > 1:
                middle = (near + far) >> 1
                if is_below(state, unit, instrument, middle, ratio_ppm):
                    far = middle
                else:
                    near = middle
            return far
        if far == end:
            return np.int64(0)
        near = far + step
    return near


@entry
def marks_below(state, slots, ratio_ppm, falling, rising):
    """For each position slot the nearest marks, down and up, at which its unit is below a ratio. Mutates the arrays."""
    for k in range(slots.shape[0]):
        p = np.int64(slots[k])
        instrument = np.int64(state.ledger.positions[p]["instrument"])
        mark_sub = np.int64(state.prices.markets[instrument]["mark_sub"])
        if mark_sub != 0:
            falling[k] = first_below(state, p, ratio_ppm, np.int64(-1))
            move_mark(state.prices, instrument, mark_sub)
            rising[k] = first_below(state, p, ratio_ppm, np.int64(1))
            move_mark(state.prices, instrument, mark_sub)


@entry
def margins_at(state, p, marks, maintained, initial):
    """Maintenance of the unit of `p` and initial margin of its wallet at each mark. Mutates the arrays and the mark."""
    position = state.ledger.positions[p]
    for k in range(marks.shape[0]):
        move_mark(state.prices, np.int64(position["instrument"]), np.int64(marks[k]))
        equity, required, legs = unit_numbers(state.ledger, state.prices, unit_of(state.ledger, p))
        maintained[k] = required
        initial[k] = wallet_margin(state.ledger, state.prices, np.int64(position["wallet"]), 0, 0, 0, 0)
