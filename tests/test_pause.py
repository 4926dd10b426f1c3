"""An engine that pauses: what stands still, what goes on, and what happens when it is back. DESIGN §3.18."""

import pytest

from exchange import codes
from exchange.venue import Exchange
from tests.desk import FIRST, Desk
from tests.standin import StandIn

A, B, MAKER = FIRST, FIRST + 1, FIRST + 2
SECOND = 10**9


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def made(request):
    return request.param


def desk_of(made, **sections):
    desk = Desk(1, None, made, **sections)
    desk.fund(A, B, MAKER, money=10**9)
    desk.mark(1_000)
    return desk


def of(outcomes, kind):
    return [row for row in outcomes if row["kind"] == kind]


def until(desk, ns):
    """What the timers before `ns` do; the desk's clock stands there then."""
    desk.exchange.run(ns)
    desk.clock = ns
    return desk.drain()


def pause(desk, ns=SECOND):
    return desk.code(codes.ENGINE_PAUSE, qty=ns)


def test_a_pause_refuses_every_command_and_says_how_long(made):
    desk = desk_of(made)
    assert pause(desk) == codes.OK
    for kind in (codes.NEW, codes.CANCEL, codes.DEPOSIT, codes.SET_FEES, codes.ENGINE_PAUSE, codes.RESUME):
        (row,) = of(desk.send(kind, account=A, order_id=1, qty=1, price=1_000), codes.RESULT)
        assert row["code"] == codes.ENGINE_PAUSED
        assert row["money"] == SECOND
    assert of(desk.send(codes.TRADE_PRINT, price=990, qty=1), codes.RESULT) == []  # data goes on


@pytest.mark.parametrize("ns", [0, -1, 10**17 + 1])
def test_a_pause_has_a_length(made, ns):
    assert pause(desk_of(made), ns) == codes.BAD_AMOUNT


def test_nothing_matches_until_the_markets_are_what_they_were(made):
    desk = desk_of(made)
    assert desk.code(codes.SET_STATE, qty=codes.STATE_POST_ONLY) == codes.OK
    desk.send(codes.NEW, account=A, order_id=1, side=codes.BID, price=990, qty=2, flags=codes.POST_ONLY)
    paused = desk.send(codes.ENGINE_PAUSE, qty=SECOND)
    assert [row["code"] for row in of(paused, codes.STATE_CHANGE)] == [codes.STATE_HALTED]
    assert of(desk.send(codes.TRADE_PRINT, side=codes.ASK, price=980, qty=5), codes.FILL) == []  # it passes over the bid
    back = until(desk, desk.clock + SECOND + 1)
    assert [row["code"] for row in of(back, codes.STATE_CHANGE)] == [codes.STATE_POST_ONLY]
    assert of(desk.send(codes.TRADE_PRINT, side=codes.ASK, price=980, qty=5), codes.FILL) != []


def test_a_halt_before_the_pause_outlasts_it(made):
    desk = desk_of(made)
    desk.send(codes.HALT)
    assert of(desk.send(codes.ENGINE_PAUSE, qty=SECOND), codes.STATE_CHANGE) == []
    assert of(until(desk, desk.clock + SECOND + 1), codes.STATE_CHANGE) == []
    assert desk.code(codes.NEW, account=A, order_id=1, side=codes.BID, price=990, qty=1) == codes.HALTED


def test_who_is_breached_in_a_pause_is_liquidated_after_it_at_the_prices_of_then(made):
    """A mark falls below maintenance while the engine stands still: nothing happens until it goes on."""
    desk = desk_of(made)
    desk.send(codes.WITHDRAW, account=A, qty=10**9 - 10**6)
    assert desk.seed(A, B, 1_000, 90) == codes.OK
    pause(desk)
    began = desk.clock
    assert of(desk.mark(800), codes.LIQUIDATION_START) == []
    assert of(until(desk, began + SECOND), codes.LIQUIDATION_START) == []
    after = until(desk, began + SECOND + 1)
    (start,) = of(after, codes.LIQUIDATION_START)
    assert (start["account"], start["ts_ns"]) == (A, began + SECOND)


def test_who_recovers_in_a_pause_is_not_liquidated(made):
    desk = desk_of(made)
    desk.send(codes.WITHDRAW, account=A, qty=10**9 - 10**6)
    assert desk.seed(A, B, 1_000, 90) == codes.OK
    pause(desk)
    desk.mark(800)
    desk.mark(1_000)
    assert of(until(desk, desk.clock + 2 * SECOND), codes.LIQUIDATION_START) == []


def test_orders_that_expire_in_a_pause_are_gone_before_anything_matches(made):
    desk = desk_of(made)
    assert desk.code(codes.NEW, account=A, order_id=1, side=codes.BID, price=990, qty=2, time_in_force=codes.GTD,
                     expiry_ns=desk.clock + SECOND // 2) == codes.RESTING
    desk.send(codes.ENGINE_PAUSE, qty=SECOND)
    back = until(desk, desk.clock + SECOND + 1)
    kinds = [row["kind"] for row in back]
    assert kinds.index(codes.CANCELLED) < kinds.index(codes.STATE_CHANGE)


def test_with_a_gateway_order_commands_wait_for_the_engine(made):
    desk = desk_of(made, gateway={"service_ns": 1_000, "depth": 2})
    desk.send(codes.ENGINE_PAUSE, qty=SECOND)
    began = desk.clock
    for order_id in (1, 2):
        assert of(desk.send(codes.NEW, account=A, order_id=order_id, side=codes.BID, price=990, qty=1), codes.RESULT) == []
    (shed,) = of(desk.send(codes.NEW, account=A, order_id=3, side=codes.BID, price=990, qty=1), codes.RESULT)
    assert (shed["code"], shed["money"]) == (codes.GATEWAY_FULL, began + SECOND + 1 - desk.clock)
    first, second = of(until(desk, began + 2 * SECOND), codes.RESULT)
    assert (first["code"], first["ts_ns"]) == (codes.RESTING, began + SECOND)
    assert second["ts_ns"] == began + SECOND + 1_000


def test_marks_tick_on_from_the_end_of_a_pause_at_whole_periods(made):
    """Three periods long: the tick that came due fires once, at its end, and the next at the period after."""
    desk = desk_of(made, mark={"source": "computed", "period_ns": SECOND, "components": [{"price": "index"}]})
    desk.send(codes.INDEX, price=10_000)
    desk.send(codes.ENGINE_PAUSE, qty=3 * SECOND + SECOND // 2)
    end = desk.clock + 3 * SECOND + SECOND // 2
    assert of(desk.send(codes.INDEX, price=9_000), codes.MARK_PRICE) == []
    ticks = of(until(desk, end + 1), codes.MARK_PRICE)
    assert [(row["ts_ns"], row["price"]) for row in ticks] == [(end, 9_000)]
    desk.send(codes.INDEX, price=9_500)
    (row,) = of(until(desk, end + SECOND), codes.MARK_PRICE)
    assert row["ts_ns"] == -(-end // SECOND) * SECOND
