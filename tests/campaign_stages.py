"""Campaign switch of stages of liquidation, absent in half of the seeds and drawn apart from other streams."""

from typing import Any

import numpy as np

from exchange import codes, config, schema
from exchange.stages import ORDER_FIELDS

PURPOSE, RULES, PATHS = 55, 63, 67
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


def generator(seed: int, part: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, PATHS + (part << 32)]))


def add_path(stage: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """The stage, or an auction in its place, or with orders that go beyond the bankruptcy price or stay near the index."""
    def pick(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    if stage["action"] in ("close", "takeover") and rng.random() < 0.5:
        kept = {name: value for name, value in stage.items() if name not in ORDER_FIELDS}
        return kept | draw_auction(rng)
    if "band_ppm" in stage:
        stage |= pick({}, {"band_around": "index"}, {"band_around": "index"})
    if ("band_ppm" in stage or "spread_ppm" in stage) and rng.random() < 0.5:
        stage["beyond_bankruptcy"] = True
    if stage["action"] == "reduce" and rng.random() < 0.5:
        stage["fill_or_kill"] = True
    return stage


def draw_auction(rng: np.random.Generator) -> dict[str, Any]:
    def pick(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    duration = pick(300 * MS, 3 * SECOND, 20 * SECOND)
    terms = {"action": "auction", "duration_ns": duration, "period_ns": pick(50 * MS, 700 * MS)}
    if rng.random() < 0.5:
        terms["concession_ppm"] = pick([[0, 20_000], [duration // 3, 200_000], [duration, 1_000_000]],
                                       [[0, 0], [duration // 2, 333_333]], [[duration // 4, 50_000]])
        terms |= pick({}, {"payout_ppm": [[0, 0], [duration // 2, 1_000_000]]},
                      {"payout_ppm": [[duration // 5, 100_000]]})
        terms |= pick({}, {"concession_from": "equity"})
    else:
        terms["concession_from"] = pick("mark", "index")
        terms["concession_ppm"] = pick([[0, -10_000], [duration, 10_000]], [[0, 5_000]],
                                       [[0, 2_000], [duration // 5, 2_000], [duration // 2, 30_000]])
        terms |= pick({}, {"allowance_ppm": [[0, 100_000], [duration // 2, 1_000_000]]}, {"allowance_ppm": [[0, 300_000]]})
        terms |= pick({}, {"beyond_bankruptcy": True})
    if rng.random() < 0.5:
        bids = pick([[0, 250_000], [100_000, 1_000_000]], [[5_000, 400_000], [5_000, 100_000], [8_000, 300_000]])
        terms |= {"bidder": codes.FIRST_USER + int(rng.integers(8)), "bids_ppm": bids}
    return terms


class Takers:
    """Users who take what is auctioned, where there are auctions: one tries everybody, at times a single other."""

    def __init__(self, venue: config.Venue, seed: int):
        self.rng = generator(seed, 1)
        self.instruments = len(venue.instruments)
        offers = any(stage.action == "auction" for stage in venue.liquidation.stages)
        self.rate = float(self.rng.choice([0.05, 0.2])) if offers else 0.0005

    def beside(self, clock_ns: int, users: int) -> list[tuple[int, ...]]:
        """Now and then takes."""
        if self.rng.random() >= self.rate:
            return []
        owners = range(users) if self.rng.random() < 0.7 else [int(self.rng.integers(users + 1))]
        taker, k = int(self.rng.integers(users)), int(self.rng.integers(-1, self.instruments + 1))
        lots = int(self.rng.choice([1, 3, 10, 50, 1_000]))
        rows = [{"ts_ns": clock_ns, "kind": codes.TAKE, "account": codes.FIRST_USER + taker, "instrument": k,
                 "order_id": codes.FIRST_USER + owner, "qty": lots} for owner in owners]
        return schema.events(*rows).tolist()


def add_stages(table: dict[str, Any], seed: int) -> dict[str, Any]:
    """The venue's table with the stages of this seed."""
    shares = generator(seed, 2)
    if shares.random() < 0.3:
        least, most = ((0, 950_000), (1_000_000, 1_000_000), (300_000, 500_000))[int(shares.integers(3))]
        table = {**table, "liquidation": {**table["liquidation"], "fund_least_ppm": least, "fund_most_ppm": most}}
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
    paths = generator(seed, 0)
    stages = [add_path(stage, paths) for stage in stages]
    return {**table, "liquidation": {**table["liquidation"], "detection_delay_ns": 0, "stages": stages}}
