"""How fast commands may come and how they wait: throttles, the ladder of bans, the gateway queue. DESIGN §3.8.

Part of the venue's configuration (`exchange/config.py`), compiled to the kernels' records, whose layouts are here too.
"""

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import numpy as np

from exchange import codes
from exchange.errors import ConfigError

if TYPE_CHECKING:
    from exchange.config import Venue

THROTTLES_MAX = 8
TOKENS_MAX = 2**31 - 1
DEBT_MAX = 2**62  # of a bucket, in tokens times its interval: what the kernels count in
STAMPS_MAX = 2**26  # times of tokens that all sliding throttles keep, 8 bytes each

Tokens = Annotated[int, msgspec.Meta(ge=1, le=TOKENS_MAX)]
Weight = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Interval = Annotated[int, msgspec.Meta(ge=1, le=10**17)]
Places = Annotated[int, msgspec.Meta(ge=0, le=2**24)]

LIMIT = np.dtype(
    [  # one throttle: set from the config; SET_THROTTLE changes it
        ("kind", "i8"),  # BUCKET, WINDOW or SLIDING
        ("by_group", "i8"),
        ("capacity", "i8"),  # tokens
        ("capacity_max", "i8"),  # the most that SET_THROTTLE may make of it; sliding: stamps kept of each key
        ("stamp_base", "i8"),  # of a sliding throttle: where its stamps begin
        ("refill", "i8"),  # tokens of a bucket that come back in an interval
        ("interval_ns", "i8"),
        ("weights", "i8", (codes.TERMS,)),  # tokens by event kind
    ]
)

METER = np.dtype(
    [  # one limit of one account or group, at key * limits + limit; groups come after the accounts
        ("level", "i8"),  # bucket: tokens owed times the interval; window: taken in that of ts_ns; sliding: ever taken
        ("ts_ns", "i8"),
    ]
)

CONDUCT = np.dtype(
    [  # one account
        ("first_ns", "i8"),  # when the present count of violations began
        ("violations", "i8"),
        ("banned_until_ns", "i8"),
        ("ban_ns", "i8"),  # length of the last ban
        ("quotes", "i8"),  # accepted NEW and AMEND
        ("filled", "i8"),  # of them, with a fill
    ]
)

GATE = np.dtype(
    [  # one record: terms from the config, then the state of the gateway queue
        ("limits", "i8"),
        ("group_max", "i8"),  # the highest group that SET_GROUP takes
        ("violations", "i8"),  # that make a ban; 0 = no bans
        ("violation_ns", "i8"),
        ("ban_ns", "i8"),
        ("ban_max_ns", "i8"),
        ("forget_ns", "i8"),
        ("cancels_exempt", "i8"),
        ("service_ns", "i8", (codes.TERMS,)),  # by event kind
        ("depth", "i8"),  # 0 = no queue
        ("reserved", "i8"),
        ("exempt_cancels", "i8"),
        ("exempt_closes", "i8"),
        ("head", "i8"),  # place of the oldest command
        ("count", "i8"),
        ("due_ns", "i8"),  # when the oldest is applied
        ("serving", "i8"),  # 1 while a command that waited is applied
        ("waited_ns", "i8"),
        ("first_outcome", "i8"),  # place in the outbox where the command at work began
    ]
)

COUNTED = {
    "orders": (codes.NEW, codes.AMEND),
    "cancels": (codes.CANCEL, codes.CANCEL_ALL),
    "all": (codes.NEW, codes.CANCEL, codes.AMEND, codes.CANCEL_ALL),
}


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Weights(_Struct):
    """What one command of each kind weighs."""

    new: Weight = 1
    amend: Weight = 1
    cancel: Weight = 1
    cancel_all: Weight = 1

    def by_kind(self) -> list[int]:
        """Weight at the place of each event kind."""
        kinds = {codes.NEW: self.new, codes.AMEND: self.amend, codes.CANCEL: self.cancel}
        kinds[codes.CANCEL_ALL] = self.cancel_all
        return [kinds.get(kind, 0) for kind in range(codes.TERMS)]


class Throttle(_Struct):
    """One limit. A bucket holds `capacity` tokens and gets `refill` back in `interval_ns`, evenly; a window lets
    `capacity` through in each interval, the intervals being counted from time 0; sliding, in any stretch so long."""

    capacity: Tokens
    kind: Literal["bucket", "window", "sliding"] = "bucket"
    scope: Literal["account", "group"] = "account"
    counts: Literal["orders", "cancels", "all"] = "all"
    refill: Annotated[int, msgspec.Meta(ge=0, le=TOKENS_MAX)] = 0  # of a bucket
    interval_ns: Interval = 1_000_000_000
    weights: Weights = Weights()


class Penalty(_Struct):
    """So many refusals within `interval_ns` are a ban, each next one twice as long, until `forget_ns` without one."""

    violations: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0  # 0 = no bans
    interval_ns: Interval = 60_000_000_000
    ban_ns: Interval = 60_000_000_000
    ban_max_ns: Interval = 3_600_000_000_000
    forget_ns: Annotated[int, msgspec.Meta(ge=0, le=10**17)] = 86_400_000_000_000
    cancels_exempt: bool = True
    count_quotes: bool = False  # quotes and those that filled are counted also without throttles


