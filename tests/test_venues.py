"""One scenario under the rules of several venues; tie orders; what two venues differ in."""

import json

import msgspec
import numpy as np
import pytest

from exchange import codes, config, schema
from exchange.errors import ConfigError
from replay import venues
from replay.cli import main
from replay.scenario import load_scenario, scenario_path
from replay.source import open_feed
from replay.ties import permuted

SHIPPED = sorted(path.stem for path in config.profiles_folder().glob("*.toml"))
SMALL = ("feed.synthetic.duration_ms=90000", "population.accounts=300", "feed.synthetic.levels=200",
         "run.seed_after_ms=5000",
         'shocks=[{kind="move",start_ms=10000,over_ms=20000,ppm=-35000,depth_ppm=300000}]', "population.size_truncation=5000")


@pytest.fixture(scope="module")
def cascade():
    plan = load_scenario(scenario_path("cascade"), SMALL)
    return plan, open_feed(plan)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_profile_says_where_and_when_its_rules_were_read(name):
    venue = config.build_venue(config.load_profile(name))
    assert venue.name == name and venue.source and len(venue.date) == 7
    lines = (config.profiles_folder() / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ") and any(line.startswith("# Sources:") for line in lines)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_rules_change_and_the_contract_stays(cascade, name):
    plan, tape = cascade
    venue = venues.under(plan, name, tape, 0.3).venue
    own, (contract,) = plan.venue.instruments[0], venue.instruments
    theirs = config.build_venue(config.load_profile(name))
    for field in venues.CONTRACT:
        assert getattr(contract, field) == getattr(own, field)
    assert (venue.depth, venue.impact, venue.assets) == (plan.venue.depth, plan.venue.impact, plan.venue.assets)
    assert venue.index.feedback_ppm == plan.venue.index.feedback_ppm
    assert venue.mark.components == theirs.mark.components and venue.fees == theirs.fees
    assert len(contract.tiers) == len(theirs.instruments[0].tiers)
    assert len(venue.liquidation.stages) == len(theirs.liquidation.stages)


def test_money_of_coin_settled_rules_is_converted_at_the_first_price(cascade):
    plan, tape = cascade
    price = venues._first_price(plan.venue, tape)  # noqa: SLF001 - what the amounts below are multiples of
    tiers = venues.under(plan, "binance_cm", tape).venue.instruments[0].tiers
    coin = config.build_venue(config.load_profile("binance_cm")).instruments[0].tiers
    for one, other in zip(tiers, coin, strict=True):
        assert one.maintenance_ppm == other.maintenance_ppm
        assert 0 <= float(price) * float(other.floor) - float(one.floor) < 1.0
    limits = venues.under(plan, "bitmex", tape).venue.instruments[0].margin.risk_limits
    assert abs(float(limits.base_limit) - 200 * float(price)) < 1


def test_portfolio_rules_cover_the_contracts_of_the_scenario(cascade):
    plan, tape = cascade
    made = venues.under(plan, "deribit_pm", tape, 0.3)
    (group,) = made.venue.portfolio_margin.groups
    assert (group.members, group.range_ppm) == (("BTCUSDT",), 160_000)
    assert made.population.portfolio_share == pytest.approx(0.3 * (1 - plan.population.isolated_share))
    assert venues.under(plan, "bybit", tape, 0.3).population.portfolio_share == 0


def test_rules_that_do_not_fit_are_refused_by_the_profiles_name(cascade, tmp_path):
    """A slippage that grows with the position: it is proved for the profile's largest, not for the scenario's."""
    plan, tape = cascade
    text = (config.profiles_folder() / "vega.toml").read_text().replace('position_max = "10000"', 'position_max = "10"')
    text = text.replace('order_max = "2000"', 'order_max = "10"')
    steep = "linear_slippage_ppb = 1_000_000\nquadratic_slippage_ppt = 1_000_000"
    (tmp_path / "odd.toml").write_text(text.replace("linear_slippage_ppb = 1_000_000", steep))
    with pytest.raises(ConfigError, match="odd.toml"):
        venues.under(plan, str(tmp_path / "odd.toml"), tape)


def test_a_tie_order_exchanges_ids_and_nothing_else():
    rows = np.zeros(6, schema.EVENT)
    rows["kind"] = [codes.DEPOSIT] * 4 + [codes.OPEN_POSITION, codes.SET_LEVERAGE]
    rows["account"] = [8, 9, 10, 3, 8, 12]
    rows["order_id"] = [0, 0, 0, 0, 9, 10]  # the other account of a pair; of other kinds it is no account
    rows["qty"] = [1, 2, 3, 4, 5, 6]
    accounts = range(8, 11)
    assert permuted(rows, accounts, 1, 0) is rows
    made = permuted(rows, accounts, 1, 5)
    exchanged = dict(zip(rows["account"][:3].tolist(), made["account"][:3].tolist(), strict=True))
    assert sorted(exchanged.values()) == [8, 9, 10]
    assert made["account"].tolist()[3:] == [3, exchanged[8], 12]
    assert made["order_id"].tolist() == [0, 0, 0, 0, exchanged[9], 10]
    assert made["qty"].tolist() == rows["qty"].tolist()
    assert len({permuted(rows, accounts, 1, number)["account"][:3].tobytes() for number in range(1, 30)}) == 6


def test_tie_orders_keep_who_holds_what_and_change_who_comes_first(cascade):
    plan, tape = cascade
    made = venues.compare(plan, ("binance_um",), 3, (7, 8), 0.0, open_feed, venues_inputs(plan), lambda *_: None)
    (row,) = made.rows
    assert row.runs == 6 and row.asset == "USDT" and made.seeds == (7, 8)
    assert row.liquidated_notional.low <= row.liquidated_notional.median <= row.liquidated_notional.high
    assert row.liquidated_notional.low > 0 and row.contained_ms.median > 0 and row.amplification.median > 0
    alone = venues.compare(plan, ("binance_um",), 1, (7,), 0.0, open_feed, venues_inputs(plan), lambda *_: None)
    again = venues.compare(plan, ("binance_um",), 1, (7,), 0.0, open_feed, venues_inputs(plan), lambda *_: None)
    assert alone == again


def venues_inputs(plan):
    from replay.inputs import open_inputs

    return open_inputs(plan)


def test_what_two_venues_differ_in_is_named_by_path(tmp_path):
    base = config.build_venue(config.load_profile("bybit"))
    assert venues.differences(base, base) == []
    stages = base.liquidation.stages[:2] + (msgspec.structs.replace(base.liquidation.stages[2], below_ppm=200_000),)
    other = msgspec.structs.replace(
        base, name="other", fees=msgspec.structs.replace(base.fees, taker_ppm=600),
        liquidation=msgspec.structs.replace(base.liquidation, stages=stages))
    assert [(row.path, row.first, row.second) for row in venues.differences(base, other)] == [
        ("fees.taker_ppm", 550, 600), ("liquidation.stages[2].below_ppm", 300_000, 200_000)]


def test_profiles_are_compared_and_run_from_the_command_line(capsys):
    assert main(["profiles", "diff", "bybit", "binance_um"]) == 0
    assert "fees.taker_ppm" in capsys.readouterr().out
    assert main(["profiles", "diff", "bybit", "bybit", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    sets = [word for text in SMALL for word in ("--set", text)]
    assert main(["profiles", "run", "cascade", "--profile", "bybit", "--profile", "dydx", "--tie-orders", "2", *sets]) == 0
    shown = capsys.readouterr().out
    assert "bybit" in shown and "dydx" in shown and "contained in" in shown
    assert main(["profiles", "run", "cascade", "--tie-orders", "0"]) == 2
    assert "--tie-orders" in capsys.readouterr().err


@pytest.mark.parametrize(("amount", "text"), [(0, "0"), (12.345, "12.35"), (-1234.5, "-1.234k"), (182_383_235, "182.4M"),
                                              (3e9, "3G")])
def test_amounts_are_shown_to_four_figures(amount, text):
    assert venues.short(amount) == text
