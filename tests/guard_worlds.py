"""Random worlds for guards: every margin model and correlation mode with options, holdings and marks of every kind.

After each change the units that a world holds to be breached, or in a stage, are compared with a recomputation of all
of them from the rules, in fractions. What it takes from the venue are marks, lots, money, and of an option what its
last refresh made: the requirement of a short lot and its risk array.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from exchange import codes, config, schema
from exchange.venue import Exchange
from tests.campaign_grid import draw_basis, draw_expiries, draw_grid, draw_holdings
from tests.desk import FIRST, UNIT, venue_table
from tests.guard_changes import HOUR_NS, INTERVAL_NS, PER_TICK, START, TOP, Changes
from tests.margin_models import MODELS, TIERS
from tests.test_margin_guards import FEES, SMALL, Rule
from tests.test_portfolio_guards import Rule as GridRule

ACCOUNTS, BANK, RICH = range(FIRST, FIRST + 8), FIRST + 40, 2**28
NEVER_NS = 10**17  # worlds live for months
CORRELATIONS = ("sum", "one_factor", "rho_one", "flipped")
SEVERAL = "several models"
FAMILIES = (*MODELS, SEVERAL, *(f"grid {mode}" for mode in CORRELATIONS), "grid of all")
HAIRCUTS = ({"floor": "0", "haircut_ppm": 50_000}, {"floor": "2000", "haircut_ppm": 300_000},
            {"floor": "6000", "haircut_ppm": 1_000_000})
READ_THE_BOOK = ("impact_mid", "mid", "median_book")
WIDE = {"position_max": "100000", "open_interest_max": "1000000", "order_max": "20000"}
REACHED: Counter[tuple[Any, ...]] = Counter()  # (drawn, breached or crossed; kind of change; family and staged)


def table_of(rng: np.random.Generator, family: str) -> dict[str, Any]:
    """Contracts of a family, one to pay losses with, and now and then an option, a holding, marks made of the book."""
    def pick(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    portfolio, count = family.startswith("grid"), pick(1, 2, 3)
    table = venue_table(count, {"price_max": str(TOP), "mark_per_tick": PER_TICK, "fees": FEES, **WIDE},
                        liquidation={"detection_delay_ns": NEVER_NS}, funding={"interval_ns": INTERVAL_NS})
    contracts = table["instruments"]
    for instrument in contracts:
        model = pick(*MODELS) if family == SEVERAL else "plain" if portfolio else family
        instrument |= MODELS[model]
        instrument |= SMALL if rng.random() < 0.3 else {}
    options = [option_on(rng, contracts[0], k) for k in range(pick(0, 1, 2))]
    kept = {name: value for name, value in contracts[0].items() if name not in ("tiers", "margin", "multiplier")}
    holdings = [{**kept, "symbol": f"S{k}", "kind": "spot", "haircuts": list(HAIRCUTS[:pick(1, 2, 3)])}
                for k in range(pick(0, 1))]
    till = {**contracts[0], "kind": "linear", "multiplier": "1", "symbol": "TILL", "tiers": TIERS, "margin": {}}
    table["mark"] = {"source": "recorded", "period_ns": 0, "option_period_ns": 6 * HOUR_NS}
    if rng.random() < 0.4:
        components = [{"price": "funding_basis", "weight_ppm": 600_000},
                      {"price": pick(*READ_THE_BOOK), "weight_ppm": 400_000}]
        table["mark"] |= {"source": "computed", "components": components, "missing": "drop",
                          "combiner": pick("mean", "weighted"), "impact_notional": pick("500", "20000")}
    while portfolio and not table.get("portfolio_margin", {}).get("groups"):
        table["portfolio_margin"] = draw_grid(rng, {"instruments": contracts + options + holdings})
        if family != "grid of all":
            table["portfolio_margin"]["modes"] = [family.removeprefix("grid ")]
    if portfolio:
        draw_holdings(rng, {"instruments": holdings}, draw_basis(rng, table["portfolio_margin"]))
        draw_expiries(rng, {**table, "instruments": options}, table["portfolio_margin"])
    return {**table, "instruments": contracts + options + holdings + [till]}


def option_on(rng: np.random.Generator, contract: dict[str, Any], k: int) -> dict[str, Any]:
    """An option that ends in weeks, at a time of its own."""
    life = {"expiry_ns": int(rng.integers(2, 40)) * 24 * HOUR_NS + 1 + k}
    option = {"underlying": contract["symbol"], "strike": str(int(rng.integers(6, 15)) * 10),
              "right": str(rng.choice(["call", "put"]))}
    return {"symbol": f"O{k}", "kind": "option", "settle": contract["settle"], "tick": "1", "lot": "1", **WIDE,
            "price_max": str(TOP), "mark_per_tick": 10, "life": life, "option": option,
            "tiers": [{"floor": "0", "maintenance_ppm": 0, "leverage_max": 10}]}


def stages_of(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Some thresholds with exits, strictly falling; all but the last warn, and that one waits for ever."""
    below = sorted({int(ppm) for ppm in rng.integers(500_000, 3_000_000, 3)}, reverse=True)
    stages, top = [], 10_000_000
    for ppm in below:
        top = max(ppm, min(top, ppm + int(rng.integers(0, 400_000)) * int(rng.integers(0, 2))))
        stages.append({"below_ppm": ppm, "exit_ppm": top, "action": "warn"})
    stages[-1] |= {"action": "close", "dwell_ns": NEVER_NS}
    return stages


