"""Portfolio margin: what a wallet loses in the worst scenario of a stress grid. DESIGN §3.17.

Each instrument has a risk array, what one long lot gains in each scenario in whole parts of a quantum, rounded once
when its mark changes; a wallet's gain is the sum of its lots times those entries. All of it is int64.
"""

import numpy as np

from exchange.codes import (
    BID,
    CROSS,
    LINEAR,
    SHOCK_BETA,
    SHOCK_CONTRA,
    SHOCK_OWN,
    SHOCKS,
    STRESS_FLIPPED,
    STRESS_ONE_FACTOR,
    STRESS_RHO_ONE,
    STRESS_SUM,
)
from exchange.core.add_ons import charges_alone, leg_lots, wallet_charges
from exchange.core.arith import BILLION, INT32_MAX, mul_div_floor, ppb_up, ppm_up
from exchange.core.basis import basis_alone, basis_loss, counts_basis
from exchange.core.contract import mark_value
from exchange.core.expiries import add_option, fold_expiry, is_netted, mark_at
from exchange.core.kernel import kernel, leaf
from exchange.core.requirement import leg_maintenance, maintenance

NEVER = 1 << 61  # a notional that no position reaches


@leaf
def in_grid(ledger, prices, p):
    """Is position `p` margined by the grid? A cross one of a wallet in portfolio mode, in an instrument of a group."""
    position = ledger.positions[p]
    if ledger.wallets[np.int64(position["wallet"])]["portfolio"] == 0 or position["mode"] != CROSS:
        return False
    return prices.members[np.int64(position["instrument"])]["group"] != 0


@leaf
def is_alone(ledger, prices, p):
    """Does position `p` hold what its own model says? All but those of the grid do, and holdings do beside it."""
    spot = prices.instruments[np.int64(ledger.positions[p]["instrument"])]["spot"] != 0
    return spot or not in_grid(ledger, prices, p)


@kernel
def refresh_risks(prices, instrument):
    """Make the risk array of a contract anew from its mark; all zero without one. Mutates risks."""
    grid, record = prices.grids[0], prices.instruments[instrument]
    if prices.members[instrument]["group"] == 0 or record["option"] != 0:
        return
    mark_sub, bits = np.int64(prices.markets[instrument]["mark_sub"]), np.int64(grid["scale_bits"])
    value = np.int64(record["mark_unit"]) << bits
    if record["kind"] == LINEAR:
        value *= mark_sub
    else:
        value = value // mark_sub if mark_sub != 0 else np.int64(0)
    rows, widest = SHOCKS * np.int64(grid["scenarios"]), np.int64(0)
    for at in range(instrument * rows, (instrument + 1) * rows):
        prices.risks[at] = mul_div_floor(value, np.int64(prices.shocks[at]["rate_ppb"]), BILLION)
        widest = max(widest, abs(np.int64(prices.risks[at])))
    prices.members[instrument]["narrow"] = widest <= INT32_MAX


@leaf
def add_lots(losses, to, risks, first, count, lots, narrow, fresh):
    """Lots times entries into a row, which may be fresh. Lots have 32 bits: where the entries have no more either, a
    product is one vector instruction instead of eight."""
    if narrow and fresh:
        for s in range(count):
            losses[to + s] = np.int64(np.int32(lots)) * np.int64(np.int32(risks[first + s]))
    elif narrow:
        for s in range(count):
            losses[to + s] += np.int64(np.int32(lots)) * np.int64(np.int32(risks[first + s]))
    elif fresh:
        for s in range(count):
            losses[to + s] = lots * risks[first + s]
    else:
        for s in range(count):
            losses[to + s] += lots * risks[first + s]


@leaf
def add_worst(losses, to, risks, first, count, bids, asks):
    """The worse of what bids and what asks gain, at most 0."""
    for s in range(count):
        losses[to + s] += min(np.int64(0), min(bids * risks[first + s], -asks * risks[first + s]))


