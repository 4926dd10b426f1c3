"""Add-ons of portfolio margin recomputed from the raw records, each by itself. DESIGN §3.17."""

from typing import Any

from exchange.state import State
from exchange.units import contract_value

MINIMUM = "minimum"


def _up(value: int, ppm: Any) -> int:
    return -(-value * int(ppm) // 10**6)


def _contracts(legs: list[tuple[int, int, int]], member: Any, absorbed: tuple[int, int]) -> dict[str, int]:
    """Charges of a group's contracts: (instrument, lots, notional); `absorbed` of longs and of shorts."""
    longs = sum(value for _, lots, value in legs if lots > 0)
    shorts = sum(value for _, lots, value in legs if lots < 0)
    return {
        "offset": _up(min(longs, shorts), member["offset_ppm"]),
        "depth": _up(max(0, longs - shorts - absorbed[0], shorts - longs - absorbed[1]), member["depth_ppm"]),
        "gross": sum(_up(value, member["gross_ppm"]) for _, _, value in legs),
        MINIMUM: sum(_up(value, member["least_ppm"]) for _, _, value in legs),
    }


def _options(state: State, legs: list[tuple[int, int, int]], member: Any) -> dict[str, int]:
    """Charges of a group's options: (instrument, lots, value of the underlying)."""
    net = dict[int, int]()
    for instrument, lots, value in legs:
        strike = int(state.prices.members[instrument]["strike"])
        net[strike] = net.get(strike, 0) + (value if lots > 0 else -value)
    return {
        "short options": sum(_up(max(0, -value), member["short_option_ppm"]) for value in net.values()),
        MINIMUM: sum(_up(value, member["least_ppm"]) for _, lots, value in legs if lots < 0),
    }


def wallet_add_ons(state: State, legs: list[tuple[int, int]], marks: dict[int, int]) -> dict[tuple[int, str], int]:
    """Money by group and name of what (instrument, lots) pay beside their worst loss, at marks; minima too."""
    found, by_group = dict[tuple[int, str], int](), dict[int, tuple[list[Any], list[Any]]]()
    for instrument, lots in legs if state.prices.grids[0]["charged"] else ():
        record, is_option = state.prices.instruments[instrument], bool(state.prices.instruments[instrument]["option"])
        if record["spot"]:
            continue
        member, price = state.prices.members[instrument], marks[instrument]
        if is_option:
            price = int(state.prices.options[instrument]["whole_sub"])
        elif member["at_index"]:
            price = int(member["index_sub"])
        value = abs(contract_value(record, price, lots)) if price else 0
        groups = by_group.setdefault(int(state.prices.members[instrument]["group"]), ([], []))
        groups[is_option].append((instrument, lots, value))
    for group, (contracts, options) in by_group.items():
        member = state.prices.members[(contracts or options)[0][0]]
        books = state.prices.members[state.prices.members["group"] == group]
        absorbed = int(books["bids_money"].sum()), int(books["asks_money"].sum())
        for charges in (_contracts(contracts, member, absorbed), _options(state, options, member)):
            for name, money in charges.items():
                found[group, name] = found.get((group, name), 0) + money
    return found


def held(grid: Any, loss: int, add_ons: dict[tuple[int, str], int]) -> int:
    """Maintenance of a worst loss (money) with its charges, at least the minimum; the factor on all, or on the loss."""
    charges = sum(money for (_, name), money in add_ons.items() if name != MINIMUM)
    least = sum(money for (_, name), money in add_ons.items() if name == MINIMUM)
    if grid["loss_alone"]:
        return max(_up(loss, grid["maintenance_ppm"]) + charges, least)
    return _up(max(loss + charges, least), grid["maintenance_ppm"])
