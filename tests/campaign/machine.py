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

from exchange import codes
from tests.campaign import regressions
from tests.campaign.report import Budget, Part
from tests.campaign.twin import Twin
from tests.desk import FIRST, INSTRUMENT, UNIT, venue_table

MS = 1_000_000
USERS = st.integers(FIRST, FIRST + 3)
FUNDED = st.integers(FIRST, FIRST + 2)
INSTRUMENTS = st.sampled_from([0, 0, 0, 1, -1, 7])
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
    "liquidation": st.sampled_from([{}, {"mode": "shadow"},
                                    {"detection_delay_ns": 30 * MS, "order_delay_ns": 20 * MS}]),
    "fees": st.sampled_from([{"maker_ppm": -100, "taker_ppm": 500, "liquidation_ppm": 5_000}, {"maker_ppm": 200}]),
    "capacity": st.sampled_from([{}, {"orders": 3, "external_levels": 2, "positions": 4, "outcomes": 4_111}]),
})


class Venues(RuleBasedStateMachine):
    """Every rule sends one command to kernels and reference, which must agree and pass the audit."""

    reached: ClassVar[Counter] = Counter()
    failed: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.twin: Twin | None = None
        self.kept: Twin | None = None
        self.placed = 100

    def send(self, kind: int, **fields: int) -> None:
        """One command to both venues; a difference leaves its rows behind for the regression file."""
        assert self.twin is not None
        before = Counter(self.twin.reached)
        try:
            self.twin.send(kind, **fields)
            self.twin.settle()
        except Exception:
            Venues.failed.update(table=self.twin.table, rows=list(self.twin.rows))
            raise
        Venues.reached.update(self.twin.reached - before)
        Venues.reached["machine steps"] += 1

    @initialize(sections=WORLDS, cash=st.integers(25, 80))
    def open(self, sections: dict[str, Any], cash: int) -> None:
        terms = {"price_max": "127", "tiers": TIERS, "position_max": "20", "open_interest_max": "30", "order_max": "10"}
        self.twin = Twin(venue_table(count=2, instrument=terms, **sections))
        for k in (0, 1):
            self.send(codes.INDEX, instrument=k, price=100 * INSTRUMENT["mark_per_tick"])
            self.send(codes.MARK, instrument=k, price=100 * INSTRUMENT["mark_per_tick"])
        for account in (codes.INSURANCE, FIRST, FIRST + 1, FIRST + 2):
            self.send(codes.DEPOSIT, account=account, qty=cash * UNIT)

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

    @rule(pick=st.integers(0, 9), stranger=st.sampled_from([False, False, False, True]))
    def cancel(self, pick: int, stranger: bool) -> None:
        named = self.live(pick)
        self.send(codes.CANCEL, **{**named, "account": named["account"] + stranger})

    @rule(account=USERS, instrument=INSTRUMENTS)
    def cancel_all(self, account: int, instrument: int) -> None:
        self.send(codes.CANCEL_ALL, account=account, instrument=instrument)

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
