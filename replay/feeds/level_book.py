"""The book as prices and sizes only, rebuilt from a tape in plain Python: what every faster book must agree with."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from sortedcontainers import SortedDict

from exchange import codes
from replay.tape import Tape


class LevelChange(NamedTuple):
    """One message's effect on a book, complete once `end` rows of the tape were applied.

    `cleared`: everything went before the levels. `levels`: (side, ticks, lots) in tape order, 0 lots = removed.
    """

    end: int
    ts_ns: int
    instrument: int
    cleared: bool
    levels: list[tuple[int, int, int]]


class LevelBook:
    """Lots by ticks for each side; `sides[BID]`, `sides[ASK]`."""

    def __init__(self) -> None:
        self.sides: tuple[SortedDict, SortedDict] = (SortedDict(), SortedDict())

    def apply(self, change: LevelChange) -> None:
        """Take over one message."""
        if change.cleared:
            self.sides[codes.BID].clear()
            self.sides[codes.ASK].clear()
        for side, ticks, lots in change.levels:
            if lots:
                self.sides[side][ticks] = lots
            else:
                self.sides[side].pop(ticks, None)

    def best(self) -> tuple[int, int, int, int]:
        """Best bid ticks and lots, best ask ticks and lots; zeros for an empty side."""
        bids, asks = self.sides
        return (*(bids.peekitem(-1) if bids else (0, 0)), *(asks.peekitem(0) if asks else (0, 0)))

    def crossed(self) -> bool:
        """Whether the best bid is not below the best ask."""
        bids, asks = self.sides
        return bool(bids) and bool(asks) and bids.keys()[-1] >= asks.keys()[0]


def level_book_states(tape: Tape) -> Iterator[LevelChange]:
    """Yield the book changes of a tape, message by message.

    To compare a whole book after every message, compare the changed levels and the number of levels a side: books that
    were equal before and agree in both are equal again.
    """
    kinds = tape.rows["kind"]
    places = np.flatnonzero((kinds == codes.LEVEL_SET) | (kinds == codes.BOOK_CLEAR))
    rows = tape.rows[places]
    columns = (rows[name].tolist() for name in ("kind", "flags", "ts_ns", "instrument", "side", "price", "qty"))
    cleared, levels = False, list[tuple[int, int, int]]()
    for place, kind, flags, ts_ns, instrument, side, ticks, lots in zip(places.tolist(), *columns, strict=True):
        if kind == codes.BOOK_CLEAR:
            cleared, levels = True, []
        else:
            levels.append((side, ticks, lots))
        if flags & codes.LAST:
            yield LevelChange(place + 1, ts_ns, instrument, cleared, levels)
            cleared, levels = False, []
