"""What a position must hold: maintenance and initial margin by the model of its instrument. DESIGN §1, §3.15.

The plain model (marginal tiers at the mark, the chosen leverage) is written where it is used; the others are called.
"""

import numpy as np

from exchange.codes import (
    ISOLATED,
    LINEAR,
    MARGIN_OF_INITIAL,
    MARGIN_OPTION,
    MARGIN_PLAIN,
    MARGIN_RISK,
    MARGIN_SPOT,
    ORDERS_PREMIUM,
    ORDERS_SUM,
)
from exchange.core.arith import MILLION, ceil_div, initial_margin, mul_div_floor, part_ppm, ppb_up, ppm_up
from exchange.core.contract import mark_value
from exchange.core.kernel import kernel, leaf
from exchange.core.option_margin import option_initial, option_maintenance


@leaf
def tier_of(prices, instrument, notional):
    """Index in `tiers` of the tier that holds a notional: the last whose floor is not above it."""
    tier = np.int64(prices.instruments[instrument]["tier_base"])
    last = tier + np.int64(prices.instruments[instrument]["tier_count"]) - 1
    while tier < last and prices.tiers[tier + 1]["floor"] <= notional:
        tier += 1
    return tier


@leaf
def tier_maintenance(prices, tier, notional):
    """Maintenance margin of a notional >= 0 that lies in a tier."""
    record = prices.tiers[tier]
    return ppm_up(notional, np.int64(record["maintenance_ppm"])) - np.int64(record["cum"])


@leaf
def maintenance(prices, instrument, notional):
    """Maintenance margin of a notional >= 0 by the tiers alone."""
    return tier_maintenance(prices, tier_of(prices, instrument, notional), notional)


@leaf
def leg_maintenance(ledger, prices, p, instrument, notional):
    """Maintenance margin of position `p` where its notional at the mark is `notional`."""
    if prices.instruments[instrument]["margin_model"] == MARGIN_PLAIN:
        return maintenance(prices, instrument, notional)
    return required_by_model(ledger, prices, p, notional)


@leaf
def risk_ppb(row, lots):
    """Rate of the risk model for signed lots: the side's factor, slippage that grows with size, the closing fee."""
    factor = np.int64(row["risk_long_ppb"]) if lots > 0 else np.int64(row["risk_short_ppb"])
    if row["at_bankruptcy"] == 0:
        factor += 1000 * np.int64(row["reserve_ppm"])
    return factor + np.int64(row["slippage_ppb"]) + ceil_div(np.int64(row["quadratic_ppt"]) * abs(lots), 1000)


