"""What commands print: tables for people, one JSON document for programs. Results go to stdout."""

import platform
import sys
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from exchange import codes, units
from exchange.config import Venue
from exchange.liquidity import Impact
from replay import __version__
from replay.entries import moment
from replay.figures import Figures
from replay.index import describe
from replay.plays import variants_of
from replay.scenario import Scenario
from replay.session import Results
from replay.tape import Tape

PPM = 1_000_000


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
            Decimal("0.0001" if own.kind == "inverse" else 1),
            "contracts" if own.kind == "inverse" else "units",
        )

    def money(self, quanta: int) -> str:
        """An amount of the asset, thousands set apart."""
        return f"{(quanta * self.quantum).quantize(self.money_step):,}"

    def size(self, lots: int) -> str:
        """Units of the contract."""
        return f"{(lots * self.lot).normalize():,f}"

    def mark(self, sub: int) -> str:
        """A mark or index price."""
        return f"{(sub * self.tick / self.mark_per_tick).quantize(self.tick):,f}"


def percent(ppm: int) -> str:
    """Ppm as a signed percentage."""
    return f"{ppm / 10_000:+.3f} %"


def print_json(document: Any) -> None:
    """One indented JSON document."""
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def results_document(scenario: Scenario, results: Results) -> dict[str, Any]:
    """What `--json` prints."""
    document: dict[str, Any] = {"name": scenario.name} | msgspec.to_builtins(results)
    return document


def run_record(scenario: Scenario, tape: Tape, results: Results) -> dict[str, Any]:
    """The content of `run.json`; only `timing` and `platform` may differ between equal runs."""
    document: dict[str, Any] = msgspec.to_builtins(results)
    elapsed = document.pop("elapsed_s")
    return {
        "run_id": document.pop("run_id"),
        "version": __version__,
        "config": scenario.table(),
        "tape": {"digest": document.pop("tape_digest"), "events": len(tape)} | msgspec.to_builtins(tape.meta),
        "variants": [{"number": k, "refill": v.refill, "mode": v.mode} for k, v in enumerate(variants_of(scenario))],
        "results": document,
        "platform": {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()},
        "timing": {"elapsed_s": round(elapsed, 3)},
    }


def _console() -> Any:
    from rich.console import Console

    # A pipe has no width of its own: 120 keeps every table whole there.
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 120, highlight=False)


