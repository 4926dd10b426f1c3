"""NEW, CANCEL, AMEND and CANCEL_ALL: checks in the order of the rules, then the change."""

from typing import NamedTuple

from exchange import codes
from exchange.reference import margin, mark, pegs, resting, terms, triggers
from exchange.reference.auction import check_state, note_entry, take
from exchange.reference.book import is_within
from exchange.reference.matching import Taker, is_opposite
from exchange.reference.order_guards import check_count, check_guards, check_lot_step, check_waiting
from exchange.reference.records import Event, Order, OrderTerms, Position, Terms, Wallet
from exchange.reference.selftrade import mode_of
from exchange.reference.throttle import count_taken
from exchange.reference.world import Refused, World, cut_link, require

ORDER_FLAGS = codes.POST_ONLY | codes.REDUCE_ONLY | codes.MARKET | codes.BUDGET


class Reply(NamedTuple):
    """What the RESULT of an accepted command says where it differs from the event. None = as in the event."""

    code: int = codes.OK
    price: int | None = None
    lots: int | None = None
    instrument: int | None = None


def apply_new(world: World, event: Event) -> Reply:
    """Check, match and rest a new order."""
    return _place(world, event, terms.held_for(world, event))


def _place(world: World, event: Event, row: Terms | None) -> Reply:
    """A new order, or one whose trigger was reached, with its row of terms if it has one."""
    held = row or terms.NOTHING
    _check_form(world, event)
    position = _check_state(world, event, held)
    is_guided = bool(event.flags & (codes.MARKET | codes.BUDGET))
    lots, limit = event.qty, _market_limit(world, event) if is_guided else event.price
    rests = _may_rest(world, event.instrument, event.flags, event.time_in_force)
    require(not (rests or held.trigger) or world.has_order_slot(), codes.ORDERS_FULL)
    parts = terms.slices(held.display_lots, event.qty)
    require(not held.display_lots or world.has_room(1 + parts), codes.ORDERS_FULL)
    if held.trigger:
        return _park(world, event, held)
    if held.peg:
        return _place_pegged(world, event, held)
    self_trade = mode_of(world, event.instrument, held)
    check_lot_step(world, event.instrument, lots)
    check_guards(world, event.account, event.instrument, event.side, limit, lots, event.flags, rests)
    if event.flags & codes.REDUCE_ONLY:
        spoken = _spoken_lots(world, position, event.side, rests)
        lots = _reducing_lots(position, event.side, lots, spoken)
    if event.flags & codes.POST_ONLY:
        _check_post_only(world, event.instrument, event.side, limit)
    sure = terms.sure_fills(world, event, limit, self_trade)
    if event.time_in_force == codes.FOK:
        require(sum(size for _, size in sure) >= lots, codes.FOK_UNFILLABLE)
    if not event.flags & codes.REDUCE_ONLY:
        margin.check_admission(world, position, event.side, limit, lots)
    terms.demand(world, event, held, sure, lots)
    order = world.make_order(event.order_id, event.account, event.instrument, event.side, limit, lots, event.flags)
    return _enter(world, order, event.time_in_force, self_trade, row, terms.linked(world, event, held))


def _place_pegged(world: World, event: Event, held: Terms) -> Reply:
    """A pegged order that has a price is checked at its cap and rests; one without waits, checked for its form."""
    position = world.position(event.account, event.instrument)
    peg = OrderTerms(peg=held.peg, offset_ticks=held.offset_ticks, limit_ticks=event.price)
    lots = event.qty
    if pegs.price(world, event.instrument, event.side, peg):
        flags = event.flags | codes.BUDGET  # guards of price pass it by
        check_lot_step(world, event.instrument, lots)
        check_guards(world, event.account, event.instrument, event.side, event.price, lots, flags, True)
        if event.flags & codes.REDUCE_ONLY:
            spoken = _spoken_lots(world, position, event.side, True)
            lots = _reducing_lots(position, event.side, lots, spoken)
        else:
            margin.check_admission(world, position, event.side, event.price, lots)
    else:
        check_waiting(world, event.instrument, event.price, lots, event.flags | codes.MARKET)
        check_count(world, event.account, event.instrument)
    order = world.make_order(
        event.order_id, event.account, event.instrument, event.side, event.price, lots, event.flags
    )
    return _enter_pegged(world, order, event.time_in_force, held, terms.linked(world, event, held))


