"""Scenarios: shipped ones load, merging and overrides work, mistakes are named by path; the synthetic market."""

import re

import numpy as np
import pytest

from exchange import codes
from exchange.errors import ConfigError
from replay import scenario as scenarios
from replay.scenario import (
    build_scenario,
    load_scenario,
    merge,
    parse_duration,
    parse_impact,
    parse_value,
    scenario_path,
)
from replay.synthetic.market import Synthetic, generate

MINIMAL = {"profile": "binance_um", "feed": {"synthetic": {"duration_ms": 10_000}}}


@pytest.mark.parametrize("name", ["calm", "cascade"])
def test_shipped_scenarios_load(name):
    scenario = load_scenario(scenario_path(name))
    assert scenario.name == name
    assert scenario.population.seed == scenario.run.seed == scenario.feed.synthetic.seed


def test_the_packaged_folder_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(scenarios, "__file__", str(tmp_path / "replay" / "scenario.py"))
    assert scenarios.data_folder() == tmp_path / "data"
    (tmp_path / "replay" / "_data").mkdir(parents=True)
    assert scenarios.data_folder() == tmp_path / "replay" / "_data"


def test_tables_merge_deeply_and_instruments_by_symbol():
    table = MINIMAL | {"venue": {"fees": {"taker_ppm": 500}, "instruments": [{"symbol": "BTCUSDT", "order_max": "50"}]}}
    venue = build_scenario(table).venue
    assert (venue.fees.taker_ppm, venue.fees.liquidation_ppm) == (500, 12_500)
    assert (venue.instruments[0].order_max, venue.instruments[0].tick) == ("50", "0.1")
    assert merge({"instruments": [{"symbol": "A"}]}, {"instruments": [{"symbol": "B"}]})["instruments"] == [
        {"symbol": "A"},
        {"symbol": "B"},
    ]


def test_overrides_are_typed_and_name_rows_by_symbol_or_place():
    overrides = (
        "venue.fees.taker_ppm=500",
        "venue.instruments.BTCUSDT.order_max=50",
        "population.long_share=0.7",
        'run.refills=["none"]',
        "venue.instruments.0.tiers.0.maintenance_ppm=4500",
        "population.leverage_long.median=9",
    )
    made = build_scenario(MINIMAL | {"population": {}}, overrides)
    assert made.venue.fees.taker_ppm == 500
    assert made.venue.instruments[0].order_max == "50"
    assert made.venue.instruments[0].tiers[0].maintenance_ppm == 4_500
    assert made.population.long_share == 0.7 and made.population.leverage_long.median == 9.0
    assert made.run.refills == ("none",)


def test_a_bare_number_is_text_where_the_field_holds_text():
    people = build_scenario(MINIMAL, ("population.fund=2.50", "population.open_interest=7", "population.seed=3"))
    assert (people.population.fund, people.population.open_interest, people.population.seed) == ("2.50", "7", 3)
    by_asset = build_scenario(MINIMAL, ("population.fund.USDT=20", "venue.instruments.0.price_min=5"))
    assert (by_asset.population.fund, by_asset.venue.instruments[0].price_min) == ({"USDT": "20"}, "5")
    table = build_scenario(MINIMAL | {"population": {"fund": "1"}}, ('population.fund={USDT="5"}',))
    assert table.population.fund == {"USDT": "5"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run.refills=none", r"Expected `array`, got `str`; write a list, as in \[.*\], of decay, none, persistent$"),
        ('run.modes=["both"]', r"modes\[0\]: Invalid enum value 'both'; expected one of overlay, shadow$"),
        ("venue.impact.shape=cubic", r"impact.shape: Invalid enum value 'cubic'; expected one of linear, square_root$"),
        ("venue.liquidation.mode=3", r"liquidation.mode: .*; expected one of overlay, shadow$"),
        ("population.instruments=BTCUSDT", r"write a list, as in \[\"A\", \"B\"\]$"),
        ("population.instruments=[1]", r'instruments\[0\]: .*; write it as text in quotes, as in "20"$'),
        ("run.audit=maybe", "; write true or false$"),
    ],
)
def test_a_refused_value_comes_with_what_is_accepted(text, said):
    with pytest.raises(ConfigError, match=said):
        build_scenario(MINIMAL, (text,))


