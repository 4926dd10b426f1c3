"""Every audit rule fires when its thing is broken by hand: a check that cannot fail proves nothing."""

import re
from pathlib import Path

import numpy as np
import pytest

from exchange import audit, audit_gate, audit_margin, codes
from exchange.dump import dump
from exchange.errors import InvariantError
from tests.desk import FIRST, NEVER_NS, UNIT, Desk

A, B, C, D, E = range(FIRST, FIRST + 5)


@pytest.fixture(scope="module")
def busy():
    """A desk with levels of several orders, external size partly displaced, cross, isolated and liquidated units."""
    desk = Desk(count=2, depth={"refill": "decay"}, liquidation={"detection_delay_ns": NEVER_NS},
                queue={"model": "power"}, impact={"model": "shift", "volume": "1000", "decaying_ppm": 10_000},
                throttles=[{"capacity": 99, "refill": 1}, {"kind": "sliding", "capacity": 99, "scope": "group"}],
                penalty={"violations": 9, "ban_max_ns": NEVER_NS})
    desk.fund(A, B, codes.INSURANCE, money=100_000_000)
    desk.fund(C, money=1_200_000)
    desk.fund(D, money=60_000)
    desk.fund(E, money=400_000)
    for k in (0, 1):
        desk.mark(1_000, k)
        for account in (A, B):
            assert desk.code(codes.SET_LEVERAGE, account=account, instrument=k, qty=2_000) == codes.OK
    desk.level(codes.BID, 995, 40)
    desk.level(codes.ASK, 1_005, 40)
    for k, account in enumerate((A, B, A)):
        assert desk.new(account, 10 + k, codes.BID, 990, 5) == codes.RESTING
        assert desk.new(account, 20 + k, codes.ASK, 1_010, 5) == codes.RESTING
    assert desk.new(B, 30, codes.BID, 1_005, 15) == codes.FILLED  # 15 lots of the recorded ask are displaced
    assert desk.new(A, 13, codes.BID, 995, 5) == codes.RESTING
    desk.level(codes.BID, 995, 60)  # the 20 lots that came stand behind the order
    assert desk.seed(A, B, 1_000, 50) == codes.OK
    assert desk.code(codes.SET_MARGIN_MODE, account=C, instrument=0, qty=codes.ISOLATED) == codes.OK
    assert desk.code(codes.SET_LEVERAGE, account=C, instrument=0, qty=1_000) == codes.OK
    assert desk.seed(C, B, 1_000, 8) == codes.OK
    assert desk.seed(C, B, 1_000, 8, instrument=1) == codes.OK
    assert desk.seed(A, B, 1_000, 8, instrument=1) == codes.OK
    assert desk.seed(D, B, 1_000, 20, instrument=1) == codes.OK
    for k in (0, 1):
        assert desk.seed(E, B, 1_000, 20, instrument=k) == codes.OK
    desk.mark(970, 1)
    assert desk.exchange.wallet(D)["stage"] == codes.STAGE_DETECTED
    for order_id in (11, 21):
        assert desk.code(codes.CANCEL, account=B, order_id=order_id) == codes.CANCELLED_BY_USER
    desk.exchange.audit()
    return desk


class Broken:
    """A copy of the busy venue with names for the places that the tests break."""

    def __init__(self, desk):
        self.exchange = desk.exchange.copy()
        self.state = self.exchange.state
        self.book, self.ledger, self.control = self.state.book, self.state.ledger, self.state.io.control[0]
        self.markets, self.guards = self.state.prices.markets, self.state.guards.guards
        self.impacts = self.state.prices.impacts
        self.desk = desk

    def wallet(self, account):
        return self.exchange.wallet(account)

    def position(self, account, instrument=0):
        return self.exchange.position(account, instrument)

    def level(self, side, ticks, instrument=0):
        return self.book.levels[int(self.book.ladders[2 * instrument + side]["level_base"]) + ticks]

    def order(self, order_id):
        return self.book.orders[self.slot(order_id)]

    def external(self, side):
        return next(e for e in audit.externals(self.book, 0) if e["side"] == side)

    def move_id(self, order_id, slot, steps=0):
        """Let the place of an order's id, or the one `steps` before it, name `slot`."""
        ids, place = self.book.ids, int(np.flatnonzero(self.book.ids == self.slot(order_id))[0])
        ids[place] = 0
        ids[place - steps] = slot

    def swap_parts(self, side):
        """Let a level of two parts name the younger one first."""
        level, orders = self.external(side), self.book.orders
        first, second = int(level["order"]), int(orders[int(level["order"])]["account_next"])
        level["order"], orders[second]["account_next"], orders[first]["account_next"] = second, first, 0

    def slot(self, order_id):
        return int(np.flatnonzero(self.book.orders["order_id"] == order_id)[0])

    def queue_command(self, services):
        """Let a command wait in the gateway that is served after so many times its service."""
        gate, clock_ns = self.state.gate.gate[0], int(self.control["clock_ns"])
        gate["service_ns"], gate["depth"], gate["count"], gate["due_ns"] = 100, 1, 1, clock_ns + 100 * services
        gateway = np.concatenate([self.state.io.gateway[:1]] * 2)
        gateway["kind"], gateway["account"], gateway["ts_ns"] = codes.NEW, A, clock_ns
        self.control["timer_count"] += 1
        timer = self.state.io.timers[int(self.control["timer_count"])]
        timer["kind"], timer["ts_ns"] = codes.GATEWAY_TICK, gate["due_ns"]
        self.exchange.state = self.state = self.state._replace(io=self.state.io._replace(gateway=gateway))

    def guard(self, account, instrument, direction):
        return self.guards[2 * self.desk.slot(account, instrument) + direction]


