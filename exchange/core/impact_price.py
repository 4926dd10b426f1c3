"""The average price that a side of the book gives for a stated notional. DESIGN §3.16."""

import numpy as np

from exchange.codes import LINEAR
from exchange.core.book import level_of, next_level
from exchange.core.kernel import kernel
from exchange.core.wide import wide_div

HALF_MAX = 1 << 61


@kernel
def impact_sub(book, prices, instrument, side, money):
    """Average price in sub-ticks, rounded down, of a notional on a side of the book; 0 where it has less.

    A lot may be cut: the last price gives what is missing of the notional. Notional 0 is the best price.
    """
    record = prices.instruments[instrument]
    per_tick, linear = np.int64(record["mark_per_tick"]), record["kind"] == LINEAR
    ticks, left, lots = np.int64(book.books[instrument]["best_ticks"][side]), money, np.int64(0)
    while ticks != 0:
        here = np.int64(book.levels[level_of(book, instrument, side, ticks)]["lots"])
        price = ticks * per_tick
        if linear:
            lot_value = np.int64(record["unit_value"]) * ticks
            if here > left // lot_value or here * lot_value == left:
                if money == 0:
                    return price
                if lots >= HALF_MAX // lot_value:
                    return np.int64(0)
                return wide_div(money, price, lots * lot_value + left)[0]
            left -= here * lot_value
        else:
            value = wide_div(here, np.int64(record["mark_unit"]), price)[0]
            if value >= left:
                if money == 0:
                    return price
                whole, rest = wide_div(lots, np.int64(record["mark_unit"]), money)
                last, more = wide_div(left, price, money)
                return whole + last + (rest + more) // money
            left -= value
        lots += here
        ticks = next_level(book, instrument, side, ticks)
    return np.int64(0)
