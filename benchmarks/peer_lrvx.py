"""The accounts of a venue as accounts of lrvx's liquidation engine, and at which mark each of the two liquidates.

Both mark to market and liquidate where equity is below maintenance. lrvx 0.11 takes the rate of the tier of all
that an account holds, for all of it; here rates are marginal: a tier has an amount to deduct, and each position its own
tier. It computes in floats; here maintenance is rounded up to a quantum.
"""

from typing import Any, NamedTuple

import numpy as np

from benchmarks.crowd import Crowd
from benchmarks.venues import deposits, finish, run_slices, stream_venue
from exchange import codes, schema
from exchange.core.arith import MILLION
from exchange.venue import Exchange

FUND = 1e12
ENTRY_TICKS = 280_000
MEDIAN_VALUE, SIGMA, VALUE_MAX = 20_000, 2, 10_000_000  # of a position: several tiers are in use
LOTS_MIN = 10
LEVERAGE = (2, 15)
TICK, LOT, QUANTUM = 0.1, 0.001, 1e-6  # of the shipped rules


def make_engine(lrvx: Any, tiers: np.ndarray) -> Any:
    """An engine with the floors and rates of the tiers, and a fund that never runs out."""
    engine = lrvx.LiquidationEngine()
    for tier in tiers:
        engine.add_tier(float(tier["floor"]) * QUANTUM, float(tier["maintenance_ppm"]) / MILLION)
    engine.set_insurance_fund_capital(FUND)
    return engine


class Twin:
    """A crowd, its accounts once more in lrvx, and who was liquidated in either."""

    def __init__(self, lrvx: Any, crowd: Crowd):
        ledger, prices = crowd.state.ledger, crowd.state.prices
        self.crowd, self.engine = crowd, make_engine(lrvx, prices.tiers[:int(crowd.record["tier_count"])])
        self.accounts, self.gone = [], set()
        self.sub_tick = TICK / int(crowd.record["mark_per_tick"])
        entry = (crowd.ticks * TICK).tolist()
        for k in range(codes.FIRST_USER, codes.FIRST_USER + crowd.accounts):
            wallet = ledger.wallets[k]
            account, p = lrvx.Account(k, float(wallet["cash"]) * QUANTUM), int(wallet["first_position"])
            while p:
                position = ledger.positions[p]
                instrument = int(position["instrument"])
                account.open_position(instrument, float(position["lots"]) * LOT, entry[instrument])
                p = int(position["next"])
            self.engine.attach_account(account)
            self.accounts.append(account)

    def marks(self, events: np.ndarray) -> list[tuple[int, float]]:
        return list(zip(events["instrument"].tolist(), (events["price"] * self.sub_tick).tolist(), strict=True))

    def play(self, marks: list[tuple[int, float]]) -> list[list[int]]:
        """The marks through lrvx; whom each liquidated."""
        on_mark = self.engine.on_mark
        return [on_mark(instrument, price)["liquidated"] for instrument, price in marks]

    def compare(self, events: np.ndarray) -> int:
        """Play the marks on both, one at a time; returns how many accounts both liquidated first at the same mark.

        What a liquidation leaves of an account differs, so it is not looked at again.
        """
        wallets = self.crowd.state.ledger.wallets["stage"]
        for k, liquidated in enumerate(self.play(self.marks(events))):
            run_slices(self.crowd.state, events[k:k + 1])
            ours = set(np.flatnonzero(wallets != codes.STAGE_NONE).tolist()) - self.gone
            theirs = set(liquidated) - self.gone
            assert ours == theirs, f"mark {k}: only one of the two liquidated {sorted(ours ^ theirs)}"
            self.gone |= ours
            finish(self.crowd.state)
        return len(self.gone)


class Lone(NamedTuple):
    """Positions that stand alone in their accounts, by account; `price_sub` is where the venue liquidates them."""

    lots: np.ndarray
    cash: np.ndarray
    price_sub: np.ndarray
    deduction: np.ndarray  # of the tier that the position is in at that price, in quanta
    tiers: np.ndarray
    sub_tick: float

    def liquidated_at(self, lrvx: Any, cash: np.ndarray) -> np.ndarray:
        """Where lrvx liquidates an account with that cash: 0 a sub-tick before the venue or earlier, 1 at its price,
        2 a sub-tick after, 3 later still. Each position gets a symbol of its own."""
        engine = make_engine(lrvx, self.tiers)
        found = np.full(len(cash), 3)
        entry, way = ENTRY_TICKS * TICK, np.where(self.lots > 0, -1, 1)
        for k in range(len(cash)):
            engine.open_position(k, k, float(self.lots[k]) * LOT, entry, float(cash[k]) * QUANTUM)
            for at in range(3):
                price = float(self.price_sub[k] + (at - 1) * way[k]) * self.sub_tick
                if engine.on_mark(k, price)["liquidated"]:
                    found[k] = at
                    break
            else:
                engine.close_position(k, k)
        return found


def lone_positions(count: int, seed: int = 3) -> Lone:
    """Half long and half short, opened with each other on a venue of the shipped rules, through events."""
    generator, exchange = np.random.default_rng(seed), Exchange(stream_venue(count))
    record, tiers = exchange.compiled.instruments[0], exchange.compiled.tiers
    unit = ENTRY_TICKS * int(record["unit_value"])
    value = np.minimum(MEDIAN_VALUE * np.exp(SIGMA * generator.standard_normal(count // 2)), VALUE_MAX)
    lots = np.maximum(LOTS_MIN, value / QUANTUM / unit).astype(np.int64)
    users = codes.FIRST_USER + np.arange(count)
    cash = (np.tile(lots, 2) * unit / generator.uniform(*LEVERAGE, count)).astype(np.int64)
    events = np.zeros(1 + count // 2, schema.EVENT)
    events["ts_ns"], events["kind"] = 2, codes.OPEN_POSITION
    events["account"][1:], events["order_id"][1:] = users[:count // 2], users[count // 2:]
    events["price"], events["qty"][1:] = ENTRY_TICKS, lots
    events[0]["kind"], events[0]["price"] = codes.MARK, ENTRY_TICKS * int(record["mark_per_tick"])
    exchange.submit(np.concatenate((deposits(users, cash, 1), events)))
    exchange.run()
    assert exchange.state.io.control[0]["rejected"] == 0
    price_sub = np.array([exchange.liquidation_price(int(user), 0) or 0 for user in users])
    lots = np.concatenate((lots, -lots))
    tier = np.searchsorted(tiers["floor"], price_sub * np.abs(lots) * int(record["mark_unit"]), "right") - 1
    known = price_sub > 0  # a short of little leverage may have none below the end of the ladder
    return Lone(lots[known], cash[known], price_sub[known], tiers["cum"][tier][known], tiers,
                TICK / int(record["mark_per_tick"]))
