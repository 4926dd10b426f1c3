"""Portfolio margin by a stress grid, worked out by hand, on both venues. DESIGN §3.17."""

import numpy as np
import pytest

from exchange import codes, config
from exchange.bindings import bindings
from exchange.core.views import wallet_losses
from exchange.errors import ConfigError
from exchange.venue import Exchange
from tests.desk import FIRST, INVERSE, Desk, venue_table
from tests.standin import StandIn

A, B, C = FIRST, FIRST + 1, FIRST + 2
ENDS = [{"price_ppm": 1_000_000}, {"price_ppm": -1_000_000}]


def grid(*groups, **terms):
    return {"scenarios": ENDS, "modes": ["rho_one"], "groups": list(groups), **terms}


def group(name, *members, range_ppm=100_000, **terms):
    return {"name": name, "members": list(members), "range_ppm": range_ppm, **terms}


def desk_of(made, terms, count=2, instrument=None, money=10**9):
    """Marks at 1,000 ticks, where a lot is worth 100,000 quanta; A in portfolio mode."""
    desk = Desk(count, instrument, made, portfolio_margin=terms)
    desk.fund(A, B, C, money=money)
    for k in range(count):
        desk.mark(1_000, k)
    assert portfolio(desk) == codes.OK
    return desk


def portfolio(desk, mode=codes.PORTFOLIO, account=A):
    return desk.code(codes.SET_MARGIN_MODE, account=account, qty=mode)


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def made(request):
    return request.param


def most(desk, account=A):
    """The most that an account may withdraw of what it has, found by asking: equity less initial margin."""
    low, high = 0, 2**40
    while high - low > 1:
        middle = (low + high) // 2
        if desk.code(codes.WITHDRAW, account=account, qty=middle) == codes.OK:
            desk.code(codes.DEPOSIT, account=account, qty=middle)
            low = middle
        else:
            high = middle
    return low


TWO = (group("A", "P0"), group("B", "P1", range_ppm=200_000, beta_ppm=3_000_000))


@pytest.mark.parametrize(("terms", "need"), [
    (grid(*TWO), 100_000),  # long 10 lots at 10 %, short 10 at 20 %: both up costs 200,000 - 100,000
    (grid(*TWO, modes=["sum"]), 100_000 + 200_000),
    (grid(*TWO, modes=["one_factor"], factor_range_ppm=50_000), 150_000 - 50_000),  # 5 % up: 15 % of the short
    (grid(*TWO, modes=["flipped"], factor_range_ppm=50_000), 50_000 + 150_000),
    (grid(*TWO, modes=["rho_one", "flipped"], factor_range_ppm=20_000), 100_000),
    (grid(*TWO, initial_factor_ppm=1_500_000), 150_000),
    (grid(*TWO, scenarios=[*ENDS, {"price_ppm": 2_000_000, "cover_ppm": 600_000}]), 120_000),  # 400,000 less 200,000
    (grid(*TWO, scenarios=[*ENDS, {"price_ppm": 2_000_000, "cover_ppm": 600_000, "cover_beyond_ppb": 500}]), 120_001),
    (grid(*TWO, scenarios=[*ENDS, {"price_ppm": 500_000, "cover_ppm": 3_000_000}]), 150_000),  # 50,000 less 100,000
    (grid(group("A", "P0", "P1")), 0),  # a perfect hedge
    (grid(group("A", "P0", "P1", basis_ppm={"P1": 10_000}), scenarios=[*ENDS, {"basis_ppm": 1_000_000}]), 10_000),
])
def test_a_wallet_holds_its_worst_loss_over_scenarios_and_modes(made, terms, need):
    desk = desk_of(made, terms)
    assert desk.seed(A, B, 1_000, 10, 0) == desk.seed(B, A, 1_000, 10, 1) == codes.OK
    assert most(desk) == 10**9 - need


