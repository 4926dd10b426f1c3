"""Terms of orders, rule by rule: kernels and reference side by side, audited after every command. DESIGN §3.5."""

import pytest

from exchange import codes, schema
from exchange.codes import (
    ASK,
    BID,
    BUDGET,
    CANCELLED_BY_EXPIRY,
    CANCELLED_BY_LINK,
    CANCELLED_BY_LIQUIDATION,
    CANCELLED_BY_USER,
    EXPIRED,
    FILLED,
    FOK,
    GTD,
    IOC,
    MARKET,
    PARKED_ORDER,
    PARTLY_FILLED_RESTING,
    POST_ONLY,
    REDUCE_ONLY,
    RESTING,
    STOP,
    TAKE_PROFIT,
    TO_LIMIT,
    TRIGGER_INDEX,
    TRIGGER_LAST,
    TRIGGER_MARK,
)
from exchange.errors import InvariantError
from tests.campaign.twin import Twin
from tests.desk import FIRST, UNIT, every_byte, venue_table

A, B, C = FIRST, FIRST + 1, FIRST + 2
RICH = 10**6 * UNIT
PER_TICK = 10


class World(Twin):
    """Three rich accounts and a mark at 1,000; keeps the outcomes of the last command."""

    def __init__(self, **sections):
        super().__init__(venue_table(**sections))
        self.last = []
        self.mark(1_000)
        for account in (A, B, C):
            self.send(codes.DEPOSIT, account=account, qty=RICH)

    def compare(self):
        rows = super().compare()
        self.last = [dict(zip(schema.OUTCOME.names, row, strict=True)) for row in rows]
        return rows

    def mark(self, ticks, sub=0):
        return self.send(codes.MARK, price=ticks * PER_TICK + sub)

    def new(self, account, order_id, side, price, qty, **fields):
        return self.send(codes.NEW, account=account, order_id=order_id, side=side, price=price, qty=qty, **fields)

    def stop(self, account, order_id, side, ticks, qty, **fields):
        named = {"price": 0, "trigger": TRIGGER_MARK, "trigger_ticks": ticks, "flags": MARKET, **fields}
        return self.send(codes.NEW, account=account, order_id=order_id, side=side, qty=qty, **named)

    def amend(self, account, order_id, qty, **fields):
        return self.send(codes.AMEND, account=account, order_id=order_id, qty=qty, **fields)

    def cancel(self, account, order_id):
        return self.send(codes.CANCEL, account=account, order_id=order_id)

    def kinds(self, *kinds):
        """(kind, order id, code) of the outcomes of the last command that are of these kinds."""
        return [(row["kind"], row["order_id"], row["code"]) for row in self.last if not kinds or row["kind"] in kinds]

    def fired(self):
        """(order id, code, price, lots) of what triggers, in order."""
        self.settle()
        return [(row["order_id"], row["code"], row["price"], row["lots"]) for row in self.last
                if row["kind"] == codes.TRIGGERED]

    def live(self):
        return sorted(self.reference.world.orders)

    @property
    def timers(self):
        return int(self.core.state.io.control[0]["timer_count"])


@pytest.fixture
def world():
    return World()


# --- good till date ----------------------------------------------------------------------


def test_good_till_date_rests_and_goes_at_its_expiry(world):
    assert world.new(A, 1, BID, 990, 5, time_in_force=GTD, expiry_ns=world.clock + 10) == RESTING
    world.settle(9)
    assert world.live() == [1]
    world.settle(1)
    assert world.kinds() == [(codes.CANCELLED, 1, CANCELLED_BY_EXPIRY)] and world.live() == []


def test_an_expiry_needs_good_till_date_and_the_future(world):
    for fields in ({"time_in_force": GTD}, {"expiry_ns": world.clock + 9},
                   {"time_in_force": GTD, "expiry_ns": world.clock}):
        assert world.new(A, 1, BID, 990, 5, **fields) == codes.BAD_EXPIRY


def test_a_removed_order_takes_its_timer_along(world):
    for order_id in range(1, 20):
        world.new(A, order_id, BID, 900 + order_id, 1, time_in_force=GTD, expiry_ns=world.clock + 100 - order_id)
    for order_id in (7, 1, 19, 15):
        world.cancel(A, order_id)
    assert world.timers == 15
    world.send(codes.CANCEL_ALL, account=A, instrument=-1)
    assert world.timers == 0


