"""Campaign switches of European options, absent in most seeds; drawn apart."""

from typing import Any

import numpy as np

from exchange import codes, config
from tests.campaign_lives import PURPOSE, SECOND, START_NS

PARTS = 2  # after those of dates


def generator(seed: int, part: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, PURPOSE + (PARTS + part << 32)]))


def add_options(table: dict[str, Any], seed: int) -> dict[str, Any]:
    """The venue's table with the options of this seed, after all other instruments."""
    rng = generator(seed, 0)
    if rng.random() < 0.6:
        return table
    table["mark"]["option_period_ns"] = int(rng.choice([SECOND // 10, SECOND, 7 * SECOND]))
    written = list(table["instruments"])
    for k in range(int(rng.integers(1, 4))):
        of = written[int(rng.integers(len(written)))]
        in_base = bool(rng.random() < 0.4)
        latest = of.get("life", {}).get("expiry_ns", 0) or START_NS + 60 * SECOND
        own = {"symbol": f"O{k}", "kind": "option", "settle": of["settle"], "lot": "1", "price_max": "4000",
               "tick": "1", "mark_per_tick": 100, "order_max": of["order_max"], "position_max": of["position_max"],
               "open_interest_max": of["open_interest_max"], "market_band_ppm": int(rng.choice([50_000, 400_000])),
               "tiers": [{"floor": "0", "maintenance_ppm": 0, "leverage_max": 10}]}
        if in_base:
            own |= {"tick": "0.001", "price_max": "4", "multiplier": "1000"}
        expiry_ns = min(latest, START_NS + int(rng.choice([2, 5, 20, 60])) * SECOND)
        samples = int(rng.choice([1, 2]))
        listed_ns = of.get("life", {}).get("listed_ns", 0) if rng.random() < 0.2 else 0
        if listed_ns + samples * SECOND // 10 >= expiry_ns:
            listed_ns = 0
        own["life"] = {"expiry_ns": expiry_ns, "samples": samples, "fee_ppm": int(rng.choice([0, 2_000])),
                       "window_ns": SECOND // 10 * samples if samples > 1 else 0, "listed_ns": listed_ns}
        own["option"] = {"underlying": of["symbol"], "strike": str(int(rng.integers(6, 15)) * 100),
                         "right": str(rng.choice(["call", "put"])), "premium": "base" if in_base else "quote",
                         "initial_ppm": int(rng.choice([150_000, 90_000])),
                         "floor_ppm": int(rng.choice([100_000, 20_000])),
                         "maintenance_ppm": int(rng.choice([75_000, 10_000]))}
        table["instruments"].append(own)
    return table


class Volatilities:
    """VOLATILITY events of a stream, and what its options are about worth."""

    def __init__(self, venue: config.Venue, seed: int):
        self.rng = generator(seed, 1)
        symbols = [instrument.symbol for instrument in venue.instruments]
        self.options = [(k, symbols.index(instrument.option.underlying), instrument.option)
                        for k, instrument in enumerate(venue.instruments) if instrument.option is not None]
        self.rate = float(self.rng.choice([0.0, 0.01, 0.05]))

    def beside(self, fair: list[float]) -> list[dict[str, int]]:
        """Now and then a volatility, seldom one that cannot be; quotes around what an option would pay now."""
        for k, of, option in self.options:
            gain = (fair[of] - float(option.strike)) * (1 if option.right == "call" else -1)
            worth = max(0.0, gain) + 0.05 * fair[of]
            fair[k] = max(3.0, min(3_000.0, worth if option.premium == "quote" else 1_000 * worth / fair[of]))
        if not self.options or self.rng.random() >= self.rate:
            return []
        k = self.options[int(self.rng.integers(len(self.options)))][0]
        if self.rng.random() < 0.05:
            k = int(self.rng.integers(-1, len(fair) + 1))
        near = int(self.rng.choice([10_000, 600_000, 5_000_000, 90_000_000]))
        price = near if self.rng.random() < 0.97 else int(self.rng.choice([0, -5, 100_000_001]))
        return [{"kind": codes.VOLATILITY, "instrument": k, "price": price}]
