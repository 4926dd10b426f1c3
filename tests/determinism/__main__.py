"""`python -m tests.determinism`: run the matrix and print it, or write the golden digests anew.

    python -m tests.determinism --columns twice,resume,reversed --scenarios 500
    python -m tests.determinism --write-golden "funding is paid before the mark moves"
"""

import argparse
import sys
import time

from tests.determinism import golden
from tests.determinism.columns import COLUMNS, baseline, disagreements, run_columns
from tests.determinism.play import result_digest
from tests.determinism.scenarios import COUNT, scenarios


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.determinism", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--columns", default=",".join(COLUMNS), help="comma-separated; all: %(default)s")
    parser.add_argument("--scenarios", type=int, default=COUNT, metavar="N")
    parser.add_argument("--write-golden", metavar="REASON", help="for the line in exchange/CHANGES.md")
    asked = parser.parse_args()
    asked.columns = [name.strip() for name in asked.columns.split(",")]
    if unknown := sorted({*asked.columns} - {*COLUMNS}):
        parser.error(f"no such column: {', '.join(unknown)}")
    return asked


def print_matrix(columns: list[str], count: int) -> bool:
    """Run and print scenario by column; is there one digest per scenario?"""
    started = time.perf_counter()
    expected, found = baseline(scenarios(count)), {}
    for name, each in run_columns(columns, count):
        found[name] = disagreements(expected, each)
        print(f"{time.perf_counter() - started:7.1f} s  {name}: {found[name] or 'equal'}", flush=True)
    print(f"\n{'scenario':<30}{'digest':<14}{'  '.join(columns)}")
    for scenario, each in expected.items():
        cells = ["DIFFERS" if scenario in found[name] else "=" for name in columns]
        aligned = "  ".join(cell.ljust(len(name)) for cell, name in zip(cells, columns, strict=True))
        print(f"{scenario:<30}{result_digest(each)[:12]:<14}{aligned}")
    return not any(found.values())


if __name__ == "__main__":
    asked = arguments()
    if asked.write_golden:
        print("golden version", golden.write(golden.golden_of(scenarios()), asked.write_golden))
    elif not print_matrix(asked.columns, asked.scenarios):
        sys.exit(1)
