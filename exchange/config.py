"""The venue's configuration: TOML text to frozen Structs, checked, and compiled to the kernels' records.

Every rule that differs between venues is a field here, so that a venue is a TOML file (`exchange/profiles`) and never
a branch in the code. Decimal fields are text in TOML, because 0.1 has no exact binary form.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from exchange import codes, schema, units
from exchange.allocation import (
    Allocation,
    Iceberg,
    SelfTrade,
    compile_allocations,
    compile_matching,
    outcomes_per_order,
)
from exchange.backstop import Backstop
from exchange.collateral import SELL_ORDERS, Collateral, Haircut, check_kind, compile_conversions, compile_haircuts
from exchange.errors import ConfigError
from exchange.fields import explained
from exchange.grids import Grid, PortfolioMargin, compile_grid
from exchange.life import Life, compile_lives
from exchange.liquidity import Depth, Impact, Queue, compile_depth, compile_impacts
from exchange.margins import MARGIN, Margin, Tier, TierRow, check_rate, compile_margin, most_multiple
from exchange.options import Option, compile_options
from exchange.pricing import Constituent, Funding, Index, Mark, compile_price_states, compile_pricing
from exchange.sessions import Auction, OrderGuards, compile_auctions, compile_order_guards
from exchange.stages import STAGES_MAX, Stage, compile_stages, multiple
from exchange.terms import MONEY_MAX, compile_units, enough, most_value, number
from exchange.throttles import Gateway, Penalty, Throttle, compile_gate, compile_gated, compile_limits
from exchange.waterfall import Adl, Fund, compile_waterfall

NOTIONAL_SLACK = 4  # exposure is position + orders, and a trade value may meet both

Ppm = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
FeePpm = Annotated[int, msgspec.Meta(ge=-100_000, le=100_000)]
Beyond = Annotated[int, msgspec.Meta(ge=0, le=999)]
Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=10**18)]
Count = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Asset(_Struct):
    """A settlement asset; `quantum` is its smallest amount, e.g. "0.000001"."""

    name: str
    quantum: str


class Fees(_Struct):
    """Rates of the traded value, with billionths beyond where ppm are too coarse. Negative = rebate.

    `liquidation_ppm` goes to the insurance fund.
    """

    maker_ppm: FeePpm = 200
    taker_ppm: FeePpm = 500
    liquidation_ppm: Ppm = 0
    maker_beyond_ppb: Beyond = 0
    taker_beyond_ppb: Beyond = 0

    def maker_ppb(self) -> int:
        return 1000 * self.maker_ppm + self.maker_beyond_ppb

    def taker_ppb(self) -> int:
        return 1000 * self.taker_ppm + self.taker_beyond_ppb


class Instrument(_Struct):
    """One contract or spot instrument. Prices and quantities are decimal text in the venue's own units.

    `multiplier` is what one unit of quantity stands for: of the base asset (linear, settled in the quote asset) or of
    the quote asset (inverse, settled in the base asset). Of a quanto contract, settled in a third asset, it is the
    money of that asset that one unit of quantity gains when the price rises by one. `price_min` is one tick unless
    said. A contract of kind option has a table `option` and, in `life`, an expiry.
    """

    symbol: str
    settle: str
    tick: str
    lot: str
    price_max: str
    order_max: str
    position_max: str
    open_interest_max: str
    tiers: tuple[Tier, ...] = ()
    margin: Margin = Margin()
    haircuts: tuple[Haircut, ...] = ()
    initial_haircut_ppm: Ppm = 0  # what initial margin holds beyond the haircut
    kind: Literal["linear", "inverse", "quanto", "option", "spot"] = "linear"
    multiplier: str = "1"
    price_min: str | None = None
    mark_per_tick: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1
    fees: Fees | None = None
    impact: Impact | None = None
    self_trade: SelfTrade = "none"
    allocation: Allocation = Allocation()
    iceberg: Iceberg = "none"
    pegged: bool = False
    market_band_ppm: Annotated[int, msgspec.Meta(ge=1, le=999_999)] = 50_000
    index_feedback_ppm: Ppm | None = None  # in place of the venue's; 1000000 = the index follows the own book alone
    constituents: Annotated[tuple[Constituent, ...], msgspec.Meta(max_length=64)] = ()
    orders: OrderGuards | None = None
    auction: Auction | None = None
    life: Life = Life()
    option: Option | None = None


class Liquidation(_Struct):
    """`mode` shadow = liquidations do not touch the book (the no-feedback run).

    `in_auction`: their orders wait for its end, or join it at the bankruptcy price. `leg_order`: which leg of several
    is closed first: as listed, options last, by loss, or by maintenance over what closing costs. With `stages` these
    say when and how users are liquidated; without, all of a unit is closed when its equity is below its maintenance.
    """

    mode: Literal["overlay", "shadow"] = "overlay"
    in_auction: Literal["wait", "join"] = "wait"
    leg_order: Literal["list", "futures_first", "largest_loss", "margin_freed"] = "list"
    detection_delay_ns: Nanoseconds = 0
    order_delay_ns: Nanoseconds = 0
    bankruptcy_fee: bool = False  # the bankruptcy price leaves what the taker's fee of closing comes to
    fund_least_ppm: Ppm = 0
    fund_most_ppm: Ppm = 1_000_000
    stages: Annotated[tuple[Stage, ...], msgspec.Meta(max_length=STAGES_MAX)] = ()


class Capacity(_Struct):
    """Sizes of the pools, allocated once."""

    accounts: Count = 1_000
    positions: Count = 4_000
    orders: Count = 65_536
    external_levels: Count = 65_536
    outcomes: Count = 1 << 20


class Venue(_Struct):
    """A whole venue. `source` and `date` say where the rules were read and when."""

    name: str
    instruments: Annotated[tuple[Instrument, ...], msgspec.Meta(min_length=1, max_length=1000)]
    assets: Annotated[tuple[Asset, ...], msgspec.Meta(min_length=1, max_length=100)]
    source: str = ""
    date: str = ""
    fees: Fees = Fees()
    index: Index = Index()
    mark: Mark = Mark()
    funding: Funding = Funding()
    depth: Depth = Depth()
    impact: Impact = Impact()
    queue: Queue = Queue()
    orders: OrderGuards = OrderGuards()
    auction: Auction = Auction()
    liquidation: Liquidation = Liquidation()
    adl: Adl = Adl()
    fund: Fund = Fund()
    backstop: Backstop = Backstop()
    socialise: Literal["none", "positions", "profits"] = "none"  # who bears what fund and deleveraging leave
    collateral: Collateral = Collateral()
    portfolio_margin: PortfolioMargin = PortfolioMargin()
    capacity: Capacity = Capacity()
    publish_book: bool = False  # every change of a queue is handed out (`Exchange.book_changes`)
    throttles: tuple[Throttle, ...] = ()
    penalty: Penalty = Penalty()
    gateway: Gateway = Gateway()


class Compiled(msgspec.Struct, frozen=True):
    """What the kernels read: record arrays, one row an instrument, tier or constituent."""

    instruments: np.ndarray
    tiers: np.ndarray
    margins: np.ndarray
    constituents: np.ndarray
    impacts: np.ndarray
    allocations: np.ndarray
    order_guards: np.ndarray
    auctions: np.ndarray
    pricing: np.ndarray
    price_states: np.ndarray
    policy: np.ndarray
    conversions: np.ndarray
    sales: np.ndarray
    limits: np.ndarray
    gate: np.ndarray
    lives: np.ndarray
    options: np.ndarray
    grid: Grid
    stages: np.ndarray
    waterfalls: np.ndarray


def profiles_folder() -> Path:
    return Path(__file__).parent / "profiles"


def load_profile(name: str) -> dict[str, Any]:
    """Read `[venue]` of a shipped profile, or of a TOML file when `name` is a path."""
    path = Path(name) if name.endswith(".toml") else profiles_folder() / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in profiles_folder().glob("*.toml")))
        raise ConfigError("$.profile", f"no profile {name!r}; shipped are {known}, or give a path ending in .toml")
    tables = load_toml(path)
    if "venue" not in tables:
        raise ConfigError("$.venue", f"{path} has no [venue] table")
    return tables["venue"]


def load_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file; `ConfigError` names the file and the place."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(str(path), "no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(str(path), f"not valid TOML: {error}") from None


def build_venue(table: dict[str, Any]) -> Venue:
    """Turn a plain table into a checked `Venue`."""
    try:
        venue = msgspec.convert(table, Venue)
    except msgspec.ValidationError as error:
        where, message = explained(error, Venue)
        raise ConfigError(f"$.venue{where.removeprefix('$')}", message) from None
    validate(venue)
    return venue


def fees_of(venue: Venue, instrument: Instrument) -> Fees:
    return instrument.fees if instrument.fees is not None else venue.fees


def validate(venue: Venue) -> None:
    """Prove that the configuration is whole and that no product of money can pass 2**62.

    Raises
    ------
    ConfigError
        With the path of the field, what was expected and, for units, the quantum that would do.
    """
    compile_venue(venue)


def compile_venue(venue: Venue) -> Compiled:
    """Check every relation of the configuration and compile it to record arrays."""
    assets = [asset.name for asset in venue.assets]
    if len(set(assets)) != len(assets):
        raise ConfigError("$.venue.assets", "two assets share a name")
    symbols = [instrument.symbol for instrument in venue.instruments]
    if len(set(symbols)) != len(symbols):
        raise ConfigError("$.venue.instruments", "two instruments share a symbol")
    records = np.zeros(len(venue.instruments), schema.INSTRUMENT)
    margins = np.zeros(len(venue.instruments), MARGIN)
    tiers: list[TierRow] = []
    constituents: list[tuple[int, ...]] = []
    for k, instrument in enumerate(venue.instruments):
        if instrument.settle not in assets:
            raise ConfigError(
                f"$.venue.instruments[{k}].settle", f"{instrument.settle!r} is not in venue.assets {assets}"
            )
        records[k]["asset"] = assets.index(instrument.settle)
        records[k]["tier_base"], records[k]["constituent_base"] = len(tiers), len(constituents)
        tiers += _compile_instrument(records[k], margins[k], venue, k)
        constituents += [(0, 0, source.weight_ppm, 0, source.use == "mark") for source in instrument.constituents]
    _check_bounds(venue, records, margins)
    per_order = outcomes_per_order(venue)
    if venue.capacity.outcomes < per_order * venue.capacity.orders + codes.OUTCOMES_PER_STEP:
        raise ConfigError(
            "$.venue.capacity.outcomes",
            f"must be at least {per_order} * orders + {codes.OUTCOMES_PER_STEP}, the most that one event can emit",
        )
    tier_records, options = np.array(tiers, dtype=schema.TIER), compile_options(venue, records)
    source_records = np.zeros(max(1, len(constituents)), schema.CONSTITUENT)
    for k, row in enumerate(constituents):
        source_records[k] = row
    return Compiled(
        records,
        tier_records,
        margins,
        source_records,
        compile_impacts(venue),
        compile_allocations(venue),
        compile_order_guards(venue),
        compile_auctions(venue),
        compile_pricing(venue),
        compile_price_states(venue, records, tiers),
        _compile_policy(venue),
        *compile_conversions(venue),
        compile_limits(venue.throttles, codes.FIRST_USER + venue.capacity.accounts),
        compile_gate(venue),
        compile_lives(venue),
        options,
        compile_grid(venue, records, options),
        compile_stages(venue),
        compile_waterfall(venue),
    )


def _compile_instrument(record: np.void, margin: np.void, venue: Venue, k: int) -> list[TierRow]:
    """Write one instrument's record; returns the rows of its tiers."""
    instrument, asset, where = venue.instruments[k], int(record["asset"]), f"$.venue.instruments[{k}]"
    quantum = number(f"$.venue.assets[{asset}].quantum", venue.assets[asset].quantum)
    check_kind(instrument, where)
    compile_units(record, instrument, quantum, where)
    own = instrument.index_feedback_ppm
    record["feedback_ppm"] = venue.index.feedback_ppm if own is None else own
    compile_matching(record, instrument)
    fees = fees_of(venue, instrument)
    record["maker_ppb"], record["taker_ppb"] = fees.maker_ppb(), fees.taker_ppb()
    if fees.maker_ppb() + fees.taker_ppb() < 0:
        raise ConfigError(
            f"{where}.fees", "maker and taker rate together are negative: every trade would cost the venue"
        )
    record["liquidation_ppm"] = fees.liquidation_ppm
    record["initial_ppm"] = instrument.initial_haircut_ppm
    record["constituent_count"] = len(instrument.constituents)
    weights = [source.weight_ppm for source in instrument.constituents if source.use == "index"]
    if instrument.kind != "option":  # whose index is its underlying's
        if venue.index.rule != "composite" and not weights:
            message = f"index rule {venue.index.rule!r} needs at least one constituent"
            raise ConfigError(f"{where}.constituents", message)
        if venue.index.rule in ("weighted", "capped") and sum(weights) != 1_000_000:
            raise ConfigError(f"{where}.constituents", "weights must add up to 1000000 ppm")
        if venue.index.rule == "weighted_median" and not any(weights):
            raise ConfigError(f"{where}.constituents", "a weighted median needs a weight above 0")
    if instrument.kind == "spot":
        return compile_haircuts(record, margin, instrument, quantum, where)
    return compile_margin(record, margin, instrument, fees, quantum, where)


