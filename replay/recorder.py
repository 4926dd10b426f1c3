"""The run folder: outcomes, a series, and what was run. Written aside, then renamed, so it is whole or absent.

outcomes.parquet      every outcome, with the number of its variant
series.parquet        one row a variant, interval and instrument
book_changes.parquet  every change of a queue, with the number of its variant; of a venue with `publish_book` alone
run.json              run id, configuration, versions, tape, population, figures; wall time apart from them
"""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from exchange import schema
from exchange.errors import FeedError
from exchange.rows import copied, joined
from replay.folder import NewFolder

CHUNK_ROWS = 1 << 19  # records of a file held before they are written
FORMAT_VERSION = 1
FILES = ("outcomes.parquet", "series.parquet", "run.json")


class NullRecorder:
    """Keeps nothing: for runs that only want the figures."""

    def outcomes(self, variant: int, rows: np.ndarray) -> None:
        """Ignore a chunk of outcomes."""

    def book_changes(self, variant: int, rows: np.ndarray) -> None:
        """Ignore a chunk of changes of the books."""

    def series(self, row: dict[str, int]) -> None:
        """Ignore a series row."""


class _Records:
    """Records of one layout on their way into one file; memory stays below `CHUNK_ROWS` and one chunk."""

    def __init__(self, target: Path, layout: np.dtype):
        self.target, self.layout = target, layout
        self.parts: list[Path] = []
        self.pending: list[tuple[int, np.ndarray]] = []
        self.pending_rows = 0

    def add(self, variant: int, rows: np.ndarray) -> None:
        """Add a chunk."""
        if len(rows):
            self.pending.append((variant, copied(rows)))
            self.pending_rows += len(rows)
            if self.pending_rows >= CHUNK_ROWS:
                self.flush()

    def flush(self) -> None:
        """Write what is held as a part of its own."""
        import polars

        variant = np.concatenate([np.zeros(0, np.int8), *(np.full(len(rows), k, np.int8) for k, rows in self.pending)])
        rows = joined([rows for _, rows in self.pending], self.layout)
        frame = polars.DataFrame(
            {"variant": variant} | {name: np.ascontiguousarray(rows[name]) for name in rows.dtype.names or ()}
        )
        part = self.target.with_suffix(f".{len(self.parts):05d}.part")
        frame.write_parquet(part, compression="zstd")
        self.parts.append(part)
        self.pending, self.pending_rows = [], 0

    def close(self) -> None:
        """Write what is left, and join the parts."""
        import polars

        if self.pending or not self.parts:
            self.flush()
        if len(self.parts) > 1:
            # Streamed part by part, so that a long run is never in memory as a whole.
            polars.scan_parquet(self.parts).sink_parquet(self.target, compression="zstd")
            for part in self.parts:
                part.unlink()
        else:
            self.parts[0].rename(self.target)


class Recorder(NewFolder):
    """Writes one run folder; use as a context manager and call `close` when the run is done."""

    def __init__(self, folder: Path, force: bool = False):
        super().__init__(folder, force, "run.json")
        self.records = {"outcomes": _Records(self.aside / "outcomes.parquet", schema.OUTCOME)}
        self.series_rows: dict[str, list[int]] = {}

    def outcomes(self, variant: int, rows: np.ndarray) -> None:
        """Add a chunk of outcomes."""
        self.records["outcomes"].add(variant, rows)

    def book_changes(self, variant: int, rows: np.ndarray) -> None:
        """Add a chunk of changes of the books, even an empty one: from the first on the file is part of the run."""
        if "book_changes" not in self.records:
            self.records["book_changes"] = _Records(self.aside / "book_changes.parquet", schema.BOOK_CHANGE)
        self.records["book_changes"].add(variant, rows)

    def series(self, row: dict[str, int]) -> None:
        """Add one row of the series; all rows have the same fields."""
        for name, value in row.items():
            self.series_rows.setdefault(name, []).append(value)

    def close(self, record: dict[str, Any]) -> None:
        """Write what is left and `run.json`, and put the folder in its place."""
        import polars

        for records in self.records.values():
            records.close()
        polars.DataFrame(self.series_rows).write_parquet(self.aside / "series.parquet", compression="zstd")
        self.write_json("run.json", {"format_version": FORMAT_VERSION} | record)
        self.swap()


def read_run(folder: Path) -> dict[str, Any]:
    """The `run.json` of a run folder.

    Raises
    ------
    FeedError
        When the folder is no whole run of this format version.
    """
    folder = Path(folder)
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise FeedError(
            str(folder), f"not a run folder: {', '.join(missing)} missing; expected what `deleverage replay -o` writes"
        )
    try:
        record = msgspec.json.decode((folder / "run.json").read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise FeedError(f"{folder}/run.json", f"not valid JSON: {error}") from None
    if record.get("format_version") != FORMAT_VERSION:
        raise FeedError(
            f"{folder}/run.json",
            f"run format {record.get('format_version')!r}, this version reads {FORMAT_VERSION}; run again",
        )
    return record
