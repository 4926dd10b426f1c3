"""Who breaches at the moment a rule is switched on: the accounts of a moment under both rules. DESIGN §10.3."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np

from exchange import stress
from exchange.config import Venue
from exchange.errors import ConfigError
from exchange.switch import Switched, switched
from exchange.venue import Exchange
from replay.tables import Formats, percent, table

PPM = 1_000_000
LEVERAGES_E2 = (200, 500, 1_000, 2_000, 5_000, 10_000)  # bounds of the rows by leverage, in hundredths


class Part(msgspec.Struct, frozen=True):
    """Units that the switch breaches, of one kind. `short`: equity missing to maintenance."""

    name: str
    asset: str
    accounts: int
    notional: int
    short: int


class Breach(msgspec.Struct, frozen=True):
    """One unit that is healthy before and below maintenance after."""

    account: int
    unit: str
    asset: str
    notional: int
    leverage_e2: int  # notional over equity before
    equity_before: int
    maintenance_before: int
    equity_after: int
    maintenance_after: int
    largest: str  # the instrument of its largest leg
    tier: int  # of that leg, by the rules before


class Moved(msgspec.Struct, frozen=True):
    """A mark that is another under the other rules, in sub-ticks."""

    symbol: str
    before_sub: int
    after_sub: int


class Whole(msgspec.Struct, frozen=True):
    """All live units of an asset."""

    asset: str
    units: int
    maintenance_before: int
    maintenance_after: int
    breached_accounts: int
    breached_notional: int
    short: int
    spared_accounts: int  # below maintenance before, healthy after


class Switch(msgspec.Struct, frozen=True):
    """What `deleverage switch --json` prints. Units in liquidation already are left out."""

    name: str
    variant: str
    ts_ns: int
    after_ns: int
    changes: list[str]
    pending_units: int
    marks: list[Moved]
    assets: list[Whole]
    by_tier: list[Part]
    by_leverage: list[Part]
    breaches: list[Breach]  # the largest notional first


def tier_sets_of(venue: Venue, texts: Iterable[str]) -> dict[int, int]:
    """Read `SYMBOL=TABLE`: by instrument, the tier table that a SET_TIERS would choose."""
    symbols, made = [one.symbol for one in venue.instruments], {}
    for text in texts:
        symbol, _, number = text.partition("=")
        if symbol not in symbols or not number.isdecimal():
            raise ConfigError("--tiers", f"{text!r}; expected SYMBOL=TABLE, as in {symbols[0]}=1")
        made[symbols.index(symbol)] = int(number)
    return made


def rules_of(venue: Venue, live: Venue) -> Venue:
    """The other rules for a live venue, whose pools, refill and mode the session has chosen."""
    replace = msgspec.structs.replace
    return replace(
        venue,
        capacity=live.capacity,
        depth=replace(venue.depth, refill=live.depth.refill),
        liquidation=replace(venue.liquidation, mode=live.liquidation.mode),
    )


def switch_document(
    exchange: Exchange,
    venue: Venue,
    tier_sets: Mapping[int, int],
    changes: list[str],
    moment: tuple[str, str, int, int],
) -> Switch:
    """Compare a live venue with itself under other rules; it stays as it is."""
    made = switched(exchange, venue, tier_sets)
    notional = np.zeros(len(made.units.number), np.int64)
    np.add.at(notional, made.units.of, stress.notionals(exchange.state, made.units.slots))
    found = np.flatnonzero(made.breaches)
    found = found[np.argsort(-notional[found], kind="stable")]
    breaches = [_breach(exchange, made, int(unit), int(notional[unit])) for unit in found]
    assets = made.units.asset(exchange.state)
    symbols = [one.symbol for one in exchange.venue.instruments]
    marks = zip(symbols, made.marks_before.tolist(), made.marks_after.tolist(), strict=True)
    return Switch(
        *moment,
        changes,
        made.units.pending,
        [Moved(*row) for row in marks if row[1] != row[2]],
        [_whole(exchange, made, notional, int(asset)) for asset in np.unique(assets)],
        _parts(breaches, lambda one: f"{one.largest} tier {one.tier}"),
        _parts(breaches, lambda one: _leverage_row(one.leverage_e2)),
        breaches,
    )


def _whole(exchange: Exchange, made: Switched, notional: np.ndarray, asset: int) -> Whole:
    own = made.units.asset(exchange.state) == asset
    account, broken = made.units.account(exchange.state), own & made.breaches
    spared = own & (made.equity_before < made.required_before) & (made.equity_after >= made.required_after)
    return Whole(
        exchange.venue.assets[asset].name,
        int(own.sum()),
        int(made.required_before[own].sum()),
        int(made.required_after[own].sum()),
        len(np.unique(account[broken])),
        int(notional[broken].sum()),
        int((made.required_after - made.equity_after)[broken].sum()),
        len(np.unique(account[spared])),
    )


def _breach(exchange: Exchange, made: Switched, unit: int, notional: int) -> Breach:
    state, venue = exchange.state, exchange.venue
    slots = made.units.legs(unit)
    sizes = stress.notionals(state, slots)
    k = int(state.ledger.positions["instrument"][slots[int(sizes.argmax())]])
    symbol, number = venue.instruments[k].symbol, int(made.units.number[unit])
    asset, equity = venue.assets[int(made.units.asset(state)[unit])].name, int(made.equity_before[unit])
    record = state.prices.instruments[k]
    floors = state.prices.tiers["floor"][record["tier_base"] : record["tier_base"] + record["tier_count"]]
    return Breach(
        int(made.units.account(state)[unit]),
        f"{made.units.mode(state, unit)} {symbol if number < 0 else asset}",
        asset,
        notional,
        notional * 100 // max(1, equity),
        equity,
        int(made.required_before[unit]),
        int(made.equity_after[unit]),
        int(made.required_after[unit]),
        symbol,
        int(np.searchsorted(floors, int(sizes.max()), side="right")) - 1,
    )


def _leverage_row(leverage_e2: int) -> str:
    bounds = [0, *LEVERAGES_E2]
    k = int(np.searchsorted(bounds, leverage_e2, side="right")) - 1
    return f"{bounds[k] // 100}x to {bounds[k + 1] // 100}x" if k + 1 < len(bounds) else f"{bounds[k] // 100}x and more"


def _parts(breaches: list[Breach], name_of: Any) -> list[Part]:
    """Sums by name and asset, largest notional first."""
    groups: dict[tuple[str, str], list[Breach]] = {}
    for one in breaches:
        groups.setdefault((name_of(one), one.asset), []).append(one)
    parts = [
        Part(
            *key,
            len({one.account for one in own}),
            sum(one.notional for one in own),
            sum(one.maintenance_after - one.equity_after for one in own),
        )
        for key, own in groups.items()
    ]
    return sorted(parts, key=lambda part: -part.notional)


def switch_tables(document: Switch, venue: Venue, count: int) -> list[Any]:
    """All accounts by asset, then the breached by tier, by leverage and one by one."""
    formats = {one.settle: Formats.of(venue, one.symbol) for one in reversed(venue.instruments)}
    moves = ", ".join(
        f"mark of {one.symbol} {percent((one.after_sub - one.before_sub) * PPM // one.before_sub)}"
        for one in document.marks
    )
    header = ("asset", "units", "maintenance before", "after", "breached", "notional", "short", "healthy again")

    def cells_of(one: Any, *names: str) -> list[str]:
        return [formats[one.asset].money(getattr(one, name)) for name in names]

    rows = [
        (
            one.asset,
            f"{one.units:,}",
            *cells_of(one, "maintenance_before", "maintenance_after"),
            f"{one.breached_accounts:,}",
            *cells_of(one, "breached_notional", "short"),
            f"{one.spared_accounts:,}",
        )
        for one in document.assets
    ]
    title = f"with {', '.join(document.changes)} ({document.pending_units:,} units in liquidation already)"
    tables = [table(f"{title}; {moves}" if moves else title, header, rows)]
    for what, parts in (("tier of the largest leg", document.by_tier), ("leverage", document.by_leverage)):
        if parts:
            cells = [(one.name, f"{one.accounts:,}", *cells_of(one, "notional", "short"), one.asset) for one in parts]
            tables.append(table(f"breached by {what}", (what, "accounts", "notional", "short", "asset"), cells))
    if document.breaches:
        cells = [
            (
                f"{one.account} {one.unit}",
                f"{one.leverage_e2 / 100:.1f}x",
                *cells_of(one, "notional", "equity_before", "maintenance_before", "equity_after", "maintenance_after"),
            )
            for one in document.breaches[:count]
        ]
        header = ("account", "leverage", "notional", "equity before", "maintenance", "equity after", "maintenance")
        title = f"largest of {len(document.breaches):,} units that are healthy before and breached after"
        tables.append(table(title, header, cells))
    return tables
