"""The gateway queue, where commands wait for one server in the order in which they came; SET_THROTTLE."""

from collections.abc import Iterator
from typing import NamedTuple

from exchange import codes
from exchange.reference.orders import Reply
from exchange.reference.records import Event, Terms
from exchange.reference.throttle import CANCELS
from exchange.reference.world import Refused, World, require

TOKENS_MAX = 2**31 - 1
DEBT_MAX = 2**62


class Waiting(NamedTuple):
    """A command in the queue, with the terms that came before it."""

    event: Event
    terms: Terms | None


def takes(world: World, event: Event) -> bool:
    """Put a user's command into the queue where there is one; GATEWAY_FULL when it finds no place."""
    if not world.rules.depth or event.account < codes.FIRST_USER:
        return False
    places = world.rules.depth + (world.rules.reserved if _is_exempt(world, event) else 0)
    if len(world.queue) >= places:
        # at the moment a service ends, what comes is looked at before the command leaves
        leaving = list(_departures(world))[len(world.queue) - places]
        raise Refused(codes.GATEWAY_FULL, leaving + 1 - world.clock_ns)
    held = world.held
    mine = held is not None and (held.account, held.order_id) == (event.account, event.order_id)
    world.queue.append(Waiting(event, held if mine else None))
    if len(world.queue) == 1:
        _serve_next(world)
    return True


def _is_exempt(world: World, event: Event) -> bool:
    if event.kind in CANCELS:
        return bool(world.rules.exempt_cancels)
    return bool(world.rules.exempt_closes and event.kind == codes.NEW and event.flags & codes.REDUCE_ONLY)


def _departures(world: World) -> Iterator[int]:
    """When each queued command will leave (ns), the oldest first."""
    due_ns = next(timer.ts_ns for timer in world.timers if timer.kind == codes.GATEWAY_TICK)
    leaving = max(due_ns, world.paused_until_ns)
    yield leaving
    for waiting in world.queue[1:]:
        leaving += world.rules.service_ns[waiting.event.kind]
        yield leaving


def _serve_next(world: World) -> None:
    due = world.clock_ns + world.rules.service_ns[world.queue[0].event.kind]
    world.set_timer(due, codes.PRIORITY_GATEWAY, codes.GATEWAY_TICK, 0)


def fire(world: World) -> Waiting:
    """The oldest command leaves the queue, served."""
    waiting: Waiting = world.queue.pop(0)
    if world.queue:
        _serve_next(world)
    return waiting


def apply_set_throttle(world: World, event: Event) -> Reply:
    """Change a limit: capacity and refill of a bucket, the capacity (in qty) of the other kinds."""
    require(0 <= event.instrument < len(world.limits), codes.BAD_LIMIT)
    limit = world.limits[event.instrument]
    heaviest = max(limit.weights)
    is_bucket = limit.kind == codes.BUCKET
    capacity = event.price if is_bucket else event.qty
    require(heaviest <= capacity <= TOKENS_MAX and 1 <= event.qty <= TOKENS_MAX, codes.BAD_AMOUNT)
    require(limit.kind != codes.SLIDING or capacity <= limit.configured, codes.BAD_AMOUNT)
    require(not is_bucket or (capacity + heaviest) * limit.interval_ns < DEBT_MAX, codes.BAD_AMOUNT)
    limit.change(capacity, event.qty, world.clock_ns)
    return Reply()
