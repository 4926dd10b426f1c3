"""European options: what they are written on, how they are quoted, what a short one must hold. DESIGN §3.14.

Part of the venue's configuration (`exchange/config.py`), compiled to the kernels' records here.
"""

from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np

from exchange import codes
from exchange.errors import ConfigError
from exchange.terms import MONEY_MAX, count_of, number

if TYPE_CHECKING:
    from exchange.config import Instrument, Venue

PRICE_MAX = 2**40  # of strikes and of options, as of marks; whole numbers below 2**53 are exact in float64

OPTION = np.dtype(  # one an instrument; all zero where it is none
    [
        ("underlying", "i8"),
        ("right", "i8"),
        ("coin_sub", "i8"),  # sub-ticks of the option in one unit of the base asset; 0 = the premium is in quote
        ("numerator", "i8"),  # underlying's sub-ticks to the unit of the strike
        ("denominator", "i8"),
        ("strike", "i8"),  # in sub-ticks of the option; where the premium is in base, of the underlying
        ("initial_ppm", "i8"),
        ("floor_ppm", "i8"),
        ("maintenance_ppm", "i8"),
        ("rate_ppm", "i8"),  # a year, by which the mark is discounted
        ("whole_parts", "i8"),  # a volatility of one
        ("volatility_parts", "i8"),  # a year's, of the mark; 0 = not known
        ("initial_sub", "i8"),  # what a short lot holds, in sub-ticks, since the last refresh
        ("maintenance_sub", "i8"),
        ("whole_sub", "i8"),  # what a lot of the underlying is worth, in sub-ticks of the option, likewise
        ("moved", "i8"),
        ("timer", "i8"),  # in the first record: the venue's OPTION_TICK is set
    ],
    align=True,
)

Share = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class Option(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A European option on the instrument `underlying`, whose mark is the forward and whose index settles it.

    `premium` quote: prices are in the currency of the underlying's; base: in its base asset (so is the payoff). The
    three rates are the standard margin of a short: initial share of the underlying, less what the option is out of the
    money, but at least the floor; maintenance share. `rate_ppm` a year, continuous, discounts the mark to today.
    """

    underlying: str
    strike: str
    right: Literal["call", "put"]
    premium: Literal["quote", "base"] = "quote"
    initial_ppm: Share = 150_000
    floor_ppm: Share = 100_000
    maintenance_ppm: Share = 75_000
    rate_ppm: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0


def compile_options(venue: "Venue", instruments: np.ndarray) -> np.ndarray:
    """One record an instrument; marks the records of those that are options."""
    records = np.zeros(len(venue.instruments), OPTION)
    for k, instrument in enumerate(venue.instruments):
        where = f"$.venue.instruments[{k}]"
        if (instrument.kind == "option") != (instrument.option is not None):
            raise ConfigError(f"{where}.option", "all instruments of kind 'option' have this table, and no others")
        if instrument.option is not None:
            _compile(venue, instruments, k, records[k], f"{where}.option")
            instruments[k]["option"] = 1
    return records


def _underlying(venue: "Venue", instrument: "Instrument", option: Option, where: str) -> int:
    symbols = [other.symbol for other in venue.instruments]
    if option.underlying not in symbols:
        raise ConfigError(f"{where}.underlying", f"{option.underlying!r} is not among the instruments {symbols}")
    of = symbols.index(option.underlying)
    other = venue.instruments[of]
    if other.kind == "option" or other.settle != instrument.settle:
        raise ConfigError(f"{where}.underlying", f"expected a perpetual or future settled in {instrument.settle}")
    if not instrument.life.expiry_ns:
        raise ConfigError(f"{where.removesuffix('.option')}.life.expiry_ns", "an option needs an expiry")
    if 0 < other.life.expiry_ns < instrument.life.expiry_ns:
        raise ConfigError(f"{where}.underlying", f"{option.underlying} expires before the option")
    if len(instrument.tiers) != 1:
        raise ConfigError(f"{where.removesuffix('.option')}.tiers", "an option has one tier; its margin is its own")
    return of


def _compile(venue: "Venue", instruments: np.ndarray, k: int, row: np.void, where: str) -> None:
    instrument = venue.instruments[k]
    option = instrument.option
    assert option is not None
    of = _underlying(venue, instrument, option, where)
    other = venue.instruments[of]
    own_sub = number(where, instrument.tick) / instrument.mark_per_tick
    other_sub = number(where, other.tick) / other.mark_per_tick
    highest_sub = int(instruments[of]["ticks_max"]) * other.mark_per_tick
    if option.premium == "quote":
        rate, unit = Fraction(other_sub) / Fraction(own_sub), own_sub
    else:
        rate, unit = Fraction(1), other_sub
        row["coin_sub"] = count_of(f"{where}.premium", "1", own_sub)
    row["strike"] = count_of(f"{where}.strike", option.strike, unit)
    row["numerator"], row["denominator"] = rate.numerator, rate.denominator
    row["underlying"], row["right"] = of, {"call": codes.CALL, "put": codes.PUT}[option.right]
    row["whole_parts"] = 1_000_000 * venue.mark.volatility_per_ppm
    for name in ("initial_ppm", "floor_ppm", "maintenance_ppm", "rate_ppm"):
        row[name] = getattr(option, name)
    most = max(highest_sub * rate.numerator, int(row["coin_sub"]) * max(highest_sub, int(row["strike"])))
    if most >= MONEY_MAX or int(row["strike"]) >= PRICE_MAX or highest_sub * rate >= PRICE_MAX:
        raise ConfigError(f"{where}.strike", "prices of option and underlying are too far apart; use coarser sub-ticks")
    worth = max(highest_sub * rate, int(row["coin_sub"])) + int(instruments[k]["ticks_max"]) * instrument.mark_per_tick
    held = max(int(instruments[k]["position_max_lots"]), int(instruments[k]["order_max_lots"]))
    if worth * int(instruments[k]["mark_unit"]) * held * 4 * len(instruments) >= MONEY_MAX:
        raise ConfigError(
            f"{where.removesuffix('.option')}.position_max",
            f"what {held} short lots must hold passes 2**62 quanta; a lower limit or a larger quantum would do",
        )
