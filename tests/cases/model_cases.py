"""Margin models beyond marginal tiers at the mark: steps, entry value, fees, fractions of initial, risk factors."""

from decimal import Decimal
from typing import Any

import scaling
from case_desk import HOLDER, OTHER, SIDES, THIRD, Contract, Desk, of_kind
from case_files import Case
from margin_cases import isolated_price, tiers_of
from registry import Unsupported, adapter

WHOLE = (Decimal(1),)  # the quantum where a source counts in whole quanta
CLOSING = {"gate": "taker", "okx": "taker"}  # whose liquidation price reserves the fee of closing


@adapter(
    "liquidation_price",
    "venue_rule side entry_price size leverage isolated_margin mmr maintenance_amount taker_fee_rate",
)
def isolated_by_venue(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    venue = given["venue_rule"]
    margin = {"maintenance_price": "entry" if venue == "bybit" else "mark", "closing_fee": CLOSING.get(venue, "none")}
    contract = Contract(
        (given["entry_price"],),
        (given["size"],),
        tiers_of(given["mmr"], given["maintenance_amount"]),
        tick=scaling.fine_step((given["entry_price"],)),
        taker=given["taker_fee_rate"],
        margin=margin,
    )
    price = isolated_price(
        contract, given["side"], given["entry_price"], given["size"], given["isolated_margin"], given["leverage"]
    )
    return {"liquidation_price": price}


@adapter("liquidation_price", "contract", "side qty_usd entry_price account_balance_btc mmr taker_fee")
def inverse_price(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Bybit's cross margin: maintenance of the entry value, and the fee of closing at the bankruptcy price."""
    given = case.inputs
    if not case.recomputed:
        raise Unsupported("the source prints another price than its own formula gives")
    contract = Contract(
        (given["entry_price"],),
        (given["qty_usd"],),
        tiers_of(given["mmr"]),
        tick=scaling.FINE_TICK,
        kind="inverse",
        taker=given["taker_fee"],
        margin={"maintenance_price": "entry", "closing_fee": "taker", "closing_fee_price": "bankruptcy"},
    )
    desk = Desk([contract], (given["account_balance_btc"],))
    desk.enrich(OTHER)
    desk.deposit(HOLDER, given["account_balance_btc"])
    desk.seed(HOLDER, OTHER, given["side"], given["entry_price"], given["qty_usd"])
    desk.mark(given["entry_price"])
    return {"liquidation_price": desk.liquidation_price(HOLDER)}


@adapter("maintenance_margin_tiers", "tiers", file="hyperliquid")
def amounts_by_leverage(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Maintenance is half of the initial rate, which is one over the leverage of the tier."""
    tiers = tuple(
        (row["floor"], None, row["max_leverage"], scaling.ppm_of_leverage(row["max_leverage"]))
        for row in case.inputs["tiers"]
    )
    desk = Desk([Contract((1,), (1,), tiers, margin={"maintenance_of_initial_ppm": 500_000})])
    rows = desk.exchange.compiled.tiers
    return {
        "maintenance_rate": [scaling.amount(row["maintenance_ppm"], scaling.MILLIONTH) for row in rows],
        "maintenance_deduction": [desk.money(row["cum"]) for row in rows],
    }


@adapter("maintenance_margin_tiers", "base_mm base_im base_limit_xbt step_xbt steps")
def step_tiers(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """The tier of so many steps; where the next begins is the largest position in it."""
    given = case.inputs
    limits = {
        "base_limit": scaling.text(given["base_limit_xbt"]),
        "step": scaling.text(given["step_xbt"]),
        "steps": scaling.one_more(given["steps"]),
        "base_maintenance_ppm": scaling.ppm(given["base_mm"]),
        "base_initial_ppm": scaling.ppm(given["base_im"]),
        "step_ppm": scaling.ppm(given["base_mm"]),
    }
    desk = Desk([Contract((1,), (1,), (), margin={"tiers": "step", "risk_limits": limits})])
    rows = desk.exchange.compiled.tiers
    tier, beyond = rows[given["steps"]], rows[-1]
    return {
        "max_position_xbt": desk.money(beyond["floor"]),
        "maintenance_margin": scaling.amount(tier["maintenance_ppm"], scaling.MILLIONTH),
        "initial_margin": scaling.amount(tier["initial_ppm"], scaling.MILLIONTH),
    }


@adapter("maintenance_margin", "size_btc entry_price leverage mark_price mmr liquidation_fee_rate")
def margin_ratio(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """An isolated long whose mark falls; it is liquidated below maintenance and the liquidation fee."""
    given = case.inputs
    prices = (given["entry_price"], given["mark_price"])
    contract = Contract(
        prices,
        (given["size_btc"],),
        tiers_of(given["mmr"]),
        liquidation=given["liquidation_fee_rate"],
        margin={"closing_fee": "liquidation"},
    )
    desk = Desk([contract])
    desk.enrich(HOLDER, OTHER)
    desk.isolate(HOLDER, given["leverage"])
    desk.seed(HOLDER, OTHER, "buy", given["entry_price"], given["size_btc"])
    desk.mark(given["entry_price"])
    initial = desk.margin(HOLDER)
    desk.mark(given["mark_price"])
    held = desk.position_margin(HOLDER)
    return {
        "initial_margin": initial,
        "unrealised_pnl": held["profit"],
        "margin_ratio": held["ratio"],
        "liquidate": bool(of_kind(desk.settle(), "LIQUIDATION_START", HOLDER)),
    }


def by_initial(given: dict[str, Any], **margin: Any) -> dict[str, Any]:
    """Contract fields of a venue whose requirements follow from an initial rate, which open interest may raise."""
    margin |= {"initial": "model"}
    if given.get("oi_upper_cap"):
        margin |= {
            "open_interest_lower": scaling.text(given["oi_lower_cap"]),
            "open_interest_upper": scaling.text(given["oi_upper_cap"]),
        }
    rate = None if "maintenance_of_initial_ppm" in margin else 0
    return {"tiers": ((0, rate, 100, int(given["initial_margin_ppm"])),), "margin": margin}


@adapter("maintenance_margin", "initial_margin_ppm maintenance_fraction_ppm")
def fraction_of_initial(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    tier = (0, None, 100, int(given["initial_margin_ppm"]))
    margin = {"maintenance_of_initial_ppm": int(given["maintenance_fraction_ppm"])}
    desk = Desk([Contract((1,), (1,), (tier,), margin=margin)])
    return {"maintenance_margin_ppm": int(desk.exchange.compiled.tiers[0]["maintenance_ppm"])}


@adapter(
    "maintenance_margin",
    "initial_margin_ppm maintenance_fraction_ppm price price_exponent base_atomic_resolution quote_atomic_resolution "
    "base_quantums open_interest_base_quantums oi_lower_cap oi_upper_cap",
)
def quote_quantums(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Initial margin is what an open order of the size asks for, maintenance what such a position must hold."""
    given = case.inputs
    resolutions = (given["price_exponent"], given["base_atomic_resolution"])
    price = scaling.quote_price(given["price"], resolutions, given["quote_atomic_resolution"])
    side, size = scaling.side_and_size(given["base_quantums"])
    interest = given["open_interest_base_quantums"]
    lot = scaling.common_lot(size, interest)
    fields = by_initial(given, maintenance_of_initial_ppm=int(given["maintenance_fraction_ppm"]))
    tick = price or Decimal(1)
    contract = Contract((tick,), (size, interest), tick=tick, lot=lot, price_max=scaling.amount(4, tick), **fields)
    ordered, held = Desk([contract], quanta=WHOLE), Desk([contract], quanta=WHOLE)
    for desk in (ordered, held):
        desk.enrich(HOLDER, OTHER, THIRD)
        if price:
            desk.mark(price)
    if interest:
        ordered.seed(OTHER, THIRD, "buy", tick, interest)
    if price:  # without a price there is nothing that an order could be worth
        ordered.order(HOLDER, 1, side, price, size)
    held.seed(HOLDER, OTHER, side, tick, size)
    return {
        "initial_margin": ordered.order_margin(HOLDER),
        "maintenance_margin": held.unit_margin(HOLDER)[1],
    }


@adapter(
    "initial_margin_open_interest",
    "initial_margin_ppm oi_lower_cap oi_upper_cap oi_notional",
    "notional_quote_quantums",
)
def scaled_margin(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """What an open order asks for; of one worth a million quanta, that is the rate in ppm."""
    given = case.inputs
    notional, interest = given.get("notional_quote_quantums", 1_000_000), given["oi_notional"]
    lot = scaling.common_lot(notional, interest)
    desk = Desk([Contract((1,), (notional, interest), lot=lot, **by_initial(given))], quanta=WHOLE)
    desk.enrich(HOLDER, OTHER, THIRD)
    desk.mark(1)
    if interest:
        desk.seed(OTHER, THIRD, "buy", 1, interest)
    desk.order(HOLDER, 1, "buy", 1, notional)
    margin = desk.order_margin(HOLDER)
    return {"initial_margin_quote_quantums": margin, "adjusted_initial_margin_ppm": margin}


@adapter("maintenance_margin", "risk_factor position mark_price linear_slippage_factor scaling")
def risk_factor(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """A position seeded at the mark, and its margin levels."""
    given, levels = case.inputs, case.inputs["scaling"]
    factor = scaling.nearest(given["risk_factor"], scaling.BILLIONTH)
    margin = {
        "risk_long_ppb": factor,
        "risk_short_ppb": factor,
        "linear_slippage_ppb": scaling.nearest(given["linear_slippage_factor"], scaling.BILLIONTH),
        **{f"{name}_factor_ppm": scaling.ppm(levels[name]) for name in ("search", "initial", "release")},
    }
    side, size = scaling.side_and_size(given["position"])
    desk = Desk([Contract((given["mark_price"],), (size,), ((0, None, 100),), margin=margin)], quanta=WHOLE)
    desk.enrich(HOLDER, OTHER)
    desk.mark(given["mark_price"])
    desk.seed(HOLDER, OTHER, side, given["mark_price"], size)
    return desk.position_margin(HOLDER)


@adapter("maintenance_margin", "auction buy_orders indicative_price initial_factor risk_factor_long")
def auction_margin(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """What open orders ask for in an auction, at the initial level and with a level that is maintenance itself."""
    given = case.inputs
    sizes, prices = zip(*given["buy_orders"], strict=True)
    factor = scaling.nearest(given["risk_factor_long"], scaling.BILLIONTH)
    asked = []
    for level in (1, given["initial_factor"]):
        margin = {
            "risk_long_ppb": factor,
            "risk_short_ppb": factor,
            "initial": "model",
            "initial_factor_ppm": scaling.ppm(level),
            "order_price": "larger",
        }
        contract = Contract((*prices, given["indicative_price"]), sizes, ((0, None, 100),), margin=margin)
        desk = Desk([contract], quanta=WHOLE, auction={"opening": bool(given["auction"])})
        desk.enrich(HOLDER)
        desk.mark(given["indicative_price"])
        for order_id, (size, price) in enumerate(given["buy_orders"], 1):
            desk.order(HOLDER, order_id, "buy", price, size)
        asked.append(desk.order_margin(HOLDER))
    return dict(zip(("maintenance", "initial"), asked, strict=True))


@adapter("initial_margin", "mark_price order im multiplier")
def order_through_mark(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given, order = case.inputs, case.inputs["order"]
    prices = (given["mark_price"], order["price"])
    contract = Contract(prices, (order["contracts"],), multiplier=Decimal(given["multiplier"]))
    desk = Desk([contract])
    desk.enrich(HOLDER)
    desk.mark(given["mark_price"])
    asked = desk.exchange.order_requirement(
        HOLDER, 0, SIDES[order["side"]], desk.ticks(order["price"]), desk.lots(order["contracts"])
    )
    return {"gross_open_premium": desk.money(asked.open_loss), "order_notional": desk.money(asked.notional)}
