"""What-if reads on the campaign's venues: they say what the venue says, and change no byte of it."""

import numpy as np

from exchange import schema, stress
from exchange.codes import FIRST_USER, SET_TIERS
from exchange.core.views import unit_equity, unit_health
from exchange.switch import switched
from exchange.venue import Exchange
from tests.desk import every_byte
from tests.differential import world

SHOCKS_PPM = (-90_000, 120_000)


def lived(seed: int, events: int = 250) -> Exchange:
    """A venue of the campaign after its stream."""
    venue, rows = world(seed, events)
    exchange = Exchange(venue)
    exchange.submit(rows)
    exchange.run()
    exchange.outcomes()
    return exchange


def reads(seed: int) -> None:
    """Units at today's marks, at others, after trades and payments, and under the same rules and other tiers."""
    exchange = lived(seed)
    before, live = every_byte(exchange.state), stress.live_units(exchange.state)
    same_as_the_venue(exchange, live)
    copy, count = stress.tradable(exchange.state), len(exchange.venue.instruments)
    for shock in SHOCKS_PPM:
        marks = stress.shocked(exchange.state, [shock] * count)
        equity, required = stress.numbers_at(stress.movable(exchange.state), live.number, marks)
        for k in np.flatnonzero(equity < required)[:3].tolist():
            bench = stress.Bench(exchange.state, copy, int(live.number[k]), live.legs(k).tolist(), marks)
            assert bench.health_with(0) == equity[k] - required[k]
            assert bench.health_with(bench.deposit()) >= 0
            assert bench.health_with(0) == equity[k] - required[k], "a trial begins where the venue stands"
    same = switched(exchange, exchange.venue)
    assert not same.breaches.any() and (same.equity_before == same.equity_after).all(), "the same rules"
    assert (same.required_before == same.required_after).all(), "the same rules"
    as_sent(exchange)
    after = every_byte(exchange.state)
    assert [name for name in before if before[name] != after[name]] == [], "a read changed the venue"


def same_as_the_venue(exchange: Exchange, live: stress.Units) -> None:
    """Units of no option: what a short of those holds is of its last refresh there, of today's forward here."""
    state = exchange.state
    equity, required = stress.numbers_at(stress.movable(state), live.number, stress.marks_of(state))
    option = state.prices.instruments["option"][state.ledger.positions["instrument"]] != 0
    for k, number in enumerate(live.number.tolist()):
        if not option[live.legs(k)].any():
            assert (equity[k], equity[k] - required[k]) == (unit_equity(state, number), unit_health(state, number))
    assert (live.account(state) >= FIRST_USER).all()


def as_sent(exchange: Exchange) -> None:
    """Each other tier table of the first instrument that has some, as a SET_TIERS makes it."""
    rows = exchange.state.prices.margins
    for k in np.flatnonzero(rows["set_count"] > 1)[:1].tolist():
        for chosen in range(int(rows[k]["set_count"])):
            made, sent = switched(exchange, exchange.venue, {k: chosen}), exchange.copy()
            record = sent.state.prices.instruments[k]
            sent.submit(schema.events({"ts_ns": sent.clock_ns, "kind": SET_TIERS, "instrument": k, "qty": chosen}))
            sent.run()
            assert int(record["tier_count"]) == int(made.after.prices.instruments[k]["tier_count"])
            assert sent.state.prices.margins[k]["tier_set"] == chosen
            tier, other = (p.tiers[p.instruments[k]["tier_base"]] for p in (sent.state.prices, made.after.prices))
            assert tier == other
