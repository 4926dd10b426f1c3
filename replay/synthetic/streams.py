"""Random streams: one counter-based Philox generator for each (seed, purpose), so that no draw shifts another."""

import numpy as np

# Each purpose has its own stream. Numbers are part of the result of a seed: never renumber, only add.
PATH, SIDE, SIZE, LEVERAGE, MARGIN_MODE, ENTRY, SHUFFLE, LEG_RANK, LEG_COUNT, LEG_SIDE, TIES, RESAMPLE = range(1, 13)
MID, REGIME, LEVEL_LOTS, REFRESH, PRINTS, BASIS, FACTOR = range(32, 39)


def stream(seed: int, purpose: int, place: int = 0) -> np.random.Generator:
    """Return the generator of `purpose` under `seed`; each of several instruments has one by its `place`."""
    key = np.array([seed, purpose + (place << 32)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def uniforms(generator: np.random.Generator, count: int) -> np.ndarray:
    """Whole numbers in 0..2**62 - 1, straight from the generator's bits: what tables of quantiles are asked with."""
    return (generator.bit_generator.random_raw(count) >> np.uint64(2)).astype(np.int64)
