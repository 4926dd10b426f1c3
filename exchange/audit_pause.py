"""Rule PAU-1 of DESIGN §5: what a paused engine leaves standing, and that it goes on."""

import numpy as np

from exchange import codes
from exchange.errors import InvariantError
from exchange.state import State


def check_pause(state: State) -> None:
    """Raise `InvariantError` unless a pause has its one timer, and only a pause keeps a state to go back to."""
    control, markets = state.io.control[0], state.prices.markets
    timers = state.io.timers[1 : int(control["timer_count"]) + 1]
    due = timers["ts_ns"][timers["kind"] == codes.ENGINE_RESUME].tolist()
    _require(due in ([], [int(control["paused_until_ns"])]), f"timers {due}")
    _require(bool(due) or control["clock_ns"] >= control["paused_until_ns"], "it never goes on")
    for instrument in np.flatnonzero(state.prices.auctions["paused_state"]).tolist():
        kept = int(state.prices.auctions[instrument]["paused_state"]) - 1
        _require(bool(due) and kept not in codes.STILL, f"instrument {instrument}: goes back to {kept}")
        _require(markets[instrument]["state"] in codes.STILL, f"instrument {instrument}: it is not halted")


def is_paused(state: State) -> bool:
    """Does the engine stand still, or has it not gone on yet?"""
    control = state.io.control[0]
    timers = state.io.timers[1 : int(control["timer_count"]) + 1]
    return bool(np.any(timers["kind"] == codes.ENGINE_RESUME))


def _require(holds: bool, where: str) -> None:
    if not holds:
        raise InvariantError(f"PAU-1 does not hold: {where}")
