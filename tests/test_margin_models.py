"""Margin models: what positions and orders must hold, tier tables and fees that change. DESIGN §3.15.

Numbers worked out by hand, on both venues.
"""

import numpy as np
import pytest

from exchange import codes, config
from exchange.core import arith
from exchange.core.kernel import entry
from exchange.errors import ConfigError
from exchange.margins import held_tiers
from exchange.venue import Exchange
from tests.desk import FIRST, INVERSE, NEVER_NS, UNIT, Desk, venue_table
from tests.standin import StandIn

A, B, C = FIRST, FIRST + 1, FIRST + 2
MADE = pytest.mark.parametrize("made", [Exchange, StandIn], ids=["core", "reference"])
RICH = 10**11
FLAT = [{"floor": "0", "maintenance_ppm": 10_000, "leverage_max": 50}]
STEPS = [*FLAT, {"floor": "10000", "maintenance_ppm": 100_000, "leverage_max": 5}]
LONE = [{"floor": "0", "leverage_max": 50}]
RISK = {"risk_long_ppb": 100_000_000, "risk_short_ppb": 300_000_000}


def desk_of(made, table=FLAT, kind=None, **margin):
    desk = Desk(instrument={"tiers": table, "margin": margin, **(kind or {})}, made=made,
                fees={"maker_ppm": 0, "taker_ppm": 1_000, "liquidation_ppm": 5_000},
                liquidation={"detection_delay_ns": NEVER_NS})
    desk.mark(1_000)
    desk.fund(B, C, money=RICH)
    return desk


def stage(desk, account):
    if isinstance(desk.exchange, Exchange):
        return int(desk.exchange.wallet(account)["stage"])
    return desk.exchange.world.wallets[account, 0].unit.stage


def breach(desk, account, marks):
    """The first of some marks (sub-ticks) at which an account's wallet is found breached."""
    for mark in marks:
        desk.send(codes.MARK, price=mark)
        if stage(desk, account) != codes.STAGE_NONE:
            return mark
    return None


def held(desk, money, lots, ticks=1_000):
    """Account A with money and a position of signed lots."""
    desk.fund(A, money=money)
    assert desk.seed(*((A, B) if lots > 0 else (B, A)), ticks, abs(lots)) == codes.OK


# --- maintenance ------------------------------------------------------------------------------------------------


@MADE
@pytest.mark.parametrize("money, first", [(99_099, 10_010), (99_100, None)])
def test_a_long_is_breached_where_its_notional_enters_a_worse_step(made, money, first):
    edge = {"floor": "10010", "maintenance_ppm": 100_000, "leverage_max": 5}
    desk = desk_of(made, [FLAT[0], edge], {}, tiers="step")
    held(desk, money, 10)  # at 1,001 ticks it has gained 1,000 and holds a tenth of 1,001,000; before it 1 %
    assert breach(desk, A, range(10_000, 10_030)) == first


@MADE
def test_a_step_is_left_again_below_its_edge(made):
    desk = desk_of(made, STEPS, {}, tiers="step")
    held(desk, 105_000, 10)  # at the edge: a tenth of 1,000,000
    assert breach(desk, A, [10_000, 9_990, 9_900, 9_500, 9_050]) is None  # 1 % of 905,000 of 10,000 left
    assert breach(desk, A, [9_040]) == 9_040  # 9,000 left of 9,040


@MADE
@pytest.mark.parametrize("lots, last, first", [(10, 9_050, 9_049), (-10, 10_950, 10_951)])
def test_maintenance_of_the_entry_value_stays_as_the_mark_moves(made, lots, last, first):
    desk = desk_of(made, maintenance_price="entry")
    held(desk, 105_000, lots)  # 10,000 of 1,000,000; 95,000 to lose
    assert breach(desk, A, [last, first]) == first


