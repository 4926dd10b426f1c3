"""What another kind of contract and more instruments cost."""

import time

import numpy as np
import pytest

from benchmarks import streams, venues
from benchmarks.crowd import INSTRUMENTS
from benchmarks.measure import Row, measure, report, spread, timed
from benchmarks.streams import ACCOUNTS, LIVE, MESSAGES, MID_TICKS
from exchange import codes, config, schema, state

ROUNDS = 9
CASH = 10**12
LADDER = "20000"  # highest price of each instrument: twenty ladders are to fit in memory


def play(venue: config.Venue, opening: np.ndarray) -> state.State:
    """A venue after its accounts are funded, its marks set and its books filled."""
    own = state.allocate(venue)
    venues.touch(own)
    users = codes.FIRST_USER + np.arange(ACCOUNTS)
    marks = np.zeros(len(venue.instruments), schema.EVENT)
    marks["ts_ns"], marks["kind"], marks["instrument"] = 2, codes.MARK, np.arange(len(marks))
    marks["price"] = MID_TICKS * int(venue.instruments[0].mark_per_tick)
    venues.run_slices(own, np.concatenate((venues.deposits(users, np.full(ACCOUNTS, CASH), 1), marks, opening)))
    return own


def spread_stream(instruments: int, accounts_apart: bool) -> tuple[np.ndarray, np.ndarray]:
    """Opening and messages of as many streams as instruments, in turn; together they are as long as one alone.

    With `accounts_apart` each account trades one instrument, else any.
    """
    openings, messages, orders = [], [], 0
    for k in range(instruments):
        stream = streams.make_stream(MESSAGES // instruments, 7 + k, LIVE // instruments)
        for rows, part in ((openings, stream.opening), (messages, stream.messages)):
            events = streams.to_events(part, 0, seed=11 + k)
            events["instrument"], events["order_id"] = k, events["order_id"] + orders
            if accounts_apart:
                events["account"] += k - (events["account"] - codes.FIRST_USER) % instruments
            rows.append(events)
        orders += stream.orders + 1
    opening, mixed = (np.stack(rows, axis=1).ravel() for rows in (openings, messages))
    opening["ts_ns"], mixed["ts_ns"] = 3, 1_000_000 + np.arange(len(mixed))
    return opening, mixed


def compare(benchmark, own: tuple, base: tuple) -> tuple[float, list[float]]:
    """Median cost of one (venue, opening, events) over another's, and the first's seconds; nothing may be refused."""
    def setup():
        setup.state = play(*own[:2])
        return setup.state, own[2]

    def baseline():
        return timed(venues.run_slices, play(*base[:2]), base[2])

    venues.run_slices(*setup())
    timing = measure(benchmark, ROUNDS, setup, venues.run_slices, baseline)
    assert int(setup.state.io.control[0]["rejected"]) == 0
    return 1 / timing.ratio, timing.own


@pytest.mark.benchmark(timer=time.process_time)
def test_inverse_against_linear(benchmark, stream):
    opening, events = streams.to_events(stream.opening, 3), streams.to_events(stream.messages, 1_000_000)
    cost, seconds = compare(benchmark, (venues.stream_venue(ACCOUNTS, kind="inverse"), opening, events),
                            (venues.stream_venue(ACCOUNTS), opening, events))
    report(benchmark, Row(
        place="9a", what="an inverse contract against a linear one", value=cost, unit="× the cost", floor=1.15,
        ratio=cost, less_is_better=True, measured=spread([1e9 * s / MESSAGES for s in seconds], "ns a message", 0),
        conditions=f"the stream of row 2 through run(), {ACCOUNTS:,} accounts; nothing refused"))


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("apart", [True, False])
def test_many_instruments_against_one(benchmark, stream, apart):
    alone = streams.to_events(stream.opening, 3), streams.to_events(stream.messages, 1_000_000)
    many = venues.stream_venue(ACCOUNTS, positions=ACCOUNTS if apart else 6 * ACCOUNTS, instruments=INSTRUMENTS,
                               price_max=LADDER)
    cost, seconds = compare(benchmark, (many, *spread_stream(INSTRUMENTS, apart)),
                            (venues.stream_venue(ACCOUNTS, price_max=LADDER), *alone))
    whose = "each account trades one of them" if apart else "each account trades any of them and holds five on average"
    report(benchmark, Row(
        place="9b" if apart else "9c", what=f"an order on {INSTRUMENTS} instruments against one; {whose}", value=cost,
        unit="× the cost", floor=1.2 if apart else None, ratio=cost, less_is_better=True,
        measured=spread([1e9 * s / MESSAGES for s in seconds], "ns a message", 0),
        conditions=f"streams of row 2's mix, in turn, together {MESSAGES:,} messages and about {LIVE:,} live orders; "
        f"{ACCOUNTS:,} cross accounts; nothing refused"))
