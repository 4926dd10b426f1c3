"""Guards: exact margin checks without scanning. DESIGN §2 and "Guards" there.

Everything is reckoned in notional, in which the health of a leg is piecewise linear whatever the contract: as a mark
moves against it the notional of a linear long or an inverse short falls, that of a linear short or an inverse long
rises. Each leg gets a guard so far off that the slack covers all legs' moves together at their worst rates; while no
guard is crossed the unit cannot be breached. For a unit of one leg the guard is the liquidation price itself, solved
through the tiers.
"""

import numpy as np

from exchange.codes import (
    EXTERNAL,
    FEES,
    FIRST_USER,
    INSURANCE,
    LINEAR,
    LIQUIDATE,
    MARGIN_PLAIN,
    PRIORITY_LIQUIDATE,
    RESIDUE,
    STAGE_DETECTED,
    STAGE_NONE,
)
from exchange.core.ahead import LOOK_AHEAD, fetch_for_checks
from exchange.core.arith import MILLION, mul_div_floor, ppb_up, ppm_up
from exchange.core.contract import mark_at_notional, mark_value, mark_where, rises_against
from exchange.core.grid import band_in_grid, grid_change, grid_weight, in_grid
from exchange.core.guard_ladder import arm, disarm
from exchange.core.kernel import kernel, leaf
from exchange.core.ladder import find_down, find_up
from exchange.core.limits import (
    band_of_leg,
    falling_limit,
    nearest_breach,
    rate_ppb,
    rising_limit,
    tier_band,
    worst_loss,
)
from exchange.core.margin import (
    first_leg,
    is_breached,
    leg_of,
    next_leg,
    unit_account,
    unit_numbers,
    unit_of,
    unit_pocket,
    unit_stage,
)
from exchange.core.requirement import tier_of
from exchange.core.spot import start_conversion
from exchange.core.stages import enter_stages, unit_order
from exchange.core.timers import push_timer

DOWN, UP = 0, 1
WEIGHT_BITS = 31  # slack and weight are scaled below 2**31, so that their products fit 63 bits


@leaf
def arm_single(ledger, guards, prices, unit, p):
    """Arm the one leg of a unit at its liquidation price."""
    position = ledger.positions[p]
    instrument, lots = np.int64(position["instrument"]), np.int64(position["lots"])
    constant = unit_pocket(ledger, unit) - np.int64(position["entry_value"])
    disarm(ledger, guards, p)
    if prices.markets[instrument]["mark_sub"] == 0 or prices.instruments[instrument]["option"] != 0:
        return
    if prices.instruments[instrument]["margin_model"] != MARGIN_PLAIN:
        arm_both(ledger, guards, prices, unit, p)
    else:
        notional = abs(mark_value(prices, instrument, lots))
        if rises_against(prices, instrument, lots):
            limit = rising_limit(prices, instrument, constant, notional)
        else:
            limit = falling_limit(prices, instrument, constant, notional)
        arm_at_notional(ledger, guards, prices, p, instrument, lots, limit)


@kernel
def arm_both(ledger, guards, prices, unit, p):
    """Arm the one leg of a unit at the nearest marks on both sides that breach it."""
    for direction in range(2):
        arm(ledger, guards, prices, p, direction, nearest_breach(ledger, prices, unit, p, direction))


@kernel
def arm_band(ledger, guards, prices, p, instrument, lots, whole, part, weight):
    """Arm a leg of several, whose model is not the plain one, on both sides where its share of the slack ends."""
    if in_grid(ledger, prices, p):
        above, below = band_in_grid(prices, instrument, lots, whole, part, weight)
    else:
        above, below = band_of_leg(prices, instrument, lots, whole, part, weight)
    arm_sides(ledger, guards, prices, p, instrument, lots, above, below)


@leaf
def arm_sides(ledger, guards, prices, p, instrument, lots, above, below):
    """Arm a leg where its notional has risen to one limit or fallen to another; -1 below = never."""
    rising = UP if prices.instruments[instrument]["kind"] == LINEAR else DOWN
    arm(ledger, guards, prices, p, rising, mark_where(prices, instrument, lots, above, True))
    arm(ledger, guards, prices, p, 1 - rising, mark_where(prices, instrument, lots, below, False))


