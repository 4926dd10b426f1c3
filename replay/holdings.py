"""Puts accounts that were read from a file on the venue: each with its lots at its entry price and its money."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from exchange import codes
from exchange.config import Compiled, Venue
from exchange.errors import ConfigError
from replay.accounts import Accounts, refuse
from replay.draw import Drawn, add_hedgers
from replay.placing import (
    Contract,
    Placed,
    fund_rows,
    initial_margin,
    money_rows,
    place,
    placed_events,
    rows,
    signed_notional,
    unrealised,
)
from replay.population import PREDECESSORS_MAX, Population, Site
from replay.portfolios import Portfolios, portfolios
from replay.seeding import Seeded, summarise
from replay.summary import Entries


class _Funded(msgspec.Struct, frozen=True):
    """Money of the rows of a file: isolated margin and what of it is transferred, deposits by account, health.

    A hedge may hold less under the grid than leg by leg: what its wallet lacks until it is in portfolio mode is lent.
    """

    extra: np.ndarray  # by row
    deposit: np.ndarray  # by asset and account
    lent: np.ndarray  # likewise; beside the deposit
    health: np.ndarray  # by row, of the position or, in cross margin, of its wallet
    grid: Portfolios


def accounts_needed(accounts: Accounts, population: Population) -> int:
    """Account slots: those read, hedgers, predecessors."""
    return len(accounts.names) + population.hedgers + PREDECESSORS_MAX * len(np.unique(accounts.instrument))


def seed_accounts(
    accounts: Accounts,
    population: Population,
    venue: Venue,
    compiled: Compiled,
    sites: Sequence[Site],
    exchange: Any = None,
) -> Seeded:
    """Return the events that put the accounts on the venue; hedgers hold what longs and shorts differ by.

    `exchange` is the venue as it stands then: it says what its grid asks of accounts in portfolio mode.

    Raises
    ------
    FeedError
        By line: accounts that would start at or below maintenance at the marks of the moment, or in portfolio mode
        below initial margin.
    ConfigError
        When the feed has no book of an instrument, or the positions pass its limits.
    """
    first, ts_ns = sites[0].first_account, sites[0].ts_ns
    traders = range(first, first + len(accounts.names))
    hedgers = range(traders.stop, traders.stop + population.hedgers)
    here, placed, next_account = {site.instrument: site for site in sites}, [], hedgers.stop
    for instrument in np.unique(accounts.instrument).tolist():
        if instrument not in here:
            raise ConfigError(
                "$.population.accounts_from",
                f"{accounts.file} has positions in {venue.instruments[instrument].symbol}, of which the feed has no "
                "book; add its capture, or drop them",
            )
        placed.append(
            _place(accounts, population, here[instrument], Contract.of(compiled, instrument), hedgers, next_account)
        )
        next_account += len(placed[-1].predecessors)
    chosen = [np.pad(accounts.mode[_rows_of(accounts, one)] == codes.PORTFOLIO, (0, len(hedgers))) for one in placed]
    funded = _fund(accounts, placed, compiled, portfolios(placed, chosen, exchange))
    assets = list(dict.fromkeys(one.asset for one in placed))
    owners = np.array(traders)
    events = [fund_rows(population, venue, placed)]
    paid = funded.deposit + funded.lent
    events += [money_rows(codes.DEPOSIT, owners, paid[asset], asset, ts_ns) for asset in assets]
    for one in placed:
        margin = one.margin[-population.hedgers :]
        events.append(money_rows(codes.DEPOSIT, np.array(hedgers), margin, one.asset, ts_ns))
    events += [placed_events(one) for one in placed]
    events += [_transfers(accounts, funded, one) for one in placed]
    events.append(funded.grid.mode_events(ts_ns))
    events += [money_rows(codes.WITHDRAW, owners, funded.lent[asset], asset, ts_ns) for asset in assets]
    made = np.concatenate(events)
    health = [funded.health[_rows_of(accounts, one)] for one in placed]
    entered = [Entries(f"read from {accounts.file}")] * len(placed)
    summary = summarise(venue, placed, health, entered, [1.0] * len(placed), made, hedgers, funded.grid)
    return Seeded(made, summary, traders, hedgers, next_account)


def _rows_of(accounts: Accounts, placed: Placed) -> np.ndarray:
    return np.flatnonzero(accounts.instrument == placed.site.instrument)


def _place(
    accounts: Accounts, population: Population, site: Site, contract: Contract, hedgers: range, first_keeper: int
) -> Placed:
    """Every different entry price is a bucket of its own; bucket 0 is the mark, at which the hedgers open."""
    mine = np.flatnonzero(accounts.instrument == site.instrument)
    lots, leverage_e2 = accounts.lots[mine], accounts.leverage_e2[mine]
    prices, bucket = np.unique(accounts.ticks[mine], return_inverse=True)
    now = max(1, site.mark_sub // int(contract.record["mark_per_tick"]))
    open_interest = max(int(lots[lots > 0].sum()), -int(lots[lots < 0].sum()))
    if 2 * open_interest > int(contract.record["open_interest_max_lots"]):
        raise ConfigError(
            f"$.venue.instruments[{site.instrument}].open_interest_max",
            f"the accounts hold {open_interest} lots; seeding needs room for twice that",
        )
    drawn = Drawn(lots, leverage_e2, accounts.mode[mine] == codes.ISOLATED, bucket + 1, leverage_e2)
    owners = np.concatenate((site.first_account + accounts.account[mine], np.array(hedgers)))
    ticks = np.concatenate(([now], prices))
    hedged = add_hedgers(population, drawn, contract.record, contract.tiers, site.mark_sub)
    placed = place(hedged, owners, site, contract, ticks, first_keeper)
    _check_hedgers(placed, population.hedgers)
    return placed


def _check_hedgers(placed: Placed, hedgers: int) -> None:
    """Refuse hedgers that their initial margin leaves at or below maintenance."""
    profit, need = unrealised(placed)
    health, lots = (placed.margin + profit - need)[-hedgers:], placed.drawn.lots[-hedgers:]
    if ((health <= 0) & (lots != 0)).any():
        raise ConfigError(
            "$.population.hedgers",
            f"{hedgers} hedgers hold what longs and shorts differ by, up to {int(np.abs(lots).max())} lots each at "
            f"{placed.drawn.leverage_e2[-1] / 100:g}x, and would start at or below maintenance; raise hedgers, or "
            "lower hedger_leverage",
        )


def _fund(accounts: Accounts, placed: list[Placed], compiled: Compiled, grid: Portfolios) -> _Funded:
    """Deposits, and the health that they leave; accounts that would be liquidated at once are refused by line."""
    count, assets = len(accounts.names), compiled.instruments["asset"].astype(np.int64)
    asset = assets[accounts.instrument]
    isolated = accounts.mode == codes.ISOLATED
    opening, profit, need, locked, alone = (np.zeros(len(accounts.lots), np.int64) for _ in range(5))
    for one in placed:
        mine = _rows_of(accounts, one)
        gained, kept = unrealised(one)
        value = np.abs(signed_notional(one.contract.record, one.site.mark_sub, one.drawn.lots))
        opening[mine], profit[mine], need[mine] = (column[: len(mine)] for column in (one.margin, gained, kept))
        locked[mine] = initial_margin(value, one.drawn.leverage_e2)[: len(mine)]
        rounded = 1 + len(one.trades.lots) * int(one.contract.record["kind"] == codes.INVERSE)
        alone[mine] = rounded + np.maximum(locked, need)[mine] - np.minimum(0, profit[mine])
    margin = np.maximum(opening, accounts.margin)
    cash, crossed, reserved, first, set_apart = (np.zeros((assets.max() + 1, count), np.int64) for _ in range(5))
    given = accounts.cash >= 0
    np.add.at(cash, (asset[~isolated], accounts.account[~isolated]), margin[~isolated])
    cash[asset[given], accounts.account[given]] = accounts.cash[given]
    np.add.at(crossed, (asset[~isolated], accounts.account[~isolated]), (profit - need)[~isolated])
    np.add.at(reserved, (asset[~isolated], accounts.account[~isolated]), (profit - locked)[~isolated])
    np.add.at(first, (asset[~isolated], accounts.account[~isolated]), alone[~isolated])
    np.add.at(set_apart, (asset[isolated], accounts.account[isolated]), margin[isolated])
    at = grid.asset, grid.account - placed[0].site.first_account
    crossed[at], reserved[at] = grid.profit - grid.maintenance, grid.profit - grid.initial
    grid, lent = msgspec.structs.replace(grid, cash=cash[at]), np.zeros_like(cash)
    lent[at] = np.maximum(0, first[at] - cash[at])
    extra = np.where(isolated, margin - opening, 0)
    wallet = asset, accounts.account
    health = np.where(isolated, margin + profit - need, (cash + crossed)[wallet])
    spare = (cash + reserved)[wallet]
    _check_funded(accounts, health, spare, (extra > 0) | (accounts.mode == codes.PORTFOLIO))
    deposit = cash + set_apart
    deposit[wallet] = np.maximum(1, deposit[wallet])  # a wallet is opened by money
    return _Funded(extra, deposit, lent, health, grid)


def _check_funded(accounts: Accounts, health: np.ndarray, spare: np.ndarray, covered: np.ndarray) -> None:
    """Refuse rows of no health, and of wallets with less than initial margin where that must be covered."""

    def wrong(k: int) -> str:
        if health[k] <= 0:
            return f"has {health[k]} quanta of equity less maintenance at the mark; expected more than 0, so more money"
        if accounts.mode[k] == codes.PORTFOLIO:
            return f"lacks {-spare[k]} quanta of its initial margin in portfolio mode; expected more cash"
        return "has cross positions with less than their initial margin; expected more cash, or no margin apart"

    bad = [
        f"{accounts.file}:{accounts.line[k]}: margin: {accounts.names[accounts.account[k]]!r} {wrong(k)}"
        for k in np.flatnonzero((health <= 0) | covered & (spare < 0)).tolist()
    ]
    if bad:
        refuse(accounts.file, bad, len(accounts.lots))


def _transfers(accounts: Accounts, funded: _Funded, placed: Placed) -> np.ndarray:
    """What isolated positions hold beyond their initial margin."""
    mine = _rows_of(accounts, placed)
    mine = mine[funded.extra[mine] > 0]
    owners = placed.site.first_account + accounts.account[mine]
    return rows(codes.TRANSFER, placed.site, owners, funded.extra[mine])
