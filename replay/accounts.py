"""Reads accounts and their positions from CSV or Parquet; a file with bad rows is refused whole, row by row.

One row a position, any number of rows an account:

account      any text; rows of equal text are one account
symbol       an instrument of the venue; at most one row an account and symbol
side         optional: long or short, quantity is then positive; without it quantity is signed, positive = long
quantity     in units of the contract, a multiple of its lot
entry_price  a multiple of its tick
leverage     from 1 to what the tier of the position allows, two decimals at most
margin       money set apart for the position; gives the leverage where that is empty; one of the two is needed
mode         optional: cross (default), isolated, or portfolio, which is the wallet's: none of its rows is cross then
cash         optional: money in the wallet beside isolated margin, on one row of the account or the same on all;
             where it is empty everywhere, the margin of the account's positions that are not isolated

Money is in units of the instrument's settlement asset. CSV goes through the `csv` module, which knows the line of every
row, also after a quoted line break; Parquet through polars, whose rows are counted from 1.
"""

import csv
import hashlib
import io
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import numpy as np

from exchange import codes, units
from exchange.config import Venue, compile_venue
from exchange.errors import FeedError
from exchange.margins import held_tiers

NEEDED = ("account", "symbol", "quantity", "entry_price")
OPTIONAL = ("side", "leverage", "margin", "mode", "cash")
SIDES = {"long": 1, "buy": 1, "short": -1, "sell": -1}
MODES = {"": codes.CROSS, "cross": codes.CROSS, "isolated": codes.ISOLATED}
SHOWN = 20  # bad rows that are listed; the rest are counted
MONEY_MAX, TOTAL_MAX = 2**52, 2**60


class Accounts(msgspec.Struct, frozen=True):
    """Accounts by name, and one row a position. Money in quanta; `cash` is -1 where none was given."""

    file: str
    names: tuple[str, ...]
    line: np.ndarray
    account: np.ndarray  # place in `names`
    instrument: np.ndarray
    lots: np.ndarray  # signed
    ticks: np.ndarray
    leverage_e2: np.ndarray
    mode: np.ndarray
    margin: np.ndarray
    cash: np.ndarray

    def digest(self) -> str:
        """Hash of the content: equal accounts give equal digests, whatever file they come from."""
        rows = [self.account, self.instrument, self.lots, self.ticks, self.leverage_e2, self.mode]
        rows += [self.margin, self.cash]
        table = np.stack([column.astype(np.int64) for column in rows])
        return hashlib.sha256(msgspec.json.encode(self.names) + table.tobytes()).hexdigest()


class _Bad(Exception):
    """A row that cannot be used: column, and what is wrong with it."""


class _Contract(msgspec.Struct, frozen=True):
    """What a row is checked against."""

    place: int
    tick: Decimal
    lot: Decimal
    quantum: Decimal
    record: np.void
    tiers: np.ndarray


