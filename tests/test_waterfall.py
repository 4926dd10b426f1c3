"""The waterfall after the book: when deleveraging comes, whom it takes and at what price; the fund; who bears a deficit.

One lot moving one tick is one unit of money. Longs of ten lots at 1,000 with 300 units are bankrupt at 970.
"""

import numpy as np
import pytest

from exchange import codes, config, schema
from exchange.core.socialise import SHARE_STEP
from exchange.dump import dump
from exchange.errors import ConfigError
from exchange.reference.venue import ReferenceVenue
from exchange.venue import Exchange
from tests.campaign.twin import Twin
from tests.campaign_events import make_events, make_venue
from tests.desk import FIRST, INSTRUMENT, SECOND, UNIT, venue_table
from tests.differential import first_difference

A, B, C, D, E = range(FIRST, FIRST + 5)
FUND = codes.INSURANCE
PER_TICK = INSTRUMENT["mark_per_tick"]
RICH = 100_000
FIELDS = schema.OUTCOME.names


def opened(cash, pairs, **sections):
    """Accounts with so many units of money; (long, short, lots) at 1,000, which is the mark."""
    twin = Twin(venue_table(**sections))
    twin.send(codes.MARK, price=1_000 * PER_TICK)
    for account, units in cash.items():
        twin.send(codes.DEPOSIT, account=account, qty=units * UNIT)
    for long, short, lots in pairs:
        assert twin.send(codes.OPEN_POSITION, account=long, order_id=short, price=1_000, qty=lots) == codes.OK
    return twin


def bought_of_the_recorded_market(twin, count):
    """A buys lots at 1,000 of EXTERNAL; it may pay the taker's fee out of a deposit of its own."""
    twin.send(codes.DEPOSIT, account=A, qty=count * 50)
    twin.send(codes.LEVEL_SET, side=codes.ASK, price=1_000, qty=count, flags=codes.LAST)
    order = {"side": codes.BID, "price": 1_000, "qty": count, "time_in_force": codes.IOC}
    assert twin.send(codes.NEW, account=A, order_id=1, **order) == codes.FILLED


def both_bankrupt(adl, **sections):
    """A, long ten here of B, and B, long ten of C in a second instrument, both below their maintenance."""
    twin = opened({A: 300, B: 400, C: RICH}, [(A, B, 10)], count=2, adl=adl, **sections)
    twin.send(codes.MARK, price=1_000 * PER_TICK, instrument=1)
    twin.send(codes.OPEN_POSITION, account=B, order_id=C, price=1_000, qty=10, instrument=1)
    twin.send(codes.MARK, price=930 * PER_TICK, instrument=1)
    twin.send(codes.MARK, price=975 * PER_TICK)
    return twin


def marked(twin, ticks, wait_ns=0):
    """Outcomes, as dicts, of what a mark sets off."""
    twin.send(codes.MARK, price=round(ticks * PER_TICK))
    return settled(twin, wait_ns)


def settled(twin, wait_ns=0):
    return [dict(zip(FIELDS, row, strict=True)) for row in twin.settle(wait_ns)]


def of_kind(rows, kind, *names):
    return [tuple(row[name] for name in names) for row in rows if row["kind"] == kind]


def kinds(rows, *chosen):
    return [row["kind"] for row in rows if row["kind"] in chosen]


def closes(rows):
    """(account, lots) of each counterparty that was deleveraged."""
    return of_kind(rows, codes.ADL, "account", "lots")[1::2]


def lots(twin, account):
    position = twin.core.position(account, 0)
    return 0 if position is None else int(position["lots"])


def cash(twin, account):
    return int(twin.core.wallet(account)["cash"])


# --- when --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("trigger", "expected"), [("shortfall", codes.TAKEOVER), ("first", codes.ADL)])
def test_deleveraging_comes_after_the_fund_or_before_it(trigger, expected):
    twin = opened({FUND: RICH, A: 300, B: RICH}, [(A, B, 10)], adl={"trigger": trigger})
    rows = marked(twin, 975)
    assert set(kinds(rows, codes.TAKEOVER, codes.ADL)) == {expected}
    assert lots(twin, A) == 0 and lots(twin, FUND) == (10 if expected == codes.TAKEOVER else 0)


