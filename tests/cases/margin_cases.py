"""Maintenance tiers, margins and liquidation prices."""

from bisect import bisect_left
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import probes
import scaling
from case_desk import BANK, HOLDER, OTHER, SIDES, THIRD, Contract, Desk, of_kind
from case_files import Case
from registry import Unsupported, adapter

from exchange import codes

Tiers = tuple[tuple[Any, Any, int], ...]


def tiers_of(rate: Any, cum: Any = 0, leverage: int = 100) -> Tiers:
    """One tier; or, below it, one that maintains nothing, so that the tier at work has the stated cumulative amount."""
    if not cum:
        return ((0, rate, leverage),)
    return ((0, 0, leverage), (scaling.tier_floor(cum, rate), rate, leverage))


def isolated_price(
    contract: Contract, side: str, entry: Any, size: Any, margin: Any, leverage: Any = None
) -> Decimal | None:
    """Liquidation price of an isolated position that was given a margin."""
    desk = Desk([contract], (margin,))
    desk.deposit(OTHER, margin)
    desk.deposit(HOLDER, margin)
    desk.isolate(HOLDER, leverage)
    desk.seed(HOLDER, OTHER, side, entry, size)
    desk.transfer_cash(HOLDER)
    desk.mark(entry)
    return desk.liquidation_price(HOLDER)


def trigger_price(build: Callable[[], Desk], side: str) -> Decimal:
    """The mark of instrument 0, moved alone, that starts the liquidation of the holder's wallet, whatever its legs."""
    desk = build()
    contract, mark_sub = desk.contracts[0], int(desk.exchange.markets[0]["mark_sub"])

    def starts(at: int) -> bool:
        probe = build()
        probe.mark_sub(at)
        return bool(of_kind(probe.settle(), "LIQUIDATION_START", HOLDER))

    if SIDES[side] == codes.BID:
        marks = range(1, mark_sub)
        first = bisect_left(marks, True, key=lambda at: not starts(at))
    else:
        marks = range(mark_sub, scaling.whole(contract.price_max, scaling.sub_tick(contract)))
        first = bisect_left(marks, True, key=starts)
    if first == len(marks):
        raise Unsupported("no mark on the ladder starts a liquidation")
    return scaling.amount(marks[first], scaling.sub_tick(contract))


def stand_in(pnl: Any, maintenance: Any) -> list[tuple[Contract, int, int]]:
    """Legs (contract, entry ticks, mark ticks) whose profit and whose maintenance margin are the stated totals.

    The profit is one tick of a contract that maintains nothing; the maintenance is half of two ticks of another.
    """
    earns = Contract((pnl,), (1,), tick=Decimal(pnl), price_max=scaling.amount(4, Decimal(pnl)))
    holds = Contract(
        (maintenance,),
        (1,),
        ((0, Decimal("0.5"), 2),),
        tick=Decimal(maintenance),
        price_max=scaling.amount(4, Decimal(maintenance)),
    )
    return [(earns, 1, 2), (holds, 2, 2)]


