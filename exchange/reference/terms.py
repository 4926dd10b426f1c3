"""Terms of orders: checks of the row that came before a command, what stays of it, links, demands on fills."""

from exchange import codes
from exchange.reference import triggers
from exchange.reference.records import Contract, Event, Order, OrderTerms, Terms
from exchange.reference.world import World, require

NOTHING = Terms(*[0] * len(Terms._fields))


def held_for(world: World, event: Event) -> Terms | None:
    """The TERMS row that belongs to a command, if one came."""
    held = world.held
    return held if held is not None and (held.account, held.order_id) == (event.account, event.order_id) else None


def check_terms(world: World, event: Event, held: Terms) -> None:
    """The fields of a row against the NEW that they belong to."""
    contract = world.contracts[event.instrument]
    is_dated = event.time_in_force == codes.GTD
    require(held.expiry_ns > event.ts_ns if is_dated else held.expiry_ns == 0, codes.BAD_EXPIRY)
    require(_is_trigger(contract, held), codes.BAD_TRIGGER)
    require(0 <= held.min_lots <= event.qty, codes.BAD_MIN_LOTS)
    require(not (held.min_lots and event.flags & codes.POST_ONLY), codes.BAD_TERMS)
    require(not held.trigger or not (event.flags & codes.BUDGET or held.peg), codes.BAD_TERMS)
    if held.link_id:
        require(linked(world, event, held) is not None, codes.BAD_LINK)


def _is_trigger(contract: Contract, held: Terms) -> bool:
    """No trigger at all, or a price, or (a stop) a trailing distance."""
    if held.trigger == codes.TRIGGER_NONE:
        return held.trigger_ticks == 0 and held.trigger_kind == codes.STOP and (held.offset_ticks == 0 or held.peg != 0)
    if held.trigger not in (codes.TRIGGER_MARK, codes.TRIGGER_INDEX, codes.TRIGGER_LAST):
        return False
    if held.trigger_kind == codes.STOP and held.trigger_ticks == 0:
        return 1 <= held.offset_ticks <= contract.ticks_max
    is_kind = held.trigger_kind in (codes.STOP, codes.TAKE_PROFIT)
    return is_kind and held.offset_ticks == 0 and contract.ticks_min <= held.trigger_ticks <= contract.ticks_max


def linked(world: World, event: Event, held: Terms) -> Order | None:
    """The live order without a partner that the row links to."""
    order = world.orders.get(held.link_id)
    if order is None or (order.account, order.instrument) != (event.account, event.instrument):
        return None
    return order if order.terms is None or order.terms.link is None else None


def demand(world: World, event: Event, held: Terms, limit: int, lots: int) -> None:
    """What must fill at once: a least quantity; and the price of all of it."""
    fills = [(ticks, order.leaves_lots) for ticks, order in sure_makers(world, event.instrument, event.side, limit)]
    if held.min_lots:
        reachable = sum(size for _, size in fills)
        require(held.min_lots <= lots and held.min_lots <= reachable, codes.MIN_LOTS_UNFILLABLE)
    if event.flags & codes.BUDGET:
        total = 0
        for ticks, size in fills:
            taken = min(lots, size)
            total += world.contracts[event.instrument].notional(ticks, taken)
            lots -= taken
        is_bid = event.side == codes.BID
        require(total <= event.price if is_bid else total >= event.price, codes.FOK_UNFILLABLE)


def sure_makers(world: World, instrument: int, side: int, limit: int) -> list[tuple[int, Order]]:
    """Orders that a taker within its limit is sure to meet, with their prices: neither reduce-only nor the second
    of a linked pair."""
    met: list[tuple[int, Order]] = []
    seen: list[Order] = []
    for ticks, orders in world.books[instrument].levels_within(1 - side, limit):
        for order in orders:
            is_second = order.terms is not None and any(order.terms.link is other for other in seen)
            if not order.flags & codes.REDUCE_ONLY and not is_second:
                met.append((ticks, order))
            seen.append(order)
    return met


