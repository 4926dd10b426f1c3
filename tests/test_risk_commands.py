"""`deleverage map` and `bands`: what they show of a run is what the run's own venue and outcomes say."""

import json

import numpy as np
import pytest

from exchange import codes, schema
from replay import bands, moments
from replay.bands import MarkPath
from replay.cli import main
from replay.inputs import NO_INPUTS
from replay.scenario import load_scenario, scenario_path
from replay.source import open_feed

SMALL = ["--set", "population.accounts=60", "--set", "feed.synthetic.duration_ms=95000",
         "--set", "feed.synthetic.levels=120", "--set", "run.seed_after_ms=10000"]
SECOND = 1_000_000_000
PNG = b"\x89PNG\r\n"


def printed(capsys, *arguments):
    assert main([*arguments, *SMALL, "--debug"]) == 0
    return capsys.readouterr().out


def played(at_s, to_end=False):
    """The venue's own map and accounts at a moment of the small scenario, and the outcomes after it."""
    scenario = load_scenario(scenario_path("cascade"), tuple(SMALL[1::2]))
    seen = []

    def visit(exchange, ts_ns):
        seen.append((ts_ns, exchange.copy()))

    outcomes = moments.play_to(scenario, open_feed(scenario), NO_INPUTS, int(at_s * SECOND), visit, to_end)
    return *seen[0], outcomes


def test_the_map_is_the_venues_own_at_that_moment_and_the_picture_is_one(capsys, tmp_path):
    document = json.loads(printed(capsys, "map", "cascade", "--at", "25s", "--json", "-o", str(tmp_path / "map.png")))
    ts_ns, exchange, outcomes = played(25)
    assert document["ts_ns"] == ts_ns and document["after_ns"] == 25 * SECOND and not len(outcomes)
    (one,) = document["instruments"]
    made = exchange.liquidation_map(0, one["step_sub"] // 1_000)
    assert one["mark_sub"] == made.mark_sub == int(exchange.markets[0]["mark_sub"])
    assert one["pending_accounts"] == len(made.pending) and one["never_accounts"] == len(made.never)
    below = made.entries[made.entries["price_sub"] < made.mark_sub]
    assert sum(row["accounts_one"] for row in one["below"]) == len(below)
    assert one["below"][-1]["reached_notional"] == int(below["notional"].sum())
    assert one["below"] == sorted(one["below"], key=lambda row: -row["low_sub"])
    assert one["above"] == sorted(one["above"], key=lambda row: row["low_sub"])
    assert (tmp_path / "map.png").read_bytes().startswith(PNG)


def test_a_table_names_the_mark_and_everything_reached(capsys):
    shown = printed(capsys, "map", "cascade", "--step", "100")
    assert "liquidation map of BTCUSDT" in shown and "27,900.0" in shown
    assert printed(capsys, "map", "cascade", "--step", "100") == shown


def test_bands_say_when_the_mark_came_there_and_who_was_liquidated(capsys, tmp_path):
    picture = tmp_path / "bands.png"
    document = json.loads(printed(capsys, "bands", "cascade", "--json", "-o", str(picture)))
    _, exchange, outcomes = played(0, to_end=True)
    liquidated = set(outcomes["account"][outcomes["kind"] == codes.LIQUIDATION_START].tolist())
    longs = next(side for side in document["sides"] if side["side"] == "long")
    forced = next(band for band in longs["bands"] if band["band"] == "forced")
    lots = exchange.bands([1_000_000]).positions
    assert longs["positions"] == int((lots["lots"] > 0).sum()) and longs["liquidated"] > 3
    assert longs["liquidated"] == len(liquidated & set(lots["account"][lots["lots"] > 0].tolist()))
    assert forced["reached"] == longs["liquidated"], "nobody's cash changed on the way"
    order = [band["distance_ppm"]["p50"] for band in longs["bands"]]
    assert order == sorted(order) and len(order) == 4 and picture.read_bytes().startswith(PNG)


def test_the_bands_of_one_account_are_marks_and_times(capsys, tmp_path):
    _, exchange, outcomes = played(0, to_end=True)
    start = outcomes[outcomes["kind"] == codes.LIQUIDATION_START][0]
    account = int(start["account"])
    arguments = ["bands", "cascade", "--account", str(account), "--pressure", "2"]
    document = json.loads(printed(capsys, *arguments, "--json", "-o", str(tmp_path / "one.png")))
    (position,) = document["positions"]
    assert [band["band"] for band in position["bands"]] == ["pressure 2", "forced", "bankrupt"]
    assert position["bands"][1]["mark_sub"] == exchange.liquidation_price(account, 0)
    reached = [band["reached_after_ns"] for band in position["bands"]]
    assert reached[0] <= reached[1] <= position["liquidated_after_ns"]
    assert f"account {account}" in printed(capsys, *arguments)


def test_a_mark_is_reached_when_it_is_first_at_or_beyond_it():
    rows = np.zeros(6, schema.OUTCOME)
    rows["kind"], rows["ts_ns"], rows["price"] = codes.MARK_PRICE, range(10, 70, 10), (100, 98, 99, 104, 95, 110)
    rows["instrument"][-1] = 1
    path = MarkPath.of(rows, 0, 5, 101)
    marks = np.array([98, 97, 90, 0, 101, 103, 105, 0])
    falling = np.array([True] * 4 + [False] * 4)
    assert path.reached_after(marks, falling).tolist() == [15, 45, -1, -1, 0, 35, -1, -1]


@pytest.mark.parametrize(("arguments", "said"), [
    (["map", "calm", "--at", "soon"], "--at"), (["map", "calm", "--symbol", "X"], "--symbol"),
    (["map", "calm", "-o", "map.svg"], ".png"), (["map", "calm", "-o", "no/such/map.png"], "folder"),
    (["bands", "calm", "--pressure", "0.9"], "--pressure"), (["bands", "calm", "--pressure", "much"], "--pressure"),
    (["map", "nothing"], "shipped are"), (["backtest", "x.csv", "--horizon", "1d"], "--horizon"),
    (["backtest", "x.csv", "--symbol", "X"], "--symbol"), (["backtest", "x.csv"], "x.csv")])
def test_what_makes_no_sense_is_refused_before_anything_runs(arguments, said, capsys):
    assert main(arguments) in (2, 3)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "said"), [
    (["map", "cascade", "--at", "2h"], "--at: 7200 s after seeding"),
    (["map", "cascade", "--step", "0.01"], "--step"), (["bands", "cascade", "--account", "3"], "--account: 3"),
    (["map", "cascade", "--set", "population.accounts=0"], "population")])
