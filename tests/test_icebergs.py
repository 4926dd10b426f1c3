"""Icebergs show a part of themselves: what fills, what they show next, whose turn it is. DESIGN §3.6.

Numbers worked out by hand, on both venues.
"""

import pytest

from exchange import codes, config, schema
from exchange.book_stream import Book
from exchange.dump import dump
from exchange.errors import ConfigError, InvariantError
from exchange.venue import Exchange
from tests.desk import FIRST, Desk, venue_table
from tests.standin import StandIn

A, B, C, D = FIRST, FIRST + 1, FIRST + 2, FIRST + 3
RO = codes.REDUCE_ONLY


def iceberg_desk(made, capacity=16, **instrument):
    desk = Desk(instrument={"iceberg": "refresh", **instrument}, made=made, capacity={"orders": capacity})
    desk.fund(A, B, C, D, money=10**9)
    desk.mark(100)
    return desk


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def made(request):
    return request.param


@pytest.fixture
def ice(made):
    return iceberg_desk(made)


def cut(rows):
    return [(row["order_id"], row["code"], row["lots"]) for row in rows if row["kind"] == codes.CANCELLED]


def fills(rows):
    """(maker's id, price, lots) of each trade."""
    return [(row["order_id"], row["price"], row["lots"]) for row in rows
            if row["kind"] == codes.FILL and row["flags"] & codes.MAKER]


def result(rows):
    return next((row["code"], row["lots"]) for row in rows if row["kind"] == codes.RESULT)


def iceberg(desk, account, order_id, side, ticks, lots, display, least=0, **fields):
    desk.exchange.submit(schema.events({
        "ts_ns": desk.clock, "kind": codes.NEW, "account": account, "order_id": order_id, "side": side, "price": ticks,
        "qty": lots, "display_lots": display, "display_min_lots": least, **fields}))
    desk.exchange.run()
    return desk.drain()


def shown(desk, side):
    """(price, [(id, lots shown), ...]) of each level, read from what both venues state."""
    made = desk.exchange
    state = dump(made.state) if isinstance(made, Exchange) else made.reference.state()
    return [(ticks, [(row[0], row[2]) for row in rows]) for ticks, rows in state["books"].get((0, side), [])]


def take(desk, order_id, side, ticks, lots, **fields):
    return desk.send(codes.NEW, account=C, order_id=order_id, side=side, price=ticks, qty=lots,
                     **{"time_in_force": codes.IOC, **fields})


def test_an_iceberg_shows_its_display_again_at_the_tail_each_time_it_is_used_up(ice):
    assert result(iceberg(ice, A, 1, codes.ASK, 101, 25, 10)) == (codes.RESTING, 25)
    ice.new(B, 2, codes.ASK, 101, 5)
    assert shown(ice, codes.ASK) == [(101, [(1, 10), (2, 5)])]
    rows = take(ice, 3, codes.BID, 101, 28)
    assert fills(rows) == [(1, 101, 10), (2, 101, 5), (1, 101, 10), (1, 101, 3)]
    assert shown(ice, codes.ASK) == [(101, [(1, 2)])]


def test_one_left_with_less_than_its_least_shows_its_display_and_loses_its_place_when_the_event_ends(ice):
    """Published: 5 of 10 shown fill, the least is 8; 10 are shown again, 85 hidden, and the other order comes first."""
    iceberg(ice, A, 1, codes.BID, 99, 100, 10, 8)
    iceberg(ice, B, 2, codes.BID, 99, 100, 100, 1)
    assert fills(take(ice, 3, codes.ASK, 99, 5)) == [(1, 99, 5)]
    assert shown(ice, codes.BID) == [(99, [(2, 100), (1, 10)])]
    assert fills(take(ice, 4, codes.ASK, 99, 1)) == [(2, 99, 1)]
    assert result(ice.send(codes.CANCEL, account=A, order_id=1)) == (codes.CANCELLED_BY_USER, 95)


def test_fill_or_kill_counts_what_is_hidden(ice):
    iceberg(ice, A, 1, codes.ASK, 101, 25, 10)
    assert result(take(ice, 2, codes.BID, 101, 26, time_in_force=codes.FOK)) == (codes.FOK_UNFILLABLE, 26)
    assert result(take(ice, 3, codes.BID, 101, 25, time_in_force=codes.FOK)) == (codes.FILLED, 0)


