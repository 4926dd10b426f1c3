"""What a position must hold by the model of its instrument: maintenance and initial margin, rate by rate."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from exchange import codes
from exchange.reference.arithmetic import PPB, PPM, ceil_div, initial_margin, ppm_up

if TYPE_CHECKING:
    from exchange.reference.records import Contract, Position

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


def closing_ppm(contract: "Contract") -> int:
    """Rate of the fee that maintenance holds for closing the position; a rebate counts as none."""
    if contract.model.closing_fee == codes.CLOSING_NONE:
        return 0
    taken = contract.model.closing_fee == codes.CLOSING_TAKER
    return max(0, ceil_div(contract.taker_ppb, 1000)) if taken else contract.liquidation_ppm


def risk_ppb(contract: "Contract", lots: int) -> int:
    """Risk factor of the side plus slippage; the quadratic part is rounded up."""
    model = contract.model
    factor = model.risk_long_ppb if lots > 0 else model.risk_short_ppb
    quadratic = ceil_div(model.quadratic_ppt * abs(lots), PPT // PPB)
    reserve = 0 if model.at_bankruptcy else closing_ppm(contract) * (PPB // PPM)
    return factor + model.slippage_ppb + quadratic + reserve


def bankruptcy_fee(contract: "Contract", position: "Position") -> int:
    """Fee of closing at the notional b, rounded up, at which pocket + profit = fee, the position alone in its unit."""
    ppm = closing_ppm(contract)
    if not ppm:
        return 0
    sign = 1 if (contract.kind == codes.LINEAR) == (position.lots > 0) else -1  # value = sign * notional
    bankrupt = ceil_div(sign * (position.entry_value - position.unit.pocket) * PPM, PPM - sign * ppm)
    return ppm_up(max(0, bankrupt), ppm)


def maintenance(contract: "Contract", position: "Position", at_mark: int) -> int:
    """Maintenance margin of a position whose notional at the mark is `at_mark`."""
    model = contract.model
    notional = abs(position.entry_value) if model.at_entry else at_mark
    reserve_ppm, fee = closing_ppm(contract), 0
    if model.at_bankruptcy:
        reserve_ppm, fee = 0, bankruptcy_fee(contract, position)
    if model.kind == codes.MARGIN_RISK:
        return fee + ceil_div(notional * risk_ppb(contract, position.lots), PPB)
    tier = model.tier_at(notional)
    if model.kind == codes.MARGIN_OF_INITIAL:
        base = ppm_up(notional, tier.initial_ppm)
        return fee + ppm_up(base, model.fraction_ppm) + ppm_up(notional, reserve_ppm)
    return fee + ppm_up(notional, tier.maintenance_ppm + reserve_ppm) - tier.cum


def initial(contract: "Contract", interest: int, exposure: int, whole: int, lots: int, leverage_e2: int) -> int:
    """Initial margin of an exposure of signed lots: of the leverage or of the model, whichever is more.

    `interest`: open interest at the mark (money); `whole`: the notional whose tier counts.
    """
    model = contract.model
    chosen = initial_margin(exposure, leverage_e2) if model.by_leverage else 0
    if model.kind == codes.MARGIN_PLAIN:
        return chosen
    if model.kind == codes.MARGIN_RISK:
        return max(chosen, ceil_div(exposure * risk_ppb(contract, lots), PPB) * model.initial_ppm // PPM)
    ppm = model.tier_at(whole).initial_ppm
    if model.interest_upper:
        share = Fraction(interest - model.interest_lower, model.interest_upper - model.interest_lower)
        ppm += int((PPM - ppm) * min(Fraction(1), max(Fraction(0), share)))
    return max(chosen, ppm_up(exposure, ppm))
