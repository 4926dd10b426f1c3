"""Spot instruments: holdings as collateral, haircuts, assets in kind, conversion. DESIGN §3.12. Worked out by hand."""

import pytest

from exchange import codes, config
from exchange.errors import ConfigError
from exchange.venue import Exchange
from tests.desk import FIRST, INSTRUMENT, SECOND, Desk, venue_table
from tests.standin import StandIn

A, B, C, D = FIRST, FIRST + 1, FIRST + 2, FIRST + 3
P, S, T = 0, 1, 2  # a contract, two spot instruments
LOT = 100_000  # quanta of a lot at 1,000 ticks
SPOT = {**{name: value for name, value in INSTRUMENT.items() if name != "tiers"}, "kind": "spot",
        "haircuts": [{"floor": "0", "haircut_ppm": 100_000}]}
CONVERSION = {"asset": "USD", "below": "1000", "band_ppm": 20_000}
BOTH = pytest.mark.parametrize("made", [Exchange, StandIn], ids=["core", "reference"])


class Spots(Desk):
    """A contract and two spot instruments, each at 1,000 ticks, one with a conversion if asked."""

    def __init__(self, made, conversion=None, spot=(), other=(), **sections):
        conversions = [{**CONVERSION, **conversion}] if conversion is not None else []
        sections.setdefault("collateral", {})
        table = venue_table(1, fees={"maker_ppm": 0, "taker_ppm": 500},
                            **{"mark": {"source": "recorded", "period_ns": 0}, **sections})
        table["collateral"] = {"conversions": conversions, **sections["collateral"]}
        table["instruments"] += [{**SPOT, **dict(spot), "symbol": "S"}, {**SPOT, **dict(other), "symbol": "T"}]
        super().__init__(made=lambda venue: made(config.build_venue(table)))
        self.mark(1_000)
        self.index(1_000)
        self.index(1_000, T)

    def index(self, ticks, instrument=S):
        return self.send(codes.INDEX, instrument=instrument, price=10 * ticks)

    def bring(self, account, lots, instrument=S):
        return self.code(codes.DEPOSIT_ASSET, account=account, instrument=instrument, qty=lots)

    def take(self, account, lots, instrument=S):
        return self.code(codes.WITHDRAW_ASSET, account=account, instrument=instrument, qty=lots)

    def wallet(self, account):
        """(cash, lots of the contract, of S, of T)"""
        if isinstance(self.exchange, StandIn):
            world = self.exchange.world
            found = [world.find_position(account, k) for k in (P, S, T)]
            return world.wallet(account, 0).cash, *(p.lots if p is not None else 0 for p in found)
        found = [self.exchange.position(account, k) for k in (P, S, T)]
        return int(self.exchange.wallet(account)["cash"]), *(int(p["lots"]) if p is not None else 0 for p in found)

    def lose(self, account, other, lots, to_ticks):
        """Let an account realise a loss: bought at 1,000 and sold at less, both at once."""
        assert self.seed(account, other, 1_000, lots) == codes.OK
        assert self.seed(other, account, to_ticks, lots) == codes.OK


def kinds(rows, *wanted):
    return [row for row in rows if row["kind"] in wanted]


# --- paid at once -----------------------------------------------------------------------------------------------


@BOTH
def test_a_fill_is_paid_at_once_and_a_holding_counts_at_its_mark(made):
    desk = Spots(made)
    desk.fund(A, B)
    assert desk.bring(B, 10) == codes.OK
    desk.new(B, 1, codes.ASK, 1_010, 4, instrument=S)
    assert desk.new(A, 2, codes.BID, 1_020, 4, instrument=S) == codes.FILLED
    cost, fee = 4 * 101_000, 202
    assert desk.wallet(A) == (10**6 - cost - fee, 0, 4, 0)
    assert desk.wallet(B) == (10**6 + cost, 0, 6, 0)
    assert desk.exchange.equity(A) == 10**6 - cost - fee + 4 * LOT
    desk.index(900)
    assert desk.exchange.equity(A) == 10**6 - cost - fee + 4 * LOT * 9 // 10
    desk.exchange.audit()


