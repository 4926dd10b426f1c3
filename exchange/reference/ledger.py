"""Every movement of money and lots. A trade moves entry value; closing turns it into cash."""

from exchange import codes
from exchange.reference.arithmetic import PPB, clamp, close_share, ppm_down, ppm_up
from exchange.reference.records import Contract, Position
from exchange.reference.requirement import initial
from exchange.reference.resting import note_reduced
from exchange.reference.world import World


def trade(world: World, account: int, instrument: int, ticks: int, lots: int, fee: int) -> None:
    """Book a trade of signed lots at a price in ticks; the pocket pays the fee (money), which is credited elsewhere."""
    trade_at(world, account, instrument, ticks * world.contracts[instrument].mark_per_tick, lots, fee)


def trade_at(world: World, account: int, instrument: int, price_sub: int, lots: int, fee: int) -> None:
    """Book a trade at a price in sub-ticks."""
    contract = world.contracts[instrument]
    position = world.position(account, instrument)
    world.touch(position.wallet)
    note_reduced(world, position)
    if contract.spot:  # a holding is paid at once
        position.lots += lots
        position.wallet.cash -= contract.value(price_sub, lots) + fee
        return
    before = abs(position.lots)
    margin_before = position.isolated_margin
    value = contract.value(price_sub, lots)
    closed, closed_value, pnl = 0, 0, 0
    if position.lots * lots < 0:
        sign = 1 if lots > 0 else -1
        closed = min(abs(lots), before)
        closed_value = contract.value(price_sub, sign * closed)
        share = close_share(position.entry_value, before, closed)
        pnl = -closed_value - share
        position.entry_value -= share
        position.lots += sign * closed
        lots -= sign * closed
    position.entry_value += value - closed_value
    position.lots += lots
    if position.mode == codes.CROSS:
        position.wallet.cash += pnl - fee
        return
    position.isolated_margin += pnl
    if lots == 0:
        position.isolated_margin -= fee
        _release(position, margin_before, before, closed, pnl - fee)
        return
    if closed:
        _release(position, margin_before, before, closed, pnl)
    position.isolated_margin -= fee
    opened, whole = abs(value - closed_value), abs(position.entry_value)
    move_margin(position, initial(contract, 0, opened, whole, position.lots, position.leverage_e2) + max(fee, 0))


def _release(position: Position, margin_before: int, lots_before: int, closed: int, gain: int) -> None:
    """Return to cash the closed part's margin and gain (money); all of a positive margin when flat."""
    most = max(0, position.isolated_margin)
    released = most if position.lots == 0 else clamp(margin_before * closed // lots_before + gain, 0, most)
    move_margin(position, -released)


def liquidation_charges(
    world: World, contract: Contract, at_bankruptcy: int, value: int, fee: int, notional: int
) -> tuple[int, int]:
    """What is charged of a forced trade of some value: a fee, and what the fund gets, or (negative) pays.

    Values signed as the change of the position. Both stay within the gain over the bankruptcy price and what that
    leaves for the fee; the latter is a rate of `notional`.
    """
    gain = at_bankruptcy - value
    if gain < 0:
        return 0, gain
    if contract.kind != codes.LINEAR:
        gain = max(0, gain - 1)
    kept = abs(at_bankruptcy) * max(0, contract.taker_ppb) // PPB if world.policy.bankruptcy_fee else 0
    fee = min(fee, gain + kept)
    rest = gain - (max(0, fee - kept) if fee > 0 else fee)
    least, most = (ppm_down(rest, share) for share in (world.policy.fund_least_ppm, world.policy.fund_most_ppm))
    return fee, clamp(ppm_up(notional, contract.liquidation_ppm), least, most)


def move_margin(position: Position, money: int) -> None:
    """Move money from the wallet's cash into the isolated margin; out of it when negative."""
    position.wallet.cash -= money
    position.isolated_margin += money


def pay_pocket(world: World, position: Position, money: int) -> None:
    """Add money to the pocket that the position's profits go to."""
    if position.mode == codes.ISOLATED:
        position.isolated_margin += money
    else:
        position.wallet.cash += money
    world.touch(position.wallet)


def credit(world: World, account: int, asset: int, money: int) -> None:
    """Add money to the cash of an account."""
    wallet = world.wallet(account, asset)
    wallet.cash += money
    world.touch(wallet)
