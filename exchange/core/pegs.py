"""Pegged orders: what they stand by, the price that gives, and the list of an instrument's. DESIGN §3.6; PEG-1.

Only structure and prices live here; `repricing.py` moves the orders.
"""

import numpy as np

from exchange.codes import ASK, BID, PEG_BEST, PEG_MID, TERMED
from exchange.core.book import level_of, next_level, opposite
from exchange.core.kernel import kernel, leaf
from exchange.core.states import stands_still

STALE, STILL = -1, -2  # in place of the first of WATCH.peg_seen: an order changed; all wait because the market does


@kernel
def firm_best(book, instrument, side):
    """Best price of a side of the book without pegged orders; 0 = none."""
    ticks = np.int64(book.books[instrument]["best_ticks"][side])
    while ticks != 0:
        slot = np.int64(book.levels[level_of(book, instrument, side, ticks)]["head"])
        while slot != 0:
            if not book.orders[slot]["flags"] & TERMED or book.terms[slot]["peg"] == 0:
                return ticks
            slot = np.int64(book.orders[slot]["next"])
        ticks = next_level(book, instrument, side, ticks)
    return ticks


@kernel
def peg_ticks(state, instrument, side, peg, offset_ticks, cap_ticks, bid, ask):
    """Where a pegged order stands while `bid` and `ask` are the references; 0 = nowhere."""
    record, best = state.prices.instruments[instrument], state.book.books[instrument]["best_ticks"]
    step = max(np.int64(1), np.int64(state.prices.order_guards[instrument]["price_step_ticks"]))
    facing = np.int64(best[opposite(side)])
    if peg == PEG_MID:
        base = (bid + ask + (1 if side == ASK else 0)) // 2 if bid != 0 and ask != 0 else np.int64(0)
    else:
        base = bid if (peg == PEG_BEST) == (side == BID) else ask
    if base == 0:
        return np.int64(0)
    if side == BID:
        ticks = min(base - offset_ticks, cap_ticks)
        ticks = min(ticks, facing - 1) if facing != 0 else ticks
        ticks -= ticks % step
        return ticks if ticks >= record["ticks_min"] else np.int64(0)
    ticks = max(base + offset_ticks, cap_ticks, facing + 1)
    ticks += -ticks % step
    return ticks if ticks <= record["ticks_max"] else np.int64(0)


@kernel
def held_peg_ticks(state, instrument, side, cap_ticks):
    """Where the pegged order of the held row would stand now; 0 = nowhere, or the market stands still."""
    if stands_still(state.prices.markets[instrument]):
        return np.int64(0)
    held, book = state.io.held[0], state.book
    bid, ask = firm_best(book, instrument, BID), firm_best(book, instrument, ASK)
    peg, offset_ticks = np.int64(held["peg"]), np.int64(held["offset_ticks"])
    return peg_ticks(state, instrument, side, peg, offset_ticks, cap_ticks, bid, ask)


@leaf
def peg_stale(state, instrument):
    """A pegged order came, or changed: look at all of the instrument when the event ends. Mutates watch."""
    state.triggers.watches[instrument]["peg_seen"][0] = STALE


@kernel
def join_pegs(state, slot, cap_ticks):
    """Let an order follow its peg, as the held row says, after all others of its instrument. Mutates terms, watch."""
    terms, held = state.book.terms[slot], state.io.held[0]
    instrument = np.int64(state.book.orders[slot]["instrument"])
    watch = state.triggers.watches[instrument]
    tail = np.int64(watch["peg_tail"])
    terms["peg"] = held["peg"]
    terms["offset_ticks"] = np.int64(held["offset_ticks"])
    terms["limit_ticks"] = cap_ticks
    terms["prev"] = tail
    if tail != 0:
        state.book.terms[tail]["next"] = slot
    else:
        watch["peg_head"] = slot
    watch["peg_tail"] = slot
    state.io.control[0]["pegged"] += 1
    peg_stale(state, instrument)


@kernel
def leave_pegs(state, slot):
    """Take an order out of its instrument's list of pegged ones. Mutates terms, watch."""
    terms, book = state.book.terms[slot], state.book
    watch = state.triggers.watches[np.int64(book.orders[slot]["instrument"])]
    before, after = np.int64(terms["prev"]), np.int64(terms["next"])
    if before != 0:
        book.terms[before]["next"] = after
    else:
        watch["peg_head"] = after
    if after != 0:
        book.terms[after]["prev"] = before
    else:
        watch["peg_tail"] = before
    state.io.control[0]["pegged"] -= 1


@leaf
def settled(state, instrument, bid, ask):
    """Did the last pass over the instrument's pegged orders see these references, best prices and orders?"""
    seen, best = state.triggers.watches[instrument]["peg_seen"], state.book.books[instrument]["best_ticks"]
    return seen[0] == bid and seen[1] == ask and seen[2] == best[BID] and seen[3] == best[ASK]


@leaf
def settle(state, instrument, bid, ask):
    """Note what a pass saw. Mutates watch."""
    seen, best = state.triggers.watches[instrument]["peg_seen"], state.book.books[instrument]["best_ticks"]
    seen[0] = bid
    seen[1] = ask
    seen[2] = np.int64(best[BID])
    seen[3] = np.int64(best[ASK])
