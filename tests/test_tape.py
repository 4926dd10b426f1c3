"""The tape: order, merge, slice, digest, and a Parquet file that is whole or refused."""

import numpy as np
import polars
import pytest

from exchange import codes
from exchange.errors import FeedError
from exchange.schema import EVENT
from replay import tape as tapes
from replay.feeds.extrapolation import extrapolate
from replay.tape import InstrumentSpec, Source, Tape, TapeMeta, merge

BTC = InstrumentSpec("BTCUSDT", "0.1", "0.001", 100)
ETH = InstrumentSpec("ETHUSDT", "0.01", "0.001", 100)


def make(stamps, spec=BTC, name="a.gz", price=1):
    rows = np.zeros(len(stamps), EVENT)
    rows["ts_ns"], rows["kind"], rows["price"], rows["qty"] = (
        stamps,
        codes.TRADE_PRINT,
        price,
        np.arange(len(stamps)) + 1,
    )
    return Tape(rows, TapeMeta((spec,), (Source(name, 3, "ab"),), ({"feed": name},)))


def snapshot(bids, asks, ts_ns=5):
    rows = np.zeros(1 + len(bids) + len(asks), EVENT)
    rows["ts_ns"], rows["kind"] = ts_ns, codes.LEVEL_SET
    rows["kind"][0] = codes.BOOK_CLEAR
    for k, (side, ticks, lots) in enumerate([(0, *b) for b in bids] + [(1, *a) for a in asks], 1):
        rows["side"][k], rows["price"][k], rows["qty"][k] = side, ticks, lots
    rows["flags"][-1] = codes.LAST
    return Tape(rows, TapeMeta((BTC,)))


def test_round_trip_keeps_every_field(tmp_path):
    random = np.random.default_rng(1)
    rows = np.zeros(10_000, EVENT)
    for field in EVENT.names:
        limits = np.iinfo(EVENT[field])
        rows[field] = random.integers(limits.min, limits.max, len(rows), dtype=EVENT[field], endpoint=True)
    rows["ts_ns"], rows["instrument"] = np.sort(rows["ts_ns"]), 0
    tape = Tape(rows, TapeMeta((BTC,), (Source("x.gz", 9, "00"),), ({"gaps": [1]},)))
    tape.write(tmp_path / "t.parquet")
    again = Tape.read(tmp_path / "t.parquet")
    assert np.array_equal(again.rows, tape.rows)
    assert again.meta == tape.meta
    assert again.digest() == tape.digest()
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_empty_tape_round_trip(tmp_path):
    make([]).write(tmp_path / "t.parquet")
    assert len(Tape.read(tmp_path / "t.parquet")) == 0


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "t.parquet"
    make([1, 2]).write(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(tapes.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        make([1, 2, 3]).write(path)
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]
    assert path.read_bytes() == before


def test_merge_is_by_time_then_source_then_row():
    merged = merge([make([1, 3, 3], BTC, "a"), make([1, 2, 3], ETH, "b")])
    assert [spec.symbol for spec in merged.instruments] == ["BTCUSDT", "ETHUSDT"]
    assert merged.rows[["ts_ns", "instrument", "qty"]].tolist() == [
        (1, 0, 1),
        (1, 1, 1),
        (2, 1, 2),
        (3, 0, 2),
        (3, 0, 3),
        (3, 1, 3),
    ]
    assert merged.rows["seq"].tolist() == [1, 2, 3, 4, 5, 6]
    assert [source.name for source in merged.sources] == ["a", "b"]
    assert [report["feed"] for report in merged.reports] == ["a", "b"]


def test_merge_joins_a_shared_symbol_and_refuses_other_steps():
    assert merge([make([1]), make([2])]).instruments == (BTC,)
    with pytest.raises(FeedError, match="disagree"):
        merge([make([1]), make([2], InstrumentSpec("BTCUSDT", "0.5", "0.001"))])


def test_slice_is_half_open_and_renumbered():
    part = make([1, 2, 2, 3]).slice(2, 3)
    assert part.rows[["ts_ns", "seq", "qty"]].tolist() == [(2, 1, 2), (2, 2, 3)]
    assert len(make([1, 2]).slice()) == 2


def test_digest_follows_rows_and_instruments_not_sources():
    assert make([1, 2], name="a").digest() == make([1, 2], name="b").digest()
    assert make([1, 2]).digest() != make([1, 3]).digest()
    assert make([1, 2]).digest() != make([1, 2], ETH).digest()


def spoiled(tmp_path, change):
    """A tape file whose columns or metadata were changed after it was written."""
    path = tmp_path / "t.parquet"
    make([1, 2, 3]).write(path)
    frame, text = polars.read_parquet(path), polars.read_parquet_metadata(path)[tapes.META_KEY]
    frame, text = change(frame, text)
    frame.write_parquet(path, metadata={tapes.META_KEY: text} if text is not None else None)
    return path


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda f, t: (f, t.replace('"format_version":1', '"format_version":2')),
            "tape format 2, this version reads 1",
        ),
        (lambda f, t: (f, None), "not a tape"),
        (lambda f, t: (f, "{"), "bad tape metadata"),
        (lambda f, t: (f, "[" * 5000), "bad tape metadata"),
        (lambda f, t: (f.drop("qty"), t), "columns are"),
        (lambda f, t: (f.with_columns(polars.col("qty").cast(polars.Float64)), t), "columns are"),
        (lambda f, t: (f.with_columns(polars.lit(None, polars.Int64).alias("qty")), t), "empty cells"),
        (lambda f, t: (f.reverse(), t), "goes back"),
        (lambda f, t: (f.with_columns(polars.col("qty") + 1), t), "digest differs"),
        (lambda f, t: (f.with_columns(polars.lit(3, polars.Int16).alias("instrument")), t), "beyond the 1"),
    ],
)
def test_a_spoiled_file_is_refused_by_name(tmp_path, change, message):
    with pytest.raises(FeedError, match="t.parquet") as error:
        Tape.read(spoiled(tmp_path, change))
    assert message in str(error.value)
    assert error.value.exit_code == 3