def test_without_deleveraging_the_fund_takes_what_it_cannot_carry():
    twin = opened({A: 300, B: RICH}, [(A, B, 10)], adl={"trigger": "never"})
    rows = marked(twin, 960)
    assert kinds(rows, codes.TAKEOVER, codes.ADL, codes.DEFICIT) == [codes.TAKEOVER, codes.DEFICIT, codes.DEFICIT]
    assert lots(twin, FUND) == 10 and lots(twin, B) == -10 and twin.core.fund_equity() == -100 * UNIT


def test_deleveraging_comes_first_from_a_threshold_of_the_fund_on_until_it_is_filled_again():
    adl = {"trigger": "fund_equity", "start_below": "500", "stop_at": "800"}
    cash_of = {FUND: 600, E: RICH, A: 300} | dict.fromkeys((B, C, D), 1_300)
    twin = opened(cash_of, [(account, E, 10) for account in (A, B, C, D)], adl=adl)
    assert kinds(marked(twin, 950), codes.TAKEOVER, codes.ADL) == [codes.TAKEOVER]  # of 600 it loses 200
    for account, deposit, expected in ((B, 0, codes.ADL), (C, 300, codes.ADL), (D, 300, codes.TAKEOVER)):
        if deposit:
            twin.send(codes.DEPOSIT, account=FUND, qty=deposit * UNIT)
        for buyer, seller, ticks in ((E, account, 870), (account, E, 950)):  # it loses all of its 800
            twin.send(codes.OPEN_POSITION, account=buyer, order_id=seller, price=ticks, qty=10)
        assert set(kinds(settled(twin), codes.TAKEOVER, codes.ADL)) == {expected}


def test_deleveraging_comes_first_while_the_fund_has_lost_too_much_of_a_window():
    adl = {"trigger": "drawdown", "window_ns": SECOND, "drawdown_ppm": 300_000}
    cash_of = {FUND: 500, D: RICH} | dict.fromkeys((A, B, C), 300)
    twin = opened(cash_of, [(account, D, 10) for account in (A, B, C)], adl=adl)
    rows = marked(twin, 950)
    assert of_kind(rows, codes.TAKEOVER, "account", "lots", "money") == [(A, 10, 500 * UNIT)]
    assert [account for account, _ in of_kind(rows, codes.ADL, "account", "lots")[0::2]] == [B, C]
    assert twin.core.fund_equity() == 300 * UNIT  # 200 lost, beyond three tenths of the peak of 500


def test_a_new_window_clears_a_drawdown():
    adl = {"trigger": "drawdown", "window_ns": SECOND, "drawdown": "150"}
    cash_of = {FUND: 500, D: RICH, A: 300, B: 300, C: 600}
    twin = opened(cash_of, [(account, D, 10) for account in (A, B, C)], adl=adl)
    assert kinds(marked(twin, 950), codes.TAKEOVER, codes.ADL) == [codes.TAKEOVER, codes.ADL, codes.ADL]
    settled(twin, SECOND)
    assert of_kind(marked(twin, 930), codes.TAKEOVER, "account", "lots") == [(C, 10)]


# --- whom --------------------------------------------------------------------------------------------------------


def test_each_ranking_orders_by_its_own_profit_and_leverage():
    """Shorts of ten at a mark of 900: B won 1,000 on 1,000, C 1,500 on 1,200, D 1,000 on 9,000."""
    expected = {
        "profit_leverage": [C, B, D], "collateral_profit": [B, C, D], "price_ratio": [B, C, D],
        "margin_ratio": [C, B, D], "stated_leverage": [C, B, D], "list": [B, C, D],
    }
    for ranking, order in expected.items():
        twin = opened({A: RICH, B: 1_000, C: 1_200, D: 9_000}, [(A, B, 10), (A, D, 10)], adl={"ranking": ranking})
        twin.send(codes.OPEN_POSITION, account=A, order_id=C, price=1_050, qty=10)
        twin.send(codes.MARK, price=900 * PER_TICK)
        places = twin.core.adl_queue(0, codes.ASK)
        assert [place.account for place in places] == order, ranking
        assert sorted(place.percentile for place in places) == [40, 80, 100]


