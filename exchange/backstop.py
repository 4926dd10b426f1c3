"""The backstop: who takes over before the insurance fund, and how what was taken over is worked off. DESIGN §4.4.

Part of the venue's configuration (`exchange/config.py`). Its numbers are compiled into WATERFALL, by settlement asset.
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from exchange import codes, units
from exchange.errors import ConfigError
from exchange.stages import PAUSE_MIN_NS
from exchange.terms import money_of

if TYPE_CHECKING:
    from exchange.config import Venue

MILLION = 10**6
AROUND = {"mark": codes.AROUND_MARK, "index": codes.AROUND_INDEX, "mid": codes.AROUND_MID}
DISPOSAL = ("share_ppm", "notional_above", "notional_max", "offer_ppm", "band_ppm", "band_around")
FIELDS = (  # of WATERFALL
    *("backstop", "backstop_mark", "disposal_ns", "share_ppm", "notional_above", "notional_max", "offer_ppm"),
    *("band_ppm", "band_around"),
)

Share = Annotated[int, msgspec.Meta(ge=1, le=MILLION)]
Band = Annotated[int, msgspec.Meta(ge=1, le=MILLION - 1)]
Pause = Annotated[int, msgspec.Meta(ge=PAUSE_MIN_NS, le=10**18)]


class Backstop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A user's account that takes positions over before the fund, and how they are worked off.

    `account` takes what its initial margin carries, at the bankruptcy price or at the mark (`price`), with the margin
    that is left; without one the fund takes over as ever. Every `period_ns` who took over sends an immediate order for
    `share_ppm` of the position, all of one worth no more than `notional_above` (of the settlement asset), at most
    `notional_max` and `offer_ppm` of the lots that the book offers within `band_ppm` of the mark, the index or the
    middle of the book (`band_around`); without a band at any price. Without `period_ns` it holds what it took.
    """

    account: int | None = None
    price: Literal["bankruptcy", "mark"] | None = None
    period_ns: Pause | None = None
    share_ppm: Share | None = None
    notional_above: str | None = None
    notional_max: str | None = None
    offer_ppm: Share | None = None
    band_ppm: Band | None = None
    band_around: Literal["mark", "index", "mid"] | None = None


def _check(venue: "Venue") -> None:
    backstop, where, accounts = venue.backstop, "$.venue.backstop", venue.capacity.accounts
    if backstop.price is not None and backstop.account is None:
        raise ConfigError(f"{where}.price", "at which account takes over: without one the fund does, as ever")
    if backstop.account is not None and not codes.FIRST_USER <= backstop.account < codes.FIRST_USER + accounts:
        last = codes.FIRST_USER + accounts - 1
        raise ConfigError(f"{where}.account", f"no user's id: {codes.FIRST_USER} to {last}")
    for name in DISPOSAL:
        if getattr(backstop, name) is not None and backstop.period_ns is None:
            raise ConfigError(f"{where}.{name}", "of the orders that work positions off: state period_ns too")
    if backstop.band_around is not None and backstop.band_ppm is None:
        raise ConfigError(f"{where}.band_around", "what the band is around: state band_ppm too")


def backstop_terms(venue: "Venue", asset: int) -> tuple[int, ...]:
    """The terms of one settlement asset, in the order of FIELDS."""
    _check(venue)
    backstop, quantum = venue.backstop, units.decimal(venue.assets[asset].quantum)
    return (
        backstop.account or 0,
        backstop.price == "mark",
        backstop.period_ns or 0,
        backstop.share_ppm or MILLION,
        _money(backstop, "notional_above", quantum),
        _notional_max(backstop, quantum),
        backstop.offer_ppm or 0,
        backstop.band_ppm or 0,
        AROUND[backstop.band_around or "mark"],
    )


def _money(backstop: Backstop, name: str, quantum: Decimal) -> int:
    return money_of(getattr(backstop, name), quantum, f"$.venue.backstop.{name}")


def _notional_max(backstop: Backstop, quantum: Decimal) -> int:
    most = _money(backstop, "notional_max", quantum)
    if backstop.notional_max is not None and most < 1:
        raise ConfigError("$.venue.backstop.notional_max", "expected at least 1 quantum")
    return most
