"""The run folder is whole or absent, and holds what the session said; sessions against the reference venue."""

import os

import msgspec
import numpy as np
import polars
import pytest
from standin import StandIn

from exchange import codes, schema
from exchange.book_stream import Book
from exchange.errors import ConfigError, FeedError, InvariantError
from exchange.venue import Exchange
from replay import figures, present, recorder, session
from replay.recorder import Recorder, read_run
from replay.scenario import build_scenario, load_scenario
from replay.source import open_feed
from replay.tape import Tape

TABLE = {
    "profile": "binance_um",
    "feed": {"synthetic": {"duration_ms": 25_000, "step_ms": 500, "levels": 60, "spacing": "20", "level_size": "2"}},
    "population": {
        "accounts": 40,
        "size_sigma": 1.0,
        "size_truncation": 20,
        "open_interest_depth": 15.0,
        "leverage_long": {"median": 40.0, "sigma": 0.3},
    },
    "shocks": [
        {"kind": "move", "start_ms": 3_000, "over_ms": 6_000, "ppm": -30_000, "depth_ppm": 500_000},
        {"kind": "sell", "units": "20", "start_ms": 4_000, "over_ms": 3_000, "step_ms": 1_000},
    ],
    "run": {"seed_after_ms": 5_000, "seed": 3},
}


def scenario_of(**changes):
    return build_scenario(TABLE | changes)


def outcomes_of(*rows):
    made = np.zeros(len(rows), schema.OUTCOME)
    for k, row in enumerate(rows):
        made[k]["seq"] = k + 1
        for name, value in row.items():
            made[k][name] = value
    return made