def test_a_score_is_profit_times_leverage_in_ppm():
    """B: short ten at 1,000, now 900, with 1,000: entry 10,000, profit 1,000, notional 9,000, equity 2,000."""
    scores = {
        "profit_leverage": 100_000 * 4_500_000, "collateral_profit": 1_000_000 * 4_500_000,
        "margin_ratio": 1_000_000 * 9_000_000, "stated_leverage": 1_000_000 * 50_000_000,
        "price_ratio": 1_111_111 * 4_500_000, "list": 0, "pro_rata": 100_000 * 4_500_000,
    }
    for ranking, product in scores.items():
        twin = opened({A: RICH, B: 1_000}, [(A, B, 10)], adl={"ranking": ranking})
        twin.send(codes.SET_LEVERAGE, account=B, qty=5_000)
        twin.send(codes.MARK, price=900 * PER_TICK)
        (place,) = twin.core.adl_queue(0, codes.ASK)
        assert place.score_ppm == product // 10**6, ranking
        (loser,) = twin.core.adl_queue(0, codes.BID)
        assert loser.score_ppm <= 0 or ranking == "price_ratio"


def test_the_queue_is_only_looked_at():
    twin = opened({A: RICH, B: 1_000}, [(A, B, 10)])
    before = dump(twin.core.state), twin.core.state.io.control.tobytes(), twin.core.state.io.ranks.tobytes()
    twin.core.adl_queue(0, codes.ASK)
    assert before == (dump(twin.core.state), twin.core.state.io.control.tobytes(), twin.core.state.io.ranks.tobytes())
    assert twin.core.adl_queue(0, codes.BID)[0].lots == 10


def test_pro_rata_takes_whole_lots_of_everybody_and_what_rounding_leaves_of_the_first():
    """Seven lots of shorts of 5, 3 and 2: 3.5, 2.1 and 1.4 are 3, 2 and 1, and one more of the highest score, D's."""
    cash_of = {A: 210, E: RICH, B: 9_000, C: 9_000, D: 2_000}
    adl = {"trigger": "first", "ranking": "pro_rata"}
    twin = opened(cash_of, [(A, B, 5), (A, C, 2), (E, C, 1), (E, D, 2)], adl=adl)
    rows = marked(twin, 975)
    assert closes(rows) == [(D, 2), (B, 3), (C, 2)]
    assert (lots(twin, B), lots(twin, C), lots(twin, D)) == (-2, -1, 0)


def test_pro_rata_with_too_few_lots_closes_everybody_and_the_fund_takes_the_rest():
    """Four of A's ten lots were sold by the recorded market, which is nobody's counterparty."""
    twin = opened({A: 300, B: 9_000}, [(A, B, 6)], adl={"trigger": "first", "ranking": "pro_rata"})
    bought_of_the_recorded_market(twin, 4)
    rows = marked(twin, 960)
    assert closes(rows) == [(B, 6)]
    assert (lots(twin, A), lots(twin, B), lots(twin, FUND)) == (0, 0, 4)


def test_units_in_liquidation_are_closed_against_only_where_the_venue_says_so():
    """B is short here and long in a second instrument, whose fall makes it bankrupt together with A."""
    for counterparties, closed in (("healthy", []), ("all", [(B, 10)])):
        rows = settled(both_bankrupt({"trigger": "first", "counterparties": counterparties}))
        assert [close for close in closes(rows) if close[0] == B] == closed
        assert ((A,) in of_kind(rows, codes.TAKEOVER, "account")) == (not closed)


