"""Which credential a request carries."""

import pytest

from bff.auth.credentials import find_credential
from bff.core.errors import ClientError
from bff.core.headers import Headers


@pytest.mark.rule("edge.8")
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"Bearer abc", "bearer"),
        (b"bearer abc", "bearer"),
        (b"BEARER abc", "bearer"),
        (b"Bearer  abc", "bad"),
        (b"Bearer\tabc", "bad"),
        (b"Bearer abc def", "bad"),
        (b"Bearer abc\t", "bad"),
        (b"Bearer ", "bad"),
        (b"Bearer", "bad"),
        (b"Bearerabc", "bad"),
        (b" Bearer abc", "bad"),
        (b"abc", "bad"),
        (b"", "bad"),
        (b"Basic dTpw", "bad"),
        (b"DPoP abc", "bad"),
        (b"Negotiate abc", "bad"),
    ],
)
def test_only_a_bearer_scheme_with_one_space_is_a_token(value: bytes, kind: str) -> None:
    credential = find_credential(Headers([(b"authorization", value)]))

    assert credential is not None
    assert credential.kind == kind
    assert credential.text == (b"abc" if kind == "bearer" else b"")


def test_tokens_elsewhere_are_no_credential() -> None:
    headers = Headers(
        [
            (b"cookie", b"access_token=abc; token=abc"),
            (b"x-access-token", b"abc"),
            (b"proxy-authorization", b"Bearer abc"),
            (b"x-authorization", b"Bearer abc"),
        ]
    )

    assert find_credential(headers) is None


@pytest.mark.rule("edge.8")
@pytest.mark.parametrize(
    "fields",
    [
        [(b"authorization", b"Bearer a"), (b"x-api-key", b"k")],
        [(b"x-api-key", b"k"), (b"authorization", b"Basic a")],
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer a")],
        [(b"x-api-key", b"k"), (b"x-api-key", b"k")],
    ],
)
def test_two_credentials_are_refused(fields: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ClientError) as error:
        find_credential(Headers(fields))

    assert error.value.reason == "MULTIPLE_CREDENTIALS"
