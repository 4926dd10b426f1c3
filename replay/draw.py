"""Draws accounts, their positions and entries, conditional on having survived until the moment of seeding.

Both sides are drawn. What their totals differ by is held by hedger accounts, at most `hedger_share_max` of the open
interest; the smaller side is scaled up where it would be more. Each position was opened somewhere on one shared price
path of its instrument (`replay/entries.py`), at a moment from which its own margin would not have been breached since.
An account of several positions was then healthy too: in cross margin it has the sum of what each has to spare.
"""

import math
from decimal import Decimal
from fractions import Fraction

import msgspec
import numpy as np

from exchange import units
from exchange.config import Venue
from exchange.errors import ConfigError
from replay.population import PPM, Population, Site
from replay.synthetic import quantiles, streams

ENTRY_TRIES = 100  # then the account opens now


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


class Traders(msgspec.Struct, frozen=True):
    """One row an account; `sides` by instrument: 1 long, -1 short, 0 none."""

    sides: np.ndarray
    weights: np.ndarray  # size of each of its positions, relative to other accounts
    wished: np.ndarray  # leverage, before the tiers cap it
    isolated: np.ndarray
    portfolio: np.ndarray


class Drawn(msgspec.Struct):
    """One row an account that holds the instrument, then hedgers; `wished_e2` is the leverage before the tiers' cap."""

    lots: np.ndarray  # signed
    leverage_e2: np.ndarray
    isolated: np.ndarray
    bucket: np.ndarray
    wished_e2: np.ndarray
    draws: int = 0
    rejected: int = 0  # of them: would not have survived
    opened_now: int = 0


def target_lots(population: Population, venue: Venue, record: np.void, site: Site, holders: int) -> int:
    """Open interest to seed, in lots."""
    if population.open_interest:
        step = Decimal(venue.instruments[site.instrument].lot)
        target = units.floor_count(Decimal(population.open_interest), step)
    else:
        target = int(site.depth_lots * population.open_interest_depth)
    symbol = venue.instruments[site.instrument].symbol
    if target < holders:
        raise ConfigError(
            "$.population.open_interest",
            f"{target} lots of {symbol} are fewer than the {holders} accounts; raise "
            "open_interest or open_interest_depth, or lower accounts",
        )
    if 2 * target > int(record["open_interest_max_lots"]):
        raise ConfigError(
            "$.population.open_interest",
            f"{target} lots of {symbol}; seeding needs twice that below open_interest_max "
            f"({int(record['open_interest_max_lots'])} lots)",
        )
    return target


def draw_traders(population: Population, seed: int, instruments: int) -> Traders:
    """Side, size, leverage and margin mode of each account, and which instruments it holds."""
    count = population.accounts
    longs = min(count - 1, max(1, round(count * population.long_share)))
    is_long = np.arange(count) < longs
    side = np.where(is_long[streams.stream(seed, streams.SIDE).permutation(count)], 1, -1)
    sizes = quantiles.lognormal_pareto(population.size_sigma, population.size_alpha, population.size_truncation)
    uniforms = streams.uniforms(streams.stream(seed, streams.SIZE), count)
    sides = _draw_legs(population, seed, side, instruments)
    mode = streams.stream(seed, streams.MARGIN_MODE).random(count)
    isolated = mode < population.isolated_share
    return Traders(
        sides,
        sizes(uniforms) // np.count_nonzero(sides, axis=1),
        _draw_leverage(population, seed, side, uniforms),
        isolated,
        ~isolated & (mode >= 1 - population.portfolio_share),
    )


def _draw_legs(population: Population, seed: int, side: np.ndarray, instruments: int) -> np.ndarray:
    """Sides by account and instrument: each account ranks the instruments at random and holds the first few."""

    def drawn(purpose: int, columns: int) -> np.ndarray:
        each = [streams.uniforms(streams.stream(seed, purpose, place), len(side)) for place in range(columns)]
        return np.stack(each, axis=1)

    rank = drawn(streams.LEG_RANK, instruments).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    legs = 1 + quantiles.choose(_weight_edges(population.legs), drawn(streams.LEG_COUNT, 1))
    opposite = drawn(streams.LEG_SIDE, instruments) < int(population.opposite_share * quantiles.UNIFORM)
    sides = np.where(opposite & (rank > 0), -side[:, None], side[:, None])
    return np.where(rank < legs, sides, 0)


