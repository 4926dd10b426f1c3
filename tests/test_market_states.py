"""Market states and guards on orders, by rule: who may enter when, and what waits. DESIGN §3.7."""

import pytest

from exchange import codes, config
from exchange.codes import ASK, BID, GTC, IOC, MARKET, POST_ONLY, REDUCE_ONLY
from exchange.errors import ConfigError
from tests.desk import FIRST, Desk, venue_table

A, B, C = FIRST, FIRST + 1, FIRST + 2
S = {name: getattr(codes, f"STATE_{name}") for name in ("HALTED", "CANCEL_ONLY", "POST_ONLY", "REDUCE_ONLY")}


def desk(**sections):
    made = Desk(**sections)
    made.fund(A, B, C)
    made.mark(1_000)
    return made


def state(made, name):
    assert made.code(codes.SET_STATE, qty=S[name]) == codes.OK


@pytest.mark.parametrize(("name", "flags", "code"), [
    ("HALTED", 0, codes.HALTED), ("HALTED", REDUCE_ONLY, codes.HALTED),
    ("CANCEL_ONLY", 0, codes.CANCEL_ONLY), ("CANCEL_ONLY", POST_ONLY, codes.CANCEL_ONLY),
    ("POST_ONLY", 0, codes.POST_ONLY_STATE), ("POST_ONLY", POST_ONLY, codes.RESTING),
    ("REDUCE_ONLY", 0, codes.REDUCE_ONLY_STATE), ("REDUCE_ONLY", REDUCE_ONLY, codes.RESTING)])
def test_a_state_takes_only_its_orders_new_or_amended_and_every_cancel(name, flags, code):
    made = desk()
    made.seed(B, A, 1_000, 20)
    assert made.new(A, 1, BID, 900, 5, flags=flags) == codes.RESTING
    assert made.new(A, 2, BID, 900, 5, flags=flags) == codes.RESTING
    state(made, name)
    assert made.new(A, 3, BID, 901, 2, flags=flags) == code
    assert made.code(codes.AMEND, account=A, order_id=1, qty=4) == code
    assert made.code(codes.CANCEL, account=A, order_id=1) == codes.CANCELLED_BY_USER
    assert made.code(codes.CANCEL_ALL, account=A) == codes.OK
    made.exchange.audit()


def test_a_change_of_state_is_announced_and_no_change_is_not():
    made = desk()
    rows = made.send(codes.SET_STATE, qty=codes.STATE_POST_ONLY)
    assert [(row["kind"], row["code"]) for row in rows] == [(codes.STATE_CHANGE, codes.STATE_POST_ONLY),
                                                            (codes.RESULT, codes.OK)]
    assert len(made.send(codes.SET_STATE, qty=codes.STATE_POST_ONLY)) == 1
    assert [row["code"] for row in made.send(codes.HALT)] == [codes.STATE_HALTED, codes.OK]
    assert [row["code"] for row in made.send(codes.RESUME)] == [codes.STATE_CONTINUOUS, codes.OK]


def test_states_that_do_not_exist_or_are_an_auctions_are_refused():
    made = desk()
    for qty in (-1, codes.STATE_AUCTION, 6):
        assert made.code(codes.SET_STATE, qty=qty) == codes.BAD_STATE
    assert made.code(codes.SET_STATE, instrument=3) == codes.BAD_INSTRUMENT


def test_nothing_fills_in_a_halt_and_what_was_recorded_meanwhile_fills_at_its_end():
    made = desk()
    made.level(ASK, 1_005, 10)
    made.new(A, 1, BID, 1_000, 5)
    made.code(codes.HALT)
    assert made.send(codes.TRADE_PRINT, side=ASK, price=999, qty=50) == []
    assert made.level(ASK, 999, 3) == codes.OK and made.exchange.best(0) == (1_000, 999)
    assert made.exchange.markets[0]["last_ticks"] == 999
    made.exchange.audit()
    fills = [row for row in made.send(codes.RESUME) if row["kind"] == codes.FILL]
    assert [(row["account"], row["lots"], row["price"]) for row in fills] == [(A, 3, 1_000)]
    assert made.exchange.best(0) == (1_000, 1_005)


