"""Call auctions and changes of a market's state: collect, find one price, trade at it, go on. DESIGN §3.7.

Orders rest crossed while an auction lasts. Its end pairs them at one price; who waited for the market goes on then.
"""

import numpy as np

from exchange.codes import (
    ASK,
    AUCTION,
    AUCTION_TICK,
    BAD_AMOUNT,
    BAD_INSTRUMENT,
    BAD_PRICE,
    BAD_STATE,
    BID,
    CANCELLED_BY_LINK,
    CANCELLED_BY_LIQUIDATION,
    CANCELLED_SELF_TRADE,
    EXPIRED,
    EXTERNAL,
    FILL,
    FORCED,
    HALT,
    ICEBERG_PRO_RATA,
    IN_AUCTION,
    INDICATIVE,
    MAKER,
    MARKET,
    NO_AUCTION,
    OK,
    REDUCE_ONLY,
    RESUME,
    SELL,
    STATE_AUCTION,
    STATE_CHANGE,
    STATE_CONTINUOUS,
    STATE_HALTED,
    STATE_REDUCE_ONLY,
    STP_CANCEL_NEWEST,
    STP_CANCEL_OLDEST,
    STP_DECREMENT,
    STP_DEFAULT,
    STP_NONE,
    TERMED,
)
from exchange.core.accounts import done
from exchange.core.admission import instrument_exists
from exchange.core.ahead import fetch_behind
from exchange.core.arith import fee_of
from exchange.core.auction_price import auction_price, reference_price
from exchange.core.book import crosses, level_of, next_level
from exchange.core.contract import trade_notional
from exchange.core.external import drop_crossed
from exchange.core.iceberg import cover_best, publish_icebergs, uncover_pair
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import external_position
from exchange.core.match import (
    book_trade,
    count_filled,
    extrapolated_flag,
    fill_taker,
    prevent,
    take_from_external,
    take_from_order,
)
from exchange.core.outbox import emit
from exchange.core.printed import note_trade
from exchange.core.recorded import uncross
from exchange.core.removal import after_queue, cut_link, emit_cancelled, remove_order, trim_reduce_only
from exchange.core.self_trade import same_owner
from exchange.core.states import bands, check_life, keep_static, set_auction_timer, stands_still, wake_legs
from exchange.core.timers import remove_timer

DURATION_MAX_NS = 10**17


# --- the trades --------------------------------------------------------------------------------------------------


@kernel
def settle_side(state, slot, price, lots, counterparty, flags):
    """Book and announce one side of an auction trade; a filled order is removed."""
    order, prices = state.book.orders[slot], state.prices
    instrument, account, bid = np.int64(order["instrument"]), np.int64(order["account"]), order["side"] == BID
    signed = lots if bid else -lots
    if account == EXTERNAL:
        book_trade(state, instrument, external_position(instrument), signed, price, 0, 0)
        take_from_external(state, slot, lots)
        return
    if order["flags"] & FORCED:
        side, p, ticks = np.int64(order["side"]), np.int64(order["position"]), np.int64(order["ticks"])
        forced, flags = np.int64(order["liquidation_id"]), flags | FORCED
        fill_taker(state, instrument, p, side, price, lots, 0, counterparty, flags, ticks, forced)
        take_from_order(state, slot, lots)
        return
    record = prices.instruments[instrument]
    rate = np.int64(record["maker_ppb"] if prices.auctions[instrument]["maker_fee"] else record["taker_ppb"])
    fee = fee_of(trade_notional(prices, instrument, price, lots), rate)
    book_trade(state, instrument, np.int64(order["position"]), signed, price, fee, 0)
    flags |= 0 if bid else SELL
    emit(state.io, FILL, 0, instrument, account, counterparty, np.int64(order["order_id"]), price, lots, fee, flags, 0)
    count_filled(state, slot)
    take_from_order(state, slot, lots)


