"""Risk arrays of options: Black-76 at shocked forwards and volatilities, made when an option is refreshed. §3.17."""

import numpy as np

from exchange.codes import COUNTED_TIMES_MAX, SHOCKS, STATE_SETTLED
from exchange.core.arith import BILLION, INT32_MAX, MILLION, mul_div_floor
from exchange.core.black76 import black_sub, discount_ppb, power_of_times, skewed
from exchange.core.kernel import kernel, leaf

DAY_NS, SECOND_NS, YEAR_S = 86_400_000_000_000, 1_000_000_000, 31_536_000


@kernel
def time_factor(grid, left_ns, whole):
    """How much of the volatility range a time to expiry has, in parts of a whole: a power of the days left."""
    left_ns, base_ns = max(left_ns, DAY_NS * np.int64(grid["floor_days"])), DAY_NS * np.int64(grid["base_days"])
    power_ppm = np.int64(grid["short_power_ppm"]) if left_ns < base_ns else np.int64(grid["long_power_ppm"])
    return power_of_times(base_ns, left_ns, power_ppm, whole)


@leaf
def toward_zero(a, b):
    return a // b if a >= 0 else -(-a // b)


@leaf
def shocked(grid, volatility, whole, share_ppm, factor):
    """A volatility in a scenario that moves it by a share of the range up or down; none stays none."""
    span = np.int64(grid["volatility_up_ppm"]) if share_ppm > 0 else np.int64(grid["volatility_down_ppm"])
    change = toward_zero(toward_zero(share_ppm * span, MILLION) * factor, MILLION)
    if volatility == 0 or change == 0:
        return volatility
    moved = mul_div_floor(volatility, abs(change), whole)
    moved = volatility + (moved if change > 0 else -moved)
    least = np.int64(grid["volatility_least_ppm"]) * (whole // MILLION)
    if change < 0 and grid["least_of_risen"] != 0:
        least = np.int64(0)
    return max(moved, max(np.int64(1), least))


@leaf
def model_value(prices, instrument, forward, left_ns, volatility, counted_ppb):
    """An option's value in parts of a sub-tick, discounted, at most the highest price, at a forward in those parts."""
    option, record, bits = prices.options[instrument], prices.instruments[instrument], prices.grids[0]["scale_bits"]
    strike, coin_sub = np.int64(option["strike"]) << np.int64(bits), np.int64(option["coin_sub"]) << np.int64(bits)
    whole, right = np.int64(option["whole_parts"]), np.int64(option["right"])
    value = black_sub(forward, strike, left_ns, volatility, whole, right, coin_sub, counted_ppb)
    most = np.int64(record["ticks_max"]) * np.int64(record["mark_per_tick"]) << np.int64(bits)
    return min(value, most)


@leaf
def volatility_in(prices, instrument, s, forward, left_ns, factor):
    """An option's volatility in a scenario, at a forward in parts of a sub-tick."""
    grid, option, skew = prices.grids[0], prices.options[instrument], np.int64(prices.scenarios[3 * s + 2])
    now, whole = np.int64(option["volatility_parts"]), np.int64(option["whole_parts"])
    if skew == 0:
        return shocked(grid, now, whole, np.int64(prices.scenarios[3 * s]), factor)
    return skewed(grid, now, forward, np.int64(option["strike"]) << np.int64(grid["scale_bits"]), left_ns, skew)


@leaf
def discounts(prices, instrument, left_ns):
    """What counts of an option's value, in ppb: now; in a scenario as part of less than nothing, and of more."""
    grid, rate_ppm = prices.grids[0], np.int64(prices.options[instrument]["rate_ppm"])
    short_ppm = rate_ppm * (MILLION - np.int64(grid["discount_short_rate_ppm"])) // MILLION
    long_ppm = rate_ppm * (MILLION + np.int64(grid["discount_long_rate_ppm"])) // MILLION
    short_ppm -= np.int64(grid["discount_short_add_ppm"])
    long_ppm += np.int64(grid["discount_long_add_ppm"])
    now_ppb = discount_ppb(np.int64(MILLION), rate_ppm, left_ns)
    short_ppb = discount_ppb(np.int64(grid["discount_short_ppm"]), short_ppm, left_ns)
    return now_ppb, short_ppb, discount_ppb(np.int64(grid["discount_long_ppm"]), long_ppm, left_ns)


@leaf
def basis_gain(prices, instrument, forward, left_ns, value, now_ppb, moved_ppm):
    """What counts of the gain of a long lot, worth `value` now, as the forward alone becomes a share of itself."""
    grid, option = prices.grids[0], prices.options[instrument]
    there = max(np.int64(1), mul_div_floor(forward << np.int64(grid["scale_bits"]), moved_ppm, MILLION))
    gain = model_value(prices, instrument, there, left_ns, np.int64(option["volatility_parts"]), now_ppb) - value
    yearly_ppb = mul_div_floor(1000 * np.int64(grid["basis_yearly_ppm"]), left_ns // SECOND_NS, np.int64(YEAR_S))
    counted_ppb = min(1000 * np.int64(grid["basis_flat_ppm"]) + yearly_ppb, np.int64(COUNTED_TIMES_MAX * BILLION))
    return mul_div_floor(gain, counted_ppb, BILLION) * np.int64(prices.instruments[instrument]["mark_unit"])


@kernel
def refresh_basis(prices, instrument, forward, left_ns, value, now_ppb):
    """Make anew what an option gains as its basis moves; returns whether it changed. Mutates the member."""
    grid, member = prices.grids[0], prices.members[instrument]
    up_ppm, down_ppm = MILLION + np.int64(grid["basis_up_ppm"]), MILLION - np.int64(grid["basis_down_ppm"])
    up = basis_gain(prices, instrument, forward, left_ns, value, now_ppb, up_ppm)
    down = basis_gain(prices, instrument, forward, left_ns, value, now_ppb, down_ppm)
    changed = up != member["up_gain"] or down != member["down_gain"]
    member["up_gain"], member["down_gain"] = up, down
    return changed


@leaf
def set_entry(prices, at, instrument, gain, s):
    """Set an entry of an option's risk array to what counts of a gain. Mutates the array; returns (changed, size)."""
    unit = np.int64(prices.instruments[instrument]["mark_unit"])
    entry = mul_div_floor(gain, np.int64(prices.scenarios[3 * s + 1]), BILLION) * unit
    changed = prices.risks[at] != entry
    prices.risks[at] = entry
    return changed, abs(entry)


@kernel
def refresh_scenarios(prices, instrument, forward, left_ns, value, short_ppb, long_ppb):
    """Make an option's risk array anew, of a lot worth `value` now at a forward in parts of a sub-tick; where expiries
    are taken together both of them. Mutates risks; returns whether any entry changed."""
    grid, changed, widest = prices.grids[0], False, np.int64(0)
    count, longs = np.int64(grid["scenarios"]), np.int64(grid["long_base"])
    factor = time_factor(grid, left_ns, np.int64(prices.options[instrument]["whole_parts"]))
    for variant in range(SHOCKS):
        if grid["variants"] >> variant & 1:
            for s in range(count):
                at = (instrument * SHOCKS + variant) * count + s
                moved_ppm = MILLION + np.int64(prices.shocks[at]["price_ppm"])
                there = max(np.int64(1), mul_div_floor(forward, moved_ppm, MILLION))
                then = volatility_in(prices, instrument, s, there, left_ns, factor)
                gain = model_value(prices, instrument, there, left_ns, then, short_ppb) - value
                other, size = set_entry(prices, at, instrument, gain, s)
                changed, widest = changed or other, max(widest, size)
                if longs != 0:
                    gain = model_value(prices, instrument, there, left_ns, then, long_ppb) - value
                    other, size = set_entry(prices, longs + at, instrument, gain, s)
                    changed = changed or other
    prices.members[instrument]["narrow"] = widest <= INT32_MAX
    return changed


@kernel
def refresh_option_risks(prices, io, instrument, forward):
    """Make an option's risk array anew, and what it gains as its basis moves; without a forward or a mark they stand.
    Returns whether any entry changed."""
    grid, market = prices.grids[0], prices.markets[instrument]
    if prices.members[instrument]["group"] == 0 or forward == 0 or market["mark_sub"] == 0:
        return False
    if market["state"] == STATE_SETTLED:
        return False
    left_ns = max(np.int64(0), np.int64(prices.lives[instrument]["expiry_ns"]) - np.int64(io.control[0]["clock_ns"]))
    now_ppb, short_ppb, long_ppb = discounts(prices, instrument, left_ns)
    here, volatility = forward << np.int64(grid["scale_bits"]), np.int64(prices.options[instrument]["volatility_parts"])
    value = model_value(prices, instrument, here, left_ns, volatility, now_ppb)
    changed = refresh_scenarios(prices, instrument, here, left_ns, value, short_ppb, long_ppb)
    if grid["sums_base"] != 0 and refresh_basis(prices, instrument, forward, left_ns, value, now_ppb):
        changed = True
    return changed
