"""The backstop: it takes legs over before the fund, with the margin that is left, and works them off a part at a time.

One lot moving one tick is one unit of money. A's ten lots from 1,000 with 300 units are bankrupt at 970.
"""

import pytest

from exchange import codes, config
from exchange.errors import ConfigError, InvariantError
from tests.campaign.twin import Twin
from tests.desk import FIRST, INSTRUMENT, SECOND, UNIT, venue_table
from tests.test_waterfall import kinds, lots, marked, of_kind, opened, settled

A, B, C, D, E = range(FIRST, FIRST + 5)
FUND = codes.INSURANCE
PER_TICK = INSTRUMENT["mark_per_tick"]
RICH = 100_000
EVERY = {"period_ns": SECOND}


def bankrupt(backstop, cash=None, **sections):
    """A, long ten of B; D is who else may take them."""
    return opened({A: 300, B: RICH, C: RICH, **(cash or {D: RICH})}, [(A, B, 10)], backstop=backstop, **sections)


def cash(twin, account):
    return int(twin.core.wallet(account)["cash"])


def bids(twin, *levels):
    for ticks, size in levels:
        twin.send(codes.LEVEL_SET, side=codes.BID, price=ticks, qty=size, flags=codes.LAST)


def disposals(rows):
    return of_kind(rows, codes.DISPOSAL, "account", "price", "lots")


# --- who takes over, and what -----------------------------------------------------------------------------------


def test_it_takes_the_position_at_the_bankruptcy_price_and_so_the_margin_that_is_left():
    twin = bankrupt({"account": D})
    rows = marked(twin, 975)
    assert of_kind(rows, codes.TAKEN, "account", "counterparty", "price", "lots", "money", "flags") == [
        (A, D, 970 * PER_TICK, -10, 0, codes.BACKSTOP), (D, A, 970 * PER_TICK, 10, 0, codes.BACKSTOP)]
    assert not kinds(rows, codes.TAKEOVER, codes.ADL) and cash(twin, A) == 0
    assert twin.core.equity(D) == (RICH + 50) * UNIT


def test_at_the_mark_it_takes_the_margin_beside_the_position():
    twin = bankrupt({"account": D, "price": "mark"})
    rows = marked(twin, 975)
    assert of_kind(rows, codes.TAKEN, "account", "price", "lots", "money") == [
        (A, 9_750, -10, -50 * UNIT), (D, 9_750, 10, 50 * UNIT)]
    assert cash(twin, A) == 0 and cash(twin, D) == (RICH + 50) * UNIT


@pytest.mark.parametrize(("price", "debt"), [("mark", 100), ("bankruptcy", 0)])
def test_a_debt_beyond_the_mark_is_the_funds_and_at_the_bankruptcy_price_the_backstops(price, debt):
    twin = bankrupt({"account": D, "price": price}, {D: RICH, FUND: 500})
    rows = marked(twin, 960)
    assert of_kind(rows, codes.DEFICIT, "account", "money") == ([(A, -debt * UNIT)] if debt else [])
    assert twin.core.equity(D) == (RICH - 100 + debt) * UNIT and twin.core.fund_equity() == (500 - debt) * UNIT


def test_the_margin_of_an_isolated_position_goes_with_it():
    twin = opened({A: 1_000, B: RICH, D: RICH}, [], backstop={"account": D, "price": "mark"})
    twin.send(codes.SET_MARGIN_MODE, account=A, qty=codes.ISOLATED)
    twin.send(codes.SET_LEVERAGE, account=A, qty=5_000)
    twin.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=10)
    rows = marked(twin, 985)
    assert of_kind(rows, codes.TAKEN, "account", "money")[1] == (D, 50 * UNIT)
    assert cash(twin, A) == 800 * UNIT


def test_what_its_margin_does_not_carry_falls_to_the_fund():
    twin = bankrupt({"account": D}, {D: 40, FUND: RICH})
    rows = marked(twin, 975)
    assert of_kind(rows, codes.TAKEN, "account", "lots")[1] == (D, 8)
    assert of_kind(rows, codes.TAKEOVER, "counterparty", "lots") == [(FUND, 2)]


def test_what_passes_its_position_limit_falls_to_the_fund():
    twin = bankrupt({"account": D}, {D: RICH, FUND: RICH}, instrument={"position_max": "10"})
    twin.send(codes.OPEN_POSITION, account=D, order_id=C, price=1_000, qty=1)
    rows = marked(twin, 975)
    assert of_kind(rows, codes.TAKEN, "account", "lots")[1] == (D, 9) and lots(twin, FUND) == 1


def test_where_it_has_no_wallet_the_fund_takes_all():
    twin = bankrupt({"account": D}, {FUND: RICH})
    marked(twin, 975)
    assert lots(twin, FUND) == 10


