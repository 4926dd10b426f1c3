"""The price path that entries are drawn from: a drawn walk, or recorded klines."""

import math
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate

import numpy as np

from exchange.errors import ConfigError
from replay.draw import History
from replay.klines import Bars
from replay.population import DAY_MS, PPM, Population, Site
from replay.synthetic import quantiles, streams

BUCKETS = 200  # distinct entry prices of a walk
STEPS_PER_BUCKET = 16  # samples in a bucket: the extremes that an account must have survived
BUCKETS_MAX = 2_000  # of a recorded history: beyond it neighbouring bars share an entry price
NS_PER_MS = 1_000_000
GAP_MAX_NS = DAY_MS * NS_PER_MS  # between the last bar and the seeding moment
LEVEL_MAX = quantiles.ONE << 8  # a walk stays within this multiple of the mark


def draw_history(population: Population, record: np.void, site: Site, seed: int, place: int = 0) -> History:
    """A driftless walk backwards from the mark: what the market could have done until now.

    Ages are exponential, truncated to the path. Each of several instruments has a path by its `place`.
    """
    steps = BUCKETS * STEPS_PER_BUCKET
    sigma = population.volatility_day_ppm / PPM * math.sqrt(population.history_ms / DAY_MS / steps)
    deviates = quantiles.normal()(streams.uniforms(streams.stream(seed, streams.PATH, place), steps))
    factors = quantiles.lognormal(sigma)(deviates).tolist()
    levels = accumulate(
        factors, lambda level, factor: min(LEVEL_MAX, level * factor // quantiles.ONE), initial=quantiles.ONE
    )
    sub = np.array([max(1, site.mark_sub * level // quantiles.ONE) for level in levels], np.int64)
    at = np.arange(BUCKETS) * STEPS_PER_BUCKET
    # e^(-age / mean) falls by one factor from bucket to bucket.
    factor = int((-Decimal(population.history_ms) / population.age_mean_ms / BUCKETS).exp() * quantiles.ONE)
    weights = accumulate(range(BUCKETS - 1), lambda weight, _: weight * factor // quantiles.ONE, initial=1 << 61)
    return History(
        _ticks(sub[at], record),
        np.minimum.accumulate(sub)[at],
        np.maximum.accumulate(sub)[at],
        quantiles.edges(list(weights)),
        "drawn path",
        site.ts_ns - population.history_ms * NS_PER_MS,
        site.ts_ns,
    )


def recorded_history(bars: Bars, population: Population, record: np.void, site: Site) -> History:
    """Entries at the closes of recorded bars, as likely as their volume; a file without volume counts bars.

    An account that entered at a close lived through the lows and highs of every later bar, and through the mark now.
    Bucket 0 is the moment of seeding and is never drawn.

    Raises
    ------
    ConfigError
        When no bar has ended before seeding, or the last one long before, unless the history is rebased.
    """
    source = ", ".join(bars.names)
    if population.history_rebase:
        used = np.arange(len(bars.close_sub))
        factor = site.mark_sub / int(bars.close_sub[-1])
        source += f", moved to the seeding moment and scaled by {factor:.6g}"
    else:
        used = np.flatnonzero(bars.end_ns <= site.ts_ns)
        factor = 1.0
    if not len(used):
        raise ConfigError(
            "$.population.history",
            f"{source} starts at {moment(int(bars.start_ns[0]))}, accounts are seeded at {moment(site.ts_ns)}; "
            "expected bars that end before, or history_rebase = true (--history-rebase) to use its moves all the same",
        )
    end_ns = int(bars.end_ns[used[-1]])
    if not population.history_rebase:
        _check_gap(source, end_ns, site.ts_ns)
    top = int(record["ticks_max"]) * int(record["mark_per_tick"])
    prices = (bars.low_sub, bars.high_sub, bars.close_sub)
    low, high, close = (np.clip(np.rint(price[used] * factor), 1, top).astype(np.int64) for price in prices)
    volume = bars.volume[used]
    volume = volume if volume.any() else np.ones(len(used), np.int64)
    # Newest first, in groups; a group enters at its last close, and its own lows and highs lie before that.
    each = -(-len(used) // BUCKETS_MAX)
    newest = np.arange(len(used))[::-1]
    first = np.arange(0, len(used), each)
    now = np.array([site.mark_sub])
    later_low = np.concatenate((now, np.minimum.reduceat(low[newest], first)))[:-1]
    later_high = np.concatenate((now, np.maximum.reduceat(high[newest], first)))[:-1]
    entry = close[newest][first]
    return History(
        _ticks(np.concatenate((now, entry)), record),
        np.concatenate((now, np.minimum(entry, np.minimum.accumulate(later_low)))),
        np.concatenate((now, np.maximum(entry, np.maximum.accumulate(later_high)))),
        quantiles.edges([0, *np.add.reduceat(volume[newest], first).tolist()]),
        source,
        int(bars.start_ns[used[0]]),
        end_ns,
    )


def _check_gap(source: str, end_ns: int, seeded_ns: int) -> None:
    """Refuse a history that says nothing of the last day or more: who survived it is not known."""
    if seeded_ns - end_ns > GAP_MAX_NS:
        raise ConfigError(
            "$.population.history",
            f"the bars of {source} end at {moment(end_ns)}, accounts are seeded at {moment(seeded_ns)}; expected bars "
            "until a day before or later, or history_rebase = true (--history-rebase) to use their moves all the same",
        )


def _ticks(sub: np.ndarray, record: np.void) -> np.ndarray:
    per_tick = int(record["mark_per_tick"])
    return np.clip((sub + per_tick // 2) // per_tick, int(record["ticks_min"]), int(record["ticks_max"]))


def moment(ts_ns: int) -> str:
    """UTC time to the minute."""
    return datetime.fromtimestamp(ts_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M")
