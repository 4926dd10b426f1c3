"""Loss socialisation: what the insurance fund lacks is taken from those who hold positions. DESIGN §4.3; rule MON-8."""

import numpy as np

from exchange.codes import FIRST_USER, INSURANCE, RESIDUE, SHARE_NONE, SHARE_POSITIONS, SOCIALISED, SWEEP_SHARE
from exchange.core.arith import ceil_div
from exchange.core.contract import mark_value
from exchange.core.fund import usable
from exchange.core.guards import touch, touch_position
from exchange.core.kernel import kernel, leaf
from exchange.core.ledger import give_up_profit, pay_deficit
from exchange.core.margin import (
    account_of,
    find_position,
    first_leg,
    in_liquidation,
    leg_of,
    next_leg,
    unit_numbers,
    unit_of,
)
from exchange.core.outbox import emit
from exchange.core.wide import wide_div

SHARE_STEP = 1024  # wallets looked at in one continuation


@leaf
def burden(ledger, prices, p, instrument, rule):
    """What a position's share of a deficit is in proportion to; 0 for a unit in liquidation."""
    lots = np.int64(ledger.positions[p]["lots"])
    if lots == 0 or in_liquidation(ledger, unit_of(ledger, p)):
        return np.int64(0)
    if rule == SHARE_POSITIONS:
        return abs(lots)
    if prices.markets[instrument]["mark_sub"] == 0:
        return np.int64(0)
    return max(np.int64(0), mark_value(prices, instrument, lots) - np.int64(ledger.positions[p]["entry_value"]))


@kernel
def sum_burdens(state, instrument, rule):
    """What all burdens in an instrument add up to; nobody bears for a holding."""
    total, assets = np.int64(0), np.int64(state.prices.policy[0]["assets"])
    if state.prices.instruments[instrument]["spot"] != 0:
        return total
    for wallet in range(FIRST_USER * assets, state.ledger.wallets.shape[0]):
        p = find_position(state.ledger, wallet, instrument)
        if p != 0:
            total += burden(state.ledger, state.prices, p, instrument, rule)
    return total


@kernel
def socialise(state, unit, instrument, liquidation_id):
    """Where the venue does so, begin the sweep that takes from others what the fund lacks, or has borne too much.

    `instrument` -1: the first of the unit's in which somebody bears. Mutates the sweep, what the fund remembers.
    """
    ledger, prices, control = state.ledger, state.prices, state.io.control[0]
    assets = np.int64(prices.policy[0]["assets"])
    asset = (np.int64(ledger.positions[-unit]["wallet"]) if unit < 0 else unit) % assets
    rule, fund = np.int64(prices.waterfalls[asset]["socialise"]), ledger.funds[asset]
    if rule == SHARE_NONE:
        return
    equity, required, legs = unit_numbers(ledger, prices, INSURANCE * assets + asset)
    loss = -usable(state, asset, equity)
    if loss <= 0:
        return
    total = np.int64(0)
    if instrument >= 0:
        total = sum_burdens(state, instrument, rule)
    else:
        p = first_leg(ledger, unit)
        while p != 0 and total == 0:
            if leg_of(ledger, unit, p):
                instrument = np.int64(ledger.positions[p]["instrument"])
                total = sum_burdens(state, instrument, rule)
            p = next_leg(ledger, unit, p)
    fund["uncovered"] = loss
    fund["used"] -= min(np.int64(fund["used"]), loss)
    if total == 0:
        return
    if rule != SHARE_POSITIONS:
        loss = min(loss, total)
    control["sweep_instrument"] = instrument
    control["sweep_next"] = FIRST_USER * assets
    control["sweep_kind"] = SWEEP_SHARE
    control["share_loss"] = loss
    control["share_total"] = total
    control["share_left"] = loss
    control["share_excess"] = 0
    control["share_liquidation"] = liquidation_id


@leaf
def pay_share(state, instrument, wallet, p, rule):
    """One position bears its share: of each lot as much, rounded up, out of its pocket; or of its profit in proportion,
    likewise, which leaves the last no more than what is left. Mutates the position, its pocket, the fund, RESIDUE."""
    ledger, prices, control = state.ledger, state.prices, state.io.control[0]
    weight = burden(ledger, prices, p, instrument, rule)
    if weight == 0:
        return
    asset, assets = np.int64(prices.instruments[instrument]["asset"]), np.int64(prices.policy[0]["assets"])
    loss, total = np.int64(control["share_loss"]), np.int64(control["share_total"])
    left = np.int64(control["share_left"])
    if rule == SHARE_POSITIONS:
        due = ceil_div(loss, total) * weight
        paid = min(due, left)
        pay_deficit(ledger, p, assets, asset, paid, due - paid)
    else:
        whole, rest = wide_div(weight, loss, total)
        due = min(left, whole + (rest != 0))
        paid = due
        give_up_profit(ledger, p, assets, asset, paid)
    if due == 0:
        return
    control["share_left"] = left - paid
    control["share_excess"] += due - paid
    ledger.funds[asset]["uncovered"] -= paid
    touch_position(ledger, state.io, p)
    emit_share(state, instrument, account_of(prices, wallet), INSURANCE, np.int64(ledger.positions[p]["lots"]), -due)


@leaf
def emit_share(state, instrument, account, counterparty, lots, money):
    mark_sub, liquidation_id = (
        np.int64(state.prices.markets[instrument]["mark_sub"]),
        np.int64(state.io.control[0]["share_liquidation"]),
    )
    emit(state.io, SOCIALISED, 0, instrument, account, counterparty, 0, mark_sub, lots, money, 0, liquidation_id)


@kernel
def sharing_sweep(state):
    """One continuation of a deficit's sharing, the next wallets in order; at its end who received what."""
    control, ledger = state.io.control[0], state.ledger
    instrument, wallets = np.int64(control["sweep_instrument"]), ledger.wallets.shape[0]
    asset, assets = np.int64(state.prices.instruments[instrument]["asset"]), np.int64(state.prices.policy[0]["assets"])
    rule = np.int64(state.prices.waterfalls[asset]["socialise"])
    first = np.int64(control["sweep_next"])
    end = min(first + SHARE_STEP, wallets)
    for wallet in range(first, end):
        p = find_position(ledger, wallet, instrument)
        if p != 0:
            pay_share(state, instrument, wallet, p, rule)
    control["sweep_next"] = end if end < wallets else 0
    if end == wallets:
        received = np.int64(control["share_loss"]) - np.int64(control["share_left"])
        emit_share(state, instrument, INSURANCE, 0, 0, received)
        if control["share_excess"] != 0:
            emit_share(state, instrument, RESIDUE, 0, 0, np.int64(control["share_excess"]))
    touch(ledger, state.io, INSURANCE * assets + asset)
