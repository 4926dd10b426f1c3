"""Orders that wait for a trigger: six price ladders an instrument, and the list of trailing ones. DESIGN §3.5; TRG-1.

Ladder k = 2 * (source - 1) + direction. A parked order stands in no book queue, so its `next` and `prev` link the queue
of its trigger price. Only structure lives here: what firing means is in `triggers.py`.
"""

import numpy as np

from exchange.codes import BID, STOP, TRIGGER_INDEX, TRIGGER_MARK, TRIGGER_NONE
from exchange.core.kernel import kernel, leaf
from exchange.core.ladder import clear_level, find_down, find_up, mark_level

LADDERS = 6
RISING = 1  # direction: k & RISING


@leaf
def ladder_number(trigger, trigger_kind, side):
    """Which of an instrument's ladders: a stop bid and a take-profit ask wait for a rise, the others for a fall."""
    rises = (side == BID) == (trigger_kind == STOP)
    return 2 * (trigger - 1) + (RISING if rises else 0)


@leaf
def waits_in(book, slot):
    """The ladder number of a parked order."""
    terms = book.terms[slot]
    return ladder_number(
        np.int64(terms["trigger"]), np.int64(terms["trigger_kind"]), np.int64(book.orders[slot]["side"])
    )


@leaf
def source_sub(prices, instrument, source):
    """Present price of a trigger's source in sub-ticks; 0 = none yet."""
    market = prices.markets[instrument]
    if source == TRIGGER_MARK:
        return np.int64(market["mark_sub"])
    if source == TRIGGER_INDEX:
        return np.int64(market["index_sub"])
    return np.int64(market["last_ticks"]) * np.int64(prices.instruments[instrument]["mark_per_tick"])


@leaf
def last_reached(prices, instrument, k, price_sub):
    """The furthest trigger price, in ticks, that a source at `price_sub` reaches; compared exactly in sub-ticks."""
    per_tick = np.int64(prices.instruments[instrument]["mark_per_tick"])
    return price_sub // per_tick if k & RISING else -(-price_sub // per_tick)


@leaf
def reaches(k, ticks, last_ticks):
    return ticks <= last_ticks if k & RISING else ticks >= last_ticks


@leaf
def trailing_ticks(prices, instrument, k, price_sub, offset_ticks):
    """Trigger of a trailing stop whose source's extreme is `price_sub`: rounded away from it, held in the ladder."""
    record = prices.instruments[instrument]
    per_tick = np.int64(record["mark_per_tick"])
    ticks = -(-price_sub // per_tick) + offset_ticks if k & RISING else price_sub // per_tick - offset_ticks
    return max(np.int64(record["ticks_min"]), min(ticks, np.int64(record["ticks_max"])))


@leaf
def trails(terms):
    return terms["trigger"] != TRIGGER_NONE and terms["offset_ticks"] != 0


@kernel
def join_queue(book, triggers, slot, ticks):
    """File a parked order last under a trigger price. Mutates terms, orders, queues, words, watch."""
    order, k = book.orders[slot], waits_in(book, slot)
    instrument = np.int64(order["instrument"])
    ladder, watch = triggers.ladders[LADDERS * instrument + k], triggers.watches[instrument]
    queue = triggers.queues[np.int64(ladder["level_base"]) + ticks]
    tail = np.int64(queue["tail"])
    order["prev"] = tail
    order["next"] = 0
    queue["tail"] = slot
    book.terms[slot]["trigger_ticks"] = ticks
    if tail != 0:
        book.orders[tail]["next"] = slot
        return
    queue["head"] = slot
    mark_level(triggers.words, ladder, ticks)
    best = np.int64(watch["best_ticks"][k])
    if best == 0 or (ticks < best if k & RISING else ticks > best):
        watch["best_ticks"][k] = ticks


@kernel
def leave_queue(book, triggers, slot):
    """Take a parked order out of its trigger price. Mutates terms, orders, queues, words, watch."""
    order, k = book.orders[slot], waits_in(book, slot)
    instrument, ticks = np.int64(order["instrument"]), np.int64(book.terms[slot]["trigger_ticks"])
    ladder, watch = triggers.ladders[LADDERS * instrument + k], triggers.watches[instrument]
    queue = triggers.queues[np.int64(ladder["level_base"]) + ticks]
    before, after = np.int64(order["prev"]), np.int64(order["next"])
    if before != 0:
        book.orders[before]["next"] = after
    else:
        queue["head"] = after
    if after != 0:
        book.orders[after]["prev"] = before
    else:
        queue["tail"] = before
    order["next"] = 0
    order["prev"] = 0
    book.terms[slot]["trigger_ticks"] = 0
    if before == 0 and after == 0:
        clear_level(triggers.words, ladder, ticks)
        if watch["best_ticks"][k] == ticks:
            find = find_up(triggers.words, ladder, ticks) if k & RISING else find_down(triggers.words, ladder, ticks)
            watch["best_ticks"][k] = find


@kernel
def start_waiting(state, slot, ticks):
    """Park an order under a trigger price; a trailing one joins the list that follows its source. Mutates triggers."""
    book, triggers, terms = state.book, state.triggers, state.book.terms[slot]
    instrument, k = np.int64(book.orders[slot]["instrument"]), waits_in(book, slot)
    watch = triggers.watches[instrument]
    state.io.control[0]["waiting"] += 1
    watch["waiting"] += 1
    join_queue(book, triggers, slot, ticks)
    if not trails(terms):
        return
    price_sub = source_sub(state.prices, instrument, np.int64(terms["trigger"]))
    seen = trailing_ticks(state.prices, instrument, k, price_sub, np.int64(0))
    tail = np.int64(watch["trail_tail"][k])
    terms["prev"] = tail
    if tail == 0:
        watch["trail_head"][k] = slot
    else:
        book.terms[tail]["next"] = slot
        before = np.int64(watch["seen_ticks"][k])
        seen = max(seen, before) if k & RISING else min(seen, before)
    watch["trail_tail"][k] = slot
    watch["seen_ticks"][k] = seen


@kernel
def stop_waiting(state, slot):
    """Take a parked order out of its ladder, and out of the list of trailing ones. Mutates triggers."""
    book, triggers, terms = state.book, state.triggers, state.book.terms[slot]
    k, watch = waits_in(book, slot), triggers.watches[np.int64(book.orders[slot]["instrument"])]
    state.io.control[0]["waiting"] -= 1
    watch["waiting"] -= 1
    leave_queue(book, triggers, slot)
    if not trails(terms):
        return
    before, after = np.int64(terms["prev"]), np.int64(terms["next"])
    if before != 0:
        book.terms[before]["next"] = after
    else:
        watch["trail_head"][k] = after
    if after != 0:
        book.terms[after]["prev"] = before
    else:
        watch["trail_tail"][k] = before
    terms["next"] = 0
    terms["prev"] = 0
