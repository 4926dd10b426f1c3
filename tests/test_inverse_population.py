"""Accounts on an inverse contract: the venue agrees with what the seeding computed, to the quantum."""

import numpy as np
import pytest

from exchange import codes, config, schema
from exchange.errors import FeedError
from exchange.venue import Exchange
from replay import figures
from replay.accounts import read_accounts
from replay.holdings import seed_accounts
from replay.population import Population, Site
from replay.scenario import load_profiles
from replay.seeding import seed_population
from replay.summary import FAR_PPM, distance_ppm

MARK_SUB = 60_000 * 20
TIERS = np.zeros(1, schema.TIER)
TIERS["maintenance_ppm"] = 4_000


@pytest.fixture(scope="module")
def seeded():
    table = config.load_profile("binance_cm") | {"capacity": {"accounts": 2_000, "positions": 2_000}}
    exchange = Exchange(config.build_venue(table))
    index = np.zeros(1, schema.EVENT)
    index["ts_ns"], index["kind"], index["price"] = 1, codes.INDEX, MARK_SUB
    people = Population(accounts=1_000, seed=3, open_interest="1000000", fund="20")
    made = seed_population(people, exchange.venue, exchange.compiled, [Site(0, 10**9, MARK_SUB, 100_000)])
    exchange.submit(np.concatenate([index, made.events]))
    exchange.run()
    return exchange, made, exchange.outcomes()


def test_every_event_is_accepted_and_nobody_is_liquidated(seeded):
    exchange, made, outcomes = seeded
    results = figures.of_kind(outcomes, codes.RESULT)
    assert not (results["code"] >= codes.UNSUPPORTED_KIND).any() and figures.liquidations(outcomes) == 0
    exchange.audit(full=True)
    held = [int(exchange.position(account, 0)["lots"]) for account in (*made.traders, *made.hedgers)]
    assert sum(held) == 0 and sum(lots for lots in held if lots > 0) == made.summary.instruments[0].open_interest_lots
    # 100 USD a contract at 60,000, one quantum lost by each position that is held
    money = made.summary.instruments[0].open_interest_lots * 100 * 10**8 // 60_000
    assert money - len(held) <= made.summary.instruments[0].open_interest_money <= money


def test_predecessors_withdraw_everything(seeded):
    exchange, made, _ = seeded
    keepers = range(made.hedgers.stop, made.next_account)
    assert len(keepers) and all(exchange.equity(account) == 0 for account in keepers)


def test_the_distance_to_liquidation_is_the_guards(seeded):
    exchange, made, _ = seeded
    prices = [exchange.liquidation_price(account, 0) for account in made.traders]
    away = [min(FAR_PPM, abs(price - MARK_SUB) / MARK_SUB * 10**6) if price else FAR_PPM for price in prices]
    for name, found in made.summary.instruments[0].distance_ppm.items():
        # what is left between the two is the maintenance tier that a position reaches on its way
        assert found == pytest.approx(np.percentile(away, int(name[1:])), rel=0.02), name


def test_distance_by_hand():
    # 1 coin at 10x, maintenance 0.4 %: a long's notional may grow by 0.096 / 1.004, a short's shrink by 0.096 / 0.996.
    coin, health = 10**8, 10**7 - 400_000
    long, short = distance_ppm(np.array([health, health]), np.array([coin, -coin]), TIERS, inverse=True)
    assert long == int((1 - 1 / (1 + 0.096 / 1.004)) * 10**6)
    assert short == int((1 / (1 - 0.096 / 0.996) - 1) * 10**6)
    at_one = distance_ppm(np.array([coin - 400_000]), np.array([-coin]), TIERS, inverse=True)
    assert at_one[0] == FAR_PPM, "a short that put up its whole value is never liquidated"


def read(tmp_path, *rows, profiles="binance_cm"):
    path = tmp_path / "accounts.csv"
    path.write_text("\n".join(("account,symbol,quantity,entry_price,leverage,mode", *rows)) + "\n")
    venue = config.build_venue(load_profiles(profiles))
    return venue, read_accounts(path, venue)


def test_accounts_of_a_file_pay_their_margin_in_coin(tmp_path):
    venue, accounts = read(tmp_path, "a,BTCUSD_PERP,100,50000,10,isolated", "b,BTCUSD_PERP,-100,50000,5,cross")
    assert accounts.margin.tolist() == [2_000_000, 4_000_000], "0.2 coin at 10x and at 5x"
    exchange, site = Exchange(venue), Site(0, 10**9, 50_400 * 20, 1)
    index = np.zeros(1, schema.EVENT)
    index["ts_ns"], index["kind"], index["price"] = 1, codes.INDEX, site.mark_sub
    people = Population(hedgers=1, fund="1")
    made = seed_accounts(accounts, people, venue, exchange.compiled, [site])
    exchange.submit(np.concatenate([index, made.events]))
    exchange.run()
    assert not (figures.of_kind(exchange.outcomes(), codes.RESULT)["code"] >= codes.UNSUPPORTED_KIND).any()
    gained = 20_000_000 - 10_000 * 10**8 // 50_400  # the long owed 0.2 coin, and owes 0.19841269 now
    assert [exchange.equity(k) for k in made.traders] == [2_000_000 + gained, 4_000_000 - gained]
    exchange.audit()


def test_an_entry_price_below_the_contracts_lowest_is_refused_by_line(tmp_path):
    rows = ("a,BTCUSD_PERP,100,50000,10,cross", "b,BTCUSD_PERP,100,500,1,cross")
    with pytest.raises(
        FeedError, match=r"accounts.csv:3: entry_price: '500'; expected a multiple of 0.1, from 1000.0 to"
    ):
        read(tmp_path, *rows)


def test_an_account_of_a_file_has_a_wallet_in_each_asset_and_so_has_the_fund(tmp_path):
    rows = ("a,BTCUSD_PERP,100,50000,10,cross", "a,BTCUSDT,-1,50000,5,cross", "b,BTCUSDT,1,50000,5,isolated")
    venue, accounts = read(tmp_path, *rows, profiles=["binance_um", "binance_cm"])
    exchange, marks = Exchange(venue), (50_000 * 100 * 10, 50_000 * 20)
    sites = [Site(k, 10**9, marks[k], 1) for k in range(2)]
    index = np.zeros(2, schema.EVENT)
    index["ts_ns"], index["kind"], index["instrument"], index["price"] = 1, codes.INDEX, (0, 1), marks
    people = Population(fund={"USDT": "7000", "BTC": "3"}, hedgers=1)
    made = seed_accounts(accounts, people, venue, exchange.compiled, sites)
    exchange.submit(np.concatenate([index, made.events]))
    exchange.run()
    assert not (figures.of_kind(exchange.outcomes(), codes.RESULT)["code"] >= codes.UNSUPPORTED_KIND).any()
    assert [exchange.equity(codes.FIRST_USER, asset) for asset in (0, 1)] == [10_000 * 10**6, 2_000_000]
    assert [exchange.fund_equity(asset) for asset in (0, 1)] == [7_000 * 10**6, 3 * 10**8]
    usual = seed_accounts(accounts, Population(hedgers=1), venue, exchange.compiled, sites).summary.assets
    assert [one.fund_money for one in usual] == [10**12, 20 * 10**8], "unless said a million USD: 20 BTC at 50,000"
    assert [(one.asset, one.accounts) for one in made.summary.assets] == [("USDT", 2), ("BTC", 1)]
    exchange.audit()
