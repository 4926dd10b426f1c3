"""Charges and minimum of portfolio margin beside the worst loss, worked out by hand, on both venues. DESIGN §3.17."""

import pytest

from exchange import codes, config
from exchange.errors import ConfigError
from exchange.switch import ruled
from exchange.venue import Exchange
from tests.desk import SECOND, Desk, venue_table
from tests.standin import StandIn
from tests.test_options import OPTION
from tests.test_portfolio import A, B, C, desk_of, grid, group, most, portfolio


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def made(request):
    return request.param


@pytest.mark.parametrize(("add_ons", "need"), [  # long 10 lots of P0, short 4 of P1: the worst loss is 60,000
    ({"offset_ppm": 20_000}, 60_000 + 8_000),  # 2 % of 400,000
    ({"gross_ppm": 6_000}, 60_000 + 8_400),
    ({"offset_ppm": 20_000, "gross_ppm": 6_000}, 60_000 + 8_000 + 8_400),
    ({"gross_ppm": 6_000, "gross_initial_ppm": 4_000}, 60_000 + 8_400 + 5_600),
    ({"least_ppm": 50_000}, 70_000),  # of 1,400,000
    ({"least_ppm": 40_000}, 60_000),
    ({"least_ppm": 50_000, "gross_ppm": 10_000}, 60_000 + 14_000),
])
def test_charges_come_on_top_of_the_worst_loss_and_a_minimum_does_not(made, add_ons, need):
    desk = desk_of(made, grid(group("A", "P0", "P1", add_ons=add_ons), initial_factor_ppm=2_000_000))
    assert desk.seed(A, B, 1_000, 10, 0) == desk.seed(B, A, 1_000, 4, 1) == codes.OK
    assert most(desk) == 10**9 - 2 * need


@pytest.mark.parametrize(("add_ons", "need"), [
    ({"gross_ppm": 6_000, "gross_initial_ppm": 4_000}, 120_000 + 8_400 + 5_600),
    ({"least_ppm": 100_000}, 140_000),
    ({"least_ppm": 50_000}, 120_000),
])
def test_factors_on_the_loss_alone_leave_charges_and_the_minimum_as_they_are(made, add_ons, need):
    terms = grid(group("A", "P0", "P1", add_ons=add_ons), initial_factor_ppm=2_000_000, factors="loss")
    desk = desk_of(made, terms)
    assert desk.seed(A, B, 1_000, 10, 0) == desk.seed(B, A, 1_000, 4, 1) == codes.OK
    assert most(desk) == 10**9 - need


def test_what_initial_margin_charges_more_is_no_part_of_maintenance(made):
    """Derive's perpetual: 18 % of 3,100 at 0.8, with 1.5 % for maintenance; all of it and 2 % for initial margin."""
    add_ons = {"gross_ppm": 15_000, "gross_initial_ppm": 5_000}
    terms = grid(group("A", "P0", range_ppm=180_000, add_ons=add_ons), maintenance_factor_ppm=800_000, factors="loss")
    desk = desk_of(made, terms, money=1_100_000)
    assert desk.seed(A, B, 1_000, 50) == codes.OK
    assert most(desk) == 1_100_000 - 900_000 - 100_000
    assert desk.code(codes.WITHDRAW, account=A, qty=100_000) == codes.OK
    starts = []
    for ticks in (952, 951):  # 760,000 and 755,000 of equity; 795 a tick are held
        rows = desk.mark(ticks) + desk.settle()
        starts += [ticks for row in rows if row["kind"] == codes.LIQUIDATION_START]
    assert starts == [951]


def test_open_orders_pay_the_charges_that_they_may_bring_and_no_contract_offsets_itself(made):
    desk = desk_of(made, grid(group("A", "P0", "P1", range_ppm=1, add_ons={"offset_ppm": 20_000})))
    desk.new(A, 1, codes.BID, 900, 10)
    desk.new(A, 2, codes.ASK, 1_100, 10)
    assert (10**9 - most(desk)) // 100 == 0
    desk.seed(A, B, 1_000, 3, 1)
    assert (10**9 - most(desk)) // 100 == 60  # 3 of the lots of the ask would be offset


