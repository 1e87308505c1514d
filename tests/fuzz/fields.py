"""Header fields of strangers, each held to a second reading that is written straight from its standard."""

import re
from collections.abc import Callable
from fractions import Fraction
from ipaddress import ip_address, ip_network

from bff.auth.credentials import find_credential
from bff.core.deadline import TIMEOUT_FIELDS
from bff.core.errors import ClientError, DeniedError
from bff.core.headers import Headers, connection_named
from bff.core.media import accepts
from bff.fronts.address import AddressReader
from bff.fronts.caps import DoorCaps
from bff.fronts.codings import CODINGS
from bff.fronts.header_rules import judge_headers
from bff.pipeline.crossing import Inward, octets_of_base64
from bff.pipeline.documents import has_entity_tag
from bff.pipeline.field_rules import inward_fault
from bff.telemetry.traces import parse_traceparent, traceparent
from bff.transcoding.connect_protocol import codec_of
from bff.transcoding.grpc_web import web_form
from bff.transcoding.multipart import media_type
from bff.transcoding.streaming import choose_framing

__all__ = ["FIELD_SEEDS", "HEAD_SEEDS", "fields", "heads"]

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_PARAMETER = rf"[ \t]*;[ \t]*(?:({_TOKEN})=({_TOKEN}|{_QUOTED}))?"
_RANGE = re.compile(rf"({_TOKEN}/{_TOKEN})((?:{_PARAMETER})*)[ \t]*(?:,|$)")
_PARAMETERS = re.compile(_PARAMETER)
_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_TYPES = ("application/json", "application/problem+json", "text/event-stream")


def _read_accept(field: str) -> list[tuple[str, list[str], Fraction]] | None:
    """RFC 9110 12.5.1 with 12.4.2 and 5.6.6: type, names of its parameters, weight; None for no such field."""
    found: list[tuple[str, list[str], Fraction]] = []
    at = 0
    while True:
        while at < len(field) and field[at] in " \t,":
            at += 1
        if at == len(field):
            return found
        match = _RANGE.match(field, at)
        if match is None:
            return None
        at = match.end()
        names: list[str] = []
        weight = Fraction(1)
        for parameter in _PARAMETERS.finditer(match[2]):
            if (parameter[1] or "").lower() == "q":
                if not _WEIGHT.fullmatch(parameter[2]):
                    return None
                weight = Fraction(parameter[2].rstrip("."))
                break
            names += [parameter[1]] if parameter[1] else []
        found.append((match[1].lower(), names, weight))


def _accept(value: bytes) -> None:
    """The most specific range decides (12.5.1), the first of equals."""
    read = _read_accept(value.decode("latin-1"))
    for wanted in _TYPES:
        given = accepts(value, wanted)
        assert 0 <= given <= 1
        assert 0 <= accepts(value, wanted, by_name=True) <= 1
        if read is None or value.count(b",") >= 64:
            continue
        ranges = {"*/*": 1, wanted.partition("/")[0] + "/*": 3, wanted: 5}
        ranked = [
            (ranges[name] + (not names), weight) for name, names, weight in read if name in ranges
        ]
        best = max((rank for rank, _ in ranked), default=0)
        assert Fraction(str(given)) == next((weight for rank, weight in ranked if rank == best), 0)
        exact = [weight for rank, weight in ranked if rank >= 5]
        if not exact:
            assert accepts(value, wanted, by_name=True) == 0
    _framing(value, read)


def _framing(value: bytes, read: list[tuple[str, list[str], Fraction]] | None) -> None:
    chosen = choose_framing(value, "array")
    assert chosen in {"array", "ndjson", "sse"}
    if read is None or value.count(b",") >= 64:
        return
    liked = {"array": Fraction(0), "ndjson": Fraction(0), "sse": Fraction(0)}
    for name, _, weight in read:
        for framing, types in _FRAMINGS.items():
            if name in types:
                liked[framing] = max(liked[framing], weight)
    assert liked[chosen] == max(liked.values())
    assert chosen == "array" or liked["array"] < liked[chosen]


