"""A Hypothesis state machine over both venues: any legal or illegal command in any order, audited after each.

A failing example is shrunk by leaving rows out for as long as it still fails (that takes seconds, where Hypothesis's
own shrinking of dependent draws takes minutes) and becomes a regression file.
"""

from collections import Counter
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from exchange import codes, config
from exchange.allocation import outcomes_per_order
from tests.campaign import regressions
from tests.campaign.report import Budget, Part
from tests.campaign.twin import Twin
from tests.desk import FIRST, INSTRUMENT, UNIT, venue_table

MS = 1_000_000
USERS = st.sampled_from([FIRST, FIRST, FIRST + 1, FIRST + 1, FIRST + 2, FIRST + 2, FIRST + 3])
FUNDED = st.integers(FIRST, FIRST + 2)
INSTRUMENTS = st.sampled_from([0] * 8 + [1] * 3 + [-1, 7])
IDS = st.integers(0, 12)
SIDES = st.sampled_from([codes.BID, codes.ASK])
TICKS = st.sampled_from([100, 99, 101, 98, 102, 95, 105])
LOTS = st.integers(0, 12)
ORDER_FLAGS = st.sampled_from([0, 0, 0, codes.REDUCE_ONLY, codes.POST_ONLY, codes.MARKET, codes.LAST,
                               codes.MARKET | codes.REDUCE_ONLY])
TIERS = [{"floor": "0", "maintenance_ppm": 20_000, "leverage_max": 20},
         {"floor": "500", "maintenance_ppm": 50_000, "leverage_max": 10}]
WORLDS = st.fixed_dictionaries({
    "mark": st.sampled_from([{"source": "recorded"}, {"source": "computed", "period_ns": 0, "samples": 3},
                             {"source": "computed", "period_ns": 200 * MS, "samples": 2}]),
    "depth": st.sampled_from([{"refill": "none"}, {"refill": "decay", "half_life_ns": 800 * MS}]),
    "liquidation": st.sampled_from([{}, {"mode": "shadow"}, {"in_auction": "join"},
                                    {"detection_delay_ns": 30 * MS, "order_delay_ns": 20 * MS}]),
    "fees": st.sampled_from([{"maker_ppm": -100, "taker_ppm": 500, "liquidation_ppm": 5_000}, {"maker_ppm": 200}]),
    "gateway": st.sampled_from([{}, {}, {}, {"service_ns": 50 * MS, "depth": 2, "reserved": 1, "exempt": ["cancels"]}]),
    "capacity": st.sampled_from([{}, {"orders": 3, "external_levels": 2, "positions": 4}]),
    "auction": st.sampled_from([{}, {}, {"price": "midpoint", "indicative_period_ns": 40 * MS},
                                {"dynamic_ppm": 20_000, "static_ppm": 40_000, "duration_ns": 90 * MS,
                                 "extension_ns": 50 * MS, "extensions_max": 1}]),
    "orders": st.sampled_from([{}, {}, {"open_orders": 2, "fat_finger_ppm": 30_000},
                               {"collar_ppm": 40_000, "lot_step": "2"}]),
})
LIMITS = [{"kind": "bucket", "capacity": 4, "refill": 2, "interval_ns": 60 * MS},
          {"kind": "window", "scope": "group", "capacity": 8, "interval_ns": 200 * MS}]
