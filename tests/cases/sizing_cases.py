"""How much of a position one step of a liquidation takes."""

from decimal import Decimal
from typing import Any

import scaling
from case_desk import HOLDER, OTHER, THIRD, Contract, Desk, of_kind
from case_files import Case
from registry import Unsupported, adapter

from exchange import codes

CENT_OF_EQUITY = Decimal("0.01")
HALF, TENTH = Decimal("0.5"), Decimal("0.1")
THOUSAND = Decimal(1_000)
NANO_UNIT = Decimal("1e-9")  # of a coin: the lot of drift and of dYdX's smallest markets
FINE = {"exit_ppm": 1_000_000, "below_ppm": 1_000_000, "action": "reduce", "cooldown_ns": scaling.NS_PER_HOUR}
LAST = {"below_ppm": 1, "action": "close"}


def nearly_broke(contract: Contract, size: Any, stage: dict[str, Any], offered: Any, **sections: Any) -> Desk:
    """A position at its entry price, next to no equity behind it, in a stage that reduces; and a bid or ask for it."""
    price = contract.prices[0]
    stages = [{"below_ppm": 10_000_000, "action": "reduce", **stage}, LAST]
    desk = Desk([contract], (CENT_OF_EQUITY, scaling.amount(1, Decimal(price))), liquidation={"stages": stages}, **sections)
    desk.enrich(OTHER, THIRD)
    desk.deposit(HOLDER, CENT_OF_EQUITY)
    side, lots = scaling.side_and_size(size)
    desk.seed(HOLDER, OTHER, side, price, lots)
    desk.mark(price)
    desk.order(THIRD, 1, "buy" if side == "long" else "sell", price, offered)
    return desk


def unit_contract(sizes: tuple[Any, ...], **fields: Any) -> Contract:
    """One that is worth its size."""
    return Contract((1,), sizes, **{"tiers": ((0, HALF, 1),), "tick": Decimal(1), **fields})


def first_step(desk: Desk) -> Decimal:
    return of_kind(desk.run_until(0), "LIQUIDATION_ORDER", HOLDER)[0].size


