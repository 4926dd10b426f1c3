"""AMEND of orders with terms, parked ones among them. DESIGN §3.5; SEQ-4."""

import numpy as np

from exchange.codes import (
    BAD_EXPIRY,
    BAD_TERMS,
    BAD_TRIGGER,
    CANCELLED_BY_USER,
    EXPIRE,
    GTD,
    MARKET,
    OK,
    PARKED,
    PARKED_ORDER,
    PRIORITY_EXPIRE,
    RESTING,
    WOULD_TRIGGER,
)
from exchange.core.kernel import kernel, leaf
from exchange.core.match import cut_link, remove_order, remove_partner
from exchange.core.orders import answer_order, check_amend, check_reentry, enter_termed, owned_order, shrink
from exchange.core.outbox import refuse
from exchange.core.terms import EMPTY, held_for, stash_terms
from exchange.core.timers import drop_timer, push_order_timer
from exchange.core.waiting import (
    last_reached,
    reaches,
    source_sub,
    start_waiting,
    stop_waiting,
    trailing_ticks,
    trails,
    waits_in,
)


@kernel
def amend_termed(state, event):
    """AMEND where the order has terms, or the command brings some."""
    slot, code = owned_order(state, event)
    if code == OK:
        code = check_amend(state, event, slot)
    if not held_for(state.io, event):
        state.io.held[0] = state.io.held[EMPTY]
    if code == OK:
        code = check_changes(state, event, slot)
    if code != OK:
        refuse(state.io, event, code)
    elif state.book.orders[slot]["flags"] & PARKED:
        amend_parked(state, event, slot)
    else:
        amend_resting(state, event, slot)


@kernel
def check_changes(state, event, slot):
    """May the held row (zero = keep) change these terms? Returns a code; mutates nothing."""
    held, order, terms = state.io.held[0], state.book.orders[slot], state.book.terms[slot]
    if held["expiry_ns"] != 0 and (terms["time_in_force"] != GTD or held["expiry_ns"] <= event["ts_ns"]):
        return BAD_EXPIRY
    if held["link_id"] != 0 or held["min_lots"] != 0 or held["trigger"] != 0 or held["trigger_kind"] != 0:
        return BAD_TERMS
    if held["peg"] != 0 or held["self_trade"] != 0:
        return BAD_TERMS
    if event["price"] != 0 and order["flags"] & PARKED and order["flags"] & MARKET:
        return BAD_TERMS
    if held["trigger_ticks"] == 0 and held["offset_ticks"] == 0:
        return OK
    if terms["trigger_ticks"] == 0 or (held["offset_ticks"] if not trails(terms) else held["trigger_ticks"]) != 0:
        return BAD_TERMS
    record = state.prices.instruments[np.int64(order["instrument"])]
    if trails(terms):
        if held["offset_ticks"] < 1 or held["offset_ticks"] > record["ticks_max"]:
            return BAD_TRIGGER
    elif held["trigger_ticks"] < record["ticks_min"] or held["trigger_ticks"] > record["ticks_max"]:
        return BAD_TRIGGER
    instrument, k = np.int64(order["instrument"]), waits_in(state.book, slot)
    price_sub = source_sub(state.prices, instrument, np.int64(terms["trigger"]))
    reached = reaches(k, new_trigger(state, slot), last_reached(state.prices, instrument, k, price_sub))
    return WOULD_TRIGGER if reached else OK


@leaf
def new_trigger(state, slot):
    """Where a waiting order's trigger stands after the held row; a new trailing distance starts from the present."""
    held, terms = state.io.held[0], state.book.terms[slot]
    if held["offset_ticks"] != 0:
        instrument, k = np.int64(state.book.orders[slot]["instrument"]), waits_in(state.book, slot)
        price_sub = source_sub(state.prices, instrument, np.int64(terms["trigger"]))
        return trailing_ticks(state.prices, instrument, k, price_sub, np.int64(held["offset_ticks"]))
    return np.int64(held["trigger_ticks"]) if held["trigger_ticks"] != 0 else np.int64(terms["trigger_ticks"])


@leaf
def set_expiry(state, slot):
    """Take a new expiry from the held row, if it has one. Mutates terms, the heap."""
    expiry_ns = np.int64(state.io.held[0]["expiry_ns"])
    if expiry_ns != 0:
        state.book.terms[slot]["expiry_ns"] = expiry_ns
        drop_timer(state.io, 2 * slot)
        push_order_timer(state.io, expiry_ns, PRIORITY_EXPIRE, slot, EXPIRE)


@leaf
def amend_parked(state, event, slot):
    """A parked order keeps its place where only its quantity goes down or its expiry changes."""
    held, order, terms = state.io.held[0], state.book.orders[slot], state.book.terms[slot]
    total, ticks = np.int64(event["qty"]), np.int64(event["price"])
    moves = total > order["order_lots"] or (ticks != 0 and ticks != order["ticks"])
    moves = moves or held["trigger_ticks"] != 0 or held["offset_ticks"] != 0
    if moves and terms["trigger_ticks"] != 0:
        trigger_ticks = new_trigger(state, slot)
        stop_waiting(state, slot)
        if held["offset_ticks"] != 0:
            terms["offset_ticks"] = np.int64(held["offset_ticks"])
        start_waiting(state, slot, trigger_ticks)
    if ticks != 0:
        order["ticks"] = ticks
    order["order_lots"] = total
    order["leaves_lots"] = total
    set_expiry(state, slot)
    answer_order(state, event, slot, PARKED_ORDER)


@leaf
def amend_resting(state, event, slot):
    """As an AMEND of a plain order; the terms stay, and a new expiry alone costs no priority."""
    order, terms = state.book.orders[slot], state.book.terms[slot]
    total, ticks, cum = np.int64(event["qty"]), np.int64(event["price"]), order["order_lots"] - order["leaves_lots"]
    ticks = ticks if ticks != 0 else np.int64(order["ticks"])
    if total <= cum:
        remove_partner(state, slot)
        answer_order(state, event, slot, CANCELLED_BY_USER)
        remove_order(state, slot)
    elif ticks == order["ticks"] and total <= order["order_lots"]:
        shrink(state, slot, total)
        set_expiry(state, slot)
        answer_order(state, event, slot, RESTING)
    else:
        lots, code = check_reentry(state, slot, ticks, total - cum)
        if code != OK:
            refuse(state.io, event, code)
            return
        p, side, flags = np.int64(order["position"]), np.int64(order["side"]), np.int64(order["flags"])
        instrument, tif = np.int64(order["instrument"]), np.int64(terms["time_in_force"])
        stash_terms(state, slot)
        if terms["link"] != 0:
            cut_link(state.book, slot)
        remove_order(state, slot)
        enter_termed(state, event, instrument, p, side, ticks, lots, flags, tif)
