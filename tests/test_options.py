"""European options, rule by rule, on both venues: marks, margin, liquidation, settlement. DESIGN §3.14."""

import pytest

from exchange import codes, config
from exchange.codes import ASK, BID
from exchange.dump import dump
from exchange.errors import ConfigError
from exchange.venue import Exchange
from tests.desk import FIRST, INSTRUMENT, SECOND, UNIT, Desk, venue_table
from tests.standin import StandIn

A, B, C = range(FIRST, FIRST + 3)
MONEY = 10_000_000
YEAR = 365 * 86_400 * SECOND
EXPIRY = SECOND + YEAR // 4
TERMS = {"underlying": "P0", "strike": "1100", "right": "call"}
OPTION = {**INSTRUMENT, "symbol": "CALL", "kind": "option", "mark_per_tick": 10, "life": {"expiry_ns": EXPIRY},
          "tiers": [{"floor": "0", "maintenance_ppm": 0, "leverage_max": 1}]}
COIN = {"tick": "0.001", "price_max": "4", "multiplier": "1000"}  # a tick is UNIT quanta here too


@pytest.fixture(params=[Exchange, StandIn], ids=["core", "reference"])
def made(request):
    return request.param


def table_of(option=None, own=None, **sections):
    """One perpetual, P0, and one option on it."""
    table = venue_table(1, **sections)
    table["instruments"].append({**OPTION, **(own or {}), "option": {**TERMS, **(option or {})}})
    return table


class Pit(Desk):
    """A desk whose instrument 1 is an option on instrument 0."""

    def __init__(self, made, option=None, own=None, **sections):
        self.exchange = made(config.build_venue(table_of(option, own, **sections)))
        self.clock = SECOND

    def volatility(self, ppm):
        return self.send(codes.VOLATILITY, instrument=1, price=ppm)

    def refresh(self):
        """The next OPTION_TICK."""
        self.clock += SECOND
        return self.settle()


def pit(made, option=None, own=None, volatility=800_000, **sections):
    opened = Pit(made, option, own, **sections)
    opened.fund(A, B, C, money=MONEY)
    opened.fund(codes.INSURANCE, money=MONEY)
    opened.mark(1_000)
    if volatility:
        opened.volatility(volatility)
    return opened


def mark_of(opened, instrument=1):
    return int(opened.exchange.markets[instrument]["mark_sub"])


def held_by_a_short(opened):
    """(initial, maintenance) of a short lot in sub-ticks, as either venue shows it."""
    shown = opened.exchange
    state = shown.reference.state() if isinstance(shown, StandIn) else dump(shown.state)
    return state["options"][1][1:3]


def free(opened, account):
    """The most that an account may withdraw."""
    low, high = 0, 10**9
    while high - low > 1:
        middle = (low + high) // 2
        if opened.code(codes.WITHDRAW, account=account, qty=middle) == codes.OK:
            opened.fund(account, money=middle)
            low = middle
        else:
            high = middle
    return low


def test_a_rate_discounts_the_mark_to_today(made):
    """At 10 % a year, a quarter before expiry: 121.08 times 0.97531 is 118.09."""
    opened = pit(made, {"rate_ppm": 100_000})
    assert mark_of(opened) == 1_181


def test_volatilities_come_in_the_parts_of_a_ppm_that_the_venue_states(made):
    opened = pit(made, volatility=80_000_000, mark={"source": "recorded", "volatility_per_ppm": 100})
    assert mark_of(opened) == 1_211
    assert opened.code(codes.VOLATILITY, instrument=1, price=10**10 + 1) == codes.BAD_AMOUNT


def test_the_mark_is_black_76_on_the_mark_of_the_underlying_a_quarter_before_expiry(made):
    """A call at 1,100 on 1,000 with a quarter of a year and 80 % to go is worth 121.08 by vollib."""
    opened = pit(made, volatility=0)
    rows = opened.volatility(800_000)
    assert [(row["kind"], row["instrument"], row["price"]) for row in rows] == [(codes.MARK_PRICE, 1, 1_211)]


def test_marks_follow_the_underlying_at_their_own_period_and_at_volatilities_only(made):
    opened = pit(made)
    opened.mark(1_050)
    assert mark_of(opened) == 1_211
    rows = opened.refresh()
    assert [(row["kind"], row["instrument"], row["ts_ns"]) for row in rows] == [(codes.MARK_PRICE, 1, 2 * SECOND)]
    before = mark_of(opened)
    assert before > 1_211 and opened.volatility(900_000)[0]["price"] > before
    opened.exchange.audit()


