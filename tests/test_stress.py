"""Stress scenarios: units at other marks are what the venue says when marks go there, and what saves them does."""

import numpy as np
import pytest

from exchange import codes, stress
from exchange.core.views import unit_equity, unit_health
from exchange.errors import ConfigError
from exchange.venue import Exchange
from replay import playbook as made_playbook
from replay.scenario import load_scenario, scenario_path
from replay.stress import POINTS_PPM, Group, Plan, Stress, groups_of, load_plan, shocks_of
from tests.desk import Desk
from tests.test_guards import send, world
from tests.test_maps import at_mark
from tests.test_options import A, B, C, pit
from tests.test_portfolio_guards import make as portfolios

PPM = 1_000_000
SEEDS = range(4)
MOMENT = ("name", "variant", 0, 0)


def there(exchange, marks):
    """A copy on which every mark went where it is said."""
    for k, mark in enumerate(marks):
        exchange = at_mark(exchange, k, mark)
    return exchange


def weighed(exchange, plan, count=5):
    groups = groups_of(plan, exchange.venue)
    shocks = shocks_of(plan, groups, exchange.venue)
    return made_playbook.playbook(exchange, groups, shocks, count, MOMENT), shocks


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("made", [world, lambda *drawn: portfolios(*drawn)[0]], ids=["cross", "portfolio"])
def test_units_at_other_marks_are_what_the_venue_says_when_its_marks_go_there(made, seed):
    rng = np.random.default_rng(seed)
    exchange = made(rng, 3)
    before, live = exchange.state_digest(), stress.live_units(exchange.state)
    moved = stress.movable(exchange.state)
    for _ in range(4):
        marks = stress.shocked(exchange.state, rng.integers(-200_000, 200_000, 3).tolist())
        equity, required = stress.numbers_at(moved, live.number, marks)
        state = there(exchange, marks).state
        for k, number in enumerate(live.number.tolist()):
            assert equity[k] == unit_equity(state, number)
            assert equity[k] - required[k] == unit_health(state, number)
    assert exchange.state_digest() == before
    stages = [unit_health(exchange.state, number) for number in live.number.tolist()]
    assert min(stages) >= 0, "units in liquidation are left out"


def test_a_shock_is_a_share_of_the_mark_held_on_the_ladder():
    desk = Desk(2)
    desk.mark(1_000)
    assert stress.shocked(desk.state, [-100_000, 500_000]).tolist() == [9_000, 0]
    assert stress.shocked(desk.state, [-PPM, 0]).tolist() == [10, 0]
    alone = Desk(1)
    alone.mark(1_000)
    assert stress.shocked(alone.state, [PPM]).tolist() == [20_000]
    assert alone.exchange.markets["mark_sub"].tolist() == [10_000], "nothing moved here"
    assert stress.shocked(desk.state, [9 * PPM, 0]).tolist() == [40_000, 0]
    assert stress.shocked(desk.state, [-1, 0]).tolist() == [9_999, 0], "rounded down"


def test_options_follow_their_underlying_as_at_the_next_refresh():
    opened = pit(Exchange)
    opened.seed(A, B, 100, 10, instrument=1)
    opened.seed(A, C, 1_000, 3)
    opened.refresh()
    live, moved = stress.live_units(opened.state), stress.movable(opened.state)
    marks = stress.shocked(opened.state, [-80_000, 0])
    equity, required = stress.numbers_at(moved, live.number, marks)
    opened.send(codes.MARK, price=int(marks[0]))
    opened.volatility(800_000)  # the same again: refreshes the option at this very moment
    assert [unit_equity(opened.state, n) for n in live.number.tolist()] == equity.tolist()
    assert [unit_health(opened.state, n) for n in live.number.tolist()] == (equity - required).tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_smallest_deposit_and_reduction_save_and_one_less_does_not(seed):
    exchange = world(np.random.default_rng(seed), 3)
    before, live = exchange.state_digest(), stress.live_units(exchange.state)
    copy, saved = stress.tradable(exchange.state), 0
    for shock in (-30_000, 40_000):
        marks = stress.shocked(exchange.state, [shock, shock, -shock])
        equity, required = stress.numbers_at(stress.movable(exchange.state), live.number, marks)
        for k in np.flatnonzero(equity < required).tolist():
            bench = stress.Bench(exchange.state, copy, int(live.number[k]), live.legs(k).tolist(), marks)
            deposit = bench.deposit()
            assert bench.health_with(deposit) >= 0 > bench.health_with(deposit - 1)
            if live.number[k] > 0:
                paid = exchange.copy()
                send(paid, [{"kind": codes.DEPOSIT, "account": int(live.account(exchange.state)[k]), "qty": deposit}])
                assert unit_health(there(paid, marks).state, int(live.number[k])) == bench.health_with(deposit)
            for p in bench.slots:
                lots = bench.reduction(p)
                if lots is not None:
                    saved += 1
                    assert bench.health_after(p, lots) >= 0 > bench.health_after(p, lots - 1)
    assert saved and exchange.state_digest() == before


