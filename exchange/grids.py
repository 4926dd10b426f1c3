"""Portfolio margin by a stress grid: scenarios, groups, correlation modes, checked and compiled. DESIGN §3.17.

Part of the venue's configuration (`exchange/config.py`), compiled to the kernels' records here.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import msgspec
import numpy as np

from exchange import codes
from exchange.add_ons import RATES, AddOns, bound_short, compile_add_ons
from exchange.basis import Basis, check_basis
from exchange.codes import COUNTED_TIMES_MAX, COUNTS, SHOCK_BETA, SHOCK_CONTRA, SHOCK_OWN, SHOCKS
from exchange.errors import ConfigError
from exchange.expiries import FIELDS, SKEWS, Discount, Skew, compile_expiries, number_expiries
from exchange.stages import multiple as stages_multiple
from exchange.terms import MONEY_MAX, most_value

if TYPE_CHECKING:
    from exchange.config import Venue

MILLION, BILLION = 10**6, 10**9
FALL_MAX_PPM = 990_000  # no scenario takes more of a price: what is left of it stays above zero
VOLATILITY_TIMES_MAX = 400  # the most that a volatility moves by where it has finer parts: products stay below 2**63
SLOPE_MAX_PPB = 7 * BILLION  # factor times rate: the products of a guard stay below 2**63
MODES = {
    "sum": codes.STRESS_SUM,
    "one_factor": codes.STRESS_ONE_FACTOR,
    "rho_one": codes.STRESS_RHO_ONE,
    "flipped": codes.STRESS_FLIPPED,
}

GRID = np.dtype(  # one record
    [
        *((name, "i8") for name in ("scenarios", "groups", "modes", "variants", "grouped", "scale_bits")),
        *((name, "i8") for name in ("initial_ppm", "maintenance_ppm")),
        ("loss_alone", "i8"),  # the factors multiply the worst loss, and no charges
        *((name, "i8") for name in ("volatility_up_ppm", "volatility_down_ppm", "volatility_least_ppm")),
        ("least_of_risen", "i8"),
        *((name, "i8") for name in ("base_days", "floor_days", "short_power_ppm", "long_power_ppm")),
        ("holders", "i8"),  # wallets in portfolio mode; while there are none, risk arrays are not kept
        ("charged", "i8"),  # a group has add-ons
        ("strikes", "i8"),  # of options in groups that have
        ("depth_period_ns", "i8"),
        *((f"basis_{name}", "i8") for name in ("up_ppm", "down_ppm", "flat_ppm", "yearly_ppm")),
        ("expiries", "i8"),  # of options in groups
        ("sums_base", "i8"),  # place in the work space of two sums for each of them; 0 = no contingency
        ("nets_base", "i8"),  # place there of their rows where each is taken together; 0 = options count one by one
        ("long_base", "i8"),  # place among the risk arrays of those of expiries that are worth more than nothing
        *FIELDS,
    ],
    align=True,
)

MEMBER = np.dtype(  # one an instrument
    [
        ("group", "i8"),  # 0 = of none: it keeps the margin model of its instrument
        ("narrow", "i8"),  # every entry of its risk array has 32 bits
        ("fall_ppb", "i8"),  # the worst loss of a long in a notional of 10**9, with the maintenance factor; rounded up
        ("rise_ppb", "i8"),  # that of a short
        ("charge_ppb", "i8"),  # the most that charges, or a haircut, grow by with a notional of 10**9, likewise
        ("minimum_ppb", "i8"),  # the most that the minimum does
        ("depth_ppb", "i8"),  # the most that charges grow by as a notional of 10**9 falls, likewise
        *((name, "i8") for name in RATES),
        ("strike", "i8"),  # number, from 1, of an option's underlying, expiry and strike; 0 = no add-ons
        ("lead", "i8"),  # the first member of the group, which keeps the sums
        ("at_index", "i8"),  # charges are on values at the index
        ("measured", "i8"),  # once a period: its index, its depth, or both
        ("depth_number", "i8"),  # of the period in which that was last done, from 1; 0 = never
        ("index_sub", "i8"),  # the index of charges, since then
        *((name, "i8") for name in ("bids_money", "asks_money")),  # what may be held without a charge
        *((name, "i8") for name in ("group_bids_money", "group_asks_money")),
        ("expiry", "i8"),  # number, from 1, of an option's underlying and expiry; 0 = none
        *((name, "i8") for name in ("up_gain", "down_gain")),  # of a long lot as the basis moves, parts of a quantum
    ],
    align=True,
)

SHOCK = np.dtype(  # [(instrument * SHOCKS + variant) * scenarios + scenario]
    [("price_ppm", "i8"), ("rate_ppb", "i8")],
    align=True,  # of the price; of the value of a lot, cover included
)

Share = Annotated[int, msgspec.Meta(ge=-50_000_000, le=50_000_000)]
Signed = Annotated[int, msgspec.Meta(ge=-MILLION, le=MILLION)]
Ppm = Annotated[int, msgspec.Meta(ge=0, le=MILLION)]
Range = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
Factor = Annotated[int, msgspec.Meta(ge=100_000, le=4_000_000)]
Mode = Literal["sum", "one_factor", "rho_one", "flipped"]


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class StressScenario(_Struct):
    """Shares (ppm) of a group's price range, of the volatility range and of the basis; what of the loss counts.

    `cover_beyond_ppb` are billionths beyond the cover, where millionths are too coarse. A `skew` moves volatilities by
    moneyness, in place of the range.
    """

    price_ppm: Share = 0
    volatility_ppm: Signed = 0
    basis_ppm: Signed = 0
    cover_ppm: Annotated[int, msgspec.Meta(ge=0, le=COUNTED_TIMES_MAX * MILLION)] = MILLION
    cover_beyond_ppb: Annotated[int, msgspec.Meta(ge=0, le=999)] = 0
    skew: Literal["", "linear", "absolute"] = ""

    def cover_ppb(self) -> int:
        """What of the loss counts."""
        return 1000 * self.cover_ppm + self.cover_beyond_ppb


class StressGroup(_Struct):
    """What moves together: the contracts of one underlying, and spot instruments whose holdings take part in the
    scenarios beside their haircuts. `beta_ppm` is its stress beta to the one factor.

    `basis_ppm` says for instruments of the group how far they move against the others, e.g. perpetuals against futures.
    """

    name: str
    members: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    range_ppm: Range
    beta_ppm: Annotated[int, msgspec.Meta(ge=-10_000_000, le=10_000_000)] = MILLION
    basis_ppm: dict[str, Signed] = {}
    add_ons: AddOns = AddOns()


class VolatilityRange(_Struct):
    """How far volatility moves, as a share of itself: up_ppm or down_ppm times (base_days / days left) ** power.

    The power is the short one below `base_days`, else the long one; `floor_days` are the fewest that count. A
    volatility that moved is at least `least_ppm`; by `least_of` only one that rose.
    """

    up_ppm: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    down_ppm: Ppm = 0
    least_ppm: Annotated[int, msgspec.Meta(ge=0, le=100_000_000)] = 0
    least_of: Literal["moved", "risen"] = "moved"
    base_days: Annotated[int, msgspec.Meta(ge=1, le=3_650)] = 30
    floor_days: Annotated[int, msgspec.Meta(ge=1, le=3_650)] = 1
    short_power_ppm: Ppm = 300_000
    long_power_ppm: Ppm = 130_000


class PortfolioMargin(_Struct):
    """Margin of a wallet in portfolio mode: the worst loss over scenarios and correlation modes. No groups: none.

    `modes`: `sum` adds each group's worst loss, `rho_one` moves all groups by their ranges with one sign, `one_factor`
    by `factor_range_ppm` times their betas, `flipped` the same with one group's sign turned round, each in turn. Losses
    are reckoned in 2**`scale_bits` parts of a quantum. Depth is measured at the first mark of a `depth_period_ns`.
    `factors` multiply losses and add-ons, `all`, or the `loss` alone.
    """

    preset: Literal["", "span16", "deribit", "okx"] = ""
    scenarios: Annotated[tuple[StressScenario, ...], msgspec.Meta(max_length=256)] = ()
    groups: tuple[StressGroup, ...] = ()
    modes: Annotated[tuple[Mode, ...], msgspec.Meta(min_length=1)] = ("sum",)
    factor_range_ppm: Range = 150_000
    volatility: VolatilityRange = VolatilityRange()
    basis: Basis = Basis()
    discount: Discount = Discount()
    skew: Skew = Skew()
    initial_factor_ppm: Factor = MILLION
    maintenance_factor_ppm: Factor = MILLION
    factors: Literal["all", "loss"] = "all"
    depth_period_ns: Annotated[int, msgspec.Meta(ge=1, le=10**15)] = 1_000_000_000
    scale_bits: Annotated[int, msgspec.Meta(ge=0, le=12)] = 10

    def charge_factors_ppm(self) -> tuple[int, int]:
        """What add-ons are multiplied by for maintenance and for initial margin."""
        return (self.maintenance_factor_ppm, self.initial_factor_ppm) if self.factors == "all" else (MILLION, MILLION)


class Grid(NamedTuple):
    """What kernels read."""

    grids: np.ndarray  # GRID[1]
    scenarios: np.ndarray  # int64[3 * scenario]: volatility (ppm), cover (ppb), skew, for options; the rest: shocks
    members: np.ndarray  # MEMBER[instrument]
    shocks: np.ndarray  # SHOCK[...]


def _steps(prices: Iterable[int], volatilities: tuple[int, ...]) -> list[StressScenario]:
    return [StressScenario(price_ppm=x, volatility_ppm=v) for x in prices for v in volatilities]


THIRDS = (0, 333_334, -333_334, 666_667, -666_667, MILLION, -MILLION)  # exact: shocks are cut toward zero
UP_SAME_DOWN = (MILLION, 0, -MILLION)
FAR = {-4_125_000: 48_485, -2_062_500: 96_970, 3_125_000: 64_000, 6_250_000: 32_000, 12_500_000: 16_000,
       18_750_000: 10_667, 25_000_000: 8_000, 31_250_000: 6_400}  # fmt: skip
PRESETS: dict[str, list[StressScenario]] = {
    "": [],
    # CME's sixteen: thirds of the range x volatility up and down, twice the range at 35 %
    "span16": _steps(THIRDS, (MILLION, -MILLION))
    + [StressScenario(price_ppm=x, cover_ppm=350_000) for x in (2 * MILLION, -2 * MILLION)],
    # Deribit's nine prices x volatility, and its far moves (-66 % to 500 % where the range is 16 %) with the volatility
    # up, damped to a fifth of the range over the move, as Derive does
    "deribit": _steps(range(-MILLION, MILLION + 1, MILLION // 4), UP_SAME_DOWN)
    + [StressScenario(price_ppm=x, volatility_ppm=MILLION, cover_ppm=c) for x, c in FAR.items()],
    # OKX's MR1 and, at twice the range and half the loss, MR6
    "okx": _steps(THIRDS, UP_SAME_DOWN)
    + [StressScenario(price_ppm=x, cover_ppm=500_000) for x in (2 * MILLION, -2 * MILLION)],
}


def scenarios_of(terms: PortfolioMargin) -> tuple[StressScenario, ...]:
    """The scenarios in use: those of the preset, then those that are stated."""
    return (*PRESETS[terms.preset], *terms.scenarios)


def toward_zero(numerator: int, denominator: int) -> int:
    return numerator // denominator if numerator >= 0 else -(-numerator // denominator)


def price_shock_ppm(terms: PortfolioMargin, group: StressGroup, basis: int, scenario: StressScenario, kind: int) -> int:
    """How far a price moves in a scenario, toward zero, at most 99 % down."""
    moved = scenario.price_ppm * group.range_ppm * MILLION
    if kind != SHOCK_OWN:
        moved = scenario.price_ppm * terms.factor_range_ppm * group.beta_ppm * (-1 if kind == SHOCK_CONTRA else 1)
    return max(-FALL_MAX_PPM, toward_zero(moved + scenario.basis_ppm * basis * MILLION, MILLION * MILLION))


def rate_ppb(kind: int, price_ppm: int, cover_ppb: int) -> int:
    """What a long lot gains in a scenario, as a share of its notional now; an inverse one in coin."""
    if kind == codes.LINEAR:
        return toward_zero(price_ppm * cover_ppb, MILLION)
    return toward_zero(price_ppm * cover_ppb, MILLION + price_ppm)


def _check(venue: "Venue", scenarios: tuple[StressScenario, ...]) -> dict[str, tuple[int, StressGroup]]:
    """(number from 1, group) by symbol of every member."""
    terms, where = venue.portfolio_margin, "$.venue.portfolio_margin"
    found: dict[str, tuple[int, StressGroup]] = {}
    kinds = {instrument.symbol for instrument in venue.instruments}
    for k, group in enumerate(terms.groups):
        for symbol in group.members:
            if symbol not in kinds:
                raise ConfigError(f"{where}.groups[{k}].members", f"{symbol!r} is not among venue.instruments")
            if symbol in found:
                raise ConfigError(f"{where}.groups[{k}].members", f"{symbol!r} is in two groups, or twice in one")
            found[symbol] = k + 1, group
        if strange := sorted({*group.basis_ppm} - {*group.members}):
            raise ConfigError(f"{where}.groups[{k}].basis_ppm", f"{strange[0]!r} is not a member of the group")
    if terms.groups and not (any(s.price_ppm > 0 for s in scenarios) and any(s.price_ppm < 0 for s in scenarios)):
        raise ConfigError(f"{where}.scenarios", "expected prices that rise and prices that fall, or a preset")
    if terms.initial_factor_ppm < terms.maintenance_factor_ppm:
        raise ConfigError(
            f"{where}.initial_factor_ppm", f"expected at least maintenance_factor_ppm = {terms.maintenance_factor_ppm}"
        )
    check_basis(terms.basis)
    most_ppm = terms.volatility.up_ppm * max(1, terms.volatility.base_days // terms.volatility.floor_days)
    if venue.mark.volatility_per_ppm > 1 and most_ppm > VOLATILITY_TIMES_MAX * MILLION:
        raise ConfigError(f"{where}.volatility.up_ppm", "too far a move where mark.volatility_per_ppm is above 1")
    for k, scenario in enumerate(terms.scenarios):
        if scenario.cover_ppb() > COUNTED_TIMES_MAX * BILLION:
            raise ConfigError(f"{where}.scenarios[{k}].cover_beyond_ppb", "expected 0 where cover_ppm is 8000000")
        if scenario.skew and scenario.volatility_ppm:
            raise ConfigError(f"{where}.scenarios[{k}].volatility_ppm", "expected 0 where a skew moves volatilities")
    for instrument in venue.instruments:
        if instrument.option is not None and instrument.symbol in found:
            number, group = found[instrument.symbol]
            if found.get(instrument.option.underlying, (0, group))[0] != number:
                raise ConfigError(
                    f"{where}.groups[{number - 1}].members",
                    f"{instrument.symbol!r} is an option on {instrument.option.underlying!r}, which is not among them",
                )
    return found


def compile_grid(venue: "Venue", records: np.ndarray, options: np.ndarray) -> Grid:
    """The venue's grid; one record and no scenario where it has none."""
    terms = venue.portfolio_margin
    scenarios = scenarios_of(terms) if terms.groups else ()
    found, count = _check(venue, scenarios), len(scenarios)
    grids, members = np.zeros(1, GRID), np.zeros(len(records), MEMBER)
    row, symbols = grids[0], [instrument.symbol for instrument in venue.instruments]
    add_ons = {k: found[symbol][1].add_ons for k, symbol in enumerate(symbols) if symbol in found}
    row["charged"] = any(terms.any() for terms in add_ons.values())
    row["depth_period_ns"] = terms.depth_period_ns
    for k in add_ons:
        members[k]["group"] = found[symbols[k]][0]
    row["strikes"] = compile_add_ons(venue, add_ons, members) if row["charged"] else 0
    row["scenarios"], row["groups"], row["scale_bits"] = count, len(terms.groups), terms.scale_bits
    row["modes"] = sum(bit for name, bit in MODES.items() if name in terms.modes)
    row["grouped"] = bool({"sum", "flipped"} & {*terms.modes})
    row["variants"] = bool({"sum", "rho_one"} & {*terms.modes}) << SHOCK_OWN
    row["variants"] |= bool({"one_factor", "flipped"} & {*terms.modes}) << SHOCK_BETA
    row["variants"] |= ("flipped" in terms.modes) << SHOCK_CONTRA
    for name in ("base_days", "floor_days", "short_power_ppm", "long_power_ppm"):
        row[name] = getattr(terms.volatility, name)
    for name in ("up_ppm", "down_ppm", "least_ppm"):
        row[f"volatility_{name}"] = getattr(terms.volatility, name)
    row["least_of_risen"] = terms.volatility.least_of == "risen"
    row["loss_alone"] = terms.factors == "loss"
    row["initial_ppm"], row["maintenance_ppm"] = terms.initial_factor_ppm, terms.maintenance_factor_ppm
    for name in ("up_ppm", "down_ppm", "flat_ppm", "yearly_ppm"):
        row[f"basis_{name}"] = getattr(terms.basis, name)
    shocks = np.zeros(max(1, len(records) * SHOCKS * count), SHOCK)
    row["expiries"] = number_expiries(venue, found, members)
    compile_expiries(venue, row, len(shocks), work_size(row))
    for k, instrument in enumerate(venue.instruments):
        if instrument.symbol in found:
            group = found[instrument.symbol][1]
            for variant in range(SHOCKS):
                if int(row["variants"]) >> variant & 1:
                    first = (k * SHOCKS + variant) * count
                    basis = group.basis_ppm.get(instrument.symbol, 0)
                    for s, scenario in enumerate(scenarios):
                        price = price_shock_ppm(terms, group, basis, scenario, variant)
                        rate = rate_ppb(int(records[k]["kind"]), price, scenario.cover_ppb())
                        shocks[first + s] = price, 0 if records[k]["option"] else rate
            first = k * SHOCKS * count
            mine = shocks[first : first + SHOCKS * count]
            charged_ppm = 0 if records[k]["spot"] else group.add_ons.steepest_ppm()
            _bound(venue, records, members[k], mine["rate_ppb"], k, charged_ppm)
            if records[k]["spot"]:
                members[k]["charge_ppb"] = 1000 * instrument.haircuts[-1].haircut_ppm  # the steepest, and unscaled
            if records[k]["option"]:
                bound_short(venue, group.add_ons, records, options[k], k)
                _bound_option(venue, records, options[k], max(int(mine["price_ppm"].max()), terms.basis.up_ppm), k)
    kept = [(s.volatility_ppm, s.cover_ppb(), SKEWS.index(s.skew)) for s in scenarios] or [(0, 0, 0)]
    return Grid(grids, np.array(kept, np.int64).ravel(), members, shocks)


