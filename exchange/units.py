"""From decimal text to the venue's integers and what they are worth, each rounding in one named function."""

from decimal import Decimal, InvalidOperation
from typing import Any

from exchange import codes


def decimal(text: str) -> Decimal:
    """Parse decimal text exactly; `ValueError` on anything that is not a finite decimal number."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text!r} is not a decimal number") from None
    if not number.is_finite():
        raise ValueError(f"{text!r} is not a finite number")
    return number


def whole(number: Decimal, step: Decimal) -> int:
    """How many `step` make `number`; `ValueError` when it is not a whole number of them."""
    count = number / step
    if count != count.to_integral_value():
        raise ValueError(f"{number} is not a multiple of {step}")
    return int(count)


def nearest(number: Decimal, step: Decimal) -> int:
    """Nearest whole count of `step`, halves up. For recorded marks and indices, which are finer than sub-ticks."""
    return int((number / step + Decimal("0.5")).__floor__())


def floor_count(number: Decimal, step: Decimal) -> int:
    """The largest whole count of `step` not above `number`."""
    return int((number / step).__floor__())


def contract_value(record: Any, price_sub: Any, lots: Any) -> Any:
    """Signed value of lots of an instrument (schema.INSTRUMENT) at a price in sub-ticks > 0; numbers or int64 arrays.

    DESIGN §1: linear, price times size; inverse, minus size over price, rounded toward zero.
    """
    scaled = int(record["mark_unit"]) * lots
    if record["kind"] == codes.LINEAR:
        return scaled * price_sub
    size = abs(scaled) // price_sub
    return size * (1 - 2 * (lots > 0))
