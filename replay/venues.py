"""One scenario under the rules of several venues: its contracts, feed and accounts stay, only the rules change."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from statistics import median
from typing import Any, NamedTuple

import msgspec

from exchange import codes, config, units
from exchange.errors import ConfigError, FeedError
from replay.figures import Figures, Totals
from replay.inputs import Inputs
from replay.plays import Variant
from replay.recorder import NullRecorder
from replay.scenario import Scenario, load_profiles
from replay.session import Session, venue_for
from replay.tape import Tape, level_slots

# What of a venue is the market's and not its rules: it stays as the scenario has it.
MARKET = {"instruments", "assets", "collateral", "capacity", "depth", "impact", "queue", "publish_book"}
CONTRACT = {
    *("symbol", "settle", "kind", "multiplier", "tick", "lot", "price_min", "price_max", "mark_per_tick"),
    *("order_max", "position_max", "open_interest_max", "life", "option", "impact", "index_feedback_ppm"),
    *("haircuts", "initial_haircut_ppm"),
}
SCALE_BITS = 4  # no rule but the precision of sums: at most, where the largest positions leave room for it
FLOOR_STEP = 10**6  # quanta: floors are whole multiples, so that what they add up to is whole at any rate
MONEY = ("notional_above", "notional_min", "notional_max")  # of a stage
SECTION_MONEY = {
    "mark": ("impact_notional",),
    "funding": ("impact_notional",),
    "adl": ("start_below", "stop_at", "drawdown"),
    "fund": ("use_max",),
}

Progress = Callable[[float, str], None]


class Spread(msgspec.Struct, frozen=True):
    """Median, lowest and highest of a figure over the runs; None where it is not defined in any."""

    median: float | None
    low: float | None
    high: float | None


class Row(msgspec.Struct, frozen=True):
    """What one venue's rules made of the scenario, for one settlement asset. Money in quanta."""

    profile: str
    asset: str
    runs: int
    liquidated_notional: Spread
    slippage_ppm: Spread  # of forced fills against the mark
    fund_change: Spread
    bad_debt: Spread
    adl_notional: Spread
    amplification: Spread  # liquidated notional, over that of the run without feedback
    contained_ms: Spread


class Comparison(msgspec.Struct, frozen=True):
    """The document of `profiles run`."""

    scenario: str
    tie_orders: int
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]


class _Price(NamedTuple):
    """What one unit of the base asset is worth in the quote asset, and which of the two each venue settles in."""

    price: Decimal
    from_base: bool
    to_base: bool

    def money(self, text: str, step: Decimal) -> str:
        """An amount of the one venue's settlement asset in the other's, rounded down to whole steps where it moves."""
        if self.from_base == self.to_base:
            return text
        amount = units.decimal(text) * self.price if self.from_base else units.decimal(text) / self.price
        return f"{units.floor_count(amount, step) * step:f}"


def under(scenario: Scenario, profile: str, tape: Tape, portfolio_share: float = 0.0) -> Scenario:
    """The scenario with the rules of a profile's first instrument on each of its contracts.

    `portfolio_share` of the accounts that are not isolated are in portfolio mode where the venue has one.

    Amounts of money in these rules are converted at the tape's first index or mark where one venue settles in the base
    asset and the other does not.

    Raises
    ------
    ConfigError
        When the rules do not fit the scenario's contracts; `where` is the profile.
    """
    theirs, own = config.build_venue(load_profiles(profile)), config.to_table(scenario.venue)
    table = {field: value for field, value in config.to_table(theirs).items() if field not in MARKET}
    table |= {field: own[field] for field in MARKET}
    table["index"]["feedback_ppm"] = own["index"]["feedback_ppm"]
    table["liquidation"]["mode"] = own["liquidation"]["mode"]
    table["instruments"] = [_on_contract(row, config.to_table(theirs)["instruments"][0]) for row in own["instruments"]]
    table["portfolio_margin"] = _regrouped(table["portfolio_margin"], theirs, scenario.venue)
    rate = _Price(_first_price(scenario.venue, tape), _in_base(theirs), _in_base(scenario.venue))
    _convert_money(table, rate)
    if any(row["kind"] == "inverse" for row in table["instruments"]):
        table["funding"]["payment"] = "rate"  # what a lot pays is linear in its price
    try:
        venue = _built(table)
    except ConfigError as error:
        raise ConfigError(profile, f"its rules do not fit the scenario's contracts: {error}") from None
    people = scenario.population
    if people is not None:
        share = portfolio_share * (1 - people.isolated_share) if venue.portfolio_margin.groups else 0.0
        people = msgspec.structs.replace(people, portfolio_share=share)
    return msgspec.structs.replace(scenario, venue=venue, population=people)