@pytest.mark.parametrize("ticks", [20_000, 50_000, 100_000])
def test_entries_of_more_than_32_bits_are_added_whole(made, ticks):
    """A tenth and a fifth of a lot's value in 4,096 parts of a quantum: neither has more, or one of them, or both."""
    desk = desk_of(made, grid(*TWO, scale_bits=12), instrument={"price_max": "200000"}, money=10**12)
    for k in range(2):
        desk.mark(ticks, k)
    assert desk.seed(A, B, ticks, 10, 0) == desk.seed(B, A, ticks, 10, 1) == codes.OK
    assert most(desk) == 10**12 - 100 * ticks
    if made is Exchange:
        losses = [tenths * 10 * ticks << 12 for tenths in (1, 2)]
        assert [loss < 2**31 for loss in losses] == desk.state.prices.members["narrow"].tolist()


def test_an_inverse_contract_loses_more_as_the_price_falls(made):
    desk = desk_of(made, grid(group("A", "P0")), 1, INVERSE)
    desk.seed(A, B, 1_000, 10)
    assert most(desk) == 10**9 - 111_112  # 1,000,000 / 0.9 - 1,000,000, rounded up


def test_open_orders_count_with_the_side_that_hurts_in_each_scenario(made):
    desk = desk_of(made, grid(group("A", "P0")), 1)
    desk.seed(A, B, 1_000, 10)
    desk.new(A, 1, codes.BID, 900, 5)
    assert most(desk) == 10**9 - 150_000
    desk.new(A, 2, codes.ASK, 1_100, 40)  # 30 short in a rise
    assert most(desk) == 10**9 - 300_000


def test_an_order_that_raises_nothing_passes_and_one_that_does_must_be_covered(made):
    desk = desk_of(made, grid(group("A", "P0")), 2)
    desk.seed(A, B, 1_000, 10)
    assert desk.code(codes.WITHDRAW, account=A, qty=10**9 - 100_000) == codes.OK
    assert desk.new(A, 1, codes.BID, 900, 1) == codes.INSUFFICIENT_MARGIN
    assert desk.new(A, 2, codes.ASK, 900, 10, time_in_force=codes.GTC) == codes.RESTING
    assert desk.new(A, 3, codes.ASK, 1_500, 11) == codes.INSUFFICIENT_MARGIN  # 11 short in a rise


def test_an_order_that_opens_without_raising_the_requirement_must_not_cost_its_own_maintenance(made):
    """Turning 10 long into 10 short asks for no more, but at half the price it would lose ten times the equity."""
    desk = desk_of(made, grid(group("A", "P0"), maintenance_factor_ppm=900_000), 1)
    desk.seed(A, B, 1_000, 10)
    assert desk.code(codes.WITHDRAW, account=A, qty=10**9 - 100_000) == codes.OK
    assert desk.new(A, 1, codes.ASK, 500, 20) == codes.INSUFFICIENT_MARGIN
    assert desk.new(A, 2, codes.ASK, 996, 20) == codes.RESTING  # 8,000 at the mark and 996 for the fee; 90,000 stay
    assert desk.code(codes.CANCEL, account=A, order_id=2) == codes.CANCELLED_BY_USER
    assert desk.new(A, 3, codes.ASK, 995, 20) == codes.INSUFFICIENT_MARGIN  # 89,005 would
    assert desk.new(A, 4, codes.ASK, 500, 10) == codes.RESTING  # what only closes passes at any price


def test_a_wallet_leaves_the_mode_only_within_the_tiers_of_its_leverage(made):
    """At 100 times an exposure of 20,000 is allowed; 25,000 would be asked 1 % and maintained at more."""
    desk = desk_of(made, grid(group("A", "P0", range_ppm=10_000)), 1)
    desk.seed(A, B, 1_000, 25)
    assert desk.code(codes.WITHDRAW, account=A, qty=10**9 - 30_000) == codes.OK
    assert portfolio(desk, codes.CROSS) == codes.LEVERAGE_TIER
    assert desk.code(codes.SET_LEVERAGE, account=A, qty=5_000) == codes.OK  # asks nothing here
    assert portfolio(desk, codes.CROSS) == codes.INSUFFICIENT_MARGIN  # 50,000 there
    desk.fund(A, money=20_000)
    assert portfolio(desk, codes.CROSS) == codes.OK
    assert not any(row["kind"] == codes.LIQUIDATION_START for row in desk.settle())


