"""Spot holdings: what an account may sell and spend of them, and when they are sold for it. DESIGN §3.12; COL-1."""

import numpy as np

from exchange.codes import (
    ASK,
    BAD_INSTRUMENT,
    BID,
    CONVERT,
    FIRST_USER,
    INSUFFICIENT_BALANCE,
    INSUFFICIENT_HOLDING,
    NOT_CONTRACT,
    OK,
    PRIORITY_CONVERT,
)
from exchange.core.arith import most_fee
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import account_of, find_position, wallet_equity, wallet_margin
from exchange.core.timers import push_timer


@leaf
def check_contract(prices, instrument):
    """Is there such an instrument, and is it a contract? Returns a code."""
    if instrument < 0 or instrument >= prices.policy[0]["instruments"]:
        return BAD_INSTRUMENT
    return OK if prices.instruments[instrument]["spot"] == 0 else NOT_CONTRACT


@leaf
def spare_lots(ledger, p):
    """Lots of a holding that no resting ask offers."""
    position = ledger.positions[p]
    offered = np.int64(position["ask_lots"]) + np.int64(ledger.legs[p]["reduce_lots"][ASK])
    return np.int64(position["lots"]) - offered


@leaf
def spare_cash(ledger, prices, wallet):
    """Cash that no resting bid of a spot instrument would spend."""
    cash = np.int64(ledger.wallets[wallet]["cash"])
    p = np.int64(ledger.wallets[wallet]["first_position"])
    while p != 0:
        if prices.instruments[np.int64(ledger.positions[p]["instrument"])]["spot"] != 0:
            cash -= np.int64(ledger.positions[p]["bid_value"])
        p = np.int64(ledger.positions[p]["next"])
    return cash


@leaf
def available_balance(ledger, prices, wallet):
    """What may leave a wallet: not more than its cash, and initial margin stays covered."""
    equity = wallet_equity(ledger, prices, wallet)
    return min(spare_cash(ledger, prices, wallet), equity - wallet_margin(ledger, prices, wallet, 0, BID, 0, 0))


@kernel
def check_holding(ledger, prices, p, side, order_value, lots):
    """An ask sells what is held, a bid pays all of it at once: nothing is borrowed. Returns a code."""
    if side == ASK:
        return OK if lots <= spare_lots(ledger, p) else INSUFFICIENT_HOLDING
    position = ledger.positions[p]
    taker_ppb = np.int64(prices.instruments[np.int64(position["instrument"])]["taker_ppb"])
    cost = order_value + most_fee(order_value, taker_ppb)
    return OK if cost <= available_balance(ledger, prices, np.int64(position["wallet"])) else INSUFFICIENT_BALANCE


@leaf
def sellable(ledger, prices, wallet, k):
    """Position slot of a wallet's holding at place `k` of the sales, 0 = it has none that is worth anything."""
    instrument = np.int64(prices.sales[k])
    p = find_position(ledger, wallet, instrument)
    return p if p != 0 and ledger.positions[p]["lots"] > 0 and prices.markets[instrument]["mark_sub"] != 0 else 0


@leaf
def must_convert(ledger, prices, wallet, asset):
    """Is a wallet's cash too little, with a holding that can be sold for it?"""
    terms = prices.conversions[asset]
    if terms["count"] == 0 or ledger.wallets[wallet]["cash"] >= -np.int64(terms["below"]):
        return False
    for k in range(np.int64(terms["base"]), np.int64(terms["base"]) + np.int64(terms["count"])):
        if sellable(ledger, prices, wallet, k) != 0:
            return True
    return False


@leaf
def set_conversion_timer(ledger, prices, io, wallet, asset, delay_ns):
    """Mutates the wallet, the heap."""
    ledger.wallets[wallet]["converting"] = 1
    due_ns = np.int64(io.control[0]["clock_ns"]) + delay_ns
    push_timer(io, due_ns, PRIORITY_CONVERT, account_of(prices, wallet), asset, wallet, CONVERT)


@kernel
def start_conversion(ledger, prices, io, wallet):
    """Set the timer that sells a user's holdings, where its cash is too little and none is set."""
    asset = wallet % np.int64(prices.policy[0]["assets"])
    if account_of(prices, wallet) >= FIRST_USER and ledger.wallets[wallet]["converting"] == 0:
        if must_convert(ledger, prices, wallet, asset):
            delay_ns = np.int64(prices.conversions[asset]["delay_ns"])
            set_conversion_timer(ledger, prices, io, wallet, asset, delay_ns)
