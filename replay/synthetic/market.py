"""Simple seeded markets: a ladder, prints, index and funding of each instrument, as a tape would hold them."""

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated

import msgspec
import numpy as np

from exchange import codes, schema, units
from exchange.config import Venue
from exchange.errors import ConfigError
from replay.synthetic import streams

PPM = 1_000_000
NS_PER_MS = 1_000_000
DAY_MS = 86_400_000
INDEX_EVERY_MS = 1_000
REGIME_MS = 60_000  # how long a volatility regime lasts at least

Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
Ppm = Annotated[int, msgspec.Meta(ge=0, le=PPM)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Draw = Callable[[int], np.random.Generator]  # of a purpose, for one market


class Market(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of several markets that share a factor, and the regimes of volatility.

    `correlation` is the factor's share of the variance: two markets of one share correlate by it.
    """

    symbol: str
    price: str
    spacing: str
    level_size: str
    volatility_day_ppm: Ppm = 30_000
    correlation: Share = 0.5
    stress_correlation: Share = 0.95


class Synthetic(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A market around `price`: `levels` prices a side, `spacing` apart, about `level_size` units at each.

    It is the venue's first instrument; with `markets` there is one for each of these, with its own price, spacing,
    level size and volatility, and all else the same.
    """

    duration_ms: Milliseconds = 600_000
    step_ms: Milliseconds = 100  # one book message each
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None  # None: the run's
    price: str = "28000"
    spacing: str = "5"
    levels: Annotated[int, msgspec.Meta(ge=2, le=10_000)] = 400
    level_size: str = "5"
    size_sigma: Annotated[float, msgspec.Meta(ge=0, le=3)] = 0.5
    volatility_day_ppm: Annotated[int, msgspec.Meta(ge=0, le=PPM)] = 30_000
    stress_ratio: Annotated[float, msgspec.Meta(ge=1, le=100)] = 3.0  # volatility of the second regime over the first
    stress_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    refresh: Annotated[int, msgspec.Meta(ge=1, le=100)] = 4  # levels that change size in each message
    prints_a_second: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 5.0
    basis_ppm: Ppm = 50  # noise between the mid and the index
    funding_ppb: Annotated[int, msgspec.Meta(ge=-(10**9), le=10**9)] = 100_000
    funding_every_ms: Milliseconds = 28_800_000
    start_ms: Annotated[int, msgspec.Meta(ge=0, le=10**13)] = 1_700_006_400_000  # on a whole funding interval
    markets: tuple[Market, ...] = ()


class _Ladder(msgspec.Struct, frozen=True):
    """Best bid at each step, as a count of `spacing`; step 0 is the snapshot."""

    best: np.ndarray
    spacing: int  # ticks
    levels: int
    lots: int


def generate(synthetic: Synthetic, venue: Venue) -> np.ndarray:
    """Return the events of all markets in time order, `seq` consecutive from 0.

    Raises
    ------
    ConfigError
        When a ladder would leave 1..price_max, a size is below one lot, or a market is not the venue's.
    """
    symbols = [instrument.symbol for instrument in venue.instruments]
    alone = Market(
        symbol=symbols[0],
        price=synthetic.price,
        spacing=synthetic.spacing,
        level_size=synthetic.level_size,
        volatility_day_ppm=synthetic.volatility_day_ppm,
        correlation=0.0,
        stress_correlation=0.0,
    )
    markets = synthetic.markets or (alone,)
    blocks = []
    for k, market in enumerate(markets):
        where = f"$.feed.synthetic.markets[{k}]" if synthetic.markets else "$.feed.synthetic"
        if market.symbol not in symbols or market.symbol in [other.symbol for other in markets[:k]]:
            raise ConfigError(f"{where}.symbol", f"{market.symbol!r}; expected each once of {', '.join(symbols)}")
        blocks.append(_generate(synthetic, market, venue, symbols.index(market.symbol), k, where))
    events = np.concatenate(blocks)
    # Stable: the rows of one message stay together, and books come before prints before indices at one moment.
    events = events[np.argsort(events["ts_ns"], kind="stable")]
    events["exchange_ns"] = events["ts_ns"]
    events["seq"] = np.arange(len(events))
    return events


def _generate(
    synthetic: Synthetic, market: Market, venue: Venue, instrument: int, place: int, where: str
) -> np.ndarray:
    """The events of one market, kind after kind."""
    rules = venue.instruments[instrument]
    tick = Decimal(rules.tick)
    steps = synthetic.duration_ms // synthetic.step_ms
    price, spacing = _count(f"{where}.price", market.price, tick), _count(f"{where}.spacing", market.spacing, tick)
    lots = _count(f"{where}.level_size", market.level_size, Decimal(rules.lot))

    def draw(purpose: int) -> np.random.Generator:
        return streams.stream(synthetic.seed or 0, purpose, place)

    mid = _walk(synthetic, market, price, draw, steps)
    # A message can re-quote at most the whole ladder; a faster walk is held back to that.
    best = mid // spacing
    moved = np.clip(np.diff(best), -synthetic.levels, synthetic.levels)
    best = best[0] + np.concatenate(([0], np.cumsum(moved)))
    ladder = _Ladder(best, spacing, synthetic.levels, lots)
    low, high = (int(best.min()) - synthetic.levels) * spacing, (int(best.max()) + synthetic.levels + 1) * spacing
    if low < 1 or high > units.floor_count(Decimal(rules.price_max), tick):
        raise ConfigError(
            "$.feed.synthetic.levels",
            f"the ladder of {market.symbol} reaches from tick {low} to {high}, outside 1..price_max; "
            "lower levels, spacing or the volatility",
        )
    blocks = [
        _snapshot(synthetic, ladder, draw),
        _book(synthetic, ladder, draw),
        _prints(synthetic, ladder, draw),
        _index(synthetic, mid, rules.mark_per_tick, draw),
        _funding(synthetic),
    ]
    events = np.concatenate(blocks)
    events["instrument"] = instrument
    return events


def _count(where: str, text: str, step: Decimal) -> int:
    try:
        count = units.whole(units.decimal(text), step)
    except ValueError as error:
        raise ConfigError(where, str(error)) from None
    if count < 1:
        raise ConfigError(where, f"expected a positive number, got {text}")
    return count


def _rows(kind: int, ts_ms: np.ndarray) -> np.ndarray:
    events = np.zeros(len(ts_ms), schema.EVENT)
    events["kind"], events["ts_ns"] = kind, np.asarray(ts_ms, np.int64) * NS_PER_MS
    return events


def _walk(synthetic: Synthetic, market: Market, price: int, draw: Draw, steps: int) -> np.ndarray:
    """Mid in ticks at each step; the regime is drawn once a minute, for all markets."""
    sigma = market.volatility_day_ppm / PPM * (synthetic.step_ms / DAY_MS) ** 0.5
    seed, minutes = synthetic.seed or 0, np.arange(steps) * synthetic.step_ms // REGIME_MS
    stressed = (
        streams.stream(seed, streams.REGIME).random(int(minutes[-1]) + 1 if steps else 1) < synthetic.stress_share
    )
    factor = np.where(stressed[minutes], synthetic.stress_ratio, 1.0)
    shared = np.where(stressed[minutes], market.stress_correlation, market.correlation)
    own, common = draw(streams.MID), streams.stream(seed, streams.FACTOR)
    moves = np.sqrt(1 - shared) * own.standard_normal(steps) + np.sqrt(shared) * common.standard_normal(steps)
    walk = np.cumsum(sigma * factor * moves)
    return np.rint(price * np.exp(np.concatenate(([0.0], walk)))).astype(np.int64)


def _sizes(synthetic: Synthetic, lots: int, generator: np.random.Generator, count: int) -> np.ndarray:
    drawn = np.rint(lots * np.exp(synthetic.size_sigma * generator.standard_normal(count)))
    return np.clip(drawn, 1, 2**31 - 1).astype(np.int64)


def _snapshot(synthetic: Synthetic, ladder: _Ladder, draw: Draw) -> np.ndarray:
    rank = np.arange(ladder.levels)
    events = _rows(codes.LEVEL_SET, np.full(2 * ladder.levels, synthetic.start_ms))
    events["price"][: ladder.levels] = (ladder.best[0] - rank) * ladder.spacing
    events["price"][ladder.levels :] = (ladder.best[0] + 1 + rank) * ladder.spacing
    events["side"][ladder.levels :] = codes.ASK
    events["qty"] = _sizes(synthetic, ladder.lots, draw(streams.LEVEL_LOTS), 2 * ladder.levels)
    events["flags"][-1] = codes.LAST
    return events


def _book(synthetic: Synthetic, ladder: _Ladder, draw: Draw) -> np.ndarray:
    """One message a step: levels left behind are removed, then levels reached are set, then some sizes change."""
    moved = np.diff(ladder.best)
    steps = len(moved)
    count = np.abs(moved)
    step = np.repeat(np.arange(steps), count)
    nth = np.arange(len(step)) - np.repeat(np.cumsum(count) - count, count)
    up, before = moved[step] > 0, ladder.best[step]
    # Up by one: the lowest ask goes, a bid appears in its place; at the far ends a bid goes and an ask appears.
    far = ladder.levels
    removed_ask, removed_bid = (
        np.where(up, before + 1 + nth, before + far - nth),
        np.where(up, before - far + 1 + nth, before - nth),
    )
    set_bid, set_ask = (
        np.where(up, before + 1 + nth, before - far - nth),
        np.where(up, before + far + 1 + nth, before - nth),
    )
    generator = draw(streams.REFRESH)
    again = np.repeat(np.arange(steps), synthetic.refresh)
    rank = (generator.random(len(again)) ** 2 * far).astype(np.int64)  # more often near the touch
    asks = generator.random(len(again)) < 0.5
    refreshed = np.where(asks, ladder.best[again + 1] + 1 + rank, ladder.best[again + 1] - rank)
    grid = np.concatenate((removed_ask, removed_bid, set_bid, set_ask, refreshed))
    sides = np.concatenate((np.ones_like(step), np.zeros_like(step), np.zeros_like(step), np.ones_like(step), asks))
    steps_of = np.concatenate((step, step, step, step, again))
    phase = np.repeat([0, 0, 1, 1, 2], [len(step)] * 4 + [len(again)])
    order = np.lexsort((np.arange(len(grid)), phase, steps_of))
    events = _rows(codes.LEVEL_SET, synthetic.start_ms + (steps_of + 1) * synthetic.step_ms)
    events["price"], events["side"] = grid * ladder.spacing, sides
    events["qty"] = np.where(phase == 0, 0, _sizes(synthetic, ladder.lots, generator, len(grid)))
    events = events[order]
    events["flags"][np.flatnonzero(np.diff(events["ts_ns"], append=-1))] = codes.LAST
    return events


def _prints(synthetic: Synthetic, ladder: _Ladder, draw: Draw) -> np.ndarray:
    """Trades at the touch, after the book message of their step."""
    steps = len(ladder.best) - 1
    generator = draw(streams.PRINTS)
    step = np.repeat(np.arange(steps), generator.poisson(synthetic.prints_a_second * synthetic.step_ms / 1000, steps))
    bought = generator.random(len(step)) < 0.5
    events = _rows(codes.TRADE_PRINT, synthetic.start_ms + (step + 1) * synthetic.step_ms)
    events["price"] = (ladder.best[step + 1] + bought) * ladder.spacing
    events["side"] = np.where(bought, codes.BID, codes.ASK)
    events["qty"] = np.maximum(1, _sizes(synthetic, ladder.lots, generator, len(step)) // 10)
    return events


def _index(synthetic: Synthetic, mid: np.ndarray, per_tick: int, draw: Draw) -> np.ndarray:
    at = np.arange(0, len(mid), max(1, INDEX_EVERY_MS // synthetic.step_ms))
    noise = draw(streams.BASIS).standard_normal(len(at)) * synthetic.basis_ppm / PPM
    events = _rows(codes.INDEX, synthetic.start_ms + at * synthetic.step_ms)
    events["price"] = np.maximum(1, np.rint(mid[at] * per_tick * (1 + noise)))
    return events


def _funding(synthetic: Synthetic) -> np.ndarray:
    """The rate at the start and after each settlement; settlements on whole intervals."""
    every, start = synthetic.funding_every_ms, synthetic.start_ms
    times = np.arange((start // every + 1) * every, start + synthetic.duration_ms + 1, every)
    rates = _rows(codes.FUNDING_RATE, np.concatenate(([start], times)))
    rates["qty"] = np.concatenate((times, [(times[-1] if len(times) else start) // every * every + every])) * NS_PER_MS
    settlements = _rows(codes.FUNDING_SETTLE, times)
    events = np.concatenate((settlements, rates))
    events["price"] = synthetic.funding_ppb
    return events
