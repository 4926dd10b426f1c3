"""How kernels are compiled: without reference counting and floats, from a private cache that notices every change."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from numba.core import config as numba_config

from exchange import codes, config, schema
from exchange.core import kernel
from exchange.core.views import unit_equity
from exchange.venue import Exchange
from tests.cold_compile import ROOT, dispatchers, written
from tests.desk import venue_table
from tests.differential import compare

compiled_only = pytest.mark.skipif(bool(numba_config.DISABLE_JIT), reason="nothing is compiled with NUMBA_DISABLE_JIT=1")
COUNTING = re.compile(r"NRT_(?:incref|decref)")


def drop_all(records, lots):
    """Needs reference counting where it is on: an array is passed on and an element view is made."""
    taken = 0
    for k in range(records.shape[0]):
        record = records[k:]
        taken += min(lots, record[0])
    return taken


@compiled_only
def test_the_option_is_what_keeps_counting_out():
    argument = np.arange(5)
    counted, plain = njit(drop_all), kernel._compile(drop_all)
    assert counted(argument, 2) == plain(argument, 2) == 7
    assert COUNTING.search("".join(counted.inspect_llvm().values()))
    assert not COUNTING.search("".join(plain.inspect_llvm().values()))


@pytest.mark.parametrize("refusal", [KeyError, TypeError, NameError])
def test_where_numba_refuses_the_option_kernels_compile_with_counting_and_a_warning(monkeypatch, refusal):
    def refusing(*args, **options):
        if "_nrt" in options:
            raise refusal("_nrt")
        return njit(*args, **options)

    monkeypatch.setattr(kernel, "njit", refusing)
    with pytest.warns(RuntimeWarning, match="refused _nrt=False"):
        compiled = kernel._compile(drop_all)
    assert compiled(np.arange(5), 2) == 7


@compiled_only
def test_every_function_of_the_core_was_compiled_and_inspected():
    compare(1, 10)
    names = set(dispatchers())
    assert {"exchange.core.loop.run", "exchange.core.ledger.apply_trade", "exchange.core.requirement.maintenance",
            "exchange.core.arith.mul_div_floor", "exchange.core.adl.close_by_ranking"} <= names


@compiled_only
def test_every_kernel_of_a_constant_argument_has_one_compiled_version():
    """A version for each literal would multiply compile time."""
    compare(1, 10)
    ledger = {name: found for name, found in dispatchers().items() if name.startswith("exchange.core.ledger.")}
    assert {len(found.overloads) for found in ledger.values()} <= {0, 1}


@pytest.fixture
def package(tmp_path):
    """A project of a few modules beside a kernel module of its own; gives the key of the importing one."""
    core = tmp_path / "exchange" / "core"
    core.mkdir(parents=True)
    (core / "kernel.py").write_text(Path(kernel.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (core / "caller.py").write_text("from exchange.core.helper import halve\nfrom exchange.core.many import (\n"
                                    "    one, two)\n", encoding="utf-8")
    (core / "many.py").write_text("one, two = 1, 2\n", encoding="utf-8")
    (core / "helper.py").write_text("from exchange import deep\n\ndef halve(x):\n    return x // 2\n", encoding="utf-8")
    (tmp_path / "exchange" / "deep.py").write_text("CODE = 1\n", encoding="utf-8")
    (core / "stranger.py").write_text("CODE = 1\n", encoding="utf-8")

    def key(name="caller"):
        spec = importlib.util.spec_from_file_location("kernel_of_a_copy", core / "kernel.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.module_digest(str(core / f"{name}.py"))

    return tmp_path / "exchange", key


@pytest.mark.parametrize("changed", ["core/caller.py", "core/helper.py", "core/many.py", "deep.py"])
def test_the_cache_key_changes_with_the_text_of_any_module_imported_directly_or_not(package, changed):
    folder, key = package
    before = key()
    assert key() == before
    (folder / changed).write_text((folder / changed).read_text(encoding="utf-8") + "# edited\n", encoding="utf-8")
    assert key() != before


def test_the_cache_key_does_not_change_with_a_module_that_is_not_imported(package):
    folder, key = package
    before = key()
    (folder / "core" / "stranger.py").write_text("CODE = 2\n", encoding="utf-8")
    assert key() == before


@pytest.mark.parametrize("flag, value", [("BOUNDSCHECK", 1), ("OPT", 0), ("CPU_NAME", "generic")])
def test_the_cache_key_changes_with_the_flags_that_change_code(package, monkeypatch, flag, value):
    _, key = package
    before = key()
    monkeypatch.setattr(numba_config, flag, value)
    assert key() != before


def test_the_cache_key_of_the_loop_covers_every_module_of_the_core_and_the_codes():
    sources = {Path(name).name for name in kernel._sources(str(ROOT / "exchange" / "core" / "loop.py"))}
    core = {path.name for path in (ROOT / "exchange" / "core").glob("*.py")} - {"__init__.py", "views.py", "maps.py", "stress.py"}  # those are read apart from the loop
    assert core | {"codes.py"} <= sources


def test_an_intrinsic_and_its_interpreted_body_agree():
    @njit
    def both(x):
        return kernel.low_bit(x), kernel.high_bit(x)

    for x in [1, 2, 3, 2**31, 2**32, 2**63, 2**63 + 1, 2**64 - 1, 0x00F0_0000_0000_0F00]:
        assert both(np.uint64(x)) == (kernel.low_bit(np.uint64(x)), kernel.high_bit(np.uint64(x)))


def test_importing_the_kernels_compiles_nothing_and_touches_no_file(tmp_path):
    cache = tmp_path / "untouched"
    code = f"import os; os.environ['DELEVERAGE_CACHE_DIR'] = {str(cache)!r}; import exchange.core.loop"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
    assert not cache.exists()


CALLERS = """
from exchange.core.kernel import entry, kernel


