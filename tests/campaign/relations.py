"""Metamorphic relations: a stream and its image under a map give outcomes that are equal up to the map.

They need no reference, so they see faults that both implementations share. Each relation says on which worlds it holds.
"""

import copy
from collections import Counter

import numpy as np

from exchange import codes, schema
from tests.campaign import rules
from tests.campaign.case import (
    LOT_KINDS,
    MONEY,
    ORDER_KINDS,
    TAG,
    Case,
    answers,
    contracts_alone,
    is_in,
    outcomes_of,
    stream,
    terms_of,
    without_dates,
    world,
)
from tests.campaign.report import Budget, Part
from tests.campaign.twin import reach_of
from tests.campaign_events import SECOND, TICKS_MAX, TIERS, USERS, generator
from tests.differential import first_difference

SCALE = 10
FEES = ("maker_ppm", "taker_ppm", "maker_beyond_ppb", "taker_beyond_ppb")
PAIRED = (codes.OPEN_POSITION, codes.TAKE)  # whose order id is another account


def relabel_accounts(seed: int, count: int) -> Case:
    """Users under other ids in the same order: ties are broken by id, so order is all that counts."""
    table = world(seed)
    events = stream(table, seed, count)
    names = np.arange(2**13, dtype=np.int64)
    names[codes.FIRST_USER:codes.FIRST_USER + USERS] = codes.FIRST_USER + np.sort(
        generator(seed, 4).choice(table["capacity"]["accounts"], USERS, replace=False))
    image, renamed = events.copy(), copy.deepcopy(table)
    for instrument in renamed["instruments"]:
        for maker in instrument["allocation"]["market_makers"]:
            maker["account"] = int(names[maker["account"]])
    for stage in renamed["liquidation"]["stages"]:
        stage["bidder"] = None if stage["bidder"] is None else int(names[stage["bidder"]])
    held = renamed["backstop"]["account"]
    renamed["backstop"]["account"] = None if held is None else int(names[held])
    image["account"] = names[events["account"]]
    pairs = is_in(events, PAIRED) & (events["order_id"] > 0) & (events["order_id"] < len(names))
    image["order_id"][pairs] = names[events["order_id"][pairs]]

    def rename(outcomes: np.ndarray) -> None:
        seeded = answers(outcomes, PAIRED) & (outcomes["order_id"] > 0)
        seeded &= outcomes["order_id"] < len(names)
        outcomes["order_id"][seeded] = names[outcomes["order_id"][seeded]]
        for field in ("account", "counterparty"):
            outcomes[field] = names[outcomes[field]]

    return Case(table, renamed, events, image, rename)


def scale_lots(seed: int, count: int) -> Case:
    """Lots a tenth as large, ten times as many: the same money. The fund is rich, because it takes over whole lots.
    Refill by half-lives, impact, conversions, shared queues, levels and reserves, and stages that reduce divide lots:
    finer ones are rounded otherwise, and so is what a lot gains in a stress scenario or bears of a deficit."""
    table = world(seed, depth={"refill": "none"}, impact={"model": "none"}, queue={"model": "whole_level"},
                  collateral={"conversions": []}, funding={"payment": "rate"}, portfolio_margin={"groups": []})
    table |= {"fund": {}, "socialise": "none", "backstop": {}}
    table["adl"]["ranking"] = {"pro_rata": "list"}.get(table["adl"]["ranking"], table["adl"]["ranking"])
    for stage in table["liquidation"]["stages"]:
        stage["action"] = {"reduce": "close", "auction": "close"}.get(stage["action"], stage["action"])
        for name in stage.keys() - {"action", "below_ppm", "exit_ppm", "dwell_ns", "cooldown_ns", "band_ppm"}:
            del stage[name]
    for instrument in table["instruments"]:
        instrument["mark_per_tick"], instrument["allocation"] = min(instrument["mark_per_tick"], 10), {}
        instrument["iceberg"] = {"pro_rata": "refresh"}.get(instrument["iceberg"], instrument["iceberg"])
        instrument["margin"] = {**instrument["margin"], "quadratic_slippage_ppt": 0}  # it is of lots
    finer = {**table, "instruments": [{**instrument, "lot": "0.1"} for instrument in table["instruments"]]}
    events = stream(table, seed, count)
    events = events[(events["kind"] != codes.SHIFT) & ((events["price"] < 2**20) | is_in(events, (codes.TERMS,)))]
    events["qty"][(events["kind"] == codes.DEPOSIT) & (events["account"] == codes.INSURANCE)] = MONEY
    image = events.copy()
    image["qty"][is_in(events, LOT_KINDS)] *= SCALE
    for name in ("min_lots", "display_lots", "display_min_lots"):
        terms_of(image)[name][is_in(events, (codes.TERMS,))] *= SCALE

    def scale(outcomes: np.ndarray) -> None:
        result = np.isin(outcomes["kind"], (codes.RESULT, codes.STAGE))  # of a stage it is the number
        outcomes["lots"][~result | answers(outcomes, (*LOT_KINDS, codes.TERMS))] *= SCALE
        outcomes["money"][np.isin(outcomes["kind"], (codes.INDICATIVE, codes.AUCTION))] *= SCALE  # an imbalance

    return Case(table, finer, events, image, scale)


