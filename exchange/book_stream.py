"""A book rebuilt from what `Exchange.book_changes` hands out: the same levels and queues as the venue's, row by row."""

from typing import NamedTuple

import numpy as np

from exchange import codes


class Queued(NamedTuple):
    """An order in a queue. `order_id` is 0 for recorded size."""

    order_id: int
    account: int
    leaves_lots: int


class Book:
    """One side's queues of every instrument, by (instrument, side) and price in ticks, oldest order first.

    Examples
    --------
    >>> book = Book(); book.apply(exchange.book_changes())  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self.queues: dict[tuple[int, int], dict[int, dict[int, Queued]]] = {}

    def load(self, instrument: int, side: int, orders: np.ndarray) -> None:
        """Start from what the venue shows (schema.BOOK_ORDER of `Exchange.book_orders`) in place of what was there."""
        queues: dict[int, dict[int, Queued]] = {}
        for row in orders.tolist():
            order_id, _, slot, account, ticks, leaves_lots = row
            queues.setdefault(ticks, {})[slot] = Queued(order_id, account, leaves_lots)
        self.queues[instrument, side] = queues

    def apply(self, changes: np.ndarray) -> None:
        """Take rows (schema.BOOK_CHANGE) in, all of them in their order."""
        for row in changes.tolist():
            _, _, order_id, _, slot, account, ticks, leaves_lots, instrument, side, action = row
            queues = self.queues.setdefault((instrument, side), {})
            if action == codes.BOOK_REMOVE:
                del queues[ticks][slot]
                if not queues[ticks]:
                    del queues[ticks]
            else:
                queues.setdefault(ticks, {})[slot] = Queued(order_id, account, leaves_lots)

    def orders(self, instrument: int, side: int) -> list[tuple[int, Queued]]:
        """(ticks, order) of a side, best price first, oldest order first."""
        queues = self.queues.get((instrument, side), {})
        best_first = sorted(queues, reverse=side == codes.BID)
        return [(ticks, order) for ticks in best_first for order in queues[ticks].values()]

    def levels(self, instrument: int, side: int) -> list[tuple[int, int]]:
        """(ticks, lots) of a side, best price first."""
        queues = self.queues.get((instrument, side), {})
        best_first = sorted(queues, reverse=side == codes.BID)
        return [(ticks, sum(order.leaves_lots for order in queues[ticks].values())) for ticks in best_first]


def levels_of(changes: np.ndarray) -> np.ndarray:
    """L2 rows of L3 rows: the last one of each price in each event, whose `level_lots` is what the price then held."""
    if not len(changes):
        return changes
    keys = np.column_stack([changes[name] for name in ("event_seq", "instrument", "side", "ticks")])
    _, first = np.unique(keys[::-1], axis=0, return_index=True)
    return changes[np.sort(len(changes) - 1 - first)]
