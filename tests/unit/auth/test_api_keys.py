"""API keys: form, hashes, limits of use, and the file they are kept in."""

from typing import Any

import pytest

from bff.auth.api_keys import ApiKeyRecord, ApiKeys, create_key, hash_secret
from bff.auth.faults import KeyFault
from bff.auth.key_file import format_record, parse_key_file
from bff.core.errors import ConfigError
from tests.support.auth_world import FakeClock

PEPPER = b"0123456789abcdef"
NOW = 1_800_000_000.0


def made(**fields: Any) -> tuple[bytes, ApiKeyRecord]:
    text, record = create_key(pepper=PEPPER, **({"sub": "svc"} | fields))
    return text.encode(), record


def keys_of(*records: ApiKeyRecord, clock: FakeClock | None = None) -> ApiKeys:
    return ApiKeys(records=records, pepper=PEPPER, clock=clock or FakeClock(NOW))


def changed(record: ApiKeyRecord, **fields: Any) -> ApiKeyRecord:
    return ApiKeyRecord(
        **({name: getattr(record, name) for name in record.__struct_fields__} | fields)
    )


@pytest.mark.rule("edge.8.5")
def test_a_key_has_the_documented_form_and_only_its_keyed_hash_is_stored() -> None:
    text, record = made(scopes=["orders.read"], tenant="acme", tier="premium")

    assert text.startswith(b"bff_" + record.id.encode() + b"_")
    assert len(text) == 4 + 12 + 1 + 43 + 1 + 6
    assert record.secret_hash == hash_secret(PEPPER, text[17:60])
    assert text[17:60].decode() not in repr(record)
    principal = keys_of(record).verify(text, "192.0.2.1")
    assert (principal.kind, principal.sub, principal.tenant) == ("api_key", "svc", "acme")
    assert (principal.tier, principal.key_id) == ("premium", record.id)
    assert principal.scopes == {"orders.read"}


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda key: key[:-1] + bytes([key[-1] ^ 1]), "checksum"),
        (lambda key: key[:20] + bytes([key[20] ^ 1]) + key[21:], "checksum"),
        (lambda key: key[:-1], "form"),
        (lambda key: key + b"0", "form"),
        (lambda key: b"BFF_" + key[4:], "form"),
        (lambda key: b"", "form"),
        (lambda key: b"\xff" * 67, "form"),
        (lambda key: b" " + key[:-1], "form"),
    ],
    ids=["checksum", "secret", "short", "long", "prefix", "empty", "bytes", "space"],
)
def test_a_key_of_another_form_is_refused_without_a_look_up(change: Any, cause: str) -> None:
    text, record = made()
    keys = keys_of(record)
    assert keys.verify(text, "").sub == "svc"

    with pytest.raises(KeyFault, match=cause):
        keys.verify(change(text), "")


def test_a_strangers_key_with_a_good_checksum_is_refused_like_a_wrong_secret() -> None:
    text, record = made()
    stranger, _ = made()
    _, same_id = made()
    same_id = changed(same_id, id=record.id)
    causes = set()

    for key, keys in ((stranger, keys_of(record)), (text, keys_of(same_id))):
        with pytest.raises(KeyFault) as fault:
            keys.verify(key, "")
        causes.add(fault.value.cause)

    assert causes == {"unknown key or wrong secret"}


@pytest.mark.parametrize(
    ("fields", "address", "cause"),
    [
        ({"not_before_unix_s": NOW + 1}, "192.0.2.1", "not valid yet"),
        ({"expires_unix_s": NOW}, "192.0.2.1", "expired"),
        ({"addresses": ["10.0.0.0/8"]}, "192.0.2.1", "address"),
        ({"addresses": ["10.0.0.0/8"]}, "2001:db8::1", "address"),
        ({"addresses": ["10.0.0.0/8"]}, "junk", "address"),
    ],
)
def test_a_right_key_outside_its_bounds_is_refused(
    fields: dict[str, Any], address: str, cause: str
) -> None:
    text, record = made(**fields)

    with pytest.raises(KeyFault, match=cause):
        keys_of(record).verify(text, address)


def test_a_revoked_key_is_refused() -> None:
    text, record = made()

    with pytest.raises(KeyFault, match="revoked"):
        keys_of(changed(record, state="revoked")).verify(text, "")


def test_a_remembered_key_is_judged_anew_by_time_and_address() -> None:
    clock = FakeClock(NOW)
    text, record = made(expires_unix_s=NOW + 10, addresses=["10.0.0.0/8"])
    keys = keys_of(record, clock=clock)
    assert keys.remembered(text, "10.1.1.1") is None
    keys.verify(text, "10.1.1.1")

    remembered = keys.remembered(text, "10.2.2.2")
    assert remembered is not None
    assert remembered.sub == "svc"
    with pytest.raises(KeyFault, match="address"):
        keys.remembered(text, "192.0.2.1")
    clock.advance(10)
    with pytest.raises(KeyFault, match="expired"):
        keys.remembered(text, "10.1.1.1")


