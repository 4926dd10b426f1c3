"""Trades as the mark asks for them: the last one's time, those of a window, forced ones left out. DESIGN §3.16."""

import numpy as np

from exchange.codes import FORCED_IGNORED, TRADES_KEPT
from exchange.core.arith import MILLION
from exchange.core.kernel import kernel, leaf
from exchange.core.wide import wide_div

LOTS_MAX = (1 << 31) - 1


@kernel
def note_trade(prices, now_ns, instrument, ticks, lots, forced):
    """A trade where the mark asks for more than the last price. Mutates the last price, its time, the ring of trades.

    `forced`: not 0 for a liquidation order's fill.
    """
    market, row, pricing = prices.markets[instrument], prices.price_states[instrument], prices.pricing[0]
    if forced != 0 and market["trades"] & FORCED_IGNORED:
        return
    market["last_ticks"] = ticks
    row["last_ns"] = now_ns
    if market["trades"] & TRADES_KEPT:
        places = np.int64(pricing["trades_max"])
        trade = prices.trades[instrument * places + np.int64(row["trade_next"])]
        trade["ts_ns"], trade["ticks"], trade["lots"] = now_ns, ticks, min(lots, LOTS_MAX)
        row["trade_next"] = (np.int64(row["trade_next"]) + 1) % places
        row["trade_count"] = min(np.int64(row["trade_count"]) + 1, places)


@leaf
def trade_weight(pricing, trade, now_ns):
    """Lots of a trade, times a million less what its age in the window takes; 0 beyond the window."""
    age_ns, window_ns = now_ns - np.int64(trade["ts_ns"]), np.int64(pricing["window_ns"])
    if age_ns > window_ns:
        return np.int64(0)
    elapsed_ppm = wide_div(age_ns, MILLION, window_ns)[0]
    power = elapsed_ppm
    for _ in range(1, np.int64(pricing["decay_power"])):
        power = power * elapsed_ppm // MILLION
    return np.int64(trade["lots"]) * (MILLION - np.int64(pricing["decay_ppm"]) * power // MILLION)


@kernel
def by_trades(prices, now_ns, instrument):
    """Mean price of the window's trades by size and age, rounded down; 0 without any. Source: Vega's mark price."""
    pricing, count = prices.pricing[0], np.int64(prices.price_states[instrument]["trade_count"])
    base = instrument * np.int64(pricing["trades_max"])
    per_tick = np.int64(prices.instruments[instrument]["mark_per_tick"])
    total = np.int64(0)
    for k in range(base, base + count):
        total += trade_weight(pricing, prices.trades[k], now_ns)
    whole, rest = np.int64(0), np.int64(0)
    if total != 0:
        for k in range(base, base + count):
            trade = prices.trades[k]
            part, more = wide_div(np.int64(trade["ticks"]) * per_tick, trade_weight(pricing, trade, now_ns), total)
            whole, rest = whole + part, rest + more
            if rest >= total:
                whole, rest = whole + 1, rest - total
    return whole
