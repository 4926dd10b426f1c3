"""Campaign switches of index, mark and funding policies, absent in half of the seeds; drawn apart from other streams."""

from typing import Any

import numpy as np

from exchange import codes

PURPOSE = 52
MS, SECOND = 1_000_000, 1_000_000_000


def generator(seed: int, part: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, PURPOSE + (part << 32)]))


def add_pricing(table: dict[str, Any], seed: int) -> dict[str, Any]:
    """The venue's table with the pricing of this seed."""
    rng = generator(seed, 0)

    def pick(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    if rng.random() < 0.5:
        return table
    table["index"] |= {"rule": pick(table["index"]["rule"], "capped", "weighted_median"), "rounding": pick("down", "half_away"),
                       "stale": pick("drop", "keep"), "outliers_max": pick(0, 1, 1, 2), "signed": False}
    outside = pick(0, 1)
    if outside:
        for instrument in table["instruments"]:
            sources = instrument["constituents"]
            weights = [600_000, 400_000, 200_000]
            instrument["constituents"] = [source | {"weight_ppm": weight, "use": "index" if k < 2 else "mark"}
                                          for k, (source, weight) in enumerate(zip(sources, weights, strict=True))]
    if pick(0, 1):
        table["mark"] |= mark(rng, pick, bool(outside), int(table["mark"]["period_ns"]))
        if table["mark"]["source"] == "computed" and pick(0, 0, 1):
            table["index"]["stale"] = "freeze"
        if table["index"]["rule"] != "composite" and pick(0, 0, 1):
            table["index"]["signed"] = True
    if pick(0, 1):
        table["funding"] |= funding(pick)
        if any("kind" in instrument for instrument in table["instruments"]):
            table["funding"].pop("payment", None)
    return table


def mark(rng: np.random.Generator, pick: Any, outside: bool, period_ns: int) -> dict[str, Any]:
    """Some components in any order."""
    names = [name for name in codes.COMPONENTS
             if (name != "outside" or outside) and (name != "ema_basis" or period_ns > 0)]
    chosen = [str(name) for name in rng.permutation(names)[: pick(1, 2, 3, 4, len(names))]]
    components = [{"price": name, "weight_ppm": pick(100_000, 250_000, 300_000),
                   "stale_ns": 0 if name in ("mid", "impact_mid", "outside") else pick(0, 0, 300 * MS, 5 * SECOND)}
                  for name in chosen]
    return {"source": "computed", "components": components, "combiner": pick("median", "mean", "weighted"),
            "missing": pick("previous", "drop"), "clamp_ppm": pick(0, 0, 5_000, 30_000),
            "forced_trades": pick(True, False), "half_life_ns": pick(500 * MS, 20 * SECOND),
            "impact_notional": pick("0", "500", "20000"), "trades_max": pick(1, 3, 64), "window_ns": pick(SECOND, 60 * SECOND),
            "decay_ppm": pick(0, 500_000, 1_000_000), "decay_power": pick(1, 2, 3)}


def funding(pick: Any) -> dict[str, Any]:
    """Computed rates over seconds rather than hours, and recorded ones that are paid in other ways."""
    sample_ns = pick(100 * MS, SECOND)
    interval_ns = sample_ns * pick(1, 3, 10, 60)
    return {"source": pick("computed", "computed", "recorded"), "interval_ns": interval_ns, "sample_ns": sample_ns,
            "premium": pick("mid", "impact"), "impact_notional": pick("0", "300", "5000"),
            "premium_cap_ppb": pick(1_000_000, 1_000_000_000), "average": pick("mean", "linear", "trimmed"),
            "tail_ppm": pick(0, 100_000, 250_000), "missing": pick("skip", "zero"),
            "factor_ppm": pick(1_000_000, 2_500_000), "interest_ppb": pick(0, 100_000, -40_000),
            "interest": pick("band", "added"), "band_ppb": pick(0, 500_000, 50_000_000),
            "rate_ns": interval_ns * pick(1, 1, 8), "step_ppb": pick(1, 1_000),
            "cap": pick(None, {"rate_ppb": 2_000_000}, {"factor_ppm": 300_000}), "notional": pick("mark", "index"),
            "payment": pick("rate", "per_lot", "per_lot"), "first": pick("funding", "liquidation")}


class SignedSources:
    """Now and then a source price at or below zero."""

    def __init__(self, seed: int):
        self.rng = generator(seed, 1)
        self.rate = float(self.rng.choice([0.0, 0.01, 0.05]))

    def price(self, price: int) -> int:
        if self.rng.random() >= self.rate:
            return price
        return int(self.rng.choice([0, -1, -price, 10**12, -(2**63)]))
