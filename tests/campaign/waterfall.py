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


def a_holding_that_is_converted_and_then_liquidated() -> Twin:
    """Offered and converted in part; then worth less than what is owed: the fund alone takes it, at a deficit."""
    table = venue_table(count=2, liquidation=DELAY, mark={"source": "recorded", "period_ns": 0},
                        collateral={"conversions": [{"asset": "USD", "below": "0", "retry_ns": 10_000_000}]})
    spot = {name: value for name, value in table["instruments"][1].items() if name != "tiers"}
    table["instruments"][1] = spot | {"kind": "spot", "haircuts": [{"floor": "0", "haircut_ppm": 50_000}]}
    twin = Twin(table)
    twin.send(codes.MARK, price=MARK)
    twin.send(codes.INDEX, instrument=1, price=MARK)
    twin.send(codes.DEPOSIT, account=B, qty=10_000 * UNIT)
    twin.send(codes.DEPOSIT_ASSET, account=A, instrument=1, qty=10)
    assert twin.send(codes.WITHDRAW_ASSET, account=A, instrument=1, qty=11) == codes.INSUFFICIENT_HOLDING
    assert twin.send(codes.WITHDRAW_ASSET, account=A, instrument=1, qty=2) == codes.OK
    assert twin.send(codes.SET_LEVERAGE, account=A, instrument=1, qty=100) == codes.NOT_CONTRACT
    twin.send(codes.NEW, account=A, order_id=1, side=codes.ASK, price=1_050, qty=8, instrument=1)
    twin.send(codes.LEVEL_SET, side=codes.BID, price=1_000, qty=1, instrument=1, flags=codes.LAST)
    twin.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=20)
    twin.send(codes.OPEN_POSITION, account=B, order_id=A, price=750, qty=20)
    twin.settle(DELAY["order_delay_ns"])
    assert twin.reached["outcome CONVERSION"] and twin.reached["result CANCELLED_BY_CONVERSION"]
    twin.send(codes.INDEX, instrument=1, price=MARK // 2)
    twin.settle()
    assert twin.send(codes.WITHDRAW_ASSET, account=A, instrument=1, qty=1) == codes.IN_LIQUIDATION
    for _ in range(6):
        twin.settle(DELAY["order_delay_ns"])
    assert twin.reached["outcome DEFICIT"] and twin.core.position(codes.INSURANCE, 1)["lots"] == 7
    return twin


def a_unit_that_goes_through_stages() -> Twin:
    """In and out of the first, back too early for its timer, then a step of the larger of two legs, then all of it."""
    stages = [{"below_ppm": 1_250_000, "action": "cancel_orders", "dwell_ns": 10_000_000},
              {"below_ppm": 1_100_000, "action": "reduce", "share_ppm": 100_000, "exit_ppm": 1_200_000,
               "cooldown_ns": 10**9},
              {"below_ppm": 1_000_000, "action": "close"}, {"below_ppm": 500_000, "action": "takeover"}]
    twin = Twin(venue_table(count=3, liquidation={"stages": stages, "order_delay_ns": 10_000_000}))
    for k in (0, 1):
        twin.send(codes.MARK, price=MARK, instrument=k)
    twin.send(codes.DEPOSIT, account=A, qty=1_000 * UNIT)
    twin.send(codes.DEPOSIT, account=B, qty=10_000_000 * UNIT)
    twin.send(codes.DEPOSIT, account=codes.INSURANCE, qty=10_000 * UNIT)
    for k, lots in enumerate((10, 5, 1)):  # the third has no mark
        assert twin.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=lots, instrument=k) == codes.OK
    twin.send(codes.LEVEL_SET, side=codes.BID, price=914, qty=4, flags=codes.LAST)
    for ticks, wait_ns in ((917, 5_000_000), (920, 1_000_000), (917, 4_000_000), (920, 10_000_000)):
        twin.send(codes.MARK, price=ticks * MARK // 1_000)
        twin.settle(wait_ns)
    assert not twin.reached["outcome STAGE"]
    twin.send(codes.MARK, price=917 * MARK // 1_000)
    twin.settle(10_000_000)
    assert twin.reached["outcome STAGE"] == 1
    twin.send(codes.MARK, price=915 * MARK // 1_000)
    twin.settle()
    twin.settle(10_000_000)
    assert twin.core.position(A, 0)["lots"] == 9 and twin.reached["result REDUCED"]
    twin.send(codes.MARK, price=907 * MARK // 1_000)
    twin.settle()
    twin.send(codes.MARK, price=900 * MARK // 1_000)
    for _ in range(6):
        twin.settle(10_000_000)
    assert twin.reached["outcome TAKEOVER"] and twin.core.position(A, 0)["lots"] == 0
    return twin


def a_fund_that_is_closed_out_in_debt(rule: str) -> Twin:
    """It inherits a long, is deleveraged at a mark at which it is in debt, and those who still hold something bear it;
    winners give up their profit only where they have one."""
    twin = opened(1, {codes.INSURANCE: 200, A: 300, B: 10_000, C: 10_000, D: 10_000}, liquidation=DELAY,
                  adl={"price": "mark", "ranking": "pro_rata"}, socialise=rule)
    for long, short, lots in ((A, B, 10), (D, C, 4)):
        twin.send(codes.OPEN_POSITION, account=long, order_id=short, price=1_000, qty=lots)
    for ticks in (975, 945):
        twin.send(codes.MARK, price=ticks * MARK // 1_000)
        for _ in range(6):
            twin.settle(DELAY["order_delay_ns"])
    assert twin.reached["outcome SOCIALISED"] >= 2 and twin.core.fund_equity() >= 0
    return twin


def two_liquidations_that_meet() -> Twin:
    """Deleveraging comes first and takes units in liquidation: one closes a leg of the other, which goes on."""
    twin = opened(2, {A: 300, B: 400, C: 90_000}, liquidation=DELAY,
                  adl={"trigger": "first", "counterparties": "all", "overlap": True})
    twin.send(codes.OPEN_POSITION, account=A, order_id=B, price=1_000, qty=10)
    twin.send(codes.OPEN_POSITION, account=B, order_id=C, price=1_000, qty=10, instrument=1)
    twin.send(codes.MARK, price=MARK - 700, instrument=1)
    twin.send(codes.MARK, price=MARK - 250)
    for _ in range(10):
        twin.settle(DELAY["order_delay_ns"])
    assert twin.reached["outcome ADL"] >= 2 and twin.reached["outcome LIQUIDATION_END"] == 2
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
            a_forced_order_at_a_price_band("join", 3), a_forced_order_in_a_halt(),
            a_holding_that_is_converted_and_then_liquidated(), a_unit_that_goes_through_stages(),
            two_liquidations_that_meet(), a_fund_that_is_closed_out_in_debt("positions"),
            a_fund_that_is_closed_out_in_debt("profits")]