def test_contracts_of_two_groups_offset_nothing(made):
    terms = {"range_ppm": 1, "add_ons": {"offset_ppm": 20_000}}
    desk = desk_of(made, grid(group("A", "P0", **terms), group("B", "P1", **terms)))
    desk.seed(A, B, 1_000, 10, 0)
    desk.seed(B, A, 1_000, 10, 1)
    assert most(desk) == 10**9


def test_a_charge_that_a_rising_mark_brings_starts_a_liquidation(made):
    """A hedged pair loses nothing in any scenario; what is offset costs more as the marks rise."""
    desk = desk_of(made, grid(group("A", "P0", "P1", add_ons={"gross_ppm": 50_000})), money=100_000)
    desk.seed(A, B, 1_000, 9, 0)
    desk.seed(B, A, 1_000, 9, 1)
    starts = []
    for ticks in (1_050, 1_110, 1_120):
        for k in (0, 1):
            rows = desk.mark(ticks, k) + desk.settle()
            starts += [(ticks, k) for row in rows if row["kind"] == codes.LIQUIDATION_START]
    assert starts == [(1_120, 1)]


DEEP = {"depth_ppm": 100_000, "depth_share_ppm": 250_000, "depth_band_ppm": 10_000}


def crowded(made, lots=10, **instrument):
    """A holds `lots` of P0 and nothing else; 20 lots are bid near the mark, of which a quarter is free, and 8 asked."""
    desk = desk_of(made, grid(group("A", "P0", "P1", range_ppm=1, add_ons=DEEP)), instrument=instrument)
    desk.level(codes.BID, 995, 12)
    desk.level(codes.BID, 990, 8)
    desk.level(codes.BID, 989, 500)
    desk.level(codes.ASK, 1_010, 8)
    desk.seed(*((A, B) if lots > 0 else (B, A)), 1_000, abs(lots))
    return desk


def later(desk, ticks=1_000):
    """The next mark, in a period of its own, with what it sets off."""
    desk.clock += 10**9
    return desk.mark(ticks) + desk.settle()


@pytest.mark.parametrize(("lots", "beyond"), [(10, 5), (-10, 8), (4, 0), (-2, 0)])
def test_what_is_net_beyond_the_share_of_the_depth_that_would_take_it_is_charged(made, lots, beyond):
    desk = crowded(made, lots)
    assert (10**9 - most(desk)) // 100 == 100 * abs(lots), "books were empty when the first mark measured them"
    later(desk)
    assert (10**9 - most(desk)) // 100 == 100 * beyond


def test_depth_is_measured_once_a_period(made):
    desk = crowded(made)
    desk.mark(1_000)
    assert (10**9 - most(desk)) // 100 == 1_000, "still that of the first mark"
    later(desk)
    desk.clock += 10**9 - 1
    desk.level(codes.BID, 1_000, 400)
    desk.mark(1_000)
    assert (10**9 - most(desk)) // 100 == 500, "what is absorbed stays as it was measured"
    desk.clock += 1
    desk.mark(1_000)
    assert (10**9 - most(desk)) // 100 == 0


def test_depth_is_what_icebergs_show(made):
    desk = crowded(made, iceberg="refresh")
    assert desk.new(C, 1, codes.BID, 995, 16, display_lots=4) == codes.RESTING
    later(desk)
    assert (10**9 - most(desk)) // 100 == 400, "a quarter of 24 lots is free, not of 36"


def test_a_hedge_and_open_orders_count_in_what_is_net(made):
    desk = crowded(made)
    later(desk)
    desk.seed(B, A, 1_000, 3, 1)
    assert (10**9 - most(desk)) // 100 == 200
    desk.new(A, 1, codes.BID, 900, 6)
    assert (10**9 - most(desk)) // 100 == 800
    desk.new(A, 2, codes.ASK, 1_100, 25)  # 18 short, of which the asks take 2
    assert (10**9 - most(desk)) // 100 == 1_600


