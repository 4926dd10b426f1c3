"""A small venue, event rows and a desk that drives the kernels command by command. For tests that need no campaign."""

from typing import Any

from exchange import codes, config, schema
from exchange.venue import Exchange

SECOND = 1_000_000_000
NEVER_NS = 10**15  # a delay longer than any test
MS_DELAY = 1_000_000
UNIT = 100  # quanta of one lot moving one tick
FIRST = codes.FIRST_USER
TIERS = [{"floor": "0", "maintenance_ppm": 10_000, "leverage_max": 100},
         {"floor": "20000", "maintenance_ppm": 25_000, "leverage_max": 50},
         {"floor": "60000", "maintenance_ppm": 50_000, "leverage_max": 20},
         {"floor": "150000", "maintenance_ppm": 125_000, "leverage_max": 5}]
INSTRUMENT = {"symbol": "P", "settle": "USD", "tick": "1", "lot": "1", "price_max": "4000", "order_max": "1000",
              "position_max": "1000", "open_interest_max": "100000", "mark_per_tick": 10, "tiers": TIERS}
INVERSE = {"kind": "inverse", "multiplier": "1000000"}  # a lot at 1,000 ticks is worth what a linear one is
COUNTERS = ("event_seq", "outcome_seq", "next_event", "guard_checks", "rejected")
CAPACITY = {"accounts": 64, "positions": 256, "orders": 256, "external_levels": 256, "outcomes": 8_192}


def venue_table(count: int = 1, instrument: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    """A plain venue table of `count` equal instruments; `instrument` and `sections` replace defaults field by field."""
    capacity = {**CAPACITY, **sections.pop("capacity", {})}
    return {"name": "desk", "assets": [{"name": "USD", "quantum": "0.01"}],
            "instruments": [{**INSTRUMENT, **(instrument or {}), "symbol": f"P{k}"} for k in range(count)],
            "mark": {"source": "recorded"}, "fees": {"maker_ppm": 200, "taker_ppm": 500}, "capacity": capacity,
            **sections}


def every_byte(state: Any) -> dict[str, bytes]:
    """The whole state as bytes but for the counters, the outbox and work space: free lists, links, guards included."""
    control = state.io.control.copy()
    for name in COUNTERS:
        control[name] = 0
    groups = (state.book, state.ledger, state.guards, state.prices)
    parts = {name: array.tobytes() for group in groups for name, array in group._asdict().items()
             if name != "losses"}
    return {**parts, "control": control.tobytes(), "timers": state.io.timers.tobytes(),
            "order_timers": state.io.order_timers.tobytes(),
            **{f"trigger {name}": array.tobytes() for name, array in state.triggers._asdict().items()}}


class Desk:
    """A venue driven one command at a time; each command returns its outcomes as dicts. `made` chooses which venue."""

    def __init__(self, count: int = 1, instrument: dict[str, Any] | None = None, made: Any = Exchange, **sections: Any):
        self.exchange = made(config.build_venue(venue_table(count, instrument, **sections)))
        self.clock = SECOND

    @property
    def state(self) -> Any:
        return self.exchange.state

    def drain(self) -> list[dict[str, int]]:
        return [dict(zip(schema.OUTCOME.names, row, strict=True)) for row in self.exchange.outcomes().tolist()]

    def send(self, kind: int, **fields: int) -> list[dict[str, int]]:
        self.clock = fields.get("ts_ns", self.clock)
        self.exchange.submit(schema.events({"ts_ns": self.clock, "kind": kind, **fields}))
        self.exchange.run()
        return self.drain()

    def code(self, kind: int, **fields: int) -> int:
        """Code of the command's RESULT; OK where it gives none."""
        return next((row["code"] for row in self.send(kind, **fields) if row["kind"] == codes.RESULT), codes.OK)

    def settle(self) -> list[dict[str, int]]:
        """Fire every timer due at the present time."""
        self.exchange.run(self.clock + 1)
        return self.drain()

    def fund(self, *accounts: int, money: int = 1_000_000) -> None:
        for account in accounts:
            assert self.code(codes.DEPOSIT, account=account, qty=money) == codes.OK

    def mark(self, ticks: int, instrument: int = 0, sub: int = 0) -> list[dict[str, int]]:
        return self.send(codes.MARK, instrument=instrument, price=ticks * INSTRUMENT["mark_per_tick"] + sub)

    def seed(self, buyer: int, seller: int, ticks: int, lots: int, instrument: int = 0) -> int:
        return self.code(codes.OPEN_POSITION, account=buyer, order_id=seller, price=ticks, qty=lots,
                         instrument=instrument)

    def new(self, account: int, order_id: int, side: int, ticks: int, lots: int, **fields: int) -> int:
        return self.code(codes.NEW, account=account, order_id=order_id, side=side, price=ticks, qty=lots, **fields)

    def level(self, side: int, ticks: int, lots: int, **fields: int) -> int:
        return self.code(codes.LEVEL_SET, side=side, price=ticks, qty=lots, flags=codes.LAST, **fields)

    def slot(self, account: int, instrument: int = 0) -> int:
        """Position slot of an account, 0 = none."""
        positions = self.state.ledger.positions
        p = int(self.exchange.wallet(account)["first_position"])
        while p and positions[p]["instrument"] != instrument:
            p = int(positions[p]["next"])
        return p
