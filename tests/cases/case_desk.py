"""A venue driven in the units of a case: builds the configuration, sends events, reads outcomes and state."""

import itertools
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, NamedTuple

import probes
import scaling
from registry import Unsupported

from exchange import codes, config, schema
from exchange.errors import ConfigError
from exchange.venue import Exchange

HOLDER, OTHER, THIRD, BANK = 8, 9, 10, 11  # users: the case's own account, its counterparties, a rich bystander
SIDES = {"buy": codes.BID, "bid": codes.BID, "long": codes.BID, "sell": codes.ASK, "ask": codes.ASK, "short": codes.ASK}
TIMES = {"GTC": codes.GTC, "IOC": codes.IOC, "FOK": codes.FOK, "TO_LIMIT": codes.TO_LIMIT}
IN_LOTS = (codes.AUCTION, codes.INDICATIVE)  # their money is an imbalance
IN_SUB_TICKS = (codes.MARK_PRICE, codes.FUNDING, codes.LIQUIDATION_START, codes.TAKEN)


@dataclass(frozen=True)
class Contract:
    """One instrument in the units of a case; `mark_per_tick` is chosen with the quantum."""

    prices: tuple[Any, ...]
    sizes: tuple[Any, ...]
    tiers: tuple[tuple[Any, ...], ...] = ((0, 0, 100),)  # floor, maintenance rate, leverage, initial ppm
    tick: Decimal | None = None
    lot: Decimal | None = None
    kind: str = "linear"
    multiplier: Decimal = Decimal(1)
    price_max: Decimal | None = None
    maker: Any = 0
    taker: Any = 0
    liquidation: Any = 0
    band: Any = Decimal("0.05")
    constituents: int = 0
    weights: tuple[int, ...] = ()  # of the constituents, as they are; none: all 0
    coarse: bool = False  # a sub-tick is a tick
    iceberg: str = "none"
    mark_per_tick: int = 1
    margin: dict[str, Any] | None = None
    allocation: dict[str, Any] | None = None
    life: dict[str, Any] | None = None
    limit: Any = None  # of orders and positions; None: with room for the sizes

    def sized(self) -> "Contract":
        """With tick, lot and ladder taken from the prices and sizes where the case does not state them."""
        tick = self.tick or scaling.step_of(self.prices)
        lot = self.lot or scaling.step_of(self.sizes)
        return replace(self, tick=tick, lot=lot, price_max=self.price_max or scaling.room(max(self.prices)))

    def table(self, symbol: str) -> dict[str, Any]:
        """The `[[venue.instruments]]` table of this contract."""
        limit = scaling.text(self.limit or scaling.limit_of(self.sizes, self.lot))
        tiers = [self.tier(*tier) for tier in self.tiers]
        rates = {"maker": scaling.rate(self.maker), "taker": scaling.rate(self.taker)}
        fees = {
            **{f"{side}_ppm": ppm for side, (ppm, _) in rates.items()},
            **{f"{side}_beyond_ppb": beyond_ppb for side, (_, beyond_ppb) in rates.items()},
            "liquidation_ppm": scaling.ppm(self.liquidation),
        }
        weights = self.weights or tuple(0 for _ in range(self.constituents))
        sources = [{"name": f"source {k}", "weight_ppm": weight} for k, weight in enumerate(weights)]
        return {
            "symbol": symbol,
            "settle": "USD",
            "kind": self.kind,
            "tick": scaling.text(self.tick),
            "lot": scaling.text(self.lot),
            "multiplier": scaling.text(self.multiplier),
            "price_max": scaling.text(self.price_max),
            "order_max": limit,
            "position_max": limit,
            "open_interest_max": limit,
            "tiers": tiers,
            "fees": fees,
            "mark_per_tick": self.mark_per_tick,
            "market_band_ppm": scaling.ppm(self.band),
            "constituents": sources,
            "margin": self.margin or {},
            "allocation": self.allocation or {},
            "life": self.life or {},
            "iceberg": self.iceberg,
        }

    @staticmethod
    def tier(floor: Any, rate: Any, leverage: int, initial_ppm: int | None = None) -> dict[str, Any]:
        """One tier; a rate of None follows from the model."""
        row = {"floor": scaling.text(floor), "leverage_max": int(leverage), "initial_ppm": initial_ppm}
        return row if rate is None else {**row, "maintenance_ppm": scaling.ppm(rate)}


