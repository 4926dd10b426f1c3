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

CAPTURES = {
    "usdm_2023": (["usdm_btcusdt_20230404.dat.gz", "usdm_btcusdt_20230405.dat.gz"], 1_565),
    "usdm_2024": (["usdm_btcusdt_20240808.gz"], 629),
}
PLAIN = {}
ANSWERING = {
    "impact": {"model": "shift", "volume": "1", "permanent_ppm": 1_000_000, "decaying_ppm": 1_000_000},
    "depth": {"refill": "persistent"},
    "queue": {"model": "power"},
}


def lots_at(exchange, side, ticks):
    book = exchange.state.book
    return int(book.levels[int(book.ladders[side]["level_base"]) + ticks]["lots"])


def whole_book(exchange):
    return tuple(SortedDict(map(tuple, exchange.levels(0, side, 10**6).tolist())) for side in (codes.BID, codes.ASK))


def total_lots(exchange, side):
    return exchange.depth_lots(0, side, 10**9) if all(exchange.best(0)) else None


@pytest.mark.parametrize("name, answers", [("usdm_2023", PLAIN), ("usdm_2024", PLAIN), ("usdm_2024", ANSWERING)])
def test_the_book_of_a_replay_without_accounts_is_the_recorded_book(binance_captures, name, answers):
    names, quotes = CAPTURES[name]
    recorded = feeds.read_with_oracle([binance_captures / file for file in names], [BTC])
    rows, oracle = recorded.tape.rows, recorded.oracle[recorded.oracle["row"] >= 0]
    exchange, expected = Exchange(config.build_venue(config.load_profile("binance_um") | answers)), LevelBook()
    done = compared = messages = next_quote = 0
    sums = [0, 0]
    for change in level_book_states(recorded.tape):
        if change.cleared:
            sums = [0, 0]
        for side, ticks, lots in change.levels:
            sums[side] += lots - (0 if change.cleared else expected.sides[side].get(ticks, 0))
        expected.apply(change)
        exchange.submit(rows[done:change.end])
        exchange.run()
        done, messages = change.end, messages + 1
        for side, ticks, lots in change.levels:
            assert lots_at(exchange, side, ticks) == lots
        assert [total_lots(exchange, side) for side in (0, 1)] == sums
        bid, ask = exchange.best(0)
        assert (bid, lots_at(exchange, 0, bid), ask, lots_at(exchange, 1, ask)) == expected.best()
        while next_quote < len(oracle) and oracle["row"][next_quote] == done:
            quote = oracle[next_quote]
            best = tuple(int(quote[field]) for field in ("bid_ticks", "bid_lots", "ask_ticks", "ask_lots"))
            assert (bid, lots_at(exchange, 0, bid), ask, lots_at(exchange, 1, ask)) == best
            next_quote, compared = next_quote + 1, compared + 1
        if messages % 2_000 == 0:
            assert whole_book(exchange) == expected.sides
    assert whole_book(exchange) == expected.sides
    assert (compared, next_quote) == (quotes, len(oracle)) and messages > 6_000
    exchange.audit()