@pytest.mark.parametrize("seed", SEEDS)
def test_the_worst_scenario_binds_and_totals_are_sums_over_all_units(seed):
    exchange = world(np.random.default_rng(seed), 3)
    before = exchange.state_digest()
    document, shocks = weighed(exchange, Plan(range_ppm=60_000))
    live, rows = stress.live_units(exchange.state), document.scenarios
    moved, lowest = stress.movable(exchange.state), {}
    for shock in (one for one in shocks if one.mode != "sum"):
        equity, required = stress.numbers_at(moved, live.number, stress.shocked(exchange.state, shock.ppm))
        row = next(one for one in rows if one.scenario == shock.name)
        assert row.below_zero == -equity[equity < 0].sum()
        assert row.short_of_maintenance == (required - equity)[equity < required].sum()
        assert row.breached_accounts == len(set(live.account(exchange.state)[equity < required].tolist()))
        lowest[shock.name] = equity - required
    assert sum(row.binds_units for row in rows) == document.units == len(live.number)
    for one in document.worst:
        if one.scenario != "sum":
            k = min(range(len(live.number)), key=lambda k: lowest[one.scenario][k])
            assert one.health_after == min(health[k] for health in lowest.values())
            break
    assert exchange.state_digest() == before


@pytest.mark.parametrize("seed", SEEDS)
def test_a_sum_is_every_group_at_its_own_worst_at_once(seed):
    exchange = world(np.random.default_rng(seed), 3)
    plan = Plan(range_ppm=50_000, stresses=(Stress(name="sum", mode="sum", points_ppm=(-PPM, 0, PPM)),))
    document, _ = weighed(exchange, plan, count=100)
    assert len(document.worst) == document.units
    groups = groups_of(plan, exchange.venue)
    weighing = made_playbook.Weighing(exchange, shocks_of(plan, groups, exchange.venue))
    for unit in range(document.units):
        equity, required = stress.numbers_at(
            weighing.moved, weighing.units.number[unit : unit + 1], weighing.marks_for(unit)
        )
        assert (equity[0], equity[0] - required[0]) == (weighing.worst_equity[unit], weighing.worst[unit])
    for one in document.worst:
        assert sum(leg.loss for leg in one.legs) == one.equity - one.maintenance - one.health_after


def test_modes_move_groups_alone_by_loading_all_alike_and_one_the_other_way():
    groups = [Group("X", ("P0",), 100_000, 500_000), Group("Y", ("P1",), 200_000, -250_000)]
    venue = Desk(2).exchange.venue

    def moves(mode):
        plan = Plan(stresses=(Stress(name="s", mode=mode, points_ppm=(-PPM, 500_000)),))
        return [one.ppm for one in shocks_of(plan, groups, venue)]

    assert moves("sum") == [(-100_000, 0), (50_000, 0), (0, -200_000), (0, 100_000)]
    assert moves("one_factor") == [(-50_000, 50_000), (25_000, -25_000)]
    assert moves("rho_one") == [(-100_000, -200_000), (50_000, 100_000)]
    assert moves("flipped") == [(50_000, 50_000), (-25_000, -25_000), (-50_000, -50_000), (25_000, 25_000)]


def test_instruments_of_one_base_are_one_group_unless_groups_are_stated():
    scenario = load_scenario(scenario_path("contagion"))
    groups = groups_of(Plan(), scenario.venue, scenario.feed.synthetic)
    assert [(one.name, one.symbols) for one in groups][:2] == [
        ("BTC", ("BTCUSDT", "BTCUSD_PERP")), ("ETH", ("ETHUSDT",))]
    assert [one.loading_ppm for one in groups] == [774_596, 774_596, 707_106, 707_106, 707_106]
    stated = Plan(groups={"coins": ("ETHUSDT", "SOLUSDT")}, ranges_ppm={"coins": 300_000}, loadings_ppm={"BTC": -PPM})
    groups = groups_of(stated, scenario.venue)
    assert [(one.name, one.range_ppm, one.loading_ppm) for one in groups][:2] == [
        ("BTC", 150_000, -PPM), ("coins", 300_000, PPM)]


@pytest.mark.parametrize(("text", "said"), [
    ("[groups]\nX = ['NO']", "not on the venue"), ("[groups]\nX = ['P0']\nY = ['P0']", "two groups"),
    ("[ranges_ppm]\nX = 5", "no such group"), ("stresses = []", "different names"), ("range_ppm = 0", ">= 1"),
    ("[[stresses]]\nname = 'a'\nmode = 'all'", "mode")])
def test_a_plan_that_makes_no_sense_is_refused(text, said, tmp_path):
    (tmp_path / "stress.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        groups_of(load_plan(tmp_path / "stress.toml"), Desk(1).exchange.venue)


def test_a_range_from_the_command_line_replaces_the_general_one(tmp_path):
    (tmp_path / "stress.toml").write_text("range_ppm = 70000\n[ranges_ppm]\nP1 = 5")
    plan = load_plan(tmp_path / "stress.toml", 90_000)
    assert (plan.range_ppm, plan.ranges_ppm, plan.stresses[0].points_ppm) == (90_000, {"P1": 5}, POINTS_PPM)
