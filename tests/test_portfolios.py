"""Accounts drawn on several instruments: how many positions, which sides, one wallet an asset, healthy at the start."""

import hashlib

import numpy as np
import pytest

from exchange import audit, codes, config, schema
from exchange.errors import ConfigError
from exchange.venue import Exchange
from replay import figures
from replay.draw import draw_traders
from replay.population import Population, Site
from replay.scenario import load_profiles, merge
from replay.seeding import seed_population
from replay.summary import distance_ppm

ETH = {"symbol": "ETHUSDT", "settle": "USDT", "tick": "0.01", "lot": "0.01", "mark_per_tick": 100, "price_max": "99999",
       "order_max": "20000", "position_max": "400000", "open_interest_max": "9000000",
       "tiers": [{"floor": "0", "maintenance_ppm": 5_000, "leverage_max": 100}]}  # fmt: skip
SYMBOLS = ("BTCUSDT", "BTCUSD_PERP", "ETHUSDT")
MARKS = (28_000_000, 560_000, 18_000_000)  # sub-ticks
BEFORE = "bcd55551f42e7ea8f6663c5fa841324effe4d0d7a712686593ea4505d5e75227"


@pytest.fixture(scope="module")
def venue():
    table = merge(load_profiles(["binance_um", "binance_cm"]), {"instruments": [ETH]})
    return config.build_venue(table | {"capacity": {"accounts": 4_000, "positions": 8_000}})


def people(**fields):
    usual = {"seed": 5, "accounts": 1_500, "instruments": SYMBOLS, "legs": (1.0, 1.0, 2.0), "size_truncation": 5_000}
    return Population(**(usual | {"fund": {"USDT": "70000", "BTC": "3"}} | fields))


def sites():
    return [Site(k, 10**18, mark, 500_000) for k, mark in enumerate(MARKS)]


def test_one_instrument_draws_the_bytes_it_drew_before_there_could_be_several(venue):
    site = Site(0, 10**18, MARKS[0], 2_000_000)
    made = seed_population(Population(seed=5, accounts=2_000), venue, config.compile_venue(venue), [site])
    assert hashlib.sha256(made.events.tobytes()).hexdigest() == BEFORE


def test_as_many_accounts_hold_one_two_and_three_positions_as_legs_weighs():
    held = np.count_nonzero(draw_traders(people(accounts=20_000), 1, 3).sides, axis=1)
    assert np.bincount(held, minlength=4) / 20_000 == pytest.approx([0, 0.25, 0.25, 0.5], abs=0.01)


def test_instruments_are_held_alike_and_further_positions_are_opposite_by_the_share_said():
    sides = draw_traders(people(accounts=20_000, opposite_share=0.2), 1, 3).sides
    assert np.count_nonzero(sides, axis=0) / 20_000 == pytest.approx([0.75] * 3, abs=0.015)
    both = sides[(sides[:, 0] != 0) & (sides[:, 1] != 0), :2]
    # One of two is the account's first in 2 of 3 cases; else both are further ones, and opposite independently.
    assert (both[:, 0] != both[:, 1]).mean() == pytest.approx(2 / 3 * 0.2 + 1 / 3 * 2 * 0.2 * 0.8, abs=0.02)
    alone = draw_traders(people(accounts=20_000, opposite_share=0.0), 1, 3).sides
    assert (np.abs(alone.sum(axis=1)) == np.count_nonzero(alone, axis=1)).all()


def test_another_instrument_moves_no_draw_of_the_account():
    two, three = (draw_traders(people(legs=(1.0,)), 1, count) for count in (2, 3))
    assert (two.weights == three.weights).all() and (two.wished == three.wished).all()
    assert (two.sides.sum(axis=1) == three.sides.sum(axis=1)).all()


