"""Record layouts of the venue's inputs, outputs and state. Slot 0 of every pool is NIL and stays zero.

Suffixes name the unit: `_ticks`, `_lots`, `_sub` (of marks and indices), `_ppm`, `_ppb`, `_ns`, `_seq`; none: quanta.
"""

from collections.abc import Mapping

import numpy as np

from exchange import codes
from exchange.rows import joined


def _record(*fields: tuple) -> np.dtype:
    return np.dtype(list(fields), align=True)


EVENT = _record(
    ("ts_ns", "i8"),  # replay clock: local receive time
    ("exchange_ns", "i8"),  # the exchange's own stamp, 0 when it sent none
    ("seq", "i8"),  # place in the tape
    ("order_id", "i8"),
    ("price", "i8"),  # ticks; sub-ticks for INDEX and MARK; ppb for funding
    ("qty", "i8"),  # lots, or money for DEPOSIT, WITHDRAW, TRANSFER
    ("account", "i4"),
    ("liquidation_id", "i4"),
    ("kind", "i2"),
    ("instrument", "i2"),
    ("flags", "i2"),
    ("side", "i1"),
    ("time_in_force", "i1"),
)

TERMS = _record(  # the same bytes as an EVENT of kind TERMS: what the next NEW or AMEND of this account and id adds
    ("ts_ns", "i8"),
    ("expiry_ns", "i8"),  # GTD: when the order is cancelled
    ("link_id", "i8"),  # one cancels other: id of a live order of the account
    ("order_id", "i8"),
    ("trigger_ticks", "i4"),
    ("display_lots", "i4"),  # iceberg: what the book shows; 0 = all of it
    ("min_lots", "i4"),  # what must fill at once
    ("display_min_lots", "i4"),  # an iceberg shows its display again when less than this is left of it; 0 = 1
    ("account", "i4"),
    ("offset_ticks", "i4"),  # trailing distance, or how far a peg stands behind its reference
    ("kind", "i2"),
    ("instrument", "i2"),
    ("trigger", "i1"),
    ("trigger_kind", "i1"),  # STOP or TAKE_PROFIT
    ("peg", "i1"),
    ("self_trade", "i1"),
)
EXTRA_FIELDS = tuple(name for name in TERMS.names or () if name not in (EVENT.names or ()))


def events(*rows: Mapping[str, int]) -> np.ndarray:
    """Events from mappings of field names of `EVENT` to integers; a field that a row does not name is 0.

    A row may also name fields of `TERMS`: it then becomes two, the TERMS row and the command that it belongs to.
    Raises `ValueError` for a name that is no field.
    """
    plain = EVENT.names or ()
    for k, row in enumerate(rows):
        if unknown := sorted({*row} - {*plain, *EXTRA_FIELDS}):
            raise ValueError(
                f"row {k}: no field {', '.join(unknown)}; the fields are {', '.join((*plain, *EXTRA_FIELDS))}"
            )
    return joined([_event(row) for row in rows] or [np.zeros(0, EVENT)], EVENT)


def _event(row: Mapping[str, int]) -> np.ndarray:
    """One event, after its TERMS where it has some."""
    event = np.array([tuple(row.get(name, 0) for name in EVENT.names or ())], EVENT)
    if not {*row} & {*EXTRA_FIELDS}:
        return event
    terms = {**row, "kind": codes.TERMS}
    extra = np.array([tuple(terms.get(name, 0) for name in TERMS.names or ())], TERMS)
    return joined([extra.view(EVENT), event], EVENT)


OUTCOME = _record(
    ("ts_ns", "i8"),
    ("seq", "i8"),  # consecutive from 1
    ("cause_seq", "i8"),  # number of the event that caused it
    ("order_id", "i8"),
    ("price", "i8"),
    ("lots", "i8"),
    ("money", "i8"),
    ("account", "i4"),
    ("counterparty", "i4"),
    ("liquidation_id", "i4"),
    ("kind", "i2"),
    ("code", "i2"),
    ("instrument", "i4"),
    ("flags", "i4"),
)

# --- book --------------------------------------------------------------------------------------------------
ORDER = _record(  # one cache line
    ("order_id", "i8"),
    ("priority_seq", "i8"),  # when it joined its queue; rises along it
    ("account", "i4"),  # EXTERNAL for recorded size
    ("position", "i4"),  # POSITION slot; for EXTERNAL the EXTERNAL_LEVEL slot
    ("ticks", "i4"),
    ("order_lots", "i4"),
    ("leaves_lots", "i4"),
    ("next", "i4"),  # in the level's queue, oldest first
    ("prev", "i4"),
    ("account_next", "i4"),  # in the account's list of live orders, oldest first; EXTERNAL's: of one level
    ("account_prev", "i4"),
    ("liquidation_id", "i4"),
    ("instrument", "i2"),
    ("flags", "i2"),
    ("side", "i4"),
)

