"""Basis contingency of portfolio margin, worked out by hand, on both venues. DESIGN §3.17."""

import numpy as np
import pytest

from exchange import codes, config
from exchange.bindings import bindings
from exchange.errors import ConfigError
from exchange.venue import Exchange
from tests.desk import SECOND, Desk, venue_table
from tests.standin import StandIn
from tests.test_options import OPTION
from tests.test_portfolio import A, B, grid, group, most, portfolio

YEAR = 365 * 86_400 * SECOND
WRITTEN = {"CALL": ("call", YEAR // 4), "PUT": ("put", YEAR // 4), "LATE": ("call", YEAR)}
APART = {"up_ppm": 100_000, "down_ppm": 50_000, "flat_ppm": 500_000, "yearly_ppm": 2_000_000}


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def made(request):
    return request.param


class Expiries(Desk):
    """A perpetual at 1,000 ticks and options at that strike without volatility, worth what they are in the money;
    moves of the grid are next to nothing."""

    def __init__(self, made, modes=("rho_one",), **basis):
        terms = grid(group("A", "P0", *WRITTEN, range_ppm=1), modes=modes, basis={**APART, **basis})
        table = venue_table(1, portfolio_margin=terms)
        table["instruments"] += [{**OPTION, "symbol": symbol, "life": {"expiry_ns": SECOND + left_ns},
                                  "option": {"underlying": "P0", "right": right, "strike": "1000"}}
                                 for symbol, (right, left_ns) in WRITTEN.items()]
        self.exchange, self.clock = made(config.build_venue(table)), SECOND
        self.fund(A, B, money=10**9)
        self.mark(1_000)
        for k in (1, 2, 3):
            self.mark(1, k)
        assert portfolio(self) == codes.OK

    def hold(self, k, lots, account=A):
        assert self.seed(*((account, B) if lots > 0 else (B, account)), 1, abs(lots), k) == codes.OK


@pytest.mark.parametrize(("trades", "need"), [  # a tick is 100 quanta; a quarter before expiry all counts
    ([(1, -10)], 100_000),
    ([(2, -10)], 50_000),
    ([(1, -10), (2, -10)], 100_000),  # one forward moves one way
    ([(1, -10), (2, 10)], 100_000),
    ([(3, -10)], 250_000),  # a year before expiry two and a half times the loss
    ([(1, 10), (3, -10)], 250_000),  # another expiry offsets nothing
    ([(1, -10), (3, -10)], 350_000),
])
def test_each_expiry_loses_its_worse_move_apart_from_all_others(made, trades, need):
    desk = Expiries(made)
    for k, lots in trades:
        desk.hold(k, lots)
    assert most(desk) == 10**9 - need


def test_what_counts_of_the_loss_ends_at_eight_times(made):
    desk = Expiries(made, yearly_ppm=8_000_000)
    desk.hold(3, -10)
    assert most(desk) == 10**9 - 800_000


def test_open_orders_count_with_the_side_that_hurts_in_each_move(made):
    desk = Expiries(made)
    desk.hold(1, 4)
    for order_id, side, price, lots in ((1, codes.ASK, 2, 10), (2, codes.BID, 1, 3)):
        assert desk.code(codes.NEW, account=A, order_id=order_id, instrument=1, side=side, price=price, qty=lots,
                         time_in_force=codes.GTC) == codes.RESTING
    assert most(desk) == 10**9 - 60_000


def test_it_is_the_least_of_the_worst_loss_and_no_addition(made):
    desk = Expiries(made)
    assert desk.seed(A, B, 1_000, 1_000) == codes.OK  # a millionth of its value in the grid: 100
    desk.hold(1, -10)
    assert most(desk) == 10**9 - 100_000


def test_it_stands_between_refreshes(made):
    desk = Expiries(made)
    desk.hold(1, -10)
    desk.mark(1_200)
    assert most(desk) == 10**9 - 100_000
    desk.mark(200, 1)  # in the money by 200, a tenth more is 120
    assert most(desk) == 10**9 - 10 * 100 * (200 - 1) - 120_000


def test_a_move_of_the_basis_alone_liquidates_a_short(made):
    desk = Expiries(made)
    desk.hold(1, -10)
    assert desk.code(codes.WITHDRAW, account=A, qty=10**9 - 200_000) == codes.OK
    rows = desk.mark(1_050, 0) + desk.mark(100, 1) + desk.settle()  # 100 - 99 less 1,050 / 10
    assert [row["account"] for row in rows if row["kind"] == codes.LIQUIDATION_START] == [A]


def test_the_printed_grid_and_what_binds_name_it():
    desk = Expiries(Exchange, modes=("sum", "rho_one"))
    desk.hold(1, -10)
    desk.hold(3, -1)
    shown = desk.exchange.portfolio_margin(A)
    assert shown.worst["basis"] == shown.loss == shown.maintenance == 125_000
    assert "worst of basis: 125000" in str(shown)
    found = bindings(desk.state, desk.exchange.venue, np.array([A, B]))
    assert found.mode[0] == "basis" and found.scenario[0] == -1
    assert found.losses["basis"].tolist() == [125_000 << 10, 0]


@pytest.mark.parametrize(("basis", "where"), [
    ({"up_ppm": 10_000}, "basis.flat_ppm"),
    ({"flat_ppm": 10_000}, "basis.up_ppm"),
    ({"up_ppm": 1, "flat_ppm": 8_000_001}, "basis.flat_ppm"),
    ({"down_ppm": 990_001, "flat_ppm": 1}, "basis.down_ppm"),
])
def test_a_basis_that_cannot_work_is_refused(basis, where):
    terms = grid(group("A", "P0"), basis=basis)
    with pytest.raises(ConfigError) as caught:
        config.build_venue(venue_table(1, portfolio_margin=terms))
    assert where in str(caught.value)
