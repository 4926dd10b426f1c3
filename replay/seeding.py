"""Turns a population into the events that put it on the venue, and says what it is."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from exchange import codes, units
from exchange.config import Compiled, Venue
from exchange.errors import ConfigError
from replay import draw, entries
from replay.draw import Traders
from replay.klines import Klines
from replay.placing import (
    DEPOSIT_MAX,
    Contract,
    Placed,
    fund_rows,
    money_rows,
    place,
    placed_events,
    signed_notional,
    unrealised,
)
from replay.population import Population, Site, check_population, check_portfolio
from replay.portfolios import Portfolios, portfolios
from replay.summary import Entries, Positions, Summary, distance_ppm, summarise_asset, summarise_instrument
from replay.synthetic import streams


class Seeded(msgspec.Struct, frozen=True):
    """Events to submit at the seeding moment, and who is who: traders, then hedgers, then predecessors."""

    events: np.ndarray
    summary: Summary
    traders: range
    hedgers: range
    next_account: int


def seed_population(
    population: Population,
    venue: Venue,
    compiled: Compiled,
    sites: Sequence[Site],
    klines: Klines | None = None,
    exchange: Any = None,
) -> Seeded:
    """Draw the accounts and return the events that put them on the venue at the sites' moment, a site an instrument.

    `exchange` is the venue as it stands then: it says what its grid asks of accounts in portfolio mode.

    Raises
    ------
    ConfigError
        When the open interest, a position or a leverage does not fit the instrument's limits, or a history the moment.
    """
    check_population(population)
    check_portfolio(population, venue, [venue.instruments[site.instrument].symbol for site in sites])
    seed = population.seed or 0
    traders = draw.draw_traders(population, seed, len(sites))
    first = sites[0].first_account
    hedgers = range(first + population.accounts, first + population.accounts + population.hedgers)
    placed, entered, factors, next_account = [], [], [], hedgers.stop
    for k, site in enumerate(sites):
        one, entry, factor = _draw_instrument(population, venue, compiled, site, klines, traders, k, next_account)
        placed.append(one)
        entered.append(entry)
        factors.append(factor)
        next_account += len(one.predecessors)
    everyone = np.append(traders.portfolio, np.zeros(population.hedgers, bool))
    grid = portfolios(placed, [everyone[one.accounts[: len(one.drawn.lots)] - first] for one in placed], exchange)
    margins = _margins(placed, hedgers)
    grid = _fund_portfolios(grid, margins, first)
    health = _wallet_health(placed, hedgers, len(venue.assets))
    funding = _funding(population, venue, placed, margins)
    events = np.concatenate((funding, *(placed_events(one) for one in placed), grid.mode_events(sites[0].ts_ns)))
    summary = summarise(venue, placed, health, entered, factors, events, hedgers, grid)
    return Seeded(events, summary, range(first, hedgers.start), hedgers, next_account)


def _draw_instrument(
    population: Population,
    venue: Venue,
    compiled: Compiled,
    site: Site,
    klines: Klines | None,
    traders: Traders,
    k: int,
    next_account: int,
) -> tuple[Placed, Entries, float]:
    """The positions of the `k`-th instrument, where their entries come from, the factor on its smaller side."""
    seed, contract = population.seed or 0, Contract.of(compiled, site.instrument)
    record, holders = contract.record, np.flatnonzero(traders.sides[:, k])
    target = draw.target_lots(population, venue, record, site, len(holders))
    lots, scaled_up = draw.draw_lots(population, record, target, traders.sides[holders, k], traders.weights[holders])
    if klines is None:
        history = entries.draw_history(population, record, site, seed, k)
    else:
        spec = venue.instruments[site.instrument]
        bars = klines.bars(units.decimal(spec.tick) / spec.mark_per_tick)
        history = entries.recorded_history(bars, population, record, site)
    generator = streams.stream(seed, streams.ENTRY, k)
    wished, isolated = traders.wished[holders], traders.isolated[holders]
    drawn = draw.draw_entries(generator, record, contract.tiers, lots, wished, isolated, history)
    first = site.first_account
    hedgers = np.arange(first + population.accounts, first + population.accounts + population.hedgers)
    owners = np.concatenate((first + holders, hedgers))
    hedged = draw.add_hedgers(population, drawn, record, contract.tiers, site.mark_sub)
    placed = place(hedged, owners, site, contract, history.ticks, next_account)
    entry = Entries(history.source, history.from_ns, history.to_ns, drawn.draws, drawn.rejected, drawn.opened_now)
    return placed, entry, round(scaled_up, 6)


def _margins(placed: list[Placed], hedgers: range) -> dict[int, np.ndarray]:
    """Initial margins of the positions of traders and hedgers, in order of account, asset by asset."""
    first, margins = placed[0].site.first_account, dict[int, np.ndarray]()
    for one in placed:
        margin = margins.setdefault(one.asset, np.zeros(hedgers.stop - first, np.int64))
        np.add.at(margin, one.accounts[: len(one.margin)] - first, one.margin)
    return margins


def _fund_portfolios(grid: Portfolios, margins: dict[int, np.ndarray], first: int) -> Portfolios:
    """Raise the margins of wallets in portfolio mode to what makes their equity the grid's initial margin."""
    cash = np.zeros(len(grid.account), np.int64)
    raised = np.zeros(len(cash), bool)
    for asset, margin in margins.items():
        mine = grid.asset == asset
        place, least = grid.account[mine] - first, (grid.initial - grid.profit)[mine]
        raised[mine] = margin[place] < least
        margin[place] = cash[mine] = np.maximum(margin[place], least)
    return msgspec.structs.replace(grid, cash=cash, raised=raised)


