"""Conversion between the numbers of a case and the venue's integers: all the arithmetic there is beside `comparison`.

Numbers are `Decimal`, as written in the case file. A conversion that must be exact raises `Inexact` when it is not.
"""

import math
from decimal import Decimal
from fractions import Fraction

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


def rate(fraction):
    """A fraction as millionths and the billionths beyond them, exactly."""
    return divmod(whole(fraction, BILLIONTH), 1000)


def nearest_ppm(fraction):
    """A fraction that a source prints with binary noise."""
    return nearest(fraction, MILLIONTH)


def millionths_and_beyond(fraction):
    """A fraction as millionths and the billionths beyond them, to the nearest."""
    return divmod(nearest(fraction, BILLIONTH), 1000)


def in_units_of(price, unit):
    return Decimal(price) / Decimal(unit)


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
    if contract.kind == "inverse" or contract.coarse:
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


FINE_TICK = Decimal("0.01")


def one_more(count):
    return int(count) + 1


def ppm_of_leverage(leverage):
    """The initial rate of a leverage, exactly."""
    return whole(Decimal(1) / Decimal(leverage), MILLIONTH)


def side_and_size(signed):
    return ("long" if signed > 0 else "short"), abs(signed)


def quote_price(price, exponents, quote_resolution):
    """Quote quanta of one base quantum."""
    return Decimal(price).scaleb(sum(exponents) - quote_resolution)


def common_lot(size, other):
    """The largest lot that divides two whole sizes, of which the second may be 0."""
    return Decimal(math.gcd(int(size), int(other)))


def limit_of(sizes, lot):
    """A limit with room for the sizes, in whole lots."""
    limit = room(sum(abs(size) for size in sizes))
    return limit if limit % lot == 0 else room(limit / lot) * lot


def fine_step(prices):
    """A tick that leaves a mark fine enough for a price far below these."""
    return min(step_of(prices), room(max(prices)) / 10**4)


def fraction_above(price, base):
    """A price as the fraction by which it is above another."""
    return price / base - 1


def difference(number, other):
    return number - other


def around(price, step):
    """A bid and an ask whose middle is a price."""
    return price - step, price + step


def fraction_text(number, power):
    """A number times a power of ten, as a fraction in lowest terms."""
    return str(Fraction(Decimal(number).scaleb(power)))


def ppb_of_ppm(parts):
    return whole(Decimal(parts), Decimal("1e-3"))


def ppm_of_ppb(parts):
    return whole(Decimal(parts), Decimal(1000))


def seconds_ns(seconds):
    return whole(Decimal(seconds) * 10**9, Decimal(1))


def part_of_second_ns(parts):
    return whole(Decimal(10**9) / parts, Decimal(1))


def part_of_day_ns(parts):
    return whole(Decimal(24 * NS_PER_HOUR) / parts, Decimal(1))


def minutes_ns(minutes):
    return whole(Decimal(minutes) * 60 * 10**9, Decimal(1))


def shifted(number, decimals):
    """A number whose last digits are decimals."""
    return Decimal(number).scaleb(-int(decimals))


def from_resolution(*exponents):
    """Ten to the sum of the first exponents less the last one."""
    return Decimal(1).scaleb(sum(exponents[:-1]) - exponents[-1])


def steps_between(before, after, most):
    """A move cut into parts of at most `most`."""
    move = after - before
    whole_parts, rest = divmod(abs(move), most)
    return [part if move > 0 else -part for part in (*[most] * whole_parts, rest) if part]


def most_of(volume, fraction):
    """Whole lots that a share of a volume comes to, rounded up: a limit that may or may not bind."""
    return math.ceil(Decimal(volume) * Decimal(str(fraction)))


def tenfold(number):
    return 10 * Decimal(number)


def days_ns(days):
    return whole(Decimal(days) * 24 * NS_PER_HOUR, Decimal(1))


def gain(loss, step):
    return -int(loss) * step


def cash_at_leverage(size, price, entry, leverage):
    """Cash with which a long that was entered at a price has a leverage at another."""
    return Decimal(size) * (Decimal(price) / leverage - Decimal(price) + entry)


def just_below(price, step):
    return Decimal(price) - step


def threefold(number):
    return 3 * Decimal(number)


def per_unit(money, size):
    """What one of so many units bears of the money that an account pays."""
    return -money / size


def up_to_step(number, step):
    """The next multiple of a step."""
    return math.ceil(Decimal(number) / step) * step


def total(*numbers):
    return sum(map(Decimal, numbers))


def product(number, other):
    return Decimal(number) * Decimal(other)


def to_step(number, step):
    """The nearest multiple of a step."""
    return nearest(number, step) * step


def in_fine_lots(size):
    """A size in lots of a millionth, where a source prints it with binary noise."""
    return to_step(size, MILLIONTH)


def premium_tick(price):
    """A tick that leaves a premium fine enough on a ladder for a price."""
    return room(price) / 10**8


def step_for(money, steps):
    """The finest of some steps, or of one, with which a ladder holds a sum of money."""
    return max(room(money + 1) / 10**8, min([Decimal(1), *steps]))


def parts_of(value, step, multiple, most):
    """A count and a price, in whole steps, whose product is nearest to a value: counts that are multiples, near `most`."""

    def distance(count):
        return abs(value - count * nearest(value / count, step) * step)

    count = min(
        range(most // multiple * multiple, most // multiple * multiple - 4_000 * multiple, -multiple), key=distance
    )
    return count, nearest(value / count, step) * step


def sold_before(count, reserved, left, kept_share):
    """Lots whose sale, at a share of the equity of each lot, has left `reserved` when `count` lots with `left` remain."""
    return nearest(count * reserved / (left * kept_share), Decimal(1))


def with_sold(amount_left, count, sold):
    """What all lots had, of which `count` have `amount_left` now and `sold` went."""
    return amount_left * (count + sold) / count


def product(number, other):
    return number * other


def ratio(number, whole_number):
    return number / whole_number


def share_of_sum(part, other):
    return part / (part + other)


def rest_of(number):
    """What of 1 a number leaves."""
    return 1 - number


def within_a_lot(money, per_lot):
    """Money, or none where it is less than what a lot is worth: no smaller step there is."""
    return Decimal(0) if abs(money) < per_lot else money


def between_lots(lots, of):
    """The share at which that many lots do and one less do not: the middle of both."""
    return (lots - Decimal("0.5")) / of


def quote_short_of(size, price, rate, shortage):
    """Quote balance of a position whose equity is its maintenance less a shortage."""
    return size * price * rate - shortage - size * price


def added(*numbers):
    return sum(numbers)
