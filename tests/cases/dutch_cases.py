"""Auctions of units in liquidation, and liquidators that take positions at a price of the venue."""

from decimal import Decimal
from typing import Any, NamedTuple

import scaling
from case_desk import BANK, HOLDER, OTHER, Contract, Desk, of_kind
from case_files import Case
from liquidation_cases import carry
from registry import Unsupported, adapter

from exchange import codes

ALWAYS = {"below_ppm": 1_000_000, "action": "auction", "duration_ns": scaling.NS_PER_HOUR,
          "period_ns": scaling.NS_PER_HOUR}  # fmt: skip
BY_INDEX = {"concession_from": "index", "beyond_bankruptcy": True}
NANO, COIN, LOTS, QUANTUM = Decimal("1e-9"), Decimal(1), 1_900_000_000, Decimal("1e-15")
HALF, FINE_LOT = Decimal("0.5"), Decimal("1e-8")
LADDER, PERCENT, TWENTIETH = Decimal("5e-7"), Decimal("0.01"), Decimal("0.05")
NINTHS_AND_HUNDREDTHS = 1_800
SLOT_NS = 1_000_000
ALL_PPM = 1_000_000


def auctioned(stage: dict[str, Any], contract: Contract, mark: Any, size: Any, quote: Any, **terms: Any) -> Desk:
    """An account with a position and a quote balance that is auctioned as soon as there is a mark."""
    quanta = terms.pop("quanta", scaling.QUANTA)
    desk = Desk([contract], (), quanta, liquidation={"stages": [{**ALWAYS, **stage}], **terms})
    for _ in range(5):
        desk.enrich(BANK, OTHER, codes.INSURANCE)
    carry(desk, HOLDER, quote, [size])
    desk.index(mark)
    desk.mark(mark)
    desk.run_until(0)
    return desk


class Sold(NamedTuple):
    """A unit of which takers had a part, and what is left of it."""

    desk: Desk
    lots: int
    price: Decimal


def partly_sold(given: dict[str, Any], equity: Any, maintained: Any, curves: dict[str, Any], kept_share: Any) -> Sold:
    """A unit of one leg that must maintain half its value, part of which was sold before to leave what is reserved."""
    reserved = given.get("reserved_cash", Decimal(0))
    lots, price = scaling.parts_of(scaling.ratio(maintained, HALF), QUANTUM, NINTHS_AND_HUNDREDTHS, LOTS)
    left = scaling.difference(equity, reserved)
    sold = scaling.sold_before(lots, reserved, left, kept_share) if reserved else 0
    size = scaling.added(lots, sold)
    before = scaling.with_sold(left, lots, sold)
    contract = Contract((price,), (size,), ((0, HALF, 1),), tick=NANO, lot=COIN, price_max=LADDER, limit=size)
    quote = scaling.difference(before, scaling.product(size, price))
    desk = auctioned(curves, contract, price, size, quote, quanta=(QUANTUM,))
    if sold:
        desk.take(OTHER, HOLDER, sold, scaling.seconds_ns(given["seconds"]))
    return Sold(desk, lots, price)


def derive_curve(auction: dict[str, Any]) -> dict[str, Any]:
    """Fast until the cutoff, then slowly to nothing."""
    fast, whole = auction["fast_s"], scaling.added(auction["fast_s"], auction["slow_s"])
    points = [[0, auction["start"]], [fast, auction["fast_cutoff"]], [whole, 0]]
    curve = [[scaling.seconds_ns(s), scaling.ppm(scaling.rest_of(Decimal(kept)))] for s, kept in points]
    return {"concession_ppm": curve, "duration_ns": scaling.seconds_ns(whole)}


