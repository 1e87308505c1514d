"""Field masks with a wildcard below their first step (`a.*`, AIP-161), which the codec reads and refuses to print.

ProtoJSON wants a path that reads back as it was, and these do: a `*` has no case.
"""

from collections.abc import Callable
from typing import Any, Final

from protobuf import Message, Registry

from bff.transcoding.any_messages import inner_messages

__all__ = ["show_wild_masks"]

# Stands for each wildcard while the codec prints: a step that it takes, and writes as it is.
_WORD: Final = "wildcardofafieldmask"


def show_wild_masks(
    message: Message, registry: Registry, show: Callable[[Message], bytes]
) -> bytes | None:
    """What `show` makes of a message that it has refused; None where no wildcard is why.

    Raises what `show` raises where a mask is at fault in another way too. The message is changed.
    """
    count = _hide(message, registry)
    if not count:
        return None
    text, word = show(message), _WORD.encode()
    # One that says the word itself is refused: which is which is not known any more.
    return text.replace(word, b"*") if text.count(word) == count else None


def _hide(message: Any, registry: Registry) -> int:
    """Put the word in place of each wildcard, also in messages inside an Any; how many there were."""
    name = message.desc().type_name
    if name == "google.protobuf.FieldMask":
        return _hide_in_paths(message)
    if name == "google.protobuf.Any":
        return _hide_in_any(message, registry)
    return sum(_hide(each, registry) for each in inner_messages(message))


def _hide_in_paths(mask: Any) -> int:
    count = 0
    for at, path in enumerate(mask.paths):
        steps = path.split(".")
        count += steps.count("*")
        mask.paths[at] = ".".join([_WORD if step == "*" else step for step in steps])
    return count


def _hide_in_any(message: Any, registry: Registry) -> int:
    found = registry.message(message.type_url.rpartition("/")[2])
    if found is None:
        return 0
    inner = found.type.from_binary(message.value, ignore_unknown_fields=True)
    count = _hide(inner, registry)
    if count:
        message.value = inner.to_binary()
    return count
