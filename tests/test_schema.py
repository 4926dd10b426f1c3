"""Records are made from names, and copied and joined whole."""

import numpy as np
import pytest

from exchange import codes, schema
from exchange.rows import copied, joined


def prices(*values):
    return schema.events(*({"kind": codes.INDEX, "price": value} for value in values))


def test_events_have_the_named_fields_and_zeros():
    event, = prices(7)
    assert {name: int(event[name]) for name in schema.EVENT.names if event[name]} == {"kind": codes.INDEX, "price": 7}


def test_a_field_that_does_not_exist_is_refused_by_row_and_name():
    with pytest.raises(ValueError, match="row 1: no field lots; the fields are ts_ns, "):
        schema.events({"price": 1}, {"lots": 2})


def test_a_copy_is_its_own_and_contiguous_also_of_every_other_record():
    rows = prices(*range(10))
    twin = copied(rows[::2])
    rows["price"] = -1
    assert twin["price"].tolist() == [0, 2, 4, 6, 8]
    assert twin.dtype == schema.EVENT and twin.flags.c_contiguous and twin.flags.writeable


@pytest.mark.parametrize("sizes", [(), (3,), (0, 2), (2, 0, 5)])
def test_joined_records_are_the_parts_in_order(sizes):
    parts = [prices(*range(size)) for size in sizes]
    whole = joined(parts, schema.EVENT)
    assert whole.dtype == schema.EVENT
    assert np.array_equal(whole, np.concatenate([np.zeros(0, schema.EVENT), *parts]))
