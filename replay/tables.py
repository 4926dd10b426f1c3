"""The tables of a run: who was seeded, what happened, what the feedback made of it."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from exchange import units
from exchange.config import Instrument, Venue
from replay.entries import moment
from replay.figures import Closed, Figures, Totals
from replay.summary import Entries, Summary

Row = tuple[str, str, Callable[[Any], str]]  # scope, name, cell


class Formats(msgspec.Struct, frozen=True):
    """Integers of one instrument back to text in the venue's units."""

    quantum: Decimal
    asset: str
    tick: Decimal
    lot: Decimal
    mark_per_tick: int
    money_step: Decimal
    unit: str

    @classmethod
    def of(cls, venue: Venue, symbol: str) -> "Formats":
        """Formats of one instrument. Coin is worth tens of thousands, so it is shown to a ten-thousandth."""
        own = next(instrument for instrument in venue.instruments if instrument.symbol == symbol)
        asset = next(asset for asset in venue.assets if asset.name == own.settle)
        return cls(
            units.decimal(asset.quantum),
            asset.name,
            units.decimal(own.tick),
            units.decimal(own.lot),
            own.mark_per_tick,
            Decimal(1 if own.kind == "linear" else "0.0001"),
            unit_of(own),
        )

    def money(self, quanta: int) -> str:
        """An amount of the asset, thousands set apart."""
        return f"{(quanta * self.quantum).quantize(self.money_step):,}"

    def size(self, lots: int) -> str:
        """A quantity, in `unit`."""
        return f"{(lots * self.lot).normalize():,f}"

    def mark(self, sub: int) -> str:
        """A mark or index price."""
        return f"{(sub * self.tick / self.mark_per_tick).quantize(self.tick):,f}"


def unit_of(instrument: Instrument) -> str:
    """What quantities of an instrument are counted in."""
    return "units" if instrument.kind == "linear" else "contracts"


def percent(ppm: int) -> str:
    """Ppm as a signed percentage."""
    return f"{ppm / 10_000:+.3f} %"


