"""Captures: reading one into a tape, and the whole loop on a long one with accounts on it."""

import os
import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from benchmarks.measure import Row, measure, rates, report, spread
from exchange import codes
from exchange.venue import EVENTS_PER_CALL, Exchange
from replay import feeds, plays, seeding, session
from replay.population import Site
from replay.scenario import Scenario, build_scenario
from replay.source import open_feed
from replay.tape import Tape, level_slots, spec_of

ROUNDS = 3
ACCOUNTS = 100_000
EVENTS = 5_000_000
NS = 1_000_000_000
SEED_AFTER_NS = 30 * NS
SHARED = Path(os.environ.get("DELEVERAGE_SHARED") or Path(__file__).parents[2] / "shared")
CAPTURES = [SHARED / "data" / "binance_ws" / f"usdm_btcusdt_202304{day}.dat.gz" for day in ("04", "05")]
SYNTHETIC = {"duration_ms": 600_000, "step_ms": 50, "refresh": 10, "level_size": "25"}


def recorded() -> bool:
    return all(path.is_file() for path in CAPTURES)


def scenario(refill: str) -> Scenario:
    """The replay of the captures, or of a synthetic market where they are not there, with 100,000 accounts."""
    feed = {"files": [str(path) for path in CAPTURES]} if recorded() else {"synthetic": SYNTHETIC}
    return build_scenario({"profile": "binance_um", "feed": feed, "venue": {"index": {"feedback_ppm": 300_000}},
                           "population": {"accounts": ACCOUNTS, "open_interest": "20000"},
                           "run": {"seed": 1, "refills": [refill], "modes": ["overlay"]}}, ())


def repeat(rows: np.ndarray, times: int) -> np.ndarray:
    """The tape several times over, each time a second after the end of the last."""
    span = int(rows["ts_ns"][-1] - rows["ts_ns"][0]) + NS
    out = np.tile(rows, times)
    shift = np.repeat(np.arange(times) * span, len(rows))
    out["ts_ns"] += shift
    out["exchange_ns"] += shift
    rates_rows = out["kind"] == codes.FUNDING_RATE
    out["qty"][rates_rows] += shift[rates_rows]  # when it settles next
    return out


def play(exchange: Exchange, rows: np.ndarray) -> None:
    """Hand the rows over and take the outcomes, as a session does."""
    for start in range(0, len(rows), EVENTS_PER_CALL):
        exchange.submit(rows[start:start + EVENTS_PER_CALL])
        exchange.run()
        exchange.outcomes()


def seeded(plan: Scenario, tape: Tape) -> tuple[Exchange, int]:
    """A venue that played the tape's beginning and then got its population; the first row that is left."""
    exchange = Exchange(session.venue_for(plan, plays.variants_of(plan)[0], level_slots(tape.rows)))
    at = int(tape.rows["ts_ns"][0]) + SEED_AFTER_NS
    first = int(np.searchsorted(tape.rows["ts_ns"], at))
    play(exchange, tape.rows[:first])
    site = Site(0, at, int(exchange.markets[0]["mark_sub"]), exchange.depth_lots(0, codes.BID, session.DEPTH_PPM))
    play(exchange, seeding.seed_population(plan.population, plan.venue, exchange.compiled, [site]).events)
    assert exchange.state.io.control[0]["rejected"] == 0, "seeding was refused"
    return exchange, first


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("refill", ["none", "decay"])
def test_whole_tape(benchmark, refill):
    plan = scenario(refill)
    tape = open_feed(plan)
    rows = repeat(tape.rows, -(-EVENTS // len(tape.rows)) + 1)

    def prepare():
        prepare.exchange, first = seeded(plan, tape)
        prepare.rows = rows[first:first + EVENTS]
        return prepare.exchange, prepare.rows

    prepare()
    before = int(prepare.exchange.state.io.control[0]["guard_checks"])
    timing = measure(benchmark, ROUNDS, prepare, play)
    per_second, control = rates(EVENTS, timing.own), prepare.exchange.state.io.control[0]
    checks = int(control["guard_checks"]) - before
    kinds, counts = np.unique(prepare.rows["kind"], return_counts=True)
    mix = ", ".join(f"{count:,} {codes.EVENT_NAME[int(kind)]}" for kind, count in zip(kinds, counts, strict=True))
    feed = "Binance USD-M captures of 2023-04-04 and 05" if recorded() else "a synthetic market"
    report(benchmark, Row(
        place="5a" if refill == "none" else "5b", what=f"whole loop, L2 + trades tape, refill {refill}",
        value=median(per_second), unit="M events/s", floor=3.0, aim=8.0, measured=spread(per_second, "M events/s"),
        conditions=f"{feed}, repeated to {EVENTS:,} events ({mix}); {ACCOUNTS:,} accounts, computed mark, index "
        f"feedback 30 %; through Exchange.submit, run and outcomes, digest included; {checks:,} units checked, "
        f"{int(control['liquidation_seq']):,} accounts liquidated; seeding excluded"))


@pytest.mark.skipif(not recorded(), reason="the recorded captures are not there (DELEVERAGE_SHARED)")
@pytest.mark.benchmark(timer=time.perf_counter)
@pytest.mark.parametrize("written", [False, True])
def test_capture_to_tape(benchmark, written, tmp_path):
    specs = tuple(spec_of(instrument) for instrument in scenario("none").venue.instruments)

    def convert():
        convert.tape = feeds.read(CAPTURES, specs)
        if written:
            convert.tape.write(tmp_path / "tape.parquet")

    convert()
    timing = measure(benchmark, 5, tuple, convert)
    rows, lines = len(convert.tape), int(convert.tape.reports[-1]["lines"])
    per_second = [rows / second / 1e3 for second in timing.own]
    report(benchmark, Row(
        place="6b" if written else "6a",
        what="capture → tape, written to Parquet" if written else "capture → tape, in memory",
        value=median(per_second), unit="k rows/s", floor=300, aim=1_000, measured=spread(per_second, "k rows/s", 0),
        conditions=f"rows of the tape: {rows:,} out of {lines:,} lines of two gzipped captures "
        f"({lines / median(timing.own) / 1e3:.0f} k lines/s); wall time"))
