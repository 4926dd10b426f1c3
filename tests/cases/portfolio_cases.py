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
