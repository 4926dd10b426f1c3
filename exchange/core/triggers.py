"""Triggers at work: what fires when an event ends, what a fired order does, trailing, expiry. DESIGN §3.5; TRG-1."""

import numpy as np

from exchange.codes import (
    CANCELLED_BY_EXPIRY,
    CANCELLED_BY_LINK,
    MARKET,
    PEG_NONE,
    POST_ONLY,
    PRIORITY_TRIGGER,
    REDUCE_ONLY,
    TRIGGER,
)
from exchange.core.kernel import kernel, leaf
from exchange.core.orders import place_termed
from exchange.core.removal import cut_link, emit_cancelled, remove_order
from exchange.core.states import stands_still
from exchange.core.terms import ASIDE, stash_terms
from exchange.core.timers import push_order_timer
from exchange.core.waiting import (
    LADDERS,
    RISING,
    join_queue,
    last_reached,
    leave_queue,
    reaches,
    source_sub,
    stop_waiting,
    trailing_ticks,
)


@kernel
def watch_triggers(state):
    """An event is over: trailing triggers follow their sources, and what is reached fires.

    In a market that stands still they wait. Mutates triggers, the heap.
    """
    for instrument in range(np.int64(state.prices.policy[0]["instruments"])):
        if state.triggers.watches[instrument]["waiting"] != 0 and not stands_still(state.prices.markets[instrument]):
            for k in range(LADDERS):
                price_sub = source_sub(state.prices, instrument, k // 2 + 1)
                if price_sub != 0:
                    watch_ladder(state, instrument, k, price_sub)


@leaf
def watch_ladder(state, instrument, k, price_sub):
    """One source in one direction: the price reached first fires first, at one price whoever came first."""
    triggers, watch = state.triggers, state.triggers.watches[instrument]
    if watch["trail_head"][k] != 0:
        follow(state, instrument, k, price_sub)
    best = np.int64(watch["best_ticks"][k])
    if best == 0:
        return
    last = last_reached(state.prices, instrument, k, price_sub)
    while best != 0 and reaches(k, best, last):
        level = np.int64(triggers.ladders[LADDERS * instrument + k]["level_base"]) + best
        slot = np.int64(triggers.queues[level]["head"])
        stop_waiting(state, slot)
        push_order_timer(state.io, np.int64(state.io.control[0]["clock_ns"]), PRIORITY_TRIGGER, slot, TRIGGER)
        best = np.int64(watch["best_ticks"][k])


@kernel
def follow(state, instrument, k, price_sub):
    """Move the trailing triggers of a ladder behind a new extreme of their source. Mutates triggers."""
    book, prices, watch = state.book, state.prices, state.triggers.watches[instrument]
    seen = trailing_ticks(prices, instrument, k, price_sub, np.int64(0))
    if seen >= watch["seen_ticks"][k] if k & RISING else seen <= watch["seen_ticks"][k]:
        return
    watch["seen_ticks"][k] = seen
    slot = np.int64(watch["trail_head"][k])
    while slot != 0:
        terms = book.terms[slot]
        ticks = trailing_ticks(prices, instrument, k, price_sub, np.int64(terms["offset_ticks"]))
        if ticks < terms["trigger_ticks"] if k & RISING else ticks > terms["trigger_ticks"]:
            leave_queue(book, state.triggers, slot)
            join_queue(book, state.triggers, slot, ticks)
        slot = np.int64(terms["next"])


@kernel
def fire_trigger(state, slot):
    """TRIGGER: a parked order enters like a NEW of this moment; its partner goes first. Mutates all that a NEW does.

    A pegged one that comes back keeps its partner, which goes if it is refused.
    """
    io, order, partner = state.io, state.book.orders[slot], np.int64(0)
    event = io.entering[0]
    event["ts_ns"] = np.int64(io.control[0]["clock_ns"])
    event["kind"] = TRIGGER
    event["order_id"] = np.int64(order["order_id"])
    event["account"] = np.int64(order["account"])
    event["instrument"] = np.int64(order["instrument"])
    event["side"] = np.int64(order["side"])
    event["price"] = np.int64(order["ticks"])
    event["qty"] = np.int64(order["order_lots"])
    event["flags"] = np.int64(order["flags"]) & (POST_ONLY | REDUCE_ONLY | MARKET)
    event["time_in_force"] = np.int64(state.book.terms[slot]["time_in_force"])
    io.held[ASIDE] = io.held[0]
    stash_terms(state, slot)
    if state.book.terms[slot]["peg"] != PEG_NONE and state.book.terms[slot]["link"] != 0:
        partner = np.int64(state.book.terms[slot]["link"])
        cut_link(state.book, slot)
    remove_order(state, slot)
    place_termed(state, event)
    io.held[0] = io.held[ASIDE]
    if partner != 0 and state.book.terms[partner]["link"] == 0:
        emit_cancelled(state, partner, CANCELLED_BY_LINK, 0)
        remove_order(state, partner)


@kernel
def expire_order(state, slot):
    """EXPIRE: the time of an order that is good till date is over. Mutates book, sums, lists."""
    emit_cancelled(state, slot, CANCELLED_BY_EXPIRY, 0)
    remove_order(state, slot)