@adapter(
    "liquidation_price",
    "side position entry_price mmr maintenance_amount wallet_balance margin_mode",
    "other_positions other_maintenance_margin other_unrealised_pnl",
)
def wallet_price(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Binance's formula for one position in an isolated or a cross wallet, other cross positions at their own marks."""
    given = case.inputs
    side, size, entry, balance = given["side"], given["position"], given["entry_price"], given["wallet_balance"]
    contract = Contract((entry,), (size,), tiers_of(given["mmr"], given["maintenance_amount"]))
    if given["margin_mode"] == "isolated":
        return {"liquidation_price": isolated_price(contract, side, entry, size, balance)}
    others = [
        (
            Contract(
                (row["entry_price"], row["mark_price"]),
                (row["position"],),
                tiers_of(row["mmr"], row["maintenance_amount"]),
            ),
            row["entry_price"],
            row["mark_price"],
            "long" if row["position"] > 0 else "short",
            abs(row["position"]),
        )
        for row in given.get("other_positions", ())
    ]
    if "other_maintenance_margin" in given:
        pnl, maintenance = given["other_unrealised_pnl"], given["other_maintenance_margin"]
        others.extend(
            (leg, scaling.amount(first, leg.tick), scaling.amount(last, leg.tick), "long", 1)
            for leg, first, last in stand_in(pnl, maintenance)
        )

    def build() -> Desk:
        desk = Desk([contract, *(row[0] for row in others)], (balance,))
        desk.deposit(OTHER, balance)
        desk.deposit(HOLDER, balance)
        desk.seed(HOLDER, OTHER, side, entry, size)
        desk.mark(entry)
        for k, (_, first, last, other_side, other_size) in enumerate(others, 1):
            desk.seed(HOLDER, OTHER, other_side, first, other_size, k)
            desk.mark(last, k)
        return desk

    return {"liquidation_price": trigger_price(build, side) if others else build().liquidation_price(HOLDER)}


@adapter("liquidation_price", "side entry_price size isolated_margin_at_entry max_leverage maintenance_rate")
def isolated_by_rate(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    tiers = tiers_of(given["maintenance_rate"], leverage=given["max_leverage"])
    contract = Contract((given["entry_price"],), (given["size"],), tiers)
    price = isolated_price(
        contract, given["side"], given["entry_price"], given["size"], given["isolated_margin_at_entry"]
    )
    return {"liquidation_price": price}


@adapter("liquidation_price", "equity size price mmf")
def cross_by_equity(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """A lone cross position entered at the mark; then the mark goes to its liquidation price."""
    given = case.inputs
    desk = Desk([Contract((given["price"],), (given["size"],), tiers_of(given["mmf"]))], (given["equity"],))
    desk.deposit(OTHER, given["equity"])
    desk.deposit(HOLDER, given["equity"])
    desk.seed(HOLDER, OTHER, "long" if given["size"] > 0 else "short", given["price"], abs(given["size"]))
    desk.mark(given["price"])
    price = desk.liquidation_price(HOLDER)
    desk.mark(price)
    start = of_kind(desk.settle(), "LIQUIDATION_START", HOLDER)[0]
    return {"liquidation_price": price, "equity_at_liquidation": start.money}


@adapter("liquidation_price", "size entry leverage deposit mmr cum taker_fee")
def isolated_by_trade(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """The position is bought in the book, so that its fee and its margin come out of the wallet."""
    given = case.inputs
    contract = Contract(
        (given["entry"],), (given["size"],), tiers_of(given["mmr"], given["cum"]), taker=given["taker_fee"]
    )
    desk = Desk([contract], (given["deposit"],))
    desk.enrich(OTHER)
    desk.deposit(HOLDER, given["deposit"])
    desk.mark(given["entry"])
    desk.isolate(HOLDER, given["leverage"])
    desk.order(OTHER, 1, "sell", given["entry"], given["size"])
    desk.order(HOLDER, 2, "buy", given["entry"], given["size"])
    price = desk.liquidation_price(HOLDER)
    return {
        "isolated_margin": desk.margin(HOLDER),
        "wallet_after": desk.cash(HOLDER),
        "liquidation_price_between": price,
        "liquidation_price_recomputed": price,
    }


@adapter("maintenance_margin", "entry_price size mark_price leverage mmr")
def live_snapshot(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    raise Unsupported("a live liquidation price, with a fee and a margin that the inputs do not give")


@adapter("maintenance_margin_tiers", "brackets")
def bracket_amounts(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    desk = Desk([bracket_contract(case.inputs["brackets"], 1)])
    return {"maintenance_amounts": [desk.money(tier["cum"]) for tier in desk.exchange.compiled.tiers]}


def bracket_contract(brackets: list[dict[str, Any]], notional: Any) -> Contract:
    """A contract of price 1 whose size is a notional."""
    return Contract((1,), (notional,), tuple((row["floor"], row["mmr"], row["max_leverage"]) for row in brackets))


@adapter("maintenance_margin_tiers", "bracket_table notional")
def maintenance_in_table(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    table = by_id.get(case.inputs["bracket_table"])
    if table is None:
        raise Unsupported(f"its table {case.inputs['bracket_table']} is not among these cases")
    notional = case.inputs["notional"]
    desk = Desk([bracket_contract(table.inputs["brackets"], notional)])
    prices, quanta = desk.exchange.state.prices, scaling.whole(notional, desk.quantum)
    tier = prices.tiers[probes.tier_at(prices, 0, quanta)]
    return {
        "mmr": scaling.amount(tier["maintenance_ppm"], scaling.MILLIONTH),
        "maintenance_amount": desk.money(tier["cum"]),
        "maintenance_margin": desk.money(probes.maintenance_at(prices, 0, quanta)),
    }


@adapter("maintenance_margin_tiers", "floor mmr mmr_prev maintenance_amount_prev")
def next_amount(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    tiers = (*tiers_of(given["mmr_prev"], given["maintenance_amount_prev"]), (given["floor"], given["mmr"], 100))
    desk = Desk([Contract((1,), (1,), tiers)])
    return {"maintenance_amount": desk.money(desk.exchange.compiled.tiers[-1]["cum"])}


@adapter("maintenance_margin_tiers", "tiers orders")
def leverage_tiers(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Orders at the leverage they state; beyond the last tier only a leverage of 1 is left."""
    tiers, orders, floor = [], case.inputs["orders"], 0
    for row in case.inputs["tiers"]:
        tiers.append((floor, row["mmr"], row["max_leverage"]))
        floor = row["max_notional"]
    tiers.append((floor, tiers[-1][1], 1))
    sizes = [row.get("notional", row.get("extra_notional")) for row in orders]
    desk = Desk([Contract((1,), tuple(sizes), tuple(tiers))])
    desk.enrich(HOLDER)
    desk.mark(1)
    accepted = []
    for order_id, (row, size) in enumerate(zip(orders, sizes, strict=True), 1):
        desk.set_leverage(HOLDER, row["leverage"])
        accepted.append(desk.order(HOLDER, order_id, "buy", 1, size)[-1].code == "RESTING")
    return {"accepted": accepted, "tier2_maintenance_amount": desk.money(desk.exchange.compiled.tiers[1]["cum"])}


@adapter("maintenance_margin", "position_value_xbt maintenance_margin")
def flat_maintenance(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    value = case.inputs["position_value_xbt"]
    desk = Desk([Contract((1,), (value,), tiers_of(case.inputs["maintenance_margin"]))])
    maintained = probes.maintenance_at(desk.exchange.state.prices, 0, scaling.whole(value, desk.quantum))
    return {"maintenance_margin_xbt": desk.money(maintained)}


@adapter("initial_margin", "deposit order leverages")
def order_margins(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """One order at each leverage in turn; a rich twin shows what an order asks for that the holder is refused."""
    given, actual = case.inputs, {}
    order = given["order"]
    desk = Desk([Contract((order["limit"],), (order["qty"],))], (given["deposit"],))
    desk.deposit(HOLDER, given["deposit"])
    desk.enrich(THIRD)
    desk.mark(order["limit"])
    for order_id, leverage in enumerate(given["leverages"], 1):
        lowered = desk.set_leverage(HOLDER, leverage) == "OK"
        desk.set_leverage(THIRD, leverage)
        code = desk.order(HOLDER, order_id, order["side"], order["limit"], order["qty"])[-1].code
        desk.order(THIRD, BANK, order["side"], order["limit"], order["qty"])
        actual |= {
            f"required_at_{leverage}x": desk.order_margin(THIRD),
            f"order_margin_at_{leverage}x": desk.order_margin(HOLDER),
            f"accepted_at_{leverage}x": code == "RESTING",
            f"lower_to_{leverage}x_allowed": lowered,
        }
        desk.send(codes.CANCEL_ALL, account=THIRD, instrument=-1)
    return actual


@adapter("initial_margin", "deposit order leverage withdrawals")
def withdrawals(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given, order = case.inputs, case.inputs["order"]
    desk = Desk([Contract((order["limit"],), (order["qty"],))], (given["deposit"],))
    desk.deposit(HOLDER, given["deposit"])
    desk.mark(order["limit"])
    desk.set_leverage(HOLDER, given["leverage"])
    desk.order(HOLDER, 1, order["side"], order["limit"], order["qty"])
    margin = desk.order_margin(HOLDER)
    return {"order_margin": margin, "allowed": [desk.withdraw(HOLDER, money) for money in given["withdrawals"]]}


@adapter("initial_margin", "price face_value contracts leverage")
def opened_margin(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    contract = Contract((given["price"],), (given["contracts"],), multiplier=Decimal(given["face_value"]))
    desk = Desk([contract])
    desk.enrich(HOLDER, OTHER)
    desk.isolate(HOLDER, given["leverage"])
    desk.seed(HOLDER, OTHER, "buy", given["price"], given["contracts"])
    return {"initial_margin": desk.margin(HOLDER)}


@adapter("initial_margin", "contract", "qty_usd entry_price leverage mmr")
def inverse_margin(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    desk = Desk([Contract((given["entry_price"],), (given["qty_usd"],), tiers_of(given["mmr"]), kind="inverse")])
    desk.enrich(HOLDER, OTHER)
    desk.isolate(HOLDER, given["leverage"])
    desk.seed(HOLDER, OTHER, "buy", given["entry_price"], given["qty_usd"])
    return {"position_value_btc": desk.entry_value(HOLDER), "initial_margin_btc": desk.margin(HOLDER)}