def attach(world: World, order: Order, held: Terms, time_in_force: int, partner: Order | None) -> None:
    """Give an order what stays of its row; its expiry sets a timer."""
    terms = OrderTerms(expiry_ns=held.expiry_ns, time_in_force=time_in_force, self_trade=held.self_trade)
    if time_in_force == codes.TO_LIMIT and not order.is_parked:
        terms.time_in_force = codes.GTC  # it is a limit order from now on
    if order.is_parked:
        terms.trigger, terms.trigger_kind = held.trigger, held.trigger_kind
        terms.offset_ticks, terms.min_lots = held.offset_ticks, held.min_lots
    order.terms = terms
    if partner is not None:
        terms.link = partner
        partner.terms = partner.terms or OrderTerms()
        partner.terms.link = order
    if held.expiry_ns:
        world.set_timer(held.expiry_ns, codes.PRIORITY_EXPIRE, codes.EXPIRE, order)


def expire(world: World, order: Order) -> None:
    """The time of an order is over."""
    world.emit_cancelled(order, codes.CANCELLED_BY_EXPIRY)
    world.remove_order(order)


def check_changes(world: World, event: Event, order: Order, held: Terms) -> None:
    """The fields of a row (0 = keep) against the live order that an AMEND names."""
    terms = order.terms or OrderTerms()
    if held.expiry_ns:
        require(terms.time_in_force == codes.GTD and held.expiry_ns > event.ts_ns, codes.BAD_EXPIRY)
    fixed = (held.link_id, held.min_lots, held.trigger, held.trigger_kind, held.peg, held.self_trade)
    require(not any(fixed), codes.BAD_TERMS)
    require(not (event.price and order.is_parked and order.flags & codes.MARKET), codes.BAD_TERMS)
    if held.trigger_ticks or held.offset_ticks:
        contract = world.contracts[order.instrument]
        is_trailing = terms.offset_ticks != 0
        require(order.is_parked and terms.trigger_ticks != 0, codes.BAD_TERMS)
        require(not (held.trigger_ticks if is_trailing else held.offset_ticks), codes.BAD_TERMS)
        if is_trailing:
            require(1 <= held.offset_ticks <= contract.ticks_max, codes.BAD_TRIGGER)
        else:
            require(contract.ticks_min <= held.trigger_ticks <= contract.ticks_max, codes.BAD_TRIGGER)
        ticks = changed_trigger(world, order, held)
        require(not triggers.is_reached(world, order, ticks), codes.WOULD_TRIGGER)


def changed_trigger(world: World, order: Order, held: Terms) -> int:
    """Trigger price of a waiting order after a row; a new trailing distance starts from the present price."""
    assert order.terms is not None
    if held.offset_ticks:
        return triggers.trailing_ticks(world, order, held.offset_ticks)
    return held.trigger_ticks or order.terms.trigger_ticks


def set_expiry(world: World, order: Order, held: Terms) -> None:
    """Another expiry, if the row names one."""
    if held.expiry_ns and order.terms is not None:
        order.terms.expiry_ns = held.expiry_ns
        world.drop_timers(order, codes.EXPIRE)
        world.set_timer(held.expiry_ns, codes.PRIORITY_EXPIRE, codes.EXPIRE, order)


def amend_parked(world: World, event: Event, order: Order, held: Terms) -> None:
    """Change an order that waits: it goes to the end of its trigger price unless it only shrinks or is dated anew."""
    terms = order.terms
    assert terms is not None
    new_price = event.price not in (0, order.ticks)
    moves = event.qty > order.order_lots or new_price or held.trigger_ticks or held.offset_ticks
    if moves and terms.trigger_ticks:
        ticks = changed_trigger(world, order, held)
        terms.offset_ticks = held.offset_ticks or terms.offset_ticks
        triggers.wait(world, order, ticks)
    order.ticks = event.price or order.ticks
    order.order_lots = order.leaves_lots = event.qty
    set_expiry(world, order, held)


def kept(order: Order, held: Terms) -> Terms:
    """The row with which a resting order enters again: its terms, with what `held` changes of them."""
    terms = order.terms or OrderTerms()
    return NOTHING._replace(expiry_ns=held.expiry_ns or terms.expiry_ns, self_trade=terms.self_trade)
