"""Terms of orders for the seeded streams: every rule of DESIGN §3.5 often enough, each in its own half of the seeds."""

from collections import deque
from typing import Any

import numpy as np

from exchange import codes, schema

MS = 1_000_000
FEATURES = ("dated", "stops", "trailing", "links", "least", "budget", "to_limit", "changes")


class TermsDrawer:
    """Adds terms to NEW and AMEND rows of a stream; in half of the seeds it adds none."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.is_on = bool(rng.random() < 0.5)
        self.features = {name for name in FEATURES if rng.random() < 0.7}
        self.rate = float(rng.choice([0.3, 0.6, 0.9]))
        self.crowded = 0
        self.placed: deque[tuple[int, int, int]] = deque(maxlen=48)
        self.dated: deque[tuple[int, int]] = deque(maxlen=12)  # (id, account) of what an AMEND may change
        self.parked: deque[tuple[int, int]] = deque(maxlen=12)

    def chance(self, probability: float) -> bool:
        return float(self.rng.random()) < probability

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def does(self, feature: str, probability: float) -> bool:
        return feature in self.features and self.chance(probability)

    def draw(self, kind: int, clock: int, fair: list[float], fields: dict[str, int]) -> dict[str, int]:
        """The fields of a row's TERMS, {} for none; changes `fields` to suit them."""
        if kind == codes.NEW:
            fields.setdefault("flags", 0)
            fields.setdefault("time_in_force", codes.GTC)
        if not self.is_on or not self.chance(self.rate):
            self.note(kind, fields)
            return {}
        extra = self.changes(clock, fair, fields) if kind == codes.AMEND else self.terms(clock, fair, fields)
        self.note(kind, fields)
        for field, kept in (("expiry_ns", self.dated), ("trigger", self.parked)):
            if kind == codes.NEW and field in extra:
                kept.append((fields["order_id"], fields["account"]))
        return extra

    def note(self, kind: int, fields: dict[str, int]) -> None:
        if kind == codes.NEW:
            self.placed.append((fields["order_id"], fields["account"], fields["instrument"]))

    def aim(self, kept: deque[tuple[int, int]], fields: dict[str, int]) -> None:
        """Mostly change an order that has what is to change, and half of those nothing else."""
        if kept and self.chance(0.8):
            fields["order_id"], fields["account"] = kept[-self.whole(1, len(kept))]
            fields["price"] = 0 if self.chance(0.5) else fields["price"]

    def expiry(self, clock: int) -> int:
        longest = int(self.rng.choice([100, 9_000])) * MS
        return clock + (self.whole(-2, 0) if self.chance(0.04) else self.whole(1, longest))

    def terms(self, clock: int, fair: list[float], fields: dict[str, int]) -> dict[str, int]:
        extra: dict[str, int] = {}
        flags, near = fields["flags"], fair[min(fields["instrument"], len(fair) - 1)]
        if fields["time_in_force"] == codes.FOK and self.does("budget", 0.5):
            fields["flags"] |= codes.BUDGET if self.chance(0.95) else codes.BUDGET | codes.MARKET
            fields["price"] = int(near * fields["qty"] * 100 * float(self.rng.uniform(0.98, 1.02)))
            return extra
        if flags & codes.MARKET and self.does("to_limit", 0.7):
            fields["time_in_force"] = codes.TO_LIMIT
        if fields["time_in_force"] == codes.GTC and self.does("dated", 0.4):
            fields["time_in_force"] = codes.GTD
            extra["expiry_ns"] = self.expiry(clock)
        if self.does("stops", 0.5):
            extra |= self.trigger(near, fields)
        if self.does("least", 0.2):
            extra["min_lots"] = self.whole(1, fields["qty"] + (1 if self.chance(0.1) else 0))
        if self.does("links", 0.3) and self.placed:
            extra["link_id"], account, instrument = self.placed[-self.whole(1, min(12, len(self.placed)))]
            if self.chance(0.9):
                fields["account"], fields["instrument"] = account, instrument
        return extra

    def crowd(self, clock: int, fair: list[float], users: int) -> list[dict[str, int]]:
        """Now and then several stops at nearly one price, each under an id of its own, some dated, some in pairs."""
        if not self.is_on or not self.does("stops", 0.05):
            return []
        k, kind, side, source = self.whole(0, len(fair) - 1), self.whole(0, 1), self.whole(0, 1), self.whole(1, 3)
        rises = (side == codes.BID) == (kind == codes.STOP)
        ticks = max(1, round(fair[k]) + (1 if rises else -1) * self.whole(1, 12))
        account, rows = codes.FIRST_USER + self.whole(0, users - 2), list[dict[str, int]]()
        if self.does("links", 0.7):  # an order at the touch, and a stop for the case that it does not fill
            self.crowded += 1
            rows.append({"order_id": 10**6 + self.crowded, "account": account, "instrument": k, "side": side,
                         "qty": self.whole(2, 20), "price": max(1, round(fair[k]) + self.whole(-2, 2))})
        for _ in range(self.whole(2, 5)):
            self.crowded += 1
            row = {"order_id": 10**6 + self.crowded, "account": account, "instrument": k, "side": side,
                   "qty": self.whole(1, 6), "trigger": source, "trigger_kind": kind,
                   "trigger_ticks": max(1, ticks + self.whole(0, 1))}
            row |= {"flags": codes.MARKET} if self.chance(0.5) else {"price": max(1, ticks + self.whole(-5, 5))}
            if self.does("dated", 0.2):
                row |= {"time_in_force": codes.GTD, "expiry_ns": clock + self.whole(1, 5_000) * MS}
            if self.does("trailing", 0.2) and kind == codes.STOP:
                row |= {"trigger_ticks": 0, "offset_ticks": self.whole(1, 12)}
            if rows and self.does("links", 0.8 if len(rows) == 1 else 0.2):
                row |= {"link_id": 10**6 + self.crowded - 1}
            else:
                account = codes.FIRST_USER + self.whole(0, users - 2)
                row |= {"account": account}
            rows.append(row)
        return rows

    def trigger(self, near: float, fields: dict[str, int]) -> dict[str, int]:
        """A trigger that mostly is not reached yet, with a limit or without one."""
        if fields["time_in_force"] == codes.GTC and not fields["flags"] & codes.POST_ONLY and self.chance(0.5):
            fields["flags"] |= codes.MARKET
        extra = {"trigger": self.whole(1, 3) if self.chance(0.98) else self.whole(-1, 5)}
        if self.does("trailing", 0.4):
            return extra | {"offset_ticks": self.whole(1, int(self.rng.choice([3, 12]))) if self.chance(0.97) else -1}
        kind = self.whole(0, 1) if self.chance(0.98) else 2
        rises = (fields["side"] == codes.BID) == (kind == codes.STOP)
        away = self.whole(0, int(self.rng.choice([3, 3, 20]))) * (1 if self.chance(0.95) else -1)
        return extra | {"trigger_kind": kind, "trigger_ticks": max(0, round(near) + (away if rises else -away))}

    def changes(self, clock: int, fair: list[float], fields: dict[str, int]) -> dict[str, int]:
        """What an AMEND may change, and now and then what it may not."""
        if "changes" not in self.features:
            return {}
        near = round(fair[self.whole(0, len(fair) - 1)])
        what = self.whole(0, 9)
        self.aim(self.dated if what < 4 else self.parked, fields)
        if what < 4:
            return {"expiry_ns": self.expiry(clock)}
        if what < 7:
            return {"trigger_ticks": max(1, near + self.whole(-15, 15))}
        if what < 9:
            return {"offset_ticks": self.whole(0, 15)}
        return {"link_id": 1} if self.chance(0.5) else {}

    def row(self, kind: int, values: dict[str, int], extra: dict[str, int]) -> tuple[Any, ...]:
        """The TERMS row before a command, as an event."""
        named = {name: values.get(name, 0) for name in ("ts_ns", "order_id", "account", "instrument")}
        pair = schema.events({**named, "kind": kind, **extra, "min_lots": extra.get("min_lots", 0)})
        row: tuple[Any, ...] = pair[0].item()
        return row
