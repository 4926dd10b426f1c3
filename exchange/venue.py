"""`Exchange`: the venue as its users hold it. Commands go in as records, outcomes come out as records."""

import copy
import hashlib
from typing import Any

import numpy as np

from exchange import audit, codes, config, schema, state
from exchange.core.loop import run as run_kernel
from exchange.core.views import sum_levels, unit_equity, unit_health, walked_price
from exchange.dump import dump, used_of
from exchange.errors import InvariantError

FOREVER_NS = 2**62
IMPACT_LOTS_MAX = 2**31 - 1  # times a price it stays below 2**62
EVENTS_PER_CALL = 4_096  # outcomes of that many events stay in the processor's cache until they are drained


class Exchange:
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
        self._pending.append(schema.copied(events))

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
            chunk = schema.copied(self.state.io.outbox[:count])
            control["outbox_count"] = 0
            self._digest.update(memoryview(chunk).cast("B"))
            self._drained.append(chunk)

    def outcomes(self) -> np.ndarray:
        """Outcomes since the last call (schema.OUTCOME), in order."""
        drained, self._drained = self._drained, []
        return schema.joined(drained, schema.OUTCOME)

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
        twin._digest = self._digest.copy()
        return twin

    @property
    def clock_ns(self) -> int:
        return int(self.state.io.control[0]["clock_ns"])

    @property
    def events_processed(self) -> int:
        """Events so far, timers included."""
        return int(self.state.io.control[0]["event_seq"])

    @property
    def markets(self) -> np.ndarray:
        """schema.MARKET records by instrument (live, read only)."""
        return self.state.prices.markets

    @property
    def books(self) -> np.ndarray:
        """schema.BOOK records by instrument (live, read only)."""
        return self.state.book.books

    def best(self, instrument: int) -> tuple[int, int]:
        """Best bid and ask in ticks; 0 = none."""
        bid, ask = self.books[instrument]["best_ticks"]
        return int(bid), int(ask)

    def levels(self, instrument: int, side: int, count: int) -> np.ndarray:
        """The best `count` levels of a side as an (n, 2) int64 array of ticks and lots."""
        return np.array(audit.walk_levels(self.state.book, instrument, side, count), np.int64).reshape(-1, 2)

    def depth_lots(self, instrument: int, side: int, ppm: int) -> int:
        """Lots of a side within `ppm` of the mid; 0 when a side is empty."""
        bid, ask = self.best(instrument)
        if not bid or not ask:
            return 0
        reach = (bid + ask) * ppm // 2_000_000
        limit = (bid + ask) // 2 - reach if side == codes.BID else -(-(bid + ask) // 2) + reach
        return int(sum_levels(self.state.book, instrument, side, limit))

    def impact_price(self, instrument: int, side: int, lots: int) -> int | None:
        """Average price in ticks, rounded down, of the best `lots` of a side; None where it has fewer."""
        if not 1 <= lots <= IMPACT_LOTS_MAX:
            raise ValueError(f"lots must be 1..{IMPACT_LOTS_MAX}, got {lots}")
        return int(walked_price(self.state.book, instrument, side, lots)) or None

    def wallet(self, account: int, asset: int = 0) -> Any:
        """schema.WALLET record of an account in an asset."""
        return self.state.ledger.wallets[account * len(self.venue.assets) + asset]

    def position(self, account: int, instrument: int) -> Any:
        """schema.POSITION record, or None."""
        asset = int(self.compiled.instruments[instrument]["asset"])
        positions = self.state.ledger.positions
        p = int(self.wallet(account, asset)["first_position"])
        while p and positions[p]["instrument"] != instrument:
            p = int(positions[p]["next"])
        return positions[p] if p else None

    def liquidation_price(self, account: int, instrument: int) -> int | None:
        """Mark in sub-ticks that breaches a user's unit of one leg; None for other units, or when no mark does."""
        positions = self.state.ledger.positions
        p = int(self.wallet(account, int(self.compiled.instruments[instrument]["asset"]))["first_position"])
        found = cross_legs = 0
        while p:
            found = p if positions[p]["instrument"] == instrument else found
            cross_legs += bool(positions[p]["lots"]) and positions[p]["mode"] == codes.CROSS
            p = int(positions[p]["next"])
        if not found or account == codes.INSURANCE or (positions[found]["mode"] == codes.CROSS and cross_legs != 1):
            return None
        guard = 2 * found + (0 if positions[found]["lots"] > 0 else 1)
        return int(self.state.guards.guards[guard]["mark_sub"]) or None

    def equity(self, account: int, asset: int = 0) -> int:
        """Cash, isolated margins and profit at the mark of one account, in quanta."""
        wallet = account * len(self.venue.assets) + asset
        ledger, prices = self.state.ledger, self.state.prices
        equity = int(unit_equity(ledger, prices, wallet))
        p = int(ledger.wallets[wallet]["first_position"])
        while p:
            if ledger.positions[p]["mode"] == codes.ISOLATED:
                equity += int(unit_equity(ledger, prices, -p))
            p = int(ledger.positions[p]["next"])
        return equity

    def liquidating(self) -> list[int]:
        """Users with a unit in liquidation, or waiting for it, that is still below its maintenance margin."""
        ledger, prices, assets = self.state.ledger, self.state.prices, len(self.venue.assets)
        wallets = np.flatnonzero(ledger.wallets["stage"]).tolist()
        positions = np.flatnonzero(ledger.positions["stage"]).tolist()
        owners = [(unit, unit) for unit in wallets] + [(-p, int(ledger.positions[p]["wallet"])) for p in positions]
        found = {wallet // assets for unit, wallet in owners if int(unit_health(ledger, prices, unit)) < 0}
        return sorted(account for account in found if account >= codes.FIRST_USER)

    def fund_equity(self, asset: int = 0) -> int:
        """Equity of the insurance fund, its inherited positions at the mark, in quanta."""
        return self.equity(codes.INSURANCE, asset)

    def throttle_used(self, limit: int, account: int) -> int:
        """Tokens that count now against a limit for an account, or its group; part of one counts as one."""
        gate, groups, accounts = self.state.gate, self.state.ledger.groups, int(self.compiled.policy[0]["accounts"])
        grouped = gate.limits[limit]["by_group"] and 0 < groups[account] < accounts
        key = accounts + int(groups[account]) if grouped else account
        meter, terms = gate.meters[key * len(gate.limits) + limit], gate.limits[limit]
        amount = used_of(terms, int(meter["level"]), int(meter["ts_ns"]), self.clock_ns)
        return -(-amount // int(terms["interval_ns"])) if terms["kind"] == codes.BUCKET else amount

    def quotes(self, account: int) -> tuple[int, int]:
        """Orders and amendments of an account that were accepted, and those that had a fill; (0, 0) if not counted."""
        conduct = self.state.gate.conduct
        return (int(conduct[account]["quotes"]), int(conduct[account]["filled"])) if account < len(conduct) else (0, 0)

    def quote_fill_ratio_ppm(self, account: int) -> int:
        """Quotes filled in millionths of quotes submitted; 0 without any."""
        submitted, filled = self.quotes(account)
        return filled * 1_000_000 // max(1, submitted)

    def gateway_length(self) -> int:
        """Commands that wait in the gateway's queue."""
        return int(self.state.gate.gate[0]["count"])
