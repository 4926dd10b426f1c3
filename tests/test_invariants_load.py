"""The invariants under load: one mark breaches a tenth of ten thousand accounts; sweeps that need continuations."""

import numpy as np
import pytest

from exchange import codes, config, schema
from exchange.venue import Exchange
from tests.desk import FIRST, MS_DELAY, venue_table

ACCOUNTS = 10_000
WEAK = ACCOUNTS // 10
START, CRASH = 1_000, 970  # ticks
LOTS = 10
NOTIONAL = START * LOTS * 100


def make_rows(kind, count, **columns):
    """Event rows of one kind; a column is one value for all or an array."""
    rows = np.zeros(count, schema.EVENT)
    rows["kind"], rows["ts_ns"] = kind, 1
    for name, values in columns.items():
        rows[name] = values
    return rows


def seeded_exchange():
    """Longs and shorts in pairs; one account in ten is a long whose money covers a fall of two per cent and no more."""
    capacity = {"accounts": ACCOUNTS, "positions": ACCOUNTS, "orders": 64, "external_levels": 64,
                "outcomes": codes.OUTCOMES_PER_ORDER * 64 + codes.OUTCOMES_PER_STEP}
    table = venue_table(1, {"open_interest_max": "1000000"}, capacity=capacity,
                        liquidation={"detection_delay_ns": MS_DELAY, "order_delay_ns": MS_DELAY})
    exchange = Exchange(config.build_venue(table))
    accounts = np.arange(FIRST, FIRST + ACCOUNTS)
    longs, shorts = accounts[::2], accounts[1::2]
    weak = longs[:: len(longs) // WEAK][:WEAK]
    money = np.where(np.isin(accounts, weak), NOTIONAL * 3 // 100, NOTIONAL)
    exchange.submit(np.concatenate([
        make_rows(codes.DEPOSIT, ACCOUNTS, account=accounts, qty=money),
        make_rows(codes.DEPOSIT, 1, account=codes.INSURANCE, qty=NOTIONAL),
        make_rows(codes.MARK, 1, price=START * 10),
        make_rows(codes.OPEN_POSITION, len(longs), account=longs, order_id=shorts, price=START, qty=LOTS)]))
    exchange.run()
    assert not np.any(exchange.outcomes()["code"] >= codes.FIRST_REJECTION)
    return exchange, weak


@pytest.fixture(scope="module")
def seeded():
    exchange, weak = seeded_exchange()
    exchange.audit()
    return exchange, weak


def stages(exchange):
    """Accounts whose wallet is in liquidation."""
    return np.flatnonzero(exchange.state.ledger.wallets["stage"])


def test_one_mark_breaches_a_tenth_of_the_accounts_and_no_other(seeded):
    exchange, weak = seeded[0].copy(), seeded[1]
    checks = int(exchange.state.io.control[0]["guard_checks"])
    exchange.submit(schema.events({"ts_ns": 2, "kind": codes.MARK, "price": CRASH * 10}))
    exchange.run()
    assert np.array_equal(stages(exchange), weak)
    assert int(exchange.state.io.control[0]["guard_checks"]) - checks <= 2 * WEAK, "guards let too many be checked"
    exchange.audit()


@pytest.mark.parametrize("bids", [0, 2_000, 20_000])
def test_the_breached_tenth_is_liquidated_whole_whether_book_fund_or_counterparties_take_it(seeded, bids):
    exchange, weak = seeded[0].copy(), seeded[1]
    rows = [{"ts_ns": 2, "kind": codes.MARK, "price": CRASH * 10}]
    if bids:
        rows.insert(0, {"ts_ns": 2, "kind": codes.LEVEL_SET, "side": codes.BID, "price": CRASH + 1, "qty": bids})
    exchange.submit(schema.events(*rows))
    exchange.run(2 + 5 * MS_DELAY)
    exchange.audit()
    outcomes = exchange.outcomes()
    count = {name: int(np.count_nonzero(outcomes["kind"] == kind)) for kind, name in codes.OUTCOME_NAME.items()}
    started = outcomes["account"][outcomes["kind"] == codes.LIQUIDATION_START]
    assert np.array_equal(started[started >= FIRST], weak), "ties go by account"
    assert len(stages(exchange)) == 0
    assert all(exchange.position(int(account), 0)["lots"] == 0 for account in weak)
    assert np.array_equal(outcomes["seq"], np.arange(outcomes["seq"][0], outcomes["seq"][0] + len(outcomes)))
    assert np.all(np.diff(outcomes["ts_ns"]) >= 0)
    assert (count["FILL"] > 0) == (bids > 0)
    assert (count["TAKEOVER"] + count["ADL"] == 0) == (bids == 20_000)
    assert int(exchange.state.io.control[0]["timer_count"]) == 0


def test_a_funding_sweep_over_every_wallet_is_one_event_in_many_continuations(seeded):
    exchange = seeded[0].copy()
    before = {account: int(exchange.wallet(account)["cash"]) for account in (FIRST, FIRST + 1, codes.RESIDUE)}
    processed = exchange.events_processed
    exchange.submit(schema.events({"ts_ns": 2, "kind": codes.FUNDING_SETTLE, "price": 1_000_001}))
    exchange.run()
    outcomes = exchange.outcomes()
    assert exchange.events_processed == processed + 1
    assert np.array_equal(outcomes["account"], np.arange(FIRST, FIRST + ACCOUNTS)), "each wallet once, in order"
    assert set(outcomes["kind"].tolist()) == {codes.FUNDING}
    assert set(outcomes["cause_seq"].tolist()) == {processed + 1}
    assert set(outcomes["money"][::2].tolist()) == {-1_001}  # 1,000.001 rounded against payer and receiver
    assert set(outcomes["money"][1::2].tolist()) == {1_000}
    assert int(exchange.wallet(FIRST)["cash"]) == before[FIRST] - 1_001
    assert int(exchange.wallet(FIRST + 1)["cash"]) == before[FIRST + 1] + 1_000
    assert int(exchange.wallet(codes.RESIDUE)["cash"]) == before[codes.RESIDUE] + ACCOUNTS // 2
    exchange.audit()


def test_deleveraging_beyond_one_step_goes_on_in_the_next_timer():
    """One large position against 1,500 counterparties: two steps, each within the outbox's reserve."""
    small = 1_500
    capacity = {"accounts": small + 1, "positions": small + 1, "orders": 16, "external_levels": 16,
                "outcomes": codes.OUTCOMES_PER_ORDER * 16 + codes.OUTCOMES_PER_STEP}
    exchange = Exchange(config.build_venue(venue_table(1, {"position_max": "2000"}, capacity=capacity)))
    accounts = np.arange(FIRST, FIRST + small + 1)
    exchange.submit(np.concatenate([
        make_rows(codes.DEPOSIT, small + 1, account=accounts, qty=20_000_000),
        make_rows(codes.MARK, 1, price=START * 10),
        make_rows(codes.OPEN_POSITION, small, account=FIRST, order_id=accounts[1:], price=START, qty=1)]))
    exchange.submit(schema.events({"ts_ns": 2, "kind": codes.MARK, "price": 850 * 10}))
    exchange.run(3)
    outcomes = exchange.outcomes()
    closes = outcomes[(outcomes["kind"] == codes.ADL) & (outcomes["account"] == FIRST)]
    assert np.unique(closes["cause_seq"], return_counts=True)[1].tolist() == [1_024, small - 1_024]
    assert closes["counterparty"].tolist() == accounts[1:].tolist(), "equal scores go by account"
    assert exchange.position(FIRST, 0)["lots"] == 0
    assert len(stages(exchange)) == 0
    exchange.audit()
