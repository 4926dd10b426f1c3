"""The ledger: the only module that writes money. Every write has its pair, so the total of an asset never changes.

DESIGN §2, rules MON-1, MON-2, MON-4, MON-7, POS-1.
"""

import numpy as np

from exchange.codes import INSURANCE, ISOLATED, RESIDUE
from exchange.core.arith import ceil_div, close_share
from exchange.core.contract import trade_value
from exchange.core.kernel import leaf

SAFE_EXPOSURE = 2**62 // 100  # below it one division does


@leaf
def initial_margin(exposure, leverage_e2):
    """ceil(exposure * 100 / leverage_e2), exposure >= 0, without the overflow of exposure * 100."""
    if exposure < SAFE_EXPOSURE:
        return ceil_div(exposure * 100, leverage_e2)
    return exposure // leverage_e2 * 100 + ceil_div(exposure % leverage_e2 * 100, leverage_e2)


@leaf
def apply_trade(ledger, prices, instrument, p, lots, ticks, fee):
    """Book one side of a trade on position `p`: entry value, profit, fee, and the isolated margin that goes with it.

    Parameters
    ----------
    p : position slot; lots : signed change; ticks : price; fee : money, charged

    Returns
    -------
    int64
        Change of max(position, 0), for open interest.

    Mutates: the position, its wallet, the running balance. The fee is credited by `collect_fee`.
    """
    position = ledger.positions[p]
    wallet = ledger.wallets[np.int64(position["wallet"])]
    before, entry = np.int64(position["lots"]), np.int64(position["entry_value"])
    opened_value, closed, pnl = trade_value(prices, instrument, ticks, lots), np.int64(0), np.int64(0)
    if before != 0 and (before > 0) != (lots > 0):
        closed = min(abs(lots), abs(before))
        closed_value = opened_value
        if closed != abs(lots):
            closed_value = trade_value(prices, instrument, ticks, closed if lots > 0 else -closed)
        share = close_share(entry, closed, abs(before))
        pnl = -closed_value - share
        entry -= share
        opened_value -= closed_value
    opens = closed != abs(lots)
    position["lots"] = before + lots
    totals = ledger.totals[np.int64(prices.instruments[instrument]["asset"])]
    totals["balance"] += pnl - fee + np.int64(position["entry_value"]) - entry - opened_value
    position["entry_value"] = entry + opened_value
    if position["mode"] == ISOLATED:
        margin = np.int64(position["isolated_margin"])
        kept_fee = np.int64(0) if opens else fee
        if closed != 0:
            size = abs(before)
            part = margin // size * closed + margin % size * closed // size
            margin += pnl - kept_fee
            release = min(max(part + pnl - kept_fee, np.int64(0)), max(margin, np.int64(0)))
            margin -= release
            wallet["cash"] += release
        if opens:
            paid_in = initial_margin(abs(opened_value), np.int64(position["leverage_e2"])) + max(fee, np.int64(0))
            margin += paid_in - fee
            wallet["cash"] -= paid_in
        position["isolated_margin"] = margin
    else:
        wallet["cash"] += pnl - fee
    return max(before + lots, np.int64(0)) - max(before, np.int64(0))


@leaf
def collect_fee(ledger, w, asset, fee):
    """Credit a fee to a system wallet exactly as charged. Mutates it and the running balance."""
    ledger.wallets[w]["cash"] += fee
    ledger.totals[asset]["balance"] += fee


@leaf
def move_pocket(ledger, p, money):
    """Add money to the pocket of a position: isolated margin, or its wallet's cash. The caller writes the pair."""
    position = ledger.positions[p]
    if position["mode"] == ISOLATED:
        position["isolated_margin"] += money
    else:
        ledger.wallets[np.int64(position["wallet"])]["cash"] += money


@leaf
def pay_residue(ledger, p, assets, asset, money):
    """Pay `money` (signed) to a position's pocket out of RESIDUE. Mutates both. Rule MON-3."""
    move_pocket(ledger, p, money)
    ledger.wallets[RESIDUE * assets + asset]["cash"] -= money


@leaf
def pay_insurance(ledger, p, assets, asset, money):
    """Move `money` from a position's pocket to the insurance fund. Mutates both."""
    move_pocket(ledger, p, -money)
    ledger.wallets[INSURANCE * assets + asset]["cash"] += money


@leaf
def cover_wallet(ledger, w, assets, asset, money):
    """The insurance fund pays `money` into a wallet's cash. Mutates both."""
    ledger.wallets[w]["cash"] += money
    ledger.wallets[INSURANCE * assets + asset]["cash"] -= money


@leaf
def shift_margin(ledger, p, money):
    """Move `money` (signed) from a wallet's cash into the isolated margin of its position. Mutates both."""
    ledger.positions[p]["isolated_margin"] += money
    ledger.wallets[np.int64(ledger.positions[p]["wallet"])]["cash"] -= money


@leaf
def deposit(ledger, w, asset, money):
    """Money enters the venue. Mutates the wallet and the totals."""
    ledger.wallets[w]["cash"] += money
    ledger.wallets[w]["open"] = 1
    ledger.totals[asset]["deposits"] += money
    ledger.totals[asset]["balance"] += money


@leaf
def withdraw(ledger, w, asset, money):
    """Money leaves the venue. Mutates the wallet and the totals."""
    ledger.wallets[w]["cash"] -= money
    ledger.totals[asset]["withdrawals"] += money
    ledger.totals[asset]["balance"] -= money
