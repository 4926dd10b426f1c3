"""Black's model by the functions of the C library. The one place of the reference that reckons with fractions."""

import math

from exchange.expiries import Skew

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


def rounded(
    forward: int, strike: int, left_ns: int, volatility: int, whole: int, is_call: bool, coin_sub: int, counted_ppb: int
) -> int:
    """That discounted, in whole sub-ticks, to the nearest; of the coin where `coin_sub` of them are one."""
    worth = max(0.0, value(forward, strike, left_ns / YEAR_NS, volatility / whole, is_call))
    if coin_sub:
        worth *= coin_sub / forward
    return math.floor(worth * (counted_ppb / 10**9) + 0.5)


def power_of_times(base_ns: int, left_ns: int, power_ppm: int, whole: int) -> int:
    """(base / left) ** power, to the nearest part of a whole."""
    return math.floor(whole * (base_ns / left_ns) ** (power_ppm / 1e6) + 0.5)


def discount_ppb(level_ppm: int, yearly_ppm: int, left_ns: int) -> int:
    """What is left of a level after continuous discounting, in billionths, to the nearest; at most one."""
    exponent = max(-700.0, min(700.0, yearly_ppm / 10**6 * (left_ns / YEAR_NS)))
    return math.floor(min(10.0**9, level_ppm * 1000 * math.exp(-exponent)) + 0.5)


def skewed(terms: Skew, volatility: int, money: tuple[int, int], left_ns: int, skew: str) -> int:
    """A volatility moved by the moneyness of (strike, forward), at most by a cap, to the nearest part."""
    root, kind = math.sqrt(left_ns / YEAR_NS), "linear" if skew == "linear" else "absolute"
    cap_ppm = getattr(terms, f"{kind}_cap_ppm") + getattr(terms, f"{kind}_cap_slope_ppm") * root
    cap = max(0.0, cap_ppm / 1e6)
    width = root * terms.width_ppm * (terms.level_ppm + terms.level_slope_ppm * root) / 1e6
    share = math.log(money[0] / money[1]) / (max(terms.flat_least_ppm, width) / 1e6)
    moved = cap * max(-1.0, min(1.0, share if skew == "linear" else abs(share)))
    return math.floor(volatility * max(0.0, 1.0 + moved) + 0.5)
