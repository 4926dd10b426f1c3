"""Positions of one instrument, and the events that put them on the venue."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec
import numpy as np

from exchange import codes, schema, units
from exchange.config import Asset, Compiled, Venue
from exchange.errors import ConfigError
from exchange.margins import held_tiers
from replay import draw
from replay.draw import Drawn, maintenance
from replay.population import Population, Site

DEPOSIT_MAX = 2**52  # of one DEPOSIT or WITHDRAW, by the venue's rules
FUND_MAX = 2**60  # quanta; the same again may come from accounts, and no sum passes 2**62
FUND = Decimal(1_000_000)  # an insurance fund of which nothing is said, in the quote currency


class Trades(msgspec.Struct, frozen=True):
    """Who bought from whom (rows of the positions, then predecessors), lots and entry bucket."""

    buyers: np.ndarray
    sellers: np.ndarray
    lots: np.ndarray
    bucket: np.ndarray


class Contract(msgspec.Struct, frozen=True):
    """One instrument as compiled: its record and its tiers."""

    record: np.void
    tiers: np.ndarray

    @classmethod
    def of(cls, compiled: Compiled, instrument: int) -> "Contract":
        """The instrument at a place of the venue."""
        return cls(compiled.instruments[instrument], held_tiers(compiled, instrument))


class Placed(msgspec.Struct, frozen=True):
    """Positions of one instrument and the trades that make them: `accounts` by row, then those of predecessors."""

    site: Site
    contract: Contract
    drawn: Drawn
    ticks: np.ndarray  # entry price by bucket
    predecessors: np.ndarray
    trades: Trades
    margin: np.ndarray  # initial margin by row
    accounts: np.ndarray

    @property
    def asset(self) -> int:
        """Place of the settlement asset."""
        return int(self.contract.record["asset"])


def place(
    drawn: Drawn, owners: np.ndarray, site: Site, contract: Contract, ticks: np.ndarray, first_predecessor: int
) -> Placed:
    """Trades that give each of the accounts `owners` its row; predecessors get accounts of their own."""
    record = contract.record
    predecessors = draw.predecessors(drawn, record, len(ticks))
    trades = _pair(drawn, predecessors, int(record["order_max_lots"]))
    margin = _entry_margin(drawn, record, ticks, trades)
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
    accounts = np.concatenate((owners, first_predecessor + np.arange(len(predecessors))))
    return Placed(site, contract, drawn, ticks, predecessors, trades, margin, accounts)


def _pair(drawn: Drawn, predecessors: np.ndarray, lots_max: int) -> Trades:
    """Match buyers with sellers of the same bucket, oldest bucket first, in row order.

    Per bucket both sides add up to the same, so laying all buys and all sells end to end, by bucket, makes the edges
    of the buckets coincide; each piece between two edges is one trade.
    """
    traded, buckets = np.flatnonzero(predecessors), predecessors.shape[1]
    owner = np.concatenate((np.arange(len(drawn.lots)), len(drawn.lots) + traded // buckets))
    bucket = np.concatenate((drawn.bucket, traded % buckets))
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
    return Trades(owner[buy], owner[sell], edges - start, bucket[buy])


def initial_margin(value: np.ndarray, leverage_e2: np.ndarray) -> np.ndarray:
    """Value by leverage, rounded up; divided first, so that nothing overflows."""
    return value // leverage_e2 * 100 - (-(value % leverage_e2 * 100) // leverage_e2)


def _trade_values(record: np.void, ticks: np.ndarray, trades: Trades) -> np.ndarray:
    """Value of each trade to its buyer, the seller's is the opposite; rounded trade by trade, as the venue does."""
    return units.contract_value(record, ticks[trades.bucket] * int(record["mark_per_tick"]), trades.lots)


def _entry_margin(drawn: Drawn, record: np.void, ticks: np.ndarray, trades: Trades) -> np.ndarray:
    """Deposit of each account: initial margin at its leverage, rounded up trade by trade as the venue does."""
    value = np.abs(_trade_values(record, ticks, trades))
    margin = np.zeros(len(drawn.lots), np.int64)
    for side in (trades.buyers, trades.sellers):
        mine = side < len(drawn.lots)
        np.add.at(margin, side[mine], initial_margin(value[mine], drawn.leverage_e2[side[mine]]))
    return np.maximum(1, margin)  # a hedger without a position is funded too, so that it exists


def unrealised(placed: Placed) -> tuple[np.ndarray, np.ndarray]:
    """Unrealised PnL of each row at the mark, and its maintenance margin."""
    drawn, record, trades = placed.drawn, placed.contract.record, placed.trades
    value = units.contract_value(record, placed.site.mark_sub, drawn.lots)
    traded = _trade_values(record, placed.ticks, trades)
    entry = np.zeros(len(placed.accounts), np.int64)
    np.add.at(entry, trades.buyers, traded)
    np.add.at(entry, trades.sellers, -traded)
    return value - entry[: len(drawn.lots)], maintenance(placed.contract.tiers, np.abs(value))


