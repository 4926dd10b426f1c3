"""How a level is shared: the steps, and what each order may get in each of them."""

from collections.abc import Callable

from exchange import codes
from exchange.reference.arithmetic import PPM
from exchange.reference.records import Allocation, Order
from exchange.reference.world import World

Wishes = list[tuple[Order, int]]  # orders in the order of their fills, with the most that each gets
Step = Callable[["Sharing"], tuple[int, Wishes]]


class Sharing:
    """One taker at one level: the orders that stood there, oldest first, and what is left of the taker.

    Attributes
    ----------
    rated : list
        (order, share) of the pro rata step in its order, for the step after it.
    """

    def __init__(self, world: World, orders: list[Order]):
        self.world, self.orders = world, orders
        self.book = world.books[orders[0].instrument]
        terms = world.contracts[orders[0].instrument].allocation
        assert terms is not None
        self.terms: Allocation = terms
        self.lots = 0
        self.joined = {order.serial: order.joined for order in orders}
        self.rated: Wishes = []

    def size(self, order: Order) -> int:
        """What an order may fill now: nothing once it left, a reduce-only one at most its opposite position."""
        if not self.stands(order):
            return 0
        if not order.flags & codes.REDUCE_ONLY:
            return order.shown_lots
        held = self.world.position(order.account, order.instrument).lots
        opposite = -held if order.side == codes.BID else held
        return min(order.shown_lots, max(0, opposite))

    def stands(self, order: Order) -> bool:
        """Whether an order stands as it did: an iceberg that shows more has joined anew."""
        return self.book.is_queued(order) and order.joined == self.joined[order.serial]

    def in_time(self) -> Wishes:
        """All that each order shows, oldest first."""
        return [(order, order.shown_lots) for order in self.orders]


def top(sharing: Sharing) -> tuple[int, Wishes]:
    """The order that set the best price, if it is large enough."""
    first, terms = sharing.orders[0], sharing.terms
    if sharing.book.tops[first.side] is not first or first.shown_lots < terms.top_min_lots:
        return 0, []
    return terms.top_max_lots, [(first, first.shown_lots)]


def market_makers(sharing: Sharing) -> tuple[int, Wishes]:
    """To each market maker its part, its orders oldest first."""
    wishes: Wishes = []
    for account, share_ppm in sharing.terms.makers:
        part = sharing.lots * share_ppm // PPM
        for order in sharing.orders:
            if order.account == account:
                lots = min(part, sharing.size(order))
                part -= lots
                wishes.append((order, lots))
    return sharing.lots, wishes


def first_in_first_out(sharing: Sharing) -> tuple[int, Wishes]:
    """A part of what is left, oldest first."""
    return sharing.lots * sharing.terms.fifo_ppm // PPM, sharing.in_time()


def pro_rata(sharing: Sharing) -> tuple[int, Wishes]:
    """What is left in proportion to size, largest first; too small a share is none."""
    sizes = [(order, sharing.size(order)) for order in sharing.orders]
    total = sum(size for _, size in sizes)
    lots = min(sharing.lots, total)
    for order, size in sorted(sizes, key=lambda row: -row[1]):
        if size and sharing.terms.fifo_ppm < PPM:
            share = size * lots // total
            sharing.rated.append((order, share if share >= sharing.terms.pro_rata_min_lots else 0))
    return sharing.lots, sharing.rated


def leveling(sharing: Sharing) -> tuple[int, Wishes]:
    """One lot to each order whose pro rata share was none."""
    if not sharing.terms.leveling:
        return 0, []
    return sharing.lots, [(order, 1) for order, share in sharing.rated if not share]


def remainder(sharing: Sharing) -> tuple[int, Wishes]:
    """Everything left, oldest first."""
    return sharing.lots, sharing.in_time()


STEPS: tuple[Step, ...] = (top, market_makers, first_in_first_out, pro_rata, leveling, remainder)
