"""`deleverage study liq-paths`: the path alone varies, draws are paired, tails are what they say. DESIGN §10.5."""

import json

import msgspec
import numpy as np
import pytest

from exchange import codes, config, schema
from exchange.errors import ConfigError
from replay import arms, figures, study, study_report, tails
from replay.cli import main
from replay.inputs import NO_INPUTS
from replay.scenario import load_scenario, scenario_path
from replay.source import open_feed

SMALL = ("feed.synthetic.duration_ms=75000", "population.accounts=300", "feed.synthetic.levels=200",
         "population.size_truncation=5000", "run.seed_after_ms=5000",
         'shocks=[{kind="move",start_ms=10000,over_ms=20000,ppm=-35000,depth_ppm=300000}]')
SETS = [word for text in SMALL for word in ("--set", text)]
BIDDER_SHARE_PPM = 100_000


def played(*sets, draws=2, chosen=None):
    plan = load_scenario(scenario_path("cascade"), (*SMALL, *sets))
    chosen = arms.shipped_arms(plan.venue) if chosen is None else chosen
    return plan, study.run_study(plan, chosen, range(7, 7 + draws), BIDDER_SHARE_PPM, open_feed, NO_INPUTS, lambda *_: None)


@pytest.fixture(scope="module")
def made():
    return played()


def of_arm(runs, name):
    return [run.draw for run in runs if run.draw.arm == name]


# --- the path alone varies ---------------------------------------------------------------------------------------


def test_arms_differ_in_the_path_and_the_study_says_in_what(made):
    _, found = made
    assert [one.arm.name for one in found.arms] == ["market", "steps", "auction", "takeover", "market_adl"]
    assert found.arms[0].differs == [] and len({one.digest for one in found.arms}) == 5
    for one in found.arms[1:]:
        assert one.differs and all(row.path.startswith(arms.PATH) for row in one.differs)
    assert [row.path for row in found.arms[4].differs] == ["adl.trigger"]


@pytest.mark.parametrize(("other", "path"), [({"fees": {"taker_ppm": 700}}, "fees.taker_ppm"),
                                             ({"fund": {"use_max": "100", "interval_ns": 10**9}}, "fund.use_max"),
                                             ({"adl": {"ranking": "list"}}, "adl.ranking"),
                                             ({"mark": {"samples": 10}}, "mark.samples")])
def test_an_arm_that_differs_in_something_else_is_refused_by_the_field(other, path):
    first, second = arms.shipped_arms(load_scenario(scenario_path("cascade")).venue)[:2]
    with pytest.raises(ConfigError) as refused:
        played(chosen=[first, msgspec.structs.replace(second, venue={**second.venue, **other})])
    assert refused.value.where == "arm steps" and path in str(refused.value)


def test_a_venue_that_deleverages_before_its_fund_has_no_arm_for_it():
    venue = config.build_venue(config.load_profile("dydx"))
    assert [one.name for one in arms.shipped_arms(venue)] == ["market", "steps", "auction", "takeover"]


# --- draws are paired --------------------------------------------------------------------------------------------


def test_a_draw_is_the_same_in_every_arm_and_another_in_the_next(made):
    _, found = made
    assert [pair.seed for pair in found.pairs] == [7, 8] and [pair.tie_order for pair in found.pairs] == [0, 1]
    assert len({pair.tape for pair in found.pairs}) == len({pair.seeding for pair in found.pairs}) == 2
    for one in found.arms:
        assert [(draw.seed, draw.tie_order) for draw in of_arm(found.runs, one.arm.name)] == [(7, 0), (8, 1)]


def test_only_who_pays_differs_where_only_the_waterfall_does(made):
    """Deleveraging before the fund changes nothing of what the book sees."""
    _, found = made
    for market, other in zip(of_arm(found.runs, "market"), of_arm(found.runs, "market_adl"), strict=True):
        assert market.forced_notional == other.forced_notional > 0 and market.slippage_ppm == other.slippage_ppm
        assert other.takeover_notional == 0 and other.adl_notional == market.takeover_notional > 0


