"""Assets in kind and the forced conversion of holdings. Holdings are lots of spot instruments, paid at once."""

from exchange import codes
from exchange.reference import ledger, margin
from exchange.reference.arithmetic import ceil_div, fee, ppm_up
from exchange.reference.auction import take
from exchange.reference.mark import band_limit
from exchange.reference.matching import Taker, match_shadow
from exchange.reference.orders import Reply
from exchange.reference.records import Contract, Event, Position, Unit, Wallet
from exchange.reference.world import World, require


def _spot(world: World, event: Event) -> Contract:
    contract = world.contract_of(event.instrument)
    require(bool(contract.spot), codes.NOT_SPOT)
    return contract


def apply_deposit_asset(world: World, event: Event) -> Reply:
    """Lots come in from outside, for no money, and open the account."""
    contract = _spot(world, event)
    is_user = codes.FIRST_USER <= event.account < world.policy.accounts
    require(is_user or event.account == codes.INSURANCE, codes.BAD_ACCOUNT)
    require(1 <= event.qty <= contract.position_max_lots, codes.BAD_LOTS)
    position = world.position(event.account, event.instrument)
    reached = margin.reachable_lots(position, codes.BID) + event.qty
    require(not is_user or reached <= contract.position_max_lots, codes.POSITION_LIMIT)
    interest = world.open_interest(event.instrument) + world.order_lots(event.instrument) + event.qty
    require(interest <= contract.open_interest_max_lots, codes.OPEN_INTEREST_CAP)
    position.wallet.is_open = True
    _move(world, event.account, event.instrument, event.qty)
    return Reply()


def apply_withdraw_asset(world: World, event: Event) -> Reply:
    """Lots leave that no ask offers, where initial margin is covered without them."""
    contract = _spot(world, event)
    wallet = world.open_wallet(event.account, contract.asset)
    require(1 <= event.qty <= contract.position_max_lots, codes.BAD_LOTS)
    position = wallet.positions.get(event.instrument)
    require(position is not None and event.qty <= margin.spare_lots(position), codes.INSUFFICIENT_HOLDING)
    require(wallet.unit.stage < codes.STAGE_REDUCE, codes.IN_LIQUIDATION)
    assert position is not None
    position.lots -= event.qty
    is_covered = margin.equity(world, wallet.unit) >= margin.wallet_margin(world, wallet)
    position.lots += event.qty
    require(is_covered, codes.INSUFFICIENT_BALANCE)
    _move(world, event.account, event.instrument, -event.qty)
    return Reply()


def _move(world: World, account: int, instrument: int, lots: int) -> None:
    ledger.trade(world, account, instrument, 0, lots, 0)
    ledger.trade(world, codes.EXTERNAL, instrument, 0, -lots, 0)


def _holdings(world: World, wallet: Wallet) -> list[Position]:
    """What a conversion of the wallet may sell, in its order."""
    held = [wallet.positions.get(k) for k in world.conversions[wallet.asset].instruments]
    return [p for p in held if p is not None and p.lots > 0 and world.markets[p.instrument].mark_sub]


def _is_short(world: World, wallet: Wallet) -> bool:
    """Whether the wallet's cash is too little, and something can be sold for it."""
    return wallet.cash < -world.conversions[wallet.asset].below and bool(_holdings(world, wallet))


def _set_timer(world: World, wallet: Wallet, delay_ns: int) -> None:
    world.converting[wallet.account, wallet.asset] = True
    world.set_timer(world.clock_ns + delay_ns, codes.PRIORITY_CONVERT, codes.CONVERT, wallet.unit)


def watch(world: World) -> None:
    """At the end of an event: each user whose cash is too little gets a timer, unless it is in liquidation."""
    for (account, asset), wallet in world.wallets.items():
        calm = wallet.unit.stage == codes.STAGE_NONE and (account, asset) not in world.converting
        if account >= codes.FIRST_USER and calm and _is_short(world, wallet):
            _set_timer(world, wallet, world.conversions[asset].delay_ns)


def convert(world: World, unit: Unit) -> None:
    """The timer: sell one holding after another until the cash is back; try again later if it is still too little."""
    wallet = unit.wallet
    terms = world.conversions[wallet.asset]
    del world.converting[wallet.account, wallet.asset]
    if unit.stage >= codes.STAGE_REDUCE:
        return
    if _is_short(world, wallet):
        for position in _holdings(world, wallet):
            if wallet.cash < -terms.target and not world.markets[position.instrument].stands_still:
                _sell(world, position)
        if _is_short(world, wallet):
            _set_timer(world, wallet, terms.retry_ns)


def _sell(world: World, position: Position) -> None:
    """Sell at once what the cash needs, if all of it went at the worst price."""
    wallet, instrument, contract = position.wallet, position.instrument, world.contracts[position.instrument]
    terms = world.conversions[wallet.asset]
    for order in [order for order in wallet.orders.values() if order.instrument == instrument]:
        if order.order_id in world.orders:  # else it went with its partner
            world.emit_cancelled(order, codes.CANCELLED_BY_CONVERSION)
            world.remove_order(order)
    limit, cash = band_limit(world, instrument, codes.ASK, terms.band_ppm), wallet.cash
    value = contract.trade_value(limit, 1)
    net = value - fee(value, max(contract.taker_ppb, 0)) - ppm_up(value, terms.charge_ppm)
    lots = min(position.lots, ceil_div(-terms.target - cash, net)) if net > 0 else position.lots
    taker = Taker(wallet.account, 0, instrument, codes.ASK, limit, lots, codes.CONVERTED)
    if world.policy.mode == codes.MODE_SHADOW:
        match_shadow(world, taker)
    else:
        take(world, taker)
    charge = ppm_up(max(0, wallet.cash - cash), terms.charge_ppm)
    if charge:
        ledger.credit(world, wallet.account, wallet.asset, -charge)
        ledger.credit(world, codes.INSURANCE, wallet.asset, charge)
    if taker.lots != lots:
        world.emit(
            codes.CONVERSION,
            account=wallet.account,
            counterparty=codes.INSURANCE,
            instrument=instrument,
            price=limit,
            lots=lots - taker.lots,
            money=charge,
        )
