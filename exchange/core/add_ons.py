"""What a portfolio holds beside its worst loss: the charges of each group, and its minimum. DESIGN §3.17.

No charge but that of depth grows as a contract's notional falls, and each by at most its rate: guards add the rates.
"""

import numpy as np

from exchange.codes import (
    BID,
    COUNT_BOTH,
    COUNT_DOWN,
    COUNT_LARGEST,
    COUNT_LONG,
    COUNT_SHORT,
    COUNT_UP,
    COUNTS,
    CROSS,
    LINEAR,
    SHOCKS,
)
from exchange.core.arith import ppm_up
from exchange.core.contract import contract_value
from exchange.core.kernel import kernel, leaf


@leaf
def leg_lots(ledger, p, orders, p_new, side, order_lots):
    """(lots, lots of open bids, of open asks) of a position: orders where asked, and one more of `p_new`."""
    position, bids, asks = ledger.positions[p], np.int64(0), np.int64(0)
    if orders:
        bids, asks = np.int64(position["bid_lots"]), np.int64(position["ask_lots"])
    if p == p_new and side == BID:
        bids += order_lots
    elif p == p_new:
        asks += order_lots
    return np.int64(position["lots"]), bids, asks


@leaf
def short_worth(prices, instrument, shortest):
    """Signed value of the underlying of an option's lots, at their shortest: that of a lot since its last refresh."""
    unit = np.int64(prices.instruments[instrument]["mark_unit"])
    return shortest * np.int64(prices.options[instrument]["whole_sub"]) * unit


@leaf
def exposure(prices, instrument, lots):
    """Notional of a contract's lots where charges are reckoned, signed with them: at the mark, or measured index."""
    price_sub = np.int64(prices.markets[instrument]["mark_sub"])
    if prices.members[instrument]["at_index"] != 0:
        price_sub = np.int64(prices.members[instrument]["index_sub"])
    value = contract_value(prices, instrument, price_sub, lots)
    return value if prices.instruments[instrument]["kind"] == LINEAR else -value


@leaf
def notionals(prices, instrument, longest, shortest):
    """(notional at the longest that a contract's lots may be, at the shortest): 0 where that is on the other side."""
    long = exposure(prices, instrument, max(np.int64(0), longest))
    return long, exposure(prices, instrument, max(np.int64(0), -shortest))


@leaf
def gross_ppm(member, initial):
    """The rate of what is held gross, for maintenance or for initial margin."""
    return np.int64(member["gross_ppm"]) + (np.int64(member["gross_initial_ppm"]) if initial else np.int64(0))


@leaf
def short_option_ppm(member, initial):
    """The rate of short options, likewise."""
    more = np.int64(member["short_option_initial_ppm"]) if initial else np.int64(0)
    return np.int64(member["short_option_ppm"]) + more


@kernel
def leg_charges(prices, instrument, longest, shortest, initial):
    """(charge, minimum) of a leg that no other changes. A short option's charge is its strike's: not here."""
    member = prices.members[instrument]
    if prices.instruments[instrument]["option"] != 0:
        worth = max(np.int64(0), -short_worth(prices, instrument, shortest))
        return np.int64(0), ppm_up(worth, np.int64(member["least_ppm"]))
    long, short = notionals(prices, instrument, longest, shortest)
    most = max(long, short)
    return ppm_up(most, gross_ppm(member, initial)), ppm_up(most, np.int64(member["least_ppm"]))


@leaf
def counts_at(prices, group):
    """Place of a group's counts in the work space; those of strike 0 come after the last group's."""
    grid = prices.grids[0]
    groups, count = np.int64(grid["groups"]), np.int64(grid["scenarios"])
    return SHOCKS * groups * count + 2 * groups + 2 + count + COUNTS * (group - 1)


@leaf
def strike_at(prices, strike):
    return counts_at(prices, np.int64(prices.grids[0]["groups"]) + 1) + strike - 1


