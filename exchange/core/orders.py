"""Order commands: NEW, CANCEL, CANCEL_ALL, AMEND. DESIGN §3.1; SEQ-4."""

import numpy as np

from exchange.codes import (
    BAD_ACCOUNT,
    BAD_INSTRUMENT,
    BAD_LOTS,
    BAD_ORDER_ID,
    BAD_PRICE,
    BAD_SIDE,
    CANCELLED_BY_USER,
    EXPIRED,
    EXPIRED_SELF_TRADE,
    FILLED,
    FIRST_USER,
    FORCED,
    GTC,
    IN_LIQUIDATION,
    MARKET,
    NOT_OWNER,
    OK,
    ORDERS_FULL,
    PARTLY_FILLED_RESTING,
    POSITIONS_FULL,
    POST_ONLY,
    REDUCE_ONLY,
    REDUCE_ONLY_INCREASES,
    RESTING,
    STATE_CONTINUOUS,
    UNKNOWN_ORDER,
)
from exchange.core.admission import (
    check_fields,
    check_matchable,
    instrument_exists,
    market_limit,
    reach_of,
    reducible_lots,
    rests,
    unspoken_lots,
    wallet_for,
    wallet_of,
)
from exchange.core.allocation import execute
from exchange.core.auction import interrupt, note_market_order
from exchange.core.book import cut_leaves, enlist, find_id, insert_id, link_order, order_room, take_order_slot
from exchange.core.kernel import inlined, kernel, leaf
from exchange.core.margin import find_position, in_liquidation, make_position, unit_of
from exchange.core.match import change_open_order, emit_cancelled, remove_order
from exchange.core.order_guards import check_guards, check_lot_step
from exchange.core.outbox import answer, refuse
from exchange.core.resting import clear_orders
from exchange.core.self_trade import check_self_trade, self_trade_mode
from exchange.core.states import check_state
from exchange.core.terms import held_for


@leaf
def rest_order(state, instrument, p, account, order_id, side, ticks, order_lots, leaves, flags):
    """Put what is left of an order into the book; the free slot was checked. Mutates book, sums, lists."""
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
    order["flags"] = flags & (REDUCE_ONLY | POST_ONLY | MARKET | FORCED)
    order["side"] = side
    link_order(book, slot)
    insert_id(book.ids, order_id, slot)
    enlist(book.orders, state.ledger.wallets, np.int64(state.ledger.positions[p]["wallet"]), slot)
    change_open_order(state.ledger, state.prices, order, np.int64(0), leaves)
    book.books[instrument]["order_lots"] += leaves


@leaf
def enter_order(state, event, instrument, p, side, limit_ticks, lots, flags, tif, self_trade):
    """Match an admitted order, rest or expire what is left, and answer."""
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


@inlined
def place_order(state, event, termed):
    """Check a NEW, match it, rest or expire what is left, answer. `termed`: with the TERMS row that is held."""
    ledger, prices = state.ledger, state.prices
    instrument = np.int64(event["instrument"])
    if not instrument_exists(prices, instrument):
        refuse(state.io, event, BAD_INSTRUMENT)
        return
    code = check_fields(state, event, instrument)
    if termed and code == OK:
        code = check_self_trade(state.io)
    if code != OK:
        refuse(state.io, event, code)
        return
    wallet = wallet_for(prices, np.int64(event["account"]), instrument)
    p = find_position(ledger, wallet, instrument)
    if in_liquidation(ledger, unit_of(ledger, p) if p != 0 else wallet):
        refuse(state.io, event, IN_LIQUIDATION)
        return
    if p == 0:
        p = make_position(ledger, prices, state.io.control, wallet, instrument)
    side, flags, lots = np.int64(event["side"]), np.int64(event["flags"]), np.int64(event["qty"])
    tif = np.int64(event["time_in_force"])
    limit_ticks = market_limit(prices, instrument, side) if flags & MARKET else np.int64(event["price"])
    self_trade = self_trade_mode(prices, state.io, instrument, termed)
    code = OK
    if p == 0:
        code = POSITIONS_FULL
    elif rests(prices, instrument, flags, tif) and not order_room(state.book.pools, state.book.orders):
        code = ORDERS_FULL
    elif prices.markets[instrument]["guarded"] != 0:
        code = check_lot_step(prices, instrument, lots)
        if code == OK:
            code = check_guards(state, instrument, wallet, side, limit_ticks, lots, flags, tif, 1)
    if code == OK and flags & REDUCE_ONLY:
        resting = rests(prices, instrument, flags, tif)
        lots = min(lots, unspoken_lots(ledger, p, side) if resting else reducible_lots(ledger, p, side))
        code = OK if lots > 0 else REDUCE_ONLY_INCREASES
    if code == OK:
        code = check_matchable(state, instrument, p, side, limit_ticks, lots, flags, tif, self_trade)
    if code != OK:
        refuse(state.io, event, code)
        return
    enter_order(state, event, instrument, p, side, limit_ticks, lots, flags, tif, self_trade)


