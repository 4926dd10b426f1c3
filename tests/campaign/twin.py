"""Kernels and reference side by side: after every command equal outcomes, equal states and a full audit."""

import copy
from collections import Counter
from typing import Any

from exchange import codes, config, schema
from exchange.dump import dump
from exchange.reference.venue import ReferenceVenue
from exchange.venue import Exchange
from tests.differential import first_difference, state_differences

KIND, CODE, FLAGS = (schema.OUTCOME.names.index(name) for name in ("kind", "code", "flags"))


def reach_of(outcomes: list[tuple[int, ...]]) -> Counter:
    """How often each result code, outcome kind and command was seen, by name."""
    reached: Counter = Counter()
    for row in outcomes:
        reached[f"outcome {codes.OUTCOME_NAME[row[KIND]]}"] += 1
        if row[KIND] == codes.RESULT:
            answer = "refused" if row[CODE] >= codes.FIRST_REJECTION else "accepted"
            reached[f"{codes.EVENT_NAME.get(row[FLAGS], 'unknown kind')} {answer}"] += 1
        if row[KIND] == codes.STATE_CHANGE:
            reached[f"state {row[CODE]}"] += 1
        elif row[CODE] or row[KIND] == codes.RESULT:
            reached[f"result {codes.RESULT_NAME[row[CODE]]}"] += 1
    return reached


class Twin:
    """Two venues of one table that are sent the same rows. Raises AssertionError or InvariantError when they part."""

    def __init__(self, table: dict[str, Any]):
        venue = config.build_venue(table)
        self.table = table
        self.core, self.reference = Exchange(venue), ReferenceVenue(venue)
        self.rows: list[dict[str, int]] = []
        self.clock = 10**9
        self.reached: Counter = Counter()

    def send(self, kind: int, **fields: int) -> int:
        """One command at the present time; code of its RESULT, OK where it gives none."""
        row = {"ts_ns": self.clock, "kind": kind, **fields}
        self.rows.append(row)
        events = schema.events(row)
        self.clock = max(self.clock, int(row["ts_ns"]))
        self.core.submit(events)
        self.core.run()
        self.reference.process(events)
        outcomes = self.compare()
        return next((row[CODE] for row in outcomes if row[KIND] == codes.RESULT), codes.OK)

    def settle(self, wait_ns: int = 0) -> list[tuple[int, ...]]:
        """Let time pass and fire every timer due until then."""
        self.clock += wait_ns
        self.core.run(self.clock + 1)
        self.reference.run(self.clock + 1)
        return self.compare()

    def compare(self) -> list[tuple[int, ...]]:
        """Outcomes since the last look, which are equal, as the states are."""
        ours, theirs = self.core.outcomes().tolist(), self.reference.outcomes()
        difference = first_difference(ours, theirs, None)
        assert not difference, difference
        self.core.audit()
        differences = state_differences(dump(self.core.state), self.reference.state())
        assert not differences, "states differ\n" + "\n".join(differences[:12])
        self.reached += reach_of(ours)
        return ours

    def copy(self) -> "Twin":
        """An independent copy of both venues."""
        twin = copy.copy(self)
        twin.core, twin.reference = self.core.copy(), copy.deepcopy(self.reference)
        twin.rows, twin.reached = list(self.rows), Counter(self.reached)
        return twin
