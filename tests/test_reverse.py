"""Reverse stress: the size found drains the fund, the one below does not, and both are what the venue itself does."""

import json

import numpy as np
import pytest

from exchange import codes, stress
from replay import moments, reverse
from replay.cli import main
from replay.inputs import NO_INPUTS
from replay.scenario import load_scenario, scenario_path
from replay.source import open_feed
from replay.stress import Plan, groups_of
from tests.test_risk_commands import SECOND, SMALL


def scenario_of(*overrides):
    return load_scenario(scenario_path("cascade"), (*SMALL[1::2], *overrides))


@pytest.fixture(scope="module")
def session():
    scenario = scenario_of()
    return moments.stopped_at(scenario, open_feed(scenario), NO_INPUTS, 0, lambda share, text: None)


def trial(size, drained):
    return reverse.Trial(size, ["USD"] if drained else [], 0, [], 0, -1, -1)


def sought(drains, sizes=(100, 200, 300, 400), width=10):
    way = reverse.Direction("down", "rho_one", -1)
    return reverse.search(way, lambda size: {"X": -size}, lambda size: trial(size, drains(size)), sizes, width)


def test_the_first_bracket_of_the_grid_is_halved_until_it_is_narrow():
    found = sought(lambda size: size >= 237)
    assert found.survived_ppm < 237 <= found.found_ppm and found.found_ppm - found.survived_ppm <= 10
    assert found.is_monotone and found.moves_ppm == {"X": -found.found_ppm}
    assert [one.size_ppm for one in found.trials] == sorted({one.size_ppm for one in found.trials})
    assert sought(lambda size: True).found_ppm <= 10


def test_what_is_not_monotone_is_said_and_the_smallest_bracket_is_taken():
    found = sought(lambda size: 120 <= size < 250 or size > 350)
    assert 100 <= found.survived_ppm < 120 <= found.found_ppm <= 130 and not found.is_monotone


def test_where_nothing_drains_it_the_largest_size_is_named():
    found = sought(lambda size: False)
    assert (found.survived_ppm, found.found_ppm, found.is_monotone, len(found.trials)) == (400, 0, True, 4)


@pytest.mark.parametrize("sign", [-1, 1])
def test_without_feedback_it_is_accounts_below_zero_against_the_fund(session, sign):
    exchange = session.exchange
    before, groups = exchange.state_digest(), groups_of(Plan(), exchange.venue)
    way = reverse.Direction("x", "rho_one", sign)
    found = reverse.search_along(way, exchange, None, groups, 150_000, (100_000, 200_000, 300_000), 1)
    live, moved = stress.live_units(exchange.state), stress.movable(exchange.state)
    for size, drains in ((found.survived_ppm, False), (found.found_ppm, True)):
        equity, _ = stress.numbers_at(moved, live.number, stress.shocked(exchange.state, [sign * size]))
        assert (-equity[equity < 0].sum() > exchange.fund_equity(0)) == drains
    assert found.found_ppm == found.survived_ppm + 1 and exchange.state_digest() == before


def test_a_size_tried_is_the_run_of_a_scenario_with_that_shock(session):
    """Forks leave the session as it is, repeat themselves, and do what a whole run with the shock does."""
    before = session.exchange.state_digest()
    cascade = reverse.Cascade(session, 5 * SECOND, 3_600 * SECOND)
    first, again = cascade.trial((-60_000,), 60_000), cascade.trial((-60_000,), 60_000)
    assert first == again and session.exchange.state_digest() == before
    move = '{kind = "move", start_ms = 0, over_ms = 5000, ppm = -60000}'
    scenario, seen = scenario_of(f"shocks=[{move}]"), []
    outcomes = moments.play_to(
        scenario, open_feed(scenario), NO_INPUTS, 0, lambda exchange, ts_ns: seen.append(exchange), to_end=True)
    outcomes = outcomes[outcomes["ts_ns"] < cascade.until]
    started = outcomes[outcomes["kind"] == codes.LIQUIDATION_START]["account"]
    assert first.accounts == len(set(started[started >= codes.FIRST_USER].tolist())) > 5
    assert first.adl_closes == int((outcomes["kind"] == codes.ADL).sum()) // 2
    assert first.funds[0].before > first.funds[0].lowest


def test_moves_of_the_scenario_stand_still_from_the_moment_on():
    scenario = scenario_of()
    session = moments.stopped_at(scenario, open_feed(scenario), NO_INPUTS, 25 * SECOND, lambda share, text: None)
    rows = reverse.Cascade(session, 5 * SECOND, 20 * SECOND).rows((-10_000,))
    books = rows[(rows["flags"] & codes.SHIFT_BOOK) != 0]
    mark = session.sites[0].mark_sub // session.venue.instruments[0].mark_per_tick
    now = mark * (-35_000 * 5_000 // 20_000) // 1_000_000
    assert int(books["price"][0]) == pytest.approx(now, abs=2), "a quarter of the way down, then stopped"
    assert int(books["price"][-1]) == pytest.approx(now - mark // 100, abs=2)
    assert np.all(np.diff(books["price"]) <= 0) and int(books["qty"][0]) == 300_000, "thin books stay thin"


def test_the_command_prints_brackets_as_table_and_document(capsys):
    arguments = ["reverse", "cascade", "--static", "--width-ppm", "5000"]
    assert main([*arguments, *SMALL, "--json", "--debug"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["shock"] for one in document["searches"]] == ["BTC down", "BTC up"]
    for one in document["searches"]:
        drained = next(trial for trial in one["trials"] if trial["size_ppm"] == one["found_ppm"])
        assert drained["drained"] == ["USDT"] and 0 < one["found_ppm"] - one["survived_ppm"] <= 5_000
    assert main([*arguments, *SMALL, "--debug"]) == 0
    assert "smallest that" in capsys.readouterr().out
    assert main(["reverse", "cascade", *SMALL, "--horizon", "10s", "--over", "2s", "--grid", "1", "--width-ppm",
                 "400000", "--debug"]) == 0
    assert "watched for 10 s" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "said"), [
    (["--grid", "0"], "--grid"), (["--alone", "NO"], "--alone"), (["--most-ppm", "950000"], "--most-ppm"),
    (["--over", "soon"], "--over"), (["--width-ppm", "0"], "--width-ppm"), (["--over", "10min"], "--over")])
def test_what_makes_no_sense_is_refused(arguments, said, capsys):
    assert main(["reverse", "cascade", *SMALL, *arguments]) == 2
    assert said in capsys.readouterr().err
