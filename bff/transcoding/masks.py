"""Update masks of PATCH routes, taken from the body where the client sends none (AIP-134)."""

from collections.abc import Callable

import msgspec

from bff.core.exchange import Json
from bff.core.schema import Field, MessageType
from bff.transcoding.exact_json import Resolve
from bff.transcoding.json_rewrite import BodyRewrite, is_lenient
from bff.transcoding.scalars import delimited, tag
from bff.transcoding.setters import CLOSED_MESSAGES, Part
from bff.transcoding.switches import STRICT, Switches

__all__ = ["MaskInference", "compile_mask_inference", "find_mask_field"]

_FIELD_MASK = "google.protobuf.FieldMask"


class MaskInference:
    """Infers the mask of one route. `path` is where the mask field stands in the request, `name` what it is called.

    `rewrite` makes of a body what the codec reads of it, on routes that take more than the rules.
    """

    def __init__(
        self,
        *,
        mask: Field,
        message: MessageType,
        bound: frozenset[str],
        rewrite: Callable[[bytes], bytes] | None,
    ) -> None:
        self.path = (mask.number,)
        self.name = mask.name
        self._head = tag(mask.number, 2)
        self._message = message
        self._bound = bound
        self._rewrite = rewrite

    def infer(self, body: bytes) -> list[Part]:
        """The mask field for a body that the codec has accepted; nothing for an empty object."""
        if self._rewrite is not None:
            body = self._rewrite(body)
        found: set[str] = set()
        self._collect(msgspec.json.decode(body), self._message, "", found)
        return self.of_paths(found)

    def of_paths(self, found: set[str]) -> list[Part]:
        """The mask field that names these fields, dotted, counted from the body's message."""
        paths = sorted(found - self._bound)
        if not paths:
            return []
        octets = b"".join(b"\x0a" + delimited(path.encode()) for path in paths)
        return [(self.path, self._head + delimited(octets))]

    def _collect(self, tree: Json, message: MessageType, prefix: str, found: set[str]) -> None:
        for key, value in tree.items():
            field = message.by_name.get(key)
            if field is None:
                continue
            path = prefix + field.name
            inner = field.message
            stops = (
                inner is None
                or field.repeated
                or field.is_map
                or inner.full_name in CLOSED_MESSAGES
            )
            # An empty object names the field itself, null clears it.
            if stops or inner is None or not isinstance(value, dict) or not value:
                found.add(path)
            else:
                self._collect(value, inner, f"{path}.", found)


def compile_mask_inference(
    message: MessageType,
    body: str,
    bound: frozenset[str],
    *,
    resolve: Resolve,
    switches: Switches = STRICT,
) -> MaskInference | None:
    """Inference for a PATCH route, or None where it has no place.

    The body must be one message field, and the request have exactly one top-level FieldMask.
    `bound` holds the path's fields, dotted, counted from the body's message: they stay out of masks.
    """
    mask = find_mask_field(message, body)
    field = message.by_name.get(body)
    if mask is None or field is None or field.message is None:
        return None
    rewrite = BodyRewrite(field.message, resolve, switches) if is_lenient(switches) else None
    return MaskInference(mask=mask, message=field.message, bound=bound, rewrite=rewrite)


def find_mask_field(message: MessageType, body: str) -> Field | None:
    """The one top-level FieldMask of the request, where the body is one message field beside it."""
    field = message.by_name.get(body)
    if field is None or field.message is None or field.repeated or field.is_map:
        return None
    masks = [
        each
        for each in message.fields
        if each.message is not None and each.message.full_name == _FIELD_MASK and not each.repeated
    ]
    if len(masks) != 1 or masks[0] is field or field.message.full_name in CLOSED_MESSAGES:
        return None
    return masks[0]
