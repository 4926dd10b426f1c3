"""The live content of a state as plain values: what digests are made of and what the reference is compared with."""

from typing import Any

import numpy as np

from exchange import codes
from exchange.audit import externals, live_ticks, queue, waiting_legs
from exchange.audit_gate import gateway_slots
from exchange.audit_pegs import pegged_slots
from exchange.audit_triggers import LADDERS, trigger_queues
from exchange.core.terms import RING
from exchange.state import Book, Gate, State

POSITION_FIELDS = ("lots", "entry_value", "isolated_margin", "bid_value", "ask_value", "bid_lots", "ask_lots")
SETTING_FIELDS = ("leverage_e2", "mode", "stage")
EXTERNAL_FIELDS = ("recorded_lots", "lots", "displaced_lots", "printed_lots", "extrapolated")
PRICE_FIELDS = ("recorded_index_sub", "index_sub", "recorded_mark_sub", "mark_sub", "previous_mark_sub", "last_ticks")
FUNDING_FIELDS = ("funding_rate_ppb", "next_funding_ns", "shift_ticks", "index_shift_sub", "depth_ppm")
MARKET_FIELDS = ("basis_sum_sub", "basis_count", "open_interest_lots", "state")
AUCTION_FIELDS = (
    *("static_ticks", "static_period", "end_ns", "reference_ticks", "volatility", "extensions", "paused_state"),
)
PUBLISHED_FIELDS = ("price", "lots", "imbalance_lots")
LIFE_FIELDS = ("due", "count", "sum_sub", "price_sub", "priced")
DEPTH_FIELDS = ("depth_number", "bids_money", "asks_money", "index_sub")
OPTION_FIELDS = ("volatility_parts", "initial_sub", "maintenance_sub", "whole_sub")
PRICING_FIELDS = ("index_ns", "mark_ns", "last_ns", "premium_ppb", "premium_sum", "premium_weighted", "rate_ppb")
IMPACT_FIELDS = ("flow_lots", "permanent_mlots", "decaying_mlots", "ticks")
TRIGGER_FIELDS = ("trigger", "trigger_kind", "trigger_ticks", "offset_ticks", "peg", "limit_ticks")
DISPLAY_FIELDS = ("display_lots", "display_min_lots", "hidden_lots")
TERMS_FIELDS = ("expiry_ns", "time_in_force", "self_trade", *TRIGGER_FIELDS, "min_lots", *DISPLAY_FIELDS)
STANDING_FIELDS = ("inside", "timed", "drives", "due_ns", "ready_ns", "began_ns", "kept", "freed", "bid", "acted")
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
        "pegs": {k: rows for k in range(len(book.books)) if (rows := _pegs(state, k))},
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
        "tops": _tops(book),
        "quantities": _quantities(book),
        "groups": {int(k): int(state.ledger.groups[k]) for k in np.flatnonzero(state.ledger.groups)},
        "lives": {k: _values(life, LIFE_FIELDS) for k, life in enumerate(state.prices.lives)},
        "options": {k: _values(option, OPTION_FIELDS) for k, option in enumerate(state.prices.options)},
        "option_risks": _option_risks(state),
        "basis_gains": _basis_gains(state),
        "depths": {k: _values(member, DEPTH_FIELDS) for k, member in enumerate(state.prices.members)},
        "auctions": {k: _auction(state, k) for k in range(len(state.prices.markets))},
        "totals": {k: (int(t["deposits"]), int(t["withdrawals"])) for k, t in enumerate(state.ledger.totals)},
        "pricing": {k: _pricing(state, k) for k in range(len(state.prices.markets))},
        "throttles": _throttles(state),
        "conduct": {k: _values(row, row.dtype.names) for k, row in _written(state.gate.conduct)},
        "gateway": _gateway(state),
        "standings": _standings(state),
        "funds": [fund.item() for fund in state.ledger.funds],
        "tier_sets": state.prices.margins["tier_set"].tolist(),
    }


