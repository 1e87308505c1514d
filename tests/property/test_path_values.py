"""What a path gives its variables, against a reference that reads octet by octet."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bff.core.errors import ClientError
from bff.transcoding.captures import PathDecoding
from bff.transcoding.path_template import Template, parse_template
from bff.transcoding.route_trie import Found, RouteTrie
from bff.transcoding.switches import Switches

_RESERVED = b":/?#[]@!$&'()*+,;="
_TEMPLATES = [
    "/{a}",
    "/{a=*}/{b}",
    "/{a=**}",
    "/x/{a=x/*}",
    "/{a=*/x}/{b=**}",
    "/x/{a}:go",
    "/{a}/y/{b=*/*}",
    "/x/{a=**}:go",
]
# Escapes of each kind: of a slash, of reserved and other characters, of UTF-8, of itself.
_PIECE = st.sampled_from(
    ["x", "y", "%2F", "%3A", "%20", "%25", "%C3%BC", "%21", "+", "~", "%2B", "%ff", "%C3"]
)
_SEGMENT = st.lists(_PIECE, min_size=0, max_size=4).map("".join)
_PATHS = st.builds(
    lambda parts, end: "/" + "/".join(parts) + end,
    st.lists(_SEGMENT, min_size=1, max_size=4),
    st.sampled_from(["", ":go"]),
)


def _reference(template: Template, path: str, decoding: PathDecoding) -> list[str] | None:
    """The values by a regular expression over the raw path; None for no match, raises for no UTF-8."""
    parts = []
    last = len(template.segments) - 1
    opened = {variable.start for variable in template.variables}
    closed = {variable.stop or len(template.segments) for variable in template.variables}
    for at, segment in enumerate(template.segments):
        # A last segment that begins with a colon has nothing before it.
        star = "[^/:][^/]*" if at == last else "[^/]+"
        if segment.kind == "**":
            # None at all is a path that ends before the slash.
            parts.append("(?:/(.*))?")
            continue
        kind = star if segment.kind == "*" else re.escape(segment.text)
        parts.append("/" + ("(" if at in opened else "") + kind + (")" if at + 1 in closed else ""))
    verb = f"(?<=[^/]):{template.verb}" if template.verb else ""
    found = re.fullmatch("".join(parts) + verb, path, re.DOTALL)
    if found is None:
        return None
    return [
        _decode(text or "", decoding if variable.multi else "all")
        for text, variable in zip(found.groups(), template.variables, strict=True)
    ]


def _decode(text: str, decoding: PathDecoding) -> str:
    octets, at = b"", 0
    while at < len(text):
        if text[at] != "%":
            octets += text[at].encode()
            at += 1
            continue
        one = bytes.fromhex(text[at + 1 : at + 3])
        kept = {"all": b"", "except_slash": b"/", "except_reserved": _RESERVED}[decoding]
        octets += text[at : at + 3].encode() if one in kept else one
        at += 3
    return octets.decode()


@pytest.mark.rule("transcoding.49", "transcoding.51", "transcoding.52")
@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(_TEMPLATES),
    _PATHS,
    st.sampled_from(["all", "except_slash", "except_reserved"]),
)
def test_values_are_those_of_a_reader_octet_by_octet(
    text: str, path: str, decoding: PathDecoding
) -> None:
    template = parse_template(text)
    trie: RouteTrie[str] = RouteTrie()
    trie.insert(template, "GET", text, switches=Switches(path_decoding=decoding))
    try:
        wanted = _reference(template, path, decoding)
    except UnicodeDecodeError:
        with pytest.raises(ClientError, match="BAD_PATH"):
            trie.find("GET", path)
        return

    found = trie.find("GET", path)

    if wanted is None:
        assert found is None
    else:
        assert isinstance(found, Found)
        assert list(found.captures) == wanted
