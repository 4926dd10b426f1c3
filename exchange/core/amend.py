"""AMEND: of plain orders, then of those with terms, parked ones among them. DESIGN §3.1, §3.5; SEQ-4."""

import numpy as np

from exchange.codes import (
    BAD_EXPIRY,
    BAD_LOTS,
    BAD_MIN_LOTS,
    BAD_PEG,
    BAD_PRICE,
    BAD_TERMS,
    BAD_TRIGGER,
    BUDGET,
    CANCELLED_BY_USER,
    EXPIRE,
    GTC,
    GTD,
    MARKET,
    OK,
    ORDERS_FULL,
    PARKED,
    PARKED_ORDER,
    PEG_NONE,
    POST_ONLY,
    PRIORITY_EXPIRE,
    REDUCE_ONLY,
    REDUCE_ONLY_INCREASES,
    RESTING,
    STATE_CONTINUOUS,
    STP_DEFAULT,
    TERMED,
    WOULD_TRIGGER,
)
from exchange.core.admission import check_matchable, closable_lots
from exchange.core.iceberg import all_lots, room_to_grow
from exchange.core.kernel import inlined, kernel, leaf
from exchange.core.order_guards import check_guards, check_lot_step, check_waiting
from exchange.core.orders import answer_order, enter_pegged, enter_termed, owned_order
from exchange.core.outbox import refuse
from exchange.core.pegs import held_peg_ticks, peg_stale
from exchange.core.removal import change_open_order, cut_link, remove_order, remove_partner, shrink
from exchange.core.self_trade import check_self_trade, self_trade_mode
from exchange.core.states import check_state
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


@leaf
def check_amend(state, event, slot):
    """Checks of an AMEND on the order's own instrument. Returns a code; mutates nothing."""
    order = state.book.orders[slot]
    instrument = np.int64(order["instrument"])
    record = state.prices.instruments[instrument]
    if event["qty"] < 1 or event["qty"] > record["order_max_lots"]:
        return BAD_LOTS
    if event["price"] != 0 and (event["price"] < record["ticks_min"] or event["price"] > record["ticks_max"]):
        return BAD_PRICE
    if state.prices.markets[instrument]["state"] != STATE_CONTINUOUS:
        flags = np.int64(order["flags"])
        code = check_state(np.int64(state.prices.markets[instrument]["state"]), flags, GTC, flags & PARKED)
        if code != OK:
            return code
    code = check_self_trade(state.io) if held_for(state.io, event) else OK
    if code == OK and state.prices.markets[instrument]["guarded"] != 0:
        code = check_lot_step(state.prices, instrument, np.int64(event["qty"]))
    return code


@kernel
def amend_order(state, event):
    """AMEND: quantity down keeps priority; anything else re-enters the order, checked like a new one.

    Returns False, with nothing done, where terms are involved.
    """
    slot, code = owned_order(state, event)
    if state.book.orders[slot]["flags"] & TERMED or held_for(state.io, event):
        return False
    if code == OK:
        code = check_amend(state, event, slot)
    if code != OK:
        refuse(state.io, event, code)
        return True
    order = state.book.orders[slot]
    total, ticks = np.int64(event["qty"]), np.int64(event["price"])
    leaves, side, instrument = np.int64(order["leaves_lots"]), np.int64(order["side"]), np.int64(order["instrument"])
    ticks = ticks if ticks != 0 else np.int64(order["ticks"])
    cum = np.int64(order["order_lots"]) - leaves
    if total <= cum:
        answer_order(state, event, slot, CANCELLED_BY_USER)
        remove_order(state, slot)
    elif ticks == order["ticks"] and total <= order["order_lots"]:
        lower(state, slot, total)
        answer_order(state, event, slot, RESTING)
    else:
        re_enter(state, event, slot, instrument, side, ticks, total - cum)
    return True


@leaf
def lower(state, slot, total):
    """Lower an order to `total` lots where it stands, priority kept. Mutates book, ledger."""
    cut = np.int64(state.book.orders[slot]["order_lots"]) - total
    if cut > 0:
        shrink(state, slot, cut)