@BOTH
def test_assets_come_and_go_without_money_and_open_the_account(made):
    desk = Spots(made)
    assert desk.code(codes.WITHDRAW, account=A, qty=1) == codes.BAD_ACCOUNT
    assert desk.bring(A, 10) == codes.OK
    assert desk.wallet(A) == (0, 0, 10, 0)
    assert desk.code(codes.WITHDRAW, account=A, qty=1) == codes.INSUFFICIENT_BALANCE  # no cash
    assert (desk.take(A, 11), desk.take(A, 10)) == (codes.INSUFFICIENT_HOLDING, codes.OK)
    assert desk.wallet(A) == (0, 0, 0, 0)
    assert int(desk.exchange.markets[S]["open_interest_lots"]) == 0


@BOTH
@pytest.mark.parametrize("kind, fields, code", [
    (codes.DEPOSIT_ASSET, {"instrument": 9}, codes.BAD_INSTRUMENT),
    (codes.DEPOSIT_ASSET, {"instrument": P}, codes.NOT_SPOT),
    (codes.DEPOSIT_ASSET, {"account": codes.EXTERNAL}, codes.BAD_ACCOUNT),
    (codes.DEPOSIT_ASSET, {"account": codes.INSURANCE}, codes.OK),
    (codes.DEPOSIT_ASSET, {"qty": 0}, codes.BAD_LOTS),
    (codes.DEPOSIT_ASSET, {"qty": 1_001}, codes.BAD_LOTS),
    (codes.DEPOSIT_ASSET, {"qty": 991}, codes.POSITION_LIMIT),
    (codes.WITHDRAW_ASSET, {"instrument": P}, codes.NOT_SPOT),
    (codes.WITHDRAW_ASSET, {"account": codes.INSURANCE}, codes.BAD_ACCOUNT),
    (codes.WITHDRAW_ASSET, {"account": B}, codes.BAD_ACCOUNT),
    (codes.WITHDRAW_ASSET, {"qty": 0}, codes.BAD_LOTS),
    (codes.WITHDRAW_ASSET, {"instrument": T}, codes.INSUFFICIENT_HOLDING),
    (codes.SET_LEVERAGE, {"qty": 100}, codes.NOT_CONTRACT),
    (codes.SET_MARGIN_MODE, {"qty": codes.ISOLATED}, codes.NOT_CONTRACT),
    (codes.TRANSFER, {"qty": 1}, codes.NOT_CONTRACT),
    (codes.OPEN_POSITION, {"order_id": C, "price": 1_000}, codes.NOT_CONTRACT),
    (codes.FUNDING_RATE, {"price": 1}, codes.NOT_CONTRACT),
    (codes.FUNDING_SETTLE, {"price": 1}, codes.NOT_CONTRACT),
])
def test_commands_on_assets_and_contracts_are_told_apart(made, kind, fields, code):
    desk = Spots(made)
    desk.fund(C)
    assert desk.bring(A, 10) == codes.OK
    assert desk.code(kind, **{"account": A, "instrument": S, "qty": 5, **fields}) == code


@BOTH
def test_the_cap_on_open_interest_holds_for_what_comes_in(made):
    desk = Spots(made, spot={"open_interest_max": "15"})
    assert desk.bring(A, 10) == codes.OK
    assert (desk.bring(B, 6), desk.bring(B, 5)) == (codes.OPEN_INTEREST_CAP, codes.OK)


@BOTH
def test_nothing_is_sold_that_is_not_held_or_is_on_offer_already(made):
    desk = Spots(made)
    desk.bring(A, 10)
    assert desk.new(A, 1, codes.ASK, 1_100, 6, instrument=S) == codes.RESTING
    assert desk.new(A, 2, codes.ASK, 1_100, 5, instrument=S) == codes.INSUFFICIENT_HOLDING
    rows = desk.send(codes.NEW, account=A, order_id=3, side=codes.ASK, price=1_100, qty=9, instrument=S,
                     flags=codes.REDUCE_ONLY)
    assert [(row["code"], row["lots"]) for row in rows] == [(codes.RESTING, 4)]  # as much as is left
    assert desk.new(A, 4, codes.ASK, 1_100, 1, instrument=S, flags=codes.REDUCE_ONLY) == codes.REDUCE_ONLY_INCREASES
    assert desk.new(A, 5, codes.ASK, 900, 1, instrument=S, time_in_force=codes.IOC,
                    flags=codes.REDUCE_ONLY) == codes.REDUCE_ONLY_INCREASES
    assert desk.take(A, 1) == codes.INSUFFICIENT_HOLDING
    assert desk.code(codes.AMEND, account=A, order_id=1, price=1_090, qty=7) == codes.INSUFFICIENT_HOLDING
    assert desk.code(codes.AMEND, account=A, order_id=3, price=1_090, qty=3) == codes.RESTING
    assert desk.code(codes.AMEND, account=A, order_id=1, price=1_090, qty=7) == codes.RESTING
    assert desk.new(A, 6, codes.BID, 900, 1, instrument=S, flags=codes.REDUCE_ONLY) == codes.REDUCE_ONLY_INCREASES


