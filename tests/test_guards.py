"""Guards decide who is checked: after every event the units in liquidation are those a full recomputation finds."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import audit, codes, config, schema
from exchange.venue import Exchange
from tests.desk import FIRST, INVERSE, NEVER_NS, SECOND, TIERS, UNIT, Desk, venue_table
from tests.determinism import is_repeated

ACCOUNTS, STEPS, PER_TICK = 20, 90, 10
FEW, MANY = 3, 20  # instruments
HAIRCUTS = (50_000, 400_000, 1_000_000, 1_000_000)
FLOORS = [int(tier["floor"]) * UNIT for tier in TIERS]
SUB_UNIT = UNIT // PER_TICK
INVERSE_UNIT = int(INVERSE["multiplier"]) * UNIT * PER_TICK  # quanta of one lot times its price in sub-ticks


def world(rng, instruments):
    """A venue whose liquidations are detected and then wait for ever, with random accounts in random positions."""
    tiers = TIERS[:int(rng.integers(3, 5))]
    table = venue_table(instruments, {"tiers": tiers}, liquidation={"detection_delay_ns": NEVER_NS},
                        mark={"source": "recorded", "period_ns": 0})
    for instrument in table["instruments"]:
        instrument |= INVERSE if rng.random() < 0.4 else {}
    for k in range(1, instruments, 2):
        if rng.random() < 0.4:  # a holding, by its haircuts
            haircuts = [{"floor": tier["floor"], "haircut_ppm": rate} for tier, rate in zip(tiers, HAIRCUTS, strict=False)]
            kept = {name: value for name, value in table["instruments"][k].items() if name not in ("tiers", "multiplier")}
            table["instruments"][k] = {**kept, "kind": "spot", "haircuts": haircuts[:int(rng.integers(1, 4))]}
    exchange = Exchange(config.build_venue(table))
    rows = [{"kind": kind, "instrument": k, "price": 10_000} for k in range(instruments)
            for kind in (codes.MARK, codes.INDEX)]
    spots = [k for k, one in enumerate(table["instruments"]) if one.get("kind") == "spot"]
    rows += [{"kind": codes.DEPOSIT_ASSET, "account": FIRST + k, "instrument": spot, "qty": int(rng.integers(1, 90))}
             for spot in spots for k in range(ACCOUNTS) if rng.random() < 0.7]
    for account in range(FIRST, FIRST + ACCOUNTS):
        rows.append({"kind": codes.DEPOSIT, "account": account, "qty": int(rng.integers(100_000, 4_000_000))})
        rows += [{"kind": codes.SET_MARGIN_MODE, "account": account, "instrument": k, "qty": codes.ISOLATED}
                 for k in range(instruments) if rng.random() < 0.3]
    rows += [position(rng, instruments, 1_000) for _ in range(max(4, instruments) * ACCOUNTS)]
    send(exchange, rows)
    return exchange


def position(rng, instruments, ticks):
    buyer, seller = rng.choice(ACCOUNTS, 2, replace=False) + FIRST
    return {"kind": codes.OPEN_POSITION, "account": int(buyer), "order_id": int(seller), "price": ticks,
            "instrument": int(rng.integers(instruments)), "qty": int(rng.choice([1, 7, 30, 90, 180]))}


def instruments_of(exchange):
    return len(exchange.venue.instruments)


def send(exchange, rows):
    exchange.submit(schema.events(*({"ts_ns": SECOND, **row} for row in rows)))
    exchange.run()


def units(exchange):
    """(unit, pocket, legs) of every unit of the users, from their wallets and positions."""
    for account in range(FIRST, FIRST + ACCOUNTS):
        held = [found for k in range(instruments_of(exchange)) if (found := exchange.position(account, k)) is not None]
        cross = [p for p in held if p["mode"] == codes.CROSS and p["lots"]]
        yield ("wallet", account), int(exchange.wallet(account)["cash"]), cross
        for p in held:
            if p["mode"] == codes.ISOLATED:
                yield ("isolated", account, int(p["instrument"])), int(p["isolated_margin"]), [p] if p["lots"] else []


def verdicts(exchange):
    """Units breached by full recomputation, and units that the kernels hold in liquidation."""
    breached, stopped, legs_of = set(), set(), {}
    for unit, pocket, legs in units(exchange):
        legs_of[unit] = len(legs)
        record = exchange.wallet(unit[1]) if unit[0] == "wallet" else exchange.position(unit[1], unit[2])
        if audit.unit_health(exchange.state, pocket, legs, {}, True) < 0:
            breached.add(unit)
        if record["stage"] != codes.STAGE_NONE:
            stopped.add(unit)
    return breached, stopped, legs_of


def holds_inverse(exchange, unit):
    """Has an account a position in an inverse contract that counts in this unit?"""
    held = [unit[2]] if unit[0] == "isolated" else range(instruments_of(exchange))
    kinds = exchange.state.prices.instruments["kind"]
    positions = [exchange.position(unit[1], k) for k in held if kinds[k] == codes.INVERSE]
    return any(p is not None and p["lots"] for p in positions)


def holds_spot(exchange, unit):
    """Does an account's wallet hold a spot instrument?"""
    held = [exchange.position(unit[1], k) for k, one in enumerate(exchange.venue.instruments) if one.kind == "spot"]
    return unit[0] == "wallet" and any(p is not None and p["lots"] for p in held)


