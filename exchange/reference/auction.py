"""States of a market, its price bands, and call auctions: price, trades, end."""

from exchange import codes
from exchange.reference import icebergs, ledger
from exchange.reference.arithmetic import PPM, ceil_div, clamp, fee
from exchange.reference.book import is_within
from exchange.reference.matching import (
    Taker,
    charge_liquidation,
    check_reduce_only,
    consume,
    match,
    taker_fees,
    uncross,
)
from exchange.reference.printed import note_trade
from exchange.reference.records import Order
from exchange.reference.selftrade import is_prevented, prevent
from exchange.reference.world import World, cut_link, require


def check_state(world: World, instrument: int, flags: int, time_in_force: int, waits: bool) -> None:
    """Refuse an order that the market's state does not take; one that `waits` for its trigger enters later."""
    state = world.markets[instrument].state
    require(state != codes.STATE_HALTED, codes.HALTED)
    require(state != codes.STATE_CANCEL_ONLY, codes.CANCEL_ONLY)
    require(state != codes.STATE_POST_ONLY or bool(flags & codes.POST_ONLY), codes.POST_ONLY_STATE)
    require(state != codes.STATE_REDUCE_ONLY or bool(flags & codes.REDUCE_ONLY), codes.REDUCE_ONLY_STATE)
    at_once = flags & codes.POST_ONLY or time_in_force in (codes.IOC, codes.FOK, codes.TO_LIMIT)
    require(state != codes.STATE_AUCTION or waits or not at_once, codes.NOT_IN_AUCTION)
    check_life(world, instrument)


def check_life(world: World, instrument: int) -> None:
    """Refuse what needs an instrument that is listed and not settled."""
    require(world.markets[instrument].state != codes.STATE_UNLISTED, codes.NOT_LISTED)
    require(world.markets[instrument].state != codes.STATE_SETTLED, codes.SETTLED)


# --- bands ---------------------------------------------------------------------------------------------------


