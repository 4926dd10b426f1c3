"""Draws a population of leveraged accounts, conditional on having survived until the moment of seeding.

Both sides are drawn. What their totals differ by is held by hedger accounts, at most `hedger_share_max` of the open
interest; the smaller side is scaled up where it would be more. Each account opened somewhere on one shared synthetic
price path that ends at the current mark, at a moment from which its margin would not have been breached since.

OPEN_POSITION pairs a buyer with a seller at one price, but longs and shorts that survived did not open at the same
moments: the other half of their trades has been closed since. *Predecessors* stand for those closed accounts. They take
the residual of each entry bucket, oldest first, pass it on in later buckets, end flat, and withdraw what is left.
So every account gets exactly its drawn lots at its drawn price, and nobody but the hedgers holds a residual.
`replay/seeding.py` turns what is drawn here into events.
"""

from decimal import Decimal
from typing import Annotated

import msgspec
import numpy as np

from exchange import codes, units
from exchange.config import Venue
from exchange.errors import ConfigError
from replay.synthetic import streams

BUCKETS = 200  # distinct entry prices
STEPS_PER_BUCKET = 16  # path samples in a bucket: the extremes that an account must have survived
ENTRY_TRIES = 12  # then the account opens now
PPM = 1_000_000
DAY_MS = 86_400_000

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
Milliseconds = Annotated[int, msgspec.Meta(ge=1, le=10**11)]


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Leverage(_Struct):
    """Leverage at entry: lognormal, whole multiples; or `ladder` with `weights`. Tiers cap it by notional."""

    median: Annotated[float, msgspec.Meta(ge=1, le=1000)] = 12.0
    sigma: Annotated[float, msgspec.Meta(ge=0, le=4)] = 0.9
    ladder: tuple[Annotated[int, msgspec.Meta(ge=1, le=1000)], ...] = ()
    weights: tuple[Positive, ...] = ()


class Population(_Struct):
    """Who trades. Open interest is `open_interest` units, or `open_interest_depth` times the 1 % depth."""

    accounts: Annotated[int, msgspec.Meta(ge=2, le=2_000_000)] = 10_000
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None  # None: the run's
    open_interest_depth: Positive = 10.0
    open_interest: str = ""
    long_share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.55
    isolated_share: Share = 0.3
    size_sigma: Annotated[float, msgspec.Meta(ge=0, le=5)] = 2.0
    size_share_max: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.01  # largest account, of the open interest
    leverage_long: Leverage = Leverage()
    leverage_short: Leverage = Leverage()
    hedger_share_max: Annotated[float, msgspec.Meta(ge=0, le=0.1)] = 0.1
    hedgers: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10
    hedger_leverage: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 3
    fund: str = "1000000"  # insurance fund, in units of the settlement asset
    history_ms: Milliseconds = 3 * DAY_MS
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
    """By entry bucket, 0 = now: entry price, and the lowest and highest mark from then until now."""

    ticks: np.ndarray
    low_sub: np.ndarray
    high_sub: np.ndarray


class Drawn(msgspec.Struct):
    """One row an account (traders, then hedgers); money in quanta."""

    lots: np.ndarray  # signed
    leverage: np.ndarray  # whole
    isolated: np.ndarray
    bucket: np.ndarray
    redraws: int = 0
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


def draw_lots(population: Population, record: np.void, target: int, seed: int) -> tuple[np.ndarray, float]:
    """Signed lots of each account; longs and shorts in a drawn order. Also the factor on the smaller side."""
    count = population.accounts
    longs = min(count - 1, max(1, round(count * population.long_share)))
    weights = np.exp(population.size_sigma * streams.stream(seed, streams.SIZE).standard_normal(count))
    is_long = np.arange(count) < longs
    is_long = is_long[streams.stream(seed, streams.SIDE).permutation(count)]
    cap = min(int(record["position_max_lots"]), max(1, int(target * population.size_share_max)))
    raw = [float(weights[is_long].sum()), float(weights[~is_long].sum())]
    goals = [target * raw[side] / max(raw) for side in range(2)]
    smallest = target * (1 - population.hedger_share_max)
    scaled_up = max(1.0, smallest / min(goals))
    goals = [max(goal, smallest) for goal in goals]
    lots = np.zeros(count, np.int64)
    for goal, chosen in zip(goals, (is_long, ~is_long), strict=True):
        if cap * int(chosen.sum()) < goal:
            raise ConfigError(
                "$.population.size_share_max",
                f"{int(chosen.sum())} accounts of at most {cap} lots cannot hold "
                f"{int(goal)}; raise size_share_max, or lower the open interest",
            )
        lots[chosen] = _apportion(weights[chosen], int(goal), cap)
    return np.where(is_long, lots, -lots), scaled_up


def _apportion(weights: np.ndarray, total: int, cap: int) -> np.ndarray:
    """Whole lots in proportion to `weights`, each in 1..cap, that add up to `total`."""
    total = max(total, len(weights))
    scale = total / weights.sum()
    for _ in range(50):
        share = np.clip(weights * scale, 1, cap)
        free = (share > 1) & (share < cap)
        gap = total - share.sum()
        if abs(gap) < 0.5 or not free.any():
            break
        scale *= max(0.1, 1 + gap / share[free].sum())
    lots = np.clip(share, 1, cap).astype(np.int64)
    rest = total - int(lots.sum())
    # What rounding left goes to the largest remainders that have room, whole rounds at a time; index breaks ties.
    while rest:
        room = np.flatnonzero(lots < cap if rest > 0 else lots > 1)
        order = room[np.argsort(-(share - lots)[room] * np.sign(rest), kind="stable")][: abs(rest)]
        lots[order] += np.sign(rest)
        rest -= int(np.sign(rest)) * len(order)
    return lots