def cleared(events: np.ndarray) -> np.ndarray:
    """Rows by which the venue clears its books, bids before asks."""
    return (events["kind"] == codes.CANCEL_ALL) & (events["account"] == 0)


def resting_orders_never_reached(seed: int, count: int) -> Case:
    """A bid at the lowest price and an ask at the highest, of an account with no other business. Nobody is pegged, for
    the two may be the best of a side. Impact is left out: a strong one takes the recorded quotes to the end of the
    ladder; in a gateway queue the two orders delay others."""
    table = without_dates(world(seed, mark={"source": "recorded"}, index={"feedback_ppm": 0}, impact={"model": "none"},
                                gateway={"service_ns": 0}, funding={"source": "recorded"}))
    for instrument in table["instruments"]:
        instrument["open_interest_max"], instrument["price_min"], instrument["pegged"] = "100000", "1", False
        instrument["index_feedback_ppm"] = 0
    table["auction"] = {**table["auction"], "opening": False}  # whose first timer waits for an order
    events = stream(table, seed, count)
    events = events[~cleared(events)]
    marked = np.flatnonzero(events["kind"] == codes.MARK)
    place = int(marked[0]) + 1
    instrument = int(events["instrument"][marked[0]])
    extra = np.zeros(3, schema.EVENT)
    extra["ts_ns"], extra["liquidation_id"], extra["instrument"] = events["ts_ns"][place - 1], TAG, instrument
    extra["account"], extra["qty"] = codes.FIRST_USER + USERS + 3, (MONEY, 1, 1)
    extra["kind"], extra["order_id"] = (codes.DEPOSIT, codes.NEW, codes.NEW), (0, 2**40, 2**40 + 1)
    extra["side"], extra["price"] = (0, codes.BID, codes.ASK), (0, 1, TICKS_MAX)
    symbols = [asset["name"] for asset in table["assets"]]
    extra["instrument"][0] = symbols.index(table["instruments"][instrument]["settle"])
    return Case(table, table, events, np.concatenate([events[:place], extra, events[place:]]))


def split_deposits(seed: int, count: int) -> Case:
    """A user's deposit in two rows instead of one. The fund is looked at after each deposit, so its are left whole."""
    table = world(seed)
    events = stream(table, seed, count)
    whole = (events["kind"] == codes.DEPOSIT) & (events["account"] >= codes.FIRST_USER) & (events["qty"] > 1)
    whole &= (events["account"] < codes.FIRST_USER + USERS) & (events["qty"] < 2**50)
    whole &= (events["instrument"] >= 0) & (events["instrument"] < len(table["assets"]))
    whole &= events["ts_ns"] == np.maximum.accumulate(events["ts_ns"])
    parts = np.repeat(events, np.where(whole, 2, 1))
    second = np.flatnonzero(np.repeat(whole, np.where(whole, 2, 1)))[1::2]
    parts["qty"][second] = parts["qty"][second] // 3
    parts["liquidation_id"][second] = TAG
    parts["qty"][second - 1] -= parts["qty"][second]

    def unsized(outcomes: np.ndarray) -> None:
        known = np.isin(outcomes["code"], (codes.OK, codes.ENGINE_PAUSED))
        outcomes["lots"][answers(outcomes, (codes.DEPOSIT,)) & known] = 0

    return Case(table, table, events, parts, unsized, unsized)


