"""The liquidation map of a scenario at a moment: what is to be liquidated by price, as document, table and picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from exchange import units
from exchange.config import Venue
from exchange.errors import ConfigError
from exchange.maps import MAP_ROW, LiquidationMap, rows_of
from exchange.venue import Exchange
from replay.population import PPM
from replay.tables import Formats, percent, table

STEP_SHARE = 200  # a row is about this part of the mark where no step is asked for
TABLE_ROWS = 15  # a side; the rest is one line


class MapRow(msgspec.Struct, frozen=True):
    """What is liquidated between two marks, both inclusive; `reached_notional` is all from today's mark to here.

    `one` are units of one leg, read off the venue's guards; `several`, of several legs or in portfolio mode, are solved
    along this mark, the others held.
    """

    low_sub: int
    high_sub: int
    accounts_one: int
    lots_one: int
    notional_one: int
    accounts_several: int
    lots_several: int
    notional_several: int
    reached_notional: int

    @property
    def accounts(self) -> int:
        """Of either kind."""
        return self.accounts_one + self.accounts_several

    @property
    def lots(self) -> int:
        """Of either kind."""
        return self.lots_one + self.lots_several

    @property
    def notional(self) -> int:
        """Of either kind, at the marks of liquidation."""
        return self.notional_one + self.notional_several


class InstrumentMap(msgspec.Struct, frozen=True):
    """The map of one instrument: rows below and above its mark, both from the mark outward."""

    symbol: str
    asset: str
    mark_sub: int
    step_sub: int
    below: list[MapRow]
    above: list[MapRow]
    pending_accounts: int  # in liquidation already
    never_accounts: int  # that no mark of this instrument liquidates


class MapDocument(msgspec.Struct, frozen=True):
    """What `deleverage map --json` prints."""

    name: str
    variant: str
    ts_ns: int
    after_ns: int  # since the seeding
    instruments: list[InstrumentMap]


def step_ticks(venue: Venue, instrument: int, mark_sub: int, step: str | None) -> int:
    """Ticks of a row: as asked for, else a round number near a 200th of the mark."""
    own = venue.instruments[instrument]
    if step is not None:
        try:
            asked = units.whole(units.decimal(step), units.decimal(own.tick))
        except ValueError as error:
            raise ConfigError(
                "--step", f"{error}; expected a multiple of the tick {own.tick} of {own.symbol}"
            ) from None
        if asked < 1:
            raise ConfigError("--step", f"{step}; expected at least one tick, {own.tick} of {own.symbol}")
        return asked
    wanted, size = max(1, mark_sub // own.mark_per_tick // STEP_SHARE), 1
    while size * 10 <= wanted:
        size *= 10
    return max(size * digit for digit in (1, 2, 5) if size * digit <= wanted)


def instrument_map(exchange: Exchange, instrument: int, step: str | None) -> InstrumentMap:
    """The map of one instrument of a live venue."""
    venue = exchange.venue
    ticks = step_ticks(venue, instrument, int(exchange.markets[instrument]["mark_sub"]), step)
    made = exchange.liquidation_map(instrument, ticks)
    spec = venue.instruments[instrument]
    below, above = (_outward(made, ticks * spec.mark_per_tick, down) for down in (True, False))
    return InstrumentMap(
        spec.symbol,
        spec.settle,
        made.mark_sub,
        ticks * spec.mark_per_tick,
        below,
        above,
        len(made.pending),
        len(made.never),
    )


def _outward(made: LiquidationMap, step_sub: int, down: bool) -> list[MapRow]:
    """Rows of one side of the mark, from it outward."""
    rows = rows_of(made.entries[(made.entries["price_sub"] < made.mark_sub) == down], step_sub)
    rows = rows[::-1] if down else rows
    reached = np.cumsum(rows["notional_one"] + rows["notional_several"])
    names = MAP_ROW.names or ()
    return [
        MapRow(**dict(zip(names, row, strict=True)), reached_notional=total)
        for row, total in zip(rows.tolist(), reached.tolist(), strict=True)
    ]


def map_tables(document: MapDocument, venue: Venue) -> list[Any]:
    """A table an instrument, from the highest price to the lowest, with the mark between its sides."""
    solved = "of several legs or by grid" if venue.portfolio_margin.groups else "of several legs"
    return [_table(one, Formats.of(venue, one.symbol), solved) for one in document.instruments]


def _table(one: InstrumentMap, formats: Formats, solved: str) -> Any:
    header = (
        f"mark of {one.symbol}",
        "from the mark",
        "accounts",
        solved,
        formats.unit,
        f"{one.asset} to liquidate",
        solved,
        "since the mark",
    )
    title = (
        f"liquidation map of {one.symbol}: {one.pending_accounts:,} accounts in liquidation already, "
        f"{one.never_accounts:,} that no mark liquidates"
    )
    middle = (formats.mark(one.mark_sub), "mark", *[""] * (len(header) - 2))
    return table(title, header, [*_cells(one, formats, one.above)[::-1], middle, *_cells(one, formats, one.below)])


def _cells(one: InstrumentMap, formats: Formats, rows: Sequence[MapRow]) -> list[tuple[str, ...]]:
    """Rows near the mark, then what lies beyond them in one: each up to the mark it names, from the one before."""
    groups = [[row] for row in rows[:TABLE_ROWS]] + ([list(rows[TABLE_ROWS:])] if len(rows) > TABLE_ROWS else [])
    cells: list[tuple[str, ...]] = []
    for group in groups:
        last, notional = group[-1], sum(row.notional for row in group)
        edge = last.low_sub if last.low_sub < one.mark_sub else last.high_sub + 1
        cells.append(
            (
                formats.mark(edge),
                percent((edge - one.mark_sub) * PPM // one.mark_sub),
                f"{sum(row.accounts for row in group):,}",
                f"{sum(row.accounts_several for row in group):,}",
                formats.size(sum(row.lots for row in group)),
                formats.money(notional),
                f"{sum(row.notional_several for row in group) / notional:.1%}" if notional else "",
                formats.money(last.reached_notional),
            )
        )
    return cells


def draw_map(document: MapDocument, venue: Venue, path: Path) -> None:
    """Bars of what is to be liquidated by price, one leg and several stacked, and what is reached from the mark."""
    from replay.charts import ALARM, INK, LONG, SHORT, Chart, money_axis

    title = f"liquidation map · {document.name or 'scenario'} · {document.after_ns / 1e9:g} s after seeding"
    with Chart(path, title, len(document.instruments)) as chart:
        for axes, one in zip(chart.axes, document.instruments, strict=True):
            formats = Formats.of(venue, one.symbol)
            price, money = float(formats.tick / formats.mark_per_tick), float(formats.quantum)
            mark, width = one.mark_sub * price, one.step_sub * price
            reached = axes.twinx()
            for rows, color, what in ((one.below, LONG, "longs"), (one.above, SHORT, "shorts")):
                near = [row for row in rows if abs(row.low_sub - one.mark_sub) <= one.mark_sub // 2]
                left = [row.low_sub * price for row in near]
                single = [row.notional_one * money for row in near]
                several = [row.notional_several * money for row in near]
                axes.bar(left, single, width, align="edge", color=color, label=f"{what}, one leg")
                axes.bar(left, several, width, single, align="edge", color=color, alpha=0.45, label=f"{what}, several")
                total = [row.reached_notional * money for row in near]
                edge = [(row.low_sub if rows is one.below else row.high_sub) * price for row in near]
                reached.step([mark, *edge], [0.0, *total], where="post", color=color)
            axes.axvline(mark, color=ALARM, linewidth=1.2, label=f"mark {formats.mark(one.mark_sub)}")
            axes.set_title(one.symbol, loc="left", fontsize=10, color=INK)
            axes.set_xlabel("mark")
            money_axis(axes, f"{one.asset} to liquidate in a row")
            money_axis(reached, "reached from the mark (line)")
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=5, fontsize=8)
