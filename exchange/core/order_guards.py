"""Guards on orders: how near a limit must be, how much an order may be worth, which steps it keeps. DESIGN §3.7."""

import numpy as np

from exchange.codes import (
    ASK,
    BAD_LOT_STEP,
    BAD_PRICE_STEP,
    BID,
    BUDGET,
    FAT_FINGER,
    LOTS_TOO_SMALL,
    MARKET,
    NOTIONAL_TOO_LARGE,
    NOTIONAL_TOO_SMALL,
    OK,
    PRICE_COLLAR,
    REDUCE_ONLY,
    STATE_AUCTION,
    TOO_MANY_ORDERS,
)
from exchange.core.arith import MILLION, ceil_div, mul_div_floor
from exchange.core.contract import trade_notional
from exchange.core.kernel import kernel, leaf
from exchange.core.states import narrowed, rests


@leaf
def beyond_mark(prices, instrument, side, limit_ticks, ppm):
    """Is a limit further than `ppm` on the aggressive side of the mark? Rounded like a market order's limit."""
    mark = np.int64(prices.markets[instrument]["mark_sub"])
    per_tick = np.int64(prices.instruments[instrument]["mark_per_tick"])
    if side == BID:
        return limit_ticks > mul_div_floor(mark, MILLION + ppm, MILLION) // per_tick
    return limit_ticks < ceil_div(mul_div_floor(mark, MILLION - ppm, MILLION), per_tick)


@leaf
def beyond_price(side, limit_ticks, base_ticks, ppm):
    """Is a limit further than `ppm` on the aggressive side of a price (0 = of none)?"""
    low, high = narrowed(np.int64(0), limit_ticks, base_ticks, ppm)
    return limit_ticks > high if side == BID else limit_ticks < low


@leaf
def opposite_price(state, instrument, side):
    """Where a taker would begin: the opposite best, else the last price; the latter in auctions, where books cross."""
    market = state.prices.markets[instrument]
    best = np.int64(state.book.books[instrument]["best_ticks"][ASK if side == BID else BID])
    return np.int64(market["last_ticks"]) if best == 0 or market["state"] == STATE_AUCTION else best


@leaf
def count_orders(state, wallet, instrument, most):
    """Live orders of a wallet in an instrument, counted no further than `most`."""
    slot, count = np.int64(state.ledger.wallets[wallet]["first_order"]), np.int64(0)
    while slot != 0 and count < most:
        if state.book.orders[slot]["instrument"] == instrument:
            count += 1
        slot = np.int64(state.book.orders[slot]["account_next"])
    return count


@kernel
def check_lot_step(prices, instrument, lots):
    step = np.int64(prices.order_guards[instrument]["lot_step"])
    return BAD_LOT_STEP if step != 0 and lots % step != 0 else OK


@kernel
def check_guards(state, instrument, wallet, side, limit_ticks, lots, flags, tif, fresh):
    """Guards of an order that enters with `lots` at `limit_ticks`; `fresh`: it is not live yet. Mutates nothing."""
    prices = state.prices
    terms = prices.order_guards[instrument]
    if lots < terms["lots_min"]:
        return LOTS_TOO_SMALL
    if not flags & (MARKET | BUDGET):
        if terms["price_step_ticks"] != 0 and limit_ticks % np.int64(terms["price_step_ticks"]) != 0:
            return BAD_PRICE_STEP
        collar, finger = np.int64(terms["collar_ppm"]), np.int64(terms["fat_finger_ppm"])
        if collar != 0 and beyond_mark(prices, instrument, side, limit_ticks, collar):
            return PRICE_COLLAR
        if beyond_price(side, limit_ticks, opposite_price(state, instrument, side), finger):
            return FAT_FINGER
    value = trade_notional(prices, instrument, limit_ticks, lots)
    if value < terms["notional_min"] and not flags & REDUCE_ONLY:
        return NOTIONAL_TOO_SMALL
    if terms["notional_max"] != 0 and value > terms["notional_max"]:
        return NOTIONAL_TOO_LARGE
    most = np.int64(terms["open_orders_max"])
    if fresh and most != 0 and rests(prices, instrument, flags, tif):
        if count_orders(state, wallet, instrument, most) >= most:
            return TOO_MANY_ORDERS
    return OK


@kernel
def check_waiting(state, instrument, wallet, ticks, lots, flags, fresh):
    """Guards of an order that waits for its trigger: those of its form, and the count if it is not live yet."""
    terms = state.prices.order_guards[instrument]
    if terms["lot_step"] != 0 and lots % np.int64(terms["lot_step"]) != 0:
        return BAD_LOT_STEP
    if lots < terms["lots_min"]:
        return LOTS_TOO_SMALL
    if not flags & MARKET and terms["price_step_ticks"] != 0 and ticks % np.int64(terms["price_step_ticks"]) != 0:
        return BAD_PRICE_STEP
    most = np.int64(terms["open_orders_max"])
    if fresh and most != 0 and count_orders(state, wallet, instrument, most) >= most:
        return TOO_MANY_ORDERS
    return OK
