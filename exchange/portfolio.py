"""One wallet's portfolio margin as a grid: each scenario's loss, the worst, what it must hold. DESIGN §3.17."""

from typing import NamedTuple

import numpy as np

from exchange import codes, config
from exchange.codes import SHOCK_BETA, SHOCK_CONTRA, SHOCK_OWN, SHOCKS
from exchange.core.views import fresh_risks, grid_needs
from exchange.grids import MODES, scenarios_of
from exchange.state import State, aligned_copy

SHARES = ("price_ppm", "volatility_ppm", "basis_ppm", "cover_ppm")
GRID_ROW = np.dtype(  # one scenario of one correlation mode; the loss in quanta, rounded up, negative = a gain
    [("mode", "U10"), ("group", "U24"), ("scenario", "i8"), *((name, "i8") for name in SHARES), ("loss", "i8")]
)


class StressGrid(NamedTuple):
    """A wallet under portfolio margin, whether it is in that mode or not. Money in quanta.

    Rows of the mode `sum` are of one group alone, those of `flipped` name the group whose sign is turned round.
    """

    rows: np.ndarray  # GRID_ROW
    worst: dict[str, int]  # by mode; of `sum` the groups' worst losses added
    loss: int  # the worst of all, at least 0
    maintenance: int  # of what the grid holds, add-ons included
    initial: int  # that with open orders
    equity: int

    def __str__(self) -> str:
        """A table, the binding row of each mode marked, and what is made of it."""
        lines = [f"{'mode':<11}{'group':<12}{'scenario':>8}{'price':>9}{'vol':>9}{'basis':>9}{'cover':>8}{'loss':>18}"]
        for row in self.rows:
            mine = self.rows[(self.rows["mode"] == row["mode"])]
            alone = mine[mine["group"] == row["group"]] if row["mode"] == "sum" else mine
            shares = "".join(f"{int(row[name]) / 10_000:>{8 if name == 'cover_ppm' else 9}.2f}" for name in SHARES)
            mark = " <" if row["loss"] == alone["loss"].max() and row["loss"] > 0 else ""
            lines.append(
                f"{row['mode']:<11}{row['group'][:11]:<12}{row['scenario']:>8}{shares}{int(row['loss']):>18}{mark}"
            )
        lines += [f"worst of {mode}: {loss}" for mode, loss in self.worst.items()]
        lines.append(
            f"worst loss {self.loss}, maintenance {self.maintenance}, initial {self.initial}, equity {self.equity}"
        )
        return "\n".join(lines)


def _gains(state: State, wallet: int) -> dict[int, np.ndarray]:
    """What a wallet gains, by group: parts of a quantum by variant and scenario."""
    prices, positions, count = state.prices, state.ledger.positions, int(state.prices.grids[0]["scenarios"])
    found: dict[int, np.ndarray] = {}
    p = int(state.ledger.wallets[wallet]["first_position"])
    while p:
        instrument, group = int(positions[p]["instrument"]), int(prices.members[positions[p]["instrument"]]["group"])
        if group and positions[p]["lots"] and positions[p]["mode"] == codes.CROSS:
            first = instrument * SHOCKS * count
            rows = int(positions[p]["lots"]) * prices.risks[first : first + SHOCKS * count].reshape(SHOCKS, count)
            found[group] = found.get(group, 0) + rows
        p = int(positions[p]["next"])
    return dict(sorted(found.items()))


def _losses(mode: str, gains: dict[int, np.ndarray], names: list[str]) -> dict[str, np.ndarray]:
    """Loss by scenario of a mode, by the group that is alone or turned round; of the others under one empty name."""
    if mode == "sum":
        return {names[group - 1]: -rows[SHOCK_OWN] for group, rows in gains.items()}
    if mode == "flipped":
        contra, beta = SHOCK_CONTRA, SHOCK_BETA
        return {
            names[turned - 1]: -sum(rows[contra if group == turned else beta] for group, rows in gains.items())
            for turned in gains
        }
    return {"": -sum(rows[SHOCK_OWN if mode == "rho_one" else SHOCK_BETA] for rows in gains.values())} if gains else {}


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
    own = {name: aligned_copy(getattr(state.prices, name)) for name in ("risks", "losses")}
    state = state._replace(prices=state.prices._replace(**own))
    if not state.prices.grids[0]["holders"]:
        fresh_risks(state)
    gains, bits = _gains(state, wallet), terms.scale_bits
    rows, worst = list[tuple[str | int, ...]](), dict[str, int]()
    for mode in (name for name in MODES if name in terms.modes):
        by_name = _losses(mode, gains, [group.name for group in terms.groups])
        for name, losses in by_name.items():
            rows += [
                (mode, name, s, *(getattr(scenario, share) for share in SHARES), -(-int(losses[s]) >> bits))
                for s, scenario in enumerate(scenarios_of(terms))
            ]
        most = [max(0, int(losses.max())) for losses in by_name.values()] or [0]
        worst[mode] = -(-(sum(most) if mode == "sum" else max(most)) >> bits)
    maintenance, initial, equity = (int(number) for number in grid_needs(state, wallet))
    return StressGrid(np.array(rows, GRID_ROW), worst, max(worst.values()), maintenance, initial, equity)
