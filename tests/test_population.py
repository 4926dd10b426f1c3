"""The drawn population: exact totals, healthy accounts, entries that survived, equal bytes for equal seeds."""

import numpy as np
import pytest
from standin import StandIn

from exchange import codes, config, schema
from exchange.errors import ConfigError
from exchange.reference import margin
from replay import draw, entries
from replay.population import Leverage, Population, Site, accounts_needed
from replay.seeding import seed_population
from replay.synthetic import streams

MARK_SUB = 280_000 * 100
SITE = Site(0, 10**18, MARK_SUB, 2_000_000)


@pytest.fixture(scope="module")
def venue():
    return config.build_venue(config.load_profile("binance_um") | {"capacity": {"accounts": 4_000, "positions": 4_000}})


def seeded(venue, site=SITE, **fields):
    return seed_population(
        Population(**({"seed": 5, "accounts": 2_000} | fields)), venue, config.compile_venue(venue), [site]
    )


def opened(events, first, count):
    """Signed lots of each account by the OPEN_POSITION events alone."""
    trades = events[events["kind"] == codes.OPEN_POSITION]
    lots = np.zeros(count, np.int64)
    np.add.at(lots, trades["account"] - first, trades["qty"])
    np.add.at(lots, trades["order_id"] - first, -trades["qty"])
    return lots


def test_positions_are_what_was_drawn_and_sum_to_zero(venue):
    made = seeded(venue)
    lots = opened(made.events, codes.FIRST_USER, made.next_account - codes.FIRST_USER)
    assert lots.sum() == 0
    assert lots[lots > 0].sum() == made.summary.instruments[0].open_interest_lots
    assert made.events["qty"][made.events["kind"] == codes.OPEN_POSITION].max() <= 1_000_000, "order_max"
    assert (lots[: len(made.traders)] != 0).all(), "every trader holds a position"
    assert (lots[len(made.traders) + len(made.hedgers) :] == 0).all(), "predecessors end flat"
    assert np.count_nonzero(lots[: len(made.traders)] > 0) == made.summary.instruments[0].longs == 1_100


def test_open_interest_is_stated_against_depth(venue):
    made = seeded(venue, open_interest_depth=7.0)
    assert made.summary.instruments[0].open_interest_lots == 14_000_000
    assert made.summary.instruments[0].open_interest_depth == 7.0
    assert seeded(venue, open_interest="5000").summary.instruments[0].open_interest_lots == 5_000_000


@pytest.mark.parametrize("long_share", [0.1, 0.5, 0.9])
def test_hedgers_hold_at_most_a_tenth(venue, long_share):
    summary = seeded(venue, long_share=long_share).summary.instruments[0]
    assert 0 <= summary.hedger_share <= 0.1
    assert summary.scaled_up >= 1.0


def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(venue):
    assert seeded(venue).events.tobytes() == seeded(venue).events.tobytes()
    assert seeded(venue).events.tobytes() != seeded(venue, seed=6).events.tobytes()


def test_one_purpose_does_not_shift_another():
    before = streams.stream(1, streams.SIZE).random(4)
    streams.stream(1, streams.SIDE).random(1000)
    assert np.array_equal(before, streams.stream(1, streams.SIZE).random(4))
    assert not np.array_equal(before, streams.stream(1, streams.SIDE).random(4))


