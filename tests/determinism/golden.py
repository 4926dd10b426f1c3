"""Golden digests: what the scenarios gave when they were last written down, so that no change of behaviour goes unseen.

A change needs a line in exchange/CHANGES.md that names the version and the digest of the golden file.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from exchange import schema
from tests.determinism.play import Scenario, digest_of_table, play, result_digest

ROOT = Path(__file__).parents[2]
FILE, CHANGES = ROOT / "tests" / "golden.json", ROOT / "exchange" / "CHANGES.md"
FORMAT = 1  # of the fingerprints (tests/determinism/play.py); raise it when they are made otherwise
PARTS = ("config", "input", "digest")  # what was run, and what came of it
LINE = re.compile(r"^- (\d+) `([0-9a-f]{32})`: (\S.*)$", re.MULTILINE)
Golden = dict[str, Any]


def schema_digest() -> str:
    """Digest of the layout of events and outcomes."""
    return digest_of_table([layout.descr for layout in (schema.EVENT, schema.OUTCOME)])


def golden_of(scenarios: Iterable[Scenario]) -> Golden:
    """What the golden file says when nothing has changed; its version left out."""
    found = {scenario.name: play(scenario) for scenario in scenarios}
    return {"format": FORMAT, "schema": schema_digest(), "scenarios": {
        name: dict(zip(PARTS, (each["config"], each["input"], result_digest(each)), strict=True))
        for name, each in found.items()}}


def read(file: Path = FILE) -> tuple[int, Golden]:
    """Version and content of the golden file; version 0 and nothing where there is none."""
    if not file.exists():
        return 0, {"scenarios": {}}
    content = json.loads(file.read_text(encoding="utf-8"))
    return content.pop("version"), content


def changed(old: Golden, new: Golden) -> list[str]:
    """What differs, with the reason where the golden file tells it: layout, configuration or input of the scenario."""
    found = [f"another {part}" for part in ("format", "schema") if old.get(part) != new[part]]
    before, after = old["scenarios"], new["scenarios"]
    for name in sorted({*before, *after}):
        was, is_now = before.get(name, {}), after.get(name, {})
        found += [f"{name}: another {part}" for part in PARTS if was.get(part) != is_now.get(part)]
    return found


def change_lines(text: str) -> list[tuple[int, str]]:
    """(version, digest of the golden file) of each line of the list of changes, oldest first."""
    return [(int(version), digest) for version, digest, _ in LINE.findall(text)]


def write(new: Golden, reason: str, file: Path = FILE, changes: Path = CHANGES) -> int:
    """Write the next version and its line in the list of changes, unless nothing changed; returns the version."""
    version, old = read(file)
    if not changed(old, new):
        return version
    version += 1
    file.write_text(json.dumps({"version": version, **new}, indent=1) + "\n", encoding="utf-8")
    text = changes.read_text(encoding="utf-8") + f"- {version} `{digest_of_table(new)}`: {reason}\n"
    changes.write_text(text, encoding="utf-8")
    return version
