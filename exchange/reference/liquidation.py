"""Liquidation, one step a firing: start and plan, reduce, takeover, ADL, end. Money in quanta, prices in ticks."""

from exchange import codes
from exchange.reference import adl, backstop, dutch, ledger, margin, stages, waterfall
from exchange.reference.arithmetic import ceil_div, fee, ppm_up, ratio_ppm
from exchange.reference.auction import take
from exchange.reference.matching import Taker, match_shadow
from exchange.reference.records import UNPLACED, Position, Unit
from exchange.reference.world import World

COUNTERPARTIES_PER_STEP = 1024
WEIGHTS_MAX = 2**31  # keeps equity times weight within the kernels' integers


def fire(world: World, unit: Unit, cause_seq: int) -> None:
    """One step of a unit's liquidation; `cause_seq` is the event that set the timer."""
    if unit.stage == codes.STAGE_DETECTED:
        _start(world, unit, cause_seq)
        return
    if unit.stage == codes.STAGE_REDUCE:
        stages.deepen(world, unit)
        if stages.is_auctioned(world, unit):
            make_plan(world, unit)
    leg = leg_at_work(world, unit)
    rechecked = unit.stage == codes.STAGE_REDUCE or unit.wallet.account == codes.INSURANCE
    recovered = rechecked and stages.has_recovered(world, unit)
    if leg is None or recovered:
        _end(world, unit)
    elif dutch.is_open(world, unit):
        dutch.look(world, unit)
    elif unit.stage == codes.STAGE_REDUCE and not stages.takes_over(world, unit):
        _reduce(world, unit, leg)
    elif unit.stage in (codes.STAGE_REDUCE, codes.STAGE_TAKEOVER):
        _take_over(world, unit, leg)
    else:
        _deleverage(world, unit, leg)


def legs(world: World, unit: Unit) -> list[Position]:
    return [position for position in unit.positions if margin.is_leg(world, position)]


def leg_at_work(world: World, unit: Unit) -> Position | None:
    """The first planned leg from the unit's place on."""
    planned = [leg for leg in legs(world, unit) if leg.bankruptcy_ticks and rank(world, leg) >= unit.next_rank]
    return min(planned, key=lambda leg: rank(world, leg), default=None)


def rank(world: World, leg: Position) -> tuple[int, int, int]:
    """Place of a leg: holdings apart from contracts unless all go as listed, then the venue's order, its instrument."""
    order, spot = world.policy.sell_order, world.contracts[leg.instrument].spot
    later = {codes.SELL_LAST: spot, codes.SELL_FIRST: not spot, codes.SELL_LISTED: False}[order]
    is_option = world.contracts[leg.instrument].option is not None
    rules = {codes.LEGS_LISTED: 0, codes.LEGS_FUTURES: int(is_option)}
    return int(later), rules.get(world.policy.leg_order, leg.place), leg.instrument


def _order_legs(world: World, unit: Unit) -> None:
    """Where a score orders the legs of a wallet: the largest first, then by instrument; as of now."""
    if unit.position is not None or unit.wallet.account == codes.INSURANCE:
        return
    if world.policy.leg_order in (codes.LEGS_LOSS, codes.LEGS_FREED):
        for position in unit.positions:
            position.place = UNPLACED
        ordered = sorted(legs(world, unit), key=lambda leg: (-_score(world, leg), leg.instrument))
        for place, leg in enumerate(ordered):
            leg.place = place


def _score(world: World, leg: Position) -> int:
    """Loss at the mark; or maintenance over what closing the leg costs there in fees."""
    if world.policy.leg_order == codes.LEGS_LOSS:
        return -margin.profit(world, leg)
    contract, value = world.contracts[leg.instrument], abs(margin.position_value(world, leg))
    fees = fee(value, max(0, contract.taker_ppb)) + ppm_up(value, contract.liquidation_ppm)
    return ratio_ppm(margin.alone(world, leg), max(1, fees))


def _start(world: World, unit: Unit, cause_seq: int) -> None:
    if margin.is_breached(world, unit):
        begin(world, unit, cause_seq)
    else:
        unit.stage = codes.STAGE_NONE


