"""What throttles remember: each limit of each account or group, and the conduct of each account."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from exchange import codes


@dataclass(slots=True)
class Bucket:
    """Tokens of one key at a time (ns); they come back evenly, up to the capacity."""

    tokens: Fraction
    at_ns: int


@dataclass(slots=True)
class Limit:
    """One throttle. `weights` are tokens by event kind; what is no bucket keeps all that it let through, by key."""

    kind: int
    by_group: int
    capacity: int
    refill: int
    interval_ns: int
    weights: list[int]
    buckets: dict[int, Bucket] = field(default_factory=dict)
    passed: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    configured: int = field(init=False)  # capacity that a sliding limit began with, and may not pass

    def __post_init__(self) -> None:
        self.configured = self.capacity

    def left(self, key: int, now_ns: int) -> Fraction:
        """Tokens that a key has now."""
        if self.kind == codes.WINDOW:
            window = now_ns // self.interval_ns
            taken = sum(weight for at_ns, weight in self.passed.get(key, []) if at_ns // self.interval_ns == window)
            return Fraction(self.capacity - taken)
        if self.kind == codes.SLIDING:
            return Fraction(self.capacity - len(self.recent(key, now_ns)))
        bucket = self.buckets.get(key)
        if bucket is None:
            return Fraction(self.capacity)
        return min(Fraction(self.capacity), bucket.tokens + self.rate * (now_ns - bucket.at_ns))

    def recent(self, key: int, now_ns: int) -> tuple[int, ...]:
        """When each token passed that a sliding limit still counts."""
        passed = [at_ns for at_ns, weight in self.passed.get(key, []) for _ in range(weight)]
        return tuple(at_ns for at_ns in passed if now_ns - self.interval_ns < at_ns <= now_ns)

    @property
    def rate(self) -> Fraction:
        """Tokens of a bucket per nanosecond."""
        return Fraction(self.refill, self.interval_ns)

    def wait_ns(self, key: int, weight: int, now_ns: int) -> int:
        """Nanoseconds until the weight would pass."""
        short = weight - self.left(key, now_ns)
        if not weight or short <= 0:
            return 0
        if self.kind == codes.WINDOW:
            return self.interval_ns - now_ns % self.interval_ns
        if self.kind == codes.SLIDING:  # something must have left, and that is when it does
            ends = (at_ns + self.interval_ns for at_ns in self.recent(key, now_ns))
            return next(end_ns - now_ns for end_ns in ends if weight <= self.left(key, end_ns))
        return -int(-short * self.interval_ns // self.refill)  # rounded up

    def take(self, key: int, weight: int, now_ns: int) -> None:
        """Let the weight through."""
        if self.kind == codes.BUCKET:
            self.buckets[key] = Bucket(self.left(key, now_ns) - weight, now_ns)
        else:
            self.passed.setdefault(key, []).append((now_ns, weight))

    def change(self, capacity: int, refill: int, now_ns: int) -> None:
        """Other terms from now on; what a key owes stays owed."""
        if self.kind == codes.BUCKET:
            owed = {key: self.capacity - self.left(key, now_ns) for key in self.buckets}
            self.buckets = {key: Bucket(capacity - tokens, now_ns) for key, tokens in owed.items()}
            self.refill = refill
        self.capacity = capacity

    def used(self, now_ns: int) -> dict[int, Any]:
        """What each key has used, in tokens, of a bucket times the interval, of a sliding limit the time of each;
        keys that used nothing left out."""
        if self.kind == codes.SLIDING:
            return {key: times for key in sorted(self.passed) if (times := list(self.recent(key, now_ns)))}
        unit = self.interval_ns if self.kind == codes.BUCKET else 1
        keys = sorted({*self.buckets, *self.passed})
        used = {key: int((self.capacity - self.left(key, now_ns)) * unit) for key in keys}
        return {key: amount for key, amount in used.items() if amount}


@dataclass(slots=True)
class Conduct:
    """Violations and bans of one account, its quotes and those that filled."""

    first_ns: int = 0
    violations: int = 0
    banned_until_ns: int = 0
    ban_ns: int = 0
    quotes: int = 0
    filled: int = 0


@dataclass(slots=True)
class Rules:
    """Terms of bans and of the gateway queue; `service_ns` by event kind, `depth` 0 = no queue."""

    violations: int
    violation_ns: int
    ban_ns: int
    ban_max_ns: int
    forget_ns: int
    cancels_exempt: int
    service_ns: list[int]
    depth: int
    reserved: int
    exempt_cancels: int
    exempt_closes: int


@dataclass(slots=True)
class Guards:
    """Guards on orders of one instrument, from the config; 0 = off."""

    collar_ppm: int
    fat_finger_ppm: int
    notional_min: int
    notional_max: int
    lots_min: int
    price_step_ticks: int
    lot_step: int
    open_orders_max: int
