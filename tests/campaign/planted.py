"""Planted bugs: each patch of `planted.toml` goes into a scratch copy of the package and must be caught there.

The copy runs interpreted in a process of its own, only through the part of the campaign that the patch names, seed
after seed until it fails. A patch that no longer applies, or a bug that nobody sees, is a failure.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.campaign.report import Budget, Part

ROOT = Path(__file__).parents[2]
SEEDS = {"small": 4, "pools": 6}  # worlds and sizes; other parts have
MANY_SEEDS = 32
COPIED = ("exchange", "tests")


def bugs() -> list[dict[str, str]]:
    """Every patch: name, file, old and new text, and the part that must catch it."""
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    found: list[dict[str, str]] = tomllib.loads(text)["bug"]
    return found


def scratch(folder: Path, bug: dict[str, str]) -> None:
    """A copy of the package and its tests with one bug in it."""
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "exchange" / bug["file"]
    text = path.read_text(encoding="utf-8")
    if text.count(bug["old"]) != 1:
        raise LookupError(f"{bug['file']} has {text.count(bug['old'])} places like the patch's old text")
    path.write_text(text.replace(bug["old"], bug["new"]), encoding="utf-8")


def catch(bug: dict[str, str]) -> dict[str, Any] | None:
    """First failing seed of the bug's part and what it said; None when no seed fails."""
    with tempfile.TemporaryDirectory() as folder:
        scratch(Path(folder), bug)
        finished = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "tests.campaign.planted", bug["by"]], cwd=folder, check=False,
            env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": folder},
            capture_output=True, text=True, timeout=900)
    if finished.returncode:
        raise RuntimeError(f"the hunt itself failed: {finished.stderr[-1_500:]}")
    found: dict[str, Any] | None = json.loads(finished.stdout)
    return found


def hunters() -> dict[str, Callable[[int], object]]:
    """What each part does with one seed in the scratch copy; it raises where it sees a fault."""
    from tests import test_guards
    from tests.campaign import machine, pools, relations, small, streams

    def profile(seed: int) -> str:
        return ("plain", "swarm")[seed % 2]

    def walk(seed: int) -> None:
        world = list(small.WORLDS)[seed % len(small.WORLDS)]
        small.Walk(world, 2).below_root()

    return {
        "streams": lambda seed: streams.differ(profile(seed), seed, 800),
        "audit": lambda seed: streams.audited(profile(seed), seed, 400),
        "relations": lambda seed: [relations.holds(name, seed, 500) for name in relations.RELATIONS],
        "small": walk,
        "pools": lambda seed: [fill(1 + seed % 6) for fill in pools.POOLS.values()],
        "guards": lambda seed: test_guards.walk(seed, test_guards.FEW, "edges"),
        "machine": lambda seed: machine.run(seed, 15, 50),
    }


def hunt(part: str) -> dict[str, Any] | None:
    """Run a part on one seed after another until it fails."""
    for seed in range(1, SEEDS.get(part, MANY_SEEDS) + 1):
        try:
            hunters()[part](seed)
        except Exception as error:  # noqa: BLE001 - any failure is a catch
            return {"seed": seed, "error": f"{type(error).__name__}: {error}"[:400]}
    return None


def campaign(budget: Budget, chosen: list[dict[str, str]] | None = None) -> Part:
    """Every planted bug, or the chosen ones; the note of each is printed as it is caught."""
    part = Part("planted bugs")
    tried = caught = 0
    for bug in bugs() if chosen is None else chosen:
        if not budget.left(part.runs):
            break
        tried += 1
        try:
            found = catch(bug)
        except Exception as error:  # noqa: BLE001 - a patch that does not apply is a failure too
            part.fail(bug["name"], error)
            continue
        if found is None:
            part.fail(bug["name"], f"not seen by {bug['by']}")
            continue
        part.runs += 1
        caught += 1
        print(f"  {bug['name']}: {bug['by']}, seed {found['seed']}: {found['error'].splitlines()[0][:90]}", flush=True)
    part.note = f"{caught} caught of {tried} tried, {len(bugs())} on file"
    part.seconds = budget.spent()
    return part


if __name__ == "__main__":
    import exchange

    assert Path(str(exchange.__file__)).is_relative_to(Path.cwd()), "this hunts in a scratch copy only"
    print(json.dumps(hunt(sys.argv[1])))