def test_each_path_closes_its_own_way(made):
    _, found = made
    assert all(draw.taken_notional == draw.bidder_loss == 0 for draw in of_arm(found.runs, "market"))
    for draw in of_arm(found.runs, "auction"):
        assert draw.forced_notional == 0 < draw.taken_notional and draw.slippage_ppm > 0 and draw.bidder_loss != 0
    for draw in of_arm(found.runs, "takeover"):
        assert draw.slippage_ppm is None and draw.liquidated_notional == draw.takeover_notional > 0
    for run in found.runs:
        assert len(run.slippage_ppm) == len(run.value) and run.liquidated[-1] == run.draw.liquidated_notional
        assert run.fund_change[-1] == -run.draw.fund_loss and run.draw.fund_worst_loss >= max(0, run.draw.fund_loss)


def test_a_draw_whose_accounts_do_not_all_come_to_the_shock_is_in_no_arm():
    with pytest.raises(ConfigError, match="no draw of 1 is admissible") as refused:
        played("population.leverage_long={median=120,sigma=0.0,max=125}", "feed.synthetic.volatility_day_ppm=900000",
               "venue.liquidation.detection_delay_ns=0", draws=1)
    assert "liquidated before the shock" in str(refused.value) and "market" in str(refused.value)


def test_what_takers_have_is_measured_against_the_mark_with_what_they_are_paid():
    rows = np.zeros(5, schema.OUTCOME)
    rows["seq"] = range(1, 6)
    rows["kind"] = [codes.MARK_PRICE, codes.TAKEN, codes.TAKEN, codes.TAKEN, codes.TAKEN]
    rows["price"] = [1_000, 1_000, 1_000, 990, 990]  # of takers in sub-ticks, as the mark
    rows["lots"], rows["money"] = [0, -3, 3, 2, -2], [0, -300, 300, 0, 0]
    rows["account"], rows["counterparty"] = [0, 8, 9, 10, 9], [0, 9, 8, 9, 10]
    record = np.zeros(1, schema.INSTRUMENT)
    record["kind"], record["mark_unit"], record["mark_per_tick"] = codes.LINEAR, 1, 10
    loss, value = figures.given_up(rows, record[0], 0, 1)
    assert loss.tolist() == [300, -20] and value.tolist() == [3_000, 2_000]
    assert figures.liquidated_notional(rows, record) == 3 * 1_000 + 2 * 990


# --- tails -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("values", "level_ppm", "expected"), [
    ([4, 1, 3, 2], 0, 2),  # 2.5, to the even neighbour
    ([10, 20, 30, 40, 50, 60, 70, 80, 90, 100], 900_000, 100),
    ([10, 20, 30, 40, 50, 60, 70, 80, 90, 100], 800_000, 95),
    ([10, 20, 30, 40, 50, 60, 70, 80, 90, 100], 750_000, 92),  # (100 + 90 + 80 / 2) / 2.5
    (range(1, 11), 990_000, 10),  # a tenth of a draw: the worst alone
    (range(1, 101), 990_000, 100), (range(1, 201), 990_000, 200), (range(0, 2_010, 10), 990_000, 1_995),
    ([-5, -7], 990_000, -5), ([7], 500_000, 7)])
def test_expected_shortfall_is_the_mean_of_the_worst_share(values, level_ppm, expected):
    """Of the last case 2.01 draws are worst: (2000 + 1990 + 0.01 * 1980) / 2.01, rounded."""
    assert tails.tail_mean(np.array(list(values), dtype=np.int64), level_ppm) == expected


def test_intervals_are_of_a_keyed_stream_and_hold_the_figure():
    values = np.array([3, 9, 1, 7, 5, 2, 8, 0, 6, 4], dtype=np.int64) * 10**15
    chosen = tails.resamples(7, 10)
    assert chosen.shape == (tails.RESAMPLES, 10) and np.array_equal(np.unique(chosen), np.arange(10))
    assert np.array_equal(chosen, tails.resamples(7, 10)) and not np.array_equal(chosen, tails.resamples(8, 10))
    mean, worst = (tails.estimate(values, chosen, level) for level in (0, 990_000))
    assert mean.value == 45 * 10**14 and mean.low < mean.value < mean.high and worst.value == worst.high == 9 * 10**15
    assert abs(mean.high - mean.low - 2 * 1.96 * values.std() / 10**0.5) < 0.05 * mean.value, "about that of a normal"


def test_a_difference_of_paired_draws_knows_more_than_two_intervals():
    first = np.array([3, 9, 1, 7, 5, 2, 8, 0, 6, 4], dtype=np.int64) * 1_000
    found = tails.estimate_difference(first + 5, first, tails.resamples(7, 10), 0)
    assert found == tails.Estimate(5, 5, 5)


