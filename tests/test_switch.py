"""Who breaches when a rule is switched on: those whom the venue finds when the change is really sent."""

import json

import msgspec
import numpy as np
import pytest

from exchange import codes, config
from exchange.core.views import unit_equity, unit_health
from exchange.errors import ConfigError
from exchange.switch import switched
from exchange.venue import Exchange
from replay.cli import main
from tests.desk import FIRST, NEVER_NS, SECOND, TIERS, Desk, venue_table
from tests.test_guards import ACCOUNTS, position, send
from tests.test_maps import stopped
from tests.test_risk_commands import SMALL

HARDER = [{**tier, "maintenance_ppm": 100_000 + tier["maintenance_ppm"]} for tier in TIERS]
SEEDS = range(5)
A, B, C, D = range(FIRST, FIRST + 4)


def world(seed, instruments=3, margin=None):
    """Random accounts, cross and isolated; liquidations are detected and then wait for ever."""
    rng = np.random.default_rng(seed)
    table = venue_table(instruments, {"margin": {"tier_sets": [HARDER], **(margin or {})}},
                        liquidation={"detection_delay_ns": NEVER_NS}, mark={"source": "recorded", "period_ns": 0})
    exchange = Exchange(config.build_venue(table))
    rows = [{"kind": codes.MARK, "instrument": k, "price": 10_000} for k in range(instruments)]
    for account in range(FIRST, FIRST + ACCOUNTS):
        rows.append({"kind": codes.DEPOSIT, "account": account, "qty": int(rng.integers(100_000, 4_000_000))})
        rows += [{"kind": codes.SET_MARGIN_MODE, "account": account, "instrument": k, "qty": codes.ISOLATED}
                 for k in range(instruments) if rng.random() < 0.3]
    rows += [position(rng, instruments, 1_000) for _ in range(4 * ACCOUNTS)]
    rows += [{"kind": codes.MARK, "instrument": k, "price": int(price)}
             for k, price in enumerate(rng.integers(9_700, 10_300, instruments))]
    send(exchange, rows)
    return exchange


def in_liquidation(exchange):
    return set().union(*(stopped(exchange, k) for k in range(len(exchange.venue.instruments))))


def breached(exchange, made):
    """Slots of positions whose unit the switch breaches."""
    return {int(p) for unit in np.flatnonzero(made.breaches) for p in made.units.legs(int(unit))}


def other(exchange, **fields):
    """The same venue with fields of its instruments replaced."""
    table = msgspec.to_builtins(exchange.venue)
    for one in table["instruments"]:
        one.update(fields)
    return msgspec.convert(table, config.Venue)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("how", ["table", "rules"])
def test_a_switch_of_tiers_breaches_whom_set_tiers_would_liquidate(seed, how):
    exchange = world(seed)
    before, pending = exchange.state_digest(), in_liquidation(exchange)
    if how == "table":
        made = switched(exchange, exchange.venue, {0: 1, 2: 1})
    else:
        tables = [HARDER, TIERS, HARDER]
        changed = [msgspec.structs.replace(one, tiers=msgspec.convert(table, tuple[config.Tier, ...]))
                   for one, table in zip(exchange.venue.instruments, tables, strict=True)]
        made = switched(exchange, msgspec.structs.replace(exchange.venue, instruments=tuple(changed)))
    assert exchange.state_digest() == before
    sent = exchange.copy()
    send(sent, [{"kind": codes.SET_TIERS, "instrument": k, "qty": 1} for k in (0, 2)])
    assert breached(exchange, made) == in_liquidation(sent) - pending
    assert made.breaches.any() and (made.marks_before == made.marks_after).all()
    live = made.units.number.tolist()
    assert [int(x) for x in made.equity_after] == [int(x) for x in made.equity_before] and len(live) == len(set(live))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_switch_of_fees_breaches_whom_set_fees_would_liquidate(seed):
    exchange = world(seed, margin={"closing_fee": "taker"})
    pending = in_liquidation(exchange)
    fees = {"maker_ppm": 200, "taker_ppm": 40_000, "liquidation_ppm": 0}
    made = switched(exchange, other(exchange, fees=fees))
    sent = exchange.copy()
    send(sent, [{"kind": codes.SET_FEES, "instrument": k, "price": 200, "qty": 40_000} for k in range(3)])
    assert breached(exchange, made) == in_liquidation(sent) - pending and made.breaches.any()


