"""Holdings in the scenarios of portfolio margin, worked out by hand, on both venues. DESIGN §3.17."""

import pytest

from exchange import codes
from exchange.venue import Exchange
from tests.standin import StandIn
from tests.test_collateral import LOT, P, S, Spots, T
from tests.test_portfolio import A, B, grid, group, most, portfolio

MONEY = 10**9
NOTHING = {"haircuts": [{"floor": "0", "haircut_ppm": 1_000_000}]}  # a holding is worth nothing as collateral


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def made(request):
    return request.param


def desk_of(made, lots, spot=NOTHING, **terms):
    """A contract and two spot instruments at 1,000 ticks, the first two of one group that moves by a tenth; A is in
    portfolio mode and holds lots of each."""
    group_terms = {name: terms.pop(name) for name in ("add_ons", "members") if name in terms}
    members = group_terms.pop("members", ("P0", "S"))
    desk = Spots(made, spot=spot, other=spot, portfolio_margin=grid(group("A", *members, **group_terms), **terms))
    desk.fund(A, B, money=MONEY)
    for k, held in enumerate(lots):
        if k != P and held:
            assert desk.bring(A, held, k) == codes.OK
        elif held:
            assert desk.seed(*((A, B) if held > 0 else (B, A)), 1_000, abs(held)) == codes.OK
    assert portfolio(desk) == codes.OK
    return desk


@pytest.mark.parametrize(("lots", "terms", "need"), [
    ((0, 10, 0), {}, LOT),
    ((-10, 10, 0), {}, 0),  # a holding hedges a short
    ((-4, 10, 0), {}, 6 * LOT // 10),
    ((4, 10, 0), {}, 14 * LOT // 10),
    ((-10, 0, 10), {}, LOT),  # one of no group hedges nothing and keeps its haircut alone
    ((0, 10, 0), {"initial_factor_ppm": 1_500_000}, 15 * LOT // 10),  # of which the haircut is no part
    ((-10, 10, 0), {"add_ons": {"gross_ppm": 10_000, "offset_ppm": 500_000, "least_ppm": 5_000}}, LOT // 10),
    ((0, 10, 10), {"members": ("S", "P0", "T"), "add_ons": {"gross_ppm": 1_000_000}}, 2 * LOT),  # holdings pay none
])
def test_a_holding_takes_part_in_the_scenarios_beside_its_haircut(made, lots, terms, need):
    assert most(desk_of(made, lots, **terms)) == MONEY - need


def test_an_order_that_sells_the_hedge_must_be_covered(made):
    desk = desk_of(made, (-10, 10, 0))
    assert desk.code(codes.WITHDRAW, account=A, qty=MONEY - LOT // 2) == codes.OK
    assert desk.new(A, 1, codes.ASK, 1_000, 11, instrument=S) == codes.INSUFFICIENT_HOLDING
    assert desk.new(A, 2, codes.ASK, 1_000, 5, instrument=S) == codes.INSUFFICIENT_MARGIN
    assert desk.new(A, 3, codes.ASK, 1_000, 4, instrument=S) == codes.RESTING


def test_a_bid_for_a_holding_pays_its_price_and_what_the_holding_may_lose(made):
    desk = desk_of(made, (0, 0, 0))
    assert desk.code(codes.WITHDRAW, account=A, qty=MONEY - 11 * LOT // 10) == codes.OK
    assert desk.new(A, 1, codes.BID, 1_000, 1, instrument=S) == codes.INSUFFICIENT_MARGIN  # 110,000 and the fee
    assert desk.new(A, 2, codes.BID, 1_000, 1, instrument=T) == codes.RESTING


def test_what_hedges_cannot_be_withdrawn_without_cover(made):
    desk = desk_of(made, (-10, 10, 0))
    assert desk.code(codes.WITHDRAW, account=A, qty=MONEY - LOT // 2) == codes.OK
    assert desk.take(A, 6) == codes.INSUFFICIENT_BALANCE
    assert desk.take(A, 5) == codes.OK


def test_a_fall_of_the_hedge_alone_liquidates_at_the_first_mark_that_breaches(made):
    """Worth a tenth of its price as collateral: a fall by x costs a tenth of x, and leaves a tenth of x unhedged."""
    desk = desk_of(made, (-10, 10, 0), {"haircuts": [{"floor": "0", "haircut_ppm": 900_000}]})
    assert desk.code(codes.WITHDRAW, account=A, qty=MONEY) == codes.OK
    rows = desk.index(500) + desk.settle()
    assert not any(row["kind"] == codes.LIQUIDATION_START for row in rows)
    rows = desk.send(codes.INDEX, instrument=S, price=4_999) + desk.settle()
    assert [row["account"] for row in rows if row["kind"] == codes.LIQUIDATION_START] == [A]


def test_a_holding_that_comes_in_may_cost_more_than_it_brings(made):
    desk = desk_of(made, (0, 0, 0))
    assert desk.code(codes.WITHDRAW, account=A, qty=MONEY - LOT) == codes.OK
    assert desk.bring(A, 11) == codes.OK
    rows = desk.settle()
    assert [row["account"] for row in rows if row["kind"] == codes.LIQUIDATION_START] == [A]


def test_the_printed_grid_shows_holdings_and_a_wallet_with_them_audits():
    desk = desk_of(Exchange, (-4, 10, 0))
    shown = desk.exchange.portfolio_margin(A)
    assert shown.maintenance == 6 * LOT // 10, "the grid's part; the haircut stands beside it"
    desk.exchange.audit()