def _enter_pegged(world: World, order: Order, time_in_force: int, row: Terms, partner: Order | None) -> Reply:
    """An order at its cap rests at its price, or waits for one at its cap."""
    peg = OrderTerms(peg=row.peg, offset_ticks=row.offset_ticks, limit_ticks=order.ticks)
    ticks = pegs.price(world, order.instrument, order.side, peg)
    if ticks:
        note_entry(world, order.instrument)
        order.ticks = ticks
        world.books[order.instrument].join(order)
    else:
        order.flags |= codes.PARKED
    world.keep_order(order)
    terms.attach(world, order, row, time_in_force, partner, peg.limit_ticks)
    return Reply(codes.RESTING if ticks else codes.PARKED_ORDER, order.ticks, order.leaves_lots, order.instrument)


def _park(world: World, event: Event, held: Terms) -> Reply:
    """Let an order wait for its trigger, if its source has a price that does not reach it."""
    ticks = 0 if event.flags & codes.MARKET else event.price
    check_waiting(world, event.instrument, ticks, event.qty, event.flags)
    check_count(world, event.account, event.instrument)
    order = world.make_order(
        event.order_id, event.account, event.instrument, event.side, ticks, event.qty, event.flags | codes.PARKED
    )
    order.terms = OrderTerms(trigger=held.trigger, trigger_kind=held.trigger_kind)
    require(triggers.source_sub(world, event.instrument, held.trigger) != 0, codes.NO_TRIGGER_PRICE)
    trigger_ticks = held.trigger_ticks or triggers.trailing_ticks(world, order, held.offset_ticks)
    require(not triggers.is_reached(world, order, trigger_ticks), codes.WOULD_TRIGGER)
    terms.attach(world, order, held, event.time_in_force, terms.linked(world, event, held))
    triggers.wait(world, order, trigger_ticks)
    world.keep_order(order)
    return Reply(codes.PARKED_ORDER, ticks)


def fire(world: World, order: Order) -> None:
    """A parked order enters like a new one of this moment; a refusal is the end of it."""
    waited = order.terms
    assert waited is not None
    partner = cut_link(order) if waited.peg else None  # which stays, unless the order is refused
    world.remove_order(order)
    flags = order.flags & ~codes.PARKED
    event = Event(
        world.clock_ns,
        0,
        0,
        order.order_id,
        order.ticks,
        order.leaves_lots,
        order.account,
        0,
        codes.NEW,
        order.instrument,
        flags,
        order.side,
        waited.time_in_force,
    )
    row = terms.NOTHING._replace(
        expiry_ns=waited.expiry_ns,
        min_lots=waited.min_lots,
        self_trade=waited.self_trade,
        display_lots=min(waited.display_lots, order.leaves_lots),
        display_min_lots=min(waited.display_min_lots, order.leaves_lots),
        link_id=partner.order_id if partner is not None else 0,
        peg=waited.peg,
        offset_ticks=waited.offset_ticks if waited.peg else 0,
    )
    first = len(world.outcomes)
    try:
        reply = _place(world, event, row)
    except Refused as refusal:
        reply = Reply(refusal.code)
    count_taken(world, event, first)
    world.emit(
        codes.TRIGGERED,
        account=order.account,
        order_id=order.order_id,
        instrument=order.instrument,
        price=order.ticks if reply.price is None else reply.price,
        lots=order.leaves_lots if reply.lots is None else reply.lots,
        code=reply.code,
        flags=codes.TRIGGER,
    )
    if order.order_id in world.orders:
        world.orders[order.order_id].order_lots += order.order_lots - order.leaves_lots  # a peg's, before it waited
    elif partner is not None:
        world.emit_cancelled(partner, codes.CANCELLED_BY_LINK)
        world.remove_order(partner)


