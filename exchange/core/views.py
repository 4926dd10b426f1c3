"""Read-only kernels behind `Exchange`'s views."""

import numpy as np

from exchange.codes import BID
from exchange.core.book import level_of, next_level
from exchange.core.kernel import entry
from exchange.core.margin import unit_numbers


@entry
def unit_equity(ledger, prices, unit):
    """Equity of a margin unit at the mark."""
    equity, required, legs = unit_numbers(ledger, prices, unit)
    return equity


@entry
def unit_health(ledger, prices, unit):
    """Equity minus maintenance of a margin unit at the mark."""
    equity, required, legs = unit_numbers(ledger, prices, unit)
    return equity - required


@entry
def sum_levels(book, instrument, side, limit_ticks):
    """Lots of a side at `limit_ticks` or better."""
    ticks, lots = np.int64(book.books[instrument]["best_ticks"][side]), np.int64(0)
    while ticks != 0 and (ticks >= limit_ticks if side == BID else ticks <= limit_ticks):
        lots += np.int64(book.levels[level_of(book, instrument, side, ticks)]["lots"])
        ticks = next_level(book, instrument, side, ticks)
    return lots


@entry
def walked_price(book, instrument, side, lots):
    """Average price, rounded down, of the best `lots` of a side; 0 where it has fewer."""
    ticks, left, value = np.int64(book.books[instrument]["best_ticks"][side]), lots, np.int64(0)
    while ticks != 0 and left > 0:
        part = min(left, np.int64(book.levels[level_of(book, instrument, side, ticks)]["lots"]))
        left -= part
        value += part * ticks
        ticks = next_level(book, instrument, side, ticks)
    return value // lots if left == 0 and lots > 0 else np.int64(0)
