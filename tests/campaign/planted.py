"""Planted bugs: each patch of `planted.toml` goes into a scratch copy of the package and must be caught there.

The copy runs interpreted in a process of its own, only through the part of the campaign that the patch names, seed
after seed until it fails. A patch that no longer applies, or a bug that nobody sees, is a failure. `seed` on file is
the first that failed when the bug was last hunted: the campaign begins with it, `--planted` with 1, and writes it anew.
"""

import json
import os
import re
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
SEEDS = {"small": 20, "pools": 6, "regressions": 1}  # worlds to depth 2 and then 3, sizes; other parts have
MANY_SEEDS = 256
COPIED = ("exchange", "tests")
FILE = Path(__file__).with_suffix(".toml")


def bugs(file: Path = FILE) -> list[dict[str, Any]]:
    """Every patch: name, file, old and new text, the part that must catch it, the first seed at which it did."""
    found: list[dict[str, Any]] = tomllib.loads(file.read_text(encoding="utf-8"))["bug"]
    return found


def record(seeds: dict[str, int], file: Path = FILE) -> None:
    """Write the first failing seed of each named bug into the file of the bugs."""
    blocks = file.read_text(encoding="utf-8").split("[[bug]]")
    for k, block in enumerate(blocks):
        seed = seeds.get(tomllib.loads(block).get("name", ""))
        if seed is not None:
            blocks[k] = re.sub(r'(\nby = "\w+")\n(?:seed = \d+\n)?', rf"\1\nseed = {seed}\n", block)
    file.write_text("[[bug]]".join(blocks), encoding="utf-8")


def scratch(folder: Path, bug: dict[str, Any]) -> None:
    """A copy of the package and its tests with one bug in it."""
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "exchange" / bug["file"]
    text = path.read_text(encoding="utf-8")
    if text.count(bug["old"]) != 1:
        raise LookupError(f"{bug['file']} has {text.count(bug['old'])} places like the patch's old text")
    path.write_text(text.replace(bug["old"], bug["new"]), encoding="utf-8")


def catch(bug: dict[str, Any], first: int = 0) -> dict[str, Any] | None:
    """First failing seed of the bug's part (`first`, if any, is tried before all) and what it said; None if none."""
    with tempfile.TemporaryDirectory() as folder:
        scratch(Path(folder), bug)
        finished = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "tests.campaign.planted", bug["by"], str(first)], cwd=folder,
            env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": folder},
            capture_output=True, check=False, text=True, timeout=900)
    if finished.returncode:
        raise RuntimeError(f"the hunt itself failed: {finished.stderr[-1_500:]}")
    found: dict[str, Any] | None = json.loads(finished.stdout)
    return found


def hunters() -> dict[str, Callable[[int], object]]:
    """What each part does with one seed in the scratch copy; it raises where it sees a fault."""
    from tests import test_guards
    from tests.campaign import machine, pools, regressions, relations, small, streams, what_if

    def profile(seed: int) -> str:
        return ("plain", "swarm")[seed % 2]

    def walk(seed: int) -> None:
        world = list(small.WORLDS)[(seed - 1) % len(small.WORLDS)]
        small.Walk(world, 2 + (seed - 1) // len(small.WORLDS)).below_root()

    return {
        "streams": lambda seed: streams.differ(profile(seed), seed, 800),
        "audit": lambda seed: streams.audited(profile(seed), seed, 400),
        "relations": lambda seed: [relations.holds(name, seed, 500) for name in relations.RELATIONS],
        "small": walk,
        "pools": lambda seed: [fill(1 + seed % 6) for fill in pools.POOLS.values()],
        "guards": lambda seed: test_guards.walk(seed, test_guards.FEW, "edges"),
        "machine": lambda seed: machine.run(seed, 15, 50),
        "what_if": what_if.reads,
        "regressions": lambda seed: [regressions.replay(regressions.load(path)) for path in regressions.paths()],
    }


def hunt(part: str, first: int) -> dict[str, Any] | None:
    """Run a part on one seed after another until it fails; on `first` before all others."""
    for seed in (*([first] if first else []), *range(1, SEEDS.get(part, MANY_SEEDS) + 1)):
        try:
            hunters()[part](seed)
        except Exception as error:  # noqa: BLE001 - any failure is a catch
            return {"seed": seed, "error": f"{type(error).__name__}: {error}"[:400]}
    return None


def campaign(budget: Budget, chosen: list[dict[str, Any]] | None = None, afresh: bool = False) -> Part:
    """Every planted bug, or the chosen ones; the note of each is printed as it is caught. `afresh`: from seed 1, and
    the first failing seeds are written down."""
    part = Part("planted bugs")
    tried = caught = 0
    for bug in bugs() if chosen is None else chosen:
        if not budget.left(part.runs):
            break
        tried += 1
        try:
            found = catch(bug, 0 if afresh else bug.get("seed", 0))
        except Exception as error:  # noqa: BLE001 - a patch that does not apply is a failure too
            part.fail(bug["name"], error)
            continue
        if found is None:
            part.fail(bug["name"], f"not seen by {bug['by']}")
            continue
        part.runs += 1
        caught += 1
        if afresh:
            record({bug["name"]: found["seed"]})
        print(f"  {bug['name']}: {bug['by']}, seed {found['seed']}: {found['error'].splitlines()[0][:90]}", flush=True)
    part.note = f"{caught} caught of {tried} tried, {len(bugs())} on file"
    part.seconds = budget.spent()
    return part


if __name__ == "__main__":
    import exchange

    assert Path(str(exchange.__file__)).is_relative_to(Path.cwd()), "this hunts in a scratch copy only"
    print(json.dumps(hunt(sys.argv[1], int(sys.argv[2]))))
