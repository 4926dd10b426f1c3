"""Throttles and message-to-trade ratios."""

import itertools
import re
from typing import Any

import scaling
from case_desk import HOLDER, OTHER, Contract, Desk
from case_files import Case
from registry import adapter

from exchange import codes

PRICE, SIZE, PLENTY = 100, 1, 1_000


def quoting_desk(**sections: Any) -> Desk:
    """A venue with rich users and a mark, where orders are throttled or counted."""
    desk = Desk([Contract((PRICE,), (SIZE, PLENTY))], **sections)
    desk.enrich(HOLDER, OTHER)
    desk.mark(PRICE)
    return desk


@adapter("rate_limit", "limits_ANDed orders_per_block")
def limits_of_blocks(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """A block is a nanosecond, and a limit over so many blocks slides over as many."""
    limits = [
        {"kind": "sliding", "capacity": row["limit"], "interval_ns": row["num_blocks"]}
        for row in case.inputs["limits_ANDed"]
    ]
    desk, free_ids, whole = quoting_desk(throttles=limits), itertools.count(1), []
    for block in itertools.count(1):
        orders = range(case.inputs["orders_per_block"])
        rows = [quote(desk, next(free_ids), ts_ns=block)[-1].code for _ in orders]
        if "THROTTLED" in rows:
            return {"blocks_until_limited": len(whole), "first_rejected_block": block}
        whole.append(block)


def quote(desk: Desk, order_id: int, kind: int = codes.NEW, size: Any = SIZE, **fields: int) -> list[Any]:
    row = {"account": HOLDER, "order_id": order_id, "price": desk.ticks(PRICE), "qty": desk.lots(size), **fields}
    return desk.send(kind, **row)


@adapter("rate_limit", "batch_length")
def weight_of_a_message(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """What orders sent at once, each a command of its own, take from a bucket."""
    desk = quoting_desk(throttles=[{"capacity": 1_200, "refill": 1_200, "interval_ns": 60_000_000_000}])
    for order_id in itertools.islice(itertools.count(1), case.inputs["batch_length"]):
        quote(desk, order_id)
    return {"weight": desk.exchange.throttle_used(0, HOLDER)}


@adapter("rate_limit", "quotes_submitted quotes_filled", "note")
def quote_fill_ratio(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Orders and amendments as the note says, then a taker for each that fills."""
    new, amended = map(int, re.fullmatch(r"(\d+) new \+ (\d+) amends", case.inputs["note"]).groups())
    desk = quoting_desk(penalty={"count_quotes": True})
    ids = range(1, case.inputs["quotes_submitted"])
    for order_id in itertools.islice(ids, new):
        quote(desk, order_id)
    for order_id in itertools.islice(ids, amended):
        quote(desk, order_id, codes.AMEND)
    for order_id in itertools.islice(itertools.count(PLENTY), case.inputs["quotes_filled"]):
        quote(desk, order_id, account=OTHER, side=codes.ASK)
    assert desk.exchange.quotes(HOLDER) == (case.inputs["quotes_submitted"], case.inputs["quotes_filled"])
    return {"qfr": scaling.amount(desk.exchange.quote_fill_ratio_ppm(HOLDER), scaling.MILLIONTH)}