def read_accounts(path: Path, venue: Venue) -> Accounts:
    """Read and check a whole file.

    Raises
    ------
    FeedError
        Listing each bad row with line, column and what was expected. Nothing is used then.
    """
    contracts, rows, modes = _contracts(venue), list(_rows(path)), dict(MODES)
    if venue.portfolio_margin.groups:
        modes["portfolio"] = codes.PORTFOLIO
    places: dict[str, int] = {}
    wallets: dict[tuple[int, int], int] = {}
    shared: dict[tuple[int, int], tuple[int, int]] = {}
    seen: dict[tuple[int, int], int] = {}
    good, bad = [], []
    for line, row in rows:
        try:
            name, instrument, *numbers, cash = _position(row, contracts, modes)
            account = places.setdefault(name, len(places))
            first = seen.setdefault((account, instrument), line)
            if first != line:
                raise _Bad(f"symbol: {name!r} has {row['symbol']} in line {first} already; expected one row for both")
            wallet = (account, int(contracts[row["symbol"]].record["asset"]))
            if cash >= 0 and wallets.setdefault(wallet, cash) != cash:
                raise _Bad(f"cash: {row['cash']!r}; an earlier row of {name!r} has another amount, expected one")
            mode = numbers[3]
            if mode != codes.ISOLATED and shared.setdefault(wallet, (mode, line))[0] != mode:
                raise _Bad(
                    f"mode: {row['mode']!r}; line {shared[wallet][1]} says otherwise of the same wallet, expected all "
                    "of its positions that are not isolated to be cross, or all portfolio"
                )
            good.append((line, account, instrument, *numbers))
        except _Bad as error:
            bad.append(f"{path}:{line}: {error}")
    if not rows:
        raise FeedError(str(path), "no rows below the header; expected one for each position")
    if bad:
        refuse(str(path), bad, len(rows))
    if (total := sum(row[-1] for row in good) + sum(wallets.values())) >= TOTAL_MAX:
        raise FeedError(str(path), f"margin and cash add up to {total} quanta; expected less than 2**60")
    columns = [np.array(column, np.int64) for column in zip(*good, strict=True)]
    assets = [int(contract.record["asset"]) for contract in contracts.values()]
    owed = [wallets.get((a, assets[k]), -1) for a, k in zip(columns[1].tolist(), columns[2].tolist(), strict=True)]
    return Accounts(path.name, tuple(places), *columns, np.array(owed, np.int64))


def refuse(file: str, bad: list[str], count: int) -> NoReturn:
    """Raise a FeedError that lists bad rows, at most `SHOWN` of them."""
    shown = "".join(f"\n  {text}" for text in bad[:SHOWN])
    more = f"\n  and {len(bad) - SHOWN:,} more" if len(bad) > SHOWN else ""
    raise FeedError(file, f"{len(bad):,} bad of {count:,} rows; nothing was taken from the file{shown}{more}")


def _contracts(venue: Venue) -> dict[str, _Contract]:
    compiled = compile_venue(venue)
    found = {}
    for place, instrument in enumerate(venue.instruments):
        record = compiled.instruments[place]
        tiers = held_tiers(compiled, place)
        quantum = units.decimal(venue.assets[int(record["asset"])].quantum)
        tick, lot = units.decimal(instrument.tick), units.decimal(instrument.lot)
        found[instrument.symbol] = _Contract(place, tick, lot, quantum, record, tiers)
    return found


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells, as text, of each row."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FeedError(str(path), f"cannot be read ({error.strerror}); expected a CSV or Parquet file") from None
    if data.startswith(b"PAR1"):
        import polars

        try:
            frame = polars.read_parquet(io.BytesIO(data))
        except polars.exceptions.PolarsError as error:
            raise FeedError(str(path), f"cannot be read as Parquet: {error}") from None
        _check_header(path, frame.columns)
        for k, row in enumerate(frame.iter_rows(named=True), 1):
            yield k, {name: _text(value) for name, value in row.items()}
        return
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    except UnicodeDecodeError:
        raise FeedError(str(path), "is neither text nor Parquet; expected a CSV or Parquet file") from None
    header = [name.strip() for name in next(reader, [])]
    _check_header(path, header)
    try:
        for cells in reader:
            if cells:
                row = dict(zip(header, map(str.strip, cells), strict=False))
                yield reader.line_num, row if len(cells) == len(header) else {"": f"{len(cells)} cells"}
    except csv.Error as error:
        raise FeedError(f"{path}:{reader.line_num}", f"{error}; expected comma-separated text") from None


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _check_header(path: Path, names: list[str]) -> None:
    unknown = [name for name in names if name not in NEEDED + OPTIONAL]
    missing = [name for name in NEEDED if name not in names]
    if unknown or missing or len(set(names)) < len(names):
        raise FeedError(
            f"{path}:1",
            f"columns {', '.join(names) or 'none'}; expected {', '.join(NEEDED)}, leverage or margin, "
            f"and if wanted {', '.join(OPTIONAL)}, each once",
        )


