"""Wallets in portfolio mode that a venue does not have, at its prices: what they would have to hold, where they break.

Nothing of the venue changes; requirements and marks are what its own kernels and map say. DESIGN §9.
"""

import numpy as np

from exchange import codes, maps, schema
from exchange.core.maps import margins_at
from exchange.portfolio import with_risks
from exchange.state import State, aligned_copy, aligned_zeros

LEG = np.dtype(  # one cross position; wallets are numbered from 0, and the value of an entry is signed
    [(name, "i8") for name in ("wallet", "instrument", "lots", "entry_value", "leverage_e2")]
)


def supposed(state: State, legs: np.ndarray) -> State:
    """The venue's prices beside a ledger of these wallets alone. `legs` (LEG) are in order of wallet and instrument.

    The position of row k is in slot k + 1, the wallet of number w in place w + 1.
    """
    state, count = with_risks(state), 1 + int(legs["wallet"][-1])
    wallets, positions = aligned_zeros(count + 1, schema.WALLET), aligned_zeros(len(legs) + 1, schema.POSITION)
    wallets["open"], wallets["portfolio"] = 1, 1
    slots, wallet = np.arange(1, len(legs) + 1), legs["wallet"]
    wallets["first_position"][wallet[::-1] + 1] = slots[::-1]
    for name in ("instrument", "lots", "entry_value", "leverage_e2"):
        positions[name][1:] = legs[name]
    positions["wallet"][1:], positions["mode"] = wallet + 1, codes.CROSS
    positions["next"][1:-1] = np.where(wallet[1:] == wallet[:-1], slots[1:], 0)
    grids, markets = aligned_copy(state.prices.grids), aligned_copy(state.prices.markets)
    grids["holders"] = count
    prices = state.prices._replace(grids=grids, markets=markets)
    return state._replace(prices=prices, ledger=state.ledger._replace(wallets=wallets, positions=positions))


def requirements(state: State) -> tuple[np.ndarray, np.ndarray]:
    """(maintenance, initial margin) of each supposed wallet at today's marks."""
    first = state.ledger.wallets["first_position"][1:]
    maintained, initial = np.zeros(len(first), np.int64), np.zeros(len(first), np.int64)
    instrument = state.ledger.positions["instrument"][first]
    marks = state.prices.markets["mark_sub"][instrument].astype(np.int64)
    for k, slot in enumerate(first.tolist()):
        margins_at(state, slot, marks[k : k + 1], maintained[k : k + 1], initial[k : k + 1])
    return maintained, initial


def losing_marks(state: State, cash: np.ndarray) -> np.ndarray:
    """By leg the mark on its losing side that liquidates its supposed wallet, the others held; 0 = none does.

    `cash` is what each wallet holds; it is written into the supposed ledger.
    """
    state.ledger.wallets["cash"][1:] = cash
    slots = np.arange(1, len(state.ledger.positions))
    ratio_ppm = maps.forced_ratio_ppm(state.prices.stages) or maps.PPM
    falling, rising = maps.nearest_marks(state, slots, ratio_ppm)
    marks: np.ndarray = np.where(state.ledger.positions["lots"][1:] > 0, falling, rising)
    return marks
