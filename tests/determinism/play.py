"""A scenario, the ways to run it, and the fingerprint that every way must give.

Equal in every column: the bytes of all outcomes, the live content of the state (guards are derived and left out), the
counters of the loop and how often each outcome kind and code was given. `config` and `input` say what was run.

Reversed creation: a scenario starts with its creation phase, in which accounts are funded, get their position slots and
in places a first position. With the accounts in reversed order each creation event still gives its one outcome, at
another place; so these outcomes are put back in the straight order, their place (`seq`, `cause_seq`) left where it was.
Everything after the creation phase, the final state and the counters must be equal as they are, because no rule orders
accounts by when they came: ties go by account id. The one exception is meant: in a pool that fills up during creation
who comes last gets no slot, so no scenario fills one there.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from exchange import codes, config, schema
from exchange.venue import Exchange

AFTER_NS = 2_000_000_000  # timers due that long after the last event still fire
QUEUED = 64  # events in one queued piece where the run is stopped by time
RESUME_EVERY = 7
REPEATED = 20  # one campaign seed in so many is run twice
COUNTERS = ("clock_ns", "event_seq", "outcome_seq", "timer_seq", "timer_count", "liquidation_seq", "position_high",
            "guard_checks", "rejected")

Fingerprint = dict[str, Any]


class Scenario(NamedTuple):
    name: str
    venue: config.Venue
    creation: np.ndarray  # schema.EVENT: every account's first rows, one outcome each
    events: np.ndarray  # schema.EVENT: all that follows

    @property
    def rows(self) -> np.ndarray:
        return np.concatenate([self.creation, self.events])


def digest_of(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def digest_of_table(table: Any) -> str:
    """Digest of plain values, by their canonical JSON."""
    return digest_of(json.dumps(table, sort_keys=True).encode())


def pieces(rows: np.ndarray, length: int) -> list[np.ndarray]:
    return [rows[start:start + length] for start in range(0, len(rows), length)]


def fingerprint(scenario: Scenario, exchange: Exchange, outcomes: np.ndarray) -> Fingerprint:
    """What must be equal, in parts, so that a difference says where it is."""
    control = exchange.state.io.control[0]
    given = Counter(zip(outcomes["kind"].tolist(), outcomes["code"].tolist(), strict=True))
    return {"config": digest_of_table(config.to_table(scenario.venue)), "input": digest_of(scenario.rows.tobytes()),
            "outcomes": digest_of(outcomes.tobytes()), "state": exchange.state_digest(),
            "counters": {name: int(control[name]) for name in COUNTERS},
            "given": {f"{codes.OUTCOME_NAME[kind]} {codes.RESULT_NAME[code]}": times
                      for (kind, code), times in sorted(given.items())}}


def result_digest(found: Fingerprint) -> str:
    """One digest of all that a run gave; of what was run there are digests beside it."""
    return digest_of_table({part: found[part] for part in ("outcomes", "state", "counters", "given")})


def differences(one: Fingerprint, other: Fingerprint) -> list[str]:
    """Names of the parts in which two fingerprints differ."""
    return [part for part in one if one[part] != other[part]]


def finish(exchange: Exchange, scenario: Scenario) -> np.ndarray:
    """Fire the timers that are left; returns the outcomes since the last call."""
    exchange.run(int(scenario.events["ts_ns"].max()) + AFTER_NS)
    return exchange.outcomes()


def play(scenario: Scenario, batch: int = 0) -> Fingerprint:
    """Submit `batch` events at a time (0 = all), run, drain."""
    exchange, drained = Exchange(scenario.venue), []
    for piece in pieces(scenario.rows, batch or len(scenario.rows)):
        exchange.submit(piece)
        exchange.run()
        drained.append(exchange.outcomes())
    return fingerprint(scenario, exchange, np.concatenate([*drained, finish(exchange, scenario)]))


def play_stopping(scenario: Scenario) -> Fingerprint:
    """Queue everything in pieces, then run from one moment to the next."""
    exchange = Exchange(scenario.venue)
    for piece in pieces(scenario.rows, QUEUED):
        exchange.submit(piece)
    for until_ns in sorted(scenario.events["ts_ns"][::RESUME_EVERY].tolist()):
        exchange.run(until_ns)
    return fingerprint(scenario, exchange, finish(exchange, scenario))


def play_resuming(scenario: Scenario, every: int = RESUME_EVERY) -> Fingerprint:
    """A copy takes over at every k-th event; the one it was made from goes on first, which must not show in it."""
    exchange = Exchange(scenario.venue)
    for piece in pieces(scenario.rows, every):
        twin = exchange.copy()
        for each in (exchange, twin):
            each.submit(piece)
            each.run()
        exchange = twin
    return fingerprint(scenario, exchange, finish(exchange, scenario))


def play_reversed(scenario: Scenario) -> Fingerprint:
    """Create the accounts in reversed order; creation outcomes are put back in the straight one (see above)."""
    creation = scenario.creation
    order = np.lexsort((-creation["account"], creation["kind"] == codes.OPEN_POSITION))
    exchange, count = Exchange(scenario.venue), len(order)
    exchange.submit(np.concatenate([creation[order], scenario.events]))
    exchange.run()
    outcomes = np.concatenate([exchange.outcomes(), finish(exchange, scenario)])
    straight = outcomes.copy()
    straight[order] = outcomes[:count]
    for place in ("seq", "cause_seq"):
        straight[place][:count] = outcomes[place][:count]
    return fingerprint(scenario, exchange, straight)


def is_repeated(seed: int) -> bool:
    """Is this one of the 5 % of a campaign's seeds that are run twice?"""
    return seed % REPEATED == 7


def repeat_differences(world: Callable[[], tuple[config.Venue, np.ndarray]]) -> list[str]:
    """Make a venue and its events and run them, twice; the parts of the fingerprint that differ."""
    return differences(*(play(Scenario("", venue, np.zeros(0, schema.EVENT), events))
                         for venue, events in (world(), world())))
