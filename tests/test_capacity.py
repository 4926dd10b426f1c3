"""Full pools: a coded refusal, nothing half done, and room again when something goes. A full outbox changes nothing."""

import numpy as np
import pytest

from exchange import codes, config, schema, state
from exchange.allocation import outcomes_per_order
from exchange.core.loop import run as run_kernel
from exchange.dump import dump
from exchange.venue import FOREVER_NS, Exchange
from tests.campaign_events import make_events, make_venue
from tests.desk import FIRST, Desk, every_byte, venue_table

A, B, C = FIRST, FIRST + 1, FIRST + 2


def refuses(desk, code, kind, **fields):
    """Send a command that must be refused with `code` and leave everything but the counters as it was."""
    before, content, whole = desk.exchange.state_digest(), dump(desk.state), every_byte(desk.state)
    rejected, processed = int(desk.state.io.control[0]["rejected"]), desk.exchange.events_processed
    rows = desk.send(kind, **fields)
    assert [(row["kind"], row["code"]) for row in rows] == [(codes.RESULT, code)], codes.RESULT_NAME[code]
    assert dump(desk.state) == content
    assert desk.exchange.state_digest() == before
    after = every_byte(desk.state)
    assert not [name for name in whole if whole[name] != after[name]]
    assert int(desk.state.io.control[0]["rejected"]) == rejected + 1
    assert desk.exchange.events_processed == processed + 1
    desk.exchange.audit()


def order(order_id, account=A, side=codes.BID, price=900, qty=1, **fields):
    return {"account": account, "order_id": order_id, "side": side, "price": price, "qty": qty, **fields}


@pytest.fixture
def desk():
    made = Desk(capacity={"orders": 6, "external_levels": 3, "positions": 3, "outcomes": 4_126})
    made.fund(A, B, C, money=10**9)
    made.mark(1_000)
    return made


def test_a_full_order_pool_refuses_what_would_rest_and_a_freed_slot_is_used_again(desk):
    for order_id in range(1, 7):
        assert desk.code(codes.NEW, **order(order_id, price=900 + order_id)) == codes.RESTING
    for freed in (3, 6, 1, 3):
        refuses(desk, codes.ORDERS_FULL, codes.NEW, **order(7))
        refuses(desk, codes.ORDERS_FULL, codes.LEVEL_SET, side=codes.BID, price=800, qty=5, flags=codes.LAST)
        assert desk.code(codes.CANCEL, account=A, order_id=freed) == codes.CANCELLED_BY_USER
        assert desk.code(codes.NEW, **order(freed)) == codes.RESTING
    desk.exchange.audit()


def test_a_full_order_pool_lets_what_does_not_rest_trade(desk):
    for order_id in range(1, 7):
        assert desk.code(codes.NEW, **order(order_id, price=900)) == codes.RESTING
    assert desk.code(codes.SET_LEVERAGE, account=B, qty=1_000) == codes.OK  # a position slot made on refusal would stay
    refuses(desk, codes.ORDERS_FULL, codes.NEW, **order(7, B, codes.ASK))  # it would fill, but it might have to rest
    assert desk.code(codes.NEW, **order(7, B, codes.ASK, time_in_force=codes.IOC)) == codes.FILLED
    assert desk.code(codes.NEW, **order(8, B, codes.ASK, qty=2, flags=codes.MARKET, price=0)) == codes.EXPIRED
    assert desk.code(codes.NEW, **order(9, B, codes.ASK)) == codes.FILLED
    desk.exchange.audit()


def test_an_amend_in_a_full_pool_uses_the_slot_of_the_order_it_moves(desk):
    for order_id in range(1, 7):
        assert desk.code(codes.NEW, **order(order_id)) == codes.RESTING
    assert desk.code(codes.AMEND, account=A, order_id=3, price=950, qty=4) == codes.RESTING
    assert desk.exchange.best(0) == (950, 0)
    desk.exchange.audit()


def test_a_full_pool_of_external_levels_refuses_new_levels_and_still_changes_old_ones(desk):
    for ticks in (990, 991, 992):
        assert desk.level(codes.BID, ticks, 10) == codes.OK
    refuses(desk, codes.EXTERNALS_FULL, codes.LEVEL_SET, side=codes.BID, price=993, qty=5, flags=codes.LAST)
    assert desk.level(codes.BID, 993, 0) == codes.OK  # removing what is not there needs no slot
    assert desk.level(codes.BID, 992, 4) == codes.OK
    assert desk.level(codes.BID, 991, 0) == codes.OK
    assert desk.level(codes.BID, 993, 5) == codes.OK
    assert desk.exchange.levels(0, codes.BID, 9).tolist() == [[993, 5], [992, 4], [990, 10]]
    desk.exchange.audit()


