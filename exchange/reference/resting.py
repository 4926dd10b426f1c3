"""What orders that rest go through without trading: reduce-only ones follow their position, the venue clears books."""

from exchange import codes
from exchange.reference import icebergs
from exchange.reference.records import Order, Position
from exchange.reference.world import World


def reduce_only_orders(position: Position, side: int) -> list[Order]:
    """The position's resting reduce-only orders of one side, oldest first."""
    orders = position.wallet.orders.values()
    mine = [order for order in orders if order.instrument == position.instrument and order.side == side]
    return [order for order in mine if order.flags & codes.REDUCE_ONLY and not order.is_parked]


def reduce_only_lots(world: World, position: Position, side: int) -> int:
    """What they are for, in lots."""
    return sum(order.leaves_lots for order in reduce_only_orders(position, side))


def note_reduced(world: World, position: Position) -> None:
    """Note a change of a position that has reduce-only orders, in the order of the first changes."""
    has_some = reduce_only_orders(position, codes.BID) or reduce_only_orders(position, codes.ASK)
    if has_some and not any(position is other for other in world.reduced):
        world.reduced.append(position)


def finish(world: World) -> None:
    """At the end of an event: reduce-only orders shrink with their position, the newest first; icebergs show more."""
    for position in world.reduced:
        room = {codes.BID: max(0, -position.lots), codes.ASK: max(0, position.lots)}
        for order in list(reversed(position.wallet.orders.values())):
            if any(order is other for other in reduce_only_orders(position, order.side)):
                excess = reduce_only_lots(world, position, order.side) - room[order.side]
                if excess > 0:
                    world.shrink_order(order, min(excess, order.leaves_lots))
    world.reduced.clear()
    for order in world.thinned:
        is_live = world.orders.get(order.order_id) is order
        if is_live and order.terms and order.hidden_lots and order.shown_lots < order.terms.display_min_lots:
            icebergs.show_again(world, order)
    world.thinned.clear()


def clear(world: World, instrument: int, sides: tuple[int, ...]) -> int:
    """The venue cancels the simulated orders of one book or (-1) of all: bids first, best first, oldest first."""
    chosen = [
        order
        for k, book in enumerate(world.books)
        if instrument in (-1, k)
        for side in sides
        for _, orders in book.levels(side)
        for order in orders
        if order.external is None and not order.flags & codes.FORCED
    ]
    count = 0
    for order in chosen:
        if order.order_id in world.orders:  # else it went with its partner
            world.emit_cancelled(order, codes.CANCELLED_BY_VENUE)
            world.remove_order(order)
            count += 1
    return count
