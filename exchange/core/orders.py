"""Order commands: NEW, CANCEL, CANCEL_ALL, AMEND. DESIGN §3.1; SEQ-4."""

import numpy as np

from exchange.codes import (
    BAD_ACCOUNT,
    BAD_INSTRUMENT,
    BAD_LOTS,
    BAD_ORDER_ID,
    BAD_PRICE,
    BUDGET,
    CANCELLED_BY_LINK,
    CANCELLED_BY_USER,
    EXPIRED,
    FILLED,
    FIRST_USER,
    GTC,
    HALTED,
    IN_LIQUIDATION,
    MARKET,
    NOT_OWNER,
    OK,
    ORDERS_FULL,
    PARKED,
    PARKED_ORDER,
    PARTLY_FILLED_RESTING,
    POSITIONS_FULL,
    POST_ONLY,
    REDUCE_ONLY,
    REDUCE_ONLY_INCREASES,
    RESTING,
    TERMED,
    TO_LIMIT,
    TRIGGER_NONE,
    UNKNOWN_ORDER,
)
from exchange.core.admission import (
    check_fields,
    check_matchable,
    instrument_exists,
    market_limit,
    reducible_lots,
    wallet_for,
    wallet_of,
)
from exchange.core.book import cut_leaves, enlist, find_id, insert_id, link_order, order_room, take_order_slot
from exchange.core.demands import check_demands
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import find_position, in_liquidation, make_position, unit_of
from exchange.core.match import after_account, change_open_order, emit_cancelled, execute, remove_order, remove_partner
from exchange.core.outbox import answer, refuse
from exchange.core.terms import (
    EMPTY,
    attach_terms,
    conclude,
    held_for,
    is_special,
    linked_slot,
    may_rest,
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
    order["flags"] = flags & (REDUCE_ONLY | POST_ONLY | MARKET | PARKED)
    order["side"] = side
    insert_id(book.ids, order_id, slot)
    enlist(book.orders, state.ledger.wallets, np.int64(state.ledger.positions[p]["wallet"]), slot)
    return slot


@leaf
def rest_order(state, instrument, p, account, order_id, side, ticks, order_lots, leaves, flags):
    """Put what is left of an order into the book; the free slot was checked. Mutates book, sums, lists."""
    book = state.book
    slot = make_order(
        state, instrument, p, account, order_id, side, ticks, order_lots, leaves, flags & (REDUCE_ONLY | POST_ONLY)
    )
    order = book.orders[slot]
    link_order(book, slot)
    change_open_order(state.ledger, state.prices, order, np.int64(0), leaves)
    book.books[instrument]["order_lots"] += leaves
    return slot


@leaf
def enter_order(state, event, instrument, p, side, limit_ticks, lots, flags, tif):
    """Match an admitted order, rest or expire what is left, and answer."""
    account, order_id = np.int64(event["account"]), np.int64(event["order_id"])
    left = execute(state, instrument, p, side, limit_ticks, lots, order_id, 0, 0, 0)
    code = FILLED
    if left > 0:
        if tif == GTC and not flags & MARKET:
            rest_order(state, instrument, p, account, order_id, side, limit_ticks, lots, left, flags)
            code = RESTING if left == lots else PARTLY_FILLED_RESTING
        else:
            code = EXPIRED
    answer(state.io, event, instrument, code, limit_ticks, left)


@kernel
def enter_termed(state, event, instrument, p, side, limit_ticks, lots, flags, tif):
    """`enter_order` of an order with the terms that are held."""
    account, order_id, held = np.int64(event["account"]), np.int64(event["order_id"]), state.io.held[0]
    left = execute(state, instrument, p, side, limit_ticks, lots, order_id, 0, 0, 0)
    partner = linked_slot(state, account, instrument)
    if left < lots and held["link_id"] != 0 and partner != 0:
        emit_cancelled(state, partner, CANCELLED_BY_LINK, 0)
        remove_order(state, partner)
    code = FILLED
    if left > 0:
        if may_rest(tif, flags):
            if tif == TO_LIMIT:
                limit_ticks = resting_ticks(state.prices, instrument, side, limit_ticks)
            slot = rest_order(state, instrument, p, account, order_id, side, limit_ticks, lots, left, flags)
            if held["kind"] != 0:
                attach_terms(state, slot, tif)
            code = RESTING if left == lots else PARTLY_FILLED_RESTING
        else:
            code = EXPIRED
    conclude(state, event, 1, instrument, code, limit_ticks, left)


@kernel
def park_order(state, event, p):
    """Let an order wait for the trigger of the held row, if that is not reached yet. Returns a code."""
    instrument, side, flags = np.int64(event["instrument"]), np.int64(event["side"]), np.int64(event["flags"])
    ticks, code = trigger_for(state, instrument, side)
    if code == OK:
        lots, price = np.int64(event["qty"]), np.int64(0) if flags & MARKET else np.int64(event["price"])
        account, order_id = np.int64(event["account"]), np.int64(event["order_id"])
        slot = make_order(state, instrument, p, account, order_id, side, price, lots, lots, flags | PARKED)
        attach_terms(state, slot, np.int64(event["time_in_force"]))
        start_waiting(state, slot, ticks)
        answer(state.io, event, instrument, PARKED_ORDER, price, lots)
    return code


@leaf
def place_order(state, event, termed):
    """Check a NEW, match it, rest or expire what is left, answer. `termed`: with the TERMS row that is held."""
    ledger, prices = state.ledger, state.prices
    instrument = np.int64(event["instrument"])
    if not instrument_exists(prices, instrument):
        turn_down(state, event, termed, BAD_INSTRUMENT)
        return
    code = check_fields(state, event, instrument, termed)
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
    parks = termed and state.io.held[0]["trigger"] != TRIGGER_NONE
    rests = may_rest(tif, flags) if termed else tif == GTC and not flags & MARKET
    code = OK
    if p == 0:
        code = POSITIONS_FULL
    elif (parks or rests) and not order_room(state.book.pools, state.book.orders):
        code = ORDERS_FULL
    elif parks:
        code = park_order(state, event, p)
        if code == OK:
            return
    elif flags & REDUCE_ONLY:
        lots = min(lots, reducible_lots(ledger, p, side))
        code = OK if lots > 0 else REDUCE_ONLY_INCREASES
    if code == OK:
        code = check_matchable(state, instrument, p, side, limit_ticks, lots, flags, tif)
    if termed and code == OK:
        code = check_demands(state, event, instrument, limit_ticks, lots)
    if code != OK:
        turn_down(state, event, termed, code)
    elif termed:
        enter_termed(state, event, instrument, p, side, limit_ticks, lots, flags, tif)
    else:
        enter_order(state, event, instrument, p, side, limit_ticks, lots, flags, tif)


@leaf
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
    answer(
        state.io, event, np.int64(order["instrument"]), code, np.int64(order["ticks"]), np.int64(order["leaves_lots"])
    )


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
    """CANCEL_ALL: every live order of an account, in one instrument or (-1) in all."""
    prices, wallets = state.prices, state.ledger.wallets
    instrument, account = np.int64(event["instrument"]), np.int64(event["account"])
    if instrument != -1 and not instrument_exists(prices, instrument):
        refuse(state.io, event, BAD_INSTRUMENT)
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
            after = after_account(state.book, slot)
            if instrument == -1 or state.book.orders[slot]["instrument"] == instrument:
                emit_cancelled(state, slot, CANCELLED_BY_USER, 0)
                remove_order(state, slot)
                count += 1
            slot = after
    if opened:
        answer(state.io, event, instrument, OK, np.int64(event["price"]), count)
    else:
        refuse(state.io, event, BAD_ACCOUNT)


@leaf
def check_amend(state, event, slot):
    """Checks of an AMEND on the order's own instrument. Returns a code; mutates nothing."""
    order = state.book.orders[slot]
    instrument = np.int64(order["instrument"])
    record = state.prices.instruments[instrument]
    if event["qty"] < 1 or event["qty"] > record["order_max_lots"]:
        return BAD_LOTS
    if event["price"] != 0 and (event["price"] < record["ticks_min"] or event["price"] > record["ticks_max"]):
        return BAD_PRICE
    if state.prices.markets[instrument]["halted"]:
        return HALTED
    if in_liquidation(state.ledger, unit_of(state.ledger, np.int64(order["position"]))):
        return IN_LIQUIDATION
    return OK


@kernel
def amend_order(state, event):
    """AMEND: quantity down keeps priority; anything else re-enters the order, checked like a new one.

    Returns False, with nothing done, where terms are involved.
    """
    slot, code = owned_order(state, event)
    if state.book.orders[slot]["flags"] & TERMED or held_for(state.io, event):
        return False
    if code == OK:
        code = check_amend(state, event, slot)
    if code != OK:
        refuse(state.io, event, code)
        return True
    order = state.book.orders[slot]
    total, ticks = np.int64(event["qty"]), np.int64(event["price"])
    leaves, side, instrument = np.int64(order["leaves_lots"]), np.int64(order["side"]), np.int64(order["instrument"])
    ticks = ticks if ticks != 0 else np.int64(order["ticks"])
    cum = np.int64(order["order_lots"]) - leaves
    if total <= cum:
        answer_order(state, event, slot, CANCELLED_BY_USER)
        remove_order(state, slot)
    elif ticks == order["ticks"] and total <= order["order_lots"]:
        shrink(state, slot, total)
        answer_order(state, event, slot, RESTING)
    else:
        re_enter(state, event, slot, instrument, side, ticks, total - cum)
    return True


@leaf
def shrink(state, slot, total):
    """Lower an order to `total` lots where it stands, priority kept. Mutates book, ledger."""
    order = state.book.orders[slot]
    leaves, cut = np.int64(order["leaves_lots"]), np.int64(order["order_lots"]) - total
    if cut > 0:
        cut_leaves(state.book, slot, cut)
        change_open_order(state.ledger, state.prices, order, leaves, leaves - cut)
        state.book.books[np.int64(order["instrument"])]["order_lots"] -= cut
        order["order_lots"] = total


@leaf
def check_reentry(state, slot, ticks, lots):
    """(lots, code) of an order that would enter again with `lots` at `ticks`: checked as if it were gone."""
    order = state.book.orders[slot]
    p, flags, leaves = np.int64(order["position"]), np.int64(order["flags"]), np.int64(order["leaves_lots"])
    instrument, side = np.int64(order["instrument"]), np.int64(order["side"])
    code = OK
    change_open_order(state.ledger, state.prices, order, leaves, np.int64(0))
    state.book.books[instrument]["order_lots"] -= leaves
    if flags & REDUCE_ONLY:
        lots = min(lots, reducible_lots(state.ledger, p, side))
        code = OK if lots > 0 else REDUCE_ONLY_INCREASES
    if code == OK:
        code = check_matchable(state, instrument, p, side, ticks, lots, flags, GTC)
    change_open_order(state.ledger, state.prices, order, np.int64(0), leaves)
    state.book.books[instrument]["order_lots"] += leaves
    return lots, code


@leaf
def re_enter(state, event, slot, instrument, side, ticks, lots):
    """Amend with loss of priority: take the order out and enter it again."""
    order = state.book.orders[slot]
    p, flags = np.int64(order["position"]), np.int64(order["flags"])
    lots, code = check_reentry(state, slot, ticks, lots)
    if code != OK:
        refuse(state.io, event, code)
        return
    remove_order(state, slot)
    enter_order(state, event, instrument, p, side, ticks, lots, flags, GTC)
