"""The hedge that becomes the trigger: a leg below a tenth of gross breaches its account when correlations jump.

The book is long P0 against P1, which move as one, and net long; the hedge is a small short of P2. P2 moves three times
as far as the others in full, but hardly with them as long as correlations are what they were. A short of it then costs
little when the book gains and earns little when it falls. When all move together in full, the rally that the book
gains from is lost several times over on the hedge.

Under portfolio margin the same book is held with half the cash, because a grid of one factor sees a hedge that moves a
little with the rest and lets it count. So the break comes sooner.
"""

import pytest

from exchange import codes
from exchange.venue import Exchange
from replay import playbook
from replay.stress import Plan, Stress, groups_of, shocks_of
from tests.desk import FIRST, MS_DELAY, NEVER_NS, SECOND, UNIT, Desk
from tests.standin import StandIn

PPM = 1_000_000
HEDGED, MAKER = FIRST, FIRST + 1
LEGS = {0: 200, 1: -185, 2: -32}  # lots at 1,000
RANGES = {"P0": 100_000, "P1": 100_000, "P2": 300_000}
LOADINGS = {"P0": PPM, "P1": PPM, "P2": 100_000}  # P2 does what it wants, as long as correlations hold
CASH = {codes.CROSS: 1_100_000, codes.PORTFOLIO: 500_000}  # 11,000 and 5,000 of gross 417,000
TIER = [{"floor": "0", "maintenance_ppm": 10_000, "leverage_max": 100}]
PLAN = Plan(ranges_ppm=RANGES, loadings_ppm=LOADINGS,
            stresses=(Stress(name="one factor", mode="one_factor"), Stress(name="rho 1", mode="rho_one")))
MODES = [codes.CROSS, codes.PORTFOLIO]  # how the account's margin is asked for
GRID = {"preset": "span16", "factor_range_ppm": RANGES["P0"], "modes": ["one_factor"], "groups": [
    {"name": "book", "members": ["P0", "P1"], "range_ppm": RANGES["P0"], "beta_ppm": PPM},
    {"name": "hedge", "members": ["P2"], "range_ppm": RANGES["P2"], "beta_ppm": 3 * LOADINGS["P2"]}]}


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def made(request):
    return request.param


def booked(made, mode, legs=LEGS):
    """The account with these legs at 1,000, against a market maker who cannot break."""
    desk = Desk(3, {"tiers": TIER}, made=made, liquidation={"detection_delay_ns": MS_DELAY, "order_delay_ns": NEVER_NS},
                **({"portfolio_margin": GRID} if mode == codes.PORTFOLIO else {}))
    desk.fund(HEDGED, MAKER, money=10**9)
    for k, lots in legs.items():
        desk.mark(1_000, instrument=k)
        assert desk.code(codes.SET_MARGIN_MODE, account=HEDGED, instrument=k, qty=mode) == codes.OK
        buyer, seller = (HEDGED, MAKER) if lots > 0 else (MAKER, HEDGED)
        assert desk.seed(buyer, seller, 1_000, abs(lots), instrument=k) == codes.OK
    assert desk.code(codes.WITHDRAW, account=HEDGED, qty=10**9 - CASH[mode]) == codes.OK
    return desk


