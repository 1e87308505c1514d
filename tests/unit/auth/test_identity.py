"""What services are told of the caller, and which client fields are scrubbed."""

import pytest

from bff.auth.identity import DEFAULT_NAMES, IDENTITY_NAMES, compile_identity, is_identity_name
from bff.core.errors import DeniedError
from bff.core.exchange import ANONYMOUS, Principal

CALLER = Principal(
    kind="jwt",
    sub="u-1",
    tenant="acme",
    client_id="app",
    scopes=frozenset({"orders:read", "a,b", "c%d"}),
    roles=frozenset({"ops team", "ü"}),
    tier="gold",
)


@pytest.mark.rule("edge.10")
def test_the_default_metadata_name_the_caller_and_join_lists_by_commas() -> None:
    assert compile_identity()(CALLER) == (
        ("x-user-id", "u-1"),
        ("x-tenant-id", "acme"),
        ("x-scopes", "a%2Cb,c%25d,orders:read"),
        ("x-client-id", "app"),
        ("x-auth-kind", "jwt"),
    )


def test_roles_and_tier_are_sent_where_they_are_named() -> None:
    assert compile_identity(["x-roles", "x-tier"])(CALLER) == (
        ("x-roles", "ops%20team,%C3%BC"),
        ("x-tier", "gold"),
    )


def test_what_a_caller_does_not_have_is_left_out() -> None:
    assert compile_identity()(Principal(kind="api_key", sub="svc")) == (
        ("x-user-id", "svc"),
        ("x-auth-kind", "api_key"),
    )


def test_nobody_is_anonymous_and_nothing_else() -> None:
    assert compile_identity()(ANONYMOUS) == (("x-auth-kind", "anonymous"),)
    assert compile_identity(["x-user-id"])(ANONYMOUS) == ()


def test_no_names_send_nothing() -> None:
    assert compile_identity(())(CALLER) == ()
    assert compile_identity(())(ANONYMOUS) == ()


@pytest.mark.parametrize(
    ("sub", "pair"),
    [
        ("a b~!", ("x-user-id", "a b~!")),
        ("jürgen", ("x-user-id-bin", "jürgen".encode())),
        (" u", ("x-user-id-bin", b" u")),
        ("u ", ("x-user-id-bin", b"u ")),
    ],
)
def test_other_than_plain_text_goes_as_bytes(sub: str, pair: tuple[str, str | bytes]) -> None:
    assert compile_identity(["x-user-id"])(Principal(kind="jwt", sub=sub)) == (pair,)


@pytest.mark.rule("edge.10")
@pytest.mark.parametrize("sub", ["a\r\nx-admin: 1", "a\x00", "\x7f", "\x85", "\x1b[0m"])
def test_a_control_character_is_401(sub: str) -> None:
    with pytest.raises(DeniedError) as error:
        compile_identity()(Principal(kind="cert", sub=sub))

    assert error.value.status == 401


def test_equal_callers_are_told_apart_and_the_memory_is_bounded() -> None:
    """Pairs are remembered per Principal object; thousands of others do not mix them up."""
    tell = compile_identity(["x-user-id"])

    for number in range(5_000):
        assert tell(Principal(kind="jwt", sub=f"u-{number}")) == (("x-user-id", f"u-{number}"),)
    assert tell(CALLER) == tell(CALLER) == (("x-user-id", "u-1"),)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="x-user-id"):
        compile_identity(["x-userid"])


SPELLINGS = [
    spelling
    for name in [*sorted(IDENTITY_NAMES), "x-bff-mirror", "x-request-id", "x-forwarded-for"]
    for spelling in (
        name,
        name.upper(),
        name.title(),
        name.replace("-", "_"),
        f"grpc-metadata-{name}",
        f"Grpc-Metadata-{name}",
        f"grpc_metadata_{name}",
        f"grpc-metadata-grpc-metadata-{name}",
        f"{name}-bin",
        f"{name}_BIN",
        f"Grpc-Metadata-{name}-Bin",
    )
]


@pytest.mark.rule("edge.10")
@pytest.mark.parametrize("name", SPELLINGS)
def test_no_spelling_of_an_identity_name_crosses(name: str) -> None:
    assert is_identity_name(name.encode())


@pytest.mark.parametrize(
    "name", [b"accept", b"x-user", b"x-bff", b"grpc-metadata-x-trace", b"user-id"]
)
def test_other_fields_are_not_identity(name: bytes) -> None:
    assert not is_identity_name(name)


def test_the_defaults_are_those_of_the_manual() -> None:
    assert DEFAULT_NAMES == ("x-user-id", "x-tenant-id", "x-scopes", "x-client-id", "x-auth-kind")
