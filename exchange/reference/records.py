"""What the venue keeps: contracts, orders, external levels, wallets, positions, units, markets."""

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from exchange import codes
from exchange.reference import arithmetic
from exchange.reference.lives import Option
from exchange.reference.requirement import Model

UNPLACED = 1_000_000  # behind every place


class Event(NamedTuple):
    """One row of the tape, fields as in the event record."""

    ts_ns: int
    exchange_ns: int
    seq: int
    order_id: int
    price: int
    qty: int
    account: int
    liquidation_id: int
    kind: int
    instrument: int
    flags: int
    side: int
    time_in_force: int


class Terms(NamedTuple):
    """What a TERMS row adds to the next command, fields as in the terms record."""

    ts_ns: int
    expiry_ns: int
    link_id: int
    order_id: int
    trigger_ticks: int
    display_lots: int
    min_lots: int
    display_min_lots: int
    account: int
    offset_ticks: int
    kind: int
    instrument: int
    trigger: int
    trigger_kind: int
    peg: int
    self_trade: int


def terms_of(event: Event) -> Terms:
    """A TERMS row, which came as an event, with its bytes read as what they are."""
    return Terms(*struct.unpack("<qqqqiiiiiihhbbbb", struct.pack("<qqqqqqiihhhbb", *event)))


@dataclass(slots=True)
class Contract:
    """Terms of one instrument. `unit_value`: linear, money per lot and tick; inverse, money times ticks per lot."""

    kind: int
    unit_value: int
    mark_per_tick: int
    ticks_min: int
    ticks_max: int
    order_max_lots: int
    position_max_lots: int
    open_interest_max_lots: int
    maker_ppb: int
    taker_ppb: int
    liquidation_ppm: int
    market_band_ppm: int
    iceberg: int
    pegged: int
    spot: int
    feedback_ppm: int
    initial_ppm: int
    asset: int
    self_trade: int
    model: Model
    weights_ppm: list[int]
    allocation: "Allocation | None"
    option: Option | None = None

    def value(self, mark_sub: int, lots: int) -> int:
        """Money of signed lots at a price in sub-ticks, 0 for none: what profit is the change of."""
        if mark_sub == 0:
            return 0
        if self.kind == codes.LINEAR:
            return self.unit_value * mark_sub * lots // self.mark_per_tick
        size = self.unit_value * self.mark_per_tick * abs(lots) // mark_sub
        return -size if lots > 0 else size

    def trade_value(self, ticks: int, lots: int) -> int:
        """Money of signed lots at a price in ticks."""
        return self.value(ticks * self.mark_per_tick, lots)

    def notional(self, ticks: int, lots: int) -> int:
        """Size of lots at a price in ticks, in money."""
        return abs(self.trade_value(ticks, lots))

    def clip_ticks(self, ticks: int) -> int:
        """The nearest price of the ladder."""
        return arithmetic.clamp(ticks, self.ticks_min, self.ticks_max)

    def clip_sub(self, price_sub: int) -> int:
        """The nearest mark inside the ladder."""
        return arithmetic.clamp(price_sub, self.ticks_min * self.mark_per_tick, self.ticks_max * self.mark_per_tick)

    def exposure_limit(self, leverage_e2: int) -> int | None:
        """Largest exposure (money) that a leverage allows; None when there is no limit."""
        return next((tier.floor for tier in self.model.tiers if tier.leverage_max_e2 < leverage_e2), None)


@dataclass(slots=True)
class Policy:
    """The profile's choices, fields as in the policy record."""

    mark_source: int
    mark_period_ns: int
    mark_samples: int
    option_period_ns: int
    index_rule: int
    index_outlier_ppm: int
    index_stale_ns: int
    sell_order: int
    leg_order: int
    bankruptcy_fee: int
    fund_least_ppm: int
    fund_most_ppm: int
    funding_interval_ns: int
    refill: int
    refill_period_ns: int
    queue: int
    queue_exponent: int
    mode: int
    join_auctions: int
    detection_delay_ns: int
    order_delay_ns: int
    assets: int
    instruments: int
    accounts: int
    outcomes_per_order: int
    gated: int
    count_quotes: int


class Allocation(NamedTuple):
    """How a taker's lots are shared among the orders of a level; `makers` are (account, share in ppm)."""

    top_min_lots: int
    top_max_lots: int
    fifo_ppm: int
    pro_rata_min_lots: int
    leveling: int
    makers: list[tuple[int, int]]


@dataclass(slots=True)
class OrderTerms:
    """What an order has beyond price and quantity. `trigger_ticks` is 0 once fired; `link` is one-cancels-other."""

    expiry_ns: int = 0
    time_in_force: int = 0
    self_trade: int = 0
    trigger: int = 0
    trigger_kind: int = 0
    trigger_ticks: int = 0
    offset_ticks: int = 0
    peg: int = 0
    limit_ticks: int = 0  # a peg's cap
    min_lots: int = 0
    display_lots: int = 0
    display_min_lots: int = 0
    link: "Order | None" = None
    parked_at: int = 0
    joined: int = 0


@dataclass(slots=True)
class Order:
    """A live order. An EXTERNAL one is what is left of a recorded level."""

    serial: int
    order_id: int
    account: int
    instrument: int
    side: int
    ticks: int
    order_lots: int
    leaves_lots: int
    flags: int
    external: "ExternalLevel | None" = None
    joined: int = 0  # place in time among the orders of its book
    liquidation_id: int = 0  # of a liquidation order that joined an auction
    terms: OrderTerms | None = None
    hidden_lots: int = 0  # of the leaves: what an iceberg does not show

    @property
    def shown_lots(self) -> int:
        """What stands in the queue."""
        return self.leaves_lots - self.hidden_lots

    def cut(self, lots: int) -> None:
        """Make the order smaller; what it hides goes first."""
        self.leaves_lots -= lots
        self.order_lots -= lots
        self.hidden_lots = max(0, self.hidden_lots - lots)

    def hide(self) -> None:
        """Show the display at most."""
        assert self.terms is not None
        self.hidden_lots = max(0, self.leaves_lots - self.terms.display_lots) if self.terms.display_lots else 0

    @property
    def is_parked(self) -> bool:
        """Whether it waits for a trigger, in no queue and in no sum."""
        return bool(self.flags & codes.PARKED)


