"""A playbook as tables and as a picture."""

from pathlib import Path
from typing import Any

from exchange.config import Venue
from replay.playbook import Breached, Playbook, Worst
from replay.stress import PPM
from replay.tables import Formats, percent, table


def _formats(venue: Venue) -> dict[str, Formats]:
    """By asset: those of the first instrument that settles in it."""
    return {one.settle: Formats.of(venue, one.symbol) for one in reversed(venue.instruments)}


def playbook_tables(document: Playbook, venue: Venue) -> list[Any]:
    """Scenarios by asset, what a correlation of one changes, the worst units, what is open to them, the fund."""
    formats = _formats(venue)
    assets = dict.fromkeys(one.asset for one in document.scenarios)
    tables = [_scenarios(document, asset, formats[asset]) for asset in assets]
    if document.at_one:
        tables.append(_at_one(document, formats))
    if document.worst:
        tables += [_worst(document, venue, formats), _actions(document, venue, formats)]
    if document.grid_at_one:
        tables += [_grid(document, formats), _grid_at_one(document, formats)]
    if document.funds:
        tables.append(_funds(document, formats))
    return tables


def _scenarios(document: Playbook, asset: str, formats: Formats) -> Any:
    moves = ", ".join(
        f"{one.name} {one.range_ppm / PPM:.0%} (loading {one.loading_ppm / PPM:.2f})" for one in document.groups
    )
    rows = [
        (
            one.scenario,
            f"{one.binds_accounts:,}",
            formats.money(one.binds_loss),
            f"{one.breached_accounts:,}",
            formats.money(one.breached_notional),
            formats.money(one.short_of_maintenance),
            formats.money(one.below_zero),
        )
        for one in document.scenarios
        if one.asset == asset
    ]
    header = ("scenario", "binds", f"their loss {asset}", "breached", "notional", "short of maintenance", "below zero")
    units = sum(one.binds_units for one in document.scenarios if one.asset == asset)
    title = f"scenarios in {asset}: {units:,} units ({document.pending_units:,} in liquidation left out); {moves}"
    return table(title, header, rows)


def _named(accounts: list[int]) -> str:
    """The first few."""
    return ", ".join(map(str, accounts[:5])) + (" …" if len(accounts) > 5 else "")


def _at_one(document: Playbook, formats: dict[str, Formats]) -> Any:
    rows = []
    for one in document.at_one:
        money = formats[one.asset].money

        def cell(part: Breached, money: Any = money) -> str:
            return f"{part.accounts:,} with {money(part.notional)}"

        who = _named(one.who)
        rows.append((one.asset, cell(one.diversified), cell(one.at_one), cell(one.added), cell(one.spared), who))
    header = ("asset", "by loadings", "at one", "only at one", "only by loadings", "added accounts")
    return table("accounts breached, and their notional: what correlation going to one changes", header, rows)


def _worst(document: Playbook, venue: Venue, formats: dict[str, Formats]) -> Any:
    rows = []
    for one in document.worst:
        own = formats[one.asset]
        rows.append(
            (
                f"{one.account} {one.unit}",
                own.money(one.equity),
                own.money(one.maintenance),
                one.scenario,
                own.money(one.loss),
                own.money(one.health_after),
                "\n".join(_leg(one, k, venue) for k in range(len(one.legs))),
                one.trigger,
            )
        )
    header = (
        "account",
        "equity",
        "maintenance",
        "binds",
        "loss",
        "health then",
        "legs (distance to breach)",
        "most from",
    )
    return table("worst accounts", header, rows)


def _leg(one: Worst, k: int, venue: Venue) -> str:
    leg = one.legs[k]
    own = Formats.of(venue, leg.symbol)
    at = f" ({percent(leg.distance_ppm)})" if leg.breaks_at_sub else ""
    return f"{own.size(leg.lots)} {leg.symbol}{at}"


