"""The venue's whole state: seven small groups of record arrays, allocated once from the configuration.

Fresh zeroed memory is a valid empty venue, because slot 0 of every pool is NIL and 0 means none everywhere. A ladder
over every legal price costs only the pages that are touched.
"""

import contextlib
import mmap
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from exchange import codes, config, schema, throttles
from exchange.allocation import SHARE
from exchange.core import passing
from exchange.expiries import expiry_size
from exchange.grids import work_size
from exchange.life import begin_lives
from exchange.schema_prices import TRADE
from exchange.sessions import open_markets
from exchange.stages import STANDING
from exchange.waterfall import FUND

CACHE_LINE = 64
HUGE_PAGE = 1 << 21
HUGE_FROM = 1 << 17  # bytes; a smaller pool gains nothing
COPIED = 1 << 16  # bytes that are copied together, or not at all where nothing is in them


class Book(NamedTuple):
    books: np.ndarray  # BOOK[instrument]
    ladders: np.ndarray  # LADDER[2 * instrument + side]
    words: np.ndarray  # uint64[...], the ladders' bitmap trees
    recorded: np.ndarray  # uint64[...], the same trees over recorded levels, displaced ones included
    levels: np.ndarray  # LEVEL[ladder.level_base + ticks]
    orders: np.ndarray  # ORDER[slot]
    terms: np.ndarray  # ORDER_TERMS[slot], of orders with the flag TERMED
    externals: np.ndarray  # EXTERNAL_LEVEL[slot]
    changes: (
        np.ndarray
    )  # BOOK_CHANGE[...], what queues went through since it was drained; one row if nothing is published
    ids: np.ndarray  # int32[power of two], order slots by hash of the id, open addressing
    pools: np.ndarray  # POOLS[1]


class Triggers(NamedTuple):
    watches: np.ndarray  # WATCH[instrument]
    ladders: np.ndarray  # LADDER[6 * instrument + 2 * (source - 1) + direction], 0 = falling, 1 = rising
    words: np.ndarray  # uint64[...]
    queues: np.ndarray  # TRIGGER_QUEUE[ladder.level_base + ticks], linked by next and prev of parked orders


class Ledger(NamedTuple):
    wallets: np.ndarray  # WALLET[account * assets + asset]
    positions: np.ndarray  # POSITION[slot]
    legs: np.ndarray  # LEG[position]
    totals: np.ndarray  # TOTAL[asset]
    groups: np.ndarray  # int32[account], whose accounts are one owner; 0 = none
    standings: np.ndarray  # STANDING[unit * stages + stage]; unit: wallet, or wallets + isolated position
    funds: np.ndarray  # FUND[asset]


class Guards(NamedTuple):
    ladders: np.ndarray  # LADDER[2 * instrument + direction], 0 = down, 1 = up
    words: np.ndarray  # uint64[...]
    heads: np.ndarray  # int32[ladder.level_base + ticks], first guard of the bucket
    guards: np.ndarray  # GUARD[2 * position + direction]


class Prices(NamedTuple):
    instruments: np.ndarray  # INSTRUMENT[instrument]
    markets: np.ndarray  # MARKET[instrument]
    tiers: np.ndarray  # TIER[...]
    margins: np.ndarray  # MARGIN[instrument]
    constituents: np.ndarray  # CONSTITUENT[...]
    impacts: np.ndarray  # IMPACT[instrument]
    allocations: np.ndarray  # ALLOCATION[instrument]
    order_guards: np.ndarray  # ORDER_GUARD[instrument]
    auctions: np.ndarray  # AUCTION[instrument]
    basis: np.ndarray  # int64[instrument * samples + k], ring of mid - index
    policy: np.ndarray  # POLICY[1]
    lives: np.ndarray  # LIFE[instrument]
    options: np.ndarray  # OPTION[instrument]
    conversions: np.ndarray  # CONVERSION[asset]
    sales: np.ndarray  # int64[...], instruments in the order in which conversions sell them; -1 = none
    grids: np.ndarray  # GRID[1]
    scenarios: np.ndarray  # int64[3 * scenario]: volatility, cover, skew
    members: np.ndarray  # MEMBER[instrument]
    shocks: np.ndarray  # SHOCK[(instrument * SHOCKS + variant) * scenarios + scenario]
    risks: np.ndarray  # int64[as shocks], what a long lot gains, in parts of a quantum
    losses: np.ndarray  # int64[...], work space: what a wallet gains by variant, group, scenario; its groups
    pricing: np.ndarray  # PRICING[1]
    price_states: np.ndarray  # PRICE_STATE[instrument]
    trades: np.ndarray  # TRADE[instrument * trades_max + k], ring of what the mark takes of them
    premiums: np.ndarray  # int64[instrument * expected + k], samples of a trimmed average
    stages: np.ndarray  # STAGE[asset * stages + stage]
    waterfalls: np.ndarray  # WATERFALL[asset]