def _check_form(world: World, event: Event) -> int:
    """Checks that need no state but the instrument and account; the effective time in force."""
    contract = world.contract_of(event.instrument)
    world.open_wallet(event.account, contract.asset)
    require(event.order_id > 0, codes.BAD_ORDER_ID)
    require(event.side in (codes.BID, codes.ASK), codes.BAD_SIDE)
    require(codes.GTC <= event.time_in_force <= codes.TO_LIMIT, codes.BAD_TIME_IN_FORCE)
    require(event.flags & ~ORDER_FLAGS == 0, codes.BAD_FLAGS)
    is_market, is_budget = bool(event.flags & codes.MARKET), bool(event.flags & codes.BUDGET)
    if event.flags & codes.POST_ONLY:
        require(event.time_in_force in (codes.GTC, codes.GTD) and not is_market, codes.BAD_FLAGS)
    require(event.time_in_force != codes.TO_LIMIT or is_market, codes.BAD_FLAGS)
    require(not is_budget or (event.time_in_force == codes.FOK and not is_market), codes.BAD_FLAGS)
    require(1 <= event.qty <= contract.order_max_lots, codes.BAD_LOTS)
    in_ladder = contract.ticks_min <= event.price <= contract.ticks_max
    require(is_market or (event.price >= 1 if is_budget else in_ladder), codes.BAD_PRICE)


def _may_rest(world: World, instrument: int, flags: int, time_in_force: int) -> bool:
    """Whether what is left of an order rests; of a market order in an auction, or at the last price."""
    in_auction = world.markets[instrument].state == codes.STATE_AUCTION
    dated = time_in_force in (codes.GTC, codes.GTD)
    return time_in_force == codes.TO_LIMIT or (dated and (in_auction or not flags & codes.MARKET))


def _check_state(world: World, event: Event, held: Terms) -> Position:
    """Checks against the venue's state; the position, whose slot stays even if a later check refuses."""
    market = world.markets[event.instrument]
    check_state(world, event.instrument, event.flags, event.time_in_force, bool(held.trigger or held.peg))
    require(market.mark_sub != 0, codes.NO_MARK)
    require(event.order_id not in world.orders, codes.DUPLICATE_ORDER_ID)
    terms.check_terms(world, event, held)
    check_not_liquidating(world, event.account, event.instrument)
    return world.position(event.account, event.instrument)


def check_not_liquidating(world: World, account: int, instrument: int) -> None:
    """Refuse while the unit that holds the instrument is at stage REDUCE or later."""
    position = world.find_position(account, instrument)
    wallet = world.wallets[account, world.contracts[instrument].asset]
    unit = wallet.unit if position is None else position.unit
    require(unit.stage < codes.STAGE_REDUCE, codes.IN_LIQUIDATION)


def _reducing_lots(position: Position, side: int, lots: int, spoken: int) -> int:
    """What a reduce-only order may be for, where `spoken` lots of the position are what others rest for."""
    require(is_opposite(position.lots, side) and abs(position.lots) > spoken, codes.REDUCE_ONLY_INCREASES)
    return min(lots, abs(position.lots) - spoken)


def _spoken_lots(world: World, position: Position, side: int, rests: bool) -> int:
    """Lots of a position that other orders speak for: resting reduce-only ones, of a holding whatever is offered."""
    if world.contracts[position.instrument].spot and side == codes.ASK:
        return position.lots - margin.spare_lots(position)
    return resting.reduce_only_lots(world, position, side) if rests else 0


def _market_limit(world: World, event: Event) -> int:
    """Limit in ticks of a market order: the mark moved against it by the band."""
    return mark.band_limit(world, event.instrument, event.side, world.contracts[event.instrument].market_band_ppm)


