"""Metamorphic relations of the matching rules: a rule that is not used, or used in another guise, changes nothing."""

import itertools

import numpy as np

from exchange import codes, schema
from tests.campaign.case import (
    MONEY,
    TAG,
    Case,
    contracts_alone,
    is_in,
    outcomes_of,
    stream,
    terms_of,
    without_dates,
    world,
)
from tests.campaign_events import START_TICKS, TIERS, USERS, generator

PURPOSE = 43  # of the generator here
LIMIT = 2**31 - 1
WIDE = {"collar_ppm": 999_999, "fat_finger_ppm": 999_999, "notional_max": "1000000000", "order_min": "1",
        "lot_step": "1", "price_step_ticks": 1, "open_orders": 10**6}
THROTTLES = [{"kind": "bucket", "capacity": LIMIT, "refill": LIMIT, "interval_ns": 10**6},
             {"kind": "window", "scope": "group", "capacity": LIMIT, "interval_ns": 10**9}]
MODES = ("cancel_newest", "cancel_oldest", "cancel_both", "decrement")


def published_book(seed: int, count: int) -> Case:
    """A venue that publishes its book, and one that does not."""
    table = world(seed)
    return Case(table, {**table, "publish_book": True}, *[stream(table, seed, count)] * 2)


def limits_never_reached(seed: int, count: int) -> Case:
    """Guards, price bands, throttles and bans that are there, but so wide that nothing comes near them. (A strong
    impact would: it takes the recorded quotes to the end of the ladder.)"""
    table = without_dates(world(seed, auction={"dynamic_ppm": 0, "static_ppm": 0}, impact={"model": "none"}))
    table |= {"orders": {}, "throttles": [], "penalty": {}}
    wide = {**table, "orders": WIDE, "throttles": THROTTLES, "penalty": {"violations": 1},
            "auction": {**table["auction"], "dynamic_ppm": 999_999, "static_ppm": 999_999}}
    events = stream(table, seed, count)
    return Case(table, wide, *[events[~is_in(events, (codes.SET_THROTTLE,))]] * 2)


def all_first_in_first_out(seed: int, count: int) -> Case:
    """Levels shared in steps, of which the first gives everything to the oldest. Prevention and what is counted before
    a fill look at a shared level as a whole: modes, links and budgets are left out."""
    table = world(seed, capacity={"orders": 2_000})
    for instrument in table["instruments"]:
        instrument["self_trade"], instrument["allocation"] = "none", {}
        instrument.pop("iceberg", None)
    steps = {"algorithm": "configurable", "fifo_ppm": 10**6, "top_max_lots": 0}
    shared = {**table, "instruments": [{**instrument, "allocation": steps} for instrument in table["instruments"]]}
    events = stream(table, seed, count)
    without(events, "self_trade", "link_id")
    budgets = (events["kind"] == codes.NEW) & (events["flags"] & codes.BUDGET != 0)
    return Case(table, shared, *[events[~budgets]] * 2)


def nobody_meets_himself(seed: int, count: int) -> Case:
    """Self-trade prevention where one account only buys and its neighbour only sells."""
    table = world(seed)
    for instrument in table["instruments"]:
        instrument["self_trade"] = "none"
    mode = MODES[seed % len(MODES)]
    prevents = {**table, "instruments": [{**instrument, "self_trade": mode} for instrument in table["instruments"]]}
    events = stream(table, seed, count)
    events = events[~is_in(events, (codes.SET_GROUP,))]
    without(events, "self_trade")
    owner: dict[int, int] = {}
    for k in np.flatnonzero(is_in(events, (codes.NEW,)) & (events["account"] >= codes.FIRST_USER)):
        owner[int(events["order_id"][k])] = int(events["account"][k] - codes.FIRST_USER) // 2 * 2 + codes.FIRST_USER
        owner[int(events["order_id"][k])] += int(events["side"][k] == codes.ASK)
        events["account"][k] = owner[int(events["order_id"][k])]
        if k and events["kind"][k - 1] == codes.TERMS:
            events["account"][k - 1] = events["account"][k]
    for k in np.flatnonzero(is_in(events, (codes.AMEND, codes.CANCEL))):
        events["account"][k] = owner.get(int(events["order_id"][k]), int(events["account"][k]))
    return Case(table, prevents, events, events)


