"""One shock, several assets: cross accounts carry it to books that nobody shocked, and nowhere else."""

import numpy as np
import polars
import pytest

from exchange import codes, config
from exchange.errors import ConfigError
from exchange.venue import Exchange
from replay import figures, session
from replay.recorder import Recorder
from replay.scenario import build_scenario, load_scenario, scenario_path
from replay.source import open_feed
from replay.synthetic.market import Market, Synthetic, generate

SHOCKED, OTHER_ASSET = "SOLUSDT", "BTCUSD_PERP"


def ran(*overrides, recorder=None):
    scenario = load_scenario(scenario_path("contagion"), overrides)
    results = session.run_scenario(scenario, open_feed(scenario), recorder)
    return scenario, {(row["symbol"], row["asset"]): row for row in results.amplification}, results


@pytest.fixture(scope="module")
def shocked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contagion") / "run"
    with Recorder(folder) as recorder:
        scenario, rows, results = ran(recorder=recorder)
        recorder.close({})
    return scenario, rows, results, polars.read_parquet(folder / "outcomes.parquet")


def test_accounts_are_liquidated_on_instruments_without_a_shock_and_more_so_with_feedback(shocked):
    scenario, rows, _, _ = shocked
    assert [shock.symbol for shock in scenario.shocks] == [SHOCKED]
    for (symbol, asset), row in rows.items():
        if asset == "USDT":
            assert row["accounts_shadow"] > 100 and row["accounts_ratio"] > 1.1 and row["notional_ratio"] > 1.1, symbol


def test_without_the_shock_next_to_nobody_is_liquidated():
    _, rows, _ = ran("shocks=[]")
    assert all(row["accounts_overlay"] <= 2 for row in rows.values())


def test_the_marks_that_were_not_shocked_fall_by_forced_selling_alone(shocked):
    overlay, shadow = ({f.symbol: f for f in shocked[2].figures if f.mode == mode} for mode in ("overlay", "shadow"))
    for symbol in set(overlay) - {SHOCKED, OTHER_ASSET}:
        assert overlay[symbol].mark_min < shadow[symbol].mark_min < overlay[symbol].mark_start
    assert overlay[OTHER_ASSET].mark_min == shadow[OTHER_ASSET].mark_min


def test_feedback_reaches_accounts_that_close_nothing_in_the_shocked_instrument(shocked):
    scenario, _, _, outcomes = shocked
    place = [i.symbol for i in scenario.venue.instruments].index(SHOCKED)
    closing = [codes.LIQUIDATION_ORDER, codes.TAKEOVER, codes.ADL]
    bystanders = []
    for variant in (0, 1):
        own = outcomes.filter((polars.col("variant") == variant) & polars.col("kind").is_in(closing))
        everyone = own.filter(polars.col("account") >= codes.FIRST_USER)["account"].unique()
        hit = own.filter(polars.col("instrument") == place)["account"].unique()
        bystanders.append(len(set(everyone) - set(hit)))
    assert bystanders[0] > 50 and bystanders[1] < 10


def test_wallets_of_another_asset_are_untouched(shocked):
    _, rows, results, _ = shocked
    assert rows[OTHER_ASSET, "BTC"]["accounts_overlay"] == rows[OTHER_ASSET, "BTC"]["accounts_shadow"] == 0
    assert results.population.assets[1].accounts > 1_000, "and there are such wallets"


def test_totals_of_an_asset_count_an_account_once_and_add_up_its_instruments(shocked):
    results = shocked[2]
    for mode in ("overlay", "shadow"):
        own = [f for f in results.figures if f.mode == mode and f.asset == "USDT"]
        (total,) = (t for t in results.totals if t.mode == mode and t.asset == "USDT")
        assert total.liquidated_notional == sum(f.liquidated_notional for f in own)
        assert max(f.liquidated_accounts for f in own) < total.liquidated_accounts
        assert total.liquidated_accounts < sum(f.liquidated_accounts for f in own)


# --- markets with a common factor -------------------------------------------------------------------------------


def correlation(stress_share):
    """Of the index moves of two markets."""
    scenario = load_scenario(scenario_path("contagion"))
    usual = {"spacing": "1", "level_size": "5", "correlation": 0.4, "stress_correlation": 0.95}
    markets = (Market(symbol="BTCUSDT", price="28000", **usual), Market(symbol="ETHUSDT", price="9000", **usual))
    synthetic = Synthetic(duration_ms=2_000_000, step_ms=1_000, levels=300, basis_ppm=0, seed=1, prints_a_second=0.0,
                          stress_share=stress_share, markets=markets)  # fmt: skip
    events = generate(synthetic, scenario.venue)
    assert (np.diff(events["ts_ns"]) >= 0).all()
    index = events[events["kind"] == codes.INDEX]
    return np.corrcoef(*(np.diff(np.log(index["price"][index["instrument"] == k])) for k in (0, 2)))[0, 1]


