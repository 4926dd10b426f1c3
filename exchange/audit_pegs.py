"""What is always true of pegged orders: PEG-1. DESIGN §5; recomputed from the raw records."""

import numpy as np

from exchange import codes
from exchange.errors import InvariantError
from exchange.state import State


def check_pegs(state: State) -> None:
    """Every pegged order is listed once, and between messages stands where its reference puts it, or waits."""
    count, high = 0, int(state.book.pools[0]["order_high"]) + 1
    for instrument in range(len(state.book.books)):
        slots = pegged_slots(state, instrument)
        count += len(slots)
        _require(all(state.book.orders[slot]["instrument"] == instrument for slot in slots), f"list of {instrument}")
        before = [0, *slots[:-1]] if slots else []
        _require([int(state.book.terms[slot]["prev"]) for slot in slots] == before, f"chain of {instrument}")
        tail = int(state.triggers.watches[instrument]["peg_tail"])
        _require(tail == (slots[-1] if slots else 0), f"tail of {instrument}")
        if slots and not state.io.control[0]["unfinished"]:
            _check_prices(state, instrument, slots)
    listed = np.count_nonzero(state.book.terms["peg"][:high])
    _require(count == listed == state.io.control[0]["pegged"], f"{listed} pegged orders, {count} listed")


def _require(holds: bool, where: str) -> None:
    if not holds:
        raise InvariantError(f"PEG-1 does not hold: {where}")


def pegged_slots(state: State, instrument: int) -> list[int]:
    """Slots of an instrument's pegged orders in the order of its list."""
    found, slot = [], int(state.triggers.watches[instrument]["peg_head"])
    while slot:
        found.append(slot)
        slot = int(state.book.terms[slot]["next"])
    return found


def _check_prices(state: State, instrument: int, slots: list[int]) -> None:
    orders, still = state.book.orders, state.prices.markets[instrument]["state"] in codes.STILL
    here = (orders["leaves_lots"] > 0) & (orders["instrument"] == instrument) & (orders["flags"] & codes.PARKED == 0)
    firm = here & (state.book.terms["peg"] == 0)
    references, bests = (
        [
            max(orders["ticks"][of & (orders["side"] == codes.BID)].tolist(), default=0),
            min(orders["ticks"][of & (orders["side"] == codes.ASK)].tolist(), default=0),
        ]
        for of in (firm, here)
    )
    for slot in slots:
        order = orders[slot]
        ticks = 0 if still else _ticks(state, slot, references, bests)
        if not order["flags"] & codes.PARKED:
            _require(order["ticks"] == ticks, f"slot {slot} rests at {order['ticks']}, its peg is {ticks}")
        elif not state.io.order_timers[2 * slot + 1]:
            _require(ticks == 0, f"slot {slot} waits, its peg is {ticks}")


def _ticks(state: State, slot: int, references: list[int], bests: list[int]) -> int:
    """Where a pegged order belongs; 0 = nowhere. A sale is reckoned as a purchase at negative prices."""
    order, terms = state.book.orders[slot], state.book.terms[slot]
    record, side = state.prices.instruments[order["instrument"]], int(order["side"])
    sign = 1 if side == codes.BID else -1
    step = max(1, int(state.prices.order_guards[order["instrument"]]["price_step_ticks"]))
    own, other = references[side], references[1 - side]
    if terms["peg"] == codes.PEG_MID:
        base = sign * (own + other) // 2 if own and other else 0
    else:
        base = sign * (own if terms["peg"] == codes.PEG_BEST else other)
    if not base:
        return 0
    ticks = min(base - int(terms["offset_ticks"]), sign * int(terms["limit_ticks"]))
    ticks = min(ticks, sign * bests[1 - side] - 1) if bests[1 - side] else ticks
    ticks = sign * (ticks // step * step)
    return ticks if record["ticks_min"] <= ticks <= record["ticks_max"] else 0
