"""Listing, expiry and settlement, rule by rule, on both venues. DESIGN §3.13; SET-1."""

import pytest

from exchange import codes, config
from exchange.codes import ASK, BID
from exchange.errors import ConfigError
from exchange.venue import Exchange
from tests.desk import FIRST, INVERSE, NEVER_NS, SECOND, UNIT, Desk, venue_table
from tests.standin import StandIn

A, B, C, D = range(FIRST, FIRST + 4)
EXPIRY = 100 * SECOND
MONEY = 1_000_000


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def made(request):
    return request.param


def desk(made, life=None, count=1, instrument=None, **sections):
    table = {"life": life or {}, **(instrument or {})}
    opened = Desk(count, table, made, **sections)
    opened.fund(A, B, C, D, money=MONEY)
    opened.fund(codes.INSURANCE, money=MONEY)
    for k in range(count):
        opened.mark(1_000, k)
    return opened


def rows_of(rows, *kinds):
    return [row for row in rows if row["kind"] in kinds]


def settled(rows):
    """(account, lots, money) of each position closed."""
    return [(row["account"], row["lots"], row["money"]) for row in rows_of(rows, codes.SETTLEMENT)]


def until(opened, ts_ns):
    opened.exchange.run(ts_ns + 1)
    opened.clock = ts_ns + 1
    return opened.drain()


def test_at_its_expiry_every_position_is_closed_at_the_average_index(made):
    opened = desk(made, {"expiry_ns": EXPIRY, "window_ns": 30 * SECOND, "samples": 3, "fee_ppm": 1_000})
    opened.seed(A, B, 1_000, 10)
    opened.send(codes.INDEX, price=10_500, ts_ns=60 * SECOND)  # sampled at 80, 90 and 100 s
    opened.send(codes.INDEX, price=10_600, ts_ns=85 * SECOND)
    opened.send(codes.INDEX, price=10_701, ts_ns=EXPIRY)  # of the very time of the last sample, and before it
    rows = until(opened, EXPIRY)
    assert rows[0]["kind"] == codes.STATE_CHANGE and rows[0]["code"] == codes.STATE_SETTLED
    assert (rows[1]["kind"], rows[1]["price"], rows[1]["money"]) == (codes.SETTLEMENT_PRICE, 10_600, 3)
    gain, fee = 10 * 60 * UNIT, 10 * 1_060 * UNIT // 1_000
    assert settled(rows) == [(A, 10, gain - fee), (B, -10, -gain - fee)]
    assert opened.exchange.equity(A) == MONEY + gain - fee and opened.exchange.markets[0]["open_interest_lots"] == 0
    assert {row["ts_ns"] for row in rows} == {EXPIRY}
    opened.exchange.audit()


def test_without_an_index_the_mark_settles_and_with_nothing_positions_wait_for_a_price(made):
    opened = desk(made, {"expiry_ns": EXPIRY})
    opened.seed(A, B, 990, 4)
    assert settled(until(opened, EXPIRY)) == [(A, 4, 40 * UNIT), (B, -4, -40 * UNIT)]
    blind = Desk(1, {"life": {"expiry_ns": EXPIRY}}, made)
    blind.fund(A, B)
    blind.seed(A, B, 990, 4)
    rows = until(blind, EXPIRY)
    assert [row["kind"] for row in rows] == [codes.STATE_CHANGE]
    assert blind.code(codes.SETTLE) == codes.NO_MARK and blind.seed(A, B, 990, 4) == codes.SETTLED
    assert blind.send(codes.FUNDING_SETTLE, price=1_000) == []
    rows = blind.send(codes.SETTLE, price=9_950)
    assert [row["kind"] for row in rows] == [codes.SETTLEMENT_PRICE, codes.RESULT, codes.SETTLEMENT, codes.SETTLEMENT]
    assert settled(rows) == [(A, 4, 20 * UNIT), (B, -4, -20 * UNIT)]
    assert blind.code(codes.SETTLE, price=9_950) == codes.SETTLED
    blind.exchange.audit()


def test_a_settlement_cancels_every_order_and_nothing_enters_any_more(made):
    opened = desk(made, count=2)
    opened.seed(A, B, 1_000, 10)
    assert opened.new(A, 1, BID, 900, 5) == codes.RESTING
    assert opened.new(A, 2, ASK, 1_100, 5, flags=codes.REDUCE_ONLY) == codes.RESTING
    assert opened.new(B, 3, ASK, 1_200, 5, trigger=codes.TRIGGER_MARK, trigger_ticks=950) == codes.PARKED_ORDER
    assert opened.new(A, 4, BID, 900, 5, instrument=1) == codes.RESTING
    rows = opened.send(codes.SETTLE, price=10_100)
    cancelled = [(row["account"], row["order_id"], row["lots"]) for row in rows_of(rows, codes.CANCELLED)]
    assert cancelled == [(A, 1, 5), (A, 2, 5), (B, 3, 5)]
    assert {row["code"] for row in rows_of(rows, codes.CANCELLED)} == {codes.CANCELLED_BY_SETTLEMENT}
    assert [row["kind"] for row in rows[:3]] == [codes.STATE_CHANGE, codes.SETTLEMENT_PRICE, codes.RESULT]
    assert opened.new(A, 5, BID, 900, 5) == opened.seed(A, B, 1_000, 1) == codes.SETTLED
    assert opened.new(A, 5, BID, 900, 5, trigger=codes.TRIGGER_MARK, trigger_ticks=1_200) == codes.SETTLED
    for kind in (codes.HALT, codes.RESUME, codes.SET_STATE, codes.AUCTION_START, codes.SETTLE):
        assert opened.code(kind) == codes.SETTLED
    assert opened.new(A, 5, BID, 900, 5, instrument=1) == codes.RESTING
    opened.exchange.audit()


