"""Campaign switches of portfolio margin, absent in half of the seeds; drawn apart: other streams stay as they are."""

from typing import Any

import numpy as np

from exchange import codes, config, schema

PURPOSE = 54
ADD_ONS = {"short_option_ppm": (0, 10_000, 70_000), "offset_ppm": (0, 20_000, 150_000), "gross_ppm": (0, 6_000, 33_333),
           "least_ppm": (0, 5_000, 300_000), "depth_ppm": (0, 50_000, 300_000),
           "short_option_initial_ppm": (0, 2_000, 50_000), "gross_initial_ppm": (0, 5_000, 40_000),
           "depth_share_ppm": (1_000, 250_000, 1_000_000), "depth_band_ppm": (1_000, 10_000, 200_000)}


def generator(seed: int, part: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, PURPOSE + (part << 32)]))


def draw_grid(rng: np.random.Generator, table: dict[str, Any]) -> dict[str, Any]:
    """Groups of the table's contracts, scenarios and modes."""
    def pick(*choices: Any) -> Any:
        return choices[int(rng.integers(len(choices)))]

    groups, named = dict[str, dict[str, Any]](), dict[str, str]()
    for instrument in table["instruments"]:
        if instrument.get("kind") == "spot" or rng.random() < 0.1:
            continue
        name = pick("A", "A", "B")
        if instrument.get("kind") == "option":
            name = named.get(instrument["option"]["underlying"], "")
            if not name:
                continue
        named[instrument["symbol"]] = name
        group = groups.setdefault(name, {"name": name, "members": [], "basis_ppm": {},
                                         "range_ppm": pick(30_000, 160_000, 250_000),
                                         "beta_ppm": pick(1_000_000, 700_000, -400_000, 1_300_000)})
        group["members"].append(instrument["symbol"])
        if instrument.get("kind") != "option" and rng.random() < 0.3:
            group["basis_ppm"][instrument["symbol"]] = pick(-20_000, 5_000, 20_000)
    scenarios = [{"price_ppm": int(x), "cover_ppm": int(pick(1_000_000, 350_000, 777_777)),
                  "volatility_ppm": int(pick(-1_000_000, 0, 500_000)), "basis_ppm": int(pick(0, 1_000_000, -300_000))}
                 for x in (pick(-1_000_000, -600_000), pick(1_000_000, 1_200_000), *rng.integers(-2**20, 2**20, 3))]
    modes = [name for name in ("sum", "one_factor", "rho_one", "flipped") if rng.random() < 0.5] or ["flipped"]
    volatility = {"up_ppm": pick(0, 500_000, 1_500_000), "down_ppm": pick(0, 275_000, 1_000_000),
                  "least_ppm": pick(0, 450_000), "base_days": pick(1, 30), "short_power_ppm": pick(300_000, 500_000)}
    maintained = pick(800_000, 1_000_000)
    return {"preset": pick("", "", "span16", "deribit", "okx"), "scenarios": scenarios, "modes": modes,
            "volatility": volatility, "groups": list(groups.values()), "factor_range_ppm": pick(40_000, 150_000),
            "scale_bits": pick(0, 4, 10),
            "maintenance_factor_ppm": maintained, "initial_factor_ppm": maintained + pick(0, 200_000)}


def draw_holdings(rng: np.random.Generator, table: dict[str, Any], grid: dict[str, Any]) -> dict[str, Any]:
    """The grid with spot instruments of the table in its groups, each in half of the cases."""
    for instrument in table["instruments"]:
        if instrument.get("kind") == "spot" and grid["groups"] and rng.random() < 0.5:
            grid["groups"][int(rng.integers(len(grid["groups"])))]["members"].append(instrument["symbol"])
    return grid


def draw_basis(rng: np.random.Generator, grid: dict[str, Any]) -> dict[str, Any]:
    """The grid with a basis contingency and with finer covers, in half of the cases."""
    if rng.random() < 0.5:
        for scenario in grid["scenarios"]:
            scenario["cover_beyond_ppb"] = 0 if scenario["cover_ppm"] == 1_000_000 else int(rng.integers(1_000))
        grid["basis"] = {"up_ppm": int(rng.choice([1, 45_000, 1_500_000])),
                         "down_ppm": int(rng.choice([0, 45_000, 900_000])),
                         "flat_ppm": int(rng.choice([1, 500_000, 7_000_000])),
                         "yearly_ppm": int(rng.choice([0, 2_000_000, 8_000_000]))}
    return grid