def add(record, field, amount):
    record[field] += amount


def put(record, field, value):
    record[field] = value


def reduce_only(broken, order_id):
    """Let an order have been reduce-only from the start, all sums included."""
    order, position = broken.order(order_id), broken.position(A)
    order["flags"] |= codes.REDUCE_ONLY
    name = "ask" if order["side"] == codes.ASK else "bid"
    broken.ledger.legs[broken.desk.slot(A)]["reduce_lots"][order["side"]] = order["leaves_lots"]
    position["reducing"] = 1
    position[f"{name}_value"] -= UNIT * int(order["ticks"]) * int(order["leaves_lots"])
    position[f"{name}_lots"] -= order["leaves_lots"]


DOWN, UP = 0, 1
BREAKS = {
    "a command nobody serves": ("GWY-1", lambda x: put(x.state.gate.gate[0], "count", 1)),
    "a service that takes too long": ("GWY-2", lambda x: x.queue_command(2)),
    "a service that takes no time": ("GWY-2", lambda x: x.queue_command(0)),
    "a meter below zero": ("THR-1", lambda x: put(x.state.gate.meters[5], "level", -1)),
    "violations without a ban": ("THR-1", lambda x: put(x.state.gate.conduct[A], "violations", 9)),
    "a ban longer than the longest": ("THR-1", lambda x: put(x.state.gate.conduct[A], "ban_ns", NEVER_NS + 1)),
    "more filled than quoted": ("QFR-1", lambda x: add(x.state.gate.conduct[A], "filled", 99)),
    "running balance": ("MON-1", lambda x: add(x.ledger.totals[0], "balance", 1)),
    "deposits": ("MON-1", lambda x: (add(x.ledger.totals[0], "deposits", 1), add(x.ledger.totals[0], "balance", 1))),
    "cash of a user": ("MON-1", lambda x: add(x.wallet(A), "cash", 1)),
    "cash of the fund": ("MON-1", lambda x: add(x.wallet(codes.INSURANCE), "cash", -1)),
    "cash of the residue": ("MON-1", lambda x: add(x.wallet(codes.RESIDUE), "cash", 1)),
    "isolated margin": ("MON-1", lambda x: add(x.position(C), "isolated_margin", -1)),
    "entry value": ("MON-1", lambda x: add(x.position(A), "entry_value", 1)),
    "entry value of a flat position": ("MON-2", lambda x: put(x.ledger.positions[4], "entry_value", 7)),
    "net lots": ("POS-1", lambda x: add(x.markets[0], "net_lots", 1)),
    "lots of a position": ("POS-1", lambda x: add(x.position(A), "lots", 1)),
    "open interest": ("POS-2", lambda x: add(x.markets[0], "open_interest_lots", 1)),
    "position limit": ("POS-3", lambda x: put(x.state.prices.instruments[0], "position_max_lots", 20)),
    "best bid": ("BK-1", lambda x: add(x.book.books[0]["best_ticks"], codes.BID, 1)),
    "best ask lost": ("BK-1", lambda x: put(x.book.books[0]["best_ticks"], codes.ASK, 0)),
    "market order that rests": ("AUC-1", lambda x: put(x.order(12), "flags", codes.MARKET)),
    "leg that waits for nothing": ("AUC-2", lambda x: put(x.state.prices.auctions[0], "waiting_head", 1)),
    "auction without its timer": ("AUC-3", lambda x: put(x.state.prices.auctions[0], "timer", 1)),
    "lots of a level": ("BK-2", lambda x: add(x.level(codes.BID, 990), "lots", 1)),
    "count of a level": ("BK-2", lambda x: add(x.level(codes.BID, 990), "count", 1)),
    "tail of a level": ("BK-2", lambda x: put(x.level(codes.BID, 990), "tail", x.level(codes.BID, 990)["head"])),
    "prev link": ("BK-2", lambda x: add(x.order(12), "prev", 1)),
    "next link": ("BK-2", lambda x: put(x.order(10), "next", 0)),
    "side of an order": ("BK-2", lambda x: put(x.order(12), "side", codes.ASK)),
    "price of an order": ("BK-2", lambda x: add(x.order(12), "ticks", 1)),
    "live order lots": ("BK-2", lambda x: add(x.book.books[0], "order_lots", 1)),
    "priority": ("BK-3", lambda x: put(x.order(12), "priority_seq", 0)),
    "top order behind another": (
        "BK-7", lambda x: put(x.book.books[0]["top_seq"], codes.BID, x.order(12)["priority_seq"])),
    "stamps of tokens out of order": ("THR-2", lambda x: put(x.state.gate.stamps, A * 99 + 1, 1)),
    "a stamp of no token": ("THR-2", lambda x: put(x.state.gate.stamps, A * 99 + 98, 1)),
    "a stamp younger than its meter": ("THR-2", lambda x: add(x.state.gate.meters[2 * A + 1], "ts_ns", 1)),
    "more capacity than stamps": ("THR-2", lambda x: put(x.state.gate.limits[1], "capacity", 100)),
    "group beyond those counted": ("GRP-1", lambda x: put(x.ledger.groups, A, 10**6)),
    "group of a system account": ("GRP-1", lambda x: put(x.ledger.groups, codes.FEES, 1)),
    "leaves above the order": ("BK-4", lambda x: put(x.order(12), "order_lots", 4)),
    "leaves of nothing": ("BK-4", lambda x: put(x.order(12), "leaves_lots", 0)),
    "id of no order": ("BK-5", lambda x: x.move_id(12, 200)),
    "id of another order": ("BK-5", lambda x: x.move_id(12, x.slot(10))),
    "id where no search finds it": ("BK-5", lambda x: x.move_id(12, x.slot(12), steps=1)),
    "id lost": ("BK-5", lambda x: x.move_id(12, 0)),
    "free list cut": ("BK-5", lambda x: put(x.book.pools[0], "order_free", 0)),
    "free list cyclic": ("BK-5", lambda x: put(x.book.orders[int(x.book.pools[0]["order_free"])], "next",
                                               x.book.pools[0]["order_free"])),
    "live count": ("BK-5", lambda x: add(x.book.pools[0], "order_live", 1)),
    "displaced lots": ("EXT-1", lambda x: add(x.external(codes.ASK), "displaced_lots", 1)),
    "displaced above lots": ("EXT-1", lambda x: put(x.external(codes.ASK), "displaced_lots", 41)),
    "displaced negative": ("EXT-1", lambda x: put(x.external(codes.BID), "displaced_lots", -1)),
    "external lots": ("EXT-1", lambda x: add(x.external(codes.BID), "lots", 1)),
    "size behind an order without a queue model": (
        "EXT-2", lambda x: put(x.state.prices.policy[0], "queue", codes.QUEUE_WHOLE_LEVEL)),
    "parts out of order": ("EXT-2", lambda x: x.swap_parts(codes.BID)),
    "price of a recorded level": ("EXT-3", lambda x: add(x.external(codes.BID), "recorded_ticks", 1)),
    "shift": ("EXT-3", lambda x: add(x.markets[0], "shift_ticks", 1)),
    "impact timer": ("IMP-1", lambda x: put(x.impacts[0], "timer", 0)),
    "impact without flow": ("IMP-1", lambda x: put(x.impacts[1], "ticks", 1)),
    "impact flow": ("IMP-2", lambda x: put(x.impacts[0], "decaying_mlots", -10**9 - 1)),
    "running bid value": ("LIQ-1", lambda x: add(x.position(A), "bid_value", 1)),
    "running bid lots": ("LIQ-1", lambda x: add(x.position(A), "bid_lots", 1)),
    "running ask value": ("LIQ-1", lambda x: add(x.position(A), "ask_value", -1)),
    "running ask lots": ("LIQ-1", lambda x: add(x.position(A), "ask_lots", -1)),
    "running sums of no orders": ("LIQ-1", lambda x: put(x.position(C), "bid_lots", 1)),
    "reduce-only lots": ("ORD-1", lambda x: put(x.ledger.legs[x.desk.slot(A)]["reduce_lots"], codes.ASK, 1)),
    "reduce-only flag": ("ORD-1", lambda x: put(x.position(A), "reducing", 1)),
    "reduce-only beyond the position": ("ORD-1", lambda x: reduce_only(x, 12)),
    "orders of a wallet in liquidation": ("LIQ-2", lambda x: put(x.wallet(A), "stage", codes.STAGE_REDUCE)),
    "a breached wallet goes on": ("LIQ-3", lambda x: put(x.wallet(D), "stage", codes.STAGE_NONE)),
    "a mark passes by": ("LIQ-3", lambda x: put(x.markets[0], "mark_sub", 8_000)),
    "a liquidated unit is armed": ("LIQ-3", lambda x: put(x.guard(D, 1, DOWN), "mark_sub", 9_000)),
    "guard of a leg too far": ("GRD-1", lambda x: put(x.guard(E, 0, DOWN), "mark_sub", 1)),
    "guard of a leg lost": ("GRD-1", lambda x: put(x.guard(C, 0, DOWN), "mark_sub", 0)),
    "guard on the safe side": ("GRD-1", lambda x: put(x.guard(C, 0, UP), "mark_sub", 12_000)),
    "guard of nobody": ("GRD-1", lambda x: put(x.guards[2 * 200], "mark_sub", 9_000)),
    "guard of a lone leg too near": ("GRD-2", lambda x: add(x.guard(C, 0, DOWN), "mark_sub", 1)),
    "guard of a lone leg too far": ("GRD-1", lambda x: add(x.guard(C, 0, DOWN), "mark_sub", -1)),
    "NIL order": ("NIL", lambda x: put(x.book.orders[0], "leaves_lots", 1)),
    "NIL external level": ("NIL", lambda x: put(x.book.externals[0], "lots", 1)),
    "NIL position": ("NIL", lambda x: put(x.ledger.positions[0], "isolated_margin", 1)),
}


