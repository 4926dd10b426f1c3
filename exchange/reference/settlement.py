"""Listing, expiry and settlement of instruments. Prices in sub-ticks."""

from exchange import codes, config
from exchange.reference import auction, index, ledger, options
from exchange.reference.arithmetic import ppm_up
from exchange.reference.liquidation import leg_at_work
from exchange.reference.orders import Reply
from exchange.reference.records import Event, Position
from exchange.reference.world import World, require


def begin(world: World, venue: config.Venue) -> None:
    """Set the first timers: an instrument's listing, or its first sample."""
    for instrument, terms in enumerate(venue.instruments):
        if terms.life.listed_ns:
            world.markets[instrument].state = codes.STATE_UNLISTED
            world.set_timer(terms.life.listed_ns, codes.PRIORITY_LIFE, codes.LIFE_TICK, instrument)
        else:
            _set_timer(world, instrument)


def _set_timer(world: World, instrument: int) -> None:
    life = world.lives[instrument]
    to_come = life.terms.samples - life.due
    if life.terms.expiry_ns and to_come:
        step_ns = life.terms.window_ns // life.terms.samples
        due_ns = life.terms.expiry_ns - (to_come - 1) * step_ns
        world.set_timer(due_ns, codes.PRIORITY_LIFE, codes.LIFE_TICK, instrument)


def fire(world: World, instrument: int) -> None:
    """The listing of an instrument, or a sample of its index; the last one settles it."""
    life, market = world.lives[instrument], world.markets[instrument]
    if market.state == codes.STATE_UNLISTED:
        opens = codes.STATE_AUCTION if world.auctions[instrument].opening else codes.STATE_CONTINUOUS
        auction.change_state(world, instrument, opens)
        _set_timer(world, instrument)
        return
    life.due += 1
    source = options.sampled(world, instrument)
    index.refresh(world, source)
    if world.markets[source].index_sub:
        life.samples_sub.append(world.markets[source].index_sub)
    if life.due < life.terms.samples:
        _set_timer(world, instrument)
    else:
        _close(world, instrument, _known_price(world, instrument))
        finish(world)


def apply_settle(world: World, event: Event) -> Reply:
    """Settle an instrument at the price stated, or at the one that is known; money moves once it is answered."""
    contract = world.contract_alone(event.instrument)
    require(event.price in (0, contract.clip_sub(event.price)), codes.BAD_PRICE)
    require(world.lives[event.instrument].price_sub is None, codes.SETTLED)
    price_sub = event.price or _known_price(world, event.instrument)
    require(price_sub is not None, codes.NO_MARK)
    _close(world, event.instrument, price_sub)
    return Reply()


def _known_price(world: World, instrument: int) -> int | None:
    """Average of the samples, else index, mark or last price, and of an option its payoff; None when none is known."""
    samples, source = world.lives[instrument].samples_sub, options.sampled(world, instrument)
    market, contract = world.markets[source], world.contracts[source]
    average = sum(samples) // len(samples) if samples else 0
    known = average or market.index_sub or market.mark_sub or market.last_ticks * contract.mark_per_tick
    if known and source != instrument:
        return options.payoff_sub(world, instrument, known)
    return known or None


def _close(world: World, instrument: int, price_sub: int | None) -> None:
    """The market closes for good: an auction is forgotten, legs that wait for it go on."""
    life = world.lives[instrument]
    if world.markets[instrument].state == codes.STATE_AUCTION:
        auction.forget(world, instrument)
    world.drop_timers(codes.LIFE_TICK, instrument)
    auction.change_state(world, instrument, codes.STATE_SETTLED)
    auction.wake(world, instrument)
    life.price_sub = price_sub
    if price_sub is not None:
        world.emit(codes.SETTLEMENT_PRICE, instrument=instrument, price=price_sub, money=len(life.samples_sub))
    world.settling = instrument


def finish(world: World) -> None:
    """Cancel the orders and close the positions of the instrument that is being settled, wallet after wallet."""
    if world.settling is None:
        return
    instrument, world.settling = world.settling, None
    price_sub, rest = world.lives[instrument].price_sub, 0
    for wallet in world.wallets.values():
        for order in list(wallet.orders.values()):
            if order.instrument == instrument and order.order_id in world.orders:
                world.emit_cancelled(order, codes.CANCELLED_BY_SETTLEMENT, order.liquidation_id)
                world.remove_order(order)
        position = wallet.positions.get(instrument)
        if position is not None and position.lots and price_sub is not None:
            rest += _settle(world, position, price_sub)
    ledger.credit(world, codes.RESIDUE, world.contracts[instrument].asset, -rest)


def _settle(world: World, position: Position, price_sub: int) -> int:
    """Close one position at the settlement price; returns what it was worth there."""
    contract, account, unit = world.contracts[position.instrument], position.wallet.account, position.unit
    if account != codes.INSURANCE and unit.stage > codes.STAGE_REDUCE and leg_at_work(world, unit) is position:
        unit.stage = codes.STAGE_REDUCE
    value, fee = contract.value(price_sub, position.lots), 0
    if account >= codes.FIRST_USER:
        fee = ppm_up(abs(value), world.lives[position.instrument].terms.fee_ppm)
    profit, lots = value - position.entry_value - fee, position.lots
    position.lots = position.entry_value = 0
    ledger.pay_pocket(world, position, profit)
    ledger.credit(world, codes.FEES, contract.asset, fee)
    if position.mode == codes.ISOLATED:
        ledger.move_margin(position, -max(0, position.isolated_margin))
    world.emit(
        codes.SETTLEMENT,
        account=account,
        instrument=position.instrument,
        price=price_sub,
        lots=lots,
        money=profit,
        liquidation_id=unit.liquidation_id if unit.stage >= codes.STAGE_REDUCE else 0,
    )
    return value
