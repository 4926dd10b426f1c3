"""The checks that admit an order. They change nothing. DESIGN §3.1, §3.2; LIQ-2, SEQ-4."""

import numpy as np

from exchange.codes import (
    ASK,
    BAD_ACCOUNT,
    BAD_FLAGS,
    BAD_LOTS,
    BAD_ORDER_ID,
    BAD_PRICE,
    BAD_SIDE,
    BAD_TIME_IN_FORCE,
    BID,
    BUDGET,
    DUPLICATE_ORDER_ID,
    FIRST_USER,
    FOK,
    FOK_UNFILLABLE,
    GTC,
    INSUFFICIENT_MARGIN,
    IOC,
    LEVERAGE_TIER,
    MARGIN_PLAIN,
    MARKET,
    NO_MARK,
    OK,
    OPEN_INTEREST_CAP,
    ORDERS_PREMIUM,
    PEG_NONE,
    POSITION_LIMIT,
    POST_ONLY,
    POST_ONLY_WOULD_TAKE,
    REDUCE_ONLY,
    STATE_CONTINUOUS,
    TRIGGER_NONE,
)
from exchange.core.arith import MILLION, ceil_div, most_fee, mul_div_floor
from exchange.core.book import crosses, find_id
from exchange.core.contract import mark_exposure, mark_value, trade_notional, trade_value
from exchange.core.demands import sure_fill
from exchange.core.grid import in_grid
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import account_of, tier_limit, unit_numbers, wallet_equity, wallet_margin
from exchange.core.option_margin import only_closes
from exchange.core.requirement import exposure_by_rule
from exchange.core.spot import check_holding, spare_lots
from exchange.core.states import check_state, reach_of
from exchange.core.terms import check_form, check_terms


@leaf
def instrument_exists(prices, instrument):
    return 0 <= instrument < np.int64(prices.policy[0]["instruments"])


@leaf
def wallet_of(prices, account, asset):
    return account * np.int64(prices.policy[0]["assets"]) + asset


@leaf
def wallet_for(prices, account, instrument):
    """Wallet slot of an account in an instrument's settlement asset."""
    return wallet_of(prices, account, np.int64(prices.instruments[instrument]["asset"]))


@leaf
def open_user(ledger, prices, account, instrument):
    """Is `account` a user that was funded in the instrument's asset?"""
    if account < FIRST_USER or account >= prices.policy[0]["accounts"]:
        return False
    return ledger.wallets[wallet_for(prices, account, instrument)]["open"] != 0


@leaf
def market_limit(prices, instrument, side):
    """Worst price of a market order: the band around the mark, inside the ladder."""
    return band_limit(prices, instrument, side, np.int64(prices.instruments[instrument]["market_band_ppm"]))


@leaf
def band_limit(prices, instrument, side, band):
    """Worst price of a taker that goes no further from the mark than `band` (ppm), inside the ladder."""
    return band_around(prices, instrument, side, band, np.int64(prices.markets[instrument]["mark_sub"]))


@leaf
def band_around(prices, instrument, side, band, price_sub):
    """Worst price of a taker that goes no further than `band` (ppm) from a price in sub-ticks, inside the ladder."""
    record = prices.instruments[instrument]
    per_tick = np.int64(record["mark_per_tick"])
    if side == BID:
        ticks = mul_div_floor(price_sub, MILLION + band, MILLION) // per_tick
    else:
        ticks = ceil_div(mul_div_floor(price_sub, MILLION - band, MILLION), per_tick)
    return max(np.int64(record["ticks_min"]), min(ticks, np.int64(record["ticks_max"])))


@leaf
def check_fields(state, event, instrument, termed):
    """Checks of a NEW that need no position. Returns a code; mutates nothing.

    `termed`: of one that may be more than a plain order.
    """
    ledger, prices = state.ledger, state.prices
    flags, tif, side = np.int64(event["flags"]), np.int64(event["time_in_force"]), np.int64(event["side"])
    record = prices.instruments[instrument]
    if not open_user(ledger, prices, np.int64(event["account"]), instrument):
        return BAD_ACCOUNT
    if event["order_id"] <= 0:
        return BAD_ORDER_ID
    if side != BID and side != ASK:
        return BAD_SIDE
    if termed:
        code = check_form(tif, flags)
        if code != OK:
            return code
    elif tif != GTC and tif != IOC and tif != FOK:
        return BAD_TIME_IN_FORCE
    elif flags & ~(POST_ONLY | REDUCE_ONLY | MARKET):
        return BAD_FLAGS
    elif flags & POST_ONLY and (flags & MARKET or tif != GTC):
        return BAD_FLAGS
    if event["qty"] < 1 or event["qty"] > record["order_max_lots"]:
        return BAD_LOTS
    if termed and flags & BUDGET and event["price"] < 1:
        return BAD_PRICE
    if not flags & (MARKET | BUDGET) and (event["price"] < record["ticks_min"] or event["price"] > record["ticks_max"]):
        return BAD_PRICE
    if prices.markets[instrument]["state"] != STATE_CONTINUOUS:
        waits = termed and (state.io.held[0]["trigger"] != TRIGGER_NONE or state.io.held[0]["peg"] != PEG_NONE)
        code = check_state(np.int64(prices.markets[instrument]["state"]), flags, tif, waits)
        if code != OK:
            return code
    if prices.markets[instrument]["mark_sub"] == 0:
        return NO_MARK
    if find_id(state.book.ids, state.book.orders, np.int64(event["order_id"])) != 0:
        return DUPLICATE_ORDER_ID
    return check_terms(state, event, instrument) if termed else OK