def test_expiry_comes_before_the_mark_of_the_same_time(world):
    world.stop(A, 1, ASK, 990, 5, time_in_force=GTD, expiry_ns=world.clock + 10)
    world.clock += 10
    world.mark(980)
    assert world.fired() == [] and world.kinds() == [(codes.CANCELLED, 1, CANCELLED_BY_EXPIRY)]


# --- triggers ----------------------------------------------------------------------


@pytest.mark.parametrize(("side", "kind", "ticks", "short", "sub"), [
    (ASK, STOP, 990, 9_901, 9_900), (BID, TAKE_PROFIT, 990, 9_901, 9_900),
    (BID, STOP, 1_010, 10_099, 10_100), (ASK, TAKE_PROFIT, 1_010, 10_099, 10_100)])
def test_a_trigger_is_reached_to_the_sub_tick(world, side, kind, ticks, short, sub):
    assert world.stop(A, 1, side, ticks, 5, trigger_kind=kind) == PARKED_ORDER
    world.send(codes.MARK, price=short)
    assert world.fired() == []
    world.send(codes.MARK, price=sub)
    (row,) = world.fired()
    assert row[:2] == (1, EXPIRED) and row[3] == 5


def test_a_parked_order_is_in_no_sum_and_no_queue(world):
    world.stop(A, 1, ASK, 990, 5)
    assert world.core.best(0) == (0, 0) and world.core.books[0]["order_lots"] == 0
    assert not any(world.core.position(A, 0)[name] for name in ("bid_lots", "ask_lots"))


def test_a_stop_limit_rests_at_its_limit_and_a_stop_market_fills_within_the_band(world):
    world.new(B, 1, BID, 985, 4)
    assert world.stop(A, 2, ASK, 990, 5) == PARKED_ORDER
    assert world.stop(A, 3, ASK, 990, 5, price=988, flags=0) == PARKED_ORDER
    world.mark(990)
    assert world.fired() == [(2, EXPIRED, 941, 1), (3, RESTING, 988, 5)]
    assert world.live() == [3]


def test_what_is_reached_first_fires_first_then_who_came_first(world):
    for order_id, ticks in ((1, 980), (2, 990), (3, 990), (4, 985)):
        world.stop(A, order_id, ASK, ticks, 1)
    world.mark(970)
    assert [row[0] for row in world.fired()] == [2, 3, 4, 1]


def test_each_source_fires_its_own_triggers(world):
    world.send(codes.INDEX, price=10_000)
    world.new(B, 9, BID, 900, 9)
    world.new(A, 8, ASK, 900, 1)
    for order_id, source in ((1, TRIGGER_MARK), (2, TRIGGER_INDEX), (3, TRIGGER_LAST)):
        ticks = 890 if source == TRIGGER_LAST else 990
        assert world.stop(A, order_id, ASK, ticks, 1, trigger=source) == PARKED_ORDER
    world.send(codes.INDEX, price=9_900)
    assert [row[0] for row in world.fired()] == [2]
    world.send(codes.TRADE_PRINT, side=ASK, price=890, qty=1)
    assert [row[0] for row in world.fired()] == [3]
    world.mark(980)
    assert [row[0] for row in world.fired()] == [1]


def test_a_stop_that_trades_fires_the_next_one(world):
    world.new(B, 1, BID, 1_000, 1)
    world.new(B, 2, BID, 980, 1)
    world.new(C, 3, ASK, 1_000, 1)
    world.stop(A, 4, ASK, 990, 1)
    world.stop(A, 5, ASK, 985, 3, trigger=TRIGGER_LAST)
    world.mark(990)
    assert [row[:2] for row in world.fired()] == [(4, FILLED), (5, EXPIRED)]


def test_a_trigger_needs_a_price_that_does_not_reach_it(world):
    assert world.stop(A, 1, ASK, 990, 1, trigger=TRIGGER_LAST) == codes.NO_TRIGGER_PRICE
    assert world.stop(A, 1, ASK, 990, 1, trigger=TRIGGER_INDEX) == codes.NO_TRIGGER_PRICE
    assert world.stop(A, 1, ASK, 1_000, 1) == codes.WOULD_TRIGGER
    assert world.stop(A, 1, BID, 1_000, 1) == codes.WOULD_TRIGGER