def test_depth_that_goes_away_starts_a_liquidation_at_the_mark_that_measures_it(made):
    desk = crowded(made)
    later(desk)
    assert desk.code(codes.WITHDRAW, account=A, qty=10**9 - 80_000) == codes.OK
    for ticks in (995, 990):
        desk.level(codes.BID, ticks, 0)
    rows = desk.mark(1_000) + desk.settle()
    assert not any(row["kind"] == codes.LIQUIDATION_START for row in rows)
    assert [row["account"] for row in later(desk) if row["kind"] == codes.LIQUIDATION_START] == [A]


def test_other_rules_sum_what_was_measured_over_their_own_groups():
    desk = crowded(Exchange)
    later(desk)
    apart = grid(group("A", "P1", add_ons=DEEP), group("B", "P0", add_ons=DEEP))
    other = config.build_venue(venue_table(2, portfolio_margin=apart))
    members = ruled(desk.state.prices, desk.exchange.venue, other).members
    assert members["group"].tolist() == [2, 1] and members["lead"].tolist() == [0, 1]
    assert members["group_bids_money"].tolist() == [500_000, 0]


STRIKES = {"CALL": ("call", "1100"), "PUT": ("put", "1100.0"), "FAR": ("call", "1200")}


class Strikes(Desk):
    """A perpetual and three options on it, two at one strike; moves of the grid are next to nothing."""

    def __init__(self, made, **add_ons):
        table = venue_table(1, portfolio_margin=grid(group("A", "P0", *STRIKES, range_ppm=1, add_ons=add_ons)))
        table["instruments"] += [{**OPTION, "symbol": symbol,
                                  "option": {"underlying": "P0", "right": right, "strike": strike}}
                                 for symbol, (right, strike) in STRIKES.items()]
        self.exchange, self.clock = made(config.build_venue(table)), SECOND
        self.fund(A, B, money=10**9)
        self.mark(1_000)
        for k in (1, 2, 3):
            self.mark(200, k)
        assert portfolio(self) == codes.OK

    def charged(self):
        """What the add-ons ask for; the grid itself asks for a few quanta."""
        return (10**9 - most(self)) // 100 * 100


@pytest.mark.parametrize(("trades", "need"), [  # a lot of the perpetual is worth 100,000
    ([(1, 10), (2, -20)], 10_000),  # Deribit's example: long 10 calls and short 20 puts of one strike, 10 are short
    ([(1, -10), (2, 20)], 0),
    ([(1, 10), (3, -10)], 10_000),  # another strike nets nothing
    ([(1, -4), (2, -5), (3, 7)], 9_000),
])
def test_short_options_are_charged_net_by_strike(made, trades, need):
    desk = Strikes(made, short_option_ppm=10_000)
    for k, lots in trades:
        assert desk.seed(*((A, B) if lots > 0 else (B, A)), 200, abs(lots), k) == codes.OK
    assert desk.charged() == need


def test_initial_margin_charges_short_options_more(made):
    desk = Strikes(made, short_option_ppm=3_000, short_option_initial_ppm=2_000)
    assert desk.seed(B, A, 200, 10, 1) == codes.OK
    assert desk.charged() == 5_000


def test_open_asks_of_options_are_charged_and_bids_net_nothing(made):
    desk = Strikes(made, short_option_ppm=10_000)
    for order_id, (k, side, lots) in enumerate([(1, codes.BID, 10), (2, codes.ASK, 6), (3, codes.ASK, 2)], 1):
        assert desk.code(codes.NEW, account=A, order_id=order_id, instrument=k, side=side, price=200, qty=lots,
                         time_in_force=codes.GTC) == codes.RESTING
    assert desk.charged() == 8_000


def test_the_minimum_counts_short_options_by_their_underlying_and_long_ones_not(made):
    desk = Strikes(made, least_ppm=20_000)
    desk.seed(A, B, 200, 50, 1)
    desk.seed(B, A, 200, 3, 2)
    desk.seed(A, B, 1_000, 4)
    assert desk.charged() == 2_000 * (3 + 4)


