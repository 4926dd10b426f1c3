"""Marks, indices, funding payments and the profit of a position."""

from decimal import Decimal
from typing import Any

import scaling
from case_desk import HOLDER, OTHER, THIRD, Contract, Desk, of_kind
from case_files import Case
from registry import Unsupported, adapter

from exchange import codes

COMPUTED = {"source": "computed", "period_ns": 0}


@adapter("mark_price", "index_price funding_rate hours_to_funding interval_h")
def mark_by_funding(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Without book and last trade the median of the three prices is the first: index and funding basis."""
    given = case.inputs
    desk = Desk(
        [Contract((given["index_price"],), (1,))],
        mark=COMPUTED,
        funding={"interval_ns": scaling.hours_ns(given["interval_h"])},
    )
    desk.send(
        codes.FUNDING_RATE, price=scaling.ppb(given["funding_rate"]), qty=scaling.hours_ns(given["hours_to_funding"])
    )
    index = scaling.whole(given["index_price"], scaling.sub_tick(desk.contracts[0]))
    (row,) = of_kind(desk.send(codes.INDEX, price=index), "MARK_PRICE")
    return {"mark_price": row.price, "basis": scaling.fraction_above(row.price, given["index_price"])}


@adapter(
    "mark_price", "method", "trades window_s decay_weight decay_power cash best_bid best_ask trade book oracle weights"
)
def other_marks(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    raise Unsupported("a mark that is not the median of index with funding, index with basis, and last")


@adapter("index_price_outlier", "prices")
def median_index(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    prices = case.inputs["prices"]
    if min(prices) <= 0:
        raise Unsupported("prices must be positive")
    desk = Desk([Contract(tuple(prices), (1,), constituents=len(prices))], index={"rule": "median"}, mark=COMPUTED)
    contract = desk.contracts[0]
    for order_id, price in enumerate(prices, 1):
        desk.send(codes.INDEX, order_id=order_id, price=scaling.whole(price, scaling.sub_tick(contract)))
    median = scaling.amount(desk.exchange.markets[0]["index_sub"], scaling.sub_tick(contract))
    if case.id.startswith("dydx") and median != int(median):
        raise Unsupported("a half is rounded away from zero")
    return {"median": median}


@adapter("index_price_outlier", "sources band")
def capped_index(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    raise Unsupported("outliers are dropped, not capped")


@adapter("index_price_outlier", "price_weight")
def weighted_median(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    raise Unsupported("the median of sources is not weighted")


@adapter("funding_payment", "mark rate long short")
def funding_of_pair(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    if abs(given["short"]) != given["long"]:
        raise Unsupported("positions that do not sum to zero")
    desk = Desk([Contract((given["mark"],), (given["long"],))])
    desk.enrich(HOLDER, OTHER)
    desk.seed(HOLDER, OTHER, "long", given["mark"], given["long"])
    desk.mark(given["mark"])
    rows = desk.send(codes.FUNDING_SETTLE, price=scaling.ppb(given["rate"]))
    return {
        "long_balance_change": of_kind(rows, "FUNDING", HOLDER)[0].money,
        "short_balance_change": of_kind(rows, "FUNDING", OTHER)[0].money,
    }


@adapter("funding_payment", "quote_rate_day base_rate_day fundings_per_day mark_value_xbt side")
def computed_rate(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    raise Unsupported("funding rates are recorded, not computed")


@adapter(
    "funding_payment",
    "",
    "funding_index_now funding_index_at_last_settlement position_base_quantums funding_rate_8h_ppm "
    "elapsed_seconds price price_exponent base_atomic_resolution quote_atomic_resolution",
)
def funding_index(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    raise Unsupported("payments by a cumulative funding index: here a settlement pays a rate of the value at the mark")


@adapter("position_pnl", "side face_value settlement_reference_price price contracts kind")
def linear_profit(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """The account holds no cash, so that its equity is its unrealised and its cash its realised profit."""
    given = case.inputs
    entry, price, size = given["settlement_reference_price"], given["price"], given["contracts"]
    desk = Desk([Contract((entry, price), (size,), multiplier=Decimal(given["face_value"]))])
    desk.enrich(OTHER)
    desk.open_empty(HOLDER)
    desk.seed(HOLDER, OTHER, given["side"], entry, size)
    if given["kind"] == "realised":
        desk.seed(HOLDER, OTHER, "short" if given["side"] == "long" else "long", price, size)
        return {"pnl": desk.cash(HOLDER)}
    desk.mark(price)
    return {"pnl": desk.equity(HOLDER)}


@adapter("position_pnl", "size entry leverage wallet_after_open add_margin try_remove remove close_price taker_fee")
def margin_moves(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """The wallet gets back what opening took out of it, fee and margin, and so is at its stated balance."""
    given, size, entry = case.inputs, case.inputs["size"], case.inputs["entry"]
    desk = Desk(
        [Contract((entry, given["close_price"]), (size, size), taker=given["taker_fee"])], (given["wallet_after_open"],)
    )
    desk.enrich(OTHER)
    desk.deposit(HOLDER, given["wallet_after_open"])
    desk.mark(entry)
    desk.isolate(HOLDER, given["leverage"])
    desk.order(OTHER, 1, "sell", entry, size)
    (fill,) = of_kind(desk.order(HOLDER, 2, "buy", entry, size), "FILL", HOLDER)
    desk.deposit(HOLDER, desk.margin(HOLDER))
    desk.deposit(HOLDER, fill.money)
    before = desk.liquidation_price(HOLDER)
    desk.transfer(HOLDER, given["add_margin"])
    after = desk.liquidation_price(HOLDER)
    removed = desk.transfer(HOLDER, given["try_remove"], out=True)
    desk.transfer(HOLDER, given["remove"], out=True)
    desk.order(OTHER, 3, "buy", given["close_price"], size)
    desk.order(HOLDER, 4, "sell", given["close_price"], size)
    return {
        "liquidation_price_falls_after_add": after < before,
        "remove_100_allowed": removed == "OK",
        "wallet_after_close": desk.cash(HOLDER),
    }


@adapter("position_pnl", "contracts", "contract_usd entry_price mark_price last_price exit_price")
def inverse_profit(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """A long in contracts of one dollar; the mark values it even when the last trade was elsewhere."""
    given = case.inputs
    entry, size = given["entry_price"], given["contracts"]
    later = [given[name] for name in ("mark_price", "last_price", "exit_price") if name in given]
    face = Decimal(given.get("contract_usd", 1))
    desk = Desk([Contract((entry, *later), (size,), kind="inverse", multiplier=face)])
    desk.enrich(OTHER, THIRD)
    desk.open_empty(HOLDER)
    desk.seed(HOLDER, OTHER, "long", entry, size)
    actual = {"entry_value_xbt": desk.entry_value(HOLDER)}
    if "mark_price" in given:
        desk.mark(given["mark_price"])
        desk.order(OTHER, 1, "sell", given["last_price"], size)
        (_,) = of_kind(desk.order(THIRD, 2, "buy", given["last_price"], size), "FILL", THIRD)
        actual["unrealised_pnl_xbt"] = desk.equity(HOLDER)
    if "exit_price" in given:
        desk.seed(HOLDER, OTHER, "short", given["exit_price"], size)
        actual["realised_pnl_xbt"] = desk.cash(HOLDER)
    return actual


@adapter("position_pnl", "steps")
def network_profit(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    raise Unsupported("no network account that trades at the mark")
