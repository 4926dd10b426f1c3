"""DET-1: equal configuration and events give one digest, in every column of the matrix (tests/determinism)."""

import pytest

from exchange import codes, schema
from exchange.venue import FOREVER_NS, Exchange
from tests.campaign_events import SECOND
from tests.cold_compile import cold, run_python
from tests.determinism import golden, is_repeated, play, repeat_differences
from tests.determinism.columns import COLUMNS, IN_PROCESS, PROCESSES, baseline, disagreements, in_process, run_columns
from tests.determinism.scenarios import COUNT, campaign, scenarios

PRINT_FLAGS = """
import json
from numba.core import config
from exchange.core import kernel
print(json.dumps({"jit": not config.DISABLE_JIT, "hash": hash("a"),
                  "key": kernel.module_digest("exchange/core/loop.py"), "bounds": bool(config.BOUNDSCHECK),
                  "processor": config.CPU_NAME, "opt": int(config.OPT)}))
"""


@pytest.fixture(scope="module")
def worlds():
    return scenarios()


@pytest.fixture(scope="module")
def expected(worlds):
    return baseline(worlds)


@pytest.fixture(scope="module")
def matrix():
    return dict(run_columns())


@pytest.mark.parametrize("column", COLUMNS)
def test_every_scenario_has_one_digest(column, matrix, expected):
    assert len(expected) == COUNT >= 20
    assert disagreements(expected, matrix[column]) == {}


def test_the_scenarios_differ_and_reach_every_kind_of_outcome(expected):
    assert len({play.result_digest(each) for each in expected.values()}) == COUNT
    given = {name for each in expected.values() for name in each["given"]}
    assert {name.split()[0] for name in given} == set(codes.OUTCOME_NAME.values())
    pools = {"RESULT ORDERS_FULL", "RESULT POSITIONS_FULL", "RESULT EXTERNALS_FULL"}
    assert pools | {"LIQUIDATION_END RECOVERED", "CANCELLED CANCELLED_BY_LIQUIDATION", "RESULT OUT_OF_ORDER"} <= given


def test_records_that_digests_are_made_of_have_no_padding():
    """What lies between two fields is nobody's, so it need not be equal."""
    for layout in (schema.EVENT, schema.OUTCOME):
        assert layout.itemsize == sum(layout[name].itemsize for name in layout.names)


# --- each column can fail -----------------------------------------------------------------------------------------


class Remembers(Exchange):
    """Something of one run is left for the next."""

    runs = 0

    def __init__(self, venue):
        super().__init__(venue)
        Remembers.runs += 1
        self.state.io.control[0]["outcome_seq"] = Remembers.runs


class RunsAhead(Exchange):
    """Timers due in the second after a batch fire with the batch, before what the next one brings."""

    def run(self, until=None):
        super().run()
        return super().run(self.clock_ns + SECOND if until is None else until)


class ForgetsTheQueue(Exchange):
    """A run that stops at a moment fires timers due before it although queued events come first."""

    def _run_array(self, events, until_ns, horizon_ns):
        return super()._run_array(events, until_ns, horizon_ns if until_ns == FOREVER_NS else until_ns)


class Shares(Exchange):
    """A copy has its prices in common with what it was made from, but for what names slots of the ledger."""

    def copy(self):
        twin = super().copy()
        prices = self.state.prices._replace(auctions=twin.state.prices.auctions)
        twin.state = twin.state._replace(prices=prices)
        return twin


class WalksSlots(Exchange):
    """The digest of the state follows the slots, which accounts got in the order they came."""

    def state_digest(self):
        return play.digest_of(self.state.ledger.positions["lots"].tobytes())


@pytest.mark.parametrize("column, flaw", [
    ("twice", Remembers), ("batch 1", RunsAhead), ("batch 7", RunsAhead), ("batch 64", RunsAhead),
    ("batch 4096", RunsAhead), ("stops", ForgetsTheQueue), ("resume", Shares), ("reversed", WalksSlots)])
def test_a_column_sees_the_flaw_that_it_is_there_for(column, flaw, worlds, monkeypatch):
    monkeypatch.setattr(play, "Exchange", flaw)
    few = [world for world in worlds if world.name in ("campaign 8", "campaign of 9,000 events")]
    assert disagreements(baseline(few), in_process(column, few))


def test_there_is_a_flaw_for_every_column_of_this_process():
    marked = test_a_column_sees_the_flaw_that_it_is_there_for.pytestmark[0].args[1]
    assert [column for column, _ in marked] == list(IN_PROCESS)