def _values(record: np.void, fields: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(int(record[field]) for field in fields)


def _pricing(state: State, instrument: int) -> tuple[Any, ...]:
    """What index, mark and rate of a market remember; trades and kept samples oldest first."""
    row, pricing, prices = state.prices.price_states[instrument], state.prices.pricing[0], state.prices
    places, count, samples = int(pricing["trades_max"]), int(row["trade_count"]), int(row["premium_count"])
    ring = [(int(row["trade_next"]) - count + k) % places for k in range(count)]
    return (
        *_values(row, PRICING_FIELDS),
        int(row["ema_usub"]) if row["ema_set"] else None,
        samples,
        [_values(prices.trades[instrument * places + k], ("ts_ns", "ticks", "lots")) for k in ring],
    )


def _wallets(state: State) -> dict[tuple[int, int], tuple[int, ...]]:
    """(cash, stage, portfolio mode) of every open user wallet, and of system wallets that hold something."""
    wallets, assets = state.ledger.wallets, len(state.ledger.totals)
    users = np.arange(len(wallets)) >= codes.FIRST_USER * assets
    kept = np.flatnonzero((wallets["open"] != 0) & (users | (wallets["cash"] != 0)))
    return {(int(w) // assets, int(w) % assets): _values(wallets[w], ("cash", "stage", "portfolio")) for w in kept}


def _option_risks(state: State) -> dict[int, list[list[int]]]:
    """Risk arrays of options, which stand between refreshes, by the variants in use; while a wallet needs them."""
    grid, prices = state.prices.grids[0], state.prices
    kept = np.flatnonzero(prices.instruments["option"] * (prices.members["group"] != 0)) if grid["holders"] else ()
    rows = prices.risks.reshape(-1, codes.SHOCKS, max(1, int(grid["scenarios"]))) if len(kept) else ()
    starts = (0, len(prices.members)) if grid["long_base"] else (0,)
    ways = [v for v in range(codes.SHOCKS) if grid["variants"] >> v & 1]
    return {int(k): [rows[start + k][v].tolist() for start in starts for v in ways] for k in kept}


def _basis_gains(state: State) -> dict[int, tuple[int, ...]]:
    """What options gain as their basis moves, likewise."""
    members, holders = state.prices.members, state.prices.grids[0]["holders"]
    kept = np.flatnonzero(members["expiry"]) if holders and state.prices.grids[0]["sums_base"] else ()
    return {int(k): _values(members[k], ("up_gain", "down_gain")) for k in kept}


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


def _quantities(book: Book) -> dict[int, int]:
    """What each live order's filled part is reckoned from."""
    rows = book.orders[np.flatnonzero((book.orders["account"] > codes.EXTERNAL) & (book.orders["order_id"] != 0))]
    return dict(sorted((int(row["order_id"]), int(row["order_lots"])) for row in rows))


def _tops(book: Book) -> dict[tuple[int, int], tuple[int, ...]]:
    """(order id, account) of the order that set the best price of a side, where it still stands."""
    tops = {}
    for instrument, row in enumerate(book.books):
        for side in (codes.BID, codes.ASK):
            for slot in queue(book, instrument, side, int(row["best_ticks"][side]))[:1]:
                if book.orders[slot]["priority_seq"] == row["top_seq"][side]:
                    tops[instrument, side] = _values(book.orders[slot], ("order_id", "account"))
    return tops


def _auction(state: State, instrument: int) -> tuple[Any, ...]:
    """An auction's state, the units that wait for its market, and the ids of market orders that rest."""
    orders, auction = state.book.orders, state.prices.auctions[instrument]
    resting = (orders["flags"] & (codes.MARKET | codes.PARKED)) == codes.MARKET
    live = (orders["leaves_lots"] > 0) & (orders["instrument"] == instrument) & resting
    return (
        *_values(auction, AUCTION_FIELDS + PUBLISHED_FIELDS),
        [unit_place(state, p) for p in waiting_legs(state, instrument)],
        sorted(orders["order_id"][live].tolist()),
    )


def _standings(state: State) -> dict[tuple[int, int], list[tuple[int, ...]]]:
    """What each unit remembers of the stages, by account and place of the unit; no entry where that is nothing."""
    count, assets, wallets = int(state.prices.stages[0]["count"]), len(state.ledger.totals), len(state.ledger.wallets)
    if not count:
        return {}
    rows, found = state.ledger.standings, {}
    for slot in sorted({k // count for k in np.flatnonzero(rows != np.zeros(1, rows.dtype)).tolist()}):
        place = divmod(slot, assets) if slot < wallets else isolated_place(state, slot - wallets)
        found[place] = [_values(row, STANDING_FIELDS) for row in rows[slot * count : (slot + 1) * count]]
    return dict(sorted(found.items()))


def isolated_place(state: State, p: int) -> tuple[int, int]:
    """(account, order among its units) of a position's isolated unit."""
    position = state.ledger.positions[p]
    return int(position["wallet"]) // len(state.ledger.totals), 1000 + int(position["instrument"])


def unit_place(state: State, p: int) -> tuple[int, int]:
    """(account, order among its units) of the unit that a position belongs to."""
    position, assets = state.ledger.positions[p], len(state.ledger.totals)
    if position["mode"] == codes.ISOLATED:
        return isolated_place(state, p)
    return divmod(int(position["wallet"]), assets)


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


def _pegs(state: State, instrument: int) -> list[tuple[int, bool, bool]]:
    """(order id, whether it waits, whether it comes back) of an instrument's pegged orders, in order."""
    orders, timers = state.book.orders, state.io.order_timers
    return [
        (int(orders[slot]["order_id"]), bool(orders[slot]["flags"] & codes.PARKED), bool(timers[2 * slot + 1]))
        for slot in pegged_slots(state, instrument)
    ]


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


def _written(records: np.ndarray) -> list[tuple[int, Any]]:
    """(slot, record) of each record that is not all zero."""
    live = np.flatnonzero(np.any(records.view(np.int64).reshape(len(records), -1), axis=1))
    return [(int(k), records[k]) for k in live]


def _throttles(state: State) -> dict[tuple[int, int], Any]:
    """(limit, account or accounts + group): what is used of it at the clock; of a sliding one when each was."""
    gate, clock_ns = state.gate, int(state.io.control[0]["clock_ns"])
    found: dict[tuple[int, int], Any] = {}
    for slot, _ in _written(gate.meters):
        key, k = divmod(slot, len(gate.limits))
        sliding = gate.limits[k]["kind"] == codes.SLIDING
        found[k, key] = live_stamps(gate, k, key, clock_ns) if sliding else used_of(gate, k, key, clock_ns)
    return {place: found[place] for place in sorted(found) if found[place]}


def live_stamps(gate: Gate, k: int, key: int, now_ns: int) -> list[int]:
    """Times of the tokens that count against a sliding limit at a time, oldest first."""
    limit, level = gate.limits[k], int(gate.meters[key * len(gate.limits) + k]["level"])
    places = int(limit["capacity_max"])
    first = int(limit["stamp_base"]) + key * places
    times = [int(gate.stamps[first + token % places]) for token in range(max(0, level - places), level)]
    return [ts_ns for ts_ns in times if ts_ns > now_ns - int(limit["interval_ns"])]


def used_of(gate: Gate, k: int, key: int, now_ns: int) -> int:
    """What counts against a limit at a time."""
    limit, meter = gate.limits[k], gate.meters[key * len(gate.limits) + k]
    level, since_ns = int(meter["level"]), int(meter["ts_ns"])
    if limit["kind"] == codes.SLIDING:
        return len(live_stamps(gate, k, key, now_ns))
    if limit["kind"] == codes.BUCKET:
        return max(0, level - int(limit["refill"]) * (now_ns - since_ns))
    return level if now_ns // int(limit["interval_ns"]) == since_ns // int(limit["interval_ns"]) else 0


def _gateway(state: State) -> list[tuple[Any, ...]]:
    """The queued commands, oldest first, each with its terms or None."""
    queue = []
    for slot in gateway_slots(state):
        terms = state.io.held[RING + slot]
        queue.append((*state.io.gateway[slot].item(), terms.item() if terms["kind"] else None))
    return queue