def _in_base(venue: config.Venue) -> bool:
    return venue.instruments[0].kind == "inverse"


def _on_contract(row: dict[str, Any], rules: dict[str, Any]) -> dict[str, Any]:
    """A contract with the rules of another; spot instruments and options keep their own."""
    if row["kind"] in ("spot", "option"):
        return row
    return {field: row[field] if field in CONTRACT else value for field, value in rules.items()}


def _regrouped(terms: dict[str, Any], theirs: config.Venue, own: config.Venue) -> dict[str, Any]:
    """A group like that of the profile's first instrument for each contract; none where it is in none."""
    symbol = theirs.instruments[0].symbol
    groups = [group for group in terms["groups"] if symbol in group["members"]]
    if not groups:
        return msgspec.to_builtins(config.PortfolioMargin())
    rows = [row.symbol for row in own.instruments if row.kind not in ("spot", "option")]
    own_groups = [groups[0] | {"name": row, "members": [row], "basis_ppm": {}} for row in rows]
    return terms | {"groups": own_groups}


def _built(table: dict[str, Any]) -> config.Venue:
    """The venue, its grid's sums as precise as they fit."""
    if table["portfolio_margin"]["groups"]:
        for bits in range(SCALE_BITS, 0, -1):
            with suppress(ConfigError):
                return config.build_venue(
                    table | {"portfolio_margin": table["portfolio_margin"] | {"scale_bits": bits}}
                )
        table["portfolio_margin"]["scale_bits"] = 0
    return config.build_venue(table)


def _first_price(venue: config.Venue, tape: Tape) -> Decimal:
    """The first index or mark of the first contract, in its quote asset."""
    kinds, spec = tape.rows["kind"], venue.instruments[0]
    known = tape.rows[((kinds == codes.INDEX) | (kinds == codes.MARK)) & (tape.rows["instrument"] == 0)]
    if not len(known):
        raise FeedError("tape", f"no index and no mark of {spec.symbol}; expected one to convert amounts at")
    return int(known["price"][0]) * units.decimal(spec.tick) / spec.mark_per_tick


def _convert_money(table: dict[str, Any], rate: _Price) -> None:
    """Convert every amount of money in the rules, in place."""
    quantum = units.decimal(table["assets"][0]["quantum"])
    for row in table["instruments"]:
        _convert_fields(row, ("tiers",), rate, FLOOR_STEP * quantum)
        for part in (row["margin"], row["margin"]["risk_limits"]):
            names = ("base_limit", "step", "open_interest_lower", "open_interest_upper", "tier_sets")
            _convert_fields(part or {}, names, rate, FLOOR_STEP * quantum)
    for stage in table["liquidation"]["stages"]:
        _convert_fields(stage, MONEY, rate, quantum)
    for section, names in SECTION_MONEY.items():
        _convert_fields(table[section], names, rate, quantum)


def _convert_fields(table: dict[str, Any], names: tuple[str, ...], rate: _Price, step: Decimal) -> None:
    for name in names:
        value = table.get(name)
        if isinstance(value, str):
            table[name] = rate.money(value, step)
        elif value:  # tiers, or tables of them
            tables = value if isinstance(value[0], list | tuple) else [value]
            for tier in (tier for one in tables for tier in one):
                tier["floor"] = rate.money(tier["floor"], step)


