"""Another order among equals: the venue breaks ties by account id, so a permutation of ids permutes them."""

import numpy as np

from exchange import codes
from replay.synthetic import streams


def permuted(events: np.ndarray, accounts: range, seed: int, number: int) -> np.ndarray:
    """Seeding events with the ids of `accounts` exchanged among each other; permutation 0 leaves them as they are.

    Nobody's money or position changes, only what decides between accounts that are equal in all else.
    """
    if number == 0:
        return events
    ids = np.arange(max(int(events["account"].max(initial=0)), accounts.stop - 1) + 1)
    ids[accounts.start : accounts.stop] = streams.stream(seed, streams.TIES, number).permutation(np.array(accounts))
    changed = events.copy()
    changed["account"] = ids[events["account"]]
    pairs = events["kind"] == codes.OPEN_POSITION  # its order id is the other account
    changed["order_id"][pairs] = ids[events["order_id"][pairs]]
    return changed
