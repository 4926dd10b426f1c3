"""Runs a scenario: the tape up to the seeding moment, then population and shocks on it, interval by interval."""

import hashlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from exchange import codes, schema
from exchange.config import Venue
from exchange.errors import ConfigError, FeedError, InvariantError
from exchange.rows import joined
from replay import __version__, figures, holdings, index, population, seeding, shock, ties
from replay.figures import Figures, Totals
from replay.inputs import NO_INPUTS, Inputs, open_inputs
from replay.plays import Played, Variant, plays_of, sensitivity
from replay.population import Population, Site
from replay.recorder import NullRecorder, Recorder
from replay.scenario import Scenario
from replay.seeding import Seeded
from replay.summary import Summary
from replay.tape import Tape, active_instruments, level_slots, recorded_forced_share
from replay.times import recorded_until

NS_PER_MS = 1_000_000
DEPTH_PPM = 10_000  # the 1 % depth that open interest is stated against
RECORDED_FORCED_MAX = 0.05  # above this share the recording is itself a cascade

Progress = Callable[[float, str], None]


class Results(msgspec.Struct, frozen=True):
    """A whole experiment. `elapsed_s` is wall time and no part of what is compared."""

    run_id: str
    tape_digest: str
    recorded_forced_share: float
    index: list[str]  # how each instrument came by its index
    recorded_until: list[str]  # of instruments whose recorded book ends before the tape does
    population: Summary | None
    figures: tuple[Figures, ...]
    totals: tuple[Totals, ...]  # by settlement asset
    amplification: list[dict[str, Any]]  # by instrument, then of each asset that several settle in
    sensitivity: list[dict[str, Any]]  # amplification rows with other size truncations
    elapsed_s: float


def run_id(scenario: Scenario, tape_digest: str, inputs_digest: str = "") -> str:
    """Hash of the configuration, the tape, the population's files and the version: equal ids mean equal results."""
    table = scenario.table()
    del table["feed"]["files"], table["feed"]["index"]  # the digests stand for them
    if scenario.population is not None:
        del table["population"]["history"], table["population"]["accounts_from"]
    text = msgspec.json.encode([table, tape_digest, inputs_digest, __version__])
    return hashlib.sha256(text).hexdigest()[:16]


def venue_for(scenario: Scenario, variant: Variant, levels: int, inputs: Inputs = NO_INPUTS) -> Venue:
    """The scenario's venue with the variant's policies, and pools that hold the population and `levels` of the tape."""
    venue, replace = scenario.venue, msgspec.structs.replace
    accounts = shock.accounts_needed(scenario.shocks)
    positions = accounts
    if scenario.population is not None and inputs.accounts is not None:
        accounts += holdings.accounts_needed(inputs.accounts, scenario.population)
        positions += accounts + len(inputs.accounts.lots) + scenario.population.hedgers * len(venue.instruments)
    elif scenario.population is not None:
        accounts += population.accounts_needed(scenario.population)
        positions += population.positions_needed(scenario.population)
    # An external level holds an order slot too.
    capacity = replace(
        venue.capacity,
        accounts=max(venue.capacity.accounts, accounts),
        positions=max(venue.capacity.positions, positions + 64),
        orders=venue.capacity.orders + levels,
        external_levels=max(venue.capacity.external_levels, levels + 1),
    )
    return replace(
        venue,
        capacity=capacity,
        depth=replace(venue.depth, refill=variant.refill),
        liquidation=replace(venue.liquidation, mode=variant.mode),
    )


def check_recorded_forced(scenario: Scenario, tape: Tape) -> float:
    """Share of the recorded volume that is forced; a recording that is a cascade itself is refused in overlay."""
    forced = recorded_forced_share(tape.rows)
    if forced > RECORDED_FORCED_MAX and "overlay" in scenario.run.modes and not scenario.run.allow_recorded_forced:
        raise ConfigError(
            "$.run.allow_recorded_forced",
            f"{forced:.1%} of the recorded volume is forced: the recording is a cascade "
            "itself, and accounts on top of it are counted twice; set it to true to run all the same",
        )
    return forced


