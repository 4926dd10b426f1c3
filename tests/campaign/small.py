"""Small worlds, exhaustively: every sequence over some 30 symbols to a depth, kernels against reference at every node.

Two accounts, two sides, three prices, two sizes make 24 orders; four cancels and three marks complete the alphabet.
Worlds about a rule of their own (self-trades, auctions, stops and links) have their own alphabet.

The walk is depth first. The kernels' state lies in one buffer, so that going back is one copy; the reference goes back
by unpickling its parent. Outcomes are compared at every node, audit and whole state at inner nodes and some leaves.
"""

import pickle
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from exchange import codes, config, schema
from exchange.allocation import outcomes_per_order
from exchange.core.loop import run
from exchange.dump import dump
from exchange.reference.venue import ReferenceVenue
from exchange.state import CACHE_LINE, State
from exchange.venue import FOREVER_NS, Exchange
from tests.campaign.report import Budget, Part
from tests.campaign.twin import reach_of
from tests.desk import FIRST, UNIT, venue_table
from tests.differential import first_difference, state_differences

A, B, MAKER = FIRST, FIRST + 1, FIRST + 2
PRICES, SIZES, MARKS = (95, 100, 104), (1, 3), (92, 100, 109)
TIERS = [{"floor": "0", "maintenance_ppm": 20_000, "leverage_max": 20},
         {"floor": "500", "maintenance_ppm": 50_000, "leverage_max": 10}]
ORDERS = [{"kind": codes.NEW, "account": account, "side": side, "price": price, "qty": qty}
          for account in (A, B) for side in (codes.BID, codes.ASK) for price in PRICES for qty in SIZES]
CANCELS = [{"kind": codes.CANCEL, "order_id": order_id} for order_id in (1, 2, 3, 4)]
SYMBOLS = [*ORDERS, *CANCELS, *({"kind": codes.MARK, "price": price} for price in MARKS)]
CHECKED_LEAVES = 37  # whole state and audit at one leaf in so many; a prime, so that no symbol is left out


class Small(NamedTuple):
    """A small world: rows that open it, what its venue has beyond the others', its alphabet, money of A and of B (by
    default a quantum less than A needs to keep its position at the lowest mark)."""

    rows: tuple[dict[str, int], ...] = ()
    instrument: dict[str, Any] = {}
    sections: dict[str, Any] = {}
    symbols: list[dict[str, int]] = SYMBOLS
    cash: int = 1_967


def order(account: int, side: int, price: int, qty: int, **terms: int) -> dict[str, int]:
    return {"kind": codes.NEW, "account": account, "side": side, "price": price, "qty": qty, **terms}


OWNERS = [*(order(A, side, 100, qty, self_trade=mode) for side in (codes.BID, codes.ASK) for qty in SIZES
            for mode in range(codes.STP_NONE, codes.STP_DECREMENT + 1)),
          *(order(B, side, 100, qty) for side in (codes.BID, codes.ASK) for qty in SIZES), *CANCELS[2:],
          *({"kind": codes.SET_GROUP, "account": B, "qty": group} for group in (0, 1)),
          {"kind": codes.AMEND, "account": A, "order_id": 3, "price": 100, "qty": 4}]
HIDDEN = [*(order(account, side, price, 3, display_lots=shown) for account in (A, B)
            for side in (codes.BID, codes.ASK) for price in (95, 100) for shown in (0, 1)),
          *(order(B, side, 100, qty) for side in (codes.BID, codes.ASK) for qty in (1, 2)),
          *(order(A, side, cap, 2, peg=peg, offset_ticks=offset) for side, cap in ((codes.BID, 103), (codes.ASK, 96))
            for peg, offset in ((codes.PEG_MID, 0), (codes.PEG_BEST, 1), (codes.PEG_OPPOSITE, 0))),
          {"kind": codes.AMEND, "account": A, "order_id": 3, "price": 100, "qty": 2}, *CANCELS[2:],
          {"kind": codes.LEVEL_SET, "side": codes.BID, "price": 97, "qty": 1, "flags": codes.LAST}]
