"""Campaign switch of the backstop, absent in most seeds and drawn apart from other streams."""

from typing import Any

import numpy as np

from exchange import codes, config, schema

PURPOSE = 179
MS = 1_000_000
RATE = 0.15


def generator(seed: int, part: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, PURPOSE + (part << 32)]))


def add_backstop(table: dict[str, Any], seed: int) -> dict[str, Any]:
    """The venue's table with the backstop of this seed."""
    rng = generator(seed, 0)
    if rng.random() >= RATE:
        return table

    def pick(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    backstop = pick({}, {"account": codes.FIRST_USER + pick(*range(8))}, {"account": codes.FIRST_USER + 7})
    if backstop:
        backstop |= pick({}, {"price": "mark"}, {"price": "bankruptcy"})
    if not backstop or rng.random() < 0.8:
        backstop |= {"period_ns": pick(20 * MS, 700 * MS, 7_000 * MS), **pick({}, {"share_ppm": 300_000})}
        backstop |= pick({}, {"notional_above": "5000"}, {"notional_max": "4000"})
        backstop |= pick({}, {}, {"offer_ppm": 10_000}, {"offer_ppm": 400_000})
        backstop |= pick({}, {"band_ppm": 2_000}, {"band_ppm": 20_000}, {"band_ppm": 20_000})
        if "band_ppm" in backstop:
            backstop |= pick({}, {"band_around": "index"}, {"band_around": "mid"}, {"band_around": "mid"})
    return {**table, "backstop": backstop}


class Backers:
    """Who brings the backstop money now and then, where there is one; half of them much."""

    def __init__(self, venue: config.Venue, seed: int):
        self.rng = generator(seed, 1)
        self.account, self.assets = venue.backstop.account, len(venue.assets)
        self.most = int(self.rng.choice([100_000, 10_000_000]))

    def beside(self, clock_ns: int) -> list[tuple[int, ...]]:
        if self.account is None or self.rng.random() >= 0.02:
            return []
        asset, money = int(self.rng.integers(self.assets)), 1 + int(self.rng.integers(self.most))
        row = {"ts_ns": clock_ns, "kind": codes.DEPOSIT, "account": self.account, "instrument": asset, "qty": money}
        return schema.events(row).tolist()
