"""Accounts of a population in portfolio mode: what the venue's grid asks of each wallet, and where it would break."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from exchange import codes, schema
from exchange.units import contract_value
from replay.placing import Placed, unrealised
from replay.summary import FAR_PPM, PPM


class Portfolios(msgspec.Struct, frozen=True):
    """Wallets in portfolio mode at the marks of the moment. Money in quanta, by wallet."""

    state: Any  # the venue's prices beside these wallets alone; None without any
    part: np.ndarray  # by leg: place of its instrument among those that were placed
    row: np.ndarray  # by leg: its row there
    wallet: np.ndarray  # by leg: number of its wallet
    instrument: np.ndarray  # by leg
    account: np.ndarray
    asset: np.ndarray
    profit: np.ndarray
    notional: np.ndarray
    maintenance: np.ndarray
    initial: np.ndarray
    cash: np.ndarray  # what it is given
    raised: np.ndarray  # is that more than its leverage asks for?

    def leverage_e2(self) -> np.ndarray:
        """By leg the leverage that its wallet's equity makes, where the grid asked for more than the leverage did."""
        allowed = (self.notional / np.maximum(1, self.cash + self.profit) * 100).astype(np.int64)
        return np.where(self.raised, allowed, np.iinfo(np.int64).max)[self.wallet]

    def distance_ppm(self) -> np.ndarray:
        """By leg how far its mark may move against it, the others held; `FAR_PPM` where no mark breaks the wallet."""
        if self.state is None:
            return np.zeros(0, np.int64)
        from exchange.supposed import losing_marks

        marks = self.state.prices.markets["mark_sub"][self.instrument].astype(np.int64)
        reached = losing_marks(self.state, self.cash)
        return np.where(reached > 0, np.minimum(FAR_PPM, abs(reached - marks) * PPM // marks), FAR_PPM)

    def mode_events(self, ts_ns: int) -> np.ndarray:
        """SET_MARGIN_MODE of each wallet, which the venue refuses where equity is less than initial margin."""
        events = np.zeros(len(self.account), schema.EVENT)
        events["ts_ns"], events["kind"], events["account"] = ts_ns, codes.SET_MARGIN_MODE, self.account
        events["qty"] = codes.PORTFOLIO
        events["instrument"][self.wallet] = self.instrument
        return events


def portfolios(placed: Sequence[Placed], chosen: Sequence[np.ndarray], exchange: Any) -> Portfolios:
    """The wallets of the chosen rows of each instrument, weighed by the venue as it stands at the seeding."""
    part = np.repeat(np.arange(len(placed)), [np.count_nonzero(mine) for mine in chosen])
    row = np.concatenate([np.flatnonzero(mine) for mine in chosen])
    given = np.concatenate([_columns(one, mine) for one, mine in zip(placed, chosen, strict=True)], axis=1)
    order = np.lexsort(given[2::-1])
    owner, held = given[:2, order], given[2:, order]
    new = np.append(True, (owner[:, 1:] != owner[:, :-1]).any(axis=0))[: len(order)]
    wallet, (account, asset) = np.cumsum(new) - 1, owner[:, new]
    instrument, lots, value, profit, leverage_e2 = held
    totals = np.zeros((2, len(account)), np.int64)
    np.add.at(totals[0], wallet, profit)
    np.add.at(totals[1], wallet, np.abs(value))
    columns, cash = (part[order], row[order], wallet, instrument, account, asset, *totals), np.zeros_like(account)
    if not len(order):
        return Portfolios(None, *columns, *totals, cash, cash)
    from exchange.supposed import LEG, requirements, supposed

    legs = np.zeros(len(order), LEG)
    for name, column in zip(LEG.names or (), (wallet, instrument, lots, value - profit, leverage_e2), strict=True):
        legs[name] = column
    state = supposed(exchange.state, legs)
    return Portfolios(state, *columns, *requirements(state), cash, cash)


def _columns(placed: Placed, chosen: np.ndarray) -> np.ndarray:
    """Account, asset, instrument, lots, value and profit at the mark, leverage of the chosen rows."""
    lots = placed.drawn.lots[chosen]
    value = contract_value(placed.contract.record, placed.site.mark_sub, lots)
    settled, held = np.full(len(lots), placed.asset), np.full(len(lots), placed.site.instrument)
    profit, leverage_e2 = unrealised(placed)[0][chosen], placed.drawn.leverage_e2[chosen]
    return np.stack((placed.accounts[: len(chosen)][chosen], settled, held, lots, value, profit, leverage_e2))
