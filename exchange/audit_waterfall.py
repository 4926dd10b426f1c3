"""What the insurance funds remember, and owe, recomputed, and what works positions off. MON-8, BKS-1 of DESIGN §5."""

import numpy as np

from exchange import codes
from exchange.errors import InvariantError
from exchange.state import State


def check_waterfall(state: State) -> None:
    """A fund remembers what its rules need and nothing else, and owes no more than nobody was left to bear."""
    for asset, (rules, fund) in enumerate(zip(state.prices.waterfalls, state.ledger.funds, strict=True)):
        where = f"asset {asset}: fund {fund}"
        _require(min(int(fund["used"]), int(fund["uncovered"])) >= 0, where)
        _require(bool(rules["interval_ns"]) or not fund["used"], where + " counts uses without a bound")
        _require(rules["trigger"] == codes.ADL_DRAWDOWN or not fund["window"], where + " keeps a peak")
        _require(rules["trigger"] == codes.ADL_EQUITY or not fund["deleveraging"], where + " stands back")
        wallet = state.ledger.wallets[codes.INSURANCE * len(state.ledger.funds) + asset]
        if rules["socialise"] and wallet["stage"] == codes.STAGE_NONE and not _is_open(state, asset):
            _require(-int(wallet["cash"]) <= fund["uncovered"], f"{where} owes {-int(wallet['cash'])}")


def check_disposals(state: State) -> None:
    """Where positions are worked off the timer that is noted is set, and a fund that does so itself has one."""
    timers, prices = state.io.timers[1 : int(state.io.control[0]["timer_count"]) + 1], state.prices
    due = timers["unit"][timers["kind"] == codes.DISPOSE].tolist()
    noted = np.flatnonzero(prices.markets["disposal_timer"]).tolist()
    _require(sorted(due) == noted, f"timers of {sorted(due)}, noted of {noted}", "BKS-1")
    rules = prices.waterfalls[prices.instruments["asset"]]
    _require(bool(np.all(rules["disposal_ns"][noted] != 0)), f"instruments {noted}: nothing works off", "BKS-1")
    held = state.ledger.positions[1 + len(rules) :][: len(rules)]["lots"] != 0
    its_own = (rules["backstop"] == 0) & (rules["disposal_ns"] != 0) & (prices.instruments["spot"] == 0)
    left = np.flatnonzero(held & its_own).tolist()
    _require(set(left) <= set(noted), f"the fund holds lots of {left}, timers of {noted}", "BKS-1")


def _require(holds: bool, where: str, rule: str = "MON-8") -> None:
    if not holds:
        raise InvariantError(f"{rule} does not hold: {where}")


def _is_open(state: State, asset: int) -> bool:
    """Whether the fund's debt is not its last word: a deficit is being shared, it holds something, or was settled."""
    instruments = state.prices.instruments["asset"] == asset
    held = state.ledger.positions[1 + len(instruments) :][: len(instruments)]["lots"]
    settled = state.prices.lives["priced"] != 0
    return bool(state.io.control[0]["sweep_next"]) or bool(np.any(instruments & ((held != 0) | settled)))