def test_what_the_run_itself_changed_stays():
    exchange = world(1, margin={"closing_fee": "taker"})
    send(exchange, [{"kind": codes.SET_TIERS, "instrument": 1, "qty": 1},
                    {"kind": codes.SET_FEES, "instrument": 0, "price": 100, "qty": 9_000}])
    same = switched(exchange, exchange.venue)
    assert not same.breaches.any() and (same.required_after == same.required_before).all()
    fees = {"maker_ppm": 0, "taker_ppm": 700, "liquidation_ppm": 1_000}
    prices = switched(exchange, other(exchange, fees=fees)).after.prices
    assert prices.instruments["taker_ppb"].tolist() == [9_000_000, 700_000, 700_000]
    assert prices.margins["reserve_ppm"].tolist() == [9_000, 700, 700]
    assert prices.margins["tier_set"].tolist() == [0, 1, 0]
    assert prices.tiers["maintenance_ppm"][prices.instruments["tier_base"]].tolist() == [10_000, 110_000, 10_000]


def marked(*components):
    """A venue whose mark is computed at every index, with a book and a last trade away from it."""
    desk = Desk(1, mark={"source": "computed", "period_ns": 0, "components": [{"price": one} for one in components]},
                liquidation={"detection_delay_ns": NEVER_NS})
    desk.fund(A, B, C, D, money=1_000_000)
    desk.fund(B, D, money=20_000_000)
    desk.code(codes.INDEX, price=10_000)
    for account, other_side, lots in ((A, B, 90), (C, D, 40)):
        desk.seed(account, other_side, 1_000, lots)
    desk.level(codes.BID, 900, 5)
    desk.level(codes.ASK, 910, 5)
    desk.send(codes.TRADE_PRINT, price=890, qty=1)
    desk.send(codes.INDEX, price=10_000, ts_ns=2 * SECOND)
    return desk


@pytest.mark.parametrize("rule", ["mid", "last", "index"])
def test_a_switch_of_the_mark_rule_gives_the_mark_of_a_venue_that_had_it(rule):
    desk, having = marked("index"), marked(rule)
    before = desk.exchange.state_digest()
    made = switched(desk.exchange, having.exchange.venue)
    assert made.marks_before.tolist() == desk.exchange.markets["mark_sub"].tolist() == [10_000]
    assert made.marks_after.tolist() == having.exchange.markets["mark_sub"].tolist()
    accounts = made.units.account(desk.state)[made.breaches].tolist()
    assert accounts == having.exchange.liquidating() == ([] if rule == "index" else [A])
    assert desk.exchange.state_digest() == before


@pytest.mark.parametrize(("fields", "said"), [({"tick": "0.5"}, "tick"), ({"settle": "EUR"}, "settle")])
def test_what_positions_are_counted_in_cannot_be_switched(fields, said):
    exchange = world(0)
    with pytest.raises(ConfigError, match=said):
        switched(exchange, other(exchange, **fields))
    with pytest.raises(ConfigError, match="tier tables 0..1"):
        switched(exchange, exchange.venue, {0: 2})


def test_the_command_lists_accounts_by_tier_and_leverage(capsys):
    tiers = 'venue.instruments.BTCUSDT.tiers=[{floor="0",maintenance_ppm=40000,leverage_max=20}]'
    arguments = ["switch", "cascade", "--at", "5s", "--to", tiers, *SMALL, "--debug"]
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (whole,) = document["assets"]
    accounts = [one["account"] for one in document["breaches"]]
    assert whole["breached_accounts"] == len(set(accounts)) > 3
    assert sum(one["accounts"] for one in document["by_leverage"]) == len(accounts)
    for one in document["breaches"]:
        assert one["equity_before"] >= one["maintenance_before"] and one["equity_after"] < one["maintenance_after"]
    assert whole["breached_notional"] == sum(one["notional"] for one in document["by_tier"])
    assert main(arguments) == 0
    assert "breached by tier" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "said"), [
    ([], "--to"), (["--to", "run.seed=3"], "below venue"), (["--tiers", "X=1"], "SYMBOL=TABLE"),
    (["--tiers", "BTCUSDT=4"], "tier tables 0..0"), (["--to", 'venue.instruments.BTCUSDT.lot="0.5"'], "lot")])
