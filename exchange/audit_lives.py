"""Rule SET-1 of DESIGN §5: what is settled holds nothing, and who has a date has its timer."""

import numpy as np

from exchange import codes
from exchange.errors import InvariantError
from exchange.state import State


def check_lives(state: State) -> None:
    """Raise `InvariantError` unless settled instruments are empty and timers correspond; not amid a settlement."""
    timers = state.io.timers[1 : int(state.io.control[0]["timer_count"]) + 1]
    sweeps = int(state.io.control[0]["sweep_next"]) != 0
    for instrument, life in enumerate(state.prices.lives):
        where, kind = f"instrument {instrument}", int(state.prices.markets[instrument]["state"])
        due = timers[(timers["kind"] == codes.LIFE_TICK) & (timers["unit"] == instrument)]
        _require(len(due) == life["timer"], f"{where}: {len(due)} timers of its life")
        _require(kind != codes.STATE_UNLISTED or len(due) == 1, f"{where}: it is never listed")
        _require(kind == codes.STATE_SETTLED or life["priced"] == 0, f"{where}: a price, and not settled")
        if kind != codes.STATE_SETTLED or sweeps:
            continue
        orders = state.book.orders
        live = (orders["account"] > codes.EXTERNAL) & (orders["leaves_lots"] > 0) & (orders["instrument"] == instrument)
        _require(not np.any(live), f"{where}: orders are left")
        held = state.ledger.positions[state.ledger.positions["instrument"] == instrument]["lots"]
        _require(life["priced"] == 0 or not np.any(held), f"{where}: positions are left")


def _require(holds: bool, where: str) -> None:
    if not holds:
        raise InvariantError(f"SET-1 does not hold: {where}")
