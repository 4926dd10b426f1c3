"""Campaign switch of stages of liquidation, absent in half of the seeds and drawn apart from other streams."""

from typing import Any

import numpy as np

PURPOSE, RULES = 55, 63
MS = 1_000_000
SECOND = 1_000 * MS
LADDERS = ((1_250_000, 1_100_000, 1_000_000), (2_000_000, 1_500_000, 1_000_000, 667_000), (1_000_000, 667_000),
           (1_000_000,), (4_000_000, 1_200_000, 1_050_000, 900_000), (1_300_000, 800_000))


def add_rules(stage: dict[str, Any], rng: np.random.Generator) -> None:
    """Other rules of size and price than a share, the exit or a band."""

    def pick(*choices: dict[str, Any]) -> dict[str, Any]:
        return choices[int(rng.integers(len(choices)))]

    if stage["action"] == "reduce":
        if "share_ppm" not in stage:
            stage |= pick({}, {"tiers_down": 1}, {"tiers_down": 2}, {"after_fees": True}, {"after_fees": True})
        stage |= pick({}, {"notional_min": "3333.33"}, {"notional_min": "7777"}, {"notional_max": "4000"},
                      {"notional_min": "1234.5", "notional_max": "20000"})
        stage |= pick({}, {}, {"offer_ppm": 10_000}, {"offer_ppm": 400_000})
    if "band_ppm" not in stage:
        stage |= pick({}, {"spread_ppm": 100_000}, {"spread_ppm": 1_000_000, "shortage_ppm": 700_000},
                      {"spread_ppm": 300_000, "shortage_ppm": 9_000_000})


def add_stages(table: dict[str, Any], seed: int) -> dict[str, Any]:
    """The venue's table with the stages of this seed."""
    rng, more = (np.random.Generator(np.random.Philox(key=[seed, purpose])) for purpose in (PURPOSE, RULES))
    if rng.random() < 0.5:
        return table

    def pick(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    thresholds = LADDERS[int(rng.integers(len(LADDERS)))]
    stages, exit_ppm = [], 10_000_000
    for k, below in enumerate(thresholds):
        last = k == len(thresholds) - 1
        action = pick("close", "takeover") if last else pick("warn", "cancel_orders", "reduce", "reduce", "close")
        exit_ppm = max(below, min(exit_ppm, below * pick(1_000, 1_100, 1_400, 2_000) // 1_000))
        stage = {"below_ppm": below, "action": action, "dwell_ns": pick(0, 0, 50 * MS, 600 * MS),
                 "cooldown_ns": pick(MS, 300 * MS, 3 * SECOND), "exit_ppm": exit_ppm}
        if action == "reduce":
            stage |= pick({}, {"share_ppm": pick(50_000, 200_000, 500_000, 1_000_000)})
            stage |= pick({}, {"notional_above": "5000"})
        elif pick(0, 1):
            stage["cooldown_ns"] = 0
        if action in ("reduce", "close"):
            stage |= pick({}, {}, {"band_ppm": 2_000}, {"band_ppm": 20_000})
            add_rules(stage, more)
        stages.append(stage)
    return {**table, "liquidation": {**table["liquidation"], "detection_delay_ns": 0, "stages": stages}}