def test_a_full_position_pool_refuses_every_command_that_would_need_a_slot():
    desk = Desk(count=2, capacity={"positions": 3})
    desk.fund(A, B, C, money=10**9)
    for k in (0, 1):
        desk.mark(1_000, k)
    assert desk.seed(A, B, 1_000, 5) == codes.OK
    assert desk.new(A, 1, codes.BID, 900, 1, instrument=1) == codes.RESTING
    refuses(desk, codes.POSITIONS_FULL, codes.NEW, **order(2, C))
    refuses(desk, codes.POSITIONS_FULL, codes.SET_LEVERAGE, account=C, qty=1_000)
    refuses(desk, codes.POSITIONS_FULL, codes.SET_MARGIN_MODE, account=C, qty=codes.ISOLATED)
    refuses(desk, codes.POSITIONS_FULL, codes.OPEN_POSITION, account=A, order_id=C, price=1_000, qty=5)
    refuses(desk, codes.POSITIONS_FULL, codes.OPEN_POSITION, account=B, order_id=A, price=1_000, qty=5, instrument=1)
    assert desk.seed(B, A, 1_000, 5) == codes.OK  # those who have a slot go on


def test_the_external_and_insurance_accounts_have_their_positions_beside_the_pool(desk):
    assert desk.seed(A, B, 1_000, 5) == codes.OK
    assert desk.new(C, 1, codes.BID, 900, 1) == codes.RESTING
    assert desk.level(codes.BID, 990, 10) == codes.OK
    assert desk.new(A, 2, codes.ASK, 990, 5, time_in_force=codes.IOC) == codes.FILLED
    assert desk.exchange.position(codes.EXTERNAL, 0)["lots"] == 5
    desk.exchange.audit()


def stops(exchange, events):
    """Run a stream with the bare kernel, draining by hand: (outcomes, OUTBOX_FULL stops)."""
    control, first, full, chunks = exchange.state.io.control[0], 0, 0, []
    while True:
        code = run_kernel(exchange.state, events, events.view(schema.TERMS), first, FOREVER_NS, int(events["ts_ns"].max()) + 1)
        first = int(control["next_event"])
        chunks.append(exchange.state.io.outbox[:int(control["outbox_count"])].copy())
        control["outbox_count"] = 0
        if code != codes.OUTBOX_FULL:
            assert code == codes.NEED_INPUT
            return np.concatenate(chunks), full
        full += 1
        assert len(chunks[-1]), "stopped for room although the outbox was empty"


@pytest.mark.parametrize("seed", [3, 8])
def test_a_full_outbox_stops_between_events_and_changes_no_outcome(seed):
    venue = make_venue(seed)
    events = make_events(venue, seed, 2_500)
    table = config.to_table(venue)
    capacity = {**table["capacity"], "orders": 100}
    least = outcomes_per_order(venue) * 100 + codes.OUTCOMES_PER_STEP
    tight = config.build_venue({**table, "capacity": {**capacity, "outcomes": least}})
    roomy = config.build_venue({**table, "capacity": {**capacity, "outcomes": 1 << 18}})
    small, large = Exchange(tight), Exchange(roomy)
    few, stopped = stops(small, events)
    many, unstopped = stops(large, events)
    assert stopped > 0 and unstopped == 0
    assert few.tobytes() == many.tobytes()
    assert small.state_digest() == large.state_digest()
    small.audit()


def test_draining_in_the_middle_of_a_stream_gives_the_digest_of_one_that_never_filled():
    tables = [venue_table(capacity={"orders": 16, "outcomes": size}) for size in (4_176, 1 << 16)]
    rows = [{"ts_ns": 1, "kind": codes.DEPOSIT, "account": A, "qty": 1}] * 9_000
    digests = set()
    for table in tables:
        exchange = Exchange(config.build_venue(table))
        exchange.submit(schema.events(*rows))
        exchange.run()
        assert len(exchange.outcomes()) == 9_000
        digests.add((exchange.digest(), exchange.state_digest()))
    assert len(digests) == 1


@pytest.mark.parametrize("size", [1, 100, (1 << 16) + 8, 40 << 16, (40 << 16) + 24])
@pytest.mark.parametrize("written", [(), (0,), (0, 1 << 19), (-1,), "all"])
def test_a_copy_holds_every_byte_also_where_most_was_never_used(size, written):
    array = state.aligned_zeros(size, np.uint8)
    for place in range(0, size, 3) if written == "all" else [k for k in written if k < size]:
        array[place] = 7
    twin = state.aligned_copy(array)
    assert twin.tobytes() == array.tobytes() and twin.ctypes.data % state.CACHE_LINE == 0
    array[:] = 1
    assert not size or (twin != 1).all(), "nothing of it is shared"