class Gateway(_Struct):
    """Commands are served one after the other, `service_ns` times its weight each; 0 = at once."""

    service_ns: Annotated[int, msgspec.Meta(ge=0, le=10**11)] = 0
    weights: Weights = Weights()
    depth: Annotated[int, msgspec.Meta(ge=1, le=2**24)] = 1_024
    reserved: Places = 0  # places beyond `depth`, for exempt commands alone
    exempt: tuple[Literal["cancels", "closes"], ...] = ()


def keys_of(limit: np.void, accounts: int) -> int:
    """Accounts that a limit tells apart, and the groups after them."""
    return 2 * accounts if limit["by_group"] else accounts


def compile_limits(throttles: tuple[Throttle, ...], accounts: int) -> np.ndarray:
    """One record a limit; one that limits nothing where there is none."""
    limits, stamps = np.zeros(max(1, len(throttles)), LIMIT), 0
    if len(throttles) > THROTTLES_MAX:
        raise ConfigError("$.venue.throttles", f"{len(throttles)} limits; at most {THROTTLES_MAX}")
    for k, throttle in enumerate(throttles):
        where, row = f"$.venue.throttles[{k}]", limits[k]
        weights = [w if kind in COUNTED[throttle.counts] else 0 for kind, w in enumerate(throttle.weights.by_kind())]
        if not 1 <= max(weights) <= throttle.capacity:
            raise ConfigError(f"{where}.weights", f"the heaviest command must weigh 1..{throttle.capacity}")
        if (throttle.kind == "bucket") != (throttle.refill > 0):
            raise ConfigError(f"{where}.refill", "a bucket needs a refill above 0, the other kinds have none")
        row["kind"] = {"bucket": codes.BUCKET, "window": codes.WINDOW, "sliding": codes.SLIDING}[throttle.kind]
        row["by_group"], row["weights"] = throttle.scope == "group", weights
        row["capacity"], row["refill"], row["interval_ns"] = throttle.capacity, throttle.refill, throttle.interval_ns
        row["capacity_max"], row["stamp_base"] = TOKENS_MAX, stamps
        if throttle.kind == "bucket":
            row["capacity_max"] = min(TOKENS_MAX, (DEBT_MAX - 1) // throttle.interval_ns - max(weights))
            if throttle.capacity > row["capacity_max"]:
                raise ConfigError(f"{where}.interval_ns", "capacity with the heaviest command times it reaches 2**62")
        elif throttle.kind == "sliding":
            row["capacity_max"] = throttle.capacity
            stamps += throttle.capacity * keys_of(row, accounts)
            if stamps > STAMPS_MAX:
                raise ConfigError(
                    f"{where}.capacity",
                    f"{stamps} times of tokens are to be kept, of at most {STAMPS_MAX}; divide capacity and weights by "
                    "one number, have fewer accounts, or use a bucket",
                )
    return limits


def compile_gate(venue: "Venue") -> np.ndarray:
    """Terms of the ladder of bans and of the gateway queue; the queue itself is empty."""
    gate, penalty, gateway = np.zeros(1, GATE), venue.penalty, venue.gateway
    row = gate[0]
    row["limits"] = len(venue.throttles)
    counted = any(throttle.scope == "group" for throttle in venue.throttles)
    row["group_max"] = codes.FIRST_USER + venue.capacity.accounts - 1 if counted else 2**31 - 1
    if penalty.violations and not venue.throttles:
        raise ConfigError("$.venue.penalty.violations", "bans follow refusals by throttles, and there are none")
    if penalty.ban_max_ns < penalty.ban_ns:
        raise ConfigError("$.venue.penalty.ban_max_ns", "must not be shorter than ban_ns")
    row["violations"], row["violation_ns"] = penalty.violations, penalty.interval_ns
    row["ban_ns"], row["ban_max_ns"], row["forget_ns"] = penalty.ban_ns, penalty.ban_max_ns, penalty.forget_ns
    row["cancels_exempt"] = penalty.cancels_exempt
    if gateway.service_ns:
        service = [gateway.service_ns * weight for weight in gateway.weights.by_kind()]
        if not all(service[codes.NEW :]):
            raise ConfigError("$.venue.gateway.weights", "every command takes some time: weights must be 1 or more")
        row["service_ns"], row["depth"], row["reserved"] = service, gateway.depth, gateway.reserved
        row["exempt_cancels"], row["exempt_closes"] = "cancels" in gateway.exempt, "closes" in gateway.exempt
    return gate


def compile_gated(row: np.void, venue: "Venue") -> None:
    """Write the two fields of the policy record that a venue without all this looks at."""
    row["count_quotes"] = bool(venue.throttles) or venue.penalty.count_quotes
    row["gated"] = row["count_quotes"] or venue.gateway.service_ns > 0
