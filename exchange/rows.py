"""Rows of numpy records handed on whole, byte by byte."""

from collections.abc import Sequence

import numpy as np


def copied(records: np.ndarray) -> np.ndarray:
    """A contiguous copy of one-dimensional records, byte by byte: numpy copies field by field, twenty times as slow."""
    twin = np.empty(len(records), records.dtype)
    twin.view(np.uint8)[:] = np.ascontiguousarray(records).view(np.uint8)
    return twin


def joined(parts: Sequence[np.ndarray], layout: np.dtype) -> np.ndarray:
    """Contiguous records of one layout end to end, joined byte by byte; a lone part is returned as it is."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([np.zeros(0, np.uint8), *(part.view(np.uint8) for part in parts)]).view(layout)
