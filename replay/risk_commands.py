"""The commands of a risk desk: liquidation map, bands, margin backtest. What they need is imported as they run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from replay.commands import BINANCE_UM, Force, Json, Profiles, Sets, _load_kernels, app
from replay.progress import ProgressLine

if TYPE_CHECKING:
    from exchange.config import Venue
    from exchange.venue import Exchange
    from replay.scenario import Scenario

Picture = Annotated[Path | None, Parameter(name=["--out", "-o"], help="PNG file to write; must not exist yet.")]
At = Annotated[str, Parameter(help="The moment, counted from the seeding: 0s, 45s, 2min.")]
Symbols = Annotated[
    tuple[str, ...], Parameter(name="--symbol", negative="", help="Instruments to show; all that are held by default.")
]


@app.command(name="map")
def map_(
    scenario: str,
    /,
    *,
    at: At = "0s",
    symbol: Symbols = (),
    step: Annotated[str | None, Parameter(help="Height of a row as a price; about half a percent by default.")] = None,
    out: Picture = None,
    force: Force = False,
    json: Json = False,
    set_: Sets = (),
) -> int:
    """Show what is to be liquidated by price: the venue's liquidation map at a moment of a scenario.

    Accounts of one position are read off the venue's guards, which are their liquidation prices. Those of several are
    solved along the one mark, the others held.

    Parameters
    ----------
    scenario
        A TOML file, or the name of a shipped scenario: calm, cascade, contagion.
    """
    from replay import maps, present
    from replay.charts import check_picture

    check_picture(out, force)
    plan, after_ns = _scenario(scenario, at, set_)
    places = _places(plan, symbol)
    made: list[maps.MapDocument] = []

    def visit(exchange: "Exchange", ts_ns: int) -> None:
        shown = [maps.instrument_map(exchange, k, step) for k in places]
        shown = [one for one in shown if symbol or one.mark_sub and (one.below or one.above)]
        made.append(maps.MapDocument(plan.name, _variant(plan), ts_ns, after_ns, shown))

    _play(plan, after_ns, visit)
    _show(made[0], json, maps.map_tables(made[0], plan.venue))
    if out is not None:
        maps.draw_map(made[0], plan.venue, out)
        present.say(json, f"picture in {out}")
    return 0


def _scenario(name: str, at: str, overrides: tuple[str, ...]) -> tuple["Scenario", int]:
    """A scenario with a population, and a moment."""
    from exchange.errors import ConfigError
    from replay.scenario import load_scenario, parse_duration, scenario_path

    plan, after_ns = load_scenario(scenario_path(name), overrides), parse_duration("--at", at)
    if plan.population is None:
        raise ConfigError("$.population", "missing; a map and bands are of the accounts on the venue")
    return plan, after_ns


def _places(plan: "Scenario", symbols: tuple[str, ...]) -> list[int]:
    return [_place(plan.venue, symbol) for symbol in symbols] or list(range(len(plan.venue.instruments)))


def _variant(plan: "Scenario") -> str:
    from replay.plays import variants_of

    return variants_of(plan)[0].label


def _play(plan: "Scenario", after_ns: int, visit: Any, to_end: bool = False) -> Any:
    """Play the scenario's first variant to the moment, or through it to the end."""
    from replay.inputs import open_inputs
    from replay.moments import play_to
    from replay.source import open_feed

    with ProgressLine() as progress:
        progress(0.0, "reading the feed")
        inputs = open_inputs(plan)
        tape = open_feed(plan)
        _load_kernels(progress)
        return play_to(plan, tape, inputs, after_ns, visit, to_end, progress)


def _show(document: Any, json: bool, tables: list[Any]) -> None:
    from replay import present

    if json:
        present.print_json(document)
        return
    for one in tables:
        present.print_table(one)


