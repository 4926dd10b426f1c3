"""The loss waterfall after the book: insurance fund, auto-deleveraging, loss socialisation. DESIGN §4, §4.3.

Part of the venue's configuration (`exchange/config.py`). Money is that of the settlement asset, each asset's own.
"""

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np

from exchange import codes, units
from exchange.backstop import FIELDS, backstop_terms
from exchange.errors import ConfigError
from exchange.terms import money_of

if TYPE_CHECKING:
    from exchange.config import Venue

RANKINGS = {
    "profit_leverage": codes.RANK_PROFIT,
    "collateral_profit": codes.RANK_COLLATERAL,
    "price_ratio": codes.RANK_PRICE,
    "margin_ratio": codes.RANK_MARGIN,
    "stated_leverage": codes.RANK_STATED,
    "list": codes.RANK_LIST,
    "pro_rata": codes.RANK_PRO_RATA,
}
PRICES = {"bankruptcy": codes.ADL_BANKRUPTCY, "mark": codes.ADL_MARK, "previous_mark": codes.ADL_PREVIOUS}
COUNTERPARTIES = {"healthy": 0, "all": 1}
TRIGGERS = {
    "shortfall": codes.ADL_SHORTFALL,
    "first": codes.ADL_FIRST,
    "fund_equity": codes.ADL_EQUITY,
    "drawdown": codes.ADL_DRAWDOWN,
    "never": codes.ADL_NEVER,
}
SOCIALISE = {"none": codes.SHARE_NONE, "positions": codes.SHARE_POSITIONS, "profits": codes.SHARE_PROFITS}
NEEDS = {"fund_equity": ("start_below", "stop_at"), "drawdown": ("window_ns", "drawdown", "drawdown_ppm")}

WATERFALL = np.dtype(  # one an asset
    [
        ("ranking", "i8"),
        ("price", "i8"),
        ("overlap", "i8"),  # a counterparty must not be worse off than at its own bankruptcy price
        ("any_stage", "i8"),  # units in liquidation are counterparties too
        ("trigger", "i8"),
        ("start_below", "i8"),  # of the fund's equity
        ("stop_at", "i8"),
        ("window_ns", "i8"),
        ("drawdown", "i8"),
        ("drawdown_ppm", "i8"),  # of the window's peak, in place of an amount
        ("use_max", "i8"),
        ("interval_ns", "i8"),  # of `use_max`; 0 = no bound on use
        ("socialise", "i8"),
        *((name, "i8") for name in FIELDS),  # of the backstop
    ],
    align=True,
)
FUND = np.dtype(  # one an asset: what the fund remembers
    [
        ("interval", "i8"),  # number of the interval of its last use, from 1
        ("used", "i8"),  # in it
        ("window", "i8"),  # number of the drawdown's window, from 1
        ("peak", "i8"),  # its highest equity in it
        ("deleveraging", "i8"),  # its equity fell below `start_below` and has not been back at `stop_at`
        ("uncovered", "i8"),  # of its last deficit, what nobody was left to bear
    ],
    align=True,
)

Share = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Nanoseconds = Annotated[int, msgspec.Meta(ge=1, le=10**18)]


class Adl(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who is deleveraged, at what price, and when. DESIGN §4.3 says which venue does what.

    `trigger`: after the fund (`shortfall`), before it (`first`), before it while its equity has been below
    `start_below` and not at `stop_at` again (`fund_equity`), before it while its equity is more than `drawdown` (or
    `drawdown_ppm`) below its peak of the window (`drawdown`), or not at all (`never`). With `overlap` nobody closes at
    a price worse than his own bankruptcy price; `counterparties` says whether units in liquidation take part.
    """

    ranking: Literal[
        "profit_leverage", "collateral_profit", "price_ratio", "margin_ratio", "stated_leverage", "list", "pro_rata"
    ] = "profit_leverage"
    price: Literal["bankruptcy", "mark", "previous_mark"] = "bankruptcy"
    overlap: bool = False
    counterparties: Literal["healthy", "all"] = "healthy"
    trigger: Literal["shortfall", "first", "fund_equity", "drawdown", "never"] = "shortfall"
    start_below: str | None = None
    stop_at: str | None = None
    window_ns: Nanoseconds | None = None
    drawdown: str | None = None
    drawdown_ppm: Share | None = None


class Fund(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The insurance fund. In each interval it loses no more than `use_max` of its own will."""

    use_max: str | None = None
    interval_ns: Nanoseconds | None = None


def _check(venue: "Venue") -> None:
    adl, fund, where = venue.adl, venue.fund, "$.venue.adl"
    for trigger, names in NEEDS.items():
        for name in names:
            if getattr(adl, name) is not None and adl.trigger != trigger:
                raise ConfigError(f"{where}.{name}", f"only the trigger {trigger!r} has it")
    if adl.trigger == "fund_equity" and adl.start_below is None:
        raise ConfigError(f"{where}.start_below", "the fund's equity below which deleveraging comes first: state it")
    if adl.trigger == "drawdown":
        if adl.window_ns is None:
            raise ConfigError(f"{where}.window_ns", "a drawdown is one within a window: state it")
        if (adl.drawdown is None) == (adl.drawdown_ppm is None):
            raise ConfigError(f"{where}.drawdown", "state either drawdown or drawdown_ppm")
    if (fund.use_max is None) != (fund.interval_ns is None):
        raise ConfigError("$.venue.fund.interval_ns", "a bound on use holds for an interval: state use_max with it")


def compile_waterfall(venue: "Venue") -> np.ndarray:
    """The rules of every asset's waterfall as records (WATERFALL)."""
    _check(venue)
    adl, fund = venue.adl, venue.fund
    rows = np.zeros(len(venue.assets), WATERFALL)
    for k, asset in enumerate(venue.assets):
        quantum = units.decimal(asset.quantum)
        start = money_of(adl.start_below, quantum, "$.venue.adl.start_below")
        stop = start if adl.stop_at is None else money_of(adl.stop_at, quantum, "$.venue.adl.stop_at")
        if stop < start:
            raise ConfigError("$.venue.adl.stop_at", "expected at least start_below")
        rows[k] = (
            RANKINGS[adl.ranking],
            PRICES[adl.price],
            adl.overlap,
            COUNTERPARTIES[adl.counterparties],
            TRIGGERS[adl.trigger],
            start,
            stop,
            adl.window_ns or 0,
            money_of(adl.drawdown, quantum, "$.venue.adl.drawdown"),
            adl.drawdown_ppm or 0,
            money_of(fund.use_max, quantum, "$.venue.fund.use_max"),
            fund.interval_ns or 0,
            SOCIALISE[venue.socialise],
            *backstop_terms(venue, k),
        )
    return rows
