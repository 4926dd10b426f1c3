"""Throttles, bans, quotes counted: DESIGN §3.8."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import codes, config
from exchange.errors import ConfigError
from exchange.venue import Exchange
from tests.campaign.twin import Twin
from tests.desk import FIRST, SECOND, Desk, venue_table
from tests.standin import StandIn

A, B = FIRST, FIRST + 1
NEW, AMEND, CANCEL, CANCEL_ALL = codes.NEW, codes.AMEND, codes.CANCEL, codes.CANCEL_ALL


def bucket(capacity, refill, interval_ns, **fields):
    return {"capacity": capacity, "refill": refill, "interval_ns": interval_ns, **fields}


def window(capacity, interval_ns, **fields):
    return {"kind": "window", "capacity": capacity, "interval_ns": interval_ns, **fields}


def sliding(capacity, interval_ns, **fields):
    return {"kind": "sliding", "capacity": capacity, "interval_ns": interval_ns, **fields}


class Trader:
    """A desk whose commands say what became of them: '' when they passed the throttles, else code and wait."""

    def __init__(self, *throttles, **sections):
        self.desk = Desk(throttles=list(throttles), **sections)
        self.desk.fund(A, B, money=10**9)
        self.desk.mark(1_000)
        self.ids = 0

    def send(self, kind=NEW, account=A, at=None, **fields):
        """(refused by, wait) of one command at `at` nanoseconds after the start; (0, 0) when it passed."""
        if at is not None:
            self.desk.clock = SECOND + at
        self.ids += kind == NEW
        row = {"account": account, "order_id": self.ids, "price": 900, "qty": 1, **fields}
        answer, = [r for r in self.desk.send(kind, **row) if r["kind"] == codes.RESULT]
        refused = answer["code"] in (codes.THROTTLED, codes.BANNED)
        assert refused == (answer["money"] > 0)
        return (answer["code"], answer["money"]) if refused else (0, 0)


def passed(answers):
    return [code == 0 for code, _ in answers]


@settings(max_examples=25, deadline=None)
@given(capacity=st.integers(2, 6), refill=st.integers(1, 5), interval=st.integers(1, 40), weight=st.integers(1, 2),
       gaps=st.lists(st.integers(0, 30), min_size=1, max_size=25))
def test_a_bucket_passes_no_more_than_its_capacity_and_what_came_back_and_its_wait_is_exact(
        capacity, refill, interval, weight, gaps):
    trader, now, taken = Trader(bucket(capacity, refill, interval, weights={"new": weight})), 0, []
    for gap in gaps:
        now += gap
        code, wait = trader.send(at=now)
        if code:
            assert code == codes.THROTTLED
            assert not passes_at(trader, now + wait - 1) and passes_at(trader, now + wait)
        else:
            taken.append(now)
        for k, first in enumerate(taken):  # over every stretch of time that ends now
            assert (len(taken) - k) * weight * interval <= capacity * interval + refill * (now - first)


def passes_at(trader, now, kind=NEW):
    """Would a command pass then? Asked of a copy."""
    kept, ids = trader.desk.exchange, trader.ids
    trader.desk.exchange = kept.copy()
    code, _ = trader.send(kind, at=now)
    trader.desk.exchange, trader.ids = kept, ids
    return code == 0


@settings(max_examples=20, deadline=None)
@given(capacity=st.integers(1, 3), interval=st.integers(1, 40), gaps=st.lists(st.integers(0, 30), max_size=20))
def test_a_window_passes_its_capacity_in_each_aligned_interval_and_its_wait_is_exact(capacity, interval, gaps):
    trader, now, taken = Trader(window(capacity, interval)), 0, []
    for gap in gaps:
        now += gap
        code, wait = trader.send(at=now)
        mine = (SECOND + now) // interval
        assert (code == 0) == (taken.count(mine) < capacity)
        if code:
            assert not passes_at(trader, now + wait - 1) and passes_at(trader, now + wait)
        else:
            taken.append(mine)


@settings(max_examples=25, deadline=None)
@given(capacity=st.integers(2, 5), interval=st.integers(1, 40), weights=st.tuples(st.integers(1, 2), st.integers(0, 2)),
       rows=st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.integers(0, 5)), max_size=30))
def test_a_sliding_limit_passes_its_capacity_in_any_stretch_and_its_wait_is_exact(capacity, interval, weights, rows):
    heaviest = max(weights)
    trader, now, taken = Trader(sliding(capacity, interval, weights={"new": weights[0], "amend": weights[1]})), 0, []
    allowed = capacity
    for gap, is_new, other in rows:
        now += gap
        if other and heaviest <= other:  # less than before, or again up to what it began with
            code = trader.desk.code(codes.SET_THROTTLE, qty=other, ts_ns=SECOND + now)
            assert code == (codes.OK if other <= capacity else codes.BAD_AMOUNT)
            allowed = other if code == codes.OK else allowed
        code, wait = trader.send(NEW if is_new else AMEND, at=now)
        recent, weight = sum(weight for at, weight in taken if now - interval < at <= now), weights[not is_new]
        assert (code == 0) == (weight == 0 or recent + weight <= allowed)
        if code:
            kind = NEW if is_new else AMEND
            assert not passes_at(trader, now + wait - 1, kind) and passes_at(trader, now + wait, kind)
        else:
            taken.append((now, weight))
    assert trader.desk.exchange.throttle_used(0, A) == sum(weight for at, weight in taken if now - interval < at)
    trader.desk.exchange.audit()


def test_a_window_passes_twice_its_capacity_around_an_edge_and_a_sliding_limit_does_not():
    aligned, anywhere = Trader(window(2, 10)), Trader(sliding(2, 10))
    assert passed([aligned.send(at=at) for at in (8, 9, 10, 11)]) == [True] * 4
    assert [anywhere.send(at=at) for at in (8, 9, 10, 11, 17, 18, 18, 19)] == [
        (0, 0), (0, 0), (codes.THROTTLED, 8), (codes.THROTTLED, 7), (codes.THROTTLED, 1), (0, 0), (codes.THROTTLED, 1),
        (0, 0)]


def test_a_sliding_limit_counts_each_account_and_each_group_apart_and_beside_other_limits():
    trader = Trader(sliding(2, 10), window(9, SECOND), sliding(3, 20, scope="group"))
    assert trader.desk.code(codes.SET_GROUP, account=B, qty=1) == codes.OK
    assert passed([trader.send(at=0), trader.send(at=1), trader.send(account=B, at=1)]) == [True] * 3
    assert trader.desk.code(codes.SET_GROUP, account=A, qty=1) == codes.OK
    assert passed([trader.send(at=10), trader.send(account=B, at=10)]) == [True, True]
    assert trader.send(at=11) == (codes.THROTTLED, 10)  # its group, with B: at 1, 10 and 10
    assert trader.desk.code(codes.SET_GROUP, account=A, qty=0) == codes.OK
    assert trader.send(at=11) == (0, 0)
    trader.desk.exchange.audit()


def test_a_message_that_any_limit_refuses_takes_from_none():
    trader = Trader(window(1, 10), window(3, 1_000))  # SECOND is a multiple of both
    assert passed([trader.send(at=0), trader.send(at=1), trader.send(at=2)]) == [True, False, False]
    assert passed([trader.send(at=10), trader.send(at=20), trader.send(at=30)]) == [True, True, False]
    assert trader.send(at=31) == (codes.THROTTLED, 969)  # the longest wait of all limits
    assert trader.desk.exchange.throttle_used(1, A) == 3


def test_cancels_have_their_own_allowance():
    trader = Trader(window(2, SECOND, counts="orders"), window(1, SECOND, counts="cancels"))
    assert passed([trader.send(), trader.send(), trader.send(AMEND, order_id=1)]) == [True, True, False]
    assert passed([trader.send(CANCEL, order_id=1), trader.send(CANCEL, order_id=2)]) == [True, False]
    assert trader.send(CANCEL_ALL) == (codes.THROTTLED, SECOND)


def test_each_kind_weighs_what_is_configured():
    trader = Trader(bucket(10, 1, SECOND, weights={"new": 4, "amend": 1, "cancel": 0, "cancel_all": 5}))
    assert passed([trader.send(), trader.send(AMEND, order_id=1), trader.send(CANCEL_ALL)]) == [True] * 3
    assert passed([trader.send(CANCEL, order_id=1), trader.send(AMEND, order_id=1)]) == [True, False]
    assert trader.desk.exchange.throttle_used(0, A) == 10


def test_a_terms_row_weighs_nothing():
    trader = Trader(window(1, SECOND))
    trader.desk.send(codes.TERMS, account=A, order_id=1)
    assert passed([trader.send(), trader.send()]) == [True, False]


def test_accounts_have_allowances_of_their_own_and_a_group_shares_one():
    alone, shared = Trader(window(1, SECOND)), Trader(window(1, SECOND, scope="group"))
    assert passed([alone.send(), alone.send(account=B)]) == [True, True]
    shared.desk.state.ledger.groups[[A, B]] = 3
    assert passed([shared.send(), shared.send(account=B)]) == [True, False]
    shared.desk.state.ledger.groups[B] = 0
    assert passed([shared.send(account=B)]) == [True]


def test_unknown_accounts_get_their_bad_account_and_no_throttle():
    trader = Trader(window(1, SECOND))
    for account in (0, 4, FIRST + 2, 5_000, -3):
        codes_given = [trader.desk.new(account, 1, codes.BID, 900, 1) for _ in range(3)]
        assert codes_given == [codes.BAD_ACCOUNT] * 3


def test_liquidation_orders_pass_no_throttle():
    desk = Desk(throttles=[window(1, 10**15)], liquidation={"order_delay_ns": 0})
    desk.fund(A, B, money=200_000)
    desk.mark(1_000)
    desk.seed(A, B, 1_000, 60)
    assert desk.new(B, 1, codes.BID, 970, 60) == codes.RESTING
    assert [desk.code(CANCEL, account=A, order_id=9) for _ in range(2)] == [codes.UNKNOWN_ORDER, codes.THROTTLED]
    desk.mark(960)
    assert {row["kind"] for row in desk.settle()} >= {codes.LIQUIDATION_ORDER, codes.FILL}


PENALTY = {"violations": 2, "interval_ns": 100, "ban_ns": 50, "ban_max_ns": 150, "forget_ns": 1_000}


def banned(at, **penalty):
    """A trader with all allowance used, whose second violation in a row comes at `at`."""
    trader = Trader(window(1, SECOND), penalty={**PENALTY, **penalty})
    assert passed([trader.send(at=0), trader.send(at=at - 1)]) == [True, False]
    return trader


def test_enough_violations_within_the_interval_begin_a_ban_of_orders_and_not_of_exempt_cancels():
    trader = Trader(window(1, 10, counts="orders"), penalty=PENALTY)
    assert [trader.send(at=at)[0] for at in (0, 1)] == [0, codes.THROTTLED]
    assert trader.send(at=2) == (codes.THROTTLED, 50)  # this one began the ban, which outlasts the window
    assert trader.send(at=20) == (codes.BANNED, 32)
    assert trader.send(AMEND, order_id=1, at=51) == (codes.BANNED, 1)
    assert trader.send(CANCEL, order_id=1) == (0, 0)
    assert trader.send(at=52) == (0, 0)


def test_cancels_that_are_not_exempt_are_banned_too():
    trader = banned(2, cancels_exempt=False)
    trader.send(at=2)
    assert trader.send(CANCEL, order_id=1, at=3) == (codes.BANNED, 49)
    assert trader.send(CANCEL_ALL, at=3) == (codes.BANNED, 49)


def test_violations_further_apart_than_the_interval_begin_no_ban():
    trader = banned(2)
    assert trader.send(at=101)[1] > PENALTY["ban_max_ns"]  # a hundred after the first: counted afresh
    assert trader.send(at=102)[0] == codes.THROTTLED
    assert trader.send(at=103)[0] == codes.BANNED


def test_each_further_ban_is_twice_as_long_until_the_longest_and_all_is_forgotten_in_time():
    trader, now, bans = Trader(window(1, SECOND), penalty=PENALTY), 0, []
    trader.send(at=0)
    for pause in (0, 0, 0, 0, 999, 1_000):
        now += pause
        assert trader.send(at=now)[0] == trader.send(at=now)[0] == codes.THROTTLED
        bans.append(trader.send(at=now)[1])
        now += bans[-1]
    assert bans == [50, 100, 150, 150, 150, 50]


def test_the_allowance_may_change_in_the_run_and_what_is_owed_stays_owed():
    trader = Trader(bucket(4, 1, SECOND), window(9, SECOND))
    for _ in range(4):
        assert trader.send() == (0, 0)
    code = trader.desk.code(codes.SET_THROTTLE, instrument=0, price=2, qty=5)
    assert (code, trader.send()) == (codes.OK, (codes.THROTTLED, 3 * SECOND // 5))  # four owed of two
    assert trader.send(at=3 * SECOND // 5) == (0, 0)
    assert trader.desk.code(codes.SET_THROTTLE, instrument=1, qty=5) == codes.OK
    assert trader.desk.exchange.throttle_used(1, A) == 5


@pytest.mark.parametrize("fields, code", [
    ({"instrument": 2, "price": 5, "qty": 5}, codes.BAD_LIMIT),
    ({"instrument": -1, "price": 5, "qty": 5}, codes.BAD_LIMIT),
    ({"price": 2, "qty": 5}, codes.BAD_AMOUNT), ({"price": 5, "qty": 0}, codes.BAD_AMOUNT),
    ({"price": 2**31, "qty": 1}, codes.BAD_AMOUNT), ({"price": 5, "qty": 2**31}, codes.BAD_AMOUNT),
    ({"price": 46_200, "qty": 1}, codes.BAD_AMOUNT), ({"instrument": 1, "price": 5, "qty": 0}, codes.BAD_AMOUNT)])
def test_terms_that_could_never_be_met_or_counted_are_refused(fields, code):
    trader = Trader(bucket(4, 1, 10**14, weights={"new": 3}), window(4, SECOND))
    before = trader.desk.exchange.state_digest()
    assert trader.desk.code(codes.SET_THROTTLE, **fields) == code
    assert trader.desk.exchange.state_digest() == before


def test_quotes_and_orders_with_a_fill_are_counted_each_once():
    trader = Trader(penalty={"count_quotes": True})
    for k in range(4):
        trader.send(price=900 + k, qty=4)
    trader.send(AMEND, order_id=1, price=905, qty=4)
    trader.send(AMEND, order_id=99)  # refused: no quote
    trader.desk.new(B, 50, codes.ASK, 903, 3)
    trader.desk.new(B, 51, codes.ASK, 903, 3)  # the first order again, then another
    assert trader.desk.exchange.quotes(A) == (5, 2) and trader.desk.exchange.quotes(B) == (2, 2)
    assert trader.desk.exchange.quote_fill_ratio_ppm(A) == 400_000
    assert Desk().exchange.quotes(A) == (0, 0)


@pytest.mark.parametrize("sections, where", [
    ({"throttles": [bucket(1, 1, 1)] * 9}, ".throttles"), ({"throttles": [bucket(1, 0, 1)]}, ".throttles[0].refill"),
    ({"throttles": [window(1, 1, refill=2)]}, ".throttles[0].refill"),
    ({"throttles": [window(1, 1), window(1, 1, weights={"new": 2})]}, ".throttles[1].weights"),
    ({"throttles": [window(1, 1, counts="cancels", weights={"cancel": 0, "cancel_all": 0})]}, ".throttles[0].weights"),
    ({"throttles": [bucket(2**31 - 1, 1, 10**10)]}, ".throttles[0].interval_ns"),
    ({"throttles": [sliding(1, 1, refill=2)]}, ".throttles[0].refill"),
    ({"throttles": [sliding(2**26 // 72, 1), sliding(9, 1, scope="group")]}, ".throttles[1].capacity"),
    ({"penalty": {"violations": 1}}, ".penalty.violations"),
    ({"penalty": {"ban_ns": 10, "ban_max_ns": 9}}, ".penalty.ban_max_ns"),
    ({"gateway": {"service_ns": 1, "weights": {"amend": 0}}}, ".gateway.weights")])
def test_settings_that_cannot_work_are_refused_by_their_path(sections, where):
    with pytest.raises(ConfigError) as error:
        config.build_venue(venue_table(**sections))
    assert error.value.where == f"$.venue{where}"


@pytest.mark.parametrize("made", [Exchange, StandIn])
def test_a_group_that_a_throttle_could_not_count_is_refused(made):
    counted, free = (Desk(made=made, throttles=[window(1, 1, scope=scope)]) for scope in ("group", "account"))
    last = FIRST + 63  # of 64 users: enough for each to have a group of its own
    assert [counted.code(codes.SET_GROUP, account=A, qty=group) for group in (0, last, last + 1, 2**31 - 1, 2**31)] == [
        codes.OK, codes.OK, codes.GROUP_UNCOUNTED, codes.GROUP_UNCOUNTED, codes.BAD_GROUP]
    assert free.code(codes.SET_GROUP, account=A, qty=2**31 - 1) == codes.OK


@pytest.mark.parametrize("made", [Exchange, StandIn])
def test_a_sliding_limit_may_not_grow_beyond_the_tokens_that_it_keeps(made):
    desk = Desk(made=made, throttles=[sliding(3, SECOND, weights={"new": 2})])
    given = [desk.code(codes.SET_THROTTLE, qty=capacity) for capacity in (2, 4, 3, 1)]
    assert given == [codes.OK, codes.BAD_AMOUNT, codes.OK, codes.BAD_AMOUNT]


def test_kernels_and_reference_agree_on_groups():
    twin = Twin(venue_table(throttles=[bucket(2, 1, SECOND, scope="group"), window(3, SECOND)]))
    twin.send(codes.MARK, price=10_000)
    for account in (A, B):
        twin.send(codes.DEPOSIT, account=account, qty=10**9)
        twin.core.state.ledger.groups[account] = 1
        twin.reference.world.groups[account] = 1
    given = [twin.send(NEW, account=A + k % 2, order_id=k + 1, price=900, qty=1) for k in range(4)]
    assert given == [codes.RESTING] * 2 + [codes.THROTTLED] * 2
