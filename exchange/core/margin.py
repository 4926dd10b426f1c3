"""Margin: what a unit is worth and what it must hold. Pure functions of the state. DESIGN §1, §2, §3.2.

A unit is +wallet (its cash and cross positions) or -position (one isolated position).
"""

import numpy as np

from exchange.codes import BID, CROSS, INSURANCE, ISOLATED, MARGIN_PLAIN, STAGE_REDUCE
from exchange.core.arith import initial_margin
from exchange.core.contract import mark_exposure, mark_value
from exchange.core.grid import grid_initial, grid_numbers, is_alone
from exchange.core.kernel import leaf
from exchange.core.requirement import exposure_of, leg_maintenance, orders_by_model


@leaf
def unit_of(ledger, p):
    """The margin unit that holds position `p`."""
    if ledger.positions[p]["mode"] == ISOLATED:
        return -p
    return np.int64(ledger.positions[p]["wallet"])


@leaf
def unit_stage(ledger, unit):
    """Liquidation stage of a unit."""
    if unit < 0:
        return np.int64(ledger.positions[-unit]["stage"])
    return np.int64(ledger.wallets[unit]["stage"])


@leaf
def in_liquidation(ledger, unit):
    return unit_stage(ledger, unit) >= STAGE_REDUCE


@leaf
def account_of(prices, wallet):
    """Account of a wallet slot; with one asset the division, which is slow, is left out."""
    assets = np.int64(prices.policy[0]["assets"])
    return wallet if assets == 1 else wallet // assets


@leaf
def unit_account(ledger, prices, unit):
    """Account of a unit."""
    if unit < 0:
        return account_of(prices, np.int64(ledger.positions[-unit]["wallet"]))
    return account_of(prices, unit)


@leaf
def leg_of(ledger, unit, p):
    """Does position slot `p` count in this unit? (`p` comes from the unit's wallet.)"""
    return p == -unit if unit < 0 else ledger.positions[p]["mode"] == CROSS


@leaf
def first_leg(ledger, unit):
    """First position slot to look at for a unit; step with `next_leg`, 0 = none."""
    return -unit if unit < 0 else np.int64(ledger.wallets[unit]["first_position"])


@leaf
def next_leg(ledger, unit, p):
    return np.int64(0) if unit < 0 else np.int64(ledger.positions[p]["next"])


@leaf
def unit_pocket(ledger, unit):
    """Cash of a wallet, or margin of an isolated position."""
    if unit < 0:
        return np.int64(ledger.positions[-unit]["isolated_margin"])
    return np.int64(ledger.wallets[unit]["cash"])


@leaf
def unit_numbers(ledger, prices, unit):
    """(equity, maintenance, legs with a position) of a unit."""
    if unit > 0 and ledger.wallets[unit]["portfolio"] != 0:
        return grid_numbers(ledger, prices, unit)
    equity, required, legs = unit_pocket(ledger, unit), np.int64(0), np.int64(0)
    p = first_leg(ledger, unit)
    while p != 0:
        lots = np.int64(ledger.positions[p]["lots"])
        if lots != 0 and leg_of(ledger, unit, p):
            instrument = np.int64(ledger.positions[p]["instrument"])
            if prices.markets[instrument]["mark_sub"] != 0:
                value = mark_value(prices, instrument, lots)
                equity += value - np.int64(ledger.positions[p]["entry_value"])
                required += leg_maintenance(ledger, prices, p, instrument, abs(value))
            legs += 1
        p = next_leg(ledger, unit, p)
    if unit_account(ledger, prices, unit) == INSURANCE:
        required = np.int64(0)
    return equity, required, legs


@leaf
def is_breached(ledger, prices, unit, equity, required, legs):
    """Is a unit with these numbers below maintenance, with something that a liquidation can do about it?"""
    return equity < required and can_liquidate(ledger, prices, unit, legs)


@leaf
def can_liquidate(ledger, prices, unit, legs):
    """Is there a leg with a known mark to close, or a user without positions, whose debt the fund must cover?"""
    if legs == 0:
        return unit_account(ledger, prices, unit) != INSURANCE
    p = first_leg(ledger, unit)
    while p != 0:
        if live_leg(ledger, prices, unit, p):
            return True
        p = next_leg(ledger, unit, p)
    return False


@leaf
def live_leg(ledger, prices, unit, p):
    """Is position `p` a leg of the unit that can be closed now? What the fund holds of a spot instrument it keeps."""
    position = ledger.positions[p]
    instrument = np.int64(position["instrument"])
    if prices.instruments[instrument]["spot"] != 0 and unit_account(ledger, prices, unit) == INSURANCE:
        return False
    marked = prices.markets[instrument]["mark_sub"] != 0
    return position["lots"] != 0 and leg_of(ledger, unit, p) and marked


