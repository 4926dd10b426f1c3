"""Call auctions by rule: the price, who trades, what waits, what a price band does. DESIGN §3.7."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import codes
from exchange.codes import ASK, BID, FOK, IOC, MARKET, POST_ONLY, REDUCE_ONLY
from tests.desk import FIRST, SECOND, Desk

A, B, C, D = FIRST, FIRST + 1, FIRST + 2, FIRST + 3
MS = 1_000_000
TERMS = {"indicative_period_ns": 0, "pressure_limit_ppm": 50_000}


def desk(mark=1_000, **sections):
    made = Desk(**{**sections, "auction": {**TERMS, **sections.get("auction", {})}})
    made.fund(A, B, C, D, money=10**9)
    for account in (A, B, C, D):
        made.code(codes.SET_LEVERAGE, account=account, qty=500)
    made.mark(mark)
    return made


def auction(made, *orders, **start):
    """Start one and put (account, side, price, lots) into it; price 0 = a market order."""
    assert made.code(codes.AUCTION_START, **start) == codes.OK
    for order_id, (account, side, price, lots) in enumerate(orders, 1):
        assert made.new(account, order_id, side, price, lots, flags=0 if price else MARKET) == codes.RESTING


def end(made, **fields):
    """(price, lots, imbalance) of an auction's end, and its fills as (account, lots), signed."""
    rows = made.send(codes.AUCTION_END, **fields)
    made.exchange.audit()
    fills = [(row["account"], -row["lots"] if row["flags"] & codes.SELL else row["lots"]) for row in rows
             if row["kind"] == codes.FILL]
    return [(row["price"], row["lots"], row["money"]) for row in rows if row["kind"] == codes.AUCTION], fills


def kinds(rows):
    return [codes.OUTCOME_NAME[row["kind"]] for row in rows]


# --- the price ---------------------------------------------------------------------------------------------------

ORDERS = st.lists(st.tuples(st.sampled_from([BID, ASK]), st.integers(990, 1_010), st.integers(1, 9), st.booleans()),
                  max_size=14)


