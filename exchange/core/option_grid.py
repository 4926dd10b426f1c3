"""Risk arrays of options: Black-76 at shocked forwards and volatilities, made when an option is refreshed. §3.17."""

import numpy as np

from exchange.codes import COUNTED_TIMES_MAX, SHOCKS, STATE_SETTLED
from exchange.core.arith import INT32_MAX, MILLION, mul_div_floor
from exchange.core.black76 import black_sub, power_of_times_ppm
from exchange.core.kernel import kernel, leaf
from exchange.core.requirement import BILLION

DAY_NS, SECOND_NS, YEAR_S = 86_400_000_000_000, 1_000_000_000, 31_536_000


@kernel
def time_factor_ppm(grid, left_ns):
    """How much of the volatility range a time to expiry has, in ppm: a power of the days left."""
    left_ns, base_ns = max(left_ns, DAY_NS * np.int64(grid["floor_days"])), DAY_NS * np.int64(grid["base_days"])
    power_ppm = np.int64(grid["short_power_ppm"]) if left_ns < base_ns else np.int64(grid["long_power_ppm"])
    return power_of_times_ppm(base_ns, left_ns, power_ppm)


@leaf
def toward_zero(a, b):
    return a // b if a >= 0 else -(-a // b)


@leaf
def shocked_ppm(grid, volatility_ppm, share_ppm, factor_ppm):
    """A volatility in a scenario that moves it by a share of the range up or down; none stays none."""
    span = np.int64(grid["volatility_up_ppm"]) if share_ppm > 0 else np.int64(grid["volatility_down_ppm"])
    change_ppm = toward_zero(toward_zero(share_ppm * span, MILLION) * factor_ppm, MILLION)
    if volatility_ppm == 0 or change_ppm == 0:
        return volatility_ppm
    moved = volatility_ppm + toward_zero(volatility_ppm * change_ppm, MILLION)
    return max(moved, max(np.int64(1), np.int64(grid["volatility_least_ppm"])))


@leaf
def model_value(prices, instrument, forward, left_ns, volatility_ppm):
    """An option's value in parts of a sub-tick, at most the highest price, at a forward in those parts."""
    option, record, bits = prices.options[instrument], prices.instruments[instrument], prices.grids[0]["scale_bits"]
    strike, coin_sub = np.int64(option["strike"]) << np.int64(bits), np.int64(option["coin_sub"]) << np.int64(bits)
    value = black_sub(forward, strike, left_ns, volatility_ppm, np.int64(option["right"]), coin_sub)
    most = np.int64(record["ticks_max"]) * np.int64(record["mark_per_tick"]) << np.int64(bits)
    return min(value, most)


@leaf
def basis_gain(prices, instrument, forward, left_ns, value, moved_ppm):
    """What counts of the gain of a long lot, worth `value` now, as the forward alone becomes a share of itself."""
    grid, option = prices.grids[0], prices.options[instrument]
    there = max(np.int64(1), mul_div_floor(forward << np.int64(grid["scale_bits"]), moved_ppm, MILLION))
    gain = model_value(prices, instrument, there, left_ns, np.int64(option["volatility_ppm"])) - value
    yearly_ppb = mul_div_floor(1000 * np.int64(grid["basis_yearly_ppm"]), left_ns // SECOND_NS, np.int64(YEAR_S))
    counted_ppb = min(1000 * np.int64(grid["basis_flat_ppm"]) + yearly_ppb, np.int64(COUNTED_TIMES_MAX * BILLION))
    return mul_div_floor(gain, counted_ppb, BILLION) * np.int64(prices.instruments[instrument]["mark_unit"])


@kernel
def refresh_basis(prices, instrument, forward, left_ns, value):
    """Make anew what an option gains as its basis moves; returns whether it changed. Mutates the member."""
    grid, member = prices.grids[0], prices.members[instrument]
    up = basis_gain(prices, instrument, forward, left_ns, value, MILLION + np.int64(grid["basis_up_ppm"]))
    down = basis_gain(prices, instrument, forward, left_ns, value, MILLION - np.int64(grid["basis_down_ppm"]))
    changed = up != member["up_gain"] or down != member["down_gain"]
    member["up_gain"], member["down_gain"] = up, down
    return changed


@kernel
def refresh_option_risks(prices, io, instrument, forward):
    """Make an option's risk array anew, and what it gains as its basis moves; without a forward or a mark they stand.
    Returns whether any entry changed."""
    grid, option, market = prices.grids[0], prices.options[instrument], prices.markets[instrument]
    changed, widest = False, np.int64(0)
    if prices.members[instrument]["group"] == 0 or forward == 0 or market["mark_sub"] == 0:
        return changed
    if market["state"] == STATE_SETTLED:
        return changed
    left_ns = max(np.int64(0), np.int64(prices.lives[instrument]["expiry_ns"]) - np.int64(io.control[0]["clock_ns"]))
    now_ppm, count, bits = np.int64(option["volatility_ppm"]), np.int64(grid["scenarios"]), np.int64(grid["scale_bits"])
    unit = np.int64(prices.instruments[instrument]["mark_unit"])
    factor_ppm = time_factor_ppm(grid, left_ns)
    value = model_value(prices, instrument, forward << bits, left_ns, now_ppm)
    for variant in range(SHOCKS):
        if grid["variants"] >> variant & 1:
            for s in range(count):
                at = (instrument * SHOCKS + variant) * count + s
                moved_ppm = MILLION + np.int64(prices.shocks[at]["price_ppm"])
                there = max(np.int64(1), mul_div_floor(forward << bits, moved_ppm, MILLION))
                then_ppm = shocked_ppm(grid, now_ppm, np.int64(prices.scenarios[2 * s]), factor_ppm)
                gain = model_value(prices, instrument, there, left_ns, then_ppm) - value
                entry = mul_div_floor(gain, np.int64(prices.scenarios[2 * s + 1]), BILLION) * unit
                widest = max(widest, abs(entry))
                if prices.risks[at] != entry:
                    prices.risks[at] = entry
                    changed = True
    prices.members[instrument]["narrow"] = widest <= INT32_MAX
    if grid["sums_base"] != 0 and refresh_basis(prices, instrument, forward, left_ns, value):
        changed = True
    return changed