def test_an_amend_down_takes_from_what_is_hidden_first_and_keeps_the_place(ice):
    iceberg(ice, A, 1, codes.ASK, 101, 25, 10)
    ice.new(B, 2, codes.ASK, 101, 5)
    assert result(ice.send(codes.AMEND, account=A, order_id=1, qty=12)) == (codes.RESTING, 12)
    assert shown(ice, codes.ASK) == [(101, [(1, 10), (2, 5)])]
    ice.send(codes.AMEND, account=A, order_id=1, qty=7)
    assert shown(ice, codes.ASK) == [(101, [(1, 7), (2, 5)])]
    assert result(ice.send(codes.AMEND, account=A, order_id=1, qty=30)) == (codes.RESTING, 30)
    assert shown(ice, codes.ASK) == [(101, [(2, 5), (1, 10)])]


def test_a_recorded_print_reaches_every_part_of_an_iceberg(ice):
    iceberg(ice, A, 1, codes.ASK, 101, 25, 10)
    rows = ice.send(codes.TRADE_PRINT, side=codes.BID, price=101, qty=23)
    assert fills(rows) == [(1, 101, 10), (1, 101, 10), (1, 101, 3)]


def test_a_reduce_only_iceberg_shrinks_by_what_it_hides_first(ice):
    ice.seed(A, B, 100, 20)
    iceberg(ice, A, 1, codes.ASK, 101, 20, 6, flags=RO)
    rows = ice.send(codes.OPEN_POSITION, account=B, order_id=A, price=100, qty=12)
    assert cut(rows) == [(1, codes.SHRUNK_REDUCE_ONLY, 12)]
    assert shown(ice, codes.ASK) == [(101, [(1, 6)])]


def test_margin_and_limits_count_what_is_hidden(ice):
    ice.send(codes.SET_LEVERAGE, account=A, qty=500)
    iceberg(ice, A, 1, codes.BID, 99, 900, 90)
    assert ice.new(A, 2, codes.BID, 99, 101) == codes.POSITION_LIMIT
    assert ice.new(A, 3, codes.BID, 99, 100) == codes.RESTING


def test_each_part_to_come_takes_the_room_of_an_order(ice):
    """16 orders fit: one of 10 parts and 6 more; a part that was shown gives its room back."""
    assert result(iceberg(ice, A, 1, codes.ASK, 101, 160, 10))[0] == codes.RESTING
    assert ice.new(B, 2, codes.ASK, 102, 1) == codes.ORDERS_FULL
    take(ice, 3, codes.BID, 101, 10)
    assert ice.new(B, 2, codes.ASK, 102, 1) == codes.RESTING
    assert result(ice.send(codes.AMEND, account=A, order_id=1, qty=180))[0] == codes.ORDERS_FULL
    assert result(iceberg(ice, B, 4, codes.ASK, 102, 2, 1))[0] == codes.ORDERS_FULL


def test_an_iceberg_of_more_parts_than_there_is_room_for_is_refused(ice):
    assert result(iceberg(ice, A, 1, codes.ASK, 101, 170, 10)) == (codes.ORDERS_FULL, 170)


@pytest.mark.parametrize("display, least, fields", [
    (11, 0, {}), (-1, 0, {}), (5, 6, {}), (5, -1, {}), (0, 1, {}), (5, 0, {"time_in_force": codes.IOC})])
def test_a_display_that_cannot_be_is_refused(ice, display, least, fields):
    assert result(iceberg(ice, A, 1, codes.ASK, 101, 10, display, least, **fields)) == (codes.BAD_DISPLAY, 10)


def test_a_venue_without_icebergs_refuses_them(made):
    desk = iceberg_desk(made, iceberg="none")
    assert result(iceberg(desk, A, 1, codes.ASK, 101, 10, 5)) == (codes.BAD_DISPLAY, 10)


def test_a_stop_may_become_an_iceberg(ice):
    rows = iceberg(ice, A, 1, codes.ASK, 99, 25, 10, trigger=codes.TRIGGER_MARK, trigger_ticks=95)
    assert result(rows) == (codes.PARKED_ORDER, 25)
    assert result(ice.send(codes.AMEND, account=A, order_id=1, qty=8)) == (codes.PARKED_ORDER, 8)
    assert shown(ice, codes.ASK) == []
    ice.mark(94)
    ice.settle()
    assert shown(ice, codes.ASK) == [(99, [(1, 8)])]


def test_a_shortened_maker_loses_what_it_hides_first(made):
    desk = iceberg_desk(made, self_trade="decrement")
    iceberg(desk, A, 1, codes.ASK, 101, 25, 10)
    desk.send(codes.NEW, account=A, order_id=2, side=codes.BID, price=101, qty=12)
    assert shown(desk, codes.ASK) == [(101, [(1, 10)])]
    assert result(desk.send(codes.CANCEL, account=A, order_id=1)) == (codes.CANCELLED_BY_USER, 13)


