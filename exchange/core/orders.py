"""Order commands: NEW, CANCEL, CANCEL_ALL; an AMEND is in `amend.py`. DESIGN §3.1; SEQ-4."""

import numpy as np

from exchange.codes import (
    BAD_ACCOUNT,
    BAD_INSTRUMENT,
    BAD_ORDER_ID,
    BAD_SIDE,
    BUDGET,
    CANCELLED_BY_LINK,
    CANCELLED_BY_USER,
    EXPIRED,
    EXPIRED_SELF_TRADE,
    FILLED,
    FIRST_USER,
    FORCED,
    IN_LIQUIDATION,
    MARKET,
    NOT_OWNER,
    OK,
    ORDERS_FULL,
    PARKED,
    PARKED_ORDER,
    PARTLY_FILLED_RESTING,
    PEG_NONE,
    POSITIONS_FULL,
    POST_ONLY,
    REDUCE_ONLY,
    REDUCE_ONLY_INCREASES,
    RESTING,
    TERMED,
    TO_LIMIT,
    TRIGGER,
    TRIGGER_NONE,
    UNKNOWN_ORDER,
)
from exchange.core.admission import (
    check_fields,
    check_matchable,
    closable_lots,
    instrument_exists,
    market_limit,
    wallet_for,
    wallet_of,
)
from exchange.core.allocation import execute, execute_called
from exchange.core.auction import interrupt, note_market_order
from exchange.core.book import enlist, find_id, insert_id, link_order, order_room, take_order_slot
from exchange.core.demands import check_demands
from exchange.core.iceberg import all_lots, slice_room
from exchange.core.kernel import inlined, kernel, leaf
from exchange.core.margin import find_position, in_liquidation, make_position, unit_of
from exchange.core.order_guards import check_guards, check_lot_step, check_waiting
from exchange.core.outbox import answer, refuse
from exchange.core.pegs import held_peg_ticks, join_pegs
from exchange.core.removal import (
    after_account,
    change_open_order,
    emit_cancelled,
    remove_order,
    remove_partner,
)
from exchange.core.resting import clear_orders
from exchange.core.self_trade import check_self_trade, self_trade_mode
from exchange.core.states import reach_of, rests
from exchange.core.terms import (
    EMPTY,
    attach_terms,
    conclude,
    held_for,
    is_special,
    linked_slot,
    resting_ticks,
    trigger_for,
    turn_down,
)
from exchange.core.waiting import start_waiting


@leaf
def make_order(state, instrument, p, account, order_id, side, ticks, order_lots, leaves, flags):
    """A new live order in no queue yet; the free slot was checked. Returns the slot. Mutates book, lists."""
    book = state.book
    slot = take_order_slot(book.pools, book.orders)
    order = book.orders[slot]
    order["order_id"] = order_id
    order["account"] = account
    order["position"] = p
    order["ticks"] = ticks
    order["order_lots"] = order_lots
    order["leaves_lots"] = leaves
    order["instrument"] = instrument
    order["flags"] = flags & (REDUCE_ONLY | POST_ONLY | MARKET | FORCED | PARKED)
    order["side"] = side
    insert_id(book.ids, order_id, slot)
    enlist(book.orders, state.ledger.wallets, np.int64(state.ledger.positions[p]["wallet"]), slot)
    return slot


@leaf
def rest_order(state, instrument, p, account, order_id, side, ticks, order_lots, leaves, flags):
    """Put what is left of an order into the book; the free slot was checked. Mutates book, sums, lists."""
    slot = make_order(state, instrument, p, account, order_id, side, ticks, order_lots, leaves, flags)
    stand(state, slot, leaves)


@leaf
def stand(state, slot, lots):
    """Let a new order join its queue; `lots` with what it hides. Mutates book, sums."""
    order = state.book.orders[slot]
    link_order(state.book, slot)
    change_open_order(state.ledger, state.prices, order, np.int64(0), lots)
    state.book.books[np.int64(order["instrument"])]["order_lots"] += lots