def row_of(**values):
    return {"variant": 0, "ts_ns": 1} | values


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """One recorded run of six variants on the reference venue."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    scenario = scenario_of()
    tape = open_feed(scenario)
    with Recorder(folder) as made:
        results = session.run_scenario(scenario, tape, made, make_exchange=StandIn)
        made.close(present.run_record(scenario, tape, results))
    return folder, scenario, tape, results


def test_the_folder_holds_three_files_and_nothing_is_left_beside_it(ran):
    folder = ran[0]
    assert sorted(os.listdir(folder)) == ["outcomes.parquet", "run.json", "series.parquet"]
    assert os.listdir(folder.parent) == ["run"]


def test_the_record_says_what_ran(ran):
    folder, scenario, tape, results = ran
    record = read_run(folder)
    assert record["run_id"] == results.run_id == session.run_id(scenario, tape.digest())
    assert record["tape"]["digest"] == tape.digest()
    assert [(v["refill"], v["mode"]) for v in record["variants"]] == [
        ("none", "overlay"),
        ("none", "shadow"),
        ("decay", "overlay"),
        ("decay", "shadow"),
        ("persistent", "overlay"),
        ("persistent", "shadow"),
    ]
    assert msgspec.json.encode(record["config"]) == msgspec.json.encode(scenario.table())
    assert str(folder) not in (folder / "run.json").read_text()
    assert [msgspec.convert(row, figures.Figures) for row in record["results"]["figures"]] == list(results.figures)


def test_recorded_outcomes_give_the_same_figures(ran):
    folder, _, _, results = ran
    frame = polars.read_parquet(folder / "outcomes.parquet")
    for number, expected in enumerate(results.figures):
        own = frame.filter(polars.col("variant") == number)
        assert len(own) == expected.outcomes
        assert own["seq"].to_list() == list(range(1, len(own) + 1))
        starts = own.filter(polars.col("kind") == codes.LIQUIDATION_START)
        assert starts["account"].n_unique() == expected.liquidated_accounts


def test_the_series_adds_up_to_the_figures(ran):
    folder, _, _, results = ran
    series = polars.read_parquet(folder / "series.parquet")
    for number, expected in enumerate(results.figures):
        own = series.filter(polars.col("variant") == number)
        assert own["liquidations"].sum() == expected.liquidations
        assert own["liquidated_notional"].sum() == expected.liquidated_notional
        assert own["fund_equity"][-1] == expected.fund_end
        assert (own["ts_ns"].diff().drop_nulls() == 10**9).all()
        assert own["events"].sum() == expected.events
        assert own["open_interest_lots"][-1] == expected.open_interest_end > 0
        assert ((own["ask_ticks"] - own["bid_ticks"]) == own["spread_ticks"]).all()


def test_the_session_liquidates_and_modes_differ(ran):
    results = ran[3]
    overlay, shadow = results.figures[0], results.figures[1]
    assert overlay.liquidated_accounts > 0 and shadow.liquidated_accounts > 0
    assert overlay.digest != shadow.digest
    assert overlay.fund_start == 1_000_000_000_000
    assert overlay.mark_min < overlay.mark_start and overlay.price_move_ppm < -20_000
    assert results.amplification[0]["accounts_ratio"] == round(
        overlay.liquidated_accounts / shadow.liquidated_accounts, 4
    )


def test_the_session_repeats_itself(ran):
    _, scenario, tape, results = ran
    again = session.run_scenario(scenario, tape, make_exchange=StandIn)
    assert again.figures == results.figures
    assert again.run_id == results.run_id


def test_the_interval_does_not_change_the_outcomes():
    """Cutting the input differently moves series rows, never an outcome; seeding stays on the same boundary."""
    run = {"seed_after_ms": 5_000, "modes": ["overlay"], "refills": ["none"]}
    digests = set()
    for interval_ms in (1_000, 5_000):
        scenario = scenario_of(run=run | {"interval_ms": interval_ms})
        digests.add(session.run_scenario(scenario, open_feed(scenario), make_exchange=StandIn).figures[0].digest)
    # The stand-in digests what it drains; the reference emits the same rows in the same order.
    assert len(digests) == 1


def test_without_accounts_and_shocks_nothing_is_liquidated():
    table = {key: value for key, value in TABLE.items() if key not in ("population", "shocks")}
    scenario = build_scenario(table)
    results = session.run_scenario(scenario, open_feed(scenario), make_exchange=StandIn)
    assert results.population is None
    assert all(f.liquidations == f.forced_lots == f.open_interest_end == 0 and not f.rejected for f in results.figures)
    assert results.amplification[0]["accounts_ratio"] is None


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"shocks": [{"kind": "move", "ppm": -1000, "start_ms": 60_000}]}, ConfigError, "after the end of the tape"),
        ({"run": {"seed_after_ms": 999_000}}, FeedError, "no moment with bids"),
    ],
)
def test_what_cannot_play_is_said(changes, error, match):
    scenario = scenario_of(**changes)
    with pytest.raises(error, match=match):
        session.run_scenario(scenario, open_feed(scenario), make_exchange=StandIn)


def test_a_recording_that_is_a_cascade_itself_is_refused():
    scenario = scenario_of()
    tape = open_feed(scenario)
    prints = tape.rows["kind"] == codes.TRADE_PRINT
    tape.rows["flags"][np.flatnonzero(prints)[::2]] |= codes.EVIDENCE
    with pytest.raises(ConfigError, match="allow_recorded_forced"):
        session.run_scenario(scenario, tape, make_exchange=StandIn)
    with pytest.raises(FeedError, match="no events"):
        session.run_scenario(scenario, Tape(tape.rows[:0], tape.meta), make_exchange=StandIn)


def test_the_run_id_follows_config_and_tape_not_file_names():
    table = {"profile": "binance_um", "feed": {"files": ["/somewhere/a.dat"]}}
    base = session.run_id(build_scenario(table), "d1")
    assert base == session.run_id(build_scenario(table | {"feed": {"files": ["b.dat"]}}), "d1")
    assert base != session.run_id(build_scenario(table), "d2")
    assert base != session.run_id(build_scenario(table, ("venue.fees.taker_ppm=1",)), "d1")


# --- figures, by hand ----------------------------------------------------------------------------------------------

LINEAR = np.zeros(1, schema.INSTRUMENT)
LINEAR["unit_value"], LINEAR["mark_unit"], LINEAR["mark_per_tick"], LINEAR["kind"] = 100, 1, 100, codes.LINEAR
INVERSE = np.zeros(1, schema.INSTRUMENT)  # 100 USD a contract, tick 0.1, 10**8 quanta a coin, two sub-ticks a tick
INVERSE["unit_value"], INVERSE["mark_unit"], INVERSE["mark_per_tick"] = 10**11, 2 * 10**11, 2
INVERSE["kind"] = codes.INVERSE


def test_slippage_is_against_the_mark_of_the_moment():
    outcomes = outcomes_of(
        {
            "kind": codes.FILL,
            "flags": codes.FORCED | codes.SELL,
            "lots": 2,
            "price": 9,
            "account": 8,
        },  # mark 1000: sold 1 tick below
        {"kind": codes.MARK_PRICE, "price": 2000},
        {
            "kind": codes.FILL,
            "flags": codes.FORCED,
            "lots": 3,
            "price": 22,
            "account": 9,
        },  # mark 2000: bought 2 ticks above
        {"kind": codes.FILL, "flags": codes.FORCED | codes.MAKER, "lots": 3, "price": 99, "account": 10},
    )
    assert figures.forced_slippage(outcomes, LINEAR[0], 0, 1000) == (2 * 100 + 3 * 200, 2 * 1000 + 3 * 2000)


def test_slippage_and_notional_of_an_inverse_contract_are_in_coin():
    outcomes = outcomes_of(  # marks in half ticks: 50,000.0 is 1,000,000
        {"kind": codes.FILL, "flags": codes.FORCED | codes.SELL, "lots": 100, "price": 480_000, "account": 8},
        {"kind": codes.MARK_PRICE, "price": 800_000},
        {"kind": codes.FILL, "flags": codes.FORCED, "lots": 30, "price": 420_000, "account": 9},
        {"kind": codes.TAKEOVER, "lots": -4, "price": 400_000, "account": 9},
    )
    # Selling 10,000 USD at 48,000 owes 20,833,333 quanta where 50,000 owes 20,000,000. Buying 3,000 USD back at 42,000
    # gets 7,142,857 where 40,000 gets 7,500,000. The takeover is 400 USD at 40,000.
    assert figures.forced_slippage(outcomes, INVERSE[0], 0, 1_000_000) == (833_333 + 357_143, 27_500_000)
    assert figures.liquidated_notional(outcomes, INVERSE) == 20_833_333 + 7_142_857 + 1_000_000


def test_figures_of_one_instrument_hold_its_own_outcomes_and_its_cross_liquidations():
    outcomes = outcomes_of(
        {"kind": codes.LIQUIDATION_START, "account": 8, "instrument": -1, "liquidation_id": 1},
        {"kind": codes.FILL, "flags": codes.FORCED, "lots": 1, "price": 5, "instrument": 1, "liquidation_id": 1},
        {"kind": codes.LIQUIDATION_START, "account": 9, "instrument": 0, "liquidation_id": 2},
    )
    own = [figures.of_instruments(outcomes, [k], 2)["seq"].tolist() for k in range(2)]
    assert own == [outcomes["seq"][2:].tolist(), outcomes["seq"][:2].tolist()]
    assert len(figures.of_instruments(outcomes[:1], [0], 1)) == 1


def test_each_close_is_counted_once():
    outcomes = outcomes_of(
        {"kind": codes.LIQUIDATION_START, "account": 8},
        {"kind": codes.LIQUIDATION_START, "account": 8},
        {"kind": codes.LIQUIDATION_START, "account": codes.INSURANCE},
        {"kind": codes.FILL, "flags": codes.FORCED | codes.EXTRAPOLATED, "lots": 1, "price": 5, "account": 8},
        {"kind": codes.FILL, "flags": codes.FORCED | codes.SHADOW, "lots": 3, "price": 5, "account": 8},
        {"kind": codes.TAKEOVER, "lots": -4, "price": 5, "account": 8},
        {"kind": codes.ADL, "lots": -2, "price": 5, "account": 8, "counterparty": 9},
        {"kind": codes.ADL, "lots": 2, "price": 5, "account": 9, "counterparty": 8},
        {"kind": codes.TAKEN, "lots": -3, "price": 500, "account": 8, "counterparty": 9},  # in sub-ticks
        {"kind": codes.TAKEN, "lots": 3, "price": 500, "account": 9, "counterparty": 8},
        {"kind": codes.DEFICIT, "account": 8, "money": -70},
        {"kind": codes.DEFICIT, "account": codes.INSURANCE, "money": -5},
    )
    assert figures.liquidated_accounts(outcomes) == figures.liquidated_through_book(outcomes) == 1
    assert figures.liquidations(outcomes) == 2
    assert figures.extrapolated_share(outcomes) == 0.25
    assert len(figures.adl_closes(outcomes)) == 1
    assert figures.notional(figures.taken(outcomes), LINEAR) == 3 * 5 * 100
    assert figures.liquidated_notional(outcomes, LINEAR) == (1 + 3 + 4 + 2 + 3) * 5 * 100
    assert figures.deficits(outcomes)["money"].sum() == -70


# --- the folder ------------------------------------------------------------------------------------------------------


def test_an_error_leaves_nothing_behind(tmp_path):
    with pytest.raises(RuntimeError), Recorder(tmp_path / "run") as made:
        made.outcomes(0, outcomes_of({}, {}))
        made.records["outcomes"].flush()
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_chunks_are_joined_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "CHUNK_ROWS", 3)
    with Recorder(tmp_path / "run") as made:
        for k in range(10):
            made.outcomes(k // 5, outcomes_of({"money": 2 * k}, {"money": 2 * k + 1}))
        made.series(row_of())
        assert len(made.records["outcomes"].parts) >= 3
        made.close({})
    frame = polars.read_parquet(tmp_path / "run" / "outcomes.parquet")
    assert frame["money"].to_list() == list(range(20))
    assert frame["variant"].to_list() == [0] * 10 + [1] * 10
    assert sorted(os.listdir(tmp_path / "run")) == sorted(recorder.FILES)


def test_the_changes_of_the_books_are_recorded_where_the_venue_publishes_them(tmp_path):
    scenario = scenario_of(venue={"publish_book": True}, run={"seed_after_ms": 5_000, "modes": ["overlay"],
                                                              "refills": ["none"], "sensitivity": False})
    tape, made = open_feed(scenario), []

    def exchange_of(venue):
        made.append(Exchange(venue))
        return made[-1]

    with Recorder(tmp_path / "run") as kept:
        session.run_scenario(scenario, tape, kept, make_exchange=exchange_of)
        kept.close({})
    assert sorted(os.listdir(tmp_path / "run")) == sorted(["book_changes.parquet", *recorder.FILES])
    frame, rebuilt = polars.read_parquet(tmp_path / "run" / "book_changes.parquet"), Book()
    assert set(frame["variant"]) == {0} and frame["seq"].to_list() == list(range(1, len(frame) + 1))
    rows = np.zeros(len(frame), schema.BOOK_CHANGE)
    for name in schema.BOOK_CHANGE.names:
        rows[name] = frame[name].to_numpy()
    rebuilt.apply(rows)
    for side in (codes.BID, codes.ASK):
        assert rebuilt.levels(0, side) == [tuple(row) for row in made[0].levels(0, side, 10**6).tolist()]


def test_an_existing_run_is_replaced_only_by_force(tmp_path):
    def write(note, force=False):
        with Recorder(tmp_path / "run", force) as made:
            made.series(row_of())
            made.close({"note": note})

    write("first")
    with pytest.raises(ConfigError, match="--force"):
        write("second")
    assert read_run(tmp_path / "run")["note"] == "first"
    write("second", force=True)
    assert read_run(tmp_path / "run")["note"] == "second"
    assert os.listdir(tmp_path) == ["run"]


def test_force_does_not_replace_what_is_no_run(tmp_path):
    (tmp_path / "precious").mkdir()
    with pytest.raises(ConfigError, match="not a run folder"):
        Recorder(tmp_path / "precious", force=True)


def test_a_folder_that_is_not_whole_is_refused(tmp_path, ran):
    with pytest.raises(FeedError, match="outcomes.parquet"):
        read_run(tmp_path)
    for name in recorder.FILES:
        (tmp_path / name).write_bytes((ran[0] / name).read_bytes())
    (tmp_path / "run.json").write_text('{"format_version": 99}')
    with pytest.raises(FeedError, match="99"):
        read_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(FeedError, match="JSON"):
        read_run(tmp_path)


def test_the_headline_is_also_run_with_the_truncation_halved_and_doubled(ran):
    """The scenario's own row is its own first refill model; nothing of the others is recorded as a variant."""
    results = ran[3]
    assert [row["size_truncation"] for row in results.sensitivity] == [10, 20, 40]
    own = results.sensitivity[1]
    headline = results.amplification[0] | {"symbol": "all"}
    assert own == {"size_truncation": 20, "top_ten_share": results.population.assets[0].top_ten_share} | headline
    assert len({row["top_ten_share"] for row in results.sensitivity}) == 3
    assert len(results.figures) == 6
    assert set(polars.read_parquet(ran[0] / "series.parquet")["variant"].unique()) == {0, 1, 2, 3, 4, 5}


