"""Auto-deleveraging: who closes against what neither book nor fund could take. DESIGN §4 step 4, §4.3; rule LIQ-5.

The ranking is a binary heap made at one mark version for one (instrument, side), consumed from its top. Where it
depends on the price or is shared out it belongs to one liquidation alone.
"""

import numpy as np

from exchange.codes import (
    ADL,
    ADL_BANKRUPTCY,
    ADL_PREVIOUS,
    FIRST_USER,
    RANK_COLLATERAL,
    RANK_LIST,
    RANK_MARGIN,
    RANK_PRICE,
    RANK_PRO_RATA,
    RANK_STATED,
    STAGE_NONE,
    STAGE_REDUCE,
)
from exchange.core.arith import MILLION, ceil_div, mul_div_floor, ratio_ppm
from exchange.core.contract import mark_value, trade_value
from exchange.core.guards import set_stage
from exchange.core.kernel import entry, kernel, leaf
from exchange.core.margin import account_of, find_position, unit_numbers, unit_of, unit_pocket, unit_stage
from exchange.core.match import book_trade
from exchange.core.outbox import emit
from exchange.core.plan import WEIGHT_BITS, current_leg, leg_weight, sum_weights

ADL_STEP = 1024  # counterparties closed in one step
HUNDREDTH_PPM = 10_000


@leaf
def adl_rules(prices, instrument):
    """The waterfall's rules in an instrument's settlement asset."""
    return prices.waterfalls[np.int64(prices.instruments[instrument]["asset"])]


@leaf
def adl_score(ledger, prices, p, instrument, ranking):
    """A measure of profit times one of leverage, both in ppm; losers rank below all winners, by loss over leverage."""
    if ranking == RANK_LIST:
        return np.int64(0)
    lots, entry_value = np.int64(ledger.positions[p]["lots"]), np.int64(ledger.positions[p]["entry_value"])
    value, unit = mark_value(prices, instrument, lots), unit_of(ledger, p)
    notional, paid = abs(value), abs(entry_value)
    equity, required, legs = unit_numbers(ledger, prices, unit)
    collateral = max(np.int64(1), unit_pocket(ledger, unit))
    if ranking == RANK_STATED:
        leverage_ppm = np.int64(ledger.positions[p]["leverage_e2"]) * HUNDREDTH_PPM
    else:
        held = collateral if ranking == RANK_MARGIN else max(np.int64(1), equity)
        leverage_ppm = max(np.int64(1), ratio_ppm(notional, held))
    if ranking == RANK_PRICE:
        above, below = (notional, paid) if value > 0 else (paid, notional)
        return ratio_ppm(above, max(np.int64(1), below)) * leverage_ppm // MILLION
    by_collateral = ranking == RANK_COLLATERAL or ranking == RANK_MARGIN or ranking == RANK_STATED
    pnl = value - entry_value
    roi_ppm = ratio_ppm(abs(pnl), collateral if by_collateral else max(np.int64(1), paid))
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
def closing_ticks(prices, p_lots, instrument, bankruptcy_ticks):
    """The price of deleveraging, in whole ticks; the mark is rounded for the counterparty."""
    rule, market = adl_rules(prices, instrument)["price"], prices.markets[instrument]
    if rule == ADL_BANKRUPTCY:
        return bankruptcy_ticks
    mark_sub, per_tick = np.int64(market["mark_sub"]), np.int64(prices.instruments[instrument]["mark_per_tick"])
    if rule == ADL_PREVIOUS and market["previous_mark_sub"] != 0:
        mark_sub = np.int64(market["previous_mark_sub"])
    return mark_sub // per_tick if p_lots > 0 else ceil_div(mark_sub, per_tick)


@kernel
def overlaps(ledger, prices, p, ticks):
    """Does a price leave a position no worse off than its bankruptcy price, were it planned for now?"""
    instrument, lots = np.int64(ledger.positions[p]["instrument"]), np.int64(ledger.positions[p]["lots"])
    unit = unit_of(ledger, p)
    share, required, legs = unit_numbers(ledger, prices, unit)
    by_notional, shift = required == 0, np.int64(0)
    while sum_weights(ledger, prices, unit, by_notional, shift) >= np.int64(1) << WEIGHT_BITS:
        shift += 1
    total = sum_weights(ledger, prices, unit, by_notional, shift)
    if total != 0:
        share = mul_div_floor(share, leg_weight(ledger, prices, unit, p, by_notional) >> shift, total)
    return trade_value(prices, instrument, ticks, lots) >= mark_value(prices, instrument, lots) - share


@leaf
def can_deleverage(ledger, prices, p, instrument, long_side, ticks):
    """Is position `p` opposite to the liquidated side, in a unit and at a price that the venue closes against?"""
    lots, rules = np.int64(ledger.positions[p]["lots"]), adl_rules(prices, instrument)
    if lots == 0 or (lots < 0) != long_side:
        return False
    if rules["any_stage"] == 0 and unit_stage(ledger, unit_of(ledger, p)) != STAGE_NONE:
        return False
    return rules["overlap"] == 0 or overlaps(ledger, prices, p, ticks)


