"""Limits hold to the last lot, tick and quantum: the exact amount passes, one more is refused, on both venues."""

import pytest

from exchange import codes
from exchange.venue import Exchange
from tests.desk import FIRST, Desk
from tests.standin import StandIn

A, B, C = FIRST, FIRST + 1, FIRST + 2


def bid(price=1_000, qty=10, **fields):
    return codes.NEW, {"account": A, "order_id": 99, "side": codes.BID, "price": price, "qty": qty, **fields}


def ask(price=1_000, qty=10, **fields):
    return bid(price, qty, **{"side": codes.ASK, **fields})


def ten_times(desk, money):
    """A has `money` quanta and trades at leverage 10; B has plenty."""
    desk.fund(A, money=money)
    desk.fund(B, C, money=10**12)
    desk.mark(1_000)
    assert desk.code(codes.SET_LEVERAGE, account=A, qty=1_000) == codes.OK


def rich(desk):
    ten_times(desk, 10**12)


def resting(desk):
    ten_times(desk, 150_000)
    assert desk.new(A, 1, codes.BID, 1_000, 10) == codes.RESTING  # holds 100,000 of initial margin


def isolated(desk):
    ten_times(desk, 300_000)
    assert desk.code(codes.SET_MARGIN_MODE, account=A, qty=codes.ISOLATED) == codes.OK
    assert desk.seed(A, B, 1_000, 10) == codes.OK
    assert desk.code(codes.TRANSFER, account=A, qty=5_000) == codes.OK


def offered(desk):
    rich(desk)
    assert desk.new(B, 1, codes.ASK, 1_000, 7) == codes.RESTING
    assert desk.new(B, 2, codes.ASK, 1_001, 5) == codes.RESTING


def leveraged(desk):
    rich(desk)
    assert desk.code(codes.SET_LEVERAGE, account=A, qty=5_000) == codes.OK  # up to the tier of 60,000


def short(desk):
    rich(desk)
    assert desk.seed(B, A, 1_000, 4) == codes.OK


PASSES = {  # what is set up, the command at the limit, its code; the command beyond it, its code
    "lots of an order": (rich, bid(price=1, qty=50), codes.RESTING, bid(price=1, qty=51), codes.BAD_LOTS),
    "price of an order": (rich, ask(price=4_000), codes.RESTING, ask(price=4_001), codes.BAD_PRICE),
    "lowest price": (rich, bid(price=1), codes.RESTING, bid(price=0), codes.BAD_PRICE),
    "lowest leverage": (rich, (codes.SET_LEVERAGE, {"account": A, "qty": 100}), codes.OK,
                        (codes.SET_LEVERAGE, {"account": A, "qty": 99}), codes.BAD_LEVERAGE),
    "highest leverage": (rich, (codes.SET_LEVERAGE, {"account": A, "qty": 10_000}), codes.OK,
                         (codes.SET_LEVERAGE, {"account": A, "qty": 10_001}), codes.BAD_LEVERAGE),
    "largest deposit": (rich, (codes.DEPOSIT, {"account": C, "qty": 2**52}), codes.OK,
                        (codes.DEPOSIT, {"account": C, "qty": 2**52 + 1}), codes.BAD_AMOUNT),
    "last account": (rich, (codes.DEPOSIT, {"account": FIRST + 63, "qty": 1}), codes.OK,
                     (codes.DEPOSIT, {"account": FIRST + 64, "qty": 1}), codes.BAD_ACCOUNT),
    "withdrawal beside an order": (resting, (codes.WITHDRAW, {"account": A, "qty": 50_000}), codes.OK,
                                   (codes.WITHDRAW, {"account": A, "qty": 50_001}), codes.INSUFFICIENT_BALANCE),
    "transfer out": (isolated, (codes.TRANSFER, {"account": A, "qty": -5_000}), codes.OK,
                     (codes.TRANSFER, {"account": A, "qty": -5_001}), codes.INSUFFICIENT_BALANCE),
    "transfer in": (isolated, (codes.TRANSFER, {"account": A, "qty": 195_000}), codes.OK,
                    (codes.TRANSFER, {"account": A, "qty": 195_001}), codes.INSUFFICIENT_BALANCE),
    "fill or kill": (offered, bid(1_001, 12, time_in_force=codes.FOK), codes.FILLED,
                     bid(1_001, 13, time_in_force=codes.FOK), codes.FOK_UNFILLABLE),
    "fill or kill within its limit": (offered, bid(1_000, 7, time_in_force=codes.FOK), codes.FILLED,
                                      bid(1_000, 8, time_in_force=codes.FOK), codes.FOK_UNFILLABLE),
    "post only": (offered, bid(999, 1, flags=codes.POST_ONLY), codes.RESTING,
                  bid(1_000, 1, flags=codes.POST_ONLY), codes.POST_ONLY_WOULD_TAKE),
    "reduce only": (short, bid(flags=codes.REDUCE_ONLY, qty=1), codes.RESTING,
                    ask(flags=codes.REDUCE_ONLY, qty=1), codes.REDUCE_ONLY_INCREASES),
    "position limit": (short, ask(4_000, 36), codes.RESTING, ask(4_000, 37), codes.POSITION_LIMIT),
    "position limit of the other side": (short, bid(1, 40), codes.RESTING, bid(1, 41), codes.POSITION_LIMIT),
    "open interest": (short, bid(1, 26), codes.RESTING, bid(1, 27), codes.OPEN_INTEREST_CAP),
    "leverage tier": (leveraged, bid(2_000, 30), codes.RESTING, bid(2_000, 31), codes.LEVERAGE_TIER),
    "funding rate": (rich, (codes.FUNDING_SETTLE, {"price": 10**9}), codes.OK,
                     (codes.FUNDING_SETTLE, {"price": 10**9 + 1}), codes.BAD_AMOUNT),
    "fees": (rich, (codes.SET_FEES, {"price": -100_000, "qty": 100_000}), codes.OK,
             (codes.SET_FEES, {"price": -100_001, "qty": 100_000}), codes.BAD_AMOUNT),
}
LIMITS = {"position limit": {"position_max": "40"}, "position limit of the other side": {"position_max": "40"},
          "open interest": {"open_interest_max": "30"}, "lots of an order": {"order_max": "50"}}


