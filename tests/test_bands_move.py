"""Maintenance ratio, mark rule and liquidation aggressiveness each move the bands of accounts, and the way theory says.

A band is price × time: where pressure, forced reduction and bankruptcy begin, and when the mark of the run came there.
Twelve accounts are long, each with a little more equity than the one before, over a book of even steps that falls 2 %.
"""

import numpy as np
import pytest

from exchange import codes, schema
from replay.bands import NEVER, MarkPath
from tests.desk import FIRST, INSTRUMENT, SECOND, TIERS, Desk

ACCOUNTS, LOTS, START, SUB = 12, 100, 1_000, 10
OTHER = FIRST + ACCOUNTS
FALL, AFTER = 20, 25  # seconds
FORCED, BANKRUPT = 0, 1
INDEX, LAST, ROBUST = (("index",), ("last",), ("index", "average_basis", "last"))
WHOLE = ({"below_ppm": 1_000_000, "action": "close"},)
SLOW = ({"below_ppm": 1_000_000, "action": "reduce", "share_ppm": 100_000, "cooldown_ns": 4 * SECOND},
        {"below_ppm": 300_000, "action": "close"})
FUND = ({"below_ppm": 1_000_000, "action": "takeover"},)
EARLY = ({"below_ppm": 1_500_000, "action": "reduce", "share_ppm": 250_000, "cooldown_ns": SECOND}, *WHOLE)