def test_settle_checks_what_it_is_told(made):
    opened = desk(made)
    assert opened.code(codes.SETTLE, instrument=3) == codes.BAD_INSTRUMENT
    assert opened.code(codes.SETTLE, price=40_001) == opened.code(codes.SETTLE, price=-1) == codes.BAD_PRICE
    assert opened.code(codes.SETTLE) == codes.OK


def test_a_settlement_by_hand_takes_the_samples_so_far_and_the_timer_goes(made):
    opened = desk(made, {"expiry_ns": EXPIRY, "window_ns": 30 * SECOND, "samples": 3})
    opened.seed(A, B, 1_000, 1)
    opened.send(codes.INDEX, price=10_500, ts_ns=60 * SECOND)
    opened.send(codes.INDEX, price=10_900, ts_ns=81 * SECOND)
    rows = opened.send(codes.SETTLE)
    assert [(row["price"], row["money"]) for row in rows_of(rows, codes.SETTLEMENT_PRICE)] == [(10_500, 1)]
    assert until(opened, EXPIRY) == []
    opened.exchange.audit()


def test_before_its_listing_nothing_is_taken_and_then_it_trades_or_opens_with_an_auction(made):
    for opening in (False, True):
        opened = desk(made, {"listed_ns": 50 * SECOND}, auction={"opening": opening})
        assert opened.new(A, 1, BID, 900, 5) == opened.seed(A, B, 1_000, 1) == codes.NOT_LISTED
        assert opened.code(codes.RESUME) == opened.code(codes.AUCTION_START) == codes.NOT_LISTED
        assert opened.level(ASK, 1_005, 10) == codes.OK
        rows = until(opened, 50 * SECOND)
        state = codes.STATE_AUCTION if opening else codes.STATE_CONTINUOUS
        assert [(row["kind"], row["code"], row["ts_ns"]) for row in rows] == [
            (codes.STATE_CHANGE, state, 50 * SECOND)]
        assert opened.new(A, 1, BID, 900, 5) == codes.RESTING
        opened.exchange.audit()


def test_what_an_inverse_settlement_rounds_goes_to_residue_by_name(made):
    opened = desk(made, instrument=INVERSE)
    opened.seed(A, B, 1_000, 5)
    opened.seed(C, B, 1_000, 7)
    opened.seed(D, B, 1_000, 11)
    before = opened.exchange.equity(codes.RESIDUE)
    rows = opened.send(codes.SETTLE, price=10_007)
    assert [lots for _, lots, _ in settled(rows)] == [5, -23, 7, 11]
    moved = sum(money for _, _, money in settled(rows))
    assert moved != 0 and opened.exchange.equity(codes.RESIDUE) == before - moved
    opened.exchange.audit()


def test_recorded_size_is_settled_with_all_others(made):
    opened = desk(made)
    opened.level(ASK, 1_000, 10)
    assert opened.new(A, 1, BID, 1_000, 4) == codes.FILLED
    rows = opened.send(codes.SETTLE, price=10_200)
    assert settled(rows) == [(codes.EXTERNAL, -4, -80 * UNIT), (A, 4, 80 * UNIT)]
    opened.exchange.audit()


def test_an_isolated_position_is_released_and_a_loss_beyond_its_margin_is_paid_by_the_fund(made):
    opened = desk(made)
    opened.code(codes.SET_MARGIN_MODE, account=A, qty=codes.ISOLATED)
    opened.code(codes.SET_LEVERAGE, account=A, qty=1_000)
    opened.seed(A, B, 1_000, 10)
    rows = opened.send(codes.SETTLE, price=8_000)  # 100 a lot of margin, 200 a lot lost
    assert settled(rows) == [(A, 10, -2_000 * UNIT), (B, -10, 2_000 * UNIT)]
    rows = opened.settle()
    short = [(row["account"], row["money"]) for row in rows_of(rows, codes.DEFICIT)]
    assert short == [(A, -1_000 * UNIT)]
    assert rows_of(rows, codes.LIQUIDATION_END)[0]["code"] == codes.CLOSED
    assert opened.exchange.equity(A) == MONEY - 1_000 * UNIT
    opened.exchange.audit()


