"""What the campaign reached: every code, outcome, command, stop, and branch of the loop, liquidations and triggers.

Branches are measured on interpreted kernels in a process of its own: each `if`, `elif` and `while` of the traced files
must be seen both ways. Conditional expressions and the parts of `and` and `or` are not told apart.
"""

import ast
import itertools
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from exchange import codes
from exchange.core import liquidation, loop, triggers, waiting
from exchange.errors import InvariantError
from exchange.venue import Exchange
from tests.campaign.report import Budget, Part
from tests.campaign.streams import differ, make
from tests.campaign.twin import Twin
from tests.campaign.waterfall import more_counterparties_than_one_step_closes, worlds
from tests.campaign_events import make_venue
from tests.desk import FIRST, venue_table

ROOT = Path(__file__).parents[2]
TRACED = {module.__file__: module.__name__.rsplit(".", 1)[1] for module in (loop, liquidation, triggers, waiting)}
STREAMS = ("plain", "swarm", "plain", "swarm", "plain", "swarm")
SELDOM = {"a gateway queue": lambda venue: venue.gateway.service_ns, "throttles": lambda venue: venue.throttles}
EVENTS = 1_500
STOPS = {codes.DONE: "DONE", codes.NEED_INPUT: "NEED_INPUT", codes.OUTBOX_FULL: "OUTBOX_FULL", codes.BROKEN: "BROKEN"}
SILENT = ("LEVEL_SET", "TRADE_PRINT", "BOOK_CLEAR", "INDEX", "MARK", "FUNDING_RATE", "FUNDING_SETTLE", "SHIFT",
          "VOLATILITY")
INTERNAL = ("MARK_TICK", "REFILL_TICK", "LIQUIDATE", "IMPACT_TICK", "EXPIRE", "TRIGGER", "AUCTION_TICK",
            "GATEWAY_TICK", "ENGINE_RESUME", "LIFE_TICK", "FUNDING_TICK", "OPTION_TICK", "CONVERT", "STAGE_TICK",
            "DISPOSE")
COMMANDS = {kind: name for kind, name in codes.EVENT_NAME.items() if kind != codes.TERMS}  # that one has no answer
UNMOVED = (codes.BOOK_CLEAR, codes.HALT, codes.RESUME)  # they look at nothing but the instrument
EXEMPT = {
    "branch liquidation.take_over_leg: p == 0: yes": "nothing but its own liquidation closes a leg under liquidation",
    "branch liquidation.liquidate: stage == STAGE_ADL: no": "a unit at stage NONE has no timer",
}


def required() -> list[str]:
    """Everything that a campaign must reach, by name. Silent kinds answer only when refused: a branch says they ran."""
    wanted = [f"result {name}" for name in codes.RESULT_NAME.values()]
    wanted += [f"outcome {name}" for name in codes.OUTCOME_NAME.values()]
    wanted += [f"stop {name}" for name in STOPS.values()]
    wanted += [f"{name} refused" for name in COMMANDS.values()]
    wanted += [f"{name} accepted" for name in COMMANDS.values() if name not in SILENT + INTERNAL]
    return wanted + [f"branch {name}" for name, *_ in branches()]


def branches() -> Iterator[tuple[str, str, range, int, bool]]:
    """(name, file, lines of the test, first line of the body, way) of each branch of the traced files, both ways."""
    for file, short in TRACED.items():
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
        for function in [node for node in tree.body if isinstance(node, ast.FunctionDef)]:
            for node in ast.walk(function):
                if isinstance(node, ast.If | ast.While) and not isinstance(node.test, ast.Constant):
                    lines = range(node.test.lineno, (node.test.end_lineno or node.test.lineno) + 1)
                    for way in (True, False):
                        name = f"{short}.{function.name}: {ast.unparse(node.test)}: {'yes' if way else 'no'}"
                        yield name, file, lines, node.body[0].lineno, way


