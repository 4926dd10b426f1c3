"""Icebergs: orders that show a part of themselves. The book knows the part; sums, cancels and amends mean all. §3.6."""

import numpy as np

from exchange.codes import BOOK_RESIZE, GTC, GTD, ICEBERG_NONE, MARKET, TERMED, TO_LIMIT
from exchange.core.book import cut_leaves, level_of, link_order, next_level, note_change, unlink_order
from exchange.core.kernel import kernel, leaf


@leaf
def all_lots(book, slot):
    """Leaves of an order with what it hides."""
    lots = np.int64(book.orders[slot]["leaves_lots"])
    if book.orders[slot]["flags"] & TERMED:
        lots += np.int64(book.terms[slot]["hidden_lots"])
    return lots


@leaf
def cut_all(book, slot, lots):
    """Lower an order by `lots` where it stands: what it hides goes first. Mutates order, level, terms."""
    if book.orders[slot]["flags"] & TERMED:
        lots = cut_hidden(book, slot, lots)
    if lots != 0:
        cut_leaves(book, slot, lots)


@kernel
def cut_hidden(book, slot, lots):
    """Take up to `lots` out of what an order hides; returns the rest. Mutates terms."""
    hidden = np.int64(book.terms[slot]["hidden_lots"])
    cut = min(hidden, lots)
    set_hidden(book, slot, hidden - cut)
    return lots - cut


@leaf
def slices(display, hidden):
    """How many more times an iceberg may show something."""
    return (hidden + display - 1) // display if hidden > 0 else np.int64(0)


@leaf
def set_hidden(book, slot, hidden):
    """Mutates the order's reserve and the count of slices to come."""
    terms = book.terms[slot]
    before, display = np.int64(terms["hidden_lots"]), np.int64(terms["display_lots"])
    book.pools[0]["slices"] += slices(display, hidden) - slices(display, before)
    terms["hidden_lots"] = hidden


@kernel
def check_display(state, tif, flags, event, instrument):
    """Display of the held row: may the order be an iceberg? Returns whether it may."""
    held = state.io.held[0]
    display, least = np.int64(held["display_lots"]), np.int64(held["display_min_lots"])
    if display == 0:
        return least == 0
    rests = tif == TO_LIMIT or ((tif == GTC or tif == GTD) and not flags & MARKET)
    if state.prices.instruments[instrument]["iceberg"] == ICEBERG_NONE or not rests:
        return False
    return 1 <= display <= event["qty"] and 0 <= least <= display


@kernel
def slice_room(state, event):
    """Is there room for an order slot and every slice of the iceberg that the held row makes of a NEW?"""
    display, pool = np.int64(state.io.held[0]["display_lots"]), state.book.pools[0]
    if display == 0:
        return True
    more = slices(display, np.int64(event["qty"]) - display)
    return pool["order_live"] + pool["slices"] + more + 1 < state.book.orders.shape[0]


@kernel
def room_to_grow(book, slot, lots):
    """Is there room for every slice of a resting iceberg that enters again with `lots`?"""
    terms, pool = book.terms[slot], book.pools[0]
    display = np.int64(terms["display_lots"])
    if display == 0:
        return True
    more = slices(display, lots - display) - slices(display, np.int64(terms["hidden_lots"]))
    return pool["order_live"] + pool["slices"] + more < book.orders.shape[0]


@kernel
def hide(book, slot):
    """Let an order that stands in no queue show its display only. Mutates order, terms."""
    lots = all_lots(book, slot)
    shown = min(lots, np.int64(book.terms[slot]["display_lots"]))
    book.orders[slot]["leaves_lots"] = shown
    set_hidden(book, slot, lots - shown)


@kernel
def level_lots(book, instrument, side, ticks):
    """Lots of a price with what is hidden there."""
    level = book.levels[level_of(book, instrument, side, ticks)]
    lots = np.int64(level["lots"])
    if book.pools[0]["slices"] == 0:
        return lots
    slot, lots = np.int64(level["head"]), np.int64(0)
    while slot != 0:
        lots += all_lots(book, slot)
        slot = np.int64(book.orders[slot]["next"])
    return lots


@leaf
def uncover(book, slot, lots):
    """Show `lots` of what an order hides where it stands, unpublished. Mutates order, level, terms."""
    order = book.orders[slot]
    order["leaves_lots"] += lots
    side = np.int64(order["side"])
    book.levels[level_of(book, np.int64(order["instrument"]), side, np.int64(order["ticks"]))]["lots"] += lots
    set_hidden(book, slot, np.int64(book.terms[slot]["hidden_lots"]) - lots)