def test_the_mode_needs_cover_for_what_it_asks_and_none_while_in_liquidation(made):
    desk = desk_of(made, grid(group("A", "P0"), group("B", "P1"), modes=["sum"], maintenance_factor_ppm=900_000), 2,
                   {"tiers": [{"floor": "0", "maintenance_ppm": 200_000, "leverage_max": 4}]}, money=300_000)
    desk.seed(A, B, 1_000, 10)
    assert portfolio(desk, codes.CROSS) == codes.OK  # 250,000 by the tier
    assert portfolio(desk) == codes.OK
    desk.seed(A, C, 1_000, 10, 1)
    assert portfolio(desk, codes.CROSS) == codes.INSUFFICIENT_MARGIN
    desk.mark(880)  # 180,000 are left, less than 90 % of 188,000 would be
    desk.mark(860)
    assert portfolio(desk, codes.CROSS) == codes.IN_LIQUIDATION


def test_a_venue_without_groups_has_no_portfolio_margin(made):
    desk = Desk(1, made=made)
    desk.fund(A)
    assert portfolio(desk) == codes.NO_PORTFOLIO


def test_isolated_positions_and_instruments_of_no_group_stay_as_they_are(made):
    desk = desk_of(made, grid(group("A", "P0")), 3)
    assert desk.code(codes.SET_MARGIN_MODE, account=A, instrument=1, qty=codes.ISOLATED) == codes.OK
    desk.seed(A, B, 1_000, 10, 1)
    held = most(desk)
    desk.seed(A, B, 1_000, 10, 2)  # leverage 100
    assert most(desk) == held - 10_000
    assert desk.code(codes.SET_MARGIN_MODE, account=A, instrument=1, qty=codes.CROSS) == codes.POSITION_OPEN


def test_the_hedge_of_a_tenth_is_the_trigger_when_correlation_breaks(made):
    """A hedge of a tenth of gross: in a sum it frees nothing, under rho one it helps, with its sign turned it kills."""
    for modes, starts in ((["rho_one"], 0), (["flipped"], 1)):
        terms = grid(group("A", "P0"), group("H", "P1", beta_ppm=4_000_000), modes=modes, factor_range_ppm=100_000)
        for hedge, expected in ((9, starts), (0, 0)):
            desk = desk_of(made, terms, 2, money=0x7FFFFFF)
            desk.seed(A, B, 1_000, 91)
            if hedge:
                desk.seed(B, A, 1_000, hedge, 1)
            desk.code(codes.WITHDRAW, account=A, qty=0x7FFFFFF - 1_300_000)
            rows = desk.mark(995) + desk.settle()
            assert sum(row["kind"] == codes.LIQUIDATION_START for row in rows) == expected


def test_a_liquidation_allots_equity_by_what_each_leg_alone_would_hold(made):
    desk = desk_of(made, grid(*TWO), 2, money=400_000)
    desk.seed(A, B, 1_000, 10)
    desk.seed(B, A, 1_000, 10, 1)
    desk.mark(1_030, 1)
    assert not any(row["kind"] == codes.LIQUIDATION_START for row in desk.mark(760) + desk.settle())  # 130,000 of both
    rows = desk.mark(750) + desk.settle()
    orders = [row["price"] for row in rows if row["kind"] == codes.LIQUIDATION_ORDER]
    assert orders[0] == 718  # 120,000 * 75,000 // 281,000 of equity for the leg at 750


