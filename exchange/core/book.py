"""The order book: queues of orders on price ladders, the map from order id to slot, and the order pool.

Only structure lives here: who may trade is `admit.py`, who pays is `ledger.py`. DESIGN §3.1, rules BK-1 to BK-5.
"""

import numpy as np

from exchange.codes import ASK, BID, BOOK_ADD, BOOK_REMOVE, BOOK_RESIZE, EXTERNAL
from exchange.core.kernel import kernel, leaf
from exchange.core.ladder import clear_level, find_down, find_up, mark_level

ID_BITS = (1 << 31) - 1
ID_FACTOR = 2_654_435_761  # 2**32 / golden ratio: neighbouring ids land far apart


@leaf
def level_of(book, instrument, side, ticks):
    """Slot of a price in `levels`."""
    return np.int64(book.ladders[2 * instrument + side]["level_base"]) + ticks


@leaf
def crosses(side, limit_ticks, opposite_best):
    """Would an order of `side` at `limit_ticks` trade with the opposite best (0 = none)?"""
    return opposite_best != 0 and (opposite_best <= limit_ticks if side == BID else opposite_best >= limit_ticks)


@kernel
def note_change(book, slot, action):
    """Note what an order just went through in its queue. Mutates `changes`; room was checked before the event.

    Of an iceberg no more is told than its display, also while an auction counts all of it.
    """
    order, pool = book.orders[slot], book.pools[0]
    leaves, display = np.int64(order["leaves_lots"]), np.int64(book.terms[slot]["display_lots"])
    leaves = min(leaves, display) if display != 0 else leaves
    instrument, side, ticks = np.int64(order["instrument"]), np.int64(order["side"]), np.int64(order["ticks"])
    change = book.changes[np.int64(pool["change_count"])]
    pool["change_count"] += 1
    pool["change_seq"] += 1
    change["seq"] = np.int64(pool["change_seq"])
    change["event_seq"] = np.int64(pool["change_event"])
    change["order_id"] = np.int64(order["order_id"])
    change["level_lots"] = np.int64(book.levels[level_of(book, instrument, side, ticks)]["lots"])
    change["slot"] = slot
    change["account"] = np.int64(order["account"])
    change["ticks"] = ticks
    change["leaves_lots"] = np.int64(0) if action == BOOK_REMOVE else leaves
    change["instrument"] = instrument
    change["side"] = side
    change["action"] = action


@leaf
def link_order(book, slot):
    """Append an order to the tail of its level's queue. Mutates levels, words, orders, best."""
    order = book.orders[slot]
    instrument, side, ticks = np.int64(order["instrument"]), np.int64(order["side"]), np.int64(order["ticks"])
    level = book.levels[level_of(book, instrument, side, ticks)]
    tail = np.int64(level["tail"])
    order["next"] = 0
    order["prev"] = tail
    if tail != 0:
        book.orders[tail]["next"] = slot
    else:
        level["head"] = slot
        mark_level(book.words, book.ladders[2 * instrument + side], ticks)
        best = book.books[instrument]["best_ticks"]
        if best[side] == 0 or (ticks > best[side] if side == BID else ticks < best[side]):
            best[side] = ticks
            book.books[instrument]["top_seq"][side] = np.int64(book.pools[0]["priority_seq"]) + 1
    book.pools[0]["priority_seq"] += 1
    order["priority_seq"] = np.int64(book.pools[0]["priority_seq"])
    level["tail"] = slot
    level["count"] += 1
    level["lots"] += np.int64(order["leaves_lots"])
    if book.pools[0]["publish"] != 0:
        note_change(book, slot, BOOK_ADD)


@leaf
def unlink_order(book, slot):
    """Take an order out of its queue. Mutates levels, words, orders, best; the order keeps its leaves."""
    order = book.orders[slot]
    instrument, side, ticks = np.int64(order["instrument"]), np.int64(order["side"]), np.int64(order["ticks"])
    level = book.levels[level_of(book, instrument, side, ticks)]
    before, after = np.int64(order["prev"]), np.int64(order["next"])
    level["count"] -= 1
    level["lots"] -= np.int64(order["leaves_lots"])
    if before != 0:
        book.orders[before]["next"] = after
    else:
        level["head"] = after
    if after != 0:
        book.orders[after]["prev"] = before
    else:
        level["tail"] = before
    order["next"] = 0
    order["prev"] = 0
    if book.pools[0]["publish"] != 0:
        note_change(book, slot, BOOK_REMOVE)
    if before == 0 and after == 0:
        ladder = book.ladders[2 * instrument + side]
        clear_level(book.words, ladder, ticks)
        best = book.books[instrument]["best_ticks"]
        if best[side] == ticks:
            if side == BID:
                best[side] = find_down(book.words, ladder, ticks)
            else:
                best[side] = find_up(book.words, ladder, ticks)