class Tracer:
    """Counts, in the traced files, the steps from line to line and the stop codes of `run`."""

    def __init__(self) -> None:
        self.steps: Counter = Counter()
        self.stops: Counter = Counter()

    def __call__(self, frame: FrameType, event: str, value: Any) -> Any:
        file = frame.f_code.co_filename
        if file not in TRACED:
            return None
        before = frame.f_lineno

        def follow(frame: FrameType, event: str, value: Any) -> Any:
            nonlocal before
            line = frame.f_lineno if event == "line" else 0
            self.steps[file, before, line] += 1
            before = line
            if event == "return" and frame.f_code.co_name == "run":
                self.stops[f"stop {STOPS[int(value)]}"] += 1
            return follow

        return follow

    def reached(self) -> Counter:
        """Times each branch went each way, and each stop code."""
        found = Counter(self.stops)
        for name, file, lines, body, way in branches():
            for (where, before, line), times in self.steps.items():
                if where == file and before in lines and line not in lines and (line == body) == way:
                    found[f"branch {name}"] += times
        return found


def every_kind_refused() -> Counter:
    """Each kind of event in a form that must be refused."""
    twin = Twin(venue_table())
    twin.send(codes.DEPOSIT, account=FIRST, qty=10**6)
    for kind in COMMANDS:
        assert twin.send(kind, instrument=99, account=0) >= codes.FIRST_REJECTION
        assert twin.send(kind, price=2**40, qty=-1) >= codes.FIRST_REJECTION or kind in UNMOVED
    twin.send(codes.FUNDING_SETTLE, price=1)  # no mark yet: nothing to pay
    return twin.reached


def a_stop_beside_a_source_without_a_price() -> Counter:
    """A stop waits for the mark where no index is known and nothing was traded yet."""
    twin = Twin(venue_table())
    twin.send(codes.DEPOSIT, account=FIRST, qty=10**6)
    twin.send(codes.MARK, price=10_000)
    assert twin.send(codes.NEW, account=FIRST, order_id=1, side=codes.ASK, price=900, qty=1,
                     trigger=codes.TRIGGER_MARK, trigger_ticks=950) == codes.PARKED_ORDER
    twin.send(codes.MARK, price=9_000)
    twin.settle()
    assert twin.reached["outcome TRIGGERED"]
    return twin.reached


def pegged_orders_that_come_back_to_nothing() -> Counter:
    """In a halt they wait, their owners take their money out, and when they come back they are refused.

    One was filled in part before; one has a partner, which it takes along.
    """
    twin = Twin(venue_table(instrument={"pegged": True}))
    maker, owner, other = FIRST, FIRST + 1, FIRST + 2
    for account in (maker, owner, other):
        twin.send(codes.DEPOSIT, account=account, qty=10**6)
    twin.send(codes.MARK, price=10_000)
    twin.send(codes.NEW, account=maker, order_id=1, side=codes.BID, price=990, qty=5)
    twin.send(codes.NEW, account=maker, order_id=2, side=codes.ASK, price=1_010, qty=5)
    for account, order_id in ((owner, 3), (other, 4)):
        assert twin.send(codes.NEW, account=account, order_id=order_id, side=codes.BID, price=1_200, qty=4,
                         peg=codes.PEG_BEST, offset_ticks=-order_id) == codes.RESTING
    assert twin.send(codes.NEW, account=owner, order_id=5, side=codes.BID, price=900, qty=1,
                     link_id=3) == codes.RESTING
    assert twin.send(codes.NEW, account=maker, order_id=6, side=codes.ASK, price=994, qty=1) == codes.FILLED
    twin.send(codes.HALT)
    for account, money in itertools.product((owner, other), (10**5, 10**4, 10**3)):
        while twin.send(codes.WITHDRAW, account=account, qty=money) == codes.OK:
            pass
    twin.send(codes.RESUME)
    twin.settle()
    assert twin.reached["result INSUFFICIENT_MARGIN"] == 2 and twin.reached["result CANCELLED_BY_LINK"] == 1
    return twin.reached


def a_pegged_order_filled_in_part_that_comes_back() -> Counter:
    """In a halt it waits; afterwards the rest of it is in the book again, and what was filled is still known."""
    twin = Twin(venue_table(instrument={"pegged": True}))
    maker, owner, taker = FIRST, FIRST + 1, FIRST + 2
    for account in (maker, owner, taker):
        twin.send(codes.DEPOSIT, account=account, qty=10**6)
    twin.send(codes.MARK, price=10_000)
    twin.send(codes.NEW, account=maker, order_id=1, side=codes.BID, price=990, qty=5)
    twin.send(codes.NEW, account=maker, order_id=2, side=codes.ASK, price=1_010, qty=5)
    twin.send(codes.NEW, account=maker, order_id=5, side=codes.BID, price=980, qty=5)
    assert twin.send(codes.NEW, account=owner, order_id=3, side=codes.BID, price=1_200, qty=4,
                     peg=codes.PEG_BEST, offset_ticks=0) == codes.RESTING
    assert twin.send(codes.NEW, account=taker, order_id=4, side=codes.ASK, price=990, qty=6) == codes.FILLED
    twin.send(codes.HALT)
    twin.send(codes.RESUME)
    twin.settle()
    assert twin.reached["outcome TRIGGERED"]
    return twin.reached


