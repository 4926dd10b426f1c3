"""What orders meet seldom, rule by rule: kernels and reference side by side, audited after every command."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange import codes, schema
from exchange.codes import ASK, BID, BUDGET, FOK, GTD, MARKET, POST_ONLY, REDUCE_ONLY
from exchange.core import arith
from exchange.errors import InvariantError
from tests.campaign.twin import Twin
from tests.desk import FIRST, NEVER_NS, SECOND, Desk, venue_table

A, B, C = FIRST, FIRST + 1, FIRST + 2
BIG = 2**31 - 1


class Pair(Twin):
    """Three rich accounts and a mark at 1,000; `rows` of a command are its outcomes as dicts."""

    def __init__(self, **sections):
        super().__init__(venue_table(**sections))
        self.last = []
        self.send(codes.MARK, price=10_000)
        for account in (A, B, C):
            self.send(codes.DEPOSIT, account=account, qty=10**9)
            self.send(codes.SET_LEVERAGE, account=account, qty=500)

    def compare(self):
        rows = super().compare()
        self.last = [dict(zip(schema.OUTCOME.names, row, strict=True)) for row in rows]
        return rows

    def new(self, account, order_id, side, price, qty, **fields):
        return self.send(codes.NEW, account=account, order_id=order_id, side=side, price=price, qty=qty, **fields)

    def gone(self):
        """(order id, code, lots) of orders that the last command took lots from, or removed, without a trade."""
        kinds = (codes.CANCELLED, codes.PREVENTED)
        return [(row["order_id"], row["code"], row["lots"]) for row in self.last if row["kind"] in kinds]

    def traded(self):
        """(account, lots bought) of each fill of the last command."""
        return [(row["account"], -row["lots"] if row["flags"] & codes.SELL else row["lots"]) for row in self.last
                if row["kind"] == codes.FILL]


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fields", "code"), [
    ({"flags": codes.FORCED}, codes.BAD_FLAGS), ({"flags": POST_ONLY | MARKET}, codes.BAD_FLAGS),
    ({"flags": POST_ONLY, "time_in_force": codes.IOC}, codes.BAD_FLAGS),
    ({"time_in_force": 9}, codes.BAD_TIME_IN_FORCE), ({"time_in_force": -1}, codes.BAD_TIME_IN_FORCE),
    ({"order_id": 0}, codes.BAD_ORDER_ID),
    ({"flags": BUDGET, "time_in_force": FOK, "price": 0}, codes.BAD_PRICE),
    ({"flags": BUDGET, "time_in_force": FOK, "trigger": codes.TRIGGER_MARK, "trigger_ticks": 1_100}, codes.BAD_TERMS)])
def test_a_new_order_whose_fields_contradict_each_other_is_refused(fields, code):
    assert Pair().send(codes.NEW, **{"account": A, "order_id": 1, "price": 1_000, "qty": 1, **fields}) == code


@pytest.mark.parametrize(("fields", "code"), [
    ({"qty": 0}, codes.BAD_LOTS), ({"qty": 1_001}, codes.BAD_LOTS), ({"qty": 1, "price": -1}, codes.BAD_PRICE),
    ({"qty": 1, "price": 4_001}, codes.BAD_PRICE)])
def test_an_amend_beyond_the_instruments_bounds_is_refused(fields, code):
    pair = Pair()
    pair.new(A, 1, BID, 900, 5)
    assert pair.send(codes.AMEND, account=A, order_id=1, **fields) == code


def test_a_parked_order_keeps_its_least_quantity_and_the_price_step():
    pair, waits = Pair(orders={"price_step_ticks": 2}), {"trigger": codes.TRIGGER_MARK, "trigger_ticks": 1_100}
    assert pair.new(A, 1, BID, 1_101, 5, **waits) == codes.BAD_PRICE_STEP
    assert pair.new(A, 1, BID, 1_102, 5, min_lots=3, **waits) == codes.PARKED_ORDER
    assert pair.send(codes.AMEND, account=A, order_id=1, qty=2) == codes.BAD_MIN_LOTS
    assert pair.send(codes.AMEND, account=A, order_id=1, qty=3, price=1_103) == codes.BAD_PRICE_STEP


@pytest.mark.parametrize(("kind", "fields", "code"), [
    (codes.AUCTION_START, {"instrument": 1}, codes.BAD_INSTRUMENT),
    (codes.AUCTION_END, {"instrument": -1}, codes.BAD_INSTRUMENT),
    (codes.AUCTION_START, {"qty": -1}, codes.BAD_AMOUNT), (codes.AUCTION_START, {"qty": 10**17 + 1}, codes.BAD_AMOUNT),
    (codes.AUCTION_START, {"price": 4_001}, codes.BAD_PRICE), (codes.AUCTION_END, {"price": -1}, codes.BAD_PRICE),
    (codes.MARK, {"instrument": 1, "price": 10_000}, codes.BAD_INSTRUMENT), (codes.MARK, {"price": 0}, codes.BAD_PRICE),
    (codes.MARK, {"price": 40_001}, codes.BAD_PRICE)])
def test_auctions_and_marks_need_an_instrument_and_a_price_that_exist(kind, fields, code):
    assert Pair().send(kind, **fields) == code


def test_funding_without_a_mark_moves_nothing():
    twin = Twin(venue_table())
    assert twin.send(codes.FUNDING_SETTLE, price=1_000_000) == codes.OK


# --- orders that end ---------------------------------------------------------------------------------------------


def test_an_order_with_terms_amended_to_what_it_filled_ends_and_one_amended_lower_stays():
    pair = Pair()
    pair.new(A, 1, BID, 900, 10, time_in_force=GTD, expiry_ns=2 * SECOND)
    assert pair.new(B, 2, ASK, 900, 4) == codes.FILLED
    assert pair.send(codes.AMEND, account=A, order_id=1, qty=5) == codes.RESTING
    assert pair.send(codes.AMEND, account=A, order_id=1, qty=4) == codes.CANCELLED_BY_USER
    assert pair.send(codes.CANCEL, account=A, order_id=1) == codes.UNKNOWN_ORDER


def test_a_shrinking_position_passes_the_partner_of_the_order_that_it_removed():
    pair = Pair()
    pair.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=10)
    pair.new(A, 1, ASK, 1_010, 2, flags=REDUCE_ONLY)
    pair.new(A, 2, ASK, 1_011, 4, flags=REDUCE_ONLY)
    pair.new(A, 3, ASK, 1_012, 4, flags=REDUCE_ONLY, link_id=2)
    pair.send(codes.OPEN_POSITION, account=B, order_id=A, price=1_000, qty=9)
    assert pair.gone() == [(3, codes.CANCELLED_REDUCE_ONLY, 4), (2, codes.CANCELLED_BY_LINK, 4),
                           (1, codes.SHRUNK_REDUCE_ONLY, 1)]


# --- auctions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reference", "price"), [(1_500, 1_050), (500, 950), (1_000, 1_000)])
def test_market_orders_alone_trade_at_the_reference_held_within_what_they_reach(reference, price):
    pair = Pair()
    pair.send(codes.AUCTION_START, price=reference)
    pair.new(A, 1, BID, 0, 5, flags=MARKET)
    pair.new(B, 2, ASK, 0, 3, flags=MARKET)
    pair.send(codes.AUCTION_END)
    ends = [(row["price"], row["lots"], row["money"]) for row in pair.last if row["kind"] == codes.AUCTION]
    assert ends == [(price, 3, 2)] and pair.gone() == [(1, codes.EXPIRED, 2)]


@pytest.mark.parametrize(("bought", "sold", "rest"), [(5, 3, [(1, codes.CANCELLED_BY_LINK, 2)]), (4, 4, []),
                                                     (2, 7, [(2, codes.CANCELLED_BY_LINK, 5)])])
def test_partners_that_meet_in_an_auction_trade_before_one_cancels_the_other(bought, sold, rest):
    pair = Pair()
    pair.send(codes.AUCTION_START, price=1_000)
    pair.new(A, 1, BID, 1_000, bought)
    pair.new(A, 2, ASK, 1_000, sold, link_id=1)
    pair.send(codes.AUCTION_END)
    assert pair.traded() == [(A, min(bought, sold)), (A, -min(bought, sold))] and pair.gone() == rest


@pytest.mark.parametrize(("older", "gone"), [
    (3, [(1, codes.CANCELLED_SELF_TRADE, 3), (2, codes.CANCELLED_BY_LINK, 5)]),
    (8, [(1, codes.OK, 5), (2, codes.CANCELLED_SELF_TRADE, 5), (1, codes.CANCELLED_BY_LINK, 3)])])
def test_partners_that_must_not_trade_go_together_once_one_has_nothing_left(older, gone):
    pair = Pair(instrument={"self_trade": "decrement"})
    pair.send(codes.AUCTION_START, price=1_000)
    pair.new(A, 1, BID, 1_000, older)
    pair.new(A, 2, ASK, 1_000, 5, link_id=1)
    pair.send(codes.AUCTION_END)
    assert pair.traded() == [] and pair.gone() == gone


def test_in_an_auction_the_terms_of_the_newer_order_stand_before_the_instruments_mode():
    pair = Pair(instrument={"self_trade": "cancel_newest"})
    pair.send(codes.AUCTION_START, price=1_000)
    pair.new(A, 1, BID, 1_000, 5, self_trade=codes.STP_CANCEL_BOTH)  # of the older one: not looked at
    pair.new(A, 2, ASK, 1_000, 5, self_trade=codes.STP_CANCEL_OLDEST)
    pair.send(codes.AUCTION_END)
    assert pair.traded() == [] and pair.gone() == [(1, codes.CANCELLED_SELF_TRADE, 5)]


@pytest.mark.parametrize("side", [BID, ASK])
def test_a_reduce_only_order_whose_position_went_in_the_auction_goes_in_its_turn(side):
    pair, better = Pair(), 1_005 if side == BID else 995
    holder, other = (B, A) if side == BID else (A, B)
    pair.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=5)
    pair.send(codes.AUCTION_START, price=1_000)
    pair.new(holder, 1, side, 1_000, 5, flags=REDUCE_ONLY)
    pair.new(holder, 2, side, better, 5)
    pair.new(C, 3, 1 - side, 1_000, 10)
    pair.send(codes.AUCTION_END)
    assert pair.gone() == [(1, codes.CANCELLED_REDUCE_ONLY, 5)] and len(pair.traded()) == 2
    assert other not in dict(pair.traded())


# --- what is read, and what must hold ----------------------------------------------------------------------------


def test_views_add_up_what_a_side_offers_and_who_is_worth_what():
    desk = Desk(liquidation={"detection_delay_ns": NEVER_NS})
    desk.fund(A, B, money=10**9)
    desk.mark(1_000)
    for order_id, (side, ticks, lots) in enumerate(((BID, 990, 4), (BID, 980, 5), (ASK, 1_010, 2), (ASK, 1_030, 6)), 1):
        assert desk.new(A, order_id, side, ticks, lots) == codes.RESTING
    shown = desk.exchange
    assert [shown.depth_lots(0, BID, ppm) for ppm in (5_000, 10_000, 20_000)] == [0, 4, 9]
    assert [shown.depth_lots(0, ASK, ppm) for ppm in (5_000, 10_000, 30_000)] == [0, 2, 8]
    assert [shown.impact_price(0, ASK, lots) for lots in (2, 4, 8, 9)] == [1_010, 1_020, 1_025, None]
    desk.seed(A, B, 1_000, 10)
    desk.mark(1_010)
    assert (shown.equity(A), shown.equity(B)) == (10**9 + 10_000, 10**9 - 10_000)
    desk.fund(C, money=20_000)
    desk.seed(C, B, 1_010, 10)
    assert shown.liquidating() == []
    desk.mark(991)
    assert (shown.equity(C), shown.liquidating()) == (1_000, [C])


@pytest.mark.parametrize("damage", [lambda state: state.ledger.totals["deposits"].__iadd__(1),
                                    lambda state: state.prices.markets["net_lots"].__iadd__(1)])
def test_the_loop_stops_at_once_where_money_or_lots_do_not_add_up(damage):
    desk = Desk()
    desk.fund(A)
    damage(desk.state)
    with pytest.raises(InvariantError):
        desk.mark(1_000)


@given(st.integers(0, 2**62), st.integers(1, 2**62))
def test_a_ratio_saturates_and_halves_both_while_the_divisor_is_large(a, b):
    ratio = getattr(arith.ratio_ppm, "py_func", arith.ratio_ppm)
    bits = max(0, b.bit_length() - 40)
    assert ratio(a, b) == min(BIG, (a >> bits) * 1_000_000 // (b >> bits))
    if bits == 0:
        assert ratio(a, b) == min(BIG, int(Fraction(a, b) * 1_000_000))


def test_an_amend_of_a_plain_order_drops_the_terms_that_were_held_for_another():
    pair = Pair()
    pair.new(A, 1, BID, 990, 5)
    pair.send(codes.TERMS, account=A, order_id=2)
    assert pair.send(codes.AMEND, account=A, order_id=1, price=991, qty=5) == codes.RESTING


@pytest.mark.parametrize(("first", "second", "sure"), [(1_001, 1_002, 5), (1_002, 1_001, 7)])
def test_of_partners_at_two_prices_the_better_one_is_sure_to_fill(first, second, sure):
    pair = Pair()
    pair.new(A, 1, ASK, first, 5)
    pair.new(A, 2, ASK, second, 7, link_id=1)
    assert pair.new(B, 3, BID, 1_002, sure + 1, time_in_force=FOK) == codes.FOK_UNFILLABLE
    assert pair.new(B, 4, BID, 1_002, sure, time_in_force=FOK) == codes.FILLED