def test_a_recording_that_crosses_itself_in_a_halt_gives_way_at_once():
    made = desk()
    made.level(ASK, 1_005, 10)
    made.code(codes.HALT)
    made.level(BID, 1_006, 4)
    assert made.exchange.best(0) == (1_006, 0) and made.exchange.books[0]["crossed_levels"] == 1


@pytest.mark.parametrize(("name", "waits"), [("HALTED", True), ("CANCEL_ONLY", False), ("POST_ONLY", False)])
def test_a_liquidation_waits_in_a_halt_alone(name, waits):
    made = desk()
    made.fund(A + 5, money=30_000)
    assert made.seed(A + 5, B, 1_000, 10) == codes.OK
    made.level(BID, 985, 100)
    state(made, name)
    made.mark(975)
    orders = [row["lots"] for row in made.settle() if row["kind"] == codes.LIQUIDATION_ORDER]
    assert orders == ([] if waits else [10])
    made.exchange.audit()
    made.send(codes.RESUME)
    orders += [row["lots"] for row in made.settle() if row["kind"] == codes.LIQUIDATION_ORDER]
    assert orders == [10] and made.exchange.position(A + 5, 0)["lots"] == 0
    made.exchange.audit()


def test_who_recovers_while_he_waits_keeps_his_position():
    made = desk()
    made.fund(A + 5, money=30_000)
    made.seed(A + 5, B, 1_000, 10)
    made.send(codes.HALT)
    made.mark(975)
    made.settle()
    made.mark(1_000)
    ends = [row["code"] for row in made.send(codes.RESUME) + made.settle() if row["kind"] == codes.LIQUIDATION_END]
    assert ends == [codes.RECOVERED] and made.exchange.position(A + 5, 0)["lots"] == 10


# --- guards on orders --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("guards", "side", "price", "lots", "code"), [
    ({"collar_ppm": 10_000}, BID, 1_010, 1, codes.RESTING), ({"collar_ppm": 10_000}, BID, 1_011, 1, codes.PRICE_COLLAR),
    ({"collar_ppm": 10_000}, ASK, 990, 1, codes.RESTING), ({"collar_ppm": 10_000}, ASK, 989, 1, codes.PRICE_COLLAR),
    ({"collar_ppm": 10_000}, BID, 500, 1, codes.RESTING), ({"collar_ppm": 10_000}, ASK, 2_000, 1, codes.RESTING),
    ({"notional_min": "50"}, BID, 10, 5, codes.RESTING), ({"notional_min": "50"}, BID, 10, 4, codes.NOTIONAL_TOO_SMALL),
    ({"notional_max": "5000"}, BID, 1_000, 5, codes.RESTING),
    ({"notional_max": "5000"}, BID, 1_000, 6, codes.NOTIONAL_TOO_LARGE),
    ({"order_min": "3"}, BID, 1_000, 3, codes.RESTING), ({"order_min": "3"}, BID, 1_000, 2, codes.LOTS_TOO_SMALL),
    ({"price_step_ticks": 5}, ASK, 1_005, 1, codes.RESTING),
    ({"price_step_ticks": 5}, ASK, 1_006, 1, codes.BAD_PRICE_STEP),
    ({"lot_step": "4"}, ASK, 1_005, 8, codes.RESTING), ({"lot_step": "4"}, ASK, 1_005, 9, codes.BAD_LOT_STEP)])
def test_a_guard_stands_at_its_own_edge_for_new_and_amended_orders(guards, side, price, lots, code):
    made = desk(orders=guards)
    assert made.new(A, 1, side, price, lots) == code
    if code != codes.RESTING:
        assert made.new(A, 2, side, 300 if side == BID else 2_000, 12 if side == BID else 4) == codes.RESTING
        assert made.code(codes.AMEND, account=A, order_id=2, price=price, qty=lots) == code
    made.exchange.audit()


