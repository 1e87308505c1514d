"""API keys: their form, how they are made, kept as keyed hashes, and checked in equal time.

A key is `bff_<12-character id>_<43 characters: 32 random bytes>_<6-character checksum>`. Only the
id and HMAC-SHA-256(pepper, secret) are stored. Files of records are `key_file.py`.
"""

import hmac
import ipaddress
import secrets
import zlib
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final, Literal

from joserfc.util import urlsafe_b64encode
from msgspec import Struct

from bff.auth.faults import KeyFault
from bff.core.exchange import Principal
from bff.core.ports import Clock

__all__ = ["ApiKeyRecord", "ApiKeys", "check_record", "create_key", "hash_secret"]

_PREFIX: Final = b"bff_"
_ID_CHARS: Final = 12
_SECRET_CHARS: Final = 43
_CHECK_CHARS: Final = 6
_ID_END: Final = len(_PREFIX) + _ID_CHARS
_SECRET_END: Final = _ID_END + 1 + _SECRET_CHARS
_KEY_CHARS: Final = _SECRET_END + 1 + _CHECK_CHARS
_PEPPER_BYTES: Final = 16
# A new and an old secret while clients change over.
_SECRETS_PER_ID: Final = 2

_BASE62: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"

# Compared with where there is nothing to compare, so that an unknown id costs the same work.
_NO_HASH: Final = bytes(32)


class ApiKeyRecord(Struct, frozen=True, kw_only=True):
    """What is stored of one secret. Times are Unix seconds, 0 = open end; `addresses` are CIDRs.

    Two records may share an id while a secret is replaced. `secret_hash` is `hash_secret`'s.
    """

    id: str
    secret_hash: bytes
    sub: str
    tenant: str = ""
    tier: str = ""
    scopes: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    not_before_unix_s: float = 0.0
    expires_unix_s: float = 0.0
    state: Literal["active", "revoked"] = "active"


class _Entry(Struct, frozen=True):
    record: ApiKeyRecord
    principal: Principal
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


def hash_secret(pepper: bytes, secret: bytes) -> bytes:
    """HMAC-SHA-256(pepper, secret); `secret` is the 43 characters of the key."""
    return hmac.digest(pepper, secret, "sha256")


