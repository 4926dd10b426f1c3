"""A population of leveraged accounts: what can be said of it, and the published statistics behind the defaults.

Published statistics behind the defaults:

- Sizes: 19,337 accounts deleveraged on Hyperliquid on 10 October 2025 (reconstruction by HyperMultiAssetedADL):
  standard deviation of log size 2.71 (2.88 of account values), Hill exponents 0.75 to 0.87, top 1 % with 84.2 %. A
  tail this heavy has no mean, so it is cut; `size_truncation` is where the top 1 % of ours holds that share.
- Leverage: BitMEX, 15 May 2019: by position 22x long and 30x short; 80th percentiles of twelve months 54x and 47x, of
  at most 100x. Longs have the higher percentile and the lower weighted mean, so their large accounts use less:
  `size_correlation`. One sigma for both sides is an assumption; the medians follow from it and the percentiles.

`replay/draw.py` draws it, `replay/seeding.py` turns it into events.
"""

from collections.abc import Collection
from typing import Annotated

import msgspec

from exchange import codes, units
from exchange.config import Venue
from exchange.errors import ConfigError
from replay.synthetic import quantiles

PREDECESSORS_MAX = 64  # of one instrument
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

    `instruments` are the symbols that accounts trade, the feed's first unless said, each to `open_interest_depth`.
    `legs` weighs how many of them an account holds: one, two and so on. Its positions have one side, but for the share
    `opposite_share` of those after the first, and one size and leverage before limits. An isolated account isolates
    all of them, one of the `portfolio_share` has its wallets in portfolio mode, all others are cross.

    The venue breaks ties between accounts by their ids: `tie_order` numbers a permutation of these, 0 is as drawn.

    Without `fund` each asset's is worth a million in the quote currency of its first instrument.
    """

    accounts: Annotated[int, msgspec.Meta(ge=2, le=2_000_000)] = 10_000
    accounts_from: str = ""
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None  # None: the run's
    tie_order: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0
    instruments: tuple[str, ...] = ()
    legs: Annotated[tuple[Positive, ...], msgspec.Meta(min_length=1)] = (1.0,)
    opposite_share: Share = 0.1
    open_interest_depth: Positive = 10.0
    open_interest: str = ""
    long_share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.55
    isolated_share: Share = 0.3
    portfolio_share: Share = 0.0
    size_sigma: Annotated[float, msgspec.Meta(ge=0.1, le=5)] = 2.8
    size_alpha: Annotated[float, msgspec.Meta(ge=0.1, le=5)] = 0.8
    size_truncation: Annotated[int, msgspec.Meta(ge=2, le=2_000_000)] = 630_000  # largest size, in medians
    leverage_long: Leverage = Leverage(median=23.3, size_correlation=-0.16)
    leverage_short: Leverage = Leverage()
    hedger_share_max: Annotated[float, msgspec.Meta(ge=0, le=0.1)] = 0.1
    hedgers: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10
    hedger_leverage: Multiple = 3
    fund: str | dict[str, str] | None = None  # insurance fund, in units of the settlement asset; several by asset
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


def accounts_needed(population: Population) -> int:
    """Account slots that seeding can use: traders, hedgers, predecessors."""
    return population.accounts + population.hedgers + PREDECESSORS_MAX * max(1, len(population.instruments))


def positions_needed(population: Population) -> int:
    """Position slots of the same accounts."""
    keepers = accounts_needed(population) - population.accounts
    return population.accounts * len(population.legs) + keepers * max(1, len(population.instruments))


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
    if population.isolated_share + population.portfolio_share > 1:
        raise ConfigError(
            "$.population.portfolio_share",
            f"{population.portfolio_share:g} beside an isolated_share of {population.isolated_share:g}; expected at "
            "most 1 together, the rest is cross",
        )
    _check_instruments(population)
    funds = population.fund if isinstance(population.fund, dict) else {"": population.fund or ""}
    amounts = {"open_interest": population.open_interest} | {f"fund.{name}".rstrip("."): funds[name] for name in funds}
    for field, text in amounts.items():
        try:
            if text and units.decimal(text) < 0:
                raise ValueError(f"{text} is negative")
        except ValueError as error:
            raise ConfigError(f"$.population.{field}", f'{error}; expected decimal text such as "1000000"') from None


def check_portfolio(population: Population, venue: Venue, traded: Collection[str] = ()) -> None:
    """Refuse a drawn share in portfolio mode where the grid would hold nothing of what accounts trade, if known."""
    if not population.portfolio_share or population.accounts_from:
        return
    groups = venue.portfolio_margin.groups
    wrong = "the venue has no portfolio margin"
    if groups and traded and not any(symbol in group.members for group in groups for symbol in traded):
        wrong = f"no group of the venue's portfolio margin has {' or '.join(traded)} among its members"
    elif groups:
        return
    raise ConfigError(
        "$.population.portfolio_share",
        f"is {population.portfolio_share:g}, but {wrong}; expected one in $.venue.portfolio_margin.groups, "
        "or a share of 0",
    )


def _check_instruments(population: Population) -> None:
    symbols = population.instruments
    if len(set(symbols)) != len(symbols):
        raise ConfigError("$.population.instruments", f"expected different symbols, got {', '.join(symbols)}")
    if len(population.legs) > max(1, len(symbols)):
        raise ConfigError(
            "$.population.legs",
            f"weighs up to {len(population.legs)} positions an account, on {max(1, len(symbols))} instruments; "
            "name more in population.instruments, or give fewer weights",
        )
    for field in ("open_interest", "history"):
        if len(symbols) > 1 and getattr(population, field):
            other = "open_interest_depth" if field == "open_interest" else "the drawn path, without a history"
            raise ConfigError(f"$.population.{field}", f"is of one contract, not of {len(symbols)}; use {other}")
