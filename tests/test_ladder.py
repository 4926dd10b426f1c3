"""The price ladder against a sorted set, at every boundary of its bitmap tree, compiled and interpreted."""

import importlib.util
from bisect import bisect_left, bisect_right

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba.core import config as numba_config

from exchange import state
from exchange.core import ladder
from exchange.core.kernel import entry

SIZES = [1, 63, 64, 65, 4_095, 4_096, 64**3 - 1, 64**3, 64**3 + 1, 64**4, 3 * 64**4 + 5]
EDGES = sorted({times * 64**power + step for power in range(1, 5) for times in (1, 2) for step in (-1, 0, 1)})


@entry
def compiled_mark(words, ladders, k, ticks):
    ladder.mark_level(words, ladders[k], ticks)


@entry
def compiled_clear(words, ladders, k, ticks):
    ladder.clear_level(words, ladders[k], ticks)


@entry
def compiled_down(words, ladders, k, ticks):
    return ladder.find_down(words, ladders[k], ticks)


@entry
def compiled_up(words, ladders, k, ticks):
    return ladder.find_up(words, ladders[k], ticks)


class Compiled:
    mark, clear, down, up = map(staticmethod, (compiled_mark, compiled_clear, compiled_down, compiled_up))


class Interpreted:
    """The plain bodies of the module, loaded a second time with the compiler off."""

    def __init__(self):
        spec = importlib.util.spec_from_file_location("interpreted_ladder", ladder.__file__)
        self.module = importlib.util.module_from_spec(spec)
        was, numba_config.DISABLE_JIT = numba_config.DISABLE_JIT, 1
        try:
            spec.loader.exec_module(self.module)
        finally:
            numba_config.DISABLE_JIT = was
        assert not hasattr(self.module.find_up, "py_func")

    def mark(self, words, ladders, k, ticks):
        self.module.mark_level(words, ladders[k], np.int64(ticks))

    def clear(self, words, ladders, k, ticks):
        self.module.clear_level(words, ladders[k], np.int64(ticks))

    def down(self, words, ladders, k, ticks):
        return self.module.find_down(words, ladders[k], np.int64(ticks))

    def up(self, words, ladders, k, ticks):
        return self.module.find_up(words, ladders[k], np.int64(ticks))


@pytest.fixture(scope="module", params=[Compiled, Interpreted], ids=["compiled", "interpreted"])
def bodies(request):
    return request.param()


class Pair:
    """Two ladders laid out one after the other as the venue lays them out, each beside a sorted list of its levels."""

    def __init__(self, bodies, ticks_max):
        self.bodies, self.ticks_max = bodies, ticks_max
        self.ladders, _, words = state._ladders(np.array([ticks_max]))
        self.words = np.zeros(words, np.uint64)
        self.levels = [[], []]

    def toggle(self, k, ticks):
        levels = self.levels[k]
        at = bisect_left(levels, ticks)
        if at < len(levels) and levels[at] == ticks:
            del levels[at]
            self.bodies.clear(self.words, self.ladders, k, ticks)
        else:
            levels.insert(at, ticks)
            self.bodies.mark(self.words, self.ladders, k, ticks)

    def check(self, k, ticks):
        levels = self.levels[k]
        below, above = bisect_right(levels, ticks), bisect_left(levels, ticks)
        expected = (levels[below - 1] if below else 0, levels[above] if above < len(levels) else 0)
        found = (int(self.bodies.down(self.words, self.ladders, k, ticks)),
                 int(self.bodies.up(self.words, self.ladders, k, ticks)))
        assert found == expected, f"from {ticks} in {levels[:20]} of 1..{self.ticks_max}"

    def check_empty(self):
        for k in (0, 1):
            for ticks in list(self.levels[k]):
                self.toggle(k, ticks)
        assert not self.words.any(), "a bit stays set in an empty ladder"


places = st.one_of(st.sampled_from(EDGES), st.integers(1, 70), st.integers(4_000, 4_200), st.integers(1, SIZES[-1]))


@settings(max_examples=200, deadline=None)
@given(ticks_max=st.sampled_from(SIZES), asked=places,
       moves=st.lists(st.tuples(st.integers(0, 1), places), max_size=40))
@example(ticks_max=SIZES[-1], moves=[(0, 1), (0, SIZES[-1]), (1, 64**4)], asked=64**4)
@example(ticks_max=64**4, moves=[(0, 1), (1, 64**4), (0, 64**4)], asked=64**3)
def test_finding_from_anywhere_equals_a_sorted_set(bodies, ticks_max, moves, asked):
    pair = Pair(bodies, ticks_max)
    for k, place in moves:
        pair.toggle(k, min(place, ticks_max))
        pair.check(k, min(place, ticks_max))
        pair.check(1 - k, min(place, ticks_max))
    for place in (1, min(asked, ticks_max), ticks_max):
        pair.check(0, place)
        pair.check(1, place)
    pair.check_empty()


@pytest.mark.parametrize("ticks_max", [edge for edge in EDGES if edge <= 64**4 + 1] + [SIZES[-1]])
def test_a_lone_level_is_found_from_both_ends_of_ladders_of_every_size(bodies, ticks_max):
    for level in sorted({1, 2, max(1, ticks_max // 2), max(1, ticks_max - 1), ticks_max}):
        pair = Pair(bodies, ticks_max)
        pair.toggle(0, level)
        for place in {1, level, ticks_max, max(1, level - 1), min(ticks_max, level + 1)}:
            pair.check(0, place)
            pair.check(1, place)
        pair.check_empty()


def test_levels_on_both_sides_of_every_boundary_are_walked_in_order(bodies):
    pair = Pair(bodies, SIZES[-1])
    for ticks in EDGES:
        pair.toggle(0, ticks)
    found, ticks = [], 1
    while (ticks := int(bodies.up(pair.words, pair.ladders, 0, ticks))) != 0:
        found.append(ticks)
        ticks += 1
    assert found == EDGES
    found, ticks = [], SIZES[-1]
    while ticks and (ticks := int(bodies.down(pair.words, pair.ladders, 0, ticks))) != 0:
        found.append(ticks)
        ticks -= 1
    assert found == EDGES[::-1]


def test_marking_a_marked_level_changes_nothing(bodies):
    pair = Pair(bodies, 5_000)
    pair.toggle(0, 4_097)
    before = pair.words.copy()
    bodies.mark(pair.words, pair.ladders, 0, 4_097)
    assert np.array_equal(pair.words, before)
