"""Funding: premium samples, the rate that they make, and what a settlement pays. DESIGN §3.16."""

import numpy as np

from exchange.codes import (
    ASK,
    AVERAGE_LINEAR,
    AVERAGE_MEAN,
    AVERAGE_TRIMMED,
    BID,
    EXTERNAL,
    FUNDING_PRICE,
    FUNDING_TICK,
    STATE_SETTLED,
    SWEEP_FUNDING,
)
from exchange.core.arith import MILLION
from exchange.core.contract import contract_value
from exchange.core.impact_price import impact_sub
from exchange.core.kernel import kernel, leaf
from exchange.core.outbox import emit
from exchange.core.timers import push_timer
from exchange.core.wide import toward_zero, wide_div

BILLION = 1_000_000_000
RATE_MAX = 2 * BILLION  # of one settlement


@leaf
def set_funding_timer(prices, io, instrument, ts_ns):
    """Set the next sample's timer: of one time it comes after the marks, and before or after liquidations."""
    priority = np.int64(prices.pricing[0]["funding_priority"])
    push_timer(io, ts_ns, priority, EXTERNAL, instrument, instrument, FUNDING_TICK)


@leaf
def is_funded(prices, instrument):
    """Does a computed rate hold for it? For perpetuals that are not settled; nothing else has funding."""
    if prices.instruments[instrument]["spot"] != 0 or prices.lives[instrument]["expiry_ns"] != 0:
        return False
    return prices.markets[instrument]["state"] != STATE_SETTLED


