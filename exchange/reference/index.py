"""The index: recorded, or made of constituents, in sub-ticks."""

from collections.abc import Iterable

from exchange import codes
from exchange.reference.arithmetic import PPM, clamp, median
from exchange.reference.records import Event
from exchange.reference.world import World, require


def take(world: World, event: Event) -> bool:
    """Take the recorded index, or one source's price, in; whether it is a source of the index."""
    contract, rules = world.contract_of(event.instrument), world.pricing
    require(contract.option is None, codes.BAD_INSTRUMENT)
    if rules.index_signed:
        require(abs(event.price) <= contract.ticks_max * contract.mark_per_tick, codes.BAD_PRICE)
    else:
        require(contract.clip_sub(event.price) == event.price, codes.BAD_PRICE)
    market, state = world.markets[event.instrument], world.price_states[event.instrument]
    k, composite = event.order_id, world.policy.index_rule == codes.INDEX_COMPOSITE
    if k == 0 and composite:
        market.recorded_index_sub = event.price
    else:
        require(1 <= k <= len(contract.weights_ppm), codes.BAD_CONSTITUENT)
        is_outside = state.outside[k - 1]
        require(is_outside or not composite, codes.BAD_CONSTITUENT)
        market.constituents[k] = (event.price, world.clock_ns)
        if is_outside:
            return False
        market.recorded_index_sub = _of_sources(world, event.instrument)
    state.index_ns = world.clock_ns
    return True


def counted(world: World, instrument: int, outside: bool) -> list[tuple[int, int]]:
    """(price, weight) of the sources that are not stale: of the index, or the other venues' marks."""
    keep, policy = world.pricing.index_stale_rule == codes.STALE_KEEP, world.policy
    return [
        (price, world.contracts[instrument].weights_ppm[k - 1])
        for k, (price, ts_ns) in world.markets[instrument].constituents.items()
        if world.price_states[instrument].outside[k - 1] == outside
        and (keep or world.clock_ns - ts_ns <= policy.index_stale_ns)
    ]


def weighted_median(sources: Iterable[tuple[int, int]]) -> int:
    """The first price at which the weights up to it reach half of all; 0 without sources."""
    ordered = sorted(sources)
    for price, _ in ordered:
        if 2 * sum(weight for other, weight in ordered if other <= price) >= sum(weight for _, weight in ordered):
            return price
    return 0


def middle(world: World, prices: list[int]) -> int:
    """Median by the profile's rounding."""
    if not world.pricing.index_half_away or len(prices) % 2:
        return median(prices)
    low, high = sorted(prices)[len(prices) // 2 - 1 : len(prices) // 2 + 1]
    return (low + high) // 2 if low + high < 0 else -(-(low + high) // 2)


def _of_sources(world: World, instrument: int) -> int:
    policy, sources = world.policy, counted(world, instrument, False)
    if policy.index_rule == codes.INDEX_WEIGHTED_MEDIAN:
        return weighted_median(sources)
    center = middle(world, [price for price, _ in sources])
    if policy.index_rule == codes.INDEX_MEDIAN:
        return center
    if policy.index_rule == codes.INDEX_CAPPED:
        band = abs(center) * policy.index_outlier_ppm // PPM
        near = [(clamp(price, center - band, center + band), weight) for price, weight in sources]
    else:
        limit = policy.index_outlier_ppm * abs(center)
        near = [(price, weight) for price, weight in sources if abs(price - center) * PPM <= limit]
    total = sum(weight for _, weight in near)
    if len(sources) - len(near) > world.pricing.index_outliers_max or total == 0:
        return center
    return sum(price * weight for price, weight in near) // total


def refresh(world: World, instrument: int) -> None:
    """Index = recorded index, shifted, plus this venue's own pull on it; it stands where there is none above 0."""
    market = world.markets[instrument]
    if market.recorded_index_sub <= 0:
        return
    pull = _own_premium(world, instrument) * world.contracts[instrument].feedback_ppm // PPM
    contract = world.contracts[instrument]
    market.index_sub = contract.clip_sub(market.recorded_index_sub + market.index_shift_sub + pull)


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
