"""NEW, CANCEL, AMEND and CANCEL_ALL: checks in the order of the rules, then the change."""

from typing import NamedTuple

from exchange import codes
from exchange.reference import margin, resting
from exchange.reference.arithmetic import PPM, ceil_div
from exchange.reference.auction import check_state, reach, take
from exchange.reference.book import is_within
from exchange.reference.matching import Taker, is_opposite
from exchange.reference.order_guards import check_guards, check_lot_step
from exchange.reference.records import Event, Order, Position, Wallet
from exchange.reference.selftrade import mode_of, same_owner
from exchange.reference.world import World, require

ORDER_FLAGS = codes.POST_ONLY | codes.REDUCE_ONLY | codes.MARKET


class Reply(NamedTuple):
    """What the RESULT of an accepted command says where it differs from the event. None = as in the event."""

    code: int = codes.OK
    price: int | None = None
    lots: int | None = None
    instrument: int | None = None


def apply_new(world: World, event: Event) -> Reply:
    """Check, match and rest a new order."""
    time_in_force = _check_form(world, event)
    position, self_trade = _check_state(world, event, time_in_force)
    lots = event.qty
    limit = _market_limit(world, event) if event.flags & codes.MARKET else event.price
    check_lot_step(world, event.instrument, lots)
    counted = time_in_force == codes.GTC
    check_guards(world, event.account, event.instrument, event.side, limit, lots, event.flags, counted)
    if event.flags & codes.REDUCE_ONLY:
        spoken = resting.reduce_only_lots(world, position, event.side) if time_in_force == codes.GTC else 0
        lots = _reducing_lots(position, event.side, lots, spoken)
    if event.flags & codes.POST_ONLY:
        _check_post_only(world, event.instrument, event.side, limit)
    if time_in_force == codes.FOK:
        require(_reachable_lots(world, event, limit, self_trade) >= lots, codes.FOK_UNFILLABLE)
    if not event.flags & codes.REDUCE_ONLY:
        margin.check_admission(world, position, event.side, limit, lots)
    order = world.make_order(event.order_id, event.account, event.instrument, event.side, limit, lots, event.flags)
    return _enter(world, order, time_in_force, self_trade)


def _check_form(world: World, event: Event) -> int:
    """Checks that need no state but the instrument and account; the effective time in force."""
    contract = world.contract_of(event.instrument)
    world.open_wallet(event.account, contract.asset)
    require(event.order_id > 0, codes.BAD_ORDER_ID)
    require(event.side in (codes.BID, codes.ASK), codes.BAD_SIDE)
    require(event.time_in_force in (codes.GTC, codes.IOC, codes.FOK), codes.BAD_TIME_IN_FORCE)
    require(event.flags & ~ORDER_FLAGS == 0, codes.BAD_FLAGS)
    is_market = bool(event.flags & codes.MARKET)
    if event.flags & codes.POST_ONLY:
        require(event.time_in_force == codes.GTC and not is_market, codes.BAD_FLAGS)
    require(1 <= event.qty <= contract.order_max_lots, codes.BAD_LOTS)
    require(is_market or contract.ticks_min <= event.price <= contract.ticks_max, codes.BAD_PRICE)
    in_auction = world.markets[event.instrument].state == codes.STATE_AUCTION
    return codes.IOC if is_market and event.time_in_force == codes.GTC and not in_auction else event.time_in_force


def _check_state(world: World, event: Event, time_in_force: int) -> tuple[Position, int]:
    """Checks against the venue's state; the position, whose slot stays even if a later check refuses, and the mode."""
    market = world.markets[event.instrument]
    check_state(world, event.instrument, event.flags, event.time_in_force)
    require(market.mark_sub != 0, codes.NO_MARK)
    require(event.order_id not in world.orders, codes.DUPLICATE_ORDER_ID)
    self_trade = mode_of(world, event, event.instrument)
    check_not_liquidating(world, event.account, event.instrument)
    position = world.position(event.account, event.instrument)
    require(time_in_force != codes.GTC or world.has_order_slot(), codes.ORDERS_FULL)
    return position, self_trade


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