@settings(max_examples=120, deadline=None)
@given(ORDERS, st.sampled_from(["reference", "midpoint"]), st.integers(985, 1_015), st.sampled_from([0, 3_000, 50_000]))
def test_the_price_is_the_one_that_trying_every_tick_finds(orders, policy, reference, pressure):
    made = desk(auction={"price": policy, "pressure_limit_ppm": pressure})
    auction(made, price=reference)
    for order_id, (side, price, lots, recorded) in enumerate(orders, 1):
        if recorded:  # a recording does not cross itself
            made.level(side, price - 40 if side == BID else price + 40, lots)
        else:
            made.new((A, B, C)[order_id % 3], order_id, side, price, lots)
    live = [(side, price, lots) for side, price, lots, recorded in orders if not recorded]
    tried = {}
    for tick in range(980, 1_021):
        bids = sum(lots for side, price, lots in live if side == BID and price >= tick)
        asks = sum(lots for side, price, lots in live if side == ASK and price <= tick)
        tried[tick] = (min(bids, asks), bids - asks)
    volume = max(most for most, _ in tried.values())
    (price, lots, imbalance), *more = end(made)[0]
    assert lots == volume and not more
    if volume == 0:
        assert (price, imbalance) == (0, 0)
        return
    widest = [tick for tick, (most, _) in tried.items() if most == volume]
    assert tried[price] == (volume, imbalance)
    if policy == "midpoint":
        assert price == (widest[0] + widest[-1]) // 2
        return
    candidates = [tick for tick in widest if tick == reference or any(tick == limit for _, limit, _ in live)]
    least = min(abs(tried[tick][1]) for tick in candidates)
    assert abs(imbalance) == least
    kept = [tick for tick in candidates if abs(tried[tick][1]) == least]
    if all(tried[tick][1] > 0 for tick in kept):
        expected = max(kept[0], min(kept[-1], -(-reference * (10**6 + pressure) // 10**6)))
    elif all(tried[tick][1] < 0 for tick in kept):
        expected = min(kept[-1], max(kept[0], reference * (10**6 - pressure) // 10**6))
    else:
        expected = min(kept, key=lambda tick: (abs(tick - reference), -tick))
    assert price == expected


@settings(max_examples=60, deadline=None)
@given(ORDERS)
def test_no_order_trades_beyond_its_limit_nothing_stays_crossed_and_lots_are_conserved(orders):
    made = desk()
    auction(made)
    limits = {}
    for order_id, (side, price, lots, _) in enumerate(orders, 1):
        made.new((A, B, C)[order_id % 3], order_id, side, price, lots)
        limits[order_id] = (side, price, lots)
    rows = made.send(codes.AUCTION_END)
    filled, prices = {}, set()
    for row in rows:
        if row["kind"] == codes.FILL:
            side, limit, _ = limits[row["order_id"]]
            assert row["price"] <= limit if side == BID else row["price"] >= limit
            filled[row["order_id"]] = filled.get(row["order_id"], 0) + row["lots"]
            prices.add(row["price"])
    assert len(prices) <= 1 and all(lots <= limits[order_id][2] for order_id, lots in filled.items())
    for side in (BID, ASK):  # price, then time: a worse or younger order trades after the better ones are done
        ahead = sorted((k for k in limits if limits[k][0] == side), key=lambda k: (limits[k][1] * (2 * side - 1), k))
        open_before = False
        for order_id in ahead:
            assert not (open_before and filled.get(order_id))
            open_before |= filled.get(order_id, 0) < limits[order_id][2]
    bid, ask = made.exchange.best(0)
    assert not bid or not ask or bid < ask
    made.exchange.audit()


def test_market_orders_alone_trade_at_the_reference_and_what_is_left_of_them_expires():
    made = desk()
    auction(made, (A, BID, 0, 40), (B, BID, 0, 20), (C, ASK, 0, 45), price=1_003)
    rows = made.send(codes.AUCTION_END)
    assert kinds(rows) == ["FILL"] * 4 + ["AUCTION", "CANCELLED", "STATE_CHANGE", "RESULT"]
    assert {row["price"] for row in rows[:5]} == {1_003} and (rows[4]["lots"], rows[4]["money"]) == (45, 15)
    assert (rows[5]["account"], rows[5]["code"], rows[5]["lots"]) == (B, codes.EXPIRED, 15)
    assert made.exchange.best(0) == (0, 0)
    made.exchange.audit()


@pytest.mark.parametrize(("last", "start", "stop", "price"), [
    (0, 0, 0, 1_000), (1_004, 0, 0, 1_004), (1_004, 1_006, 0, 1_006), (1_004, 1_006, 1_008, 1_008)])
def test_the_reference_is_what_the_end_states_else_the_start_else_last_else_the_mark(last, start, stop, price):
    made = desk()
    if last:
        made.send(codes.TRADE_PRINT, side=BID, price=last, qty=1)
    auction(made, (A, BID, 1_010, 5), (B, ASK, 990, 5), price=start)
    assert end(made, price=stop)[0] == [(price, 5, 0)]


# --- what an auction takes and does ------------------------------------------------------------------------------


def test_an_auction_takes_what_can_rest_and_trades_nothing_before_its_end():
    made = desk()
    made.level(ASK, 1_005, 3)
    auction(made, (A, BID, 1_010, 5), (B, ASK, 990, 4))
    for fields in ({"time_in_force": IOC}, {"time_in_force": FOK}, {"flags": POST_ONLY},
                   {"flags": MARKET, "time_in_force": IOC}):
        assert made.new(C, 9, BID, 1_000, 1, **fields) == codes.NOT_IN_AUCTION
    assert made.send(codes.TRADE_PRINT, side=ASK, price=980, qty=99) == []
    assert made.level(BID, 992, 7) == codes.OK and made.exchange.best(0) == (1_010, 990)
    assert made.code(codes.AMEND, account=A, order_id=1, price=1_011, qty=6) == codes.RESTING
    for kind in (codes.HALT, codes.RESUME, codes.SET_STATE, codes.AUCTION_START):
        assert made.code(kind) == codes.IN_AUCTION
    made.exchange.audit()
    prices, fills = end(made)
    assert [lots for _, lots, _ in prices] == [6] and (A, 4) in fills and (A, 2) in fills
    assert made.code(codes.AUCTION_END) == codes.NO_AUCTION


def test_recorded_size_trades_with_simulated_orders_and_never_with_itself():
    made = desk()
    made.level(ASK, 1_000, 10)
    auction(made, (A, BID, 1_002, 4))
    made.level(BID, 1_001, 6)  # crosses the recorded ask, which gives way
    assert made.exchange.books[0]["crossed_levels"] == 1
    made.new(B, 7, ASK, 1_001, 7)
    prices, fills = end(made)
    assert prices == [(1_001, 7, 3)] and fills == [(A, 4), (B, -4), (B, -3)]
    assert made.exchange.state.book.externals["displaced_lots"].sum() == 3 and made.exchange.best(0) == (1_001, 0)


def test_the_older_order_is_the_maker_and_both_pay_the_auctions_rate():
    for fee, rate in (("taker", 500), ("maker", 200)):
        made = desk(auction={"fee": fee})
        auction(made, (A, ASK, 990, 5), (B, BID, 1_010, 5), price=1_000)
        fills = [row for row in made.send(codes.AUCTION_END) if row["kind"] == codes.FILL]
        assert [(row["account"], bool(row["flags"] & codes.MAKER)) for row in fills] == [(A, True), (B, False)]
        assert [row["money"] for row in fills] == [5 * 1_000 * 100 * rate // 10**6] * 2


def test_reduce_only_orders_are_cut_in_their_turn_and_a_rest_that_still_crosses_has_a_price_of_its_own():
    made = desk()
    made.seed(A, D, 1_000, 10)
    auction(made)
    for order_id, (account, side, price, lots, flags) in enumerate([
            (A, ASK, 990, 10, 0), (A, ASK, 991, 10, REDUCE_ONLY), (B, BID, 1_010, 20, 0), (C, ASK, 1_005, 8, 0)], 1):
        assert made.new(account, order_id, side, price, lots, flags=flags) == codes.RESTING
    rows = made.send(codes.AUCTION_END, price=1_000)
    assert [(codes.OUTCOME_NAME[row["kind"]], row["account"], row["price"], row["lots"]) for row in rows[:-2]] == [
        ("FILL", A, 1_000, 10), ("FILL", B, 1_000, 10), ("CANCELLED", A, 991, 10), ("AUCTION", 0, 1_000, 10),
        ("FILL", B, 1_010, 8), ("FILL", C, 1_010, 8), ("AUCTION", 0, 1_010, 8)]
    assert [row["money"] for row in rows if row["kind"] == codes.AUCTION] == [0, 2]
    made.exchange.audit()
    assert made.exchange.position(A, 0)["lots"] == 0


def test_last_is_the_auctions_price_and_a_price_that_nothing_has_leaves_it():
    made = desk()
    auction(made, (A, BID, 1_010, 5), (B, ASK, 1_010, 5))
    end(made)
    assert made.exchange.markets[0]["last_ticks"] == 1_010
    auction(made)
    assert end(made)[0] == [(0, 0, 0)] and made.exchange.markets[0]["last_ticks"] == 1_010


def test_a_market_order_amended_to_a_price_is_a_limit_order_from_then_on():
    made = desk()
    auction(made, (A, BID, 0, 5), (B, BID, 0, 5))
    assert made.code(codes.AMEND, account=A, order_id=1, price=995, qty=5) == codes.RESTING
    assert made.code(codes.AMEND, account=B, order_id=2, qty=3) == codes.RESTING
    rows = made.send(codes.AUCTION_END)
    assert [(row["account"], row["lots"]) for row in rows if row["kind"] == codes.CANCELLED] == [(B, 3)]
    assert made.exchange.best(0) == (995, 0)


def test_a_fill_or_kill_and_a_full_pool_are_judged_in_an_auction_too():
    made = desk(capacity={"orders": 2})
    auction(made, (A, BID, 0, 5), (B, ASK, 1_000, 5))
    assert made.new(C, 3, BID, 0, 5, flags=MARKET) == codes.ORDERS_FULL


# --- its time ----------------------------------------------------------------------------------------------------


def test_an_indicative_price_is_published_when_it_changed_and_the_end_comes_on_time():
    made = desk(auction={"indicative_period_ns": 100 * MS})
    auction(made, (A, BID, 1_010, 5), (B, ASK, 990, 4), qty=450 * MS)
    rows = made.send(codes.MARK, ts_ns=SECOND + 350 * MS, price=10_000)
    assert [(row["kind"], row["price"], row["lots"], row["money"]) for row in rows] == [
        (codes.INDICATIVE, 1_010, 4, 1)]
    made.new(C, 3, ASK, 1_000, 3)
    rows = made.send(codes.MARK, ts_ns=2 * SECOND, price=10_000)
    assert [(codes.OUTCOME_NAME[row["kind"]], row["ts_ns"] - SECOND) for row in rows if row["kind"] != codes.FILL] == [
        ("INDICATIVE", 400 * MS), ("AUCTION", 450 * MS), ("STATE_CHANGE", 450 * MS)]
    assert made.state.io.control[0]["timer_count"] == 0


def test_an_end_on_command_takes_the_timer_along():
    made = desk(count=2, auction={"indicative_period_ns": 100 * MS})
    made.mark(1_000, 1)
    auction(made, qty=SECOND)
    made.send(codes.AUCTION_START, instrument=1, qty=2 * SECOND)
    assert made.state.io.control[0]["timer_count"] == 2
    made.send(codes.AUCTION_END)
    assert made.state.io.control[0]["timer_count"] == 1 and made.state.io.timers[1]["unit"] == 1
    made.exchange.audit()


def test_a_market_may_open_with_an_auction_that_ticks_from_its_first_order_on():
    made = desk(auction={"opening": True, "indicative_period_ns": 100 * MS})
    assert made.exchange.markets[0]["state"] == codes.STATE_AUCTION
    assert made.new(A, 1, BID, 1_001, 5) == codes.RESTING and made.new(B, 2, ASK, 999, 5) == codes.RESTING
    rows = made.send(codes.MARK, ts_ns=SECOND + 150 * MS, price=10_000)
    assert kinds(rows) == ["INDICATIVE"]
    assert end(made)[0] == [(1_000, 5, 0)]


# --- price bands -------------------------------------------------------------------------------------------------

BANDS = {"dynamic_ppm": 10_000, "duration_ns": 100 * MS, "extension_ns": 50 * MS}


def test_a_taker_stops_at_its_band_and_begins_an_auction_when_more_lies_within_its_limit():
    made = desk(auction=BANDS)
    made.send(codes.TRADE_PRINT, side=BID, price=1_000, qty=1)
    made.new(A, 1, ASK, 1_010, 3)
    made.new(B, 2, ASK, 1_011, 3)
    rows = made.send(codes.NEW, account=C, order_id=3, side=BID, price=1_010, qty=5)
    assert kinds(rows) == ["FILL", "FILL", "RESULT"]  # its own limit, not the band, ended it
    made.send(codes.CANCEL, account=C, order_id=3)
    made.send(codes.TRADE_PRINT, side=BID, price=1_000, qty=1)
    rows = made.send(codes.NEW, account=C, order_id=4, side=BID, price=1_020, qty=5)
    assert kinds(rows) == ["STATE_CHANGE", "RESULT"] and rows[1]["code"] == codes.RESTING
    assert made.exchange.best(0) == (1_020, 1_011)
    made.exchange.audit()
    rows = made.send(codes.MARK, ts_ns=made.clock + SECOND, price=10_000)
    assert [(row["price"], row["lots"]) for row in rows if row["kind"] == codes.AUCTION] == [(1_020, 3)]


def test_what_is_left_of_an_order_that_may_not_rest_expires_as_the_auction_begins():
    made = desk(auction=BANDS)
    made.send(codes.TRADE_PRINT, side=BID, price=1_000, qty=1)
    made.level(ASK, 1_005, 2)
    made.level(ASK, 1_015, 9)
    assert made.new(C, 3, BID, 1_020, 5, time_in_force=FOK) == codes.FOK_UNFILLABLE
    assert made.exchange.markets[0]["state"] == codes.STATE_CONTINUOUS
    assert made.new(C, 4, BID, 1_020, 5, time_in_force=IOC) == codes.EXPIRED
    assert made.exchange.markets[0]["state"] == codes.STATE_AUCTION and made.exchange.best(0) == (0, 1_015)


def test_a_static_band_stands_around_the_price_of_its_period():
    made = desk(auction={"static_ppm": 10_000, "reference_period_ns": 10 * SECOND})
    made.send(codes.TRADE_PRINT, side=BID, price=1_000, qty=1)
    made.new(A, 1, ASK, 1_020, 1)
    assert made.new(B, 2, BID, 900, 1) == codes.RESTING  # the first order of the period keeps 1,000
    made.send(codes.TRADE_PRINT, side=BID, price=1_015, qty=1)
    assert made.new(B, 3, BID, 1_020, 1) == codes.RESTING
    assert made.exchange.markets[0]["state"] == codes.STATE_AUCTION
    made.send(codes.AUCTION_END)
    assert made.exchange.markets[0]["last_ticks"] == 1_020  # and the band stands around it
    made.send(codes.TRADE_PRINT, side=BID, price=1_040, qty=1)
    made.new(A, 4, ASK, 1_031, 1)
    assert made.new(B, 5, BID, 1_031, 1) == codes.RESTING and made.exchange.markets[0]["state"] == codes.STATE_AUCTION
    made.send(codes.AUCTION_END)
    made.send(codes.TRADE_PRINT, side=BID, price=1_040, qty=1)
    made.new(A, 6, ASK, 1_050, 1)
    assert made.new(B, 7, BID, 1_050, 1, ts_ns=made.clock + 20 * SECOND) == codes.FILLED  # a new period


def test_an_auction_goes_on_while_its_price_is_outside_the_band_and_extensions_are_left():
    made = desk(auction={**BANDS, "extensions_max": 2})
    made.send(codes.TRADE_PRINT, side=BID, price=1_000, qty=1)
    made.new(A, 1, ASK, 1_020, 3)
    made.new(B, 2, BID, 1_020, 3)
    start = made.clock
    rows = made.send(codes.MARK, ts_ns=start + SECOND, price=10_000)
    assert [row["ts_ns"] - start for row in rows if row["kind"] == codes.AUCTION] == [200 * MS]
    made.new(A, 3, ASK, 1_050, 3)
    made.new(B, 4, BID, 1_050, 3)
    made.new(A, 5, ASK, 1_025, 3)
    start = made.clock
    rows = made.send(codes.MARK, ts_ns=start + SECOND, price=10_000)  # back within the band around 1,020
    assert [row["ts_ns"] - start for row in rows if row["kind"] == codes.AUCTION] == [100 * MS]


# --- liquidations ------------------------------------------------------------------------------------------------


def under_water(made):
    made.fund(A + 5, money=30_000)
    assert made.seed(A + 5, B, 1_000, 10) == codes.OK


def test_a_liquidation_waits_for_the_end_of_an_auction():
    made = desk()
    under_water(made)
    auction(made, (C, BID, 985, 20), qty=100 * MS)
    made.mark(975)
    assert "LIQUIDATION_ORDER" not in kinds(made.settle())
    made.exchange.audit()
    rows = made.send(codes.MARK, ts_ns=2 * SECOND, price=9_750)
    assert [row["ts_ns"] - SECOND for row in rows if row["kind"] == codes.LIQUIDATION_ORDER] == [100 * MS]
    assert "FILL" in kinds(rows) and made.exchange.position(A + 5, 0)["lots"] == 0


@pytest.mark.parametrize("halted", [False, True])
def test_a_liquidation_order_may_join_an_auction_at_its_bankruptcy_price_and_what_is_left_goes_on(halted):
    made = desk(auction={"price": "midpoint"}, liquidation={"in_auction": "join"},
                fees={"maker_ppm": 200, "taker_ppm": 500, "liquidation_ppm": 5_000})
    under_water(made)
    if halted:  # it waits for the auction then
        made.send(codes.HALT)
        made.mark(975)
        assert "LIQUIDATION_ORDER" not in kinds(made.settle())
    auction(made, (C, BID, 985, 4), qty=100 * MS)
    rows = made.mark(975) + made.settle()
    assert [(row["price"], row["lots"]) for row in rows if row["kind"] == codes.LIQUIDATION_ORDER] == [(970, 10)]
    assert made.exchange.best(0) == (985, 970)
    assert made.code(codes.CANCEL_ALL, account=A + 5) == codes.OK and made.exchange.best(0) == (985, 970)
    made.exchange.audit()
    rows = made.send(codes.MARK, ts_ns=2 * SECOND, price=9_750)
    taken = [row for row in rows if row["account"] == A + 5 and row["kind"] in (codes.FILL, codes.LIQUIDATION_FEE)]
    assert [(row["price"], row["lots"], row["money"]) for row in taken] == [
        (977, 4, 196), (977, 4, 1_954)]  # 0.05 % and 0.5 % of 3,908.00, within the advantage of 28.00
    assert taken[0]["flags"] & codes.FORCED and taken[0]["liquidation_id"] == 1
    left = [row["lots"] for row in rows if row["code"] == codes.CANCELLED_BY_LIQUIDATION]
    assert left == [6] and "LIQUIDATION_ORDER" in kinds(rows)
    assert made.exchange.position(A + 5, 0)["lots"] == 0
    made.exchange.audit()


def test_what_is_left_of_a_liquidation_order_is_found_behind_an_older_order_of_another_unit():
    made = desk(count=2, auction={"price": "midpoint"}, liquidation={"in_auction": "join"})
    under_water(made)
    made.mark(1_000, instrument=1)
    made.code(codes.SET_MARGIN_MODE, account=A + 5, instrument=1, qty=codes.ISOLATED)
    assert made.new(A + 5, 50, BID, 900, 1, instrument=1) == codes.RESTING
    auction(made, (C, BID, 985, 4), qty=100 * MS)
    made.mark(975)
    made.settle()
    rows = made.send(codes.MARK, ts_ns=2 * SECOND, price=9_750)
    assert [row["lots"] for row in rows if row["code"] == codes.CANCELLED_BY_LIQUIDATION] == [6]
    assert made.exchange.best(1)[0] == 900
    made.exchange.audit()


def test_a_liquidation_order_that_meets_the_band_begins_an_auction_and_waits_for_its_end():
    made = desk(auction=BANDS)
    under_water(made)
    made.send(codes.TRADE_PRINT, side=ASK, price=1_000, qty=1)
    made.new(C, 1, BID, 990, 1)
    made.new(D, 2, BID, 985, 20)
    made.mark(975)
    rows = made.settle()
    assert [row["lots"] for row in rows if row["kind"] == codes.FILL] == [1, 1]
    assert made.exchange.markets[0]["state"] == codes.STATE_AUCTION
    assert "TAKEOVER" not in kinds(rows)
    made.exchange.audit()
    rows = made.send(codes.MARK, ts_ns=2 * SECOND, price=9_750)
    assert [row["lots"] for row in rows if row["kind"] == codes.FILL] == [9, 9]


# --- room --------------------------------------------------------------------------------------------------------


def test_the_end_of_a_full_book_fits_into_the_least_outbox():
    """Orders of one lot against each other: every pair finishes two. 2,000 orders, and the least outbox allowed."""
    orders = 2_000
    least = codes.OUTCOMES_PER_ORDER * orders + codes.OUTCOMES_PER_STEP
    made = desk(capacity={"orders": orders, "outcomes": least}, instrument={"position_max": "100000"})
    auction(made, *(((A, B, C, D)[k % 4], k % 2, 1_000, 1 + k // 2 % 3) for k in range(orders)))
    prices, fills = end(made)
    assert prices == [(1_000, sum(1 + k % 3 for k in range(orders // 2)), 0)] and len(fills) <= 2 * orders


# --- orders of one owner -----------------------------------------------------------------------------------------

@pytest.mark.parametrize(("mode", "lost", "fills"), [
    ("none", [], [(A, 5), (A, -5)]),
    ("cancel_newest", [(A, 2, 5)], [(A, 5), (B, -5)]),
    ("cancel_oldest", [(A, 1, 5)], []),
    ("cancel_both", [(A, 1, 5), (A, 2, 5)], []),
    ("decrement", [(A, 1, 5), (A, 2, 5)], []),
])
def test_orders_of_one_owner_that_meet_in_an_auction_do_as_the_newer_ones_mode_says(mode, lost, fills):
    made = desk(instrument={"self_trade": mode})
    auction(made, (A, BID, 1_000, 5), (A, ASK, 999, 5), (B, ASK, 1_000, 5), price=1_000)
    rows = made.send(codes.AUCTION_END)
    made.exchange.audit()
    gone = [row for row in rows if row["code"] == codes.CANCELLED_SELF_TRADE]
    assert [(row["account"], row["order_id"], row["lots"]) for row in gone] == lost
    assert {row["kind"] for row in gone} <= {codes.PREVENTED if mode == "decrement" else codes.CANCELLED}
    assert [(row["account"], -row["lots"] if row["flags"] & codes.SELL else row["lots"]) for row in rows
            if row["kind"] == codes.FILL] == fills
