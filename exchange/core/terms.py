"""Terms of an order beyond price and quantity: they come in a TERMS row before their command. DESIGN §3.5."""

import numpy as np

from exchange.codes import (
    BAD_DISPLAY,
    BAD_EXPIRY,
    BAD_FLAGS,
    BAD_LINK,
    BAD_MIN_LOTS,
    BAD_PEG,
    BAD_TERMS,
    BAD_TIME_IN_FORCE,
    BAD_TRIGGER,
    BID,
    BUDGET,
    EXPIRE,
    FOK,
    FORCED,
    GTC,
    GTD,
    MARKET,
    NO_TRIGGER_PRICE,
    OK,
    PARKED,
    PEG_NONE,
    PEG_OPPOSITE,
    POST_ONLY,
    PRIORITY_EXPIRE,
    REDUCE_ONLY,
    STOP,
    STP_DEFAULT,
    TAKE_PROFIT,
    TERMED,
    TERMS,
    TO_LIMIT,
    TRIGGER,
    TRIGGER_LAST,
    TRIGGER_NONE,
    TRIGGERED,
    WOULD_TRIGGER,
)
from exchange.core.book import find_id
from exchange.core.iceberg import check_display, hide, set_hidden
from exchange.core.kernel import kernel, leaf
from exchange.core.outbox import answer, emit, refuse
from exchange.core.pegs import leave_pegs
from exchange.core.timers import drop_timer, push_order_timer
from exchange.core.waiting import ladder_number, last_reached, reaches, source_sub, stop_waiting, trailing_ticks

ASIDE, EMPTY = 1, 2  # rows of `held`; row 0 is for the next command
RING = 2  # those of the gateway's queue begin after this one: its places are numbered from 1


@leaf
def held_for(io, event):
    """Is a TERMS row held that belongs to this command?"""
    held = io.held[0]
    return held["kind"] != 0 and held["account"] == event["account"] and held["order_id"] == event["order_id"]


@leaf
def is_special(io, event):
    """Is this NEW more than a plain order: has it terms, or what only orders with terms know?"""
    return held_for(io, event) or event["time_in_force"] > FOK or event["flags"] & BUDGET != 0


@kernel
def hold_terms(io, terms):
    """TERMS: keep the row for the next command. Mutates `held`; a row held before is lost."""
    io.held[0] = terms


@kernel
def drop_terms(io):
    """The command after a TERMS row is done. Mutates `held`."""
    io.held[0]["kind"] = np.int16(0)


@kernel
def check_form(tif, flags):
    """Time in force and flags of a NEW that is not plain. Returns a code."""
    if tif < GTC or tif > TO_LIMIT:
        return BAD_TIME_IN_FORCE
    if flags & ~(POST_ONLY | REDUCE_ONLY | MARKET | BUDGET):
        return BAD_FLAGS
    if flags & POST_ONLY and (flags & MARKET or (tif != GTC and tif != GTD)):
        return BAD_FLAGS
    if (tif == TO_LIMIT and not flags & MARKET) or (flags & BUDGET and (tif != FOK or flags & MARKET)):
        return BAD_FLAGS
    return OK


@kernel
def check_terms(state, event, instrument):
    """Fields of the held row (all zero where none came) against the NEW that they belong to. Returns a code."""
    held, record = state.io.held[0], state.prices.instruments[instrument]
    tif, flags = np.int64(event["time_in_force"]), np.int64(event["flags"])
    too_late = held["expiry_ns"] <= state.io.control[0]["clock_ns"]
    if (tif == GTD) != (held["expiry_ns"] != 0) or (tif == GTD and too_late):
        return BAD_EXPIRY
    ticks, offset, kind = np.int64(held["trigger_ticks"]), np.int64(held["offset_ticks"]), held["trigger_kind"]
    if held["trigger"] < TRIGGER_NONE or held["trigger"] > TRIGGER_LAST:
        return BAD_TRIGGER
    if held["trigger"] == TRIGGER_NONE:
        if ticks != 0 or kind != STOP or (offset != 0 and held["peg"] == PEG_NONE):
            return BAD_TRIGGER
    elif kind != STOP and (kind != TAKE_PROFIT or offset != 0):
        return BAD_TRIGGER
    elif offset != 0 and (ticks != 0 or offset < 0 or offset > record["ticks_max"]):
        return BAD_TRIGGER
    elif offset == 0 and (ticks < record["ticks_min"] or ticks > record["ticks_max"]):
        return BAD_TRIGGER
    if held["min_lots"] < 0 or held["min_lots"] > event["qty"]:
        return BAD_MIN_LOTS
    if held["min_lots"] != 0 and flags & POST_ONLY:
        return BAD_TERMS
    if held["trigger"] != TRIGGER_NONE and flags & BUDGET:
        return BAD_TERMS
    if held["peg"] != PEG_NONE and not is_peg(held, record, tif, flags):
        return BAD_PEG
    if not check_display(state, tif, flags, event, instrument):
        return BAD_DISPLAY
    if held["link_id"] != 0 and linked_slot(state, np.int64(event["account"]), instrument) == 0:
        return BAD_LINK
    return OK


