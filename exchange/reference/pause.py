"""An engine that pauses: nothing matches, no timer fires, no command is carried out; then it goes on."""

from exchange import codes
from exchange.reference import auction
from exchange.reference.orders import Reply
from exchange.reference.records import Event
from exchange.reference.world import Refused, World, require

PAUSE_MAX_NS = 10**17


def check(world: World) -> None:
    """Refuse a command while the engine is paused; it would be heard after the time left."""
    left_ns = world.paused_until_ns - world.clock_ns
    if left_ns > 0:
        raise Refused(codes.ENGINE_PAUSED, left_ns)


def apply(world: World, event: Event) -> Reply:
    """Pause for `qty` nanoseconds; markets in which something matches are halted."""
    require(1 <= event.qty <= PAUSE_MAX_NS, codes.BAD_AMOUNT)
    world.paused_until_ns = world.clock_ns + event.qty
    world.set_timer(world.paused_until_ns, codes.PRIORITY_ENGINE, codes.ENGINE_RESUME, 0)
    for instrument, market in enumerate(world.markets):
        if not market.stands_still:
            world.auctions[instrument].paused_state = 1 + market.state
            auction.change_state(world, instrument, codes.STATE_HALTED)
    return Reply()


def end(world: World) -> None:
    """Markets that the pause halted, and nothing else since, go back to their state."""
    for instrument, market in enumerate(world.markets):
        paused, world.auctions[instrument].paused_state = world.auctions[instrument].paused_state, 0
        if paused and market.state == codes.STATE_HALTED:
            auction.change_state(world, instrument, paused - 1)