def begin(world: World, unit: Unit, cause_seq: int) -> None:
    """A new liquidation: its id, orders cancelled, its plan."""
    world.liquidation_seq += 1
    unit.liquidation_id = world.liquidation_seq
    lots = unit.position.lots if unit.position else 0
    mark = world.markets[unit.position.instrument].mark_sub if unit.position else 0
    world.emit(
        codes.LIQUIDATION_START,
        account=unit.wallet.account,
        instrument=unit.label,
        price=mark,
        lots=lots,
        money=margin.equity(world, unit),
        liquidation_id=unit.liquidation_id,
        cause_seq=cause_seq,
    )
    cancel_orders(world, unit, codes.CANCELLED_BY_LIQUIDATION, unit.liquidation_id)
    _plan(world, unit)


def cancel_orders(world: World, unit: Unit, code: int, liquidation_id: int = 0) -> None:
    """All live orders of a unit go, oldest first."""
    held = {position.instrument for position in unit.positions}
    for order in list(unit.wallet.orders.values()):
        if order.instrument in held and order.order_id in world.orders:
            world.emit_cancelled(order, code, liquidation_id)
            world.remove_order(order)


def _plan(world: World, unit: Unit) -> None:
    """Give each leg a bankruptcy price, and begin with the first."""
    make_plan(world, unit)
    _order_legs(world, unit)
    if not legs(world, unit):
        _end(world, unit)
        return
    is_fund = unit.wallet.account == codes.INSURANCE
    unit.next_rank = (0, 0, 0)
    _next_step(world, unit, codes.STAGE_ADL if is_fund else codes.STAGE_REDUCE)


