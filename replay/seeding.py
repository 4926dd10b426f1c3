"""Turns a drawn population into the events that put it on the venue, and says what was seeded."""

from decimal import Decimal

import msgspec
import numpy as np

from exchange import codes, schema, units
from exchange.config import Compiled, Venue
from exchange.errors import ConfigError
from replay import population as drawing
from replay.population import PPM, Drawn, Population, Site, maintenance

DEPOSIT_MAX = 2**52  # of one DEPOSIT or WITHDRAW, by the venue's rules


class Summary(msgspec.Struct, frozen=True):
    """What was seeded. Leverage is at entry, its mean weighted by notional."""

    accounts: int
    hedgers: int
    predecessors: int
    longs: int
    isolated: int
    open_interest_lots: int
    open_interest_depth: float  # multiple of the 1 % depth, mean of both sides
    open_interest_money: int
    leverage_long: dict[str, float]
    leverage_short: dict[str, float]
    top_ten_share: float  # of all positions, both sides
    hedger_share: float  # of the open interest
    scaled_up: float  # factor on the smaller side's sizes
    redraws: int
    opened_now: int  # accounts that survived from none of the drawn moments
    distance_ppm: dict[str, int]  # from the mark to the liquidation price
    deposits_money: int
    fund_money: int


class Seeded(msgspec.Struct, frozen=True):
    """Events to submit at the seeding moment, and who is who: traders, then hedgers, then predecessors."""

    events: np.ndarray
    summary: Summary
    traders: range
    hedgers: range
    next_account: int


class _Trades(msgspec.Struct, frozen=True):
    """Who bought from whom (rows of the drawn population, then predecessors), lots and entry bucket."""

    buyers: np.ndarray
    sellers: np.ndarray
    lots: np.ndarray
    bucket: np.ndarray


def seed_population(population: Population, venue: Venue, compiled: Compiled, site: Site) -> Seeded:
    """Draw the accounts and return the events that put them on the venue at `site.ts_ns`.

    Raises
    ------
    ConfigError
        When the open interest, a position or a leverage does not fit the instrument's limits.
    """
    drawing.check_population(population)
    seed = population.seed or 0
    record = compiled.instruments[site.instrument]
    tiers = compiled.tiers[record["tier_base"] : record["tier_base"] + record["tier_count"]]
    target = drawing.target_lots(population, venue, record, site)
    lots, scaled_up = drawing.draw_lots(population, record, target, seed)
    history = drawing.draw_history(population, record, site, seed)
    drawn = drawing.add_hedgers(population, drawing.draw_entries(population, record, tiers, seed, lots, history))
    predecessors = drawing.predecessors(drawn, record)
    trades = _pair(drawn, predecessors, int(record["order_max_lots"]))
    margin = _entry_margin(drawn, record, history.ticks, trades)
    _check_seeded(drawn, record, tiers, site, history.ticks, margin, trades)
    fund = units.floor_count(Decimal(population.fund or "0"), Decimal(venue.assets[int(record["asset"])].quantum))
    events = _events(drawn, predecessors, record, tiers, site, history.ticks, margin, trades, fund)
    summary = _summarise(population, drawn, record, tiers, site, history.ticks, margin, scaled_up, fund)
    summary = msgspec.structs.replace(summary, predecessors=len(predecessors))
    first, hedgers = site.first_account, site.first_account + population.accounts
    end = first + len(drawn.lots)
    return Seeded(events, summary, range(first, hedgers), range(hedgers, end), end + len(predecessors))


