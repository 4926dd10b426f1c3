"""What a few draws say of a mean, a tail and their differences: point and bootstrap interval, in whole numbers.

Every resample is drawn from one keyed stream, so equal draws make equal intervals, and arms that are compared are
resampled together: a draw that is left out of one is left out of all.
"""

import msgspec
import numpy as np

from replay.population import PPM
from replay.synthetic import streams

RESAMPLES = 2_000
CONFIDENCE_PPM = 950_000  # of the intervals, between quantiles of the resamples
EVEN_BITS = 32  # of a random number, for the choice of a draw


class Estimate(msgspec.Struct, frozen=True):
    """A figure of the draws, and between which values it lies in the middle of the resamples."""

    value: int
    low: int
    high: int


def resamples(seed: int, draws: int) -> np.ndarray:
    """Places of draws with replacement, array (RESAMPLES, draws)."""
    bits = streams.uniforms(streams.stream(seed, streams.RESAMPLE), RESAMPLES * draws)
    chosen: np.ndarray = ((bits & (1 << EVEN_BITS) - 1) * draws >> EVEN_BITS).reshape(RESAMPLES, draws)
    return chosen


def tail_mean(values: np.ndarray, level_ppm: int) -> np.ndarray:
    """Expected shortfall along the last axis: the mean of the worst (highest) 1 - level of the values.

    Of the value at the edge counts the share that is needed to make 1 - level of them. Where that is less than one
    value it is the worst alone. At level 0 it is the mean.
    """
    ranked = -np.sort(-values, axis=-1)
    mass = ranked.shape[-1] * (PPM - level_ppm)
    whole, part = divmod(mass, PPM)
    if whole == 0:
        worst: np.ndarray = ranked[..., 0]
        return worst
    total = ranked[..., :whole].sum(axis=-1) * float(PPM)
    if part:
        total = total + ranked[..., whole] * float(part)
    return np.rint(total / mass).astype(np.int64)


def estimate(values: np.ndarray, chosen: np.ndarray, level_ppm: int) -> Estimate:
    """Tail mean of the values, and its interval."""
    return _between(tail_mean(values, level_ppm), tail_mean(values[chosen], level_ppm))


def estimate_difference(values: np.ndarray, first: np.ndarray, chosen: np.ndarray, level_ppm: int) -> Estimate:
    """By how much the tail mean of paired values is above that of the first, and the interval of that."""
    again = tail_mean(values[chosen], level_ppm) - tail_mean(first[chosen], level_ppm)
    return _between(tail_mean(values, level_ppm) - tail_mean(first, level_ppm), again)


def _between(value: np.ndarray, again: np.ndarray) -> Estimate:
    """The order statistics that leave out equal shares of the resamples at both ends."""
    ranked, outside = np.sort(again), len(again) * (PPM - CONFIDENCE_PPM) // (2 * PPM)
    return Estimate(int(value), int(ranked[outside]), int(ranked[-1 - outside]))


class Pool(msgspec.Struct, frozen=True):
    """Values of all draws together, each with a weight, in rising order; `draw` is the place of the draw it is from."""

    value: np.ndarray
    weight: np.ndarray
    draw: np.ndarray

    @classmethod
    def of(cls, values: list[np.ndarray], weights: list[np.ndarray]) -> "Pool":
        """One pool of a pair of arrays a draw."""
        value, weight = np.concatenate(values), np.concatenate(weights)
        draw = np.repeat(np.arange(len(values)), [len(one) for one in values])
        order = np.argsort(value, kind="stable")
        return cls(value[order], weight[order], draw[order])

    def quantiles(self, levels_ppm: tuple[int, ...], chosen: np.ndarray) -> list[Estimate]:
        """The least value up to which lies at least each share of the weight; intervals by resampled draws.

        A resample whose draws have no value at all is passed over.
        """
        made = self._at(self.weight, levels_ppm)
        again = []
        for draws in chosen:
            weight = self.weight * np.bincount(draws, minlength=chosen.shape[1])[self.draw]
            if weight.any():
                again.append(self._at(weight, levels_ppm))
        return [_between(one, row) for one, row in zip(made, np.stack(again, axis=1), strict=True)]

    def _at(self, weight: np.ndarray, levels_ppm: tuple[int, ...]) -> np.ndarray:
        upto = np.cumsum(weight)
        total = int(upto[-1])
        wanted = [-(-total * level // PPM) for level in levels_ppm]  # Python's own numbers: no product overflows
        return self.value[np.searchsorted(upto, np.maximum(1, np.array(wanted, dtype=np.int64)))]