@leaf
def least_of(losses, at, count):
    least = np.int64(0)
    for s in range(count):
        least = min(least, losses[at + s])
    return least


@leaf
def row_of(prices, group, grouped):
    """(row of a group in the work space, whether it is fresh: nothing added yet). Without groups all share one."""
    losses, grid = prices.losses, prices.grids[0]
    groups, count = np.int64(grid["groups"]), np.int64(grid["scenarios"])
    places = SHOCKS * groups * count
    group = group if grouped else 1
    row = losses[places + group]
    fresh = row == 0
    if fresh:
        row = losses[places] + 1
        losses[places] = row
        losses[places + group] = row
        losses[places + groups + row] = group
    return row - 1, fresh


@leaf
def add_leg(prices, instrument, group, grouped, lots, bids, asks):
    """Add what a position gains in each scenario, at worst with its open bids or its open asks. Mutates losses."""
    row, fresh = row_of(prices, group, grouped)
    grid, risks, losses = prices.grids[0], prices.risks, prices.losses
    count, variants, groups = np.int64(grid["scenarios"]), np.int64(grid["variants"]), np.int64(grid["groups"])
    narrow = prices.members[instrument]["narrow"] != 0
    for variant in range(SHOCKS):
        if variants >> variant & 1:
            first, to = (instrument * SHOCKS + variant) * count, (variant * groups + row) * count
            add_lots(losses, to, risks, first, count, lots, narrow, fresh)
            if bids != 0 or asks != 0:
                add_worst(losses, to, risks, first, count, bids, asks)


@leaf
def worst_together(prices, variant, rows, turned):
    """The worst loss of all groups in one scenario, the row `turned` with its sign turned round (-1: none)."""
    grid, losses = prices.grids[0], prices.losses
    count, groups = np.int64(grid["scenarios"]), np.int64(grid["groups"])
    if rows == 1:
        return -least_of(losses, (SHOCK_CONTRA if turned == 0 else variant) * groups * count, count)
    total = SHOCKS * groups * count + 2 * groups + 2
    for row in range(rows):
        place = ((SHOCK_CONTRA if row == turned else variant) * groups + row) * count
        add_lots(losses, total, losses, place, count, 1, False, row == 0)
    return -least_of(losses, total, count)


@leaf
def worst_apart(prices, rows):
    """Each group's own worst loss, added."""
    count, total = np.int64(prices.grids[0]["scenarios"]), np.int64(0)
    for row in range(rows):
        total -= least_of(prices.losses, row * count, count)
    return total


@kernel
def worst_of_modes(prices):
    """The worst loss over the modes of what the work space holds, which is free again after it."""
    grid, losses = prices.grids[0], prices.losses
    groups, modes = np.int64(grid["groups"]), np.int64(grid["modes"])
    places = SHOCKS * groups * np.int64(grid["scenarios"])
    rows, worst = np.int64(losses[places]), np.int64(0)
    if rows == 0:
        return worst
    if modes & STRESS_SUM:
        worst = worst_apart(prices, rows)
    if modes & STRESS_RHO_ONE:
        worst = max(worst, worst_together(prices, SHOCK_OWN, rows, -1))
    if modes & STRESS_ONE_FACTOR:
        worst = max(worst, worst_together(prices, SHOCK_BETA, rows, -1))
    if modes & STRESS_FLIPPED:
        for row in range(rows):
            worst = max(worst, worst_together(prices, SHOCK_BETA, rows, row))
    for row in range(1, rows + 1):
        losses[places + losses[places + groups + row]] = 0
    losses[places] = 0
    return worst


@kernel
def fold_expiries(ledger, prices, wallet, grouped):
    """Add what the expiries of a wallet's options gain to the rows of their groups. Mutates the work space."""
    p = np.int64(ledger.wallets[wallet]["first_position"])
    while p != 0:
        instrument = np.int64(ledger.positions[p]["instrument"])
        if counts_basis(ledger, prices, p) and prices.losses[mark_at(prices, instrument)] != 0:
            row, fresh = row_of(prices, np.int64(prices.members[instrument]["group"]), grouped)
            fold_expiry(prices, instrument, row, fresh)
        p = np.int64(ledger.positions[p]["next"])