@pytest.mark.parametrize("fields", [
    {"trigger": 4}, {"trigger": -1}, {"trigger": 0}, {"trigger_kind": 2}, {"trigger_ticks": 4_001},
    {"trigger_ticks": 0}, {"offset_ticks": 5}, {"trigger_ticks": 0, "offset_ticks": -5},
    {"trigger_ticks": 0, "offset_ticks": 5, "trigger_kind": TAKE_PROFIT}])
def test_a_trigger_has_a_price_or_a_distance(world, fields):
    assert world.stop(A, 1, ASK, 990, 1, **fields) == codes.BAD_TRIGGER


def test_a_refused_trigger_is_the_end_of_its_order(world):
    world.new(B, 9, ASK, 1_015, 1)
    world.stop(A, 1, ASK, 990, 5, flags=MARKET | REDUCE_ONLY)
    world.stop(A, 2, BID, 1_010, 5, price=1_020, flags=POST_ONLY)
    world.mark(990)
    assert world.fired() == [(1, codes.REDUCE_ONLY_INCREASES, 0, 5)]
    world.mark(1_010)
    assert world.fired() == [(2, codes.POST_ONLY_WOULD_TAKE, 1_020, 5)] and world.live() == [9]


def test_a_stop_saves_its_account_from_the_mark_that_breaches_it():
    world = World()
    world.send(codes.WITHDRAW, account=A, qty=RICH - 30_000)
    world.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=10)
    world.new(C, 1, BID, 990, 10)
    world.stop(A, 2, ASK, 980, 10, flags=MARKET | REDUCE_ONLY)
    world.mark(970)
    assert world.fired() == [(2, FILLED, 922, 0)]
    assert not any(row["kind"] == codes.LIQUIDATION_START for row in world.last)


def test_triggers_wait_while_the_market_is_halted(world):
    world.stop(A, 1, ASK, 990, 1)
    world.stop(A, 2, ASK, 980, 1)
    world.stop(A, 3, ASK, 0, 1, trigger_ticks=0, offset_ticks=30)
    world.send(codes.HALT)
    for ticks in (970, 1_200, 985):
        world.mark(ticks)
        assert world.fired() == []
    world.send(codes.RESUME)
    assert [row[0] for row in world.fired()] == [1]
    assert world.live() == [2, 3]


def test_a_halt_at_the_same_time_refuses_what_had_fired(world):
    world.stop(A, 1, ASK, 990, 1)
    world.mark(990)
    world.send(codes.HALT)
    assert world.fired() == [(1, codes.HALTED, 0, 1)]


def test_a_fired_order_may_still_be_cancelled_at_the_same_time(world):
    world.stop(A, 1, ASK, 990, 1)
    world.mark(990)
    assert world.cancel(A, 1) == CANCELLED_BY_USER
    assert world.fired() == [] and world.timers == 0


def test_the_row_of_the_next_command_survives_a_trigger(world):
    world.stop(A, 1, ASK, 990, 1)
    world.mark(990)
    terms = schema.events({"ts_ns": world.clock, "kind": codes.NEW, "account": B, "order_id": 7, "min_lots": 3})[:1]
    for venue in (world.core.submit, world.reference.process):
        venue(terms)
    world.core.run()
    world.settle(5)
    assert world.send(codes.NEW, account=B, order_id=7, side=BID, price=900, qty=5) == codes.MIN_LOTS_UNFILLABLE


def test_liquidation_and_cancel_all_find_parked_orders():
    world = World()
    world.send(codes.WITHDRAW, account=A, qty=RICH - 30_000)
    world.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=10)
    world.stop(A, 1, ASK, 800, 10)
    world.stop(B, 2, ASK, 800, 10)
    assert world.send(codes.SET_MARGIN_MODE, account=C, qty=codes.ISOLATED) == codes.OK
    world.stop(C, 3, ASK, 800, 1)
    world.mark(900)
    world.settle()
    assert (codes.CANCELLED, 1, CANCELLED_BY_LIQUIDATION) in world.kinds()
    assert world.send(codes.CANCEL_ALL, account=B, instrument=-1) == codes.OK
    assert world.kinds() == [(codes.CANCELLED, 2, CANCELLED_BY_USER), (codes.RESULT, 0, codes.OK)]
    assert world.send(codes.SET_MARGIN_MODE, account=C, qty=codes.CROSS) == codes.POSITION_OPEN