def draw_history(population: Population, record: np.void, site: Site, seed: int) -> History:
    """A driftless walk backwards from the mark: what the market could have done until now."""
    steps = BUCKETS * STEPS_PER_BUCKET
    sigma = population.volatility_day_ppm / PPM * (population.history_ms / DAY_MS / steps) ** 0.5
    walk = np.cumsum(sigma * streams.stream(seed, streams.PATH).standard_normal(steps))
    sub = np.maximum(1, np.rint(site.mark_sub * np.exp(np.concatenate(([0.0], walk))))).astype(np.int64)
    per_tick = int(record["mark_per_tick"])
    ticks = np.clip((sub + per_tick // 2) // per_tick, 1, int(record["ticks_max"]))
    at = np.arange(BUCKETS) * STEPS_PER_BUCKET
    return History(ticks[at], np.minimum.accumulate(sub)[at], np.maximum.accumulate(sub)[at])


def maintenance(tiers: np.ndarray, notional: np.ndarray) -> np.ndarray:
    """Maintenance margin of each notional, the venue's own formula."""
    tier = tiers[np.searchsorted(tiers["floor"], notional, side="right") - 1]
    rate = tier["maintenance_ppm"]
    return notional // PPM * rate - (-(notional % PPM * rate) // PPM) - tier["cum"]


def _draw_leverage(population: Population, seed: int, lots: np.ndarray) -> np.ndarray:
    generator = streams.stream(seed, streams.LEVERAGE)
    normal, uniform = generator.standard_normal(len(lots)), generator.random(len(lots))
    drawn = np.zeros(len(lots), np.int64)
    for leverage, chosen in ((population.leverage_long, lots > 0), (population.leverage_short, lots < 0)):
        if leverage.ladder:
            edges = np.cumsum(leverage.weights) / np.sum(leverage.weights)
            rung = np.minimum(np.searchsorted(edges, uniform[chosen], side="right"), len(edges) - 1)
            drawn[chosen] = np.array(leverage.ladder)[rung]
        else:
            drawn[chosen] = np.rint(leverage.median * np.exp(leverage.sigma * normal[chosen]))
    return np.maximum(1, drawn)


def _leverage_cap(tiers: np.ndarray, notional: np.ndarray) -> np.ndarray:
    return tiers["leverage_max_e2"][np.searchsorted(tiers["floor"], notional, side="right") - 1] // 100


def draw_entries(
    population: Population, record: np.void, tiers: np.ndarray, seed: int, lots: np.ndarray, history: History
) -> Drawn:
    """Leverage, margin mode and the entry bucket of each account, redrawn until it survived."""
    size, unit_value, mark_unit = np.abs(lots), int(record["unit_value"]), int(record["mark_unit"])
    side = np.sign(lots)
    # The cap looks at the dearest price since, so that every bucket is allowed at the same leverage.
    drawn = np.minimum(
        _draw_leverage(population, seed, lots), _leverage_cap(tiers, size * int(history.ticks.max()) * unit_value)
    )
    isolated = streams.stream(seed, streams.MARGIN_MODE).random(len(lots)) < population.isolated_share
    generator = streams.stream(seed, streams.ENTRY)
    bucket = np.zeros(len(lots), np.int64)
    waiting, redraws = np.arange(len(lots)), 0
    for attempt in range(ENTRY_TRIES):
        # Exponential age, truncated to the history by drawing below its share.
        ratio = population.history_ms / population.age_mean_ms
        age = -np.log1p(-generator.random(len(lots))[waiting] * -np.expm1(-ratio)) / ratio
        entry = np.minimum((age * BUCKETS).astype(np.int64), BUCKETS - 1)
        value = size[waiting] * history.ticks[entry] * unit_value
        margin = -(-value // drawn[waiting])
        worst = np.where(side[waiting] > 0, history.low_sub[entry], history.high_sub[entry])
        notional = size[waiting] * worst * mark_unit
        survived = margin + side[waiting] * (notional - value) - maintenance(tiers, notional) > 0
        bucket[waiting[survived]] = entry[survived]
        waiting = waiting[~survived]
        redraws += len(waiting) if attempt + 1 < ENTRY_TRIES else 0
        if not len(waiting):
            break
    return Drawn(lots, drawn, isolated, bucket, redraws, len(waiting))


def add_hedgers(population: Population, book: Drawn) -> Drawn:
    """Append the hedgers: cross margin, opened now, holding in equal parts what the two sides differ by."""
    residual = -int(book.lots.sum())
    share = (residual + np.arange(population.hedgers)) // population.hedgers
    ones = np.ones(population.hedgers, np.int64)
    return Drawn(
        np.concatenate((book.lots, share)),
        np.concatenate((book.leverage, ones * population.hedger_leverage)),
        np.concatenate((book.isolated, ones < 0)),
        np.concatenate((book.bucket, ones * 0)),
        book.redraws,
        book.opened_now,
    )


def predecessors(book: Drawn, record: np.void) -> np.ndarray:
    """Signed lots that each predecessor trades in each bucket, array (predecessor, bucket)."""
    net = np.zeros(BUCKETS, np.int64)
    np.add.at(net, book.bucket, book.lots)
    held = -np.cumsum(net[::-1])[::-1]  # after the bucket, oldest (highest) first; ends at zero
    count = max(1, -(-int(np.abs(held).max()) // max(1, int(record["position_max_lots"]) // 2)))
    shares = (held[None, :] + np.arange(count)[:, None]) // count
    return shares - np.concatenate((shares[:, 1:], np.zeros((count, 1), np.int64)), axis=1)