def test_without_a_forward_there_is_no_mark_and_a_recorded_one_holds_until_a_volatility_is_known(made):
    opened = Pit(made)
    opened.fund(A)
    assert opened.volatility(800_000) == [] and opened.send(codes.MARK, instrument=1, price=900) == []
    assert opened.new(A, 1, BID, 100, 1, instrument=1) == codes.NO_MARK
    opened.mark(1_000)
    assert mark_of(opened) == 0 and opened.refresh()[0]["price"] == 1_211
    recorded = pit(made, volatility=0)
    assert recorded.send(codes.MARK, instrument=1, price=900)[0]["price"] == 900
    recorded.mark(1_050)
    assert recorded.refresh() == [] and mark_of(recorded) == 900
    recorded.exchange.audit()


def test_what_a_volatility_or_an_index_of_an_option_may_not_be(made):
    opened = pit(made)
    for instrument in (0, 2, -1):
        assert opened.code(codes.VOLATILITY, instrument=instrument, price=5) == codes.BAD_INSTRUMENT
    for price in (0, -1, 100_000_001):
        assert opened.code(codes.VOLATILITY, instrument=1, price=price) == codes.BAD_AMOUNT
    assert opened.code(codes.INDEX, instrument=1, price=1_000) == codes.BAD_INSTRUMENT
    assert opened.code(codes.SET_MARGIN_MODE, account=A, instrument=1, qty=codes.ISOLATED) == codes.BAD_FLAGS
    assert opened.code(codes.SET_MARGIN_MODE, account=A, instrument=1, qty=codes.CROSS) == codes.OK


@pytest.mark.parametrize("option, forward, initial, maintenance", [
    ({}, 1_000, 100_0, 75_0),  # 15 % of 1,000 less 100 out of the money is 50: the floor of 10 %
    ({}, 1_090, 153_5, 81_8),  # 15 % of 1,090 less 10, up
    ({}, 1_200, 180_0, 90_0),  # in the money
    ({"right": "put"}, 1_200, 120_0, 90_0),
    ({"right": "put", "strike": "4000"}, 1_000, 225_0, 225_0)])  # worth 3 of its underlying: 7.5 % of that
