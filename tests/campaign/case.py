"""One metamorphic relation on one seed, and what the relations share: worlds, streams, and which rows are meant."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from exchange import codes, config, schema
from exchange.venue import Exchange
from tests.campaign_events import make_events, make_venue

ORDER_KINDS = (codes.NEW, codes.CANCEL, codes.AMEND, codes.CANCEL_ALL)
LOT_KINDS = (codes.NEW, codes.AMEND, codes.LEVEL_SET, codes.TRADE_PRINT, codes.OPEN_POSITION,
             codes.DEPOSIT_ASSET, codes.WITHDRAW_ASSET, codes.CANCEL)  # a refused cancel answers with the lots it names
TAG = 7_777  # liquidation_id of a row that the map adds: its RESULT carries it
MONEY = 1 << 44


def unchanged(outcomes: np.ndarray) -> None:
    """The map that leaves outcomes as they are."""


class Case(NamedTuple):
    """One relation on one seed: two tables, two streams, and what is done to the outcomes of each, in place. `kinds`
    are those of the outcomes that are compared; none: all."""

    base: dict[str, Any]
    image: dict[str, Any]
    events: np.ndarray
    image_events: np.ndarray
    map_base: Callable[[np.ndarray], None] = unchanged
    map_image: Callable[[np.ndarray], None] = unchanged
    kinds: tuple[int, ...] = ()


def world(seed: int, **sections: dict[str, Any]) -> dict[str, Any]:
    """The seed's venue as a table with fields of sections replaced."""
    table = config.to_table(make_venue(seed))
    for name, fields in sections.items():
        table[name] = {**table[name], **fields}
    if table["mark"]["source"] == "recorded" and table["index"]["stale"] == "freeze":
        table["index"]["stale"] = "drop"
    return table


def contracts_alone(table: dict[str, Any]) -> dict[str, Any]:
    """The table without what may be held."""
    return {**only(table, lambda instrument: instrument["kind"] != "spot"), "collateral": {}}


def only(table: dict[str, Any], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The table with these instruments, in portfolio groups too."""
    kept = [instrument for instrument in table["instruments"] if wanted(instrument)]
    symbols, grid = {instrument["symbol"] for instrument in kept}, table["portfolio_margin"]
    groups = [{**group, "members": [name for name in group["members"] if name in symbols],
               "basis_ppm": {name: share for name, share in group["basis_ppm"].items() if name in symbols}}
              for group in grid["groups"]]
    return {**table, "instruments": kept,
            "portfolio_margin": {**grid, "groups": [group for group in groups if group["members"]]}}


def stream(table: dict[str, Any], seed: int, count: int) -> np.ndarray:
    return make_events(config.build_venue(table), seed, count)


def is_in(events: np.ndarray, kinds: tuple[int, ...]) -> np.ndarray:
    return np.isin(events["kind"], kinds)


def answers(outcomes: np.ndarray, kinds: tuple[int, ...]) -> np.ndarray:
    """RESULT rows of commands of these kinds."""
    return (outcomes["kind"] == codes.RESULT) & np.isin(outcomes["flags"], kinds)


def terms_of(events: np.ndarray) -> np.ndarray:
    """The same rows read as terms; to be written to where `events["kind"]` is TERMS alone."""
    return events.view(schema.TERMS)


def outcomes_of(table: dict[str, Any], events: np.ndarray) -> np.ndarray:
    """Every outcome of a stream, run to its end."""
    exchange = Exchange(config.build_venue(table))
    exchange.submit(events)
    exchange.run()
    exchange.run(int(events["ts_ns"].max()) + 1)
    return exchange.outcomes()


def without_dates(table: dict[str, Any]) -> dict[str, Any]:
    """The world without options and settlements: an end cancels what rests, and neither mirrors."""
    table = only(table, lambda instrument: instrument["kind"] != "option")
    for instrument in table["instruments"]:
        instrument["life"] = {}
    return table
