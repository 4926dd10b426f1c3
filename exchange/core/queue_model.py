"""Queue models: where recorded size that comes or goes stands against the simulated orders of its level. DESIGN §3.3.

A level's parts are the pieces of recorded size between simulated orders. What was printed left the front; size that
comes joins the tail; what else goes is shared between ahead and behind by the model.
"""

import numpy as np

from exchange.codes import EXTERNAL, QUEUE_RISK_AVERSE, QUEUE_WHOLE_LEVEL
from exchange.core.book import cut_leaves, level_of, link_order, order_room, take_order_slot
from exchange.core.external import cut_part, retire_part, show_external
from exchange.core.kernel import kernel, leaf

POWER_BITS, WEIGHT_BITS = 60, 30


@leaf
def resize_external(book, prices, e, printed):
    """Bring a level's parts to lots - displaced; prints took `printed` lots of the front. Mutates book."""
    external = book.externals[e]
    instrument, side, ticks = np.int64(external["instrument"]), np.int64(external["side"]), np.int64(external["ticks"])
    if (
        prices.policy[0]["queue"] == QUEUE_WHOLE_LEVEL
        or book.levels[level_of(book, instrument, side, ticks)]["count"] < 2  # nobody to stand before or behind
    ):
        show_external(book, e)
    else:
        requeue_external(book, prices, e, printed)


@kernel
def requeue_external(book, prices, e, printed):
    """`resize_external` where a queue model decides."""
    external = book.externals[e]
    merge_neighbours(book, e)
    total, last = np.int64(0), np.int64(0)
    slot = np.int64(external["order"])
    while slot != 0:
        total += np.int64(book.orders[slot]["leaves_lots"])
        slot, last = np.int64(book.orders[slot]["account_next"]), slot
    gone = min(printed, total)
    total -= gone
    slot = np.int64(external["order"])
    while gone > 0:
        cut = min(gone, np.int64(book.orders[slot]["leaves_lots"]))
        after = np.int64(book.orders[slot]["account_next"])
        cut_part(book, slot, cut)
        gone -= cut
        slot = after
    change = np.int64(external["lots"]) - np.int64(external["displaced_lots"]) - total
    if change > 0:
        join_back(book, e, last, change)
    elif change < 0:
        leave_parts(book, prices, last, total, -change)


@leaf
def merge_neighbours(book, e):
    """Make one part of parts whose simulated order between them is gone. Mutates book."""
    slot = np.int64(book.externals[e]["order"])
    after = np.int64(book.orders[slot]["account_next"])
    while after != 0:
        if book.orders[slot]["next"] == after:
            grow_part(book, slot, np.int64(book.orders[after]["leaves_lots"]))
            retire_part(book, after)
        else:
            slot = after
        after = np.int64(book.orders[slot]["account_next"])


@leaf
def grow_part(book, slot, lots):
    """Add `lots` to a linked part where it stands. Mutates book."""
    cut_leaves(book, slot, -lots)
    book.orders[slot]["order_lots"] = np.int64(book.orders[slot]["leaves_lots"])


@leaf
def join_back(book, e, last, lots):
    """Size that comes joins the tail of the queue: the last part if it stands there, else a new one. Mutates book.

    Without a free order slot it joins the last part where that stands.
    """
    order = book.orders[last]
    if order["leaves_lots"] != 0 and (order["next"] == 0 or not order_room(book.pools, book.orders)):
        grow_part(book, last, lots)
        return
    slot = last
    if order["leaves_lots"] != 0:
        slot = take_order_slot(book.pools, book.orders)
        part = book.orders[slot]
        part["account"] = EXTERNAL
        part["position"] = e
        part["ticks"] = np.int64(order["ticks"])
        part["instrument"] = np.int64(order["instrument"])
        part["side"] = np.int64(order["side"])
        part["account_prev"] = last
        order["account_next"] = slot
    book.orders[slot]["order_lots"] = lots
    book.orders[slot]["leaves_lots"] = lots
    link_order(book, slot)


@leaf
def leave_parts(book, prices, last, total, lots):
    """Size that goes leaves part by part from the back; the model says how much stood ahead of each. Mutates book."""
    policy, slot = prices.policy[0], last
    while lots > 0:
        back, before = np.int64(book.orders[slot]["leaves_lots"]), np.int64(book.orders[slot]["account_prev"])
        front = total - back
        ahead = ahead_lots(np.int64(policy["queue"]), np.int64(policy["queue_exponent"]), front, back, lots)
        if lots > ahead:
            cut_part(book, slot, lots - ahead)
        total, lots, slot = front, ahead, before


@leaf
def ahead_lots(model, exponent, front, back, lots):
    """Of `lots` that leave a queue of `front` and `back`, how many stood in front: floor, held to what each side has.

    risk averse: none while there is a back; else in proportion to front ** exponent against back ** exponent.
    """
    ahead = np.int64(0)
    if model != QUEUE_RISK_AVERSE:
        whole = front + back
        weight = power_weight(front, whole, exponent)
        ahead = lots * weight // (weight + power_weight(back, whole, exponent))
    return min(front, max(ahead, lots - back))


@leaf
def power_weight(part, whole, exponent):
    """(part / whole) ** exponent in units of 2**-30, floored; the part itself for exponent 1."""
    if exponent == 1:
        return part
    share = (part << (POWER_BITS // exponent)) // whole
    power = share
    for _ in range(1, exponent):
        power *= share
    return power >> (POWER_BITS - WEIGHT_BITS)
