"""Index rules, mark components and combiners, computed funding. DESIGN §3.16. Worked out by hand, on both venues."""

import pytest

from exchange import codes, config
from exchange.errors import ConfigError
from exchange.venue import Exchange
from tests.desk import FIRST, SECOND, Desk, venue_table
from tests.standin import StandIn

A, B, C = FIRST, FIRST + 1, FIRST + 2
PER_TICK = 10  # of the desk's instrument


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def made(request):
    return request.param


def sources(*weights, outside=()):
    return {"constituents": [{"name": f"s{k}", "weight_ppm": weight, "use": "mark" if k in outside else "index"}
                             for k, weight in enumerate(weights)]}


def market(desk, k=0):
    return desk.exchange.markets[k]


def mark_of(desk):
    return int(market(desk)["mark_sub"])


def index_of(desk):
    return int(market(desk)["index_sub"])


def quote(desk, source, price_sub, ts_ns=SECOND):
    return desk.code(codes.INDEX, order_id=source, price=price_sub, ts_ns=ts_ns)


def indexed(made, weights, **rule):
    return Desk(made=made, instrument=sources(*weights), index=rule, mark={"source": "computed", "period_ns": 0})


# --- the index ---------------------------------------------------------------------------------------------------


def test_capped_sources_are_held_at_the_band_and_still_weigh(made):
    desk = indexed(made, (250_000, 500_000, 250_000), rule="capped", outlier_ppm=5_000)
    for k, price in enumerate((10_000, 10_100, 12_100), 1):
        quote(desk, k, price)
    # median 10,100, band 50: 10,050 / 10,100 / 10,150
    assert index_of(desk) == 10_100
    quote(desk, 2, 10_000)  # median 10,000: 10,000, 10,000 and 10,050
    assert index_of(desk) == 10_012


def test_a_weighted_median_is_the_first_price_whose_weights_reach_half(made):
    desk = indexed(made, (100_000, 200_000, 400_000), rule="weighted_median")
    quote(desk, 1, 9_000)
    quote(desk, 2, 9_500)
    assert index_of(desk) == 9_500  # 100 of 300 do not reach half
    quote(desk, 3, 9_100)
    assert index_of(desk) == 9_100


@pytest.mark.parametrize("rounding, made_of", [("down", 10_000), ("half_away", 10_001)])
def test_a_half_of_an_even_median_goes_down_or_away_from_zero(made, rounding, made_of):
    desk = indexed(made, (0, 0), rule="median", rounding=rounding)
    quote(desk, 1, 10_000)
    quote(desk, 2, 10_001)
    assert index_of(desk) == made_of


def test_how_many_outliers_make_the_index_the_median_is_stated(made):
    for most, index in ((0, 10_000), (1, 9_990)):
        desk = indexed(made, (300_000, 300_000, 200_000, 200_000), rule="weighted", outlier_ppm=10_000, outliers_max=most)
        for k, price in enumerate((9_980, 10_000, 10_000, 12_000), 1):
            quote(desk, k, price)
        assert index_of(desk) == (9_992 if most else 10_000)


def test_a_stale_source_drops_out_or_keeps_its_price(made):
    for stale, index in (("drop", 11_000), ("keep", 10_500)):
        desk = indexed(made, (0, 0), rule="median", stale=stale, stale_ns=SECOND)
        quote(desk, 1, 10_000)
        quote(desk, 2, 11_000, 3 * SECOND)
        assert index_of(desk) == index


def test_signed_sources_count_and_an_index_that_is_not_positive_is_none(made):
    desk = indexed(made, (0, 0, 0), rule="median", signed=True)
    assert quote(desk, 1, -5_000) == codes.OK and index_of(desk) == 0
    assert quote(desk, 2, 9_000) == codes.OK and index_of(desk) == 2_000
    assert quote(desk, 3, 0) == codes.OK and index_of(desk) == 2_000  # the median is 0
    assert quote(desk, 3, 40_001) == codes.BAD_PRICE and quote(desk, 3, -(2**63)) == codes.BAD_PRICE
    plain = indexed(made, (0, 0, 0), rule="median")
    assert quote(plain, 1, 0) == codes.BAD_PRICE and quote(plain, 1, -1) == codes.BAD_PRICE


