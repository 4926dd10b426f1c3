"""The commands of venue profiles: list, compare two, run one scenario under all."""

from typing import Annotated

from cyclopts import App, Parameter

from replay.commands import Json, Sets, _load_kernels
from replay.progress import ProgressLine
from replay.stress_commands import app

profiles = App(name="profiles", help="List the shipped venue rules, compare two, or run one scenario under all.")
app.command(profiles)


@profiles.default
def list_(*, json: Json = False) -> int:
    """List the shipped venue rules."""
    from exchange import config
    from replay import present

    present.print_profiles({name: config.build_venue(config.load_profile(name)) for name in _shipped()}, json)
    return 0


def _shipped() -> tuple[str, ...]:
    from exchange import config

    return tuple(sorted(path.stem for path in config.profiles_folder().glob("*.toml")))


@profiles.command
def diff(first: str, second: str, /, *, json: Json = False) -> int:
    """Show every rule in which two venues differ.

    Parameters
    ----------
    first, second
        A shipped profile or a TOML file.
    """
    from exchange import config
    from replay import present, venues

    rows = venues.differences(*(config.build_venue(config.load_profile(name)) for name in (first, second)))
    if json:
        present.print_json(rows)
    else:
        present.print_table(venues.difference_table((first, second), rows))
    return 0


@profiles.command
def run(
    scenario: str,
    /,
    *,
    profile: Annotated[
        tuple[str, ...], Parameter(negative="", help="A shipped profile or a TOML file; all shipped ones by default.")
    ] = (),
    tie_orders: Annotated[int, Parameter(help="Permutations of the account ids, which decide between equals.")] = 20,
    seeds: Annotated[int, Parameter(help="Seeds of feed and accounts: the scenario's and those after it.")] = 1,
    portfolio_share: Annotated[
        float, Parameter(help="Share of the accounts in portfolio mode where a venue has one; isolated ones aside.")
    ] = 0.3,
    json: Json = False,
    set_: Sets = (),
) -> int:
    """Run one scenario under the rules of every venue, with feedback and without.

    Contracts, feed, depth, impact and the venue's share of its index stay as the scenario has them; all other rules are
    the profile's, those of its first instrument on every contract. Accounts are drawn anew under each: leverage and
    deposits are such as its margin allows.

    Parameters
    ----------
    scenario
        A TOML file, or the name of a shipped scenario: calm, cascade, contagion.
    """
    from exchange.errors import ConfigError
    from replay import present, venues
    from replay.inputs import open_inputs
    from replay.scenario import load_scenario, scenario_path
    from replay.source import open_feed

    for name, value in (("--tie-orders", tie_orders), ("--seeds", seeds)):
        if value < 1:
            raise ConfigError(name, f"{value}; expected at least 1")
    if not 0 <= portfolio_share <= 1:
        raise ConfigError("--portfolio-share", f"{portfolio_share}; expected from 0 to 1")
    plan = load_scenario(scenario_path(scenario), set_)
    chosen, numbers = profile or _shipped(), tuple(range(plan.run.seed, plan.run.seed + seeds))
    with ProgressLine() as progress:
        progress(0.0, "reading the feed")
        inputs = open_inputs(plan)
        _load_kernels(progress)
        made = venues.compare(plan, chosen, tie_orders, numbers, portfolio_share, open_feed, inputs, progress)
    if json:
        present.print_json(made)
    else:
        present.print_table(venues.comparison_table(made, plan))
    return 0
