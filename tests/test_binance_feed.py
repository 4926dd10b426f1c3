"""Raw Binance captures: bridging, gaps, funding, evidence, clocks."""

import json

import pytest
from binance_lines import BTC, SNAPSHOT, START, depth, event, force, mark, trade

from exchange import codes
from exchange.errors import FeedError
from replay.feeds import files
from replay.feeds.binance_ws import read_capture, read_with_oracle
from replay.validate import validate


def rows(tape, *fields):
    return tape.rows[list(fields)].tolist()


def book_rows(tape):
    names = {codes.LEVEL_SET: "set", codes.BOOK_CLEAR: "clear"}
    return [
        (names[kind], side, price, qty, flags)
        for kind, side, price, qty, flags in rows(tape, "kind", "side", "price", "qty", "flags")
    ]


CLEAR = ("clear", 0, 0, 0, 0)
STALE = ("clear", 0, 0, 0, codes.LAST)
LOADED = [CLEAR, ("set", 0, 100, 1000, 0), ("set", 0, 99, 2000, 0), ("set", 1, 102, 3000, codes.LAST)]


# --- book ---------------------------------------------------------------------------------------------------


def test_futures_snapshot_bridges_buffered_messages(capture):
    tape = read_capture(
        [
            capture(
                depth(80, 90, 79, [("9.0", "1")]),
                depth(95, 105, 90, [("10.0", "0"), ("9.8", "4.000")], [("10.2", "0.000")]),
                SNAPSHOT,
                depth(106, 107, 105, [], [("10.3", "1.5")]),
            )
        ],
        [BTC],
    )
    assert book_rows(tape) == [
        *LOADED,
        ("set", 0, 100, 0, 0),
        ("set", 1, 102, 0, 0),
        ("set", 0, 98, 4000, codes.LAST),
        ("set", 1, 103, 1500, codes.LAST),
    ]
    assert tape.reports[0]["depth_superseded"] == 1 and tape.reports[0]["gap_count"] == 0
    stamps = tape.rows["ts_ns"]
    assert stamps[0] == stamps[6] == (START + 2) * 1000 and stamps[7] == (START + 3) * 1000
    assert tape.rows["exchange_ns"][0] == 1680652699999 * 10**6


@pytest.mark.parametrize(
    "first, good",
    [
        (depth(90, 100, 89), True),
        (depth(100, 101, 99), True),
        (depth(101, 105, 100), True),
        (depth(102, 105, 101), False),
    ],
)
def test_first_message_after_a_futures_snapshot_must_bridge(capture, first, good):
    tape = read_capture([capture(SNAPSHOT, first)], [BTC])
    assert book_rows(tape) == LOADED + ([] if good else [STALE])
    gaps = tape.reports[0]["gaps"]
    assert gaps == (
        []
        if good
        else [{"file": "one.dat", "row": 2, "symbol": "BTCUSDT", "expected": 100, "got": 102, "reason": "bridge"}]
    )


@pytest.mark.parametrize(
    "first, last, used, stale", [(90, 100, 0, 0), (90, 101, 1, 0), (101, 102, 1, 0), (102, 103, 0, 1)]
)
def test_spot_rule(capture, first, last, used, stale):
    tape = read_capture([capture(SNAPSHOT, depth(first, last, None, [("9.7", "1")]))], [BTC])
    assert book_rows(tape) == LOADED + [("set", 0, 97, 1000, codes.LAST)] * used + [STALE] * stale


def test_a_gap_empties_the_book_until_the_next_snapshot(capture):
    later = SNAPSHOT | {"lastUpdateId": 205}
    tape = read_capture(
        [
            capture(
                SNAPSHOT,
                depth(101, 110, 100),
                depth(150, 160, 140, [("9.0", "1")]),
                depth(161, 170, 160, [("9.1", "1")]),
                depth(201, 210, 170, [("9.2", "1")]),
                later,
                depth(211, 212, 210, [("9.3", "1")]),
            )
        ],
        [BTC],
    )
    assert book_rows(tape) == [
        *LOADED,
        STALE,
        *LOADED,
        ("set", 0, 92, 1000, codes.LAST),
        ("set", 0, 93, 1000, codes.LAST),
    ]
    report = tape.reports[0]
    assert report["gaps"] == [
        {"file": "one.dat", "row": 3, "symbol": "BTCUSDT", "expected": 110, "got": 140, "reason": "chain"}
    ]
    assert report["depth_superseded"] == 2 and report["snapshots"] == 2


