"""What a user might pick instead, on the same input in the same run: bourse for matching, lrvx for margin."""

import time
from importlib.metadata import version
from statistics import median

import numpy as np
import pytest

from benchmarks import book_alone, peer_bourse, peer_lrvx, streams, venues
from benchmarks.crowd import Crowd
from benchmarks.measure import Row, measure, rates, report, spread, timed
from benchmarks.peer_bourse import outcome_of_peer, outcome_of_venue
from benchmarks.streams import ACCOUNTS, MESSAGES, MID_TICKS
from exchange import codes, schema, state
from exchange.venue import EVENTS_PER_CALL, Exchange

ROUNDS = 3
CASH = 10**12  # quanta: a million units of the asset, so that margin never refuses
LONE_POSITIONS, CROWD, MARKS = 10_000, 20_000, 400
WIDE, NARROW = 1e-2, 1.6e-4  # steps of marks, to liquidate many and to time
MANY_ORDERS = 1 << 17  # bourse's batches lose cancels, so that more orders rest
MISSING = "not installed: pip install '.[peers]'"
MIX = "1 M messages (46 % limit, 39 % cancel, 10 % IOC, 5 % amend)"


@pytest.fixture
def bourse():
    return pytest.importorskip("bourse", reason=MISSING)


@pytest.fixture
def lrvx():
    return pytest.importorskip("lrvx", reason=MISSING)


def funded(orders: int, opening: np.ndarray) -> tuple[Exchange, np.ndarray]:
    """A venue with rich accounts and a mark, after some orders; and their fills."""
    exchange = Exchange(venues.stream_venue(ACCOUNTS, orders))
    venues.touch(exchange.state)
    users = np.arange(codes.FIRST_USER, codes.FIRST_USER + ACCOUNTS)
    mark = np.zeros(1, schema.EVENT)
    mark["ts_ns"], mark["kind"] = 2, codes.MARK
    mark["price"] = MID_TICKS * int(exchange.compiled.instruments[0]["mark_per_tick"])
    deposits = venues.deposits(users, np.full(ACCOUNTS, CASH), 1)
    return exchange, serve(exchange, np.concatenate((deposits, mark, opening)))


def serve(exchange: Exchange, events: np.ndarray) -> np.ndarray:
    """Hand the events over as a session does, take the outcomes of each call, and keep the fills."""
    fills = []
    for start in range(0, len(events), EVENTS_PER_CALL):
        exchange.submit(events[start:start + EVENTS_PER_CALL])
        exchange.run()
        outcomes = exchange.outcomes()
        fills.append(outcomes[outcomes["kind"] == codes.FILL])
    return np.concatenate(fills)


class Ordered:
    """bourse's order book, called once a message: the stream is in order."""

    def __init__(self, bourse, stream):
        rows = peer_bourse.calls(np.concatenate((stream.opening, stream.messages)))
        self.book_of, self.opening, self.rows = bourse.core.OrderBook, rows[:streams.LIVE], rows[streams.LIVE:]
        self.orders = stream.orders

    def seconds(self) -> float:
        """A fresh book after the opening; returns the processor time of the stream and of asking for the trades."""
        self.book, self.ids = self.book_of(0, 1, True), {}
        peer_bourse.play(self.book, self.ids, self.opening)
        return timed(self._play)

    def _play(self) -> None:
        peer_bourse.play(self.book, self.ids, self.rows)
        self.trades = self.book.get_trades()

    def outcome(self) -> peer_bourse.Outcome:
        orders = peer_bourse.table(self.book.get_orders())
        return outcome_of_peer(self.trades, orders, self.book.bid_ask(), orders[:, 7])


@pytest.mark.benchmark(timer=time.process_time)
def test_bourse_run(benchmark, bourse, stream):
    peer, events = Ordered(bourse, stream), streams.to_events(stream.messages, 1_000_000)
    found = []

    def prepare():
        prepare.exchange, prepare.before = funded(20_000, streams.to_events(stream.opening, 3))
        return prepare.exchange, events

    serve(*prepare())
    timing = measure(benchmark, ROUNDS, prepare, lambda *given: found.append(serve(*given)), peer.seconds)
    ours, theirs = outcome_of_venue(prepare.exchange, np.concatenate((prepare.before, found[-1]))), peer.outcome()
    assert ours.equal(theirs), "the venue and bourse report different outcomes"
    report(benchmark, Row(
        place="11a", what=f"bourse {version('bourse')}, order book: the stream through Exchange", value=timing.ratio,
        unit="× bourse", ratio=timing.ratio, measured=spread(rates(MESSAGES, timing.own), "M messages/s"),
        conditions=f"{MIX}; bourse {spread(rates(MESSAGES, timing.base), 'M/s')}, called once a message with its time "
        f"set before, without accounts; ours with {ACCOUNTS:,} accounts and margin, through submit, run and outcomes, "
        f"digest included; all {len(ours.trades):,} trades equal in price, lots, taker, maker and order, and all "
        f"{len(ours.resting):,} orders that rest at the end, best {ours.best[0]:,} / {ours.best[1]:,}"))


@pytest.mark.benchmark(timer=time.process_time)
def test_bourse_book(benchmark, bourse, stream):
    peer, venue = Ordered(bourse, stream), venues.stream_venue(1)

    def prepare():
        own = state.allocate(venue)
        venues.touch(own)
        slots, counts = np.zeros(stream.orders + 1, np.int32), np.zeros(2, np.int64)
        book_alone.run(own.book, slots, counts, stream.opening)
        prepare.counts = counts
        return own.book, slots, counts, stream.messages

    book_alone.run(*prepare())
    timing = measure(benchmark, ROUNDS, prepare, book_alone.run, peer.seconds)
    trades = peer.outcome().trades
    assert [len(trades), trades[:, 1].sum()] == prepare.counts.tolist(), "the book and bourse filled differently"
    report(benchmark, Row(
        place="11b", what=f"bourse {version('bourse')}, order book: the stream through the book kernels",
        value=timing.ratio, unit="× bourse", ratio=timing.ratio,
        measured=spread(rates(MESSAGES, timing.own), "M messages/s", 1),
        conditions=f"{MIX}; bourse {spread(rates(MESSAGES, timing.base), 'M/s')}; neither has accounts, ours is one "
        f"compiled loop, bourse's calls come from Python; {len(trades):,} fills, {trades[:, 1].sum():,} lots in both"))


