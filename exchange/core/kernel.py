"""How kernels are compiled: one decorator each for kernels and leaves, the cache policy, and the two bit intrinsics.

Kernels allocate nothing, so they are compiled without reference counting (`_nrt=False`), which is worth a factor of
three and more. That option is not documented by numba: where it is refused, kernels compile with counting and a
warning says so.

Compiled code is cached in a private folder under a key made of the module's own text, the text of every project module
it imports (through others too), numba's version and the flags that change code. numba's own cache looks only at the one
file, so it would keep a stale caller after an edit of a helper, and it ignores the boundscheck flag.
"""

import ast
import hashlib
import importlib
import os
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import llvmlite
import numba
import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core import config as numba_config
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.cpu import CPUContext
from numba.extending import intrinsic, overload

from exchange.core import passing

PROJECT_PACKAGES = ("exchange", "replay", "benchmarks", "tests")
_imported: dict[str, tuple[str, ...]] = {}
_kernels: set[str] = set()  # symbols


def cache_folder() -> Path:
    """Where compiled kernels are kept: `DELEVERAGE_CACHE_DIR`, else the user's cache folder."""
    chosen = os.environ.get("DELEVERAGE_CACHE_DIR")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deleverage"


def _module_file(name: str) -> Path | None:
    """The file of a project module, found beside this package; None when there is none."""
    if name.split(".")[0] not in PROJECT_PACKAGES:
        return None
    base = Path(__file__).parents[2].joinpath(*name.split("."))
    for file in (base.with_suffix(".py"), base / "__init__.py"):
        if file.is_file():
            return file
    return None


def _imports(path: str) -> tuple[str, ...]:
    """The project files that one file names in its import statements."""
    if path not in _imported:
        names: list[str] = []
        for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
        _imported[path] = tuple(str(file) for file in map(_module_file, names) if file is not None)
    return _imported[path]


def _sources(path: str) -> set[str]:
    """The files whose text can change the code compiled from `path`: itself, its imports, how the state is passed."""
    found, queue = {path, passing.__file__}, [path]
    while queue:
        for file in _imports(queue.pop()):
            if file not in found:
                found.add(file)
                queue.append(file)
    return found


def module_digest(path: str) -> str:
    """Key of one module's compiled code."""
    digest = hashlib.blake2b(digest_size=10)
    for file in sorted(_sources(path), key=lambda name: Path(name).parts[-3:]):
        digest.update(Path(file).name.encode() + b"\0" + Path(file).read_bytes())
    flags = (
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        sys.version_info[:2],
        numba_config.BOUNDSCHECK,
        numba_config.OPT,
        numba_config.CPU_NAME,
        numba_config.CPU_FEATURES,
    )
    digest.update(repr(flags).encode())
    return digest.hexdigest()


class _Locator(_CacheLocator):
    def __init__(self, py_func, py_file):
        self._py_file = py_file
        self._line = py_func.__code__.co_firstlineno
        self._digest = module_digest(py_file)

    def get_cache_path(self):
        return str(cache_folder() / f"{Path(self._py_file).stem}-{self._digest}")

    def ensure_cache_path(self):
        cache_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        os.makedirs(self.get_cache_path(), mode=0o700, exist_ok=True)

    def get_source_stamp(self):
        return self._digest

    def get_disambiguator(self):
        return str(self._line)

    @classmethod
    def from_function(cls, py_func, py_file):
        return cls(py_func, py_file)


class _CacheImpl(CompileResultCacheImpl):
    _locator_classes = [_Locator]


class _Stale(Exception):
    """What a cached function calls is not what it was compiled against."""


class _Kernel(NamedTuple):
    """A compiled kernel, called by whoever loads one of its callers from the cache: it must be in memory first."""

    module: str
    name: str
    signature: tuple
    symbol: str

    def __call__(self) -> None:
        dispatcher = getattr(importlib.import_module(self.module), self.name)
        dispatcher.compile(self.signature)
        if dispatcher.overloads[self.signature].fndesc.mangled_name != self.symbol:
            raise _Stale(self.symbol)


class _Cache(FunctionCache):
    _impl_class = _CacheImpl

    def load_overload(self, sig, target_context):
        try:
            return super().load_overload(sig, target_context)
        except _Stale:
            return None


