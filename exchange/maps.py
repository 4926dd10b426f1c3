"""The venue's liquidation map, and the bands of accounts: what breaks at which mark, the other marks held. DESIGN §6.

Units of one leg are read off the guards, which are their liquidation prices. Units of several legs, and all units of a
venue with stages, are solved along the one mark: how much is of which kind is part of the answer.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from exchange import codes, units
from exchange.core.maps import margins_at, marks_below
from exchange.state import State, aligned_copy

PPM = 1_000_000
RATIO_MAX_PPM = 1_000 * PPM
MAP_ENTRY = np.dtype(  # one position that a mark liquidates; its notional is at that mark
    [("price_sub", "i8"), ("account", "i8"), ("slot", "i8"), ("lots", "i8"), ("notional", "i8"), ("several", "?")],
    align=True,
)
MAP_ROW = np.dtype(  # what is liquidated between two marks, both inclusive
    [("low_sub", "i8"), ("high_sub", "i8")]
    + [(f"{what}_{kind}", "i8") for kind in ("one", "several") for what in ("accounts", "lots", "notional")]
)
BAND = np.dtype([("account", "i8"), ("instrument", "i8"), ("slot", "i8"), ("lots", "i8"), ("several", "?")])


class LiquidationMap(NamedTuple):
    """What is to be liquidated by price. A unit that breaks on both sides of the mark is in it on both."""

    instrument: int
    mark_sub: int
    rows: np.ndarray  # MAP_ROW, in order of price, none empty
    entries: np.ndarray  # MAP_ENTRY, in order of price
    pending: np.ndarray  # slots of positions whose unit is in liquidation already, which are in no row
    never: np.ndarray  # slots of positions that no mark of this instrument liquidates


class Bands(NamedTuple):
    """Marks on the losing side, 0 = none; a unit that is below a ratio already has today's mark."""

    positions: np.ndarray  # BAND
    ratios_ppm: tuple[int, ...]
    marks_sub: np.ndarray  # int64[position, ratio]


class _Held(NamedTuple):
    """Live positions of users: their slots, and whether their unit has several legs or is in liquidation."""

    slots: np.ndarray
    several: np.ndarray
    pending: np.ndarray


def _held(state: State) -> _Held:
    ledger = state.ledger
    positions = ledger.positions[: int(state.io.control[0]["position_high"]) + 1]
    slots = np.flatnonzero(positions["lots"])
    wallet, isolated = positions["wallet"][slots], positions["mode"][slots] == codes.ISOLATED
    legs = np.bincount(wallet[~isolated], minlength=len(ledger.wallets))
    stage = np.where(isolated, positions["stage"][slots], ledger.wallets["stage"][wallet])
    users = account_of(state, slots) >= codes.FIRST_USER
    several = ~isolated & ((legs[wallet] > 1) | (ledger.wallets["portfolio"][wallet] != 0))
    return _Held(slots[users], several[users], (stage != codes.STAGE_NONE)[users])


def account_of(state: State, slots: np.ndarray) -> np.ndarray:
    """Accounts of position slots."""
    found: np.ndarray = state.ledger.positions["wallet"][slots] // int(state.prices.policy[0]["assets"])
    return found


def _movable(state: State) -> State:
    """The same venue with marks of its own, which may be moved, and risk arrays that follow them."""
    own = {name: aligned_copy(getattr(state.prices, name)) for name in ("markets", "members", "risks", "losses")}
    return state._replace(prices=state.prices._replace(**own))


def nearest_marks(state: State, slots: np.ndarray, ratio_ppm: int) -> tuple[np.ndarray, np.ndarray]:
    """By position the nearest marks, (falling, rising), at which its unit's equity is below a share of maintenance.

    A share of 1,000,000 ppm is where it is liquidated, 0 where equity itself is negative. 0 = no mark on the ladder.
    """
    if not 0 <= ratio_ppm <= RATIO_MAX_PPM:
        raise ValueError(f"a ratio must be 0..{RATIO_MAX_PPM} ppm, got {ratio_ppm}")
    falling, rising = np.zeros(len(slots), np.int64), np.zeros(len(slots), np.int64)
    marks_below(_movable(state), np.ascontiguousarray(slots, np.int64), np.int64(ratio_ppm), falling, rising)
    return falling, rising


def forced_ratio_ppm(stages: np.ndarray) -> int | None:
    """Equity over maintenance below which the first stage that liquidates begins; None for a venue without stages."""
    forced = stages["below_ppm"][stages["action"] >= codes.STAGE_PART]
    return int(forced[0]) if len(forced) else None


