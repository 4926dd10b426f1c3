"""The whole state in a canonical plain form that another implementation can be compared with."""

from dataclasses import astuple
from typing import Any

from exchange import codes
from exchange.reference import grid, margin, pegs, triggers
from exchange.reference.lives import Life
from exchange.reference.records import Contract, Position
from exchange.reference.world import World

SYSTEM_POSITIONS = (codes.EXTERNAL, codes.INSURANCE)


def snapshot(world: World) -> dict[str, Any]:
    """Wallets, positions, books, external levels, markets, timers and totals as dicts and tuples of int."""
    return {
        "wallets": _wallets(world),
        "positions": _positions(world),
        "books": _books(world),
        "parked": _parked(world),
        "pegs": {k: rows for k in range(len(world.books)) if (rows := _pegs(world, k))},
        "terms": _terms(world),
        "externals": _externals(world),
        "markets": {k: _market(world, k) for k in range(len(world.markets))},
        "timers": sorted((t.ts_ns, t.priority, t.account, t.order, t.kind) for t in world.timers),
        "quantities": {order_id: order.order_lots for order_id, order in sorted(world.orders.items())},
        "tops": {
            (k, side): (order.order_id, order.account)
            for k, book in enumerate(world.books)
            for side, order in enumerate(book.tops)
            if order is not None
        },
        "groups": {account: group for account, group in sorted(world.groups.items()) if group},
        "lives": {k: (o.due, len(o.samples_sub), sum(o.samples_sub), *_priced(o)) for k, o in enumerate(world.lives)},
        "options": {k: _option(contract) for k, contract in enumerate(world.contracts)},
        "option_risks": _option_risks(world),
        "basis_gains": _basis_gains(world),
        "depths": {k: _depth(world, k) for k, _ in enumerate(world.contracts)},
        "auctions": {k: _auction(world, k) for k in range(len(world.markets))},
        "totals": dict(enumerate(zip(world.deposits, world.withdrawals, strict=True))),
        "pricing": {k: _pricing(world, k) for k in range(len(world.markets))},
        "throttles": {
            (k, key): used for k, limit in enumerate(world.limits) for key, used in limit.used(world.clock_ns).items()
        },
        "conduct": {account: values for account in world.conduct if any(values := astuple(world.conduct[account]))},
        "tier_sets": [contract.model.tier_set for contract in world.contracts],
        "standings": _standings(world),
        "funds": [tuple(map(int, astuple(fund))) for fund in world.funds],
        "gateway": [(*waiting.event, waiting.terms) for waiting in world.queue],
    }


def _standings(world: World) -> dict[tuple[int, int], list[tuple[int, ...]]]:
    found = {}
    for wallet in world.wallets.values():
        for unit in (wallet.unit, *(position.isolated_unit for position in wallet.positions.values())):
            rows = [
                (int(row.inside), int(row.has_timer), int(unit.driver == k), *astuple(row)[2:])
                for k, row in enumerate(unit.standings)
            ]
            if any(map(any, rows)):
                found[wallet.account, unit.timer_order] = rows
    return dict(sorted(found.items()))


def _wallets(world: World) -> dict[tuple[int, int], tuple[int, int, int]]:
    return {
        (w.account, w.asset): (w.cash, w.unit.stage, int(w.portfolio))
        for w in world.wallets.values()
        if w.cash or (w.is_open and w.account >= codes.FIRST_USER)
    }


def _depth(world: World, instrument: int) -> tuple[int, ...]:
    """Number of the period in which a contract was measured, what its books absorb, the index of its charges."""
    return *world.grid.depths.get(instrument, (0, 0, 0)), world.grid.charged_sub.get(instrument, 0)


def _option_risks(world: World) -> dict[int, list[list[int]]]:
    """What options gain by scenario, as last reckoned; by own shocks, by beta, against it, as the modes need them."""
    if not any(wallet.portfolio for wallet in world.wallets.values()):
        return {}
    rows = [(gains, way) for gains in world.grid.kept() for way in grid.ways(world)]
    return {
        k: [[gains.get((k, s, way), 0) for s in range(len(world.grid.scenarios))] for gains, way in rows]
        for k, contract in enumerate(world.contracts)
        if contract.option is not None and k in world.grid.groups
    }


def _basis_gains(world: World) -> dict[int, tuple[int, ...]]:
    """What options gain as their basis moves, likewise."""
    if not world.grid.terms.basis.any() or not any(wallet.portfolio for wallet in world.wallets.values()):
        return {}
    options = [k for k in world.grid.groups if world.contracts[k].option is not None]
    return {k: tuple(world.grid.basis_gains.get(k, (0, 0))) for k in sorted(options)}


def _positions(world: World) -> dict[tuple[int, int], tuple[int, ...]]:
    return {
        (wallet.account, instrument): _position(world, position)
        for wallet in world.wallets.values()
        for instrument, position in wallet.positions.items()
        if wallet.account not in SYSTEM_POSITIONS or position.lots or position.entry_value
    }


