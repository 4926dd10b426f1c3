"""Draws a population of leveraged accounts, conditional on having survived until the moment of seeding.

Both sides are drawn. What their totals differ by is held by hedger accounts, at most `hedger_share_max` of the open
interest; the smaller side is scaled up where it would be more. Each account opened somewhere on one shared price path
(`replay/entries.py`), at a moment from which its margin would not have been breached since.

Published statistics behind the defaults:

- Sizes: 19,337 accounts deleveraged on Hyperliquid on 10 October 2025 (reconstruction by HyperMultiAssetedADL):
  standard deviation of log size 2.71 (2.88 of account values), Hill exponents 0.75 to 0.87, top 1 % with 84.2 %. A
  tail this heavy has no mean, so it is cut; `size_truncation` is where the top 1 % of ours holds that share.
- Leverage: BitMEX, 15 May 2019: by position 22x long and 30x short; 80th percentiles of twelve months 54x and 47x, of
  at most 100x. Longs have the higher percentile and the lower weighted mean, so their large accounts use less:
  `size_correlation`. One sigma for both sides is an assumption; the medians follow from it and the percentiles.

`replay/seeding.py` turns what is drawn here into events.
"""

import math
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

import msgspec
import numpy as np

from exchange import codes, units
from exchange.config import Venue
from exchange.errors import ConfigError
from replay.synthetic import quantiles, streams

ENTRY_TRIES = 100  # then the account opens now
PPM = 1_000_000
DAY_MS = 86_400_000

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Multiple = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=10**11)]


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Leverage(_Struct):
    """Leverage at entry: lognormal, whole multiples up to `max`; or `ladder` with `weights`. Tiers cap it by notional.

    `size_correlation` is that of the normal deviates behind leverage and size: negative where large accounts use less.
    """

    median: Annotated[float, msgspec.Meta(ge=1, le=1000)] = 20.3
    sigma: Annotated[float, msgspec.Meta(ge=0, le=4)] = 1.0
    max: Multiple = 100
    size_correlation: Annotated[float, msgspec.Meta(ge=-1, le=1)] = 0.0
    ladder: tuple[Multiple, ...] = ()
    weights: tuple[Positive, ...] = ()


class Population(_Struct):
    """Who trades. Open interest is `open_interest` units, or `open_interest_depth` times the 1 % depth.

    With `accounts_from` accounts and positions are read instead of drawn (`replay/accounts.py`); only `fund` and the
    hedger fields then matter. With `history` entries come from kline files instead of a drawn path.
    """

    accounts: Annotated[int, msgspec.Meta(ge=2, le=2_000_000)] = 10_000
    accounts_from: str = ""
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None  # None: the run's
    open_interest_depth: Positive = 10.0
    open_interest: str = ""
    long_share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.55
    isolated_share: Share = 0.3
    size_sigma: Annotated[float, msgspec.Meta(ge=0.1, le=5)] = 2.8
    size_alpha: Annotated[float, msgspec.Meta(ge=0.1, le=5)] = 0.8
    size_truncation: Annotated[int, msgspec.Meta(ge=2, le=2_000_000)] = 630_000  # largest size, in medians
    leverage_long: Leverage = Leverage(median=23.3, size_correlation=-0.16)
    leverage_short: Leverage = Leverage()
    hedger_share_max: Annotated[float, msgspec.Meta(ge=0, le=0.1)] = 0.1
    hedgers: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10
    hedger_leverage: Multiple = 3
    fund: str = "1000000"  # insurance fund, in units of the settlement asset
    history: tuple[str, ...] = ()  # kline files, in time order
    history_rebase: bool = False  # move the history in time and scale it, to end at the seeding moment and its mark
    history_ms: Milliseconds = 3 * DAY_MS  # of the drawn path, like the two below
    age_mean_ms: Milliseconds = DAY_MS
    volatility_day_ppm: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 30_000


