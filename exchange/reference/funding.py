"""Funding: premium samples, the rate that they make, and what a settlement pays. Rates in ppb."""

from fractions import Fraction

from exchange import codes
from exchange.reference import ledger
from exchange.reference.arithmetic import PPB, PPM, clamp
from exchange.reference.records import Event
from exchange.reference.world import World, require

RECORDED_MAX_PPB = 1_000_000_000
SETTLED_MAX_PPB = 2_000_000_000
LOT_VALUE_MAX = 2**61


def truncated(number: int | Fraction, step: int = 1) -> int:
    """The multiple of a step next to a number on the side of zero."""
    size = abs(number) // step * step
    return int(size if number >= 0 else -size)


def apply_rate(world: World, event: Event) -> None:
    """Take the predicted rate and the time of the next settlement."""
    world.contract_alone(event.instrument)
    require(abs(event.price) <= RECORDED_MAX_PPB and event.qty >= 0, codes.BAD_AMOUNT)
    market = world.markets[event.instrument]
    if not world.pricing.funding_computed:
        market.funding_rate_ppb, market.next_funding_ns = event.price, event.qty


def apply_settle(world: World, event: Event) -> None:
    """A recorded settlement; where the venue computes the rate it changes nothing."""
    world.contract_alone(event.instrument)
    require(abs(event.price) <= RECORDED_MAX_PPB, codes.BAD_AMOUNT)
    if not world.pricing.funding_computed:
        settle(world, event.instrument, Fraction(event.price))


