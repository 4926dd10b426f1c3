"""Where recorded size that comes or goes stands against a simulated order: numbers worked out by hand, on both venues."""

import pytest
from standin import StandIn

from exchange import codes
from exchange.dump import dump
from exchange.venue import Exchange
from tests.campaign_events import make_events, make_venue
from tests.desk import FIRST, Desk

A, B = FIRST, FIRST + 1
MODELS = ("whole_level", "risk_averse", "proportional", "power")


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def made(request):
    return request.param


def desk_of(made, model, exponent=3, **sections):
    """A recorded ask of 10 at 100 with A's order of 5 behind it."""
    desk = Desk(made=made, queue={"model": model, "exponent": exponent}, **sections)
    desk.fund(A, B, money=10_000_000)
    desk.mark(100)
    desk.level(codes.ASK, 100, 10)
    assert desk.new(A, 1, codes.ASK, 100, 5) == codes.RESTING
    return desk


def asks(desk, ticks=100):
    """Leaves of the queue at a price; a simulated order as a string."""
    venue = desk.exchange
    state = dump(venue.state) if isinstance(venue, Exchange) else venue.reference.state()
    queue = dict(state["books"].get((0, codes.ASK), ())).get(ticks, [])
    return [lots if account == codes.EXTERNAL else str(lots) for _, account, lots in queue]


@pytest.mark.parametrize("model, grown, shrunk", [
    ("whole_level", [16, "5"], [8, "5"]),
    ("risk_averse", [10, "5", 6], [8, "5"]),  # the 6 behind go first
    ("proportional", [10, "5", 6], [5, "5", 3]),  # 8 * 10 / 16 stood ahead
    ("power", [10, "5", 6], [4, "5", 4]),  # 8 * 10**3 / (10**3 + 6**3) = 6.58, floored
])
def test_size_that_came_later_stands_behind_and_the_model_shares_what_goes(made, model, grown, shrunk):
    desk = desk_of(made, model)
    desk.level(codes.ASK, 100, 16)
    assert asks(desk) == grown
    desk.level(codes.ASK, 100, 8)
    assert asks(desk) == shrunk
    desk.level(codes.ASK, 100, 0)
    assert asks(desk) == ["5"]


@pytest.mark.parametrize("model, left", [("risk_averse", [6, "5", 2]), ("proportional", [4, "5", 4]), ("power", [4, "5", 4])])
def test_what_was_printed_leaves_the_front_before_the_model_shares_the_rest(made, model, left):
    """10 ahead and 6 behind; of 4 printed and 4 cancelled the 4 come off the front and the model shares 6 and 6."""
    desk = desk_of(made, model)
    desk.level(codes.ASK, 100, 16)
    desk.send(codes.TRADE_PRINT, side=codes.BID, price=100, qty=4)
    desk.level(codes.ASK, 100, 8)
    assert asks(desk) == left


def test_the_share_of_a_side_is_no_more_than_it_holds(made):
    desk = desk_of(made, "power", exponent=6)
    desk.level(codes.ASK, 100, 12)  # 10 ahead, 2 behind
    desk.level(codes.ASK, 100, 1)  # of 11 all but 0.0007 would go ahead, where only 10 are
    assert asks(desk) == ["5", 1]


def test_printed_size_left_the_front_and_what_replaced_it_stands_behind(made):
    desk = desk_of(made, "risk_averse")
    assert desk.send(codes.TRADE_PRINT, side=codes.BID, price=100, qty=4) == []
    desk.level(codes.ASK, 100, 12)
    assert asks(desk) == [6, "5", 6]
    fills = desk.send(codes.TRADE_PRINT, side=codes.BID, price=100, qty=8)
    assert [(row["account"], row["lots"]) for row in fills] == [(A, 2)]
    desk.level(codes.ASK, 100, 6)  # 6 printed of 12: the rest stood behind and stays
    assert asks(desk) == ["3", 6]


