"""Guards on orders: collar, fat finger, notional, steps, count."""

from exchange import codes
from exchange.reference.arithmetic import PPM, ceil_div
from exchange.reference.world import World, require


def check_lot_step(world: World, instrument: int, lots: int) -> None:
    """The quantity asked for keeps the step."""
    step = world.guards[instrument].lot_step
    require(not step or lots % step == 0, codes.BAD_LOT_STEP)


def check_guards(
    world: World, account: int, instrument: int, side: int, limit: int, lots: int, flags: int, counted: bool
) -> None:
    """Every other guard of an order that is to enter; `counted`: it would be one more open order."""
    guards, contract, market = world.guards[instrument], world.contracts[instrument], world.markets[instrument]
    require(lots >= guards.lots_min, codes.LOTS_TOO_SMALL)
    if not flags & codes.MARKET:
        step = guards.price_step_ticks
        require(not step or limit % step == 0, codes.BAD_PRICE_STEP)
        if guards.collar_ppm:
            nearest = _furthest(side, market.mark_sub, contract.mark_per_tick, guards.collar_ppm)
            require(not _is_further(side, limit, nearest), codes.PRICE_COLLAR)
        base = world.books[instrument].best(1 - side)
        if not base or market.state == codes.STATE_AUCTION:
            base = market.last_ticks
        if guards.fat_finger_ppm and base:
            require(not _is_further(side, limit, _furthest(side, base, 1, guards.fat_finger_ppm)), codes.FAT_FINGER)
    value = contract.notional(limit, lots)
    require(value >= guards.notional_min or bool(flags & codes.REDUCE_ONLY), codes.NOTIONAL_TOO_SMALL)
    require(not guards.notional_max or value <= guards.notional_max, codes.NOTIONAL_TOO_LARGE)
    if counted and guards.open_orders_max:
        mine = [o for o in world.orders.values() if (o.account, o.instrument) == (account, instrument)]
        require(len(mine) < guards.open_orders_max, codes.TOO_MANY_ORDERS)


def _furthest(side: int, base: int, per_tick: int, ppm: int) -> int:
    """The last limit in ticks that is not further than `ppm` from a base of which `per_tick` make a tick."""
    if side == codes.BID:
        return base * (PPM + ppm) // PPM // per_tick
    return ceil_div(base * (PPM - ppm) // PPM, per_tick)


def _is_further(side: int, limit: int, furthest: int) -> bool:
    return limit > furthest if side == codes.BID else limit < furthest
