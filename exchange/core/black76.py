"""Black's model of 1976, in float64: the one place of the venue that reckons with fractions. DESIGN §3.14.

Made of additions, multiplications, divisions and square roots alone, which every processor rounds alike: exponential,
logarithm and normal distribution of a C library differ in their last bit from one to the next. So the same bits come
out interpreted and compiled, and what leaves this module was rounded once, to sub-ticks.
"""

import math

import numpy as np

from exchange.codes import CALL, SKEW_ABSOLUTE, SKEW_LINEAR
from exchange.core.kernel import kernel, leaf

YEAR_NS = 365.0 * 86_400.0 * 1e9
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # their sum, to more than a double's bits
SQRT_HALF = 0.7071067811865476


@leaf
def exponential(x):
    """e ** x for x in -700..700: Taylor's series of what is left of x beyond a power of two."""
    power = math.floor(x / (LN2_HIGH + LN2_LOW) + 0.5)
    rest = x - power * LN2_HIGH - power * LN2_LOW
    total = 1.0
    for n in range(15, 0, -1):
        total = 1.0 + total * rest / n
    return math.ldexp(total, power)


@leaf
def logarithm(x):
    """ln x for x > 0: the series of artanh of what is left of x beyond a power of two."""
    part, power = math.frexp(x)
    if part < SQRT_HALF:
        part, power = part * 2.0, power - 1
    ratio = (part - 1.0) / (part + 1.0)
    square, total = ratio * ratio, 0.0
    for n in range(25, 0, -2):
        total = total * square + 1.0 / n
    return power * LN2_HIGH + (power * LN2_LOW + 2.0 * ratio * total)


@leaf
def normal(x):
    """The normal distribution function, to 1e-15. Source: Hart et al., Computer Approximations (1968), 5666."""
    size = abs(x)
    tail = 0.0
    if size < 37.0:
        tail = exponential(-size * size / 2.0)
        if size < 7.07106781186547:
            above = 3.52624965998911e-02 * size + 0.700383064443688
            above = ((above * size + 6.37396220353165) * size + 33.912866078383) * size + 112.079291497871
            above = (above * size + 221.213596169931) * size + 220.206867912376
            below = 8.83883476483184e-02 * size + 1.75566716318264
            below = ((below * size + 16.064177579207) * size + 86.7807322029461) * size + 296.564248779674
            below = ((below * size + 637.333633378831) * size + 793.826512519948) * size + 440.413735824752
            tail = tail * above / below
        else:
            tail = tail / (size + 1.0 / (size + 2.0 / (size + 3.0 / (size + 4.0 / (size + 0.65))))) / 2.506628274631
    return 1.0 - tail if x > 0.0 else tail


@leaf
def option_value(forward, strike, years, volatility, right):
    """What a European option on a forward is worth, undiscounted; all floats > 0, or 0 years or volatility."""
    deviation = volatility * math.sqrt(years)
    if deviation <= 0.0:
        return max(0.0, forward - strike) if right == CALL else max(0.0, strike - forward)
    above = logarithm(forward / strike) / deviation + deviation / 2.0
    below = above - deviation
    if right == CALL:
        return max(0.0, forward * normal(above) - strike * normal(below))
    return max(0.0, strike * normal(-below) - forward * normal(-above))


@kernel
def black_sub(forward, strike, left_ns, volatility, whole, right, coin_sub, discount_ppb):
    """An option's value in sub-ticks, to the nearest, halves up; whole numbers in, a whole number out.

    `forward` and `strike` are in one unit, that of the result, or with `coin_sub` > 0 any: the value then is a share of
    the forward, of which there are `coin_sub` sub-ticks. `whole` is a volatility of one; `discount_ppb` counts.
    """
    years = np.float64(left_ns) / YEAR_NS
    yearly = np.float64(volatility) / np.float64(whole)
    value = option_value(np.float64(forward), np.float64(strike), years, yearly, right)
    if coin_sub != 0:
        value = value / np.float64(forward) * np.float64(coin_sub)
    value *= np.float64(discount_ppb) / 1e9
    return np.int64(math.floor(value + 0.5))


@leaf
def skewed(grid, volatility, forward, strike, left_ns, skew):
    """A volatility moved by the moneyness of its strike, at most by a cap, to the nearest part."""
    root = math.sqrt(np.float64(left_ns) / YEAR_NS)
    if skew == SKEW_LINEAR:
        cap = np.float64(grid["skew_linear_cap_ppm"]) + np.float64(grid["skew_linear_cap_slope_ppm"]) * root
    else:
        cap = np.float64(grid["skew_absolute_cap_ppm"]) + np.float64(grid["skew_absolute_cap_slope_ppm"]) * root
    cap = max(0.0, cap / 1e6)
    level = np.float64(grid["skew_level_ppm"]) + np.float64(grid["skew_level_slope_ppm"]) * root
    flat = max(np.float64(grid["skew_flat_least_ppm"]), root * np.float64(grid["skew_width_ppm"]) * level / 1e6) / 1e6
    money = logarithm(np.float64(strike) / np.float64(forward))
    if skew == SKEW_ABSOLUTE:
        money = abs(money)
    moved = 1.0 + max(-cap, min(cap, money * cap / flat))
    return np.int64(math.floor(np.float64(volatility) * max(0.0, moved) + 0.5))


@leaf
def power_of_times(base_ns, left_ns, power_ppm, whole):
    """(base / left) ** power, both above 0, to the nearest part of a whole."""
    power = exponential(power_ppm / 1e6 * logarithm(base_ns / left_ns))
    return np.int64(math.floor(np.float64(whole) * power + 0.5))


@leaf
def discount_ppb(level_ppm, yearly_ppm, left_ns):
    """level * e ** -(yearly * years), to the nearest billionth, at most one."""
    grown = np.float64(yearly_ppm) / 1e6 * (np.float64(left_ns) / YEAR_NS)
    discount = np.float64(level_ppm) * 1e3 * exponential(-min(max(grown, -700.0), 700.0))
    return np.int64(math.floor(min(discount, 1e9) + 0.5))
