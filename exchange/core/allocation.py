"""Allocation: how a taker's lots are shared among the orders of a level, step by step. DESIGN §3.11.

`execute` is the door to both ways of matching; first in, first out has its own short one in `match`.
"""

import numpy as np

from exchange.codes import ASK, BID, EXTERNAL, FORCED, ICEBERG_PRO_RATA, REDUCE_ONLY, STP_NONE
from exchange.core.arith import MILLION
from exchange.core.book import crosses, level_of
from exchange.core.iceberg import share_hidden
from exchange.core.impact import note_flow
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import account_of
from exchange.core.match import execute_fifo, fill_both, prevent
from exchange.core.removal import after_queue, firm_lots, trim_reduce_only
from exchange.core.self_trade import same_owner

TOP, MAKERS, FIFO, PRO_RATA, LEVELING, REST, STEPS = range(7)
PLACE_BITS = 31
PLACE_MASK = (1 << PLACE_BITS) - 1
LOTS_MAX = 2**31 - 1


@leaf
def execute(
    state, instrument, p, side, limit_ticks, lots, order_id, flags, bankruptcy_ticks, liquidation_id, self_trade
):
    """Match an order of position `p` by the instrument's algorithm. Parameters and returns: `match.execute_fifo`."""
    if state.prices.instruments[instrument]["allocation"] == 0:
        return execute_fifo(
            state, instrument, p, side, limit_ticks, lots, order_id, flags, bankruptcy_ticks, liquidation_id, self_trade
        )
    return execute_shared(
        state, instrument, p, side, limit_ticks, lots, order_id, flags, bankruptcy_ticks, liquidation_id, self_trade
    )


@kernel
def execute_called(
    state, instrument, p, side, limit_ticks, lots, order_id, flags, bankruptcy_ticks, liquidation_id, self_trade
):
    """`execute`, compiled once for all but plain new orders, into whose path it is written."""
    return execute(
        state, instrument, p, side, limit_ticks, lots, order_id, flags, bankruptcy_ticks, liquidation_id, self_trade
    )


@leaf
def prevent_level(state, instrument, side, ticks, lots, taker, self_trade):
    """Keep a taker from every order of its owner at a level, oldest first. Returns as `prevent`."""
    orders, ended = state.book.orders, False
    slot = np.int64(state.book.levels[level_of(state.book, instrument, side, ticks)]["head"])
    while slot != 0 and not ended:
        after, maker = after_queue(state.book, slot), np.int64(orders[slot]["account"])
        if maker != EXTERNAL and same_owner(state.ledger, state.prices, taker, maker):
            lots, ended = prevent(state, slot, lots, taker, self_trade)
        slot = after
    return lots, ended


@leaf
def note_level(book, shares, instrument, side, ticks):
    """List the orders of a level, oldest first; returns their count. Mutates shares."""
    slot, count = np.int64(book.levels[level_of(book, instrument, side, ticks)]["head"]), np.int64(0)
    while slot != 0:
        shares[count]["slot"] = slot
        count += 1
        slot = np.int64(book.orders[slot]["next"])
    return count


@leaf
def sizes_now(state, count):
    """Note what each order of the level may fill now, 0 for one that is gone; returns the sum. Mutates shares."""
    shares, total = state.io.shares, np.int64(0)
    for k in range(count):
        slot = np.int64(shares[k]["slot"])  # 0 once what it showed is filled
        lots = min(firm_lots(state, slot), np.int64(state.book.orders[slot]["leaves_lots"]))
        shares[k]["lots"] = lots
        total += lots
    return total


@leaf
def plan_in_time(shares, count):
    """Every order, oldest first, as much as there is. Mutates shares."""
    for k in range(count):
        shares[k]["visit"] = k
        shares[k]["share"] = LOTS_MAX


@leaf
def plan_makers(state, terms, count, lots):
    """Each market maker's part of `lots`, its orders oldest first; returns the visits. Mutates shares."""
    shares, orders, visits = state.io.shares, state.book.orders, np.int64(0)
    for m in range(np.int64(terms["maker_count"])):
        quota = lots * np.int64(terms["maker_ppm"][m]) // MILLION
        for k in range(count):
            row = shares[k]
            if quota > 0 and row["lots"] != 0 and orders[row["slot"]]["account"] == terms["maker_account"][m]:
                part = min(quota, np.int64(row["lots"]))
                row["share"] = part
                shares[visits]["visit"] = k
                visits += 1
                quota -= part
    return visits


@leaf
def sink(shares, at, count):
    """Restore the heap of `visit`, largest first, below place `at` of `count`. Mutates shares."""
    held, child = np.int64(shares[at]["visit"]), 2 * at + 1
    while child < count:
        if child + 1 < count and shares[child + 1]["visit"] > shares[child]["visit"]:
            child += 1
        if shares[child]["visit"] <= held:
            break
        shares[at]["visit"] = np.int64(shares[child]["visit"])
        at, child = child, 2 * child + 1
    shares[at]["visit"] = held


