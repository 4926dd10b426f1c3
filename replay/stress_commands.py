"""The risk desk's what-if commands: playbook, reverse stress, a rule that is switched on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from replay.commands import AccountsFrom, Force, Json, Sets, _load_kernels, app
from replay.progress import ProgressLine
from replay.risk_commands import At, Picture, _play, _scenario, _show, _variant

if TYPE_CHECKING:
    from exchange.venue import Exchange
    from replay.moments import _Visited
    from replay.scenario import Scenario

StressFile = Annotated[
    Path | None, Parameter(help="TOML file of ranges, groups, loadings and stresses; built-in ones by default.")
]
RangePpm = Annotated[int | None, Parameter(help="How far a group moves in full, ppm of its mark; 150000 by default.")]


def _with_accounts(set_: tuple[str, ...], accounts: Path | None) -> tuple[str, ...]:
    from replay.commands import _population_settings

    return (*_population_settings((), False, accounts, True), *set_)


@app.command
def playbook(
    scenario: str,
    /,
    *,
    at: At = "0s",
    range_ppm: RangePpm = None,
    stress: StressFile = None,
    worst: Annotated[int, Parameter(help="Accounts to show an asset.")] = 10,
    accounts_from: AccountsFrom = None,
    out: Picture = None,
    force: Force = False,
    json: Json = False,
    set_: Sets = (),
) -> int:
    """Show what stress scenarios would do at a moment: which binds for whom, the worst accounts, what they can do.

    Accounts are drawn by the scenario, or read from a file. They are valued by the venue's own margin engine at the
    scenarios' marks, without feedback.

    Parameters
    ----------
    scenario
        A TOML file, or the name of a shipped scenario: calm, cascade, contagion.
    """
    from exchange.errors import ConfigError
    from replay import playbook as made_playbook
    from replay import playbook_view, present
    from replay import stress as stresses
    from replay.charts import check_picture

    check_picture(out, force)
    if worst < 1:
        raise ConfigError("--worst", f"{worst}; expected at least 1")
    chosen = stresses.load_plan(stress, range_ppm)
    plan, after_ns = _scenario(scenario, at, _with_accounts(set_, accounts_from))
    groups = stresses.groups_of(chosen, plan.venue, plan.feed.synthetic)
    shocks = stresses.shocks_of(chosen, groups, plan.venue)
    made: list[made_playbook.Playbook] = []

    def visit(exchange: "Exchange", ts_ns: int) -> None:
        moment = (plan.name, _variant(plan), ts_ns, after_ns)
        made.append(made_playbook.playbook(exchange, groups, shocks, worst, moment))

    _play(plan, after_ns, visit)
    _show(made[0], json, playbook_view.playbook_tables(made[0], plan.venue))
    if out is not None:
        playbook_view.draw_playbook(made[0], plan.venue, out)
        present.say(json, f"picture in {out}")
    return 0


@app.command
def reverse(
    scenario: str,
    /,
    *,
    at: At = "0s",
    static: Annotated[bool, Parameter(negative="", help="Accounts at shocked marks, without feedback.")] = False,
    over: Annotated[str, Parameter(help="How long the shock takes.")] = "10s",
    horizon: Annotated[str, Parameter(help="How long the venue is watched from the moment on.")] = "60s",
    alone: Annotated[
        tuple[str, ...], Parameter(negative="", help="Also shock one group or instrument alone; may be repeated.")
    ] = (),
    most_ppm: Annotated[int, Parameter(help="Largest size tried, ppm of the mark.")] = 400_000,
    grid: Annotated[int, Parameter(help="Sizes tried before the first bracket is halved.")] = 8,
    width_ppm: Annotated[int, Parameter(help="Width of the bracket at which halving ends.")] = 2_000,
    stress: StressFile = None,
    json: Json = False,
    set_: Sets = (),
) -> int:
    """Find the smallest shock that drains the insurance fund: the venue itself is run on with one size after the other.

    Down and up, all groups by their loadings on the factor, and all in full. What is left of the scenario's own shocks
    at the moment does not happen.

    Parameters
    ----------
    scenario
        A TOML file, or the name of a shipped scenario: calm, cascade, contagion.
    """
    from exchange.errors import ConfigError
    from replay import reverse as reversed_
    from replay import stress as stresses
    from replay.scenario import parse_duration

    for name, value, least in (("--grid", grid, 1), ("--width-ppm", width_ppm, 1), ("--most-ppm", most_ppm, grid)):
        if value < least:
            raise ConfigError(name, f"{value}; expected at least {least}")
    over_ns, horizon_ns = parse_duration("--over", over), parse_duration("--horizon", horizon)
    chosen = stresses.load_plan(stress, None)
    plan, after_ns = _scenario(scenario, at, set_)
    groups = stresses.groups_of(chosen, plan.venue, plan.feed.synthetic)
    ways = reversed_.directions(groups, alone)
    sizes = [most_ppm * k // grid for k in range(1, grid + 1)]
    for way in ways:
        reversed_.check_most(way, way.moves(groups, plan.venue, chosen.range_ppm, most_ppm))
    with ProgressLine() as progress:
        session = _stopped(plan, after_ns, progress)
        cascade = None if static else reversed_.Cascade(session, over_ns, horizon_ns)
        searches = []
        for k, way in enumerate(ways):
            progress(k / len(ways), way.name)
            rest = (groups, chosen.range_ppm, sizes, width_ppm)
            searches.append(reversed_.search_along(way, session.exchange, cascade, *rest))
    timed = (0, 0) if cascade is None else (over_ns, cascade.until - cascade.moment)
    document = reversed_.Reverse(plan.name, _variant(plan), after_ns, not static, *timed, groups, searches)
    _show(document, json, reversed_.reverse_tables(document, plan.venue))
    return 0


def _stopped(plan: "Scenario", after_ns: int, progress: ProgressLine) -> "_Visited":
    """The scenario's first variant, stopped at the moment."""
    from replay.inputs import open_inputs
    from replay.moments import stopped_at
    from replay.source import open_feed

    progress(0.0, "reading the feed")
    inputs, tape = open_inputs(plan), open_feed(plan)
    _load_kernels(progress)
    return stopped_at(plan, tape, inputs, after_ns, progress)