def a_liquidation_that_joins_an_auction() -> Counter:
    """Its order rests in the auction at the bankruptcy price, and its end trades it."""
    twin = Twin(venue_table(liquidation={"in_auction": "join"}))
    long, short = FIRST, FIRST + 1
    twin.send(codes.DEPOSIT, account=long, qty=6_000)
    twin.send(codes.DEPOSIT, account=short, qty=10**6)
    twin.send(codes.MARK, price=10_000)
    twin.send(codes.NEW, account=short, order_id=1, side=codes.ASK, price=1_000, qty=1)
    assert twin.send(codes.NEW, account=long, order_id=2, side=codes.BID, price=1_000, qty=1) == codes.FILLED
    twin.send(codes.AUCTION_START)
    twin.send(codes.MARK, price=9_450)
    twin.settle()
    assert twin.reached["outcome LIQUIDATION_ORDER"]
    twin.send(codes.NEW, account=short, order_id=3, side=codes.BID, price=960, qty=1)
    twin.send(codes.AUCTION_END)
    twin.settle()
    assert twin.reached["outcome AUCTION"]
    return twin.reached


def a_command_in_the_gateway_of_a_paused_engine() -> Counter:
    """Data passes, other commands are refused; this one is carried out when the engine is back."""
    twin = Twin(venue_table(gateway={"service_ns": 1_000, "depth": 2}))
    twin.send(codes.DEPOSIT, account=FIRST, qty=10**6)
    twin.send(codes.MARK, price=10_000)
    assert twin.send(codes.ENGINE_PAUSE, qty=50_000) == codes.OK
    twin.send(codes.NEW, account=FIRST, order_id=1, side=codes.BID, price=990, qty=1)
    assert twin.send(codes.DEPOSIT, account=FIRST, qty=1) == codes.ENGINE_PAUSED
    twin.send(codes.MARK, price=9_990, ts_ns=twin.clock + 100_000)
    twin.settle()
    assert twin.reached["result RESTING"] == 1
    return twin.reached


def rare_stops(seed: int) -> None:
    """DONE with events left, OUTBOX_FULL by an outbox nobody drains, BROKEN by a position out of nowhere."""
    venue, events = make("plain", seed, 200)
    exchange = Exchange(venue)
    exchange.submit(events)
    assert exchange.run(int(events["ts_ns"][60])) == codes.DONE
    exchange.state.io.control["outbox_count"] = len(exchange.state.io.outbox) - 1
    exchange.run()
    for damage in (exchange.state.prices.markets["net_lots"], exchange.state.ledger.totals["balance"]):
        damage += 1
        exchange.submit(events[-1:])
        try:
            exchange.run()
        except InvariantError:
            damage -= 1
            continue
        raise AssertionError("a broken sum did not stop the loop")


def _long_of_ten(*stages: dict[str, Any]) -> Twin:
    """Somebody long of ten lots from 1,000 with a tenth of that; two others are rich."""
    twin = Twin(venue_table(liquidation={"stages": list(stages)}))
    for account, money in ((FIRST, 100_000), (FIRST + 1, 10**8), (FIRST + 2, 10**8)):
        twin.send(codes.DEPOSIT, account=account, qty=money)
    twin.send(codes.MARK, price=10_000)
    twin.send(codes.OPEN_POSITION, account=FIRST, order_id=FIRST + 1, price=1_000, qty=10)
    return twin


def an_auction_that_finds_a_taker() -> Counter:
    """It takes what brings the unit to its exit; then nothing is on offer."""
    twin = _long_of_ten({"below_ppm": 1_000_000, "action": "auction", "concession_ppm": [[0, 50_000]],
                         "duration_ns": 10**10, "period_ns": 10**9})
    twin.send(codes.MARK, price=9_050)
    twin.settle()
    assert twin.send(codes.TAKE, account=FIRST + 2, order_id=FIRST, qty=10) == codes.OK
    assert twin.send(codes.TAKE, account=FIRST + 2, order_id=FIRST, qty=10) == codes.NOT_OFFERED
    twin.settle(10**9)
    return twin.reached


