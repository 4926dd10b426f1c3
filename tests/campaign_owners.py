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
FIRST_ID = 1 << 20  # of orders in bursts


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
    """Rows that a stream sends beside its own: SET_GROUP, TERMS before some orders, bursts of orders at one price."""

    def __init__(self, venue: config.Venue, seed: int):
        self.rng = generator(seed, 1)
        self.prevents = any(instrument.self_trade != "none" for instrument in venue.instruments)
        self.shares = any(instrument.allocation.algorithm != "fifo" for instrument in venue.instruments)
        self.termed = float(self.rng.choice([0.0, 0.1, 0.4]))
        self.order_id = FIRST_ID

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def mode(self) -> dict[str, int]:
        """The mode that the terms of a NEW or AMEND state, or nothing."""
        if not self.prevents or self.rng.random() >= self.termed:
            return {}
        return {"self_trade": self.whole(-1, 6) if self.rng.random() < 0.1 else self.whole(0, 5)}

    def groups(self, clock: int, chance: float) -> list[tuple[int, ...]]:
        """A SET_GROUP row, or nothing."""
        if not self.prevents or self.rng.random() >= chance:
            return []
        user, group = codes.FIRST_USER + self.whole(-1, USERS - 1), int(self.rng.choice([-1, 0, 1, 1, 1, 1, 2, 2]))
        return schema.events({"ts_ns": clock, "kind": codes.SET_GROUP, "account": user, "qty": group}).tolist()

    def beside(self, clock: int, fair: list[float]) -> list[tuple[int, ...]]:
        """What goes before the stream's next command; mostly nothing."""
        rows = self.groups(clock, 0.01)
        if (self.prevents or self.shares) and self.rng.random() < 0.02:
            rows += schema.events(*({"ts_ns": clock, **row} for row in self.burst(fair))).tolist()
        return rows

    def burst(self, fair: list[float]) -> list[dict[str, int]]:
        """Orders of one price, takers that meet some of them, and amends of what is left."""
        k, side, first = self.whole(0, len(fair) - 1), self.whole(0, 1), self.order_id
        ticks = round(fair[k]) + (2 * side - 1) * self.whole(0, 3)
        largest = int(self.rng.choice([3, 12]))
        rows = [{"kind": codes.NEW, "side": side, "qty": self.whole(1, largest),
                 "flags": codes.REDUCE_ONLY if self.rng.random() < 0.2 else 0} for _ in range(self.whole(3, 9))]
        for _ in range(self.whole(1, 3)):
            rows.append({"kind": codes.NEW, "side": 1 - side, "qty": self.whole(1, 3 * largest),
                         "time_in_force": self.whole(0, 2)})
        for row in rows:
            row |= {"instrument": k, "price": ticks, "account": codes.FIRST_USER + self.whole(0, USERS - 1),
                    "order_id": self.order_id}
            self.order_id += 1
        if self.prevents and self.rng.random() < 0.6:
            rows[-1] |= {"account": rows[0]["account"], "self_trade": self.whole(0, 5)}
        owner = {row["order_id"]: row["account"] for row in rows}
        for _ in range(self.whole(0, 3)):
            order_id = self.whole(first, self.order_id - 1)
            rows.append({"kind": codes.AMEND, "account": owner[order_id], "order_id": order_id,
                         "qty": self.whole(1, largest)})
        return rows
