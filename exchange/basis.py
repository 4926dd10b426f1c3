"""Basis contingency of portfolio margin: forwards of one expiry that move apart from all others. DESIGN §3.17.

Part of the venue's configuration (`exchange/grids.py`), compiled into its records there.
"""

from typing import Annotated

import msgspec

from exchange.codes import COUNTED_TIMES_MAX
from exchange.errors import ConfigError

MILLION = 10**6
WHERE = "$.venue.portfolio_margin.basis"

Times = Annotated[int, msgspec.Meta(ge=0, le=COUNTED_TIMES_MAX * MILLION)]


class Basis(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far the forward of an expiry moves by itself, `up_ppm` and `down_ppm`, and what of the options' loss counts.

    That is `flat_ppm` and, for each year left, `yearly_ppm` of it, together at most eight times the loss. Volatilities
    stand; nothing offsets from expiry to expiry. No move: none.
    """

    up_ppm: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 0
    down_ppm: Annotated[int, msgspec.Meta(ge=0, le=990_000)] = 0
    flat_ppm: Times = 0
    yearly_ppm: Times = 0

    def any(self) -> bool:
        """Whether forwards move."""
        return self.up_ppm > 0 or self.down_ppm > 0

    def times(self) -> int:
        """The largest multiple of a loss that may count."""
        return COUNTED_TIMES_MAX if self.any() else 1


def check_basis(terms: Basis) -> None:
    """Refuse a move of which nothing counts, and a share of no move."""
    counts = terms.flat_ppm > 0 or terms.yearly_ppm > 0
    if terms.any() and not counts:
        raise ConfigError(f"{WHERE}.flat_ppm", "expected this or yearly_ppm above 0 where up_ppm or down_ppm is")
    if counts and not terms.any():
        raise ConfigError(f"{WHERE}.up_ppm", "expected this or down_ppm above 0 where flat_ppm or yearly_ppm is")
