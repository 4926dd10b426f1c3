"""Bankruptcy prices that leave what the taker's fee of closing comes to.

One lot moving one tick is one unit of money. A's ten lots from 1,000 with 300 units are bankrupt at 970, without a fee.
"""

import pytest

from exchange import codes
from tests.desk import FIRST, INVERSE, UNIT
from tests.test_waterfall import kinds, marked, of_kind, opened

A, B, C = range(FIRST, FIRST + 3)
RICH = 100_000
WITH_FEE = {"liquidation": {"bankruptcy_fee": True}}
DEAR = {"maker_ppm": 0, "taker_ppm": 10_000}  # a hundredth


def cash(twin, account):
    return int(twin.core.wallet(account)["cash"])


def order(twin, ticks):
    (price,), *_ = of_kind(marked(twin, ticks), codes.LIQUIDATION_ORDER, "price")
    return price


@pytest.mark.parametrize(("sections", "price"), [({}, 970), (WITH_FEE, 980)])
def test_a_long_pays_its_fee_out_of_what_the_price_is_nearer(sections, price):
    """At 979.80 a hundredth of 9,798 and the loss of 202 are 300; the next tick is 980."""
    assert order(opened({A: 300, B: RICH}, [(A, B, 10)], fees=DEAR, **sections), 975) == price


@pytest.mark.parametrize(("sections", "price"), [({}, 1_030), (WITH_FEE, 1_019)])
def test_so_does_a_short(sections, price):
    assert order(opened({A: 300, B: RICH}, [(B, A, 10)], fees=DEAR, **sections), 1_025) == price


def test_an_inverse_contract_likewise():
    """Ten lots of 10,000 units from 1,000: 10,000,000 / 1,000 and 300 more are worth a hundredth more at 980.58."""
    twin = opened({A: 300, B: RICH}, [(A, B, 10)], fees=DEAR, instrument=INVERSE, **WITH_FEE)
    assert order(twin, 978) == 981


def test_filled_at_that_price_it_pays_the_whole_fee_and_has_nothing_left_but_the_ticks_rest():
    twin = opened({A: 300, B: RICH, C: RICH}, [(A, B, 10)], fees=DEAR, **WITH_FEE)
    twin.send(codes.NEW, account=C, order_id=1, side=codes.BID, price=980, qty=10)
    rows = marked(twin, 975)
    assert of_kind(rows, codes.FILL, "account", "money")[-1] == (A, 98 * UNIT)
    assert cash(twin, A) == (300 - 200 - 98) * UNIT and not kinds(rows, codes.DEFICIT)


def test_in_pieces_it_never_ends_below_zero():
    twin = opened({A: 300, B: RICH, C: RICH}, [(A, B, 10)], fees={"maker_ppm": 0, "taker_ppm": 9_999}, **WITH_FEE)
    for order_id in range(1, 11):
        twin.send(codes.NEW, account=C, order_id=order_id, side=codes.BID, price=980, qty=1)
    rows = marked(twin, 975)
    assert len(of_kind(rows, codes.FILL, "account")) == 20 and 0 <= cash(twin, A) < 10 * UNIT
    assert not kinds(rows, codes.DEFICIT)


def test_the_liquidation_fee_is_what_is_gained_over_it_beyond_the_fee_it_leaves():
    fees = {**DEAR, "liquidation_ppm": 900_000}
    twin = opened({A: 300, B: RICH, C: RICH}, [(A, B, 10)], fees=fees, **WITH_FEE)
    twin.send(codes.NEW, account=C, order_id=1, side=codes.BID, price=985, qty=10)
    rows = marked(twin, 975)
    assert of_kind(rows, codes.FILL, "money")[-1] == (98 * UNIT + 50,)
    assert of_kind(rows, codes.LIQUIDATION_FEE, "money") == [(50 * UNIT - 50,)]


def test_what_it_leaves_stays_with_the_account_where_the_fund_takes_over():
    twin = opened({A: 300, B: RICH, codes.INSURANCE: RICH}, [(A, B, 10)], fees=DEAR, **WITH_FEE)
    marked(twin, 975)
    assert cash(twin, A) == 100 * UNIT