def test_every_entry_survived_the_shared_path(venue):
    """Recompute each account's health at the extremes since its entry, with Python integers."""
    compiled = config.compile_venue(venue)
    record, tiers = compiled.instruments[0], compiled.tiers
    population = Population(
        seed=9, accounts=1_000, leverage_long=Leverage(median=40.0), leverage_short=Leverage(median=40.0)
    )
    traders = draw.draw_traders(population, 9, 1)
    lots, _ = draw.draw_lots(population, record, 2_000_000, traders.sides[:, 0], traders.weights)
    history = entries.draw_history(population, record, SITE, 9)
    generator = streams.stream(9, streams.ENTRY)
    drawn = draw.draw_entries(generator, record, tiers, lots, traders.wished, traders.isolated, history)
    assert drawn.rejected > 0, "the test needs entries that did not survive at first"
    for k in range(len(lots)):
        n, bucket = int(lots[k]), int(drawn.bucket[k])
        worst = int(history.low_sub[bucket] if n > 0 else history.high_sub[bucket])
        entry = int(history.ticks[bucket]) * n * int(record["unit_value"])
        value = worst * n * int(record["mark_unit"])
        deposit = -(-abs(entry) * 100 // int(drawn.leverage_e2[k]))
        tier = max((t for t in tiers.tolist() if t[0] <= abs(value)), key=lambda t: t[0])
        maintenance = -(-abs(value) * tier[2] // 1_000_000) - tier[1]
        assert deposit + value - entry - maintenance > 0 or bucket == 0


def test_maintenance_equals_the_venue_formula(venue):
    tiers = config.compile_venue(venue).tiers
    notional = np.array([0, 1, 49_999_999_999, 50_000_000_000, 250_000_000_001, 10**15], np.int64)
    got = draw.maintenance(tiers, notional)
    for n, m in zip(notional.tolist(), got.tolist(), strict=True):
        _, cum, rate, *_ = [t for t in tiers.tolist() if t[0] <= n][-1]
        assert m == -(-n * rate // 1_000_000) - cum


def test_ladder_leverages_are_drawn_by_weight(venue):
    ladder = Leverage(ladder=(5, 20), weights=(1.0, 3.0))
    made = seeded(venue, leverage_long=ladder, leverage_short=Leverage(ladder=(2,), weights=(1.0,)), accounts=3_000)
    rows = made.events[made.events["kind"] == codes.SET_LEVERAGE]
    lots = opened(made.events, codes.FIRST_USER, made.next_account - codes.FIRST_USER)[: len(made.traders)]
    longs = rows["qty"][: len(made.traders)][lots > 0]
    assert max(longs) == 2000 and (longs == 500).any(), "20x, 5x, or what a tier caps it to"
    assert 0.7 < (longs > 500).mean() < 0.8
    assert set(rows["qty"][: len(made.traders)][lots < 0]) == {200}


def test_the_venue_accepts_every_event_and_everyone_is_healthy(venue):
    """Through the reference venue: no refusal, no liquidation, each unit above maintenance, cash never negative."""
    stand_in = StandIn(venue)
    book = np.zeros(3, schema.EVENT)
    book["ts_ns"], book["kind"] = 10**18 - 1, [codes.LEVEL_SET, codes.LEVEL_SET, codes.INDEX]
    book["price"], book["qty"], book["side"] = [279_995, 280_005, MARK_SUB], [1000, 1000, 0], [codes.BID, codes.ASK, 0]
    book["flags"] = [0, codes.LAST, 0]
    stand_in.submit(book)
    stand_in.run()
    assert stand_in.world.markets[0].mark_sub == MARK_SUB
    made = seeded(venue, accounts=80, fund="5000")
    stand_in.submit(made.events)
    stand_in.run()
    outcomes = stand_in.outcomes()
    results = outcomes[outcomes["kind"] == codes.RESULT]
    assert len(results) == len(made.events)
    assert (results["code"] < codes.UNSUPPORTED_KIND).all()
    assert not (outcomes["kind"] == codes.LIQUIDATION_START).any()
    world = stand_in.world
    stand_in.audit()
    assert sum(p.mode == codes.ISOLATED for p in world.positions_in(0)) == made.summary.instruments[0].isolated > 0
    for wallet in world.wallets.values():
        assert wallet.cash >= 0
        assert not margin.is_breached(world, wallet.unit)
        assert not any(margin.is_breached(world, p.unit) for p in wallet.positions.values())
    for account in range(made.hedgers.stop, made.next_account):
        assert stand_in.equity(account) == 0, "a predecessor withdraws what it has left"
    assert stand_in.fund_equity() == 5_000_000_000
    assert world.open_interest(0) == made.summary.instruments[0].open_interest_lots


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"open_interest": "0.5"}, "open_interest"),
        ({"open_interest": "1500000"}, "open_interest"),
        ({"accounts": 2, "open_interest": "50000"}, "open_interest"),
        ({"size_truncation": 500}, "size_truncation"),
        ({"history_rebase": True}, "history_rebase"),
        ({"history": ("a.csv",), "accounts_from": "b.csv"}, "history"),
        ({"fund": "many"}, "fund"),
        ({"fund": "1e13"}, "fund"),
        ({"fund": "1e30"}, "fund"),
        ({"fund": {"USDT": "1152921504606.846976"}}, "fund"),  # 2**60 quanta
        ({"leverage_long": Leverage(ladder=(5,))}, "leverage_long.weights"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path(venue, fields, where):
    with pytest.raises(ConfigError) as caught:
        seeded(venue, **fields)
    assert caught.value.where == f"$.population.{where}"


def test_a_hundred_thousand_accounts(venue):
    made = seeded(venue, accounts=100_000)
    lots = opened(made.events, codes.FIRST_USER, made.next_account - codes.FIRST_USER)
    assert lots.sum() == 0
    assert made.summary.assets[0].accounts == 100_000
    assert made.next_account - codes.FIRST_USER <= accounts_needed(Population(accounts=100_000))
