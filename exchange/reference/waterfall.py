"""What the insurance fund bears, when it stands back, and who bears what it lacks. Money in quanta."""

from exchange import codes
from exchange.reference import ledger, margin
from exchange.reference.arithmetic import PPM, ceil_div
from exchange.reference.records import Position, Unit
from exchange.reference.settings import Deficit
from exchange.reference.world import World


def fund_equity(world: World, asset: int) -> int:
    return margin.equity(world, world.fund(asset).unit)


def stands_back(world: World, asset: int) -> bool:
    """Whether deleveraging comes before the fund now."""
    rules, fund, equity = world.waterfalls[asset], world.funds[asset], fund_equity(world, asset)
    if rules.trigger == codes.ADL_EQUITY:
        fund.deleveraging = equity < (rules.stop_at if fund.deleveraging else rules.start_below)
        return fund.deleveraging
    if rules.trigger == codes.ADL_DRAWDOWN:
        window = world.clock_ns // rules.window_ns + 1
        fund.peak = max(fund.peak, equity) if window == fund.window else equity
        fund.window = window
        allowed = max(0, fund.peak) * rules.drawdown_ppm // PPM if rules.drawdown_ppm else rules.drawdown
        return fund.peak - equity > allowed
    return rules.trigger == codes.ADL_FIRST


def usable(world: World, asset: int) -> int:
    """What the fund may bear losses with: its equity, or less where its use is bounded."""
    equity, rules = fund_equity(world, asset), world.waterfalls[asset]
    if not rules.interval_ns:
        return equity
    fund = world.funds[asset]
    used = fund.used if fund.interval == world.clock_ns // rules.interval_ns + 1 else 0
    return min(equity, rules.use_max - used)


def count_use(world: World, asset: int, money: int) -> None:
    """The fund bears more of the losses of this interval."""
    fund, interval_ns = world.funds[asset], world.waterfalls[asset].interval_ns
    if interval_ns:
        interval = world.clock_ns // interval_ns + 1
        fund.used = max(0, money) + (fund.used if interval == fund.interval else 0)
        fund.interval = interval


def socialise(world: World, unit: Unit, instrument: int, liquidation_id: int) -> None:
    """Note what the fund lacks and in which instrument others bear it, once the event is over."""
    asset = unit.wallet.asset
    lacking = -usable(world, asset)
    if world.waterfalls[asset].socialise == codes.SHARE_NONE or lacking <= 0:
        return
    fund = world.funds[asset]
    fund.uncovered, fund.used = lacking, fund.used - min(fund.used, lacking)
    held = [position.instrument for position in unit.positions]
    if unit.wallet.account == codes.INSURANCE:  # it may hold any
        held = [k for k, contract in enumerate(world.contracts) if contract.asset == asset]
    for candidate in [instrument] if instrument >= 0 else held:
        if _burdens(world, candidate):
            world.deficit = Deficit(candidate, lacking, liquidation_id)
            return


def _burdens(world: World, instrument: int) -> list[tuple[Position, int]]:
    """Who bears a deficit, in wallet order, and in proportion to what."""
    if world.contracts[instrument].spot:
        return []
    by_lots = world.waterfalls[world.contracts[instrument].asset].socialise == codes.SHARE_POSITIONS
    held = [
        (p, abs(p.lots) if by_lots else margin.profit(world, p))
        for p in world.positions_in(instrument)
        if p.wallet.account >= codes.FIRST_USER and p.lots and p.unit.stage < codes.STAGE_REDUCE
    ]
    return [(position, weight) for position, weight in held if weight > 0]


def finish(world: World) -> None:
    """Take the deficit that an event has left from those who bear it."""
    if world.deficit is None:
        return
    deficit, world.deficit = world.deficit, None
    asset, burdens = world.contracts[deficit.instrument].asset, _burdens(world, deficit.instrument)
    total = sum(weight for _, weight in burdens)
    if world.waterfalls[asset].socialise == codes.SHARE_POSITIONS:
        dues = [ceil_div(deficit.money, total) * weight for _, weight in burdens]
        received = deficit.money
    else:
        received = left = min(deficit.money, total)
        dues = []
        for _, weight in burdens[:-1]:
            dues.append(min(left, ceil_div(weight * received, total)))
            left -= dues[-1]
        dues.append(left)
    for (position, _), due in zip(burdens, dues, strict=True):
        if due:
            if world.waterfalls[asset].socialise == codes.SHARE_POSITIONS:
                ledger.pay_pocket(world, position, -due)
            else:
                position.entry_value += due
            _emit(world, deficit, position.wallet.account, codes.INSURANCE, position.lots, -due)
    ledger.credit(world, codes.INSURANCE, asset, received)
    ledger.credit(world, codes.RESIDUE, asset, sum(dues) - received)
    world.funds[asset].uncovered -= received
    _emit(world, deficit, codes.INSURANCE, 0, 0, received)
    if sum(dues) > received:
        _emit(world, deficit, codes.RESIDUE, 0, 0, sum(dues) - received)


def _emit(world: World, deficit: Deficit, account: int, counterparty: int, lots: int, money: int) -> None:
    world.emit(
        codes.SOCIALISED,
        account=account,
        counterparty=counterparty,
        instrument=deficit.instrument,
        price=world.markets[deficit.instrument].mark_sub,
        lots=lots,
        money=money,
        liquidation_id=deficit.liquidation_id,
    )
