"""Decimal text to integers, and level messages to tape rows: the byte loops of the JSON readers."""

import numpy as np

from exchange.codes import ASK, BID, LAST, LEVEL_SET
from exchange.core.kernel import entry

OK, MALFORMED, NEGATIVE, OFF_STEP, TOO_LARGE = range(5)
DIGITS_MAX = 18

_QUOTE, _COMMA, _OPEN, _CLOSE, _DOT, _MINUS, _ZERO, _NINE = (ord(c) for c in '",[].-09')
_BLANKS = (32, 9, 10, 13)


@entry
def parse_number(text: np.ndarray, at: int, end: int, decimals: int, step: int) -> tuple[int, int, int]:
    """Count of steps in the decimal number at `at`; a step is `step` units of the last of `decimals` digits.

    Returns
    -------
    (count, where the number ends, code)
    """
    if at < end and text[at] == _MINUS:
        return 0, at, NEGATIVE
    number, digits, kept = 0, 0, -1
    while at < end:
        byte = int(text[at])  # a sum of bytes would wrap where kernels run uncompiled
        if byte == _DOT:
            if kept >= 0 or digits == 0:
                return 0, at, MALFORMED
            kept = 0
        elif _ZERO <= byte <= _NINE:
            if kept < decimals:  # digits before the dot (kept is -1 there) and as many after it as a step has
                if digits == DIGITS_MAX and number != 0:
                    return 0, at, TOO_LARGE
                number = number * 10 + (byte - _ZERO)
                digits = digits + 1 if number != 0 else 1
                if kept >= 0:
                    kept += 1
            elif byte != _ZERO:
                return 0, at, OFF_STEP
        else:
            break
        at += 1
    if digits == 0 or text[at - 1] == _DOT:
        return 0, at, MALFORMED
    for _ in range(max(kept, 0), decimals):
        if digits >= DIGITS_MAX and number != 0:
            return 0, at, TOO_LARGE
        number *= 10
        digits += 1
    if number % step != 0:
        return 0, at, OFF_STEP
    return number // step, at, OK


@entry
def parse_list(
    text: np.ndarray, decimals: np.ndarray, step: np.ndarray, rule: np.ndarray, out: np.ndarray
) -> tuple[int, int]:
    """Parse comma-separated numbers; number `k` follows `decimals[rule[k]], step[rule[k]]`.

    Returns
    -------
    (how many were good, code of the first bad one)
    """
    at, end = 0, len(text)
    for k in range(len(out)):
        count, at, code = parse_number(text, at, end, decimals[rule[k]], step[rule[k]])
        if code == OK and at < end and text[at] != _COMMA:
            code = MALFORMED
        if code != OK:
            return k, code
        out[k] = count
        at += 1
    return len(out), OK


@entry
def _skip(text: np.ndarray, at: int, end: int) -> int:
    while at < end and text[at] in _BLANKS:
        at += 1
    return at


@entry
def _expect(text: np.ndarray, at: int, end: int, byte: int) -> int:
    """Place after blanks, `byte` and blanks; -1 when something else stands there."""
    if at < 0:
        return -1
    at = _skip(text, at, end)
    if at >= end or text[at] != byte:
        return -1
    return _skip(text, at + 1, end)


@entry
def parse_levels(
    text: np.ndarray,
    bounds: np.ndarray,
    decimals: np.ndarray,
    step: np.ndarray,
    rule: np.ndarray,
    numbers: np.ndarray,
    counts: np.ndarray,
) -> tuple[int, int]:
    """Parse JSON lists `[["price","size"],...]`, list `c` in `text[bounds[c]:bounds[c + 1]]`.

    Parameters
    ----------
    rule : i8[lists]; the price follows `decimals[rule[c]]`, the size the entry after it
    numbers : i8[levels, 2], filled with price and size steps; counts : i8[lists], filled with levels of each list

    Returns
    -------
    (list at fault, code); (number of lists, OK) when all are good
    """
    level = 0
    for c in range(len(counts)):
        end, first = bounds[c + 1], level
        at = _expect(text, bounds[c], end, _OPEN)
        if at < 0:
            return c, MALFORMED
        while at < end and text[at] != _CLOSE:
            if level > first:
                at = _expect(text, at, end, _COMMA)
            at = _expect(text, at, end, _OPEN)
            if level == len(numbers):  # room was counted from the quotes: four to a level
                return c, MALFORMED
            for part in range(2):
                if at < 0 or at >= end or text[at] != _QUOTE:
                    return c, MALFORMED
                count, at, code = parse_number(text, at + 1, end, decimals[rule[c] + part], step[rule[c] + part])
                if code != OK:
                    return c, code
                numbers[level, part] = count
                at = _expect(text, at, end, _QUOTE)
                at = _expect(text, at, end, _COMMA if part == 0 else _CLOSE)
            if at < 0:
                return c, MALFORMED
            level += 1
        if at >= end or _skip(text, at + 1, end) != end:
            return c, MALFORMED
        counts[c] = level - first
    return len(counts), OK


@entry
def place_levels(
    rows: np.ndarray,
    starts: np.ndarray,
    stamps: np.ndarray,
    exchange: np.ndarray,
    instruments: np.ndarray,
    numbers: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Write message `m` (lists `2 m` bids, `2 m + 1` asks) from `rows[starts[m]]` on: removals first, LAST last."""
    first = 0
    for m in range(len(starts)):
        bids = counts[2 * m]
        size = bids + counts[2 * m + 1]
        at = starts[m]
        for removals in (True, False):
            for k in range(first, first + size):
                if (numbers[k, 1] == 0) == removals:
                    row = rows[at]
                    row["ts_ns"] = stamps[m]
                    row["exchange_ns"] = exchange[m]
                    row["price"] = numbers[k, 0]
                    row["qty"] = numbers[k, 1]
                    row["kind"] = LEVEL_SET
                    row["instrument"] = instruments[m]
                    row["side"] = BID if k < first + bids else ASK
                    at += 1
        if size > 0:
            rows[at - 1]["flags"] = LAST
        first += size


@entry
def significant_decimals(text: np.ndarray, most: np.ndarray, lists: bool) -> None:
    """Raise `most[part]` to the digits after the dot, trailing zeros left out, of every number in the text.

    With `lists` the text is JSON levels and a number's part is its place in its pair; else all are part 0.
    """
    part, after, last = 0, -1, 0
    for at in range(len(text)):
        byte = text[at]
        if byte == _DOT:
            after, last = 0, 0
        elif _ZERO <= byte <= _NINE:
            if after >= 0:
                after += 1
                last = after if byte != _ZERO else last
        else:
            if after >= 0:
                most[part] = max(most[part], last)
            after = -1
            if lists and byte == _OPEN:
                part = 0
            elif lists and byte == _COMMA:
                part = 1
    if after >= 0:
        most[part] = max(most[part], last)
