"""The margin backtest: its tests against published figures, its windows and requirements against plain loops."""

import numpy as np
import pytest

from exchange import codes, config, schema
from exchange.errors import ConfigError, FeedError
from replay import backtest, coverage
from replay.history import History, Windows, cut, read_history
from replay.tape import Tape, TapeMeta, spec_of
from tests.desk import INVERSE, TIERS, UNIT, venue_table

SECOND = 1_000_000_000
MINUTE_MS = 60_000


def test_the_coverage_tests_give_the_figures_of_a_published_example():
    """MathWorks, `varbacktest.pof`, `.cci` and `.cc` on EquityIndex, Normal95: 1,043 days, 57 failures, in 53 runs."""
    failed = np.zeros(1_043, bool)
    place = 1
    for run in range(53):
        length = 2 if run < 4 else 1
        failed[place : place + length] = True
        place += length + 1
    share, clusters = coverage.kupiec(57, 1_043, 0.05), coverage.christoffersen(failed)
    assert int(failed.sum()) == 57 and int((failed[1:] & failed[:-1]).sum()) == 4
    assert (round(share.lr, 5), round(share.p_value, 5)) == (0.46147, 0.49694)
    assert (round(clusters.lr, 5), round(clusters.p_value, 5)) == (0.25866, 0.61104)
    both = coverage.conditional(share, clusters)
    assert (round(both.lr, 5), round(both.p_value, 5)) == (0.72013, 0.69763)


def test_coverage_at_its_edges():
    assert coverage.kupiec(5, 100, 0.05) == coverage.CoverageTest(0.0, 1.0), "exactly what was promised"
    assert round(coverage.kupiec(0, 100, 0.05).lr, 6) == 10.258659, "-200 ln 0.95"
    assert coverage.kupiec(100, 100, 0.05).p_value < 1e-60
    for failed in (np.zeros(9, bool), np.ones(9, bool), np.zeros(1, bool)):
        assert coverage.christoffersen(failed) == coverage.CoverageTest(0.0, 1.0)
    assert coverage.christoffersen(np.arange(40) >= 20).p_value < 1e-8, "one long run of failures"
    assert round(coverage.chi_square_1(3.841459), 6) == 0.05 and round(coverage.chi_square_1(6.634897), 6) == 0.01


def history(prices, minutes=1):
    rows = np.array(prices, np.int64)
    ends = (1 + np.arange(len(rows))) * minutes * 60 * SECOND
    return History("made", ends, rows[:, 0], rows[:, 1], rows[:, 2])


def test_windows_follow_each_other_from_the_end_of_the_first_bar():
    bars = history([(9, 12, 10), (8, 11, 9), (9, 13, 12), (11, 12, 11), (5, 14, 13), (13, 20, 13)])
    windows = cut(bars, 120 * SECOND)
    assert windows.start_ns.tolist() == [60 * SECOND, 180 * SECOND]
    assert windows.start_sub.tolist() == [10, 12] and windows.end_sub.tolist() == [12, 13]
    assert windows.low_sub.tolist() == [8, 5] and windows.high_sub.tolist() == [13, 14] and not windows.empty


def test_a_window_without_a_price_is_left_out_and_the_next_starts_at_the_last_price():
    stamps = np.array([0, 10, 70, 250, 300]) * SECOND
    price = np.array([100, 101, 99, 120, 90])
    windows = cut(History("made", stamps, price, price, price), 60 * SECOND)
    assert windows.start_ns.tolist() == [0, 60 * SECOND, 240 * SECOND] and windows.empty == 2
    assert windows.start_sub.tolist() == [100, 101, 99] and windows.end_sub.tolist() == [101, 99, 90]
    assert windows.low_sub.tolist() == [100, 99, 90] and windows.high_sub.tolist() == [101, 101, 120]


@pytest.mark.parametrize(("horizon", "said"), [(30 * SECOND, "shorter than a bar"), (3_600 * SECOND, "two or more")])
def test_a_horizon_that_makes_no_windows_is_refused(horizon, said):
    with pytest.raises(ConfigError, match=said):
        cut(history([(9, 12, 10)] * 8), horizon)


