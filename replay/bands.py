"""The bands of accounts, price by time: first pressure, forced reduction, bankruptcy, and when the path reached them.

A band begins at the mark at which equity comes below a share of maintenance, solved along the mark of the position with
the other marks and the positions as they are at the moment. Its time is when the mark of the run first went there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from exchange import codes, units
from exchange.config import Venue
from exchange.errors import ConfigError
from exchange.maps import Bands
from exchange.stages import Stage
from exchange.venue import Exchange
from replay import figures
from replay.population import PPM
from replay.tables import Formats, percent, table

FORCED_PPM, BANKRUPT_PPM = PPM, 0
PRESSURES = ("1.5", "1.2")
FORCING = ("reduce", "close", "takeover")
SHARES = (1, 10, 25, 50, 75, 90, 99)
NEVER = -1


class Reach(msgspec.Struct, frozen=True):
    """Where a band of one position begins; 0 and None where no mark does, None too where the path never went there."""

    band: str
    mark_sub: int
    distance_ppm: int | None
    reached_after_ns: int | None


class PositionBands(msgspec.Struct, frozen=True):
    """One position of an account; `several` legs in its unit, or portfolio mode: solved with the others held."""

    account: int
    symbol: str
    lots: int
    several: bool
    mark_sub: int
    bands: list[Reach]
    liquidated_after_ns: int | None  # the account, by the run itself


class Spread(msgspec.Struct, frozen=True):
    """One band over many positions: how far away it begins, how many the path has put into it, and when."""

    band: str
    positions: int  # for which there is such a mark
    distance_ppm: dict[str, int]
    reached: int
    reached_after_ns: dict[str, int]  # of those reached


class SideBands(msgspec.Struct, frozen=True):
    """The positions of one side of an instrument."""

    symbol: str
    asset: str
    side: str
    positions: int
    of_several: int
    notional: int
    mark_sub: int
    lowest_sub: int  # of the path since the moment
    highest_sub: int
    liquidated: int  # accounts, by the run itself
    bands: list[Spread]


class BandsDocument(msgspec.Struct, frozen=True):
    """What `deleverage bands --json` prints: sides of instruments, or the positions of one account."""

    name: str
    variant: str
    ts_ns: int
    after_ns: int  # since the seeding
    sides: list[SideBands]
    positions: list[PositionBands]


class MarkPath(msgspec.Struct, frozen=True):
    """The marks of one instrument from the moment on, the first of them at it."""

    ts_ns: np.ndarray
    mark_sub: np.ndarray

    @classmethod
    def of(cls, outcomes: np.ndarray, instrument: int, ts_ns: int, mark_sub: int) -> "MarkPath":
        """From the outcomes of a run."""
        marks = figures.of_kind(outcomes, codes.MARK_PRICE)
        marks = marks[marks["instrument"] == instrument]
        return cls(np.concatenate(([ts_ns], marks["ts_ns"])), np.concatenate(([mark_sub], marks["price"])))

    def reached_after(self, marks_sub: np.ndarray, falling: np.ndarray) -> np.ndarray:
        """Nanoseconds from the moment until the mark is first at or beyond each; NEVER if it does not come there."""
        found = np.full(len(marks_sub), NEVER, np.int64)
        for down in (True, False):
            sign = -1 if down else 1
            extreme = np.maximum.accumulate(sign * self.mark_sub)
            own = np.flatnonzero((falling == down) & (marks_sub > 0))
            first = np.searchsorted(extreme, sign * marks_sub[own])
            there = first < len(extreme)
            found[own[there]] = self.ts_ns[first[there]] - self.ts_ns[0]
        return found


class Moment(msgspec.Struct):
    """What is read off the venue at the moment; the path follows."""

    ts_ns: int
    marks_sub: list[int]
    bands: Bands
    notional: np.ndarray
    names: list[str]  # of the bands, for tables


def ratios_of(pressures: Sequence[str], stages: Sequence[Stage] = ()) -> list[int]:
    """Thresholds in ppm, from the first pressure to bankruptcy: those stated, else the usual, or the venue's stages."""
    found = []
    first_ppm = next((stage.below_ppm for stage in stages if stage.action in FORCING), FORCED_PPM)
    above = f"above {first_ppm / PPM:g}, up to 1000, as in 1.5"
    if not pressures and not stages:
        pressures = PRESSURES
    for text in pressures:
        try:
            ppm = units.whole(units.decimal(text) * PPM, units.decimal("1"))
        except ValueError as error:
            raise ConfigError("--pressure", f"{error}; expected equity over maintenance, as in 1.5") from None
        if not first_ppm < ppm <= 1000 * PPM:
            raise ConfigError("--pressure", f"{text}; expected equity over maintenance {above}")
        found.append(ppm)
    forced = [stage.below_ppm for stage in stages] or [FORCED_PPM]
    return [*sorted({*found, *forced}, reverse=True), BANKRUPT_PPM]