class Holding(Rule):
    """A spot instrument: what its haircuts do not count."""

    def __init__(self, instrument: config.Instrument):
        super().__init__(instrument)
        self.haircuts = [(int(row.floor) * UNIT, row.haircut_ppm, 0) for row in instrument.haircuts]

    def tiers(self):
        return self.haircuts


class OptionRule:
    """An option at its mark: a long is no collateral, a short holds what the last refresh said."""

    def __init__(self, exchange: Exchange, k: int):
        self.prices, self.k = exchange.state.prices, k
        self.unit = int(self.prices.instruments[k]["mark_unit"])

    def value(self, mark, lots):
        return mark * self.unit * lots

    def maintenance(self, at_mark, lots, entry, pocket):
        return at_mark if lots > 0 else int(self.prices.options[self.k]["maintenance_sub"]) * self.unit * -lots


def rule_of(exchange: Exchange, k: int) -> Any:
    instrument = exchange.venue.instruments[k]
    if instrument.kind == "option":
        return OptionRule(exchange, k)
    return Holding(instrument) if instrument.kind == "spot" else Rule(instrument)


class WorldGrid(GridRule):
    """The grid's rule, with the risk arrays that options have since their last refresh."""

    def __init__(self, exchange: Exchange):
        super().__init__(exchange.venue)
        self.prices, self.kept = exchange.state.prices, dict[Any, int]()
        self.terms_of = {k: (instrument.option.underlying, instrument.life.expiry_ns)
                         for k, instrument in enumerate(exchange.venue.instruments) if instrument.option is not None}
        self.options = [instrument.kind == "option" for instrument in exchange.venue.instruments]

    def gain(self, k, mark, lots, scenario, way):
        s, count = self.scenarios.index(scenario), len(self.scenarios)
        if self.options[k]:
            variant = {1: codes.SHOCK_OWN, 2: codes.SHOCK_BETA, -2: codes.SHOCK_CONTRA}[way]
            base = mark if self.prices.grids[0]["nets_base"] else 0  # of a short value or of a long one
            return lots * int(self.prices.risks[base + (k * codes.SHOCKS + variant) * count + s])
        if (k, mark, s, way) not in self.kept:
            self.kept[k, mark, s, way] = super().gain(k, mark, 1, scenario, way)
        return lots * self.kept[k, mark, s, way]


    def sum(self, legs, marks, scenario, way, only=None, turned=None):
        """Options by expiry where the venue takes them together: a long value counts for less, a skew for a loss."""
        if not self.prices.grids[0]["nets_base"]:
            return super().sum(legs, marks, scenario, way, only, turned)
        plain = {k: lots for k, lots in legs.items() if not self.options[k]}
        total, longs = super().sum(plain, marks, scenario, way, only, turned), int(self.prices.grids[0]["long_base"])
        mine = {k for k in legs if self.options[k] and only in (None, self.groups[k].name)}
        for place in {self.terms_of[k] for k in mine}:
            values = []
            for base in (0, longs):
                ways = [(k, -way if self.groups[k].name == turned else way) for k in mine if self.terms_of[k] == place]
                values.append(sum(self.gain(k, base, legs[k], scenario, each) for k, each in ways))
            total += -abs(min(values)) if scenario.skew else min(values)
        return total

    def apart(self, legs):
        """The worse of both moves of each expiry."""
        sums = Counter()
        for k, lots in legs.items():
            for name in ("up_gain", "down_gain") if self.terms.basis.any() and k in self.terms_of else ():
                sums[self.terms_of[k], name] += lots * int(self.prices.members[k][name])
        places = {place for place, _ in sums}
        return sum(max(0, *(-sums[place, name] for name in ("up_gain", "down_gain"))) for place in places)


