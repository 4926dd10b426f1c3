"""Directed worlds at the far end of the liquidation waterfall, where random streams seldom come. All through `Twin`."""

from exchange import codes, config, schema
from exchange.core.adl import ADL_STEP
from exchange.venue import Exchange
from tests.campaign.twin import Twin
from tests.desk import FIRST, INSTRUMENT, UNIT, venue_table
from tests.differential import first_difference, run_reference

A, B, C, D = range(FIRST, FIRST + 4)
DELAY = {"order_delay_ns": 10_000_000}
MARK = 1_000 * INSTRUMENT["mark_per_tick"]


def opened(count: int, cash: dict[int, int], **sections: dict[str, int]) -> Twin:
    """`count` marked instruments, accounts with so many units of money."""
    twin = Twin(venue_table(count=count, **sections))
    for k in range(count):
        twin.send(codes.MARK, instrument=k, price=MARK)
    for account, units in cash.items():
        twin.send(codes.DEPOSIT, account=account, qty=units * UNIT)
    return twin


def debt_of_a_flat_unit(mode: int) -> Twin:
    """Funding is paid after the bankruptcy price was planned: the unit ends flat and in debt, and the fund pays."""
    twin = opened(1, {A: 500, B: 10_000}, liquidation=DELAY)
    twin.send(codes.SET_MARGIN_MODE, account=A, qty=mode)
    twin.send(codes.SET_LEVERAGE, account=A, qty=2_500)
    twin.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=10)
    twin.send(codes.MARK, price=MARK - 500)
    twin.settle()
    twin.send(codes.FUNDING_SETTLE, price=50_000_000)
    for _ in range(6):
        twin.settle(DELAY["order_delay_ns"])
    assert twin.reached["outcome DEFICIT"]
    return twin


def nobody_to_deleverage() -> Twin:
    """The only counterparty is liquidated itself: the fund takes what it cannot carry, and cannot be deleveraged."""
    twin = opened(2, {A: 300, B: 600, C: 90_000}, liquidation=DELAY)
    twin.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=10)
    twin.send(codes.OPEN_POSITION, account=B, order_id=C, price=1_000, qty=20, instrument=1)
    twin.send(codes.MARK, price=MARK - 800)
    twin.send(codes.MARK, price=MARK - 4_000, instrument=1)
    for _ in range(12):
        twin.settle(DELAY["order_delay_ns"])
    twin.send(codes.MARK, price=MARK - 2_000)
    for _ in range(6):
        twin.settle(DELAY["order_delay_ns"])
    assert twin.reached["outcome DEFICIT"] >= 2
    return twin


def a_fund_short_of_counterparties(recovers: bool) -> Twin:
    """The fund's own deleveraging finds no counterparty, or half of what it needs at a price that makes it whole."""
    twin = opened(1, {codes.INSURANCE: 200, A: 300, C: 90_000, D: 90_000}, liquidation=DELAY)
    twin.send(codes.LEVEL_SET, side=codes.ASK, price=1_000, qty=10, flags=codes.LAST)
    twin.send(codes.NEW, account=A, order_id=1, side=codes.BID, price=1_000, qty=10, time_in_force=codes.IOC)
    twin.send(codes.MARK, price=MARK - 250)
    for _ in range(4):
        twin.settle(DELAY["order_delay_ns"])
    twin.send(codes.MARK, price=MARK - 550)
    twin.settle()
    assert twin.core.wallet(codes.INSURANCE)["stage"] == codes.STAGE_ADL
    if recovers:
        twin.send(codes.OPEN_POSITION, account=C, order_id=D, price=945, qty=5)
        twin.send(codes.MARK, price=MARK - 1_000)
        twin.send(codes.DEPOSIT, account=codes.INSURANCE, qty=500 * UNIT)
    twin.settle(DELAY["order_delay_ns"])
    assert twin.reached["outcome DEFICIT"] == 1 and (twin.core.fund_equity() > 0) == recovers
    return twin


