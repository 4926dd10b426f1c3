"""Price impact and persistent refill: numbers worked out by hand, on both venues."""

import pytest
from standin import StandIn

from exchange import codes, config
from exchange.core.arith import isqrt
from exchange.errors import ConfigError
from exchange.liquidity import keep_ppb
from exchange.venue import Exchange
from tests.desk import FIRST, SECOND, Desk, venue_table

A, B = FIRST, FIRST + 1
HALF = SECOND // 2
MOVES = {"model": "shift", "volume": "1000", "period_ns": HALF, "half_life_ns": SECOND}
LINEAR = {**MOVES, "permanent_ppm": 20_000, "decaying_ppm": 100_000}
ROOT = {**MOVES, "shape": "square_root", "decaying_ppm": 50_000}


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def made(request):
    return request.param


def desk_of(made, impact, **sections):
    """A recorded bid of 1,000 at 990 and ask at 1,010: a mid of 1,000."""
    desk = Desk(made=made, impact=impact, **sections)
    desk.fund(A, B, money=10_000_000_000)
    desk.mark(1_000)
    for account in (A, B):
        assert desk.code(codes.SET_LEVERAGE, account=account, qty=500) == codes.OK
    quote(desk)
    return desk


def quote(desk):
    desk.level(codes.BID, 990, 1_000)
    desk.level(codes.ASK, 1_010, 1_000)


def take(desk, side, lots):
    desk.clock += 1
    price = 1_100 if side == codes.BID else 900
    return desk.send(codes.NEW, account=B, order_id=desk.clock, side=side, price=price, qty=lots,
                     time_in_force=codes.IOC)


def best_at(desk, ts_ns):
    desk.exchange.run(ts_ns + 1)
    desk.clock = ts_ns
    return desk.exchange.best(0)


def test_the_quotes_move_at_the_next_tick_decay_by_the_half_life_and_keep_the_permanent_part(made):
    desk = desk_of(made, LINEAR)
    take(desk, codes.BID, 50)  # of 1,000: 0.1 % permanent and 0.5 % decaying
    assert best_at(desk, 3 * HALF - 1) == (990, 1_010)  # never in the reaction itself
    assert best_at(desk, 3 * HALF) == (996, 1_016)
    assert best_at(desk, 4 * HALF) == (994, 1_014)  # 1 + 5 * 2**-0.5 = 4.54 ticks
    assert best_at(desk, 5 * HALF) == (993, 1_013)  # 1 + 2.5
    assert best_at(desk, 60 * SECOND) == (991, 1_011)


def test_a_round_trip_leaves_the_recorded_prices(made):
    desk = desk_of(made, LINEAR)
    take(desk, codes.BID, 50)
    best_at(desk, 3 * HALF)
    take(desk, codes.ASK, 50)
    assert best_at(desk, 4 * HALF) == (989, 1_009)  # -5 + 3.54 ticks, the permanent parts cancel
    assert best_at(desk, 60 * SECOND) == (990, 1_010)


def test_the_timer_rests_once_neither_flow_nor_shift_is_left():
    desk = desk_of(Exchange, {**MOVES, "decaying_ppm": 100_000})
    take(desk, codes.BID, 50)
    best_at(desk, 60 * SECOND)
    processed = desk.exchange.events_processed
    best_at(desk, 3_600 * SECOND)
    assert desk.exchange.events_processed == processed
    take(desk, codes.BID, 50)
    assert best_at(desk, 3_602 * SECOND)[0] > 990  # and wakes with the next flow


