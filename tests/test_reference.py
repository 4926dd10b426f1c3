"""The reference venue against numbers worked out by hand, and its conservation laws over random campaigns."""

import collections
from typing import Any

import pytest
from campaign_events import SECOND, make_events, make_venue

from exchange import codes, config, schema
from exchange.reference import arithmetic, requirement
from exchange.reference.venue import ReferenceVenue

A, B, C = 8, 9, 10  # users; one lot moving one tick is 100 quanta, and a sub-tick is a tick
FIELDS = schema.EVENT.names


class Desk:
    """A reference venue with one instrument, driven command by command; each returns its outcomes as dicts."""

    def __init__(self, **sections: dict[str, Any]):
        instrument = {"symbol": "P", "settle": "USD", "tick": "1", "lot": "1", "price_max": "4000", "order_max": "1000",
                      "position_max": "1000", "open_interest_max": "10000", "constituents": [],
                      "tiers": [{"floor": "0", "maintenance_ppm": 10_000, "leverage_max": 100},
                                {"floor": "20000", "maintenance_ppm": 25_000, "leverage_max": 20}]}
        count = sections.pop("count", 1)
        table = {"name": "desk", "assets": [{"name": "USD", "quantum": "0.01"}],
                 "instruments": [{**instrument, "symbol": f"P{k}"} for k in range(count)],
                 "mark": {"source": "recorded"}, "fees": {"maker_ppm": 200, "taker_ppm": 500}}
        self.venue = ReferenceVenue(config.build_venue({**table, **sections}))
        self.clock = SECOND
        self.seq = 0

    def send(self, kind: int, **fields: int) -> list[dict[str, int]]:
        self.seq += 1
        self.clock = fields.get("ts_ns", self.clock)
        values = {"ts_ns": self.clock, "seq": self.seq, "kind": kind, **fields}
        self.venue.process([tuple(values.get(name, 0) for name in FIELDS)])
        return self.drain()

    def drain(self, until: int = 0) -> list[dict[str, int]]:
        self.venue.run(until)
        return [dict(zip(schema.OUTCOME.names, row, strict=True)) for row in self.venue.outcomes()]

    def settle(self) -> list[dict[str, int]]:
        """Fire what is due at the present time."""
        return self.drain(self.clock + 1)

    def fund(self, **deposits: int) -> None:
        for name, money in deposits.items():
            account = {"A": A, "B": B, "C": C, "fund": codes.INSURANCE}[name]
            self.send(codes.DEPOSIT, account=account, qty=money)

    def new(self, account: int, order_id: int, side: int, price: int, qty: int, **fields: int) -> list[dict[str, int]]:
        return self.send(codes.NEW, account=account, order_id=order_id, side=side, price=price, qty=qty, **fields)

    def level(self, side: int, price: int, qty: int, flags: int = codes.LAST) -> list[dict[str, int]]:
        return self.send(codes.LEVEL_SET, side=side, price=price, qty=qty, flags=flags)

    def seed(self, buyer: int, seller: int, price: int, qty: int, instrument: int = 0) -> None:
        self.send(codes.OPEN_POSITION, account=buyer, order_id=seller, price=price, qty=qty, instrument=instrument)

    def cash(self, account: int) -> int:
        return self.venue.state()["wallets"].get((account, 0), (0, 0))[0]

    def position(self, account: int, instrument: int = 0) -> tuple[int, ...]:
        return self.venue.state()["positions"][account, instrument]

    def market(self) -> dict[str, int]:
        names = ("recorded_index", "index", "recorded_mark", "mark", "previous_mark", "last", "funding_rate",
                 "next_funding", "shift",
                 "index_shift", "depth", "basis_sum", "basis_count", "open_interest", "state", "crossed_levels",
                 "flow", "permanent_flow", "decaying_flow", "impact")
        return dict(zip(names, self.venue.state()["markets"][0], strict=True))

    def external(self, side: int, ticks: int) -> tuple[int, ...]:
        return self.venue.state()["externals"][0, side, ticks]


def kinds(outcomes: list[dict[str, int]]) -> list[str]:
    return [codes.OUTCOME_NAME[outcome["kind"]] for outcome in outcomes]


def of_kind(outcomes: list[dict[str, int]], kind: int) -> list[dict[str, int]]:
    return [outcome for outcome in outcomes if outcome["kind"] == kind]


