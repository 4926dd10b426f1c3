"""Compile every kernel once, into the cache. Two processes share the work: what fires from timers, and the rest."""

import subprocess
import sys
from collections.abc import Callable

import numba
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


def compile_timers() -> None:
    """The half that a second process compiles: everything a timer sets off."""
    held = state.allocate(config.build_venue(SMALL))
    loop.fire_timer.compile((numba.typeof(held),))


def compile_rest(wait: Callable[[], None]) -> None:
    """The other half, then `wait` for the first, then the loop that holds both."""
    held, events = state.allocate(config.build_venue(SMALL)), np.zeros(1, schema.EVENT)
    whole, event, whole_number = numba.typeof(held), numba.typeof(events).dtype, numba.int64
    loop.apply_rare.compile((whole, event, whole_number))
    loop.amend_order.compile((whole, event))
    loop.trade_print.compile((whole, event))
    wait()
    loop.run(held, events[:0], events[:0].view(schema.TERMS), 0, 0, 0)
    views.unit_health(held.ledger, held.prices, 0)
    views.unit_equity(held.ledger, held.prices, 0)
    views.sum_levels(held.book, 0, 0, 1)
    views.walked_price(held.book, 0, 0, 1)


def warm_up(progress: Callable[[str], None] = lambda text: None) -> str:
    """Compile whatever the cache lacks; returns the cache folder. A warm cache takes about a second."""
    progress("compiling kernels (once)…")
    other = subprocess.Popen([sys.executable, "-c", "from exchange.warmup import compile_timers; compile_timers()"])

    def wait() -> None:
        if other.wait() != 0:
            raise RuntimeError("the second compiling process failed; its message is above")

    try:
        compile_rest(wait)
    finally:
        if other.poll() is None:
            other.kill()
    return str(cache_folder())
