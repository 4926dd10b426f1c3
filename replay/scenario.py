"""Scenarios: TOML text and `--set` overrides to frozen Structs. Unknown fields are refused, errors carry a path."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from exchange import config
from exchange.errors import ConfigError
from exchange.fields import explained, takes_text
from replay.population import Population, check_population, check_portfolio
from replay.shock import Shock, check_shocks
from replay.synthetic.market import Synthetic
from replay.synthetic.quantiles import splice

Mode = Literal["overlay", "shadow"]
Refill = Literal["none", "decay", "persistent"]
REFILLS: tuple[Refill, ...] = ("none", "decay", "persistent")


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Feed(_Struct):
    """What is replayed: capture or tape files in order, or a synthetic market.

    `index` names captures of one other market, whose book makes the index of contracts that have none recorded.
    `extrapolate_ppm` adds recorded-like depth beyond the recorded levels up to that distance from the touch; forced
    volume that trades there is printed as a share. 0 = off.
    """

    files: tuple[str, ...] = ()
    index: tuple[str, ...] = ()
    synthetic: Synthetic | None = None
    extrapolate_ppm: Annotated[int, msgspec.Meta(ge=0, le=900_000)] = 0


class Run(_Struct):
    """How it is replayed: the cross product of refill models and modes, each from the same start."""

    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 1
    interval_ms: Annotated[int, msgspec.Meta(ge=1, le=86_400_000)] = 1_000
    seed_after_ms: Annotated[int, msgspec.Meta(ge=0, le=10**11)] = 30_000  # earliest seeding, from the tape's start
    modes: tuple[Mode, ...] = ("overlay", "shadow")
    refills: tuple[Refill, ...] = REFILLS
    sensitivity: bool = True  # the first refill model again, with the population's size truncation halved and doubled
    audit: bool = False  # full audit at every interval, and a digest of the final state
    allow_recorded_forced: bool = False  # replay in overlay although the recording is a cascade itself


class Scenario(_Struct):
    """A whole experiment. `population = None` replays the feed alone."""

    venue: config.Venue
    feed: Feed
    name: str = ""
    note: str = ""
    population: Population | None = None
    shocks: tuple[Shock, ...] = ()
    run: Run = Run()

    def table(self) -> dict[str, Any]:
        """Plain builtins in field order. Files go by name: the tape's digest says what was in them."""
        table = msgspec.to_builtins(self)
        for field in ("files", "index"):
            table["feed"][field] = [Path(file).name for file in getattr(self.feed, field)]
        if self.population is not None:
            table["population"]["history"] = [Path(file).name for file in self.population.history]
            table["population"]["accounts_from"] = Path(self.population.accounts_from).name
        return table


def data_folder() -> Path:
    """Shipped scenarios: inside the installed package, or the checkout's `data/`."""
    packaged = Path(__file__).parent / "_data"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "data"


def scenario_path(name: str) -> Path:
    """A path as given, or the name of a shipped scenario."""
    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return path
    shipped = data_folder() / f"{name}.toml"
    if not shipped.is_file():
        known = ", ".join(sorted(p.stem for p in data_folder().glob("*.toml")))
        raise ConfigError(name, f"no such scenario; shipped are {known}, or give a path ending in .toml")
    return shipped


def load_scenario(path: Path, overrides: tuple[str, ...] = ()) -> Scenario:
    """Read a scenario file; relative paths in it are looked for beside it."""
    table = config.load_toml(path)
    for section, field in (
        ("feed", "files"),
        ("feed", "index"),
        ("population", "history"),
        ("population", "accounts_from"),
    ):
        values = table.get(section)
        if isinstance(values, dict) and field in values:
            values[field] = _beside(path.parent, values[field])
    return build_scenario(table, overrides)


def _beside(folder: Path, value: Any) -> Any:
    """File names, looked for in a folder; what is no text stays as it is and is refused by its path later."""
    if isinstance(value, list):
        return [_beside(folder, one) for one in value]
    return str(folder / value) if isinstance(value, str) and value else value


def build_scenario(table: dict[str, Any], overrides: tuple[str, ...] = ()) -> Scenario:
    """Profile, inline tables and overrides, merged in this order, checked.

    Raises
    ------
    ConfigError
        With the path of the field and what was expected there.
    """
    table = dict(table)
    table["venue"] = merge(load_profiles(table.pop("profile", ())), table.get("venue", {}), "$.venue")
    for text in overrides:
        apply_override(table, text)
    if not table["venue"]:
        raise ConfigError("$.profile", 'missing; name one, as in profile = "binance_um", or write a [venue] table')
    venue = _checked_venue(table.pop("venue"))
    try:
        # The venue is checked by its own builder; the rest is converted with paths that start at `$`.
        rest = msgspec.convert(table, _Rest)
    except msgspec.ValidationError as error:
        raise ConfigError(*explained(error, _Rest)) from None
    scenario = Scenario(venue=venue, **msgspec.structs.asdict(rest))
    _check(scenario)
    return _with_seeds(scenario)


