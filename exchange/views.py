"""What an `Exchange` shows of itself without changing: books, accounts, margins, queues. Whole numbers throughout."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from exchange import codes, config, maps, schema
from exchange.core.adl import rank_side
from exchange.core.index import counted_sources
from exchange.core.views import (
    ahead_of,
    copy_levels,
    copy_orders,
    order_need,
    position_need,
    sum_levels,
    unit_equity,
    unit_health,
    walked_price,
)
from exchange.dump import used_of
from exchange.portfolio import StressGrid, stress_grid
from exchange.state import State, aligned_copy
from exchange.units import contract_value

IMPACT_LOTS_MAX = 2**31 - 1  # times a price it stays below 2**62


class PositionMargin(NamedTuple):
    """What a position holds and must hold, in quanta; equity: of its unit; levels: multiples of maintenance."""

    notional: int
    profit: int
    equity: int
    maintenance: int
    search: int
    initial: int
    release: int

    @property
    def ratio_ppm(self) -> int:
        """Equity of the unit per notional; 0 without a notional."""
        return self.equity * 1_000_000 // self.notional if self.notional else 0


class QueuePlace(NamedTuple):
    """A position's place in the queue of auto-deleveraging.

    `percentile`: the fifth of the side's lots, from the first on, that the last of its own lie in: 20, 40, … 100.
    """

    account: int
    lots: int
    score_ppm: int
    percentile: int


class OrderRequirement(NamedTuple):
    """What one more order would be asked for, in quanta; the margins are those of the whole wallet."""

    notional: int
    open_loss: int
    fee_reserve: int
    margin_before: int
    margin_after: int


class Views:
    """Read-only views of a venue; records that are not said to be copied are live."""

    venue: config.Venue
    compiled: config.Compiled
    state: State

    @property
    def clock_ns(self) -> int:
        return int(self.state.io.control[0]["clock_ns"])

    @property
    def events_processed(self) -> int:
        """Events so far, timers included."""
        return int(self.state.io.control[0]["event_seq"])

    @property
    def markets(self) -> np.ndarray:
        """schema.MARKET records by instrument (live, read only)."""
        return self.state.prices.markets

    @property
    def books(self) -> np.ndarray:
        """schema.BOOK records by instrument (live, read only)."""
        return self.state.book.books

    def best(self, instrument: int) -> tuple[int, int]:
        """Best bid and ask in ticks; 0 = none."""
        bid, ask = self.books[instrument]["best_ticks"]
        return int(bid), int(ask)

    def levels(self, instrument: int, side: int, count: int) -> np.ndarray:
        """L2: the best `count` levels of a side as an (n, 2) int64 array of ticks and lots."""
        rows = self.book_levels(instrument, side, count)
        return np.column_stack((rows["ticks"], rows["lots"]))

    def book_levels(self, instrument: int, side: int, count: int) -> np.ndarray:
        """L2: the best `count` levels of a side (schema.BOOK_LEVEL: ticks, lots, orders)."""
        rows = np.zeros(min(count, self._most_rows), schema.BOOK_LEVEL)
        return rows[: int(copy_levels(self.state, instrument, side, rows))]

    def book_orders(self, instrument: int, side: int, count: int | None = None) -> np.ndarray:
        """L3: the best `count` orders of a side, all if None, as schema.BOOK_ORDER in order of priority.

        Recorded size is an order of account EXTERNAL without id.
        """
        rows = np.zeros(min(self._most_rows if count is None else count, self._most_rows), schema.BOOK_ORDER)
        return rows[: int(copy_orders(self.state, instrument, side, rows))]

    @property
    def _most_rows(self) -> int:
        return int(self.state.book.pools[0]["order_live"])

    def order(self, order_id: int) -> Any:
        """schema.ORDER record of a live order, None when there is none; the leaves of an iceberg are what it shows."""
        slot = int(ahead_of(self.state, order_id)[0])
        return self.state.book.orders[slot] if slot else None

    def hidden_lots(self, order_id: int) -> int:
        """Lots that a live order does not show; 0 without such an order."""
        slot = int(ahead_of(self.state, order_id)[0])
        return int(self.state.book.terms[slot]["hidden_lots"])

    def queue_position(self, order_id: int) -> tuple[int, int, int] | None:
        """(orders, simulated lots, recorded lots) before a live order at its price; None without such an order."""
        slot, orders, simulated, recorded = map(int, ahead_of(self.state, order_id))
        return (orders, simulated, recorded) if slot else None

    def open_orders(self, account: int) -> np.ndarray:
        """Live orders of an account (schema.ORDER, copied), per wallet oldest first."""
        orders, slots = self.state.book.orders, []
        for asset in range(len(self.venue.assets)):
            slot = int(self.wallet(account, asset)["first_order"])
            while slot:
                slots.append(slot)
                slot = int(orders[slot]["account_next"])
        return orders[slots]

    def depth_lots(self, instrument: int, side: int, ppm: int) -> int:
        """Lots of a side within `ppm` of the mid; 0 when a side is empty."""
        bid, ask = self.best(instrument)
        if not bid or not ask:
            return 0
        reach = (bid + ask) * ppm // 2_000_000
        limit = (bid + ask) // 2 - reach if side == codes.BID else -(-(bid + ask) // 2) + reach
        return int(sum_levels(self.state, instrument, side, limit))

    def impact_price(self, instrument: int, side: int, lots: int) -> int | None:
        """Average price in ticks, rounded down, of the best `lots` of a side; None where it has fewer."""
        if not 1 <= lots <= IMPACT_LOTS_MAX:
            raise ValueError(f"lots must be 1..{IMPACT_LOTS_MAX}, got {lots}")
        return int(walked_price(self.state, instrument, side, lots)) or None

    def index_sources(self, instrument: int) -> tuple[int, list[int]]:
        """Median of an index's sources in sub-ticks, and what each counts as: 0 = left out, stale or never seen."""
        rows = np.zeros(int(self.state.prices.instruments[instrument]["constituent_count"]), np.int64)
        return int(counted_sources(self.state, instrument, rows)), rows.tolist()

    def price_state(self, instrument: int) -> Any:
        """What a market's pricing remembers (schema_prices.PRICE_STATE): its last premium, the rate that is forming."""
        return self.state.prices.price_states[instrument]

    def wallet(self, account: int, asset: int = 0) -> Any:
        """schema.WALLET record of an account in an asset."""
        return self.state.ledger.wallets[account * len(self.venue.assets) + asset]

    def position(self, account: int, instrument: int) -> Any:
        """schema.POSITION record, or None."""
        asset = int(self.compiled.instruments[instrument]["asset"])
        positions = self.state.ledger.positions
        p = int(self.wallet(account, asset)["first_position"])
        while p and positions[p]["instrument"] != instrument:
            p = int(positions[p]["next"])
        return positions[p] if p else None

    def liquidation_price(self, account: int, instrument: int) -> int | None:
        """Mark in sub-ticks that breaches a user's unit of one leg; None for other units, or when no mark does."""
        below, above = self.liquidation_band(account, instrument)
        found = self.position(account, instrument)
        first, second = (below, above) if found is not None and found["lots"] > 0 else (above, below)
        return first or second

    def liquidation_band(self, account: int, instrument: int) -> tuple[int | None, int | None]:
        """Nearest marks below and above, in sub-ticks, that breach a user's unit of one leg; None: none does."""
        positions = self.state.ledger.positions
        wallet = self.wallet(account, int(self.compiled.instruments[instrument]["asset"]))
        p, found, cross_legs = int(wallet["first_position"]), 0, int(wallet["portfolio"])  # whose guards are nearer
        while p:
            found = p if positions[p]["instrument"] == instrument else found
            cross_legs += bool(positions[p]["lots"]) and positions[p]["mode"] == codes.CROSS
            p = int(positions[p]["next"])
        if not found or account == codes.INSURANCE or (positions[found]["mode"] == codes.CROSS and cross_legs != 1):
            return None, None
        forced_ppm = maps.forced_ratio_ppm(self.state.prices.stages)
        if forced_ppm is None:
            below, above = (int(self.state.guards.guards[2 * found + direction]["mark_sub"]) for direction in (0, 1))
        else:
            falling, rising = maps.nearest_marks(self.state, np.array([found]), forced_ppm)
            below, above = int(falling[0]), int(rising[0])
        return below or None, above or None

    def position_margin(self, account: int, instrument: int) -> PositionMargin | None:
        """What an account's position holds and must hold; None where it never had one."""
        wallet = account * len(self.venue.assets) + int(self.compiled.instruments[instrument]["asset"])
        positions, p = self.state.ledger.positions, int(self.state.ledger.wallets[wallet]["first_position"])
        while p and positions[p]["instrument"] != instrument:
            p = int(positions[p]["next"])
        if not p:
            return None
        notional, need = map(int, position_need(self.state, p))
        record, row = self.compiled.instruments[instrument], self.state.prices.margins[instrument]
        value = contract_value(record, int(self.markets[instrument]["mark_sub"]), int(positions[p]["lots"]))
        equity = int(unit_equity(self.state, -p if positions[p]["mode"] == codes.ISOLATED else wallet))
        levels = [need * int(row[name]) // 1_000_000 for name in ("search_ppm", "initial_ppm", "release_ppm")]
        return PositionMargin(notional, value - int(positions[p]["entry_value"]), equity, need, *levels)

    def order_requirement(self, account: int, instrument: int, side: int, ticks: int, lots: int) -> OrderRequirement:
        """What an order at a limit would be asked for, as admission reckons it."""
        wallet = account * len(self.venue.assets) + int(self.compiled.instruments[instrument]["asset"])
        return OrderRequirement(*map(int, order_need(self.state, wallet, instrument, side, ticks, lots)))

    def liquidation_map(self, instrument: int, step_ticks: int = 1) -> maps.LiquidationMap:
        """What is to be liquidated by price, in rows of `step_ticks`, the other marks held; exact, in quanta."""
        return maps.liquidation_map(self.state, instrument, step_ticks)

    def bands(self, ratios_ppm: Sequence[int], account: int | None = None) -> maps.Bands:
        """The marks at which users' equity comes below each share of maintenance; 1,000,000 ppm is liquidation."""
        return maps.bands(self.state, ratios_ppm, account)

    def equity(self, account: int, asset: int = 0) -> int:
        """Cash, isolated margins and profit at the mark of one account, in quanta."""
        wallet = account * len(self.venue.assets) + asset
        ledger = self.state.ledger
        equity = int(unit_equity(self.state, wallet))
        p = int(ledger.wallets[wallet]["first_position"])
        while p:
            if ledger.positions[p]["mode"] == codes.ISOLATED:
                equity += int(unit_equity(self.state, -p))
            p = int(ledger.positions[p]["next"])
        return equity

    def portfolio_margin(self, account: int, asset: int = 0) -> StressGrid:
        """Portfolio margin of an account in an asset, scenario by scenario; `print` shows it as a table.

        Raises
        ------
        ValueError
            When the venue has none.
        """
        return stress_grid(self.state, self.venue, account * len(self.venue.assets) + asset)

    def liquidating(self) -> list[int]:
        """Users with a unit in liquidation, or waiting for it, that is still below its maintenance margin."""
        ledger, assets = self.state.ledger, len(self.venue.assets)
        wallets = np.flatnonzero(ledger.wallets["stage"]).tolist()
        positions = np.flatnonzero(ledger.positions["stage"]).tolist()
        owners = [(unit, unit) for unit in wallets] + [(-p, int(ledger.positions[p]["wallet"])) for p in positions]
        found = {wallet // assets for unit, wallet in owners if int(unit_health(self.state, unit)) < 0}
        return sorted(account for account in found if account >= codes.FIRST_USER)

    def fund_equity(self, asset: int = 0) -> int:
        """Equity of the insurance fund, its inherited positions at the mark, in quanta."""
        return self.equity(codes.INSURANCE, asset)

    def adl_queue(self, instrument: int, side: int) -> list[QueuePlace]:
        """Who of a side (codes.BID: longs) would be deleveraged at the mark, in order of the venue's ranking."""
        io = self.state.io
        copies = {"ranks": aligned_copy(io.ranks), "control": aligned_copy(io.control)}
        twin = self.state._replace(io=io._replace(**copies))
        ranks = copies["ranks"][1 : 1 + int(rank_side(twin, instrument, side == codes.ASK))]
        ranks = ranks[np.lexsort((ranks["wallet"], -ranks["score"]))]
        sizes = self.state.ledger.positions["lots"][ranks["position"]]
        reached = np.cumsum(np.abs(sizes))
        fifths = -(-5 * reached // max(1, int(reached[-1]))) if len(ranks) else reached
        accounts = ranks["wallet"] // len(self.venue.assets)
        return [QueuePlace(*map(int, row)) for row in zip(accounts, sizes, ranks["score"], 20 * fifths, strict=True)]

    def throttle_used(self, limit: int, account: int) -> int:
        """Tokens that count now against a limit for an account, or its group; part of one counts as one."""
        gate, groups, accounts = self.state.gate, self.state.ledger.groups, int(self.compiled.policy[0]["accounts"])
        terms = gate.limits[limit]
        key = accounts + int(groups[account]) if terms["by_group"] and groups[account] else account
        amount = used_of(gate, limit, key, self.clock_ns)
        return -(-amount // int(terms["interval_ns"])) if terms["kind"] == codes.BUCKET else amount

    def quotes(self, account: int) -> tuple[int, int]:
        """Orders and amendments of an account that were accepted, and those that had a fill; (0, 0) if not counted."""
        conduct = self.state.gate.conduct
        return (int(conduct[account]["quotes"]), int(conduct[account]["filled"])) if account < len(conduct) else (0, 0)

    def quote_fill_ratio_ppm(self, account: int) -> int:
        """Quotes filled in millionths of quotes submitted; 0 without any."""
        submitted, filled = self.quotes(account)
        return filled * 1_000_000 // max(1, submitted)

    def gateway_length(self) -> int:
        """Commands that wait in the gateway's queue."""
        return int(self.state.gate.gate[0]["count"])
