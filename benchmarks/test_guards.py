"""Marks against a million accounts: what the guards cost, and what one scan of all accounts costs."""

import time
from statistics import median

import numpy as np
import pytest

from benchmarks.crowd import INSTRUMENTS, LEVERAGE, Crowd, Scan
from benchmarks.measure import Row, measure, rates, report, spread, timed
from benchmarks.venues import finish, run_slices
from exchange import codes
from exchange.core.views import unit_health

ROUNDS = 5
ACCOUNTS = 1_000_000
CHECKED_MARKS, CHECKED_STEP = 40, 20e-4  # after each of them every account is recomputed; wide steps, to breach many
MARKS = {1.6: 100_000, 4.0: 16_000}  # a round, by step in basis points: both walks get equally far, 2.5 % an instrument


def stages(crowd: Crowd) -> np.ndarray:
    return crowd.state.ledger.wallets["stage"][codes.FIRST_USER:]


def check_exactness(crowd: Crowd) -> tuple[list[float], int]:
    """Recompute every account after each of some marks: the guards must have found exactly the breached ones.

    Returns the seconds of each scan and the number found.
    """
    seconds, found = [], 0
    events = crowd.walk(CHECKED_MARKS, CHECKED_STEP)
    for k in range(len(events)):
        scan = Scan(crowd)
        run_slices(crowd.state, events[k:k + 1])
        seconds.append(timed(scan.compute))
        breached, detected = scan.health < 0, stages(crowd) != codes.STAGE_NONE
        assert np.array_equal(breached, detected), f"{int((breached != detected).sum())} accounts missed or early"
        found += int(detected.sum())
        finish(crowd.state)
        assert not stages(crowd).any(), "a liquidation did not end"
    return seconds, found


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize(("step", "floor", "aim"), [(1.6, 1.0, 3.0), (4.0, 0.25, 0.5)])
def test_marks(benchmark, step, floor, aim):
    crowd, count = Crowd(ACCOUNTS), MARKS[step]
    run_slices(crowd.state, crowd.walk(2_000, step * 1e-4))
    checks, started = int(crowd.control["guard_checks"]), int(crowd.control["liquidation_seq"])
    timing = measure(benchmark, ROUNDS, lambda: (crowd.state, crowd.walk(count, step * 1e-4)), run_slices)
    checks, started = int(crowd.control["guard_checks"]) - checks, int(crowd.control["liquidation_seq"]) - started
    finish(crowd.state)
    left = crowd.positions
    seconds, found = check_exactness(crowd)
    per_second = rates(count, timing.own)
    speed = count * ROUNDS / sum(timing.own)  # the rounds differ: the further the walk, the more guards are near
    ratio = median(seconds) * speed
    letter = "a" if step < 2 else "b"
    walk = f"{step} bp steps"
    conditions = (f"{ACCOUNTS:,} cross accounts, 2 M positions, 20 instruments, leverage {LEVERAGE[0]}–{LEVERAGE[1]}; "
                  f"random walk of {ROUNDS} × {count:,} marks; {checks / count / ROUNDS:.2f} units checked per mark; "
                  f"{started:,} accounts liquidated, {left:,} positions left")
    exact = (f"one scan {spread([1e3 * s for s in seconds], 'ms', 1)}; after each of {CHECKED_MARKS} more marks, 20 bp "
             f"apart, all accounts were recomputed: the guards had found exactly the breached ones ({found:,})")
    report(benchmark,
           Row(place=f"3{letter}1", what=f"marks in {walk}", value=speed / 1e6, unit="M marks/s", floor=floor, aim=aim,
               measured=f"{speed / 1e6:.2f} over all; by round {spread(per_second, 'M marks/s')}", ratio=ratio,
               conditions=conditions),
           Row(place=f"3{letter}2", what=f"marks in {walk} against a vectorised scan per mark", value=ratio,
               unit="× the scan", floor=10_000, measured=f"{ratio:,.0f} × as many marks", ratio=ratio,
               conditions=exact))


@pytest.mark.benchmark(timer=time.process_time)
def test_marks_of_a_mixed_crowd(benchmark):
    crowd, count, step = Crowd(ACCOUNTS, mixed=True), MARKS[1.6], 1.6e-4
    run_slices(crowd.state, crowd.walk(2_000, step))
    checks, started = int(crowd.control["guard_checks"]), int(crowd.control["liquidation_seq"])
    timing = measure(benchmark, ROUNDS, lambda: (crowd.state, crowd.walk(count, step)), run_slices)
    checks, started = int(crowd.control["guard_checks"]) - checks, int(crowd.control["liquidation_seq"]) - started
    finish(crowd.state)
    ledger, sampled = crowd.state.ledger, 0
    for p in range(1 + 2 * INSTRUMENTS, len(ledger.positions), 97):
        if ledger.positions[p]["lots"]:
            unit = -p if ledger.positions[p]["mode"] == codes.ISOLATED else int(ledger.positions[p]["wallet"])
            assert unit_health(crowd.state, unit) >= 0, f"unit {unit} was missed"
            sampled += 1
    speed = count * ROUNDS / sum(timing.own)
    report(benchmark, Row(
        place="3c", what="marks in 1.6 bp steps, mixed accounts", value=speed / 1e6, unit="M marks/s", floor=0.5,
        measured=f"{speed / 1e6:.2f} over all; by round {spread(rates(count, timing.own), 'M marks/s')}",
        conditions=f"{ACCOUNTS:,} accounts, 70 % with isolated positions, 20 % cross, 10 % under portfolio margin (18 "
        f"scenarios, two modes), 2 M positions, {INSTRUMENTS} instruments, leverage {LEVERAGE[0]}–{LEVERAGE[1]}; random "
        f"walk of {ROUNDS} × {count:,} marks; {checks / count / ROUNDS:.2f} units checked per mark; {started:,} units "
        f"liquidated; of {sampled:,} units recomputed at the end none was missed"))


@pytest.mark.benchmark(timer=time.process_time)
def test_no_guard_crossed(benchmark):
    few, many, count = Crowd(10_000), Crowd(ACCOUNTS), 200_000
    for crowd in (few, many):
        run_slices(crowd.state, crowd.shuttle(count))
    before = int(few.control["guard_checks"]), int(many.control["guard_checks"])
    timing = measure(benchmark, 2 * ROUNDS, lambda: (many.state, many.shuttle(count)), run_slices,
                     lambda: timed(run_slices, few.state, few.shuttle(count)))
    assert before == (int(few.control["guard_checks"]), int(many.control["guard_checks"])), "a guard was crossed"
    growth = 1 / timing.ratio
    report(benchmark, Row(
        place="4", what="a mark that crosses no guard, 1 M accounts against 10 k", value=growth, unit="× the cost",
        floor=2.0, aim=1.1, ratio=growth, less_is_better=True,
        measured=spread([1e9 * s / count for s in timing.own], "ns a mark", 0),
        conditions=f"one sub-tick up and back, 20 instruments in turn, no unit checked; 10 k accounts "
        f"{spread([1e9 * s / count for s in timing.base], 'ns', 0)}; \"flat\" read as at most 1.1"))
