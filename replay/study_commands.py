"""Controlled experiments: arms that differ in one thing, on the same draws."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from replay.commands import Force, Json, Sets, _load_kernels
from replay.profile_commands import app
from replay.progress import ProgressLine

if TYPE_CHECKING:
    from replay.folder import NewFolder
    from replay.scenario import Scenario
    from replay.study import Made
    from replay.study_report import Report

StudyOut = Annotated[Path | None, Parameter(name=["--out", "-o"], help="Folder to write; must not exist yet.")]

study = App(name="study", help="Controlled experiments: arms that differ in one thing, on the same draws.")
app.command(study)


@study.command
def liq_paths(
    scenario: str = "cascade",
    /,
    *,
    draws: Annotated[int, Parameter(help="Draws of feed and accounts, each in every arm.")] = 40,
    seed: Annotated[int | None, Parameter(help="Seed of the first draw; the scenario's by default.")] = None,
    arms: Annotated[Path | None, Parameter(help="TOML file of [[arms]]; five built-in paths by default.")] = None,
    bidder_share: Annotated[
        float, Parameter(help="Money of the bidder who stands by in every arm, as a share of the open interest.")
    ] = 0.1,
    out: StudyOut = None,
    force: Force = False,
    json: Json = False,
    set_: Sets = (),
) -> int:
    """Compare ways to liquidate on one venue: who loses what, and how far the tails go.

    An arm is the scenario's venue with other stages of liquidation; anything else it differs in is refused. Every draw
    has one population, feed and tie order in all arms.

    Parameters
    ----------
    scenario
        A TOML file, or the name of a shipped scenario: calm, cascade, contagion.
    """
    from contextlib import nullcontext

    from replay import arms as paths
    from replay import present, study_report
    from replay.charts import check_library
    from replay.folder import NewFolder
    from replay.inputs import open_inputs
    from replay.scenario import load_scenario, scenario_path
    from replay.source import open_feed
    from replay.study import run_study

    plan = load_scenario(scenario_path(scenario), set_)
    seeds, share_ppm = _checked(plan.run.seed if seed is None else seed, draws, bidder_share)
    chosen = paths.shipped_arms(plan.venue) if arms is None else paths.read_arms(arms)
    folder = None
    if out is not None:
        folder = NewFolder(out, force, "study.json")
        check_library()
    with ProgressLine() as progress, folder or nullcontext() as writing:
        progress(0.0, "reading the feed")
        inputs = open_inputs(plan)
        _load_kernels(progress)
        made = run_study(plan, chosen, seeds, share_ppm, open_feed, inputs, progress)
        progress(1.0, "resampling")
        report = study_report.report(made, plan, seeds, share_ppm)
        if writing is not None:
            _write(report, made, plan, writing)
    if json:
        present.print_json(report)
    else:
        for one in study_report.report_tables(report):
            present.print_table(one)
        if out is not None:
            print(f"study in {out}")
    return 0


def _checked(first: int, draws: int, bidder_share: float) -> tuple[range, int]:
    """Seeds of the draws, and the bidder's share in ppm."""
    from exchange.errors import ConfigError

    if draws < 2:
        raise ConfigError("--draws", f"{draws}; expected at least 2")
    if not 0 <= bidder_share <= 10:
        raise ConfigError("--bidder-share", f"{bidder_share}; expected from 0 to 10")
    if not 0 <= first <= 2**63 - 1 - draws:
        raise ConfigError("--seed", f"{first}; expected from 0 to below 2**63 with all draws")
    return range(first, first + draws), round(bidder_share * 1_000_000)


def _write(report: "Report", made: "Made", plan: "Scenario", folder: "NewFolder") -> None:
    """Every number, the draws as a table, the pictures."""
    import msgspec
    import polars

    from replay.study_charts import draw_all

    folder.write_json("study.json", report)
    frame = polars.DataFrame([msgspec.to_builtins(draw) for draw in report.runs], infer_schema_length=None)
    frame.write_csv(folder.aside / "draws.csv")
    draw_all(report, made, plan, folder.aside)
    folder.swap()
