"""Read-only kernels behind `Exchange`'s views."""

import numpy as np

from exchange.codes import BID, EXTERNAL
from exchange.core.admission import order_costs
from exchange.core.book import find_id, level_of, next_level
from exchange.core.contract import mark_value
from exchange.core.depth import lots_within
from exchange.core.grid import grid_initial, grid_loss, grid_maintenance
from exchange.core.kernel import entry, leaf
from exchange.core.margin import find_position, unit_numbers, wallet_equity, wallet_margin
from exchange.core.margin_mode import make_risks
from exchange.core.requirement import initial_of, interest_of, leg_maintenance


@entry
def unit_equity(state, unit):
    """Equity of a margin unit at the mark."""
    equity, required, legs = unit_numbers(state.ledger, state.prices, unit)
    return equity


@entry
def unit_health(state, unit):
    """Equity minus maintenance of a margin unit at the mark."""
    equity, required, legs = unit_numbers(state.ledger, state.prices, unit)
    return equity - required


@entry
def position_need(state, p):
    """(notional at the mark, maintenance) of a position."""
    position = state.ledger.positions[p]
    instrument = np.int64(position["instrument"])
    notional = abs(mark_value(state.prices, instrument, np.int64(position["lots"])))
    return notional, leg_maintenance(state.ledger, state.prices, p, instrument, notional)


@entry
def order_need(state, wallet, instrument, side, limit_ticks, lots):
    """(notional, loss at the mark, taker fee, initial margin of the wallet without and with it) of one more order."""
    ledger, prices = state.ledger, state.prices
    value, open_loss, fee = order_costs(prices, instrument, side, limit_ticks, lots)
    before, p = wallet_margin(ledger, prices, wallet, 0, side, 0, 0), find_position(ledger, wallet, instrument)
    after = wallet_margin(ledger, prices, wallet, p, side, value, lots)
    if p == 0:  # the position would be made
        most = np.int64(prices.tiers[np.int64(prices.instruments[instrument]["tier_base"])]["leverage_max_e2"])
        interest, signed = interest_of(prices, instrument), lots if side == BID else -lots
        after += initial_of(prices, instrument, interest, value, value, signed, most)
    return value, open_loss, fee, before, after


@entry
def fresh_risks(state):
    """Make every risk array anew. Mutates them: a copy's."""
    make_risks(state.prices, state.io)


@entry
def wallet_losses(state, wallets, losses):
    """Worst loss of each wallet, in parts of a quantum, as if it were in portfolio mode. Mutates losses, work space."""
    for k in range(wallets.shape[0]):
        losses[k] = grid_loss(state.ledger, state.prices, np.int64(wallets[k]), False, 0, BID, 0)


@entry
def grid_needs(state, wallet):
    """(maintenance, initial margin of what the grid holds of a wallet, its equity). Mutates work space."""
    ledger, prices = state.ledger, state.prices
    held = grid_maintenance(ledger, prices, wallet)
    return held, grid_initial(ledger, prices, wallet, 0, BID, 0), wallet_equity(ledger, prices, wallet)


@entry
def sum_levels(state, instrument, side, limit_ticks):
    """Lots of a side at `limit_ticks` or better."""
    return lots_within(state.book, instrument, side, limit_ticks)


@entry
def walked_price(state, instrument, side, lots):
    """Average price, rounded down, of the best `lots` of a side; 0 where it has fewer."""
    book = state.book
    ticks, left, value = np.int64(book.books[instrument]["best_ticks"][side]), lots, np.int64(0)
    while ticks != 0 and left > 0:
        part = min(left, np.int64(book.levels[level_of(book, instrument, side, ticks)]["lots"]))
        left -= part
        value += part * ticks
        ticks = next_level(book, instrument, side, ticks)
    return value // lots if left == 0 and lots > 0 else np.int64(0)


@entry
def copy_levels(state, instrument, side, rows):
    """Fill `rows` with the best levels of a side; returns how many there were. Mutates `rows`."""
    book = state.book
    ticks, count = np.int64(book.books[instrument]["best_ticks"][side]), 0
    while ticks != 0 and count < rows.shape[0]:
        level, row = book.levels[level_of(book, instrument, side, ticks)], rows[count]
        row["ticks"] = ticks
        row["lots"] = np.int64(level["lots"])
        row["orders"] = np.int64(level["count"])
        count += 1
        ticks = next_level(book, instrument, side, ticks)
    return count


@entry
def copy_orders(state, instrument, side, rows):
    """Fill `rows` with the best orders of a side, oldest first at a price; returns how many. Mutates `rows`."""
    book = state.book
    ticks, count = np.int64(book.books[instrument]["best_ticks"][side]), 0
    while ticks != 0:
        slot = np.int64(book.levels[level_of(book, instrument, side, ticks)]["head"])
        while slot != 0:
            if count == rows.shape[0]:
                return count
            copy_order(book, slot, rows[count])
            count += 1
            slot = np.int64(book.orders[slot]["next"])
        ticks = next_level(book, instrument, side, ticks)
    return count


@leaf
def copy_order(book, slot, row):
    order = book.orders[slot]
    row["order_id"] = np.int64(order["order_id"])
    row["priority_seq"] = np.int64(order["priority_seq"])
    row["slot"] = slot
    row["account"] = np.int64(order["account"])
    row["ticks"] = np.int64(order["ticks"])
    row["leaves_lots"] = np.int64(order["leaves_lots"])


@entry
def ahead_of(state, order_id):
    """(slot, orders, simulated lots, recorded lots): a live order, 0 = none, and what stands before it at its price."""
    book = state.book
    slot, count, simulated, recorded = find_id(book.ids, book.orders, order_id), 0, np.int64(0), np.int64(0)
    before = np.int64(book.orders[slot]["prev"])
    while before != 0:
        order = book.orders[before]
        count += 1
        if order["account"] == EXTERNAL:
            recorded += np.int64(order["leaves_lots"])
        else:
            simulated += np.int64(order["leaves_lots"])
        before = np.int64(order["prev"])
    return slot, count, simulated, recorded
