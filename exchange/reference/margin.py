"""Equity, health, exposure and admission, each computed from scratch. Results are money in quanta."""

from exchange import codes
from exchange.reference import grid, requirement
from exchange.reference.arithmetic import fee, ppm_up
from exchange.reference.records import Order, Position, Unit, Wallet
from exchange.reference.world import World, require


def position_value(world: World, position: Position) -> int:
    """Signed value at mark; 0 without a mark."""
    return world.contracts[position.instrument].value(world.markets[position.instrument].mark_sub, position.lots)


def profit(world: World, position: Position) -> int:
    """Unrealised profit at mark; 0 without a mark."""
    if world.markets[position.instrument].mark_sub == 0:
        return 0
    return position_value(world, position) - position.entry_value


def maintenance(world: World, position: Position) -> int:
    """Maintenance margin of one position; the insurance fund has none."""
    if position.wallet.account == codes.INSURANCE:
        return 0
    contract = world.contracts[position.instrument]
    if contract.option is not None:
        held = contract.value(contract.option.maintenance_sub, 1) * -position.lots
        return position_value(world, position) if position.lots > 0 else held
    if world.markets[position.instrument].mark_sub == 0 or position.lots == 0:
        return 0
    return requirement.maintenance(contract, position, abs(position_value(world, position)))


def equity(world: World, unit: Unit) -> int:
    """Pocket plus unrealised profit."""
    return unit.pocket + sum(profit(world, position) for position in unit.positions if position.lots)


def unit_maintenance(world: World, unit: Unit) -> int:
    """Maintenance margin of a unit: by the grid for what it holds, of the rest position by position."""
    whole = grid.maintenance(world, unit.wallet) if unit.position is None and unit.wallet.portfolio else 0
    rest = [position for position in unit.positions if position.lots and grid.is_alone(world, position)]
    return whole + sum(maintenance(world, position) for position in rest)


def alone(world: World, position: Position) -> int:
    """What a leg alone must hold: its weight in a plan."""
    own = maintenance(world, position) if grid.is_alone(world, position) else 0
    return own + (grid.alone(world, position) if grid.is_held(world, position) else 0)


def is_leg(world: World, position: Position) -> bool:
    """Whether the position is something a liquidation can close: lots and a mark. The fund keeps its holdings."""
    if world.contracts[position.instrument].spot and position.wallet.account == codes.INSURANCE:
        return False
    return position.lots != 0 and world.markets[position.instrument].mark_sub != 0


def is_breached(world: World, unit: Unit) -> bool:
    """Whether equity is below maintenance. The insurance fund is breached only while it holds a leg."""
    return equity(world, unit) < unit_maintenance(world, unit) and can_act(world, unit)


def can_act(world: World, unit: Unit) -> bool:
    """Whether a liquidation finds a leg, or, of a user who holds nothing, perhaps a debt."""
    held = [position for position in unit.positions if position.lots]
    if not held:
        return unit.wallet.account != codes.INSURANCE
    return any(is_leg(world, position) for position in held)


def open_orders(position: Position, side: int) -> list[Order]:
    """Live orders of one side that count as exposure: neither reduce-only nor waiting for a trigger."""
    return [
        order
        for order in position.wallet.orders.values()
        if order.instrument == position.instrument
        and order.side == side
        and not order.flags & (codes.REDUCE_ONLY | codes.PARKED)
    ]


def order_lots(position: Position, side: int) -> int:
    """Lots that the account's live orders of one side may add."""
    return sum(order.leaves_lots for order in open_orders(position, side))


def order_value(world: World, position: Position, side: int) -> int:
    """Value of those orders at their limits."""
    contract = world.contracts[position.instrument]
    return sum(contract.notional(order.ticks, order.leaves_lots) for order in open_orders(position, side))


def exposure(world: World, position: Position, bid_value: int = 0, ask_value: int = 0) -> int:
    """Largest notional that position and orders may become, with further value added to either side.

    Where the instrument's rule is the sum: both sides together.
    """
    held = abs(position_value(world, position)) * (1 if position.lots > 0 else -1)
    bids = order_value(world, position, codes.BID) + bid_value
    asks = order_value(world, position, codes.ASK) + ask_value
    if world.contracts[position.instrument].model.order_rule == codes.ORDERS_SUM:
        return abs(held) + bids + asks
    return max(abs(held + bids), abs(held - asks))


