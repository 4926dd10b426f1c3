"""One wallet's portfolio margin as a grid: each scenario's loss, the worst, what it must hold. DESIGN §3.17."""

from typing import NamedTuple

import numpy as np

from exchange import codes, config
from exchange.audit_add_ons import wallet_add_ons
from exchange.audit_grid import basis_loss, expiry_gains, is_netted
from exchange.codes import SHOCK_BETA, SHOCK_CONTRA, SHOCK_OWN, SHOCKS
from exchange.core.views import fresh_risks, grid_needs
from exchange.grids import MODES, scenarios_of
from exchange.state import State, aligned_copy

SHARES = ("price_ppm", "volatility_ppm", "basis_ppm", "cover_ppm")
GRID_ROW = np.dtype(  # one scenario of one correlation mode; the loss in quanta, rounded up, negative = a gain
    [
        *(("mode", "U10"), ("group", "U24"), ("scenario", "i8")),
        *((name, "i8") for name in SHARES),
        *(("skew", "U8"), ("loss", "i8")),
    ]
)


class StressGrid(NamedTuple):
    """A wallet under portfolio margin, whether it is in that mode or not. Money in quanta.

    Rows of the mode `sum` are of one group alone, those of `flipped` name the group whose sign is turned round.
    """

    rows: np.ndarray  # GRID_ROW
    worst: dict[str, int]  # by mode; of `sum` the groups' worst losses added; `basis`: the contingency, where it is one
    loss: int  # the worst of all, at least 0
    add_ons: dict[tuple[str, str], int]  # by group and name: charges that come on top of it; minima, held at least
    maintenance: int  # of what the grid holds, add-ons included
    initial: int  # that with open orders
    equity: int

    def __str__(self) -> str:
        """A table, the binding row of each mode marked, and what is made of it."""
        lines = [f"{'mode':<11}{'group':<12}{'scenario':>8}{'price':>9}{'vol':>9}{'basis':>9}{'cover':>8}{'loss':>18}"]
        for row in self.rows:
            mine = self.rows[(self.rows["mode"] == row["mode"])]
            alone = mine[mine["group"] == row["group"]] if row["mode"] == "sum" else mine
            percents = {name: f"{int(row[name]) / 10_000:.2f}" for name in SHARES}
            percents["volatility_ppm"] = row["skew"] or percents["volatility_ppm"]
            shares = "".join(f"{text:>{8 if name == 'cover_ppm' else 9}}" for name, text in percents.items())
            mark = " <" if row["loss"] == alone["loss"].max() and row["loss"] > 0 else ""
            lines.append(
                f"{row['mode']:<11}{row['group'][:11]:<12}{row['scenario']:>8}{shares}{int(row['loss']):>18}{mark}"
            )
        lines += [f"worst of {mode}: {loss}" for mode, loss in self.worst.items()]
        lines += [f"{name} of {group}: {money}" for (group, name), money in self.add_ons.items() if money]
        lines.append(
            f"worst loss {self.loss}, maintenance {self.maintenance}, initial {self.initial}, equity {self.equity}"
        )
        return "\n".join(lines)


def _held(state: State, wallet: int) -> list[tuple[int, int]]:
    """(instrument, lots) of what the grid holds of a wallet."""
    positions, found = state.ledger.positions, list[tuple[int, int]]()
    p = int(state.ledger.wallets[wallet]["first_position"])
    while p:
        instrument, lots = int(positions[p]["instrument"]), int(positions[p]["lots"])
        if lots and positions[p]["mode"] == codes.CROSS and state.prices.members[instrument]["group"]:
            found.append((instrument, lots))
        p = int(positions[p]["next"])
    return found


def _gains(state: State, wallet: int) -> dict[int, np.ndarray]:
    """What a wallet gains, by group: parts of a quantum by variant and scenario."""
    prices, count, legs = state.prices, int(state.prices.grids[0]["scenarios"]), _held(state, wallet)
    found = expiry_gains(state, legs)
    for instrument, lots in (leg for leg in legs if not is_netted(state, leg[0])):
        first, group = instrument * SHOCKS * count, int(prices.members[instrument]["group"])
        rows = lots * prices.risks[first : first + SHOCKS * count].reshape(SHOCKS, count)
        found[group] = found.get(group, 0) + rows
    return dict(sorted(found.items()))


def _add_ons(state: State, wallet: int, names: list[str]) -> dict[tuple[str, str], int]:
    """Money by group and name of what a wallet pays beside its worst loss."""
    marks = {k: int(market["mark_sub"]) for k, market in enumerate(state.prices.markets)}
    found = wallet_add_ons(state, _held(state, wallet), marks)
    return {(names[group - 1], name): money for (group, name), money in found.items()}


def _losses(mode: str, gains: dict[int, np.ndarray], names: list[str], count: int) -> dict[str, np.ndarray]:
    """Loss by scenario of a mode, by the group that is alone or turned round; of the others under one empty name."""
    if mode == "sum":
        return {names[group - 1]: -rows[SHOCK_OWN] for group, rows in gains.items()}
    if mode == "flipped":
        contra, beta = SHOCK_CONTRA, SHOCK_BETA
        return {
            names[turned - 1]: -sum(rows[contra if group == turned else beta] for group, rows in gains.items())
            for turned in gains
        }
    variant = SHOCK_OWN if mode == "rho_one" else SHOCK_BETA
    return {"": -sum((rows[variant] for rows in gains.values()), np.zeros(count, np.int64))}


def stress_grid(state: State, venue: config.Venue, wallet: int) -> StressGrid:
    """The grid of a wallet now. Nothing of the venue changes.

    Raises
    ------
    ValueError
        When the venue has no portfolio margin.
    """
    terms = venue.portfolio_margin
    if not terms.groups:
        raise ValueError("the venue has no portfolio margin: portfolio_margin.groups is empty")
    state = with_risks(state)
    gains, bits = _gains(state, wallet), terms.scale_bits
    rows, worst = list[tuple[str | int, ...]](), dict[str, int]()
    for mode in (name for name in MODES if name in terms.modes):
        by_name = _losses(mode, gains, [group.name for group in terms.groups], len(scenarios_of(terms)))
        for name, losses in by_name.items():
            rows += [
                (mode, name, s, *(getattr(scenario, share) for share in (*SHARES, "skew")), -(-int(losses[s]) >> bits))
                for s, scenario in enumerate(scenarios_of(terms))
            ]
        most = [max(0, int(losses.max())) for losses in by_name.values()] or [0]
        worst[mode] = -(-(sum(most) if mode == "sum" else max(most)) >> bits)
    if terms.basis.any():
        worst["basis"] = -(-basis_loss(state, _held(state, wallet)) >> bits)
    maintenance, initial, equity = (int(number) for number in grid_needs(state, wallet))
    add_ons = _add_ons(state, wallet, [group.name for group in terms.groups])
    return StressGrid(np.array(rows, GRID_ROW), worst, max(worst.values()), add_ons, maintenance, initial, equity)


def with_risks(state: State) -> State:
    """The same venue with risk arrays of its own, also where no wallet needs them."""
    own = {name: aligned_copy(getattr(state.prices, name)) for name in ("members", "risks", "losses")}
    state = state._replace(prices=state.prices._replace(**own))
    if not state.prices.grids[0]["holders"]:
        fresh_risks(state)
    return state