# --- shared reserves, other algorithms --------------------------------------------------------------------------


def test_what_a_level_hides_is_shared_by_size_with_the_rest_to_the_oldest_in_one_fill_each(made):
    """11 wanted, 6 shown; 5 of 15 hidden: 3, 1 and 0 by size, and the one left over goes to the oldest."""
    desk = iceberg_desk(made, iceberg="pro_rata")
    for order_id, (lots, display) in enumerate([(11, 2), (5, 2), (4, 2)], 1):
        iceberg(desk, A, order_id, codes.ASK, 101, lots, display)
    rows = take(desk, 9, codes.BID, 101, 11)
    assert fills(rows) == [(1, 101, 6), (2, 101, 3), (3, 101, 2)]
    assert shown(desk, codes.ASK) == [(101, [(1, 2), (2, 2), (3, 2)])]
    assert fills(take(desk, 10, codes.BID, 101, 7))[:2] == [(1, 101, 3), (2, 101, 2)]


def test_a_taker_that_wants_no_more_than_is_shown_shares_nothing(made):
    desk = iceberg_desk(made, iceberg="pro_rata")
    iceberg(desk, A, 1, codes.ASK, 101, 20, 5)
    desk.new(B, 2, codes.ASK, 101, 3)
    assert fills(take(desk, 9, codes.BID, 101, 8)) == [(1, 101, 5), (2, 101, 3)]


def test_a_taker_that_prevention_ends_at_a_level_has_nothing_shown_to_it(made):
    desk = iceberg_desk(made, iceberg="pro_rata", self_trade="cancel_both")
    iceberg(desk, A, 1, codes.ASK, 101, 4, 1)
    desk.new(C, 2, codes.ASK, 101, 1)
    assert fills(take(desk, 9, codes.BID, 101, 11)) == []
    assert shown(desk, codes.ASK) == [(101, [(1, 1)])]


def test_a_level_with_nothing_hidden_left_gives_all_it_has(made):
    desk = iceberg_desk(made, iceberg="pro_rata")
    iceberg(desk, A, 1, codes.ASK, 101, 12, 5)
    desk.new(B, 2, codes.ASK, 101, 3)
    desk.new(B, 3, codes.ASK, 102, 3)
    assert fills(take(desk, 9, codes.BID, 102, 17)) == [(1, 101, 12), (2, 101, 3), (3, 102, 2)]


def test_pro_rata_sizes_are_what_is_shown_and_the_next_showing_waits_for_the_level_to_be_shared_anew(made):
    """12 of 10 shown and 10: six each; the four left over of the first showing before the second begins."""
    desk = iceberg_desk(made, allocation={"algorithm": "pro_rata", "pro_rata_min_lots": 0})
    iceberg(desk, A, 1, codes.ASK, 101, 30, 10)
    desk.new(B, 2, codes.ASK, 101, 10)
    assert fills(take(desk, 8, codes.BID, 101, 12)) == [(1, 101, 6), (2, 101, 6)]
    assert fills(take(desk, 9, codes.BID, 101, 11)) == [(1, 101, 4), (2, 101, 4), (1, 101, 3)]
    assert shown(desk, codes.ASK) == [(101, [(1, 7)])]


@pytest.mark.parametrize("lots, left", [(21, [(1, 1)]), (22, [])])
def test_one_that_was_left_with_less_than_its_least_and_then_used_up_is_not_shown_again(made, lots, left):
    """Pro rata leaves it with 4 of 10 shown, where 8 is the least; the remainder takes these and some of the last two."""
    desk = iceberg_desk(made, allocation={"algorithm": "pro_rata", "pro_rata_min_lots": 7, "fifo_ppm": 300_000})
    iceberg(desk, A, 1, codes.ASK, 101, 12, 10, 8)
    desk.new(B, 2, codes.ASK, 101, 10)
    rows = take(desk, 9, codes.BID, 101, lots)
    assert fills(rows)[0] == (1, 101, 6) and sum(row[2] for row in fills(rows)) == lots
    assert shown(desk, codes.ASK) == ([(101, left)] if left else [])


def test_shared_reserves_need_an_algorithm_in_time_order():
    table = venue_table(instrument={"iceberg": "pro_rata", "allocation": {"algorithm": "pro_rata"}})
    table["capacity"]["orders"] = 16
    with pytest.raises(ConfigError, match="iceberg: pro_rata shares what is hidden of a level that goes by fifo"):
        config.build_venue(table)


