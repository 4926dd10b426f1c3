"""Throttles: what each limit has let through, who is banned, quotes counted. DESIGN §3.8; rules THR-1, QFR-1.

A bucket is kept as a debt that time pays back, in tokens times its interval: no division, so no drift. A sliding limit
keeps the time of each of its last tokens, in a ring, so that one of them alone says whether and when a command passes.
"""

import numpy as np

from exchange.codes import (
    AMEND,
    BAD_AMOUNT,
    BAD_LIMIT,
    BANNED,
    BUCKET,
    CANCEL,
    CANCEL_ALL,
    FILL,
    FIRST_REJECTION,
    MAKER,
    NEW,
    OK,
    RESULT,
    SLIDING,
    THROTTLED,
)
from exchange.core.accounts import done
from exchange.core.admission import wallet_of
from exchange.core.arith import ceil_div
from exchange.core.kernel import kernel, leaf
from exchange.core.outbox import refuse

AMOUNT_MAX = (1 << 31) - 1


@leaf
def refuse_for(io, event, code, wait_ns):
    """Refuse a command that would be accepted after `wait_ns`: the RESULT's money says so."""
    refuse(io, event, code)
    io.outbox[np.int64(io.control[0]["outbox_count"]) - 1]["money"] = wait_ns


@leaf
def key_of(state, k, account):
    """Whom limit `k` counts for an account: itself, or its group, which comes after the accounts."""
    group = np.int64(state.ledger.groups[account])
    if state.gate.limits[k]["by_group"] == 0 or group == 0:
        return account
    return np.int64(state.prices.policy[0]["accounts"]) + group


@leaf
def meter_of(gate, k, key):
    """Slot of the meter that limit `k` keeps for a key."""
    return key * gate.limits.shape[0] + k


@leaf
def stamp_of(limit, key, token):
    """Slot of the time at which a sliding limit let a token of a key through; tokens count from 0."""
    places = np.int64(limit["capacity_max"])
    return np.int64(limit["stamp_base"]) + key * places + token % places


@leaf
def used(limit, meter, now_ns):
    """What counts against a limit now: a bucket's debt, what the present window let through, all that slid through."""
    level, since_ns = np.int64(meter["level"]), np.int64(meter["ts_ns"])
    if limit["kind"] == BUCKET:
        refill, elapsed = np.int64(limit["refill"]), now_ns - since_ns
        return np.int64(0) if level // refill < elapsed else level - refill * elapsed
    interval = np.int64(limit["interval_ns"])
    return level if limit["kind"] == SLIDING or now_ns // interval == since_ns // interval else np.int64(0)


@leaf
def unit_of_limit(limit):
    """What a meter counts for one token."""
    return np.int64(limit["interval_ns"]) if limit["kind"] == BUCKET else np.int64(1)


