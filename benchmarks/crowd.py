"""A crowd of cross accounts on twenty instruments, seeded through events, and the scan that guards replace."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.venues import crowd_venue, deposits, run_slices
from exchange import codes, schema, state
from exchange.core.arith import MILLION

INSTRUMENTS = 20
LEVERAGE = (2, 20)
MEDIAN_VALUE, SIGMA, VALUE_MAX = 2_000, 1.5, 1_000_000  # of a position, in units of the asset; three tiers are in use
CHUNK = 1 << 16  # accounts seeded in one go, so that seeding needs little memory
FUND = 10**15


class Crowd:
    """`accounts` accounts with two positions each, one of the first and one of the last ten instruments.

    Every position was opened with another account of the crowd at the first mark; cash is the value of both over a
    leverage drawn from LEVERAGE. A bid and an ask of recorded size, far larger than the crowd, stand at the first mark,
    where liquidation orders fill. A mixed crowd has 70 % accounts with isolated positions, 20 % cross ones and 10 % under
    portfolio margin. `stages` are the venue's of liquidation.
    """

    def __init__(self, accounts: int, seed: int = 5, tiers: int | None = None, fund: int = FUND, mixed: bool = False,
                 stages: Sequence[dict[str, Any]] = ()):
        self.fund, self.mixed = fund, mixed
        self.generator = np.random.default_rng(seed)
        self.accounts = accounts
        self.venue = crowd_venue(accounts, INSTRUMENTS, tiers, mixed, stages)
        self.state = state.allocate(self.venue)
        self.record = self.state.prices.instruments[0]
        self.ticks = np.linspace(100_000, 500_000, INSTRUMENTS).astype(np.int64)
        self.clock = 1
        self._open_market()
        self._seed()

    @property
    def control(self) -> np.void:
        return self.state.io.control[0]

    @property
    def positions(self) -> int:
        """Positions of users that are not flat."""
        return int(np.count_nonzero(self.state.ledger.positions["lots"][1 + 2 * INSTRUMENTS:]))

    def play(self, events: np.ndarray) -> None:
        """Stamp the events a microsecond apart, and run them."""
        run_slices(self.state, self.stamp(events))

    def stamp(self, events: np.ndarray) -> np.ndarray:
        events["ts_ns"] = self.clock + 1_000 * np.arange(len(events))
        self.clock += 1_000 * len(events)
        return events

    def _open_market(self) -> None:
        events = np.zeros(3 * INSTRUMENTS + 1, schema.EVENT)
        events["instrument"] = np.arange(len(events)) % INSTRUMENTS
        events["price"] = self.ticks[events["instrument"]]
        marks, bids, asks = (slice(k * INSTRUMENTS, (k + 1) * INSTRUMENTS) for k in range(3))
        events["kind"] = codes.LEVEL_SET
        events["qty"] = 2**31 - 1
        events["flags"] = codes.LAST
        events["kind"][marks] = codes.MARK
        events["price"][marks] *= int(self.record["mark_per_tick"])
        events["side"][asks] = codes.ASK
        events["price"][bids] -= 1
        self.bids = events["price"][bids].copy()
        events[-1:] = deposits(np.array([codes.INSURANCE]), np.array([self.fund]), 0)
        self.play(events)

    def _seed(self) -> None:
        for start in range(0, self.accounts, CHUNK):
            users = codes.FIRST_USER + np.arange(start, min(start + CHUNK, self.accounts))
            pairs = [self._pairs(users, half) for half in range(2)]
            value = np.zeros(len(users), np.int64)
            for block in pairs:
                traded = block["price"] * block["qty"] * int(self.record["unit_value"])
                value[block["account"] - users[0]] += traded
                value[block["order_id"] - users[0]] += traded
            leverage = self.generator.uniform(*LEVERAGE, len(users))
            modes = self._modes(users, np.concatenate(pairs), leverage) if self.mixed else []
            self.play(np.concatenate((deposits(users, (value / leverage).astype(np.int64), 0), *modes, *pairs)))
        assert self.control["rejected"] == 0 and self.positions == 2 * self.accounts

    def _pairs(self, users: np.ndarray, half: int) -> np.ndarray:
        """OPEN_POSITION events that give each user one position in one half of the instruments."""
        generator, users = self.generator, self.generator.permutation(users)
        count = len(users) // 2
        events = np.zeros(count, schema.EVENT)
        events["kind"], events["account"], events["order_id"] = codes.OPEN_POSITION, users[:count], users[count:]
        events["instrument"] = generator.integers(0, INSTRUMENTS // 2, count) + half * (INSTRUMENTS // 2)
        events["price"] = self.ticks[events["instrument"]]
        value = np.minimum(MEDIAN_VALUE * np.exp(SIGMA * generator.standard_normal(count)), VALUE_MAX)
        unit = events["price"] * int(self.record["unit_value"])
        events["qty"] = np.maximum(1, value * 10.0**6 / unit).astype(np.int64)
        return events

    def _modes(self, users: np.ndarray, pairs: np.ndarray, leverage: np.ndarray) -> list[np.ndarray]:
        """Settings of the accounts before they open: leverage and mode of isolated positions, mode of portfolios."""
        rows = np.concatenate((pairs, pairs))
        rows["account"][len(pairs):] = pairs["order_id"]
        rows["price"] = rows["order_id"] = 0
        isolated = rows[rows["account"] % 10 < 7]
        leverages = isolated.copy()
        isolated["kind"], isolated["qty"] = codes.SET_MARGIN_MODE, codes.ISOLATED
        leverages["kind"], leverages["qty"] = codes.SET_LEVERAGE, 100 * leverage[leverages["account"] - users[0]]
        portfolios = np.zeros(int(np.count_nonzero(users % 10 == 9)), schema.EVENT)
        portfolios["kind"], portfolios["qty"] = codes.SET_MARGIN_MODE, codes.PORTFOLIO
        portfolios["account"] = users[users % 10 == 9]
        return [leverages, isolated, portfolios]

    def walk(self, count: int, step: float) -> np.ndarray:
        """MARK events: random walks that step up or down by the share `step`, the instruments in turn."""
        marks = self.state.prices.markets["mark_sub"].astype(np.float64)
        rounds = count // INSTRUMENTS
        signs = self.generator.integers(0, 2, (rounds, INSTRUMENTS)) * 2 - 1
        events = np.zeros(rounds * INSTRUMENTS, schema.EVENT)
        events["kind"], events["instrument"] = codes.MARK, np.tile(np.arange(INSTRUMENTS), rounds)
        events["price"] = np.rint(marks * np.exp(step * np.cumsum(signs, axis=0))).astype(np.int64).ravel()
        return self.stamp(events)

    def fall(self, step: float, depth: int) -> np.ndarray:
        """Every mark lower by the share `step`, the recorded bid with it; `depth` is its value in quanta."""
        marks, per_tick = self.state.prices.markets["mark_sub"], int(self.record["mark_per_tick"])
        events = np.zeros((3, INSTRUMENTS), schema.EVENT)
        gone, bids, new_marks = events
        events["instrument"], events["kind"] = np.arange(INSTRUMENTS), codes.LEVEL_SET
        new_marks["kind"], new_marks["price"] = codes.MARK, marks * (1 - step)
        gone["price"] = self.bids
        self.bids = new_marks["price"] // per_tick - 1
        bids["price"], bids["flags"] = self.bids, codes.LAST
        bids["qty"] = depth // (self.bids * int(self.record["unit_value"]))
        return events.ravel()

    def shuttle(self, count: int) -> np.ndarray:
        """MARK events that move each mark one sub-tick up and back again."""
        rounds = count // (2 * INSTRUMENTS)
        marks = self.state.prices.markets["mark_sub"]
        events = np.zeros(rounds * 2 * INSTRUMENTS, schema.EVENT)
        events["kind"], events["instrument"] = codes.MARK, np.tile(np.arange(INSTRUMENTS), 2 * rounds)
        events["price"] = np.tile(np.concatenate((marks + 1, marks)), rounds)
        return self.stamp(events)


class Scan:
    """The vectorised scan: positions as whole columns in account order, gathered beforehand; it allocates nothing."""

    def __init__(self, crowd: Crowd):
        ledger, prices = crowd.state.ledger, crowd.state.prices
        positions, users = ledger.positions, slice(codes.FIRST_USER, codes.FIRST_USER + crowd.accounts)
        first = ledger.wallets["first_position"][users]
        slots = np.stack((first, positions["next"][first]))
        self.markets, self.stage = prices.markets, ledger.wallets["stage"][users]
        self.lots, self.instrument = positions["lots"][slots], positions["instrument"][slots].astype(np.intp)
        self.unit = int(crowd.record["mark_unit"])
        self.constant = ledger.wallets["cash"][users] - positions["entry_value"][slots].sum(axis=0)
        # Tiers that no position can be in soon are left out.
        largest = int((np.abs(self.lots) * self.markets["mark_sub"][self.instrument]).max()) * self.unit
        self.tiers = [tier for tier in prices.tiers[:int(crowd.record["tier_count"])] if tier["floor"] <= largest * 1.1]
        self.value, self.need, self.tier = (np.zeros_like(self.lots) for _ in range(3))
        self.health = np.zeros(crowd.accounts, np.int64)

    def compute(self) -> None:
        """Equity minus maintenance by account, exact. Maintenance is convex: the maximum over the tiers."""
        np.take(self.markets["mark_sub"] * self.unit, self.instrument, out=self.value)
        self.value *= self.lots
        np.add(self.value[0], self.value[1], out=self.health)
        self.health += self.constant
        np.abs(self.value, out=self.value)
        for k, tier in enumerate(self.tiers):
            target = self.tier if k else self.need
            np.multiply(self.value, int(tier["maintenance_ppm"]), out=target)
            target += MILLION - 1
            target //= MILLION
            target -= int(tier["cum"])
            if k:
                np.maximum(self.need, target, out=self.need)
        self.health -= self.need[0]
        self.health -= self.need[1]


def peak_bytes() -> int:
    """The most memory this process has held, from its own page table: what its parent held does not count."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmHWM in /proc/self/status")


def hold(accounts: int) -> None:
    """Seed a crowd and print positions, bytes reserved by the venue, and the peak of the process."""
    crowd = Crowd(accounts)
    print(crowd.positions, state.nbytes(crowd.state), peak_bytes())
