"""Every integer code of the venue: event kinds, sides, flags, outcome kinds, results, states.

Plain module constants, because kernels freeze them at compile time. The tables at the end give each
code its name and, for rejections, the sentence that a user reads.
"""

# --- event kinds, in bands -------------------------------------------------------------------------
NEW, CANCEL, AMEND, CANCEL_ALL, TERMS = 1, 2, 3, 4, 5
LEVEL_SET, TRADE_PRINT, BOOK_CLEAR, INDEX, MARK, FUNDING_RATE, FUNDING_SETTLE, SHIFT = range(16, 24)
VOLATILITY = 24
DEPOSIT, WITHDRAW, SET_LEVERAGE, SET_MARGIN_MODE, TRANSFER, OPEN_POSITION = range(32, 38)
DEPOSIT_ASSET, WITHDRAW_ASSET = 44, 45
TAKE = 46  # lots of a unit that is auctioned
SET_FEES, HALT, RESUME = 48, 49, 50
SET_STATE, AUCTION_START, AUCTION_END, SET_GROUP, SET_THROTTLE = range(51, 56)
SETTLE = 56
SET_TIERS = 57
ENGINE_PAUSE = 58
MARK_TICK, REFILL_TICK, LIQUIDATE, IMPACT_TICK = 64, 65, 66, 67  # internal: only the timer heap makes these
CONVERT = 76
STAGE_TICK = 77
EXPIRE, TRIGGER, AUCTION_TICK, GATEWAY_TICK = 68, 69, 70, 71
LIFE_TICK, OPTION_TICK = 72, 73
ENGINE_RESUME = 78
DISPOSE = 79
FUNDING_TICK = 80

# --- sides, time in force, contract kinds, margin modes ----------------------------------------------
BID, ASK = 0, 1
GTC, IOC, FOK, GTD = 0, 1, 2, 3
TO_LIMIT = 4  # of a market order: what is left rests at the last price
LINEAR, INVERSE = 0, 1
CALL, PUT = 1, 2
CROSS, ISOLATED, PORTFOLIO = 0, 1, 2  # the third is a wallet's

# --- flags of events, orders and outcomes --------------------------------------------------------------
POST_ONLY = 1
REDUCE_ONLY = 2
MARKET = 4
LAST = 8  # the last row of one exchange message: the book is consistent after it
EVIDENCE = 16  # a print that is not a market trade (insurance fund, ADL): kept, never moves last
EXTRAPOLATED = 32  # external depth beyond the recorded levels
SHIFT_BOOK = 64  # a SHIFT moves the recorded ladder and prints
SHIFT_INDEX = 128  # a SHIFT moves the recorded index and mark
FORCED = 256  # a fill of a liquidation order
MAKER = 512  # the outcome is the resting side's
SHADOW = 1024  # a forced fill that left the book untouched (no-feedback run)
SELL = 2048  # the outcome's account sold
PARKED = 4096  # an order that waits for its trigger, in no queue
TERMED = 8192  # an order with a row in the table of terms
CONVERTED = 32768  # a fill of a forced conversion
BACKSTOP = 65536  # of the backstop: it takes over, or works off what was taken over
BUDGET = 16384  # FOK: price is the money that the whole order may cost (bid) or must bring (ask)

# --- what a TERMS row adds to an order ---------------------------------------------------------------------
TRIGGER_NONE, TRIGGER_MARK, TRIGGER_INDEX, TRIGGER_LAST = 0, 1, 2, 3
STOP, TAKE_PROFIT = 0, 1  # a stop waits for the price to move against the position it protects, or into a breakout
PEG_NONE, PEG_MID, PEG_BEST, PEG_OPPOSITE = 0, 1, 2, 3
STP_DEFAULT, STP_NONE, STP_CANCEL_NEWEST, STP_CANCEL_OLDEST, STP_CANCEL_BOTH, STP_DECREMENT = range(6)

