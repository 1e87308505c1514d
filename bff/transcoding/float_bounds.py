"""Where the codec takes fewer floats than ProtoJSON does: texts that round to the largest one."""

from typing import Any

from bff.core.schema import Field, MessageType

__all__ = ["clamp_floats"]

# The largest float, and what other printers write for it: refused by the codec, rounded by us.
_LARGEST_FLOAT = 3.4028234663852886e38
_ROUNDS_TO_LARGEST = 3.40282356779733e38


def clamp_floats(tree: Any, message: MessageType) -> Any:
    """The tree with values that round to the largest float, in float fields, set to it."""
    if type(tree) is not dict:
        return tree
    clamped = dict(tree)
    for key, value in tree.items():
        field = message.by_name.get(key)
        if field is None:
            continue
        if type(value) is list:
            clamped[key] = [_clamp(element, field) for element in value]
        elif type(value) is dict and field.map_key is not None:
            clamped[key] = {name: _clamp(element, field) for name, element in value.items()}
        else:
            clamped[key] = _clamp(value, field)
    return clamped


def _clamp(value: Any, field: Field) -> Any:
    if field.message is not None and field.message.full_name != "google.protobuf.FloatValue":
        return clamp_floats(value, field.message)
    if field.kind != "float" and field.message is None:
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        return value
    if _LARGEST_FLOAT < abs(number) < _ROUNDS_TO_LARGEST:
        return _LARGEST_FLOAT if number > 0 else -_LARGEST_FLOAT
    return value