def bands(world: World, instrument: int) -> tuple[int, int]:
    """Lowest and highest price that a taker may trade at."""
    contract, auction = world.contracts[instrument], world.auctions[instrument]
    low, high = contract.ticks_min, contract.ticks_max
    around = (
        (world.markets[instrument].last_ticks, auction.dynamic_ppm),
        (_static_reference(world, instrument), auction.static_ppm),
    )
    for ticks, ppm in around:
        if ticks and ppm:
            low, high = max(low, ceil_div(ticks * (PPM - ppm), PPM)), min(high, ticks * (PPM + ppm) // PPM)
    return low, high


def _period(world: World, instrument: int) -> int:
    length = world.auctions[instrument].reference_period_ns
    return world.clock_ns // length if length else 0


def _static_reference(world: World, instrument: int) -> int:
    auction = world.auctions[instrument]
    if auction.static_ticks and auction.static_period == _period(world, instrument):
        return auction.static_ticks
    return world.markets[instrument].last_ticks


def reach(world: World, instrument: int, side: int, limit: int) -> int | None:
    """How far a taker of this limit gets, None for nowhere."""
    if world.markets[instrument].state == codes.STATE_AUCTION:
        return None
    low, high = bands(world, instrument)
    return min(limit, high) if side == codes.BID else max(limit, low)


def take(world: World, taker: Taker) -> None:
    """Match an admitted order as far as the market's state and bands let it reach."""
    note_entry(world, taker.instrument)
    limit = reach(world, taker.instrument, taker.side, taker.limit_ticks)
    if limit is not None:
        match(world, taker, limit)
        if taker.lots and not taker.is_ended:
            _interrupt(world, taker.instrument, taker.side, taker.limit_ticks)


def note_entry(world: World, instrument: int) -> None:
    """An order is admitted: the static band's reference holds for its period; an auction without a timer gets one."""
    auction = world.auctions[instrument]
    if world.markets[instrument].state != codes.STATE_AUCTION:
        if auction.dynamic_ppm or auction.static_ppm:
            auction.static_ticks = _static_reference(world, instrument)
            auction.static_period = _period(world, instrument)
    elif not auction.has_timer:
        _set_timer(world, instrument)


def _interrupt(world: World, instrument: int, side: int, limit: int) -> None:
    """A taker with something left met its band: an auction, if the opposite best beyond is within its own limit."""
    best = world.books[instrument].best(1 - side)
    if best and is_within(1 - side, best, limit):
        begin(world, instrument, world.auctions[instrument].duration_ns, 0, 1)


# --- price ---------------------------------------------------------------------------------------------------


def auction_price(world: World, instrument: int, reference: int) -> tuple[int, int, int]:
    """Price, volume and imbalance (bid less ask) of an auction that ended now; zeros when nothing crosses."""
    book = world.books[instrument]
    bid, ask = book.best(codes.BID), book.best(codes.ASK)
    if not bid or not ask or bid < ask:
        return 0, 0, 0
    orders = [order for side in (codes.BID, codes.ASK) for _, level in book.levels(side) for order in level]
    orders = [order for order in orders if ask <= order.ticks <= bid]
    buys = {p: sum(o.leaves_lots for o in orders if o.side == codes.BID and o.ticks >= p) for p in range(ask, bid + 1)}
    sells = {p: sum(o.leaves_lots for o in orders if o.side == codes.ASK and o.ticks <= p) for p in range(ask, bid + 1)}
    volume = max(min(buys[p], sells[p]) for p in buys)
    widest = [p for p in buys if min(buys[p], sells[p]) == volume]
    if world.auctions[instrument].midpoint:
        price = (widest[0] + widest[-1]) // 2
    else:
        stated = {order.ticks for order in orders if not order.flags & codes.MARKET} | {reference}
        candidates = [p for p in widest if p in stated] or [clamp(reference, widest[0], widest[-1])]
        surplus = {p: buys[p] - sells[p] for p in candidates}
        price = _choose(surplus, reference, world.auctions[instrument].pressure_ppm)
    return price, volume, buys[price] - sells[price]


def _choose(surplus: dict[int, int], reference: int, pressure_ppm: int) -> int:
    """Least surplus, then market pressure, then the nearest to the reference (of two the higher)."""
    least = min(abs(lots) for lots in surplus.values())
    left = [p for p in sorted(surplus) if abs(surplus[p]) == least]
    if all(surplus[p] > 0 for p in left):
        bound = ceil_div(reference * (PPM + pressure_ppm), PPM) if reference else left[-1]
        return clamp(bound, left[0], left[-1])
    if all(surplus[p] < 0 for p in left):
        return clamp(reference * (PPM - pressure_ppm) // PPM, left[0], left[-1])
    return min(left, key=lambda p: (abs(p - reference), -p))


def _reference_price(world: World, instrument: int, stated: int) -> int:
    market = world.markets[instrument]
    marked = market.mark_sub // world.contracts[instrument].mark_per_tick
    return stated or world.auctions[instrument].reference_ticks or market.last_ticks or marked


# --- trades --------------------------------------------------------------------------------------------------


def _clear(world: World, instrument: int, stated: int) -> None:
    """Trade what crosses at one price, again while orders that were cut or removed leave something crossed."""
    book, market = world.books[instrument], world.markets[instrument]
    reference = _reference_price(world, instrument, stated)
    uncross(world, instrument, codes.BID)
    while True:
        price, _, imbalance = auction_price(world, instrument, reference)
        lots = _pair(world, instrument, price, imbalance) if price else 0
        icebergs.cover(world, instrument)
        if lots:
            market.last_ticks = world.auctions[instrument].static_ticks = price
            note_trade(world, instrument, price, lots)
            world.auctions[instrument].static_period = _period(world, instrument)
        world.emit(codes.AUCTION, instrument=instrument, price=price, lots=lots, money=imbalance)
        bid, ask = book.best(codes.BID), book.best(codes.ASK)
        if not bid or not ask or bid < ask:
            return


def _pair(world: World, instrument: int, price: int, surplus: int) -> int:
    book, total = world.books[instrument], 0
    while True:
        pair = [book.best(codes.BID), book.best(codes.ASK)]
        if not all(pair) or not pair[0] >= price >= pair[1]:
            return total
        bid, ask = (next(iter(book.queue(side, pair[side]).values())) for side in (codes.BID, codes.ASK))
        if not check_reduce_only(world, bid) or not check_reduce_only(world, ask):
            continue
        maker, taker = (bid, ask) if surplus > 0 else (ask, bid)
        icebergs.uncover(world, maker, taker, list(book.queue(maker.side, maker.ticks).values()), surplus)
        lots = min(bid.shown_lots, ask.shown_lots)
        older, newer = sorted((bid, ask), key=lambda order: (order.external is not None, order.joined))
        if _prevents(world, older, newer):
            continue
        are_partners = bid.terms is not None and bid.terms.link is ask
        if are_partners:  # each is filled before it cancels the other
            cut_link(bid)
        flags = codes.EXTRAPOLATED if newer.external is not None and newer.external.extrapolated else 0
        _settle(world, older, price, lots, newer.account, flags | codes.MAKER)
        _settle(world, newer, price, lots, older.account, flags)
        for order in (bid, ask):
            if are_partners and order.leaves_lots:
                world.emit_cancelled(order, codes.CANCELLED_BY_LINK)
                world.remove_order(order)
        total += lots


def _prevents(world: World, older: Order, newer: Order) -> bool:
    """Cancel or shorten orders of one owner instead of trading them: the newer one would be the taker."""
    taker = Taker(newer.account, newer.order_id, newer.instrument, newer.side, newer.ticks, newer.leaves_lots)
    own_mode = newer.terms.self_trade if newer.terms is not None else codes.STP_DEFAULT
    taker.self_trade = own_mode or world.contracts[newer.instrument].self_trade
    if (older.flags | newer.flags) & codes.FORCED or not is_prevented(world, older, taker):
        return False
    lots = older.leaves_lots
    prevent(world, older, taker)
    if newer.order_id not in world.orders:
        return True  # it went with its partner
    if taker.self_trade == codes.STP_DECREMENT:
        taker.account, taker.lots = older.account, lots
        prevent(world, newer, taker)
    elif taker.is_ended:
        world.emit_cancelled(newer, codes.CANCELLED_SELF_TRADE)
        world.remove_order(newer)
    return True


def _settle(world: World, order: Order, price: int, lots: int, counterparty: int, flags: int) -> None:
    contract = world.contracts[order.instrument]
    signed = lots if order.side == codes.BID else -lots
    paid = charge = 0
    forced = Taker(order.account, 0, order.instrument, order.side, order.ticks, lots, codes.FORCED)
    forced.liquidation_id = order.liquidation_id
    if order.external is None:
        rate = contract.maker_ppb if world.auctions[order.instrument].maker_fee else contract.taker_ppb
        paid = fee(contract.notional(price, lots), rate)
        if order.flags & codes.FORCED:
            paid, charge = taker_fees(world, forced, price, lots)
        world.emit(
            codes.FILL,
            account=order.account,
            counterparty=counterparty,
            order_id=max(0, order.order_id),
            instrument=order.instrument,
            price=price,
            lots=lots,
            money=paid,
            flags=flags | (order.flags & codes.FORCED) | (codes.SELL if order.side == codes.ASK else 0),
            liquidation_id=order.liquidation_id,
        )
        world.remove_partner(order)
    ledger.trade(world, order.account, order.instrument, price, signed, paid + charge)
    ledger.credit(world, codes.FEES, contract.asset, paid)
    if charge:
        charge_liquidation(world, forced, price, lots, charge)
    consume(world, order, lots)


def _expire_market_orders(world: World, instrument: int) -> None:
    for side in (codes.BID, codes.ASK):
        for _, orders in world.books[instrument].levels(side):
            for order in orders:
                if order.flags & codes.MARKET and order.order_id in world.orders:
                    world.emit_cancelled(order, codes.EXPIRED)
                    world.remove_order(order)


# --- beginning and end ---------------------------------------------------------------------------------------


def change_state(world: World, instrument: int, to: int) -> None:
    """Put a market into a state; what waited for it to match goes on."""
    market = world.markets[instrument]
    if market.state == to:
        return
    stood, market.state = market.stands_still, to
    world.emit(codes.STATE_CHANGE, instrument=instrument, code=to)
    if stood and not market.stands_still:
        uncross(world, instrument, codes.BID)
    if stood and (not market.stands_still or (to == codes.STATE_AUCTION and world.policy.join_auctions)):
        wake(world, instrument)


def wake(world: World, instrument: int) -> None:
    """The units whose leg waits for a market go on."""
    waiting, world.waiting[instrument] = world.waiting[instrument], []
    for unit in waiting:
        world.set_timer(world.clock_ns, codes.PRIORITY_LIQUIDATE, codes.LIQUIDATE, unit)


def _set_timer(world: World, instrument: int) -> None:
    """The next of the auction's end and an indicative price."""
    auction = world.auctions[instrument]
    due = [auction.end_ns] if auction.end_ns else []
    if auction.indicative_ns:
        due.append(world.clock_ns + auction.indicative_ns)
    if due:
        auction.has_timer = True
        world.set_timer(min(due), codes.PRIORITY_AUCTION, codes.AUCTION_TICK, instrument)


def begin(world: World, instrument: int, duration_ns: int, reference: int, volatility: int) -> None:
    """Start an auction of a duration, 0 for until it is ended."""
    auction = world.auctions[instrument]
    auction.end_ns = world.clock_ns + duration_ns if duration_ns else 0
    auction.reference_ticks, auction.volatility, auction.extensions = reference, volatility, 0
    _set_timer(world, instrument)
    change_state(world, instrument, codes.STATE_AUCTION)


def end(world: World, instrument: int, stated: int) -> None:
    """Trade, expire what is left of market orders, and trade continuously from now on."""
    _clear(world, instrument, stated)
    _expire_market_orders(world, instrument)
    for unit in world.waiting[instrument]:
        for order in list(unit.wallet.orders.values()):
            if order.flags & codes.FORCED and order.order_id == -unit.liquidation_id:
                world.emit_cancelled(order, codes.CANCELLED_BY_LIQUIDATION, unit.liquidation_id)
                world.remove_order(order)
    forget(world, instrument)
    change_state(world, instrument, codes.STATE_CONTINUOUS)


def forget(world: World, instrument: int) -> None:
    """Nothing is left of an auction but its orders."""
    auction = world.auctions[instrument]
    world.drop_timers(codes.AUCTION_TICK, instrument)
    auction.has_timer = False
    auction.end_ns = auction.reference_ticks = auction.volatility = auction.extensions = 0
    auction.published = (0, 0, 0)


def fire_tick(world: World, instrument: int) -> None:
    """Publish the indicative price where it changed; at the end, end, unless a price outside the bands puts it off."""
    auction = world.auctions[instrument]
    auction.has_timer = False
    indicative = auction_price(world, instrument, _reference_price(world, instrument, 0))
    if auction.end_ns and world.clock_ns >= auction.end_ns:
        low, high = bands(world, instrument)
        is_outside = indicative[0] and not low <= indicative[0] <= high
        if not (is_outside and auction.volatility and auction.extensions < auction.extensions_max):
            end(world, instrument, 0)
            return
        auction.extensions += 1
        auction.end_ns = world.clock_ns + auction.extension_ns
    if indicative != auction.published:
        auction.published = indicative
        price, lots, imbalance = indicative
        world.emit(codes.INDICATIVE, instrument=instrument, price=price, lots=lots, money=imbalance)
    _set_timer(world, instrument)