# --- reserved accounts ---------------------------------------------------------------------------------
EXTERNAL, INSURANCE, FEES, RESIDUE = 1, 2, 3, 4
FIRST_USER = 8

# --- outcome kinds -------------------------------------------------------------------------------------
RESULT, FILL, CANCELLED, MARK_PRICE, FUNDING = 1, 2, 3, 4, 5
LIQUIDATION_START, LIQUIDATION_ORDER, LIQUIDATION_FEE, TAKEOVER, ADL, DEFICIT, LIQUIDATION_END = range(6, 13)
TRIGGERED, REPRICED, PREVENTED = 13, 14, 15
CONVERSION = 24
STAGE = 25  # a stage of liquidation acts
TAKEN = 40  # a taker's lots of a unit that is auctioned, or the backstop's
DISPOSAL = 41  # an order that works off what was taken over
STATE_CHANGE, INDICATIVE, AUCTION = 16, 17, 18
SETTLEMENT_PRICE, SETTLEMENT = 19, 20
FUNDING_PRICE = 28  # a computed rate settles
SOCIALISED = 30  # a share of the fund's deficit

# --- results: 0..19 accepted, 20.. rejected ---------------------------------------------------------------
OK = 0
RESTING = 1
FILLED = 2
PARTLY_FILLED_RESTING = 3
EXPIRED = 4  # IOC, FOK or market remainder that found no price; lots = what was not filled
CANCELLED_BY_USER = 5
CANCELLED_BY_LIQUIDATION = 6
CANCELLED_REDUCE_ONLY = 7
RECOVERED = 8
CLOSED = 9
PARKED_ORDER = 10
CANCELLED_BY_EXPIRY = 11
CANCELLED_BY_LINK = 12
CANCELLED_BY_VENUE = 14
CANCELLED_BY_CONVERSION = 16
CANCELLED_BY_SETTLEMENT = 18
SHRUNK_REDUCE_ONLY = 17  # of a CANCELLED outcome: lots are gone, the rest of the order stands
CANCELLED_SELF_TRADE = 13
REDUCED = 19  # of a LIQUIDATION_END: a step of a reduction is done
EXPIRED_SELF_TRADE = 15

UNSUPPORTED_KIND = 20
BAD_INSTRUMENT = 21
BAD_ACCOUNT = 22
BAD_SIDE = 23
BAD_TIME_IN_FORCE = 24
BAD_FLAGS = 25
BAD_PRICE = 26
BAD_LOTS = 27
BAD_AMOUNT = 28
BAD_ORDER_ID = 29
DUPLICATE_ORDER_ID = 30
UNKNOWN_ORDER = 31
NOT_OWNER = 32
HALTED = 33
IN_LIQUIDATION = 34
NO_MARK = 35
REDUCE_ONLY_INCREASES = 36
POST_ONLY_WOULD_TAKE = 37
FOK_UNFILLABLE = 38
POSITION_LIMIT = 39
OPEN_INTEREST_CAP = 40
LEVERAGE_TIER = 41
INSUFFICIENT_MARGIN = 42
INSUFFICIENT_BALANCE = 43
BAD_LEVERAGE = 44
POSITION_OPEN = 45
NOT_ISOLATED = 46
ORDERS_FULL = 47
POSITIONS_FULL = 48
EXTERNALS_FULL = 49
OUT_OF_ORDER = 50
BAD_CONSTITUENT = 51
BAD_TERMS = 52
BAD_EXPIRY = 53
BAD_TRIGGER = 54
WOULD_TRIGGER = 55
NO_TRIGGER_PRICE = 56
BAD_LINK = 57
BAD_MIN_LOTS = 58
MIN_LOTS_UNFILLABLE = 59
BAD_GROUP, BAD_SELF_TRADE = 64, 65
BAD_STATE = 68
CANCEL_ONLY = 69
POST_ONLY_STATE = 70
REDUCE_ONLY_STATE = 71
NOT_IN_AUCTION = 72
IN_AUCTION = 73
NO_AUCTION = 74
PRICE_COLLAR = 75
FAT_FINGER = 76
NOTIONAL_TOO_SMALL = 77
NOTIONAL_TOO_LARGE = 78
LOTS_TOO_SMALL = 79
BAD_PRICE_STEP = 80
BAD_LOT_STEP = 81
TOO_MANY_ORDERS = 82
THROTTLED = 84
BANNED = 85
GATEWAY_FULL = 86
BAD_LIMIT, GROUP_UNCOUNTED = 87, 88
NO_PORTFOLIO = 100
NOT_SPOT, NOT_CONTRACT, INSUFFICIENT_HOLDING = 104, 105, 106
BAD_DISPLAY, BAD_PEG = 92, 94
BAD_TIERS = 98
ENGINE_PAUSED = 108
NOT_OFFERED = 120
SETTLED, NOT_LISTED = 96, 97

