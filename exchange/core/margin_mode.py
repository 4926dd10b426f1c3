"""SET_MARGIN_MODE: how a position, or a whole wallet, is margined. DESIGN §3.4, §3.17."""

import numpy as np

from exchange.codes import (
    BAD_FLAGS,
    BID,
    CROSS,
    IN_LIQUIDATION,
    INSUFFICIENT_MARGIN,
    ISOLATED,
    LEVERAGE_TIER,
    NO_PORTFOLIO,
    OK,
    PORTFOLIO,
    POSITION_OPEN,
    STAGE_NONE,
)
from exchange.core.accounts import done, setting_position, setting_wallet
from exchange.core.contract import mark_exposure
from exchange.core.grid import in_grid, refresh_risks
from exchange.core.guard_ladder import disarm
from exchange.core.guards import touch, touch_position
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import find_position, tier_limit, wallet_equity, wallet_margin
from exchange.core.option_grid import refresh_option_risks
from exchange.core.options import in_strikes
from exchange.core.requirement import exposure_by_rule
from exchange.core.stages import leave_stages


@leaf
def has_orders(state, p):
    """Does position `p` have a live order, reduce-only ones included?"""
    slot = np.int64(state.ledger.wallets[np.int64(state.ledger.positions[p]["wallet"])]["first_order"])
    while slot != 0:
        if state.book.orders[slot]["position"] == p:
            return True
        slot = np.int64(state.book.orders[slot]["account_next"])
    return False


@leaf
def leaves_portfolio(state, wallet, p, mode):
    """Does CROSS mean the wallet? It does where it is in portfolio mode and the position is not isolated."""
    if mode != CROSS or state.ledger.wallets[wallet]["portfolio"] == 0:
        return False
    return p == 0 or state.ledger.positions[p]["mode"] == CROSS


@kernel
def make_risks(prices, io):
    """Make every risk array anew. Mutates them."""
    for k in range(np.int64(prices.policy[0]["instruments"])):
        refresh_risks(prices, k)
        option = prices.options[k]
        if prices.instruments[k]["option"] != 0:
            forward = in_strikes(option, np.int64(prices.markets[np.int64(option["underlying"])]["mark_sub"]))
            refresh_option_risks(prices, io, k, forward)


@kernel
def beyond_tiers(ledger, prices, wallet):
    """Has a wallet more exposure in a position that the grid holds than its leverage allows outside of it?"""
    p = np.int64(ledger.wallets[wallet]["first_position"])
    while p != 0:
        position = ledger.positions[p]
        if in_grid(ledger, prices, p):
            instrument = np.int64(position["instrument"])
            held = mark_exposure(prices, instrument, np.int64(position["lots"]))
            bids, asks = np.int64(position["bid_value"]), np.int64(position["ask_value"])
            limit = tier_limit(prices, instrument, np.int64(position["leverage_e2"]))
            if limit >= 0 and exposure_by_rule(prices, instrument, held, bids, asks) > limit:
                return True
        p = np.int64(position["next"])
    return False


@kernel
def set_portfolio(state, wallet, chosen):
    """Margin a wallet by the grid, or no more, if its equity covers initial margin then. Returns a code."""
    ledger, prices = state.ledger, state.prices
    record = ledger.wallets[wallet]
    if prices.grids[0]["scenarios"] == 0:
        return NO_PORTFOLIO
    if record["stage"] != STAGE_NONE:
        return IN_LIQUIDATION
    if (record["portfolio"] != 0) == chosen:
        return OK
    if chosen:
        prices.grids[0]["holders"] += 1
        if prices.grids[0]["holders"] == 1:
            make_risks(prices, state.io)
    code = OK
    if not chosen and beyond_tiers(ledger, prices, wallet):
        code = LEVERAGE_TIER
    record["portfolio"] = 1 if chosen else 0
    if code == OK and wallet_equity(ledger, prices, wallet) < wallet_margin(ledger, prices, wallet, 0, BID, 0, 0):
        code = INSUFFICIENT_MARGIN
    if code != OK:
        record["portfolio"] = 0 if chosen else 1
    if (code == OK) != chosen:
        prices.grids[0]["holders"] -= 1
    if code == OK:
        touch(ledger, state.io, wallet)
    return code


@kernel
def set_margin_mode(state, event):
    """SET_MARGIN_MODE: cross or isolated, only while flat and without orders; a wallet's also to portfolio and back."""
    wallet, code = setting_wallet(state, event)
    p = find_position(state.ledger, wallet, np.int64(event["instrument"])) if code == OK else np.int64(0)
    if code == OK and (event["qty"] == PORTFOLIO or leaves_portfolio(state, wallet, p, np.int64(event["qty"]))):
        done(state, event, set_portfolio(state, wallet, event["qty"] == PORTFOLIO))
        return
    option = code == OK and state.prices.instruments[np.int64(event["instrument"])]["option"] != 0
    if code == OK and event["qty"] != CROSS and (event["qty"] != ISOLATED or option):
        code = BAD_FLAGS
    if code == OK:
        p, code = setting_position(state, event, wallet)
    if code == OK and state.ledger.positions[p]["stage"] != STAGE_NONE:  # its timer is set for the isolated unit
        code = IN_LIQUIDATION
    if code == OK:
        position = state.ledger.positions[p]
        if position["lots"] != 0 or has_orders(state, p):
            code = POSITION_OPEN
        else:
            disarm(state.ledger, state.guards, p)
            leave_stages(state.ledger, state.prices, -p)
            position["mode"] = np.int64(event["qty"])
            touch_position(state.ledger, state.io, p)
    done(state, event, code)
