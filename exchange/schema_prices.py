"""Record layouts of what makes index, mark and funding: the profile's rules, and each market's state of them.

Suffixes as in `schema.py`; `_micro` is a millionth of a quantum, `_usub` of a sub-tick.
"""

import numpy as np

from exchange import codes

COMPONENTS_MAX = len(codes.COMPONENTS)

PRICING = np.dtype(  # one record: what the profile decides
    [
        ("index_stale_rule", "i8"),
        ("index_outliers_max", "i8"),  # more of them, and the index is the median
        ("index_half_away", "i8"),  # rounding of an even median's half
        ("index_signed", "i8"),  # sources may be zero or negative
        ("mark_plain", "i8"),  # the default list: its own, shorter path
        ("components", "i8"),
        ("component", "i8", (COMPONENTS_MAX,)),  # in the profile's order
        ("component_ppm", "i8", (COMPONENTS_MAX,)),
        ("component_stale_ns", "i8", (COMPONENTS_MAX,)),  # 0 = never
        ("mark_mask", "i8"),  # bit k: component k is used
        ("combiner", "i8"),
        ("missing_drops", "i8"),  # else the component before it stands in
        ("clamp_ppm", "i8"),
        ("ema_keep_ppb", "i8"),
        ("trades_max", "i8"),  # places of the ring of trades
        ("trades", "i8"),  # what of trades is noted: TRADES_*
        ("window_ns", "i8"),
        ("decay_ppm", "i8"),
        ("decay_power", "i8"),
        ("funding_computed", "i8"),
        ("sample_ns", "i8"),
        ("expected", "i8"),  # samples of an interval
        ("premium_impact", "i8"),
        ("average", "i8"),
        ("tail_ppm", "i8"),
        ("missing_zero", "i8"),
        ("premium_cap_ppb", "i8"),
        ("factor_ppm", "i8"),
        ("interest_ppb", "i8"),
        ("interest_added", "i8"),
        ("band_ppb", "i8"),
        ("step_ppb", "i8"),
        ("share", "i8"),  # an interval is share / shares of the time that a computed rate is stated for
        ("shares", "i8"),
        ("pays_index", "i8"),  # notional at the index, not the mark
        ("pays_per_lot", "i8"),  # by a rounded payment a lot, not by the value of the position
        ("funding_priority", "i8"),
    ],
    align=True,
)

PRICE_STATE = np.dtype(  # one a market: its own terms, then its state
    [
        ("mark_money", "i8"),  # notional whose average prices make `impact_mid`
        ("funding_money", "i8"),  # and the premium
        ("cap_ppb", "i8"),  # of a rate; -1 = none
        ("step_micro", "i8"),  # a payment a lot is a whole number of these
        ("index_ns", "i8"),  # when the index came last
        ("mark_ns", "i8"),
        ("last_ns", "i8"),
        ("ema_usub", "i8"),
        ("ema_set", "i8"),
        ("trade_count", "i8"),
        ("trade_next", "i8"),
        ("premium_ppb", "i8"),  # the last sample
        ("premium_count", "i8"),
        ("premium_sum", "i8"),
        ("premium_weighted", "i8"),  # sum of the k-th sample times k
        ("rate_ppb", "i8"),  # of the stated time, predicted or settled last
        ("timer", "i8"),
    ],
    align=True,
)

TRADE = np.dtype([("ts_ns", "i8"), ("ticks", "i4"), ("lots", "i4")], align=True)