def compare(
    scenario: Scenario,
    profiles: tuple[str, ...],
    tie_orders: int,
    seeds: tuple[int, ...],
    portfolio_share: float,
    open_feed: Callable[[Scenario], Tape],
    inputs: Inputs,
    progress: Progress,
) -> Comparison:
    """Run the scenario under every profile, each seed in each tie order, with feedback and without."""
    if scenario.population is None:
        raise ConfigError("$.population", "missing; there is nobody to liquidate")
    seeded = [with_seed(scenario, seed) for seed in seeds]
    tapes = [open_feed(one) for one in seeded]
    pairs = list(zip(seeded, tapes, strict=True))
    plans = [(name, [under(one, name, tape, portfolio_share) for one, tape in pairs]) for name in profiles]
    rows, done, total = list[Row](), 0, len(profiles) * len(seeds) * tie_orders
    for name, own in plans:
        runs: list[dict[str, Any]] = []
        for plan, tape in zip(own, tapes, strict=True):
            for number in range(tie_orders):
                progress(done / total, f"{name}, tie order {number + 1} of {tie_orders}")
                runs += _run(plan, tape, inputs, number)
                done += 1
        assets = dict.fromkeys(run["asset"] for run in runs)
        rows += [_row(name, asset, [run for run in runs if run["asset"] == asset]) for asset in assets]
    return Comparison(scenario.name, tie_orders, seeds, tuple(rows))


def with_seed(scenario: Scenario, seed: int) -> Scenario:
    """The scenario with one seed for its feed, its accounts and all else."""
    replace, feed = msgspec.structs.replace, scenario.feed
    if feed.synthetic is not None:
        feed = replace(feed, synthetic=replace(feed.synthetic, seed=seed))
    people = replace(scenario.population, seed=seed)
    return replace(scenario, feed=feed, population=people, run=replace(scenario.run, seed=seed))


def _run(plan: Scenario, tape: Tape, inputs: Inputs, tie_order: int) -> list[dict[str, Any]]:
    """The figures of one run of each mode, by settlement asset."""
    from exchange.venue import Exchange

    people = msgspec.structs.replace(plan.population, tie_order=tie_order)
    plan = msgspec.structs.replace(plan, population=people)
    made = {}
    for mode in ("overlay", "shadow"):
        variant = Variant(plan.run.refills[0], mode)
        exchange = Exchange(venue_for(plan, variant, level_slots(tape.rows), inputs))
        made[mode] = Session(plan, tape, variant, 0, exchange, NullRecorder(), lambda _: None, inputs).run()
    shadow = {one.asset: one for one in made["shadow"].totals}
    return [_figures(one, shadow[one.asset], made["overlay"].figures) for one in made["overlay"].totals]


def _figures(overlay: Totals, shadow: Totals, parts: tuple[Figures, ...]) -> dict[str, Any]:
    own = [part for part in parts if part.asset == overlay.asset]
    slippage, forced = sum(part.forced_slippage for part in own), overlay.forced_notional
    alone = shadow.liquidated_notional
    return {
        "asset": overlay.asset,
        "liquidated_notional": overlay.liquidated_notional,
        "slippage_ppm": slippage * 1_000_000 // (forced + slippage) if forced else None,
        "fund_change": overlay.fund_end - overlay.fund_start,
        "bad_debt": overlay.deficit_money,
        "adl_notional": overlay.adl_notional,
        "amplification": round(overlay.liquidated_notional / alone, 4) if alone else None,
        "contained_ms": overlay.contained_ms,
    }


def _row(profile: str, asset: str, runs: list[dict[str, Any]]) -> Row:
    names = [name for name in Row.__struct_fields__ if name not in ("profile", "asset", "runs")]
    return Row(profile, asset, len(runs), **{name: _spread([run[name] for run in runs]) for name in names})


