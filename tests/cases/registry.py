"""Which adapter takes which case: by category, the inputs that it knows and, where needed, the file."""

from collections.abc import Callable
from typing import Any, NamedTuple

from case_files import Case


class Unsupported(Exception):
    """The product has no such rule; the text says which."""


class Adapter(NamedTuple):
    run: Callable[..., dict[str, Any]]
    category: str
    needs: frozenset[str]
    may: frozenset[str]
    file: str | None


ADAPTERS: list[Adapter] = []

REASONS = {
    "fee_tier": "no fee tiers by volume or stake",
    "liquidation_cascade": "a deficit is borne out of whole profits, not out of what the last settlement to mark gains",
    "rounding": "the value of a trade is rounded once, not for each contract of it, and a rebate down, not up",
}


def adapter(category: str, needs: str, may: str = "", file: str | None = None) -> Callable[..., Any]:
    """Register an adapter for cases of a category with all inputs of `needs` and any of `may` (names in a text)."""

    def register(run: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
        ADAPTERS.append(Adapter(run, category, frozenset(needs.split()), frozenset(may.split()), file))
        return run

    return register


def run_case(case: Case, by_id: dict[str, Case]) -> dict[str, Any]:
    """What the product answers to a case, in the units of its expected values.

    Raises
    ------
    Unsupported
        When no adapter knows the inputs, or the product has no output for an expected field.
    """
    given = frozenset(case.inputs)
    for row in ADAPTERS:
        if (
            row.category == case.category
            and row.file in (None, case.file)
            and row.needs <= given <= row.needs | row.may
        ):
            actual = row.run(case, by_id)
            missing = sorted(set(case.expected).difference(actual))
            if missing:
                raise Unsupported(f"the product has no output for {', '.join(missing)}")
            return actual
    raise Unsupported(REASONS.get(case.category, f"no adapter for inputs {', '.join(sorted(given))}"))