def test_damaged_bytes_are_refused(tmp_path):
    path = tmp_path / "t.parquet"
    make(list(range(2000))).write(path)
    whole = path.read_bytes()
    for cut in range(0, len(whole), 97):
        path.write_bytes(whole[:cut])
        with pytest.raises(FeedError):
            Tape.read(path)
    with pytest.raises(FeedError, match="no such file"):
        Tape.read(tmp_path / "none.parquet")


def test_a_claim_of_too_many_rows_is_refused(tmp_path, monkeypatch):
    make(list(range(100))).write(tmp_path / "t.parquet")
    monkeypatch.setattr(tapes, "ROWS_FREE", 0)
    monkeypatch.setattr(tapes, "ROWS_PER_BYTE_MAX", 0)
    with pytest.raises(FeedError, match="claims 100 rows"):
        Tape.read(tmp_path / "t.parquet")


def test_extrapolation_follows_the_stated_rule():
    tape = snapshot([(1000, 7), (998, 5), (994, 4), (990, 8)], [(1002, 9), (1003, 1), (1005, 3), (1010, 6)])
    wide = extrapolate(tape, 20_000)
    new = wide.rows[(wide.rows["flags"] & codes.EXTRAPOLATED) != 0]
    # The mid is 1001, the reach 980.98 .. 1021.02. Outer halves: 994, 990 (4 ticks, 8 lots beyond the first)
    # and 1005, 1010 (5 ticks, 6 lots).
    assert new[["side", "price", "qty"]].tolist() == [(0, 986, 8), (0, 982, 8), (1, 1015, 6), (1, 1020, 6)]
    assert np.flatnonzero(wide.rows["flags"] & codes.LAST).tolist() == [len(wide) - 1]
    assert wide.reports[-1] == {
        "step": "extrapolation",
        "reach_ppm": 20_000,
        "every_ticks": 0,
        "snapshots": 1,
        "levels": [2, 2],
        "lots": [16, 12],
    }
    assert np.array_equal(
        wide.rows[: len(tape)][["price", "qty", "side", "kind"]], tape.rows[["price", "qty", "side", "kind"]]
    )


def test_extrapolation_spacing_and_refusals():
    tape = snapshot([(1000, 7), (998, 5), (994, 4), (990, 8)], [(1002, 9), (1003, 1), (1005, 3), (1010, 6)])
    new = extrapolate(tape, 15_000, every_ticks=1).rows
    new = new[(new["flags"] & codes.EXTRAPOLATED) != 0]
    assert new["price"].tolist() == [989, 988, 987, 986, 1011, 1012, 1013, 1014, 1015, 1016]
    assert set(new["qty"][:4].tolist()) == {2} and set(new["qty"][4:].tolist()) == {1}
    thin = snapshot([(10, 1)], [(12, 1)])
    assert np.array_equal(extrapolate(thin, 500_000).rows, thin.rows)
    assert len(extrapolate(make([1]), 1000)) == 1
    for arguments in ((0,), (1_000_000,), (10, 0)):
        with pytest.raises(FeedError):
            extrapolate(tape, *arguments)