def test_impact_is_read_to_a_table():
    assert parse_impact("none") == {"model": "none"}
    text = "square_root:volume=350000,decaying_ppm=30_000,half_life=10min,period=50ms,flow=forced"
    assert parse_impact(text) == {
        "model": "shift",
        "shape": "square_root",
        "volume": "350000",
        "decaying_ppm": 30_000,
        "half_life_ns": 600 * 10**9,
        "period_ns": 50 * 10**6,
        "flow": "forced",
    }
    made = build_scenario(MINIMAL | {"venue": {"impact": parse_impact(text), "queue": {"model": "risk_averse"}}})
    assert made.venue.impact.volume == "350000" and made.venue.queue.model == "risk_averse"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cubic:volume=1", "'cubic' in 'cubic:volume=1'; expected none, linear:… or square_root:…"),
        ("linear:volume=1,model=none", "'model=none' in 'linear:volume=1,model=none'; the shape comes first"),
        ("linear:shape=square_root", "; the shape comes first, as in linear:volume=350000"),
        ("linear:volume", "'volume' in 'linear:volume'; expected field=value"),
    ],
)
def test_impact_that_cannot_be_meant_is_refused(text, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        parse_impact(text)


def test_values_are_toml_or_text():
    assert [parse_value(text) for text in ("5", "0.5", "true", '"5"', "[1, 2]", "plain text")] == [
        5,
        0.5,
        True,
        "5",
        [1, 2],
        "plain text",
    ]


@pytest.mark.parametrize(
    ("table", "where"),
    [
        ({"profile": "nowhere", "feed": {}}, "$.profile"),
        ({"profile": 3, "feed": {}}, "$.profile"),
        ({"feed": {"synthetic": {}}}, "$.profile"),
        ({"profile": "binance_um"}, "$"),
        (MINIMAL | {"populaton": {}}, "$"),
        (MINIMAL | {"population": {"long_share": 1.5}}, "$.population.long_share"),
        (MINIMAL | {"population": {"shoe_size": 3}}, "$.population"),
        (MINIMAL | {"shocks": [{"kind": "sell", "units": "1"}, {"kind": "move"}]}, "$.shocks[1].ppm"),
        (MINIMAL | {"run": {"refills": []}}, "$.run.refills"),
        (MINIMAL | {"run": {"refills": ["none", "none"]}}, "$.run.refills"),
        ({"profile": "binance_um", "feed": {}}, "$.feed"),
        ({"profile": "binance_um", "feed": {"files": ["a"], "synthetic": {}}}, "$.feed"),
        (MINIMAL | {"venue": {"fees": 3}}, "$.venue.fees"),
        (MINIMAL | {"venue": 3}, "$.venue"),
        (MINIMAL | {"venue": {"instruments": [{"tick": "1"}]}}, "$.venue.instruments[0]"),
    ],
)
def test_mistakes_are_named_by_path(table, where):
    with pytest.raises(ConfigError) as caught:
        build_scenario(table)
    assert caught.value.where == where


@pytest.mark.parametrize(
    "text",
    [
        "venue.fees.taker_ppm",
        "=3",
        "venue..x=3",
        "venue.instruments.ETHUSDT.tick=1",
        "venue.name.x=3",
        "venue.instruments.0=3",
    ],
)
def test_bad_overrides_are_refused(text):
    with pytest.raises(ConfigError):
        build_scenario(MINIMAL, (text,))


def test_feed_files_are_beside_the_scenario(tmp_path):
    (tmp_path / "s.toml").write_text('profile = "binance_um"\n[feed]\nfiles = ["a.dat"]\n')
    made = load_scenario(tmp_path / "s.toml")
    assert made.feed.files == (str(tmp_path / "a.dat"),)
    assert made.table()["feed"]["files"] == ["a.dat"], "records carry names, not paths of this machine"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[feed]\nfiles = [1]", "$.feed.files[0]"),
        ('[feed]\nfiles = ["a"]\nindex = [1]', "$.feed.index[0]"),
        ('[feed]\nfiles = ["a"]\n[population]\nhistory = [1]', "$.population.history[0]"),
        ('[feed]\nfiles = ["a"]\n[population]\naccounts_from = 1', "$.population.accounts_from"),
    ],
)
def test_a_file_that_is_no_text_is_named_by_its_place(tmp_path, text, where):
    (tmp_path / "one.toml").write_text(f'profile = "binance_um"\n{text}\n')
    with pytest.raises(ConfigError, match="str") as caught:
        load_scenario(tmp_path / "one.toml")
    assert caught.value.where == where


