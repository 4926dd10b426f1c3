"""The gateway queue: latency emerges from load. DESIGN §3.8."""

import pytest

from exchange import codes, config, schema
from exchange.dump import dump
from exchange.venue import Exchange
from tests.campaign.twin import Twin
from tests.campaign_events import MS, make_events, make_venue
from tests.desk import FIRST, SECOND, Desk, venue_table

A, B = FIRST, FIRST + 1
NEW, AMEND, CANCEL, CANCEL_ALL = codes.NEW, codes.AMEND, codes.CANCEL, codes.CANCEL_ALL


def served(service_ns=100, **terms):
    """A desk with a gateway queue, two rich accounts and a mark; its clock is one second."""
    desk = Desk(gateway={"service_ns": service_ns, **terms})
    desk.fund(A, B, money=10**9)
    desk.mark(1_000)
    return desk


def answers(rows):
    """(order id, code, time since the start, money) of every RESULT."""
    return [(row["order_id"], row["code"], row["ts_ns"] - SECOND, row["money"])
            for row in rows if row["kind"] == codes.RESULT]


def ask(desk, kind=NEW, at=0, account=A, order_id=1, **fields):
    row = {"ts_ns": SECOND + at, "account": account, "order_id": order_id, "price": 900, "qty": 1, **fields}
    return answers(desk.send(kind, **row))


def until(desk, at):
    desk.clock = max(desk.clock, SECOND + at)
    return answers(desk.settle())


def test_a_command_is_applied_after_its_service_and_the_result_says_how_long_it_took():
    desk = served()
    assert ask(desk) == []
    assert desk.exchange.books[0]["order_lots"] == 0 and desk.exchange.gateway_length() == 1
    assert until(desk, 99) == []
    assert until(desk, 100) == [(1, codes.RESTING, 100, 100)]
    assert ask(desk, CANCEL, at=250) == [] and until(desk, 350) == [(1, codes.CANCELLED_BY_USER, 350, 100)]


def test_outcomes_of_a_command_carry_the_number_of_the_timer_that_served_it():
    desk = served()
    ask(desk, side=codes.ASK, price=900)
    ask(desk, account=B, order_id=2)
    desk.clock += 1_000
    rows = desk.settle()
    last = desk.exchange.events_processed
    assert {row["cause_seq"] for row in rows if row["kind"] == codes.FILL} == {last}
    assert [row["cause_seq"] for row in rows if row["kind"] == codes.RESULT] == [last - 1, last]


def test_under_overload_latency_grows_by_the_same_step_and_the_queue_drains():
    desk = served(depth=64)
    desk.exchange.submit(schema.events(*(  # one each 40 ns, of which each takes 100
        {"ts_ns": SECOND + 40 * k, "kind": NEW, "account": A, "order_id": k + 1, "price": 900, "qty": 1}
        for k in range(20))))
    assert [money for *_, money in until(desk, 3_000)] == [100 + 60 * k for k in range(20)]
    assert desk.exchange.gateway_length() == 0
    ask(desk, at=5_000, order_id=99)
    assert until(desk, 5_100) == [(99, codes.RESTING, 5_100, 100)]


def test_commands_of_several_kinds_take_the_time_of_their_weight_in_order_of_arrival():
    desk = served(weights={"new": 3, "cancel": 1, "cancel_all": 5, "amend": 2})
    for kind in (NEW, AMEND, CANCEL, CANCEL_ALL):
        ask(desk, kind, qty=2)
    assert [row[2:] for row in until(desk, 2_000)] == [(300, 300), (500, 500), (600, 600), (1_100, 1_100)]


def test_a_full_queue_sheds_and_the_stated_time_is_the_first_at_which_a_place_is_free():
    desk = served(depth=2)
    assert ask(desk, order_id=1) == ask(desk, order_id=2) == []
    assert ask(desk, order_id=3, at=30) == [(3, codes.GATEWAY_FULL, 30, 71)]
    assert ask(desk, order_id=3, at=100) == [(3, codes.GATEWAY_FULL, 100, 1)]  # a service ends after what comes then
    assert ask(desk, order_id=3, at=101) == [(1, codes.RESTING, 100, 100)]
    assert [row[0] for row in until(desk, 1_000)] == [2, 3]


