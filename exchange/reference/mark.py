"""The mark: recorded, or combined of the index, bases, book and trades, in sub-ticks."""

from exchange import codes
from exchange.reference import add_ons, funding, index, printed
from exchange.reference.arithmetic import PPB, PPM, ceil_div, clamp, median
from exchange.reference.records import Contract, Event
from exchange.reference.world import World, require

NS_PER_MS = 1_000_000


def apply_index(world: World, event: Event) -> None:
    """An index price: a computed mark's source, and what starts the clock of a computed rate."""
    of_index, spot = index.take(world, event), world.contracts[event.instrument].spot
    if not of_index and (spot or not _uses(world, codes.BY_OUTSIDE)):
        return
    if world.policy.mark_source == codes.MARK_COMPUTED or spot:
        source_came(world, event.instrument)
    else:
        index.refresh(world, event.instrument)
    if of_index and world.pricing.funding_computed:
        funding.start(world, event.instrument)


def apply_mark(world: World, event: Event) -> None:
    """Take a recorded mark; it is the venue's mark, or a component of it, when the profile says so."""
    contract = world.contract_of(event.instrument)
    require(contract.clip_sub(event.price) == event.price, codes.BAD_PRICE)
    market, state = world.markets[event.instrument], world.price_states[event.instrument]
    market.recorded_mark_sub = event.price
    if contract.option is not None or contract.spot:
        return
    if world.policy.mark_source == codes.MARK_RECORDED:
        set_mark(world, event.instrument, event.price + market.index_shift_sub)
        add_ons.measure(world, event.instrument)
    elif _uses(world, codes.BY_MARK):
        state.mark_ns = world.clock_ns
        source_came(world, event.instrument)


def _uses(world: World, component: int) -> bool:
    """Whether a computed mark has this component."""
    computed = world.policy.mark_source == codes.MARK_COMPUTED
    return computed and any(k == component for k, _, _ in world.pricing.components)


def source_came(world: World, instrument: int) -> None:
    """Without a period each source runs a mark tick; with one the first does, and starts the clock."""
    market, policy = world.markets[instrument], world.policy
    if policy.mark_period_ns == 0:
        mark_tick(world, instrument)
    elif not market.has_mark_timer:
        market.has_mark_timer = True
        mark_tick(world, instrument)
        _set_timer(world, instrument)
    else:
        index.refresh(world, instrument)


def fire_mark_tick(world: World, instrument: int) -> None:
    """A due mark tick; the next one follows."""
    mark_tick(world, instrument)
    _set_timer(world, instrument)