def _actions(document: Playbook, venue: Venue, formats: dict[str, Formats]) -> Any:
    rows = []
    for one in document.worst:
        leg = next((leg for leg in one.legs if leg.symbol == one.reduce), None)
        closed = "nothing" if not one.deposit else "no single leg"
        if leg is not None:
            closed = f"{Formats.of(venue, leg.symbol).size(leg.close_lots or 0)} of {leg.symbol}"
        free = ", ".join(f"{formats[f.asset].money(f.money)} {f.asset}" for f in one.free if f.asset in formats)
        rows.append((f"{one.account} {one.unit}", formats[one.asset].money(one.deposit), closed, free or "none"))
    return table(
        "what would survive the binding scenario, each alone",
        ("account", "deposit", "or close at today's mark", "free in its other wallets"),
        rows,
    )


def _grid(document: Playbook, formats: dict[str, Formats]) -> Any:
    rows = []
    for one in document.grid:
        shares = "each group's own"
        if one.scenario >= 0:
            shares = f"price {one.price_ppm / PPM:+.0%}"
            shares += f", volatility {one.volatility_ppm / PPM:+.0%}" if one.volatility_ppm else ""
            shares += f", {one.skew} skew" if one.skew else ""
            shares += f", basis {one.basis_ppm / PPM:+.0%}" if one.basis_ppm else ""
            shares += f", {one.cover_ppm / PPM:.0%} of the loss" if one.cover_ppm != PPM else ""
        turned = f" {one.group}" if one.group else ""
        rows.append((one.asset, one.mode + turned, shares, f"{one.wallets:,}", formats[one.asset].money(one.loss)))
    header = ("asset", "mode", "scenario, share of a group's range", "binds", "their loss")
    return table("portfolio margin: which scenario of the venue's grid binds", header, rows)


def _grid_at_one(document: Playbook, formats: dict[str, Formats]) -> Any:
    rows = []
    for one in document.grid_at_one:
        money = formats[one.asset].money
        cells = ["–" if held is None else money(held.maintenance) for held in (one.diversified, one.at_one)]
        before = "–" if one.diversified is None else f"{one.diversified.breached:,}"
        who = _named(one.who)
        counts = (f"{one.wallets:,}", *cells, f"{one.raised:,}", before, f"{one.at_one.breached:,}")
        rows.append((one.asset, *counts, who))
    header = (
        "asset",
        "wallets",
        "must hold",
        "with rho 1 too",
        "must hold more",
        "breached",
        "with rho 1 too",
        "only then",
    )
    return table("portfolio margin: what the grid asks for without and with correlation going to one", header, rows)


def _funds(document: Playbook, formats: dict[str, Formats]) -> Any:
    rows = []
    for one in document.funds:
        money = formats[one.asset].money
        end = "covers it" if one.covered else "does not cover it"
        rows.append((one.asset, money(one.equity), one.scenario, money(one.below_zero), money(one.equity_after), end))
    header = ("asset", "fund", "worst scenario", "accounts below zero", "fund then", "")
    return table("insurance fund, without feedback", header, rows)


def draw_playbook(document: Playbook, venue: Venue, path: Path) -> None:
    """Bars by scenario: what is short of maintenance and below zero, an asset a row."""
    from replay.charts import ALARM, INK, LONG, Chart, money_axis

    formats = _formats(venue)
    assets = list(dict.fromkeys(one.asset for one in document.scenarios))
    title = f"playbook · {document.name or 'scenario'} · {document.after_ns / 1e9:g} s after seeding"
    with Chart(path, title, max(1, len(assets))) as chart:
        for axes, asset in zip(chart.axes, assets, strict=False):
            rows = [one for one in document.scenarios if one.asset == asset]
            quantum, places = float(formats[asset].quantum), range(len(rows))
            axes.bar(places, [one.short_of_maintenance * quantum for one in rows], color=LONG, label="of maintenance")
            axes.bar(places, [one.below_zero * quantum for one in rows], color=ALARM, label="below zero")
            axes.axhline(document.funds[assets.index(asset)].equity * quantum, color=INK, label="insurance fund")
            axes.set_xticks(list(places), [one.scenario for one in rows], rotation=60, ha="right", fontsize=7)
            money_axis(axes, f"{asset} short")
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8)