def test_a_mark_that_freezes_stands_still_while_the_index_is_stale(made):
    for stale, mark in (("drop", 11_000), ("freeze", 10_000)):
        desk = Desk(made=made, index={"stale": stale, "stale_ns": SECOND},
                    mark={"source": "computed", "components": [{"price": "last"}, {"price": "index"}], "missing": "drop"})
        desk.code(codes.INDEX, price=10_000)
        desk.send(codes.TRADE_PRINT, price=1_200, qty=1, ts_ns=4 * SECOND)
        desk.send(codes.LEVEL_SET, side=0, price=1, qty=1, ts_ns=6 * SECOND)
        assert mark_of(desk) == mark


# --- the mark ----------------------------------------------------------------------------------------------------


def combined(made, *components, instrument=None, **rules):
    parts = [part if isinstance(part, dict) else {"price": part} for part in components]
    rules = {"source": "computed", "period_ns": 0, "missing": "drop", "components": parts, **rules}
    return Desk(made=made, instrument=instrument, mark=rules)


def book(desk, bid, ask, lots=10):
    desk.level(codes.BID, bid, lots)
    desk.level(codes.ASK, ask, lots)


def test_combiners_and_what_is_missing(made):
    weights = [{"price": "index", "weight_ppm": 500_000}, {"price": "mid", "weight_ppm": 400_000},
               {"price": "last", "weight_ppm": 100_000}]
    for combiner, all_three, without_last in (("median", 10_100, 10_050), ("mean", 10_200, 10_050),
                                              ("weighted", 10_090, 10_044)):
        desk = combined(made, *weights, combiner=combiner)
        book(desk, 1_009, 1_011)
        desk.send(codes.INDEX, price=10_000)
        assert mark_of(desk) == without_last
        desk.send(codes.TRADE_PRINT, price=1_050, qty=1)
        desk.send(codes.INDEX, price=10_000)
        assert mark_of(desk) == all_three


def test_the_component_before_a_missing_one_stands_in_where_the_profile_says_so(made):
    desk = combined(made, "index", "mid", "last", missing="previous", combiner="mean")
    desk.send(codes.TRADE_PRINT, price=1_030, qty=1)
    desk.send(codes.INDEX, price=10_000)
    assert mark_of(desk) == 10_100  # 10,000 twice and 10,300


def test_the_middle_of_impact_prices_cuts_the_last_lot(made):
    desk = combined(made, "impact_mid", impact_notional="3000")  # 300,000 quanta; a lot at 1,000 ticks is 100,000
    for side, near, far in ((codes.BID, 1_000, 900), (codes.ASK, 1_100, 1_200)):
        desk.level(side, near, 1)
        desk.level(side, far, 9)
    desk.send(codes.INDEX, price=10_000)
    # bid: 1 lot, then 200,000 / 90,000: 3,000 of money over 3.2222 lots = 931.03; ask: 190,000 / 120,000: 1,161.29
    assert mark_of(desk) == (9_310 + 11_612) // 2
    thin = combined(made, "impact_mid", "index", impact_notional="30000")
    book(thin, 1_000, 1_100, 1)
    thin.send(codes.INDEX, price=9_000)
    assert mark_of(thin) == 9_000


def test_trades_of_a_window_weigh_by_lots_and_age(made):
    for decay, mark in ((0, 3_990), (1_000_000, 3_994)):
        desk = combined(made, "trades", window_ns=4 * SECOND, decay_ppm=decay,
                        instrument={"mark_per_tick": 1})
        for k, (price, lots) in enumerate(((3_980, 2), (3_985, 1), (3_990, 3), (3_997, 5)), 10):
            desk.send(codes.TRADE_PRINT, price=price, qty=lots, ts_ns=k * SECOND)
        desk.send(codes.INDEX, price=1_000, ts_ns=14 * SECOND)
        assert mark_of(desk) == mark
        desk.send(codes.INDEX, price=1_000, ts_ns=19 * SECOND)
        assert mark_of(desk) == mark, "without a trade in the window the mark stands"