class Site(msgspec.Struct, frozen=True):
    """Where and when the population is seeded: one instrument, its mark, its depth and the first free account."""

    instrument: int
    ts_ns: int
    mark_sub: int
    depth_lots: int  # the 1 % depth: lots within 1 % of mid, mean of both sides
    first_account: int = codes.FIRST_USER


class History(msgspec.Struct, frozen=True):
    """By entry bucket, 0 = latest: entry price, the lowest and highest mark from then until now, and how likely it is.

    `upper` are the edges of `quantiles.edges`. `source` is a line for tables, the stamps are those of the path itself.
    """

    ticks: np.ndarray
    low_sub: np.ndarray
    high_sub: np.ndarray
    upper: np.ndarray
    source: str
    from_ns: int
    to_ns: int


class Drawn(msgspec.Struct):
    """One row an account (traders, then hedgers); `wished_e2` is its leverage before the tiers capped it."""

    lots: np.ndarray  # signed
    leverage_e2: np.ndarray
    isolated: np.ndarray
    bucket: np.ndarray
    wished_e2: np.ndarray
    draws: int = 0
    rejected: int = 0  # of them: would not have survived
    opened_now: int = 0


def accounts_needed(population: Population) -> int:
    """Account slots that seeding can use: traders, hedgers, predecessors."""
    return population.accounts + population.hedgers + 64


def check_population(population: Population) -> None:
    """Relations that the field bounds cannot say."""
    for side in ("leverage_long", "leverage_short"):
        leverage = getattr(population, side)
        if len(leverage.ladder) != len(leverage.weights):
            raise ConfigError(
                f"$.population.{side}.weights",
                f"expected one weight for each of the {len(leverage.ladder)} ladder rungs, got {len(leverage.weights)}",
            )
    start = quantiles.splice(population.size_sigma, population.size_alpha)
    if population.size_truncation <= start:
        raise ConfigError(
            "$.population.size_truncation",
            f"{population.size_truncation} medians; expected more than {start:.0f}, where the Pareto tail starts",
        )
    if population.history and population.accounts_from:
        raise ConfigError("$.population.history", "accounts_from has entry prices of its own; expected one of the two")
    if population.history_rebase and not population.history:
        raise ConfigError("$.population.history_rebase", "there is no history; name kline files in population.history")
    for field in ("fund", "open_interest"):
        text = getattr(population, field)
        try:
            if text and units.decimal(text) < 0:
                raise ValueError(f"{text} is negative")
        except ValueError as error:
            raise ConfigError(f"$.population.{field}", f'{error}; expected decimal text such as "1000000"') from None


def target_lots(population: Population, venue: Venue, record: np.void, site: Site) -> int:
    """Open interest to seed, in lots."""
    if population.open_interest:
        step = Decimal(venue.instruments[site.instrument].lot)
        target = units.floor_count(Decimal(population.open_interest), step)
    else:
        target = int(site.depth_lots * population.open_interest_depth)
    if target < population.accounts:
        raise ConfigError(
            "$.population.open_interest",
            f"{target} lots are fewer than the {population.accounts} accounts; raise "
            "open_interest or open_interest_depth, or lower accounts",
        )
    if 2 * target > int(record["open_interest_max_lots"]):
        raise ConfigError(
            "$.population.open_interest",
            f"{target} lots; seeding needs twice that below open_interest_max "
            f"({int(record['open_interest_max_lots'])} lots)",
        )
    return target


def _size_uniforms(population: Population, seed: int) -> np.ndarray:
    return streams.uniforms(streams.stream(seed, streams.SIZE), population.accounts)


