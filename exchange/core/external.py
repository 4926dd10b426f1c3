"""External levels: recorded size at a price, orders of EXTERNAL beside what is displaced of it. DESIGN §3.3.

A level has one order, its *part*, or several in queue order where a queue model let size join behind a simulated one.
A part with nothing left is freed, but for the level's last.
"""

import numpy as np

from exchange.codes import ASK, BID, EXTERNAL, EXTERNALS_FULL, OK, ORDERS_FULL
from exchange.core.arith import MILLION
from exchange.core.book import (
    cut_leaves,
    free_order_slot,
    level_of,
    link_order,
    order_room,
    take_order_slot,
    unlink_order,
)
from exchange.core.kernel import kernel, leaf
from exchange.core.ladder import clear_level, find_down, find_up, mark_level

LOTS_MAX = 2**31 - 1


@leaf
def take_external_slot(book):
    """A free external-level slot, 0 = full. Mutates the pool."""
    pool = book.pools[0]
    e = np.int64(pool["external_free"])
    if e != 0:
        pool["external_free"] = np.int64(book.externals[e]["next"])
        book.externals[e]["next"] = 0
        return e
    e = np.int64(pool["external_high"]) + 1
    if e >= book.externals.shape[0]:
        return np.int64(0)
    pool["external_high"] = e
    return e


@leaf
def free_external(book, e):
    """Give an external level's slot back, cleared. Mutates the pool."""
    external = book.externals[e]
    external["recorded_lots"] = 0
    external["lots"] = 0
    external["displaced_lots"] = 0
    external["printed_lots"] = 0
    external["recorded_ticks"] = 0
    external["ticks"] = 0
    external["order"] = 0
    external["prev"] = 0
    external["instrument"] = 0
    external["side"] = 0
    external["extrapolated"] = 0
    external["next"] = np.int64(book.pools[0]["external_free"])
    book.pools[0]["external_free"] = e


@leaf
def file_external(book, e):
    """Note an external level at its price. Mutates book."""
    external = book.externals[e]
    instrument, side, ticks = np.int64(external["instrument"]), np.int64(external["side"]), np.int64(external["ticks"])
    book.levels[level_of(book, instrument, side, ticks)]["external"] = e
    mark_level(book.recorded, book.ladders[2 * instrument + side], ticks)


@leaf
def unfile_external(book, e):
    """Forget an external level at its price, unless a shift has put another there already. Mutates book."""
    external = book.externals[e]
    instrument, side, ticks = np.int64(external["instrument"]), np.int64(external["side"]), np.int64(external["ticks"])
    level = book.levels[level_of(book, instrument, side, ticks)]
    if level["external"] == e:
        level["external"] = 0
        clear_level(book.recorded, book.ladders[2 * instrument + side], ticks)


@leaf
def recorded_best(book, instrument, side):
    """Best recorded price of a side, whether simulated flow displaced it or not; 0 = none."""
    ladder = book.ladders[2 * instrument + side]
    if side == BID:
        return find_down(book.recorded, ladder, np.int64(ladder["ticks_max"]))
    return find_up(book.recorded, ladder, np.int64(1))


@kernel
def drop_crossed(book, instrument, side):
    """While the book is crossed and the recording too, its levels opposite to `side` give way. Mutates book."""
    other, best = ASK if side == BID else BID, book.books[instrument]["best_ticks"]
    bid, ask = recorded_best(book, instrument, BID), recorded_best(book, instrument, ASK)
    while best[BID] >= best[ASK] > 0 and bid >= ask > 0:
        ticks = ask if side == BID else bid
        drop_external(book, np.int64(book.levels[level_of(book, instrument, other, ticks)]["external"]))
        book.books[instrument]["crossed_levels"] += 1
        bid, ask = recorded_best(book, instrument, BID), recorded_best(book, instrument, ASK)