def _set_timer(world: World, instrument: int) -> None:
    """The next mark tick, at a whole multiple of the period."""
    period_ns = world.policy.mark_period_ns
    due = (world.clock_ns // period_ns + 1) * period_ns
    world.set_timer(due, codes.PRIORITY_MARK, codes.MARK_TICK, instrument)


def mark_tick(world: World, instrument: int) -> None:
    """Sample the bases, then combine the components that are there and set the mark."""
    rules, market, state = world.pricing, world.markets[instrument], world.price_states[instrument]
    index.refresh(world, instrument)
    if world.contracts[instrument].spot:
        if market.index_sub:
            set_mark(world, instrument, market.index_sub)
        return
    if rules.index_stale_rule == codes.STALE_FREEZE and world.clock_ns - state.index_ns > world.policy.index_stale_ns:
        return
    _sample(world, instrument)
    prices: list[tuple[int, int]] = []
    before = 0
    for k, weight_ppm, stale_ns in rules.components:
        price = component(world, instrument, k)
        came_ns = state.mark_ns if k == codes.BY_MARK else state.last_ns if k > codes.BY_EMA else state.index_ns
        if stale_ns and world.clock_ns - came_ns > stale_ns:
            price = 0
        before = price = price or (0 if rules.missing_drops else before)
        if price:
            prices.append((price, weight_ppm if rules.combiner == codes.COMBINE_WEIGHTED else 1))
    total = sum(weight for _, weight in prices)
    if not total:
        return
    mark = sum(price * weight for price, weight in prices) // total
    if rules.combiner == codes.COMBINE_MEDIAN:
        mark = median([price for price, _ in prices])
    reach = market.index_sub * rules.clamp_ppm // PPM
    set_mark(world, instrument, clamp(mark, market.index_sub - reach, market.index_sub + reach) if reach else mark)
    add_ons.measure(world, instrument)


def mid_sub(world: World, instrument: int) -> int | None:
    """Middle of a book with two sides that do not cross."""
    bid, ask = (world.books[instrument].best(side) for side in (codes.BID, codes.ASK))
    return (bid + ask) * world.contracts[instrument].mark_per_tick // 2 if bid and bid < ask else None


def _sample(world: World, instrument: int) -> None:
    """Keep mid - index for the averages."""
    market, state, mid = world.markets[instrument], world.price_states[instrument], mid_sub(world, instrument)
    used = [k for k, _, _ in world.pricing.components]
    if mid is None or not market.index_sub:
        return
    sample = mid - market.index_sub
    if codes.BY_AVERAGE in used:
        market.basis_samples = [*market.basis_samples, sample][-world.policy.mark_samples :]
    if codes.BY_EMA in used:
        before = sample * PPM if state.ema_usub is None else state.ema_usub
        state.ema_usub = before + (sample * PPM - before) * (PPB - world.pricing.ema_keep_ppb) // PPB


def component(world: World, instrument: int, k: int) -> int:
    """One of the prices that a mark is combined of, held within the ladder; 0 = missing."""
    market, contract = world.markets[instrument], world.contracts[instrument]
    found: int | None = None
    if k == codes.BY_OUTSIDE:
        return index.weighted_median(index.counted(world, instrument, True))
    if k == codes.BY_LAST:
        found = market.last_ticks * contract.mark_per_tick or None
    elif k == codes.BY_TRADES:
        found = printed.mean_price(world, instrument)
    elif k == codes.BY_MARK:
        found = market.recorded_mark_sub + market.index_shift_sub if market.recorded_mark_sub else None
    elif k in (codes.BY_MID, codes.BY_BOOK, codes.BY_IMPACT):
        found = _of_book(world, instrument, k)
    elif market.index_sub:
        basis = _basis(world, instrument, k)
        found = None if basis is None else market.index_sub + basis
    return 0 if found is None else contract.clip_sub(found)


def _basis(world: World, instrument: int, k: int) -> int | None:
    """What a component adds to the index."""
    market, policy, state = world.markets[instrument], world.policy, world.price_states[instrument]
    if k == codes.BY_INDEX:
        return 0
    if k == codes.BY_AVERAGE:
        return sum(market.basis_samples) // len(market.basis_samples) if market.basis_samples else None
    if k == codes.BY_EMA:
        return None if state.ema_usub is None else state.ema_usub // PPM
    left_ms = 0
    if market.next_funding_ns:
        left_ms = clamp(market.next_funding_ns - world.clock_ns, 0, policy.funding_interval_ns) // NS_PER_MS
    rate = market.funding_rate_ppb * left_ms // (policy.funding_interval_ns // NS_PER_MS)
    return market.index_sub * rate // PPB


def _of_book(world: World, instrument: int, k: int) -> int | None:
    book, contract, mid = world.books[instrument], world.contracts[instrument], mid_sub(world, instrument)
    if mid is None or k == codes.BY_MID:
        return mid
    if k == codes.BY_IMPACT:
        money = world.price_states[instrument].mark_money
        low, high = (funding.impact_sub(world, instrument, side, money) for side in (codes.BID, codes.ASK))
        return (low + high) // 2 if low and high else None
    last = world.markets[instrument].last_ticks
    return median([book.best(codes.BID), book.best(codes.ASK), last]) * contract.mark_per_tick if last else None


def band_limit(world: World, instrument: int, side: int, band_ppm: int) -> int:
    """Worst price (ticks) of a taker that goes no further from the mark than the band."""
    return band_around(world.contracts[instrument], side, band_ppm, world.markets[instrument].mark_sub)


def band_around(contract: Contract, side: int, band_ppm: int, price_sub: int) -> int:
    """Worst price (ticks) of a taker that goes no further than the band from a price in sub-ticks."""
    if side == codes.BID:
        return contract.clip_ticks(price_sub * (PPM + band_ppm) // PPM // contract.mark_per_tick)
    return contract.clip_ticks(ceil_div(price_sub * (PPM - band_ppm) // PPM, contract.mark_per_tick))


def set_mark(world: World, instrument: int, mark_sub: int) -> None:
    """Change the mark, held within the ladder; nothing happens when it is the same."""
    market = world.markets[instrument]
    mark_sub = world.contracts[instrument].clip_sub(mark_sub)
    if mark_sub == market.mark_sub:
        return
    market.previous_mark_sub, market.mark_sub = market.mark_sub, mark_sub
    market.mark_version += 1
    world.emit(codes.MARK_PRICE, instrument=instrument, price=mark_sub, money=market.index_sub)
    held = world.find_position(codes.INSURANCE, instrument)
    if held is not None and held.lots:
        world.touch(held.wallet)