def test_a_fat_finger_is_measured_from_the_opposite_best_or_from_the_last_price():
    made = desk(orders={"fat_finger_ppm": 10_000})
    assert made.new(A, 1, BID, 3_000, 1) == codes.RESTING  # neither: nothing to measure from
    made.code(codes.CANCEL, account=A, order_id=1)
    made.send(codes.TRADE_PRINT, side=BID, price=1_000, qty=1)
    assert made.new(A, 2, BID, 1_011, 1) == codes.FAT_FINGER and made.new(A, 2, BID, 1_010, 1) == codes.RESTING
    assert made.new(B, 3, ASK, 999, 2) == codes.FAT_FINGER
    assert made.new(B, 3, ASK, 1_000, 2) == codes.PARTLY_FILLED_RESTING


def test_reduce_only_orders_may_be_small_and_market_orders_have_no_price_to_guard():
    made = desk(orders={"notional_min": "5000", "price_step_ticks": 7, "collar_ppm": 1, "fat_finger_ppm": 1})
    made.seed(B, A, 1_000, 100)
    made.level(ASK, 1_020, 500)
    assert made.new(A, 1, BID, 994, 1, flags=REDUCE_ONLY) == codes.RESTING
    assert made.new(C, 2, BID, 0, 5, flags=MARKET) == codes.FILLED  # worth 5,250 at its band
    assert made.new(C, 3, BID, 0, 4, flags=MARKET) == codes.NOTIONAL_TOO_SMALL


def test_open_orders_are_counted_by_account_and_instrument_and_only_what_would_rest():
    made = desk(count=2, orders={"open_orders": 2})
    made.mark(1_000, 1)
    assert [made.new(A, k, BID, 900, 1) for k in (1, 2, 3)] == [codes.RESTING, codes.RESTING, codes.TOO_MANY_ORDERS]
    assert made.new(A, 4, BID, 900, 1, instrument=1) == codes.RESTING and made.new(B, 5, BID, 900, 1) == codes.RESTING
    assert made.new(A, 6, BID, 900, 1, time_in_force=IOC) == codes.EXPIRED
    assert made.code(codes.AMEND, account=A, order_id=1, price=901, qty=2) == codes.RESTING
    made.code(codes.CANCEL, account=A, order_id=2)
    assert made.new(A, 7, BID, 900, 1, time_in_force=GTC) == codes.RESTING


def test_shrinking_an_order_in_place_is_held_to_the_lot_step_alone():
    made = desk(orders={"lot_step": "2", "order_min": "6", "collar_ppm": 10_000})
    assert made.new(A, 1, BID, 1_000, 8) == codes.RESTING
    made.mark(900)  # its price is beyond the collar by now
    assert made.code(codes.AMEND, account=A, order_id=1, qty=5) == codes.BAD_LOT_STEP
    assert made.code(codes.AMEND, account=A, order_id=1, qty=2) == codes.RESTING
    assert made.code(codes.AMEND, account=A, order_id=1, qty=10) == codes.PRICE_COLLAR


def test_an_instruments_guards_replace_the_venues():
    made = Desk(orders={"order_min": "5"}, instrument={"orders": {"lot_step": "2"}})
    made.fund(A)
    made.mark(1_000)
    assert made.new(A, 1, BID, 900, 2) == codes.RESTING and made.new(A, 2, BID, 900, 3) == codes.BAD_LOT_STEP


@pytest.mark.parametrize(("sections", "where"), [
    ({"orders": {"order_min": "0.5"}}, "orders.order_min"), ({"orders": {"lot_step": "x"}}, "orders.lot_step"),
    ({"orders": {"notional_min": "5", "notional_max": "4"}}, "orders.notional_max"),
    ({"orders": {"collar_ppm": 1_000_000}}, "orders.collar_ppm"),
    ({"auction": {"fee": "maker"}, "fees": {"maker_ppm": -1, "taker_ppm": 500}}, "auction.fee"),
    ({"auction": {"price": "dutch"}}, "auction.price")])
def test_terms_that_cannot_be_meant_are_refused_by_name(sections, where):
    with pytest.raises(ConfigError, match=where):
        config.build_venue({**venue_table(), **sections})

