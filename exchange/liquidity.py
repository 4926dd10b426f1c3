"""How recorded liquidity answers simulated flow: refill of eaten depth, price impact, queue position. DESIGN §3.3.

Part of the venue's configuration (`exchange/config.py`), compiled to the kernels' records here.
"""

from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np

from exchange import codes, units
from exchange.errors import ConfigError

if TYPE_CHECKING:
    from exchange.config import Venue

PPB = 10**9
IMPACT = np.dtype(  # one an instrument: its terms from the config, then its state
    [
        ("volume_lots", "i8"),  # what the coefficients are stated for; 0 = no impact
        ("permanent_ppm", "i8"),
        ("decaying_ppm", "i8"),
        ("keep_ppb", "i8"),  # of the decaying flow, per period
        ("period_ns", "i8"),
        ("square_root", "i4"),
        ("forced_only", "i4"),
        ("flow_lots", "i8"),  # executed by simulated takers since the last tick, bought minus sold
        ("permanent_mlots", "i8"),  # all that was executed before it, in thousandths of a lot
        ("decaying_mlots", "i8"),  # the same, decayed
        ("ticks", "i8"),  # impact's part of the market's shift
        ("timer", "i8"),
    ],
    align=True,
)
VOLUME_MAX = 2**40  # lots: with it every product of core/impact.py stays below 2**62

Coefficient = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Step = Annotated[int, msgspec.Meta(ge=1_000_000, le=10**17)]


class Depth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When recorded size that simulated takers ate comes back: at the level's next update, by half-lives, or never."""

    refill: Literal["none", "decay", "persistent"] = "none"
    half_life_ns: Annotated[int, msgspec.Meta(ge=8, le=10**17)] = 10_000_000_000


class Impact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far the recorded quotes move after what simulated takers executed; the coefficients are stated for `volume`.

    `volume` is decimal text in units of the contract, such as a day's volume; with `decaying_ppm` = the day's
    volatility and `shape` square_root the decaying part is the square-root law. `shape` is that of the decaying part:
    the permanent part is always linear, or round trips would move the price. `flow` forced counts liquidation orders
    alone.
    """

    model: Literal["none", "shift"] = "none"
    shape: Literal["linear", "square_root"] = "linear"
    flow: Literal["all", "forced"] = "all"
    volume: str = ""
    permanent_ppm: Coefficient = 0
    decaying_ppm: Coefficient = 0
    half_life_ns: Step = 60_000_000_000
    period_ns: Step = 100_000_000


class Queue(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where recorded size that comes or goes stands against a simulated order of its level."""

    model: Literal["whole_level", "risk_averse", "proportional", "power"] = "whole_level"
    exponent: Annotated[int, msgspec.Meta(ge=2, le=6)] = 3  # of `power`


def compile_depth(row: np.void, depth: Depth, queue: Queue) -> None:
    """Write the refill and queue fields of the policy record."""
    refills = {"none": codes.REFILL_NONE, "decay": codes.REFILL_DECAY, "persistent": codes.REFILL_PERSISTENT}
    row["refill"] = refills[depth.refill]
    row["refill_period_ns"] = depth.half_life_ns // codes.REFILL_STEPS_PER_HALF_LIFE
    models = {"whole_level": codes.QUEUE_WHOLE_LEVEL, "risk_averse": codes.QUEUE_RISK_AVERSE}
    row["queue"] = models.get(queue.model, codes.QUEUE_POWER)
    row["queue_exponent"] = queue.exponent if queue.model == "power" else 1


def compile_impacts(venue: "Venue") -> np.ndarray:
    """One impact record an instrument. A run without feedback (shadow) has none of this feedback either."""
    impacts = np.zeros(len(venue.instruments), IMPACT)
    for k, instrument in enumerate(venue.instruments):
        where = "$.venue.impact" if instrument.impact is None else f"$.venue.instruments[{k}].impact"
        _compile_impact(impacts[k], instrument.impact or venue.impact, units.decimal(instrument.lot), where)
    return np.zeros_like(impacts) if venue.liquidation.mode == "shadow" else impacts


def _compile_impact(row: np.void, impact: Impact, lot: Decimal, where: str) -> None:
    if impact.model == "none":
        return
    try:
        volume = units.floor_count(units.decimal(impact.volume), lot)
    except ValueError as error:
        raise ConfigError(f"{where}.volume", f"{error}; expected a quantity such as a day's volume") from None
    if not 1 <= volume < VOLUME_MAX:
        raise ConfigError(f"{where}.volume", f"{impact.volume} is {volume} lots; expected 1..2**40 - 1")
    if impact.permanent_ppm == impact.decaying_ppm == 0:
        raise ConfigError(f"{where}.decaying_ppm", "a shift needs permanent_ppm or decaying_ppm above 0")
    if impact.period_ns > impact.half_life_ns:
        raise ConfigError(f"{where}.period_ns", "must not be longer than half_life_ns")
    row["volume_lots"], row["period_ns"] = volume, impact.period_ns
    row["permanent_ppm"], row["decaying_ppm"] = impact.permanent_ppm, impact.decaying_ppm
    row["keep_ppb"] = keep_ppb(impact.period_ns, impact.half_life_ns)
    row["square_root"], row["forced_only"] = impact.shape == "square_root", impact.flow == "forced"


def keep_ppb(period_ns: int, half_life_ns: int) -> int:
    """What is left after one period: floor of 10**9 * 2**(-period / half-life)."""
    with localcontext() as context:
        context.prec = 40
        return int(PPB * Decimal(2) ** (-Decimal(period_ns) / Decimal(half_life_ns)))
