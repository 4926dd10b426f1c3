"""How index, mark and funding rate are made: the profile's tables, checked and compiled to records. DESIGN §3.16.

Part of the venue's configuration (`exchange/config.py`).
"""

from decimal import Decimal
from math import gcd
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np

from exchange import codes, units
from exchange.errors import ConfigError
from exchange.liquidity import keep_ppb
from exchange.margins import TierRow
from exchange.schema_prices import PRICE_STATE, PRICING
from exchange.terms import MONEY_MAX, number

if TYPE_CHECKING:
    from exchange.config import Venue

Ppm = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
RatePpb = Annotated[int, msgspec.Meta(ge=-1_000_000_000, le=1_000_000_000)]
Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=10**18)]
Period = Annotated[int, msgspec.Meta(ge=1_000_000, le=10**15)]
Price = Literal[
    "index",
    "funding_basis",
    "average_basis",
    "ema_basis",
    "mid",
    "impact_mid",
    "last",
    "median_book",
    "trades",
    "recorded",
    "outside",
]
SAMPLES_MAX = 2**15  # with it every sum of premiums stays below 2**62
SHARES_MAX = 100_000
WEIGHTS_MAX = 4_000_000
DAY_NS = 86_400 * 10**9
AGELESS = ("mid", "impact_mid", "outside")  # the book is as old as now; sources have the index's stale_ns


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Constituent(_Struct):
    """One source of a computed index; with `use` mark it is another venue's mark, and none of the index."""

    name: str
    weight_ppm: Ppm
    use: Literal["index", "mark"] = "index"


class Index(_Struct):
    """How the index is made. `feedback_ppm` is this venue's share of it.

    `weighted` leaves sources further than `outlier_ppm` from the median out, `capped` holds them at it; with more than
    `outliers_max` left out the index is the median. `stale`: sources older than `stale_ns` drop out, or keep their
    last price; `freeze` also stops a computed mark while nothing newer than that came.
    """

    rule: Literal["composite", "median", "weighted", "capped", "weighted_median"] = "composite"
    outlier_ppm: Ppm = 50_000
    outliers_max: Annotated[int, msgspec.Meta(ge=0, le=64)] = 1
    stale_ns: Nanoseconds = 10_000_000_000
    stale: Literal["drop", "keep", "freeze"] = "drop"
    rounding: Literal["down", "half_away"] = "down"
    signed: bool = False  # sources may be zero or negative
    feedback_ppm: Ppm = 0


class Component(_Struct):
    """One price that a computed mark is combined of; it is missing when what it comes of is older than `stale_ns`."""

    price: Price
    weight_ppm: Ppm = 0
    stale_ns: Nanoseconds = 0


class Mark(_Struct):
    """Mark price: as recorded, or combined of components at every period. The default is Binance's three.

    `impact_notional` is decimal text in the settlement asset. `forced_trades`: fills of liquidation orders move last
    and trades. `clamp_ppm` holds the mark that near the index; 0 = it does not. Volatilities come in parts of a ppm,
    `volatility_per_ppm` of them.
    """

    source: Literal["recorded", "computed"] = "computed"
    period_ns: Nanoseconds = 1_000_000_000
    option_period_ns: Annotated[int, msgspec.Meta(ge=1, le=10**17)] = 1_000_000_000
    volatility_per_ppm: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    samples: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 30
    components: Annotated[tuple[Component, ...], msgspec.Meta(min_length=1)] = (
        Component(price="funding_basis"),
        Component(price="average_basis"),
        Component(price="last"),
    )
    combiner: Literal["median", "mean", "weighted"] = "median"
    missing: Literal["previous", "drop"] = "previous"
    clamp_ppm: Ppm = 0
    forced_trades: bool = True
    half_life_ns: Annotated[int, msgspec.Meta(ge=1_000_000, le=10**17)] = 150_000_000_000
    impact_notional: str = "0"
    trades_max: Annotated[int, msgspec.Meta(ge=1, le=1_024)] = 256
    window_ns: Annotated[int, msgspec.Meta(ge=1, le=10**15)] = 60_000_000_000
    decay_ppm: Ppm = 0
    decay_power: Annotated[int, msgspec.Meta(ge=1, le=8)] = 1


