"""When an instrument is listed, when it expires, and how it is settled. DESIGN §3.13.

Part of the venue's configuration (`exchange/config.py`), compiled to the kernels' records here.
"""

from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np

from exchange import codes
from exchange.errors import ConfigError

if TYPE_CHECKING:
    from exchange.config import Compiled, Venue

LIFE = np.dtype(  # one an instrument: its terms from the config, then its state
    [
        ("listed_ns", "i8"),  # 0 = from the beginning
        ("expiry_ns", "i8"),  # 0 = never
        ("step_ns", "i8"),  # between two samples of the index; the last is taken at the expiry
        ("samples", "i8"),
        ("fee_ppm", "i8"),
        ("due", "i8"),  # samples whose time has come
        ("count", "i8"),  # those of them at which there was an index
        ("sum_sub", "i8"),
        ("price_sub", "i8"),  # the settlement price
        ("priced", "i8"),  # 1 once that is known
        ("timer", "i8"),
    ],
    align=True,
)

Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=4 * 10**18)]


class Life(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A dated instrument; all times on the replay clock, 0 = none.

    At `expiry_ns` it is settled at the average of `samples` readings of its index, the last at the expiry, one every
    `window_ns / samples`. `fee_ppm` is the settlement fee, of the value at that price.
    """

    listed_ns: Nanoseconds = 0
    expiry_ns: Nanoseconds = 0
    window_ns: Annotated[int, msgspec.Meta(ge=0, le=10**17)] = 0
    samples: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 1
    fee_ppm: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0


def compile_lives(venue: "Venue") -> np.ndarray:
    """One record an instrument."""
    records = np.zeros(len(venue.instruments), LIFE)
    for k, instrument in enumerate(venue.instruments):
        life, row, where = instrument.life, records[k], f"$.venue.instruments[{k}].life"
        if life.window_ns % life.samples:
            raise ConfigError(f"{where}.window_ns", f"{life.window_ns} is not a multiple of samples = {life.samples}")
        step_ns = life.window_ns // life.samples
        if life.samples > 1 and step_ns == 0:
            raise ConfigError(f"{where}.window_ns", f"{life.samples} samples need a window to be taken in")
        if life.expiry_ns == 0 and life.window_ns:
            raise ConfigError(f"{where}.expiry_ns", "a settlement window needs an expiry that it ends at")
        if life.expiry_ns and life.expiry_ns - (life.samples - 1) * step_ns <= life.listed_ns:
            raise ConfigError(f"{where}.expiry_ns", "the first sample must come after the listing and after 0")
        for name in ("listed_ns", "expiry_ns", "samples", "fee_ppm"):
            row[name] = getattr(life, name)
        row["step_ns"] = step_ns
    return records


def first_ticks(compiled: "Compiled") -> list[tuple[int, int]]:
    """(due, instrument) of every instrument's first LIFE_TICK: its listing, or its first sample."""
    ticks = []
    for k, life in enumerate(compiled.lives):
        first_sample = int(life["expiry_ns"]) - (int(life["samples"]) - 1) * int(life["step_ns"])
        if due_ns := int(life["listed_ns"]) or first_sample:
            ticks.append((due_ns, k))
    return sorted(ticks)


def begin_lives(prices_lives: np.ndarray, io: "object", compiled: "Compiled") -> None:
    """Set the first timers: sorted, they are a heap."""
    timers, control = io.timers, io.control[0]  # type: ignore[attr-defined]
    for at, (due_ns, k) in enumerate(first_ticks(compiled), 1):
        timer = timers[at]
        timer["ts_ns"], timer["seq"], timer["priority"] = due_ns, at, codes.PRIORITY_LIFE
        timer["order"], timer["unit"], timer["kind"] = k, k, codes.LIFE_TICK
        prices_lives[k]["timer"] = 1
        control["timer_count"] = control["timer_seq"] = at