def test_exempt_kinds_have_the_reserved_places():
    desk = served(depth=2, reserved=2, exempt=["cancels", "closes"])
    for k in (1, 2):
        ask(desk, order_id=k)
    assert ask(desk, order_id=3)[0][1] == codes.GATEWAY_FULL
    assert ask(desk, CANCEL, order_id=1) == []
    assert ask(desk, order_id=4, flags=codes.REDUCE_ONLY) == []
    assert ask(desk, order_id=3) == [(3, codes.GATEWAY_FULL, 0, 301)]  # not before three have left
    assert ask(desk, CANCEL_ALL) == [(1, codes.GATEWAY_FULL, 0, 101)]
    assert [row[:2] for row in until(desk, 1_000)] == [
        (1, codes.RESTING), (2, codes.RESTING), (1, codes.CANCELLED_BY_USER), (4, codes.REDUCE_ONLY_INCREASES)]


def test_without_exemption_nobody_has_the_reserved_places():
    desk = served(depth=1, reserved=5)
    ask(desk)
    assert ask(desk, CANCEL)[0][1] == ask(desk, order_id=2, flags=codes.REDUCE_ONLY)[0][1] == codes.GATEWAY_FULL


def test_terms_travel_with_their_command_and_leave_those_of_the_tape_alone():
    desk = served()
    ask(desk, min_lots=7)
    held = desk.state.io.held
    assert held[0]["kind"] == 0 and dump(desk.state)["gateway"][0][-1][schema.TERMS.names.index("min_lots")] == 7
    desk.send(codes.TERMS, account=B, order_id=2)
    until(desk, 100)  # the queued command is served between another's TERMS row and its command
    assert (held[0]["kind"], held[0]["account"]) == (codes.TERMS, B)


def test_what_is_no_users_command_never_waits():
    desk = served()
    assert ask(desk, CANCEL_ALL, account=0) != [] and ask(desk, account=codes.INSURANCE)[0][1] == codes.BAD_ACCOUNT
    assert desk.code(codes.DEPOSIT, account=A, qty=5) == codes.OK
    assert ask(desk, account=5_000, order_id=8) == []  # a load is a load
    assert until(desk, 100) == [(8, codes.BAD_ACCOUNT, 100, 100)]


def test_liquidations_never_wait_behind_commands():
    desk = served(service_ns=SECOND, depth=8)
    desk.fund(FIRST + 2, money=200_000)
    desk.seed(FIRST + 2, B, 1_000, 60)
    desk.level(codes.BID, 950, 100)
    for k in range(5):
        ask(desk, order_id=k + 1)
    desk.mark(960)
    kinds = {row["kind"] for row in desk.settle()}
    assert codes.LIQUIDATION_ORDER in kinds and desk.exchange.gateway_length() == 5


def test_throttles_count_at_arrival_also_what_the_gateway_sheds():
    desk = Desk(gateway={"service_ns": 100, "depth": 1},
                throttles=[{"kind": "window", "capacity": 2, "interval_ns": SECOND}])
    desk.fund(A)
    desk.mark(1_000)
    codes_given = [[row[1] for row in ask(desk, order_id=k)] for k in (1, 2, 3)]
    assert codes_given == [[], [codes.GATEWAY_FULL], [codes.THROTTLED]]


def test_bursts_agree_with_the_reference_at_every_depth():
    for depth, reserved in ((1, 0), (2, 1), (3, 4)):
        twin = Twin(venue_table(gateway={"service_ns": 10, "depth": depth, "reserved": reserved, "exempt": ["cancels"],
                                         "weights": {"cancel": 3}}))
        twin.send(codes.MARK, price=10_000)
        twin.send(codes.DEPOSIT, account=A, qty=10**9)
        for k in range(12):
            twin.send(NEW, account=A, order_id=k + 1, price=900, qty=1)
            twin.send(CANCEL, account=A, order_id=k)
            twin.settle(7)
        twin.settle(1_000)
        assert twin.reached["result GATEWAY_FULL"]


@pytest.mark.parametrize("seed", [6, 17])
def test_outcomes_do_not_depend_on_how_the_input_is_cut_or_copied(seed):
    venue = make_venue(seed)
    assert venue.gateway.service_ns
    events, seen = make_events(venue, seed, 500), []
    for size in (1, 7, 500):
        exchange = Exchange(venue)
        for start in range(0, len(events), size):
            exchange.submit(events[start:start + size])
            exchange.run()
            exchange = exchange.copy() if start % 5 == 0 else exchange
        exchange.run(int(events["ts_ns"][-1]) + 50 * MS)
        exchange.audit()
        seen.append((exchange.digest(), exchange.state_digest()))
    assert len(set(seen)) == 1
    assert config.build_venue(config.to_table(venue)) == venue