PENALTY = {"violations": 2, "interval_ns": 500 * MS, "ban_ns": 80 * MS, "ban_max_ns": 200 * MS}
GATES = st.sampled_from([{}, {}, {}, {"throttles": LIMITS}, {"throttles": LIMITS, "penalty": PENALTY}])
MATCHING = st.fixed_dictionaries({
    "self_trade": st.sampled_from(["none", "none", "cancel_newest", "cancel_oldest", "cancel_both", "decrement"]),
    "allocation": st.sampled_from([{}, {}, {"algorithm": "pro_rata"},
                                   {"algorithm": "configurable", "top_max_lots": 2, "fifo_ppm": 400_000,
                                    "market_makers": [{"account": FIRST, "share_ppm": 250_000}]}]),
    "iceberg": st.sampled_from(["none", "refresh"]), "pegged": st.booleans(),
})
TRIGGERS = st.integers(codes.TRIGGER_MARK, codes.TRIGGER_LAST)
MODES = st.sampled_from([codes.STP_DEFAULT] * 4 + list(range(codes.STP_NONE, codes.STP_DECREMENT + 2)))
TERMS = st.one_of(
    st.fixed_dictionaries({"trigger": TRIGGERS, "trigger_kind": st.integers(codes.STOP, codes.TAKE_PROFIT),
                           "trigger_ticks": TICKS, "flags": st.sampled_from([0, codes.MARKET, codes.REDUCE_ONLY])}),
    st.fixed_dictionaries({"trigger": TRIGGERS, "offset_ticks": st.integers(1, 4),
                           "flags": st.sampled_from([0, codes.MARKET])}),
    st.fixed_dictionaries({"min_lots": st.integers(1, 4), "time_in_force": st.sampled_from([codes.GTC, codes.IOC])}),
    st.just({"flags": codes.MARKET, "time_in_force": codes.TO_LIMIT}),
    st.fixed_dictionaries({"flags": st.just(codes.BUDGET), "time_in_force": st.just(codes.FOK),
                           "price": st.integers(96 * UNIT, 310 * UNIT)}),
    st.fixed_dictionaries({"display_lots": st.integers(1, 3), "display_min_lots": st.integers(0, 2)}),
    st.fixed_dictionaries({"peg": st.integers(codes.PEG_MID, codes.PEG_OPPOSITE + 1),
                           "offset_ticks": st.integers(0, 2)}),
    st.just({}))
CHANGES = st.one_of(st.fixed_dictionaries({"trigger_ticks": TICKS}), st.fixed_dictionaries({"self_trade": MODES}),
                    st.fixed_dictionaries({"offset_ticks": st.integers(0, 5)}), st.just({"link_id": 1}), st.just({}))
TIMES = st.one_of(st.just(0), st.just(0), st.integers(1, 400))  # milliseconds from now; 0: none


