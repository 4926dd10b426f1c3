"""DET-1: equal configuration and events give equal outcomes, whatever the batch, the process, the flags or a copy."""

import pytest

from exchange.venue import Exchange
from tests.campaign_events import SECOND, make_events, make_venue
from tests.cold_compile import EVENTS, SEEDS, boundschecked, digests, run_python

SMALL = 400  # events that the interpreter can process in a moment
PRINT_DIGESTS = "import json; from tests.cold_compile import digests; print(json.dumps(digests({seeds}, {events})))"


@pytest.fixture(scope="module")
def expected():
    return digests()


@pytest.mark.parametrize("batch", [1, 7, 64, 4_096])
def test_outcomes_do_not_depend_on_how_the_input_is_cut(batch, expected):
    assert digests(batch=batch) == expected


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_a_fresh_process_gives_the_same_digest_under_any_hash_seed(hash_seed, expected):
    assert run_python(["-c", PRINT_DIGESTS.format(seeds=SEEDS, events=EVENTS)], PYTHONHASHSEED=hash_seed) == expected


def test_interpreted_kernels_give_the_same_digest():
    interpreted = run_python(["-W", "error::RuntimeWarning", "-c", PRINT_DIGESTS.format(seeds=SEEDS, events=SMALL)],
                             NUMBA_DISABLE_JIT="1")
    assert interpreted == digests(events=SMALL)


def test_kernels_with_bounds_checks_give_the_same_digest(expected):
    assert boundschecked()["digests"] == expected


def test_digests_tell_seeds_and_lengths_apart(expected):
    assert len({*expected.values(), *digests(events=EVENTS // 2).values()}) == 2 * len(SEEDS)


def finished(exchange, events):
    exchange.run(int(events["ts_ns"].max()) + SECOND)
    exchange.audit()
    return exchange.digest(), exchange.state_digest(), exchange.events_processed


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("cut", [1, EVENTS // 3, EVENTS - 1])
def test_a_copy_that_goes_on_equals_the_run_that_was_never_interrupted(seed, cut):
    venue = make_venue(seed)
    events = make_events(venue, seed, EVENTS)
    whole = Exchange(venue)
    whole.submit(events)
    whole.run()
    halted = Exchange(venue)
    halted.submit(events[:cut])
    halted.run()
    twin = halted.copy()
    before = halted.digest(), halted.state_digest()
    twin.submit(events[cut:])
    twin.run()
    assert (halted.digest(), halted.state_digest()) == before, "what happened to the copy happened here"
    halted.submit(events[cut:])
    halted.run()
    assert finished(twin, events) == finished(halted, events) == finished(whole, events)


def test_a_copy_takes_queued_events_and_undrained_outcomes_along():
    venue = make_venue(SEEDS[0])
    events = make_events(venue, SEEDS[0], EVENTS)
    exchange = Exchange(venue)
    exchange.submit(events)
    exchange.run(int(events["ts_ns"][EVENTS // 2]))
    twin = exchange.copy()
    exchange.run()
    twin.run()
    assert exchange.outcomes().tobytes() == twin.outcomes().tobytes()
    assert finished(twin, events) == finished(exchange, events)