def code(outcomes: list[dict[str, int]]) -> str:
    return codes.RESULT_NAME[of_kind(outcomes, codes.RESULT)[-1]["code"]]


# --- arithmetic --------------------------------------------------------------------------------------------


def test_fees_round_against_the_payer():
    assert arithmetic.fee(10_001, 150_000) == 2  # 1.50015
    assert arithmetic.fee(10_001, -150_000) == -1
    assert arithmetic.fee(0, 150_000) == 0


def test_close_share_rounds_toward_zero_and_takes_all_when_flat():
    assert arithmetic.close_share(1_001, 10, 3) == 300
    assert arithmetic.close_share(-1_001, 10, 3) == -300
    assert arithmetic.close_share(-1_001, 10, 10) == -1_001


def test_ratio_saturates_and_halves_large_divisors():
    assert arithmetic.ratio_ppm(1, 3) == 333_333
    assert arithmetic.ratio_ppm(2_147, 1) == 2_147_000_000
    assert arithmetic.ratio_ppm(2_148, 1) == 2**31 - 1
    assert arithmetic.ratio_ppm(2**41 + 1, 2**40) == 2_000_000


def test_maintenance_is_continuous_at_a_tier_edge():
    contract = Desk().venue.world.contracts[0]
    notionals = {1_999_999: 20_000, 2_000_000: 20_000, 2_000_100: 20_003}  # 50 000 less the tier's cumulative 30 000
    for notional, held in notionals.items():
        assert requirement.maintenance(contract, None, notional) == held
    assert contract.exposure_limit(2_000) is None
    assert contract.exposure_limit(2_001) == 2_000_000


# --- trades ------------------------------------------------------------------------------------------------


def isolated_desk() -> Desk:
    """A is long 10 @ 100 isolated at 10x against B's resting ask."""
    desk = Desk()
    desk.fund(A=100_000, B=1_000_000)
    desk.send(codes.MARK, price=100)
    desk.send(codes.SET_MARGIN_MODE, account=A, qty=codes.ISOLATED)
    desk.send(codes.SET_LEVERAGE, account=A, qty=1_000)
    desk.new(B, 1, codes.ASK, 100, 10)
    desk.new(A, 2, codes.BID, 100, 10)
    return desk


def test_isolated_margin_comes_from_cash_with_the_fee():
    desk = isolated_desk()
    assert desk.cash(A) == 89_950
    assert desk.position(A)[:3] == (10, 100_000, 10_000)
    assert desk.cash(B) == 1_000_000 - 20
    assert desk.cash(codes.FEES) == 70


def test_isolated_partial_close_releases_its_share_and_profit():
    desk = isolated_desk()
    desk.new(B, 3, codes.BID, 110, 5)
    desk.new(A, 4, codes.ASK, 110, 5)
    # profit 5 000, fee ceil(27.5) = 28; released 5 000 + 5 000 - 28
    assert desk.position(A)[:3] == (5, 50_000, 5_000)
    assert desk.cash(A) == 99_922


def test_isolated_flip_releases_all_then_pays_for_the_new_side():
    desk = isolated_desk()
    desk.new(B, 3, codes.BID, 110, 14)
    desk.new(A, 4, codes.ASK, 110, 14)
    # fee ceil(77): margin 20 000 released; 4 lots at 110 need 4 400 and the fee
    assert desk.position(A)[:3] == (-4, -44_000, 4_400)
    assert desk.cash(A) == 89_950 + 20_000 - 4_400 - 77


def test_cross_partial_close_moves_profit_to_cash():
    desk = Desk(fees={"maker_ppm": 0, "taker_ppm": 0})
    desk.fund(A=100_000, B=100_000)
    desk.seed(A, B, 100, 3)
    desk.seed(B, A, 110, 1)
    assert desk.position(A)[:2] == (2, 20_000)
    assert (desk.cash(A), desk.cash(B)) == (101_000, 99_000)
    assert desk.market()["open_interest"] == 2


def test_maker_rebate_is_paid_by_fees():
    desk = Desk(fees={"maker_ppm": -150, "taker_ppm": 500})
    desk.fund(A=100_000, B=100_000)
    desk.send(codes.MARK, price=101)
    desk.new(B, 1, codes.ASK, 101, 1)
    fills = of_kind(desk.new(A, 2, codes.BID, 101, 1), codes.FILL)
    assert [(fill["account"], fill["money"], fill["flags"]) for fill in fills] == [
        (B, -1, codes.MAKER | codes.SELL), (A, 6, 0)]
    assert desk.cash(codes.FEES) == 5