@leaf
def count_leg(prices, instrument, longest, shortest):
    """Add a leg to what is counted of its strike, or of its group. Mutates the work space."""
    losses, member = prices.losses, prices.members[instrument]
    if prices.instruments[instrument]["option"] != 0:
        if short_option_ppm(member, True) != 0:
            at = strike_at(prices, np.int64(member["strike"]))
            losses[at] += short_worth(prices, instrument, shortest)
    elif member["offset_ppm"] != 0 or member["depth_ppm"] != 0:
        long, short = notionals(prices, instrument, longest, shortest)
        at = counts_at(prices, np.int64(member["group"]))
        losses[at + COUNT_UP] += exposure(prices, instrument, longest)
        losses[at + COUNT_DOWN] -= exposure(prices, instrument, shortest)
        losses[at + COUNT_LONG] += long
        losses[at + COUNT_SHORT] += short
        losses[at + COUNT_BOTH] += max(long, short)
        losses[at + COUNT_LARGEST] = max(losses[at + COUNT_LARGEST], max(long, short))


@leaf
def depth_charge(prices, instrument, up, down):
    """Charge for what a group's contracts are net, long or short, beyond what its books may absorb."""
    member = prices.members[instrument]
    lead = prices.members[np.int64(member["lead"])]
    excess = max(up - np.int64(lead["group_bids_money"]), down - np.int64(lead["group_asks_money"]))
    return ppm_up(max(np.int64(0), excess), np.int64(member["depth_ppm"]))


@leaf
def take_count(prices, instrument, initial):
    """The charge of what was counted of a leg's strike or group, at its first leg, which clears it; then nothing."""
    losses, member, charge = prices.losses, prices.members[instrument], np.int64(0)
    if prices.instruments[instrument]["option"] != 0:
        if short_option_ppm(member, True) != 0:
            at = strike_at(prices, np.int64(member["strike"]))
            charge = ppm_up(max(np.int64(0), -losses[at]), short_option_ppm(member, initial))
            losses[at] = 0
    elif member["offset_ppm"] != 0 or member["depth_ppm"] != 0:
        at = counts_at(prices, np.int64(member["group"]))
        others = losses[at + COUNT_BOTH] - losses[at + COUNT_LARGEST]  # no contract offsets itself
        offset = min(others, min(losses[at + COUNT_LONG], losses[at + COUNT_SHORT]))
        charge = ppm_up(offset, np.int64(member["offset_ppm"]))
        charge += depth_charge(prices, instrument, losses[at + COUNT_UP], losses[at + COUNT_DOWN])
        for k in range(COUNTS):
            losses[at + k] = 0
    return charge


@kernel
def wallet_charges(ledger, prices, wallet, orders, p_new, side, order_lots):
    """(charges, minimum) of what the grid holds of a wallet, for initial margin with its orders, else for maintenance.
    Mutates the work space, which is free again after it."""
    charges, least, p = np.int64(0), np.int64(0), np.int64(ledger.wallets[wallet]["first_position"])
    while p != 0:
        instrument = np.int64(ledger.positions[p]["instrument"])
        if prices.members[instrument]["group"] != 0 and ledger.positions[p]["mode"] == CROSS:
            lots, bids, asks = leg_lots(ledger, p, orders, p_new, side, order_lots)
            count_leg(prices, instrument, lots + bids, lots - asks)
            charge, minimum = leg_charges(prices, instrument, lots + bids, lots - asks, orders)
            charges, least = charges + charge, least + minimum
        p = np.int64(ledger.positions[p]["next"])
    p = np.int64(ledger.wallets[wallet]["first_position"])
    while p != 0:
        instrument = np.int64(ledger.positions[p]["instrument"])
        if prices.members[instrument]["group"] != 0 and ledger.positions[p]["mode"] == CROSS:
            charges += take_count(prices, instrument, orders)
        p = np.int64(ledger.positions[p]["next"])
    return charges, least


@kernel
def charges_alone(prices, instrument, lots):
    """(charges, minimum) of a position if it were all that its wallet holds."""
    charge, minimum = leg_charges(prices, instrument, lots, lots, False)
    if prices.instruments[instrument]["option"] != 0:
        worth = max(np.int64(0), -short_worth(prices, instrument, lots))
        charge = ppm_up(worth, np.int64(prices.members[instrument]["short_option_ppm"]))
    elif prices.members[instrument]["depth_ppm"] != 0:
        held = exposure(prices, instrument, lots)
        charge += depth_charge(prices, instrument, held, -held)
    return charge, minimum
