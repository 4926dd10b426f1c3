"""Collateral: the haircuts of spot instruments, in which order holdings are sold, forced conversion. DESIGN §3.12.

Part of the venue's configuration (`exchange/config.py`), compiled to the kernels' records here.
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np

from exchange import codes, units
from exchange.errors import ConfigError
from exchange.margins import Margin, TierRow
from exchange.terms import MONEY_MAX, enough, number

if TYPE_CHECKING:
    from exchange.config import Instrument, Venue

MILLION = 1_000_000
CONVERSION = np.dtype(  # one a settlement asset: when holdings are sold for it, and how
    [
        ("below", "i8"),  # cash under minus this is too little
        ("target", "i8"),  # and is brought back to minus this
        ("band_ppm", "i8"),
        ("charge_ppm", "i8"),
        ("delay_ns", "i8"),
        ("retry_ns", "i8"),
        ("base", "i4"),  # where the instruments begin in the list of all; their count, 0 = nothing is converted
        ("count", "i4"),
    ],
    align=True,
)

Ppm = Annotated[int, msgspec.Meta(ge=0, le=MILLION)]
Band = Annotated[int, msgspec.Meta(ge=1, le=999_999)]
Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=10**17)]
Retry = Annotated[int, msgspec.Meta(ge=1_000_000, le=10**17)]


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Haircut(_Struct):
    """What of a holding's value does not count, marginally: the rate of the part from `floor` (money) on."""

    floor: str
    haircut_ppm: Ppm


class Conversion(_Struct):
    """Forced conversion for one settlement asset: cash under -`below` is brought back to -`to` (money, decimal text).

    `order` names the spot instruments that are sold, the first first; empty = all that settle in the asset, as they
    are listed. A sale goes no further than `band_ppm` under the mark; `charge_ppm` of what it brings is the fund's.
    What could not be sold is tried again after `retry_ns`.
    """

    asset: str
    below: str
    to: str = "0"
    order: tuple[str, ...] = ()
    band_ppm: Band = 50_000
    charge_ppm: Ppm = 0
    delay_ns: Nanoseconds = 0
    retry_ns: Retry = 60_000_000_000


class Collateral(_Struct):
    """`order`: in a liquidation holdings are sold before contracts are closed, after them, or as listed among them."""

    order: Literal["first", "last", "listed"] = "last"
    conversions: tuple[Conversion, ...] = ()


SELL_ORDERS = {"last": codes.SELL_LAST, "first": codes.SELL_FIRST, "listed": codes.SELL_LISTED}


def _money(where: str, text: str, quantum: Decimal, asset: str) -> int:
    """Money >= 0 in quanta, below 2**62."""
    try:
        money = units.whole(number(where, text, positive=False), quantum)
    except ValueError as error:
        raise ConfigError(where, str(error)) from None
    if not 0 <= money < MONEY_MAX:
        what = f"a quantum of {enough(quantum, money):f} for {asset} would do" if money > 0 else "expected 0 or more"
        raise ConfigError(where, f"{text} is {money} quanta, not within 0..2**62; {what}")
    return money