@leaf
def add_external(book, instrument, side, ticks):
    """A new empty external level at a price, last in the instrument's list. Returns (slot, code). Mutates book."""
    if not order_room(book.pools, book.orders):
        return np.int64(0), ORDERS_FULL
    e = take_external_slot(book)
    if e == 0:
        return e, EXTERNALS_FULL
    slot = take_order_slot(book.pools, book.orders)
    order, external = book.orders[slot], book.externals[e]
    order["account"] = EXTERNAL
    order["position"] = e
    order["ticks"] = ticks
    order["instrument"] = instrument
    order["side"] = side
    external["order"] = slot
    external["ticks"] = ticks
    external["instrument"] = instrument
    external["side"] = side
    tail = np.int64(book.books[instrument]["external_tail"])
    external["prev"] = tail
    if tail != 0:
        book.externals[tail]["next"] = e
    else:
        book.books[instrument]["external_head"] = e
    book.books[instrument]["external_tail"] = e
    file_external(book, e)
    return e, OK


@leaf
def drop_external(book, e):
    """Remove an external level with its orders and its displaced size. Mutates book."""
    lone_part(book, e)
    external = book.externals[e]
    slot, instrument = np.int64(external["order"]), np.int64(external["instrument"])
    if book.orders[slot]["leaves_lots"] != 0:
        unlink_order(book, slot)
    free_order_slot(book.pools, book.orders, slot)
    unfile_external(book, e)
    before, after = np.int64(external["prev"]), np.int64(external["next"])
    if before != 0:
        book.externals[before]["next"] = after
    else:
        book.books[instrument]["external_head"] = after
    if after != 0:
        book.externals[after]["prev"] = before
    else:
        book.books[instrument]["external_tail"] = before
    free_external(book, e)


@leaf
def retire_part(book, slot):
    """Take a part out of its queue; it keeps its slot, with nothing left, where it is the level's only one."""
    order = book.orders[slot]
    unlink_order(book, slot)
    order["leaves_lots"] = 0
    before, after = np.int64(order["account_prev"]), np.int64(order["account_next"])
    if before != 0 or after != 0:
        if before != 0:
            book.orders[before]["account_next"] = after
        else:
            book.externals[np.int64(order["position"])]["order"] = after
        if after != 0:
            book.orders[after]["account_prev"] = before
        free_order_slot(book.pools, book.orders, slot)


@leaf
def lone_part(book, e):
    """Leave a level its first part alone. Mutates book."""
    first = np.int64(book.externals[e]["order"])
    if book.orders[first]["account_next"] != 0:
        retire_others(book, first)


@kernel
def retire_others(book, first):
    """Retire every part of a level but the first; a call, because few levels have more. Mutates book."""
    while book.orders[first]["account_next"] != 0:
        retire_part(book, np.int64(book.orders[first]["account_next"]))


@leaf
def cut_part(book, slot, lots):
    """Take `lots` out of a part. Mutates book."""
    if lots == book.orders[slot]["leaves_lots"]:
        retire_part(book, slot)
    else:
        cut_leaves(book, slot, lots)


@leaf
def show_external(book, e):
    """Make the leaves of a level's only part lots - displaced, where it stands, else at the tail. Mutates book."""
    external = book.externals[e]
    slot = np.int64(external["order"])
    leaves, shown = (
        np.int64(book.orders[slot]["leaves_lots"]),
        np.int64(external["lots"]) - np.int64(external["displaced_lots"]),
    )
    book.orders[slot]["order_lots"] = np.int64(external["lots"])
    if leaves == 0:
        if shown > 0:
            book.orders[slot]["leaves_lots"] = shown
            link_order(book, slot)
    elif shown == 0:
        unlink_order(book, slot)
        book.orders[slot]["leaves_lots"] = 0
    else:
        cut_leaves(book, slot, leaves - shown)


@leaf
def scaled_lots(prices, instrument, recorded_lots):
    """Recorded size after the depth factor: at least 1, at most LOTS_MAX."""
    depth_ppm = np.int64(prices.markets[instrument]["depth_ppm"])
    return max(np.int64(1), min(recorded_lots * depth_ppm // MILLION, np.int64(LOTS_MAX)))


@leaf
def external_order(book, level):
    """The oldest linked external order of a level, 0 = none or fully displaced."""
    e = np.int64(level["external"])
    if e == 0:
        return np.int64(0)
    slot = np.int64(book.externals[e]["order"])
    return slot if book.orders[slot]["leaves_lots"] != 0 else np.int64(0)
