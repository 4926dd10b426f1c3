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
    if not flags & (codes.MARKET | codes.BUDGET):
        step = guards.price_step_ticks
        require(not step or limit % step == 0, codes.BAD_PRICE_STEP)
        if guards.collar_ppm:
            furthest = _furthest_from_mark(side, market.mark_sub, contract.mark_per_tick, guards.collar_ppm)
            require(not _is_further(side, limit, furthest), codes.PRICE_COLLAR)
        base = world.books[instrument].best(1 - side)
        if not base or market.state == codes.STATE_AUCTION:
            base = market.last_ticks
        if guards.fat_finger_ppm and base:
            moved = base * (PPM + (guards.fat_finger_ppm if side == codes.BID else -guards.fat_finger_ppm))
            require(not _is_further(side, limit * PPM, moved), codes.FAT_FINGER)
    value = contract.notional(limit, lots)
    require(value >= guards.notional_min or bool(flags & codes.REDUCE_ONLY), codes.NOTIONAL_TOO_SMALL)
    require(not guards.notional_max or value <= guards.notional_max, codes.NOTIONAL_TOO_LARGE)
    if counted:
        check_count(world, account, instrument)


def check_count(world: World, account: int, instrument: int) -> None:
    """One more open order, waiting or resting, is not too many."""
    most = world.guards[instrument].open_orders_max
    mine = [o for o in world.orders.values() if (o.account, o.instrument) == (account, instrument)]
    require(not most or len(mine) < most, codes.TOO_MANY_ORDERS)


def check_waiting(world: World, instrument: int, limit: int, lots: int, flags: int) -> None:
    """Guards of an order that waits for its trigger: those that look at nothing but the order."""
    guards = world.guards[instrument]
    check_lot_step(world, instrument, lots)
    require(lots >= guards.lots_min, codes.LOTS_TOO_SMALL)
    step = 0 if flags & codes.MARKET else guards.price_step_ticks
    require(not step or limit % step == 0, codes.BAD_PRICE_STEP)


def _furthest_from_mark(side: int, mark_sub: int, per_tick: int, ppm: int) -> int:
    """The last limit in ticks within the collar, rounded like a market order's limit."""
    if side == codes.BID:
        return mark_sub * (PPM + ppm) // PPM // per_tick
    return ceil_div(mark_sub * (PPM - ppm) // PPM, per_tick)


def _is_further(side: int, limit: int, furthest: int) -> bool:
    return limit > furthest if side == codes.BID else limit < furthest
