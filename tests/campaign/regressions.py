"""Cases that once failed, kept as files for good and replayed on every run.

A case is a stream (`profile`, `seed`, `events`) or rows (`table`, `rows`: a shrunk or hand-made sequence of commands,
in which a row of kind 0 lets time pass to its `ts_ns`). `note` says what it found.
"""

import json
import os
from pathlib import Path
from typing import Any

from tests.campaign.report import Budget, Part
from tests.campaign.streams import audited, differ
from tests.campaign.twin import Twin

FOLDER = Path(__file__).with_name("regressions")
PASS_TIME = 0


def paths() -> list[Path]:
    """Every case on file."""
    return sorted(FOLDER.glob("*.json"))


def load(path: Path) -> dict[str, Any]:
    """One case as it was saved."""
    case: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return case


def save(name: str, case: dict[str, Any], folder: Path = FOLDER) -> Path:
    """Keep a case: written aside, then renamed, so that a file is whole or not there."""
    path = folder / f"{name}.json"
    texts = {key: _listed(value) if key == "rows" else json.dumps(value) for key, value in case.items()}
    lines = [f"{json.dumps(key)}: {text}" for key, text in texts.items()]
    aside = path.with_suffix(".tmp")
    aside.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    os.replace(aside, path)
    return path


def _listed(rows: list[dict[str, int]]) -> str:
    return "[\n  " + ",\n  ".join(map(json.dumps, rows)) + "\n]"


def replay(case: dict[str, Any]) -> int:
    """Run a case, differential and audited; the number of events. Raises as it did when it was found."""
    if "profile" in case:
        differ(case["profile"], case["seed"], case["events"])
        audited(case["profile"], case["seed"], case["events"])
        return int(case["events"])
    twin = Twin(case["table"])
    for row in case["rows"]:
        if row["kind"] == PASS_TIME:
            twin.settle(row["ts_ns"] - twin.clock)
        else:
            twin.send(**row)
    return len(case["rows"])


def fails(case: dict[str, Any]) -> bool:
    """Does a case fail now?"""
    try:
        replay(case)
    except Exception:  # noqa: BLE001 - any failure is one
        return True
    return False


def shrink(case: dict[str, Any]) -> dict[str, Any]:
    """The case with rows left out, many at a time and then one by one, for as long as it still fails."""
    rows, size = case["rows"], len(case["rows"]) // 2
    while size:
        start = 0
        while start < len(rows):
            fewer = rows[:start] + rows[start + size:]
            if fails({**case, "rows": fewer}):
                rows = fewer
            else:
                start += size
        size //= 2
    return {**case, "rows": rows}


def campaign(budget: Budget) -> Part:
    """Every case on file."""
    part = Part("regressions")
    for path in paths():
        try:
            events = replay(load(path))
        except Exception as error:  # noqa: BLE001 - reported by file
            part.fail(path.name, error)
            continue
        part.runs += 1
        part.events += events
    part.note = f"{len(paths())} cases on file"
    part.seconds = budget.spent()
    return part