def _pair(drawn: Drawn, predecessors: np.ndarray, lots_max: int) -> _Trades:
    """Match buyers with sellers of the same bucket, oldest bucket first, in row order.

    Per bucket both sides add up to the same, so laying all buys and all sells end to end, by bucket, makes the edges
    of the buckets coincide; each piece between two edges is one trade.
    """
    traded = np.flatnonzero(predecessors)
    owner = np.concatenate((np.arange(len(drawn.lots)), len(drawn.lots) + traded // drawing.BUCKETS))
    bucket = np.concatenate((drawn.bucket, traded % drawing.BUCKETS))
    lots = np.concatenate((drawn.lots, predecessors.ravel()[traded]))
    order = np.argsort(-bucket, kind="stable")
    buys, sells = order[lots[order] > 0], order[lots[order] < 0]
    buy_end, sell_end = np.cumsum(lots[buys]), np.cumsum(-lots[sells])
    whole = np.union1d(buy_end, sell_end)
    # No event may carry more than `lots_max`: longer pieces get edges of their own in between.
    gaps = np.diff(whole, prepend=0)
    pieces = -(-gaps // lots_max)
    nth = np.arange(int(pieces.sum())) - np.repeat(np.cumsum(pieces) - pieces, pieces) + 1
    edges = np.repeat(whole - gaps, pieces) + np.minimum(nth * lots_max, np.repeat(gaps, pieces))
    start = np.concatenate(([0], edges[:-1]))
    buy = buys[np.searchsorted(buy_end, start, side="right")]
    sell = sells[np.searchsorted(sell_end, start, side="right")]
    return _Trades(owner[buy], owner[sell], edges - start, bucket[buy])


def _entry_margin(drawn: Drawn, record: np.void, ticks: np.ndarray, trades: _Trades) -> np.ndarray:
    """Deposit of each account: initial margin at its leverage, rounded up trade by trade as the venue does."""
    value = trades.lots * ticks[trades.bucket] * int(record["unit_value"])
    margin = np.zeros(len(drawn.lots), np.int64)
    for side in (trades.buyers, trades.sellers):
        mine = side < len(drawn.lots)
        np.add.at(margin, side[mine], -(-value[mine] // drawn.leverage[side[mine]]))
    return np.maximum(1, margin)  # a hedger without a position is funded too, so that it exists


def _health(
    drawn: Drawn, record: np.void, tiers: np.ndarray, site: Site, ticks: np.ndarray, margin: np.ndarray
) -> np.ndarray:
    """Margin + unrealised PnL - maintenance of each account at the current mark."""
    value = drawn.lots * site.mark_sub * int(record["mark_unit"])
    entry = drawn.lots * ticks[drawn.bucket] * int(record["unit_value"])
    return margin + value - entry - maintenance(tiers, np.abs(value))


def _check_seeded(
    drawn: Drawn, record: np.void, tiers: np.ndarray, site: Site, ticks: np.ndarray, margin: np.ndarray, trades: _Trades
) -> None:
    """Every account healthy, within its limits, and holding exactly what was drawn."""
    bought = np.bincount(trades.buyers, trades.lots, minlength=len(drawn.lots))[: len(drawn.lots)]
    sold = np.bincount(trades.sellers, trades.lots, minlength=len(drawn.lots))[: len(drawn.lots)]
    assert np.array_equal((bought - sold).astype(np.int64), drawn.lots), "an account does not hold its drawn lots"
    largest = int(np.abs(drawn.lots).max())
    if largest > int(record["position_max_lots"]):
        raise ConfigError(
            "$.population.hedgers",
            f"a position of {largest} lots passes position_max "
            f"({int(record['position_max_lots'])}); raise hedgers or lower the open interest",
        )
    health = _health(drawn, record, tiers, site, ticks, margin)
    held = drawn.lots != 0
    if (health[held] <= 0).any():
        k = int(np.flatnonzero(held & (health <= 0))[0])
        raise ConfigError(
            "$.population",
            f"account {site.first_account + k} would start at or below maintenance: {int(drawn.lots[k])} lots at "
            f"{int(drawn.leverage[k])}x leave {int(health[k])} quanta; lower the leverage or the tier's leverage_max",
        )
    if int(margin.max()) > DEPOSIT_MAX:
        raise ConfigError(
            "$.population", f"a deposit of {int(margin.max())} quanta passes 2**52; choose a coarser quantum"
        )


def _predecessor_cash(
    predecessors: np.ndarray, record: np.void, tiers: np.ndarray, site: Site, ticks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What each predecessor deposits to stay healthy throughout, and what it has left when flat."""
    lots = predecessors[:, ::-1]  # oldest first
    paid = np.cumsum(lots * ticks[::-1] * int(record["unit_value"]), axis=1)
    value = np.cumsum(lots, axis=1) * site.mark_sub * int(record["mark_unit"])
    # Between two buckets equity moves on a line, and maintenance never passes the larger end.
    need = maintenance(tiers, np.abs(value)).max(axis=1) - np.minimum(0, (value - paid).min(axis=1)) + 1
    return need, need - paid[:, -1]


def _events(
    drawn: Drawn,
    predecessors: np.ndarray,
    record: np.void,
    tiers: np.ndarray,
    site: Site,
    ticks: np.ndarray,
    margin: np.ndarray,
    trades: _Trades,
    fund: int,
) -> np.ndarray:
    """The seeding events in the order in which they are applied."""
    accounts = site.first_account + np.arange(len(drawn.lots))
    isolated = accounts[drawn.isolated]
    keepers = site.first_account + len(drawn.lots) + np.arange(len(predecessors))
    cash, left = _predecessor_cash(predecessors, record, tiers, site, ticks)
    asset = int(record["asset"])
    blocks = [
        money_rows(codes.DEPOSIT, np.array([codes.INSURANCE]), np.array([fund]), asset, site.ts_ns),
        money_rows(codes.DEPOSIT, accounts, margin, asset, site.ts_ns),
        money_rows(codes.DEPOSIT, keepers, cash, asset, site.ts_ns),
        rows(codes.SET_MARGIN_MODE, site, isolated, np.full(len(isolated), codes.ISOLATED)),
        rows(codes.SET_LEVERAGE, site, accounts, drawn.leverage * 100),
        rows(codes.OPEN_POSITION, site, site.first_account + trades.buyers, trades.lots),
        money_rows(codes.WITHDRAW, keepers, left, asset, site.ts_ns),
    ]
    blocks[5]["order_id"] = site.first_account + trades.sellers
    blocks[5]["price"] = ticks[trades.bucket]
    return np.concatenate(blocks)


def rows(kind: int, site: Site, accounts: np.ndarray, qty: np.ndarray) -> np.ndarray:
    """One event of `kind` an account, at the site's instrument and time."""
    events = np.zeros(len(accounts), schema.EVENT)
    events["ts_ns"], events["kind"], events["instrument"] = site.ts_ns, kind, site.instrument
    events["account"], events["qty"] = accounts, qty
    return events


def money_rows(kind: int, accounts: np.ndarray, amounts: np.ndarray, asset: int, ts_ns: int) -> np.ndarray:
    """DEPOSIT or WITHDRAW events, an amount beyond what one event may carry split over several; none for 0."""
    pieces = -(-amounts // DEPOSIT_MAX)
    owner = np.repeat(np.arange(len(accounts)), pieces)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    events = np.zeros(len(owner), schema.EVENT)
    events["ts_ns"], events["kind"], events["instrument"] = ts_ns, kind, asset
    events["account"], events["qty"] = accounts[owner], np.minimum(DEPOSIT_MAX, amounts[owner] - place * DEPOSIT_MAX)
    return events


def liquidation_distance(
    drawn: Drawn, record: np.void, tiers: np.ndarray, site: Site, ticks: np.ndarray, margin: np.ndarray
) -> np.ndarray:
    """How far the mark may move against each account, ppm of the mark, in the tier it holds now."""
    size, side = np.abs(drawn.lots), np.sign(drawn.lots)
    notional = np.maximum(1, size * site.mark_sub * int(record["mark_unit"]))
    rate = tiers["maintenance_ppm"][np.searchsorted(tiers["floor"], notional, side="right") - 1]
    health = _health(drawn, record, tiers, site, ticks, margin)
    return (health / (notional * (1 - side * rate / PPM)) * PPM).astype(np.int64)


def _summarise(
    population: Population,
    drawn: Drawn,
    record: np.void,
    tiers: np.ndarray,
    site: Site,
    ticks: np.ndarray,
    margin: np.ndarray,
    scaled_up: float,
    fund: int,
) -> Summary:
    count = population.accounts
    lots, size = drawn.lots[:count], np.abs(drawn.lots)
    open_interest = int(drawn.lots[drawn.lots > 0].sum())
    distance = liquidation_distance(drawn, record, tiers, site, ticks, margin)[:count]
    spread = np.percentile(distance, (1, 10, 25, 50, 75, 90))
    return Summary(
        accounts=count,
        hedgers=population.hedgers,
        predecessors=0,
        longs=int((lots > 0).sum()),
        isolated=int(drawn.isolated.sum()),
        open_interest_lots=open_interest,
        open_interest_depth=round(open_interest / max(1, site.depth_lots), 3),
        open_interest_money=open_interest * site.mark_sub * int(record["mark_unit"]),
        leverage_long=_leverage_figures(drawn.leverage[:count][lots > 0], size[:count][lots > 0]),
        leverage_short=_leverage_figures(drawn.leverage[:count][lots < 0], size[:count][lots < 0]),
        top_ten_share=round(float(np.sort(size[:count])[-10:].sum() / size.sum()), 6),
        hedger_share=round(float(size[count:].sum() / open_interest), 6),
        scaled_up=round(scaled_up, 6),
        redraws=drawn.redraws,
        opened_now=drawn.opened_now,
        distance_ppm={f"p{p}": int(value) for p, value in zip((1, 10, 25, 50, 75, 90), spread, strict=True)},
        deposits_money=int(margin.sum()),
        fund_money=fund,
    )


def _leverage_figures(leverage: np.ndarray, size: np.ndarray) -> dict[str, float]:
    p50, p80, p99 = (float(x) for x in np.percentile(leverage, (50, 80, 99)))
    return {"p50": p50, "p80": p80, "p99": p99, "weighted": round(float((leverage * size).sum() / size.sum()), 3)}
