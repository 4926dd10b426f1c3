"""The gate that order commands come through: throttles, then a queue that one server works off. DESIGN §3.8; GWY-1."""

import numpy as np

from exchange.codes import (
    CANCEL,
    CANCEL_ALL,
    FIRST_USER,
    GATEWAY_FULL,
    GATEWAY_TICK,
    NEW,
    PRIORITY_GATEWAY,
    REDUCE_ONLY,
    RESULT,
)
from exchange.core.kernel import kernel, leaf
from exchange.core.terms import ASIDE, RING, held_for
from exchange.core.throttle import count_quote, is_known, refuse_for, throttle
from exchange.core.timers import push_timer


@leaf
def place_of(io, gate, k):
    """Slot of the `k`-th queued command, the oldest being 0. Slot 0 of the ring is the command being served."""
    return 1 + (np.int64(gate["head"]) + k) % (io.gateway.shape[0] - 1)


@leaf
def start_service(io, gate):
    """Serve the oldest queued command. Mutates gate, timers."""
    kind = np.int64(io.gateway[place_of(io, gate, 0)]["kind"])
    gate["due_ns"] = np.int64(io.control[0]["clock_ns"]) + np.int64(gate["service_ns"][kind])
    push_timer(io, np.int64(gate["due_ns"]), PRIORITY_GATEWAY, 0, 0, 0, GATEWAY_TICK)


@kernel
def wait_for_engine(io, gate):
    """The service of the oldest command would have ended in a pause: it ends when the engine goes on. Mutates both."""
    gate["due_ns"] = np.int64(io.control[0]["paused_until_ns"])
    push_timer(io, np.int64(gate["due_ns"]), PRIORITY_GATEWAY, 0, 0, 0, GATEWAY_TICK)


@leaf
def room_for(gate, event, kind):
    """Places that a command may use: exempt ones have some more."""
    exempt = gate["exempt_cancels"] != 0 and (kind == CANCEL or kind == CANCEL_ALL)
    exempt = exempt or (gate["exempt_closes"] != 0 and kind == NEW and event["flags"] & REDUCE_ONLY != 0)
    return np.int64(gate["depth"]) + (np.int64(gate["reserved"]) if exempt else np.int64(0))


@leaf
def enqueue(io, gate, event, kind):
    """Put a command and the terms held for it at the end of the queue, or shed it. Mutates gate, ring, timers."""
    count, room = np.int64(gate["count"]), room_for(gate, event, kind)
    if count >= room:
        free_ns = max(np.int64(gate["due_ns"]), np.int64(io.control[0]["paused_until_ns"]))
        for k in range(1, count - room + 1):
            free_ns += np.int64(gate["service_ns"][np.int64(io.gateway[place_of(io, gate, k)]["kind"])])
        # tape events come before timers of their time, so a place is found a nanosecond after the service ends
        refuse_for(io, event, GATEWAY_FULL, free_ns + 1 - np.int64(io.control[0]["clock_ns"]))
        return
    slot = place_of(io, gate, count)
    io.gateway[slot] = event
    if held_for(io, event):
        io.held[RING + slot] = io.held[0]
    else:
        io.held[RING + slot]["kind"] = np.int16(0)
    gate["count"] = count + 1
    if count == 0:
        start_service(io, gate)


@kernel
def arrive(state, event):
    """An order command of the tape comes to a venue with a gate. True: it is applied now."""
    gate, kind, account = state.gate.gate[0], np.int64(event["kind"]), np.int64(event["account"])
    gate["first_outcome"] = np.int64(state.io.control[0]["outbox_count"])
    if kind < NEW or account < FIRST_USER:
        return True
    if gate["limits"] != 0 and is_known(state, account) and not throttle(state, event, kind, account):
        return False
    if gate["depth"] == 0:
        return True
    enqueue(state.io, gate, event, kind)
    return False


@kernel
def serve(state):
    """GATEWAY_TICK: the oldest command leaves the queue to be applied as this event, with its own terms held."""
    io, gate = state.io, state.gate.gate[0]
    slot = place_of(io, gate, 0)
    io.gateway[0] = io.gateway[slot]
    io.held[ASIDE] = io.held[0]
    io.held[0] = io.held[RING + slot]
    gate["waited_ns"] = np.int64(io.control[0]["clock_ns"]) - np.int64(io.gateway[0]["ts_ns"])
    gate["first_outcome"] = np.int64(io.control[0]["outbox_count"])
    gate["serving"] = 1
    gate["head"] = place_of(io, gate, 1) - 1
    gate["count"] -= 1
    if gate["count"] != 0:
        start_service(io, gate)


@kernel
def end_command(state, event):
    """A command was applied: count it as a quote, and say how long it waited."""
    io, gate, kind = state.io, state.gate.gate[0], np.int64(event["kind"])
    first = np.int64(gate["first_outcome"])
    if state.prices.policy[0]["count_quotes"] != 0:
        count_quote(state, event, kind, first)
    if gate["serving"] == 0:
        return
    gate["serving"] = 0
    io.held[0] = io.held[ASIDE]  # what the tape holds for its next command
    for k in range(first, np.int64(io.control[0]["outbox_count"])):
        if io.outbox[k]["kind"] == RESULT:
            io.outbox[k]["money"] = np.int64(gate["waited_ns"])
