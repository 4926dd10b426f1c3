"""One cold compile of every kernel, with bounds checks, in a process and a cache folder of its own, shared by tests.

Run as a script it prints JSON: digests and counters of a few seeds, and what the compiler made of the kernels.
"""

import functools
import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.campaign_events import make_events, make_venue
from tests.differential import run_core

ROOT = Path(__file__).parents[1]
SEEDS = (3, 11)
EVENTS = 2_000


def digests(seeds: tuple[int, ...] = SEEDS, events: int = EVENTS, batch: int | None = None) -> dict[str, str]:
    """Outcome digest of each seed."""
    found = {}
    for seed in seeds:
        venue = make_venue(seed)
        found[str(seed)] = run_core(venue, make_events(venue, seed, events), batch)[2]
    return found


def run_python(arguments: list[str], **environment: str) -> Any:
    """JSON that a fresh process of this project prints."""
    finished = subprocess.run([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **environment}, timeout=900,
                              capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3_000:]
    return json.loads(finished.stdout)


@functools.cache
def boundschecked() -> dict[str, Any]:
    """What one cold compile with bounds checks shows: digests, names of counting calls, floats, rights of the cache."""
    with tempfile.TemporaryDirectory() as folder:
        cache = str(Path(folder) / "kernels")
        return run_python(["-m", "tests.cold_compile"], NUMBA_BOUNDSCHECK="1", NUMBA_DISABLE_JIT="0",
                          DELEVERAGE_CACHE_DIR=cache)


def dispatchers() -> dict[str, Any]:
    """Every compiled function of `exchange.core` by qualified name."""
    return {f"{name}.{key}": value for name, module in list(sys.modules.items()) if name.startswith("exchange.core.")
            for key, value in vars(module).items()
            if hasattr(value, "overloads") and value.py_func.__module__ == name}


def _report() -> dict[str, Any]:
    from exchange.core.loop import run

    report: dict[str, Any] = {"digests": digests(), "counting": [], "floats": [], "typed": 0}
    for name, dispatcher in sorted(dispatchers().items()):
        for compiled in dispatcher.overloads.values():
            report["typed"] += 1
            types = {**compiled.type_annotation.typemap, "the result": compiled.signature.return_type}
            report["floats"] += [f"{name}: {key} is {kind}" for key, kind in types.items() if "float" in str(kind)]
            if dispatcher is not run:
                text = compiled.library.get_llvm_str()
                report["counting"] += [f"{name}: {call}" for call in ("NRT_incref", "NRT_decref") if call in text]
    texts = list(run.inspect_llvm().values())
    report["run_versions"], report["run_length"] = len(texts), sum(map(len, texts))
    report["counting"] += [f"run: {call}" for text in texts for call in ("NRT_incref", "NRT_decref") if call in text]
    cache = Path(os.environ["DELEVERAGE_CACHE_DIR"])
    report["rights"] = sorted({oct(stat.S_IMODE(path.stat().st_mode)) for path in (cache, *cache.iterdir())})
    return report


if __name__ == "__main__":
    print(json.dumps(_report()))
