"""The index: recorded, or made of constituents, moved by the shift and by this venue's own share. DESIGN §3.16."""

import numpy as np

from exchange.codes import (
    ASK,
    BID,
    INDEX_CAPPED,
    INDEX_COMPOSITE,
    INDEX_MEDIAN,
    INDEX_WEIGHTED_MEDIAN,
    MODE_SHADOW,
    STALE_KEEP,
)
from exchange.core.arith import MILLION, mul_div_floor
from exchange.core.external import recorded_best
from exchange.core.kernel import entry, kernel, leaf


@leaf
def clip_sub(prices, instrument, price_sub):
    """Hold a mark or index inside the ladder."""
    record = prices.instruments[instrument]
    per_tick = np.int64(record["mark_per_tick"])
    return max(np.int64(record["ticks_min"]) * per_tick, min(price_sub, np.int64(record["ticks_max"]) * per_tick))


@leaf
def price_fits(prices, instrument, price_sub):
    """May an index price be this? Within the ladder, or where sources are signed no further from 0 than it reaches."""
    record = prices.instruments[instrument]
    if prices.pricing[0]["index_signed"] == 0:
        return clip_sub(prices, instrument, price_sub) == price_sub
    limit = np.int64(record["ticks_max"]) * np.int64(record["mark_per_tick"])
    return -limit <= price_sub <= limit


@leaf
def is_source(prices, instrument, constituent):
    """Is there such a source? 0 is the recorded index itself, beside which there may be other venues' marks."""
    record = prices.instruments[instrument]
    if prices.policy[0]["index_rule"] != INDEX_COMPOSITE:
        return 1 <= constituent <= record["constituent_count"]
    if constituent < 1 or constituent > record["constituent_count"]:
        return constituent == 0
    return prices.constituents[np.int64(record["constituent_base"]) + constituent - 1]["outside"] != 0


@leaf
def mid_sub(bid_ticks, ask_ticks, per_tick):
    return (bid_ticks + ask_ticks) * per_tick // 2


@kernel
def refresh_index(book, prices, instrument):
    """Index = recorded index + shift + this venue's share of its own displacement from the recorded book.

    Mutates the market's `index_sub`. Does nothing without a recorded index above 0.
    """
    market, record, policy = prices.markets[instrument], prices.instruments[instrument], prices.policy[0]
    if market["recorded_index_sub"] <= 0:
        return
    index = np.int64(market["recorded_index_sub"]) + np.int64(market["index_shift_sub"])
    feedback_ppm = np.int64(record["feedback_ppm"])
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


@leaf
def insert_sorted(scratch, count, value):
    """Insert a value into scratch[:count], kept ascending. Mutates scratch."""
    k = count
    while k > 0 and scratch[k - 1] > value:
        scratch[k] = scratch[k - 1]
        k -= 1
    scratch[k] = value