# --- orders ------------------------------------------------------------------------------------------------


def order_desk() -> Desk:
    desk = Desk()
    desk.fund(A=1_000_000, B=1_000_000, C=1_000_000)
    desk.send(codes.MARK, price=100)
    return desk


def test_price_then_time_priority_and_taker_remainder_rests():
    desk = order_desk()
    desk.new(A, 1, codes.ASK, 101, 5)
    desk.new(B, 2, codes.ASK, 100, 5)
    desk.new(A, 3, codes.ASK, 100, 5)
    outcomes = desk.new(C, 4, codes.BID, 101, 18)
    assert [fill["order_id"] for fill in of_kind(outcomes, codes.FILL)] == [2, 4, 3, 4, 1, 4]
    assert code(outcomes) == "PARTLY_FILLED_RESTING"
    assert desk.venue.state()["books"] == {(0, codes.BID): [(101, [(4, C, 3)])]}


def test_shrinking_keeps_priority_and_growing_loses_it():
    desk = order_desk()
    for order_id in (1, 2, 3):
        desk.new(A, order_id, codes.BID, 99, 5)
    desk.send(codes.AMEND, order_id=1, account=A, qty=6)
    desk.send(codes.AMEND, order_id=2, account=A, qty=4)
    assert desk.venue.state()["books"][0, codes.BID] == [(99, [(2, A, 4), (3, A, 5), (1, A, 6)])]


def test_refused_amend_leaves_the_order_where_it_stood():
    desk = order_desk()
    desk.new(A, 1, codes.BID, 99, 5, flags=codes.POST_ONLY)
    desk.new(A, 2, codes.BID, 99, 5)
    desk.new(B, 3, codes.ASK, 100, 5)
    assert code(desk.send(codes.AMEND, order_id=1, account=A, qty=7, price=100)) == "POST_ONLY_WOULD_TAKE"
    assert desk.venue.state()["books"][0, codes.BID] == [(99, [(1, A, 5), (2, A, 5)])]


def test_amend_below_what_is_done_cancels():
    desk = order_desk()
    desk.new(A, 1, codes.BID, 99, 5)
    desk.new(B, 2, codes.ASK, 99, 3)
    outcome = desk.send(codes.AMEND, order_id=1, account=A, qty=3)[-1]
    assert (outcome["code"], outcome["lots"], outcome["price"]) == (codes.CANCELLED_BY_USER, 2, 99)


def test_fok_fills_in_full_or_not_at_all():
    desk = order_desk()
    desk.level(codes.ASK, 100, 4)
    assert code(desk.new(A, 1, codes.BID, 100, 5, time_in_force=codes.FOK)) == "FOK_UNFILLABLE"
    assert code(desk.new(A, 1, codes.BID, 100, 4, time_in_force=codes.FOK)) == "FILLED"


def test_market_order_stops_at_the_band():
    desk = order_desk()
    desk.level(codes.ASK, 105, 4)
    desk.level(codes.ASK, 106, 4)
    result = desk.new(A, 1, codes.BID, 0, 6, flags=codes.MARKET)[-1]
    assert (result["code"], result["price"], result["lots"]) == (codes.EXPIRED, 105, 2)


def test_cut_of_a_reduce_only_order_is_not_a_fill():
    desk = order_desk()
    desk.seed(A, B, 100, 4)
    desk.new(A, 1, codes.ASK, 101, 4, flags=codes.REDUCE_ONLY)
    desk.seed(B, A, 100, 2)
    desk.new(C, 2, codes.BID, 101, 1)
    # 4 became 2, one is filled: a new total of 2 changes nothing
    assert desk.send(codes.AMEND, order_id=1, account=A, qty=2)[-1]["code"] == codes.RESTING
    assert desk.venue.state()["books"][0, codes.ASK] == [(101, [(1, A, 1)])]


def test_admission_counts_open_loss_and_fee():
    desk = Desk()
    desk.fund(A=2_065, B=1_000_000)
    desk.send(codes.MARK, price=100)
    # 10 bid @ 101: margin 1 010 at 100x, open loss 1 000, fee reserve ceil(50.5)
    desk.send(codes.WITHDRAW, account=A, qty=5)
    assert code(desk.new(A, 1, codes.BID, 101, 10)) == "INSUFFICIENT_MARGIN"
    desk.fund(A=1)
    assert code(desk.new(A, 1, codes.BID, 101, 10)) == "RESTING"


