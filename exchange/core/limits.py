"""Where a unit is breached under the models beyond the plain one: marks on both sides, exactly. DESIGN §6.

Within a tier the health of a leg is monotone in its notional, and so along the marks; at a tier's edge it may jump.
"""

import numpy as np

from exchange.codes import LINEAR, MARGIN_OF_INITIAL, MARGIN_PLAIN, MARGIN_RISK
from exchange.core.arith import BILLION, MILLION, ceil_div, mul_div_floor, ppb_up, ppm_down, ppm_up
from exchange.core.contract import contract_value, mark_value, mark_where, rises_against
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import unit_pocket
from exchange.core.requirement import required_by_model, risk_ppb, tier_maintenance, tier_of

UP = 1
NEVER = 1 << 61  # a notional that no position reaches


@leaf
def breached_at(ledger, prices, p, pocket, mark_sub):
    """Would position `p`, alone in its unit, be below maintenance at a mark?"""
    position = ledger.positions[p]
    value = contract_value(prices, np.int64(position["instrument"]), mark_sub, np.int64(position["lots"]))
    return pocket + value - np.int64(position["entry_value"]) < required_by_model(ledger, prices, p, abs(value))


@leaf
def has_edges(prices, instrument):
    """Does the requirement change its rate as the mark moves?"""
    if prices.instruments[instrument]["margin_model"] == MARGIN_RISK:
        return False
    return prices.margins[instrument]["at_entry"] == 0


@leaf
def tier_end(prices, instrument, lots, tier, rises, end, step):
    """The last mark, going by `step` as the notional rises or falls, still in a tier and on the ladder."""
    first = np.int64(prices.instruments[instrument]["tier_base"])
    far = end
    if has_edges(prices, instrument):
        if rises and tier < first + np.int64(prices.instruments[instrument]["tier_count"]) - 1:
            far = mark_where(prices, instrument, lots, np.int64(prices.tiers[tier + 1]["floor"]), True) - step
        elif not rises and tier > first:
            far = mark_where(prices, instrument, lots, np.int64(prices.tiers[tier]["floor"]) - 1, False) - step
    return min(far, end) if step > 0 else max(far, end)


@kernel
def nearest_breach(ledger, prices, unit, p, direction):
    """The first mark that breaches a unit of one leg, going down or up from the mark; 0 = none on the ladder."""
    position = ledger.positions[p]
    instrument, lots, pocket = np.int64(position["instrument"]), np.int64(position["lots"]), unit_pocket(ledger, unit)
    record = prices.instruments[instrument]
    step, end = np.int64(-1), np.int64(1)
    if direction == UP:
        step, end = np.int64(1), (np.int64(record["ticks_max"]) + 1) * np.int64(record["mark_per_tick"]) - 1
    rises = (record["kind"] == LINEAR) == (direction == UP)
    near = np.int64(prices.markets[instrument]["mark_sub"])
    tier = tier_of(prices, instrument, abs(mark_value(prices, instrument, lots)))
    while True:
        far = tier_end(prices, instrument, lots, tier, rises, end, step)
        if (far - near) * step >= 0:
            if breached_at(ledger, prices, p, pocket, near):
                return near
            if breached_at(ledger, prices, p, pocket, far):
                while (far - near) * step > 1:
                    middle = (far + near) >> 1
                    if breached_at(ledger, prices, p, pocket, middle):
                        far = middle
                    else:
                        near = middle
                return far
            near = far + step
        if far == end:
            return np.int64(0)
        tier += 1 if rises else -1


@leaf
def rate_ppb(prices, instrument, lots, notional):
    """Rate, rounded up, at which maintenance of a leg grows with its notional inside its tier."""
    row, model = prices.margins[instrument], prices.instruments[instrument]["margin_model"]
    if model == MARGIN_RISK:
        return risk_ppb(row, lots)
    if row["at_entry"] != 0:
        return np.int64(0)
    reserve = np.int64(row["reserve_ppm"]) if row["at_bankruptcy"] == 0 else np.int64(0)
    tier = prices.tiers[tier_of(prices, instrument, notional)]
    ppm = np.int64(tier["maintenance_ppm"])
    if model == MARGIN_OF_INITIAL:
        ppm = ceil_div(np.int64(tier["initial_ppm"]) * np.int64(row["fraction_ppm"]), MILLION)
    return 1000 * (ppm + reserve)


@leaf
def gains_with(prices, instrument, lots):
    """Is a position worth more as its notional rises? Linear long and inverse short."""
    return (prices.instruments[instrument]["kind"] == LINEAR) == (lots > 0)


@kernel
def loss_by_model(prices, instrument, lots, notional):
    """Most that health falls, but for jumps, when a leg's notional moves by its own size, either way."""
    required = ppb_up(notional, rate_ppb(prices, instrument, lots, notional))
    return max(notional, required) if gains_with(prices, instrument, lots) else notional + required


@kernel
def band_of_leg(prices, instrument, lots, whole, part, weight):
    """(notional above, notional below) just past the moves that the slack covers; -1 below = none is needed.

    The band ends where the next tier begins, at which the requirement may jump.
    """
    notional = abs(mark_value(prices, instrument, lots))
    gains, rate = gains_with(prices, instrument, lots), rate_ppb(prices, instrument, lots, notional)
    move = mul_div_floor(notional, part, weight) + notional * whole
    above = notional + move + 1 if not gains or rate > BILLION else np.int64(NEVER)
    if has_edges(prices, instrument):
        tier, record = tier_of(prices, instrument, notional), prices.instruments[instrument]
        if tier < np.int64(record["tier_base"]) + np.int64(record["tier_count"]) - 1:
            above = min(above, np.int64(prices.tiers[tier + 1]["floor"]))
    below = notional - move - 1 if gains and move < notional else np.int64(-1)
    return above, below


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


@kernel
def tier_band(prices, instrument, lots, whole, part, weight):
    """(notional above, notional below) just past the moves that the slack covers; -1 below = none is needed.

    Either way health may be lost. The band ends at the edges of the tier, where rate and requirement may change.
    """
    notional = abs(mark_value(prices, instrument, lots))
    move = mul_div_floor(notional, part, weight) + notional * whole
    above, below = notional + move + 1, max(notional - move - 1, np.int64(-1))
    if has_edges(prices, instrument):
        tier, record = tier_of(prices, instrument, notional), prices.instruments[instrument]
        below = max(below, np.int64(prices.tiers[tier]["floor"]) - 1)
        if tier < np.int64(record["tier_base"]) + np.int64(record["tier_count"]) - 1:
            above = min(above, np.int64(prices.tiers[tier + 1]["floor"]))
    return above, below


@leaf
def worst_loss(prices, instrument, lots, notional, maintained):
    """Most that health falls when a leg's notional moves by its own size, at the worst maintenance rate on the way."""
    if not maintained:  # the insurance fund holds no maintenance
        return notional
    if prices.instruments[instrument]["margin_model"] != MARGIN_PLAIN:
        return loss_by_model(prices, instrument, lots, notional)
    if rises_against(prices, instrument, lots):
        tier = tier_of(prices, instrument, notional)
        return notional + ppm_up(notional, np.int64(prices.tiers[tier]["maintenance_ppm"]))
    tier = np.int64(prices.instruments[instrument]["tier_base"])
    return notional - ppm_down(notional, np.int64(prices.tiers[tier]["maintenance_ppm"]))
