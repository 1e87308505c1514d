"""If-None-Match: which of its forms name a body that is known."""

import pytest

from bff.pipeline.documents import has_entity_tag


@pytest.mark.parametrize(
    ("fields", "known"),
    [
        ([], False),
        ([b'"a1"'], True),
        ([b'W/"a1"'], True),
        ([b'"b,c", "a1"'], True),
        ([b'"b"', b' "a1" '], True),
        ([b"*"], True),
        ([b'"b"'], False),
        ([b"a1"], False),
        ([b'"x"a1"y"'], False),
    ],
)
def test_a_known_body_is_named_by_its_tag_or_by_any(fields: list[bytes], known: bool) -> None:
    assert has_entity_tag(fields, b'"a1"') is known