def test_spot_gap_and_a_gap_inside_the_buffer(capture):
    tape = read_capture([capture(SNAPSHOT, depth(101, 110, None), depth(112, 113, None))], [BTC])
    assert tape.reports[0]["gaps"][0] | {"file": ""} == {
        "file": "",
        "row": 3,
        "symbol": "BTCUSDT",
        "expected": 111,
        "got": 112,
        "reason": "chain",
    }
    tape = read_capture(
        [capture(depth(99, 105, 98), depth(120, 121, 110), depth(122, 123, 121), SNAPSHOT, depth(124, 125, 123))], [BTC]
    )
    assert book_rows(tape) == [*LOADED, STALE]
    assert tape.reports[0]["gap_count"] == 1 and tape.reports[0]["depth_dropped"] == 3


def test_without_a_snapshot_depth_is_dropped_and_counted(capture):
    tape = read_capture([capture(depth(1, 2, 0, [("9", "1")]), trade())], [BTC])
    assert rows(tape, "kind") == [(codes.TRADE_PRINT,)]
    assert tape.reports[0]["depth_dropped"] == 1


def test_a_snapshot_older_than_the_book_is_redundant(capture):
    tape = read_capture([capture(SNAPSHOT, depth(99, 105, 98), SNAPSHOT, depth(106, 107, 105, [("9.7", "1")]))], [BTC])
    assert book_rows(tape) == [*LOADED, ("set", 0, 97, 1000, codes.LAST)]
    assert tape.reports[0]["snapshots_redundant"] == 1


def test_a_newer_snapshot_replaces_the_book_and_bridges_again(capture):
    newer = SNAPSHOT | {"lastUpdateId": 110}
    tape = read_capture(
        [capture(SNAPSHOT, depth(99, 105, 98), newer, depth(106, 109, 105), depth(110, 111, 109, [("9.7", "1")]))],
        [BTC],
    )
    assert book_rows(tape) == [*LOADED, *LOADED, ("set", 0, 97, 1000, codes.LAST)]


def test_an_empty_snapshot_is_one_clear(capture):
    tape = read_capture([capture(SNAPSHOT | {"bids": [], "asks": []})], [BTC])
    assert book_rows(tape) == [STALE]


def test_files_follow_each_other_and_gzip_members_too(capture, tmp_path):
    one = capture(SNAPSHOT, depth(99, 105, 98), name="a.gz")
    two = capture(depth(106, 107, 105, [("9.7", "1")]), name="b.gz", stamps=[START + 50])
    tape = read_capture([one, two], [BTC])
    assert len(book_rows(tape)) == 5 and tape.reports[0]["gap_count"] == 0
    assert [source.name for source in tape.sources] == ["a.gz", "b.gz"]
    joined = tmp_path / "c.gz"
    joined.write_bytes(one.read_bytes() + two.read_bytes())
    assert read_capture([joined], [BTC]).digest() == tape.digest()
    with pytest.raises(FeedError, match="a.gz:1: starts no later than the file ahead of it.*in time order"):
        read_capture([two, one], [BTC])


def test_a_file_that_overlaps_the_one_before_it_is_refused(capture):
    second = 1_000_000
    one = capture(SNAPSHOT, depth(99, 105, 98), name="a", stamps=[START, START + 10 * second])
    with pytest.raises(FeedError, match="a:1: starts no later than .*give each file once") as caught:
        read_capture([one, one], [BTC])
    assert "at 2023-04-04 23:58:20.000 UTC, where a goes from 2023-04-04 23:58:20.000 UTC to" in str(caught.value)
    inside = capture(trade(), name="b", stamps=[START + 5 * second])
    with pytest.raises(FeedError, match="b:1: starts before the file ahead of it ends: at .*where a goes from"):
        read_capture([one, inside], [BTC])
    set_back = capture(trade(), name="c", stamps=[START + 9_500_000])
    assert read_capture([one, set_back], [BTC]).reports[0]["stamps_clamped"] == 1


