"""The life of an instrument: listed, expired, settled. DESIGN §3.13; SET-1.

A settlement closes the market at once and then goes through all wallets in continuations: orders are cancelled, and
positions closed at one price.
"""

import numpy as np

from exchange.codes import (
    BAD_PRICE,
    CANCELLED_BY_SETTLEMENT,
    FEES,
    FIRST_USER,
    INSURANCE,
    LIFE_TICK,
    NO_MARK,
    OK,
    PRIORITY_LIFE,
    SETTLED,
    SETTLEMENT,
    SETTLEMENT_PRICE,
    STAGE_REDUCE,
    STATE_AUCTION,
    STATE_CONTINUOUS,
    STATE_SETTLED,
    STATE_UNLISTED,
    SWEEP_SETTLEMENT,
    SWEEP_SHARE,
)
from exchange.core.accounts import SWEEP_STEP, done, funding_sweep
from exchange.core.arith import ppm_up
from exchange.core.auction import change_state, forget_auction
from exchange.core.contract import contract_value
from exchange.core.guards import set_stage, touch_position
from exchange.core.index import clip_sub, refresh_index
from exchange.core.kernel import kernel, leaf
from exchange.core.ledger import collect_fee, settle_position
from exchange.core.margin import account_of, external_position, find_position, unit_of, unit_stage
from exchange.core.options import in_strikes, payoff
from exchange.core.outbox import emit
from exchange.core.plan import current_leg, liquidation_id_of
from exchange.core.removal import withdraw_orders
from exchange.core.socialise import sharing_sweep
from exchange.core.spot import check_contract
from exchange.core.states import wake_legs
from exchange.core.timers import push_timer, remove_timer


@leaf
def set_life_timer(prices, io, instrument):
    """Set the timer of an instrument's next sample, if there is one to come. Mutates the record, the heap."""
    life = prices.lives[instrument]
    left = np.int64(life["samples"]) - np.int64(life["due"])
    if life["expiry_ns"] != 0 and left > 0:
        due_ns = np.int64(life["expiry_ns"]) - (left - 1) * np.int64(life["step_ns"])
        life["timer"] = 1
        push_timer(io, due_ns, PRIORITY_LIFE, 0, instrument, instrument, LIFE_TICK)


@leaf
def sampled_instrument(prices, instrument):
    """Whose index settles an instrument: its own, an option's is its underlying's."""
    if prices.instruments[instrument]["option"] != 0:
        return np.int64(prices.options[instrument]["underlying"])
    return instrument


@leaf
def settlement_price(prices, instrument):
    """The average of the samples, without one the index, the mark, the last price; of an option what it pays there.

    -1 where nothing is known.
    """
    life, source = prices.lives[instrument], sampled_instrument(prices, instrument)
    market, per_tick = prices.markets[source], np.int64(prices.instruments[source]["mark_per_tick"])
    price_sub = np.int64(market["last_ticks"]) * per_tick
    if life["count"] != 0:
        price_sub = np.int64(life["sum_sub"]) // np.int64(life["count"])
    elif market["index_sub"] != 0:
        price_sub = np.int64(market["index_sub"])
    elif market["mark_sub"] != 0:
        price_sub = np.int64(market["mark_sub"])
    if price_sub == 0:
        return np.int64(-1)
    if source != instrument:
        option, record = prices.options[instrument], prices.instruments[instrument]
        highest = np.int64(record["ticks_max"]) * np.int64(record["mark_per_tick"])
        return min(payoff(option, max(in_strikes(option, price_sub), np.int64(1))), highest)
    return price_sub


@kernel
def settle_market(state, instrument, price_sub):
    """Close a market for good and begin the sweep that settles it; at price -1 positions wait for one."""
    life, control = state.prices.lives[instrument], state.io.control[0]
    if state.prices.markets[instrument]["state"] == STATE_AUCTION:
        forget_auction(state, instrument)
        state.prices.auctions[instrument]["worst_market_ticks"][0] = 0
        state.prices.auctions[instrument]["worst_market_ticks"][1] = 0
    if life["timer"] != 0:
        remove_timer(state.io, LIFE_TICK, instrument)
        life["timer"] = 0
    change_state(state, instrument, STATE_SETTLED)
    wake_legs(state, state.prices.auctions[instrument])
    if price_sub >= 0:
        life["price_sub"] = price_sub
        life["priced"] = 1
        emit(state.io, SETTLEMENT_PRICE, 0, instrument, 0, 0, 0, price_sub, 0, np.int64(life["count"]), 0, 0)
    control["sweep_instrument"] = instrument
    control["sweep_kind"] = SWEEP_SETTLEMENT
    control["sweep_next"] = 1