def initial(world: World, position: Position, exposed: int, lots: int, leverage_e2: int) -> int:
    """Initial margin of an exposure of signed lots in the position's instrument."""
    contract = world.contracts[position.instrument]
    interest = interest_value(world, position.instrument)
    return requirement.initial(contract, interest, exposed, exposed, lots, leverage_e2)


def interest_value(world: World, instrument: int) -> int:
    """Open interest at the mark (money)."""
    return abs(world.contracts[instrument].value(world.markets[instrument].mark_sub, world.open_interest(instrument)))


def order_margin(
    world: World, position: Position, leverage_e2: int, side: int = 0, value: int = 0, lots: int = 0
) -> int:
    """Initial margin that a position with its orders asks of its wallet's equity at a leverage (hundredths), with
    value and lots of one more order of a side."""
    contract, mark_sub = world.contracts[position.instrument], world.markets[position.instrument].mark_sub
    if contract.option is not None:
        bid, ask = ((value, lots), 0) if side == codes.BID else ((0, 0), lots)
        return option_margin(world, position, bid, ask)
    values = [order_value(world, position, k) + (value if k == side else 0) for k in (codes.BID, codes.ASK)]
    counts = [order_lots(position, k) + (lots if k == side else 0) for k in (codes.BID, codes.ASK)]
    premium = open_premium(world, position, values, counts)
    if contract.model.orders_at_mark:
        values = [max(limits, abs(contract.value(mark_sub, k))) for limits, k in zip(values, counts, strict=True)]
    held = abs(position_value(world, position)) * (1 if position.lots > 0 else -1)
    sums = contract.model.order_rule == codes.ORDERS_SUM
    if sums:
        longs, shorts = max(0, held) + values[0], max(0, -held) + values[1]
        rising, falling = max(0, position.lots) + counts[0], min(0, position.lots) - counts[1]
    else:
        longs, shorts = abs(held + values[0]), abs(held - values[1])
        rising, falling = position.lots + counts[0], position.lots - counts[1]
    asked = [
        initial(world, position, longs, rising, leverage_e2),
        initial(world, position, shorts, falling, leverage_e2),
    ]
    needed = sum(asked) if sums else max(asked)
    if position.mode == codes.ISOLATED:
        needed = max(0, needed - initial(world, position, abs(held), position.lots, leverage_e2))
    return needed + premium


def open_premium(world: World, position: Position, values: list[int], counts: list[int]) -> int:
    """What the orders of each side, taken together, would lose at the mark; where the rule of orders says so."""
    contract = world.contracts[position.instrument]
    if contract.model.order_rule != codes.ORDERS_PREMIUM:
        return 0
    mark_sub = world.markets[position.instrument].mark_sub
    sign = 1 if contract.kind == codes.LINEAR else -1
    bought = sign * values[0] - contract.value(mark_sub, counts[0])
    sold = -sign * values[1] - contract.value(mark_sub, -counts[1])
    return max(0, bought) + max(0, sold)


def option_margin(world: World, position: Position, bids: tuple[int, int] = (0, 0), asks: int = 0) -> int:
    """What a position in an option and its orders hold, with a further bid (value, lots) or ask (lots)."""
    contract = world.contracts[position.instrument]
    assert contract.option is not None
    bid_lots, ask_lots = order_lots(position, codes.BID) + bids[1], order_lots(position, codes.ASK) + asks
    paid = order_value(world, position, codes.BID) + bids[0] if position.lots + bid_lots > 0 else 0
    short_lots = max(0, ask_lots - position.lots)
    held = position_value(world, position) if position.lots > 0 else 0
    return paid + held + short_lots * contract.value(contract.option.initial_sub, 1)


def _only_closes(position: Position, side: int, lots: int) -> bool:
    held = -position.lots if side == codes.BID else position.lots
    return order_lots(position, side) + lots <= held


def wallet_margin(world: World, wallet: Wallet, without: Position | None = None) -> int:
    """Initial margin of all positions and orders of a wallet, one position left out if named."""
    if wallet.portfolio:
        rest = [position for position in wallet.positions.values() if grid.is_alone(world, position)]
        own = sum(_required(world, position) for position in rest if position is not without)
        return own + grid.initial(world, wallet)
    return sum(_required(world, position) for position in wallet.positions.values() if position is not without)


