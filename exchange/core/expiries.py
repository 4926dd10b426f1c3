"""Options of one underlying and expiry taken together: in each scenario the sign of what they are worth says what of it
counts. DESIGN §3.17.

A value above zero counts for less than one below: the lesser of both sums is the right one, whatever the sign.
"""

import numpy as np

from exchange.codes import EXPIRY_ROWS, SHOCKS
from exchange.core.basis import gain_with_orders
from exchange.core.kernel import kernel, leaf


@leaf
def is_netted(prices, instrument):
    """Is an instrument an option whose expiry is taken together?"""
    return prices.grids[0]["nets_base"] != 0 and prices.members[instrument]["expiry"] != 0


@leaf
def mark_at(prices, instrument):
    """Place in the work space that says whether anything was added to an option's expiry."""
    return np.int64(prices.grids[0]["nets_base"]) + np.int64(prices.members[instrument]["expiry"]) - 1


@leaf
def rows_at(prices, instrument, variant):
    """Place of the first of an expiry's rows: gains discounted as a short value's, as a long one's, what orders may
    add."""
    grid, expiry = prices.grids[0], np.int64(prices.members[instrument]["expiry"]) - 1
    rows = np.int64(grid["nets_base"]) + np.int64(grid["expiries"])
    return rows + (expiry * SHOCKS + variant) * EXPIRY_ROWS * np.int64(grid["scenarios"])


@kernel
def add_option(prices, instrument, lots, bids, asks):
    """Add what an option gains in each scenario to the rows of its expiry, at worst with its open bids or asks; in a
    skew all that these may change. Mutates the work space."""
    grid, losses = prices.grids[0], prices.losses
    count, longs = np.int64(grid["scenarios"]), np.int64(grid["long_base"])
    losses[mark_at(prices, instrument)] = 1
    for variant in range(SHOCKS):
        if grid["variants"] >> variant & 1:
            first, to = (instrument * SHOCKS + variant) * count, rows_at(prices, instrument, variant)
            for s in range(count):
                short, long = prices.risks[first + s], prices.risks[longs + first + s]
                if prices.scenarios[3 * s + 2] == 0:
                    losses[to + s] += gain_with_orders(short, lots, bids, asks)
                    losses[to + count + s] += gain_with_orders(long, lots, bids, asks)
                else:
                    losses[to + s] += lots * short
                    losses[to + count + s] += lots * long
                    losses[to + 2 * count + s] += max(bids, asks) * max(abs(short), abs(long))


@kernel
def fold_expiry(prices, instrument, row, fresh):
    """Add an expiry's gains to its group's row, which may be fresh; in a skew, which may be turned round, its loss.
    Mutates the work space: the expiry's part is free again after it."""
    grid, losses = prices.grids[0], prices.losses
    count, groups = np.int64(grid["scenarios"]), np.int64(grid["groups"])
    for variant in range(SHOCKS):
        if grid["variants"] >> variant & 1:
            at, to = rows_at(prices, instrument, variant), (variant * groups + row) * count
            for s in range(count):
                gain = min(losses[at + s], losses[at + count + s])
                if prices.scenarios[3 * s + 2] != 0:
                    gain = -abs(gain) - losses[at + 2 * count + s]
                losses[to + s] = gain if fresh else losses[to + s] + gain
            for k in range(EXPIRY_ROWS * count):
                losses[at + k] = 0
    losses[mark_at(prices, instrument)] = 0