@leaf
def is_peg(held, record, tif, flags):
    """May the order that the held row belongs to be pegged as it says?"""
    if record["pegged"] == 0 or held["peg"] < PEG_NONE or held["peg"] > PEG_OPPOSITE or held["min_lots"] != 0:
        return False
    if (tif != GTC and tif != GTD) or flags & (MARKET | BUDGET) or held["trigger"] != TRIGGER_NONE:
        return False
    return abs(np.int64(held["offset_ticks"])) <= record["ticks_max"]


@leaf
def resting_ticks(prices, instrument, side, limit_ticks):
    """Where what is left of a market-to-limit order rests: at the last price, else at the mark, within its limit."""
    market, per_tick = prices.markets[instrument], np.int64(prices.instruments[instrument]["mark_per_tick"])
    ticks = np.int64(market["last_ticks"])
    if ticks == 0:
        ticks = np.int64(market["mark_sub"]) // per_tick
    return min(ticks, limit_ticks) if side == BID else max(ticks, limit_ticks)


@leaf
def conclude(state, event, termed, instrument, code, price, lots):
    """Answer a command, or announce what became of an order whose trigger was reached."""
    if termed and event["kind"] == TRIGGER:
        announce_triggered(state.io, event, instrument, code, price, lots)
    else:
        answer(state.io, event, instrument, code, price, lots)


@kernel
def announce_triggered(io, event, instrument, code, price, lots):
    """TRIGGERED: like the RESULT of a NEW. Mutates the outbox."""
    account, order_id, flags = np.int64(event["account"]), np.int64(event["order_id"]), np.int64(event["kind"])
    emit(io, TRIGGERED, code, instrument, account, 0, order_id, price, lots, 0, flags, 0)


@leaf
def turn_down(state, event, termed, code):
    """Refuse a command, or announce that a triggered order is refused."""
    if termed:
        instrument, price, lots = np.int64(event["instrument"]), np.int64(event["price"]), np.int64(event["qty"])
        conclude(state, event, termed, instrument, code, price, lots)
    else:
        refuse(state.io, event, code)


@leaf
def linked_slot(state, account, instrument):
    """The live order without a partner that the held row links to; 0 = none such."""
    book = state.book
    slot = find_id(book.ids, book.orders, np.int64(state.io.held[0]["link_id"]))
    order, has_partner = book.orders[slot], book.terms[slot]["link"] != 0
    if order["account"] != account or order["instrument"] != instrument or has_partner or order["flags"] & FORCED:
        return np.int64(0)
    return slot


@kernel
def trigger_for(state, instrument, side):
    """(trigger price in ticks, code) of the held row: its source must have a price that does not reach it."""
    held, prices = state.io.held[0], state.prices
    price_sub = source_sub(prices, instrument, np.int64(held["trigger"]))
    ticks, offset = np.int64(held["trigger_ticks"]), np.int64(held["offset_ticks"])
    if price_sub == 0:
        return ticks, NO_TRIGGER_PRICE
    k = ladder_number(np.int64(held["trigger"]), np.int64(held["trigger_kind"]), side)
    if offset != 0:
        ticks = trailing_ticks(prices, instrument, k, price_sub, offset)
    return ticks, WOULD_TRIGGER if reaches(k, ticks, last_reached(prices, instrument, k, price_sub)) else OK