def _position(world: World, position: Position) -> tuple[int, ...]:
    return (
        position.lots,
        position.entry_value,
        position.isolated_margin,
        margin.order_value(world, position, codes.BID),
        margin.order_value(world, position, codes.ASK),
        margin.order_lots(position, codes.BID),
        margin.order_lots(position, codes.ASK),
        position.leverage_e2,
        position.mode,
        position.isolated_unit.stage,
    )


def _books(world: World) -> dict[tuple[int, int], list[tuple[int, list[tuple[int, int, int]]]]]:
    books = {
        (k, side): [
            (ticks, [(order.order_id, order.account, order.shown_lots) for order in orders])
            for ticks, orders in book.levels(side)
        ]
        for k, book in enumerate(world.books)
        for side in (codes.BID, codes.ASK)
    }
    return {key: levels for key, levels in books.items() if levels}


def _parked(world: World) -> dict[tuple[int, int, bool], list[tuple[int, list[tuple[int, ...]]]]]:
    parked = {}
    for k in range(len(world.books)):
        for source in triggers.SOURCES:
            for rising in (False, True):
                orders = [order for order in triggers.waiting(world, k, source) if triggers.rises(order) == rising]
                rows: dict[int, list[tuple[int, ...]]] = {}
                for order in sorted(orders, key=triggers.distance):
                    row = (order.order_id, order.account, order.leaves_lots, order.ticks)
                    rows.setdefault(abs(triggers.distance(order)[0]), []).append(row)
                if rows:
                    parked[k, source, rising] = list(rows.items())
    return parked


def _pegs(world: World, instrument: int) -> list[tuple[int, bool, bool]]:
    fired = [timer.target.order_id for timer in world.timers if timer.kind == codes.TRIGGER]
    return [(o.order_id, o.is_parked, o.order_id in fired) for o in pegs.pegged(world, instrument)]


def _terms(world: World) -> dict[int, tuple[int, ...]]:
    rows = {
        order_id: (
            order.terms.expiry_ns,
            order.terms.time_in_force,
            order.terms.self_trade,
            order.terms.trigger,
            order.terms.trigger_kind,
            order.terms.trigger_ticks,
            order.terms.offset_ticks,
            order.terms.peg,
            order.terms.limit_ticks,
            order.terms.min_lots,
            order.terms.display_lots,
            order.terms.display_min_lots,
            order.hidden_lots,
            order.terms.link.order_id if order.terms.link is not None else 0,
        )
        for order_id, order in sorted(world.orders.items())
        if order.terms is not None
    }
    return {order_id: row for order_id, row in rows.items() if any(row)}


def _externals(world: World) -> dict[tuple[int, int, int], tuple[int, ...]]:
    return {
        (k, side, ticks): (
            level.recorded_lots,
            level.lots,
            level.displaced_lots,
            level.printed_lots,
            level.extrapolated,
        )
        for k, book in enumerate(world.books)
        for (side, ticks), level in book.externals.items()
    }


def _auction(world: World, k: int) -> tuple[Any, ...]:
    auction = world.auctions[k]
    return (
        auction.static_ticks,
        auction.static_period,
        auction.end_ns,
        auction.reference_ticks,
        auction.volatility,
        auction.extensions,
        auction.paused_state,
        *auction.published,
        [(unit.wallet.account, unit.timer_order) for unit in world.waiting[k]],
        sorted(
            order.order_id
            for order in world.orders.values()
            if order.instrument == k and order.flags & codes.MARKET and not order.is_parked
        ),
    )


def _pricing(world: World, k: int) -> tuple[Any, ...]:
    state = world.price_states[k]
    times = (state.index_ns, state.mark_ns, state.last_ns)
    weighted = sum(place * premium for place, premium in enumerate(state.premiums, 1))
    samples = (state.premium_ppb, sum(state.premiums), weighted, state.rate_ppb)
    return (*times, *samples, state.ema_usub, len(state.premiums), state.trades)


def _market(world: World, k: int) -> tuple[int, ...]:
    market, impact = world.markets[k], world.impacts[k]
    return (
        market.recorded_index_sub,
        market.index_sub,
        market.recorded_mark_sub,
        market.mark_sub,
        market.previous_mark_sub,
        market.last_ticks,
        market.funding_rate_ppb,
        market.next_funding_ns,
        market.shift_ticks,
        market.index_shift_sub,
        market.depth_ppm,
        sum(market.basis_samples),
        len(market.basis_samples),
        world.open_interest(k),
        market.state,
        market.crossed_levels,
        impact.flow_lots,
        impact.permanent_mlots,
        impact.decaying_mlots,
        impact.ticks,
    )


def _priced(life: Life) -> tuple[int, int]:
    """The settlement price and whether it is known."""
    return (0, 0) if life.price_sub is None else (life.price_sub, 1)


def _option(contract: Contract) -> tuple[int, int, int, int]:
    option = contract.option
    if option is None:
        return 0, 0, 0, 0
    return option.volatility_parts, option.initial_sub, option.maintenance_sub, option.whole_sub