def test_no_sensitivity_is_run_where_it_is_off_or_there_is_no_headline():
    short = {"seed_after_ms": 5_000, "seed": 3, "refills": ["none"]}
    for change in ({"sensitivity": False}, {"modes": ["overlay"]}):
        scenario = scenario_of(run=short | change)
        assert session.run_scenario(scenario, open_feed(scenario), make_exchange=StandIn).sensitivity == []


def poorer(events, account):
    """The deposits of one account are a quantum each."""
    events["qty"][(events["kind"] == codes.DEPOSIT) & (events["account"] == account)] = 1
    return events


@pytest.mark.parametrize("made", [StandIn, Exchange])
@pytest.mark.parametrize("delay_ns", [0, 995_000_000])
def test_a_run_that_would_start_with_a_liquidation_is_refused(monkeypatch, made, delay_ns):
    """Whoever it is: a trader in cross or isolated margin, or a hedger."""
    scenario = scenario_of(venue={"liquidation": {"detection_delay_ns": delay_ns}})
    tape, seed = open_feed(scenario), session.seeding.seed_population
    for account in (codes.FIRST_USER, codes.FIRST_USER + 40):
        monkeypatch.setattr(
            session.seeding,
            "seed_population",
            lambda *given, account=account: msgspec.structs.replace(
                seed(*given), events=poorer(seed(*given).events, account)
            ),
        )
        with pytest.raises(InvariantError, match=f"1 accounts would be liquidated at once, the first {account}"):
            session.run_scenario(scenario, tape, make_exchange=made)