@adapter("partial_liquidation_sizing", "size fraction")
def share_of_position(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    size = case.inputs["size"]
    stage = {"share_ppm": scaling.ppm(case.inputs["fraction"]), "cooldown_ns": scaling.NS_PER_HOUR}
    desk = nearly_broke(unit_contract((size,), lot=Decimal("0.000001")), size, stage, abs(size))
    return {"liquidated_size": first_step(desk)}


@adapter(
    "partial_liquidation_sizing",
    "network_position disposal_step_s disposal_fraction full_disposal_size max_fraction_consumed "
    "available_volume_each_step",
)
def disposal_by_steps(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """The fund takes the position over and works it off; the offer is restored after each step."""
    given, sizes = case.inputs, []
    size, offered = given["network_position"], given["available_volume_each_step"]
    pause_ns = scaling.seconds_ns(given["disposal_step_s"])
    backstop = {
        "period_ns": pause_ns,
        "share_ppm": scaling.ppm(given["disposal_fraction"]),
        "notional_above": scaling.text(given["full_disposal_size"]),
        "offer_ppm": scaling.ppm(given["max_fraction_consumed"]),
    }
    contract = unit_contract((size, offered))
    desk = nearly_broke(contract, size, {"action": "takeover"}, offered, backstop=backstop)
    desk.run_until(0)
    side = "sell" if size < 0 else "buy"
    while desk.size(codes.INSURANCE):
        now_ns = scaling.amount(scaling.one_more(len(sizes)), pause_ns)
        (order,) = of_kind(desk.run_until(now_ns), "DISPOSAL", codes.INSURANCE)
        sizes.append(order.size)
        desk.order(THIRD, scaling.one_more(len(sizes)), side, 1, order.size, ts_ns=now_ns)
    return {"sizes": sizes}


@adapter("partial_liquidation_sizing", "position tier1_max tier3_min")
def to_first_tier(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """From the third tier straight to the first: two tiers down."""
    size = case.inputs["position"]
    floors = (0, scaling.one_more(case.inputs["tier1_max"]), case.inputs["tier3_min"])
    rates = (Decimal("0.01"), Decimal("0.02"), Decimal("0.03"))
    tiers = tuple((floor, rate, 1) for floor, rate in zip(floors, rates, strict=True))
    stage = {"tiers_down": 2, "cooldown_ns": scaling.NS_PER_HOUR}
    return {"close_qty": first_step(nearly_broke(unit_contract((size,), tiers=tiers), size, stage, size))}


@adapter("partial_liquidation_sizing", "contracts_per_step contract_usd steps_per_second")
def steps_of_a_second(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """A position too large for a second of steps, each of so many contracts at most."""
    given = case.inputs
    price = given["contract_usd"]
    stage = {
        "notional_max": scaling.text(scaling.amount(given["contracts_per_step"], Decimal(price))),
        "cooldown_ns": scaling.part_of_second_ns(given["steps_per_second"]),
    }
    contract = Contract((price,), (THOUSAND,), ((0, HALF, 1),), tick=Decimal(1))
    desk = nearly_broke(contract, THOUSAND, stage, THOUSAND)
    value = desk.entry_value(HOLDER)
    rows = desk.run_until(scaling.difference(scaling.seconds_ns(1), 1))
    return {
        "contracts_per_second": sum(row.size for row in of_kind(rows, "FILL", HOLDER)),
        "usd_per_second": scaling.difference(value, desk.entry_value(HOLDER)),
    }


def short_by(contract: Contract, size: Any, stage: dict[str, Any], shortage: Any) -> Desk:
    """A long position at its entry price whose equity falls short of maintenance by some money (None: a quantum)."""
    price = contract.prices[0]
    desk = Desk([contract], (price,), liquidation={"stages": [{**FINE, **stage}, LAST]})
    desk.deposit(HOLDER, scaling.tenfold(scaling.room(price)))
    desk.enrich(OTHER, THIRD)
    desk.seed(HOLDER, OTHER, "long", price, size)
    desk.mark(price)
    equity, maintained = desk.unit_margin(HOLDER)
    desk.withdraw(HOLDER, scaling.difference(equity, maintained))
    missing = desk.quantum if shortage is None else shortage
    if missing >= maintained or not desk.withdraw(HOLDER, missing):
        raise Unsupported("a shortage beyond what the position maintains")
    return desk


@adapter(
    "partial_liquidation_sizing",
    "margin_shortage_usd margin_ratio liquidator_fee insurance_fee oracle_price quote_oracle_price",
)
def lots_for_shortage(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """The position is not stated: two units. What the quote asset is worth is the multiplier of a quanto contract."""
    given, size = case.inputs, Decimal(2)
    contract = Contract(
        (given["oracle_price"],),
        (size,),
        ((0, given["margin_ratio"], 100),),
        lot=NANO_UNIT,
        limit=size,
        multiplier=Decimal(given["quote_oracle_price"]),
        taker=given["liquidator_fee"],
        liquidation=given["insurance_fee"],
    )
    desk = short_by(contract, size, {"after_fees": True}, given["margin_shortage_usd"])
    return {"base_amount": first_step(desk)}


@adapter(
    "partial_liquidation_sizing",
    "position_size oracle_price min_position_notional_liquidated_usd max_position_portion_liquidated",
)
def notional_of_step(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """The least: of a step for which a lot would do. The most: of one that takes its share. Filled at the mark."""
    given, actual = case.inputs, {}
    size, price = Decimal(given["position_size"]), given["oracle_price"]
    least = {"notional_min": scaling.text(given["min_position_notional_liquidated_usd"])}
    share = {"share_ppm": scaling.ppm(given["max_position_portion_liquidated"])}
    contract = Contract((price,), (size,), ((0, TENTH, 100),), lot=NANO_UNIT, limit=scaling.amount(2, size))
    for name, stage in (("min_notional_usd", least), ("max_notional_usd", {**least, **share})):
        desk = short_by(contract, size, stage, None)
        desk.order(THIRD, 1, "buy", price, size)
        value = desk.entry_value(HOLDER)
        first_step(desk)
        actual[name] = scaling.difference(value, desk.entry_value(HOLDER))
    return actual