@pytest.mark.parametrize("made", [Exchange, StandIn], ids=["kernels", "reference"])
@pytest.mark.parametrize("what", PASSES)
def test_the_limit_itself_passes_and_one_more_is_refused(what, made):
    prepare, (kind, within), accepted, (kind_beyond, beyond), refused = PASSES[what]
    for command, fields, code in ((kind, within, accepted), (kind_beyond, beyond, refused)):
        desk = Desk(1, LIMITS.get(what), made=made)
        prepare(desk)
        got = desk.code(command, **fields)
        assert got == code, f"{codes.RESULT_NAME[got]}, not {codes.RESULT_NAME[code]}"
        desk.exchange.audit()


@pytest.mark.parametrize("made", [Exchange, StandIn], ids=["kernels", "reference"])
@pytest.mark.parametrize(("order", "needed"), [
    (bid(1_000), 100_000 + 500),  # initial margin and the fee reserve
    (bid(1_001), 100_100 + 501 + 1_000),  # the reserve rounds up; the open loss counts
    (bid(999), 99_900 + 500),
    (ask(999), 99_900 + 500 + 1_000),
    (ask(1_001), 100_100 + 501),
])
def test_an_order_needs_its_margin_to_the_last_quantum(order, needed, made):
    kind, fields = order
    for money, code in ((needed, codes.RESTING), (needed - 1, codes.INSUFFICIENT_MARGIN)):
        desk = Desk(made=made)
        ten_times(desk, money)
        assert desk.code(kind, **fields) == code


@pytest.mark.parametrize("made", [Exchange, StandIn], ids=["kernels", "reference"])
def test_lower_leverage_needs_its_margin_to_the_last_quantum(made):
    for money, code in ((200_000, codes.OK), (199_999, codes.INSUFFICIENT_MARGIN)):
        desk = Desk(made=made)
        ten_times(desk, money)
        assert desk.seed(A, B, 1_000, 10) == codes.OK
        assert desk.code(codes.SET_LEVERAGE, account=A, qty=500) == code


@pytest.mark.parametrize("made", [Exchange, StandIn], ids=["kernels", "reference"])
@pytest.mark.parametrize(("side", "reached", "beyond"), [(codes.BID, 1_050, 1_051), (codes.ASK, 950, 949)])
def test_a_market_order_reaches_the_edge_of_its_band_and_no_further(side, reached, beyond, made):
    for ticks, code in ((reached, codes.FILLED), (beyond, codes.EXPIRED)):
        desk = Desk(made=made)
        rich(desk)
        assert desk.new(B, 1, 1 - side, ticks, 5) == codes.RESTING
        assert desk.new(A, 2, side, 0, 5, flags=codes.MARKET, time_in_force=codes.IOC) == code


@pytest.mark.parametrize("made", [Exchange, StandIn], ids=["kernels", "reference"])
@pytest.mark.parametrize("side", [codes.BID, codes.ASK])
def test_a_level_is_filled_oldest_first_and_only_an_amend_that_is_not_a_cut_loses_the_place(side, made):
    desk = Desk(made=made)
    rich(desk)
    for order_id, account in ((1, B), (2, C), (3, B), (4, C)):
        assert desk.new(account, order_id, side, 1_000, 5) == codes.RESTING
    assert desk.code(codes.AMEND, account=B, order_id=1, qty=3) == codes.RESTING  # smaller: stays first
    assert desk.code(codes.AMEND, account=C, order_id=2, qty=6) == codes.RESTING  # larger: goes last
    rows = desk.send(codes.NEW, account=A, order_id=9, side=1 - side, price=1_000, qty=19)
    fills = [(row["order_id"], row["lots"]) for row in rows if row["kind"] == codes.FILL and row["flags"] & codes.MAKER]
    assert fills == [(1, 3), (3, 5), (4, 5), (2, 6)]
    desk.exchange.audit()
