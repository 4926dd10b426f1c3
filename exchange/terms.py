"""One instrument's terms, checked and compiled to whole numbers: units of money, prices, limits, tiers. DESIGN §1.

Part of the venue's configuration (`exchange/config.py`).
"""

from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from exchange import codes, units
from exchange.errors import ConfigError

if TYPE_CHECKING:
    from exchange.config import Instrument

MONEY_MAX = 2**62  # every sum and product of money stays below this, so int64 never wraps
LOTS_MAX = 2**31 - 1


def number(where: str, text: str, positive: bool = True) -> Decimal:
    try:
        value = units.decimal(text)
    except ValueError as error:
        raise ConfigError(where, str(error)) from None
    if positive and value <= 0:
        raise ConfigError(where, f"expected a positive number, got {text}")
    return value


def count_of(where: str, text: str, step: Decimal) -> int:
    try:
        return units.whole(number(where, text), step)
    except ValueError as error:
        raise ConfigError(where, str(error)) from None


def money_of(text: str | None, quantum: Decimal, where: str) -> int:
    """Quanta of an amount of money that may be 0; of one that is not stated 0."""
    try:
        money = units.whole(number(where, text or "0", positive=False), quantum)
    except ValueError as error:
        raise ConfigError(where, str(error)) from None
    if not 0 <= money < MONEY_MAX:
        raise ConfigError(where, f"expected from 0 to below 2**62 quanta, got {money}")
    return money


def _quanta(where: str, formula: str, money: Decimal, quantum: Decimal) -> int:
    quanta = money / quantum
    if quanta != quanta.to_integral_value():
        raise ConfigError(
            where,
            f"{formula} = {money.normalize():f} is not a whole number of "
            f"quanta of {quantum:f}; a quantum of {money.normalize():f} would do",
        )
    if quanta >= MONEY_MAX:
        raise ConfigError(
            where,
            f"{formula} = {money.normalize():f} is beyond 2**62 quanta of {quantum:f}; "
            f"a quantum of {enough(quantum, int(quanta)):f} would do",
        )
    return int(quanta)


def _linear_units(instrument: "Instrument", money: Decimal, quantum: Decimal, where: str) -> tuple[int, int]:
    """Quanta of one lot moving one tick, and one sub-tick."""
    unit_value = _quanta(f"{where}.tick", "tick * lot * multiplier", money, quantum)
    if unit_value % instrument.mark_per_tick:
        raise ConfigError(
            f"{where}.mark_per_tick",
            f"{instrument.mark_per_tick} does not divide the {unit_value} "
            f"quanta of one tick and lot; a quantum of {money.normalize() / instrument.mark_per_tick:f} would do",
        )
    return unit_value, unit_value // instrument.mark_per_tick


def _inverse_units(instrument: "Instrument", money: Decimal, quantum: Decimal, where: str) -> tuple[int, int]:
    """Quanta of one lot times its price in ticks, and in sub-ticks."""
    unit_value = _quanta(f"{where}.multiplier", "lot * multiplier / tick", money, quantum)
    return unit_value, unit_value * instrument.mark_per_tick


def compile_units(record: np.void, instrument: "Instrument", quantum: Decimal, where: str) -> None:
    tick, lot = number(f"{where}.tick", instrument.tick), number(f"{where}.lot", instrument.lot)
    face = lot * number(f"{where}.multiplier", instrument.multiplier)
    if instrument.kind != "inverse":
        record["unit_value"], record["mark_unit"] = _linear_units(instrument, tick * face, quantum, where)
    else:
        record["unit_value"], record["mark_unit"] = _inverse_units(instrument, face / tick, quantum, where)
    record["mark_per_tick"] = instrument.mark_per_tick
    record["kind"] = codes.INVERSE if instrument.kind == "inverse" else codes.LINEAR
    record["spot"] = instrument.kind == "spot"
    record["market_band_ppm"] = instrument.market_band_ppm
    ticks_max = count_of(f"{where}.price_max", instrument.price_max, tick)
    if ticks_max > LOTS_MAX:
        raise ConfigError(f"{where}.price_max", f"{ticks_max} ticks; a ladder holds at most {LOTS_MAX}")
    if ticks_max * instrument.mark_per_tick >= 2**40:
        raise ConfigError(f"{where}.mark_per_tick", "price_max in sub-ticks must stay below 2**40; lower mark_per_tick")
    record["ticks_max"] = ticks_max
    record["ticks_min"] = count_of(f"{where}.price_min", instrument.price_min or instrument.tick, tick)
    if record["ticks_min"] > ticks_max:
        raise ConfigError(f"{where}.price_min", f"{instrument.price_min} is above price_max {instrument.price_max}")
    for field in ("order_max", "position_max", "open_interest_max"):
        lots = count_of(f"{where}.{field}", getattr(instrument, field), lot)
        if lots > LOTS_MAX:
            raise ConfigError(f"{where}.{field}", f"{lots} lots; at most {LOTS_MAX} are allowed")
        record[f"{field}_lots"] = lots


def enough(quantum: Decimal, bound: int) -> Decimal:
    """A power-of-ten multiple of a quantum in which `bound` quanta stay below 2**62."""
    return (quantum * Decimal(10) ** len(str(bound // MONEY_MAX))).normalize()


def most_value(record: np.void, lots: int) -> int:
    """The largest notional of `lots`: a linear contract's at the highest price, an inverse one's at the lowest."""
    if record["kind"] == codes.LINEAR:
        return int(record["ticks_max"]) * int(record["unit_value"]) * lots
    return int(record["unit_value"]) * lots // int(record["ticks_min"])