FIRST_REJECTION = UNSUPPORTED_KIND

# --- what happens to an order of a book, in its stream of changes ------------------------------------------------
BOOK_ADD, BOOK_REMOVE, BOOK_RESIZE = 1, 2, 3

# --- liquidation stages of a margin unit ------------------------------------------------------------------
STAGE_NONE, STAGE_DETECTED, STAGE_REDUCE, STAGE_TAKEOVER, STAGE_ADL = 0, 1, 2, 3, 4

# --- what a market does: trade, or less ------------------------------------------------------------------------
STATE_CONTINUOUS, STATE_HALTED, STATE_CANCEL_ONLY, STATE_POST_ONLY, STATE_REDUCE_ONLY, STATE_AUCTION = range(6)
STATE_SETTLED, STATE_UNLISTED = 6, 7  # no more, and not yet
STILL = (STATE_HALTED, STATE_AUCTION, STATE_SETTLED, STATE_UNLISTED)  # in which nothing matches

# --- timer priorities at one timestamp ----------------------------------------------------------------------
PRIORITY_ENGINE = -1  # the engine goes on before what is due at that time
PRIORITY_EXPIRE = 0  # what is good until T is not filled by what happens at T
PRIORITY_AUCTION = 1  # who waits for its end goes on at once
PRIORITY_MARK, PRIORITY_REFILL, PRIORITY_IMPACT, PRIORITY_TRIGGER, PRIORITY_LIQUIDATE = 2, 3, 4, 5, 6
PRIORITY_LIFE = 7  # all that is due by the end of an instrument is done before it
PRIORITY_CONVERT = 8  # what is liquidated at that time is not converted
PRIORITY_STAGE = 9
PRIORITY_DISPOSE = 10  # what is taken over at that time waits for the next
PRIORITY_GATEWAY = 16  # after all else of its time
PRIORITY_FUNDING_LAST = 12  # funding after liquidations; else it comes right after the marks

# --- stop codes of run() -----------------------------------------------------------------------------------
DONE, NEED_INPUT, OUTBOX_FULL, BROKEN = 0, 1, 2, 3

