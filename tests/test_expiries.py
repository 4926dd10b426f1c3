"""Options of one expiry taken together in scenarios, discounts and skews, by hand, on both venues. §3.17."""

import math

import numpy as np
import pytest

from exchange import codes, config
from exchange.bindings import bindings
from exchange.reference import black76
from exchange.venue import Exchange
from tests.desk import SECOND, Desk, venue_table
from tests.standin import StandIn
from tests.test_options import OPTION
from tests.test_portfolio import A, B, ENDS, grid, group, most, portfolio

YEAR = 365 * 86_400 * SECOND
WRITTEN = {"C500": ("500", YEAR), "C800": ("800", YEAR), "LATE": ("800", 2 * YEAR)}
TICK, MONEY = 100, 10**9  # quanta of a tick and lot
DERIVE = {"long_ppm": 950_000, "long_rate_ppm": 1_000_000, "long_add_ppm": 80_000, "short_ppm": 1_040_000,
          "short_rate_ppm": 500_000, "short_add_ppm": 80_000}
STILL = [{"price_ppm": 1}, {"price_ppm": -1}]


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def made(request):
    return request.param


class Calls(Desk):
    """A perpetual at 1,000 ticks that moves by a tenth, and calls on it; without volatility they are worth what they
    are in the money."""

    def __init__(self, made, rate_ppm=0, volatility_ppm=0, modes=("rho_one",), scenarios=ENDS, **terms):
        terms = grid(group("A", "P0", *WRITTEN), modes=modes, scenarios=scenarios, **terms)
        table = venue_table(1, portfolio_margin=terms)
        table["instruments"] += [{**OPTION, "symbol": symbol, "life": {"expiry_ns": SECOND + left_ns},
                                  "option": {"underlying": "P0", "right": "call", "strike": strike,
                                             "rate_ppm": rate_ppm}}
                                 for symbol, (strike, left_ns) in WRITTEN.items()]
        self.exchange, self.clock = made(config.build_venue(table)), SECOND
        self.fund(A, B, money=MONEY)
        self.mark(1_000)
        for k in (1, 2, 3):
            self.mark(1, k)
            if volatility_ppm:
                self.send(codes.VOLATILITY, instrument=k, price=volatility_ppm)
        assert portfolio(self) == codes.OK

        self.gained = 0

    def hold(self, k, lots):
        mark_sub = int(self.exchange.markets[k]["mark_sub"])
        price = max(1, mark_sub // 10)
        assert self.seed(*((A, B) if lots > 0 else (B, A)), price, abs(lots), k) == codes.OK
        self.gained += lots * (mark_sub * TICK // 10 - price * TICK)

    def need(self):
        return MONEY + self.gained - most(self)


@pytest.mark.parametrize(("trades", "need"), [
    ([(1, 10)], 1_200),  # 400 at 95 % less 500
    ([(1, -10)], 1_000),  # a short value counts in full
    ([(1, 10), (2, -10)], 150),  # a spread of 300, whatever the price: 5 % of it
    ([(1, -10), (2, 10)], 0),
    ([(1, 10), (3, -10)], 300),  # of two expiries each by itself: 570 - 500 and 200 - 300
])
def test_the_sign_of_what_an_expiry_is_worth_says_what_of_it_counts(made, trades, need):
    desk = Calls(made, discount={"long_ppm": 950_000})
    for k, lots in trades:
        desk.hold(k, lots)
    assert desk.need() == need * TICK


def test_a_short_value_is_discounted_less_than_the_mark_but_at_most_counts_in_full(made):
    """A year at 10 %: now 500 times 0.904837; 600 times 1.04 / e ** (0.05 - 0.08), which is more than one."""
    desk = Calls(made, rate_ppm=100_000, discount=DERIVE)
    desk.hold(1, -1_000)
    assert abs(desk.need() - 1_000 * TICK * (600 - 500 * math.exp(-0.1))) < 500


@pytest.mark.parametrize(("discount", "lots", "counts"), [
    (DERIVE, 1_000, 0.95 * math.exp(-2 * (1.5 + 1.5 + 0.08))),
    (DERIVE, -1_000, 1.04 * math.exp(-2 * (1.5 - 0.75 - 0.08))),
    ({"short_ppm": 1_040_000}, 1_000, math.exp(-2 * 1.5)),
    ({"short_ppm": 1_040_000}, -1_000, 1.04 * math.exp(-2 * 1.5)),
])
def test_what_counts_two_years_before_expiry_at_a_high_rate(made, discount, lots, counts):
    desk = Calls(made, rate_ppm=1_500_000, discount=discount)
    desk.hold(3, lots)
    now, there = 200 * math.exp(-2 * 1.5), (100 if lots > 0 else 300) * counts
    assert abs(desk.need() - lots * TICK * (now - there)) < 500


def test_open_orders_count_with_the_side_that_hurts(made):
    desk = Calls(made, discount={"long_ppm": 950_000})
    desk.hold(1, 4)
    for order_id, side, price, lots in ((1, codes.ASK, 2, 10), (2, codes.BID, 1, 3)):
        assert desk.code(codes.NEW, account=A, order_id=order_id, instrument=1, side=side, price=price, qty=lots,
                         time_in_force=codes.GTC) == codes.RESTING
    assert desk.need() == 7 * 120 * TICK


def skewed(strike, years, kind, forward=1_000, volatility=0.5):
    """Volatility by the rule: cap 0.15 - 0.05 root, flat from 4 root (0.6 - 0.1 root) on."""
    root, money = math.sqrt(years), math.log(strike / forward)
    cap, flat = 0.15 - 0.05 * root, 4 * root * (0.6 - 0.1 * root)
    share = max(-1.0, min(1.0, (money if kind == "linear" else abs(money)) / flat))
    return volatility * (1 + cap * share)


SKEW = {f"{kind}_{name}": ppm for kind in ("linear", "absolute")
        for name, ppm in (("cap_ppm", 150_000), ("cap_slope_ppm", -50_000))} | {"level_slope_ppm": -100_000}


@pytest.mark.parametrize("kind", ["linear", "absolute"])
@pytest.mark.parametrize("lots", [1_000, -1_000])
def test_a_skew_costs_what_it_changes_whichever_way(made, kind, lots):
    desk = Calls(made, volatility_ppm=500_000, scenarios=[*STILL, {"skew": kind, "cover_ppm": 2_000_000}], skew=SKEW)
    for k, (strike, years) in enumerate(((500.0, 1.0), (800.0, 1.0), (800.0, 2.0)), 1):
        desk.hold(k, lots)
        values = [black76.value(1_000.0, strike, years, sigma, True) for sigma in (skewed(strike, years, kind), 0.5)]
        held = 2 * 1_000 * TICK * abs(values[0] - values[1])
        assert held > 10_000
        assert abs(desk.need() - held) < 500, strike
        desk.hold(k, -lots)


def test_what_orders_may_change_in_a_skew_is_lost_in_full(made):
    desk = Calls(made, volatility_ppm=500_000, scenarios=[*STILL, {"skew": "absolute"}], skew=SKEW)
    desk.hold(2, -10)
    short = desk.need()
    desk.hold(2, 10)
    price = int(desk.exchange.markets[2]["mark_sub"]) // 10 + 1
    assert desk.code(codes.NEW, account=A, order_id=1, instrument=2, side=codes.ASK, price=price, qty=10,
                     time_in_force=codes.GTC) == codes.RESTING
    assert desk.need() == short, "of an order as of what it would open"


@pytest.mark.parametrize(("least_of", "after"), [("moved", 0.8), ("risen", 0.25)])
def test_the_least_volatility_may_hold_for_those_that_rise_alone(made, least_of, after):
    terms = {"down_ppm": 500_000, "base_days": 365, "least_ppm": 800_000, "least_of": least_of}
    down = [*STILL, {"volatility_ppm": -1_000_000}]
    desk = Calls(made, volatility_ppm=500_000, scenarios=down, volatility=terms)
    desk.hold(2, -1_000 if after > 0.5 else 1_000)
    before, there = (black76.value(1_000.0, 800.0, 1.0, sigma, True) for sigma in (0.5, after))
    assert abs(desk.need() - 1_000 * TICK * abs(there - before)) < 500


@pytest.mark.parametrize("modes", [("sum",), ("rho_one",), ("one_factor",), ("flipped",)])
def test_printed_grids_what_binds_and_the_audit_agree(modes):
    terms = {"discount": {"long_ppm": 950_000}, "skew": SKEW, "scenarios": [*ENDS, {"skew": "linear"}]}
    desk = Calls(Exchange, volatility_ppm=500_000, modes=modes, **terms)
    for k, lots in ((1, 10), (2, -10), (3, -5)):
        desk.hold(k, lots)
    shown = desk.exchange.portfolio_margin(A)
    assert shown.maintenance == shown.loss > 0
    found = bindings(desk.state, desk.exchange.venue, np.array([A, B]))
    assert -(-int(found.losses[modes[0]][0]) >> 10) == shown.loss
    desk.exchange.audit()


def test_the_printed_grid_names_the_skew_of_a_scenario():
    desk = Calls(Exchange, volatility_ppm=500_000, scenarios=[*STILL, {"skew": "absolute"}], skew=SKEW)
    desk.hold(2, -1_000)
    shown = desk.exchange.portfolio_margin(A)
    assert shown.rows["skew"].tolist() == [""] * len(STILL) + ["absolute"]
    (line,) = (line for line in str(shown).splitlines() if "absolute" in line)
    assert line.endswith(" <"), "it binds"