@leaf
def start_funding(prices, io, instrument):
    """The first index starts the clock of a computed rate. Mutates the market's pricing state, timers."""
    row, sample_ns = prices.price_states[instrument], np.int64(prices.pricing[0]["sample_ns"])
    if row["timer"] == 0:
        row["timer"] = 1
        set_funding_timer(prices, io, instrument, (np.int64(io.control[0]["clock_ns"]) // sample_ns + 1) * sample_ns)


@kernel
def premium_of(book, prices, instrument):
    """(premium over the index in ppb, toward zero; whether there is one): of the mid, or of the impact prices."""
    pricing, best = prices.pricing[0], book.books[instrument]["best_ticks"]
    index = np.int64(prices.markets[instrument]["index_sub"])
    if index == 0:
        return np.int64(0), False
    if pricing["premium_impact"] == 0:
        bid, ask = np.int64(best[BID]), np.int64(best[ASK])
        if bid == 0 or ask == 0 or bid >= ask:
            return np.int64(0), False
        above = (bid + ask) * np.int64(prices.instruments[instrument]["mark_per_tick"]) // 2 - index
    else:
        money = np.int64(prices.price_states[instrument]["funding_money"])
        low, high = impact_sub(book, prices, instrument, BID, money), impact_sub(book, prices, instrument, ASK, money)
        above = max(low - index, np.int64(0)) - (max(index - high, np.int64(0)) if high != 0 else np.int64(0))
    cap = np.int64(pricing["premium_cap_ppb"])
    premium = min(wide_div(abs(above), BILLION, index)[0], cap)
    return toward_zero(premium if above >= 0 else -premium, np.int64(pricing["step_ppb"])), True


@leaf
def note_premium(prices, instrument, premium_ppb):
    """Add a sample to the interval's. Mutates the pricing state, the kept samples."""
    row, pricing = prices.price_states[instrument], prices.pricing[0]
    if pricing["average"] == AVERAGE_TRIMMED:
        at = np.int64(row["premium_count"])
        prices.premiums[instrument * np.int64(pricing["expected"]) + at] = premium_ppb
    row["premium_ppb"] = premium_ppb
    row["premium_count"] += 1
    row["premium_sum"] += premium_ppb
    row["premium_weighted"] += premium_ppb * np.int64(row["premium_count"])


@kernel
def sort_row(row, base, count):
    """Sort row[base : base + count] in place, ascending, by Shell's method. Mutates the row."""
    gap = count // 2
    while gap > 0:
        for k in range(base + gap, base + count):
            value, at = row[k], k
            while at - gap >= base and row[at - gap] > value:
                row[at] = row[at - gap]
                at -= gap
            row[at] = value
        gap //= 2


@kernel
def trim_tails(row, base, count, tail_ppm):
    """(first, end) of what is left without the tails, sorted; nothing is taken where nothing would be left.

    In all floor(2 * rate * count) go, the smaller half of them at the bottom. Mutates the row.
    """
    gone = 2 * tail_ppm * count // MILLION
    if gone >= count:
        return base, base + count
    sort_row(row, base, count)
    return base + gone // 2, base + count - (gone - gone // 2)


@kernel
def average_premium(prices, instrument):
    """Average of the interval's samples in ppb, toward zero; 0 without any. May sort the kept samples."""
    row, pricing = prices.price_states[instrument], prices.pricing[0]
    count, total = np.int64(row["premium_count"]), np.int64(row["premium_sum"])
    if pricing["missing_zero"] != 0:
        count = max(count, np.int64(pricing["expected"]))
    if count == 0:
        return np.int64(0)
    if pricing["average"] == AVERAGE_LINEAR:
        count, total = count * (count + 1) // 2, np.int64(row["premium_weighted"])
    elif pricing["average"] != AVERAGE_MEAN:
        base = instrument * np.int64(pricing["expected"])
        for k in range(np.int64(row["premium_count"]), count):
            prices.premiums[base + k] = 0
        first, end = trim_tails(prices.premiums, base, count, np.int64(pricing["tail_ppm"]))
        count, total = end - first, np.int64(0)
        for k in range(first, end):
            total += prices.premiums[k]
    average = abs(total) // count
    return toward_zero(average if total >= 0 else -average, np.int64(pricing["step_ppb"]))


@leaf
def rate_of(prices, instrument, average_ppb):
    """The rate that an average premium makes, in ppb of the stated time: factor, interest, cap."""
    pricing, interest = prices.pricing[0], np.int64(prices.pricing[0]["interest_ppb"])
    scaled = toward_zero(average_ppb * np.int64(pricing["factor_ppm"]), MILLION) // MILLION
    if pricing["interest_added"] == 0:
        band = np.int64(pricing["band_ppb"])
        interest = max(-band, min(interest - scaled, band))
    cap = np.int64(prices.price_states[instrument]["cap_ppb"])
    rate = scaled + interest
    if cap >= 0:
        rate = max(-cap, min(rate, cap))
    return toward_zero(rate, np.int64(pricing["step_ppb"]))


@leaf
def held_rate(rate_ppb, share, shares):
    """A rate of the stated time as `share / shares` of it, times shares: at most RATE_MAX of the value."""
    return max(-RATE_MAX * shares, min(rate_ppb * share, RATE_MAX * shares))


@leaf
def notional_sub(prices, instrument):
    """The price at which funding is reckoned: the mark, or the index."""
    market = prices.markets[instrument]
    return np.int64(market["index_sub"]) if prices.pricing[0]["pays_index"] != 0 else np.int64(market["mark_sub"])


@kernel
def per_lot_micro(prices, instrument, price_sub, rate_ppb, share, shares):
    """What a lot pays at a rate in millionths of a quantum, toward zero to the profile's step."""
    value = contract_value(prices, instrument, price_sub, np.int64(1))
    rate = held_rate(rate_ppb, share, shares)
    size = wide_div(value * MILLION, abs(rate), BILLION * shares)[0]
    return toward_zero(size if rate >= 0 else -size, np.int64(prices.price_states[instrument]["step_micro"]))


@kernel
def start_settlement(prices, io, instrument, rate_ppb, share, shares):
    """Start the sweep that pays every position; it goes on as continuations of this event. No price: nothing."""
    price, control = notional_sub(prices, instrument), io.control[0]
    if price == 0 or prices.markets[instrument]["state"] == STATE_SETTLED:
        return
    value = toward_zero(held_rate(rate_ppb, share, shares), shares) // shares
    if prices.pricing[0]["pays_per_lot"] != 0:
        value = per_lot_micro(prices, instrument, price, rate_ppb, share, shares)
    control["sweep_instrument"] = instrument
    control["sweep_value"] = value
    control["sweep_kind"] = SWEEP_FUNDING
    control["sweep_next"] = 1


@leaf
def funding_money(prices, instrument, price_sub, lots, value):
    """What a position gets (or pays: below 0) in a settlement, rounded against it. `value` is the sweep's."""
    size = abs(value)
    if prices.pricing[0]["pays_per_lot"] != 0:
        money, rest = wide_div(size, abs(lots), MILLION)
    else:
        notional = abs(contract_value(prices, instrument, price_sub, lots))
        money = notional // BILLION * size + notional % BILLION * size // BILLION
        rest = notional % BILLION * size % BILLION
    if (lots > 0) == (value > 0) and value != 0:
        return -(money + (1 if rest != 0 else 0))
    return money


@kernel
def funding_tick(book, prices, io, instrument, ts_ns):
    """Sample the premium; at the end of an interval settle at the rate that its samples make. Sets the next timer."""
    row, pricing, market = prices.price_states[instrument], prices.pricing[0], prices.markets[instrument]
    interval_ns, shares = np.int64(prices.policy[0]["funding_interval_ns"]), np.int64(pricing["shares"])
    if not is_funded(prices, instrument):
        return
    premium, known = premium_of(book, prices, instrument)
    if known:
        note_premium(prices, instrument, premium)
    settles = ts_ns % interval_ns == 0
    if settles or pricing["average"] != AVERAGE_TRIMMED:
        row["rate_ppb"] = rate_of(prices, instrument, average_premium(prices, instrument))
        rate = held_rate(np.int64(row["rate_ppb"]), np.int64(pricing["share"]), shares)
        market["funding_rate_ppb"] = toward_zero(rate, shares) // shares
    market["next_funding_ns"] = (ts_ns // interval_ns + 1) * interval_ns
    if settles:
        rate_ppb, samples = np.int64(row["rate_ppb"]), np.int64(row["premium_count"])
        emit(io, FUNDING_PRICE, 0, instrument, 0, 0, 0, np.int64(market["funding_rate_ppb"]), 0, samples, 0, 0)
        start_settlement(prices, io, instrument, rate_ppb, np.int64(pricing["share"]), shares)
        row["premium_count"], row["premium_sum"], row["premium_weighted"] = 0, 0, 0
    set_funding_timer(prices, io, instrument, ts_ns + np.int64(pricing["sample_ns"]))
