"""What a position must hold: one instrument's tiers and margin model, checked and compiled. DESIGN §1, §3.15.

Part of the venue's configuration (`exchange/config.py`).
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np

from exchange import codes, units
from exchange.errors import ConfigError
from exchange.terms import MONEY_MAX, count_of, enough, number

if TYPE_CHECKING:
    from exchange.config import Compiled, Fees, Instrument

MILLION, BILLION = 10**6, 10**9
RATE_MAX_PPB = 8 * BILLION  # a rate of the risk model, all included: its products stay below 2**63
FEE_MAX_PPM = 100_000  # what SET_FEES may set
SETS_MAX = 8  # tier tables of one instrument, the first included

MARGIN = np.dtype(  # one an instrument; but for the fields said, only what is not plain reads it
    [
        ("at_entry", "i8"),  # maintenance of the entry value, not of the value at the mark
        ("order_rule", "i8"),
        ("orders_at_mark", "i8"),  # open orders count at the larger of their limits and the mark
        ("closing_fee", "i8"),
        ("at_bankruptcy", "i8"),  # the closing fee is that of the bankruptcy price
        ("by_leverage", "i8"),  # the chosen leverage counts in initial margin
        ("reserve_ppm", "i8"),  # rate of the closing fee; SET_FEES changes a taker's
        ("fraction_ppm", "i8"),  # of initial margin that is maintained
        ("risk_long_ppb", "i8"),
        ("risk_short_ppb", "i8"),
        ("slippage_ppb", "i8"),
        ("quadratic_ppt", "i8"),  # 1e-12 of the notional for each lot
        ("search_ppm", "i8"),  # levels as multiples of maintenance
        ("initial_ppm", "i8"),
        ("release_ppm", "i8"),
        ("interest_lower", "i8"),  # open interest from which initial rates rise, and where they are whole; 0 = never
        ("interest_upper", "i8"),
        ("tier_set", "i8"),  # the table in force, of any model
        ("set_count", "i8"),
        ("set_base", "i4", (SETS_MAX,)),
        ("set_size", "i4", (SETS_MAX,)),
    ],
    align=True,
)

Ppm = Annotated[int, msgspec.Meta(ge=0, le=MILLION)]
Ppb = Annotated[int, msgspec.Meta(ge=0, le=RATE_MAX_PPB)]
FactorPpm = Annotated[int, msgspec.Meta(ge=MILLION, le=100 * MILLION)]
TierRow = tuple[int, int, int, int, int]  # fields of schema.TIER


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Tier(_Struct):
    """Tier that holds from `floor` (money, decimal text) on. `initial_ppm`: the least initial rate in it.

    `maintenance_ppm` is left out where it follows from the initial rate, or from risk factors.
    """

    floor: str
    leverage_max: Annotated[int, msgspec.Meta(ge=1, le=650)]
    maintenance_ppm: Ppm | None = None
    initial_ppm: Ppm | None = None


class RiskLimits(_Struct):
    """BitMEX's rule for tiers: above `base_limit` each further `step` (money) adds `step_ppm` to both rates."""

    base_limit: str
    step: str
    steps: Annotated[int, msgspec.Meta(ge=0, le=1_000)]
    base_maintenance_ppm: Ppm
    base_initial_ppm: Annotated[int, msgspec.Meta(ge=1, le=MILLION)]
    step_ppm: Ppm


class Margin(_Struct):
    """Margin model of an instrument; the default is marginal tiers at the mark and the chosen leverage.

    `initial`: "model" leaves the chosen leverage out, where the model states initial margin itself.
    `maintenance_price`: "liquidation" is "mark", because a unit is breached at the mark at which both are the same.
    """

    tiers: Literal["marginal", "step"] = "marginal"
    maintenance_price: Literal["mark", "entry", "liquidation"] = "mark"
    closing_fee: Literal["none", "taker", "liquidation"] = "none"
    closing_fee_price: Literal["maintenance", "bankruptcy"] = "maintenance"
    order_margin: Literal["larger_side", "sum", "open_premium"] = "larger_side"
    order_price: Literal["limit", "larger"] = "limit"
    initial: Literal["leverage", "model"] = "leverage"
    maintenance_of_initial_ppm: Ppm | None = None
    open_interest_lower: str | None = None
    open_interest_upper: str | None = None
    risk_long_ppb: Ppb | None = None
    risk_short_ppb: Ppb | None = None
    linear_slippage_ppb: Ppb = 0
    quadratic_slippage_ppt: Ppb = 0
    search_factor_ppm: FactorPpm = MILLION
    initial_factor_ppm: FactorPpm = MILLION
    release_factor_ppm: FactorPpm = MILLION
    risk_limits: RiskLimits | None = None
    tier_sets: Annotated[tuple[tuple[Tier, ...], ...], msgspec.Meta(max_length=SETS_MAX - 1)] = ()