ORDER_TERMS = _record(  # one cache line: what an order has beyond price and quantity, at the order's slot
    ("expiry_ns", "i8"),
    ("padding", "i8"),  # to a cache line
    ("trigger_ticks", "i4"),  # where it stands in its trigger ladder; 0 = in none
    ("limit_ticks", "i4"),  # a peg's cap: the worst price it may stand at
    ("offset_ticks", "i4"),
    ("display_lots", "i4"),
    ("display_min_lots", "i4"),
    ("hidden_lots", "i4"),  # an iceberg's reserve, beyond the order's leaves
    ("min_lots", "i4"),
    ("link", "i4"),  # order slot of the other of one-cancels-other
    ("next", "i4"),  # in the list of trailing or pegged orders of its instrument, oldest first
    ("prev", "i4"),
    ("trigger", "i1"),
    ("trigger_kind", "i1"),
    ("peg", "i1"),
    ("self_trade", "i1"),
    ("time_in_force", "i1"),
    ("queued", "i1"),  # an iceberg that shows less than its least: it is looked at when the event ends
)

WATCH = _record(  # one an instrument: who waits for what; k = 2 * (source - 1) + direction, 0 = falling, 1 = rising
    ("waiting", "i8"),  # orders in its trigger ladders
    ("best_ticks", "i8", (6,)),  # the trigger that is reached first; 0 = none
    ("seen_ticks", "i8", (6,)),  # the extreme that every trailing order has followed
    ("trail_head", "i4", (6,)),  # trailing orders, oldest first
    ("trail_tail", "i4", (6,)),
    *(("peg_head", "i4"), ("peg_tail", "i4")),  # pegged orders, resting and waiting, in the order in which they came
    ("peg_seen", "i8", (4,)),  # references and best prices to which they were brought last
)

TRIGGER_QUEUE = _record(("head", "i4"), ("tail", "i4"))  # the orders of one trigger price, first come first

LEVEL = _record(
    ("lots", "i8"),  # sum of leaves in the queue
    ("head", "i4"),
    ("tail", "i4"),
    ("external", "i4"),  # EXTERNAL_LEVEL slot of this price, also when nothing of it is left in the queue
    ("count", "i4"),
)

EXTERNAL_LEVEL = _record(
    ("recorded_lots", "i4"),  # as recorded
    ("lots", "i4"),  # after the depth factor
    ("displaced_lots", "i4"),  # eaten by simulated flow and not back yet
    ("printed_lots", "i4"),  # recorded prints that reached it since its last update
    ("recorded_ticks", "i4"),  # as recorded
    ("ticks", "i4"),  # after the shift
    ("order", "i4"),  # the first of the level's orders
    ("next", "i4"),  # all external levels of one instrument, oldest first; also the free list
    ("prev", "i4"),
    ("instrument", "i2"),
    ("side", "i1"),
    ("extrapolated", "i1"),
)

LADDER = _record(  # one price ladder: where its 64-way bitmap tree starts in the flat word array
    ("level_base", "i8"),
    ("word_base0", "i8"),
    ("word_base1", "i8"),
    ("word_base2", "i8"),
    ("word_base3", "i8"),
    ("top_words", "i8"),
    ("ticks_max", "i8"),
)

BOOK = _record(
    ("best_ticks", "i8", (2,)),  # best bid, best ask; 0 = none
    ("external_head", "i4"),
    ("external_tail", "i4"),
    ("order_lots", "i8"),  # leaves of all live simulated orders
    ("crossed_levels", "i8"),  # recorded levels dropped because the recording crossed itself
    ("top_seq", "i8", (2,)),  # priority_seq of the order that last improved the best bid, the best ask
)

POOLS = _record(  # one record: what is free and live in the order and external-level pools
    ("order_free", "i8"),
    ("order_high", "i8"),
    ("order_live", "i8"),
    ("priority_seq", "i8"),
    ("slices", "i8"),  # what live icebergs may still show, each counted like an order
    ("external_free", "i8"),
    ("external_high", "i8"),
    ("publish", "i8"),  # 1: changes of queues are noted
    ("change_count", "i8"),
    ("change_seq", "i8"),
    ("change_event", "i8"),  # number of the event at work
)