class Venues(RuleBasedStateMachine):
    """Every rule sends one command to kernels and reference, which must agree and pass the audit."""

    reached: ClassVar[Counter] = Counter()
    failed: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.twin: Twin | None = None
        self.kept: Twin | None = None
        self.placed = 100
        self.pace = 0

    def send(self, kind: int, **fields: int) -> None:
        """One command to both venues; a difference leaves its rows behind for the regression file."""
        assert self.twin is not None
        before = Counter(self.twin.reached)
        try:
            self.twin.send(kind, **fields)
            self.twin.settle(self.pace)
        except Exception:
            Venues.failed.update(table=self.twin.table, rows=list(self.twin.rows))
            raise
        Venues.reached.update(self.twin.reached - before)
        Venues.reached["machine steps"] += 1

    @initialize(sections=WORLDS, matching=MATCHING, gates=GATES, cash=st.integers(25, 80),
                pace=st.sampled_from([0, 0, 30 * MS]))
    def open(self, sections: dict[str, Any], matching: dict[str, Any], gates: dict[str, Any], cash: int,
             pace: int) -> None:
        terms = {"price_max": "127", "tiers": TIERS, "position_max": "20", "open_interest_max": "30", "order_max": "10"}
        table = venue_table(count=2, instrument={**terms, **matching}, **sections, **gates)
        table["capacity"]["outcomes"] = 1 << 14
        if sections["capacity"]:  # as little room for outcomes as the venue accepts
            room = outcomes_per_order(config.build_venue(table)) * table["capacity"]["orders"]
            table["capacity"]["outcomes"] = room + codes.OUTCOMES_PER_STEP
        self.twin = Twin(table)
        for k in (0, 1):
            self.send(codes.INDEX, instrument=k, price=100 * INSTRUMENT["mark_per_tick"])
            self.send(codes.MARK, instrument=k, price=100 * INSTRUMENT["mark_per_tick"])
        for account in (codes.INSURANCE, FIRST, FIRST + 1, FIRST + 2):
            self.send(codes.DEPOSIT, account=account, qty=cash * UNIT)
        self.send(codes.OPEN_POSITION, account=FIRST, order_id=FIRST + 1, price=100, qty=2)
        self.rest(FIRST + 2, codes.BID, 98, 2, 0)
        self.rest(FIRST + 2, codes.ASK, 102, 4, 0)
        self.pace = 30 * MS if sections["gateway"] else pace  # time that passes after each command

    @rule(account=st.sampled_from([FIRST, FIRST + 1, FIRST + 3, codes.INSURANCE, codes.FEES]), money=st.integers(0, 50))
    def deposit(self, account: int, money: int) -> None:
        self.send(codes.DEPOSIT, account=account, qty=money * UNIT)

    @rule(account=USERS, money=st.integers(1, 200))
    def withdraw(self, account: int, money: int) -> None:
        self.send(codes.WITHDRAW, account=account, qty=money * UNIT + 1)

    @rule(account=USERS, instrument=INSTRUMENTS, order_id=IDS, side=SIDES, ticks=TICKS, lots=LOTS, flags=ORDER_FLAGS,
          time_in_force=st.sampled_from([codes.GTC, codes.GTC, codes.IOC, codes.FOK]))
    def place(self, account: int, instrument: int, order_id: int, side: int, ticks: int, lots: int, flags: int,
              time_in_force: int) -> None:
        self.send(codes.NEW, account=account, instrument=instrument, order_id=order_id, side=side, price=ticks,
                  qty=lots, flags=flags, time_in_force=time_in_force)

    @rule(account=FUNDED, side=SIDES, ticks=TICKS, lots=st.integers(1, 6),
          flags=st.sampled_from([0, 0, codes.POST_ONLY]))
    def rest(self, account: int, side: int, ticks: int, lots: int, flags: int) -> None:
        """A plain order under an id of its own, likely to be accepted."""
        self.placed += 1
        self.send(codes.NEW, account=account, order_id=self.placed, side=side, price=ticks, qty=lots, flags=flags)

    @rule(account=FUNDED, ticks=TICKS, lots=st.integers(1, 4), short=st.booleans())
    def meet(self, account: int, ticks: int, lots: int, short: bool) -> None:
        """An order of one account and one of another that trades with it, if both are accepted."""
        self.rest(account, codes.ASK if short else codes.BID, ticks, lots + 1, 0)
        self.rest(FIRST + (account - FIRST + 1) % 3, codes.BID if short else codes.ASK, ticks, lots, 0)

    def live(self, pick: int) -> dict[str, int]:
        """Id and owner of a live order; of one that never was when there is none."""
        assert self.twin is not None
        orders = list(self.twin.reference.world.orders.values())
        order = orders[pick % len(orders)] if orders else None
        return {"order_id": order.order_id, "account": order.account} if order else {"order_id": 1, "account": FIRST}

    @rule(pick=st.integers(0, 9), ticks=st.one_of(st.just(0), TICKS), lots=LOTS)
    def amend(self, pick: int, ticks: int, lots: int) -> None:
        self.send(codes.AMEND, price=ticks, qty=lots, **self.live(pick))

    @rule(account=FUNDED, side=SIDES, ticks=TICKS, lots=st.integers(1, 5), terms=TERMS, until=TIMES, mode=MODES,
          linked=st.sampled_from([False, False, True]), pick=st.integers(0, 9))
    def place_termed(self, account: int, side: int, ticks: int, lots: int, terms: dict[str, int], until: int,
                     mode: int, linked: bool, pick: int) -> None:
        """An order with terms: a trigger, a least quantity, a budget; at times dated, or linked to a live order."""
        assert self.twin is not None
        self.placed += 1
        named = self.live(pick)
        extra = {"self_trade": mode} | ({"link_id": named["order_id"], "account": named["account"]} if linked else {})
        if until and "time_in_force" not in terms:
            extra |= {"time_in_force": codes.GTD, "expiry_ns": self.twin.clock + until * MS}
        self.send(codes.NEW, **{"account": account, "order_id": self.placed, "side": side, "price": ticks, "qty": lots,
                                **terms, **extra})

    @rule(pick=st.integers(0, 9), ticks=st.one_of(st.just(0), TICKS), lots=LOTS, changes=CHANGES, until=TIMES)
    def amend_terms(self, pick: int, ticks: int, lots: int, changes: dict[str, int], until: int) -> None:
        assert self.twin is not None
        dated = {"expiry_ns": self.twin.clock + until * MS} if until else {}
        self.send(codes.AMEND, price=ticks, qty=lots, **self.live(pick), **changes, **dated)

    @rule(instrument=INSTRUMENTS, state=st.integers(-1, 6), kind=st.sampled_from([codes.SET_STATE, codes.HALT]),
          stays=st.sampled_from([False, False, True]), ticks=TICKS, lots=LOTS, flags=ORDER_FLAGS)
    def state(self, instrument: int, state: int, kind: int, stays: bool, ticks: int, lots: int, flags: int) -> None:
        """Another state of a market, an order in it, and mostly the old one again."""
        self.send(kind, instrument=instrument, qty=state)
        self.rest(FIRST, codes.BID, ticks, lots, flags)
        if not stays:
            self.send(codes.RESUME, instrument=instrument)

    @rule(instrument=INSTRUMENTS, lasts=TIMES, ticks=st.one_of(st.just(0), TICKS), orders=st.integers(0, 3),
          lots=st.integers(1, 4), price=TICKS, stays=st.booleans())
    def auction(self, instrument: int, lasts: int, ticks: int, orders: int, lots: int, price: int, stays: bool) -> None:
        """An auction, some orders that may cross in it, and at once its end or not yet."""
        self.send(codes.AUCTION_START, instrument=instrument, qty=lasts * MS, price=ticks)
        for k in range(orders):
            self.rest(FIRST + k % 3, codes.BID if k % 2 else codes.ASK, price + 2 * (k % 2) - 1, lots + k, 0)
        if not stays:
            self.end_auction(instrument, ticks)

    @rule(instrument=INSTRUMENTS, ticks=st.one_of(st.just(0), TICKS))
    def end_auction(self, instrument: int, ticks: int) -> None:
        self.send(codes.AUCTION_END, instrument=instrument, price=ticks)

    @rule(account=USERS, group=st.integers(-1, 2))
    def group(self, account: int, group: int) -> None:
        self.send(codes.SET_GROUP, account=account, qty=group)

    @rule(limit=st.integers(-1, 2), capacity=st.integers(0, 6), refill=st.integers(0, 4))
    def throttle(self, limit: int, capacity: int, refill: int) -> None:
        self.send(codes.SET_THROTTLE, instrument=limit, price=capacity, qty=refill)

    @rule(pick=st.integers(0, 9), stranger=st.sampled_from([False, False, False, True]))
    def cancel(self, pick: int, stranger: bool) -> None:
        named = self.live(pick)
        self.send(codes.CANCEL, **{**named, "account": named["account"] + stranger})

    @rule(account=st.one_of(USERS, st.just(0)), instrument=INSTRUMENTS, sides=st.sampled_from([0, 1, 2, 3]))
    def cancel_all(self, account: int, instrument: int, sides: int) -> None:
        self.send(codes.CANCEL_ALL, account=account, instrument=instrument, qty=sides)

    @rule(instrument=INSTRUMENTS, sub=st.integers(850, 1_150))
    def mark(self, instrument: int, sub: int) -> None:
        self.send(codes.MARK, instrument=instrument, price=sub)

    @rule(instrument=INSTRUMENTS, sub=st.integers(850, 1_150))
    def index(self, instrument: int, sub: int) -> None:
        self.send(codes.INDEX, instrument=instrument, price=sub)

    @rule(instrument=INSTRUMENTS, rate=st.integers(-40_000_000, 40_000_000))
    def fund(self, instrument: int, rate: int) -> None:
        self.send(codes.FUNDING_SETTLE, instrument=instrument, price=rate)

    @rule(account=USERS, instrument=INSTRUMENTS, leverage=st.integers(50, 2_100))
    def leverage(self, account: int, instrument: int, leverage: int) -> None:
        self.send(codes.SET_LEVERAGE, account=account, instrument=instrument, qty=leverage)

    @rule(account=USERS, instrument=INSTRUMENTS, mode=st.sampled_from([codes.CROSS, codes.ISOLATED, codes.ISOLATED, 2]))
    def mode(self, account: int, instrument: int, mode: int) -> None:
        self.send(codes.SET_MARGIN_MODE, account=account, instrument=instrument, qty=mode)

    @rule(account=USERS, instrument=INSTRUMENTS, money=st.integers(-30, 30))
    def transfer(self, account: int, instrument: int, money: int) -> None:
        self.send(codes.TRANSFER, account=account, instrument=instrument, qty=money * UNIT)

    @rule(buyer=USERS, seller=USERS, instrument=INSTRUMENTS, ticks=TICKS, lots=LOTS)
    def seed_position(self, buyer: int, seller: int, instrument: int, ticks: int, lots: int) -> None:
        self.send(codes.OPEN_POSITION, account=buyer, order_id=seller, instrument=instrument, price=ticks, qty=lots)

    @rule(instrument=INSTRUMENTS, side=SIDES, ticks=TICKS, lots=LOTS,
          flags=st.sampled_from([codes.LAST, codes.LAST, 0]))
    def recorded_level(self, instrument: int, side: int, ticks: int, lots: int, flags: int) -> None:
        self.send(codes.LEVEL_SET, instrument=instrument, side=side, price=ticks, qty=lots, flags=flags)

    @rule(instrument=INSTRUMENTS, side=SIDES, ticks=TICKS, lots=LOTS)
    def print_trade(self, instrument: int, side: int, ticks: int, lots: int) -> None:
        self.send(codes.TRADE_PRINT, instrument=instrument, side=side, price=ticks, qty=lots)

    @rule(instrument=INSTRUMENTS, shift=st.integers(-5, 5), side=SIDES,
          flags=st.sampled_from([codes.SHIFT_BOOK, codes.SHIFT_BOOK | codes.SHIFT_INDEX]))
    def shift(self, instrument: int, shift: int, side: int, flags: int) -> None:
        self.send(codes.SHIFT, instrument=instrument, price=shift, side=side, flags=flags, qty=700_000)

    @rule(milliseconds=st.integers(1, 500))
    def wait(self, milliseconds: int) -> None:
        assert self.twin is not None
        self.twin.clock += milliseconds * MS
        self.twin.rows.append({"kind": regressions.PASS_TIME, "ts_ns": self.twin.clock})
        self.twin.settle()

    @rule()
    def copy(self) -> None:
        assert self.twin is not None
        self.kept = self.twin.copy()

    @precondition(lambda self: self.kept is not None)
    @rule()
    def restore(self) -> None:
        """Go back to the copy, which what happened since must not have changed."""
        assert self.kept is not None
        self.twin, self.kept = self.kept.copy(), self.kept
        self.twin.compare()