class IO(NamedTuple):
    outbox: np.ndarray  # OUTCOME[...]
    control: np.ndarray  # CONTROL[1]
    timers: np.ndarray  # TIMER[...], a binary heap from slot 1; slot 0 is scratch
    dirty: np.ndarray  # int32[...], units touched by the event at work
    thinned: np.ndarray  # int32[...], icebergs that the event at work left with less than their least shown
    trims: np.ndarray  # int32[...], positions with reduce-only orders that the event at work changed
    order_timers: np.ndarray  # int32[2 * order + (0 EXPIRE, 1 TRIGGER)], place in the heap; 0 = none
    held: np.ndarray  # TERMS[3 + places], kind 0 = none: of the next command, put aside, always zero, of the gateway's
    entering: np.ndarray  # EVENT[1]: a triggered order as the command that it is like
    gateway: np.ndarray  # EVENT[1 + places], the command being served, then the ring of those that wait
    ranks: np.ndarray  # RANK[...], the ADL ranking held
    shares: np.ndarray  # SHARE[...], work space of a level that is shared
    scratch: np.ndarray  # int64[...], work space of one function call


class Gate(NamedTuple):
    gate: np.ndarray  # GATE[1]
    limits: np.ndarray  # LIMIT[limit]
    meters: np.ndarray  # METER[key * limits + limit]; key: account, or accounts + group
    stamps: np.ndarray  # int64[limit.stamp_base + key * limit.capacity_max + place], rings of a sliding limit's tokens
    conduct: np.ndarray  # CONDUCT[account]


class _Groups(NamedTuple):
    book: Book
    ledger: Ledger
    guards: Guards
    prices: Prices
    io: IO
    gate: Gate
    triggers: Triggers


class State(_Groups):
    """All groups. Compiled functions get it by `address`, that of the table of its arrays (`core/passing.py`)."""

    def __new__(cls, *groups: Any) -> "State":
        state = super().__new__(cls, *groups)
        state.table = passing.table_of(state)
        state.address = state.table.ctypes.data
        state.numba_type = passing.type_of(state)
        return state

    @classmethod
    def _make(cls, groups: Iterable[Any]) -> "State":
        """What `_replace` makes its result with: a state with a table of its own."""
        return cls(*groups)


passing.register(State)