def test_a_short_holds_a_share_of_the_underlying_less_what_is_out_of_the_money_and_its_mark(
        made, option, forward, initial, maintenance):
    """Equity has paid the mark: what venues state as `share + mark` is the share here."""
    opened = pit(made, option, volatility=1)
    opened.mark(forward)
    opened.refresh()
    ticks = max(1, mark_of(opened) // 10)
    assert opened.seed(A, B, ticks, 10, instrument=1) == codes.OK
    gap = 10 * (mark_of(opened) - 10 * ticks) * UNIT // 10
    assert held_by_a_short(opened) == (initial, maintenance)
    assert opened.exchange.equity(B) == MONEY - gap
    assert MONEY - gap - free(opened, B) == 10 * initial * UNIT // 10
    assert MONEY - free(opened, A) == 10 * ticks * UNIT  # a long is no collateral: what it was bought for is gone
    assert opened.send(codes.WITHDRAW, account=B, qty=free(opened, B))[0]["code"] == codes.OK
    opened.exchange.audit()
    opened.mark(int(forward * 1.9) if not option else int(forward / 2.5))
    assert opened.exchange.liquidating() == []  # nothing moves before the refresh
    started = [row["account"] for row in opened.refresh() if row["kind"] == codes.LIQUIDATION_START]
    assert started == [B]


def test_orders_bids_are_paid_in_full_asks_beyond_a_long_are_short_and_what_closes_passes(made):
    opened = pit(made, volatility=1)  # worthless but for the tick that a mark has at least
    poor = 500 * UNIT
    opened.fund(FIRST + 3, money=poor)
    poor_account = FIRST + 3
    fees = {"instrument": 1}
    assert opened.new(poor_account, 1, BID, 100, 5, **fees) == codes.INSUFFICIENT_MARGIN  # 500, and a fee
    assert opened.new(poor_account, 1, BID, 100, 4, **fees) == codes.RESTING
    assert opened.new(poor_account, 2, ASK, 100, 1, **fees) == codes.INSUFFICIENT_MARGIN  # 100 a short lot
    assert opened.code(codes.CANCEL, account=poor_account, order_id=1) == codes.CANCELLED_BY_USER
    assert opened.new(poor_account, 3, ASK, 1, 5, **fees) == codes.INSUFFICIENT_MARGIN
    assert opened.new(poor_account, 3, ASK, 1, 4, **fees) == codes.RESTING
    opened.seed(poor_account, B, 1, 6, instrument=1)
    assert opened.code(codes.WITHDRAW, account=poor_account, qty=free(opened, poor_account)) == codes.OK
    assert opened.new(poor_account, 4, ASK, 100, 2, **fees) == codes.RESTING  # 4 and 2 close 6
    assert opened.new(poor_account, 5, ASK, 100, 1, **fees) == codes.INSUFFICIENT_MARGIN
    assert opened.new(B, 6, BID, 1, 4, **fees) == codes.FILLED
    opened.exchange.audit()


def test_a_unit_with_a_perpetual_and_an_option_is_checked_at_marks_and_refreshes(made):
    """Short calls and a long perpetual: each loss is seen when its mark moves, neither early nor late."""
    opened = pit(made)
    opened.seed(B, A, 121, 60, instrument=1)
    opened.seed(A, B, 1_000, 60)
    opened.code(codes.WITHDRAW, account=A, qty=free(opened, A))
    opened.exchange.audit()
    opened.mark(985)
    opened.exchange.audit()
    assert opened.exchange.liquidating() == []
    opened.mark(930)
    assert opened.exchange.liquidating() == [A]
    opened.exchange.audit()


def test_a_short_that_is_liquidated_buys_back_at_its_bankruptcy_price(made):
    opened = pit(made)
    opened.seed(B, A, 121, 50, instrument=1)
    opened.code(codes.WITHDRAW, account=A, qty=free(opened, A))
    opened.level(ASK, 210, 50, instrument=1)
    opened.mark(1_140)
    rows = opened.refresh() + opened.settle()
    kinds = [row["kind"] for row in rows if row["kind"] != codes.MARK_PRICE]
    assert kinds[:3] == [codes.LIQUIDATION_START, codes.LIQUIDATION_ORDER, codes.FILL]
    assert kinds[-1] == codes.LIQUIDATION_END
    opened.exchange.audit()


@pytest.mark.parametrize("right, index, paid_sub", [("call", 1_234, 1_340), ("call", 1_100, 0), ("put", 1_000, 1_000),
                                                    ("put", 1_234, 0)])
def test_an_expired_option_pays_what_it_is_in_the_money_by_the_underlying_index(made, right, index, paid_sub):
    opened = pit(made, {"right": right}, mark={"source": "recorded", "option_period_ns": EXPIRY // 4})
    opened.seed(A, B, 100, 7, instrument=1)
    opened.send(codes.INDEX, price=10 * index)
    opened.exchange.run(EXPIRY)
    opened.drain()
    opened.exchange.run(EXPIRY + 1)
    opened.clock = EXPIRY
    rows = opened.drain()
    prices = [(row["instrument"], row["price"], row["money"]) for row in rows if row["kind"] == codes.SETTLEMENT_PRICE]
    assert prices == [(1, paid_sub, 1)]
    gain = 7 * (paid_sub - 1_000) * UNIT // 10
    assert opened.exchange.equity(A) - MONEY == gain == MONEY - opened.exchange.equity(B)
    assert opened.code(codes.VOLATILITY, instrument=1, price=5) == codes.SETTLED
    assert opened.new(A, 1, BID, 900, 1) == codes.RESTING  # the perpetual goes on
    opened.exchange.audit()


def test_a_premium_in_base_is_a_share_of_the_forward_and_so_is_the_payoff(made):
    """Deribit's: the mark is Black-76 over the forward, a short holds shares of one coin, a call pays (S - K) / S."""
    opened = pit(made, {"premium": "base"}, COIN)
    assert mark_of(opened) == 1_211  # 0.12108 of a coin of 10,000 sub-ticks
    opened.seed(A, B, 100, 10, instrument=1)
    gap = 10 * 211 * UNIT // 10
    assert MONEY - gap - free(opened, B) == 10 * 1_000 * UNIT // 10  # the floor: 0.1 of a coin a lot
    opened.send(codes.INDEX, price=12_500)
    opened.send(codes.SETTLE, instrument=1)
    paid = 10_000 * 150 // 1_250
    assert opened.exchange.equity(A) - MONEY == 10 * (paid - 1_000) * UNIT // 10
    opened.exchange.audit()


def test_option_ticks_end_with_the_last_option(made):
    opened = pit(made)
    opened.code(codes.SETTLE, instrument=1)
    opened.refresh()
    opened.mark(1_100)
    assert opened.refresh() == []
    opened.exchange.audit()


@pytest.mark.parametrize("option, own, where", [
    ({"underlying": "P9"}, {}, "underlying"), ({"underlying": "CALL"}, {}, "underlying"),
    ({"strike": "1100.05"}, {}, "strike"), ({"strike": "0"}, {}, "strike"), ({}, {"life": {}}, "expiry_ns"),
    ({}, {"tiers": [{"floor": "0", "maintenance_ppm": 0, "leverage_max": 9},
                    {"floor": "10", "maintenance_ppm": 0, "leverage_max": 9}]}, "tiers"),
    ({"premium": "base"}, {"tick": "0.7", "price_max": "7"}, "premium"), ({}, {"kind": "linear"}, "option")])
def test_options_that_cannot_be_are_refused(option, own, where):
    with pytest.raises(ConfigError) as refused:
        config.build_venue(table_of(option, own))
    assert where in refused.value.where