def _check_post_only(world: World, instrument: int, side: int, limit: int) -> None:
    best = world.books[instrument].best(1 - side)
    require(not best or not is_within(1 - side, best, limit), codes.POST_ONLY_WOULD_TAKE)


def _enter(
    world: World, order: Order, time_in_force: int, self_trade: int, row: Terms | None, partner: Order | None
) -> Reply:
    """Match an order that passed its checks; a remainder that may rest does so at the tail.

    Its partner goes if anything was filled.
    """
    rests = _may_rest(world, order.instrument, order.flags, time_in_force)
    taker = Taker(order.account, order.order_id, order.instrument, order.side, order.ticks, order.leaves_lots)
    taker.self_trade = self_trade
    take(world, taker)
    order.leaves_lots = taker.lots
    order.order_lots -= taker.prevented_lots
    if partner is not None and partner.order_id not in world.orders:
        partner = None
    if partner is not None and taker.lots < order.order_lots:
        world.emit_cancelled(partner, codes.CANCELLED_BY_LINK)
        world.remove_order(partner)
        partner = None
    if taker.is_ended:
        code = codes.EXPIRED_SELF_TRADE
    elif not taker.lots:
        code = codes.FILLED
    elif rests:
        if time_in_force == codes.TO_LIMIT:
            order.ticks, order.flags = _resting_ticks(world, order), order.flags & ~codes.MARKET
        world.books[order.instrument].join(order)
        world.keep_order(order)
        if row is not None:
            terms.attach(world, order, row, time_in_force, partner)
        code = codes.RESTING if taker.lots == order.order_lots else codes.PARTLY_FILLED_RESTING
    else:
        code = codes.EXPIRED
    return Reply(code, order.ticks, taker.lots, order.instrument)


def _resting_ticks(world: World, order: Order) -> int:
    """Where what is left of a market-to-limit order rests: at the last price, else the mark, within its limit."""
    market = world.markets[order.instrument]
    ticks = market.last_ticks or market.mark_sub // world.contracts[order.instrument].mark_per_tick
    return min(ticks, order.ticks) if order.side == codes.BID else max(ticks, order.ticks)


def _named_order(world: World, event: Event) -> Order:
    require(event.order_id > 0, codes.BAD_ORDER_ID)
    require(event.order_id in world.orders, codes.UNKNOWN_ORDER)
    order = world.orders[event.order_id]
    require(order.account == event.account, codes.NOT_OWNER)
    return order


def apply_cancel(world: World, event: Event) -> Reply:
    """Remove one live order."""
    return _cancel(world, _named_order(world, event))


def _cancel(world: World, order: Order) -> Reply:
    world.remove_order(order)
    return Reply(codes.CANCELLED_BY_USER, order.ticks, order.leaves_lots, order.instrument)


def apply_cancel_all(world: World, event: Event) -> Reply:
    """Remove live orders of one instrument or of all (-1), of both sides or one: the account's, or everybody's."""
    if event.instrument != -1:
        world.contract_of(event.instrument)
    require(0 <= event.qty <= 2, codes.BAD_SIDE)
    sides = (codes.BID, codes.ASK) if event.qty == 0 else (event.qty - 1,)
    if event.account == 0:
        return Reply(codes.OK, lots=resting.clear(world, event.instrument, sides))
    wallets = [world.wallets.get((event.account, asset)) for asset in range(world.policy.assets)]
    wallets = [wallet for wallet in wallets if wallet is not None and wallet.is_open]
    require(event.account >= codes.FIRST_USER and bool(wallets), codes.BAD_ACCOUNT)
    count = sum(_cancel_orders(world, wallet, event.instrument, sides) for wallet in wallets)
    return Reply(codes.OK, lots=count)


