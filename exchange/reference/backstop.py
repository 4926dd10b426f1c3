"""The backstop: who takes over before the fund, and how what was taken over is worked off, a part at a time."""

from exchange import codes
from exchange.reference import dutch, margin, mark, stages, waterfall
from exchange.reference.arithmetic import ppm_up
from exchange.reference.auction import take
from exchange.reference.book import Book
from exchange.reference.matching import Taker, match_shadow
from exchange.reference.records import Position
from exchange.reference.settings import Waterfall
from exchange.reference.world import Refused, World


def _rules(world: World, instrument: int) -> Waterfall:
    return world.waterfalls[world.contracts[instrument].asset]


def take_over(world: World, leg: Position) -> None:
    """Give the backstop as much of a leg as it carries: not its own, no holdings."""
    rules, owner = _rules(world, leg.instrument), leg.wallet.account
    wallet = world.wallets.get((rules.backstop, leg.wallet.asset))
    if not rules.backstop or world.contracts[leg.instrument].spot or owner == rules.backstop:
        return
    if wallet is None or not wallet.is_open:
        return
    try:
        taker = dutch.taker_of(world, rules.backstop, leg.instrument)
    except Refused:
        return
    lots = abs(leg.lots)
    if not _carries(world, leg, taker, lots):
        few, many = 0, lots
        while many - few > 1:
            middle = (few + many) // 2
            few, many = (middle, many) if _carries(world, leg, taker, middle) else (few, middle)
        lots = few
    if lots:
        change, (price_sub, paid) = -lots if leg.lots > 0 else lots, _price(world, leg, lots)
        dutch.hand_over(world, leg, taker, change, price_sub, paid, flags=codes.BACKSTOP)
        set_timer(world, leg.instrument)


def _price(world: World, leg: Position, lots: int) -> tuple[int, int]:
    """Where the backstop takes lots over, in sub-ticks, and what it is paid of the margin that is left."""
    contract, mark_sub = world.contracts[leg.instrument], world.markets[leg.instrument].mark_sub
    if not _rules(world, leg.instrument).backstop_mark:
        return leg.bankruptcy_ticks * contract.mark_per_tick, 0
    signed = lots if leg.lots > 0 else -lots
    return mark_sub, max(0, contract.value(mark_sub, signed) - contract.trade_value(leg.bankruptcy_ticks, signed))


def _carries(world: World, leg: Position, taker: Position, lots: int) -> bool:
    """Whether the backstop is within its position limit and has its initial margin, with so many lots more."""
    contract, mark_sub = world.contracts[leg.instrument], world.markets[leg.instrument].mark_sub
    signed, (price_sub, paid) = lots if leg.lots > 0 else -lots, _price(world, leg, lots)
    gain = contract.value(mark_sub, signed) - contract.value(price_sub, signed) + paid
    try:
        dutch.check_room(world, [(taker, signed)], gain)
    except Refused:
        return False
    return True


def set_timer(world: World, instrument: int) -> None:
    """What was taken over in an instrument is looked at a period from now, if it is not already."""
    market, period_ns = world.markets[instrument], _rules(world, instrument).disposal_ns
    if period_ns and not market.has_disposal_timer and not world.contracts[instrument].spot:
        market.has_disposal_timer = True
        world.set_timer(world.clock_ns + period_ns, codes.PRIORITY_DISPOSE, codes.DISPOSE, instrument)


def fire(world: World, instrument: int) -> None:
    """Time to work off a part of what the backstop, or the fund, holds in an instrument."""
    market = world.markets[instrument]
    market.has_disposal_timer = False
    held = world.find_position(_rules(world, instrument).backstop or codes.INSURANCE, instrument)
    if held is None or not held.lots:
        return
    if held.unit.stage == codes.STAGE_NONE and market.mark_sub and not market.stands_still:
        _order(world, held)
        if held.wallet.account == codes.INSURANCE:
            _note_debt(world, held)
    if held.lots:
        set_timer(world, instrument)


def _note_debt(world: World, held: Position) -> None:
    """A fund that owes and has nothing left is at a deficit, which others may bear."""
    owed = margin.equity(world, held.wallet.unit)
    if owed < 0 and not any(position.lots for position in held.wallet.positions.values()):
        world.emit(codes.DEFICIT, account=codes.INSURANCE, instrument=held.instrument, money=owed)
        waterfall.socialise(world, held.wallet.unit, held.instrument, 0)


def _order(world: World, held: Position) -> None:
    side = codes.ASK if held.lots > 0 else codes.BID
    limit = _limit(world, held.instrument, side)
    lots = _part(world, held, world.books[held.instrument], side, limit)
    world.emit(
        codes.DISPOSAL,
        account=held.wallet.account,
        instrument=held.instrument,
        price=limit,
        lots=lots,
        money=margin.equity(world, held.unit),
        flags=codes.BACKSTOP,
    )
    flags = codes.FORCED | codes.BACKSTOP
    taker = Taker(held.wallet.account, 0, held.instrument, side, limit, lots, flags)
    if world.policy.mode == codes.MODE_SHADOW:
        match_shadow(world, taker)
    else:
        take(world, taker)


def _limit(world: World, instrument: int, side: int) -> int:
    """Worst price (ticks): the end of a band, or of the ladder."""
    rules, contract = _rules(world, instrument), world.contracts[instrument]
    if not rules.band_ppm:
        return contract.ticks_min if side == codes.ASK else contract.ticks_max
    around = stages.price_around(world, instrument, rules.band_around == codes.AROUND_INDEX)
    if rules.band_around == codes.AROUND_MID:
        around = mark.mid_sub(world, instrument) or around
    return mark.band_around(contract, side, rules.band_ppm, around)


def _part(world: World, held: Position, book: Book, side: int, limit: int) -> int:
    """Lots of one order: a share of the position, or all of a small one, within its caps."""
    rules, lots, notional = _rules(world, held.instrument), abs(held.lots), abs(margin.position_value(world, held))
    part = lots if notional <= rules.notional_above else ppm_up(lots, rules.share_ppm)
    if rules.notional_max and notional > rules.notional_max:
        part = min(part, max(1, lots * rules.notional_max // notional))
    if rules.offer_ppm:
        offered = sum(order.shown_lots for _, orders in book.levels_within(1 - side, limit) for order in orders)
        part = min(part, max(1, ppm_up(offered, rules.offer_ppm)))
    return part
