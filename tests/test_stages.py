"""Stages of liquidation: thresholds, dwell, cooldown, exits, actions. DESIGN §4.1.

Numbers worked out by hand, on both venues. A is 10 lots long from 1,000 with 100,000 quanta: equity 1,000 m - 900,000
at mark m, maintenance 10 m, so that equity over maintenance is 1.25 at 911.39, 1 at 909.09, 2/3 at 906.04.
"""

import pytest

from exchange import codes, config
from exchange.errors import ConfigError, InvariantError
from exchange.venue import Exchange
from tests.desk import FIRST, MS_DELAY, SECOND, Desk, venue_table
from tests.standin import StandIn

A, B, C = FIRST, FIRST + 1, FIRST + 2
WARN = {"below_ppm": 1_250_000, "action": "warn"}
CANCEL = {"below_ppm": 1_100_000, "action": "cancel_orders"}
PART = {"below_ppm": 1_100_000, "action": "reduce", "share_ppm": 250_000, "cooldown_ns": SECOND}
CLOSE = {"below_ppm": 1_000_000, "action": "close"}
FUND = {"below_ppm": 666_667, "action": "takeover"}


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def venue(request):
    def make(*stages, money=100_000, count=1, instrument=None, **liquidation):
        desk = Desk(count, instrument, request.param, liquidation={"stages": list(stages), **liquidation})
        desk.fund(B, C, codes.INSURANCE, money=10**10)
        desk.fund(A, money=money)
        for k in range(count):
            desk.mark(1_000, k)
        assert desk.seed(A, B, 1_000, 10) == codes.OK
        return desk

    return make


def stages_of(rows):
    """(number, ratio, equity) of each stage that acted."""
    return [(row["lots"], row["price"], row["money"]) for row in rows if row["kind"] == codes.STAGE]


def of_kind(rows, kind, *names):
    return [tuple(row[name] for name in names) for row in rows if row["kind"] == kind]


def at(desk, ticks, sub=0, instrument=0):
    """A mark, and all that is due at its time."""
    return desk.mark(ticks, instrument, sub) + desk.settle()


def wait(desk, ns):
    """Let time pass, without an event."""
    desk.clock += ns
    return desk.settle()


def lots_of(desk, account, instrument=0):
    rows = desk.send(codes.SET_LEVERAGE, account=account, instrument=instrument, qty=99)  # refused; a reply to count on
    assert rows[0]["code"] == codes.BAD_LEVERAGE
    if isinstance(desk.exchange, StandIn):
        return desk.exchange.world.find_position(account, instrument).lots
    return int(desk.exchange.position(account, instrument)["lots"])


# --- in and out -------------------------------------------------------------------------------------------------


