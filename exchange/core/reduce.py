"""Reduce-only orders are kept true while they rest: what a position must know of its own. DESIGN §3.6; rule ORD-1."""

import numpy as np

from exchange.codes import ASK, BID
from exchange.core.kernel import kernel

HAS_REDUCING, TRIM_QUEUED = 1, 2  # bits of POSITION.reducing


@kernel
def count_reducing(ledger, p, side, lots):
    """Let reduce-only orders of one side rest with `lots` (signed) more. Mutates the leg and the position's flag."""
    rests = ledger.legs[p]["reduce_lots"]
    rests[side] += lots
    queued = np.int64(ledger.positions[p]["reducing"]) & TRIM_QUEUED
    ledger.positions[p]["reducing"] = queued | (HAS_REDUCING if rests[BID] != 0 or rests[ASK] != 0 else 0)


@kernel
def queue_trim(ledger, io, p):
    """A position changed over which reduce-only orders rest: look at it when the event ends. Mutates `trims`."""
    ledger.positions[p]["reducing"] |= TRIM_QUEUED
    control = io.control[0]
    io.trims[np.int64(control["trim_count"])] = p
    control["trim_count"] += 1
    control["order_work"] += 1