class _Rest(_Struct):
    feed: Feed
    name: str = ""
    note: str = ""
    population: Population | None = None
    shocks: tuple[Shock, ...] = ()
    run: Run = Run()


def _check(scenario: Scenario) -> None:
    feed, run = scenario.feed, scenario.run
    if bool(feed.files) == (feed.synthetic is not None):
        raise ConfigError("$.feed", "expected either files or a [feed.synthetic] table")
    for field in ("modes", "refills"):
        values = getattr(run, field)
        if not values or len(set(values)) != len(values):
            raise ConfigError(f"$.run.{field}", f"expected one or more different values, got {list(values)}")
    check_shocks(scenario.shocks)
    if scenario.population is not None:
        check_population(scenario.population)
        check_portfolio(scenario.population, scenario.venue, scenario.population.instruments)
        start = splice(scenario.population.size_sigma, scenario.population.size_alpha)
        if run.sensitivity and scenario.population.size_truncation // 2 <= start:
            raise ConfigError(
                "$.population.size_truncation",
                f"half of {scenario.population.size_truncation} medians ends below the tail's start at {start:.0f}; "
                "expected more, or $.run.sensitivity = false",
            )


def _with_seeds(scenario: Scenario) -> Scenario:
    """Fill in the run's seed where a part has none of its own."""
    seed, replace = scenario.run.seed, msgspec.structs.replace
    population, feed = scenario.population, scenario.feed
    if population is not None and population.seed is None:
        population = replace(population, seed=seed)
    if feed.synthetic is not None and feed.synthetic.seed is None:
        feed = replace(feed, synthetic=replace(feed.synthetic, seed=seed))
    return replace(scenario, population=population, feed=feed)


_DURATION_NS = {"ms": 1_000_000, "s": 1_000_000_000, "min": 60 * 1_000_000_000, "h": 3600 * 1_000_000_000}


def parse_duration(where: str, text: str) -> int:
    """Read `10s`, `500ms`, `2min`, `1h` to nanoseconds."""
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = _DURATION_NS.get(text[len(digits) :])
    if unit is None or not digits.isdecimal():
        raise ConfigError(where, f"{text!r}; expected a whole number with ms, s, min or h, as in 10s")
    return int(digits) * unit


def parse_impact(text: str) -> dict[str, Any]:
    """Read `SHAPE:field=value,…`, for example `square_root:volume=350000,decaying_ppm=30000,half_life=10min`, or none.

    The result is a `[venue.impact]` table; the venue's builder checks it.
    """
    shape, _, rest = text.partition(":")
    if shape == "none" and not rest:
        return {"model": "none"}
    if shape not in ("linear", "square_root"):
        raise ConfigError("--impact", f"{shape!r} in {text!r}; expected none, linear:… or square_root:…")
    table: dict[str, Any] = {"model": "shift", "shape": shape}
    for part in filter(None, rest.split(",")):
        field, equals, value = part.partition("=")
        if not equals:
            raise ConfigError("--impact", f"{part!r} in {text!r}; expected field=value, as in volume=350000")
        if field in ("model", "shape"):
            raise ConfigError(
                "--impact",
                f"{part!r} in {text!r}; the shape comes first, as in {shape}:volume=350000",
            )
        if field in ("half_life", "period"):
            table[f"{field}_ns"] = parse_duration(f"--impact {field}", value)
        else:
            table[field] = parse_value(value) if field.endswith("_ppm") else value
    return table


def load_profiles(names: Any) -> dict[str, Any]:
    """The `[venue]` of one profile, or one venue of several: their instruments, each with its own fees, side by side.

    Rules that hold for a whole venue (index, mark, funding and so on) must be the same in all of them.
    """
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigError("$.profile", f"expected the name of a profile or a path, or a list of them, got {names!r}")
    tables = [config.load_profile(name) for name in names]
    if len(tables) < 2:
        return tables[0] if tables else {}
    joined: dict[str, Any] = {field: [] for field in ("assets", "instruments")}
    for name, table in zip(names, tables, strict=True):
        fees = table.pop("fees", {})
        joined["assets"] += [asset for asset in table.pop("assets", []) if asset not in joined["assets"]]
        joined["instruments"] += [{"fees": fees} | row for row in table.pop("instruments", [])]
        for field in ("name", "source", "date"):
            said, new = joined.get(field, ""), table.pop(field, "")
            joined[field] = f"{said} + {new}" if said and new and new not in said else said or new
        for field, value in table.items():
            if joined.setdefault(field, value) != value:
                raise ConfigError(
                    f"$.profile.{name}.{field}",
                    f"is {value}, but {joined[field]} in {names[0]}; one venue has one such rule: give one profile, "
                    "or write a profile file that holds both instruments",
                )
    return joined


