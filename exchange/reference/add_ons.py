"""What a portfolio holds beside its worst loss, from the rule: charges of each group, and the least."""

from typing import TYPE_CHECKING

from exchange import codes
from exchange.reference.arithmetic import PPM, ceil_div, ppm_up

if TYPE_CHECKING:
    from exchange.reference.world import World

Leg = tuple[int, list[int]]  # instrument, the lots that may be held


def worth(world: "World", instrument: int, lots: int) -> int:
    """Value without sign: a contract's at the mark or its index as measured, of an option that of its underlying at its
    last refresh."""
    contract = world.contracts[instrument]
    if contract.option is not None:
        return abs(contract.value(contract.option.whole_sub, lots))
    if world.grid.groups[instrument].add_ons.price == "index":
        return abs(contract.value(world.grid.charged_sub.get(instrument, 0), lots))
    return abs(contract.value(world.markets[instrument].mark_sub, lots))


def largest(world: "World", leg: Leg) -> int:
    """The most that counts of a leg alone: of an option, only what is short."""
    counted = [lots for lots in leg[1] if lots < 0 or world.contracts[leg[0]].option is None]
    return max((worth(world, leg[0], lots) for lots in counted), default=0)


def short_options(world: "World", legs: list[Leg], is_initial: bool) -> int:
    """Charge for what is short, net, of each underlying, expiry and strike."""
    charge = 0
    for strike in dict.fromkeys(world.grid.strikes[leg[0]] for leg in legs):
        mine = [leg for leg in legs if world.grid.strikes[leg[0]] == strike]
        shortest = [(instrument, min(lots)) for instrument, lots in mine]
        net = sum(worth(world, instrument, lots) * (1 if lots > 0 else -1) for instrument, lots in shortest)
        terms = world.grid.groups[mine[0][0]].add_ons
        rate = terms.short_option_ppm + is_initial * terms.short_option_initial_ppm
        charge += ceil_div(max(0, -net) * rate, PPM)
    return charge


def offset(world: "World", legs: list[Leg]) -> int:
    """How much of a group's contracts may be long and short at once; none offsets itself."""
    longs = sum(worth(world, instrument, max(0, *lots)) for instrument, lots in legs)
    shorts = sum(worth(world, instrument, min(0, *lots)) for instrument, lots in legs)
    sizes = [largest(world, leg) for leg in legs]
    return min(longs, shorts, sum(sizes) - max(sizes, default=0))


def measure(world: "World", instrument: int) -> None:
    """Take the index that charges are reckoned at, and value what the books may absorb of a contract, at the first mark
    of a period."""
    group, contract = world.grid.groups.get(instrument), world.contracts[instrument]
    number = world.clock_ns // world.grid.terms.depth_period_ns + 1
    if group is None or (not group.add_ons.depth_ppm and group.add_ons.price == "mark"):
        return
    if world.grid.depths.get(instrument, (0,))[0] == number:
        return
    terms, mark_sub = group.add_ons, world.markets[instrument].mark_sub
    world.grid.depths[instrument] = number, 0, 0
    if terms.price == "index":
        world.grid.charged_sub[instrument] = world.markets[instrument].index_sub or mark_sub
    if not terms.depth_ppm:
        return
    lowest = ceil_div(mark_sub * (PPM - terms.depth_band_ppm), PPM * contract.mark_per_tick)
    highest = mark_sub * (PPM + terms.depth_band_ppm) // (PPM * contract.mark_per_tick)
    found = [number]
    for side, limit_ticks in ((codes.BID, lowest), (codes.ASK, highest)):
        levels = world.books[instrument].levels_within(side, limit_ticks)
        lots = sum(order.shown_lots for _, orders in levels for order in orders) * terms.depth_share_ppm // PPM
        found.append(abs(contract.value(mark_sub, min(lots, contract.position_max_lots))))
    world.grid.depths[instrument] = found[0], found[1], found[2]


def beyond_depth(world: "World", legs: list[Leg]) -> int:
    """How much a group's contracts may be net, long or short, beyond what its books may absorb."""
    if not legs:
        return 0
    name = world.grid.groups[legs[0][0]].name
    depths = [depth for k, depth in world.grid.depths.items() if world.grid.groups[k].name == name]

    def net(lots_of: list[tuple[int, int]]) -> int:
        return sum(worth(world, k, lots) * (1 if lots > 0 else -1) for k, lots in lots_of)

    longest, shortest = [(k, max(lots)) for k, lots in legs], [(k, min(lots)) for k, lots in legs]
    bids, asks = sum(depth[1] for depth in depths), sum(depth[2] for depth in depths)
    return max(0, net(longest) - bids, -net(shortest) - asks)


def of_group(world: "World", legs: list[Leg], is_initial: bool) -> tuple[int, int]:
    """(charges, the least) of the legs of one group, for initial margin or for maintenance."""
    terms = world.grid.groups[legs[0][0]].add_ons
    options = [leg for leg in legs if world.contracts[leg[0]].option is not None]
    contracts = [leg for leg in legs if world.contracts[leg[0]].option is None]
    charges = short_options(world, options, is_initial) + ceil_div(offset(world, contracts) * terms.offset_ppm, PPM)
    gross_ppm = terms.gross_ppm + is_initial * terms.gross_initial_ppm
    charges += sum(ceil_div(largest(world, leg) * gross_ppm, PPM) for leg in contracts)
    charges += ceil_div(beyond_depth(world, contracts) * terms.depth_ppm, PPM)
    return charges, sum(ceil_div(largest(world, leg) * terms.least_ppm, PPM) for leg in legs)


def required(world: "World", legs: list[Leg], loss: int, factor_ppm: int, is_initial: bool) -> int:
    """A worst loss (money) with the charges of all groups, or their minimum; the factor on all, or on the loss."""
    by_group = dict[str, list[Leg]]()
    for leg in legs:
        if world.contracts[leg[0]].spot:
            continue
        by_group.setdefault(world.grid.groups[leg[0]].name, []).append(leg)
    found = [of_group(world, mine, is_initial) for mine in by_group.values()]
    charges, least = sum(charges for charges, _ in found), sum(least for _, least in found)
    if world.grid.terms.factors == "loss":
        return max(ppm_up(loss, factor_ppm) + charges, least)
    return ppm_up(max(loss + charges, least), factor_ppm)
