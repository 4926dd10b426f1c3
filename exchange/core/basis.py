"""What options lose as the forward of one expiry moves apart from all others: the basis contingency. DESIGN §3.17."""

import numpy as np

from exchange.codes import CROSS
from exchange.core.add_ons import leg_lots
from exchange.core.kernel import kernel, leaf


@leaf
def sums_at(prices, instrument):
    """Place of the two sums of an option's expiry in the work space."""
    return np.int64(prices.grids[0]["sums_base"]) + 2 * (np.int64(prices.members[instrument]["expiry"]) - 1)


@leaf
def counts_basis(ledger, prices, p):
    """Is position `p` a cross one in an option of a group?"""
    position = ledger.positions[p]
    return position["mode"] == CROSS and prices.members[np.int64(position["instrument"])]["expiry"] != 0


@leaf
def gain_with_orders(entry, lots, bids, asks):
    """What lots gain, at worst with open bids or open asks."""
    return lots * entry + min(np.int64(0), min(bids * entry, -asks * entry))


@kernel
def basis_loss(ledger, prices, wallet, orders, p_new, side, order_lots):
    """Basis contingency of a wallet, in parts of a quantum: each expiry's worse move, added. Mutates the work space,
    which is free again after it."""
    losses, worst, p = prices.losses, np.int64(0), np.int64(ledger.wallets[wallet]["first_position"])
    while p != 0:
        if counts_basis(ledger, prices, p):
            instrument = np.int64(ledger.positions[p]["instrument"])
            member, at = prices.members[instrument], sums_at(prices, instrument)
            lots, bids, asks = leg_lots(ledger, p, orders, p_new, side, order_lots)
            losses[at] += gain_with_orders(np.int64(member["up_gain"]), lots, bids, asks)
            losses[at + 1] += gain_with_orders(np.int64(member["down_gain"]), lots, bids, asks)
        p = np.int64(ledger.positions[p]["next"])
    p = np.int64(ledger.wallets[wallet]["first_position"])
    while p != 0:
        if counts_basis(ledger, prices, p):
            at = sums_at(prices, np.int64(ledger.positions[p]["instrument"]))
            worst -= min(np.int64(0), min(losses[at], losses[at + 1]))
            losses[at] = 0
            losses[at + 1] = 0
        p = np.int64(ledger.positions[p]["next"])
    return worst


@leaf
def basis_alone(prices, instrument, lots):
    """Basis contingency of a position if it were all that its wallet holds."""
    member = prices.members[instrument]
    return -min(np.int64(0), min(lots * np.int64(member["up_gain"]), lots * np.int64(member["down_gain"])))