def draw_lots(population: Population, record: np.void, target: int, seed: int) -> tuple[np.ndarray, float]:
    """Signed lots of each account; longs and shorts in a drawn order. Also the factor on the smaller side."""
    count = population.accounts
    longs = min(count - 1, max(1, round(count * population.long_share)))
    sizes = quantiles.lognormal_pareto(population.size_sigma, population.size_alpha, population.size_truncation)
    weights = sizes(_size_uniforms(population, seed))
    is_long = np.arange(count) < longs
    is_long = is_long[streams.stream(seed, streams.SIDE).permutation(count)]
    cap = int(record["position_max_lots"])
    raw = [int(weights[is_long].sum()), int(weights[~is_long].sum())]
    goals = [target * raw[side] // max(raw) for side in range(2)]
    smallest = target - int(target * population.hedger_share_max)
    scaled_up = max(1.0, smallest / max(1, min(goals)))
    lots = np.zeros(count, np.int64)
    for goal, chosen in zip(goals, (is_long, ~is_long), strict=True):
        goal = max(goal, smallest, int(chosen.sum()))
        if cap * int(chosen.sum()) < goal:
            raise ConfigError(
                "$.population.open_interest",
                f"{int(chosen.sum())} accounts of at most {cap} lots (position_max) cannot hold {goal}; "
                "raise accounts, or lower the open interest",
            )
        lots[chosen] = _apportion(weights[chosen], goal, cap)
    return np.where(is_long, lots, -lots), scaled_up


def _apportion(weights: np.ndarray, total: int, cap: int) -> np.ndarray:
    """Whole lots in proportion to `weights`, each in 1..cap, that add up to `total`: the divisor method.

    The smallest weight a lot that hands out no more than `total` is found by halving; what is then left goes to the
    largest remainders that have room, index breaks ties.
    """
    low, high = 0, int(weights.max()) + 1  # at `high` everyone has one lot
    while high - low > 1:
        middle = (low + high) // 2
        fits = int(np.clip(weights // middle, 1, cap).sum()) <= total
        low, high = (low, middle) if fits else (middle, high)
    lots = np.clip(weights // high, 1, cap)
    while rest := total - int(lots.sum()):
        room = np.flatnonzero(lots < cap)
        chosen = room[np.argsort(-(weights % high)[room], kind="stable")][:rest]
        lots[chosen] += np.minimum(cap - lots[chosen], max(1, rest // len(room)))
    return lots


def maintenance(tiers: np.ndarray, notional: np.ndarray) -> np.ndarray:
    """Maintenance margin of each notional, the venue's own formula."""
    tier = tiers[np.searchsorted(tiers["floor"], notional, side="right") - 1]
    rate = tier["maintenance_ppm"]
    return notional // PPM * rate - (-(notional % PPM * rate) // PPM) - tier["cum"]


def _draw_leverage(population: Population, seed: int, lots: np.ndarray) -> np.ndarray:
    normal = quantiles.normal()
    by_size = normal(_size_uniforms(population, seed))
    own = normal(streams.uniforms(streams.stream(seed, streams.LEVERAGE), len(lots)))
    drawn = np.zeros(len(lots), np.int64)
    for leverage, chosen in ((population.leverage_long, lots > 0), (population.leverage_short, lots < 0)):
        tied = leverage.size_correlation
        deviate = np.rint(tied * by_size[chosen] + math.sqrt(1 - tied * tied) * own[chosen]).astype(np.int64)
        if leverage.ladder:
            whole = math.lcm(*(Fraction(weight).denominator for weight in leverage.weights))
            upper = quantiles.edges([int(Fraction(weight) * whole) for weight in leverage.weights])
            rung = quantiles.choose(upper, quantiles.Knots(normal.value, normal.at)(deviate))
            drawn[chosen] = np.array(leverage.ladder)[np.minimum(rung, len(upper) - 1)]
        else:
            ratio = quantiles.lognormal(leverage.sigma)(deviate) / quantiles.ONE
            drawn[chosen] = np.rint(np.minimum(leverage.max, leverage.median * ratio))
    return np.maximum(1, drawn)


def _leverage_cap(tiers: np.ndarray, notional: np.ndarray) -> np.ndarray:
    return tiers["leverage_max_e2"][np.searchsorted(tiers["floor"], notional, side="right") - 1] // 100


def _extremes(history: History, per_tick: int) -> tuple[int, int]:
    """Lowest and highest entry price in sub-ticks."""
    return int(history.ticks.min()) * per_tick, int(history.ticks.max()) * per_tick


def draw_entries(
    population: Population, record: np.void, tiers: np.ndarray, seed: int, lots: np.ndarray, history: History
) -> Drawn:
    """Leverage, margin mode and the entry bucket of each account, redrawn until it survived."""
    per_tick = int(record["mark_per_tick"])
    wished = _draw_leverage(population, seed, lots)
    # The cap looks at the largest notional since, so that every bucket is allowed at the same leverage.
    extremes = [np.abs(units.contract_value(record, int(price), lots)) for price in _extremes(history, per_tick)]
    drawn = np.minimum(wished, _leverage_cap(tiers, np.maximum(*extremes)))
    isolated = streams.stream(seed, streams.MARGIN_MODE).random(len(lots)) < population.isolated_share
    generator = streams.stream(seed, streams.ENTRY)
    bucket = np.zeros(len(lots), np.int64)
    waiting, draws, rejected = np.arange(len(lots)), 0, 0
    for _ in range(ENTRY_TRIES):
        entry = quantiles.choose(history.upper, streams.uniforms(generator, len(lots))[waiting])
        held = lots[waiting]
        value = units.contract_value(record, history.ticks[entry] * per_tick, held)
        margin = -(-np.abs(value) // drawn[waiting])
        worst = units.contract_value(record, np.where(held > 0, history.low_sub[entry], history.high_sub[entry]), held)
        survived = margin + worst - value - maintenance(tiers, np.abs(worst)) > 0
        bucket[waiting[survived]] = entry[survived]
        draws += len(waiting)
        waiting = waiting[~survived]
        rejected += len(waiting)
    return Drawn(lots, drawn * 100, isolated, bucket, wished * 100, draws, rejected, len(waiting))


def add_hedgers(population: Population, book: Drawn) -> Drawn:
    """Append the hedgers: cross margin, opened now, holding in equal parts what the two sides differ by."""
    residual = -int(book.lots.sum())
    share = (residual + np.arange(population.hedgers)) // population.hedgers
    ones = np.ones(population.hedgers, np.int64)
    leverage_e2 = ones * population.hedger_leverage * 100
    return Drawn(
        np.concatenate((book.lots, share)),
        np.concatenate((book.leverage_e2, leverage_e2)),
        np.concatenate((book.isolated, ones < 0)),
        np.concatenate((book.bucket, ones * 0)),
        np.concatenate((book.wished_e2, leverage_e2)),
        book.draws,
        book.rejected,
        book.opened_now,
    )


def predecessors(book: Drawn, record: np.void, buckets: int) -> np.ndarray:
    """Signed lots that each predecessor trades in each bucket, array (predecessor, bucket).

    OPEN_POSITION pairs a buyer with a seller at one price, but longs and shorts that survived did not open at the same
    moments: the other half of their trades has been closed since. Predecessors stand for those closed accounts. They
    take the residual of each entry bucket, oldest first, pass it on in later buckets, end flat, and withdraw what is
    left. So every account gets exactly its lots at its price, and nobody but the hedgers holds a residual.
    """
    net = np.zeros(buckets, np.int64)
    np.add.at(net, book.bucket, book.lots)
    held = -np.cumsum(net[::-1])[::-1]  # after the bucket, oldest (highest) first; ends at zero
    count = max(1, -(-int(np.abs(held).max()) // max(1, int(record["position_max_lots"]) // 2)))
    shares = (held[None, :] + np.arange(count)[:, None]) // count
    return shares - np.concatenate((shares[:, 1:], np.zeros((count, 1), np.int64)), axis=1)
