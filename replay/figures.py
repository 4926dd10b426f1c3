"""The figures of one run, by instrument: each a function of the outcome records, vectorised.

Money is in quanta of the instrument's settlement asset, marks in sub-ticks. `instruments` are the compiled INSTRUMENT
records; money of different assets is never added up.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from exchange import codes
from exchange.units import contract_value

PPM = 1_000_000
NS_PER_MS = 1_000_000
_KEPT = (
    codes.FILL,
    codes.MARK_PRICE,
    codes.LIQUIDATION_START,
    codes.LIQUIDATION_FEE,
    codes.TAKEN,
    codes.TAKEOVER,
    codes.ADL,
    codes.DEFICIT,
    codes.SOCIALISED,
    codes.LIQUIDATION_END,
    codes.TAKEN,
)


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """What one variant closed by force, and who paid. Fund, deficits and hedgers are those of the settlement asset."""

    refill: str
    mode: str
    symbol: str
    asset: str
    liquidated_accounts: int
    liquidated_through_book: int  # of them, accounts with at least one forced fill
    liquidations: int
    liquidated_notional: int
    forced_notional: int
    liquidation_fees: int
    takeover_notional: int
    taken_notional: int  # by takers of auctions, and by a backstop
    adl_closes: int
    adl_notional: int
    deficits: int
    deficit_money: int
    socialised_money: int  # what others paid for the fund
    contained_ms: int  # from the start of the first liquidation to the end of the last; 0 without one
    fund_start: int
    fund_end: int
    hedger_pnl: int


class Totals(Closed, frozen=True, kw_only=True):
    """All instruments of a settlement asset (`symbol` all): an account liquidated in several of them counts once."""


class Figures(Closed, frozen=True, kw_only=True):
    """What one variant did to one instrument from seeding to the end; refusals, counts and digests are the run's."""

    forced_lots: int
    forced_slippage: int  # against the mark, positive = worse for the liquidated account
    forced_slippage_ppm: int
    extrapolated_share: float  # of the forced lots, filled in depth that was never recorded
    takeover_lots: int
    mark_start: int
    mark_min: int
    mark_max: int
    mark_end: int
    price_move_ppm: int  # of the mark, start to its extreme furthest from the start
    open_interest_start: int
    open_interest_end: int
    crossed_levels: int
    events: int
    outcomes: int
    rejected: dict[str, int]
    digest: str
    state_digest: str  # empty unless the run is audited: it walks the whole state


def keep(outcomes: np.ndarray) -> np.ndarray:
    """The outcomes that figures are made of; acknowledgements and funding are left to the recorder."""
    return outcomes[np.isin(outcomes["kind"], _KEPT)]


def of_kind(outcomes: np.ndarray, kind: int) -> np.ndarray:
    """The outcomes of one kind."""
    return outcomes[outcomes["kind"] == kind]


def of_instruments(outcomes: np.ndarray, places: Sequence[int], count: int) -> np.ndarray:
    """The outcomes of some of `count` instruments.

    A cross account's liquidation names no instrument: it belongs to those its orders and takeovers name, which may be
    several. One that recovered before its first order is in none, unless all instruments are asked for.
    """
    own = np.isin(outcomes["instrument"], places)
    if len(places) == count:
        return outcomes[own | (outcomes["instrument"] < 0)]
    liquidations = np.unique(outcomes["liquidation_id"][own & (outcomes["liquidation_id"] > 0)])
    return outcomes[own | ((outcomes["instrument"] < 0) & np.isin(outcomes["liquidation_id"], liquidations))]


def prices_sub(outcomes: np.ndarray, record: np.void) -> np.ndarray:
    """Price of each outcome in sub-ticks: what takers of auctions had has it so, all else in ticks."""
    prices: np.ndarray = outcomes["price"] * np.where(outcomes["kind"] == codes.TAKEN, 1, int(record["mark_per_tick"]))
    return prices


def traded_values(outcomes: np.ndarray, record: np.void) -> np.ndarray:
    """Value of each outcome's lots, signed like them, at its price."""
    return contract_value(record, prices_sub(outcomes, record), outcomes["lots"])


def notional(outcomes: np.ndarray, instruments: np.ndarray) -> int:
    """Traded value of outcomes of instruments of one asset."""
    return sum(
        int(np.abs(traded_values(outcomes[outcomes["instrument"] == k], instruments[k])).sum())
        for k in np.unique(outcomes["instrument"])
    )


def liquidated_accounts(outcomes: np.ndarray) -> int:
    """Different users whose liquidation started."""
    accounts = of_kind(outcomes, codes.LIQUIDATION_START)["account"]
    return len(np.unique(accounts[accounts >= codes.FIRST_USER]))