def draw_expiries(rng: np.random.Generator, table: dict[str, Any], grid: dict[str, Any]) -> dict[str, Any]:
    """The grid with options of an expiry taken together, skews and covers above one, in half of the cases; rates of
    options, and finer volatilities."""
    options = [instrument for instrument in table["instruments"] if instrument.get("kind") == "option"]
    if options and rng.random() < 0.5:
        grid["volatility"]["least_of"] = str(rng.choice(["moved", "risen"]))
        table["mark"]["volatility_per_ppm"] = int(rng.choice([1, 100]))
        for instrument in options:
            instrument["option"]["rate_ppm"] = int(rng.choice([0, 150_000, 10_000_000]))
        grid["discount"] = {"long_ppm": int(rng.choice([1_000_000, 950_000])),
                            "long_rate_ppm": int(rng.choice([0, 1_000_000])),
                            "long_add_ppm": int(rng.choice([0, 80_000, 10_000_000])),
                            "short_ppm": int(rng.choice([1_000_000, 1_000_002, 1_040_000])),
                            "short_rate_ppm": int(rng.choice([0, 500_000, 1_500_000])),
                            "short_add_ppm": int(rng.choice([0, 80_000, 3_000_000]))}
        grid["skew"] = {f"{kind}_{name}": int(rng.choice(rates)) for kind in ("linear", "absolute") for name, rates in
                        (("cap_ppm", (0, 150_000, 3_000_000)), ("cap_slope_ppm", (-50_000, 0, 20_000_000)))}
        grid["skew"] |= {"width_ppm": int(rng.choice([100_000, 4_000_000])),
                         "flat_least_ppm": int(rng.choice([1, 1_000_000])),
                         "level_slope_ppm": int(rng.choice([-100_000, 0, 20_000_000]))}
        for scenario in grid["scenarios"]:
            scenario["cover_ppm"] *= int(rng.choice([1, 1, 3]))
            if rng.random() < 0.4:
                scenario |= {"volatility_ppm": 0, "skew": str(rng.choice(["linear", "absolute"]))}
    return grid


def draw_add_ons(rng: np.random.Generator, grid: dict[str, Any]) -> dict[str, Any]:
    """The grid with charges of its groups, in half of the cases; each rate is 0 for some groups."""
    if rng.random() < 0.5:
        grid["factors"] = str(rng.choice(["all", "loss"]))
        grid["depth_period_ns"] = int(rng.choice([1, 1_000_000, 10**9]))
        for group in grid["groups"]:
            group["add_ons"] = {name: int(rng.choice(rates)) for name, rates in ADD_ONS.items()}
    return grid


def draw_prices(rng: np.random.Generator, grid: dict[str, Any]) -> dict[str, Any]:
    """The grid with charges on values at the index, of each group that has add-ons in half of the cases."""
    for group in grid["groups"]:
        if "add_ons" in group and rng.random() < 0.5:
            group["add_ons"]["price"] = "index"
    return grid


def add_grid(table: dict[str, Any], seed: int) -> dict[str, Any]:
    """The venue's table with the stress grid of this seed."""
    rng = generator(seed, 0)
    if rng.random() < 0.5:
        grid = draw_add_ons(generator(seed, 2), draw_grid(rng, table))
        grid = draw_prices(generator(seed, 6), grid)
        grid = draw_expiries(generator(seed, 5), table, draw_basis(generator(seed, 3), grid))
        table["portfolio_margin"] = draw_holdings(generator(seed, 4), table, grid)
    return table


class Portfolios:
    """Wallets that go to portfolio margin and back."""

    def __init__(self, venue: config.Venue, seed: int):
        self.rng = generator(seed, 1)
        self.instruments = len(venue.instruments)
        self.rate = float(self.rng.choice([0.02, 0.05])) if venue.portfolio_margin.groups else 0.0005

    def beside(self, clock_ns: int, users: int) -> list[tuple[int, ...]]:
        """Now and then a change of the mode."""
        if self.rng.random() >= self.rate:
            return []
        return self.change(clock_ns, int(self.rng.integers(users)))

    def change(self, clock_ns: int, user: int) -> list[tuple[int, ...]]:
        mode = codes.PORTFOLIO if self.rng.random() < 0.8 else codes.CROSS
        return schema.events({"ts_ns": clock_ns, "kind": codes.SET_MARGIN_MODE, "account": codes.FIRST_USER + user,
                              "instrument": int(self.rng.integers(self.instruments)), "qty": mode}).tolist()

    def opening(self, clock_ns: int, users: int) -> list[tuple[int, ...]]:
        """Most wallets begin in portfolio mode where the venue has it."""
        chosen = [user for user in range(users) if self.rng.random() < 0.6] if self.rate > 0.01 else []
        return [row for user in chosen for row in self.change(clock_ns, user)]