def build_venue(profile: Any, overrides: tuple[str, ...] = ()) -> config.Venue:
    """One or several profiles with overrides and nothing else: what a reader of feeds needs."""
    table: dict[str, Any] = {"venue": load_profiles(profile)}
    for text in overrides:
        apply_override(table, text)
    return _checked_venue(table["venue"])


def _checked_venue(table: dict[str, Any]) -> config.Venue:
    """Build it, unless fees were set for the venue that no instrument would pay."""
    venue = config.build_venue(table)
    if "fees" in table and all(instrument.fees is not None for instrument in venue.instruments):
        raise ConfigError(
            "$.venue.fees",
            "every instrument has fees of its own here; set those, as in "
            f"venue.instruments.{venue.instruments[0].symbol}.fees.taker_ppm=500",
        )
    return venue


def merge(base: Any, over: Any, where: str = "$") -> Any:
    """`over` on top of `base`: tables by field, `instruments` by symbol, `assets` by name, all else replaced."""
    if not isinstance(over, dict):
        raise ConfigError(where, f"expected a table, got {over!r}")
    merged = dict(base)
    for field, value in over.items():
        key = {"instruments": "symbol", "assets": "name"}.get(field)
        if key and isinstance(value, list) and isinstance(merged.get(field), list):
            merged[field] = _merge_rows(merged[field], value, key, f"{where}.{field}")
        elif isinstance(value, dict) and isinstance(merged.get(field), dict):
            merged[field] = merge(merged[field], value, f"{where}.{field}")
        else:
            merged[field] = value
    return merged


def _merge_rows(base: list[Any], over: list[Any], key: str, where: str) -> list[Any]:
    merged = list(base)
    for k, row in enumerate(over):
        if not isinstance(row, dict) or key not in row:
            raise ConfigError(f"{where}[{k}]", f"expected a table with {key}")
        same = [i for i, other in enumerate(merged) if other.get(key) == row[key]]
        if same:
            merged[same[0]] = merge(merged[same[0]], row, f"{where}[{k}]")
        else:
            merged.append(row)
    return merged


def parse_value(text: str) -> Any:
    """A TOML value; text that is not one is taken as it is, as in `population.accounts_from=a.csv`."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text


def apply_override(table: dict[str, Any], text: str) -> None:
    """Apply `path=value`, for example `venue.fees.taker_ppm=500` or `venue.instruments.BTCUSDT.order_max="50"`.

    Rows of an array are named by position, symbol or name. Decimal fields are text: a bare number is taken as it is
    written there, so that `population.fund=5000` needs no quotes.
    """
    path, equals, value = text.partition("=")
    steps = path.strip().removeprefix("$.").split(".")
    if not equals or not all(steps):
        raise ConfigError(f"--set {text}", "expected path=value, as in venue.fees.taker_ppm=500")
    node: Any = table
    for depth, step in enumerate(steps[:-1]):
        where = "$." + ".".join(steps[: depth + 1])
        if isinstance(node, list):
            node = _row(node, step, where)
        else:
            node = node.setdefault(step, {})
        if not isinstance(node, dict | list):
            raise ConfigError(where, f"is {node!r}, not a table; --set {text} cannot go below it")
    if isinstance(node, list):
        raise ConfigError("$." + path, f"names a whole row; --set changes one field, as in {path}.field=value")
    parsed = parse_value(value.strip())
    if not isinstance(parsed, str | list | dict) and takes_text(Scenario, steps):
        parsed = value.strip()
    node[steps[-1]] = parsed


def _row(rows: list[Any], step: str, where: str) -> Any:
    if step.isdecimal() and int(step) < len(rows):
        return rows[int(step)]
    for row in rows:
        if isinstance(row, dict) and step in (row.get("symbol"), row.get("name")):
            return row
    names = [str(row.get("symbol", row.get("name", k))) for k, row in enumerate(rows) if isinstance(row, dict)]
    raise ConfigError(where, f"no such row; there are {', '.join(names) or 'none'}")
