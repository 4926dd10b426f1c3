"""Units of one account are liquidated each by its own plan, and the fund's own unit ends as the rules say."""

import pytest

from exchange import codes
from tests.desk import FIRST, MS_DELAY, Desk

A, B = FIRST, FIRST + 1


def delayed_desk():
    desk = Desk(count=2, liquidation={"order_delay_ns": 10 * MS_DELAY})
    desk.fund(B, codes.INSURANCE, money=10**10)
    for k in (0, 1):
        desk.mark(1_000, k)
    return desk


@pytest.mark.parametrize("isolated", [0, 1])
def test_a_wallet_that_enters_liquidation_leaves_the_plan_of_an_isolated_position_alone(isolated):
    desk, cross = delayed_desk(), 1 - isolated
    desk.fund(A, money=400_000)
    assert desk.code(codes.SET_MARGIN_MODE, account=A, instrument=isolated, qty=codes.ISOLATED) == codes.OK
    assert desk.code(codes.SET_LEVERAGE, account=A, instrument=isolated, qty=1_000) == codes.OK
    for k in (0, 1):
        assert desk.seed(A, B, 1_000, 10, instrument=k) == codes.OK
    rows = desk.mark(850, isolated) + desk.settle()  # the isolated position starts; its order is 10 ms away
    desk.clock += MS_DELAY
    rows += desk.mark(600, cross) + desk.settle()  # the wallet starts in between
    desk.clock += 100 * MS_DELAY
    rows += desk.settle()
    starts = [row["instrument"] for row in rows if row["kind"] == codes.LIQUIDATION_START]
    ends = [(row["instrument"], row["code"]) for row in rows if row["kind"] == codes.LIQUIDATION_END]
    assert starts == [isolated, -1]
    assert ends == [(isolated, codes.CLOSED), (-1, codes.CLOSED)]
    assert all(desk.exchange.position(A, k)["lots"] == 0 for k in (0, 1))
    desk.exchange.audit()


def fund_in_liquidation():
    """The fund took 10 lots long over, fell below zero, and waits for its turn to deleverage; B alone is short, 5 lots."""
    desk = Desk(liquidation={"order_delay_ns": 10 * MS_DELAY})
    desk.fund(A, money=150_000)
    desk.fund(B, money=10**10)
    desk.fund(codes.INSURANCE, money=20_000)
    desk.mark(1_000)
    assert desk.level(codes.ASK, 1_000, 10) == codes.OK
    assert desk.code(codes.SET_LEVERAGE, account=A, qty=1_000) == codes.OK
    assert desk.new(A, 1, codes.BID, 1_000, 10, time_in_force=codes.IOC) == codes.FILLED
    assert desk.level(codes.BID, 999, 5) == codes.OK
    assert desk.new(B, 2, codes.ASK, 999, 5, time_in_force=codes.IOC) == codes.FILLED
    rows = desk.mark(855)
    desk.clock += 100 * MS_DELAY
    rows += desk.settle()
    assert [(row["lots"], row["price"]) for row in rows if row["kind"] == codes.TAKEOVER] == [(10, 851)]
    desk.exchange.audit()
    rows = desk.mark(800) + desk.settle()
    assert [row["account"] for row in rows if row["kind"] == codes.LIQUIDATION_START] == [codes.INSURANCE]
    assert desk.exchange.fund_equity() == 20_000 - 51_000
    desk.exchange.audit()
    return desk


@pytest.mark.parametrize(("deposit", "equity"), [(5_000, -10_500), (21_000, 5_500)])
def test_a_fund_that_finds_too_few_counterparties_keeps_the_rest_and_is_checked_again_at_the_next_mark(deposit, equity):
    """B takes 5 lots at 831, where the fund's equity was gone; a deposit that came meanwhile may leave it above zero."""
    desk = fund_in_liquidation()
    desk.fund(codes.INSURANCE, money=deposit)
    desk.clock += 100 * MS_DELAY
    rows = desk.settle()
    assert [(row["kind"], row["lots"], row["price"]) for row in rows] == [
        (codes.ADL, -5, 831), (codes.ADL, 5, 831), (codes.DEFICIT, 0, 0)]
    assert desk.exchange.fund_equity() == equity
    assert desk.exchange.wallet(codes.INSURANCE)["stage"] == codes.STAGE_NONE
    desk.exchange.audit()
    rows = desk.mark(780) + desk.settle()
    assert [row["account"] for row in rows if row["kind"] == codes.LIQUIDATION_START] == [codes.INSURANCE]
    desk.exchange.audit()

