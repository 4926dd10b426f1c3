"""Adapters drive, they never compute: arithmetic is in `scaling` (units) and `comparison` (tolerances) only."""

import ast
from decimal import Decimal
from pathlib import Path

import pytest
from comparison import differences

FREE = {"scaling.py", "comparison.py", "conftest.py"}
ADAPTERS = sorted(
    path for path in Path(__file__).parent.glob("*.py") if path.name not in FREE and not path.name.startswith("test_")
)
FORBIDDEN = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult)
FORBIDDEN_MODULES = {"math", "operator", "fractions", "statistics", "cmath"}


def arithmetic(tree: ast.AST) -> list[str]:
    """Where a module computes, as `line: what`."""
    found = []
    for node in ast.walk(tree):
        operation = getattr(node, "op", None)
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(operation, FORBIDDEN):
            found.append(f"{node.lineno}: {type(operation).__name__}")
        if (
            isinstance(node, ast.UnaryOp)
            and isinstance(operation, ast.USub)
            and not isinstance(node.operand, ast.Constant)
        ):
            found.append(f"{node.lineno}: USub")
        modules = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        found += [f"{node.lineno}: import {name}" for name in modules if name in FORBIDDEN_MODULES]
        if isinstance(node, ast.Attribute) and node.attr in {
            "divmod",
            "fma",
            "multiply",
            "divide",
            "subtract",
            "scaleb",
        }:
            found.append(f"{node.lineno}: {node.attr}")
    return found


@pytest.mark.parametrize("path", ADAPTERS, ids=lambda path: path.stem)
def test_adapters_do_no_arithmetic(path):
    assert arithmetic(ast.parse(path.read_text(encoding="utf-8"))) == []


def test_the_arithmetic_check_sees_each_operator():
    for text in ("a + b", "a - b", "a * b", "a / b", "a // b", "a % b", "a ** b", "a += b", "-a", "import math"):
        assert arithmetic(ast.parse(text)), text


def test_comparison_honours_tolerance_and_types():
    exact, loose = {"abs": 0}, {"rel": Decimal("1e-4")}
    assert not differences({"a": [1, Decimal("2.0")]}, {"a": [1, 2]}, exact)
    assert differences({"a": Decimal("2.0001")}, {"a": 2}, exact)
    assert not differences({"a": Decimal("2.0001")}, {"a": 2}, loose)
    assert differences({"a": True}, {"a": 1}, exact) and differences({"a": None}, {"a": 0}, exact)
    assert differences({}, {"a": 0}, exact) and differences({"a": [1]}, {"a": [1, 2]}, exact)
    assert not differences({"p_between": 5}, {"p_between": [4, 5]}, exact)
    assert differences({"p_between": 6}, {"p_between": [4, 5]}, exact)
