"""Allocation by rule: each step of a shared level, and what holds for every algorithm. DESIGN §3.6."""

import numpy as np
import pytest

from exchange import codes, config
from exchange.allocation import LOTS_MAX, PRESETS
from exchange.errors import ConfigError
from tests.campaign.twin import Twin
from tests.campaign_owners import generator
from tests.desk import FIRST, Desk, venue_table

BID, ASK = codes.BID, codes.ASK
TAKER = FIRST + 40
CAPACITY = {"accounts": 64, "orders": 200, "outcomes": 20_000}
RICH = 10**9
FREE = {"tiers": [{"floor": "0", "maintenance_ppm": 10_000, "leverage_max": 100}], "order_max": "100000",
        "position_max": "100000"}


def desk(algorithm, **terms):
    made = Desk(instrument={**FREE, "allocation": {"algorithm": algorithm, **terms}}, capacity=CAPACITY)
    made.mark(1_000)
    made.fund(TAKER, money=RICH)
    return made


def rest(made, *sizes, first=FIRST, ticks=1_000, **fields):
    """Asks of one account each, ids 1, 2, … by account."""
    for account, size in enumerate(sizes, first):
        made.fund(account, money=RICH)
        assert made.new(account, account - FIRST + 1, ASK, ticks, size, **fields) == codes.RESTING


def take(made, lots, ticks=1_000, **fields):
    """Fills of a taker as (maker's order id, lots), and its RESULT."""
    rows = made.send(codes.NEW, account=TAKER, order_id=10**6, side=BID, price=ticks, qty=lots,
                     time_in_force=codes.IOC, **fields)
    fills = [(row["order_id"], row["lots"]) for row in rows if row["kind"] == codes.FILL and row["flags"] & codes.MAKER]
    made.exchange.audit()
    return fills, rows[-1]


def test_the_top_order_fills_first_up_to_its_most():
    made = desk("fifo_top_lmm", top_max_lots=4)
    rest(made, 9, 9)
    assert take(made, 3)[0] == [(1, 3)]
    assert take(made, 6)[0] == [(1, 4), (1, 2)]


def test_the_top_order_is_the_one_that_improved_the_best_price_while_it_stands():
    made = desk("allocation", pro_rata_min_lots=0)
    rest(made, 2, ticks=1_001)
    rest(made, 5, 5, first=FIRST + 1)
    assert take(made, 6)[0][0] == (2, 5), "the newest best price's first order"
    made.code(codes.CANCEL, account=FIRST + 2, order_id=3)
    assert take(made, 1, 1_001)[0] == [(1, 1)]
    rest(made, 8, 1, first=FIRST + 3, ticks=1_001)
    assert take(made, 4, 1_001)[0] == [(4, 3), (1, 1)], "what was passed by a better price is no top order again"


def test_a_small_order_is_no_top_order():
    made = desk("threshold_pro_rata", top_min_lots=4, pro_rata_min_lots=0)
    rest(made, 3, 9)
    assert take(made, 4)[0] == [(2, 3), (1, 1)]


def test_a_market_maker_gets_its_part_over_all_its_orders_in_time():
    made = desk("fifo_lmm", market_makers=[{"account": FIRST + 2, "share_ppm": 500_000},
                                           {"account": FIRST + 1, "share_ppm": 100_000}])
    rest(made, 50, 50, 3)
    assert made.new(FIRST + 2, 9, ASK, 1_000, 50) == codes.RESTING
    assert take(made, 20)[0] == [(3, 3), (9, 7), (2, 2), (1, 8)]


def test_a_share_is_first_in_first_out_and_the_rest_pro_rata():
    made = desk("configurable", top_max_lots=0, fifo_ppm=300_000, pro_rata_min_lots=1)
    rest(made, 2, 8, 20)
    assert take(made, 10)[0] == [(1, 2), (2, 1), (3, 5), (2, 1), (2, 1)]


def test_shares_below_the_minimum_are_none_and_the_remainder_goes_by_time():
    made = desk("pro_rata", pro_rata_min_lots=3)
    rest(made, 5, 20, 6)
    assert take(made, 15)[0] == [(2, 9), (1, 5), (2, 1)]


def test_leveling_gives_one_lot_to_each_that_pro_rata_gave_none_by_size_then_time():
    made = desk("pro_rata", pro_rata_min_lots=3, leveling=True)
    rest(made, 5, 20, 6, 5)
    assert take(made, 15)[0] == [(2, 8), (3, 1), (1, 1), (4, 1), (1, 4)]


def test_equal_sizes_share_by_time():
    made = desk("pro_rata", pro_rata_min_lots=0)
    rest(made, 4, 4, 4)
    assert take(made, 7)[0] == [(1, 2), (2, 2), (3, 2), (1, 1)]


