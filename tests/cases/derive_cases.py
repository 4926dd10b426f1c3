"""Derive's published portfolios: cash, holdings, a perpetual and options of several expiries, in every scenario."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import scaling
from case_desk import HOLDER, OTHER, Contract, Desk
from case_files import Case
from portfolio_cases import gains
from registry import Unsupported, adapter

from exchange import codes
from exchange.core.views import unit_health

WAYS = {"Up": {"volatility_ppm": 1_000_000}, "Down": {"volatility_ppm": -1_000_000}, "None": {},
        "LINEAR": {"skew": "linear"}, "ABS": {"skew": "absolute"}}  # fmt: skip
SKEWS = {"linear_cap_ppm": "LINEAR_SCALE_CAP", "linear_cap_slope_ppm": "LINEAR_CBASE",
         "absolute_cap_ppm": "ABS_SCALE_CAP", "absolute_cap_slope_ppm": "ABS_CBASE",
         "width_ppm": "MIN_WIDTH_SCALE", "level_ppm": "VOL_PARAM_STATIC", "level_slope_ppm": "VOL_PARAM_SCALE",
         "flat_least_ppm": "MIN_K_STAR"}  # fmt: skip
DISCOUNTS = {"long_ppm": "BASE_STATIC_DISCOUNT", "long_rate_ppm": "LONG_RATE_MULTSCALE",
             "long_add_ppm": "LONG_RATE_ADDSCALE", "short_ppm": "BASE_STATIC_DISCOUNT_NEG",
             "short_rate_ppm": "SHORT_RATE_MULTSCALE", "short_add_ppm": "SHORT_RATE_ADDSCALE"}  # fmt: skip
VOLATILITIES = {"up_ppm": "VOLRANGEUP", "down_ppm": "VOLRANGEDOWN", "least_ppm": "MIN_VOL_EVAL_SHOCKED",
                "short_power_ppm": "SHORTTERMPOWER", "long_power_ppm": "LONGTERMPOWER"}  # fmt: skip
OPTIONS_MAX = 8
FURTHEST = Decimal("4.5")  # times the forward, and what a ladder has room for beyond
VOLATILITY_PER_PPM, VOLATILITY_STEP = 100, Decimal("1e-8")


@dataclass(frozen=True)
class Kept(Contract):
    """A spot instrument with one haircut, and more of it for initial margin."""

    haircut: Any = 0
    more: Any = 0

    @classmethod
    def of(cls, row: dict[str, Any], price: Decimal) -> "Kept":
        """A collateral asset of a case."""
        haircuts = {"haircut": row["mm_haircut"], "more": row["im_haircut"]}
        size = scaling.in_fine_lots(row["amount"])
        return cls((price,), (size,), tick=scaling.FINE_TICK, **haircuts)

    def table(self, symbol: str) -> dict[str, Any]:
        own = {"kind": "spot", "initial_haircut_ppm": scaling.nearest_ppm(self.more)}
        haircut = {"floor": "0", "haircut_ppm": scaling.nearest_ppm(self.haircut)}
        rest = {name: value for name, value in super().table(symbol).items() if name not in ("tiers", "margin")}
        return {**rest, **own, "haircuts": [haircut]}


@dataclass(frozen=True)
class Written(Contract):
    """An option of a case; `of` is the symbol of its forward."""

    terms: Any = None
    of: str = ""
    rate: Any = 0

    @classmethod
    def on(cls, row: dict[str, Any], of: str, feed: dict[str, Any]) -> "Written":
        """An option on a forward: room for its strike, or for the forward where it goes furthest."""
        highest = max(row["strike"], scaling.product(feed["forward"], FURTHEST))
        tick = scaling.premium_tick(highest)
        size, top = scaling.in_fine_lots(row["amount"]), scaling.up_to_step(highest, tick)
        return cls((highest,), (size,), tick=tick, price_max=top, limit=abs(size), terms=row, of=of, rate=feed["rate"])

    def table(self, symbol: str) -> dict[str, Any]:
        right, strike = self.terms["type"], scaling.text(self.terms["strike"])
        option = {"underlying": self.of, "strike": strike, "right": right, "rate_ppm": scaling.nearest_ppm(self.rate)}
        tier = {"floor": "0", "maintenance_ppm": 0, "leverage_max": 1}
        life = {"expiry_ns": scaling.seconds_ns(self.terms["expiry_s"])}
        return {**super().table(symbol), "kind": "option", "tiers": [tier], "life": life, "option": option}


@adapter(
    "portfolio_margin_scenario",
    "parameter_set cash spot_price spot_confidence perp_position perp_price perp_confidence unrealised_perp_pnl "
    "unrealised_funding stable_price stable_confidence collaterals options feeds",
)
def discounted_grid(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """What a portfolio gains in each scenario, is worth and must hold. What its perpetual earned before is cash; an
    option was opened at a tick, and the cash is what it was after that."""
    if not case.recomputed:
        raise Unsupported("its own file says that the formula does not give it")
    given, terms = case.inputs, case.inputs["parameter_set"]
    if len(given["options"]) > OPTIONS_MAX:
        raise Unsupported("at the fineness that the tolerance asks of so many options, money passes 2**62 quanta")
    refuse_doubts(given, terms["OtherContingency"])
    portfolio = Portfolio(given, terms)
    grid, equity = portfolio.desk.exchange.portfolio_margin(HOLDER), portfolio.desk.equity(HOLDER)
    desk = portfolio.desk
    return {
        "scenario_pnl_in_parameter_order": gains(desk, grid),
        "basis_contingency": scaling.gain(grid.worst["basis"], desk.quantum),
        "portfolio_mtm": equity,
        "maintenance_margin": desk.money(unit_health(desk.exchange.state, HOLDER)),
        "initial_margin": scaling.difference(equity, desk.order_margin(HOLDER)),
    }


def refuse_doubts(given: dict[str, Any], terms: dict[str, Any]) -> None:
    """What the venue asks more of where a price is in doubt is no rule here."""
    perpetual = [given["perp_confidence"]] if given["perp_position"] else []
    feeds = [feed[name] for feed in given["feeds"] for name in feed if name.endswith("confidence")]
    kept = [row["confidence"] for row in given["collaterals"]]
    surest = min([given["spot_confidence"], given["stable_confidence"], *perpetual, *feeds, *kept])
    if surest < terms["CONF_THRESHOLD"]:
        raise Unsupported("oracles state no confidence here, and what is in doubt is not charged more")
    if given["stable_price"] < terms["PEG_LOSS_THRESHOLD"]:
        raise Unsupported("the price of the settlement asset is no input here")


class Portfolio:
    """A desk whose holder is in portfolio mode on the venue's scenarios, and has what the case says; nothing is
    liquidated."""

    def __init__(self, given: dict[str, Any], terms: dict[str, Any]):
        self.given, self.terms = given, terms
        held = scaling.in_fine_lots(given["perp_position"])
        perpetual = [Contract((max(1, given["perp_price"]),), (held,), tick=scaling.FINE_TICK, coarse=True)]
        prices = [scaling.in_units_of(row["price"], given["stable_price"]) for row in given["collaterals"]]
        kept = [Kept.of(row, price) for row, price in zip(given["collaterals"], prices, strict=True)]
        forwards = [Contract((feed["forward"],), (1,), tick=Decimal(1)) for feed in given["feeds"]]
        self.first = {"perpetual": 1, "kept": 2, "forwards": scaling.one_more(scaling.one_more(len(kept)))}
        of = {feed["expiry_s"]: (k, feed) for k, feed in enumerate(given["feeds"], self.first["forwards"])}
        written = [Written.on(row, f"C{of[row['expiry_s']][0]}", of[row["expiry_s"]][1])
                   for row in given["options"]]  # fmt: skip
        opened = [scaling.product(option.sizes[0], option.tick) for option in written]
        self.cash = scaling.total(given["cash"], given["unrealised_perp_pnl"], given["unrealised_funding"], *opened)
        owed = scaling.step_for(abs(self.cash), [option.tick for option in written])
        self.debt = scaling.to_step(scaling.total(1, abs(self.cash)), owed)
        debt = Contract((1, self.debt), (1,), tick=owed)
        self.contracts = [debt, *perpetual, *kept, *forwards, *written]
        self.desk = self.finest()
        self.desk.enrich(OTHER)
        self.desk.open_empty(HOLDER)
        self.desk.send(codes.SET_MARGIN_MODE, account=HOLDER, qty=codes.PORTFOLIO)
        self.fill(prices)

    def finest(self) -> Desk:
        """A desk with the most parts of a quantum that its bounds allow."""
        refused = Unsupported()
        for scale_bits in (10, 4, 0):
            try:
                return Desk(
                    self.contracts,
                    (abs(self.cash),),
                    portfolio_margin={**self.margin(), "scale_bits": scale_bits},
                    liquidation={"detection_delay_ns": scaling.FAR_NS},
                    mark={"source": "recorded", "volatility_per_ppm": VOLATILITY_PER_PPM},
                    capacity={"accounts": 8, "positions": 256, "orders": 64, "external_levels": 1, "outcomes": 8_192},
                )
            except Unsupported as reason:
                refused = reason
        raise refused

    def margin(self) -> dict[str, Any]:
        """The venue's terms in those of the configuration."""
        terms, basis, other = self.terms, self.terms["BasisContingency"], self.terms["OtherContingency"]
        charges = {
            "price": "index",
            "short_option_ppm": scaling.nearest_ppm(other["MM_OPTION_PERCENT"]),
            "short_option_initial_ppm": scaling.nearest_ppm(other["IM_OPTION_PERCENT"]),
            "gross_ppm": scaling.nearest_ppm(other["MM_PERP_PERCENT"]),
            "gross_initial_ppm": scaling.nearest_ppm(other["IM_PERP_PERCENT"]),
        }
        named = {part: {name: scaling.nearest_ppm(terms[section][key]) for name, key in names.items()}
                 for part, section, names in (("skew", "SkewShock", SKEWS), ("discount", "Margin", DISCOUNTS),
                                              ("volatility", "VolShock", VOLATILITIES))}  # fmt: skip
        days = {"floor_days": int(terms["VolShock"]["DTE_FLOOR"]), "least_of": "risen"}
        apart = [k for k, row in enumerate(self.given["collaterals"], self.first["kept"]) if not row["risk_cancelling"]]
        members = [f"C{k}" for k, _ in enumerate(self.contracts) if k not in apart]
        return {
            **named,
            "volatility": {**named["volatility"], **days},
            "scenarios": tuple(scenario(shock) for shock in terms["Scenarios"]),
            "modes": ("rho_one",),
            "groups": ({"name": "all", "members": members, "range_ppm": 1_000_000, "add_ons": charges},),
            "factors": "loss",
            "maintenance_factor_ppm": scaling.ppm(terms["Margin"]["MM_LOSS_FACTOR"]),
            "initial_factor_ppm": scaling.ppm(terms["Margin"]["IM_LOSS_FACTOR"]),
            "basis": {
                "up_ppm": scaling.nearest_ppm(scaling.difference(basis["SCENARIO_SPOT_UP"], 1)),
                "down_ppm": scaling.nearest_ppm(scaling.difference(1, basis["SCENARIO_SPOT_DOWN"])),
                "flat_ppm": scaling.ppm(basis["BASIS_CONT_ADD_FACTOR"]),
                "yearly_ppm": scaling.ppm(basis["BASIS_CONT_MULT_FACTOR"]),
            },
        }

    def fill(self, prices: list[Decimal]) -> None:
        """Prices, then what the holder has; what it owes it has lost on the first contract."""
        desk, given = self.desk, self.given
        self.price(given["perp_price"], self.first["perpetual"])
        for k, price in enumerate(prices, self.first["kept"]):
            desk.send(codes.INDEX, instrument=k, price=scaling.nearest(price, scaling.sub_tick(desk.contracts[k])))
            size = self.contracts[k].sizes[0]
            desk.send(codes.DEPOSIT_ASSET, account=HOLDER, instrument=k, qty=desk.lots(size, k))
        for k, feed in enumerate(given["feeds"], self.first["forwards"]):
            self.price(feed["forward"], k)
        self.fill_cash()
        for k, contract in enumerate(self.contracts):
            if isinstance(contract, Written):
                ppm = scaling.nearest(contract.terms["mark_vol"], VOLATILITY_STEP)
                self.open(contract.sizes[0], contract.tick, k)
                desk.send(codes.VOLATILITY, instrument=k, price=ppm)
        if given["perp_position"]:
            price = scaling.to_step(given["perp_price"], scaling.FINE_TICK)
            self.open(self.contracts[self.first["perpetual"]].sizes[0], price, self.first["perpetual"])

    def price(self, mark: Any, instrument: int) -> None:
        """The spot price as the index, and then a mark."""
        if mark:
            step = scaling.sub_tick(self.desk.contracts[instrument])
            index = scaling.nearest(self.given["spot_price"], step)
            self.desk.send(codes.INDEX, instrument=instrument, price=index)
            self.desk.mark(mark, instrument)

    def open(self, size: Decimal, price: Any, instrument: int) -> None:
        side, lots = scaling.side_and_size(size)
        self.desk.seed(HOLDER, OTHER, side, price, lots, instrument)

    def fill_cash(self) -> None:
        if self.cash >= 0:
            self.desk.deposit(HOLDER, self.cash)
            return
        self.desk.mark(1)
        self.desk.seed(HOLDER, OTHER, "long", self.debt, 1)
        self.desk.seed(HOLDER, OTHER, "short", 1, 1)


def scenario(shock: dict[str, Any]) -> dict[str, Any]:
    """A move of the spot price and of volatilities, and what of it counts."""
    cover, beyond = scaling.millionths_and_beyond(shock["DampeningFactor"])
    move = scaling.nearest_ppm(scaling.difference(Decimal(shock["SpotShock"]), 1))
    return {"price_ppm": move, "cover_ppm": cover, "cover_beyond_ppb": beyond, **WAYS[shock["VolShockDirection"]]}
