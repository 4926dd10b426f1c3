"""Portfolio margin by a stress grid, from the rule: every scenario of every correlation mode, one after another."""

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from functools import cache
from math import trunc
from typing import TYPE_CHECKING

from exchange import codes, config
from exchange.basis import Basis
from exchange.expiries import Discount
from exchange.grids import StressGroup, StressScenario, scenarios_of
from exchange.reference import add_ons, black76
from exchange.reference.arithmetic import PPB, PPM, ceil_div
from exchange.reference.records import Position, Wallet

if TYPE_CHECKING:
    from exchange.reference.world import World

FALL_MAX = Fraction(99, 100)
OWN, BETA, CONTRA = range(3)
DAY_NS, YEAR_S = 86_400 * 10**9, 365 * 86_400


class Grid:
    """Terms of the venue's stress grid."""

    def __init__(self, venue: config.Venue):
        self.terms = venue.portfolio_margin
        self.scenarios: tuple[StressScenario, ...] = scenarios_of(self.terms) if self.terms.groups else ()
        symbols = [instrument.symbol for instrument in venue.instruments]
        self.groups: dict[int, StressGroup] = {
            symbols.index(symbol): group for group in self.terms.groups for symbol in group.members
        }
        self.option_gains: dict[tuple[int, int, int], int] = {}  # by option, number of the scenario, way
        self.long_gains: dict[tuple[int, int, int], int] = {}  # likewise, of an expiry that is worth more than nothing
        self.nets = self.terms.discount != Discount() or any(scenario.skew for scenario in self.scenarios)
        self.basis_gains: dict[int, list[int]] = {}  # by option, as its forward moves up and down
        self.basis = {k: group.basis_ppm.get(symbols[k], 0) for k, group in self.groups.items()}
        self.depths: dict[int, tuple[int, int, int]] = {}  # by contract: number of the period, bids and asks in money
        self.charged_sub: dict[int, int] = {}  # by contract whose charges are on values at the index: that, as measured
        self.strikes = {
            k: (i.option.underlying, i.life.expiry_ns, Decimal(i.option.strike))
            for k, i in enumerate(venue.instruments)
            if i.option is not None
        }

    def kept(self) -> list[dict[tuple[int, int, int], int]]:
        """What options gain as part of a short value and, where expiries are taken together, of a long one."""
        return [self.option_gains, self.long_gains] if self.nets else [self.option_gains]

    def moved_ppm(self, instrument: int, scenario: StressScenario, way: int) -> int:
        """How far the price of an instrument moves in a scenario: by its own range, its beta, or against its beta."""
        group = self.groups[instrument]
        scale = Fraction(group.range_ppm)
        if way != OWN:
            scale = Fraction(self.terms.factor_range_ppm * group.beta_ppm, PPM) * (-1 if way == CONTRA else 1)
        return _moved_ppm(scenario, scale, self.basis[instrument])


@cache
def _moved_ppm(scenario: StressScenario, scale_ppm: Fraction, basis_ppm: int) -> int:
    moved = Fraction(scenario.price_ppm, PPM) * scale_ppm + Fraction(scenario.basis_ppm * basis_ppm, PPM)
    return max(-int(FALL_MAX * PPM), trunc(moved))


@cache
def _gain_ppb(moved_ppm: int, cover_ppb: int, linear: bool) -> int:
    """What a long contract gains of its worth when its price moves so far."""
    return trunc(Fraction(moved_ppm, PPM if linear else PPM + moved_ppm) * cover_ppb)


def entry(world: "World", instrument: int, scenario: StressScenario, way: int) -> int:
    """What a long lot gains in a scenario, in parts of a quantum."""
    contract, mark_sub = world.contracts[instrument], world.markets[instrument].mark_sub
    if mark_sub == 0:
        return 0
    if contract.option is not None:
        return world.grid.option_gains.get((instrument, world.grid.scenarios.index(scenario), way), 0)
    linear = contract.kind == codes.LINEAR
    ppb = _gain_ppb(world.grid.moved_ppm(instrument, scenario, way), scenario.cover_ppb(), linear)
    parts = 2**world.grid.terms.scale_bits
    if linear:
        worth = contract.value(mark_sub, 1) * parts
    else:
        worth = contract.unit_value * contract.mark_per_tick * parts // mark_sub
    return worth * ppb // PPB


def ways(world: "World") -> list[int]:
    """The kinds of shocks that the modes need."""
    modes = {*world.grid.terms.modes}
    needs = {OWN: {"sum", "rho_one"}, BETA: {"one_factor", "flipped"}, CONTRA: {"flipped"}}
    return [way for way, names in needs.items() if names & modes]


