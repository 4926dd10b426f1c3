"""ENGINE_PAUSE: the venue stands still, and goes on later. DESIGN §3.18; rule PAU-1."""

import numpy as np

from exchange.codes import (
    BAD_AMOUNT,
    DEPOSIT,
    ENGINE_PAUSED,
    ENGINE_RESUME,
    NEW,
    OK,
    PRIORITY_ENGINE,
    STATE_HALTED,
    TERMS,
)
from exchange.core.accounts import done
from exchange.core.auction import change_state
from exchange.core.kernel import kernel, leaf
from exchange.core.states import stands_still
from exchange.core.throttle import refuse_for
from exchange.core.timers import push_timer

PAUSE_MAX_NS = 10**17


@leaf
def is_paused(io):
    return np.int64(io.control[0]["clock_ns"]) < io.control[0]["paused_until_ns"]


@kernel
def passes_pause(io, event):
    """What comes while the engine is paused: data passes, a command is refused, its money being the time left."""
    control, kind = io.control[0], np.int64(event["kind"])
    if kind < NEW or TERMS <= kind < DEPOSIT:
        return True
    refuse_for(io, event, ENGINE_PAUSED, np.int64(control["paused_until_ns"]) - np.int64(control["clock_ns"]))
    return False


@kernel
def engine_pause(state, event):
    """ENGINE_PAUSE: for `qty` nanoseconds nothing matches and no timer fires. Mutates markets, control, heap."""
    duration_ns, control = np.int64(event["qty"]), state.io.control[0]
    if duration_ns < 1 or duration_ns > PAUSE_MAX_NS:
        done(state, event, BAD_AMOUNT)
        return
    until_ns = np.int64(control["clock_ns"]) + duration_ns
    control["paused_until_ns"] = until_ns
    push_timer(state.io, until_ns, PRIORITY_ENGINE, 0, 0, 0, ENGINE_RESUME)
    for instrument in range(np.int64(state.prices.policy[0]["instruments"])):
        market = state.prices.markets[instrument]
        if not stands_still(market):
            state.prices.auctions[instrument]["paused_state"] = 1 + np.int64(market["state"])
            change_state(state, instrument, STATE_HALTED)
    done(state, event, OK)


@kernel
def engine_resume(state):
    """ENGINE_RESUME: the markets that the pause halted are what they were before it. Mutates markets."""
    for instrument in range(np.int64(state.prices.policy[0]["instruments"])):
        auction = state.prices.auctions[instrument]
        before = np.int64(auction["paused_state"]) - 1
        auction["paused_state"] = 0
        if before >= 0 and state.prices.markets[instrument]["state"] == STATE_HALTED:
            change_state(state, instrument, before)
