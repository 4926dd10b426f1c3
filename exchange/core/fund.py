"""What the insurance fund takes over and pays for in a liquidation. DESIGN §4; rule MON-5."""

import numpy as np

from exchange.codes import DEFICIT, INSURANCE, LINEAR, TAKEOVER
from exchange.core.arith import ceil_div
from exchange.core.contract import mark_value, trade_value
from exchange.core.guards import touch
from exchange.core.kernel import leaf
from exchange.core.ledger import cover_wallet, pay_insurance
from exchange.core.margin import insurance_position, unit_account, unit_pocket
from exchange.core.match import book_trade
from exchange.core.outbox import emit
from exchange.core.plan import instrument_label, liquidation_id_of


@leaf
def give_to_fund(state, unit, p, lots, fund_equity):
    """The fund takes `lots` (signed like the position) at the bankruptcy price."""
    instrument, ticks = (
        np.int64(state.ledger.positions[p]["instrument"]),
        np.int64(state.ledger.legs[p]["bankruptcy_ticks"]),
    )
    book_trade(state, instrument, p, -lots, ticks, 0, 0)
    book_trade(state, instrument, insurance_position(state.prices, instrument), lots, ticks, 0, 0)
    emit(
        state.io,
        TAKEOVER,
        0,
        instrument,
        unit_account(state.ledger, state.prices, unit),
        INSURANCE,
        0,
        ticks,
        lots,
        fund_equity,
        0,
        liquidation_id_of(state.ledger, unit),
    )


@leaf
def fund_unit(prices, instrument):
    """INSURANCE's wallet in an instrument's settlement asset."""
    return INSURANCE * np.int64(prices.policy[0]["assets"]) + np.int64(prices.instruments[instrument]["asset"])


@leaf
def affordable_lots(prices, instrument, lots, ticks, fund_equity):
    """How much of a leg the fund's equity can take at `ticks`, losing the difference to the mark."""
    loss = trade_value(prices, instrument, ticks, lots) - mark_value(prices, instrument, lots)
    if prices.instruments[instrument]["kind"] != LINEAR:
        fund_equity -= 1  # values are rounded: a position of both is worth up to a quantum less than each
    fund_equity = max(np.int64(0), fund_equity)
    return abs(lots) if loss <= fund_equity else fund_equity // ceil_div(loss, abs(lots))


@leaf
def cover_shortfall(state, unit, liquidation_id):
    """A flat unit whose pocket is negative is paid out by the fund, on the record. Mutates both."""
    ledger, prices = state.ledger, state.prices
    short = unit_pocket(ledger, unit)
    assets = np.int64(prices.policy[0]["assets"])
    if unit < 0:
        asset = np.int64(ledger.positions[-unit]["wallet"]) % assets
        pay_insurance(ledger, -unit, assets, asset, short)
    else:
        asset = unit % assets
        cover_wallet(ledger, unit, assets, asset, -short)
    touch(ledger, state.io, INSURANCE * assets + asset)
    emit(
        state.io,
        DEFICIT,
        0,
        instrument_label(ledger, unit),
        unit_account(ledger, prices, unit),
        INSURANCE,
        0,
        0,
        0,
        short,
        0,
        liquidation_id,
    )
