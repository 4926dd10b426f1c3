"""An index where none was recorded: the mid of a recorded book by one stated rule, kept in the tape's reports.

The exchange's own index is a composite of spot markets. Where a capture of one was made at the same time its book
stands for it (`feed.index`, `--index`); else the contract's own book does, which leaves the mark without a basis. What
was done is printed by every command that shows a run or a tape.
"""

from fractions import Fraction

import numpy as np

from exchange import codes
from exchange.config import Venue
from exchange.errors import ConfigError, FeedError
from exchange.schema import EVENT
from replay.feeds.level_book import LevelBook, level_book_states
from replay.tape import InstrumentSpec, Tape
from replay.times import Span, utc

EVERY_NS = 1_000_000_000  # as often as the exchange publishes its index
RULE = "best bid and ask just before each whole second, their middle"
STEP = "index"


class Mids:
    """Of one instrument: `ts_ns`, whole seconds, and `double_ticks`, best bid + best ask just before each."""

    def __init__(self) -> None:
        self.ts_ns: list[int] = []
        self.double_ticks: list[int] = []


def sample_mids(tape: Tape) -> list[Mids]:
    """Walk the tape's books; a second at which a side is empty or the book is crossed gives no sample."""
    books, mids = [LevelBook() for _ in tape.instruments], [Mids() for _ in tape.instruments]
    next_ns = int(tape.rows["ts_ns"][0]) // EVERY_NS * EVERY_NS + EVERY_NS if len(tape) else 0

    def sample_until(ts_ns: int) -> None:
        nonlocal next_ns
        while next_ns <= ts_ns:
            for book, mid in zip(books, mids, strict=True):
                bid, _, ask, _ = book.best()
                if 0 < bid < ask:
                    mid.ts_ns.append(next_ns)
                    mid.double_ticks.append(bid + ask)
            next_ns += EVERY_NS

    for change in level_book_states(tape):
        sample_until(change.ts_ns)
        books[change.instrument].apply(change)
    if len(tape):
        sample_until(int(tape.rows["ts_ns"][-1]))
    return mids


def with_indices(tape: Tape, source: Tape | None, venue: Venue) -> Tape:
    """Give each instrument that has a book and no recorded index one: from the source's book, or from its own.

    Raises
    ------
    ConfigError, FeedError
        When the venue makes its index of constituents, or the source does not fit an instrument in time or price.
    """
    kinds = tape.rows["kind"]
    recorded = np.unique(tape.rows["instrument"][kinds == codes.INDEX])
    booked = np.unique(tape.rows["instrument"][kinds == codes.LEVEL_SET])
    missing = [int(place) for place in booked if place not in recorded]
    if not missing:
        return tape
    if venue.index.rule != "composite":
        raise ConfigError(
            "$.venue.index.rule",
            f"{venue.index.rule!r} needs recorded constituents and the feed holds no index; use composite",
        )
    mids = sample_mids(tape if source is None else source)
    for place in missing:
        spec = tape.instruments[place]
        if source is None:
            name, rows = "its own recorded book", _index_rows(mids[place], spec, spec, place)
        else:
            made_of = source.instruments[0]
            name = f"the recorded book of {made_of.kind} {made_of.symbol} ({', '.join(f.name for f in source.sources)})"
            rows = _index_rows(mids[0], made_of, spec, place)
            _check_fit(tape, place, rows, name, venue)
        ends_ns = int(tape.rows["ts_ns"][tape.rows["instrument"] == place][-1])
        if int(tape.rows["ts_ns"][-1]) - ends_ns > venue.index.stale_ns:
            rows = rows[rows["ts_ns"] <= ends_ns]  # its book stands still from there on, and is no price
            name += f", until its recording ends at {utc(ends_ns)}"
        merged = np.concatenate([rows, tape.rows])  # an index comes before what else carries its stamp
        merged = merged[np.argsort(merged["ts_ns"], kind="stable")]
        report = {"step": STEP, "symbol": spec.symbol, "rule": RULE, "source": name, "events": len(rows)}
        tape = tape.with_report(merged, report)
    return tape


