"""Message by message in, tape rows out: numbers are parsed a block at a time, rows keep the order of the messages."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import numpy as np

from exchange import codes, units
from exchange.errors import FeedError
from exchange.rows import joined
from exchange.schema import EVENT
from replay.tape import InstrumentSpec

LOTS_MAX = 2**31 - 1
TENTATIVE = -1  # order_id of a print that is only kept if the symbol has no better stream of prints

QUOTE = np.dtype(
    [
        ("ts_ns", "i8"),
        ("update_id", "i8"),
        ("bid_ticks", "i8"),
        ("bid_lots", "i8"),
        ("ask_ticks", "i8"),
        ("ask_lots", "i8"),
        ("row", "i8"),
        ("instrument", "i2"),
    ],
    align=True,
)


class _Message(NamedTuple):
    """A book message: `rows_before` counts single rows of the block that come before it."""

    ts_ns: int
    exchange_ns: int
    instrument: int
    update_id: int
    file_row: int
    snapshot: bool
    rows_before: int


def scale_of(step: str) -> tuple[int, int]:
    """Decimals of a step and the step in units of the last of them: "0.5" is (1, 5), "10" is (0, 10)."""
    number = units.decimal(step)
    decimals = max(0, -int(number.normalize().as_tuple().exponent))
    return decimals, int(number.scaleb(decimals))


class RowBuilder:
    """Collects one block of messages, then turns it into records. Prices and sizes come as text.

    The oracle: quotes are matched by update id with the book messages, and their `row` says how many tape rows have
    been applied when the book must show them (-1 where no message of the book ends at that id).
    """

    def __init__(self, specs: Sequence[InstrumentSpec]):
        self._specs = specs
        scales = [scale_of(step) for spec in specs for step in (spec.tick, spec.lot)]
        self._decimals = np.array([decimals for decimals, _ in scales], np.int64)
        self._step = np.array([step for _, step in scales], np.int64)
        self._parts: list[np.ndarray] = []
        self._quotes: list[np.ndarray] = []
        self._ends: list[np.ndarray] = []
        self._size = 0
        self._start_block()

    def _start_block(self) -> None:
        self.singles: list[tuple[int, ...]] = []
        self._single_messages: list[int] = []
        self._print_texts: list[str] = []
        self._print_places: list[tuple[int, int, int]] = []
        self._messages: list[_Message] = []
        self._lists: list[Any] = []
        self.quote_heads: list[tuple[int, int, int, int]] = []
        self.quote_texts: list[str] = []

    def row(
        self,
        kind: int,
        ts_ns: int,
        exchange_ns: int,
        instrument: int,
        price: int = 0,
        qty: int = 0,
        flags: int = 0,
        side: int = 0,
        order_id: int = 0,
    ) -> None:
        """Add one row whose numbers are known."""
        self.singles.append((ts_ns, exchange_ns, 0, order_id, price, qty, 0, 0, kind, instrument, flags, side, 0))
        self._single_messages.append(len(self._messages))

    def print_(
        self,
        ts_ns: int,
        exchange_ns: int,
        instrument: int,
        side: int,
        price: str,
        size: str,
        flags: int,
        file_row: int,
        order_id: int = 0,
    ) -> None:
        """Add a TRADE_PRINT."""
        self._print_places.append((len(self.singles), instrument, file_row))
        self._print_texts += (price, size)
        self.row(codes.TRADE_PRINT, ts_ns, exchange_ns, instrument, 0, 0, flags, side, order_id)

    def levels(
        self,
        ts_ns: int,
        exchange_ns: int,
        instrument: int,
        update_id: int,
        bids: Any,
        asks: Any,
        file_row: int,
        snapshot: bool,
    ) -> None:
        """Add a message's LEVEL_SET rows; `bids` and `asks` are raw JSON. A snapshot's BOOK_CLEAR comes first."""
        if snapshot:
            self.row(codes.BOOK_CLEAR, ts_ns, exchange_ns, instrument)
        self._messages.append(
            _Message(ts_ns, exchange_ns, instrument, update_id, file_row, snapshot, len(self.singles))
        )
        self._lists += (bids, asks)

    def quote(
        self, ts_ns: int, update_id: int, instrument: int, file_row: int, texts: tuple[str, str, str, str]
    ) -> None:
        """Add a best bid and ask (price, size, price, size) to the oracle."""
        self.quote_heads.append((ts_ns, update_id, instrument, file_row))
        self.quote_texts += texts

    def flush(self, name: str) -> None:
        """Parse and place the block; `name` is the file that errors point into."""
        messages = self._messages
        numbers, counts = self._parse_levels(name)
        sizes = counts[0::2] + counts[1::2]
        before = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        columns = np.array([message[:4] + (message.rows_before,) for message in messages], np.int64).reshape(-1, 5)
        starts = columns[:, 4] + before[:-1]
        rows = np.zeros(len(self.singles) + len(numbers), EVENT)
        singles = np.array(self.singles, EVENT)
        self._fill_prints(singles, name)
        rows[np.arange(len(singles)) + before[np.array(self._single_messages, np.int64)]] = singles
        if messages:
            from replay.feeds.text_kernels import place_levels

            place_levels(
                rows, starts, columns[:, 0].copy(), columns[:, 1].copy(), columns[:, 2].copy(), numbers, counts
            )
        self._mark_empty_snapshots(rows, starts, sizes)
        self._ends.append(np.stack([columns[:, 2], columns[:, 3], starts + sizes + self._size], axis=1))
        self._add_quotes(name)
        self._parts.append(rows)
        self._size += len(rows)
        self._start_block()

    def finish(self, kept_out: Sequence[int] = ()) -> tuple[np.ndarray, np.ndarray, int]:
        """All rows, the oracle, and how many tentative prints of the instruments `kept_out` were left out."""
        rows = joined(self._parts, EVENT)
        quotes = np.concatenate([np.zeros(0, QUOTE), *self._quotes])
        ends = np.concatenate([np.zeros((0, 3), np.int64), *self._ends])
        for instrument in np.unique(ends[:, 0]):
            mine, asked = ends[ends[:, 0] == instrument], np.flatnonzero(quotes["instrument"] == instrument)
            mine = mine[np.argsort(mine[:, 1], kind="stable")]
            found = np.searchsorted(mine[:, 1], quotes["update_id"][asked], "right") - 1
            hit = (found >= 0) & (mine[found, 1] == quotes["update_id"][asked])
            quotes["row"][asked[hit]] = mine[found[hit], 2]
        tentative = rows["order_id"] == TENTATIVE
        out = np.flatnonzero(tentative & np.isin(rows["instrument"], np.array(kept_out, np.int64)))
        rows["order_id"][tentative] = 0
        if len(out):
            rows = np.delete(rows, out)
            quotes["row"] -= np.where(quotes["row"] >= 0, np.searchsorted(out, quotes["row"], "left"), 0)
        return rows, quotes, len(out)

    def _parse_levels(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        counts = np.zeros(len(self._lists), np.int64)
        if not self._lists:
            return np.zeros((0, 2), np.int64), counts
        from replay.feeds.text_kernels import OK, parse_levels

        text = b"".join(self._lists)
        bounds = np.concatenate([[0], np.cumsum([len(one) for one in self._lists])]).astype(np.int64)
        numbers = np.empty((text.count(b'"') // 4, 2), np.int64)
        rule = np.repeat([2 * message.instrument for message in self._messages], 2).astype(np.int64)
        bad, code = parse_levels(
            np.frombuffer(text, np.uint8), bounds, self._decimals, self._step, rule, numbers, counts
        )
        if code != OK:
            message = self._messages[bad // 2]
            self._fail(name, message.file_row, message.instrument, _pairs(self._lists[bad]))
        self._check_levels(name, numbers, counts)
        return numbers, counts

    def _check_levels(self, name: str, numbers: np.ndarray, counts: np.ndarray) -> None:
        ends = np.cumsum(counts)
        wrong = (numbers[:, 0] < 1) | (numbers[:, 1] > LOTS_MAX)
        if wrong.any():
            level = int(np.argmax(wrong))
            message = self._messages[int(np.searchsorted(ends, level, "right")) // 2]
            raise FeedError(
                f"{name}:{message.file_row}",
                f"a level of {numbers[level, 1]} lots at tick {numbers[level, 0]}: expected a "
                f"tick of at least 1 and at most {LOTS_MAX} lots",
            )
        for k, message in enumerate(self._messages):
            if not message.snapshot or not counts[2 * k] or not counts[2 * k + 1]:
                continue
            middle = ends[2 * k]
            bid = int(numbers[middle - counts[2 * k] : middle, 0].max())
            ask = int(numbers[middle : ends[2 * k + 1], 0].min())
            if bid >= ask:
                tick = units.decimal(self._specs[message.instrument].tick)
                raise FeedError(
                    f"{name}:{message.file_row}", f"crossed snapshot: best bid {bid * tick}, best ask {ask * tick}"
                )

    def _fill_prints(self, singles: np.ndarray, name: str) -> None:
        if not self._print_places:
            return
        places = np.array(self._print_places, np.int64)
        numbers = self._parse_texts(
            name, self._print_texts, np.repeat(places[:, 1], 2), np.repeat(places[:, 2], 2)
        ).reshape(-1, 2)
        wrong = (numbers < 1).any(axis=1) | (numbers[:, 1] > LOTS_MAX)
        if wrong.any():
            k = int(np.argmax(wrong))
            raise FeedError(
                f"{name}:{places[k, 2]}",
                f"a trade of {self._print_texts[2 * k + 1]} at {self._print_texts[2 * k]}: "
                f"both must be positive, and at most {LOTS_MAX} lots",
            )
        singles["price"][places[:, 0]] = numbers[:, 0]
        singles["qty"][places[:, 0]] = numbers[:, 1]

    def _add_quotes(self, name: str) -> None:
        if not self.quote_heads:
            return
        heads = np.array(self.quote_heads, np.int64)
        numbers = self._parse_texts(
            name, self.quote_texts, np.repeat(heads[:, 2], 4), np.repeat(heads[:, 3], 4)
        ).reshape(-1, 4)
        quotes = np.zeros(len(heads), QUOTE)
        quotes["ts_ns"], quotes["update_id"], quotes["instrument"], quotes["row"] = (
            heads[:, 0],
            heads[:, 1],
            heads[:, 2],
            -1,
        )
        for k, field in enumerate(("bid_ticks", "bid_lots", "ask_ticks", "ask_lots")):
            quotes[field] = numbers[:, k]
        self._quotes.append(quotes)

    def _parse_texts(self, name: str, texts: list[str], instruments: np.ndarray, file_rows: np.ndarray) -> np.ndarray:
        """Prices and sizes in turn to ticks and lots."""
        from replay.feeds.text_kernels import OK, parse_list

        numbers = np.empty(len(texts), np.int64)
        rule = 2 * instruments + np.arange(len(texts)) % 2
        good, code = parse_list(
            np.frombuffer(",".join(texts).encode(), np.uint8), self._decimals, self._step, rule, numbers
        )
        if code != OK:
            first = good - good % 2
            self._fail(name, int(file_rows[good]), int(instruments[good]), [tuple(texts[first : first + 2])])
        return numbers

    def _mark_empty_snapshots(self, rows: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> None:
        """A snapshot without levels is its BOOK_CLEAR alone, which is then the message's last row."""
        for k, message in enumerate(self._messages):
            if message.snapshot and not sizes[k]:
                rows["flags"][starts[k] - 1] = codes.LAST

    def _fail(self, name: str, file_row: int, instrument: int, pairs: list[tuple[str, ...]]) -> None:
        """Say what is wrong with the first bad pair of price and size."""
        spec = self._specs[instrument]
        for pair in pairs:
            for what, step, text in zip(("price", "size"), (spec.tick, spec.lot), pair, strict=True):
                try:
                    number = units.decimal(text)
                    problem = f"negative {what} {text}" if number.is_signed() else ""
                    if not problem and number % Decimal(step):
                        problem = (
                            f"{what} {text} is not a multiple of the {'tick' if what == 'price' else 'lot'} {step}"
                        )
                    if not problem and (number / Decimal(step) >= 10**18 or not text.replace(".", "", 1).isdigit()):
                        problem = f"{what} {text} is not a plain decimal of at most 18 digits"
                except (ValueError, ArithmeticError):
                    problem = f"{what} {text!r} is not a decimal number"
                if problem:
                    raise FeedError(f"{name}:{file_row}", f"{spec.symbol}: {problem}")
        raise FeedError(
            f"{name}:{file_row}", f'{spec.symbol}: expected numbers as text, levels as [["price","size"],...]'
        )


def _pairs(raw: Any) -> list[tuple[str, ...]]:
    try:
        return msgspec.json.decode(raw, type=list[tuple[str, str]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
