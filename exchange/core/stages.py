"""Stages of liquidation: which a unit is in, when each acts, which one drives its liquidation. DESIGN §4.1; STG-1."""

import numpy as np

from exchange.codes import PRIORITY_STAGE, STAGE_CLOSE, STAGE_PART, STAGE_PLACES, STAGE_TICK
from exchange.core.arith import ppm_up
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import can_liquidate, unit_account
from exchange.core.timers import push_timer

FAR = 1 << 62  # beyond all money


@leaf
def unit_asset(ledger, prices, unit):
    wallet = np.int64(ledger.positions[-unit]["wallet"]) if unit < 0 else unit
    return wallet % np.int64(prices.policy[0]["assets"])


@leaf
def first_standing(ledger, prices, unit):
    """Where a unit's standings begin, one for each stage."""
    slot = ledger.wallets.shape[0] - unit if unit < 0 else unit
    return slot * np.int64(prices.stages[0]["count"])


@leaf
def first_stage(ledger, prices, unit):
    """Where the stages of a unit's asset begin."""
    return unit_asset(ledger, prices, unit) * np.int64(prices.stages[0]["count"])


@leaf
def unit_order(ledger, prices, unit):
    """Order among the units of one account: wallets by asset, then isolated positions by instrument."""
    if unit < 0:
        return 1000 + np.int64(ledger.positions[-unit]["instrument"])
    return unit % np.int64(prices.policy[0]["assets"])


@leaf
def set_stage_timer(ledger, prices, io, unit, k, due_ns):
    """Mutates the unit's standing, the heap."""
    ledger.standings[first_standing(ledger, prices, unit) + k]["timed"] = 1
    order = STAGE_PLACES * k + unit_order(ledger, prices, unit)
    push_timer(io, due_ns, PRIORITY_STAGE, unit_account(ledger, prices, unit), order, unit, STAGE_TICK)


@kernel
def enter_stages(ledger, prices, io, unit, equity, required, legs):
    """Note which stages a unit has come into or left; timers for what these do. Mutates standings, the heap.

    Returns what its equity may lose, or its requirements gain, and the other way round, before that changes.
    """
    able, now_ns = can_liquidate(ledger, prices, unit, legs), np.int64(io.control[0]["clock_ns"])
    base, own = first_stage(ledger, prices, unit), first_standing(ledger, prices, unit)
    loss, gain = np.int64(FAR), np.int64(FAR)
    for k in range(np.int64(prices.stages[0]["count"])):
        stage, standing = prices.stages[base + k], ledger.standings[own + k]
        entry = ppm_up(required, np.int64(stage["below_ppm"]))
        way_out = ppm_up(required, np.int64(stage["exit_ppm"]))
        if standing["inside"] == 0 and able and equity < entry:
            standing["inside"] = 1
            standing["due_ns"] = max(now_ns + np.int64(stage["dwell_ns"]), np.int64(standing["ready_ns"]))
            if standing["timed"] == 0:
                set_stage_timer(ledger, prices, io, unit, k, np.int64(standing["due_ns"]))
        elif standing["inside"] != 0 and (not able or equity >= way_out):
            standing["inside"] = standing["acted"] = 0
        elif standing["inside"] != 0 and standing["timed"] == 0 and stage["action"] >= STAGE_PART:  # again
            set_stage_timer(ledger, prices, io, unit, k, max(now_ns, np.int64(standing["ready_ns"])))
        if standing["inside"] != 0:
            gain = min(gain, way_out - 1 - equity)
        else:
            loss = min(loss, equity - entry)
    return loss, gain


@leaf
def leave_stages(ledger, prices, unit):
    """A unit is no more: it is in no stage. Mutates standings."""
    own = first_standing(ledger, prices, unit)
    for k in range(np.int64(prices.stages[0]["count"])):
        ledger.standings[own + k]["inside"] = ledger.standings[own + k]["acted"] = 0


@leaf
def driving_stage(ledger, prices, unit):
    """The stage whose liquidation a unit is in; -1 = none, it is that of a venue without stages, or of the fund."""
    own = first_standing(ledger, prices, unit)
    for k in range(np.int64(prices.stages[0]["count"])):
        if ledger.standings[own + k]["drives"] != 0:
            return np.int64(k)
    return np.int64(-1)


@leaf
def begin_driving(ledger, prices, unit, k, now_ns, kept):
    """Mutates the unit's standing."""
    standing = ledger.standings[first_standing(ledger, prices, unit) + k]
    standing["drives"], standing["began_ns"], standing["kept"] = 1, now_ns, kept


@leaf
def end_driving(ledger, prices, unit, k):
    """Mutates the unit's standing."""
    standing = ledger.standings[first_standing(ledger, prices, unit) + k]
    standing["drives"] = 0
    standing["began_ns"] = standing["kept"] = standing["freed"] = standing["bid"] = 0


@kernel
def deepen(ledger, prices, unit, k, equity, required, now_ns):
    """The deepest stage that ends a liquidation and that a unit in one is below; it drives from now on."""
    base, deepest = first_stage(ledger, prices, unit), k
    for other in range(k + 1, np.int64(prices.stages[0]["count"])):
        stage = prices.stages[base + other]
        if stage["action"] >= STAGE_CLOSE and equity < ppm_up(required, np.int64(stage["below_ppm"])):
            deepest = np.int64(other)
    if deepest != k:
        kept = np.int64(ledger.standings[first_standing(ledger, prices, unit) + k]["kept"])
        end_driving(ledger, prices, unit, k)
        begin_driving(ledger, prices, unit, deepest, now_ns, kept)
        if unit > 0:
            ledger.wallets[unit]["next_rank"] = 0
    return deepest


@leaf
def goal_of(ledger, prices, unit, k, required):
    """Equity at which the liquidation of stage `k` is over."""
    if k < 0:
        return required
    return ppm_up(required, np.int64(prices.stages[first_stage(ledger, prices, unit) + k]["exit_ppm"]))


@leaf
def action_of(ledger, prices, unit, k):
    """What the stage that drives a liquidation does; where there are no stages it closes."""
    return np.int64(prices.stages[first_stage(ledger, prices, unit) + k]["action"]) if k >= 0 else np.int64(STAGE_CLOSE)