def _table(title: str, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for k, name in enumerate(header):
        table.add_column(name, justify="left" if k == 0 else "right")
    for row in rows:
        table.add_row(*[str(cell) for cell in row])
    return table


def print_results(scenario: Scenario, results: Results, out: Path | None) -> None:
    """Population, one column a variant, and what the feedback made of it."""
    document = msgspec.to_builtins(results)
    _print_tables(document, scenario.venue, [shock.label for shock in scenario.shocks], scenario.table())
    if out is not None:
        print(f"recorded in {out}")
    events = {(f.refill, f.mode): f.events for f in results.figures}  # of the whole run, not of an instrument
    print(f"{sum(events.values()):,} events in {results.elapsed_s:.1f} s")


def print_run(record: dict[str, Any], json: bool) -> None:
    """A recorded run, as it was printed when it ran."""
    if json:
        print_json(record)
        return
    from exchange import config
    from replay.shock import Shock

    venue = config.build_venue(record["config"]["venue"])
    shocks = [msgspec.convert(shock, Shock).label for shock in record["config"]["shocks"]]
    print(f"run {record['run_id']}, version {record['version']}, {record['tape']['events']:,} tape events")
    _print_tables(record["results"], venue, shocks, record["config"])
    print(f"run {record['run_id']}")


def _print_tables(document: dict[str, Any], venue: Venue, shocks: list[str], config: dict[str, Any]) -> None:
    console = _console()
    feed = ", ".join(config["feed"]["files"]) or "synthetic market"
    console.print(
        f"{feed} · venue {venue.name} · mark {venue.mark.source} · "
        f"index feedback {venue.index.feedback_ppm / 10_000:g} % · "
        f"forced volume in the recording {document['recorded_forced_share']:.2%}"
    )
    for line in document["index"]:
        console.print(line)
    console.print(liquidity_label(venue))
    for label in shocks or ["no shock"]:
        console.print(f"shock: {label}")
    figures = [msgspec.convert(row, Figures) for row in document["figures"]]
    for symbol in dict.fromkeys(f.symbol for f in figures):
        formats = Formats.of(venue, symbol)
        if document["population"] and symbol == figures[0].symbol:  # the one that accounts are seeded on
            console.print(_population_table(document["population"], formats))
        console.print(_figures_table(symbol, [f for f in figures if f.symbol == symbol], formats))
        amplified = [row for row in document["amplification"] if row["symbol"] == symbol]
        if amplified:
            console.print(_amplification_table(amplified, formats))
    if document["sensitivity"]:
        console.print(_sensitivity_table(document["sensitivity"]))


def liquidity_label(venue: Venue) -> str:
    """The policies that answer simulated flow: refill half-life, queue model, price impact."""
    depth, queue = venue.depth, venue.queue
    exponent = f" of exponent {queue.exponent}" if queue.model == "power" else ""
    words = f"half-life of eaten depth (decay) {depth.half_life_ns / 1e9:g} s · queue model {queue.model}{exponent}"
    own = [(i.symbol, i.impact) for i in venue.instruments]
    labels = [f" of {symbol}: {_impact_label(impact)}" for symbol, impact in own if impact is not None]
    if len(labels) < len(own):
        labels.insert(0, f": {_impact_label(venue.impact)}")
    return " · ".join([words, *(f"price impact{label}" for label in labels)])


def _impact_label(impact: Impact) -> str:
    if impact.model == "none":
        return "none"
    power = "square root of flow" if impact.shape == "square_root" else "linear"
    return (
        f"shift, {impact.decaying_ppm / 10_000:g} % per {impact.volume} units ({power}) with half-life "
        f"{impact.half_life_ns / 1e9:g} s, {impact.permanent_ppm / 10_000:g} % (linear) permanent, by {impact.flow} "
        f"simulated takers, every {impact.period_ns / 1e9:g} s, in overlay alone"
    )


def _population_table(summary: dict[str, Any], formats: Formats) -> Any:
    def leverage(side: str) -> str:
        p = summary[f"leverage_{side}"]
        if not p:
            return "none"
        return (
            f"p50 {p['p50']:g}x, p80 {p['p80']:g}x, p99 {p['p99']:g}x, by notional {p['weighted']:.1f}x "
            f"({p['wished_weighted']:.1f}x before the tiers capped it)"
        )

    return _table(
        "population",
        ("figure", "value"),
        [
            ("accounts", f"{summary['accounts']:,} ({summary['longs']:,} long, {summary['isolated']:,} isolated)"),
            (
                "open interest",
                (
                    f"{formats.size(summary['open_interest_lots'])} {formats.unit}, "
                    f"{formats.money(summary['open_interest_money'])} {formats.asset}, "
                    f"{summary['open_interest_depth']:g} x the 1 % depth"
                ),
            ),
            ("leverage of longs", leverage("long")),
            ("leverage of shorts", leverage("short")),
            (
                "ten largest accounts / hedgers",
                (
                    f"{summary['top_ten_share']:.2%} of open interest, both sides / "
                    f"{summary['hedgers']} with {summary['hedger_share']:.2%}"
                ),
            ),
            (
                "distance to liquidation",
                ", ".join(f"{name} {ppm / 10_000:.2f} %" for name, ppm in summary["distance_ppm"].items()),
            ),
            ("entries", _entries(summary["entries"])),
            (
                "deposits / insurance fund",
                f"{formats.money(summary['deposits_money'])} / {formats.money(summary['fund_money'])} {formats.asset}",
            ),
        ],
    )


def _entries(entries: dict[str, Any]) -> str:
    """Where entry prices come from, and how many draws would have been liquidated since."""
    if not entries["draws"]:
        return str(entries["source"])
    return (
        f"{entries['source']}\n{moment(entries['from_ns'])} to {moment(entries['to_ns'])}\n"
        f"{entries['rejected'] / entries['draws']:.1%} of {entries['draws']:,} draws rejected as not survived, "
        f"{entries['opened_now']:,} opened now"
    )


def _figures_table(symbol: str, figures: list[Figures], formats: Formats) -> Any:
    rows: list[tuple[str, Any]] = [
        ("liquidated accounts", lambda f: f"{f.liquidated_accounts:,}"),
        ("  of them through the book", lambda f: f"{f.liquidated_through_book:,}"),
        (f"liquidated notional {formats.asset}", lambda f: formats.money(f.liquidated_notional)),
        (f"forced fills {formats.unit}", lambda f: formats.size(f.forced_lots)),
        (f"forced fills {formats.asset}", lambda f: formats.money(f.forced_notional)),
        ("  slippage against the mark", lambda f: percent(f.forced_slippage_ppm)),
        ("  in extrapolated depth", lambda f: f"{f.extrapolated_share:.2%}"),
        (f"liquidation fees {formats.asset}", lambda f: formats.money(f.liquidation_fees)),
        (f"takeovers {formats.asset}", lambda f: formats.money(f.takeover_notional)),
        ("ADL closes", lambda f: f"{f.adl_closes:,}"),
        (f"ADL {formats.asset}", lambda f: formats.money(f.adl_notional)),
        ("deficits paid by the fund", lambda f: f"{f.deficits:,} ({formats.money(f.deficit_money)})"),
        (f"fund start {formats.asset}", lambda f: formats.money(f.fund_start)),
        (f"fund end {formats.asset}", lambda f: formats.money(f.fund_end)),
        ("mark start", lambda f: formats.mark(f.mark_start)),
        ("mark lowest", lambda f: formats.mark(f.mark_min)),
        ("mark end", lambda f: formats.mark(f.mark_end)),
        ("largest move", lambda f: percent(f.price_move_ppm)),
        (f"hedger PnL {formats.asset}", lambda f: formats.money(f.hedger_pnl)),
        (f"open interest end {formats.unit}", lambda f: formats.size(f.open_interest_end)),
        ("recorded levels crossed", lambda f: f"{f.crossed_levels:,}"),
        ("events refused", lambda f: "\n".join(f"{name} {count:,}" for name, count in f.rejected.items()) or "0"),
        ("outcome digest", lambda f: f.digest[:12]),
    ]
    header = ["figure", *(f"{f.refill}\n{f.mode}" for f in figures)]
    return _table(
        f"what happened to {symbol} (refill model and mode)",
        header,
        [[name, *(show(f) for f in figures)] for name, show in rows],
    )


def _ratio(value: float | None) -> str:
    return "none in shadow" if value is None else f"x {value:.3f}"


def _amplification_table(rows: list[dict[str, Any]], formats: Formats) -> Any:
    header = (
        "refill model",
        "accounts overlay",
        "shadow",
        "amplification",
        f"{formats.asset} overlay",
        "shadow",
        "amplification",
    )
    return _table(
        "liquidated with feedback (overlay) against without (shadow)",
        header,
        [
            (
                row["refill"],
                f"{row['accounts_overlay']:,}",
                f"{row['accounts_shadow']:,}",
                _ratio(row["accounts_ratio"]),
                formats.money(row["notional_overlay"]),
                formats.money(row["notional_shadow"]),
                _ratio(row["notional_ratio"]),
            )
            for row in rows
        ],
    )


def _sensitivity_table(rows: list[dict[str, Any]]) -> Any:
    return _table(
        f"the same with other size truncations (refill {rows[0]['refill']})",
        ("largest size", "ten largest hold", "accounts overlay", "shadow", "amplification", "by notional"),
        [
            (
                f"{row['size_truncation']:,} medians",
                f"{row['top_ten_share']:.2%}",
                f"{row['accounts_overlay']:,}",
                f"{row['accounts_shadow']:,}",
                _ratio(row["accounts_ratio"]),
                _ratio(row["notional_ratio"]),
            )
            for row in rows
        ],
    )


def tape_document(tape: Tape) -> dict[str, Any]:
    """A tape's own description."""
    kinds, counts = np.unique(tape.rows["kind"], return_counts=True)
    document: dict[str, Any] = {
        "digest": tape.digest(),
        "events": len(tape),
        "first_ns": int(tape.rows["ts_ns"][0]) if len(tape) else 0,
        "last_ns": int(tape.rows["ts_ns"][-1]) if len(tape) else 0,
        "kinds": {codes.EVENT_NAME[int(kind)]: int(count) for kind, count in zip(kinds, counts, strict=True)},
        "index": describe(tape),
    } | msgspec.to_builtins(tape.meta)
    return document


def print_tape(tape: Tape, json: bool) -> None:
    """A tape: span, instruments, sources, events by kind."""
    document = tape_document(tape)
    if json:
        print_json(document)
        return
    console = _console()
    span = (document["last_ns"] - document["first_ns"]) / 1e9
    console.print(
        f"tape {document['digest'][:16]}: {document['events']:,} events "
        f"over {span:,.1f} s from {document['first_ns']} ns"
    )
    console.print(
        _table(
            "instruments",
            ("symbol", "kind", "tick", "lot", "mark per tick"),
            [(spec.symbol, spec.kind, spec.tick, spec.lot, spec.mark_per_tick) for spec in tape.instruments],
        )
    )
    for line in document["index"]:
        console.print(line)
    console.print(
        _table("events", ("kind", "count"), [(kind, f"{count:,}") for kind, count in document["kinds"].items()])
    )
    if tape.sources:
        console.print(
            _table(
                "sources", ("file", "bytes", "sha256"), [(s.name, f"{s.size:,}", s.sha256[:16]) for s in tape.sources]
            )
        )


def print_profiles(venues: dict[str, Venue], json: bool) -> None:
    """The shipped venue rules, with source and date."""
    if json:
        from exchange.config import to_table

        print_json({name: to_table(venue) for name, venue in venues.items()})
        return
    console = _console()
    for name, venue in venues.items():
        console.print(
            f"{name} ({venue.date}): {', '.join(i.symbol for i in venue.instruments)}; "
            f"mark {venue.mark.source}, index {venue.index.rule}, maker {venue.fees.maker_ppm} / "
            f"taker {venue.fees.taker_ppm} / liquidation {venue.fees.liquidation_ppm} ppm"
        )
        console.print(f"  {venue.source}")
