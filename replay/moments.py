"""A scenario at one moment: its first variant, played up to there, and on to the end where a path is wanted.

Or on from there again and again, each time with other shocks.
"""

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from exchange import schema
from exchange.errors import ConfigError
from exchange.rows import joined
from exchange.venue import Exchange
from replay.inputs import Inputs
from replay.plays import Variant, variants_of
from replay.population import Site
from replay.recorder import NullRecorder
from replay.scenario import Scenario
from replay.session import Session, check_recorded_forced, venue_for
from replay.tape import Tape, level_slots

Visit = Callable[[Exchange, int], None]


class _Enough(Exception):
    """The moment is seen, and nothing after it is wanted."""


class _Visited(Session):
    """Shows its venue `after_ns` after the seeding, when all that came before it has happened."""

    visit: Visit
    after_ns: int
    visited = False
    seeded_ns = seen = 0
    to_end = False
    sites: list[Site]  # the markets at the seeding, by which shocks are measured

    def _begin(self, at: int, last: int) -> None:
        self.sites = [self._site(k, at) for k in self.active]
        super()._begin(at, last)
        self.seeded_ns = at
        if not self.after_ns:
            self._show(at)

    def _advance(self, until: int) -> None:
        moment = self.seeded_ns + self.after_ns
        if self.start and not self.visited and moment <= until:
            super()._advance(moment)
            self._show(moment)
        super()._advance(until)

    def _show(self, ts_ns: int) -> None:
        self.visited, self.seen = True, len(self.kept)
        self.visit(self.exchange, ts_ns)
        if not self.to_end:
            raise _Enough

    def fork(self, shock_rows: np.ndarray) -> "_Visited":
        """The same session at the same moment on a copy of its venue, with other shocks to come."""
        twin = copy.copy(self)
        twin.exchange, twin.shock_rows, twin.next_shock = self.exchange.copy(), shock_rows, 0
        twin.kept, twin.rejected = [], dict(self.rejected)
        return twin

    def go_on(self, until_ns: int, look: Callable[[Exchange, int], None]) -> np.ndarray:
        """Play on interval by interval up to a time, looking at each, and return the outcomes that figures need."""
        at = self.seeded_ns + self.after_ns
        while at < until_ns:
            at = min(at + self.interval_ns, until_ns)
            self._advance(at)
            look(self.exchange, at)
        return joined(self.kept, schema.OUTCOME)


def play_to(
    scenario: Scenario,
    tape: Tape,
    inputs: Inputs,
    after_ns: int,
    visit: Visit,
    to_end: bool = False,
    progress: Callable[[float, str], None] = lambda share, text: None,
) -> np.ndarray:
    """Play the first variant, call `visit(exchange, ts_ns)` at the moment, and return the outcomes after it.

    Without `to_end` the run stops there, and there are none.

    Raises
    ------
    ConfigError
        When the tape ends before the moment.
    """
    session = _played(scenario, tape, inputs, after_ns, visit, to_end, progress)
    return joined(session.kept[session.seen :] if to_end else [], schema.OUTCOME)


def stopped_at(
    scenario: Scenario, tape: Tape, inputs: Inputs, after_ns: int, progress: Callable[[float, str], None]
) -> _Visited:
    """The session of the first variant, stopped at the moment.

    Raises
    ------
    ConfigError
        When the tape ends before the moment.
    """
    return _played(scenario, tape, inputs, after_ns, lambda exchange, ts_ns: None, False, progress)


def _played(
    scenario: Scenario,
    tape: Tape,
    inputs: Inputs,
    after_ns: int,
    visit: Visit,
    to_end: bool,
    progress: Callable[[float, str], None],
) -> _Visited:
    check_recorded_forced(scenario, tape)
    variant: Variant = variants_of(scenario)[0]
    exchange: Any = Exchange(venue_for(scenario, variant, level_slots(tape.rows), inputs))

    def step(share: float) -> None:
        progress(share, variant.label)

    session = _Visited(scenario, tape, variant, 0, exchange, NullRecorder(), step, inputs)
    session.visit, session.after_ns, session.to_end = visit, after_ns, to_end
    with suppress(_Enough):
        session.run()
    if not session.visited:
        played_s = (int(tape.rows["ts_ns"][-1]) - session.seeded_ns) / 1e9
        raise ConfigError("--at", f"{after_ns / 1e9:g} s after seeding; the tape plays {played_s:.1f} s after it")
    return session