def band_name(ratio_ppm: int, stages: Sequence[Stage] = ()) -> str:
    """A name for tables: the stage that begins there; without stages, forced reduction is where liquidation begins."""
    for k, stage in enumerate(stages):
        if stage.below_ppm == ratio_ppm:
            return f"stage {k + 1} {stage.action} {ratio_ppm / PPM:g}"
    known = {BANKRUPT_PPM: "bankrupt"} | ({} if stages else {FORCED_PPM: "forced"})
    return known.get(ratio_ppm, f"pressure {ratio_ppm / PPM:g}")


def read_moment(exchange: Exchange, ts_ns: int, ratios: Sequence[int], account: int | None) -> Moment:
    """The bands of all users, or of one account."""
    if account is not None and not codes.FIRST_USER <= account < int(exchange.compiled.policy[0]["accounts"]):
        last = int(exchange.compiled.policy[0]["accounts"]) - 1
        raise ConfigError("--account", f"{account}; expected an account of a user, {codes.FIRST_USER} to {last}")
    made = exchange.bands(ratios, account)
    if account is not None and not len(made.positions):
        raise ConfigError("--account", f"{account} has no position at this moment that is not in liquidation")
    marks = [int(mark) for mark in exchange.markets["mark_sub"]]
    notional = np.zeros(len(made.positions), np.int64)
    for k, record in enumerate(exchange.compiled.instruments):
        own = made.positions["instrument"] == k
        notional[own] = np.abs(units.contract_value(record, max(1, marks[k]), made.positions["lots"][own]))
    names = [band_name(ratio, exchange.venue.liquidation.stages) for ratio in ratios]
    return Moment(ts_ns, marks, made, notional, names)


def bands_document(
    moment: Moment, outcomes: np.ndarray, venue: Venue, places: Sequence[int], alone: bool, **rest: Any
) -> BandsDocument:
    """Bands with their times; `rest` are name, variant and after_ns."""
    starts = figures.of_kind(outcomes, codes.LIQUIDATION_START)
    liquidated: dict[int, int] = {}
    for account, ts_ns in zip(starts["account"].tolist(), starts["ts_ns"].tolist(), strict=True):
        liquidated.setdefault(account, ts_ns - moment.ts_ns)
    sides, positions = [], []
    for k in places:
        path = MarkPath.of(outcomes, k, moment.ts_ns, moment.marks_sub[k])
        for side in ("long", "short"):
            lots = moment.bands.positions["lots"]
            own = np.flatnonzero((moment.bands.positions["instrument"] == k) & ((lots > 0) == (side == "long")))
            if not len(own):
                continue
            if alone:
                positions += [_position(moment, place, path, venue, liquidated) for place in own.tolist()]
            else:
                sides.append(_side(moment, own, path, venue, liquidated))
    return BandsDocument(ts_ns=moment.ts_ns, sides=sides, positions=positions, **rest)


