"""The tape: every event of a replay in one sorted record array, with where it came from, kept as Parquet."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from exchange import codes, config, units
from exchange.errors import FeedError
from exchange.rows import copied, joined
from exchange.schema import EVENT

FORMAT_VERSION = 1
_CACHED_ROWS = 4_096  # records are turned into columns in pieces that stay in the processor's cache
ROWS_FREE, ROWS_PER_BYTE_MAX = 1_000_000, 200  # a recorded row takes about 5 bytes; a bomb claims thousands a byte
META_KEY = "deleverage.tape"  # the one key of ours in the file's metadata
Kind = Literal["linear", "inverse", "spot"]


class InstrumentSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What turns a feed's decimal text into the tape's integers. Decimal fields are text.

    A `spot` market is no contract: a venue cannot list it, but its book can make an index.
    """

    symbol: str
    tick: str
    lot: str
    mark_per_tick: int = 1
    kind: Kind = "linear"


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file the tape was made from: its name without folders, its size and the sha256 of its bytes."""

    name: str
    size: int
    sha256: str


class TapeMeta(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a tape file says about itself. `reports` are the readers' own, oldest step first."""

    instruments: tuple[InstrumentSpec, ...]
    sources: tuple[Source, ...] = ()
    reports: tuple[dict[str, Any], ...] = ()


class _Header(msgspec.Struct, frozen=True):
    format_version: int
    digest: str
    meta: TapeMeta


def spec_of(instrument: config.Instrument) -> InstrumentSpec:
    """The part of a configured instrument that a reader needs."""
    return InstrumentSpec(instrument.symbol, instrument.tick, instrument.lot, instrument.mark_per_tick, instrument.kind)


class Tape:
    """Events sorted by `ts_ns`, numbered from 1 in `seq`; `instrument` is the place in `instruments`.

    Parameters
    ----------
    rows : record array of `schema.EVENT`, one dimension; numbered here, in place
    meta : instruments, sources and reports
    """

    def __init__(self, rows: np.ndarray, meta: TapeMeta):
        if rows.dtype != EVENT or rows.ndim != 1:
            raise TypeError(f"a tape is one dimension of EVENT records, got {rows.dtype} of shape {rows.shape}")
        rows["seq"] = np.arange(1, len(rows) + 1)
        self.rows = rows
        self.meta = meta

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def instruments(self) -> tuple[InstrumentSpec, ...]:
        return self.meta.instruments

    @property
    def sources(self) -> tuple[Source, ...]:
        return self.meta.sources

    @property
    def reports(self) -> tuple[dict[str, Any], ...]:
        return self.meta.reports

    def digest(self) -> str:
        """Hash of events and instruments: equal tapes replay equally, whatever files they came from."""
        digest = hashlib.sha256(msgspec.json.encode(self.instruments))
        digest.update(np.ascontiguousarray(self.rows).data)
        return digest.hexdigest()

    def slice(self, start_ns: int | None = None, end_ns: int | None = None) -> "Tape":
        """Copy the events with `start_ns <= ts_ns < end_ns`. No message is cut: its rows share one stamp.

        Recorded books begin empty in the copy until their next snapshot, so a slice that needs depth starts before one.
        """
        stamps = self.rows["ts_ns"]
        first = 0 if start_ns is None else int(np.searchsorted(stamps, start_ns, "left"))
        end = len(stamps) if end_ns is None else int(np.searchsorted(stamps, end_ns, "left"))
        return Tape(self.rows[first:end].copy(), self.meta)

    def with_report(self, rows: np.ndarray, report: dict[str, Any]) -> "Tape":
        """Other rows of the same instruments and sources, with one more report on how they were made."""
        return Tape(rows, msgspec.structs.replace(self.meta, reports=(*self.reports, report)))

    def write(self, path: Path) -> None:
        """Write Parquet aside, then rename: a file under the final name is always whole."""
        import polars

        path = Path(path)
        header = msgspec.json.encode(_Header(FORMAT_VERSION, self.digest(), self.meta)).decode()
        aside = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with open(aside, "wb") as file:
                polars.DataFrame(columns_of(self.rows)).write_parquet(
                    file, compression="zstd", metadata={META_KEY: header}
                )
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the rename itself must survive a power cut
        finally:
            os.close(folder)

    @classmethod
    def read(cls, path: Path) -> "Tape":
        """Read a tape and check all of it: version, columns, order, instruments, digest.

        Raises
        ------
        FeedError
            Naming the file, for anything that is not a whole tape of this format version.
        """
        import polars

        path = Path(path)
        if not path.is_file():
            raise FeedError(path.name, "no such file, or not a regular one")
        try:
            header = _read_header(path, polars.read_parquet_metadata(path))
            count = int(polars.scan_parquet(path).select(polars.len()).collect().item())
            if count > ROWS_FREE + ROWS_PER_BYTE_MAX * path.stat().st_size:
                raise FeedError(path.name, f"claims {count} rows, more than a tape of this size can hold")
            frame = polars.read_parquet(path)
        except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError) as error:
            raise FeedError(path.name, f"not a readable Parquet file: {error}") from None
        found = {name: str(dtype) for name, dtype in frame.schema.items()}
        wanted = {
            name: str(column.dtype)
            for name, column in polars.DataFrame(columns_of(np.zeros(0, EVENT))).to_dict().items()
        }
        if found != wanted:
            raise FeedError(path.name, f"columns are {found}, expected {wanted}")
        if any(column.null_count() for column in frame):
            raise FeedError(path.name, "a column has empty cells")
        tape = cls(rows_of({name: frame[name].to_numpy() for name in wanted}), header.meta)
        _check(path.name, tape, header)
        return tape


