"""The end of a call auction: price, trades and what is left, of many orders at once."""

import time

import numpy as np
import pytest

from benchmarks import venues
from benchmarks.measure import Row, measure, report, spread
from exchange import codes, config, schema, state

ROUNDS = 11
ORDERS, USERS, TICKS = 100_000, 100_000, 300_000
SPREAD = 400  # half of the ticks that orders are spread over
CASH = 10**12


def opening(venue: config.Venue) -> np.ndarray:
    """Rich accounts, a mark, an auction, and an order of each, at random prices either side of the mark."""
    users = codes.FIRST_USER + np.arange(USERS)
    rng = np.random.Generator(np.random.Philox(key=[1, 27]))
    start = schema.events(
        {"ts_ns": 2, "kind": codes.MARK, "price": TICKS * int(venue.instruments[0].mark_per_tick)},
        {"ts_ns": 2, "kind": codes.AUCTION_START, "price": TICKS})
    rows = np.zeros(ORDERS, schema.EVENT)
    rows["ts_ns"], rows["kind"], rows["side"] = 3, codes.NEW, rng.integers(0, 2, ORDERS)
    rows["price"] = TICKS + rng.integers(-SPREAD, SPREAD + 1, ORDERS)
    rows["account"], rows["order_id"] = users[np.arange(ORDERS) % USERS], 1 + np.arange(ORDERS)
    rows["qty"] = rng.integers(1, 50, ORDERS)
    return np.concatenate((venues.deposits(users, np.full(USERS, CASH), 1), start, rows))


@pytest.mark.benchmark(timer=time.process_time)
def test_an_auction_ends(benchmark):
    venue = venues.stream_venue(USERS, orders=ORDERS)
    first = state.allocate(venue)
    venues.touch(first)
    venues.run_slices(first, opening(venue))
    assert int(first.book.pools[0]["order_live"]) == ORDERS, "the opening was refused"
    end = schema.events({"ts_ns": 4, "kind": codes.AUCTION_END})

    def prepare():
        prepare.own = venues.copy(first)
        venues.touch(prepare.own)
        return prepare.own, end

    kept: list[np.ndarray] = []
    venues.run(*prepare(), 0, kept)
    outcomes = np.concatenate(kept)
    timing = measure(benchmark, ROUNDS, prepare, venues.run_slices)
    (auction,) = outcomes[outcomes["kind"] == codes.AUCTION]
    fills = int(np.count_nonzero(outcomes["kind"] == codes.FILL))
    took = [1e3 * seconds for seconds in timing.own]
    report(benchmark, Row(
        place="13", what=f"an auction of {ORDERS:,} orders ends", value=float(np.median(took)), unit="ms", floor=20.0,
        less_is_better=True, measured=spread(took, "ms"),
        conditions=f"limit orders of {USERS:,} accounts over {2 * SPREAD + 1} prices; {int(auction['lots']):,} lots at one "
        f"price in {fills:,} fills, each settled, margined and announced, units checked; "
        f"{int(prepare.own.book.pools[0]['order_live']):,} orders go on"))
