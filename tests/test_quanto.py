"""Quanto perpetuals: a price in one currency, money in another, a fixed multiplier between them."""

import pytest

from exchange import codes, config
from exchange.errors import ConfigError
from exchange.venue import Exchange
from tests.desk import FIRST, Desk, venue_table
from tests.standin import StandIn

XBT = 10**8
LONG, SHORT = FIRST, FIRST + 1
ETHUSD = {"kind": "quanto", "multiplier": "0.000001", "tick": "0.05", "price_max": "10000", "order_max": "100000",
          "position_max": "100000", "open_interest_max": "1000000", "mark_per_tick": 5,
          "tiers": [{"floor": "0", "maintenance_ppm": 10_000, "leverage_max": 50}]}
ASSETS = [{"name": "USD", "quantum": "0.00000001"}]  # the desk's name of its one asset, here a coin


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def desk(request):
    made = Desk(instrument=ETHUSD, assets=ASSETS, made=request.param)
    made.fund(LONG, SHORT, money=XBT)
    return made


def test_a_thousand_ether_contracts_gain_a_tenth_of_a_coin_for_a_hundred_dollars(desk):
    """ETHUSD of BitMEX: 0.000001 XBT a contract for each USD, whatever the price of either."""
    desk.send(codes.MARK, price=500 * 100)  # sub-ticks of 0.01
    assert desk.seed(LONG, SHORT, 500 * 20, 1_000) == codes.OK
    assert desk.exchange.equity(LONG) == XBT
    desk.send(codes.MARK, price=600 * 100)
    assert desk.exchange.equity(LONG) - XBT == XBT // 10 == XBT - desk.exchange.equity(SHORT)
    desk.send(codes.SETTLE)
    assert desk.exchange.equity(LONG) - XBT == XBT // 10
    desk.exchange.audit()


def test_margin_and_fees_are_shares_of_the_fixed_value(desk):
    desk.send(codes.MARK, price=500 * 100)
    assert desk.new(SHORT, 1, codes.ASK, 500 * 20, 1_000) == codes.RESTING
    rows = desk.send(codes.NEW, account=LONG, order_id=2, side=codes.BID, price=500 * 20, qty=1_000)
    value = XBT // 2  # 1,000 contracts at 500 are worth half a coin
    assert [row["money"] for row in rows if row["kind"] == codes.FILL] == [value * 200 // 10**6, value * 500 // 10**6]
    assert desk.code(codes.WITHDRAW, account=LONG, qty=XBT - value * 500 // 10**6 - value // 50 + 1) == (
        codes.INSUFFICIENT_BALANCE)
    assert desk.code(codes.WITHDRAW, account=LONG, qty=XBT - value * 500 // 10**6 - value // 50) == codes.OK


def test_a_multiplier_of_fractions_of_a_quantum_is_refused():
    with pytest.raises(ConfigError, match="quantum"):
        config.build_venue(venue_table(1, {**ETHUSD, "multiplier": "0.0000001"}, assets=ASSETS))
