"""The reference venue: plain Python, every rule spelled out, every unit recomputed after every event."""

import heapq
from collections.abc import Callable, Iterable
from typing import Any

from exchange import codes, config
from exchange.reference import (
    accounts,
    auction,
    backstop,
    collateral,
    dutch,
    funding,
    gateway,
    liquidation,
    mark,
    options,
    orders,
    pause,
    pegs,
    recorded,
    resting,
    settlement,
    stages,
    terms,
    throttle,
    triggers,
    waterfall,
)
from exchange.reference.orders import Reply
from exchange.reference.records import Event, terms_of
from exchange.reference.state import snapshot
from exchange.reference.world import Refused, World, require

COMMANDS: dict[int, Callable[[World, Event], Reply]] = {
    codes.NEW: orders.apply_new,
    codes.CANCEL: orders.apply_cancel,
    codes.AMEND: orders.apply_amend,
    codes.CANCEL_ALL: orders.apply_cancel_all,
    codes.DEPOSIT: accounts.apply_deposit,
    codes.WITHDRAW: accounts.apply_withdraw,
    codes.SET_LEVERAGE: accounts.apply_set_leverage,
    codes.SET_MARGIN_MODE: accounts.apply_set_margin_mode,
    codes.TRANSFER: accounts.apply_transfer,
    codes.OPEN_POSITION: accounts.apply_open_position,
    codes.DEPOSIT_ASSET: collateral.apply_deposit_asset,
    codes.WITHDRAW_ASSET: collateral.apply_withdraw_asset,
    codes.TAKE: dutch.apply_take,
    codes.SET_FEES: accounts.apply_set_fees,
    codes.SET_TIERS: accounts.apply_set_tiers,
    codes.HALT: accounts.apply_set_state,
    codes.RESUME: accounts.apply_set_state,
    codes.SET_STATE: accounts.apply_set_state,
    codes.AUCTION_START: accounts.apply_auction_start,
    codes.AUCTION_END: accounts.apply_auction_end,
    codes.SETTLE: settlement.apply_settle,
    codes.SET_GROUP: accounts.apply_set_group,
    codes.SET_THROTTLE: gateway.apply_set_throttle,
    codes.ENGINE_PAUSE: pause.apply,
}
ORDERS = (codes.NEW, codes.CANCEL, codes.AMEND, codes.CANCEL_ALL)
RECORDED: dict[int, Callable[[World, Event], None]] = {
    codes.LEVEL_SET: recorded.apply_level_set,
    codes.TRADE_PRINT: recorded.apply_trade_print,
    codes.BOOK_CLEAR: recorded.apply_book_clear,
    codes.INDEX: mark.apply_index,
    codes.MARK: options.apply_mark,
    codes.FUNDING_RATE: funding.apply_rate,
    codes.FUNDING_SETTLE: funding.apply_settle,
    codes.SHIFT: recorded.apply_shift,
    codes.VOLATILITY: options.apply_volatility,
}


