"""What a study says: figures by arm, their tails, and paired differences against the first arm. DESIGN §10.5."""

from typing import Any

import msgspec
import numpy as np

from exchange import units
from replay import __version__, tails
from replay.population import PPM
from replay.scenario import Scenario
from replay.study import Draw, LeftOut, Made, Pair, Run
from replay.tables import table
from replay.tails import Estimate, Pool
from replay.venues import Difference, short

MEAN_PPM, WIDE_PPM, TAIL_PPM = 0, 900_000, 990_000  # levels of expected shortfall; at 0 it is the mean
QUANTILES_PPM = (500_000, 900_000, 990_000)
FIGURES = {
    "fund_loss": "quanta",
    "fund_worst_loss": "quanta",
    "bad_debt": "quanta",
    "bidder_loss": "quanta",
    "liquidated_notional": "quanta",
    "adl_notional": "quanta",
    "slippage_ppm": "ppm",
    "amplification_ppm": "ppm of shadow",
    "contained_ms": "ms",
}
SHOWN = {"ppm": (10_000, 2, " %"), "ppm of shadow": (PPM, 2, ""), "ms": (1_000, 1, " s")}  # divisor, digits, unit


class ArmRow(msgspec.Struct, frozen=True):
    """An arm: the digest of its configuration, every rule in which it differs from the first."""

    name: str
    about: str
    config_digest: str
    differs: list[Difference]


class Levels(msgspec.Struct, frozen=True):
    """Mean and expected shortfall of the worst tenth and hundredth of the draws."""

    mean: Estimate
    es90: Estimate
    es99: Estimate


class Figure(msgspec.Struct, frozen=True):
    """One figure of an arm over the draws that have it; `above_first`: by how much more than in the first arm."""

    arm: str
    asset: str
    figure: str
    unit: str
    draws: int
    levels: Levels | None
    paired_draws: int  # that have it in the first arm too
    above_first: Levels | None


class Slippage(msgspec.Struct, frozen=True):
    """Quantiles, by value, of what forced fills and takers of all draws got below the mark; none without any."""

    arm: str
    asset: str
    fills: int
    value: int  # quanta, at the marks
    quantiles_ppm: tuple[int, ...]
    slippage_ppm: list[Estimate]


class Path(msgspec.Struct, frozen=True):
    """Means over the draws by interval since seeding, in quanta."""

    arm: str
    asset: str
    fund_change: list[int]
    liquidated_notional: list[int]


class Report(msgspec.Struct, frozen=True):
    """The document of a study. Intervals are of the mid `confidence_ppm` of `resamples` of the draws, with `seed`."""

    version: str
    scenario: str
    seed: int
    draws_asked: int
    draws: list[Pair]
    left_out: list[LeftOut]
    bidder: int
    bidder_share_ppm: int
    resamples: int
    confidence_ppm: int
    interval_ms: int
    quanta: dict[str, str]
    arms: list[ArmRow]
    figures: list[Figure]
    slippage: list[Slippage]
    paths: list[Path]
    runs: list[Draw]


def report(made: Made, scenario: Scenario, seeds: range, bidder_share_ppm: int) -> Report:
    """Every number of a study."""
    names = [one.arm.name for one in made.arms]
    assets = list(dict.fromkeys(run.draw.asset for run in made.runs))
    figures, slippage, paths = list[Figure](), list[Slippage](), list[Path]()
    for asset in assets:
        by_arm = {name: [run for run in made.runs if (run.draw.arm, run.draw.asset) == (name, asset)] for name in names}
        for name in names:
            figures += [_figure(field, by_arm[name], by_arm[names[0]], seeds.start) for field in FIGURES]
            slippage.append(_slippage(by_arm[name], seeds.start))
            paths.append(_path(by_arm[name]))
    return Report(
        __version__,
        scenario.name,
        seeds.start,
        len(seeds),
        made.pairs,
        made.left_out,
        made.bidder,
        bidder_share_ppm,
        tails.RESAMPLES,
        tails.CONFIDENCE_PPM,
        scenario.run.interval_ms,
        {asset.name: asset.quantum for asset in scenario.venue.assets if asset.name in assets},
        [ArmRow(one.arm.name, one.arm.about, one.digest, one.differs) for one in made.arms],
        figures,
        slippage,
        paths,
        [run.draw for run in made.runs],
    )


def _figure(field: str, runs: list[Run], first: list[Run], seed: int) -> Figure:
    own, others = ([getattr(run.draw, field) for run in rows] for rows in (runs, first))
    alone = np.array([value for value in own if value is not None], dtype=np.int64)
    both = [(one, other) for one, other in zip(own, others, strict=True) if None not in (one, other)]
    levels = above = None
    if len(alone):
        chosen = tails.resamples(seed, len(alone))
        levels = Levels(*(tails.estimate(alone, chosen, level) for level in (MEAN_PPM, WIDE_PPM, TAIL_PPM)))
    if both and runs is not first:
        one, other = np.array(both, dtype=np.int64).T
        chosen = tails.resamples(seed, len(both))
        above = Levels(
            *(tails.estimate_difference(one, other, chosen, level) for level in (MEAN_PPM, WIDE_PPM, TAIL_PPM))
        )
    draw = runs[0].draw
    return Figure(draw.arm, draw.asset, field, FIGURES[field], len(alone), levels, len(both), above)


def pool_of(runs: list[Run]) -> Pool:
    """Slippage of all draws of an arm, by value."""
    return Pool.of([run.slippage_ppm for run in runs], [run.value for run in runs])


