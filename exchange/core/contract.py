"""What lots of a contract are worth, linear and inverse: the one place that knows the difference. DESIGN §1.

Value is signed so that profit is always value now less entry value: a linear long is worth price times size, an inverse
long owes size over price, in the settlement coin. Notional is its absolute value.
"""

import numpy as np

from exchange.codes import LINEAR
from exchange.core.arith import ceil_div
from exchange.core.kernel import leaf


@leaf
def contract_value(prices, instrument, price_sub, lots):
    """Signed value of `lots` at a price in sub-ticks; an inverse one is rounded toward zero, and 0 at price 0."""
    record = prices.instruments[instrument]
    scaled = np.int64(record["mark_unit"]) * lots
    if record["kind"] == LINEAR:
        return scaled * price_sub
    if price_sub == 0 or lots == 0:
        return np.int64(0)
    size = abs(scaled) // price_sub
    return -size if lots > 0 else size


@leaf
def mark_value(prices, instrument, lots):
    """Signed value of `lots` at the mark; 0 without a mark."""
    return contract_value(prices, instrument, np.int64(prices.markets[instrument]["mark_sub"]), lots)


@leaf
def trade_value(prices, instrument, ticks, lots):
    """Signed value of `lots` traded at `ticks`, rounded once a trade: what one side gets the other gives."""
    return contract_value(prices, instrument, ticks * np.int64(prices.instruments[instrument]["mark_per_tick"]), lots)


@leaf
def trade_notional(prices, instrument, ticks, lots):
    """Notional of `lots` traded at `ticks`."""
    return abs(trade_value(prices, instrument, ticks, lots))


@leaf
def mark_exposure(prices, instrument, lots):
    """Notional at the mark, signed with the lots."""
    value = mark_value(prices, instrument, lots)
    return value if prices.instruments[instrument]["kind"] == LINEAR else -value


@leaf
def rises_against(prices, instrument, lots):
    """Does a mark that moves against a position raise its notional? Linear short and inverse long."""
    return (prices.instruments[instrument]["kind"] == LINEAR) == (lots < 0)


@leaf
def mark_where(prices, instrument, lots, notional, rises):
    """The first mark in sub-ticks at which a notional has come to `notional` as it rises, or as it falls."""
    record = prices.instruments[instrument]
    scaled = np.int64(record["mark_unit"]) * abs(lots)
    if record["kind"] == LINEAR:
        return ceil_div(notional, scaled) if rises else notional // scaled
    if rises:
        return scaled // max(notional, np.int64(1))
    return scaled // (notional + 1) + 1 if notional >= 0 else np.int64(0)


@leaf
def mark_at_notional(prices, instrument, lots, notional):
    """The first mark in sub-ticks, going against a position, at which its notional has come to `notional`.

    Where it rises: at or above; where it falls: at or below, and -1 is never reached. A result that is no mark on the
    ladder (below 1, or beyond it) means never.
    """
    return mark_where(prices, instrument, lots, notional, rises_against(prices, instrument, lots))


@leaf
def worst_ticks(prices, instrument, lots, value):
    """The worst price in ticks at which closing a position still brings `value`, inside the ladder.

    An inverse position may be such that no price does (a long), or that every price does (a short): then the highest.
    """
    record = prices.instruments[instrument]
    scaled, highest = np.int64(record["unit_value"]) * abs(lots), np.int64(record["ticks_max"])
    if record["kind"] == LINEAR:
        ticks = ceil_div(value, scaled) if lots > 0 else -value // scaled
    elif lots > 0:
        ticks = scaled // (1 - value) + 1 if value <= 0 else highest
    else:
        ticks = scaled // value if value > 0 else highest
    return max(np.int64(record["ticks_min"]), min(ticks, highest))
