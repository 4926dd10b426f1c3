"""The campaign runner: `python -m tests.campaign --minutes N --seed S`, or `--planted` for the planted bugs alone.

The time is split over the parts by weight; what a part leaves is not given on. Exit code 1 on any failure, and when
something that must be reached was not.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable

from tests.campaign import machine, planted, pools, reach, regressions, relations, small, streams
from tests.campaign.report import Budget, Part, table

SHARES = {"streams": 0.34, "small worlds": 0.20, "relations": 0.12, "state machine": 0.18, "pools": 0.04,
          "planted bugs": 0.12}  # regressions and reach run whole, whatever the time
SMALL_PLAN = [*((world, 3) for world in small.WORLDS), *((world, 4) for world in small.WORLDS)]


def parts(seed: int, seconds: float) -> list[Callable[[], Part]]:
    """Every part with its share of the time, cheapest and most telling first."""

    def share(name: str) -> Budget:
        return Budget(seconds * SHARES[name])

    return [
        lambda: regressions.campaign(Budget()),
        lambda: reach.campaign(seed, Budget()),
        lambda: pools.campaign(seed, share("pools")),
        lambda: streams.campaign(seed, share("streams")),
        lambda: relations.campaign(seed, share("relations")),
        lambda: machine.campaign(seed, share("state machine")),
        lambda: small.campaign(seed, share("small worlds"), SMALL_PLAN),
        lambda: planted.campaign(share("planted bugs")),
    ]


def keep(part: Part) -> None:
    """Failing seeds and shrunk cases become regression files."""
    for name, case in part.cases.items():
        print(f"kept as {regressions.save(name, case)}")


def summary(done: list[Part]) -> int:
    """Print the table, what was reached and what failed; the exit code."""
    reached = sum((part.reached for part in done), Counter())
    print(table(done))
    for title, word in (("results", "result "), ("outcomes", "outcome "), ("stops", "stop ")):
        print(f"{title}: " + ", ".join(f"{name.removeprefix(word)} {times}" for name, times in sorted(reached.items())
                                       if name.startswith(word)))
    lost = reach.missing(reached)
    for name in lost:
        print(f"NOT REACHED {name}")
    for name, why in reach.EXEMPT.items():
        print(f"exempt: {name}: {why}")
    failures = [failure for part in done for failure in part.failures]
    for failure in failures:
        print(f"FAIL {failure[:2_000]}")
    print(f"{len(failures)} failures, {len(lost)} not reached")
    return 1 if failures or lost else 0


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--planted", nargs="?", const="", metavar="WORDS",
                        help="every planted bug (or those with these words in their names) from seed 1, nothing else; "
                        "the first failing seeds are written to planted.toml")
    chosen = parser.parse_args()
    print(f"campaign: seed {chosen.seed}, {chosen.minutes:g} minutes", flush=True)
    if chosen.planted is not None:
        named = [bug for bug in planted.bugs() if chosen.planted in bug["name"]]
        part = planted.campaign(Budget(), named, afresh=True)
        print(table([part]), *part.failures, sep="\n")
        return 1 if part.failures else 0
    done = []
    for run in parts(chosen.seed, 60 * chosen.minutes):
        part = run()
        done.append(part)
        keep(part)
        print(f"{part.name}: {part.runs} runs, {part.seconds:.0f} s, {len(part.failures)} failures", flush=True)
    return summary(done)


if __name__ == "__main__":
    sys.exit(main())
