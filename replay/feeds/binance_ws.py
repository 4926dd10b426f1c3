"""Raw captures of Binance's websocket streams: `<local stamp> <json>` lines, with the REST depth snapshot among them.

The tape gets book, prints, mark, index and funding in the order of the file, which is what a live client saw. The best
quotes of `bookTicker` stay out of it: they are an independent oracle for tests (`read_with_oracle`).
"""

import re
from array import array
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from exchange import codes, units
from exchange.errors import FeedError
from replay.feeds import binance_messages as messages
from replay.feeds.assemble import TENTATIVE, RowBuilder
from replay.feeds.binance_infer import contracts, infer
from replay.feeds.depth_chain import DepthChain
from replay.feeds.files import CaptureFile
from replay.feeds.report import DepthGap, ReadReport
from replay.tape import InstrumentSpec, Source, Tape, TapeMeta, check_specs
from replay.times import Span, check_after, check_near

__all__ = ["NAME", "Capture", "contracts", "infer", "matches", "read_capture", "read_with_oracle"]

NAME = "binance_ws"
STAMP_UNITS = {13: 1_000_000, 16: 1_000, 19: 1}  # digits of the stamp: ms, us, ns
STAMP_MAX_NS = 4_102_444_800 * 10**9
MS = 1_000_000
PPB = Decimal("1e-9")
RATE_MAX_PPB = 10**9
NUMBER_DIGITS_MAX = 9  # of marks, rates and forced orders before the point: steps down to 1e-8 stay below 2**63
GAPS_MAX = 1_000  # kept in the report; all are counted
_HEAD = re.compile(rb'\s*\d{13,19} \{.*("(stream|lastUpdateId)"\s*:|"e"\s*:\s*"\w+")')


class Capture(NamedTuple):
    """A tape and the best quotes recorded beside it (`assemble.QUOTE`; `row` = rows applied before they must hold)."""

    tape: Tape
    oracle: np.ndarray


class _Funding(msgspec.Struct):
    rate_ppb: int
    next_ms: int


def matches(head: bytes) -> bool:
    """Whether a file that begins like this is such a capture."""
    return _HEAD.match(head) is not None


def read_capture(paths: Sequence[Path], instruments: Sequence[InstrumentSpec]) -> Tape:
    """Read the files of one continuous session, given in time order, into a tape.

    Raises
    ------
    FeedError
        With `file:row`, for anything that cannot be read exactly. Gaps of the depth chain, unknown keys and unknown
        event kinds are no errors: they are in the tape's report.
    """
    return _read(paths, instruments, False).tape


def read_with_oracle(paths: Sequence[Path], instruments: Sequence[InstrumentSpec]) -> Capture:
    """Like `read_capture`, with the session's bookTicker quotes."""
    return _read(paths, instruments, True)


def _read(paths: Sequence[Path], instruments: Sequence[InstrumentSpec], quotes: bool) -> Capture:
    check_specs(instruments)
    session = _Session(instruments, quotes)
    for path in paths:
        session.read(CaptureFile(path))
    return session.finish()