@leaf
def enter_order(state, event, instrument, p, side, limit_ticks, lots, flags, tif, self_trade):
    """Match an admitted order as far as the market's state and bands let it reach, rest or expire the rest, answer."""
    account, order_id = np.int64(event["account"]), np.int64(event["order_id"])
    resting = rests(state.prices, instrument, flags, tif)
    reach = reach_of(state, instrument, side, limit_ticks, 1)
    left, kept, ended = execute(state, instrument, p, side, reach, lots, order_id, 0, 0, 0, self_trade)
    if reach != limit_ticks and left > 0 and not ended:
        interrupt(state, instrument, side, limit_ticks)
    code = FILLED
    if ended:
        code = EXPIRED_SELF_TRADE
    elif left > 0:
        if resting:
            if flags & MARKET:
                note_market_order(state.prices, instrument, side, limit_ticks)
            rest_order(state, instrument, p, account, order_id, side, limit_ticks, kept, left, flags)
            code = RESTING if left == kept else PARTLY_FILLED_RESTING
        else:
            code = EXPIRED
    answer(state.io, event, instrument, code, limit_ticks, left)


@kernel
def enter_termed(state, event, instrument, p, side, limit_ticks, lots, flags, tif, self_trade):
    """`enter_order` of an order with the terms that are held, if any."""
    account, order_id, held = np.int64(event["account"]), np.int64(event["order_id"]), state.io.held[0]
    resting = rests(state.prices, instrument, flags, tif)
    reach = reach_of(state, instrument, side, limit_ticks, 1)
    left, kept, ended = execute_called(state, instrument, p, side, reach, lots, order_id, 0, 0, 0, self_trade)
    if reach != limit_ticks and left > 0 and not ended:
        interrupt(state, instrument, side, limit_ticks)
    if left < kept:
        if event["kind"] == TRIGGER and state.prices.policy[0]["count_quotes"] != 0:
            state.gate.conduct[account]["filled"] += 1
        partner = linked_slot(state, account, instrument)
        if partner != 0:
            emit_cancelled(state, partner, CANCELLED_BY_LINK, 0)
            remove_order(state, partner)
    code = FILLED
    if ended:
        code = EXPIRED_SELF_TRADE
    elif left > 0:
        if resting:
            if tif == TO_LIMIT:
                limit_ticks, flags = resting_ticks(state.prices, instrument, side, limit_ticks), flags & ~MARKET
            if flags & MARKET:
                note_market_order(state.prices, instrument, side, limit_ticks)
            slot = make_order(state, instrument, p, account, order_id, side, limit_ticks, kept, left, flags)
            if held["kind"] != 0:
                attach_terms(state, slot, tif)
            stand(state, slot, left)
            code = RESTING if left == kept else PARTLY_FILLED_RESTING
        else:
            code = EXPIRED
    conclude(state, event, 1, instrument, code, limit_ticks, left)


@kernel
def enter_pegged(state, event, instrument, p, side, cap_ticks, ticks, lots, flags, tif):
    """Let an order with the peg of the held row rest at `ticks`, or (0) wait until it has a price; answer."""
    account, order_id, code = np.int64(event["account"]), np.int64(event["order_id"]), RESTING
    if ticks == 0:
        code, flags = PARKED_ORDER, flags | PARKED
    else:
        reach_of(state, instrument, side, ticks, 1)
    price = ticks if ticks != 0 else cap_ticks
    slot = make_order(state, instrument, p, account, order_id, side, price, lots, lots, flags)
    attach_terms(state, slot, tif)
    join_pegs(state, slot, cap_ticks)
    if ticks != 0:
        stand(state, slot, lots)
    conclude(state, event, 1, instrument, code, price, lots)