def test_two_secrets_of_one_id_both_pass_and_a_third_is_refused_at_load() -> None:
    (old, first), (new, second) = made(), made()
    second = changed(second, id=first.id)
    # The new key's text carries another id: only its hash is borrowed here.
    assert keys_of(first, second).verify(old, "").key_id == first.id
    assert keys_of(second, first).verify(old, "").key_id == first.id
    assert new != old

    with pytest.raises(ValueError, match="more than 2"):
        keys_of(first, second, changed(second, tier="x"))


@pytest.mark.parametrize(
    "fields", [{"id": "short"}, {"id": "ABCDEFGHIJKL"}, {"secret_hash": b"x"}, {"secret_hash": bytes(32)},
               {"sub": ""}, {"sub": "a\nb"}, {"addresses": ("10.0.0.1/8",)}], ids=str,
)  # fmt: skip
def test_a_record_that_cannot_be_used_is_refused_at_load(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        keys_of(changed(made()[1], **fields))


def test_a_short_pepper_is_refused() -> None:
    with pytest.raises(ValueError, match="pepper"):
        ApiKeys(records=[], pepper=b"short", clock=FakeClock())


def test_a_record_survives_its_file() -> None:
    _, plain = made()
    _, full = made(
        sub="o'neill: #1",
        tenant="acme",
        tier="premium",
        scopes=["orders.read", "a, b"],
        addresses=["10.0.0.0/8"],
        not_before_unix_s=NOW,
        expires_unix_s=NOW + 60,
    )

    text = "keys:\n" + format_record(plain) + format_record(full)

    assert parse_key_file(text) == [plain, full]


def test_a_hash_of_digits_alone_is_read_as_it_was_written() -> None:
    """Without quotes a key file could not be read that `bff keys create` had written."""
    digits = ApiKeyRecord(id="123456789012", secret_hash=bytes.fromhex("05" * 31 + "0e"), sub="svc")

    assert parse_key_file("keys:\n" + format_record(digits)) == [digits]


HASH = "ab" * 32


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("keys: 5\n", 0, "one list"),
        ("other: []\nkeys: []\n", 0, "one list"),
        ("keys: [\n", 2, "not YAML"),
        ("keys:\r\n- \x07\n", 2, "character that is not allowed"),
        (f"keys: [{{id: a, hash: {HASH}, sub: s, expires: 2026-13-45}}]\n", 1, "is a time"),
        (f"keys: [{{id: a, hash: {HASH}, sub: s, expires: [1]}}]\n", 1, "is a time"),
        ("keys: [{id: a, id: b}]\n", 1, "written twice"),
        ("keys: [{? [1] : 2}]\n", 1, "is not known"),
        ('keys: ["\\UFFFFFFFF"]\n', 0, "not YAML"),
        ("keys: " + "[" * 500 + "]" * 500, 0, "nested too deeply"),
        ("keys:\n- 5\n", 2, "mapping"),
        (f"keys:\n- {{id: abcdefghijkl, hash: {HASH}}}\n", 2, "`sub` is missing"),
        (
            f"keys:\n- {{id: abcdefghijkl, hash: {HASH}, sub: s, scope: [a]}}\n",
            2,
            "did you mean 'scopes'",
        ),
        ("keys:\n- {id: abcdefghijkl, hash: xyz, sub: s}\n", 2, "hex"),
        (f"keys:\n- {{id: abcdefghijkl, hash: {HASH}, sub: 5}}\n", 2, "quotes"),
        (f"keys:\n- {{id: abcdefghijkl, hash: {HASH}, sub: s, scopes: a}}\n", 2, "list"),
        (f"keys:\n- {{id: abcdefghijkl, hash: {HASH}, sub: s, state: off}}\n", 2, "revoked"),
        (f"keys:\n- {{id: abcdefghijkl, hash: {HASH}, sub: s, expires: soon}}\n", 2, "time"),
        (
            f"keys:\n- {{id: abcdefghijkl, hash: {HASH}, sub: s, addresses: [x]}}\n",
            2,
            "IPv4 or IPv6",
        ),
    ],
    ids=lambda value: "",
)
def test_a_bad_key_file_names_line_and_fault(text: str, line: int, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_key_file(text, file="k.yaml")

    problem = error.value.problems[0]
    assert (problem.where.file, problem.where.line) == ("k.yaml", line)
    assert message in problem.message
