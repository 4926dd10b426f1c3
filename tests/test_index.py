"""An index where none was recorded: the mid just before each whole second, of the own book or of another market's."""

import numpy as np
import pytest
from binance_lines import BTC, SNAPSHOT, START, depth, mark, trade

from exchange import codes, config
from exchange.errors import ConfigError, FeedError
from replay.feeds.binance_ws import read_capture
from replay.index import describe, sample_mids, with_indices
from replay.tape import InstrumentSpec

SECOND = 1_000_000  # in the stamps of the captures, microseconds
SPOT = InstrumentSpec("BTCUSDT", "0.01", "0.000001", 100, "spot")
# Best 10.0 / 10.2 from 0.2 s on, 10.1 / 10.2 from 1.2 s on; the message of second 3 comes with its stamp.
STAMPS = [START + SECOND // 5, START + SECOND * 6 // 5, START + 3 * SECOND, START + SECOND * 7 // 2]
MESSAGES = [SNAPSHOT, depth(99, 105, 98, [("10.1", "1")]), depth(106, 107, 105, [("10.1", "0")]), trade()]


@pytest.fixture(scope="module")
def venue():
    return config.build_venue(config.load_profile("binance_um"))


@pytest.fixture
def tape(capture):
    return read_capture([capture(*MESSAGES, stamps=STAMPS)], [BTC])


def indices(tape):
    rows = tape.rows[tape.rows["kind"] == codes.INDEX]
    return [((ts - START * 1000) // 10**9, price) for ts, price in rows[["ts_ns", "price"]].tolist()]


def test_the_own_mid_is_sampled_at_whole_seconds_from_what_came_before(tape, venue):
    (mids,) = sample_mids(tape)
    assert mids.double_ticks == [202, 203, 203]
    made = with_indices(tape, None, venue)
    assert indices(made) == [(1, 10_100), (2, 10_150), (3, 10_150)]
    at_three = made.rows["kind"][made.rows["ts_ns"] == (START + 3 * SECOND) * 1000].tolist()
    assert at_three == [codes.INDEX, codes.LEVEL_SET], "the index of a second comes before what else happens in it"
    assert made.rows["seq"].tolist() == list(range(1, len(made) + 1))
    (line,) = describe(made)
    assert line.startswith(
        "index of BTCUSDT: built from its own recorded book: best bid and ask just before each whole"
    )
    assert describe(tape)[0].startswith("index of BTCUSDT: none in the feed; a replay builds it")


def test_another_market_gives_the_index_in_the_contract_s_sub_ticks(capture, tape, venue):
    spot_book = SNAPSHOT | {"bids": [["10.01", "1"]], "asks": [["10.02", "1"]]}
    late = depth(101, 101, None, [("10.00", "1")])
    spot = read_capture([capture(spot_book, late, name="spot.dat", stamps=[STAMPS[0], STAMPS[3]])], [SPOT])
    made = with_indices(tape, spot, venue)
    assert indices(made) == [(1, 10_015), (2, 10_015), (3, 10_015)]
    assert "spot BTCUSDT (spot.dat)" in describe(made)[0] and made.reports[-1]["events"] == 3
    coin = InstrumentSpec("BTCUSDT", "0.1", "0.001", 2)
    half_ticks = with_indices(read_capture([capture(*MESSAGES, stamps=STAMPS)], [coin]), spot, venue)
    assert indices(half_ticks)[0] == (1, 200), "10.015 is 200.3 half ticks"


def test_a_recorded_index_is_kept(capture, venue):
    tape = read_capture([capture(SNAPSHOT, mark("0.0001", 5), trade())], [BTC])
    made = with_indices(tape, None, venue)
    assert made is tape and describe(made) == ["index of BTCUSDT: in the feed, 1 events"]


def test_a_source_of_another_time_coin_or_without_a_book_is_refused(capture, tape, venue):
    def source(snapshot, stamps, *more):
        return read_capture([capture(snapshot, *more, name="s.dat", stamps=stamps)], [SPOT])

    later = [START + 60 * SECOND, START + 62 * SECOND]
    with pytest.raises(FeedError, match="the recordings do not meet in time: .* UTC, the feed goes from") as caught:
        with_indices(tape, source(SNAPSHOT, later, trade()), venue)
    assert "(s.dat) goes from 2023-04-04 23:59:21.000 UTC to" in str(caught.value)
    assert "the feed goes from 2023-04-04 23:58:20.200 UTC to 2023-04-04 23:58:23.500 UTC" in str(caught.value)
    long = read_capture([capture(SNAPSHOT, trade(), name="l", stamps=[START, START + 60 * SECOND])], [BTC])
    middle = [START + 20 * SECOND, START + 42 * SECOND]
    with pytest.raises(FeedError, match="begins 21.0 s after the feed and ends 18.0 s before it: the recorded book"):
        with_indices(long, source(SNAPSHOT, middle, trade()), venue)
    dear = SNAPSHOT | {"bids": [["20.00", "1"]], "asks": [["20.20", "1"]]}
    with pytest.raises(FeedError, match="starts at 20.1 where BTCUSDT trades at 10.1; expected at most 5 %"):
        with_indices(tape, source(dear, STAMPS[1:], trade()), venue)
    with pytest.raises(FeedError, match="never has two sides"):
        with_indices(tape, source(trade(), STAMPS[1:], trade()), venue)


def test_an_index_of_constituents_cannot_be_built(tape):
    table = config.load_profile("binance_um") | {"index": {"rule": "median"}}
    table["instruments"][0]["constituents"] = [{"name": "a", "weight_ppm": 1_000_000}]
    with pytest.raises(ConfigError, match="needs recorded constituents"):
        with_indices(tape, None, config.build_venue(table))


def test_a_book_of_one_side_gives_no_sample(capture):
    tape = read_capture([capture(SNAPSHOT | {"asks": []}, trade(), stamps=STAMPS[:2])], [BTC])
    assert sample_mids(tape)[0].ts_ns == [] and not np.any(tape.rows["kind"] == codes.INDEX)
