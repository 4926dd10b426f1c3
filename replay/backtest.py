"""A margin backtest: how often the requirement covered what the liquidation period took, and how it moved itself.

A position opens, or is about to be liquidated, at the start of each window with exactly the required margin. It fails
where the worst price inside the window costs more. Requirements are the venue's own, asked of its margin engine.
"""

import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

import msgspec
import numpy as np

from exchange import codes, maps, schema, units
from exchange.config import Venue
from exchange.errors import ConfigError
from exchange.venue import Exchange
from replay import coverage
from replay.coverage import CoverageTest
from replay.history import Windows
from replay.population import PPM
from replay.tables import Formats, table
from replay.times import utc

SECOND_NS = 1_000_000_000
WARM_UP = 10  # windows that a volatility is first taken from
SIDES = ("long", "short")


class Plan(msgspec.Struct, frozen=True):
    """What is tested: requirements beside maintenance, the position, the promise, the alternative's parameters."""

    leverages: tuple[int, ...]
    rates_ppm: tuple[int, ...]
    notional: str | None
    promised: float  # share of windows in which the margin is enough, between 0 and 1
    memory: float  # weight of the window before in the volatility of the next
    floor_ppm: int  # least rate of the volatility-scaled requirement
    change_ns: int  # over which the largest rise is measured


class Covered(msgspec.Struct, frozen=True):
    """One requirement for one side."""

    requirement: str
    side: str
    windows: int
    failures: int
    coverage: float
    kupiec: CoverageTest
    independence: CoverageTest
    conditional: CoverageTest
    worst_loss_ppm: int  # of the notional at the window's start
    worst_shortfall: int  # quanta of loss beyond the requirement; 0 = none


class Cycle(msgspec.Struct, frozen=True):
    """How one requirement of one unchanged position moved; money in quanta."""

    requirement: str
    lowest: int
    highest: int
    lowest_rate_ppm: int  # of the notional
    highest_rate_ppm: int
    peak_to_trough: float  # highest over lowest
    largest_rise: float | None  # share by which it grew in `change_windows`; None where the history is shorter


class Backtest(msgspec.Struct, frozen=True):
    """What `deleverage backtest --json` prints."""

    source: str
    symbol: str
    asset: str
    horizon_ns: int
    from_ns: int
    to_ns: int
    windows: int
    empty_windows: int
    lots: int
    notional: int  # at the first window's start
    promised: float
    change_windows: int
    covered: list[Covered]
    cycles: list[Cycle]


class Requirement(msgspec.Struct, frozen=True):
    """Margin in quanta by window, from the window `first` on."""

    name: str
    money: np.ndarray
    first: int = 0


class Tested(msgspec.Struct, frozen=True):
    """A report and what it was made from, by window: requirements, losses by side, notional."""

    report: Backtest
    held: list[Requirement]
    losses: np.ndarray
    notional: np.ndarray