def _funding(population: Population, venue: Venue, placed: list[Placed], margins: dict[int, np.ndarray]) -> np.ndarray:
    """Deposits of the fund, then of traders and hedgers, asset by asset."""
    first, ts_ns = placed[0].site.first_account, placed[0].site.ts_ns
    blocks = [
        money_rows(codes.DEPOSIT, np.arange(first, first + len(margin)), margin, asset, ts_ns)
        for asset, margin in margins.items()
    ]
    return np.concatenate((fund_rows(population, venue, placed), *blocks))


def _wallet_health(placed: list[Placed], hedgers: range, assets: int) -> list[np.ndarray]:
    """Health of each position in its instrument's rows: its own if isolated, else that of its account's wallet."""
    own = [_check_healthy(one) for one in placed]
    first = placed[0].site.first_account
    wallets = np.zeros((assets, hedgers.stop - first), np.int64)
    for one, health in zip(placed, own, strict=True):
        np.add.at(wallets[one.asset], one.accounts[: len(health)] - first, health)  # isolated: all or none
    return [
        np.where(one.drawn.isolated, health, wallets[one.asset, one.accounts[: len(health)] - first])
        for one, health in zip(placed, own, strict=True)
    ]


def _check_healthy(placed: Placed) -> np.ndarray:
    """Health of each account, which holds one position: above zero, or a ConfigError."""
    profit, need = unrealised(placed)
    health = placed.margin + profit - need
    drawn, held = placed.drawn, placed.drawn.lots != 0
    if (health[held] <= 0).any():
        k = int(np.flatnonzero(held & (health <= 0))[0])
        raise ConfigError(
            "$.population",
            f"account {int(placed.accounts[k])} would start at or below maintenance: {int(drawn.lots[k])} lots at "
            f"{drawn.leverage_e2[k] / 100:g}x leave {int(health[k])} quanta; lower the leverage or the tier's "
            "leverage_max",
        )
    if int(placed.margin.max()) > DEPOSIT_MAX:
        raise ConfigError(
            "$.population", f"a deposit of {int(placed.margin.max())} quanta passes 2**52; choose a coarser quantum"
        )
    return health


def summarise(
    venue: Venue,
    placed: list[Placed],
    health: list[np.ndarray],
    entered: list[Entries],
    factors: list[float],
    events: np.ndarray,
    hedgers: range,
    grid: Portfolios,
) -> Summary:
    """What was seeded, by instrument and by settlement asset; `health` by row, for traders outside of the grid."""
    instruments, parts, far, capped = [], dict[int, list[Positions]](), grid.distance_ppm(), grid.leverage_e2()
    for k, (one, spare, entry, factor) in enumerate(zip(placed, health, entered, factors, strict=True)):
        drawn, record, count = one.drawn, one.contract.record, len(one.drawn.lots) - len(hedgers)
        notional = signed_notional(record, one.site.mark_sub, drawn.lots)
        inverse = bool(record["kind"] == codes.INVERSE)
        distance = distance_ppm(spare[:count], notional[:count], one.contract.tiers, inverse)
        here, leverage_e2, in_mode = grid.part == k, drawn.leverage_e2.copy(), np.zeros(count, bool)
        mine = grid.row[here]
        leverage_e2[mine] = np.minimum(leverage_e2[mine], capped[here])
        distance[mine], in_mode[mine] = far[here], True
        columns = (one.accounts, notional, leverage_e2, drawn.wished_e2, drawn.isolated, in_mode, distance)
        positions = Positions(*(column[:count] for column in columns), int(np.abs(notional[count:]).sum()))
        parts.setdefault(one.asset, []).append(positions)
        lots = int(drawn.lots[drawn.lots > 0].sum())
        instruments.append(
            summarise_instrument(
                positions,
                symbol=venue.instruments[one.site.instrument].symbol,
                asset=venue.assets[one.asset].name,
                open_interest_lots=lots,
                open_interest_depth=round(lots / max(1, one.site.depth_lots), 3),
                open_interest_money=int(notional[notional > 0].sum()),
                scaled_up=factor,
                entries=entry,
            )
        )
    moved = events[np.isin(events["kind"], (codes.DEPOSIT, codes.WITHDRAW)) & (events["account"] < hedgers.stop)]
    assets = []
    for asset, positions_of in parts.items():
        here = moved[moved["instrument"] == asset]
        fund = here["account"] == codes.INSURANCE
        money = np.where(here["kind"] == codes.DEPOSIT, here["qty"], -here["qty"])
        name = venue.assets[asset].name
        assets.append(
            summarise_asset(
                positions_of,
                asset=name,
                open_interest_money=sum(one.open_interest_money for one in instruments if one.asset == name),
                deposits_money=int(money[~fund].sum()),
                fund_money=int(money[fund].sum()),
            )
        )
    predecessors = sum(len(one.predecessors) for one in placed)
    return Summary(len(hedgers), predecessors, tuple(instruments), tuple(assets))
