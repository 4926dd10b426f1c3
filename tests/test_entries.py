"""Entries from recorded klines: read as archived, refused by line, and every entry survived the bars since."""

import zipfile
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import codes, config
from exchange.errors import ConfigError, FeedError
from replay import entries
from replay.draw import draw_entries, draw_traders, maintenance
from replay.klines import COLUMNS, Bars, Klines, read_klines
from replay.population import Leverage, Population, Site
from replay.scenario import load_profiles
from replay.seeding import seed_population
from replay.synthetic import quantiles, streams

SUB = Decimal("0.001")
DAY_MS = 86_400_000
START_MS = 20_000 * DAY_MS
MARK_SUB = 28_000_000
SITE = Site(0, (START_MS + DAY_MS) * 10**6, MARK_SUB, 2_000_000)
BARS = [
    ("28000", "28100", "27900", "28050", "12.5"),
    ("28050", "28500.25", "28000", "28400", "0"),
    ("28400", "28400", "27000", "27500", "40"),
]


def line(k, bar, unit=1, width_ms=60_000):
    first = (START_MS + k * width_ms) * unit
    return ",".join([str(first), *bar, str(first + width_ms * unit - 1), "0", "60", "0", "0", "0"])


def bars_of(closes, volumes, spread=1.0):
    closes = np.array(closes, np.int64)
    start = (START_MS + 60_000 * np.arange(len(closes))) * 10**6
    low, high = (closes * (1 - spread / 100)).astype(np.int64), (closes * (1 + spread / 100)).astype(np.int64)
    return Bars(("a.csv",), start, start + 60 * 10**9, low, high, closes, np.array(volumes, np.int64))


def klines_of(bars, step=SUB):
    low, high, close = (
        tuple(sub * step for sub in prices.tolist()) for prices in (bars.low_sub, bars.high_sub, bars.close_sub)
    )
    return Klines(bars.names, bars.start_ns, bars.end_ns, low, high, close, bars.volume)


@pytest.fixture(scope="module")
def venue():
    return config.build_venue(config.load_profile("binance_um") | {"capacity": {"accounts": 4_000, "positions": 4_000}})


