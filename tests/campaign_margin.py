"""Campaign switches of margin models, absent in half of the seeds, and of fine fees; drawn apart: other streams stay
as they are."""

from typing import Any

import numpy as np

from exchange import codes, config, schema
from tests.margin_models import MODELS

PURPOSE = 51


def generator(seed: int, part: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, PURPOSE + (part << 32)]))


def add_margins(table: dict[str, Any], seed: int) -> dict[str, Any]:
    """The venue's table with the margin models of this seed."""
    rng = generator(seed, 0)
    if rng.random() < 0.5:
        for instrument in table["instruments"]:
            instrument |= MODELS[str(rng.choice(list(MODELS)))]
    fine = generator(seed, 2)
    if fine.random() < 0.1:
        table["fees"] |= {f"{side}_beyond_ppb": int(fine.integers(1_000)) for side in ("maker", "taker")}
    return table


class Margins:
    """Tier tables and fees that change in the middle of a stream."""

    def __init__(self, venue: config.Venue, seed: int):
        self.rng = generator(seed, 1)
        self.sets = [len(instrument.margin.tier_sets) for instrument in venue.instruments]
        fees = any(instrument.margin.closing_fee == "taker" for instrument in venue.instruments)
        self.rate = float(self.rng.choice([0.01, 0.05])) if any(self.sets) or fees else 0.0005

    def beside(self, clock_ns: int) -> list[tuple[int, ...]]:
        """Now and then an event of its own."""
        if self.rng.random() >= self.rate:
            return []
        k = int(self.rng.integers(len(self.sets)))
        here = {"ts_ns": clock_ns, "instrument": k if self.rng.random() < 0.95 else 77}
        if self.rng.random() < 0.3:
            taker = int(self.rng.choice([150, 3_000, 20_000]))
            row = {"kind": codes.SET_FEES, **here, "price": -100, "qty": taker}
        else:
            row = {"kind": codes.SET_TIERS, **here, "qty": int(self.rng.integers(-1, self.sets[k] + 2))}
        return schema.events(row).tolist()
