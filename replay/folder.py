"""A folder that a command writes: aside, then renamed, so that it is whole or absent."""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from exchange.errors import ConfigError


class NewFolder:
    """Write into `aside`, then call `swap`; a context manager.

    Leaving the context without `swap`, by an error or an interrupt, removes everything written so far.

    Raises
    ------
    ConfigError
        When `folder` exists and `force` is not set, or has no file `mark`, by which a folder of its kind is known.
    """

    def __init__(self, folder: Path, force: bool, mark: str):
        self.folder, self.force, self.mark = Path(folder).absolute(), force, mark
        self._check_target()
        self.aside = self.folder.with_name(f".{self.folder.name}.{os.getpid()}.part")

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
        what = self.mark.removesuffix(".json")
        if not self.force:
            raise ConfigError(
                str(self.folder), f"already exists; give another -o, or --force to replace the {what} in it"
            )
        if not (self.folder / self.mark).is_file():
            raise ConfigError(
                str(self.folder), f"is not a {what} folder, so --force does not replace it; give another -o"
            )

    def write_json(self, name: str, document: Any) -> None:
        """One indented document."""
        text = msgspec.json.format(msgspec.json.encode(document), indent=2)
        (self.aside / name).write_bytes(text + b"\n")

    def swap(self) -> None:
        """Put the folder in its place."""
        for path in self.aside.iterdir():
            _sync(path)
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
