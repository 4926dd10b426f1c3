"""When a market trades and what orders it takes: guards on orders, call auctions, price bands. DESIGN §3.7.

Part of the venue's configuration (`exchange/config.py`), compiled to the kernels' records here.
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np

from exchange import codes
from exchange.errors import ConfigError
from exchange.terms import LOTS_MAX, MONEY_MAX, count_of, number

if TYPE_CHECKING:
    from exchange.config import Compiled, Venue

ORDER_GUARD = np.dtype(  # one an instrument, from the config; 0 = off
    [
        ("collar_ppm", "i8"),
        ("fat_finger_ppm", "i8"),
        ("notional_min", "i8"),
        ("notional_max", "i8"),
        ("lots_min", "i8"),
        ("price_step_ticks", "i8"),
        ("lot_step", "i8"),
        ("open_orders_max", "i8"),
    ],
    align=True,
)
AUCTION = np.dtype(  # one an instrument: its terms from the config, then its state
    [
        ("midpoint", "i4"),
        ("maker_fee", "i4"),
        ("pressure_ppm", "i8"),
        ("indicative_ns", "i8"),
        ("dynamic_ppm", "i8"),
        ("static_ppm", "i8"),
        ("reference_period_ns", "i8"),
        ("duration_ns", "i8"),  # of a volatility auction, as the next two
        ("extension_ns", "i8"),
        ("extensions_max", "i8"),
        ("opening", "i8"),
        ("static_ticks", "i8"),  # what the static band stands around; 0 = nothing yet
        ("static_period", "i8"),  # and the period in which that was set
        ("end_ns", "i8"),  # 0 = not before AUCTION_END
        ("reference_ticks", "i8"),  # as AUCTION_START said; 0 = it said none
        ("volatility", "i8"),  # 1 = a taker that met a band began it
        ("extensions", "i8"),  # so far
        ("price", "i8"),  # what was last published
        ("lots", "i8"),
        ("imbalance_lots", "i8"),
        ("worst_market_ticks", "i8", (2,)),  # by side: the furthest limit of a market order that rests; 0 = none
        ("waiting_head", "i4"),  # legs under liquidation whose order waits for the market
        ("waiting_tail", "i4"),
        ("timer", "i8"),
        ("paused_state", "i8"),  # 1 + the state that the market goes back to when the engine does; 0 = none
    ],
    align=True,
)

Share = Annotated[int, msgspec.Meta(ge=0, le=999_999)]
Step = Annotated[int, msgspec.Meta(ge=0, le=LOTS_MAX)]
Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=10**17)]


class OrderGuards(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an order must keep to beyond margin; 0 or empty = off. Notionals and quantities are decimal text.

    `collar_ppm` holds limits near the mark, `fat_finger_ppm` near the opposite best (near the last price where there
    is none). `price_step_ticks` and `lot_step` ask for multiples, `open_orders` is the most of an account here.
    """

    collar_ppm: Share = 0
    fat_finger_ppm: Share = 0
    notional_min: str = ""
    notional_max: str = ""
    order_min: str = ""
    price_step_ticks: Step = 0
    lot_step: str = ""
    open_orders: Step = 0


class Auction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Call auctions: how a price is found, what it costs, and the bands that a taker may not leave.

    `price` reference: most volume, least surplus, market pressure, nearest to the reference price; midpoint: the middle
    of the prices of most volume. `fee` is the rate that both sides pay. A `dynamic_ppm` or `static_ppm` above 0 makes
    a taker that would trade outside its band begin an auction of `duration_ns`, prolonged up to `extensions_max` times.
    """

    price: Literal["reference", "midpoint"] = "reference"
    fee: Literal["taker", "maker"] = "taker"
    pressure_limit_ppm: Share = 50_000
    indicative_period_ns: Nanoseconds = 1_000_000_000
    opening: bool = False
    dynamic_ppm: Share = 0
    static_ppm: Share = 0
    reference_period_ns: Nanoseconds = 0
    duration_ns: Annotated[int, msgspec.Meta(ge=1, le=10**17)] = 120_000_000_000
    extension_ns: Annotated[int, msgspec.Meta(ge=1, le=10**17)] = 60_000_000_000
    extensions_max: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 0


def compile_order_guards(venue: "Venue") -> np.ndarray:
    """One record of guards an instrument: its own, else the venue's."""
    records = np.zeros(len(venue.instruments), ORDER_GUARD)
    quanta = {asset.name: number("$.venue.assets", asset.quantum) for asset in venue.assets}
    for k, instrument in enumerate(venue.instruments):
        guards, row = instrument.orders or venue.orders, records[k]
        where = "$.venue.orders" if instrument.orders is None else f"$.venue.instruments[{k}].orders"
        for name in ("collar_ppm", "fat_finger_ppm", "price_step_ticks"):
            row[name] = getattr(guards, name)
        row["open_orders_max"] = guards.open_orders
        lot, quantum = number(where, instrument.lot), quanta[instrument.settle]
        counted = (("lots_min", "order_min", lot, LOTS_MAX), ("lot_step", "lot_step", lot, LOTS_MAX),
                   ("notional_min", "notional_min", quantum, MONEY_MAX),
                   ("notional_max", "notional_max", quantum, MONEY_MAX))  # fmt: skip
        for field, name, unit, most in counted:
            row[field] = _count(f"{where}.{name}", getattr(guards, name), unit, most)
        if 0 < row["notional_max"] < row["notional_min"]:
            raise ConfigError(f"{where}.notional_max", "is below notional_min")
    return records


def _count(where: str, text: str, unit: Decimal, most: int) -> int:
    """Whole units in decimal text, 0 for none."""
    count = count_of(where, text, unit) if text else 0
    if count > most:
        raise ConfigError(where, f"{text} is too large")
    return count


def compile_auctions(venue: "Venue") -> np.ndarray:
    """One auction record an instrument: its own terms, else the venue's."""
    records = np.zeros(len(venue.instruments), AUCTION)
    for k, instrument in enumerate(venue.instruments):
        terms, row = instrument.auction or venue.auction, records[k]
        fees = instrument.fees or venue.fees
        if terms.fee == "maker" and fees.maker_ppb() < 0:
            where = "$.venue.auction" if instrument.auction is None else f"$.venue.instruments[{k}].auction"
            raise ConfigError(f"{where}.fee", "both sides would get the maker's rebate: every trade would lose money")
        row["midpoint"], row["maker_fee"] = terms.price == "midpoint", terms.fee == "maker"
        row["pressure_ppm"], row["indicative_ns"] = terms.pressure_limit_ppm, terms.indicative_period_ns
        for name in ("dynamic_ppm", "static_ppm", "reference_period_ns", "duration_ns", "extension_ns"):
            row[name] = getattr(terms, name)
        row["extensions_max"], row["opening"] = terms.extensions_max, terms.opening
    return records


def open_markets(markets: np.ndarray, compiled: "Compiled") -> None:
    """Set the state that each market starts in, and which of them have guards and bands."""
    markets["depth_ppm"] = 1_000_000
    for k, auction in enumerate(compiled.auctions):
        guards = compiled.order_guards[k]
        markets[k]["guarded"] = any(int(guards[name]) for name in guards.dtype.names)
        markets[k]["fenced"] = bool(auction["opening"] or auction["dynamic_ppm"] or auction["static_ppm"])
        markets[k]["state"] = codes.STATE_AUCTION if auction["opening"] else codes.STATE_CONTINUOUS
        if compiled.lives[k]["listed_ns"]:
            markets[k]["state"] = codes.STATE_UNLISTED
