"""The commands. Only the command-line parser is imported here; each command imports what it needs when it runs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from replay import __version__
from replay.progress import ProgressLine

if TYPE_CHECKING:
    from replay.scenario import Scenario

COMPILING_AFTER_S = 2.0  # loading compiled kernels takes well under this

app = App(
    name="deleverage",
    version=__version__,
    suppress_keyboard_interrupt=False,
    help="A deterministic simulator of a derivatives exchange: replay liquidation cascades tick by tick.",
    help_epilogue="Every command takes --debug, which shows the traceback of an error.",
)

Out = Annotated[Path | None, Parameter(name=["--out", "-o"], help="Folder or file to write; must not exist yet.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document instead of tables.")]
Force = Annotated[bool, Parameter(name="--force", negative="", help="Replace what is at -o.")]
Sets = Annotated[
    tuple[str, ...],
    Parameter(name="--set", negative="", help="Override a field: PATH=VALUE, as in venue.fees.taker_ppm=500."),
]
Files = Annotated[list[Path], Parameter(help="Capture or tape files, in time order.", negative="")]
Profiles = Annotated[
    tuple[str, ...],
    Parameter(
        name="--profile", negative="", help="Venue rules: a shipped profile or a TOML file; several make one venue."
    ),
]
BINANCE_UM = ("binance_um",)
IndexFiles = Annotated[
    tuple[Path, ...], Parameter(negative="", help="Captures of a market whose book makes an index not recorded.")
]
Refills = Annotated[
    tuple[Literal["none", "decay", "persistent"], ...],
    Parameter(negative="", help="Refill models of eaten depth to run; all three by default."),
]
ImpactText = Annotated[
    str | None,
    Parameter(help="Price impact of simulated takers: linear or square_root, then :FIELD=VALUE,…; or none."),
]
QueueModel = Annotated[
    Literal["whole_level", "risk_averse", "proportional", "power"] | None,
    Parameter(help="Queue model of simulated resting orders."),
]
Sensitivity = Annotated[
    bool, Parameter(name="--sensitivity", help="Also run with the size truncation halved and doubled.")
]
History = Annotated[
    tuple[Path, ...],
    Parameter(
        name="--history", negative="", help="Klines (CSV or zip) that entries are drawn from; repeat in time order."
    ),
]
Rebase = Annotated[
    bool, Parameter(name="--history-rebase", negative="", help="Move and scale the history to end at seeding.")
]
AccountsFrom = Annotated[
    Path | None, Parameter(name="--accounts-from", help="CSV or Parquet file of accounts, instead of drawn ones.")
]


@app.command
def demo(
    *, out: Out = None, sensitivity: Sensitivity = True, force: Force = False, json: Json = False, set_: Sets = ()
) -> int:
    """Run the shipped single-asset cascade: no download, a few seconds."""
    return run("cascade", out=out, sensitivity=sensitivity, force=force, json=json, set_=set_)


@app.command
def run(
    scenario: str,
    /,
    *,
    out: Out = None,
    history: History = (),
    history_rebase: Rebase = False,
    accounts_from: AccountsFrom = None,
    sensitivity: Sensitivity = True,
    force: Force = False,
    json: Json = False,
    set_: Sets = (),
) -> int:
    """Run a scenario.

    Parameters
    ----------
    scenario
        A TOML file, or the name of a shipped scenario: calm, cascade, contagion.
    """
    from replay.scenario import load_scenario, scenario_path

    given = _population_settings(history, history_rebase, accounts_from, sensitivity)
    return _execute(load_scenario(scenario_path(scenario), (*given, *set_)), out, force, json)


@app.command
def replay(
    files: Files,
    /,
    *,
    out: Out = None,
    profile: Profiles = BINANCE_UM,
    index: IndexFiles = (),
    accounts: Annotated[int, Parameter(help="Accounts to seed; 0 replays the feed alone.")] = 100_000,
    seed: Annotated[int, Parameter(help="Seed of every random draw.")] = 1,
    shock: Annotated[
        tuple[str, ...], Parameter(negative="", help="KIND:FIELD=VALUE,…; kinds sell, buy, move, index.")
    ] = (),
    refill: Refills = (),
    half_life: Annotated[str | None, Parameter(help="Half-life of eaten depth for decay: 10s, 500ms.")] = None,
    impact: ImpactText = None,
    queue: QueueModel = None,
    index_feedback_ppm: Annotated[int | None, Parameter(help="This venue's share of the index.")] = None,
    extrapolate_ppm: Annotated[int, Parameter(help="Extend recorded depth to this distance from the touch.")] = 0,
    interval_ms: Annotated[int, Parameter(help="Spacing of the recorded series.")] = 1_000,
    history: History = (),
    history_rebase: Rebase = False,
    accounts_from: AccountsFrom = None,
    sensitivity: Sensitivity = True,
    force: Force = False,
    json: Json = False,
    set_: Sets = (),
) -> int:
    """Replay captures with leveraged accounts on them: each refill model in overlay and in shadow.

    Captures of different markets are merged on their common clock.
    """
    from replay.scenario import REFILLS, build_scenario, parse_duration, parse_impact
    from replay.shock import parse_shock

    table: dict[str, Any] = {
        "profile": profile,
        "feed": {
            "files": [str(file) for file in files],
            "index": [str(file) for file in index],
            "extrapolate_ppm": extrapolate_ppm,
        },
        "shocks": [parse_shock(text) for text in shock],
        "run": {"seed": seed, "interval_ms": interval_ms, "refills": list(refill) or list(REFILLS)},
        "venue": {},
    }
    if accounts:
        table["population"] = {"accounts": accounts}
    if half_life is not None:
        table["venue"]["depth"] = {"half_life_ns": parse_duration("--half-life", half_life)}
    if impact is not None:
        table["venue"]["impact"] = parse_impact(impact)
    if queue is not None:
        table["venue"]["queue"] = {"model": queue}
    if index_feedback_ppm is not None:
        table["venue"]["index"] = {"feedback_ppm": index_feedback_ppm}
    given = _population_settings(history, history_rebase, accounts_from, sensitivity)
    return _execute(build_scenario(table, (*given, *set_)), out, force, json)


def _population_settings(
    history: tuple[Path, ...], rebase: bool, accounts_from: Path | None, sensitivity: bool
) -> tuple[str, ...]:
    """The same as `--set` overrides, so that they reach a scenario file too; those not given change nothing."""
    from msgspec.json import encode

    settings = []
    if history:
        settings.append(f"population.history={encode([str(path) for path in history]).decode()}")
    if rebase:
        settings.append("population.history_rebase=true")
    if accounts_from is not None:
        settings.append(f"population.accounts_from={encode(str(accounts_from)).decode()}")
    if not sensitivity:
        settings.append("run.sensitivity=false")
    return tuple(settings)


def _execute(scenario: "Scenario", out: Path | None, force: bool, json: bool) -> int:
    """Run a scenario, record it where asked, print it."""
    from contextlib import nullcontext

    from replay import present
    from replay.inputs import open_inputs
    from replay.recorder import Recorder
    from replay.session import run_id, run_scenario
    from replay.source import open_feed

    recording = Recorder(out, force) if out is not None else None  # refuses early what it could not write at the end
    with ProgressLine() as progress, recording or nullcontext() as recorder:
        progress(0.0, "reading the feed")
        inputs = open_inputs(scenario)
        tape = open_feed(scenario)
        identity = run_id(scenario, tape.digest(), inputs.digest())
        if not json:
            print(f"run {identity}", flush=True)
        _load_kernels(progress)
        results = run_scenario(scenario, tape, recorder, progress, inputs=inputs)
        if recorder is not None:
            recorder.close(present.run_record(scenario, tape, results))
    if json:
        present.print_json(present.results_document(scenario, results))
    else:
        present.print_results(scenario, results, out)
        print(f"run {identity}")
    return 0


def _load_kernels(progress: ProgressLine) -> None:
    """Load the compiled venue, and say so where the first run has to wait for the compiler."""
    from threading import Timer

    notice = Timer(COMPILING_AFTER_S, print, ("compiling kernels (once)…",), {"file": sys.stderr, "flush": True})
    notice.daemon = True
    notice.start()
    progress(0.0, "loading kernels")
    try:
        from exchange import config
        from exchange.venue import Exchange

        Exchange(config.build_venue(config.load_profile("binance_um"))).run()
    finally:
        notice.cancel()


@app.command
def validate(files: Files, /, *, profile: Profiles = BINANCE_UM, json: Json = False, set_: Sets = ()) -> int:
    """Read feed files and report gaps, unknown keys, crossed books, clocks. Exit code 3 if not good."""
    from exchange.errors import FeedError
    from replay import present
    from replay.source import read_files, tapes_among

    if tapes_among(files):
        present.print_tape(read_files(files, ()), json)  # reading a tape checks all of it
        return 0
    from replay.validate import validate as check

    with ProgressLine() as progress:
        progress(0.0, "reading")
        report = check(files, _specs(profile, set_))
    print(report.json() if json else report.text())
    return 0 if report.ok else FeedError.exit_code


@app.command
def convert(
    files: Files,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Tape to write.")],
    profile: Profiles = BINANCE_UM,
    force: Force = False,
    json: Json = False,
    set_: Sets = (),
) -> int:
    """Convert captures to one tape file, which replays the same and loads faster."""
    from exchange.errors import ConfigError
    from replay import present
    from replay.source import convert_files

    if out.exists() and not force:
        raise ConfigError(str(out), "already exists; give another -o, or --force to replace it")
    if not out.absolute().parent.is_dir():
        raise ConfigError(str(out), "its folder does not exist; make it first, or give another -o")
    with ProgressLine() as progress:
        progress(0.0, "reading")
        tape = convert_files(files, _specs(profile, set_))
        progress(0.8, "writing")
        tape.write(out)
    present.print_tape(tape, json)
    return 0


@app.command
def inspect(path: Path, /, *, json: Json = False) -> int:
    """Show a run folder or a tape file.

    Parameters
    ----------
    path
        What `-o` of replay, run, demo or convert wrote.
    """
    from exchange.errors import FeedError
    from replay import present

    if path.is_dir():
        from replay.recorder import read_run

        present.print_run(read_run(path), json)
    elif path.is_file():
        from replay.tape import Tape

        present.print_tape(Tape.read(path), json)
    else:
        raise FeedError(str(path), "no such run folder or tape file")
    return 0


@app.command
def warmup() -> int:
    """Compile every kernel now, so that no later command waits for it."""
    from exchange.warmup import warm_up
    from replay.feeds import compile_readers

    folder = warm_up(lambda text: print(text, file=sys.stderr, flush=True))
    compile_readers()
    print(f"kernels are ready in {folder}")
    return 0


def _specs(profile: tuple[str, ...], overrides: tuple[str, ...]) -> tuple[Any, ...]:
    """What a reader needs to know of the profiles' instruments."""
    from replay.scenario import build_venue
    from replay.tape import spec_of

    return tuple(spec_of(instrument) for instrument in build_venue(profile, overrides).instruments)