@BOTH
def test_a_bid_needs_all_of_its_money_and_what_it_reserves_does_not_leave(made):
    desk = Spots(made)
    desk.fund(A, money=1_000_500)
    desk.bring(A, 10)  # which buys nothing
    assert desk.new(A, 1, codes.BID, 1_001, 10, instrument=S) == codes.INSUFFICIENT_BALANCE
    assert desk.new(A, 2, codes.BID, 1_000, 10, instrument=S) == codes.RESTING  # the fee of 500 included
    assert desk.new(A, 3, codes.BID, 1, 5, instrument=T) == codes.INSUFFICIENT_BALANCE
    assert desk.code(codes.WITHDRAW, account=A, qty=501) == codes.INSUFFICIENT_BALANCE
    assert desk.code(codes.WITHDRAW, account=A, qty=500) == codes.OK


@BOTH
def test_positions_are_carried_by_holdings_after_their_haircuts(made):
    desk = Spots(made, spot={"haircuts": [{"floor": "0", "haircut_ppm": 100_000},
                                          {"floor": "5000", "haircut_ppm": 1_000_000}]},
                 other={"haircuts": [{"floor": "0", "haircut_ppm": 0}], "initial_haircut_ppm": 500_000})
    desk.level(codes.ASK, 1_000, 100)
    desk.bring(A, 10)  # worth 10,000, of which 4,500 count: nothing above 5,000 does
    desk.bring(A, 1, T)  # worth 1,000, for initial margin the half
    assert desk.code(codes.SET_LEVERAGE, account=A, instrument=P, qty=1_000) == codes.OK
    assert desk.new(A, 2, codes.BID, 1_000, 50) == codes.INSUFFICIENT_MARGIN  # 5,000 of margin and 25 of fee
    assert desk.new(A, 3, codes.BID, 1_000, 49) == codes.FILLED
    assert desk.take(A, 1, T) == codes.INSUFFICIENT_BALANCE
    assert desk.take(A, 5) == codes.OK  # they counted for nothing
    assert desk.take(A, 1) == codes.INSUFFICIENT_BALANCE


@BOTH
def test_a_stop_that_sells_more_than_is_left_is_refused_when_it_fires(made):
    desk = Spots(made)
    desk.bring(A, 10)
    assert desk.code(codes.NEW, account=A, order_id=1, side=codes.ASK, price=900, qty=10, instrument=S,
                     trigger=codes.TRIGGER_MARK, trigger_ticks=950) == codes.PARKED_ORDER
    assert desk.take(A, 4) == codes.OK  # a parked order offers nothing yet
    rows = desk.index(940) + desk.settle()
    assert [row["code"] for row in kinds(rows, codes.TRIGGERED)] == [codes.INSUFFICIENT_HOLDING]


# --- index ------------------------------------------------------------------------------------------------------


@BOTH
def test_the_mark_of_a_spot_instrument_is_its_index_whatever_marks_are_recorded(made):
    desk = Spots(made)
    desk.send(codes.MARK, instrument=S, price=5_000)
    assert int(desk.exchange.markets[S]["mark_sub"]) == 10_000
    desk.index(970)
    assert int(desk.exchange.markets[S]["mark_sub"]) == 9_700


@BOTH
@pytest.mark.parametrize("own, index", [(None, 10_000), (500_000, 9_950), (1_000_000, 9_900)])
def test_an_instrument_has_a_feedback_of_its_own(made, own, index):
    desk = Spots(made, spot={} if own is None else {"index_feedback_ppm": own})
    for instrument in (S, T):
        desk.level(codes.ASK, 1_010, 100, instrument=instrument)
        desk.level(codes.BID, 990, 5, instrument=instrument)
        desk.level(codes.BID, 970, 500, instrument=instrument)
        desk.bring(A, 100, instrument)
        assert desk.new(A, 1 + instrument, codes.ASK, 990, 5, instrument=instrument) == codes.FILLED
        desk.index(1_000, instrument)
    assert int(desk.exchange.markets[S]["index_sub"]) == index
    assert int(desk.exchange.markets[T]["index_sub"]) == 10_000