@kernel
def other(x):
    return x * 5


@kernel
def twice(x):
    return x + x


@kernel
def fourfold(x):
    return twice(twice(x))


@entry
def eightfold(x):
    return fourfold(x) + fourfold(x)
"""


@pytest.fixture
def callers(tmp_path):
    """Runs code in a fresh process beside a module of functions that call each other; gives what it printed."""
    (tmp_path / "callers.py").write_text(CALLERS, encoding="utf-8")
    cache = tmp_path / "kernels"

    def run(code):
        environment = {**os.environ, "DELEVERAGE_CACHE_DIR": str(cache), "NUMBA_DISABLE_JIT": "0",
                       "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
        done = subprocess.run([sys.executable, "-c", f"import callers; {code}"], env=environment, capture_output=True,
                              text=True, check=True)
        return done.stdout.strip()

    return run, cache


def test_functions_from_the_cache_call_kernels_from_the_cache(callers):
    run, cache = callers
    assert run("print(callers.eightfold(3))") == "24"
    files = written(cache)
    assert {Path(name).name.split(".")[1].split("-")[0] for name, _ in files} == {"twice", "fourfold", "eightfold"}
    assert run("print(callers.eightfold(4))") == "32"
    assert written(cache) == files


def test_a_kernel_that_was_compiled_anew_has_its_callers_compiled_anew(callers):
    """Its symbol is another one then: a caller from the cache would call into nothing."""
    run, cache = callers
    run("callers.eightfold(3)")
    for path in cache.rglob("*.twice-*"):
        path.unlink()
    assert run("callers.other.compile((callers.types.int64,)); print(callers.eightfold(5))".replace(
        "callers.types", "__import__('numba').types")) == "40"
    files = written(cache)
    assert run("print(callers.eightfold(6))") == "48"
    assert written(cache) == files


@compiled_only
def test_the_optimiser_is_told_that_kernels_are_called_seldom(callers):
    run, _ = callers
    text = run("callers.eightfold(3); print(''.join(callers.eightfold.inspect_llvm().values()))")
    assert re.search(r"Function Attrs: [^\n]*cold[^\n]*\ndeclare [^\n]*fourfold", text)


READING = """
from exchange.core.kernel import entry


@entry
def cash(state, wallet):
    return state.ledger.wallets[wallet]["cash"]
"""


@pytest.mark.parametrize("wallet", [-1, 1 << 40])
def test_a_place_outside_a_pool_is_an_error_where_bounds_are_checked(tmp_path, wallet):
    """Places count from the start only: below zero there is no entry, compiled as little as interpreted."""
    (tmp_path / "reading.py").write_text(READING, encoding="utf-8")
    code = ("import reading; from exchange import config, state; from tests.desk import venue_table; "
            f"reading.cash(state.allocate(config.build_venue(venue_table())), {wallet})")
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_DISABLE_JIT": "0",
                   "DELEVERAGE_CACHE_DIR": str(tmp_path / "kernels"), "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT)))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "IndexError" in done.stderr


def test_a_state_with_some_arrays_replaced_is_passed_by_a_table_of_its_own():
    exchange = Exchange(config.build_venue(venue_table()))
    exchange.submit(schema.events({"kind": codes.DEPOSIT, "account": codes.FIRST_USER, "qty": 500}))
    exchange.run()
    state = exchange.state
    other = state._replace(ledger=state.ledger._replace(wallets=state.ledger.wallets.copy()))
    other.ledger.wallets["cash"] += 7
    wallet = np.int64(codes.FIRST_USER)
    assert (unit_equity(state, wallet), unit_equity(other, wallet)) == (500, 507)


@compiled_only
def test_a_state_without_an_address_is_an_error_of_its_own():
    state = Exchange(config.build_venue(venue_table())).state._replace()
    del state.address
    with pytest.raises(AttributeError, match="address"):
        unit_equity(state, np.int64(codes.FIRST_USER))