def _weight_edges(weights: tuple[float, ...]) -> np.ndarray:
    whole = math.lcm(*(Fraction(weight).denominator for weight in weights))
    return quantiles.edges([int(Fraction(weight) * whole) for weight in weights])


def draw_lots(
    population: Population, record: np.void, target: int, side: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, float]:
    """Signed lots of each account that holds the instrument, and the factor on the smaller side."""
    is_long = side > 0
    if is_long.all() or not is_long.any():
        raise ConfigError(
            "$.population.accounts",
            f"none of the {len(side)} accounts of an instrument is {'short' if is_long.all() else 'long'} in it; "
            "raise accounts, or name fewer instruments",
        )
    cap = int(record["position_max_lots"])
    raw = [int(weights[is_long].sum()), int(weights[~is_long].sum())]
    goals = [target * weight // max(raw) for weight in raw]
    smallest = target - int(target * population.hedger_share_max)
    scaled_up = max(1.0, smallest / max(1, min(goals)))
    lots = np.zeros(len(side), np.int64)
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
    largest remainders that have room, index breaks ties. Who was raised to one lot has a negative remainder, so that no
    one ends up with more lots than a larger weight.
    """
    weights = weights << (60 - int(weights.max()).bit_length())  # a fine divisor leaves few lots for the remainders
    low, high = 0, int(weights.max()) + 1  # at `high` everyone has one lot
    while high - low > 1:
        middle = (low + high) // 2
        fits = int(np.clip(weights // middle, 1, cap).sum()) <= total
        low, high = (low, middle) if fits else (middle, high)
    lots = np.clip(weights // high, 1, cap)
    while rest := total - int(lots.sum()):
        room = np.flatnonzero(lots < cap)
        chosen = room[np.argsort((lots * high - weights)[room], kind="stable")][:rest]
        lots[chosen] += np.minimum(cap - lots[chosen], max(1, rest // len(room)))
    return lots


def maintenance(tiers: np.ndarray, notional: np.ndarray) -> np.ndarray:
    """Maintenance margin of each notional, the venue's own formula."""
    tier = tiers[np.searchsorted(tiers["floor"], notional, side="right") - 1]
    rate = tier["maintenance_ppm"]
    return notional // PPM * rate - (-(notional % PPM * rate) // PPM) - tier["cum"]


def _draw_leverage(population: Population, seed: int, side: np.ndarray, size_uniforms: np.ndarray) -> np.ndarray:
    normal = quantiles.normal()
    by_size = normal(size_uniforms)
    own = normal(streams.uniforms(streams.stream(seed, streams.LEVERAGE), len(side)))
    drawn = np.zeros(len(side), np.int64)
    for leverage, chosen in ((population.leverage_long, side > 0), (population.leverage_short, side < 0)):
        tied = leverage.size_correlation
        deviate = np.rint(tied * by_size[chosen] + math.sqrt(1 - tied * tied) * own[chosen]).astype(np.int64)
        if leverage.ladder:
            upper = _weight_edges(leverage.weights)
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
    generator: np.random.Generator,
    record: np.void,
    tiers: np.ndarray,
    lots: np.ndarray,
    wished: np.ndarray,
    isolated: np.ndarray,
    history: History,
) -> Drawn:
    """Leverage within the tiers and the entry bucket of each account of one instrument, redrawn until it survived."""
    per_tick = int(record["mark_per_tick"])
    # The cap looks at the largest notional since, so that every bucket is allowed at the same leverage.
    extremes = [np.abs(units.contract_value(record, int(price), lots)) for price in _extremes(history, per_tick)]
    drawn = np.minimum(wished, _leverage_cap(tiers, np.maximum(*extremes)))
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


def add_hedgers(population: Population, book: Drawn, record: np.void, tiers: np.ndarray, mark_sub: int) -> Drawn:
    """Append the hedgers: cross margin, opened now, holding in equal parts what the two sides differ by.

    Their leverage is `hedger_leverage`, or less where the tier of what they hold allows less.
    """
    residual = -int(book.lots.sum())
    share = (residual + np.arange(population.hedgers)) // population.hedgers
    ones = np.ones(population.hedgers, np.int64)
    allowed = _leverage_cap(tiers, np.abs(units.contract_value(record, mark_sub, share)))
    leverage_e2 = np.minimum(population.hedger_leverage, allowed) * 100
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
