"""How compiled functions receive the state: as one address.

numba passes a tuple of arrays as seven numbers an array, several hundred for the whole state, copied at every call and
optimised at every compilation. Here the state is typed by its layout and passed as the address of a table that holds
each array's address and length; what reads `state.book.orders` loads the two. The table never changes while code runs,
and the loads say so, so they cost no more than arguments.
"""

import hashlib
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import impl_ret_borrowed, lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import NativeValue, models, register_model, typeof_impl, unbox
from numba.np.arrayobj import make_array, populate_array

ROW_BYTES = 16  # an array's address and its length


class GroupType(types.Type):
    """A group of arrays: the address of its rows in the table."""

    def __init__(self, names: tuple[str, ...], arrays: tuple[types.Array, ...]):
        self.members = dict(zip(names, arrays, strict=True))
        text = ",".join(f"{name}:{array}" for name, array in self.members.items())
        super().__init__(f"Group({hashlib.blake2b(text.encode(), digest_size=12).hexdigest()})")


class StateType(types.Type):
    """The whole state: the address of its table."""

    def __init__(self, names: tuple[str, ...], groups: tuple[GroupType, ...]):
        self.members = dict(zip(names, groups, strict=True))
        super().__init__("State(" + ",".join(f"{name}:{group}" for name, group in self.members.items()) + ")")


register_model(GroupType)(models.OpaqueModel)
register_model(StateType)(models.OpaqueModel)


def table_of(groups: tuple) -> np.ndarray:
    """uint64[2 * arrays]: address and length of each array, group by group."""
    return np.array([(a.ctypes.data, len(a)) for group in groups for a in group], np.uint64).ravel()


def type_of(state: Any) -> StateType:
    """The numba type of a state, by the layout of its arrays."""
    groups = tuple(GroupType(group._fields, tuple(map(numba.typeof, group))) for group in state)
    return StateType(state._fields, groups)


def register(state_class: type) -> None:
    """Let numba pass objects of this class, whose `numba_type` and `address` say what and where it is, by address."""

    @typeof_impl.register(state_class)
    def _typeof(value, context):
        return value.numba_type


@infer_getattr
class _StateAttributes(AttributeTemplate):
    key = StateType

    def generic_resolve(self, kind, name):
        return kind.members.get(name)


@infer_getattr
class _GroupAttributes(AttributeTemplate):
    key = GroupType

    def generic_resolve(self, kind, name):
        return kind.members.get(name)


def _offset(builder, pointer, rows):
    return builder.gep(pointer, [ir.Constant(ir.IntType(64), rows * ROW_BYTES)])


@lower_getattr_generic(StateType)
def _get_group(context, builder, kind, value, name):
    rows = 0
    for member, group in kind.members.items():
        if member == name:
            break
        rows += len(group.members)
    return _offset(builder, value, rows)


@lower_getattr_generic(GroupType)
def _get_array(context, builder, kind, value, name):
    array_type, i64 = kind.members[name], ir.IntType(64)
    array = make_array(array_type)(context, builder)
    row = _offset(builder, value, list(kind.members).index(name))
    data = builder.load(builder.bitcast(row, array.data.type.as_pointer()))
    length = builder.load(builder.bitcast(builder.gep(row, [i64(ROW_BYTES // 2)]), i64.as_pointer()))
    fixed = builder.module.add_metadata([])
    for load in (data, length):
        load.set_metadata("invariant.load", fixed)
    itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(array_type.dtype)))
    populate_array(array, data=data, shape=[length], strides=[itemsize], itemsize=itemsize, meminfo=None)
    return impl_ret_borrowed(context, builder, array_type, array._getvalue())


@unbox(StateType)
def _unbox_state(kind, value, c):
    place = cgutils.alloca_once_value(c.builder, c.context.get_constant_null(kind))
    address = c.pyapi.object_getattr_string(value, "address")
    with c.builder.if_then(cgutils.is_not_null(c.builder, address)):
        c.builder.store(c.pyapi.long_as_voidptr(address), place)
        c.pyapi.decref(address)
    return NativeValue(c.builder.load(place), is_error=c.pyapi.c_api_error())
