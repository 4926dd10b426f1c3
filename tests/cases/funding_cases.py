"""Premiums, funding rates and funding payments."""

from decimal import Decimal
from typing import Any

import numpy as np
import probes
import scaling
from case_desk import HOLDER, OTHER, Contract, Desk, of_kind
from case_files import Case
from price_cases import BOOKED
from registry import Unsupported, adapter

from exchange import codes

HOUR, EIGHT_HOURS = scaling.hours_ns(1), scaling.hours_ns(8)
WHOLE_PPM = {"step_ppb": 1_000}  # as dYdX reckons
QUOTE_QUANTUM = -6


def computed(contract: Contract, **rules: Any) -> Desk:
    """A desk that computes its funding rate, of one sample after an hour unless said."""
    return Desk([contract], funding={"source": "computed", "sample_ns": HOUR, **rules}, capacity=BOOKED)


def rate_of(desk: Desk) -> Decimal:
    """The rate that a desk's samples make, as a fraction of the stated time."""
    return scaling.amount(probes.rate_now(desk.exchange.state.prices), scaling.BILLIONTH)


@adapter("premium_index", "bids asks index_price impact_notional_usd max_abs_premium_ppm")
def impact_premium(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    rows = [*given["bids"], *given["asks"]]
    contract = Contract((given["index_price"], *(price for price, _ in rows)), tuple(size for _, size in rows) or (1,))
    cap = scaling.ppb_of_ppm(given["max_abs_premium_ppm"])
    money = scaling.text(given["impact_notional_usd"])
    desk = computed(contract, premium="impact", impact_notional=money, premium_cap_ppb=cap, **WHOLE_PPM)
    for side in ("bid", "ask"):
        for price, size in given[f"{side}s"]:
            desk.level(side, price, size)
    desk.index(given["index_price"])
    desk.run_until(HOUR)
    premium = scaling.amount(desk.exchange.price_state(0)["premium_ppb"], scaling.BILLIONTH)
    return {"premium_ppm": scaling.ppm(premium)}


@adapter("premium_index", "tail_removal_rate_each_side samples")
def tails(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    rows = np.array(case.inputs["samples"], np.int64)
    first, end = probes.kept_samples(rows, len(rows), scaling.ppm(case.inputs["tail_removal_rate_each_side"]))
    return {"kept": rows[first:end].tolist()}


@adapter("funding_rate", "premium_index interest_rate clamp")
def clamped_rate(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    rules = {"interest_ppb": scaling.ppb(given["interest_rate"]), "band_ppb": scaling.ppb(given["clamp"])}
    desk = computed(Contract((1,), (1,)), **rules)
    probes.note_samples(desk.exchange.state.prices, scaling.ppb(given["premium_index"]), 1)
    return {"funding_rate": rate_of(desk)}


@adapter("funding_rate", "oracle_price interest_rate_8h clamp", "impact_bid impact_ask")
def hourly_rate(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """A book with the stated impact price as its best, and one sample of it."""
    given = case.inputs
    sides = {side: given[f"impact_{side}"] for side in ("bid", "ask") if f"impact_{side}" in given}
    rules = {"interest_ppb": scaling.ppb(given["interest_rate_8h"]), "band_ppb": scaling.ppb(given["clamp"])}
    contract = Contract((given["oracle_price"], *sides.values()), (1,))
    desk = computed(contract, premium="impact", interval_ns=HOUR, rate_ns=EIGHT_HOURS, **rules)
    for side, price in sides.items():
        desk.level(side, price, 1)
    desk.index(given["oracle_price"])
    desk.run_until(HOUR)
    state = desk.exchange.price_state(0)
    premium, rate = (scaling.amount(state[name], scaling.BILLIONTH) for name in ("premium_ppb", "rate_ppb"))
    return {"premium": premium, "clamped_difference": scaling.difference(rate, premium), "funding_rate_8h": rate}


def capped(initial: int, share: int, factor: int, interest: Any = 0, **rules: Any) -> dict[str, Any]:
    """Terms of a dYdX market: rates of eight hours in whole ppm, paid by the hour, capped by its margin rates."""
    cap = {"factor_ppm": factor, "initial_ppm": initial, "maintenance_of_initial_ppm": share}
    shared = {"rate_ns": EIGHT_HOURS, "interval_ns": HOUR, "interest": "added", "missing": "zero", **WHOLE_PPM}
    return {**shared, "cap": cap, "interest_ppb": scaling.ppb_of_ppm(interest), **rules}


def paid_per_lot(base: int, quote: int = QUOTE_QUANTUM, exponent: int = 0) -> tuple[Decimal, dict[str, Any]]:
    """Multiplier of a contract whose lot is a base quantum, and rules that pay it in whole ppm of a quote quantum."""
    rules = {"payment": "per_lot", "payment_step": scaling.text(scaling.MILLIONTH), "notional": "index"}
    return scaling.from_resolution(base, exponent, quote), rules


def index_move(desk: Desk, rate_ppb: int) -> int:
    """What a settlement adds to dYdX's funding index."""
    prices = desk.exchange.state.prices
    micro = int(probes.lot_payment(prices, int(desk.exchange.markets[0]["index_sub"]), rate_ppb))
    return scaling.whole(desk.money(micro), Decimal(1))


@adapter("funding_rate", "clamp_factor_ppm initial_margin_ppm maintenance_fraction_ppm")
def greatest_rate(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    rules = capped(given["initial_margin_ppm"], given["maintenance_fraction_ppm"], given["clamp_factor_ppm"])
    desk = computed(Contract((1,), (1,)), **rules)
    return {"max_abs_funding_rate_8h_ppm": scaling.ppm_of_ppb(int(desk.exchange.price_state(0)["cap_ppb"]))}


@adapter("funding_rate", "imf mmf clamp_factor")
def greatest_rate_of_fractions(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    cap = {"factor_ppm": scaling.ppm(given["clamp_factor"]), "initial_ppm": scaling.ppm(given["imf"])}
    desk = computed(Contract((1,), (1,), tiers=((0, given["mmf"], 1),)), cap=cap)
    return {"max_abs_rate_8h": scaling.amount(desk.exchange.price_state(0)["cap_ppb"], scaling.BILLIONTH)}


@adapter(
    "funding_rate",
    "premium_samples_ppm sample_period_s funding_interval_s default_funding_8h_ppm initial_margin_ppm "
    "maintenance_fraction_ppm funding_clamp_factor_ppm index_price base_atomic_resolution",
)
def ticked_rate(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """The samples are given: they may be more than an interval has, and such as no book makes."""
    given = case.inputs
    multiplier, per_lot = paid_per_lot(given["base_atomic_resolution"])
    rules = capped(
        given["initial_margin_ppm"],
        given["maintenance_fraction_ppm"],
        given["funding_clamp_factor_ppm"],
        given["default_funding_8h_ppm"],
        interval_ns=scaling.seconds_ns(given["funding_interval_s"]),
        sample_ns=scaling.seconds_ns(given["sample_period_s"]),
        **per_lot,
    )
    desk = computed(Contract((given["index_price"],), (1,), multiplier=multiplier), **rules)
    desk.index(given["index_price"])
    prices = desk.exchange.state.prices
    for row in given["premium_samples_ppm"]:
        probes.note_samples(prices, scaling.ppb_of_ppm(row["value"]), row["count"])
    rate_ppb = int(probes.rate_now(prices))
    return {"funding_rate_8h_ppm": scaling.ppm_of_ppb(rate_ppb), "funding_index_delta": index_move(desk, rate_ppb)}


@adapter(
    "funding_payment",
    "funding_rate_8h_ppm elapsed_seconds price price_exponent base_atomic_resolution quote_atomic_resolution",
)
def index_delta(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    resolutions = given["base_atomic_resolution"], given["quote_atomic_resolution"], given["price_exponent"]
    multiplier, rules = paid_per_lot(*resolutions)
    elapsed_ns = scaling.seconds_ns(given["elapsed_seconds"])
    rules |= {"interval_ns": elapsed_ns, "sample_ns": elapsed_ns, "rate_ns": EIGHT_HOURS}
    desk = computed(Contract((given["price"],), (1,), multiplier=multiplier), **rules)
    desk.index(given["price"])
    return {"funding_index_delta": index_move(desk, scaling.ppb_of_ppm(given["funding_rate_8h_ppm"]))}


@adapter("funding_payment", "funding_index_now funding_index_at_last_settlement position_base_quantums")
def index_payment(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Settlements at a price of 1000 whose rates in ppb add up to what the index moved in ppm."""
    given, price = case.inputs, Decimal(1000)
    size = given["position_base_quantums"]
    if size == 0:
        raise Unsupported("no position")
    desk = Desk([Contract((price,), (abs(size),), lot=Decimal(1))], funding={"payment": "per_lot"})
    desk.enrich(HOLDER, OTHER)
    desk.seed(HOLDER, OTHER, "long" if size > 0 else "short", price, abs(size))
    desk.mark(price)
    moves = scaling.steps_between(given["funding_index_at_last_settlement"], given["funding_index_now"], 1_000_000_000)
    rows = [row for move in moves for row in of_kind(desk.send(codes.FUNDING_SETTLE, price=move), "FUNDING", HOLDER)]
    return {"settlement_ppm": scaling.ppm(sum((row.money for row in rows), Decimal(0)))}


@adapter("funding_payment", "quote_rate_day base_rate_day fundings_per_day mark_value_xbt side")
def interest_payment(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """An inverse contract at a price of 1, without a premium: the rate is the interest."""
    given, price = case.inputs, Decimal(1)
    interval_ns = scaling.part_of_day_ns(given["fundings_per_day"])
    rates = {f"{name}_ppb": scaling.ppb(given[name]) for name in ("quote_rate_day", "base_rate_day")}
    contract = Contract((price,), (given["mark_value_xbt"],), kind="inverse")
    desk = computed(contract, interval_ns=interval_ns, sample_ns=interval_ns, band_ppb=1_000_000_000, **rates)
    desk.enrich(HOLDER, OTHER)
    desk.seed(HOLDER, OTHER, given["side"], price, given["mark_value_xbt"])
    desk.mark(price)
    desk.index(price)
    (row,) = of_kind(desk.run_until(interval_ns), "FUNDING", HOLDER)
    rate = scaling.amount(desk.exchange.markets[0]["funding_rate_ppb"], scaling.BILLIONTH)
    return {"funding_rate": rate, "payment_xbt": row.money}


@adapter("funding_rate", "internal_twap external_twap funding_rate_scaling_factor interest_rate")
def scaled_rate(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """A book around the one average and an index at the other; what a short of one unit gets is what longs pay."""
    given = case.inputs
    inside, outside = Decimal(given["internal_twap"]), Decimal(given["external_twap"])
    rules = {"factor_ppm": scaling.ppm(given["funding_rate_scaling_factor"]), "notional": "index"}
    rules |= {"interest": "added", "interest_ppb": scaling.ppb(given["interest_rate"]), "interval_ns": HOUR}
    desk = computed(Contract((inside, outside), (1,)), **rules)
    desk.enrich(HOLDER, OTHER)
    desk.seed(HOLDER, OTHER, "short", outside, 1)
    desk.mark(outside)
    for side, price in zip(("bid", "ask"), scaling.around(inside, desk.contracts[0].tick), strict=True):
        desk.level(side, price, 1)
    desk.index(outside)
    (row,) = of_kind(desk.run_until(HOUR), "FUNDING", HOLDER)
    rate = scaling.amount(desk.exchange.price_state(0)["rate_ppb"], scaling.BILLIONTH)
    return {"funding_payment_per_unit": row.money, "funding_rate": rate}
