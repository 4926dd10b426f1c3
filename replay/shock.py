"""Shocks on top of any tape: an external order, a move of the whole recorded market, or of its index alone."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
import numpy as np

from exchange import codes, schema, units
from exchange.config import Compiled, Venue
from exchange.errors import ConfigError
from exchange.fields import explained
from replay.placing import money_rows, rows
from replay.population import Site

PPM = 1_000_000
NS_PER_MS = 1_000_000
ORDER_ID_BASE = 1 << 61  # far from any recorded or seeded order id
FUNDED_VALUE = 3  # cash of the external trader, as a multiple of the most that what it trades can be worth

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=10**11)]


class Shock(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One shock; times in ms, `start_ms` after seeding.

    sell, buy: `units` (decimal text; of an inverse instrument, contracts) as market orders every `step_ms` over
    `over_ms`, from an account of its own. It holds three times what they are worth at the worst price that the moves
    lead to, and so is not liquidated itself.
    move: `ppm` of the price at seeding: index (`lag_ms` later), recorded ladder and prints, ramped over `over_ms`;
    the recorded sizes are scaled by `depth_ppm` from its start on.
    index: the index alone. No market does this: it is the oracle-attack case, and is printed as such.
    `symbol` names the instrument; without it external orders go to the first one, moves reach all of them.
    """

    kind: Literal["sell", "buy", "move", "index"]
    symbol: str = ""
    start_ms: Milliseconds = 60_000
    over_ms: Milliseconds = 60_000
    step_ms: Annotated[int, msgspec.Meta(ge=1, le=10**9)] = 500
    units: str = ""
    ppm: Annotated[int, msgspec.Meta(ge=-900_000, le=5_000_000)] = 0
    lag_ms: Milliseconds = 0
    depth_ppm: Annotated[int, msgspec.Meta(ge=1, le=100 * PPM)] = PPM

    def label(self, unit: str) -> str:
        """A line for tables; `unit` is what its instrument's quantities are counted in."""
        of = f"of {self.symbol} " if self.symbol else ""
        span = f"{of}over {self.over_ms / 1000:g} s from {self.start_ms / 1000:g} s"
        if self.kind in ("sell", "buy"):
            return f"external {self.kind} of {self.units} {unit} {span}"
        what = "oracle attack, index alone" if self.kind == "index" else "price move"
        depth = f", recorded depth x {self.depth_ppm / PPM:g}" if self.depth_ppm != PPM else ""
        return f"{what} {self.ppm / 10_000:+g} % {span}{depth}"


def parse_shock(text: str) -> Shock:
    """Read `KIND:field=value,field=value`, for example `move:ppm=-80000,over_ms=60000`."""
    kind, _, rest = text.partition(":")
    table: dict[str, object] = {"kind": kind}
    for part in filter(None, rest.split(",")):
        field, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(
                "--shock", f"{part!r} in {text!r}; expected field=value, as in move:ppm=-80000,over_ms=60000"
            )
        try:
            table[field] = value if field in ("units", "symbol") else int(value.replace("_", ""))
        except ValueError:
            raise ConfigError("--shock", f"{field} = {value!r} in {text!r}; expected a whole number") from None
    try:
        return msgspec.convert(table, Shock)
    except msgspec.ValidationError as error:
        where, message = explained(error, Shock)
        raise ConfigError("--shock", f"{text!r}{where.removeprefix('$').replace('.', ', ')}: {message}") from None