# --- policies ------------------------------------------------------------------------------------------------
MARK_RECORDED, MARK_COMPUTED = 0, 1
INDEX_COMPOSITE, INDEX_MEDIAN, INDEX_WEIGHTED, INDEX_CAPPED, INDEX_WEIGHTED_MEDIAN = range(5)
STALE_DROP, STALE_KEEP, STALE_FREEZE = 0, 1, 2
COMPONENTS = (  # of a computed mark: the prices that it is combined of
    *("index", "funding_basis", "average_basis", "ema_basis", "mid", "impact_mid"),
    *("last", "median_book", "trades", "recorded", "outside"),
)
BY_INDEX, BY_FUNDING, BY_AVERAGE, BY_EMA, BY_MID, BY_IMPACT = range(6)
BY_LAST, BY_BOOK, BY_TRADES, BY_MARK, BY_OUTSIDE = range(6, 11)
COMBINE_MEDIAN, COMBINE_MEAN, COMBINE_WEIGHTED = 0, 1, 2
AVERAGE_MEAN, AVERAGE_LINEAR, AVERAGE_TRIMMED = 0, 1, 2
TRADES_TIMED, TRADES_KEPT, FORCED_IGNORED = 1, 2, 4  # bits: what of trades a mark needs beyond the last price
REFILL_NONE, REFILL_DECAY, REFILL_PERSISTENT = 0, 1, 2
QUEUE_WHOLE_LEVEL, QUEUE_RISK_AVERSE, QUEUE_POWER = 0, 1, 2
MODE_OVERLAY, MODE_SHADOW = 0, 1
ICEBERG_NONE, ICEBERG_REFRESH, ICEBERG_PRO_RATA = 0, 1, 2
BUCKET, WINDOW, SLIDING = 0, 1, 2
MARGIN_PLAIN, MARGIN_TIERS, MARGIN_OF_INITIAL, MARGIN_RISK, MARGIN_OPTION, MARGIN_SPOT = range(6)
STRESS_SUM, STRESS_ONE_FACTOR, STRESS_RHO_ONE, STRESS_FLIPPED = 1, 2, 4, 8  # correlation modes, added
SHOCK_OWN, SHOCK_BETA, SHOCK_CONTRA = 0, 1, 2  # by its own range, by the factor, by the factor with the sign turned
SHOCKS = 3
COUNTED_TIMES_MAX = 8  # the largest multiple of a loss in a scenario that counts
EXPIRY_ROWS = 3  # of scenarios, where options of an expiry are taken together
SKEW_LINEAR, SKEW_ABSOLUTE = 1, 2  # by moneyness, by its size
COUNT_LONG, COUNT_SHORT, COUNT_BOTH, COUNT_LARGEST, COUNT_UP, COUNT_DOWN = range(6)  # of a group's contracts
COUNTS = 6
CLOSING_NONE, CLOSING_TAKER, CLOSING_LIQUIDATION = 0, 1, 2
ORDERS_LARGER, ORDERS_SUM, ORDERS_PREMIUM = 0, 1, 2
SWEEP_FUNDING, SWEEP_TOUCH, SWEEP_SETTLEMENT, SWEEP_SHARE = range(4)
RANK_PROFIT, RANK_COLLATERAL, RANK_PRICE, RANK_MARGIN, RANK_STATED, RANK_LIST, RANK_PRO_RATA = range(7)
ADL_BANKRUPTCY, ADL_MARK, ADL_PREVIOUS = 0, 1, 2  # the price of deleveraging
ADL_SHORTFALL, ADL_FIRST, ADL_EQUITY, ADL_DRAWDOWN, ADL_NEVER = range(5)  # when it comes before the fund
AROUND_MARK, AROUND_INDEX, AROUND_MID = 0, 1, 2  # where the band of a backstop's orders stands
SHARE_NONE, SHARE_POSITIONS, SHARE_PROFITS = 0, 1, 2  # who bears a deficit of the fund
SELL_LAST, SELL_FIRST, SELL_LISTED = 0, 1, 2
LEGS_LISTED, LEGS_FUTURES, LEGS_LOSS, LEGS_FREED = range(4)  # in which order a unit's legs are closed
STAGE_WARN, STAGE_CANCEL, STAGE_PART, STAGE_CLOSE, STAGE_FUND, STAGE_AUCTION = range(1, 7)  # from the third: liquidate
CURVE_POINTS = 4  # the most of what changes with the time of an auction
CONCEDE_EQUITY, CONCEDE_MARK, CONCEDE_INDEX = 0, 1, 2  # what an auction's concession is a share of
STAGE_PLACES = 10_000  # more units an account has not: place of a stage timer = stage times this + place of the unit

