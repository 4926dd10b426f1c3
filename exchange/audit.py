"""What is always true, each rule stated once, by recomputation from the raw records. The ids are those of DESIGN §5.

Plain Python over the live content: slow, obvious, and independent of the kernels' running sums.
"""

from typing import Any

import numpy as np

from exchange import codes
from exchange.audit_collateral import check_collateral
from exchange.audit_gate import check_gate
from exchange.audit_grid import check_portfolio, check_risks, portfolio_health
from exchange.audit_lives import check_lives
from exchange.audit_margin import check_guards, unit_health
from exchange.audit_pause import check_pause
from exchange.audit_pegs import check_pegs
from exchange.audit_stages import check_stage_timers, check_stages
from exchange.audit_triggers import check_icebergs, check_triggers, set_bits, whole_lots
from exchange.audit_waterfall import check_disposals, check_waterfall
from exchange.core.book import id_home
from exchange.errors import InvariantError
from exchange.state import Book, State
from exchange.units import contract_value

home_of = getattr(id_home, "py_func", id_home)  # the plain function: a leaf cannot be called from Python


def check(state: State, full: bool = True) -> None:
    """Raise `InvariantError` naming the first rule that does not hold; without `full` only the running sums count."""
    _check_sums(state)
    if full:
        _check_nil(state)
        _check_positions(state)
        for instrument in range(len(state.book.books)):
            _check_book(state, instrument)
            _check_market_state(state, instrument)
        _check_ids(state)
        check_icebergs(state.book)
        _check_open_orders(state)
        check_triggers(state)
        check_pegs(state)
        check_lives(state)
        check_pause(state)
        check_collateral(state)
        check_risks(state)
        _check_units(state)
        check_gate(state)
        check_stage_timers(state)
        check_waterfall(state)
        check_disposals(state)


def _require(holds: bool, rule: str, where: str) -> None:
    if not holds:
        raise InvariantError(f"{rule} does not hold: {where}")


def _check_sums(state: State) -> None:
    for asset, total in enumerate(state.ledger.totals):
        _require(
            total["balance"] == total["deposits"] - total["withdrawals"], "MON-1", f"asset {asset}: running balance"
        )
    for instrument, market in enumerate(state.prices.markets):
        _require(market["net_lots"] == 0, "POS-1", f"instrument {instrument}: positions sum to {market['net_lots']}")


def _check_nil(state: State) -> None:
    _require(not np.any(state.ledger.groups[: codes.FIRST_USER]), "GRP-1", "a system account has a group")
    pools = (state.book.orders, state.book.externals, state.ledger.positions)
    for pool in pools:
        _require(
            not any(np.any(pool[0][name]) for name in pool.dtype.names),
            "NIL",
            f"slot 0 of {pool.dtype.names[0]}… was written",
        )