# --- recorded market ------------------------------------------------------------------------------------------


def test_prints_meet_external_size_ahead_first():
    desk = order_desk()
    desk.level(codes.ASK, 100, 10)
    desk.new(A, 1, codes.ASK, 100, 5)
    assert desk.send(codes.TRADE_PRINT, side=codes.BID, price=100, qty=8) == []
    assert desk.external(codes.ASK, 100) == (10, 10, 0, 8, 0)
    fills = desk.send(codes.TRADE_PRINT, side=codes.BID, price=100, qty=4)
    assert [(fill["account"], fill["counterparty"], fill["lots"]) for fill in fills] == [(A, codes.EXTERNAL, 2)]
    assert desk.external(codes.ASK, 100) == (10, 10, 0, 10, 0)
    assert desk.send(codes.TRADE_PRINT, side=codes.BID, price=200, qty=4, flags=codes.EVIDENCE) == []
    assert desk.market()["last"] == 100


def test_displaced_size_decays_back():
    desk = Desk(depth={"refill": "decay", "half_life_ns": 8 * SECOND})
    desk.fund(A=1_000_000)
    desk.send(codes.MARK, price=100)
    desk.level(codes.ASK, 100, 10)
    desk.new(A, 1, codes.BID, 100, 8)
    assert desk.external(codes.ASK, 100) == (10, 10, 8, 0, 0)
    desk.drain(2 * SECOND + 1)
    assert desk.external(codes.ASK, 100) == (10, 10, 7, 0, 0)  # 8 * 0.917004 = 7.3
    assert desk.venue.state()["books"][0, codes.ASK] == [(100, [(0, codes.EXTERNAL, 3)])]


def test_uncross_fills_simulated_orders_at_their_own_price():
    desk = order_desk()
    desk.new(A, 1, codes.BID, 101, 3)
    outcomes = desk.level(codes.ASK, 99, 5)
    assert [(fill["price"], fill["lots"], fill["flags"]) for fill in outcomes] == [(101, 3, codes.MAKER)]
    assert desk.external(codes.ASK, 99) == (5, 5, 3, 0, 0)
    assert desk.market()["last"] == 0


def test_uncross_drops_the_side_opposite_to_the_event():
    desk = order_desk()
    desk.level(codes.BID, 100, 5)
    desk.level(codes.ASK, 99, 5)
    assert list(desk.venue.state()["externals"]) == [(0, codes.ASK, 99)]
    assert desk.market()["crossed_levels"] == 1


def test_shift_moves_levels_and_scales_depth():
    desk = order_desk()
    desk.level(codes.BID, 99, 5)
    desk.level(codes.BID, 10, 5)
    desk.send(codes.SHIFT, price=-20, qty=500_000, flags=codes.SHIFT_BOOK)
    assert desk.venue.state()["externals"] == {(0, codes.BID, 79): (5, 2, 0, 0, 0)}


def test_marks_and_indices_stay_within_the_ladder():
    desk = order_desk()
    assert code(desk.send(codes.MARK, price=4_001)) == code(desk.send(codes.INDEX, price=4_001)) == "BAD_PRICE"
    desk.send(codes.SHIFT, price=10, flags=codes.SHIFT_INDEX)
    assert desk.send(codes.MARK, price=4_000)[-1]["price"] == 4_000
    desk.send(codes.INDEX, price=4_000)
    assert (desk.market()["recorded_index"], desk.market()["index"]) == (4_000, 4_000)
    assert code(desk.send(codes.SHIFT, price=-4_001, flags=codes.SHIFT_INDEX)) == "BAD_PRICE"


def test_computed_mark_is_a_median():
    desk = Desk(mark={"source": "computed", "period_ns": 0, "samples": 2})
    desk.level(codes.BID, 1_010, 1)
    desk.level(codes.ASK, 1_014, 1)
    desk.send(codes.TRADE_PRINT, side=codes.BID, price=1_030, qty=1)
    outcome = desk.send(codes.INDEX, price=1_000)[-1]
    # by funding 1 000, by basis 1 000 + 12, by last 1 030
    assert (outcome["price"], outcome["money"]) == (1_012, 1_000)