def test_a_unit_whose_leg_another_liquidation_closed_goes_back_to_the_book_with_the_next():
    """Both are at stage ADL when A closes against B: what B has in the second instrument is offered to the book."""
    twin = both_bankrupt({"trigger": "first", "counterparties": "all"}, liquidation={"order_delay_ns": 100})
    rows = [row for _ in range(8) for row in settled(twin, 100)]
    assert closes(rows)[0] == (B, 10)
    assert [row["instrument"] for row in rows if (row["kind"], row["account"]) == (codes.LIQUIDATION_ORDER, B)] == [0, 1]


def test_with_overlap_nobody_closes_beyond_his_own_bankruptcy_price():
    """B's short, bankrupt above 967, is not closed at 970, where A's long is bankrupt; C's is."""
    for overlap, expected in ((False, [(B, 10)]), (True, [(C, 10)])):
        adl = {"trigger": "first", "overlap": overlap, "ranking": "list"}
        twin = opened({A: 300, B: 120, C: RICH, D: RICH}, [(A, C, 10)], adl=adl)
        twin.send(codes.MARK, price=955 * PER_TICK)
        twin.send(codes.OPEN_POSITION, account=D, order_id=B, price=955, qty=10)
        assert closes(settled(twin)) == expected


# --- at what price -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("price", "ticks"), [("bankruptcy", 970), ("mark", 960), ("previous_mark", 985)])
def test_the_difference_to_the_bankruptcy_price_is_the_account_s(price, ticks):
    twin = opened({FUND: RICH, A: 300, B: RICH}, [(A, B, 10)], adl={"trigger": "first", "price": price})
    twin.send(codes.MARK, price=985 * PER_TICK)
    rows = marked(twin, 960.4)
    assert of_kind(rows, codes.ADL, "price") == [(ticks,)] * 2
    left = (ticks - 970) * 10 * UNIT
    assert cash(twin, A) == max(0, left)
    assert of_kind(rows, codes.DEFICIT, "account", "money") == ([(A, left)] if left < 0 else [])
    assert cash(twin, B) == (RICH + (1_000 - ticks) * 10) * UNIT


def test_the_mark_of_a_short_is_rounded_up():
    twin = opened({A: RICH, B: 300}, [(A, B, 10)], adl={"trigger": "first", "price": "mark"})
    assert of_kind(marked(twin, 1_025.3), codes.ADL, "price") == [(1_026,)] * 2


# --- the fund ----------------------------------------------------------------------------------------------------


def test_the_fund_loses_no_more_in_an_interval_than_it_may():
    """At 950 each lot of a long bankrupt at 970 costs 20: of 250 that is twelve lots, ten of A's and two of B's."""
    fund = {"use_max": "250", "interval_ns": SECOND}
    twin = opened({FUND: RICH, A: 300, B: 300, D: RICH}, [(A, D, 10), (B, D, 10)], fund=fund)
    rows = marked(twin, 950)
    assert of_kind(rows, codes.TAKEOVER, "account", "lots") == [(A, 10), (B, 2)]
    assert closes(rows) == [(D, 8)]
    assert int(twin.core.state.ledger.funds[0]["used"]) == 240 * UNIT


# --- who bears a deficit -----------------------------------------------------------------------------------------


def deficit_of(rule, cash_of, pairs, ticks=950, **sections):
    """A long of A's falls to the fund, which has nothing, and nobody is deleveraged."""
    twin = opened(cash_of, pairs, adl={"trigger": "never"}, socialise=rule, **sections)
    return twin, marked(twin, ticks)