@leaf
def wallet_margin(ledger, prices, wallet, p_new, side, order_value, order_lots):
    """Initial margin a wallet must show if position `p_new` also had an open order of `order_value` (0: as it stands).

    Cross positions count with their exposure; isolated ones with what their open orders would still draw from cash;
    holdings with their haircut, and all that their bids would pay.
    """
    required, portfolio = np.int64(0), ledger.wallets[wallet]["portfolio"] != 0
    if portfolio:
        required = grid_initial(ledger, prices, wallet, p_new, side, order_lots)
    p = np.int64(ledger.wallets[wallet]["first_position"])
    while p != 0:
        position = ledger.positions[p]
        if portfolio and not is_alone(ledger, prices, p):
            p = np.int64(position["next"])
            continue
        bids, asks = np.int64(position["bid_value"]), np.int64(position["ask_value"])
        if p == p_new:
            if side == BID:
                bids += order_value
            else:
                asks += order_value
        lots, instrument = np.int64(position["lots"]), np.int64(position["instrument"])
        if prices.instruments[instrument]["margin_model"] != MARGIN_PLAIN:
            bid_lots, ask_lots = np.int64(position["bid_lots"]), np.int64(position["ask_lots"])
            if p == p_new and side == BID:
                bid_lots += order_lots
            elif p == p_new:
                ask_lots += order_lots
            required += orders_by_model(prices, instrument, position, bids, asks, bid_lots, ask_lots)
        elif lots != 0 or bids != 0 or asks != 0:
            held = mark_exposure(prices, instrument, lots)
            leverage_e2 = np.int64(position["leverage_e2"])
            margin = initial_margin(exposure_of(held, bids, asks), leverage_e2)
            if position["mode"] == ISOLATED:
                margin = max(np.int64(0), margin - initial_margin(abs(held), leverage_e2))
            required += margin
        p = np.int64(position["next"])
    return required


@leaf
def wallet_equity(ledger, prices, wallet):
    """Cross equity of a wallet."""
    equity = np.int64(ledger.wallets[wallet]["cash"])
    p = np.int64(ledger.wallets[wallet]["first_position"])
    while p != 0:
        position = ledger.positions[p]
        lots = np.int64(position["lots"])
        if lots != 0 and position["mode"] == CROSS:
            instrument = np.int64(position["instrument"])
            if prices.markets[instrument]["mark_sub"] != 0:
                equity += mark_value(prices, instrument, lots) - np.int64(position["entry_value"])
        p = np.int64(position["next"])
    return equity


@leaf
def tier_limit(prices, instrument, leverage_e2):
    """Largest exposure this leverage allows: the floor of the first tier that allows less; -1 = no limit."""
    tier = np.int64(prices.instruments[instrument]["tier_base"])
    end = tier + np.int64(prices.instruments[instrument]["tier_count"])
    while tier < end:
        if prices.tiers[tier]["leverage_max_e2"] < leverage_e2:
            return np.int64(prices.tiers[tier]["floor"])
        tier += 1
    return np.int64(-1)


@leaf
def find_position(ledger, wallet, instrument):
    """Position slot of a wallet in an instrument, 0 = none. The list is in instrument order."""
    p = np.int64(ledger.wallets[wallet]["first_position"])
    while p != 0 and ledger.positions[p]["instrument"] < instrument:
        p = np.int64(ledger.positions[p]["next"])
    if p != 0 and ledger.positions[p]["instrument"] == instrument:
        return p
    return np.int64(0)


@leaf
def external_position(instrument):
    """EXTERNAL's position slot in an instrument."""
    return 1 + instrument


@leaf
def insurance_position(prices, instrument):
    """INSURANCE's position slot in an instrument."""
    return 1 + np.int64(prices.policy[0]["instruments"]) + instrument


@leaf
def make_position(ledger, prices, control, wallet, instrument):
    """Find or make a position slot; 0 when the pool is full. Mutates the wallet's list and the pool."""
    before, p = np.int64(0), np.int64(ledger.wallets[wallet]["first_position"])
    while p != 0 and ledger.positions[p]["instrument"] < instrument:
        before = p
        p = np.int64(ledger.positions[p]["next"])
    if p != 0 and ledger.positions[p]["instrument"] == instrument:
        return p
    slot = np.int64(control[0]["position_high"]) + 1
    if slot >= ledger.positions.shape[0]:
        return np.int64(0)
    control[0]["position_high"] = slot
    position = ledger.positions[slot]
    position["wallet"] = wallet
    position["instrument"] = instrument
    position["leverage_e2"] = np.int64(
        prices.tiers[np.int64(prices.instruments[instrument]["tier_base"])]["leverage_max_e2"]
    )
    position["next"] = p
    if before != 0:
        ledger.positions[before]["next"] = slot
    else:
        ledger.wallets[wallet]["first_position"] = slot
    return slot
