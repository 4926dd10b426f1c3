"""From a scenario's feed to its tape: captures are read, tapes opened, synthetic markets generated."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

from exchange import codes
from exchange.config import Venue
from exchange.errors import ConfigError, FeedError
from replay.index import with_indices
from replay.scenario import Scenario
from replay.tape import InstrumentSpec, Tape, TapeMeta, merge, spec_of
from replay.times import Span, check_after, check_holes


def open_feed(scenario: Scenario) -> Tape:
    """The scenario's tape, with instruments in the venue's order.

    Raises
    ------
    FeedError, ConfigError
        When a file cannot be read, or its instruments are not the venue's.
    """
    specs = tuple(spec_of(instrument) for instrument in scenario.venue.instruments)
    if scenario.feed.synthetic is not None:
        from replay.synthetic.market import generate

        report = {"feed": "synthetic"} | msgspec.to_builtins(scenario.feed.synthetic)
        return Tape(generate(scenario.feed.synthetic, scenario.venue), TapeMeta(specs, reports=(report,)))
    tape = in_venue_order(read_files(_paths(scenario.feed.files), specs), scenario.venue)
    if scenario.feed.extrapolate_ppm:
        from replay.feeds.extrapolation import extrapolate

        tape = extrapolate(tape, scenario.feed.extrapolate_ppm)
    source = _index_source(_paths(scenario.feed.index)) if scenario.feed.index else None
    return with_indices(tape, source, scenario.venue)


def _paths(files: Sequence[str]) -> list[Path]:
    return [Path(file) for file in files]


def read_files(paths: Sequence[Path], specs: Sequence[InstrumentSpec]) -> Tape:
    """Tapes and capture sessions are merged by time; the captures of one session are read in the order given."""
    if tapes_among(paths):
        return _merged([Tape.read(path) for path in paths], [path.name for path in paths])
    from replay import feeds

    found = sessions(paths)
    return _merged([feeds.read(one.paths, one.among(specs)) for one in found], [one.name for one in found])


def convert_files(paths: Sequence[Path], known: Sequence[InstrumentSpec]) -> Tape:
    """Like `read_files`, for any symbol: steps of those not `known` are read off the files."""
    if tapes_among(paths):
        return _merged([Tape.read(path) for path in paths], [path.name for path in paths])
    from replay import feeds

    found = sessions(paths)
    return _merged([feeds.read(one.paths, feeds.infer(one.paths, known)) for one in found], [one.name for one in found])


def _merged(tapes: list[Tape], names: list[str]) -> Tape:
    """One tape of all, where the recordings of a market follow each other and no hole is too long to play."""
    tape = tapes[0]
    if len(tapes) > 1:
        tape = merge(tapes)
        _check_overlap(tapes, names)
    check_holes(tape.rows["ts_ns"], [_span(t.rows, name) for t, name in zip(tapes, names, strict=True) if len(t)])
    return tape


def _span(rows: np.ndarray, name: str) -> Span:
    return Span(int(rows["ts_ns"][0]), int(rows["ts_ns"][-1]), name)


def _check_overlap(tapes: list[Tape], names: list[str]) -> None:
    """Books of one market must not overlap, nor its trades; a tape of its book and one of its trades may."""
    spans: defaultdict[tuple[str, int], list[Span]] = defaultdict(list)
    for tape, name in zip(tapes, names, strict=True):
        for place, spec in enumerate(tape.instruments):
            own = tape.rows[tape.rows["instrument"] == place]
            for kind in (codes.LEVEL_SET, codes.TRADE_PRINT):
                rows = own[own["kind"] == kind]
                if len(rows):
                    spans[spec.symbol, kind].append(_span(rows, name))
    for of_market in spans.values():
        for before, after in pairwise(sorted(of_market)):
            check_after(after.name, after.start_ns, before)


class CaptureSession(msgspec.Struct):
    """Captures that continue each other: those that share a market, in the order given."""

    paths: list[Path]
    markets: dict[str, str]  # kind by symbol, as far as the files' beginnings name them

    @property
    def name(self) -> str:
        return " + ".join(path.name for path in self.paths)

    def among(self, specs: Sequence[InstrumentSpec]) -> list[InstrumentSpec]:
        """The specs that these files can hold."""
        name = self.paths[0].name
        if "spot" in self.markets.values():
            raise FeedError(
                name, f"is the spot market of {', '.join(self.markets)}, and no contract; it can be the index: --index"
            )
        kinds = set(self.markets.values())
        found = [spec for spec in specs if spec.kind in kinds] if kinds else list(specs)
        if not found:
            raise ConfigError(
                "$.venue.instruments",
                f"{name} has {', '.join(self.markets)}, the venue only {', '.join(spec.symbol for spec in specs)}; "
                "add the venue's profile, as in --profile binance_um --profile binance_cm",
            )
        return found


def sessions(paths: Sequence[Path]) -> list[CaptureSession]:
    """Group captures by the markets they hold. A file whose beginning names none belongs to the one before it."""
    from replay import feeds

    found: list[CaptureSession] = []
    for path in paths:
        markets = dict(feeds.contracts(path))
        same = [one for one in found if not (markets and one.markets) or one.markets.items() & markets.items()]
        if same:
            same[-1].paths.append(path)
            same[-1].markets |= markets
        else:
            found.append(CaptureSession([path], markets))
    return found


def _index_source(paths: list[Path]) -> Tape:
    """One market, spot or contract, whose book makes the index."""
    tape = convert_files(paths, ())
    if len(tape.instruments) != 1:
        symbols = ", ".join(spec.symbol for spec in tape.instruments)
        raise FeedError("$.feed.index", f"expected one market to take the index of, got {symbols}")
    return tape


def tapes_among(paths: Sequence[Path]) -> bool:
    """Whether the files are tapes rather than captures; a mixture is refused, as is a file that is not there."""
    found = []
    for path in paths:
        if not path.is_file():
            raise FeedError(str(path), "no such file; expected a tape or a capture")
        with open(path, "rb") as file:
            found.append(file.read(4) == b"PAR1")
    if any(found) and not all(found):
        raise FeedError(
            str(paths[found.index(True)]), "is a tape among captures; convert the captures first, then replay the tapes"
        )
    return any(found)


def in_venue_order(tape: Tape, venue: Venue) -> Tape:
    """The same events with `instrument` as the place in the venue."""
    symbols = [instrument.symbol for instrument in venue.instruments]
    places = []
    for spec in tape.instruments:
        if spec.symbol not in symbols:
            raise ConfigError(
                "$.venue.instruments",
                f"the feed has {spec.symbol}, the venue only {', '.join(symbols)}; add it, or choose another profile",
            )
        k = symbols.index(spec.symbol)
        if spec_of(venue.instruments[k]) != spec:
            raise ConfigError(
                f"$.venue.instruments[{k}]",
                f"the tape was made with {msgspec.to_builtins(spec)}; set tick, lot and "
                "mark_per_tick to that, or convert the capture again",
            )
        places.append(k)
    if places == list(range(len(symbols))):
        return tape
    tape.rows["instrument"] = np.where(
        tape.rows["instrument"] < 0, tape.rows["instrument"], np.array(places, np.int16)[tape.rows["instrument"]]
    )
    return Tape(tape.rows, msgspec.structs.replace(tape.meta, instruments=tuple(spec_of(i) for i in venue.instruments)))
