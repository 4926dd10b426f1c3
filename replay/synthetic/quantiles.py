"""Inverse distribution functions as tables, so that a seed draws the same bytes on every machine.

`exp` and `log` of C libraries and vector units differ in the last bit; `decimal` rounds correctly everywhere. Each
table is computed with it once, at a fixed number of knots, and is interpolated with nothing but + - * / and rounding,
which IEEE 754 fixes too.
"""

from decimal import Decimal, localcontext
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

ONE = 1 << 30  # of a table's values: a ratio, or a standard deviation, of 1
UNIFORM = 1 << 62  # uniform draws are whole numbers below this
VALUE_MAX = 1 << 52
DIGITS = 50
REACH, STEPS = 7, 32  # knots of the normal distribution: from -7 to 7, 32 to a standard deviation
TAIL_KNOTS = 256


class Knots(NamedTuple):
    """A non-decreasing function through the points (`at`, `value`), straight between them, constant outside."""

    at: np.ndarray
    value: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Value at each `x`."""
        k = np.clip(np.searchsorted(self.at, x, side="right") - 1, 0, len(self.at) - 2)
        share = (np.clip(x, self.at[0], self.at[-1]) - self.at[k]) / np.maximum(1, self.at[k + 1] - self.at[k])
        return self.value[k] + np.rint(share * (self.value[k + 1] - self.value[k])).astype(np.int64)


def _knots(points: list[tuple[Decimal, Decimal]], at_one: int, value_one: int = ONE) -> Knots:
    at = [int(at * at_one) for at, _ in points]
    value = [min(VALUE_MAX, int(value * value_one)) for _, value in points]
    return Knots(np.array(at, np.int64), np.array(value, np.int64))


def _density(z: Decimal) -> Decimal:
    return (-z * z / 2).exp() / (2 * _pi()).sqrt()


@lru_cache
def _pi() -> Decimal:
    """Machin's formula."""

    def arctan_of_inverse(n: int) -> Decimal:
        terms = (Decimal((-1) ** k) / ((2 * k + 1) * Decimal(n) ** (2 * k + 1)) for k in range(40))
        return sum(terms, Decimal(0))

    return 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))


def _normal_share(z: Decimal) -> Decimal:
    """Share of a standard normal below `z`: one half plus density times z + z³/3 + z⁵/(3·5) + …"""
    term = total = abs(z)
    n = 1
    while term > total.scaleb(-DIGITS):
        n += 2
        term = term * z * z / n
        total += term
    half = Decimal(1) / 2
    return half + _density(z) * (total if z > 0 else -total)


@lru_cache
def _normal_points() -> tuple[tuple[Decimal, Decimal], ...]:
    with localcontext(prec=DIGITS):
        steps = range(-REACH * STEPS, REACH * STEPS + 1)
        return tuple((_normal_share(Decimal(k) / STEPS), Decimal(k) / STEPS) for k in steps)


@lru_cache
def normal() -> Knots:
    """Standard normal: from a uniform to standard deviations, in units of `ONE`."""
    return _knots(list(_normal_points()), UNIFORM)


@lru_cache
def lognormal(sigma: float) -> Knots:
    """From standard deviations, in units of `ONE`, to the ratio exp(sigma z), in units of `ONE` too."""
    with localcontext(prec=DIGITS):
        return _knots([(z, (Decimal(sigma) * z).exp()) for _, z in _normal_points()], ONE)


def splice(sigma: float, alpha: float) -> Decimal:
    """Where the Pareto tail takes over from the lognormal body, in medians of the body: exp(alpha sigma²).

    The only place at which density and slope of the two agree (Scollnik 2007, "On composite lognormal-Pareto models").
    """
    with localcontext(prec=DIGITS):
        return (Decimal(alpha) * Decimal(sigma) ** 2).exp()


@lru_cache
def lognormal_pareto(sigma: float, alpha: float, truncation: int) -> Knots:
    """Lognormal body, Pareto tail truncated at `truncation` medians: from a uniform to medians, in units of `ONE`."""
    with localcontext(prec=DIGITS):
        edge = Decimal(alpha) * Decimal(sigma)  # the splice, in standard deviations
        below = _normal_share(edge)
        body = edge / (edge + _density(edge) / below)  # share of the accounts: what makes the density continuous
        start, power = splice(sigma, alpha), Decimal(alpha)
        reach = (Decimal(truncation) / start).ln()
        points = [(body * share / below, (Decimal(sigma) * z).exp()) for share, z in _normal_points() if z < edge]
        for k in range(TAIL_KNOTS + 1):
            ratio = reach * k / TAIL_KNOTS  # logarithm of the multiple of `start`
            beyond = ((-power * ratio).exp() - (-power * reach).exp()) / (1 - (-power * reach).exp())
            points.append((1 - (1 - body) * beyond, start * ratio.exp()))
        return _knots(points, UNIFORM)


def share_of_largest(knots: Knots, part: float) -> float:
    """Share of the total that the largest `part` of a distribution holds; for checks against published shares."""
    cut = int((1 - part) * UNIFORM)
    at = sorted({*knots.at.tolist(), cut})
    value = knots(np.array(at, np.int64)).tolist()
    mass = [(b - a) * (x + y) for (a, b), (x, y) in zip(pairwise(at), pairwise(value), strict=True)]
    return sum(m for m, a in zip(mass, at, strict=False) if a >= cut) / sum(mass)


def edges(weights: list[int]) -> np.ndarray:
    """Upper edges, among the uniforms, of the stretches that belong to each weight; `choose` finds them again."""
    total = sum(weights)
    return np.array([UNIFORM * upto // total for upto in accumulate(weights)], np.int64)


def choose(upper: np.ndarray, uniforms: np.ndarray) -> np.ndarray:
    """Which weight of `edges` each uniform falls to; a weight of zero is never chosen."""
    return np.searchsorted(upper, uniforms, side="right")
