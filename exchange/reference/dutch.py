"""Dutch auctions of units in liquidation: lots of a leg for a share of a price, or a share of all legs for money."""

import math
from fractions import Fraction

from exchange import codes
from exchange.reference import ledger, margin, stages
from exchange.reference.arithmetic import PPM, ceil_div, clamp, close_share, ppm_up
from exchange.reference.orders import Reply
from exchange.reference.records import Event, Position, Unit
from exchange.reference.settings import Stage
from exchange.reference.world import Refused, World, require

PPB = 10**9


def value_of(curve: list[tuple[int, int]], after_ns: int) -> int:
    """A curve's value in ppb, so many ns after the start of the auction: linear between points, flat outside them."""
    if not curve:
        return 0
    passed = [point for point in curve if point[0] <= after_ns]
    to_come = [point for point in curve if point[0] > after_ns]
    if not passed or not to_come:
        return 1000 * (passed[-1] if passed else to_come[0])[1]
    (begin, low), (end, high) = passed[-1], to_come[0]
    exact = Fraction(1000 * (high - low) * (after_ns - begin), end - begin)
    return 1000 * low + math.floor(exact + Fraction(1, 2))


def _age(world: World, unit: Unit) -> int:
    assert unit.driver is not None
    return world.clock_ns - unit.standings[unit.driver].began_ns


def is_open(world: World, unit: Unit) -> bool:
    """Whether takers may have something of the unit."""
    stage = stages.driving(world, unit)
    if stage is None or stage.action != codes.STAGE_AUCTION or unit.stage != codes.STAGE_REDUCE:
        return False
    return _age(world, unit) < stage.duration_ns


def look(world: World, unit: Unit) -> None:
    """The venue looks at an auction: the next standing bid may be made; then it waits, at most until the end."""
    stage = stages.driving(world, unit)
    assert stage is not None and unit.driver is not None
    standing = unit.standings[unit.driver]
    if standing.bid < len(stage.bids):
        concession_ppm, share_ppm = stage.bids[standing.bid]
        if value_of(stage.concession, _age(world, unit)) >= 1000 * concession_ppm:
            standing.bid += 1
            _bid(world, unit, stage, share_ppm)
    due = world.clock_ns + min(stage.period_ns, stage.duration_ns - _age(world, unit))
    world.set_timer(due, codes.PRIORITY_LIQUIDATE, codes.LIQUIDATE, unit)


def _bid(world: World, unit: Unit, stage: Stage, share_ppm: int) -> None:
    legs = _offered(world, unit)
    if stage.concession_from == codes.CONCEDE_EQUITY:
        legs = legs[:1]
    for leg in legs:
        wallet = world.wallets.get((stage.bidder, unit.wallet.asset))
        if wallet is None or not wallet.is_open or stage.bidder == unit.wallet.account:
            continue
        try:
            take(world, leg, stage.bidder, ppm_up(abs(leg.lots), share_ppm))
        except Refused:
            continue


def _offered(world: World, unit: Unit) -> list[Position]:
    """Legs that are contracts."""
    held = [position for position in unit.positions if margin.is_leg(world, position)]
    return [leg for leg in held if not world.contracts[leg.instrument].spot]


def apply_take(world: World, event: Event) -> Reply:
    """Take lots of what is auctioned of the account in `order_id`."""
    contract = world.contract_alone(event.instrument)
    world.open_wallet(event.account, contract.asset)
    require(event.account != event.order_id, codes.BAD_ACCOUNT)
    require(1 <= event.qty <= contract.order_max_lots, codes.BAD_LOTS)
    owner = world.wallets.get((event.order_id, contract.asset))
    require(owner is not None and owner.is_open and owner.account >= codes.FIRST_USER, codes.NOT_OFFERED)
    leg = world.find_position(event.order_id, event.instrument)
    if leg is None or not margin.is_leg(world, leg) or not is_open(world, leg.unit):
        raise Refused(codes.NOT_OFFERED)
    return Reply(lots=take(world, leg, event.account, event.qty))


