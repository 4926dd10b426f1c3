"""The reference venue behind the interface of `Exchange`: sessions can be tested against the slow, obvious rules."""

import hashlib

import numpy as np

from exchange import codes, config, schema
from exchange.reference import margin
from exchange.reference.venue import ReferenceVenue


class StandIn:
    """What `replay.session` asks of an Exchange, answered by a ReferenceVenue. For a few dozen accounts."""

    def __init__(self, venue: config.Venue):
        self.reference = ReferenceVenue(venue)
        self.world = self.reference.world
        self.compiled = config.compile_venue(venue)
        self._queue: list[np.void] = []
        self._digest = hashlib.sha256()

    def submit(self, events):
        self._queue.extend(events)

    def run(self, until=None):
        due = [event for event in self._queue if until is None or event["ts_ns"] < until]
        self._queue = self._queue[len(due) :]
        if due:
            self.reference.process(np.array(due, schema.EVENT))
        if until is not None:
            self.reference.run(until)
        return len(due)

    def outcomes(self):
        rows = np.array(self.reference.outcomes(), schema.OUTCOME)
        self._digest.update(rows.tobytes())
        return rows

    def digest(self):
        return self._digest.hexdigest()

    def state_digest(self):
        return hashlib.sha256(repr(self.reference.state()).encode()).hexdigest()

    def audit(self, full=True):
        world = self.world
        total = sum(
            w.cash + sum(p.isolated_margin - p.entry_value for p in w.positions.values())
            for w in world.wallets.values()
        )
        assert total == sum(world.deposits) - sum(world.withdrawals)
        assert all(sum(p.lots for p in world.positions_in(k)) == 0 for k in range(len(world.contracts)))

    @property
    def events_processed(self):
        return self.world.event_seq

    @property
    def markets(self):
        records = np.zeros(len(self.world.markets), schema.MARKET)
        for k, market in enumerate(self.world.markets):
            for name in ("mark_sub", "index_sub", "last_ticks"):
                records[k][name] = getattr(market, name)
            records[k]["open_interest_lots"] = self.world.open_interest(k)
        return records

    @property
    def books(self):
        records = np.zeros(len(self.world.markets), schema.BOOK)
        records["crossed_levels"] = [market.crossed_levels for market in self.world.markets]
        return records

    def _levels(self, instrument, side):
        return [
            (ticks, sum(o.leaves_lots for o in orders))
            for ticks, orders in self.world.books[instrument].levels(side)
            if orders
        ]

    def best(self, instrument):
        sides = (self._levels(instrument, side) for side in (codes.BID, codes.ASK))
        bid, ask = (levels[0][0] if levels else 0 for levels in sides)
        return bid, ask

    def depth_lots(self, instrument, side, ppm):
        bid, ask = self.best(instrument)
        if not bid or not ask:
            return 0
        reach = (bid + ask) * ppm // 2_000_000
        mid = (bid + ask) // 2
        return sum(lots for ticks, lots in self._levels(instrument, side) if abs(ticks - mid) <= reach)

    def equity(self, account, asset=0):
        wallet = self.world.wallet(account, asset)
        units = [wallet.unit, *(p.unit for p in wallet.positions.values() if p.mode == codes.ISOLATED)]
        return sum(margin.equity(self.world, unit) for unit in units)

    def liquidating(self):
        units = [
            unit
            for wallet in self.world.wallets.values()
            for unit in (wallet.unit, *(p.isolated_unit for p in wallet.positions.values()))
        ]
        breached = {u.wallet.account for u in units if u.stage and margin.is_breached(self.world, u)}
        return sorted(account for account in breached if account >= codes.FIRST_USER)

    def fund_equity(self, asset=0):
        return margin.equity(self.world, self.world.fund(asset).unit)
