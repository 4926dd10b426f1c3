"""Reverse stress: the smallest shock that drains the insurance fund, with the cascade or without. DESIGN §10.2.

A size is tried on a fork of the session at the moment; sizes of a grid first, then halves of the first bracket.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from exchange import codes, stress
from exchange.config import Venue
from exchange.errors import ConfigError
from exchange.venue import Exchange
from replay import figures
from replay.moments import _Visited
from replay.shock import NS_PER_MS, Shock, shock_events
from replay.stress import PPM, Group, Mode, Plan, Stress, shocks_of
from replay.tables import Formats, percent, table

MOST_PPM = 400_000
LOWEST_MOVE_PPM, HIGHEST_MOVE_PPM = -900_000, 5_000_000  # of a shock of the recorded market


class Fund(msgspec.Struct, frozen=True):
    """The insurance fund of an asset, its positions at the mark, around a shock."""

    asset: str
    before: int
    lowest: int
    after: int


class Trial(msgspec.Struct, frozen=True):
    """One size tried. Times since the moment, -1 = never; without feedback nothing takes time and nobody is closed."""

    size_ppm: int
    drained: list[str]  # assets whose fund was used up, or had to leave losses to others
    accounts: int  # liquidated; without feedback, breached
    funds: list[Fund]
    adl_closes: int
    adl_after_ns: int
    bad_debt_after_ns: int  # the first loss that the book did not carry: taken over, paid by the fund or deleveraged


class Search(msgspec.Struct, frozen=True):
    """The trials along one direction, in order of size, and the bracket in which the fund begins to drain."""

    shock: str
    moves_ppm: dict[str, int]  # by group, at the size found; the largest one where none was
    survived_ppm: int  # the largest size tried below the one found
    found_ppm: int  # the smallest that drains; 0 = none did
    is_monotone: bool  # of the sizes tried, every larger one drains too
    trials: list[Trial]


class Reverse(msgspec.Struct, frozen=True):
    """What `deleverage reverse --json` prints. Sizes are of a group of the general range, ppm of its mark."""

    name: str
    variant: str
    after_ns: int
    with_feedback: bool
    over_ns: int
    horizon_ns: int
    groups: list[Group]
    searches: list[Search]


class Direction(msgspec.Struct, frozen=True):
    """A way to go: the groups together by their loadings or in full, or some instruments alone."""

    name: str
    mode: Mode
    sign: int
    group: str = ""

    def moves(self, groups: Sequence[Group], venue: Venue, range_ppm: int, size_ppm: int) -> tuple[int, ...]:
        """Ppm of its mark by which each instrument moves."""
        sized = [msgspec.structs.replace(one, range_ppm=one.range_ppm * size_ppm // range_ppm) for one in groups]
        plan = Plan(stresses=(Stress(name="size", mode=self.mode, points_ppm=(self.sign * PPM,)),))
        made = shocks_of(plan, sized, venue)
        if self.mode != "sum":
            return made[0].ppm
        return made[[one.name for one in groups].index(self.group)].ppm


def directions(groups: Sequence[Group], alone: Sequence[str]) -> list[Direction]:
    """Down and up: along the factor, all in full, and single groups, by name or by one of their symbols."""
    ways: list[tuple[str, Mode, str]] = [("rho 1" if len(groups) > 1 else groups[0].name, "rho_one", "")]
    if len(groups) > 1:
        ways.insert(0, ("one factor", "one_factor", ""))
    for name in alone:
        found = [one.name for one in groups if name == one.name or name in one.symbols]
        if not found:
            known = ", ".join(one.name for one in groups)
            raise ConfigError("--alone", f"{name!r} is neither a group nor an instrument; there are {known}")
        ways.append((f"{found[0]} alone", "sum", found[0]))
    return [
        Direction(f"{name} {word}", mode, sign, group)
        for name, mode, group in ways
        for word, sign in (("down", -1), ("up", 1))
    ]


def search(
    direction: Direction,
    moves_at: Callable[[int], dict[str, int]],
    tried: Callable[[int], Trial],
    sizes: Sequence[int],
    width_ppm: int,
) -> Search:
    """Try all sizes of a grid, then halve the first bracket until it is narrow."""
    trials = {size: tried(size) for size in sizes}
    drains = [size for size in sorted(trials) if trials[size].drained]
    found = drains[0] if drains else 0
    survived = max((size for size in trials if size < found or not found), default=0)
    while found - survived > width_ppm:
        middle = (found + survived) // 2
        trials[middle] = tried(middle)
        if trials[middle].drained:
            found = middle
        else:
            survived = middle
    ordered = [trials[size] for size in sorted(trials)]
    is_monotone = all(trial.drained for trial in ordered if trial.size_ppm >= found) or not found
    return Search(direction.name, moves_at(found or survived), survived, found, is_monotone, ordered)


def search_along(
    direction: Direction,
    exchange: Exchange,
    cascade: "Cascade | None",
    groups: Sequence[Group],
    range_ppm: int,
    sizes: Sequence[int],
    width_ppm: int,
) -> Search:
    """Search one direction: with the cascade, or without feedback where there is none."""
    venue = exchange.venue
    place = {one.symbol: k for k, one in enumerate(venue.instruments)}

    def moves_at(size_ppm: int) -> tuple[int, ...]:
        return direction.moves(groups, venue, range_ppm, size_ppm)

    def tried(size_ppm: int) -> Trial:
        moves = moves_at(size_ppm)
        return without_feedback(exchange, moves, size_ppm) if cascade is None else cascade.trial(moves, size_ppm)

    def by_group(size_ppm: int) -> dict[str, int]:
        moves = moves_at(size_ppm)
        return {one.name: moves[place[one.symbols[0]]] for one in groups}

    return search(direction, by_group, tried, sizes, width_ppm)


def without_feedback(exchange: Exchange, moves: Sequence[int], size_ppm: int) -> Trial:
    """What accounts are below zero by at the shocked marks, against the fund."""
    state = exchange.state
    live, moved, marks = stress.live_units(state), stress.movable(state), stress.shocked(state, moves)
    equity, required = stress.numbers_at(moved, live.number, marks)
    asset, account, funds, drained = live.asset(state), live.account(state), [], []
    for k, one in enumerate(exchange.venue.assets):
        below = -int(equity[(asset == k) & (equity < 0)].sum())
        before, there = int(exchange.fund_equity(k)), stress.fund_at(moved, k, marks)
        funds.append(Fund(one.name, before, there - below, there - below))
        if below > max(0, there):
            drained.append(one.name)
    return Trial(size_ppm, drained, len(np.unique(account[equity < required])), funds, 0, -1, -1)


class Cascade:
    """Runs the venue on from the moment, each time with another shock of the recorded market and its index."""

    def __init__(self, session: _Visited, over_ns: int, horizon_ns: int):
        self.session, self.over_ms = session, over_ns // NS_PER_MS
        self.moment = session.seeded_ns + session.after_ns
        last = int(session.rows["ts_ns"][-1])
        self.until = min(self.moment + horizon_ns, last)
        if self.moment + over_ns > last:
            left_s = (last - self.moment) / 1e9
            raise ConfigError("--over", f"the tape plays {left_s:.1f} s after the moment; expected no more")

    def rows(self, moves: Sequence[int]) -> np.ndarray:
        """The scenario's own moves as they stand at the moment, and the shock on top of them."""
        session, venue = self.session, self.session.venue
        start_ms = -(-session.after_ns // NS_PER_MS)
        kept = [_frozen(one, start_ms) for one in session.scenario.shocks if one.kind in ("move", "index")]
        symbols, span = [one.symbol for one in venue.instruments], {"start_ms": start_ms, "over_ms": self.over_ms}
        fresh = [Shock(kind="move", symbol=symbols[k], ppm=moves[k], **span) for k in session.active if moves[k]]
        shocks = (*(one for one in kept if one.ppm or one.depth_ppm != PPM), *fresh)
        made = shock_events(shocks, venue, session.exchange.compiled, session.sites)
        return made[made["ts_ns"] >= self.moment]

    def trial(self, moves: Sequence[int], size_ppm: int) -> Trial:
        """Run one size to the horizon."""
        twin, assets = self.session.fork(self.rows(moves)), self.session.venue.assets
        paths = [[int(twin.exchange.fund_equity(k))] for k in range(len(assets))]

        def look(exchange: Exchange, ts_ns: int) -> None:
            for k, path in enumerate(paths):
                path.append(int(exchange.fund_equity(k)))

        outcomes = twin.go_on(self.until, look)
        closes, shared = figures.adl_closes(outcomes), figures.of_kind(outcomes, codes.SOCIALISED)
        short = closes if self.session.venue.adl.trigger == "shortfall" else shared  # what the fund could not carry
        carried = outcomes[np.isin(outcomes["kind"], (codes.TAKEOVER, codes.DEFICIT, codes.ADL))]
        settled = twin.exchange.compiled.instruments["asset"]
        left = {int(settled[k]) for k in np.unique(short["instrument"])}
        drained = [one.name for k, one in enumerate(assets) if k in left or min(paths[k]) <= 0 < paths[k][0]]
        funds = [Fund(one.name, path[0], min(path), path[-1]) for one, path in zip(assets, paths, strict=True)]
        accounts = figures.liquidated_accounts(outcomes)
        return Trial(size_ppm, drained, accounts, funds, len(closes), self._after(closes), self._after(carried))

    def _after(self, rows: np.ndarray) -> int:
        return int(rows["ts_ns"][0]) - self.moment if len(rows) else -1


def _frozen(shock: Shock, at_ms: int) -> Shock:
    """A move as far as it has come at a time; what is left of it does not happen."""
    gone = min(max(at_ms - shock.start_ms, 0), shock.over_ms)
    if shock.start_ms > at_ms:
        return msgspec.structs.replace(shock, ppm=0, depth_ppm=PPM)
    ppm = shock.ppm * gone // shock.over_ms if shock.over_ms else shock.ppm
    return msgspec.structs.replace(shock, ppm=ppm, over_ms=gone)


def check_most(direction: Direction, moves: Sequence[int]) -> None:
    """Refuse sizes that no recorded market could be moved by."""
    if min(moves) < LOWEST_MOVE_PPM or max(moves) > HIGHEST_MOVE_PPM:
        raise ConfigError(
            "--most-ppm",
            f"{direction.name} moves an instrument by {max(moves, key=abs)} ppm; at most {LOWEST_MOVE_PPM} down and "
            f"{HIGHEST_MOVE_PPM} up would do",
        )


def reverse_tables(document: Reverse, venue: Venue) -> list[Any]:
    """One row a direction, at the smallest size that drains a fund."""
    formats = {one.settle: Formats.of(venue, one.symbol) for one in reversed(venue.instruments)}
    rows = []
    for one in document.searches:
        trial = next((trial for trial in one.trials if trial.size_ppm == one.found_ppm), one.trials[-1])
        money = [
            f"{formats[fund.asset].money(fund.before)} → {formats[fund.asset].money(fund.lowest)} {fund.asset}"
            for fund in trial.funds
            if fund.asset in formats
        ]
        rows.append(
            (
                one.shock,
                f"{one.found_ppm / PPM:.2%}" if one.found_ppm else f"none up to {one.survived_ppm / PPM:.2%}",
                f"{(one.found_ppm - one.survived_ppm) / PPM:.2%}" if one.found_ppm else "",
                "\n".join(f"{name} {percent(move)}" for name, move in one.moves_ppm.items() if move),
                f"{trial.accounts:,}",
                "\n".join(money),
                f"{trial.adl_closes:,}" + (f" from {trial.adl_after_ns / 1e9:.1f} s" if trial.adl_closes else ""),
                f"{trial.bad_debt_after_ns / 1e9:.1f} s" if trial.bad_debt_after_ns >= 0 else "none",
                "yes" if one.is_monotone else "NO: a larger size tried does not drain it",
            )
        )
    header = (
        "shock",
        "smallest that drains",
        "bracket",
        "moves",
        "accounts",
        "fund before → lowest",
        "ADL",
        "first bad debt",
        "monotone",
    )
    how = (
        f"over {document.over_ns / 1e9:g} s, watched for {document.horizon_ns / 1e9:g} s"
        if document.with_feedback
        else "without feedback"
    )
    return [table(f"reverse stress, {how}", header, rows)]