def _ladders(ticks_max: np.ndarray, each: int = 2) -> tuple[np.ndarray, int, int]:
    """Lay out `each` ladders an instrument; returns the records, the number of levels and of words."""
    ladders = np.zeros(each * len(ticks_max), schema.LADDER)
    levels = words = 0
    for k in range(len(ladders)):
        size = int(ticks_max[k // each]) + 1
        ladder = ladders[k]
        ladder["level_base"], ladder["ticks_max"] = levels, size - 1
        levels += size
        for depth in range(4):
            size = (size >> 6) + 1
            ladder[f"word_base{depth}"] = words
            words += size
        ladder["top_words"] = size
    return ladders, levels, words


def aligned_zeros(shape: int, dtype: Any) -> np.ndarray:
    """Zeroed memory that starts on a cache line, so that a 64-byte record never straddles two."""
    return _carve(shape, dtype, np.zeros(shape * np.dtype(dtype).itemsize + CACHE_LINE, np.uint8), CACHE_LINE)


def pool_zeros(shape: int, dtype: Any) -> np.ndarray:
    """Zeroed memory of a pool used from its start, in huge pages where the system has them.

    A stream over many accounts spends its time looking up pages otherwise; a ladder, touched here and there, would
    commit much more than it uses.
    """
    size = shape * np.dtype(dtype).itemsize
    if size < HUGE_FROM or not hasattr(mmap, "MADV_HUGEPAGE"):
        return aligned_zeros(shape, dtype)
    pages = mmap.mmap(-1, size + HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel built without them
        pages.madvise(mmap.MADV_HUGEPAGE)
    return _carve(shape, dtype, np.frombuffer(pages, np.uint8), HUGE_PAGE)


def _carve(shape: int, dtype: Any, raw: np.ndarray, boundary: int) -> np.ndarray:
    """`shape` records from the first multiple of `boundary` on."""
    start = -raw.ctypes.data % boundary
    return raw[start : start + shape * np.dtype(dtype).itemsize].view(dtype)


def aligned_copy(array: np.ndarray) -> np.ndarray:
    """A copy that starts on a cache line. Where most of an array was never used, that stays uncommitted in the copy."""
    source = array.view(np.uint8)
    whole = source.size // COPIED * COPIED
    chunks = source[:whole].reshape(-1, COPIED)
    used = chunks.view(np.uint64).any(axis=1)
    if 2 * np.count_nonzero(used) >= len(used):
        twin = pool_zeros(array.size, array.dtype)
        twin.view(np.uint8)[:] = source
        return twin
    twin = aligned_zeros(array.size, array.dtype)
    made = twin.view(np.uint8)
    made[:whole].reshape(-1, COPIED)[used] = chunks[used]
    made[whole:] = source[whole:]
    return twin


def _hash_size(orders: int) -> int:
    return 1 << (2 * orders - 1).bit_length()


def _prices(compiled: config.Compiled, samples: int) -> Prices:
    count, pricing, grid = len(compiled.instruments), compiled.pricing[0], compiled.grid.grids[0]
    trimmed = pricing["average"] == codes.AVERAGE_TRIMMED
    return Prices(
        compiled.instruments.copy(),
        aligned_zeros(count, schema.MARKET),
        compiled.tiers,
        compiled.margins.copy(),
        compiled.constituents.copy(),
        *(terms.copy() for terms in (compiled.impacts, compiled.allocations, compiled.order_guards, compiled.auctions)),
        aligned_zeros(count * samples, np.int64),
        compiled.policy,
        compiled.lives.copy(),
        compiled.options.copy(),
        compiled.conversions,
        compiled.sales,
        *(rows.copy() for rows in compiled.grid),
        aligned_zeros(len(compiled.grid.shocks) + int(grid["long_base"]), np.int64),
        aligned_zeros(work_size(grid) + expiry_size(grid), np.int64),
        compiled.pricing,
        compiled.price_states.copy(),
        aligned_zeros(count * max(1, int(pricing["trades_max"])), TRADE),
        aligned_zeros(count * int(pricing["expected"]) if trimmed else 1, np.int64),
        compiled.stages,
        compiled.waterfalls,
    )


def allocate(venue: config.Venue) -> State:
    """An empty venue. Memory is committed as it is touched."""
    compiled, capacity = config.compile_venue(venue), venue.capacity
    instruments = compiled.instruments
    count, assets = len(instruments), len(venue.assets)
    wallets = (codes.FIRST_USER + capacity.accounts) * assets
    positions = capacity.positions + 2 * count + 1
    ladders, levels, words = _ladders(instruments["ticks_max"])
    zeros, pool = aligned_zeros, pool_zeros
    book = Book(
        zeros(count, schema.BOOK),
        ladders,
        zeros(words, np.uint64),
        zeros(words, np.uint64),
        zeros(levels, schema.LEVEL),
        pool(capacity.orders + 1, schema.ORDER),
        pool(capacity.orders + 1, schema.ORDER_TERMS),
        pool(capacity.external_levels + 1, schema.EXTERNAL_LEVEL),
        pool(2 * capacity.outcomes if venue.publish_book else 1, schema.BOOK_CHANGE),
        pool(_hash_size(capacity.orders + 1), np.int32),
        zeros(1, schema.POOLS),
    )
    book.pools["publish"] = venue.publish_book
    guards = Guards(ladders.copy(), zeros(words, np.uint64), zeros(levels, np.int32), pool(2 * positions, schema.GUARD))
    prices = _prices(compiled, venue.mark.samples)
    io = _io(capacity, compiled, wallets, positions)
    state = State(
        book,
        _ledger(venue, wallets, positions, int(compiled.stages[0]["count"])),
        guards,
        prices,
        io,
        _gate(compiled),
        _triggers(instruments["ticks_max"]),
    )
    open_markets(prices.markets, compiled)
    begin_lives(prices.lives, io, compiled)
    prices.markets["trades"] = compiled.pricing[0]["trades"]
    _open_system_accounts(state, assets)
    return state


def _io(capacity: config.Capacity, compiled: config.Compiled, wallets: int, positions: int) -> IO:
    """Queues, timers and work space."""
    zeros, pool = aligned_zeros, pool_zeros
    count, places = len(compiled.instruments), int(compiled.gate[0]["depth"]) + int(compiled.gate[0]["reserved"])
    # a heap slot for each unit, with each of its stages, and each wallet that may convert, each recurring timer,
    # each order's two, one each for the gateway and for options, and scratch
    units = wallets + positions + (wallets if compiled.sales[0] >= 0 else 0)
    units += (wallets + positions) * int(compiled.stages[0]["count"])
    timers = units + 7 * count + 2 * capacity.orders + 4
    return IO(
        pool(capacity.outcomes, schema.OUTCOME),
        zeros(1, schema.CONTROL),
        pool(timers, schema.TIMER),
        pool(wallets + positions + 1, np.int32),
        pool(capacity.orders + 1, np.int32),
        pool(positions, np.int32),
        pool(2 * capacity.orders + 2, np.int32),
        pool(3 + places, schema.TERMS),
        zeros(1, schema.EVENT),
        pool(1 + places, schema.EVENT),
        pool(wallets + 1, schema.RANK),
        pool(capacity.orders + 1, SHARE),
        zeros(max(64, 2 * count), np.int64),
    )


def _ledger(venue: config.Venue, wallets: int, positions: int, stages: int) -> Ledger:
    return Ledger(
        pool_zeros(wallets, schema.WALLET),
        pool_zeros(positions, schema.POSITION),
        pool_zeros(positions, schema.LEG),
        aligned_zeros(len(venue.assets), schema.TOTAL),
        pool_zeros(codes.FIRST_USER + venue.capacity.accounts, np.int32),
        pool_zeros(max(1, (wallets + positions) * stages), STANDING),
        aligned_zeros(len(venue.assets), FUND),
    )


def _gate(compiled: config.Compiled) -> Gate:
    """Meters and conduct of every account where something is throttled or counted."""
    policy = compiled.policy[0]
    accounts, limits = int(policy["accounts"]), compiled.limits
    keys = max(throttles.keys_of(limit, accounts) for limit in limits)
    sliding = limits[limits["kind"] == codes.SLIDING]
    stamps = sum(int(limit["capacity_max"]) * throttles.keys_of(limit, accounts) for limit in sliding)
    return Gate(
        compiled.gate.copy(),
        limits.copy(),
        pool_zeros(keys * len(limits) if compiled.gate[0]["limits"] else 1, throttles.METER),
        pool_zeros(1 + stamps, np.int64),
        pool_zeros(accounts if policy["count_quotes"] else 1, throttles.CONDUCT),
    )


def _triggers(ticks_max: np.ndarray) -> Triggers:
    """Six ladders an instrument: three sources, falling and rising."""
    ladders, levels, words = _ladders(ticks_max, 6)
    return Triggers(
        aligned_zeros(len(ticks_max), schema.WATCH),
        ladders,
        aligned_zeros(words, np.uint64),
        aligned_zeros(levels, schema.TRIGGER_QUEUE),
    )


def _open_system_accounts(state: State, assets: int) -> None:
    """Accounts 1-4 exist; EXTERNAL holds position slot 1 + instrument, INSURANCE the slots after them."""
    wallets, positions = state.ledger.wallets, state.ledger.positions
    for account in (codes.EXTERNAL, codes.INSURANCE, codes.FEES, codes.RESIDUE):
        wallets["open"][account * assets : (account + 1) * assets] = 1
    instruments = state.prices.instruments
    slot = 1
    for account in (codes.EXTERNAL, codes.INSURANCE):
        tail = {}
        for k in range(len(instruments)):
            wallet = account * assets + int(instruments["asset"][k])
            positions[slot]["wallet"], positions[slot]["instrument"] = wallet, k
            positions[slot]["leverage_e2"] = state.prices.tiers[instruments["tier_base"][k]]["leverage_max_e2"]
            if wallet in tail:
                positions[tail[wallet]]["next"] = slot
            else:
                wallets[wallet]["first_position"] = slot
            tail[wallet] = slot
            slot += 1
    state.io.control["position_high"] = slot - 1


def nbytes(state: State) -> int:
    """Bytes reserved by every array; what is committed is less."""
    return sum(array.nbytes for group in state for array in group)
