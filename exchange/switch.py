"""Other rules on a live venue: the same positions and prices under another configuration, to be read. DESIGN §10.3."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from exchange import codes, config, state, stress
from exchange.add_ons import sum_depths, take_indices
from exchange.config import Venue
from exchange.errors import ConfigError
from exchange.state import Prices, State, aligned_copy
from exchange.venue import Exchange

FIXED = (
    "symbol",
    "kind",
    "settle",
    "tick",
    "lot",
    "mark_per_tick",
    "multiplier",
    "price_min",
    "price_max",
    "life",
    "option",
)  # what positions and prices are counted in, and what is traded


class Switched(NamedTuple):
    """The live units of a venue before and after other rules hold, at the marks that each of the rules gives."""

    units: stress.Units
    before: State  # a copy, at the marks before
    after: State
    marks_before: np.ndarray
    marks_after: np.ndarray
    equity_before: np.ndarray
    required_before: np.ndarray
    equity_after: np.ndarray
    required_after: np.ndarray

    @property
    def breaches(self) -> np.ndarray:
        """Units that are healthy under the rules in force, and below maintenance under the others."""
        found: np.ndarray = (self.equity_before >= self.required_before) & (self.equity_after < self.required_after)
        return found


def switched(exchange: Exchange, venue: Venue, tier_sets: Mapping[int, int] | None = None) -> Switched:
    """Compare every live unit under the rules in force and under those of `venue`.

    `tier_sets`: by instrument, the tier table that a SET_TIERS would choose. Where a rule of marks differs both
    venues compute theirs anew, now; else marks are as they stand.

    Raises
    ------
    ConfigError
        When the other venue trades something else, or counts it in other units.
    """
    check_same(exchange.venue, venue)
    live, before = exchange.state, stress.movable(exchange.state)
    after = live._replace(prices=ruled(live.prices, exchange.venue, venue))
    for k, chosen in (tier_sets or {}).items():
        _choose_tiers(after.prices, k, chosen, venue)
    marks_before, marks_after = (stress.marks_of(live) for _ in range(2))
    if _marks_differ(exchange.venue, venue):
        before = live._replace(prices=Prices(*(aligned_copy(array) for array in live.prices)))
        marks_before, marks_after = _marks_now(before), _marks_now(after)
    units = stress.live_units(live)
    numbers = (
        *stress.numbers_at(before, units.number, marks_before),
        *stress.numbers_at(after, units.number, marks_after),
    )
    return Switched(units, before, after, marks_before, marks_after, *numbers)


def check_same(old: Venue, new: Venue) -> None:
    """Refuse another venue where this one's positions, prices or accounts would mean something else."""
    if old.assets != new.assets or old.capacity != new.capacity:
        raise ConfigError("$.venue.assets", "assets and capacity cannot be switched while the venue lives")
    symbols = [one.symbol for one in old.instruments]
    if [one.symbol for one in new.instruments] != symbols:
        raise ConfigError("$.venue.instruments", f"expected the same in the same order: {', '.join(symbols)}")
    for k, (before, after) in enumerate(zip(old.instruments, new.instruments, strict=True)):
        for name in FIXED:
            if getattr(before, name) != getattr(after, name):
                raise ConfigError(
                    f"$.venue.instruments[{k}].{name}",
                    "is what positions and prices are counted in, and cannot be switched while the venue lives; "
                    "tiers, margin, haircuts, fees, index and mark rules can",
                )


def ruled(live: Prices, old: Venue, new: Venue) -> Prices:
    """Prices of a live venue under other rules: what the run changed stays, all else is as the other rules state.

    A record whose number depends on the rules (a ring of samples of another length) begins anew.
    """
    blank, stated = state.allocate(old).prices, state.allocate(new).prices
    made = Prices(
        *(
            _merged(*arrays) if len(arrays[0]) == len(arrays[2]) else aligned_copy(arrays[2])
            for arrays in zip(live, blank, stated, strict=True)
        )
    )
    if len(live.basis) != len(made.basis):
        for name in ("basis_count", "basis_next", "basis_sum_sub"):
            made.markets[name] = 0
    sum_depths(made.members)
    take_indices(made.members, made.markets)
    for k in range(len(made.instruments)):
        _choose_tiers(made, k, int(made.margins[k]["tier_set"]), new)
        if made.margins[k]["closing_fee"] == codes.CLOSING_TAKER:
            made.margins[k]["reserve_ppm"] = max(0, -(-int(made.instruments[k]["taker_ppb"]) // 1000))
    return made


def _merged(live: np.ndarray, blank: np.ndarray, stated: np.ndarray) -> np.ndarray:
    """Field by field: as it is where the run changed it, else as it is stated now."""
    made = aligned_copy(stated)
    for name in live.dtype.names or ():
        made[name] = np.where(live[name] != blank[name], live[name], stated[name])
    if live.dtype.names is None:
        made[:] = np.where(live != blank, live, stated)
    return made


def _choose_tiers(prices: Prices, instrument: int, chosen: int, venue: Venue) -> None:
    """Put one of an instrument's tier tables in force. Mutates the prices."""
    row, record = prices.margins[instrument], prices.instruments[instrument]
    if not 0 <= chosen < int(row["set_count"]):
        raise ConfigError(
            f"$.venue.instruments[{instrument}].margin.tier_sets",
            f"{venue.instruments[instrument].symbol} has tier tables 0..{int(row['set_count']) - 1}; got {chosen}",
        )
    row["tier_set"] = chosen
    record["tier_base"], record["tier_count"] = row["set_base"][chosen], row["set_size"][chosen]


def _marks_differ(old: Venue, new: Venue) -> bool:
    """Does a rule differ that marks come from?"""

    def rules(venue: Venue) -> Any:
        own = [(one.constituents, one.index_feedback_ppm) for one in venue.instruments]
        return venue.mark, venue.index, config.compile_venue(venue).pricing.tobytes(), own

    return bool(rules(old) != rules(new))


def _marks_now(moved: State) -> np.ndarray:
    """The marks that the rules in force set now; as they stand where they set none. Mutates the prices."""
    made = stress.marks_of(moved)
    for k in range(len(made)):
        found = stress.mark_now(moved, k)
        if made[k] and found:
            made[k] = found
    return made