@pytest.mark.benchmark(timer=time.process_time)
def test_bourse_batches(benchmark, bourse, stream):
    parts = peer_bourse.batches(np.concatenate((stream.opening, stream.messages)))
    found = []

    def batched() -> float:
        batched.market = bourse.core.StepEnvNumpy(1, 0, 1, len(parts[0][0]))
        return timed(lambda: (peer_bourse.step(batched.market, parts), batched.market.get_trades()))

    batched()
    trades, orders = batched.market.get_trades(), peer_bourse.table(batched.market.get_orders())
    events = peer_bourse.drawn(orders, ACCOUNTS)
    events["ts_ns"] += 3

    def prepare():
        prepare.exchange, _ = funded(MANY_ORDERS, events[:0])
        return prepare.exchange, events

    serve(*prepare())
    timing = measure(benchmark, ROUNDS, prepare, lambda *given: found.append(serve(*given)), batched)
    best = tuple(int(price) for price in batched.market.level_1_data()[1:3])
    ours = outcome_of_venue(prepare.exchange, found[-1])
    theirs = outcome_of_peer(trades, orders, best, orders[:, 8] + 1)
    assert ours.equal(theirs), "the venue and bourse report different outcomes"
    sent = sum(len(part[0]) for part in parts)
    own, base = rates(len(events), timing.own), rates(sent, timing.base)
    ratio = median(mine / other for mine, other in zip(own, base, strict=True))
    report(benchmark, Row(
        place="11c", what=f"bourse {version('bourse')}, batches of arrays: the order it drew through Exchange",
        value=ratio, unit="× bourse", ratio=ratio, measured=spread(own, "M messages/s"),
        conditions=f"{sent:,} messages (limit, cancel, market) in batches of {len(parts[0][0]):,}; bourse "
        f"{spread(base, 'M/s')}, without accounts; it plays a batch in an order drawn at random, ours was given that "
        f"order, {len(events):,} messages without cancels that came before their order, with {ACCOUNTS:,} accounts and "
        f"margin; all {len(ours.trades):,} trades equal, and all {len(ours.resting):,} orders that rest at the end"))


@pytest.mark.benchmark(timer=time.process_time)
def test_lrvx_prices(benchmark, lrvx):
    found = []
    timing = measure(benchmark, 1, tuple, lambda: found.append(peer_lrvx.lone_positions(LONE_POSITIONS)))
    lone = found[0]
    plain, deducted = (lone.liquidated_at(lrvx, cash) for cash in (lone.cash, lone.cash + lone.deduction))
    first = lone.deduction == 0
    equal, count = int((deducted == 1).sum()), len(lone.lots)
    assert np.isin(plain[first], (1, 2)).all() and np.isin(deducted, (1, 2)).all(), "another liquidation price"
    assert not plain[~first].any(), "lrvx has come to deduct an amount by tier"
    report(benchmark, Row(
        place="11d", what=f"lrvx {version('lrvx')}: liquidation prices", value=equal / count, unit="equal",
        measured=f"{equal:,} of {count:,} equal",
        conditions=f"positions alone in their accounts, half of them short, leverage {peer_lrvx.LEVERAGE[0]}–"
        f"{peer_lrvx.LEVERAGE[1]}, Binance tiers; equal: lrvx liquidates at our price, and not a sub-tick (0.001) "
        f"before. So do {int((plain[first] == 1).sum()):,} of {int(first.sum()):,} in the first tier as they are; "
        f"above it lrvx has no amount to deduct and liquidates all {int((~first).sum()):,} earlier: they were compared "
        f"with the deduction added to their equity; ours opened and priced all in {timing.own[0]:.2f} s"))


@pytest.mark.benchmark(timer=time.process_time)
def test_lrvx_marks(benchmark, lrvx):
    crowd = Crowd(CROWD, tiers=1)
    twin = peer_lrvx.Twin(lrvx, crowd)
    liquidated = twin.compare(crowd.walk(MARKS, WIDE))
    assert liquidated, "nobody was liquidated: nothing was compared"

    def theirs() -> float:
        theirs.events = crowd.walk(MARKS, NARROW)
        return timed(twin.play, twin.marks(theirs.events))

    timing = measure(benchmark, ROUNDS, lambda: (crowd.state, theirs.events), venues.run_slices, theirs)
    own, base = ([second / MARKS * 1e6 for second in seconds] for seconds in (timing.own, timing.base))
    report(benchmark, Row(
        place="11e", what=f"lrvx {version('lrvx')}: marks against cross accounts", value=timing.ratio, unit="× lrvx",
        ratio=timing.ratio, measured=spread(own, "µs a mark"),
        conditions=f"{CROWD:,} cross accounts, 2 positions each, 20 instruments, one maintenance tier (for more lrvx "
        f"has another rule); lrvx looks at every account, {spread(base, 'µs a mark', 0)}, and closes at the mark, ours "
        f"through book and fund; over {MARKS} marks {WIDE:.0%} apart both liquidated the same {liquidated:,} accounts "
        f"for the first time at the same marks; timed on {ROUNDS} × {MARKS} marks 1.6 bp apart"))
