"""What a case expects against what the product gave, within the tolerance of the case."""

from decimal import Decimal
from typing import Any


def is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def close(actual: Decimal, expected: Decimal, tolerance: dict[str, Any]) -> bool:
    """Within `abs`, or within `rel` of the expected number; no tolerance means equal."""
    bounds = [Decimal(tolerance.get("abs", 0)), Decimal(tolerance.get("rel", 0)) * abs(Decimal(expected))]
    return abs(Decimal(actual) - Decimal(expected)) <= max(bounds)


def differences(actual: Any, expected: Any, tolerance: dict[str, Any], where: str = "") -> list[str]:
    """Every place where the two differ, as readable text; a key that ends in `_between` states bounds."""
    if isinstance(expected, dict):
        if not isinstance(actual, dict):
            return [f"{where}: expected {expected}, got {actual}"]
        return [
            line
            for key, value in expected.items()
            for line in _field(actual.get(key), value, tolerance, key, f"{where}.{key}" if where else key)
        ]
    if isinstance(expected, list):
        if not isinstance(actual, list | tuple) or len(actual) != len(expected):
            return [f"{where}: expected {expected}, got {actual}"]
        return [
            line
            for k, value in enumerate(expected)
            for line in differences(actual[k], value, tolerance, f"{where}[{k}]")
        ]
    if is_number(expected) and is_number(actual):
        return [] if close(actual, expected, tolerance) else [f"{where}: expected {expected}, got {actual}"]
    return (
        [] if type(actual) is type(expected) and actual == expected else [f"{where}: expected {expected}, got {actual}"]
    )


def _field(actual: Any, expected: Any, tolerance: dict[str, Any], key: str, where: str) -> list[str]:
    if key.endswith("_between"):
        low, high = expected
        inside = is_number(actual) and low <= actual <= high
        return [] if inside else [f"{where}: expected {low} to {high}, got {actual}"]
    return differences(actual, expected, tolerance, where)
