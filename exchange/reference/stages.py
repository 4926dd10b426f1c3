"""Stages of liquidation: every unit is looked at after every event, and a stage acts when its time has come."""

from exchange import codes
from exchange.reference import liquidation, margin, mark, terms
from exchange.reference.arithmetic import PPM, ceil_div, close_share, fee, ppm_down, ppm_up, ratio_ppm
from exchange.reference.matching import Taker
from exchange.reference.records import Position, Standing, Unit
from exchange.reference.settings import Stage
from exchange.reference.world import World

ENDING = (codes.STAGE_CLOSE, codes.STAGE_FUND, codes.STAGE_AUCTION)
UNCHECKED = (codes.EXTERNAL, codes.FEES, codes.RESIDUE)


def detect(world: World) -> None:
    """Scan every unit and start the liquidation of each breached one that is at stage NONE."""
    for wallet in world.wallets.values():
        if wallet.account in UNCHECKED:
            continue
        if wallet.account == codes.INSURANCE and wallet.asset not in world.touched_funds:
            continue
        isolated = [p.isolated_unit for p in wallet.positions.values() if p.mode == codes.ISOLATED]
        for unit in (wallet.unit, *isolated):
            if unit.stage == codes.STAGE_NONE and world.stages[wallet.asset] and wallet.account >= codes.FIRST_USER:
                review(world, unit)
            elif unit.stage == codes.STAGE_NONE and margin.is_breached(world, unit):
                unit.stage = codes.STAGE_DETECTED
                due = world.clock_ns + world.policy.detection_delay_ns
                world.set_timer(due, codes.PRIORITY_LIQUIDATE, codes.LIQUIDATE, unit)
    world.touched_funds.clear()


def _is_below(world: World, unit: Unit, ppm: int) -> bool:
    """Whether equity over maintenance is below a ratio."""
    return margin.equity(world, unit) * PPM < margin.unit_maintenance(world, unit) * ppm


def review(world: World, unit: Unit) -> None:
    """A user's unit, not in liquidation: which stages it comes into or leaves."""
    stages, can_act = world.stages[unit.wallet.asset], margin.can_act(world, unit)
    equity, required = margin.equity(world, unit), margin.unit_maintenance(world, unit)
    if not unit.standings:
        unit.standings = [Standing() for _ in stages]
    for k, (stage, standing) in enumerate(zip(stages, unit.standings, strict=True)):
        if not standing.inside:
            if can_act and equity * PPM < required * stage.below_ppm:
                standing.inside = True
                standing.due_ns = max(world.clock_ns + stage.dwell_ns, standing.ready_ns)
                _set_timer(world, unit, k, standing.due_ns)
        elif not can_act or equity * PPM >= required * stage.exit_ppm:
            standing.inside, standing.acted = False, 0
        elif stage.action not in (codes.STAGE_WARN, codes.STAGE_CANCEL):
            _set_timer(world, unit, k, max(world.clock_ns, standing.ready_ns))


def _set_timer(world: World, unit: Unit, k: int, due_ns: int) -> None:
    if not unit.standings[k].has_timer:
        unit.standings[k].has_timer = True
        world.set_stage_timer(due_ns, unit, k)


def fire(world: World, unit: Unit, k: int, cause_seq: int) -> None:
    """The timer of a stage: it acts on a unit that has been in it for long enough."""
    stage, standing = world.stages[unit.wallet.asset][k], unit.standings[k]
    standing.has_timer = False
    if not standing.inside or unit.stage != codes.STAGE_NONE:
        return
    if world.clock_ns < standing.due_ns:
        _set_timer(world, unit, k, standing.due_ns)
        return
    standing.ready_ns = world.clock_ns + stage.cooldown_ns
    standing.acted += stage.then_all
    equity = margin.equity(world, unit)
    world.emit(
        codes.STAGE,
        account=unit.wallet.account,
        instrument=unit.label,
        price=ratio_ppm(max(0, equity), max(1, margin.unit_maintenance(world, unit))),
        lots=k + 1,
        money=equity,
        flags=stage.action,
    )
    if stage.action == codes.STAGE_CANCEL:
        liquidation.cancel_orders(world, unit, codes.CANCELLED_BY_VENUE)
    elif stage.action != codes.STAGE_WARN:
        unit.driver, standing.began_ns = k, world.clock_ns
        liquidation.begin(world, unit, cause_seq)
        if goes_by_steps(world, unit):
            _begin_at_largest(world, unit)


