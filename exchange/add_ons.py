"""What a portfolio holds beside the worst loss of its stress grid: charges and a minimum of each group. DESIGN §3.17.

Part of the venue's configuration (`exchange/grids.py`), compiled into the kernels' records of the members here.
"""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np

from exchange.errors import ConfigError
from exchange.stages import multiple as stages_multiple
from exchange.terms import MONEY_MAX

if TYPE_CHECKING:
    from exchange.config import Venue

MILLION = 10**6
INITIAL = ("short_option_initial_ppm", "gross_initial_ppm")
CHARGES = ("short_option_ppm", "offset_ppm", "gross_ppm", "depth_ppm", "least_ppm", *INITIAL)
RATES = (*CHARGES, "depth_share_ppm", "depth_band_ppm")

Ppm = Annotated[int, msgspec.Meta(ge=0, le=MILLION)]


class AddOns(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Charges of a group, as shares of values; all 0 unless stated. Holdings pay none.

    `short_option_ppm` of the underlying of the options that are short, net, at each strike and expiry; `offset_ppm` of
    the smaller of what its futures and perpetuals are long and short; `gross_ppm` of both together; `depth_ppm` of
    what they are net, beyond a share of what their books hold on the other side within `depth_band_ppm` of the marks.
    `least_ppm` of all its futures, perpetuals and short options is what is held at least. Initial margin charges short
    options and what is held gross the rates named so besides. All are of values at the mark, or by `price` at the
    index.
    """

    short_option_ppm: Ppm = 0
    offset_ppm: Ppm = 0
    gross_ppm: Ppm = 0
    depth_ppm: Ppm = 0
    depth_share_ppm: Ppm = MILLION
    depth_band_ppm: Ppm = 10_000
    least_ppm: Ppm = 0
    short_option_initial_ppm: Ppm = 0
    gross_initial_ppm: Ppm = 0
    price: Literal["mark", "index"] = "mark"

    def any(self) -> bool:
        """Whether the group has a charge or a minimum."""
        return any(getattr(self, name) for name in CHARGES)

    def steepest_ppm(self) -> int:
        """The most that charges grow by when a contract's notional does."""
        gross_ppm = self.gross_ppm + self.gross_initial_ppm
        return max(self.offset_ppm + gross_ppm + self.depth_ppm, self.least_ppm)


def compile_add_ons(venue: "Venue", add_ons: dict[int, AddOns], members: np.ndarray) -> int:
    """Write the rates, and the strikes of options, into the members' records; returns how many strikes there are."""
    strikes, (factor_ppm, _) = dict[tuple[str, int, Decimal], int](), venue.portfolio_margin.charge_factors_ppm()
    for k, terms in add_ons.items():
        members[k]["lead"] = np.flatnonzero(members["group"] == members[k]["group"])[0]
        if venue.instruments[k].kind == "spot":
            continue
        for name in RATES:
            members[k][name] = getattr(terms, name)
        members[k]["at_index"] = terms.price == "index"
        members[k]["measured"] = terms.depth_ppm > 0 or terms.price == "index"
        if terms.price == "mark":  # else no charge moves with a mark
            members[k]["charge_ppb"] = -(-(terms.offset_ppm + terms.gross_ppm + terms.depth_ppm) * factor_ppm // 1000)
            members[k]["depth_ppb"] = -(-terms.depth_ppm * factor_ppm // 1000)
            members[k]["minimum_ppb"] = -(-terms.least_ppm * factor_ppm // 1000)
        option = venue.instruments[k].option
        if option is not None:
            place = option.underlying, venue.instruments[k].life.expiry_ns, Decimal(option.strike)
            members[k]["strike"] = strikes.setdefault(place, len(strikes) + 1)
    return len(strikes)


def sum_depths(members: np.ndarray) -> None:
    """Sum what the books of each group absorb, at its first member. Mutates the members."""
    for side in ("bids_money", "asks_money"):
        members[f"group_{side}"] = 0
        for group in np.unique(members["group"][members["group"] != 0]):
            mine = np.flatnonzero(members["group"] == group)
            members[f"group_{side}"][mine[0]] = members[side][mine].sum()


def take_indices(members: np.ndarray, markets: np.ndarray) -> None:
    """Take the indices, or without one the marks, of contracts whose charges were not reckoned there before. Mutates
    the members."""
    found = np.where(markets["index_sub"] != 0, markets["index_sub"], markets["mark_sub"])
    fresh = (members["at_index"] != 0) & (members["index_sub"] == 0)
    members["index_sub"][fresh] = found[fresh]


def bound_short(venue: "Venue", terms: AddOns, records: np.ndarray, option: np.void, k: int) -> None:
    """Prove that what is charged for options, of all their lots and orders, stays below 2**62 in every comparison."""
    of = records[int(option["underlying"])]
    highest = int(of["ticks_max"]) * int(of["mark_per_tick"]) * int(option["numerator"]) // int(option["denominator"])
    lots = max(int(records[k]["position_max_lots"]), int(records[k]["order_max_lots"]))
    worth = max(highest, int(option["coin_sub"])) * int(records[k]["mark_unit"]) * lots
    maintained_ppm, initial_ppm = venue.portfolio_margin.charge_factors_ppm()
    compared = max(initial_ppm, maintained_ppm * stages_multiple(venue))
    charged_ppm = terms.short_option_ppm + terms.short_option_initial_ppm + terms.least_ppm
    times = 1 + charged_ppm * compared // MILLION**2
    if terms.any() and worth * 4 * len(records) * times >= MONEY_MAX:
        raise ConfigError(
            f"$.venue.instruments[{k}].position_max",
            f"charges for {lots} short lots may pass 2**62 quanta; a lower limit or a larger quantum would do",
        )
