"""The timer heap: internal events ordered by (ts, priority, account, order of the unit, seq). DESIGN §3, §4."""

import numpy as np

from exchange.codes import EXPIRE, TRIGGER
from exchange.core.kernel import kernel, leaf


@leaf
def earlier(timers, a, b):
    """Does timer `a` fire before timer `b`?"""
    x, y = timers[a], timers[b]
    if x["ts_ns"] != y["ts_ns"]:
        return x["ts_ns"] < y["ts_ns"]
    if x["priority"] != y["priority"]:
        return x["priority"] < y["priority"]
    if x["account"] != y["account"]:
        return x["account"] < y["account"]
    if x["order"] != y["order"]:
        return x["order"] < y["order"]
    return x["seq"] < y["seq"]


@leaf
def copy_timer(io, target, source):
    """Copy a timer; an order's knows where it stands. Mutates timers, order_timers."""
    timers = io.timers
    timers[target] = timers[source]
    kind = timers[source]["kind"]
    if kind == EXPIRE or kind == TRIGGER:
        io.order_timers[2 * np.int64(timers[source]["unit"]) + (1 if kind == TRIGGER else 0)] = target


@leaf
def push_timer(io, ts_ns, priority, account, order, unit, kind):
    """Set a timer, caused by the event at work. Mutates the heap, which is sized so that it cannot fill."""
    control, timers = io.control[0], io.timers
    control["timer_seq"] += 1
    control["timer_count"] += 1
    spare = timers.shape[0] - 1  # never reached by the heap
    timer = timers[spare]
    timer["ts_ns"] = ts_ns
    timer["cause_seq"] = np.int64(control["event_seq"])
    timer["seq"] = np.int64(control["timer_seq"])
    timer["priority"] = priority
    timer["account"] = account
    timer["order"] = order
    timer["unit"] = unit
    timer["kind"] = kind
    at = np.int64(control["timer_count"])
    while at > 1 and earlier(timers, spare, at >> 1):
        copy_timer(io, at, at >> 1)
        at >>= 1
    copy_timer(io, at, spare)


@leaf
def pop_timer(io):
    """Take the earliest timer out; it is left in slot 0. Mutates the heap."""
    timers = io.timers
    count = np.int64(io.control[0]["timer_count"])
    io.control[0]["timer_count"] = count - 1
    copy_timer(io, 0, 1)
    at, child = np.int64(1), np.int64(2)
    while child < count:
        if child + 1 < count and earlier(timers, child + 1, child):
            child += 1
        if not earlier(timers, child, count):
            break
        copy_timer(io, at, child)
        at, child = child, 2 * child
    if at != count:  # the last one left would know its old place again
        copy_timer(io, at, count)


@leaf
def push_order_timer(io, ts_ns, priority, slot, kind):
    """Set an order's EXPIRE or TRIGGER timer. Mutates the heap, order_timers."""
    push_timer(io, ts_ns, priority, 0, 0, slot, kind)


@kernel
def remove_timer(io, kind, unit):
    """Take a timer that is set out of the heap, wherever in it. Mutates the heap, order_timers."""
    at = np.int64(1)
    while io.timers[at]["kind"] != kind or io.timers[at]["unit"] != unit:
        at += 1
    take_timer(io, at)


@kernel
def drop_timer(io, handle):
    """Take an order's timer out of the heap, if it is set. Mutates the heap, order_timers."""
    at = np.int64(io.order_timers[handle])
    if at != 0:
        io.order_timers[handle] = 0
        take_timer(io, at)


@kernel
def take_timer(io, at):
    """Take the timer at a place out of the heap. Mutates the heap, order_timers."""
    timers, count = io.timers, np.int64(io.control[0]["timer_count"])
    io.control[0]["timer_count"] = count - 1
    if at == count:
        return
    while at > 1 and earlier(timers, count, at >> 1):
        copy_timer(io, at, at >> 1)
        at >>= 1
    child = 2 * at
    while child < count:
        if child + 1 < count and earlier(timers, child + 1, child):
            child += 1
        if not earlier(timers, child, count):
            break
        copy_timer(io, at, child)
        at, child = child, 2 * child
    copy_timer(io, at, count)