REDUCING = [*(order(A, codes.ASK, price, qty, flags=flags) for price in (100, 101) for qty in (1, 3)
              for flags in (0, codes.REDUCE_ONLY)),
            *(order(B, codes.BID, price, qty, flags=flags) for price in (100, 101) for qty in (1, 4)
              for flags in (0, codes.REDUCE_ONLY)),
            order(B, codes.BID, 101, 6, time_in_force=codes.IOC), order(B, codes.BID, 101, 5, time_in_force=codes.FOK),
            *(order(A, codes.BID, price, 2) for price in (95, 101)),
            *({"kind": codes.AMEND, "account": A, "order_id": 102, "price": price, "qty": qty}
              for price in (0, 100) for qty in (1, 4)),
            *CANCELS[2:], *({"kind": codes.MARK, "price": price} for price in MARKS)]
TRANSFERS = [{"kind": codes.TRANSFER, "account": A, "qty": money} for money in (-UNIT, 2 * UNIT)]
AUCTIONS = [*(order(account, side, price, qty) for account in (A, B) for side in (codes.BID, codes.ASK)
              for price in (95, 101) for qty in SIZES),
            *(order(A, side, 100, 2, **terms) for side in (codes.BID, codes.ASK)
              for terms in ({"flags": codes.MARKET}, {"self_trade": codes.STP_CANCEL_NEWEST}, {"min_lots": 1})),
            order(A, codes.BID, 101, 1, time_in_force=codes.GTD, expiry_ns=2),
            {"kind": codes.AUCTION_START, "price": 97}, {"kind": codes.AUCTION_END},
            {"kind": codes.AUCTION_END, "price": 104}, *CANCELS[2:], *({"kind": codes.MARK, "price": p} for p in MARKS)]
STOPS = [*(order(account, side, 100, 1, flags=codes.MARKET, trigger=source, trigger_ticks=ticks,
                 trigger_kind=codes.STOP if (side == codes.BID) == (ticks > 100) else codes.TAKE_PROFIT)
           for account, source in ((A, codes.TRIGGER_MARK), (B, codes.TRIGGER_LAST), (A, codes.TRIGGER_LAST))
           for side in (codes.BID, codes.ASK) for ticks in (97, 104)),
         *(order(A, side, 100, 2, trigger=codes.TRIGGER_MARK, offset_ticks=4) for side in (codes.BID, codes.ASK)),
         *(order(A, side, 100, 2, link_id=link) for side in (codes.BID, codes.ASK) for link in (3, 4)),
         *(order(B, side, price, 2) for side in (codes.BID, codes.ASK) for price in (95, 104)),
         order(A, codes.ASK, 100, 1, time_in_force=codes.GTD, expiry_ns=2), *CANCELS[2:],
         *({"kind": codes.MARK, "price": price} for price in (*MARKS, 96))]
WORLDS = {
    "cross": Small(),
    "isolated": Small(tuple({"kind": codes.SET_MARGIN_MODE, "account": account, "qty": codes.ISOLATED}
                            for account in (A, B)), symbols=[*SYMBOLS, *TRANSFERS]),
    "recorded depth": Small((
        {"kind": codes.LEVEL_SET, "side": codes.BID, "price": 95, "qty": 2},
        {"kind": codes.LEVEL_SET, "side": codes.ASK, "price": 104, "qty": 2, "flags": codes.LAST})),
    "waiting orders": Small((
        {"order_id": 101, **order(A, codes.ASK, 100, 1)},
        {"order_id": 102, **order(A, codes.ASK, 0, 2, flags=codes.MARKET, trigger=codes.TRIGGER_MARK, trigger_ticks=95,
                                  link_id=101)},
        {"order_id": 103, **order(B, codes.BID, 104, 1, trigger=codes.TRIGGER_MARK, offset_ticks=5)})),
    "one owner": Small(({"kind": codes.SET_GROUP, "account": A, "qty": 1},
                        {"kind": codes.SET_GROUP, "account": B, "qty": 1}),
                       {"self_trade": "decrement"}, symbols=OWNERS, cash=90 * UNIT),
    "reduce-only": Small((
        {"kind": codes.OPEN_POSITION, "account": A, "order_id": B, "price": 100, "qty": 3},
        {"order_id": 101, **order(A, codes.ASK, 101, 2)},
        {"order_id": 102, **order(A, codes.ASK, 101, 3, flags=codes.REDUCE_ONLY)}),
        {"position_max": "12"}, symbols=REDUCING, cash=90 * UNIT),
    "auction": Small(({"kind": codes.AUCTION_START, "qty": 8},  # to the end of the third symbol's time
                      {"order_id": 101, **order(A, codes.BID, 101, 2)},
                      {"order_id": 102, **order(B, codes.ASK, 95, 1)}),
                     sections={"auction": {"indicative_period_ns": 2}}, symbols=AUCTIONS, cash=90 * UNIT),
    "stops": Small(({"order_id": 101, **order(A, codes.ASK, 104, 1)}, {"order_id": 102, **order(B, codes.BID, 104, 1)}),
                   symbols=STOPS, cash=60 * UNIT),
    "icebergs and pegs": Small((
        {"order_id": 101, **order(A, codes.ASK, 100, 4, display_lots=1)},
        {"order_id": 102, **order(B, codes.BID, 99, 1, peg=codes.PEG_BEST)}),
        {"iceberg": "refresh", "pegged": True, "position_max": "20", "order_max": "10"}, symbols=HIDDEN,
        cash=90 * UNIT),
    "shared level": Small(tuple({"order_id": 101 + k, **order(account, codes.ASK, 100, qty)}
                                for k, (account, qty) in enumerate(((A, 2), (MAKER, 3), (B, 1), (MAKER, 1)))),
                          {"allocation": {"algorithm": "configurable", "top_max_lots": 1, "fifo_ppm": 400_000,
                                          "pro_rata_min_lots": 1,
                                          "market_makers": [{"account": MAKER, "share_ppm": 350_000}]}},
                          cash=90 * UNIT),
}