def test_what_the_run_does_not_have_is_refused(arguments, said, capsys):
    assert main([*arguments[:2], *SMALL, *arguments[2:]]) == 2
    assert said in capsys.readouterr().err


def test_an_existing_picture_is_kept(tmp_path, capsys):
    (tmp_path / "map.png").write_text("mine")
    assert main(["map", "calm", "-o", str(tmp_path / "map.png")]) == 2
    assert "already exists" in capsys.readouterr().err and (tmp_path / "map.png").read_text() == "mine"


def test_the_margin_backtest_runs_from_klines_to_picture(tmp_path, capsys):
    rows = [f"{k * 60_000},{100 + k % 7},{108 + k % 5},{95 - k % 3},{100 + (k + 1) % 7},1,{(k + 1) * 60_000 - 1}"
            for k in range(200)]
    (tmp_path / "k.csv").write_text("\n".join(rows))
    arguments = ["backtest", str(tmp_path / "k.csv"), "--horizon", "5min", "--leverage", "10", "--rate-ppm", "20000"]
    assert main([*arguments, "-o", str(tmp_path / "t.png"), "--debug"]) == 0
    shown = capsys.readouterr().out
    assert "initial at 10x" in shown and "Kupiec p" in shown and "peak to trough" in shown
    assert main([*arguments, "--json", "--debug"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["windows"] == 39 and document["covered"][0]["kupiec"]["p_value"] <= 1
    assert (tmp_path / "t.png").read_bytes().startswith(PNG)


def test_ratios_go_from_the_first_pressure_to_bankruptcy():
    assert bands.ratios_of(("1.2", "3", "1.2")) == [3_000_000, 1_200_000, 1_000_000, 0]


def test_with_stages_the_bands_of_an_account_are_those_of_its_venue(capsys, tmp_path):
    stages = ('[{below_ppm=1250000,action="warn"},{below_ppm=1100000,action="reduce",share_ppm=250000,'
              'cooldown_ns=1000000000},{below_ppm=1000000,action="close"}]')
    sets = ["--set", "venue.liquidation.detection_delay_ns=0", "--set", f"venue.liquidation.stages={stages}"]
    document = json.loads(printed(capsys, "bands", "cascade", *sets, "--pressure", "2", "--json", "-o",
                                  str(tmp_path / "stages.png")))
    names = ["pressure 2", "stage 1 warn 1.25", "stage 2 reduce 1.1", "stage 3 close 1", "bankrupt"]
    for side in document["sides"]:
        assert [band["band"] for band in side["bands"]] == names
        nearer = [band["distance_ppm"]["p50"] for band in side["bands"]]
        assert nearer == sorted(nearer) and len(set(nearer)) == len(nearer)
    longs = next(side for side in document["sides"] if side["side"] == "long")
    assert longs["bands"][2]["reached"] >= longs["liquidated"] > 0
    assert main(["bands", "cascade", *SMALL, *sets, "--pressure", "1.05"]) == 2, "that is no pressure any more"
    assert "above 1.1" in capsys.readouterr().err
    assert bands.band_name(1_000_000) == "forced"