def _check_bounds(venue: Venue, records: np.ndarray, margins: np.ndarray) -> None:
    """Per account: value of the largest position and orders. In all: value of the whole open interest."""
    for k, record in enumerate(records):
        price = "price_max" if record["kind"] == codes.LINEAR else "price_min"
        held = max(int(record["position_max_lots"]), int(record["order_max_lots"]))
        whole_book = int(record["open_interest_max_lots"])
        check_rate(margins[k], held, f"$.venue.instruments[{k}]")
        most = NOTIONAL_SLACK * len(records) * most_multiple(margins[k], held) * multiple(venue)
        bounds = [
            ("position_max", f"value at {price}", most_value(record, held) * most),
            ("open_interest_max", f"value at {price}", most_value(record, whole_book) * 2),
        ]
        if record["kind"] == codes.INVERSE:
            numerator = max(held, whole_book) * int(record["mark_unit"])
            bounds.append(("open_interest_max", "value times the price in sub-ticks", numerator))
        for field, what, bound in bounds:
            if bound >= MONEY_MAX:
                asset = venue.assets[int(record["asset"])]
                quantum = enough(units.decimal(asset.quantum), bound)
                raise ConfigError(
                    f"$.venue.instruments[{k}].{field}",
                    f"{what} reaches {bound} quanta, beyond 2**62; a quantum of {quantum:f} for {asset.name} "
                    "would do, or a lower limit",
                )