_FRAMINGS = {
    "array": {"*/*", "application/*", "application/json"},
    "ndjson": {"application/x-ndjson", "application/jsonl"},
    "sse": {"text/event-stream"},
}


def _forwarded(value: bytes) -> None:
    """From the right over our proxies to the first address that is none; junk before that is refused."""
    headers = Headers([(b"x-forwarded-for", line) for line in value.split(b"\n")])
    try:
        read = _READER.read("10.0.0.1", headers)
    except ClientError as error:
        read = error.reason
    assert read == _read_forwarded(value.replace(b"\n", b",").decode("latin-1"))
    # Nobody believes a stranger.
    assert _READER.read("192.0.2.1", headers) == "192.0.2.1"


_READER = AddressReader(trusted=["10.0.0.0/8", "fd00::/8"])
_PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
_HOP = re.compile(r"([^\[\]:]+)(?::[0-9]{1,5})?|\[([^\[\]]+)\](?::[0-9]{1,5})?|([^\[\]]+)")


def _read_forwarded(field: str) -> str:
    client = "10.0.0.1"
    hops = field.split(",")
    if len(hops) > 32:
        return "BAD_FORWARDED"
    for hop in reversed(hops):
        text = hop.strip(" \t")
        if text.lower() == "unknown" or text.startswith("_"):
            return client
        match = _HOP.fullmatch(text)
        try:
            assert match is not None
            assert "%" not in text
            address = ip_address(match[1] or match[2] or match[3])
        except (AssertionError, ValueError):
            return "BAD_FORWARDED"
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped if mapped is not None else address
        client = str(address)
        if not any(address.version == net.version and address in net for net in _PROXIES):
            return client
    return client


def _timeouts(value: bytes) -> None:
    """Each dialect by its own grammar, exactly."""
    text = value.decode("latin-1")
    for (name, (parse, _)), (pattern, scale) in zip(TIMEOUT_FIELDS.items(), _DIALECTS, strict=True):
        found = re.fullmatch(pattern, text)
        seconds = parse(text)
        assert (found is None) is (seconds is None), name
        if found is None or seconds is None:
            continue
        exact = Fraction(found[1]) * (scale or _UNITS[found[2]])
        assert abs(Fraction(seconds) - exact) <= exact / 2**50


_UNITS = {
    "H": Fraction(3600), "M": Fraction(60), "S": Fraction(1),
    "m": Fraction(1, 10**3), "u": Fraction(1, 10**6), "n": Fraction(1, 10**9),
}  # fmt: skip
# In the order of the table: gRPC over HTTP/2, Connect, and seconds as proxies write them.
_DIALECTS: tuple[tuple[str, Fraction | None], ...] = (
    (r"([0-9]{1,8})([HMSmun])", None),
    (r"([0-9]{1,10})", Fraction(1, 1000)),
    (r"([0-9]{1,8}(?:\.[0-9]{1,9})?)", Fraction(1)),
)


def _trace(value: bytes) -> None:
    """W3C Trace Context 3.2.2, octet by octet; what we send on reads back."""
    found = parse_traceparent(value)
    parts = value.split(b"-")
    is_one = (
        value[:55].count(b"-") == 3
        and [len(part) for part in parts[:4]] == [2, 32, 16, 2]
        and set(b"".join(parts[:4])) <= set(b"0123456789abcdef")
        and parts[0] != b"ff"
        and parts[1].strip(b"0") != b""
        and parts[2].strip(b"0") != b""
        and (len(parts) == 4 or parts[0] != b"00")
        and b"\n" not in value
    )
    assert is_one is (found is not None)
    if found is not None:
        assert found == (parts[1].decode(), parts[2].decode(), bool(int(parts[3], 16) % 2))
        assert parse_traceparent(traceparent(*found).encode()) == found


def _bearer(value: bytes) -> None:
    """RFC 6750 2.1: the scheme in any case, a space, the token; anything else is no anonymous caller."""
    found = find_credential(Headers([(b"authorization", value)]))
    assert found is not None
    match = re.fullmatch(rb"(?i)bearer ([^ \t]+)", value, re.DOTALL)
    assert (found.kind, found.text) == (("bearer", match[1]) if match else ("bad", b""))


