"""Orders that rest: reduce-only ones follow their position, the venue clears its books. DESIGN §3.6.

Numbers worked out by hand, on both venues.
"""

import pytest

from exchange import codes
from exchange.venue import Exchange
from tests.desk import FIRST, Desk
from tests.standin import StandIn

A, B, C, D = FIRST, FIRST + 1, FIRST + 2, FIRST + 3
RO = codes.REDUCE_ONLY


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def desk(request):
    made = Desk(made=request.param)
    made.fund(A, B, C, D, money=10**9)
    made.mark(1_000)
    return made


def cut(rows):
    return [(row["order_id"], row["code"], row["lots"]) for row in rows if row["kind"] == codes.CANCELLED]


def fills(rows):
    """(maker's id, price, lots) of each trade."""
    return [(row["order_id"], row["price"], row["lots"]) for row in rows
            if row["kind"] == codes.FILL and row["flags"] & codes.MAKER]


def result(rows):
    return next((row["code"], row["lots"]) for row in rows if row["kind"] == codes.RESULT)


# --- reduce-only ------------------------------------------------------------------------------------------------


def test_a_new_reduce_only_order_gets_what_the_resting_ones_leave(desk):
    desk.seed(A, B, 1_000, 10)
    assert desk.new(A, 1, codes.ASK, 1_010, 7, flags=RO) == codes.RESTING
    rows = desk.send(codes.NEW, account=A, order_id=2, side=codes.ASK, price=1_011, qty=9, flags=RO)
    assert result(rows) == (codes.RESTING, 3)
    assert desk.new(A, 3, codes.ASK, 1_012, 1, flags=RO) == codes.REDUCE_ONLY_INCREASES
    # an amend counts the order's own size as gone
    assert result(desk.send(codes.AMEND, account=A, order_id=2, price=1_009, qty=20)) == (codes.RESTING, 3)


def test_a_shrinking_position_shrinks_the_newest_reduce_only_orders_first(desk):
    desk.seed(A, B, 1_000, 10)
    for order_id, ticks, lots in ((1, 1_012, 4), (2, 1_011, 3), (3, 1_010, 3)):
        desk.new(A, order_id, codes.ASK, ticks, lots, flags=RO)
    rows = desk.send(codes.OPEN_POSITION, account=B, order_id=A, price=1_000, qty=4)
    assert cut(rows) == [(3, codes.CANCELLED_REDUCE_ONLY, 3), (2, codes.SHRUNK_REDUCE_ONLY, 1)]
    rows = desk.send(codes.OPEN_POSITION, account=B, order_id=A, price=1_000, qty=8)  # from 6 long to 2 short
    assert cut(rows) == [(2, codes.CANCELLED_REDUCE_ONLY, 2), (1, codes.CANCELLED_REDUCE_ONLY, 4)]


def test_fills_of_a_plain_order_of_the_account_shrink_its_reduce_only_orders(desk):
    desk.seed(A, B, 1_000, 10)
    desk.new(A, 1, codes.ASK, 1_010, 10, flags=RO)
    desk.new(A, 2, codes.ASK, 1_009, 6)
    rows = desk.send(codes.NEW, account=C, order_id=3, side=codes.BID, price=1_009, qty=6)
    assert (fills(rows), cut(rows)) == ([(2, 1_009, 6)], [(1, codes.SHRUNK_REDUCE_ONLY, 6)])


def test_no_fill_of_a_reduce_only_order_increases_the_position_within_one_event(desk):
    desk.seed(A, B, 1_000, 10)
    desk.new(A, 1, codes.ASK, 1_010, 10, flags=RO)
    desk.new(A, 2, codes.ASK, 1_009, 6)
    rows = desk.send(codes.NEW, account=C, order_id=3, side=codes.BID, price=1_010, qty=15)
    assert fills(rows) == [(2, 1_009, 6), (1, 1_010, 4)]
    assert cut(rows) == [(1, codes.SHRUNK_REDUCE_ONLY, 6)]


