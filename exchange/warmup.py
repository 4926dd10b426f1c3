"""Compile every kernel once, into the cache."""

from collections.abc import Callable

import numpy as np

from exchange import config, schema, state
from exchange.core import index, loop, maps, stress, views
from exchange.core.kernel import cache_folder

SMALL = {
    "name": "warmup",
    "assets": [{"name": "USDT", "quantum": "0.01"}],
    "capacity": {"accounts": 1, "positions": 1, "orders": 1, "external_levels": 1, "outcomes": 8192},
    "instruments": [
        {
            "symbol": "X",
            "settle": "USDT",
            "tick": "1",
            "lot": "1",
            "price_max": "100",
            "order_max": "1",
            "position_max": "1",
            "open_interest_max": "1",
            "tiers": [{"floor": "0", "maintenance_ppm": 1, "leverage_max": 1}],
        }
    ],
}


def warm_up(progress: Callable[[str], None] = lambda text: None) -> str:
    """Compile whatever the cache lacks; returns the cache folder. A warm cache takes about a second."""
    progress("compiling kernels (once)…")
    held, events = state.allocate(config.build_venue(SMALL)), np.zeros(1, schema.EVENT)
    loop.run(held, events[:0], events[:0].view(schema.TERMS), 0, 0, 0)
    views.unit_health(held, 0)
    views.unit_equity(held, 0)
    views.position_need(held, 0)
    views.order_need(held, 0, 0, 0, 1, 1)
    views.fresh_risks(held)
    views.grid_needs(held, 0)
    views.wallet_losses(held, np.zeros(0, np.int64), np.zeros(0, np.int64))
    views.sum_levels(held, 0, 0, 1)
    views.walked_price(held, 0, 0, 1)
    views.copy_levels(held, 0, 0, np.zeros(1, schema.BOOK_LEVEL))
    views.copy_orders(held, 0, 0, np.zeros(1, schema.BOOK_ORDER))
    views.ahead_of(held, 1)
    none = np.zeros(0, np.int64)
    maps.marks_below(held, none, np.int64(0), none, none)
    maps.margins_at(held, 1, none, none, none)
    stress.numbers_at(held, none, np.zeros(1, np.int64), none, none)
    stress.position_numbers(held, 1)
    stress.mark_now(held, 0)
    stress.trade_at_mark(held, 1, np.int64(0))
    stress.pay_in(held, 1, np.int64(0))
    stress.free_balance(held, 0)
    index.counted_sources(held, 0, np.zeros(1, np.int64))
    return str(cache_folder())