def a_step_that_is_not_sent() -> Counter:
    """Nobody would fill it: the fund takes the position, which costs it nothing at the mark."""
    twin = _long_of_ten({"below_ppm": 1_000_000, "action": "reduce", "share_ppm": 500_000, "cooldown_ns": 10**9,
                         "fill_or_kill": True}, {"below_ppm": 1, "action": "takeover"})
    twin.send(codes.MARK, price=9_050)
    twin.settle()
    return twin.reached


def a_backstop_that_works_off_what_it_took() -> Counter:
    """It takes all that its margin carries over, and sells it."""
    twin = Twin(venue_table(backstop={"account": FIRST + 2, "period_ns": 10**9}))
    for account, money in ((FIRST, 100_000), (FIRST + 1, 10**8), (FIRST + 2, 10**8)):
        twin.send(codes.DEPOSIT, account=account, qty=money)
    twin.send(codes.MARK, price=10_000)
    twin.send(codes.OPEN_POSITION, account=FIRST, order_id=FIRST + 1, price=1_000, qty=10)
    twin.send(codes.MARK, price=9_050)
    twin.settle()
    twin.send(codes.LEVEL_SET, side=codes.BID, price=900, qty=50, flags=codes.LAST)
    twin.settle(10**9)
    assert twin.reached["outcome DISPOSAL"] == 1 and not twin.reached["outcome TAKEOVER"]
    return twin.reached


DIRECTED = (every_kind_refused, a_stop_beside_a_source_without_a_price, pegged_orders_that_come_back_to_nothing,
            a_pegged_order_filled_in_part_that_comes_back, a_liquidation_that_joins_an_auction,
            a_command_in_the_gateway_of_a_paused_engine,
            an_auction_that_finds_a_taker, a_step_that_is_not_sent, a_backstop_that_works_off_what_it_took)


def streams(seed: int) -> list[tuple[str, int]]:
    """(profile, seed) of some streams, and of the first after them that has what few seeds have."""
    chosen = [(profile, seed + k) for k, profile in enumerate(STREAMS)]
    later = range(seed + len(STREAMS), seed + len(STREAMS) + 200)
    return chosen + [("plain", next(k for k in later if has(make_venue(k)))) for has in SELDOM.values()]


def measure(seed: int) -> Counter:
    """Reach of a few streams and of directed cases on interpreted kernels, branches included."""
    tracer = Tracer()
    reached = Counter()
    sys.settrace(tracer)
    try:
        for profile, drawn in streams(seed):
            reached += differ(profile, drawn, EVENTS)[1]
        for directed in DIRECTED:
            reached += directed()
        more_counterparties_than_one_step_closes()
        for twin in worlds():
            reached += twin.reached
        rare_stops(seed)
    finally:
        sys.settrace(None)
    return reached + tracer.reached()


def campaign(seed: int, budget: Budget) -> Part:
    """The measurement in a fresh process with compilation off."""
    part = Part("reach")
    finished = subprocess.run([sys.executable, "-W", "ignore", "-m", "tests.campaign.reach", str(seed)], cwd=ROOT,
                              env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True, check=False)
    if finished.returncode:
        part.fail(f"seed {seed}", finished.stderr[-2_000:])
    else:
        part.take(len(streams(seed)) * EVENTS, Counter(json.loads(finished.stdout)))
    ways = {name for name, *_ in branches()}
    taken = sum(1 for name in ways if part.reached[f"branch {name}"])
    part.note = f"{taken} of {len(ways)} ways of the branches of loop, liquidation machine and triggers"
    part.seconds = budget.spent()
    return part


def missing(reached: Counter) -> list[str]:
    """What no part of the campaign reached, exempt ones left out; and exempt ones that were reached after all."""
    wanted = required()
    lost = [name for name in wanted if not reached[name] and name not in EXEMPT]
    return lost + [f"{name} is exempt but {'was reached' if name in wanted else 'does not exist'}"
                   for name in EXEMPT if name not in wanted or reached[name]]


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