# --- trailing ----------------------------------------------------------------------


def test_a_trailing_stop_follows_the_extreme_of_its_source(world):
    world.stop(A, 1, ASK, 0, 1, offset_ticks=10)
    for ticks, sub in ((1_050, 5), (1_041, 0), (1_060, 9)):
        world.mark(ticks, sub)
        assert world.fired() == []
    world.mark(1_050, 1)
    assert world.fired() == []
    world.mark(1_050)
    assert [row[0] for row in world.fired()] == [1]


def test_a_trailing_buy_stop_follows_the_lowest_price(world):
    world.stop(A, 1, BID, 0, 1, offset_ticks=10)
    world.mark(940, 1)
    world.mark(950, 9)
    assert world.fired() == []
    world.mark(951)
    assert [row[0] for row in world.fired()] == [1]


def test_a_late_trailing_stop_begins_at_the_present_price(world):
    world.stop(A, 1, ASK, 0, 1, offset_ticks=100)
    world.mark(1_050)
    world.mark(1_000)
    world.stop(A, 2, ASK, 0, 1, offset_ticks=10)
    world.mark(1_020)
    world.mark(1_010)
    assert [row[0] for row in world.fired()] == [2]


@pytest.mark.parametrize("gone", [1, 2, 3])
def test_trailing_stops_follow_on_when_one_of_them_is_cancelled(world, gone):
    for order_id in (1, 2, 3):
        world.stop(A, order_id, ASK, 0, 1, offset_ticks=10)
    assert world.cancel(A, gone) == CANCELLED_BY_USER
    world.mark(1_050)
    assert world.fired() == []
    world.mark(1_040)
    assert [row[0] for row in world.fired()] == [order_id for order_id in (1, 2, 3) if order_id != gone]


# --- one cancels other ----------------------------------------------------------------------


def pair(world):
    """A long's take-profit that rests and the stop under it."""
    world.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=10)
    assert world.new(A, 1, ASK, 1_050, 10) == RESTING
    assert world.stop(A, 2, ASK, 950, 10, link_id=1) == PARKED_ORDER


def test_a_fill_in_part_removes_the_partner(world):
    pair(world)
    world.new(C, 3, BID, 1_050, 1)
    assert world.kinds() == [(codes.FILL, 1, 0), (codes.CANCELLED, 2, CANCELLED_BY_LINK), (codes.FILL, 3, 0),
                             (codes.RESULT, 3, FILLED)]


def test_a_trigger_removes_the_partner_first(world):
    pair(world)
    world.mark(950)
    world.settle()
    assert world.kinds() == [(codes.CANCELLED, 1, CANCELLED_BY_LINK), (codes.TRIGGERED, 2, EXPIRED)]


@pytest.mark.parametrize("gone", [1, 2])
def test_a_cancel_removes_the_partner(world, gone):
    pair(world)
    world.cancel(A, gone)
    assert world.kinds() == [(codes.CANCELLED, 3 - gone, CANCELLED_BY_LINK), (codes.RESULT, gone, CANCELLED_BY_USER)]
    assert world.live() == []


def test_an_expiry_removes_the_partner(world):
    world.new(A, 1, ASK, 1_050, 10)
    world.stop(A, 2, ASK, 950, 10, link_id=1, time_in_force=GTD, expiry_ns=world.clock + 5)
    world.settle(5)
    assert world.kinds() == [(codes.CANCELLED, 2, CANCELLED_BY_EXPIRY), (codes.CANCELLED, 1, CANCELLED_BY_LINK)]


def test_a_new_order_that_fills_at_once_removes_its_partner(world):
    world.new(A, 1, ASK, 1_050, 5)
    world.new(B, 2, BID, 1_000, 4)
    assert world.new(A, 3, ASK, 1_000, 5, link_id=1) == PARTLY_FILLED_RESTING
    assert world.live() == [3]
    assert world.stop(A, 4, ASK, 950, 5, link_id=3) == PARKED_ORDER


