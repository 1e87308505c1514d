"""Random text and random templates against the path grammar."""

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bff.transcoding.path_template import (
    MAX_SEGMENTS,
    Template,
    TemplateError,
    Variable,
    parse_template,
)

GRAMMAR_TEXT = st.text(alphabet="/{}=*:.ab_1%2Fé ", max_size=24).map(lambda text: "/" + text)


def _print_template(template: Template) -> str:
    """A template as text again, with every `{x}` written out as `{x=...}`."""
    parts = [
        segment.kind if segment.kind != "literal" else _escape(segment.text)
        for segment in template.segments
    ]
    for variable in template.variables:
        parts[variable.start] = f"{{{'.'.join(variable.path)}={parts[variable.start]}"
        parts[_last(variable, template)] += "}"
    verb = f":{_escape(template.verb)}" if template.verb else ""
    return "/" + "/".join(parts) + verb


def _last(variable: Variable, template: Template) -> int:
    return (len(template.segments) if variable.stop is None else variable.stop) - 1


def _escape(text: str) -> str:
    return "".join(f"%{octet:02X}" for octet in text.encode("utf-8", "surrogateescape"))


@given(GRAMMAR_TEXT | st.text(max_size=40))
def test_any_text_is_parsed_or_refused_inside_itself(text: str) -> None:
    """No input raises anything but TemplateError, whose column lies in the text or just behind it."""
    try:
        template = parse_template(text)
    except TemplateError as error:
        assert 1 <= error.column <= len(text) + 1  # noqa: PT017 - most inputs do not raise
        return

    assert 1 <= len(template.segments) <= MAX_SEGMENTS
    for variable in template.variables:
        assert variable.start <= _last(variable, template) < len(template.segments)


@given(GRAMMAR_TEXT)
def test_a_parsed_template_survives_printing(text: str) -> None:
    """What was read, written with every octet encoded, reads as the same shape and variables."""
    try:
        template = parse_template(text)
    except TemplateError:
        return

    again = parse_template(_print_template(template))

    assert again.shape == template.shape
    assert [(v.path, v.start, v.stop, v.multi) for v in again.variables] == [
        (v.path, v.start, v.stop, v.multi) for v in template.variables
    ]


# The grammar of google/api/http.proto as regular expressions, in place of a parser.
_LITERAL = r"(?:[A-Za-z0-9\-._~!$&'()+,;=:@]|%[0-9A-Fa-f]{2})+"
_SEGMENT = rf"(?:\*\*|\*|{_LITERAL})"
_FIELD = r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*"
_VARIABLE = rf"\{{{_FIELD}(?:={_SEGMENT}(?:/{_SEGMENT})*)?\}}"
# A verb follows a wildcard or variable at once; of a last literal it is what follows the last colon.
_WHOLE = re.compile(
    rf"(?P<path>(?:/(?:{_VARIABLE}|{_SEGMENT}))*/(?:{_VARIABLE}|\*\*|\*))(?::(?P<verb>{_LITERAL}))?"
)
_WITH_LITERAL = re.compile(rf"(?P<path>(?:/(?:{_VARIABLE}|{_SEGMENT}))*/)(?P<last>{_LITERAL})")
_PIECES = st.sampled_from(
    ["/", "/", "/a", "/*", "/**", "/{a}", "/{a.b=*}", "/{c=**}", "/{d=b/*}", "/{e=b:c}", ":", ":v", "a:b", "%2F", "%41",
     "%", "%25", "%2e", "%c3%a9", "%ff", "..", ".", ";", "\u00e9", "}", "{", "=", "*", "?", " "]
)  # fmt: skip
_ALMOST = st.builds(
    lambda begin, pieces: begin + "".join(pieces),
    st.sampled_from(["", "/", "/a/", "/{a}/"]),
    st.lists(_PIECES, max_size=6),
)


def _reference(text: str, *, tail: bool) -> tuple[list[str], list[str], str] | None:
    """Segments, names of variables and verb, all as text; None for what is no template."""
    found = _WHOLE.fullmatch(text)
    if found:
        path, verb = found["path"], found["verb"] or ""
    else:
        found = _WITH_LITERAL.fullmatch(text)
        if found is None:
            return None
        head, colon, verb = found["last"].rpartition(":")
        if colon and not (head and verb):
            return None
        path, verb = found["path"] + (head if colon else found["last"]), verb if colon else ""
    names = re.findall(rf"\{{({_FIELD})", path)
    flat = re.sub(rf"\{{{_FIELD}\}}", "*", path)
    flat = re.sub(rf"\{{{_FIELD}=([^}}]*)\}}", r"\1", flat)
    segments = flat[1:].split("/")
    behind = segments[segments.index("**") + 1 :] if "**" in segments else []
    if behind and (not tail or any(each in {"*", "**"} for each in behind)):
        return None
    # On its way the verb is the end of the last segment.
    sent = [*segments[:-1], f"{segments[-1]}:{verb}" if verb else segments[-1]]
    if not all(map(_is_sent, sent)):
        return None
    return segments, names, verb


def _is_sent(text: str) -> bool:
    """Whether a request path can hold this literal: the door's rules, one by one."""
    octets = unquote_to_bytes(text)
    if b"/" in octets or {b".", b".."} & set(octets.split(b";")):
        return False
    if re.search(rb"[\x00-\x1f\x7f\\\\]", octets) or re.search(rb"(?i)%(2f|2e|5c|00)", octets):
        return False
    return octets == octets.decode(errors="ignore").encode()


@pytest.mark.rule(
    "transcoding.16", "transcoding.17", "transcoding.19", "transcoding.20", "transcoding.22"
)
@settings(max_examples=1500, deadline=None)
@given(_ALMOST, st.booleans())
def test_a_template_is_read_as_the_grammar_says(text: str, tail: bool) -> None:
    wanted = _reference(text, tail=tail)
    try:
        found = parse_template(text, tail=tail)
    except TemplateError:
        assert wanted is None
        return

    assert wanted is not None
    segments, names, verb = wanted
    assert [each.kind if each.kind != "literal" else each.text for each in found.segments] == [
        each if each in {"*", "**"} else unquote_to_bytes(each).decode() for each in segments
    ]
    assert [".".join(each.path) for each in found.variables] == names
    assert found.verb == unquote_to_bytes(verb).decode()