OUTCOMES_PER_ORDER = 5  # a cut, a fill (both sides and a liquidation fee), another cut when the event ends
FILLS_PER_ORDER = 6  # of one resting order in one event, where a level is shared in steps
MOVES_PER_PEG = 2  # at the end of one event: DESIGN §3.6
OUTCOMES_PER_STEP = 4096  # funding, deleveraging: two for each of 1,024 accounts, and a margin

REFILL_STEPS_PER_HALF_LIFE = 8
REFILL_KEEP_PPM = 917_004  # 2 ** (-1 / 8): what is left of displaced size after one refill step

RESULT_TEXT = {
    OK: "done",
    RESTING: "the order rests in the book",
    FILLED: "filled in full",
    PARTLY_FILLED_RESTING: "filled in part, the remainder rests",
    EXPIRED: "the remainder found no price within its limit and expired",
    CANCELLED_BY_USER: "cancelled",
    CANCELLED_BY_LIQUIDATION: "cancelled because the account is being liquidated",
    CANCELLED_REDUCE_ONLY: "cancelled because it would no longer reduce the position",
    RECOVERED: "the account is back above its maintenance margin",
    CLOSED: "every position of the unit is closed",
    REDUCED: "a part of a position is closed, and the account is not back yet",
    PARKED_ORDER: "the order waits for its trigger",
    CANCELLED_BY_EXPIRY: "cancelled because its time is over",
    CANCELLED_BY_LINK: "cancelled by the other order of the pair",
    CANCELLED_BY_VENUE: "cancelled by the venue",
    CANCELLED_BY_SETTLEMENT: "cancelled because the instrument is settled",
    CANCELLED_BY_CONVERSION: "cancelled because the holding is converted",
    SHRUNK_REDUCE_ONLY: "made smaller by lots, because more would no longer reduce the position",
    CANCELLED_SELF_TRADE: "cancelled because it would have traded with an order of its own owner",
    EXPIRED_SELF_TRADE: "ended at an order of its own owner",
    UNSUPPORTED_KIND: "this event kind is not supported",
    BAD_INSTRUMENT: "no such instrument",
    BAD_ACCOUNT: "no such account, or the account may not do this",
    BAD_SIDE: "side must be 0 (bid) or 1 (ask)",
    BAD_TIME_IN_FORCE: "time in force must be GTC, IOC, FOK, GTD or TO_LIMIT",
    BAD_FLAGS: "flags contradict each other or the time in force",
    BAD_PRICE: "price is outside the instrument's ladder",
    BAD_LOTS: "quantity is outside 1..order_max",
    BAD_AMOUNT: "amount is outside the allowed range",
    BAD_ORDER_ID: "order id must be positive",
    DUPLICATE_ORDER_ID: "an order with this id is live",
    UNKNOWN_ORDER: "no live order has this id",
    NOT_OWNER: "the order belongs to another account",
    HALTED: "the instrument is halted",
    IN_LIQUIDATION: "the account is being liquidated",
    NO_MARK: "the instrument has no mark price yet",
    REDUCE_ONLY_INCREASES: "a reduce-only order needs an opposite position",
    POST_ONLY_WOULD_TAKE: "a post-only order would have traded at once",
    FOK_UNFILLABLE: "not enough quantity within the limit to fill in full",
    POSITION_LIMIT: "position with open orders would pass the limit",
    OPEN_INTEREST_CAP: "open interest with open orders would pass the cap",
    LEVERAGE_TIER: "exposure would pass what this leverage allows",
    INSUFFICIENT_MARGIN: "equity would be below initial margin",
    INSUFFICIENT_BALANCE: "available balance is too small",
    BAD_LEVERAGE: "leverage is outside the instrument's range",
    POSITION_OPEN: "not allowed while a position or order is open",
    NOT_ISOLATED: "the position is not isolated",
    ORDERS_FULL: "the order pool is full",
    POSITIONS_FULL: "the position pool is full",
    EXTERNALS_FULL: "the pool of external levels is full",
    OUT_OF_ORDER: "event time is before the clock",
    BAD_CONSTITUENT: "no such index constituent",
    BAD_DISPLAY: "what an iceberg shows must be 1..quantity, its least no more than that, where it may rest and hide",
    BAD_PEG: "a peg needs an order that rests (GTC, GTD), no trigger, a distance within the ladder, and a venue for it",
    BAD_TIERS: "the instrument has no tier table of this number",
    NOT_OFFERED: "nothing of the unit is on offer, or not at a price that the fund could pay for",
    BAD_TERMS: "the terms contradict the order or each other",
    BAD_EXPIRY: "good till date needs an expiry in the future, and nothing else has one",
    BAD_TRIGGER: "no such trigger, or neither a price nor a trailing distance within the ladder",
    WOULD_TRIGGER: "the trigger is already reached",
    NO_TRIGGER_PRICE: "the trigger's source has no price yet",
    BAD_LINK: "the linked order is not a live order of this account and instrument without a partner",
    BAD_MIN_LOTS: "minimum quantity is outside 1..quantity",
    MIN_LOTS_UNFILLABLE: "less than the minimum quantity would fill at once",
    BAD_GROUP: "a group is a whole number from 0 (none) to 2**31 - 1",
    BAD_SELF_TRADE: "no such mode of self-trade prevention",
    BAD_STATE: "no such market state, or not one that can be set",
    CANCEL_ONLY: "the instrument takes only cancels",
    POST_ONLY_STATE: "the instrument takes only post-only orders",
    REDUCE_ONLY_STATE: "the instrument takes only reduce-only orders",
    NOT_IN_AUCTION: "an auction takes no orders that must trade at once or must not",
    IN_AUCTION: "the instrument is in an auction, which only its end ends",
    NO_AUCTION: "the instrument is in no auction",
    PRICE_COLLAR: "the limit is further from the mark than the price collar allows",
    FAT_FINGER: "the limit is further through the opposite best than allowed",
    NOTIONAL_TOO_SMALL: "the order is worth less than the least notional",
    NOTIONAL_TOO_LARGE: "the order is worth more than the greatest notional",
    LOTS_TOO_SMALL: "quantity is below the least of an order",
    BAD_PRICE_STEP: "price is not a multiple of the price step",
    BAD_LOT_STEP: "quantity is not a multiple of the lot step",
    TOO_MANY_ORDERS: "the account has as many open orders in the instrument as it may",
    THROTTLED: "too many commands: a throttle lets this one through after the time in money (ns)",
    BANNED: "banned for too many throttled commands, for the time in money (ns)",
    GATEWAY_FULL: "the gateway's queue is full, for the time in money (ns)",
    ENGINE_PAUSED: "the engine is paused, for the time in money (ns)",
    SETTLED: "the instrument is settled, or waits for its settlement price",
    NOT_LISTED: "the instrument is not listed yet",
    NOT_SPOT: "the instrument is a contract: there is nothing of it to bring or to take away",
    NOT_CONTRACT: "a spot instrument has no leverage, margin mode, funding or opened positions",
    NO_PORTFOLIO: "the venue has no portfolio margin",
    INSUFFICIENT_HOLDING: "more than the account holds and does not offer already",
    BAD_LIMIT: "no throttle has this index",
    GROUP_UNCOUNTED: "a throttle of groups counts those below the number of accounts, and this is not",
}


def _between(first: str, last: str) -> dict[int, str]:
    """Names by value of a block of constants above."""
    names = list(globals())
    return {globals()[name]: name for name in names[names.index(first) : names.index(last) + 1]}


EVENT_NAME = _between("NEW", "FUNDING_TICK")
OUTCOME_NAME = _between("RESULT", "SOCIALISED")
RESULT_NAME = _between("OK", "NOT_LISTED")
STATE_NAME = _between("STATE_CONTINUOUS", "STATE_UNLISTED")  # the code of a STATE_CHANGE outcome
