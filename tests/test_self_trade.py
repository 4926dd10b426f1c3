"""Self-trade prevention by rule: who is one owner, what each mode does, what fill-or-kill counts. DESIGN §3.5."""

import numpy as np
import pytest

from exchange import codes, schema
from tests.campaign_events import make_events, make_venue
from tests.desk import FIRST, Desk
from tests.differential import run_core

A, B, C = FIRST, FIRST + 1, FIRST + 2
BID, ASK = codes.BID, codes.ASK
ENDED = codes.EXPIRED_SELF_TRADE
SEEDS = range(1, 60)


def desk(mode="none", accounts=(A, B, C)):
    made = Desk(instrument={"self_trade": mode})
    made.fund(*accounts)
    made.mark(1_000)
    return made


def take(made, account, lots, ticks=1_000, **fields):
    """A bid that meets the asks; its outcomes but the RESULT, and the RESULT."""
    rows = made.send(codes.NEW, account=account, order_id=99, side=BID, price=ticks, qty=lots, **fields)
    return rows[:-1], rows[-1]


def levels(made, side, count):
    return [tuple(map(int, row)) for row in made.exchange.levels(0, side, count)]


def kinds(rows):
    return [(row["kind"], row["account"], row["lots"]) for row in rows]


def test_without_prevention_an_account_trades_with_itself():
    made = desk()
    made.new(A, 1, ASK, 1_000, 5)
    rows, result = take(made, A, 5)
    assert result["code"] == codes.FILLED
    assert kinds(rows) == [(codes.FILL, A, 5), (codes.FILL, A, 5)]


def test_cancel_newest_ends_the_taker_and_leaves_the_maker():
    made = desk("cancel_newest")
    made.new(B, 1, ASK, 999, 2)
    made.new(A, 2, ASK, 1_000, 5)
    rows, result = take(made, A, 6)
    assert kinds(rows) == [(codes.FILL, B, 2), (codes.FILL, A, 2)]
    assert (result["code"], result["lots"]) == (ENDED, 4)
    assert levels(made, ASK, 2) == [(1_000, 5)] and levels(made, BID, 1) == []


def test_cancel_oldest_removes_the_maker_and_the_taker_goes_on():
    made = desk("cancel_oldest")
    made.new(A, 1, ASK, 999, 5)
    made.new(B, 2, ASK, 1_000, 2)
    rows, result = take(made, A, 3)
    assert kinds(rows) == [(codes.CANCELLED, A, 5), (codes.FILL, B, 2), (codes.FILL, A, 2)]
    assert rows[0]["code"] == codes.CANCELLED_SELF_TRADE and rows[0]["flags"] == codes.SELL
    assert (result["code"], result["lots"]) == (codes.PARTLY_FILLED_RESTING, 1)


def test_cancel_both_removes_one_maker_and_ends_the_taker():
    made = desk("cancel_both")
    made.new(A, 1, ASK, 999, 5)
    made.new(A, 2, ASK, 1_000, 5)
    rows, result = take(made, A, 9)
    assert kinds(rows) == [(codes.CANCELLED, A, 5)] and (result["code"], result["lots"]) == (ENDED, 9)
    assert levels(made, ASK, 2) == [(1_000, 5)]


def test_decrement_takes_the_smaller_off_both():
    made = desk("decrement")
    made.new(A, 1, ASK, 999, 2)
    made.new(A, 2, ASK, 1_000, 5)
    rows, result = take(made, A, 3)
    assert [(row["kind"], row["order_id"], row["lots"], row["code"], row["counterparty"]) for row in rows] == [
        (codes.PREVENTED, 1, 2, codes.CANCELLED_SELF_TRADE, A), (codes.PREVENTED, 2, 1, codes.OK, A)]
    assert (result["code"], result["lots"]) == (ENDED, 0)
    assert levels(made, ASK, 2) == [(1_000, 4)]
    made.exchange.audit()


def test_a_decremented_order_has_not_filled_what_it_lost():
    """An amend counts what was filled, so what prevention took is not of it: on either side."""
    made = desk("decrement")
    made.new(A, 1, ASK, 1_000, 5)
    take(made, A, 2)
    assert made.code(codes.AMEND, account=A, order_id=1, qty=3) == codes.RESTING
    assert levels(made, ASK, 1) == [(1_000, 3)]
    _, result = take(made, A, 4)
    assert (result["code"], result["lots"]) == (codes.RESTING, 1)
    assert made.code(codes.AMEND, account=A, order_id=99, qty=1) == codes.RESTING
    assert levels(made, BID, 1) == [(1_000, 1)]
    made.exchange.audit()


def test_prevention_moves_no_last_price_and_charges_nothing():
    made = desk("cancel_both")
    made.new(A, 1, ASK, 1_000, 5)
    take(made, A, 5)
    assert made.state.prices.markets[0]["last_ticks"] == 0
    assert made.exchange.wallet(A)["cash"] == 1_000_000 and made.exchange.wallet(codes.FEES)["cash"] == 0


