"""The ledger: the only module that writes money. Every write has its pair, so the total of an asset never changes.

DESIGN §2, rules MON-1, MON-2, MON-4, MON-7, POS-1.
"""

import numpy as np

from exchange.codes import INSURANCE, ISOLATED, RESIDUE
from exchange.core.arith import close_share
from exchange.core.contract import contract_value
from exchange.core.kernel import leaf
from exchange.core.requirement import initial_of


@leaf
def apply_trade(ledger, prices, instrument, p, lots, price_sub, fee):
    """Book one side of a trade on position `p`: entry value, profit, fee, and the isolated margin that goes with it.

    Parameters
    ----------
    p : position slot; lots : signed change; price_sub : price in sub-ticks; fee : money, charged

    Returns
    -------
    int64
        Change of max(position, 0), for open interest.

    Mutates: the position, its wallet, the running balance. The fee is credited by `collect_fee`.
    """
    position = ledger.positions[p]
    wallet = ledger.wallets[np.int64(position["wallet"])]
    before, entry = np.int64(position["lots"]), np.int64(position["entry_value"])
    opened_value, closed, pnl = contract_value(prices, instrument, price_sub, lots), np.int64(0), np.int64(0)
    if before != 0 and (before > 0) != (lots > 0):
        closed = min(abs(lots), abs(before))
        closed_value = opened_value
        if closed != abs(lots):
            closed_value = contract_value(prices, instrument, price_sub, closed if lots > 0 else -closed)
        share = close_share(entry, closed, abs(before))
        pnl = -closed_value - share
        entry -= share
        opened_value -= closed_value
    opens = closed != abs(lots)
    position["lots"] = before + lots
    totals = ledger.totals[np.int64(prices.instruments[instrument]["asset"])]
    totals["balance"] += pnl - fee + np.int64(position["entry_value"]) - entry - opened_value
    if prices.instruments[instrument]["spot"] != 0:  # paid at once
        wallet["cash"] -= opened_value
        opened_value = np.int64(0)
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
            opened, whole = abs(opened_value), abs(entry + opened_value)
            leverage_e2 = np.int64(position["leverage_e2"])
            paid_in = initial_of(prices, instrument, np.int64(0), opened, whole, before + lots, leverage_e2)
            paid_in += max(fee, np.int64(0))
            margin += paid_in - fee
            wallet["cash"] -= paid_in
        position["isolated_margin"] = margin
    else:
        wallet["cash"] += pnl - fee
    return max(before + lots, np.int64(0)) - max(before, np.int64(0))


@leaf
def settle_position(ledger, prices, instrument, p, opposite, price_sub, fee):
    """Close position `p` at a settlement price against `opposite`, EXTERNAL's, which is settled first of all.

    EXTERNAL stands in for those who are not settled yet, its entry value always that of its lots at the price; what
    rounding leaves goes to RESIDUE. Rules MON-1, MON-2 and POS-1 so hold after each position. Returns the profit, and
    the change of open interest. Mutates both positions, their wallets, RESIDUE and the running balance.
    """
    position, other = ledger.positions[p], ledger.positions[opposite]
    lots, entry = np.int64(position["lots"]), np.int64(position["entry_value"])
    value, before = contract_value(prices, instrument, price_sub, lots), np.int64(other["lots"])
    if p == opposite:
        ledger.wallets[np.int64(position["wallet"])]["cash"] += value - entry
        position["entry_value"] = value
        return value - entry, np.int64(0)
    interest = apply_trade(ledger, prices, instrument, p, -lots, price_sub, fee)
    asset, assets = np.int64(prices.instruments[instrument]["asset"]), np.int64(prices.policy[0]["assets"])
    held = contract_value(prices, instrument, price_sub, before + lots)
    rounding = held - np.int64(other["entry_value"]) - value
    other["lots"] = before + lots
    other["entry_value"] = held
    ledger.wallets[RESIDUE * assets + asset]["cash"] += rounding
    ledger.totals[asset]["balance"] -= value
    return value - entry, interest + max(before + lots, np.int64(0)) - max(before, np.int64(0))


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
def pay_taker(ledger, p, other, money):
    """Move `money` (signed) from one position's pocket to another's, of the same asset. Mutates both."""
    move_pocket(ledger, p, -money)
    move_pocket(ledger, other, money)


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
def pay_deficit(ledger, p, assets, asset, money, excess):
    """A position's pocket pays `money` to the insurance fund, and `excess` to RESIDUE. Mutates the three."""
    move_pocket(ledger, p, -money - excess)
    ledger.wallets[INSURANCE * assets + asset]["cash"] += money
    ledger.wallets[RESIDUE * assets + asset]["cash"] += excess


@leaf
def give_up_profit(ledger, p, assets, asset, money):
    """A position gives so much of its profit to the insurance fund: it was entered so much worse. Mutates both."""
    ledger.positions[p]["entry_value"] += money
    ledger.wallets[INSURANCE * assets + asset]["cash"] += money


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


@leaf
def try_position(ledger, p, lots, entry_value):
    """See a position as if it were another; who tries puts it back."""
    ledger.positions[p]["lots"] = lots
    ledger.positions[p]["entry_value"] = entry_value
