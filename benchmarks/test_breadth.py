"""What another kind of contract and more instruments cost, and a cascade over many of both."""

import time

import numpy as np
import pytest

from benchmarks import streams, venues
from benchmarks.crowd import INSTRUMENTS, Crowd
from benchmarks.measure import Row, measure, report, spread, timed
from benchmarks.streams import ACCOUNTS, LIVE, MESSAGES, MID_TICKS
from exchange import codes, config, schema, state
from exchange.rows import joined

ROUNDS = 9
CASH = 10**12
LADDER = "20000"  # highest price of each instrument: twenty ladders are to fit in memory
CASCADE, CRASH_STEP = 100_000, 10e-4  # accounts to liquidate, and how far all marks fall at a time
CASCADE_DEPTH, CASCADE_FUND = 2 * 10**12, 10**11  # quanta: 2 M units of the asset a bid, 100,000 in the fund
AGAIN = 1.05  # liquidations by account, so that the accounts are as many: some recover and are liquidated again


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


@pytest.mark.benchmark(timer=time.process_time)
def test_a_cascade(benchmark):
    crowd = Crowd(1_000_000, fund=CASCADE_FUND)
    before, kept = int(crowd.control["guard_checks"]), []

    def crash() -> None:
        started = int(crowd.control["liquidation_seq"])
        while crowd.control["liquidation_seq"] - started < AGAIN * CASCADE:
            venues.run(crowd.state, crowd.stamp(crowd.fall(CRASH_STEP, CASCADE_DEPTH)), 0, kept)
            venues.finish(crowd.state, kept)

    benchmark.pedantic(crash, rounds=1)
    seconds, outcomes = benchmark.stats.stats.data[0], joined(kept, schema.OUTCOME)
    kinds = {kind: outcomes[outcomes["kind"] == kind] for kind in
             (codes.LIQUIDATION_START, codes.LIQUIDATION_END, codes.FILL, codes.TAKEOVER, codes.ADL, codes.DEFICIT)}
    accounts = len(np.unique(kinds[codes.LIQUIDATION_START]["account"]))
    closed = int(np.count_nonzero(kinds[codes.LIQUIDATION_END]["code"] == codes.CLOSED))
    assert accounts >= CASCADE and closed >= CASCADE // 2
    assert min(len(kinds[kind]) for kind in (codes.FILL, codes.TAKEOVER, codes.ADL)) > 1_000, "the whole waterfall"
    report(benchmark, Row(
        place="10", what=f"a crash that liquidates {CASCADE:,} of 1 M accounts", value=seconds, unit="s", floor=3.0,
        less_is_better=True, measured=f"{seconds:.2f} s",
        conditions=f"{crowd.accounts:,} cross accounts, 2 M positions, {INSTRUMENTS} instruments; marks and recorded "
        f"bids fall by {CRASH_STEP * 1e4:.0f} bp at a time, each with bids of limited size, and a small fund: "
        f"{accounts:,} accounts liquidated, {closed:,} liquidations closed all positions, "
        f"{len(kinds[codes.FILL]):,} fills, {len(kinds[codes.TAKEOVER]):,} takeovers, "
        f"{len(kinds[codes.ADL]) // 2:,} ADL closes; {int(crowd.control['guard_checks']) - before:,} units checked, "
        f"{len(outcomes):,} outcomes, taken out"))
