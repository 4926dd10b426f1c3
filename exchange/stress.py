"""Units of margin at other marks, and what would save them: what the venue itself would say there. DESIGN §10.1.

Everything happens on copies of the records that move: prices for a shock, the ledger for a trade.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from exchange import codes, units
from exchange.core import stress
from exchange.state import State, aligned_copy

PPM = 1_000_000
DEPOSIT_MAX = 2**60


class Units(NamedTuple):
    """Live units of users: a wallet with cross positions, or one isolated position; and their positions.

    `number` names a unit as the venue does: +wallet, -position. `of` is the place of a position's unit among them.
    """

    number: np.ndarray
    wallet: np.ndarray
    slots: np.ndarray
    of: np.ndarray
    pending: int  # units in liquidation already, which are left out

    def account(self, state: State) -> np.ndarray:
        """Accounts, by unit."""
        found: np.ndarray = self.wallet // int(state.prices.policy[0]["assets"])
        return found

    def asset(self, state: State) -> np.ndarray:
        """Places of the assets in which units are worth something."""
        found: np.ndarray = self.wallet % int(state.prices.policy[0]["assets"])
        return found

    def mode(self, state: State, unit: int) -> str:
        """How one unit is margined: isolated, cross or portfolio."""
        if self.number[unit] < 0:
            return "isolated"
        return "portfolio" if state.ledger.wallets[self.wallet[unit]]["portfolio"] else "cross"

    def legs(self, unit: int) -> np.ndarray:
        """Position slots of one unit, in order of instrument."""
        return self.slots[self.of == unit]


def live_units(state: State) -> Units:
    """Every unit of a user with a position, but those in liquidation."""
    ledger, assets = state.ledger, int(state.prices.policy[0]["assets"])
    positions = ledger.positions[: int(state.io.control[0]["position_high"]) + 1]
    slots = np.flatnonzero(positions["lots"])
    slots = slots[positions["wallet"][slots] >= codes.FIRST_USER * assets]
    wallets, isolated = positions["wallet"][slots].astype(np.int64), positions["mode"][slots] == codes.ISOLATED
    stage = np.where(isolated, positions["stage"][slots], ledger.wallets["stage"][wallets])
    number = np.where(isolated, -slots, wallets)
    pending = len(np.unique(number[stage != codes.STAGE_NONE]))
    live = stage == codes.STAGE_NONE
    slots, number, wallets = slots[live], number[live], wallets[live]
    order = np.lexsort((positions["instrument"][slots], wallets))
    slots, number, wallets = slots[order], number[order], wallets[order]
    # a wallet's cross unit comes first, then its isolated positions in the order of their slots
    keys = wallets * (len(positions) + 1) + np.maximum(-number, 0)
    _, first, of = np.unique(keys, return_index=True, return_inverse=True)
    return Units(number[first], wallets[first], slots, of.reshape(-1), pending)


def movable(state: State) -> State:
    """The same venue with marks, options and risk arrays of its own, which may be moved."""
    prices = state.prices
    own = {name: aligned_copy(getattr(prices, name)) for name in ("markets", "members", "options", "risks", "losses")}
    return state._replace(prices=prices._replace(**own))


def tradable(state: State) -> State:
    """A movable venue with a ledger of its own, on which trades may be booked."""
    ledger = state.ledger
    wallets, positions, totals = (aligned_copy(array) for array in (ledger.wallets, ledger.positions, ledger.totals))
    return movable(state)._replace(ledger=ledger._replace(wallets=wallets, positions=positions, totals=totals))


def marks_of(state: State) -> np.ndarray:
    """Today's marks in sub-ticks by instrument: a copy, also of a venue's only one."""
    return np.array(state.prices.markets["mark_sub"], np.int64)


def shocked(state: State, shocks_ppm: Sequence[int]) -> np.ndarray:
    """Marks after a move of each instrument by a share of itself, rounded down, held on the ladder; no mark stays."""
    made = marks_of(state)
    for k, ppm in enumerate(shocks_ppm):
        record, mark = state.prices.instruments[k], int(made[k])
        if mark:
            low, high = (int(record[name]) * int(record["mark_per_tick"]) for name in ("ticks_min", "ticks_max"))
            made[k] = max(low, min(mark + mark * int(ppm) // PPM, high))
    return made


def numbers_at(moved: State, numbers: np.ndarray, marks_sub: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(equity, maintenance) of units at marks. `moved` comes from `movable` and has those marks afterwards."""
    equity, required = np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.int64)
    chosen = np.ascontiguousarray(numbers, np.int64)
    stress.numbers_at(moved, chosen, np.ascontiguousarray(marks_sub, np.int64), equity, required)
    return equity, required


