"""Options of one underlying and expiry taken together in scenarios: discounts and skews, checked and compiled. §3.17.

Part of the venue's configuration (`exchange/grids.py`), compiled into its records there.
"""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np

from exchange.codes import EXPIRY_ROWS, SHOCKS

if TYPE_CHECKING:
    from exchange.config import Venue

MILLION = 10**6
SKEWS = ("", "linear", "absolute")  # by code

Times = Annotated[int, msgspec.Meta(ge=0, le=10 * MILLION)]
Signed = Annotated[int, msgspec.Meta(ge=-20 * MILLION, le=20 * MILLION)]
Ppm = Annotated[int, msgspec.Meta(ge=0, le=MILLION)]


class Discount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What counts in a scenario of what the options of one underlying and expiry are worth together.

    Of a value above zero `long_ppm`, discounted a year by the option's rate, `long_rate_ppm` of it more and
    `long_add_ppm`; of one below zero `short_ppm`, discounted by the rate less `short_rate_ppm` of it and
    `short_add_ppm`, but no more than all.
    """

    long_ppm: Ppm = MILLION
    long_rate_ppm: Times = 0
    long_add_ppm: Times = 0
    short_ppm: Annotated[int, msgspec.Meta(ge=MILLION, le=10 * MILLION)] = MILLION
    short_rate_ppm: Times = 0
    short_add_ppm: Times = 0


class Skew(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far volatilities move by moneyness, k = ln(strike / forward), where a scenario says `linear` or `absolute`.

    By k (or its size) times cap / flat, at most by the cap: cap = the kind's `_cap_ppm` + `_cap_slope_ppm` times the
    root of the years left, and flat, the moneyness at which it is reached, that root times `width_ppm` times
    (`level_ppm` + `level_slope_ppm` times the root), at least `flat_least_ppm`.
    """

    linear_cap_ppm: Times = 0
    linear_cap_slope_ppm: Signed = 0
    absolute_cap_ppm: Times = 0
    absolute_cap_slope_ppm: Signed = 0
    width_ppm: Times = 4 * MILLION
    level_ppm: Times = 600_000
    level_slope_ppm: Signed = 0
    flat_least_ppm: Annotated[int, msgspec.Meta(ge=1, le=10 * MILLION)] = 10_000


NAMES = {"discount": Discount.__struct_fields__, "skew": Skew.__struct_fields__}
FIELDS = [(f"{part}_{name}", "i8") for part, names in NAMES.items() for name in names]


def number_expiries(venue: "Venue", found: dict[str, Any], members: np.ndarray) -> int:
    """Number the underlyings and expiries of the options in groups, from 1; returns how many. Mutates the members."""
    expiries = dict[tuple[str, int], int]()
    for k, instrument in enumerate(venue.instruments):
        if instrument.option is not None and instrument.symbol in found:
            place = instrument.option.underlying, instrument.life.expiry_ns
            members[k]["expiry"] = expiries.setdefault(place, len(expiries) + 1)
    return len(expiries)


def compile_expiries(venue: "Venue", row: np.void, shocks: int, size: int) -> None:
    """Write the terms into the grid's record, and where the work space, of a size so far, and the second half of the
    risk arrays begin. Mutates the record."""
    terms = venue.portfolio_margin
    for part, names in NAMES.items():
        for name in names:
            row[f"{part}_{name}"] = getattr(getattr(terms, part), name)
    row["sums_base"] = size if terms.basis.any() else 0
    if terms.discount != Discount() or any(scenario.skew for scenario in terms.scenarios):
        row["nets_base"], row["long_base"] = size + 2 * int(row["expiries"]), shocks


def expiry_size(row: np.void) -> int:
    """Numbers that the work space holds for the expiries of options: two sums of each for a basis contingency; a mark
    and, a variant, rows of scenarios where options are taken together."""
    nets = 1 + SHOCKS * EXPIRY_ROWS * int(row["scenarios"]) if row["nets_base"] else 0
    return (2 + nets) * int(row["expiries"])
