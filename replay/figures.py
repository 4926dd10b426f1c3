"""The figures of one run: each a function of the outcome records, vectorised. Money in quanta, marks in sub-ticks."""

from typing import Any

import msgspec
import numpy as np

from exchange import codes, schema

PPM = 1_000_000
_KEPT = (
    codes.FILL,
    codes.MARK_PRICE,
    codes.LIQUIDATION_START,
    codes.LIQUIDATION_FEE,
    codes.TAKEOVER,
    codes.ADL,
    codes.DEFICIT,
    codes.LIQUIDATION_END,
)


class Units(msgspec.Struct, frozen=True):
    """Money of one lot moving one tick, and one sub-tick, by instrument."""

    value: np.ndarray
    mark: np.ndarray

    @classmethod
    def of(cls, instruments: np.ndarray) -> "Units":
        """From the compiled INSTRUMENT records."""
        return cls(instruments["unit_value"].astype(np.int64), instruments["mark_unit"].astype(np.int64))


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What one variant did from seeding to the end."""

    refill: str
    mode: str
    liquidated_accounts: int
    liquidated_through_book: int  # of them, accounts with at least one forced fill
    liquidations: int
    liquidated_notional: int
    forced_lots: int
    forced_notional: int
    forced_slippage: int  # against the mark, positive = worse for the liquidated account
    forced_slippage_ppm: int
    extrapolated_share: float  # of the forced lots, filled in depth that was never recorded
    liquidation_fees: int
    takeover_lots: int
    takeover_notional: int
    adl_closes: int
    adl_notional: int
    deficits: int
    deficit_money: int
    fund_start: int
    fund_end: int
    mark_start: int
    mark_min: int
    mark_max: int
    mark_end: int
    price_move_ppm: int  # of the mark, start to its extreme furthest from the start
    hedger_pnl: int
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


def concatenate(chunks: list[np.ndarray]) -> np.ndarray:
    """One array of all chunks, also of none."""
    return np.concatenate(chunks) if chunks else np.zeros(0, schema.OUTCOME)


def of_kind(outcomes: np.ndarray, kind: int) -> np.ndarray:
    """The outcomes of one kind."""
    return outcomes[outcomes["kind"] == kind]


def notional(outcomes: np.ndarray, units: Units) -> int:
    """Traded value of outcomes whose price is in ticks."""
    return int((np.abs(outcomes["lots"]) * outcomes["price"] * units.value[outcomes["instrument"]]).sum())


def liquidated_accounts(outcomes: np.ndarray) -> int:
    """Different users whose liquidation started."""
    accounts = of_kind(outcomes, codes.LIQUIDATION_START)["account"]
    return len(np.unique(accounts[accounts >= codes.FIRST_USER]))


def liquidations(outcomes: np.ndarray) -> int:
    """Liquidations that started; one account can be liquidated more than once."""
    return int((of_kind(outcomes, codes.LIQUIDATION_START)["account"] >= codes.FIRST_USER).sum())


def forced_fills(outcomes: np.ndarray) -> np.ndarray:
    """Fills of liquidation orders, one record a fill: the liquidated account's."""
    fills = of_kind(outcomes, codes.FILL)
    return fills[(fills["flags"] & (codes.FORCED | codes.MAKER)) == codes.FORCED]


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


def deficits(outcomes: np.ndarray) -> np.ndarray:
    """Losses of users that the fund paid."""
    rows = of_kind(outcomes, codes.DEFICIT)
    return rows[rows["account"] >= codes.FIRST_USER]


def liquidated_notional(outcomes: np.ndarray, units: Units) -> int:
    """Value of users' positions closed by liquidation whichever way: forced fills, takeovers, auto-deleveraging.

    What the fund inherited and passes on by auto-deleveraging was counted when it took it over.
    """
    parts = (forced_fills(outcomes), of_kind(outcomes, codes.TAKEOVER), adl_closes(outcomes))
    return sum(notional(part[part["account"] >= codes.FIRST_USER], units) for part in parts)


def mark_at(outcomes: np.ndarray, seqs: np.ndarray, instrument: int, first_sub: int) -> np.ndarray:
    """The mark that held when each outcome number was made."""
    marks = of_kind(outcomes, codes.MARK_PRICE)
    marks = marks[marks["instrument"] == instrument]
    prices = np.concatenate(([first_sub], marks["price"]))
    return prices[np.searchsorted(marks["seq"], seqs, side="right")]


def forced_slippage(outcomes: np.ndarray, units: Units, first_sub: np.ndarray) -> tuple[int, int]:
    """Loss of forced fills against the mark of their moment, and the value of the same lots at it."""
    fills = forced_fills(outcomes)
    loss = value = 0
    for instrument in range(len(units.value)):
        own = fills[fills["instrument"] == instrument]
        mark = (
            mark_at(outcomes, own["seq"], instrument, int(first_sub[instrument])) * units.mark[instrument] * own["lots"]
        )
        traded = own["price"] * units.value[instrument] * own["lots"]
        loss += int(np.where(own["flags"] & codes.SELL, mark - traded, traded - mark).sum())
        value += int(mark.sum())
    return loss, value


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


def compute_figures(outcomes: np.ndarray, units: Units, first_sub: np.ndarray, rest: dict[str, Any]) -> Figures:
    """All figures of a variant; `rest` are those that come from the venue's state instead."""
    loss, value = forced_slippage(outcomes, units, first_sub)
    start = int(first_sub[0])
    low, high, end = mark_range(outcomes, 0, start)
    furthest = low if start - low >= high - start else high
    forced, takeovers, closes = forced_fills(outcomes), of_kind(outcomes, codes.TAKEOVER), adl_closes(outcomes)
    paid = deficits(outcomes)
    return Figures(
        liquidated_accounts=liquidated_accounts(outcomes),
        liquidated_through_book=liquidated_through_book(outcomes),
        liquidations=liquidations(outcomes),
        liquidated_notional=liquidated_notional(outcomes, units),
        forced_lots=int(forced["lots"].sum()),
        forced_notional=notional(forced, units),
        forced_slippage=loss,
        forced_slippage_ppm=loss * PPM // value if value else 0,
        extrapolated_share=extrapolated_share(outcomes),
        liquidation_fees=int(of_kind(outcomes, codes.LIQUIDATION_FEE)["money"].sum()),
        takeover_lots=int(np.abs(takeovers["lots"]).sum()),
        takeover_notional=notional(takeovers, units),
        adl_closes=len(closes),
        adl_notional=notional(closes, units),
        deficits=len(paid),
        deficit_money=-int(paid["money"].sum()),
        mark_start=start,
        mark_min=low,
        mark_max=high,
        mark_end=end,
        price_move_ppm=(furthest - start) * PPM // max(1, start),
        **rest,
    )


def amplification(figures: tuple[Figures, ...]) -> list[dict[str, Any]]:
    """Overlay over shadow for each refill model that ran in both; None where shadow has nothing to divide by."""
    rows = []
    for refill in dict.fromkeys(f.refill for f in figures):
        modes = {f.mode: f for f in figures if f.refill == refill}
        if {"overlay", "shadow"} <= modes.keys():
            overlay, shadow = modes["overlay"], modes["shadow"]
            rows.append(
                {
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
