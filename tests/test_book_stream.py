"""Views and the stream of book changes: what they hand out is the venue's book, order by order. DESIGN §3.9."""

import numpy as np
import polars
import pytest

from exchange import codes, config, schema
from exchange.book_stream import Book, levels_of
from exchange.codes import ASK, BID
from exchange.venue import Exchange
from replay.frames import frame
from tests.campaign_events import make_events, make_venue
from tests.desk import FIRST, Desk

A, B, C = FIRST, FIRST + 1, FIRST + 2
SIDES = (BID, ASK)


def played(seed, count, **changed):
    venue = make_venue(seed)
    table = {**config.to_table(venue), "publish_book": True, **changed}
    return Exchange(config.build_venue(table)), make_events(venue, seed, count)


def shown(exchange, instrument, side):
    rows = exchange.book_orders(instrument, side).tolist()
    return [(ticks, (order_id, account, leaves)) for order_id, _, _, account, ticks, leaves in rows]


def assert_equal(exchange, book):
    for instrument in range(len(exchange.books)):
        for side in SIDES:
            assert book.orders(instrument, side) == shown(exchange, instrument, side)
            levels = exchange.levels(instrument, side, 10**6).tolist()
            assert book.levels(instrument, side) == [tuple(row) for row in levels]


@pytest.mark.parametrize("seed", range(12))
def test_a_book_built_from_the_changes_is_the_venues_after_every_event(seed):
    exchange, events = played(seed, 350)
    book, levels, seen = Book(), {}, 0
    for k in range(len(events)):
        exchange.submit(events[k:k + 1])
        exchange.run()
        changes = exchange.book_changes()
        assert changes["seq"].tolist() == list(range(seen + 1, seen + 1 + len(changes)))
        assert np.all(changes["event_seq"] <= exchange.events_processed)
        seen += len(changes)
        book.apply(changes)
        for row in levels_of(changes):
            levels[int(row["instrument"]), int(row["side"]), int(row["ticks"])] = int(row["level_lots"])
        assert_equal(exchange, book)
    for instrument in range(len(exchange.books)):
        for side in SIDES:
            held = {ticks: lots for (k, s, ticks), lots in levels.items() if (k, s) == (instrument, side) and lots}
            assert sorted(held.items(), reverse=side == BID) == book.levels(instrument, side)


def test_a_book_may_be_loaded_in_mid_stream():
    exchange, events = played(3, 900)
    exchange.submit(events[:500])
    exchange.run()
    exchange.book_changes()
    book = Book()
    for instrument in range(len(exchange.books)):
        for side in SIDES:
            book.load(instrument, side, exchange.book_orders(instrument, side))
    exchange.submit(events[500:])
    exchange.run()
    book.apply(exchange.book_changes())
    assert_equal(exchange, book)


def test_the_level_stream_has_one_row_for_each_price_that_an_event_changed():
    rows = np.zeros(4, schema.BOOK_CHANGE)
    rows["event_seq"], rows["ticks"], rows["level_lots"] = (1, 1, 1, 2), (10, 11, 10, 10), (5, 7, 3, 0)
    assert levels_of(rows)[["ticks", "level_lots"]].tolist() == [(11, 7), (10, 3), (10, 0)]


def test_publishing_changes_no_outcome_and_copies_go_their_own_way():
    published, events = played(5, 800)
    silent, _ = played(5, 0, publish_book=False)
    for exchange in (published, silent):
        exchange.submit(events)
        exchange.run()
    assert published.digest() == silent.digest() and published.state_digest() == silent.state_digest()
    assert len(silent.book_changes()) == 0
    assert len(published.copy().book_changes()) == len(published.book_changes()) > 0


def test_a_least_outbox_holds_what_an_event_does_to_the_books():
    exchange, events = played(7, 1_500)
    table = config.to_table(exchange.venue)
    per_order = int(exchange.compiled.policy["outcomes_per_order"][0])
    least = {**table["capacity"], "orders": 60, "outcomes": per_order * 60 + codes.OUTCOMES_PER_STEP}
    tight = Exchange(config.build_venue({**table, "capacity": least}))
    tight.submit(events)
    tight.run()
    book = Book()
    book.apply(tight.book_changes())
    assert_equal(tight, book)


# --- views -------------------------------------------------------------------------------------------------------

def quoted():
    made = Desk()
    made.fund(A, B, C)
    made.mark(1_000)
    made.level(ASK, 1_002, 9)
    for order_id, (account, ticks, lots) in enumerate([(A, 1_002, 3), (B, 1_002, 4), (A, 1_001, 2)], 1):
        made.new(account, order_id, ASK, ticks, lots)
    return made.exchange


def test_levels_and_orders_are_shown_best_first_and_no_more_than_asked():
    exchange = quoted()
    assert exchange.book_levels(0, ASK, 9).tolist() == [(1_001, 2, 1), (1_002, 16, 3)]
    assert exchange.levels(0, ASK, 1).tolist() == [[1_001, 2]]
    assert shown(exchange, 0, ASK) == [
        (1_001, (3, A, 2)), (1_002, (0, codes.EXTERNAL, 9)), (1_002, (1, A, 3)), (1_002, (2, B, 4))]
    assert len(exchange.book_orders(0, ASK, 2)) == 2 and len(exchange.book_orders(0, BID)) == 0


def test_a_view_becomes_a_frame_of_its_fields():
    table = frame(quoted().book_levels(0, ASK, 9))
    assert table.to_dicts() == [{"ticks": 1_001, "lots": 2, "orders": 1}, {"ticks": 1_002, "lots": 16, "orders": 3}]
    assert frame(quoted().outcomes()).schema["lots"] == polars.Int64


def test_a_queue_position_tells_simulated_from_recorded_size():
    exchange = quoted()
    assert exchange.queue_position(2) == (2, 3, 9)
    assert exchange.queue_position(3) == (0, 0, 0)
    assert exchange.queue_position(77) is None and exchange.order(77) is None
    assert int(exchange.order(2)["leaves_lots"]) == 4
    assert exchange.open_orders(A)["order_id"].tolist() == [1, 3] and len(exchange.open_orders(C)) == 0
