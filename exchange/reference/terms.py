"""Terms of orders: checks of the row that came before a command, what stays of it, links, demands on fills."""

from exchange import codes
from exchange.reference import margin, triggers
from exchange.reference.arithmetic import ceil_div
from exchange.reference.auction import reach
from exchange.reference.matching import Taker
from exchange.reference.records import Contract, Event, Order, OrderTerms, Terms
from exchange.reference.selftrade import same_owner
from exchange.reference.world import World, require

NOTHING = Terms(*[0] * len(Terms._fields))


def held_for(world: World, event: Event) -> Terms | None:
    """The TERMS row that belongs to a command, if one came."""
    held = world.held
    return held if held is not None and (held.account, held.order_id) == (event.account, event.order_id) else None


def check_terms(world: World, event: Event, held: Terms) -> None:
    """The fields of a row against the NEW that they belong to."""
    contract = world.contracts[event.instrument]
    is_good_till_date = event.time_in_force == codes.GTD
    require(held.expiry_ns > world.clock_ns if is_good_till_date else held.expiry_ns == 0, codes.BAD_EXPIRY)
    require(_is_trigger(contract, held), codes.BAD_TRIGGER)
    require(0 <= held.min_lots <= event.qty, codes.BAD_MIN_LOTS)
    require(not (held.min_lots and event.flags & codes.POST_ONLY), codes.BAD_TERMS)
    require(not (held.trigger and event.flags & codes.BUDGET), codes.BAD_TERMS)
    require(not held.peg or _is_peg(contract, event, held), codes.BAD_PEG)
    is_dated = event.time_in_force in (codes.GTC, codes.GTD)
    is_resting = event.time_in_force == codes.TO_LIMIT or (is_dated and not event.flags & codes.MARKET)
    if held.display_lots:
        require(contract.iceberg != codes.ICEBERG_NONE and is_resting, codes.BAD_DISPLAY)
        require(1 <= held.display_lots <= event.qty, codes.BAD_DISPLAY)
    require(0 <= held.display_min_lots <= held.display_lots, codes.BAD_DISPLAY)
    if held.link_id:
        require(linked(world, event, held) is not None, codes.BAD_LINK)
    require(codes.STP_DEFAULT <= held.self_trade <= codes.STP_DECREMENT, codes.BAD_SELF_TRADE)


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


def _is_peg(contract: Contract, event: Event, held: Terms) -> bool:
    """A limit order that may rest, at a distance within the ladder from a reference, where pegs are offered."""
    if not contract.pegged or held.peg not in (codes.PEG_MID, codes.PEG_BEST, codes.PEG_OPPOSITE):
        return False
    is_limit = event.time_in_force in (codes.GTC, codes.GTD) and not event.flags & (codes.MARKET | codes.BUDGET)
    return is_limit and not held.trigger and not held.min_lots and abs(held.offset_ticks) <= contract.ticks_max


def linked(world: World, event: Event, held: Terms) -> Order | None:
    """The live order without a partner that the row links to."""
    order = world.orders.get(held.link_id)
    if order is None or (order.account, order.instrument) != (event.account, event.instrument):
        return None
    return order if partner_of(order) is None and not order.flags & codes.FORCED else None


def demand(world: World, event: Event, held: Terms, sure: list[tuple[int, int]], lots: int) -> None:
    """What must fill at once: a least quantity; and the price of all of it."""
    if held.min_lots:
        require(held.min_lots <= lots and held.min_lots <= sum(size for _, size in sure), codes.MIN_LOTS_UNFILLABLE)
    if event.flags & codes.BUDGET:
        total = 0
        for ticks, size in sure:
            taken = min(lots, size)
            total += world.contracts[event.instrument].notional(ticks, taken)
            lots -= taken
        is_bid = event.side == codes.BID
        require(total <= event.price if is_bid else total >= event.price, codes.FOK_UNFILLABLE)


def sure_fills(world: World, event: Event | Taker, limit: int, self_trade: int) -> list[tuple[int, int]]:
    """Prices and lots that a taker is sure to find, best first; of a level that is shared all lots in one."""
    reached = reach(world, event.instrument, event.side, limit)
    if reached is None:
        return []
    is_shared = world.contracts[event.instrument].allocation is not None
    fills: list[tuple[int, int]] = []
    passed: list[Order] = []
    for ticks, orders in world.books[event.instrument].levels_within(1 - event.side, reached):
        here: list[tuple[int, int]] = []
        for order in orders:
            is_own = self_trade > codes.STP_NONE and same_owner(world, order.account, event.account)
            if is_own and self_trade != codes.STP_CANCEL_OLDEST:
                return fills if is_shared else fills + here
            sooner = orders if is_shared else []
            has_gone = any(other is partner_of(order) for other in [*passed, *sooner])
            if not is_own and not has_gone and _keeps_size(world, order):
                here.append((ticks, order.leaves_lots))
            passed.append(order)
        fills += [(ticks, sum(size for _, size in here))] if is_shared else here
    return fills


