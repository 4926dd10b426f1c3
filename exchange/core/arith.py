"""Exact integer arithmetic of money: every division names its rounding. DESIGN §1."""

import numpy as np

from exchange.core.kernel import high_bit, leaf

MILLION = 1_000_000
BILLION = 1_000_000_000
INT32_MAX = (1 << 31) - 1
SAFE_EXPOSURE = 2**62 // 100  # below it one division does


@leaf
def mul_div_floor(a, b, c):
    """floor(a * b / c) for c > 0, without the overflow of a * b (needs |b| * c < 2**63)."""
    return a // c * b + a % c * b // c


@leaf
def isqrt(n):
    """The largest whole r with r * r <= n, for 0 <= n < 2**62, by Newton's steps from above."""
    if n == 0:
        return np.int64(0)
    root = np.int64(1) << ((high_bit(np.uint64(n)) >> 1) + 1)
    while root * root > n:
        root = (root + n // root) >> 1
    return root


@leaf
def ceil_div(a, b):
    """ceil(a / b), b > 0."""
    return -(-a // b)


@leaf
def ppm_up(value, ppm):
    """ceil(value * ppm / 10**6), value >= 0, ppm >= 0."""
    return value // MILLION * ppm + (value % MILLION * ppm + MILLION - 1) // MILLION


@leaf
def ppm_down(value, ppm):
    """floor(value * ppm / 10**6), value >= 0, ppm >= 0."""
    return value // MILLION * ppm + value % MILLION * ppm // MILLION


@leaf
def part_ppm(part, whole, ppm):
    """floor(ppm * part / whole), 0 <= part <= whole < 2**62, 0 <= ppm < 2**20: long division, bit by bit."""
    rest, quotient = np.int64(0), np.int64(0)
    for bit in range(19, -1, -1):
        rest *= 2
        quotient *= 2
        if ppm >> bit & 1:
            rest += part
        while rest >= whole:
            rest -= whole
            quotient += 1
    return quotient


@leaf
def initial_margin(exposure, leverage_e2):
    """ceil(exposure * 100 / leverage_e2), exposure >= 0, without the overflow of exposure * 100."""
    if exposure < SAFE_EXPOSURE:
        return ceil_div(exposure * 100, leverage_e2)
    return exposure // leverage_e2 * 100 + ceil_div(exposure % leverage_e2 * 100, leverage_e2)


@leaf
def ppb_up(value, ppb):
    """ceil(value * ppb / 10**9), value >= 0, 0 <= ppb <= 8 * 10**9."""
    return value // BILLION * ppb + (value % BILLION * ppb + BILLION - 1) // BILLION


@leaf
def fee_of(value, ppb):
    """Fee of a trade value >= 0, rounded against the payer; negative = rebate."""
    if ppb >= 0:
        return ppb_up(value, ppb)
    return -(value // BILLION * -ppb + value % BILLION * -ppb // BILLION)


@leaf
def most_fee(value, ppb):
    """What a fee may come to before its trade: a rebate counts as none."""
    return ppb_up(value, max(ppb, np.int64(0)))


@leaf
def close_share(entry_value, closed_lots, lots):
    """The part of a signed entry value that closing `closed_lots` of `lots` (both > 0) takes out, toward zero."""
    if closed_lots == lots:
        return entry_value
    size = abs(entry_value)
    share = size // lots * closed_lots + size % lots * closed_lots // lots
    return share if entry_value >= 0 else -share


@leaf
def ratio_ppm(a, b):
    """floor(a / b) in ppm for a >= 0, b > 0, at most 2**31 - 1; both are halved first while b >= 2**40."""
    while b >= 1 << 40:
        a >>= 1
        b >>= 1
    whole = a // b
    if whole > 2147:
        return np.int64(2**31 - 1)
    return min(np.int64(2**31 - 1), whole * MILLION + a % b * MILLION // b)