@kernel
def grid_loss(ledger, prices, wallet, orders, p_new, side, order_lots):
    """Worst loss of a wallet's cross positions in groups, the basis contingency at least, in parts of a quantum; with
    their open orders, if asked, and one more of `order_lots` of `p_new`."""
    grouped = prices.grids[0]["grouped"] != 0
    p = np.int64(ledger.wallets[wallet]["first_position"])
    while p != 0:
        position = ledger.positions[p]
        instrument = np.int64(position["instrument"])
        group = np.int64(prices.members[instrument]["group"])
        if group != 0 and position["mode"] == CROSS:
            lots, bids, asks = leg_lots(ledger, p, orders, p_new, side, order_lots)
            if lots != 0 or bids != 0 or asks != 0:
                if is_netted(prices, instrument):
                    add_option(prices, instrument, lots, bids, asks)
                else:
                    add_leg(prices, instrument, group, grouped, lots, bids, asks)
        p = np.int64(position["next"])
    if prices.grids[0]["nets_base"] != 0:
        fold_expiries(ledger, prices, wallet, grouped)
    worst = worst_of_modes(prices)
    if prices.grids[0]["sums_base"] != 0:
        worst = max(worst, basis_loss(ledger, prices, wallet, orders, p_new, side, order_lots))
    return worst


@leaf
def required_for(prices, loss, charges, least, factor_ppm):
    """Money that a worst loss and the add-ons ask for."""
    bits = np.int64(prices.grids[0]["scale_bits"])
    whole = (loss + (np.int64(1) << bits) - 1) >> bits
    if prices.grids[0]["loss_alone"] != 0:
        return max(ppm_up(whole, factor_ppm) + charges, least)
    return ppm_up(max(whole + charges, least), factor_ppm)


@kernel
def grid_required(ledger, prices, wallet, orders, p_new, side, order_lots, factor_ppm):
    """What the grid asks of a wallet; with open orders, if asked, and one more of `order_lots` of `p_new`."""
    loss, charges, least = grid_loss(ledger, prices, wallet, orders, p_new, side, order_lots), np.int64(0), np.int64(0)
    if prices.grids[0]["charged"] != 0:
        charges, least = wallet_charges(ledger, prices, wallet, orders, p_new, side, order_lots)
    return required_for(prices, loss, charges, least, factor_ppm)


@kernel
def grid_initial(ledger, prices, wallet, p_new, side, order_lots):
    """Initial margin of what the grid holds of a wallet, open orders and one more of `p_new` included."""
    factor_ppm = np.int64(prices.grids[0]["initial_ppm"])
    return grid_required(ledger, prices, wallet, True, p_new, side, order_lots, factor_ppm)


@kernel
def grid_maintenance(ledger, prices, wallet):
    """Maintenance margin of what the grid holds of a wallet."""
    return grid_required(ledger, prices, wallet, False, 0, BID, 0, np.int64(prices.grids[0]["maintenance_ppm"]))


@kernel
def grid_numbers(ledger, prices, wallet):
    """(equity, maintenance, legs with a position) of a wallet in portfolio mode."""
    required = grid_maintenance(ledger, prices, wallet)
    equity, legs = np.int64(ledger.wallets[wallet]["cash"]), np.int64(0)
    p = np.int64(ledger.wallets[wallet]["first_position"])
    while p != 0:
        position = ledger.positions[p]
        lots, instrument = np.int64(position["lots"]), np.int64(position["instrument"])
        if lots != 0 and position["mode"] == CROSS:
            if prices.markets[instrument]["mark_sub"] != 0:
                value = mark_value(prices, instrument, lots)
                equity += value - np.int64(position["entry_value"])
                if prices.members[instrument]["group"] == 0 or prices.instruments[instrument]["spot"] != 0:
                    required += leg_maintenance(ledger, prices, p, instrument, abs(value))
            legs += 1
        p = np.int64(position["next"])
    return equity, required, legs


