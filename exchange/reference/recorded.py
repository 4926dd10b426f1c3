"""The recorded book: external levels, prints, shifts and the refill of displaced size."""

from exchange import codes
from exchange.reference.arithmetic import PPM
from exchange.reference.impact import absorb_flow, set_impact_timer, shift_of
from exchange.reference.matching import apply_print, start_refill, uncross
from exchange.reference.printed import note_trade
from exchange.reference.queueing import resize
from exchange.reference.records import Event, ExternalLevel
from exchange.reference.world import World, require

LOTS_MAX = 2**31 - 1
DEPTH_MAX_PPM = 100_000_000


def _check_level_event(world: World, event: Event, lots_min: int) -> int:
    """Checks shared by LEVEL_SET and TRADE_PRINT; the price in ticks after the shift."""
    contract = world.contract_of(event.instrument)
    require(event.side in (codes.BID, codes.ASK), codes.BAD_SIDE)
    require(lots_min <= event.qty <= LOTS_MAX, codes.BAD_LOTS)
    require(1 <= event.price <= LOTS_MAX, codes.BAD_PRICE)
    ticks = event.price + world.markets[event.instrument].shift_ticks
    require(contract.ticks_min <= ticks <= contract.ticks_max, codes.BAD_PRICE)
    return ticks


def apply_level_set(world: World, event: Event) -> None:
    """Set the recorded lots at a price; 0 removes the level."""
    ticks = _check_level_event(world, event, 0)
    book = world.books[event.instrument]
    level = book.externals.get((event.side, ticks))
    if event.qty:
        _update(world, event, level or _make_level(world, event, ticks))
    elif level:
        book.remove_external(level)
    if event.flags & codes.LAST:
        uncross(world, event.instrument, event.side)


def _make_level(world: World, event: Event, ticks: int) -> ExternalLevel:
    require(world.has_order_slot(), codes.ORDERS_FULL)
    require(world.external_levels() < world.capacity.external_levels, codes.EXTERNALS_FULL)
    order = world.make_order(0, codes.EXTERNAL, event.instrument, event.side, ticks, 0, 0)
    level = ExternalLevel(event.side, event.price, ticks, 0, 0, 0, 0, 0, [order])
    order.external = level
    world.books[event.instrument].externals[event.side, ticks] = level
    return level


def _update(world: World, event: Event, level: ExternalLevel) -> None:
    printed, level.recorded_lots, level.printed_lots = level.printed_lots, event.qty, 0
    level.extrapolated = int(bool(event.flags & codes.EXTRAPOLATED))
    _scale(world, event.instrument, level)
    if world.policy.refill == codes.REFILL_NONE:
        level.displaced_lots = 0
    resize(world, event.instrument, level, printed)


def _scale(world: World, instrument: int, level: ExternalLevel) -> None:
    """Lots of a level after the depth factor; no more of them can be displaced."""
    scaled = level.recorded_lots * world.markets[instrument].depth_ppm // PPM
    level.lots = max(1, min(scaled, LOTS_MAX))
    level.displaced_lots = min(level.displaced_lots, level.lots)


def fire_refill(world: World, instrument: int) -> None:
    """Let part of every level's displaced size come back."""
    book = world.books[instrument]
    for level in book.externals.values():
        if level.displaced_lots:
            level.displaced_lots = level.displaced_lots * codes.REFILL_KEEP_PPM // PPM
            resize(world, instrument, level)
    world.markets[instrument].has_refill_timer = False
    if any(level.displaced_lots for level in book.externals.values()):
        start_refill(world, instrument)
    uncross(world, instrument, codes.BID)


def apply_trade_print(world: World, event: Event) -> None:
    """A recorded trade: sets last and fills simulated orders that it would have reached."""
    ticks = _check_level_event(world, event, 1)
    if event.flags & codes.EVIDENCE:
        return
    note_trade(world, event.instrument, ticks, event.qty)
    if not world.markets[event.instrument].stands_still:
        apply_print(world, event.instrument, event.side, ticks, event.qty)


def apply_book_clear(world: World, event: Event) -> None:
    """Drop every external level of the instrument."""
    world.contract_of(event.instrument)
    book = world.books[event.instrument]
    for level in list(book.externals.values()):
        book.remove_external(level)


def apply_shift(world: World, event: Event) -> None:
    """Move the recorded ladder and depth (SHIFT_BOOK), the recorded index and mark (SHIFT_INDEX), or both."""
    contract = world.contract_of(event.instrument)
    require(event.side in (codes.BID, codes.ASK), codes.BAD_SIDE)
    market = world.markets[event.instrument]
    if event.flags & codes.SHIFT_BOOK:
        require(1 <= event.qty <= DEPTH_MAX_PPM, codes.BAD_AMOUNT)
    require(abs(event.price) <= contract.ticks_max, codes.BAD_PRICE)
    if event.flags & codes.SHIFT_INDEX:
        market.index_shift_sub = event.price * contract.mark_per_tick
    if event.flags & codes.SHIFT_BOOK:
        market.shift_ticks = event.price + world.impacts[event.instrument].ticks
        market.depth_ppm = event.qty
        _move_levels(world, event.instrument)
        uncross(world, event.instrument, event.side)


def _move_levels(world: World, instrument: int) -> None:
    """Take every external order out, then put each level, oldest first, at its new price."""
    book, market = world.books[instrument], world.markets[instrument]
    levels = list(book.externals.values())
    for level in levels:
        book.remove_external(level)
    for level in levels:
        level.ticks = level.parts[0].ticks = level.recorded_ticks + market.shift_ticks
        if world.contracts[instrument].clip_ticks(level.ticks) == level.ticks:
            level.printed_lots = 0
            _scale(world, instrument, level)
            book.externals[level.side, level.ticks] = level
            book.refresh(level)


def fire_impact(world: World, instrument: int) -> None:
    """Move the recorded quotes by what simulated takers executed; without two recorded sides they stay."""
    impact, market, book = world.impacts[instrument], world.markets[instrument], world.books[instrument]
    absorb_flow(impact)
    bid, ask = book.best_external(codes.BID), book.best_external(codes.ASK)
    if bid and ask:
        before, impact.ticks = impact.ticks, shift_of(impact, bid - market.shift_ticks, ask - market.shift_ticks)
        if impact.ticks != before:
            market.shift_ticks += impact.ticks - before
            _move_levels(world, instrument)
            uncross(world, instrument, codes.BID if impact.ticks > before else codes.ASK)
    impact.has_timer = False
    if impact.decaying_mlots or impact.permanent_mlots or impact.ticks:
        set_impact_timer(world, instrument)