@kernel
def prevent_pair(state, instrument, older, newer, lots):
    """Keep two orders of one owner from trading; the mode is that of the newer one, which would be the taker.

    Returns whether they must not trade. Mutates book, sums, outbox.
    """
    orders, mode = state.book.orders, np.int64(state.prices.instruments[instrument]["self_trade"])
    first, second = np.int64(orders[older]["account"]), np.int64(orders[newer]["account"])
    forced = (orders[older]["flags"] | orders[newer]["flags"]) & FORCED
    if orders[newer]["flags"] & TERMED and state.book.terms[newer]["self_trade"] != STP_DEFAULT:
        mode = np.int64(state.book.terms[newer]["self_trade"])
    if mode <= STP_NONE or forced or not same_owner(state.ledger, state.prices, first, second):
        return False
    if mode == STP_DECREMENT:
        prevent(state, older, lots, second, mode)
        if orders[newer]["leaves_lots"] != 0:  # else it went with its partner
            prevent(state, newer, lots, first, mode)
        return True
    if mode != STP_CANCEL_NEWEST:
        emit_cancelled(state, older, CANCELLED_SELF_TRADE, 0)
        remove_order(state, older)
    if mode != STP_CANCEL_OLDEST and orders[newer]["leaves_lots"] != 0:
        emit_cancelled(state, newer, CANCELLED_SELF_TRADE, 0)
        remove_order(state, newer)
    return True


@kernel
def pair_orders(state, instrument, price, surplus):
    """Trade bids against asks at one price, each side by price, then time. Returns the lots traded.

    `surplus` (bid less ask) says which side's icebergs are shared in.

    Each turn finishes an order at least: that is what room in the outbox is kept for.
    """
    book, total = state.book, np.int64(0)
    best, hides = book.books[instrument]["best_ticks"], book.pools[0]["slices"] != 0
    shares = surplus != 0 and state.prices.instruments[instrument]["iceberg"] == ICEBERG_PRO_RATA
    while best[BID] >= price and 0 < best[ASK] <= price:
        bid = np.int64(book.levels[level_of(book, instrument, BID, np.int64(best[BID]))]["head"])
        ask = np.int64(book.levels[level_of(book, instrument, ASK, np.int64(best[ASK]))]["head"])
        if book.orders[bid]["flags"] & REDUCE_ONLY and not trim_reduce_only(state, bid):
            continue
        if book.orders[ask]["flags"] & REDUCE_ONLY and not trim_reduce_only(state, ask):
            continue
        if hides:
            uncover_pair(book, instrument, shares, bid if surplus > 0 else ask, ask if surplus > 0 else bid)
        buyer, seller = np.int64(book.orders[bid]["account"]), np.int64(book.orders[ask]["account"])
        bid_leaves, ask_leaves = np.int64(book.orders[bid]["leaves_lots"]), np.int64(book.orders[ask]["leaves_lots"])
        lots = min(bid_leaves, ask_leaves)
        fetch_behind(state, bid)
        fetch_behind(state, ask)
        older = seller == EXTERNAL or (
            buyer != EXTERNAL and book.orders[bid]["priority_seq"] < book.orders[ask]["priority_seq"]
        )
        if prevent_pair(state, instrument, bid if older else ask, ask if older else bid, lots):
            continue
        partners = book.orders[bid]["flags"] & TERMED and book.terms[bid]["link"] == ask
        if partners:  # each is filled before it cancels the other
            cut_link(book, bid)
        if buyer == EXTERNAL or seller == EXTERNAL:
            flags = extrapolated_flag(state, bid if buyer == EXTERNAL else ask)
        else:
            flags = 0
        if older:
            settle_side(state, bid, price, lots, seller, flags | MAKER)
            settle_side(state, ask, price, lots, buyer, flags)
        else:
            settle_side(state, ask, price, lots, buyer, flags | MAKER)
            settle_side(state, bid, price, lots, seller, flags)
        if partners and bid_leaves != ask_leaves:
            rest = bid if bid_leaves > ask_leaves else ask
            emit_cancelled(state, rest, CANCELLED_BY_LINK, 0)
            remove_order(state, rest)
        total += lots
    if hides:
        cover_best(book, instrument)
    return total


@kernel
def expire_market_orders(state, instrument):
    """What is left of market orders expires, bids first, best price first. Mutates book, sums, lists."""
    book = state.book
    worst = state.prices.auctions[instrument]["worst_market_ticks"]
    for side in range(2):
        ticks = np.int64(book.books[instrument]["best_ticks"][side]) if worst[side] != 0 else np.int64(0)
        while ticks != 0 and (ticks >= worst[side] if side == BID else ticks <= worst[side]):
            after = next_level(book, instrument, side, ticks)
            slot = np.int64(book.levels[level_of(book, instrument, side, ticks)]["head"])
            while slot != 0:
                behind = np.int64(book.orders[slot]["next"])
                if book.orders[slot]["flags"] & MARKET:
                    behind = after_queue(book, slot)
                    emit_cancelled(state, slot, EXPIRED, 0)
                    remove_order(state, slot)
                slot = behind
            ticks = after
        worst[side] = 0


