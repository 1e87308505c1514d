"""What a rule could name instead of a field that does not fit: the words behind a problem."""

from typing import Final

from bff.core.schema import Field, MessageType
from bff.transcoding.setters import JSON_MESSAGES, is_leaf, leads_on

__all__ = ["IN_BODY", "beside_body", "listed", "other_way"]

IN_BODY: Final = "leave it to the body"
_WHOLE: Final = 'write body: "*", which is every field that the path leaves'
_MAX_LISTED: Final = 8


def other_way(field: Field, name: str) -> str:
    """How a request can set a field that no path variable does; empty for a single value, which one can."""
    if field.is_map:
        text = f"?{name}[key]=value"
    elif field.repeated:
        text = f"?{name}=a&{name}=b"
    elif field.message is None:
        return ""
    elif leads_on(field):
        within = _one_value_in(field)
        return f"bind a field of it, such as {{{name}.{within}}}" if within else IN_BODY
    else:
        text = f"?{name}=<JSON>"
    return f"leave it to the query ({text}) or the body" if is_leaf(field) else IN_BODY


def beside_body(body: Field) -> str:
    """What to write where a variable is the whole field that the body is."""
    if body.repeated or body.is_map or not leads_on(body):
        return _WHOLE
    within = _one_value_in(body)
    if not within:
        return _WHOLE
    return f"bind a field of it, such as {{{body.name}.{within}}}, or {_WHOLE}"


def listed(message: MessageType) -> str:
    """The fields that there are, as many as a line takes."""
    names = [field.name for field in message.fields]
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return f"its fields: {', '.join(names[:_MAX_LISTED])}{more}" if names else "it has no fields"


def _one_value_in(field: Field) -> str:
    """The first field within that a path variable can set, or nothing."""
    assert field.message is not None  # it leads on
    for inner in field.message.fields:
        is_json = inner.message is not None and inner.message.full_name in JSON_MESSAGES
        if is_leaf(inner) and not (inner.repeated or inner.is_map or is_json):
            return inner.name
    return ""
