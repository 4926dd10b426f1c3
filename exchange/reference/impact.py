"""Price impact: how far the recorded quotes move after what simulated takers executed."""

from math import isqrt

from exchange import codes
from exchange.reference.arithmetic import PPB, PPM, clamp
from exchange.reference.settings import Impact
from exchange.reference.world import World

PER_LOT = 1_000
VOLUMES_MAX = 1_000


def note_flow(world: World, instrument: int, side: int, lots: int, is_forced: bool) -> None:
    """Count lots that a simulated taker executed; the first that count start the timer."""
    impact = world.impacts[instrument]
    if not lots or not impact.volume_lots or (impact.forced_only and not is_forced):
        return
    impact.flow_lots += lots if side == codes.BID else -lots
    if not impact.has_timer:
        set_impact_timer(world, instrument)


def set_impact_timer(world: World, instrument: int) -> None:
    """A tick at the next whole period."""
    impact = world.impacts[instrument]
    impact.has_timer = True
    due = (world.clock_ns // impact.period_ns + 1) * impact.period_ns
    world.set_timer(due, codes.PRIORITY_IMPACT, codes.IMPACT_TICK, instrument)


def absorb_flow(impact: Impact) -> None:
    """One period's decay, then the fresh flow; a part without coefficient keeps none."""
    limit = VOLUMES_MAX * impact.volume_lots
    fresh = PER_LOT * clamp(impact.flow_lots, -limit, limit)
    kept = _toward_zero(impact.decaying_mlots * impact.keep_ppb, PPB)
    if impact.decaying_ppm:
        impact.decaying_mlots = clamp(kept + fresh, -PER_LOT * limit, PER_LOT * limit)
    if impact.permanent_ppm:
        impact.permanent_mlots = clamp(impact.permanent_mlots + fresh, -PER_LOT * limit, PER_LOT * limit)
    impact.flow_lots = 0


def shift_of(impact: Impact, bid_ticks: int, ask_ticks: int) -> int:
    """Whole ticks, toward zero, by which the flow moves recorded quotes whose own prices are given."""
    permanent, decaying = impact.permanent_mlots, impact.decaying_mlots
    move_ppb = _toward_zero(_share_ppb(impact, permanent) * impact.permanent_ppm, PPM)
    if impact.square_root:
        root_ppm = isqrt(_share_ppb(impact, abs(decaying)) * 1_000)
        move_ppb += (root_ppm * impact.decaying_ppm // 1_000) * (1 if decaying >= 0 else -1)
    else:
        move_ppb += _toward_zero(_share_ppb(impact, decaying) * impact.decaying_ppm, PPM)
    return _toward_zero((bid_ticks + ask_ticks) * clamp(move_ppb, -PPB, PPB), 2 * PPB)


def _share_ppb(impact: Impact, flow_mlots: int) -> int:
    """Flow as a share of the reference volume."""
    return _toward_zero(flow_mlots * PPM, impact.volume_lots)


def _toward_zero(a: int, b: int) -> int:
    return a // b if a >= 0 else -(-a // b)