def partner_of(order: Order) -> Order | None:
    """The other order of one-cancels-other."""
    return order.terms.link if order.terms is not None else None


def _keeps_size(world: World, order: Order) -> bool:
    """Whether no fill can shrink the order before its turn: one that is reduce-only has its position to itself."""
    if not order.flags & codes.REDUCE_ONLY:
        return True
    return not margin.open_orders(world.position(order.account, order.instrument), order.side)


def attach(world: World, order: Order, held: Terms, time_in_force: int, partner: Order | None, cap: int = 0) -> None:
    """Give an order what stays of its row, with a peg its cap; its expiry sets a timer."""
    terms = OrderTerms(expiry_ns=held.expiry_ns, time_in_force=time_in_force, self_trade=held.self_trade)
    if time_in_force == codes.TO_LIMIT and not order.is_parked:
        terms.time_in_force = codes.GTC  # it is a limit order from now on
    if order.is_parked:
        terms.trigger, terms.trigger_kind = held.trigger, held.trigger_kind
        terms.offset_ticks, terms.min_lots = held.offset_ticks, held.min_lots
    if held.display_lots:
        terms.display_lots, terms.display_min_lots = held.display_lots, max(1, held.display_min_lots)
    if held.peg:
        terms.peg, terms.offset_ticks, terms.limit_ticks = held.peg, held.offset_ticks, cap
    order.terms = terms
    if not order.is_parked:
        order.hide()
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
        require(terms.time_in_force == codes.GTD and held.expiry_ns > world.clock_ns, codes.BAD_EXPIRY)
    fixed = (held.link_id, held.min_lots, held.trigger, held.trigger_kind)
    unknown = (held.peg, held.display_lots, held.display_min_lots)
    require(not any((*fixed, *unknown)), codes.BAD_TERMS)
    require(not (event.price and order.is_parked and order.flags & codes.MARKET), codes.BAD_TERMS)
    if terms.peg:
        require(not held.trigger_ticks, codes.BAD_TERMS)
        require(abs(held.offset_ticks) <= world.contracts[order.instrument].ticks_max, codes.BAD_PEG)
    elif held.trigger_ticks or held.offset_ticks:
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


def take_changes(world: World, order: Order, held: Terms) -> None:
    """Another expiry and another mode, if the row names them."""
    if order.terms is not None:
        order.terms.self_trade = held.self_trade or order.terms.self_trade
    if held.expiry_ns and order.terms is not None:
        order.terms.expiry_ns = held.expiry_ns
        world.drop_order_timers(order, codes.EXPIRE)
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
    if terms.peg:
        terms.limit_ticks, terms.offset_ticks = order.ticks, held.offset_ticks or terms.offset_ticks
    order.leaves_lots += event.qty - order.order_lots
    order.order_lots = event.qty
    take_changes(world, order, held)


def kept(order: Order, held: Terms) -> Terms:
    """The row with which a resting order enters again: its terms, with what `held` changes of them."""
    terms = order.terms or OrderTerms()
    expiry_ns, self_trade = held.expiry_ns or terms.expiry_ns, held.self_trade or terms.self_trade
    return NOTHING._replace(
        expiry_ns=expiry_ns,
        self_trade=self_trade,
        display_lots=terms.display_lots,
        display_min_lots=terms.display_min_lots,
        peg=terms.peg,
        offset_ticks=(held.offset_ticks or terms.offset_ticks) if terms.peg else 0,
    )


def slices(display: int, lots: int) -> int:
    """How many more times an order of so many lots shows its display after the first."""
    return ceil_div(max(0, lots - display), display) if display else 0


def has_room(world: World, order: Order, lots: int) -> bool:
    """Whether a resting order may enter again with so many lots, as far as parts of icebergs take room."""
    display = order.terms.display_lots if order.terms is not None else 0
    return not display or world.has_room(slices(display, lots) - ceil_div(order.hidden_lots, display))
