"""Auto-deleveraging and loss socialisation: queues, prices, who takes part, who bears what."""

from decimal import Decimal
from typing import Any

import scaling
from case_desk import BANK, HOLDER, OTHER, THIRD, Contract, Desk, of_kind
from case_files import Case
from liquidation_cases import carry, open_by_spec, quote_desk
from registry import Unsupported, adapter

from exchange import codes

RATE = Decimal("0.01")
UNIT, MOST = Decimal(1), Decimal("0.999999")
DYDX = {"trigger": "first", "overlap": True, "counterparties": "all"}  # no fund before, no loss beyond bankruptcy
STEP_NS = 1_000_000_000  # between the steps of a liquidation, where a case looks at it on its way
FAR_NS = 12_000_000_000
FIRST_LONG = 10
INSOLVENT, SOLVENT = 12, 13


def queues(desk: Desk) -> list[Any]:
    """The places of both sides, the highest score first."""
    both = [place for side in (codes.BID, codes.ASK) for place in desk.exchange.adl_queue(0, side)]
    return sorted(both, key=lambda place: place.score_ppm, reverse=True)


@adapter("adl_ranking", "mark positions score")
def ranked(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Isolated positions with the margin stated; the formula in words chooses the ranking."""
    given, rows = case.inputs, case.inputs["positions"]
    rankings = {"(uPnL/margin)*(notional/margin)": "margin_ratio", "(uPnL/collateral)*leverage": "stated_leverage"}
    if given["score"] not in rankings:
        raise Unsupported(f"the score {given['score']}")
    prices = (given["mark"], *(row["entry"] for row in rows))
    sizes = tuple(row["size"] for row in rows)
    contract = Contract(prices, sizes, ((0, RATE, 100),))
    money = [row.get("margin", row.get("collateral")) for row in rows]
    desk = Desk([contract], money, adl={"ranking": rankings[given["score"]]})
    desk.enrich(BANK)
    accounts = dict(zip((HOLDER, OTHER, THIRD), rows, strict=False))
    for (account, row), margin in zip(accounts.items(), money, strict=True):
        desk.deposit(account, margin)
        desk.isolate(account, row.get("leverage"))
        desk.seed(account, BANK, row["side"], row["entry"], row["size"])
        desk.transfer_cash(account)
        if desk.margin(account) != margin:
            raise Unsupported("the margin stated is not what the position can hold")
    desk.mark(given["mark"])
    places = [place for place in queues(desk) if place.account in accounts]
    scores = {f"score_of_{accounts[p.account]['id']}": scaling.amount(p.score_ppm, scaling.MILLIONTH) for p in places}
    about = {f"{name}_about": score for name, score in scores.items()}
    return {"ranking": [accounts[place.account]["id"] for place in places], **scores, **about}


@adapter("adl_ranking", "longs liquidated_short bankruptcy_price")
def queue_of_longs(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Longs that won the same share, at leverages of the stated scores; a short that has nothing left at the price.

    What the scores are made of is not stated: with one profit ratio for all their order is that of leverage.
    """
    given, price = case.inputs, case.inputs["bankruptcy_price"]
    longs = dict(enumerate(given["longs"], FIRST_LONG))
    sizes = tuple(row["qty"] for row in longs.values())
    desk = Desk([Contract((price,), sizes, ((0, RATE, 100),), tick=UNIT)], (price,), adl={"trigger": "first"})
    desk.enrich(OTHER)
    desk.open_empty(HOLDER)
    desk.seed(HOLDER, OTHER, "short", price, given["liquidated_short"])
    entry = scaling.just_below(price, UNIT)
    for account, row in longs.items():
        desk.deposit(account, scaling.cash_at_leverage(row["qty"], price, entry, row["score"]))
        desk.seed(account, OTHER, "long", entry, row["qty"])
    desk.mark(price)
    places = desk.exchange.adl_queue(0, codes.BID)
    closed = [row for row in of_kind(desk.settle(), "ADL") if row.account in longs]
    return {
        "order": [longs[place.account]["account"] for place in places],
        "percentile": {str(longs[place.account]["account"]): place.percentile for place in places},
        "deleveraged": [[longs[row.account]["account"], abs(row.size)] for row in closed],
        "price": closed[0].price,
    }


class Offset:
    """A liquidated account and those who may be closed against, by name: what deleveraging of one market does.

    The venue is looked at on the way, when it has deleveraged the first leg of the liquidated account. A maintenance of
    all is the most that a venue may ask for: the cases that state it are of accounts with no equity left to allot.
    """

    def __init__(self, given: dict[str, Any], others: dict[str, dict[str, Any]]):
        prices = given.get("oracle_prices") or {"": given["oracle_price"]}
        self.markets, self.accounts = list(prices), dict(zip(others, (OTHER, THIRD), strict=False))
        rows = {HOLDER: given["liquidated"], **{self.accounts[name]: row for name, row in others.items()}}
        largest = [self.sizes(given["liquidated"])[k] or UNIT for k in range(len(self.markets))]
        markets = [{"oracle_price": prices[name], "size": largest[k]} for k, name in enumerate(self.markets)]
        sections = {"adl": DYDX, "liquidation": {"order_delay_ns": STEP_NS}}
        self.desk = quote_desk(markets, min(given["mmf"], MOST), sections=sections)
        for account, row in rows.items():
            carry(self.desk, account, row["quote_balance_usd"], self.sizes(row))
        self.before = {account: self.quote(account) for account in rows}
        outcomes = [row for k, market in enumerate(markets) for row in self.desk.mark(market["oracle_price"], k)]
        for ns in range(0, FAR_NS, STEP_NS):
            if not of_kind(outcomes, "ADL", HOLDER):
                outcomes.extend(self.desk.run_until(ns))
        if not of_kind(outcomes, "LIQUIDATION_START", HOLDER):
            raise Unsupported("deleveraging of an account that is not in liquidation")
        self.closed = of_kind(outcomes, "ADL", HOLDER)

    def sizes(self, row: dict[str, Any]) -> list[Any]:
        """An account's size in each market."""
        return [row.get("positions", {}).get(name, row.get("size", 0)) for name in self.markets]

    def quote(self, account: int) -> Decimal:
        """An account's quote balance: cash less entry values."""
        balance = self.desk.cash(account)
        for k in range(len(self.markets)):
            position = self.desk.exchange.position(account, k)
            if position is not None:
                balance = scaling.difference(balance, self.desk.money(position["entry_value"]))
        return balance

    def after(self, account: int) -> dict[str, Any]:
        """What an account has then; positions are those that it still holds."""
        held = {name: self.desk.size(account, k) for k, name in enumerate(self.markets) if self.desk.size(account, k)}
        return {"quote_balance_usd": self.quote(account), "positions": held, "size": self.desk.size(account)}


@adapter("adl_outcome", "oracle_price mmf liquidated offsetting size_delta_liquidated")
def deleverage_pair(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Two accounts of opposite size and an empty book."""
    given = case.inputs
    if given["size_delta_liquidated"] != abs(given["liquidated"]["size"]):
        raise Unsupported("deleveraging of a slice on request: here it takes what the book did not take of a leg")
    pair = Offset(given, {"offsetting": given["offsetting"]})
    if not pair.closed:
        return {"allowed": False}
    return {
        "allowed": pair.closed[0].counterparty == OTHER,
        "deleveraging_price": pair.closed[0].price,
        "liquidated": pair.after(HOLDER),
        "offsetting": pair.after(OTHER),
    }


@adapter("adl_outcome", "oracle_prices mmf liquidated close_market", "offsetting counterparties size_delta_liquidated")
def deleverage_leg_of_portfolio(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """The first leg of two goes at its share of the equity, and the other stays what it was."""
    given = case.inputs
    (other,) = given.get("counterparties") or (given["offsetting"],)
    if given["close_market"] != next(iter(given["oracle_prices"])):
        raise Unsupported("a leg on request: they go in the order of their instruments")
    pair = Offset(given, {"other": other})
    return {
        "deleveraging_price": pair.closed[0].price,
        "liquidated_after": pair.after(HOLDER),
        "offsetting_after": pair.after(OTHER),
        "counterparty_after": pair.after(OTHER),
    }


@adapter("adl_outcome", "oracle_price mmf liquidated counterparties")
def deleverage_among(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    offset = Offset(given, {row["id"]: row for row in given["counterparties"]})
    names = {account: name for name, account in offset.accounts.items()}
    fills = [
        {
            "id": names[row.counterparty],
            "size": abs(row.size),
            "quote_delta_usd": scaling.difference(offset.quote(row.counterparty), offset.before[row.counterparty]),
        }
        for row in offset.closed
    ]
    filled = [fill["id"] for fill in fills]
    skipped = [name for name in offset.accounts if name not in filled]
    return {"fills": fills, "skipped": skipped, "remaining": offset.desk.size(HOLDER)}


@adapter(
    "adl_outcome",
    "spec account deposit mode leverage position open_fee isolated_margin book_bids counterparty marks",
)
def adl_without_fund(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    desk = open_by_spec(given, adl={"trigger": "first"})
    before, rows = desk.cash(OTHER), []
    for mark in given["marks"]:
        rows = [*rows, *desk.mark(mark), *desk.settle()]
    names = {OTHER: given["counterparty"]["account"]}
    return {
        "bankruptcy_price": of_kind(rows, "LIQUIDATION_ORDER", HOLDER)[0].price,
        "adl": [
            {"counterparty": names[row.counterparty], "qty": abs(row.size), "price": row.price}
            for row in of_kind(rows, "ADL", HOLDER)
        ],
        "counterparty_realised_pnl": scaling.difference(desk.cash(OTHER), before),
        "account7_wallet": desk.cash(HOLDER),
        "account7_size": desk.size(HOLDER),
        "account1_size": desk.size(OTHER),
    }


@adapter("loss_socialisation", "mark_from mark_to insurance_pool losses gains_in_payout_order")
def shared_by_winners(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Those who cannot pay what one move of the mark costs them are one account: a settlement pools their losses.

    What a winner is paid is the profit that its share leaves it.
    """
    given, move = case.inputs, scaling.difference(case.inputs["mark_to"], case.inputs["mark_from"])
    insolvent = [row for row in given["losses"] if row["owed"] > row["available"]]
    solvent = [row for row in given["losses"] if row["owed"] <= row["available"]]
    gains = dict(zip((HOLDER, OTHER, THIRD), given["gains_in_payout_order"], strict=False))
    sizes = {account: scaling.whole(gain, move) for account, gain in gains.items()}
    owed = {INSOLVENT: sum(row["owed"] for row in insolvent), SOLVENT: sum(row["owed"] for row in solvent)}
    short = {account: scaling.whole(money, move) for account, money in owed.items()}
    contract = Contract((given["mark_from"], given["mark_to"]), (*sizes.values(),), ((0, RATE, 100),), tick=UNIT)
    desk = Desk([contract], (given["insurance_pool"],), (UNIT,), adl={"trigger": "never"}, socialise="profits")
    desk.enrich(BANK, SOLVENT, *gains)
    desk.deposit(INSOLVENT, sum(row["available"] for row in insolvent))
    if given["insurance_pool"]:
        desk.deposit(codes.INSURANCE, given["insurance_pool"])
    for side, lots in (("long", sizes), ("short", short)):
        for account, size in lots.items():
            desk.seed(account, BANK, side, given["mark_from"], size)
    desk.mark(given["mark_from"])
    desk.mark(given["mark_to"])
    desk.settle()
    paid = [desk.position_margin(account)["profit"] for account in gains]
    asserted = case.expected["paid_in_payout_order"]
    return {
        "paid_in_payout_order": [None if known is None else sum_ for sum_, known in zip(paid, asserted, strict=True)],
        "insurance_pool_after": desk.equity(codes.INSURANCE),
    }


@adapter("loss_socialisation", "loss_usd base_long base_short")
def shared_by_lots(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """One lot, sold at the loss by an account that has as much, is closed at three times the loss by deleveraging.

    The long holds it and the lots stated, of which it bought from the recorded book what the short did not sell.
    """
    given, price = case.inputs, case.inputs["loss_usd"]
    high, short = scaling.threefold(price), abs(given["base_short"])
    contract = Contract((price, high), (given["base_long"], short, 1), ((0, RATE, 100),), lot=UNIT)
    adl = {"trigger": "first", "price": "mark"}
    desk = Desk([contract], (price,), (scaling.MILLIONTH,), adl=adl, socialise="positions")
    desk.enrich(OTHER, THIRD)
    desk.deposit(HOLDER, price)
    desk.mark(price)
    desk.seed(HOLDER, OTHER, "short", price, 1)
    desk.seed(THIRD, OTHER, "short", price, short)
    desk.level("sell", price, scaling.difference(given["base_long"], short))
    desk.order(OTHER, 1, "buy", price, scaling.difference(given["base_long"], short), "IOC")
    desk.mark(high)
    (share,) = of_kind(desk.settle(), "SOCIALISED", THIRD)
    each = scaling.per_unit(share.money, short)
    return {"per_unit_usd": each, "cumulative_funding_delta_raw": scaling.whole(each, scaling.BILLIONTH)}