@kernel
def make_ranking(state, instrument, long_side, ticks):
    """Rank every counterparty of one side at the current mark. Mutates ranks and what control says of them."""
    ledger, prices, ranks, control = state.ledger, state.prices, state.io.ranks, state.io.control[0]
    count, assets = np.int64(0), np.int64(prices.policy[0]["assets"])
    ranking = np.int64(adl_rules(prices, instrument)["ranking"])
    for wallet in range(FIRST_USER * assets, ledger.wallets.shape[0]):
        p = find_position(ledger, wallet, instrument)
        if p != 0 and can_deleverage(ledger, prices, p, instrument, long_side, ticks):
            count += 1
            ranks[count]["score"] = adl_score(ledger, prices, p, instrument, ranking)
            ranks[count]["wallet"] = wallet
            ranks[count]["position"] = p
    for at in range(count // 2, 0, -1):
        sift_down(ranks, at, count)
    control["rank_instrument"] = instrument + 1
    control["rank_side"] = 1 if long_side else 0
    control["rank_version"] = np.int64(prices.markets[instrument]["mark_version"])
    control["rank_count"] = count


@kernel
def share_out(state, lots):
    """Note what of `lots` each of the ranking gives up: in proportion to its size, and who is first a lot more."""
    positions, ranks, control = state.ledger.positions, state.io.ranks, state.io.control[0]
    count, total = np.int64(control["rank_count"]), np.int64(0)
    for at in range(1, count + 1):
        total += abs(np.int64(positions[np.int64(ranks[at]["position"])]["lots"]))
    most = min(lots, total)
    residue = most
    for at in range(1, count + 1):
        residue -= abs(np.int64(positions[np.int64(ranks[at]["position"])]["lots"])) * most // total
    control["rank_lots"] = most
    control["rank_total"] = total
    control["rank_residue"] = residue


@leaf
def granted(control, held):
    """What the first of a ranking that is shared out gives up of `held` lots. Mutates the residue."""
    lots = held * np.int64(control["rank_lots"]) // np.int64(control["rank_total"])
    if lots < held and control["rank_residue"] > 0:
        control["rank_residue"] -= 1
        lots += 1
    return lots


@leaf
def rank_owner(prices, instrument, liquidation_id):
    """The liquidation that has a ranking of its own; 0 where all share one."""
    rules = adl_rules(prices, instrument)
    return liquidation_id if rules["overlap"] != 0 or rules["ranking"] == RANK_PRO_RATA else np.int64(0)


@leaf
def held_ranking(state, instrument, long_side, owner):
    """Is the ranking held the one for this (instrument, side) at this mark version, and this liquidation's?"""
    control = state.io.control[0]
    return (
        control["rank_instrument"] == instrument + 1
        and control["rank_side"] == (1 if long_side else 0)
        and control["rank_version"] == state.prices.markets[instrument]["mark_version"]
        and control["rank_liquidation"] == owner
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


@leaf
def leave_leg(state, p):
    """A leg of another liquidation is about to be closed whole: what is at work there goes on with the next."""
    unit = unit_of(state.ledger, p)
    if unit_stage(state.ledger, unit) > STAGE_REDUCE and current_leg(state.ledger, state.prices, unit) == p:
        set_stage(state.ledger, unit, STAGE_REDUCE)


@leaf
def close_against(state, p, other, instrument, ticks, lots, liquidation_id):
    """Close `lots` of position `p` against another, on the record of both."""
    ledger, prices = state.ledger, state.prices
    account = account_of(prices, np.int64(ledger.positions[p]["wallet"]))
    counterparty = account_of(prices, np.int64(ledger.positions[other]["wallet"]))
    change = -lots if ledger.positions[p]["lots"] > 0 else lots
    if lots == abs(np.int64(ledger.positions[other]["lots"])):
        leave_leg(state, other)
    book_trade(state, instrument, p, change, ticks, 0, 0)
    book_trade(state, instrument, other, -change, ticks, 0, 0)
    emit_adl(state, instrument, account, counterparty, ticks, change, liquidation_id)
    emit_adl(state, instrument, counterparty, account, ticks, -change, liquidation_id)


@kernel
def close_by_ranking(state, p, instrument, bankruptcy_ticks, liquidation_id):
    """Close position `p` against at most ADL_STEP ranked counterparties. Returns whether none are left.

    A counterparty that is not closed whole stays first in the ranking, but where each gives up its share.
    """
    ledger, prices, ranks, control = state.ledger, state.prices, state.io.ranks, state.io.control[0]
    size = np.int64(ledger.positions[p]["lots"])
    long_side, owner = size > 0, rank_owner(prices, instrument, liquidation_id)
    ticks = closing_ticks(prices, size, instrument, bankruptcy_ticks)
    shared, closed = adl_rules(prices, instrument)["ranking"] == RANK_PRO_RATA, np.int64(0)
    fresh = not held_ranking(state, instrument, long_side, owner) or (shared and control["rank_count"] == 0)
    if fresh:
        make_ranking(state, instrument, long_side, ticks)
        control["rank_liquidation"] = owner
        if shared:
            share_out(state, abs(size))
    while closed < ADL_STEP and ledger.positions[p]["lots"] != 0:
        if control["rank_count"] == 0:
            return fresh or not shared  # what changed since it was made is shared out anew
        other = np.int64(ranks[1]["position"])
        if not can_deleverage(ledger, prices, other, instrument, long_side, ticks):
            pop_rank(state)
            continue
        rest, held = abs(np.int64(ledger.positions[p]["lots"])), abs(np.int64(ledger.positions[other]["lots"]))
        lots = min(rest, granted(control, held) if shared else held)
        if shared or lots == held:
            pop_rank(state)
        if lots != 0:
            close_against(state, p, other, instrument, ticks, lots, liquidation_id)
            closed += 1
    return False


@entry
def rank_side(state, instrument, long_side):
    """Rank those who close against a liquidated long (or short) at the mark; returns how many. Mutates ranks."""
    per_tick = np.int64(state.prices.instruments[instrument]["mark_per_tick"])
    make_ranking(state, instrument, long_side, np.int64(state.prices.markets[instrument]["mark_sub"]) // per_tick)
    return np.int64(state.io.control[0]["rank_count"])