def compile_haircuts(
    record: np.void, row: np.void, instrument: "Instrument", quantum: Decimal, where: str
) -> list[TierRow]:
    """Rows of schema.TIER: the haircut of a holding is its maintenance margin, at leverage 1. Writes its model."""
    if instrument.margin != Margin():
        raise ConfigError(f"{where}.margin", "a holding has haircuts instead; leave it out")
    if instrument.life.expiry_ns:
        raise ConfigError(f"{where}.life.expiry_ns", "a holding does not expire; expected 0")
    record["margin_model"], record["tier_count"] = codes.MARGIN_SPOT, len(instrument.haircuts)
    row["set_count"], row["set_base"][0], row["set_size"][0] = 1, record["tier_base"], record["tier_count"]
    rows: list[TierRow] = []
    for k, haircut in enumerate(instrument.haircuts):
        place, rate = f"{where}.haircuts[{k}]", haircut.haircut_ppm
        floor = _money(f"{place}.floor", haircut.floor, quantum, instrument.settle)
        if not rows:
            if floor != 0:
                raise ConfigError(f"{place}.floor", f"the first haircut starts at 0, got {haircut.floor}")
            rows.append((0, 0, rate, 100, 0))
            continue
        before = rows[-1]
        if floor <= before[0]:
            raise ConfigError(f"{place}.floor", f"{haircut.floor} is not above the haircut before it")
        if rate < before[2]:
            raise ConfigError(f"{place}.haircut_ppm", "haircuts must not fall as a holding grows")
        jump = floor * (rate - before[2])
        if jump % MILLION:
            raise ConfigError(
                f"{place}.floor",
                f"{haircut.floor} makes the haircut up to there a fraction of a quantum; collateral would jump",
            )
        rows.append((floor, before[1] + jump // MILLION, rate, 100, 0))
    return rows


def check_kind(instrument: "Instrument", where: str) -> None:
    """Contracts have tiers, spot instruments haircuts."""
    spot = instrument.kind == "spot"
    wanted, unwanted = ("haircuts", "tiers") if spot else ("tiers", "haircuts")
    if spot and not instrument.haircuts:
        raise ConfigError(f"{where}.haircuts", 'expected at least one; kind is "spot"')
    if getattr(instrument, unwanted):
        raise ConfigError(f"{where}.{unwanted}", f'kind "{instrument.kind}" has {wanted} instead')
    left = MILLION - instrument.haircuts[-1].haircut_ppm if spot else 0
    if instrument.initial_haircut_ppm > left:
        raise ConfigError(f"{where}.initial_haircut_ppm", f"expected at most {left}, what the last haircut leaves")


def compile_conversions(venue: "Venue") -> tuple[np.ndarray, np.ndarray]:
    """(CONVERSION by asset, instruments in the order in which they are sold; -1 = none)."""
    rows, sales = np.zeros(len(venue.assets), CONVERSION), list[int]()
    names = [asset.name for asset in venue.assets]
    for k, conversion in enumerate(venue.collateral.conversions):
        where = f"$.venue.collateral.conversions[{k}]"
        if conversion.asset not in names:
            raise ConfigError(f"{where}.asset", f"{conversion.asset!r} is not in venue.assets {names}")
        at = names.index(conversion.asset)
        if rows[at]["count"]:
            raise ConfigError(f"{where}.asset", f"{conversion.asset!r} has a conversion already")
        quantum = number(f"$.venue.assets[{at}].quantum", venue.assets[at].quantum)
        row, chosen = rows[at], _sold(venue, conversion, where)
        row["below"] = _money(f"{where}.below", conversion.below, quantum, conversion.asset)
        row["target"] = _money(f"{where}.to", conversion.to, quantum, conversion.asset)
        if row["target"] > row["below"]:
            raise ConfigError(f"{where}.to", f"expected at most below = {conversion.below}, got {conversion.to}")
        for name in ("band_ppm", "charge_ppm", "delay_ns", "retry_ns"):
            row[name] = getattr(conversion, name)
        row["base"], row["count"] = len(sales), len(chosen)
        sales += chosen
    return rows, np.array(sales or [-1], np.int64)


def _sold(venue: "Venue", conversion: Conversion, where: str) -> list[int]:
    """Places of the instruments that a conversion sells, in order."""
    spots = {
        instrument.symbol: k
        for k, instrument in enumerate(venue.instruments)
        if instrument.kind == "spot" and instrument.settle == conversion.asset
    }
    for j, symbol in enumerate(conversion.order):
        if symbol not in spots or symbol in conversion.order[:j]:
            what = "is named twice" if symbol in spots else f"is no spot instrument in {conversion.asset} {list(spots)}"
            raise ConfigError(f"{where}.order[{j}]", f"{symbol!r} {what}")
    if not spots:
        raise ConfigError(f"{where}.asset", f"no spot instrument settles in {conversion.asset!r}: nothing to sell")
    return [spots[symbol] for symbol in conversion.order or spots]