def notionals(state: State, slots: np.ndarray, marks_sub: np.ndarray | None = None) -> np.ndarray:
    """Notional of positions at marks, today's by default."""
    positions, marks = state.ledger.positions, marks_of(state) if marks_sub is None else marks_sub
    made = np.zeros(len(slots), np.int64)
    held = positions["instrument"][slots]
    for k in np.unique(held):
        if marks[k]:
            own = slots[held == k]
            record = state.prices.instruments[k]
            lots = positions["lots"][own].astype(np.int64)
            made[held == k] = np.abs(units.contract_value(record, int(marks[k]), lots))
    return made


def leg_loss(moved: State, p: int, marks_sub: np.ndarray, today_sub: np.ndarray) -> int:
    """What a position loses of its value, and must hold more, from today's marks to others."""
    changes = []
    for marks in (today_sub, marks_sub):
        numbers_at(moved, np.zeros(0, np.int64), marks)
        changes.append([int(number) for number in stress.position_numbers(moved, p)])
    (value, held), (there, held_there) = changes
    return value - there + held_there - held


def mark_now(moved: State, instrument: int) -> int:
    """The mark that the rules in force would set now; 0 = it stands. Mutates the prices."""
    return int(stress.mark_now(moved, instrument))


def fund_at(moved: State, asset: int, marks_sub: np.ndarray) -> int:
    """Equity of the insurance fund at marks."""
    wallet = codes.INSURANCE * int(moved.prices.policy[0]["assets"]) + asset
    return int(numbers_at(moved, np.array([wallet]), marks_sub)[0][0])


def free_balance(state: State, wallet: int) -> int:
    """What may leave a wallet now."""
    return int(stress.free_balance(state, wallet))


class Bench:
    """One unit on a copy of the venue, tried at a scenario's marks after trades or payments at today's.

    Each trial starts from the venue as it stands.
    """

    def __init__(self, state: State, copy: State, number: int, slots: Sequence[int], marks_sub: np.ndarray):
        self.copy, self.number, self.slots = copy, np.array([number], np.int64), [int(p) for p in slots]
        self.today, self.marks = marks_of(state), marks_sub
        self.wallet = int(state.ledger.positions[self.slots[0]]["wallet"])
        self.kept = state.ledger.wallets[self.wallet].copy(), state.ledger.positions[self.slots].copy()
        self.lots = {p: int(state.ledger.positions[p]["lots"]) for p in self.slots}

    def _health(self) -> int:
        equity, required = numbers_at(self.copy, self.number, self.marks)
        return int(equity[0] - required[0])

    def _begin(self) -> None:
        self.copy.ledger.wallets[self.wallet], self.copy.ledger.positions[self.slots] = self.kept
        numbers_at(self.copy, self.number, self.today)

    def health_after(self, p: int, closed_lots: int) -> int:
        """Health at the scenario's marks once lots of a position were closed at today's mark, fee paid."""
        self._begin()
        stress.trade_at_mark(self.copy, p, np.int64(-closed_lots if self.lots[p] > 0 else closed_lots))
        return self._health()

    def health_with(self, money: int) -> int:
        """Health at the scenario's marks with more in the unit's pocket."""
        self._begin()
        stress.pay_in(self.copy, self.slots[0], np.int64(money))
        return self._health()

    def deposit(self) -> int:
        """The smallest payment with which the unit survives; 0 = it does without."""
        short = -self.health_with(0)
        if short <= 0:
            return 0
        high = short
        while self.health_with(high) < 0 and high < DEPOSIT_MAX:
            high *= 2
        return least(lambda money: self.health_with(money) >= 0, 0, high)

    def reduction(self, p: int) -> int | None:
        """The fewest lots of a leg to close so that the unit survives; None where closing all is not enough.

        Found by halving: between none and all, more is taken to help more.
        """
        size = abs(self.lots[p])
        if self.health_after(p, size) < 0:
            return None
        return least(lambda lots: lots > 0 and self.health_after(p, lots) >= 0, 0, size)


def least(holds: Any, low: int, high: int) -> int:
    """The smallest number above `low` that holds, where `high` does and `low` does not, by halving."""
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high
