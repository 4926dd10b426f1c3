"""Account commands: deposits, leverage, margin mode, transfers, seeding; and the funding sweep. DESIGN §3.3, §3.4."""

import numpy as np

from exchange.codes import (
    ASK,
    BAD_ACCOUNT,
    BAD_AMOUNT,
    BAD_INSTRUMENT,
    BAD_LEVERAGE,
    BAD_LOTS,
    BAD_PRICE,
    BID,
    FIRST_USER,
    FUNDING,
    IN_LIQUIDATION,
    INSUFFICIENT_BALANCE,
    INSUFFICIENT_MARGIN,
    INSURANCE,
    ISOLATED,
    LEVERAGE_TIER,
    NOT_ISOLATED,
    OK,
    OPEN_INTEREST_CAP,
    POSITION_LIMIT,
    POSITION_OPEN,
    POSITIONS_FULL,
    SWEEP_FUNDING,
)
from exchange.core.admission import open_user, reachable_lots, wallet_for, wallet_of
from exchange.core.contract import mark_exposure, mark_value
from exchange.core.funding import funding_money, notional_sub
from exchange.core.guards import touch, touch_position
from exchange.core.kernel import kernel, leaf
from exchange.core.ledger import deposit, pay_residue, shift_margin, withdraw
from exchange.core.margin import (
    account_of,
    find_position,
    in_liquidation,
    make_position,
    tier_limit,
    unit_of,
    wallet_equity,
    wallet_margin,
)
from exchange.core.match import book_trade
from exchange.core.outbox import answer, emit
from exchange.core.requirement import exposure_by_rule, initial_of, interest_of
from exchange.core.spot import available_balance, check_contract
from exchange.core.states import check_life

MONEY_MOVE_MAX = 1 << 52
SWEEP_STEP = 1024  # wallets a continuation visits


@leaf
def check_wallet(state, event):
    """Asset (carried by `instrument`) and account of DEPOSIT and WITHDRAW. Returns a code."""
    policy, account = state.prices.policy[0], np.int64(event["account"])
    if account != INSURANCE and (account < FIRST_USER or account >= policy["accounts"]):
        return BAD_ACCOUNT
    if event["instrument"] < 0 or event["instrument"] >= policy["assets"]:
        return BAD_INSTRUMENT
    return OK


@leaf
def check_amount(event):
    return OK if 1 <= event["qty"] <= MONEY_MOVE_MAX else BAD_AMOUNT


@leaf
def done(state, event, code):
    """Answer a command that is not an order."""
    answer(state.io, event, np.int64(event["instrument"]), code, np.int64(event["price"]), np.int64(event["qty"]))


@kernel
def deposit_money(state, event):
    """DEPOSIT: money enters a wallet, which opens the account."""
    code = check_wallet(state, event)
    if code == OK:
        code = check_amount(event)
    if code == OK:
        wallet = wallet_of(state.prices, np.int64(event["account"]), np.int64(event["instrument"]))
        deposit(state.ledger, wallet, np.int64(event["instrument"]), np.int64(event["qty"]))
        touch(state.ledger, state.io, wallet)
    done(state, event, code)


@kernel
def withdraw_money(state, event):
    """WITHDRAW: money leaves a user's wallet if what stays covers its initial margin."""
    ledger, prices = state.ledger, state.prices
    account = np.int64(event["account"])
    code = check_wallet(state, event) if account != INSURANCE else BAD_ACCOUNT
    wallet = wallet_of(prices, account, np.int64(event["instrument"])) if code == OK else np.int64(0)
    if code == OK and ledger.wallets[wallet]["open"] == 0:
        code = BAD_ACCOUNT
    if code == OK:
        code = check_amount(event)
    if code == OK and available_balance(ledger, prices, wallet) < event["qty"]:
        code = INSUFFICIENT_BALANCE
    if code == OK and in_liquidation(ledger, wallet):
        code = IN_LIQUIDATION
    if code == OK:
        withdraw(ledger, wallet, np.int64(event["instrument"]), np.int64(event["qty"]))
        touch(ledger, state.io, wallet)
    done(state, event, code)


@leaf
def setting_wallet(state, event):
    """(wallet, code) for a settings event: the instrument must exist and the account be open."""
    instrument, account = np.int64(event["instrument"]), np.int64(event["account"])
    code = check_contract(state.prices, instrument)
    if code != OK:
        return np.int64(0), code
    if not open_user(state.ledger, state.prices, account, instrument):
        return np.int64(0), BAD_ACCOUNT
    return wallet_for(state.prices, account, instrument), OK


