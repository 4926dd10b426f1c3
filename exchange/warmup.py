"""Compile every kernel once, into the cache."""

from collections.abc import Callable

import numpy as np

from exchange import config, schema, state
from exchange.core import loop, views
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
    views.sum_levels(held, 0, 0, 1)
    views.walked_price(held, 0, 0, 1)
    views.copy_levels(held, 0, 0, np.zeros(1, schema.BOOK_LEVEL))
    views.copy_orders(held, 0, 0, np.zeros(1, schema.BOOK_ORDER))
    views.ahead_of(held, 1)
    return str(cache_folder())