def take(world: World, leg: Position, account: int, wanted: int) -> int:
    """Let an account have lots of a leg, and as much of all others where the unit is sold as a whole; how many."""
    stage = stages.driving(world, leg.unit)
    assert stage is not None
    require(not stages.has_recovered(world, leg.unit), codes.NOT_OFFERED)
    if stage.concession_from == codes.CONCEDE_EQUITY:
        return _take_share(world, leg, stage, account, wanted)
    return _take_leg(world, leg, stage, account, wanted)


def taker_of(world: World, account: int, instrument: int) -> Position:
    """The position that lots go to."""
    require(not world.markets[instrument].stands_still, codes.HALTED)
    position = world.position(account, instrument)
    require(position.mode == codes.CROSS, codes.BAD_ACCOUNT)
    require(position.wallet.unit.stage < codes.STAGE_REDUCE, codes.IN_LIQUIDATION)
    return position


def check_room(world: World, gets: list[tuple[Position, int]], money: int) -> None:
    """Refuse a taker whose positions pass their limits, or whose wallet lacks initial margin, with more lots."""
    for position, lots in gets:
        side = codes.BID if lots > 0 else codes.ASK
        most = world.contracts[position.instrument].position_max_lots
        require(not lots or margin.reachable_lots(position, side) + abs(lots) <= most, codes.POSITION_LIMIT)
    wallet = gets[0][0].wallet
    equity = margin.equity(world, wallet.unit) + money
    for position, lots in gets:
        position.lots += lots
    needed = margin.wallet_margin(world, wallet)
    for position, lots in gets:
        position.lots -= lots
    require(equity >= needed, codes.INSUFFICIENT_MARGIN)


def hand_over(
    world: World,
    leg: Position,
    taker: Position,
    change: int,
    price_sub: int,
    paid: int = 0,
    charge: int = 0,
    flags: int = 0,
) -> None:
    """Lots leave a leg for a taker, to whom the unit pays; a charge goes to the fund."""
    unit, owner, account = leg.unit, leg.wallet.account, taker.wallet.account
    ledger.pay_pocket(world, leg, -paid)
    ledger.pay_pocket(world, taker, paid)
    ledger.trade_at(world, owner, leg.instrument, price_sub, change, charge)
    ledger.trade_at(world, account, leg.instrument, price_sub, -change, 0)
    about = {"instrument": leg.instrument, "price": price_sub, "liquidation_id": unit.liquidation_id}
    world.emit(codes.TAKEN, account=owner, counterparty=account, lots=change, money=-paid, flags=flags, **about)
    world.emit(codes.TAKEN, account=account, counterparty=owner, lots=-change, money=paid, flags=flags, **about)
    if charge:
        ledger.credit(world, codes.INSURANCE, leg.wallet.asset, charge)
        fee = {"account": owner, "counterparty": codes.INSURANCE, "lots": abs(change), "money": charge}
        world.emit(codes.LIQUIDATION_FEE, **about, **fee)


