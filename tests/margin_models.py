"""Margin models for tests: tables of `[venue.instruments]` by name, one for each rule of DESIGN §3.15."""

from typing import Any

TIERS = [{"floor": "0", "maintenance_ppm": 10_000, "leverage_max": 50},
         {"floor": "20000", "maintenance_ppm": 25_000, "leverage_max": 20},
         {"floor": "60000", "maintenance_ppm": 60_000, "leverage_max": 10},
         {"floor": "150000", "maintenance_ppm": 125_000, "leverage_max": 4}]
INITIAL = [{**tier, "initial_ppm": 2 * tier["maintenance_ppm"] + 5_000} for tier in TIERS]
OF_INITIAL = [{"floor": tier["floor"], "leverage_max": tier["leverage_max"], "initial_ppm": tier["initial_ppm"] + 7}
              for tier in INITIAL]
LONE = [{"floor": "0", "leverage_max": 50}]
CLIFF = [{"floor": "0", "maintenance_ppm": 5_000, "leverage_max": 50},
         {"floor": "25000", "maintenance_ppm": 90_000, "leverage_max": 8},
         {"floor": "70000", "maintenance_ppm": 600_000, "leverage_max": 1}]
LIMITS = {"base_limit": "15000", "step": "7000", "steps": 9, "base_maintenance_ppm": 4_000, "base_initial_ppm": 20_000,
          "step_ppm": 9_000}


def model(tiers: list[dict[str, Any]], **margin: Any) -> dict[str, Any]:
    return {"tiers": tiers, "margin": margin}


STEP = {"tiers": "step"}
MODELS: dict[str, dict[str, Any]] = {
    "plain": {"tiers": TIERS},
    "plain_sets": model(TIERS, tier_sets=[TIERS[:2], [{**TIERS[2], "floor": "0"}]]),
    "step": {"tiers": TIERS, "margin": STEP},
    "cliff": {"tiers": CLIFF, "margin": STEP},
    "step_sets": {"tiers": INITIAL, "margin": {**STEP, "tier_sets": [INITIAL[:2], INITIAL[:1]],
                                               "closing_fee": "taker", "order_margin": "sum"}},
    "step_of_initial": {"tiers": OF_INITIAL, "margin": {**STEP, "maintenance_of_initial_ppm": 499_999,
                                                        "closing_fee": "liquidation"}},
    "limits": {"tiers": [], "margin": {**STEP, "risk_limits": LIMITS, "order_margin": "open_premium"}},
    "entry": model(TIERS, maintenance_price="entry"),
    "entry_fee": model(TIERS, maintenance_price="entry", closing_fee="taker", closing_fee_price="bankruptcy"),
    "fee": model(TIERS, closing_fee="taker"),
    "liquidation_fee": model(TIERS, closing_fee="liquidation", maintenance_price="liquidation"),
    "bankruptcy_fee": model(TIERS, closing_fee="liquidation", closing_fee_price="bankruptcy"),
    "initial": model(INITIAL, order_margin="sum"),
    "premium": model(INITIAL, order_margin="open_premium"),
    "at_mark": model(INITIAL, order_price="larger", initial="model"),
    "of_initial": model(OF_INITIAL[:1], initial="model", maintenance_of_initial_ppm=612_345,
                        open_interest_lower="20000", open_interest_upper="90000"),
    "risk": model(LONE, risk_long_ppb=81_234_567, risk_short_ppb=132_000_001, linear_slippage_ppb=3_333_333,
                  quadratic_slippage_ppt=40_123, initial_factor_ppm=1_500_000, search_factor_ppm=1_250_000,
                  release_factor_ppm=1_700_000, closing_fee="taker"),
    "heavy_risk": model(LONE, risk_long_ppb=1_400_000_000, risk_short_ppb=600_000_000,
                        linear_slippage_ppb=250_000_000),
}