@leaf
def arm_at_notional(ledger, guards, prices, p, instrument, lots, limit):
    """Arm a position on its losing side at the first mark where its notional has come to `limit`."""
    arm(ledger, guards, prices, p, DOWN if lots > 0 else UP, mark_at_notional(prices, instrument, lots, limit))


@leaf
def split_slack(slack, weight):
    """(whole, part, weight): how far each notional may move, by whole + part / weight of itself, weight below 2**31."""
    weight, slack = max(weight, np.int64(1)), max(slack, np.int64(0))
    whole = slack // weight
    slack -= whole * weight
    while weight >= 1 << WEIGHT_BITS:
        slack >>= 1
        weight = (weight >> 1) + 1
    return whole, min(slack, weight), weight


@leaf
def arm_legs(ledger, guards, prices, unit, slack):
    """Split the slack of a unit of several legs in equal relative moves of their notionals, one guard a leg."""
    weight = np.int64(0)
    maintained = unit_account(ledger, prices, unit) != INSURANCE
    portfolio = unit > 0 and ledger.wallets[unit]["portfolio"] != 0
    p = first_leg(ledger, unit)
    while p != 0:
        lots = np.int64(ledger.positions[p]["lots"])
        if lots != 0 and leg_of(ledger, unit, p):
            instrument = np.int64(ledger.positions[p]["instrument"])
            if prices.instruments[instrument]["option"] == 0:  # an option's mark stands until who holds it is checked
                notional = abs(mark_value(prices, instrument, lots))
                if portfolio and in_grid(ledger, prices, p):
                    most, rounding = grid_weight(prices, instrument, lots, notional)
                    weight += most
                    slack -= rounding
                else:
                    weight += worst_loss(prices, instrument, lots, notional, maintained)
                    # each leg's maintenance is rounded up by less than a quantum, beyond the plain model at most twice
                    slack -= 1 if prices.instruments[instrument]["margin_model"] == MARGIN_PLAIN else 2
        p = next_leg(ledger, unit, p)
    whole, part, weight = split_slack(slack, weight)
    p = first_leg(ledger, unit)
    while p != 0:
        if leg_of(ledger, unit, p):
            disarm(ledger, guards, p)
            instrument = np.int64(ledger.positions[p]["instrument"])
            lots = np.int64(ledger.positions[p]["lots"])
            marked = prices.markets[instrument]["mark_sub"] != 0 and prices.instruments[instrument]["option"] == 0
            if lots != 0 and marked:
                plain = prices.instruments[instrument]["margin_model"] == MARGIN_PLAIN
                if maintained and not plain or portfolio and in_grid(ledger, prices, p):
                    arm_band(ledger, guards, prices, p, instrument, lots, whole, part, weight)
                else:
                    arm_leg(ledger, guards, prices, p, instrument, whole, part, weight)
        p = next_leg(ledger, unit, p)


@leaf
def arm_leg(ledger, guards, prices, p, instrument, whole, part, weight):
    """Arm a leg just past a move of its notional by (whole + part / weight) of itself.

    One whose notional rises is armed no further than the edge of its tier, beyond which it loses faster; one whose
    notional falls can lose no more than all of it.
    """
    lots = np.int64(ledger.positions[p]["lots"])
    notional = abs(mark_value(prices, instrument, lots))
    move = mul_div_floor(notional, part, weight)
    if rises_against(prices, instrument, lots):
        limit = notional + notional * whole + move + 1
        tier = tier_of(prices, instrument, notional)
        record = prices.instruments[instrument]
        if tier < np.int64(record["tier_base"]) + np.int64(record["tier_count"]) - 1:
            limit = min(limit, np.int64(prices.tiers[tier + 1]["floor"]))
    else:
        limit = notional - move - 1 if whole == 0 else np.int64(-1)
    arm_at_notional(ledger, guards, prices, p, instrument, lots, limit)


