"""Every line and branch of matching is reached by fast tests and a walk of seeds: `python -m tests.coverage_gate`.

Kernels run interpreted. What is not reached is listed, and fails, unless `coverage_gate.toml` says why nothing reaches
it; an exception that is reached, or fits no line, fails too. A module of `exchange/core` is part of matching unless it
is named here, so a new one is measured from its first day.
"""

import ast
import json
import os
import sys
import tempfile
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import coverage
import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "exchange" / "core"
OTHER = (  # margin and money, contracts, collateral, liquidation, recorded liquidity, prices, and the decorators
    "accounts", "add_ons", "adl", "backstop", "basis", "black76", "collateral", "contract", "depth", "dutch", "dutch_share",
    "expiries", "external", "fund", "funding", "grid", "guard_ladder", "guards", "impact", "impact_price", "index", "kernel", "ledger", "limits",
    "liquidation", "maps", "margin", "margin_events", "margin_mode", "mark", "offers", "option_grid", "option_margin",
    "options", "passing", "plan", "printed", "queue_model", "recorded", "requirement", "settlement", "shadow",
    "shift", "socialise", "spot", "stages", "steps", "stress", "wide")
TESTS = ("accounts", "allocation", "auctions", "backstop", "book_stream", "boundaries", "capacity", "dutch_auctions",
         "gateway", "icebergs", "impact", "ladder", "margin_models", "market_states", "matching_edges", "pause", "pegged",
         "portfolio", "pricing", "resting", "self_trade", "terms", "throttles")
SEEDS, EVENTS = range(40), 800


def modules() -> list[Path]:
    """Files of matching."""
    assert not [name for name in OTHER if not (CORE / f"{name}.py").exists()], "a module left out is gone"
    return [path for path in sorted(CORE.glob("*.py")) if path.stem not in (*OTHER, "__init__")]


def walk() -> None:
    """What must reach everything: the tests of the rules of matching, then seeded streams against the reference."""
    files = [str(ROOT / "tests" / f"test_{name}.py") for name in TESTS]
    if pytest.main(["-q", "-W", "ignore", *files]):
        raise SystemExit("a test fails: nothing is measured")
    from tests.differential import compare

    for seed in SEEDS:
        compare(seed, EVENTS)


def measure(paths: list[Path]) -> dict[str, Any]:
    """The coverage report of some files while the walk runs, by file."""
    measured = coverage.Coverage(data_file=None, config_file=False, branch=True, include=[str(path) for path in paths])
    with measured.collect():
        walk()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        measured.json_report(outfile=str(report))
        files: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))["files"]
    return {Path(name).name: rows for name, rows in files.items()}


def unreached(path: Path, rows: dict[str, Any]) -> list[tuple[str, str, str, int]]:
    """(file, function, code, line) of each line and branch that nothing reached; a branch is `code -> where to`."""
    text = path.read_text(encoding="utf-8")
    lines = ["", *(line.strip() for line in text.splitlines())]
    names = {}
    for node in ast.parse(text).body:
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
            names[line] = getattr(node, "name", "")
    missing = set(rows["missing_lines"])
    found = [(path.name, names.get(line, ""), lines[line], line) for line in missing]
    for source, target in rows["missing_branches"]:
        if source not in missing and target not in missing:  # of a line that is not reached the line says enough
            end = lines[target] if target > 0 else "the end"
            found.append((path.name, names.get(source, ""), f"{lines[source]} -> {end}", source))
    return found


def exceptions() -> Counter[tuple[str, str, str]]:
    """The table of what nothing reaches."""
    rows = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")).get("exception", [])
    assert all(row["reason"] for row in rows)
    return Counter((row["file"], row["function"], row["code"]) for row in rows)


def complaints(places: list[tuple[str, str, str, int]], allowed: Counter[tuple[str, str, str]]) -> list[str]:
    """One line for each place that is not reached without a reason, and for each reason that is stale."""
    found, left, said = Counter(place[:3] for place in places), allowed.copy(), []
    for file, function, code, line in sorted(places):
        if left[file, function, code]:
            left[file, function, code] -= 1
        else:
            said.append(f"not reached: {file}:{line}: {function}: {code}")
    stale = sorted((allowed - found).elements())
    return said + [f"excepted, and reached or gone: {': '.join(place)}" for place in stale]


def main() -> int:
    """Exit code 1 where something is not reached without a reason, or a reason is stale."""
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    paths = modules()
    files = measure(paths)
    places = [place for path in paths for place in unreached(path, files[path.name])]
    allowed = exceptions()
    said = complaints(places, allowed)
    print(*said, sep="\n", end="\n" if said else "")
    sums = Counter[str]()
    for rows in files.values():
        sums.update({name: rows["summary"][name] for name in ("num_statements", "covered_lines", "num_branches",
                                                              "covered_branches")})
    print(f"{len(paths)} modules: {sums['covered_lines']} of {sums['num_statements']} lines, "
          f"{sums['covered_branches']} of {sums['num_branches']} branches, {allowed.total()} exceptions")
    return int(bool(said))


if __name__ == "__main__":
    sys.exit(main())
