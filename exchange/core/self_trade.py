"""Self-trade prevention: who is one owner, which mode an order has, how accounts form a group. DESIGN §3.10."""

import numpy as np

from exchange.codes import (
    BAD_ACCOUNT,
    BAD_GROUP,
    BAD_SELF_TRADE,
    FIRST_USER,
    GROUP_UNCOUNTED,
    OK,
    STP_DECREMENT,
    STP_DEFAULT,
)
from exchange.core.kernel import kernel, leaf
from exchange.core.outbox import answer, refuse

GROUP_MAX = 2**31 - 1


@leaf
def same_owner(ledger, prices, account_a, account_b):
    """Are two accounts one owner: the same one, or both of one group?"""
    group = np.int64(ledger.groups[account_a])
    return account_a == account_b or (group != 0 and group == ledger.groups[account_b])


@leaf
def self_trade_mode(prices, io, instrument, termed):
    """STP_* of the command at work: what its TERMS row says, else the instrument's."""
    if termed and io.held[0]["self_trade"] != STP_DEFAULT:
        return np.int64(io.held[0]["self_trade"])
    return np.int64(prices.instruments[instrument]["self_trade"])


@leaf
def check_self_trade(io):
    """Is the mode of the TERMS row that is held one that exists? Returns a code; mutates nothing."""
    return OK if STP_DEFAULT <= io.held[0]["self_trade"] <= STP_DECREMENT else BAD_SELF_TRADE


@kernel
def set_group(state, event):
    """SET_GROUP: the account is of one owner with all others of its group; 0 takes it out. Mutates groups."""
    account = np.int64(event["account"])
    if account < FIRST_USER or account >= state.prices.policy[0]["accounts"]:
        refuse(state.io, event, BAD_ACCOUNT)
    elif not 0 <= event["qty"] <= GROUP_MAX:
        refuse(state.io, event, BAD_GROUP)
    elif event["qty"] > state.gate.gate[0]["group_max"]:
        refuse(state.io, event, GROUP_UNCOUNTED)
    else:
        state.ledger.groups[account] = np.int64(event["qty"])
        answer(state.io, event, np.int64(event["instrument"]), OK, np.int64(event["price"]), np.int64(event["qty"]))