def _bound(venue: "Venue", records: np.ndarray, member: np.void, rates: np.ndarray, k: int, charged_ppm: int) -> None:
    """Write the worst slopes of a member; prove that its losses and charges, of all its lots and orders, stay below
    2**62."""
    terms, where = venue.portfolio_margin, f"$.venue.instruments[{k}].position_max"
    low, high = -min(0, *rates.tolist()), max(0, *rates.tolist())
    factor, most = terms.initial_factor_ppm, max(low, high) + 1000 * charged_ppm
    maintained_ppm, charges_ppm = terms.charge_factors_ppm()
    if factor * max(low, high) + charges_ppm * 1000 * charged_ppm > SLOPE_MAX_PPB * MILLION:
        raise ConfigError(
            "$.venue.portfolio_margin.groups",
            f"{venue.instruments[k].symbol!r} loses {most} ppb of its notional in a scenario, add-ons included; with "
            f"the initial factor at most {SLOPE_MAX_PPB} are allowed",
        )
    member["fall_ppb"] = -(-low * terms.maintenance_factor_ppm // MILLION)
    member["rise_ppb"] = -(-high * terms.maintenance_factor_ppm // MILLION)
    lots = max(int(records[k]["position_max_lots"]), int(records[k]["order_max_lots"]))
    if records[k]["option"]:  # which gains or loses at most the highest price
        most = max(BILLION * terms.basis.times(), *(scenario.cover_ppb() for scenario in scenarios_of(terms)))
    maintained_ppm = max(maintained_ppm, terms.maintenance_factor_ppm)
    compared = max(factor, charges_ppm, maintained_ppm * stages_multiple(venue))
    multiple = max(1, -(-compared * most // (MILLION * BILLION)))
    bound = most_value(records[k], lots) * 4 * len(records) * multiple
    if records[k]["kind"] == codes.INVERSE:
        bound = max(bound, int(records[k]["mark_unit"]))
    if bound << terms.scale_bits >= MONEY_MAX:
        bits = max(0, 62 - bound.bit_length())
        raise ConfigError(where, f"losses in a scenario pass 2**62 parts of a quantum; scale_bits = {bits} would do")


def _bound_option(venue: "Venue", records: np.ndarray, option: np.void, price_ppm: int, k: int) -> None:
    """Prove that forwards and strikes in parts of a sub-tick are exact in float64, and values whole numbers."""
    bits, of = venue.portfolio_margin.scale_bits, records[int(option["underlying"])]
    highest = int(of["ticks_max"]) * int(of["mark_per_tick"]) * int(option["numerator"]) // int(option["denominator"])
    most = max(highest * (MILLION + price_ppm) // MILLION, int(option["strike"])) + 1
    least = max(most >> (53 - bits), int(option["strike"]) * int(option["coin_sub"]) >> (62 - 2 * bits))
    if least:
        raise ConfigError(
            "$.venue.portfolio_margin.scale_bits",
            f"prices of {venue.instruments[k].symbol!r} in 2**{bits} parts of a sub-tick pass what float64 holds; "
            "expected fewer bits, or coarser sub-ticks",
        )


def counts_of(row: np.void) -> int:
    """How much of the work space holds what is counted for add-ons: its end."""
    return COUNTS * int(row["groups"]) + int(row["strikes"]) if row["charged"] else 0


def work_size(row: np.void) -> int:
    """Numbers that the margin of one wallet works with: a row a variant and group, the groups' rows, a list, a sum, and
    what add-ons count."""
    groups, count = int(row["groups"]), int(row["scenarios"])
    return SHOCKS * groups * count + 2 * groups + 2 + count + counts_of(row)
