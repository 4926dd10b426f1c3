"""The campaign in its short form: every part once, everything reached, some planted bugs, every regression on file."""

import os
from collections import Counter

import pytest

from exchange import codes
from tests.campaign import machine, planted, pools, reach, regressions, relations, small, streams
from tests.campaign.report import Budget, table
from tests.desk import venue_table

SEED = int(os.environ.get("DELEVERAGE_SEED", "20230412"))
PLANTED = ("last in, first out", "guard reached but not crossed", "funding paid the wrong way",
           "one account pays half the fee", "prevention takes the wrong side", "one side's mass cancel takes both")


@pytest.fixture(scope="module")
def done():
    """The parts that ran, for the last test to add up."""
    return []


def passed(part, done, capsys):
    done.append(part)
    with capsys.disabled():
        print(f"\n{table([part])}")
    assert not part.failures, "\n".join(part.failures[:3])
    assert part.runs


@pytest.mark.parametrize("path", regressions.paths(), ids=lambda path: path.stem)
def test_a_case_that_once_failed_passes(path):
    assert regressions.replay(regressions.load(path))


def test_swarm_streams_agree_and_repeat(done, capsys):
    passed(streams.campaign(SEED, Budget(runs=40), 2_000), done, capsys)


def test_streams_equal_their_images_under_every_relation(done, capsys):
    part = relations.campaign(SEED, Budget(runs=10 * len(relations.RELATIONS)))
    passed(part, done, capsys)


def test_any_sequence_of_commands_keeps_both_venues_equal(done, capsys):
    passed(machine.campaign(SEED, Budget(runs=1), 40, 50), done, capsys)


def test_every_sequence_of_two_or_three_commands_in_small_worlds_gives_what_the_reference_gives(done, capsys):
    """To depth three in every other world, as the seed says; the campaign does it in all, and then to four."""
    plan = [(world, 3 if (SEED + k) % 2 == 0 else 2) for k, world in enumerate(small.WORLDS)]
    passed(small.campaign(SEED, Budget(), plan), done, capsys)


def test_every_pool_is_full_at_every_small_size_and_refuses_without_a_trace(done, capsys):
    passed(pools.campaign(SEED, Budget(), 5), done, capsys)


def test_every_code_stop_and_branch_of_the_loop_and_the_liquidation_machine_is_reached(done, capsys):
    passed(reach.campaign(SEED, Budget()), done, capsys)
    assert len(done) == 6, "run the whole file: the parts add up"
    assert not reach.missing(sum((part.reached for part in done), Counter()))


def test_planted_bugs_are_caught_by_the_part_they_name(capsys):
    part = planted.campaign(Budget(), [bug for bug in planted.bugs() if bug["name"] in PLANTED])
    assert part.runs == len(PLANTED)
    assert not part.failures


def test_every_planted_bug_still_has_its_place():
    assert len(planted.bugs()) >= 25
    for bug in planted.bugs():
        text = (planted.ROOT / "exchange" / bug["file"]).read_text(encoding="utf-8")
        assert text.count(bug["old"]) == 1 and bug["old"] != bug["new"], bug["name"]
        assert bug["by"] in planted.hunters(), bug["name"]


def test_the_first_failing_seed_of_a_bug_is_written_beside_it_and_nothing_else_changes(tmp_path):
    file = tmp_path / "bugs.toml"
    file.write_text(planted.FILE.read_text(encoding="utf-8"), encoding="utf-8")
    for seed in (7, 11):  # a new line, then another number in it
        planted.record({PLANTED[0]: seed}, file)
        found = planted.bugs(file)
        assert [bug["seed"] for bug in found if bug["name"] == PLANTED[0]] == [seed]
        assert [bug for bug in found if bug["name"] != PLANTED[0]] == planted.bugs()[1:]


def test_a_failing_case_is_shrunk_to_the_rows_that_matter_and_kept_whole(tmp_path, monkeypatch):
    rows = [{"ts_ns": 1, "kind": codes.DEPOSIT, "account": codes.FIRST_USER, "qty": k} for k in range(1, 40)]
    monkeypatch.setattr(regressions, "fails", lambda case: sum(row["qty"] in (7, 31) for row in case["rows"]) == 2)
    case = regressions.shrink({"note": "two of them together", "table": venue_table(), "rows": rows})
    assert [row["qty"] for row in case["rows"]] == [7, 31]
    path = regressions.save("case", case, tmp_path)
    assert regressions.load(path) == case and [path] == list(tmp_path.iterdir())


def test_a_branch_nobody_took_and_an_exemption_that_is_no_longer_true_are_named():
    everything = Counter(reach.required())
    for name in reach.EXEMPT:
        del everything[name]
    assert not reach.missing(everything)
    del everything["result FILLED"]
    everything += Counter(list(reach.EXEMPT)[:1])
    assert [name.split(" is ")[0] for name in reach.missing(everything)] == ["result FILLED", next(iter(reach.EXEMPT))]
