"""Products beyond 64 bits, divided exactly. DESIGN §1."""

import numpy as np

from exchange.core.kernel import high_bit, kernel, leaf

PRODUCT_BITS = 61


@kernel
def wide_div(a, b, c):
    """(a * b // c, a * b % c) for a, b >= 0 and 0 < c < 2**62, where the quotient stays below 2**62."""
    quotient, rest = a // c * b, a % c
    if rest == 0 or b == 0:
        return quotient, np.int64(0)
    at = high_bit(np.uint64(b))
    if high_bit(np.uint64(rest)) + at < PRODUCT_BITS:
        return quotient + rest * b // c, rest * b % c
    part, left = np.int64(0), np.int64(0)
    while at >= 0:  # the bits of b, the highest first
        part, left = 2 * part, 2 * left
        if left >= c:
            part, left = part + 1, left - c
        if (b >> at) & 1:
            left += rest
            if left >= c:
                part, left = part + 1, left - c
        at -= 1
    return quotient + part, left


@leaf
def toward_zero(value, step):
    """The multiple of `step` > 0 next to a value on the side of zero."""
    return value // step * step if value >= 0 else -(-value // step * step)
