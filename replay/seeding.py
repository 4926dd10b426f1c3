"""Turns a population into the events that put it on the venue, and says what it is."""

from collections.abc import Sequence

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
from replay.population import Population, Site, check_population
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
    population: Population, venue: Venue, compiled: Compiled, sites: Sequence[Site], klines: Klines | None = None
) -> Seeded:
    """Draw the accounts and return the events that put them on the venue at the sites' moment, a site an instrument.

    Raises
    ------
    ConfigError
        When the open interest, a position or a leverage does not fit the instrument's limits, or a history the moment.
    """
    check_population(population)
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
    health = _wallet_health(placed, hedgers, len(venue.assets))
    events = np.concatenate((_funding(population, venue, placed, hedgers), *(placed_events(one) for one in placed)))
    summary = summarise(venue, placed, health, entered, factors, events, hedgers)
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


def _funding(population: Population, venue: Venue, placed: list[Placed], hedgers: range) -> np.ndarray:
    """Deposits of the fund, then of traders and hedgers: the initial margins of their positions, asset by asset."""
    first, ts_ns = placed[0].site.first_account, placed[0].site.ts_ns
    margins: dict[int, np.ndarray] = {}
    for one in placed:
        margin = margins.setdefault(one.asset, np.zeros(hedgers.stop - first, np.int64))
        np.add.at(margin, one.accounts[: len(one.margin)] - first, one.margin)
    accounts = np.arange(first, hedgers.stop)
    blocks = [money_rows(codes.DEPOSIT, accounts, margins[asset], asset, ts_ns) for asset in margins]
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
) -> Summary:
    """What was seeded, by instrument and by settlement asset; `health` by row, for traders at least."""
    instruments, parts = [], dict[int, list[Positions]]()
    for one, spare, entry, factor in zip(placed, health, entered, factors, strict=True):
        drawn, record, count = one.drawn, one.contract.record, len(one.drawn.lots) - len(hedgers)
        notional = signed_notional(record, one.site.mark_sub, drawn.lots)
        inverse = bool(record["kind"] == codes.INVERSE)
        distance = distance_ppm(spare[:count], notional[:count], one.contract.tiers, inverse)
        columns = (one.accounts, notional, drawn.leverage_e2, drawn.wished_e2, drawn.isolated, distance)
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
    paid_in = events[(events["kind"] == codes.DEPOSIT) & (events["account"] < hedgers.stop)]
    assets = []
    for asset, positions_of in parts.items():
        here = paid_in[paid_in["instrument"] == asset]
        fund = here["account"] == codes.INSURANCE
        name = venue.assets[asset].name
        assets.append(
            summarise_asset(
                positions_of,
                asset=name,
                open_interest_money=sum(one.open_interest_money for one in instruments if one.asset == name),
                deposits_money=int(here["qty"][~fund].sum()),
                fund_money=int(here["qty"][fund].sum()),
            )
        )
    predecessors = sum(len(one.predecessors) for one in placed)
    return Summary(len(hedgers), predecessors, tuple(instruments), tuple(assets))
