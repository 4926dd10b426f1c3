"""`deleverage playbook`, `reverse` and `switch` from the command line: what they print is what the venue says."""

import json

import pytest

from exchange import stress
from replay.cli import main
from tests.test_risk_commands import PNG, SMALL, played


def printed(capsys, *arguments):
    assert main([*arguments, *SMALL, "--debug"]) == 0
    return capsys.readouterr().out


def test_a_playbook_of_a_moment_is_the_venues_own(capsys, tmp_path):
    arguments = ["playbook", "cascade", "--at", "25s", "--range-ppm", "60000", "--worst", "3"]
    document = json.loads(printed(capsys, *arguments, "--json", "-o", str(tmp_path / "p.png")))
    ts_ns, exchange, _ = played(25)
    live = stress.live_units(exchange.state)
    assert (document["ts_ns"], document["units"], document["pending_units"]) == (ts_ns, len(live.number), live.pending)
    assert [one["name"] for one in document["groups"]] == ["BTC"] and len(document["worst"]) == 3
    assert not any(one["mode"] == "flipped" for one in document["scenarios"]), "one group has nothing to break from"
    (fund,) = document["funds"]
    assert fund["equity"] == exchange.fund_equity(0)
    assert fund["below_zero"] - fund["equity_after"] == max(
        one["below_zero"] - one["fund"] for one in document["scenarios"])
    assert (tmp_path / "p.png").read_bytes().startswith(PNG)
    shown = printed(capsys, *arguments)
    assert "what would survive" in shown and "insurance fund" in shown and "rho 1 -100%" in shown


def test_a_playbook_of_accounts_from_a_file(capsys, tmp_path):
    rows = "account,symbol,quantity,entry_price,leverage,cash\na,BTCUSDT,1,28000,20,1500\nb,BTCUSDT,-1,28000,5,9000\n"
    (tmp_path / "a.csv").write_text(rows)
    document = json.loads(printed(capsys, "playbook", "cascade", "--accounts-from", str(tmp_path / "a.csv"), "--json"))
    worst = document["worst"][0]
    assert -50_000 < worst["legs"][0]["distance_ppm"] < 0 < worst["legs"][0]["breaks_at_sub"]
    assert worst["legs"][0]["symbol"] == worst["trigger"] == "BTCUSDT" and worst["deposit"] > 0
    assert worst["health_after"] < 0 < worst["equity"] and worst["reduce"] == "BTCUSDT"


@pytest.mark.parametrize(("arguments", "said"), [
    (["playbook", "calm", "--worst", "0"], "--worst"), (["playbook", "calm", "--range-ppm", "-5"], "range_ppm"),
    (["playbook", "calm", "--stress", "no.toml"], "no.toml"), (["playbook", "calm", "-o", "x.svg"], ".png")])
def test_what_makes_no_sense_is_refused_before_anything_runs(arguments, said, capsys):
    assert main(arguments) in (2, 3)
    assert said in capsys.readouterr().err
