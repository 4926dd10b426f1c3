"""What commands print: tables for people, one JSON document for programs. Results go to stdout."""

import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from exchange import codes
from exchange.config import Venue
from exchange.liquidity import Impact
from replay import __version__
from replay.index import describe
from replay.plays import variants_of
from replay.scenario import Scenario
from replay.session import Results
from replay.shock import Shock
from replay.tables import run_tables, table, unit_of
from replay.tape import Tape
from replay.times import recorded_until

PPM = 1_000_000


def print_json(document: Any) -> None:
    """One indented JSON document."""
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def print_table(one: Any) -> None:
    """One table, or one line."""
    _console().print(one)


def say(json: bool, line: str) -> None:
    """A line beside the tables; a JSON document stands alone."""
    if not json:
        print(line)


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


def print_results(scenario: Scenario, results: Results, out: Path | None) -> None:
    """Population, one column a variant, and what the feedback made of it."""
    document = msgspec.to_builtins(results)
    _print_tables(document, scenario.venue, scenario.shocks, scenario.table())
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

    venue = config.build_venue(record["config"]["venue"])
    shocks = msgspec.convert(record["config"]["shocks"], list[Shock])
    print(f"run {record['run_id']}, version {record['version']}, {record['tape']['events']:,} tape events")
    _print_tables(record["results"], venue, shocks, record["config"])
    print(f"run {record['run_id']}")


def _print_tables(document: dict[str, Any], venue: Venue, shocks: Sequence[Shock], config: dict[str, Any]) -> None:
    console = _console()
    feed = ", ".join(config["feed"]["files"]) or "synthetic market"
    console.print(
        f"{feed} · venue {venue.name} · mark {venue.mark.source} · "
        f"index feedback {venue.index.feedback_ppm / 10_000:g} % · "
        f"forced volume in the recording {document['recorded_forced_share']:.2%}"
    )
    for line in (*document["index"], *document.get("recorded_until", ())):
        console.print(line)
    console.print(liquidity_label(venue))
    units = {instrument.symbol: unit_of(instrument) for instrument in venue.instruments}
    first = document["figures"][0]["symbol"]  # takes the orders that name none
    for label in [shock.label(units[shock.symbol or first]) for shock in shocks] or ["no shock"]:
        console.print(f"shock: {label}")
    for one in run_tables(document, venue):
        console.print(one)


def liquidity_label(venue: Venue) -> str:
    """The policies that answer simulated flow: refill half-life, queue model, price impact."""
    depth, queue = venue.depth, venue.queue
    exponent = f" of exponent {queue.exponent}" if queue.model == "power" else ""
    words = f"half-life of eaten depth (decay) {depth.half_life_ns / 1e9:g} s · queue model {queue.model}{exponent}"
    labels = [f" of {i.symbol}: {_impact_label(i.impact, unit_of(i))}" for i in venue.instruments if i.impact]
    shared = [unit_of(i) for i in venue.instruments if i.impact is None]
    if shared:
        labels.insert(0, f": {_impact_label(venue.impact, ' or '.join(dict.fromkeys(shared)))}")
    return " · ".join([words, *(f"price impact{label}" for label in labels)])


def _impact_label(impact: Impact, unit: str) -> str:
    if impact.model == "none":
        return "none"
    power = "square root of flow" if impact.shape == "square_root" else "linear"
    return (
        f"shift, {impact.decaying_ppm / 10_000:g} % per {impact.volume} {unit} ({power}) with half-life "
        f"{impact.half_life_ns / 1e9:g} s, {impact.permanent_ppm / 10_000:g} % (linear) permanent, by {impact.flow} "
        f"simulated takers, every {impact.period_ns / 1e9:g} s, in overlay alone"
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
        "recorded_until": recorded_until(tape),
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
        table(
            "instruments",
            ("symbol", "kind", "tick", "lot", "mark per tick"),
            [(spec.symbol, spec.kind, spec.tick, spec.lot, spec.mark_per_tick) for spec in tape.instruments],
        )
    )
    for line in (*document["index"], *document["recorded_until"]):
        console.print(line)
    console.print(
        table("events", ("kind", "count"), [(kind, f"{count:,}") for kind, count in document["kinds"].items()])
    )
    if tape.sources:
        console.print(
            table(
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
