"""What changes the health of units: drawn here, in one place, for the worlds of every guard test. DESIGN §6.

A kind of change is drawn where the venue has what it needs: options for volatility and for time alone, holdings for
their prices and haircuts, marks that read the book for its depth. Tests count by kind what a change breached.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from exchange import codes
from exchange.venue import Exchange
from tests.desk import SECOND

TOP, PER_TICK, START = 400, 2, 100  # a small ladder: prices in ticks, sub-ticks of a tick
HOUR_NS = 3_600 * SECOND
INTERVAL_NS = 8 * HOUR_NS
RATE_PPB = 200_000_000  # of an interval, so that a funding basis moves marks by whole ticks
SPREAD = 6  # ticks from the middle to the last level of a thin book
WEIGHTS = {"mark": 0.45, "edge": 0.08, "trade": 0.1, "fees": 0.15, "tiers": 0.3, "margin": 0.06, "cash": 0.06,
           "funding": 0.04, "leverage": 0.02, "volatility": 0.12, "time": 0.16, "asset": 0.06, "collateral": 0.1,
           "haircut": 0.06, "depth": 0.14, "mode": 0.12}
HARMLESS = ("leverage",)  # changes no maintenance of anybody


class Changes:
    """Events that change health, at a clock of their own; `rules` (a list, by instrument) hear of terms they change.

    Every draw is at most one event that units feel, or one timer: what is between two checks nobody sees.
    """

    def __init__(self, rng: np.random.Generator, exchange: Exchange, rules: Any, accounts: range):
        self.rng, self.exchange, self.rules, self.accounts = rng, exchange, rules, accounts
        self.now_ns = SECOND
        venue = exchange.venue
        kinds = [instrument.kind for instrument in venue.instruments]
        self.spots = [k for k, kind in enumerate(kinds) if kind == "spot"]
        self.options = [k for k, kind in enumerate(kinds) if kind == "option"]
        self.contracts = [k for k, kind in enumerate(kinds) if kind not in ("spot", "option")]
        self.computed = venue.mark.source == "computed"
        self.period_ns = venue.mark.option_period_ns
        self.ends = sorted({instrument.life.expiry_ns for instrument in venue.instruments if instrument.life.expiry_ns})
        margins = {k: venue.instruments[k].margin for k in self.contracts}
        self.charging = [k for k, margin in margins.items() if margin.closing_fee == "taker"]
        self.tabled = [k for k, margin in margins.items() if margin.tier_sets]
        able = {"volatility": self.options, "time": self.options or self.computed, "asset": self.spots,
                "collateral": self.spots, "haircut": self.spots, "depth": self.computed,
                "mode": venue.portfolio_margin.groups, "fees": self.charging, "tiers": self.tabled}
        self.names = [name for name in WEIGHTS if able.get(name, True)]
        weights = np.array([WEIGHTS[name] for name in self.names])
        self.chances = weights / weights.sum()

    def draw(self) -> tuple[str, list[dict[str, int]]]:
        """A kind, and its rows, which are all of the present time."""
        name = str(self.rng.choice(self.names, p=self.chances))
        return name, [{"ts_ns": self.now_ns, **row} for row in getattr(self, name)()]

    def whole(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high))

    def one_of(self, choices: Any) -> int:
        return int(choices[self.whole(0, len(choices))])

    def price(self, k: int) -> int:
        """What a price row last said of an instrument, in sub-ticks."""
        market = self.exchange.markets[k]
        reads_index = self.computed or k in self.spots
        return int(market["index_sub" if reads_index else "mark_sub"])

    def priced(self, k: int, price: int) -> dict[str, int]:
        """The row that moves an instrument's mark."""
        kind = codes.INDEX if self.computed or k in self.spots else codes.MARK
        return {"kind": kind, "instrument": k, "price": max(PER_TICK, min(TOP * PER_TICK, price))}

    def moved(self, k: int) -> dict[str, int]:
        price = self.price(k)
        step = self.whole(-4, 5) if self.rng.random() < 0.65 else int(price * self.rng.uniform(-0.18, 0.22))
        return self.priced(k, price + step)

    def mark(self) -> Iterator[dict[str, int]]:
        yield self.moved(self.one_of(self.contracts))

    def collateral(self) -> Iterator[dict[str, int]]:
        yield self.moved(self.one_of(self.spots))

    def edge(self) -> Iterator[dict[str, int]]:
        yield self.at_edge(self.one_of(self.contracts))

    def haircut(self) -> Iterator[dict[str, int]]:
        yield self.at_edge(self.one_of(self.spots))

    def at_edge(self, k: int) -> dict[str, int]:
        """A price at which somebody's notional stands at a floor of the table in force, or a sub-tick beside it."""
        record, tiers = self.exchange.state.prices.instruments[k], self.exchange.state.prices.tiers
        first, count = int(record["tier_base"]), int(record["tier_count"])
        held = [abs(int(p["lots"])) for account in self.accounts
                if (p := self.exchange.position(account, k)) is not None and p["lots"]]
        if count < 2 or not held:
            return self.moved(k)
        floor, size = int(tiers[first + self.whole(1, count)]["floor"]), self.one_of(held) * int(record["mark_unit"])
        inverse = int(record["kind"]) == codes.INVERSE
        return self.priced(k, (size // floor if inverse else -(-floor // size)) + self.whole(-1, 2))

    def trade(self) -> Iterator[dict[str, int]]:
        """Two accounts trade near the mark: the open interest changes too."""
        k = self.one_of(self.contracts + self.options)
        buyer, seller = (int(account) for account in self.rng.choice(self.accounts, 2, replace=False))
        unit = int(self.exchange.state.prices.instruments[k]["mark_per_tick"])
        ticks = int(self.exchange.markets[k]["mark_sub"]) // unit + self.whole(-3, 4)
        yield {"kind": codes.OPEN_POSITION, "account": buyer, "order_id": seller, "price": max(1, min(TOP, ticks)),
               "instrument": k, "qty": self.one_of([1, 30, 180])}

    def fees(self) -> Iterator[dict[str, int]]:
        k = self.one_of(self.charging)
        self.rules[k].taker = self.whole(200, 30_000)
        yield {"kind": codes.SET_FEES, "instrument": k, "price": 0, "qty": self.rules[k].taker}

    def tiers(self) -> Iterator[dict[str, int]]:
        k = self.one_of(self.tabled)
        self.rules[k].chosen = self.whole(0, len(self.rules[k].tables))
        yield {"kind": codes.SET_TIERS, "instrument": k, "qty": self.rules[k].chosen}

    def margin(self) -> Iterator[dict[str, int]]:
        """Out of an isolated position's margin or into it, mostly small."""
        isolated = [(account, k) for account in self.accounts for k in self.contracts
                    if (p := self.exchange.position(account, k)) is not None and p["mode"] == codes.ISOLATED]
        account, k = isolated[self.whole(0, len(isolated))] if isolated else (self.accounts[0], 0)
        yield {"kind": codes.TRANSFER, "account": account, "instrument": k,
               "qty": self.one_of([-1, 1]) * int(np.exp(self.rng.uniform(3, 13)))}

    def cash(self) -> Iterator[dict[str, int]]:
        kind = codes.WITHDRAW if self.rng.random() < 0.7 else codes.DEPOSIT
        yield {"kind": kind, "account": self.one_of(self.accounts), "qty": self.whole(1, 50_000)}

    def funding(self) -> Iterator[dict[str, int]]:
        """Money is paid; where marks are made the rate changes too, which they hear of when they are made again."""
        if self.computed:
            yield {"kind": codes.FUNDING_RATE, "instrument": self.one_of(self.contracts),
                   "price": self.one_of([-RATE_PPB, RATE_PPB]), "qty": self.now_ns + INTERVAL_NS}
        yield {"kind": codes.FUNDING_SETTLE, "instrument": self.one_of(self.contracts),
               "price": self.whole(-4 * 10**7, 4 * 10**7)}

    def leverage(self) -> Iterator[dict[str, int]]:
        yield {"kind": codes.SET_LEVERAGE, "account": self.one_of(self.accounts),
               "instrument": self.one_of(self.contracts), "qty": self.one_of([100, 400, 1_000])}

    def volatility(self) -> Iterator[dict[str, int]]:
        yield {"kind": codes.VOLATILITY, "instrument": self.one_of(self.options),
               "price": int(np.exp(self.rng.uniform(10, 15.5)))}

    def time(self) -> Iterator[dict[str, int]]:
        """To the next timer, a refresh of options or the end of one; without options to where a basis has shrunk."""
        if not self.options:
            self.now_ns += self.whole(1, 4) * HOUR_NS
            k = self.one_of(self.contracts)
            yield self.priced(k, self.price(k))  # says nothing new: the mark is made again
            return
        ticks = (self.now_ns // self.period_ns + 1) * self.period_ns
        self.now_ns = min([ticks, *(end for end in self.ends if end > self.now_ns)])

    def asset(self) -> Iterator[dict[str, int]]:
        kind = codes.WITHDRAW_ASSET if self.rng.random() < 0.7 else codes.DEPOSIT_ASSET
        yield {"kind": kind, "account": self.one_of(self.accounts), "instrument": self.one_of(self.spots),
               "qty": self.whole(1, 60)}

    def depth(self) -> Iterator[dict[str, int]]:
        """Another book round the index, thin or deep, and the same index again, at which the mark is made."""
        k = self.one_of(self.contracts)
        price = self.price(k)
        yield from self.book(k, price // PER_TICK)
        yield self.priced(k, price)

    def book(self, k: int, middle: int) -> Iterator[dict[str, int]]:
        """Levels whose lots and distance differ by side, so that a price of some depth is not the middle."""
        yield {"kind": codes.BOOK_CLEAR, "instrument": k}
        for side, away in ((codes.BID, -1), (codes.ASK, 1)):
            for distance in sorted({self.whole(1, SPREAD), SPREAD * self.whole(2, 5)}):
                yield {"kind": codes.LEVEL_SET, "instrument": k, "side": side, "qty": self.one_of([1, 5, 40, 900]),
                       "price": max(1, min(TOP, middle + away * distance))}

    def mode(self) -> Iterator[dict[str, int]]:
        mode = codes.PORTFOLIO if self.rng.random() < 0.7 else codes.CROSS
        yield {"kind": codes.SET_MARGIN_MODE, "account": self.one_of(self.accounts),
               "instrument": self.one_of(self.contracts), "qty": mode}