@pytest.mark.parametrize("pieces", [1, 4])
def test_the_square_root_is_of_the_whole_flow_and_not_of_its_pieces(made, pieces):
    desk = desk_of(made, ROOT)
    for _ in range(pieces):
        take(desk, codes.BID, 40 // pieces)
    assert best_at(desk, 3 * HALF) == (1_000, 1_020)  # 5 % * sqrt(40 / 1,000) = 1 %


def test_the_ladder_of_a_scripted_shift_and_of_impact_add_up_and_prints_follow(made):
    desk = desk_of(made, ROOT)
    take(desk, codes.ASK, 40)
    best_at(desk, 3 * HALF)
    desk.send(codes.SHIFT, side=codes.BID, price=30, qty=1_000_000, flags=codes.SHIFT_BOOK)
    assert desk.exchange.best(0) == (1_010, 1_030)
    desk.send(codes.TRADE_PRINT, side=codes.BID, price=1_010, qty=1)
    assert int(desk.exchange.markets[0]["last_ticks"]) == 1_030
    desk.level(codes.ASK, 1_005, 7)
    assert desk.exchange.best(0) == (1_010, 1_025)


def test_quotes_that_move_onto_a_simulated_order_fill_it_at_its_own_price(made):
    desk = desk_of(made, {**ROOT, "decaying_ppm": 150_000})
    assert desk.new(A, 1, codes.ASK, 1_015, 8) == codes.RESTING
    take(desk, codes.BID, 40)  # 3 %
    desk.exchange.run(3 * HALF + 1)
    assert [(row["account"], row["price"], row["lots"]) for row in desk.drain()] == [(A, 1_015, 8)]
    assert desk.exchange.best(0) == (1_020, 1_040)


def test_the_index_moves_by_this_venues_share_of_it(made):
    for share, index in ((0, 10_000), (300_000, 10_030)):
        desk = desk_of(made, ROOT, index={"feedback_ppm": share})
        take(desk, codes.BID, 40)
        best_at(desk, 3 * HALF)
        desk.send(codes.INDEX, price=10_000)
        assert int(desk.exchange.markets[0]["index_sub"]) == index


def test_shadow_mode_has_no_impact(made):
    desk = desk_of(made, LINEAR, liquidation={"mode": "shadow"})
    take(desk, codes.BID, 50)
    assert best_at(desk, 10 * SECOND) == (990, 1_010)


def test_forced_flow_alone_counts_where_the_venue_says_so(made):
    desk = desk_of(made, {**LINEAR, "flow": "forced"})
    take(desk, codes.BID, 50)
    assert best_at(desk, 3 * HALF) == (990, 1_010)
    poor = FIRST + 2
    desk.fund(poor, money=600_000)
    assert desk.code(codes.SET_LEVERAGE, account=poor, qty=2_000) == codes.OK
    assert desk.seed(poor, A, 1_000, 100) == codes.OK
    desk.mark(950)  # poor sells 100 at 990
    assert best_at(desk, 4 * HALF) == (978, 998)  # -2 - 10 ticks


def test_without_two_recorded_sides_the_quotes_stay(made):
    desk = desk_of(made, ROOT)
    take(desk, codes.BID, 40)
    desk.level(codes.BID, 990, 0)
    assert best_at(desk, 3 * HALF) == (0, 1_010)
    desk.level(codes.BID, 990, 5)
    assert best_at(desk, 4 * HALF) == (998, 1_018)  # 1 % * 2**-0.25, in ticks toward zero


def test_each_instrument_may_have_its_own_impact():
    table = venue_table(2, impact={**LINEAR})
    table["instruments"][1]["impact"] = {**ROOT, "volume": "500"}
    rows = config.compile_venue(config.build_venue(table)).impacts
    assert rows["volume_lots"].tolist() == [1_000, 500] and rows["square_root"].tolist() == [0, 1]
    assert rows["keep_ppb"].tolist() == [707_106_781] * 2


def test_the_share_kept_is_the_floor_of_the_power_of_two():
    assert keep_ppb(1, 1) == 500_000_000
    assert keep_ppb(100_000_000, 600_000_000_000) == 999_884_482  # exp(-ln 2 / 6000) = 0.9998844821...
    assert keep_ppb(10**15, 10**6) == 0


@pytest.mark.parametrize("fields, where", [
    ({"volume": ""}, ".volume"), ({"volume": "0.5"}, ".volume"), ({"volume": str(2**40)}, ".volume"),
    ({"volume": "many"}, ".volume"), ({"decaying_ppm": 0, "permanent_ppm": 0}, ".decaying_ppm"),
    ({"period_ns": 2 * SECOND}, ".period_ns"), ({"decaying_ppm": 1_000_001}, ".decaying_ppm"),
])
def test_impact_out_of_range_is_refused_by_its_path(fields, where):
    with pytest.raises(ConfigError) as caught:
        config.build_venue(venue_table(impact={**LINEAR, **fields}, liquidation={"mode": "shadow"}))
    assert caught.value.where == f"$.venue.impact{where}"


def test_a_move_is_held_at_the_whole_price(made):
    desk = desk_of(made, {**MOVES, "volume": "1", "permanent_ppm": 1_000_000, "decaying_ppm": 1_000_000})
    take(desk, codes.BID, 999)
    assert best_at(desk, 3 * HALF) == (1_990, 2_010)


@pytest.mark.parametrize("shape, move", [("linear", 1_000), ("square_root", 31)])  # volumes times 0.1 %
def test_the_largest_flow_and_volume_stay_within_64_bits(shape, move):
    volume = 2**40 - 1
    desk = desk_of(Exchange, {**MOVES, "volume": str(volume), "shape": shape, "decaying_ppm": 1_000})
    impact = desk.state.prices.impacts[0]
    for sign in (1, -1):
        impact["decaying_mlots"] = sign * 10**6 * volume
        impact["flow_lots"] = sign * 2**62
        take(desk, codes.BID, 1)
        best_at(desk, desk.clock // HALF * HALF + HALF)
        assert abs(impact["decaying_mlots"]) == 10**6 * volume and impact["ticks"] == sign * move


def test_integer_square_roots_are_exact():
    root = getattr(isqrt, "py_func", isqrt)
    for n in (0, 1, 2, 3, 4, 8, 9, 10**15, 10**15 - 1, 31_622_776**2, 31_622_777**2 - 1, 2**62 - 1):
        r = int(root(n))
        assert r * r <= n < (r + 1) ** 2


@pytest.mark.parametrize("refill, leaves", [
    ("none", [10, 5, 12, 12]),
    ("persistent", [2, 0, 7, 7]),  # 8 eaten; capped at 5 when the level shrank to 5
])
def test_persistent_displacement_yields_to_the_recording_alone(made, refill, leaves):
    desk = desk_of(made, {}, depth={"refill": refill, "half_life_ns": 80})
    desk.level(codes.ASK, 1_005, 10)
    take(desk, codes.BID, 8)

    def lots():
        best = desk.exchange.best(0)[1]
        return desk.exchange.depth_lots(0, codes.ASK, 2_000_000) - 1_000 if best == 1_005 else 0

    seen = []
    for size in (10, 5, 12):
        desk.level(codes.ASK, 1_005, size)
        seen.append(lots())
    best_at(desk, 3_600 * SECOND)  # time alone brings nothing back
    assert [*seen, lots()] == leaves
    desk.level(codes.ASK, 1_005, 0)
    desk.level(codes.ASK, 1_005, 12)
    assert lots() == 12


def test_size_comes_back_by_steps_after_a_fill_and_no_timer_runs_where_nothing_is_away(made):
    desk = desk_of(made, {}, depth={"refill": "decay", "half_life_ns": 8 * SECOND})
    before = desk.exchange.events_processed
    best_at(desk, 60 * SECOND)
    assert desk.exchange.events_processed == before
    take(desk, codes.BID, 8)
    shown = []
    for k in range(10):
        best_at(desk, (61 + k) * SECOND)
        shown.append(desk.exchange.depth_lots(0, codes.ASK, 2_000_000))
    assert shown == [993, 994, 995, 996, 997, 998, 999, 1_000, 1_000, 1_000]  # 0.917 of 8, of 7, ... rounded down
    assert desk.exchange.events_processed == before + 1 + 8
