"""Marks over a market in which many stops wait: what watching them costs."""

import time

import numpy as np
import pytest

from benchmarks.measure import Row, measure, report, spread, timed
from benchmarks.venues import deposits, run_slices, stream_venue
from exchange import codes, schema, state

ROUNDS = 10
STOPS, USERS, TICKS = 100_000, 1_000, 500_000
MARKS = 200_000


def market(stops: int) -> state.State:
    """A marked venue in which `stops` stop orders wait, half of them for a rise, from 1 % away on."""
    held = state.allocate(stream_venue(USERS, orders=STOPS))
    users = codes.FIRST_USER + np.arange(USERS)
    run_slices(held, np.concatenate([marks(held, np.zeros(1, np.int64)), deposits(users, np.full(USERS, 10**9), 1)]))
    rows = np.zeros(2 * stops, schema.EVENT)
    k = np.arange(stops)
    for part in (rows[::2].view(schema.TERMS), rows[1::2]):
        part["ts_ns"], part["account"], part["order_id"] = 1, users[k % USERS], 1 + k
    terms, orders = rows[::2].view(schema.TERMS), rows[1::2]
    terms["kind"], terms["trigger"] = codes.TERMS, codes.TRIGGER_MARK
    terms["trigger_ticks"] = TICKS + np.where(k % 2, -1, 1) * (5_000 + k * 7 % 20_000)
    orders["kind"], orders["side"], orders["flags"], orders["qty"] = codes.NEW, k % 2, codes.MARKET, 1
    run_slices(held, rows)
    assert held.io.control[0]["waiting"] == stops
    return held


def marks(held: state.State, steps: np.ndarray) -> np.ndarray:
    """One MARK a step away from the middle, in sub-ticks."""
    events = np.zeros(len(steps), schema.EVENT)
    events["ts_ns"], events["kind"] = 1, codes.MARK
    events["price"] = TICKS * int(held.prices.instruments[0]["mark_per_tick"]) + steps
    return events


@pytest.mark.benchmark(timer=time.process_time)
def test_marks_over_waiting_stops(benchmark):
    none, many = market(0), market(STOPS)
    walk = np.random.default_rng(3).integers(-400, 401, MARKS).cumsum() % 4_000
    for held in (none, many):
        run_slices(held, marks(held, walk))
    timing = measure(benchmark, ROUNDS, lambda: (many, marks(many, walk)), run_slices,
                     lambda: timed(run_slices, none, marks(none, walk)))
    assert many.io.control[0]["waiting"] == STOPS, "a stop fired"
    growth = 1 / timing.ratio
    report(benchmark, Row(
        place="4b", what=f"a mark over {STOPS:,} waiting stops against none", value=growth, unit="× the cost",
        floor=2.0, ratio=growth, less_is_better=True,
        measured=spread([1e9 * s / MARKS for s in timing.own], "ns a mark", 0),
        conditions=f"one instrument, no stop is reached, {USERS:,} flat accounts; without stops "
        f"{spread([1e9 * s / MARKS for s in timing.base], 'ns', 0)}"))