def _price(world: World, leg: Position, stage: Stage) -> int:
    """What a lot costs now, in sub-ticks."""
    contract = world.contracts[leg.instrument]
    around = stages.price_around(world, leg.instrument, stage.concession_from == codes.CONCEDE_INDEX)
    given = Fraction(value_of(stage.concession, _age(world, leg.unit)), PPB)
    worst = contract.mark_per_tick * stages.worst_limit(world, leg, stage)
    price = -(-around * (1 - given) // 1) if leg.lots > 0 else around * (1 + given) // 1
    lowest, highest = contract.mark_per_tick * contract.ticks_min, contract.mark_per_tick * contract.ticks_max
    if leg.lots > 0:
        return clamp(int(price), max(lowest, worst), highest)
    return max(lowest, min(int(price), highest, worst))


def _charge(world: World, leg: Position, change: int, price_sub: int) -> int:
    """What the fund gets of lots that leave a leg at a price, or (negative) pays for them."""
    contract = world.contracts[leg.instrument]
    at_bankruptcy = contract.trade_value(leg.bankruptcy_ticks, change)
    notional = abs(contract.value(world.markets[leg.instrument].mark_sub, change))
    value = contract.value(price_sub, change)
    return ledger.liquidation_charges(world, contract, at_bankruptcy, value, 0, notional)[1]


def _take_leg(world: World, leg: Position, stage: Stage, account: int, wanted: int) -> int:
    unit, contract, mark = leg.unit, world.contracts[leg.instrument], world.markets[leg.instrument].mark_sub
    assert unit.driver is not None
    standing = unit.standings[unit.driver]
    taker, price = taker_of(world, account, leg.instrument), _price(world, leg, stage)
    lots = min(wanted, _allowed(world, leg, stage, price))
    require(lots > 0, codes.NOT_OFFERED)
    change = -lots if leg.lots > 0 else lots
    gain = contract.value(price, change) - contract.value(mark, change)
    check_room(world, [(taker, -change)], gain)
    before = _missing(world, unit, stage)
    hand_over(world, leg, taker, change, price, charge=_charge(world, leg, change, price))
    standing.freed += max(0, before - max(0, _missing(world, unit, stage)))
    return lots


def _missing(world: World, unit: Unit, stage: Stage) -> int:
    """Equity that the unit lacks to its exit."""
    return ceil_div(margin.unit_maintenance(world, unit) * stage.exit_ppm, PPM) - margin.equity(world, unit)


def _allowed(world: World, leg: Position, stage: Stage, price: int) -> int:
    """The fewest lots that bring the unit to its exit, or as far as takers may bring it by now; all if none do."""
    unit, contract, mark = leg.unit, world.contracts[leg.instrument], world.markets[leg.instrument].mark_sub
    assert unit.driver is not None
    missing, rest = _missing(world, unit, stage), 0
    if stage.allowance:
        total = missing + unit.standings[unit.driver].freed
        rest = total - total * value_of(stage.allowance, _age(world, unit)) // PPB
        if rest >= missing:
            return 0
    few, many = 0, abs(leg.lots)
    equity, held, entry = margin.equity(world, unit), leg.lots, leg.entry_value
    while many - few > 1:
        middle = (few + many) // 2
        change = -middle if held > 0 else middle
        cost = contract.value(price, change) - contract.value(mark, change) + _charge(world, leg, change, price)
        leg.lots, leg.entry_value = held + change, entry - close_share(entry, abs(held), middle)
        enough = (equity - cost + rest) * PPM >= margin.unit_maintenance(world, unit) * stage.exit_ppm
        leg.lots, leg.entry_value = held, entry
        few, many = (few, middle) if enough else (middle, many)
    return many


def _take_share(world: World, named: Position, stage: Stage, account: int, wanted: int) -> int:
    unit, held = named.unit, abs(named.lots)
    assert unit.driver is not None
    standing, legs = unit.standings[unit.driver], _offered(world, unit)
    takers = [taker_of(world, account, leg.instrument) for leg in legs]
    equity, missing = margin.equity(world, unit), _missing(world, unit, stage)
    unsold = equity - standing.kept
    given = _given_up(world, unit, stage, unsold, equity + missing)
    relief = equity + missing - given
    lots = min(wanted, ceil_div(held * missing, relief) if relief > missing else held)
    paid = close_share(given, held, lots)
    kept = standing.kept + close_share(unsold, held, lots) - paid
    fund = margin.equity(world, world.fund(unit.wallet.asset).unit)
    require(kept >= min(0, -fund), codes.NOT_OFFERED)
    parts = [abs(leg.lots) * lots // held for leg in legs]
    changes = [-part if leg.lots > 0 else part for leg, part in zip(legs, parts, strict=True)]
    check_room(world, [(taker, -change) for taker, change in zip(takers, changes, strict=True)], paid)
    if unit.position is None or unsold <= 0:
        standing.kept = kept
    for leg, taker, change in zip(legs, takers, changes, strict=True):
        if change:
            mark = world.markets[leg.instrument].mark_sub
            hand_over(world, leg, taker, change, mark, paid if leg is named else 0)
    return lots


def _given_up(world: World, unit: Unit, stage: Stage, unsold: int, goal: int) -> int:
    """What takers of all that is left would be given: the concession, or what the fund pays beyond all equity."""
    if unsold > 0:
        return unsold * value_of(stage.concession, _age(world, unit)) // PPB
    return unsold + (goal - unsold) * value_of(stage.payout, _age(world, unit)) // PPB
