"""A controlled experiment: the same draws of a scenario under several ways to liquidate. DESIGN §10.5."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from exchange import codes, schema
from exchange.errors import ConfigError, InvariantError
from exchange.rows import joined
from exchange.venue import Exchange
from replay import figures
from replay.arms import Arm, Ready, digest, prepare
from replay.figures import Totals
from replay.inputs import Inputs
from replay.placing import money_rows
from replay.plays import Played, Variant
from replay.population import PPM, Population, Site
from replay.recorder import NullRecorder
from replay.scenario import Scenario
from replay.seeding import Seeded
from replay.session import Session, check_recorded_forced, venue_for
from replay.tape import Tape, level_slots
from replay.venues import with_seed

Progress = Callable[[float, str], None]


class Draw(msgspec.Struct, frozen=True):
    """What one arm made of one draw, for one settlement asset; money in quanta, what has no value is None."""

    seed: int
    tie_order: int
    arm: str
    asset: str
    fund_loss: int  # of the fund's equity, start to end
    fund_worst_loss: int  # start to its lowest at the end of an interval
    bad_debt: int
    bidder_loss: int
    liquidated_notional: int
    forced_notional: int
    taken_notional: int
    takeover_notional: int
    adl_notional: int
    slippage_ppm: int | None
    amplification_ppm: int | None
    contained_ms: int


class Run(msgspec.Struct, frozen=True):
    """A draw of an arm and asset, with what pictures and tails need.

    `slippage_ppm` and `value` have a row a forced fill or what a taker had, `fund_change` and `liquidated` one an
    interval since seeding.
    """

    draw: Draw
    slippage_ppm: np.ndarray
    value: np.ndarray
    fund_change: np.ndarray
    liquidated: np.ndarray


class LeftOut(msgspec.Struct, frozen=True):
    """A draw that is in no arm, because in one its accounts did not all come to the shock."""

    seed: int
    arm: str
    why: str


class Pair(msgspec.Struct, frozen=True):
    """What is the same in every arm of a draw, by its digests."""

    seed: int
    tie_order: int
    tape: str
    seeding: str


class Made(msgspec.Struct, frozen=True):
    """All that ran."""

    arms: list[Ready]
    bidder: int
    pairs: list[Pair]
    left_out: list[LeftOut]
    runs: list[Run]


class _Inadmissible(Exception):
    """Not all accounts of a draw are on the venue, whole, when the shock begins."""


class _Series(NullRecorder):
    """Keeps the series."""

    def __init__(self) -> None:
        self.rows: list[dict[str, int]] = []

    def series(self, row: dict[str, int]) -> None:
        """Keep one row."""
        self.rows.append(row)


class _Bidder(NamedTuple):
    account: int
    share_ppm: int  # of the open interest, its money in each asset


class _Session(Session):
    """One draw of an arm. A bidder stands by, idle unless the arm auctions."""

    bidder: _Bidder
    seeded_ns = 0
    seeding = ""
    deposits: dict[str, int]

    def _seed(self, people: Population, sites: list[Site]) -> Seeded:
        seeded, blocks = super()._seed(people, sites), []
        places = {asset.name: k for k, asset in enumerate(self.venue.assets)}
        self.deposits = {
            one.asset: max(1, one.open_interest_money * self.bidder.share_ppm // PPM) for one in seeded.summary.assets
        }
        for asset, money in self.deposits.items():
            account = np.array([self.bidder.account])
            blocks.append(money_rows(codes.DEPOSIT, account, np.array([money]), places[asset], sites[0].ts_ns))
        return msgspec.structs.replace(seeded, events=np.concatenate((seeded.events, *blocks)))

    def _begin(self, at: int, last: int) -> None:
        super()._begin(at, last)
        assert self.seeded is not None
        self.seeded_ns, self.seeding = at, digest(self.seeded.events.tobytes(), self.shock_rows.tobytes())

    def _check_seeding(self, outcomes: np.ndarray) -> None:
        try:
            super()._check_seeding(outcomes)
        except InvariantError as error:
            raise _Inadmissible(str(error)) from None

    def outcomes(self) -> np.ndarray:
        """Those since seeding that figures need, once nobody was liquidated before the first shock."""
        made = joined(self.kept, schema.OUTCOME)
        shock_ns = int(self.shock_rows["ts_ns"].min()) if len(self.shock_rows) else 0
        starts = figures.of_kind(made, codes.LIQUIDATION_START)
        early = starts["account"][(starts["account"] >= codes.FIRST_USER) & (starts["ts_ns"] < shock_ns)]
        if len(early):
            raise _Inadmissible(f"account {int(early[0])}, the first of {len(early)}, is liquidated before the shock")
        return made

    def settled_in(self, asset: str) -> list[int]:
        """Instruments of the feed that settle in an asset."""
        return [k for k in self.start if self.venue.instruments[k].settle == asset]

    def bidder_loss(self, asset: str) -> int:
        """What the bidder has less than it came with, at the marks of the end."""
        place = next(k for k, one in enumerate(self.venue.assets) if one.name == asset)
        return self.deposits.get(asset, 0) - int(self.exchange.equity(self.bidder.account, place))


class _Done(NamedTuple):
    session: _Session
    played: Played
    outcomes: np.ndarray


def run_study(
    scenario: Scenario,
    arms: list[Arm],
    seeds: range,
    bidder_share_ppm: int,
    open_feed: Callable[[Scenario], Tape],
    inputs: Inputs,
    progress: Progress,
) -> Made:
    """Run every arm on every draw, with feedback and without; a draw that one arm does not admit is in none.

    Raises
    ------
    ConfigError
        When an arm differs in more than its path, or no draw is admissible.
    InvariantError
        When a draw is not the same in two arms.
    """
    if scenario.population is None:
        raise ConfigError("$.population", "missing; there is nobody to liquidate")
    plans = [_drawn(scenario, seed, k) for k, seed in enumerate(seeds)]
    tapes = [open_feed(plan) for plan in plans]
    check_recorded_forced(scenario, tapes[0])
    levels = max(level_slots(tape.rows) for tape in tapes)
    ready, bidder = prepare(scenario, arms, inputs, levels)
    pairs, left_out, runs = list[Pair](), list[LeftOut](), list[Run]()
    for k, (plan, tape) in enumerate(zip(plans, tapes, strict=True)):

        def step(arm: Ready, k: int = k) -> None:
            progress((k + ready.index(arm) / len(ready)) / len(seeds), f"draw {k + 1} of {len(seeds)}, {arm.arm.name}")

        found = _run_draw(plan, tape, ready, _Bidder(bidder, bidder_share_ppm), inputs, step)
        if isinstance(found, LeftOut):
            left_out.append(found)
        else:
            pairs.append(found[0])
            runs += found[1]
    if not runs:
        raise ConfigError(
            "$.population",
            f"no draw of {len(seeds)} is admissible in every arm; the first: {left_out[0].why} ({left_out[0].arm}). "
            "Lower the leverage, or let the shock start earlier",
        )
    return Made(ready, bidder, pairs, left_out, runs)


def _drawn(scenario: Scenario, seed: int, tie_order: int) -> Scenario:
    """The scenario with one seed for feed, accounts and all else, and the ids of accounts in another order."""
    plan = with_seed(scenario, seed)
    assert plan.population is not None
    return msgspec.structs.replace(plan, population=msgspec.structs.replace(plan.population, tie_order=tie_order))


def _run_draw(
    plan: Scenario, tape: Tape, ready: list[Ready], bidder: _Bidder, inputs: Inputs, step: Callable[[Ready], None]
) -> tuple[Pair, list[Run]] | LeftOut:
    """One draw in every arm, or why it is in none."""
    assert plan.population is not None
    runs, seed, tie_order, seedings = list[Run](), plan.run.seed, plan.population.tie_order, list[str]()
    for arm in ready:
        step(arm)
        try:
            overlay, shadow = (_play(plan, arm, mode, tape, bidder, inputs) for mode in ("overlay", "shadow"))
        except _Inadmissible as error:
            return LeftOut(seed, arm.arm.name, str(error))
        seedings += [overlay.session.seeding, shadow.session.seeding]
        alone = {total.asset: total.liquidated_notional for total in shadow.played.totals}
        runs += [
            _run(seed, tie_order, arm.arm.name, total, alone[total.asset], overlay) for total in overlay.played.totals
        ]
    if len(set(seedings)) > 1:
        raise InvariantError(f"the draw of seed {seed}: population and shock are not the same in every arm")
    return Pair(seed, tie_order, tape.digest(), seedings[0]), runs


def _play(plan: Scenario, arm: Ready, mode: str, tape: Tape, bidder: _Bidder, inputs: Inputs) -> _Done:
    plan, variant = msgspec.structs.replace(plan, venue=arm.venue), Variant(plan.run.refills[0], mode)
    exchange: Any = Exchange(venue_for(plan, variant, level_slots(tape.rows), inputs))
    session = _Session(plan, tape, variant, 0, exchange, _Series(), lambda _: None, inputs)
    session.bidder = bidder
    played = session.run()
    return _Done(session, played, session.outcomes())


def _run(seed: int, tie_order: int, arm: str, total: Totals, alone: int, done: _Done) -> Run:
    """Figures of one asset in the run with feedback; `alone` is what the one without liquidated."""
    session, places = done.session, done.session.settled_in(total.asset)
    given = [figures.given_up(done.outcomes, session.instruments[k], k, session.start[k].mark_sub) for k in places]
    loss, value = (np.concatenate(columns) for columns in zip(*given, strict=True))
    whole = int(value.sum())
    recorder: Any = session.recorder
    rows = [row for row in recorder.rows if row["ts_ns"] > session.seeded_ns]
    fund = np.array([row["fund_equity"] for row in rows if row["instrument"] == places[0]])
    closed = np.array([[row["liquidated_notional"] for row in rows if row["instrument"] == k] for k in places])
    draw = Draw(
        seed,
        tie_order,
        arm,
        total.asset,
        total.fund_start - total.fund_end,
        max(0, total.fund_start - int(fund.min())),
        total.deficit_money,
        session.bidder_loss(total.asset),
        total.liquidated_notional,
        total.forced_notional,
        total.taken_notional,
        total.takeover_notional,
        total.adl_notional,
        int(loss.sum()) * PPM // whole if whole else None,
        total.liquidated_notional * PPM // alone if alone else None,
        total.contained_ms,
    )
    worth = value > 0
    slippage_ppm = np.rint(loss[worth] / value[worth] * PPM).astype(np.int64)
    return Run(draw, slippage_ppm, value[worth], fund - total.fund_start, np.cumsum(closed.sum(axis=0)))