def test_files_more_than_an_hour_apart_are_refused(capture):
    hour = 3600 * 1_000_000
    one = capture(SNAPSHOT, name="a")
    with pytest.raises(FeedError, match="b:1: starts 3,601 s after the file .*at most 3,600 s: replay them apart"):
        read_capture([one, capture(trade(), name="b", stamps=[START + hour + 1_000_000])], [BTC])
    assert len(read_capture([one, capture(trade(), name="c", stamps=[START + hour])], [BTC])) == 5


def test_blocks_of_any_size_give_the_same_tape(capture, monkeypatch):
    path = capture(
        depth(95, 99, 94),
        SNAPSHOT,
        trade(),
        *(depth(u, u, u - 1, [("9.8", str(u))]) for u in range(100, 140)),
        trade(),
        name="a.gz",
    )
    whole = read_with_oracle([path], [BTC]).tape.digest()
    monkeypatch.setattr(files, "BLOCK_BYTES", 512)
    assert read_with_oracle([path], [BTC]).tape.digest() == whole


# --- prints, marks, funding, clocks -------------------------------------------------------------------------


def test_trades_and_evidence(capture):
    tape = read_capture(
        [
            capture(
                trade(),
                trade(sold=False),
                trade(kind="INSURANCE_FUND", price="28722.50"),
                trade(kind="NA", price="0", size="0"),
            )
        ],
        [BTC],
    )
    assert rows(tape, "kind", "side", "price", "qty", "flags") == [
        (codes.TRADE_PRINT, codes.ASK, 101, 5, 0),
        (codes.TRADE_PRINT, codes.BID, 101, 5, 0),
        (codes.TRADE_PRINT, codes.ASK, 287225, 5, codes.EVIDENCE),
    ]
    report = tape.reports[0]
    assert (report["evidence_prints"], report["evidence_lots"], report["empty_prints"]) == (1, 5, 1)


def test_forced_orders_are_evidence(capture):
    tape = read_capture([capture(force(ps="BTCUSDT", st=1), force(s="BTCUSD_PERP"), force(S="BUY", z="0"))], [BTC])
    assert rows(tape, "side", "price", "qty", "flags", "exchange_ns") == [
        (codes.ASK, 99, 9, codes.EVIDENCE, 1680652700000 * 10**6)
    ]
    report = tape.reports[0]
    assert report["forced_orders"] == 2 and report["other_symbols"] == {"BTCUSD_PERP": 1} and not report["unknown_keys"]


def test_aggregated_trades_only_without_single_ones(capture):
    agg = event("aggTrade", T=1680652700000, a=1, p="10.1", q="0.007", f=1, l=2, m=False)
    ticker = event("bookTicker", u=105, b="10.0", B="1", a="10.2", A="3", T=1680652700000)
    alone = read_capture([capture(agg)], [BTC])
    assert rows(alone, "side", "qty", "order_id") == [(codes.BID, 7, 0)]
    both, oracle = read_with_oracle([capture(agg, SNAPSHOT, agg, depth(99, 105, 98), ticker, trade())], [BTC])
    assert [qty for kind, qty in rows(both, "kind", "qty") if kind == codes.TRADE_PRINT] == [5]
    assert both.reports[0]["aggregated_left_out"] == 2
    assert oracle["row"].tolist() == [4]


def test_marks_indices_and_funding(capture):
    day = 1680652800000
    tape = read_capture(
        [
            capture(
                mark("0.00002754", day),
                mark("0.00002754", day),
                mark("-0.00002760", day, now=day + 10),
                mark("0.0001", day + 28800000, now=day + 1000),
            )
        ],
        [BTC],
    )
    kinds = {codes.MARK: "mark", codes.INDEX: "index", codes.FUNDING_RATE: "rate", codes.FUNDING_SETTLE: "settle"}
    told = [(kinds[kind], price, qty) for kind, price, qty in rows(tape, "kind", "price", "qty")]
    both = [("mark", 10123, 0), ("index", 10200, 0)]
    assert told == [
        *both,
        ("rate", 27540, day * 10**6),
        *both,
        *both,
        ("rate", -27600, day * 10**6),
        *both,
        ("settle", -27600, 0),
        ("rate", 100000, (day + 28800000) * 10**6),
    ]
    assert tape.reports[0]["funding_settlements"] == 1


