"""What the venue keeps of an instrument's life."""

from dataclasses import dataclass, field
from typing import Any

from exchange import codes, config


@dataclass(slots=True)
class Life:
    """When an instrument is listed and settled, from the config, then what it was settled at."""

    terms: config.Life
    due: int = 0
    samples_sub: list[int] = field(default_factory=list)
    price_sub: int | None = None


@dataclass(slots=True)
class Option:
    """A European option; prices in the unit of the strike. Premium in base where `coin_sub` sub-ticks are one coin."""

    underlying: int
    is_call: bool
    strike: int
    coin_sub: int
    numerator: int
    denominator: int
    initial_ppm: int
    floor_ppm: int
    maintenance_ppm: int
    rate_ppm: int
    whole_parts: int
    volatility_parts: int = 0
    initial_sub: int = 0
    maintenance_sub: int = 0
    whole_sub: int = 0


def option_of(row: Any) -> Option | None:
    """The option of a compiled record; None of an instrument that is none."""
    names = ("underlying", "strike", "coin_sub", "numerator", "denominator", "initial_ppm", "floor_ppm")
    names = (*names, "maintenance_ppm", "rate_ppm", "whole_parts")
    terms = {name: int(row[name]) for name in names}
    return Option(is_call=row["right"] == codes.CALL, **terms) if row["right"] else None
