"""Accounts of a population in portfolio mode: drawn or read, funded by the venue's own grid, shocked."""

import tomllib

import numpy as np
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import codes, config, schema
from exchange.errors import ConfigError, FeedError
from exchange.stress import live_units
from exchange.venue import Exchange
from replay import figures, session
from replay.accounts import read_accounts
from replay.cli import main
from replay.draw import draw_traders
from replay.holdings import seed_accounts
from replay.population import Leverage, Population
from replay.recorder import Recorder
from replay.scenario import build_scenario, load_profiles, merge
from replay.seeding import seed_population
from replay.source import open_feed
from tests.standin import StandIn
from tests.test_portfolios import ETH, MARKS, SYMBOLS, people, sites

GRID = {
    "scenarios": [{"price_ppm": 1_000_000}, {"price_ppm": -1_000_000}, {"price_ppm": -2_000_000, "cover_ppm": 350_000}],
    "modes": ["sum", "one_factor", "flipped"],
    "initial_factor_ppm": 1_250_000,
    "scale_bits": 2,
    "groups": [
        {"name": "BTC", "members": ["BTCUSDT", "BTCUSD_PERP"], "range_ppm": 90_000, "add_ons": {"offset_ppm": 20_000}},
        {"name": "ETH", "members": ["ETHUSDT"], "range_ppm": 120_000, "beta_ppm": 1_300_000},
    ],
}


def listed(**terms):
    table = merge(load_profiles(["binance_um", "binance_cm"]), {"instruments": [ETH]})
    return config.build_venue(
        table | {"capacity": {"accounts": 1_000, "positions": 3_000}} | ({"portfolio_margin": terms} if terms else {})
    )


@pytest.fixture(scope="module")
def venue():
    return listed(**GRID)


def marked(venue, made=Exchange):
    """A venue with a mark in every instrument, at the moment of the seeding."""
    exchange, index = made(venue), np.zeros(3, schema.EVENT)
    index["ts_ns"], index["kind"], index["instrument"], index["price"] = 10**18 - 1, codes.INDEX, range(3), MARKS
    exchange.submit(index)
    exchange.run()
    exchange.outcomes()
    return exchange


def opened(venue, **fields):
    """(venue, what was seeded, outcomes) of a population that was put on it."""
    exchange = marked(venue)
    drawn = people(**({"accounts": 300, "size_truncation": 1_000, "portfolio_share": 0.4} | fields))
    made = seed_population(drawn, venue, exchange.compiled, sites()[: len(drawn.instruments)], None, exchange)
    exchange.submit(made.events)
    exchange.run()
    return exchange, made, exchange.outcomes()


def in_mode(exchange, made):
    """(account, asset) of the wallets in portfolio mode."""
    return [(a, s) for a in made.traders for s in (0, 1) if exchange.wallet(a, s)["portfolio"]]


def refusals(outcomes):
    return figures.of_kind(outcomes, codes.RESULT)["code"] >= codes.UNSUPPORTED_KIND


