"""What is always true of what stands before the order commands: throttles, bans, the gateway. Ids of DESIGN §5."""

import numpy as np

from exchange import codes
from exchange.errors import InvariantError
from exchange.state import State


def check_gate(state: State) -> None:
    """Raise `InvariantError` naming the first rule that does not hold."""
    _check_gateway(state)
    _check_conduct(state)
    _check_meters(state)


def _require(holds: bool, rule: str, where: str) -> None:
    if not holds:
        raise InvariantError(f"{rule} does not hold: {where}")


def gateway_slots(state: State) -> list[int]:
    """Slots of the commands that wait in the gateway, oldest first."""
    gate, places = state.gate.gate[0], max(1, len(state.io.gateway) - 1)
    return [1 + (int(gate["head"]) + k) % places for k in range(int(gate["count"]))]


def _check_gateway(state: State) -> None:
    """The queue is no longer than it may be, in order of arrival, and has a timer as long as a command waits."""
    gate, slots = state.gate.gate[0], gateway_slots(state)
    where = f"gateway of {len(slots)} commands"
    timers = state.io.timers[1 : int(state.io.control[0]["timer_count"]) + 1]
    due = timers["ts_ns"][timers["kind"] == codes.GATEWAY_TICK].tolist()
    _require(len(slots) <= gate["depth"] + gate["reserved"] and gate["serving"] == 0, "GWY-1", where)
    _require(due == [gate["due_ns"]][: len(slots)], "GWY-1", f"{where}: timers {due}")
    rows = state.io.gateway[slots]
    arrived = rows["ts_ns"].tolist()
    _require(arrived == sorted(arrived) and bool(np.all(rows["account"] >= codes.FIRST_USER)), "GWY-1", where)
    if slots:
        service = int(gate["service_ns"][int(rows["kind"][0])])
        _require(arrived[0] + service <= due[0], "GWY-2", f"{where}: served before its time")
        _require(due[0] <= int(state.io.control[0]["clock_ns"]) + service, "GWY-2", f"{where}: served too late")


def _check_conduct(state: State) -> None:
    conduct, gate = state.gate.conduct, state.gate.gate[0]
    _require(bool(np.all(conduct["filled"] <= conduct["quotes"])), "QFR-1", "more quotes filled than submitted")
    counted = conduct["violations"]
    _require(bool(np.all(counted < max(1, int(gate["violations"])))), "THR-1", "violations without a ban")
    _require(bool(np.all(conduct["ban_ns"] <= gate["ban_max_ns"])), "THR-1", "a ban longer than the longest")


def _check_meters(state: State) -> None:
    """Meters, groups that they count, stamps of sliding limits: in order, one for each token, the last the meter's."""
    gate, clock_ns = state.gate, int(state.io.control[0]["clock_ns"])
    _require(bool(np.all(gate.meters["level"] >= 0)), "THR-1", "a meter below zero")
    groups, group_max = state.ledger.groups, int(gate.gate[0]["group_max"])
    _require(bool(np.all((groups >= 0) & (groups <= group_max))), "GRP-1", f"a group beyond {group_max}")
    for k in np.flatnonzero(gate.limits["kind"] == codes.SLIDING).tolist():
        limit = gate.limits[k]
        places = int(limit["capacity_max"])
        _require(bool(limit["capacity"] <= places), "THR-2", f"limit {k}: more capacity than stamps")
        levels = gate.meters["level"][k :: len(gate.limits)]
        for key in np.flatnonzero(levels).tolist():
            first, level = int(limit["stamp_base"]) + key * places, int(levels[key])
            ring, where = gate.stamps[first : first + places], f"limit {k}, key {key}"
            kept = np.roll(ring, -level) if level > places else ring[:level]
            _require(bool(np.all(np.diff(kept) >= 0)) and kept[-1] <= clock_ns, "THR-2", f"{where}: not in order")
            _require(kept[-1] == gate.meters[key * len(gate.limits) + k]["ts_ns"], "THR-2", f"{where}: not its last")
            _require(not np.any(ring[level:]), "THR-2", f"{where}: a stamp of no token")
