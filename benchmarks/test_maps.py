"""The liquidation map of a million accounts: read off the guards, and solved where accounts have several legs."""

import time

import numpy as np
import pytest

from benchmarks.crowd import Crowd
from benchmarks.measure import Row, measure, report, spread
from benchmarks.venues import crowd_venue, deposits, run_slices
from exchange import codes, maps, schema, state

ROUNDS, ACCOUNTS, TICKS = 5, 1_000_000, 100_000
LEVERAGE = (2, 50)


def singles(accounts: int) -> state.State:
    """Cross accounts with one position each in one instrument, opened against each other at the mark."""
    generator, held = np.random.default_rng(5), state.allocate(crowd_venue(accounts, 1))
    record = held.prices.instruments[0]
    users = codes.FIRST_USER + generator.permutation(accounts)
    pairs = np.zeros(accounts // 2, schema.EVENT)
    pairs["kind"], pairs["price"] = codes.OPEN_POSITION, TICKS
    pairs["account"], pairs["order_id"] = users[: len(pairs)], users[len(pairs) :]
    pairs["qty"] = np.maximum(1, 20 * np.exp(1.5 * generator.standard_normal(len(pairs)))).astype(np.int64)
    value = np.concatenate((pairs["qty"], pairs["qty"])) * TICKS * int(record["unit_value"])
    cash = (value / generator.uniform(*LEVERAGE, accounts)).astype(np.int64)
    mark = schema.events({"kind": codes.MARK, "price": TICKS * int(record["mark_per_tick"])})
    run_slices(held, np.concatenate((mark, deposits(users, cash, 0), pairs)))
    assert held.io.control[0]["rejected"] == 0 and not held.ledger.wallets["stage"].any()
    return held


@pytest.mark.benchmark(timer=time.process_time)
def test_map(benchmark):
    one, crowd = singles(ACCOUNTS), Crowd(ACCOUNTS)
    made = maps.liquidation_map(one, 0, 100)
    assert len(made.entries) + len(made.never) == ACCOUNTS and not made.entries["several"].any()
    timing = measure(benchmark, ROUNDS, lambda: (one, 0, 100), maps.liquidation_map)
    seconds, solved = [], 0
    for _ in range(ROUNDS):
        start = time.process_time()
        solved = len(maps.liquidation_map(crowd.state, 0, 100).entries)
        seconds.append(time.process_time() - start)
    conditions = f"{ACCOUNTS:,} cross accounts of one position, leverage {LEVERAGE[0]}–{LEVERAGE[1]}, rows of 100 ticks"
    several = f"{ACCOUNTS:,} cross accounts of two positions in 20 instruments: {solved:,} solved in one of them"
    report(benchmark,
           Row(place="3d1", what="liquidation map read off the guards", value=sorted(timing.own)[ROUNDS // 2],
               unit="s", floor=1.0, aim=0.5, less_is_better=True, measured=spread(timing.own, "s"),
               conditions=conditions),
           Row(place="3d2", what="liquidation map solved along one mark", value=sorted(seconds)[ROUNDS // 2], unit="s",
               floor=2.0, aim=1.0, less_is_better=True, measured=spread(seconds, "s"), conditions=several))