def test_accounts_of_one_group_are_one_owner_until_one_leaves():
    made = desk("cancel_newest")
    assert made.code(codes.SET_GROUP, account=A, qty=7) == codes.OK
    assert made.code(codes.SET_GROUP, account=B, qty=7) == codes.OK
    made.new(B, 1, ASK, 1_000, 5)
    assert take(made, A, 5)[1]["code"] == ENDED
    made.code(codes.SET_GROUP, account=A, qty=0)
    made.code(codes.SET_GROUP, account=C, qty=0)
    assert take(made, A, 2)[1]["code"] == codes.FILLED
    assert take(made, C, 2)[1]["code"] == codes.FILLED, "no group is not a group"


@pytest.mark.parametrize(("account", "group", "code"), [
    (codes.INSURANCE, 1, codes.BAD_ACCOUNT), (5_000, 1, codes.BAD_ACCOUNT), (A, -1, codes.BAD_GROUP),
    (A, 2**31, codes.BAD_GROUP), (A, 2**31 - 1, codes.OK)])
def test_set_group_checks_account_then_group(account, group, code):
    assert desk().code(codes.SET_GROUP, account=account, qty=group) == code


def test_the_takers_terms_stand_before_the_instruments_mode():
    made = desk("cancel_newest")
    made.new(A, 1, ASK, 1_000, 5)
    assert take(made, A, 1, self_trade=codes.STP_NONE)[1]["code"] == codes.FILLED
    assert take(made, A, 1, self_trade=codes.STP_DEFAULT)[1]["code"] == ENDED
    assert take(made, A, 1, self_trade=6)[1]["code"] == codes.BAD_SELF_TRADE
    assert take(made, A, 1, self_trade=-1)[1]["code"] == codes.BAD_SELF_TRADE
    assert take(made, A, 9, self_trade=codes.STP_CANCEL_OLDEST)[1]["code"] == codes.RESTING


def test_an_amend_that_enters_again_takes_its_own_terms():
    made = desk()
    made.new(A, 1, ASK, 1_001, 5)
    made.new(A, 2, BID, 999, 5)
    assert made.code(codes.AMEND, account=A, order_id=2, price=1_001, qty=5, self_trade=9) == codes.BAD_SELF_TRADE
    code = made.code(codes.AMEND, account=A, order_id=2, price=1_001, qty=5, self_trade=codes.STP_CANCEL_NEWEST)
    assert code == ENDED and levels(made, BID, 1) == []


@pytest.mark.parametrize(("mode", "code"), [
    ("none", codes.FILLED), ("cancel_newest", codes.FOK_UNFILLABLE), ("cancel_both", codes.FOK_UNFILLABLE),
    ("decrement", codes.FOK_UNFILLABLE), ("cancel_oldest", codes.FILLED)])
def test_fill_or_kill_counts_what_the_mode_lets_fill(mode, code):
    made = desk(mode)
    made.new(B, 1, ASK, 998, 2)
    made.new(A, 2, ASK, 999, 2)
    made.new(C, 3, ASK, 1_000, 2)
    fields = {"time_in_force": codes.FOK}
    assert take(made, A, 4, **fields)[1]["code"] == code
    if code == codes.FOK_UNFILLABLE:
        assert take(made, A, 2, **fields)[1]["code"] == codes.FILLED, "what stands before its own order counts"


def test_a_forced_order_meets_orders_of_its_group():
    made = desk("cancel_both", accounts=(B, C))
    made.fund(A, money=30_000)
    for account in (A, B):
        made.code(codes.SET_GROUP, account=account, qty=1)
    made.seed(A, C, 1_000, 15)
    assert made.new(B, 1, BID, 988, 15) == codes.RESTING
    made.mark(988)
    rows = made.settle() + made.settle()
    assert any(row["kind"] == codes.FILL and row["account"] == B for row in rows)


def test_orders_of_one_owner_never_trade_under_a_mode():
    """Over random streams: no FILL between one owner's accounts under a mode, unless the venue makes it."""
    checked = 0
    for seed in SEEDS:
        venue = make_venue(seed)
        if all(instrument.self_trade == "none" for instrument in venue.instruments):
            continue
        events = make_events(venue, seed, 700)
        events = events[events["kind"] != codes.TERMS]
        outcomes = np.array(run_core(venue, events)[0], schema.OUTCOME)
        groups = {}
        for row in outcomes:
            if row["kind"] == codes.RESULT and row["flags"] == codes.SET_GROUP and row["code"] == codes.OK:
                groups[int(row["account"])] = int(row["lots"])
            mode = venue.instruments[row["instrument"]].self_trade if row["kind"] == codes.FILL else "none"
            if mode != "none" and not row["flags"] & (codes.FORCED | codes.CONVERTED):
                mine, other = (groups.get(int(row[name]), 0) for name in ("account", "counterparty"))
                assert row["account"] != row["counterparty"] and not mine == other != 0
                checked += 1
    assert checked > 100
