"""Pegged orders: where each stands, every one looked at anew when an event ends."""

from exchange import codes
from exchange.reference.arithmetic import ceil_div
from exchange.reference.records import Event, Order, OrderTerms
from exchange.reference.world import World


def is_mid_message(event: Event) -> bool:
    """Whether more rows of the same recorded message are to come."""
    is_row = event.kind == codes.LEVEL_SET and not event.flags & codes.LAST
    return is_row or event.kind == codes.BOOK_CLEAR


def pegged(world: World, instrument: int) -> list[Order]:
    """The pegged orders of an instrument, in the order in which they began to rest or to wait."""
    orders = [o for o in world.orders.values() if o.instrument == instrument and o.terms is not None and o.terms.peg]
    return sorted(orders, key=_serial)


def _serial(order: Order) -> int:
    return order.serial


def price(world: World, instrument: int, side: int, terms: OrderTerms) -> int:
    """Where a pegged order stands now, in ticks; 0 when nothing gives it a price or the market stands still."""
    if world.markets[instrument].stands_still:
        return 0
    bid, ask = (_reference(world, instrument, of) for of in (codes.BID, codes.ASK))
    is_bid, book, contract = side == codes.BID, world.books[instrument], world.contracts[instrument]
    step = world.guards[instrument].price_step_ticks or 1
    if terms.peg == codes.PEG_MID:
        base = 0 if not bid or not ask else ((bid + ask) // 2 if is_bid else ceil_div(bid + ask, 2))
    elif terms.peg == codes.PEG_BEST:
        base = bid if is_bid else ask
    else:
        base = ask if is_bid else bid
    if not base:
        return 0
    if is_bid:
        bounds = [base - terms.offset_ticks, terms.limit_ticks]
        bounds += [book.best(codes.ASK) - 1] if book.best(codes.ASK) else []
        ticks = min(bounds) // step * step
    else:
        bounds = [base + terms.offset_ticks, terms.limit_ticks]
        bounds += [book.best(codes.BID) + 1] if book.best(codes.BID) else []
        ticks = ceil_div(max(bounds), step) * step
    return ticks if contract.ticks_min <= ticks <= contract.ticks_max else 0


def _reference(world: World, instrument: int, side: int) -> int:
    """Best price at which an order stands that is not pegged, 0 for none."""
    for ticks, orders in world.books[instrument].levels(side):
        if any(order.terms is None or not order.terms.peg for order in orders):
            return ticks
    return 0


def follow(world: World) -> None:
    """An event is over: pegged orders move to their prices until none has to, and who has none waits; then fire."""
    for instrument in range(len(world.markets)):
        while any([_moves(world, order) for order in pegged(world, instrument)]):
            pass
        fired = [timer.target for timer in world.timers if timer.kind == codes.TRIGGER]
        for order in pegged(world, instrument):
            assert order.terms is not None
            waits = order.is_parked and not any(order is other for other in fired)
            if waits and price(world, instrument, order.side, order.terms):
                world.set_timer(world.clock_ns, codes.PRIORITY_TRIGGER, codes.TRIGGER, order)


def _moves(world: World, order: Order) -> bool:
    """Bring one order that rests to its price; whether it was not there."""
    terms, book = order.terms, world.books[order.instrument]
    assert terms is not None
    ticks = price(world, order.instrument, order.side, terms)
    if order.is_parked or ticks == order.ticks:
        return False
    book.leave(order)
    if ticks:
        order.ticks = ticks
        book.join(order)
    else:
        order.flags |= codes.PARKED
        order.ticks, order.order_lots, order.hidden_lots = terms.limit_ticks, order.leaves_lots, 0
    world.emit(
        codes.REPRICED,
        account=order.account,
        order_id=order.order_id,
        instrument=order.instrument,
        price=ticks,
        lots=order.leaves_lots,
        flags=codes.SELL if order.side == codes.ASK else 0,
    )
    return True
