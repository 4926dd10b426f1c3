"""Campaign switches of dated instruments and settlements, absent in most seeds; drawn apart."""

from typing import Any

import numpy as np

from exchange import codes, config

PURPOSE = 53
SECOND = 1_000_000_000
START_NS = 1_000 * SECOND  # where the streams begin


def generator(seed: int, part: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, PURPOSE + (part << 32)]))


def add_lives(table: dict[str, Any], seed: int) -> dict[str, Any]:
    """The venue's table with the dates of this seed."""
    rng = generator(seed, 0)
    if rng.random() < 0.6:
        return table
    for instrument in table["instruments"]:
        listed_ns = START_NS + int(rng.choice([0, SECOND // 5, 2 * SECOND])) if rng.random() < 0.3 else 0
        samples = int(rng.choice([1, 3, 20]))
        window_ns = samples * int(rng.choice([1, SECOND // 20, SECOND // 2])) if samples > 1 else 0
        expiry_ns = max(listed_ns, START_NS) + window_ns + int(rng.choice([1, 4, 12, 30, 60])) * SECOND // 2
        instrument["life"] = {"listed_ns": listed_ns, "fee_ppm": int(rng.choice([0, 150, 3_000]))}
        if rng.random() < 0.6:
            instrument["life"] |= {"expiry_ns": expiry_ns, "window_ns": window_ns, "samples": samples}
    return table


class Settlements:
    """SETTLE events of a stream."""

    def __init__(self, venue: config.Venue, seed: int):
        self.rng = generator(seed, 1)
        dated = any(instrument.life != config.Life() for instrument in venue.instruments)
        self.rate = float(self.rng.choice([0.0, 0.001, 0.004])) if dated else 0.0

    def beside(self, clock: int, venue: config.Venue, fair: list[float]) -> list[dict[str, int]]:
        """Now and then a market is settled by hand, at a price stated or at the one known; {} for most."""
        if self.rng.random() >= self.rate:
            return []
        k = int(self.rng.integers(-1, len(fair) + 1)) if self.rng.random() < 0.1 else int(self.rng.integers(len(fair)))
        near = round(fair[k % len(fair)] * venue.instruments[k % len(fair)].mark_per_tick)
        price = int(self.rng.choice([0, near, near + int(self.rng.integers(-30, 30)), -1]))
        return [{"kind": codes.SETTLE, "instrument": k, "price": price}]