def run_backtest(venue: Venue, instrument: int, windows: Windows, plan: Plan, source: str, horizon_ns: int) -> Tested:
    """Ask the venue for its requirements at the start of every window, and compare them with what was lost in it.

    Raises
    ------
    ConfigError
        When the position cannot be had at this size or leverage.
    """
    for option, share in (("--coverage", plan.promised), ("--memory", plan.memory)):
        if not 0 < share < 1:
            raise ConfigError(option, f"{share}; expected a share between 0 and 1")
    if min(plan.rates_ppm, default=1) < 1 or max((*plan.rates_ppm, plan.floor_ppm)) > PPM or plan.floor_ppm < 0:
        raise ConfigError("--rate-ppm, --floor-ppm", f"expected 1 to {PPM}")
    exchange = Exchange(venue)
    record = exchange.compiled.instruments[instrument]
    lots = _lots(exchange, instrument, windows, plan.notional)
    value = units.contract_value(record, windows.start_sub, lots)
    worst = (units.contract_value(record, windows.low_sub, lots), units.contract_value(record, windows.high_sub, lots))
    losses = np.stack((value - worst[0], worst[1] - value))
    notional = np.abs(value)
    held = _fixed(exchange, instrument, windows, lots, plan) + [_scaled(windows, notional, plan)]
    change = max(1, plan.change_ns // horizon_ns)
    covered = [_cover(one, k, losses[k], notional, plan) for one in held for k in range(len(SIDES))]
    spec = venue.instruments[instrument]
    report = Backtest(
        source,
        spec.symbol,
        spec.settle,
        horizon_ns,
        int(windows.start_ns[0]),
        int(windows.start_ns[-1]) + horizon_ns,
        len(notional),
        windows.empty,
        lots,
        int(notional[0]),
        plan.promised,
        change,
        covered,
        [_cycle(one, notional, change) for one in held],
    )
    return Tested(report, held, losses, notional)


def _lots(exchange: Exchange, instrument: int, windows: Windows, notional: str | None) -> int:
    """A position of the notional asked for at the first price; else a tenth of what the first tier holds."""
    record, spec = exchange.compiled.instruments[instrument], exchange.venue.instruments[instrument]
    quantum = units.decimal(next(a.quantum for a in exchange.venue.assets if a.name == spec.settle))
    most = int(record["position_max_lots"])
    start = int(windows.start_sub[0])
    one = abs(int(units.contract_value(record, start, 1000)))
    if notional is None:
        tier = int(record["tier_base"]) + 1
        last = int(record["tier_base"]) + int(record["tier_count"])
        wanted = int(exchange.compiled.tiers["floor"][tier]) // 10 if tier < last else one
    else:
        try:
            wanted = units.floor_count(units.decimal(notional), quantum)
        except ValueError as error:
            raise ConfigError("--notional", f"{error}; expected an amount of {spec.settle}") from None
    lots = wanted * 1000 // max(1, one)
    if notional is not None and not 1 <= lots <= most:
        raise ConfigError("--notional", f"{notional} {spec.settle} is {lots} lots; expected 1 to {most}")
    return max(1, min(lots, most))


def _fixed(exchange: Exchange, instrument: int, windows: Windows, lots: int, plan: Plan) -> list[Requirement]:
    """What the venue asks: maintenance, initial margin at each leverage, and flat rates to compare with."""
    record, spec = exchange.compiled.instruments[instrument], exchange.venue.instruments[instrument]
    notional = np.abs(units.contract_value(record, windows.start_sub, lots))
    made = []
    for k, leverage in enumerate((None, *plan.leverages)):
        slot = _open(exchange, instrument, codes.FIRST_USER + 2 * k, int(windows.start_sub[0]), lots, leverage)
        maintained, initial = maps.margins(exchange.state, slot, windows.start_sub)
        if leverage is None:
            made.append(Requirement("maintenance", maintained))
            continue
        tiers = exchange.compiled.tiers[int(record["tier_base"]) :][: int(record["tier_count"])]
        most = int(tiers["leverage_max_e2"][np.searchsorted(tiers["floor"], notional.max(), side="right") - 1]) // 100
        if leverage > most:
            raise ConfigError("--leverage", f"{leverage}; a position of this size in {spec.symbol} gets at most {most}")
        made.append(Requirement(f"initial at {leverage}x", initial))
    made += [Requirement(f"flat {rate / 10_000:g} %", _ppm_up(notional, rate)) for rate in plan.rates_ppm]
    return made


def _ppm_up(value: np.ndarray, ppm: int) -> np.ndarray:
    made: np.ndarray = value // PPM * ppm - (-(value % PPM * ppm) // PPM)
    return made


def _share_ppm(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """For tables: a float division, rounded once."""
    return np.rint(part / whole * PPM).astype(np.int64)


def _open(exchange: Exchange, instrument: int, account: int, mark_sub: int, lots: int, leverage: int | None) -> int:
    """Open the position against another account; its slot. No mark is known, so nothing is liquidated."""
    record = exchange.compiled.instruments[instrument]
    asset, here = int(record["asset"]), {"ts_ns": SECOND_NS, "instrument": instrument, "account": account}
    ticks = max(int(record["ticks_min"]), mark_sub // int(record["mark_per_tick"]))
    rows: list[dict[str, int]] = [
        here | {"kind": codes.DEPOSIT, "instrument": asset, "account": account + k, "qty": 1} for k in (0, 1)
    ]
    if leverage is not None:
        rows.append(here | {"kind": codes.SET_LEVERAGE, "qty": leverage * 100})
    most = int(record["order_max_lots"])
    for first in range(0, lots, most):
        part = min(most, lots - first)
        rows.append(here | {"kind": codes.OPEN_POSITION, "order_id": account + 1, "price": ticks, "qty": part})
    exchange.submit(schema.events(*rows))
    exchange.run()
    results = exchange.outcomes()
    refused = results[(results["kind"] == codes.RESULT) & (results["code"] != codes.OK)]
    if len(refused):
        raise ConfigError("$.venue", f"the position cannot be opened: {codes.RESULT_TEXT[int(refused['code'][0])]}")
    asset_wallet = exchange.wallet(account, asset)
    return int(asset_wallet["first_position"])


def _scaled(windows: Windows, notional: np.ndarray, plan: Plan) -> Requirement:
    """The alternative: a quantile of the normal distribution times the volatility of the windows before, both sides.

    The weights of past windows fall by `memory` and add up to one from the first window on.
    """
    returns = windows.end_sub / windows.start_sub - 1
    quantile = NormalDist().inv_cdf(plan.promised)
    variance = weight = 0.0
    rates = np.zeros(len(returns))
    for k, change in enumerate(returns.tolist()):
        rates[k] = quantile * math.sqrt(variance / weight) if weight else 0.0
        variance, weight = plan.memory * variance + change * change, plan.memory * weight + 1.0
    money = np.ceil(np.maximum(rates, plan.floor_ppm / PPM) * notional).astype(np.int64)
    words = f", at least {plan.floor_ppm / 10_000:g} %" if plan.floor_ppm else ""
    return Requirement(f"{quantile:.2f} volatilities{words}", money, min(WARM_UP, len(money) - 1))


def _cover(one: Requirement, side: int, losses: np.ndarray, notional: np.ndarray, plan: Plan) -> Covered:
    margin, loss = one.money[one.first :], losses[one.first :]
    failed = loss > margin
    failures, windows = int(failed.sum()), len(failed)
    share = coverage.kupiec(failures, windows, 1 - plan.promised)
    clusters = coverage.christoffersen(failed)
    return Covered(
        one.name,
        SIDES[side],
        windows,
        failures,
        1 - failures / windows,
        share,
        clusters,
        coverage.conditional(share, clusters),
        int(_share_ppm(loss, notional[one.first :]).max()),
        max(0, int((loss - margin).max())),
    )


def _cycle(one: Requirement, notional: np.ndarray, change: int) -> Cycle:
    money = one.money[one.first :]
    rate = _share_ppm(money, notional[one.first :])
    low, high = int(money.min()), int(money.max())
    rises = money[change:] / np.maximum(1, money[:-change]) - 1 if len(money) > change else np.zeros(0)
    return Cycle(
        one.name,
        low,
        high,
        int(rate.min()),
        int(rate.max()),
        round(high / max(1, low), 6),
        round(float(rises.max()), 6) if len(rises) else None,
    )


def backtest_tables(report: Backtest, venue: Venue) -> list[Any]:
    """What was tested, coverage, and how the requirements moved."""
    formats = Formats.of(venue, report.symbol)
    worth = f"{formats.money(report.notional)} {report.asset}"
    size = f"a position of {formats.size(report.lots)} {formats.unit}, at first worth {worth}"
    lines = [
        f"{report.source}: {utc(report.from_ns)} to {utc(report.to_ns)}",
        (
            f"{report.windows:,} windows of {report.horizon_ns / 1e9:,g} s, {report.empty_windows:,} more without a "
            f"price; {1 - report.promised:.2%} of them may fail; {size}"
        ),
    ]
    header = (
        "requirement",
        "side",
        "windows",
        "failures",
        "coverage",
        "Kupiec p",
        "independence p",
        "both p",
        "worst loss",
    )
    covered = [
        (
            one.requirement,
            one.side,
            f"{one.windows:,}",
            f"{one.failures:,}",
            f"{one.coverage:.3%}",
            *(f"{test.p_value:.4f}" for test in (one.kupiec, one.independence, one.conditional)),
            f"{one.worst_loss_ppm / 10_000:.3f} %",
        )
        for one in report.covered
    ]
    cycles = [
        (
            one.requirement,
            f"{one.lowest_rate_ppm / 10_000:.3f} %",
            f"{one.highest_rate_ppm / 10_000:.3f} %",
            formats.money(one.lowest),
            formats.money(one.highest),
            f"x {one.peak_to_trough:.3f}",
            f"{one.largest_rise:+.2%}" if one.largest_rise is not None else "",
        )
        for one in report.cycles
    ]
    rise = f"largest rise in {report.change_windows:,} windows"
    moved = ("requirement", "lowest rate", "highest", f"lowest {report.asset}", "highest", "peak to trough", rise)
    return [
        *lines,
        table("does the margin cover the worst price of the window?", header, covered),
        table("how the requirement of one unchanged position moved", moved, cycles),
    ]


def draw_backtest(tested: Tested, windows: Windows, path: Path) -> None:
    """Worst losses of both sides by window, as shares of the notional, against each requirement."""
    from replay.charts import ALARM, CALM, INK, LONG, SHORT, Chart

    report, notional = tested.report, tested.notional
    colors = [INK, CALM, "#8367b0", "#c08a2b", "#4f9d9d"]
    with Chart(path, f"margin backtest · {report.symbol} · windows of {report.horizon_ns / 1e9:,g} s") as chart:
        axes, hours = chart.axes[0], (windows.start_ns - windows.start_ns[0]) / 3.6e12
        for side, (sign, color) in enumerate(((-1, LONG), (1, SHORT))):
            share = sign * tested.losses[side] / notional * 100
            label = f"worst loss of a {SIDES[side]}"
            axes.bar(hours, share, report.horizon_ns / 3.6e12, align="edge", color=color, label=label)
        for k, one in enumerate(tested.held):
            color = ALARM if k == len(tested.held) - 1 else colors[k % len(colors)]
            for sign, label in ((1, one.name), (-1, "_other side")):
                share = sign * one.money / notional * 100
                axes.step(hours[one.first :], share[one.first :], where="post", color=color, label=label)
        axes.set_xlabel(f"hours since {utc(report.from_ns)}")
        axes.set_ylabel("% of the notional at the window's start")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8)
