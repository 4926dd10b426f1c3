"""Puts accounts that were read from a file on the venue: each with its lots at its entry price and its money."""

import msgspec
import numpy as np

from exchange import codes
from exchange.config import Compiled, Venue
from exchange.errors import ConfigError
from replay.accounts import Accounts, refuse
from replay.population import Drawn, Population, Site, add_hedgers
from replay.seeding import (
    Contract,
    Placed,
    Seeded,
    fund_quanta,
    initial_margin,
    money_rows,
    place,
    placed_events,
    rows,
    signed_notional,
    unrealised,
)
from replay.summary import Entries, Positions, Summary, distance_ppm, summarise

PREDECESSORS_MAX = 64  # of one instrument


class _Funded(msgspec.Struct, frozen=True):
    """Money of the rows of a file: isolated margin and what of it is transferred, deposits by account, health."""

    extra: np.ndarray  # by row
    deposit: np.ndarray  # by account
    health: np.ndarray  # by row, of the position or, in cross margin, of its wallet


def accounts_needed(accounts: Accounts, population: Population) -> int:
    """Account slots: those read, hedgers, predecessors."""
    return len(accounts.names) + population.hedgers + PREDECESSORS_MAX * len(np.unique(accounts.instrument))


def seed_accounts(
    accounts: Accounts, population: Population, venue: Venue, compiled: Compiled, site: Site, marks_sub: np.ndarray
) -> Seeded:
    """Return the events that put the accounts on the venue; hedgers hold what longs and shorts differ by.

    Raises
    ------
    FeedError
        By line: accounts that would start at or below maintenance at the marks of the moment.
    ConfigError
        When an instrument has no mark yet, or the positions pass its limits.
    """
    record = compiled.instruments[site.instrument]
    asset = int(record["asset"])
    if (compiled.instruments["asset"][accounts.instrument] != asset).any():
        raise ConfigError(
            "$.population.accounts_from",
            f"{accounts.file} has positions that are not settled in {venue.assets[asset].name}, as the first "
            "instrument of the feed is; keep to those of one asset, and name its profile first",
        )
    traders = range(site.first_account, site.first_account + len(accounts.names))
    hedgers = range(traders.stop, traders.stop + population.hedgers)
    placed, next_account = [], hedgers.stop
    for instrument in np.unique(accounts.instrument).tolist():
        if not marks_sub[instrument]:
            raise ConfigError(
                "$.run.seed_after_ms",
                f"{venue.instruments[instrument].symbol} has positions but no mark yet; seed later, or drop them",
            )
        here = msgspec.structs.replace(site, instrument=instrument, mark_sub=int(marks_sub[instrument]))
        placed.append(_place(accounts, population, here, Contract.of(compiled, instrument), hedgers, next_account))
        next_account += len(placed[-1].predecessors)
    funded = _fund(accounts, placed, compiled)
    fund = fund_quanta(population, venue, record)
    events = [money_rows(codes.DEPOSIT, np.array([codes.INSURANCE]), np.array([fund]), asset, site.ts_ns)]
    owners = np.arange(traders.start, traders.stop)
    events.append(money_rows(codes.DEPOSIT, owners, funded.deposit[asset], asset, site.ts_ns))
    for one in placed:
        margin = one.margin[-population.hedgers :]
        events.append(money_rows(codes.DEPOSIT, np.array(hedgers), margin, asset, site.ts_ns))
    events += [placed_events(one) for one in placed]
    events += [_transfers(accounts, funded, one) for one in placed]
    summary = _summary(accounts, population, placed, funded, fund)
    return Seeded(np.concatenate(events), summary, traders, hedgers, next_account)


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
    drawn = Drawn(lots, leverage_e2, accounts.isolated[mine] > 0, bucket + 1, leverage_e2)
    owners = np.concatenate((site.first_account + accounts.account[mine], np.array(hedgers)))
    ticks = np.concatenate(([now], prices))
    return place(add_hedgers(population, drawn), owners, site, contract, ticks, first_keeper)


