"""Inverse contracts, in numbers worked by hand: a contract of 100 USD, settled in a coin of 10**8 quanta."""

import pytest

from exchange import codes
from exchange.core.contract import worst_ticks
from tests.desk import FIRST, NEVER_NS, Desk

COIN = 10**8
TIERS = [{"floor": "0", "maintenance_ppm": 4_000, "leverage_max": 125}]
CONTRACT = {"kind": "inverse", "multiplier": "100", "price_min": "1000", "price_max": "200000", "tiers": TIERS,
            "order_max": "10000", "position_max": "10000"}
ASSETS = [{"name": "USD", "quantum": "0.00000001"}]
LONG, SHORT = FIRST, FIRST + 1


def coin_desk(**sections):
    desk = Desk(instrument=CONTRACT, assets=ASSETS, **sections)
    desk.fund(LONG, SHORT, money=10 * COIN)
    desk.mark(50_000)
    return desk


def position(desk, account):
    return desk.exchange.position(account, 0)


def open_isolated(desk, leverage, lots=100, ticks=50_000):
    """Both sides isolated at a leverage, from a price; returns the margin that each paid in."""
    for account in (LONG, SHORT):
        assert desk.code(codes.SET_MARGIN_MODE, account=account, qty=codes.ISOLATED) == codes.OK
        assert desk.code(codes.SET_LEVERAGE, account=account, qty=100 * leverage) == codes.OK
    assert desk.seed(LONG, SHORT, ticks, lots) == codes.OK
    return int(position(desk, LONG)["isolated_margin"])


