"""Names: from protobuf to GraphQL, by rule, so that a file that is added renames nothing it need not."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from bff.core.schema import EnumType, Field

__all__ = [
    "RESERVED_NAMES",
    "assign_names",
    "enum_names",
    "field_name",
    "input_name",
    "local_name",
    "pascal",
]

_LEGAL = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]*")
# Names that the schema has of its own.
RESERVED_NAMES = frozenset(
    {
        "Query", "Mutation", "Subscription", "Int", "Float", "String", "Boolean", "ID",
        "Int64", "UInt64", "UInt32", "Bytes", "DateTime", "Duration", "FieldMask", "JSON",
    }
)  # fmt: skip


def local_name(full_name: str, package: str) -> str:
    """The name inside the package, nesting joined by `_`: `a.v1.Order.Item` -> `Order_Item`."""
    return full_name.removeprefix(f"{package}.").replace(".", "_")


def input_name(local: str, *, is_request: bool) -> str:
    """The input twin's name; an operation's request drops `Request` first."""
    if is_request and local != "Request":
        local = local.removesuffix("Request")
    return f"{local}Input"


def pascal(text: str) -> str:
    """`sample.orders.v1` -> `SampleOrdersV1`, `gift_wrap` -> `GiftWrap`."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[._]", text))


def assign_names(wanted: Mapping[str, tuple[str, str]]) -> tuple[dict[str, str], list[str]]:
    """Final names by key, and the names that are still doubled.

    `wanted` has (package, name) by a key of the caller's. Those that clash, with each other or with
    a reserved name, all get their package in front.
    """
    counts = Counter(name for _, name in wanted.values())
    final = {
        key: pascal(package) + name if counts[name] > 1 or name in RESERVED_NAMES else name
        for key, (package, name) in wanted.items()
    }
    doubled = [name for name, count in Counter(final.values()).items() if count > 1]
    return final, doubled


def field_name(field: Field) -> str:
    """The JSON name, or lowerCamel of the proto name where that is no GraphQL name."""
    if _LEGAL.fullmatch(field.json_name):
        return field.json_name
    name = pascal(re.sub(r"[^A-Za-z0-9_]", "_", field.name))
    return name[:1].lower() + name[1:] if name[:1].isalpha() else f"f{name}"


def enum_names(enum: EnumType) -> dict[str, str]:
    """GraphQL name by proto name, without the unspecified value.

    A prefix that every value has is stripped if all that is left are legal names.
    """
    values = [value.name for value in enum.values]
    prefix = _common_prefix(values)
    stripped = {name: name[len(prefix) :] for name in values}
    if not all(_is_enum_name(name) for name in stripped.values()):
        stripped = {name: name for name in values}
    return {
        value.name: stripped[value.name]
        for value in enum.values
        if not is_unspecified(value.name, value.number)
    }


def is_unspecified(name: str, number: int) -> bool:
    """The value that means "not said": number 0 under the name that style guides give it."""
    return number == 0 and (name == "UNSPECIFIED" or name.endswith("_UNSPECIFIED"))


def _common_prefix(names: Iterable[str]) -> str:
    """The longest common start that ends in `_`."""
    first, *rest = names
    parts = first.split("_")
    for count in range(len(parts) - 1, 0, -1):
        prefix = "_".join(parts[:count]) + "_"
        if all(name.startswith(prefix) for name in rest):
            return prefix
    return ""


def _is_enum_name(name: str) -> bool:
    return _LEGAL.fullmatch(name) is not None and name not in {"true", "false", "null"}