@leaf
def setting_position(state, event, wallet):
    """(position, code): the slot that a settings event changes, made on first use."""
    p = make_position(state.ledger, state.prices, state.io.control, wallet, np.int64(event["instrument"]))
    return p, OK if p != 0 else POSITIONS_FULL


@leaf
def wallet_unit(ledger, wallet, instrument):
    """The unit that holds, or would hold, a wallet's position in an instrument."""
    p = find_position(ledger, wallet, instrument)
    return unit_of(ledger, p) if p != 0 else wallet


@leaf
def check_range(state, event, wallet):
    """Range of a SET_LEVERAGE and liquidation of its unit. Returns a code."""
    instrument, leverage_e2 = np.int64(event["instrument"]), np.int64(event["qty"])
    first = state.prices.tiers[np.int64(state.prices.instruments[instrument]["tier_base"])]
    if leverage_e2 < 100 or leverage_e2 > first["leverage_max_e2"]:
        return BAD_LEVERAGE
    return IN_LIQUIDATION if in_liquidation(state.ledger, wallet_unit(state.ledger, wallet, instrument)) else OK


@leaf
def check_leverage(state, p, instrument, leverage_e2):
    """May position `p` change to this leverage? Returns a code; mutates nothing that stays changed."""
    ledger, prices = state.ledger, state.prices
    position = ledger.positions[p]
    before = np.int64(position["leverage_e2"])
    if position["mode"] == ISOLATED and position["lots"] != 0 and leverage_e2 < before:
        return POSITION_OPEN
    held = mark_exposure(prices, instrument, np.int64(position["lots"]))
    bids, asks = np.int64(position["bid_value"]), np.int64(position["ask_value"])
    exposure = exposure_by_rule(prices, instrument, held, bids, asks)
    limit = tier_limit(prices, instrument, leverage_e2)
    if limit >= 0 and exposure > limit:
        return LEVERAGE_TIER
    if exposure > 0:
        wallet = np.int64(position["wallet"])
        old = wallet_margin(ledger, prices, wallet, 0, BID, 0, 0)
        position["leverage_e2"] = leverage_e2
        new = wallet_margin(ledger, prices, wallet, 0, BID, 0, 0)
        position["leverage_e2"] = before
        if new > old and wallet_equity(ledger, prices, wallet) < new:
            return INSUFFICIENT_MARGIN
    return OK


@kernel
def set_leverage(state, event):
    """SET_LEVERAGE of one account in one instrument, in hundredths."""
    wallet, code = setting_wallet(state, event)
    p = np.int64(0)
    if code == OK:
        code = check_range(state, event, wallet)
    if code == OK:
        p, code = setting_position(state, event, wallet)
    if code == OK:
        code = check_leverage(state, p, np.int64(event["instrument"]), np.int64(event["qty"]))
    if code == OK:
        state.ledger.positions[p]["leverage_e2"] = np.int64(event["qty"])
        touch_position(state.ledger, state.io, p)
    done(state, event, code)


@leaf
def check_transfer(state, p, instrument, money):
    """May `money` (signed: into the margin) move? Returns a code."""
    ledger, prices = state.ledger, state.prices
    position = ledger.positions[p]
    if money == 0 or money > MONEY_MOVE_MAX or money < -MONEY_MOVE_MAX:
        return BAD_AMOUNT
    lots, margin = np.int64(position["lots"]), np.int64(position["isolated_margin"])
    if p == 0 or position["mode"] != ISOLATED or lots == 0:
        return NOT_ISOLATED
    if in_liquidation(ledger, -p):
        return IN_LIQUIDATION
    if money > 0:
        return OK if available_balance(ledger, prices, np.int64(position["wallet"])) >= money else INSUFFICIENT_BALANCE
    value = mark_value(prices, instrument, lots)
    pnl = value - np.int64(position["entry_value"]) if prices.markets[instrument]["mark_sub"] != 0 else np.int64(0)
    kept = margin + money
    interest, leverage_e2 = interest_of(prices, instrument), np.int64(position["leverage_e2"])
    if kept < 0 or kept + pnl < initial_of(prices, instrument, interest, abs(value), abs(value), lots, leverage_e2):
        return INSUFFICIENT_BALANCE
    return OK


@kernel
def transfer_margin(state, event):
    """TRANSFER: move money between a wallet and the margin of its isolated position."""
    wallet, code = setting_wallet(state, event)
    p = find_position(state.ledger, wallet, np.int64(event["instrument"])) if code == OK else np.int64(0)
    if code == OK:
        code = check_transfer(state, p, np.int64(event["instrument"]), np.int64(event["qty"]))
    if code == OK:
        shift_margin(state.ledger, p, np.int64(event["qty"]))
        touch_position(state.ledger, state.io, p)
    done(state, event, code)