def make_plan(world: World, unit: Unit) -> None:
    """Give each leg a bankruptcy price: the one at which its share of the unit's equity is gone."""
    for position in unit.positions:
        position.bankruptcy_ticks = 0
    held = legs(world, unit)
    equity = margin.equity(world, unit)
    weights = [margin.alone(world, leg) for leg in held]
    if margin.unit_maintenance(world, unit) == 0:
        weights = [abs(margin.position_value(world, leg)) for leg in held]
    while sum(weights) >= WEIGHTS_MAX:
        weights = [weight // 2 for weight in weights]
    for leg, weight in zip(held, weights, strict=True):
        worth = margin.position_value(world, leg) - equity * weight // sum(weights)
        rate_ppb = max(0, world.contracts[leg.instrument].taker_ppb) if world.policy.bankruptcy_fee else 0
        leg.bankruptcy_ticks = ticks_that_bring(world, leg, worth, rate_ppb)


def ticks_that_cost(world: World, leg: Position, money: int) -> int:
    """The worst price for the leg, by bisection, at which it still brings what it is worth less some money.

    Where no price does, the best one; where only an inverse short is worth nothing at any price, the worst one.
    """
    return ticks_that_bring(world, leg, margin.position_value(world, leg) - money)


def ticks_that_bring(world: World, leg: Position, worth: int, rate_ppb: int = 0) -> int:
    """The worst price for the leg at which it still brings some money, a fee paid."""
    contract = world.contracts[leg.instrument]
    bad, good = contract.ticks_min - 1, contract.ticks_max
    if leg.lots < 0:
        bad, good = contract.ticks_max + 1, contract.ticks_min
    while abs(good - bad) > 1:
        middle = (good + bad) // 2
        value = contract.trade_value(middle, leg.lots)
        if value - fee(abs(value), rate_ppb) >= worth:
            good = middle
        else:
            bad = middle
    return good


def _next_step(world: World, unit: Unit, stage: int) -> None:
    unit.stage = stage
    due = world.clock_ns + world.policy.order_delay_ns
    world.set_timer(due, codes.PRIORITY_LIQUIDATE, codes.LIQUIDATE, unit)


def _next_leg(world: World, unit: Unit, leg: Position) -> None:
    group, place, instrument = rank(world, leg)
    unit.next_rank = (group, place, instrument + 1)
    is_fund = unit.wallet.account == codes.INSURANCE
    _next_step(world, unit, codes.STAGE_ADL if is_fund else codes.STAGE_REDUCE)


def _reduce(world: World, unit: Unit, leg: Position) -> None:
    """Send the leg, or a share of it, to the book as an IOC limited at its bankruptcy price."""
    account, lots = unit.wallet.account, stages.order_lots(world, unit, leg)
    market, joins = world.markets[leg.instrument], world.policy.join_auctions and world.has_order_slot()
    if market.stands_still:
        world.waiting[leg.instrument].append(unit)
        if market.state == codes.STATE_HALTED or not joins:
            return
    side = codes.ASK if leg.lots > 0 else codes.BID
    limit = leg.bankruptcy_ticks if market.stands_still else stages.order_limit(world, unit, leg, side)
    is_killed = stages.is_killed(world, unit, leg, limit, lots)
    world.emit(
        codes.LIQUIDATION_ORDER,
        code=codes.FOK_UNFILLABLE if is_killed else codes.OK,
        account=account,
        instrument=leg.instrument,
        price=limit,
        lots=lots,
        money=margin.equity(world, unit),
        liquidation_id=unit.liquidation_id,
    )
    if is_killed:
        _take_over(world, unit, leg)
        return
    taker = Taker(account, 0, leg.instrument, side, limit, lots, codes.FORCED, unit.liquidation_id)
    taker.bankruptcy_ticks = leg.bankruptcy_ticks
    if market.stands_still:
        _join(world, unit, taker)
        return
    if world.policy.mode == codes.MODE_SHADOW:
        match_shadow(world, taker)
    else:
        take(world, taker)
    if market.stands_still and taker.lots:
        world.waiting[leg.instrument].append(unit)
        if world.policy.join_auctions and world.has_order_slot():
            _join(world, unit, taker)
    elif stages.goes_by_steps(world, unit):
        _end(world, unit)
    elif taker.lots:
        _next_step(world, unit, codes.STAGE_TAKEOVER)
    else:
        _next_leg(world, unit, leg)


def _join(world: World, unit: Unit, taker: Taker) -> None:
    """Let what is left of a liquidation order rest in an auction, reduce-only, under an id that no user can name."""
    flags, order_id = codes.REDUCE_ONLY | codes.FORCED, -unit.liquidation_id
    order = world.make_order(
        order_id, taker.account, taker.instrument, taker.side, taker.bankruptcy_ticks, taker.lots, flags
    )
    order.liquidation_id = unit.liquidation_id
    world.books[taker.instrument].join(order)
    world.orders[order_id] = unit.wallet.orders[order_id] = order


def _take_over(world: World, unit: Unit, leg: Position) -> None:
    """The backstop, then the fund takes what it may and can carry, unless it stands back."""
    contract = world.contracts[leg.instrument]
    backstop.take_over(world, leg)
    if not leg.lots:
        _next_leg(world, unit, leg)
        return
    if waterfall.stands_back(world, contract.asset):
        _next_step(world, unit, codes.STAGE_ADL)
        return
    mark = world.markets[leg.instrument].mark_sub
    loss = contract.trade_value(leg.bankruptcy_ticks, leg.lots) - contract.value(mark, leg.lots)
    rounding = 0 if contract.kind == codes.LINEAR else 1
    affordable, lots = max(0, waterfall.usable(world, contract.asset) - rounding), abs(leg.lots)
    taken = lots if loss <= affordable else affordable // ceil_div(loss, lots)
    if taken:
        _give_to_fund(world, unit, leg, taken)
    if taken == lots:
        _next_leg(world, unit, leg)
    else:
        _next_step(world, unit, codes.STAGE_ADL)


def _give_to_fund(world: World, unit: Unit, leg: Position, lots: int) -> None:
    asset = world.contracts[leg.instrument].asset
    signed = lots if leg.lots > 0 else -lots
    before = waterfall.fund_equity(world, asset)
    contract, mark = world.contracts[leg.instrument], world.markets[leg.instrument].mark_sub
    loss = contract.trade_value(leg.bankruptcy_ticks, signed) - contract.value(mark, signed)
    waterfall.count_use(world, asset, loss)
    ledger.trade(world, unit.wallet.account, leg.instrument, leg.bankruptcy_ticks, -signed, 0)
    ledger.trade(world, codes.INSURANCE, leg.instrument, leg.bankruptcy_ticks, signed, 0)
    if not world.waterfalls[asset].backstop:
        backstop.set_timer(world, leg.instrument)
    world.emit(
        codes.TAKEOVER,
        account=unit.wallet.account,
        counterparty=codes.INSURANCE,
        instrument=leg.instrument,
        price=leg.bankruptcy_ticks,
        lots=signed,
        money=before,
        liquidation_id=unit.liquidation_id,
    )


def _deleverage(world: World, unit: Unit, leg: Position) -> None:
    """Close the leg against opposite positions in the order of the ranking."""
    contract = world.contracts[leg.instrument]
    if contract.spot or world.waterfalls[contract.asset].trigger == codes.ADL_NEVER:  # nobody owes a holding
        _exhausted(world, unit, leg)
        return
    queue = adl.Queue(world, leg, unit.liquidation_id)
    for _ in range(COUNTERPARTIES_PER_STEP):
        found = queue.next()
        if found is None:
            break
        _close_against(world, unit, leg, *found, queue.ticks)
        if leg.lots == 0:
            _next_leg(world, unit, leg)
            return
    else:
        _next_step(world, unit, codes.STAGE_ADL)
        return
    if queue.is_exhausted:
        _exhausted(world, unit, leg)
    else:
        _next_step(world, unit, codes.STAGE_ADL)


def _close_against(world: World, unit: Unit, leg: Position, counterparty: Position, lots: int, ticks: int) -> None:
    signed = -lots if leg.lots > 0 else lots
    first, second, its_unit = unit.wallet.account, counterparty.wallet.account, counterparty.unit
    is_whole = lots == abs(counterparty.lots)
    if is_whole and its_unit.stage > codes.STAGE_REDUCE and leg_at_work(world, its_unit) is counterparty:
        its_unit.stage = codes.STAGE_REDUCE
    ledger.trade(world, first, leg.instrument, ticks, signed, 0)
    ledger.trade(world, second, leg.instrument, ticks, -signed, 0)
    for account, other, change in ((first, second, signed), (second, first, -signed)):
        world.emit(
            codes.ADL,
            account=account,
            counterparty=other,
            instrument=leg.instrument,
            price=ticks,
            lots=change,
            liquidation_id=unit.liquidation_id,
        )


def _exhausted(world: World, unit: Unit, leg: Position) -> None:
    """No counterparty is left: the fund takes the rest, and keeps its own rest, at a deficit."""
    asset = world.contracts[leg.instrument].asset
    is_fund = unit.wallet.account == codes.INSURANCE
    if not is_fund:
        _give_to_fund(world, unit, leg, abs(leg.lots))
    world.emit(
        codes.DEFICIT,
        account=codes.INSURANCE,
        instrument=leg.instrument,
        money=waterfall.fund_equity(world, asset),
        liquidation_id=unit.liquidation_id,
    )
    waterfall.socialise(world, unit, leg.instrument, unit.liquidation_id)
    if is_fund:
        unit.stage = codes.STAGE_NONE
        world.touched_funds.discard(asset)
    else:
        _next_leg(world, unit, leg)


def _end(world: World, unit: Unit) -> None:
    """Cover what a flat unit still owes, release isolated margin, and return to stage NONE."""
    wallet = unit.wallet
    has_legs = any(position.lots for position in unit.positions)  # one without a mark is no debt yet
    code = codes.RECOVERED
    if unit.driver is not None and not stages.has_recovered(world, unit):
        code = codes.REDUCED
    if unit.driver is not None:
        unit.standings[unit.driver].end()
    unit.driver = None
    if not has_legs and unit.pocket < 0 and wallet.account != codes.INSURANCE:
        paid = unit.pocket
        ledger.credit(world, codes.INSURANCE, wallet.asset, paid)
        waterfall.count_use(world, wallet.asset, -paid)
        if unit.position is None:
            wallet.cash = 0
        else:
            unit.position.isolated_margin = 0
        world.emit(
            codes.DEFICIT,
            account=wallet.account,
            counterparty=codes.INSURANCE,
            instrument=unit.label,
            money=paid,
            liquidation_id=unit.liquidation_id,
        )
        waterfall.socialise(world, unit, unit.label, unit.liquidation_id)
    elif not has_legs and unit.pocket < 0:
        waterfall.socialise(world, unit, unit.label, unit.liquidation_id)
    if unit.position is not None and unit.position.lots == 0:
        ledger.move_margin(unit.position, -unit.position.isolated_margin)
    world.emit(
        codes.LIQUIDATION_END,
        account=wallet.account,
        instrument=unit.label,
        money=margin.equity(world, unit),
        code=code if has_legs else codes.CLOSED,
        liquidation_id=unit.liquidation_id,
    )
    unit.stage = codes.STAGE_NONE
    world.touch(wallet)