def _number(row: dict[str, str], column: str, step: Decimal, what: str, most: int, least: int = 1) -> int:
    """A whole count of `step`, `least` to `most`."""
    try:
        count = units.whole(units.decimal(row[column]), step)
    except (ValueError, ArithmeticError):
        count = 0
    if not least <= count <= most:
        bounds = f"from {least * step:f} to" if least > 1 else "up to"
        raise _Bad(f"{column}: {row[column]!r}; expected {what}, {bounds} {most * step:f}")
    return count


def _position(row: dict[str, str], contracts: dict[str, _Contract], modes: dict[str, int]) -> tuple[Any, ...]:
    """Name, instrument, lots, ticks, leverage, mode, margin and cash of one row."""
    if "" in row:
        raise _Bad(f"row: {row['']}; expected one for each column of the header")
    if not row["account"]:
        raise _Bad("account: is empty; expected a name")
    contract = contracts.get(row["symbol"])
    if contract is None:
        raise _Bad(f"symbol: {row['symbol']!r}; expected one of {', '.join(contracts)}")
    mode = row.get("mode", "").lower()
    if mode not in modes:
        more = "" if "portfolio" in modes else "; portfolio needs groups in $.venue.portfolio_margin"
        raise _Bad(f"mode: {row['mode']!r}; expected {' or '.join(filter(None, modes))}{more}")
    side, record = row.get("side", "").lower(), contract.record
    if side not in {"", *SIDES}:
        raise _Bad(f"side: {row['side']!r}; expected long or short")
    if side and row["quantity"].startswith("-"):
        raise _Bad(f"quantity: {row['quantity']!r}; expected a quantity above 0, as side says {side}; or no side")
    negative = row["quantity"].startswith("-")
    unsigned = row | {"quantity": row["quantity"].removeprefix("-")} if negative else row
    most = int(record["position_max_lots"])
    lots = _number(unsigned, "quantity", contract.lot, f"a multiple of {contract.lot} other than 0", most)
    low, high = int(record["ticks_min"]), int(record["ticks_max"])
    ticks = _number(row, "entry_price", contract.tick, f"a multiple of {contract.tick}", high, low)
    at_entry = abs(int(units.contract_value(record, ticks * int(record["mark_per_tick"]), lots)))
    leverage_e2, margin = _funding(row, contract, at_entry)
    cash = -1
    if row.get("cash") and not _is_zero(row["cash"]):
        cash = _number(row, "cash", contract.quantum, f"a multiple of {contract.quantum}, not negative", MONEY_MAX)
    elif row.get("cash"):
        cash = 0
    signed = lots * SIDES.get(side, -1 if negative else 1)
    return row["account"], contract.place, signed, ticks, leverage_e2, modes[mode], margin, cash


def _is_zero(text: str) -> bool:
    try:
        return units.decimal(text) == 0
    except ValueError:
        return False


def _funding(row: dict[str, str], contract: _Contract, value: int) -> tuple[int, int]:
    """Leverage in hundredths and margin in quanta, one from the other where only one is given."""
    tiers = contract.tiers
    allowed = int(tiers["leverage_max_e2"][np.searchsorted(tiers["floor"], value, side="right") - 1])
    leverage_e2 = margin = 0
    if row.get("leverage"):
        text = f"1 to {allowed / 100:g}, what the tier of the position allows, with two decimals at most"
        leverage_e2 = _number(row, "leverage", Decimal("0.01"), text, allowed)
        if leverage_e2 < 100:
            raise _Bad(f"leverage: {row['leverage']!r}; expected {text}")
    if row.get("margin"):
        margin = _number(row, "margin", contract.quantum, f"a multiple of {contract.quantum}", MONEY_MAX)
        leverage_e2 = leverage_e2 or max(100, -(-value * 100 // margin))
    if not leverage_e2:
        raise _Bad("leverage: is empty, and so is margin; expected one of them")
    least = -(-value * 100 // min(leverage_e2, allowed))
    if margin and (leverage_e2 > allowed or margin < least):
        raise _Bad(f"margin: {row['margin']!r}; expected at least {least * contract.quantum:f}, the initial margin")
    return leverage_e2, margin or least