def test_a_level_that_is_taken_whole_fills_every_order():
    made = desk("pro_rata", pro_rata_min_lots=0)
    rest(made, 4, 6)
    rest(made, 9, first=FIRST + 2, ticks=1_001)
    fills, result = take(made, 12, 1_001)
    assert fills == [(2, 6), (1, 4), (3, 2)] and result["code"] == codes.FILLED


def test_recorded_size_takes_part_like_any_order():
    made = desk("pro_rata", pro_rata_min_lots=0)
    made.level(ASK, 1_000, 30)
    rest(made, 10)
    assert take(made, 8)[0] == [(1, 2)]
    assert made.exchange.position(codes.EXTERNAL, 0)["lots"] == -6


def test_a_reduce_only_order_counts_with_its_position():
    made = desk("pro_rata", pro_rata_min_lots=0)
    rest(made, 6)
    made.fund(FIRST + 1, money=RICH)
    made.seed(FIRST + 1, TAKER, 1_000, 6)
    made.new(FIRST + 1, 2, ASK, 1_000, 6, flags=codes.REDUCE_ONLY)
    made.seed(TAKER, FIRST + 1, 1_000, 4)
    assert take(made, 4)[0] == [(1, 3), (2, 1)]


def test_two_reduce_only_orders_of_one_position_never_pass_it():
    made = desk("pro_rata", pro_rata_min_lots=0)
    made.fund(FIRST + 1, money=RICH)
    made.seed(FIRST + 1, TAKER, 1_000, 6)
    for order_id in (2, 3):
        made.new(FIRST + 1, order_id, ASK, 1_000, 6, flags=codes.REDUCE_ONLY)
    fills, result = take(made, 9)
    assert sum(lots for _, lots in fills) == 6 and result["code"] == codes.EXPIRED
    assert made.exchange.position(FIRST + 1, 0)["lots"] == 0


def test_prevention_comes_before_a_level_is_shared():
    made = desk("pro_rata", pro_rata_min_lots=0)
    rest(made, 4)
    made.new(TAKER, 2, ASK, 1_000, 40)
    fills, result = take(made, 3, self_trade=codes.STP_CANCEL_NEWEST)
    assert not fills and (result["code"], result["lots"]) == (codes.EXPIRED_SELF_TRADE, 3)
    assert take(made, 3, self_trade=codes.STP_CANCEL_OLDEST)[0] == [(1, 3)]


def test_fill_or_kill_counts_no_level_of_a_shared_instrument_with_its_own_order():
    made = desk("pro_rata")
    rest(made, 9)
    made.new(TAKER, 2, ASK, 1_000, 1)
    fields = {"self_trade": codes.STP_CANCEL_NEWEST, "time_in_force": codes.FOK}
    code = made.code(codes.NEW, account=TAKER, order_id=99, side=BID, price=1_000, qty=5, **fields)
    assert code == codes.FOK_UNFILLABLE


def test_a_forced_order_shares_too():
    made = desk("pro_rata", pro_rata_min_lots=0)
    made.fund(FIRST, FIRST + 1, FIRST + 2, money=RICH)
    made.fund(FIRST + 3, money=30_000)
    made.seed(FIRST + 3, FIRST, 1_000, 15)
    made.new(FIRST + 1, 1, BID, 988, 10)
    made.new(FIRST + 2, 2, BID, 988, 20)
    made.mark(988)
    rows = made.settle() + made.settle()
    fills = [(row["account"], row["lots"]) for row in rows if row["kind"] == codes.FILL and row["flags"] & codes.MAKER]
    assert fills == [(FIRST + 2, 10), (FIRST + 1, 5)]


@pytest.mark.parametrize(("terms", "where"), [
    ({"algorithm": "fifo", "leveling": True}, "algorithm"),
    ({"algorithm": "fifo_lmm", "market_makers": [{"account": 9, "share_ppm": 600_000},
                                                 {"account": 10, "share_ppm": 600_000}]}, "market_makers"),
    ({"algorithm": "fifo_lmm", "market_makers": [{"account": 9, "share_ppm": 1}] * 2}, "market_makers"),
    ({"algorithm": "fifo_lmm", "market_makers": [{"account": 3, "share_ppm": 1}]}, "account"),
    ({"algorithm": "pro_rata", "fifo_ppm": 1_000_001}, "fifo_ppm")])
def test_the_configuration_refuses_what_it_cannot_mean(terms, where):
    with pytest.raises(ConfigError, match=where):
        config.build_venue(venue_table(instrument={"allocation": terms}, capacity=CAPACITY))