@app.command
def switch(
    scenario: str,
    /,
    *,
    to: Annotated[
        tuple[str, ...],
        Parameter(negative="", help="The rule that is switched on: PATH=VALUE below venue, as with --set; several."),
    ] = (),
    tiers: Annotated[
        tuple[str, ...], Parameter(negative="", help="SYMBOL=TABLE: the tier table that a SET_TIERS chooses.")
    ] = (),
    at: At = "0s",
    worst: Annotated[int, Parameter(help="Accounts to show in the table; the document has all.")] = 10,
    accounts_from: AccountsFrom = None,
    json: Json = False,
    set_: Sets = (),
) -> int:
    """Show who breaches at the moment a rule change is switched on: healthy under the rules before, not after.

    Parameters
    ----------
    scenario
        A TOML file, or the name of a shipped scenario: calm, cascade, contagion.
    """
    from exchange.errors import ConfigError
    from exchange.switch import check_same
    from replay import switch as made_switch

    if not to and not tiers:
        raise ConfigError("--to", "missing; expected a rule, as in --to venue.fees.taker_ppm=900, or --tiers")
    for text in to:
        if not text.removeprefix("$.").startswith("venue."):
            raise ConfigError("--to", f"{text!r}; expected a path below venue, as in venue.fees.taker_ppm=900")
    set_ = _with_accounts(set_, accounts_from)
    plan, after_ns = _scenario(scenario, at, set_)
    other, _ = _scenario(scenario, at, (*set_, *to))
    check_same(plan.venue, other.venue)
    chosen = made_switch.tier_sets_of(other.venue, tiers)
    changes = [*(text.removeprefix("$.").removeprefix("venue.") for text in to), *(f"tiers {text}" for text in tiers)]
    made: list[made_switch.Switch] = []

    def visit(exchange: "Exchange", ts_ns: int) -> None:
        moment = (plan.name, _variant(plan), ts_ns, after_ns)
        venue = made_switch.rules_of(other.venue, exchange.venue)
        made.append(made_switch.switch_document(exchange, venue, chosen, changes, moment))

    _play(plan, after_ns, visit)
    _show(made[0], json, made_switch.switch_tables(made[0], plan.venue, worst))
    return 0