@kernel
def note_market_order(prices, instrument, side, ticks):
    """A market order rests in an auction: remember how far the end must look for what is left of such orders."""
    worst = prices.auctions[instrument]["worst_market_ticks"]
    if worst[side] == 0 or (ticks < worst[side] if side == BID else ticks > worst[side]):
        worst[side] = ticks


@kernel
def withdraw_forced(state, instrument):
    """What is left of liquidation orders that joined is removed; their legs are on the list of those that wait."""
    orders, ledger = state.book.orders, state.ledger
    p = np.int64(state.prices.auctions[instrument]["waiting_head"])
    while p != 0:
        slot = np.int64(ledger.wallets[np.int64(ledger.positions[p]["wallet"])]["first_order"])
        while slot != 0 and not (orders[slot]["flags"] & FORCED and orders[slot]["position"] == p):
            slot = np.int64(orders[slot]["account_next"])
        if slot != 0:
            emit_cancelled(state, slot, CANCELLED_BY_LIQUIDATION, np.int64(orders[slot]["liquidation_id"]))
            remove_order(state, slot)
        p = np.int64(ledger.legs[p]["waiting_next"])


@leaf
def clear_auction(state, instrument, stated_ticks):
    """Trade all that crosses at one price; orders cut or removed in their turn may leave a rest for another round."""
    book, market = state.book, state.prices.markets[instrument]
    best = book.books[instrument]["best_ticks"]
    reference = reference_price(state.prices, instrument, stated_ticks)
    drop_crossed(book, instrument, BID)
    hides, again = book.pools[0]["slices"] != 0, True
    while again:
        price, volume, imbalance = auction_price(book, state.prices, instrument, reference)
        lots = np.int64(0)
        if volume != 0:
            lots = pair_orders(state, instrument, price, imbalance)
        if lots != 0:
            now_ns = np.int64(state.io.control[0]["clock_ns"])
            market["last_ticks"] = price
            if market["trades"] != 0:
                note_trade(state.prices, now_ns, instrument, price, lots, 0)
            keep_static(state.prices, now_ns, instrument, price)
        emit(state.io, AUCTION, 0, instrument, 0, 0, 0, price, lots, imbalance, 0, 0)
        again = best[BID] != 0 and best[ASK] != 0 and best[BID] >= best[ASK]
    if hides and book.pools[0]["publish"] != 0:
        publish_icebergs(book, instrument)


# --- beginning and end -------------------------------------------------------------------------------------------


@kernel
def change_state(state, instrument, to):
    """Put a market into a state and say so; where it matches again, what waited for that goes on. Mutates all."""
    market, auction = state.prices.markets[instrument], state.prices.auctions[instrument]
    if market["state"] == to:
        return
    stood = stands_still(market)
    market["state"] = to
    market["fenced"] = 1 if to == STATE_AUCTION or auction["dynamic_ppm"] != 0 or auction["static_ppm"] != 0 else 0
    emit(state.io, STATE_CHANGE, to, instrument, 0, 0, 0, 0, 0, 0, 0, 0)
    if stood and not stands_still(market):
        uncross(state, instrument, BID)
    if stood and (not stands_still(market) or (to == STATE_AUCTION and state.prices.policy[0]["join_auctions"] != 0)):
        wake_legs(state, auction)


@kernel
def begin_auction(state, instrument, duration_ns, reference_ticks, volatility):
    """Start an auction of `duration_ns` (0 = until AUCTION_END). Mutates market, heap."""
    auction = state.prices.auctions[instrument]
    auction["end_ns"] = np.int64(state.io.control[0]["clock_ns"]) + duration_ns if duration_ns != 0 else np.int64(0)
    auction["reference_ticks"] = reference_ticks
    auction["volatility"] = volatility
    auction["extensions"] = 0
    set_auction_timer(state.prices, state.io, instrument)
    change_state(state, instrument, STATE_AUCTION)


@kernel
def end_auction(state, instrument, stated_ticks):
    """Uncross, expire market orders, back to continuous trading."""
    clear_auction(state, instrument, stated_ticks)
    expire_market_orders(state, instrument)
    withdraw_forced(state, instrument)
    forget_auction(state, instrument)
    change_state(state, instrument, STATE_CONTINUOUS)


