"""Auto-deleveraging: which opposite position closes next against a liquidated one, for how much and at what price."""

from exchange import codes
from exchange.reference import margin
from exchange.reference.arithmetic import PPM, ceil_div, ratio_ppm
from exchange.reference.records import Position, Unit
from exchange.reference.world import World

OF_COLLATERAL = (codes.RANK_COLLATERAL, codes.RANK_MARGIN, codes.RANK_STATED)
WEIGHTS_MAX = 2**31


class Queue:
    """Those who close against one leg, in order; what is left of a ranking that is shared out is shared out anew."""

    def __init__(self, world: World, leg: Position, liquidation_id: int):
        self.world, self.leg = world, leg
        self.rules = world.waterfalls[world.contracts[leg.instrument].asset]
        self.ticks = price(world, leg)
        self.is_shared = self.rules.ranking == codes.RANK_PRO_RATA
        is_own = self.is_shared or self.rules.overlap
        version = world.markets[leg.instrument].mark_version
        key = (leg.instrument, int(leg.lots > 0), version, liquidation_id if is_own else 0)
        self.is_fresh = world.ranking_key != key or (self.is_shared and not world.ranking)
        if self.is_fresh:
            world.ranking_key, world.ranking = key, self._ranking()
            if self.is_shared:
                sizes = [abs(position.lots) for position in world.ranking]
                most = min(abs(leg.lots), sum(sizes))
                world.sharing_out = [most, sum(sizes), most - sum(size * most // sum(sizes) for size in sizes)]

    def next(self) -> tuple[Position, int] | None:
        """Who closes next, and how many lots; None when nobody is left."""
        ranking = self.world.ranking
        while ranking:
            counterparty = ranking[0]
            held = abs(counterparty.lots)
            if not self._takes(counterparty):
                ranking.pop(0)
                continue
            lots = min(abs(self.leg.lots), self._granted(held) if self.is_shared else held)
            if self.is_shared or lots == held:
                ranking.pop(0)
            if lots:
                return counterparty, lots
        return None

    @property
    def is_exhausted(self) -> bool:
        """Nobody is left, and nobody would be if it were made again."""
        return not self.world.ranking and (self.is_fresh or not self.is_shared)

    def _granted(self, held: int) -> int:
        most, total, residue = self.world.sharing_out
        lots = held * most // total
        if residue > 0 and lots < held:
            self.world.sharing_out[2] -= 1
            return lots + 1
        return lots

    def _takes(self, position: Position) -> bool:
        """A user of the opposite sign whom the venue closes against at this price."""
        if position.wallet.account < codes.FIRST_USER or position.lots * self.leg.lots >= 0:
            return False
        if position.unit.stage != codes.STAGE_NONE and not self.rules.any_stage:
            return False
        return not self.rules.overlap or overlaps(self.world, position, self.ticks)

    def _ranking(self) -> list[Position]:
        """Those who take part, highest score first, then in wallet order."""
        found = [p for p in self.world.positions_in(self.leg.instrument) if self._takes(p)]
        return sorted(found, key=lambda position: -score(self.world, position))


def price(world: World, leg: Position) -> int:
    """Where a leg is deleveraged: its bankruptcy price, or the mark (or that before it) in ticks, at its expense."""
    rule, market = world.waterfalls[world.contracts[leg.instrument].asset].price, world.markets[leg.instrument]
    if rule == codes.ADL_BANKRUPTCY:
        return leg.bankruptcy_ticks
    mark = market.mark_sub if rule == codes.ADL_MARK else market.previous_mark_sub or market.mark_sub
    per_tick = world.contracts[leg.instrument].mark_per_tick
    return mark // per_tick if leg.lots > 0 else ceil_div(mark, per_tick)


def overlaps(world: World, position: Position, ticks: int) -> bool:
    """Whether the position closed at a price keeps its unit as whole as its own bankruptcy price would."""
    unit, contract = position.unit, world.contracts[position.instrument]
    allotted = equity_of_leg(world, unit, position)
    worth = margin.position_value(world, position)
    return contract.trade_value(ticks, position.lots) >= worth - allotted


def equity_of_leg(world: World, unit: Unit, leg: Position) -> int:
    """What a plan would allot of a unit's equity to one of its legs."""
    legs = [position for position in unit.positions if margin.is_leg(world, position)]
    weights = {p.instrument: margin.alone(world, p) for p in legs}
    if margin.unit_maintenance(world, unit) == 0:
        weights = {p.instrument: abs(margin.position_value(world, p)) for p in legs}
    while sum(weights.values()) >= WEIGHTS_MAX:
        weights = {instrument: weight // 2 for instrument, weight in weights.items()}
    whole, equity = sum(weights.values()), margin.equity(world, unit)
    return equity * weights[leg.instrument] // whole if whole else equity


def score(world: World, position: Position) -> int:
    """What the venue ranks by: profit times leverage, each measured its way; losers by loss over leverage."""
    rule = world.waterfalls[world.contracts[position.instrument].asset].ranking
    if rule == codes.RANK_LIST:
        return 0
    value, profit = margin.position_value(world, position), margin.profit(world, position)
    equity, collateral = max(1, margin.equity(world, position.unit)), max(1, position.unit.pocket)
    leverage = max(1, ratio_ppm(abs(value), collateral if rule == codes.RANK_MARGIN else equity))
    if rule == codes.RANK_STATED:
        leverage = position.leverage_e2 * PPM // 100
    if rule == codes.RANK_PRICE:
        sides = [abs(value), abs(position.entry_value)]
        above, below = sides if value > 0 else reversed(sides)
        return ratio_ppm(above, max(1, below)) * leverage // PPM
    earned = ratio_ppm(abs(profit), collateral if rule in OF_COLLATERAL else max(1, abs(position.entry_value)))
    if profit > 0 and earned > 0:
        return earned * leverage // PPM
    return -(earned * PPM // leverage)
