"""Guards of stages against full recomputation: no crossing of a threshold is missed, none seen early. DESIGN §4.1, §6.

The worlds are those of the margin models; their stages only warn, and the last one waits for ever.
"""

from collections import Counter

import numpy as np
import pytest

from exchange import codes
from tests.desk import FIRST, NEVER_NS
from tests.margin_models import MODELS
from tests.test_margin_guards import ACCOUNTS, change, make, send

REACHED = Counter()


def stages_of(rng):
    """Some thresholds with exits, strictly falling."""
    below = sorted({int(ppm) for ppm in rng.integers(500_000, 3_000_000, 3)}, reverse=True)
    exits, top = [], 10_000_000
    for ppm in below:
        top = max(ppm, min(top, ppm + int(rng.integers(0, 400_000)) * int(rng.integers(0, 2))))
        exits.append(top)
    stages = [{"below_ppm": ppm, "exit_ppm": way_out, "action": "warn"}
              for ppm, way_out in zip(below, exits, strict=True)]
    stages[-1] |= {"action": "close", "dwell_ns": NEVER_NS}
    return stages


def units(exchange):
    """(slot among the standings, pocket, positions) of every unit of the users."""
    positions, wallets = exchange.state.ledger.positions, exchange.state.ledger.wallets
    for account in range(FIRST, FIRST + ACCOUNTS):
        p, cross = int(wallets[account]["first_position"]), []
        while p:
            if positions[p]["mode"] == codes.ISOLATED:
                yield len(wallets) + p, int(positions[p]["isolated_margin"]), [positions[p]]
            else:
                cross.append(positions[p])
            p = int(positions[p]["next"])
        yield account, int(wallets[account]["cash"]), cross


def check(exchange, rules, stages, inside):
    """Every unit is in the stages that its equity and requirement, as they are and were, say."""
    marks = [int(market["mark_sub"]) for market in exchange.markets]
    for slot, pocket, held in units(exchange):
        equity, required = pocket, 0
        for leg in (leg for leg in held if leg["lots"]):
            k, lots, entry = int(leg["instrument"]), int(leg["lots"]), int(leg["entry_value"])
            value = rules[k].value(marks[k], lots)
            equity += value - entry
            required += rules[k].maintenance(abs(value), lots, entry, pocket)
        for k, stage in enumerate(stages):
            was = (slot, k) in inside
            now = equity * 10**6 < required * stage["exit_ppm" if was else "below_ppm"]
            REACHED["entered" if now else "left"] += now != was
            (inside.add if now else inside.discard)((slot, k))
            seen = bool(exchange.state.ledger.standings[slot * len(stages) + k]["inside"])
            assert seen == now, f"unit {slot}, stage {k + 1}: equity {equity}, requirement {required}"


def walk(seed, names, instruments, steps):
    rng = np.random.Generator(np.random.Philox(key=[seed, 77 + instruments]))
    stages = stages_of(rng)
    exchange, rules = make(rng, names, instruments, {"stages": stages})
    inside = {(slot, k) for slot, _, _ in units(exchange) for k in range(len(stages))
              if exchange.state.ledger.standings[slot * len(stages) + k]["inside"]}  # seeding may have
    for _ in range(steps):
        send(exchange, [change(rng, exchange, rules)])
        check(exchange, rules, stages, inside)
        exchange.outcomes()
    exchange.audit()


@pytest.mark.parametrize("name", MODELS)
def test_no_unit_of_a_model_is_seen_early_or_missed(name):
    for seed in range(3):
        walk(seed, [name], 1, 60)


@pytest.mark.parametrize("seed", range(8))
def test_units_of_several_legs_of_several_models_cross_when_recomputed(seed):
    walk(1_000 + seed, list(MODELS), 4, 80)


def test_the_worlds_crossed_often():
    if not REACHED:
        pytest.skip("the worlds were not walked in this process")
    assert REACHED["entered"] >= 200 and REACHED["left"] >= 100, REACHED
