"""The product's book without what surrounds it: its own leaves, composed as the order path composes them.

Accounts, money and answers are left out, and so is the hash of order ids: as in the flat ladder, a table indexed by the
message's number says where an order is.
"""

import numpy as np

from benchmarks.flat_ladder import AMEND, CANCEL, LIMIT
from exchange.core.book import (
    crosses,
    cut_leaves,
    free_order_slot,
    level_of,
    link_order,
    opposite,
    take_order_slot,
    unlink_order,
)
from exchange.core.kernel import entry, leaf


@leaf
def remove(book, slots, slot):
    """Take an order out and give its slot back."""
    slots[book.orders[slot]["order_id"]] = 0
    unlink_order(book, slot)
    free_order_slot(book.pools, book.orders, slot)


@leaf
def match(book, slots, counts, side, limit_ticks, lots):
    """Fill against the other side, oldest order of the best level first; returns lots not filled."""
    other = opposite(side)
    best = book.books[0]["best_ticks"]
    while lots > 0:
        ticks = np.int64(best[other])
        if not crosses(side, limit_ticks, ticks):
            break
        slot = np.int64(book.levels[level_of(book, 0, other, ticks)]["head"])
        leaves = np.int64(book.orders[slot]["leaves_lots"])
        fill = min(lots, leaves)
        if fill == leaves:
            remove(book, slots, slot)
        else:
            cut_leaves(book, slot, fill)
        counts[0] += 1
        counts[1] += fill
        lots -= fill
    return lots


@leaf
def rest(book, slots, number, side, ticks, order_lots, leaves):
    """Put what is left of an order into the book."""
    slot = take_order_slot(book.pools, book.orders)
    order = book.orders[slot]
    order["order_id"] = number
    order["ticks"] = ticks
    order["order_lots"] = order_lots
    order["leaves_lots"] = leaves
    order["side"] = side
    link_order(book, slot)
    slots[number] = slot


@leaf
def amend(book, slots, counts, slot, ticks, total):
    """Less quantity at the same price keeps the place; anything else enters again."""
    order = book.orders[slot]
    number, side = np.int64(order["order_id"]), np.int64(order["side"])
    leaves, order_lots = np.int64(order["leaves_lots"]), np.int64(order["order_lots"])
    left = total - (order_lots - leaves)
    if ticks == order["ticks"] and 0 < left <= leaves:
        cut_leaves(book, slot, leaves - left)
        order["order_lots"] = total
        return
    remove(book, slots, slot)
    if left > 0:
        left = match(book, slots, counts, side, ticks, left)
        if left > 0:
            rest(book, slots, number, side, ticks, left, left)


@leaf
def apply(book, slots, counts, message):
    """One message."""
    kind, number = message["kind"], np.int64(message["number"])
    if kind == CANCEL:
        if slots[number] != 0:
            remove(book, slots, np.int64(slots[number]))
        return
    ticks, lots = np.int64(message["ticks"]), np.int64(message["lots"])
    if kind == AMEND:
        if slots[number] != 0:
            amend(book, slots, counts, np.int64(slots[number]), ticks, lots)
        return
    side = np.int64(message["side"])
    left = match(book, slots, counts, side, ticks, lots)
    if left > 0 and kind == LIMIT:
        rest(book, slots, number, side, ticks, lots, left)


@entry
def run(book, slots, counts, messages):
    """Process every message on instrument 0. Mutates the book, `slots` (int32 by number), `counts` (fills, lots)."""
    for k in range(messages.shape[0]):
        apply(book, slots, counts, messages[k])
