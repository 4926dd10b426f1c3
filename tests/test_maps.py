"""The liquidation map and the bands of accounts: what they say is what the venue does when the mark goes there."""

import numpy as np
import pytest

from exchange import codes, maps
from exchange.units import contract_value
from tests.desk import FIRST, INVERSE, NEVER_NS, TIERS, UNIT, Desk
from tests.test_guards import send, world

SEEDS = range(6)
RATIOS = (1_500_000, 1_200_000, 1_000_000, 0)


def stopped(exchange, instrument):
    """Slots of users' positions in an instrument whose unit is in liquidation."""
    ledger = exchange.state.ledger
    found = []
    for p in np.flatnonzero(ledger.positions["lots"]):
        position = ledger.positions[p]
        unit = position if position["mode"] == codes.ISOLATED else ledger.wallets[position["wallet"]]
        if position["instrument"] == instrument and position["wallet"] >= FIRST and unit["stage"]:
            found.append(int(p))
    return set(found)


def at_mark(exchange, instrument, mark_sub):
    """A copy on which the mark went there; that of a spot instrument follows its index."""
    moved = exchange.copy()
    kind = codes.INDEX if exchange.venue.instruments[instrument].kind == "spot" else codes.MARK
    send(moved, [{"kind": kind, "instrument": instrument, "price": int(mark_sub)}])
    return moved


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("instruments", [1, 3])
def test_the_map_holds_who_is_liquidated_when_the_mark_goes_there_and_nobody_else(seed, instruments):
    rng = np.random.default_rng(seed)
    exchange = world(rng, instruments)
    for k in range(instruments):
        made = exchange.liquidation_map(k)
        entries, now = made.entries, made.mark_sub
        assert set(made.pending.tolist()) == stopped(exchange, k)
        marks = entries["price_sub"][rng.permutation(len(entries))[:5]]
        for mark in (*(marks - 1), *marks, *(marks + 1), now - 300, now + 300):
            gone = (entries["price_sub"] >= mark) & (entries["price_sub"] <= now) if mark <= now else (
                (entries["price_sub"] <= mark) & (entries["price_sub"] >= now))
            expected = set(entries["slot"][gone].tolist()) | set(made.pending.tolist())
            assert stopped(at_mark(exchange, k, mark), k) == expected, (seed, k, int(mark))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_unit_of_one_leg_is_read_off_its_guard_which_is_what_solving_finds(seed):
    exchange = world(np.random.default_rng(seed), 1)
    own = exchange.liquidation_map(0).entries
    assert len(own) and not own["several"].any()
    falling, rising = maps.nearest_marks(exchange.state, own["slot"], 1_000_000)
    assert np.where(own["lots"] > 0, falling, rising).tolist() == own["price_sub"].tolist()
    assert not np.where(own["lots"] > 0, rising, falling).any(), "nobody is liquidated by a mark that helps him"


@pytest.mark.parametrize("step", [1, 7, 50])
def test_rows_are_whole_sums_of_entries_by_bin_and_kind(step):
    exchange = world(np.random.default_rng(3), 2)
    made = exchange.liquidation_map(1, step)
    record = exchange.compiled.instruments[1]
    assert len(made.rows) and made.rows["low_sub"].tolist() == sorted(set(made.rows["low_sub"].tolist()))
    for row in made.rows:
        assert row["low_sub"] % (step * 10) == 0 and row["high_sub"] == row["low_sub"] + step * 10 - 1
        for kind, several in (("one", False), ("several", True)):
            own = [e for e in made.entries if row["low_sub"] <= e["price_sub"] <= row["high_sub"]
                   and e["several"] == several]
            assert row[f"accounts_{kind}"] == len(own)
            assert row[f"lots_{kind}"] == sum(abs(int(e["lots"])) for e in own)
            assert row[f"notional_{kind}"] == sum(
                abs(int(contract_value(record, int(e["price_sub"]), int(e["lots"])))) for e in own)
    kinds = ("one", "several")
    assert sum(int(made.rows[f"accounts_{kind}"].sum()) for kind in kinds) == len(made.entries)
    assert all(made.rows[f"accounts_{kind}"].any() for kind in kinds)


