"""One cold compile of every kernel in a process and a cache folder of its own, and a second process that loads it.

Run as a script it prints JSON: fingerprints of scenarios, and what the compiler made of the kernels.
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

ROOT = Path(__file__).parents[1]


def run_python(arguments: list[str], **environment: str) -> Any:
    """JSON that a fresh process of this project prints."""
    finished = subprocess.run([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **environment}, timeout=1_800,
                              capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3_000:]
    return json.loads(finished.stdout)


@functools.cache
def cold(count: int) -> dict[str, Any]:
    """What a compile into an empty cache shows: fingerprints of the first `count` scenarios with the cache cold and
    then warm, cache files that the warm process wrote, names of counting calls, floats, rights of the cache.
    """
    with tempfile.TemporaryDirectory() as folder:
        cache, flags = Path(folder) / "kernels", {"NUMBA_DISABLE_JIT": "0"}
        report = run_python(["-m", "tests.cold_compile", str(count)], DELEVERAGE_CACHE_DIR=str(cache), **flags)
        files = written(cache)
        warm = run_python(["-m", "tests.determinism.baseline", str(count)], DELEVERAGE_CACHE_DIR=str(cache), **flags)
        return {**report, "warm": warm, "written_when_warm": sorted(set(written(cache)) ^ set(files))}


def written(folder: Path) -> list[tuple[str, int]]:
    """Name and time of every file in a folder."""
    return [(str(path), path.stat().st_mtime_ns) for path in sorted(folder.rglob("*")) if path.is_file()]


def dispatchers() -> dict[str, Any]:
    """Every compiled function of `exchange.core` by qualified name."""
    return {f"{name}.{key}": value for name, module in list(sys.modules.items()) if name.startswith("exchange.core.")
            for key, value in vars(module).items()
            if hasattr(value, "overloads") and value.py_func.__module__ == name}


def _report(count: int) -> dict[str, Any]:
    from exchange.core.loop import run
    from tests.determinism.columns import baseline
    from tests.determinism.scenarios import scenarios

    report: dict[str, Any] = {"cold": baseline(scenarios(count)), "counting": [], "floats": [], "typed": 0}
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
    print(json.dumps(_report(int(sys.argv[1]))))
