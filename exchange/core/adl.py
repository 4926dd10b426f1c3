"""Auto-deleveraging: who closes against what neither book nor fund could take. DESIGN §4 step 4; rule LIQ-5.

The ranking is a binary heap made at one mark version for one (instrument, side), consumed from its top.
"""

import numpy as np

from exchange.codes import ADL, FIRST_USER, STAGE_NONE
from exchange.core.arith import MILLION, ratio_ppm
from exchange.core.contract import mark_value
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import account_of, find_position, unit_numbers, unit_of, unit_stage
from exchange.core.match import book_trade
from exchange.core.outbox import emit

ADL_STEP = 1024  # counterparties closed in one step


@leaf
def adl_score(ledger, prices, p, instrument):
    """Profit ratio times effective leverage, in ppm; losers rank below all winners, by loss ratio over leverage."""
    lots, entry = np.int64(ledger.positions[p]["lots"]), np.int64(ledger.positions[p]["entry_value"])
    value = mark_value(prices, instrument, lots)
    pnl = value - entry
    equity, required, legs = unit_numbers(ledger, prices, unit_of(ledger, p))
    roi_ppm = ratio_ppm(abs(pnl), max(np.int64(1), abs(entry)))
    leverage_ppm = max(np.int64(1), ratio_ppm(abs(value), max(np.int64(1), equity)))
    if pnl > 0 and roi_ppm > 0:
        return roi_ppm * leverage_ppm // MILLION
    return -(roi_ppm * MILLION // leverage_ppm)


@leaf
def ranks_before(ranks, a, b):
    """Does entry `a` deleverage before entry `b`?"""
    x, y = ranks[a], ranks[b]
    if x["score"] != y["score"]:
        return x["score"] > y["score"]
    return x["wallet"] < y["wallet"]


@leaf
def sift_down(ranks, at, count):
    """Restore the heap below `at`, in ranks[1..count]; slot 0 is scratch. Mutates ranks."""
    ranks[0] = ranks[at]
    child = 2 * at
    while child <= count:
        if child < count and ranks_before(ranks, child + 1, child):
            child += 1
        if not ranks_before(ranks, child, 0):
            break
        ranks[at] = ranks[child]
        at, child = child, 2 * child
    ranks[at] = ranks[0]


@leaf
def can_deleverage(ledger, p, long_side):
    """Is position `p` opposite to the liquidated side, and its unit not in liquidation itself?"""
    lots = np.int64(ledger.positions[p]["lots"])
    return lots != 0 and (lots < 0) == long_side and unit_stage(ledger, unit_of(ledger, p)) == STAGE_NONE


@kernel
def make_ranking(state, instrument, long_side):
    """Rank every counterparty of one side at the current mark. Mutates ranks and what control says of them."""
    ledger, prices, ranks, control = state.ledger, state.prices, state.io.ranks, state.io.control[0]
    count, assets = np.int64(0), np.int64(prices.policy[0]["assets"])
    for wallet in range(FIRST_USER * assets, ledger.wallets.shape[0]):
        p = find_position(ledger, wallet, instrument)
        if p != 0 and can_deleverage(ledger, p, long_side):
            count += 1
            ranks[count]["score"] = adl_score(ledger, prices, p, instrument)
            ranks[count]["wallet"] = wallet
            ranks[count]["position"] = p
    for at in range(count // 2, 0, -1):
        sift_down(ranks, at, count)
    control["rank_instrument"] = instrument + 1
    control["rank_side"] = 1 if long_side else 0
    control["rank_version"] = np.int64(prices.markets[instrument]["mark_version"])
    control["rank_count"] = count


@leaf
def held_ranking(state, instrument, long_side):
    """Is the ranking held the one for this (instrument, side) at this mark version?"""
    control = state.io.control[0]
    return (
        control["rank_instrument"] == instrument + 1
        and control["rank_side"] == (1 if long_side else 0)
        and control["rank_version"] == state.prices.markets[instrument]["mark_version"]
    )


@leaf
def pop_rank(state):
    """Take the first of the ranking out; returns its position slot. Mutates ranks."""
    ranks, control = state.io.ranks, state.io.control[0]
    p, count = np.int64(ranks[1]["position"]), np.int64(control["rank_count"])
    ranks[1] = ranks[count]
    control["rank_count"] = count - 1
    if count > 1:
        sift_down(ranks, np.int64(1), count - 1)
    return p


@leaf
def emit_adl(state, instrument, account, counterparty, ticks, lots, liquidation_id):
    emit(state.io, ADL, 0, instrument, account, counterparty, 0, ticks, lots, 0, 0, liquidation_id)


@kernel
def close_by_ranking(state, p, instrument, ticks, liquidation_id):
    """Close position `p` at `ticks` against at most ADL_STEP ranked counterparties. Returns whether none are left.

    A counterparty that is not closed whole stays first in the ranking.
    """
    ledger, prices, ranks = state.ledger, state.prices, state.io.ranks
    long_side = np.int64(ledger.positions[p]["lots"]) > 0
    account = account_of(prices, np.int64(ledger.positions[p]["wallet"]))
    if not held_ranking(state, instrument, long_side):
        make_ranking(state, instrument, long_side)
    closed = np.int64(0)
    while closed < ADL_STEP and ledger.positions[p]["lots"] != 0:
        if state.io.control[0]["rank_count"] == 0:
            return True
        other = np.int64(ranks[1]["position"])
        if not can_deleverage(ledger, other, long_side):
            pop_rank(state)
            continue
        rest, held = np.int64(ledger.positions[p]["lots"]), np.int64(ledger.positions[other]["lots"])
        lots = min(abs(rest), abs(held))
        if lots == abs(held):
            pop_rank(state)
        change = -lots if long_side else lots
        counterparty = account_of(prices, np.int64(ledger.positions[other]["wallet"]))
        book_trade(state, instrument, p, change, ticks, 0, 0)
        book_trade(state, instrument, other, -change, ticks, 0, 0)
        emit_adl(state, instrument, account, counterparty, ticks, change, liquidation_id)
        emit_adl(state, instrument, counterparty, account, ticks, -change, liquidation_id)
        closed += 1
    return False
