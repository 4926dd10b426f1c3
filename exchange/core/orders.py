"""Order commands: NEW, CANCEL, CANCEL_ALL, AMEND, and the checks that admit them. DESIGN §3.1, §3.2; LIQ-2, SEQ-4."""

import numpy as np

from exchange.codes import (
    ASK,
    BAD_ACCOUNT,
    BAD_FLAGS,
    BAD_INSTRUMENT,
    BAD_LOTS,
    BAD_ORDER_ID,
    BAD_PRICE,
    BAD_SIDE,
    BAD_TIME_IN_FORCE,
    BID,
    CANCELLED_BY_USER,
    DUPLICATE_ORDER_ID,
    EXPIRED,
    FILLED,
    FIRST_USER,
    FOK,
    FOK_UNFILLABLE,
    GTC,
    HALTED,
    IN_LIQUIDATION,
    INSUFFICIENT_MARGIN,
    IOC,
    LEVERAGE_TIER,
    MARKET,
    NO_MARK,
    NOT_OWNER,
    OK,
    OPEN_INTEREST_CAP,
    ORDERS_FULL,
    PARTLY_FILLED_RESTING,
    POSITION_LIMIT,
    POSITIONS_FULL,
    POST_ONLY,
    POST_ONLY_WOULD_TAKE,
    REDUCE_ONLY,
    REDUCE_ONLY_INCREASES,
    RESTING,
    UNKNOWN_ORDER,
)
from exchange.core.arith import MILLION, ceil_div, mul_div_floor, ppm_up
from exchange.core.book import crosses, cut_leaves, enlist, find_id, insert_id, link_order, order_room, take_order_slot
from exchange.core.contract import mark_exposure, mark_value, trade_notional, trade_value
from exchange.core.kernel import kernel, leaf
from exchange.core.margin import (
    exposure_of,
    find_position,
    in_liquidation,
    make_position,
    tier_limit,
    unit_of,
    wallet_equity,
    wallet_margin,
)
from exchange.core.match import change_open_order, emit_cancelled, execute, fillable_lots, remove_order
from exchange.core.outbox import answer, refuse


@leaf
def instrument_exists(prices, instrument):
    return 0 <= instrument < np.int64(prices.policy[0]["instruments"])


@leaf
def wallet_of(prices, account, asset):
    return account * np.int64(prices.policy[0]["assets"]) + asset


@leaf
def wallet_for(prices, account, instrument):
    """Wallet slot of an account in an instrument's settlement asset."""
    return wallet_of(prices, account, np.int64(prices.instruments[instrument]["asset"]))


@leaf
def open_user(ledger, prices, account, instrument):
    """Is `account` a user that was funded in the instrument's asset?"""
    if account < FIRST_USER or account >= prices.policy[0]["accounts"]:
        return False
    return ledger.wallets[wallet_for(prices, account, instrument)]["open"] != 0


@leaf
def market_limit(prices, instrument, side):
    """Worst price of a market order: the band around the mark, inside the ladder."""
    record = prices.instruments[instrument]
    mark, band = np.int64(prices.markets[instrument]["mark_sub"]), np.int64(record["market_band_ppm"])
    per_tick = np.int64(record["mark_per_tick"])
    if side == BID:
        ticks = mul_div_floor(mark, MILLION + band, MILLION) // per_tick
    else:
        ticks = ceil_div(mul_div_floor(mark, MILLION - band, MILLION), per_tick)
    return max(np.int64(record["ticks_min"]), min(ticks, np.int64(record["ticks_max"])))


@leaf
def check_fields(state, event, instrument):
    """Checks of a NEW that need no position. Returns a code; mutates nothing."""
    ledger, prices = state.ledger, state.prices
    flags, tif, side = np.int64(event["flags"]), np.int64(event["time_in_force"]), np.int64(event["side"])
    record = prices.instruments[instrument]
    if not open_user(ledger, prices, np.int64(event["account"]), instrument):
        return BAD_ACCOUNT
    if event["order_id"] <= 0:
        return BAD_ORDER_ID
    if side != BID and side != ASK:
        return BAD_SIDE
    if tif != GTC and tif != IOC and tif != FOK:
        return BAD_TIME_IN_FORCE
    if flags & ~(POST_ONLY | REDUCE_ONLY | MARKET):
        return BAD_FLAGS
    if flags & POST_ONLY and (flags & MARKET or tif != GTC):
        return BAD_FLAGS
    if event["qty"] < 1 or event["qty"] > record["order_max_lots"]:
        return BAD_LOTS
    if not flags & MARKET and (event["price"] < record["ticks_min"] or event["price"] > record["ticks_max"]):
        return BAD_PRICE
    if prices.markets[instrument]["halted"]:
        return HALTED
    if prices.markets[instrument]["mark_sub"] == 0:
        return NO_MARK
    if find_id(state.book.ids, state.book.orders, np.int64(event["order_id"])) != 0:
        return DUPLICATE_ORDER_ID
    return OK


