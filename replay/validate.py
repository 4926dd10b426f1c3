"""Check recorded files: read them, rebuild the book, compare it with the quotes recorded beside it."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from exchange import codes, units
from exchange.errors import FeedError
from replay import feeds
from replay.feeds.level_book import LevelBook, level_book_states
from replay.feeds.report import ReadReport
from replay.index import describe
from replay.source import sessions
from replay.tape import InstrumentSpec, Tape
from replay.times import utc

EXAMPLES_MAX = 10


class Mismatch(msgspec.Struct, frozen=True):
    """A quote that the book does not show: (bid ticks, bid lots, ask ticks, ask lots) of either."""

    symbol: str
    update_id: int
    quote: tuple[int, int, int, int]
    book: tuple[int, int, int, int]


class SymbolCheck(msgspec.Struct, kw_only=True):
    """What was found for one instrument. Prices are decimal text, empty when nothing traded."""

    symbol: str
    quotes: int
    quotes_compared: int = 0  # those whose update id ends a book message
    mismatches: int = 0
    book_messages: int = 0
    crossed_messages: int = 0  # after which the recorded book was crossed
    trades: int = 0
    traded_low: str = ""
    traded_high: str = ""


class Validation(msgspec.Struct, kw_only=True):
    """The whole report; `ok` when book and quotes never disagree and nothing was lost."""

    ok: bool
    tape_rows: int
    tape_digest: str
    symbols: list[SymbolCheck]
    examples: list[Mismatch]
    index: list[str]  # how each instrument comes by its index
    read: ReadReport

    def json(self) -> str:
        """The report as JSON text."""
        return msgspec.json.format(msgspec.json.encode(self)).decode()

    def text(self) -> str:
        """The report as lines for people."""
        read = self.read
        seconds = (read.last_ns - read.first_ns) / 1e9
        lines = [
            f"files            {', '.join(read.files)} ({read.feed})",
            f"lines            {read.lines}: {_counts(read.messages)}",
            f"tape             {self.tape_rows} rows over {seconds:.1f} s: {_counts(read.rows)}",
            f"local time       {utc(read.first_ns)} .. {utc(read.last_ns)}",
            f"clock offset     {read.clock_offset_ns / 1e6:.3f} ms (local - exchange, median)",
            f"stamps back      {read.stamps_clamped}, at most {read.stamps_clamped_max_ns / 1e6:.3f} ms",
            f"snapshots        {read.snapshots}, {read.snapshots_redundant} redundant",
            f"depth messages   {read.depth_superseded} superseded by snapshots, {read.depth_dropped} dropped",
            f"gaps             {read.gap_count}",
        ]
        lines += [
            f"  {gap.file}:{gap.row} {gap.symbol}: expected update {gap.expected}, got {gap.got} ({gap.reason})"
            for gap in read.gaps[:EXAMPLES_MAX]
        ]
        lines += [
            f"evidence prints  {read.evidence_prints} of {read.evidence_lots} lots; forced orders {read.forced_orders}",
            f"prints left out  {read.empty_prints} empty, {read.aggregated_left_out} aggregated beside single trades",
            f"funding          {read.funding_settlements} settlements, {read.funding_moved} moved",
            f"unknown keys     {_counts(read.unknown_keys)}",
            f"unknown events   {_counts(read.unknown_events)}",
            f"other symbols    {_counts(read.other_symbols)}",
        ]
        for symbol in self.symbols:
            traded = f"{symbol.traded_low or '-'} .. {symbol.traded_high or '-'}"
            lines.append(
                f"{symbol.symbol:<16} {symbol.trades} trades, {traded}; "
                f"{symbol.book_messages} book messages, {symbol.crossed_messages} crossed; "
                f"{symbol.quotes_compared} of {symbol.quotes} quotes compared, {symbol.mismatches} mismatches"
            )
        lines += [f"  {one.symbol} update {one.update_id}: quote {one.quote}, book {one.book}" for one in self.examples]
        lines += self.index
        lines.append(f"verdict          {'good' if self.ok else 'NOT good: ' + ', '.join(self._faults())}")
        return "\n".join(lines)

    def _faults(self) -> list[str]:
        faults = {
            "gaps": self.read.gap_count,
            "depth messages without a snapshot": self.read.depth_dropped,
            "mismatches": sum(symbol.mismatches for symbol in self.symbols),
        }
        return [f"{count} {what}" for what, count in faults.items() if count]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def validate(paths: Sequence[Path], instruments: Sequence[InstrumentSpec] = ()) -> Validation:
    """Read and check the files of one session; symbols not in `instruments` get steps inferred from the files."""
    found = sessions(paths)
    if len(found) > 1:
        groups = "; ".join(f"{', '.join(path.name for path in one.paths)} ({', '.join(one.markets)})" for one in found)
        raise FeedError("files", f"recordings of different markets: {groups}; validate each by itself")
    specs = feeds.infer(paths, instruments)
    tape, oracle = feeds.read_with_oracle(paths, specs)
    checks = [_traded(tape, place, oracle) for place in range(len(specs))]
    examples = _compare(tape, oracle, checks)
    read = msgspec.convert(tape.reports[0], ReadReport)
    lossless = not read.gap_count and not read.depth_dropped
    return Validation(
        ok=lossless and not any(check.mismatches for check in checks),
        tape_rows=len(tape),
        tape_digest=tape.digest(),
        symbols=checks,
        examples=examples,
        index=describe(tape),
        read=read,
    )


def _traded(tape: Tape, place: int, oracle: np.ndarray) -> SymbolCheck:
    spec, rows = tape.instruments[place], tape.rows
    trades = rows["price"][
        (rows["kind"] == codes.TRADE_PRINT) & (rows["instrument"] == place) & (rows["flags"] & codes.EVIDENCE == 0)
    ]
    check = SymbolCheck(symbol=spec.symbol, quotes=int((oracle["instrument"] == place).sum()), trades=len(trades))
    if len(trades):
        tick = units.decimal(spec.tick)
        check.traded_low, check.traded_high = str(int(trades.min()) * tick), str(int(trades.max()) * tick)
    return check


def _compare(tape: Tape, oracle: np.ndarray, checks: list[SymbolCheck]) -> list[Mismatch]:
    """Walk the tape's books; each quote is compared once its `row` rows, and no more, were applied."""
    books = [LevelBook() for _ in checks]
    due = oracle[oracle["row"] >= 0]
    due = due[np.argsort(due["row"], kind="stable")]
    rows, quotes, at = due["row"].tolist(), due.tolist(), 0
    examples: list[Mismatch] = []

    def compare_before(end: int) -> None:
        nonlocal at
        while at < len(rows) and rows[at] < end:
            _, update_id, *quote, _, place = quotes[at]
            check, book = checks[place], books[place].best()
            check.quotes_compared += 1
            if tuple(quote) != book:
                check.mismatches += 1
                if len(examples) < EXAMPLES_MAX:
                    examples.append(Mismatch(check.symbol, update_id, tuple(quote), book))
            at += 1

    for change in level_book_states(tape):
        compare_before(change.end)
        book, check = books[change.instrument], checks[change.instrument]
        book.apply(change)
        check.book_messages += 1
        check.crossed_messages += book.crossed()
    compare_before(len(tape) + 1)
    return examples
