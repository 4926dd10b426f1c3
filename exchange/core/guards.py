"""Guards: exact margin checks without scanning. DESIGN §2 and "Guards" there.

Health of a unit falls by at most `slope` per sub-tick that a mark moves against it, over the whole band up to the
guard. So each leg gets a guard so far from the mark that the slack covers all legs' moves together; while no guard is
crossed the unit cannot be breached. For a unit of one leg the guard is the liquidation price itself, solved through the
tiers.
"""

import numpy as np

from exchange.codes import EXTERNAL, FEES, INSURANCE, LIQUIDATE, PRIORITY_LIQUIDATE, RESIDUE, STAGE_DETECTED, STAGE_NONE
from exchange.core.arith import MILLION, ceil_div, ppm_down, ppm_up
from exchange.core.kernel import kernel, leaf
from exchange.core.ladder import clear_level, find_down, find_up, mark_level
from exchange.core.margin import (
    first_leg,
    is_breached,
    leg_of,
    maintenance,
    mark_value,
    next_leg,
    tier_of,
    unit_account,
    unit_numbers,
    unit_of,
    unit_pocket,
    unit_stage,
)
from exchange.core.timers import push_timer

DOWN, UP = 0, 1
SHIFT_BITS = 22  # slack and weight are scaled below 2**22, so that times a mark (< 2**40) they fit 63 bits


@leaf
def disarm(ledger, guards, p):
    """Take both guards of a position out. Mutates guards."""
    instrument = np.int64(ledger.positions[p]["instrument"])
    for direction in range(2):
        g = 2 * p + direction
        guard = guards.guards[g]
        if guard["mark_sub"] != 0:
            ladder = guards.ladders[2 * instrument + direction]
            before, after = np.int64(guard["prev"]), np.int64(guard["next"])
            if after != 0:
                guards.guards[after]["prev"] = before
            if before > 0:
                guards.guards[before]["next"] = after
            else:
                bucket = -before
                guards.heads[np.int64(ladder["level_base"]) + bucket] = after
                if after == 0:
                    clear_level(guards.words, ladder, bucket)
                else:
                    guards.guards[after]["prev"] = -bucket
            guard["mark_sub"] = 0
            guard["next"] = 0
            guard["prev"] = 0