def test_a_map_and_bands_change_nothing_and_need_no_positions():
    desk = Desk(liquidation={"detection_delay_ns": NEVER_NS})
    assert not len(desk.exchange.liquidation_map(0).rows) and not len(desk.exchange.bands(RATIOS).positions)
    exchange = world(np.random.default_rng(1), 3)
    before = exchange.state_digest(), [array.tobytes() for array in exchange.state.guards]
    exchange.liquidation_map(0)
    exchange.bands(RATIOS)
    assert before == (exchange.state_digest(), [array.tobytes() for array in exchange.state.guards])


def test_those_in_liquidation_are_apart_and_those_that_no_mark_reaches_too():
    desk = Desk(liquidation={"detection_delay_ns": NEVER_NS})
    desk.mark(1_000)
    desk.fund(FIRST, FIRST + 1, money=2_000_000)
    desk.fund(FIRST + 2, money=100_000_000)
    assert desk.seed(FIRST, FIRST + 1, 1_000, 100) == codes.OK
    assert desk.seed(FIRST + 2, FIRST + 1, 1_000, 10) == codes.OK  # what it holds is all paid for
    desk.mark(700)
    made = desk.exchange.liquidation_map(0)
    assert made.pending.tolist() == [desk.slot(FIRST)] and made.never.tolist() == [desk.slot(FIRST + 2)]
    assert made.entries["account"].tolist() == [FIRST + 1] and made.entries["price_sub"][0] > 7_000


