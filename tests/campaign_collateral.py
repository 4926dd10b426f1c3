"""Campaign switches of collateral, absent in half of the seeds; drawn apart, so that the others stay as they are."""

from typing import Any

import numpy as np

from exchange import codes, config, schema

PURPOSE = 55
MS = 1_000_000
LEFT_OUT = ("tiers", "multiplier", "margin", "life", "option")  # what a spot instrument has not


def generator(seed: int, part: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, PURPOSE + (part << 32)]))


def add_collateral(table: dict[str, Any], seed: int) -> dict[str, Any]:
    """The venue's table with the spot instruments and conversions of this seed: one or two more at its end."""
    rng = generator(seed, 0)
    if rng.random() < 0.5:
        return table

    def pick(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    like = table["instruments"][0]
    for k in range(pick(1, 1, 2)):
        haircuts = [{"floor": "0", "haircut_ppm": pick(0, 50_000, 200_000)},
                    {"floor": "20000", "haircut_ppm": pick(200_000, 400_000)},
                    {"floor": "80000", "haircut_ppm": pick(400_000, 1_000_000)}][:pick(1, 2, 3)]
        spot = {name: value for name, value in like.items() if name not in LEFT_OUT}
        spot |= {"symbol": f"S{k}", "kind": "spot", "haircuts": haircuts, "settle": pick(*table["assets"])["name"],
                 "price_min": "1", "position_max": pick("60", "150"), "open_interest_max": "4000"}
        spot["initial_haircut_ppm"] = pick(0, 30_000) if haircuts[-1]["haircut_ppm"] < 10**6 else 0
        spot |= pick({}, {}, {"index_feedback_ppm": 1_000_000}, {"index_feedback_ppm": 0})
        table["instruments"].append(spot)
    table["collateral"] = {"order": pick("first", "last", "listed"), "conversions": []}
    for asset in table["assets"]:
        mine = [one["symbol"] for one in table["instruments"]
                if one.get("kind") == "spot" and one["settle"] == asset["name"]]
        if mine and rng.random() < 0.8:
            below, to = pick(("0", "0"), ("5", "0"), ("50", "10"), ("500", "500"))
            table["collateral"]["conversions"].append(
                {"asset": asset["name"], "below": below, "to": to, "order": pick([], mine[::-1], mine[:1]),
                 "band_ppm": pick(3_000, 50_000, 300_000), "charge_ppm": pick(0, 5_000, 50_000, 400_000),
                 "delay_ns": pick(0, 0, 50 * MS, 2_000 * MS), "retry_ns": pick(20 * MS, 500 * MS, 60_000 * MS)})
    return table


class Holdings:
    """What the accounts of a stream bring and take away."""

    def __init__(self, venue: config.Venue, seed: int):
        self.rng = generator(seed, 1)
        self.spots = [k for k, instrument in enumerate(venue.instruments) if instrument.kind == "spot"]
        self.size = int(self.rng.choice([4, 8, 40]))  # lots: of the first two, prices move what they carry
        self.rate = float(self.rng.choice([0.05, 0.2])) if self.spots else 0.0
        self.count, self.assets = len(venue.instruments), len(venue.assets)

    def row(self, clock: int, account: int) -> tuple[Any, ...]:
        rng = self.rng
        spot = int(rng.choice(self.spots)) if self.spots and rng.random() < 0.97 else int(rng.integers(-1, self.count))
        kind = codes.DEPOSIT_ASSET if rng.random() < 0.6 else codes.WITHDRAW_ASSET
        account = int(rng.choice([0, 1, codes.INSURANCE, 5_000])) if rng.random() < 0.04 else account
        qty = int(rng.choice([0, 2**40])) if rng.random() < 0.02 else int(rng.integers(1, int(rng.choice([self.size, self.size, 60]))))
        (row,) = schema.events({"ts_ns": clock, "kind": kind, "account": account, "instrument": spot, "qty": qty}).tolist()
        return row

    def beside(self, clock: int, fair: list[float], users: int) -> list[tuple[Any, ...]]:
        """Now and then lots come or go, or an account takes its cash out."""
        if self.rng.random() >= self.rate:
            return []
        if self.spots and self.rng.random() < 0.4:
            account, other = (codes.FIRST_USER + int(self.rng.integers(users)) for _ in range(2))
            k = int(self.rng.integers(self.count - len(self.spots)))
            pair = {"ts_ns": clock, "kind": codes.OPEN_POSITION, "account": account, "order_id": other, "instrument": k,
                    "price": max(1, round(fair[k])), "qty": int(self.rng.integers(5, 40))}
            return self.drain(clock, account) + schema.events(pair).tolist()
        return [self.row(clock, codes.FIRST_USER + int(self.rng.integers(users)))]

    def opening(self, clock: int, users: int) -> list[tuple[Any, ...]]:
        """Most accounts begin with some of each."""
        rows = [{"ts_ns": clock, "kind": codes.DEPOSIT_ASSET, "account": codes.FIRST_USER + k, "instrument": spot,
                 "qty": int(self.rng.integers(1, self.size))}
                for spot in self.spots for k in range(users) if self.rng.random() < 0.7]
        brought = schema.events(*rows).tolist() if rows else []
        poor = [codes.FIRST_USER + k for k in range(users) if self.spots and self.rng.random() < 0.7]
        return brought + [row for account in poor for row in self.drain(clock, account)]

    def drain(self, clock: int, account: int) -> list[tuple[Any, ...]]:
        """Withdrawals of halving amounts, which leave little: what an account does then its holdings must carry."""
        asset = int(self.rng.integers(self.assets))
        return schema.events(*({"ts_ns": clock, "kind": codes.WITHDRAW, "account": account, "instrument": asset,
                                "qty": 100 << k} for k in range(14, 5, -1))).tolist()
