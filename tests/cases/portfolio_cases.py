"""Portfolio margin: add-ons, risk arrays and volatility moves of venues that publish an example of them."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import probes
import scaling
from case_desk import HOLDER, OTHER, Contract, Desk
from case_files import Case
from registry import Unsupported, adapter

from exchange import codes
from exchange.core.views import unit_health
from exchange.portfolio import StressGrid

STILL = {"scenarios": ({"price_ppm": 1}, {"price_ppm": -1})}  # what is held is next to nothing but the add-ons
ROUND = Decimal(1_000_000)  # a price of which a move in ppm is one in money


@dataclass(frozen=True)
class Written(Contract):
    """An option on the first contract, paid in coin."""

    right: str = "call"

    def table(self, symbol: str) -> dict[str, Any]:
        option = {"underlying": "C0", "strike": "1", "right": self.right, "premium": "base"}
        tier = {"floor": "0", "maintenance_ppm": 0, "leverage_max": 1}
        life = {"expiry_ns": scaling.FAR_NS}
        return {**super().table(symbol), "kind": "option", "tiers": [tier], "life": life, "option": option}


@dataclass(frozen=True)
class Kept(Contract):
    """A spot instrument with one haircut, and more of it for initial margin."""

    haircut: Any = 0
    more: Any = 0

    @classmethod
    def of(cls, row: dict[str, Any], price: Decimal) -> "Kept":
        """A collateral asset of a case."""
        haircuts = {"haircut": row["mm_haircut"], "more": row["im_haircut"]}
        return cls((price,), (row["amount"],), tick=scaling.FINE_TICK, **haircuts)

    def table(self, symbol: str) -> dict[str, Any]:
        own = {"kind": "spot", "initial_haircut_ppm": scaling.nearest_ppm(self.more)}
        haircut = {"floor": "0", "haircut_ppm": scaling.nearest_ppm(self.haircut)}
        rest = {name: value for name, value in super().table(symbol).items() if name not in ("tiers", "margin")}
        return {**rest, **own, "haircuts": [haircut]}


def held(
    contracts: list[Contract], sizes: tuple[Any, ...], terms: dict[str, Any], **group: Any
) -> tuple[Desk, StressGrid]:
    """A desk, and the grid of an account with a size of each contract, all of one group, at their first prices."""
    members = tuple(f"C{k}" for k, _ in enumerate(contracts))
    groups = ({"name": "all", "members": members, "range_ppm": 1_000_000, **group},)
    desk = Desk(contracts, portfolio_margin={**terms, "groups": groups})
    desk.enrich(HOLDER, OTHER)
    for k, (contract, size) in enumerate(zip(contracts, sizes, strict=True)):
        desk.mark(contract.prices[0], k)
        side, lots = scaling.side_and_size(size)
        if lots:
            desk.seed(HOLDER, OTHER, side, contract.prices[0], lots, k)
    return desk, desk.exchange.portfolio_margin(HOLDER)


def add_on(desk: Desk, grid: StressGrid, name: str) -> Decimal:
    return desk.money(grid.add_ons["all", name])


def gains(desk: Desk, grid: StressGrid) -> list[Decimal]:
    """What the account gains in each scenario."""
    return [scaling.gain(row["loss"], desk.quantum) for row in grid.rows]


@adapter("portfolio_margin_addon", "strike_position per_option_btc")
def short_options(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Calls and puts of one strike; charged a whole coin for each that is short, and what the venue charges."""
    position, found = case.inputs["strike_position"], []
    sizes = (0, position["call"], position["put"])
    for rate in (1, case.inputs["per_option_btc"]):
        options = [Written((1,), (size,), right=right) for right, size in position.items()]
        add_ons = {"short_option_ppm": scaling.ppm(rate)}
        desk, grid = held([Contract((1,), (1,)), *options], sizes, STILL, add_ons=add_ons)
        found.append(add_on(desk, grid, "short options"))
    return dict(zip(("net_short", "addon_btc"), found, strict=True))


