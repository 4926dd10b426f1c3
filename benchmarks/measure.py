"""Paired measurement, and the row of the results table that each benchmark leaves in its `extra_info`."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import msgspec


class Row(msgspec.Struct, kw_only=True):
    """One row of RESULTS.md. `value` is what floor and aim are about, in `unit`."""

    place: str  # order in the table: a number, and a letter where several rows belong together
    what: str
    conditions: str
    value: float
    unit: str
    floor: float | None = None
    aim: float | None = None
    measured: str  # for the reader: median, least and most
    ratio: float | None = None  # product over baseline, within this run
    less_is_better: bool = False

    def reached(self, goal: float | None) -> bool | None:
        """Is a floor or an aim reached? None where there is none."""
        if goal is None:
            return None
        return self.value <= goal if self.less_is_better else self.value >= goal


class Timing(NamedTuple):
    """Seconds of each round, the baseline's measured just before the product's."""

    own: list[float]
    base: list[float]

    @property
    def ratio(self) -> float:
        """Median over the rounds of baseline time / product time."""
        return median(base / own for base, own in zip(self.base, self.own, strict=True))


def timed(function: Callable[..., Any], *args: Any) -> float:
    """Processor seconds of one call."""
    start = time.process_time()
    function(*args)
    return time.process_time() - start


def measure(benchmark: Any, rounds: int, prepare: Callable[[], tuple], run: Callable[..., Any],
            baseline: Callable[[], float] = lambda: 0.0) -> Timing:
    """Time `run(*prepare())`; before each round, but not in its time, `baseline` runs and returns its own seconds."""
    base: list[float] = []

    def setup() -> tuple[tuple, dict]:
        base.append(baseline())
        return prepare(), {}

    benchmark.pedantic(run, setup=setup, rounds=rounds)
    return Timing(list(benchmark.stats.stats.data), base)


def spread(values: list[float], unit: str, digits: int = 2) -> str:
    """Median (least–most) unit."""
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f}) {unit}"


def rates(count: int, seconds: list[float]) -> list[float]:
    """Millions a second, by round."""
    return [count / second / 1e6 for second in seconds]


def report(benchmark: Any, *rows: Row) -> None:
    """Leave the rows for the table; the first one also as plain fields."""
    first = rows[0]
    benchmark.extra_info.update(ratio=first.ratio, floor=first.floor, aim=first.aim, conditions=first.conditions,
                                rows=[msgspec.to_builtins(row) for row in rows])
