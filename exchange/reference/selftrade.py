"""Prevention of trades between orders of one owner: who that is, which mode counts, and what it does to two orders."""

from typing import TYPE_CHECKING

from exchange import codes
from exchange.reference.records import Order, Terms
from exchange.reference.world import World

if TYPE_CHECKING:
    from exchange.reference.matching import Taker


def same_owner(world: World, account: int, other: int) -> bool:
    """Whether two accounts are one, or of one group."""
    groups = [world.groups.get(name, 0) for name in (account, other)]
    return account == other or groups[0] == groups[1] != 0


def mode_of(world: World, instrument: int, held: Terms) -> int:
    """The STP_* mode of an order at work: that of its terms, else the instrument's."""
    return held.self_trade or world.contracts[instrument].self_trade


def is_prevented(world: World, maker: Order, taker: "Taker") -> bool:
    """Whether these two must not trade."""
    return taker.self_trade > codes.STP_NONE and same_owner(world, maker.account, taker.account)


def prevent(world: World, maker: Order, taker: "Taker") -> None:
    """Cancel or shorten one of the two or both, as the taker's mode says."""
    if taker.self_trade == codes.STP_DECREMENT:
        _shorten_both(world, maker, taker)
        return
    if taker.self_trade in (codes.STP_CANCEL_OLDEST, codes.STP_CANCEL_BOTH):
        world.emit_cancelled(maker, codes.CANCELLED_SELF_TRADE)
        world.remove_order(maker)
    taker.is_ended = taker.self_trade in (codes.STP_CANCEL_NEWEST, codes.STP_CANCEL_BOTH)


def _shorten_both(world: World, maker: Order, taker: "Taker") -> None:
    lots = min(maker.leaves_lots, taker.lots)
    maker.cut(lots)
    taker.lots -= lots
    taker.prevented_lots += lots
    taker.is_ended = taker.lots == 0
    world.emit(
        codes.PREVENTED,
        code=codes.OK if maker.leaves_lots else codes.CANCELLED_SELF_TRADE,
        account=maker.account,
        counterparty=taker.account,
        order_id=maker.order_id,
        instrument=maker.instrument,
        price=maker.ticks,
        lots=lots,
        flags=codes.SELL if maker.side == codes.ASK else 0,
    )
    if not maker.leaves_lots:
        world.remove_order(maker)
