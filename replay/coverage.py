"""Tests of a margin's coverage: are there as many failures as it promises, and do they come in clusters?

Kupiec (1995): the likelihood ratio of the promised failure rate against the one observed. Christoffersen (1998): that
of failures independent of the window before against a rate that depends on it. Under what is tested both follow
chi-square.
"""

import math

import msgspec
import numpy as np


class CoverageTest(msgspec.Struct, frozen=True):
    """`lr` is the likelihood ratio, `p_value` how likely one as large is if the margin keeps its promise."""

    lr: float
    p_value: float


def kupiec(failures: int, windows: int, promised: float) -> CoverageTest:
    """Proportion of failures: `promised` is the share of windows that may fail, between 0 and 1."""
    observed = failures / windows
    lr = 2 * (_likelihood(failures, windows, observed) - _likelihood(failures, windows, promised))
    return CoverageTest(max(0.0, lr), chi_square_1(lr))


def christoffersen(failed: np.ndarray) -> CoverageTest:
    """Independence: one window fails as often after a failure as after none. `failed` in order of time."""
    after, before = failed[1:], failed[:-1]
    clustered = 0.0
    for state in (False, True):
        own = after[before == state]
        if len(own):
            clustered += _likelihood(int(own.sum()), len(own), float(own.mean()))
    pooled = _likelihood(int(after.sum()), len(after), float(after.mean())) if len(after) else 0.0
    lr = max(0.0, 2 * (clustered - pooled))
    return CoverageTest(lr, chi_square_1(lr))


def conditional(first: CoverageTest, second: CoverageTest) -> CoverageTest:
    """Both at once: the sum of the ratios, chi-square with two degrees of freedom."""
    lr = first.lr + second.lr
    return CoverageTest(lr, math.exp(-lr / 2))


def chi_square_1(value: float) -> float:
    """The chance that a chi-square of one degree of freedom is above a value."""
    return math.erfc(math.sqrt(max(0.0, value) / 2))


def _likelihood(hits: int, trials: int, chance: float) -> float:
    """Log-likelihood of so many hits, where 0 times the logarithm of 0 is 0."""
    return sum(count * math.log(p) for count, p in ((hits, chance), (trials - hits, 1 - chance)) if count)