def health(desk, account, instrument_terms, mark_sub):
    """(equity, maintenance) of a cross account of one leg at a mark, from the rule alone."""
    wallet, position = desk.exchange.wallet(account), desk.exchange.position(account, 0)
    lots = int(position["lots"])
    if instrument_terms:
        size = abs(lots) * int(INVERSE["multiplier"]) * UNIT * 10 // mark_sub
        value = -size if lots > 0 else size
    else:
        value = lots * mark_sub * UNIT // 10
    tiers = [(int(t["floor"]) * UNIT, t["maintenance_ppm"]) for t in TIERS]
    need = 0
    for (floor, ppm), (end, _) in zip(tiers, [*tiers[1:], (2**62, 0)], strict=True):
        need += max(0, min(abs(value), end) - floor) * ppm
    return int(wallet["cash"]) + value - int(position["entry_value"]), -(-need // 1_000_000)


@pytest.mark.parametrize("terms", [{}, INVERSE], ids=["linear", "inverse"])
def test_a_band_begins_at_the_first_mark_below_its_ratio(terms):
    desk = Desk(instrument=terms)
    desk.mark(1_000)
    desk.fund(FIRST, FIRST + 1, money=4_000_000)
    assert desk.seed(FIRST, FIRST + 1, 1_000, 200) == codes.OK
    made = desk.exchange.bands(RATIOS)
    assert made.positions["account"].tolist() == [FIRST, FIRST + 1]
    for row, marks in zip(made.positions, made.marks_sub, strict=True):
        toward = 1 if row["lots"] > 0 else -1  # from the band back to today's mark
        assert (np.diff(marks) * toward < 0).all(), "pressure, liquidation, bankruptcy, in this order"
        for ratio, mark in zip(made.ratios_ppm, marks.tolist(), strict=True):
            equity, need = health(desk, row["account"], terms, mark)
            assert equity * 1_000_000 < ratio * need or (ratio == 0 and equity < 0)
            equity, need = health(desk, row["account"], terms, mark + toward)
            assert equity * 1_000_000 >= ratio * need
        price = desk.exchange.liquidation_price(int(row["account"]), 0)
        assert marks[2] == price
    alone = desk.exchange.bands(RATIOS, account=FIRST + 1)
    assert alone.marks_sub.tolist() == made.marks_sub[1:].tolist()


def test_who_is_under_pressure_already_has_todays_mark_and_a_share_of_no_sense_is_refused():
    desk = Desk()
    desk.mark(1_000)
    desk.fund(FIRST, FIRST + 1, money=4_000_000)
    assert desk.seed(FIRST, FIRST + 1, 1_000, 200) == codes.OK
    assert desk.exchange.bands([900_000_000]).marks_sub.tolist() == [[10_000], [10_000]]
    for ratio in (-1, maps.RATIO_MAX_PPM + 1):
        with pytest.raises(ValueError, match="ratio must be"):
            desk.exchange.bands([ratio])
    with pytest.raises(ValueError, match="step_ticks"):
        desk.exchange.liquidation_map(0, 0)


def test_the_bands_of_an_account_of_several_legs_go_along_one_mark_at_a_time():
    desk = Desk(2, liquidation={"detection_delay_ns": NEVER_NS})
    for k in range(2):
        desk.mark(1_000, k)
    desk.fund(FIRST, FIRST + 1, money=4_000_000)
    for k in range(2):
        assert desk.seed(FIRST, FIRST + 1, 1_000, 60 + 40 * k, k) == codes.OK
    made = desk.exchange.bands([1_000_000], account=FIRST)
    assert made.positions["several"].all() and len(made.positions) == 2
    for row, (mark,) in zip(made.positions, made.marks_sub.tolist(), strict=True):
        for at, breached in ((mark, True), (mark + 1, False)):
            moved = at_mark(desk.exchange, int(row["instrument"]), at)
            assert bool(moved.wallet(FIRST)["stage"]) == breached


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_mark_is_found_across_edges_at_which_the_requirement_jumps(seed):
    """With step tiers, made here by taking the cumulative amounts out, a unit breaks, heals and breaks again."""
    tiers = [(int(t["floor"]) * UNIT, t["maintenance_ppm"]) for t in TIERS]

    def need(value):
        return -(-value * next(ppm for floor, ppm in reversed(tiers) if floor <= value) // 1_000_000)

    rng = np.random.default_rng(seed)
    desk = Desk(2, liquidation={"detection_delay_ns": NEVER_NS})
    for k in range(2):
        desk.mark(1_000, k)
    lots = [int(rng.integers(140, 150)) + 10 * (seed % 2), int(rng.integers(5, 15))]  # the first is near an edge
    slack = int(rng.integers(20_000, 150_000))
    desk.fund(FIRST, FIRST + 1, money=sum(need(held * 1_000 * UNIT) for held in lots) + slack)
    desk.state.prices.tiers["cum"] = 0
    for k in range(2):
        assert desk.seed(FIRST, FIRST + 1, 1_000, lots[k], k) == codes.OK

    def below(account, moved, mark, ratio):
        sign = 1 if account == FIRST else -1
        values = [lots[k] * (mark if k == moved else 10_000) * UNIT // 10 for k in range(2)]
        equity = int(desk.exchange.wallet(account)["cash"]) + sign * (sum(values) - sum(lots) * 1_000 * UNIT)
        return equity * 1_000_000 < ratio * sum(map(need, values))

    jumps = heals = 0
    for account in (FIRST, FIRST + 1):
        for moved in range(2):
            slot = np.array([desk.slot(account, moved)])
            for ratio in (1_000_000, 1_500_000):
                falling, rising = maps.nearest_marks(desk.state, slot, ratio)
                down = next((m for m in range(10_000, 0, -1) if below(account, moved, m, ratio)), 0)
                up = next((m for m in range(10_000, 40_010) if below(account, moved, m, ratio)), 0)
                assert (int(falling[0]), int(rising[0])) == (down, up), (account, moved, ratio)
                jumps += bool(down and up)
                heals += not all(below(account, moved, m, ratio) for m in range(max(1, down - 1_500), down))
    assert heals if seed % 2 else jumps, "some break on both sides, some are healthy again beyond"