@kernel
def park_order(state, event, p):
    """Let an order wait for the trigger or the peg of the held row, if that does not call it yet. Returns a code."""
    instrument, side, flags = np.int64(event["instrument"]), np.int64(event["side"]), np.int64(event["flags"])
    lots, price, code = np.int64(event["qty"]), np.int64(0) if flags & MARKET else np.int64(event["price"]), OK
    if state.prices.markets[instrument]["guarded"] != 0:
        wallet = np.int64(state.ledger.positions[p]["wallet"])
        pegged = MARKET if state.io.held[0]["peg"] != PEG_NONE else 0  # a cap keeps no step
        code = check_waiting(state, instrument, wallet, price, lots, flags | pegged, 1)
    if code != OK:
        return code
    if state.io.held[0]["peg"] != PEG_NONE:
        enter_pegged(state, event, instrument, p, side, price, 0, lots, flags, np.int64(event["time_in_force"]))
        return code
    ticks, code = trigger_for(state, instrument, side)
    if code == OK:
        account, order_id = np.int64(event["account"]), np.int64(event["order_id"])
        slot = make_order(state, instrument, p, account, order_id, side, price, lots, lots, flags | PARKED)
        attach_terms(state, slot, np.int64(event["time_in_force"]))
        start_waiting(state, slot, ticks)
        answer(state.io, event, instrument, PARKED_ORDER, price, lots)
    return code


@inlined
def place_order(state, event, termed):
    """Check a NEW, match it, rest or expire what is left, answer. `termed`: with the TERMS row that is held."""
    ledger, prices = state.ledger, state.prices
    instrument = np.int64(event["instrument"])
    if not instrument_exists(prices, instrument):
        turn_down(state, event, termed, BAD_INSTRUMENT)
        return
    code = check_fields(state, event, instrument, termed)
    if termed and code == OK:
        code = check_self_trade(state.io)
    if code != OK:
        turn_down(state, event, termed, code)
        return
    wallet = wallet_for(prices, np.int64(event["account"]), instrument)
    p = find_position(ledger, wallet, instrument)
    if in_liquidation(ledger, unit_of(ledger, p) if p != 0 else wallet):
        turn_down(state, event, termed, IN_LIQUIDATION)
        return
    if p == 0:
        p = make_position(ledger, prices, state.io.control, wallet, instrument)
    side, flags, lots = np.int64(event["side"]), np.int64(event["flags"]), np.int64(event["qty"])
    tif = np.int64(event["time_in_force"])
    limit_ticks = market_limit(prices, instrument, side) if flags & (MARKET | BUDGET) else np.int64(event["price"])
    self_trade = self_trade_mode(prices, state.io, instrument, termed)
    parks = termed and state.io.held[0]["trigger"] != TRIGGER_NONE
    resting = rests(prices, instrument, flags, tif)
    checked, ticks = flags, np.int64(0)
    if termed and state.io.held[0]["peg"] != PEG_NONE:  # it takes nothing, and guards of price pass it by
        checked, ticks = flags & ~POST_ONLY | BUDGET, held_peg_ticks(state, instrument, side, limit_ticks)
        parks = ticks == 0
    code = OK
    if p == 0:
        code = POSITIONS_FULL
    elif (parks or resting) and not order_room(state.book.pools, state.book.orders):
        code = ORDERS_FULL
    elif termed and not slice_room(state, event):
        code = ORDERS_FULL
    elif parks:
        code = park_order(state, event, p)
        if code == OK:
            return
    elif prices.markets[instrument]["guarded"] != 0:
        code = check_lot_step(prices, instrument, lots)
        if code == OK:
            code = check_guards(state, instrument, wallet, side, limit_ticks, lots, checked, tif, 1)
    if code == OK and flags & REDUCE_ONLY:
        lots = min(lots, closable_lots(ledger, prices, p, side, resting))
        code = OK if lots > 0 else REDUCE_ONLY_INCREASES
    if code == OK:
        code = check_matchable(state, instrument, p, side, limit_ticks, lots, checked, tif, self_trade)
    if termed and code == OK:
        code = check_demands(state, event, instrument, limit_ticks, lots, self_trade)
    if code != OK:
        turn_down(state, event, termed, code)
    elif termed and ticks != 0:
        enter_pegged(state, event, instrument, p, side, limit_ticks, ticks, lots, flags, tif)
    elif termed:
        enter_termed(state, event, instrument, p, side, limit_ticks, lots, flags, tif, self_trade)
    else:
        enter_order(state, event, instrument, p, side, limit_ticks, lots, flags, tif, self_trade)