@MADE
@pytest.mark.parametrize("fee, first", [("none", 9_040), ("taker", 9_049), ("liquidation", 9_086)])
def test_the_fee_of_closing_is_held_beside_maintenance(made, fee, first):
    desk = desk_of(made, closing_fee=fee)  # 905,000 / 0.99, 0.989, 0.984, of quanta, in sub-ticks of 100
    held(desk, 105_000, 10)
    assert breach(desk, A, range(first + 30, first - 3, -1)) == first


@MADE
def test_the_fee_at_the_bankruptcy_price_does_not_move_with_the_mark(made):
    desk = desk_of(made, maintenance_price="entry", closing_fee="liquidation", closing_fee_price="bankruptcy")
    held(desk, 105_000, 10)  # bankrupt at 895,000 / 0.995 = 899,498 (up), of which 0.5 % is 4,498 (up)
    assert breach(desk, A, [9_095, 9_094]) == 9_094  # 1,000,000 - 105,000 + 10,000 + 4,498 = 909,498


@MADE
def test_bybits_inverse_long_by_its_published_formula(made):
    desk = desk_of(made, [{**FLAT[0], "maintenance_ppm": 5_000}], INVERSE, maintenance_price="entry",
                   closing_fee="taker", closing_fee_price="bankruptcy")
    held(desk, 40_000, 10)  # Q/E = 1,000,000; Q/BP = 1,040,000 / 1.001 = 1,038,962 (up), fee 1,039 (up)
    # Q/P = 1,000,000 + 40,000 - 5,000 - 1,039: breached below 10^10 / 1,033,961 = 9,671.5 sub-ticks
    assert breach(desk, A, range(9_690, 9_660, -1)) == 9_671


@MADE
@pytest.mark.parametrize("money, found", [(702, codes.STAGE_NONE), (701, codes.STAGE_DETECTED)])
def test_maintenance_as_a_fraction_of_initial_is_rounded_up_twice(made, money, found):
    tiers = [{"floor": "0", "leverage_max": 50, "initial_ppm": 10_001}]
    desk = desk_of(made, tiers, {}, initial="model", maintenance_of_initial_ppm=700_000)
    desk.mark(1_001)
    held(desk, money, 1, 1_001)  # initial 1,001.1 → 1,002 of 100,100; 70 % of that 701.4 → 702, and not 700.8 → 701
    assert stage(desk, A) == found


@MADE
@pytest.mark.parametrize("lots, first", [(10, 8_888), (-10, 10_770)])
def test_each_side_has_its_risk_factor(made, lots, first):
    desk = desk_of(made, LONE, {}, **RISK)
    held(desk, 200_000 if lots > 0 else 400_000, lots)
    # long: 200,000 - d = a tenth of what is left: 888,888; short: 1,400,000 / 1.3 = 1,076,923
    assert breach(desk, A, range(10_000, first - 2, -1) if lots > 0 else range(10_000, first + 3)) == first


@MADE
def test_slippage_grows_with_the_square_of_a_position(made):
    desk = desk_of(made, LONE, {}, **RISK, linear_slippage_ppb=10_000_000, quadratic_slippage_ppt=2_000_000_000)
    held(desk, 130_000, 10)  # 0.1 + 0.01 + 10 · 0.002 = 13 % of 1,000,000
    assert stage(desk, A) == codes.STAGE_NONE
    assert breach(desk, A, [9_999]) == 9_999


@MADE
def test_with_factors_above_one_a_long_is_breached_by_a_rise(made):
    desk = desk_of(made, LONE, {}, risk_long_ppb=1_500_000_000, risk_short_ppb=0)
    held(desk, 1_500_500, 10)  # half of what the notional gains beyond 1,001,000 is missing
    assert breach(desk, A, [9_000, 5_000, 10_000, 10_010, 10_011]) == 10_011


# --- initial margin ---------------------------------------------------------------------------------------------