def test_a_settlement_moved_before_its_time_pays_nothing(capture):
    day = 1680652800000
    tape = read_capture(
        [capture(mark("0.0001", day), mark("0.0001", day + 1, now=day - 5), mark("0.0001", day - 100, now=day - 500))],
        [BTC],
    )
    assert tape.reports[0]["funding_moved"] == 2 and "FUNDING_SETTLE" not in tape.reports[0]["rows"]


def test_both_clocks(capture):
    stamps = [1680652700500, 1680652700400, 1680652700600]
    tape = read_capture([capture(trade(), trade(), trade(), stamps=stamps)], [BTC])
    assert (tape.rows["ts_ns"] // 10**6).tolist() == [1680652700500, 1680652700500, 1680652700600]
    assert set(tape.rows["exchange_ns"].tolist()) == {1680652700000 * 10**6}
    report = tape.reports[0]
    assert (report["stamps_clamped"], report["stamps_clamped_max_ns"]) == (1, 100 * 10**6)
    assert report["clock_offset_ns"] == 499 * 10**6 and report["file_offsets_ns"] == [499 * 10**6]
    nanoseconds = read_capture([capture(trade(), stamps=[1680652700500123456])], [BTC])
    assert nanoseconds.rows["ts_ns"][0] == 1680652700500123456


def test_unknown_keys_and_events_are_counted(capture):
    odd = trade()
    odd["data"]["zz"], odd["extra"] = 1, 2
    array = {"stream": "!markPrice@arr", "data": [mark("", 0)["data"], mark("", 0)["data"] | {"s": "OTHER"}]}
    tape = read_capture([capture(odd, event("kline", k={}), {"result": None, "id": 1}, array, trade())], [BTC])
    report = tape.reports[0]
    assert report["unknown_keys"] == {"envelope.extra": 1, "trade.zz": 1}
    assert report["unknown_events"] == {"(no event type)": 1, "kline": 1}
    assert report["other_symbols"] == {"OTHER": 1}
    assert report["rows"] == {"TRADE_PRINT": 2, "INDEX": 1, "MARK": 1}


def test_plain_events_without_envelope_and_blank_lines(capture):
    tape = read_capture([capture(trade()["data"], SNAPSHOT)], [BTC])
    path = capture(trade())
    path.write_bytes(b"\n" + path.read_bytes() + b"\n\n")
    assert len(tape) == 5 and len(read_capture([path], [BTC])) == 1


# --- validation ---------------------------------------------------------------------------------------------


def test_validation_compares_quotes_at_their_update_id(capture):
    def ticker(update_id, bid, bid_size):
        return event("bookTicker", u=update_id, b=bid, B=bid_size, a="10.2", A="3")

    messages = [
        ticker(105, "10.0", "1"),
        SNAPSHOT,
        depth(99, 105, 98),
        depth(106, 107, 105, [("10.1", "1")]),
        ticker(107, "10.1", "1"),
        ticker(108, "5", "5"),
        depth(109, 110, 107, [("10.1", "2")]),
    ]
    good = validate([capture(*messages)], [BTC])
    check = good.symbols[0]
    assert good.ok and (check.quotes, check.quotes_compared, check.mismatches) == (3, 2, 0)
    bad = validate([capture(*messages, ticker(110, "10.1", "1"))], [BTC])
    assert not bad.ok and bad.symbols[0].mismatches == 1
    assert bad.examples[0].quote == (101, 1000, 102, 3000) and bad.examples[0].book == (101, 2000, 102, 3000)
    assert "verdict          NOT good" in bad.text() and json.loads(bad.json())["symbols"][0]["mismatches"] == 1


def test_validation_counts_crossed_books_and_gaps(capture):
    report = validate([capture(SNAPSHOT, depth(99, 105, 98, [("10.2", "1")]), depth(120, 121, 119))], [BTC])
    assert not report.ok and report.symbols[0].crossed_messages == 1 and report.read.gap_count == 1
    assert "one.dat:3 BTCUSDT: expected update 105, got 119 (chain)" in report.text()
