"""The whole state of the reference venue, its outbox and its timers."""

import heapq
from dataclasses import MISSING, fields
from typing import Any, NamedTuple

from sortedcontainers import SortedDict

from exchange import codes, config
from exchange.reference.arithmetic import ceil_div
from exchange.reference.book import Book
from exchange.reference.grid import Grid
from exchange.reference.limits import Conduct, Guards, Limit, Rules
from exchange.reference.lives import Life, option_of
from exchange.reference.pricing import price_state_of, pricing_of
from exchange.reference.records import (
    Allocation,
    Auction,
    Contract,
    Market,
    Order,
    Policy,
    Position,
    Terms,
    Unit,
    Wallet,
)
from exchange.reference.requirement import Model, Tier
from exchange.reference.settings import Deficit, Fund, Impact, Waterfall, conversion_of, stages_of


class Refused(Exception):
    """A command that fails a check; carries the result code."""

    def __init__(self, code: int, money: int = 0):
        super().__init__(codes.RESULT_TEXT[code])
        self.code = code
        self.money = money  # nanoseconds to wait, where waiting helps


class Timer(NamedTuple):
    """Something due at `ts_ns`; the fields up to `seq` are its order. `target` is a Unit or an instrument."""

    ts_ns: int
    priority: int
    account: int
    order: int
    seq: int
    kind: int
    cause_seq: int
    target: Any


def cut_link(order: Order) -> Order | None:
    """Undo the link of two orders; the other one, None when there was no link."""
    partner = order.terms.link if order.terms is not None else None
    if partner is not None and partner.terms is not None and order.terms is not None:
        order.terms.link = partner.terms.link = None
    return partner


def require(condition: bool, code: int) -> None:
    """Refuse the command with `code` unless the condition holds."""
    if not condition:
        raise Refused(code)


