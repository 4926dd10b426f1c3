"""The columns of the matrix: the ways in which the same scenarios are run.

Some go through the scenarios in this process, the others in a process of their own under other flags. Compiled code is
kept by flags (exchange/core/kernel.py), so bounds checks on a generic processor cost a compile, one for both, only when
the kernels have changed. Two columns compile every time: cold, whose process also shows what it compiled, and opt 0, because numba
keeps no code that was not optimised.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial

from tests.cold_compile import cold, run_python
from tests.determinism.play import (
    Fingerprint,
    Scenario,
    differences,
    play,
    play_resuming,
    play_reversed,
    play_stopping,
)
from tests.determinism.scenarios import COUNT, scenarios

Found = dict[str, Fingerprint]  # by name of the scenario

IN_PROCESS = {
    "twice": play,
    **{f"batch {size}": partial(play, batch=size) for size in (1, 7, 64, 4_096)},
    "stops": play_stopping,
    "resume": play_resuming,
    "reversed": play_reversed,
}
PROCESSES = {  # the longest first
    "opt 0": {"NUMBA_OPT": "0", "NUMBA_DISABLE_JIT": "0"},
    "process": {},
    "hash seed 0": {"PYTHONHASHSEED": "0"},
    "hash seed 1": {"PYTHONHASHSEED": "1"},
    "interpreted": {"NUMBA_DISABLE_JIT": "1"},
    "bounds and generic": {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CPU_NAME": "generic", "NUMBA_DISABLE_JIT": "0"},
    "opt 3": {"NUMBA_OPT": "3", "NUMBA_DISABLE_JIT": "0"},
}
CACHES = ("cold", "warm")
COLUMNS = (*IN_PROCESS, *PROCESSES, *CACHES)


def baseline(worlds: Iterable[Scenario]) -> Found:
    """Everything at once in this process: what each column must equal."""
    return {scenario.name: play(scenario) for scenario in worlds}


def in_process(column: str, worlds: Iterable[Scenario]) -> Found:
    return {scenario.name: IN_PROCESS[column](scenario) for scenario in worlds}


def in_other_process(column: str, count: int) -> dict[str, Found]:
    """The baseline of another process; whatever only warns of an overflow there is an error."""
    return {column: run_python(["-W", "error::RuntimeWarning", "-m", "tests.determinism.baseline", str(count)],
                               **PROCESSES[column])}


def run_columns(columns: Iterable[str] = COLUMNS, count: int = COUNT) -> Iterator[tuple[str, Found]]:
    """What each column finds, as it is found; other processes work beside this one."""
    worlds = scenarios(count)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        working = [pool.submit(cold, count)] if set(CACHES) & set(columns) else []
        working += [pool.submit(in_other_process, name, count) for name in PROCESSES if name in columns]
        yield from ((name, in_process(name, worlds)) for name in IN_PROCESS if name in columns)
        for done in as_completed(working):
            yield from ((name, found) for name, found in done.result().items() if name in columns)


def disagreements(expected: Found, found: Found) -> dict[str, list[str]]:
    """By scenario, the parts of the fingerprint in which two columns differ."""
    return {name: parts for name in expected if (parts := differences(expected[name], found[name]))}
