"""What a stranger's request line reaches: the canonical path, templates and the trie, the query's binder."""

from urllib.parse import unquote_to_bytes

from bff.core.errors import ClientError
from bff.fronts.canonical import canonical_path, check_query
from bff.transcoding.binding import compile_binder
from bff.transcoding.json_codec import Codec
from bff.transcoding.path_template import TemplateError, parse_template
from bff.transcoding.route_trie import Found, RouteTrie, WrongMethod
from tests.support.proto_sets import KITCHEN, compile_set

__all__ = ["PATH_SEEDS", "QUERY_SEEDS", "TEMPLATE_SEEDS", "path", "query", "templates"]

PATH_SEEDS = (b"/v1/orders/a%2Fb:cancel", b"/a/%2e%2E/b;x=1", b"/%41%c3%a4/%25%32%66", b"/a//b/")
TEMPLATE_SEEDS = (
    b"/v1/{name=orders/*}:cancel\n/v1/{a}/{b=**}\n/v1/*\n/v1/orders/x:cancel",
    b"/a:b\n/a%3Ab\n/**\n/a:b",
    b"/v1/{a.b.c}/x/{d=*/y/**}:z\n/v1/q/x/r/y/s/t:z",
    # A variable that is a literal.
    b"/{b=a}\n/a",
)
QUERY_SEEDS = (
    b"i32=1&child.i32=2&labels[a]=b&at=2024-01-02T03:04:05Z",
    b"flag=true&octets=AAE%3D&mask=a,b&state=STATE_NEW&numbers=1&numbers=2",
    b"choiceText=a&choice_number=1&child.child.maybe=3&struct.a=1",
)

_KIND = "kitchen.v1.Kitchen"
_CODEC = Codec(compile_set(KITCHEN))
_SHAPE = _CODEC.message_type(_KIND)
assert _SHAPE is not None
_BINDER = compile_binder(codec=_CODEC, message=_SHAPE, variables=[("text",)])


def path(raw: bytes) -> None:
    """One spelling of each path, with nothing in it that climbs, and the octets that were meant."""
    try:
        text = canonical_path(raw)
    except ClientError as error:
        assert error.reason == "BAD_PATH"  # noqa: PT017 - most inputs raise
        return
    assert canonical_path(text.encode("ascii")) == text
    assert unquote_to_bytes(text) == unquote_to_bytes(raw)
    assert text.startswith("/")
    parts = unquote_to_bytes(text).replace(b";", b"/").split(b"/")
    assert b"." not in parts
    assert b".." not in parts
    assert not any(octet < 0x20 or octet in b"\\\x7f" for octet in unquote_to_bytes(text))


def query(raw: bytes) -> None:
    """It binds to a message, or is the client's fault with every fault named."""
    try:
        check_query(raw)
        wire = _BINDER.bind(("x",), raw, b"")
    except ClientError as error:
        assert error.status == 400  # noqa: PT017 - most inputs raise
        return
    message = _CODEC.message_class(_KIND).from_binary(wire)
    assert getattr(message, "text") == "x"  # noqa: B009 - the class is made at run time


def templates(raw: bytes) -> None:
    """Lines are templates, the last one is a path: the quick way through the trie finds what the full search does."""
    *lines, last = raw.decode("latin-1").split("\n")[:12]
    trie: RouteTrie[str] = RouteTrie()
    for line in lines:
        try:
            template = parse_template(line)
        except TemplateError as error:
            assert 1 <= error.column <= len(line) + 1  # noqa: PT017 - most inputs raise
            continue
        trie.insert(template, "GET", line)
    try:
        asked = canonical_path(last.encode("latin-1"))
        found = trie.find("GET", asked)
        best = next(trie.find_each("GET", asked), None)
        other = trie.find("PUT", asked)
    except ClientError as error:
        assert error.reason == "BAD_PATH"  # noqa: PT017 - most inputs raise
        return
    assert best == found
    assert other is None if found is None else isinstance(other, WrongMethod)
    if isinstance(found, Found):
        values = parse_template(found.value).variables
        assert len(found.captures) == len(values)