@leaf
def arm(ledger, guards, prices, p, direction, mark_sub):
    """File one guard at an exact sub-tick price; a price off the ladder needs none. Mutates guards.

    The first guard of a bucket keeps minus the bucket in `prev`, so that it can be taken out in O(1).
    """
    instrument = np.int64(ledger.positions[p]["instrument"])
    ladder = guards.ladders[2 * instrument + direction]
    per_tick = np.int64(prices.instruments[instrument]["mark_per_tick"])
    if mark_sub < 1 or mark_sub >= (np.int64(ladder["ticks_max"]) + 1) * per_tick:
        return
    bucket = max(mark_sub // per_tick, np.int64(1))  # tick 0 is never a level; the guard's own price stays exact
    g = 2 * p + direction
    guard = guards.guards[g]
    at = np.int64(ladder["level_base"]) + bucket
    head = np.int64(guards.heads[at])
    guard["mark_sub"] = mark_sub
    guard["next"] = head
    guard["prev"] = -bucket
    if head != 0:
        guards.guards[head]["prev"] = g
    else:
        mark_level(guards.words, ladder, bucket)
    guards.heads[at] = g


@leaf
def health_at(prices, instrument, constant, lots, mark_sub):
    """Health of a one-leg unit at a mark: constant + value - maintenance."""
    value = lots * np.int64(prices.instruments[instrument]["mark_unit"]) * mark_sub
    return constant + value - maintenance(prices, instrument, abs(value))


@leaf
def solve_long(prices, instrument, constant, lots, mark_sub):
    """The highest mark at which a one-leg long unit is breached; 0 = none. Health falls as the mark falls."""
    if constant >= 0:  # rates are below one, so value never falls below its maintenance
        return np.int64(0)
    slope = lots * np.int64(prices.instruments[instrument]["mark_unit"])
    tier = tier_of(prices, instrument, slope * mark_sub)
    base = np.int64(prices.instruments[instrument]["tier_base"])
    while tier > base:
        edge = ceil_div(np.int64(prices.tiers[tier]["floor"]), slope)  # lowest mark of this tier
        if health_at(prices, instrument, constant, lots, edge) < 0:
            break
        tier -= 1
    need = -(constant + np.int64(prices.tiers[tier]["cum"]))
    if need <= 0:
        return np.int64(0)
    guess = need // slope * MILLION // (MILLION - np.int64(prices.tiers[tier]["maintenance_ppm"]))
    guess = max(np.int64(0), min(guess, mark_sub))
    while guess > 0 and health_at(prices, instrument, constant, lots, guess) >= 0:
        guess -= 1
    while guess < mark_sub and health_at(prices, instrument, constant, lots, guess + 1) < 0:
        guess += 1
    return guess


@leaf
def solve_short(prices, instrument, constant, lots, mark_sub):
    """The lowest mark at which a one-leg short unit is breached. Health falls as the mark rises."""
    record = prices.instruments[instrument]
    slope = -lots * np.int64(record["mark_unit"])
    tier = tier_of(prices, instrument, slope * mark_sub)
    last = np.int64(record["tier_base"]) + np.int64(record["tier_count"]) - 1
    while tier < last:
        edge = ceil_div(np.int64(prices.tiers[tier + 1]["floor"]), slope)  # lowest mark of the next tier
        if health_at(prices, instrument, constant, lots, edge) < 0:
            break
        tier += 1
    have = constant + np.int64(prices.tiers[tier]["cum"])
    top = (np.int64(record["ticks_max"]) + 1) * np.int64(record["mark_per_tick"])
    if have > 2 * top * slope:  # rates are below one, so the breach lies beyond the ladder
        return top
    guess = max(mark_sub, have // slope * MILLION // (MILLION + np.int64(prices.tiers[tier]["maintenance_ppm"])))
    while health_at(prices, instrument, constant, lots, guess) >= 0:
        guess += 1
    while guess > mark_sub and health_at(prices, instrument, constant, lots, guess - 1) < 0:
        guess -= 1
    return guess


@leaf
def worst_slope(prices, instrument, value, slope, maintained):
    """Most that health can fall per sub-tick over the band: long at the lowest rate, short at its tier's own."""
    if not maintained:  # the insurance fund holds no maintenance
        return slope
    if value > 0:
        base = np.int64(prices.instruments[instrument]["tier_base"])
        return slope - ppm_down(slope, np.int64(prices.tiers[base]["maintenance_ppm"]))
    return slope + ppm_up(slope, np.int64(prices.tiers[tier_of(prices, instrument, -value)]["maintenance_ppm"]))


@leaf
def arm_single(ledger, guards, prices, unit, p):
    """Arm the one leg of a unit at its liquidation price."""
    position = ledger.positions[p]
    instrument, lots = np.int64(position["instrument"]), np.int64(position["lots"])
    mark_sub = np.int64(prices.markets[instrument]["mark_sub"])
    constant = unit_pocket(ledger, unit) - np.int64(position["entry_value"])
    disarm(ledger, guards, p)
    if mark_sub != 0:
        if lots > 0:
            arm(ledger, guards, prices, p, DOWN, solve_long(prices, instrument, constant, lots, mark_sub))
        else:
            arm(ledger, guards, prices, p, UP, solve_short(prices, instrument, constant, lots, mark_sub))


@leaf
def arm_legs(ledger, guards, prices, unit, slack):
    """Split the slack of a unit of several legs in equal relative moves, one guard a leg."""
    weight = np.int64(0)
    maintained = unit_account(ledger, prices, unit) != INSURANCE
    p = first_leg(ledger, unit)
    while p != 0:
        lots = np.int64(ledger.positions[p]["lots"])
        if lots != 0 and leg_of(ledger, unit, p):
            instrument = np.int64(ledger.positions[p]["instrument"])
            value = mark_value(prices, instrument, lots)
            slope = abs(lots) * np.int64(prices.instruments[instrument]["mark_unit"])
            weight += worst_slope(prices, instrument, value, slope, maintained) * np.int64(
                prices.markets[instrument]["mark_sub"]
            )
            slack -= 1  # each leg's maintenance is rounded up by less than one quantum
        p = next_leg(ledger, unit, p)
    slack = max(slack, np.int64(0))
    whole = min(slack // max(weight, np.int64(1)), np.int64(1 << 20))
    slack -= whole * weight
    while weight >= 1 << SHIFT_BITS:
        slack >>= 1
        weight = (weight >> 1) + 1
    p = first_leg(ledger, unit)
    while p != 0:
        lots = np.int64(ledger.positions[p]["lots"])
        if leg_of(ledger, unit, p):
            disarm(ledger, guards, p)
            instrument = np.int64(ledger.positions[p]["instrument"])
            mark_sub = np.int64(prices.markets[instrument]["mark_sub"])
            if lots != 0 and mark_sub != 0:
                move = mark_sub * whole + mark_sub * min(slack, weight) // max(weight, np.int64(1))
                if lots > 0:
                    arm(ledger, guards, prices, p, DOWN, mark_sub - move - 1)
                else:
                    arm_short_leg(ledger, guards, prices, p, instrument, lots, mark_sub + move + 1)
        p = next_leg(ledger, unit, p)


@leaf
def arm_short_leg(ledger, guards, prices, p, instrument, lots, guard_sub):
    """Arm a short leg no further than the edge of its tier, beyond which its slope is steeper."""
    slope = -lots * np.int64(prices.instruments[instrument]["mark_unit"])
    tier = tier_of(prices, instrument, -mark_value(prices, instrument, lots))
    last = (
        np.int64(prices.instruments[instrument]["tier_base"])
        + np.int64(prices.instruments[instrument]["tier_count"])
        - 1
    )
    if tier < last:
        guard_sub = min(guard_sub, ceil_div(np.int64(prices.tiers[tier + 1]["floor"]), slope))
    arm(ledger, guards, prices, p, UP, guard_sub)


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
def unit_order(ledger, prices, unit):
    """Order among the units of one account: wallets by asset, then isolated positions by instrument."""
    if unit < 0:
        return 1000 + np.int64(ledger.positions[-unit]["instrument"])
    return unit % np.int64(prices.policy[0]["assets"])


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
    io.control[0]["guard_checks"] += 1
    equity, required, legs = unit_numbers(ledger, prices, unit)
    if is_breached(ledger, prices, unit, equity, required, legs):
        disarm_unit(ledger, guards, unit)
        set_stage(ledger, unit, STAGE_DETECTED)
        set_liquidation_timer(ledger, prices, io, unit, np.int64(prices.policy[0]["detection_delay_ns"]))
    elif legs == 0:
        disarm_unit(ledger, guards, unit)
    elif unit < 0:
        arm_single(ledger, guards, prices, unit, -unit)
    elif legs == 1 and account != INSURANCE:
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
    for k in range(np.int64(io.control[0]["dirty_count"])):
        unit = np.int64(io.dirty[k])
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
