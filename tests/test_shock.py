"""Shocks: sizes add up, ramps end where they should, overlapping moves are summed, bad ones are refused."""

import numpy as np
import pytest

from exchange import codes, config
from exchange.errors import ConfigError
from replay.population import Site
from replay.shock import Shock, check_shocks, parse_shock, shock_events

START = 10**18
SITE = Site(0, START, 280_000 * 100, 2_000_000, first_account=50)


@pytest.fixture(scope="module")
def venue():
    return config.build_venue(config.load_profile("binance_um"))


def events_of(venue, *shocks):
    return shock_events(shocks, venue, config.compile_venue(venue), [SITE])


def test_an_external_sell_is_market_orders_that_add_up(venue):
    events = events_of(venue, Shock(kind="sell", units="100.007", start_ms=1_000, over_ms=5_000, step_ms=500))
    orders = events[events["kind"] == codes.NEW]
    assert orders["qty"].sum() == 100_007
    assert len(orders) == 10
    assert (orders["side"] == codes.ASK).all() and (orders["flags"] == codes.MARKET).all()
    assert (orders["time_in_force"] == codes.IOC).all() and len(set(orders["order_id"])) == 10
    assert orders["ts_ns"][0] == START + 10**9 and orders["ts_ns"][-1] == START + 5_500_000_000
    funding = events[events["ts_ns"] == START]
    assert list(funding["kind"]) == [codes.DEPOSIT, codes.SET_LEVERAGE] and set(funding["account"]) == {50}
    assert funding["qty"][0] == 3 * 100_007 * 280_000 * 100, "three times what it trades, in quanta"


def test_two_external_traders_have_accounts_and_ids_of_their_own(venue):
    events = events_of(venue, Shock(kind="sell", units="10"), Shock(kind="buy", units="10"))
    orders = events[events["kind"] == codes.NEW]
    assert set(orders["account"]) == {50, 51}
    assert len(set(orders["order_id"])) == len(orders)
    assert {int(o["account"]): int(o["side"]) for o in orders} == {50: codes.ASK, 51: codes.BID}


def test_a_move_ramps_book_and_lagged_index_to_the_same_end(venue):
    events = events_of(
        venue,
        Shock(kind="move", ppm=-50_000, start_ms=2_000, over_ms=10_000, step_ms=1_000, lag_ms=300, depth_ppm=250_000),
    )
    book = events[events["flags"] == codes.SHIFT_BOOK]
    index = events[events["flags"] == codes.SHIFT_INDEX]
    assert book["price"][-1] == index["price"][-1] == -14_000
    assert (np.diff(book["price"]) < 0).all() and (np.diff(index["price"]) < 0).all()
    assert (book["qty"] == 250_000).all(), "depth is thin from the start of the move on"
    assert book["price"][0] == 0 and (book["side"][1:] == codes.ASK).all()
    assert index["ts_ns"][-1] - book["ts_ns"][-1] == 300_000_000
    assert (np.diff(events["ts_ns"]) >= 0).all()


def test_overlapping_moves_are_summed(venue):
    events = events_of(
        venue,
        Shock(kind="move", ppm=-40_000, start_ms=0, over_ms=4_000, step_ms=1_000),
        Shock(kind="move", ppm=30_000, start_ms=2_000, over_ms=4_000, step_ms=1_000),
    )
    book = events[events["flags"] == codes.SHIFT_BOOK]
    at = {int(row["ts_ns"] - START) // 10**9: int(row["price"]) for row in book}
    assert at == {
        0: 0,
        1: -2_800,
        2: -5_600,
        3: -8_400 + 2_100,
        4: -11_200 + 4_200,
        5: -11_200 + 6_300,
        6: -11_200 + 8_400,
    }


def test_an_index_shock_leaves_the_book_alone_and_says_so(venue):
    shock = Shock(kind="index", ppm=-30_000)
    events = events_of(venue, shock)
    assert set(events["kind"]) == {codes.SHIFT} and set(events["flags"]) == {codes.SHIFT_INDEX}
    assert "oracle attack" in shock.label("units")


def test_a_jump_has_no_ramp(venue):
    events = events_of(venue, Shock(kind="move", ppm=10_000, start_ms=5, over_ms=0))
    assert set(events["price"]) == {2_800} and set(events["ts_ns"]) == {START + 5_000_000}


def test_no_shock_is_no_event(venue):
    assert len(events_of(venue)) == 0


def test_command_line_spelling():
    assert parse_shock("move:ppm=-80_000,over_ms=60000") == Shock(kind="move", ppm=-80_000, over_ms=60_000)
    assert parse_shock("sell:units=12.5") == Shock(kind="sell", units="12.5")


@pytest.mark.parametrize("text", ["crash:ppm=1", "move:ppm", "move:ppm=few", "move:speed=3", "sell:units=1,step_ms=0"])
def test_bad_spelling_is_refused(text):
    with pytest.raises(ConfigError, match="--shock"):
        parse_shock(text)


def test_an_unknown_kind_comes_with_those_there_are():
    with pytest.raises(ConfigError, match="'foo:ppm=1', kind: .*'foo'; expected one of buy, index, move, sell"):
        parse_shock("foo:ppm=1")


@pytest.mark.parametrize(
    ("shock", "field"),
    [
        (Shock(kind="sell"), "units"),
        (Shock(kind="sell", units="-3"), "units"),
        (Shock(kind="sell", units="3", ppm=-1), ""),
        (Shock(kind="move"), "ppm"),
        (Shock(kind="move", ppm=5, units="3"), "units"),
        (Shock(kind="index", ppm=5, lag_ms=1), ""),
    ],
)
def test_contradictions_are_refused_with_their_path(shock, field):
    with pytest.raises(ConfigError) as caught:
        check_shocks((shock,))
    assert caught.value.where == "$.shocks[0]" + (f".{field}" if field else "")


@pytest.mark.parametrize("shock", [Shock(kind="sell", units="30000"), Shock(kind="sell", units="5000", over_ms=500)])
def test_an_order_beyond_the_venue_limits_is_refused(venue, shock):
    with pytest.raises(ConfigError, match=r"position_max|order_max"):
        events_of(venue, shock)
