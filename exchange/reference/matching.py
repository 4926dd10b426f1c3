"""Fills: a taker against the book, recorded prints against it, and the uncrossing of recorded levels."""

from dataclasses import dataclass

from exchange import codes
from exchange.reference import icebergs, ledger
from exchange.reference.allocation import STEPS, Sharing
from exchange.reference.arithmetic import fee
from exchange.reference.book import is_within
from exchange.reference.impact import note_flow
from exchange.reference.printed import note_trade
from exchange.reference.records import ExternalLevel, Order
from exchange.reference.selftrade import is_prevented, prevent
from exchange.reference.throttle import count_maker
from exchange.reference.world import World


@dataclass(slots=True)
class Taker:
    """An order at work. The bankruptcy price of a liquidation order (FORCED) is its limit unless it says another."""

    account: int
    order_id: int
    instrument: int
    side: int
    limit_ticks: int
    lots: int
    flags: int = 0
    liquidation_id: int = 0
    self_trade: int = codes.STP_NONE
    prevented_lots: int = 0
    is_ended: bool = False
    bankruptcy_ticks: int = 0


def match(world: World, taker: Taker, limit: int) -> None:
    """Fill the taker from the best opposite level on, oldest first, to `limit`; `taker.lots` is what is left."""
    book, asked = world.books[taker.instrument], taker.lots
    side = 1 - taker.side
    while taker.lots and not taker.is_ended:
        best = book.best(side)
        if not best or not is_within(side, best, limit):
            break
        if world.contracts[taker.instrument].allocation is not None:
            _match_level(world, taker, list(book.queue(side, best).values()))
            continue
        maker = next(iter(book.queue(side, best).values()))
        if not check_reduce_only(world, maker):
            continue
        if is_prevented(world, maker, taker):
            prevent(world, maker, taker)
            continue
        _trade(world, maker, taker, min(taker.lots, maker.shown_lots))
    filled = asked - taker.lots - taker.prevented_lots
    note_flow(world, taker.instrument, taker.side, filled, bool(taker.flags & codes.FORCED))


def _match_level(world: World, taker: Taker, orders: list[Order]) -> None:
    """Prevention for every order of a level, then the level's steps, each with its own fills."""
    book = world.books[taker.instrument]
    for maker in orders:
        is_at_stake = book.is_queued(maker) and not taker.is_ended and is_prevented(world, maker, taker)
        if is_at_stake and check_reduce_only(world, maker):
            prevent(world, maker, taker)
    orders = [order for order in orders if book.is_queued(order)]
    if taker.is_ended or not orders:
        return
    if world.contracts[taker.instrument].iceberg == codes.ICEBERG_PRO_RATA:
        icebergs.share(orders, taker.lots)
    sharing = Sharing(world, orders)
    for step in STEPS:
        sharing.lots = taker.lots
        budget, wishes = step(sharing)
        for maker, most in wishes:
            if min(budget, most, taker.lots) and sharing.stands(maker) and check_reduce_only(world, maker):
                lots = min(budget, most, taker.lots, maker.shown_lots)
                budget -= lots
                _trade(world, maker, taker, lots)


def _trade(world: World, maker: Order, taker: Taker, lots: int) -> None:
    """A fill in the book itself: the maker's order shrinks, and the price is the last."""
    _fill(world, maker, taker, lots)
    consume(world, maker, lots)
    note_trade(world, taker.instrument, maker.ticks, lots, bool(taker.flags & codes.FORCED))


def match_shadow(world: World, taker: Taker) -> None:
    """Fill the taker from the external orders alone, without changing the book, displaced size or last."""
    taker.flags |= codes.SHADOW
    for _, orders in world.books[taker.instrument].levels_within(1 - taker.side, taker.limit_ticks):
        for maker in orders:
            if maker.external is not None and taker.lots:
                _fill(world, maker, taker, min(taker.lots, maker.leaves_lots))


def check_reduce_only(world: World, maker: Order) -> bool:
    """Cut a reduce-only order to its position, or remove it; whether it still rests."""
    if not maker.flags & codes.REDUCE_ONLY:
        return True
    position = world.position(maker.account, maker.instrument)
    if not is_opposite(position.lots, maker.side):
        world.shrink_order(maker, maker.leaves_lots)
        return False
    excess = max(0, maker.leaves_lots - abs(position.lots))
    if excess:
        world.shrink_order(maker, excess)
    return True


