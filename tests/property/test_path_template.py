"""Random text and random templates against the path grammar."""

from hypothesis import given
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
