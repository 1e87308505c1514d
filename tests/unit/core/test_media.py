"""Accept fields: which range decides, and what a weight may look like."""

import pytest

from bff.core.headers import Headers
from bff.core.media import accept_of, accepts


@pytest.mark.parametrize(
    ("accept", "quality"),
    [
        ("application/json", 1.0),
        ("*/*;q=0.2, application/*;q=0.3, application/json;q=0.4", 0.4),
        ("application/json;q=0, */*", 0.0),
        ("text/html", 0.0),
        ("application/json;v=1;q=0.1, application/json;q=0.9", 0.9),
        ("application/json;v=1;q=0.1, */*;q=0.9", 0.1),
        ('text/html;note="a, application/json"', 0.0),
        ('application/json;note="a;q=0";q=0.5', 0.5),
        ("APPLICATION/JSON ; Q=0.5", 0.5),
        ("application/json;q=.5", 0.5),
        ("application/json;q=2", 1.0),
        ("application/json;q=nan", 0.0),
        ("application/json;q=1e-1", 0.0),
        ("application/json;q=", 0.0),
        ("", 0.0),
    ],
)
def test_the_most_specific_range_decides(accept: str, quality: float) -> None:
    assert accepts(accept.encode(), "application/json") == quality


def test_by_name_no_wildcard_counts() -> None:
    assert accepts(b"*/*, application/*;q=0.5", "application/json", by_name=True) == 0


def test_ranges_beyond_the_64th_are_not_read() -> None:
    assert accepts(b"text/html," * 64 + b"application/json", "application/json") == 0


def test_all_lines_of_the_field_are_one_list() -> None:
    lines = [(b"accept", b"text/html"), (b"x-a", b"b"), (b"accept", b"application/json;q=0.5")]

    assert accept_of(Headers(lines)) == b"text/html, application/json;q=0.5"
    assert accept_of(Headers()) is None