def _median(values: "array[int]") -> int:
    return sorted(values)[len(values) // 2] if len(values) else 0


def _ignore(message: None, local: int, row: int) -> None:
    """Messages of unknown kinds were counted by the decoder."""


class _Session:
    """One reading: the clock, a depth chain and funding state for each instrument, and the counts."""

    def __init__(self, instruments: Sequence[InstrumentSpec], quotes: bool):
        self.specs = tuple(instruments)
        self.report = ReadReport(feed=NAME)
        self.builder = RowBuilder(self.specs)
        self._decoder = messages.Decoder()
        self._places = {spec.symbol: k for k, spec in enumerate(self.specs)}
        self._chains = [DepthChain() for _ in self.specs]
        self._funding: dict[int, _Funding] = {}
        self._sources: list[Source] = []
        self._counts: Counter[str] = Counter()
        self._offsets = array("q")
        self._clock = 0
        self._file_start = 0
        self._before = ""  # the last file that held anything
        self._name = ""
        self._depth_seen: set[int] = set()
        self._traded: set[int] = set()
        self._quotes = quotes
        self._handlers: dict[type, Any] = {
            messages.DepthUpdate: self._depth,
            messages.Trade: self._trade,
            messages.AggTrade: self._agg_trade,
            messages.BookTicker: self._ticker,
            messages.SpotBookTicker: self._ticker,
            messages.MarkPrice: self._mark,
            messages.ForceOrder: self._force_order,
            messages.Snapshot: self._snapshot,
            list: self._several,
            type(None): _ignore,
        }

    def read(self, file: CaptureFile) -> None:
        """Read one file to its end."""
        self._name = file.name
        started, first = False, len(self._offsets)
        decode, handlers = self._decoder.decode, self._handlers
        for lines in file.blocks():
            for row, line in enumerate(lines, file.row + 1):
                stamp, _, text = line.partition(b" ")
                local = self._stamp(stamp, line, row)
                if local < 0:
                    continue
                if not started:
                    self._start_file(local, row)
                    started = True
                if local < self._clock:
                    local = self._clamp(local)
                self._clock = local
                try:
                    message = decode(text)
                except messages.BAD_JSON as error:
                    raise FeedError(f"{self._name}:{row}", f"malformed JSON message: {error}") from None
                handlers[type(message)](message, local, row)
            self.builder.flush(file.name)
        self.report.lines += file.row
        self.report.file_offsets_ns.append(_median(self._offsets[first:]))
        self._sources.append(file.source)

    def finish(self) -> Capture:
        """Close the session: rows, oracle and the report."""
        report = self.report
        rows, oracle, report.aggregated_left_out = self.builder.finish(sorted(self._traded))
        for chain in self._chains:
            chain.finish()
            report.depth_dropped += chain.dropped
            report.depth_superseded += chain.superseded
            report.snapshots_redundant += chain.redundant_snapshots
        report.files = [source.name for source in self._sources]
        report.messages = dict(sorted(self._counts.items()))
        kinds, counts = np.unique(rows["kind"], return_counts=True)
        report.rows = {codes.EVENT_NAME[int(kind)]: int(count) for kind, count in zip(kinds, counts, strict=True)}
        if len(rows):
            report.first_ns, report.last_ns = int(rows["ts_ns"][0]), int(rows["ts_ns"][-1])
        report.clock_offset_ns = _median(self._offsets)
        evidence = rows[(rows["flags"] & codes.EVIDENCE) != 0]
        report.evidence_prints, report.evidence_lots = len(evidence), int(evidence["qty"].sum())
        report.unknown_keys = dict(sorted(self._decoder.unknown_keys.items()))
        report.unknown_events = dict(sorted(self._decoder.unknown_events.items()))
        meta = TapeMeta(self.specs, tuple(self._sources), (msgspec.to_builtins(report),))
        return Capture(Tape(rows, meta), oracle)

    def _stamp(self, stamp: bytes, line: bytes, row: int) -> int:
        """Local time in ns; -1 for an empty line."""
        unit = STAMP_UNITS.get(len(stamp))
        if unit is None or not stamp.isdigit() or int(stamp) * unit > STAMP_MAX_NS:
            if not line.strip():
                return -1
            raise FeedError(
                f"{self._name}:{row}",
                f"expected a local stamp of 13, 16 or 19 digits (ms, us, ns; to the year 2100), "
                f"got {stamp[:40].decode(errors='replace')!r}",
            )
        return int(stamp) * unit

    def _start_file(self, local: int, row: int) -> None:
        if self._before:
            before = Span(self._file_start, self._clock, self._before)
            check_after(f"{self._name}:{row}", local, before)
            check_near(f"{self._name}:{row}", local, before)
        self._before, self._file_start = self._name, local

    def _clamp(self, local: int) -> int:
        self.report.stamps_clamped += 1
        self.report.stamps_clamped_max_ns = max(self.report.stamps_clamped_max_ns, self._clock - local)
        return self._clock

    def _place(self, symbol: str, row: int) -> int:
        place = self._places.get(symbol)
        if place is None:
            raise FeedError(f"{self._name}:{row}", f"unknown symbol {symbol!r}; expected one of {sorted(self._places)}")
        return place

    def _time(self, name: str, message: Any, local: int) -> int:
        """Count a message and the clock offset; exchange time in ns, the engine's own (T) where it is sent."""
        self._counts[name] += 1
        if message.E:
            self._offsets.append(local - message.E * MS)
        return (message.T or message.E) * MS

    def _several(self, several: list[Any], local: int, row: int) -> None:
        """An array message of an all-market stream: other symbols are counted, not refused."""
        for message in several:
            symbol = getattr(message, "s", "")
            if symbol and symbol not in self._places:
                self._other(symbol)
            else:
                self._handlers[type(message)](message, local, row)

    def _other(self, symbol: str) -> None:
        self.report.other_symbols[symbol] = self.report.other_symbols.get(symbol, 0) + 1

    def _depth(self, message: messages.DepthUpdate, local: int, row: int) -> None:
        time = self._time("depthUpdate", message, local)
        place = self._place(message.s, row)
        self._depth_seen.add(place)
        chain = self._chains[place]
        good, stale = chain.depth(message, row)
        if chain.gaps:
            self._take_gaps(place)
        if good:
            self.builder.levels(local, time, place, message.u, message.b, message.a, row, False)
        elif stale:
            self.builder.row(codes.BOOK_CLEAR, local, time, place, flags=codes.LAST)

    def _snapshot(self, snapshot: messages.Snapshot, local: int, row: int) -> None:
        self._counts["snapshot"] += 1
        place = self._snapshot_place(snapshot, row)
        good, waiting, stale = self._chains[place].snapshot(snapshot)
        self._take_gaps(place)
        if not good:
            return
        self.report.snapshots += 1
        time = (snapshot.T or snapshot.E) * MS
        self.builder.levels(local, time, place, snapshot.lastUpdateId, snapshot.bids, snapshot.asks, row, True)
        for message in waiting:
            self.builder.levels(
                local, (message.T or message.E) * MS, place, message.u, message.b, message.a, row, False
            )
        if stale:
            self.builder.row(codes.BOOK_CLEAR, local, time, place, flags=codes.LAST)

    def _snapshot_place(self, snapshot: messages.Snapshot, row: int) -> int:
        if snapshot.symbol:
            return self._place(snapshot.symbol, row)
        if len(self.specs) == 1:
            return 0
        if len(self._depth_seen) == 1:
            return next(iter(self._depth_seen))
        raise FeedError(
            f"{self._name}:{row}", "the snapshot names no symbol and several are being read; read them one by one"
        )

    def _take_gaps(self, place: int) -> None:
        chain = self._chains[place]
        for gap in chain.gaps[: GAPS_MAX - len(self.report.gaps)]:
            self.report.gaps.append(
                DepthGap(self._name, gap.row, self.specs[place].symbol, gap.expected, gap.got, gap.reason)
            )
        self.report.gap_count += len(chain.gaps)
        chain.gaps.clear()

    def _ticker(self, message: Any, local: int, row: int) -> None:
        self._time("bookTicker", message, local)
        place = self._place(message.s, row)
        if self._quotes:
            self.builder.quote(local, message.u, place, row, (message.b, message.B, message.a, message.A))

    def _trade(self, message: messages.Trade, local: int, row: int) -> None:
        time = self._time("trade", message, local)
        place = self._place(message.s, row)
        self._traded.add(place)
        flags = 0
        if message.X != "MARKET":
            flags = codes.EVIDENCE
            if not message.q.strip("0."):
                self.report.empty_prints += 1  # kind NA: a trade id that was used for nothing
                return
        side = codes.ASK if message.m else codes.BID
        self.builder.print_(local, time, place, side, message.p, message.q, flags, row)

    def _agg_trade(self, message: messages.AggTrade, local: int, row: int) -> None:
        time = self._time("aggTrade", message, local)
        place = self._place(message.s, row)
        side = codes.ASK if message.m else codes.BID
        self.builder.print_(local, time, place, side, message.p, message.q, 0, row, TENTATIVE)

    def _force_order(self, message: messages.ForceOrder, local: int, row: int) -> None:
        self._counts["forceOrder"] += 1
        order = message.o
        place = self._places.get(order.s)
        if place is None:  # the stream may be that of the whole market
            self._other(order.s)
            return
        self.report.forced_orders += 1
        if order.S not in ("BUY", "SELL"):
            raise FeedError(f"{self._name}:{row}", f"forceOrder side {order.S!r}; expected BUY or SELL")
        if not order.z.strip("0."):
            self.report.empty_prints += 1
            return
        price = units.nearest(self._number(order.ap, row), units.decimal(self.specs[place].tick))
        try:
            lots = units.whole(self._number(order.z, row), units.decimal(self.specs[place].lot))
        except ValueError as error:
            raise FeedError(f"{self._name}:{row}", f"forceOrder: {error}") from None
        if price < 1 or lots < 1:
            raise FeedError(f"{self._name}:{row}", f"forceOrder of {order.z} at {order.ap}: both must be positive")
        side = codes.BID if order.S == "BUY" else codes.ASK
        self.builder.row(
            codes.TRADE_PRINT, local, (order.T or message.E) * MS, place, price, lots, codes.EVIDENCE, side
        )

    def _mark(self, message: messages.MarkPrice, local: int, row: int) -> None:
        self._counts["markPriceUpdate"] += 1
        if message.E:
            self._offsets.append(local - message.E * MS)
        time = message.E * MS  # T is the next settlement here
        place = self._place(message.s, row)
        spec = self.specs[place]
        step = units.decimal(spec.tick) / spec.mark_per_tick
        for kind, text in ((codes.MARK, message.p), (codes.INDEX, message.i)):
            if not text.strip("0."):
                continue  # contracts without an index send none or 0
            price = units.nearest(self._number(text, row), step)
            if price < 1:
                raise FeedError(f"{self._name}:{row}", f"{codes.EVENT_NAME[kind]} price {text} is not positive")
            self.builder.row(kind, local, time, place, price)
        if message.r and message.T:
            rate_ppb = units.nearest(self._number(message.r, row), PPB)
            if abs(rate_ppb) > RATE_MAX_PPB:
                raise FeedError(f"{self._name}:{row}", f"funding rate {message.r}; expected within -1 .. 1")
            self._fund(place, rate_ppb, message, local)

    def _fund(self, place: int, rate_ppb: int, message: messages.MarkPrice, local: int) -> None:
        """A FUNDING_RATE when rate or next settlement change; before it the settlement that was passed, if one was."""
        before = self._funding.get(place)
        if before is not None and (before.rate_ppb, before.next_ms) == (rate_ppb, message.T):
            return
        time = message.E * MS
        if before is not None and message.T != before.next_ms:
            if message.T > before.next_ms and message.E >= before.next_ms:
                self.report.funding_settlements += 1
                self.builder.row(codes.FUNDING_SETTLE, local, time, place, before.rate_ppb)
            else:
                self.report.funding_moved += 1
        self._funding[place] = _Funding(rate_ppb, message.T)
        self.builder.row(codes.FUNDING_RATE, local, time, place, rate_ppb, message.T * MS)

    def _number(self, text: str, row: int) -> Decimal:
        try:
            number = units.decimal(text)
        except ValueError as error:
            raise FeedError(f"{self._name}:{row}", str(error)) from None
        if number.adjusted() >= NUMBER_DIGITS_MAX:
            raise FeedError(f"{self._name}:{row}", f"{text} has more than {NUMBER_DIGITS_MAX} digits before the point")
        return number
