"""Index and mark: recorded, or made from constituents, funding, the average basis and the last trade. DESIGN §3.3."""

import numpy as np

from exchange.codes import (
    ASK,
    BID,
    INDEX_COMPOSITE,
    INDEX_MEDIAN,
    MARK_COMPUTED,
    MARK_PRICE,
    MARK_TICK,
    MODE_SHADOW,
    PRIORITY_MARK,
)
from exchange.core.arith import MILLION, mul_div_floor
from exchange.core.external import recorded_best
from exchange.core.guards import cross_guards, touch, touch_holders
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import insurance_position
from exchange.core.outbox import emit
from exchange.core.timers import push_timer

NS_PER_MS = 1_000_000
BILLION = 1_000_000_000


@leaf
def median3(a, b, c):
    return max(min(a, b), min(max(a, b), c))


@leaf
def clip_sub(prices, instrument, price_sub):
    """Hold a mark or index inside the ladder."""
    record = prices.instruments[instrument]
    per_tick = np.int64(record["mark_per_tick"])
    return max(np.int64(record["ticks_min"]) * per_tick, min(price_sub, np.int64(record["ticks_max"]) * per_tick))


@leaf
def mid_sub(bid_ticks, ask_ticks, per_tick):
    return (bid_ticks + ask_ticks) * per_tick // 2


@kernel
def refresh_index(book, prices, instrument):
    """Index = recorded index + shift + this venue's share of its own displacement from the recorded book.

    Mutates the market's `index_sub`. Does nothing before the first recorded index.
    """
    market, record, policy = prices.markets[instrument], prices.instruments[instrument], prices.policy[0]
    if market["recorded_index_sub"] == 0:
        return
    index = np.int64(market["recorded_index_sub"]) + np.int64(market["index_shift_sub"])
    feedback_ppm = np.int64(policy["index_feedback_ppm"])
    if feedback_ppm > 0 and policy["mode"] != MODE_SHADOW:
        per_tick = np.int64(record["mark_per_tick"])
        bid, ask = recorded_best(book, instrument, BID), recorded_best(book, instrument, ASK)
        best = book.books[instrument]["best_ticks"]
        venue = np.int64(market["last_ticks"]) * per_tick
        if best[BID] != 0 and best[ASK] != 0:
            venue = mid_sub(np.int64(best[BID]), np.int64(best[ASK]), per_tick)
        if bid != 0 and ask != 0 and venue != 0:
            recorded = mid_sub(bid, ask, per_tick) - np.int64(prices.impacts[instrument]["ticks"]) * per_tick
            index += mul_div_floor(venue - recorded, feedback_ppm, MILLION)
    market["index_sub"] = clip_sub(prices, instrument, index)


@kernel
def set_mark(ledger, guards, prices, io, instrument, mark_sub):
    """Set the mark, announce it, and touch every unit whose guard it crosses. Mutates the market, the dirty list."""
    market = prices.markets[instrument]
    old = np.int64(market["mark_sub"])
    mark_sub = clip_sub(prices, instrument, mark_sub)
    if mark_sub == old:
        return
    market["mark_sub"] = mark_sub
    market["mark_version"] += 1
    fund = insurance_position(prices, instrument)
    if ledger.positions[fund]["lots"] != 0:  # a fund in deficit has no guard, and its deficit moves with the mark
        touch(ledger, io, np.int64(ledger.positions[fund]["wallet"]))
    emit(io, MARK_PRICE, 0, instrument, 0, 0, 0, mark_sub, 0, np.int64(market["index_sub"]), 0, 0)
    if old == 0:
        touch_holders(ledger, io, instrument)
    else:
        cross_guards(ledger, guards, prices, io, instrument, old, mark_sub)


