"""Liquidation in bulk: a crash with 100,000 liquidations of a million accounts on each path, and one large deleveraging."""

import time
from typing import Any

import numpy as np
import pytest

from benchmarks import venues
from benchmarks.crowd import INSTRUMENTS, Crowd
from benchmarks.measure import Row, measure, report, spread
from benchmarks.streams import MID_TICKS
from exchange import codes, config, schema, state
from exchange.rows import joined
from exchange.venue import FOREVER_NS

CASCADE, CRASH_STEP = 100_000, 10e-4  # liquidations, and how far all marks fall at a time
MS = 1_000_000
EVERY = 100 * MS  # ns from one fall to the next
DEPTH, FUND = 2 * 10**12, 10**11  # quanta: 2 M units of the asset a bid, 100,000 in the fund
AGAIN = 1.05  # so many times as many begin: on the market path the accounts are as many, though some recover
BIDDER = codes.FIRST_USER
CLOSE = {"below_ppm": 700_000, "action": "close"}
PATHS: dict[str, tuple[str, float, str, list[dict[str, Any]]]] = {
    "market": ("10a", 2.0, "", []),
    "incremental": ("10b", 5.0, "; a fifth of the largest leg every 100 ms to 1.2 x maintenance, all below 0.7 of it", [
        {"below_ppm": 1_000_000, "action": "reduce", "share_ppm": 200_000, "cooldown_ns": 100 * MS,
         "exit_ppm": 1_200_000}, CLOSE]),
    "auction": ("10c", 5.0, ("; an auction of each leg from 0 to 3 % below the mark in 50 ms, one rich account bids for "
                "all at 1 %; the whole account is closed below 0.7 x maintenance"), [
        {"below_ppm": 1_000_000, "action": "auction", "concession_from": "mark", "duration_ns": 50 * MS,
         "period_ns": 10 * MS, "concession_ppm": [[0, 0], [50 * MS, 30_000]], "exit_ppm": 1_200_000,
         "bidder": BIDDER, "bids_ppm": [[10_000, 1_000_000]]}, CLOSE]),
}
CANDIDATES, LOTS, ROUNDS = 10_000, 10, 15


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("path", PATHS)
def test_a_cascade(benchmark, path):
    place, floor, how, stages = PATHS[path]
    crowd = Crowd(1_000_000, fund=FUND, stages=stages)
    crowd.play(venues.deposits(np.array([BIDDER]), np.array([10**15]), 0))
    before, kept = int(crowd.control["guard_checks"]), []

    def crash() -> None:
        started = int(crowd.control["liquidation_seq"])
        while crowd.control["liquidation_seq"] - started < AGAIN * CASCADE:
            venues.run(crowd.state, crowd.stamp(crowd.fall(CRASH_STEP, DEPTH)), 0, kept)
            crowd.clock += EVERY
            venues.run(crowd.state, np.zeros(0, schema.EVENT), crowd.clock, kept)

    benchmark.pedantic(crash, rounds=1)
    seconds, outcomes = benchmark.stats.stats.data[0], joined(kept, schema.OUTCOME)
    kinds = {kind: outcomes[outcomes["kind"] == kind] for kind in
             (codes.LIQUIDATION_START, codes.LIQUIDATION_END, codes.LIQUIDATION_ORDER, codes.FILL, codes.TAKEN,
              codes.TAKEOVER, codes.ADL)}
    accounts = len(np.unique(kinds[codes.LIQUIDATION_START]["account"]))
    ends = len(kinds[codes.LIQUIDATION_END])
    closed = int(np.count_nonzero(kinds[codes.LIQUIDATION_END]["code"] == codes.CLOSED))
    used = {"market": (codes.FILL, codes.TAKEOVER, codes.ADL), "incremental": (codes.FILL,), "auction": (codes.TAKEN,)}
    assert ends >= CASCADE and closed >= CASCADE // 5
    assert min(len(kinds[kind]) for kind in used[path]) > 1_000, "the path was not taken"
    report(benchmark, Row(
        place=place, what=f"a crash with {CASCADE:,} liquidations of 1 M accounts, {path} path", value=seconds, unit="s",
        floor=floor, less_is_better=True, measured=f"{seconds:.2f} s",
        conditions=f"{crowd.accounts:,} cross accounts, 2 M positions, {INSTRUMENTS} instruments; marks and recorded "
        f"bids fall by {CRASH_STEP * 1e4:.0f} bp every {EVERY // MS} ms, each with bids of limited size, and a small fund{how}: "
        f"{ends:,} liquidations of {accounts:,} accounts, {closed:,} closed all positions, "
        f"{len(kinds[codes.LIQUIDATION_ORDER]):,} orders, {len(kinds[codes.FILL]):,} fills, "
        f"{len(kinds[codes.TAKEN]) // 2:,} legs taken in auctions, {len(kinds[codes.TAKEOVER]):,} takeovers, "
        f"{len(kinds[codes.ADL]) // 2:,} ADL closes; {int(crowd.control['guard_checks']) - before:,} units checked, "
        f"{len(outcomes):,} outcomes, taken out"))


