"""Guards: exact margin checks without scanning. DESIGN §2 and "Guards" there.

Everything is reckoned in notional, in which the health of a leg is piecewise linear whatever the contract: as a mark
moves against it the notional of a linear long or an inverse short falls, that of a linear short or an inverse long
rises. Each leg gets a guard so far off that the slack covers all legs' moves together at their worst rates; while no
guard is crossed the unit cannot be breached. For a unit of one leg the guard is the liquidation price itself, solved
through the tiers.
"""

import numpy as np

from exchange.codes import EXTERNAL, FEES, INSURANCE, LIQUIDATE, PRIORITY_LIQUIDATE, RESIDUE, STAGE_DETECTED, STAGE_NONE
from exchange.core.arith import MILLION, ceil_div, mul_div_floor, ppm_down, ppm_up
from exchange.core.contract import mark_at_notional, mark_value, rises_against
from exchange.core.kernel import kernel, leaf
from exchange.core.ladder import clear_level, find_down, find_up, mark_level
from exchange.core.margin import (
    first_leg,
    is_breached,
    leg_of,
    next_leg,
    tier_maintenance,
    tier_of,
    unit_account,
    unit_numbers,
    unit_of,
    unit_pocket,
    unit_stage,
)
from exchange.core.timers import push_timer

DOWN, UP = 0, 1
WEIGHT_BITS = 31  # slack and weight are scaled below 2**31, so that their products fit 63 bits


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
def rising_limit(prices, instrument, constant, notional):
    """The least notional at which a one-leg unit is breached whose notional rises as it loses.

    Its health is `constant` - notional - maintenance; `notional` is where it stands, not breached.
    """
    tier = tier_of(prices, instrument, notional)
    record = prices.instruments[instrument]
    last = np.int64(record["tier_base"]) + np.int64(record["tier_count"]) - 1
    while tier < last:
        edge = np.int64(prices.tiers[tier + 1]["floor"])
        if constant - edge - tier_maintenance(prices, tier + 1, edge) < 0:
            break
        tier += 1
    have = constant + np.int64(prices.tiers[tier]["cum"])
    return mul_div_floor(have, MILLION, MILLION + np.int64(prices.tiers[tier]["maintenance_ppm"])) + 1


@leaf
def falling_limit(prices, instrument, constant, notional):
    """The greatest notional at which a one-leg unit is breached whose notional falls as it loses; -1 = none.

    Its health is `constant` + notional - maintenance; `notional` is where it stands, not breached.
    """
    if constant >= 0:  # rates are below one, so notional never falls below its maintenance
        return np.int64(-1)
    tier = tier_of(prices, instrument, notional)
    base = np.int64(prices.instruments[instrument]["tier_base"])
    while tier > base:
        edge = np.int64(prices.tiers[tier]["floor"])
        if constant + edge - tier_maintenance(prices, tier, edge) < 0:
            break
        tier -= 1
    need = -(constant + np.int64(prices.tiers[tier]["cum"]))
    kept_ppm = MILLION - np.int64(prices.tiers[tier]["maintenance_ppm"])
    return need // kept_ppm * MILLION + ceil_div(need % kept_ppm * MILLION, kept_ppm) - 1


@leaf
def arm_single(ledger, guards, prices, unit, p):
    """Arm the one leg of a unit at its liquidation price."""
    position = ledger.positions[p]
    instrument, lots = np.int64(position["instrument"]), np.int64(position["lots"])
    constant = unit_pocket(ledger, unit) - np.int64(position["entry_value"])
    disarm(ledger, guards, p)
    if prices.markets[instrument]["mark_sub"] != 0:
        notional = abs(mark_value(prices, instrument, lots))
        if rises_against(prices, instrument, lots):
            limit = rising_limit(prices, instrument, constant, notional)
        else:
            limit = falling_limit(prices, instrument, constant, notional)
        arm_at_notional(ledger, guards, prices, p, instrument, lots, limit)


@leaf
def arm_at_notional(ledger, guards, prices, p, instrument, lots, limit):
    """Arm a position on its losing side at the first mark where its notional has come to `limit`."""
    arm(ledger, guards, prices, p, DOWN if lots > 0 else UP, mark_at_notional(prices, instrument, lots, limit))


@leaf
def worst_loss(prices, instrument, lots, notional, maintained):
    """Most that health falls when a leg's notional moves by its own size, at the worst maintenance rate on the way."""
    if not maintained:  # the insurance fund holds no maintenance
        return notional
    if rises_against(prices, instrument, lots):
        tier = tier_of(prices, instrument, notional)
        return notional + ppm_up(notional, np.int64(prices.tiers[tier]["maintenance_ppm"]))
    tier = np.int64(prices.instruments[instrument]["tier_base"])
    return notional - ppm_down(notional, np.int64(prices.tiers[tier]["maintenance_ppm"]))


@leaf
def arm_legs(ledger, guards, prices, unit, slack):
    """Split the slack of a unit of several legs in equal relative moves of their notionals, one guard a leg."""
    weight = np.int64(0)
    maintained = unit_account(ledger, prices, unit) != INSURANCE
    p = first_leg(ledger, unit)
    while p != 0:
        lots = np.int64(ledger.positions[p]["lots"])
        if lots != 0 and leg_of(ledger, unit, p):
            instrument = np.int64(ledger.positions[p]["instrument"])
            notional = abs(mark_value(prices, instrument, lots))
            weight += worst_loss(prices, instrument, lots, notional, maintained)
            slack -= 1  # each leg's maintenance is rounded up by less than one quantum
        p = next_leg(ledger, unit, p)
    weight, slack = max(weight, np.int64(1)), max(slack, np.int64(0))
    whole = slack // weight
    slack -= whole * weight
    while weight >= 1 << WEIGHT_BITS:
        slack >>= 1
        weight = (weight >> 1) + 1
    p = first_leg(ledger, unit)
    while p != 0:
        if leg_of(ledger, unit, p):
            disarm(ledger, guards, p)
            instrument = np.int64(ledger.positions[p]["instrument"])
            if ledger.positions[p]["lots"] != 0 and prices.markets[instrument]["mark_sub"] != 0:
                arm_leg(ledger, guards, prices, p, instrument, whole, min(slack, weight), weight)
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
