"""What the source itself must hold: direction of imports, integers only, no clock and no chance, small files."""

import ast
from functools import cache
from pathlib import Path

import pytest

from exchange import schema, state

ROOT = Path(__file__).parents[1]
MONEY_FIELDS = {"cash", "isolated_margin", "entry_value"}
CORE_IMPORTS = {"numpy", "exchange.codes", "exchange.schema"}
COMPILER = ("kernel.py", "passing.py")  # how kernels are compiled, and get the state
COMPILER_IMPORTS = {"ast", "hashlib", "importlib", "operator", "os", "re", "sys", "typing", "warnings", "pathlib",
                    "numpy", "llvmlite", "numba"}
CLOCKS_AND_CHANCE = {"time", "datetime", "random", "secrets", "uuid"}
UNSAFE = {"pickle", "marshal", "shelve", "yaml", "dill", "joblib"}
UNSAFE_CALLS = {"eval", "exec", "load", "loads", "fromfile", "memmap"}
GROUPS = [group for group in vars(state).values() if hasattr(group, "_fields")]
STRUCTURE = {"shape", *(name for group in GROUPS for name in group._fields)}
FILE_LINES, FUNCTION_LINES, COLUMNS = 400, 60, 120


def files(*folders):
    """Paths of the Python files of folders, relative to the project."""
    found = [path.relative_to(ROOT) for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found, f"no files in {folders}"
    return found


@cache
def tree(path):
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def imports(path):
    """Full names of the modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            if (ROOT / node.module.replace(".", "/")).is_dir():
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def owners(names):
    return {name.split(".")[0] for name in names}


def places(paths, matches):
    """`file:line` of every node for which `matches` holds."""
    return [f"{path}:{node.lineno}" for path in paths for node in ast.walk(tree(path)) if matches(node)]


def attribute_path(node):
    """Dotted text of a name or attribute chain, '' for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = attribute_path(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


MONEY_FILES = [*files("exchange/core", "exchange/reference"), *map(Path, ("exchange/audit.py", "exchange/venue.py"))]
MONEY_FILES = [path for path in MONEY_FILES if path.name != "black76.py"]  # fractions in, whole sub-ticks out


@pytest.mark.parametrize("path", files("exchange"), ids=str)
def test_the_venue_never_imports_what_drives_it(path):
    assert not {"replay", "benchmarks", "tests"} & owners(imports(path))


@pytest.mark.parametrize("path", files("exchange/core"), ids=str)
def test_the_core_imports_numpy_codes_schema_and_itself_only(path):
    found = imports(path) - {"exchange", "exchange.core"}
    if path.name == "black76.py":
        found = found - {"math"}
    if path.name in COMPILER:
        assert owners(found - {"exchange.core.passing"}) <= COMPILER_IMPORTS
    else:
        assert {name for name in found if not name.startswith("exchange.core.")} <= CORE_IMPORTS


@pytest.mark.parametrize("path", files("exchange/reference"), ids=str)
def test_the_reference_imports_nothing_that_it_is_compared_with(path):
    found = imports(path)
    judged = ("exchange.core", "exchange.state", "exchange.venue", "exchange.audit")
    assert not {name for name in found if name.startswith(judged)}
    assert not {"numba", "numpy"} & owners(found)


def test_no_float_is_written_and_nothing_is_divided_where_money_is():
    def makes_a_float(node):
        called = attribute_path(node.func) if isinstance(node, ast.Call) else ""
        return called in {"float", "np.float64", "np.float32", "np.mean", "np.average", "np.divide", "round"}

    def divides(node):
        return isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)

    def is_a_float(node):
        return isinstance(node, ast.Constant) and isinstance(node.value, float | complex)

    assert not places(MONEY_FILES, is_a_float)
    assert not places([path for path in MONEY_FILES if path.name not in COMPILER], divides)  # it joins paths
    assert not places(MONEY_FILES, makes_a_float)


def test_the_venue_reads_no_clock_and_takes_no_chances():
    assert not {str(path): found for path in files("exchange") if (found := CLOCKS_AND_CHANCE & owners(imports(path)))}
    assert not places(files("exchange"), lambda node: isinstance(node, ast.Attribute)
                      and attribute_path(node).startswith(("np.random", "numpy.random", "os.urandom")))


def test_nothing_that_runs_code_from_a_file_is_used():
    paths = files("exchange", "replay")
    assert not {str(path): found for path in paths if (found := UNSAFE & owners(imports(path)))}

    def unsafe(node):
        name = attribute_path(node.func) if isinstance(node, ast.Call) else ""
        owner, _, last = name.rpartition(".")
        return last in UNSAFE_CALLS and (owner in {"", "np", "numpy"} or owner in UNSAFE)

    assert not places(paths, unsafe)


def test_nothing_walks_a_set_because_its_order_is_chance():
    def a_set(node):
        called = attribute_path(node.func) if isinstance(node, ast.Call) else ""
        return isinstance(node, ast.Set | ast.SetComp) or called in {"set", "frozenset"}

    def walked(path):
        return [node.iter for node in ast.walk(tree(path)) if isinstance(node, ast.For | ast.comprehension)]

    assert not [f"{path}:{node.lineno}" for path in files("exchange") for node in walked(path) if a_set(node)]


def written_keys(node):
    """String keys of subscripts that a statement assigns to."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    stored = [part for target in targets if target for part in ast.walk(target)
              if isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Store)]
    return {part.slice.value for part in stored if isinstance(part.slice, ast.Constant)}


def test_only_the_ledger_writes_money():
    written = {path.name: {key for node in ast.walk(tree(path)) for key in written_keys(node)}
               for path in files("exchange/core")}
    assert [name for name, keys in written.items() if keys & MONEY_FIELDS] == ["ledger.py"]


def test_records_are_read_by_subscript_and_never_by_attribute():
    fields = {name for layout in vars(schema).values() if hasattr(layout, "names") for name in layout.names}
    assert {"lots", "leaves_lots", "cash"} <= fields
    paths = [path for path in files("exchange/core") if path.name not in COMPILER]

    def by_attribute(node):
        owner = attribute_path(node).split(".")[0]
        return isinstance(node, ast.Attribute) and owner not in ("np", "math") and node.attr not in STRUCTURE

    assert not places(paths, by_attribute)


@pytest.mark.parametrize("path", files("exchange/core"), ids=str)
def test_kernels_hold_no_exceptions_no_containers_and_no_text(path):
    """A raise leaves state half written; lists, dicts and formatting allocate, which kernels must not."""
    if path.name in COMPILER:
        return
    banned = (ast.Raise, ast.Try, ast.Dict, ast.List, ast.ListComp, ast.DictComp, ast.JoinedStr, ast.Lambda, ast.With)
    assert not places([path], lambda node: isinstance(node, banned))


def functions(path):
    return [node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def decorators(function):
    return {attribute_path(node) for node in function.decorator_list}


INNER = {f"{'.'.join(path.with_suffix('').parts)}.{node.name}" for path in files("exchange/core")
         for node in functions(path) if decorators(node) & {"kernel", "leaf"}}


def direct_calls(path):
    """Lines of a file where Python itself, not a compiled function, calls a kernel or a leaf."""
    named = {alias.asname or alias.name: f"{node.module}.{alias.name}" for node in ast.walk(tree(path))
             if isinstance(node, ast.ImportFrom) for alias in node.names}
    compiled = {id(inner) for node in functions(path) if decorators(node) & {"entry", "kernel", "leaf"}
                for inner in ast.walk(node)}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and id(node) not in compiled:
            first, _, rest = attribute_path(node.func).partition(".")
            if f"{named.get(first, first)}{'.' * bool(rest)}{rest}" in INNER:
                yield node.lineno


@pytest.mark.parametrize("path", [path for path in files("exchange", "replay", "benchmarks", "tests")
                                  if path.parts[:2] != ("exchange", "core")], ids=str)
def test_python_calls_entries_only(path):
    """A kernel or a leaf has no wrapper for Python: a compiled one that is called from there ends the process."""
    assert INNER and not list(direct_calls(path))


@pytest.mark.parametrize("path", files("exchange", "replay", "tests/campaign"), ids=str)
def test_files_and_functions_stay_small_and_lines_short(path):
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= FILE_LINES
    assert not {node.name for node in functions(path) if node.end_lineno - node.lineno >= FUNCTION_LINES}
    assert not [k for k, line in enumerate(lines, 1) if len(line) > COLUMNS], "lines too long"