@kernel
def computed_mark(book, prices, now_ns, instrument):
    """Sample the basis and return median(index + funding basis, index + average basis, last); 0 without an index.

    Mutates the market's basis ring. Source: Binance's mark price rule.
    """
    market, policy = prices.markets[instrument], prices.policy[0]
    index = np.int64(market["index_sub"])
    if index == 0:
        return np.int64(0)
    per_tick = np.int64(prices.instruments[instrument]["mark_per_tick"])
    best = book.books[instrument]["best_ticks"]
    if best[BID] != 0 and best[ASK] != 0 and best[BID] < best[ASK]:
        samples = np.int64(policy["mark_samples"])
        at = instrument * samples + np.int64(market["basis_next"])
        sample = mid_sub(np.int64(best[BID]), np.int64(best[ASK]), per_tick) - index
        if market["basis_count"] == samples:
            market["basis_sum_sub"] -= prices.basis[at]
        else:
            market["basis_count"] += 1
        prices.basis[at] = sample
        market["basis_sum_sub"] += sample
        market["basis_next"] = (np.int64(market["basis_next"]) + 1) % samples
    interval_ms = np.int64(policy["funding_interval_ns"]) // NS_PER_MS
    left_ms = np.int64(0)
    if market["next_funding_ns"] != 0:
        left_ms = min(max(np.int64(market["next_funding_ns"]) - now_ns, np.int64(0)) // NS_PER_MS, interval_ms)
    rate_ppb = np.int64(market["funding_rate_ppb"]) * left_ms // interval_ms
    by_funding = index + mul_div_floor(index, rate_ppb, BILLION)
    by_basis = by_funding
    if market["basis_count"] > 0:
        by_basis = index + np.int64(market["basis_sum_sub"]) // np.int64(market["basis_count"])
    by_last = by_basis
    if market["last_ticks"] != 0:
        by_last = np.int64(market["last_ticks"]) * per_tick
    return median3(by_funding, by_basis, by_last)


@kernel
def mark_tick(book, ledger, guards, prices, io, instrument):
    """Refresh the index, then compute and set the mark."""
    refresh_index(book, prices, instrument)
    mark_sub = computed_mark(book, prices, np.int64(io.control[0]["clock_ns"]), instrument)
    if mark_sub != 0:
        set_mark(ledger, guards, prices, io, instrument, mark_sub)


@leaf
def set_mark_timer(prices, io, instrument, ts_ns):
    push_timer(io, ts_ns, PRIORITY_MARK, 0, instrument, instrument, MARK_TICK)


@leaf
def insert_sorted(scratch, count, value):
    """Insert a value into scratch[:count], kept ascending. Mutates scratch."""
    k = count
    while k > 0 and scratch[k - 1] > value:
        scratch[k] = scratch[k - 1]
        k -= 1
    scratch[k] = value


@leaf
def median_of(scratch, count):
    """Median of an ascending row; the floor of the middle two's mean when even."""
    if count % 2 == 1:
        return scratch[count // 2]
    return (scratch[count // 2 - 1] + scratch[count // 2]) // 2


@kernel
def composite(prices, scratch, now_ns, instrument):
    """Index from the constituents that are not stale: their median, or the weighted mean without outliers.

    One source further than `index_outlier_ppm` from the median loses its weight; two or more make the index the median.
    Returns 0 when every source is stale. Source: Binance's price index rule.
    """
    record, policy = prices.instruments[instrument], prices.policy[0]
    base, end = (
        np.int64(record["constituent_base"]),
        np.int64(record["constituent_base"]) + np.int64(record["constituent_count"]),
    )
    fresh = np.int64(0)
    for k in range(base, end):
        source = prices.constituents[k]
        if source["price_sub"] != 0 and now_ns - np.int64(source["ts_ns"]) <= policy["index_stale_ns"]:
            insert_sorted(scratch, fresh, np.int64(source["price_sub"]))
            fresh += 1
    if fresh == 0:
        return np.int64(0)
    median = median_of(scratch, fresh)
    if policy["index_rule"] == INDEX_MEDIAN:
        return median
    outliers, weights, total = np.int64(0), np.int64(0), np.int64(0)
    for k in range(base, end):
        source = prices.constituents[k]
        price = np.int64(source["price_sub"])
        if price != 0 and now_ns - np.int64(source["ts_ns"]) <= policy["index_stale_ns"]:
            if abs(price - median) * MILLION > np.int64(policy["index_outlier_ppm"]) * median:
                outliers += 1
            else:
                weights += np.int64(source["weight_ppm"])
                total += price * np.int64(source["weight_ppm"])
    if outliers > 1 or weights == 0:
        return median
    return total // weights


@leaf
def index_price(prices, io, instrument, constituent, price_sub):
    """Take one recorded index price in. Mutates the constituent and the recorded index."""
    market = prices.markets[instrument]
    if prices.policy[0]["index_rule"] == INDEX_COMPOSITE:
        market["recorded_index_sub"] = price_sub
    else:
        source = prices.constituents[np.int64(prices.instruments[instrument]["constituent_base"]) + constituent - 1]
        source["price_sub"] = price_sub
        source["ts_ns"] = np.int64(io.control[0]["clock_ns"])
        made = composite(prices, io.scratch, np.int64(io.control[0]["clock_ns"]), instrument)
        if made != 0:
            market["recorded_index_sub"] = made


@kernel
def take_index(book, ledger, guards, prices, io, instrument, constituent, price_sub):
    """INDEX event: refresh the index; a computed mark starts its clock at the first one."""
    index_price(prices, io, instrument, constituent, price_sub)
    policy, market = prices.policy[0], prices.markets[instrument]
    if policy["mark_source"] != MARK_COMPUTED:
        refresh_index(book, prices, instrument)
        return
    period = np.int64(policy["mark_period_ns"])
    if period == 0:
        mark_tick(book, ledger, guards, prices, io, instrument)
    elif market["mark_timer"] == 0:
        mark_tick(book, ledger, guards, prices, io, instrument)
        market["mark_timer"] = 1
        set_mark_timer(prices, io, instrument, (np.int64(io.control[0]["clock_ns"]) // period + 1) * period)
    else:
        refresh_index(book, prices, instrument)
