"""One instrument's book: per side a SortedDict of price levels, each a queue of orders, oldest first."""

from collections.abc import Iterator

from sortedcontainers import SortedDict

from exchange import codes
from exchange.reference.records import ExternalLevel, Order

Queue = dict[int, Order]  # by serial, in order of arrival


class Book:
    """Prices in ticks, quantities in lots. Keys are negated on the bid side, so that the best level comes first.

    Attributes
    ----------
    externals : dict
        External levels by (side, ticks), oldest first, also those whose size is all displaced.
    tops : list
        By side the order that last set a new best price, None when it left.
    """

    def __init__(self) -> None:
        self._sides: tuple[SortedDict, SortedDict] = (SortedDict(), SortedDict())
        self.externals: dict[tuple[int, int], ExternalLevel] = {}
        self._joined = 0
        self.tops: list[Order | None] = [None, None]

    def best(self, side: int) -> int:
        """Best price of a side, 0 when it is empty."""
        levels = self._sides[side]
        return abs(levels.peekitem(0)[0]) if levels else 0

    def queue(self, side: int, ticks: int) -> Queue:
        """The orders of a price that has some."""
        orders: Queue = self._sides[side][_key(side, ticks)]
        return orders

    def levels(self, side: int) -> Iterator[tuple[int, list[Order]]]:
        """Copies of the levels, best first."""
        for key, queue in list(self._sides[side].items()):
            yield abs(key), list(queue.values())

    def levels_within(self, side: int, limit_ticks: int) -> Iterator[tuple[int, list[Order]]]:
        """Copies of the levels that a taker from the other side with this limit may reach, best first."""
        for ticks, orders in self.levels(side):
            if not is_within(side, ticks, limit_ticks):
                return
            yield ticks, orders

    def join(self, order: Order) -> None:
        """Put an order at the tail of its level; one that improves the best price is the side's top order."""
        self._joined += 1
        order.joined = self._joined
        best = self.best(order.side)
        if not best or _key(order.side, order.ticks) < _key(order.side, best):
            self.tops[order.side] = order
        self._sides[order.side].setdefault(_key(order.side, order.ticks), {})[order.serial] = order

    def leave(self, order: Order) -> None:
        """Take an order out of its level."""
        if self.tops[order.side] is order:
            self.tops[order.side] = None
        levels, key = self._sides[order.side], _key(order.side, order.ticks)
        del levels[key][order.serial]
        if not levels[key]:
            del levels[key]

    def is_queued(self, order: Order) -> bool:
        """Whether the order stands in its level."""
        return order.serial in self._sides[order.side].get(_key(order.side, order.ticks), {})

    def refresh(self, level: ExternalLevel) -> None:
        """Bring a level's only order in line with it: it keeps its place, leaves at 0, returns at the tail."""
        (order,) = level.parts
        order.leaves_lots = level.lots - level.displaced_lots
        queued = self.is_queued(order)
        if order.leaves_lots and not queued:
            self.join(order)
        elif queued and not order.leaves_lots:
            self.leave(order)

    def cut_part(self, part: Order, lots: int) -> None:
        """Take lots out of one order of an external level; with nothing left it goes, but for the level's last."""
        part.leaves_lots -= lots
        if not part.leaves_lots:
            self.leave(part)
            level = part.external
            assert level is not None
            level.parts = [other for other in level.parts if other is not part] or [part]

    def remove_external(self, level: ExternalLevel) -> None:
        """Drop an external level with what is displaced of it; it keeps its first order, out of the queue."""
        for part in level.parts:
            if self.is_queued(part):
                self.leave(part)
        level.parts = level.parts[:1]
        del self.externals[level.side, level.ticks]

    def best_external(self, side: int) -> int:
        """Best recorded price of a side whether displaced or not, 0 when there is none."""
        prices = [ticks for level_side, ticks in self.externals if level_side == side]
        if not prices:
            return 0
        return max(prices) if side == codes.BID else min(prices)


def _key(side: int, ticks: int) -> int:
    return -ticks if side == codes.BID else ticks


def is_within(side: int, ticks: int, limit_ticks: int) -> bool:
    """Whether a resting price of `side` is at or better than the limit of a taker from the other side."""
    return ticks >= limit_ticks if side == codes.BID else ticks <= limit_ticks
