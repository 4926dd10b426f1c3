"""The run folder: outcomes, a series, and what was run. Written aside, then renamed, so it is whole or absent.

outcomes.parquet  every outcome, with the number of its variant
series.parquet    one row a variant, interval and instrument
run.json          run id, configuration, versions, tape, population, figures; wall time apart from them
"""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np

from exchange import schema
from exchange.errors import ConfigError, FeedError
from exchange.rows import copied, joined

CHUNK_ROWS = 1 << 19  # outcomes held before they are written
FORMAT_VERSION = 1
FILES = ("outcomes.parquet", "series.parquet", "run.json")


class NullRecorder:
    """Keeps nothing: for runs that only want the figures."""

    def outcomes(self, variant: int, rows: np.ndarray) -> None:
        """Ignore a chunk of outcomes."""

    def series(self, row: dict[str, int]) -> None:
        """Ignore a series row."""


class Recorder:
    """Writes one run folder; use as a context manager and call `close` when the run is done.

    Leaving the context without `close`, by an error or an interrupt, removes everything written so far.

    Raises
    ------
    ConfigError
        When `folder` exists and `force` is not set, or holds anything but a run.
    """

    def __init__(self, folder: Path, force: bool = False):
        self.folder = Path(folder).absolute()
        self.force = force
        self._check_target()
        self.aside = self.folder.with_name(f".{self.folder.name}.{os.getpid()}.part")
        self.parts: list[Path] = []
        self.pending: list[tuple[int, np.ndarray]] = []
        self.pending_rows = 0
        self.series_rows: dict[str, list[int]] = {}

    def __enter__(self) -> Self:
        shutil.rmtree(self.aside, ignore_errors=True)
        try:
            self.aside.mkdir(parents=True)
        except OSError as error:
            raise ConfigError(str(self.folder), f"cannot write here: {error.strerror}; choose another -o") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.aside, ignore_errors=True)

    def _check_target(self) -> None:
        if not self.folder.exists():
            return
        if not self.force:
            raise ConfigError(str(self.folder), "already exists; give another -o, or --force to replace the run in it")
        if not (self.folder / "run.json").is_file():
            raise ConfigError(str(self.folder), "is not a run folder, so --force does not replace it; give another -o")

    def outcomes(self, variant: int, rows: np.ndarray) -> None:
        """Add a chunk of outcomes; memory stays below `CHUNK_ROWS` and one chunk."""
        if len(rows):
            self.pending.append((variant, copied(rows)))
            self.pending_rows += len(rows)
            if self.pending_rows >= CHUNK_ROWS:
                self._flush()

    def series(self, row: dict[str, int]) -> None:
        """Add one row of the series; all rows have the same fields."""
        for name, value in row.items():
            self.series_rows.setdefault(name, []).append(value)

    def _flush(self) -> None:
        import polars

        if not self.pending:
            return
        variant = np.concatenate([np.full(len(rows), number, np.int8) for number, rows in self.pending])
        rows = joined([rows for _, rows in self.pending], schema.OUTCOME)
        frame = polars.DataFrame(
            {"variant": variant} | {name: np.ascontiguousarray(rows[name]) for name in rows.dtype.names or ()}
        )
        part = self.aside / f"outcomes.{len(self.parts):05d}.part"
        frame.write_parquet(part, compression="zstd")
        self.parts.append(part)
        self.pending, self.pending_rows = [], 0

    def close(self, record: dict[str, Any]) -> None:
        """Write what is left and `run.json`, and put the folder in its place."""
        import polars

        self._flush()
        target = self.aside / "outcomes.parquet"
        if len(self.parts) > 1:
            # Streamed part by part, so that a long run is never in memory as a whole.
            polars.scan_parquet(self.parts).sink_parquet(target, compression="zstd")
            for part in self.parts:
                part.unlink()
        elif self.parts:
            self.parts[0].rename(target)
        else:
            polars.DataFrame({"variant": np.zeros(0, np.int8)}).write_parquet(target)
        polars.DataFrame(self.series_rows).write_parquet(self.aside / "series.parquet", compression="zstd")
        text = msgspec.json.format(msgspec.json.encode({"format_version": FORMAT_VERSION} | record), indent=2)
        (self.aside / "run.json").write_bytes(text + b"\n")
        for name in FILES:
            _sync(self.aside / name)
        self._swap()

    def _swap(self) -> None:
        self._check_target()  # again: another process may have made it meanwhile
        old = self.aside.with_suffix(".old")
        if self.folder.exists():
            self.folder.rename(old)
        self.aside.rename(self.folder)
        _sync(self.folder.parent)  # the rename itself must survive a power cut
        shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
