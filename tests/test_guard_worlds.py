"""Guards equal full recomputation, neither missed nor early, for every margin model and correlation mode. DESIGN §6.

Small by default; `DELEVERAGE_WORLDS=2000` walks that many worlds.
"""

import os

import pytest

from tests.guard_changes import HARMLESS, WEIGHTS
from tests.guard_worlds import FAMILIES, REACHED, walk

STEPS = 60
EACH = -(-int(os.environ.get("DELEVERAGE_WORLDS", 2 * len(FAMILIES))) // (2 * len(FAMILIES)))


@pytest.mark.parametrize("staged", [False, True], ids=["one threshold", "stages"])
@pytest.mark.parametrize("family", FAMILIES)
def test_after_every_change_units_are_where_a_recomputation_of_all_of_them_says(family, staged):
    for seed in range(EACH):
        walk(seed, family, staged, STEPS)


def test_every_kind_of_change_was_drawn_and_was_the_last_straw_somewhere():
    if len({key[2] for key in REACHED if key[0] == "drawn"}) < 2 * len(FAMILIES):
        pytest.skip("the worlds were not walked in this process")
    for kind in WEIGHTS:
        drawn, breached, crossed = (sum(times for key, times in REACHED.items() if key[:2] == (word, kind))
                                    for word in ("drawn", "breached", "crossed"))
        assert drawn >= 20, f"{kind}: drawn {drawn} times"
        assert bool(breached + crossed) == (kind not in HARMLESS), f"{kind}: {breached} breaches, {crossed} crossings"
    assert REACHED["several legs",] >= 1_000 and REACHED["open interest",] >= 100, REACHED