@kernel
def check_reentry(state, slot, ticks, lots, flags, self_trade):
    """(lots, code) of an order that would enter again with `lots` at `ticks`: checked as if it were gone."""
    order = state.book.orders[slot]
    p, leaves = np.int64(order["position"]), all_lots(state.book, slot)
    instrument, side = np.int64(order["instrument"]), np.int64(order["side"])
    code = OK
    if state.prices.markets[instrument]["guarded"] != 0:
        wallet = np.int64(state.ledger.positions[p]["wallet"])
        code = check_guards(state, instrument, wallet, side, ticks, lots, flags, GTC, 0)
    change_open_order(state.ledger, state.prices, order, leaves, np.int64(0))
    state.book.books[instrument]["order_lots"] -= leaves
    if code == OK and flags & REDUCE_ONLY:
        lots = min(lots, closable_lots(state.ledger, state.prices, p, side, True))
        code = OK if lots > 0 else REDUCE_ONLY_INCREASES
    if code == OK:
        code = check_matchable(state, instrument, p, side, ticks, lots, flags, GTC, self_trade)
    change_open_order(state.ledger, state.prices, order, np.int64(0), leaves)
    state.book.books[instrument]["order_lots"] += leaves
    return lots, code


@inlined
def re_enter(state, event, slot, instrument, side, ticks, lots):
    """Amend with loss of priority: take the order out and enter it again."""
    p, flags = np.int64(state.book.orders[slot]["position"]), entering_flags(state, event, slot)
    self_trade = self_trade_mode(state.prices, state.io, instrument, 0)
    lots, code = check_reentry(state, slot, ticks, lots, flags, self_trade)
    if code != OK:
        refuse(state.io, event, code)
        return
    remove_order(state, slot)
    if state.io.held[0]["kind"] != 0:
        state.io.held[0] = state.io.held[EMPTY]  # another command's
    enter_termed(state, event, instrument, p, side, ticks, lots, flags, GTC, self_trade)


@leaf
def entering_flags(state, event, slot):
    """Flags with which an amended order enters again: one that is told a price is a market order no more."""
    flags = np.int64(state.book.orders[slot]["flags"])
    return flags & ~MARKET if event["price"] != 0 else flags


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
    gone = event["qty"] <= state.book.orders[slot]["order_lots"] - all_lots(state.book, slot)  # as much was filled
    if code == OK and state.book.orders[slot]["flags"] & PARKED and not gone:
        code = check_parked(state, event, slot)
    if code != OK:
        refuse(state.io, event, code)
    elif gone:
        remove_partner(state, slot)
        answer_order(state, event, slot, CANCELLED_BY_USER)
        remove_order(state, slot)
    elif state.book.orders[slot]["flags"] & PARKED:
        amend_parked(state, event, slot)
    else:
        amend_resting(state, event, slot)