def _slippage(runs: list[Run], seed: int) -> Slippage:
    pool, draw = pool_of(runs), runs[0].draw
    made = pool.quantiles(QUANTILES_PPM, tails.resamples(seed, len(runs))) if len(pool.value) else []
    return Slippage(draw.arm, draw.asset, len(pool.value), int(pool.weight.sum()), QUANTILES_PPM, made)


def _path(runs: list[Run]) -> Path:
    length = min(len(run.fund_change) for run in runs)

    def mean(rows: list[np.ndarray]) -> list[int]:
        found: list[int] = (np.stack([row[:length] for row in rows]).sum(axis=0) // len(rows)).tolist()
        return found

    draw = runs[0].draw
    return Path(draw.arm, draw.asset, mean([run.fund_change for run in runs]), mean([run.liquidated for run in runs]))


def tail_words(draws: int) -> str:
    """What a hundredth of the draws is."""
    share = draws * (PPM - TAIL_PPM) / PPM
    if share < 1:
        return f"ES 99 % of {draws} draws is the worst alone, and its interval ends there; it takes 100 to say more"
    return f"ES 99 % is the mean of the worst {share:g} of {draws} draws"


def report_tables(made: Report) -> list[Any]:
    """What differs, what happened, and the tails, by settlement asset."""
    lines = [
        (
            f"{made.scenario}: {len(made.draws)} draws from seed {made.seed}, the same in every arm; "
            f"{len(made.left_out)} left out of all because one arm did not admit them"
        ),
        *(f"  seed {one.seed}, {one.arm}: {one.why}" for one in made.left_out),
        *(f"  {arm.name} {arm.config_digest}: {arm.about}" for arm in made.arms),
        *(_proof(arm, made.arms[0].name) for arm in made.arms[1:]),
    ]
    for asset in made.quanta:
        if asset in liquidated_in(made):
            lines += [_means(made, asset), _tails(made, asset), _slippage_table(made, asset)]
        else:
            lines.append(f"{asset}: nobody was liquidated in any draw")
    return [
        *lines,
        (
            f"in brackets: the middle {made.confidence_ppm / 10_000:g} % of {made.resamples:,} resamples of the draws; "
            f"{tail_words(len(made.draws))}"
        ),
    ]


def liquidated_in(made: Report) -> list[str]:
    """Assets in which anybody was liquidated."""
    return [asset for asset in made.quanta if any(run.liquidated_notional for run in made.runs if run.asset == asset)]


def _proof(arm: ArmRow, first: str) -> str:
    paths = ", ".join(row.path for row in arm.differs) or "nothing"
    return f"  {arm.name} differs from {first} in {paths}"


def _cell(found: Estimate | None, unit: str, quantum: float, sign: str = "") -> str:
    """A figure and, below it, its interval."""
    if found is None:
        return "-"
    divisor, digits, after = SHOWN.get(unit, (1, 0, ""))

    def text(value: int) -> str:
        if unit == "quanta":
            return f"{sign if value > 0 else ''}{short(value * quantum, 3)}"
        return f"{value / divisor:.{digits}f}"

    middle, low, high = text(found.value), text(found.low), text(found.high)
    return f"{middle}{after}" if low == high else f"{middle}{after}\n[{low}, {high}]"


def _chosen(made: Report, asset: str, field: str) -> dict[str, Figure]:
    return {one.arm: one for one in made.figures if (one.asset, one.figure) == (asset, field)}


def _means(made: Report, asset: str) -> Any:
    """Means of what happened."""
    header = {
        "liquidated": "liquidated_notional",
        "ADL": "adl_notional",
        "bad debt": "bad_debt",
        "bidder's loss": "bidder_loss",
        "slippage": "slippage_ppm",
        "times shadow": "amplification_ppm",
        "contained in": "contained_ms",
    }
    quantum, rows = float(units.decimal(made.quanta[asset])), []
    columns = [_chosen(made, asset, field) for field in header.values()]
    for arm in made.arms:
        own = [column[arm.name] for column in columns]
        rows.append((arm.name, *(_cell(one.levels.mean if one.levels else None, one.unit, quantum) for one in own)))
    return table(f"{asset}, means", ("arm", *header), rows)


def _tails(made: Report, asset: str) -> Any:
    """Loss of the fund: mean and tail, and how far above the first arm's."""
    loss, quantum = _chosen(made, asset, "fund_loss"), float(units.decimal(made.quanta[asset]))
    lowest, rows, first = _chosen(made, asset, "fund_worst_loss"), [], made.arms[0].name
    for arm in made.arms:
        own, worst, above = loss[arm.name].levels, lowest[arm.name].levels, loss[arm.name].above_first
        assert own is not None and worst is not None  # every draw has both
        cells = [_cell(found, "quanta", quantum) for found in (own.mean, own.es90, own.es99, worst.es99)]
        beside = (above.mean, above.es99) if above else (None, None)
        rows.append((arm.name, *cells, *(_cell(found, "quanta", quantum, "+") for found in beside)))
    header = ("arm", "mean", "ES 90 %", "ES 99 %", "lowest, ES 99 %", f"mean above {first}", f"ES 99 % above {first}")
    return table(f"{asset}, loss of the fund (a gain is negative)", header, rows)


def _slippage_table(made: Report, asset: str) -> Any:
    rows = []
    for one in made.slippage:
        if one.asset == asset:
            cells = [_cell(found, "ppm", 1.0) for found in one.slippage_ppm] or ["-"] * len(one.quantiles_ppm)
            rows.append((one.arm, f"{one.fills:,}", *cells))
    header = ("arm", "fills", *(f"{level / 10_000:g} % of value" for level in QUANTILES_PPM))
    return table(f"{asset}, slippage of forced fills against the mark, at most", header, rows)
