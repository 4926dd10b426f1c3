"""An own-book collateral index spirals, an external one does not. DESIGN §3.12.

Accounts are long the contract on the strength of a coin that should be worth 1. One of them is liquidated and its coins
are sold into a thin book. Where that book makes the coin's index, everybody's collateral is worth less now.
"""

import pytest

from exchange import codes, config
from exchange.venue import Exchange
from tests.desk import FIRST, INSTRUMENT, SECOND, Desk, venue_table
from tests.standin import StandIn

P, COIN = 0, 1
ACCOUNTS, LOTS, HELD = 12, 50, 20
OTHER = FIRST + ACCOUNTS


class Peg(Desk):
    """Coins at 1,000 ticks = 1.00, a book that thins out by 1 % a step, and long positions of falling strength."""

    def __init__(self, made, own_ppm, spread=200):
        spot = {**{name: value for name, value in INSTRUMENT.items() if name != "tiers"}, "kind": "spot", "symbol": "COIN",
                "haircuts": [{"floor": "0", "haircut_ppm": 100_000}], "index_feedback_ppm": own_ppm}
        table = venue_table(1, fees={"maker_ppm": 0, "taker_ppm": 0}, mark={"source": "recorded", "period_ns": SECOND},
                            collateral={"order": "first"})
        table["instruments"].append(spot)
        super().__init__(made=lambda venue: made(config.build_venue(table)))
        self.fund(OTHER, codes.INSURANCE, money=10**10)
        self.mark(1_000)
        self.level(codes.ASK, 1_001, 1_000, instrument=COIN)
        for step in range(40):
            self.level(codes.BID, 999 - 10 * step, 6, instrument=COIN)
        self.send(codes.INDEX, instrument=COIN, price=10_000)
        for k in range(ACCOUNTS):
            account = FIRST + k
            assert self.code(codes.DEPOSIT_ASSET, account=account, instrument=COIN, qty=HELD) == codes.OK
            assert self.seed(account, OTHER, 1_000, LOTS) == codes.OK
            self.fund(account, money=1 + 100 * spread * k)
        self.level(codes.BID, 900, 10_000, instrument=P)

    def depeg(self, ticks):
        """The coin's quotes and the recorded index move down; what was eaten of the book stays eaten."""
        self.send(codes.SHIFT, instrument=COIN, price=-ticks, qty=10**6, flags=codes.SHIFT_BOOK | codes.SHIFT_INDEX)

    def liquidated(self, seconds):
        """Accounts whose liquidation begins within so many seconds."""
        found = []
        for _ in range(seconds):
            self.clock += SECOND
            found += [row["account"] for row in self.settle() if row["kind"] == codes.LIQUIDATION_START]
        return sorted(set(found))


def first_breach(desk):
    """The contract falls until its weakest holder is liquidated; (accounts so far, its price)."""
    for ticks in range(700, 500, -1):
        rows = desk.mark(ticks) + desk.settle()
        if found := [row["account"] for row in rows if row["kind"] == codes.LIQUIDATION_START]:
            return found, ticks
    raise AssertionError("nobody was liquidated")


@pytest.mark.parametrize("made", [Exchange, StandIn], ids=["core", "reference"])
@pytest.mark.parametrize("own_ppm", [0, 1_000_000], ids=["external", "own book"])
def test_an_own_book_collateral_index_spirals_and_an_external_one_does_not(made, own_ppm):
    desk = Peg(made, own_ppm)
    first, _ = first_breach(desk)
    assert first == [FIRST]
    later = desk.liquidated(30)
    coin = int(desk.exchange.markets[COIN]["index_sub"])
    if own_ppm == 0:
        assert (later, coin) == ([], 10_000)
    else:
        assert len(later) >= ACCOUNTS // 2 and coin < 9_500
    desk.exchange.audit()


@pytest.mark.parametrize("low", [950, 800, 650])
def test_a_depeg_liquidates_more_where_the_venue_marks_by_its_own_book(low):
    """1.00 → 0.65 is how far a synthetic dollar went on one venue on 10 October 2025, in forty minutes."""
    reached = []
    for own_ppm in (0, 1_000_000):
        desk = Peg(Exchange, own_ppm, spread=700)
        desk.mark(650)
        found = set()
        for ticks in range(0, 1_001 - low, 10):
            desk.depeg(ticks)
            found |= set(desk.liquidated(10))
        desk.exchange.audit()
        reached.append(len(found))
    assert 0 < reached[0] < reached[1] <= ACCOUNTS