@dataclass(slots=True)
class ExternalLevel:
    """Recorded size at one price, in lots; `parts` are its orders in queue order, several only by a queue model."""

    side: int
    recorded_ticks: int
    ticks: int
    recorded_lots: int
    lots: int
    displaced_lots: int
    printed_lots: int
    extrapolated: int
    parts: list[Order]

    @property
    def leaves_lots(self) -> int:
        """What stands in the queue."""
        return sum(part.leaves_lots for part in self.parts)


@dataclass(slots=True)
class Auction:
    """Call auctions of one instrument: terms from the config, then state."""

    midpoint: int
    maker_fee: int
    pressure_ppm: int
    indicative_ns: int
    dynamic_ppm: int
    static_ppm: int
    reference_period_ns: int
    duration_ns: int
    extension_ns: int
    extensions_max: int
    opening: int
    static_ticks: int = 0
    static_period: int = 0
    end_ns: int = 0
    reference_ticks: int = 0
    volatility: int = 0
    extensions: int = 0
    paused_state: int = 0  # 1 + the state that the market goes back to when the engine does
    published: tuple[int, int, int] = (0, 0, 0)
    has_timer: bool = False


@dataclass(slots=True)
class Standing:
    """A unit's standing in one stage: whether it is in it, when that acts, and from when on it may act again."""

    inside: bool = False
    has_timer: bool = False
    due_ns: int = 0
    ready_ns: int = 0
    began_ns: int = 0  # since when it drives
    kept: int = 0  # equity that the takers of a whole unit have left behind
    freed: int = 0  # how much less is missing by what takers took
    bid: int = 0  # standing bids that were made
    acted: int = 0  # times that it acted since the unit came into it, where the stage counts them

    def end(self) -> None:
        """The stage drives no more."""
        self.began_ns = self.kept = self.freed = self.bid = 0


@dataclass(slots=True)
class Unit:
    """A unit of margin: a wallet with its cross positions, or one isolated position."""

    wallet: "Wallet"
    position: "Position | None"
    stage: int = codes.STAGE_NONE
    liquidation_id: int = 0
    next_rank: tuple[int, int, int] = (0, 0, 0)  # place of the next leg: two groups, its instrument
    standings: list[Standing] = field(default_factory=list)  # in the venue's stages
    driver: int | None = None  # the stage whose liquidation it is in

    @property
    def timer_order(self) -> int:
        """Place of the unit among those of its account."""
        return self.wallet.asset if self.position is None else 1000 + self.position.instrument

    @property
    def label(self) -> int:
        """Instrument of an isolated unit, -1 for a wallet."""
        return -1 if self.position is None else self.position.instrument

    @property
    def positions(self) -> list["Position"]:
        """The unit's positions in instrument order."""
        if self.position is not None:
            return [self.position]
        return [position for position in self.wallet.positions.values() if position.mode == codes.CROSS]

    @property
    def pocket(self) -> int:
        """Money that the unit's profits go to."""
        return self.wallet.cash if self.position is None else self.position.isolated_margin


@dataclass(slots=True)
class Wallet:
    """One account's cash (quanta) in one asset; `positions` by instrument, `orders` by id, oldest first."""

    account: int
    asset: int
    cash: int = 0
    is_open: bool = False
    portfolio: bool = False
    positions: dict[int, "Position"] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)
    unit: Unit = field(init=False)

    def __post_init__(self) -> None:
        self.unit = Unit(self, None)


@dataclass(slots=True)
class Position:
    """Signed lots of one account in one instrument; entry value and isolated margin in quanta."""

    wallet: Wallet
    instrument: int
    leverage_e2: int
    lots: int = 0
    entry_value: int = 0
    isolated_margin: int = 0
    bankruptcy_ticks: int = 0
    place: int = UNPLACED  # among the legs of its unit, where a score orders them
    mode: int = codes.CROSS
    isolated_unit: Unit = field(init=False)

    def __post_init__(self) -> None:
        self.isolated_unit = Unit(self.wallet, self)

    @property
    def unit(self) -> Unit:
        """The unit of margin that holds the position."""
        return self.isolated_unit if self.mode == codes.ISOLATED else self.wallet.unit


@dataclass(slots=True)
class Market:
    """Prices and state of one instrument: index and mark in sub-ticks, last in ticks."""

    recorded_index_sub: int = 0
    index_sub: int = 0
    recorded_mark_sub: int = 0
    mark_sub: int = 0
    previous_mark_sub: int = 0
    mark_version: int = 0
    last_ticks: int = 0
    funding_rate_ppb: int = 0
    next_funding_ns: int = 0
    shift_ticks: int = 0
    index_shift_sub: int = 0
    depth_ppm: int = 1_000_000
    state: int = codes.STATE_CONTINUOUS
    crossed_levels: int = 0
    has_mark_timer: bool = False
    has_refill_timer: bool = False
    has_disposal_timer: bool = False
    basis_samples: list[int] = field(default_factory=list)
    constituents: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def stands_still(self) -> bool:
        """Whether nothing matches."""
        return self.state in codes.STILL
