"""Guards of portfolio wallets against a recomputation of every wallet after every event: neither missed nor early.

A world is a venue with a random stress grid, linear and inverse contracts, some in no group, and wallets with little to
spare, hedged and not. What a wallet must hold is recomputed here from the rule, in fractions.
"""

import os
from collections import Counter
from fractions import Fraction
from math import ceil, floor, trunc

import numpy as np
import pytest

from exchange import codes, config, schema
from exchange.grids import scenarios_of
from exchange.venue import Exchange
from tests.campaign_grid import draw_add_ons, draw_grid
from tests.desk import FIRST, NEVER_NS, SECOND, UNIT, venue_table
from tests.guard_changes import PER_TICK, START, TOP, Changes

ACCOUNTS, BANK, STEPS = 8, FIRST + 40, 60
WORLDS = int(os.environ.get("DELEVERAGE_WORLDS", 12))
PPM = 10**6
REACHED = Counter()


class Rule:
    """What a wallet must hold by the venue's terms, in fractions."""

    def __init__(self, venue):
        self.terms, self.scenarios = venue.portfolio_margin, scenarios_of(venue.portfolio_margin)
        self.inverse = [instrument.kind == "inverse" for instrument in venue.instruments]
        symbols = [instrument.symbol for instrument in venue.instruments]
        self.groups = {symbols.index(name): group for group in self.terms.groups for name in group.members}
        self.basis = {k: group.basis_ppm.get(symbols[k], 0) for k, group in self.groups.items()}
        self.rate = venue.instruments[0].tiers[0].maintenance_ppm

    def value(self, k, mark, lots):
        if self.inverse[k]:
            return (-1 if lots > 0 else 1) * (START * START * UNIT * PER_TICK * abs(lots) // mark)
        return mark * (UNIT // PER_TICK) * lots

    def gain(self, k, mark, lots, scenario, way):
        """By way 1 the own range, 2 beta, -2 against it; parts of a quantum."""
        terms, group = self.terms, self.groups[k]
        scale = group.range_ppm if way == 1 else Fraction(terms.factor_range_ppm * group.beta_ppm * way, 2 * PPM)
        moved = trunc(Fraction(scenario.price_ppm, PPM) * scale + Fraction(scenario.basis_ppm * self.basis[k], PPM))
        moved = max(moved, -990_000)
        rate = Fraction(moved, PPM + (moved if self.inverse[k] else 0)) * Fraction(scenario.cover_ppb(), 10**9)
        lot = START * START * UNIT * PER_TICK if self.inverse[k] else mark * (UNIT // PER_TICK)
        lot <<= terms.scale_bits
        return lots * floor(Fraction(trunc(rate * 10**9), 10**9) * (lot // mark if self.inverse[k] else lot))

    def maintenance(self, legs, marks):
        own = {k: lots for k, lots in legs.items() if k in self.groups}
        names = {self.groups[k].name for k in own}
        found = [self.apart(own)]
        for mode in self.terms.modes if own else ():
            if mode == "sum":
                found.append(sum(max(0, *(-self.sum(own, marks, s, 1, only=name) for s in self.scenarios))
                                 for name in names))
            for s in self.scenarios:
                found += [-self.sum(own, marks, s, 1)] if mode == "rho_one" else []
                found += [-self.sum(own, marks, s, 2)] if mode == "one_factor" else []
                found += [-self.sum(own, marks, s, 2, turned=name) for name in names if mode == "flipped"]
        loss = ceil(Fraction(max(found), 2**self.terms.scale_bits))
        charges, least = self.charges(own, marks, names), self.rounded(own, marks, "least_ppm")
        factor = Fraction(self.terms.maintenance_factor_ppm, PPM)
        held = ceil(max(loss + charges, least) * factor)
        if self.terms.factors == "loss":
            held = max(ceil(loss * factor) + charges, least)
        return held + sum(ceil(Fraction(abs(self.value(k, marks[k], lots)) * self.rate, PPM))
                          for k, lots in legs.items() if k not in self.groups)

    def apart(self, legs):
        """The basis contingency in parts of a quantum: these worlds have no options."""
        return 0

    def rounded(self, legs, marks, rate):
        """A rate of each leg's notional, each rounded up."""
        rates = {k: getattr(self.groups[k].add_ons, rate) for k in legs}
        return sum(ceil(Fraction(abs(self.value(k, marks[k], lots)) * rates[k], PPM)) for k, lots in legs.items())

    def charges(self, legs, marks, names):
        """What contracts pay beside the worst loss: on what offsets in each group, and on all."""
        charge = self.rounded(legs, marks, "gross_ppm")
        for name in names:
            sides = [sum(abs(self.value(k, marks[k], lots)) for k, lots in legs.items()
                         if self.groups[k].name == name and (lots > 0) == long) for long in (True, False)]
            rate = next(self.groups[k].add_ons.offset_ppm for k in legs if self.groups[k].name == name)
            charge += ceil(Fraction(min(sides) * rate, PPM))
            rate = next(self.groups[k].add_ons.depth_ppm for k in legs if self.groups[k].name == name)
            charge += ceil(Fraction(abs(sides[0] - sides[1]) * rate, PPM))  # there are no books
        return charge

    def sum(self, legs, marks, scenario, way, only=None, turned=None):
        return sum(self.gain(k, marks[k], lots, scenario, -way if self.groups[k].name == turned else way)
                   for k, lots in legs.items() if only in (None, self.groups[k].name))

    def health(self, cash, legs, marks):
        profit = sum(self.value(k, marks[k], lots) - entry for k, (lots, entry) in legs.items())
        return cash + profit - self.maintenance({k: lots for k, (lots, _) in legs.items()}, marks)


def make(rng, instruments):
    tiers = [{"floor": "0", "maintenance_ppm": 30_000, "leverage_max": 30}]
    table = venue_table(instruments, {"price_max": str(TOP), "mark_per_tick": PER_TICK, "tiers": tiers,
                                      "order_max": "20000", "position_max": "20000", "open_interest_max": "20000"},
                        liquidation={"detection_delay_ns": NEVER_NS})
    for instrument in table["instruments"]:
        instrument |= {"kind": "inverse", "multiplier": str(START * START)} if rng.random() < 0.4 else {}
    table["portfolio_margin"] = draw_add_ons(rng, draw_grid(rng, table))
    exchange = Exchange(config.build_venue(table))
    send(exchange, [{"kind": codes.MARK, "instrument": k, "price": START * PER_TICK} for k in range(instruments)])
    send(exchange, [{"kind": codes.DEPOSIT, "account": BANK, "qty": 2**40}] * 4)
    rule = Rule(exchange.venue)
    for account in range(FIRST, FIRST + ACCOUNTS):
        hold(rng, exchange, rule, account)
    return exchange, rule


def hold(rng, exchange, rule, account):
    """Positions at the mark and a pocket a little above what they must hold; some wallets are not in the mode."""
    instruments = len(rule.inverse)
    legs = {k: int(rng.choice([-1, 1])) * int(rng.choice([1, 30, 180, 700])) for k in range(instruments)
            if rng.random() < 0.7}
    if len(legs) > 1 and rng.random() < 0.5:  # near a hedge
        first, second = list(legs)[:2]
        legs[second] = -legs[first] + int(rng.integers(-2, 3)) or 1
    need = rule.maintenance(legs, [START * PER_TICK] * instruments)
    cash = need + int(np.exp(rng.uniform(0, 13)))
    rows = [{"kind": codes.DEPOSIT, "account": account, "qty": 2**36}]
    if rng.random() < 0.9:
        rows.append({"kind": codes.SET_MARGIN_MODE, "account": account, "qty": codes.PORTFOLIO})
    rows += [trade(account, k, lots, START) for k, lots in legs.items()]
    send(exchange, [*rows, {"kind": codes.WITHDRAW, "account": account, "qty": max(1, 2**36 - cash)}])


def trade(account, k, lots, ticks):
    sides = {"account": account, "order_id": BANK} if lots > 0 else {"account": BANK, "order_id": account}
    return {"kind": codes.OPEN_POSITION, "instrument": k, "price": ticks, "qty": abs(lots), **sides}


def send(exchange, rows):
    exchange.submit(schema.events(*({"ts_ns": SECOND, **row} for row in rows)))
    exchange.run()
    exchange.outcomes()


def check(exchange, rule, breached):
    positions, marks = exchange.state.ledger.positions, [int(market["mark_sub"]) for market in exchange.markets]
    for account in range(FIRST, FIRST + ACCOUNTS):
        wallet = exchange.wallet(account)
        if not wallet["portfolio"]:
            continue
        legs, p = {}, int(wallet["first_position"])
        while p:
            if positions[p]["lots"]:
                legs[int(positions[p]["instrument"])] = int(positions[p]["lots"]), int(positions[p]["entry_value"])
            p = int(positions[p]["next"])
        if rule.health(int(wallet["cash"]), legs, marks) < 0:
            REACHED["breached"] += account not in breached
            REACHED["hedged"] += account not in breached and len({lots > 0 for lots, _ in legs.values()}) > 1
            breached.add(account)
        assert (wallet["stage"] != codes.STAGE_NONE) == (account in breached), f"account {account} at {marks}"
        REACHED["healthy"] += account not in breached


def walk(seed):
    rng = np.random.Generator(np.random.Philox(key=[seed, 54]))
    exchange, rule = make(rng, int(rng.integers(1, 5)))
    breached = {a for a in range(FIRST, FIRST + ACCOUNTS) if exchange.wallet(a)["stage"]}
    check(exchange, rule, breached)
    changes = Changes(rng, exchange, [], range(FIRST, FIRST + ACCOUNTS))
    for _ in range(STEPS):
        send(exchange, changes.draw()[1])
        check(exchange, rule, breached)
    exchange.audit()


@pytest.mark.parametrize("block", range(4))
def test_a_portfolio_is_breached_exactly_when_a_recomputation_says_so(block):
    for seed in range(block * WORLDS // 4, (block + 1) * WORLDS // 4):
        walk(seed)


def test_the_worlds_reached_what_makes_it_hard():
    if not REACHED:
        pytest.skip("the worlds were not walked in this process")
    assert REACHED["breached"] >= 20 and REACHED["hedged"] >= 8 and REACHED["healthy"] >= 1_000, REACHED
