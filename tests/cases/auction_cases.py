"""Call auctions: the price that ends one, who trades with whom at it; the average price of walking a book."""

import itertools
from typing import Any

import scaling
from case_desk import HOLDER, OTHER, THIRD, Contract, Desk, Row, of_kind
from case_files import Case
from registry import adapter

from exchange import codes

PARTIES = (HOLDER, OTHER, THIRD, 11)
AT_MARKET = ("MO", "MTL")  # while an auction lasts both rest without a limit of their own


def auction_desk(orders: list[list[Any]], reference: Any = None, prices: tuple[Any, ...] = (), **terms: Any) -> Desk:
    """A venue in an auction with (account, side, price, size) in it, oldest first, ids from 1."""
    stated = [row[2] for row in orders if row[2] not in AT_MARKET]
    mark = reference or stated[0]
    desk = Desk([Contract((*stated, *prices, mark), tuple(row[3] for row in orders))], auction=terms)
    desk.enrich(*PARTIES)
    desk.mark(mark)
    desk.send(codes.AUCTION_START, price=desk.ticks(reference) if reference else 0)
    for order_id, (account, side, price, size) in enumerate(orders, 1):
        desk.order(account, order_id, side, None if price in AT_MARKET else price, size)
    return desk


def ended(desk: Desk) -> tuple[Row, list[Row]]:
    """AUCTION outcome and the rows of its end."""
    rows = desk.send(codes.AUCTION_END)
    return of_kind(rows, "AUCTION")[0], rows


def trades(rows: list[Row]) -> list[dict[str, Row]]:
    """Each trade's two fills by side; the venue says the older order's first."""
    fills = iter(of_kind(rows, "FILL"))
    return [
        {"sell" if row.flags & codes.SELL else "buy": row for row in pair} for pair in zip(fills, fills, strict=True)
    ]


@adapter("auction_uncrossing", "buys sells")
def limits_of_both_sides(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    buys = [[HOLDER, "buy", *row] for row in case.inputs["buys"]]
    sells = [[OTHER, "sell", *row] for row in case.inputs["sells"]]
    desk = auction_desk([*buys, *sells], price="midpoint")
    auction, rows = ended(desk)
    limits = dict(enumerate((row[2] for row in buys), 1))
    return {
        "price": auction.price,
        "volume": auction.size,
        "trade_sizes": [row["buy"].size for row in trades(rows)],
        "trades_in_order": [
            {"buyer_limit": limits[row["buy"].order_id], "size": row["buy"].size} for row in trades(rows)
        ],
    }


@adapter("auction_uncrossing", "levels_price_sell_buy reference_price price_limit_pct")
def listed_levels(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    levels, reference = case.inputs["levels_price_sell_buy"], case.inputs["reference_price"]
    orders = [[OTHER, "sell", price, sell] for price, sell, _ in levels if sell]
    orders.extend([HOLDER, "buy", price, buy] for price, _, buy in levels if buy)
    limit = scaling.ppm(case.inputs["price_limit_pct"])
    auction, _ = ended(auction_desk(orders, reference, pressure_limit_ppm=limit))
    return {"price": auction.price, "volume": auction.size, "imbalance_buy_minus_sell": auction.money}


@adapter("auction_uncrossing", "buys_time_order sells_time_order reference_price")
def market_and_limit(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    rows = [("buy", row) for row in given["buys_time_order"]]
    rows.extend(("sell", row) for row in given["sells_time_order"])
    orders = [[HOLDER if side == "buy" else OTHER, side, price, size] for side, (_, price, size) in rows]
    names = dict(enumerate((name for _, (name, _, _) in rows), 1))
    expected = (case.expected["price"],)
    auction, outcomes = ended(auction_desk(orders, given["reference_price"], expected))
    return {
        "price": auction.price,
        "trades_buyer_seller_qty": [
            [names[row["buy"].order_id], names[row["sell"].order_id], row["buy"].size] for row in trades(outcomes)
        ],
    }


@adapter("self_trade_in_auction", "orders_in_time_order")
def wash_trades(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs["orders_in_time_order"]
    accounts = dict(zip(sorted({row[0] for row in given}), PARTIES, strict=True))
    names = {account: name for name, account in accounts.items()}
    desk = auction_desk([[accounts[name], *terms] for name, *terms in given], price="midpoint")
    auction, rows = ended(desk)
    return {
        "price": auction.price,
        "trades": [[names[row["buy"].account], names[row["sell"].account], row["buy"].size] for row in trades(rows)],
        "positions": {name: desk.size(account) for name, account in accounts.items() if desk.size(account)},
        "open_interest": scaling.amount(desk.exchange.markets[0]["open_interest_lots"], desk.contracts[0].lot),
    }


@adapter("impact_price", "bids asks volume")
def walked_book(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given, ids = case.inputs, itertools.count(1)
    rows = [*given["bids"], *given["asks"]]
    desk = Desk([Contract(tuple(row[0] for row in rows), tuple(row[1] for row in rows))])
    desk.enrich(OTHER)
    desk.mark(given["bids"][0][0])
    for side in ("bids", "asks"):
        for price, size in given[side]:
            desk.order(OTHER, next(ids), side[:3], price, size)
    return {f"{side}_vwap": desk.impact_price(side, given["volume"]) for side in ("bid", "ask")}


@adapter("pro_rata_matching", "buys_time_order sell_icebergs_time_order sells")
def shared_reserves_in_an_auction(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    icebergs, buys, sells = given["sell_icebergs_time_order"], given["buys_time_order"], given["sells"]
    stated = [*([row["price"], row["size"]] for row in icebergs), *buys, *sells]
    prices, sizes = zip(*stated, strict=True)
    desk = Desk([Contract(prices, (*sizes, *(row["peak"] for row in icebergs)), iceberg="pro_rata")])
    desk.enrich(HOLDER, OTHER)
    desk.mark(prices[0])
    desk.send(codes.AUCTION_START)
    order_ids = itertools.count(1)
    for price, size in buys:
        desk.order(HOLDER, next(order_ids), "buy", price, size)
    for row in icebergs:
        desk.order(OTHER, next(order_ids), "sell", row["price"], row["size"], display_lots=desk.lots(row["peak"]))
    for price, size in sells:
        desk.order(OTHER, next(order_ids), "sell", price, size)
    auction, rows = ended(desk)
    return {
        "price": auction.price,
        "volume": auction.size,
        "trade_sizes": [row["sell"].size for row in trades(rows)],
    }
