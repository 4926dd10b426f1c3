"""Campaign switches of self-trade prevention, groups and allocation; each absent in half of the seeds.

They draw from a generator of their own, so that the streams without them stay what they were.
"""

from typing import Any

import numpy as np

from exchange import codes, config, schema

PURPOSE = 21
MODES = ("none", "cancel_newest", "cancel_oldest", "cancel_both", "decrement")
ALGORITHMS = ("fifo", "fifo_lmm", "fifo_top_lmm", "pro_rata", "allocation", "threshold_pro_rata", "configurable",
              "configurable")
USERS = 16


def generator(seed: int, part: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, PURPOSE + (part << 32)]))


def add_rules(table: dict[str, Any], seed: int) -> dict[str, Any]:
    """The venue's table with the rules of this seed."""
    rng = generator(seed, 0)
    if rng.random() < 0.5:
        for instrument in table["instruments"]:
            instrument["self_trade"] = MODES[int(rng.choice([0, 1, 2, 3, 4, 4]))]
    if rng.random() < 0.4:
        for instrument in table["instruments"]:
            instrument["allocation"] = allocation(rng)
        table["capacity"]["orders"] = 2_000  # each may fill several times in one event
    return table


def allocation(rng: np.random.Generator) -> dict[str, Any]:
    """An algorithm with some of its fields stated."""
    algorithm = ALGORITHMS[int(rng.integers(len(ALGORITHMS)))]
    if algorithm == "fifo":
        return {}
    fields: dict[str, list[Any]] = {
        "top_min_lots": [0, 3], "top_max_lots": [0, 1, 5, 2**31 - 1], "fifo_ppm": [0, 300_000, 999_999, 1_000_000],
        "pro_rata_min_lots": [0, 1, 2, 3], "leveling": [True, True, False]}
    given = {name: values[int(rng.integers(len(values)))] for name, values in fields.items() if rng.random() < 0.5}
    accounts = codes.FIRST_USER + rng.permutation(USERS)[:int(rng.integers(0, 5))]
    makers = [{"account": int(account), "share_ppm": int(rng.integers(1, 250_000))} for account in accounts]
    return {"algorithm": algorithm, **given, "market_makers": makers}


class Owners:
    """Rows that a stream sends beside its own: SET_GROUP, and TERMS before some orders."""

    def __init__(self, venue: config.Venue, seed: int):
        self.rng = generator(seed, 1)
        self.is_on = any(instrument.self_trade != "none" for instrument in venue.instruments)
        self.termed = float(self.rng.choice([0.0, 0.1, 0.4]))

    def terms(self, kind: int, clock: int, fields: dict[str, int]) -> list[tuple[int, ...]]:
        """A TERMS row for an order, or nothing."""
        if not self.is_on or kind not in (codes.NEW, codes.AMEND) or self.rng.random() >= self.termed:
            return []
        mode = int(self.rng.integers(-1, 7)) if self.rng.random() < 0.1 else int(self.rng.integers(0, 6))
        named = {"account": fields["account"], "order_id": fields["order_id"]}
        row = schema.events({"ts_ns": clock, "kind": kind, "self_trade": mode, **named})
        return row[:1].tolist()

    def groups(self, clock: int, chance: float = 0.01) -> list[tuple[int, ...]]:
        """A SET_GROUP row, or nothing."""
        if not self.is_on or self.rng.random() >= chance:
            return []
        user = codes.FIRST_USER + int(self.rng.integers(-1, USERS))
        row = schema.events({"ts_ns": clock, "kind": codes.SET_GROUP, "account": user,
                             "qty": int(self.rng.choice([-1, 0, 1, 1, 1, 1, 2, 2]))})
        return row.tolist()
