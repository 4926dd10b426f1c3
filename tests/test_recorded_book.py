"""Without accounts and shocks the venue's book is the recorded one: after every message, and at every recorded quote.

Whatever answers simulated flow: impact, refill and queue models change nothing where there is none.
"""

import pytest
from binance_lines import BTC
from sortedcontainers import SortedDict

from exchange import codes, config
from exchange.venue import Exchange
from replay import feeds
from replay.feeds.level_book import LevelBook, level_book_states
from replay.scenario import load_profiles
from replay.source import read_files
from replay.tape import InstrumentSpec, level_slots, spec_of

TIERS = [{"floor": "0", "maintenance_ppm": 4_000, "leverage_max": 10}]
SPOT_MARKET = {  # listed as a contract here, so that its book goes through the venue too
    "symbol": "BTCUSDT", "settle": "USDT", "tick": "0.01", "lot": "0.000001", "price_max": "1000000",
    "order_max": "2000", "position_max": "2000", "open_interest_max": "2000", "tiers": TIERS,
}  # fmt: skip
VENUES = {
    "usdm": load_profiles("binance_um"),
    "coinm": load_profiles("binance_cm"),
    "spot": {"name": "s", "assets": [{"name": "USDT", "quantum": "0.00000001"}], "instruments": [SPOT_MARKET]},
    "both": load_profiles(["binance_um", "binance_cm"]),
}
COIN = InstrumentSpec("BTCUSD_PERP", "0.1", "1", 2, "inverse")
SPOT = InstrumentSpec("BTCUSDT", "0.01", "0.000001", 1, "spot")
CAPTURES = {
    "usdm_2023": (["usdm_btcusdt_20230404.dat.gz", "usdm_btcusdt_20230405.dat.gz"], BTC, 16_111, 1_565),
    "usdm_2024": (["usdm_btcusdt_20240808.gz"], BTC, 6_548, 629),
    "coinm_2024": (["coinm_btcusd_perp_20240808.gz", "coinm_btcusd_perp_20240809.gz"], COIN, 44_773, 1_885),
    "spot_2024": (["spot_btcusdt_20240808.gz"], SPOT, 3_450, 564),
}
PLAIN = {}
ANSWERING = {
    "impact": {"model": "shift", "volume": "1", "permanent_ppm": 1_000_000, "decaying_ppm": 1_000_000},
    "depth": {"refill": "persistent"},
    "queue": {"model": "power"},
}


def listed(name, rows, answers=PLAIN):
    """The venue of a kind of capture, with room for all its levels, and what answers simulated flow."""
    levels = level_slots(rows) + 1
    room = {"external_levels": levels, "orders": levels + 1_000}
    return Exchange(config.build_venue(VENUES[name] | {"capacity": room} | answers))


def lots_at(exchange, side, ticks, instrument=0):
    book = exchange.state.book
    return int(book.levels[int(book.ladders[2 * instrument + side]["level_base"]) + ticks]["lots"])


def best_of(exchange, instrument=0):
    bid, ask = exchange.best(instrument)
    return bid, lots_at(exchange, 0, bid, instrument), ask, lots_at(exchange, 1, ask, instrument)


def whole_book(exchange, instrument=0):
    return tuple(
        SortedDict(map(tuple, exchange.levels(instrument, side, 10**6).tolist())) for side in (codes.BID, codes.ASK)
    )


def total_lots(exchange, side):
    return exchange.depth_lots(0, side, 10**9) if all(exchange.best(0)) else None


@pytest.mark.parametrize("name, answers", [*((name, PLAIN) for name in CAPTURES), ("usdm_2024", ANSWERING)])
def test_the_book_of_a_replay_without_accounts_is_the_recorded_book(binance_captures, name, answers):
    names, spec, message_count, quotes = CAPTURES[name]
    recorded = feeds.read_with_oracle([binance_captures / file for file in names], [spec])
    rows, oracle = recorded.tape.rows, recorded.oracle[recorded.oracle["row"] >= 0]
    exchange, expected = listed(name.partition("_")[0], rows, answers), LevelBook()
    done = compared = messages = next_quote = 0
    sums = [0, 0]
    for change in level_book_states(recorded.tape):
        if change.cleared:
            sums = [0, 0]
        for side, ticks, lots in change.levels:
            sums[side] += lots - (0 if change.cleared else expected.sides[side].get(ticks, 0))
        expected.apply(change)
        exchange.submit(rows[done : change.end])
        exchange.run()
        done, messages = change.end, messages + 1
        for side, ticks, lots in change.levels:
            assert lots_at(exchange, side, ticks) == lots
        assert [total_lots(exchange, side) for side in (0, 1)] == sums
        assert best_of(exchange) == expected.best()
        while next_quote < len(oracle) and oracle["row"][next_quote] == done:
            quote = oracle[next_quote]
            best = tuple(int(quote[field]) for field in ("bid_ticks", "bid_lots", "ask_ticks", "ask_lots"))
            assert best_of(exchange) == best
            next_quote, compared = next_quote + 1, compared + 1
        if messages % 2_000 == 0:
            assert whole_book(exchange) == expected.sides
    assert whole_book(exchange) == expected.sides
    assert (messages, compared, next_quote) == (message_count, quotes, len(oracle))
    exchange.audit()


def test_the_books_of_two_merged_markets_are_each_the_recorded_one(binance_captures):
    venue = config.build_venue(VENUES["both"])
    files = [binance_captures / CAPTURES[name][0][0] for name in ("usdm_2024", "coinm_2024")]
    tape = read_files(files, [spec_of(instrument) for instrument in venue.instruments])
    assert [spec.symbol for spec in tape.instruments] == ["BTCUSDT", "BTCUSD_PERP"]
    exchange, books = listed("both", tape.rows), (LevelBook(), LevelBook())
    done, messages = 0, [0, 0]
    for change in level_book_states(tape):
        books[change.instrument].apply(change)
        exchange.submit(tape.rows[done : change.end])
        exchange.run()
        done = change.end
        messages[change.instrument] += 1
        assert best_of(exchange, change.instrument) == books[change.instrument].best()
    assert messages[0] == CAPTURES["usdm_2024"][2] and 20_000 < messages[1] < CAPTURES["coinm_2024"][2]
    assert [whole_book(exchange, k) for k in range(2)] == [book.sides for book in books]
    exchange.audit()
