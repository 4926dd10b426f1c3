"""Seeded random venues and event streams for differential tests, biased so that liquidations and refusals happen."""

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from exchange import codes, config, schema
from tests.campaign_backstop import Backers, add_backstop
from tests.campaign_closing import add_closing
from tests.campaign_collateral import Holdings, add_collateral
from tests.campaign_grid import Portfolios, add_grid
from tests.campaign_icebergs import Icebergs, add_icebergs
from tests.campaign_lives import Settlements, add_lives
from tests.campaign_margin import Margins, add_margins
from tests.campaign_options import Volatilities, add_options
from tests.campaign_owners import Owners, add_rules
from tests.campaign_pegs import Pegs, add_pegs
from tests.campaign_pricing import SignedSources, add_pricing
from tests.campaign_stages import Takers, add_stages
from tests.campaign_terms import TermsDrawer
from tests.campaign_waterfall import add_waterfall

MS = 1_000_000
SECOND = 1_000 * MS
UNIT = 100  # quanta in one unit of money, and in one lot moving one tick
START_TICKS = 1_000
TICKS_MAX = 4_000
USERS = 16
TIERS = [{"floor": "0", "maintenance_ppm": 10_000, "leverage_max": 50},
         {"floor": "20000", "maintenance_ppm": 25_000, "leverage_max": 20},
         {"floor": "60000", "maintenance_ppm": 50_000, "leverage_max": 10},
         {"floor": "150000", "maintenance_ppm": 125_000, "leverage_max": 4}]
INVERSE = {"kind": "inverse", "multiplier": str(START_TICKS * START_TICKS)}  # first worth what a linear one is
CONSTITUENTS = [{"name": "a", "weight_ppm": 500_000}, {"name": "b", "weight_ppm": 300_000},
                {"name": "c", "weight_ppm": 200_000}]


def generator(seed: int, purpose: int) -> np.random.Generator:
    """A Philox stream of its own for each seed and purpose."""
    return np.random.Generator(np.random.Philox(key=[seed, purpose]))