def test_markets_correlate_by_their_share_of_the_common_factor_and_move_as_one_in_stress():
    assert correlation(0.0) == pytest.approx(0.4, abs=0.05)
    assert correlation(1.0) == pytest.approx(0.95, abs=0.01)


def test_a_market_that_the_venue_does_not_list_is_refused():
    scenario = load_scenario(scenario_path("contagion"))
    usual = {"price": "100", "spacing": "1", "level_size": "5"}
    for symbols in (["BTCUSDT", "XYZ"], ["BTCUSDT", "BTCUSDT"]):
        synthetic = Synthetic(markets=tuple(Market(symbol=symbol, **usual) for symbol in symbols), levels=50)
        with pytest.raises(ConfigError, match=r"markets\[1\].symbol: '\w+'; expected each once of BTCUSDT,"):
            generate(synthetic, scenario.venue)


# --- twenty instruments -----------------------------------------------------------------------------------------

ASSETS = [{"name": "USDT", "quantum": "0.000001"}, {"name": "BTC", "quantum": "0.00000001"}]


def listed(k):
    """The k-th of twenty instruments: every fifth is inverse, settled in BTC."""
    kind = {"settle": "BTC", "kind": "inverse", "multiplier": "100"} if k % 5 == 4 else {"settle": "USDT"}
    floors = [("0", 10_000, 50), ("50" if k % 5 == 4 else "500000", 50_000, 10)]
    tiers = [{"floor": floor, "maintenance_ppm": rate, "leverage_max": most} for floor, rate, most in floors]
    return kind | {
        "symbol": f"C{k}", "tick": "1", "lot": "1" if k % 5 == 4 else "0.001", "mark_per_tick": 10, "price_min": "100",
        "price_max": "100000", "order_max": "100000", "position_max": "200000", "open_interest_max": "1000000",
        "tiers": tiers,
    }  # fmt: skip


def twenty():
    symbols = [f"C{k}" for k in range(20)]
    usual = {"price": "20000", "spacing": "10"}
    markets = [usual | {"symbol": f"C{k}", "level_size": "800" if k % 5 == 4 else "2"} for k in range(20)]
    return build_scenario(
        {
            "venue": {
                "name": "twenty", "assets": ASSETS, "instruments": [listed(k) for k in range(20)],
                "index": {"feedback_ppm": 800_000}, "liquidation": {"detection_delay_ns": 950_000_000},
            },
            "feed": {"synthetic": {"duration_ms": 60_000, "step_ms": 500, "levels": 120, "markets": markets}},
            "population": {
                "accounts": 1_000, "instruments": symbols, "legs": [1.0] * 8, "size_truncation": 5_000,
                "open_interest_depth": 15.0, "long_share": 0.7, "isolated_share": 0.0,
                "leverage_long": {"median": 25.0, "sigma": 0.4}, "fund": {"USDT": "100000", "BTC": "10"},
            },
            "shocks": [{"kind": "move", "symbol": "C0", "ppm": -250_000, "start_ms": 2_000, "over_ms": 8_000}],
            "run": {"seed_after_ms": 5_000, "refills": ["decay"], "sensitivity": False},
        }
    )  # fmt: skip


def test_twenty_instruments_with_cross_accounts_conserve_the_money_of_each_asset():
    """After the cascade all that was paid in is held by somebody, asset by asset, and the full audit finds nothing."""
    venues = []

    def make(venue: config.Venue):
        venues.append(Exchange(venue))
        return venues[-1]

    results = session.run_scenario(twenty(), open_feed(twenty()), make_exchange=make)
    overlay = {f.symbol: f for f in results.figures if f.mode == "overlay"}
    assert sum(f.liquidated_accounts > 0 for f in overlay.values()) >= 14, "the shock of one spreads"
    assert results.population.assets[0].by_positions["8"] > 10 and not overlay["C0"].rejected
    for exchange in venues:
        exchange.audit(full=True)
        users = range(exchange.venue.capacity.accounts)
        for asset, paid in enumerate(exchange.state.ledger.totals):
            held = sum(exchange.equity(account, asset) for account in users)
            residue = abs(held - int(paid["deposits"] - paid["withdrawals"]))
            assert residue == 0 if asset == 0 else residue < len(users), "an inverse value is rounded by position"
    assert figures.amplification(results.totals)[0]["accounts_ratio"] >= 1
