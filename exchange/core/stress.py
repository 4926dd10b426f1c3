"""What units are worth and must hold at other marks, and after a trade at today's. Moves copies alone. DESIGN §10.1."""

import numpy as np

from exchange.codes import MARK_COMPUTED
from exchange.core.arith import fee_of
from exchange.core.contract import mark_value
from exchange.core.grid import grid_leg, in_grid
from exchange.core.index import clip_sub
from exchange.core.kernel import entry, kernel
from exchange.core.ledger import apply_trade, move_pocket
from exchange.core.margin import unit_numbers
from exchange.core.margin_mode import make_risks
from exchange.core.mark import computed_mark
from exchange.core.options import option_terms
from exchange.core.requirement import leg_maintenance
from exchange.core.spot import available_balance


@kernel
def move_marks(state, marks):
    """Put the marks of all instruments; options with a volatility follow their underlyings. Mutates the prices."""
    prices = state.prices
    for k in range(marks.shape[0]):
        prices.markets[k]["mark_sub"] = marks[k]
    for k in range(marks.shape[0]):
        if prices.instruments[k]["option"] != 0:
            option = prices.options[k]
            mark_sub, initial, maintenance, whole = option_terms(
                prices, np.int64(state.io.control[0]["clock_ns"]), k, np.int64(0)
            )
            if mark_sub != 0:
                prices.markets[k]["mark_sub"] = mark_sub
                option["initial_sub"], option["maintenance_sub"], option["whole_sub"] = initial, maintenance, whole
    if prices.grids[0]["holders"] != 0:
        make_risks(prices, state.io)


@entry
def numbers_at(state, units, marks, equity, required):
    """Equity and maintenance of units at the marks of all instruments. Mutates the prices, the two arrays."""
    move_marks(state, marks)
    for k in range(units.shape[0]):
        equity[k], required[k], legs = unit_numbers(state.ledger, state.prices, np.int64(units[k]))


@entry
def position_numbers(state, p):
    """(signed value, maintenance) of a position at the marks; of one in a portfolio what it alone would hold."""
    position = state.ledger.positions[p]
    instrument, lots = np.int64(position["instrument"]), np.int64(position["lots"])
    value = mark_value(state.prices, instrument, lots)
    if lots != 0 and in_grid(state.ledger, state.prices, p):
        return value, grid_leg(state.prices, instrument, lots)
    return value, leg_maintenance(state.ledger, state.prices, p, instrument, abs(value))


@entry
def mark_now(state, instrument):
    """The mark that the rules in force would set now; 0 = it stands. Mutates the prices, scratch."""
    prices, market = state.prices, state.prices.markets[instrument]
    if prices.instruments[instrument]["option"] != 0:
        return np.int64(0)
    if prices.policy[0]["mark_source"] == MARK_COMPUTED or prices.instruments[instrument]["spot"] != 0:
        mark_sub = computed_mark(state.book, prices, state.io, instrument)
    else:
        mark_sub = np.int64(market["recorded_mark_sub"])
        mark_sub = max(np.int64(1), mark_sub + np.int64(market["index_shift_sub"])) if mark_sub != 0 else mark_sub
    return clip_sub(prices, instrument, mark_sub) if mark_sub != 0 else mark_sub


@entry
def trade_at_mark(state, p, lots):
    """Book a trade on a position at today's mark, with the taker's fee. Mutates the ledger. Returns the fee."""
    prices = state.prices
    instrument = np.int64(state.ledger.positions[p]["instrument"])
    fee = fee_of(abs(mark_value(prices, instrument, lots)), np.int64(prices.instruments[instrument]["taker_ppb"]))
    apply_trade(
        state.ledger, prices, instrument, p, lots, np.int64(prices.markets[instrument]["mark_sub"]), np.int64(fee)
    )
    return fee


@entry
def pay_in(state, p, money):
    """Add money to the pocket that a position settles into. Mutates the ledger."""
    move_pocket(state.ledger, p, money)


@entry
def free_balance(state, wallet):
    """What may leave a wallet now."""
    return available_balance(state.ledger, state.prices, wallet)