@adapter("portfolio_margin_addon", "long_btc short_btc rate")
def offsetting_futures(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    contracts = [Contract((1,), (given[name],)) for name in ("long_btc", "short_btc")]
    sizes = (given["long_btc"], scaling.amount(-1, given["short_btc"]))
    desk, grid = held(contracts, sizes, STILL, add_ons={"offset_ppm": scaling.ppm(given["rate"])})
    return {"addon_btc": add_on(desk, grid, "offset")}


@adapter("portfolio_margin_addon", "factor index position")
def future_contingency(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    given = case.inputs
    contract = Contract((given["index"],), (given["position"],))
    desk, grid = held([contract], (given["position"],), STILL, add_ons={"gross_ppm": scaling.ppm(given["factor"])})
    return {"contingency": add_on(desk, grid, "gross")}


@adapter("portfolio_margin_scenario", "days_to_expiry base_days power vol_range")
def volatility_change(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """How far the grid moves a volatility of one."""
    given = case.inputs
    volatility = {
        "up_ppm": scaling.ppm(given["vol_range"]),
        "base_days": int(given["base_days"]),
        "short_power_ppm": scaling.ppm(given["power"]),
    }
    desk, _ = held([Contract((1,), (1,))], (0,), {**STILL, "volatility": volatility})
    left_ns, moved = scaling.days_ns(given["days_to_expiry"]), np.zeros(1, np.int64)
    probes.volatility_moved(desk.exchange.state.prices, left_ns, moved)
    return {"iv_change": scaling.fraction_above(scaling.amount(moved[0], scaling.MILLIONTH), 1)}


@adapter("portfolio_margin_scenario", "price_scan_range_usd extreme_move_loss_usd scenarios")
def futures_array(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """A long future at ten times the scan range, so that the range is a tenth of the price."""
    contract = Contract((scaling.tenfold(case.inputs["price_scan_range_usd"]),), (1,))
    desk, grid = held([contract], (1,), {"preset": "span16"}, range_ppm=100_000)
    return {"risk_array": gains(desk, grid), "scanning_risk": desk.money(grid.loss)}


@adapter("portfolio_margin_scenario", "future_array short_call_array")
def covered_write(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """The arrays as moves of two contracts: the second's differ from the first's, its basis, scenario by scenario."""
    future, call = case.inputs["future_array"], case.inputs["short_call_array"]
    scenarios = tuple(
        {"price_ppm": int(first), "basis_ppm": scaling.difference(scaling.opposite(second, 1), int(first))}
        for first, second in zip(future, call, strict=True)
    )
    contracts = [Contract((ROUND,), (1,)), Contract((ROUND,), (1,))]
    desk, grid = held(contracts, (1, -1), {"scenarios": scenarios}, basis_ppm={"C1": 1_000_000})
    return {"portfolio_array": gains(desk, grid), "scanning_risk": desk.money(grid.loss)}


@adapter("portfolio_margin_scenario", "index annual_basis days")
def forward_of_basis(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    raise Unsupported("a future's mark has the basis that is measured or recorded, not a stated one a year")


@adapter(
    "portfolio_margin_scenario",
    "parameter_set cash spot_price spot_confidence perp_position perp_price perp_confidence unrealised_perp_pnl "
    "unrealised_funding stable_price stable_confidence collaterals options feeds",
)
def discounted_grid(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """Cash and holdings, of which those that cancel risk take part in the scenarios. `test_scenarios` compares what a
    perpetual gains in each, which is the part that both have."""
    given, terms = case.inputs, case.inputs["parameter_set"]
    if given["options"]:
        raise Unsupported("what options gain in a scenario is discounted by rates, as they are not in the grid")
    if given["perp_position"]:
        raise Unsupported("a perpetual is charged on its index, not on its mark")
    rows = given["collaterals"]
    prices = [scaling.in_units_of(row["price"], given["stable_price"]) for row in rows]
    desk = collateral(given, terms, [Kept.of(row, price) for row, price in zip(rows, prices, strict=True)])
    for k, (row, price) in enumerate(zip(rows, prices, strict=True), 1):
        sub_tick = scaling.sub_tick(desk.contracts[k])
        desk.send(codes.INDEX, instrument=k, price=scaling.nearest(price, sub_tick))
        desk.send(codes.DEPOSIT_ASSET, account=HOLDER, instrument=k, qty=desk.lots(row["amount"], k))
    fill(desk, given["cash"])
    grid, equity = desk.exchange.portfolio_margin(HOLDER), desk.equity(HOLDER)
    return {
        "scenario_pnl_in_parameter_order": gains(desk, grid),
        "basis_contingency": scaling.gain(grid.worst["basis"], desk.quantum),
        "portfolio_mtm": equity,
        "maintenance_margin": desk.money(unit_health(desk.exchange.state, HOLDER)),
        "initial_margin": scaling.difference(equity, desk.order_margin(HOLDER)),
    }


def collateral(given: dict[str, Any], terms: dict[str, Any], kept: list[Kept]) -> Desk:
    """A desk whose holder is in portfolio mode, on the venue's scenarios; nothing is liquidated."""
    basis, margin = terms["BasisContingency"], terms["Margin"]
    cancelling = [f"C{k}" for k, row in enumerate(given["collaterals"], 1) if row["risk_cancelling"]]
    portfolio = {
        "scenarios": tuple(scenario(shock) for shock in terms["Scenarios"]),
        "modes": ("rho_one",),
        "groups": ({"name": "all", "members": ("C0", *cancelling), "range_ppm": 1_000_000},),
        "maintenance_factor_ppm": scaling.ppm(margin["MM_LOSS_FACTOR"]),
        "initial_factor_ppm": scaling.ppm(margin["IM_LOSS_FACTOR"]),
        "basis": {
            "up_ppm": scaling.nearest_ppm(scaling.difference(basis["SCENARIO_SPOT_UP"], 1)),
            "down_ppm": scaling.nearest_ppm(scaling.difference(1, basis["SCENARIO_SPOT_DOWN"])),
            "flat_ppm": scaling.ppm(basis["BASIS_CONT_ADD_FACTOR"]),
            "yearly_ppm": scaling.ppm(basis["BASIS_CONT_MULT_FACTOR"]),
        },
    }
    debt = Contract((1, scaling.one_more(abs(given["cash"]))), (1,))
    waits = {"detection_delay_ns": scaling.FAR_NS}
    desk = Desk([debt, *kept], (abs(given["cash"]),), portfolio_margin=portfolio, liquidation=waits)
    desk.enrich(OTHER)
    desk.open_empty(HOLDER)
    desk.send(codes.SET_MARGIN_MODE, account=HOLDER, qty=codes.PORTFOLIO)
    return desk


def fill(desk: Desk, cash: Decimal) -> None:
    """Give the holder its cash; what it owes it has lost on the first contract."""
    if cash >= 0:
        desk.deposit(HOLDER, cash)
        return
    desk.mark(1)
    desk.seed(HOLDER, OTHER, "long", scaling.one_more(abs(cash)), 1)
    desk.seed(HOLDER, OTHER, "short", 1, 1)


def scenario(shock: dict[str, Any]) -> dict[str, Any]:
    """A move of the spot price, and what of it counts."""
    cover, beyond = scaling.millionths_and_beyond(shock["DampeningFactor"])
    move = scaling.nearest_ppm(scaling.difference(Decimal(shock["SpotShock"]), 1))
    return {"price_ppm": move, "cover_ppm": cover, "cover_beyond_ppb": beyond}