def start(world: World, instrument: int) -> None:
    """The first index starts the clock of the samples."""
    state, sample_ns = world.price_states[instrument], world.pricing.sample_ns
    if not state.has_timer and _is_funded(world, instrument):
        state.has_timer = True
        _set_timer(world, instrument, (world.clock_ns // sample_ns + 1) * sample_ns)


def _is_funded(world: World, instrument: int) -> bool:
    """Only a perpetual that is not settled has a computed rate."""
    perpetual = not world.contracts[instrument].spot and not world.lives[instrument].terms.expiry_ns
    return perpetual and world.markets[instrument].state != codes.STATE_SETTLED


def _set_timer(world: World, instrument: int, due_ns: int) -> None:
    priority = world.pricing.funding_priority
    world.set_timer(due_ns, priority, codes.FUNDING_TICK, instrument, account=codes.EXTERNAL)


def fire(world: World, instrument: int, due_ns: int) -> None:
    """A sample that was due then; at the end of an interval the rate that the samples make settles."""
    rules, state, market = world.pricing, world.price_states[instrument], world.markets[instrument]
    interval_ns = world.policy.funding_interval_ns
    if not _is_funded(world, instrument):
        return
    premium = _premium(world, instrument)
    if premium is not None:
        state.premium_ppb = premium
        state.premiums = [*state.premiums, premium]
    is_end = due_ns % interval_ns == 0
    if is_end or rules.average != codes.AVERAGE_TRIMMED:
        state.rate_ppb = rate_of(world, instrument, average(world, state.premiums))
        market.funding_rate_ppb = truncated(_held(Fraction(state.rate_ppb * rules.share, rules.shares)))
    market.next_funding_ns = (due_ns // interval_ns + 1) * interval_ns
    if is_end:
        world.emit(codes.FUNDING_PRICE, instrument=instrument, price=market.funding_rate_ppb, money=len(state.premiums))
        settle(world, instrument, Fraction(state.rate_ppb * rules.share, rules.shares))
        state.premiums = []
    _set_timer(world, instrument, due_ns + rules.sample_ns)


def _premium(world: World, instrument: int) -> int | None:
    """Premium of the book over the index, None without one."""
    rules, book, contract = world.pricing, world.books[instrument], world.contracts[instrument]
    index_sub = world.markets[instrument].index_sub
    if not index_sub:
        return None
    if rules.premium_impact:
        money = world.price_states[instrument].funding_money
        low, high = (impact_sub(world, instrument, side, money) for side in (codes.BID, codes.ASK))
        above = max(0, low - index_sub) - (max(0, index_sub - high) if high else 0)
    else:
        bid, ask = book.best(codes.BID), book.best(codes.ASK)
        if not bid or not ask or bid >= ask:
            return None
        above = (bid + ask) * contract.mark_per_tick // 2 - index_sub
    cap = rules.premium_cap_ppb
    return truncated(clamp(truncated(Fraction(above * PPB, index_sub)), -cap, cap), rules.step_ppb)


def impact_sub(world: World, instrument: int, side: int, money: int) -> int:
    """Average price of a notional on a side, the last lot cut; 0 where the side has less."""
    contract, left, lots = world.contracts[instrument], money, 0
    for ticks, orders in world.books[instrument].levels(side):
        price, here = ticks * contract.mark_per_tick, sum(order.shown_lots for order in orders)
        value = contract.notional(ticks, here)
        if value >= left:
            if not money:
                return price
            if contract.kind == codes.LINEAR:
                lot_value = contract.notional(ticks, 1)
                if lots >= LOT_VALUE_MAX // lot_value:
                    return 0
                return money * price // (lots * lot_value + left)
            return (lots * contract.unit_value * contract.mark_per_tick + left * price) // money
        left -= value
        lots += here
    return 0


def kept(samples: list[int], tail_ppm: int) -> list[int]:
    """Samples without the tails; all of them, as they came, where nothing would be left."""
    gone = 2 * tail_ppm * len(samples) // PPM
    if gone >= len(samples):
        return samples
    return sorted(samples)[gone // 2 : len(samples) - (gone - gone // 2)]


def average(world: World, premiums: list[int]) -> int:
    """Average of an interval's samples."""
    rules = world.pricing
    samples = list(premiums)
    if rules.missing_zero:
        samples += [0] * (rules.expected - len(samples))
    if not samples:
        return 0
    weights = [1] * len(samples)
    if rules.average == codes.AVERAGE_TRIMMED:
        samples = kept(samples, rules.tail_ppm)
        weights = [1] * len(samples)
    elif rules.average == codes.AVERAGE_LINEAR:
        weights = list(range(1, len(samples) + 1))
    total = sum(sample * weight for sample, weight in zip(samples, weights, strict=True))
    return truncated(truncated(Fraction(total, sum(weights))), rules.step_ppb)


def rate_of(world: World, instrument: int, average_ppb: int) -> int:
    """Factor, interest and cap."""
    rules, cap = world.pricing, world.price_states[instrument].cap_ppb
    scaled = truncated(Fraction(average_ppb * rules.factor_ppm, PPM))
    interest = rules.interest_ppb
    if not rules.interest_added:
        interest = clamp(interest - scaled, -rules.band_ppb, rules.band_ppb)
    rate = scaled + interest if cap < 0 else clamp(scaled + interest, -cap, cap)
    return truncated(rate, rules.step_ppb)


def _held(rate: Fraction) -> Fraction:
    """A settlement takes no more than twice the value."""
    return max(Fraction(-SETTLED_MAX_PPB), min(rate, Fraction(SETTLED_MAX_PPB)))


def settle(world: World, instrument: int, rate: Fraction) -> None:
    """Payers pay rounded up, receivers get rounded down; RESIDUE keeps the difference."""
    rules, contract, market = world.pricing, world.contracts[instrument], world.markets[instrument]
    price = market.index_sub if rules.pays_index else market.mark_sub
    if not price or market.state == codes.STATE_SETTLED:
        return
    ppb, held = truncated(_held(rate)), _held(rate)
    micro = truncated(Fraction(contract.value(price, 1) * PPM, PPB) * held, world.price_states[instrument].step_micro)
    for position in world.positions_in(instrument):
        if not position.lots:
            continue
        due = Fraction(abs(contract.value(price, position.lots)) * ppb, PPB) * (1 if position.lots > 0 else -1)
        if rules.pays_per_lot:
            due = Fraction(micro * position.lots, PPM)
        change = (-due).__floor__()
        ledger.pay_pocket(world, position, change)
        ledger.credit(world, codes.RESIDUE, contract.asset, -change)
        world.emit(
            codes.FUNDING,
            account=position.wallet.account,
            instrument=instrument,
            price=price,
            lots=position.lots,
            money=change,
        )