def test_partners_in_one_queue_are_met_once(world):
    world.new(A, 1, ASK, 1_000, 5)
    world.new(A, 2, ASK, 1_000, 5, link_id=1)
    world.new(C, 3, ASK, 1_000, 5)
    assert world.new(B, 4, BID, 1_000, 15, time_in_force=FOK) == codes.FOK_UNFILLABLE
    assert world.new(B, 4, BID, 1_000, 10, time_in_force=FOK) == FILLED
    assert world.live() == []


def test_a_print_passes_the_partner_that_it_removed(world):
    world.new(A, 1, ASK, 1_000, 5)
    world.new(A, 2, ASK, 1_000, 5, link_id=1)
    world.new(C, 3, ASK, 1_000, 5)
    world.send(codes.TRADE_PRINT, side=BID, price=1_000, qty=7)
    assert world.kinds(codes.FILL) == [(codes.FILL, 1, 0), (codes.FILL, 3, 0)] and world.live() == [3]


def test_a_mass_cancellation_passes_the_partner_that_it_removed(world):
    world.new(A, 1, BID, 990, 5)
    world.new(A, 2, BID, 980, 5, link_id=1)
    world.new(A, 3, BID, 970, 5)
    world.send(codes.CANCEL_ALL, account=A, instrument=0)
    assert [row["lots"] for row in world.last if row["kind"] == codes.RESULT] == [2]
    assert world.live() == []


def test_a_mass_cancellation_of_one_side_reaches_the_partner_of_an_order_that_stays(world):
    world.new(A, 1, ASK, 1_050, 5)
    world.new(A, 2, BID, 980, 5, link_id=1)
    world.send(codes.CANCEL_ALL, account=A, instrument=0, qty=1)
    assert world.kinds() == [(codes.CANCELLED, 2, CANCELLED_BY_USER), (codes.CANCELLED, 1, CANCELLED_BY_LINK),
                             (codes.RESULT, 0, codes.OK)]


def test_a_shrinking_position_reaches_the_partner_of_an_order_that_stays(world):
    world.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=10)
    world.new(A, 1, ASK, 1_050, 10, flags=REDUCE_ONLY)
    world.new(A, 2, BID, 980, 5, link_id=1)
    world.send(codes.OPEN_POSITION, account=B, order_id=A, price=1_000, qty=6)
    assert world.kinds(codes.CANCELLED) == [(codes.CANCELLED, 1, codes.SHRUNK_REDUCE_ONLY)]


def test_a_market_order_expires_behind_a_partner_that_stays(world):
    world.send(codes.AUCTION_START)
    world.new(A, 1, BID, 1_050, 5)
    world.new(A, 2, BID, 0, 5, flags=MARKET, link_id=1)  # at the end of the band: 1,050
    world.send(codes.AUCTION_END)
    assert world.kinds(codes.CANCELLED) == [(codes.CANCELLED, 2, EXPIRED), (codes.CANCELLED, 1, CANCELLED_BY_LINK)]


def test_a_link_needs_a_live_lonely_order_of_the_same_account_and_instrument():
    world = World(count=2)
    world.send(codes.MARK, instrument=1, price=10_000)
    world.new(A, 1, BID, 990, 5)
    world.new(A, 2, BID, 980, 5, link_id=1)
    world.new(A, 3, BID, 980, 5)
    for account, instrument, link_id in ((A, 0, 1), (A, 0, 9), (A, 0, -1), (B, 0, 3), (A, 1, 3)):
        assert world.new(account, 4, BID, 980, 1, instrument=instrument, link_id=link_id) == codes.BAD_LINK


def test_an_amended_order_keeps_its_partner(world):
    pair(world)
    assert world.amend(A, 1, 12, price=1_060) == RESTING
    assert world.amend(A, 2, 12, trigger_ticks=940) == PARKED_ORDER
    world.cancel(A, 1)
    assert world.live() == []


# --- demands ----------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"time_in_force": IOC}, {"flags": MARKET}])
def test_a_minimum_quantity_fills_at_once_or_not_at_all(world, fields):
    world.new(B, 1, ASK, 1_000, 4)
    assert world.new(A, 2, BID, 1_000, 9, min_lots=5, **fields) == codes.MIN_LOTS_UNFILLABLE
    assert world.new(A, 2, BID, 1_000, 9, min_lots=4, **fields) in (EXPIRED, PARTLY_FILLED_RESTING)