def check_shocks(shocks: tuple[Shock, ...]) -> None:
    """Each kind has what it needs and nothing that it would ignore."""
    for k, shock in enumerate(shocks):
        where = f"$.shocks[{k}]"
        if shock.kind in ("sell", "buy"):
            try:
                good = units.decimal(shock.units) > 0
            except ValueError:
                good = False
            if not good:
                raise ConfigError(
                    f"{where}.units", f'{shock.units!r}; a {shock.kind} needs a positive quantity such as "500"'
                )
            if shock.ppm or shock.lag_ms or shock.depth_ppm != PPM:
                raise ConfigError(where, f"ppm, lag_ms and depth_ppm do nothing in a {shock.kind}; add a move for them")
        else:
            if shock.units:
                raise ConfigError(
                    f"{where}.units", f'a {shock.kind} has no units; use kind = "sell" or "buy", or both shocks'
                )
            if shock.ppm == 0 and shock.depth_ppm == PPM:
                raise ConfigError(f"{where}.ppm", f"a {shock.kind} needs ppm, for example -80000 for 8 % down")
            if shock.kind == "index" and (shock.lag_ms or shock.depth_ppm != PPM):
                raise ConfigError(where, "lag_ms and depth_ppm do nothing in an index shock")


def accounts_needed(shocks: tuple[Shock, ...]) -> int:
    """Accounts that the shocks trade from: one each sell or buy."""
    return sum(shock.kind in ("sell", "buy") for shock in shocks)


def shock_events(shocks: tuple[Shock, ...], venue: Venue, compiled: Compiled, sites: Sequence[Site]) -> np.ndarray:
    """All events of all shocks in time order; external traders use accounts from the sites' `first_account` on."""
    check_shocks(shocks)
    by_symbol = {venue.instruments[site.instrument].symbol: site for site in sites}
    blocks = [np.zeros(0, schema.EVENT)]
    traders = 0
    for k, shock in enumerate(shocks):
        if shock.symbol and shock.symbol not in by_symbol:
            raise ConfigError(f"$.shocks[{k}].symbol", f"{shock.symbol!r}; the feed has {', '.join(by_symbol)}")
        if shock.kind in ("sell", "buy"):
            site = by_symbol.get(shock.symbol, sites[0])
            record, step = compiled.instruments[site.instrument], Decimal(venue.instruments[site.instrument].lot)
            symbol = venue.instruments[site.instrument].symbol
            worth = _most_worth([one for one in shocks if one.symbol in ("", symbol)], record, site)
            blocks.append(_orders(shock, f"$.shocks[{k}].units", record, site, traders, step, worth))
            traders += 1
    for symbol, site in by_symbol.items():
        moves = [shock for shock in shocks if shock.kind in ("move", "index") and shock.symbol in ("", symbol)]
        if moves:
            record = compiled.instruments[site.instrument]
            blocks += [_book_shifts(moves, record, site), _index_shifts(moves, record, site)]
    events = np.concatenate(blocks)
    return events[np.argsort(events["ts_ns"], kind="stable")]


def _most_worth(shocks: list[Shock], record: np.void, site: Site) -> int:
    """The price in sub-ticks at which a lot is worth most: linear, as high as moves lead; inverse, as low."""
    moves = [shock.ppm for shock in shocks if shock.kind in ("move", "index")]
    per_tick = int(record["mark_per_tick"])
    if record["kind"] == codes.INVERSE:
        down = site.mark_sub * sum(ppm for ppm in moves if ppm < 0) // PPM
        return max(site.mark_sub + down, int(record["ticks_min"]) * per_tick)
    up = site.mark_sub * sum(ppm for ppm in moves if ppm > 0) // PPM
    return min(site.mark_sub + up, int(record["ticks_max"]) * per_tick)


