"""Conversion between the numbers of a case and the venue's integers: all the arithmetic there is beside `comparison`.

Numbers are `Decimal`, as written in the case file. A conversion that must be exact raises `Inexact` when it is not.
"""

from decimal import Decimal

from exchange import units

MILLIONTH, BILLIONTH = Decimal("1e-6"), Decimal("1e-9")
TRANSFER_MAX = 2**52  # most quanta that one DEPOSIT, WITHDRAW or TRANSFER carries
MONEY_MAX = 2**57  # most quanta that a case's money may become
PLENTY = 16  # deposits of TRANSFER_MAX that make an account rich
SUB_TICKS_MAX = 10**10  # of a ladder: fine enough for a price to one part in a million
MARK_PER_TICK_MAX = 10**6
NS_PER_HOUR = 3_600 * 10**9
FAR_NS = 10**17
QUANTA = tuple(Decimal(1).scaleb(-places) for places in range(18, -1, -1))  # finest first


class Inexact(Exception):
    """A number of a case has no exact place among the venue's integers."""


def whole(number, step):
    """How many steps make a number, exactly."""
    try:
        return units.whole(Decimal(number), step)
    except ValueError as error:
        raise Inexact(str(error)) from None


def text(number):
    """Plain decimal text of a number."""
    return f"{Decimal(number):f}"


def ppm(fraction):
    return whole(fraction, MILLIONTH)


def percent_ppm(percent):
    return whole(percent, Decimal("1e-4"))


def ppb(fraction):
    return whole(fraction, BILLIONTH)


def hundredths(leverage):
    return whole(leverage, Decimal("0.01"))


def leverage_of(rate_ppm):
    """Leverage whose initial margin is `rate_ppm` of the exposure."""
    return whole(10**8, Decimal(rate_ppm)) * Decimal("0.01")


def hours_ns(hours):
    return whole(Decimal(hours) * NS_PER_HOUR, Decimal(1))


def nearest(number, step):
    """Nearest count of steps: money and prices that a source prints with binary noise."""
    return units.nearest(Decimal(number), step)


def opposite(number, step):
    """Exact count of steps of the number with the other sign: money that leaves an isolated position."""
    return -whole(number, step)


def amount(steps, step):
    """The number that a count of steps stands for."""
    return int(steps) * step


def sub_tick(contract):
    return contract.tick / contract.mark_per_tick


def step_of(numbers):
    """Largest power of ten, at most 1, that divides every number."""
    return Decimal(1).scaleb(min(0, *(Decimal(number).normalize().as_tuple().exponent for number in numbers)))


def room(number):
    """A power of ten at least twice a number: where a ladder or a limit that a case does not state may end."""
    top = Decimal(1)
    while top < 2 * number:
        top *= 10
    return top


def ladder_price(price, price_max):
    """A limit beyond the ladder reaches as far as the ladder does."""
    return min(Decimal(price), price_max)


def mark_per_tick(contract, quantum):
    """Finest power of ten of sub-ticks that keeps a lot's sub-tick a whole number of quanta.

    An inverse contract has none: there a finer sub-tick costs a coarser quantum, and the cases state coin.
    """
    if contract.kind == "inverse":
        return 1
    unit_value = contract.tick * contract.lot * contract.multiplier / quantum
    finest = 1
    while (
        finest < MARK_PER_TICK_MAX
        and unit_value % (10 * finest) == 0
        and contract.price_max / contract.tick * 10 * finest < SUB_TICKS_MAX
    ):
        finest *= 10
    return finest


def fits(money, quantum):
    return all(abs(Decimal(number)) / quantum <= MONEY_MAX for number in money)


def parcels(quanta):
    """Cut money into what single events carry."""
    whole, rest = divmod(abs(quanta), TRANSFER_MAX)
    return [size if quanta > 0 else -size for size in (*[TRANSFER_MAX] * whole, rest) if size]


def tier_floor(cum, rate):
    """Floor at which a tier of `rate`, after a tier that maintains nothing, has the cumulative amount `cum`."""
    floor = Decimal(cum) / Decimal(rate)
    if floor * Decimal(rate) != Decimal(cum):
        raise Inexact(f"no tier floor gives the maintenance amount {cum} at the rate {rate}")
    return floor


def fraction_above(price, base):
    """A price as the fraction by which it is above another."""
    return price / base - 1
