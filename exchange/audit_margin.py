"""What units must hold and where their guards stand, recomputed from the raw records. GRD-1 and GRD-2 of DESIGN §5.

Within a tier the health of a leg is monotone in its notional: between two marks it is least at one of them or beside
an edge of a tier, whatever the model.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from exchange import codes
from exchange.errors import InvariantError
from exchange.state import State
from exchange.units import contract_value

PPM, PPB = 10**6, 10**9


def _require(holds: bool, rule: str, where: str) -> None:
    if not holds:
        raise InvariantError(f"{rule} does not hold: {where}")


def _up(value: int, rate: int, scale: int = PPM) -> int:
    return -(-value * rate // scale)


def tier_maintenance(state: State, instrument: int, notional: int, reserve_ppm: int = 0) -> int:
    """Maintenance margin of a notional, from the tier table and a rate added to it."""
    tier = _tier(state, instrument, notional)
    return _up(notional, int(tier["maintenance_ppm"]) + reserve_ppm) - int(tier["cum"])


def _tiers(state: State, instrument: int) -> np.ndarray:
    record = state.prices.instruments[instrument]
    return state.prices.tiers[record["tier_base"] : record["tier_base"] + record["tier_count"]]


def _tier(state: State, instrument: int, notional: int) -> Any:
    return [tier for tier in _tiers(state, instrument) if tier["floor"] <= notional][-1]


def maintenance(state: State, leg: Any, notional: int, pocket: int) -> int:
    """Maintenance margin of a leg where its notional at the mark is `notional`; `pocket`: cash of its unit."""
    instrument, lots, entry = int(leg["instrument"]), int(leg["lots"]), int(leg["entry_value"])
    model, row = int(state.prices.instruments[instrument]["margin_model"]), state.prices.margins[instrument]
    if model == codes.MARGIN_OPTION:  # a long is no collateral, a short holds what was last set
        held = int(state.prices.options[instrument]["maintenance_sub"])
        return notional if lots > 0 else -lots * held * int(state.prices.instruments[instrument]["mark_unit"])
    reserve, fee = int(row["reserve_ppm"]), 0
    if row["at_entry"]:
        notional = abs(entry)
    if row["at_bankruptcy"] and reserve:
        gains = (state.prices.instruments[instrument]["kind"] == codes.LINEAR) == (lots > 0)
        short = entry - pocket if gains else pocket - entry
        fee = _up(max(0, -(-short * PPM // (PPM - reserve if gains else PPM + reserve))), reserve)
    if row["at_bankruptcy"]:
        reserve = 0
    if model == codes.MARGIN_RISK:
        factor = int(row["risk_long_ppb"] if lots > 0 else row["risk_short_ppb"]) + int(row["slippage_ppb"])
        return fee + _up(notional, factor + _up(abs(lots), int(row["quadratic_ppt"]), 1000) + 1000 * reserve, PPB)
    if model == codes.MARGIN_OF_INITIAL:
        base = _up(notional, int(_tier(state, instrument, notional)["initial_ppm"]))
        return fee + _up(base, int(row["fraction_ppm"])) + _up(notional, reserve)
    return fee + tier_maintenance(state, instrument, notional, reserve)


def unit_health(state: State, pocket: int, legs: list[Any], moved: dict[int, int], maintained: bool) -> int:
    """Equity minus maintenance of a unit, with the marks of `moved` instruments put elsewhere."""
    marks = {int(leg["instrument"]): int(state.prices.markets[int(leg["instrument"])]["mark_sub"]) for leg in legs}
    marks |= moved
    return pocket + sum(leg_health(state, pocket, leg, marks[int(leg["instrument"])], maintained) for leg in legs)


def leg_health(state: State, pocket: int, leg: Any, mark: int, maintained: bool) -> int:
    """What a leg adds to the health of its unit at a mark."""
    if not mark:
        return 0
    value = contract_value(state.prices.instruments[int(leg["instrument"])], mark, int(leg["lots"]))
    need = maintenance(state, leg, abs(value), pocket) if maintained else 0
    return value - int(leg["entry_value"]) - need


def beside_edges(state: State, leg: Any, low: int, high: int) -> Iterator[int]:
    """The marks from low to high, and between them the last of each tier and the first of the next."""
    record = state.prices.instruments[int(leg["instrument"])]
    size, linear = int(record["mark_unit"]) * abs(int(leg["lots"])), record["kind"] == codes.LINEAR
    yield from (low, high)
    for floor in _tiers(state, int(leg["instrument"]))["floor"][1:].tolist():
        first = -(-floor // size) if linear else size // floor
        yield from (mark for mark in (first - 1, first, first + 1) if low <= mark <= high)


def check_guards(state: State, unit: int, pocket: int, slots: list[int], maintained: bool) -> int:
    """A unit cannot be breached while none of its guards is crossed; a lone leg is breached right at its guards.

    Returns how many guards are armed.
    """
    positions, guards = state.ledger.positions, state.guards.guards
    least, count = pocket, 0
    for p in slots:
        leg, instrument = positions[p], int(positions[p]["instrument"])
        record, mark = state.prices.instruments[instrument], int(state.prices.markets[instrument]["mark_sub"])
        down, up = (int(guards[2 * p + direction]["mark_sub"]) for direction in (0, 1))
        count += (down != 0) + (up != 0)
        if record["margin_model"] == codes.MARGIN_PLAIN:
            _require((up if leg["lots"] > 0 else down) == 0, "GRD-1", f"position {p}: guard on its safe side")
        if record["margin_model"] == codes.MARGIN_OPTION:  # neither its mark nor its requirement moves unseen
            _require(down == up == 0, "GRD-1", f"position {p}: an option has no guard")
            least += leg_health(state, pocket, leg, mark, maintained)
            continue
        if not mark:
            continue
        top, bottom = (int(record[name]) * int(record["mark_per_tick"]) for name in ("ticks_max", "ticks_min"))
        low, high = max(down + 1, min(bottom, mark)), (up or max(top, mark) + 1) - 1
        marks = beside_edges(state, leg, low, high)
        least += min(leg_health(state, pocket, leg, at, maintained) for at in marks)
        for at in (down, up):
            lone = len(slots) == 1 and maintained and at
            here = pocket + leg_health(state, pocket, leg, at, maintained)
            _require(not lone or here < 0, "GRD-2", f"unit {unit}: healthy at its guard {at}")
    _require(least >= 0, "GRD-1", f"unit {unit}: breached before its guards")
    return count
