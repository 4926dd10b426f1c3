"""`python -m benchmarks [pytest arguments]`: run the benchmarks, write RESULTS.md and the README's table.

With arguments, such as `-k guards`, only the table of what ran is printed.
"""

import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import llvmlite
import msgspec
import numba
import numpy
import pytest

from benchmarks.measure import Row

FOLDER = Path(__file__).parent
HEAD = "| | what | conditions | measured | ratio | floor | aim | met? |\n|---|---|---|---|---|---|---|---|"


def cell(goal: float | None, row: Row) -> str:
    """A floor or an aim with its unit."""
    if goal is None:
        return "–"
    return f"{'≤' if row.less_is_better else '≥'} {goal:,g} {row.unit}"


def verdict(row: Row) -> str:
    """Which goals a row reached."""
    if row.reached(row.floor) is False:
        return "**below floor**"
    return "floor" if row.reached(row.aim) is False else "aim" if row.aim is not None else "yes"


def line(row: Row) -> str:
    """The row of the table of results."""
    return f"| {row.place} | {row.what} | {row.conditions} | {figures(row)} | {verdict(row)} |"


def figures(row: Row) -> str:
    """What was measured, the ratio, floor and aim, as cells."""
    ratio = "–" if row.ratio is None else f"{row.ratio:,.0f}" if row.ratio >= 100 else f"{row.ratio:.3f}"
    return f"{row.measured} | {ratio} | {cell(row.floor, row)} | {cell(row.aim, row)}"


def refreshed(text: str, rows: list[Row]) -> str:
    """The README with the rows of its own table, which leaves conditions out, measured anew."""
    for row in rows:
        text = re.sub(rf"^\| {row.place} \| .*$", lambda _, row=row: f"| {row.place} | {row.what} | {figures(row)} |", text,
                      flags=re.MULTILINE)
    return text


def shortfalls(rows: list[Row]) -> str:
    """The floors and the aims that were not reached, in sentences."""
    def named(field: str, missed: list[Row]) -> str:
        texts = (f"{row.what}: {row.value:,.3g} {row.unit}, {field} {getattr(row, field):,g}" for row in missed)
        return "; ".join(texts) + "."

    floors = [row for row in rows if row.reached(row.floor) is False]
    aims = [row for row in rows if row not in floors and row.reached(row.aim) is False]
    text = "Floors not reached – " + named("floor", floors) if floors else "Every floor is reached."
    return text + ("\n\nAims not reached – " + named("aim", aims) if aims else "")


def machine(found: dict[str, Any], load: tuple[float, float], seconds: float) -> str:
    """What the numbers were measured on."""
    cpu = found["cpu"].get("brand_raw") or found["machine"]
    return (f"{cpu}, {os.cpu_count()} cores; {found['system']}; Python {found['python_version']}, "
            f"numba {numba.__version__}, llvmlite {llvmlite.__version__}, numpy {numpy.__version__}. "
            f"Load average {load[0]:.1f} at the start and {load[1]:.1f} at the end "
            f"(these benchmarks alone make about 1); the run took {seconds:.0f} s.")


def results(rows: list[Row], facts: str) -> str:
    """The text of RESULTS.md."""
    return f"""# Benchmark results

Written by `python -m benchmarks`. Measured are the compiled functions that the command line calls. Numbers are median
(least–most) over the rounds; a ratio is the median over rounds in which baseline and product ran one after the other
on the same data. Processor time where nothing is said, wall time where it is.

{facts}

{shortfalls(rows)}

{HEAD}
{chr(10).join(line(row) for row in rows)}

{(FOLDER / "removed.md").read_text(encoding="utf-8").strip()}
"""


def write_aside(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def main(arguments: list[str]) -> int:
    started, load = time.perf_counter(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder) / "benchmarks.json"
        code = pytest.main([str(FOLDER), f"--rootdir={FOLDER.parent}", "-p", "no:cacheprovider", "--dist", "no",
                            "--benchmark-only", "--benchmark-quiet", f"--benchmark-json={document}", *arguments])
        written = document.is_file() and document.stat().st_size
        found = json.loads(document.read_bytes()) if written else {"benchmarks": []}
    rows = [msgspec.convert(row, Row) for entry in found["benchmarks"] for row in entry["extra_info"].get("rows", ())]
    rows.sort(key=lambda row: (int(re.match(r"\d+", row.place).group()), row.place))
    for row in rows:
        print(line(row))
    if code == 0 and not arguments:
        facts = machine(found["machine_info"], (load, os.getloadavg()[0]), time.perf_counter() - started)
        readme = FOLDER.parent / "README.md"
        write_aside(FOLDER / "RESULTS.md", results(rows, facts))
        write_aside(readme, refreshed(readme.read_text(encoding="utf-8"), rows))
        print(f"wrote {FOLDER / 'RESULTS.md'} and the table in {readme}")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