def margins(state: State, slot: int, marks_sub: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(maintenance of a position's unit, initial margin of its wallet) at each of several marks of its instrument."""
    maintained, initial = np.zeros(len(marks_sub), np.int64), np.zeros(len(marks_sub), np.int64)
    margins_at(_movable(state), slot, np.ascontiguousarray(marks_sub, np.int64), maintained, initial)
    return maintained, initial


def liquidation_map(state: State, instrument: int, step_ticks: int) -> LiquidationMap:
    """Read and solve the map of an instrument, in rows of `step_ticks`; row k holds ticks k*step to (k+1)*step - 1."""
    if step_ticks < 1:
        raise ValueError(f"step_ticks must be at least 1, got {step_ticks}")
    record, positions = state.prices.instruments[instrument], state.ledger.positions
    held = _held(state)
    here = positions["instrument"][held.slots] == instrument
    live = here & ~held.pending
    one, several = held.slots[live & ~held.several], held.slots[live & held.several]
    forced_ppm, guards = forced_ratio_ppm(state.prices.stages), state.guards.guards["mark_sub"]
    alone = [guards[2 * one], guards[2 * one + 1]]
    if forced_ppm is not None:  # guards of a venue with stages are no liquidation prices
        alone = [*nearest_marks(state, one, forced_ppm)]
    marks = [*alone, *nearest_marks(state, several, forced_ppm or PPM)]
    entries = _entries(state, record, np.concatenate((one, one, several, several)), marks, 2 * len(one))
    reached = np.zeros(len(positions), bool)
    reached[entries["slot"]] = True
    return LiquidationMap(
        instrument,
        int(state.prices.markets[instrument]["mark_sub"]),
        rows_of(entries, step_ticks * int(record["mark_per_tick"])),
        entries,
        held.slots[here & held.pending],
        held.slots[live & ~reached[held.slots]],
    )


def _entries(
    state: State, record: np.void, slots: np.ndarray, marks: Sequence[np.ndarray], several_from: int
) -> np.ndarray:
    """Entries of the slots whose mark is on the ladder, in order of it; those from a place on are of several legs."""
    marks_sub, per_tick = np.concatenate(marks), int(record["mark_per_tick"])
    on_ladder = (marks_sub >= record["ticks_min"] * per_tick) & (marks_sub <= record["ticks_max"] * per_tick)
    chosen = np.flatnonzero(on_ladder)
    chosen = chosen[np.argsort(marks_sub[chosen], kind="stable")]
    slots, made = slots[chosen], np.zeros(len(chosen), MAP_ENTRY)
    made["price_sub"], made["slot"], made["several"] = marks_sub[chosen], slots, chosen >= several_from
    made["account"], made["lots"] = account_of(state, slots), state.ledger.positions["lots"][slots]
    made["notional"] = np.abs(units.contract_value(record, made["price_sub"], made["lots"]))
    return made


def rows_of(entries: np.ndarray, step_sub: int) -> np.ndarray:
    """Whole-number sums of entries (MAP_ENTRY) by bins of `step_sub`, in order of price, none empty."""
    bins, starts = np.unique(entries["price_sub"] // step_sub, return_index=True)
    rows = np.zeros(len(bins), MAP_ROW)
    rows["low_sub"], rows["high_sub"] = bins * step_sub, (bins + 1) * step_sub - 1
    for kind in ("one", "several") if len(bins) else ():
        own = entries["several"] == (kind == "several")
        columns = {"accounts": own, "lots": own * np.abs(entries["lots"]), "notional": own * entries["notional"]}
        for what, column in columns.items():
            rows[f"{what}_{kind}"] = np.add.reduceat(column.astype(np.int64), starts)
    return rows


def bands(state: State, ratios_ppm: Sequence[int], account: int | None = None) -> Bands:
    """The marks at which equity over maintenance comes below each ratio, by live position of users, or of one account.

    Each along the mark of the position, on the side on which it loses. Units in liquidation are left out.
    """
    held, positions = _held(state), state.ledger.positions
    slots, several = held.slots[~held.pending], held.several[~held.pending]
    marked = state.prices.markets["mark_sub"][positions["instrument"][slots]] > 0
    chosen = marked if account is None else marked & (account_of(state, slots) == account)
    slots, several = slots[chosen], several[chosen]
    made, lots = np.zeros(len(slots), BAND), positions["lots"][slots]
    made["account"], made["instrument"] = account_of(state, slots), positions["instrument"][slots]
    made["slot"], made["lots"], made["several"] = slots, lots, several
    marks = [np.where(lots > 0, *nearest_marks(state, slots, ratio)) for ratio in ratios_ppm]
    return Bands(made, tuple(ratios_ppm), np.stack(marks, axis=1) if marks else np.zeros((len(slots), 0), np.int64))
