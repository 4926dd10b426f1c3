"""The mark: recorded, or combined of the index, bases, book and trades. DESIGN §3.16."""

import numpy as np

from exchange.codes import (
    ASK,
    BID,
    BY_AVERAGE,
    BY_BOOK,
    BY_EMA,
    BY_FUNDING,
    BY_INDEX,
    BY_LAST,
    BY_MARK,
    BY_MID,
    BY_OUTSIDE,
    BY_TRADES,
    COMBINE_MEDIAN,
    COMBINE_WEIGHTED,
    MARK_COMPUTED,
    MARK_PRICE,
    MARK_TICK,
    PRIORITY_MARK,
    STALE_FREEZE,
)
from exchange.core.arith import MILLION, mul_div_floor, ppm_down
from exchange.core.depth import measure
from exchange.core.funding import is_funded, start_funding
from exchange.core.grid import refresh_risks
from exchange.core.guards import cross_guards, touch, touch_holders
from exchange.core.impact_price import impact_sub
from exchange.core.index import (
    clip_sub,
    gather,
    index_price,
    insert_sorted,
    median_of,
    mid_sub,
    refresh_index,
    weighted_median,
)
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import insurance_position
from exchange.core.outbox import emit
from exchange.core.printed import by_trades
from exchange.core.timers import push_timer

NS_PER_MS = 1_000_000
BILLION = 1_000_000_000


@leaf
def median3(a, b, c):
    return max(min(a, b), min(max(a, b), c))


@kernel
def set_mark(ledger, guards, prices, io, instrument, mark_sub):
    """Set the mark, announce it, and touch every unit whose guard it crosses. Mutates the market, the dirty list."""
    market = prices.markets[instrument]
    old = np.int64(market["mark_sub"])
    mark_sub = clip_sub(prices, instrument, mark_sub)
    if mark_sub == old:
        return
    market["previous_mark_sub"] = old
    market["mark_sub"] = mark_sub
    market["mark_version"] += 1
    if prices.grids[0]["holders"] != 0:
        refresh_risks(prices, instrument)
    fund = insurance_position(prices, instrument)
    if ledger.positions[fund]["lots"] != 0:  # a fund in deficit has no guard, and its deficit moves with the mark
        touch(ledger, io, np.int64(ledger.positions[fund]["wallet"]))
    emit(io, MARK_PRICE, 0, instrument, 0, 0, 0, mark_sub, 0, np.int64(market["index_sub"]), 0, 0)
    if old == 0:
        touch_holders(ledger, io, instrument)
    else:
        cross_guards(ledger, guards, prices, io, instrument, old, mark_sub)


# --- what a computed mark is made of ---------------------------------------------------------------------------------


@leaf
def two_sided(best):
    return best[BID] != 0 and best[ASK] != 0 and best[BID] < best[ASK]


@leaf
def take_basis(prices, instrument, sample):
    """Add mid - index to the ring of samples. Mutates the ring and its sum."""
    market, samples = prices.markets[instrument], np.int64(prices.policy[0]["mark_samples"])
    at = instrument * samples + np.int64(market["basis_next"])
    if market["basis_count"] == samples:
        market["basis_sum_sub"] -= prices.basis[at]
    else:
        market["basis_count"] += 1
    prices.basis[at] = sample
    market["basis_sum_sub"] += sample
    market["basis_next"] = (np.int64(market["basis_next"]) + 1) % samples