def plan(**changed):
    fields = {"leverages": (5,), "rates_ppm": (30_000,), "notional": "40000", "promised": 0.9, "memory": 0.9,
              "floor_ppm": 0, "change_ns": 240 * SECOND} | changed
    return backtest.Plan(**fields)


def walk(seed=3, count=400):
    rng = np.random.default_rng(seed)
    close = (10_000 * np.exp(np.cumsum(rng.normal(0, 0.004, count)))).astype(np.int64)
    low, high = close - rng.integers(0, 60, count), close + rng.integers(0, 60, count)
    return cut(history(np.stack((low, high, close), axis=1)), 120 * SECOND)


def maintenance(value):
    tiers = [(int(tier["floor"]) * UNIT, tier["maintenance_ppm"]) for tier in TIERS]
    need = sum(max(0, min(value, end) - floor) * ppm
               for (floor, ppm), (end, _) in zip(tiers, [*tiers[1:], (2**62, 0)], strict=True))
    return -(-need // 1_000_000)


@pytest.mark.parametrize("terms", [{}, INVERSE], ids=["linear", "inverse"])
def test_requirements_are_the_venues_and_failures_are_losses_beyond_them(terms):
    venue = config.build_venue(venue_table(1, terms))
    windows = walk()
    made = backtest.run_backtest(venue, 0, windows, plan(), "made", 120 * SECOND)
    report, lots = made.report, made.report.lots
    size = int(INVERSE["multiplier"]) * UNIT * 10

    def value(price, held):
        return (size * abs(held) // price) * (-1 if held > 0 else 1) if terms else held * price * UNIT // 10

    assert abs(report.notional - 40_000 * UNIT) <= UNIT * 1_000
    held = {one.name: one.money.tolist() for one in made.held}
    starts, lows, highs = (column.tolist() for column in (windows.start_sub, windows.low_sub, windows.high_sub))
    notional = [abs(value(price, lots)) for price in starts]
    assert held["maintenance"] == [maintenance(one) for one in notional]
    assert held["initial at 5x"] == [-(-one // 5) for one in notional]
    assert held["flat 3 %"] == [-(-one * 30_000 // 1_000_000) for one in notional]
    for one in report.covered:
        if "volatil" in one.requirement:
            continue
        sign, worst = (1, lows) if one.side == "long" else (-1, highs)
        losses = [value(start, sign * lots) - value(end, sign * lots) for start, end in zip(starts, worst, strict=True)]
        beyond = [loss - margin for loss, margin in zip(losses, held[one.requirement], strict=True)]
        assert one.failures == sum(short > 0 for short in beyond) and one.worst_shortfall == max(0, *beyond)
        assert one.coverage == 1 - one.failures / len(starts)
    assert {one.requirement: one.failures for one in report.covered}["maintenance"] > 0


def test_how_a_requirement_moved_is_told_of_its_money_and_its_rate():
    windows = walk()
    made = backtest.run_backtest(config.build_venue(venue_table(1)), 0, windows, plan(), "made", 120 * SECOND)
    flat = next(cycle for cycle in made.report.cycles if cycle.requirement == "flat 3 %")
    money = next(one.money for one in made.held if one.name == "flat 3 %").tolist()
    assert made.report.change_windows == 2
    assert (flat.lowest, flat.highest) == (min(money), max(money)) and flat.peak_to_trough == round(
        max(money) / min(money), 6)
    assert flat.largest_rise == round(max(b / a - 1 for a, b in zip(money, money[2:], strict=False)), 6)
    assert flat.lowest_rate_ppm == flat.highest_rate_ppm == 30_000


def test_the_alternative_follows_the_volatility_of_the_windows_before_and_keeps_its_floor():
    start = np.full(30, 10_000)
    end = np.where(np.arange(30) < 20, np.where(np.arange(30) % 2, 10_010, 9_990), 10_100)
    windows = Windows(np.arange(30) * SECOND, start, np.minimum(start, end), np.maximum(start, end), end, 0)
    venue = config.build_venue(venue_table(1))

    def rates(**changed):
        made = backtest.run_backtest(venue, 0, windows, plan(promised=0.975, **changed), "made", SECOND)
        return made.held[-1].money / made.notional

    free, floored = rates(), rates(floor_ppm=5_000)
    assert np.allclose(free[10:21], 1.959964 * 0.001, rtol=1e-4), "0.1 % a window until then"
    assert (np.diff(free[20:]) > 0).all() and free[-1] < 1.959964 * 0.01
    assert np.allclose(floored, np.maximum(free, 0.005), atol=1e-7)


@pytest.mark.parametrize(("changed", "said"), [
    ({"promised": 1.0}, "--coverage"), ({"memory": 0.0}, "--memory"), ({"rates_ppm": (0,)}, "--rate-ppm"),
    ({"notional": "lots"}, "--notional"), ({"notional": "0.001"}, "0 lots"),
    ({"notional": "10000000000"}, "expected 1"),
    ({"leverages": (60,)}, "gets at most 50"), ({"leverages": (700,)}, "--leverage|cannot be opened")])
def test_what_cannot_be_tested_is_refused(changed, said):
    with pytest.raises(ConfigError, match=said):
        backtest.run_backtest(config.build_venue(venue_table(1)), 0, walk(), plan(**changed), "made", 120 * SECOND)


def test_without_a_notional_the_position_is_a_tenth_of_the_first_tier():
    venue = config.build_venue(venue_table(1))
    made = backtest.run_backtest(venue, 0, walk(), plan(notional=None), "made", 120 * SECOND)
    assert made.report.notional <= int(TIERS[1]["floor"]) * UNIT // 10 < made.report.notional * 2


def test_a_history_is_read_from_klines_and_from_tapes(tmp_path):
    venue = config.build_venue(venue_table(1))
    spec = venue.instruments[0]
    rows = [f"{k * MINUTE_MS},100,{105 + k},{95 - k},{100 + k},1,{(k + 1) * MINUTE_MS - 1}" for k in range(4)]
    (tmp_path / "k.csv").write_text("\n".join(rows))
    bars = read_history([tmp_path / "k.csv"], spec)
    assert bars.close_sub.tolist() == [1_000, 1_010, 1_020, 1_030] and bars.low_sub.tolist() == [950, 940, 930, 920]
    events = schema.events(
        *({"ts_ns": k * SECOND, "kind": codes.TRADE_PRINT, "price": 100 + k, "qty": 1} for k in range(3)),
        {"ts_ns": 3 * SECOND, "kind": codes.TRADE_PRINT, "price": 1, "qty": 1, "flags": codes.EVIDENCE})
    Tape(events, TapeMeta((spec_of(spec),))).write(tmp_path / "trades.parquet")
    prints = read_history([tmp_path / "trades.parquet"], spec)
    assert prints.close_sub.tolist() == [1_000, 1_010, 1_020] and "trades" in prints.source
    marked = np.concatenate((events, schema.events({"ts_ns": 4 * SECOND, "kind": codes.MARK, "price": 1_005})))
    Tape(marked, TapeMeta((spec_of(spec),))).write(tmp_path / "marks.parquet")
    assert read_history([tmp_path / "marks.parquet"], spec).close_sub.tolist() == [1_005]
    Tape(events[3:], TapeMeta((spec_of(spec),))).write(tmp_path / "none.parquet")
    with pytest.raises(FeedError, match="no mark, index or trade"):
        read_history([tmp_path / "none.parquet"], spec)


def test_the_crash_of_october_2025_beats_the_maintenance_margin_of_the_profile(shared_data):
    venue = config.build_venue(config.load_profile("binance_cm"))
    folder = shared_data / "binance_vision"
    found = read_history([folder / f"BTCUSD_PERP-1m-2025-10-{day:02}.zip" for day in (9, 10)], venue.instruments[0])
    made = backtest.run_backtest(venue, 0, cut(found, 900 * SECOND), plan(leverages=(20,), notional=None,
                                                                          promised=0.99), found.source, 900 * SECOND)
    by_row = {(one.requirement, one.side): one for one in made.report.covered}
    assert made.report.windows == 191
    assert by_row["maintenance", "long"].failures == 24 and by_row["maintenance", "long"].kupiec.p_value < 1e-9
    assert by_row["initial at 20x", "long"].failures == 1 and by_row["initial at 20x", "short"].failures == 0