def _spread(values: list[float | None]) -> Spread:
    known = [value for value in values if value is not None]
    return Spread(median(known), min(known), max(known)) if known else Spread(None, None, None)


class Difference(msgspec.Struct, frozen=True):
    """A field in which two venues differ; None where one of them does not have it."""

    path: str
    first: Any
    second: Any


def differences(first: config.Venue, second: config.Venue) -> list[Difference]:
    """Every rule in which two venues differ, in the order of the configuration; names, sources and dates aside."""
    tables = [config.to_table(venue) for venue in (first, second)]
    for table in tables:
        for field in ("name", "source", "date"):
            del table[field]
    return list(_differing("", *tables))


def _differing(path: str, first: Any, second: Any) -> Iterator[Difference]:
    """Walk two values: tables by field, rows of instruments and stages by place, all else whole."""
    if isinstance(first, dict) and isinstance(second, dict):
        for field in dict.fromkeys((*first, *second)):
            yield from _differing(f"{path}.{field}" if path else field, first.get(field), second.get(field))
    elif _are_rows(first) and _are_rows(second) and path.rpartition(".")[2] in ("instruments", "stages"):
        for k in range(max(len(first), len(second))):
            rows = [rows[k] if k < len(rows) else None for rows in (first, second)]
            yield from _differing(f"{path}[{k}]", *rows)
    elif first != second:
        yield Difference(path, first, second)


def _are_rows(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(row, dict) for row in value)


def difference_table(names: tuple[str, str], rows: list[Difference]) -> Any:
    """Both values of each field; a list of tables as the number of its rows and the first."""
    from replay.tables import table

    def cell(value: Any) -> str:
        if _are_rows(value) and len(value):
            return f"{len(value)} rows, first {cell(value[0])}"
        if isinstance(value, dict):
            return ", ".join(f"{field} {cell(own)}" for field, own in value.items() if own is not None)
        return "-" if value is None or value == () else str(value)

    shown = [(row.path, cell(row.first), cell(row.second)) for row in rows]
    return table(f"{len(rows)} fields differ", ("field", *names), shown)


def comparison_table(made: Comparison, scenario: Scenario) -> Any:
    """A row a profile: medians, and below them the lowest and the highest where these differ."""
    from replay.tables import percent, table

    quanta = {asset.name: units.decimal(asset.quantum) for asset in scenario.venue.assets}

    def cell(spread: Spread, text: Callable[[Any], str]) -> str:
        if spread.median is None:
            return "-"
        middle, low, high = text(spread.median), text(spread.low), text(spread.high)
        return middle if low == high else f"{middle}\n{low} to {high}"

    def cells(row: Row) -> list[str]:
        def money(amount: float) -> str:
            return short(float(amount) * float(quanta[row.asset]))

        return [
            row.profile,
            row.asset,
            cell(row.liquidated_notional, money),
            cell(row.slippage_ppm, lambda ppm: percent(round(ppm))),
            cell(row.fund_change, money),
            cell(row.bad_debt, money),
            cell(row.adl_notional, money),
            cell(row.amplification, lambda ratio: f"x {ratio:.3f}"),
            cell(row.contained_ms, lambda ms: f"{ms / 1000:.0f} s"),
        ]

    runs = f"{made.tie_orders} tie orders x {len(made.seeds)} seeds: median, lowest to highest"
    header = ("profile", "asset", "liquidated", "slippage", "fund", "bad debt", "ADL", "over shadow", "contained in")
    return table(f"{made.scenario}, {runs}", header, [cells(row) for row in made.rows])


def short(amount: float, figures: int = 4) -> str:
    """An amount to so many figures, with k, M or G for thousands, millions, billions."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(amount) >= unit:
            return f"{amount / unit:.{figures}g}{name}"
    return f"{amount:.{figures}g}"
