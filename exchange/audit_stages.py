"""What units are in of a venue's stages, and where their guards stand, recomputed. GRD-1 and STG-1 of DESIGN §5."""

from fractions import Fraction

import numpy as np

from exchange import codes
from exchange.audit_grid import armed, portfolio_corners, portfolio_numbers
from exchange.audit_margin import beside_edges, maintenance
from exchange.errors import InvariantError
from exchange.state import State
from exchange.units import contract_value

PPM = 10**6


def _require(holds: bool, rule: str, where: str) -> None:
    if not holds:
        raise InvariantError(f"{rule} does not hold: {where}")


def _slot(state: State, unit: int) -> int:
    return len(state.ledger.wallets) - unit if unit < 0 else unit


def _numbers(state: State, p: int, pocket: int, mark: int) -> tuple[int, int]:
    """(profit, maintenance) of a leg at a mark; both 0 without one."""
    leg = state.ledger.positions[p]
    if not mark:
        return 0, 0
    value = contract_value(state.prices.instruments[int(leg["instrument"])], mark, int(leg["lots"]))
    return value - int(leg["entry_value"]), maintenance(state, leg, abs(value), pocket)


def check_stages(state: State, unit: int, pocket: int, slots: list[int]) -> int:
    """A user's unit at stage NONE is in the stages that it must be in, and leaves or enters none before its guards.

    Returns how many guards are armed.
    """
    positions, markets = state.ledger.positions, state.prices.markets
    marks = [int(markets[int(positions[p]["instrument"])]["mark_sub"]) for p in slots]
    count, asset = int(state.prices.stages[0]["count"]), _asset(state, unit)
    able = not slots or any(marks)
    standings = state.ledger.standings[_slot(state, unit) * count :][:count]
    for k, row in enumerate(standings):
        stage, inside = state.prices.stages[asset * count + k], bool(row["inside"])
        where = f"unit {unit}, stage {k + 1}, inside {inside}"
        ratio = Fraction(int(stage["exit_ppm"] if inside else stage["below_ppm"]), PPM)
        _require(able or not inside, "STG-1", where + ": nothing to liquidate")
        before = not k or bool(standings[k - 1]["inside"])
        _require(before or not inside, "STG-1", where + ", but not in the one before")
        acts = int(stage["action"]) >= codes.STAGE_PART
        _require(not (inside and acts) or bool(row["timed"]), "STG-1", where + ": no timer")
        if unit > 0 and state.ledger.wallets[unit]["portfolio"]:
            excess, worst = _of_portfolio(state, pocket, slots, ratio, inside)
        else:
            excess, worst = _of_legs(state, pocket, slots, ratio, inside)
        _require((excess < 0) == inside or not able, "STG-1", f"{where}: {float(excess)} beyond")
        _require((worst < 0) == inside or not able, "GRD-1", f"{where}: {float(worst)} at its guards")
    return armed(state, slots)


def _of_legs(state: State, pocket: int, slots: list[int], ratio: Fraction, inside: bool) -> tuple[Fraction, Fraction]:
    """Equity less a multiple of maintenance now, and at the marks short of the guards that are worst (best inside)."""
    excess = worst = Fraction(pocket)
    for p in slots:
        mark = int(state.prices.markets[int(state.ledger.positions[p]["instrument"])]["mark_sub"])
        profit, need = _numbers(state, p, pocket, mark)
        excess += profit - ratio * need
        found = [_numbers(state, p, pocket, at) for at in _reach(state, p, mark)]
        worst += (max if inside else min)(profit - ratio * need for profit, need in found)
    return excess, worst


def _of_portfolio(
    state: State, pocket: int, slots: list[int], ratio: Fraction, inside: bool
) -> tuple[Fraction, Fraction]:
    """The same of a portfolio. It is concave: least in a corner; that it is greatest in one too is not said."""
    legs = [state.ledger.positions[p] for p in slots]
    found = [portfolio_numbers(state, pocket, legs, corner) for corner in ({}, *portfolio_corners(state, slots))]
    excesses = [equity - ratio * need for equity, need in found]
    return excesses[0], (max if inside else min)(excesses)


def _asset(state: State, unit: int) -> int:
    wallet = int(state.ledger.positions[-unit]["wallet"]) if unit < 0 else unit
    return wallet % len(state.ledger.totals)


def _reach(state: State, p: int, mark: int) -> list[int]:
    """The marks that a leg may have, short of its guards, at which its numbers are extreme."""
    leg, guards = state.ledger.positions[p], state.guards.guards["mark_sub"]
    record = state.prices.instruments[int(leg["instrument"])]
    if not mark or record["option"]:
        return [mark]
    down, up = int(guards[2 * p]), int(guards[2 * p + 1])
    top, bottom = (int(record[name]) * int(record["mark_per_tick"]) for name in ("ticks_max", "ticks_min"))
    return list(beside_edges(state, leg, max(down + 1, min(bottom, mark)), (up or max(top, mark) + 1) - 1))


def check_stage_timers(state: State) -> None:
    """Stage timers and standings know each other; one stage drives a liquidation."""
    count, io = int(state.prices.stages[0]["count"]), state.io
    timers = io.timers[1 : int(io.control[0]["timer_count"]) + 1]
    own = timers[timers["kind"] == codes.STAGE_TICK]
    standings = state.ledger.standings
    places = [_slot(state, int(t["unit"])) * count + int(t["order"]) // codes.STAGE_PLACES for t in own]
    timed = np.flatnonzero(standings["timed"])
    _require(sorted(places) == timed.tolist(), "STG-1", "standings and timers do not know each other")
    for place in np.flatnonzero(standings["drives"]).tolist():
        slot, wallets = place // count, len(state.ledger.wallets)
        pool = state.ledger.wallets if slot < wallets else state.ledger.positions
        stage = pool["stage"][slot if slot < wallets else slot - wallets]
        drivers = int(standings["drives"][slot * count : (slot + 1) * count].sum())
        _require(stage >= codes.STAGE_REDUCE and drivers == 1, "STG-1", f"unit {slot}: {drivers} stages drive")
    check_auctions(state)


def check_auctions(state: State) -> None:
    """STG-2: a stage that does not drive remembers no auction; who is auctioned has one timer."""
    count, ledger, io = int(state.prices.stages[0]["count"]), state.ledger, state.io
    standings, wallets = ledger.standings, len(ledger.wallets)
    idle = standings[standings["drives"] == 0]
    kept = sum(np.count_nonzero(idle[name]) for name in ("began_ns", "kept", "freed", "bid"))
    _require(kept == 0, "STG-2", "a stage that does not drive remembers an auction")
    timers = io.timers[1 : int(io.control[0]["timer_count"]) + 1]
    for place in np.flatnonzero(standings["drives"]).tolist():
        slot, row = place // count, standings[place]
        unit = slot if slot < wallets else wallets - slot
        stage = state.prices.stages[_asset(state, unit) * count + place % count]
        if int(stage["action"]) != codes.STAGE_AUCTION:
            continue
        steps = int(np.count_nonzero((timers["kind"] == codes.LIQUIDATE) & (timers["unit"] == unit)))
        _require(steps == 1, "STG-2", f"unit {unit}: {steps} timers in an auction")
        _require(row["bid"] <= stage["bids"], "STG-2", f"unit {unit}: {row['bid']} bids made")