# --- liquidation ------------------------------------------------------------------------------------------------


def breached(made, order, fund=10**9, **sections):
    """A holds 2 of S and 2 of T and 50 of the contract long, and is breached when that falls to 930."""
    desk = Spots(made, collateral={"order": order}, **sections)
    desk.fund(B, money=10**9)
    if fund:
        desk.fund(codes.INSURANCE, money=fund)
    for instrument in (S, T):
        desk.bring(A, 2, instrument)
        desk.level(codes.BID, 999, 100, instrument=instrument)
    desk.level(codes.BID, 929, 100)
    assert desk.seed(A, B, 1_000, 50) == codes.OK
    return desk, desk.mark(930)


def sold(rows):
    """Instruments of the liquidation orders, in order."""
    return [row["instrument"] for row in rows if row["kind"] == codes.LIQUIDATION_ORDER]


@BOTH
@pytest.mark.parametrize("order, legs", [("last", [P]), ("first", [S, T, P]), ("listed", [P])])
def test_holdings_are_sold_before_contracts_are_closed_or_after_them(made, order, legs):
    desk, rows = breached(made, order)
    rows += desk.settle()
    assert sold(rows) == legs
    end = kinds(rows, codes.LIQUIDATION_END)[0]
    assert end["code"] == (codes.CLOSED if order == "first" else codes.RECOVERED)
    cash, held, *spots = desk.wallet(A)
    assert (cash < 0, held, spots) == ((False, 0, [0, 0]) if order == "first" else (True, 0, [2, 2]))
    desk.exchange.audit()


@BOTH
def test_listed_holdings_go_among_the_contracts(made):
    desk = Spots(made, collateral={"order": "listed"})
    desk.fund(B, codes.INSURANCE, money=10**9)
    for instrument in (S, T):
        desk.bring(A, 2, instrument)
    desk.seed(A, B, 1_000, 50)
    rows = desk.mark(900) + desk.settle()  # 5,000 lost of 4,000: all of it goes
    assert sold(rows) == [P, S, T]
    taken = kinds(rows, codes.TAKEOVER)
    assert [(row["instrument"], row["lots"]) for row in taken] == [(P, 50), (S, 2), (T, 2)]
    cash, *left = desk.wallet(A)
    assert left == [0, 0, 0] and 0 <= cash < 54 * 100  # bankruptcy prices are whole ticks


@BOTH
def test_nobody_is_deleveraged_for_a_holding_and_a_fund_in_deficit_keeps_it(made):
    desk = Spots(made)
    desk.fund(B, money=10**9)
    desk.bring(A, 10)
    desk.seed(A, B, 1_000, 50)
    desk.seed(B, A, 850, 50)  # 7,500 lost, which 10,000 in kind carry
    assert desk.wallet(A) == (-750_000, 0, 10, 0)
    rows = desk.index(700) + desk.settle()  # 7,000: 500 short
    assert [row["lots"] for row in kinds(rows, codes.TAKEOVER)] == [10]  # the fund has nothing, and none else may
    assert not kinds(rows, codes.ADL)
    assert [row["account"] for row in kinds(rows, codes.DEFICIT)] == [codes.INSURANCE]
    assert kinds(rows, codes.LIQUIDATION_END)[0]["code"] == codes.CLOSED
    rows = desk.index(500) + desk.settle()  # the fund is short, and nothing goes round in circles
    assert not kinds(rows, codes.LIQUIDATION_START, codes.DEFICIT)
    assert desk.wallet(codes.INSURANCE)[2] == 10
    desk.exchange.audit()


@BOTH
def test_a_haircut_of_everything_makes_a_holding_count_for_nothing(made):
    desk = Spots(made, spot={"haircuts": [{"floor": "0", "haircut_ppm": 1_000_000}]})
    desk.fund(A, B, money=60_000)
    desk.bring(A, 10)
    desk.seed(A, B, 1_000, 1)
    assert not kinds(desk.index(10), codes.LIQUIDATION_START)
    rows = desk.mark(400) + desk.settle()  # 600 lost, 4 to be kept, 0 left
    assert len(kinds(rows, codes.LIQUIDATION_START)) == 1
    desk.exchange.audit()


# --- conversion -------------------------------------------------------------------------------------------------