@leaf
def cut_leaves(book, slot, lots):
    """Lower an order's leaves in place by `lots`; it stays linked. Mutates the order and its level."""
    order = book.orders[slot]
    order["leaves_lots"] -= lots
    side = np.int64(order["side"])
    book.levels[level_of(book, np.int64(order["instrument"]), side, np.int64(order["ticks"]))]["lots"] -= lots
    if book.pools[0]["publish"] != 0:
        note_change(book, slot, BOOK_RESIZE)


@leaf
def next_level(book, instrument, side, ticks):
    """The next worse non-empty price of a side; 0 = none."""
    ladder = book.ladders[2 * instrument + side]
    if side == BID:
        return find_down(book.words, ladder, ticks - 1) if ticks > 1 else np.int64(0)
    return find_up(book.words, ladder, ticks + 1) if ticks < ladder["ticks_max"] else np.int64(0)


@leaf
def take_order_slot(pools, orders):
    """A free order slot; `order_room` said that there is one. Mutates the pool."""
    pool = pools[0]
    slot = np.int64(pool["order_free"])
    if slot != 0:
        pool["order_free"] = np.int64(orders[slot]["next"])
        orders[slot]["next"] = 0
    else:
        slot = np.int64(pool["order_high"]) + 1
        pool["order_high"] = slot
    pool["order_live"] += 1
    return slot


@leaf
def free_order_slot(pools, orders, slot):
    """Give a slot back, cleared. Mutates the pool and the order."""
    order = orders[slot]
    order["order_id"] = 0
    order["priority_seq"] = 0
    order["account"] = 0
    order["position"] = 0
    order["ticks"] = 0
    order["order_lots"] = 0
    order["leaves_lots"] = 0
    order["prev"] = 0
    order["account_next"] = 0
    order["account_prev"] = 0
    order["liquidation_id"] = 0
    order["instrument"] = 0
    order["flags"] = 0
    order["side"] = 0
    order["next"] = np.int64(pools[0]["order_free"])
    pools[0]["order_free"] = slot
    pools[0]["order_live"] -= 1


@leaf
def order_room(pools, orders):
    """Is there a free order slot? What icebergs have yet to show takes room too: the outbox was sized by orders."""
    return pools[0]["order_live"] + pools[0]["slices"] + 1 < orders.shape[0]


@leaf
def id_home(ids, order_id):
    """The first slot to look at for an id. All products stay below 2**63."""
    folded = (order_id ^ (order_id >> 31)) & ID_BITS
    return ((folded * ID_FACTOR) >> 20) & (ids.shape[0] - 1)


@leaf
def find_id(ids, orders, order_id):
    """Order slot of a live id, 0 = none."""
    at = id_home(ids, order_id)
    slot = np.int64(ids[at])
    while slot != 0 and orders[slot]["order_id"] != order_id:
        at = (at + 1) & (ids.shape[0] - 1)
        slot = np.int64(ids[at])
    return slot


@leaf
def insert_id(ids, order_id, slot):
    """Add an id that is not there. Mutates `ids`, which is never more than half full."""
    at = id_home(ids, order_id)
    while ids[at] != 0:
        at = (at + 1) & (ids.shape[0] - 1)
    ids[at] = slot


@leaf
def remove_id(ids, orders, slot):
    """Take a live order's id out and close the gap, so that lookups need no tombstones. Mutates `ids`."""
    mask = ids.shape[0] - 1
    at = id_home(ids, np.int64(orders[slot]["order_id"]))
    while ids[at] != slot:
        at = (at + 1) & mask
    probe = (at + 1) & mask
    while ids[probe] != 0:
        home = id_home(ids, np.int64(orders[ids[probe]]["order_id"]))
        if (probe - home) & mask >= (probe - at) & mask:
            ids[at] = ids[probe]
            at = probe
        probe = (probe + 1) & mask
    ids[at] = 0


@leaf
def enlist(orders, wallets, wallet, slot):
    """Append an order to its wallet's list, oldest first. Mutates orders and the wallet."""
    last = np.int64(wallets[wallet]["last_order"])
    orders[slot]["account_prev"] = last
    orders[slot]["account_next"] = 0
    if last != 0:
        orders[last]["account_next"] = slot
    else:
        wallets[wallet]["first_order"] = slot
    wallets[wallet]["last_order"] = slot


@leaf
def delist(orders, wallets, wallet, slot):
    """Take an order out of its wallet's list. Mutates orders and the wallet."""
    before, after = np.int64(orders[slot]["account_prev"]), np.int64(orders[slot]["account_next"])
    if before != 0:
        orders[before]["account_next"] = after
    else:
        wallets[wallet]["first_order"] = after
    if after != 0:
        orders[after]["account_prev"] = before
    else:
        wallets[wallet]["last_order"] = before


@leaf
def first_simulated(book, instrument, side, ticks):
    """The oldest order at a price that is not EXTERNAL's, 0 = none."""
    slot = np.int64(book.levels[level_of(book, instrument, side, ticks)]["head"])
    while slot != 0 and book.orders[slot]["account"] == EXTERNAL:
        slot = np.int64(book.orders[slot]["next"])
    return slot


@leaf
def opposite(side):
    return ASK if side == BID else BID