def test_quantiles_of_a_pool_go_by_weight():
    pool = tails.Pool.of([np.array([30, 10]), np.array([20], dtype=np.int64)], [np.array([1, 8]), np.array([1])])
    assert pool.value.tolist() == [10, 20, 30] and pool.draw.tolist() == [0, 1, 0]
    found = pool.quantiles((500_000, 800_000, 900_000, 990_000), tails.resamples(1, 2))
    assert [one.value for one in found] == [10, 10, 20, 30]
    assert (found[1].low, found[1].high) == (10, 20), "a resample may hold the second draw twice"


@pytest.mark.parametrize(("draws", "words"), [(40, "the worst alone"), (100, "the worst 1 of 100"), (250, "the worst 2.5 of 250")])
def test_a_tail_of_few_draws_says_so(draws, words):
    assert words in study_report.tail_words(draws)


# --- the command -------------------------------------------------------------------------------------------------


def test_two_runs_of_the_command_make_the_same_bytes(tmp_path, capsys):
    for name in ("one", "two"):
        folder = str(tmp_path / name)
        assert main(["study", "liq-paths", "cascade", "--draws", "2", "-o", folder, *SETS, "--debug"]) == 0
        shown = capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["course.png", "differences.png", "draws.csv", "fund_loss.png", "slippage.png", "study.json"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    document = json.loads((tmp_path / "one" / "study.json").read_text())
    lines = (tmp_path / "one" / "draws.csv").read_text().splitlines()
    assert len(lines) == 1 + len(document["runs"]) == 1 + 2 * 5
    own = {(row["arm"], row["figure"]): row for row in document["figures"]}
    for arm in ("market", "steps", "auction", "takeover", "market_adl"):
        losses = [row["fund_loss"] for row in document["runs"] if row["arm"] == arm]
        assert own[arm, "fund_loss"]["levels"]["es99"]["value"] == max(losses)
    assert own["market", "fund_loss"]["above_first"] is None and own["takeover", "slippage_ppm"]["levels"] is None
    assert "loss of the fund" in shown and "steps differs from market in liquidation.stages[0].action" in shown
    assert not list(tmp_path.glob(".*"))
    assert main(["study", "liq-paths", "cascade", "-o", str(tmp_path / "one")]) == 2
    assert "already exists" in capsys.readouterr().err


def test_where_nobody_is_liquidated_there_is_nothing_to_show(tmp_path, capsys):
    command = ["study", "liq-paths", "cascade", "--draws", "2", *SETS, "--set", "shocks=[]", "-o", str(tmp_path / "calm")]
    assert main([*command, "--debug"]) == 0
    assert "USDT: nobody was liquidated in any draw" in capsys.readouterr().out
    document = json.loads((tmp_path / "calm" / "study.json").read_text())
    assert {row["liquidated_notional"] for row in document["runs"]} == {0}
    assert all(not row["fills"] and not row["slippage_ppm"] for row in document["slippage"])


def test_arms_may_come_from_a_file(tmp_path, capsys):
    text = "".join(f'[[arms]]\nname = "{name}"\nvenue = {{ liquidation = {{ stages = [{{ below_ppm = 1_000_000, '
                   f'action = "{name}" }}] }} }}\n' for name in ("close", "takeover"))
    (tmp_path / "arms.toml").write_text(text)
    command = ["study", "liq-paths", "cascade", "--arms", str(tmp_path / "arms.toml"), "--draws", "2", *SETS, "--json"]
    assert main([*command, "--debug"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [arm["name"] for arm in document["arms"]] == ["close", "takeover"] and document["draws_asked"] == 2
    (tmp_path / "arms.toml").write_text('[[arms]]\nname = "alone"\nvenue = {}\n')
    assert main(command) == 2 and "two or more" in capsys.readouterr().err
    (tmp_path / "arms.toml").write_text('[[arms]]\nname = 3\n')
    assert main(command) == 2 and "arms[0].name" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "said"), [
    (["--draws", "1"], "--draws"), (["--bidder-share", "-1"], "--bidder-share"), (["--seed", "-1"], "--seed"),
    (["--set", "population.accounts=0"], "population")])
def test_what_makes_no_study_is_refused(arguments, said, capsys):
    assert main(["study", "liq-paths", "cascade", *arguments]) == 2
    assert said in capsys.readouterr().err
