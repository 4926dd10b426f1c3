"""Every external case against the product; `pytest tests/cases --cases DIR`."""

import os

import auction_cases  # noqa: F401  registers adapters, as the modules below do
import derive_cases  # noqa: F401
import dutch_cases  # noqa: F401
import funding_cases  # noqa: F401
import liquidation_cases  # noqa: F401
import margin_cases  # noqa: F401
import matching_cases  # noqa: F401
import model_cases  # noqa: F401
import portfolio_cases  # noqa: F401
import price_cases  # noqa: F401
import pytest
import sizing_cases  # noqa: F401
import throttle_cases  # noqa: F401
import waterfall_cases  # noqa: F401
from comparison import differences
from registry import Unsupported, run_case
from scaling import Inexact


def test_case(case, by_id):
    if case is None:
        message = "no case files there (give --cases DIR, or DELEVERAGE_SHARED)"
        if os.environ.get("DELEVERAGE_REQUIRE_SHARED") == "1":
            pytest.fail(message)
        pytest.skip(message)
    try:
        actual = run_case(case, by_id)
    except (Unsupported, Inexact) as reason:
        pytest.skip(f"unsupported: {case.category}: {reason}")
    found = differences(actual, case.expected, case.tolerance)
    assert not found, "\n".join((f"{case.file} {case.id}", *found))