def _read_header(path: Path, found: dict[str, str]) -> _Header:
    if META_KEY not in found:
        raise FeedError(path.name, f"not a tape: the file's metadata has no {META_KEY!r}")
    try:
        version = msgspec.json.decode(found[META_KEY], type=dict[str, Any]).get("format_version")
        if version != FORMAT_VERSION:
            raise FeedError(
                path.name, f"tape format {version!r}, this version reads {FORMAT_VERSION}; convert the capture again"
            )
        return msgspec.json.decode(found[META_KEY], type=_Header)
    except (msgspec.DecodeError, RecursionError) as error:
        raise FeedError(path.name, f"bad tape metadata: {error}") from None


def _check(name: str, tape: Tape, header: _Header) -> None:
    rows = tape.rows
    if len(rows) and bool(np.any(np.diff(rows["ts_ns"]) < 0)):
        raise FeedError(f"{name}:{int(np.argmax(np.diff(rows['ts_ns']) < 0)) + 2}", "the stamp goes back")
    if len(rows) and not -1 <= int(rows["instrument"].min()) <= int(rows["instrument"].max()) < len(tape.instruments):
        raise FeedError(name, f"rows of instruments beyond the {len(tape.instruments)} that it names")
    if tape.digest() != header.digest:
        raise FeedError(name, "the rows are not those that were written: the digest differs")


def columns_of(rows: np.ndarray) -> dict[str, np.ndarray]:
    """One contiguous array for each field of the records."""
    columns = {name: np.empty(len(rows), rows.dtype[name]) for name in rows.dtype.names or ()}
    for start in range(0, len(rows), _CACHED_ROWS):
        part = slice(start, start + _CACHED_ROWS)
        for name, column in columns.items():
            column[part] = rows[name][part]
    return columns


def rows_of(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Records from equally long columns that are named like the fields."""
    rows = np.empty(len(columns["ts_ns"]), EVENT)
    for start in range(0, len(rows), _CACHED_ROWS):
        part = slice(start, start + _CACHED_ROWS)
        for name in EVENT.names or ():
            rows[name][part] = columns[name][part]
    return rows


def merge(tapes: Sequence[Tape]) -> Tape:
    """Merge tapes by (ts_ns, order of the tapes given, row): equal stamps keep that order.

    A symbol that two tapes share is one instrument; its ticks and lots must be the same in both.
    """
    specs: dict[str, InstrumentSpec] = {}
    parts = []
    for tape in tapes:
        for spec in tape.instruments:
            if specs.setdefault(spec.symbol, spec) != spec:
                raise FeedError(spec.symbol, f"two tapes disagree: {specs[spec.symbol]} and {spec}")
        places = np.array([list(specs).index(spec.symbol) for spec in tape.instruments], dtype=np.int16)
        part = copied(tape.rows)
        part["instrument"] = np.where(part["instrument"] < 0, part["instrument"], places[part["instrument"]])
        parts.append(part)
    rows = joined(parts, EVENT)
    order = np.argsort(rows["ts_ns"], kind="stable")
    meta = TapeMeta(
        tuple(specs.values()),
        tuple(s for tape in tapes for s in tape.sources),
        tuple(r for tape in tapes for r in tape.reports),
    )
    return Tape(rows[order], meta)


def level_slots(rows: np.ndarray) -> int:
    """Most external levels that a tape can hold at once: its different prices, sides and instruments."""
    rows = rows[(rows["kind"] == codes.LEVEL_SET) & (rows["qty"] > 0)]
    # Prices fit 32 bits by the venue's limits, so one integer holds all three.
    return len(
        np.unique((rows["instrument"].astype(np.int64) << 34) + (rows["side"].astype(np.int64) << 33) + rows["price"])
    )


def active_instruments(rows: np.ndarray) -> list[int]:
    """Places of the instruments that the tape has a book of."""
    return [int(place) for place in np.unique(rows["instrument"][rows["kind"] == codes.LEVEL_SET])]


def recorded_forced_share(rows: np.ndarray) -> float:
    """Share of printed lots that the recording marks as not traded in the market: its own liquidations."""
    prints = rows[rows["kind"] == codes.TRADE_PRINT]
    total = int(prints["qty"].sum())
    return round(int(prints["qty"][(prints["flags"] & codes.EVIDENCE) != 0].sum()) / total, 6) if total else 0.0


def check_specs(specs: Sequence[InstrumentSpec]) -> None:
    """Refuse instruments that cannot be read: steps that are not positive decimals, a symbol named twice."""
    symbols = [spec.symbol for spec in specs]
    if len(set(symbols)) != len(symbols):
        raise FeedError("instruments", f"two share a symbol: {symbols}")
    for spec in specs:
        for text in (spec.tick, spec.lot):
            try:
                good = units.decimal(text) > 0
            except ValueError:
                good = False
            if not good:
                raise FeedError(spec.symbol, f"tick and lot must be positive decimals, got {text!r}")
        if spec.mark_per_tick < 1:
            raise FeedError(spec.symbol, f"mark_per_tick must be at least 1, got {spec.mark_per_tick}")
