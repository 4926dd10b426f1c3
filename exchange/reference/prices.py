"""Index, mark and funding. Indices and marks are in sub-ticks, rates in ppb of one interval."""

from exchange import codes
from exchange.reference import ledger
from exchange.reference.arithmetic import PPB, PPM, ceil_div, clamp, median
from exchange.reference.margin import position_value
from exchange.reference.records import Event
from exchange.reference.world import World, require

RATE_MAX_PPB = 1_000_000_000
NS_PER_MS = 1_000_000


def apply_index(world: World, event: Event) -> None:
    """Take a recorded index, or one constituent's price, and refresh the index."""
    contract = world.contract_of(event.instrument)
    require(contract.clip_sub(event.price) == event.price, codes.BAD_PRICE)
    market, policy = world.markets[event.instrument], world.policy
    if policy.index_rule == codes.INDEX_COMPOSITE:
        require(event.order_id == 0, codes.BAD_CONSTITUENT)
        market.recorded_index_sub = event.price
    else:
        require(1 <= event.order_id <= len(contract.weights_ppm), codes.BAD_CONSTITUENT)
        market.constituents[event.order_id] = (event.price, world.clock_ns)
        market.recorded_index_sub = _index_of_constituents(world, event.instrument)
    refresh_index(world, event.instrument)
    if policy.mark_source != codes.MARK_COMPUTED:
        return
    if policy.mark_period_ns == 0:
        mark_tick(world, event.instrument)
    elif not market.has_mark_timer:
        market.has_mark_timer = True
        mark_tick(world, event.instrument)
        due = (world.clock_ns // policy.mark_period_ns + 1) * policy.mark_period_ns
        world.set_timer(due, codes.PRIORITY_MARK, codes.MARK_TICK, event.instrument)


def _index_of_constituents(world: World, instrument: int) -> int:
    """Median of the fresh constituents, or their weighted mean without outliers."""
    policy, weights = world.policy, world.contracts[instrument].weights_ppm
    fresh = {
        k: price
        for k, (price, ts) in world.markets[instrument].constituents.items()
        if world.clock_ns - ts <= policy.index_stale_ns
    }
    middle = median(list(fresh.values()))
    if policy.index_rule == codes.INDEX_MEDIAN:
        return middle
    near = {k: p for k, p in fresh.items() if abs(p - middle) * PPM <= policy.index_outlier_ppm * middle}
    total = sum(weights[k - 1] for k in near)
    if len(fresh) - len(near) > 1 or total == 0:
        return middle
    return sum(price * weights[k - 1] for k, price in near.items()) // total


def refresh_index(world: World, instrument: int) -> None:
    """Index = recorded index, shifted, plus this venue's own pull on it."""
    market = world.markets[instrument]
    pull = _own_premium(world, instrument) * world.policy.index_feedback_ppm // PPM
    market.index_sub = _held(world, instrument, market.recorded_index_sub + market.index_shift_sub + pull)


def _held(world: World, instrument: int, price_sub: int) -> int:
    """A mark or index (sub-ticks) held within the ladder."""
    return world.contracts[instrument].clip_sub(price_sub)


def _own_premium(world: World, instrument: int) -> int:
    """Venue mid less the recording's own mid, before impact; 0 in shadow mode or where one of them is missing."""
    book, per_tick = world.books[instrument], world.contracts[instrument].mark_per_tick
    recorded_bid, recorded_ask = book.best_external(codes.BID), book.best_external(codes.ASK)
    if world.policy.mode == codes.MODE_SHADOW or not recorded_bid or not recorded_ask:
        return 0
    bid, ask = book.best(codes.BID), book.best(codes.ASK)
    last = world.markets[instrument].last_ticks
    if bid and ask:
        venue_mid = (bid + ask) * per_tick // 2
    elif last:
        venue_mid = last * per_tick
    else:
        return 0
    recorded_mid = (recorded_bid + recorded_ask) * per_tick // 2 - world.impacts[instrument].ticks * per_tick
    return venue_mid - recorded_mid


def mark_tick(world: World, instrument: int) -> None:
    """Compute the mark: median of index with funding basis, index with average basis, last."""
    market, policy, per_tick = world.markets[instrument], world.policy, world.contracts[instrument].mark_per_tick
    refresh_index(world, instrument)
    bid, ask = world.books[instrument].best(codes.BID), world.books[instrument].best(codes.ASK)
    if bid and ask and bid < ask:
        samples = [*market.basis_samples, (bid + ask) * per_tick // 2 - market.index_sub]
        market.basis_samples = samples[-policy.mark_samples :]
    left_ms = 0
    if market.next_funding_ns:
        left_ms = clamp(market.next_funding_ns - world.clock_ns, 0, policy.funding_interval_ns) // NS_PER_MS
    rate = market.funding_rate_ppb * left_ms // (policy.funding_interval_ns // NS_PER_MS)
    by_funding = market.index_sub + market.index_sub * rate // PPB
    by_basis = by_funding
    if market.basis_samples:
        by_basis = market.index_sub + sum(market.basis_samples) // len(market.basis_samples)
    by_last = market.last_ticks * per_tick if market.last_ticks else by_basis
    set_mark(world, instrument, median([by_funding, by_basis, by_last]))


def fire_mark_tick(world: World, instrument: int) -> None:
    """A due mark tick; the next one follows a period later."""
    mark_tick(world, instrument)
    due = world.clock_ns + world.policy.mark_period_ns
    world.set_timer(due, codes.PRIORITY_MARK, codes.MARK_TICK, instrument)


def set_mark(world: World, instrument: int, mark_sub: int) -> None:
    """Change the mark, held within the ladder; nothing happens when it is the same."""
    market = world.markets[instrument]
    mark_sub = _held(world, instrument, mark_sub)
    if mark_sub == market.mark_sub:
        return
    market.mark_sub = mark_sub
    market.mark_version += 1
    world.emit(codes.MARK_PRICE, instrument=instrument, price=mark_sub, money=market.index_sub)
    held = world.find_position(codes.INSURANCE, instrument)
    if held is not None and held.lots:
        world.touch(held.wallet)


def apply_mark(world: World, event: Event) -> None:
    """Take a recorded mark; it is the venue's mark when the profile says so."""
    contract = world.contract_of(event.instrument)
    require(contract.clip_sub(event.price) == event.price, codes.BAD_PRICE)
    market = world.markets[event.instrument]
    market.recorded_mark_sub = event.price
    if world.policy.mark_source == codes.MARK_RECORDED:
        set_mark(world, event.instrument, event.price + market.index_shift_sub)


def _check_rate(world: World, event: Event) -> None:
    world.contract_of(event.instrument)
    require(abs(event.price) <= RATE_MAX_PPB, codes.BAD_AMOUNT)


def apply_funding_rate(world: World, event: Event) -> None:
    """Take the predicted rate and the time of the next settlement."""
    _check_rate(world, event)
    require(event.qty >= 0, codes.BAD_AMOUNT)
    market = world.markets[event.instrument]
    market.funding_rate_ppb, market.next_funding_ns = event.price, event.qty


def apply_funding_settle(world: World, event: Event) -> None:
    """Payers pay rounded up, receivers get rounded down; RESIDUE keeps the difference."""
    _check_rate(world, event)
    mark = world.markets[event.instrument].mark_sub
    if mark == 0:
        return
    asset = world.contracts[event.instrument].asset
    for position in world.positions_in(event.instrument):
        if position.lots == 0:
            continue
        amount = abs(position_value(world, position)) * abs(event.price)
        pays = (position.lots > 0) == (event.price > 0)
        change = -ceil_div(amount, PPB) if pays else amount // PPB
        ledger.pay_pocket(world, position, change)
        ledger.credit(world, codes.RESIDUE, asset, -change)
        world.emit(
            codes.FUNDING,
            account=position.wallet.account,
            instrument=event.instrument,
            price=mark,
            lots=position.lots,
            money=change,
        )
