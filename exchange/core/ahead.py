"""Memory that is wanted soon, asked for ahead of time. Changes only time: with many accounts each step would wait."""

import numpy as np

from exchange.core.book import id_home
from exchange.core.kernel import leaf, prefetch

LOOK_AHEAD = 4  # steps; what is found through something else is fetched nearer than that


@leaf
def fetch_position(ledger, guards, p):
    prefetch(ledger.positions, p)
    prefetch(guards.guards, 2 * p)


@leaf
def fetch_behind(state, slot):
    """What the order behind one in its queue will touch, and the order behind that."""
    orders, ids = state.book.orders, state.book.ids
    behind = np.int64(orders[slot]["next"])
    prefetch(orders, np.int64(orders[behind]["next"]))
    prefetch(ids, id_home(ids, np.int64(orders[behind]["order_id"])))
    p = np.int64(orders[behind]["position"])
    fetch_position(state.ledger, state.guards, p)
    prefetch(state.ledger.wallets, np.int64(orders[behind]["account"]) * np.int64(state.prices.policy[0]["assets"]))


@leaf
def fetch_for_checks(ledger, guards, later, sooner):
    """What the checks of two units a little later will touch."""
    if later > 0:
        prefetch(ledger.wallets, later)
    else:
        prefetch(ledger.positions, -later)
    p = np.int64(ledger.wallets[sooner]["first_position"]) if sooner > 0 else -sooner
    fetch_position(ledger, guards, p)