@leaf
def reducible_lots(ledger, p, side):
    """Lots that an order of `side` could take off position `p`; 0 = it would not reduce."""
    held = np.int64(ledger.positions[p]["lots"])
    return max(np.int64(0), -held if side == BID else held)


@leaf
def reachable_lots(ledger, p, side):
    """Lots position `p` could hold on one side if its open orders there fill; an opposite position does not offset."""
    position = ledger.positions[p]
    if side == BID:
        return max(np.int64(0), np.int64(position["lots"])) + np.int64(position["bid_lots"])
    return max(np.int64(0), -np.int64(position["lots"])) + np.int64(position["ask_lots"])


@leaf
def check_admission(state, instrument, p, side, limit_ticks, lots):
    """Position limit, open interest cap, leverage tier and initial margin of one more open order. Mutates nothing."""
    ledger, prices = state.ledger, state.prices
    position, record, market = ledger.positions[p], prices.instruments[instrument], prices.markets[instrument]
    wallet = np.int64(position["wallet"])
    if reachable_lots(ledger, p, side) + lots > record["position_max_lots"]:
        return POSITION_LIMIT
    committed = np.int64(market["open_interest_lots"]) + np.int64(state.book.books[instrument]["order_lots"])
    if committed + lots > record["open_interest_max_lots"]:
        return OPEN_INTEREST_CAP
    held = mark_exposure(prices, instrument, np.int64(position["lots"]))
    order_value = trade_notional(prices, instrument, limit_ticks, lots)
    bids, asks = np.int64(position["bid_value"]), np.int64(position["ask_value"])
    before = exposure_of(held, bids, asks)
    after = exposure_of(held, bids + order_value, asks) if side == BID else exposure_of(held, bids, asks + order_value)
    if after <= before:
        return OK
    limit = tier_limit(prices, instrument, np.int64(position["leverage_e2"]))
    if limit >= 0 and after > limit:
        return LEVERAGE_TIER
    change = lots if side == BID else -lots
    open_loss = trade_value(prices, instrument, limit_ticks, change) - mark_value(prices, instrument, change)
    fee_reserve = ppm_up(order_value, max(np.int64(record["taker_ppm"]), np.int64(0)))
    available = wallet_equity(ledger, prices, wallet) - max(np.int64(0), open_loss) - fee_reserve
    if available < wallet_margin(ledger, prices, wallet, p, side, order_value):
        return INSUFFICIENT_MARGIN
    return OK


@leaf
def check_matchable(state, instrument, p, side, limit_ticks, lots, flags, tif):
    """Post-only, fill-or-kill and admission, in that order. Mutates nothing."""
    best = np.int64(state.book.books[instrument]["best_ticks"][ASK if side == BID else BID])
    if flags & POST_ONLY and crosses(side, limit_ticks, best):
        return POST_ONLY_WOULD_TAKE
    if tif == FOK and fillable_lots(state, instrument, side, limit_ticks, lots) < lots:
        return FOK_UNFILLABLE
    if flags & REDUCE_ONLY:
        return OK
    return check_admission(state, instrument, p, side, limit_ticks, lots)


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
    order["flags"] = flags & (REDUCE_ONLY | POST_ONLY)
    order["side"] = side
    link_order(book, slot)
    insert_id(book.ids, order_id, slot)
    enlist(book.orders, state.ledger.wallets, np.int64(state.ledger.positions[p]["wallet"]), slot)
    change_open_order(state.ledger, state.prices, order, np.int64(0), leaves)
    book.books[instrument]["order_lots"] += leaves


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


@leaf
def new_order(state, event):
    """NEW: check, match, rest or expire, answer. A refusal changes nothing but counters and a fresh position slot."""
    ledger, prices = state.ledger, state.prices
    instrument = np.int64(event["instrument"])
    if not instrument_exists(prices, instrument):
        refuse(state.io, event, BAD_INSTRUMENT)
        return
    code = check_fields(state, event, instrument)
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
    code = OK
    if p == 0:
        code = POSITIONS_FULL
    elif tif == GTC and not flags & MARKET and not order_room(state.book.pools, state.book.orders):
        code = ORDERS_FULL
    elif flags & REDUCE_ONLY:
        lots = min(lots, reducible_lots(ledger, p, side))
        code = OK if lots > 0 else REDUCE_ONLY_INCREASES
    if code == OK:
        code = check_matchable(state, instrument, p, side, limit_ticks, lots, flags, tif)
    if code != OK:
        refuse(state.io, event, code)
        return
    enter_order(state, event, instrument, p, side, limit_ticks, lots, flags, tif)


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
            after = np.int64(state.book.orders[slot]["account_next"])
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


@leaf
def re_enter(state, event, slot, instrument, side, ticks, lots):
    """Amend with loss of priority: check as if the order were gone, then take it out and enter it again."""
    order = state.book.orders[slot]
    p, flags, leaves = np.int64(order["position"]), np.int64(order["flags"]), np.int64(order["leaves_lots"])
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
    if code != OK:
        refuse(state.io, event, code)
        return
    remove_order(state, slot)
    enter_order(state, event, instrument, p, side, ticks, lots, flags, GTC)
