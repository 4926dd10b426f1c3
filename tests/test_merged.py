"""Several markets on one clock: profiles side by side, captures told apart, money of each asset by itself."""

import json

import pytest
from binance_lines import BTC, SNAPSHOT, START, depth, event, trade

from exchange import codes, config
from exchange.errors import ConfigError, FeedError
from replay.cli import main
from replay.index import describe
from replay.population import Site
from replay.present import liquidity_label
from replay.scenario import build_scenario, load_profiles
from replay.shock import Shock, shock_events
from replay.source import convert_files, open_feed, read_files, sessions
from replay.tape import InstrumentSpec, spec_of

COIN = InstrumentSpec("BTCUSD_PERP", "0.1", "1", 2, "inverse")
COIN_SNAPSHOT = SNAPSHOT | {"symbol": "BTCUSD_PERP", "pair": "BTCUSD", "bids": [["10.0", "5"]], "asks": [["10.2", "7"]]}
BOTH = ["binance_um", "binance_cm"]


def both(**venue):
    return build_scenario({"profile": BOTH, "venue": venue, "feed": {"files": ["a"]}}).venue


def coin_trade():
    return event("trade", s="BTCUSD_PERP", T=1680652700000, t=1, p="10.1", q="4", X="MARKET", m=True)


# --- profiles -------------------------------------------------------------------------------------------------


def test_profiles_make_one_venue_with_fees_and_assets_of_each():
    venue = both()
    assert [(i.symbol, i.settle, i.fees.maker_ppm, i.fees.taker_ppm) for i in venue.instruments] == [
        ("BTCUSDT", "USDT", 200, 400),
        ("BTCUSD_PERP", "BTC", 100, 500),
    ]
    assert [asset.name for asset in venue.assets] == ["USDT", "BTC"] and venue.name == "binance_um + binance_cm"
    assert both(instruments=[{"symbol": "BTCUSD_PERP", "order_max": "5"}]).instruments[1].order_max == "5"


def test_rules_of_a_venue_must_agree_and_venue_fees_would_do_nothing(tmp_path):
    other = tmp_path / "slow.toml"
    text = (config.profiles_folder() / "binance_cm.toml").read_text().replace("samples = 30", "samples = 60")
    other.write_text(text)
    with pytest.raises(ConfigError, match=r"slow.toml.mark: is .*60.*one venue has one such rule"):
        load_profiles(["binance_um", str(other)])
    with pytest.raises(ConfigError, match="venue.instruments.BTCUSDT.fees.taker_ppm"):
        both(fees={"taker_ppm": 1})
    with pytest.raises(ConfigError, match="or a list of them"):
        load_profiles(3)


# --- captures -------------------------------------------------------------------------------------------------


def test_captures_are_grouped_by_the_markets_they_hold(capture):
    linear = [capture(SNAPSHOT, trade(), name="u1"), capture(trade(), name="u2", stamps=[START + 9])]
    inverse = capture(COIN_SNAPSHOT, coin_trade(), name="c1")
    spot = capture(depth(1, 2, None), name="s1")
    nameless = capture(SNAPSHOT, name="n1")
    found = sessions([linear[0], inverse, linear[1], spot, nameless])
    assert [[path.name for path in one.paths] for one in found] == [["u1", "u2"], ["c1"], ["s1", "n1"]]
    assert [one.markets for one in found] == [{"BTCUSDT": "linear"}, {"BTCUSD_PERP": "inverse"}, {"BTCUSDT": "spot"}]


def test_two_markets_are_merged_by_time_whatever_the_order_of_the_files(capture):
    linear = capture(SNAPSHOT, trade(), name="u", stamps=[START, START + 2])
    inverse = capture(COIN_SNAPSHOT, coin_trade(), name="c", stamps=[START + 1, START + 3])
    tape = read_files([linear, inverse], [BTC, COIN])
    assert tape.instruments == (BTC, COIN)
    prints = tape.rows[tape.rows["kind"] == codes.TRADE_PRINT]
    assert prints[["instrument", "price", "qty"]].tolist() == [(0, 101, 5), (1, 101, 4)]
    assert {spec.symbol for spec in convert_files([inverse, linear], [BTC]).instruments} == {"BTCUSDT", "BTCUSD_PERP"}