def contract(venue):
    compiled = config.compile_venue(venue)
    return compiled.instruments[0], compiled.tiers


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(24_000_000, 32_000_000), min_size=2, max_size=30),
    st.floats(0, 3),
    st.integers(1, 100),
    st.integers(0, 2**32),
)
def test_every_entry_survived_every_later_bar(closes, spread, leverage, seed):
    """Bar by bar in Python integers: at its worst since the entry, and at the mark, no account is at its maintenance."""
    venue = config.build_venue(config.load_profile("binance_um"))
    record, tiers = contract(venue)
    klines = bars_of(closes, [1] * len(closes), spread)
    population = Population(
        leverage_long=Leverage(median=leverage), leverage_short=Leverage(median=leverage), accounts=60
    )
    traders = draw_traders(population, seed, 1)
    lots = np.where(traders.sides[:, 0] > 0, 700, -300)
    history = entries.recorded_history(klines, population, record, SITE)
    generator = streams.stream(seed, streams.ENTRY)
    drawn = draw_entries(generator, record, tiers, lots, traders.wished, traders.isolated, history)
    unit, mark_unit = int(record["unit_value"]), int(record["mark_unit"])
    for n, bucket, lev in zip(lots.tolist(), drawn.bucket.tolist(), drawn.leverage_e2.tolist(), strict=True):
        bar = len(closes) - bucket  # bucket 0 is now, 1 the last bar
        entry = n * int(history.ticks[bucket]) * unit
        if bucket:
            assert int(history.ticks[bucket]) == (closes[bar] + 50) // 100
        for sub in [MARK_SUB, *(klines.low_sub if n > 0 else klines.high_sub)[bar + 1 :].tolist()] if bucket else []:
            value = n * sub * mark_unit
            margin = -(-abs(entry) * 100 // lev)
            assert margin + value - entry > int(maintenance(tiers, np.array([abs(value)]))[0])


@given(st.lists(st.integers(0, 10**9), min_size=3, max_size=40).filter(any))
def test_a_bar_without_volume_is_never_entered(volumes):
    venue = config.build_venue(config.load_profile("binance_um"))
    history = entries.recorded_history(
        bars_of([MARK_SUB] * len(volumes), volumes), Population(), contract(venue)[0], SITE
    )
    chosen = quantiles.choose(
        history.upper, np.append(np.arange(500) * (quantiles.UNIFORM // 500), quantiles.UNIFORM - 1)
    )
    assert chosen.min() >= 1, "bucket 0 is the moment of seeding"
    assert all(volumes[len(volumes) - bucket] > 0 for bucket in set(chosen.tolist()))


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("unit", [1, 1000], ids=["milliseconds", "microseconds"])
@pytest.mark.parametrize("zipped", [True, False])
def test_archives_read_the_same_however_they_are_written(tmp_path, header, unit, zipped):
    text = "\n".join([",".join(COLUMNS)] * header + [line(k, bar, unit) for k, bar in enumerate(BARS)]) + "\n"
    path = tmp_path / ("k.zip" if zipped else "k.csv")
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("k.csv", text)
    else:
        path.write_text(text)
    klines = read_klines([path]).bars(SUB)
    assert klines.start_ns.tolist() == [(START_MS + k * 60_000) * 10**6 for k in range(3)]
    assert klines.end_ns.tolist() == [(START_MS + k * 60_000) * 10**6 for k in range(1, 4)]
    assert klines.high_sub.tolist() == [28_100_000, 28_500_250, 28_400_000]
    assert klines.low_sub.tolist() == [27_900_000, 28_000_000, 27_000_000]
    assert klines.close_sub.tolist() == [28_050_000, 28_400_000, 27_500_000]
    assert klines.volume.tolist() == [12_500, 0, 40_000]


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        (line(0, BARS[0]) + "\n" + line(1, ("1", "2", "x", "1", "0")), ":2", "'x' is not a decimal number"),
        (line(0, BARS[0]) + "\n" + line(0, BARS[0]), ":2", "starts where the one before ended"),
        (line(0, ("28000", "27900", "27900", "28000", "1")), ":1", "is no bar"),
        (line(0, ("28000", "28000", "28000", "28000", "-1")), ":1", "is no bar"),
        ("1,2,3", ":1", "3 columns"),
        ("\n", "", "no bars"),
        (b"PK\x03\x04 no zip", "", "cannot be read"),
        (b"\xff\xfe\xfd", "", "is not text"),
    ],
)
def test_bad_klines_are_refused_by_line(tmp_path, text, where, said):
    path = tmp_path / "k.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FeedError) as caught:
        read_klines([path])
    assert caught.value.where == f"{path}{where}" and said in str(caught.value)


def test_two_files_follow_each_other_and_not_the_other_way_round(tmp_path):
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for k, path in enumerate(paths):
        path.write_text(line(k, BARS[0]))
    assert len(read_klines(paths).close) == 2
    with pytest.raises(FeedError, match=r"a\.csv:1"):
        read_klines(paths[::-1])


def test_bars_after_the_start_are_left_out_and_none_before_is_refused(venue):
    record, _ = contract(venue)
    klines = bars_of([MARK_SUB, MARK_SUB + 1000, MARK_SUB + 2000], [1, 1, 1])
    early = Site(0, int(klines.end_ns[1]), MARK_SUB, 1)
    history = entries.recorded_history(klines, Population(), record, early)
    assert len(history.ticks) == 3 and history.to_ns == klines.end_ns[1]
    with pytest.raises(ConfigError, match="history-rebase"):
        entries.recorded_history(klines, Population(), record, Site(0, int(klines.start_ns[0]), MARK_SUB, 1))


def test_a_history_that_ends_more_than_a_day_before_the_start_is_refused_unless_rebased(venue):
    record, _ = contract(venue)
    bars = bars_of([MARK_SUB] * 3, [1, 1, 1])
    last = int(bars.end_ns[-1])
    day_ns = DAY_MS * 10**6
    at_most, beyond = (Site(0, last + gap, MARK_SUB, 1) for gap in (day_ns, day_ns + 1))
    assert entries.recorded_history(bars, Population(), record, at_most).to_ns == last
    with pytest.raises(ConfigError, match="history-rebase") as caught:
        entries.recorded_history(bars, Population(), record, beyond)
    assert caught.value.where == "$.population.history" and caught.value.exit_code == 2
    rebased = Population(history=("a.csv",), history_rebase=True)
    assert entries.recorded_history(bars, rebased, record, beyond).to_ns == last


def test_a_rebased_history_keeps_its_moves_and_ends_at_the_mark(venue):
    record, _ = contract(venue)
    klines = bars_of([50_000_000, 60_000_000, 56_000_000], [1, 1, 1], spread=0)
    population = Population(history=("a.csv",), history_rebase=True)
    history = entries.recorded_history(klines, population, record, Site(0, 1, MARK_SUB, 1))
    assert history.ticks.tolist() == [280_000, 280_000, 300_000, 250_000]
    assert history.high_sub.tolist() == [28_000_000, 28_000_000, 30_000_000, 30_000_000]
    assert history.low_sub.tolist() == [28_000_000, 28_000_000, 28_000_000, 25_000_000]
    assert "scaled by 0.5" in history.source


def test_a_long_history_shares_entry_prices_and_loses_no_extreme(venue):
    record, _ = contract(venue)
    closes = MARK_SUB + 1000 * (np.arange(5_001) % 777)
    klines = bars_of(closes, np.ones(5_001), spread=2)
    history = entries.recorded_history(klines, Population(), record, Site(0, int(klines.end_ns[-1]), MARK_SUB, 1))
    assert len(history.ticks) == 1 + 1667
    assert history.low_sub[-1] == klines.low_sub[3:].min() and history.high_sub[-1] == klines.high_sub[3:].max()


def test_the_summary_names_the_history_and_the_rejected_share(venue):
    klines = bars_of(np.linspace(25_000_000, MARK_SUB, 200).astype(np.int64), [5] * 200)
    population = Population(seed=5, accounts=2_000, history=("a.csv",))
    made = seed_population(population, venue, config.compile_venue(venue), [SITE], klines_of(klines))
    found = made.summary.instruments[0].entries
    assert (found.source, found.from_ns, found.to_ns) == ("a.csv", klines.start_ns[0], klines.end_ns[-1])
    assert 0 < found.rejected < found.draws and found.draws >= 2_000
    prices = made.events["price"][made.events["kind"] == codes.OPEN_POSITION]
    assert len(np.unique(prices)) > 150 and prices.min() < 252_000


def test_prices_are_scaled_by_the_tick_of_the_instrument_that_is_seeded():
    """The second instrument has another tick: the entry prices of its accounts are those of the bars all the same."""
    venue = config.build_venue(load_profiles(["binance_um", "binance_cm"]))
    klines = klines_of(bars_of(np.linspace(59_900_000, 60_000_000, 200).astype(np.int64), [5] * 200, spread=0))
    site = Site(1, SITE.ts_ns, 60_000 * 20, 200_000)
    population = Population(seed=5, accounts=500, history=("a.csv",), fund="20")
    made = seed_population(population, venue, config.compile_venue(venue), [site], klines)
    prices = made.events["price"][made.events["kind"] == codes.OPEN_POSITION]
    assert 599_000 <= prices.min() < prices.max() <= 600_000, "ticks of 0.1"
    found = made.summary.instruments[0].entries
    assert found.rejected < found.draws / 10


@pytest.mark.parametrize("price", ["0.0004", "9e14"])
def test_prices_that_the_instrument_cannot_show_are_refused(tmp_path, price):
    path = tmp_path / "k.csv"
    path.write_text(line(0, (price,) * 4 + ("1",)))
    with pytest.raises(FeedError, match="name klines of the instrument"):
        read_klines([path]).bars(SUB * 2)


def test_equal_prices_give_equal_digests_however_they_are_written(tmp_path):
    digests = []
    for text in ("28000", "28000.000", "28001"):
        (tmp_path / "k.csv").write_text(line(0, (text,) * 4 + ("1",)))
        digests.append(read_klines([tmp_path / "k.csv"]).digest())
    assert digests[0] == digests[1] != digests[2]


def test_the_shared_mark_klines_read_whole_and_hold_the_crash(shared_data):
    folder = shared_data / "binance_vision"
    paths = sorted(folder.glob("*.zip"))
    assert len(paths) == 2, f"two days of klines are read from {folder}"
    klines = read_klines(paths).bars(SUB)
    assert len(klines.close_sub) == 2 * 1440 and (np.diff(klines.start_ns) == 60 * 10**9).all()
    assert klines.low_sub.min() // 10**6 == 102 and not klines.volume.any()
    venue = config.build_venue(config.load_profile("binance_um"))
    record, tiers = contract(venue)
    population = Population(history=("x",), history_rebase=True, accounts=2_000)
    history = entries.recorded_history(klines, population, record, SITE)
    traders, generator = draw_traders(population, 1, 1), streams.stream(1, streams.ENTRY)
    lots, long = 100 * traders.sides[:, 0], traders.sides[:, 0] > 0
    drawn = draw_entries(generator, record, tiers, lots, traders.wished, traders.isolated, history)
    crash = 160  # minutes before the end of 10 October, in bars: 21:20
    aged = drawn.bucket > crash // 2
    assert drawn.leverage_e2[long & aged].mean() < drawn.leverage_e2[long & ~aged].mean(), (
        "high leverage did not survive"
    )