def _entity_tags(value: bytes) -> None:
    """RFC 9110 13.1.2 and 8.8.3, where the field is one."""
    known = has_entity_tag([value], b'"a1"')
    if value.strip(b" \t") == b"*":
        assert known
        return
    if re.fullmatch(
        rb"(?:[ \t]*(?:W/)?\"[\x21\x23-\x7e\x80-\xff]*\"[ \t]*(?:,|$)|[ \t]*,)+", value
    ):
        tags = [tag.strip(b" \t").removeprefix(b"W/") for tag in _outside_quotes(value)]
        assert known is (b'"a1"' in tags)
    elif b'"a1"' not in value:
        assert not known


def _outside_quotes(value: bytes) -> list[bytes]:
    parts, within = [b""], False
    for octet in value:
        within ^= octet == 0x22
        if octet == 0x2C and not within:
            parts.append(b"")
        else:
            parts[-1] += bytes([octet])
    return parts


def _media_types(value: bytes) -> None:
    """The media types of protocols: the type alone decides, in any case, and a charset of UTF-8 at most."""
    bare = value.split(b";")[0].strip(b" \t").lower()
    assert web_form(value) is None or bare.startswith(b"application/grpc-web")
    codec = codec_of(value)
    assert codec is None or bare == b"application/" + codec.encode()
    if value.lower() in {b"application/json; charset=utf-8", b"application/json"}:
        assert codec == "json"
    assert b";" not in media_type(value)


def _base64(value: bytes) -> None:
    """RFC 4648 4, padded or not; shown again it is the same octets."""
    octets = octets_of_base64(value)
    bare = value.rstrip(b"=")
    padding = len(value) - len(bare)
    is_one = (
        re.fullmatch(rb"[A-Za-z0-9+/]*", bare) is not None
        and len(bare) % 4 != 1
        and padding in {0, -len(bare) % 4}
    )
    assert is_one is (octets is not None), value
    if octets is not None:
        bits = "".join(f"{_SIXTY_FOUR.index(octet):06b}" for octet in bare)
        whole = len(bits) // 8
        assert octets == bytes(int(bits[8 * at : 8 * at + 8], 2) for at in range(whole))


_SIXTY_FOUR = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_JUDGES: tuple[Callable[[bytes], None], ...] = (
    _accept, _forwarded, _timeouts, _trace, _bearer, _entity_tags, _media_types, _base64,
)  # fmt: skip
# The first octet says which field.
FIELD_SEEDS = (
    b"\x00application/json;q=0.5, text/*;q=0.1,*/*;q=0",
    b'\x00text/event-stream;v="a,b;q=0";q=0.30, application/x-ndjson ; q=1.000,, application/json;v=1;q=.2',
    b"\x00application/json;q=nan,application/json;q=1e-1, application/problem+json",
    b"\x01203.0.113.9, 10.1.2.3:80", b"\x01[2001:db8::1]:443, fd00::2\nunknown, ::ffff:10.0.0.9",
    b"\x01[::1]x5,10.0.0.1",
    b"\x02500m", b"\x0299999999H", b"\x021.5", b"\x021234567890",
    b"\x0300-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"\x03cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more",
    b"\x04Bearer abc.def.ghi", b"\x04Basic YTpi",
    b'\x05W/"a1", "b"', b"\x05*", b'\x05"x"a1"y"',
    b"\x06application/grpc-web-text+proto; charset=utf-8", b"\x06application/json; charset=utf-8",
    b"\x07YWJj", b"\x07YWI=", b"\x07YQ",
)  # fmt: skip


def fields(raw: bytes) -> None:
    """One field by two readers."""
    if raw:
        _JUDGES[raw[0] % len(_JUDGES)](raw[1:])


