"""Who meets whom at a price: prevention of self-trades, and how a level is shared among its orders. DESIGN §3.5.

Part of the venue's configuration (`exchange/config.py`), compiled to the kernels' records here.
"""

from typing import Literal

from exchange import codes

SelfTrade = Literal["none", "cancel_newest", "cancel_oldest", "cancel_both", "decrement"]
SELF_TRADE = {
    "none": codes.STP_NONE,
    "cancel_newest": codes.STP_CANCEL_NEWEST,
    "cancel_oldest": codes.STP_CANCEL_OLDEST,
    "cancel_both": codes.STP_CANCEL_BOTH,
    "decrement": codes.STP_DECREMENT,
}