@kernel
def forget_auction(state, instrument):
    """Nothing is left of an auction but its orders. Mutates the record, the heap."""
    auction = state.prices.auctions[instrument]
    if auction["timer"] != 0:
        remove_timer(state.io, AUCTION_TICK, instrument)
        auction["timer"] = 0
    auction["end_ns"] = 0
    auction["reference_ticks"] = 0
    auction["volatility"] = 0
    auction["extensions"] = 0
    auction["price"] = 0
    auction["lots"] = 0
    auction["imbalance_lots"] = 0


@kernel
def interrupt(state, instrument, side, limit_ticks):
    """A taker met the end of its bands: an auction begins if the opposite best lies beyond, within its own limit."""
    best = np.int64(state.book.books[instrument]["best_ticks"][ASK if side == BID else BID])
    if state.prices.markets[instrument]["state"] != STATE_AUCTION and crosses(side, limit_ticks, best):
        begin_auction(state, instrument, np.int64(state.prices.auctions[instrument]["duration_ns"]), np.int64(0), 1)


@kernel
def auction_tick(state, instrument):
    """AUCTION_TICK: the end, unless the price is outside the bands and it may be put off; else a publication."""
    auction, clock_ns = state.prices.auctions[instrument], np.int64(state.io.control[0]["clock_ns"])
    auction["timer"] = 0
    reference = reference_price(state.prices, instrument, np.int64(0))
    price, lots, imbalance = auction_price(state.book, state.prices, instrument, reference)
    if auction["end_ns"] != 0 and clock_ns >= auction["end_ns"]:
        low, high = bands(state.prices, clock_ns, instrument)
        outside = price != 0 and (price < low or price > high)
        if not (outside and auction["volatility"] and auction["extensions"] < auction["extensions_max"]):
            end_auction(state, instrument, np.int64(0))
            return
        auction["extensions"] += 1
        auction["end_ns"] = clock_ns + np.int64(auction["extension_ns"])
    if price != auction["price"] or lots != auction["lots"] or imbalance != auction["imbalance_lots"]:
        auction["price"] = price
        auction["lots"] = lots
        auction["imbalance_lots"] = imbalance
        emit(state.io, INDICATIVE, 0, instrument, 0, 0, 0, price, lots, imbalance, 0, 0)
    set_auction_timer(state.prices, state.io, instrument)


# --- events ------------------------------------------------------------------------------------------------------


@leaf
def check_reference(prices, event):
    """May an event state this reference price? 0 = it states none."""
    record = prices.instruments[np.int64(event["instrument"])]
    return event["price"] == 0 or record["ticks_min"] <= event["price"] <= record["ticks_max"]


@kernel
def set_state(state, event, kind):
    """SET_STATE, HALT and RESUME: put a market into a state other than an auction."""
    instrument, to = np.int64(event["instrument"]), np.int64(event["qty"])
    if kind == HALT:
        to = np.int64(STATE_HALTED)
    elif kind == RESUME:
        to = np.int64(STATE_CONTINUOUS)
    code = OK
    if not instrument_exists(state.prices, instrument):
        code = BAD_INSTRUMENT
    elif to < STATE_CONTINUOUS or to > STATE_REDUCE_ONLY:
        code = BAD_STATE
    elif state.prices.markets[instrument]["state"] == STATE_AUCTION:
        code = IN_AUCTION
    else:
        code = check_life(np.int64(state.prices.markets[instrument]["state"]))
        if code == OK:
            change_state(state, instrument, to)
    done(state, event, code)


@kernel
def auction_event(state, event, starts):
    """AUCTION_START and AUCTION_END."""
    instrument, price = np.int64(event["instrument"]), np.int64(event["price"])
    code = OK
    if not instrument_exists(state.prices, instrument):
        code = BAD_INSTRUMENT
    elif starts and (event["qty"] < 0 or event["qty"] > DURATION_MAX_NS):
        code = BAD_AMOUNT
    elif not check_reference(state.prices, event):
        code = BAD_PRICE
    elif starts and state.prices.markets[instrument]["state"] == STATE_AUCTION:
        code = IN_AUCTION
    elif starts:
        code = check_life(np.int64(state.prices.markets[instrument]["state"]))
        if code == OK:
            begin_auction(state, instrument, np.int64(event["qty"]), price, 0)
    elif state.prices.markets[instrument]["state"] != STATE_AUCTION:
        code = NO_AUCTION
    else:
        end_auction(state, instrument, price)
    done(state, event, code)