def test_funding_basis_shrinks_with_the_time_left():
    desk = Desk(mark={"source": "computed", "period_ns": 0}, funding={"interval_ns": 10 * SECOND})
    desk.send(codes.FUNDING_RATE, price=20_000_000, qty=6 * SECOND)
    assert desk.send(codes.INDEX, price=1_000)[-1]["price"] == 1_010  # 5 of 10 seconds are left: 1 %


def test_index_of_constituents_drops_one_outlier():
    sources = [{"name": "a", "weight_ppm": 500_000}, {"name": "b", "weight_ppm": 300_000},
               {"name": "c", "weight_ppm": 200_000}]
    instrument = config.to_table(make_venue(0))["instruments"][0] | {"constituents": sources, "symbol": "P0",
                                                                   "price_min": "1", "mark_per_tick": 1}
    desk = Desk(index={"rule": "weighted", "outlier_ppm": 50_000}, instruments=[instrument])
    for source, price in ((1, 1_000), (2, 1_010), (3, 2_000)):
        desk.send(codes.INDEX, order_id=source, price=price)
    assert desk.market()["index"] == (1_000 * 500_000 + 1_010 * 300_000) // 800_000


def test_funding_residue_stays_in_its_account():
    desk = Desk()
    desk.fund(A=100_000, B=100_000, C=100_000)
    desk.send(codes.MARK, price=100)
    desk.seed(A, B, 100, 1)
    desk.seed(A, C, 100, 2)
    outcomes = desk.send(codes.FUNDING_SETTLE, price=33_333)
    assert [(o["account"], o["lots"], o["money"]) for o in outcomes] == [(A, 3, -1), (B, -1, 0), (C, -2, 0)]
    assert desk.cash(codes.RESIDUE) == 1


# --- liquidation -------------------------------------------------------------------------------------------------


def breached_desk(fund: int, **sections: Any) -> Desk:
    """A is long 10 @ 100 against B with 5 950 of cash: at a mark of 95 its health is exactly 0."""
    desk = Desk(fees={"maker_ppm": 0, "taker_ppm": 500, "liquidation_ppm": 10_000}, **sections)
    desk.fund(A=5_950, B=1_000_000)
    if fund:
        desk.fund(fund=fund)
    desk.send(codes.MARK, price=100)
    desk.seed(A, B, 100, 10)
    return desk


def test_zero_health_is_not_a_breach():
    desk = breached_desk(0)
    desk.send(codes.MARK, price=95)
    assert desk.venue.state()["timers"] == []
    desk.send(codes.MARK, price=94)
    assert desk.venue.state()["timers"] == [(SECOND, codes.PRIORITY_LIQUIDATE, A, 0, codes.LIQUIDATE)]


def test_liquidation_goes_through_the_book_then_to_the_fund():
    desk = breached_desk(1_000)
    desk.level(codes.BID, 95, 4)
    desk.level(codes.BID, 96, 3)
    desk.send(codes.MARK, price=94)
    outcomes = desk.settle()
    assert kinds(outcomes) == ["LIQUIDATION_START", "LIQUIDATION_ORDER", "FILL", "LIQUIDATION_FEE", "FILL", "TAKEOVER",
                               "LIQUIDATION_END"]
    start, order, first, fee, second, takeover, end = outcomes
    assert (start["money"], start["instrument"], order["price"], order["lots"]) == (-50, -1, 95, 10)
    # surplus 300 on three lots: fee ceil(14.4), the rest of it below 1 % of 28 800
    assert (first["price"], first["lots"], first["money"], fee["money"]) == (96, 3, 15, 285)
    assert (second["price"], second["lots"], second["money"]) == (95, 4, 0)
    assert (takeover["lots"], takeover["money"], end["code"], end["money"]) == (3, 1_285, codes.CLOSED, 950)
    assert desk.cash(A) == 950
    assert desk.position(codes.INSURANCE)[:2] == (3, 28_500)
    assert desk.market()["last"] == 95


def test_shadow_liquidation_leaves_the_book_alone():
    desk = breached_desk(1_000, liquidation={"mode": "shadow"})
    desk.level(codes.BID, 96, 30)
    desk.new(B, 1, codes.BID, 97, 5)
    before = desk.venue.state()
    desk.send(codes.MARK, price=94)
    fills = of_kind(desk.settle(), codes.FILL)
    assert [(f["price"], f["lots"], f["flags"]) for f in fills] == [
        (96, 10, codes.FORCED | codes.SHADOW | codes.SELL)]
    after = desk.venue.state()
    assert (after["books"], after["externals"]) == (before["books"], before["externals"])
    assert desk.market()["last"] == 0