@pytest.mark.parametrize("what", BREAKS)
def test_the_audit_names_the_rule_that_was_broken(busy, what):
    rule, damage = BREAKS[what]
    broken = Broken(busy)
    broken.exchange.audit()
    damage(broken)
    with pytest.raises(InvariantError, match=f"^{rule} does not hold"):
        broken.exchange.audit()


def test_the_source_of_copies_is_not_broken_by_them(busy):
    busy.exchange.audit()


@pytest.mark.parametrize("what", ["running balance", "net lots"])
def test_the_running_sums_are_looked_at_without_a_full_audit(busy, what):
    broken = Broken(busy)
    BREAKS[what][1](broken)
    with pytest.raises(InvariantError):
        broken.exchange.audit(full=False)


@pytest.mark.parametrize("what", ["running balance", "net lots"])
def test_run_itself_stops_when_money_or_positions_no_longer_add_up(busy, what):
    broken = Broken(busy)
    BREAKS[what][1](broken)
    desk = Desk.__new__(Desk)
    desk.exchange, desk.clock = broken.exchange, busy.clock
    with pytest.raises(InvariantError, match="do not add up after event"):
        desk.mark(1_000)


def test_every_rule_that_the_audit_states_is_broken_here():
    source = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in (audit, audit_gate, audit_margin))
    stated = set(re.findall(r'"((?:[A-Z]{2,3}-\d)|NIL)"', source))
    assert len(stated) >= 15 and stated == {rule for rule, _ in BREAKS.values()}