def test_the_outbox_must_hold_every_fill_of_a_shared_instrument():
    with pytest.raises(ConfigError, match="outcomes"):
        config.build_venue(venue_table(instrument={"allocation": {"algorithm": "pro_rata"}},
                                       capacity={"orders": 2_000, "outcomes": 8 * 2_000 + 4_096}))


# --- what holds for every algorithm ------------------------------------------------------------------------------


def drawn_terms(rng):
    algorithm = str(rng.choice(sorted(PRESETS)))
    pick = {"top_min_lots": (0, 4), "top_max_lots": (0, 3, LOTS_MAX), "fifo_ppm": (0, 400_000, 1_000_000),
            "pro_rata_min_lots": (0, 1, 3), "leveling": (True, False)}
    given = {name: values[int(rng.integers(len(values)))] for name, values in pick.items() if rng.random() < 0.6}
    makers = [{"account": FIRST + k, "share_ppm": int(rng.integers(1, 300_000))} for k in range(int(rng.integers(4)))]
    return {"algorithm": algorithm, **given, "market_makers": makers}


@pytest.mark.parametrize("seed", range(12))
def test_every_algorithm_fills_what_a_level_can_and_no_order_beyond_its_own(seed):
    """Kernels and reference side by side over many takers at two levels; each command is compared and audited."""
    rng = generator(seed, 2)
    twin = Twin(venue_table(instrument={**FREE, "allocation": drawn_terms(rng)}, capacity=CAPACITY))
    twin.send(codes.MARK, price=10_000)
    for account in (*range(FIRST, FIRST + 6), TAKER):
        twin.send(codes.DEPOSIT, account=account, qty=RICH)
    order_id = 0
    for _ in range(25):
        for _ in range(int(rng.integers(1, 6))):
            order_id += 1
            twin.send(codes.NEW, account=FIRST + int(rng.integers(6)), order_id=order_id, side=ASK,
                      price=1_000 + int(rng.integers(2)), qty=int(rng.integers(1, rng.choice([3, 30]))))
        book = twin.core.state.book
        before = {int(row["order_id"]): int(row["leaves_lots"]) for row in book.orders[book.orders["leaves_lots"] > 0]}
        wanted = int(rng.integers(1, 2 * sum(before.values()) if rng.random() < 0.2 else 12))
        order_id += 1
        twin.send(codes.NEW, account=TAKER, order_id=order_id, side=BID, price=1_001, qty=wanted,
                  time_in_force=codes.IOC)
        after = {int(row["order_id"]): int(row["leaves_lots"]) for row in book.orders[book.orders["leaves_lots"] > 0]}
        filled = {name: lots - after.get(name, 0) for name, lots in before.items()}
        assert all(lots >= 0 for lots in filled.values())
        assert sum(filled.values()) == min(wanted, sum(before.values()))


@pytest.mark.parametrize("seed", range(6))
def test_all_first_in_first_out_by_steps_is_first_in_first_out(seed):
    """The steps with nothing but the share of 100 % give the outcomes of the short way, reduce-only orders included."""
    rng = generator(seed, 3)
    steps = {"algorithm": "fifo_lmm"}
    venues = [Desk(instrument={**FREE, "allocation": terms}, capacity=CAPACITY) for terms in ({}, steps)]
    rows = [{"kind": codes.DEPOSIT, "account": FIRST + k, "qty": RICH} for k in range(5)]
    rows += [{"kind": codes.MARK, "price": 10_000}]
    for order_id in range(1, 250):
        reduces = rng.random() < 0.3
        rows.append({"kind": codes.NEW, "account": FIRST + int(rng.integers(5)), "order_id": order_id,
                     "side": int(rng.integers(2)), "price": 998 + int(rng.integers(5)), "qty": int(rng.integers(1, 20)),
                     "flags": codes.REDUCE_ONLY if reduces else 0, "time_in_force": int(rng.integers(3))})
    for row in rows:
        fifo, stepped = (made.send(**row) for made in venues)
        assert fifo == stepped


def test_a_stepped_level_of_a_thousand_orders_keeps_every_lot():
    made = Desk(instrument={**FREE, "allocation": {"algorithm": "pro_rata", "pro_rata_min_lots": 0}},
                capacity={"accounts": 64, "orders": 1_100, "outcomes": 50_000})
    made.mark(1_000)
    made.fund(*range(FIRST, FIRST + 20), TAKER, money=RICH)
    sizes = np.random.Generator(np.random.Philox(key=[1, 21])).integers(1, 9, 1_000)
    for order_id, size in enumerate(sizes, 1):
        made.new(FIRST + order_id % 20, order_id, ASK, 1_000, int(size))
    fills, result = take(made, 900)
    assert sum(lots for _, lots in fills) == 900 and result["code"] == codes.FILLED