@kernel
def share_hidden(book, instrument, side, ticks, lots):
    """A taker wants `lots` of a price, more than it shows: each iceberg there shows its share of the excess.

    Shares are in proportion to what is hidden, rounded down; what that leaves goes to the oldest. Mutates book.
    """
    level = book.levels[level_of(book, instrument, side, ticks)]
    hidden = level_lots(book, instrument, side, ticks) - np.int64(level["lots"])
    excess = min(lots - np.int64(level["lots"]), hidden)
    if excess <= 0:
        return
    head, rest = np.int64(level["head"]), excess
    slot = head
    while slot != 0:
        rest -= np.int64(book.terms[slot]["hidden_lots"]) * excess // hidden
        slot = np.int64(book.orders[slot]["next"])
    slot = head
    while slot != 0:
        has = np.int64(book.terms[slot]["hidden_lots"])
        more = min(has - has * excess // hidden, rest)
        rest -= more
        if has * excess // hidden + more != 0:
            uncover(book, slot, has * excess // hidden + more)
        slot = np.int64(book.orders[slot]["next"])


@kernel
def uncover_pair(book, instrument, shares, maker, taker):
    """Two orders meet in an auction: both show all they have, but where the maker's level `shares` its part of that.

    Mutates book.
    """
    uncover(book, taker, np.int64(book.terms[taker]["hidden_lots"]))
    if shares:
        order = book.orders[maker]
        lots = np.int64(book.orders[taker]["leaves_lots"])
        share_hidden(book, instrument, np.int64(order["side"]), np.int64(order["ticks"]), lots)
    else:
        uncover(book, maker, np.int64(book.terms[maker]["hidden_lots"]))


@kernel
def cover_best(book, instrument):
    """What an auction uncovered and did not fill is hidden again where it stands. Mutates book."""
    for side in range(2):
        ticks = np.int64(book.books[instrument]["best_ticks"][side])
        slot = np.int64(book.levels[level_of(book, instrument, side, ticks)]["head"])
        while slot != 0:
            display = np.int64(book.terms[slot]["display_lots"])
            if display != 0 and book.orders[slot]["leaves_lots"] > display:
                uncover(book, slot, display - np.int64(book.orders[slot]["leaves_lots"]))
            slot = np.int64(book.orders[slot]["next"])


@kernel
def publish_icebergs(book, instrument):
    """After an auction: what each iceberg shows now. Mutates `changes`."""
    for side in range(2):
        ticks = np.int64(book.books[instrument]["best_ticks"][side])
        while ticks != 0:
            slot = np.int64(book.levels[level_of(book, instrument, side, ticks)]["head"])
            while slot != 0:
                if book.terms[slot]["display_lots"] != 0:
                    note_change(book, slot, BOOK_RESIZE)
                slot = np.int64(book.orders[slot]["next"])
            ticks = next_level(book, instrument, side, ticks)


@kernel
def take_shown(book, io, slot, lots):
    """A fill takes `lots`, not all, of an order with terms; an iceberg that shows nothing then shows more at once.

    Mutates book, `thinned`.
    """
    terms, left = book.terms[slot], np.int64(book.orders[slot]["leaves_lots"]) - lots
    if left == 0:
        unlink_order(book, slot)
        book.orders[slot]["leaves_lots"] = 0
        hide(book, slot)
        link_order(book, slot)
        return
    cut_leaves(book, slot, lots)
    if terms["hidden_lots"] != 0 and left < terms["display_min_lots"] and terms["queued"] == 0:
        terms["queued"] = 1
        io.thinned[np.int64(io.control[0]["thinned_count"])] = slot
        io.control[0]["thinned_count"] += 1
        io.control[0]["order_work"] += 1


@kernel
def refresh_icebergs(book, io):
    """At the end of an event: what shows less than its least shows its display again. Mutates book, `thinned`."""
    control = io.control[0]
    for k in range(np.int64(control["thinned_count"])):
        slot = np.int64(io.thinned[k])
        terms = book.terms[slot]
        if book.orders[slot]["flags"] & TERMED and terms["queued"] != 0:
            terms["queued"] = 0
            if terms["hidden_lots"] != 0 and book.orders[slot]["leaves_lots"] < terms["display_min_lots"]:
                unlink_order(book, slot)
                hide(book, slot)
                link_order(book, slot)
    control["order_work"] -= np.int64(control["thinned_count"])
    control["thinned_count"] = 0