def test_a_minimum_quantity_is_within_the_order(world):
    assert world.new(A, 1, BID, 1_000, 9, min_lots=10) == codes.BAD_MIN_LOTS
    assert world.new(A, 1, BID, 1_000, 9, min_lots=-1) == codes.BAD_MIN_LOTS
    assert world.new(A, 1, BID, 1_000, 9, min_lots=1, flags=POST_ONLY) == codes.BAD_TERMS


def test_a_reduce_only_order_cut_below_its_minimum_is_refused(world):
    world.new(B, 1, BID, 1_000, 9)
    world.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=3)
    assert world.new(A, 2, ASK, 1_000, 9, min_lots=4, flags=REDUCE_ONLY) == codes.MIN_LOTS_UNFILLABLE


@pytest.mark.parametrize(("side", "money", "code"), [
    (BID, 3_010, FILLED), (BID, 3_009, codes.FOK_UNFILLABLE), (ASK, 2_970, FILLED), (ASK, 2_971, codes.FOK_UNFILLABLE)])
def test_a_budget_bounds_the_whole_order(world, side, money, code):
    for order_id, its_side, ticks, lots in ((1, ASK, 1_000, 2), (2, ASK, 1_010, 5), (3, BID, 995, 2), (4, BID, 980, 5)):
        world.new(B, order_id, its_side, ticks, lots)
    assert world.new(A, 9, side, money * UNIT, 3, time_in_force=FOK, flags=BUDGET) == code


@pytest.mark.parametrize("fields", [
    {"time_in_force": IOC}, {"time_in_force": FOK, "flags": BUDGET | MARKET}, {"flags": BUDGET, "time_in_force": GTD},
    {"time_in_force": TO_LIMIT, "flags": 0}, {"time_in_force": GTD, "flags": MARKET | POST_ONLY}])
def test_flags_that_contradict_the_time_in_force_are_refused(world, fields):
    assert world.new(A, 1, BID, 1_000, 1, **{"flags": BUDGET, **fields}) == codes.BAD_FLAGS


# --- market to limit ----------------------------------------------------------------------


def test_market_to_limit_rests_at_its_last_fill(world):
    world.new(B, 1, ASK, 1_001, 2)
    world.new(B, 2, ASK, 1_003, 2)
    assert world.new(A, 3, BID, 0, 9, time_in_force=TO_LIMIT, flags=MARKET) == PARTLY_FILLED_RESTING
    assert world.core.best(0) == (1_003, 0)
    assert world.amend(A, 3, 9, price=1_002) == RESTING


def test_market_to_limit_without_a_fill_rests_at_last_or_the_mark_and_never_beyond_its_limit(world):
    assert world.new(A, 1, BID, 0, 1, time_in_force=TO_LIMIT, flags=MARKET) == RESTING
    assert world.core.best(0) == (1_000, 0)
    world.send(codes.TRADE_PRINT, side=BID, price=3_000, qty=1)
    world.new(A, 2, BID, 0, 1, time_in_force=TO_LIMIT, flags=MARKET)
    assert world.core.best(0) == (1_050, 0)


# --- amendment ----------------------------------------------------------------------


def test_a_new_expiry_costs_no_priority(world):
    world.new(A, 1, BID, 990, 5, time_in_force=GTD, expiry_ns=world.clock + 5)
    world.new(B, 2, BID, 990, 5)
    assert world.amend(A, 1, 4, expiry_ns=world.clock + 9) == RESTING
    world.settle(5)
    world.new(C, 3, ASK, 990, 1)
    assert world.kinds(codes.FILL)[0] == (codes.FILL, 1, 0)
    assert world.amend(A, 1, 9, price=991) == RESTING
    world.settle(4)
    assert world.kinds() == [(codes.CANCELLED, 1, CANCELLED_BY_EXPIRY)]


def test_a_parked_order_keeps_its_place_only_when_it_shrinks_or_is_dated_anew(world):
    for order_id in (1, 2, 3):
        world.stop(A, order_id, ASK, 990, 5, price=980, flags=0, time_in_force=GTD, expiry_ns=world.clock + 99)
    assert world.amend(A, 1, 4) == PARKED_ORDER
    assert world.amend(A, 1, 4, expiry_ns=world.clock + 50) == PARKED_ORDER
    assert world.amend(A, 2, 5, price=981) == PARKED_ORDER
    world.mark(990)
    assert world.fired() == [(1, RESTING, 980, 4), (3, RESTING, 980, 5), (2, RESTING, 981, 5)]