def shift_time(seed: int, count: int) -> Case:
    """Everything later by whole seconds, which every period divides."""
    table, later = world(seed), 840 * SECOND
    events, delayed = stream(table, seed, count), copy.deepcopy(table)
    for instrument in delayed["instruments"]:
        for name in ("listed_ns", "expiry_ns"):
            instrument["life"][name] += later if instrument["life"][name] else 0
    image = events.copy()
    image["ts_ns"] += later
    known = (events["kind"] == codes.FUNDING_RATE) & (events["qty"] > 0) & (events["qty"] < 2**60)
    image["qty"][known] += later
    dated = (events["kind"] == codes.TERMS) & (terms_of(events)["expiry_ns"] != 0)
    terms_of(image)["expiry_ns"][dated] += later

    def delay(outcomes: np.ndarray) -> None:
        outcomes["ts_ns"] += later
        outcomes["lots"][answers(outcomes, (codes.FUNDING_RATE,)) & (outcomes["lots"] > 0)] += later

    return Case(table, delayed, events, image, delay)


def mirror(seed: int, count: int) -> Case:
    """Prices turned upside down and sides exchanged, triggers too. Fees, margin, uncrossing, guards, auctions, market
    orders, budgets and the clearing of a book do not mirror: accounts are rich, rows of those kinds, LAST flags and
    impact (parts of the price) are left out."""
    table = world(seed, mark={"source": "recorded"}, index={"feedback_ppm": 0, "rule": "composite", "signed": False},
                  depth={"refill": "none"}, impact={"model": "none"}, fees=dict.fromkeys(FEES, 0),
                  funding={"source": "recorded"})
    table = contracts_alone(without_dates(table))  # a holding is never short
    for instrument in table["instruments"]:
        instrument["tiers"], instrument["margin"], instrument["price_min"] = TIERS[:1], {}, "1"
    table["orders"], table["auction"] = {}, {}
    events = stream(table, seed, count)
    kept = is_in(events, (*ORDER_KINDS, codes.LEVEL_SET, codes.TRADE_PRINT, codes.BOOK_CLEAR, codes.INDEX, codes.MARK,
                          codes.DEPOSIT, codes.OPEN_POSITION, codes.SET_GROUP))
    kept &= ((events["flags"] & (codes.MARKET | codes.BUDGET)) == 0) & ~cleared(events)
    events = events[kept | is_in(events, (codes.TERMS,))]
    events["qty"][events["kind"] == codes.CANCEL_ALL] = 0  # both sides
    events["flags"][events["kind"] == codes.LEVEL_SET] &= ~codes.LAST
    events["qty"][events["kind"] == codes.DEPOSIT] = MONEY
    per_tick = np.array([instrument["mark_per_tick"] for instrument in table["instruments"]])
    image = events.copy()
    ticks, subs = is_in(events, (*ORDER_KINDS, *LOT_KINDS)), is_in(events, (codes.INDEX, codes.MARK))
    ticks &= (events["kind"] != codes.AMEND) | (events["price"] != 0)
    turn(image, ticks, subs, per_tick)
    triggers = (events["kind"] == codes.TERMS) & (terms_of(events)["trigger_ticks"] != 0)
    terms_of(image)["trigger_ticks"][triggers] = TICKS_MAX + 1 - terms_of(events)["trigger_ticks"][triggers]
    sided = is_in(events, (*ORDER_KINDS, codes.LEVEL_SET, codes.TRADE_PRINT)) & np.isin(events["side"], (0, 1))
    image["side"][sided] = 1 - events["side"][sided]
    seeded = events["kind"] == codes.OPEN_POSITION
    image["account"][seeded], image["order_id"][seeded] = events["order_id"][seeded], events["account"][seeded]

    def turned(outcomes: np.ndarray) -> None:
        asked = answers(outcomes, (*ORDER_KINDS, *LOT_KINDS))
        asked &= ~answers(outcomes, (codes.AMEND,)) | (outcomes["price"] != 0)
        traded = np.isin(outcomes["kind"], (codes.FILL, codes.CANCELLED, codes.PREVENTED, codes.REPRICED))
        outcomes["flags"][traded] ^= codes.SELL
        traded |= outcomes["kind"] == codes.TRIGGERED
        traded &= (outcomes["kind"] != codes.REPRICED) | (outcomes["price"] != 0)
        marks = outcomes["kind"] == codes.MARK_PRICE
        turn(outcomes, asked | traded, marks | answers(outcomes, (codes.INDEX, codes.MARK)), per_tick)
        indexed = marks & (outcomes["money"] != 0)
        top = (TICKS_MAX + 1) * per_tick[outcomes["instrument"][indexed]]
        outcomes["money"][indexed] = top - outcomes["money"][indexed]
        pairs = answers(outcomes, (codes.OPEN_POSITION,))
        buyers = outcomes["account"][pairs].copy()
        outcomes["account"][pairs], outcomes["order_id"][pairs] = outcomes["order_id"][pairs], buyers

    return Case(table, table, events, image, turned)