@inlined
def new_order(state, event):
    """NEW. A refusal changes nothing but counters and a fresh position slot."""
    if held_for(state.io, event):
        place_termed(state, event)
    else:
        place_order(state, event, 0)


@kernel
def place_termed(state, event):
    """A NEW with terms, compiled apart so that plain orders carry none of it."""
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
            after = np.int64(state.book.orders[slot]["account_next"])
            order = state.book.orders[slot]
            meant = not order["flags"] & FORCED and (event["qty"] == 0 or event["qty"] == order["side"] + 1)
            if meant and (instrument == -1 or order["instrument"] == instrument):
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
    if state.prices.markets[instrument]["state"] != STATE_CONTINUOUS:
        code = check_state(np.int64(state.prices.markets[instrument]["state"]), np.int64(order["flags"]), GTC)
        if code != OK:
            return code
    if in_liquidation(state.ledger, unit_of(state.ledger, np.int64(order["position"]))):
        return IN_LIQUIDATION
    code = check_self_trade(state.io) if held_for(state.io, event) else OK
    if code == OK and state.prices.markets[instrument]["guarded"] != 0:
        code = check_lot_step(state.prices, instrument, np.int64(event["qty"]))
    return code


@kernel
def amend_order(state, event):
    """AMEND: quantity down keeps priority; anything else re-enters the order, checked like a new one."""
    slot, code = owned_order(state, event)
    if code == OK:
        code = check_amend(state, event, slot)
    if code != OK:
        refuse(state.io, event, code)
        return
    order = state.book.orders[slot]
    total, ticks = np.int64(event["qty"]), np.int64(event["price"])
    leaves, side, instrument = np.int64(order["leaves_lots"]), np.int64(order["side"]), np.int64(order["instrument"])
    ticks = ticks if ticks != 0 else np.int64(order["ticks"])
    cum = np.int64(order["order_lots"]) - leaves
    if total <= cum:
        answer_order(state, event, slot, CANCELLED_BY_USER)
        remove_order(state, slot)
    elif ticks == order["ticks"] and total <= order["order_lots"]:
        cut = np.int64(order["order_lots"]) - total
        if cut > 0:
            cut_leaves(state.book, slot, cut)
            change_open_order(state.ledger, state.prices, order, leaves, leaves - cut)
            state.book.books[instrument]["order_lots"] -= cut
            order["order_lots"] = total
        answer_order(state, event, slot, RESTING)
    else:
        re_enter(state, event, slot, instrument, side, ticks, total - cum)


@inlined
def re_enter(state, event, slot, instrument, side, ticks, lots):
    """Amend with loss of priority: check as if the order were gone, then take it out and enter it again."""
    order = state.book.orders[slot]
    p, flags, leaves = np.int64(order["position"]), np.int64(order["flags"]), np.int64(order["leaves_lots"])
    self_trade = self_trade_mode(state.prices, state.io, instrument, 1 if held_for(state.io, event) else 0)
    code = OK
    if event["price"] != 0:
        flags &= ~MARKET  # it has a limit of its own now
    if state.prices.markets[instrument]["guarded"] != 0:
        wallet = np.int64(state.ledger.positions[p]["wallet"])
        code = check_guards(state, instrument, wallet, side, ticks, lots, flags, GTC, 0)
    change_open_order(state.ledger, state.prices, order, leaves, np.int64(0))
    state.book.books[instrument]["order_lots"] -= leaves
    if code == OK and flags & REDUCE_ONLY:
        lots = min(lots, unspoken_lots(state.ledger, p, side))
        code = OK if lots > 0 else REDUCE_ONLY_INCREASES
    if code == OK:
        code = check_matchable(state, instrument, p, side, ticks, lots, flags, GTC, self_trade)
    change_open_order(state.ledger, state.prices, order, np.int64(0), leaves)
    state.book.books[instrument]["order_lots"] += leaves
    if code != OK:
        refuse(state.io, event, code)
        return
    remove_order(state, slot)
    enter_order(state, event, instrument, p, side, ticks, lots, flags, GTC, self_trade)
