"""Campaign switches of pegged orders, absent in half of the seeds; drawn apart: other streams stay as they are."""

from collections import deque
from typing import Any

import numpy as np

from exchange import codes, config, schema

PURPOSE = 41
FIRST_ID = 3 << 20  # of those that come in crowds


def generator(seed: int, part: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, PURPOSE + (part << 32)]))


def add_pegs(table: dict[str, Any], seed: int) -> dict[str, Any]:
    """The venue's table with the pegs of this seed."""
    rng = generator(seed, 0)
    if rng.random() < 0.5:
        for instrument in table["instruments"]:
            instrument["pegged"] = bool(rng.random() < 0.9)
        table["capacity"]["orders"] = min(table["capacity"]["orders"], 3_000)  # they may move in one event
    return table


class Pegs:
    """Pegged orders of a stream."""

    def __init__(self, venue: config.Venue, seed: int):
        self.rng = generator(seed, 1)
        self.is_on = any(instrument.pegged for instrument in venue.instruments)
        self.rate = float(self.rng.choice([0.1, 0.3])) if self.is_on else 0.005
        self.reach = int(self.rng.choice([2, 4, 12]))
        self.sent = 0
        self.placed: deque[tuple[int, int]] = deque(maxlen=40)  # id and account

    def chance(self, probability: float) -> bool:
        return float(self.rng.random()) < probability

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def offset(self) -> int:
        return self.whole(-self.reach, self.reach) if self.chance(0.97) else self.whole(-1, 1) * 10**6

    def peg(self, kind: int, fields: dict[str, int], extra: dict[str, int]) -> dict[str, int]:
        """Terms that peg a NEW which suits it, or change a peg; {} for most."""
        if kind == codes.AMEND:
            return {"offset_ticks": self.offset()} if self.is_on and self.chance(self.rate) else {}
        dated = fields.get("time_in_force", 0) in (codes.GTC, codes.GTD)
        suits = dated and not fields.get("flags", 0) & codes.MARKET and not {"trigger", "min_lots"} & {*extra}
        if not self.chance(self.rate if suits else 0.005):
            return {}
        self.placed.append((fields["order_id"], fields["account"]))
        return {"peg": self.whole(1, 3) if self.chance(0.98) else self.whole(-1, 5), "offset_ticks": self.offset()}

    def beside(self, clock: int, fair: list[float], users: int) -> list[tuple[Any, ...]]:
        """Now and then a few pegged orders around one market, or changes and cancels of such as came before."""
        if not self.is_on or not self.chance(0.08):
            return []
        rows, k = list[dict[str, int]](), self.whole(0, len(fair) - 1)
        for _ in range(self.whole(1, 5)):
            if self.placed and self.chance(0.4):
                order_id, account = self.placed[self.whole(0, len(self.placed) - 1)]
                rows.append(self.change(order_id, account, round(fair[k])))
                continue
            self.sent += 1
            side, account = self.whole(0, 1), codes.FIRST_USER + self.whole(0, users - 2)
            order_id = FIRST_ID + self.sent
            away = self.whole(-3, 15) * (1 if side == codes.BID else -1)
            row = {"kind": codes.NEW, "order_id": order_id, "account": account, "instrument": k, "side": side,
                   "price": max(1, round(fair[k]) + away), "qty": self.whole(1, 8), "peg": self.whole(1, 3),
                   "offset_ticks": self.offset(),
                   "flags": int(self.rng.choice([0, 0, codes.POST_ONLY, codes.REDUCE_ONLY]))}
            if self.chance(0.2):
                row |= {"time_in_force": codes.GTD, "expiry_ns": clock + self.whole(1, 9_000) * 10**6}
            if self.placed and self.chance(0.3):
                row["link_id"], row["account"] = self.placed[-1]
            self.placed.append((order_id, row["account"]))
            rows.append(row)
        return [row for fields in rows for row in schema.events({"ts_ns": clock, **fields}).tolist()]

    def change(self, order_id: int, account: int, near: int) -> dict[str, int]:
        row = {"order_id": order_id, "account": account}
        if self.chance(0.3):
            return row | {"kind": codes.CANCEL}
        row |= {"kind": codes.AMEND, "qty": self.whole(1, 9), "price": max(1, near + self.whole(-9, 9))}
        return row | {"price": row["price"] if self.chance(0.5) else 0,
                      "offset_ticks": self.offset() if self.chance(0.4) else 0}
