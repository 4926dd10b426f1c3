"""What makes index, mark and funding: the rules, fields as in the compiled record, and each market's state."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Pricing:
    """The profile's choices; `components` are (which, weight in ppm, stale after ns) in the profile's order."""

    index_stale_rule: int
    index_outliers_max: int
    index_half_away: int
    index_signed: int
    mark_mask: int
    combiner: int
    missing_drops: int
    clamp_ppm: int
    ema_keep_ppb: int
    trades_max: int
    trades: int
    window_ns: int
    decay_ppm: int
    decay_power: int
    funding_computed: int
    sample_ns: int
    expected: int
    premium_impact: int
    average: int
    tail_ppm: int
    missing_zero: int
    premium_cap_ppb: int
    factor_ppm: int
    interest_ppb: int
    interest_added: int
    band_ppb: int
    step_ppb: int
    share: int
    shares: int
    pays_index: int
    pays_per_lot: int
    funding_priority: int
    components: list[tuple[int, int, int]]


@dataclass(slots=True)
class PriceState:
    """A market's own terms, then its state. Trades are (time, ticks, lots), premiums ppb, both oldest first."""

    mark_money: int
    funding_money: int
    cap_ppb: int
    step_micro: int
    outside: list[bool]
    index_ns: int = 0
    mark_ns: int = 0
    last_ns: int = 0
    ema_usub: int | None = None
    trades: list[tuple[int, int, int]] = field(default_factory=list)
    premiums: list[int] = field(default_factory=list)
    premium_ppb: int = 0
    rate_ppb: int = 0
    has_timer: bool = False


def pricing_of(row: Any) -> Pricing:
    """The rules of a compiled record."""
    names = [name for name in Pricing.__dataclass_fields__ if name != "components"]
    parts = zip(*(row[name].tolist() for name in ("component", "component_ppm", "component_stale_ns")), strict=True)
    return Pricing(**{name: int(row[name]) for name in names}, components=list(parts)[: int(row["components"])])


def price_state_of(compiled: Any, k: int) -> PriceState:
    """A market's own terms of its compiled records."""
    terms = (int(compiled.price_states[k][name]) for name in ("mark_money", "funding_money", "cap_ppb", "step_micro"))
    first, count = int(compiled.instruments[k]["constituent_base"]), int(compiled.instruments[k]["constituent_count"])
    outside = [bool(flag) for flag in compiled.constituents["outside"][first : first + count]]
    return PriceState(*terms, outside=outside)
