"""Rules of collateral, recomputed: COL-1 to COL-3 of DESIGN §5. Part of `exchange/audit.py`."""

import numpy as np

from exchange import codes
from exchange.errors import InvariantError
from exchange.state import State


def check_collateral(state: State) -> None:
    """Raise `InvariantError` naming the first rule that does not hold."""
    _check_holdings(state)
    _check_conversions(state)


def _require(holds: bool, rule: str, where: str) -> None:
    if not holds:
        raise InvariantError(f"{rule} does not hold: {where}")


def _check_holdings(state: State) -> None:
    """Spot instruments are paid at once, held by whole wallets, never short but by the world; offers are held."""
    assets, positions = len(state.ledger.totals), state.ledger.positions
    spot = state.prices.instruments["spot"] != 0
    for p in range(1, int(state.io.control[0]["position_high"]) + 1):
        row = positions[p]
        if not spot[row["instrument"]]:
            continue
        where = f"position {p}: {row['lots']} lots of spot instrument {row['instrument']}"
        paid = row["entry_value"] == 0 and row["isolated_margin"] == 0 and row["mode"] == codes.CROSS
        _require(bool(paid), "COL-1", where + ", not paid")
        offered = int(row["ask_lots"]) + int(state.ledger.legs[p]["reduce_lots"][codes.ASK])
        world = int(row["wallet"]) // assets == codes.EXTERNAL
        _require(world or offered <= row["lots"], "COL-1", f"{where}, {offered} offered")


def _check_conversions(state: State) -> None:
    """A wallet knows of its one CONVERT timer; one at stage NONE that must convert has it."""
    wallets, terms = state.ledger.wallets, state.prices.conversions
    timers = state.io.timers[1 : int(state.io.control[0]["timer_count"]) + 1]
    due = sorted(timers["unit"][timers["kind"] == codes.CONVERT].tolist())
    known = np.flatnonzero(wallets["converting"]).tolist()
    _require(due == known, "COL-2", f"wallets {due} have a timer, {known} know of one")
    below = np.tile(terms["below"], len(wallets) // len(terms))
    for wallet in np.flatnonzero((wallets["cash"] < -below) & (wallets["stage"] == codes.STAGE_NONE)).tolist():
        if wallet // len(terms) >= codes.FIRST_USER and _holds_any(state, wallet):
            _require(wallet in known, "COL-3", f"wallet {wallet}: {wallets[wallet]['cash']} and nothing is converted")


def _holds_any(state: State, wallet: int) -> bool:
    """Has a wallet lots, with a mark, of what its conversion sells?"""
    row = state.prices.conversions[wallet % len(state.ledger.totals)]
    sold = state.prices.sales[row["base"] : row["base"] + row["count"]]
    p = int(state.ledger.wallets[wallet]["first_position"])
    while p:
        position = state.ledger.positions[p]
        marked = state.prices.markets[position["instrument"]]["mark_sub"]
        if position["instrument"] in sold and position["lots"] and marked:
            return True
        p = int(position["next"])
    return False