def create_key(
    *,
    pepper: bytes,
    sub: str,
    tenant: str = "",
    tier: str = "",
    scopes: Sequence[str] = (),
    addresses: Sequence[str] = (),
    not_before_unix_s: float = 0.0,
    expires_unix_s: float = 0.0,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> tuple[str, ApiKeyRecord]:
    """A new key: its text, shown once and kept nowhere, and the record to store.

    `random_bytes` must be a cryptographic source. Raises ValueError for a short pepper, an empty
    `sub` or an address that is no CIDR.
    """
    _check_pepper(pepper)
    drawn = int.from_bytes(random_bytes(16), "big")
    key_id = ""
    for _ in range(_ID_CHARS):
        drawn, digit = divmod(drawn, len(_ID_ALPHABET))
        key_id += _ID_ALPHABET[digit]
    secret = urlsafe_b64encode(random_bytes(32))
    head = _PREFIX + key_id.encode() + b"_" + secret
    record = ApiKeyRecord(
        id=key_id,
        secret_hash=hash_secret(pepper, secret),
        sub=sub,
        tenant=tenant,
        tier=tier,
        scopes=tuple(scopes),
        addresses=tuple(addresses),
        not_before_unix_s=not_before_unix_s,
        expires_unix_s=expires_unix_s,
    )
    check_record(record)
    return (head + b"_" + _checksum(head)).decode(), record


class ApiKeys:
    """The records of one configuration, ready to judge keys.

    Raises ValueError for a pepper under 16 bytes, an id with more than two secrets, or a record
    that could not be used (bad id, hash, CIDR or subject).
    """

    __slots__ = ("_by_id", "_pepper", "_remembered", "_unix_s")

    def __init__(self, *, records: Sequence[ApiKeyRecord], pepper: bytes, clock: Clock) -> None:
        _check_pepper(pepper)
        self._pepper = pepper
        self._unix_s = clock.unix_s
        self._by_id: dict[bytes, list[_Entry]] = {}
        for record in records:
            entries = self._by_id.setdefault(record.id.encode(), [])
            entries.append(_entry(record))
            if len(entries) > _SECRETS_PER_ID:
                raise ValueError(f"API key {record.id} has more than {_SECRETS_PER_ID} secrets")
        # Only keys that proved right enter, so the records bound it.
        self._remembered: dict[bytes, _Entry] = {}

    def remembered(self, key: bytes, address: str) -> Principal | None:
        """The caller of a key checked before; time, state and address are judged anew.

        None for a key not seen yet. Raises KeyFault.
        """
        entry = self._remembered.get(sha256(key).digest())
        return None if entry is None else self._admit(entry, address)

    def verify(self, key: bytes, address: str) -> Principal:
        """The caller of this key. Raises KeyFault: bad form, unknown, wrong, over, wrong address."""
        if (
            len(key) != _KEY_CHARS
            or not key.startswith(_PREFIX)
            or key[_ID_END] != ord("_")
            or key[_SECRET_END] != ord("_")
        ):
            raise KeyFault("not the form of an API key")
        # Stops typing errors and scanners without a look-up; it proves nothing, so any compare does.
        if _checksum(key[:_SECRET_END]) != key[_SECRET_END + 1 :]:
            raise KeyFault("checksum does not fit")
        entries = self._by_id.get(key[len(_PREFIX) : _ID_END], [])
        shown = hash_secret(self._pepper, key[_ID_END + 1 : _SECRET_END])
        found: _Entry | None = None
        # Always as many compares as an id may have secrets.
        for index in range(_SECRETS_PER_ID):
            entry = entries[index] if index < len(entries) else None
            stored = _NO_HASH if entry is None else entry.record.secret_hash
            if hmac.compare_digest(shown, stored) and entry is not None:
                found = entry
        if found is None:
            raise KeyFault("unknown key or wrong secret")
        self._remembered[sha256(key).digest()] = found
        return self._admit(found, address)

    def _admit(self, entry: _Entry, address: str) -> Principal:
        record = entry.record
        now_unix_s = self._unix_s()
        if record.state != "active":
            raise KeyFault("key is revoked")
        if now_unix_s < record.not_before_unix_s:
            raise KeyFault("key is not valid yet")
        if record.expires_unix_s and now_unix_s >= record.expires_unix_s:
            raise KeyFault("key has expired")
        if entry.networks and not _lies_in(address, entry.networks):
            raise KeyFault("key may not be used from this address")
        return entry.principal


def _lies_in(
    address: str, networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def check_record(record: ApiKeyRecord) -> None:
    """Raise ValueError, saying why, for a record that could not be used."""
    if len(record.id) != _ID_CHARS or not set(_ID_ALPHABET).issuperset(record.id):
        raise ValueError(f"API key id {record.id!r} is not {_ID_CHARS} of 0-9 a-z")
    if len(record.secret_hash) != len(_NO_HASH) or record.secret_hash == _NO_HASH:
        raise ValueError(f"API key {record.id}: the hash is not 32 bytes of HMAC-SHA-256")
    if not record.sub or not record.sub.isprintable():
        raise ValueError(f"API key {record.id}: `sub` is empty or has controls")
    for address in record.addresses:
        ipaddress.ip_network(address)


def _entry(record: ApiKeyRecord) -> _Entry:
    check_record(record)
    principal = Principal(
        kind="api_key",
        sub=record.sub,
        tenant=record.tenant,
        tier=record.tier,
        scopes=frozenset(record.scopes),
        expires_unix_s=record.expires_unix_s,
        key_id=record.id,
        provider="api_keys",
    )
    return _Entry(record, principal, tuple(map(ipaddress.ip_network, record.addresses)))


def _check_pepper(pepper: bytes) -> None:
    if len(pepper) < _PEPPER_BYTES:
        raise ValueError(f"the pepper has {len(pepper)} bytes, {_PEPPER_BYTES} are needed")


def _checksum(text: bytes) -> bytes:
    """CRC-32 in base 62, six digits: enough to tell a mistyped or cut key from a whole one."""
    rest = zlib.crc32(text)
    digits = bytearray()
    for _ in range(_CHECK_CHARS):
        rest, digit = divmod(rest, 62)
        digits.append(_BASE62[digit])
    return bytes(reversed(digits))
