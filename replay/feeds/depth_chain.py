"""Binance's rules for keeping a book: buffer, bridge from a snapshot, check the chain, go stale on a gap."""

from collections import deque
from typing import NamedTuple

from replay.feeds.binance_messages import DepthUpdate, Snapshot

BUFFERED_MAX = 20_000  # messages kept while no snapshot is known; older ones could not be bridged to a later one anyway


class Gap(NamedTuple):
    """A break of the chain: `expected` is the update id that should have come before (futures) or next (spot)."""

    row: int
    expected: int
    got: int
    reason: str


class Pending(NamedTuple):
    """A depth message with its place: `row` in the file, `breaks` when it does not follow the one before it."""

    message: DepthUpdate
    row: int
    breaks: bool


class DepthChain:
    """The state of one symbol's book. Methods say what to put on the tape; nothing is written here."""

    def __init__(self) -> None:
        self.synced = False  # a snapshot was loaded and nothing is missing since
        self.gaps: list[Gap] = []
        self.dropped = 0  # messages lost while no snapshot was known
        self.superseded = 0  # messages older than the snapshot they waited for
        self.redundant_snapshots = 0
        self._bridging = False  # no message was used since the snapshot
        self._snapshot_id = -1
        self._book_id = -1  # final update id of the last message used
        self._arrived: int | None = None  # final update id of the last message that came
        self._buffer: deque[Pending] = deque()

    def depth(self, message: DepthUpdate, row: int) -> tuple[bool, bool]:
        """Take a message as it arrives: (put its levels on the tape, the book has just become stale)."""
        breaks = self._check_arrival(message, row)
        if not self.synced:
            self._keep(Pending(message, row, breaks))
            return False, False
        return self._use(Pending(message, row, breaks))

    def snapshot(self, snapshot: Snapshot) -> tuple[bool, list[DepthUpdate], bool]:
        """Take a snapshot: (put it on the tape, buffered messages to put after it, stale again after those).

        A snapshot that is not newer than an unbroken book says nothing that the book does not know better.
        """
        if self.synced and snapshot.lastUpdateId <= self._book_id:
            self.redundant_snapshots += 1
            return False, [], False
        self.synced, self._bridging, self._snapshot_id = True, True, snapshot.lastUpdateId
        waiting, used = list(self._buffer), []
        self._buffer.clear()
        for place, pending in enumerate(waiting):
            good, stale = self._use(pending)
            if good:
                used.append(pending.message)
            if stale:
                for later in waiting[place + 1 :]:
                    self._keep(later)
                return True, used, True
        return True, used, False

    def finish(self) -> None:
        """At the end: what still waits for a snapshot was dropped."""
        self.dropped += len(self._buffer)
        self._buffer.clear()

    def _check_arrival(self, message: DepthUpdate, row: int) -> bool:
        before, self._arrived = self._arrived, message.u
        if before is None:
            return False
        expected, got = (before, message.pu) if message.pu is not None else (before + 1, message.U)
        if expected == got:
            return False
        self.gaps.append(Gap(row, expected, got, "chain"))
        return True

    def _use(self, pending: Pending) -> tuple[bool, bool]:
        message = pending.message
        futures = message.pu is not None
        if self._bridging:
            base = self._snapshot_id
            if message.u < base or (not futures and message.u == base):
                self.superseded += 1  # the snapshot holds it already
                return False, False
            joins = (
                message.U <= base <= message.u or message.pu == base if futures else message.U <= base + 1 <= message.u
            )
            if not joins:
                self.gaps.append(Gap(pending.row, base if futures else base + 1, message.U, "bridge"))
                return self._stale(pending)
            self._bridging = False
        elif pending.breaks:
            return self._stale(pending)
        self._book_id = message.u
        return True, False

    def _stale(self, pending: Pending) -> tuple[bool, bool]:
        self.synced = False
        self._keep(pending._replace(breaks=False))  # its break was handled by dropping the book
        return False, True

    def _keep(self, pending: Pending) -> None:
        if len(self._buffer) == BUFFERED_MAX:
            self._buffer.popleft()
            self.dropped += 1
        self._buffer.append(pending)
