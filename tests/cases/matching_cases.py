"""Order book: price-time matching, order types, fees of a trade."""

import itertools
import re
from decimal import Decimal
from typing import Any

import scaling
from case_desk import HOLDER, OTHER, SIDES, THIRD, Contract, Desk, Row, of_kind
from case_files import Case
from registry import Unsupported, adapter

from exchange import codes

FIRST_FREE_ID = 1_000_000
ICEBERG_PRICE = Decimal(100)


def maker_fills(rows: list[Row]) -> list[Row]:
    return [row for row in of_kind(rows, "FILL") if row.flags & codes.MAKER]


def best_levels(desk: Desk, side: str, expected: list[Any]) -> list[list[Decimal]]:
    """As many levels as the case states; it states the best ones, and an empty list means an empty side."""
    return desk.levels(side, len(expected) or 1)


def book_desk(prices: list[Any], sizes: list[Any], **terms: Any) -> Desk:
    """A venue with rich users and a mark, ready for orders."""
    desk = Desk([Contract(tuple(prices), tuple(sizes), **terms)])
    desk.enrich(HOLDER, OTHER, THIRD)
    desk.mark(prices[0])
    return desk


def parse_command(command: list[Any], free_ids: Any) -> dict[str, Any]:
    """One command of either of the two forms that the file has."""
    if command[0] == "place":
        side, price, size, time = command[1:5]
        return {
            "account": HOLDER,
            "id": command[5] if len(command) > 5 else next(free_ids),
            "side": side,
            "price": price,
            "size": size,
            "time": time,
        }
    if command[0] == "move":
        return {"account": HOLDER, "id": command[1], "price": command[2]}
    account = OTHER if command[0] == "Alice" else HOLDER
    if command[1] == "move":
        return {"account": account, "id": command[2], "price": command[3]}
    return {"account": account, **dict(zip(("side", "id", "price", "size", "time"), command[1:], strict=True))}


