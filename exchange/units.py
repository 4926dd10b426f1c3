"""From decimal text to the venue's integers, each conversion and rounding in one named function."""

from decimal import Decimal, InvalidOperation


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
