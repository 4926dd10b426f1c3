"""Kernels that read what no event reports: margin leaves, called as they are."""

from exchange.core.kernel import entry
from exchange.core.margin import find_position, maintenance, tier_of, unit_numbers, unit_of, wallet_margin


@entry
def tier_at(prices, instrument, notional):
    """Row in `tiers` of the tier that holds a notional."""
    return tier_of(prices, instrument, notional)


@entry
def maintenance_at(prices, instrument, notional):
    """Maintenance margin of a notional."""
    return maintenance(prices, instrument, notional)


@entry
def position_numbers(ledger, prices, wallet, instrument):
    """(equity, maintenance, legs) of the unit that holds a wallet's position in an instrument."""
    return unit_numbers(ledger, prices, unit_of(ledger, find_position(ledger, wallet, instrument)))


@entry
def margin_of(ledger, prices, wallet):
    """Initial margin that a wallet's positions and orders ask for."""
    return wallet_margin(ledger, prices, wallet, 0, 0, 0)