@leaf
def bankruptcy_fee(position, linear, pocket, ppm):
    """Fee of closing a position, alone in its unit, at the price where the pocket pays exactly for that."""
    if ppm == 0:
        return np.int64(0)
    gains = linear == (position["lots"] > 0)  # its value is its notional, not less it
    entry = np.int64(position["entry_value"])
    short_of = max(np.int64(0), entry - pocket if gains else pocket - entry)
    kept = MILLION - ppm if gains else MILLION + ppm
    return ppm_up(short_of // kept * MILLION + ceil_div(short_of % kept * MILLION, kept), ppm)


@kernel
def required_by_model(ledger, prices, p, notional):
    """Maintenance margin of position `p`, whose instrument has another model than the plain one."""
    position = ledger.positions[p]
    instrument = np.int64(position["instrument"])
    record, row = prices.instruments[instrument], prices.margins[instrument]
    if record["margin_model"] == MARGIN_OPTION:
        return option_maintenance(prices, instrument, np.int64(position["lots"]), notional)
    reserve = np.int64(row["reserve_ppm"])
    if row["at_entry"] != 0:
        notional = abs(np.int64(position["entry_value"]))
    required = np.int64(0)
    if row["at_bankruptcy"] != 0:
        wallet = ledger.wallets[np.int64(position["wallet"])]
        pocket = position["isolated_margin"] if position["mode"] == ISOLATED else wallet["cash"]
        required = bankruptcy_fee(position, record["kind"] == LINEAR, np.int64(pocket), reserve)
        reserve = np.int64(0)
    if record["margin_model"] == MARGIN_RISK:
        return required + ppb_up(notional, risk_ppb(row, np.int64(position["lots"])))
    tier = prices.tiers[tier_of(prices, instrument, notional)]
    if record["margin_model"] == MARGIN_OF_INITIAL:
        held = ppm_up(ppm_up(notional, np.int64(tier["initial_ppm"])), np.int64(row["fraction_ppm"]))
        return required + held + ppm_up(notional, reserve)
    return required + ppm_up(notional, np.int64(tier["maintenance_ppm"]) + reserve) - np.int64(tier["cum"])


@leaf
def interest_of(prices, instrument):
    """Open interest at the mark in money, where initial rates depend on it; else 0."""
    if prices.margins[instrument]["interest_upper"] == 0:
        return np.int64(0)
    return abs(mark_value(prices, instrument, np.int64(prices.markets[instrument]["open_interest_lots"])))


@leaf
def initial_of(prices, instrument, interest, exposure, whole, lots, leverage_e2):
    """Initial margin of an exposure >= 0 of signed `lots`; `whole` is the notional whose tier counts."""
    if prices.instruments[instrument]["margin_model"] == MARGIN_PLAIN:
        return initial_margin(exposure, leverage_e2)
    return initial_by_model(prices, instrument, interest, exposure, whole, lots, leverage_e2)


@kernel
def initial_by_model(prices, instrument, interest, exposure, whole, lots, leverage_e2):
    """The larger of what the leverage, where it is chosen, and what the model asks."""
    row = prices.margins[instrument]
    chosen = initial_margin(exposure, leverage_e2) if row["by_leverage"] != 0 else np.int64(0)
    if prices.instruments[instrument]["margin_model"] == MARGIN_RISK:
        held = ppb_up(exposure, risk_ppb(row, lots))
        return max(chosen, mul_div_floor(held, np.int64(row["initial_ppm"]), MILLION))
    ppm = np.int64(prices.tiers[tier_of(prices, instrument, whole)]["initial_ppm"])
    return max(chosen, ppm_up(exposure, scaled_ppm(row, interest, ppm)))


@leaf
def scaled_ppm(row, interest, ppm):
    """An initial rate at an open interest: as stated up to the lower bound, all from the upper one on."""
    lower, upper = np.int64(row["interest_lower"]), np.int64(row["interest_upper"])
    if interest <= lower:
        return ppm
    if interest >= upper:
        return np.int64(MILLION)
    return ppm + part_ppm(interest - lower, upper - lower, MILLION - ppm)


@leaf
def open_premium(prices, instrument, bids, asks, bid_lots, ask_lots):
    """What a position's open orders, each side taken together, would lose at the mark if they filled."""
    if prices.margins[instrument]["order_rule"] != ORDERS_PREMIUM:
        return np.int64(0)
    bought, sold = mark_value(prices, instrument, bid_lots), mark_value(prices, instrument, -ask_lots)
    if prices.instruments[instrument]["kind"] == LINEAR:
        return max(np.int64(0), bids - bought) + max(np.int64(0), -asks - sold)
    return max(np.int64(0), -bids - bought) + max(np.int64(0), asks - sold)


@kernel
def orders_by_model(prices, instrument, position, bids, asks, bid_lots, ask_lots):
    """Initial margin of a position with its open orders (value and lots of each side), by the instrument's rules."""
    row, lots, leverage_e2 = prices.margins[instrument], np.int64(position["lots"]), np.int64(position["leverage_e2"])
    if prices.instruments[instrument]["margin_model"] == MARGIN_OPTION:
        return option_initial(prices, position, bids, bid_lots, ask_lots)
    if prices.instruments[instrument]["margin_model"] == MARGIN_SPOT:  # its haircut, and all that its bids would pay
        value = abs(mark_value(prices, instrument, lots))
        extra = ppm_up(value, np.int64(prices.instruments[instrument]["initial_ppm"]))
        return maintenance(prices, instrument, value) + extra + bids
    premium = open_premium(prices, instrument, bids, asks, bid_lots, ask_lots)
    interest = interest_of(prices, instrument)
    held = abs(mark_value(prices, instrument, lots))
    held = held if lots > 0 else -held
    if row["orders_at_mark"] != 0:
        bids = max(bids, abs(mark_value(prices, instrument, bid_lots)))
        asks = max(asks, abs(mark_value(prices, instrument, ask_lots)))
    if row["order_rule"] == ORDERS_SUM:
        longs, shorts = max(held, np.int64(0)) + bids, max(-held, np.int64(0)) + asks
        bid_lots, ask_lots = max(lots, np.int64(0)) + bid_lots, max(-lots, np.int64(0)) + ask_lots
    else:
        longs, shorts = abs(held + bids), abs(held - asks)
        bid_lots, ask_lots = lots + bid_lots, ask_lots - lots
    rising = initial_by_model(prices, instrument, interest, longs, longs, bid_lots, leverage_e2)
    falling = initial_by_model(prices, instrument, interest, shorts, shorts, -ask_lots, leverage_e2)
    required = rising + falling if row["order_rule"] == ORDERS_SUM else max(rising, falling)
    if position["mode"] == ISOLATED:
        own = initial_by_model(prices, instrument, interest, abs(held), abs(held), lots, leverage_e2)
        required = max(np.int64(0), required - own)
    return required + premium


@leaf
def exposure_of(held, bid_value, ask_value):
    """The larger side of a position's exposure plus open orders."""
    return max(abs(held + bid_value), abs(held - ask_value))


@leaf
def exposure_by_rule(prices, instrument, held, bids, asks):
    """The exposure that admission and leverage tiers reckon with: the larger side, or both sides added."""
    if prices.instruments[instrument]["margin_model"] != MARGIN_PLAIN:
        if prices.margins[instrument]["order_rule"] == ORDERS_SUM:
            return abs(held) + bids + asks
    return exposure_of(held, bids, asks)