@leaf
def median_of(scratch, count, half_away):
    """Median of an ascending row; of an even count the middle two's mean, rounded down, or a half away from zero."""
    if count % 2 == 1:
        return scratch[count // 2]
    double = scratch[count // 2 - 1] + scratch[count // 2]
    return (double + (1 if half_away != 0 and double > 0 else 0)) // 2


@leaf
def counts(prices, source, now_ns, outside):
    """Has a source of the index (or of the mark) a price that is not stale?"""
    if source["seen"] == 0 or source["outside"] != outside:
        return False
    kept = prices.pricing[0]["index_stale_rule"] == STALE_KEEP
    return kept or now_ns - np.int64(source["ts_ns"]) <= prices.policy[0]["index_stale_ns"]


@kernel
def gather(prices, scratch, now_ns, instrument, outside):
    """Put the prices of the sources that count into scratch, ascending; returns how many. Mutates scratch."""
    record, fresh = prices.instruments[instrument], np.int64(0)
    base = np.int64(record["constituent_base"])
    for k in range(base, base + np.int64(record["constituent_count"])):
        source = prices.constituents[k]
        if counts(prices, source, now_ns, outside):
            insert_sorted(scratch, fresh, np.int64(source["price_sub"]))
            fresh += 1
    return fresh


@kernel
def weighted_median(prices, scratch, now_ns, instrument, outside, fresh):
    """The first of the gathered prices at which the weights up to it reach half of all."""
    record = prices.instruments[instrument]
    base, end = np.int64(record["constituent_base"]), np.int64(0)
    end = base + np.int64(record["constituent_count"])
    for at in range(fresh):
        below, total = np.int64(0), np.int64(0)
        for k in range(base, end):
            source = prices.constituents[k]
            if counts(prices, source, now_ns, outside):
                total += np.int64(source["weight_ppm"])
                if source["price_sub"] <= scratch[at]:
                    below += np.int64(source["weight_ppm"])
        if 2 * below >= total:
            return scratch[at]
    return np.int64(0)


@leaf
def is_outlier(policy, price, median):
    return abs(price - median) * MILLION > np.int64(policy["index_outlier_ppm"]) * abs(median)


@leaf
def capped(policy, price, median):
    """A price held within the band around the median."""
    band = np.int64(policy["index_outlier_ppm"]) * abs(median) // MILLION
    return max(median - band, min(price, median + band))


@kernel
def composite(prices, scratch, now_ns, instrument):
    """Index from the constituents that are not stale: their median, plain or weighted, or their weighted mean.

    A mean caps those further than `index_outlier_ppm` from the median, or leaves them out; with more than
    `index_outliers_max` of them, or without weight, it is the median. Needs one source that is not stale. Sources:
    Binance's price index rule; Deribit's, which caps; dYdX's oracle, a weighted median.
    """
    record, policy, pricing = prices.instruments[instrument], prices.policy[0], prices.pricing[0]
    fresh = gather(prices, scratch, now_ns, instrument, 0)
    if policy["index_rule"] == INDEX_WEIGHTED_MEDIAN:
        return weighted_median(prices, scratch, now_ns, instrument, 0, fresh)
    median = median_of(scratch, fresh, np.int64(pricing["index_half_away"]))
    if policy["index_rule"] == INDEX_MEDIAN:
        return median
    outliers, weights, total = np.int64(0), np.int64(0), np.int64(0)
    base, caps = np.int64(record["constituent_base"]), policy["index_rule"] == INDEX_CAPPED
    for k in range(base, base + np.int64(record["constituent_count"])):
        source = prices.constituents[k]
        if counts(prices, source, now_ns, 0):
            price = np.int64(source["price_sub"])
            if caps:
                price = capped(policy, price, median)
            elif is_outlier(policy, price, median):
                outliers += 1
                continue
            weights += np.int64(source["weight_ppm"])
            total += price * np.int64(source["weight_ppm"])
    if outliers > pricing["index_outliers_max"] or weights == 0:
        return median
    return total // weights


@entry
def counted_sources(state, instrument, rows):
    """Fill `rows` with each source's price as the index counts it, 0 = not; returns their median, 0 without any."""
    prices, scratch, now_ns = state.prices, state.io.scratch, np.int64(state.io.control[0]["clock_ns"])
    record, policy = prices.instruments[instrument], prices.policy[0]
    fresh = gather(prices, scratch, now_ns, instrument, 0)
    median = median_of(scratch, fresh, np.int64(prices.pricing[0]["index_half_away"])) if fresh != 0 else np.int64(0)
    for k in range(np.int64(record["constituent_count"])):
        source = prices.constituents[np.int64(record["constituent_base"]) + k]
        price = np.int64(source["price_sub"]) if counts(prices, source, now_ns, 0) else np.int64(0)
        if policy["index_rule"] == INDEX_CAPPED and price != 0:
            price = capped(policy, price, median)
        elif policy["index_rule"] > INDEX_MEDIAN and policy["index_rule"] < INDEX_CAPPED:
            price = np.int64(0) if is_outlier(policy, price, median) else price
        rows[k] = price
    return median


@leaf
def index_price(prices, io, instrument, constituent, price_sub):
    """Take one recorded index price in; is it a source of the index, not another venue's mark?

    Mutates the constituent, the recorded index and its time.
    """
    market, now_ns = prices.markets[instrument], np.int64(io.control[0]["clock_ns"])
    if prices.policy[0]["index_rule"] == INDEX_COMPOSITE and constituent == 0:
        market["recorded_index_sub"] = price_sub
    else:
        source = prices.constituents[np.int64(prices.instruments[instrument]["constituent_base"]) + constituent - 1]
        source["price_sub"] = price_sub
        source["ts_ns"] = now_ns
        source["seen"] = 1
        if source["outside"] != 0:
            return False
        market["recorded_index_sub"] = composite(prices, io.scratch, now_ns, instrument)
    prices.price_states[instrument]["index_ns"] = now_ns
    return True