def _cancel_orders(world: World, wallet: Wallet, instrument: int, sides: tuple[int, ...]) -> int:
    named = [o for o in wallet.orders.values() if instrument in (-1, o.instrument) and o.side in sides]
    chosen = [order for order in named if not order.flags & codes.FORCED]
    count = 0
    for order in chosen:
        if order.order_id in world.orders:  # else it went with its partner
            world.emit_cancelled(order, codes.CANCELLED_BY_USER)
            world.remove_order(order)
            count += 1
    return count


def apply_amend(world: World, event: Event) -> Reply:
    """Change price or total quantity: cancel, shrink in place, or take out and enter again."""
    order = _named_order(world, event)
    contract = world.contracts[order.instrument]
    require(1 <= event.qty <= contract.order_max_lots, codes.BAD_LOTS)
    require(event.price in (0, contract.clip_ticks(event.price)), codes.BAD_PRICE)
    check_state(world, order.instrument, order.flags, codes.GTC, order.is_parked)
    held = terms.held_for(world, event) or terms.NOTHING
    require(codes.STP_DEFAULT <= held.self_trade <= codes.STP_DECREMENT, codes.BAD_SELF_TRADE)
    check_lot_step(world, order.instrument, event.qty)
    terms.check_changes(world, event, order, held)
    if event.qty <= order.order_lots - order.leaves_lots:
        return _cancel(world, order)
    if order.is_parked:
        require(order.terms is None or event.qty >= order.terms.min_lots, codes.BAD_MIN_LOTS)
        form = order.flags | codes.MARKET if order.terms and order.terms.peg else order.flags
        check_waiting(world, order.instrument, event.price or order.ticks, event.qty, form)
        terms.amend_parked(world, event, order, held)
        return Reply(codes.PARKED_ORDER, order.ticks, order.leaves_lots, order.instrument)
    done = order.order_lots - order.leaves_lots
    peg = order.terms if order.terms and order.terms.peg else None
    limit = peg.limit_ticks if peg else order.ticks
    ticks = event.price or limit
    is_moved = peg is not None and held.offset_ticks not in (0, peg.offset_ticks)
    if ticks == limit and event.qty <= order.order_lots and not is_moved:
        order.cut(order.order_lots - event.qty)
        terms.take_changes(world, order, held)
        return Reply(codes.RESTING, order.ticks, order.leaves_lots, order.instrument)
    flags = order.flags & ~codes.MARKET if event.price else order.flags
    form = flags | codes.BUDGET if peg else flags
    check_guards(world, order.account, order.instrument, order.side, ticks, event.qty - done, form, False)
    lots = _check_reentry(world, order, ticks, event.qty - done, peg is not None)
    require(terms.has_room(world, order, lots), codes.ORDERS_FULL)
    row = terms.kept(order, held) if order.terms is not None or terms.held_for(world, event) is not None else None
    time_in_force = order.terms.time_in_force if order.terms is not None else codes.GTC
    partner = cut_link(order)
    world.remove_order(order)
    entering = world.make_order(order.order_id, order.account, order.instrument, order.side, ticks, lots, flags)
    self_trade = mode_of(world, order.instrument, row or terms.NOTHING)
    if peg and row:
        return _enter_pegged(world, entering, time_in_force, row, partner)
    return _enter(world, entering, time_in_force, self_trade, row, partner)


def _check_reentry(world: World, order: Order, ticks: int, lots: int, is_pegged: bool) -> int:
    """Check the amended order as a new one while its old size (lots) counts as gone; the quantity to enter with."""
    position = world.position(order.account, order.instrument)
    leaves, order.leaves_lots = order.leaves_lots, 0
    try:
        if order.flags & codes.REDUCE_ONLY:
            lots = _reducing_lots(position, order.side, lots, _spoken_lots(world, position, order.side, True))
        if order.flags & codes.POST_ONLY and not is_pegged:
            _check_post_only(world, order.instrument, order.side, ticks)
        if not order.flags & codes.REDUCE_ONLY:
            margin.check_admission(world, position, order.side, ticks, lots)
    finally:
        order.leaves_lots = leaves
    return lots
