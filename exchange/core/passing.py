"""How compiled functions receive the state: as one address.

numba passes a tuple of arrays as seven numbers an array, several hundred for the whole state, copied at every call and
optimised at every compilation. Here the state is typed by its layout and passed as the address of a table that holds
each array's address and length; what reads `state.book.orders` loads the two. The table never changes while code runs,
and the loads say so, so they cost no more than arguments.

Arrays of the state have a type of their own, for one difference: an index below zero does not count from the end. numba
asks that of every index it cannot prove, which was a sixth of all instructions of the order path.
"""

import hashlib
import operator
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.imputils import impl_ret_borrowed, lower_builtin, lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import NativeValue, models, register_model, typeof_impl, unbox
from numba.np.arrayobj import load_item, make_array, populate_array, store_item

ROW_BYTES = 16  # an array's address and its length


class PoolType(types.Array):
    """An array of the state, of one dimension and whole: an index is a place, counted from its start."""

    def __init__(self, array: types.Array):
        super().__init__(array.dtype, 1, "C", name=f"Pool({array})")


class GroupType(types.Type):
    """A group of arrays: the address of its rows in the table."""

    def __init__(self, names: tuple[str, ...], arrays: tuple[PoolType, ...]):
        self.members = dict(zip(names, arrays, strict=True))
        text = ",".join(f"{name}:{array}" for name, array in self.members.items())
        super().__init__(f"Group({hashlib.blake2b(text.encode(), digest_size=12).hexdigest()})")


class StateType(types.Type):
    """The whole state: the address of its table."""

    def __init__(self, names: tuple[str, ...], groups: tuple[GroupType, ...]):
        self.members = dict(zip(names, groups, strict=True))
        super().__init__("State(" + ",".join(f"{name}:{group}" for name, group in self.members.items()) + ")")


register_model(PoolType)(models.ArrayModel)
register_model(GroupType)(models.OpaqueModel)
register_model(StateType)(models.OpaqueModel)


def table_of(groups: tuple) -> np.ndarray:
    """uint64[2 * arrays]: address and length of each array, group by group."""
    return np.array([(a.ctypes.data, len(a)) for group in groups for a in group], np.uint64).ravel()


def type_of(state: Any) -> StateType:
    """The numba type of a state, by the layout of its arrays."""
    groups = tuple(GroupType(group._fields, tuple(PoolType(numba.typeof(array)) for array in group)) for group in state)
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


def _place(context, builder, kind, value, index_type, index):
    """Address of an entry; an index that is out of range, also below zero, is refused where bounds are checked."""
    array = make_array(kind)(context, builder, value)
    index = context.cast(builder, index, index_type, types.intp)
    if context.enable_boundscheck:
        cgutils.do_boundscheck(context, builder, index, builder.extract_value(array.shape, 0))
    return builder.gep(array.data, [index])


@lower_builtin(operator.getitem, PoolType, types.Integer)
def _get_entry(context, builder, signature, args):
    kind, index_type = signature.args
    place = _place(context, builder, kind, args[0], index_type, args[1])
    return impl_ret_borrowed(context, builder, signature.return_type, load_item(context, builder, kind, place))


@lower_builtin(operator.setitem, PoolType, types.Integer, types.Any)
def _set_entry(context, builder, signature, args):
    kind, index_type, value_type = signature.args
    place = _place(context, builder, kind, args[0], index_type, args[1])
    store_item(context, builder, kind, context.cast(builder, args[2], value_type, kind.dtype), place)


@unbox(StateType)
def _unbox_state(kind, value, c):
    place = cgutils.alloca_once_value(c.builder, c.context.get_constant_null(kind))
    address = c.pyapi.object_getattr_string(value, "address")
    with c.builder.if_then(cgutils.is_not_null(c.builder, address)):
        c.builder.store(c.pyapi.long_as_voidptr(address), place)
        c.pyapi.decref(address)
    return NativeValue(c.builder.load(place), is_error=c.pyapi.c_api_error())