def test_a_deleveraging_fund_is_asked_after_it():
    twin = bankrupt({"account": D}, adl={"trigger": "first"})
    assert kinds(marked(twin, 975), codes.TAKEN, codes.ADL) == [codes.TAKEN, codes.TAKEN]


def test_a_stage_that_takes_over_gives_to_it_without_an_order():
    twin = bankrupt({"account": D}, liquidation={"stages": [{"below_ppm": 1_000_000, "action": "takeover"}]})
    bids(twin, (975, 10))
    assert kinds(marked(twin, 975), codes.TAKEN, codes.LIQUIDATION_ORDER) == [codes.TAKEN, codes.TAKEN]


def test_its_own_positions_go_on_to_the_fund():
    twin = bankrupt({"account": D}, {D: 150, FUND: RICH})
    marked(twin, 975)
    assert lots(twin, D) == 10
    rows = marked(twin, 955)
    assert of_kind(rows, codes.LIQUIDATION_START, "account") == [(D,)]
    assert of_kind(rows, codes.TAKEOVER, "account", "lots") == [(D, 10)] and not kinds(rows, codes.TAKEN)


# --- how it is worked off ---------------------------------------------------------------------------------------


def test_parts_of_what_is_left_go_to_the_market_until_it_is_flat():
    twin = bankrupt({"account": D, "price": "mark", **EVERY, "share_ppm": 500_000, "notional_above": "3000"})
    marked(twin, 975)
    bids(twin, (974, 100))
    assert not kinds(settled(twin, SECOND - 1), codes.DISPOSAL)
    rows = settled(twin, 1)
    assert disposals(rows) == [(D, 1, 5)]
    assert of_kind(rows, codes.FILL, "account", "price", "lots", "flags") == [
        (D, 974, 5, codes.FORCED | codes.BACKSTOP | codes.SELL)]
    assert [disposals(settled(twin, SECOND)) for _ in range(3)] == [[(D, 1, 3)], [(D, 1, 2)], []]
    assert lots(twin, D) == 0 and not twin.core.state.prices.markets[0]["disposal_timer"]


