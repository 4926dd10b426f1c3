"""Icebergs: what an order shows of itself, when it shows more, and how hidden size is shared."""

from exchange import codes
from exchange.reference.records import Order
from exchange.reference.world import World


def show_again(world: World, order: Order) -> None:
    """Show the display at the tail of the queue."""
    world.books[order.instrument].leave(order)
    order.hide()
    world.books[order.instrument].join(order)


def share(orders: list[Order], lots: int) -> None:
    """A taker wants more than a level shows: each iceberg shows a part of the excess, the oldest what rounding left."""
    hidden = {order.serial: order.hidden_lots for order in orders}
    total = sum(hidden.values())
    excess = min(lots - sum(order.shown_lots for order in orders), total)
    if excess <= 0:
        return
    shares = {serial: size * excess // total for serial, size in hidden.items()}
    rest = excess - sum(shares.values())
    for order in orders:
        more = min(rest, order.hidden_lots - shares[order.serial])
        rest -= more
        order.hidden_lots -= shares[order.serial] + more


def uncover(world: World, maker: Order, taker: Order, level: list[Order], surplus: int) -> None:
    """Two orders meet in an auction: both show all; with "pro_rata" the level of the side with more shares instead."""
    taker.hidden_lots = 0
    if surplus and world.contracts[maker.instrument].iceberg == codes.ICEBERG_PRO_RATA:
        share(level, taker.leaves_lots)
    else:
        maker.hidden_lots = 0


def cover(world: World, instrument: int) -> None:
    """After an auction's trades nobody shows more than the display."""
    for side in (codes.BID, codes.ASK):
        for _, orders in world.books[instrument].levels(side):
            for order in orders:
                if order.terms is not None and order.shown_lots > order.terms.display_lots > 0:
                    order.hide()