@kernel
def grid_leg(prices, instrument, lots):
    """What a leg alone would have to hold, at least a quantum: its share of the plan of a liquidation."""
    if is_netted(prices, instrument):
        add_option(prices, instrument, lots, np.int64(0), np.int64(0))
        row, fresh = row_of(prices, np.int64(1), False)
        fold_expiry(prices, instrument, row, fresh)
    else:
        add_leg(prices, instrument, np.int64(1), False, lots, np.int64(0), np.int64(0))
    loss, charges, least = worst_of_modes(prices), np.int64(0), np.int64(0)
    loss = max(loss, basis_alone(prices, instrument, lots))
    if prices.grids[0]["charged"] != 0:
        charges, least = charges_alone(prices, instrument, lots)
    required = required_for(prices, loss, charges, least, np.int64(prices.grids[0]["maintenance_ppm"]))
    if prices.instruments[instrument]["spot"] != 0:
        required += maintenance(prices, instrument, abs(mark_value(prices, instrument, lots)))
    return max(np.int64(1), required)


@leaf
def slopes(prices, instrument, lots):
    """Health lost, in ppb, as a leg's notional rises and as it falls by its own size: at the worst scenario, or 0."""
    member, gain = prices.members[instrument], np.int64(BILLION)
    falls, rises = np.int64(member["fall_ppb"]), np.int64(member["rise_ppb"])
    if lots < 0:
        falls, rises = rises, falls
    if (prices.instruments[instrument]["kind"] == LINEAR) != (lots > 0):
        gain = -gain
    falls = max(falls + np.int64(member["charge_ppb"]), np.int64(member["minimum_ppb"]))  # what rising notionals ask
    rises += np.int64(member["depth_ppb"])  # a hedge that is worth less leaves more of the position net
    return max(np.int64(0), falls - gain), max(np.int64(0), rises + gain)


@leaf
def grid_rounding(prices, instrument, lots):
    """Quanta that rounding may cost in what a leg adds to its wallet's requirement."""
    charged = 48 if prices.grids[0]["charged"] != 0 else 0
    if prices.instruments[instrument]["spot"] != 0:
        charged += 2  # of its haircut
    return (abs(lots) * 9 >> np.int64(prices.grids[0]["scale_bits"])) + 24 + charged


@kernel
def grid_weight(prices, instrument, lots, notional):
    """(the most that health falls when a leg's notional moves by its own size, quanta that rounding may cost)."""
    up, down = slopes(prices, instrument, lots)
    return ppb_up(notional, max(up, down)), grid_rounding(prices, instrument, lots)


@kernel
def grid_change(prices, instrument, lots, notional):
    """(the most that the requirement changes when a leg's notional moves by its own size, quanta of rounding)."""
    member = prices.members[instrument]
    steeper = max(np.int64(member["fall_ppb"]), np.int64(member["rise_ppb"])) + np.int64(member["charge_ppb"])
    steeper = max(steeper, np.int64(member["minimum_ppb"]))
    return ppb_up(notional, steeper), grid_rounding(prices, instrument, lots)


@leaf
def moved(share, slope):
    """By how much a notional may move before a leg's share of the slack is gone; at least 2**60 where that is far."""
    return min(share // slope, np.int64(1) << 30) * BILLION + share % slope * BILLION // slope


@kernel
def band_in_grid(prices, instrument, lots, whole, part, weight):
    """(notional above, notional below) just past the moves that a leg's share of the slack covers; -1 = none below."""
    notional, (up, down) = abs(mark_value(prices, instrument, lots)), slopes(prices, instrument, lots)
    most = ppb_up(notional, max(up, down))
    share = mul_div_floor(most, part, weight) + most * whole
    above = notional + moved(share, up) + 1 if up != 0 else np.int64(NEVER)
    move = moved(share, down) if down != 0 else notional
    return above, notional - move - 1 if move < notional else np.int64(-1)