class Row(NamedTuple):
    """One outcome in the units of the case."""

    kind: str
    code: str
    account: int
    counterparty: int
    order_id: int
    instrument: int
    price: Decimal
    size: Decimal
    money: Decimal
    flags: int


class Desk:
    """A venue over contracts that share one settlement asset, with the finest quantum that its bounds allow."""

    def __init__(
        self, contracts: list[Contract], money: tuple[Any, ...] = (), quanta: Any = scaling.QUANTA, **sections: Any
    ):
        sized = [contract.sized() for contract in contracts]
        self.contracts, self.quantum, venue = self._build(sized, money, quanta, sections)
        self.exchange = Exchange(venue)
        self._seq = itertools.count(1)

    @staticmethod
    def _build(
        contracts: list[Contract], money: tuple[Any, ...], quanta: Any, sections: dict[str, Any]
    ) -> tuple[Any, ...]:
        refusal: Exception | str = "the money of the case is too large"
        largest = (*money, *(tier[0] for contract in contracts for tier in contract.tiers))
        for quantum in quanta:
            if not scaling.fits(largest, quantum):
                continue
            chosen = [
                replace(contract, mark_per_tick=scaling.mark_per_tick(contract, quantum)) for contract in contracts
            ]
            table = {
                "name": "cases",
                "assets": [{"name": "USD", "quantum": scaling.text(quantum)}],
                "instruments": [contract.table(f"C{k}") for k, contract in enumerate(chosen)],
                "mark": {"source": "recorded"},
                "capacity": {"accounts": 8, "positions": 64, "orders": 64, "external_levels": 1, "outcomes": 8_192},
            }
            try:
                return chosen, quantum, config.build_venue(table | sections)
            except ConfigError as error:
                refusal = error
        raise Unsupported(f"the configuration cannot state it: {refusal}")

    # --- events ---------------------------------------------------------------------------------------------

    def send(self, kind: int, **fields: int) -> list[Row]:
        """One event, with its TERMS where `fields` name some; returns its outcomes."""
        self.exchange.submit(schema.events({"seq": next(self._seq), "kind": kind, **fields}))
        self.exchange.run()
        return self._rows()

    def level(self, side: str, price: Any, size: Any) -> None:
        """Size that the recorded book has at a price."""
        flags = {"flags": codes.LAST}
        self.send(codes.LEVEL_SET, side=SIDES[side], price=self.ticks(price), qty=self.lots(size), **flags)

    def index(self, price: Any, source: int = 0, **fields: int) -> list[Row]:
        price_sub = scaling.whole(price, scaling.sub_tick(self.contracts[0]))
        return self.send(codes.INDEX, order_id=source, price=price_sub, **fields)

    def run_until(self, ns: int) -> list[Row]:
        """Fire the timers due before or at a time."""
        self.exchange.run(scaling.difference(ns, -1))
        return self._rows()

    def settle(self) -> list[Row]:
        """Fire every timer."""
        self.exchange.run(scaling.FAR_NS)
        return self._rows()

    def _rows(self) -> list[Row]:
        return [self._row(outcome) for outcome in self.exchange.outcomes()]

    def _row(self, outcome: Any) -> Row:
        contract = self.contracts[max(0, outcome["instrument"])]
        step = scaling.sub_tick(contract) if outcome["kind"] in IN_SUB_TICKS else contract.tick
        return Row(
            codes.OUTCOME_NAME[outcome["kind"]],
            codes.RESULT_NAME[outcome["code"]],
            int(outcome["account"]),
            int(outcome["counterparty"]),
            int(outcome["order_id"]),
            int(outcome["instrument"]),
            scaling.amount(outcome["price"], step),
            scaling.amount(outcome["lots"], contract.lot),
            scaling.amount(outcome["money"], contract.lot if outcome["kind"] in IN_LOTS else self.quantum),
            int(outcome["flags"]),
        )

    def ticks(self, price: Any, instrument: int = 0) -> int:
        return scaling.whole(price, self.contracts[instrument].tick)

    def lots(self, size: Any, instrument: int = 0) -> int:
        return scaling.whole(size, self.contracts[instrument].lot)

    def move_cash(self, kind: int, account: int, quanta: int) -> bool:
        """DEPOSIT or WITHDRAW quanta; was all of it accepted?"""
        rows = [self.send(kind, account=account, qty=part)[-1] for part in scaling.parcels(quanta)]
        return all(row.code == "OK" for row in rows)

    def deposit(self, account: int, money: Any) -> None:
        self.move_cash(codes.DEPOSIT, account, scaling.nearest(money, self.quantum))

    def withdraw(self, account: int, money: Any) -> bool:
        return self.move_cash(codes.WITHDRAW, account, scaling.nearest(money, self.quantum))

    def enrich(self, *accounts: int) -> None:
        """Give accounts more than any case asks for."""
        for account in accounts:
            for _ in range(scaling.PLENTY):
                self.send(codes.DEPOSIT, account=account, qty=scaling.TRANSFER_MAX)

    def open_empty(self, account: int) -> None:
        """Open a user with no cash, so that its cash is its realised profit."""
        self.move_cash(codes.DEPOSIT, account, 1)
        self.move_cash(codes.WITHDRAW, account, 1)

    def take(self, account: int, owner: int, size: Any, ns: int) -> list[Row]:
        """What changes hands when somebody takes up to a size of what is auctioned of an account at a time."""
        return self.send(codes.TAKE, account=account, order_id=owner, qty=self.lots(size), ts_ns=ns)

    def left_behind(self) -> Decimal:
        """Equity that takers of a unit have left behind in it."""
        return self.money(self.exchange.state.ledger.standings["kept"].sum())

    def mark(self, price: Any, instrument: int = 0) -> list[Row]:
        return self.mark_sub(scaling.nearest(price, scaling.sub_tick(self.contracts[instrument])), instrument)

    def mark_sub(self, mark_sub: int, instrument: int = 0) -> list[Row]:
        return self.send(codes.MARK, instrument=instrument, price=mark_sub)

    def set_leverage(self, account: int, leverage: Any) -> str:
        return self.send(codes.SET_LEVERAGE, account=account, qty=scaling.hundredths(leverage))[-1].code

    def isolate(self, account: int, leverage: Any = None) -> None:
        self.send(codes.SET_MARGIN_MODE, account=account, qty=codes.ISOLATED)
        if leverage is not None:
            self.set_leverage(account, leverage)

    def seed(self, account: int, other: int, side: str, price: Any, size: Any, instrument: int = 0) -> None:
        """A trade between two users outside the book, without fees."""
        buyer, seller = (account, other) if SIDES[side] == codes.BID else (other, account)
        self.send(
            codes.OPEN_POSITION,
            account=buyer,
            order_id=seller,
            instrument=instrument,
            price=self.ticks(price, instrument),
            qty=self.lots(size, instrument),
        )

    def transfer(self, account: int, money: Any, out: bool = False) -> str:
        """Move money into an isolated position, or out of it."""
        quanta = scaling.opposite(money, self.quantum) if out else scaling.whole(money, self.quantum)
        return self.send(codes.TRANSFER, account=account, qty=quanta)[-1].code

    def transfer_cash(self, account: int) -> None:
        """Move all of a wallet's cash into its isolated position."""
        for part in scaling.parcels(int(self.exchange.wallet(account)["cash"])):
            self.send(codes.TRANSFER, account=account, qty=part)

    def order(
        self,
        account: int,
        order_id: int,
        side: str,
        price: Any,
        size: Any,
        time: str = "GTC",
        flags: int = 0,
        **terms: int,
    ) -> list[Row]:
        """A limit order, or a market order when `price` is None."""
        kind = (
            {"price": 0, "flags": flags | codes.MARKET}
            if price is None
            else {"price": self.ticks(price), "flags": flags}
        )
        return self.send(
            codes.NEW,
            account=account,
            order_id=order_id,
            side=SIDES[side],
            qty=self.lots(size),
            time_in_force=TIMES[time],
            **kind,
            **terms,
        )

    def amend(self, account: int, order_id: int, price: Any, size: Any) -> list[Row]:
        """New price (None = keep) and new total size of a live order."""
        ticks = 0 if price is None else self.ticks(price)
        return self.send(codes.AMEND, account=account, order_id=order_id, price=ticks, qty=self.lots(size))

    # --- readings -------------------------------------------------------------------------------------------

    def money(self, quanta: int) -> Decimal:
        return scaling.amount(quanta, self.quantum)

    def cash(self, account: int) -> Decimal:
        return self.money(self.exchange.wallet(account)["cash"])

    def equity(self, account: int) -> Decimal:
        return self.money(self.exchange.equity(account))

    def entry_value(self, account: int) -> Decimal:
        """What an account's position was worth when it was opened, without its sign."""
        return self.money(abs(self.exchange.position(account, 0)["entry_value"]))

    def margin(self, account: int) -> Decimal:
        return self.money(self.exchange.position(account, 0)["isolated_margin"])

    def size(self, account: int, instrument: int = 0) -> Decimal:
        position = self.exchange.position(account, instrument)
        return scaling.amount(0 if position is None else position["lots"], self.contracts[instrument].lot)

    def order_margin(self, account: int) -> Decimal:
        """Initial margin of an account's open orders and positions."""
        state = self.exchange.state
        return self.money(probes.margin_of(state.ledger, state.prices, account))

    def unit_margin(self, account: int, instrument: int = 0) -> tuple[Decimal, Decimal]:
        """Equity and maintenance of the unit of a position."""
        state = self.exchange.state
        equity, maintenance, _ = probes.position_numbers(state.ledger, state.prices, account, instrument)
        return self.money(equity), self.money(maintenance)

    def position_margin(self, account: int) -> dict[str, Decimal]:
        """Notional, profit, equity and margin levels of an account's position, and its margin ratio."""
        found = self.exchange.position_margin(account, 0)
        levels = {name: self.money(quanta) for name, quanta in found._asdict().items()}
        return {**levels, "ratio": scaling.amount(found.ratio_ppm, scaling.MILLIONTH)}

    def liquidation_price(self, account: int, instrument: int = 0) -> Decimal | None:
        mark_sub = self.exchange.liquidation_price(account, instrument)
        return None if mark_sub is None else scaling.amount(mark_sub, scaling.sub_tick(self.contracts[instrument]))

    def mark_price(self) -> Decimal:
        return scaling.amount(self.exchange.markets[0]["mark_sub"], scaling.sub_tick(self.contracts[0]))

    def recorded_index(self) -> Decimal:
        """What the sources make, which may be no price of the ladder."""
        return scaling.amount(self.exchange.markets[0]["recorded_index_sub"], scaling.sub_tick(self.contracts[0]))

    def index_sources(self) -> tuple[Decimal, list[Decimal]]:
        """Median of the index's sources, and what each counts as."""
        median, counted = self.exchange.index_sources(0)
        step = scaling.sub_tick(self.contracts[0])
        return scaling.amount(median, step), [scaling.amount(price, step) for price in counted]

    def impact_price(self, side: str, size: Any) -> Decimal:
        """What the orders of a side bring on average for a size, as the venue rounds it."""
        contract = self.contracts[0]
        return scaling.amount(self.exchange.impact_price(0, SIDES[side], self.lots(size)), contract.tick)

    def parts(self, order_id: int) -> tuple[Decimal, Decimal]:
        """What an order shows and what it hides."""
        order = self.exchange.order(order_id)
        lots = (0, 0) if order is None else (order["leaves_lots"], self.exchange.hidden_lots(order_id))
        shown, hidden = (scaling.amount(part, self.contracts[0].lot) for part in lots)
        return shown, hidden

    def levels(self, side: str, count: int) -> list[list[Decimal]]:
        """The best levels of a side as price and size."""
        contract = self.contracts[0]
        return [
            [scaling.amount(ticks, contract.tick), scaling.amount(lots, contract.lot)]
            for ticks, lots in self.exchange.levels(0, SIDES[side], count)
        ]


def of_kind(rows: list[Row], kind: str, account: int | None = None) -> list[Row]:
    return [row for row in rows if row.kind == kind and account in (None, row.account)]
