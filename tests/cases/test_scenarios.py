"""Derive's published scenarios: what a perpetual gains in each, in the order of the venue's parameters.

The whole requirement of some of those cases needs rules that the grid does not have (`derive_cases.discounted_grid`).
"""

import json
from decimal import Decimal

import pytest
import scaling
from case_desk import Contract
from comparison import differences
from conftest import cases_folder
from portfolio_cases import gains, held


def tables(config):
    path = cases_folder(config) / "derive_portfolio_margin.json"
    return json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal) if path.is_file() else None


def scenario(shock):
    """A move of the spot price, and what of it counts, both to a millionth."""
    move = scaling.nearest(scaling.difference(Decimal(shock["SpotShock"]), 1), scaling.MILLIONTH)
    return {"price_ppm": move, "cover_ppm": scaling.nearest(shock["DampeningFactor"], scaling.MILLIONTH)}


def test_a_perpetual_gains_in_each_scenario_what_the_venue_says(pytestconfig):
    table = tables(pytestconfig)
    if table is None:
        pytest.skip("no case files there (give --cases DIR, or DELEVERAGE_SHARED)")
    alone = [case for case in table["cases"] if case["inputs"]["perp_position"] and not case["inputs"]["options"]]
    assert len(alone) == 2
    for case in alone:
        given = case["inputs"]
        contract = Contract((given["perp_price"],), (given["perp_position"],))
        shocks = table["parameter_sets"][given["parameter_set"]]["Scenarios"]
        terms = {"scenarios": tuple(scenario(shock) for shock in shocks)}
        desk, grid = held([contract], (given["perp_position"],), terms)
        expected = case["expected"]["scenario_pnl_in_parameter_order"]
        rounded = {"abs": 4 * Decimal(given["perp_price"]) * scaling.MILLIONTH}  # of a cover, on four times the price
        assert not differences(gains(desk, grid), expected, rounded), case["id"]