def test_an_auction_is_one_trade_of_a_window(made):
    desk = combined(made, "trades", window_ns=4 * SECOND, decay_ppm=0, instrument={"mark_per_tick": 1})
    desk.fund(A, B, money=10**9)
    desk.send(codes.TRADE_PRINT, price=3_980, qty=1)
    desk.send(codes.INDEX, price=4_000)
    assert desk.code(codes.AUCTION_START) == codes.OK
    desk.new(A, 1, codes.BID, 3_990, 4)
    desk.new(B, 2, codes.ASK, 3_990, 4)
    desk.send(codes.AUCTION_END)
    desk.send(codes.INDEX, price=1_000)
    assert mark_of(desk) == 3_988, "(3,980 + 4 * 3,990) / 5"


def test_the_exponential_basis_halves_its_distance_every_half_life(made):
    desk = combined(made, "ema_basis", period_ns=SECOND, half_life_ns=SECOND)
    book(desk, 1_000, 1_002)
    desk.send(codes.INDEX, price=10_000)
    assert mark_of(desk) == 10_010
    book(desk, 1_009, 1_010)
    desk.level(codes.BID, 1_000, 0)
    desk.level(codes.ASK, 1_002, 0)
    desk.exchange.run(2 * SECOND + 1)
    assert mark_of(desk) == 10_052  # 10 + 85 / 2
    desk.exchange.run(3 * SECOND + 1)
    assert mark_of(desk) == 10_073


def test_a_component_older_than_it_may_be_is_missing(made):
    desk = combined(made, {"price": "last", "stale_ns": 5 * SECOND}, "index", combiner="mean")
    desk.send(codes.TRADE_PRINT, price=1_100, qty=1)
    for at, mark in ((6, 10_500), (7, 10_000)):
        desk.send(codes.INDEX, price=10_000, ts_ns=at * SECOND)
        assert mark_of(desk) == mark


def test_a_recorded_mark_and_other_venues_marks_are_components(made):
    desk = combined(made, "recorded", "outside", combiner="mean", instrument=sources(300_000, 200_000, 200_000, outside=(0, 1, 2)))
    assert desk.mark(1_000) and mark_of(desk) == 10_000
    for k, price in ((1, 11_000), (2, 11_200), (3, 11_400)):
        assert quote(desk, k, price) == codes.OK
    assert mark_of(desk) == (10_000 + 11_200) // 2 and index_of(desk) == 0


def test_the_mark_is_held_near_the_index(made):
    desk = combined(made, "last", clamp_ppm=20_000)
    desk.send(codes.TRADE_PRINT, price=1_100, qty=1)
    desk.send(codes.INDEX, price=10_000)
    assert mark_of(desk) == 10_200


def test_fills_of_liquidation_orders_move_last_only_where_they_may(made):
    for may, last in ((True, 950), (False, 1_000)):
        desk = Desk(made=made, mark={"source": "recorded", "forced_trades": may})
        desk.fund(A, money=110_000)
        desk.fund(B, C, money=10**9)
        desk.mark(1_000)
        assert desk.seed(A, B, 1_000, 10) == codes.OK
        desk.send(codes.TRADE_PRINT, price=1_000, qty=1)
        desk.level(codes.BID, 950, 100)
        desk.mark(898)
        desk.settle()
        assert int(desk.exchange.markets[0]["last_ticks"]) == last


# --- funding -----------------------------------------------------------------------------------------------------


def funded(made, **rules):
    """Interval 8 s, samples every 2 s; A is long 10 lots and B short at a mark of 1,000."""
    desk = Desk(made=made, funding={"source": "computed", "interval_ns": 8 * SECOND, "sample_ns": 2 * SECOND, **rules})
    desk.fund(A, B, money=10**9)
    desk.mark(1_000)
    desk.seed(A, B, 1_000, 10)
    desk.drain()
    return desk


def paid(desk, until):
    """(rate, samples) of each settlement until a time, and what A got."""
    desk.exchange.run(until * SECOND + 1)
    rows = desk.drain()
    assert all(row["ts_ns"] % (8 * SECOND) == 0 for row in rows if row["kind"] == codes.FUNDING)
    return ([(row["price"], row["money"]) for row in rows if row["kind"] == codes.FUNDING_PRICE],
            [row["money"] for row in rows if row["kind"] == codes.FUNDING and row["account"] == A])


