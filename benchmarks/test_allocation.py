"""A level of many orders shared in steps: what one order's share costs, settled and not."""

import time

import numpy as np
import pytest

from benchmarks import venues
from benchmarks.measure import Row, measure, rates, report, spread
from exchange import codes, config, schema, state
from exchange.core.allocation import plan_step
from exchange.core.kernel import entry

ROUNDS = 11
ORDERS, TAKERS, PLANS = 1_000, 40, 2_000
LOTS, TAKEN, TICKS = 400, 2_000, 300_000  # the largest order, what one taker takes, the price
CASH = 10**15
PRO_RATA = 3  # the step of core/allocation.py that sorts


@entry
def plan_level(state, lots, times):
    """Lay out the pro rata step of instrument 0's best ask level, again and again."""
    book, shares, count = state.book, state.io.shares, 0
    slot = np.int64(book.levels[np.int64(book.ladders[1]["level_base"]) + book.books[0]["best_ticks"][1]]["head"])
    while slot != 0:
        shares[count]["slot"] = slot
        count += 1
        slot = np.int64(book.orders[slot]["next"])
    for _ in range(times):
        plan_step(state, np.int64(0), np.int64(1), np.int64(PRO_RATA), np.int64(count), lots)
    return count


def level_venue() -> config.Venue:
    table = config.to_table(venues.stream_venue(ORDERS + 1, orders=2_000))
    table["instruments"][0]["allocation"] = {"algorithm": "pro_rata", "pro_rata_min_lots": 1, "leveling": True}
    for name in ("order_max", "position_max", "open_interest_max"):
        table["instruments"][0][name] = "10000"
    return config.build_venue(table)


def opening(venue: config.Venue) -> np.ndarray:
    """Rich accounts, a mark, and one ask of each at one price."""
    users = codes.FIRST_USER + np.arange(ORDERS + 1)
    mark = np.zeros(1, schema.EVENT)
    mark["ts_ns"], mark["kind"] = 2, codes.MARK
    mark["price"] = TICKS * int(venue.instruments[0].mark_per_tick)
    asks = np.zeros(ORDERS, schema.EVENT)
    asks["ts_ns"], asks["kind"], asks["side"], asks["price"] = 3, codes.NEW, codes.ASK, TICKS
    asks["account"], asks["order_id"] = users[:ORDERS], 1 + np.arange(ORDERS)
    asks["qty"] = np.random.Generator(np.random.Philox(key=[1, 21])).integers(LOTS // 2, LOTS, ORDERS)
    own_money = schema.events({"ts_ns": 2, "kind": codes.SET_LEVERAGE, "account": int(users[-1]), "qty": 100})
    return np.concatenate((venues.deposits(users, np.full(ORDERS + 1, CASH), 1), mark, own_money, asks))


def takers() -> np.ndarray:
    rows = np.zeros(TAKERS, schema.EVENT)
    rows["ts_ns"], rows["kind"], rows["price"], rows["qty"] = 4, codes.NEW, TICKS, TAKEN
    rows["account"], rows["order_id"] = codes.FIRST_USER + ORDERS, ORDERS + 1 + np.arange(TAKERS)
    rows["time_in_force"] = codes.IOC
    return rows


def prepared() -> state.State:
    venue = level_venue()
    own = state.allocate(venue)
    venues.touch(own)
    venues.run_slices(own, opening(venue))
    assert int(own.book.pools[0]["order_live"]) == ORDERS, "the opening was refused"
    return own


@pytest.mark.benchmark(timer=time.process_time)
def test_shares_of_a_level(benchmark):
    own = prepared()
    assert plan_level(own, np.int64(TAKEN), 1) == ORDERS
    timing = measure(benchmark, ROUNDS, lambda: (own, np.int64(TAKEN), PLANS), plan_level)
    speed = rates(ORDERS * PLANS, timing.own)
    report(benchmark, Row(
        place="12a", what="orders of a level given their pro rata share", value=float(np.median(speed)),
        unit="M allocations/s", floor=5.0, measured=spread(speed, "M allocations/s"),
        conditions=f"one level of {ORDERS:,} orders of {LOTS // 2}–{LOTS} lots, a taker of {TAKEN:,}: sizes, shares, "
        "order by size and time; nothing is settled"))


@pytest.mark.benchmark(timer=time.process_time)
def test_a_shared_level_matched(benchmark):
    events = takers()

    def prepare():
        own = prepared()
        prepare.control = own.io.control[0]
        prepare.before = int(own.io.control[0]["outcome_seq"])
        return own, events

    venues.run_slices(*prepare())
    timing = measure(benchmark, ROUNDS, prepare, venues.run_slices)
    count = (int(prepare.control["outcome_seq"]) - prepare.before - TAKERS) // 2
    speed = rates(count, timing.own)
    report(benchmark, Row(
        place="12b", what="a shared level matched and settled", value=float(np.median(speed)), unit="M fills/s",
        measured=spread(speed, "M fills/s"),
        conditions=f"the same level, {TAKERS} takers one after another, {count:,} fills, each with both sides settled "
        "and announced"))
