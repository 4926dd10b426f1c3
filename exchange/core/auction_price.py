"""The price that ends a call auction: most volume, then what the instrument's policy says. DESIGN §3.7."""

import numpy as np

from exchange.codes import ASK, BID, MARKET
from exchange.core.arith import MILLION, ceil_div
from exchange.core.book import level_of, next_level
from exchange.core.iceberg import level_lots
from exchange.core.kernel import kernel, leaf
from exchange.core.ladder import find_up


@kernel
def lots_between(book, instrument, side, low, high):
    """Lots of a side at prices `low`..`high`."""
    ladder, lots = book.ladders[2 * instrument + side], np.int64(0)
    ticks = find_up(book.words, ladder, low) if low <= high else np.int64(0)
    while ticks != 0 and ticks <= high:
        lots += level_lots(book, instrument, side, ticks)
        ticks = find_up(book.words, ladder, ticks + 1) if ticks < ladder["ticks_max"] else np.int64(0)
    return lots


@leaf
def has_limit(book, instrument, side, ticks):
    """Does a limit order stand at a price? A market order's limit is nobody's price."""
    slot = np.int64(book.levels[level_of(book, instrument, side, ticks)]["head"])
    while slot != 0 and book.orders[slot]["flags"] & MARKET:
        slot = np.int64(book.orders[slot]["next"])
    return slot != 0


@kernel
def next_candidate(book, instrument, reference, ticks, high):
    """The next price above `ticks` with an order of either side, or the reference; `high` + 1 = none."""
    found = high + 1
    for side in range(2):
        ladder = book.ladders[2 * instrument + side]
        at = find_up(book.words, ladder, ticks + 1) if ticks < ladder["ticks_max"] else np.int64(0)
        if at != 0:
            found = min(found, at)
    return min(found, reference) if reference > ticks else found


@kernel
def auction_price(book, prices, instrument, reference):
    """(price, volume, bid less ask) at which an auction would end now; zeros when nothing crosses.

    Pairing the levels of both sides gives the volume and the prices `low`..`high` that reach it; among those the
    surplus only falls as the price rises, so one walk upwards finds the best candidates.
    """
    bid, ask = np.int64(book.books[instrument]["best_ticks"][BID]), np.int64(book.books[instrument]["best_ticks"][ASK])
    low, high, volume = np.int64(0), np.int64(0), np.int64(0)
    bids, asks = np.int64(0), np.int64(0)  # lots at `high` or better, at `low` or better
    while bid != 0 and ask != 0 and bid >= ask:
        if high != bid:
            high, bids = bid, bids + level_lots(book, instrument, BID, bid)
        if low != ask:
            low, asks = ask, asks + level_lots(book, instrument, ASK, ask)
        volume = min(bids, asks)
        if bids == volume:
            bid = next_level(book, instrument, BID, bid)
        if asks == volume:
            ask = next_level(book, instrument, ASK, ask)
    if volume == 0:
        return np.int64(0), np.int64(0), np.int64(0)
    auction = prices.auctions[instrument]
    if auction["midpoint"]:
        price = (low + high) // 2
        bids += lots_between(book, instrument, BID, price, high - 1)
        return price, volume, bids - asks - lots_between(book, instrument, ASK, low + 1, price)
    bids += lots_between(book, instrument, BID, low, high - 1)
    ticks, nearest, nearest_surplus = low, np.int64(0), np.int64(0)
    first, last, first_surplus, last_surplus = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    while ticks <= high:
        surplus = bids - asks
        limit = has_limit(book, instrument, BID, ticks) or has_limit(book, instrument, ASK, ticks)
        if limit or ticks == reference:
            if first == 0 or abs(surplus) < abs(first_surplus):
                first, first_surplus, nearest, nearest_surplus = ticks, surplus, ticks, surplus
            if abs(surplus) == abs(first_surplus):
                last, last_surplus = ticks, surplus
                if abs(ticks - reference) <= abs(nearest - reference):
                    nearest, nearest_surplus = ticks, surplus
        after = next_candidate(book, instrument, reference, ticks, high)
        bids -= lots_between(book, instrument, BID, ticks, ticks)
        if after <= high:
            asks += lots_between(book, instrument, ASK, after, after)
        ticks = after
    if first == 0:  # market orders alone
        price = max(low, min(reference, high))
        bids += lots_between(book, instrument, BID, price, high)
        return price, volume, bids - asks + lots_between(book, instrument, ASK, price + 1, high)
    pressure = np.int64(auction["pressure_ppm"])
    price = nearest
    if last_surplus > 0:
        price = last if reference == 0 else min(last, ceil_div(reference * (MILLION + pressure), MILLION))
    elif first_surplus < 0:
        price = max(first, reference * (MILLION - pressure) // MILLION)
    return max(first, min(price, last)), volume, nearest_surplus


@leaf
def reference_price(prices, instrument, stated_ticks):
    """What an event states, else what the auction began with, else the last price, else the mark's tick; 0 = none."""
    market = prices.markets[instrument]
    ticks = stated_ticks if stated_ticks != 0 else np.int64(prices.auctions[instrument]["reference_ticks"])
    ticks = ticks if ticks != 0 else np.int64(market["last_ticks"])
    return (
        ticks
        if ticks != 0
        else np.int64(market["mark_sub"]) // np.int64(prices.instruments[instrument]["mark_per_tick"])
    )