class World:
    """State of one venue. Wallets are keyed by (account, asset) and kept in that order."""

    def __init__(self, venue: config.Venue):
        compiled = config.compile_venue(venue)
        row = compiled.policy[0]
        self.policy = Policy(**{name: int(row[name]) for name in row.dtype.names})
        self.capacity = venue.capacity
        self.contracts = [_contract(compiled, k) for k in range(self.policy.instruments)]
        self.books = [Book() for _ in self.contracts]
        self.markets = [Market() for _ in self.contracts]
        self.stages = stages_of(compiled.stages, len(venue.assets))
        self.waterfalls = [Waterfall(*map(int, row)) for row in compiled.waterfalls]
        self.funds = [Fund() for _ in venue.assets]
        self.deficit: Deficit | None = None
        self.pricing = pricing_of(compiled.pricing[0])
        self.price_states = [price_state_of(compiled, k) for k in range(len(self.contracts))]
        self.impacts = [_impact(row) for row in compiled.impacts]
        self.conversions = [conversion_of(row, compiled.sales.tolist()) for row in compiled.conversions]
        self.converting: dict[tuple[int, int], bool] = {}  # wallets that have a CONVERT timer
        self.guards = [Guards(**_named(row, Guards)) for row in compiled.order_guards]
        self.auctions = [Auction(**_named(row, Auction)) for row in compiled.auctions]
        self.grid = Grid(venue)
        self.has_option_timer = False
        for contract, row in zip(self.contracts, compiled.options, strict=True):
            contract.option = option_of(row)
        self.lives = [Life(terms.life) for terms in venue.instruments]
        self.settling: int | None = None  # the instrument that an event settles
        self.waiting: list[list[Unit]] = [[] for _ in self.contracts]  # for their market to match again
        for market, auction in zip(self.markets, self.auctions, strict=True):
            market.state = codes.STATE_AUCTION if auction.opening else codes.STATE_CONTINUOUS
        self.wallets: SortedDict = SortedDict()
        self.orders: dict[int, Order] = {}
        self.groups: dict[int, int] = {}
        self.deposits = [0] * self.policy.assets
        self.withdrawals = [0] * self.policy.assets
        self.timers: list[Timer] = []
        self.touched_funds: set[int] = set()
        self.reduced: list[Position] = []
        self.thinned: list[Order] = []
        self.ranking: list[Position] = []
        self.ranking_key: tuple[int, int, int, int] | None = None
        self.sharing_out = [0, 0, 0]  # lots that a ranking gives up, of how many, those that rounding leaves
        self.outcomes: list[tuple[int, ...]] = []
        self.held: Terms | None = None
        self.clock_ns = 0
        self.paused_until_ns = 0
        self.event_seq = 0
        self.outcome_seq = 0
        self.timer_seq = 0
        self.liquidation_seq = 0
        self.order_serial = 0
        self.joins = 0
        self.user_positions = 0
        self.limits = _limits(compiled)
        self.rules = _rules(compiled.gate[0])
        self.conduct: dict[int, Conduct] = {}
        self.queue: list[Any] = []  # commands in the gateway, oldest first

    def contract_of(self, instrument: int) -> Contract:
        """Terms of an instrument that an event names."""
        require(0 <= instrument < len(self.contracts), codes.BAD_INSTRUMENT)
        return self.contracts[instrument]

    def wallet(self, account: int, asset: int) -> Wallet:
        """The account's wallet, made on first use."""
        if (account, asset) not in self.wallets:
            self.wallets[account, asset] = Wallet(account, asset)
        made: Wallet = self.wallets[account, asset]
        return made

    def fund(self, asset: int) -> Wallet:
        """The insurance fund's wallet."""
        return self.wallet(codes.INSURANCE, asset)

    def open_wallet(self, account: int, asset: int) -> Wallet:
        """Wallet of an open user; BAD_ACCOUNT otherwise."""
        wallet: Wallet | None = self.wallets.get((account, asset))
        if account < codes.FIRST_USER or wallet is None or not wallet.is_open:
            raise Refused(codes.BAD_ACCOUNT)
        return wallet

    def find_position(self, account: int, instrument: int) -> Position | None:
        """The account's position, None when it was never used."""
        wallet = self.wallets.get((account, self.contracts[instrument].asset))
        return None if wallet is None else wallet.positions.get(instrument)

    def position(self, account: int, instrument: int) -> Position:
        """The account's position, made on first use; POSITIONS_FULL when a user's finds no slot."""
        contract = self.contracts[instrument]
        wallet = self.wallet(account, contract.asset)
        if instrument not in wallet.positions:
            if account >= codes.FIRST_USER:
                require(self.user_positions < self.capacity.positions, codes.POSITIONS_FULL)
                self.user_positions += 1
            tiers = contract.model.tiers if account >= codes.FIRST_USER else contract.model.tables[0]
            made = Position(wallet, instrument, tiers[0].leverage_max_e2)
            wallet.positions = dict(sorted([*wallet.positions.items(), (instrument, made)]))
        return wallet.positions[instrument]

    def contract_alone(self, instrument: int) -> Contract:
        """Terms of an instrument that an event names and that must not be a spot one."""
        contract = self.contract_of(instrument)
        require(not contract.spot, codes.NOT_CONTRACT)
        return contract

    def positions_in(self, instrument: int) -> list[Position]:
        """All positions that exist in an instrument, in wallet order."""
        return [w.positions[instrument] for w in self.wallets.values() if instrument in w.positions]

    def open_interest(self, instrument: int) -> int:
        """Lots held long by all accounts."""
        return sum(position.lots for position in self.positions_in(instrument) if position.lots > 0)

    def order_lots(self, instrument: int) -> int:
        """Leaves of all live simulated orders of an instrument."""
        orders = [order for order in self.orders.values() if order.instrument == instrument and not order.is_parked]
        return sum(order.leaves_lots for order in orders)

    def has_order_slot(self) -> bool:
        """Whether one more order fits; an external level holds one at least as long as it exists."""
        return self.has_room(1)

    def has_room(self, more: int) -> bool:
        """Whether so many more orders fit, where each part that an iceberg has yet to show counts like one."""
        hiding = [(o.hidden_lots, o.terms.display_lots) for o in self.orders.values() if o.hidden_lots and o.terms]
        slices = sum(ceil_div(hidden, display) for hidden, display in hiding)
        return len(self.orders) + self.external_orders() + slices + more <= self.capacity.orders

    def external_levels(self) -> int:
        """Count of external levels of all instruments."""
        return sum(len(book.externals) for book in self.books)

    def external_orders(self) -> int:
        """Count of the orders of all external levels."""
        return sum(len(level.parts) for book in self.books for level in book.externals.values())

    def make_order(
        self, order_id: int, account: int, instrument: int, side: int, ticks: int, lots: int, flags: int
    ) -> Order:
        """A new order with the next serial, in no book yet."""
        self.order_serial += 1
        return Order(self.order_serial, order_id, account, instrument, side, ticks, lots, lots, flags)

    def keep_order(self, order: Order) -> None:
        """Let an order live: it is found by its id and in its owner's list."""
        self.orders[order.order_id] = order
        self.wallets[order.account, self.contracts[order.instrument].asset].orders[order.order_id] = order

    def remove_order(self, order: Order) -> None:
        """Take a simulated order out of the book and of its owner's list; its partner goes too."""
        self.remove_partner(order)
        if not order.is_parked:
            self.books[order.instrument].leave(order)
        del self.orders[order.order_id]
        del self.wallets[order.account, self.contracts[order.instrument].asset].orders[order.order_id]
        self.drop_order_timers(order, codes.EXPIRE, codes.TRIGGER)

    def remove_partner(self, order: Order) -> None:
        """One cancels other: remove the order that this one is linked to."""
        partner = cut_link(order)
        if partner is not None:
            self.emit_cancelled(partner, codes.CANCELLED_BY_LINK)
            self.remove_order(partner)

    def drop_order_timers(self, order: Order, *kinds: int) -> None:
        """Take an order's timers off the heap."""
        if order.terms is not None:
            self.timers = [timer for timer in self.timers if timer.target is not order or timer.kind not in kinds]
            heapq.heapify(self.timers)

    def touch(self, wallet: Wallet) -> None:
        """Note a change of the insurance fund: its unit alone is checked only when touched."""
        if wallet.account == codes.INSURANCE:
            self.touched_funds.add(wallet.asset)

    def set_stage_timer(self, ts_ns: int, unit: Unit, stage: int) -> None:
        """Put a stage's timer for a unit on the heap."""
        self.timer_seq += 1
        order, kind = stage * codes.STAGE_PLACES + unit.timer_order, codes.STAGE_TICK
        key = (ts_ns, codes.PRIORITY_STAGE, unit.wallet.account, order, self.timer_seq)
        heapq.heappush(self.timers, Timer(*key, kind, self.event_seq, (unit, stage)))

    def set_timer(self, ts_ns: int, priority: int, kind: int, target: Unit | Order | int, account: int = 0) -> None:
        """Put a timer on the heap; its cause is the event at work. `account`: of an instrument's timer."""
        if isinstance(target, Unit):
            account, order = target.wallet.account, target.timer_order
        elif isinstance(target, Order):
            account, order = 0, 0
        else:
            order = target
        self.timer_seq += 1
        timer = Timer(ts_ns, priority, account, order, self.timer_seq, kind, self.event_seq, target)
        heapq.heappush(self.timers, timer)

    def drop_timers(self, kind: int, target: int) -> None:
        """Take the timers of a kind and instrument off the heap."""
        self.timers = [timer for timer in self.timers if (timer.kind, timer.target) != (kind, target)]
        heapq.heapify(self.timers)

    def emit(
        self,
        kind: int,
        *,
        account: int = 0,
        counterparty: int = 0,
        order_id: int = 0,
        instrument: int = 0,
        price: int = 0,
        lots: int = 0,
        money: int = 0,
        code: int = 0,
        flags: int = 0,
        liquidation_id: int = 0,
        cause_seq: int | None = None,
    ) -> None:
        """Append an outcome, fields in the order of the outcome record."""
        self.outcome_seq += 1
        cause = self.event_seq if cause_seq is None else cause_seq
        self.outcomes.append(
            (
                self.clock_ns,
                self.outcome_seq,
                cause,
                order_id,
                price,
                lots,
                money,
                account,
                counterparty,
                liquidation_id,
                kind,
                code,
                instrument,
                flags,
            )
        )

    def emit_cancelled(self, order: Order, code: int, liquidation_id: int = 0, lots: int | None = None) -> None:
        """Outcome of an order that leaves the book, or of lots of it that do, without the owner naming it."""
        self.emit(
            codes.CANCELLED,
            account=order.account,
            order_id=order.order_id,
            instrument=order.instrument,
            price=order.ticks,
            lots=order.leaves_lots if lots is None else lots,
            code=code,
            liquidation_id=liquidation_id,
            flags=codes.SELL if order.side == codes.ASK else 0,
        )

    def shrink_order(self, order: Order, lots: int) -> None:
        """Take lots off a reduce-only order that its position no longer has; an order without any goes."""
        gone = lots == order.leaves_lots
        self.emit_cancelled(order, codes.CANCELLED_REDUCE_ONLY if gone else codes.SHRUNK_REDUCE_ONLY, lots=lots)
        if gone:
            self.remove_order(order)
        else:
            order.cut(lots)