def run(seed: int, examples: int, steps: int) -> None:
    """A run of the machine; raises with the first failing example."""
    chosen = settings(max_examples=examples, stateful_step_count=steps, deadline=None, database=None, derandomize=False,
                      print_blob=False, suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
                      phases=(Phase.generate,))
    run_state_machine_as_test(seeded(seed)(Venues), settings=chosen)


def campaign(seed: int, budget: Budget, examples: int = 20, steps: int = 50) -> Part:
    """Runs of the machine under one seed after another; a failing case is shrunk, to be kept as a regression."""
    part = Part("state machine")
    while budget.left(part.runs):
        now = seed + part.runs
        Venues.reached, Venues.failed = Counter(), {}
        try:
            run(now, examples, steps)
        except Exception as error:  # noqa: BLE001 - reported by seed
            if Venues.failed:
                found = regressions.shrink({"note": f"Found by the state machine, seed {now}.", **Venues.failed})
                part.cases[f"machine-{now}"] = found
            part.fail(f"seed {now} examples {examples} steps {steps}", error)
            continue
        events = Venues.reached.pop("machine steps")
        part.take(events, Venues.reached)
    part.note = f"{part.reached['outcome LIQUIDATION_START']} liquidations, {part.reached['outcome FILL']} fills"
    part.seconds = budget.spent()
    return part