def test_columns_of_other_processes_run_under_their_flags():
    seen = {column: run_python(["-c", PRINT_FLAGS], **flags) for column, flags in PROCESSES.items()}
    assert [column for column in seen if not seen[column]["jit"]] == ["interpreted"]
    assert [column for column in seen if seen[column]["bounds"]] == ["bounds and generic"]
    assert [column for column in seen if seen[column]["processor"] == "generic"] == ["bounds and generic"]
    assert [column for column in seen if seen[column]["opt"] == 0] == ["opt 0"]
    assert seen["hash seed 0"]["hash"] != seen["hash seed 1"]["hash"]
    own_code = {seen[column]["key"] for column in ("process", "bounds and generic", "opt 0")}
    assert len(own_code) == 3, "compiled code of one column is another's"


def test_a_warm_cache_is_loaded_and_nothing_is_compiled():
    assert cold(COUNT)["written_when_warm"] == []


def test_the_cache_is_private():
    assert cold(COUNT)["rights"] == ["0o700"]


def test_run_and_every_kernel_are_compiled_without_reference_counting():
    report = cold(COUNT)
    assert report["run_versions"] == 1, "run is compiled for one signature"
    assert report["run_length"] > 100_000, "the text of run was not there to be read"
    assert report["counting"] == []


def test_no_kernel_types_anything_as_a_float_but_black_76():
    report = cold(COUNT)
    assert report["typed"] > 100, "the compiled functions were not there to be read"
    assert {place.split(":")[0].rpartition(".")[0] for place in report["floats"]} == {"exchange.core.black76"}


# --- golden digests ---------------------------------------------------------------------------------------------


def test_golden_digests_are_those_of_today(worlds):
    version, written = golden.read()
    assert golden.changed(written, golden.golden_of(worlds)) == [], (
        f"golden version {version} is not what comes out: if it is meant, say what changed with "
        "python -m tests.determinism --write-golden 'what changed'")


def test_the_golden_version_has_its_line_in_the_list_of_changes():
    version, written = golden.read()
    lines = golden.change_lines(golden.CHANGES.read_text(encoding="utf-8"))
    assert [number for number, _ in lines] == list(range(1, version + 1))
    assert lines[-1] == (version, play.digest_of_table(written))


def test_writing_golden_digests_raises_the_version_and_adds_a_line_only_when_something_changed(tmp_path, worlds):
    file, changes = tmp_path / "golden.json", tmp_path / "CHANGES.md"
    changes.write_text("# Changes\n\n", encoding="utf-8")
    new = golden.golden_of(worlds[:2])
    other = {**new, "scenarios": {**new["scenarios"], worlds[0].name: {"config": "", "input": "", "digest": ""}}}
    assert [golden.write(each, "why", file, changes) for each in (new, new, other)] == [1, 1, 2]
    assert golden.read(file) == (2, other)
    assert golden.change_lines(changes.read_text(encoding="utf-8")) == [
        (1, play.digest_of_table(new)), (2, play.digest_of_table(other))]


@pytest.mark.parametrize("part", ["config", "input", "digest"])
def test_a_golden_difference_names_the_scenario_and_the_part(part, worlds):
    new = golden.golden_of(worlds[:2])
    name = worlds[1].name
    old = {**new, "scenarios": {**new["scenarios"], name: {**new["scenarios"][name], part: "was"}}}
    assert golden.changed(old, new) == [f"{name}: another {part}"]


# --- repeated seeds ---------------------------------------------------------------------------------------------


def test_one_seed_in_twenty_is_repeated():
    assert sum(map(is_repeated, range(20230412, 20230412 + 200))) == 10


def test_a_repeated_seed_agrees_and_one_that_does_not_is_named(monkeypatch):
    world = campaign("", 7)
    assert repeat_differences(lambda: (world.venue, world.events)) == []
    monkeypatch.setattr(play, "Exchange", Remembers)
    assert "outcomes" in repeat_differences(lambda: (world.venue, world.events))
    lengths = iter((300, 301))
    monkeypatch.undo()
    assert "input" in repeat_differences(lambda: (world.venue, world.events[:next(lengths)]))


# --- copies -----------------------------------------------------------------------------------------------------


def test_what_happens_to_a_copy_does_not_happen_to_what_it_was_made_from():
    world = campaign("", 3)
    exchange = Exchange(world.venue)
    exchange.submit(world.rows[:300])
    exchange.run()
    before = play.fingerprint(world, exchange, exchange.copy().outcomes())
    twin = exchange.copy()
    twin.submit(world.rows[300:])
    twin.run()
    after = play.fingerprint(world, exchange, exchange.outcomes())
    assert before == after != play.fingerprint(world, twin, twin.outcomes())


def test_a_copy_takes_queued_events_and_undrained_outcomes_along():
    world = campaign("", 3)
    exchange = Exchange(world.venue)
    exchange.submit(world.rows)
    exchange.run(int(world.events["ts_ns"][400]))
    twin = exchange.copy()
    ends = [play.fingerprint(world, each, play.finish(each, world)) for each in (exchange, twin)]
    assert ends[0] == ends[1]
    assert ends[0]["counters"]["outcome_seq"] == sum(ends[0]["given"].values())