def _compile_policy(venue: Venue) -> np.ndarray:
    policy = np.zeros(1, schema.POLICY)
    row = policy[0]
    row["mark_source"] = {"recorded": codes.MARK_RECORDED, "computed": codes.MARK_COMPUTED}[venue.mark.source]
    row["mark_period_ns"], row["mark_samples"] = venue.mark.period_ns, venue.mark.samples
    row["option_period_ns"] = venue.mark.option_period_ns
    rules = ("composite", "median", "weighted", "capped", "weighted_median")  # by code
    row["index_rule"] = rules.index(venue.index.rule)
    row["index_outlier_ppm"], row["index_stale_ns"] = venue.index.outlier_ppm, venue.index.stale_ns
    row["sell_order"] = SELL_ORDERS[venue.collateral.order]
    row["leg_order"] = ("list", "futures_first", "largest_loss", "margin_freed").index(venue.liquidation.leg_order)
    row["funding_interval_ns"] = venue.funding.interval_ns
    compile_depth(row, venue.depth, venue.queue)
    row["mode"] = {"overlay": codes.MODE_OVERLAY, "shadow": codes.MODE_SHADOW}[venue.liquidation.mode]
    row["join_auctions"] = venue.liquidation.in_auction == "join" and venue.liquidation.mode != "shadow"
    row["bankruptcy_fee"] = venue.liquidation.bankruptcy_fee
    row["detection_delay_ns"] = venue.liquidation.detection_delay_ns
    row["order_delay_ns"] = venue.liquidation.order_delay_ns
    least, most = venue.liquidation.fund_least_ppm, venue.liquidation.fund_most_ppm
    if least > most:
        raise ConfigError("$.venue.liquidation.fund_least_ppm", f"expected at most fund_most_ppm, {most}")
    row["fund_least_ppm"], row["fund_most_ppm"] = least, most
    row["assets"], row["instruments"] = len(venue.assets), len(venue.instruments)
    row["accounts"] = codes.FIRST_USER + venue.capacity.accounts
    row["outcomes_per_order"] = outcomes_per_order(venue)
    compile_gated(row, venue)
    return policy


def to_table(venue: Venue) -> dict[str, Any]:
    """Plain builtins of a venue, in field order: what the config digest and the run's record are made of."""
    return msgspec.to_builtins(venue)
