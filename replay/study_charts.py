"""Pictures of a study: losses by arm, paired differences, slippage tails, the course of the mean draw."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from exchange import units
from replay.charts import ALARM, CALM, GRID, INK, LONG, SHORT, Chart, short_number
from replay.scenario import Scenario
from replay.study import Made, Run
from replay.study_report import Figure, Report, liquidated_in, pool_of
from replay.tails import Estimate

COLORS = (LONG, SHORT, CALM, "#8367b0", "#c08a2b", "#4f9d9d", INK)
LEAST_SHARE = 1e-4  # of the value that is shown of a tail


def draw_all(report: Report, made: Made, scenario: Scenario, folder: Path) -> list[str]:
    """Every picture of a study, of the assets in which anybody was liquidated; their names."""
    pictures: dict[str, Callable[[Report, Made, Scenario, Path], None]] = {
        "fund_loss.png": draw_losses,
        "differences.png": draw_differences,
        "slippage.png": draw_slippage,
        "course.png": draw_course,
    }
    shown = {asset: report.quanta[asset] for asset in liquidated_in(report)}
    report = msgspec.structs.replace(report, quanta=shown or report.quanta)
    for name, draw in pictures.items():
        draw(report, made, scenario, folder / name)
    return list(pictures)


def _title(report: Report, what: str) -> str:
    return f"{what} · {report.scenario}, {len(report.draws)} draws"


def _line(k: int) -> dict[str, Any]:
    """The first arm's is wide, so that another on top of it leaves it to be seen."""
    return {"color": COLORS[k % len(COLORS)], "linewidth": 3.6 if k == 0 else 1.5}


def _losses(report: Report, made: Made, asset: str) -> dict[str, np.ndarray]:
    """Loss of the fund by draw, in the asset."""
    quantum = float(units.decimal(report.quanta[asset]))
    return {
        arm.name: quantum
        * np.array([one.draw.fund_loss for one in made.runs if (one.draw.arm, one.draw.asset) == (arm.name, asset)])
        for arm in report.arms
    }


def _figures(report: Report, asset: str) -> dict[str, Figure]:
    return {one.arm: one for one in report.figures if (one.asset, one.figure) == (asset, "fund_loss")}


def _mark(axes: Any, found: Estimate, quantum: float, y: float, color: str, form: str, label: str) -> None:
    """A point with its interval."""
    axes.plot([found.low * quantum, found.high * quantum], [y, y], color=color, linewidth=2.2, solid_capstyle="butt")
    axes.plot([found.value * quantum], [y], form, color=color, markersize=8, label=label, markeredgecolor="white")


def _name_rows(axes: Any, names: list[str], label: str) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(False, axis="y")
    axes.axvline(0, color=INK, linewidth=0.9, zorder=1)
    axes.set_xlabel(label)
    axes.xaxis.set_major_formatter(short_number)


def draw_losses(report: Report, made: Made, scenario: Scenario, path: Path) -> None:
    """Loss of the fund: a dot a draw, mean and ES 99 % with their intervals."""
    with Chart(path, _title(report, "loss of the insurance fund by liquidation path"), len(report.quanta)) as chart:
        for axes, asset in zip(chart.axes, report.quanta, strict=True):
            found, quantum = _figures(report, asset), float(units.decimal(report.quanta[asset]))
            for k, (name, losses) in enumerate(_losses(report, made, asset).items()):
                axes.plot(losses, np.full(len(losses), k - 0.18), "o", color=COLORS[k % len(COLORS)], alpha=0.45,
                          markersize=5, markeredgewidth=0)  # fmt: skip
                levels, hidden = found[name].levels, "_" if k else ""
                if levels is not None:
                    _mark(axes, levels.mean, quantum, k + 0.08, INK, "D", f"{hidden}mean, with interval")
                    _mark(axes, levels.es99, quantum, k + 0.26, ALARM, "s", f"{hidden}ES 99 %, with interval")
            axes.plot([], [], "o", color=GRID, label="a draw")
            _name_rows(axes, list(found), f"loss of the fund, {asset} (a gain is below 0)")
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=9)


