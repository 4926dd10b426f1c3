"""Terms from the config that hold for an instrument or an asset alone: price impact, forced conversion, waterfall."""

from dataclasses import dataclass
from typing import Any, NamedTuple


class Conversion(NamedTuple):
    """Forced conversion for one asset: cash under -`below` is brought back to -`target` by selling `instruments`."""

    below: int
    target: int
    band_ppm: int
    charge_ppm: int
    delay_ns: int
    retry_ns: int
    instruments: list[int]


def conversion_of(row: Any, sales: list[int]) -> Conversion:
    """One asset's terms; nothing to sell means none."""
    terms = (int(row[name]) for name in ("below", "target", "band_ppm", "charge_ppm", "delay_ns", "retry_ns"))
    first = int(row["base"])
    return Conversion(*terms, sales[first : first + int(row["count"])])


class Stage(NamedTuple):
    """A threshold on equity over maintenance, and what happens to units below it."""

    below_ppm: int
    exit_ppm: int
    action: int
    dwell_ns: int
    cooldown_ns: int
    share_ppm: int
    tiers_down: int
    after_fees: int
    notional_above: int
    notional_min: int
    notional_max: int
    offer_ppm: int
    band_ppm: int
    spread_ppm: int
    shortage_ppm: int
    band_index: int
    fill_or_kill: int
    then_all: int
    beyond: int
    duration_ns: int
    period_ns: int
    concession_from: int
    concession: list[tuple[int, int]]  # points: ns since the start, ppm
    allowance: list[tuple[int, int]]
    payout: list[tuple[int, int]]
    bidder: int
    bids: list[tuple[int, int]]  # concession, share, both in ppm


def _stage(row: Any) -> Stage:
    numbers = [int(row[name]) for name in Stage._fields[: Stage._fields.index("concession")]]
    times, ppm = row["curve_ns"].reshape(3, -1).tolist(), row["curve_ppm"].reshape(3, -1).tolist()
    curves = [
        list(zip(*both, strict=True))[:count] for *both, count in zip(times, ppm, row["curve_points"], strict=True)
    ]
    bids = list(zip(row["bid_ppm"].tolist(), row["bid_share_ppm"].tolist(), strict=True))[: int(row["bids"])]
    return Stage(*numbers, *curves, int(row["bidder"]), bids)


def stages_of(rows: Any, assets: int) -> list[list[Stage]]:
    """The stages by asset; empty lists where the venue has none."""
    count = int(rows[0]["count"])
    return [[_stage(row) for row in rows[k * count : (k + 1) * count]] for k in range(assets)]


class Waterfall(NamedTuple):
    """What comes after the book in one asset: deleveraging, use of the fund, who bears its deficit."""

    ranking: int
    price: int
    overlap: int
    any_stage: int
    trigger: int
    start_below: int
    stop_at: int
    window_ns: int
    drawdown: int
    drawdown_ppm: int
    use_max: int
    interval_ns: int
    socialise: int
    backstop: int
    backstop_mark: int
    disposal_ns: int
    share_ppm: int
    notional_above: int
    notional_max: int
    offer_ppm: int
    band_ppm: int
    band_around: int


@dataclass(slots=True)
class Fund:
    """What the insurance fund of one asset remembers."""

    interval: int = 0
    used: int = 0
    window: int = 0
    peak: int = 0
    deleveraging: bool = False
    uncovered: int = 0


class Deficit(NamedTuple):
    """What the fund lacks, to be borne in an instrument once the event is over."""

    instrument: int
    money: int
    liquidation_id: int


@dataclass(slots=True)
class Impact:
    """Price impact of one instrument: terms from the config, then state. No impact where `volume_lots` is 0."""

    volume_lots: int
    permanent_ppm: int
    decaying_ppm: int
    keep_ppb: int
    period_ns: int
    square_root: int
    forced_only: int
    flow_lots: int = 0
    permanent_mlots: int = 0
    decaying_mlots: int = 0
    ticks: int = 0
    has_timer: bool = False