@leaf
def plan_pro_rata(shares, count, lots, total, least):
    """Shares of `lots` by size, none below `least`; visits by size, then time. Mutates shares."""
    lots = min(lots, total)
    for k in range(count):
        size = np.int64(shares[k]["lots"])
        share = size * lots // total
        shares[k]["share"] = share if share >= least else 0
        shares[k]["visit"] = (LOTS_MAX - size) << PLACE_BITS | k
    for at in range(count // 2 - 1, -1, -1):
        sink(shares, at, count)
    for last in range(count - 1, 0, -1):
        held = np.int64(shares[last]["visit"])
        shares[last]["visit"] = np.int64(shares[0]["visit"])
        shares[0]["visit"] = held
        sink(shares, np.int64(0), last)


@leaf
def plan_step(state, instrument, side, step, count, lots):
    """Lay out one step for `lots`: whom it visits in which order, and the most that each gets.

    Returns (visits, lots of the step). Mutates shares.
    """
    terms, shares, budget = state.prices.allocations[instrument], state.io.shares, lots
    if step == TOP:
        order = state.book.orders[shares[0]["slot"]]
        first = order["priority_seq"] == state.book.books[instrument]["top_seq"][side]
        if first and order["leaves_lots"] >= terms["top_min_lots"]:
            budget = min(lots, np.int64(terms["top_max_lots"]))
            plan_in_time(shares, np.int64(1))
            return np.int64(1), budget
    elif step == MAKERS:
        if terms["maker_count"] != 0:
            sizes_now(state, count)
            return plan_makers(state, terms, count, lots), budget
    elif step == FIFO:
        budget = lots * np.int64(terms["fifo_ppm"]) // MILLION
        plan_in_time(shares, count)
        return count, budget
    elif step == PRO_RATA:
        total = sizes_now(state, count)
        if terms["fifo_ppm"] != MILLION and total != 0:
            plan_pro_rata(shares, count, lots, total, np.int64(terms["pro_rata_min_lots"]))
            return count, budget
    elif step == LEVELING:
        if terms["fifo_ppm"] != MILLION and terms["leveling"] != 0:
            for k in range(count):
                shares[k]["share"] = 1 if shares[k]["share"] == 0 and shares[k]["lots"] != 0 else 0
            return count, budget
    else:
        plan_in_time(shares, count)
        return count, budget
    return np.int64(0), budget


@kernel
def execute_shared(
    state, instrument, p, side, limit_ticks, lots, order_id, flags, bankruptcy_ticks, liquidation_id, self_trade
):
    """Match an order level by level, each shared in steps. Parameters, returns, mutates: `match.execute_fifo`."""
    book, orders, shares = state.book, state.book.orders, state.io.shares
    other = ASK if side == BID else BID
    account = account_of(state.prices, np.int64(state.ledger.positions[p]["wallet"]))
    kept, ended = lots, False
    sharing = state.prices.instruments[instrument]["iceberg"] == ICEBERG_PRO_RATA
    while lots > 0 and not ended:
        ticks = np.int64(book.books[instrument]["best_ticks"][other])
        if not crosses(side, limit_ticks, ticks):
            break
        if self_trade > STP_NONE:
            left, ended = prevent_level(state, instrument, other, ticks, lots, account, self_trade)
            kept -= lots - left
            lots = left
        if sharing and not ended:
            share_hidden(book, instrument, other, ticks, lots)
        count, step = note_level(book, shares, instrument, other, ticks), 0
        while count > 0 and step < STEPS and lots > 0 and not ended:
            visits, budget = plan_step(state, instrument, other, step, count, lots)
            step += 1
            v = 0
            while v < visits and budget > 0:
                row = shares[np.int64(shares[v]["visit"]) & PLACE_MASK]
                v += 1
                slot, most = np.int64(row["slot"]), min(np.int64(row["share"]), budget)
                if most == 0 or (orders[slot]["flags"] & REDUCE_ONLY and not trim_reduce_only(state, slot)):
                    continue
                leaves = np.int64(orders[slot]["leaves_lots"])
                most = min(most, leaves)
                if most > 0:
                    if most == leaves:
                        row["slot"] = 0  # what an iceberg shows then joins the tail
                    fill_both(
                        state,
                        instrument,
                        p,
                        side,
                        slot,
                        most,
                        order_id,
                        account,
                        flags,
                        bankruptcy_ticks,
                        liquidation_id,
                    )
                    lots -= most
                    budget -= most
    if lots != kept:
        note_flow(state.prices, state.io, instrument, side, kept - lots, flags & FORCED)
    return lots, kept, ended
