"""The reference of every key is held to the models."""

from pathlib import Path

import pytest

from bff.config.reference import render_reference

ROOT = Path(__file__).parents[3]


@pytest.mark.rule("control.CF1")
def test_the_reference_is_that_of_the_models() -> None:
    written = (ROOT / "docs" / "mapping-reference.md").read_text(encoding="utf-8")

    assert written == render_reference(), "write render_reference() to docs/mapping-reference.md"


def test_the_reference_shows_types_defaults_and_what_is_not_built() -> None:
    text = render_reference()

    assert "| `timeout` | duration | `5ms` | Longest wait for the store. |" in text
    assert "| `with` | {name: any value} | `{}` |" in text
    assert "| `retry` | Retry or `off` | as below |" in text
    assert "`cache` (response caching)" in text
    assert "typing." not in text