# --- drawn ------------------------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(
    seed=st.integers(0, 2**32), share=st.sampled_from([0.1, 0.5, 0.9]), alone=st.sampled_from([0.0, 0.1]),
    opposite=st.sampled_from([0.0, 0.5]), leverage=st.sampled_from([3.0, 20.0]),
    factor_ppm=st.sampled_from([1_000_000, 1_250_000]),
)  # fmt: skip
def test_all_portfolio_wallets_open_with_initial_margin_and_money_is_conserved(
    seed, share, alone, opposite, leverage, factor_ppm
):
    exchange, made, outcomes = opened(
        listed(**GRID | {"initial_factor_ppm": factor_ppm}), accounts=120, seed=seed, portfolio_share=share,
        isolated_share=alone, opposite_share=opposite, leverage_long=Leverage(median=leverage),
        leverage_short=Leverage(median=leverage),
    )  # fmt: skip
    assert not refusals(outcomes).any() and figures.liquidations(outcomes) == 0
    exchange.audit(full=True)
    assert exchange.liquidating() == []
    wallets = in_mode(exchange, made)
    assert wallets
    for account, asset in wallets:
        grid, wallet = exchange.portfolio_margin(account, asset), exchange.wallet(account, asset)
        assert grid.equity >= grid.initial
        legs = [p for k in range(3) if (p := exchange.position(account, k)) is not None]
        legs = [p for p in legs if exchange.compiled.instruments["asset"][p["instrument"]] == asset]
        margin = sum(-(-abs(int(p["entry_value"])) * 100 // int(p["leverage_e2"])) for p in legs)
        owed = max(margin, grid.initial - (grid.equity - int(wallet["cash"])))
        assert 0 <= int(wallet["cash"]) - owed <= len(made.events), "no more than asked for; rounded up trade by trade"


def test_the_share_in_portfolio_mode_is_what_was_asked_for_and_the_rest_is_drawn_as_without_it():
    usual, drawn = (draw_traders(people(accounts=20_000, portfolio_share=share), 1, 3) for share in (0.0, 0.25))
    assert not usual.portfolio.any() and drawn.portfolio.mean() == pytest.approx(0.25, abs=0.01)
    assert not (drawn.portfolio & drawn.isolated).any() and (drawn.isolated == usual.isolated).all()
    assert all((getattr(drawn, name) == getattr(usual, name)).all() for name in ("sides", "weights", "wished"))
    assert draw_traders(people(portfolio_share=1.0, isolated_share=0.0), 1, 3).portfolio.all()


def test_equal_seeds_give_equal_bytes_and_without_a_share_a_grid_changes_none(venue):
    first, again = (opened(venue)[1].events.tobytes() for _ in range(2))
    assert first == again != opened(venue, seed=6)[1].events.tobytes()
    none = opened(venue, portfolio_share=0.0)[1].events
    assert none.tobytes() == opened(listed(), portfolio_share=0.0)[1].events.tobytes()
    assert not (none["qty"][none["kind"] == codes.SET_MARGIN_MODE] == codes.PORTFOLIO).any()


def test_accounts_outside_of_the_mode_have_the_money_and_positions_that_they_have_without_it(venue):
    (with_share, made, _), (without, _, _) = opened(venue), opened(venue, portfolio_share=0.0)
    for account in made.traders:
        for asset in (0, 1):
            ours, theirs = with_share.wallet(account, asset), without.wallet(account, asset)
            assert ours["cash"] >= theirs["cash"] and (ours["portfolio"] or ours["cash"] == theirs["cash"])
        for k in range(3):
            ours, theirs = with_share.position(account, k), without.position(account, k)
            assert (ours is None) == (theirs is None)
            if ours is not None:
                assert all(ours[name] == theirs[name] for name in ("lots", "entry_value", "mode", "leverage_e2"))


def test_the_reference_venue_accepts_the_same_events_with_the_same_outcomes(venue):
    _, made, outcomes = opened(venue, accounts=60)
    stand_in = marked(venue, StandIn)
    stand_in.submit(made.events)
    stand_in.run()
    assert stand_in.outcomes().tobytes() == outcomes.tobytes()
    stand_in.audit()


def test_the_summary_counts_the_mode_and_its_distances_are_those_of_the_venues_map(venue):
    exchange, made, _ = opened(venue, portfolio_share=1.0, isolated_share=0.0)
    wallets, found = in_mode(exchange, made), exchange.bands([1_000_000])
    assert [one.portfolio for one in made.summary.assets] == [sum(s == asset for _, s in wallets) for asset in (0, 1)]
    for k, one in enumerate(made.summary.instruments):
        traders = found.positions["account"] < made.traders.stop
        mine = (found.positions["instrument"] == k) & traders
        assert one.portfolio == one.accounts == np.count_nonzero(mine)
        marks = found.marks_sub[mine, 0]
        distance = np.where(marks > 0, np.minimum(10**8, np.abs(marks - MARKS[k]) * 10**6 // MARKS[k]), 10**8)
        for name, ppm in one.distance_ppm.items():
            assert ppm == int(np.percentile(distance, int(name[1:]))), name


def test_leverage_is_capped_by_the_grid_where_that_asks_for_more_than_the_tiers(venue):
    made = opened(venue, legs=(1.0,), portfolio_share=1.0, isolated_share=0.0)[1]
    worst = {"BTCUSDT": 0.15, "ETHUSDT": 0.195}  # the factor's range times beta
    for one in (one for one in made.summary.instruments if one.symbol in worst):
        for side in (one.leverage_long, one.leverage_short):
            assert side["wished_p80"] > side["p80"]
            assert side["p50"] == pytest.approx(1 / (1.25 * worst[one.symbol]), abs=0.01)


def test_a_unit_is_called_by_how_it_is_margined(venue):
    exchange, *_ = opened(venue, isolated_share=0.3)
    units = live_units(exchange.state)
    for k, number in enumerate(units.number.tolist()):
        grid = exchange.state.ledger.wallets[units.wallet[k]]["portfolio"]
        assert units.mode(exchange.state, k) == ("isolated" if number < 0 else "portfolio" if grid else "cross")


@pytest.mark.parametrize(
    ("grid", "fields", "said"),
    [
        ({}, {}, "the venue has no portfolio margin"),
        (GRID | {"groups": GRID["groups"][1:]}, {"instruments": SYMBOLS[:1], "legs": (1.0,)}, "BTCUSDT among its"),
        (GRID, {"isolated_share": 0.7}, "0.4 beside an isolated_share of 0.7; expected at most 1 together"),
    ],
)
def test_a_share_that_the_venue_cannot_margin_is_refused_with_its_path(grid, fields, said):
    with pytest.raises(ConfigError, match=said) as caught:
        opened(listed(**grid), **fields)
    assert caught.value.where == "$.population.portfolio_share"


def test_a_scenario_is_refused_before_its_feed_is_opened():
    table = {"profile": "binance_um", "feed": {"synthetic": {}}, "population": {"portfolio_share": 0.1}}
    with pytest.raises(ConfigError, match=r"no portfolio margin; expected one in \$.venue.portfolio_margin.groups"):
        build_scenario(table)


def test_a_share_is_part_of_the_run_id_and_a_share_of_nothing_is_as_if_none_were_said():
    grid = {
        "scale_bits": 2,
        "scenarios": GRID["scenarios"],
        "groups": [{"name": "B", "members": ["BTCUSDT"], "range_ppm": 90_000}],
    }
    table = {"profile": "binance_um", "feed": {"synthetic": {}}, "venue": {"portfolio_margin": grid}}
    ids = [
        session.run_id(build_scenario(table | {"population": people}), "tape")
        for people in ({}, {"portfolio_share": 0.0}, {"portfolio_share": 0.1})
    ]
    assert ids[0] == ids[1] != ids[2]


# --- read -------------------------------------------------------------------------------------------------------

HEADER = "account,symbol,quantity,entry_price,leverage,mode,cash"
HEDGED = ("ann,BTCUSDT,2,28100,20,portfolio,25000", "ann,ETHUSDT,-30,1790,20,portfolio,25000")
ROWS = (*HEDGED, "ann,BTCUSD_PERP,-10,28000,5,cross,", "bob,BTCUSDT,-1,28000,3,cross,",
        "cat,ETHUSDT,5,1800,10,isolated,", "cat,BTCUSDT,0.1,28000,2,portfolio,800")  # fmt: skip


def written(folder, *rows):
    path = folder / "accounts.csv"
    path.write_text("\n".join((HEADER, *rows)) + "\n")
    return path


def read(venue, path):
    """Accounts of a file put on the venue."""
    exchange = marked(venue)
    made = seed_accounts(read_accounts(path, venue), Population(), venue, exchange.compiled, sites(), exchange)
    exchange.submit(made.events)
    exchange.run()
    return exchange, made, exchange.outcomes()


def test_a_file_says_who_is_in_portfolio_mode_and_with_what(venue, tmp_path):
    exchange, made, outcomes = read(venue, written(tmp_path, *ROWS))
    assert not refusals(outcomes).any() and exchange.liquidating() == []
    exchange.audit(full=True)
    ann, _, cat = made.traders
    assert in_mode(exchange, made) == [(ann, 0), (cat, 0)]
    assert int(exchange.wallet(ann)["cash"]) == 25_000 * 10**6 and int(exchange.wallet(cat)["cash"]) == 800 * 10**6
    assert [int(exchange.position(ann, k)["lots"]) for k in (0, 2)] == [2_000, -3_000]
    assert [int(exchange.position(cat, k)["mode"]) for k in (0, 2)] == [codes.CROSS, codes.ISOLATED]
    assert made.summary.assets[0].portfolio == 2 and made.summary.assets[1].portfolio == 0
    held = sum(int(exchange.wallet(a)["cash"]) for a in (*made.traders, *made.hedgers))
    apart = int(exchange.position(cat, 2)["isolated_margin"])
    assert made.summary.assets[0].deposits_money == held + apart, "what was lent until the mode was entered is no money"


def test_a_hedge_needs_less_than_its_legs_and_what_is_lent_until_then_is_taken_back(tmp_path):
    """Long and short of one group: the two legs' maintenance is 1,200, the grid asks for the offset charge alone."""
    group = {"name": "A", "members": ["BTCUSDT", "ETHUSDT"], "range_ppm": 90_000}
    terms = {"scenarios": GRID["scenarios"], "modes": ["rho_one"], "groups": [group], "scale_bits": 2}
    rows = ("ann,BTCUSDT,10,28000,20,portfolio,1000", "ann,ETHUSDT,-155,1800,20,portfolio,1000")
    exchange, made, outcomes = read(listed(**terms), written(tmp_path, *rows))
    assert not refusals(outcomes).any() and exchange.liquidating() == []
    grid = exchange.portfolio_margin(made.traders[0])
    assert grid.equity == int(exchange.wallet(made.traders[0])["cash"]) == 1_000 * 10**6
    needs = [exchange.position_margin(made.traders[0], k).maintenance for k in (0, 2)]
    assert grid.initial <= grid.equity < sum(needs)
    exchange.audit(full=True)


def test_csv_and_parquet_state_the_mode_alike(venue, tmp_path):
    path = written(tmp_path, *ROWS)
    frame = polars.read_csv(path, infer_schema=False)
    frame.write_parquet(tmp_path / "other.parquet")
    other = read_accounts(tmp_path / "other.parquet", venue)
    assert read_accounts(path, venue).digest() == other.digest()
    cross = written(tmp_path, *(row.replace("portfolio", "cross") for row in ROWS))
    assert read_accounts(cross, venue).digest() != other.digest()


@pytest.mark.parametrize(
    ("grid", "row", "said"),
    [
        ({}, HEDGED[0], "2: mode: 'portfolio'; expected cross or isolated; portfolio needs groups in $.venue."),
        (GRID, "ann,BTCUSDT,1,28000,5,cross,25000", "3: mode: 'portfolio'; line 2 says otherwise of the same wallet"),
        (GRID, "ann,BTCUSDT,1,28000,5,many,25000", "2: mode: 'many'; expected cross or isolated or portfolio"),
        (GRID, "ann,BTCUSDT,2.3,28100,20,portfolio,25000", "2: margin: 'ann' lacks "),
        (GRID, "ann,BTCUSDT,9,28100,20,portfolio,25000", "2: margin: 'ann' has -"),
    ],
)
def test_what_is_wrong_with_a_mode_is_said_by_line(tmp_path, grid, row, said):
    path = written(tmp_path, row, HEDGED[1])
    with pytest.raises(FeedError) as caught:
        read(listed(**grid), path)
    assert f"{path.name}:{said}" in str(caught.value)


# --- shocked ----------------------------------------------------------------------------------------------------

SHOCKED = """
profile = "binance_um"

[venue.index]
feedback_ppm = 800_000

[venue.portfolio_margin]
preset = "span16"
initial_factor_ppm = 1_300_000
scale_bits = 2
groups = [{ name = "BTC", members = ["BTCUSDT"], range_ppm = 50_000 }]

[feed.synthetic]
duration_ms = 90_000
step_ms = 250
levels = 300
markets = [{ symbol = "BTCUSDT", price = "28000", spacing = "5", level_size = "8" }]

[population]
accounts = 300
portfolio_share = 0.5
open_interest_depth = 30.0
size_truncation = 2_000

[[shocks]]
kind = "move"
symbol = "BTCUSDT"
start_ms = 10_000
over_ms = 10_000
ppm = -60_000

[run]
seed = 3
refills = ["decay"]
sensitivity = false
interval_ms = 5_000
audit = true
"""


@pytest.fixture(scope="module")
def shocked(tmp_path_factory):
    """(results, by mode the venue at the end and the outcomes) of the scenario, audited at every interval."""
    scenario, folder = build_scenario(tomllib.loads(SHOCKED)), tmp_path_factory.mktemp("shocked") / "run"
    venues = []

    def made(venue):
        venues.append(Exchange(venue))
        return venues[-1]

    with Recorder(folder) as recorder:
        results = session.run_scenario(scenario, open_feed(scenario), recorder, make_exchange=made)
        recorder.close({})
    outcomes = polars.read_parquet(folder / "outcomes.parquet")
    modes = [one.mode for one in results.figures]
    by_mode = {mode: (venues[k], outcomes.filter(polars.col("variant") == k)) for k, mode in enumerate(modes)}
    return results, by_mode


def liquidated(exchange, outcomes):
    """Accounts in portfolio mode with a liquidation."""
    started = outcomes.filter(polars.col("kind") == codes.LIQUIDATION_START)["account"].unique().to_list()
    return {account for account in started if exchange.wallet(account)["portfolio"]}


def test_a_shock_liquidates_portfolio_accounts_and_more_of_them_with_feedback(shocked):
    _, by_mode = shocked
    overlay, shadow = (liquidated(*by_mode[mode]) for mode in ("overlay", "shadow"))
    assert len(overlay) > len(shadow) > 10
    assert shadow < overlay


def test_money_and_positions_are_conserved_when_portfolio_accounts_are_liquidated(shocked):
    results, by_mode = shocked
    assert results.population.instruments[0].portfolio == pytest.approx(150, abs=30)
    for exchange, _ in by_mode.values():
        exchange.audit(full=True)
        assert exchange.state.prices.grids[0]["holders"] == results.population.assets[0].portfolio


def test_the_command_line_runs_it_and_its_tables_say_the_mode(tmp_path, capsys):
    path = tmp_path / "grid.toml"
    path.write_text(SHOCKED)
    assert main(["run", str(path), "--set", "run.audit=false", "-o", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "in portfolio mode)" in said and "before tiers or grid" in said
    assert main(["run", str(path), "--set", "venue.portfolio_margin.groups=[]", "-o", str(tmp_path / "none")]) == 2
    assert "$.population.portfolio_share" in capsys.readouterr().err