def holders() -> tuple[state.State, np.ndarray]:
    """One account long against many that are short a contract each, its fund empty; and the mark that leaves it with
    less than nothing and no buyer in the book."""
    table = config.load_profile("binance_um")
    table |= {"mark": {"source": "recorded"}, "adl": {"trigger": "first"}}
    table["capacity"] = {"accounts": CANDIDATES + 1, "positions": CANDIDATES + 8}
    venue = config.build_venue(table)
    own, users = state.allocate(venue), codes.FIRST_USER + np.arange(CANDIDATES + 1)
    marks, opening = np.zeros(2, schema.EVENT), np.zeros(CANDIDATES, schema.EVENT)
    marks["kind"], marks["ts_ns"] = codes.MARK, (1, 2)
    marks["price"] = np.array([MID_TICKS, MID_TICKS * 9 // 10]) * venue.instruments[0].mark_per_tick
    opening["kind"], opening["ts_ns"], opening["price"], opening["qty"] = codes.OPEN_POSITION, 1, MID_TICKS, LOTS
    opening["account"], opening["order_id"] = users[0], users[1:]
    value = MID_TICKS * LOTS * int(own.prices.instruments[0]["unit_value"])
    cash = np.full(CANDIDATES + 1, value)
    cash[0] *= CANDIDATES // 20
    venues.run(own, np.concatenate((marks[:1], venues.deposits(users, cash, 1), opening)), 2)
    assert own.io.control[0]["rejected"] == 0
    return own, marks[1:]


@pytest.mark.benchmark(timer=time.process_time)
def test_a_deleveraging(benchmark):
    own, fall = holders()
    timing = measure(benchmark, ROUNDS, lambda: (venues.copy(own), fall, FOREVER_NS), venues.run)
    kept: list[np.ndarray] = []
    venues.run(own, fall, FOREVER_NS, kept)
    outcomes = joined(kept, schema.OUTCOME)
    closes = outcomes[outcomes["kind"] == codes.ADL]
    assert len(np.unique(closes["account"])) == CANDIDATES + 1, "not everybody was deleveraged"
    assert np.count_nonzero(outcomes["kind"] == codes.LIQUIDATION_START) == 1
    report(benchmark, Row(
        place="10d", what=f"a deleveraging of {CANDIDATES:,} candidates", value=1e3 * float(np.median(timing.own)),
        unit="ms", floor=50.0, less_is_better=True, measured=spread([1e3 * s for s in timing.own], "ms", 2),
        conditions=f"one account long against {CANDIDATES:,} that are short {LOTS} lots each; at a mark a tenth lower "
        f"all are ranked and closed, {len(closes):,} outcomes, in steps of 1,024"))
