"""The book's own kernels against the flat ladder, and the same stream through the whole loop."""

import time
from statistics import median

import numpy as np
import pytest

from benchmarks import book_alone, flat_ladder, streams, venues
from benchmarks.measure import Row, measure, rates, report, spread, timed
from benchmarks.streams import ACCOUNTS, MESSAGES, MID_TICKS
from exchange import codes, schema, state

ROUNDS = 11
CASH = 10**12  # quanta: a million units of the asset, so that margin never refuses
MIX = "1 M messages (46 % limit, 39 % cancel, 10 % IOC, 5 % amend), about 5,000 live orders"


class Flat:
    """The flat ladder on a stream: the baseline of both rows."""

    def __init__(self, stream):
        self.stream, self.ladder = stream, flat_ladder.make_ladder(stream.orders)
        self.seconds()  # compiles

    def seconds(self) -> float:
        """Play the opening, then the stream; returns the processor time of the stream."""
        flat_ladder.clear(self.ladder)
        flat_ladder.run(self.ladder, self.stream.opening)
        self.start = self.ladder.counts.copy()
        return timed(flat_ladder.run, self.ladder, self.stream.messages)

    @property
    def fills(self) -> int:
        return int(self.ladder.counts[0] - self.start[0])


@pytest.mark.benchmark(timer=time.process_time)
def test_book_kernels(benchmark, stream):
    flat, venue = Flat(stream), venues.stream_venue(1)

    def prepare():
        own = state.allocate(venue)
        venues.touch(own)
        slots, counts = np.ones(stream.orders + 1, np.int32), np.zeros(2, np.int64)
        slots[:] = 0
        book_alone.run(own.book, slots, counts, stream.opening)
        prepare.book, prepare.counts = own.book, counts
        return own.book, slots, counts, stream.messages

    book_alone.run(*prepare())
    timing = measure(benchmark, ROUNDS, prepare, book_alone.run, flat.seconds)
    assert np.array_equal(prepare.counts, flat.ladder.counts), "the two books filled differently"
    assert np.array_equal(prepare.book.books[0]["best_ticks"], flat.ladder.best)
    base, own = rates(MESSAGES, timing.base), rates(MESSAGES, timing.own)
    report(benchmark, Row(
        place="1", what="book kernels alone", value=timing.ratio, unit="× the flat ladder", floor=0.5, aim=0.8,
        ratio=timing.ratio, measured=spread(own, "M messages/s", 1),
        conditions=f"{MIX}; flat ladder {spread(base, 'M/s', 1)}; {flat.fills:,} fills in both; neither hashes ids"))


@pytest.mark.benchmark(timer=time.process_time)
def test_whole_loop(benchmark, stream):
    flat, venue = Flat(stream), venues.stream_venue(ACCOUNTS)
    users = codes.FIRST_USER + np.arange(ACCOUNTS)
    mark = np.zeros(1, schema.EVENT)
    mark["ts_ns"], mark["kind"], mark["price"] = 2, codes.MARK, MID_TICKS * int(venue.instruments[0].mark_per_tick)
    opening = np.concatenate((venues.deposits(users, np.full(ACCOUNTS, CASH), 1), mark,
                              streams.to_events(stream.opening, 3)))
    events = streams.to_events(stream.messages, 1_000_000)

    def prepare():
        own = state.allocate(venue)
        venues.touch(own)
        venues.run_slices(own, opening)
        prepare.control = own.io.control[0]
        prepare.before = int(own.io.control[0]["rejected"]), int(own.io.control[0]["guard_checks"])
        return own, events

    venues.run_slices(*prepare())
    timing = measure(benchmark, ROUNDS, prepare, venues.run_slices, flat.seconds)
    refused = int(prepare.control["rejected"]) - prepare.before[0]
    checks = int(prepare.control["guard_checks"]) - prepare.before[1]
    report(benchmark, Row(
        place="2", what="the same stream through run()", value=timing.ratio, unit="× the flat ladder", floor=0.1,
        aim=0.2, ratio=timing.ratio, measured=spread(rates(MESSAGES, timing.own), "M messages/s"),
        conditions=f"{MIX}; {ACCOUNTS:,} accounts at random, every message acknowledged, margined, settled, guards "
        f"re-armed; {1 - refused / MESSAGES:.2%} accepted, {flat.fills:,} fills, {checks:,} units re-checked; "
        f"calls of {venues.EVENTS_PER_CALL:,} events; flat ladder {median(rates(MESSAGES, timing.base)):.1f} M/s"))