BOOK_CHANGE = _record(  # one order joined its queue, left it, or was resized in it
    ("seq", "i8"),  # consecutive from 1
    ("event_seq", "i8"),
    ("order_id", "i8"),  # 0 for recorded size
    ("level_lots", "i8"),  # of its price after the change
    ("slot", "i4"),  # names the order while it stands, recorded size too
    ("account", "i4"),
    ("ticks", "i4"),
    ("leaves_lots", "i4"),  # after the change; 0 when it left
    ("instrument", "i4"),
    ("side", "i2"),
    ("action", "i2"),
)

BOOK_ORDER = _record(  # one order as a view shows it
    *((name, "i8") for name in ("order_id", "priority_seq")),
    *((name, "i4") for name in ("slot", "account", "ticks", "leaves_lots")),
)

BOOK_LEVEL = _record(("ticks", "i8"), ("lots", "i8"), ("orders", "i8"))

# --- risk --------------------------------------------------------------------------------------------------
WALLET = _record(  # one account's cash in one settlement asset: the unit of cross margin; half a cache line
    ("cash", "i8"),
    ("first_position", "i4"),  # positions settled in this asset, by instrument
    ("first_order", "i4"),  # live orders, oldest first
    ("last_order", "i4"),
    ("liquidation_id", "i4"),
    ("next_rank", "i2"),  # where its liquidation stands
    ("open", "i1"),  # 1 once the account was funded
    ("stage", "i1"),
    *(("dirty", "i1"), ("converting", "i1"), ("portfolio", "i1")),  # its CONVERT timer is set; margined by the grid
)

TOTAL = _record(  # one settlement asset; balance = cash + isolated margin - entry values of all wallets
    ("deposits", "i8"),
    ("withdrawals", "i8"),
    ("balance", "i8"),
)

POSITION = _record(  # one cache line
    ("lots", "i8"),  # signed
    ("entry_value", "i8"),  # signed sum of trade values since flat
    ("isolated_margin", "i8"),
    ("bid_value", "i8"),  # value of live bids at their limits, reduce-only ones left out
    ("ask_value", "i8"),
    ("bid_lots", "i4"),
    ("ask_lots", "i4"),
    ("wallet", "i4"),
    ("next", "i4"),
    ("leverage_e2", "u2"),  # hundredths
    ("instrument", "i2"),
    ("mode", "i1"),
    ("stage", "i1"),
    ("dirty", "i1"),
    ("reducing", "i1"),  # HAS_REDUCING: reduce-only orders rest; TRIM_QUEUED: they are looked at when the event ends
)

LEG = _record(  # what only a liquidation, or reduce-only orders, need of a position
    ("bankruptcy_ticks", "i4"),
    ("liquidation_id", "i4"),
    ("reduce_lots", "i4", (2,)),  # resting reduce-only bids and asks
    *(("waiting_next", "i4"), ("place", "i4")),  # the next leg whose order waits; from 1, where a score orders legs
)

GUARD = _record(  # two per position: [2 p] fires when the mark falls to it, [2 p + 1] when it rises to it
    ("mark_sub", "i8"),  # 0 = not armed
    ("next", "i4"),
    ("prev", "i4"),
)

TIER = _record(
    ("floor", "i8"),  # notional from which the tier holds (the edge belongs to it)
    ("cum", "i8"),
    ("maintenance_ppm", "i8"),
    *(("leverage_max_e2", "i8"), ("initial_ppm", "i8")),  # the most; the least rate, 0 = what the leverage says
)

# --- prices and instruments ------------------------------------------------------------------------------------
INSTRUMENT = _record(  # set from the config; only SET_FEES changes it
    ("unit_value", "i8"),  # linear: money of a lot moving a tick; inverse: money of a lot times its price in ticks
    ("mark_unit", "i8"),  # the same in sub-ticks
    ("mark_per_tick", "i8"),
    ("ticks_min", "i8"),
    ("ticks_max", "i8"),
    ("order_max_lots", "i8"),
    ("position_max_lots", "i8"),
    ("open_interest_max_lots", "i8"),
    ("maker_ppb", "i8"),
    ("taker_ppb", "i8"),
    ("liquidation_ppm", "i8"),
    *(("market_band_ppm", "i8"), ("feedback_ppm", "i8")),  # the latter: this venue's share of its index
    ("initial_ppm", "i8"),  # of a holding: initial margin beyond its haircut
    ("tier_base", "i4"),
    ("tier_count", "i4"),
    ("constituent_base", "i4"),
    ("constituent_count", "i4"),
    *(("kind", "i2"), ("spot", "i2")),  # a spot instrument is linear and paid at once
    ("asset", "i2"),
    ("self_trade", "i2"),  # the mode of orders that bring none
    ("allocation", "i2"),  # 0 = first in, first out
    *((name, "i2") for name in ("iceberg", "pegged", "option", "margin_model")),  # the 2nd: pegged orders are offered
)

