"""Campaign switch of the loss waterfall, the default in half of the seeds and drawn apart from other streams."""

from typing import Any

import numpy as np

PURPOSE = 71
SECOND = 1_000_000_000
RANKINGS = ("profit_leverage", "collateral_profit", "price_ratio", "margin_ratio", "stated_leverage", "list",
            "pro_rata", "pro_rata")


def add_waterfall(table: dict[str, Any], seed: int) -> dict[str, Any]:
    """The venue's table with the waterfall of this seed."""
    rng = np.random.Generator(np.random.Philox(key=[seed, PURPOSE]))
    if rng.random() < 0.5:
        return table

    def pick(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    trigger = pick({}, {"trigger": "first"}, {"trigger": "first"}, {"trigger": "never"},
                   {"trigger": "fund_equity", "start_below": pick("50", "2000"), "stop_at": pick("2000", "2500")},
                   {"trigger": "drawdown", "window_ns": pick(SECOND, 21 * SECOND), "drawdown": pick("0", "50")},
                   {"trigger": "drawdown", "window_ns": 7 * SECOND, "drawdown_ppm": pick(50_000, 400_000)})
    adl = {"ranking": pick(*RANKINGS), "price": pick("bankruptcy", "bankruptcy", "mark", "previous_mark"),
           "overlap": pick(False, False, True), "counterparties": pick("healthy", "all"), **trigger}
    fund = pick({}, {"use_max": pick("0", "20", "300"), "interval_ns": pick(SECOND, 21 * SECOND)})
    return {**table, "adl": adl, "fund": fund, "socialise": pick("none", "positions", "profits")}
