"""The playbook of a moment: which stress scenario binds for whom, what a correlation of one changes, actions open.

DESIGN §10.1. Every number is what the venue's own margin engine says on a copy of it.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

import msgspec
import numpy as np

from exchange import codes, maps, stress
from exchange.venue import Exchange
from replay.grid_playbook import Bound, GridAtOne, grid_sections
from replay.stress import Group, Shock

PPM = 1_000_000
DIVERSIFIED, AT_ONE = "one_factor", "rho_one"


class Whole(msgspec.Struct, frozen=True):
    """A scenario and all accounts of an asset: those for whom it is the worst, and what it does to everybody."""

    scenario: str
    mode: str
    asset: str
    binds_units: int
    binds_accounts: int
    binds_loss: int  # of those: equity that goes
    breached_accounts: int
    breached_notional: int  # today's
    short_of_maintenance: int
    below_zero: int
    fund: int  # its equity then; of a sum of scenarios, today's


class Breached(msgspec.Struct, frozen=True):
    """Units below maintenance in some scenario of a mode."""

    accounts: int
    notional: int


class AtOne(msgspec.Struct, frozen=True):
    """What it changes when every group moves in full and in one direction: who breaks then only, and who no more."""

    asset: str
    diversified: Breached
    at_one: Breached
    added: Breached
    spared: Breached
    who: list[int]  # accounts added, largest notional first


class Leg(msgspec.Struct, frozen=True):
    """One position in the scenario that binds its unit; `loss` is of value and of what it must hold."""

    symbol: str
    lots: int
    notional: int
    loss: int
    breaks_at_sub: int  # the mark that breaches the unit, the others held; 0 = none on the losing side
    distance_ppm: int  # from today's mark to that one
    health_without: int  # of the unit in the scenario, had the leg been closed at today's mark
    close_lots: int | None  # the least that must be closed for the unit to survive; None = all of it is not enough


class Free(msgspec.Struct, frozen=True):
    """What an account could move from another of its wallets."""

    asset: str
    money: int


class Worst(msgspec.Struct, frozen=True):
    """One of the worst units, and what would save it."""

    account: int
    unit: str
    asset: str
    equity: int
    maintenance: int
    scenario: str
    loss: int
    health_after: int
    equity_after: int
    trigger: str  # the leg that contributes most
    legs: list[Leg]
    deposit: int
    reduce: str | None  # the leg of which the least notional must be closed
    free: list[Free]


class Fund(msgspec.Struct, frozen=True):
    """The insurance fund against the scenario that leaves accounts the furthest below zero."""

    asset: str
    equity: int
    scenario: str
    below_zero: int
    equity_after: int
    covered: bool


class Playbook(msgspec.Struct, frozen=True):
    """What `deleverage playbook --json` prints. Money in quanta."""

    name: str
    variant: str
    ts_ns: int
    after_ns: int
    groups: list[Group]
    units: int
    pending_units: int  # in liquidation already, and left out
    scenarios: list[Whole]
    at_one: list[AtOne]
    worst: list[Worst]
    funds: list[Fund]
    grid: list[Bound]  # of the venue's own stress grid, for the wallets that it margins
    grid_at_one: list[GridAtOne]


class _Result(NamedTuple):
    """Units after one scenario; `points` are, of a sum, the worst shock of each group by unit."""

    name: str
    mode: str
    equity: np.ndarray
    health: np.ndarray
    shock: Shock | None
    points: list[tuple[list[Shock], np.ndarray]]


class Weighing:
    """A live venue, its units, and the scenarios weighed one after the other: few arrays are held at a time."""

    def __init__(self, exchange: Exchange, shocks: Iterable[Shock]):
        self.exchange, self.state = exchange, exchange.state
        self.units, self.moved = stress.live_units(self.state), stress.movable(self.state)
        count = len(self.units.number)
        self.account, self.asset = self.units.account(self.state), self.units.asset(self.state)
        self.notional = np.zeros(count, np.int64)
        np.add.at(self.notional, self.units.of, stress.notionals(self.state, self.units.slots))
        self.equity, required = self._at(stress.marks_of(self.state))
        self.health = self.equity - required
        self.names: list[tuple[str, str]] = []
        self.worst, self.worst_equity = np.full(count, np.iinfo(np.int64).max), self.equity.copy()
        self.binds = np.zeros(count, np.int64)
        self.breached = {mode: np.zeros(count, bool) for mode in (DIVERSIFIED, AT_ONE)}
        self.totals: list[dict[int, tuple[int, int, int, int, int]]] = []
        self.vectors: list[_Result] = []  # what is needed to put the marks of a scenario again
        for _, block in groupby(shocks, key=lambda one: one.stress if one.mode == "sum" else one.name):
            self._weigh(list(block))

    def _at(self, marks_sub: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return stress.numbers_at(self.moved, self.units.number, marks_sub)

    def _weigh(self, block: list[Shock]) -> None:
        result = self._sum(block) if block[0].mode == "sum" else self._one(block[0])
        place = len(self.names)
        self.names.append((result.name, result.mode))
        worse = result.health < self.worst
        self.worst[worse], self.binds[worse] = result.health[worse], place
        self.worst_equity[worse] = result.equity[worse]
        if result.mode in self.breached:
            self.breached[result.mode] |= result.health < 0
        self.totals.append({asset: self._total(result, asset) for asset in self.assets()})
        self.vectors.append(result._replace(equity=self.equity[:0], health=self.equity[:0]))

    def assets(self) -> list[int]:
        return [int(asset) for asset in np.unique(self.asset)]

    def _one(self, shock: Shock) -> _Result:
        equity, required = self._at(stress.shocked(self.state, shock.ppm))
        return _Result(shock.name, shock.mode, equity, equity - required, shock, [])

    def _sum(self, block: list[Shock]) -> _Result:
        """Each group moves alone to the point that is worst for the unit; what it costs is added."""
        equity, health, points = self.equity.copy(), self.health.copy(), []
        for _, alone in groupby(block, key=lambda one: one.group):
            own = list(alone)
            place, least = np.zeros(len(equity), np.int8), np.full(len(equity), np.iinfo(np.int64).max)
            kept = self.equity.copy()
            for k, shock in enumerate(own):
                there, required = self._at(stress.shocked(self.state, shock.ppm))
                lower = there - required < least
                place[lower], least[lower], kept[lower] = k, (there - required)[lower], there[lower]
            equity += kept - self.equity
            health += least - self.health
            points.append((own, place))
        return _Result(block[0].stress, "sum", equity, health, None, points)

    def _total(self, result: _Result, asset: int) -> tuple[int, int, int, int, int]:
        own = self.asset == asset
        broken, below = own & (result.health < 0), own & (result.equity < 0)
        marks = stress.marks_of(self.state) if result.shock is None else stress.shocked(self.state, result.shock.ppm)
        return (
            len(np.unique(self.account[broken])),
            int(self.notional[broken].sum()),
            -int(result.health[broken].sum()),
            -int(result.equity[below].sum()),
            stress.fund_at(self.moved, asset, marks),
        )

    def marks_for(self, unit: int) -> np.ndarray:
        """The marks of the scenario that binds a unit; of a sum, every group at its own worst at once."""
        result = self.vectors[int(self.binds[unit])]
        if result.shock is not None:
            return stress.shocked(self.state, result.shock.ppm)
        chosen = [own[int(place[unit])].ppm for own, place in result.points]
        return stress.shocked(self.state, [sum(moves) for moves in zip(*chosen, strict=True)])


def playbook(
    exchange: Exchange, groups: list[Group], shocks: list[Shock], count: int, moment: tuple[str, str, int, int]
) -> Playbook:
    """Weigh a live venue; it stays as it is. `moment`: name, variant, time, time since the seeding."""
    weighing = Weighing(exchange, shocks)
    assets = [one.name for one in exchange.venue.assets]
    shown = weighing.assets()
    scenarios = [_whole(weighing, k, asset, assets) for asset in shown for k in range(len(weighing.names))]
    return Playbook(
        *moment,
        groups,
        len(weighing.units.number),
        weighing.units.pending,
        scenarios,
        [_at_one(weighing, asset, assets, count) for asset in shown],
        [one for asset in shown for one in _worst_of(weighing, asset, assets, count)],
        [_fund(exchange, [row for row in scenarios if row.asset == assets[asset]], asset) for asset in shown],
        *grid_sections(exchange, weighing.units, count),
    )


def _whole(weighing: Weighing, k: int, asset: int, assets: list[str]) -> Whole:
    own = (weighing.binds == k) & (weighing.asset == asset)
    loss = int((weighing.equity - weighing.worst_equity)[own].sum())
    accounts = len(np.unique(weighing.account[own]))
    return Whole(*weighing.names[k], assets[asset], int(own.sum()), accounts, loss, *weighing.totals[k][asset])


def _at_one(weighing: Weighing, asset: int, assets: list[str], count: int) -> AtOne:
    own = weighing.asset == asset
    before, after = (weighing.breached[mode] & own for mode in (DIVERSIFIED, AT_ONE))

    def of(chosen: np.ndarray) -> Breached:
        return Breached(len(np.unique(weighing.account[chosen])), int(weighing.notional[chosen].sum()))

    added = np.flatnonzero(after & ~before)
    added = added[np.argsort(-weighing.notional[added], kind="stable")]
    who = list(dict.fromkeys(weighing.account[added].tolist()))[:count]
    return AtOne(assets[asset], of(before), of(after), of(after & ~before), of(before & ~after), who)


def _fund(exchange: Exchange, rows: list[Whole], asset: int) -> Fund:
    worst = max(rows, key=lambda row: row.below_zero - row.fund)
    covered = worst.below_zero <= worst.fund
    equity = int(exchange.fund_equity(asset))
    return Fund(worst.asset, equity, worst.scenario, worst.below_zero, worst.fund, covered)


def _worst_of(weighing: Weighing, asset: int, assets: list[str], count: int) -> list[Worst]:
    own = np.flatnonzero(weighing.asset == asset)
    chosen = own[np.argsort(weighing.worst[own], kind="stable")][:count]
    copy = stress.tradable(weighing.state) if len(chosen) else weighing.state
    return [_worst(weighing, copy, int(unit), assets) for unit in chosen]


def _worst(weighing: Weighing, copy: stress.State, unit: int, assets: list[str]) -> Worst:
    number = int(weighing.units.number[unit])
    account, asset, slots = int(weighing.account[unit]), int(weighing.asset[unit]), weighing.units.legs(unit)
    marks = weighing.marks_for(unit)
    bench = stress.Bench(weighing.state, copy, number, slots.tolist(), marks)
    legs = _legs(weighing, bench, slots, marks)
    closed = [leg for leg in legs if leg.close_lots]
    return Worst(
        account,
        f"{weighing.units.mode(weighing.state, unit)} {legs[0].symbol if number < 0 else assets[asset]}",
        assets[asset],
        int(weighing.equity[unit]),
        int(weighing.equity[unit] - weighing.health[unit]),
        weighing.names[int(weighing.binds[unit])][0],
        int(weighing.equity[unit] - weighing.worst_equity[unit]),
        int(weighing.worst[unit]),
        int(weighing.worst_equity[unit]),
        max(legs, key=lambda leg: leg.loss).symbol,
        legs,
        bench.deposit(),
        min(closed, key=_part_closed).symbol if closed else None,
        _free(weighing, account, asset if number > 0 else -1, assets),
    )


def _part_closed(leg: Leg) -> int:
    """Notional that must be closed."""
    return leg.notional * (leg.close_lots or 0) // abs(leg.lots)


def _legs(weighing: Weighing, bench: stress.Bench, slots: np.ndarray, marks: np.ndarray) -> list[Leg]:
    state, healthy = weighing.state, bench.health_with(0) >= 0
    falling, rising = maps.nearest_marks(state, slots, PPM)
    made = []
    for k, p in enumerate(slots.tolist()):
        position = state.ledger.positions[p]
        lots, mark = int(position["lots"]), int(bench.today[int(position["instrument"])])
        breaks_at = int(falling[k] if lots > 0 else rising[k])
        without = bench.health_after(p, abs(lots))
        made.append(
            Leg(
                weighing.exchange.venue.instruments[int(position["instrument"])].symbol,
                lots,
                int(stress.notionals(state, slots[k : k + 1])[0]),
                stress.leg_loss(weighing.moved, p, marks, bench.today),
                breaks_at,
                (breaks_at - mark) * PPM // mark if breaks_at else 0,
                without,
                0 if healthy else bench.reduction(p),
            )
        )
    return made


def _free(weighing: Weighing, account: int, aside: int, assets: list[str]) -> list[Free]:
    """Free balances of an account's wallets but the one that is in trouble itself."""
    ledger, made = weighing.state.ledger, []
    for asset, name in enumerate(assets):
        wallet = account * len(assets) + asset
        if asset != aside and ledger.wallets[wallet]["open"] and ledger.wallets[wallet]["stage"] == codes.STAGE_NONE:
            money = stress.free_balance(weighing.state, wallet)
            if money > 0:
                made.append(Free(name, money))
    return made