def fired_stops(seed: int, count: int) -> Case:
    """A stop that fired, and instead of it a new order of that moment. Nothing but the tape moves prices, no row is out
    of order (its refusal names the clock), nobody is pegged or isolated (what waits is an open order), and nobody names
    a stop again; in the image it comes after the rows of the time at which it fired."""
    table = world(seed, mark={"source": "recorded"}, depth={"refill": "none"}, impact={"model": "none"},
                  index={"feedback_ppm": 0}, gateway={"service_ns": 0})
    table |= {"orders": {}, "throttles": [], "penalty": {}, "auction": {}}
    table = contracts_alone(table)  # the mark of others goes by timers
    table["instruments"] = [{**instrument, "pegged": False} for instrument in table["instruments"]]
    events = stream(table, seed, count)
    events = events[~is_in(events, (codes.AUCTION_START, codes.AUCTION_END, codes.SET_MARGIN_MODE))]
    events = events[events["ts_ns"] >= np.maximum.accumulate(events["ts_ns"])]
    events["qty"][events["kind"] == codes.DEPOSIT] = MONEY  # a liquidation is a timer that moves the last price
    without(events, "link_id")
    stops = np.flatnonzero(events["kind"] == codes.NEW)
    stops = stops[(stops > 0) & (events["kind"][stops - 1] == codes.TERMS)]
    stops = stops[terms_of(events)["trigger"][stops - 1] != 0]
    first = {int(events["order_id"][k]): int(k) for k in stops[::-1]}
    named = is_in(events, (codes.NEW, codes.AMEND, codes.CANCEL)) & np.isin(events["order_id"], list(first))
    named[list(first.values())] = False
    events = events[~named]
    outcomes = outcomes_of(table, events)
    fired = outcomes[outcomes["kind"] == codes.TRIGGERED]
    place = {int(events["order_id"][k]): k for k in np.flatnonzero(events["kind"] == codes.NEW)}
    clock = np.maximum.accumulate(events["ts_ns"])
    image, gone, late, places = events.copy(), [], [], []
    for order_id, ts_ns in zip(fired["order_id"].tolist(), fired["ts_ns"].tolist(), strict=True):
        rows = events[place[order_id] - 1:place[order_id] + 1].copy()
        rows["ts_ns"] = ts_ns
        rows["price"][1] *= rows["flags"][1] & codes.MARKET == 0  # a market order forgets its price while it waits
        for name in ("trigger", "trigger_kind", "trigger_ticks", "offset_ticks"):
            terms_of(rows)[name][0] = 0
        gone += [place[order_id] - 1, place[order_id]]
        late.append(rows)
        places += 2 * [int(np.searchsorted(clock, ts_ns, "right"))]
        events["liquidation_id"][place[order_id]] = TAG  # its RESULT, that it waits, is not in the image
    if late:
        image = np.insert(image, places, np.concatenate(late))
        moved = np.array(gone) + np.searchsorted(places, gone, "right")
        image = np.delete(image, moved)

    def entered(outcomes: np.ndarray) -> None:
        triggered = outcomes["kind"] == codes.TRIGGERED
        outcomes["kind"][triggered], outcomes["flags"][triggered] = codes.RESULT, codes.NEW
        outcomes["cause_seq"] = 0

    return Case(table, table, events, image, entered, entered)


def order_of_arrival(seed: int, count: int) -> Case:
    """Price, volume and imbalance of an auction, whoever came first. Everybody is rich and may hold what he likes."""
    table = contracts_alone(world(seed, mark={"source": "recorded"}, gateway={"service_ns": 0}))
    table |= {"orders": {}, "throttles": [], "penalty": {}}
    table["auction"] |= {"dynamic_ppm": 0, "static_ppm": 0, "opening": False}
    for instrument in table["instruments"]:
        instrument["self_trade"], instrument["tiers"], instrument["margin"] = "none", TIERS[:1], {}
        instrument["position_max"], instrument["open_interest_max"] = "100000", "1000000"
    rng, mark = generator(seed, PURPOSE), START_TICKS * table["instruments"][0]["mark_per_tick"]
    asset = [asset["name"] for asset in table["assets"]].index(table["instruments"][0]["settle"])
    opening = [{"kind": codes.DEPOSIT, "account": codes.FIRST_USER + k, "instrument": asset, "qty": MONEY}
               for k in range(USERS)]
    parts = [schema.events({"kind": codes.MARK, "price": mark}, *opening)]
    turned = list(parts)
    for turn in range(max(1, count // 40)):
        reach, ids = int(rng.choice([2, 6, 20])), itertools.count(100 * turn + 1)
        orders = [{"kind": codes.NEW, "account": codes.FIRST_USER + int(rng.integers(USERS)), "order_id": next(ids),
                   "side": int(rng.integers(2)), "price": START_TICKS + int(rng.integers(-reach, reach + 1)),
                   "qty": int(rng.integers(1, 10)), "flags": codes.MARKET if rng.random() < 0.1 else 0}
                  for _ in range(int(rng.integers(2, 36)))]
        begin = {"kind": codes.AUCTION_START, "price": START_TICKS + int(rng.integers(-9, 9)) if turn % 2 else 0}
        ending = {"kind": codes.AUCTION_END}, {"kind": codes.CANCEL_ALL}
        parts.append(schema.events(begin, *orders, *ending))
        turned.append(schema.events(begin, *(orders[k] for k in rng.permutation(len(orders))), *ending))
    events, image = np.concatenate(parts), np.concatenate(turned)

    def unnumbered(outcomes: np.ndarray) -> None:
        outcomes["seq"] = 0

    return Case(table, table, events, image, unnumbered, unnumbered, (codes.AUCTION,))


def without(events: np.ndarray, *names: str) -> None:
    """Take fields out of the terms of a stream, in place."""
    for name in names:
        terms_of(events)[name][events["kind"] == codes.TERMS] = 0


RELATIONS = (published_book, limits_never_reached, all_first_in_first_out, nobody_meets_himself, fired_stops,
             order_of_arrival)