def test_triggers_and_distances_may_be_amended_while_the_order_waits(world):
    world.stop(A, 1, ASK, 990, 5)
    world.stop(A, 2, ASK, 0, 5, offset_ticks=30)
    assert world.amend(A, 1, 5, trigger_ticks=1_001) == codes.WOULD_TRIGGER
    assert world.amend(A, 1, 5, trigger_ticks=4_001) == codes.BAD_TRIGGER
    assert world.amend(A, 1, 5, offset_ticks=5) == codes.BAD_TERMS
    assert world.amend(A, 1, 5, price=1_000) == codes.BAD_TERMS
    assert world.amend(A, 2, 5, trigger_ticks=980) == codes.BAD_TERMS
    assert world.amend(A, 2, 5, offset_ticks=4_001) == codes.BAD_TRIGGER
    assert world.amend(A, 1, 5, trigger_ticks=950) == PARKED_ORDER
    assert world.amend(A, 2, 5, offset_ticks=5) == PARKED_ORDER
    world.mark(994)
    assert [row[0] for row in world.fired()] == [2]
    world.mark(950)
    assert world.amend(A, 1, 5, trigger_ticks=940) == codes.BAD_TERMS
    assert [row[0] for row in world.fired()] == [1]


@pytest.mark.parametrize("fields", [{"link_id": 9}, {"min_lots": 1}, {"trigger": 1}, {"peg": 1}, {"trigger_ticks": 5}])
def test_fixed_terms_cannot_be_amended(world, fields):
    world.new(A, 1, BID, 990, 5)
    assert world.amend(A, 1, 5, **fields) == codes.BAD_TERMS
    assert world.amend(A, 1, 5, expiry_ns=world.clock + 9) == codes.BAD_EXPIRY


# --- refusals and room ----------------------------------------------------------------------


def test_a_parked_order_needs_a_slot_and_a_refusal_changes_nothing():
    world = World(capacity={"orders": 2})
    for order_id in (1, 2):
        world.stop(A, order_id, ASK, 990, 5, time_in_force=IOC)
    before = every_byte(world.core.state)
    assert world.stop(A, 3, ASK, 990, 5, time_in_force=IOC) == codes.ORDERS_FULL
    assert world.amend(A, 1, 5, trigger_ticks=2_000) == codes.WOULD_TRIGGER
    assert every_byte(world.core.state) == before


def test_orders_with_timers_never_fill_the_heap():
    world = World(capacity={"orders": 40, "accounts": 4, "positions": 4})
    for order_id in range(1, 41):
        world.stop(A, order_id, ASK, 990, 1, time_in_force=GTD, expiry_ns=world.clock + order_id)
    world.mark(990)
    assert world.timers == 80
    world.settle(50)
    assert world.timers == 0


# --- the audit sees damage ----------------------------------------------------------------------


def lose_a_trigger(state):
    state.triggers.watches["best_ticks"][0, 0] = 0


def move_a_trigger(state):
    state.book.terms["trigger_ticks"][1] -= 1


def cut_half_a_link(state):
    state.book.terms["link"][1] = 0


def forget_a_timer(state):
    state.io.order_timers[:] = 0


def leave_terms_behind(state):
    state.book.terms["min_lots"][3] = 1


def move_the_mark(state):
    state.prices.markets["mark_sub"] = 9_000


@pytest.mark.parametrize(("damage", "rule"), [
    (lose_a_trigger, "TRG-1"), (move_a_trigger, "TRG-1"), (move_the_mark, "TRG-1"), (cut_half_a_link, "TRG-2"),
    (forget_a_timer, "TRG-3"), (leave_terms_behind, "TRG-3")])
def test_the_audit_names_the_rule_that_was_broken(world, damage, rule):
    world.stop(A, 1, ASK, 990, 1, time_in_force=GTD, expiry_ns=world.clock + 9)
    world.stop(A, 2, BID, 1_010, 1, link_id=1)
    world.new(A, 3, BID, 900, 1)
    world.core.audit()
    damage(world.core.state)
    with pytest.raises(InvariantError, match=rule):
        world.core.audit()
