"""Collateral in kind: assets that come and go, and the forced conversion of holdings into cash. DESIGN §3.12."""

import numpy as np

from exchange.codes import (
    ASK,
    BAD_ACCOUNT,
    BAD_INSTRUMENT,
    BAD_LOTS,
    BID,
    CANCELLED_BY_CONVERSION,
    CONVERSION,
    CONVERTED,
    FIRST_USER,
    IN_LIQUIDATION,
    INSUFFICIENT_BALANCE,
    INSUFFICIENT_HOLDING,
    INSURANCE,
    MODE_SHADOW,
    NOT_SPOT,
    OK,
    OPEN_INTEREST_CAP,
    POSITION_LIMIT,
    POSITIONS_FULL,
    STAGE_REDUCE,
    STP_NONE,
)
from exchange.core.accounts import done
from exchange.core.admission import band_limit, instrument_exists, open_user, reachable_lots, wallet_for
from exchange.core.allocation import execute_called
from exchange.core.arith import ceil_div, most_fee, ppm_up
from exchange.core.auction import interrupt
from exchange.core.contract import trade_value
from exchange.core.guards import touch
from exchange.core.kernel import kernel, leaf
from exchange.core.ledger import deposit, pay_insurance
from exchange.core.margin import (
    account_of,
    external_position,
    find_position,
    in_liquidation,
    make_position,
    wallet_equity,
    wallet_margin,
)
from exchange.core.match import book_trade
from exchange.core.outbox import emit
from exchange.core.removal import withdraw_orders
from exchange.core.shadow import execute_shadow
from exchange.core.spot import must_convert, sellable, set_conversion_timer, spare_lots
from exchange.core.states import reach_of, stands_still


@leaf
def check_asset(prices, instrument):
    """Is there such an instrument, and is it a spot one? Returns a code."""
    if not instrument_exists(prices, instrument):
        return BAD_INSTRUMENT
    return OK if prices.instruments[instrument]["spot"] != 0 else NOT_SPOT


@leaf
def move_asset(state, instrument, p, lots):
    """Lots come in from EXTERNAL, or go back to it, at price 0: no money moves."""
    book_trade(state, instrument, p, lots, 0, 0, 0)
    book_trade(state, instrument, external_position(instrument), -lots, 0, 0, 0)


@leaf
def check_room(state, instrument, p, account, lots):
    """Position limit and open interest cap of lots that come in. Returns a code."""
    prices, record = state.prices, state.prices.instruments[instrument]
    if p == 0:
        return POSITIONS_FULL
    if account >= FIRST_USER and reachable_lots(state.ledger, p, BID) + lots > record["position_max_lots"]:
        return POSITION_LIMIT
    open_lots = np.int64(prices.markets[instrument]["open_interest_lots"])
    committed = open_lots + np.int64(state.book.books[instrument]["order_lots"])
    return OPEN_INTEREST_CAP if committed + lots > record["open_interest_max_lots"] else OK


@kernel
def deposit_asset(state, event):
    """DEPOSIT_ASSET: lots of a spot instrument come into an account, which they open."""
    ledger, prices = state.ledger, state.prices
    instrument, account, lots = np.int64(event["instrument"]), np.int64(event["account"]), np.int64(event["qty"])
    code = check_asset(prices, instrument)
    if code == OK and account != INSURANCE and (account < FIRST_USER or account >= prices.policy[0]["accounts"]):
        code = BAD_ACCOUNT
    if code == OK and (lots < 1 or lots > prices.instruments[instrument]["position_max_lots"]):
        code = BAD_LOTS
    if code == OK:
        wallet = wallet_for(prices, account, instrument)
        p = make_position(ledger, prices, state.io.control, wallet, instrument)
        code = check_room(state, instrument, p, account, lots)
        if code == OK:
            deposit(ledger, wallet, np.int64(prices.instruments[instrument]["asset"]), 0)
            move_asset(state, instrument, p, lots)
    done(state, event, code)


@leaf
def check_left(ledger, prices, wallet, p, lots):
    """Is initial margin covered without `lots` of a holding? Returns a code; mutates nothing that stays changed."""
    ledger.positions[p]["lots"] -= lots
    margin = wallet_margin(ledger, prices, wallet, 0, BID, 0, 0)
    code = OK if wallet_equity(ledger, prices, wallet) >= margin else INSUFFICIENT_BALANCE
    ledger.positions[p]["lots"] += lots
    return code