@kernel
def check_changes(state, event, slot):
    """May the held row (zero = keep) change these terms? Returns a code; mutates nothing."""
    held, order, terms = state.io.held[0], state.book.orders[slot], state.book.terms[slot]
    too_late = held["expiry_ns"] <= state.io.control[0]["clock_ns"]
    if held["expiry_ns"] != 0 and (terms["time_in_force"] != GTD or too_late):
        return BAD_EXPIRY
    if held["link_id"] != 0 or held["min_lots"] != 0 or held["trigger"] != 0 or held["trigger_kind"] != 0:
        return BAD_TERMS
    if held["peg"] != 0 or held["display_lots"] != 0 or held["display_min_lots"] != 0:
        return BAD_TERMS
    if event["price"] != 0 and order["flags"] & PARKED and order["flags"] & MARKET:
        return BAD_TERMS
    if held["trigger_ticks"] == 0 and held["offset_ticks"] == 0:
        return OK
    record = state.prices.instruments[np.int64(order["instrument"])]
    if terms["peg"] != PEG_NONE:
        if held["trigger_ticks"] != 0:
            return BAD_TERMS
        return OK if abs(np.int64(held["offset_ticks"])) <= record["ticks_max"] else BAD_PEG
    if terms["trigger_ticks"] == 0 or (held["offset_ticks"] if not trails(terms) else held["trigger_ticks"]) != 0:
        return BAD_TERMS
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
def check_parked(state, event, slot):
    """Least quantity and guards of a parked order as the command would leave it. Returns a code; mutates nothing."""
    order = state.book.orders[slot]
    if event["qty"] < state.book.terms[slot]["min_lots"]:
        return BAD_MIN_LOTS
    instrument, ticks = np.int64(order["instrument"]), np.int64(event["price"])
    if state.prices.markets[instrument]["guarded"] == 0:
        return OK
    ticks, wallet = ticks if ticks != 0 else np.int64(order["ticks"]), np.int64(0)  # it is counted already
    flags = np.int64(order["flags"]) | (MARKET if state.book.terms[slot]["peg"] != PEG_NONE else 0)
    return check_waiting(state, instrument, wallet, ticks, np.int64(event["qty"]), flags, 0)


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
def take_changes(state, slot):
    """Take a new expiry and mode from the held row, where it has them. Mutates terms, the heap."""
    expiry_ns, self_trade = np.int64(state.io.held[0]["expiry_ns"]), state.io.held[0]["self_trade"]
    if self_trade != STP_DEFAULT and state.book.orders[slot]["flags"] & TERMED:
        state.book.terms[slot]["self_trade"] = self_trade
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
    if terms["peg"] != PEG_NONE:
        terms["limit_ticks"] = np.int64(order["ticks"])
        if held["offset_ticks"] != 0:
            terms["offset_ticks"] = np.int64(held["offset_ticks"])
        peg_stale(state, np.int64(order["instrument"]))
    order["leaves_lots"] += total - np.int64(order["order_lots"])
    order["order_lots"] = total
    take_changes(state, slot)
    answer_order(state, event, slot, PARKED_ORDER)


@leaf
def amend_resting(state, event, slot):
    """As an AMEND of a plain order; the terms stay, and a new expiry alone costs no priority."""
    order, terms = state.book.orders[slot], state.book.terms[slot]
    total, ticks = np.int64(event["qty"]), np.int64(event["price"])
    cum = np.int64(order["order_lots"]) - all_lots(state.book, slot)
    pegged, held = terms["peg"] != PEG_NONE, state.io.held[0]
    limit_ticks = np.int64(terms["limit_ticks"]) if pegged else np.int64(order["ticks"])
    ticks = ticks if ticks != 0 else limit_ticks
    moves = pegged and held["offset_ticks"] != 0 and held["offset_ticks"] != terms["offset_ticks"]
    if ticks == limit_ticks and total <= order["order_lots"] and not moves:
        lower(state, slot, total)
        take_changes(state, slot)
        answer_order(state, event, slot, RESTING)
    else:
        instrument, tif = np.int64(order["instrument"]), np.int64(terms["time_in_force"])
        p, side, flags = np.int64(order["position"]), np.int64(order["side"]), entering_flags(state, event, slot)
        stash_terms(state, slot)
        self_trade = self_trade_mode(state.prices, state.io, instrument, 1)
        checked = flags & ~POST_ONLY | BUDGET if pegged else flags  # as where a NEW is pegged
        lots, code = check_reentry(state, slot, ticks, total - cum, checked, self_trade)
        if code == OK and not room_to_grow(state.book, slot, lots):
            code = ORDERS_FULL
        if code != OK:
            refuse(state.io, event, code)
            return
        if terms["link"] != 0:
            cut_link(state.book, slot)
        remove_order(state, slot)
        if pegged:
            place_ticks = held_peg_ticks(state, instrument, side, ticks)
            enter_pegged(state, event, instrument, p, side, ticks, place_ticks, lots, flags, tif)
        else:
            enter_termed(state, event, instrument, p, side, ticks, lots, flags, tif, self_trade)