@kernel
def life_tick(state, instrument):
    """LIFE_TICK: the listing, or a sample of the index, of which the last settles the instrument."""
    prices, life, market = state.prices, state.prices.lives[instrument], state.prices.markets[instrument]
    life["timer"] = 0
    if market["state"] == STATE_UNLISTED:
        opens = STATE_AUCTION if prices.auctions[instrument]["opening"] != 0 else STATE_CONTINUOUS
        change_state(state, instrument, opens)
    else:
        source = sampled_instrument(prices, instrument)
        refresh_index(state.book, prices, source)
        life["due"] += 1
        if prices.markets[source]["index_sub"] != 0:
            life["count"] += 1
            life["sum_sub"] += prices.markets[source]["index_sub"]
        if life["due"] == life["samples"]:
            settle_market(state, instrument, settlement_price(prices, instrument))
            return
    set_life_timer(prices, state.io, instrument)


@kernel
def settle_event(state, event):
    """SETTLE: settle an instrument now, at the price stated or (0) at the one known."""
    prices, instrument, price_sub = state.prices, np.int64(event["instrument"]), np.int64(event["price"])
    code = check_contract(prices, instrument)
    if code != OK:
        done(state, event, code)
        return
    if price_sub != 0 and clip_sub(prices, instrument, price_sub) != price_sub:
        code = BAD_PRICE
    elif prices.lives[instrument]["priced"] != 0:
        code = SETTLED
    else:
        price_sub = price_sub if price_sub != 0 else settlement_price(prices, instrument)
        code = OK if price_sub >= 0 else NO_MARK
    if code == OK:
        settle_market(state, instrument, price_sub)
    done(state, event, code)


@leaf
def settle_wallet(state, instrument, wallet, p):
    """Close a wallet's position at the settlement price. A liquidation at work on it goes on with its next leg."""
    ledger, prices, price_sub = state.ledger, state.prices, np.int64(state.prices.lives[instrument]["price_sub"])
    lots, unit, account = np.int64(ledger.positions[p]["lots"]), unit_of(ledger, p), account_of(prices, wallet)
    stage, liquidation_id = unit_stage(ledger, unit), np.int64(0)
    if stage >= STAGE_REDUCE:
        liquidation_id = liquidation_id_of(ledger, unit)
    if stage > STAGE_REDUCE and account != INSURANCE and current_leg(ledger, prices, unit) == p:
        set_stage(ledger, unit, STAGE_REDUCE)
    fee, asset = np.int64(0), np.int64(prices.instruments[instrument]["asset"])
    if account >= FIRST_USER:
        value = abs(contract_value(prices, instrument, price_sub, lots))
        fee = ppm_up(value, np.int64(prices.lives[instrument]["fee_ppm"]))
    money, interest = settle_position(ledger, prices, instrument, p, external_position(instrument), price_sub, fee)
    prices.markets[instrument]["open_interest_lots"] += interest
    if fee != 0:
        collect_fee(ledger, FEES * np.int64(prices.policy[0]["assets"]) + asset, asset, fee)
    emit(
        state.io,
        SETTLEMENT,
        0,
        instrument,
        account,
        0,
        0,
        price_sub,
        lots,
        money - fee,
        0,
        liquidation_id,
    )
    touch_position(ledger, state.io, p)


@kernel
def settlement_sweep(state):
    """One continuation of a settlement: the next wallets in order. Mutates the sweep's place."""
    control = state.io.control[0]
    instrument, wallets = np.int64(control["sweep_instrument"]), state.ledger.wallets.shape[0]
    first = np.int64(control["sweep_next"])
    end = min(first + SWEEP_STEP, wallets)
    for wallet in range(first, end):
        p = find_position(state.ledger, wallet, instrument)
        if p != 0:
            withdraw_orders(state, wallet, p, CANCELLED_BY_SETTLEMENT)
            if state.ledger.positions[p]["lots"] != 0 and state.prices.lives[instrument]["priced"] != 0:
                settle_wallet(state, instrument, wallet, p)
    control["sweep_next"] = end if end < wallets else 0


@kernel
def sweep(state):
    """Go on with what is paid wallet by wallet: a settlement, a deficit of the fund, or funding."""
    kind = state.io.control[0]["sweep_kind"]
    if kind == SWEEP_SETTLEMENT:
        settlement_sweep(state)
    elif kind == SWEEP_SHARE:
        sharing_sweep(state)
    else:
        funding_sweep(state)
