"""Portfolio margin recomputed from the raw records. PM-1 and GRD-1 of DESIGN §5."""

from itertools import product
from typing import Any

import numpy as np

from exchange import audit_add_ons, codes
from exchange.audit_margin import maintenance
from exchange.codes import SHOCK_BETA, SHOCK_CONTRA, SHOCK_OWN, SHOCKS
from exchange.errors import InvariantError
from exchange.expiries import expiry_size
from exchange.grids import MODES, counts_of, work_size
from exchange.state import State
from exchange.units import contract_value

CORNERS_MAX = 256  # of the box of marks between the guards of a wallet


def _require(holds: bool, rule: str, where: str) -> None:
    if not holds:
        raise InvariantError(f"{rule} does not hold: {where}")


def _entries(state: State, instrument: int, mark: int) -> np.ndarray:
    """Risk array of an instrument at a mark, by variant and scenario, as Python integers."""
    record, count = state.prices.instruments[instrument], int(state.prices.grids[0]["scenarios"])
    first = instrument * SHOCKS * count
    if record["option"]:  # stands still between refreshes
        kept = [int(entry) for entry in state.prices.risks[first : first + SHOCKS * count]]
        return np.array(kept, object).reshape(SHOCKS, count)
    unit, rates = int(record["mark_unit"]) << int(state.prices.grids[0]["scale_bits"]), state.prices.shocks["rate_ppb"]
    worth = unit * mark if record["kind"] == codes.LINEAR else unit // mark if mark else 0
    entries = [worth * int(rate) // 10**9 for rate in rates[first : first + SHOCKS * count]]
    return np.array(entries, object).reshape(SHOCKS, count)


def wallet_loss(state: State, legs: list[tuple[int, int]], marks: dict[int, int]) -> int:
    """Worst loss of (instrument, lots) over scenarios and modes, in parts of a quantum."""
    modes, gains = int(state.prices.grids[0]["modes"]), dict[int, Any]()
    gains |= expiry_gains(state, legs)
    for instrument, lots in legs:
        if not is_netted(state, instrument):
            group = int(state.prices.members[instrument]["group"])
            gains[group] = gains.get(group, 0) + lots * _entries(state, instrument, marks[instrument])
    if not gains:
        return 0
    found = [basis_loss(state, legs)]
    if modes & MODES["sum"]:
        found.append(sum(max(0, *(-rows[SHOCK_OWN])) for rows in gains.values()))
    if modes & MODES["rho_one"]:
        found += list(-sum(rows[SHOCK_OWN] for rows in gains.values()))
    if modes & MODES["one_factor"]:
        found += list(-sum(rows[SHOCK_BETA] for rows in gains.values()))
    if modes & MODES["flipped"]:
        for turned in gains:
            found += list(-sum(rows[SHOCK_CONTRA if group == turned else SHOCK_BETA] for group, rows in gains.items()))
    return int(max(found))


def is_netted(state: State, instrument: int) -> bool:
    """Whether an instrument is an option whose expiry is taken together."""
    return bool(state.prices.grids[0]["nets_base"] and state.prices.members[instrument]["expiry"])


def expiry_gains(state: State, legs: list[tuple[int, int]]) -> dict[int, Any]:
    """What options of (instrument, lots) gain, by group, where each expiry is taken together: what stands since they
    were refreshed, by variant and scenario."""
    grid, sums, found = state.prices.grids[0], dict[tuple[int, int], Any](), dict[int, Any]()
    count, longs, skewed = int(grid["scenarios"]), int(grid["long_base"]), state.prices.scenarios[2::3] != 0
    for instrument, lots in legs:
        if is_netted(state, instrument):
            member, first = state.prices.members[instrument], instrument * SHOCKS * count
            halves = [state.prices.risks[base + first : base + first + SHOCKS * count] for base in (0, longs)]
            place = int(member["group"]), int(member["expiry"])
            sums[place] = sums.get(place, 0) + lots * np.array(halves).astype(object).reshape(2, SHOCKS, count)
    for (group, _), (shorts, worths) in sums.items():
        gained = np.minimum(shorts, worths)
        gained[:, skewed] = -abs(gained[:, skewed])
        found[group] = found.get(group, 0) + gained
    return found


def basis_loss(state: State, legs: list[tuple[int, int]]) -> int:
    """Basis contingency of (instrument, lots), in parts of a quantum: what stands since options were refreshed."""
    sums = dict[int, Any]()
    for instrument, lots in legs:
        member = state.prices.members[instrument]
        if member["expiry"]:
            gains = lots * np.array([int(member["up_gain"]), int(member["down_gain"])], object)
            sums[int(member["expiry"])] = sums.get(int(member["expiry"]), 0) + gains
    return int(sum(max(0, *(-rows)) for rows in sums.values()))


def portfolio_numbers(
    state: State, pocket: int, legs: list[Any], moved: dict[int, int] | None = None
) -> tuple[int, int]:
    """Equity and maintenance of a wallet in portfolio mode, with the marks of `moved` instruments put elsewhere."""
    marks = {int(leg["instrument"]): int(state.prices.markets[int(leg["instrument"])]["mark_sub"]) for leg in legs}
    marks |= moved or {}
    equity, required, held = pocket, 0, []
    for leg in legs:
        instrument, lots = int(leg["instrument"]), int(leg["lots"])
        if marks[instrument]:
            value = contract_value(state.prices.instruments[instrument], marks[instrument], lots)
            equity += value - int(leg["entry_value"])
            in_grid = bool(state.prices.members[instrument]["group"])
            if in_grid:
                held.append((instrument, lots))
            if not in_grid or state.prices.instruments[instrument]["spot"]:
                required += maintenance(state, leg, abs(value), pocket)
    grid = state.prices.grids[0]
    loss = -(-wallet_loss(state, held, marks) >> int(grid["scale_bits"])) if held else 0
    return equity, required + audit_add_ons.held(grid, loss, audit_add_ons.wallet_add_ons(state, held, marks))


def portfolio_health(state: State, pocket: int, legs: list[Any], moved: dict[int, int] | None = None) -> int:
    """Equity minus maintenance."""
    equity, required = portfolio_numbers(state, pocket, legs, moved)
    return equity - required


def portfolio_corners(state: State, slots: list[int]) -> list[dict[int, int]]:
    """Marks by instrument in the corners of the box that the guards of a wallet span."""
    positions, guards, spans = state.ledger.positions, state.guards.guards["mark_sub"], dict[int, tuple[int, int]]()
    for p in slots:
        instrument = int(positions[p]["instrument"])
        record, mark = state.prices.instruments[instrument], int(state.prices.markets[instrument]["mark_sub"])
        down, up = int(guards[2 * p]), int(guards[2 * p + 1])
        if record["option"]:
            _require(down == up == 0, "GRD-1", f"position {p}: an option has no guard")
        elif mark:
            top, bottom = (int(record[name]) * int(record["mark_per_tick"]) for name in ("ticks_max", "ticks_min"))
            spans[instrument] = (down + 1 if down else min(bottom, mark), (up or max(top, mark) + 1) - 1)
    corners = [dict(zip(spans, corner, strict=True)) for corner in product(*spans.values())]
    return corners if len(corners) <= CORNERS_MAX else corners[:: len(corners) // CORNERS_MAX]


def check_portfolio(state: State, unit: int, pocket: int, slots: list[int]) -> int:
    """A wallet cannot be breached while no guard is crossed: its health, but for the offset of add-ons, is concave in
    every mark's notional, so it is least in a corner of the box that the guards span. Returns how many are armed."""
    legs = [state.ledger.positions[p] for p in slots]
    for corner in portfolio_corners(state, slots):
        health = portfolio_health(state, pocket, legs, corner)
        _require(health >= 0, "GRD-1", f"wallet {unit}: {health} with marks {corner} between its guards")
    return armed(state, slots)


def armed(state: State, slots: list[int]) -> int:
    """How many guards of these positions are armed."""
    guards = state.guards.guards["mark_sub"]
    return int(np.count_nonzero(guards[[2 * p + d for p in slots for d in (0, 1)]])) if slots else 0


def check_risks(state: State) -> None:
    """PM-1: the count of wallets in portfolio mode, and the risk arrays while there is one."""
    grid, prices = state.prices.grids[0], state.prices
    wallets = int(np.count_nonzero(state.ledger.wallets["portfolio"]))
    _require(wallets == grid["holders"], "PM-1", f"{wallets} wallets are in portfolio mode, {grid['holders']} counted")
    size, entries = SHOCKS * int(grid["groups"]) * int(grid["scenarios"]), SHOCKS * int(grid["scenarios"])
    rows = prices.losses[size : size + int(grid["groups"]) + 1]
    counts = prices.losses[work_size(grid) - counts_of(grid) :]
    _require(len(prices.losses) == work_size(grid) + expiry_size(grid), "PM-1", "the work space has another size")
    _require(not np.any(rows) and not np.any(counts), "PM-1", "the work space of a wallet was not cleared")
    for side in ("bids_money", "asks_money"):
        for group in range(1, int(grid["groups"]) + 1):
            mine = prices.members[prices.members["group"] == group]
            kept, measured = int(mine[f"group_{side}"].sum()), int(mine[side].sum())
            _require(kept == measured, "PM-1", f"{side} of group {group}: {kept} kept, {measured} measured")
    for k in np.flatnonzero(prices.members["group"]) if wallets else ():
        kept = prices.risks[k * entries : (k + 1) * entries]
        made = _entries(state, int(k), int(prices.markets[k]["mark_sub"])).ravel()
        _require(kept.tolist() == made.tolist(), "PM-1", f"instrument {k}: its risk array is not that of its mark")
        fits = max(abs(entry) for entry in made.tolist()) < 2**31
        _require(fits or not prices.members[k]["narrow"], "PM-1", f"instrument {k}: entries of more than 32 bits")
