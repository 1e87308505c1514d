"""The official conformance suite of Protocol Buffers passes on our codec."""

import pytest

from tests.conformance.suite import EXPECTED_FAILURES, Suite, UnobtainableError, obtain

# Fewer cases than this are not the whole suite: JSON and binary, three syntaxes.
_WHOLE = 5_500


@pytest.fixture(scope="module")
def suite() -> Suite:
    try:
        return obtain()
    except UnobtainableError as error:
        pytest.skip(str(error))


@pytest.mark.rule("transcoding.95")
def test_official_suite_passes(suite: Suite) -> None:
    """Every required and recommended case of JSON and binary, but for those listed with a reason."""
    listed = [
        line
        for line in EXPECTED_FAILURES.read_text().splitlines()
        if line and not line.startswith("#")
    ]

    outcome = suite.run()

    assert outcome.unexpected_failures == 0, outcome.report
    assert outcome.expected_failures == len(listed)
    assert outcome.passed > _WHOLE