def _contract(compiled: config.Compiled, k: int) -> Contract:
    row = compiled.instruments[k]
    base, sources = int(row["constituent_base"]), int(row["constituent_count"])
    weights = [int(source["weight_ppm"]) for source in compiled.constituents[base : base + sources]]
    names = (
        "kind",
        "unit_value",
        "mark_per_tick",
        "ticks_min",
        "ticks_max",
        "order_max_lots",
        "position_max_lots",
        "open_interest_max_lots",
        "maker_ppb",
        "taker_ppb",
        "liquidation_ppm",
        "market_band_ppm",
        "iceberg",
        "pegged",
        "spot",
        "feedback_ppm",
        "initial_ppm",
        "asset",
        "self_trade",
    )
    values = {name: int(row[name]) for name in names}
    return Contract(**values, model=_model(compiled, k), weights_ppm=weights, allocation=_allocation(compiled, k))


def _model(compiled: config.Compiled, k: int) -> Model:
    row = compiled.margins[k]
    tables = [
        [Tier(*map(int, tier)) for tier in compiled.tiers[base : base + size].tolist()]
        for base, size in zip(row["set_base"].tolist(), row["set_size"].tolist(), strict=True)
        if size
    ]
    return Model(kind=int(compiled.instruments[k]["margin_model"]), **_named(row, Model), tables=tables)


