"""Who meets whom at a price: prevention of self-trades, and how a level is shared among its orders. DESIGN §3.10.

Part of the venue's configuration (`exchange/config.py`), compiled to the kernels' records here.
"""

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np

from exchange import codes
from exchange.errors import ConfigError

if TYPE_CHECKING:
    from exchange.config import Instrument, Venue

MARKET_MAKERS_MAX = 8
ALLOCATION = np.dtype(  # one an instrument: how a taker's lots are shared among the orders of a level
    [
        ("top_min_lots", "i8"),
        ("top_max_lots", "i8"),  # 0 = no top order
        ("fifo_ppm", "i8"),
        ("pro_rata_min_lots", "i8"),
        ("leveling", "i4"),
        ("maker_count", "i4"),
        ("maker_account", "i4", (MARKET_MAKERS_MAX,)),
        ("maker_ppm", "i4", (MARKET_MAKERS_MAX,)),
    ],
    align=True,
)

SHARE = np.dtype(  # one an order of the level at work, oldest first; `visit` alone is in the order of its step
    [
        ("visit", "i8"),  # low 31 bits: place of the order to fill
        ("slot", "i4"),
        ("lots", "i4"),  # what it may fill
        ("share", "i8"),  # the most it gets in the step
    ],
    align=True,
)

LOTS_MAX = 2**31 - 1
MILLION = 1_000_000

Lots = Annotated[int, msgspec.Meta(ge=0, le=LOTS_MAX)]
Share = Annotated[int, msgspec.Meta(ge=0, le=MILLION)]
SelfTrade = Literal["none", "cancel_newest", "cancel_oldest", "cancel_both", "decrement"]
Iceberg = Literal["none", "refresh", "pro_rata"]
ICEBERGS = {"none": codes.ICEBERG_NONE, "refresh": codes.ICEBERG_REFRESH, "pro_rata": codes.ICEBERG_PRO_RATA}
SELF_TRADE = {
    "none": codes.STP_NONE,
    "cancel_newest": codes.STP_CANCEL_NEWEST,
    "cancel_oldest": codes.STP_CANCEL_OLDEST,
    "cancel_both": codes.STP_CANCEL_BOTH,
    "decrement": codes.STP_DECREMENT,
}


class MarketMaker(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A lead market maker's share of what a level's top order leaves."""

    account: Annotated[int, msgspec.Meta(ge=codes.FIRST_USER, le=2**31 - 1)]
    share_ppm: Annotated[int, msgspec.Meta(ge=1, le=MILLION)]


class Allocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a taker's lots are shared among the orders of a level; `algorithm` says what a field left out is.

    The steps are those of the named algorithms of CME Globex: top order, market makers, a share first in first out,
    pro rata, leveling, and the remainder first in first out.
    """

    algorithm: Literal[
        "fifo", "fifo_lmm", "fifo_top_lmm", "pro_rata", "allocation", "threshold_pro_rata", "configurable"
    ] = "fifo"
    top_min_lots: Lots | None = None
    top_max_lots: Lots | None = None
    fifo_ppm: Share | None = None
    pro_rata_min_lots: Lots | None = None
    leveling: bool | None = None
    market_makers: Annotated[tuple[MarketMaker, ...], msgspec.Meta(max_length=MARKET_MAKERS_MAX)] = ()


FIELDS = ("top_min_lots", "top_max_lots", "fifo_ppm", "pro_rata_min_lots", "leveling")
PRESETS = {  # in the order of FIELDS
    "fifo_lmm": (0, 0, MILLION, 0, False),
    "fifo_top_lmm": (0, LOTS_MAX, MILLION, 0, False),
    "pro_rata": (0, 0, 0, 2, False),
    "allocation": (0, LOTS_MAX, 0, 2, False),
    "threshold_pro_rata": (0, LOTS_MAX, 0, 2, False),
    "configurable": (0, LOTS_MAX, 0, 2, False),
}


def is_shared(instrument: "Instrument") -> bool:
    """Is a level of this instrument shared in steps, rather than filled oldest order first?"""
    return instrument.allocation.algorithm != "fifo" or instrument.iceberg == "pro_rata"


def compile_matching(record: np.void, instrument: "Instrument") -> None:
    """Write what an instrument's record says of matching."""
    record["self_trade"] = SELF_TRADE[instrument.self_trade]
    record["allocation"] = is_shared(instrument)
    record["iceberg"] = ICEBERGS[instrument.iceberg]
    record["pegged"] = instrument.pegged


def outcomes_per_order(venue: "Venue") -> int:
    """The most outcomes that one event emits for one live order."""
    shared = any(is_shared(instrument) for instrument in venue.instruments)
    moves = codes.MOVES_PER_PEG if any(instrument.pegged for instrument in venue.instruments) else 0
    return codes.OUTCOMES_PER_ORDER * (codes.FILLS_PER_ORDER if shared else 1) + moves


def compile_allocations(venue: "Venue") -> np.ndarray:
    """One record an instrument; all zero where matching is first in first out."""
    rows = np.zeros(len(venue.instruments), ALLOCATION)
    for k, instrument in enumerate(venue.instruments):
        where = f"$.venue.instruments[{k}]"
        _compile_allocation(rows[k], instrument.allocation, f"{where}.allocation")
        if instrument.iceberg == "pro_rata":
            if instrument.allocation.algorithm != "fifo":
                raise ConfigError(f"{where}.iceberg", "pro_rata shares what is hidden of a level that goes by fifo")
            rows[k]["fifo_ppm"] = MILLION
    return rows


def _compile_allocation(row: np.void, given: Allocation, where: str) -> None:
    if given.algorithm == "fifo":
        if given != Allocation():
            raise ConfigError(f"{where}.algorithm", "fifo has no steps to state; name another algorithm")
        return
    for name, preset in zip(FIELDS, PRESETS[given.algorithm], strict=True):
        stated = getattr(given, name)
        row[name] = preset if stated is None else stated
    accounts = [maker.account for maker in given.market_makers]
    if len(set(accounts)) != len(accounts):
        raise ConfigError(f"{where}.market_makers", "an account has two shares")
    if sum(maker.share_ppm for maker in given.market_makers) > MILLION:
        raise ConfigError(f"{where}.market_makers", "the shares add up to more than 1000000 ppm")
    row["maker_count"] = len(accounts)
    for k, maker in enumerate(given.market_makers):
        row["maker_account"][k], row["maker_ppm"][k] = maker.account, maker.share_ppm