def test_a_position_can_be_closed_at_once_whatever_rests_over_it(desk):
    desk.seed(A, B, 1_000, 10)
    desk.new(A, 1, codes.ASK, 1_010, 10, flags=RO)
    desk.new(C, 2, codes.BID, 999, 8)
    rows = desk.send(codes.NEW, account=A, order_id=3, side=codes.ASK, qty=50, flags=RO | codes.MARKET)
    assert result(rows) == (codes.EXPIRED, 2)
    assert cut(rows) == [(1, codes.SHRUNK_REDUCE_ONLY, 8)]


@pytest.mark.parametrize("beside, code", [(0, codes.FILLED), (1, codes.FOK_UNFILLABLE)])
def test_fill_or_kill_counts_reduce_only_orders_that_stand_alone(desk, beside, code):
    desk.seed(A, B, 1_000, 10)
    desk.new(A, 1, codes.ASK, 1_010, 6, flags=RO)
    desk.new(A, 2, codes.ASK, 1_011, 4, flags=RO)
    if beside:
        desk.new(A, 3, codes.ASK, 1_050, 1)
    assert desk.new(C, 4, codes.BID, 1_011, 10, time_in_force=codes.FOK) == code


def test_bids_over_a_short_position_shrink_like_asks_over_a_long_one(desk):
    desk.seed(A, B, 1_000, 10)
    desk.new(B, 1, codes.BID, 990, 10, flags=RO)
    desk.new(B, 2, codes.BID, 991, 4)
    rows = desk.send(codes.NEW, account=D, order_id=3, side=codes.ASK, price=990, qty=7, time_in_force=codes.IOC)
    assert fills(rows) == [(2, 991, 4), (1, 990, 3)]
    assert cut(rows) == [(1, codes.SHRUNK_REDUCE_ONLY, 4)]


# --- mass cancel ------------------------------------------------------------------------------------------------


def quotes(desk):
    for order_id, (account, side, ticks) in enumerate(
            ((A, 0, 990), (B, 0, 991), (A, 0, 991), (A, 1, 1_010), (B, 1, 1_009)), 1):
        assert desk.new(account, order_id, side, ticks, order_id) == codes.RESTING


@pytest.mark.parametrize("side, gone", [(0, [1, 3, 4]), (1, [1, 3]), (2, [4])])
def test_an_account_cancels_one_side_or_both(desk, side, gone):
    quotes(desk)
    rows = desk.send(codes.CANCEL_ALL, account=A, qty=side)
    assert cut(rows) == [(order_id, codes.CANCELLED_BY_USER, order_id) for order_id in gone]
    assert result(rows) == (codes.OK, len(gone))


@pytest.mark.parametrize("side, gone", [(0, [2, 3, 1, 5, 4]), (1, [2, 3, 1]), (2, [5, 4])])
def test_the_venue_cancels_best_price_first_and_oldest_first(desk, side, gone):
    desk.level(codes.BID, 991, 5)
    quotes(desk)
    rows = desk.send(codes.CANCEL_ALL, instrument=-1, qty=side)
    assert cut(rows) == [(order_id, codes.CANCELLED_BY_VENUE, order_id) for order_id in gone]
    assert result(rows) == (codes.OK, len(gone))


@pytest.mark.parametrize("account", [-1, codes.INSURANCE, A + 64])
def test_a_mass_cancel_of_no_user_is_refused(desk, account):
    assert desk.code(codes.CANCEL_ALL, account=account) == codes.BAD_ACCOUNT


@pytest.mark.parametrize("account", [0, A])
def test_a_mass_cancel_of_no_side_is_refused(desk, account):
    assert desk.code(codes.CANCEL_ALL, account=account, qty=3) == codes.BAD_SIDE
    assert desk.code(codes.CANCEL_ALL, account=account, qty=-1) == codes.BAD_SIDE