def run_scenario(
    scenario: Scenario,
    tape: Tape,
    recorder: Recorder | NullRecorder | None = None,
    progress: Progress = lambda share, text: None,
    make_exchange: Callable[[Venue], Any] | None = None,
    inputs: Inputs | None = None,
) -> Results:
    """Run every variant of a scenario on one tape; `inputs` are read where they are not given.

    Raises
    ------
    ConfigError, FeedError
        When population or shocks do not fit the venue, or the tape never shows a two-sided book and a mark.
    InvariantError
        When the venue refuses a seeding event or fails its own audit.
    """
    if make_exchange is None:
        from exchange.venue import Exchange

        make_exchange = Exchange
    inputs = open_inputs(scenario) if inputs is None else inputs
    started = time.perf_counter()
    forced = check_recorded_forced(scenario, tape)
    plays, levels = plays_of(scenario), level_slots(tape.rows)
    played: list[Played] = []
    for k, play in enumerate(plays):

        def step(share: float, k: int = k, label: str = play.variant.label) -> None:
            progress((k + share) / len(plays), label)

        exchange = make_exchange(venue_for(play.scenario, play.variant, levels, inputs))
        into = recorder if play.number is not None and recorder is not None else NullRecorder()
        session = Session(play.scenario, tape, play.variant, play.number or 0, exchange, into, step, inputs)
        played.append(session.run())
    numbered = [made for play, made in zip(plays, played, strict=True) if play.number is not None]
    own = tuple(one for made in numbered for one in made.figures)
    totals = tuple(one for made in numbered for one in made.totals)
    assets = [one.asset for one in played[0].figures]
    shared = [one for one in totals if assets.count(one.asset) > 1]
    digest = tape.digest()
    return Results(
        run_id(scenario, digest, inputs.digest()),
        digest,
        forced,
        index.describe(tape),
        recorded_until(tape),
        played[0].summary,
        own,
        totals,
        figures.amplification([*own, *shared]),
        sensitivity(plays, played) if any(play.number is None for play in plays) else [],
        time.perf_counter() - started,
    )


class _Now(NamedTuple):
    """Of one instrument at one moment."""

    mark_sub: int
    open_interest: int
    fund: int
    hedger_equity: int