@adapter("fifo_matching", "commands", "resting_asks_time_order resting_bids_time_order")
def book_commands(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    resting = [("ask", row) for row in given.get("resting_asks_time_order", ())]
    resting.extend(("bid", row) for row in given.get("resting_bids_time_order", ()))
    free_ids = itertools.count(FIRST_FREE_ID)
    commands = [parse_command(command, free_ids) for command in given["commands"]]
    if any("time" in row and row["time"] not in ("GTC", "IOC") for row in commands):
        raise Unsupported("another time in force than GTC and IOC")
    kept = [*(row[1] for _, row in resting), *(row["price"] for row in commands if row.get("time") != "IOC")]
    desk = book_desk(kept, [*(row[2] for _, row in resting), *(row["size"] for row in commands if "size" in row)])
    for side, (order_id, price, size) in resting:
        desk.order(OTHER, order_id, side, price, size)
    sizes, rows = {}, []
    for row in commands:
        if "size" in row:
            sizes[row["id"]] = row["size"]
            price = (
                scaling.ladder_price(row["price"], desk.contracts[0].price_max)
                if row["time"] == "IOC"
                else row["price"]
            )
            rows.extend(desk.order(row["account"], row["id"], row["side"], price, row["size"], row["time"]))
        else:
            rows.extend(desk.amend(row["account"], row["id"], row["price"], sizes[row["id"]]))
    actual = {
        "trades_maker_id_price_size": [[row.order_id, row.price, row.size] for row in maker_fills(rows)],
        "remaining": rows[-1].size,
    }
    for side in ("bids", "asks"):
        actual[side] = best_levels(desk, side[:3], case.expected.get(side, []))
    return actual


@adapter("fifo_matching", "asks taker")
def fills_in_order(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    asks, taker = case.inputs["asks"], case.inputs["taker"]
    desk = book_desk([row[1] for row in asks], [*(row[2] for row in asks), taker["qty"]])
    for order_id, (_, price, size) in enumerate(asks, 1):
        desk.order(OTHER, order_id, "sell", price, size)
    rows = desk.order(HOLDER, FIRST_FREE_ID, taker["side"], taker["limit"], taker["qty"])
    names = dict(enumerate((row[0] for row in asks), 1))
    return {
        "fills": [[names[row.order_id], row.price, row.size] for row in maker_fills(rows)],
        "asks_after": best_levels(desk, "sell", case.expected["asks_after"]),
    }


@adapter("fifo_matching", "asks steps")
def amend_priority(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Steps are sentences: "o1 amended to 0.5", "buy 0.2 @100"."""
    asks = case.inputs["asks"]
    steps = [re.fullmatch(r"(\w+) (amended to|[\d.]+) ?@?([\d.]+)", step) for step in case.inputs["steps"]]
    if not all(steps):
        raise Unsupported("a step in other words than amend and buy")
    sizes = [Decimal(step[3] if step[2] == "amended to" else step[2]) for step in steps]
    desk = book_desk([row[1] for row in asks], [*(row[2] for row in asks), *sizes])
    ids = {row[0]: order_id for order_id, row in enumerate(asks, 1)}
    names, makers = {order_id: name for name, order_id in ids.items()}, []
    for name, price, size in asks:
        desk.order(OTHER, ids[name], "sell", price, size)
    free_ids = itertools.count(FIRST_FREE_ID)
    for step, size in zip(steps, sizes, strict=True):
        if step[2] == "amended to":
            desk.amend(OTHER, ids[step[1]], None, size)
        else:
            makers.extend(maker_fills(desk.order(HOLDER, next(free_ids), step[1], Decimal(step[3]), size)))
    first, second = makers
    return {"maker_of_first_buy": names[first.order_id], "maker_of_second_buy": names[second.order_id]}


@adapter("fifo_matching", "resting incoming last_price")
def market_order(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """A market order sweeps resting limits; the last price serves as mark, in a band that reaches every level.

    A market order that rests is one that becomes a limit order at the last price.
    """
    resting, (taker, side, price, size) = case.inputs["resting"], case.inputs["incoming"]
    last = case.inputs["last_price"]
    prices = [last, *(row[2] for row in resting if row[2] != "MO")]
    desk = book_desk(prices, [*(row[3] for row in resting), size], band=Decimal("0.5"))
    desk.send(codes.TRADE_PRINT, price=desk.ticks(last), qty=1)
    names = {}
    for order_id, (name, its_side, its_price, its_size) in enumerate(resting, 1):
        names[order_id] = name
        if its_price == "MO":
            desk.order(OTHER, order_id, its_side, None, its_size, "TO_LIMIT")
        else:
            desk.order(OTHER, order_id, its_side, its_price, its_size)
    rows = desk.order(HOLDER, FIRST_FREE_ID, side, None if price == "MO" else price, size)
    pairs = [
        (taker, names[row.order_id]) if side == "buy" else (names[row.order_id], taker) for row in maker_fills(rows)
    ]
    return {
        "trades_buyer_seller_qty_price": [
            [*pair, row.size, row.price] for pair, row in zip(pairs, maker_fills(rows), strict=True)
        ]
    }


@adapter("fok_budget", "resting_asks_time_order resting_bids_time_order side size total_notional_limit")
def fok_budget(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """All or nothing for a total price, in a band round the mark that reaches every level."""
    given = case.inputs
    asks, bids = given["resting_asks_time_order"], given["resting_bids_time_order"]
    prices = [row[1] for row in (*asks, *bids)]
    desk = book_desk([max(prices), *prices], [*(row[2] for row in (*asks, *bids)), given["size"]], band=Decimal("0.6"))
    for side, rows in (("ask", asks), ("bid", bids)):
        for order_id, price, size in rows:
            desk.order(OTHER, order_id, side, price, size)
    rows = desk.send(
        codes.NEW,
        account=HOLDER,
        order_id=FIRST_FREE_ID,
        side=SIDES[given["side"]],
        qty=desk.lots(given["size"]),
        price=scaling.whole(given["total_notional_limit"], desk.quantum),
        time_in_force=codes.FOK,
        flags=codes.BUDGET,
    )
    trades = [[row.order_id, row.price, row.size] for row in maker_fills(rows)]
    return {"trades_maker_id_price_size": trades, "rejected": rows[-1].code == "FOK_UNFILLABLE"}


@adapter("fifo_matching", "resting_buys_in_time_order sells")
def icebergs(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Orders at one price that the case does not state, any will do."""
    orders, (first, second) = case.inputs["resting_buys_in_time_order"], case.inputs["sells"]
    desk = book_desk([ICEBERG_PRICE], [*(row["size"] for row in orders), first, second], iceberg="refresh")
    for row in orders:
        shows = {"display_lots": desk.lots(row["peak"]), "display_min_lots": desk.lots(row["min_visible"])}
        desk.order(OTHER, row["id"], "buy", ICEBERG_PRICE, row["size"], **shows)
    desk.order(HOLDER, FIRST_FREE_ID, "sell", ICEBERG_PRICE, first)
    visible, reserve = desk.parts(orders[0]["id"])
    rows = desk.order(HOLDER, FIRST_FREE_ID, "sell", ICEBERG_PRICE, second)
    return {
        "after_first": {"id1_visible": visible, "id1_reserve": reserve},
        "second_sell_matches": maker_fills(rows)[0].order_id,
    }


@adapter("trading_fee", "ask taker maker_fee taker_fee")
def maker_taker_fees(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given, (price, size), taker = case.inputs, case.inputs["ask"], case.inputs["taker"]
    desk = book_desk([price, taker["limit"]], [size, taker["qty"]], maker=given["maker_fee"], taker=given["taker_fee"])
    desk.order(OTHER, 1, "sell", price, size)
    maker, paid = of_kind(desk.order(HOLDER, 2, taker["side"], taker["limit"], taker["qty"]), "FILL")
    return {"trade_price": paid.price, "taker_fee_paid": paid.money, "maker_fee_paid": maker.money}


@adapter(
    "trading_fee", "maker_fee_per_lot taker_fee_per_lot", "maker_deposit taker_deposit maker_size taker_size price"
)
def fee_per_lot(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    raise Unsupported("a fee per lot: fees are rates of the traded value")


@adapter("trading_fee", "price qty side liquidity standard_taker standard_seller tax_taker tax_seller")
def commission_by_component(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """A seller takes; each component is charged by a venue of its own, at the rates of a taker and of a seller."""
    given, paid = case.inputs, dict[str, Any]()
    if (given["side"], given["liquidity"]) != ("sell", "taker"):
        raise Unsupported("a side without a rate of its own here")
    for component in ("standard", "tax"):
        rate = scaling.total(given[f"{component}_taker"], given[f"{component}_seller"])
        desk = book_desk([given["price"]], [given["qty"]], taker=rate)
        desk.order(OTHER, 1, "buy", given["price"], given["qty"])
        fill = of_kind(desk.order(HOLDER, 2, "sell", given["price"], given["qty"]), "FILL")[1]
        paid |= {"notional": scaling.product(fill.price, fill.size), component: fill.money}
    return paid


@adapter("trading_fee", "price size aggressor_pays rates")
def fee_of_several_receivers(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    raise Unsupported("a fee of which a part goes to the other side, rounded by itself")


@adapter("liquidation_cascade", "asks stop_market_buy taker")
def stop_set_off_by_a_trade(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """A trade at the trigger price sets off a stop that waits for the last price; one below it was the last before."""
    given, stop, taker = case.inputs, case.inputs["stop_market_buy"], case.inputs["taker"]
    prices, sizes = zip(*given["asks"], strict=True)
    desk = book_desk(list(prices), list(sizes), band=Decimal("0.5"))
    below = scaling.difference(stop["trigger"], desk.contracts[0].tick)
    desk.order(OTHER, 20, "sell", below, taker["qty"])
    desk.order(THIRD, 21, "buy", below, taker["qty"])
    for order_id, (price, size) in enumerate(given["asks"], 1):
        desk.order(OTHER, order_id, "sell", price, size)
    trigger = {"trigger": codes.TRIGGER_LAST, "trigger_kind": codes.STOP, "trigger_ticks": desk.ticks(stop["trigger"])}
    desk.order(HOLDER, 10, "buy", None, stop["qty"], **trigger)
    rows = [*desk.order(THIRD, 11, taker["side"], taker["limit"], taker["qty"]), *desk.settle()]
    (fill,) = (row for row in of_kind(rows, "FILL") if row.account == HOLDER)
    return {"stop_fill_price": fill.price, "stop_owner_size": desk.size(HOLDER)}


@adapter("liquidation_limit_price", "mark market_slippage asks taker")
def market_band(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given, taker = case.inputs, case.inputs["taker"]
    prices = [given["mark"], *(row[0] for row in given["asks"])]
    desk = book_desk(prices, [*(row[1] for row in given["asks"]), taker["qty"]], band=given["market_slippage"])
    for order_id, (price, size) in enumerate(given["asks"], 1):
        desk.order(OTHER, order_id, "sell", price, size)
    rows = desk.order(HOLDER, FIRST_FREE_ID, taker["side"], None, taker["qty"])
    fills = maker_fills(rows)
    return {
        "cap_price": rows[-1].price,
        "trade_prices": [row.price for row in fills],
        "filled": sum(row.size for row in fills),
        "expired": rows[-1].size,
    }


@adapter("liquidation_limit_price", "mark spread position")
def spread_limit(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """A position that is liquidated at once, its bankruptcy price far away."""
    given = case.inputs
    stages = [{"below_ppm": 10_000_000, "action": "close", "band_ppm": scaling.ppm(given["spread"])}]
    contract = Contract((given["mark"],), (1,), ((0, Decimal("0.5"), 1),), tick=scaling.FINE_TICK)
    desk = Desk([contract], (given["mark"],), liquidation={"stages": stages})
    desk.enrich(OTHER)
    desk.deposit(HOLDER, given["mark"])
    desk.seed(HOLDER, OTHER, given["position"], given["mark"], 1)
    desk.mark(given["mark"])
    return {"limit_price": of_kind(desk.settle(), "LIQUIDATION_ORDER", HOLDER)[0].price}


STP_MODES = {
    "NONE": codes.STP_NONE,
    "EXPIRE_TAKER": codes.STP_CANCEL_NEWEST,
    "EXPIRE_MAKER": codes.STP_CANCEL_OLDEST,
    "EXPIRE_BOTH": codes.STP_CANCEL_BOTH,
    "DECREMENT": codes.STP_DECREMENT,
}


@adapter("self_trade_prevention", "makers_buy_price_qty taker_sell taker_stp_mode same_account")
def self_match(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """The taker brings the mode; what it was shortened by and what it ended with are both prevented."""
    given, taker = case.inputs, case.inputs["taker_sell"]
    if taker["type"] != "LIMIT":
        raise Unsupported("another order type than a limit order")
    makers = given["makers_buy_price_qty"]
    desk = book_desk([taker["price"], *(row[0] for row in makers)], [taker["qty"], *(row[1] for row in makers)])
    for order_id, (price, size) in enumerate(makers, 1):
        desk.order(HOLDER, order_id, "buy", price, size)
    account, mode = HOLDER if given["same_account"] else OTHER, STP_MODES[given["taker_stp_mode"]]
    rows = desk.order(account, FIRST_FREE_ID, "sell", taker["price"], taker["qty"], self_trade=mode)
    shortened = [row.size for row in of_kind(rows, "PREVENTED")]
    ended = [row.size for row in rows if row.code == "EXPIRED_SELF_TRADE"]
    return {
        "makers": [order_status(rows, order_id, row[1]) for order_id, row in enumerate(makers, 1)],
        "taker": {**order_status(rows, FIRST_FREE_ID, taker["qty"]), "prevented_qty": sum([*shortened, *ended])},
    }


def order_status(rows: list[Row], order_id: int, size: Any) -> dict[str, Any]:
    """Status of one order after the event: what it filled, and what was taken off it without a trade."""
    mine = [row for row in rows if row.order_id == order_id]
    filled = sum(row.size for row in of_kind(mine, "FILL"))
    status = "FILLED" if filled == size else "PARTIALLY_FILLED" if filled else "NEW"
    if any(row.code in ("EXPIRED_SELF_TRADE", "CANCELLED_SELF_TRADE") for row in mine):
        status = "EXPIRED_IN_MATCH"
    removed = (*of_kind(mine, "CANCELLED"), *of_kind(mine, "PREVENTED"))
    return {"prevented_qty": sum(row.size for row in removed), "status": status}


@adapter("self_trade_prevention", "steps")
def self_match_steps(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Steps are sentences: "acct1 buys 1 @100 (cancel maker)"."""
    modes = {None: codes.STP_NONE, "maker": codes.STP_CANCEL_OLDEST, "taker": codes.STP_CANCEL_NEWEST}
    pattern = r"acct1 (buy|sell)s ([\d.]+) @([\d.]+)(?: \(cancel (maker|taker)\))?"
    steps = [re.fullmatch(pattern, step) for step in case.inputs["steps"]]
    if not all(steps):
        raise Unsupported("a step in other words than buy and sell of one account")
    desk = book_desk([Decimal(step[3]) for step in steps], [Decimal(step[2]) for step in steps])
    after = {}
    for order_id, step in enumerate(steps, 1):
        mode = modes[step[4]]
        rows = desk.order(HOLDER, order_id, step[1], Decimal(step[3]), Decimal(step[2]), self_trade=mode)
        cancelled = {"maker": of_kind(rows, "CANCELLED"), "taker": rows[-1].code == "EXPIRED_SELF_TRADE"}
        sides = {row: "cancelled" if gone else "live" for row, gone in cancelled.items()}
        after[f"after_step_{order_id}"] = {"trades": len(maker_fills(rows)), **sides, "bids": desk.levels("buy", 1)}
    return after


ALGORITHMS = {
    "FIFO with LMM": "fifo_lmm",
    "FIFO with LMM and TOP": "fifo_top_lmm",
    "Pro-Rata": "pro_rata",
    "Allocation": "allocation",
    "Threshold Pro-Rata": "threshold_pro_rata",
    "Configurable": "configurable",
}


@adapter(
    "pro_rata_matching",
    "algorithm resting_time_order aggressor",
    "top_min top_max pro_rata_min leveling split_fifo_pct lmm_pct",
)
def shared_level(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Each resting order has an account of its own, from the third user on."""
    given, price = case.inputs, 100
    sizes, accounts = given["resting_time_order"], itertools.count(THIRD)
    owners = [next(accounts) for _ in sizes]
    shares = [(account, scaling.percent_ppm(percent)) for account, percent in zip(owners, given.get("lmm_pct", ()))]
    stated = {
        "top_min_lots": given.get("top_min"),
        "top_max_lots": given.get("top_max"),
        "pro_rata_min_lots": given.get("pro_rata_min"),
        "leveling": given.get("leveling"),
        "fifo_ppm": scaling.percent_ppm(given["split_fifo_pct"]) if "split_fifo_pct" in given else None,
        "market_makers": [{"account": account, "share_ppm": share} for account, share in shares if share],
    }
    rules = {"algorithm": ALGORITHMS[given["algorithm"]], **stated}
    contract = Contract((price,), (*sizes, given["aggressor"]), allocation=rules)
    capacity = {"accounts": 16, "positions": 64, "orders": 64, "external_levels": 1, "outcomes": 8_192}
    desk = Desk([contract], capacity=capacity)
    desk.enrich(HOLDER, *owners)
    desk.mark(price)
    for place, size in enumerate(sizes):
        desk.order(owners[place], place or FIRST_FREE_ID, "sell", price, size)
    rows = desk.order(HOLDER, len(sizes), "buy", price, given["aggressor"])
    return {"fills_order_index_qty": [[owners.index(row.account), row.size] for row in maker_fills(rows)]}


@adapter("pro_rata_matching", "icebergs_same_price_time_order aggressor_size")
def shared_reserves(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Orders at one price that the case does not state, any will do."""
    given, size = case.inputs["icebergs_same_price_time_order"], case.inputs["aggressor_size"]
    desk = book_desk([ICEBERG_PRICE], [*(row["size"] for row in given), size], iceberg="pro_rata")
    for order_id, row in enumerate(given, 1):
        desk.order(OTHER, order_id, "sell", ICEBERG_PRICE, row["size"], display_lots=desk.lots(row["peak"]))
    rows = desk.order(HOLDER, FIRST_FREE_ID, "buy", ICEBERG_PRICE, size, "IOC")
    visible, reserve = zip(*(desk.parts(order_id) for order_id, _ in enumerate(given, 1)), strict=True)
    return {
        "trade_sizes": [row.size for row in maker_fills(rows)],
        "after": {
            "visible": list(visible),
            "reserve": list(reserve),
            "aggressor_remaining": of_kind(rows, "RESULT")[0].size,
        },
    }