def _begin_at_largest(world: World, unit: Unit) -> None:
    """A step of a reduction takes the leg that maintains most, the first in order of equals."""
    legs = sorted(liquidation.legs(world, unit), key=lambda leg: liquidation.rank(world, leg))
    if legs:
        unit.next_rank = liquidation.rank(world, max(legs, key=lambda leg: margin.alone(world, leg)))


def driving(world: World, unit: Unit) -> Stage | None:
    return None if unit.driver is None else world.stages[unit.wallet.asset][unit.driver]


def deepen(world: World, unit: Unit) -> bool:
    """Hand a liquidation to the deepest stage that ends it and that the unit is below by now."""
    if unit.driver is None:
        return False
    before = unit.driver
    for k, stage in enumerate(world.stages[unit.wallet.asset]):
        if k > before and stage.action in ENDING:
            if _is_below(world, unit, stage.below_ppm):
                unit.driver = k
    if unit.driver != before:
        unit.next_rank, now = (0, 0, 0), unit.standings[unit.driver]
        now.began_ns, now.kept = world.clock_ns, unit.standings[before].kept
        unit.standings[before].end()
    return unit.driver != before


def has_recovered(world: World, unit: Unit) -> bool:
    """Whether a liquidation has reached its aim: the exit of its stage, or maintenance where there are no stages."""
    stage = driving(world, unit)
    return not _is_below(world, unit, PPM if stage is None else stage.exit_ppm)


def takes_over(world: World, unit: Unit) -> bool:
    """Whether the fund takes the legs without an order first: at once, or after an auction."""
    stage = driving(world, unit)
    return stage is not None and stage.action in (codes.STAGE_FUND, codes.STAGE_AUCTION)


def is_auctioned(world: World, unit: Unit) -> bool:
    stage = driving(world, unit)
    return stage is not None and stage.action == codes.STAGE_AUCTION


def goes_by_steps(world: World, unit: Unit) -> bool:
    """Whether one order is all, and what follows is another liquidation."""
    stage = driving(world, unit)
    return stage is not None and stage.action == codes.STAGE_PART


def order_limit(world: World, unit: Unit, leg: Position, side: int) -> int:
    """Worst price (ticks) of a liquidation order: the bankruptcy price, or nearer the mark where the stage says so."""
    stage = driving(world, unit)
    if stage is None or not (stage.band_ppm or stage.spread_ppm):
        return leg.bankruptcy_ticks
    worst = worst_limit(world, leg, stage)
    if stage.band_ppm:
        around = price_around(world, leg.instrument, bool(stage.band_index))
        near = mark.band_around(world.contracts[leg.instrument], side, stage.band_ppm, around)
    else:
        near = liquidation.ticks_that_cost(world, leg, _most_given_up(world, unit, leg, stage))
    return max(near, worst) if side == codes.ASK else min(near, worst)


def price_around(world: World, instrument: int, by_index: bool) -> int:
    """The mark (sub-ticks), or the index where it is asked for and known."""
    market = world.markets[instrument]
    return market.index_sub if by_index and market.index_sub else market.mark_sub


def worst_limit(world: World, leg: Position, stage: Stage) -> int:
    """The bankruptcy price, or the worst (ticks) at which the fund could pay all that is missing to it."""
    if not stage.beyond:
        return leg.bankruptcy_ticks
    contract = world.contracts[leg.instrument]
    fund = margin.equity(world, world.fund(contract.asset).unit)
    value = contract.trade_value(leg.bankruptcy_ticks, leg.lots) - max(0, fund)
    return liquidation.ticks_that_bring(world, leg, value)


def _most_given_up(world: World, unit: Unit, leg: Position, stage: Stage) -> int:
    """What an order may cost at the mark: a share of the leg's maintenance, all of it only if the unit lacks much."""
    equity, required = margin.equity(world, unit), margin.unit_maintenance(world, unit)
    missing_ppm = PPM - min(PPM, ratio_ppm(max(0, equity), max(1, required)))
    full = ppm_down(margin.alone(world, leg), stage.spread_ppm)
    return ppm_down(full, min(PPM, ppm_down(missing_ppm, stage.shortage_ppm)))