def liquidations(outcomes: np.ndarray) -> int:
    """Liquidations that started; one account can be liquidated more than once."""
    return int((of_kind(outcomes, codes.LIQUIDATION_START)["account"] >= codes.FIRST_USER).sum())


def forced_fills(outcomes: np.ndarray) -> np.ndarray:
    """Fills of liquidation orders, one record a fill: the liquidated account's. A backstop's are not among them."""
    fills = of_kind(outcomes, codes.FILL)
    return fills[(fills["flags"] & (codes.FORCED | codes.MAKER | codes.BACKSTOP)) == codes.FORCED]


def liquidated_through_book(outcomes: np.ndarray) -> int:
    """Different users with at least one forced fill."""
    accounts = forced_fills(outcomes)["account"]
    return len(np.unique(accounts[accounts >= codes.FIRST_USER]))


def extrapolated_share(outcomes: np.ndarray) -> float:
    """Share of forced lots that traded in extrapolated depth."""
    fills = forced_fills(outcomes)
    total = int(fills["lots"].sum())
    return round(int(fills["lots"][(fills["flags"] & codes.EXTRAPOLATED) != 0].sum()) / total, 6) if total else 0.0


def adl_closes(outcomes: np.ndarray) -> np.ndarray:
    """Closes by auto-deleveraging, one record a close: the liquidated account's, which comes first of each two."""
    return of_kind(outcomes, codes.ADL)[0::2]


def taken(outcomes: np.ndarray) -> np.ndarray:
    """What takers of auctions had, one record a leg: the liquidated account's, which comes first of each two."""
    return of_kind(outcomes, codes.TAKEN)[0::2]


def deficits(outcomes: np.ndarray) -> np.ndarray:
    """Losses of users that the fund paid."""
    rows = of_kind(outcomes, codes.DEFICIT)
    return rows[rows["account"] >= codes.FIRST_USER]


def liquidated_notional(outcomes: np.ndarray, instruments: np.ndarray) -> int:
    """Value of users' positions closed by liquidation whichever way: forced fills, auctions, takeovers, deleveraging.

    What the fund inherited and passes on by auto-deleveraging was counted when it took it over.
    """
    parts = (forced_fills(outcomes), taken(outcomes), of_kind(outcomes, codes.TAKEOVER), adl_closes(outcomes))
    return sum(notional(part[part["account"] >= codes.FIRST_USER], instruments) for part in parts)


def mark_at(outcomes: np.ndarray, seqs: np.ndarray, instrument: int, first_sub: int) -> np.ndarray:
    """The mark that held when each outcome number was made."""
    marks = of_kind(outcomes, codes.MARK_PRICE)
    marks = marks[marks["instrument"] == instrument]
    prices = np.concatenate(([first_sub], marks["price"]))
    return prices[np.searchsorted(marks["seq"], seqs, side="right")]


def given_up(outcomes: np.ndarray, record: np.void, instrument: int, first_sub: int) -> tuple[np.ndarray, np.ndarray]:
    """What liquidated accounts lost against the mark of the moment, and the value of the same lots at it.

    One row a forced fill of the instrument, then one for what each taker of an auction had.
    """
    fills, takes = (rows[rows["instrument"] == instrument] for rows in (forced_fills(outcomes), taken(outcomes)))
    signed = np.where(fills["flags"] & codes.SELL, fills["lots"], -fills["lots"])  # what the fill closes
    closed, held = np.concatenate((fills, takes)), np.concatenate((signed, -takes["lots"]))
    paid = np.where(closed["kind"] == codes.TAKEN, closed["money"], 0)  # beside the trade; of a fill it is the fee
    value = contract_value(record, mark_at(outcomes, closed["seq"], instrument, first_sub), held)
    return value - contract_value(record, prices_sub(closed, record), held) - paid, np.abs(value)


def forced_slippage(outcomes: np.ndarray, record: np.void, instrument: int, first_sub: int) -> tuple[int, int]:
    """Loss of an instrument's forced fills against the mark of their moment, and the value of the same lots at it."""
    loss, value = given_up(outcomes[outcomes["kind"] != codes.TAKEN], record, instrument, first_sub)
    return int(loss.sum()), int(value.sum())


def mark_range(outcomes: np.ndarray, instrument: int, first_sub: int) -> tuple[int, int, int]:
    """Lowest, highest and last mark."""
    marks = of_kind(outcomes, codes.MARK_PRICE)
    prices = np.concatenate(([first_sub], marks["price"][marks["instrument"] == instrument]))
    return int(prices.min()), int(prices.max()), int(prices[-1])


