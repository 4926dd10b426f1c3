"""The benchmark's messages as calls of bourse's order book, and what both books report, in the same terms.

bourse 0.4 queues an order by the time of the book, which its user sets: without that, two orders of one price would
share a place. It has no limit IOC (here: placed, then cancelled), its amends state what is to be left, not the new
total, and one that changes nothing loses its place there and keeps it here: it is not sent.
"""

from typing import Any, NamedTuple

import numpy as np

from benchmarks.flat_ladder import AMEND, BID, CANCEL, IOC, LIMIT, apply, make_ladder
from exchange import codes, schema
from exchange.core.kernel import entry
from exchange.venue import EVENTS_PER_CALL, Exchange

ACTIVE, CANCELLED = 1, 3  # states of an order of bourse
NEW_ORDER, CANCEL_ORDER = 1, 2  # instructions of its batches
PRICE_MAX = 2**32 - 1  # the limit of a market order to buy; to sell: 0


class Outcome(NamedTuple):
    """What a book reports of a stream. Orders go by the numbers of the stream."""

    trades: np.ndarray  # ticks, lots, taker, maker; in order
    resting: np.ndarray  # number, side, ticks, leaves; by number
    best: tuple[int, int]

    def equal(self, other: "Outcome") -> bool:
        return (np.array_equal(self.trades, other.trades) and np.array_equal(self.resting, other.resting)
                and self.best == other.best)


@entry
def amended(ladder, messages, ticks, lots):
    """Play the messages; where they amend, leave the new price and the lots to be left in the columns, 0 = as before.

    A new price keeps the lots; the same price lowers them, or not even that.
    """
    for k in range(messages.shape[0]):
        message = messages[k]
        if message["kind"] == AMEND:
            order = ladder.orders[message["number"]]
            cut = np.int64(order["order_lots"]) - message["lots"]
            lots[k] = np.int64(order["leaves_lots"]) - cut if cut > 0 else 0
            ticks[k] = message["ticks"] if message["ticks"] != order["ticks"] else 0
        apply(ladder, message)


def calls(messages: np.ndarray) -> list[tuple]:
    """(time, kind, number, is bid, ticks, lots) of each message, as Python's own numbers."""
    ticks, lots = messages["ticks"].astype(np.int64), messages["lots"].astype(np.int64)
    amended(make_ladder(len(messages)), messages, ticks, lots)
    columns = (messages["kind"], messages["number"], messages["side"] == BID, ticks, lots)
    return list(zip(range(len(messages)), *(column.tolist() for column in columns), strict=True))


def play(book: Any, ids: dict[int, int], rows: list[tuple]) -> None:
    """One call of the book a message, and one to set its time; `ids` gets the book's id of each number."""
    place, cancel, modify, set_time = book.place_order, book.cancel_order, book.modify_order, book.set_time
    for now, kind, number, is_bid, ticks, lots in rows:
        set_time(now)
        if kind == LIMIT:
            ids[number] = place(is_bid, lots, number, ticks)
        elif kind == CANCEL:
            cancel(ids[number])
        elif kind == IOC:
            cancel(place(is_bid, lots, number, ticks))
        else:
            modify(ids[number], ticks or None, lots or None)


def batches(messages: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """The messages without amends as arrays of instructions, IOC as market orders: batches have neither.

    Numbers become the ids that bourse will give: new orders counted from 0.
    """
    messages = messages[messages["kind"] != AMEND]
    market, new = messages["kind"] == IOC, messages["kind"] != CANCEL
    ids = np.zeros(int(messages["number"].max()) + 1, np.uint64)
    ids[messages["number"][new]] = np.arange(np.count_nonzero(new))
    is_bid = messages["side"] == BID
    price = np.where(market, np.where(is_bid, PRICE_MAX, 0), messages["ticks"])
    columns = (np.where(new, NEW_ORDER, CANCEL_ORDER).astype(np.uint32), is_bid, messages["lots"].astype(np.uint32),
               np.zeros(len(messages), np.uint32), price.astype(np.uint32), ids[messages["number"]])
    return [tuple(column[start:start + EVENTS_PER_CALL] for column in columns)
            for start in range(0, len(messages), EVENTS_PER_CALL)]


def step(market: Any, parts: list[tuple]) -> None:
    for part in parts:
        market.submit_instructions(part)
        market.step()


def drawn(orders: np.ndarray, accounts: int) -> np.ndarray:
    """The events in the order that bourse drew for its batches, as the times in its orders tell: ids one higher.

    A cancel that came before its order did nothing, and is not among them.
    """
    side, state, arrived, ended, _, lots, ticks, _, number = orders.T
    limit = (ticks != 0) & (ticks != PRICE_MAX)
    gone = limit & (state == CANCELLED)
    events = np.zeros(len(orders) + np.count_nonzero(gone), schema.EVENT)
    new, cancels = events[:len(orders)], events[len(orders):]
    new["ts_ns"], new["kind"], new["order_id"], new["qty"] = arrived, codes.NEW, number + 1, lots
    new["side"], new["price"] = np.where(side, codes.BID, codes.ASK), np.where(limit, ticks, 0)
    new["flags"], new["time_in_force"] = np.where(limit, 0, codes.MARKET), np.where(limit, codes.GTC, codes.IOC)
    cancels["ts_ns"], cancels["kind"], cancels["order_id"] = ended[gone], codes.CANCEL, number[gone] + 1
    events["account"] = codes.FIRST_USER + events["order_id"] % accounts
    return events[np.argsort(events["ts_ns"])]


def table(rows: list[tuple]) -> np.ndarray:
    """Rows of bourse as numbers; the end of what has not ended does not fit and becomes negative."""
    return np.array(rows, np.uint64).astype(np.int64)


def outcome_of_peer(trades: list[tuple], orders: np.ndarray, best: tuple[int, int], names: np.ndarray) -> Outcome:
    """`names` are the stream's numbers by the book's ids."""
    found = table(trades)[:, 2:]
    found[:, 2:] = names[found[:, 2:]]
    live = orders[orders[:, 1] == ACTIVE]
    resting = np.stack((names[live[:, 8]], np.where(live[:, 0], codes.BID, codes.ASK), live[:, 6], live[:, 4]), axis=1)
    return Outcome(found, resting[np.argsort(resting[:, 0])], best)


def outcome_of_venue(exchange: Exchange, fills: np.ndarray) -> Outcome:
    maker = (fills["flags"] & codes.MAKER) != 0
    makers, takers = fills[maker], fills[~maker]
    trades = np.stack((takers["price"], takers["lots"], takers["order_id"], makers["order_id"]), axis=1)
    live = exchange.state.book.orders
    live = live[live["leaves_lots"] > 0]
    resting = np.stack([live[name].astype(np.int64) for name in ("order_id", "side", "ticks", "leaves_lots")], axis=1)
    return Outcome(trades.astype(np.int64), resting[np.argsort(resting[:, 0])], exchange.best(0))