def draw_differences(report: Report, made: Made, scenario: Scenario, path: Path) -> None:
    """Loss of the fund above that of the first arm, draw by draw."""
    first = report.arms[0].name
    title = _title(report, f"loss of the fund above that of {first}, draw by draw")
    with Chart(path, title, len(report.quanta)) as chart:
        for axes, asset in zip(chart.axes, report.quanta, strict=True):
            found, quantum = _figures(report, asset), float(units.decimal(report.quanta[asset]))
            losses = _losses(report, made, asset)
            for k, arm in enumerate(report.arms[1:]):
                above, levels = losses[arm.name] - losses[first], found[arm.name].above_first
                axes.plot(above, np.full(len(above), k - 0.15), "o", color=COLORS[(k + 1) % len(COLORS)], alpha=0.45,
                          markersize=5, markeredgewidth=0)  # fmt: skip
                if levels is not None:
                    _mark(axes, levels.mean, quantum, k + 0.12, INK, "D", f"{'_' if k else ''}mean, with interval")
            axes.plot([], [], "o", color=GRID, label="a draw")
            words = f"loss above {first}, {asset} (left of 0 the fund loses less)"
            _name_rows(axes, [arm.name for arm in report.arms[1:]], words)
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=9)


def _by_arm(made: Made, asset: str) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {one.arm.name: [] for one in made.arms}
    for run in made.runs:
        if run.draw.asset == asset:
            runs[run.draw.arm].append(run)
    return runs


def draw_slippage(report: Report, made: Made, scenario: Scenario, path: Path) -> None:
    """Share of the value that was closed further from the mark than x."""
    title = _title(report, "slippage of forced fills against the mark")
    with Chart(path, title, len(report.quanta)) as chart:
        for axes, asset in zip(chart.axes, report.quanta, strict=True):
            for k, (name, runs) in enumerate(_by_arm(made, asset).items()):
                pool = pool_of(runs)
                if len(pool.value):
                    beyond = 1 - np.cumsum(pool.weight) / int(pool.weight.sum())
                    axes.step(pool.value / 10_000, beyond, where="post", label=name, **_line(k))
            axes.set_yscale("log")
            axes.set_ylim(LEAST_SHARE, 1.1)
            axes.set_xlim(left=-0.1 * axes.get_xlim()[1])  # better fills than the mark are no tail
            axes.yaxis.set_major_formatter(lambda share, _: f"{share * 100:g} %")
            axes.set_ylabel("share of the value closed")
            axes.set_xlabel(f"slippage above, % of the mark · {asset}")
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="upper right")


def draw_course(report: Report, made: Made, scenario: Scenario, path: Path) -> None:
    """The mean draw: the fund's equity, and what was liquidated, since seeding."""
    with Chart(path, _title(report, "the mean draw"), 2 * len(report.quanta)) as chart:
        for place, asset in enumerate(report.quanta):
            quantum = float(units.decimal(report.quanta[asset]))
            above, below = chart.axes[2 * place : 2 * place + 2]
            for k, one in enumerate(row for row in report.paths if row.asset == asset):
                seconds = (np.arange(len(one.fund_change)) + 1) * report.interval_ms / 1000
                above.plot(seconds, np.array(one.fund_change) * quantum, label=one.arm, **_line(k))
                below.plot(seconds, np.array(one.liquidated_notional) * quantum, label=one.arm, **_line(k))
            above.axhline(0, color=INK, linewidth=0.9)
            above.set_ylabel(f"fund's equity since seeding, {asset}")
            below.set_ylabel(f"liquidated, {asset}")
            for axes in (above, below):
                axes.yaxis.set_major_formatter(short_number)
                for k, shock in enumerate(scenario.shocks):
                    span = (shock.start_ms / 1000, (shock.start_ms + shock.over_ms) / 1000)
                    axes.axvspan(*span, color=GRID, alpha=0.5, linewidth=0, label="_" if k else "shocks")
                axes.margins(x=0)
            below.set_xlabel("seconds since seeding")
            above.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(report.arms) + 1, fontsize=9)