def test_files_of_a_population_are_beside_the_scenario_and_part_of_the_run_id(tmp_path):
    """Klines before the synthetic market's start: entries lie in them, and other klines are another run."""
    start_ms = 1_700_006_400_000 - 600_000
    for name, price in (("a.csv", 28_000), ("b.csv", 28_010)):
        bars = [
            f"{start_ms + k * 1000},{price},{price},{price},{price},1,{start_ms + k * 1000 + 999}" for k in range(9)
        ]
        (tmp_path / name).write_text("\n".join(bars))
    results = {}
    for name in ("a.csv", "b.csv"):
        text = f"""profile = "binance_um"
            feed.synthetic = {{ duration_ms = 25_000, step_ms = 500, levels = 60, spacing = "20", level_size = "2" }}
            population = {{ accounts = 40, size_sigma = 1.0, size_truncation = 20, history = ["{name}"] }}
            run = {{ seed_after_ms = 5_000, refills = ["none"], modes = ["shadow"] }}
        """
        (tmp_path / "s.toml").write_text(text)
        loaded = load_scenario(tmp_path / "s.toml")
        results[name] = session.run_scenario(loaded, open_feed(loaded), make_exchange=StandIn)
        assert loaded.table()["population"]["history"] == [name], "records carry names, not paths of this machine"
    first, second = results.values()
    assert first.population.instruments[0].entries.source == "a.csv" and first.run_id != second.run_id
    assert first.population.instruments[0].entries.to_ns == (start_ms + 9_000) * 10**6