# Lines of `name: value`, as the listener hands them on.
HEAD_SEEDS = (
    b"host: a.example:8080\ncontent-length: 12\ncontent-type: application/json\norigin: https://a",
    b"host: [::1]\ntransfer-encoding: chunked\ncontent-encoding: gzip\nexpect: 100-continue\ngrpc-timeout: 5S",
    b"host: a\nhost: b", b"host: a\ncontent_length: 1", b"host: a\ncontent-length: " + b"9" * 4_000,
    b"host: a\ngrpc-metadata-x-a-bin: AAE=,AQ\nx-note: hi\nx-octets-bin: YQ\nconnection: x-note, close",
    b"host: a\ngrpc-metadata-authorization: x\ngrpc-metadata-grpc-status: 0\ngrpc-metadata-\xc3\xa4: y",
    b"host: a\nx-server-timeout: 0.5\nconnect-timeout-ms: 1\nauthorization: Bearer a\nx-api-key: b",
)  # fmt: skip
_CAPS = DoorCaps()
_SINGLE = (
    b"host", b"authorization", b"content-type", b"content-length", b"x-api-key", b"origin",
    b"idempotency-key", b"accept-version", *TIMEOUT_FIELDS,
)  # fmt: skip
_REASONS = {
    "EXPECTATION", "HEADERS_TOO_LARGE", "INVALID_HEADER", "TRANSFER_CODING", "UNSUPPORTED_MEDIA_TYPE",
}  # fmt: skip
_LISTED = {b"x-note": "x-note", b"x-octets-bin": "x-octets-bin"}


def heads(raw: bytes) -> None:
    """All fields of one request: what passes the door is sound, and what crosses to a service may cross."""
    pairs = []
    for line in raw.split(b"\n")[:120]:
        name, _, value = line.partition(b":")
        pairs.append((name.strip().lower(), value.strip(b" \t\r")))
    headers = Headers(pairs)
    _crossing(headers)
    try:
        judged = judge_headers(headers, _CAPS)
    except ClientError as error:
        assert error.reason in _REASONS  # noqa: PT017 - most inputs raise
        return
    assert all(len(headers.all(name)) <= 1 for name in _SINGLE)
    assert not any(b"_" in name for name, _ in pairs)
    # Whether it may be missing, the protocol decides.
    assert judged.host == (headers.text(b"host") or "").lower()
    length = headers.get(b"content-length")
    digits = length if length and re.fullmatch(rb"[0-9]+", length) else b"0"
    # Beyond 19 of them it is only far too large, as long as it does not begin with zeros.
    if len(digits) <= 19:
        assert judged.declared_bytes == int(digits)
    else:
        assert digits[:1] == b"0" or judged.declared_bytes >= 10**18
    assert all(value.lower() == b"chunked" for value in headers.all(b"transfer-encoding"))
    codings = [
        value.lower() for value in headers.all(b"content-encoding") if value.lower() != b"identity"
    ]
    assert [judged.coding] == [CODINGS[name] for name in codings] or (
        judged.coding is None and not codings
    )
    assert judged.hint_s is None or 0 < judged.hint_s <= 30
    try:
        credential = find_credential(headers)
    except ClientError as error:
        assert error.reason == "MULTIPLE_CREDENTIALS"  # noqa: PT017 - as above
        return
    given = headers.get(b"authorization"), headers.get(b"x-api-key")
    assert (credential is None) is (given == (None, None))


def _crossing(headers: Headers) -> None:
    skipped: list[str] = []
    inward = Inward(listed=_LISTED, skip=skipped.append, prefix=b"grpc-metadata-")
    try:
        passed = inward.of(headers)
    except (ClientError, DeniedError) as error:
        assert error.reason == "INVALID_HEADER"  # noqa: PT017 - as above
        return
    ended = connection_named(headers)
    for name, value in passed:
        assert inward_fault(name) is None
        sources = {b"grpc-metadata-" + name.encode(), name.encode()} & (
            set(_LISTED) | {b"grpc-metadata-" + name.encode()}
        )
        assert any(header in sources - ended for header, _ in headers.raw)
        if name.endswith("-bin"):
            assert isinstance(value, bytes)
        else:
            assert isinstance(value, str)
            assert re.fullmatch(r"[\x20-\x7e]*", value)
