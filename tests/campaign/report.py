"""What a part of the campaign did, how much time it has, and the table that the runner prints."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

COLUMNS = ("part", "runs", "events", "seconds", "failures", "what was reached")


@dataclass
class Part:
    """The account of one part; `reached` counts by name what it is meant to reach, `note` says it in a line.

    `cases` are failures in the form of regression files, by name.
    """

    name: str
    runs: int = 0
    events: int = 0
    seconds: float = 0.0
    note: str = ""
    failures: list[str] = field(default_factory=list)
    reached: Counter = field(default_factory=Counter)
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)

    def take(self, events: int, reached: Counter) -> None:
        """Count one run that passed."""
        self.runs += 1
        self.events += events
        self.reached += reached

    def fail(self, where: str, error: BaseException | str) -> None:
        """Count one run that failed; `where` is what repeats it."""
        self.runs += 1
        text = f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else error
        self.failures.append(f"{self.name}: {where}: {text}")


class Budget:
    """Until when a part may start another run. Without seconds: `runs` runs, however long they take."""

    def __init__(self, seconds: float | None = None, runs: int | None = None):
        self.start = time.monotonic()
        self.seconds = seconds
        self.runs = runs

    def spent(self) -> float:
        return time.monotonic() - self.start

    def left(self, done: int) -> bool:
        """May another run start after `done` of them? The first always may."""
        if done == 0:
            return True
        if self.runs is not None and done >= self.runs:
            return False
        return self.seconds is None or self.spent() < self.seconds


def table(parts: list[Part]) -> str:
    """The parts as aligned text."""
    rows = [COLUMNS, *((part.name, f"{part.runs:,}", f"{part.events:,}", f"{part.seconds:.1f}",
                        str(len(part.failures)), part.note) for part in parts)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(COLUMNS) - 1)]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *(row[k].rjust(widths[k]) for k in range(1, len(widths))),
                                row[-1]]).rstrip() for row in rows)