def prepare(world: str) -> tuple[Exchange, ReferenceVenue, int]:
    """Both venues of a small world after its opening rows (two poor accounts, orders, a position), and the clock."""
    small = WORLDS[world]
    instrument = {"price_max": "127", "mark_per_tick": 1, "tiers": TIERS, "position_max": "6", "order_max": "9"}
    table = venue_table(instrument={**instrument, **small.instrument},
                        capacity={"accounts": 3, "positions": 4, "orders": 16, "external_levels": 2},
                        fees={"maker_ppm": -100, "taker_ppm": 700, "liquidation_ppm": 5_000}, **small.sections)
    room = outcomes_per_order(config.build_venue(table)) * table["capacity"]["orders"]
    table["capacity"]["outcomes"] = room + codes.OUTCOMES_PER_STEP
    venue = config.build_venue(table)
    rows: list[dict[str, int]] = [
        {"kind": codes.MARK, "price": 100}, {"kind": codes.DEPOSIT, "account": MAKER, "qty": 1_000 * UNIT},
        {"kind": codes.DEPOSIT, "account": codes.INSURANCE, "qty": 1},
        *({"kind": codes.DEPOSIT, "account": account, "qty": small.cash} for account in (A, B)),
        *({"kind": codes.SET_LEVERAGE, "account": account, "qty": 2_000} for account in (A, B)),
        *small.rows,
        {"kind": codes.OPEN_POSITION, "account": A, "order_id": B, "price": 100, "qty": 2},
        {"kind": codes.NEW, "account": MAKER, "order_id": 1, "side": codes.BID, "price": 95, "qty": 2},
        {"kind": codes.NEW, "account": MAKER, "order_id": 2, "side": codes.ASK, "price": 104, "qty": 2}]
    events = schema.events(*({"ts_ns": k + 1, **row} for k, row in enumerate(rows)))
    core, reference = Exchange(venue), ReferenceVenue(venue)
    core.submit(events)
    core.run()
    reference.process(events)
    assert not first_difference(core.outcomes().tolist(), reference.outcomes(), events)
    return core, reference, len(rows) + 1