def _allocation(compiled: config.Compiled, k: int) -> Allocation | None:
    """None = first in, first out."""
    if not compiled.instruments[k]["allocation"]:
        return None
    row = compiled.allocations[k]
    terms = ("top_min_lots", "top_max_lots", "fifo_ppm", "pro_rata_min_lots", "leveling")
    makers = zip(row["maker_account"].tolist(), row["maker_ppm"].tolist(), strict=True)
    return Allocation(*(int(row[name]) for name in terms), makers=list(makers)[: int(row["maker_count"])])


def _named(row: Any, terms: type) -> dict[str, int]:
    """Fields of a compiled record that a dataclass asks for."""
    asked = [field.name for field in fields(terms) if field.default is MISSING and field.name in row.dtype.names]
    return {name: int(row[name]) for name in asked}


def _impact(row: Any) -> Impact:
    terms = ("volume_lots", "permanent_ppm", "decaying_ppm", "keep_ppb", "period_ns", "square_root", "forced_only")
    return Impact(**{name: int(row[name]) for name in terms})


def _limits(compiled: config.Compiled) -> list[Limit]:
    names = ("kind", "by_group", "capacity", "refill", "interval_ns")
    rows = compiled.limits[: int(compiled.gate[0]["limits"])]
    return [Limit(**{name: int(row[name]) for name in names}, weights=row["weights"].tolist()) for row in rows]


def _rules(row: Any) -> Rules:
    names = ("violations", "violation_ns", "ban_ns", "ban_max_ns", "forget_ns", "cancels_exempt", "depth", "reserved")
    terms = {name: int(row[name]) for name in (*names, "exempt_cancels", "exempt_closes")}
    return Rules(**terms, service_ns=row["service_ns"].tolist())
