"""Random streams, differential and audited. A swarm profile switches event kinds off, crowds prices, shrinks pools.

One seed is one profile: mixes find what equal weights miss (a cancel-free, crowded, tiny world is common here).
"""

from collections import Counter
from typing import Any

import msgspec
import numpy as np

from exchange import codes, config
from exchange.allocation import outcomes_per_order
from exchange.book_stream import Book
from exchange.dump import dump
from exchange.errors import InvariantError
from exchange.venue import Exchange
from tests.campaign.report import Budget, Part
from tests.campaign.twin import reach_of
from tests.campaign_events import Stream, generator, make_events, make_venue
from tests.differential import first_difference, run_reference, state_differences

BATCH = 32
REPEATED = 20  # one run in so many is repeated
PRICED = (codes.NEW, codes.AMEND, codes.LEVEL_SET, codes.TRADE_PRINT)
ALWAYS = ("new", "prices", "ladder")  # without these nothing else means anything


def swarm_table(seed: int) -> dict[str, Any]:
    """The seed's venue, often with small pools."""
    rng = generator(seed, 3)
    venue = make_venue(seed)
    table = config.to_table(venue)
    if rng.random() < 0.35:
        orders = int(rng.integers(2, 60))
        table["capacity"] = {"accounts": int(rng.integers(8, 24)), "positions": int(rng.integers(4, 40)),
                             "orders": orders, "external_levels": int(rng.integers(2, 40)),
                             "outcomes": outcomes_per_order(venue) * orders + codes.OUTCOMES_PER_STEP}
    return table