class ReferenceVenue:
    """The venue of a configuration, driven by rows of the event record.

    Parameters
    ----------
    venue : config.Venue
        The checked configuration.
    """

    def __init__(self, venue: config.Venue):
        self.world = World(venue)
        settlement.begin(self.world, venue)

    def process(self, events: Any) -> None:
        """Process tape events (record array or rows of it), firing before each the timers due before its time."""
        for event in _rows(events):
            self.run(event.ts_ns)
            self._apply(event)

    def run(self, until: int) -> None:
        """Fire all timers whose time (ns) is before `until`."""
        world = self.world
        while world.timers and max(world.timers[0].ts_ns, world.paused_until_ns) < until:
            timer = heapq.heappop(world.timers)
            world.clock_ns = max(timer.ts_ns, world.paused_until_ns, world.clock_ns)
            world.event_seq += 1
            if timer.kind == codes.MARK_TICK:
                mark.fire_mark_tick(world, timer.target)
            elif timer.kind == codes.FUNDING_TICK:
                funding.fire(world, timer.target, timer.ts_ns)
            elif timer.kind == codes.REFILL_TICK:
                recorded.fire_refill(world, timer.target)
            elif timer.kind == codes.IMPACT_TICK:
                recorded.fire_impact(world, timer.target)
            elif timer.kind == codes.AUCTION_TICK:
                auction.fire_tick(world, timer.target)
            elif timer.kind == codes.GATEWAY_TICK and timer.ts_ns < world.paused_until_ns:
                world.set_timer(world.paused_until_ns, codes.PRIORITY_GATEWAY, codes.GATEWAY_TICK, 0)
            elif timer.kind == codes.GATEWAY_TICK:
                self._serve()
            elif timer.kind == codes.LIFE_TICK:
                settlement.fire(world, timer.target)
            elif timer.kind == codes.OPTION_TICK:
                options.fire(world)
            elif timer.kind == codes.CONVERT:
                collateral.convert(world, timer.target)
            elif timer.kind == codes.ENGINE_RESUME:
                pause.end(world)
            elif timer.kind == codes.DISPOSE:
                backstop.fire(world, timer.target)
            elif timer.kind == codes.STAGE_TICK:
                stages.fire(world, *timer.target, timer.cause_seq)
            elif timer.kind == codes.EXPIRE:
                terms.expire(world, timer.target)
            elif timer.kind == codes.TRIGGER:
                orders.fire(world, timer.target)
            else:
                liquidation.fire(world, timer.target, timer.cause_seq)
            if world.deficit is not None:  # the event is over before others bear what it has cost
                resting.finish(world)
                triggers.watch(world)
                collateral.watch(world)
                stages.detect(world)
                waterfall.finish(world)
            resting.finish(world)
            pegs.follow(world)
            triggers.watch(world)
            collateral.watch(world)
            stages.detect(world)

    def outcomes(self) -> list[tuple[int, ...]]:
        """Outcomes since the last call, fields in the order of the outcome record."""
        drained, self.world.outcomes = self.world.outcomes, []
        return drained

    def state(self) -> dict[str, Any]:
        """The whole state in canonical plain form."""
        return snapshot(self.world)

    def _apply(self, event: Event) -> None:
        world = self.world
        world.event_seq += 1
        try:
            require(event.ts_ns >= world.clock_ns, codes.OUT_OF_ORDER)
            world.clock_ns = event.ts_ns
            if event.kind == codes.TERMS:
                world.held = terms_of(event)
            elif event.kind in RECORDED:
                RECORDED[event.kind](world, event)
            else:
                if event.kind >= codes.DEPOSIT:
                    pause.check(world)
                require(event.kind in COMMANDS, codes.UNSUPPORTED_KIND)
                if event.kind in ORDERS:
                    throttle.check(world, event)
                if event.kind not in ORDERS:
                    self._command(event)
                elif not gateway.takes(world, event):
                    pause.check(world)
                    self._command(event)
        except Refused as refusal:
            self._reply(event, Reply(refusal.code), refusal.money)
        if event.kind in ORDERS:
            world.held = None
        settlement.finish(world)
        resting.finish(world)
        if not pegs.is_mid_message(event):
            pegs.follow(world)
        triggers.watch(world)
        collateral.watch(world)
        stages.detect(world)

    def _command(self, event: Event, waited_ns: int = 0) -> None:
        """Apply a command and answer it."""
        first = len(self.world.outcomes)
        try:
            reply = COMMANDS[event.kind](self.world, event)
        except Refused as refusal:
            reply = Reply(refusal.code)
        self._reply(event, reply, waited_ns)
        throttle.count_quote(self.world, event, reply.code, first)

    def _serve(self) -> None:
        """A command leaves the gateway: it is applied with its own terms, those held for the tape put aside."""
        world, (event, row) = self.world, gateway.fire(self.world)
        aside, world.held = world.held, row
        self._command(event, world.clock_ns - event.ts_ns)
        world.held = aside

    def _reply(self, event: Event, reply: Reply, money: int = 0) -> None:
        self.world.emit(
            codes.RESULT,
            account=event.account,
            order_id=event.order_id,
            instrument=event.instrument if reply.instrument is None else reply.instrument,
            price=event.price if reply.price is None else reply.price,
            lots=event.qty if reply.lots is None else reply.lots,
            money=money,
            code=reply.code,
            flags=event.kind,
            liquidation_id=event.liquidation_id,
        )


def _rows(events: Any) -> Iterable[Event]:
    """Rows of a record array, or single rows of one, as plain integers."""
    rows = events.tolist() if hasattr(events, "tolist") else [tuple(map(int, row)) for row in events]
    return [Event(*row) for row in rows]