def volatility(world: "World", now: int, whole: int, share_ppm: int, left_ns: int) -> int:
    """An option's volatility in a scenario that moves it by a share of the range."""
    terms = world.grid.terms.volatility
    left_ns, base_ns = max(terms.floor_days * DAY_NS, left_ns), terms.base_days * DAY_NS
    power_ppm = terms.short_power_ppm if left_ns < base_ns else terms.long_power_ppm
    factor = black76.power_of_times(base_ns, left_ns, power_ppm, whole)
    span_ppm = trunc(Fraction(share_ppm * (terms.up_ppm if share_ppm > 0 else terms.down_ppm), PPM))
    change = trunc(Fraction(span_ppm * factor, PPM))
    if not now or not change:
        return now
    least_ppm = 0 if change < 0 and terms.least_of == "risen" else terms.least_ppm
    return max(1, least_ppm * whole // PPM, now + trunc(Fraction(now * change, whole)))


def refresh_option(world: "World", instrument: int) -> bool:
    """Reckon anew what an option gains in each scenario, while a wallet needs it; whether anything changed."""
    contract, market = world.contracts[instrument], world.markets[instrument]
    option = contract.option
    assert option is not None
    needed = instrument in world.grid.groups and any(wallet.portfolio for wallet in world.wallets.values())
    forward = world.markets[option.underlying].mark_sub * option.numerator // option.denominator
    if not needed or not forward or not market.mark_sub or market.state == codes.STATE_SETTLED:
        return False
    parts, whole = 2**world.grid.terms.scale_bits, option.whole_parts
    left_ns = max(0, world.lives[instrument].terms.expiry_ns - world.clock_ns)
    now_ppb = black76.discount_ppb(PPM, option.rate_ppm, left_ns)

    def value(price: int, volatility: int, counted_ppb: int = now_ppb) -> int:
        terms = (option.strike * parts, left_ns, volatility, whole, option.is_call, option.coin_sub * parts)
        return min(black76.rounded(price, *terms, counted_ppb), contract.ticks_max * contract.mark_per_tick * parts)

    now = value(forward * parts, option.volatility_parts)
    before = dict(world.grid.option_gains), dict(world.grid.long_gains), dict(world.grid.basis_gains)
    if world.grid.terms.basis.any():
        basis, gains = world.grid.terms.basis, []
        for moved_ppm in (PPM + basis.up_ppm, PPM - basis.down_ppm):
            gained = value(max(1, forward * parts * moved_ppm // PPM), option.volatility_parts) - now
            gains.append(gained * basis_ppb(basis, left_ns) // PPB * contract.value(1, 1))
        world.grid.basis_gains[instrument] = gains
    discounts = counted(world, option.rate_ppm, left_ns)
    for s, scenario in enumerate(world.grid.scenarios):
        moved = volatility(world, option.volatility_parts, whole, scenario.volatility_ppm, left_ns)
        for way in ways(world):
            price = max(1, forward * parts * (PPM + world.grid.moved_ppm(instrument, scenario, way)) // PPM)
            if scenario.skew:
                money, terms = (option.strike * parts, price), world.grid.terms.skew
                moved = black76.skewed(terms, option.volatility_parts, money, left_ns, scenario.skew)
            for gains_of, counted_ppb in zip(world.grid.kept(), discounts, strict=False):
                gained = (value(price, moved, counted_ppb) - now) * scenario.cover_ppb() // PPB
                gains_of[instrument, s, way] = gained * contract.value(1, 1)
    return before != (world.grid.option_gains, world.grid.long_gains, world.grid.basis_gains)


def counted(world: "World", rate_ppm: int, left_ns: int) -> tuple[int, int]:
    """What counts, in ppb, of an expiry's value in a scenario: where it is below zero, where it is above."""
    terms = world.grid.terms.discount
    short_ppm = rate_ppm * (PPM - terms.short_rate_ppm) // PPM - terms.short_add_ppm
    long_ppm = rate_ppm * (PPM + terms.long_rate_ppm) // PPM + terms.long_add_ppm
    short_ppb = black76.discount_ppb(terms.short_ppm, short_ppm, left_ns)
    return short_ppb, black76.discount_ppb(terms.long_ppm, long_ppm, left_ns)


def basis_ppb(terms: Basis, left_ns: int) -> int:
    """What counts of a loss by the basis."""
    yearly_ppb = terms.yearly_ppm * 1000 * (left_ns // 10**9) // YEAR_S
    return min(terms.flat_ppm * 1000 + yearly_ppb, codes.COUNTED_TIMES_MAX * PPB)


def basis_loss(world: "World", legs: list[tuple[int, list[int]]]) -> int:
    """What options lose as the forward of each expiry moves for the worse, nothing offset from expiry to expiry."""
    moved: dict[tuple[str, int], list[list[int]]] = {}
    for instrument, lots in legs:
        if instrument in world.grid.basis_gains:
            rows = [min(count * gained for count in lots) for gained in world.grid.basis_gains[instrument]]
            moved.setdefault(world.grid.strikes[instrument][:2], []).append(rows)
    return sum(max(0, *(-sum(row[k] for row in rows) for k in range(2))) for rows in moved.values())


def is_held(world: "World", position: Position) -> bool:
    """Whether the grid margins the position."""
    return position.wallet.portfolio and position.mode == codes.CROSS and position.instrument in world.grid.groups


def is_alone(world: "World", position: Position) -> bool:
    """Whether the position holds what its own model says: in the grid only a holding does."""
    return bool(world.contracts[position.instrument].spot) or not is_held(world, position)


def gain(world: "World", leg: tuple[int, list[int]], scenario: StressScenario, way: int) -> int:
    """What (instrument, the lots that may be held) gains in a scenario, at worst."""
    each = entry(world, leg[0], scenario, way)
    return min(lots * each for lots in leg[1])


def gained(world: "World", legs: list[tuple[int, list[int]]], scenario: StressScenario, way: int) -> int:
    """What legs gain in a scenario: each by itself, but options that are netted by underlying and expiry."""
    alone, expiries = 0, dict[tuple[str, int], list[tuple[int, list[int]]]]()
    for leg in legs:
        if world.grid.nets and leg[0] in world.grid.strikes:
            expiries.setdefault(world.grid.strikes[leg[0]][:2], []).append(leg)
        else:
            alone += gain(world, leg, scenario, way)
    return alone + sum(expiry_gain(world, mine, scenario, way) for mine in expiries.values())


def expiry_gain(world: "World", legs: list[tuple[int, list[int]]], scenario: StressScenario, way: int) -> int:
    """What the options of one expiry gain, each at its worst: the lesser of what they do as a short and as a long
    value. A skew may be turned round: its change is a loss, and all that orders may change is one."""
    s = world.grid.scenarios.index(scenario)
    rows = [(lots, [gains.get((instrument, s, way), 0) for gains in world.grid.kept()]) for instrument, lots in legs]
    if not scenario.skew:
        return min(sum(min(count * each[k] for count in lots) for lots, each in rows) for k in range(2))
    changed = min(sum(lots[0] * each[k] for lots, each in rows) for k in range(2))
    orders = sum(max(abs(count - lots[0]) for count in lots) * max(map(abs, each)) for lots, each in rows)
    return -abs(changed) - orders


def losses(world: "World", legs: list[tuple[int, list[int]]]) -> Iterator[int]:
    """The basis contingency; the loss of every scenario of every mode, of the mode `sum`, where groups do not meet in
    one, the sum."""
    grid, modes = world.grid, world.grid.terms.modes
    yield basis_loss(world, legs)
    by_group: dict[str, list[tuple[int, list[int]]]] = {}
    for leg in legs:
        by_group.setdefault(grid.groups[leg[0]].name, []).append(leg)
    if "sum" in modes:
        yield sum(
            max(0, *(-gained(world, mine, scenario, OWN) for scenario in grid.scenarios)) for mine in by_group.values()
        )
    for scenario in grid.scenarios:
        if "rho_one" in modes:
            yield -gained(world, legs, scenario, OWN)
        if "one_factor" in modes:
            yield -gained(world, legs, scenario, BETA)
        if "flipped" in modes:
            for turned in by_group:
                yield -sum(
                    gained(world, mine, scenario, CONTRA if name == turned else BETA) for name, mine in by_group.items()
                )


def required(world: "World", legs: list[tuple[int, list[int]]], is_initial: bool = False) -> int:
    """Money that the worst loss and the add-ons ask for, as maintenance or as initial margin."""
    terms, worst = world.grid.terms, max(0, *losses(world, legs)) if legs else 0
    factor_ppm = terms.initial_factor_ppm if is_initial else terms.maintenance_factor_ppm
    return add_ons.required(world, legs, ceil_div(worst, 2**terms.scale_bits), factor_ppm, is_initial)


def maintenance(world: "World", wallet: Wallet) -> int:
    """Maintenance margin of all that the grid holds of a wallet."""
    held = [p for p in wallet.positions.values() if p.lots and is_held(world, p)]
    return required(world, [(p.instrument, [p.lots]) for p in held])


def initial(world: "World", wallet: Wallet, more: tuple[Position, int, int] | None = None) -> int:
    """Initial margin of it with open orders and one more (position, side, lots): each side may fill, or neither."""
    from exchange.reference.margin import order_lots

    legs = []
    for position in wallet.positions.values():
        if is_held(world, position):
            bids, asks = order_lots(position, codes.BID), order_lots(position, codes.ASK)
            if more is not None and more[0] is position:
                bids, asks = (bids + more[2], asks) if more[1] == codes.BID else (bids, asks + more[2])
            legs.append((position.instrument, [position.lots, position.lots + bids, position.lots - asks]))
    return required(world, [leg for leg in legs if any(leg[1])], is_initial=True)


def alone(world: "World", position: Position) -> int:
    """What a leg alone would hold, at least a quantum: its weight in the plan of a liquidation."""
    legs = [(position.instrument, [position.lots])]
    return max(1, required(world, legs))