class Cap(_Struct):
    """Bound of the rate: `rate_ppb`, or a factor times initial less maintenance rate, of the first tier unless said."""

    rate_ppb: Annotated[int, msgspec.Meta(ge=0, le=10**15)] | None = None
    factor_ppm: Annotated[int, msgspec.Meta(ge=0, le=10**9)] | None = None
    initial_ppm: Ppm | None = None
    maintenance_of_initial_ppm: Ppm | None = None


class Funding(_Struct):
    """Funding: rates as recorded, or made of premium samples and settled at whole multiples of the interval.

    A computed rate is stated for `rate_ns` (0 = the interval) and paid for the interval's share of it. It is the
    average premium times `factor_ppm`, and the interest: added, or its distance to the average within `band_ppb`.
    """

    interval_ns: Period = 8 * 3600 * 1_000_000_000
    source: Literal["recorded", "computed"] = "recorded"
    sample_ns: Period = 60_000_000_000
    premium: Literal["mid", "impact"] = "mid"
    impact_notional: str = "0"
    premium_cap_ppb: Annotated[int, msgspec.Meta(ge=0, le=2_000_000_000)] = 1_000_000_000
    average: Literal["mean", "linear", "trimmed"] = "mean"
    tail_ppm: Ppm = 0
    missing: Literal["skip", "zero"] = "skip"
    factor_ppm: Annotated[int, msgspec.Meta(ge=0, le=100_000_000)] = 1_000_000
    interest_ppb: RatePpb = 0
    quote_rate_day_ppb: RatePpb = 0
    base_rate_day_ppb: RatePpb = 0
    interest: Literal["band", "added"] = "band"
    band_ppb: Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)] = 500_000
    rate_ns: Nanoseconds = 0
    cap: Cap | None = None
    step_ppb: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    notional: Literal["mark", "index"] = "mark"
    payment: Literal["rate", "per_lot"] = "rate"
    payment_step: str = ""  # money of one lot, decimal text; a millionth of a quantum unless said
    first: Literal["funding", "liquidation"] = "funding"


def compile_pricing(venue: "Venue") -> np.ndarray:
    """One record of the profile's rules."""
    records = np.zeros(1, PRICING)
    row = records[0]
    _compile_index(row, venue.index, venue.mark)
    _compile_mark(row, venue.mark)
    _compile_funding(row, venue.funding)
    return records


def _compile_index(row: np.void, index: Index, mark: Mark) -> None:
    stale = {"drop": codes.STALE_DROP, "keep": codes.STALE_KEEP, "freeze": codes.STALE_FREEZE}
    row["index_stale_rule"], row["index_outliers_max"] = stale[index.stale], index.outliers_max
    row["index_half_away"], row["index_signed"] = index.rounding == "half_away", index.signed
    if index.stale == "freeze" and mark.source == "recorded":
        raise ConfigError("$.venue.index.stale", "'freeze' stops a computed mark; expected 'drop' or 'keep' here")
    if index.signed and index.rule == "composite":
        raise ConfigError("$.venue.index.signed", "only constituents may be signed; rule 'composite' has none")


