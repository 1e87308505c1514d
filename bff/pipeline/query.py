"""Query octets as text, for those who read them by name without a message type."""

from urllib.parse import unquote_to_bytes

from bff.core.exchange import Json

__all__ = ["query_text", "query_tree"]


def query_text(raw: bytes) -> str:
    """One name or value, decoded. The door has judged escapes and UTF-8."""
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")


def query_tree(query: bytes) -> dict[str, Json]:
    """Every pair by name: its text, or all its texts in order where a name is given more than once."""
    tree: dict[str, Json] = {}
    for pair in query.split(b"&"):
        if not pair:
            continue
        key, _, value = pair.partition(b"=")
        name, text = query_text(key), query_text(value)
        if name not in tree:
            tree[name] = text
        elif isinstance(tree[name], list):
            tree[name].append(text)
        else:
            # A list and not one of the two: which one the service takes is not known here.
            tree[name] = [tree[name], text]
    return tree
