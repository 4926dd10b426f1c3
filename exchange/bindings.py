"""Which scenario of the venue's stress grid binds each of many wallets in portfolio mode. DESIGN §3.17, §10.1."""

from typing import NamedTuple

import numpy as np

from exchange import codes, config
from exchange.codes import SHOCK_BETA, SHOCK_CONTRA, SHOCK_OWN, SHOCKS
from exchange.grids import MODES
from exchange.portfolio import with_risks
from exchange.state import State


class Binding(NamedTuple):
    """What binds many wallets of a grid: arrays by wallet. Losses in parts of a quantum, at least 0."""

    losses: dict[str, np.ndarray]  # by mode; `basis`: the contingency, where the venue has one
    mode: np.ndarray  # the mode that is worst, the first of equals in the order of `losses`
    group: np.ndarray  # the one whose sign that mode turns round; empty elsewhere
    scenario: np.ndarray  # its number; -1 in `sum` and `basis`, where each group or expiry has its own


class _Crowd:
    """What wallets gain by group, variant and scenario, all at once."""

    def __init__(self, state: State, wallets: np.ndarray):
        self.count, self.wallets = int(state.prices.grids[0]["scenarios"]), len(wallets)
        rows = len(state.prices.members) * SHOCKS * self.count
        self.risks = state.prices.risks[:rows].reshape(-1, SHOCKS, self.count)
        self.nets = bool(state.prices.grids[0]["nets_base"])
        self.longs = state.prices.risks[-rows:].reshape(-1, SHOCKS, self.count)
        self.skewed = state.prices.scenarios[2::3] != 0
        place = np.full(len(state.ledger.wallets), -1, np.int64)
        place[wallets] = np.arange(len(wallets))
        positions = state.ledger.positions[: int(state.io.control[0]["position_high"]) + 1]
        group = state.prices.members["group"][positions["instrument"]]
        held = (positions["lots"] != 0) & (positions["mode"] == codes.CROSS) & (group != 0)
        held &= place[positions["wallet"]] >= 0
        self.of, self.group = place[positions["wallet"][held]], group[held]
        self.instrument, self.lots = positions["instrument"][held], positions["lots"][held].astype(np.int64)
        self.members = state.prices.members
        self.groups = [int(number) for number in np.unique(self.group)]

    def gains(self, group: int, variant: int) -> np.ndarray:
        """By wallet and scenario, of one group."""
        expiry = self.members["expiry"][self.instrument] * self.nets
        made = self.sum(self.risks[:, variant], (self.group == group) & (expiry == 0))
        for number in np.unique(expiry[(self.group == group) & (expiry != 0)]):
            halves = (self.sum(risks[:, variant], expiry == number) for risks in (self.risks, self.longs))
            gained = np.minimum(*halves)
            made += np.where(self.skewed, -abs(gained), gained)
        return made

    def sum(self, risks: np.ndarray, own: np.ndarray) -> np.ndarray:
        """By wallet and scenario, of the positions that are `own`."""
        made = np.zeros((self.wallets, self.count), np.int64)
        np.add.at(made, self.of[own], self.lots[own, None] * risks[self.instrument[own]])
        return made

    def together(self, variant: int) -> np.ndarray:
        """By wallet and scenario, of all groups."""
        made = np.zeros((self.wallets, self.count), np.int64)
        for group in self.groups:
            made += self.gains(group, variant)
        return made

    def basis(self) -> np.ndarray:
        """Basis contingency by wallet."""
        total = np.zeros(self.wallets, np.int64)
        numbers = self.members["expiry"][self.instrument]
        for number in np.unique(numbers[numbers != 0]):
            own, moves = numbers == number, list[np.ndarray]()
            for name in ("up_gain", "down_gain"):
                moves.append(np.zeros(self.wallets, np.int64))
                np.add.at(moves[-1], self.of[own], self.lots[own] * self.members[name][self.instrument[own]])
            total -= np.minimum(0, np.minimum(*moves))
        return total

    def worst(self, mode: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(worst loss, number of the group turned round or 0, scenario or -1) by wallet."""
        none = np.zeros(self.wallets, np.int64)
        if mode == "basis":
            return self.basis(), none, none - 1
        if mode == "sum":
            apart = [np.maximum(0, -self.gains(group, SHOCK_OWN).min(axis=1)) for group in self.groups]
            return sum(apart, none), none, none - 1
        if mode != "flipped":
            gains = self.together(SHOCK_OWN if mode == "rho_one" else SHOCK_BETA)
            return np.maximum(0, -gains.min(axis=1)), none, gains.argmin(axis=1)
        straight, loss, turned, scenario = self.together(SHOCK_BETA), none - 1, none.copy(), none.copy()
        for group in self.groups:
            gains = straight - self.gains(group, SHOCK_BETA) + self.gains(group, SHOCK_CONTRA)
            lost = np.maximum(0, -gains.min(axis=1))
            worse = (lost > loss) & np.isin(np.arange(self.wallets), self.of[self.group == group])
            loss[worse], turned[worse], scenario[worse] = lost[worse], group, gains.argmin(axis=1)[worse]
        return np.maximum(0, loss), turned, scenario


def bindings(state: State, venue: config.Venue, wallets: np.ndarray) -> Binding:
    """Which scenario of the venue's grid is the worst for each of some wallets. Nothing of the venue changes."""
    terms = venue.portfolio_margin
    crowd, names = _Crowd(with_risks(state), wallets), np.array(["", *(group.name for group in terms.groups)])
    modes = [name for name in MODES if name in terms.modes] + ["basis"] * terms.basis.any()
    found = [crowd.worst(mode) for mode in modes]
    most = np.argmax([losses for losses, _, _ in found], axis=0)
    every = np.arange(len(wallets))
    turned, scenario = (np.array([each[k] for each in found])[most, every] for k in (1, 2))
    losses = {mode: losses for mode, (losses, _, _) in zip(modes, found, strict=True)}
    return Binding(losses, np.array(modes)[most], names[turned], scenario)