class Session:
    """One variant from the tape's start to its end."""

    def __init__(
        self,
        scenario: Scenario,
        tape: Tape,
        variant: Variant,
        number: int,
        exchange: Any,
        recorder: Recorder | NullRecorder,
        step: Callable[[float], None],
        inputs: Inputs,
    ):
        self.scenario, self.variant, self.number = scenario, variant, number
        self.rows, self.recorder, self.step, self.inputs = tape.rows, recorder, step, inputs
        self.venue, self.exchange = scenario.venue, exchange
        self.instruments = self.exchange.compiled.instruments
        self.active = active_instruments(tape.rows)
        self.interval_ns = scenario.run.interval_ms * NS_PER_MS
        self.seeded: Seeded | None = None
        self.shock_rows = np.zeros(0, schema.EVENT)
        self.next_row = self.next_shock = self.processed = 0
        self.kept: list[np.ndarray] = []
        self.rejected: dict[str, int] = {}
        self.outcome_count = 0
        self.start: dict[int, _Now] = {}

    def run(self) -> Played:
        """Play the whole tape and compute the figures of each instrument in it."""
        if not len(self.rows):
            raise FeedError("tape", "no events; nothing to replay")
        stamps = self.rows["ts_ns"]
        first, last = int(stamps[0]), int(stamps[-1])
        at = first // self.interval_ns * self.interval_ns
        earliest = first + self.scenario.run.seed_after_ms * NS_PER_MS
        while at <= last:
            if not self.start and at >= earliest and self._is_ready():
                self._begin(at, last)
            at += self.interval_ns
            self._advance(at)
            self.step((at - first) / (last + 1 - first))
        if not self.start:
            raise FeedError(
                "tape",
                "no moment with bids, asks and a mark price after seed_after_ms; expected a book snapshot "
                "and index events, see `deleverage validate`",
            )
        return self._figures()

    def _is_ready(self) -> bool:
        """Bids, asks and a mark in every instrument of the tape: the population can be seeded."""
        marks = self.exchange.markets["mark_sub"]
        return bool(self.active) and all(marks[k] > 0 and all(self.exchange.best(k)) for k in self.active)

    def _site(self, instrument: int, at: int) -> Site:
        sides = (codes.BID, codes.ASK)
        depth = sum(int(self.exchange.depth_lots(instrument, side, DEPTH_PPM)) for side in sides) // 2
        return Site(instrument, at, int(self.exchange.markets[instrument]["mark_sub"]), depth)

    def _begin(self, at: int, last: int) -> None:
        """Seed population and shocks at `at`, and note what the figures start from."""
        exchange, scenario = self.exchange, self.scenario
        self.kept.clear()  # figures begin here
        sites = [self._site(k, at) for k in self.active]
        blocks = []
        if scenario.population is not None:
            self.seeded = self._seed(scenario.population, sites)
            people, traders = scenario.population, self.seeded.traders
            blocks.append(ties.permuted(self.seeded.events, traders, people.seed or 0, people.tie_order))
            sites = [msgspec.structs.replace(site, first_account=self.seeded.next_account) for site in sites]
        rows = shock.shock_events(scenario.shocks, self.venue, exchange.compiled, sites)
        if len(rows) and int(rows["ts_ns"][-1]) > last:
            late = (int(rows["ts_ns"][-1]) - last) / 1e9
            raise ConfigError(
                "$.shocks",
                f"the last shock event comes {late:.1f} s after the end of the tape, which plays "
                f"{(last - at) / 1e9:.1f} s "
                "after seeding; lower start_ms or over_ms, or seed earlier",
            )
        funding = rows["ts_ns"] == at  # external traders are funded with the population
        blocks.append(rows[funding])
        self.shock_rows = rows[~funding]
        exchange.submit(np.concatenate(blocks))
        # Without `until` no timer of this moment fires before the tape's own rows of it.
        exchange.run()
        self._check_seeding(self._take())
        self.start = {k: self._now(k) for k in self.active}

    def _seed(self, people: Population, sites: list[Site]) -> Seeded:
        """The population, read where the scenario names a file of accounts, else drawn."""
        compiled, inputs = self.exchange.compiled, self.inputs
        if inputs.accounts is not None:
            return holdings.seed_accounts(inputs.accounts, people, self.venue, compiled, sites, self.exchange)
        by_symbol = {self.venue.instruments[site.instrument].symbol: site for site in sites}
        missing = [symbol for symbol in people.instruments if symbol not in by_symbol]
        if missing:
            raise ConfigError(
                "$.population.instruments", f"the feed has {', '.join(by_symbol)}, and no book of {', '.join(missing)}"
            )
        chosen = [by_symbol[symbol] for symbol in people.instruments] or sites[:1]
        return seeding.seed_population(people, self.venue, compiled, chosen, inputs.klines, self.exchange)

    def _check_seeding(self, outcomes: np.ndarray) -> None:
        results = figures.of_kind(outcomes, codes.RESULT)
        bad = results[results["code"] >= codes.UNSUPPORTED_KIND]
        # A liquidation starts with a timer, and no timer has fired yet: the outcomes cannot show it.
        unhealthy = self.exchange.liquidating()
        if len(bad):
            raise InvariantError(
                f"seeding: {len(bad)} of {len(results)} events refused, "
                f"the first for account {int(bad['account'][0])}: "
                f"{codes.RESULT_TEXT[int(bad['code'][0])]}"
            )
        if unhealthy:
            raise InvariantError(
                f"seeding: {len(unhealthy)} accounts would be liquidated at once, the first {unhealthy[0]}; "
                "every account must start healthy"
            )

    def _advance(self, until: int) -> None:
        """Submit tape and shock rows before `until`, tape first at equal stamps, and run to it."""
        end = self.next_row + int(np.searchsorted(self.rows["ts_ns"][self.next_row :], until))
        shock_end = self.next_shock + int(np.searchsorted(self.shock_rows["ts_ns"][self.next_shock :], until))
        rows = self.rows[self.next_row : end]
        if shock_end > self.next_shock:
            rows = np.concatenate((rows, self.shock_rows[self.next_shock : shock_end]))
            rows = rows[np.argsort(rows["ts_ns"], kind="stable")]
        self.next_row, self.next_shock = end, shock_end
        if len(rows):
            self.exchange.submit(rows)
        self.exchange.run(until)
        outcomes = self._take()
        if self.scenario.run.audit:
            self.exchange.audit(full=True)
        processed = int(self.exchange.events_processed)
        self._record(until, outcomes, processed - self.processed)
        self.processed = processed

    def _take(self) -> np.ndarray:
        """Drain the outcomes to the recorder, and keep those that figures need."""
        outcomes: np.ndarray = self.exchange.outcomes()
        self.outcome_count += len(outcomes)
        figures.count_rejected(outcomes, self.rejected)
        self.recorder.outcomes(self.number, outcomes)
        if self.venue.publish_book:
            self.recorder.book_changes(self.number, self.exchange.book_changes())
        self.kept.append(figures.keep(outcomes))
        return outcomes

    def _record(self, at: int, outcomes: np.ndarray, events: int) -> None:
        """One series row an instrument."""
        exchange = self.exchange
        for k in range(len(self.venue.instruments)):
            own = outcomes[outcomes["instrument"] == k]
            starts = figures.of_kind(outcomes, codes.LIQUIDATION_START)
            bid, ask = (int(x) for x in exchange.best(k))
            market = exchange.markets[k]
            self.recorder.series(
                {
                    "variant": self.number,
                    "ts_ns": at,
                    "instrument": k,
                    "last_ticks": int(market["last_ticks"]),
                    "mark_sub": int(market["mark_sub"]),
                    "index_sub": int(market["index_sub"]),
                    "bid_ticks": bid,
                    "ask_ticks": ask,
                    "spread_ticks": ask - bid if bid and ask else 0,
                    "bid_depth_lots": int(exchange.depth_lots(k, codes.BID, DEPTH_PPM)),
                    "ask_depth_lots": int(exchange.depth_lots(k, codes.ASK, DEPTH_PPM)),
                    "open_interest_lots": int(market["open_interest_lots"]),
                    "fund_equity": int(exchange.fund_equity(int(exchange.compiled.instruments[k]["asset"]))),
                    "liquidated_notional": figures.liquidated_notional(own, self.instruments),
                    "liquidations": len(starts) if k == 0 else 0,  # a cross account belongs to no single instrument
                    "events": events if k == 0 else 0,
                }
            )

    def _now(self, instrument: int) -> "_Now":
        """Mark and open interest of an instrument, fund and hedgers of its settlement asset."""
        exchange, market = self.exchange, self.exchange.markets[instrument]
        asset = int(self.instruments[instrument]["asset"])
        hedgers = self.seeded.hedgers if self.seeded else range(0)
        return _Now(
            int(market["mark_sub"]),
            int(market["open_interest_lots"]),
            int(exchange.fund_equity(asset)),
            sum(int(exchange.equity(account, asset)) for account in hedgers),
        )

    def _figures(self) -> Played:
        exchange, audited = self.exchange, self.scenario.run.audit
        exchange.audit(full=audited)
        variant = {"refill": self.variant.refill, "mode": self.variant.mode}
        whole_run = variant | {
            "events": int(exchange.events_processed),
            "outcomes": self.outcome_count,
            "rejected": self.rejected,
            "digest": exchange.digest(),
            "state_digest": exchange.state_digest() if audited else "",
        }
        outcomes, count = joined(self.kept, schema.OUTCOME), len(self.start)
        made, by_asset = [], dict[str, list[int]]()
        for k, start in self.start.items():
            now, spec = self._now(k), self.venue.instruments[k]
            by_asset.setdefault(spec.settle, []).append(k)
            rest = (whole_run | self._money(k)) | {
                "symbol": spec.symbol,
                "open_interest_start": start.open_interest,
                "open_interest_end": now.open_interest,
                "crossed_levels": int(exchange.books[k]["crossed_levels"]),
            }
            own = figures.of_instruments(outcomes, [k], count)
            made.append(figures.compute_figures(own, self.instruments, k, start.mark_sub, rest))
        totals = [
            Totals(
                symbol="all",
                **variant,
                **self._money(places[0]),
                **figures.compute_closed(figures.of_instruments(outcomes, places, count), self.instruments),
            )
            for places in by_asset.values()
        ]
        return Played(tuple(made), tuple(totals), self.seeded.summary if self.seeded else None)

    def _money(self, instrument: int) -> dict[str, Any]:
        """Fund and hedgers of an instrument's settlement asset."""
        start, now = self.start[instrument], self._now(instrument)
        return {
            "asset": self.venue.instruments[instrument].settle,
            "fund_start": start.fund,
            "fund_end": now.fund,
            "hedger_pnl": now.hedger_equity - start.hedger_equity,
        }
