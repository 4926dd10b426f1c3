"""Every pool filled to the brim at many sizes: a coded refusal, not one byte changed by it, room again afterwards.

Each world is driven through `Twin`, so every step is also differential and audited.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np

from exchange import codes, config, schema
from exchange.allocation import outcomes_per_order
from exchange.core.loop import run
from exchange.venue import FOREVER_NS, Exchange
from tests.campaign.report import Budget, Part
from tests.campaign.streams import make
from tests.campaign.twin import Twin, reach_of
from tests.desk import FIRST, INSTRUMENT, NEVER_NS, UNIT, every_byte, venue_table
from tests.differential import first_difference, run_reference

RICH = 10**6 * UNIT
MARK = 1_000 * INSTRUMENT["mark_per_tick"]


def refused(twin: Twin, code: int, kind: int, **fields: int) -> None:
    """Send what must be refused with `code` and change nothing but counters."""
    before = every_byte(twin.core.state)
    given = twin.send(kind, **fields)
    assert given == code, f"{codes.RESULT_NAME[given]} instead of {codes.RESULT_NAME[code]}"
    after = every_byte(twin.core.state)
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f"a refusal with {codes.RESULT_NAME[code]} changed {changed}"


def opened(count: int = 1, accounts: int = 3, **capacity: int) -> Twin:
    """A marked world with rich accounts and given pool sizes."""
    twin = Twin(venue_table(count=count, capacity={"accounts": accounts, **capacity}))
    for k in range(count):
        twin.send(codes.MARK, instrument=k, price=MARK)
    for account in range(FIRST, FIRST + accounts):
        twin.send(codes.DEPOSIT, account=account, qty=RICH)
    return twin


def bid(order_id: int, account: int = FIRST) -> dict[str, int]:
    return {"kind": codes.NEW, "account": account, "order_id": order_id, "side": codes.BID, "price": 900, "qty": 1}


def level(ticks: int, lots: int = 5) -> dict[str, int]:
    return {"kind": codes.LEVEL_SET, "side": codes.BID, "price": ticks, "qty": lots, "flags": codes.LAST}


def orders(size: int) -> Twin:
    """Resting orders and recorded levels share the pool of orders."""
    twin = opened(orders=size)
    for k in range(size):
        assert twin.send(**(bid(k + 1) if k % 2 == 0 else level(800 + k))) in (codes.RESTING, codes.OK)
    for _ in range(2):
        refused(twin, codes.ORDERS_FULL, **bid(size + 9))
        refused(twin, codes.ORDERS_FULL, **level(700))
        assert twin.send(codes.CANCEL, account=FIRST, order_id=1) == codes.CANCELLED_BY_USER
        assert twin.send(**bid(1)) == codes.RESTING
    return twin


def externals(size: int) -> Twin:
    """Recorded levels; one that goes makes room for another."""
    twin = opened(external_levels=size, orders=size + 4)
    for k in range(size):
        assert twin.send(**level(800 + k)) == codes.OK
    for k in range(2):
        refused(twin, codes.EXTERNALS_FULL, **level(700 + k))
        assert twin.send(**level(800 + k % size, 0)) == codes.OK
        assert twin.send(**level(800 + k % size)) == codes.OK
    assert twin.send(codes.SHIFT, price=5, flags=codes.SHIFT_BOOK, qty=500_000) == codes.OK
    assert twin.send(codes.BOOK_CLEAR) == codes.OK
    assert twin.send(**level(700)) == codes.OK
    return twin


def positions(size: int) -> Twin:
    """Position slots are for good: those who have one go on, others are refused."""
    twin = opened(accounts=size + 2, positions=size)
    for k in range(size):
        assert twin.send(**bid(k + 1, FIRST + k)) == codes.RESTING
    late = FIRST + size
    refused(twin, codes.POSITIONS_FULL, **bid(size + 1, late))
    refused(twin, codes.POSITIONS_FULL, kind=codes.SET_LEVERAGE, account=late, qty=1_000)
    refused(twin, codes.POSITIONS_FULL, kind=codes.SET_MARGIN_MODE, account=late, qty=codes.ISOLATED)
    refused(twin, codes.POSITIONS_FULL, kind=codes.OPEN_POSITION, account=FIRST, order_id=late, price=1_000, qty=1)
    assert twin.send(**bid(size + 2)) == codes.RESTING
    return twin


def accounts(size: int) -> Twin:
    """The account after the last is no account."""
    twin = opened(accounts=size)
    for kind in (codes.DEPOSIT, codes.WITHDRAW, codes.CANCEL_ALL, codes.SET_LEVERAGE):
        refused(twin, codes.BAD_ACCOUNT, kind=kind, account=FIRST + size, qty=0 if kind == codes.CANCEL_ALL else 1_000)
    refused(twin, codes.BAD_ACCOUNT, **bid(1, FIRST + size))
    assert twin.send(**bid(1, FIRST + size - 1)) == codes.RESTING
    return twin


def units(size: int) -> Twin:
    """Every unit is breached by one mark: dirty list, timer heap and ranking hold them all, and everyone is closed."""
    count = 2
    twin = Twin(venue_table(count=count, capacity={"accounts": 2 * size, "positions": 4 * size},
                            liquidation={"order_delay_ns": 1}))
    for k in range(count):
        twin.send(codes.MARK, instrument=k, price=MARK)
    for k in range(2 * size):
        twin.send(codes.DEPOSIT, account=FIRST + k, qty=2 * 200 * UNIT)
        twin.send(codes.SET_MARGIN_MODE, account=FIRST + k, instrument=1, qty=codes.ISOLATED)
    for k in range(size):
        for instrument in range(count):
            twin.send(codes.OPEN_POSITION, account=FIRST + 2 * k, order_id=FIRST + 2 * k + 1, instrument=instrument,
                      price=1_000, qty=1 + k % 3)
    for mark in (MARK // 2, 2 * MARK):
        for k in range(count):
            twin.send(codes.MARK, instrument=k, price=mark)
        twin.settle(NEVER_NS)
    return twin


POOLS: dict[str, Callable[[int], Twin]] = {
    "orders": orders, "externals": externals, "positions": positions, "accounts": accounts, "units": units}


def drained_by_hand(exchange: Exchange, events: np.ndarray) -> tuple[list, int]:
    """Outcomes of the bare kernel and how often it stopped for room."""
    control, first, full, outcomes = exchange.state.io.control[0], 0, 0, []
    while True:
        code = run(exchange.state, events, events.view(schema.TERMS), first, FOREVER_NS, int(events["ts_ns"].max()) + 1)
        first, count = int(control["next_event"]), int(control["outbox_count"])
        outcomes += exchange.state.io.outbox[:count].tolist()
        control["outbox_count"] = 0
        if code != codes.OUTBOX_FULL:
            return outcomes, full
        assert count, "stopped for room although the outbox was empty"
        full += 1


def outbox(seed: int, count: int = 1_200) -> tuple[int, Counter]:
    """An outbox as small as the config allows stops between events and changes nothing; (stops, reach)."""
    venue, events = make("plain", seed, count)
    table = config.to_table(venue)
    size = outcomes_per_order(venue) * 256 + codes.OUTCOMES_PER_STEP
    tight = config.build_venue({**table, "capacity": {**table["capacity"], "orders": 256, "outcomes": size}})
    exchange = Exchange(tight)
    exchange.state.io.control["outbox_count"] = size - codes.OUTCOMES_PER_STEP  # as if nobody had drained for long
    ours, full = drained_by_hand(exchange, events)
    theirs = run_reference(tight, events)[0]
    difference = first_difference(ours[size - codes.OUTCOMES_PER_STEP:], theirs, events)
    assert not difference, difference
    exchange.audit()
    return full, reach_of(theirs)


def campaign(seed: int, budget: Budget, sizes: int = 12) -> Part:
    """Each pool at size 1, 2, ... and the outbox on seeds."""
    part, filled = Part("pools"), Counter()
    for k in range(sizes * (len(POOLS) + 1)):
        if not budget.left(part.runs):
            break
        size, which = 1 + k // (len(POOLS) + 1), k % (len(POOLS) + 1)
        name = [*POOLS, "outbox"][which]
        try:
            if name == "outbox":
                full, reached = outbox(seed + size)
                part.take(1_200, reached + Counter({"stop OUTBOX_FULL": full}))
            else:
                twin = POOLS[name](size)
                part.take(len(twin.rows), twin.reached)
        except Exception as error:  # noqa: BLE001 - reported by pool and size
            part.fail(f"{name} size {size}", error)
            continue
        filled[name] = size
    part.note = ", ".join(f"{name} 1..{size}" for name, size in filled.items())
    part.seconds = budget.spent()
    return part
