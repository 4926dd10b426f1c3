"""The baseline: a price-time order book for one instrument and nothing else, compiled into one function.

No accounts, no ids, no answers: a message names its order by its place in the pool. It takes the same messages as the
product's book and must end with the same fills, so their ratio is the price of everything the product adds.
"""

from typing import NamedTuple

import numpy as np

from exchange.core.kernel import entry, high_bit, leaf, low_bit

LIMIT, CANCEL, IOC, AMEND = 0, 1, 2, 3
BID, ASK = 0, 1
TICKS = 1 << 18  # three bitmap depths of 64

MESSAGE = np.dtype([("number", "i4"), ("ticks", "i4"), ("lots", "i4"), ("kind", "i2"), ("side", "i2")])
LEVEL = np.dtype([("lots", "i8"), ("head", "i4"), ("tail", "i4")])
ORDER = np.dtype([("leaves_lots", "i4"), ("order_lots", "i4"), ("ticks", "i4"), ("next", "i4"), ("prev", "i4"),
                  ("side", "i4")])


class Ladder(NamedTuple):
    levels: np.ndarray  # LEVEL[ticks]; both sides share them, because a price never holds both
    bits0: np.ndarray  # uint64[2, ticks / 64], a bit for each non-empty level of a side
    bits1: np.ndarray  # uint64[2, ticks / 4096]
    bits2: np.ndarray  # uint64[2, ticks / 262144]
    orders: np.ndarray  # ORDER[number], number 0 is nil
    best: np.ndarray  # int64[2], 0 = none
    counts: np.ndarray  # int64[2]: fills, lots filled


def make_ladder(orders: int) -> Ladder:
    """An empty book for order numbers 1..orders, its memory touched."""
    ladder = Ladder(np.empty(TICKS, LEVEL), np.empty((2, TICKS >> 6), np.uint64), np.empty((2, TICKS >> 12), np.uint64),
                    np.empty((2, TICKS >> 18), np.uint64), np.empty(orders + 1, ORDER), np.empty(2, np.int64),
                    np.empty(2, np.int64))
    clear(ladder)
    return ladder


def clear(ladder: Ladder) -> None:
    """Empty the book in place."""
    for array in ladder:
        array.view(np.uint8)[:] = 0


@leaf
def bit(i):
    return np.uint64(1) << np.uint64(i & 63)


@leaf
def set_bits(ladder, side, ticks):
    ladder.bits0[side, ticks >> 6] |= bit(ticks)
    ladder.bits1[side, ticks >> 12] |= bit(ticks >> 6)
    ladder.bits2[side, ticks >> 18] |= bit(ticks >> 12)


@leaf
def clear_bits(ladder, side, ticks):
    ladder.bits0[side, ticks >> 6] &= ~bit(ticks)
    if ladder.bits0[side, ticks >> 6] == 0:
        ladder.bits1[side, ticks >> 12] &= ~bit(ticks >> 6)
        if ladder.bits1[side, ticks >> 12] == 0:
            ladder.bits2[side, ticks >> 18] &= ~bit(ticks >> 12)


@leaf
def find_best(ladder, side):
    """Best price of a side from the top of the bitmaps; 0 = none."""
    top = ladder.bits2[side, 0]
    if top == 0:
        return np.int64(0)
    if side == BID:
        i = high_bit(top)
        i = (i << 6) + high_bit(ladder.bits1[side, i])
        return (i << 6) + high_bit(ladder.bits0[side, i])
    i = low_bit(top)
    i = (i << 6) + low_bit(ladder.bits1[side, i])
    return (i << 6) + low_bit(ladder.bits0[side, i])


@leaf
def unlink(ladder, number):
    """Take an order out of its queue and leave it with nothing."""
    order = ladder.orders[number]
    ticks, side = np.int64(order["ticks"]), np.int64(order["side"])
    before, after = np.int64(order["prev"]), np.int64(order["next"])
    level = ladder.levels[ticks]
    level["lots"] -= np.int64(order["leaves_lots"])
    order["leaves_lots"] = 0
    if before != 0:
        ladder.orders[before]["next"] = after
    else:
        level["head"] = after
    if after != 0:
        ladder.orders[after]["prev"] = before
    else:
        level["tail"] = before
    if before == 0 and after == 0:
        clear_bits(ladder, side, ticks)
        if ladder.best[side] == ticks:
            ladder.best[side] = find_best(ladder, side)


@leaf
def link(ladder, number, side, ticks, order_lots, leaves):
    """Put an order at the tail of its level."""
    order, level = ladder.orders[number], ladder.levels[ticks]
    tail = np.int64(level["tail"])
    order["leaves_lots"] = leaves
    order["order_lots"] = order_lots
    order["ticks"] = ticks
    order["side"] = side
    order["next"] = 0
    order["prev"] = tail
    if tail != 0:
        ladder.orders[tail]["next"] = number
    else:
        level["head"] = number
        set_bits(ladder, side, ticks)
        best = ladder.best[side]
        if best == 0 or (ticks > best if side == BID else ticks < best):
            ladder.best[side] = ticks
    level["tail"] = number
    level["lots"] += leaves


@leaf
def match(ladder, side, limit_ticks, lots):
    """Trade with the other side up to the limit; returns lots not filled."""
    other = ASK if side == BID else BID
    while lots > 0:
        best = ladder.best[other]
        if best == 0 or (best > limit_ticks if side == BID else best < limit_ticks):
            break
        number = np.int64(ladder.levels[best]["head"])
        resting = np.int64(ladder.orders[number]["leaves_lots"])
        fill = min(resting, lots)
        lots -= fill
        ladder.counts[0] += 1
        ladder.counts[1] += fill
        if fill == resting:
            unlink(ladder, number)
        else:
            ladder.orders[number]["leaves_lots"] = resting - fill
            ladder.levels[best]["lots"] -= fill
    return lots


@leaf
def amend(ladder, number, ticks, total):
    """Less quantity at the same price keeps the place; anything else enters again."""
    order = ladder.orders[number]
    leaves, order_lots = np.int64(order["leaves_lots"]), np.int64(order["order_lots"])
    rest = total - (order_lots - leaves)
    if ticks == order["ticks"] and 0 < rest <= leaves:
        order["leaves_lots"] = rest
        order["order_lots"] = total
        ladder.levels[ticks]["lots"] -= leaves - rest
        return
    side = np.int64(order["side"])
    unlink(ladder, number)
    if rest > 0:
        rest = match(ladder, side, ticks, rest)
        if rest > 0:
            link(ladder, number, side, ticks, rest, rest)


@leaf
def apply(ladder, message):
    """One message."""
    kind, number = message["kind"], np.int64(message["number"])
    if kind == CANCEL:
        if ladder.orders[number]["leaves_lots"] > 0:
            unlink(ladder, number)
        return
    ticks, lots = np.int64(message["ticks"]), np.int64(message["lots"])
    if kind == AMEND:
        if ladder.orders[number]["leaves_lots"] > 0:
            amend(ladder, number, ticks, lots)
        return
    side = np.int64(message["side"])
    left = match(ladder, side, ticks, lots)
    if left > 0 and kind == LIMIT:
        link(ladder, number, side, ticks, lots, left)


@entry
def run(ladder, messages):
    """Process every message."""
    for k in range(messages.shape[0]):
        apply(ladder, messages[k])