def in_one_buffer(state: State) -> tuple[State, np.ndarray]:
    """The same state with all its arrays but the outbox as views of one buffer."""
    arrays = [array for group in state for array in group if array is not state.io.outbox]
    places = np.cumsum([0, *(-(-array.nbytes // CACHE_LINE) * CACHE_LINE for array in arrays)])
    buffer = np.zeros(int(places[-1]) + CACHE_LINE, np.uint8)
    buffer = buffer[-buffer.ctypes.data % CACHE_LINE:][:int(places[-1])]
    views = {}
    for place, array in zip(places, arrays, strict=False):
        view = buffer[place:place + array.nbytes].view(array.dtype)
        view[:] = array
        views[id(array)] = view
    return State(*(type(group)(*(views.get(id(array), array) for array in group)) for group in state)), buffer


class Walk:
    """One world and one walk over it; `path` holds the symbols that lead to the node at work."""

    def __init__(self, world: str, depth: int):
        self.exchange, reference, self.clock = prepare(world)
        self.exchange.state, self.buffer = in_one_buffer(self.exchange.state)
        self.control = self.exchange.state.io.control[0]
        self.root = self.buffer.copy(), pickle.dumps(reference)
        self.world, self.depth = world, depth
        self.path: list[int] = []
        self.nodes = 0
        self.reached: Counter = Counter()
        self.symbols = WORLDS[world].symbols
        self.events = [[self.event(k, symbol) for symbol in self.symbols] for k in range(depth)]

    def event(self, depth: int, symbol: dict[str, int]) -> np.ndarray:
        """The row of a symbol at a depth; an order's id tells where it was placed: 3, 4, ..."""
        row: dict[str, int] = {"ts_ns": self.clock + depth, "order_id": 3 + depth, **symbol}
        if row.get("expiry_ns"):
            row["expiry_ns"] += row["ts_ns"]
        return schema.events(row)

    def owner(self, order_id: int) -> int:
        """Account of an order on the path; A for one that was never placed."""
        if order_id < 3:
            return MAKER
        placed = self.path[order_id - 3] if order_id - 3 < len(self.path) else 0
        return self.symbols[placed].get("account", A)

    def step(self, depth: int, symbol: int, reference: ReferenceVenue) -> None:
        """Apply one symbol to both venues at the present node and fire what is due; compare the outcomes."""
        events = self.events[depth][symbol]
        if events["kind"][0] == codes.CANCEL:
            events["account"] = self.owner(int(events["order_id"][0]))
        end = self.clock + depth + 1
        ours, first, code = [], 0, codes.OUTBOX_FULL
        while code == codes.OUTBOX_FULL:
            code = run(self.exchange.state, events, events.view(schema.TERMS), first, FOREVER_NS, end)
            first = int(self.control["next_event"])
            ours += self.exchange.state.io.outbox[:int(self.control["outbox_count"])].tolist()
            self.control["outbox_count"] = 0
        reference.process(events)
        reference.run(end)
        theirs = reference.outcomes()
        self.nodes += 1
        if ours != theirs:
            raise AssertionError(first_difference(ours, theirs, events))
        self.reached += reach_of(ours) if self.nodes % CHECKED_LEAVES == 0 else Counter()

    def check(self, reference: ReferenceVenue) -> None:
        self.exchange.audit()
        differences = state_differences(dump(self.exchange.state), reference.state())
        assert not differences, "states differ\n" + "\n".join(differences[:12])

    def below(self, depth: int, parent: tuple[np.ndarray, bytes], symbols: range) -> None:
        """Every continuation of the path by one of `symbols` and then by any."""
        for symbol in symbols:
            self.buffer[:] = parent[0]
            reference = pickle.loads(parent[1])
            self.path.append(symbol)
            self.step(depth, symbol, reference)
            last = depth + 1 == self.depth
            if not last or self.nodes % CHECKED_LEAVES == 0:
                self.check(reference)
            if not last:
                self.below(depth + 1, (self.buffer.copy(), pickle.dumps(reference)), range(len(self.symbols)))
            self.path.pop()

    def below_root(self) -> None:
        """Every sequence."""
        self.below(0, self.root, range(len(self.symbols)))

    def subtree(self, first: int) -> None:
        """Every sequence that begins with symbol `first`; a failure names the world and the sequence."""
        try:
            self.below(0, self.root, range(first, first + 1))
        except Exception as error:
            rows: list[dict[str, Any]] = [self.symbols[k] for k in self.path]
            raise AssertionError(f"world {self.world!r} path {self.path} = {rows}: {error}") from error


def campaign(seed: int, budget: Budget, plan: list[tuple[str, int]]) -> Part:
    """Walk each (world, depth) of the plan, subtree by subtree from a place the seed names, while there is time."""
    part, done = Part("small worlds"), Counter()
    for world, depth in plan:
        walk = Walk(world, depth)
        for k in range(len(walk.symbols)):
            if not budget.left(part.runs):
                break
            walk.nodes = 0
            first = (seed + k) % len(walk.symbols)
            try:
                walk.subtree(first)
            except AssertionError as error:
                part.fail(f"subtree {first}", error)
                walk.path.clear()
                continue
            part.take(walk.nodes, Counter())
            done[f"{world} to depth {depth}"] += 1
        part.reached += walk.reached
    part.note = ", ".join(f"{name}: {count} subtrees" for name, count in done.items())
    part.seconds = budget.spent()
    return part