def converting(made, conversion=(), bids=(1_000, 1_000), **sections):
    """A holds 10 of S and 10 of T; B has money."""
    desk = Spots(made, conversion=dict(conversion), **sections)
    desk.fund(B, money=10**9)
    for instrument, ticks in ((S, bids[0]), (T, bids[1])):
        desk.bring(A, 10, instrument)
        desk.level(codes.BID, ticks, 100, instrument=instrument)
    return desk


def converted(rows):
    """(instrument, lots, charge) of each sale."""
    return [(row["instrument"], row["lots"], row["money"]) for row in kinds(rows, codes.CONVERSION)]


@BOTH
def test_cash_below_the_threshold_is_brought_back_by_a_sale(made):
    desk = converting(made, {"charge_ppm": 10_000})
    desk.lose(A, B, 10, 900)  # 1,000: not below
    assert desk.settle() == [] and desk.wallet(A) == (-LOT, 0, 10, 10)
    desk.lose(A, B, 10, 999)  # 10 more
    rows = desk.settle()
    # at the limit of 980 a lot brings 98,000 less 49 of fee and 980 of charge: two do
    brought = 2 * LOT - 2 * 50
    assert converted(rows) == [(S, 2, -(-brought // 100))]
    assert [row["flags"] for row in kinds(rows, codes.FILL)] == [codes.CONVERTED | codes.SELL]
    assert desk.wallet(A) == (-101_000 + brought - -(-brought // 100), 0, 8, 10)
    assert desk.wallet(codes.INSURANCE)[0] == -(-brought // 100)
    desk.exchange.audit()


@BOTH
@pytest.mark.parametrize("order, to, sales", [
    ([], "0", [(S, 10), (T, 3)]), (["T", "S"], "0", [(T, 10), (S, 3)]), (["T"], "0", [(T, 10)]),
    ([], "1000", [(S, 10), (T, 2)])])
def test_holdings_are_sold_in_the_order_stated_down_to_the_target(made, order, to, sales):
    desk = converting(made, {"order": order, "to": to})
    desk.lose(A, B, 120, 900)  # 12,000
    assert [row[:2] for row in converted(desk.settle())] == sales
    cash = desk.wallet(A)[0]
    assert cash >= -100 * int(to) or len(order) == 1


@BOTH
def test_what_finds_no_price_within_the_band_is_tried_again_later(made):
    desk = converting(made, {"retry_ns": 5 * SECOND}, bids=(979, 979))
    desk.lose(A, B, 20, 900)
    assert desk.settle() == [] and desk.wallet(A)[2:] == (10, 10)
    desk.level(codes.BID, 980, 1, instrument=S)
    desk.clock += 5 * SECOND - 1
    assert desk.settle() == []
    desk.clock += 1
    assert converted(desk.settle()) == [(S, 1, 0)]
    desk.clock += 5 * SECOND
    desk.level(codes.BID, 980, 50, instrument=T)
    assert converted(desk.settle()) == [(T, 2, 0)]
    desk.clock += 50 * SECOND
    assert desk.settle() == [] and desk.wallet(A)[0] >= 0


@BOTH
def test_a_market_that_stands_still_is_passed_over(made):
    desk = converting(made)
    desk.send(codes.HALT, instrument=S)
    desk.lose(A, B, 20, 900)
    assert converted(desk.settle()) == [(T, 3, 0)]


@BOTH
def test_offers_of_the_holding_are_withdrawn_before_it_is_sold(made):
    desk = converting(made)
    desk.new(A, 1, codes.ASK, 1_100, 10, instrument=S)
    desk.new(A, 2, codes.ASK, 1_100, 10, instrument=T)
    desk.lose(A, B, 20, 900)
    rows = desk.settle()
    gone = [(row["order_id"], row["code"]) for row in kinds(rows, codes.CANCELLED)]
    assert (gone, converted(rows)) == ([(1, codes.CANCELLED_BY_CONVERSION)], [(S, 3, 0)])


@BOTH
def test_a_conversion_waits_for_its_delay_and_is_not_needed_any_more_then(made):
    desk = converting(made, {"delay_ns": SECOND})
    desk.lose(A, B, 20, 900)
    assert desk.settle() == []
    desk.fund(A, money=100_000)
    desk.clock += SECOND
    assert desk.settle() == [] and desk.wallet(A) == (-LOT, 0, 10, 10)


@BOTH
def test_a_liquidation_goes_before_a_conversion_of_its_time(made):
    desk = converting(made, liquidation={"order_delay_ns": SECOND})
    desk.fund(codes.INSURANCE, money=10**9)
    desk.lose(A, B, 190, 900)  # 19,000 of 20,000, of which 18,000 count
    rows = desk.settle()
    assert kinds(rows, codes.LIQUIDATION_START) and not converted(rows)


@BOTH
def test_in_shadow_mode_a_conversion_leaves_the_book_as_it_is(made):
    desk = converting(made, liquidation={"mode": "shadow"})
    desk.lose(A, B, 20, 900)
    rows = desk.settle()
    assert converted(rows) == [(S, 3, 0)]
    assert kinds(rows, codes.FILL)[0]["flags"] == codes.CONVERTED | codes.SELL | codes.SHADOW
    assert kinds(rows, codes.FILL)[0]["money"] == 150  # an ordinary fee
    assert desk.exchange.depth_lots(S, codes.BID, 10**6) in (0, 100)


@BOTH
def test_funding_alone_may_call_for_a_conversion_and_unrealised_losses_do_not(made):
    desk = converting(made)
    desk.seed(A, B, 1_000, 50)
    assert not converted(desk.mark(940) + desk.settle())  # 3,000 lost, nothing paid
    rows = desk.send(codes.FUNDING_SETTLE, instrument=P, price=30_000_000) + desk.settle()  # 3 % of 47,000
    assert converted(rows) == [(S, 2, 0)]


# --- configuration ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spot, collateral, path, text", [
    ({"haircuts": []}, {}, "instruments[1].haircuts", "at least one"),
    ({"tiers": INSTRUMENT["tiers"]}, {}, "instruments[1].tiers", "has haircuts instead"),
    ({"kind": "linear", "tiers": INSTRUMENT["tiers"]}, {}, "instruments[1].haircuts", "has tiers instead"),
    ({"haircuts": [{"floor": "1", "haircut_ppm": 0}]}, {}, "haircuts[0].floor", "starts at 0"),
    ({"haircuts": [{"floor": "0", "haircut_ppm": 9}, {"floor": "0", "haircut_ppm": 9}]}, {}, "haircuts[1].floor",
     "not above"),
    ({"haircuts": [{"floor": "0", "haircut_ppm": 9}, {"floor": "5", "haircut_ppm": 8}]}, {}, "[1].haircut_ppm",
     "must not fall"),
    ({"haircuts": [{"floor": "0", "haircut_ppm": 0}, {"floor": "5", "haircut_ppm": 1}]}, {}, "haircuts[1].floor",
     "fraction of a quantum"),
    ({"haircuts": [{"floor": "0", "haircut_ppm": 0}, {"floor": "1" + "0" * 30, "haircut_ppm": 1}]}, {},
     "haircuts[1].floor", "a quantum of"),
    ({"initial_haircut_ppm": 900_001}, {}, "initial_haircut_ppm", "at most 900000"),
    ({}, {"asset": "EUR"}, "conversions[0].asset", "not in venue.assets"),
    ({}, {"below": "-1"}, "conversions[0].below", "0 or more"),
    ({}, {"below": "0.001"}, "conversions[0].below", "0.01"),
    ({}, {"to": "1000.01"}, "conversions[0].to", "at most below = 1000"),
    ({}, {"order": ["P0"]}, "conversions[0].order[0]", "no spot instrument in USD"),
    ({}, {"order": ["S", "S"]}, "conversions[0].order[1]", "named twice"),
])
def test_what_cannot_work_is_refused_with_its_place(spot, collateral, path, text):
    table = venue_table(1)
    table["instruments"].append({**SPOT, "symbol": "S", **spot})
    table["collateral"] = {"conversions": [{**CONVERSION, **collateral}]}
    with pytest.raises(ConfigError) as caught:
        config.build_venue(table)
    assert path in str(caught.value) and text in str(caught.value)


def test_a_contract_needs_tiers_and_a_conversion_something_to_sell_once():
    table = venue_table(1)
    table["collateral"] = {"conversions": [CONVERSION]}
    with pytest.raises(ConfigError, match="no spot instrument settles in 'USD'"):
        config.build_venue(table)
    table["instruments"].append({**SPOT, "symbol": "S"})
    table["collateral"] = {"conversions": [CONVERSION, CONVERSION]}
    with pytest.raises(ConfigError, match="has a conversion already"):
        config.build_venue(table)
    table["instruments"][0] = {**table["instruments"][0], "tiers": []}
    with pytest.raises(ConfigError, match=r"instruments\[0\].tiers"):
        config.build_venue(table)