def test_in_the_whole_level_model_replaced_size_stands_ahead(made):
    desk = desk_of(made, "whole_level")
    desk.send(codes.TRADE_PRINT, side=codes.BID, price=100, qty=4)
    desk.level(codes.ASK, 100, 12)
    assert asks(desk) == [12, "5"]
    assert desk.send(codes.TRADE_PRINT, side=codes.BID, price=100, qty=8) == []


def test_a_taker_meets_the_parts_in_queue_order_and_an_emptied_part_goes(made):
    desk = desk_of(made, "risk_averse")
    desk.level(codes.ASK, 100, 16)
    desk.send(codes.NEW, account=B, order_id=2, side=codes.BID, price=100, qty=12, time_in_force=codes.IOC)
    assert asks(desk) == ["3", 6]
    desk.level(codes.ASK, 100, 16)  # what was eaten is new size
    assert asks(desk) == ["3", 16]
    desk.send(codes.NEW, account=B, order_id=3, side=codes.BID, price=100, qty=19, time_in_force=codes.IOC)
    assert asks(desk) == []
    desk.level(codes.ASK, 100, 7)
    assert asks(desk) == [7]


def test_several_orders_each_have_their_own_size_ahead(made):
    desk = desk_of(made, "proportional")
    desk.level(codes.ASK, 100, 16)
    assert desk.new(B, 2, codes.ASK, 100, 2) == codes.RESTING
    desk.level(codes.ASK, 100, 20)
    assert asks(desk) == [10, "5", 6, "2", 4]
    desk.level(codes.ASK, 100, 10)  # behind both 10 - 10 * 16 // 20 = 2; of the 8, behind A 8 - 8 * 10 // 16 = 3
    assert asks(desk) == [5, "5", 3, "2", 2]
    assert desk.code(codes.CANCEL, account=B, order_id=2) == codes.CANCELLED_BY_USER
    assert asks(desk) == [5, "5", 3, 2]
    desk.level(codes.ASK, 100, 11)
    assert asks(desk) == [5, "5", 6]  # neighbours are one part again


def test_without_a_free_order_slot_size_joins_the_last_part(made):
    desk = desk_of(made, "risk_averse", capacity={"orders": 2})
    desk.level(codes.ASK, 100, 16)
    assert asks(desk) == [16, "5"]


def test_a_shift_of_the_ladder_makes_one_part_of_each_level(made):
    desk = desk_of(made, "proportional")
    desk.level(codes.ASK, 100, 16)
    desk.send(codes.SHIFT, side=codes.BID, price=1, qty=1_000_000, flags=codes.SHIFT_BOOK)
    assert (asks(desk), asks(desk, 101)) == (["5"], [16])


def test_what_decays_back_stands_behind(made):
    desk = desk_of(made, "risk_averse", depth={"refill": "decay", "half_life_ns": 8 * 10**9})
    desk.send(codes.NEW, account=B, order_id=2, side=codes.BID, price=100, qty=4, time_in_force=codes.IOC)
    desk.exchange.run(2 * 10**9 + 1)
    assert asks(desk) == [6, "5", 1]  # 4 * 0.917004 = 3.67


@pytest.mark.parametrize("model", MODELS[1:])
@pytest.mark.parametrize("seed", [5, 6, 7])
def test_without_simulated_orders_no_model_changes_anything(made, model, seed):
    """The recorded part of a campaign: the same books whatever the queue, refill and impact."""
    books = []
    for sections in ({}, {"queue": {"model": model}, "depth": {"refill": "persistent"}, "impact": {
            "model": "shift", "volume": "1", "permanent_ppm": 1_000_000, "decaying_ppm": 1_000_000}}):
        desk = Desk(made=made, count=3, **sections)
        events = make_events(make_venue(seed), seed, 1_500)
        for event in events[(events["kind"] >= codes.LEVEL_SET) & (events["kind"] <= codes.SHIFT)]:
            desk.send(**{name: int(event[name]) for name in event.dtype.names})
        venue = desk.exchange
        state = dump(venue.state) if isinstance(venue, Exchange) else venue.reference.state()
        books.append([state[part] for part in ("books", "externals", "markets")])
    assert books[0] == books[1]