class World:
    """A venue of a family, its users near their requirements, and what they must hold by the rules."""

    def __init__(self, seed: int, family: str, staged: bool):
        self.rng = np.random.Generator(np.random.Philox(key=[seed, 500 + FAMILIES.index(family)]))
        table = table_of(self.rng, family)
        self.label = family, staged
        self.stages = stages_of(self.rng) if staged else []
        if staged:
            table["liquidation"] = {"stages": self.stages}
        self.exchange = Exchange(config.build_venue(table))
        self.rules = [rule_of(self.exchange, k) for k in range(len(self.exchange.markets))]
        self.grid = WorldGrid(self.exchange) if table.get("portfolio_margin") else None
        self.changes = Changes(self.rng, self.exchange, self.rules, ACCOUNTS)
        self.till = len(self.rules) - 1
        self.inside, self.breached = set[Any](), set[Any]()
        self.open()
        self.check("seeding")

    def send(self, rows: list[dict[str, int]]) -> None:
        """Apply rows, and the timer that is due by now."""
        if rows:
            self.exchange.submit(schema.events(*({"ts_ns": self.changes.now_ns, **row} for row in rows)))
        self.exchange.run(self.changes.now_ns + 1)
        self.exchange.outcomes()

    def open(self) -> None:
        """Marks of everything, and accounts with positions; each ends with little more than it must hold."""
        changes, rows = self.changes, list[dict[str, int]]()
        for k in changes.contracts + changes.spots:
            if changes.computed and k in changes.contracts:
                rows += [{"kind": codes.FUNDING_RATE, "instrument": k, "price": 10**7,
                          "qty": changes.now_ns + INTERVAL_NS}, *changes.book(k, START)]
            rows.append(changes.priced(k, START * PER_TICK))
        rows += [{"kind": codes.VOLATILITY, "instrument": k, "price": 700_000} for k in changes.options]
        self.send([*rows, *[{"kind": codes.DEPOSIT, "account": BANK, "qty": 2**40}] * 4])
        for account in ACCOUNTS:
            self.hold(account)

    def hold(self, account: int) -> None:
        """Positions at the marks in every kind of instrument, some isolated, some wallets in portfolio mode."""
        rng, changes = self.rng, self.changes
        sizes = {k: (1, 30, 180, 500) for k in changes.contracts if k != self.till}
        sizes |= {k: (1, 15, 60) for k in changes.options}
        legs = {k: int(rng.choice([-1, 1])) * int(rng.choice(lots)) for k, lots in sizes.items() if rng.random() < 0.7}
        if len(legs) > 1 and rng.random() < 0.5:  # near a hedge
            first, second = list(legs)[:2]
            legs[second] = -legs[first] + int(rng.integers(-2, 3)) or 1
        rows = [{"kind": codes.DEPOSIT, "account": account, "qty": RICH}]
        rows += [{"kind": codes.DEPOSIT_ASSET, "account": account, "instrument": k, "qty": int(rng.integers(1, 120))}
                 for k in changes.spots if rng.random() < 0.7]
        if rng.random() < 0.85:
            rows.append({"kind": codes.SET_MARGIN_MODE, "account": account, "qty": codes.PORTFOLIO, "instrument": 0})
        for k, lots in legs.items():
            here = {"account": account, "instrument": k}
            if k in changes.contracts and rng.random() < 0.25:
                rows += [{"kind": codes.SET_MARGIN_MODE, **here, "qty": codes.ISOLATED},
                         {"kind": codes.SET_LEVERAGE, **here, "qty": self.changes.one_of([100, 500, 1_000])}]
            rows.append(self.trade(account, k, lots, START))
        self.send(rows)
        self.lose(account, self.health(*self.wallet_of(account)) - int(np.exp(rng.uniform(0, 13))))

    def lose(self, account: int, money: int) -> None:
        """Bring an account's equity down by an amount, past what it could withdraw: it buys dear and sells cheap."""
        steps, rest = divmod(money, UNIT * (TOP - 1))
        rows = [{"kind": codes.WITHDRAW, "account": account, "qty": rest % UNIT}] if rest % UNIT else []
        for lots, ticks in ((steps, TOP), (1, 1 + rest // UNIT)):
            if lots > 0 and ticks > 1:
                rows += [self.trade(account, self.till, lots, ticks), self.trade(account, self.till, -lots, 1)]
        self.send(rows)

    def trade(self, account: int, k: int, lots: int, ticks: int) -> dict[str, int]:
        sides = {"account": account, "order_id": BANK} if lots > 0 else {"account": BANK, "order_id": account}
        return {"kind": codes.OPEN_POSITION, "instrument": k, "price": ticks, "qty": abs(lots), **sides}

    def units(self) -> Iterator[tuple[Any, Any, int, list[Any], bool]]:
        """(name, its record with the stage, pocket, its positions, in portfolio mode) of every unit of the users."""
        positions = self.exchange.state.ledger.positions
        for account in ACCOUNTS:
            wallet, cross = self.exchange.wallet(account), []
            p = int(wallet["first_position"])
            while p:
                if positions[p]["mode"] == codes.ISOLATED:
                    yield -p, positions[p], int(positions[p]["isolated_margin"]), [positions[p]], False
                elif positions[p]["lots"]:
                    cross.append(positions[p])
                p = int(positions[p]["next"])
            yield account, wallet, int(wallet["cash"]), cross, bool(wallet["portfolio"])

    def wallet_of(self, account: int) -> tuple[int, list[Any], bool]:
        return next(tuple(rest) for name, _, *rest in self.units() if name == account)

    def health(self, *unit: Any) -> int:
        equity, required = self.numbers(*unit)
        return equity - required

    def numbers(self, pocket: int, legs: list[Any], portfolio: bool) -> tuple[int, int]:
        """Equity and maintenance by the rules."""
        equity, required, held = pocket, 0, dict[int, int]()
        marks = [int(market["mark_sub"]) for market in self.exchange.markets]
        for leg in legs:
            k, lots, entry = int(leg["instrument"]), int(leg["lots"]), int(leg["entry_value"])
            value = self.rules[k].value(marks[k], lots)
            equity += value - entry
            if portfolio and k in self.grid.groups:
                held[k] = lots
            if lots and (k not in held or k in self.changes.spots):
                required += self.rules[k].maintenance(abs(value), lots, entry, pocket)
        return equity, required + (self.grid.maintenance(held, marks) if held else 0)

    def open_interest(self) -> list[int]:
        return [int(market["open_interest_lots"]) for market in self.exchange.markets]

    def check(self, kind: str) -> None:
        """Each unit is in liquidation, or in the stages, that its numbers say, as they are and were."""
        for name, record, *unit in self.units():
            where = f"after {kind}: unit {name}"
            equity, required = self.numbers(*unit)
            REACHED["several legs",] += len(unit[1]) > 1
            if self.stages:
                self.check_stages(kind, name, where, equity, required)
                continue
            if equity < required and name not in self.breached:
                REACHED["breached", kind, self.label] += 1
                self.breached.add(name)
            stopped = record["stage"] != codes.STAGE_NONE
            assert stopped == (name in self.breached), f"{where}: equity {equity}, requirement {required}"

    def check_stages(self, kind: str, name: int, where: str, equity: int, required: int) -> None:
        ledger = self.exchange.state.ledger
        slot = len(ledger.wallets) - name if name < 0 else name
        for k, stage in enumerate(self.stages):
            was = (name, k) in self.inside
            now = equity * 10**6 < required * stage["exit_ppm" if was else "below_ppm"]
            REACHED["crossed", kind, self.label] += now != was
            (self.inside.add if now else self.inside.discard)((name, k))
            seen = bool(ledger.standings[slot * len(self.stages) + k]["inside"])
            assert seen == now, f"{where}, stage {k + 1}: equity {equity}, requirement {required}"


def walk(seed: int, family: str, staged: bool, steps: int) -> None:
    """One world, looked at after every change."""
    world = World(seed, family, staged)
    for _ in range(steps):
        before = world.open_interest()
        kind, rows = world.changes.draw()
        world.send(rows)
        REACHED["drawn", kind, world.label] += 1
        REACHED["open interest",] += world.open_interest() != before
        world.check(kind)
    world.exchange.audit()