@app.command
def bands(
    scenario: str,
    /,
    *,
    at: At = "0s",
    account: Annotated[int | None, Parameter(help="One account, by its number; else everybody.")] = None,
    pressure: Annotated[
        tuple[str, ...],
        Parameter(negative="", help="Equity over maintenance that is pressure; else the venue's stages, or 1.5, 1.2."),
    ] = (),
    symbol: Symbols = (),
    out: Picture = None,
    force: Force = False,
    json: Json = False,
    set_: Sets = (),
) -> int:
    """Show the bands of accounts: where pressure, forced reduction and bankruptcy begin, and when the run went there.

    Marks are solved along one mark, the others held, with the positions of the moment. Times are those at which the
    mark first came there in the rest of the run.

    Parameters
    ----------
    scenario
        A TOML file, or the name of a shipped scenario: calm, cascade, contagion.
    """
    from replay import bands as made_bands
    from replay import present
    from replay.charts import check_picture

    check_picture(out, force)
    plan, after_ns = _scenario(scenario, at, set_)
    ratios = made_bands.ratios_of(pressure, plan.venue.liquidation.stages)
    places = _places(plan, symbol)
    moments: list[made_bands.Moment] = []

    def visit(exchange: "Exchange", ts_ns: int) -> None:
        moments.append(made_bands.read_moment(exchange, ts_ns, ratios, account))

    outcomes = _play(plan, after_ns, visit, to_end=True)
    rest = {"name": plan.name, "variant": _variant(plan), "after_ns": after_ns}
    document = made_bands.bands_document(moments[0], outcomes, plan.venue, places, account is not None, **rest)
    _show(document, json, made_bands.bands_tables(document, plan.venue))
    if out is not None:
        made_bands.draw_bands(moments[0], outcomes, document, plan.venue, out)
        present.say(json, f"picture in {out}")
    return 0


@app.command
def backtest(
    files: Annotated[list[Path], Parameter(help="Klines (CSV or zip), tapes or captures, in time order.", negative="")],
    /,
    *,
    profile: Profiles = BINANCE_UM,
    symbol: Annotated[str | None, Parameter(help="The instrument; the profile's first by default.")] = None,
    horizon: Annotated[str, Parameter(help="Liquidation period, the length of a window: 30s, 15min, 4h.")] = "1h",
    leverage: Annotated[
        tuple[int, ...], Parameter(negative="", help="Also test the initial margin at this leverage; may be repeated.")
    ] = (),
    rate_ppm: Annotated[
        tuple[int, ...], Parameter(negative="", help="Also test a flat rate, ppm of the notional; may be repeated.")
    ] = (),
    notional: Annotated[
        str | None, Parameter(help="Size of the position at the first price, in its asset; small by default.")
    ] = None,
    coverage: Annotated[float, Parameter(help="Share of windows in which the margin must be enough.")] = 0.99,
    memory: Annotated[float, Parameter(help="Weight of the window before in the alternative's volatility.")] = 0.94,
    floor_ppm: Annotated[int, Parameter(help="Least rate of the volatility-scaled alternative.")] = 0,
    change: Annotated[str, Parameter(help="Span over which the largest rise of a requirement is measured.")] = "24h",
    out: Picture = None,
    force: Force = False,
    json: Json = False,
    set_: Sets = (),
) -> int:
    """Test the margin of a profile on a price history: coverage, Kupiec, Christoffersen, procyclicality."""
    from replay import backtest as tested
    from replay import present
    from replay.charts import check_picture
    from replay.history import cut, read_history
    from replay.scenario import build_venue, parse_duration

    check_picture(out, force)
    horizon_ns, change_ns = parse_duration("--horizon", horizon), parse_duration("--change", change)
    venue = build_venue(profile, set_)
    place = _place(venue, symbol)
    with ProgressLine() as progress:
        progress(0.0, "reading")
        history = read_history(files, venue.instruments[place])
        windows = cut(history, horizon_ns)
        _load_kernels(progress)
        plan = tested.Plan(leverage, rate_ppm, notional, coverage, memory, floor_ppm, change_ns)
        made = tested.run_backtest(venue, place, windows, plan, history.source, horizon_ns)
    _show(made.report, json, tested.backtest_tables(made.report, venue))
    if out is not None:
        tested.draw_backtest(made, windows, out)
        present.say(json, f"picture in {out}")
    return 0


def _place(venue: "Venue", symbol: str | None) -> int:
    from exchange.errors import ConfigError

    known = [instrument.symbol for instrument in venue.instruments]
    if symbol is not None and symbol not in known:
        raise ConfigError("--symbol", f"no instrument {symbol!r}; the venue has {', '.join(known)}")
    return known.index(symbol) if symbol is not None else 0
