"""Campaign switch of how a liquidation closes legs, the default in most seeds and drawn apart from other streams."""

from typing import Any

import numpy as np

PURPOSE = 181
RATE = 0.15


def generator(seed: int, part: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, PURPOSE + (part << 32)]))


def add_closing(table: dict[str, Any], seed: int) -> dict[str, Any]:
    """The venue's table with the order of legs and the bankruptcy prices of this seed."""
    rng = generator(seed, 0)
    if rng.random() >= RATE:
        return table
    order = ("largest_loss", "margin_freed", "futures_first")[int(rng.integers(3))]
    changes = ({"leg_order": order}, {"bankruptcy_fee": True}, {"leg_order": order, "bankruptcy_fee": True})
    liquidation = {**table["liquidation"], **changes[int(rng.integers(3))]}
    if "stages" in liquidation:
        liquidation["stages"] = [{**stage, "then_all": True} if stage["action"] == "reduce" else stage
                                 for stage in liquidation["stages"]]
    return {**table, "liquidation": liquidation}
