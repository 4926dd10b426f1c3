"""What a portfolio holds beside its worst loss, from the rule: charges of each group, and the least."""

from typing import TYPE_CHECKING

from exchange.reference.arithmetic import PPM, ceil_div

if TYPE_CHECKING:
    from exchange.reference.world import World

Leg = tuple[int, list[int]]  # instrument, the lots that may be held


def worth(world: "World", instrument: int, lots: int) -> int:
    """Value without sign: a contract's at the mark, of an option that of its underlying at its last refresh."""
    contract = world.contracts[instrument]
    price = world.markets[instrument].mark_sub if contract.option is None else contract.option.whole_sub
    return abs(contract.value(price, lots))


def largest(world: "World", leg: Leg) -> int:
    """The most that counts of a leg alone: of an option, only what is short."""
    counted = [lots for lots in leg[1] if lots < 0 or world.contracts[leg[0]].option is None]
    return max((worth(world, leg[0], lots) for lots in counted), default=0)


def short_options(world: "World", legs: list[Leg]) -> int:
    """Charge for what is short, net, of each underlying, expiry and strike."""
    charge = 0
    for strike in dict.fromkeys(world.grid.strikes[leg[0]] for leg in legs):
        mine = [leg for leg in legs if world.grid.strikes[leg[0]] == strike]
        shortest = [(instrument, min(lots)) for instrument, lots in mine]
        net = sum(worth(world, instrument, lots) * (1 if lots > 0 else -1) for instrument, lots in shortest)
        rate = world.grid.groups[mine[0][0]].add_ons.short_option_ppm
        charge += ceil_div(max(0, -net) * rate, PPM)
    return charge


def offset(world: "World", legs: list[Leg]) -> int:
    """How much of a group's contracts may be long and short at once; none offsets itself."""
    longs = sum(worth(world, instrument, max(0, *lots)) for instrument, lots in legs)
    shorts = sum(worth(world, instrument, min(0, *lots)) for instrument, lots in legs)
    sizes = [largest(world, leg) for leg in legs]
    return min(longs, shorts, sum(sizes) - max(sizes, default=0))


def of_group(world: "World", legs: list[Leg]) -> tuple[int, int]:
    """(charges, the least) of the legs of one group."""
    terms = world.grid.groups[legs[0][0]].add_ons
    options = [leg for leg in legs if world.contracts[leg[0]].option is not None]
    contracts = [leg for leg in legs if world.contracts[leg[0]].option is None]
    charges = short_options(world, options) + ceil_div(offset(world, contracts) * terms.offset_ppm, PPM)
    charges += sum(ceil_div(largest(world, leg) * terms.gross_ppm, PPM) for leg in contracts)
    return charges, sum(ceil_div(largest(world, leg) * terms.least_ppm, PPM) for leg in legs)


def required(world: "World", legs: list[Leg], loss: int) -> int:
    """A worst loss (money) with the charges of all groups, at least their minimum."""
    by_group = dict[str, list[Leg]]()
    for leg in legs:
        by_group.setdefault(world.grid.groups[leg[0]].name, []).append(leg)
    found = [of_group(world, mine) for mine in by_group.values()]
    return max(loss + sum(charges for charges, _ in found), sum(least for _, least in found))
