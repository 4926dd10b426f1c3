"""Trades as the mark asks for them: the last one's time, those of a window, forced ones left out."""

from exchange import codes
from exchange.reference.arithmetic import PPM
from exchange.reference.world import World

LOTS_MAX = 2**31 - 1


def note_trade(world: World, instrument: int, ticks: int, lots: int, forced: bool = False) -> None:
    """A trade sets the last price and is kept for the window, unless it is forced and the profile leaves those out."""
    rules, state = world.pricing, world.price_states[instrument]
    if forced and rules.trades & codes.FORCED_IGNORED:
        return
    world.markets[instrument].last_ticks = ticks
    if rules.trades:
        state.last_ns = world.clock_ns
    if rules.trades & codes.TRADES_KEPT:
        trade = (world.clock_ns, ticks, min(lots, LOTS_MAX))
        state.trades = [*state.trades, trade][-rules.trades_max :]


def mean_price(world: World, instrument: int) -> int | None:
    """Mean price of the window's trades by lots and age."""
    rules, per_tick = world.pricing, world.contracts[instrument].mark_per_tick
    weighed: list[tuple[int, int]] = []
    for ts_ns, ticks, lots in world.price_states[instrument].trades:
        age_ns = world.clock_ns - ts_ns
        if age_ns > rules.window_ns:
            continue
        elapsed = power = age_ns * PPM // rules.window_ns
        for _ in range(rules.decay_power - 1):
            power = power * elapsed // PPM
        weighed.append((ticks * per_tick, lots * (PPM - rules.decay_ppm * power // PPM)))
    total = sum(weight for _, weight in weighed)
    return sum(price * weight for price, weight in weighed) // total if total else None
