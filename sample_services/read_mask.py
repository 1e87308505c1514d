"""Read masks (AIP-157): which fields of a message to return.

Other than protobuf's own FieldMask.MergeMessage, a path may go through a repeated message
("items.product_id"), as a gateway that looks ahead into a query asks.
"""

from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.field_mask_pb2 import FieldMask

from sample_services.refusal import invalid

__all__ = ["MaskTree", "parse_mask", "prune"]

_MAX_PATHS = 100

# Field name -> the part of it to keep; an empty part keeps all of it.
MaskTree = dict[str, "MaskTree"]


def parse_mask(mask: FieldMask, descriptor: Descriptor) -> MaskTree:
    """The mask as a tree. Raises Refused (INVALID_ARGUMENT) for a path that leads nowhere."""
    if len(mask.paths) > _MAX_PATHS:
        raise invalid("read_mask", f"must be at most {_MAX_PATHS} paths")
    tree: MaskTree = {}
    # Short ones first: a path below one that keeps all of a field adds nothing.
    for path in sorted(mask.paths, key=len):
        _check(path, descriptor)
        _add(tree, path.split("."))
    return tree


def prune(message: Any, tree: MaskTree) -> None:
    """Clear what the tree does not keep."""
    for field, value in message.ListFields():
        part = tree.get(field.name)
        if part is None:
            message.ClearField(field.name)
        elif part:
            for inner in value if field.is_repeated else (value,):
                prune(inner, part)


def _check(path: str, descriptor: Descriptor) -> None:
    inside: Descriptor | None = descriptor
    for name in path.split("."):
        if inside is None or name not in inside.fields_by_name:
            raise invalid("read_mask", f"{descriptor.name} has no field {path!r}")
        inside = inside.fields_by_name[name].message_type
        if inside is not None and inside.GetOptions().map_entry:
            inside = None


def _add(tree: MaskTree, names: list[str]) -> None:
    for position, name in enumerate(names):
        if tree.get(name) == {}:
            return  # kept whole already
        if position == len(names) - 1:
            tree[name] = {}
        else:
            tree = tree.setdefault(name, {})