# --- auctions -----------------------------------------------------------------------------------------------------


def test_an_auction_counts_and_trades_what_is_hidden_and_keeps_the_places(ice):
    """20 wanted: the first trades all of its 15, though it shows 10; the second stays with 10 and shows 5 of them."""
    ice.send(codes.AUCTION_START)
    iceberg(ice, A, 1, codes.ASK, 100, 15, 10)
    iceberg(ice, B, 2, codes.ASK, 100, 15, 5)
    ice.new(C, 3, codes.BID, 100, 20)
    rows = ice.send(codes.AUCTION_END)
    (auction,) = [row for row in rows if row["kind"] == codes.AUCTION]
    assert (auction["price"], auction["lots"], auction["money"]) == (100, 20, -10)
    assert fills(rows) == [(1, 100, 15), (2, 100, 5)]
    assert shown(ice, codes.ASK) == [(100, [(2, 5)])]
    assert result(ice.send(codes.CANCEL, account=B, order_id=2)) == (codes.CANCELLED_BY_USER, 10)


def test_an_iceberg_that_no_trade_reached_in_an_auction_shows_what_it_did(ice):
    ice.send(codes.AUCTION_START)
    iceberg(ice, A, 1, codes.ASK, 100, 30, 10)
    iceberg(ice, B, 2, codes.ASK, 100, 30, 10)
    ice.new(C, 3, codes.BID, 100, 12)
    ice.send(codes.AUCTION_END)
    assert shown(ice, codes.ASK) == [(100, [(1, 10), (2, 10)])]


def test_reserves_are_shared_with_each_order_of_the_short_side_in_turn(made):
    """Published: 6 and 6 against three of 10 that show 1 each: everybody trades 2 and 2."""
    desk = iceberg_desk(made, capacity=64, iceberg="pro_rata")
    desk.send(codes.AUCTION_START)
    for order_id in (1, 2, 3):
        iceberg(desk, A, order_id, codes.ASK, 100, 10, 1)
    for order_id in (4, 5):
        desk.new(C, order_id, codes.BID, 101, 6)
    rows = desk.send(codes.AUCTION_END, price=100)
    sales = [row for row in rows if row["kind"] == codes.FILL and row["flags"] & codes.SELL]
    assert [(row["order_id"], row["lots"]) for row in sales] == [(1, 2), (2, 2), (3, 2), (1, 2), (2, 2), (3, 2)]
    assert shown(desk, codes.ASK) == [(100, [(1, 1), (2, 1), (3, 1)])]


# --- what the world sees ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["refresh", "pro_rata"])
def test_the_book_stream_never_tells_more_than_is_shown(policy):
    desk = Desk(instrument={"iceberg": policy}, publish_book=True, capacity={"orders": 128})
    desk.fund(A, B, C, money=10**9)
    desk.mark(100)
    for order_id, account in enumerate((A, B, A), 1):
        iceberg(desk, account, order_id, codes.ASK, 101, 50, 4)
    desk.new(B, 4, codes.ASK, 102, 9)
    take(desk, 8, codes.BID, 101, 30)
    desk.send(codes.AUCTION_START)
    desk.new(C, 9, codes.BID, 101, 30)
    desk.send(codes.AUCTION_END)
    changes, book = desk.exchange.book_changes(), Book()
    assert changes[changes["order_id"] < 4]["leaves_lots"].max() == 4
    book.apply(changes)
    told = [(ticks, order_id, lots) for ticks, (order_id, _, lots) in book.orders(0, codes.ASK)]
    assert told == [(ticks, order_id, lots) for ticks, rows in shown(desk, codes.ASK) for order_id, lots in rows]


def count_a_part_more(book):
    book.pools[0]["slices"] += 1


def show_more_than_the_display(book):
    book.terms["hidden_lots"][1] -= 1
    book.orders["leaves_lots"][1] += 1


def hide_below_the_least(book):
    book.terms["display_min_lots"][1] = 11


@pytest.mark.parametrize("damage", [count_a_part_more, show_more_than_the_display, hide_below_the_least])
def test_the_audit_sees_an_iceberg_that_is_not_what_it_says(damage):
    desk = iceberg_desk(Exchange)
    iceberg(desk, A, 1, codes.ASK, 101, 25, 10)
    desk.exchange.audit()
    damage(desk.exchange.state.book)
    with pytest.raises(InvariantError, match="ICE-1|BK-2"):
        desk.exchange.audit()
