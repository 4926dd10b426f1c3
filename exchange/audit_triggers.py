"""What is always true of orders with terms: TRG-1 to TRG-3, ICE-1. DESIGN §5; recomputed from the raw records."""

import numpy as np

from exchange import codes
from exchange.audit_pause import is_paused
from exchange.errors import InvariantError
from exchange.state import Book, State

LADDERS = 6  # an instrument: three sources, falling and rising


def check_triggers(state: State) -> None:
    """Raise `InvariantError` naming the first rule that does not hold."""
    _check_queues(state)
    high = int(state.book.pools[0]["order_high"]) + 1
    terms, flags = state.book.terms[:high], state.book.orders["flags"][:high]
    _check_links(state, flags)
    _check_timers(state, terms, flags)
    plain = terms[(flags & codes.TERMED) == 0]
    none = not any(np.any(plain[name]) for name in plain.dtype.names)
    _require(none, "TRG-3", "an order without terms, or no order, has some")


def _require(holds: bool, rule: str, where: str) -> None:
    if not holds:
        raise InvariantError(f"{rule} does not hold: {where}")


def set_bits(words: np.ndarray, ladder: np.void, down: bool) -> list[int]:
    """Ticks of the non-empty levels of a ladder, ascending or `down`."""
    base, size = int(ladder["word_base0"]), (int(ladder["ticks_max"]) >> 6) + 1
    row = words[base : base + size]
    ticks = [(int(i) << 6) + bit for i in np.flatnonzero(row) for bit in range(64) if int(row[i]) >> bit & 1]
    return ticks[::-1] if down else ticks


def trigger_queues(state: State, instrument: int, k: int) -> list[tuple[int, list[int]]]:
    """(trigger ticks, order slots, first come first) of one trigger ladder, what is reached first before the rest."""
    ladder, found = state.triggers.ladders[LADDERS * instrument + k], []
    for ticks in set_bits(state.triggers.words, ladder, down=k % 2 == 0):
        slots, slot = [], int(state.triggers.queues[int(ladder["level_base"]) + ticks]["head"])
        while slot:
            slots.append(slot)
            slot = int(state.book.orders[slot]["next"])
        found.append((ticks, slots))
    return found


def _check_queues(state: State) -> None:
    """Every parked order stands in one trigger queue whose trigger is not reached, or it has fired."""
    standing: list[int] = []
    for instrument, watch in enumerate(state.triggers.watches):
        before = len(standing)
        for k in range(LADDERS):
            rows = trigger_queues(state, instrument, k)
            first = rows[0][0] if rows else 0
            _require(first == watch["best_ticks"][k], "TRG-1", f"instrument {instrument} ladder {k}: best")
            for ticks, slots in rows:
                _check_queue(state, instrument, k, ticks, slots)
                standing += slots
        _require(len(standing) - before == watch["waiting"], "TRG-1", f"instrument {instrument}: orders waiting")
    _require(len(standing) == state.io.control[0]["waiting"], "TRG-1", "orders waiting in all")
    waiting = (state.book.orders["flags"] & codes.PARKED != 0) & (state.book.terms["peg"] == codes.PEG_NONE)
    parked = [int(slot) for slot in np.flatnonzero(waiting)]
    fired = [slot for slot in parked if state.io.order_timers[2 * slot + 1]]
    _require(sorted(standing + fired) == parked, "TRG-1", "a parked order neither waits nor has fired, or does both")


def _check_queue(state: State, instrument: int, k: int, ticks: int, slots: list[int]) -> None:
    """One trigger price: its orders know it, and its source has not reached it unless the market stands still."""
    where = f"instrument {instrument} ladder {k} ticks {ticks}"
    market, per_tick = state.prices.markets[instrument], int(state.prices.instruments[instrument]["mark_per_tick"])
    prices = (int(market["mark_sub"]), int(market["index_sub"]), int(market["last_ticks"]) * per_tick)
    price_sub, trigger_sub = prices[k // 2], ticks * per_tick
    reached = trigger_sub <= price_sub if k % 2 else trigger_sub >= price_sub
    _require(bool(market["state"] in codes.STILL) or not reached, "TRG-1", where + ": reached, and nothing fired")
    known = [int(state.book.terms[slot]["trigger_ticks"]) == ticks for slot in slots]
    _require(bool(slots) and all(known), "TRG-1", where + ": queue")
    tail = state.triggers.queues[int(state.triggers.ladders[LADDERS * instrument + k]["level_base"]) + ticks]["tail"]
    _require(tail == slots[-1], "TRG-1", where + ": tail")


def _check_links(state: State, flags: np.ndarray) -> None:
    """Linked orders are linked to each other, and of one account and instrument."""
    orders, terms = state.book.orders, state.book.terms
    for slot in np.flatnonzero(flags & codes.TERMED):
        partner = int(terms[slot]["link"])
        alike = all(orders[partner][name] == orders[slot][name] for name in ("account", "instrument"))
        mutual = not partner or (alike and terms[partner]["link"] == slot and partner != slot)
        _require(mutual, "TRG-2", f"order slot {slot}: its partner does not know it")


def _check_timers(state: State, terms: np.ndarray, flags: np.ndarray) -> None:
    """Every order with an expiry has its timer, every timer of an order is known to it, and there are no others."""
    handles, timers = np.flatnonzero(state.io.order_timers), state.io.timers
    dated = np.flatnonzero(terms["expiry_ns"]).tolist()
    timed = [int(handle) // 2 for handle in handles if handle % 2 == 0]
    _require(dated == timed, "TRG-3", f"orders with an expiry {dated}, with its timer {timed}")
    for handle in handles:
        timer, slot = timers[state.io.order_timers[handle]], int(handle) // 2
        is_own = timer["unit"] == slot and timer["kind"] == (codes.TRIGGER if handle % 2 else codes.EXPIRE)
        due_ns = state.io.control[0]["clock_ns"] if handle % 2 else terms[slot]["expiry_ns"]
        on_time = timer["ts_ns"] == due_ns or (handle % 2 and is_paused(state) and timer["ts_ns"] < due_ns)
        _require(is_own and on_time and bool(flags[slot]), "TRG-3", f"order slot {slot}: its timer")
    kinds = timers["kind"][1 : int(state.io.control[0]["timer_count"]) + 1]
    orders = np.count_nonzero((kinds == codes.EXPIRE) | (kinds == codes.TRIGGER))
    _require(orders == len(handles), "TRG-3", f"{orders} timers of orders, {len(handles)} known")


def whole_lots(book: Book, slot: int) -> int:
    """Leaves of an order and what it hides."""
    return int(book.orders[slot]["leaves_lots"]) + int(book.terms[slot]["hidden_lots"])


def check_icebergs(book: Book) -> None:
    """What hides shows at least its least and at most its display; what may be shown yet is counted."""
    slices = 0
    for slot in np.flatnonzero(book.terms["hidden_lots"]):
        terms, shown = book.terms[slot], int(book.orders[slot]["leaves_lots"])
        fits = book.orders[slot]["flags"] & codes.TERMED and terms["display_min_lots"] <= shown <= terms["display_lots"]
        _require(bool(fits) and terms["hidden_lots"] > 0, "ICE-1", f"slot {slot}: shows {shown}")
        slices += -(-int(terms["hidden_lots"]) // int(terms["display_lots"]))
    _require(slices == book.pools[0]["slices"], "ICE-1", f"{slices} slices")
    _require(slices + book.pools[0]["order_live"] < len(book.orders), "ICE-1", "more slices than the pool holds orders")