@kernel
def attach_terms(state, slot, tif):
    """Give an order that rests, or is parked, what stays of the held row. Mutates order, terms, the heap."""
    book, held = state.book, state.io.held[0]
    order, terms = book.orders[slot], book.terms[slot]
    order["flags"] |= TERMED
    terms["expiry_ns"] = np.int64(held["expiry_ns"])
    terms["time_in_force"] = GTC if tif == TO_LIMIT and not order["flags"] & PARKED else tif
    terms["self_trade"] = held["self_trade"]
    if held["display_lots"] != 0:
        terms["display_lots"] = np.int64(held["display_lots"])
        terms["display_min_lots"] = max(np.int64(1), np.int64(held["display_min_lots"]))
        if not order["flags"] & PARKED:
            hide(book, slot)
    if order["flags"] & PARKED:
        terms["offset_ticks"] = held["offset_ticks"]
        terms["min_lots"] = held["min_lots"]
        terms["trigger"] = held["trigger"]
        terms["trigger_kind"] = held["trigger_kind"]
    partner = linked_slot(state, np.int64(order["account"]), np.int64(order["instrument"]))
    if held["link_id"] != 0 and partner != 0 and partner != slot:
        terms["link"] = partner
        book.terms[partner]["link"] = slot
        book.orders[partner]["flags"] |= TERMED
    if held["expiry_ns"] != 0:
        push_order_timer(state.io, np.int64(held["expiry_ns"]), PRIORITY_EXPIRE, slot, EXPIRE)


@kernel
def release_terms(state, slot):
    """Forget an order's terms: it leaves every list and every timer. Its link was cut. Mutates terms, lists, heap."""
    terms = state.book.terms[slot]
    if terms["trigger_ticks"] != 0:
        stop_waiting(state, slot)
    if terms["peg"] != PEG_NONE:
        leave_pegs(state, slot)
    drop_timer(state.io, 2 * slot)
    drop_timer(state.io, 2 * slot + 1)
    if terms["hidden_lots"] != 0:
        set_hidden(state.book, slot, np.int64(0))
    state.book.terms[slot] = state.book.terms[0]


@kernel
def stash_terms(state, slot):
    """Hold the terms of an order that enters again, with what the held row changes of them (zero = keep).

    Its trigger is behind it. Mutates `held`.
    """
    io, order, terms = state.io, state.book.orders[slot], state.book.terms[slot]
    held = io.held[0]
    expiry_ns, self_trade = np.int64(held["expiry_ns"]), np.int64(held["self_trade"])
    offset_ticks = np.int64(held["offset_ticks"])
    if order["flags"] & PARKED:
        expiry_ns, self_trade, offset_ticks = np.int64(0), np.int64(0), np.int64(0)  # the held row is not this order's
    io.held[0] = io.held[EMPTY]
    held["kind"] = TERMS
    held["account"] = np.int64(order["account"])
    held["order_id"] = np.int64(order["order_id"])
    held["expiry_ns"] = expiry_ns if expiry_ns != 0 else np.int64(terms["expiry_ns"])
    held["self_trade"] = self_trade if self_trade != STP_DEFAULT else np.int64(terms["self_trade"])
    held["min_lots"] = np.int64(terms["min_lots"])
    if terms["display_lots"] != 0:
        held["display_lots"] = np.int64(terms["display_lots"])
        if order["flags"] & PARKED:  # it enters like a NEW, and may have been amended below its display
            held["display_lots"] = min(np.int64(terms["display_lots"]), np.int64(order["order_lots"]))
        held["display_min_lots"] = min(np.int64(terms["display_min_lots"]), np.int64(held["display_lots"]))
    if terms["peg"] != PEG_NONE:
        held["peg"] = terms["peg"]
        held["offset_ticks"] = offset_ticks if offset_ticks != 0 else np.int64(terms["offset_ticks"])
    if terms["link"] != 0 and (terms["peg"] != PEG_NONE or order["flags"] & PARKED == 0):
        held["link_id"] = np.int64(state.book.orders[np.int64(terms["link"])]["order_id"])