def _market_limit(world: World, event: Event) -> int:
    """Limit in ticks of a market order: the mark moved against it by the band."""
    contract = world.contracts[event.instrument]
    mark = world.markets[event.instrument].mark_sub
    if event.side == codes.BID:
        limit = mark * (PPM + contract.market_band_ppm) // PPM // contract.mark_per_tick
    else:
        limit = ceil_div(mark * (PPM - contract.market_band_ppm) // PPM, contract.mark_per_tick)
    return contract.clip_ticks(limit)


def _check_post_only(world: World, instrument: int, side: int, limit: int) -> None:
    best = world.books[instrument].best(1 - side)
    require(not best or not is_within(1 - side, best, limit), codes.POST_ONLY_WOULD_TAKE)


def _reachable_lots(world: World, event: Event, limit: int, self_trade: int) -> int:
    """What a taker of this mode surely fills: what is sure, up to the first of its own that ends it."""
    found, limit = 0, reach(world, event.instrument, event.side, limit) or limit
    for _, orders in world.books[event.instrument].levels_within(1 - event.side, limit):
        before = found
        for order in orders:
            if self_trade > codes.STP_NONE and same_owner(world, order.account, event.account):
                if self_trade != codes.STP_CANCEL_OLDEST:
                    return found if world.contracts[event.instrument].allocation is None else before
            elif _is_sure(world, order):
                found += order.leaves_lots
    return found


def _is_sure(world: World, order: Order) -> bool:
    """Whether nothing can shrink the order before its turn: one that is reduce-only has its position to itself."""
    if not order.flags & codes.REDUCE_ONLY:
        return True
    return not margin.open_orders(world.position(order.account, order.instrument), order.side)


def _enter(world: World, order: Order, time_in_force: int, self_trade: int) -> Reply:
    """Match an order that passed its checks; a GTC remainder rests at the tail."""
    taker = Taker(order.account, order.order_id, order.instrument, order.side, order.ticks, order.leaves_lots)
    taker.self_trade = self_trade
    take(world, taker)
    order.leaves_lots = taker.lots
    order.order_lots -= taker.prevented_lots
    if taker.is_ended:
        code = codes.EXPIRED_SELF_TRADE
    elif not taker.lots:
        code = codes.FILLED
    elif time_in_force == codes.GTC:
        world.books[order.instrument].join(order)
        world.orders[order.order_id] = order
        world.wallets[order.account, world.contracts[order.instrument].asset].orders[order.order_id] = order
        code = codes.RESTING if taker.lots == order.order_lots else codes.PARTLY_FILLED_RESTING
    else:
        code = codes.EXPIRED
    return Reply(code, order.ticks, taker.lots, order.instrument)


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
    chosen = [o for o in wallet.orders.values() if instrument in (-1, o.instrument) and o.side in sides]
    for order in chosen:
        world.remove_order(order)
        world.emit_cancelled(order, codes.CANCELLED_BY_USER)
    return len(chosen)


def apply_amend(world: World, event: Event) -> Reply:
    """Change price or total quantity: cancel, shrink in place, or take out and enter again."""
    order = _named_order(world, event)
    contract = world.contracts[order.instrument]
    require(1 <= event.qty <= contract.order_max_lots, codes.BAD_LOTS)
    require(event.price in (0, contract.clip_ticks(event.price)), codes.BAD_PRICE)
    check_state(world, order.instrument, order.flags, codes.GTC)
    check_not_liquidating(world, order.account, order.instrument)
    self_trade = mode_of(world, event, order.instrument)
    check_lot_step(world, order.instrument, event.qty)
    done = order.order_lots - order.leaves_lots
    ticks = event.price or order.ticks
    if event.qty <= done:
        return _cancel(world, order)
    if ticks == order.ticks and event.qty <= order.order_lots:
        order.order_lots, order.leaves_lots = event.qty, event.qty - done
        return Reply(codes.RESTING, order.ticks, order.leaves_lots, order.instrument)
    flags = order.flags & ~codes.MARKET if event.price else order.flags
    check_guards(world, order.account, order.instrument, order.side, ticks, event.qty - done, flags, False)
    lots = _check_reentry(world, order, ticks, event.qty - done)
    world.remove_order(order)
    entering = world.make_order(order.order_id, order.account, order.instrument, order.side, ticks, lots, flags)
    return _enter(world, entering, codes.GTC, self_trade)


def _check_reentry(world: World, order: Order, ticks: int, lots: int) -> int:
    """Check the amended order as a new one while its old size (lots) counts as gone; the quantity to enter with."""
    position = world.position(order.account, order.instrument)
    leaves, order.leaves_lots = order.leaves_lots, 0
    try:
        if order.flags & codes.REDUCE_ONLY:
            lots = _reducing_lots(position, order.side, lots, resting.reduce_only_lots(world, position, order.side))
        if order.flags & codes.POST_ONLY:
            _check_post_only(world, order.instrument, order.side, ticks)
        if not order.flags & codes.REDUCE_ONLY:
            margin.check_admission(world, position, order.side, ticks, lots)
    finally:
        order.leaves_lots = leaves
    return lots