@adapter("partial_liquidation_sizing", "solvent seconds mtm buffer_margin reserved_cash percent_wanted auction")
def derive_bid(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """A bid for a share of the portfolio: what it leaves behind is its price. What is reserved a bid before has left."""
    given = case.inputs
    maintained, ns = scaling.difference(given["mtm"], given["buffer_margin"]), scaling.seconds_ns(given["seconds"])
    curves, kept_share = derive_curve(given["auction"]), case.expected["discount"]

    def begin() -> Sold:
        return partly_sold(given, given["mtm"], maintained, curves, kept_share)

    whole, most = begin(), begin()
    (all_of_it, _) = of_kind(most.desk.take(OTHER, HOLDER, most.lots, ns), "TAKEN")
    before = whole.desk.left_behind()
    wanted = scaling.nearest(scaling.product(given["percent_wanted"], whole.lots), COIN)
    rows = whole.desk.take(OTHER, HOLDER, wanted, ns)
    (paid,) = (row.money for row in of_kind(rows, "TAKEN", OTHER))
    bid, had = scaling.difference(whole.desk.left_behind(), before), abs(of_kind(rows, "TAKEN", OTHER)[0].size)
    equity, maintenance = whole.desk.unit_margin(HOLDER)
    return {
        "discount": scaling.share_of_sum(bid, paid),
        "max_proportion": scaling.between_lots(abs(all_of_it.size), most.lots),
        "bid_price_usd": bid if had == wanted else scaling.product(bid, scaling.between_lots(had, had)),
        "mtm_after": equity,
        "buffer_margin_after": scaling.within_a_lot(scaling.difference(equity, maintenance), whole.price),
    }


@adapter("auction_price", "solvent seconds percent_wanted lower_bound_usd ramp_seconds")
def derive_payout(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """A unit with no equity, that lacks all it must maintain: what takers leave behind is what the fund pays."""
    given = case.inputs
    curves = {"concession_ppm": [[0, 0]], "payout_ppm": [[0, 0], [scaling.seconds_ns(given["ramp_seconds"]), ALL_PPM]]}
    desk, lots, _ = partly_sold(given, Decimal(0), abs(given["lower_bound_usd"]), curves, COIN)
    wanted = scaling.nearest(scaling.product(given["percent_wanted"], lots), COIN)
    desk.take(OTHER, HOLDER, wanted, scaling.seconds_ns(given["seconds"]))
    return {"insurance_payout_usd": desk.left_behind()}


def short_of_one(stage: dict[str, Any], price: Any) -> Desk:
    """Somebody short of one coin, with a cent of equity, is auctioned at a price around the index."""
    contract = Contract((price, 2), (1,), ((0, TWENTIETH, 10),), tick=scaling.MILLIONTH, limit=10)
    quote = scaling.added(Decimal(price), PERCENT)
    return auctioned({**BY_INDEX, **stage}, contract, price, Decimal(-1), quote)


@adapter("auction_price", "oracle_price start_offset end_offset duration_slots slots_elapsed direction")
def drift_price(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """What is bought in the auction is what a short in liquidation lacks."""
    given = case.inputs
    if given["direction"] != "long":
        raise Unsupported("the auction of a sale")
    end = scaling.whole(given["duration_slots"], Decimal(1))
    points = [[0, given["start_offset"]], [end, given["end_offset"]]]
    curve = [[scaling.amount(slots, SLOT_NS), scaling.ppm(offset)] for slots, offset in points]
    desk = short_of_one({"concession_ppm": curve}, given["oracle_price"])
    (row, _) = of_kind(desk.take(OTHER, HOLDER, 1, scaling.amount(given["slots_elapsed"], SLOT_NS)), "TAKEN")
    return {"auction_price": row.price}


@adapter("liquidation_fee", "base_fee max_fee slots_since_last_active grace_slots increase_per_slot")
def drift_fee_by_time(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """The fee stands still in the grace time, then is what it would be had it grown from the beginning."""
    given = case.inputs
    grace, rise = given["grace_slots"], scaling.difference(given["max_fee"], given["base_fee"])
    in_grace = scaling.added(given["base_fee"], scaling.product(grace, given["increase_per_slot"]))
    end = scaling.whole(scaling.ratio(rise, given["increase_per_slot"]), Decimal(1))
    last_ns = scaling.difference(scaling.amount(grace, SLOT_NS), 1)
    times = (0, last_ns, scaling.amount(grace, SLOT_NS), scaling.amount(end, SLOT_NS))
    fees = (given["base_fee"], given["base_fee"], in_grace, given["max_fee"])
    curve = [[ns, scaling.ppm(fee)] for ns, fee in zip(times, fees, strict=True)]
    desk = short_of_one({"concession_ppm": curve}, 1)
    ns = scaling.amount(given["slots_since_last_active"], SLOT_NS)
    (row, _) = of_kind(desk.take(OTHER, HOLDER, 1, ns), "TAKEN")
    return {"liquidation_fee": scaling.fraction_above(row.price, 1)}


def liquidated_long(given: dict[str, Any], size: Any, quote: Any, rate: Any, fund_fee: Any, exit_ppm: int) -> Desk:
    """A long that a liquidator may have at the index less its fee; the fund gets at most 95 % of what is left."""
    stage = {**BY_INDEX, "concession_ppm": [[0, scaling.ppm(given["liquidator_fee"])]], "exit_ppm": exit_ppm}
    price = given["oracle_price"]
    contract = Contract((price,), (size,), ((0, rate, 10),), tick=PERCENT, lot=FINE_LOT, limit=10, liquidation=fund_fee)
    return auctioned(stage, contract, price, Decimal(size), quote, fund_most_ppm=950_000)


@adapter(
    "liquidation_fee",
    "margin_shortage_usd base_amount margin_ratio liquidator_fee oracle_price quote_oracle_price max_insurance_fee",
)
def drift_insurance_fee(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """By what a liquidator takes, nearly all; of somebody who owes the fund takes nothing (it pays)."""
    given, size = case.inputs, case.inputs["base_amount"]
    if not given["oracle_price"]:
        raise Unsupported("an index of zero")
    price, rate = given["oracle_price"], given["margin_ratio"]
    quote = scaling.quote_short_of(size, price, rate, given["margin_shortage_usd"])
    desk = liquidated_long(given, size, quote, rate, given["max_insurance_fee"], 10_000_000)
    rows = of_kind(desk.take(OTHER, HOLDER, size, 0), "LIQUIDATION_FEE")
    received = scaling.added(*(max(Decimal(0), row.money) for row in rows))
    return {"insurance_fee_rate": scaling.ratio(received, scaling.product(desk.size(OTHER), price))}


@adapter(
    "liquidation_end_to_end",
    "oracle_price position quote collateral mmr liquidator_fee buffer",
    "if_fee if_fee_max open_bids",
)
def liquidator(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """What the fund pays at once, where the source leaves it to be resolved, is taken back from the quote balance."""
    given, size = case.inputs, case.inputs["position"]
    fee = given.get("if_fee", given.get("if_fee_max"))
    quote = scaling.added(given["quote"], given["collateral"])
    aim = scaling.ratio(scaling.added(given["mmr"], given["buffer"]), given["mmr"])
    desk = liquidated_long(given, size, Decimal(quote), given["mmr"], fee, scaling.ppm(aim))
    fees = [row.money for row in of_kind(desk.take(OTHER, HOLDER, size, 0), "LIQUIDATION_FEE")]
    entry = desk.exchange.position(HOLDER, 0)["entry_value"]
    paid = scaling.added(Decimal(0), *(money for money in fees if money < 0))
    own = scaling.added(desk.cash(HOLDER), scaling.gain(entry, desk.quantum), paid)
    taken = desk.exchange.position(OTHER, 0)["entry_value"]
    levels = desk.position_margin(HOLDER)
    return {
        "user_position": desk.size(HOLDER),
        "user_quote": scaling.difference(own, given["collateral"]),
        "liquidator_position": desk.size(OTHER),
        "liquidator_quote": scaling.gain(taken, desk.quantum),
        "insurance_fee": scaling.added(Decimal(0), *(money for money in fees if money > 0)),
        "margin_ratio_after": scaling.ratio(levels["equity"], levels["notional"]) if desk.size(HOLDER) else None,
    }