def test_a_market_that_ends_before_the_others_has_no_index_after_its_end(capture):
    linear = capture(SNAPSHOT, trade(), name="u", stamps=[START, START + 20 * 10**6])
    inverse = capture(COIN_SNAPSHOT, coin_trade(), name="c", stamps=[START, START + 90 * 10**6])
    feed = {"files": [str(linear), str(inverse)]}
    tape = open_feed(build_scenario({"profile": BOTH, "feed": feed}))
    index = tape.rows[tape.rows["kind"] == codes.INDEX]
    last_s = [int(index["ts_ns"][index["instrument"] == k][-1] // 10**9 - START // 10**6) for k in range(2)]
    assert last_s == [20, 90]
    said = describe(tape)
    assert "until its recording ends at 2023-04-04 23:58:40.000 UTC" in said[0] and "until" not in said[1]


def test_spot_and_futures_of_one_symbol_cannot_be_merged_but_only_be_an_index(capture):
    linear = capture(SNAPSHOT, depth(99, 105, 98), name="u")
    spot = capture(SNAPSHOT, depth(101, 105, None, [("9.98", "0.000001")]), name="s")
    with pytest.raises(FeedError, match="s: is the spot market of BTCUSDT, and no contract; it can be the index"):
        read_files([linear, spot], [BTC])
    with pytest.raises(FeedError, match="two tapes disagree"):
        convert_files([linear, spot], [BTC])
    with pytest.raises(ConfigError, match="c has BTCUSD_PERP, the venue only BTCUSDT; add the venue's profile"):
        read_files([capture(coin_trade(), name="c")], [BTC])


def test_tapes_of_one_market_must_not_overlap_and_its_trades_may_be_a_tape_of_their_own(capture, tmp_path):
    def tape(name, *messages, stamps):
        path = tmp_path / name
        convert_files([capture(*messages, name="c", stamps=stamps)], [BTC]).write(path)
        return path

    book = tape("book", SNAPSHOT, depth(99, 105, 98), stamps=[START, START + 9_000_000])
    trades = tape("trades", trade(), trade(), stamps=[START + 1, START + 8_000_000])
    assert len(read_files([trades, book], [BTC])) == 6
    with pytest.raises(FeedError, match="book: starts no later than .* where book goes from 2023-04-04 23:58:20.000"):
        read_files([book, book], [BTC])
    with pytest.raises(FeedError, match="trades: starts no later than"):
        read_files([trades, book, trades], [BTC])


def test_markets_recorded_more_than_an_hour_apart_are_refused(capture):
    linear = capture(SNAPSHOT, trade(), name="u")
    inverse = capture(COIN_SNAPSHOT, coin_trade(), name="c", stamps=[START + 4 * 10**9, START + 4 * 10**9 + 1])
    with pytest.raises(FeedError, match=r"u, c: nothing is recorded for 4,000 s, from 2023-04-04 23:58:20.000 UTC to"):
        read_files([linear, inverse], [BTC, COIN])
    hole = capture(SNAPSHOT, trade(), name="h", stamps=[START, START + 4 * 10**9])
    with pytest.raises(FeedError, match=r"h: nothing is recorded for 4,000 s.*apart \(h goes from .* UTC to"):
        convert_files([hole], [BTC])


def test_a_book_that_ends_before_the_others_is_said(capture, tmp_path, capsys):
    second = 1_000_000
    book = {"bids": [["60000.0", "5"]], "asks": [["60000.2", "7"]]}
    changed = depth(99, 105, 98, [("59999.8", "1")])
    linear = capture(SNAPSHOT | book, changed, name="u", stamps=[START, START + 2 * second])
    coin = COIN_SNAPSHOT | book
    inverse = capture(coin, coin | {"lastUpdateId": 101}, name="c", stamps=[START + 1, START + 9 * second])
    profiles = ["--profile", "binance_um", "--profile", "binance_cm"]
    assert main(["convert", str(linear), str(inverse), *profiles, "-o", str(tmp_path / "tape"), "--json"]) == 0
    (line,) = json.loads(capsys.readouterr().out)["recorded_until"]
    assert line.startswith("BTCUSDT: book recorded until 2023-04-04 23:58:22.000 UTC, 7.0 s before the end; it stands")
    feed = [str(tmp_path / "tape"), "--accounts", "0", "--refill", "none", "--set", "run.seed_after_ms=2000"]
    assert main(["replay", *feed, *profiles, "-o", str(tmp_path / "r")]) == 0
    assert "BTCUSDT: book recorded until 2023-04-04 23:58:22.000 UTC" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "r"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["results"]["recorded_until"]) == 1


# --- shocks ---------------------------------------------------------------------------------------------------


def test_a_move_reaches_every_instrument_and_an_order_one_of_them():
    venue = both()
    sites = [Site(0, 10**18, 60_000 * 1000, 1, 50), Site(1, 10**18, 60_000 * 20, 1, 50)]
    shocks = (
        Shock(kind="move", ppm=-10_000, over_ms=0),
        Shock(kind="sell", units="600", symbol="BTCUSD_PERP", over_ms=0),
        Shock(kind="buy", units="2", over_ms=0),
    )
    events = shock_events(shocks, venue, config.compile_venue(venue), sites)
    moved = events[events["flags"] == codes.SHIFT_BOOK]
    assert moved[["instrument", "price"]].tolist() == [(0, -6_000), (1, -6_000)]
    deposits = events[events["kind"] == codes.DEPOSIT]
    # Three times 600 contracts of 100 USD at 59,400, the end of the move, in BTC; three times 2 BTC at 60,000 in USDT.
    coin = 600 * 100 * 10**8 // 59_400 * 3
    assert deposits[["account", "instrument", "qty"]].tolist() == [(50, 1, coin), (51, 0, 360_000 * 10**6)]
    assert shocks[1].label("contracts") == "external sell of 600 contracts of BTCUSD_PERP over 0 s from 60 s"
    with pytest.raises(ConfigError, match=r"shocks\[0\].symbol: 'ETHUSDT'; the feed has BTCUSDT, BTCUSD_PERP"):
        shock_events((Shock(kind="move", ppm=1, symbol="ETHUSDT"),), venue, config.compile_venue(venue), sites)


def test_external_traders_are_funded_for_the_worst_price_that_the_moves_lead_to():
    venue = both()
    sites = [Site(0, 10**18, 60_000 * 1000, 1, 50), Site(1, 10**18, 60_000 * 20, 1, 50)]

    def cash(*shocks):
        events = shock_events(shocks, venue, config.compile_venue(venue), sites)
        return events["qty"][events["kind"] == codes.DEPOSIT].tolist()

    coin = Shock(kind="buy", units="600", symbol="BTCUSD_PERP", over_ms=0)
    fall, rise = Shock(kind="move", ppm=-800_000), Shock(kind="move", ppm=2_000_000)
    assert cash(coin, fall) == [600 * 100 * 10**8 // 12_000 * 3]
    assert cash(coin, fall, fall) == [600 * 100 * 10**8 // 1_000 * 3], "the ladder ends at 1,000"
    assert cash(Shock(kind="sell", units="2", over_ms=0), rise) == [3 * 2 * 180_000 * 10**6]


def test_an_external_buyer_of_coin_contracts_outlives_a_fall_of_four_fifths(binance_captures, capsys):
    file = str(binance_captures / "coinm_btcusd_perp_20240808.gz")
    shocks = ("buy:units=10000,start_ms=1000,over_ms=10000", "move:ppm=-800000,start_ms=20000")
    given = [part for text in shocks for part in ("--shock", text)]
    arguments = ["--profile", "binance_cm", "--accounts", "0", "--refill", "none", "--json"]
    assert main(["replay", file, *arguments, *given]) == 0
    assert [one["liquidated_accounts"] for one in json.loads(capsys.readouterr().out)["figures"]] == [0, 0]


def test_impact_is_labelled_in_what_each_contract_is_counted_in():
    def label(**venue):
        return liquidity_label(both(**venue))

    impact = {"model": "shift", "volume": "1000", "decaying_ppm": 30_000}
    assert "price impact: shift, 3 % per 1000 units or contracts (linear)" in label(impact=impact)
    own = label(impact=impact, instruments=[{"symbol": "BTCUSD_PERP", "impact": impact | {"volume": "500"}}])
    assert "price impact: shift, 3 % per 1000 units (linear)" in own
    assert "price impact of BTCUSD_PERP: shift, 3 % per 500 contracts (linear)" in own


# --- one command line -----------------------------------------------------------------------------------------


def test_a_merged_replay_has_figures_by_instrument_in_its_own_asset(binance_captures, tmp_path, capsys):
    names = ("usdm_btcusdt_20240808.gz", "coinm_btcusd_perp_20240808.gz", "spot_btcusdt_20240808.gz")
    linear, inverse, spot = (str(binance_captures / name) for name in names)
    sell = "sell:units=60000,symbol=BTCUSD_PERP,over_ms=5000"
    arguments = ["replay", linear, inverse, "--index", spot, "--accounts", "0", "--refill", "none", "--shock", sell]
    profiles = ["--profile", "binance_um", "--profile", "binance_cm"]
    assert main([*arguments, *profiles, "-o", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    assert "shock: external sell of 60000 contracts of BTCUSD_PERP over 5 s from 60 s" in printed
    assert "what happened to BTCUSDT" in printed and "what happened to BTCUSD_PERP" in printed
    assert main(["inspect", str(tmp_path / "run"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    figures = {f["symbol"]: f for f in record["results"]["figures"] if f["mode"] == "overlay"}
    assert {symbol: f["asset"] for symbol, f in figures.items()} == {"BTCUSDT": "USDT", "BTCUSD_PERP": "BTC"}
    assert (figures["BTCUSDT"]["open_interest_end"], figures["BTCUSD_PERP"]["open_interest_end"]) == (0, 60_000)
    assert len(record["variants"]) == 2 and len(record["results"]["figures"]) == 4
    assert all("the recorded book of spot BTCUSDT" in line for line in record["results"]["index"])
    assert record["config"]["feed"]["index"] == [names[2]]
    assert [spec_of(i).symbol for i in both().instruments] == [i["symbol"] for i in record["tape"]["instruments"]]


def test_accounts_on_the_coin_margined_contract_are_liquidated_in_coin(binance_captures, capsys):
    file = str(binance_captures / "coinm_btcusd_perp_20240808.gz")
    people = ["--accounts", "200", "--no-sensitivity", "--set", 'population.fund="20"', "--refill", "none"]
    shock = ["--shock", "move:ppm=-30000,over_ms=30000"]
    assert main(["replay", file, "--profile", "binance_cm", *people, *shock, "--json"]) == 0
    overlay, shadow = json.loads(capsys.readouterr().out)["figures"]
    assert overlay["asset"] == "BTC" and overlay["liquidated_accounts"] > 5
    for figures in (overlay, shadow):
        # 100 USD a contract, somewhere between the lowest and the highest mark
        low, high = (figures["forced_lots"] * 100 * 10**8 / (figures[field] / 20) for field in ("mark_max", "mark_min"))
        assert low * 0.995 < figures["forced_notional"] < high * 1.005
    assert overlay["fund_start"] == 20 * 10**8 < overlay["fund_end"]
