"""Campaign switches of icebergs, absent in half of the seeds; drawn apart, so that other streams stay as they are."""

from typing import Any

import numpy as np

from exchange import codes, config

PURPOSE = 40


def generator(seed: int, part: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, PURPOSE + (part << 32)]))


def add_icebergs(table: dict[str, Any], seed: int) -> dict[str, Any]:
    """The venue's table with the icebergs of this seed."""
    rng = generator(seed, 0)
    if rng.random() < 0.5:
        for instrument in table["instruments"]:
            by_steps = instrument.get("allocation", {}).get("algorithm", "fifo") != "fifo"
            instrument["iceberg"] = "refresh" if by_steps or rng.random() < 0.5 else "pro_rata"
            if instrument["iceberg"] == "pro_rata":
                table["capacity"]["orders"] = 2_000  # each may fill several times in one event
    return table


class Icebergs:
    """What the orders of a stream show of themselves."""

    def __init__(self, venue: config.Venue, seed: int):
        self.rng = generator(seed, 1)
        offered = any(instrument.iceberg != "none" for instrument in venue.instruments)
        self.rate = float(self.rng.choice([0.2, 0.5])) if offered else 0.01

    def display(self, kind: int, fields: dict[str, int]) -> dict[str, int]:
        """Terms that make a NEW which may rest show a part of itself; {} for most others."""
        rests = fields.get("time_in_force", 0) in (codes.GTC, codes.GTD) and not fields.get("flags", 0) & codes.MARKET
        if self.rng.random() >= (self.rate if rests and kind == codes.NEW else 0.01):
            return {}
        qty = max(1, min(fields["qty"], 2_000))
        shown = int(self.rng.integers(1, max(2, qty // 2 + 1)))
        odd = self.rng.random() < 0.03
        return {"display_lots": qty + 1 if odd else shown, "display_min_lots": int(self.rng.integers(0, shown + 1))}