def test_the_charge_of_a_short_option_follows_its_underlying_at_refreshes_alone(made):
    desk = Strikes(made, short_option_ppm=10_000)
    desk.seed(B, A, 200, 10, 2)
    desk.mark(1_500)
    assert desk.charged() == 10_000
    desk.mark(200, 2)
    assert desk.charged() == 15_000


def test_the_printed_grid_has_each_add_on_on_a_line():
    desk = Strikes(Exchange, short_option_ppm=10_000, gross_ppm=6_000, least_ppm=1)
    desk.seed(B, A, 200, 10, 2)
    desk.seed(A, B, 1_000, 5)
    shown = desk.exchange.portfolio_margin(A)
    assert {name: money for (_, name), money in shown.add_ons.items()} == {
        "short options": 10_000, "gross": 3_000, "depth": 0, "offset": 0, "minimum": 2}
    lines = [line for line in str(shown).splitlines() if " of A: " in line]
    assert sorted(lines) == ["gross of A: 3000", "minimum of A: 2", "short options of A: 10000"]
    assert shown.maintenance == shown.loss + 13_000


@pytest.mark.parametrize(("terms", "instrument", "where"), [
    ({"range_ppm": 6_500_000, "add_ons": {"gross_ppm": 600_000}}, {}, "portfolio_margin.groups"),
    ({"add_ons": {"gross_ppm": 1_000_000, "offset_ppm": 1_000_000}},
     {"position_max": "2000000000", "order_max": "2000000000", "open_interest_max": "2000000000",
      "price_max": "3000"}, "position_max"),
])
def test_charges_that_could_pass_the_integers_are_refused(terms, instrument, where):
    plain = {name: value for name, value in terms.items() if name != "add_ons"}
    config.build_venue(venue_table(1, instrument, portfolio_margin=grid(group("A", "P0", **plain))))
    with pytest.raises(ConfigError, match=where):
        config.build_venue(venue_table(1, instrument, portfolio_margin=grid(group("A", "P0", **terms))))


def test_charges_at_the_index_are_on_the_index_that_was_measured_and_move_with_no_mark(made):
    desk = desk_of(made, grid(group("A", "P0", range_ppm=1, add_ons={"gross_ppm": 50_000, "price": "index"})))
    assert desk.seed(A, B, 1_000, 10) == codes.OK
    desk.send(codes.INDEX, price=8_000)
    assert (10**9 - most(desk)) // 100 == 500, "without an index, at the mark as measured"
    later(desk)
    assert (10**9 - most(desk)) // 100 == 400
    desk.mark(900)
    assert (10**9 - 100_000 - most(desk)) // 100 == 400
    assert desk.code(codes.WITHDRAW, account=A, qty=10**9 - 100_000 - 50_000) == codes.OK
    desk.send(codes.INDEX, price=12_000)
    rows = desk.mark(900) + desk.settle()
    assert not any(row["kind"] == codes.LIQUIDATION_START for row in rows)
    starts = [row["account"] for row in later(desk, 900) if row["kind"] == codes.LIQUIDATION_START]
    assert starts == [A], "at the first mark of the next period"


def test_a_venue_under_rules_that_charge_at_the_index_takes_it_as_it_is():
    desk = desk_of(Exchange, grid(group("A", "P0")))
    desk.send(codes.INDEX, instrument=1, price=8_000)
    terms = grid(group("A", "P0", "P1", add_ons={"gross_ppm": 1, "price": "index"}))
    other = config.build_venue(venue_table(2, portfolio_margin=terms))
    members = ruled(desk.state.prices, desk.exchange.venue, other).members
    assert members["index_sub"].tolist() == [10_000, 8_000]


def test_short_options_at_the_index_are_charged_on_that_of_their_underlying(made):
    desk = Strikes(made, short_option_ppm=10_000, price="index")
    desk.seed(B, A, 200, 10, 1)
    assert desk.charged() == 10_000
    desk.send(codes.INDEX, price=5_000)
    desk.mark(200, 1)
    assert desk.charged() == 5_000