def test_an_account_of_several_positions_is_no_larger_for_it():
    one, several = draw_traders(people(legs=(1.0,)), 1, 3), draw_traders(people(), 1, 3)
    assert (several.weights == one.weights // np.count_nonzero(several.sides, axis=1)).all()


@pytest.fixture(scope="module")
def seeded(venue):
    exchange, index = Exchange(venue), np.zeros(3, schema.EVENT)
    index["ts_ns"], index["kind"], index["instrument"], index["price"] = 10**18 - 1, codes.INDEX, range(3), MARKS
    made = seed_population(people(), venue, exchange.compiled, sites())
    exchange.submit(np.concatenate([index, made.events]))
    exchange.run()
    return exchange, made, exchange.outcomes()


def test_every_event_is_accepted_and_nobody_is_liquidated(seeded):
    exchange, made, outcomes = seeded
    assert not (figures.of_kind(outcomes, codes.RESULT)["code"] >= codes.UNSUPPORTED_KIND).any()
    assert figures.liquidations(outcomes) == 0
    assert all(exchange.equity(account, asset) == 0 for account in range(made.hedgers.stop, made.next_account)
               for asset in (0, 1)), "predecessors withdraw everything"
    exchange.audit(full=True)


def test_the_summary_is_what_the_venue_holds(seeded):
    exchange, made, _ = seeded
    held = [[exchange.position(account, k) for k in range(3)] for account in made.traders]
    lots = np.array([[0 if p is None else int(p["lots"]) for p in row] for row in held])
    assert [one.symbol for one in made.summary.instruments] == list(SYMBOLS)
    for k, one in enumerate(made.summary.instruments):
        assert (one.accounts, one.longs) == (np.count_nonzero(lots[:, k]), (lots[:, k] > 0).sum())
        assert one.open_interest_lots == int(exchange.markets[k]["open_interest_lots"]) == 5_000_000
    usdt, btc = made.summary.assets
    positions = np.count_nonzero(lots[:, [0, 2]], axis=1)
    assert usdt.by_positions == {str(n): int((positions == n).sum()) for n in (1, 2)}
    assert btc.accounts == np.count_nonzero(lots[:, 1])
    assert (usdt.fund_money, btc.fund_money) == (70_000 * 10**6, 3 * 10**8)
    everyone = [exchange.position(account, k) for account in (*made.traders, *made.hedgers) for k in (0, 2)]
    margins = [abs(int(p["entry_value"])) * 100 / int(p["leverage_e2"]) for p in everyone if p is not None]
    assert usdt.deposits_money == pytest.approx(sum(margins), rel=1e-9), "the initial margin of every position"


def test_the_distance_of_an_isolated_position_is_its_own_and_of_a_cross_one_its_wallets(seeded):
    exchange, made, _ = seeded
    health, notional = [], []
    for account in made.traders:
        legs = [p for k in (0, 2) if (p := exchange.position(account, k)) is not None]
        here = [p for p in legs if p["instrument"] == 0]
        if here and here[0]["mode"] == codes.ISOLATED:
            health.append(audit.unit_health(exchange.state, int(here[0]["isolated_margin"]), here, {}, True))
        elif here:
            health.append(audit.unit_health(exchange.state, int(exchange.wallet(account)["cash"]), legs, {}, True))
        notional += [int(p["lots"]) * MARKS[0] for p in here]
    found = distance_ppm(np.array(health), np.array(notional), exchange.compiled.tiers[:10])
    for name, ppm in made.summary.instruments[0].distance_ppm.items():
        assert ppm == pytest.approx(np.percentile(found, int(name[1:])), abs=2), name


@pytest.mark.parametrize(
    ("fields", "where", "said"),
    [
        ({"instruments": ("BTCUSDT", "BTCUSDT")}, "instruments", "expected different symbols"),
        ({"legs": (1.0,) * 4}, "legs", "up to 4 positions an account, on 3 instruments"),
        ({"instruments": ()}, "legs", "up to 3 positions an account, on 1 instruments"),
        ({"open_interest": "900"}, "open_interest", "is of one contract, not of 3; use open_interest_depth"),
        ({"history": ("a.csv",)}, "history", "is of one contract"),
        ({"fund": "5"}, "fund", 'settle in USDT, BTC; expected an amount for each, as in fund = { USDT = "1000"'),
        ({"fund": {"USDT": "5", "BTC": "x"}}, "fund.BTC", "expected decimal text"),
        ({"accounts": 2, "legs": (1.0,)}, "accounts", "raise accounts, or name fewer instruments"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path(venue, fields, where, said):
    with pytest.raises(ConfigError, match=said) as caught:
        seed_population(people(**fields), venue, config.compile_venue(venue), sites())
    assert caught.value.where == f"$.population.{where}"