@leaf
def check_pair(state, event, instrument, buyer, seller):
    """Checks of OPEN_POSITION before position slots are needed. Returns a code."""
    ledger, prices = state.ledger, state.prices
    if (
        buyer == seller
        or not open_user(ledger, prices, buyer, instrument)
        or not open_user(ledger, prices, seller, instrument)
    ):
        return BAD_ACCOUNT
    record, life = prices.instruments[instrument], check_life(np.int64(prices.markets[instrument]["state"]))
    if life != OK:
        return life
    if event["qty"] < 1 or event["qty"] > record["order_max_lots"]:
        return BAD_LOTS
    if event["price"] < record["ticks_min"] or event["price"] > record["ticks_max"]:
        return BAD_PRICE
    return OK


@leaf
def check_pair_limits(state, instrument, buyer_p, seller_p, lots):
    """Position limits of both sides and the open interest cap of OPEN_POSITION. Returns a code."""
    record = state.prices.instruments[instrument]
    reached = max(reachable_lots(state.ledger, buyer_p, BID), reachable_lots(state.ledger, seller_p, ASK))
    if reached + lots > record["position_max_lots"]:
        return POSITION_LIMIT
    open_lots = np.int64(state.prices.markets[instrument]["open_interest_lots"])
    if open_lots + np.int64(state.book.books[instrument]["order_lots"]) + lots > record["open_interest_max_lots"]:
        return OPEN_INTEREST_CAP
    return OK


@kernel
def open_position(state, event):
    """OPEN_POSITION: seed a matched pair of positions at one price, without fees. Rule POS-1."""
    ledger, prices = state.ledger, state.prices
    instrument, lots = np.int64(event["instrument"]), np.int64(event["qty"])
    buyer, seller = np.int64(event["account"]), np.int64(event["order_id"])
    code = check_contract(prices, instrument)
    if code == OK:
        code = check_pair(state, event, instrument, buyer, seller)
    if code != OK:
        done(state, event, code)
        return
    buyer_wallet, seller_wallet = wallet_for(prices, buyer, instrument), wallet_for(prices, seller, instrument)
    if in_liquidation(ledger, wallet_unit(ledger, buyer_wallet, instrument)) or in_liquidation(
        ledger, wallet_unit(ledger, seller_wallet, instrument)
    ):
        done(state, event, IN_LIQUIDATION)
        return
    buyer_p = make_position(ledger, prices, state.io.control, buyer_wallet, instrument)
    seller_p = make_position(ledger, prices, state.io.control, seller_wallet, instrument)
    code = (
        check_pair_limits(state, instrument, buyer_p, seller_p, lots)
        if buyer_p != 0 and seller_p != 0
        else POSITIONS_FULL
    )
    if code == OK:
        book_trade(state, instrument, buyer_p, lots, np.int64(event["price"]), 0, 0)
        book_trade(state, instrument, seller_p, -lots, np.int64(event["price"]), 0, 0)
    done(state, event, code)


@leaf
def pay_funding(state, instrument, p, value):
    """Pay or receive one interval's funding against RESIDUE; rounded against the payer and the receiver. Rule MON-3."""
    ledger, prices = state.ledger, state.prices
    lots, price = np.int64(ledger.positions[p]["lots"]), notional_sub(prices, instrument)
    money = funding_money(prices, instrument, price, lots, value)
    wallet = np.int64(ledger.positions[p]["wallet"])
    pay_residue(
        ledger, p, np.int64(prices.policy[0]["assets"]), np.int64(prices.instruments[instrument]["asset"]), money
    )
    touch_position(ledger, state.io, p)
    emit(
        state.io,
        FUNDING,
        0,
        instrument,
        account_of(prices, wallet),
        0,
        0,
        price,
        lots,
        money,
        0,
        0,
    )


@kernel
def funding_sweep(state):
    """One continuation of a sweep, the next wallets in order: funding, or a new requirement. Mutates its place."""
    control = state.io.control[0]
    instrument, value = np.int64(control["sweep_instrument"]), np.int64(control["sweep_value"])
    wallets = state.ledger.wallets.shape[0]
    first = np.int64(control["sweep_next"])
    end = min(first + SWEEP_STEP, wallets)
    for wallet in range(first, end):
        p = find_position(state.ledger, wallet, instrument)
        if p != 0 and state.ledger.positions[p]["lots"] != 0:
            if control["sweep_kind"] == SWEEP_FUNDING:
                pay_funding(state, instrument, p, value)
            else:
                touch(state.ledger, state.io, unit_of(state.ledger, p))
    control["sweep_next"] = end if end < wallets else 0
