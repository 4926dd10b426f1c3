"""What positions and orders in options must hold: the standard rule, outside portfolio margin. DESIGN §3.14."""

import numpy as np

from exchange.core.contract import mark_value
from exchange.core.kernel import leaf


@leaf
def option_maintenance(prices, instrument, lots, notional):
    """Maintenance of a position: a long one is no collateral, a short one holds what was last set."""
    if lots > 0:
        return notional
    return (
        np.int64(prices.options[instrument]["maintenance_sub"])
        * np.int64(prices.instruments[instrument]["mark_unit"])
        * -lots
    )


@leaf
def option_initial(prices, position, bid_value, bid_lots, ask_lots):
    """Initial margin of a position with orders: bids beyond a short are paid in full, asks beyond a long are short."""
    instrument, lots = np.int64(position["instrument"]), np.int64(position["lots"])
    money = bid_value if bid_lots > -lots else np.int64(0)
    if lots > 0:
        money += mark_value(prices, instrument, lots)
    short = np.int64(prices.options[instrument]["initial_sub"]) * np.int64(prices.instruments[instrument]["mark_unit"])
    return money + short * max(np.int64(0), ask_lots - lots)


@leaf
def only_closes(position, side_is_bid, lots):
    """Does an order of so many lots open nothing, whatever fills first?"""
    held = np.int64(position["lots"])
    if side_is_bid:
        return np.int64(position["bid_lots"]) + lots <= -held
    return np.int64(position["ask_lots"]) + lots <= held
