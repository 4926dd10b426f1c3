"""Black's model by the functions of the C library. The one place of the reference that reckons with fractions."""

import math

YEAR_NS = 365 * 86_400 * 10**9


def _normal(x: float) -> float:
    return math.erfc(-x / math.sqrt(2.0)) / 2.0


def value(forward: float, strike: float, years: float, volatility: float, is_call: bool) -> float:
    """Worth of a European option on a forward, undiscounted."""
    sign = 1.0 if is_call else -1.0
    deviation = volatility * math.sqrt(years)
    if deviation == 0.0:
        return max(0.0, sign * (forward - strike))
    d1 = math.log(forward / strike) / deviation + deviation / 2.0
    return sign * (forward * _normal(sign * d1) - strike * _normal(sign * (d1 - deviation)))


def rounded(forward: int, strike: int, left_ns: int, volatility_ppm: int, is_call: bool, coin_sub: int) -> int:
    """That in whole sub-ticks, to the nearest; of the coin where `coin_sub` of them are one."""
    worth = max(0.0, value(forward, strike, left_ns / YEAR_NS, volatility_ppm / 10**6, is_call))
    if coin_sub:
        worth *= coin_sub / forward
    return math.floor(worth + 0.5)


def power_of_times_ppm(base_ns: int, left_ns: int, power_ppm: int) -> int:
    """(base / left) ** power, to the nearest millionth."""
    return math.floor(1e6 * (base_ns / left_ns) ** (power_ppm / 1e6) + 0.5)
