"""Orders that wait for a trigger, all looked at anew when an event ends."""

from exchange import codes
from exchange.reference.arithmetic import ceil_div, clamp
from exchange.reference.records import Order
from exchange.reference.world import World

SOURCES = (codes.TRIGGER_MARK, codes.TRIGGER_INDEX, codes.TRIGGER_LAST)


def source_sub(world: World, instrument: int, source: int) -> int:
    """Present price of a source in sub-ticks, 0 when it has none."""
    market = world.markets[instrument]
    in_last = market.last_ticks * world.contracts[instrument].mark_per_tick
    return {codes.TRIGGER_MARK: market.mark_sub, codes.TRIGGER_INDEX: market.index_sub}.get(source, in_last)


def rises(order: Order) -> bool:
    """Whether the order waits for its source to rise: a stop that buys, or a sale that takes profit."""
    assert order.terms is not None
    return (order.side == codes.BID) == (order.terms.trigger_kind == codes.STOP)


def is_reached(world: World, order: Order, ticks: int) -> bool:
    """Whether the source of a parked order has come to a trigger price."""
    assert order.terms is not None
    price_sub = source_sub(world, order.instrument, order.terms.trigger)
    trigger_sub = ticks * world.contracts[order.instrument].mark_per_tick
    return price_sub >= trigger_sub if rises(order) else price_sub <= trigger_sub


def trailing_ticks(world: World, order: Order, offset_ticks: int) -> int:
    """Trigger of a trailing stop if the present price of its source is the extreme, rounded away from it."""
    assert order.terms is not None
    contract = world.contracts[order.instrument]
    price_sub = source_sub(world, order.instrument, order.terms.trigger)
    if rises(order):
        ticks = ceil_div(price_sub, contract.mark_per_tick) + offset_ticks
    else:
        ticks = price_sub // contract.mark_per_tick - offset_ticks
    return clamp(ticks, contract.ticks_min, contract.ticks_max)


def wait(world: World, order: Order, ticks: int) -> None:
    """Let a parked order wait at a trigger price, after all that wait there."""
    assert order.terms is not None
    order.terms.trigger_ticks = ticks
    world.joins += 1
    order.terms.joined = order.terms.parked_at = world.joins


def waiting(world: World, instrument: int, source: int) -> list[Order]:
    """Orders that wait for a source, in the order in which they began to."""
    found = [
        order
        for order in world.orders.values()
        if order.is_parked
        and order.instrument == instrument
        and order.terms is not None
        and order.terms.trigger == source
        and order.terms.trigger_ticks
    ]
    return sorted(found, key=_parked_at)


def _parked_at(order: Order) -> int:
    assert order.terms is not None
    return order.terms.parked_at


def watch(world: World) -> None:
    """Trailing orders follow their sources; then what is reached fires, the price reached first before the others."""
    for instrument, market in enumerate(world.markets):
        if market.stands_still:
            continue
        for source in SOURCES:
            if source_sub(world, instrument, source):
                for falls in (True, False):
                    orders = [order for order in waiting(world, instrument, source) if rises(order) != falls]
                    _follow(world, orders)
                    _fire_reached(world, orders)


def _follow(world: World, orders: list[Order]) -> None:
    for order in orders:
        terms = order.terms
        if terms is not None and terms.offset_ticks:
            ticks = trailing_ticks(world, order, terms.offset_ticks)
            if ticks < terms.trigger_ticks if rises(order) else ticks > terms.trigger_ticks:
                terms.trigger_ticks = ticks
                world.joins += 1
                terms.joined = world.joins


def _fire_reached(world: World, orders: list[Order]) -> None:
    reached = [order for order in orders if order.terms and is_reached(world, order, order.terms.trigger_ticks)]
    for order in sorted(reached, key=distance):
        assert order.terms is not None
        order.terms.trigger_ticks = 0
        world.set_timer(world.clock_ns, codes.PRIORITY_TRIGGER, codes.TRIGGER, order)


def distance(order: Order) -> tuple[int, int]:
    """What is reached first, then who came first."""
    assert order.terms is not None
    ticks = order.terms.trigger_ticks
    return ticks if rises(order) else -ticks, order.terms.joined