def signed_notional(record: np.void, mark_sub: int, lots: np.ndarray) -> np.ndarray:
    """Value at the mark, above zero for a long whatever the contract."""
    return np.sign(lots) * np.abs(units.contract_value(record, mark_sub, lots))


def _predecessor_cash(placed: Placed) -> tuple[np.ndarray, np.ndarray]:
    """What each predecessor deposits to stay healthy throughout, and what it has left when flat."""
    record, trades, first = placed.contract.record, placed.trades, len(placed.drawn.lots)
    traded, by_bucket = _trade_values(record, placed.ticks, trades), np.zeros(placed.predecessors.shape, np.int64)
    for side, value in ((trades.buyers, traded), (trades.sellers, -traded)):
        mine = side >= first
        np.add.at(by_bucket, (side[mine] - first, trades.bucket[mine]), value[mine])
    paid = np.cumsum(by_bucket[:, ::-1], axis=1)  # oldest first
    held = np.cumsum(placed.predecessors[:, ::-1], axis=1)
    value = units.contract_value(record, placed.site.mark_sub, held)
    # Between two buckets equity moves on a line, and maintenance never passes the larger end.
    need = maintenance(placed.contract.tiers, np.abs(value)).max(axis=1) - np.minimum(0, (value - paid).min(axis=1))
    need += 1 + len(trades.lots) * int(record["kind"] == codes.INVERSE)  # which rounds each trade by a quantum
    return need, need - paid[:, -1]


def placed_events(placed: Placed) -> np.ndarray:
    """Settings and trades of one instrument in the order in which they are applied; its accounts hold cash by then."""
    site, drawn, trades = placed.site, placed.drawn, placed.trades
    traders, keepers = placed.accounts[: len(drawn.lots)], placed.accounts[len(drawn.lots) :]
    isolated = traders[drawn.isolated]
    cash, left = _predecessor_cash(placed)
    opened = rows(codes.OPEN_POSITION, site, placed.accounts[trades.buyers], trades.lots)
    opened["order_id"] = placed.accounts[trades.sellers]
    opened["price"] = placed.ticks[trades.bucket]
    blocks = [
        money_rows(codes.DEPOSIT, keepers, cash, placed.asset, site.ts_ns),
        rows(codes.SET_MARGIN_MODE, site, isolated, np.full(len(isolated), codes.ISOLATED)),
        rows(codes.SET_LEVERAGE, site, traders, drawn.leverage_e2),
        opened,
        money_rows(codes.WITHDRAW, keepers, left, placed.asset, site.ts_ns),
    ]
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


def fund_rows(population: Population, venue: Venue, placed: Sequence[Placed]) -> np.ndarray:
    """The insurance fund's deposit in each asset, in the order in which the instruments settle in them."""
    first = {one.asset: one for one in reversed(placed)}
    assets = list(dict.fromkeys(one.asset for one in placed))
    names = [venue.assets[asset].name for asset in assets]
    fund = population.fund
    funds = fund if isinstance(fund, dict) else {} if fund is None else {names[0]: fund}
    if fund is not None and sorted(funds) != sorted(names):
        example = ", ".join(f'{name} = "1000"' for name in names)
        raise ConfigError(
            "$.population.fund",
            f"accounts settle in {', '.join(names)}; expected an amount for each, as in fund = {{ {example} }}",
        )
    blocks = []
    for asset, name in zip(assets, names, strict=True):
        given = _fund_quanta(funds[name], venue.assets[asset]) if funds else _usual_fund(venue, first[asset])
        blocks.append(
            money_rows(codes.DEPOSIT, np.array([codes.INSURANCE]), np.array([given]), asset, placed[0].site.ts_ns)
        )
    return np.concatenate(blocks)


def _fund_quanta(text: str, asset: Asset) -> int:
    amount, quantum = Decimal(text or "0"), Decimal(asset.quantum)
    if amount >= FUND_MAX * quantum:
        raise ConfigError(
            "$.population.fund", f"{text} {asset.name} is too much; expected less than {FUND_MAX * quantum:f}"
        )
    return units.floor_count(amount, quantum)


def _usual_fund(venue: Venue, placed: Placed) -> int:
    """`FUND` of the instrument's quote currency, in quanta of its settlement asset at the mark."""
    own = venue.instruments[placed.site.instrument]
    if own.kind == "linear":
        return units.floor_count(FUND, Decimal(venue.assets[placed.asset].quantum))
    if own.kind == "quanto":
        raise ConfigError("$.population.fund", f"{own.settle} has no price in the quote currency here; state the fund")
    lots = units.floor_count(FUND, Decimal(own.multiplier) * Decimal(own.lot))
    return abs(int(units.contract_value(placed.contract.record, placed.site.mark_sub, lots)))