def table(title: str, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> Any:
    """A rich table, its first column to the left."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for k, name in enumerate(header):
        made.add_column(name, justify="left" if k == 0 else "right")
    for row in rows:
        made.add_row(*[str(cell) for cell in row])
    return made


def run_tables(document: dict[str, Any], venue: Venue) -> list[Any]:
    """All tables of a run's results. Several instruments have a table each, then one a settlement asset they share."""
    figures = msgspec.convert(document["figures"], list[Figures])
    totals = msgspec.convert(document["totals"], list[Totals])
    summary = msgspec.convert(document["population"], Summary | None)
    formats = {f.symbol: Formats.of(venue, f.symbol) for f in figures}
    symbols = {f.asset: list(dict.fromkeys(g.symbol for g in figures if g.asset == f.asset)) for f in figures}
    tables = _population_tables(summary, formats) if summary else []
    alone = {"run"} if len(formats) == 1 else set()
    for asset, settled in symbols.items():
        shared = len(settled) > 1
        scopes = {"closed", "instrument"} | alone | (set() if shared else {"asset"})
        for symbol in settled:
            own = [f for f in figures if f.symbol == symbol]
            tables.append(_figures_table(f"what happened to {symbol}", own, formats[symbol], scopes))
        if shared:
            own_totals = [total for total in totals if total.asset == asset]
            title = f"what happened to all in {asset}"
            tables.append(_figures_table(title, own_totals, formats[settled[0]], {"closed", "asset"}))
    if not alone:
        first = [f for f in figures if f.symbol == figures[0].symbol]
        tables.append(_figures_table("the whole run", first, formats[figures[0].symbol], {"run"}))
    if document["amplification"]:
        tables.append(_amplification_table(document["amplification"], formats, symbols))
    if document["sensitivity"]:
        tables.append(_sensitivity_table(document["sensitivity"]))
    return tables


def _population_tables(summary: Summary, formats: dict[str, Formats]) -> list[Any]:
    if len(summary.instruments) == 1:
        return [_population_table(summary, formats[summary.instruments[0].symbol])]
    header = (
        "instrument",
        "positions",
        "long",
        "open interest",
        "x depth",
        "ten largest",
        "p50 leverage",
        "p50 distance",
    )
    positions = [
        (
            one.symbol,
            f"{one.accounts:,}",
            f"{one.longs / one.accounts:.1%}",
            f"{formats[one.symbol].money(one.open_interest_money)} {one.asset}",
            f"{one.open_interest_depth:g}",
            f"{one.top_ten_share:.2%}",
            " / ".join(f"{side['p50']:g}x" for side in (one.leverage_long, one.leverage_short) if side),
            f"{one.distance_ppm['p50'] / 10_000:.2f} %",
        )
        for one in summary.instruments
    ]
    by_asset = {one.asset: formats[one.symbol] for one in summary.instruments}
    wallets = [
        (
            one.asset,
            f"{one.accounts:,}{_in_mode(one.portfolio)}",
            ", ".join(f"{count}: {accounts:,}" for count, accounts in one.by_positions.items()),
            by_asset[one.asset].money(one.open_interest_money),
            f"{one.top_ten_share:.2%}",
            f"{by_asset[one.asset].money(one.deposits_money)} / {by_asset[one.asset].money(one.fund_money)}",
        )
        for one in summary.assets
    ]
    return [
        table("population by instrument (leverage of longs / shorts)", header, positions),
        table(
            f"accounts by settlement asset, beside {summary.hedgers} hedgers",
            ("asset", "accounts", "of them with 1, 2, … positions", "open interest", "ten largest", "deposits / fund"),
            wallets,
        ),
    ]


def _in_mode(count: int) -> str:
    return f", {count:,} in portfolio mode" if count else ""


def _population_table(summary: Summary, formats: Formats) -> Any:
    one, wallets = summary.instruments[0], summary.assets[0]

    def leverage(p: dict[str, float]) -> str:
        if not p:
            return "none"
        return (
            f"p50 {p['p50']:g}x, p80 {p['p80']:g}x, p99 {p['p99']:g}x, by notional {p['weighted']:.1f}x "
            f"({p['wished_weighted']:.1f}x before {'tiers or grid' if one.portfolio else 'the tiers'} capped it)"
        )

    return table(
        "population",
        ("figure", "value"),
        [
            ("accounts", f"{one.accounts:,} ({one.longs:,} long, {one.isolated:,} isolated{_in_mode(one.portfolio)})"),
            (
                "open interest",
                (
                    f"{formats.size(one.open_interest_lots)} {formats.unit}, "
                    f"{formats.money(one.open_interest_money)} {formats.asset}, "
                    f"{one.open_interest_depth:g} x the 1 % depth"
                ),
            ),
            ("leverage of longs", leverage(one.leverage_long)),
            ("leverage of shorts", leverage(one.leverage_short)),
            (
                "ten largest accounts / hedgers",
                (
                    f"{one.top_ten_share:.2%} of open interest, both sides / "
                    f"{summary.hedgers} with {one.hedger_share:.2%}"
                ),
            ),
            (
                "distance to liquidation",
                ", ".join(f"{name} {ppm / 10_000:.2f} %" for name, ppm in one.distance_ppm.items()),
            ),
            ("entries", _entries(one.entries)),
            (
                "deposits / insurance fund",
                f"{formats.money(wallets.deposits_money)} / {formats.money(wallets.fund_money)} {formats.asset}",
            ),
        ],
    )


def _entries(entries: Entries) -> str:
    """Where entry prices come from, and how many draws would have been liquidated since."""
    if not entries.draws:
        return entries.source
    return (
        f"{entries.source}\n{moment(entries.from_ns)} to {moment(entries.to_ns)}\n"
        f"{entries.rejected / entries.draws:.1%} of {entries.draws:,} draws rejected as not survived, "
        f"{entries.opened_now:,} opened now"
    )


def _figures_table(title: str, figures: Sequence[Closed], formats: Formats, scopes: set[str]) -> Any:
    rows: list[Row] = [
        ("closed", "liquidated accounts", lambda f: f"{f.liquidated_accounts:,}"),
        ("closed", "  of them through the book", lambda f: f"{f.liquidated_through_book:,}"),
        ("closed", f"liquidated notional {formats.asset}", lambda f: formats.money(f.liquidated_notional)),
        ("instrument", f"forced fills {formats.unit}", lambda f: formats.size(f.forced_lots)),
        ("closed", f"forced fills {formats.asset}", lambda f: formats.money(f.forced_notional)),
        ("instrument", "  slippage against the mark", lambda f: percent(f.forced_slippage_ppm)),
        ("instrument", "  in extrapolated depth", lambda f: f"{f.extrapolated_share:.2%}"),
        ("closed", f"liquidation fees {formats.asset}", lambda f: formats.money(f.liquidation_fees)),
        ("closed", f"taken over by others {formats.asset}", lambda f: formats.money(f.taken_notional)),
        ("closed", f"takeovers {formats.asset}", lambda f: formats.money(f.takeover_notional)),
        ("closed", "ADL closes", lambda f: f"{f.adl_closes:,}"),
        ("closed", f"ADL {formats.asset}", lambda f: formats.money(f.adl_notional)),
        ("asset", "deficits paid by the fund", lambda f: f"{f.deficits:,} ({formats.money(f.deficit_money)})"),
        ("asset", f"losses shared by others {formats.asset}", lambda f: formats.money(f.socialised_money)),
        ("asset", f"fund start {formats.asset}", lambda f: formats.money(f.fund_start)),
        ("asset", f"fund end {formats.asset}", lambda f: formats.money(f.fund_end)),
        ("instrument", "mark start", lambda f: formats.mark(f.mark_start)),
        ("instrument", "mark lowest", lambda f: formats.mark(f.mark_min)),
        ("instrument", "mark end", lambda f: formats.mark(f.mark_end)),
        ("instrument", "largest move", lambda f: percent(f.price_move_ppm)),
        ("asset", f"hedger PnL {formats.asset}", lambda f: formats.money(f.hedger_pnl)),
        ("instrument", f"open interest end {formats.unit}", lambda f: formats.size(f.open_interest_end)),
        ("instrument", "recorded levels crossed", lambda f: f"{f.crossed_levels:,}"),
        ("run", "events refused", lambda f: "\n".join(f"{name} {n:,}" for name, n in f.rejected.items()) or "0"),
        ("run", "outcome digest", lambda f: f.digest[:12]),
    ]
    unused = {
        name
        for name, field in (("taken over by others", "taken_notional"), ("losses shared by others", "socialised_money"))
        if not any(getattr(f, field) for f in figures)
    }
    rows = [row for row in rows if row[1].removesuffix(f" {formats.asset}") not in unused]
    header = ["figure", *(f"{f.refill}\n{f.mode}" for f in figures)]
    shown = [[name, *(show(f) for f in figures)] for scope, name, show in rows if scope in scopes]
    return table(f"{title} (refill model and mode)", header, shown)


def _ratio(overlay: int, ratio: float | None) -> str:
    if ratio is None:
        return "none in shadow" if overlay else "none"
    return f"x {ratio:.3f}"


def _amplification_table(rows: list[dict[str, Any]], formats: dict[str, Formats], symbols: dict[str, list[str]]) -> Any:
    """One row a refill model; with several instruments one an instrument, then one a settlement asset they share."""
    alone = len(formats) == 1
    by_asset = {asset: formats[settled[0]] for asset, settled in symbols.items()}

    def cells(row: dict[str, Any]) -> list[str]:
        money = by_asset[row["asset"]].money
        return [
            *([] if alone else [row["symbol"], row["asset"]]),
            row["refill"],
            f"{row['accounts_overlay']:,}",
            f"{row['accounts_shadow']:,}",
            _ratio(row["accounts_overlay"], row["accounts_ratio"]),
            money(row["notional_overlay"]),
            money(row["notional_shadow"]),
            _ratio(row["notional_overlay"], row["notional_ratio"]),
        ]

    names = ["refill model", "accounts overlay"] if alone else ["instrument", "asset", "refill", "accounts\noverlay"]
    value = f"{next(iter(by_asset))} overlay" if alone else "value\noverlay"
    title = "liquidated with feedback (overlay) against without (shadow)"
    return table(title, [*names, "shadow", "amplification", value, "shadow", "amplification"], map(cells, rows))


def _sensitivity_table(rows: list[dict[str, Any]]) -> Any:
    several = len({row["asset"] for row in rows}) > 1
    header = ("largest size", "ten largest hold", "accounts overlay", "shadow", "amplification", "by notional")
    return table(
        f"the same with other size truncations (refill {rows[0]['refill']})",
        [*header, "asset"] if several else header,
        [
            (
                f"{row['size_truncation']:,} medians",
                f"{row['top_ten_share']:.2%}",
                f"{row['accounts_overlay']:,}",
                f"{row['accounts_shadow']:,}",
                _ratio(row["accounts_overlay"], row["accounts_ratio"]),
                _ratio(row["notional_overlay"], row["notional_ratio"]),
                *([row["asset"]] if several else []),
            )
            for row in rows
        ],
    )
