"""Binance captures: exact numbers, inferred steps, and every kind of bad input."""

import gzip
from decimal import Decimal

import numpy as np
import pytest
from binance_lines import BTC, ETH, SNAPSHOT, START, depth, event, force, mark, trade
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.errors import FeedError
from replay import feeds
from replay.feeds import files
from replay.feeds.assemble import scale_of
from replay.feeds.binance_ws import read_capture, read_with_oracle
from replay.tape import InstrumentSpec

# --- numbers ------------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(
    st.from_regex(r"\A-?[0-9]{0,20}(\.[0-9]{0,10})?\Z"),
    st.sampled_from(["0.1", "0.5", "0.001", "1", "10", "0.00000001"]),
)
def test_numbers_agree_with_decimal(text, step):
    from replay.feeds import text_kernels as kernels

    count, end, code = kernels.parse_number(
        np.frombuffer(text.encode() or b" ", np.uint8), 0, len(text), *scale_of(step)
    )
    plain = text and text[0].isdigit() and text[-1].isdigit()
    if code == kernels.OK:
        assert plain and end == len(text) and count == Decimal(text) / Decimal(step)
    elif code == kernels.OFF_STEP:
        assert plain and Decimal(text) % Decimal(step)
    elif code == kernels.TOO_LARGE:
        assert len(text) > 8
    elif code == kernels.NEGATIVE:
        assert text[0] == "-"
    else:
        assert not plain


def test_steps_are_inferred_and_known_ones_kept(capture):
    path = capture(SNAPSHOT, depth(99, 105, 98, [("9.75", "1.500")]), trade(size="0.0500"))
    assert feeds.detect(path) == "binance_ws"
    assert feeds.infer([path]) == [InstrumentSpec("BTCUSDT", "0.01", "0.01", 100)]
    assert feeds.infer([path], [BTC, ETH]) == [BTC]
    assert len(feeds.read([path], feeds.infer([path]))) == 6


def test_other_files_are_not_taken_for_captures(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(FeedError, match="x.csv: not a feed"):
        feeds.detect(tmp_path / "x.csv")
    with pytest.raises(FeedError, match="no file given"):
        feeds.read([], [BTC])


# --- bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad, message",
    [
        ('{"stream":"x","data":{"e":"trade"', "malformed JSON"),
        ("[" * 3000, "malformed JSON"),
        ('{"stream":"\\ud8', "malformed JSON"),
        ("", "malformed JSON"),
        (event("trade", p="1"), "missing required field"),
        (event("trade", T=1, t=1, p=1.5, q="1", m=True), "Expected `str`"),
        (trade(price="10.15"), "price 10.15 is not a multiple of the tick 0.1"),
        (trade(size="0.0005"), "size 0.0005 is not a multiple of the lot 0.001"),
        (trade(size="-1"), "negative size -1"),
        (trade(size="0"), "both must be positive"),
        (trade(price="1e5"), "not a plain decimal"),
        (trade(price="99999999999999999999"), "not a plain decimal"),
        (trade(price="x"), "not a decimal number"),
        (depth(99, 105, 98, [("9.75", "1")]), "price 9.75 is not a multiple"),
        (depth(99, 105, 98, [], [("10.5", "-2")]), "negative size -2"),
        (depth(99, 105, 98, [("0", "1")]), "tick of at least 1"),
        (depth(99, 105, 98, [("1", "9999999999")]), "at most 2147483647 lots"),
        (depth(99, 105, 98, [("1", 5)]), "expected numbers as text"),
        (depth(99, 105, 98, [("1", "5", "6")]), "expected numbers as text"),
        (event("depthUpdate", U=99, u=105, pu=98, b="no", a=[]), "expected numbers as text"),
        (event("bookTicker", u=1, b="10.05", B="1", a="10.1", A="1"), "price 10.05"),
        (SNAPSHOT | {"lastUpdateId": 500, "asks": [["10.0", "1"]]}, "crossed snapshot: best bid 10.0, best ask 10.0"),
        (SNAPSHOT | {"symbol": "ETHUSDT"}, "unknown symbol 'ETHUSDT'"),
        (event("trade", s="XRPUSDT", T=1, t=1, p="1", q="1", m=True), "unknown symbol 'XRPUSDT'"),
        (mark("0.0001", 5, price="-3"), "not positive"),
        (mark("abc", 5), "not a decimal number"),
        (mark("0.0001", 5, price="1e999999"), "more than 9 digits"),
        (mark("-1.5", 5), "expected within -1 .. 1"),
        (force(S="HOLD"), "expected BUY or SELL"),
        (force(z="0.0001"), "not a multiple"),
        (force(ap="-1"), "both must be positive"),
    ],
)
def test_bad_lines_name_file_and_row(capture, bad, message):
    with pytest.raises(FeedError) as error:
        read_with_oracle([capture(SNAPSHOT, bad, trade())], [BTC])
    assert error.value.where == "one.dat:2" and message in str(error.value)
    assert error.value.exit_code == 3


@pytest.mark.parametrize("stamp", ["", "12345", "9" * 19, "16806527000000x0", "1680652700.5000001"])
def test_bad_stamps(capture, stamp):
    with pytest.raises(FeedError, match="one.dat:2: expected a local stamp|one.dat:2: malformed"):
        read_capture([capture(trade(), trade(), stamps=[START, stamp])], [BTC])


def test_a_snapshot_without_symbol_needs_one_symbol(capture):
    assert len(read_capture([capture(depth(99, 105, 98), SNAPSHOT)], [ETH, BTC])) == 4
    with pytest.raises(FeedError, match="one.dat:1: the snapshot names no symbol"):
        read_capture([capture(SNAPSHOT)], [ETH, BTC])


def test_truncated_and_damaged_gzip(capture, monkeypatch):
    path = capture(*[trade(size=f"0.{k:03}") for k in range(1, 400)], name="t.gz")
    whole = path.read_bytes()
    monkeypatch.setattr(files, "BLOCK_BYTES", 256)
    for cut in range(20, len(whole) - 1, 131):
        path.write_bytes(whole[:cut])
        with pytest.raises(FeedError, match=r"t.gz:\d+: truncated gzip: it ends after \d+ good rows"):
            read_capture([path], [BTC])
    path.write_bytes(whole[:900] + bytes(40) + whole[940:])
    with pytest.raises(FeedError, match=r"t.gz:\d+: "):
        read_capture([path], [BTC])


def test_bombs_are_refused(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"\n" * (40 << 20)))
    with pytest.raises(FeedError, match="decompresses more than 200 times"):
        read_capture([path], [BTC])
    path.write_bytes(b"1" * (9 << 20))
    with pytest.raises(FeedError, match="bomb.gz:1: a line longer than"):
        read_capture([path], [BTC])
    with pytest.raises(FeedError, match="more than 100 bytes"):
        list(files.CaptureFile(path, 100).blocks())


def test_bad_instruments_are_refused(capture):
    for specs in (
        [BTC, BTC],
        [InstrumentSpec("X", "0", "1")],
        [InstrumentSpec("X", "1", "a")],
        [InstrumentSpec("X", "1", "1", 0)],
    ):
        with pytest.raises(FeedError):
            read_capture([capture(trade())], specs)