def test_durations():
    assert [parse_duration("x", text) for text in ("10s", "500ms", "2min", "1h")] == [
        10**10,
        5 * 10**8,
        12 * 10**10,
        36 * 10**11,
    ]
    for bad in ("10", "s", "1.5s", "10 d", "-1s"):
        with pytest.raises(ConfigError):
            parse_duration("--half-life", bad)


# --- synthetic market --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def venue():
    return build_scenario(MINIMAL).venue


def test_the_book_is_whole_after_every_message(venue):
    """A level-only book of the tape: never crossed, L levels a side, no unknown removal, removals first."""
    events = generate(Synthetic(duration_ms=60_000, levels=40, volatility_day_ppm=150_000, seed=3), venue)
    books, setting, messages, moved = ({}, {}), False, 0, set()
    for row in events[events["kind"] == codes.LEVEL_SET]:
        book, price = books[row["side"]], int(row["price"])
        if row["qty"] == 0:
            assert not setting, "removals come before the levels that are set"
            assert book.pop(price, None) is not None
        else:
            setting = messages > 0
            book[price] = int(row["qty"])
        if row["flags"] & codes.LAST:
            best_bid, best_ask = max(books[0]), min(books[1])
            assert best_ask - best_bid == 50 and len(books[0]) == len(books[1]) == 40
            assert best_bid - min(books[0]) == max(books[1]) - best_ask == 39 * 50
            moved.add(best_bid)
            messages, setting = messages + 1, False
    assert messages == 601
    assert len(moved) > 10, "the market must have moved for this test to mean anything"


def test_the_tape_is_sorted_numbered_and_seeded(venue):
    synthetic = Synthetic(duration_ms=30_000, seed=3)
    events = generate(synthetic, venue)
    assert (np.diff(events["ts_ns"]) >= 0).all()
    assert np.array_equal(events["seq"], np.arange(len(events)))
    assert events.tobytes() == generate(synthetic, venue).tobytes()
    assert events.tobytes() != generate(Synthetic(duration_ms=30_000, seed=4), venue).tobytes()
    assert (events["kind"] == codes.INDEX).sum() == 31
    assert (events["kind"] == codes.TRADE_PRINT).sum() > 50


def test_funding_is_settled_on_whole_intervals(venue):
    events = generate(Synthetic(duration_ms=25_000, funding_every_ms=10_000, start_ms=1_700_000_003_000), venue)
    settled = events[events["kind"] == codes.FUNDING_SETTLE]["ts_ns"] // 10**6
    assert list(settled) == [1_700_000_010_000, 1_700_000_020_000]
    rates = events[events["kind"] == codes.FUNDING_RATE]
    assert list(rates["qty"] // 10**6) == [1_700_000_010_000, 1_700_000_020_000, 1_700_000_030_000]


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"levels": 10_000}, "levels"), ({"price": "28000.05"}, "price"), ({"level_size": "0"}, "level_size")],
)
def test_a_market_that_does_not_fit_is_refused(venue, fields, field):
    with pytest.raises(ConfigError) as caught:
        generate(Synthetic(**fields), venue)
    assert caught.value.where == f"$.feed.synthetic.{field}"
