"""From a scenario's feed to its tape: captures are read, tapes opened, synthetic markets generated."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from exchange.config import Venue
from exchange.errors import ConfigError, FeedError
from replay.scenario import Scenario
from replay.tape import InstrumentSpec, Tape, TapeMeta, merge, spec_of


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
    tape = in_venue_order(read_files([Path(file) for file in scenario.feed.files], specs), scenario.venue)
    if scenario.feed.extrapolate_ppm:
        from replay.feeds.extrapolation import extrapolate

        tape = extrapolate(tape, scenario.feed.extrapolate_ppm)
    return tape


def read_files(paths: Sequence[Path], specs: Sequence[InstrumentSpec]) -> Tape:
    """Tapes are merged by time; captures are read as one session, in the order given."""
    tapes = tapes_among(paths)
    if tapes:
        return merge([Tape.read(path) for path in paths]) if len(paths) > 1 else Tape.read(paths[0])
    from replay import feeds

    return feeds.read(paths, specs)


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