class Swarm(Stream):
    """A stream with features drawn on or off, random rates, and prices snapped to a grid that is often coarse."""

    def __init__(self, venue: config.Venue, seed: int):
        super().__init__(venue, seed)
        kept = self.rng.random(len(self.makers)) < self.pick(0.35, 0.7, 1.0)
        kept |= np.array([maker.__name__ in ALWAYS for maker in self.makers])
        rates = self.chances * kept * np.exp(self.rng.normal(0, 1, len(self.makers)))
        self.chances = rates / rates.sum()
        self.grid = self.pick(1, 40, 40, 40)
        self.reducing = self.pick(0.0, 0.3, 1.0)
        self.tagged = self.chance(0.3)

    def new(self) -> None:
        for _ in range(self.whole(1, 4) if self.grid > 1 else 1):
            super().new()

    def put(self, kind: int, **fields: int) -> None:
        rests = kind == codes.NEW and fields.get("time_in_force", codes.GTC) == codes.GTC
        if self.grid > 1 and rests and self.chance(0.9):
            away, fields["qty"] = self.whole(0, self.grid // 2), min(fields["qty"], self.whole(1, 4))
            fields["price"] = round(self.fair[fields["instrument"]]) + (away if fields["side"] == codes.ASK else -away)
        if self.grid > 1 and kind in PRICED and fields["price"] > 0:
            up = fields.get("side", 0) == codes.ASK
            fields["price"] = max(1, (fields["price"] + (self.grid - 1 if up else 0)) // self.grid * self.grid)
        if kind == codes.NEW and fields["flags"] & codes.REDUCE_ONLY and not self.chance(self.reducing):
            fields["flags"] ^= codes.REDUCE_ONLY
        if self.tagged and self.chance(0.1):
            fields["liquidation_id"] = self.whole(1, 9)
        super().put(kind, **fields)


def make(profile: str, seed: int, count: int) -> tuple[config.Venue, np.ndarray]:
    """Venue and events of a seed under the profile `plain` or `swarm`."""
    if profile == "plain":
        venue = make_venue(seed)
        return venue, make_events(venue, seed, count)
    venue = config.build_venue(swarm_table(seed))
    return venue, Swarm(venue, seed).take(count)


def run_core(venue: config.Venue, events: np.ndarray, audit_every: int) -> tuple[Exchange, list, Counter]:
    """Exchange, outcomes and queue depths of the kernels, audited in full every so many batches. The book is published
    and built again from its changes; the reference, which publishes nothing, must have the same outcomes."""
    exchange, outcomes, depths = Exchange(msgspec.structs.replace(venue, publish_book=True)), [], Counter()
    book = Book()
    for k, start in enumerate(range(0, len(events), BATCH)):
        exchange.submit(events[start:start + BATCH])
        exchange.run()
        outcomes += exchange.outcomes().tolist()
        book.apply(exchange.book_changes())
        if k % audit_every == 0:
            exchange.audit()
            assert_rebuilt(exchange, book)
            counts = exchange.state.book.levels["count"]
            depths["levels seen"] += int(np.count_nonzero(counts))
            depths["levels of three or more orders"] += int(np.count_nonzero(counts >= 3))
    exchange.run(int(events["ts_ns"][-1]) + 1)
    exchange.audit()
    book.apply(exchange.book_changes())
    assert_rebuilt(exchange, book)
    return exchange, outcomes + exchange.outcomes().tolist(), depths


def assert_rebuilt(exchange: Exchange, book: Book) -> None:
    """Is a book that was built from the published changes the venue's, order by order?"""
    for k in range(len(exchange.books)):
        for side in (codes.BID, codes.ASK):
            shown = [(ticks, (order_id, account, leaves)) for order_id, _, _, account, ticks, leaves
                     in exchange.book_orders(k, side).tolist()]
            assert book.orders(k, side) == shown, f"instrument {k} side {side}: the rebuilt book differs"


def differ(profile: str, seed: int, count: int, audit_every: int = 8) -> tuple[str, Counter]:
    """Digest and reach of one seed; raises with the first difference of kernels and reference, or broken rule."""
    venue, events = make(profile, seed, count)
    exchange, core, reached = run_core(venue, events, audit_every)
    reference, state = run_reference(venue, events)
    difference = first_difference(core, reference, events)
    assert not difference, difference
    differences = state_differences(dump(exchange.state), state)
    assert not differences, "states differ\n" + "\n".join(differences[:12])
    return exchange.digest(), reached + reach_of(core) + timers_of(exchange)


def timers_of(exchange: Exchange) -> Counter:
    """How many timers fired, by the kernels' own counters."""
    control = exchange.state.io.control[0]
    return Counter({"timers fired": int(control["timer_seq"]) - int(control["timer_count"])})


def audited(profile: str, seed: int, count: int) -> None:
    """The kernels alone with a full audit after every event."""
    venue, events = make(profile, seed, count)
    exchange = Exchange(venue)
    for k in range(len(events)):
        exchange.submit(events[k:k + 1])
        exchange.run()
        try:
            exchange.audit()
        except InvariantError as error:
            raise InvariantError(f"after event {k + 1}: {error}") from None


def campaign(seed: int, budget: Budget, count: int = 3_000) -> Part:
    """Seeds from `seed` on, every fourth under the plain profile; some are repeated and must agree in everything."""
    part = Part("streams")
    repeated = 0
    while budget.left(part.runs):
        now = seed + part.runs
        profile = "plain" if part.runs % 4 == 0 else "swarm"
        try:
            digest, reached = differ(profile, now, count)
            if part.runs % REPEATED == part.runs // REPEATED % 4:  # each time another place among plain and swarm
                repeated += 1
                assert differ(profile, now, count) == (digest, reached), "a repeat gives another digest or counters"
        except Exception as error:  # noqa: BLE001 - whatever it was, the campaign reports it by seed
            part.fail(f"profile {profile} seed {now} events {count}", error)
            case = {"note": f"{error}"[:200], "profile": profile, "seed": now, "events": count}
            part.cases[f"{profile}-{now}"] = case
            continue
        part.take(count, reached)
    deep, seen = part.reached.pop("levels of three or more orders", 0), part.reached.pop("levels seen", 1)
    part.note = f"{part.reached['outcome LIQUIDATION_START']} liquidations, "
    part.note += f"{part.reached['outcome ADL'] // 2} ADL closes, {100 * deep // seen} % of levels with 3+ orders, "
    part.note += f"{repeated} repeated"
    if part.runs >= REPEATED and 20 * deep < seen:
        part.failures.append(f"streams: only {deep} of {seen} levels hold three orders or more")
    part.seconds = budget.spent()
    return part
