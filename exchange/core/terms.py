"""Terms of an order beyond price and quantity: they come in a TERMS row before their command. DESIGN §3.1."""

import numpy as np

from exchange.core.kernel import kernel, leaf


@leaf
def held_for(io, event):
    """Is a TERMS row held that belongs to this command?"""
    held = io.held[0]
    return held["kind"] != 0 and held["account"] == event["account"] and held["order_id"] == event["order_id"]


@kernel
def hold_terms(io, terms):
    """TERMS: keep the row for the next command. Mutates `held`; a row held before is lost."""
    io.held[0] = terms


@kernel
def drop_terms(io):
    """The command after a TERMS row is done. Mutates `held`."""
    io.held[0]["kind"] = np.int16(0)