@leaf
def wait_of(gate, k, key, weight, now_ns):
    """Nanoseconds until limit `k` lets `weight` of a key through; 0 = now."""
    limit = gate.limits[k]
    level = used(limit, gate.meters[meter_of(gate, k, key)], now_ns)
    short = level + (weight - np.int64(limit["capacity"])) * unit_of_limit(limit)
    if weight == 0 or short <= 0:
        return np.int64(0)
    if limit["kind"] == SLIDING:  # the youngest token that must have left
        return max(np.int64(0), gate.stamps[stamp_of(limit, key, short - 1)] + np.int64(limit["interval_ns"]) - now_ns)
    if limit["kind"] == BUCKET:
        return ceil_div(short, np.int64(limit["refill"]))
    interval = np.int64(limit["interval_ns"])
    return (now_ns // interval + 1) * interval - now_ns


@leaf
def take(gate, k, key, weight, now_ns):
    """Count a weight that passed. Mutates the key's meter and stamps."""
    limit, meter = gate.limits[k], gate.meters[meter_of(gate, k, key)]
    level = used(limit, meter, now_ns)
    if limit["kind"] == SLIDING:
        for token in range(level, level + weight):
            gate.stamps[stamp_of(limit, key, token)] = now_ns
    meter["level"] = level + weight * unit_of_limit(limit)
    meter["ts_ns"] = now_ns


@leaf
def is_known(state, account):
    """Is the account open in some asset? Others get their BAD_ACCOUNT and have no meters."""
    if account >= state.prices.policy[0]["accounts"]:
        return False
    found = False
    for asset in range(np.int64(state.prices.policy[0]["assets"])):
        found = found or state.ledger.wallets[wallet_of(state.prices, account, asset)]["open"] != 0
    return found


@leaf
def note_violation(gate, conduct, now_ns):
    """A refusal by a throttle: the last of so many within an interval begins a ban. Mutates conduct."""
    if conduct["violations"] == 0 or now_ns - conduct["first_ns"] >= gate["violation_ns"]:
        conduct["violations"] = 0
        conduct["first_ns"] = now_ns
    conduct["violations"] += 1
    if conduct["violations"] >= gate["violations"]:
        length = np.int64(gate["ban_ns"])
        if conduct["ban_ns"] != 0 and now_ns - conduct["banned_until_ns"] < gate["forget_ns"]:
            length = min(2 * np.int64(conduct["ban_ns"]), np.int64(gate["ban_max_ns"]))
        conduct["violations"] = 0
        conduct["ban_ns"] = length
        conduct["banned_until_ns"] = now_ns + length


@leaf
def throttle(state, event, kind, account):
    """Ban, then every limit; what one of them refuses takes from none. True: the command goes on."""
    gate, conduct, limits = state.gate.gate[0], state.gate.conduct[account], state.gate.limits
    now_ns = np.int64(state.io.control[0]["clock_ns"])
    may_be_banned = gate["cancels_exempt"] == 0 or (kind != CANCEL and kind != CANCEL_ALL)
    banned_ns = np.int64(conduct["banned_until_ns"]) - now_ns
    if may_be_banned and banned_ns > 0:
        refuse_for(state.io, event, BANNED, banned_ns)
        return False
    wait_ns = np.int64(0)
    for k in range(np.int64(gate["limits"])):
        weight = np.int64(limits[k]["weights"][kind])
        wait_ns = max(wait_ns, wait_of(state.gate, k, key_of(state, k, account), weight, now_ns))
    if wait_ns > 0:
        if gate["violations"] != 0:
            note_violation(gate, conduct, now_ns)
        if may_be_banned:
            wait_ns = max(wait_ns, np.int64(conduct["banned_until_ns"]) - now_ns)
        refuse_for(state.io, event, THROTTLED, wait_ns)
        return False
    for k in range(np.int64(gate["limits"])):
        weight = np.int64(limits[k]["weights"][kind])
        if weight != 0:
            take(state.gate, k, key_of(state, k, account), weight, now_ns)
    return True


@leaf
def count_quote(state, event, kind, first):
    """A NEW or AMEND that was accepted is a quote; one that took, by the outcomes from `first` on, is also filled."""
    outbox, account = state.io.outbox, np.int64(event["account"])
    accepted, taken = False, False
    for k in range(first, np.int64(state.io.control[0]["outbox_count"])):
        if outbox[k]["kind"] == RESULT:
            accepted = outbox[k]["code"] < FIRST_REJECTION
        elif outbox[k]["kind"] == FILL and outbox[k]["flags"] & MAKER == 0:
            taken = taken or (outbox[k]["account"] == account and outbox[k]["order_id"] == event["order_id"])
    if accepted and (kind == NEW or kind == AMEND):
        state.gate.conduct[account]["quotes"] += 1
        if taken:
            state.gate.conduct[account]["filled"] += 1


@kernel
def set_throttle(state, event):
    """SET_THROTTLE: other terms of a limit from now on. What is owed stays owed, in tokens."""
    k, capacity, amount = np.int64(event["instrument"]), np.int64(event["price"]), np.int64(event["qty"])
    if k < 0 or k >= state.gate.gate[0]["limits"]:
        done(state, event, BAD_LIMIT)
        return
    limit, now_ns = state.gate.limits[k], np.int64(state.io.control[0]["clock_ns"])
    is_bucket = limit["kind"] == BUCKET
    if not is_bucket:
        capacity = amount
    heaviest = np.int64(0)
    for kind in range(NEW, CANCEL_ALL + 1):
        heaviest = max(heaviest, np.int64(limit["weights"][kind]))
    if capacity < heaviest or capacity > limit["capacity_max"] or amount < 1 or amount > AMOUNT_MAX:
        done(state, event, BAD_AMOUNT)
        return
    if is_bucket:
        for slot in range(k, state.gate.meters.shape[0], state.gate.limits.shape[0]):
            meter = state.gate.meters[slot]
            if meter["level"] != 0:  # paid back at the old rate until now
                meter["level"] = used(limit, meter, now_ns)
                meter["ts_ns"] = now_ns
        limit["refill"] = amount
    limit["capacity"] = capacity
    done(state, event, OK)
