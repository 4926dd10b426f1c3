"""Auctions of units in liquidation, orders beyond bankruptcy, fill or kill. DESIGN §4.1, §4.2.

Numbers worked out by hand, on both venues. A is 10 lots long from 1,000 with 100,000 quanta: equity 1,000 m - 900,000
at mark m, maintenance 10 m.
"""

import pytest

from exchange import codes, config
from exchange.errors import ConfigError, InvariantError
from exchange.venue import Exchange
from tests.desk import FIRST, SECOND, Desk, venue_table
from tests.standin import StandIn
from tests.test_stages import at, lots_of, of_kind, wait

A, B, C, D = FIRST, FIRST + 1, FIRST + 2, FIRST + 3
TIME = {"duration_ns": 10 * SECOND, "period_ns": SECOND}
WHOLE = {"below_ppm": 1_000_000, "action": "auction", "concession_ppm": [[0, 0], [10 * SECOND, 1_000_000]], **TIME}
LEG = {**WHOLE, "concession_from": "mark", "concession_ppm": [[0, 1_000], [10 * SECOND, 6_000]]}


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def venue(request):
    def make(*stages, count=1, money=100_000, fund=10**10, rate=0, **liquidation):
        fees = {"maker_ppm": 0, "taker_ppm": 0, "liquidation_ppm": rate}
        desk = Desk(count, None, request.param, liquidation={"stages": list(stages), **liquidation}, fees=fees)
        desk.fund(B, C, money=10**10)
        desk.fund(codes.INSURANCE, money=fund)
        desk.fund(A, D, money=money)
        for k in range(count):
            desk.mark(1_000, k)
        assert desk.seed(A, B, 1_000, 10) == codes.OK
        return desk

    return make


def take(desk, account, lots, owner=A, instrument=0):
    """Code of a TAKE, and (account, price, lots, money) of what changed hands."""
    rows = desk.send(codes.TAKE, account=account, order_id=owner, instrument=instrument, qty=lots)
    return rows[-1]["code"], of_kind(rows, codes.TAKEN, "account", "price", "lots", "money")


# --- the whole unit ---------------------------------------------------------------------------------------------


def test_a_taker_of_a_unit_is_paid_the_concession_of_its_equity_with_lots_at_the_mark(venue):
    desk = venue({**WHOLE, "exit_ppm": 5_000_000})
    at(desk, 905)  # equity 5,000, maintenance 9,050
    wait(desk, 2 * SECOND)  # a fifth of the equity
    code, taken = take(desk, C, 3)
    assert code == codes.OK
    assert taken == [(A, 9_050, -3, -300), (C, 9_050, 3, 300)]  # 3 tenths of 1,000
    assert lots_of(desk, A) == 7 and lots_of(desk, C) == 3
    desk.exchange.audit()


def test_what_takers_leave_behind_is_not_conceded_again(venue):
    desk = venue({**WHOLE, "exit_ppm": 5_000_000})
    at(desk, 905)
    wait(desk, 5 * SECOND)
    assert take(desk, C, 4)[1][1][3] == 1_000  # 4 tenths of half of 5,000; 1,000 stay
    assert take(desk, C, 3)[1][1][3] == 750  # 3 sixths of half of 4,000 - 1,000


def test_takers_have_no_more_than_brings_the_unit_to_its_exit(venue):
    desk = venue(WHOLE)
    at(desk, 905)
    wait(desk, 2 * SECOND)
    code, taken = take(desk, C, 10)  # 10 * 4,050 / (9,050 - 1,000) = 5.03
    assert code == codes.OK and taken[0][2] == -6
    assert take(desk, C, 1) == (codes.NOT_OFFERED, [])
    rows = wait(desk, SECOND)
    assert of_kind(rows, codes.LIQUIDATION_END, "code", "money") == [(codes.RECOVERED, 4_400)]


def test_what_is_not_taken_in_time_goes_to_the_fund(venue):
    desk = venue(WHOLE)
    at(desk, 905)
    assert not of_kind(wait(desk, 10 * SECOND - 1), codes.TAKEOVER, "lots")
    rows = wait(desk, 1)
    assert of_kind(rows, codes.TAKEOVER, "lots", "price") == [(10, 900)]
    assert take(desk, C, 1) == (codes.NOT_OFFERED, [])