def make_venue(seed: int) -> config.Venue:
    """A small world whose switches are drawn from the seed."""
    rng = generator(seed, 1)

    def pick(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    sessions = make_sessions(seed)
    assets = pick(["USD"], ["USD", "COIN"])
    instruments = [{"symbol": f"P{k}", "settle": pick(*assets), "tick": "1", "lot": "1", "price_max": str(TICKS_MAX),
                    "price_min": pick("1", "1", "250"), **pick({}, INVERSE),
                    "order_max": pick("100", "200"), "position_max": pick("60", "150", "400"),
                    "open_interest_max": pick("250", "4000", "4000"), "mark_per_tick": pick(1, 10, 100),
                    "market_band_ppm": pick(5_000, 50_000), "tiers": TIERS[:pick(3, 4)],
                    "constituents": CONSTITUENTS[:]} for k in range(pick(1, 2, 2, 3))]
    table = {
        **sessions, "name": f"campaign-{seed}", "assets": [{"name": name, "quantum": "0.01"} for name in assets],
        "instruments": instruments,
        "fees": {"maker_ppm": pick(-150, 0, 200), "taker_ppm": pick(150, 500),
                 "liquidation_ppm": pick(0, 5_000, 15_000)},
        "index": {"rule": pick("composite", "median", "weighted"), "stale_ns": pick(100 * MS, 10 * SECOND),
                  "outlier_ppm": pick(5_000, 50_000), "feedback_ppm": pick(0, 300_000)},
        "mark": {"source": pick("recorded", "computed"), "period_ns": pick(0, 200 * MS, SECOND),
                 "samples": pick(1, 5, 30)},
        "funding": {"interval_ns": pick(10 * SECOND, 3_600 * SECOND)},
        "depth": {"refill": pick("none", "decay", "persistent"), "half_life_ns": pick(800 * MS, 8 * SECOND)},
        "impact": {"model": pick("none", "shift", "shift"), "shape": pick("linear", "square_root"),
                   "flow": pick("all", "all", "forced"), "volume": pick("1", "100", "100", "2000"),
                   "permanent_ppm": pick(0, 500, 3_000), "decaying_ppm": pick(10_000, 30_000, 30_000, 1_000_000),
                   "half_life_ns": pick(SECOND, 20 * SECOND), "period_ns": pick(50 * MS, SECOND)},
        "queue": {"model": pick("whole_level", "risk_averse", "proportional", "power"), "exponent": pick(2, 3, 6)},
        "liquidation": {**sessions["liquidation"], "mode": pick("overlay", "overlay", "shadow"),
                        "detection_delay_ns": pick(0, 0, 30 * MS, 400 * MS),
                        "order_delay_ns": pick(0, 20 * MS, 300 * MS)},
        "capacity": {"accounts": 64, "positions": 1_000, "orders": 20_000, "external_levels": 8_000,
                     "outcomes": 1 << 17},
        **gate_sections(seed),
    }
    for add in (add_rules, add_icebergs, add_pegs, add_pricing, add_margins, add_lives, add_options, add_collateral,
                add_grid, add_stages, add_waterfall, add_backstop, add_closing):
        table = add(table, seed)
    return config.build_venue(table)


def make_sessions(seed: int) -> dict[str, Any]:
    """Guards on orders and auctions, each absent in half of the seeds."""
    rng = generator(seed, 24)

    def pick(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    guards = {"collar_ppm": pick(0, 20_000, 100_000), "fat_finger_ppm": pick(0, 10_000, 50_000),
              "notional_min": pick("", "2000"), "notional_max": pick("", "30000"), "order_min": pick("", "2"),
              "price_step_ticks": pick(0, 0, 2), "lot_step": pick("", "", "2"), "open_orders": pick(0, 2, 6)}
    auction = {"price": pick("reference", "midpoint"), "pressure_limit_ppm": pick(0, 1_000, 50_000),
               "indicative_period_ns": pick(0, 100 * MS, SECOND), "opening": pick(False, False, True),
               "dynamic_ppm": pick(0, 3_000, 20_000), "static_ppm": pick(0, 10_000, 50_000),
               "reference_period_ns": pick(0, 3 * SECOND), "duration_ns": pick(50 * MS, 2 * SECOND),
               "extension_ns": pick(50 * MS, SECOND), "extensions_max": pick(0, 1, 3)}
    liquidation = {"in_auction": pick("wait", "join")}
    chosen = {"orders": guards if pick(0, 1) else {}, "auction": auction if pick(0, 1) else {}}
    if pick(0, 1, 1) and chosen["auction"]:
        chosen["auction"].update(dynamic_ppm=0, static_ppm=0)
    return {**chosen, "liquidation": liquidation}


def gate_sections(seed: int) -> dict[str, Any]:
    """Throttles with bans in an eighth of the seeds, a gateway queue in an eighth, some with both: they refuse much."""
    rng = generator(seed, 25)

    def pick(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    def weights() -> dict[str, int]:
        return {name: pick(1, 1, 2) for name in ("new", "amend", "cancel", "cancel_all")}

    sections: dict[str, Any] = {}
    if rng.random() < 0.13:
        sections["throttles"] = [
            {"kind": kind, "scope": pick("account", "group"), "counts": pick("orders", "cancels", "all", "all"),
             "capacity": pick(2, 3, 8, 30), "refill": pick(1, 3, 7) if kind == "bucket" else 0,
             "interval_ns": pick(100 * MS, SECOND, SECOND, 7 * SECOND), "weights": weights()}
            for kind in (pick("bucket", "window") for _ in range(pick(1, 2, 2, 3)))]
        sections["penalty"] = {"violations": pick(0, 2, 3, 5), "interval_ns": pick(200 * MS, 5 * SECOND),
                               "ban_ns": pick(50 * MS, SECOND), "ban_max_ns": pick(SECOND, 3 * SECOND),
                               "forget_ns": pick(0, SECOND, 60 * SECOND), "cancels_exempt": pick(True, False)}
    elif rng.random() < 0.1:
        sections["penalty"] = {"count_quotes": True}
    if rng.random() < 0.13:
        sections["gateway"] = {"service_ns": pick(1, MS, 5 * MS, 40 * MS), "weights": weights(), "depth": pick(1, 3, 12, 50),
                               "reserved": pick(0, 1, 4), "exempt": pick([], ["cancels"], ["closes"], ["cancels", "closes"])}
    slide(sections.get("throttles", []), generator(seed, 42))
    return sections


def slide(throttles: list[dict[str, Any]], rng: np.random.Generator) -> None:
    """In half of the seeds that throttle, some limits slide."""
    if rng.random() < 0.5:
        for throttle in throttles:
            if rng.random() < 0.7:
                throttle.update(kind="sliding", refill=0)


def make_events(venue: config.Venue, seed: int, n: int) -> np.ndarray:
    """`n` events, seq 1..n, times sorted but for the rare row that is out of order on purpose."""
    return Stream(venue, seed).take(n)


class RestingKinds:
    """What of §3.6 the stream of a seed has; drawn apart, so that the rest of the stream stays as it is."""

    def __init__(self, seed: int):
        self.rng = generator(seed, 23)
        self.masses = self.rng.random() < 0.5

    def mass_cancel(self, account: int) -> dict[str, int]:
        """A CANCEL_ALL of one side or both, at times the venue's own."""
        if not self.masses:
            return {"account": account}
        return {"account": 0 if self.rng.random() < 0.3 else account, "qty": int(self.rng.integers(0, 3))}


class Stream:
    """Draws one command after another; keeps what it needs to make the next one meet the ones before."""

    def __init__(self, venue: config.Venue, seed: int):
        self.venue = venue
        self.rng = generator(seed, 2)
        self.owners = Owners(venue, seed)
        self.rows: list[tuple[int, ...]] = []
        self.clock = 1_000 * SECOND
        self.pace = int(self.pick(5, 50, 300)) * MS
        self.fair = [float(START_TICKS)] * len(venue.instruments)
        self.drift = [0.0] * len(venue.instruments)
        self.levels: list[set[tuple[int, int]]] = [set() for _ in venue.instruments]
        self.bias = [float(self.rng.uniform(0.1, 0.9)) for _ in range(USERS)]
        self.owner: dict[int, int] = {}
        self.resting: deque[int] = deque(maxlen=24)
        self.order_count = 0
        self.resting_kinds = RestingKinds(seed)
        self.icebergs = Icebergs(venue, seed)
        self.pegs = Pegs(venue, seed)
        self.settlements = Settlements(venue, seed)
        self.volatilities = Volatilities(venue, seed)
        self.margins = Margins(venue, seed)
        self.holdings = Holdings(venue, seed)
        self.portfolios = Portfolios(venue, seed)
        self.takers = Takers(venue, seed)
        self.backers = Backers(venue, seed)
        self.signed = SignedSources(seed)
        self.terms = TermsDrawer(generator(seed, 22))
        weights: dict[Callable[[], None], float] = {
            self.new: 30, self.amend: 6, self.cancel: 4, self.cancel_all: 1, self.ladder: 7,
            self.crowd: 3, self.print_trade: 6, self.prices: 12, self.funding: 2, self.shift: 0.6, self.clear: 0.3,
            self.deposit: 3, self.withdraw: 2, self.leverage: 2, self.mode: 2, self.transfer: 3, self.seed_position: 5,
            self.fees: 0.3, self.halt: 0.5, self.malformed: 6}
        if venue.throttles or venue.gateway.service_ns:
            weights |= {self.burst: 3, self.throttle: 0.5}
        self.makers = list(weights)
        swarm = np.array(list(weights.values())) * self.rng.choice([0.4, 1.0, 1.0, 2.5], len(weights))
        self.chances = swarm / swarm.sum()
        self.sessions, self.groups = generator(seed, 124), generator(seed, 142)
        self.session_rate = float(self.sessions.choice([0.0, 0.0, 0.01, 0.04]))
        self.pauses = generator(seed, 163)
        self.pause_rate = float(self.pauses.choice([0.0, 0.0, 0.0, 0.02]))

    def take(self, n: int) -> np.ndarray:
        """The first `n` events."""
        self.begin()
        while len(self.rows) < n:
            self.step()
        return np.array(self.rows[:n], schema.EVENT)

    def pick(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def chance(self, probability: float) -> bool:
        return float(self.rng.random()) < probability

    def whole(self, low: int, high: int) -> int:
        """Uniform integer in low..high."""
        return int(self.rng.integers(low, high + 1))

    def user(self) -> int:
        return codes.FIRST_USER + self.whole(0, USERS - 1)

    def instrument(self) -> int:
        return self.whole(0, len(self.fair) - 1)

    def asset(self) -> int:
        return self.whole(0, len(self.venue.assets) - 1)

    def put(self, kind: int, **fields: int) -> None:
        """Append a row; fields that are not named are 0."""
        if kind in (codes.NEW, codes.AMEND):
            extra = self.terms.draw(kind, self.clock, self.fair, fields) | self.owners.mode()
            extra |= self.icebergs.display(kind, fields)
            extra |= self.pegs.peg(kind, fields, extra)
            if "link_id" in extra and kind == codes.NEW:
                self.owner[fields["order_id"]] = fields["account"]
            if extra:
                self.rows.append(self.terms.row(kind, {"ts_ns": self.clock, **fields}, extra))
        values = {"ts_ns": self.clock, "seq": len(self.rows) + 1, "kind": kind, **fields}
        self.rows.append(tuple(values.get(name, 0) for name in schema.EVENT.names))

    def step(self) -> None:
        """One command (or one burst of recorded rows) at a time that often equals the one before."""
        if self.chance(0.4):
            self.clock += int(self.rng.exponential(self.pace))
        self.rows += self.owners.beside(self.clock, self.fair)
        self.rows += self.pegs.beside(self.clock, self.fair, USERS)
        for row in (*self.settlements.beside(self.clock, self.venue, self.fair), *self.volatilities.beside(self.fair)):
            self.put(**row)
        self.rows += self.margins.beside(self.clock)
        self.rows += self.holdings.beside(self.clock, self.fair, USERS)
        self.rows += self.portfolios.beside(self.clock, USERS)
        self.rows += self.takers.beside(self.clock, USERS)
        self.rows += self.backers.beside(self.clock)
        self.makers[int(self.rng.choice(len(self.makers), p=self.chances))]()
        for row in self.terms.crowd(self.clock, self.fair, USERS):
            self.owner[row["order_id"]] = row["account"]
            self.resting.append(row["order_id"])
            self.rows.extend(schema.events({"ts_ns": self.clock, "kind": codes.NEW, **row}).tolist())
        if self.sessions.random() < self.session_rate:
            self.session()
        if self.pauses.random() < self.pause_rate:
            self.put(codes.ENGINE_PAUSE, qty=int(self.pauses.choice([0, 1, MS, SECOND, 20 * SECOND])))

    def session(self) -> None:
        """A market changes its state; what begins an auction or a halt is often followed by its end."""
        k, pick = int(self.sessions.integers(len(self.fair))), self.sessions.choice
        price = round(self.fair[k]) + int(self.sessions.integers(-20, 20)) if self.sessions.random() < 0.2 else 0
        kind = int(pick([codes.SET_STATE, codes.SET_STATE, codes.RESUME, codes.AUCTION_START, codes.AUCTION_START,
                         codes.AUCTION_END, codes.AUCTION_END]))
        qty = int(self.sessions.integers(0, 7)) % 6 if kind == codes.SET_STATE else int(pick([0, 0, 30 * MS, SECOND]))
        self.put(kind, instrument=k, price=price, qty=qty)

    def begin(self) -> None:
        """Fund the accounts, set prices and books; a few commands come too early on purpose."""
        for _ in range(3):
            self.new()
        for account in range(codes.FIRST_USER, codes.FIRST_USER + USERS - 1):
            for asset in range(len(self.venue.assets)):
                self.put(codes.DEPOSIT, account=account, instrument=asset, qty=self.whole(500, 15_000) * UNIT)
        for asset in range(len(self.venue.assets)):
            self.put(codes.DEPOSIT, account=codes.INSURANCE, instrument=asset, qty=self.whole(1, 1_500) * UNIT)
        for _ in range(USERS):
            self.rows += self.owners.groups(self.clock, 0.8)
        for _ in range(3):
            self.new()
        self.rows += self.holdings.opening(self.clock, USERS)
        self.rows += self.portfolios.opening(self.clock, USERS)
        self.seed_position()
        for k in range(len(self.fair)):
            self.quote_prices(k)
            self.quote_levels(k, 8)
        for _ in range(2 * USERS):
            self.leverage()
            self.mode()

    # --- orders ------------------------------------------------------------------------------------------

    def order_id(self) -> int:
        if self.resting and self.chance(0.08):
            return self.recent_id()
        self.order_count += 1
        return self.order_count

    def recent_id(self) -> int:
        return self.resting[-self.whole(1, min(len(self.resting), self.pick(3, 8, 24)))]

    def ticks_near(self, k: int, spread: int) -> int:
        return max(1, min(TICKS_MAX, round(self.fair[k]) + self.whole(-spread, spread)))

    def new(self) -> None:
        account, k, order_id = self.user(), self.instrument(), self.order_id()
        self.owner.setdefault(order_id, account)
        side = codes.BID if self.chance(self.bias[account - codes.FIRST_USER]) else codes.ASK
        time_in_force = self.pick(codes.GTC, codes.GTC, codes.GTC, codes.IOC, codes.FOK)
        flags = codes.REDUCE_ONLY if self.chance(0.35) else 0
        if time_in_force == codes.GTC and self.chance(0.2):
            flags |= codes.POST_ONLY
        elif self.chance(0.15):
            flags |= codes.MARKET
        if time_in_force == codes.GTC and not flags & codes.MARKET:
            self.resting.append(order_id)
        self.put(codes.NEW, account=account, instrument=k, order_id=order_id, side=side, flags=flags,
                 time_in_force=time_in_force, price=self.ticks_near(k, self.pick(3, 8, 40)),
                 qty=self.whole(1, self.pick(3, 20, 60)))

    def named(self) -> dict[str, int]:
        """Id and account of an order that may still live; sometimes of another account."""
        order_id = self.recent_id() if self.resting else 1
        return {"order_id": order_id, "account": self.user() if self.chance(0.05) else self.owner.get(order_id, 0)}

    def amend(self) -> None:
        price = 0 if self.chance(0.5) else self.ticks_near(self.instrument(), 8)
        self.put(codes.AMEND, price=price, qty=self.whole(1, self.pick(3, 20, 60)), **self.named())

    def cancel(self) -> None:
        self.put(codes.CANCEL, **self.named())

    def cancel_all(self) -> None:
        account, instrument = self.user(), self.pick(-1, self.instrument())
        self.put(codes.CANCEL_ALL, instrument=instrument, **(self.resting_kinds.mass_cancel(account)))

    # --- recorded market -----------------------------------------------------------------------------------

    def ladder(self) -> None:
        self.quote_levels(self.instrument(), self.whole(1, 5))

    def quote_levels(self, k: int, count: int) -> None:
        """A message of level rows around the fair price; levels left on its wrong side often go."""
        mid = round(self.fair[k])
        wrong = [(side, ticks) for side, ticks in sorted(self.levels[k]) if (ticks - mid) * (1 - 2 * side) > 0]
        changes = [(side, ticks, 0) for side, ticks in wrong[:3] if self.chance(0.6)]
        for _ in range(count):
            side = self.whole(0, 1)
            ticks = mid + (2 * side - 1) * self.whole(1, 6)
            changes.append((side, ticks, 0 if self.chance(0.15) else self.whole(1, self.pick(5, 50))))
        for place, (side, ticks, lots) in enumerate(changes):
            (self.levels[k].add if lots else self.levels[k].discard)((side, ticks))
            flags = codes.LAST if place == len(changes) - 1 and self.chance(0.9) else 0
            flags |= codes.EXTRAPOLATED if self.chance(0.1) else 0
            self.put(codes.LEVEL_SET, instrument=k, side=side, price=ticks, qty=lots, flags=flags)

    def crowd(self) -> None:
        """Orders, updates and prints in turn at the price of one recorded level."""
        k = self.instrument()
        side, ticks = self.pick(*sorted(self.levels[k] or {(0, round(self.fair[k]))}))
        for _ in range(self.whole(4, 12)):
            what = self.whole(0, 5)
            if what < 2:
                account, order_id = self.user(), self.order_id()
                self.owner.setdefault(order_id, account)
                self.resting.append(order_id)
                self.put(codes.NEW, account=account, instrument=k, order_id=order_id, side=side, price=ticks,
                         qty=self.whole(1, 5), flags=codes.POST_ONLY)
            elif what < 5:
                self.levels[k].add((side, ticks))
                self.put(codes.LEVEL_SET, instrument=k, side=side, price=ticks, qty=self.whole(1, 60), flags=codes.LAST)
            else:
                self.put(codes.TRADE_PRINT, instrument=k, side=1 - side, price=ticks, qty=self.whole(1, 15))
            if self.chance(0.2):
                self.cancel()

    def print_trade(self) -> None:
        k = self.instrument()
        self.put(codes.TRADE_PRINT, instrument=k, side=self.whole(0, 1), price=self.ticks_near(k, 4),
                 qty=self.whole(1, self.pick(5, 80)), flags=codes.EVIDENCE if self.chance(0.1) else 0)

    def prices(self) -> None:
        """Move the fair price: drift, noise, at times a jump; it stays well inside the ladder."""
        k = self.instrument()
        if self.chance(0.03):
            self.drift[k] = float(self.rng.normal(0, 0.004))
        change = self.drift[k] + float(self.rng.normal(0, 0.003))
        if self.chance(0.04):
            change += self.pick(-1, 1) * float(self.rng.uniform(0.02, 0.12))
        pull = 0.01 * (START_TICKS / self.fair[k] - 1)
        self.fair[k] = min(3_000.0, max(300.0, self.fair[k] * (1 + change + pull)))
        self.quote_prices(k)
        if self.chance(0.5):
            self.quote_levels(k, self.whole(2, 5))

    def quote_prices(self, k: int) -> None:
        """Index rows, each constituent with its own noise and rarely far off, then a recorded mark."""
        price, constituents = self.fair[k] * self.venue.instruments[k].mark_per_tick, self.venue.instruments[k].constituents
        for source in range(1, 4):
            is_outside = source <= len(constituents) and constituents[source - 1].use == "mark"
            if (is_outside or self.venue.index.rule != "composite") and self.chance(0.7):
                noise = 1 + float(self.rng.normal(0, 0.0005)) + (0.1 if self.chance(0.03) else 0)
                self.put(codes.INDEX, instrument=k, order_id=source, price=self.signed.price(max(1, round(price * noise))))
        if self.venue.index.rule == "composite":
            self.put(codes.INDEX, instrument=k, price=max(1, round(price)))
        if self.venue.mark.source == "recorded" or self.chance(0.2):
            self.put(codes.MARK, instrument=k, price=max(1, round(price * (1 + float(self.rng.normal(0, 0.001))))))

    def funding(self) -> None:
        k, rate = self.instrument(), self.whole(-20_000_000, 20_000_000)
        if self.chance(0.5):
            self.put(codes.FUNDING_RATE, instrument=k, price=rate, qty=self.clock + self.whole(-1, 20) * SECOND)
        else:
            self.put(codes.FUNDING_SETTLE, instrument=k, price=rate)

    def shift(self) -> None:
        flags = self.pick(codes.SHIFT_BOOK, codes.SHIFT_INDEX, codes.SHIFT_BOOK | codes.SHIFT_INDEX)
        self.put(codes.SHIFT, instrument=self.instrument(), side=self.whole(0, 1), flags=flags,
                 price=self.pick(0, 0, self.whole(-30, 30)), qty=self.pick(1_000_000, 300_000, 1_500_000))

    def clear(self) -> None:
        k = self.instrument()
        self.levels[k].clear()
        self.put(codes.BOOK_CLEAR, instrument=k)
        self.quote_levels(k, 6)

    # --- accounts and venue ----------------------------------------------------------------------------------

    def deposit(self) -> None:
        if self.chance(0.05):
            self.put(codes.DEPOSIT, account=codes.INSURANCE, instrument=self.asset(), qty=self.whole(1, 1_000) * UNIT)
        else:
            self.put(codes.DEPOSIT, account=self.user(), instrument=self.asset(), qty=self.whole(100, 6_000) * UNIT)

    def withdraw(self) -> None:
        self.put(codes.WITHDRAW, account=self.user(), instrument=self.asset(), qty=self.whole(1, self.pick(100, 3_000) * UNIT))

    def leverage(self) -> None:
        self.put(codes.SET_LEVERAGE, account=self.user(), instrument=self.instrument(),
                 qty=self.pick(400, 1_000, 1_000, 2_000, 2_550, 5_000))

    def mode(self) -> None:
        self.put(codes.SET_MARGIN_MODE, account=self.user(), instrument=self.instrument(),
                 qty=self.pick(codes.CROSS, codes.ISOLATED))

    def transfer(self) -> None:
        self.put(codes.TRANSFER, account=self.user(), instrument=self.instrument(),
                 qty=self.whole(-300, 300) * UNIT + 1)

    def seed_position(self) -> None:
        k = self.instrument()
        self.put(codes.OPEN_POSITION, account=self.user(), order_id=self.user(), instrument=k,
                 price=self.ticks_near(k, self.pick(2, 20)), qty=self.whole(1, self.pick(20, 80)))

    def burst(self) -> None:
        """Order commands of one account at one time, at times with cancels and closes among them."""
        account, mixed = self.user(), self.chance(0.5)
        for _ in range(self.whole(2, 14)):
            if self.chance(0.15):  # terms of nothing, for the next new order of this account unless another comes first
                self.put(codes.TERMS, account=account, order_id=self.order_count + 1, qty=self.whole(0, 1))  # qty: min_lots
            first = len(self.rows)
            self.pick(self.new, self.new, self.amend, self.cancel, self.cancel_all)() if mixed else self.new()
            self.rows[first:] = [tuple(account if name == "account" else value
                                       for name, value in zip(schema.EVENT.names, row, strict=True))
                                 for row in self.rows[first:]]

    def throttle(self) -> None:
        self.put(codes.SET_THROTTLE, instrument=self.whole(0, len(self.venue.throttles)), price=self.pick(1, 2, 5, 9),
                 qty=self.pick(1, 2, 6, 11))
        if any(throttle.scope == "group" for throttle in self.venue.throttles) and self.groups.random() < 0.5:
            for user in range(codes.FIRST_USER, codes.FIRST_USER + USERS):
                group = int(self.groups.choice([0, 1, 1, 2, codes.FIRST_USER + 63, codes.FIRST_USER + 64, 2**31 - 1]))
                self.put(codes.SET_GROUP, account=user, qty=group)

    def fees(self) -> None:
        self.put(codes.SET_FEES, instrument=self.instrument(), price=self.whole(-150, 300), qty=self.whole(150, 600))

    def halt(self) -> None:
        k = self.instrument()
        self.put(codes.HALT, instrument=k)
        for _ in range(self.whole(1, 3)):
            self.pick(self.new, self.amend)()
        self.put(codes.RESUME, instrument=k)

    def malformed(self) -> None:
        """An ordinary command with one field spoilt."""
        first = len(self.rows)
        self.pick(self.new, self.new, self.amend, self.cancel, self.cancel_all, self.print_trade, self.ladder,
                  self.prices, self.funding, self.shift, self.deposit, self.withdraw, self.leverage, self.mode,
                  self.transfer, self.seed_position, self.fees)()
        field, value = self.pick(
            ("instrument", self.pick(-2, 99)), ("account", self.pick(0, 1, 4, 7, 5_000)), ("side", self.pick(2, -1)),
            ("time_in_force", self.pick(5, -1)), ("flags", self.pick(codes.SHADOW, 7, -1)),
            ("qty", self.pick(0, -1, 7, 2**31 + 5, 2**53)), ("price", self.pick(-5, 0, 2**30 + 5)),
            ("order_id", self.pick(0, -1, 10**9)), ("kind", self.pick(0, 5, 24, 64, 65, 66, 67, 68, 69, 99)),
            ("ts_ns", self.clock - self.whole(1, SECOND)))
        if first == len(self.rows):
            return
        row = list(self.rows[first])
        row[schema.EVENT.names.index(field)] = value
        self.rows[first] = tuple(row)
