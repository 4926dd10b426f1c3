"""European options: marks and the requirement of a short, refreshed together; what they pay."""

from exchange import codes
from exchange.reference import black76, grid, mark
from exchange.reference.arithmetic import PPM, ppm_up
from exchange.reference.lives import Option
from exchange.reference.records import Event
from exchange.reference.world import World, require

VOLATILITY_MAX = 100  # a year


def sampled(world: World, instrument: int) -> int:
    """The instrument whose index settles this one."""
    option = world.contracts[instrument].option
    return instrument if option is None else option.underlying


def in_strikes(option: Option, price_sub: int) -> int:
    """A price of the underlying in the unit of the strike."""
    return price_sub * option.numerator // option.denominator


def payoff_sub(world: World, instrument: int, price_sub: int) -> int:
    """What an option pays, in its sub-ticks, where its underlying settles at a price in those of its own."""
    contract = world.contracts[instrument]
    option = contract.option
    assert option is not None
    price = max(1, in_strikes(option, price_sub))
    gain = max(0, price - option.strike if option.is_call else option.strike - price)
    paid = gain * option.coin_sub // price if option.coin_sub else gain
    return min(paid, contract.ticks_max * contract.mark_per_tick)


def refresh(world: World, instrument: int, recorded_sub: int = 0) -> None:
    """Set mark and requirement; nothing before the underlying has a mark, nor after the settlement."""
    contract, market = world.contracts[instrument], world.markets[instrument]
    option = contract.option
    assert option is not None
    forward = in_strikes(option, world.markets[option.underlying].mark_sub)
    if not forward or market.state == codes.STATE_SETTLED:
        return
    mark_sub = recorded_sub or market.mark_sub
    if option.volatility_parts and not recorded_sub:
        left_ns = max(0, world.lives[instrument].terms.expiry_ns - world.clock_ns)
        discount_ppb = black76.discount_ppb(PPM, option.rate_ppm, left_ns)
        volatility = option.volatility_parts, option.whole_parts
        terms = (option.is_call, option.coin_sub, discount_ppb)
        mark_sub = black76.rounded(forward, option.strike, left_ns, *volatility, *terms)
    elif not mark_sub:
        return
    mark_sub = contract.clip_sub(mark_sub)
    before = (market.mark_sub, option.initial_sub, option.maintenance_sub, option.whole_sub)
    option.initial_sub, option.maintenance_sub = _short_rule(option, forward, mark_sub)
    group, index_sub = world.grid.groups.get(instrument), world.markets[option.underlying].index_sub
    charged = forward
    if group is not None and group.add_ons.price == "index" and index_sub:
        charged = in_strikes(option, index_sub)
    option.whole_sub = option.coin_sub or charged
    changed = before != (mark_sub, option.initial_sub, option.maintenance_sub, option.whole_sub)
    if changed:
        mark.set_mark(world, instrument, mark_sub)
    if grid.refresh_option(world, instrument) or changed:
        held = world.find_position(codes.INSURANCE, instrument)
        if held is not None and held.lots:
            world.touch(held.wallet)


def _short_rule(option: Option, forward: int, mark_sub: int) -> tuple[int, int]:
    """(initial, maintenance) of a short lot, in sub-ticks of the option."""
    whole = option.coin_sub or forward
    away = max(0, option.strike - forward if option.is_call else forward - option.strike)
    if option.coin_sub:
        away = option.coin_sub * away // forward
    maintenance = ppm_up(whole if option.is_call else max(whole, mark_sub), option.maintenance_ppm)
    least = max(maintenance, ppm_up(whole, option.floor_ppm))
    return max(least, ppm_up(whole, option.initial_ppm) - away), maintenance


def start_timer(world: World) -> None:
    """The first event about an option sets the timer of all."""
    if not world.has_option_timer:
        period_ns = world.policy.option_period_ns
        _set_timer(world, (world.clock_ns // period_ns + 1) * period_ns)


def _set_timer(world: World, due_ns: int) -> None:
    world.has_option_timer = True
    world.set_timer(due_ns, codes.PRIORITY_MARK, codes.OPTION_TICK, len(world.contracts))


def fire(world: World) -> None:
    """Refresh all options; again a period later, while one of them lives."""
    written = [k for k, contract in enumerate(world.contracts) if contract.option is not None]
    for instrument in written:
        refresh(world, instrument)
    world.has_option_timer = False
    if any(world.markets[k].state != codes.STATE_SETTLED for k in written):
        _set_timer(world, world.clock_ns + world.policy.option_period_ns)


def apply_mark(world: World, event: Event) -> None:
    """Take a recorded mark; an option's is its mark until the next refresh, whatever the profile says."""
    mark.apply_mark(world, event)
    if world.contracts[event.instrument].option is not None:
        refresh(world, event.instrument, max(1, event.price + world.markets[event.instrument].index_shift_sub))
        start_timer(world)


def apply_volatility(world: World, event: Event) -> None:
    """Take an option's mark volatility."""
    option = world.contract_of(event.instrument).option
    require(option is not None, codes.BAD_INSTRUMENT)
    assert option is not None
    require(1 <= event.price <= VOLATILITY_MAX * option.whole_parts, codes.BAD_AMOUNT)
    require(world.markets[event.instrument].state != codes.STATE_SETTLED, codes.SETTLED)
    option.volatility_parts = event.price
    refresh(world, event.instrument)
    start_timer(world)