@kernel
def withdraw_asset(state, event):
    """WITHDRAW_ASSET: lots that are not on offer leave, if what stays covers initial margin."""
    ledger, prices = state.ledger, state.prices
    instrument, account, lots = np.int64(event["instrument"]), np.int64(event["account"]), np.int64(event["qty"])
    code = check_asset(prices, instrument)
    if code == OK and not open_user(ledger, prices, account, instrument):
        code = BAD_ACCOUNT
    if code == OK and (lots < 1 or lots > prices.instruments[instrument]["position_max_lots"]):
        code = BAD_LOTS
    if code == OK:
        wallet = wallet_for(prices, account, instrument)
        p = find_position(ledger, wallet, instrument)
        if p == 0 or lots > spare_lots(ledger, p):
            code = INSUFFICIENT_HOLDING
        elif in_liquidation(ledger, wallet):
            code = IN_LIQUIDATION
        else:
            code = check_left(ledger, prices, wallet, p, lots)
        if code == OK:
            move_asset(state, instrument, p, -lots)
    done(state, event, code)


@leaf
def lots_for(prices, instrument, ticks, held, need, charge_ppm):
    """How much of a holding brings `need` at a price, fees and charge paid."""
    value, taker_ppb = trade_value(prices, instrument, ticks, 1), np.int64(prices.instruments[instrument]["taker_ppb"])
    net = value - most_fee(value, taker_ppb) - ppm_up(value, charge_ppm)
    return min(held, ceil_div(need, net)) if net > 0 else held


@kernel
def sell_holding(state, wallet, p, asset):
    """Sell what a wallet's cash needs of one holding, at once, no further than the band under the mark."""
    ledger, prices, io, terms = state.ledger, state.prices, state.io, state.prices.conversions[asset]
    instrument, held = np.int64(ledger.positions[p]["instrument"]), np.int64(ledger.positions[p]["lots"])
    withdraw_orders(state, wallet, p, CANCELLED_BY_CONVERSION)
    before = np.int64(ledger.wallets[wallet]["cash"])
    ticks, charge_ppm = band_limit(prices, instrument, ASK, np.int64(terms["band_ppm"])), np.int64(terms["charge_ppm"])
    lots = lots_for(prices, instrument, ticks, held, -np.int64(terms["target"]) - before, charge_ppm)
    if prices.policy[0]["mode"] == MODE_SHADOW:
        left = execute_shadow(state, instrument, p, ASK, ticks, lots, ticks, 0, CONVERTED)
    else:
        reach = reach_of(state, instrument, ASK, ticks, 1)
        left, _, _ = execute_called(state, instrument, p, ASK, reach, lots, 0, CONVERTED, ticks, 0, STP_NONE)
        if left > 0 and reach != ticks:
            interrupt(state, instrument, ASK, ticks)
    brought = np.int64(ledger.wallets[wallet]["cash"]) - before
    charge = ppm_up(max(brought, np.int64(0)), charge_ppm)
    if charge != 0:
        assets = np.int64(prices.policy[0]["assets"])
        pay_insurance(ledger, p, assets, asset, charge)
        touch(ledger, io, INSURANCE * assets + asset)
    if left != lots:
        emit(
            io,
            CONVERSION,
            0,
            instrument,
            account_of(prices, wallet),
            INSURANCE,
            0,
            ticks,
            lots - left,
            charge,
            0,
            0,
        )


@kernel
def convert_holdings(state, wallet):
    """CONVERT timer: sell a wallet's holdings in their order until its cash is back; try the rest again later."""
    ledger, prices = state.ledger, state.prices
    asset = wallet % np.int64(prices.policy[0]["assets"])
    terms = prices.conversions[asset]
    ledger.wallets[wallet]["converting"] = 0
    if ledger.wallets[wallet]["stage"] >= STAGE_REDUCE or not must_convert(ledger, prices, wallet, asset):
        return
    for k in range(np.int64(terms["base"]), np.int64(terms["base"]) + np.int64(terms["count"])):
        p = sellable(ledger, prices, wallet, k)
        if p != 0 and not stands_still(prices.markets[np.int64(prices.sales[k])]):
            if ledger.wallets[wallet]["cash"] < -np.int64(terms["target"]):
                sell_holding(state, wallet, p, asset)
    if must_convert(ledger, prices, wallet, asset):
        set_conversion_timer(ledger, prices, state.io, wallet, asset, np.int64(terms["retry_ns"]))