@pytest.mark.parametrize("part, damage", [
    ("wallets", lambda x: add(x.wallet(A), "cash", 1)),
    ("positions", lambda x: add(x.position(A), "leverage_e2", 1)),
    ("books", lambda x: add(x.order(12), "leaves_lots", -1)),
    ("externals", lambda x: add(x.external(codes.BID), "printed_lots", 1)),
    ("markets", lambda x: add(x.markets[0], "shift_ticks", 1)),
    ("timers", lambda x: add(x.state.io.timers[1], "ts_ns", 1)),
    ("totals", lambda x: add(x.ledger.totals[0], "withdrawals", 1)),
    ("throttles", lambda x: add(x.state.gate.meters[2 * A], "level", 1)),
    ("conduct", lambda x: add(x.state.gate.conduct[A], "quotes", 1)),
    ("groups", lambda x: put(x.ledger.groups, A, 1)),
    ("tops", lambda x: put(x.book.books[0]["top_seq"], codes.BID, 0)),
    ("quantities", lambda x: add(x.order(12), "order_lots", 1)),
])
def test_the_state_digest_sees_every_part_of_the_state(busy, part, damage):
    broken = Broken(busy)
    before, content = broken.exchange.state_digest(), dump(broken.state)
    damage(broken)
    after = dump(broken.state)
    assert broken.exchange.state_digest() != before
    assert [name for name in content if content[name] != after[name]] == [part]