def most(desk, account, limit, *, side=codes.BID):
    """The largest order at a limit that is admitted."""
    low, high = 0, 1_000
    while low < high:
        lots = (low + high + 1) // 2
        code = desk.new(account, 77, side, limit, lots)
        assert code in (codes.RESTING, codes.INSUFFICIENT_MARGIN, codes.LEVERAGE_TIER)
        if code == codes.RESTING:
            assert desk.code(codes.CANCEL, account=account, order_id=77) == codes.CANCELLED_BY_USER
        low, high = (lots, high) if code == codes.RESTING else (low, lots - 1)
    return low


@entry
def initial_margin(exposure, leverage_e2):
    return arith.initial_margin(exposure, leverage_e2)


@pytest.mark.parametrize("leverage_e2", [100, 333, 12_500])
@pytest.mark.parametrize("exposure", [0, 1, 2**40 + 7, 2**60 + 1, 2**62 - 1])
def test_initial_margin_by_leverage_is_exact_however_large_the_exposure(exposure, leverage_e2):
    assert initial_margin(np.int64(exposure), np.int64(leverage_e2)) == -(-exposure * 100 // leverage_e2)


@MADE
@pytest.mark.parametrize("initial_ppm, by, lots", [(10_000, "leverage", 47), (40_000, "leverage", 24),
                                                   (10_000, "model", 90)])
def test_initial_margin_is_the_larger_of_rate_and_leverage_or_the_rate_alone(made, initial_ppm, by, lots):
    desk = desk_of(made, [{**FLAT[0], "initial_ppm": initial_ppm}], {}, initial=by)
    desk.fund(A, money=100_000)
    assert most(desk, A, 1_000) == lots  # of 100,000 each, with a fee of 0.1 % beside


@MADE
@pytest.mark.parametrize("interest, lots", [(0, 98), (20, 98), (40, 17), (100, 9)])
def test_open_interest_scales_initial_rates_between_its_bounds(made, interest, lots):
    desk = desk_of(made, [{**FLAT[0], "initial_ppm": 100_000}], {}, initial="model",
                   open_interest_lower="20000", open_interest_upper="60000")
    desk.fund(A, money=99_000 * 10)
    if interest:
        assert desk.seed(B, C, 1_000, interest) == codes.OK
    assert most(desk, A, 1_000) == lots  # 10 %, from 20,000 on rising to 55 % at 40,000 and 100 % at 60,000


@MADE
def test_levels_of_the_risk_model_multiply_maintenance_of_the_exposure(made):
    desk = desk_of(made, LONE, {}, **RISK, initial="leverage", initial_factor_ppm=1_500_000)
    desk.fund(A, money=100_000)
    assert most(desk, A, 1_000) == 6  # 15 % and a fee of 0.1 % of 100,000 each
    assert most(desk, A, 1_000, side=codes.ASK) == 2  # 45 %


@MADE
@pytest.mark.parametrize("rule, asks", [("larger_side", 4), ("sum", 0)])
def test_orders_of_both_sides_count_together_under_the_sum(made, rule, asks):
    desk = desk_of(made, [{**FLAT[0], "initial_ppm": 200_000}], {}, order_margin=rule)
    desk.fund(A, money=100_000)
    assert desk.new(A, 1, codes.BID, 1_000, 4) == codes.RESTING
    assert most(desk, A, 1_001, side=codes.ASK) == asks


@MADE
@pytest.mark.parametrize("rule, code", [("larger_side", codes.RESTING), ("open_premium", codes.INSUFFICIENT_MARGIN)])
def test_orders_through_the_mark_keep_their_premium_while_they_rest(made, rule, code):
    desk = desk_of(made, [{**FLAT[0], "initial_ppm": 100_000}], {}, order_margin=rule)
    desk.fund(A, money=100_000)
    assert desk.new(A, 1, codes.BID, 1_500, 1) == codes.RESTING  # premium 50,000, margin 15,000
    assert desk.new(A, 2, codes.BID, 1_000, 4) == code  # 40,000 and a fee of 400


@MADE
@pytest.mark.parametrize("price, asks", [("limit", 6), ("larger", 4)])
def test_orders_may_count_at_the_larger_of_limit_and_mark(made, price, asks):
    desk = desk_of(made, [{**FLAT[0], "initial_ppm": 200_000}], {}, initial="model", order_price=price)
    desk.fund(A, money=81_000)
    assert most(desk, A, 600) == asks  # 12,000 or 20,000 each, and a fee of 60


@MADE
def test_an_isolated_fill_pays_in_what_the_model_asks(made):
    desk = desk_of(made, [{**FLAT[0], "initial_ppm": 200_000}], {})
    desk.fund(A, money=RICH)
    assert desk.code(codes.SET_MARGIN_MODE, account=A, qty=codes.ISOLATED) == codes.OK
    assert desk.seed(A, B, 1_000, 3) == codes.OK
    world = desk.exchange
    position = world.position(A, 0) if made is Exchange else world.world.find_position(A, 0)
    assert (position["isolated_margin"] if made is Exchange else position.isolated_margin) == 60_000
    assert desk.code(codes.TRANSFER, account=A, qty=-1) == codes.INSUFFICIENT_BALANCE


# --- events that change requirements ----------------------------------------------------------------------------


@MADE
def test_another_tier_table_is_felt_at_once_by_all_who_hold(made):
    desk = desk_of(made, FLAT, {}, tier_sets=[[{**FLAT[0], "maintenance_ppm": 200_000}], FLAT])
    held(desk, 100_000, 10)
    assert desk.code(codes.SET_TIERS, qty=2) == codes.OK and stage(desk, A) == codes.STAGE_NONE
    assert desk.code(codes.SET_TIERS, qty=1) == codes.OK and stage(desk, A) == codes.STAGE_DETECTED
    for qty in (-1, 3):
        assert desk.code(codes.SET_TIERS, qty=qty) == codes.BAD_TIERS
    assert desk.code(codes.SET_TIERS, instrument=9) == codes.BAD_INSTRUMENT
    assert stage(desk, B) == codes.STAGE_NONE  # rich


@MADE
@pytest.mark.parametrize("taker, found", [(90_000, codes.STAGE_NONE), (90_001, codes.STAGE_DETECTED)])
def test_a_new_taker_rate_is_felt_where_the_closing_fee_is_held(made, taker, found):
    desk = desk_of(made, closing_fee="taker")
    held(desk, 100_000, 10)
    assert desk.code(codes.SET_FEES, qty=taker) == codes.OK
    assert stage(desk, A) == found


def test_the_sweep_of_a_new_table_goes_on_over_many_accounts():
    users = 2_500
    table = venue_table(1, {"tiers": FLAT, "margin": {"tier_sets": [[{**FLAT[0], "maintenance_ppm": 200_000}]]}},
                        capacity={"accounts": users + 8, "positions": users + 8}, liquidation={
                            "detection_delay_ns": NEVER_NS})
    desk = Desk()
    desk.exchange = Exchange(config.build_venue(table))
    desk.mark(1_000)
    bank = FIRST + users
    desk.fund(bank, money=10**14 // 100)
    for account in range(FIRST, FIRST + users, 100):
        desk.fund(account, money=3_000)
        desk.seed(account, bank, 1_000, 1)
    checks = int(desk.state.io.control[0]["guard_checks"])
    desk.send(codes.SET_TIERS, qty=1)
    stages = desk.state.ledger.wallets["stage"]
    assert int((stages == codes.STAGE_DETECTED).sum()) == users // 100
    assert int(desk.state.io.control[0]["guard_checks"]) - checks == users // 100 + 1  # the bank too, and nobody twice


# --- views ------------------------------------------------------------------------------------------------------


def test_views_show_levels_bands_and_what_an_order_would_be_asked_for():
    desk = desk_of(Exchange, LONE, {}, **RISK, search_factor_ppm=1_100_000, initial_factor_ppm=1_200_000,
                   release_factor_ppm=1_400_000)
    held(desk, 200_000, 10)
    levels = desk.exchange.position_margin(A, 0)
    assert levels == (1_000_000, 0, 200_000, 100_000, 110_000, 120_000, 140_000) and levels.ratio_ppm == 200_000
    assert desk.exchange.liquidation_band(A, 0) == (8_888, None) and desk.exchange.liquidation_price(A, 0) == 8_888
    asked = desk.exchange.order_requirement(A, 0, codes.BID, 1_100, 2)
    assert asked == (220_000, 20_000, 220, 120_000, 146_400)
    fresh = desk.exchange.order_requirement(C, 0, codes.ASK, 1_000, 1)
    assert (fresh.margin_before, fresh.margin_after) == (0, RISK["risk_short_ppb"] // 10_000 * 12 // 10)
    assert desk.exchange.position_margin(C, 0) is None


def test_a_position_may_be_breached_on_both_sides():
    edge = {"floor": "10050", "maintenance_ppm": 500_000, "leverage_max": 1}
    desk = desk_of(Exchange, [FLAT[0], edge], {}, tiers="step")
    held(desk, 60_000, 10)
    assert desk.exchange.liquidation_band(A, 0) == (9_494, 10_050)
    assert desk.exchange.liquidation_price(A, 0) == 9_494


# --- configuration ----------------------------------------------------------------------------------------------


def limits(**changes):
    return {"base_limit": "10000", "step": "5000", "steps": 2, "base_maintenance_ppm": 4_000,
            "base_initial_ppm": 10_000, "step_ppm": 4_000, **changes}


def test_risk_limits_are_expanded_to_steps():
    compiled = config.compile_venue(config.build_venue(
        venue_table(1, {"tiers": [], "margin": {"tiers": "step", "risk_limits": limits()}})))
    assert compiled.tiers.tolist() == [
        (0, 0, 4_000, 10_000, 10_000), (10_000 * UNIT, 0, 8_000, 7_100, 14_000),
        (15_000 * UNIT, 0, 12_000, 5_500, 18_000)]


@pytest.mark.parametrize("tiers, margin, where", [
    (FLAT, {"tiers": "step", "risk_limits": limits()}, "margin.risk_limits"),
    ([], {"risk_limits": limits()}, "margin.tiers"),
    ([], {"tiers": "step", "risk_limits": limits(step_ppm=600_000)}, "margin.risk_limits.steps"),
    (LONE, {}, "tiers[0].maintenance_ppm"),
    (FLAT, {"maintenance_of_initial_ppm": 500_000}, "tiers[0].maintenance_ppm"),
    (FLAT, RISK, "tiers[0].maintenance_ppm"),
    (LONE, {"risk_long_ppb": 1}, "margin.risk_long_ppb"),
    (LONE, {**RISK, "tiers": "step"}, "margin.risk_long_ppb"),
    (FLAT, {"linear_slippage_ppb": 1}, "margin.risk_long_ppb"),
    (LONE, {**RISK, "linear_slippage_ppb": 8 * 10**9}, "margin"),
    (LONE, {**RISK, "quadratic_slippage_ppt": 8 * 10**9}, "margin"),
    (FLAT, {"closing_fee_price": "bankruptcy"}, "margin.closing_fee_price"),
    (FLAT, {"closing_fee_price": "bankruptcy", "closing_fee": "liquidation"}, "margin.closing_fee"),
    (FLAT, {"open_interest_upper": "5"}, "margin.open_interest_lower"),
    (FLAT, {"open_interest_lower": "5", "open_interest_upper": "5"}, "margin.open_interest_upper"),
    (FLAT, {"initial": "model"}, "margin.initial"),
    (FLAT, {"tier_sets": [[]]}, "margin.tier_sets[0]"),
    (FLAT, {"tier_sets": [STEPS[1:]]}, "margin.tier_sets[0][0].floor"),
    (FLAT, {"no_such": 1}, "margin"),
])
def test_a_margin_model_that_cannot_work_is_refused_by_its_path(tiers, margin, where):
    with pytest.raises(ConfigError) as refused:
        config.build_venue(venue_table(1, {"tiers": tiers, "margin": margin, "fees": {"liquidation_ppm": 100_001}}))
    assert refused.value.where == f"$.venue.instruments[0].{where}"


def test_levels_above_the_notional_are_within_the_bound_of_money():
    table = venue_table(1, {"tiers": LONE, "margin": {**RISK, "release_factor_ppm": 100_000_000},
                            "position_max": "20000000", "order_max": "20000000"})
    table["assets"][0]["quantum"] = "0.0000001"
    with pytest.raises(ConfigError, match="position_max"):
        config.build_venue(table)
    table["instruments"][0]["margin"]["release_factor_ppm"] = 1_000_000
    config.build_venue(table)


def test_populations_are_drawn_by_tiers_with_the_closing_fee_in_them():
    def tiers(table, **margin):
        fees = {"maker_ppm": 0, "taker_ppm": 1_000}
        venue = config.build_venue(venue_table(1, {"tiers": table, "margin": margin}, fees=fees))
        return held_tiers(config.compile_venue(venue), 0)["maintenance_ppm"].tolist()

    assert tiers(STEPS, tiers="step", closing_fee="taker") == [11_000, 101_000]
    assert tiers([{**LONE[0], "initial_ppm": 10_001}], maintenance_of_initial_ppm=333_333) == [3_334]
    with pytest.raises(ConfigError, match="populations are drawn"):
        tiers(FLAT, maintenance_price="entry")


def test_populations_are_drawn_by_the_larger_risk_factor_and_the_slippage_of_the_largest_position():
    margin = {**RISK, "linear_slippage_ppb": 1_000_001, "quadratic_slippage_ppt": 10_000, "initial_factor_ppm": 1_500_000}
    venue = config.build_venue(venue_table(1, {"tiers": LONE, "margin": margin, "position_max": "20000"}))
    (row,) = held_tiers(config.compile_venue(venue), 0)
    assert row["maintenance_ppm"] == 300_000 + 1_001 + 20_000 // 100  # 10,000 / 10**12 a lot, of 20,000 lots
    assert row["leverage_max_e2"] == 100 * 10**6 // -(-301_201 * 3 // 2)


@pytest.mark.parametrize("mmr, cost, budget", [
    (5_000, 500, 0.004502), (5_000, 1_000, 0.004004), (10_000, 500, 0.009505), (10_000, 1_000, 0.009009),
    (20_000, 500, 0.01951)])
def test_the_slippage_budget_lies_between_the_liquidation_price_and_the_bankruptcy_price_with_costs(mmr, cost, budget):
    """Published anchor liq.slippage_budget: the bankruptcy price with a cost is where nothing but that cost is held."""

    def price(maintenance_ppm, taker_ppm):
        instrument = {"tick": "0.01", "mark_per_tick": 100, "margin": {"closing_fee": "taker"},
                      "tiers": [{**FLAT[0], "maintenance_ppm": maintenance_ppm}]}
        table = venue_table(1, instrument, fees={"maker_ppm": 0, "taker_ppm": taker_ppm})
        table["assets"][0]["quantum"] = "0.0001"
        desk = Desk()
        desk.exchange = Exchange(config.build_venue(table))
        desk.fund(A, B, money=RICH)
        desk.send(codes.MARK, price=1_000 * 10**4)
        desk.code(codes.SET_MARGIN_MODE, account=A, qty=codes.ISOLATED)
        desk.code(codes.SET_LEVERAGE, account=A, qty=1_000)
        assert desk.seed(A, B, 100_000, 10) == codes.OK
        return desk.exchange.liquidation_price(A, 0)

    assert 1 - price(0, cost) / price(mmr, 0) == pytest.approx(budget, abs=1e-6)
