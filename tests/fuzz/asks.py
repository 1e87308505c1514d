"""What a request carries beside JSON: multipart bodies, GraphQL documents, tokens."""

import logging
import re

from graphql import GraphQLError, parse

from bff.auth.faults import TokenFault
from bff.auth.jwt import parse_token
from bff.core.errors import ClientError
from bff.gql.documents import Document, DocumentCache
from bff.gql.limits import Caps
from bff.transcoding.multipart import Part, PartReader, read_parts
from tests.fuzz.choices import Choices
from tests.support.auth_world import FakeClock, forge_of, key_set, make_verifier
from tests.support.shop_graphql import schema_of
from tests.support.token_forge import ec_key

__all__ = ["DOCUMENT_SEEDS", "MULTIPART_SEEDS", "TOKEN_SEEDS", "documents", "multipart", "tokens"]

_NOW = 1_800_000_000
_KEY = ec_key(kid="e1")
_KEYS = key_set(_KEY)
_VERIFIER = make_verifier(FakeClock(_NOW))
_TOKEN = forge_of(_KEY).token(claims={"exp": _NOW + 60})

MULTIPART_SEEDS = (
    b'multipart/form-data; boundary=b\n--b\r\ncontent-disposition: form-data; name="a"\r\n\r\nhi\r\n--b--\r\n',
    b'multipart/form-data; boundary="-"\n---\r\nContent-Disposition: form-data; name=f;filename=y\r\n\r\n\0\r\n-----',
    b"multipart/form-data; boundary=b\nbefore\r\n--b--\r\nafter",
)
DOCUMENT_SEEDS = (
    b"query q($id: ID!) { order(orderId: $id) { id ...f @include(if: true) } } fragment f on Order { card { id } }",
    b"{ a: __typename b: __typename }", b"mutation { x } subscription { y }",
    b'{ order(orderId: """a\\""" b""") { id } # {\n}', b"{ __schema { types { name } } }",
)  # fmt: skip
# An edit of a good token, or after an octet of 1 a token as it stands.
TOKEN_SEEDS = (
    b"\0\0\x05a",
    b"\0\x01\x20.",
    b"\x01eyJhbGciOiJub25lIn0.e30.",
    b"\x01" + b"a.b.c",
    b"\0\0\x02=\0\xffA",
)

_BOUNDARY = re.compile(rb"multipart/form-data; boundary=([A-Za-z0-9]+)").fullmatch
_SCHEMA = schema_of().schema


def multipart(raw: bytes) -> None:
    """Its first line is the content type. It is parts that stand in the body, or the client's fault by a name."""
    content_type, _, body = raw.partition(b"\n")
    # As the workers have it: a stranger's broken body is no line of ours.
    logging.getLogger("python_multipart.multipart").disabled = True
    step = len(body) % 7 + 1
    try:
        parts = read_parts(body, content_type)
    except ClientError as error:
        assert error.reason in {"INVALID_PARAMETER", "TOO_MANY_PARAMETERS"}  # noqa: PT017 - most inputs raise
        assert _in_pieces(body, content_type, step) is None
        return
    assert _in_pieces(body, content_type, step) == parts
    split = _split(body, content_type)
    assert split is None or split == [part.content for part in parts]
    assert len(parts) <= 64
    at = 0
    for part in parts:
        # In order, one after the other, as they came.
        at = body.index(part.content, at) + len(part.content)
        assert not set(part.filename) & set(b"/\\")
        assert part.is_file or not part.filename


def _in_pieces(body: bytes, content_type: bytes, step: int) -> list[Part] | None:
    """The parts as a reader finds them that gets the body bit by bit; None where it refuses."""
    parts: list[Part] = []
    try:
        reader = PartReader(content_type)
        for at in range(0, len(body), step):
            for each in reader.feed(body[at : at + step]):
                if isinstance(each, Part):
                    parts.append(each)
                else:
                    parts[-1].content += each
        reader.finish()
    except ClientError:
        return None
    return parts


def _split(body: bytes, content_type: bytes) -> list[bytes] | None:
    """The contents by RFC 2046 5.1.1, where its first word of a boundary is one and it stands nowhere else."""
    named = _BOUNDARY(content_type)
    if named is None:
        return None
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + named[1])
    whole, ends = [], [at for at, part in enumerate(parts) if part.startswith(b"--")]
    for part in parts[: ends[0] if ends else 0]:
        head, line, content = part.partition(b"\r\n\r\n")
        if not head.startswith(b"\r\n") or not line:
            return None
        whole.append(content)
    return whole


def documents(raw: bytes) -> None:
    """A document is one to graphql-core too, or is refused with a code; asked again, it is the same."""
    text = raw.decode("utf-8", "surrogateescape")
    cache = DocumentCache(schema=_SCHEMA, caps=Caps())

    made = cache.take(text, introspection=False)

    assert cache.take(text, introspection=False) is made
    if isinstance(made, Document):
        parse(text)
        return
    codes = {error["extensions"]["code"] for error in made.errors}
    assert all(isinstance(code, str) and code for code in codes)
    if codes == {"GRAPHQL_PARSE_FAILED"}:
        try:
            parse(text)
        except GraphQLError:
            return
        raise AssertionError("refused, though it parses")


def tokens(raw: bytes) -> None:
    """Nothing but the token itself passes, and what does not is a fault of the token."""
    if raw[:1] == b"\x01":
        token = raw[1:]
    else:
        changed, choices = bytearray(_TOKEN), Choices(raw[1:])
        while choices.has_more:
            at = choices.below(256) << 8 | choices.below(256)
            changed[at % len(changed)] = choices.below(256)
        token = bytes(changed)
    try:
        _VERIFIER.verify(parse_token(token), _KEYS)
    except TokenFault:
        assert token != _TOKEN
        return
    assert token == _TOKEN
