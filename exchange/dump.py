"""The live content of a state as plain values: what digests are made of and what the reference is compared with."""

from typing import Any

import numpy as np

from exchange import codes
from exchange.audit import externals, live_ticks, queue
from exchange.audit_triggers import LADDERS, trigger_queues
from exchange.state import Book, State

POSITION_FIELDS = ("lots", "entry_value", "isolated_margin", "bid_value", "ask_value", "bid_lots", "ask_lots")
SETTING_FIELDS = ("leverage_e2", "mode", "stage")
EXTERNAL_FIELDS = ("recorded_lots", "lots", "displaced_lots", "printed_lots", "extrapolated")
PRICE_FIELDS = ("recorded_index_sub", "index_sub", "recorded_mark_sub", "mark_sub", "last_ticks")
FUNDING_FIELDS = ("funding_rate_ppb", "next_funding_ns", "shift_ticks", "index_shift_sub", "depth_ppm")
MARKET_FIELDS = ("basis_sum_sub", "basis_count", "open_interest_lots", "halted")
IMPACT_FIELDS = ("flow_lots", "permanent_mlots", "decaying_mlots", "ticks")
TRIGGER_FIELDS = ("trigger", "trigger_kind", "trigger_ticks", "offset_ticks")
TERMS_FIELDS = ("expiry_ns", "time_in_force", "self_trade", *TRIGGER_FIELDS, "min_lots")
TIMER_FIELDS = ("ts_ns", "priority", "account", "order", "kind")


def dump(state: State) -> dict[str, Any]:
    """Wallets, positions, books, external levels, markets, timers and totals in canonical order; no derived guards."""
    book, timers = state.book, state.io.timers[1 : int(state.io.control[0]["timer_count"]) + 1]
    market_fields = PRICE_FIELDS + FUNDING_FIELDS + MARKET_FIELDS
    return {
        "wallets": _wallets(state),
        "positions": _positions(state),
        "books": _books(book),
        "parked": _parked(state),
        "terms": _terms(book),
        "externals": _externals(book),
        "markets": {
            k: (
                *_values(market, market_fields),
                int(book.books[k]["crossed_levels"]),
                *_values(state.prices.impacts[k], IMPACT_FIELDS),
            )
            for k, market in enumerate(state.prices.markets)
        },
        "timers": sorted(_values(timer, TIMER_FIELDS) for timer in timers),
        "totals": {k: (int(t["deposits"]), int(t["withdrawals"])) for k, t in enumerate(state.ledger.totals)},
    }


def _values(record: np.void, fields: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(int(record[field]) for field in fields)


def _wallets(state: State) -> dict[tuple[int, int], tuple[int, ...]]:
    """(cash, stage) of every open user wallet, and of system wallets that hold something."""
    wallets, assets = state.ledger.wallets, len(state.ledger.totals)
    users = np.arange(len(wallets)) >= codes.FIRST_USER * assets
    kept = np.flatnonzero((wallets["open"] != 0) & (users | (wallets["cash"] != 0)))
    return {(int(w) // assets, int(w) % assets): _values(wallets[w], ("cash", "stage")) for w in kept}


def _positions(state: State) -> dict[tuple[int, int], tuple[int, ...]]:
    held, assets = {}, len(state.ledger.totals)
    for position in state.ledger.positions[1 : int(state.io.control[0]["position_high"]) + 1]:
        account = int(position["wallet"]) // assets
        if account >= codes.FIRST_USER or position["lots"] or position["entry_value"]:
            held[account, int(position["instrument"])] = _values(position, POSITION_FIELDS + SETTING_FIELDS)
    return dict(sorted(held.items()))


def _books(book: Book) -> dict[tuple[int, int], list[tuple[int, list[tuple[int, ...]]]]]:
    """(ticks, [(order id, account, leaves), ...]) by side, best price and oldest order first."""
    fields = ("order_id", "account", "leaves_lots")
    books = {}
    for instrument in range(len(book.books)):
        for side in (codes.BID, codes.ASK):
            live = live_ticks(book, instrument, side)
            rows = [
                (ticks, [_values(book.orders[s], fields) for s in queue(book, instrument, side, ticks)])
                for ticks in live
            ]
            if rows:
                books[instrument, side] = rows
    return books


def _parked(state: State) -> dict[tuple[int, int, bool], list[tuple[int, list[tuple[int, ...]]]]]:
    """(trigger ticks, [(order id, account, lots, limit), ...]) by instrument, source and whether it rises."""
    fields = ("order_id", "account", "leaves_lots", "ticks")
    parked = {}
    for instrument in range(len(state.book.books)):
        for k in range(LADDERS):
            rows = [
                (ticks, [_values(state.book.orders[slot], fields) for slot in slots])
                for ticks, slots in trigger_queues(state, instrument, k)
            ]
            if rows:
                parked[instrument, k // 2 + 1, bool(k % 2)] = rows
    return parked


def _terms(book: Book) -> dict[int, tuple[int, ...]]:
    """Terms of every order that has some, by order id; the partner by its id."""
    found = {}
    for slot in np.flatnonzero(book.orders["flags"] & codes.TERMED):
        terms = book.terms[slot]
        row = (*_values(terms, TERMS_FIELDS), int(book.orders[int(terms["link"])]["order_id"]))
        if any(row):
            found[int(book.orders[slot]["order_id"])] = row
    return dict(sorted(found.items()))


def _externals(book: Book) -> dict[tuple[int, int, int], tuple[int, ...]]:
    levels = {}
    for instrument in range(len(book.books)):
        for level in externals(book, instrument):
            levels[instrument, int(level["side"]), int(level["ticks"])] = _values(level, EXTERNAL_FIELDS)
    return dict(sorted(levels.items()))