class Slope(Desk):
    """The accounts, their book and its fall; `maintenance_ppm` of one tier, components of the mark, stages or a mode."""

    def __init__(self, maintenance_ppm=10_000, components=LAST, stages=WHOLE, mode="overlay", depth=60):
        one = {**INSTRUMENT, "tiers": [{**TIERS[0], "maintenance_ppm": maintenance_ppm}], "position_max": "10000"}
        mark = {"source": "computed", "period_ns": SECOND // 4, "components": [{"price": k} for k in components]}
        super().__init__(1, one, fees={"maker_ppm": 0, "taker_ppm": 0}, mark=mark,
                         liquidation={"mode": mode, "stages": list(stages)})
        self.rows: list[dict[str, int]] = []
        self.fund(OTHER, codes.INSURANCE, money=10**10)
        self.level(codes.ASK, START + 1, 10_000)
        for step in range(200):
            self.level(codes.BID, START - 1 - step, depth)
        self.tick(START)
        for k in range(ACCOUNTS):
            self.fund(FIRST + k, money=(15 + k) * LOTS * 100 + LOTS * 1_000)
            assert self.seed(FIRST + k, OTHER, START, LOTS) == codes.OK
        self.began_ns = self.clock
        bands = self.exchange.bands([1_000_000, 0])
        self.begins_sub = bands.marks_sub[bands.positions["account"] < OTHER]
        self.rows.clear()

    def tick(self, ticks):
        """A second: book, trades and index move to a price."""
        self.clock += SECOND
        market = codes.SHIFT_BOOK | codes.SHIFT_INDEX
        self.rows += self.send(codes.SHIFT, price=ticks - START, qty=10**6, flags=market)
        self.rows += self.send(codes.TRADE_PRINT, price=START, qty=1, flags=codes.LAST)
        self.rows += self.send(codes.INDEX, price=START * SUB) + self.settle()

    def fall(self, ticks=20, seconds=FALL, after=AFTER):
        for second in range(1, seconds + 1):
            self.tick(START - ticks * second // seconds)
        for _ in range(after):
            self.clock += SECOND
            self.rows += self.settle()
        self.exchange.audit()
        return self

    def marks(self, band):
        """Where a band of each account begins, in sub-ticks."""
        return self.begins_sub[:, band]

    def seconds(self, band):
        """When the mark came there, by account; NEVER."""
        outcomes = np.zeros(len(self.rows), schema.OUTCOME)
        for name in ("kind", "ts_ns", "price", "instrument"):
            outcomes[name] = [row[name] for row in self.rows]
        path = MarkPath.of(outcomes, 0, self.began_ns, START * SUB)
        found = path.reached_after(self.marks(band), np.ones(ACCOUNTS, bool))
        return np.where(found == NEVER, NEVER, found // SECOND)

    def lowest(self):
        return min(row["price"] for row in self.rows if row["kind"] == codes.MARK_PRICE)

    def liquidated(self):
        return {row["account"] for row in self.rows if row["kind"] == codes.LIQUIDATION_START}


def never_later(one, other):
    """Is every band of `one` reached that `other` reaches, and no later?"""
    reached = other != NEVER
    return bool(np.all(one[reached] != NEVER) and np.all(one[reached] <= other[reached]))


# --- maintenance ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("low, high", [(5_000, 10_000), (10_000, 12_500)])
def test_more_maintenance_begins_the_forced_band_nearer_and_earlier_and_leaves_bankruptcy_where_it_was(low, high):
    few, many = (Slope(rate, INDEX, mode="shadow").fall(21) for rate in (low, high))
    nearer = many.marks(FORCED) - few.marks(FORCED)
    # equity falls by the whole move, maintenance hardly: the band moves by the difference of the rates
    rates = (high - low) / 1e6 * few.marks(FORCED)
    assert np.all(np.abs(nearer - rates) < 0.02 * rates + 2)
    assert np.array_equal(few.marks(BANKRUPT), many.marks(BANKRUPT))
    assert never_later(many.seconds(FORCED), few.seconds(FORCED))
    assert np.sum(many.seconds(FORCED) != NEVER) > np.sum(few.seconds(FORCED) != NEVER)
    assert len(many.liquidated()) == np.sum(many.seconds(FORCED) != NEVER), "without feedback nothing else moves them"


# --- the mark ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("components, reaches", [(LAST, True), (INDEX, False), (ROBUST, False)])
def test_a_wick_of_the_last_price_alone_forces_whom_it_is_the_mark_of(components, reaches):
    desk = Slope(components=components, mode="shadow")
    desk.tick(START)
    desk.clock += SECOND - 1
    desk.rows += desk.send(codes.TRADE_PRINT, price=START - 30, qty=1, flags=codes.LAST)  # 3 % away, the index stays
    desk.clock += 1
    desk.rows += desk.settle()
    assert bool(desk.liquidated()) == reaches
    assert np.any(desk.seconds(FORCED) != NEVER) == reaches
    assert Slope(components=components, mode="shadow").marks(FORCED).tolist() == desk.marks(FORCED).tolist()


def test_a_mark_that_forced_sales_move_reaches_every_band_no_later_and_goes_deeper():
    by_index, robust, by_last = (Slope(components=components).fall() for components in (INDEX, ROBUST, LAST))
    assert never_later(by_last.seconds(FORCED), by_index.seconds(FORCED))
    assert never_later(robust.seconds(FORCED), by_index.seconds(FORCED))
    assert by_last.lowest() < by_index.lowest() == (START - 20) * SUB
    assert by_last.lowest() <= robust.lowest() <= by_index.lowest()
    assert len(by_last.liquidated()) > len(by_index.liquidated())


# --- aggressiveness ---------------------------------------------------------------------------------------------


def test_selling_all_at_once_reaches_the_next_bands_earlier_than_selling_by_steps_and_that_than_not_selling():
    desks = [Slope(stages=stages, mode=mode).fall(after=2)
             for stages, mode in ((WHOLE, "shadow"), (FUND, "overlay"), (SLOW, "overlay"), (WHOLE, "overlay"))]
    none, fund, slow, whole = desks
    assert all(np.array_equal(desk.marks(FORCED), none.marks(FORCED)) for desk in desks), "the price is the same"
    assert fund.seconds(FORCED).tolist() == none.seconds(FORCED).tolist(), "what the fund takes over reaches no book"
    for more, less in ((whole, slow), (slow, none)):
        assert never_later(more.seconds(FORCED), less.seconds(FORCED)) and more.lowest() < less.lowest()
    total = [int(np.sum(desk.seconds(FORCED) != NEVER)) for desk in (none, slow, whole)]
    assert total[0] < total[1] < total[2]
    assert none.lowest() == (START - 20) * SUB and whole.lowest() > (START - 40) * SUB


def test_a_thinner_book_makes_the_same_sales_reach_deeper():
    deep, thin = Slope(depth=200).fall(), Slope(depth=40).fall()
    assert never_later(thin.seconds(FORCED), deep.seconds(FORCED)) and thin.lowest() < deep.lowest()


def test_an_early_reduction_moves_the_bankruptcy_of_what_is_left_away():
    late, early = (Slope(components=INDEX, stages=stages, depth=1_000).fall(12) for stages in (WHOLE, EARLY))
    assert not late.liquidated() and early.liquidated()
    now, before = early.exchange.bands([1_000_000, 0]), late.exchange.bands([1_000_000, 0])
    where = [list(bands.positions["account"]).index(FIRST) for bands in (now, before)]
    assert abs(int(now.positions["lots"][where[0]])) < LOTS
    for band in (FORCED, BANKRUPT):
        assert now.marks_sub[where[0], band] < before.marks_sub[where[1], band]