def liquidated(made, market_state):
    """A holds two legs, is far under water, and its liquidation is at the first."""
    opened = desk(made, count=2, liquidation={"order_delay_ns": SECOND})
    opened.fund(B, money=100 * MONEY)
    opened.seed(A, B, 1_000, 300)
    opened.seed(A, B, 1_000, 10, instrument=1)
    if market_state:
        opened.code(codes.SET_STATE, qty=market_state)
    opened.mark(970)
    opened.settle()
    opened.clock += SECOND
    opened.settle()
    return opened


def test_a_leg_that_waits_for_its_market_is_settled_and_its_unit_goes_on(made):
    opened = liquidated(made, codes.STATE_HALTED)
    rows = opened.send(codes.SETTLE, price=9_660)
    assert (A, 300, -300 * 34 * UNIT) in settled(rows)
    assert all(row["liquidation_id"] == (1 if row["account"] == A else 0) for row in rows_of(rows, codes.SETTLEMENT))
    rows = opened.settle()
    assert [row["kind"] for row in rows_of(rows, codes.LIQUIDATION_ORDER, codes.LIQUIDATION_END)] in (
        [codes.LIQUIDATION_ORDER], [codes.LIQUIDATION_END])
    opened.exchange.audit()


def test_a_leg_settled_before_its_takeover_sends_the_unit_to_the_book_with_the_next(made):
    opened = liquidated(made, 0)  # no bids: what is not filled is taken over a second later
    rows = opened.send(codes.SETTLE, price=9_000)
    assert (A, 300, -300 * 100 * UNIT) in settled(rows)
    opened.clock += SECOND
    rows = opened.settle()
    assert [(row["kind"], row["instrument"]) for row in rows] == [(codes.LIQUIDATION_ORDER, 1)]
    opened.clock += 10 * SECOND
    opened.settle()
    opened.exchange.audit()


def test_an_auction_that_meets_the_end_of_its_instrument_trades_nothing(made):
    opened = desk(made, {"expiry_ns": EXPIRY})
    opened.code(codes.AUCTION_START, qty=200 * SECOND)
    assert opened.new(A, 1, BID, 1_010, 5) == opened.new(B, 2, ASK, 990, 5) == codes.RESTING
    assert opened.new(C, 3, BID, 0, 5, flags=codes.MARKET) == codes.RESTING
    rows = until(opened, EXPIRY)
    assert not rows_of(rows, codes.FILL, codes.AUCTION)
    assert [row["order_id"] for row in rows_of(rows, codes.CANCELLED)] == [1, 2, 3]
    assert until(opened, 300 * SECOND) == []
    opened.exchange.audit()


def test_a_settlement_of_many_accounts_goes_on_in_continuations_and_stays_balanced():
    accounts, pairs = 2_600, 1_300
    opened = Desk(1, {**INVERSE, "position_max": "10", "open_interest_max": "100000"},
                  capacity={"accounts": accounts, "positions": accounts + 8})
    opened.mark(1_000)
    for k in range(pairs):
        opened.fund(FIRST + k, FIRST + pairs + k, money=10**6)
        opened.seed(FIRST + k, FIRST + pairs + k, 1_000 + k % 7, 1 + k % 5)
    opened.new(FIRST + accounts - 1, 1, BID, 900, 1)
    rows = opened.send(codes.SETTLE, price=10_013)
    assert len(settled(rows)) == accounts and len(rows_of(rows, codes.CANCELLED)) == 1
    assert len({row["cause_seq"] for row in rows}) == 1
    opened.exchange.audit()


@pytest.mark.parametrize("life, where", [
    ({"expiry_ns": EXPIRY, "window_ns": 10, "samples": 3}, "window_ns"),
    ({"expiry_ns": EXPIRY, "samples": 3}, "window_ns"),
    ({"window_ns": 10}, "expiry_ns"),
    ({"listed_ns": EXPIRY, "expiry_ns": EXPIRY + 5, "window_ns": 20, "samples": 2}, "expiry_ns")])
def test_dates_that_cannot_be_are_refused(life, where):
    with pytest.raises(ConfigError, match=where):
        config.build_venue(venue_table(1, {"life": life}))


def test_settlement_waits_for_what_is_due_at_the_same_time(made):
    """A stop and a liquidation due at the expiry come first."""
    opened = desk(made, {"expiry_ns": EXPIRY}, liquidation={"detection_delay_ns": NEVER_NS})
    opened.level(BID, 990, 50)
    opened.seed(A, B, 1_000, 10)
    opened.new(A, 1, ASK, 980, 10, trigger=codes.TRIGGER_MARK, trigger_ticks=995)
    opened.send(codes.MARK, price=9_940, ts_ns=EXPIRY)
    rows = until(opened, EXPIRY)
    assert [row["kind"] for row in rows_of(rows, codes.FILL, codes.TRIGGERED, codes.SETTLEMENT_PRICE)] == [
        codes.FILL, codes.TRIGGERED, codes.SETTLEMENT_PRICE]
