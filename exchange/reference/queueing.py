"""Queue models: where recorded size that comes or goes stands against the simulated orders of its level."""

from exchange import codes
from exchange.reference.records import ExternalLevel, Order
from exchange.reference.world import World

POWER_BITS, WEIGHT_BITS = 60, 30


def resize(world: World, instrument: int, level: ExternalLevel, printed_lots: int = 0) -> None:
    """Bring the orders of a level to lots - displaced; recorded prints took `printed_lots` of the front."""
    book = world.books[instrument]
    alone = book.is_queued(level.parts[0]) and len(book.queue(level.side, level.ticks)) == 1
    if world.policy.queue == codes.QUEUE_WHOLE_LEVEL or alone:
        book.refresh(level)
        return
    _merge_neighbours(world, instrument, level)
    for part in list(level.parts):
        gone = min(printed_lots, part.leaves_lots)
        printed_lots -= gone
        if gone:
            book.cut_part(part, gone)
    change = level.lots - level.displaced_lots - level.leaves_lots
    if change > 0:
        _join(world, instrument, level, change)
    else:
        _leave(world, instrument, level, -change)


def _merge_neighbours(world: World, instrument: int, level: ExternalLevel) -> None:
    """Parts with no simulated order between them become one, at the place of the older."""
    book, before = world.books[instrument], None
    if not book.is_queued(level.parts[0]):
        return
    for order in list(book.queue(level.side, level.ticks).values()):
        if order.external is not None and before is not None and before.external is not None:
            before.leaves_lots += order.leaves_lots
            book.cut_part(order, order.leaves_lots)
        else:
            before = order


def _join(world: World, instrument: int, level: ExternalLevel, lots: int) -> None:
    """New size stands at the tail; in the last part when that is there, or when no order slot is free."""
    book, last = world.books[instrument], level.parts[-1]
    if not book.is_queued(last):
        last.leaves_lots = lots
        book.join(last)
    elif next(reversed(book.queue(level.side, level.ticks).values())) is last or not world.has_order_slot():
        last.leaves_lots += lots
    else:
        part = world.make_order(0, codes.EXTERNAL, instrument, level.side, level.ticks, lots, 0)
        part.external = level
        level.parts.append(part)
        book.join(part)


def _leave(world: World, instrument: int, level: ExternalLevel, lots: int) -> None:
    """Size goes, part by part from the back: of what goes, the model says how much stood ahead of the part."""
    parts: list[Order] = list(level.parts)
    while lots:
        part = parts.pop()
        ahead = _ahead_lots(world, sum(other.leaves_lots for other in parts), part.leaves_lots, lots)
        if lots > ahead:
            world.books[instrument].cut_part(part, lots - ahead)
        lots = ahead


def _ahead_lots(world: World, front: int, back: int, lots: int) -> int:
    ahead = 0
    if world.policy.queue == codes.QUEUE_POWER:
        weight, other = (_weight(size, front + back, world.policy.queue_exponent) for size in (front, back))
        ahead = lots * weight // (weight + other)
    return min(front, max(ahead, lots - back))


def _weight(size: int, whole: int, exponent: int) -> int:
    """(size / whole) ** exponent in units of 2**-30, floored; the size itself for exponent 1."""
    if exponent == 1:
        return size
    return int(((size << POWER_BITS // exponent) // whole) ** exponent >> (POWER_BITS - WEIGHT_BITS))
