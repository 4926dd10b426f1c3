"""The command line: what is imported when, exit codes, messages, and whole runs from end to end."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from replay import __version__
from replay.cli import main

ROOT = Path(__file__).parents[1]
HEAVY = ("numba", "numpy", "polars", "msgspec", "scipy", "llvmlite", "matplotlib")
SMALL = [
    "--set",
    "population.accounts=300",
    "--set",
    "feed.synthetic.duration_ms=130000",
]


def command(*arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=900,
    )


def imported_by(*arguments):
    done = command("-X", "importtime", "-m", "replay", *arguments)
    assert done.returncode == 0, done.stderr
    return {
        line.rsplit("|", 1)[1].strip().split(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }


def test_version_imports_next_to_nothing():
    loaded = imported_by("--version")
    assert not loaded & {*HEAVY, "cyclopts", "rich", "exchange", "importlib_metadata"}, (
        "only sys, and the package itself"
    )
    assert "replay" in loaded


@pytest.mark.parametrize("arguments", [["--help"], ["replay", "--help"], []])
def test_help_imports_the_parser_and_nothing_heavy(arguments):
    assert not imported_by(*arguments) & set(HEAVY)


def test_the_version_is_the_package_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__
    assert command("-m", "replay", "--version").stdout == f"deleverage {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["fly"], 2, "fly"),
        (["demo", "--nonsense"], 2, "nonsense"),
        (["run"], 2, ""),
        (["run", "nothing"], 2, "shipped are calm, cascade, contagion"),
        (["run", "missing.toml"], 2, "no such file"),
        (["demo", "--set", "populaton.accounts=3"], 2, "populaton"),
        (["demo", "--set", "venue.fees.taker_ppm=many"], 2, "$.venue.fees.taker_ppm"),
        (["replay", "x.dat", "--shock", "move"], 2, "$.shocks[0].ppm"),
        (["replay", "x.dat", "--half-life", "soon"], 2, "--half-life"),
        (["replay", "x.dat", "--impact", "linear:volume"], 2, "--impact"),
        (["replay", "x.dat", "--impact", "linear:half_life=soon"], 2, "--impact half_life"),
        (["replay", "x.dat", "--impact", "cubic:volume=1000"], 2, "expected none, linear:… or square_root:…"),
        (["replay", "x.dat", "--impact", "linear:decaying_ppm=1000"], 2, "$.venue.impact.volume"),
        (["replay", "x.dat", "--queue", "cutting"], 2, "--queue"),
        (["replay", "x.dat", "--profile", "none_such"], 2, "$.profile"),
        (["replay", "x.dat"], 3, "x.dat"),
        (["validate", "x.dat"], 3, "x.dat"),
        (["inspect", "x.dat"], 3, "x.dat"),
        (["convert", "x.dat", "-o", "no/such/folder/tape.parquet"], 2, "folder"),
    ],
)
def test_exit_codes_and_messages(arguments, code, said, capsys):
    assert main(arguments) == code
    shown = capsys.readouterr()
    assert said in re.sub(r"\s+", " ", shown.err + shown.out)
    assert "Traceback" not in shown.err


def test_a_bug_is_exit_code_1_and_debug_raises(monkeypatch, capsys):
    monkeypatch.setattr("replay.source.open_feed", lambda scenario: 1 // 0)
    assert main(["demo"]) == 1
    assert "--debug" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        main(["demo", "--debug"])


def test_an_interrupt_is_exit_code_130_and_leaves_nothing(monkeypatch, tmp_path, capsys):
    def interrupt(scenario):
        raise KeyboardInterrupt

    monkeypatch.setattr("replay.source.open_feed", interrupt)
    assert main(["demo", "-o", str(tmp_path / "run")]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_refused_before_anything_runs(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    assert main(["demo", "-o", str(tmp_path / "run")]) == 2
    assert "already exists" in capsys.readouterr().err


def test_profiles_are_listed(capsys):
    assert main(["profiles"]) == 0
    assert "binance_um" in capsys.readouterr().out
    assert main(["profiles", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["binance_um"]["instruments"][0]["symbol"] == "BTCUSDT"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A small demo, as a user would run it: a process of its own, piped."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    done = command("-m", "replay", "demo", "-o", str(folder), *SMALL)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_run_prints_its_id_first_and_last(recorded):
    lines = recorded[1].stdout.splitlines()
    assert re.fullmatch(r"run [0-9a-f]{16}", lines[0])
    assert lines[-1] == lines[0]


def test_results_go_to_stdout_and_no_progress_to_a_pipe(recorded):
    _, done = recorded
    assert "liquidated accounts" in done.stdout and "amplification" in done.stdout
    assert "hedger PnL" in done.stdout and "x the 1 % depth" in done.stdout
    assert not done.stderr.replace("compiling kernels (once)…\n", "")


def test_json_is_one_document_and_the_same_run(recorded, capsys):
    folder, done = recorded
    assert main(["demo", "--json", *SMALL]) == 0
    document = json.loads(capsys.readouterr().out)
    assert f"run {document['run_id']}" == done.stdout.splitlines()[0]
    assert [row["refill"] for row in document["amplification"]] == ["none", "decay", "persistent"]
    assert document["figures"] == json.loads((folder / "run.json").read_text())["results"]["figures"], (
        "another process, equal figures"
    )


def test_inspect_shows_a_run(recorded, capsys):
    folder, done = recorded
    assert main(["inspect", str(folder)]) == 0
    shown = capsys.readouterr().out
    tables = done.stdout.splitlines()[1:-3]
    assert all(line in shown for line in tables)
    assert main(["inspect", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"]["figures"]


def test_a_tape_replays_and_is_inspected(tmp_path, capsys):
    from replay.scenario import load_scenario, scenario_path
    from replay.source import open_feed

    tape = tmp_path / "tape.parquet"
    open_feed(load_scenario(scenario_path("cascade"))).write(tape)
    assert main(["inspect", str(tape), "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["kinds"]["LEVEL_SET"] > 1000 and described["instruments"][0]["symbol"] == "BTCUSDT"
    assert main(["validate", str(tape)]) == 0
    capsys.readouterr()
    arguments = [
        "replay",
        str(tape),
        "--accounts",
        "200",
        "--shock",
        "move:ppm=-30000,start_ms=5000,over_ms=10000",
        "--refill",
        "none",
        "--set",
        "run.audit=true",
        "--no-sensitivity",
        "--json",
    ]
    assert main(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(f["refill"], f["mode"]) for f in document["figures"]] == [("none", "overlay"), ("none", "shadow")]
    assert document["population"]["assets"][0]["accounts"] == 200
    assert document["figures"][0]["liquidated_accounts"] > 0
    assert document["figures"][0]["state_digest"]
    answers = ["--impact", "square_root:volume=2000,decaying_ppm=30000,half_life=10s", "--queue", "power"]
    assert main([*(text.replace("none", "persistent") for text in arguments if text != "--json"), *answers]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "queue model power of exponent 3" in shown
    assert "price impact: shift, 3 % per 2000 units (square root of flow) with half-life 10 s, 0 % (linear)" in shown
    assert "(refill model and mode) persistent persistent figure overlay shadow ──" in shown
    assert main(["replay", str(tape), "--accounts", "0", "--refill", "none", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["population"] is None


def test_convert_refuses_to_replace(tmp_path, capsys):
    target = tmp_path / "tape.parquet"
    target.write_bytes(b"precious")
    assert main(["convert", "x.dat", "-o", str(target)]) == 2
    assert target.read_bytes() == b"precious"
    assert "--force" in capsys.readouterr().err