def _check_positions(state: State) -> None:
    wallets, positions, totals = state.ledger.wallets, state.ledger.positions, state.ledger.totals
    high = int(state.io.control[0]["position_high"])
    held = positions[1 : high + 1]
    assets = len(totals)
    _require(bool(np.all(held["entry_value"][held["lots"] == 0] == 0)), "MON-2", "a flat position keeps an entry value")
    for asset, total in enumerate(totals):
        mine = held["wallet"] % assets == asset
        money = (
            int(wallets["cash"][asset::assets].sum())
            + int(held["isolated_margin"][mine].sum())
            - int(held["entry_value"][mine].sum())
        )
        _require(money == total["deposits"] - total["withdrawals"], "MON-1", f"asset {asset}: holds {money}")
    for instrument, market in enumerate(state.prices.markets):
        lots = held["lots"][held["instrument"] == instrument]
        _require(int(lots.sum()) == 0, "POS-1", f"instrument {instrument}")
        _require(
            int(lots[lots > 0].sum()) == market["open_interest_lots"],
            "POS-2",
            f"instrument {instrument}: open interest",
        )
        users = held[(held["instrument"] == instrument) & (held["wallet"] // assets >= codes.FIRST_USER)]
        limit = state.prices.instruments[instrument]["position_max_lots"]
        _require(bool(np.all(np.abs(users["lots"]) <= limit)), "POS-3", f"instrument {instrument}: position limit")


def walk_levels(book: Book, instrument: int, side: int, count: int) -> list[tuple[int, int]]:
    """(ticks, lots) of the best `count` levels, found by reading the bitmap row itself."""
    return [
        (ticks, int(book.levels[_level(book, instrument, side, ticks)]["lots"]))
        for ticks in live_ticks(book, instrument, side)[:count]
    ]


def _level(book: Book, instrument: int, side: int, ticks: int) -> int:
    return int(book.ladders[2 * instrument + side]["level_base"]) + ticks


def live_ticks(book: Book, instrument: int, side: int) -> list[int]:
    return set_bits(book.words, book.ladders[2 * instrument + side], down=side == codes.BID)


def queue(book: Book, instrument: int, side: int, ticks: int) -> list[int]:
    """Order slots of one level, oldest first."""
    slots, slot = [], int(book.levels[_level(book, instrument, side, ticks)]["head"])
    while slot:
        slots.append(slot)
        slot = int(book.orders[slot]["next"])
    return slots


def _check_book(state: State, instrument: int) -> None:
    book = state.book
    best = book.books[instrument]["best_ticks"]
    simulated = 0
    for side in (codes.BID, codes.ASK):
        live = live_ticks(book, instrument, side)
        _require(
            (live[0] if live else 0) == best[side], "BK-1", f"instrument {instrument} side {side}: best {best[side]}"
        )
        for ticks in live:
            level = book.levels[_level(book, instrument, side, ticks)]
            slots = queue(book, instrument, side, ticks)
            where = f"instrument {instrument} side {side} ticks {ticks}"
            _require(level["tail"] == slots[-1] and level["count"] == len(slots), "BK-2", where + ": chain")
            before = joined = 0
            for slot in slots:
                order = book.orders[slot]
                _require(
                    order["prev"] == before and order["side"] == side and order["ticks"] == ticks,
                    "BK-2",
                    where + f": slot {slot}",
                )
                _require(order["priority_seq"] > joined, "BK-3", where + f": slot {slot}")
                joined = order["priority_seq"]
                _require(0 < order["leaves_lots"] <= order["order_lots"], "BK-4", where + f": slot {slot}")
                simulated += whole_lots(book, slot) if order["account"] != codes.EXTERNAL else 0
                before = slot
            _require(
                level["lots"] == sum(int(book.orders[slot]["leaves_lots"]) for slot in slots), "BK-2", where + ": lots"
            )
        _check_top(book, instrument, side, live)
    _require(simulated == book.books[instrument]["order_lots"], "BK-2", f"instrument {instrument}: live order lots")
    for external in externals(book, instrument):
        _check_external(state, external)
    _check_impact(state, instrument)


def _check_top(book: Book, instrument: int, side: int, live: list[int]) -> None:
    """Whoever last improved the best price is first at it, or gone."""
    top = book.books[instrument]["top_seq"][side]
    later = [
        slot
        for ticks in live
        for slot in queue(book, instrument, side, ticks)[0 if ticks != live[0] else 1 :]
        if book.orders[slot]["priority_seq"] == top
    ]
    _require(not later, "BK-7", f"instrument {instrument} side {side}: slot {later} is the top order")


def _check_external(state: State, external: Any) -> None:
    where, orders = f"ticks {external['ticks']}", state.book.orders
    _require(0 <= external["displaced_lots"] <= external["lots"], "EXT-1", f"{where}: displaced")
    parts, slot = [], int(external["order"])
    while slot:
        parts.append(orders[slot])
        slot = int(orders[slot]["account_next"])
    leaves = [int(part["leaves_lots"]) for part in parts]
    _require(sum(leaves) == external["lots"] - external["displaced_lots"], "EXT-1", f"{where}: leaves")
    joined = [int(part["priority_seq"]) for part in parts]
    several = state.prices.policy[0]["queue"] != codes.QUEUE_WHOLE_LEVEL and min(leaves) > 0
    _require(len(parts) == 1 or (several and joined == sorted(joined)), "EXT-2", f"{where}: parts {leaves}")
    shift = state.prices.markets[external["instrument"]]["shift_ticks"]
    _require(external["ticks"] == external["recorded_ticks"] + shift, "EXT-3", f"{where}: shift {shift}")


def _check_impact(state: State, instrument: int) -> None:
    """Without simulated flow no impact; with it bounded flow, and a timer that moves the quotes."""
    impact, where = state.prices.impacts[instrument], f"instrument {instrument}: impact"
    flow = [abs(int(impact[name])) for name in ("permanent_mlots", "decaying_mlots")]
    timers = state.io.timers[1 : int(state.io.control[0]["timer_count"]) + 1]
    due = np.count_nonzero((timers["kind"] == codes.IMPACT_TICK) & (timers["unit"] == instrument))
    _require(due == impact["timer"], "IMP-1", f"{where} has {due} timers")
    _require(bool(due) or not any((*flow, impact["flow_lots"], impact["ticks"])), "IMP-1", f"{where} without flow")
    _require(max(flow) <= 10**6 * int(impact["volume_lots"]), "IMP-2", f"{where} flow {flow}")


def externals(book: Book, instrument: int) -> list[Any]:
    """The external levels of an instrument, oldest first."""
    found, e = [], int(book.books[instrument]["external_head"])
    while e:
        found.append(book.externals[e])
        e = int(book.externals[e]["next"])
    return found


def waiting_legs(state: State, instrument: int) -> list[int]:
    """Positions whose liquidation order waits until the market matches again, oldest first."""
    found, p = [], int(state.prices.auctions[instrument]["waiting_head"])
    while p:
        found.append(p)
        p = int(state.ledger.legs[p]["waiting_next"])
    return found


def _check_market_state(state: State, instrument: int) -> None:
    """Simulated orders cross in auctions alone, and only a market that stands still is waited for."""
    market, auction = state.prices.markets[instrument], state.prices.auctions[instrument]
    where, in_auction = f"instrument {instrument}", market["state"] == codes.STATE_AUCTION
    orders = state.book.orders
    live = (orders["account"] > codes.EXTERNAL) & (orders["leaves_lots"] > 0) & (orders["instrument"] == instrument)
    live &= (orders["flags"] & codes.PARKED) == 0
    bids, asks = (orders["ticks"][live & (orders["side"] == side)] for side in (codes.BID, codes.ASK))
    crossed = len(bids) and len(asks) and bids.max() >= asks.min()
    _require(in_auction or not crossed, "BK-1", f"{where}: orders cross outside an auction")
    _require(in_auction or not np.any(orders["flags"][live] & codes.MARKET), "AUC-1", f"{where}: a market order rests")
    still = int(market["state"]) in codes.STILL
    waiting, timers = waiting_legs(state, instrument), state.io.timers[1 : int(state.io.control[0]["timer_count"]) + 1]
    _require(still or not waiting, "AUC-2", f"{where}: {len(waiting)} legs wait for a market that matches")
    due = timers[(timers["kind"] == codes.AUCTION_TICK) & (timers["unit"] == instrument)]
    _require(len(due) == auction["timer"], "AUC-3", f"{where}: {len(due)} auction timers")
    _require(in_auction or not len(due), "AUC-3", f"{where}: a timer without an auction")


def _check_ids(state: State) -> None:
    book = state.book
    mask, taken = len(book.ids) - 1, np.flatnonzero(book.ids)
    live = {
        int(slot)
        for slot in np.flatnonzero((book.orders["account"] != codes.EXTERNAL) & (book.orders["leaves_lots"] > 0))
    }
    _require(sorted(int(book.ids[at]) for at in taken) == sorted(live), "BK-5", "ids and live orders differ")
    for at in taken:
        order_id = int(book.orders[book.ids[at]]["order_id"])
        probe = home_of(book.ids, order_id)
        while probe != at:
            _require(bool(book.ids[probe]), "BK-5", f"order id {order_id} cannot be found")
            probe = (probe + 1) & mask
    free, slot = 0, int(book.pools[0]["order_free"])
    while slot:
        free += 1
        slot = int(book.orders[slot]["next"])
        _require(free <= len(book.orders), "BK-5", "the free list is cyclic")
    _require(
        free + int(book.pools[0]["order_live"]) == book.pools[0]["order_high"],
        "BK-5",
        "live + free differ from the pool",
    )


def _check_open_orders(state: State) -> None:
    sums: dict[int, list[int]] = {}
    reducing: dict[int, list[int]] = {}
    for slot in np.flatnonzero(
        (state.book.orders["account"] > codes.EXTERNAL) & (state.book.orders["leaves_lots"] > 0)
    ):
        order = state.book.orders[slot]
        position = state.ledger.positions[order["position"]]
        unit = position if position["mode"] == codes.ISOLATED else state.ledger.wallets[position["wallet"]]
        calm = unit["stage"] < codes.STAGE_REDUCE or order["flags"] & codes.FORCED
        _require(bool(calm), "LIQ-2", f"order {order['order_id']}: its unit is in liquidation")
        if order["flags"] & codes.PARKED:
            continue
        if not order["flags"] & codes.REDUCE_ONLY:
            row = sums.setdefault(int(order["position"]), [0, 0, 0, 0])
            record = state.prices.instruments[order["instrument"]]
            price_sub = int(order["ticks"]) * int(record["mark_per_tick"])
            row[2 * int(order["side"])] += abs(contract_value(record, price_sub, whole_lots(state.book, slot)))
            row[2 * int(order["side"]) + 1] += whole_lots(state.book, slot)
        elif not order["flags"] & codes.PARKED:
            reducing.setdefault(int(order["position"]), [0, 0])[int(order["side"])] += whole_lots(state.book, slot)
    positions = state.ledger.positions
    for p in range(1, int(state.io.control[0]["position_high"]) + 1):
        row = positions[p]
        kept = [int(row[name]) for name in ("bid_value", "bid_lots", "ask_value", "ask_lots")]
        _require(kept == sums.get(p, [0, 0, 0, 0]), "LIQ-1", f"position {p}: open order sums {kept}")
        lots, held = reducing.get(p, [0, 0]), int(row["lots"])
        where = f"position {p} of {held}: reduce-only orders of {lots}"
        kept = state.ledger.legs[p]["reduce_lots"].tolist()
        _require(kept == lots and row["reducing"] == (lots != [0, 0]), "ORD-1", f"{where}, kept as {kept}")
        _require(lots[codes.BID] <= max(0, -held) and lots[codes.ASK] <= max(0, held), "ORD-1", where)


def _units(state: State) -> list[tuple[int, int, list[int]]]:
    """(unit, pocket, position slots) of every unit that is subject to margin."""
    wallets, positions, totals = state.ledger.wallets, state.ledger.positions, state.ledger.totals
    cross: dict[int, list[int]] = {}
    units = []
    for p in range(1, int(state.io.control[0]["position_high"]) + 1):
        wallet, account = int(positions[p]["wallet"]), int(positions[p]["wallet"]) // len(totals)
        if account != codes.INSURANCE and account < codes.FIRST_USER:
            continue
        if positions[p]["mode"] == codes.ISOLATED:
            units.append((-p, int(positions[p]["isolated_margin"]), [p] if positions[p]["lots"] else []))
        elif positions[p]["lots"]:
            cross.setdefault(wallet, []).append(p)
    for wallet in np.flatnonzero(wallets["open"]):
        account = int(wallet) // len(totals)
        if account == codes.INSURANCE or account >= codes.FIRST_USER:
            units.append((int(wallet), int(wallets[wallet]["cash"]), cross.get(int(wallet), [])))
    return units


def _check_units(state: State) -> None:
    positions, guards = state.ledger.positions, state.guards.guards
    armed = 0
    for unit, pocket, slots in _units(state):
        stage = positions[-unit]["stage"] if unit < 0 else state.ledger.wallets[unit]["stage"]
        fund = unit > 0 and unit // len(state.ledger.totals) == codes.INSURANCE
        legs = [positions[p] for p in slots]
        portfolio = unit > 0 and bool(state.ledger.wallets[unit]["portfolio"])
        health = portfolio_health(state, pocket, legs) if portfolio else unit_health(state, pocket, legs, {}, not fund)
        where = f"unit {unit}: health {health}, stage {stage}"
        if stage != codes.STAGE_NONE:
            _require(
                not any(guards[2 * p + d]["mark_sub"] for p in slots for d in (0, 1)), "LIQ-3", where + ", but armed"
            )
            continue
        if state.prices.stages[0]["count"] and not fund:
            armed += check_stages(state, unit, pocket, slots)
            continue
        blind = slots and not any(state.prices.markets[int(leg["instrument"])]["mark_sub"] for leg in legs)
        _require(health >= 0 or fund or blind, "LIQ-3", where)
        if health >= 0 and portfolio:
            armed += check_portfolio(state, unit, pocket, slots)
        elif health >= 0:
            armed += check_guards(state, unit, pocket, slots, not fund)
    filed = int(np.count_nonzero(guards["mark_sub"]))
    _require(filed == armed, "GRD-1", f"{filed} guards are filed, {armed} belong to healthy units")