def test_a_contract_is_worth_its_face_over_its_price_and_profit_is_in_coin():
    desk = coin_desk()
    desk.seed(LONG, SHORT, 50_000, 100)  # 10,000 USD at 50,000 are 0.2 coin
    assert (position(desk, LONG)["entry_value"], position(desk, SHORT)["entry_value"]) == (-COIN // 5, COIN // 5)
    desk.mark(60_000)  # 10,000 USD at 60,000 are 0.16666666 coin and a fraction, rounded toward zero
    assert desk.exchange.equity(LONG) - 10 * COIN == 20_000_000 - 16_666_666
    assert desk.exchange.equity(SHORT) - 10 * COIN == 16_666_666 - 20_000_000


def test_a_round_trip_pays_what_one_side_loses_to_the_other():
    desk = coin_desk()
    desk.seed(LONG, SHORT, 50_000, 100)
    desk.seed(SHORT, LONG, 55_000, 30)
    desk.seed(SHORT, LONG, 61_000, 70)
    # 0.2 coin were bought; 3,000 USD at 55,000 and 7,000 USD at 61,000 give 5,454,545 and 11,475,409 quanta back
    assert desk.exchange.wallet(LONG)["cash"] - 10 * COIN == 20_000_000 - 5_454_545 - 11_475_409
    assert desk.exchange.wallet(SHORT)["cash"] - 10 * COIN == 5_454_545 + 11_475_409 - 20_000_000
    desk.exchange.audit()


def test_fees_are_a_share_of_the_coin_value_rounded_against_the_payer():
    desk = coin_desk(fees={"maker_ppm": -100, "taker_ppm": 500})
    desk.new(SHORT, 1, codes.ASK, 30_000, 1)  # 100 USD at 30,000: 333,333 quanta
    assert desk.new(LONG, 2, codes.BID, 30_000, 1) == codes.FILLED
    assert desk.exchange.wallet(LONG)["cash"] == 10 * COIN - 167  # 500 ppm are 166.67
    assert desk.exchange.wallet(SHORT)["cash"] == 10 * COIN + 33  # a rebate of 100 ppm is 33.33


def test_fees_may_be_finer_than_a_millionth():
    rates = {"maker_ppm": -1, "maker_beyond_ppb": 250, "taker_ppm": 2, "taker_beyond_ppb": 300}
    desk = coin_desk(fees=rates)
    desk.new(SHORT, 1, codes.ASK, 30_000, 90)  # 9,000 USD at 30,000: 30,000,000 quanta
    assert desk.new(LONG, 2, codes.BID, 30_000, 90) == codes.FILLED
    assert desk.exchange.wallet(LONG)["cash"] == 10 * COIN - 69
    assert desk.exchange.wallet(SHORT)["cash"] == 10 * COIN + 22  # 22.5


def test_funding_is_paid_on_the_coin_value_at_the_mark():
    desk = coin_desk()
    desk.seed(LONG, SHORT, 50_000, 100)
    desk.mark(40_000)  # 0.25 coin
    desk.send(codes.FUNDING_SETTLE, price=100_000)  # 0.01 %
    assert desk.exchange.wallet(LONG)["cash"] == 10 * COIN - 2_500
    assert desk.exchange.wallet(SHORT)["cash"] == 10 * COIN + 2_500


def test_a_long_is_guarded_at_its_liquidation_price_and_not_where_the_slope_of_today_would_put_it():
    desk = coin_desk(liquidation={"detection_delay_ns": NEVER_NS})
    open_isolated(desk, 10)
    # margin 0.02; breached where 0.2 * 50,000 / p * 1.004 > 0.22, at 45,636.36; today's slope would say 45,219
    assert desk.exchange.liquidation_price(LONG, 0) == 456_363
    desk.send(codes.MARK, price=456_364)
    assert position(desk, LONG)["stage"] == codes.STAGE_NONE
    desk.send(codes.MARK, price=456_363)
    assert position(desk, LONG)["stage"] == codes.STAGE_DETECTED


def test_a_short_that_holds_its_face_in_coin_is_never_liquidated():
    desk = coin_desk()
    open_isolated(desk, 1)
    assert desk.exchange.liquidation_price(SHORT, 0) is None
    desk.mark(200_000)
    desk.settle()
    assert position(desk, SHORT)["stage"] == codes.STAGE_NONE
    assert desk.exchange.liquidation_price(SHORT, 0) is None


@pytest.mark.parametrize("lots, value, ticks, why", [
    (100, -COIN // 5, 50_000, "what 0.2 coin buy back at 50,000"),
    (100, -COIN // 5 - 1, 50_000, "one quantum more to spend does not reach the next tick down"),
    (100, 0, 200_000, "no price gives a long its debt for nothing: the highest, which no bid will meet"),
    (100, 1, 200_000, "nor for less than nothing"),
    (-100, COIN // 5, 50_000, "what 0.2 coin are owed at 50,000"),
    (-100, COIN // 5 + 1, 49_999, "one quantum more is owed a tick lower"),
    (-100, 0, 200_000, "a short that may be worth nothing is bankrupt at no price: it may buy at any"),
    (-100, -1, 200_000, "nor one that may be worth less"),
    (100, -10**12, 1_000, "no price below the lowest of the ladder"),
])
def test_a_bankruptcy_price_that_no_price_attains_is_the_end_of_the_ladder(lots, value, ticks, why):
    prices = coin_desk().state.prices
    assert getattr(worst_ticks, "py_func", worst_ticks)(prices, 0, lots, value) == ticks, why


def test_a_long_is_liquidated_into_the_book_at_its_bankruptcy_price_or_better():
    desk = coin_desk()
    open_isolated(desk, 10)
    desk.level(codes.BID, 45_500, 1_000)
    desk.mark(45_600)
    outcomes = desk.settle()
    order = next(row for row in outcomes if row["kind"] == codes.LIQUIDATION_ORDER)
    # 0.22 coin are gone where 10,000 USD cost 0.22: at 45,454.5, rounded in the account's favour
    assert order["price"] == 45_455
    fill = next(row for row in outcomes if row["kind"] == codes.FILL)
    assert (fill["price"], fill["lots"]) == (45_500, 100)
    desk.exchange.audit()


def test_a_short_closed_in_pieces_below_its_bankruptcy_price_owes_nothing_to_rounding():
    """The liquidation fee takes all of each fill's advantage, whose value is rounded; the fund is not asked."""
    desk = coin_desk(fees={"taker_ppm": 500, "liquidation_ppm": 90_000})
    desk.mark(54_108)
    open_isolated(desk, 10, ticks=54_108)  # bankrupt at 60,120 to the quantum; a contract there is 166,333.9 quanta
    for k in range(100):
        desk.level(codes.ASK, 59_501 + 3 * k, 1)
    desk.mark(60_000)
    outcomes = desk.settle()
    fills = [row for row in outcomes if row["kind"] == codes.FILL]
    assert len(fills) == 100 and fills[-1]["price"] < 60_120
    assert not [row for row in outcomes if row["kind"] in (codes.DEFICIT, codes.TAKEOVER)]
    (end,) = (row for row in outcomes if row["kind"] == codes.LIQUIDATION_END)
    assert end["code"] == codes.CLOSED
    desk.exchange.audit()