def edge_mark(rng, exchange, instrument):
    """A mark at which some position's notional stands at a tier's floor, or one sub-tick beside it."""
    lots = [abs(int(p["lots"])) for account in range(FIRST, FIRST + ACCOUNTS)
            if (p := exchange.position(account, instrument)) is not None and p["lots"]]
    if not lots:
        return 10_000
    floor = int(rng.choice(FLOORS[1:]))
    size = int(rng.choice(lots)) * int(exchange.state.prices.instruments[instrument]["mark_unit"])
    linear = exchange.state.prices.instruments[instrument]["kind"] == codes.LINEAR
    return (-(-floor // size) if linear else size // floor) + int(rng.integers(-1, 2))


def next_rows(rng, exchange, shape):
    """The next event: mostly a mark, by the shape of the walk; now and then something else that changes health."""
    instrument = int(rng.integers(instruments_of(exchange)))
    mark = int(exchange.markets[instrument]["mark_sub"])
    if rng.random() < 0.12:
        account = int(rng.integers(ACCOUNTS)) + FIRST
        here = {"account": account, "instrument": instrument}
        return [[position(rng, instruments_of(exchange), max(1, mark // PER_TICK)),
                 {"kind": codes.DEPOSIT, "account": account, "qty": 50_000},
                 {"kind": codes.WITHDRAW, "account": account, "qty": 20_000},
                 {"kind": codes.TRANSFER, **here, "qty": int(rng.integers(-9_999, 10_000))},
                 {"kind": codes.FUNDING_SETTLE, "instrument": instrument, "price": int(rng.integers(-10**6, 10**6))}]
                [int(rng.integers(5))]]
    if shape == "drift":
        mark += int(rng.integers(-60, 61))
    elif shape == "jump":
        mark = int(mark * rng.uniform(0.8, 1.25))
    else:
        mark = edge_mark(rng, exchange, instrument)
    mark = max(5_000, min(20_000, mark))
    spot = exchange.venue.instruments[instrument].kind == "spot"
    return [{"kind": codes.INDEX if spot else codes.MARK, "instrument": instrument, "price": mark}]


REACHED = Counter()


def walk(seed, instruments, shape):
    """Compare after every event of one walk; returns the digests at its end."""
    rng = np.random.Generator(np.random.Philox(key=[seed, len(shape)]))
    exchange = world(rng, instruments)
    breached, expected, _ = verdicts(exchange)  # seeding may have breached some in passing
    assert breached <= expected
    for step in range(STEPS):
        send(exchange, next_rows(rng, exchange, shape))
        breached, stopped, legs = verdicts(exchange)
        for unit in breached - expected:
            REACHED[unit[0] if legs[unit] == 1 else "several legs"] += 1
            REACHED["inverse leg"] += holds_inverse(exchange, unit)
            REACHED["holding"] += holds_spot(exchange, unit)
        expected |= breached
        missed, early = sorted(expected - stopped), sorted(stopped - expected)
        assert not missed and not early, f"step {step}: missed {missed}, stopped while healthy {early}"
    exchange.audit()
    return exchange.digest(), exchange.state_digest()


@pytest.mark.parametrize("shape", ["drift", "jump", "edges"])
@pytest.mark.parametrize("seed, instruments", [(seed, FEW) for seed in range(14)] + [(14, MANY), (15, MANY)])
def test_after_every_event_units_in_liquidation_are_exactly_those_a_full_recomputation_found_breached(
        seed, instruments, shape):
    digests = walk(seed, instruments, shape)
    if is_repeated(seed):
        assert walk(seed, instruments, shape) == digests


def test_the_walks_breached_units_of_every_form():
    if not REACHED:
        pytest.skip("the walks were not run in this process")
    assert min(REACHED["wallet"], REACHED["isolated"], REACHED["several legs"], REACHED["inverse leg"],
               REACHED["holding"]) >= 20, REACHED


def health(pocket, entry, lots, mark, inverse=False):
    """Health of a lone position by the rule itself, in Python integers."""
    value = mark * SUB_UNIT * lots
    if inverse:
        value = (-1 if lots > 0 else 1) * (INVERSE_UNIT * abs(lots) // mark)
    cum, tier = 0, 0
    while tier + 1 < len(TIERS) and FLOORS[tier + 1] <= abs(value):
        tier += 1
        cum += FLOORS[tier] * (TIERS[tier]["maintenance_ppm"] - TIERS[tier - 1]["maintenance_ppm"]) // 1_000_000
    return pocket + value - entry + (-abs(value) * TIERS[tier]["maintenance_ppm"]) // 1_000_000 + cum


@settings(max_examples=150, deadline=None)
@given(lots=st.integers(1, 1_000), ticks=st.integers(300, 3_000), long=st.booleans(), isolated=st.booleans(),
       inverse=st.booleans(),
       money=st.integers(1, 20_000_000), offset=st.integers(-300, 300))
def test_the_guard_of_a_lone_position_is_exactly_its_liquidation_price(
        lots, ticks, long, isolated, inverse, money, offset):
    desk = Desk(instrument=INVERSE if inverse else {}, liquidation={"detection_delay_ns": NEVER_NS})
    a, other = FIRST, FIRST + 1
    desk.fund(a, money=money + 100_000_000)
    desk.fund(other, money=10**12)
    desk.mark(ticks)
    if isolated:
        assert desk.code(codes.SET_MARGIN_MODE, account=a, qty=codes.ISOLATED) == codes.OK
        desk.code(codes.SET_LEVERAGE, account=a, qty=1_000)
    else:
        assert desk.code(codes.WITHDRAW, account=a, qty=100_000_000) == codes.OK
    assert desk.seed(*((a, other) if long else (other, a)), ticks, lots) == codes.OK
    desk.mark(ticks, sub=offset)
    p = desk.slot(a)
    found = desk.state.ledger.positions[p]
    pocket = int(found["isolated_margin"]) if isolated else money
    entry, signed, now = int(found["entry_value"]), int(found["lots"]), int(desk.exchange.markets[0]["mark_sub"])
    guard = desk.state.guards.guards[2 * p + (0 if long else 1)]["mark_sub"]
    top = 40_000  # price_max in sub-ticks
    ahead = range(now, 0, -1) if long else range(now, top + 1)
    breached = next((mark for mark in ahead if health(pocket, entry, signed, mark, inverse) < 0), 0)
    stage = desk.exchange.position(a, 0)["stage"] if isolated else desk.exchange.wallet(a)["stage"]
    if breached == now or health(pocket, entry, signed, ticks * PER_TICK, inverse) < 0:
        assert stage == codes.STAGE_DETECTED and guard == 0
    elif breached:
        assert (stage, guard) == (codes.STAGE_NONE, breached)
    else:  # no mark of the ladder breaches it
        assert stage == codes.STAGE_NONE and (guard == 0 or guard > top)


@pytest.mark.parametrize("long, money, mark", [(True, 99_100, 9_100), (False, 100_900, 10_900)])
def test_a_unit_is_breached_below_zero_health_and_not_at_zero(long, money, mark):
    desk = Desk(instrument={"tiers": TIERS[:1]}, liquidation={"detection_delay_ns": NEVER_NS})
    a, other = FIRST, FIRST + 1
    desk.fund(a, money=money)
    desk.fund(other, money=10**12)
    desk.mark(1_000)
    assert desk.seed(*((a, other) if long else (other, a)), 1_000, 10) == codes.OK
    desk.send(codes.MARK, price=mark)
    position = desk.exchange.position(a, 0)
    assert health(money, int(position["entry_value"]), int(position["lots"]), mark) == 0
    assert desk.exchange.wallet(a)["stage"] == codes.STAGE_NONE
    desk.send(codes.MARK, price=mark - 1 if long else mark + 1)
    assert desk.exchange.wallet(a)["stage"] == codes.STAGE_DETECTED
