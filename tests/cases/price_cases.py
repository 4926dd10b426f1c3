"""Marks, indices, funding payments and the profit of a position."""

from decimal import Decimal
from typing import Any

import scaling
from case_desk import HOLDER, OTHER, THIRD, Contract, Desk, of_kind
from case_files import Case
from registry import Unsupported, adapter

from exchange import codes

COMPUTED = {"source": "computed", "period_ns": 0}
BOOKED = {"accounts": 8, "positions": 64, "orders": 256, "external_levels": 64, "outcomes": 8_192}


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


@adapter("mark_price", "method trade book oracle weights")
def weighted_mark(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Last trade, middle of the book and a recorded mark, each where the case has it; the index is no part of it."""
    given = case.inputs
    if given["method"] not in ("weighted", "median", "mean"):
        raise Unsupported(f"a mark of trade, book and oracle by {given['method']}")
    known = [given[name] for name in ("trade", "book", "oracle") if given[name] is not None]
    weights = [scaling.ppm(weight) for weight in given["weights"]]
    names = ("last", "mid", "recorded")
    components = [{"price": name, "weight_ppm": ppm} for name, ppm in zip(names, weights, strict=True)]
    desk = combined([Contract(tuple(known), (1,), coarse=True)], components, combiner=given["method"])
    if given["trade"] is not None:
        desk.send(codes.TRADE_PRINT, price=desk.ticks(given["trade"]), qty=1)
    if given["book"] is not None:
        for side, price in zip(("bid", "ask"), scaling.around(given["book"], desk.contracts[0].tick), strict=True):
            desk.level(side, price, 1)
    if given["oracle"] is not None:
        desk.mark(given["oracle"])
    desk.index(known[0])
    return {"mark_price": desk.mark_price()}


def combined(contracts: list[Contract], components: list[dict[str, Any]], **rules: Any) -> Desk:
    """A desk whose mark is made of components at every source that comes, of those that are there."""
    mark = {"source": "computed", "period_ns": 0, "components": components, "missing": "drop", **rules}
    return Desk(contracts, mark=mark, capacity=BOOKED)


@adapter("mark_price", "method trades window_s decay_weight decay_power")
def traded_mark(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Recorded trades of a window, and a mark at its end."""
    given, trades = case.inputs, case.inputs["trades"]
    if given["method"] != "trade-size-weighted":
        raise Unsupported(f"a mark of trades by {given['method']}")
    contract = Contract(tuple(t["price"] for t in trades), tuple(t["size"] for t in trades), coarse=True)
    window_ns = scaling.seconds_ns(given["window_s"])
    decay = {"decay_ppm": scaling.ppm(given["decay_weight"]), "decay_power": int(given["decay_power"])}
    desk = combined([contract], [{"price": "trades"}], window_ns=window_ns, **decay)
    for trade in trades:
        ts_ns = scaling.seconds_ns(trade["seconds_since_window_start"])
        price, qty = desk.ticks(trade["price"]), desk.lots(trade["size"])
        desk.send(codes.TRADE_PRINT, ts_ns=ts_ns, price=price, qty=qty)
    desk.index(trades[0]["price"], ts_ns=window_ns)
    return {"mark_price": desk.mark_price()}


@adapter("mark_price", "method cash best_bid best_ask", "bids asks")
def book_mark(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Average prices of a notional on both sides of the book."""
    given = case.inputs
    prices = (given["best_bid"], given["best_ask"])
    if given["method"] != "leverage-notional book" or "bids" in given or "asks" in given:
        raise Unsupported(f"a mark of the book by {given['method']}")
    money = scaling.text(given["cash"])
    desk = combined([Contract(prices, (1,), coarse=True)], [{"price": "impact_mid"}], impact_notional=money)
    desk.level("bid", given["best_bid"], 1)
    desk.level("ask", given["best_ask"], 1)
    desk.index(given["best_bid"])
    return {"mark_price": desk.mark_price()}


@adapter("index_price_outlier", "prices")
def median_index(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Sources may be zero and negative; dYdX's are whole numbers, so there a sub-tick is a tick and halves go up."""
    prices, whole = case.inputs["prices"], case.id.startswith("dydx")
    contract = Contract(tuple(prices), (1,), constituents=len(prices), coarse=whole)
    rounding = "half_away" if whole else "down"
    desk = Desk([contract], index={"rule": "median", "signed": True, "rounding": rounding}, mark=COMPUTED)
    for source, price in enumerate(prices, 1):
        desk.index(price, source)
    return {"median": desk.recorded_index()}


@adapter("index_price_outlier", "sources band")
def capped_index(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    sources = case.inputs["sources"]
    prices = tuple(source["price"] for source in sources)
    weights = tuple(scaling.ppm(source["weight"]) for source in sources)
    rule = {"rule": "capped", "outlier_ppm": scaling.ppm(case.inputs["band"])}
    desk = Desk([Contract(prices, (1,), weights=weights)], index=rule, mark=COMPUTED)
    for source, price in enumerate(prices, 1):
        desk.index(price, source)
    median, counted = desk.index_sources()
    return {"median": median, "capped": counted, "index": desk.recorded_index()}


@adapter("index_price_outlier", "price_weight")
def weighted_median(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    rows = case.inputs["price_weight"]
    contract = Contract(tuple(price for price, _ in rows), (1,), weights=tuple(int(weight) for _, weight in rows))
    desk = Desk([contract], index={"rule": "weighted_median"}, mark=COMPUTED)
    for source, (price, _) in enumerate(rows, 1):
        desk.index(price, source)
    return {"median": desk.recorded_index()}


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
    """An account that trades at each mark; it holds no cash, so that its cash is its realised profit."""
    steps = case.inputs["steps"]
    desk = Desk([Contract(tuple(step["mark"] for step in steps), tuple(abs(step["network_takes"]) for step in steps))])
    desk.enrich(OTHER)
    desk.open_empty(HOLDER)
    after = []
    for step in steps:
        desk.mark(step["mark"])
        side, size = scaling.side_and_size(step["network_takes"])
        desk.seed(HOLDER, OTHER, side, step["mark"], size)
        realised = desk.cash(HOLDER)
        unrealised = scaling.difference(desk.equity(HOLDER), realised)
        after.append({"position": desk.size(HOLDER), "realised": realised, "unrealised": unrealised})
    return {"after_each_step": after}


@adapter("twap", "period_minutes external_points_minute_value settlement_decimals")
def time_weighted(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """An expiry at the end of the period that averages its index, a sample at the end of every minute, in whole units.

    A price counts until the next one: it is not there yet a nanosecond before its minute.
    """
    given, minutes = case.inputs, case.inputs["period_minutes"]
    points = [
        (scaling.minutes_ns(minute), scaling.shifted(value, given["settlement_decimals"]))
        for minute, value in given["external_points_minute_value"]
    ]
    period_ns = scaling.minutes_ns(minutes)
    expiry_ns = scaling.difference(period_ns, 1)
    life = {"expiry_ns": expiry_ns, "window_ns": period_ns, "samples": int(minutes)}
    contract = Contract(tuple(price for _, price in points), (1,), tick=Decimal(1), coarse=True, life=life)
    desk = Desk([contract], mark=COMPUTED)
    for ts_ns, price in points:
        desk.index(price, ts_ns=ts_ns)
    (settled,) = of_kind(desk.run_until(expiry_ns), "SETTLEMENT_PRICE")
    return {"external_twap": settled.price}