THIRDS = {sign * k * 40_000 for sign in (1, -1) for k in range(4)}


@pytest.mark.parametrize(("preset", "range_ppm", "inner", "outer"), [
    # SPAN's sixteen scenarios: the price moves by thirds of the range, and by twice the range at 35 % of the loss
    ("span16", 120_000, THIRDS, {sign * 240_000: 350_000 for sign in (1, -1)}),
    # OKX on 2 January 2025: MR1 4, 8, 12 % and MR6 24 % for BTC and ETH; 6, 12, 18 and 36 % for the middle list
    ("okx", 120_000, THIRDS, {sign * 240_000: 500_000 for sign in (1, -1)}),
    ("okx", 180_000, {move * 3 // 2 for move in THIRDS}, {sign * 360_000: 500_000 for sign in (1, -1)}),
    # Deribit, "Portfolio Margin": nine prices to 16 %, and far ones from -66 % to 500 %
    ("deribit", 160_000, {k * 40_000 for k in range(-4, 5)},
     dict.fromkeys((-660_000, -330_000, 500_000, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000)))])
def test_presets_move_prices_as_published(preset, range_ppm, inner, outer):
    terms = grid(group("A", "P0", range_ppm=range_ppm), preset=preset, scenarios=[])
    compiled = config.compile_venue(config.build_venue(venue_table(1, portfolio_margin=terms))).grid
    moves, covers = compiled.shocks["price_ppm"][:len(compiled.scenarios) // 3], compiled.scenarios[1::3] // 1000
    assert {int(move) for move, cover in zip(moves, covers, strict=True) if cover == 10**6} == inner
    far = {int(move): int(cover) for move, cover in zip(moves, covers, strict=True) if cover != 10**6}
    assert far.keys() == outer.keys() and all(cover in (None, far[move]) for move, cover in outer.items())


def test_the_printed_grid_shows_each_scenario_and_the_worst():
    desk = desk_of(Exchange, grid(*TWO, modes=["sum", "flipped"], factor_range_ppm=50_000))
    desk.seed(A, B, 1_000, 10)
    desk.seed(B, A, 1_000, 10, 1)
    shown = desk.exchange.portfolio_margin(A)
    assert shown.worst == {"sum": 300_000, "flipped": 200_000} and shown.maintenance == shown.loss == 300_000
    assert shown.equity == 10**9 and len(shown.rows) == 8
    rows = {(row["mode"], row["group"], row["price_ppm"]): int(row["loss"]) for row in shown.rows}
    assert rows["sum", "B", 1_000_000] == 200_000 and rows["flipped", "A", -1_000_000] == -200_000
    assert "worst loss 300000" in str(shown) and str(shown).count(" <") == 4
    assert desk.exchange.portfolio_margin(B).maintenance == 300_000  # of one that is not in the mode
    losses = np.zeros(2, np.int64)
    wallet_losses(desk.state, np.array([A, B]), losses)
    assert [int(loss) >> 10 for loss in losses] == [300_000, 300_000], "of many wallets, in parts of a quantum"
    with pytest.raises(ValueError, match="no portfolio margin"):
        Desk(1).exchange.portfolio_margin(A)


def test_a_grid_is_printed_before_anybody_is_in_the_mode():
    desk = Desk(1, None, Exchange, portfolio_margin=grid(group("A", "P0")))
    desk.fund(A, B, money=10**9)
    desk.mark(1_000)
    desk.seed(A, B, 1_000, 10)
    assert desk.exchange.portfolio_margin(A).maintenance == 100_000
    assert not desk.state.prices.risks.any(), "the venue itself keeps no risk arrays yet"


@pytest.mark.parametrize(("terms", "where"), [
    (grid(group("A", "P7")), "groups[0].members"),
    (grid(group("A", "P0"), group("B", "P0")), "groups[1].members"),
    (grid(group("A", "P0", basis_ppm={"P1": 5})), "groups[0].basis_ppm"),
    (grid(group("A", "P0"), scenarios=[ENDS[0]]), "scenarios"),
    (grid(group("A", "P0"), scenarios=[*ENDS, {"cover_ppm": 8_000_000, "cover_beyond_ppb": 1}]), "scenarios[2].cover_beyond_ppb"),
    (grid(group("A", "P0"), scenarios=[*ENDS, {"skew": "linear", "volatility_ppm": 1}]), "scenarios[2].volatility_ppm"),
    (grid(group("A", "P0"), maintenance_factor_ppm=1_200_000), "initial_factor_ppm"),
    (grid(group("A", "P0", range_ppm=8_000_000)), "groups"),
])
def test_a_grid_that_cannot_work_is_refused(terms, where):
    with pytest.raises(ConfigError, match="portfolio_margin") as caught:
        config.build_venue(venue_table(2, portfolio_margin=terms))
    assert where in str(caught.value)


def test_losses_that_could_pass_the_integers_are_refused_with_a_scale_that_would_do():
    large = {"position_max": "2000000000", "order_max": "2000000000", "open_interest_max": "2000000000",
             "price_max": "30000"}
    with pytest.raises(ConfigError, match=r"position_max.*scale_bits = (\d+) would do") as caught:
        config.build_venue(venue_table(1, large, portfolio_margin=grid(group("A", "P0"), scale_bits=12)))
    bits = int(str(caught.value).split("scale_bits = ")[1].split()[0])
    config.build_venue(venue_table(1, large, portfolio_margin=grid(group("A", "P0"), scale_bits=bits)))


# --- what binds a crowd --------------------------------------------------------------------------------------------


SEVERAL = ["sum", "one_factor", "rho_one", "flipped"]


def crowd_of(generator, modes):
    """Sixty wallets in portfolio mode on four instruments of three groups, one of which is inverse."""
    terms = grid(group("A", "P0", "P3"), group("B", "P1", range_ppm=200_000, beta_ppm=-500_000),
                 group("C", "P2", range_ppm=50_000), modes=modes, factor_range_ppm=120_000,
                 scenarios=[{"price_ppm": share} for share in (-1_000_000, -400_000, 300_000, 1_000_000)])
    desk = Desk(4, None, Exchange, portfolio_margin=terms, capacity={"accounts": 80})
    accounts = [FIRST + k for k in range(60)]
    desk.fund(*accounts, money=10**10)
    for k in range(4):
        desk.mark(1_000, k)
    for account in accounts:
        assert portfolio(desk, account=account) == codes.OK
    for k in range(4):
        for first, second in generator.permutation(accounts).reshape(-1, 2)[:20]:
            desk.seed(int(first), int(second), 1_000, int(generator.integers(1, 40)), k)
    return desk, accounts


@pytest.mark.parametrize("modes", [["rho_one"], ["flipped"], SEVERAL])
@pytest.mark.parametrize("seed", range(3))
def test_what_binds_a_wallet_is_the_scenario_of_its_printed_grid_with_the_largest_loss(seed, modes):
    desk, accounts = crowd_of(np.random.default_rng(seed), modes)
    found, bits = bindings(desk.state, desk.exchange.venue, np.array(accounts)), 10
    for k, account in enumerate(accounts):
        shown = desk.exchange.portfolio_margin(account)
        assert {mode: -(-int(losses[k]) >> bits) for mode, losses in found.losses.items()} == shown.worst
        assert shown.worst[str(found.mode[k])] == shown.loss
        if found.mode[k] != "sum" and shown.loss:
            rows = shown.rows[(shown.rows["mode"] == found.mode[k]) & (shown.rows["group"] == found.group[k])]
            assert int(rows["loss"][rows["scenario"] == found.scenario[k]][0]) == shown.loss
    assert set(found.mode.tolist()) <= set(modes) and (len(modes) == 1 or len(set(found.mode.tolist())) > 1)