def test_a_stage_begins_at_the_first_mark_below_its_ratio(venue):
    desk = venue(WARN, CLOSE)
    assert at(desk, 911, 4)[1:] == []
    rows = at(desk, 911, 3)  # equity 11,300 against 1.25 * 9,113 = 11,391.25
    assert of_kind(rows, codes.STAGE, "account", "instrument", "flags") == [(A, -1, codes.STAGE_WARN)]
    assert stages_of(rows) == [(1, 11_300 * 10**6 // 9_113, 11_300)]
    assert at(desk, 911, 2)[1:] == [], "it acts once"
    assert not of_kind(at(desk, 909, 1), codes.LIQUIDATION_START, "account")
    rows = at(desk, 909, 0)  # equity 9,000 of 9,090
    assert stages_of(rows) == [(2, 990_099, 9_000)]
    assert of_kind(rows, codes.LIQUIDATION_START, "account", "money") == [(A, 9_000)]
    desk.exchange.audit()


def test_a_mark_that_falls_through_all_stages_lets_each_act_in_order(venue):
    desk = venue(WARN, CANCEL, CLOSE)
    desk.new(A, 7, codes.BID, 900, 1)
    rows = at(desk, 905)
    assert stages_of(rows) == [(k, 552_486, 5_000) for k in (1, 2, 3)]
    kinds = [row["kind"] for row in rows if row["kind"] in (codes.STAGE, codes.CANCELLED, codes.LIQUIDATION_START)]
    assert kinds == [codes.STAGE, codes.STAGE, codes.CANCELLED, codes.STAGE, codes.LIQUIDATION_START]


def test_who_is_above_the_exit_may_enter_again_and_who_is_not_may_not(venue):
    desk = venue({**WARN, "exit_ppm": 1_500_000}, CLOSE)
    assert len(stages_of(at(desk, 911))) == 1
    at(desk, 912)  # 1.316
    assert not stages_of(at(desk, 911))
    assert not stages_of(at(desk, 913, 7)), "1.49936"
    assert not stages_of(at(desk, 911))
    at(desk, 913, 8)  # 1.51018
    assert len(stages_of(at(desk, 911))) == 1
    desk.exchange.audit()


def test_money_and_fills_change_stages_as_marks_do(venue):
    desk = venue(WARN, CANCEL, CLOSE)
    assert at(desk, 915)[1:] == []
    assert desk.code(codes.WITHDRAW, account=A, qty=4_000) == codes.OK
    assert stages_of(desk.settle()) == [(1, 1_202_185, 11_000)]  # of 9,150
    assert desk.seed(A, B, 915, 2) == codes.OK
    assert stages_of(desk.settle()) == [(2, 1_001_821, 11_000)]  # of 10,980


# --- dwell and cooldown -----------------------------------------------------------------------------------------


def test_the_dwell_is_time_below_without_a_break(venue):
    desk = venue({**WARN, "dwell_ns": SECOND}, CLOSE)
    assert not stages_of(at(desk, 911))
    assert not stages_of(wait(desk, SECOND - 1))
    at(desk, 912)  # out of it, a nanosecond before it would have acted
    assert not stages_of(wait(desk, 1)), "its timer finds it outside"
    at(desk, 911)
    assert not stages_of(wait(desk, SECOND - 1))
    assert len(stages_of(wait(desk, 1))) == 1
    desk.exchange.audit()


def test_a_timer_that_outlived_its_stay_waits_for_the_new_one(venue):
    desk = venue({**WARN, "dwell_ns": SECOND}, CLOSE)
    at(desk, 911)
    desk.clock += SECOND // 2
    at(desk, 912)
    desk.clock += SECOND // 4
    at(desk, 911)
    assert not stages_of(wait(desk, SECOND // 4)), "the first timer fires: half a second too early"
    assert not stages_of(wait(desk, SECOND * 3 // 4 - 1))
    assert len(stages_of(wait(desk, 1))) == 1


def test_a_stage_acts_while_a_deeper_one_still_waits(venue):
    desk = venue({**CANCEL, "dwell_ns": 10}, {**CLOSE, "dwell_ns": SECOND})
    at(desk, 908)
    assert [number for number, _, _ in stages_of(wait(desk, 10))] == [1]
    assert [number for number, _, _ in stages_of(wait(desk, SECOND - 10))] == [2]


def test_the_cooldown_holds_a_second_action_back(venue):
    desk = venue({**WARN, "cooldown_ns": SECOND}, CLOSE)
    assert len(stages_of(at(desk, 911))) == 1
    at(desk, 912)
    assert not stages_of(at(desk, 911))
    assert not stages_of(wait(desk, SECOND - 1))
    assert len(stages_of(wait(desk, 1))) == 1


# --- actions ----------------------------------------------------------------------------------------------------


def test_orders_are_cancelled_and_the_position_stays(venue):
    desk = venue(CANCEL, CLOSE)
    desk.new(A, 7, codes.ASK, 1_200, 3)
    desk.new(A, 8, codes.BID, 900, 1)
    rows = at(desk, 909, 9)  # 1.08803
    assert of_kind(rows, codes.CANCELLED, "order_id", "code") == [(k, codes.CANCELLED_BY_VENUE) for k in (7, 8)]
    assert lots_of(desk, A) == 10
    assert desk.new(A, 9, codes.ASK, 1_200, 1) == codes.RESTING, "nothing forbids new ones, nor are they cancelled"


def test_a_reduction_takes_its_share_again_and_again_until_the_exit(venue):
    desk = venue({**PART, "exit_ppm": 1_500_000}, CLOSE)
    desk.level(codes.BID, 909, 100)
    rows = at(desk, 909, 9)  # equity 9,900, maintenance 9,099
    assert of_kind(rows, codes.LIQUIDATION_ORDER, "lots") == [(3,)], "a quarter of ten, rounded up"
    assert of_kind(rows, codes.LIQUIDATION_END, "code") == [(codes.REDUCED,)]
    assert not of_kind(wait(desk, SECOND - 1), codes.LIQUIDATION_ORDER, "lots")
    rows = wait(desk, 1)
    assert of_kind(rows, codes.LIQUIDATION_ORDER, "lots") == [(2,)]
    assert lots_of(desk, A) == 5
    rows = wait(desk, SECOND)  # five lots maintain 4,550, twice over
    assert rows == []
    assert at(desk, 909, 9)[1:] == []
    desk.exchange.audit()


def test_after_its_first_step_it_takes_all_where_the_stage_says_so_until_the_unit_has_left(venue):
    desk = venue({**PART, "then_all": True}, {**CLOSE, "below_ppm": 1})
    wait(desk, SECOND)
    assert [lots for lots, *_ in of_kind(at(desk, 905), codes.LIQUIDATION_ORDER, "lots")] == [3]
    at(desk, 1_000)  # it leaves the stage
    wait(desk, 10 * SECOND)
    assert [lots for lots, *_ in of_kind(at(desk, 905), codes.LIQUIDATION_ORDER, "lots")] == [3]
    assert [lots for lots, *_ in of_kind(wait(desk, SECOND), codes.LIQUIDATION_ORDER, "lots")] == [10]


def test_a_reduction_without_a_share_takes_what_brings_it_back_to_the_exit(venue):
    back = {name: value for name, value in PART.items() if name != "share_ppm"}
    for exit_ppm, lots in ((1_100_000, 1), (1_500_000, 3), (9_000_000, 9), (10_000_000, 9)):
        desk = venue({**back, "exit_ppm": exit_ppm}, CLOSE)
        rows = at(desk, 909, 9)  # 9,900; a lot maintains 909.9, seven of them 6,370: 1.554, eight 1.36, one 10.88
        assert of_kind(rows, codes.LIQUIDATION_ORDER, "lots") == [(lots,)]


def test_an_order_goes_no_further_than_its_band_and_fees_by_the_bankruptcy_price(venue):
    desk = venue({**PART, "band_ppm": 1_000}, {**CLOSE, "band_ppm": 50_000})
    desk.level(codes.BID, 909, 1)
    desk.level(codes.BID, 907, 100)
    rows = at(desk, 909, 9)  # its bankruptcy price is 900; 0.1 % below the mark is 908.9
    assert of_kind(rows, codes.LIQUIDATION_ORDER, "price", "lots") == [(909, 3)]
    fills = [row for row in rows if row["kind"] == codes.FILL and row["account"] == A]
    assert [(row["price"], row["lots"], row["money"]) for row in fills] == [(909, 1, 46)], "0.05 %, rounded up"
    rows = at(desk, 905)
    assert of_kind(rows, codes.LIQUIDATION_ORDER, "price") == [(900,)], "never beyond bankruptcy"


def test_a_small_position_is_reduced_whole(venue):
    desk = venue({**PART, "notional_above": "9099"}, CLOSE)
    assert of_kind(at(desk, 909, 9), codes.LIQUIDATION_ORDER, "lots") == [(10,)]
    desk = venue({**PART, "notional_above": "9098"}, CLOSE)
    assert of_kind(at(desk, 909, 9), codes.LIQUIDATION_ORDER, "lots") == [(3,)]


def test_a_step_that_finds_nobody_leaves_the_position_to_its_owner(venue):
    desk = venue(PART, CLOSE)
    rows = at(desk, 909, 9)
    assert of_kind(rows, codes.LIQUIDATION_END, "code") == [(codes.REDUCED,)]
    assert not of_kind(rows, codes.TAKEOVER, "lots") and not of_kind(rows, codes.ADL, "lots")
    assert lots_of(desk, A) == 10
    assert len(of_kind(wait(desk, SECOND), codes.LIQUIDATION_ORDER, "lots")) == 1


def test_a_step_takes_the_leg_that_maintains_most(venue):
    desk = venue(PART, CLOSE, count=2, money=200_000)
    assert desk.seed(A, B, 1_000, 12, 1) == codes.OK
    rows = at(desk, 902) + at(desk, 932, 5, 1)  # 200,000 - 98,000 - 81,000 = 21,000 of 9,020 + 11,190
    assert of_kind(rows, codes.LIQUIDATION_ORDER, "instrument", "lots")[:1] == [(1, 3)]


def test_a_liquidation_goes_on_until_the_exit_is_reached(venue):
    for exit_ppm, codes_seen, left in ((None, [codes.RECOVERED], 10), (2_500_000, [codes.CLOSED], 0)):
        desk = venue({**CLOSE, "exit_ppm": exit_ppm or 1_000_000}, count=2)
        desk.seed(A, B, 1_000, 10, 1)
        desk.level(codes.BID, 960, 50)
        desk.level(codes.BID, 960, 50, instrument=1)
        at(desk, 960)
        rows = at(desk, 959, 0, 1)  # 19,000 of 19,190; without the first leg about 19,000 less its fee of 9,590
        assert of_kind(rows, codes.LIQUIDATION_END, "code") == [(code,) for code in codes_seen]
        assert lots_of(desk, A, 1) == left


def test_the_fund_takes_over_without_an_order(venue):
    desk = venue({**FUND, "below_ppm": 1_000_000})
    desk.level(codes.BID, 909, 100)
    rows = at(desk, 909)
    assert of_kind(rows, codes.LIQUIDATION_ORDER, "lots") == []
    assert of_kind(rows, codes.TAKEOVER, "account", "lots", "price") == [(A, 10, 900)]
    assert of_kind(rows, codes.LIQUIDATION_END, "code") == [(codes.CLOSED,)]


def test_a_liquidation_at_work_is_handed_to_the_deeper_stage(venue):
    desk = venue(CLOSE, {**FUND, "dwell_ns": 10**15}, order_delay_ns=10 * MS_DELAY)
    desk.level(codes.BID, 906, 100)
    at(desk, 909)
    at(desk, 906)  # 6,000 of 9,060: below 0.666667
    rows = wait(desk, 10 * MS_DELAY)
    assert of_kind(rows, codes.LIQUIDATION_ORDER, "lots") == []
    assert of_kind(rows, codes.TAKEOVER, "lots") == [(10,)]


def test_the_cooldown_of_a_step_does_not_hold_deeper_stages_back(venue):
    desk = venue(PART, CLOSE)
    at(desk, 909, 9)
    rows = at(desk, 909)
    assert [number for number, _, _ in stages_of(rows)] == [2]
    assert of_kind(rows, codes.LIQUIDATION_ORDER, "lots") == [(10,)]


def test_an_isolated_position_has_stages_of_its_own(venue):
    desk = venue(WARN, CLOSE, count=2)
    assert desk.code(codes.SET_MARGIN_MODE, account=A, instrument=1, qty=codes.ISOLATED) == codes.OK
    assert desk.code(codes.SET_LEVERAGE, account=A, instrument=1, qty=2_500) == codes.OK
    desk.seed(A, B, 1_000, 10, 1)  # margin 40,000: 1.25 at 972.15, 1 at 969.7
    rows = at(desk, 972, 0, 1)
    assert of_kind(rows, codes.STAGE, "account", "instrument", "lots") == [(A, 1, 1)]
    rows = at(desk, 969, 0, 1)
    assert of_kind(rows, codes.STAGE, "account", "instrument", "lots") == [(A, 1, 2)]
    assert of_kind(rows, codes.LIQUIDATION_END, "instrument", "code") == [(1, codes.CLOSED)]
    assert lots_of(desk, A) == 10


def test_the_fund_itself_has_no_stages(venue):
    desk = venue({**FUND, "below_ppm": 1_000_000})
    at(desk, 909)
    assert not stages_of(at(desk, 890)), "it holds ten lots and maintains nothing"


# --- the size of a step and the limit of its order --------------------------------------------------------------

BACK = {name: value for name, value in PART.items() if name != "share_ppm"}


def orders_at(desk, ticks, sub=0):
    return of_kind(at(desk, ticks, sub), codes.LIQUIDATION_ORDER, "lots", "price")


def test_a_step_takes_a_leg_as_many_tiers_lower_as_said(venue):
    deep = {"below_ppm": 10_000_000, "exit_ppm": 10_000_000}
    for tiers_down, lots in ((1, 41), (2, 81), (3, 100)):  # tiers end before 20 and before 60 lots at 1,000
        desk = venue({**BACK, **deep, "tiers_down": tiers_down}, {**CLOSE, "below_ppm": 1}, money=2_000_000)
        assert desk.code(codes.SET_LEVERAGE, account=A, qty=2_000) == codes.OK
        assert desk.seed(A, B, 1_000, 90) == codes.OK  # 2,000,000 of 320,000
        assert of_kind(desk.settle(), codes.LIQUIDATION_ORDER, "lots") == [(lots,)]


def test_a_step_back_to_the_exit_may_have_to_pay_for_itself(venue):
    for fees, lots in ((False, 2), (True, 3)):  # eight lots maintain 7,280: 9,894 is the exit, and 91 the fee
        desk = venue({**BACK, "exit_ppm": 1_359_000, "after_fees": fees}, CLOSE)
        assert [order[0] for order in orders_at(desk, 909, 9)] == [lots]


@pytest.mark.parametrize("bounds, lots", [
    ({"notional_min": "3639.6"}, 4), ({"notional_min": "3639.61"}, 5), ({"notional_min": "900000"}, 10),
    ({"notional_max": "1819.8"}, 2), ({"notional_max": "1819.79"}, 1), ({"notional_max": "0.01"}, 1),
    ({"notional_max": "1819.8", "notional_above": "9099"}, 2), ({"notional_max": "9099"}, 3),
    ({"notional_min": "1000", "notional_max": "1000"}, 1)])
def test_a_step_is_held_within_its_least_and_its_most(venue, bounds, lots):
    assert [order[0] for order in orders_at(venue({**PART, **bounds}, CLOSE), 909, 9)] == [lots]  # a lot: 909.90


def test_a_step_takes_no_more_than_a_share_of_what_is_offered(venue):
    for stage, lots in (({"offer_ppm": 200_000}, 2), ({"offer_ppm": 222_222}, 2), ({"offer_ppm": 222_223}, 3),
                        ({"offer_ppm": 200_000, "band_ppm": 1_000}, 1), ({"offer_ppm": 1}, 1)):
        desk = venue({**PART, **stage}, CLOSE)
        for ticks, offered in ((909, 5), (900, 4), (899, 100)):  # its bankruptcy price is 900
            desk.level(codes.BID, ticks, offered)
        assert [order[0] for order in orders_at(desk, 909, 9)] == [lots], stage
    assert [order[0] for order in orders_at(venue({**PART, "offer_ppm": 1_000_000}, CLOSE), 909, 9)] == [1], "nobody"


def test_what_an_iceberg_hides_is_not_offered(venue):
    desk = venue({**PART, "offer_ppm": 500_000}, CLOSE, instrument={"iceberg": "refresh"})
    assert desk.new(B, 1, codes.BID, 905, 9, display_lots=2) == codes.RESTING
    assert [order[0] for order in orders_at(desk, 909, 9)] == [1]


@pytest.mark.parametrize("rule, ticks", [
    ({"spread_ppm": 1_000_000}, 901), ({"spread_ppm": 500_000}, 903),
    ({"spread_ppm": 500_000, "shortage_ppm": 2_000_000}, 901),
    ({"spread_ppm": 500_000, "shortage_ppm": 9_000_000}, 901),
    ({"spread_ppm": 500_000, "shortage_ppm": 1}, 905), ({"spread_ppm": 1_000_000, "shortage_ppm": 2**32}, 900)])
def test_an_order_gives_up_more_the_more_maintenance_is_missing(venue, rule, ticks):
    # at 905: 5,000 of 9,050, so 44.7514 % is missing; of 9,050 given up that is 4,050: 900.95, and 900 is bankruptcy
    assert orders_at(venue({**CLOSE, **rule}), 905) == [(10, ticks)]
    if "shortage_ppm" not in rule:
        assert orders_at(venue({**PART, **rule}, CLOSE), 909, 9) == [(3, 910)], "nothing is missing yet"


# --- the map ----------------------------------------------------------------------------------------------------


def test_the_liquidation_price_is_where_the_first_stage_that_liquidates_begins():
    desk = Desk(liquidation={"stages": [WARN, PART, CLOSE]})
    desk.fund(B, money=10**10)
    desk.fund(A, money=100_000)
    desk.mark(1_000)
    desk.seed(A, B, 1_000, 10)
    assert desk.exchange.liquidation_price(A, 0) == 9_100  # 9,999 of 9,100 would be 1.0988, 10,000 of 9,101 is not less
    entries = desk.exchange.liquidation_map(0).entries
    assert [int(row["price_sub"]) for row in entries if row["account"] == A] == [9_100]
    desk.mark(910, sub=1)
    assert not stages_of(desk.settle())[1:]
    desk.mark(910)
    assert [number for number, _, _ in stages_of(desk.settle())] == [2]


# --- what the configuration refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize("stages, place", [
    ([CLOSE, WARN], "[1].below_ppm"), ([CLOSE, CLOSE], "[1].below_ppm"), ([WARN], "[0].action"),
    ([{**WARN, "exit_ppm": 1_249_999}, CLOSE], "[0].exit_ppm"),
    ([WARN, {**CLOSE, "exit_ppm": 1_250_001}], "[1].exit_ppm"),
    ([{**PART, "share_ppm": 0}, CLOSE], "[0].share_ppm"),
    ([{**PART, "cooldown_ns": 999_999}, CLOSE], "[0].cooldown_ns"),
    ([{**WARN, "share_ppm": 1}, CLOSE], "[0].share_ppm"), ([{**CLOSE, "notional_above": "1"}], "[0].notional_above"),
    ([{**PART, "notional_above": "0.001"}, CLOSE], "[0].notional_above"),
    ([{**PART, "notional_above": "-1"}, CLOSE], "[0].notional_above"),
    ([{**CLOSE, "below_ppm": 10_000_001}], "[0].below_ppm"), ([{**CLOSE, "below_ppm": 0}], "[0].below_ppm"),
    ([{**CLOSE, "action": "sell"}], "[0].action"), ([{**WARN, "band_ppm": 1}, CLOSE], "[0].band_ppm"),
    ([{**PART, "tiers_down": 1}, CLOSE], "[0].tiers_down"), ([{**PART, "after_fees": True}, CLOSE], "[0].after_fees"),
    ([{**CLOSE, "tiers_down": 1}], "[0].tiers_down"), ([{**FUND, "spread_ppm": 1}], "[0].spread_ppm"),
    ([{**CLOSE, "spread_ppm": 1, "band_ppm": 1}], "[0].spread_ppm"),
    ([{**CLOSE, "shortage_ppm": 1}], "[0].shortage_ppm"),
    ([{**PART, "notional_min": "2", "notional_max": "1.99"}, CLOSE], "[0].notional_max"),
    ([{**PART, "notional_max": "0"}, CLOSE], "[0].notional_max"), ([{**CLOSE, "offer_ppm": 1}], "[0].offer_ppm"),
    ([{**CLOSE, "spread_ppm": 1_000_001}], "[0].spread_ppm")])
def test_what_cannot_work_is_refused_with_its_place(stages, place):
    stages = [{name: value for name, value in stage.items() if value is not None} for stage in stages]
    with pytest.raises(ConfigError) as error:
        config.build_venue(venue_table(liquidation={"stages": stages}))
    assert place in str(error.value)


def test_stages_bring_their_own_delay_and_count_in_the_bounds_of_money():
    with pytest.raises(ConfigError, match="detection_delay_ns"):
        config.build_venue(venue_table(liquidation={"stages": [CLOSE], "detection_delay_ns": 1}))
    size = {"position_max": "2000000000", "order_max": "1000", "open_interest_max": "2000000000"}
    table = venue_table(instrument={**size, "price_max": "1000000"})
    config.build_venue({**table, "liquidation": {"stages": [CLOSE]}})
    with pytest.raises(ConfigError, match="a quantum of 0.1 for USD would do"):
        config.build_venue({**table, "liquidation": {"stages": [{**CLOSE, "exit_ppm": 10_000_000}]}})


# --- the audit --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field, value, rule", [("inside", 0, "STG-1"), ("timed", 1, "STG-1"), ("drives", 1, "STG-1")])
def test_the_audit_sees_a_standing_that_is_not_so(field, value, rule):
    desk = Desk(liquidation={"stages": [WARN, PART, CLOSE]})
    desk.fund(B, money=10**10)
    desk.fund(A, money=100_000)
    desk.mark(1_000)
    desk.seed(A, B, 1_000, 10)
    desk.mark(911)
    desk.settle()
    desk.exchange.audit()
    standing = desk.state.ledger.standings[A * 3]
    assert standing["inside"] == 1
    standing[field] = value
    with pytest.raises(InvariantError, match=rule):
        desk.exchange.audit()


def test_the_audit_sees_a_guard_that_comes_too_late():
    desk = Desk(liquidation={"stages": [WARN, CLOSE]})
    desk.fund(B, money=10**10)
    desk.fund(A, money=100_000)
    desk.mark(1_000)
    desk.seed(A, B, 1_000, 10)
    guards = desk.state.guards.guards["mark_sub"]
    down = 2 * desk.slot(A)
    assert 9_113 <= guards[down] < 10_000, "it may come early, for a re-check"
    guards[down] = 9_112
    with pytest.raises(InvariantError, match="GRD-1"):
        desk.exchange.audit()