def _required(world: World, position: Position) -> int:
    """Initial margin of a position with its orders; of a holding its haircut, and all that its bids would pay."""
    contract = world.contracts[position.instrument]
    if contract.spot:
        extra = ppm_up(abs(position_value(world, position)), contract.initial_ppm)
        return maintenance(world, position) + extra + order_value(world, position, codes.BID)
    return order_margin(world, position, position.leverage_e2)


def available(world: World, wallet: Wallet) -> int:
    """What may leave the wallet."""
    spots = [p for p in wallet.positions.values() if world.contracts[p.instrument].spot]
    unspent = wallet.cash - sum(order_value(world, position, codes.BID) for position in spots)
    return min(unspent, equity(world, wallet.unit) - wallet_margin(world, wallet))


def spare_lots(position: Position) -> int:
    """Lots of a holding that no resting ask offers, reduce-only ones included."""
    asks = [o for o in position.wallet.orders.values() if (o.instrument, o.side) == (position.instrument, codes.ASK)]
    return position.lots - sum(order.leaves_lots for order in asks if not order.is_parked)


def reachable_lots(position: Position, side: int) -> int:
    """Lots the position could hold on one side if its open orders there fill; an opposite position does not offset."""
    held = position.lots if side == codes.BID else -position.lots
    return max(0, held) + order_lots(position, side)


def check_admission(world: World, position: Position, side: int, limit_ticks: int, lots: int) -> None:
    """Refuse an order that is not reduce-only and would pass a limit or its wallet's equity."""
    contract = world.contracts[position.instrument]
    require(reachable_lots(position, side) + lots <= contract.position_max_lots, codes.POSITION_LIMIT)
    interest = world.open_interest(position.instrument) + world.order_lots(position.instrument) + lots
    require(interest <= contract.open_interest_max_lots, codes.OPEN_INTEREST_CAP)
    value = contract.notional(limit_ticks, lots)
    if contract.spot and side == codes.ASK:
        require(lots <= spare_lots(position), codes.INSUFFICIENT_HOLDING)
    elif contract.spot:
        cost = value + fee(value, max(contract.taker_ppb, 0))
        require(cost <= available(world, position.wallet), codes.INSUFFICIENT_BALANCE)
    if grid.is_held(world, position):
        _check_grid(world, position, side, limit_ticks, lots)
        return
    if contract.spot:
        return
    added = (value, 0) if side == codes.BID else (0, value)
    exposed = exposure(world, position, *added)
    if _only_closes(position, side, lots) if contract.option else exposed <= exposure(world, position):
        return
    limit = contract.exposure_limit(position.leverage_e2)
    require(limit is None or exposed <= limit, codes.LEVERAGE_TIER)
    change = lots if side == codes.BID else -lots
    at_mark = contract.value(world.markets[position.instrument].mark_sub, change)
    open_loss = max(0, contract.trade_value(limit_ticks, change) - at_mark)
    if contract.option is not None and side == codes.BID:
        open_loss = 0  # the bid is paid in full
    if contract.model.order_rule == codes.ORDERS_PREMIUM:
        open_loss = 0
    fee_reserve = fee(value, max(contract.taker_ppb, 0))
    needed = wallet_margin(world, position.wallet, without=position)
    needed += order_margin(world, position, position.leverage_e2, side, value, lots)
    free = equity(world, position.wallet.unit) - open_loss - fee_reserve
    require(free >= needed, codes.INSUFFICIENT_MARGIN)


def _check_grid(world: World, position: Position, side: int, limit_ticks: int, lots: int) -> None:
    """Refuse an order that opens in a portfolio without cover.

    That is initial margin, or maintenance where the order asks for no more of the former than before.
    """
    contract, wallet = world.contracts[position.instrument], position.wallet
    change = lots if side == codes.BID else -lots
    at_mark = contract.value(world.markets[position.instrument].mark_sub, change)
    cost = max(0, contract.trade_value(limit_ticks, change) - at_mark)
    cost += fee(contract.notional(limit_ticks, lots), max(contract.taker_ppb, 0))
    before = grid.initial(world, wallet)
    after = grid.initial(world, wallet, (position, side, lots))
    total = wallet_margin(world, wallet) - before + after
    if contract.spot and side == codes.BID:
        total += contract.notional(limit_ticks, lots)  # which it would pay
    if after <= before:
        if _only_closes(position, side, lots):
            return
        total = min(total, unit_maintenance(world, wallet.unit))
    require(equity(world, wallet.unit) - cost >= total, codes.INSUFFICIENT_MARGIN)
