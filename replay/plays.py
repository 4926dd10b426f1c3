"""Which sessions a scenario is made of, and what its headline is with other truncations of the account sizes."""

from typing import Any

import msgspec

from replay import figures
from replay.figures import Figures, Totals
from replay.scenario import Scenario
from replay.summary import Summary


class Variant(msgspec.Struct, frozen=True):
    """One run of several: the refill model of eaten depth, and whether forced flow touches the book."""

    refill: str
    mode: str

    @property
    def label(self) -> str:
        """A name for tables and progress."""
        return f"{self.refill} {self.mode}"


def variants_of(scenario: Scenario) -> tuple[Variant, ...]:
    """The cross product, refill models outside."""
    return tuple(Variant(refill, mode) for refill in scenario.run.refills for mode in scenario.run.modes)


class Play(msgspec.Struct, frozen=True):
    """One session to run; `number` is the variant's, None where only the headline is wanted."""

    scenario: Scenario
    variant: Variant
    number: int | None


class Played(msgspec.Struct, frozen=True):
    """What one session gave: figures by instrument, totals by settlement asset, what was seeded."""

    figures: tuple[Figures, ...]
    totals: tuple[Totals, ...]
    summary: Summary | None


def plays_of(scenario: Scenario) -> list[Play]:
    """The scenario's variants, then the first refill model in both modes with the truncation halved and doubled.

    Accounts that are read from a file have no truncation, and a single mode has no headline.
    """
    run, people = scenario.run, scenario.population
    plays = [Play(scenario, variant, k) for k, variant in enumerate(variants_of(scenario))]
    if run.sensitivity and len(run.modes) == 2 and people is not None and not people.accounts_from:
        for truncation in (people.size_truncation // 2, people.size_truncation * 2):
            drawn = msgspec.structs.replace(people, size_truncation=truncation)
            changed = msgspec.structs.replace(scenario, population=drawn)
            plays += [Play(changed, Variant(run.refills[0], mode), None) for mode in run.modes]
    return plays


def sensitivity(plays: list[Play], played: list[Played]) -> list[dict[str, Any]]:
    """Headline of the first refill model by settlement asset and size truncation, smallest first."""
    by_truncation: dict[int, list[Played]] = {}
    for play, made in zip(plays, played, strict=True):
        if play.variant.refill == plays[0].variant.refill:
            by_truncation.setdefault(play.scenario.population.size_truncation, []).append(made)
    return [
        {"size_truncation": truncation, "top_ten_share": own.top_ten_share} | row
        for truncation, made in sorted(by_truncation.items())
        for own in made[0].summary.assets
        for row in figures.amplification([total for one in made for total in one.totals if total.asset == own.asset])
    ]
