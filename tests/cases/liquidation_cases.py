"""Liquidation end to end, bankruptcy prices, the insurance fund and deleveraging."""

from decimal import Decimal
from typing import Any

import scaling
from case_desk import BANK, HOLDER, OTHER, THIRD, Contract, Desk, Row, of_kind
from case_files import Case
from registry import Unsupported, adapter

from exchange import codes

PENNY = Decimal("0.01")
QUANTA_OF_DYDX = -2  # power of ten: quote quanta of 1e-6 for base quanta of 1e-8


def carry(desk: Desk, account: int, quote: Any, sizes: list[Any]) -> None:
    """Give an account positions and the quote balance (cash less entry values) beside them, before any mark.

    It enters longs at the ladder's top and shorts at its bottom, so that cash with the entry values given back is not
    negative.
    """
    desk.move_cash(codes.DEPOSIT, account, 1)
    entries = [0]
    for k, size in enumerate(sizes):
        if size:
            long = size > 0
            price = desk.contracts[k].price_max if long else desk.contracts[k].tick
            desk.seed(account, BANK, "long" if long else "short", price, abs(size), k)
            entries.append(int(desk.exchange.position(account, k)["entry_value"]))
    changes = [scaling.nearest(quote, desk.quantum), *entries]
    for change in changes:
        if change > 0:
            desk.move_cash(codes.DEPOSIT, account, change)
    for change in (*(change for change in changes if change < 0), 1):
        desk.move_cash(codes.WITHDRAW, account, abs(change))


def quote_desk(
    positions: list[dict[str, Any]],
    mmf: Any,
    prices: tuple[Any, ...] = (),
    sizes: tuple[Any, ...] = (),
    quanta: tuple[Decimal, ...] = scaling.QUANTA,
    stages: tuple[Any, ...] = (),
    sections: dict[str, Any] | None = None,
    **terms: Any,
) -> Desk:
    """A venue with one contract a market, prices to the cent, whose tiers hold one rate."""
    contracts = [
        Contract((row["oracle_price"], *prices), (row["size"], *sizes), ((0, mmf, 100),), tick=PENNY, **terms)
        for row in positions
    ]
    money = tuple(contract.sized().price_max for contract in contracts)
    desk = Desk(contracts, money, quanta, **{"liquidation": {"stages": list(stages)}, **(sections or {})})
    desk.enrich(BANK)
    return desk


def set_marks(desk: Desk, positions: list[dict[str, Any]]) -> list[Row]:
    """Mark every market, then let liquidations run; all outcomes."""
    rows = [row for k, position in enumerate(positions) for row in desk.mark(position["oracle_price"], k)]
    return [*rows, *desk.settle()]