def _reached(moment: Moment, own: np.ndarray, path: MarkPath) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(marks, distances in ppm, times) by position and band."""
    marks, rows = moment.bands.marks_sub[own], moment.bands.positions[own]
    falling = rows["lots"] > 0
    times = [path.reached_after(column, falling) for column in marks.T]
    return marks, np.abs(marks - path.mark_sub[0]) * PPM // path.mark_sub[0], np.stack(times, axis=1)


def _position(moment: Moment, place: int, path: MarkPath, venue: Venue, liquidated: dict[int, int]) -> PositionBands:
    row = moment.bands.positions[place]
    marks, distance, after = (part[0].tolist() for part in _reached(moment, np.array([place]), path))
    bands = [
        Reach(name, mark, far if mark else None, when if when != NEVER else None)
        for name, mark, far, when in zip(moment.names, marks, distance, after, strict=True)
    ]
    return PositionBands(
        int(row["account"]),
        venue.instruments[int(row["instrument"])].symbol,
        int(row["lots"]),
        bool(row["several"]),
        int(path.mark_sub[0]),
        bands,
        liquidated.get(int(row["account"])),
    )


def _side(moment: Moment, own: np.ndarray, path: MarkPath, venue: Venue, liquidated: dict[int, int]) -> SideBands:
    rows = moment.bands.positions[own]
    marks, distance, after = _reached(moment, own, path)
    spreads = []
    for k, name in enumerate(moment.names):
        there, when = distance[marks[:, k] > 0, k], after[after[:, k] != NEVER, k]
        spreads.append(Spread(name, len(there), _percentiles(there), len(when), _percentiles(when)))
    spec = venue.instruments[int(rows["instrument"][0])]
    return SideBands(
        spec.symbol,
        spec.settle,
        "long" if rows["lots"][0] > 0 else "short",
        len(rows),
        int(rows["several"].sum()),
        int(moment.notional[own].sum()),
        int(path.mark_sub[0]),
        int(path.mark_sub.min()),
        int(path.mark_sub.max()),
        sum(account in liquidated for account in rows["account"].tolist()),
        spreads,
    )


def _percentiles(values: np.ndarray) -> dict[str, int]:
    """Values that occur, at SHARES of their order."""
    found = np.percentile(values, SHARES, method="inverted_cdf") if len(values) else ()
    return {f"p{share}": int(value) for share, value in zip(SHARES, found, strict=False)}


def bands_tables(document: BandsDocument, venue: Venue) -> list[Any]:
    """One table a side of an instrument, or one of an account."""
    if document.positions:
        return [_account_table(document.positions, venue)]
    solved = "with several legs or in portfolio mode" if venue.portfolio_margin.groups else "with several legs"
    return [_side_table(side, Formats.of(venue, side.symbol), solved) for side in document.sides]


def _side_table(side: SideBands, formats: Formats, solved: str) -> Any:
    toward = -1 if side.side == "long" else 1
    shown = ("p1", "p10", "p25", "p50", "p75", "p90")

    def cells(spread: Spread) -> list[str]:
        away = [f"{toward * spread.distance_ppm[p] / 10_000:+.2f}" if spread.distance_ppm else "" for p in shown]
        when = [_seconds(spread.reached_after_ns.get(p)) for p in ("p1", "p50")] if spread.reached else ["", ""]
        return [spread.band, f"{spread.positions:,}", *away, f"{spread.reached:,}", *when]

    title = (
        f"{side.positions:,} {side.side}s of {side.symbol}, {formats.money(side.notional)} {side.asset}, "
        f"{side.of_several:,} of them {solved}\nmark {formats.mark(side.mark_sub)}, then "
        f"{formats.mark(side.lowest_sub)} to {formats.mark(side.highest_sub)}; accounts liquidated: {side.liquidated:,}"
    )
    header = ("begins", "positions", *(f"{p} %" for p in shown), "reached", "p1 after", "p50 after")
    return table(title, header, map(cells, side.bands))


def _account_table(positions: Sequence[PositionBands], venue: Venue) -> Any:
    rows = []
    for one in positions:
        formats = Formats.of(venue, one.symbol)
        held = f"{one.symbol} {formats.size(one.lots)} at {formats.mark(one.mark_sub)}"
        for reach in one.bands:
            away = (reach.distance_ppm or 0) * (-1 if one.lots > 0 else 1)
            rows.append(
                (
                    held,
                    reach.band,
                    formats.mark(reach.mark_sub) if reach.mark_sub else "at no mark",
                    percent(away) if reach.mark_sub else "",
                    _seconds(reach.reached_after_ns) if reach.reached_after_ns is not None else "not reached",
                )
            )
            held = "  the other legs held" if one.several and reach is one.bands[0] else ""
    when = positions[0].liquidated_after_ns
    ended = f"its liquidation began after {_seconds(when)}" if when is not None else "it was not liquidated"
    title = f"account {positions[0].account}; in this run {ended}"
    return table(title, ("position", "begins", "mark", "from the mark", "reached after"), rows)


def _seconds(ns: int | None) -> str:
    return "" if ns is None else f"{ns / 1e9:,.1f} s"


def draw_bands(moment: Moment, outcomes: np.ndarray, document: BandsDocument, venue: Venue, path: Path) -> None:
    """An instrument a row: the path of the mark, and the bands by time (one account) or their shares by distance."""
    from replay.charts import ALARM, CALM, INK, LONG, SHORT, Chart

    symbols = list(dict.fromkeys([*(p.symbol for p in document.positions), *(side.symbol for side in document.sides)]))
    known = [instrument.symbol for instrument in venue.instruments]
    early = [CALM, LONG, "#8367b0", "#c08a2b"]
    colors = [early[k % len(early)] for k in range(len(moment.names) - 2)] + [SHORT, ALARM]
    title = f"bands · {document.name or 'scenario'} · {document.after_ns / 1e9:g} s after seeding"
    each = 1 if document.positions else 2
    with Chart(path, title, each * len(symbols)) as chart:
        for place, symbol in enumerate(symbols):
            k, formats = known.index(symbol), Formats.of(venue, symbol)
            walk = MarkPath.of(outcomes, k, moment.ts_ns, moment.marks_sub[k])
            own = moment.bands.positions["instrument"] == k
            axes = chart.axes[each * place]
            axes.set_title(symbol, loc="left", fontsize=10, color=INK)
            if document.positions:
                _draw_path(axes, walk, moment, own, colors, formats)
            else:
                _draw_shares(axes, walk, moment, own, colors)
                _draw_times(chart.axes[each * place + 1], walk, moment, own, colors, formats)
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=5, fontsize=8)


def _draw_path(axes: Any, walk: MarkPath, moment: Moment, own: np.ndarray, colors: list[str], formats: Formats) -> None:
    """The mark over time, and where each band of the position begins."""
    price = float(formats.tick / formats.mark_per_tick)
    axes.step((walk.ts_ns - walk.ts_ns[0]) / 1e9, walk.mark_sub * price, where="post", color="#22303c", label="mark")
    for name, color, mark in zip(moment.names, colors, moment.bands.marks_sub[own][0], strict=True):
        if mark:
            axes.axhline(mark * price, color=color, label=f"{name} {formats.mark(int(mark))}")
    axes.set_xlabel("seconds since the moment")
    axes.set_ylabel("mark")


def _draw_shares(axes: Any, walk: MarkPath, moment: Moment, own: np.ndarray, colors: list[str]) -> None:
    """The share of either side that is in a band once the mark has moved so far; the span of the path is shaded."""
    start = walk.mark_sub[0]
    axes.axvspan(*((np.array((walk.mark_sub.min(), walk.mark_sub.max())) / start - 1) * 100), color="#eef1f4")
    for j, (name, color) in enumerate(zip(moment.names, colors, strict=True)):
        for long in (True, False):
            side = own & ((moment.bands.positions["lots"] > 0) == long)
            marks = moment.bands.marks_sub[side, j]
            moves = np.sort(np.abs(marks[marks > 0] / start - 1)) * (-100 if long else 100)
            share = np.arange(1, len(moves) + 1) / max(1, int(side.sum())) * 100
            axes.step(moves, share, where="post", color=color, label=name if long else None)
    axes.set_xlim(-40, 40)
    axes.set_ylim(0, 100)
    axes.set_xlabel("move of the mark, %: longs to the left, shorts to the right (shaded: the path of this run)")
    axes.set_ylabel("share of positions, %")


def _draw_times(
    axes: Any, walk: MarkPath, moment: Moment, own: np.ndarray, colors: list[str], formats: Formats
) -> None:
    """The share of positions, both sides together, that the path has put into each band, and the mark beside it."""
    end = (walk.ts_ns[-1] - walk.ts_ns[0]) / 1e9
    falling = moment.bands.positions["lots"][own] > 0
    for j, color in enumerate(colors):
        after = walk.reached_after(moment.bands.marks_sub[own, j], falling)
        seconds = np.sort(after[after != NEVER]) / 1e9
        share = np.arange(len(seconds) + 1) / len(after) * 100
        axes.step([0, *seconds, end], [*share, share[-1]], where="post", color=color)
    axes.set_xlabel("seconds since the moment")
    axes.set_ylabel("share of positions, %")
    axes.set_ylim(bottom=0)
    mark, price = axes.twinx(), float(formats.tick / formats.mark_per_tick)
    mark.step((walk.ts_ns - walk.ts_ns[0]) / 1e9, walk.mark_sub * price, where="post", color="#22303c", linewidth=0.8)
    mark.set_ylabel("mark (thin line)")