@leaf
def reducible_lots(ledger, p, side):
    """Lots that an order of `side` could take off position `p`; 0 = it would not reduce."""
    held = np.int64(ledger.positions[p]["lots"])
    return max(np.int64(0), -held if side == BID else held)


@leaf
def unspoken_lots(ledger, p, side):
    """What of them no reduce-only order that rests already speaks for."""
    return max(np.int64(0), reducible_lots(ledger, p, side) - np.int64(ledger.legs[p]["reduce_lots"][side]))


@leaf
def closable_lots(ledger, prices, p, side, resting):
    """The most that a new reduce-only order may be for. Of a holding, what no ask offers yet, whatever its form."""
    if side == ASK and prices.instruments[np.int64(ledger.positions[p]["instrument"])]["spot"] != 0:
        return spare_lots(ledger, p)
    return unspoken_lots(ledger, p, side) if resting else reducible_lots(ledger, p, side)


@leaf
def reachable_lots(ledger, p, side):
    """Lots position `p` could hold on one side if its open orders there fill; an opposite position does not offset."""
    position = ledger.positions[p]
    if side == BID:
        return max(np.int64(0), np.int64(position["lots"])) + np.int64(position["bid_lots"])
    return max(np.int64(0), -np.int64(position["lots"])) + np.int64(position["ask_lots"])


@leaf
def order_costs(prices, instrument, side, limit_ticks, lots):
    """(notional, loss at the mark if it fills, taker fee) of an order at its limit."""
    change = lots if side == BID else -lots
    value = trade_notional(prices, instrument, limit_ticks, lots)
    open_loss = trade_value(prices, instrument, limit_ticks, change) - mark_value(prices, instrument, change)
    fee_reserve = most_fee(value, np.int64(prices.instruments[instrument]["taker_ppb"]))
    return value, max(np.int64(0), open_loss), fee_reserve


@kernel
def check_grid(ledger, prices, p, side, cost, order_value, lots):
    """An order in a portfolio that opens must be covered: what it asks for, or, where that is no more than before,
    at least maintenance once it has cost what it costs at the mark. Returns a code."""
    wallet = np.int64(ledger.positions[p]["wallet"])
    before = wallet_margin(ledger, prices, wallet, 0, side, 0, 0)
    after = wallet_margin(ledger, prices, wallet, p, side, order_value, lots)
    equity, required, _ = unit_numbers(ledger, prices, wallet)
    if after <= before:
        if only_closes(ledger.positions[p], side == BID, lots):
            return OK
        after = min(after, required)
    return OK if equity - cost >= after else INSUFFICIENT_MARGIN


@leaf
def check_admission(state, instrument, p, side, limit_ticks, lots):
    """Position limit, open interest cap, leverage tier and initial margin of one more open order. Mutates nothing."""
    ledger, prices = state.ledger, state.prices
    position, record, market = ledger.positions[p], prices.instruments[instrument], prices.markets[instrument]
    wallet = np.int64(position["wallet"])
    if reachable_lots(ledger, p, side) + lots > record["position_max_lots"]:
        return POSITION_LIMIT
    committed = np.int64(market["open_interest_lots"]) + np.int64(state.book.books[instrument]["order_lots"])
    if committed + lots > record["open_interest_max_lots"]:
        return OPEN_INTEREST_CAP
    held = mark_exposure(prices, instrument, np.int64(position["lots"]))
    order_value, open_loss, fee_reserve = order_costs(prices, instrument, side, limit_ticks, lots)
    if record["spot"] != 0:
        code = check_holding(ledger, prices, p, side, order_value, lots)
        if code != OK or not in_grid(ledger, prices, p):
            return code
    if in_grid(ledger, prices, p):
        return check_grid(ledger, prices, p, side, open_loss + fee_reserve, order_value, lots)
    bids, asks = np.int64(position["bid_value"]), np.int64(position["ask_value"])
    before = exposure_by_rule(prices, instrument, held, bids, asks)
    if side == BID:
        bids += order_value
    else:
        asks += order_value
    after = exposure_by_rule(prices, instrument, held, bids, asks)
    if record["option"] != 0:
        if only_closes(position, side == BID, lots):
            return OK
    elif after <= before:
        return OK
    limit = tier_limit(prices, instrument, np.int64(position["leverage_e2"]))
    if limit >= 0 and after > limit:
        return LEVERAGE_TIER
    if record["option"] != 0 and side == BID:  # a bid is paid in full instead
        open_loss = np.int64(0)
    if record["margin_model"] != MARGIN_PLAIN and prices.margins[instrument]["order_rule"] == ORDERS_PREMIUM:
        open_loss = np.int64(0)  # it is in the margin of the side's orders
    available = wallet_equity(ledger, prices, wallet) - open_loss - fee_reserve
    if available < wallet_margin(ledger, prices, wallet, p, side, order_value, lots):
        return INSUFFICIENT_MARGIN
    return OK


@leaf
def check_matchable(state, instrument, p, side, limit_ticks, lots, flags, tif, self_trade):
    """Post-only, fill-or-kill and admission, in that order. Mutates nothing."""
    best = np.int64(state.book.books[instrument]["best_ticks"][ASK if side == BID else BID])
    if flags & POST_ONLY and crosses(side, limit_ticks, best):
        return POST_ONLY_WOULD_TAKE
    if tif == FOK:
        reach = reach_of(state, instrument, side, limit_ticks, 0)
        account = account_of(state.prices, np.int64(state.ledger.positions[p]["wallet"]))
        found, _ = sure_fill(state, instrument, side, reach, lots, account, self_trade)
        if found < lots:
            return FOK_UNFILLABLE
    if flags & REDUCE_ONLY:
        return OK
    return check_admission(state, instrument, p, side, limit_ticks, lots)