def _compile_mark(row: np.void, mark: Mark) -> None:
    names = [component.price for component in mark.components]
    if len(set(names)) != len(names):
        raise ConfigError("$.venue.mark.components", f"a component may be named once, got {', '.join(names)}")
    weights = sum(component.weight_ppm for component in mark.components)
    if mark.combiner == "weighted" and not 1 <= weights <= WEIGHTS_MAX:
        message = f"weights must add up to 1..{WEIGHTS_MAX} ppm, got {weights}"
        raise ConfigError("$.venue.mark.components", message)
    for k, component in enumerate(mark.components):
        if component.stale_ns and component.price in AGELESS:
            where = f"$.venue.mark.components[{k}].stale_ns"
            raise ConfigError(where, f"{component.price!r} has no age of its own; expected 0")
        row["component"][k] = codes.COMPONENTS.index(component.price)
        row["component_ppm"][k], row["component_stale_ns"][k] = component.weight_ppm, component.stale_ns
    row["components"] = len(names)
    if mark.source == "computed":
        row["mark_mask"] = sum(1 << codes.COMPONENTS.index(name) for name in names)
    combiners = {"median": codes.COMBINE_MEDIAN, "mean": codes.COMBINE_MEAN, "weighted": codes.COMBINE_WEIGHTED}
    row["combiner"], row["missing_drops"] = combiners[mark.combiner], mark.missing == "drop"
    row["clamp_ppm"], row["window_ns"] = mark.clamp_ppm, mark.window_ns
    row["decay_ppm"], row["decay_power"] = mark.decay_ppm, mark.decay_power
    if "ema_basis" in names:
        if mark.period_ns == 0:
            raise ConfigError("$.venue.mark.period_ns", "'ema_basis' decays once a period; expected more than 0")
        row["ema_keep_ppb"] = keep_ppb(mark.period_ns, mark.half_life_ns)
    default = Mark()
    is_default = all(getattr(mark, name) == getattr(default, name) for name in ("components", "combiner", "missing"))
    is_sure = not row["index_signed"] and row["index_stale_rule"] != codes.STALE_FREEZE  # a tick always has an index
    row["mark_plain"] = is_default and is_sure and not mark.clamp_ppm
    timed = any(c.stale_ns and c.price in ("last", "median_book", "trades") for c in mark.components)
    kept = "trades" in names and mark.source == "computed"
    row["trades_max"] = mark.trades_max if kept else 1
    row["trades"] = (
        codes.TRADES_TIMED * timed + codes.TRADES_KEPT * kept + codes.FORCED_IGNORED * (not mark.forced_trades)
    )