def test_what_makes_no_sense_is_refused(arguments, said, capsys):
    assert main(["switch", "cascade", *SMALL, *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_correlation_mode_that_is_switched_on_breaches_who_was_hedged():
    """Long P0 and short P1: by the factor nothing is at risk, with one sign turned twice the range."""
    ends = [{"price_ppm": sign * 1_000_000} for sign in (1, -1)]
    groups = [{"name": name, "members": [name], "range_ppm": 100_000} for name in ("P0", "P1")]
    terms = {"modes": ["one_factor"], "factor_range_ppm": 100_000, "scenarios": ends, "groups": groups}
    desk = Desk(2, portfolio_margin=terms)
    for k in range(2):
        desk.mark(1_000, k)
    desk.fund(A, B, money=150_000)
    desk.fund(C, money=10**9)
    assert desk.code(codes.SET_MARGIN_MODE, account=A, qty=codes.PORTFOLIO) == codes.OK
    desk.seed(A, C, 1_000, 10)
    desk.seed(C, A, 1_000, 10, 1)
    desk.seed(B, C, 1_000, 10)
    table = msgspec.to_builtins(desk.exchange.venue)
    table["portfolio_margin"]["modes"] = ["flipped"]
    made = switched(desk.exchange, msgspec.convert(table, config.Venue))
    (k,) = np.flatnonzero(made.breaches)
    assert int(made.units.wallet[k]) == A and int(made.required_before[k]) == 0
    assert int(made.required_after[k]) == 200_000 > int(made.equity_after[k]) == 150_000


FEES = {"maker_ppm": 200, "taker_ppm": 3_000, "liquidation_ppm": 8_000}
CHANGES = {  # of contracts, of the spot instrument
    "tiers": ({"tiers": HARDER}, {}),
    "at entry": ({"margin": {"maintenance_price": "entry"}}, {}),
    "step tiers": ({"margin": {"tiers": "step"}}, {}),
    "closing fee": ({"margin": {"closing_fee": "taker"}, "fees": FEES}, {}),
    "at bankruptcy": ({"margin": {"closing_fee": "liquidation", "closing_fee_price": "bankruptcy"}, "fees": FEES}, {}),
    "risk factors": ({"tiers": [{"floor": "0", "leverage_max": 100}],
                      "margin": {"risk_long_ppb": 80_000_000, "risk_short_ppb": 60_000_000,
                                 "linear_slippage_ppb": 1_000_000, "quadratic_slippage_ppt": 1_000_000}}, {}),
    "haircuts": ({}, {"haircuts": [{"floor": "0", "haircut_ppm": 700_000}]}),
}


def seeded(seed, contracts, spot):
    """Positions, holdings and marks that no rule of margin has a say in; liquidations are detected and wait."""
    rng = np.random.default_rng(seed)
    table = venue_table(3, liquidation={"detection_delay_ns": NEVER_NS}, mark={"source": "recorded", "period_ns": 0})
    kept = {name: value for name, value in table["instruments"][2].items() if name != "tiers"}
    coin = {**kept, "kind": "spot", "haircuts": [{"floor": "0", "haircut_ppm": 50_000}], **spot}
    table["instruments"] = [{**table["instruments"][0], **contracts}, {**table["instruments"][1], **contracts}, coin]
    exchange = Exchange(config.build_venue(table))
    accounts = range(FIRST, FIRST + ACCOUNTS)
    rows = [{"kind": kind, "instrument": k, "price": 10_000} for k in range(3) for kind in (codes.MARK, codes.INDEX)]
    rows += [{"kind": codes.DEPOSIT, "account": one, "qty": int(rng.integers(100_000, 4_000_000))} for one in accounts]
    rows += [{"kind": codes.DEPOSIT_ASSET, "account": one, "instrument": 2, "qty": int(rng.integers(1, 20))}
             for one in accounts]
    rows += [position(rng, 2, 1_000) for _ in range(3 * ACCOUNTS)]
    rows += [{"kind": codes.MARK, "instrument": k, "price": int(rng.integers(9_800, 10_200))} for k in range(2)]
    send(exchange, rows)
    return exchange


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("change", CHANGES)
def test_after_the_switch_units_are_what_a_venue_that_always_had_the_rules_says(seed, change):
    exchange, having = seeded(seed, {}, {}), seeded(seed, *CHANGES[change])
    made = switched(exchange, having.venue)
    first, second = (one.state.ledger.positions["lots"].tolist() for one in (exchange, having))
    assert first == second, "one refused a position: choose another seed"
    for k, number in enumerate(made.units.number.tolist()):
        assert made.equity_after[k] == unit_equity(having.state, number)
        assert made.equity_after[k] - made.required_after[k] == unit_health(having.state, number), (change, number)
    assert (made.required_after != made.required_before).any()
