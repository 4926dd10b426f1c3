"""What was seeded, in figures."""

from typing import Any

import msgspec
import numpy as np

PPM = 1_000_000
FAR_PPM = 100 * PPM


class Entries(msgspec.Struct, frozen=True):
    """Where entry prices come from; `from_ns` and `to_ns` are 0 where they were read with the accounts."""

    source: str
    from_ns: int = 0
    to_ns: int = 0
    draws: int = 0
    rejected: int = 0  # of the draws: the account would not have survived until seeding
    opened_now: int = 0  # accounts that survived from none of their drawn moments


class InstrumentSummary(msgspec.Struct, frozen=True):
    """Positions of one instrument. Leverage is at entry, its mean weighted by notional, `wished` before the cap."""

    symbol: str
    asset: str
    accounts: int
    longs: int
    isolated: int
    open_interest_lots: int
    open_interest_depth: float  # multiple of the 1 % depth, mean of both sides
    open_interest_money: int
    leverage_long: dict[str, float]
    leverage_short: dict[str, float]
    top_ten_share: float  # of all positions of both sides, hedgers left out
    hedger_share: float  # of the open interest
    scaled_up: float  # factor on the smaller side's sizes
    entries: Entries
    distance_ppm: dict[str, int]  # from the mark to the liquidation price, the other marks standing still
    portfolio: int = 0  # positions of wallets in portfolio mode, whose leverage the grid caps too


class AssetSummary(msgspec.Struct, frozen=True):
    """Accounts of one settlement asset, whose positions share a wallet in cross margin."""

    asset: str
    accounts: int
    by_positions: dict[str, int]  # of them, accounts that hold 1, 2, … positions
    open_interest_money: int
    top_ten_share: float
    deposits_money: int
    fund_money: int
    portfolio: int = 0  # of the accounts: in portfolio mode


class Summary(msgspec.Struct, frozen=True):
    """What was seeded."""

    hedgers: int
    predecessors: int
    instruments: tuple[InstrumentSummary, ...]
    assets: tuple[AssetSummary, ...]


class Positions(msgspec.Struct, frozen=True):
    """What a summary is made of: one row a position of an instrument, those of hedgers apart."""

    account: np.ndarray
    notional: np.ndarray  # signed, at the mark
    leverage_e2: np.ndarray
    wished_e2: np.ndarray
    isolated: np.ndarray
    portfolio: np.ndarray
    distance_ppm: np.ndarray
    hedged_notional: int


def distance_ppm(health: np.ndarray, notional: np.ndarray, tiers: np.ndarray, inverse: bool = False) -> np.ndarray:
    """How far the mark may move against each position, ppm of the mark, in the tier it holds now.

    Notional is above zero for a long. An inverse one grows as the price falls: of a long by 1 / (1 - distance). A short
    of it that no price can liquidate is given `FAR_PPM`.
    """
    size, side = np.maximum(1, np.abs(notional)), np.sign(notional)
    rate = tiers["maintenance_ppm"][np.searchsorted(tiers["floor"], size, side="right") - 1] / PPM
    if not inverse:
        return (health / (size * (1 - side * rate)) * PPM).astype(np.int64)
    change = health / (size * (1 + side * rate))  # of the notional, up for a long and down for a short
    moved = change / np.maximum(PPM / FAR_PPM, 1 + side * change)
    return np.minimum(FAR_PPM, moved * PPM).astype(np.int64)


def summarise_instrument(positions: Positions, **rest: Any) -> InstrumentSummary:
    """Figures of the positions of one instrument; `rest` are the fields that are known without them."""
    long = positions.notional > 0
    spread = np.percentile(positions.distance_ppm, (1, 10, 25, 50, 75, 90))
    return InstrumentSummary(
        accounts=len(positions.account),
        longs=int(long.sum()),
        isolated=int(positions.isolated.sum()),
        portfolio=int(positions.portfolio.sum()),
        leverage_long=_leverage(positions, long),
        leverage_short=_leverage(positions, ~long),
        top_ten_share=_top_ten_share([positions]),
        hedger_share=round(positions.hedged_notional / max(1, rest["open_interest_money"]), 6),
        distance_ppm={f"p{p}": int(value) for p, value in zip((1, 10, 25, 50, 75, 90), spread, strict=True)},
        **rest,
    )


def summarise_asset(parts: list[Positions], **rest: Any) -> AssetSummary:
    """Figures of all positions settled in one asset, by instrument."""
    _, held = np.unique(np.concatenate([part.account for part in parts]), return_counts=True)
    counts, accounts = np.unique(held, return_counts=True)
    in_mode = np.unique(np.concatenate([part.account[part.portfolio] for part in parts]))
    return AssetSummary(
        accounts=len(held),
        portfolio=len(in_mode),
        by_positions={str(count): int(n) for count, n in zip(counts, accounts, strict=True)},
        top_ten_share=_top_ten_share(parts),
        **rest,
    )


def _top_ten_share(parts: list[Positions]) -> float:
    """Share of the ten largest accounts in the value of all positions."""
    _, account = np.unique(np.concatenate([part.account for part in parts]), return_inverse=True)
    by_account = np.sort(np.bincount(account, np.concatenate([np.abs(part.notional) for part in parts])))
    return round(float(by_account[-10:].sum() / by_account.sum()), 6)


def _leverage(positions: Positions, chosen: np.ndarray) -> dict[str, float]:
    if not chosen.any():
        return {}
    leverage, wished = positions.leverage_e2[chosen] / 100, positions.wished_e2[chosen] / 100
    size = np.abs(positions.notional[chosen]).astype(np.float64)
    p50, p80, p99 = (float(x) for x in np.percentile(leverage, (50, 80, 99)))
    return {
        "p50": p50,
        "p80": p80,
        "p99": p99,
        "weighted": round(float((leverage * size).sum() / size.sum()), 3),
        "wished_p80": float(np.percentile(wished, 80)),
        "wished_weighted": round(float((wished * size).sum() / size.sum()), 3),
    }
