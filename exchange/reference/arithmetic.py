"""Whole-number arithmetic of the rules: values, fees, shares, margins. Money is in quanta, rates in ppm or ppb."""

from collections.abc import Sequence

PPM = 1_000_000
PPB = 1_000_000_000
RATIO_MAX = 2**31 - 1
RATIO_DIVISOR_MAX = 2**40


def ceil_div(dividend: int, divisor: int) -> int:
    """Quotient rounded up."""
    return -(-dividend // divisor)


def ppm_up(value: int, rate_ppm: int) -> int:
    """Share of a value, rounded up."""
    return ceil_div(value * rate_ppm, PPM)


def ppm_down(value: int, rate_ppm: int) -> int:
    """Share of a value, rounded down."""
    return value * rate_ppm // PPM


def fee(value: int, rate_ppb: int) -> int:
    """Fee of a trade value >= 0, rounded against the payer; a negative rate is a rebate."""
    return ceil_div(value * rate_ppb, PPB)


def close_share(entry_value: int, position_lots: int, closed_lots: int) -> int:
    """Entry value that leaves when `closed_lots` of `position_lots` (both > 0) close, rounded toward zero."""
    share = abs(entry_value) * closed_lots // position_lots
    return share if entry_value >= 0 else -share


def initial_margin(exposure: int, leverage_e2: int) -> int:
    """Margin of an exposure (money) at a leverage in hundredths, rounded up."""
    return ceil_div(exposure * 100, leverage_e2)


def median(numbers: Sequence[int]) -> int:
    """Middle of the sorted numbers; of an even count the mean of the two, rounded down."""
    ordered = sorted(numbers)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) // 2


def ratio_ppm(dividend: int, divisor: int) -> int:
    """Saturating quotient in ppm of two amounts >= 0 of money."""
    while divisor >= RATIO_DIVISOR_MAX:
        dividend //= 2
        divisor //= 2
    whole = dividend // divisor
    if whole > RATIO_MAX // PPM:
        return RATIO_MAX
    return min(RATIO_MAX, whole * PPM + dividend % divisor * PPM // divisor)


def clamp(number: int, low: int, high: int) -> int:
    """The number, or the end of `low`..`high` that it passed."""
    return max(low, min(number, high))