def _fund(accounts: Accounts, placed: list[Placed], compiled: Compiled) -> _Funded:
    """Deposits, and the health that they leave; accounts that would be liquidated at once are refused by line."""
    count, assets = len(accounts.names), compiled.instruments["asset"].astype(np.int64)
    asset = assets[accounts.instrument]
    isolated = accounts.isolated > 0
    opening, profit, need, locked = (np.zeros(len(accounts.lots), np.int64) for _ in range(4))
    for one in placed:
        mine = _rows_of(accounts, one)
        gained, kept = unrealised(one)
        value = np.abs(signed_notional(one.contract.record, one.site.mark_sub, one.drawn.lots))
        opening[mine], profit[mine], need[mine] = (column[: len(mine)] for column in (one.margin, gained, kept))
        locked[mine] = initial_margin(value, one.drawn.leverage_e2)[: len(mine)]
    margin = np.maximum(opening, accounts.margin)
    cash, crossed, reserved, set_apart = (np.zeros((assets.max() + 1, count), np.int64) for _ in range(4))
    given = accounts.cash >= 0
    np.add.at(cash, (asset[~isolated], accounts.account[~isolated]), margin[~isolated])
    cash[asset[given], accounts.account[given]] = accounts.cash[given]
    np.add.at(crossed, (asset[~isolated], accounts.account[~isolated]), (profit - need)[~isolated])
    np.add.at(reserved, (asset[~isolated], accounts.account[~isolated]), (profit - locked)[~isolated])
    np.add.at(set_apart, (asset[isolated], accounts.account[isolated]), margin[isolated])
    extra = np.where(isolated, margin - opening, 0)
    wallet = asset, accounts.account
    health = np.where(isolated, margin + profit - need, (cash + crossed)[wallet])
    blocked = (extra > 0) & ((cash + reserved)[wallet] < 0)
    bad = [
        f"{accounts.file}:{accounts.line[k]}: margin: {accounts.names[accounts.account[k]]!r} "
        + (
            f"has {health[k]} quanta of equity less maintenance at the mark; expected more than 0, so more money"
            if health[k] <= 0
            else "has cross positions with less than their initial margin; expected more cash, or no margin apart"
        )
        for k in np.flatnonzero((health <= 0) | blocked).tolist()
    ]
    if bad:
        refuse(accounts.file, bad, len(accounts.lots))
    deposit = cash + set_apart
    deposit[wallet] = np.maximum(1, deposit[wallet])  # a wallet is opened by money
    return _Funded(extra, deposit, health)


def _transfers(accounts: Accounts, funded: _Funded, placed: Placed) -> np.ndarray:
    """What isolated positions hold beyond their initial margin."""
    mine = _rows_of(accounts, placed)
    mine = mine[funded.extra[mine] > 0]
    owners = placed.site.first_account + accounts.account[mine]
    return rows(codes.TRANSFER, placed.site, owners, funded.extra[mine])


def _summary(accounts: Accounts, population: Population, placed: list[Placed], funded: _Funded, fund: int) -> Summary:
    parts, hedged, open_interest, lots = [], 0, 0, 0
    for one in placed:
        drawn, mine = one.drawn, _rows_of(accounts, one)
        record = one.contract.record
        notional = signed_notional(record, one.site.mark_sub, drawn.lots)
        held, tiers = notional[: len(mine)], one.contract.tiers
        parts.append(
            (
                accounts.account[mine],
                held,
                drawn.leverage_e2[: len(mine)],
                distance_ppm(funded.health[mine], held, tiers, bool(record["kind"] == codes.INVERSE)),
            )
        )
        hedged += int(np.abs(notional[len(mine) :]).sum())
        open_interest += int(notional[notional > 0].sum())
        lots += int(drawn.lots[drawn.lots > 0].sum()) if one.site.instrument == 0 else 0
    account, notional, leverage_e2, distance = (np.concatenate(column) for column in zip(*parts, strict=True))
    positions = Positions(account, notional, leverage_e2, leverage_e2, accounts.isolated, distance, hedged)
    return summarise(
        positions,
        hedgers=population.hedgers,
        predecessors=sum(len(one.predecessors) for one in placed),
        open_interest_lots=lots,
        open_interest_depth=round(lots / max(1, placed[0].site.depth_lots), 3),
        open_interest_money=open_interest,
        scaled_up=1.0,
        entries=Entries(f"read from {accounts.file}"),
        deposits_money=int(funded.deposit.sum()) + sum(int(one.margin[-population.hedgers :].sum()) for one in placed),
        fund_money=fund,
    )
