"""Auto-deleveraging: which opposite position closes next against a liquidated one."""

from exchange import codes
from exchange.reference import margin
from exchange.reference.arithmetic import PPM, ratio_ppm
from exchange.reference.records import Position
from exchange.reference.world import World


def next_counterparty(world: World, leg: Position) -> Position | None:
    """Head of the ranking that is still eligible; the ranking is made anew when it is of another leg or mark.

    Entries that are no longer eligible are consumed on the way.
    """
    is_long = leg.lots > 0
    key = (leg.instrument, int(is_long), world.markets[leg.instrument].mark_version)
    if world.ranking_key != key:
        world.ranking_key = key
        world.ranking = _ranking(world, leg.instrument, is_long)
    while world.ranking and not _is_eligible(world.ranking[0], is_long):
        world.ranking.pop(0)
    return world.ranking[0] if world.ranking else None


def _is_eligible(position: Position, against_long: bool) -> bool:
    """A user of the opposite sign whose unit is not being liquidated."""
    is_opposite = position.lots < 0 if against_long else position.lots > 0
    is_user = position.wallet.account >= codes.FIRST_USER
    return is_user and is_opposite and position.unit.stage == codes.STAGE_NONE


def _ranking(world: World, instrument: int, against_long: bool) -> list[Position]:
    """Eligible positions, highest score first, then in wallet order."""
    eligible = [p for p in world.positions_in(instrument) if _is_eligible(p, against_long)]
    return sorted(eligible, key=lambda position: -score(world, position))


def score(world: World, position: Position) -> int:
    """Return on entry value times leverage, both in ppm; a loss is divided by the leverage instead."""
    profit = margin.profit(world, position)
    earned = ratio_ppm(abs(profit), max(1, abs(position.entry_value)))
    notional = abs(margin.position_value(world, position))
    leverage = max(1, ratio_ppm(notional, max(1, margin.equity(world, position.unit))))
    if profit > 0 and earned > 0:
        return earned * leverage // PPM
    return -(earned * PPM // leverage)