def test_empty_fund_deleverages_the_other_side():
    desk = breached_desk(0)
    desk.send(codes.MARK, price=94)
    outcomes = of_kind(desk.settle(), codes.ADL)
    assert [(o["account"], o["counterparty"], o["lots"], o["price"]) for o in outcomes] == [
        (A, B, -10, 95), (B, A, 10, 95)]
    assert (desk.cash(A), desk.cash(B)) == (950, 1_005_000)
    assert desk.market()["open_interest"] == 0


def test_adl_takes_the_highest_score_first():
    desk = Desk(fees={"maker_ppm": 0, "taker_ppm": 0})
    desk.fund(A=11_950, B=1_000_000, C=50_000)
    desk.send(codes.MARK, price=100)
    desk.seed(A, B, 100, 10)
    desk.seed(A, C, 100, 10)
    desk.send(codes.MARK, price=94)
    closed = [o["account"] for o in of_kind(desk.settle(), codes.ADL) if o["lots"] > 0]
    assert closed == [C, B]  # equal returns, C has the higher leverage


def test_without_counterparties_the_fund_takes_the_rest_at_a_deficit():
    desk = Desk(fees={"maker_ppm": 0, "taker_ppm": 0})
    desk.fund(A=5_950)
    desk.send(codes.MARK, price=100)
    desk.level(codes.ASK, 100, 10)
    desk.new(A, 1, codes.BID, 100, 10)
    desk.send(codes.BOOK_CLEAR)
    desk.send(codes.MARK, price=80)
    outcomes = desk.settle()
    deficits = of_kind(outcomes, codes.DEFICIT)
    # 10 lots taken at 95 while the mark is 80; then the fund's own liquidation finds nobody either
    assert [(d["account"], d["money"]) for d in deficits] == [(codes.INSURANCE, -15_000)] * 2
    assert desk.position(codes.INSURANCE)[:2] == (10, 95_000)
    assert desk.venue.state()["timers"] == []


def test_fund_pays_for_a_flat_unit_below_zero():
    desk = isolated_desk()
    desk.new(B, 3, codes.BID, 80, 10)
    desk.new(A, 4, codes.ASK, 80, 10)
    outcomes = desk.settle()
    assert kinds(outcomes) == ["LIQUIDATION_START", "DEFICIT", "LIQUIDATION_END"]
    assert (outcomes[1]["account"], outcomes[1]["money"]) == (A, -10_040)  # 10 000 - 20 000 - fee 40
    assert outcomes[2]["code"] == codes.CLOSED
    assert (desk.position(A)[2], desk.cash(A), desk.cash(codes.INSURANCE)) == (0, 89_950, -10_040)


def test_recovery_before_the_order_ends_the_liquidation():
    desk = breached_desk(0, liquidation={"order_delay_ns": SECOND})
    desk.send(codes.MARK, price=94)
    desk.settle()
    desk.send(codes.MARK, price=96)
    assert desk.new(A, 1, codes.BID, 96, 1)[-1]["code"] == codes.IN_LIQUIDATION
    ended = desk.drain(10 * SECOND)
    assert [(o["kind"], o["code"]) for o in ended] == [(codes.LIQUIDATION_END, codes.RECOVERED)]


def test_detection_delay_lets_a_unit_recover_unseen():
    desk = breached_desk(0, liquidation={"detection_delay_ns": SECOND})
    desk.send(codes.MARK, price=94)
    desk.send(codes.MARK, price=96)
    assert desk.drain(10 * SECOND) == []


def test_orders_of_the_unit_are_removed_oldest_first():
    desk = breached_desk(0)
    desk.new(A, 7, codes.ASK, 110, 1)
    desk.new(A, 5, codes.ASK, 120, 2)
    desk.send(codes.MARK, price=94)
    removed = of_kind(desk.settle(), codes.CANCELLED)
    assert [(o["order_id"], o["code"], o["flags"]) for o in removed] == [
        (order_id, codes.CANCELLED_BY_LIQUIDATION, codes.SELL) for order_id in (7, 5)]


def test_cause_of_a_start_is_the_detecting_event():
    desk = breached_desk(0)
    desk.send(codes.MARK, price=94)
    start, order = desk.settle()[:2]
    assert (start["cause_seq"], order["cause_seq"]) == (desk.seq, desk.seq + 2)