@kernel
def arm_stages(ledger, guards, prices, io, unit, equity, required, legs):
    """Re-check a unit of a venue with stages, and arm every leg on both sides where a stage may begin or end."""
    loss, gain = enter_stages(ledger, prices, io, unit, equity, required, legs)
    weight, ppm = np.int64(0), np.int64(prices.stages[0]["exit_ppm"])  # no stage has more
    slack = max(np.int64(0), min(loss, gain))
    p = first_leg(ledger, unit)
    while p != 0:
        lots, instrument = np.int64(ledger.positions[p]["lots"]), np.int64(ledger.positions[p]["instrument"])
        if leg_of(ledger, unit, p):
            disarm(ledger, guards, p)
            if lots != 0 and prices.instruments[instrument]["option"] == 0:
                notional, rounding = abs(mark_value(prices, instrument, lots)), np.int64(3)  # twice, and once scaled
                if unit > 0 and in_grid(ledger, prices, p):
                    held, rounding = grid_change(prices, instrument, lots, notional)
                else:
                    held = ppb_up(notional, rate_ppb(prices, instrument, lots, notional))
                weight += notional + ppm_up(held, ppm)
                slack -= rounding * ((ppm + MILLION - 1) // MILLION)
        p = next_leg(ledger, unit, p)
    whole, part, weight = split_slack(slack, weight)
    p = first_leg(ledger, unit)
    while p != 0:
        lots, instrument = np.int64(ledger.positions[p]["lots"]), np.int64(ledger.positions[p]["instrument"])
        marked = prices.markets[instrument]["mark_sub"] != 0 and prices.instruments[instrument]["option"] == 0
        if lots != 0 and marked and leg_of(ledger, unit, p):
            above, below = tier_band(prices, instrument, lots, whole, part, weight)
            arm_sides(ledger, guards, prices, p, instrument, lots, above, below)
        p = next_leg(ledger, unit, p)


@leaf
def disarm_unit(ledger, guards, unit):
    p = first_leg(ledger, unit)
    while p != 0:
        if leg_of(ledger, unit, p):
            disarm(ledger, guards, p)
        p = next_leg(ledger, unit, p)


@leaf
def set_stage(ledger, unit, stage):
    """Mutates the unit's stage."""
    if unit < 0:
        ledger.positions[-unit]["stage"] = stage
    else:
        ledger.wallets[unit]["stage"] = stage


@leaf
def set_liquidation_timer(ledger, prices, io, unit, delay_ns):
    """Schedule the next step of a unit's liquidation. Mutates the heap."""
    push_timer(
        io,
        np.int64(io.control[0]["clock_ns"]) + delay_ns,
        PRIORITY_LIQUIDATE,
        unit_account(ledger, prices, unit),
        unit_order(ledger, prices, unit),
        unit,
        LIQUIDATE,
    )


@leaf
def check_unit(ledger, guards, prices, io, unit):
    """Re-check one unit and re-arm it, or start its liquidation. Mutates guards, stage, timers."""
    account = unit_account(ledger, prices, unit)
    if account == EXTERNAL or account == FEES or account == RESIDUE or unit_stage(ledger, unit) != STAGE_NONE:
        return
    if unit > 0 and prices.sales[0] >= 0:
        start_conversion(ledger, prices, io, unit)
    io.control[0]["guard_checks"] += 1
    equity, required, legs = unit_numbers(ledger, prices, unit)
    if prices.stages[0]["count"] != 0 and account >= FIRST_USER:
        arm_stages(ledger, guards, prices, io, unit, equity, required, legs)
    elif is_breached(ledger, prices, unit, equity, required, legs):
        disarm_unit(ledger, guards, unit)
        set_stage(ledger, unit, STAGE_DETECTED)
        set_liquidation_timer(ledger, prices, io, unit, np.int64(prices.policy[0]["detection_delay_ns"]))
    elif legs == 0 or equity < required:  # the fund, short of what holdings cannot bring
        disarm_unit(ledger, guards, unit)
    elif unit < 0:
        arm_single(ledger, guards, prices, unit, -unit)
    elif legs == 1 and account != INSURANCE and ledger.wallets[unit]["portfolio"] == 0:
        p = first_leg(ledger, unit)
        while p != 0:
            if leg_of(ledger, unit, p):
                if ledger.positions[p]["lots"] != 0:
                    arm_single(ledger, guards, prices, unit, p)
                else:
                    disarm(ledger, guards, p)
            p = next_leg(ledger, unit, p)
    else:
        arm_legs(ledger, guards, prices, unit, equity - required)


@leaf
def touch(ledger, io, unit):
    """Note that a unit changed; it is re-checked when the event ends. Mutates the dirty list."""
    if unit < 0:
        if ledger.positions[-unit]["dirty"] != 0:
            return
        ledger.positions[-unit]["dirty"] = 1
    else:
        if ledger.wallets[unit]["dirty"] != 0:
            return
        ledger.wallets[unit]["dirty"] = 1
    count = np.int64(io.control[0]["dirty_count"])
    io.dirty[count] = unit
    io.control[0]["dirty_count"] = count + 1


@leaf
def touch_position(ledger, io, p):
    """Touch the unit of a position, and its wallet too where the position is isolated."""
    unit = unit_of(ledger, p)
    touch(ledger, io, unit)
    if unit < 0:
        touch(ledger, io, np.int64(ledger.positions[p]["wallet"]))


@leaf
def clear_dirty(ledger, unit):
    """Forget that a unit was touched; returns whether it was. Mutates the unit."""
    if unit < 0:
        was = ledger.positions[-unit]["dirty"] != 0
        ledger.positions[-unit]["dirty"] = 0
    else:
        was = ledger.wallets[unit]["dirty"] != 0
        ledger.wallets[unit]["dirty"] = 0
    return was


@leaf
def close_step(ledger, guards, prices, io):
    """Re-check every unit that the event touched."""
    count = np.int64(io.control[0]["dirty_count"])
    for k in range(count):
        unit = np.int64(io.dirty[k])
        if k + 2 * LOOK_AHEAD < count:
            fetch_for_checks(ledger, guards, np.int64(io.dirty[k + 2 * LOOK_AHEAD]), np.int64(io.dirty[k + LOOK_AHEAD]))
        if clear_dirty(ledger, unit):
            check_unit(ledger, guards, prices, io, unit)
    io.control[0]["dirty_count"] = 0


@kernel
def cross_guards(ledger, guards, prices, io, instrument, old_sub, new_sub):
    """Touch the units whose guards a mark move crossed: every bucket from the old mark to the new, inclusive."""
    per_tick = np.int64(prices.instruments[instrument]["mark_per_tick"])
    direction = DOWN if new_sub < old_sub else UP
    ladder = guards.ladders[2 * instrument + direction]
    ticks_max = np.int64(ladder["ticks_max"])
    last = max(np.int64(1), min(new_sub // per_tick, ticks_max))
    bucket = max(np.int64(1), min(old_sub // per_tick, ticks_max))
    bucket = find_down(guards.words, ladder, bucket) if direction == DOWN else find_up(guards.words, ladder, bucket)
    while bucket != 0 and (bucket >= last if direction == DOWN else bucket <= last):
        g = np.int64(guards.heads[np.int64(ladder["level_base"]) + bucket])
        while g != 0:
            mark_sub = np.int64(guards.guards[g]["mark_sub"])
            if mark_sub >= new_sub if direction == DOWN else mark_sub <= new_sub:
                touch(ledger, io, unit_of(ledger, g >> 1))
            g = np.int64(guards.guards[g]["next"])
        if direction == DOWN:
            bucket = find_down(guards.words, ladder, bucket - 1) if bucket > 1 else np.int64(0)
        else:
            bucket = find_up(guards.words, ladder, bucket + 1) if bucket < ticks_max else np.int64(0)


@kernel
def touch_holders(ledger, io, instrument):
    """Touch every unit with a position in an instrument: its first mark has come."""
    for p in range(1, np.int64(io.control[0]["position_high"]) + 1):
        if ledger.positions[p]["instrument"] == instrument and ledger.positions[p]["lots"] != 0:
            touch(ledger, io, unit_of(ledger, p))
