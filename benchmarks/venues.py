"""Venues for the benchmarks, and the compiled loop called on them as `Exchange` calls it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from exchange import codes, config, schema
from exchange.core import loop
from exchange.rows import copied
from exchange.state import State, aligned_copy
from exchange.venue import EVENTS_PER_CALL, FOREVER_NS

COIN_CONTRACT = {"kind": "inverse", "settle": "COIN", "multiplier": "100", "lot": "1", "mark_per_tick": 2,
                 "price_min": "1000", "order_max": "1000", "position_max": "20000", "open_interest_max": "2000000"}


def stream_venue(accounts: int, orders: int = 20_000, positions: int | None = None, instruments: int = 1,
                 kind: str = "linear", price_max: str = "809484") -> config.Venue:
    """The shipped Binance rules with a recorded mark, so that only the messages move anything."""
    table = config.load_profile("binance_um")
    table["mark"] = {"source": "recorded"}
    table["capacity"] = {"accounts": accounts, "positions": (positions or accounts) + 8, "orders": orders,
                         "external_levels": 64}
    model: dict[str, Any] = table["instruments"][0] | {"price_max": price_max}
    if kind == "inverse":
        table["assets"] = [{"name": "COIN", "quantum": "0.00000001"}]
        tiers = [tier | {"floor": str(int(tier["floor"]) // 10_000)} for tier in model["tiers"]]
        model |= COIN_CONTRACT | {"tiers": tiers}
    table["instruments"] = [model | {"symbol": f"I{k}"} for k in range(instruments)]
    return config.build_venue(table)


def crowd_venue(accounts: int, instruments: int, tiers: int | None = None, portfolios: bool = False,
                stages: Sequence[dict[str, Any]] = ()) -> config.Venue:
    """Many instruments with the (first) tiers of the shipped rules, settled in one asset, marks as recorded; with a
    stress grid, if asked, of groups of five instruments each, and stages of liquidation."""
    table = config.load_profile("binance_um")
    table["mark"] = {"source": "recorded"}
    table["capacity"] = {"accounts": accounts, "positions": 2 * accounts + 64}
    if stages:
        table["liquidation"] = {"stages": list(stages)}
    model: dict[str, Any] = table["instruments"][0] | {"price_max": "100000"}
    model["tiers"] = model["tiers"][:tiers]
    table["instruments"] = [model | {"symbol": f"I{k}"} for k in range(instruments)]
    if portfolios:
        groups = [{"name": f"G{k}", "range_ppm": 25_000, "members": [f"I{i}" for i in range(k, min(k + 5, instruments))]}
                  for k in range(0, instruments, 5)]
        table["portfolio_margin"] = {"preset": "span16", "modes": ["sum", "rho_one"], "groups": groups,
                                     "scale_bits": 4}
    return config.build_venue(table)


def deposits(accounts: np.ndarray, amounts: np.ndarray, ts_ns: int) -> np.ndarray:
    """A DEPOSIT into asset 0 for each account."""
    events = np.zeros(len(accounts), schema.EVENT)
    events["ts_ns"], events["kind"] = ts_ns, codes.DEPOSIT
    events["account"], events["qty"] = accounts, amounts
    return events


def run_slices(state: State, events: np.ndarray) -> None:
    """All events through the compiled loop in calls of the product's size; outcomes are left to be overwritten."""
    for start in range(0, len(events), EVENTS_PER_CALL):
        run(state, events[start:start + EVENTS_PER_CALL], 0)


def finish(state: State, kept: list[np.ndarray] | None = None) -> None:
    """Fire every timer that is set, and those that these set; outcomes go to `kept` where there is one."""
    run(state, np.zeros(0, schema.EVENT), FOREVER_NS, kept)


def run(state: State, events: np.ndarray, horizon_ns: int, kept: list[np.ndarray] | None = None) -> None:
    """One call of the loop, gone on with while the outbox is full."""
    control, first, code = state.io.control[0], 0, codes.OUTBOX_FULL
    while code == codes.OUTBOX_FULL:
        code = loop.run(state, events, events.view(schema.TERMS), first, FOREVER_NS, horizon_ns)
        first = int(control["next_event"])
        if kept is not None:
            kept.append(copied(state.io.outbox[:int(control["outbox_count"])]))
        control["outbox_count"] = 0
    assert code == codes.NEED_INPUT, f"the loop stopped with {code}"


def copy(state: State) -> State:
    """A venue's state once more, each array on its own."""
    return State(*(type(group)(*map(aligned_copy, group)) for group in state))


def touch(state: State) -> None:
    """Write zeros over the fresh pools, so that the first use of a page is not measured as work of the loop."""
    book, outbox = state.book, state.io.outbox[:65_536]
    for array in (state.ledger.positions, state.guards.guards, book.orders, book.ids, outbox):
        array.view(np.uint8)[:] |= 0
