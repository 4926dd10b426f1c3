"""Outcomes: one record a fact, numbered without gaps, each naming the event that caused it. Rules SEQ-1, SEQ-3."""

import numpy as np

from exchange.codes import FIRST_REJECTION, OUTCOMES_PER_STEP, RESULT
from exchange.core.kernel import kernel, leaf


@leaf
def has_room(state):
    """Is there room for the most that one event can emit, and, where it is published, do to the books?

    An iceberg counts once more for each part that it may show yet. An order's queue changes at most twice as often as
    it is the subject of outcomes.
    """
    io, pool, per_order = state.io, state.book.pools[0], np.int64(state.prices.policy[0]["outcomes_per_order"])
    most = per_order * (np.int64(pool["order_live"]) + np.int64(pool["slices"])) + OUTCOMES_PER_STEP
    if pool["publish"] != 0:
        pool["change_event"] = np.int64(io.control[0]["event_seq"]) + 1
        if state.book.changes.shape[0] - np.int64(pool["change_count"]) < 2 * most:
            return False
    return io.outbox.shape[0] - np.int64(io.control[0]["outbox_count"]) >= most


@leaf
def emit(io, kind, code, instrument, account, counterparty, order_id, price, lots, money, flags, liquidation_id):
    """Append an outcome. Mutates the outbox; room was checked before the event began."""
    control = io.control[0]
    outcome = io.outbox[np.int64(control["outbox_count"])]
    control["outbox_count"] += 1
    control["outcome_seq"] += 1
    outcome["ts_ns"] = np.int64(control["clock_ns"])
    outcome["seq"] = np.int64(control["outcome_seq"])
    outcome["cause_seq"] = np.int64(control["event_seq"])
    outcome["order_id"] = order_id
    outcome["price"] = price
    outcome["lots"] = lots
    outcome["money"] = money
    outcome["account"] = account
    outcome["counterparty"] = counterparty
    outcome["liquidation_id"] = liquidation_id
    outcome["kind"] = kind
    outcome["code"] = code
    outcome["instrument"] = instrument
    outcome["flags"] = flags


@leaf
def answer(io, event, instrument, code, price, lots):
    """The one terminal result of a command. Rule SEQ-2."""
    if code >= FIRST_REJECTION:
        io.control[0]["rejected"] += 1
    emit(
        io,
        RESULT,
        code,
        instrument,
        np.int64(event["account"]),
        0,
        np.int64(event["order_id"]),
        price,
        lots,
        0,
        np.int64(event["kind"]),
        np.int64(event["liquidation_id"]),
    )


@kernel
def refuse(io, event, code):
    """Answer with a rejection: instrument, price and lots as they were asked for."""
    answer(io, event, np.int64(event["instrument"]), code, np.int64(event["price"]), np.int64(event["qty"]))
