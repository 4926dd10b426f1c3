"""The scenarios of the matrix: random campaigns under different switches, and shaped ones that a campaign seldom makes.

All are small, so that every column is affordable; the shaped ones are drawn from integers alone.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from exchange import codes, config, schema
from tests.campaign_events import MS, SECOND, USERS, generator, make_events, make_venue
from tests.desk import FIRST, INVERSE, UNIT, venue_table
from tests.determinism.play import Scenario

COUNT = 27  # scenarios with a name and a golden digest; more are campaigns of further seeds
EVENTS = 700
START_TICKS = 1_000
CAPACITY = {"accounts": 64, "positions": 256, "orders": 1_500, "external_levels": 1_000, "outcomes": 53_248}
TINY = {**CAPACITY, "positions": 30, "orders": 16, "external_levels": 12, "outcomes": 5_056}
DELAYS = {"detection_delay_ns": 20 * MS, "order_delay_ns": 30 * MS}
Row = dict[str, int]


def created(venue: config.Venue, accounts: int, money: int, opened: Iterable[Row] = ()) -> np.ndarray:
    """Creation phase: each account gets money in each asset, then a leverage and a mode in each instrument.

    Then come the OPEN_POSITION rows of `opened`; no account may be in two of them, so that their order is free.
    """
    rows: list[Row] = []
    for account in range(FIRST, FIRST + accounts):
        rows += [{"kind": codes.DEPOSIT, "instrument": k, "qty": money} for k in range(len(venue.assets))]
        for k in range(len(venue.instruments)):
            rows += [{"kind": codes.SET_LEVERAGE, "instrument": k, "qty": 1_000},
                     {"kind": codes.SET_MARGIN_MODE, "instrument": k, "qty": (account + k) // 2 % 2}]
        for row in rows[-len(venue.assets) - 2 * len(venue.instruments):]:
            row["account"] = account
    return schema.events(*({"ts_ns": SECOND, **row} for row in (*rows, *opened)))


def campaign(name: str, seed: int, events: int = EVENTS, **sections: Any) -> Scenario:
    """A random campaign (tests/campaign_events.py) with some sections of its venue given."""
    table = {**config.to_table(make_venue(seed)), "capacity": CAPACITY, **sections}
    venue = config.build_venue(table)
    return Scenario(name, venue, created(venue, USERS - 1, UNIT), make_events(venue, seed, events))


class Market:
    """Draws rows of a plain market from integers: `weights` says how often each kind of step is taken."""

    def __init__(self, venue: config.Venue, accounts: int, seed: int, weights: dict[str, int]):
        self.venue, self.accounts = venue, accounts
        self.rng = generator(seed, 3)
        self.fair = [START_TICKS] * len(venue.instruments)
        self.clock = 1_000 * SECOND
        self.steps = [name for name, weight in weights.items() for _ in range(weight)]
        self.rows: list[Row] = []

    def whole(self, low: int, high: int) -> int:
        """Uniform integer in low..high."""
        return int(self.rng.integers(low, high + 1))

    def put(self, kind: int, **fields: int) -> None:
        self.rows.append({"ts_ns": self.clock, "kind": kind, **fields})

    def account(self) -> int:
        return FIRST + self.whole(0, self.accounts - 1)

    def near(self, k: int, ticks: int) -> int:
        return self.fair[k] + self.whole(-ticks, ticks)

    def events(self, count: int) -> np.ndarray:
        for k in range(len(self.fair)):
            self.mark(k)
            self.levels(k)
        while len(self.rows) < count:
            self.clock += self.whole(0, 2) * self.whole(0, 150) * MS
            getattr(self, self.steps[self.whole(0, len(self.steps) - 1)])(self.whole(0, len(self.fair) - 1))
        return schema.events(*self.rows[:count])

    def mark(self, k: int) -> None:
        """Move the fair price by up to 3 %, back towards the start in the end; index and recorded mark follow."""
        low, high = (-30, 24) if self.fair[k] > START_TICKS else (-24, 30)
        self.fair[k] += self.fair[k] * self.whole(low, high) // 1_000
        price = self.fair[k] * self.venue.instruments[k].mark_per_tick
        self.put(codes.INDEX, instrument=k, price=price)
        self.put(codes.MARK, instrument=k, price=price + self.whole(-3, 3))

    def levels(self, k: int) -> None:
        for side in (codes.BID, codes.ASK, codes.BID, codes.ASK):
            ticks = self.fair[k] + (2 * side - 1) * self.whole(1, 6)
            self.put(codes.LEVEL_SET, instrument=k, side=side, price=ticks, qty=self.whole(0, 40), flags=codes.LAST)

    def trade(self, k: int) -> None:
        self.put(codes.NEW, account=self.account(), instrument=k, order_id=len(self.rows) + 1, side=self.whole(0, 1),
                 price=self.near(k, 6), qty=self.whole(1, 30), time_in_force=self.whole(0, 1))

    def open(self, k: int) -> None:
        buyer = self.account()
        seller = FIRST + (buyer - FIRST + self.whole(1, self.accounts - 1)) % self.accounts
        self.put(codes.OPEN_POSITION, account=buyer, order_id=seller, instrument=k, price=self.near(k, 2),
                 qty=self.whole(1, 25))

    def tape(self, k: int) -> None:
        """A recorded trade."""
        self.put(codes.TRADE_PRINT, instrument=k, side=self.whole(0, 1), price=self.near(k, 4), qty=self.whole(1, 40))

    def fund(self, k: int) -> None:
        self.put(codes.FUNDING_RATE, instrument=k, price=self.whole(-10**7, 10**7), qty=self.clock + 5 * SECOND)
        self.put(codes.FUNDING_SETTLE, instrument=k, price=self.whole(-10**7, 10**7))

    def transfer(self, k: int) -> None:
        self.put(codes.TRANSFER, account=self.account(), instrument=k, qty=self.whole(-200, 400) * UNIT + 1)

    def shift(self, k: int) -> None:
        self.put(codes.SHIFT, instrument=k, side=self.whole(0, 1), price=self.whole(-8, 8),
                 qty=self.whole(5, 12) * 100_000, flags=codes.SHIFT_BOOK)

    def clear(self, k: int) -> None:
        self.put(codes.BOOK_CLEAR, instrument=k)
        self.levels(k)


def market(name: str, table: dict[str, Any], seed: int, accounts: int = 24, money: int = 6_000 * UNIT,
           events: int = EVENTS, **weights: int) -> Scenario:
    venue = config.build_venue(table)
    made = Market(venue, accounts, seed, weights)
    return Scenario(name, venue, created(venue, accounts, money), made.events(events))


def assets_table(count: int, per_asset: int) -> dict[str, Any]:
    """A venue of several settlement assets, each with instruments of its own."""
    names = [f"A{k}" for k in range(count)]
    table = venue_table(count * per_asset, capacity=CAPACITY, liquidation=DELAYS)
    return {**table, "assets": [{"name": name, "quantum": "0.01"} for name in names],
            "instruments": [{**each, "settle": names[k % count]} for k, each in enumerate(table["instruments"])]}


def binance_table() -> dict[str, Any]:
    """The shipped profile on a ladder short enough to be copied often."""
    table = config.load_profile("binance_um")
    return {**table, "instruments": [{**table["instruments"][0], "price_max": "400"}], "capacity": CAPACITY}


def cascade() -> Scenario:
    """Equal accounts, a mark that falls and rises by steps, thin bids, a small fund: book, fund, then ADL by ties."""
    accounts, half = 60, 30
    venue = config.build_venue(venue_table(1, capacity=CAPACITY, liquidation=DELAYS))
    rows: list[Row] = [{"kind": codes.DEPOSIT, "account": codes.INSURANCE, "qty": 3_000 * UNIT},
                       {"kind": codes.INDEX, "price": 10_000}, {"kind": codes.MARK, "price": 10_000}]
    pairs = ({"kind": codes.OPEN_POSITION, "account": FIRST + k, "order_id": FIRST + half + (7 * k) % half,
              "price": START_TICKS, "qty": 20 + k % 3} for k in range(half))
    for step in range(60):
        ticks = START_TICKS - 8 * step if step < 30 else 520 + 40 * step - 1_200
        rows += [{"kind": codes.LEVEL_SET, "side": side, "price": ticks + (2 * side - 1) * 3, "qty": 9,
                  "flags": codes.LAST} for side in (codes.BID, codes.ASK)]
        rows += [{"kind": codes.MARK, "price": ticks * 10}, {"kind": codes.DEPOSIT, "account": FIRST + step % accounts,
                                                           "qty": 100 * UNIT}]
    timed = ({"ts_ns": (100 + k // 4) * SECOND // 10, **row} for k, row in enumerate(rows))
    return Scenario("cascade with ADL", venue, created(venue, accounts, 4_000 * UNIT, pairs), schema.events(*timed))


def crowd() -> Scenario:
    """One large position against 1,200 others: funding sweeps and ADL that go on beyond the 1,024 of one step."""
    others = 1_200
    capacity = {**CAPACITY, "accounts": others + 1, "positions": others + 1}
    venue = config.build_venue(venue_table(1, {"position_max": "5000"}, capacity=capacity, liquidation=DELAYS))
    rows: list[Row] = [{"kind": codes.MARK, "price": 10_000}]
    rows += [{"kind": codes.DEPOSIT, "account": FIRST, "qty": 200_000 * UNIT}]
    rows += [{"kind": codes.OPEN_POSITION, "account": FIRST, "order_id": FIRST + k, "price": START_TICKS,
              "qty": 1 + k % 2} for k in range(1, others + 1)]
    rows += [{"kind": codes.FUNDING_SETTLE, "price": rate} for rate in (1_000_001, -3_000_007, 500_009)]
    rows += [{"kind": codes.MARK, "price": price} for price in (9_900, 9_400, 8_200, 8_100, 12_000)]
    timed = ({"ts_ns": (10 + max(0, k - others)) * SECOND, **row} for k, row in enumerate(rows))
    return Scenario("crowd", venue, created(venue, others + 1, 2_000 * UNIT), schema.events(*timed))


def both_kinds(count: int) -> dict[str, Any]:
    """A venue on which every other contract is inverse."""
    table = table_of(count, capacity={**CAPACITY, "positions": 512})
    for instrument in table["instruments"][1::2]:
        instrument |= INVERSE
    return table


def table_of(count: int, **sections: Any) -> dict[str, Any]:
    return venue_table(count, **{"capacity": CAPACITY, "liquidation": DELAYS, **sections})


def named() -> Iterator[Scenario]:
    """The scenarios that are always run."""
    for seed in range(1, 9):
        yield campaign(f"campaign {seed}", seed)
    yield campaign("campaign of 9,000 events", 9, 9_000)
    yield campaign("tiny pools", 46, 2_000, capacity=TINY)
    yield campaign("shadow", 11, liquidation={**DELAYS, "mode": "shadow"})
    yield campaign("recorded mark, no delay", 12, mark={"source": "recorded"})
    yield campaign("mark at every index", 13, mark={"source": "computed", "period_ns": 0})
    yield campaign("weighted index", 21, index={"rule": "weighted", "stale_ns": SECOND, "feedback_ppm": 500_000})
    yield campaign("median index, decay", 15, index={"rule": "median"}, depth={"refill": "decay"})
    yield campaign("maker rebates", 24, fees={"maker_ppm": -150, "taker_ppm": 500, "liquidation_ppm": 15_000})
    yield cascade()
    yield crowd()
    yield market("funding sweeps", table_of(2), 1, mark=2, open=2, levels=1, fund=4)
    yield market("isolated and cross", table_of(3), 2, mark=4, open=4, trade=3, levels=2, transfer=3)
    yield market("recorded book, refill none", table_of(1), 3, money=1_500 * UNIT,
                 mark=2, trade=4, open=3, levels=6, tape=4, shift=1, clear=1)
    decay = {"refill": "decay", "half_life_ns": 2 * SECOND}
    yield market("recorded book, refill decay", table_of(1, depth=decay, mark={"source": "computed"}), 4,
                 money=1_500 * UNIT, mark=2, trade=4, open=3, levels=6, tape=4, shift=1, clear=1)
    yield market("recorded book, shadow", table_of(1, liquidation={**DELAYS, "mode": "shadow"}), 5,
                 money=1_500 * UNIT, mark=3, trade=3, open=3, levels=5, tape=2)
    impact = {"model": "shift", "shape": "square_root", "volume": "2000", "permanent_ppm": 500, "decaying_ppm": 30_000}
    answering = table_of(1, depth={"refill": "persistent"}, impact=impact, queue={"model": "power", "exponent": 3},
                         mark={"source": "computed"})
    yield market("recorded book, persistent, impact, shared queue", answering, 9, money=1_500 * UNIT,
                 mark=2, trade=4, open=3, levels=6, tape=4, shift=1, clear=1)
    yield market("twenty instruments of both kinds", both_kinds(20), 6, accounts=16, money=4_000 * UNIT,
                 mark=6, trade=6, open=4, levels=4, fund=1)
    yield market("several assets", assets_table(3, 2), 7, accounts=12, money=2_000 * UNIT,
                 mark=4, trade=3, open=4, levels=3, fund=1, transfer=1)
    yield market("binance_um", binance_table(), 8, mark=3, trade=4, open=3, levels=4, fund=1)


def scenarios(count: int = COUNT) -> list[Scenario]:
    """The first `count`: those with a name, then campaigns of further seeds."""
    found = list(named())[:count]
    return found + [campaign(f"campaign {seed}", seed) for seed in range(100, 100 + count - len(found))]
