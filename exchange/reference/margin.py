"""Equity, health, exposure and admission, each computed from scratch. Results are money in quanta."""

from exchange import codes
from exchange.reference.arithmetic import initial_margin, ppm_up
from exchange.reference.records import Order, Position, Unit, Wallet
from exchange.reference.world import World, require

UNCHECKED = (codes.EXTERNAL, codes.FEES, codes.RESIDUE)


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
    return world.contracts[position.instrument].maintenance(abs(position_value(world, position)))


def equity(world: World, unit: Unit) -> int:
    """Pocket plus unrealised profit."""
    return unit.pocket + sum(profit(world, position) for position in unit.positions if position.lots)


def is_leg(world: World, position: Position) -> bool:
    """Whether the position is something a liquidation can close: lots and a mark."""
    return position.lots != 0 and world.markets[position.instrument].mark_sub != 0


def is_breached(world: World, unit: Unit) -> bool:
    """Whether equity is below maintenance. The insurance fund is breached only while it holds a leg."""
    held = [position for position in unit.positions if position.lots]
    health = unit.pocket
    for position in held:
        health += profit(world, position) - maintenance(world, position)
    if health >= 0:
        return False
    if not held:
        return unit.wallet.account != codes.INSURANCE
    return any(is_leg(world, position) for position in held)


def detect(world: World) -> None:
    """Scan every unit and start the liquidation of each breached one that is at stage NONE."""
    for wallet in world.wallets.values():
        if wallet.account in UNCHECKED:
            continue
        if wallet.account == codes.INSURANCE and wallet.asset not in world.touched_funds:
            continue
        isolated = [p.isolated_unit for p in wallet.positions.values() if p.mode == codes.ISOLATED]
        for unit in (wallet.unit, *isolated):
            if unit.stage == codes.STAGE_NONE and is_breached(world, unit):
                unit.stage = codes.STAGE_DETECTED
                due = world.clock_ns + world.policy.detection_delay_ns
                world.set_timer(due, codes.PRIORITY_LIQUIDATE, codes.LIQUIDATE, unit)
    world.touched_funds.clear()


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
    """Largest notional that position and orders may become, with further value added to either side."""
    held = abs(position_value(world, position)) * (1 if position.lots > 0 else -1)
    bids = order_value(world, position, codes.BID) + bid_value
    asks = order_value(world, position, codes.ASK) + ask_value
    return max(abs(held + bids), abs(held - asks))


def order_margin(world: World, position: Position, exposed: int, leverage_e2: int) -> int:
    """Initial margin that a position asks of its wallet's equity at an exposure and leverage (hundredths)."""
    needed = initial_margin(exposed, leverage_e2)
    if position.mode == codes.ISOLATED:
        needed = max(0, needed - initial_margin(abs(position_value(world, position)), leverage_e2))
    return needed


def wallet_margin(world: World, wallet: Wallet, without: Position | None = None) -> int:
    """Initial margin of all positions and orders of a wallet, one position left out if named."""
    return sum(
        order_margin(world, position, exposure(world, position), position.leverage_e2)
        for position in wallet.positions.values()
        if position is not without
    )


def available(world: World, wallet: Wallet) -> int:
    """What may leave the wallet."""
    return min(wallet.cash, equity(world, wallet.unit) - wallet_margin(world, wallet))


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
    added = (value, 0) if side == codes.BID else (0, value)
    exposed = exposure(world, position, *added)
    if exposed <= exposure(world, position):
        return
    limit = contract.exposure_limit(position.leverage_e2)
    require(limit is None or exposed <= limit, codes.LEVERAGE_TIER)
    change = lots if side == codes.BID else -lots
    at_mark = contract.value(world.markets[position.instrument].mark_sub, change)
    open_loss = max(0, contract.trade_value(limit_ticks, change) - at_mark)
    fee_reserve = ppm_up(value, max(contract.taker_ppm, 0))
    needed = wallet_margin(world, position.wallet, without=position)
    needed += order_margin(world, position, exposed, position.leverage_e2)
    free = equity(world, position.wallet.unit) - open_loss - fee_reserve
    require(free >= needed, codes.INSUFFICIENT_MARGIN)