def _compile_funding(row: np.void, funding: Funding) -> None:
    row["funding_priority"] = codes.PRIORITY_MARK if funding.first == "funding" else codes.PRIORITY_FUNDING_LAST
    row["pays_index"], row["pays_per_lot"] = funding.notional == "index", funding.payment == "per_lot"
    stated_ns = funding.rate_ns or funding.interval_ns
    common = gcd(funding.interval_ns, stated_ns)
    row["share"], row["shares"] = funding.interval_ns // common, stated_ns // common
    if max(row["share"], row["shares"]) > SHARES_MAX:
        raise ConfigError("$.venue.funding.rate_ns", f"its ratio to interval_ns needs terms of at most {SHARES_MAX}")
    row["expected"] = 1
    row["step_ppb"], row["premium_cap_ppb"] = funding.step_ppb, funding.premium_cap_ppb
    if funding.source == "recorded":
        return
    expected, rest = divmod(funding.interval_ns, funding.sample_ns)
    if rest or not 1 <= expected <= SAMPLES_MAX:
        message = f"must divide interval_ns into at most {SAMPLES_MAX} samples; it leaves {rest} ns of {expected}"
        raise ConfigError("$.venue.funding.sample_ns", message)
    row["funding_computed"], row["sample_ns"], row["expected"] = 1, funding.sample_ns, expected
    row["premium_impact"] = funding.premium == "impact"
    averages = {"mean": codes.AVERAGE_MEAN, "linear": codes.AVERAGE_LINEAR, "trimmed": codes.AVERAGE_TRIMMED}
    row["average"], row["tail_ppm"] = averages[funding.average], funding.tail_ppm
    row["missing_zero"], row["factor_ppm"] = funding.missing == "zero", funding.factor_ppm
    days = (funding.quote_rate_day_ppb - funding.base_rate_day_ppb) * stated_ns
    row["interest_ppb"] = funding.interest_ppb + (abs(days) // DAY_NS if days > 0 else -(abs(days) // DAY_NS))
    row["interest_added"], row["band_ppb"] = funding.interest == "added", funding.band_ppb


def compile_price_states(venue: "Venue", records: np.ndarray, tiers: list[TierRow]) -> np.ndarray:
    """What each market's pricing has of its own: notionals, cap and payment step in its money."""
    rows = np.zeros(len(venue.instruments), PRICE_STATE)
    for k, instrument in enumerate(venue.instruments):
        where, record = f"$.venue.instruments[{k}]", records[k]
        quantum = number("$.venue.assets.quantum", venue.assets[int(record["asset"])].quantum)
        rows[k]["mark_money"] = _money("$.venue.mark.impact_notional", venue.mark.impact_notional, quantum)
        rows[k]["funding_money"] = _money("$.venue.funding.impact_notional", venue.funding.impact_notional, quantum)
        cap_ppb = _cap_ppb(venue.funding.cap, tiers[int(record["tier_base"])])
        rows[k]["cap_ppb"] = cap_ppb if cap_ppb < 0 else cap_ppb // venue.funding.step_ppb * venue.funding.step_ppb
        rows[k]["step_micro"] = _step_micro(venue.funding, quantum)
        if instrument.kind in ("spot", "option"):  # neither has funding or a combined mark
            continue
        outside = [c.use == "mark" for c in instrument.constituents]
        if any(c.price == "outside" for c in venue.mark.components) and not any(outside):
            raise ConfigError(f"{where}.constituents", "mark component 'outside' needs a constituent with use = 'mark'")
        if venue.funding.payment == "per_lot":
            if record["kind"] != codes.LINEAR:
                raise ConfigError("$.venue.funding.payment", "'per_lot' needs linear contracts; expected 'rate'")
            if int(record["ticks_max"]) * int(record["unit_value"]) * 1_000_000 >= MONEY_MAX // 4:
                message = "a lot at price_max is beyond 2**60 millionths of a quantum; a smaller lot would do"
                raise ConfigError(f"{where}.lot", message)
    return rows


def _money(where: str, text: str, quantum: Decimal) -> int:
    money = units.floor_count(number(where, text, positive=False), quantum)
    if not 0 <= money < MONEY_MAX // 4:
        raise ConfigError(where, f"{text} is {money} quanta; expected 0..2**60")
    return money


def _step_micro(funding: Funding, quantum: Decimal) -> int:
    if not funding.payment_step:
        return 1
    step = number("$.venue.funding.payment_step", funding.payment_step) * 1_000_000 / quantum
    if step != step.to_integral_value() or step >= MONEY_MAX:
        raise ConfigError("$.venue.funding.payment_step", f"expected a whole number of millionths of {quantum:f}")
    return int(step)


def _cap_ppb(cap: Cap | None, tier: TierRow) -> int:
    """Bound of the rate in ppb, rounded down; -1 = none. `tier` is the instrument's first."""
    if cap is None or (cap.rate_ppb is None and cap.factor_ppm is None):
        return -1
    bounds = [] if cap.rate_ppb is None else [cap.rate_ppb]
    if cap.factor_ppm is not None:
        _, _, maintenance_ppm, leverage_percent, stated_ppm = tier
        initial = Decimal(stated_ppm or Decimal(100_000_000) / leverage_percent)
        if cap.initial_ppm is not None:
            initial = Decimal(cap.initial_ppm)
        maintenance = Decimal(maintenance_ppm)
        if cap.maintenance_of_initial_ppm is not None:
            maintenance = Decimal((initial * cap.maintenance_of_initial_ppm / 1_000_000).__floor__())
        bounds.append(max(0, int((cap.factor_ppm * (initial - maintenance) / 1_000).__floor__())))
    return min(bounds)
