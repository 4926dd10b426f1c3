"""The recorded Binance captures: books against quotes, books against the plain JSON."""

import gzip
import json
from decimal import Decimal

import pytest
from binance_lines import BTC

from replay import feeds
from replay.feeds.binance_ws import read_capture
from replay.feeds.level_book import LevelBook, level_book_states
from replay.tape import InstrumentSpec
from replay.validate import validate

SPOT = InstrumentSpec("BTCUSDT", "0.01", "0.000001", 100, "spot")
COIN = InstrumentSpec("BTCUSD_PERP", "0.1", "1", 100, "inverse")
CAPTURES = {
    "usdm_2023": (["usdm_btcusdt_20230404.dat.gz", "usdm_btcusdt_20230405.dat.gz"], BTC, 338_655, 1_565),
    "usdm_2024": (["usdm_btcusdt_20240808.gz"], BTC, 466_576, 629),
    "coinm_2024": (["coinm_btcusd_perp_20240808.gz", "coinm_btcusd_perp_20240809.gz"], COIN, 666_641, 1_885),
    "spot_2024": (["spot_btcusdt_20240808.gz"], SPOT, 135_831, 564),
}


@pytest.mark.parametrize("name", CAPTURES)
def test_recorded_book_equals_recorded_quotes(binance_captures, name):
    names, spec, size, compared = CAPTURES[name]
    report = validate([binance_captures / n for n in names])
    (check,) = report.symbols
    assert report.ok, report.text()
    assert (report.tape_rows, check.quotes_compared, check.mismatches, check.crossed_messages) == (size, compared, 0, 0)
    assert feeds.infer([binance_captures / n for n in names]) == [spec]


def test_recorded_session_with_funding_and_evidence(binance_captures):
    report = validate([binance_captures / n for n in CAPTURES["usdm_2023"][0]], [BTC])
    assert report.read.messages == {
        "bookTicker": 44205,
        "depthUpdate": 16110,
        "markPriceUpdate": 514,
        "snapshot": 1,
        "trade": 12935,
    }
    assert (report.read.funding_settlements, report.read.evidence_prints, report.read.evidence_lots) == (1, 1, 1)
    assert (report.symbols[0].traded_low, report.symbols[0].traded_high) == ("28136.0", "28159.2")
    assert not report.read.unknown_keys and not report.read.unknown_events and report.read.stamps_clamped == 0


def test_recording_without_snapshot_has_prints_only(binance_captures):
    tape = read_capture([binance_captures / "spot_btcusdt_20230405.dat.gz"], [SPOT])
    assert tape.reports[0]["rows"] == {"TRADE_PRINT": 3144} and tape.reports[0]["depth_dropped"] == 3929


@pytest.mark.parametrize("name", CAPTURES)
def test_whole_book_equals_one_built_from_the_json_after_every_message(binance_captures, name):
    names, spec, _, _ = CAPTURES[name]
    tick, lot = Decimal(spec.tick), Decimal(spec.lot)
    tape = read_capture([binance_captures / n for n in names], [spec])
    book, states, compared = LevelBook(), level_book_states(tape), 0
    for expected in plain_books([binance_captures / n for n in names], spec.kind == "spot"):
        book.apply(next(states))
        changed, sides = expected
        assert [len(side) for side in book.sides] == [len(side) for side in sides]
        for side, price in changed:
            ticks = int(Decimal(price) / tick)
            assert book.sides[side].get(ticks, 0) == sides[side].get(Decimal(price), Decimal(0)) / lot
        compared += 1
    assert next(states, None) is None and compared > 3_000
    assert [{k * tick: v * lot for k, v in side.items()} for side in book.sides] == list(sides)


def plain_books(paths, spot):
    """The obvious reader: json, Decimal and dicts. Yields (changed prices, books) after each message with levels."""
    sides, waiting, loaded = ({}, {}), [], None
    for line in b"".join(gzip.decompress(path.read_bytes()) for path in paths).splitlines():
        message = json.loads(line.split(b" ", 1)[1])
        data = message.get("data", message)
        if "lastUpdateId" in data:
            loaded = data["lastUpdateId"]
            needed = loaded + spot  # a spot snapshot holds its own last update whole
            queue = [{"u": loaded, "b": data["bids"], "a": data["asks"]}, *(m for m in waiting if m["u"] >= needed)]
        elif data.get("e") != "depthUpdate":
            continue
        elif loaded is None:
            waiting.append(data)
            continue
        else:
            queue = [data] if data["u"] >= needed else []
        for one in queue:
            changed = [(side, price) for side, key in enumerate("ba") for price, _ in one[key]]
            for side, key in enumerate("ba"):
                for price, size in one[key]:
                    sides[side][Decimal(price)] = Decimal(size)
                    if not Decimal(size):
                        del sides[side][Decimal(price)]
            if changed:
                yield changed, sides