class _KernelCache(_Cache):
    """The cache of a function that its callers call where it is.

    numba would link the code of all that a function calls into it, through every level of calls, and optimise and
    translate it again each time: most of the time of a cold start.
    """

    def save_overload(self, sig, data):
        self._stand_apart(sig, data)
        super().save_overload(sig, data)

    def load_overload(self, sig, target_context):
        data = super().load_overload(sig, target_context)
        if data is not None:
            self._stand_apart(sig, data)
        return data

    def _stand_apart(self, sig, data):
        _kernels.add(data.fndesc.mangled_name)
        data.library._shared_module = llvm.parse_assembly("")
        data.library._reload_init.add(
            _Kernel(self._py_func.__module__, self._py_func.__qualname__, tuple(sig), data.fndesc.mangled_name)
        )


_declare_function = CPUContext.declare_function


def _declare(self, module, fndesc):
    """Tell the optimiser that a kernel is called seldom, as it is from where speed matters: leaves are what is written
    out there. It then keeps the calls, and what they need, out of the way of the straight path, which must fit the
    processor's cache of instructions."""
    function = _declare_function(self, module, fndesc)
    if fndesc.mangled_name in _kernels:
        function.attributes.add("cold")
    return function


CPUContext.declare_function = _declare


def _compile(function, **options):
    try:
        compiled = njit(_nrt=False, **options)(function)
    except (KeyError, TypeError, NameError) as error:  # an unknown target option, by numba version
        warnings.warn(
            f"numba refused _nrt=False ({error}); kernels run with reference counting, several times slower",
            RuntimeWarning,
            stacklevel=3,
        )
        compiled = njit(**options)(function)
    if not numba_config.DISABLE_JIT:
        _forget_literals(compiled)
    return compiled


def _forget_literals(compiled):
    """Type a constant argument as its integer type: one compiled version a function instead of one a constant."""
    typed = compiled.get_call_template

    def widened(args, kws):
        return typed(tuple(map(types.unliteral, args)), {name: types.unliteral(kind) for name, kind in kws.items()})

    compiled.get_call_template = widened


def _cached(function, cache, **options):
    compiled = _compile(
        function, forceinline=False, **options
    )  # said outright: a leaf that calls it would pass its own on
    if not numba_config.DISABLE_JIT:
        compiled._cache = cache(function)
    return compiled


def entry(function):
    """Compile a function that Python calls: cached on disk, no reference counting."""
    return _cached(function, _Cache)


def kernel(function):
    """Compile a function that other kernels call, where it is: like `entry`, without the wrapper that Python needs."""
    return _cached(function, _KernelCache, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def leaf(function):
    """Compile a small function into its callers. A leaf calls leaves, and a kernel where a real call is wanted."""
    return _compile(function, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def inlined(function):
    """Write a function into its callers before their types are inferred. A leaf is also compiled by itself, which costs
    as much as its caller: for large functions with one caller."""
    return njit(inline="always")(function)


def _llvm_count(name):
    @intrinsic
    def count(typingctx, x):
        def codegen(context, builder, signature, args):
            return getattr(builder, name)(args[0], ir.Constant(ir.IntType(1), 1))

        return types.int64(types.uint64), codegen

    return count


_count_trailing, _count_leading = _llvm_count("cttz"), _llvm_count("ctlz")


def low_bit(x):
    """Index of the lowest set bit of a non-zero uint64 (this body runs with JIT off)."""
    return np.int64((int(x) & -int(x)).bit_length() - 1)


def high_bit(x):
    """Index of the highest set bit of a non-zero uint64."""
    return np.int64(int(x).bit_length() - 1)


@overload(low_bit, inline="always")
def _low_bit(x):
    return lambda x: _count_trailing(x)


@overload(high_bit, inline="always")
def _high_bit(x):
    return lambda x: np.int64(63) - _count_leading(x)


@intrinsic
def _prefetch(typingctx, array, index):
    """Ask for the cache line of one record, to be written soon."""

    def codegen(context, builder, signature, args):
        kind = signature.args[0]
        view = context.make_array(kind)(context, builder, args[0])
        pointer = builder.bitcast(cgutils.get_item_pointer(context, builder, kind, view, [args[1]]), cgutils.voidptr_t)
        i32 = ir.IntType(32)
        fetch = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, i32, i32, i32]), "llvm.prefetch.p0"
        )
        builder.call(fetch, [pointer, i32(1), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.none(array, types.int64), codegen


def prefetch(array, index):
    """Hint that record `index` of a 1-d array, which must be in range, is wanted soon. Changes nothing but time."""


@overload(prefetch, inline="always")
def _prefetch_overload(array, index):
    return lambda array, index: _prefetch(array, index)