def order_lots(world: World, unit: Unit, leg: Position) -> int:
    """Lots of a liquidation order: all of a leg, or, of one worth enough, as much as the stage takes in a step."""
    stage, lots = driving(world, unit), abs(leg.lots)
    if stage is None or stage.action != codes.STAGE_PART:
        return lots
    assert unit.driver is not None
    notional, taken = abs(margin.position_value(world, leg)), lots
    if notional > stage.notional_above and unit.standings[unit.driver].acted < 2:
        least = ceil_div(lots * min(notional, stage.notional_min), notional)
        taken = max(least, _step(world, unit, leg, stage))
    if 0 < stage.notional_max < notional:
        taken = min(taken, max(1, lots * stage.notional_max // notional))
    if stage.offer_ppm:
        offered = _offered(world, unit, leg)
        taken = min(taken, max(1, ppm_up(offered, stage.offer_ppm)))
    return taken


def is_killed(world: World, unit: Unit, leg: Position, limit: int, lots: int) -> bool:
    """Whether an order must be filled whole, and the book would not do so now."""
    stage, market = driving(world, unit), world.markets[leg.instrument]
    if stage is None or not stage.fill_or_kill or market.stands_still:
        return False
    side = codes.ASK if leg.lots > 0 else codes.BID
    if world.policy.mode == codes.MODE_SHADOW:
        levels = world.books[leg.instrument].levels_within(1 - side, limit)
        found = sum(order.leaves_lots for _, orders in levels for order in orders if order.external is not None)
    else:
        taker = Taker(unit.wallet.account, 0, leg.instrument, side, limit, lots, 0)
        found = sum(size for _, size in terms.sure_fills(world, taker, limit, codes.STP_NONE))
    return found < lots


def _step(world: World, unit: Unit, leg: Position, stage: Stage) -> int:
    """A share of the leg; or the fewest lots with which it is so many tiers lower, or the unit at its exit, or all."""
    lots = abs(leg.lots)
    if stage.share_ppm:
        return ceil_div(lots * stage.share_ppm, PPM)
    few, many = 0, lots
    while many - few > 1:
        middle = (few + many) // 2
        if _is_enough(world, unit, leg, stage, middle):
            many = middle
        else:
            few = middle
    return many


def _is_enough(world: World, unit: Unit, leg: Position, stage: Stage, closed: int) -> bool:
    contract, at = world.contracts[leg.instrument], world.markets[leg.instrument].mark_sub
    if stage.tiers_down:
        tiers = contract.model.tiers
        before = tiers.index(contract.model.tier_at(abs(contract.value(at, leg.lots))))
        after = tiers.index(contract.model.tier_at(abs(contract.value(at, abs(leg.lots) - closed))))
        return after <= before - stage.tiers_down
    equity = margin.equity(world, unit)
    if stage.after_fees:
        value = abs(contract.value(at, closed))
        equity -= fee(value, max(0, contract.taker_ppb)) + ppm_up(value, contract.liquidation_ppm)
    return equity * PPM >= _required_without(world, unit, leg, closed) * stage.exit_ppm


def _offered(world: World, unit: Unit, leg: Position) -> int:
    """Lots that stand on the other side of the book within an order's limit."""
    side = codes.ASK if leg.lots > 0 else codes.BID
    levels = world.books[leg.instrument].levels_within(1 - side, order_limit(world, unit, leg, side))
    return sum(order.shown_lots for _, orders in levels for order in orders)


def _required_without(world: World, unit: Unit, leg: Position, closed: int) -> int:
    """Maintenance of a unit a leg of which had fewer lots, and as much less of its entry value."""
    lots, entry = leg.lots, leg.entry_value
    leg.lots = lots - closed if lots > 0 else lots + closed
    leg.entry_value = entry - close_share(entry, abs(lots), closed)
    required = margin.unit_maintenance(world, unit)
    leg.lots, leg.entry_value = lots, entry
    return required
