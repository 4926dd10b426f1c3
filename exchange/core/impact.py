"""Price impact: what simulated takers executed moves the recorded quotes at the next IMPACT_TICK. DESIGN §3.3.

The permanent part is linear in the whole signed flow (Kyle 1985; linear, or round trips would move the price: Huberman
and Stanzl 2004). The decaying part is linear in the exponentially decayed flow (Obizhaeva and Wang 2013) or its square
root (Alfonsi, Fruth and Schied 2010: the square-root law, whatever the pieces an order is cut into).
"""

import numpy as np

from exchange.codes import BID, IMPACT_TICK, PRIORITY_IMPACT
from exchange.core.arith import MILLION, isqrt, mul_div_floor
from exchange.core.kernel import leaf
from exchange.core.timers import push_timer

PPB = 1_000_000_000
PER_LOT = 1_000  # flow is kept in thousandths of a lot, so that small flow decays by its half-life too
VOLUMES_MAX = 1_000  # flow is held within so many reference volumes


@leaf
def set_impact_timer(io, impact, instrument):
    """Set the timer for the next whole period. Mutates the impact record, timers."""
    period = np.int64(impact["period_ns"])
    impact["timer"] = 1
    due_ns = (np.int64(io.control[0]["clock_ns"]) // period + 1) * period
    push_timer(io, due_ns, PRIORITY_IMPACT, 0, instrument, instrument, IMPACT_TICK)


@leaf
def note_flow(prices, io, instrument, side, lots, forced):
    """Count what a simulated taker executed; nothing moves before the next tick. Mutates the impact record, timers."""
    impact = prices.impacts[instrument]
    if impact["volume_lots"] == 0 or (impact["forced_only"] != 0 and forced == 0):
        return
    impact["flow_lots"] += lots if side == BID else -lots
    if impact["timer"] == 0:
        set_impact_timer(io, impact, instrument)


@leaf
def clamp(value, limit):
    return max(-limit, min(value, limit))


@leaf
def signed(size, like):
    """`size` >= 0 with the sign of `like`."""
    return size if like >= 0 else -size


@leaf
def absorb_flow(impact):
    """Decay the flow by one period, then add what was executed since the last tick. Mutates the impact record.

    A part whose coefficient is zero keeps no flow.
    """
    limit = VOLUMES_MAX * np.int64(impact["volume_lots"])
    fresh = PER_LOT * clamp(np.int64(impact["flow_lots"]), limit)
    before = np.int64(impact["decaying_mlots"])
    kept = signed(mul_div_floor(abs(before), np.int64(impact["keep_ppb"]), PPB), before)
    if impact["decaying_ppm"] != 0:
        impact["decaying_mlots"] = clamp(kept + fresh, PER_LOT * limit)
    if impact["permanent_ppm"] != 0:
        impact["permanent_mlots"] = clamp(np.int64(impact["permanent_mlots"]) + fresh, PER_LOT * limit)
    impact["flow_lots"] = 0


@leaf
def move_ppb(flow_mlots, volume_lots, coefficient_ppm, square_root):
    """Price move in ppb that a flow makes: coefficient * flow / volume, or * its square root; floor of its size."""
    share_ppb = mul_div_floor(abs(flow_mlots), MILLION, volume_lots)
    if square_root:
        return signed(isqrt(share_ppb * 1_000) * coefficient_ppm // 1_000, flow_mlots)
    return signed(share_ppb * coefficient_ppm // MILLION, flow_mlots)


@leaf
def impact_ticks(impact, twice_mid_ticks):
    """The shift in whole ticks, toward zero, from twice the recorded mid."""
    volume = np.int64(impact["volume_lots"])
    move = move_ppb(np.int64(impact["permanent_mlots"]), volume, np.int64(impact["permanent_ppm"]), False)
    move += move_ppb(
        np.int64(impact["decaying_mlots"]), volume, np.int64(impact["decaying_ppm"]), impact["square_root"] != 0
    )
    return signed(twice_mid_ticks * min(abs(move), PPB) // (2 * PPB), move)
