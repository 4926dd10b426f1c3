"""One line of progress on stderr, only where a terminal shows it."""

import sys
from types import TracebackType
from typing import Self


class ProgressLine:
    """Call it with the share done and what is being done; use as a context manager so that the line is cleared."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._last = ""

    def __call__(self, share: float, text: str) -> None:
        line = f"{share:4.0%} {text}"
        if self._shown and line != self._last:
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()
            self._last = line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown and self._last:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