def _check_fit(tape: Tape, place: int, rows: np.ndarray, name: str, venue: Venue) -> None:
    """A source of another time would leave the index standing still, one of another coin would liquidate everybody."""
    spec, own = tape.instruments[place], tape.rows[tape.rows["instrument"] == place]
    where = f"index of {spec.symbol}"
    stale_ns = venue.index.stale_ns
    if not len(rows):
        raise FeedError(where, f"{name} never has two sides: no depth snapshot was recorded; give another index file")
    feed = Span(int(own["ts_ns"][0]), int(own["ts_ns"][-1]), "the feed")
    made = Span(int(rows["ts_ns"][0]), int(rows["ts_ns"][-1]), name)
    early, late = max(0, made.start_ns - feed.start_ns), max(0, feed.end_ns - made.end_ns)
    if max(early, late) > stale_ns:
        what = f"the index begins {early / 1e9:.1f} s after the feed and ends {late / 1e9:.1f} s before it"
        if made.start_ns > feed.end_ns or made.end_ns < feed.start_ns:
            what = "the recordings do not meet in time"
        raise FeedError(
            where,
            f"{what}: {made}, {feed}; expected a capture of the same time to within {stale_ns / 1e9:g} s "
            "(venue.index.stale_ns), or leave the index file away",
        )
    prints = own[(own["kind"] == codes.TRADE_PRINT) & (own["flags"] & codes.EVIDENCE == 0)]
    if not len(prints):
        return
    traded, index = int(prints["price"][0]) * spec.mark_per_tick, int(rows["price"][0])
    if abs(index - traded) * 1_000_000 > venue.index.outlier_ppm * traded:
        tick = Fraction(spec.tick) / spec.mark_per_tick
        raise FeedError(
            where,
            f"{name} starts at {float(index * tick):.8g} where {spec.symbol} trades at {float(traded * tick):.8g}; "
            f"expected at most {venue.index.outlier_ppm / 10_000:g} % between them (venue.index.outlier_ppm)",
        )


def _index_rows(mids: Mids, source: InstrumentSpec, spec: InstrumentSpec, place: int) -> np.ndarray:
    """INDEX events of an instrument from a source's mids, rounded to the nearest sub-tick, halves up."""
    ratio = Fraction(source.tick) / 2 * spec.mark_per_tick / Fraction(spec.tick)
    rows = np.zeros(len(mids.ts_ns), EVENT)
    rows["ts_ns"] = rows["exchange_ns"] = mids.ts_ns
    rows["kind"], rows["instrument"] = codes.INDEX, place
    doubled = np.array(mids.double_ticks, np.int64)
    rows["price"] = (2 * ratio.numerator * doubled + ratio.denominator) // (2 * ratio.denominator)
    return rows


def describe(tape: Tape) -> list[str]:
    """How each instrument came by its index, a line each."""
    built = {report["symbol"]: report for report in tape.reports if report.get("step") == STEP}
    places, counts = np.unique(tape.rows["instrument"][tape.rows["kind"] == codes.INDEX], return_counts=True)
    found = dict(zip(places.tolist(), counts.tolist(), strict=True))
    booked = np.unique(tape.rows["instrument"][tape.rows["kind"] == codes.LEVEL_SET])
    lines = []
    for place, spec in enumerate(tape.instruments):
        if spec.kind == "spot":
            lines.append(f"{spec.symbol} is a spot market: its book can be the index of a contract (replay --index)")
        elif spec.symbol in built:
            report = built[spec.symbol]
            lines.append(f"index of {spec.symbol}: built from {report['source']}: {report['rule']}")
        elif place in found:
            lines.append(f"index of {spec.symbol}: in the feed, {found[place]:,} events")
        elif place in booked:
            lines.append(f"index of {spec.symbol}: none in the feed; a replay builds it: {RULE}")
        else:
            lines.append(f"index of {spec.symbol}: none in the feed, and no book to make one of")
    return lines
