"""What a position must hold by the model of its instrument: maintenance and initial margin, rate by rate."""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from exchange import codes
from exchange.reference.arithmetic import PPM, initial_margin

if TYPE_CHECKING:
    from exchange.reference.records import Contract, Position

PPB = 10**9
PPT = 10**12


class Tier(NamedTuple):
    """Holds from `floor` (money) on."""

    floor: int
    cum: int
    maintenance_ppm: int
    leverage_max_e2: int
    initial_ppm: int


@dataclass(slots=True)
class Model:
    """Terms of an instrument's margin model, and its tier tables; the number of the one in force."""

    kind: int
    at_entry: int
    order_rule: int
    orders_at_mark: int
    closing_fee: int
    at_bankruptcy: int
    by_leverage: int
    fraction_ppm: int
    risk_long_ppb: int
    risk_short_ppb: int
    slippage_ppb: int
    quadratic_ppt: int
    initial_ppm: int
    interest_lower: int
    interest_upper: int
    tables: list[list[Tier]]
    tier_set: int = 0

    @property
    def tiers(self) -> list[Tier]:
        """The tiers in force."""
        return self.tables[self.tier_set]

    def tier_at(self, notional: int) -> Tier:
        """The tier that holds a notional; its edge belongs to it."""
        return next(tier for tier in reversed(self.tiers) if tier.floor <= notional)


def closing_rate(contract: "Contract") -> Fraction:
    """Rate of the fee that maintenance holds for closing the position; a rebate counts as none."""
    if contract.model.closing_fee == codes.CLOSING_NONE:
        return Fraction(0)
    taken = contract.model.closing_fee == codes.CLOSING_TAKER
    return Fraction(max(0, contract.taker_ppm) if taken else contract.liquidation_ppm, PPM)


def risk_rate(contract: "Contract", lots: int) -> Fraction:
    """Risk factor of the side plus slippage; the quadratic part, in ppb, is rounded up."""
    model = contract.model
    factor = model.risk_long_ppb if lots > 0 else model.risk_short_ppb
    quadratic = ceil(Fraction(model.quadratic_ppt * abs(lots), PPT // PPB))
    reserve = Fraction(0) if model.at_bankruptcy else closing_rate(contract)
    return Fraction(factor + model.slippage_ppb + quadratic, PPB) + reserve


def bankruptcy_fee(contract: "Contract", position: "Position") -> int:
    """Fee of closing at the notional b, rounded up, at which pocket + profit = fee, the position alone in its unit."""
    rate = closing_rate(contract)
    if not rate:
        return 0
    sign = 1 if (contract.kind == codes.LINEAR) == (position.lots > 0) else -1  # value = sign * notional
    bankrupt = sign * (position.entry_value - position.unit.pocket) * Fraction(PPM, PPM - sign * int(rate * PPM))
    return ceil(max(0, ceil(bankrupt)) * rate)


def maintenance(contract: "Contract", position: "Position", at_mark: int) -> int:
    """Maintenance margin of a position whose notional at the mark is `at_mark`."""
    model = contract.model
    notional = abs(position.entry_value) if model.at_entry else at_mark
    rate, fee = closing_rate(contract), 0
    if model.at_bankruptcy:
        rate, fee = Fraction(0), bankruptcy_fee(contract, position)
    if model.kind == codes.MARGIN_RISK:
        return fee + ceil(notional * risk_rate(contract, position.lots))
    tier = model.tier_at(notional)
    if model.kind == codes.MARGIN_OF_INITIAL:
        base = ceil(Fraction(notional * tier.initial_ppm, PPM))
        return fee + ceil(Fraction(base * model.fraction_ppm, PPM)) + ceil(notional * rate)
    return fee + ceil(notional * (Fraction(tier.maintenance_ppm, PPM) + rate)) - tier.cum


def initial(contract: "Contract", interest: int, exposure: int, whole: int, lots: int, leverage_e2: int) -> int:
    """Initial margin of an exposure of signed lots: of the leverage or of the model, whichever is more.

    `interest`: open interest at the mark (money); `whole`: the notional whose tier counts.
    """
    model = contract.model
    chosen = initial_margin(exposure, leverage_e2) if model.by_leverage else 0
    if model.kind == codes.MARGIN_PLAIN:
        return chosen
    if model.kind == codes.MARGIN_RISK:
        return max(chosen, ceil(exposure * risk_rate(contract, lots)) * model.initial_ppm // PPM)
    ppm = model.tier_at(whole).initial_ppm
    if model.interest_upper:
        share = Fraction(interest - model.interest_lower, model.interest_upper - model.interest_lower)
        ppm += int((PPM - ppm) * min(Fraction(1), max(Fraction(0), share)))
    return max(chosen, ceil(Fraction(exposure * ppm, PPM)))