# --- timers ----------------------------------------------------------------------------------------------------------


def test_timers_of_one_time_fire_by_priority_then_account_then_unit():
    desk = Desk(mark={"source": "computed", "period_ns": SECOND},
                depth={"refill": "decay", "half_life_ns": 8 * SECOND},
                liquidation={"detection_delay_ns": SECOND}, count=2)
    desk.fund(A=1_000, B=1_000, C=10_000_000)
    desk.send(codes.INDEX, price=100)
    desk.send(codes.INDEX, price=100, instrument=1)
    desk.level(codes.BID, 50, 1)
    desk.new(C, 1, codes.ASK, 50, 1)
    desk.send(codes.SET_MARGIN_MODE, account=A, instrument=1, qty=codes.ISOLATED)
    desk.seed(B, C, 120, 1)
    desk.seed(A, C, 120, 1, instrument=1)
    desk.seed(A, C, 120, 1)
    two = 2 * SECOND
    assert desk.venue.state()["timers"] == [
        (two, codes.PRIORITY_MARK, 0, 0, codes.MARK_TICK), (two, codes.PRIORITY_MARK, 0, 1, codes.MARK_TICK),
        (two, codes.PRIORITY_REFILL, 0, 0, codes.REFILL_TICK),
        (two, codes.PRIORITY_LIQUIDATE, A, 0, codes.LIQUIDATE),
        (two, codes.PRIORITY_LIQUIDATE, A, 1_001, codes.LIQUIDATE),
        (two, codes.PRIORITY_LIQUIDATE, B, 0, codes.LIQUIDATE)]
    starts = of_kind(desk.drain(two + 1), codes.LIQUIDATION_START)
    assert [(o["account"], o["instrument"]) for o in starts] == [(A, -1), (A, 1), (B, -1)]


def test_a_timer_waits_for_all_events_of_its_time():
    desk = breached_desk(0)
    desk.send(codes.MARK, price=94)
    assert desk.send(codes.MARK, price=96)[-1]["kind"] == codes.MARK_PRICE
    assert desk.settle() == []


def test_an_event_before_the_clock_is_refused():
    desk = order_desk()
    assert code(desk.send(codes.MARK, price=50, ts_ns=SECOND - 1)) == "OUT_OF_ORDER"
    assert desk.market()["mark"] == 100


# --- random campaigns ------------------------------------------------------------------------------------------


def check_laws(state: dict[str, Any], asset_of: list[int]) -> None:
    """Money of each asset is conserved, positions of an instrument sum to zero, open interest is what is held long."""
    money = collections.Counter({asset: 0 for asset in state["totals"]})
    for (_, asset), (cash, *_) in state["wallets"].items():
        money[asset] += cash
    for (_, instrument), row in state["positions"].items():
        money[asset_of[instrument]] += row[2] - row[1]
    assert money == {asset: deposits - withdrawals for asset, (deposits, withdrawals) in state["totals"].items()}
    for instrument, market in state["markets"].items():
        lots = [row[0] for (_, k), row in state["positions"].items() if k == instrument]
        assert sum(lots) == 0
        assert market[13] == sum(held for held in lots if held > 0)
    for (_, side), levels in state["books"].items():
        prices = [ticks for ticks, _ in levels]
        assert prices == sorted(prices, reverse=side == codes.BID)
        assert all(leaves > 0 for _, queue in levels for _, _, leaves in queue)
    assert all(0 <= displaced <= lots for _, lots, displaced, _, _ in state["externals"].values())


@pytest.mark.parametrize("seed", range(100, 106))
def test_laws_hold_after_every_event(seed: int):
    venue = make_venue(seed)
    reference = ReferenceVenue(venue)
    for event in make_events(venue, seed, 500):
        reference.process([event])
        check_laws(reference.state(), [contract.asset for contract in reference.world.contracts])
    seqs = [outcome[1] for outcome in reference.outcomes()]
    assert seqs == list(range(1, len(seqs) + 1))


def test_same_seed_same_stream():
    venue = make_venue(103)
    events = make_events(venue, 103, 300)
    assert make_venue(103) == venue
    assert events.tobytes() == make_events(make_venue(103), 103, 300).tobytes()
    numbers = range(1, 301)  # rows of terms have none
    assert all(seq in (0, number) for seq, number in zip(events["seq"].tolist(), numbers, strict=True))