def test_every_lot_bears_as_much_rounded_up_and_the_excess_is_residue():
    """20,000 quanta over the eighteen lots of B, C, D and E are 1,112 each, 16 too many in all."""
    twin, rows = deficit_of("positions", {A: 300, B: RICH, C: RICH, D: RICH, E: RICH}, [(A, B, 10), (C, D, 3), (E, B, 1)])
    shares = of_kind(rows, codes.SOCIALISED, "account", "counterparty", "lots", "money")
    each = -(-20_000 // 18)
    assert shares == [(B, FUND, -11, -11 * each), (C, FUND, 3, -3 * each), (D, FUND, -3, -3 * each),
                      (E, FUND, 1, -each), (FUND, 0, 0, 20_000), (codes.RESIDUE, 0, 0, 18 * each - 20_000)]
    assert {row["liquidation_id"] for row in rows if row["kind"] == codes.SOCIALISED} == {1}
    assert twin.core.fund_equity() == 0 and lots(twin, FUND) == 10


def test_winners_keep_the_floor_of_their_share_and_the_last_what_rounding_leaves():
    """B wins 500, C 150, D nothing, E loses: of 200 lacking B and the last, C, bear what leaves them their floors."""
    twin, rows = deficit_of("profits", {A: 300, B: RICH, C: RICH, D: RICH, E: RICH}, [(A, B, 10), (E, C, 3)])
    gains = {B: 500 * UNIT, C: 150 * UNIT}
    kept_b = gains[B] * (sum(gains.values()) - 200 * UNIT) // sum(gains.values())
    shares = of_kind(rows, codes.SOCIALISED, "account", "money")
    assert shares == [(B, kept_b - gains[B]), (C, gains[B] - kept_b - 200 * UNIT), (FUND, 200 * UNIT)]
    assert cash(twin, D) == RICH * UNIT and cash(twin, E) == RICH * UNIT


def test_a_deficit_beyond_all_profits_stays_on_the_record():
    """B wins 100 of C; A's loss, to the recorded market, is 200 more than it had."""
    twin = opened({A: 300, B: RICH, C: RICH}, [(C, B, 2)], adl={"trigger": "never"}, socialise="profits")
    bought_of_the_recorded_market(twin, 10)
    rows = marked(twin, 950)
    assert of_kind(rows, codes.SOCIALISED, "account", "money") == [(B, -100 * UNIT), (FUND, 100 * UNIT)]
    assert twin.core.fund_equity() == -100 * UNIT
    assert int(twin.core.state.ledger.funds[0]["uncovered"]) == 100 * UNIT


def test_who_holds_nothing_bears_nothing():
    twin = opened({A: 300, B: RICH}, [], adl={"trigger": "never"}, socialise="positions")
    bought_of_the_recorded_market(twin, 10)
    rows = marked(twin, 950)
    assert not of_kind(rows, codes.SOCIALISED)
    assert cash(twin, B) == RICH * UNIT and twin.core.fund_equity() < 0
    assert int(twin.core.state.ledger.funds[0]["uncovered"]) == -twin.core.fund_equity()


def test_uses_above_their_bound_are_borne_by_others_though_the_fund_is_rich():
    fund = {"use_max": "50", "interval_ns": SECOND}
    twin, rows = deficit_of("positions", {FUND: RICH, A: 300, B: RICH}, [(A, B, 10)], fund=fund)
    assert of_kind(rows, codes.SOCIALISED, "account", "money") == [(B, -150 * UNIT), (FUND, 150 * UNIT)]
    assert twin.core.fund_equity() == (RICH - 50) * UNIT and int(twin.core.state.ledger.funds[0]["used"]) == 50 * UNIT


def test_who_lacks_margin_after_its_share_is_liquidated_in_its_turn():
    """C, long too, has 110 and must have 95; ten lots of the thirty that bear 200 leave it 43."""
    twin, rows = deficit_of("positions", {A: 300, B: RICH, C: 610}, [(A, B, 10), (C, B, 10)])
    assert of_kind(rows, codes.LIQUIDATION_START, "account") == [(A,), (C,)]
    assert lots(twin, C) == 0 and twin.core.fund_equity() == 40 * UNIT  # taken at 946, marked at 950


def test_a_debt_of_a_flat_wallet_is_borne_in_the_first_of_its_instruments_that_somebody_holds():
    """Deleveraged at the mark A is flat and owes 100, which B, flat too, does not bear: C and D do."""
    twin = opened({A: 300, B: RICH, C: RICH, D: RICH}, [(A, B, 10), (C, D, 4)],
                  adl={"trigger": "first", "price": "mark", "ranking": "list"}, socialise="positions")
    rows = marked(twin, 960)
    assert of_kind(rows, codes.DEFICIT, "account", "money") == [(A, -100 * UNIT)]
    assert of_kind(rows, codes.SOCIALISED, "account", "money") == [
        (C, -50 * UNIT), (D, -50 * UNIT), (FUND, 100 * UNIT)]


def test_more_bearers_than_one_continuation_asks_are_all_asked():
    others = SHARE_STEP + 6
    capacity = {"accounts": others + 2, "positions": others + 2, "orders": 4, "outcomes": 1 << 15}
    table = venue_table(capacity=capacity, instrument={"position_max": "4000"}, adl={"trigger": "never"},
                        socialise="profits")
    rows = [{"kind": codes.MARK, "price": 1_000 * PER_TICK}, {"kind": codes.DEPOSIT, "account": A, "qty": 60_000 * UNIT}]
    rows += [{"kind": codes.DEPOSIT, "account": B + k, "qty": 5_000 * UNIT} for k in range(others)]
    rows += [{"kind": codes.OPEN_POSITION, "account": A, "order_id": B + k, "price": 1_000, "qty": 1}
             for k in range(others)]
    rows += [{"kind": codes.MARK, "price": 500 * PER_TICK}]
    events, venue = schema.events(*({"ts_ns": 1, **row} for row in rows)), config.build_venue(table)
    exchange, reference = Exchange(venue), ReferenceVenue(venue)
    exchange.submit(events)
    exchange.run(2)
    exchange.audit()
    reference.process(events)
    reference.run(2)
    outcomes = exchange.outcomes()
    assert not first_difference(outcomes.tolist(), reference.outcomes(), events)
    shares = outcomes[(outcomes["kind"] == codes.SOCIALISED) & (outcomes["account"] >= FIRST)]
    assert len(np.unique(shares["account"])) == others


# --- settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sections", "where"), [
    ({"adl": {"start_below": "5"}}, "$.venue.adl.start_below"),
    ({"adl": {"trigger": "fund_equity"}}, "$.venue.adl.start_below"),
    ({"adl": {"trigger": "fund_equity", "start_below": "5", "stop_at": "4"}}, "$.venue.adl.stop_at"),
    ({"adl": {"trigger": "drawdown", "drawdown": "5"}}, "$.venue.adl.window_ns"),
    ({"adl": {"trigger": "drawdown", "window_ns": 1}}, "$.venue.adl.drawdown"),
    ({"adl": {"trigger": "drawdown", "window_ns": 1, "drawdown": "1", "drawdown_ppm": 1}}, "$.venue.adl.drawdown"),
    ({"adl": {"ranking": "best"}}, "$.venue.adl.ranking"),
    ({"fund": {"use_max": "5"}}, "$.venue.fund.interval_ns"),
    ({"fund": {"use_max": "0.001", "interval_ns": 1}}, "$.venue.fund.use_max"),
    ({"socialise": "all"}, "$.venue.socialise"),
])
def test_a_waterfall_that_makes_no_sense_is_refused(sections, where):
    with pytest.raises(ConfigError) as refusal:
        config.build_venue(venue_table(**sections))
    assert where in str(refusal.value)


# --- over random streams -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [seed for seed in range(1, 60) if make_venue(seed).socialise != "none"][:8])
def test_shares_add_up_and_deleveraging_closes_as_much_as_it_is_asked_for(seed):
    venue = make_venue(seed)
    exchange = Exchange(venue)
    events = make_events(venue, seed, 800)
    exchange.submit(events)
    exchange.run(int(events["ts_ns"][-1]) + 1)
    exchange.audit()
    outcomes = exchange.outcomes()
    shares, closed = (outcomes[outcomes["kind"] == kind] for kind in (codes.SOCIALISED, codes.ADL))
    for cause in np.unique(shares["cause_seq"]):
        of_one = shares[shares["cause_seq"] == cause]
        assert of_one["money"].sum() == 0
        assert np.all(of_one["lots"][of_one["account"] >= FIRST] != 0), "somebody who holds nothing bears something"
    assert np.array_equal(closed["lots"][0::2], -closed["lots"][1::2])
    assert np.all(closed["account"][1::2] >= FIRST)