def turn(rows: np.ndarray, ticks: np.ndarray, subs: np.ndarray, per_tick: np.ndarray) -> None:
    """Mirror prices in place: ticks about the middle of the ladder, sub-ticks of known instruments likewise."""
    rows["price"][ticks] = TICKS_MAX + 1 - rows["price"][ticks]
    subs = subs & (rows["instrument"] >= 0) & (rows["instrument"] < len(per_tick))
    rows["price"][subs] = (TICKS_MAX + 1) * per_tick[rows["instrument"][subs]] - rows["price"][subs]


def larger_pools(seed: int, count: int) -> Case:
    """Pools three times as large, where none was full."""
    table = world(seed)
    wider = {name: 3 * size for name, size in table["capacity"].items() if name != "accounts"}
    return Case(table, {**table, "capacity": {**table["capacity"], **wider}}, *[stream(table, seed, count)] * 2)


RELATIONS = {relation.__name__: relation for relation in (
    relabel_accounts, scale_lots, resting_orders_never_reached, split_deposits, shift_time, mirror, larger_pools,
    *rules.RELATIONS)}


def without_added(outcomes: np.ndarray) -> np.ndarray:
    """Outcomes without those of rows that the map added, numbers of outcomes and causes closed up."""
    added = (outcomes["liquidation_id"] == TAG) & (outcomes["kind"] == codes.RESULT)
    causes = np.sort(outcomes["cause_seq"][added])
    kept = outcomes[~added]
    kept["cause_seq"] -= np.searchsorted(causes, kept["cause_seq"])
    kept["seq"] = np.arange(1, len(kept) + 1)
    return kept


def holds(relation: str, seed: int, count: int) -> Counter:
    """Reach of the base run; raises with the first outcome that is not equal up to the map."""
    case = RELATIONS[relation](seed, count)
    base, image = outcomes_of(case.base, case.events), outcomes_of(case.image, case.image_events)
    reached = reach_of(base.tolist())
    base, image = without_added(base), without_added(image)
    case.map_base(base)
    case.map_image(image)
    if case.kinds:
        base, image = base[is_in(base, case.kinds)], image[is_in(image, case.kinds)]
    difference = first_difference(base.tolist(), image.tolist(), case.events)
    assert not difference, difference
    return reached


def campaign(seed: int, budget: Budget, count: int = 1_500) -> Part:
    """Every relation on one seed after another."""
    part, held = Part("relations"), Counter()
    while budget.left(part.runs):
        relation = list(RELATIONS)[part.runs % len(RELATIONS)]
        now = seed + part.runs // len(RELATIONS)
        try:
            part.take(2 * count, holds(relation, now, count))
            held[relation] += 1
        except Exception as error:  # noqa: BLE001 - reported by relation and seed
            part.fail(f"{relation} seed {now} events {count}", error)
    part.note = ", ".join(f"{name} {held[name]}" for name in RELATIONS)
    part.seconds = budget.spent()
    return part
