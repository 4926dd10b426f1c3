"""Records of the venue as polars frames: one column a field, in the records' own whole numbers."""

import numpy as np
import polars


def frame(records: np.ndarray) -> polars.DataFrame:
    """A frame of records of one dimension, such as `Exchange.outcomes`, `book_levels`, `book_orders`, `book_changes`.

    A field that is itself an array becomes a column of arrays. The records are copied.
    """
    names = records.dtype.names or ()
    return polars.DataFrame({name: np.ascontiguousarray(records[name]) for name in names})