@leaf
def by_funding(prices, now_ns, instrument, index):
    """The index and what is left to pay of the funding rate in force."""
    market = prices.markets[instrument]
    interval_ms = np.int64(prices.policy[0]["funding_interval_ns"]) // NS_PER_MS
    left_ms = np.int64(0)
    if market["next_funding_ns"] != 0:
        left_ms = min(max(np.int64(market["next_funding_ns"]) - now_ns, np.int64(0)) // NS_PER_MS, interval_ms)
    rate_ppb = np.int64(market["funding_rate_ppb"]) * left_ms // interval_ms
    return index + mul_div_floor(index, rate_ppb, BILLION)


@kernel
def plain_mark(book, prices, now_ns, instrument):
    """Sample the basis and return median(index + funding basis, index + average basis, last); 0 without an index.

    Mutates the market's basis ring. Source: Binance's mark price rule.
    """
    market = prices.markets[instrument]
    index = np.int64(market["index_sub"])
    if index == 0:
        return np.int64(0)
    per_tick = np.int64(prices.instruments[instrument]["mark_per_tick"])
    best = book.books[instrument]["best_ticks"]
    if two_sided(best):
        take_basis(prices, instrument, mid_sub(np.int64(best[BID]), np.int64(best[ASK]), per_tick) - index)
    first = by_funding(prices, now_ns, instrument, index)
    by_basis = first
    if market["basis_count"] > 0:
        by_basis = index + np.int64(market["basis_sum_sub"]) // np.int64(market["basis_count"])
    by_last = by_basis
    if market["last_ticks"] != 0:
        by_last = np.int64(market["last_ticks"]) * per_tick
    return median3(first, by_basis, by_last)


@leaf
def take_ema(prices, instrument, sample):
    """Move the exponential average of mid - index by one sample; the first one sets it. Mutates the average."""
    row, target = prices.price_states[instrument], sample * MILLION
    before = np.int64(row["ema_usub"]) if row["ema_set"] != 0 else target
    taken_ppb = BILLION - np.int64(prices.pricing[0]["ema_keep_ppb"])
    row["ema_usub"] = before + mul_div_floor(target - before, taken_ppb, BILLION)
    row["ema_set"] = 1


@kernel
def by_index(prices, now_ns, instrument, k):
    """A component that is the index and a basis; 0 = missing."""
    market, row = prices.markets[instrument], prices.price_states[instrument]
    index = np.int64(market["index_sub"])
    if index == 0 or k == BY_INDEX:
        return index
    if k == BY_FUNDING:
        return clip_sub(prices, instrument, by_funding(prices, now_ns, instrument, index))
    if k == BY_AVERAGE and market["basis_count"] != 0:
        average = np.int64(market["basis_sum_sub"]) // np.int64(market["basis_count"])
        return clip_sub(prices, instrument, index + average)
    if k == BY_EMA and row["ema_set"] != 0:
        return clip_sub(prices, instrument, index + np.int64(row["ema_usub"]) // MILLION)
    return np.int64(0)


@kernel
def by_market(book, prices, now_ns, instrument, k):
    """A component that this venue's book or trades give, or the recorded mark; 0 = missing."""
    market, best = prices.markets[instrument], book.books[instrument]["best_ticks"]
    per_tick, last = np.int64(prices.instruments[instrument]["mark_per_tick"]), np.int64(market["last_ticks"])
    bid, ask = np.int64(best[BID]), np.int64(best[ASK])
    if k == BY_LAST:
        return last * per_tick
    if k == BY_TRADES:
        return by_trades(prices, now_ns, instrument)
    if k == BY_MARK:
        recorded, shift = np.int64(market["recorded_mark_sub"]), np.int64(market["index_shift_sub"])
        return clip_sub(prices, instrument, recorded + shift) if recorded != 0 else recorded
    if not two_sided(best) or (k == BY_BOOK and last == 0):
        return np.int64(0)
    if k == BY_BOOK:
        return median3(bid, ask, last) * per_tick
    if k == BY_MID:
        return mid_sub(bid, ask, per_tick)
    money = np.int64(prices.price_states[instrument]["mark_money"])
    low, high = impact_sub(book, prices, instrument, BID, money), impact_sub(book, prices, instrument, ASK, money)
    return (low + high) // 2 if low != 0 and high != 0 else np.int64(0)


@leaf
def came_ns(row, k):
    """When the source of a component came last."""
    if k <= BY_EMA:
        return np.int64(row["index_ns"])
    return np.int64(row["mark_ns"]) if k == BY_MARK else np.int64(row["last_ns"])


@kernel
def sample_bases(book, prices, instrument):
    """What the components remember of the book: mid - index, where both are known. Mutates the averages."""
    mask, index = np.int64(prices.pricing[0]["mark_mask"]), np.int64(prices.markets[instrument]["index_sub"])
    best = book.books[instrument]["best_ticks"]
    if index != 0 and two_sided(best) and mask & (1 << BY_AVERAGE | 1 << BY_EMA):
        per_tick = np.int64(prices.instruments[instrument]["mark_per_tick"])
        sample = mid_sub(np.int64(best[BID]), np.int64(best[ASK]), per_tick) - index
        if mask & 1 << BY_AVERAGE:
            take_basis(prices, instrument, sample)
        if mask & 1 << BY_EMA:
            take_ema(prices, instrument, sample)


@kernel
def combined_mark(book, prices, scratch, now_ns, instrument):
    """The components of the profile's list combined, held near the index; 0 when all are missing. Mutates scratch."""
    pricing, row, outside = prices.pricing[0], prices.price_states[instrument], np.int64(0)
    sample_bases(book, prices, instrument)
    if pricing["mark_mask"] & 1 << BY_OUTSIDE:
        fresh = gather(prices, scratch, now_ns, instrument, 1)
        outside = weighted_median(prices, scratch, now_ns, instrument, 1, fresh)
    count, total, weights, before = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    for j in range(np.int64(pricing["components"])):
        k, stale_ns = np.int64(pricing["component"][j]), np.int64(pricing["component_stale_ns"][j])
        price = outside
        if k <= BY_EMA:
            price = by_index(prices, now_ns, instrument, k)
        elif k != BY_OUTSIDE:
            price = by_market(book, prices, now_ns, instrument, k)
        if stale_ns != 0 and now_ns - came_ns(row, k) > stale_ns:
            price = np.int64(0)
        if price == 0 and pricing["missing_drops"] == 0:
            price = before
        before = price
        if price != 0:
            insert_sorted(scratch, count, price)
            weight = np.int64(pricing["component_ppm"][j]) if pricing["combiner"] == COMBINE_WEIGHTED else np.int64(1)
            count, total, weights = count + 1, total + price * weight, weights + weight
    if count == 0 or weights == 0:
        return np.int64(0)
    mark = median_of(scratch, count, 0) if pricing["combiner"] == COMBINE_MEDIAN else total // weights
    index = np.int64(prices.markets[instrument]["index_sub"])
    reach = ppm_down(index, np.int64(pricing["clamp_ppm"]))
    return max(index - reach, min(mark, index + reach)) if reach != 0 else mark


@kernel
def computed_mark(book, prices, io, instrument):
    """Refresh the index, then compute the mark; 0 = none, or with a stale index a mark that freezes stands still.

    The mark of a spot instrument is its index. Mutates the index, the averages, scratch.
    """
    now_ns, pricing = np.int64(io.control[0]["clock_ns"]), prices.pricing[0]
    refresh_index(book, prices, instrument)
    if prices.instruments[instrument]["spot"] != 0:
        return np.int64(prices.markets[instrument]["index_sub"])
    if pricing["mark_plain"] != 0:
        return plain_mark(book, prices, now_ns, instrument)
    age_ns = now_ns - np.int64(prices.price_states[instrument]["index_ns"])
    if pricing["index_stale_rule"] == STALE_FREEZE and age_ns > prices.policy[0]["index_stale_ns"]:
        return np.int64(0)
    return combined_mark(book, prices, io.scratch, now_ns, instrument)


@kernel
def mark_tick(book, ledger, guards, prices, io, instrument):
    """Compute the mark, and set it where there is one."""
    mark_sub = computed_mark(book, prices, io, instrument)
    if mark_sub != 0:
        set_mark(ledger, guards, prices, io, instrument, mark_sub)
        if prices.members[instrument]["measured"] != 0:
            measure(book, ledger, prices, io, instrument)


@leaf
def set_mark_timer(prices, io, instrument):
    """Set the next mark tick, at the next whole multiple of the period. Mutates the heap."""
    period = np.int64(prices.policy[0]["mark_period_ns"])
    due_ns = (np.int64(io.control[0]["clock_ns"]) // period + 1) * period
    push_timer(io, due_ns, PRIORITY_MARK, 0, instrument, instrument, MARK_TICK)


@kernel
def source_came(book, ledger, guards, prices, io, instrument):
    """A source of a computed mark came: the first one starts its clock, and without a period each runs a tick."""
    policy, market = prices.policy[0], prices.markets[instrument]
    period = np.int64(policy["mark_period_ns"])
    if period == 0 or market["mark_timer"] == 0:
        mark_tick(book, ledger, guards, prices, io, instrument)
        if period != 0:
            market["mark_timer"] = 1
            set_mark_timer(prices, io, instrument)
    else:
        refresh_index(book, prices, instrument)


@kernel
def take_index(book, ledger, guards, prices, io, instrument, constituent, price_sub):
    """INDEX event: refresh the index; a computed mark and a computed rate start their clocks at the first one."""
    of_index, pricing = index_price(prices, io, instrument, constituent, price_sub), prices.pricing[0]
    spot = prices.instruments[instrument]["spot"] != 0
    if not of_index and (spot or not pricing["mark_mask"] & 1 << BY_OUTSIDE):
        return
    if prices.policy[0]["mark_source"] == MARK_COMPUTED or spot:
        source_came(book, ledger, guards, prices, io, instrument)
    else:
        refresh_index(book, prices, instrument)
    if of_index and pricing["funding_computed"] != 0 and is_funded(prices, instrument):
        start_funding(prices, io, instrument)