def test_its_fees_are_anybodys():
    twin = bankrupt({"account": D, **EVERY})
    marked(twin, 975)
    bids(twin, (960, 10))
    rows = settled(twin, SECOND)
    assert of_kind(rows, codes.FILL, "money") == [(960 * 10 * UNIT * 5 // 10_000,)]
    assert not kinds(rows, codes.LIQUIDATION_FEE)


@pytest.mark.parametrize(("band", "limit"), [
    ({}, 1), ({"band_ppm": 20_000}, 956), ({"band_ppm": 20_000, "band_around": "index"}, 971),
    ({"band_ppm": 20_000, "band_around": "mid"}, 961)])
def test_its_orders_stay_within_a_band_around_mark_index_or_mid(band, limit):
    twin = bankrupt({"account": D, **EVERY, **band})
    twin.send(codes.INDEX, price=990 * PER_TICK)
    marked(twin, 975)
    bids(twin, (960, 3))
    twin.send(codes.LEVEL_SET, side=codes.ASK, price=1_000, qty=1, flags=codes.LAST)
    rows = settled(twin, SECOND)
    assert disposals(rows) == [(D, limit, 10)]
    assert lots(twin, D) == (7 if limit <= 960 else 10)


def test_an_order_is_no_more_than_a_notional_and_a_share_of_the_offer():
    twin = bankrupt({"account": D, **EVERY, "notional_max": "4000", "offer_ppm": 500_000, "band_ppm": 20_000})
    marked(twin, 975)
    bids(twin, (974, 5), (900, 100))
    assert [disposals(settled(twin, SECOND))[0][2] for _ in range(2)] == [3, 1]
    bids(twin, (974, 100))
    assert disposals(settled(twin, SECOND))[0][2] == 4


def test_a_short_is_bought_back():
    twin = opened({A: 300, B: RICH, D: RICH}, [(B, A, 10)], backstop={"account": D, **EVERY, "band_ppm": 10_000})
    marked(twin, 1_025)
    twin.send(codes.LEVEL_SET, side=codes.ASK, price=1_030, qty=10, flags=codes.LAST)
    assert disposals(settled(twin, SECOND)) == [(D, 1_035, 10)] and lots(twin, D) == 0


def test_without_an_account_the_fund_works_off_what_it_took():
    twin = bankrupt(EVERY, {FUND: RICH})
    rows = marked(twin, 975)
    assert of_kind(rows, codes.TAKEOVER, "counterparty", "lots") == [(FUND, 10)]
    bids(twin, (960, 10))
    assert disposals(settled(twin, SECOND)) == [(FUND, 1, 10)] and lots(twin, FUND) == 0
    assert twin.core.fund_equity() == (RICH - 100) * UNIT - 960 * 10 * UNIT * 5 // 10_000


def test_what_the_fund_loses_by_it_beyond_what_it_has_others_bear():
    twin = bankrupt(EVERY, {FUND: 60}, socialise="profits")
    marked(twin, 975)
    bids(twin, (960, 10))
    rows = settled(twin, SECOND)  # it had 60 and took 50 over, sold 150 below the mark and paid the fees
    fees = 960 * 10 * UNIT * 5 // 10_000
    assert of_kind(rows, codes.DEFICIT, "account", "money") == [(FUND, -40 * UNIT - fees)]
    assert of_kind(rows, codes.SOCIALISED, "account", "money") == [(B, -40 * UNIT - fees), (FUND, 40 * UNIT + fees)]
    assert twin.core.fund_equity() == 0


def test_it_waits_for_a_market_that_stands_still_and_while_it_is_liquidated_itself():
    twin = bankrupt({"account": D, **EVERY}, {D: 150, FUND: RICH}, liquidation={"order_delay_ns": 3 * SECOND})
    marked(twin, 975)
    settled(twin, 6 * SECOND)
    assert lots(twin, D) == 10
    twin.send(codes.HALT)
    assert not disposals(settled(twin, SECOND))
    twin.send(codes.RESUME)
    assert len(disposals(settled(twin, SECOND))) == 1
    marked(twin, 955)
    assert not disposals(settled(twin, 2 * SECOND))


def test_its_trades_move_the_mark_only_where_forced_trades_do():
    for forced, last in ((True, 960), (False, 0)):
        twin = bankrupt({"account": D, **EVERY}, mark={"source": "recorded", "forced_trades": forced})
        marked(twin, 975)
        bids(twin, (960, 10))
        settled(twin, SECOND)
        assert lots(twin, D) == 0 and twin.core.state.prices.markets[0]["last_ticks"] == last


def test_in_the_run_without_feedback_it_leaves_the_book():
    twin = bankrupt({"account": D, **EVERY}, liquidation={"mode": "shadow"})
    marked(twin, 975)
    bids(twin, (960, 10))
    settled(twin, SECOND)
    assert lots(twin, D) == 0 and twin.core.levels(0, codes.BID, 1).tolist()[0][:2] == [960, 10]


@pytest.mark.parametrize(("account", "noted"), [(D, 0), (None, 0), (None, 2)])
def test_the_audit_sees_a_timer_that_is_not_noted_and_a_fund_that_holds_without_one(account, noted):
    twin = bankrupt({"account": account, **EVERY} if account else EVERY, {D: RICH, FUND: RICH})
    marked(twin, 975)
    state = twin.core.state
    state.prices.markets[0]["disposal_timer"] = noted == 2
    if noted == 2:
        state.io.timers["kind"][1 : int(state.io.control[0]["timer_count"]) + 1] = codes.MARK_TICK
    with pytest.raises(InvariantError, match="^BKS-1 does not hold"):
        twin.core.audit()


@pytest.mark.parametrize(("backstop", "field"), [
    ({"price": "mark"}, "price"), ({"account": 7}, "account"), ({"account": FIRST + 64}, "account"),
    ({"account": D, "share_ppm": 1}, "share_ppm"), ({**EVERY, "band_around": "mid"}, "band_around"),
    ({**EVERY, "notional_max": "0"}, "notional_max"), ({**EVERY, "notional_above": "-1"}, "notional_above"),
    ({"period_ns": 1}, "period_ns")])
def test_what_a_configuration_may_not_say(backstop, field):
    with pytest.raises(ConfigError) as refused:
        config.build_venue(venue_table(backstop=backstop))
    assert str(refused.value).startswith(f"$.venue.backstop.{field}")


def test_twins_part_nowhere_while_several_take_over_and_are_worked_off():
    twin = Twin(venue_table(count=2, backstop={"account": D, **EVERY, "share_ppm": 300_000}))
    for account, units in ((A, 700), (B, RICH), (C, 900), (D, 500), (FUND, 200)):
        twin.send(codes.DEPOSIT, account=account, qty=units * UNIT)
    for k in (0, 1):
        twin.send(codes.MARK, price=1_000 * PER_TICK, instrument=k)
        twin.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=10, instrument=k)
        twin.send(codes.OPEN_POSITION, account=B, order_id=C, price=1_000, qty=12, instrument=k)
        bids(twin, (970 - k, 3))
    for ticks in (960, 985, 1_050, 990, 930):
        twin.send(codes.MARK, price=ticks * PER_TICK, instrument=ticks % 2)
        settled(twin, 700_000_000)
    assert twin.reached["outcome DISPOSAL"] and twin.reached["outcome TAKEN"]