def limit_tiers(limits: RiskLimits, where: str) -> tuple[Tier, ...]:
    """The tiers of BitMEX's rule."""
    base, step = number(f"{where}.base_limit", limits.base_limit), number(f"{where}.step", limits.step)
    tiers = []
    for k in range(limits.steps + 1):
        initial, maintenance = (
            rate + k * limits.step_ppm for rate in (limits.base_initial_ppm, limits.base_maintenance_ppm)
        )
        if initial > MILLION:
            raise ConfigError(
                f"{where}.steps", f"initial margin passes 1000000 ppm at step {k}; at most {k - 1} would do"
            )
        floor = base + (k - 1) * step if k else Decimal(0)
        leverage = min(650, MILLION // initial)
        tiers.append(Tier(floor=f"{floor:f}", maintenance_ppm=maintenance, initial_ppm=initial, leverage_max=leverage))
    return tuple(tiers)


def compile_tiers(tiers: tuple[Tier, ...], margin: Margin, settle: str, quantum: Decimal, where: str) -> list[TierRow]:
    """Rows of one tier table; `where` is the path of the table."""
    if not tiers:
        raise ConfigError(where, "expected at least one tier, with floor 0")
    rows: list[TierRow] = []
    for k, tier in enumerate(tiers):
        place = f"{where}[{k}]"
        maintenance, initial = _rates(tier, margin, place)
        floor = _floor(tier, settle, quantum, place)
        cum = _cumulative(rows, floor, maintenance, tier, margin, place)
        rows.append((floor, cum, maintenance, tier.leverage_max * 100, initial))
    if margin.maintenance_of_initial_ppm is None and any(row[2] >= MILLION for row in rows):
        raise ConfigError(where, "a maintenance rate must stay below 1000000 ppm")
    return rows


def _rates(tier: Tier, margin: Margin, place: str) -> tuple[int, int]:
    """(maintenance, least initial) rate of a tier in ppm."""
    derived = margin.maintenance_of_initial_ppm is not None or margin.risk_long_ppb is not None
    if (tier.maintenance_ppm is None) != derived:
        what = "follows from the model; leave it out" if derived else "is missing; expected a rate in ppm"
        raise ConfigError(f"{place}.maintenance_ppm", what)
    if margin.maintenance_of_initial_ppm is None:
        return tier.maintenance_ppm or 0, tier.initial_ppm or 0
    initial = MILLION // tier.leverage_max if tier.initial_ppm is None else tier.initial_ppm
    return initial * margin.maintenance_of_initial_ppm // MILLION, initial


def _floor(tier: Tier, settle: str, quantum: Decimal, place: str) -> int:
    try:
        floor = units.whole(number(f"{place}.floor", tier.floor, positive=False), quantum)
    except ValueError as error:
        raise ConfigError(f"{place}.floor", str(error)) from None
    if floor >= MONEY_MAX:
        raise ConfigError(
            f"{place}.floor",
            f"{tier.floor} is {floor} quanta, beyond 2**62; a quantum of {enough(quantum, floor):f} for "
            f"{settle} would do",
        )
    return floor


def _cumulative(rows: list[TierRow], floor: int, maintenance: int, tier: Tier, margin: Margin, place: str) -> int:
    """Cumulative amount of the tier that follows `rows`; 0 where its rate holds for the whole position."""
    if not rows:
        if floor != 0:
            raise ConfigError(f"{place}.floor", f"the first tier starts at 0, got {tier.floor}")
        return 0
    before = rows[-1]
    if floor <= before[0]:
        raise ConfigError(f"{place}.floor", f"{tier.floor} is not above the tier before it")
    if maintenance < before[2]:
        raise ConfigError(f"{place}.maintenance_ppm", "maintenance rates must not fall from tier to tier")
    if tier.leverage_max * 100 > before[3]:
        raise ConfigError(f"{place}.leverage_max", "leverage must not rise from tier to tier")
    if margin.tiers == "step":
        return 0
    jump = floor * (maintenance - before[2])
    if jump % MILLION:
        raise ConfigError(
            f"{place}.floor",
            f"{tier.floor} makes the tier's cumulative amount a fraction of a quantum; margin would jump at its edge",
        )
    return before[1] + jump // MILLION


def compile_margin(
    record: np.void, row: np.void, instrument: "Instrument", fees: "Fees", quantum: Decimal, where: str
) -> list[TierRow]:
    """Write one instrument's model; returns the rows of its tier tables, the one in force first."""
    margin, place = instrument.margin, f"{where}.margin"
    tiers, source = instrument.tiers, f"{where}.tiers"
    if margin.risk_limits is not None:
        if tiers:
            raise ConfigError(f"{place}.risk_limits", "the tiers are stated too; expected one of the two")
        if margin.tiers != "step":
            raise ConfigError(f"{place}.tiers", 'risk limits hold for the whole position; expected "step"')
        source = f"{place}.risk_limits"
        tiers = limit_tiers(margin.risk_limits, source)
    tables = [(source, tiers), *((f"{place}.tier_sets[{k}]", one) for k, one in enumerate(margin.tier_sets))]
    compiled = [compile_tiers(table, margin, instrument.settle, quantum, at) for at, table in tables]
    record["tier_count"], row["set_count"] = len(compiled[0]), len(compiled)
    base = int(record["tier_base"])
    for k, rows in enumerate(compiled):
        row["set_base"][k], row["set_size"][k] = base, len(rows)
        base += len(rows)
    _compile_terms(row, margin, fees, quantum, place)
    rows = [one for table in compiled for one in table]
    record["margin_model"] = _model(margin, compiled, place)
    if instrument.kind == "option":
        if margin != Margin() or tiers[0].initial_ppm is not None:
            raise ConfigError(place, "what an option holds is stated in its table `option`; leave it out")
        record["margin_model"] = codes.MARGIN_OPTION
    if record["margin_model"] == codes.MARGIN_PLAIN and any(one[4] for one in rows):
        record["margin_model"] = codes.MARGIN_TIERS
    return rows


def _compile_terms(row: np.void, margin: Margin, fees: "Fees", quantum: Decimal, place: str) -> None:
    row["at_entry"] = margin.maintenance_price == "entry"
    rules = {"larger_side": codes.ORDERS_LARGER, "sum": codes.ORDERS_SUM, "open_premium": codes.ORDERS_PREMIUM}
    row["order_rule"] = rules[margin.order_margin]
    row["orders_at_mark"] = margin.order_price == "larger"
    kinds = {"none": codes.CLOSING_NONE, "taker": codes.CLOSING_TAKER, "liquidation": codes.CLOSING_LIQUIDATION}
    row["closing_fee"] = kinds[margin.closing_fee]
    row["reserve_ppm"] = {
        "none": 0,
        "taker": max(0, -(-fees.taker_ppb() // 1000)),
        "liquidation": fees.liquidation_ppm,
    }[margin.closing_fee]
    row["by_leverage"] = margin.initial == "leverage"
    row["at_bankruptcy"] = margin.closing_fee_price == "bankruptcy"
    if row["at_bankruptcy"] and margin.closing_fee == "none":
        raise ConfigError(f"{place}.closing_fee_price", 'needs closing_fee = "taker" or "liquidation"')
    if row["at_bankruptcy"] and row["reserve_ppm"] > FEE_MAX_PPM:
        raise ConfigError(
            f"{place}.closing_fee", f"at the bankruptcy price at most {FEE_MAX_PPM} ppm; got {row['reserve_ppm']}"
        )
    row["fraction_ppm"] = margin.maintenance_of_initial_ppm or 0
    row["risk_long_ppb"], row["risk_short_ppb"] = margin.risk_long_ppb or 0, margin.risk_short_ppb or 0
    row["slippage_ppb"], row["quadratic_ppt"] = margin.linear_slippage_ppb, margin.quadratic_slippage_ppt
    for name in ("search", "initial", "release"):
        row[f"{name}_ppm"] = getattr(margin, f"{name}_factor_ppm")
    if (margin.open_interest_lower is None) != (margin.open_interest_upper is None):
        raise ConfigError(f"{place}.open_interest_lower", "state both bounds of open interest, or neither")
    if margin.open_interest_lower is not None and margin.open_interest_upper is not None:
        lower = margin.open_interest_lower
        row["interest_lower"] = 0 if lower == "0" else count_of(f"{place}.open_interest_lower", lower, quantum)
        upper = count_of(f"{place}.open_interest_upper", margin.open_interest_upper, quantum)
        if not row["interest_lower"] < upper < MONEY_MAX:
            raise ConfigError(
                f"{place}.open_interest_upper",
                f"expected above open_interest_lower and below 2**62 quanta, got {upper}",
            )
        row["interest_upper"] = upper


def _model(margin: Margin, tables: list[list[TierRow]], place: str) -> int:
    """Which of the models of `core/requirement.py` the settings ask for."""
    if (margin.risk_long_ppb is None) != (margin.risk_short_ppb is None):
        raise ConfigError(f"{place}.risk_long_ppb", "state the risk factors of both sides, or neither")
    if margin.risk_long_ppb is not None:
        others = (margin.maintenance_of_initial_ppm, margin.open_interest_lower)
        plain = margin.tiers == "marginal" and margin.maintenance_price == "mark" and others == (None, None)
        if not plain or any(len(table) != 1 for table in tables) or any(table[0][4] for table in tables):
            raise ConfigError(
                f"{place}.risk_long_ppb",
                "with risk factors the requirement follows from them at the mark; expected one tier, which states "
                "the leverage, and no other model",
            )
        return codes.MARGIN_RISK
    factors = (margin.search_factor_ppm, margin.initial_factor_ppm, margin.release_factor_ppm)
    if margin.linear_slippage_ppb or margin.quadratic_slippage_ppt or factors != (MILLION,) * 3:
        raise ConfigError(f"{place}.risk_long_ppb", "slippage and margin levels need risk factors")
    if margin.initial == "model" and any(not row[4] for table in tables for row in table):
        raise ConfigError(f"{place}.initial", 'each tier must state its initial_ppm; or "leverage" would do')
    whole = margin.tiers == "step" or all(len(table) == 1 for table in tables)
    if margin.maintenance_of_initial_ppm is not None and whole:
        return codes.MARGIN_OF_INITIAL
    aside = {"risk_limits": None, "tier_sets": (), "maintenance_of_initial_ppm": None}
    if margin.maintenance_price == "liquidation":
        aside["maintenance_price"] = "mark"
    default = msgspec.structs.replace(margin, **aside) == Margin()
    return codes.MARGIN_PLAIN if default else codes.MARGIN_TIERS


def most_multiple(row: np.void, lots: int) -> int:
    """How many times its notional a position of `lots` may have to hold, rounded up; at least 1."""
    rate = _most_ppb(row, lots) * max(int(row[name]) for name in ("search_ppm", "initial_ppm", "release_ppm"))
    return max(1, -(-rate // (BILLION * MILLION)))


def check_rate(row: np.void, lots: int, where: str) -> None:
    """Refuse a risk model whose rate may pass what its products are proved for."""
    rate = _most_ppb(row, lots)
    if rate > RATE_MAX_PPB:
        raise ConfigError(
            f"{where}.margin",
            f"risk factor, slippages (quadratic at {lots} lots) and the highest fee come to {rate} ppb; at most "
            f"{RATE_MAX_PPB} are allowed",
        )


def _most_ppb(row: np.void, lots: int) -> int:
    risk = max(int(row["risk_long_ppb"]), int(row["risk_short_ppb"])) + int(row["slippage_ppb"])
    return risk + -(-int(row["quadratic_ppt"]) * lots // 1000) + 1000 * _most_reserve_ppm(row)


def _most_reserve_ppm(row: np.void) -> int:
    """The highest rate that the closing fee may be set to."""
    return max(int(row["reserve_ppm"]), FEE_MAX_PPM if row["closing_fee"] == codes.CLOSING_TAKER else 0)


def held_tiers(compiled: "Compiled", k: int) -> np.ndarray:
    """The tiers by which a population is drawn: their rates with the closing fee in them, rounded up.

    Of risk factors it is the larger one with the slippage of the largest position, at a leverage that initial margin
    allows.

    Raises
    ------
    ConfigError
        Where maintenance does not follow from the notional at the mark and the tiers alone.
    """
    record, row = compiled.instruments[k], compiled.margins[k]
    tiers = compiled.tiers[record["tier_base"] : record["tier_base"] + record["tier_count"]].copy()
    if row["at_entry"] or row["at_bankruptcy"]:
        raise ConfigError(
            f"$.venue.instruments[{k}].margin",
            "populations are drawn by tiers at the mark; expected no entry value or bankruptcy fee",
        )
    if record["margin_model"] == codes.MARGIN_RISK:
        rate_ppb = _most_ppb(row, int(record["position_max_lots"])) - 1000 * _most_reserve_ppm(row)
        tiers["maintenance_ppm"] = -(-rate_ppb // 1000)
        initial_ppm = -(-tiers["maintenance_ppm"] * row["initial_ppm"] // MILLION)
        tiers["leverage_max_e2"] = np.minimum(tiers["leverage_max_e2"], 100 * MILLION // initial_ppm)
    if record["margin_model"] == codes.MARGIN_OF_INITIAL:
        tiers["maintenance_ppm"] = -(-tiers["initial_ppm"] * row["fraction_ppm"] // MILLION)
    tiers["maintenance_ppm"] += row["reserve_ppm"]
    return tiers
