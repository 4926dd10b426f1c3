"""What charges need of a contract, measured once a period: its index, and what its books would absorb. DESIGN §3.17."""

import numpy as np

from exchange.codes import ASK, BID
from exchange.core.arith import MILLION, ceil_div, ppm_down
from exchange.core.book import level_of, next_level
from exchange.core.contract import mark_value
from exchange.core.grid import in_grid
from exchange.core.guards import touch
from exchange.core.kernel import kernel, leaf


@leaf
def lots_within(book, instrument, side, limit_ticks):
    """Lots of a side at `limit_ticks` or better."""
    ticks, lots = np.int64(book.books[instrument]["best_ticks"][side]), np.int64(0)
    while ticks != 0 and (ticks >= limit_ticks if side == BID else ticks <= limit_ticks):
        lots += np.int64(book.levels[level_of(book, instrument, side, ticks)]["lots"])
        ticks = next_level(book, instrument, side, ticks)
    return lots


@leaf
def absorbed(book, prices, instrument, side):
    """Value at the mark of the share of a side's depth that a position may take without a charge."""
    member, record = prices.members[instrument], prices.instruments[instrument]
    mark_sub, band_ppm = np.int64(prices.markets[instrument]["mark_sub"]), np.int64(member["depth_band_ppm"])
    scale = MILLION * np.int64(record["mark_per_tick"])
    limit_ticks = mark_sub * (MILLION + band_ppm) // scale
    if side == BID:
        limit_ticks = ceil_div(mark_sub * (MILLION - band_ppm), scale)
    lots = ppm_down(lots_within(book, instrument, side, limit_ticks), np.int64(member["depth_share_ppm"]))
    return abs(mark_value(prices, instrument, min(lots, np.int64(record["position_max_lots"]))))


@leaf
def measure_index(prices, instrument):
    """Take a contract's index, or without one its mark, for its charges; returns whether it changed."""
    member, market = prices.members[instrument], prices.markets[instrument]
    index_sub = np.int64(market["index_sub"] if market["index_sub"] != 0 else market["mark_sub"])
    changed = index_sub != member["index_sub"]
    member["index_sub"] = index_sub
    return changed


@leaf
def measure_depth(book, prices, instrument):
    """Measure how much a contract's books would absorb; returns whether it changed."""
    member = prices.members[instrument]
    bids, asks = absorbed(book, prices, instrument, BID), absorbed(book, prices, instrument, ASK)
    changed = bids != member["bids_money"] or asks != member["asks_money"]
    lead = prices.members[np.int64(member["lead"])]
    lead["group_bids_money"] += bids - np.int64(member["bids_money"])
    lead["group_asks_money"] += asks - np.int64(member["asks_money"])
    member["bids_money"], member["asks_money"] = bids, asks
    return changed


@kernel
def touch_group(ledger, prices, io, group):
    """Touch every wallet in portfolio mode with a position in a group. Mutates the dirty list."""
    for p in range(1, np.int64(io.control[0]["position_high"]) + 1):
        position = ledger.positions[p]
        if position["lots"] != 0 and prices.members[np.int64(position["instrument"])]["group"] == group:
            if in_grid(ledger, prices, p):
                touch(ledger, io, np.int64(position["wallet"]))


@kernel
def measure(book, ledger, prices, io, instrument):
    """Measure a contract's index and depth, at the first mark of a period; who holds its group is touched if either
    changed."""
    member = prices.members[instrument]
    number = np.int64(io.control[0]["clock_ns"]) // np.int64(prices.grids[0]["depth_period_ns"]) + 1
    if member["depth_number"] == number:
        return
    member["depth_number"] = number
    changed = False
    if member["at_index"] != 0:
        changed = measure_index(prices, instrument)
    if member["depth_ppm"] != 0:
        changed = measure_depth(book, prices, instrument) or changed
    if changed and prices.grids[0]["holders"] != 0:
        touch_group(ledger, prices, io, np.int64(member["group"]))
