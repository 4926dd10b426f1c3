"""Kernels that read what no event reports: margin leaves, called as they are."""

from exchange.core.arith import MILLION
from exchange.core.funding import average_premium, note_premium, per_lot_micro, rate_of, trim_tails
from exchange.core.kernel import entry
from exchange.core.margin import find_position, unit_numbers, unit_of, wallet_margin
from exchange.core.option_grid import shocked, time_factor
from exchange.core.requirement import maintenance, tier_of


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
    return wallet_margin(ledger, prices, wallet, 0, 0, 0, 0)


@entry
def note_samples(prices, premium_ppb, count):
    """Add equal premium samples to the first instrument's interval."""
    for _ in range(count):
        note_premium(prices, 0, premium_ppb)


@entry
def rate_now(prices):
    """Rate that the samples of the first instrument make, in ppb of the stated time."""
    return rate_of(prices, 0, average_premium(prices, 0))


@entry
def lot_payment(prices, price_sub, rate_ppb):
    """What a lot of the first instrument pays at a rate of the stated time, in millionths of a quantum."""
    pricing = prices.pricing[0]
    return per_lot_micro(prices, 0, price_sub, rate_ppb, pricing["share"], pricing["shares"])


@entry
def kept_samples(rows, count, tail_ppm):
    """(first, end) of the rows that an average without tails counts. Mutates the rows."""
    return trim_tails(rows, 0, count, tail_ppm)


@entry
def volatility_moved(prices, left_ns, moved):
    """A volatility of 1 that the grid's whole range moved, at a time to expiry. Mutates the array."""
    grid = prices.grids[0]
    moved[0] = shocked(grid, MILLION, MILLION, MILLION, time_factor(grid, left_ns, MILLION))