def premiums(desk, *bids):
    """A book around each mid for one sample, from 1 s on; the index is 10,000."""
    desk.send(codes.INDEX, price=10_000)
    for k, bid in enumerate(bids):
        at = (1 + 2 * k) * SECOND
        desk.send(codes.BOOK_CLEAR, ts_ns=at)
        if bid:
            book(desk, bid - 1, bid + 1)


@pytest.mark.parametrize("average, missing, rate", [
    ("mean", "skip", 4_000_000), ("mean", "zero", 3_000_000), ("linear", "skip", 4_666_666), ("linear", "zero", 2_800_000)])
def test_the_average_premium_of_an_interval(made, average, missing, rate):
    desk = funded(made, average=average, missing=missing, interest="added")
    premiums(desk, 1_001, 1_006, 0, 1_005)  # 0.1 %, 0.6 %, none, 0.5 %
    settled, money = paid(desk, 8)
    assert settled == [(rate, 3)]
    assert money == [-(1_000_000 * rate // 10**9) - (1 if 1_000_000 * rate % 10**9 else 0)]
    assert int(desk.exchange.markets[0]["mark_sub"]) == 10_000


@pytest.mark.parametrize("tail_ppm, rate", [(250_000, 2_000_000), (125_000, -2_000_000), (124_999, 11_000_000)])
def test_tails_are_cut_at_the_settlement_and_the_odd_one_at_the_top(made, tail_ppm, rate):
    desk = funded(made, average="trimmed", tail_ppm=tail_ppm, interest="added")
    premiums(desk, 1_001, 1_050, 990, 1_003)  # 0.1 %, 5 %, -1 %, 0.3 %: the ends go, the top alone, none
    assert paid(desk, 8)[0] == [(rate, 4)]


def test_interest_pulls_the_rate_within_its_band(made):
    for interest, band, rate in ((100_000, 500_000, 1_500_000), (100_000, 5_000_000, 100_000), (3_000_000, 500_000, 2_500_000)):
        desk = funded(made, interest_ppb=interest, band_ppb=band)
        premiums(desk, 1_002, 1_002, 1_002, 1_002)
        assert paid(desk, 8)[0] == [(rate, 4)]


def test_a_rate_is_paid_by_its_share_of_the_stated_time_and_capped_before(made):
    desk = funded(made, interest="added", rate_ns=64 * SECOND, cap={"rate_ppb": 1_600_001})
    premiums(desk, 1_005)
    assert paid(desk, 8)[0] == [(200_000, 4)]
    tier = funded(made, interest="added", cap={"factor_ppm": 100_000})  # a tenth of 1 % initial less 1 % maintenance
    premiums(tier, 1_005)
    assert paid(tier, 8) == ([(0, 4)], [0])


def test_an_impact_premium_is_that_of_both_sides(made):
    desk = funded(made, premium="impact", impact_notional="1000", interest="added")
    desk.send(codes.INDEX, price=10_000)
    book(desk, 1_010, 1_020, 100)
    assert paid(desk, 8)[0] == [(10_000_000, 4)]
    desk.clock = 9 * SECOND
    book(desk, 980, 990, 200)
    desk.level(codes.BID, 1_010, 0)
    desk.level(codes.ASK, 1_020, 0)
    assert paid(desk, 16)[0] == [(-10_000_000, 4)]
    desk.clock = 17 * SECOND
    desk.level(codes.ASK, 990, 0)
    assert paid(desk, 24)[0] == [(0, 4)]


def test_funding_is_reckoned_at_the_index_and_by_a_rounded_payment_a_lot(made):
    desk = funded(made, notional="index", interest="added", interest_ppb=1_000_000, payment="per_lot", payment_step="0.07")
    desk.send(codes.INDEX, price=10_550)
    settled, money = paid(desk, 8)
    assert settled == [(1_000_000, 0)]  # no book, no samples; a lot is worth 105,500 and pays 105.5, in steps of 7
    assert money == [-1_050]


def test_recorded_rates_change_nothing_where_the_venue_computes_them(made):
    desk = funded(made)
    desk.send(codes.FUNDING_RATE, price=10**6, qty=5)
    assert not [row for row in desk.send(codes.FUNDING_SETTLE, price=10**6) if row["kind"] == codes.FUNDING]
    assert desk.code(codes.FUNDING_SETTLE, price=10**10) == codes.BAD_AMOUNT


def test_the_rate_that_is_forming_is_in_the_mark(made):
    desk = funded(made, interest="added")
    premiums(desk, 1_008)
    desk.exchange.run(2 * SECOND + 1)
    if made is Exchange:
        assert int(market(desk)["funding_rate_ppb"]) == 8_000_000 and int(market(desk)["next_funding_ns"]) == 8 * SECOND
        assert int(desk.exchange.price_state(0)["premium_ppb"]) == 8_000_000


@pytest.mark.parametrize("first, survives", [("funding", True), ("liquidation", False)])
def test_what_comes_first_at_one_time_is_the_profiles(made, first, survives):
    """A short on the edge is saved by what it receives, where funding comes first."""
    desk = Desk(made=made, funding={"source": "computed", "interval_ns": 8 * SECOND, "sample_ns": 8 * SECOND,
                                    "interest": "added", "interest_ppb": 50_000_000, "first": first},
                liquidation={"detection_delay_ns": 4 * SECOND, "order_delay_ns": 0})
    desk.fund(A, money=10**9)
    desk.fund(B, money=110_000)
    desk.mark(1_000)
    desk.seed(A, B, 1_000, 10)
    desk.send(codes.INDEX, price=10_000)
    desk.send(codes.MARK, price=11_000, ts_ns=4 * SECOND)  # B: 10,000 of equity, 12,500 of maintenance and more
    desk.exchange.run(9 * SECOND)
    ends = [row for row in desk.drain() if row["kind"] in (codes.LIQUIDATION_START, codes.FUNDING, codes.LIQUIDATION_END)]
    kinds = [row["kind"] for row in ends if row["account"] == B]
    assert (kinds[0] == codes.FUNDING) == survives


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sections, where", [
    ({"index": {"rule": "capped"}}, "constituents"),
    ({"index": {"stale": "freeze"}}, "$.venue.index.stale"),
    ({"index": {"signed": True}}, "$.venue.index.signed"),
    ({"mark": {"components": [{"price": "last"}, {"price": "last"}]}}, "$.venue.mark.components"),
    ({"mark": {"components": [{"price": "last"}], "combiner": "weighted"}}, "$.venue.mark.components"),
    ({"mark": {"components": [{"price": "mid", "stale_ns": 1}]}}, "components[0].stale_ns"),
    ({"mark": {"components": [{"price": "outside"}]}}, "constituents"),
    ({"mark": {"components": [{"price": "ema_basis"}], "period_ns": 0}}, "$.venue.mark.period_ns"),
    ({"mark": {"impact_notional": "-1"}}, "$.venue.mark.impact_notional"),
    ({"funding": {"source": "computed", "sample_ns": 7 * SECOND}}, "$.venue.funding.sample_ns"),
    ({"funding": {"rate_ns": 8 * 3600 * SECOND + 1}}, "$.venue.funding.rate_ns"),
    ({"funding": {"payment": "per_lot", "payment_step": "0.000000000001"}}, "$.venue.funding.payment_step"),
])
def test_what_cannot_work_is_refused_with_its_path(sections, where):
    with pytest.raises(ConfigError) as refusal:
        config.build_venue(venue_table(**sections))
    assert where in str(refusal.value)


def test_payments_a_lot_need_linear_contracts_and_small_lots():
    for instrument, what in (({"kind": "inverse", "multiplier": "1000000"}, "linear"),
                             ({"multiplier": "10000000", "position_max": "1", "order_max": "1", "open_interest_max": "1"}, "lot")):
        with pytest.raises(ConfigError, match=what):
            config.build_venue(venue_table(instrument=instrument, funding={"payment": "per_lot"}))