def a_unit_of_huge_notional() -> Twin:
    """Maintenance beyond 2**31 quanta: the weights of the legs are halved until their products fit."""
    table = venue_table(count=2, instrument={"order_max": "1000"})
    twin = Twin({**table, "assets": [{"name": "USD", "quantum": "0.000001"}]})
    unit = 10**6
    for k in (0, 1):
        twin.send(codes.MARK, instrument=k, price=MARK)
    for account, units in ((A, 60_000), (B, 10**7)):
        twin.send(codes.DEPOSIT, account=account, qty=units * unit)
    for k, lots in ((0, 300), (1, 400)):
        assert twin.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=lots, instrument=k) == codes.OK
    twin.send(codes.MARK, price=MARK - 500)
    twin.settle()
    assert twin.reached["outcome LIQUIDATION_START"]
    return twin


def a_forced_order_at_a_price_band(in_auction: str, orders: int) -> Twin:
    """It trades as far as the band, an auction begins, and what is left waits there or joins it, if a slot is free."""
    auction = {"dynamic_ppm": 3_000, "duration_ns": DELAY["order_delay_ns"]}
    twin = opened(1, {codes.INSURANCE: 200, A: 300, B: 10_000, C: 10_000}, auction=auction,
                  liquidation={"in_auction": in_auction}, capacity={"orders": orders})
    twin.send(codes.LEVEL_SET, side=codes.ASK, price=1_000, qty=5)
    twin.send(codes.LEVEL_SET, side=codes.BID, price=998, qty=3)
    twin.send(codes.LEVEL_SET, side=codes.BID, price=990, qty=50, flags=codes.LAST)
    twin.send(codes.NEW, account=C, order_id=1, side=codes.BID, price=1_000, qty=1, time_in_force=codes.IOC)
    twin.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=10)
    twin.send(codes.MARK, price=MARK - 250)
    for _ in range(4):
        twin.settle(DELAY["order_delay_ns"])
    assert twin.reached["outcome AUCTION"] and twin.reached["outcome LIQUIDATION_END"]
    return twin


def a_forced_order_in_a_halt() -> Twin:
    """It waits, without a timer, until the market goes on."""
    twin = opened(1, {codes.INSURANCE: 200, A: 300, B: 10_000})
    twin.send(codes.LEVEL_SET, side=codes.BID, price=990, qty=50, flags=codes.LAST)
    twin.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=10)
    twin.send(codes.HALT)
    twin.send(codes.MARK, price=MARK - 250)
    twin.settle(DELAY["order_delay_ns"])
    assert twin.reached["outcome LIQUIDATION_START"] and not twin.reached["outcome LIQUIDATION_ORDER"]
    twin.send(codes.RESUME)
    twin.settle()
    assert twin.reached["outcome LIQUIDATION_END"]
    return twin


def more_counterparties_than_one_step_closes() -> None:
    """One whale against more accounts than a step deleverages: the next step goes on. (One comparison at the end.)"""
    others = ADL_STEP + 6
    table = venue_table(capacity={"accounts": others + 2, "positions": others + 2, "orders": 4, "outcomes": 1 << 15},
                        instrument={"position_max": "4000"})
    rows = [{"kind": codes.MARK, "price": MARK}, {"kind": codes.DEPOSIT, "account": A, "qty": 60_000 * UNIT}]
    rows += [{"kind": codes.DEPOSIT, "account": B + k, "qty": 5_000 * UNIT} for k in range(others)]
    rows += [{"kind": codes.OPEN_POSITION, "account": A, "order_id": B + k, "price": 1_000, "qty": 1}
             for k in range(others)]
    rows += [{"kind": codes.MARK, "price": MARK // 2}]
    events, venue = schema.events(*({"ts_ns": 1, **row} for row in rows)), config.build_venue(table)
    exchange = Exchange(venue)
    exchange.submit(events)
    exchange.run(2)
    exchange.audit()
    difference = first_difference(exchange.outcomes().tolist(), run_reference(venue, events)[0], events)
    assert not difference, difference


def worlds() -> list[Twin]:
    """Every directed world that is driven step by step."""
    return [debt_of_a_flat_unit(codes.CROSS), debt_of_a_flat_unit(codes.ISOLATED), nobody_to_deleverage(),
            a_fund_short_of_counterparties(True), a_fund_short_of_counterparties(False), a_unit_of_huge_notional(),
            a_forced_order_at_a_price_band("wait", 16), a_forced_order_at_a_price_band("join", 16),
            a_forced_order_at_a_price_band("join", 3), a_forced_order_in_a_halt()]
