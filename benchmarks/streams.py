"""The seeded message stream of the book benchmarks, and the same stream as events of the venue.

The mix is fixed (46 % limit, 39 % cancel, 10 % IOC, 5 % amend); about `live` orders rest throughout, held there by the
size of the IOC orders. Cancels and amends name an order that is live at that moment, so none of them is wasted.
"""

from typing import NamedTuple

import numpy as np

from benchmarks.flat_ladder import AMEND, ASK, BID, CANCEL, IOC, LIMIT, MESSAGE, apply, make_ladder
from exchange import codes, schema
from exchange.core.kernel import entry, leaf

MESSAGES, LIVE, ACCOUNTS = 1_000_000, 5_000, 100_000
MIX = {LIMIT: 0.46, CANCEL: 0.39, IOC: 0.10, AMEND: 0.05}
MID_TICKS = 100_000
ORDER_LOTS_MAX = 30
SWEEP_EVERY = 512  # messages between two sweeps of filled orders out of the list of live ones
MANY_LOTS, FEW_LOTS = 45, 9  # largest IOC while more, or fewer, orders rest than wanted


class Stream(NamedTuple):
    opening: np.ndarray  # MESSAGE: fills the book, not measured
    messages: np.ndarray  # MESSAGE
    orders: int  # highest order number


class Draws(NamedTuple):
    kind: np.ndarray
    side: np.ndarray
    away: np.ndarray  # ticks from the mid
    mid: np.ndarray
    pick: np.ndarray  # which live order
    size: np.ndarray


def _draw(count: int, seed: int, live: int) -> Draws:
    generator = np.random.default_rng(seed)
    kind = generator.choice(list(MIX), count, p=list(MIX.values()))
    kind[:live] = LIMIT
    steps = generator.integers(-1, 2, count) * (generator.random(count) < 0.002)
    away = np.minimum(generator.geometric(0.08, count), 90)
    return Draws(kind, generator.integers(0, 2, count), away, MID_TICKS + np.cumsum(steps),
                 generator.integers(0, 1 << 31, count), generator.integers(0, 1 << 31, count))


@leaf
def sweep(ladder, live, count):
    """Drop the orders that were filled from the list; returns how many are left."""
    kept = np.int64(0)
    for k in range(count):
        if ladder.orders[live[k]]["leaves_lots"] > 0:
            live[kept] = live[k]
            kept += 1
    return kept


@leaf
def change(ladder, message, number, draws, k):
    """Fill in a cancel or an amend of a live order: half of the amends lower the quantity, half move the price."""
    order, size = ladder.orders[number], draws.size[k]
    ticks, total, leaves = np.int64(order["ticks"]), np.int64(order["order_lots"]), np.int64(order["leaves_lots"])
    if size & 1:
        total -= size % leaves
    else:
        ticks += 1 + (size >> 1) % 3 if order["side"] == ASK else -1 - (size >> 1) % 3
    message["number"] = number
    message["ticks"] = ticks
    message["lots"] = total
    message["side"] = order["side"]


@entry
def compose(ladder, messages, draws, live, wanted):
    """Write the messages by playing them on the ladder, on which about `wanted` orders rest.

    Returns the highest order number.
    """
    count, number = np.int64(0), np.int64(0)
    for k in range(messages.shape[0]):
        message, kind, side = messages[k], draws.kind[k], draws.side[k]
        if k % SWEEP_EVERY == 0:
            count = sweep(ladder, live, count)
        message["kind"] = kind
        if kind == CANCEL or kind == AMEND:
            at = draws.pick[k] % count
            while ladder.orders[live[at]]["leaves_lots"] == 0:
                count -= 1
                live[at] = live[count]
                at = draws.pick[k] % count
            change(ladder, message, live[at], draws, k)
        else:
            number += 1
            away = -3 if kind == IOC else draws.away[k]
            most = ORDER_LOTS_MAX if kind == LIMIT else (MANY_LOTS if count > wanted else FEW_LOTS)
            message["number"] = number
            message["side"] = side
            message["ticks"] = draws.mid[k] - away if side == BID else draws.mid[k] + away
            message["lots"] = 1 + draws.size[k] % most
            if kind == LIMIT:
                live[count] = number
                count += 1
        apply(ladder, message)
    return number


def make_stream(count: int = MESSAGES, seed: int = 7, live: int = LIVE) -> Stream:
    """`count` messages after an opening that fills the book with `live` orders."""
    messages = np.zeros(live + count, MESSAGE)
    numbers = np.zeros(len(messages), np.int64)
    orders = compose(make_ladder(len(messages)), messages, _draw(len(messages), seed, live), numbers, live)
    return Stream(messages[:live], messages[live:], int(orders))


def to_events(messages: np.ndarray, start_ns: int, accounts: int = ACCOUNTS, seed: int = 11) -> np.ndarray:
    """The messages as events of instrument 0, a nanosecond apart, each order owned by an account at random."""
    owner = np.random.default_rng(seed).integers(codes.FIRST_USER, codes.FIRST_USER + accounts, 1 << 21)
    events = np.zeros(len(messages), schema.EVENT)
    kinds = np.array([codes.NEW, codes.CANCEL, codes.NEW, codes.AMEND])
    events["ts_ns"] = start_ns + np.arange(len(messages))
    events["kind"] = kinds[messages["kind"]]
    events["time_in_force"] = np.where(messages["kind"] == IOC, codes.IOC, codes.GTC)
    events["order_id"], events["account"] = messages["number"], owner[messages["number"]]
    events["price"], events["qty"], events["side"] = messages["ticks"], messages["lots"], messages["side"]
    return events