def rally(desk, at_one):
    """Marks rise step by step, in ten steps, as far as the groups do in full; P2 by its loading or with the others.

    Returns the accounts whose liquidation started, with the step.
    """
    started = []
    for step in range(1, 11):
        desk.clock += SECOND
        for k, name in enumerate(RANGES):
            full = RANGES[name] * (PPM if at_one else LOADINGS[name]) // PPM
            rows = desk.send(codes.MARK, instrument=k, price=10_000 + 10_000 * full * step // 10 // PPM)
            started += [(row["account"], step) for row in rows if row["kind"] == codes.LIQUIDATION_START]
        desk.exchange.run(desk.clock + SECOND // 2)
        rows = desk.drain()
        started += [(row["account"], step) for row in rows if row["kind"] == codes.LIQUIDATION_START]
    return started


@pytest.mark.parametrize("mode", MODES)
def test_the_hedge_is_below_a_tenth_of_gross_and_as_long_as_correlations_hold_nothing_happens(made, mode):
    gross = sum(map(abs, LEGS.values()))
    desk = booked(made, mode)
    assert 10 * abs(LEGS[2]) <= gross
    assert 0 < sum(LEGS.values()) + abs(LEGS[2]) < abs(LEGS[2])
    assert rally(desk, at_one=False) == []


def test_a_grid_of_one_factor_lets_the_hedge_count():
    hedged = booked(Exchange, codes.PORTFOLIO).exchange
    bare = booked(Exchange, codes.PORTFOLIO, {k: LEGS[k] for k in (0, 1)}).exchange
    lot = UNIT * 1_000
    notionals = {k: abs(int(hedged.position(HEDGED, k)["lots"])) * lot for k in LEGS}
    assert 10 * notionals[2] <= sum(notionals.values())
    loss = {k: LEGS[k] * lot * RANGES[f"P{k}"] * LOADINGS[f"P{k}"] // PPM // PPM for k in LEGS}
    assert hedged.portfolio_margin(HEDGED).maintenance == sum(loss.values()) < loss[0] + loss[1]
    assert bare.portfolio_margin(HEDGED).maintenance == loss[0] + loss[1]


@pytest.mark.parametrize("mode", MODES)
def test_when_correlations_jump_the_account_breaks_and_without_the_hedge_it_does_not(made, mode):
    ((account, step),) = rally(booked(made, mode), at_one=True)
    assert account == HEDGED and 1 < step <= 10
    assert rally(booked(made, mode, {k: LEGS[k] for k in (0, 1)}), at_one=True) == []


@pytest.mark.parametrize("mode", MODES)
def test_the_playbook_names_the_hedge_as_the_trigger_and_closing_it_as_the_way_out(mode):
    exchange = booked(Exchange, mode).exchange
    before, groups = exchange.state_digest(), groups_of(PLAN, exchange.venue)
    document = playbook.playbook(exchange, groups, shocks_of(PLAN, groups, exchange.venue), 1, ("", "", 0, 0))
    assert exchange.state_digest() == before
    (one,), (at_one,) = document.worst, document.at_one
    assert one.account == HEDGED and one.scenario == "rho 1 +100%" and one.health_after < 0
    assert at_one.diversified.accounts == 0 and at_one.who == [HEDGED] and at_one.added.accounts == 1
    hedge = next(leg for leg in one.legs if leg.symbol == "P2")
    gain = sum(LEGS[k] * UNIT * 1_000 * RANGES[f"P{k}"] // PPM for k in (0, 1))
    assert hedge.notional * 10 <= sum(leg.notional for leg in one.legs)
    assert 0 < gain < hedge.loss, "the book gains, the hedge loses more"
    assert hedge.health_without >= 0, "removing the hedge prevents the breach"
    assert hedge.close_lots is not None and hedge.close_lots < abs(LEGS[2])


@pytest.mark.parametrize("mode", MODES)
def test_the_part_of_the_hedge_that_the_playbook_closes_is_enough_in_the_venue(made, mode):
    exchange = booked(Exchange, mode).exchange
    groups = groups_of(PLAN, exchange.venue)
    document = playbook.playbook(exchange, groups, shocks_of(PLAN, groups, exchange.venue), 1, ("", "", 0, 0))
    lots = next(leg for leg in document.worst[0].legs if leg.symbol == "P2").close_lots
    for closed, breaks in ((lots, False), (lots - 1, True)):
        desk = booked(made, mode)
        desk.level(codes.ASK, 1_000, 100, instrument=2)
        assert desk.new(HEDGED, 1, codes.BID, 1_000, closed, instrument=2, time_in_force=codes.IOC) == codes.FILLED
        assert bool(rally(desk, at_one=True)) == breaks
