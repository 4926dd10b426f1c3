"""`Exchange`: the venue as its users hold it. Commands go in as records, outcomes come out as records."""

import copy
import hashlib

import numpy as np

from exchange import audit, codes, config, schema, state
from exchange.core.loop import run as run_kernel
from exchange.dump import dump
from exchange.errors import InvariantError
from exchange.rows import copied, joined
from exchange.views import Views

FOREVER_NS = 2**62
EVENTS_PER_CALL = 4_096  # outcomes of that many events stay in the processor's cache until they are drained


class Exchange(Views):
    """A derivatives venue: book, ledger, prices, margin and liquidation behind one event loop.

    Parameters
    ----------
    venue : config.Venue
        Instruments, policies and capacities; validated here.

    Examples
    --------
    >>> exchange = Exchange(build_venue(load_profile("binance_um")))  # doctest: +SKIP
    >>> exchange.submit(events); exchange.run(); exchange.outcomes()  # doctest: +SKIP
    """

    def __init__(self, venue: config.Venue):
        self.venue = venue
        self.compiled = config.compile_venue(venue)
        self.state = state.allocate(venue)
        self._pending: list[np.ndarray] = []
        self._drained: list[np.ndarray] = []
        self._changes: list[np.ndarray] = []
        self._digest = hashlib.blake2b(digest_size=20)

    def submit(self, events: np.ndarray) -> None:
        """Queue events (schema.EVENT); they are copied. One whose ts_ns goes back is answered OUT_OF_ORDER.

        Raises
        ------
        ValueError
            When the dtype is another.
        """
        if events.dtype != schema.EVENT:
            raise ValueError(f"events must have dtype exchange.schema.EVENT, got {events.dtype}")
        if not len(events):
            return
        self._pending.append(copied(events))

    def run(self, until: int | None = None) -> int:
        """Process queued events with ts_ns < until and every timer due before it.

        Without `until`: all queued events, and only the timers due before the last of them, so that what is
        submitted later cannot come too late.

        Returns
        -------
        int
            codes.NEED_INPUT when the queue is used up, codes.DONE when events at or after `until` are left.

        Raises
        ------
        InvariantError
            When money or positions no longer add up. The state is then unusable.
        """
        until_ns = FOREVER_NS if until is None else until
        code = codes.NEED_INPUT
        while True:
            events = self._pending[0] if self._pending else np.zeros(0, schema.EVENT)
            last = len(self._pending) < 2
            horizon_ns = (
                (0 if until is None else until_ns) if last else min(int(self._pending[1]["ts_ns"][0]), until_ns)
            )
            code = self._run_array(events, until_ns, horizon_ns)
            if code == codes.DONE or last:
                break
        return code

    def _run_array(self, events: np.ndarray, until_ns: int, horizon_ns: int) -> int:
        control, first = self.state.io.control[0], 0
        while True:
            part = events[: first + EVENTS_PER_CALL]
            ends = len(part) == len(events)
            stop_ns = horizon_ns if ends else min(int(events[len(part)]["ts_ns"]), until_ns)
            code = int(run_kernel(self.state, part, part.view(schema.TERMS), first, until_ns, stop_ns))
            first = int(control["next_event"])
            self._drain()
            if code == codes.NEED_INPUT and not ends:
                continue
            if code == codes.BROKEN:
                raise InvariantError(f"money or positions do not add up after event {int(control['event_seq'])}")
            if code != codes.OUTBOX_FULL:
                break
        if self._pending:
            if first >= len(events):
                self._pending.pop(0)
            else:
                self._pending[0] = events[first:]
        return code

    def _drain(self) -> None:
        control = self.state.io.control[0]
        count = int(control["outbox_count"])
        if count:
            chunk = copied(self.state.io.outbox[:count])
            control["outbox_count"] = 0
            self._digest.update(memoryview(chunk).cast("B"))
            self._drained.append(chunk)
        pool = self.state.book.pools[0]
        if changed := int(pool["change_count"]):
            self._changes.append(copied(self.state.book.changes[:changed]))
            pool["change_count"] = 0

    def outcomes(self) -> np.ndarray:
        """Outcomes since the last call (schema.OUTCOME), in order."""
        drained, self._drained = self._drained, []
        return joined(drained, schema.OUTCOME)

    def digest(self) -> str:
        """Digest of every outcome so far: equal configuration and events give an equal digest."""
        return self._digest.hexdigest()

    def state_digest(self) -> str:
        """Digest of the live content of the state, guards left out because they are derived."""
        return hashlib.blake2b(repr(dump(self.state)).encode(), digest_size=20).hexdigest()

    def audit(self, full: bool = True) -> None:
        """Check the invariants of DESIGN §5; `full` also recomputes every unit, queue and guard.

        Raises
        ------
        InvariantError
            Naming the rule and the place.
        """
        audit.check(self.state, full)

    def copy(self) -> "Exchange":
        """An independent copy: what happens to it does not happen here."""
        twin = copy.copy(self)
        twin.state = state.State(
            *(type(group)(*(state.aligned_copy(array) for array in group)) for group in self.state)
        )
        twin._pending = list(self._pending)
        twin._drained = list(self._drained)
        twin._changes = list(self._changes)
        twin._digest = self._digest.copy()
        return twin

    def book_changes(self) -> np.ndarray:
        """What the queues went through since the last call (schema.BOOK_CHANGE), in order; `publish_book` is needed.

        Apart from the outcomes and their digest. `book_stream.Book` rebuilds the book from it.
        """
        changes, self._changes = self._changes, []
        return joined(changes, schema.BOOK_CHANGE)