def is_opposite(position_lots: int, side: int) -> bool:
    """Whether an order of this side reduces the position."""
    return position_lots < 0 if side == codes.BID else position_lots > 0


def start_refill(world: World, instrument: int) -> None:
    """Set the timer that brings displaced size back, unless it is set."""
    market = world.markets[instrument]
    if not market.has_refill_timer:
        market.has_refill_timer = True
        period = world.policy.refill_period_ns
        due = (world.clock_ns // period + 1) * period
        world.set_timer(due, codes.PRIORITY_REFILL, codes.REFILL_TICK, instrument)


def consume(world: World, maker: Order, lots: int) -> None:
    """Take filled lots off a resting order; an external one counts them as displaced."""
    if maker.external is not None:
        if world.policy.refill == codes.REFILL_DECAY:
            start_refill(world, maker.instrument)
        maker.external.displaced_lots += lots
        world.books[maker.instrument].cut_part(maker, lots)
        return
    if not maker.flags & codes.FORCED:
        count_maker(world, maker.account, maker.leaves_lots == maker.order_lots)
    maker.leaves_lots -= lots
    if not maker.leaves_lots:
        world.remove_order(maker)
    elif maker.hidden_lots and not maker.shown_lots:
        icebergs.show_again(world, maker)
    elif maker.hidden_lots and maker.terms and maker.shown_lots < maker.terms.display_min_lots:
        if not any(maker is other for other in world.thinned):
            world.thinned.append(maker)


def _fill(world: World, maker: Order, taker: Taker, lots: int) -> None:
    """Trade at the maker's price: the maker's position first, then the taker's; outcomes likewise."""
    taker.lots -= lots
    contract = world.contracts[taker.instrument]
    value = contract.notional(maker.ticks, lots)
    signed = lots if taker.side == codes.BID else -lots
    flags = taker.flags & (codes.FORCED | codes.BACKSTOP | codes.CONVERTED | codes.SHADOW)
    if maker.external is not None and maker.external.extrapolated:
        flags |= codes.EXTRAPOLATED
    taker_fee, liquidation_fee = taker_fees(world, taker, maker.ticks, lots)
    maker_fee = 0 if maker.account == codes.EXTERNAL else fee(value, contract.maker_ppb)
    ledger.trade(world, maker.account, taker.instrument, maker.ticks, -signed, maker_fee)
    ledger.trade(world, taker.account, taker.instrument, maker.ticks, signed, taker_fee + liquidation_fee)
    ledger.credit(world, codes.FEES, contract.asset, maker_fee + taker_fee)
    if maker.account != codes.EXTERNAL:
        _emit_fill(world, maker, taker.account, lots, maker_fee, flags | codes.MAKER, taker.liquidation_id)
    world.emit(
        codes.FILL,
        account=taker.account,
        counterparty=maker.account,
        order_id=taker.order_id,
        instrument=taker.instrument,
        price=maker.ticks,
        lots=lots,
        money=taker_fee,
        flags=flags | (codes.SELL if taker.side == codes.ASK else 0),
        liquidation_id=taker.liquidation_id,
    )
    if liquidation_fee:
        charge_liquidation(world, taker, maker.ticks, lots, liquidation_fee)


def charge_liquidation(world: World, taker: Taker, ticks: int, lots: int, money: int) -> None:
    """A liquidation fee, already taken with the fill, goes to the fund."""
    ledger.credit(world, codes.INSURANCE, world.contracts[taker.instrument].asset, money)
    world.emit(
        codes.LIQUIDATION_FEE,
        account=taker.account,
        counterparty=codes.INSURANCE,
        instrument=taker.instrument,
        price=ticks,
        lots=lots,
        money=money,
        liquidation_id=taker.liquidation_id,
    )


def taker_fees(world: World, taker: Taker, ticks: int, lots: int) -> tuple[int, int]:
    """Taker and liquidation fee (money) of a fill."""
    contract = world.contracts[taker.instrument]
    value = contract.notional(ticks, lots)
    taker_fee = fee(value, contract.taker_ppb)
    if not taker.flags & codes.FORCED or taker.flags & codes.BACKSTOP:
        return taker_fee, 0
    change = lots if taker.side == codes.BID else -lots
    at_bankruptcy = contract.trade_value(taker.bankruptcy_ticks or taker.limit_ticks, change)
    traded = contract.trade_value(ticks, change)
    return ledger.liquidation_charges(world, contract, at_bankruptcy, traded, taker_fee, value)


def _emit_fill(
    world: World, maker: Order, counterparty: int, lots: int, maker_fee: int, flags: int, liquidation_id: int = 0
) -> None:
    if maker.side == codes.ASK:
        flags |= codes.SELL
    world.emit(
        codes.FILL,
        account=maker.account,
        counterparty=counterparty,
        order_id=maker.order_id,
        instrument=maker.instrument,
        price=maker.ticks,
        lots=lots,
        money=maker_fee,
        flags=flags,
        liquidation_id=liquidation_id,
    )
    world.remove_partner(maker)


def fill_from_external(world: World, maker: Order, lots: int, flags: int = 0) -> None:
    """Fill a resting simulated order at its own price against the recorded world; last stays."""
    contract = world.contracts[maker.instrument]
    maker_fee = fee(contract.notional(maker.ticks, lots), contract.maker_ppb)
    signed = lots if maker.side == codes.BID else -lots
    ledger.trade(world, maker.account, maker.instrument, maker.ticks, signed, maker_fee)
    ledger.trade(world, codes.EXTERNAL, maker.instrument, maker.ticks, -signed, 0)
    ledger.credit(world, codes.FEES, contract.asset, maker_fee)
    _emit_fill(world, maker, codes.EXTERNAL, lots, maker_fee, flags | codes.MAKER)
    consume(world, maker, lots)


def apply_print(world: World, instrument: int, aggressor: int, ticks: int, lots: int) -> None:
    """Fill simulated orders that a recorded trade reached, out of a budget of its lots, external size ahead first."""
    budget = lots
    for level_ticks, orders in world.books[instrument].levels_within(1 - aggressor, ticks):
        level = world.books[instrument].externals.get((1 - aggressor, level_ticks))
        printed = level.printed_lots if level else 0  # of the front of the queue, by earlier prints
        for order in orders:
            if not budget:
                return
            if order.external is None and order.order_id not in world.orders:
                continue  # its partner was filled
            if order.external is not None:
                gone = min(printed, order.leaves_lots)
                printed -= gone
                taken = min(budget, order.leaves_lots - gone)
                budget -= taken
                if level_ticks == ticks:
                    order.external.printed_lots += taken
            elif check_reduce_only(world, order):
                filled = min(budget, order.shown_lots)
                budget -= filled
                fill_from_external(world, order, filled)
                if budget and order.leaves_lots:
                    orders.append(order)  # an iceberg, at the tail again


def uncross(world: World, instrument: int, event_side: int) -> None:
    """Resolve a book that recorded levels crossed: simulated orders fill, then stale recorded levels go."""
    book = world.books[instrument]
    if world.markets[instrument].stands_still:
        _drop_crossed(world, instrument, event_side)
        return
    while book.best(codes.BID) and book.best(codes.ASK) and book.best(codes.BID) >= book.best(codes.ASK):
        queues = [list(book.queue(side, book.best(side)).values()) for side in (codes.BID, codes.ASK)]
        bid, ask = (next((order for order in queue if order.external is None), None) for queue in queues)
        bid_level, ask_level = (next((o.external for o in queue if o.external is not None), None) for queue in queues)
        if bid and ask_level:
            _fill_crossed(world, bid, ask_level)
        elif ask and bid_level:
            _fill_crossed(world, ask, bid_level)
        elif bid_level and ask_level:
            book.remove_external(ask_level if event_side == codes.BID else bid_level)
            world.markets[instrument].crossed_levels += 1
        else:
            return


def _drop_crossed(world: World, instrument: int, event_side: int) -> None:
    """Nothing may fill: while the book is crossed and the recording too, levels opposite to the event's side go."""
    book = world.books[instrument]
    while 0 < book.best(codes.ASK) <= book.best(codes.BID):
        if not 0 < book.best_external(codes.ASK) <= book.best_external(codes.BID):
            return
        book.remove_external(book.externals[1 - event_side, book.best_external(1 - event_side)])
        world.markets[instrument].crossed_levels += 1


def _fill_crossed(world: World, maker: Order, level: ExternalLevel) -> None:
    if not check_reduce_only(world, maker):
        return
    part = level.parts[0]
    lots = min(maker.shown_lots, part.leaves_lots)
    fill_from_external(world, maker, lots, codes.EXTRAPOLATED if level.extrapolated else 0)
    consume(world, part, lots)