MARKET = _record(
    ("recorded_index_sub", "i8"),
    ("index_sub", "i8"),
    *(("mark_sub", "i8"), ("previous_mark_sub", "i8")),  # the latter: before its last change
    ("recorded_mark_sub", "i8"),
    ("last_ticks", "i8"),
    ("funding_rate_ppb", "i8"),
    ("next_funding_ns", "i8"),
    ("shift_ticks", "i8"),
    ("index_shift_sub", "i8"),
    ("depth_ppm", "i8"),
    ("basis_sum_sub", "i8"),
    ("basis_count", "i8"),
    ("basis_next", "i8"),
    ("open_interest_lots", "i8"),
    ("net_lots", "i8"),  # sum of all positions: always 0
    ("mark_version", "i8"),
    ("state", "i2"),
    ("fenced", "i1"),  # in an auction, or with price bands: takers do not reach as far as their limit
    ("guarded", "i1"),  # orders are held to the terms of ORDER_GUARD
    *(("mark_timer", "i1"), ("trades", "i1")),  # what of trades the mark needs: TRADES_*, 0 = the last price alone
    *(("refill_timer", "i1"), ("disposal_timer", "i1")),
)

CONSTITUENT = _record(("price_sub", "i8"), ("ts_ns", "i8"), ("weight_ppm", "i8"), ("seen", "i4"), ("outside", "i4"))

POLICY = _record(  # one record: what the profile decides
    ("mark_source", "i8"),
    ("mark_period_ns", "i8"),
    ("mark_samples", "i8"),
    ("option_period_ns", "i8"),
    ("index_rule", "i8"),
    ("index_outlier_ppm", "i8"),
    ("index_stale_ns", "i8"),
    ("funding_interval_ns", "i8"),
    ("refill", "i8"),
    ("refill_period_ns", "i8"),
    ("queue", "i8"),
    ("queue_exponent", "i8"),
    ("mode", "i8"),
    ("join_auctions", "i8"),  # liquidation orders rest in auctions; else they wait
    ("detection_delay_ns", "i8"),
    ("order_delay_ns", "i8"),
    *(("assets", "i8"), ("instruments", "i8"), ("accounts", "i8")),
    ("outcomes_per_order", "i8"),  # the most that one event emits for one live order
    ("gated", "i8"),  # 1: order commands pass throttles or a gateway queue, or are counted
    *(("count_quotes", "i8"), ("sell_order", "i8"), ("leg_order", "i8")),
    *(("fund_least_ppm", "i8"), ("fund_most_ppm", "i8")),  # the fund's share of what a forced fill gains
    ("bankruptcy_fee", "i8"),  # bankruptcy prices leave what closing costs
)

# --- io ----------------------------------------------------------------------------------------------------------
TIMER = _record(
    ("ts_ns", "i8"),
    ("cause_seq", "i8"),
    ("seq", "i8"),
    ("priority", "i4"),
    ("account", "i4"),
    ("order", "i4"),  # order among the units of one account
    ("unit", "i4"),  # +wallet (cross) or -position (isolated); instrument for the ticks
    ("kind", "i4"),
)

CONTROL = _record(
    ("clock_ns", "i8"),
    ("paused_until_ns", "i8"),  # no timer fires before it, and no command is carried out
    ("event_seq", "i8"),
    ("waiting", "i8"),  # orders in all trigger ladders
    ("pegged", "i8"),  # live pegged orders
    ("unfinished", "i8"),  # the event before left a message of the recorded market unfinished: pegs are not in line
    ("outcome_seq", "i8"),
    ("outbox_count", "i8"),
    ("timer_count", "i8"),
    ("timer_seq", "i8"),
    ("liquidation_seq", "i8"),
    ("dirty_count", "i8"),
    ("trim_count", "i8"),
    ("thinned_count", "i8"),
    ("order_work", "i8"),  # entries of `trims` and `thinned`: what the end of the event does to resting orders
    ("position_high", "i8"),
    ("sweep_instrument", "i8"),
    ("sweep_next", "i8"),
    *(("sweep_value", "i8"), ("sweep_kind", "i8")),
    *((f"rank_{name}", "i8") for name in ("instrument", "side", "version", "count")),  # the ADL ranking held
    *((f"rank_{name}", "i8") for name in ("liquidation", "lots", "total", "residue")),  # whose own, and what is shared
    *((f"share_{name}", "i8") for name in ("loss", "total", "left", "excess", "liquidation")),  # of a deficit
    ("next_event", "i8"),  # place in the input where run() stopped
    ("guard_checks", "i8"),
    ("rejected", "i8"),
)

RANK = _record(("score", "i8"), ("wallet", "i4"), ("position", "i4"))
