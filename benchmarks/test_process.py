"""What a fresh process costs: its memory, its first compilation, the demonstration."""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest

from benchmarks.measure import Row, measure, report, spread

ROOT = Path(__file__).parents[1]
ACCOUNTS = 1_000_000
GB = 1e9


def run_python(*arguments: str, **settings: str) -> str:
    """Run this Python in a process of its own; returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | settings
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, check=True, text=True,
                          capture_output=True).stdout


def test_memory(benchmark):
    text = []
    measure(benchmark, 1, tuple, lambda: text.append(
        run_python("-c", f"from benchmarks.crowd import hold; hold({ACCOUNTS})")))
    positions, reserved, peak = (int(word) for word in text[0].split())
    report(benchmark, Row(
        place="7", what="memory, 1 M accounts and 2 M positions", value=peak / GB, unit="GB", floor=1.5, aim=0.6,
        less_is_better=True, measured=f"{peak / GB:.2f} GB peak",
        conditions=f"peak resident memory of a fresh process that funded {ACCOUNTS:,} accounts and opened "
        f"{positions:,} positions on 20 instruments, all armed, Python and compiled code included; the venue reserves "
        f"{reserved / GB:.2f} GB"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder that starts empty; the demonstration runs on what `warmup` left in it."""
    return str(tmp_path_factory.mktemp("kernels"))


@pytest.mark.benchmark(timer=time.perf_counter)
def test_warmup(benchmark, cache):
    before = os.times()
    timing = measure(benchmark, 1, tuple, lambda: run_python("-m", "replay", "warmup", DELEVERAGE_CACHE_DIR=cache))
    after, wall = os.times(), timing.own[0]
    work = after.children_user + after.children_system - before.children_user - before.children_system
    report(benchmark, Row(
        place="8a", what="`deleverage warmup` from nothing", value=wall, unit="s", floor=90, aim=45,
        less_is_better=True, measured=f"{wall:.1f} s",
        conditions=f"{os.cpu_count()} cores, empty cache folder; wall time, {work:.1f} s of processor time in it"))


@pytest.mark.benchmark(timer=time.perf_counter)
def test_demo(benchmark, cache):
    def demo():
        return run_python("-m", "replay", "demo", DELEVERAGE_CACHE_DIR=cache)

    demo()
    timing = measure(benchmark, 3, tuple, demo)
    report(benchmark, Row(
        place="8b", what="`deleverage demo`, warm", value=median(timing.own), unit="s", floor=10, aim=3,
        less_is_better=True, measured=spread(timing.own, "s"),
        conditions="the whole process, all its runs (each refill model in overlay and in shadow), wall time"))
