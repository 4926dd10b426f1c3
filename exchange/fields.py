"""What the fields of a configuration accept, read from their types: for overrides without quotes, and for messages."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import inspect


def takes_text(root: Any, steps: Sequence[str]) -> bool:
    """Whether the field at a path below a Struct type can hold text."""
    return any(isinstance(one, inspect.StrType) for one in _types_at(inspect.type_info(root), steps))


def explained(error: msgspec.ValidationError, root: Any) -> tuple[str, str]:
    """Place of a failed conversion to `root`, from `$` on, and its message with what the field accepts."""
    message, _, where = str(error).partition(" - at `")
    where = where.rstrip("`") or "$"
    steps = [step for step in re.split(r"[.\[\]]+", where) if step][1:]
    hints = list(filter(None, (_hint(one, message) for one in _types_at(inspect.type_info(root), steps))))
    return where, "; ".join([message, *hints])


def _types_at(info: inspect.Type, steps: Sequence[str]) -> list[inspect.Type]:
    """All types that a path can lead to: a field of a Struct, any key of a table, any row of a list."""
    if isinstance(info, inspect.UnionType):
        return [found for one in info.types for found in _types_at(one, steps)]
    if not steps:
        return [info]
    if isinstance(info, inspect.StructType):
        return [found for field in info.fields if field.name == steps[0] for found in _types_at(field.type, steps[1:])]
    if isinstance(info, inspect.DictType):
        return _types_at(info.value_type, steps[1:])
    if isinstance(info, inspect.ListType | inspect.VarTupleType):
        return _types_at(info.item_type, steps[1:])
    return []


def _hint(info: inspect.Type, message: str) -> str:
    """What to write, where the message alone does not say it."""
    if isinstance(info, inspect.LiteralType):
        return f"expected one of {_choices(info)}"
    if isinstance(info, inspect.ListType | inspect.VarTupleType) and "`array" in message:
        item = info.item_type
        if isinstance(item, inspect.LiteralType):
            return f'write a list, as in ["{item.values[0]}"], of {_choices(item)}'
        example = '"A", "B"' if isinstance(item, inspect.StrType) else "…"
        return f"write a list, as in [{example}]"
    if isinstance(info, inspect.StrType) and "`str" in message:
        return 'write it as text in quotes, as in "20"'
    if isinstance(info, inspect.BoolType) and "`bool" in message:
        return "write true or false"
    return ""


def _choices(info: inspect.LiteralType) -> str:
    return ", ".join(str(value) for value in info.values)