def test_of_a_unit_that_owes_the_fund_pays_takers_a_growing_amount(venue):
    desk = venue({**WHOLE, "payout_ppm": [[0, 0], [10 * SECOND, 1_000_000]]})
    at(desk, 890)  # equity -10,000, maintenance 8,900
    assert take(desk, C, 1)[1] == [(A, 8_900, -1, 1_000), (C, 8_900, 1, -1_000)], "at first the bankruptcy price"
    wait(desk, 5 * SECOND)
    code, taken = take(desk, C, 9)  # half of 9,000 + 8,010, of which 9,000 are what is owed
    assert code == codes.OK and taken[1][3] == -9_000 + 17_010 // 2
    rows = wait(desk, SECOND)
    assert of_kind(rows, codes.DEFICIT, "money") == [(-(17_010 // 2),)]


def test_a_fund_that_could_not_pay_offers_nothing(venue):
    desk = venue({**WHOLE, "payout_ppm": [[0, 1_000_000]]}, fund=5_000)
    at(desk, 890)
    assert take(desk, C, 10) == (codes.NOT_OFFERED, [])
    assert take(desk, C, 2)[0] == codes.OK  # 2 tenths of 18,900


def test_all_legs_go_in_proportion(venue):
    desk = venue({**WHOLE, "exit_ppm": 5_000_000}, count=2, money=200_000)
    desk.seed(A, B, 1_000, 20, 1)
    desk.mark(978, 1)
    at(desk, 870)  # equity 200,000 - 130,000 - 44,000 = 26,000; maintenance 8,700 + 19,560
    wait(desk, SECOND)
    code, taken = take(desk, C, 5, instrument=1)
    assert code == codes.OK and [row[2] for row in taken] == [-2, 2, -5, 5]
    assert [row[3] for row in taken] == [0, 0, -650, 650]  # 5 twentieths of a tenth


# --- lots of one leg ---------------------------------------------------------------------------------------------


def test_a_taker_of_a_leg_pays_the_mark_less_the_concession(venue):
    desk = venue({**LEG, "exit_ppm": 5_000_000})
    at(desk, 909, 0)
    wait(desk, 4 * SECOND)  # 3,000 ppm
    code, taken = take(desk, C, 2)
    assert code == codes.OK
    assert taken == [(A, 9_063, -2, 0), (C, 9_063, 2, 0)]  # 9,062.73, rounded for the account


def test_no_price_is_beyond_bankruptcy_unless_the_fund_may_pay(venue):
    worst = {**LEG, "exit_ppm": 5_000_000, "concession_ppm": [[0, 100_000]]}
    desk = venue(worst)
    at(desk, 905)
    assert take(desk, C, 1)[1][0][1] == 9_000
    desk = venue({**worst, "beyond_bankruptcy": True})
    at(desk, 905)
    rows = desk.send(codes.TAKE, account=C, order_id=A, qty=1)
    assert of_kind(rows, codes.LIQUIDATION_FEE, "money") == [(-8_550,)]  # 814.5 in place of 900
    desk = venue({**worst, "beyond_bankruptcy": True}, fund=10_000)
    at(desk, 905)
    assert take(desk, C, 1)[1][0][1] == 8_900, "as far as 10,000 carry 10 lots"
    desk.exchange.audit()


def test_takers_make_good_no_more_of_what_is_missing_than_is_allowed_by_now(venue):
    desk = venue({**LEG, "concession_ppm": [[0, 0]], "allowance_ppm": [[SECOND, 0], [2 * SECOND, 1_000_000]]})
    at(desk, 905)  # 4,050 are missing; a lot frees 905
    assert take(desk, C, 10) == (codes.NOT_OFFERED, [])
    wait(desk, 1_500_000_000)
    assert take(desk, C, 10)[1][1][2] == 3  # of 2,025
    assert take(desk, C, 10) == (codes.NOT_OFFERED, [])
    wait(desk, SECOND)
    assert take(desk, C, 10)[1][1][2] == 2  # the rest of 1,335


def test_a_standing_bid_is_made_once_its_concession_is_reached(venue):
    desk = venue({**LEG, "exit_ppm": 5_000_000, "bidder": C, "bids_ppm": [[2_000, 250_000], [2_000, 500_000]]})
    at(desk, 909)
    assert not of_kind(wait(desk, SECOND), codes.TAKEN, "lots")  # 1,500
    assert of_kind(wait(desk, SECOND), codes.TAKEN, "account", "lots") == [(A, -3), (C, 3)]
    assert of_kind(wait(desk, SECOND), codes.TAKEN, "account", "lots") == [(A, -4), (C, 4)]
    assert not of_kind(wait(desk, SECOND), codes.TAKEN, "lots")


# --- who may take -------------------------------------------------------------------------------------------------


def test_a_taker_needs_margin_room_and_something_on_offer(venue):
    desk = venue({**LEG, "exit_ppm": 5_000_000})
    assert take(desk, C, 1) == (codes.NOT_OFFERED, [])
    at(desk, 909)
    assert take(desk, C, 0)[0] == codes.BAD_LOTS and take(desk, A, 1)[0] == codes.BAD_ACCOUNT
    assert take(desk, FIRST + 9, 1)[0] == codes.BAD_ACCOUNT and take(desk, C, 1, owner=B)[0] == codes.NOT_OFFERED
    assert take(desk, C, 1, instrument=5)[0] == codes.BAD_INSTRUMENT
    desk.send(codes.WITHDRAW, account=D, qty=99_900)
    assert take(desk, D, 1)[0] == codes.INSUFFICIENT_MARGIN
    desk.fund(FIRST + 4, money=10**10)
    assert desk.seed(C, FIRST + 4, 909, 995) == codes.OK
    assert take(desk, C, 10)[0] == codes.POSITION_LIMIT
    assert desk.code(codes.HALT) == codes.OK
    assert take(desk, C, 1)[0] == codes.HALTED
    desk.exchange.audit()


# --- orders -------------------------------------------------------------------------------------------------------


def test_an_order_beyond_bankruptcy_is_filled_and_the_fund_pays(venue):
    close = {"below_ppm": 1_000_000, "action": "close", "band_ppm": 20_000, "beyond_bankruptcy": True}
    desk = venue(close)
    desk.new(C, 1, codes.BID, 890, 10)
    rows = at(desk, 905)
    assert of_kind(rows, codes.LIQUIDATION_ORDER, "price") == [(887,)]
    assert of_kind(rows, codes.LIQUIDATION_FEE, "money") == [(-10_000,)]
    assert of_kind(rows, codes.LIQUIDATION_END, "code", "money") == [(codes.CLOSED, 0)]
    desk = venue(close, fund=5_000)
    rows = at(desk, 905)
    assert of_kind(rows, codes.LIQUIDATION_ORDER, "price") == [(895,)]


def test_a_step_that_the_book_cannot_fill_whole_is_not_sent(venue):
    reduce = {"below_ppm": 1_000_000, "action": "reduce", "share_ppm": 500_000, "cooldown_ns": SECOND, "fill_or_kill": True}
    last = {"below_ppm": 1, "action": "takeover"}
    desk = venue(reduce, last)
    desk.new(C, 1, codes.BID, 905, 4)
    rows = at(desk, 905)
    assert of_kind(rows, codes.LIQUIDATION_ORDER, "code", "lots") == [(codes.FOK_UNFILLABLE, 5)]
    assert of_kind(rows, codes.TAKEOVER, "lots") == [(10,)] and not of_kind(rows, codes.FILL, "lots")
    desk = venue(reduce, last)
    desk.new(C, 1, codes.BID, 905, 5)
    rows = at(desk, 905)
    assert of_kind(rows, codes.LIQUIDATION_ORDER, "code", "lots") == [(codes.OK, 5)]
    assert not of_kind(rows, codes.TAKEOVER, "lots")


@pytest.mark.parametrize(("least", "most", "fee"), [(0, 1_000_000, 10), (0, 500_000, 10),
                                                   (1_000_000, 1_000_000, 5_000), (0, 1_000, 5)])
def test_the_fund_gets_a_least_and_a_most_of_what_a_liquidation_gains(venue, least, most, fee):
    desk = venue({"below_ppm": 1_000_000, "action": "close"}, rate=10, fund_least_ppm=least, fund_most_ppm=most)
    desk.new(C, 1, codes.BID, 905, 10)
    rows = at(desk, 905)
    assert of_kind(rows, codes.LIQUIDATION_FEE, "money") == [(fee,)]


# --- configuration and invariants -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "where"), [
    ({"duration_ns": None}, "duration_ns"), ({"concession_ppm": None}, "concession_ppm"),
    ({"concession_ppm": [[0, 5], [0, 6]]}, "concession_ppm"), ({"concession_ppm": [[0, 5], [1, 4]]}, "concession_ppm"),
    ({"concession_ppm": [[0, -1]]}, "concession_ppm"), ({"allowance_ppm": [[0, 1]]}, "allowance_ppm"),
    ({"concession_from": "mark"}, "concession_ppm"), ({"beyond_bankruptcy": True}, "beyond_bankruptcy"),
    ({"concession_from": "index", "concession_ppm": [[0, 1]], "payout_ppm": [[0, 1]]}, "payout_ppm"),
    ({"bidder": A}, "bidder"), ({"bidder": 1, "bids_ppm": [[0, 1]]}, "bidder"), ({"band_ppm": 5}, "band_ppm")])
def test_an_auction_that_makes_no_sense_is_refused(change, where):
    stage = {name: value for name, value in {**WHOLE, **change}.items() if value is not None}
    with pytest.raises(ConfigError, match=rf"stages\[0\].{where}"):
        config.build_venue(venue_table(liquidation={"stages": [stage]}))


def test_the_audit_sees_an_auction_that_nobody_holds():
    desk = Desk(liquidation={"stages": [WHOLE]})
    desk.fund(A, B)
    desk.state.ledger.standings["kept"][A] = 1
    with pytest.raises(InvariantError, match="STG-2"):
        desk.exchange.audit()