def _orders(
    shock: Shock, where: str, record: np.void, site: Site, place: int, lot: Decimal, worth_sub: int
) -> np.ndarray:
    """Funding of one external trader, for what it trades at the price `worth_sub`, and its market orders."""
    total = units.floor_count(Decimal(shock.units), lot)
    count = max(1, shock.over_ms // shock.step_ms)
    if total < 1 or total > int(record["position_max_lots"]):
        raise ConfigError(
            where,
            f"{shock.units!r} makes {total} lots; expected 1..{int(record['position_max_lots'])} (position_max)",
        )
    count = min(count, total)
    if -(-total // count) > int(record["order_max_lots"]):
        raise ConfigError(
            where,
            f"{count} orders of {-(-total // count)} lots pass order_max ({int(record['order_max_lots'])} lots); "
            "lower step_ms or raise over_ms",
        )
    account = np.array([site.first_account + place])
    cash = FUNDED_VALUE * abs(int(units.contract_value(record, worth_sub, total)))
    # At 1x no tier limits the exposure. The loss stays below once the worth, so twice of it is left for the market's
    # own moves.
    setting = rows(codes.SET_LEVERAGE, site, account, np.array([100]))
    k = np.arange(count)
    orders = rows(codes.NEW, site, np.repeat(account, count), total * (k + 1) // count - total * k // count)
    orders["ts_ns"] += (shock.start_ms + k * shock.step_ms) * NS_PER_MS
    orders["order_id"] = ORDER_ID_BASE + (place << 32) + k
    orders["side"] = codes.ASK if shock.kind == "sell" else codes.BID
    orders["flags"], orders["time_in_force"] = codes.MARKET, codes.IOC
    return np.concatenate(
        (money_rows(codes.DEPOSIT, account, np.array([cash]), int(record["asset"]), site.ts_ns), setting, orders)
    )


def _ramp_times(shock: Shock, lag_ms: int) -> np.ndarray:
    count = max(1, shock.over_ms // shock.step_ms)
    return shock.start_ms + lag_ms + (np.arange(count) + 1) * shock.over_ms // count


def _ramp(shock: Shock, at_ms: np.ndarray, lag_ms: int, base: int) -> np.ndarray:
    """Shift at each time, in units of `base`: linear in whole steps, then constant."""
    since = np.clip(at_ms - shock.start_ms - lag_ms, 0, shock.over_ms)
    full = base * shock.ppm // PPM
    return np.where(at_ms < shock.start_ms + lag_ms, 0, full * since // shock.over_ms if shock.over_ms else full)


def _shifts(at_ms: np.ndarray, site: Site, shift: np.ndarray, flags: int) -> np.ndarray:
    """SHIFT sets the whole shift, so that overlapping shocks are summed here."""
    events = rows(codes.SHIFT, site, np.zeros(len(at_ms), np.int64), np.full(len(at_ms), PPM))
    events["ts_ns"] += at_ms * NS_PER_MS
    events["price"], events["flags"] = shift, flags
    # The side the market moves towards takes what it crosses.
    events["side"] = np.where(np.diff(shift, prepend=0) < 0, codes.ASK, codes.BID)
    return events


def _book_shifts(moves: list[Shock], record: np.void, site: Site) -> np.ndarray:
    base = site.mark_sub // int(record["mark_per_tick"])
    moves = [shock for shock in moves if shock.kind == "move"]
    if not moves:
        return np.zeros(0, schema.EVENT)
    at_ms = np.unique(
        np.concatenate([_ramp_times(shock, 0) for shock in moves] + [[shock.start_ms] for shock in moves])
    )
    events = _shifts(at_ms, site, np.sum([_ramp(shock, at_ms, 0, base) for shock in moves], axis=0), codes.SHIFT_BOOK)
    depth = np.full(len(at_ms), PPM)
    for shock in moves:
        depth = np.where(
            at_ms >= shock.start_ms,
            np.minimum(depth, shock.depth_ppm)
            if shock.depth_ppm < PPM
            else np.where(depth == PPM, shock.depth_ppm, depth),
            depth,
        )
    events["qty"] = depth
    return events


def _index_shifts(moves: list[Shock], record: np.void, site: Site) -> np.ndarray:
    base = site.mark_sub // int(record["mark_per_tick"])
    at_ms = np.unique(np.concatenate([_ramp_times(shock, shock.lag_ms) for shock in moves]))
    return _shifts(
        at_ms, site, np.sum([_ramp(shock, at_ms, shock.lag_ms, base) for shock in moves], axis=0), codes.SHIFT_INDEX
    )
