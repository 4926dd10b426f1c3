"""Whether a command may pass: bans first, then every limit; and what counts as a quote."""

from exchange import codes
from exchange.reference.limits import Conduct, Limit
from exchange.reference.records import Event
from exchange.reference.world import Refused, World

CANCELS = (codes.CANCEL, codes.CANCEL_ALL)
QUOTES = (codes.NEW, codes.AMEND)


def conduct_of(world: World, account: int) -> Conduct:
    """The account's record, made on first use."""
    return world.conduct.setdefault(account, Conduct())


def _key(world: World, limit: Limit, account: int) -> int:
    """Whose meter a limit looks at: the group's, numbered after the accounts, or the account's."""
    group = world.groups.get(account, 0)
    return world.policy.accounts + group if limit.by_group and group else account


def check(world: World, event: Event) -> None:
    """Let a command of an open account through all limits, or refuse it with the time to wait as money."""
    wallets = [world.wallets.get((event.account, asset)) for asset in range(world.policy.assets)]
    known = event.account >= codes.FIRST_USER and any(wallet is not None and wallet.is_open for wallet in wallets)
    if not known or not world.limits:
        return
    conduct, now = conduct_of(world, event.account), world.clock_ns
    exempt = bool(world.rules.cancels_exempt) and event.kind in CANCELS
    if now < conduct.banned_until_ns and not exempt:
        raise Refused(codes.BANNED, conduct.banned_until_ns - now)
    weighed = [(limit, _key(world, limit, event.account), limit.weights[event.kind]) for limit in world.limits]
    wait = max(limit.wait_ns(key, weight, now) for limit, key, weight in weighed)
    if wait:
        _note_violation(world, conduct)
        if not exempt:
            wait = max(wait, conduct.banned_until_ns - now)
        raise Refused(codes.THROTTLED, wait)
    for limit, key, weight in weighed:
        if weight:
            limit.take(key, weight, now)


def _note_violation(world: World, conduct: Conduct) -> None:
    """Count a refusal; the last of so many begins a ban, twice as long as one that is not forgotten."""
    rules, now = world.rules, world.clock_ns
    if not rules.violations:
        return
    if conduct.violations and now >= conduct.first_ns + rules.violation_ns:
        conduct.violations = 0
    if not conduct.violations:
        conduct.first_ns = now
    conduct.violations += 1
    if conduct.violations == rules.violations:
        conduct.violations = 0
        remembered = conduct.ban_ns and now < conduct.banned_until_ns + rules.forget_ns
        conduct.ban_ns = min(2 * conduct.ban_ns, rules.ban_max_ns) if remembered else rules.ban_ns
        conduct.banned_until_ns = now + conduct.ban_ns


def count_quote(world: World, event: Event, code: int, first: int) -> None:
    """An accepted NEW or AMEND is a quote, filled when a fill of it as taker is among the outcomes from `first` on."""
    if not world.policy.count_quotes or event.kind not in QUOTES or code >= codes.FIRST_REJECTION:
        return
    conduct_of(world, event.account).quotes += 1
    count_taken(world, event, first)


def count_taken(world: World, event: Event, first: int) -> None:
    """An order that entered is filled when a fill of it as taker is among the outcomes from `first` on."""
    if not world.policy.count_quotes:
        return
    conduct_of(world, event.account).filled += any(
        kind == codes.FILL and not flags & codes.MAKER and (account, order_id) == (event.account, event.order_id)
        for _, _, _, order_id, _, _, _, account, _, _, kind, _, _, flags in world.outcomes[first:]
    )


def count_maker(world: World, account: int, is_first: bool) -> None:
    """A resting order was filled, for the first time or not."""
    if world.policy.count_quotes and is_first:
        conduct_of(world, account).filled += 1