@adapter(
    "bankruptcy_price",
    "quote_balance_usd positions imf maintenance_fraction_of_im mmf close_market close_size_delta "
    "quote_quantum_usd base_quantum size_delta_base_quantums",
)
def bankruptcy_of_leg(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """A rich fund takes each leg at its bankruptcy price: its entry value is the cash that the account receives.

    A slice goes to somebody who offers just that price, which another desk has told. Cash is in the case's quanta.
    """
    given, positions = case.inputs, case.inputs["positions"]
    leg = [row["market"] for row in positions].index(given["close_market"])
    desk, order = taken_over(given, leg, None)
    taker = codes.INSURANCE
    if abs(given["close_size_delta"]) != abs(positions[leg]["size"]):
        desk, order = taken_over(given, leg, order.price)
        taker = OTHER
    received = desk.money(desk.exchange.position(taker, leg)["entry_value"])
    return {
        "bankruptcy_quote_delta_quantums": scaling.whole(received, given["quote_quantum_usd"]),
        "bankruptcy_quote_delta_usd": received,
        "implied_bankruptcy_price": order.price,
    }


def taken_over(given: dict[str, Any], leg: int, price: Any) -> tuple[Desk, Row]:
    """The liquidation of a case's account, the slice that is to be closed offered for at a price; the leg's order."""
    positions, closed = given["positions"], given["close_size_delta"]
    desk = quote_desk(positions, given["mmf"], sizes=(closed,), quanta=(Decimal(given["quote_quantum_usd"]),))
    desk.enrich(codes.INSURANCE, OTHER)
    carry(desk, HOLDER, given["quote_balance_usd"], [row["size"] for row in positions])
    rows = [row for k, position in enumerate(positions) for row in desk.mark(position["oracle_price"], k)]
    if price is not None:
        desk.order(OTHER, 1, "buy" if closed < 0 else "sell", price, abs(closed))
    rows = [*rows, *desk.settle()]
    if not of_kind(rows, "LIQUIDATION_START", HOLDER):
        raise Unsupported("a bankruptcy price is stated only for a unit in liquidation")
    (order,) = (row for row in of_kind(rows, "LIQUIDATION_ORDER", HOLDER) if row.instrument == leg)
    return desk, order


@adapter("bankruptcy_price", "side size entry balance")
def bankruptcy_of_position(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """The case states no maintenance; any rate does, as the price does not depend on when the liquidation starts."""
    given = case.inputs
    desk = Desk([Contract((given["entry"],), (given["size"],), ((0, PENNY, 100),))], (given["balance"],))
    desk.enrich(OTHER)
    desk.deposit(HOLDER, given["balance"])
    desk.seed(HOLDER, OTHER, given["side"], given["entry"], given["size"])
    desk.mark(given["entry"])
    desk.mark(desk.liquidation_price(HOLDER))
    (order,) = of_kind(desk.settle(), "LIQUIDATION_ORDER", HOLDER)
    return {"bankruptcy_price": order.price}


@adapter("bankruptcy_price", "contract side qty_usd entry_price account_balance_btc order_margin_btc taker_fee")
def inverse_bankruptcy(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """The liquidation order's price, which leaves the fee of closing. Any maintenance does."""
    given = case.inputs
    contract = Contract(
        (given["entry_price"],),
        (given["qty_usd"],),
        ((0, PENNY, 100),),
        tick=PENNY,
        kind="inverse",
        taker=given["taker_fee"],
    )
    desk = Desk([contract], (given["account_balance_btc"],), liquidation={"bankruptcy_fee": True})
    desk.enrich(OTHER)
    desk.deposit(HOLDER, given["account_balance_btc"])
    desk.seed(HOLDER, OTHER, given["side"], given["entry_price"], given["qty_usd"])
    desk.mark(given["entry_price"])
    desk.mark(desk.liquidation_price(HOLDER))
    (order,) = of_kind(desk.settle(), "LIQUIDATION_ORDER", HOLDER)
    return {"bankruptcy_price": order.price}


@adapter(
    "liquidation_limit_price",
    "quote_balance_usd positions imf maintenance_fraction_of_im mmf close_market "
    "bankruptcy_adjustment spread_to_mmr_ratio",
)
def fillable_price(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """dYdX's limit, which grows with the shortage, beyond the bankruptcy price where the unit owes."""
    given, positions = case.inputs, case.inputs["positions"]
    spread = {
        "spread_ppm": scaling.ppm(given["spread_to_mmr_ratio"]),
        "shortage_ppm": scaling.ppm(given["bankruptcy_adjustment"]),
    }
    stage = {"below_ppm": 1_000_000, "action": "close", "beyond_bankruptcy": True, **spread}
    desk = quote_desk(positions, given["mmf"], stages=(stage,))
    desk.enrich(codes.INSURANCE)
    carry(desk, HOLDER, given["quote_balance_usd"], [row["size"] for row in positions])
    rows = set_marks(desk, positions)
    leg = [row["market"] for row in positions].index(given["close_market"])
    (order,) = (row for row in of_kind(rows, "LIQUIDATION_ORDER", HOLDER) if row.instrument == leg)
    return {
        "fillable_price": order.price,
        "fillable_price_quote_quantums_per_base_quantum": scaling.fraction_text(order.price, QUANTA_OF_DYDX),
    }


@adapter(
    "insurance_fund_flow",
    "quote_balance_usd positions imf maintenance_fraction_of_im mmf close_market side fill_size "
    "fill_price max_liquidation_fee_rate",
)
def fund_share_of_fill(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """The liquidation order meets one resting order of the stated price; what the fund gets is its cash."""
    given, positions = case.inputs, case.inputs["positions"]
    if len(positions) != 1 or given["fill_size"] != abs(positions[0]["size"]):
        raise Unsupported("a fill of a part, of one market of several")
    ticks = scaling.nearest(given["fill_price"], PENNY)
    if ticks < 1:
        raise Unsupported("a fill below one tick")
    price = scaling.amount(ticks, PENNY)
    stage = {"below_ppm": 1_000_000, "action": "close", "spread_ppm": 1_000_000, "beyond_bankruptcy": True}
    fee = given["max_liquidation_fee_rate"]
    desk = quote_desk(positions, given["mmf"], (price,), stages=(stage,), liquidation=fee)
    desk.enrich(OTHER, codes.INSURANCE)
    before = desk.cash(codes.INSURANCE)
    carry(desk, HOLDER, given["quote_balance_usd"], [positions[0]["size"]])
    desk.mark(positions[0]["oracle_price"])
    desk.order(OTHER, 1, "buy" if given["side"] == "sell" else "sell", price, given["fill_size"])
    desk.settle()
    return {"insurance_fund_delta_usd": scaling.difference(desk.cash(codes.INSURANCE), before)}


@adapter(
    "insurance_fund_flow",
    "insurance_pool_before party_deposit position entry_price mark_price maintenance_factor network_close_price "
    "liquidity_fee_rate maker_fee_rate",
)
def fund_trades_out(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """The fund takes over position and margin, and works the position off against somebody's order."""
    given = case.inputs
    prices = (given["entry_price"], given["mark_price"], given["network_close_price"])
    side, size = scaling.side_and_size(given["position"])
    factor_ppb = scaling.ppb(given["maintenance_factor"])
    contract = Contract(
        prices,
        (size,),
        ((0, None, 1),),
        maker=given["maker_fee_rate"],
        taker=given["liquidity_fee_rate"],
        margin={"risk_long_ppb": factor_ppb, "risk_short_ppb": factor_ppb},
    )
    stages = [{"below_ppm": 1_000_000, "action": "takeover"}]
    desk = Desk(
        [contract],
        (given["party_deposit"], given["insurance_pool_before"]),
        liquidation={"stages": stages},
        backstop={"period_ns": scaling.seconds_ns(1)},
    )
    desk.enrich(OTHER)
    desk.deposit(codes.INSURANCE, given["insurance_pool_before"])
    desk.deposit(HOLDER, given["party_deposit"])
    desk.seed(HOLDER, OTHER, side, given["entry_price"], size)
    desk.mark(given["mark_price"])
    desk.order(OTHER, 1, "sell" if side == "short" else "buy", given["network_close_price"], size)
    rows = desk.settle()
    if not of_kind(rows, "TAKEOVER", HOLDER) or desk.size(codes.INSURANCE):
        raise Unsupported("a party that is not in distress, or more than the fund can carry")
    return {"party_balance_after": desk.cash(HOLDER), "insurance_pool_after": desk.cash(codes.INSURANCE)}


@adapter("adl_outcome", "bankruptcy_loss insurance_fund")
def fund_covers(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """One lot whose bankruptcy price is one tick, the loss, above the mark: a tick is as large as the loss."""
    loss, fund = case.inputs["bankruptcy_loss"], case.inputs["insurance_fund"]
    tick = Decimal(loss)
    desk = Desk([Contract((loss,), (1,), tick=tick, price_max=scaling.amount(4, tick))], (fund,))
    desk.enrich(OTHER)
    desk.deposit(codes.INSURANCE, fund)
    desk.open_empty(HOLDER)
    desk.seed(HOLDER, OTHER, "long", scaling.amount(3, tick), 1)
    desk.mark(scaling.amount(3, tick))
    desk.mark(scaling.amount(2, tick))
    return {"adl_triggered": bool(of_kind(desk.settle(), "ADL"))}


def open_by_spec(given: dict[str, Any], **sections: Any) -> Desk:
    """The venue of a case's `spec`; its account has bought its position in the book, isolated."""
    spec, position = given["spec"], given["position"]
    contract = Contract(
        (position["entry"],),
        (position["size"],),
        ((0, spec["tier1"]["mmr"], 100),),
        tick=Decimal(spec["tick"]),
        lot=Decimal(spec["lot"]),
        maker=spec["maker_fee"],
        taker=spec["taker_fee"],
        liquidation=spec["liquidation_fee"],
    )
    desk = Desk([contract], (given["deposit"],), **sections)
    desk.enrich(OTHER, THIRD)
    desk.deposit(HOLDER, given["deposit"])
    desk.mark(spec["initial_mark"])
    desk.isolate(HOLDER, given["leverage"])
    desk.order(OTHER, 1, "sell", position["entry"], position["size"])
    desk.order(HOLDER, 2, "buy", position["entry"], position["size"])
    return desk


@adapter(
    "liquidation_end_to_end", "spec account deposit mode leverage position open_fee isolated_margin book_bids marks"
)
def liquidated_into_book(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    desk = open_by_spec(given)
    for order_id, (_, price, size) in enumerate(given["book_bids"], 3):
        desk.order(THIRD, order_id, "buy", price, size)
    liquidated, equities, maintained, rows = [], [], [], []
    for mark in given["marks"]:
        desk.mark(mark)
        equity, maintenance = desk.unit_margin(HOLDER)
        equities.append(equity)
        maintained.append(maintenance)
        step = desk.settle()
        liquidated.append(bool(of_kind(step, "LIQUIDATION_START", HOLDER)))
        rows.extend(step)
    fill, order = of_kind(rows, "FILL", HOLDER)[0], of_kind(rows, "LIQUIDATION_ORDER", HOLDER)[0]
    return {
        "liquidated_at": liquidated,
        "equity": equities,
        "maintenance": maintained,
        "bankruptcy_price": order.price,
        "fill_price": fill.price,
        "taker_fee": fill.money,
        "insurance_fund": desk.cash(codes.INSURANCE),
        "account7_wallet": desk.cash(HOLDER),
        "account3_size": desk.size(THIRD),
    }


@adapter("liquidation_end_to_end", "spec account deposit mode leverage position open_fee isolated_margin resting marks")
def liquidation_cancels(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given, resting = case.inputs, case.inputs["resting"]
    desk = open_by_spec(given)
    flags = codes.REDUCE_ONLY if resting["reduce_only"] else 0
    desk.order(HOLDER, 3, resting["side"], resting["limit"], resting["qty"], flags=flags)
    rows = [row for mark in given["marks"] for row in (*desk.mark(mark), *desk.settle())]
    kinds = [(row.kind, row.order_id) for row in rows if row.kind in ("CANCELLED", "LIQUIDATION_ORDER")]
    first = kinds[:2] == [("CANCELLED", 3), ("LIQUIDATION_ORDER", 0)]
    return {"resting_order": "cancelled before the liquidation order is sent" if first else f"outcomes {kinds}"}