@inlined
def new_order(state, event):
    """NEW. A refusal changes nothing but counters and a fresh position slot."""
    if is_special(state.io, event):
        place_termed(state, event)
    else:
        place_order(state, event, 0)


@kernel
def place_termed(state, event):
    """A NEW that is more than a plain order, compiled apart so that those carry none of it. Mutates `held`."""
    if not held_for(state.io, event):
        state.io.held[0] = state.io.held[EMPTY]
    place_order(state, event, 1)


@leaf
def owned_order(state, event):
    """(slot, code) of the live order that a command names."""
    if event["order_id"] <= 0:
        return np.int64(0), BAD_ORDER_ID
    slot = find_id(state.book.ids, state.book.orders, np.int64(event["order_id"]))
    if slot == 0:
        return slot, UNKNOWN_ORDER
    if state.book.orders[slot]["account"] != event["account"]:
        return slot, NOT_OWNER
    return slot, OK


@leaf
def answer_order(state, event, slot, code):
    """Answer about an order as it stands: its instrument, price and leaves."""
    order = state.book.orders[slot]
    answer(state.io, event, np.int64(order["instrument"]), code, np.int64(order["ticks"]), all_lots(state.book, slot))


@leaf
def cancel_order(state, event):
    """CANCEL: works in halts and in any liquidation stage."""
    slot, code = owned_order(state, event)
    if code != OK:
        refuse(state.io, event, code)
        return
    if state.book.orders[slot]["flags"] & TERMED:
        remove_partner(state, slot)
    answer_order(state, event, slot, CANCELLED_BY_USER)
    remove_order(state, slot)


@kernel
def cancel_all(state, event):
    """CANCEL_ALL: the live orders of an account, in one instrument or (-1) in all, of one side or both."""
    prices, wallets = state.prices, state.ledger.wallets
    instrument, account = np.int64(event["instrument"]), np.int64(event["account"])
    if instrument != -1 and not instrument_exists(prices, instrument):
        refuse(state.io, event, BAD_INSTRUMENT)
        return
    if event["qty"] < 0 or event["qty"] > 2:
        refuse(state.io, event, BAD_SIDE)
        return
    if account == 0:
        cleared = clear_orders(state, instrument, np.int64(event["qty"]))
        answer(state.io, event, instrument, OK, np.int64(event["price"]), cleared)
        return
    if account < FIRST_USER or account >= prices.policy[0]["accounts"]:
        refuse(state.io, event, BAD_ACCOUNT)
        return
    count, opened = np.int64(0), False
    for asset in range(np.int64(prices.policy[0]["assets"])):
        wallet = wallet_of(prices, account, asset)
        opened = opened or wallets[wallet]["open"] != 0
        slot = np.int64(wallets[wallet]["first_order"])
        while slot != 0:
            order = state.book.orders[slot]
            after = np.int64(order["account_next"])
            meant = not order["flags"] & FORCED and (event["qty"] == 0 or event["qty"] == order["side"] + 1)
            if meant and (instrument == -1 or order["instrument"] == instrument):
                after = after_account(state.book, slot)
                emit_cancelled(state, slot, CANCELLED_BY_USER, 0)
                remove_order(state, slot)
                count += 1
            slot = after
    if opened:
        answer(state.io, event, instrument, OK, np.int64(event["price"]), count)
    else:
        refuse(state.io, event, BAD_ACCOUNT)