def count_rejected(outcomes: np.ndarray, counts: dict[str, int]) -> None:
    """Add the rejections of a chunk to `counts`, by name."""
    results = of_kind(outcomes, codes.RESULT)["code"]
    rejected, how_often = np.unique(results[results >= codes.UNSUPPORTED_KIND], return_counts=True)
    for code, count in zip(rejected, how_often, strict=True):
        name = codes.RESULT_NAME[int(code)]
        counts[name] = counts.get(name, 0) + int(count)


def contained_ms(outcomes: np.ndarray) -> int:
    """How long users were being liquidated: until the run's end where one still is."""
    starts, ends = of_kind(outcomes, codes.LIQUIDATION_START), of_kind(outcomes, codes.LIQUIDATION_END)
    starts, ends = (rows[rows["account"] >= codes.FIRST_USER] for rows in (starts, ends))
    if not len(starts):
        return 0
    last = ends if len(ends) == len(starts) else outcomes
    return int(last["ts_ns"].max() - starts["ts_ns"].min()) // NS_PER_MS


def compute_closed(outcomes: np.ndarray, instruments: np.ndarray) -> dict[str, int]:
    """The fields of `Closed` that come from outcomes, all of one settlement asset."""
    paid, closes, shared = deficits(outcomes), adl_closes(outcomes), of_kind(outcomes, codes.SOCIALISED)
    return {
        "liquidated_accounts": liquidated_accounts(outcomes),
        "liquidated_through_book": liquidated_through_book(outcomes),
        "liquidations": liquidations(outcomes),
        "liquidated_notional": liquidated_notional(outcomes, instruments),
        "forced_notional": notional(forced_fills(outcomes), instruments),
        "liquidation_fees": int(of_kind(outcomes, codes.LIQUIDATION_FEE)["money"].sum()),
        "takeover_notional": notional(of_kind(outcomes, codes.TAKEOVER), instruments),
        "taken_notional": notional(taken(outcomes), instruments),
        "adl_closes": len(closes),
        "adl_notional": notional(closes, instruments),
        "deficits": len(paid),
        "deficit_money": -int(paid["money"].sum()),
        "socialised_money": -int(shared["money"][shared["account"] >= codes.FIRST_USER].sum()),
        "contained_ms": contained_ms(outcomes),
    }


def compute_figures(
    outcomes: np.ndarray, instruments: np.ndarray, instrument: int, first_sub: int, rest: dict[str, Any]
) -> Figures:
    """All figures of an instrument in one variant, from its outcomes; `rest` comes from the venue's state."""
    loss, value = forced_slippage(outcomes, instruments[instrument], instrument, first_sub)
    low, high, end = mark_range(outcomes, instrument, first_sub)
    furthest = low if first_sub - low >= high - first_sub else high
    return Figures(
        **compute_closed(outcomes, instruments),
        forced_lots=int(forced_fills(outcomes)["lots"].sum()),
        forced_slippage=loss,
        forced_slippage_ppm=loss * PPM // value if value else 0,
        extrapolated_share=extrapolated_share(outcomes),
        takeover_lots=int(np.abs(of_kind(outcomes, codes.TAKEOVER)["lots"]).sum()),
        mark_start=first_sub,
        mark_min=low,
        mark_max=high,
        mark_end=end,
        price_move_ppm=(furthest - first_sub) * PPM // max(1, first_sub),
        **rest,
    )


def amplification(figures: Sequence[Closed]) -> list[dict[str, Any]]:
    """Overlay over shadow for each instrument and refill model that ran in both; None where shadow divides by zero."""
    rows = []
    for symbol, asset, refill in dict.fromkeys((f.symbol, f.asset, f.refill) for f in figures):
        modes = {f.mode: f for f in figures if (f.symbol, f.asset, f.refill) == (symbol, asset, refill)}
        if {"overlay", "shadow"} <= modes.keys():
            overlay, shadow = modes["overlay"], modes["shadow"]
            rows.append(
                {
                    "symbol": symbol,
                    "asset": asset,
                    "refill": refill,
                    "accounts_overlay": overlay.liquidated_accounts,
                    "accounts_shadow": shadow.liquidated_accounts,
                    "accounts_ratio": _ratio(overlay.liquidated_accounts, shadow.liquidated_accounts),
                    "notional_overlay": overlay.liquidated_notional,
                    "notional_shadow": shadow.liquidated_notional,
                    "notional_ratio": _ratio(overlay.liquidated_notional, shadow.liquidated_notional),
                }
            )
    return rows


def _ratio(a: int, b: int) -> float | None:
    return round(a / b, 4) if b else None
