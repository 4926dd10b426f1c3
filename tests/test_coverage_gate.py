"""The gate itself: what it counts as not reached, what an exception covers, when one is stale."""

from collections import Counter

from tests.coverage_gate import complaints, modules, unreached

SOURCE = """import this


def early(x):
    if x:
        return 1
    return 2


def late(x):
    while x:
        x -= 1
"""


def test_a_line_and_a_branch_are_named_by_their_function_and_text(tmp_path):
    path = tmp_path / "match.py"
    path.write_text(SOURCE)
    rows = {"missing_lines": [6], "missing_branches": [[5, 6], [11, -10]]}
    assert unreached(path, rows) == [("match.py", "early", "return 1", 6),
                                     ("match.py", "late", "while x: -> the end", 11)]


def test_an_exception_covers_one_place_and_is_stale_without_it():
    places = [("match.py", "early", "return 1", 6), ("match.py", "early", "return 1", 9)]
    once = Counter([places[0][:3]])
    assert complaints(places, once) == ["not reached: match.py:9: early: return 1"]
    assert complaints(places[:1], once) == []
    assert complaints([], once) == ["excepted, and reached or gone: match.py: early: return 1"]


def test_every_module_of_the_core_is_measured_unless_it_is_named():
    assert {"match", "orders", "throttle", "triggers"} <= {path.stem for path in modules()}
