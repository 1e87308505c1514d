"""The file of API keys: hashes and what each key may do, never a secret.

```yaml
keys:
  - id: 7f3k2m9q1x0a
    hash: 5d41...                  # 64 hex digits
    sub: svc-billing
    tenant: acme                   # optional, as all below
    tier: premium
    scopes: [orders.read]
    addresses: [10.0.0.0/8]
    not_before: 2026-01-01T00:00:00Z
    expires: 2027-01-01T00:00:00Z
    state: active                  # or revoked
```
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from bff.auth.api_keys import ApiKeyRecord, check_record
from bff.core.errors import ConfigError
from bff.core.exchange import Json
from bff.core.problems import Problem, Where, nearest

__all__ = ["FILE_BYTES", "format_record", "parse_key_file"]

FILE_BYTES: Final = 16 * 1024 * 1024
_TEXTS: Final = ("id", "hash", "sub", "tenant", "tier", "state")
_LISTS: Final = ("scopes", "addresses")
_TIMES: Final = ("not_before", "expires")
_NEEDED: Final = ("id", "hash", "sub")
_NAMES: Final = (*_TEXTS, *_LISTS, *_TIMES)


def parse_key_file(text: str, *, file: str = "keys.yaml") -> list[ApiKeyRecord]:
    """The records of a key file.

    Raises ConfigError with every problem found; `file` names the place in them.
    """
    document = _load(text, file)
    entries = document.get("keys") if isinstance(document, CommentedMap) else None
    if not isinstance(entries, CommentedSeq) or len(document) != 1:
        raise ConfigError([Problem(Where(file), "a key file holds one list, `keys`")])
    problems: list[Problem] = []
    records: list[ApiKeyRecord] = []
    for index, entry in enumerate(entries):
        line, column = entries.lc.item(index)
        where, path = Where(file, line + 1, column + 1), f"keys[{index}]"
        try:
            records.append(_record(entry))
        except ValueError as error:
            problems.append(Problem(where, str(error), path=path))
    if problems:
        raise ConfigError(problems)
    return records


def format_record(record: ApiKeyRecord) -> str:
    """The record as an entry of `keys:`, to be added to a key file."""
    lines = [f"id: {record.id}", f"hash: {record.secret_hash.hex()}", f"sub: {_quoted(record.sub)}"]
    lines += [
        f"{name}: {_quoted(value)}"
        for name, value in (("tenant", record.tenant), ("tier", record.tier))
        if value
    ]
    lines += [
        f"{name}: [{', '.join(map(_quoted, values))}]"
        for name, values in (("scopes", record.scopes), ("addresses", record.addresses))
        if values
    ]
    lines += [
        f"{name}: {datetime.fromtimestamp(unix_s, UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}"
        for name, unix_s in (
            ("not_before", record.not_before_unix_s),
            ("expires", record.expires_unix_s),
        )
        if unix_s
    ]
    lines.append(f"state: {record.state}")
    return "  - " + "\n    ".join(lines) + "\n"


def _quoted(text: str) -> str:
    # A YAML single-quoted scalar: only the quote itself needs care.
    return "'" + text.replace("'", "''") + "'"


def _load(text: str, file: str) -> Json:
    if len(text) > FILE_BYTES:
        raise ConfigError([Problem(Where(file), f"more than {FILE_BYTES} bytes")])
    try:
        return YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = Where(file) if mark is None else Where(file, mark.line + 1, mark.column + 1)
        raise ConfigError([Problem(where, f"not YAML: {error.problem}")]) from error
    except ReaderError as error:
        before = text[: error.position].replace("\r\n", "\n").replace("\r", "\n")
        where = Where(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise ConfigError([Problem(where, "a character that is not allowed in YAML")]) from error
    except (YAMLError, ValueError) as error:
        # ValueError: a time or a number that there is not.
        why = str(error).partition("\n")[0][:200]
        raise ConfigError([Problem(Where(file), f"not YAML: {why}")]) from error
    except RecursionError as error:
        raise ConfigError([Problem(Where(file), "nested too deeply")]) from error


def _record(entry: Json) -> ApiKeyRecord:
    """Raises ValueError saying what is wrong, without values but those that are no secret."""
    if not isinstance(entry, CommentedMap):
        raise ValueError("an entry is a mapping")  # noqa: TRY004 - every fault here is a Problem
    for name in entry:
        if name not in _NAMES:
            close = nearest(str(name), _NAMES)
            raise ValueError(
                f"{name!r} is not known" + (f"; did you mean {close!r}?" if close else "")
            )
    for name in _NEEDED:
        if not entry.get(name):
            raise ValueError(f"`{name}` is missing")
    texts = {name: _text(entry, name) for name in _TEXTS}
    state = texts["state"] or "active"
    if state not in ("active", "revoked"):
        raise ValueError("`state` is active or revoked")
    record = ApiKeyRecord(
        id=texts["id"],
        secret_hash=_hash(texts["hash"]),
        sub=texts["sub"],
        tenant=texts["tenant"],
        tier=texts["tier"],
        scopes=_list(entry, "scopes"),
        addresses=_list(entry, "addresses"),
        not_before_unix_s=_time(entry, "not_before"),
        expires_unix_s=_time(entry, "expires"),
        state="active" if state == "active" else "revoked",
    )
    check_record(record)
    return record


def _text(entry: Mapping[str, Json], name: str) -> str:
    value = entry.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"`{name}` is text; write it in quotes")  # noqa: TRY004 - as above
    return str(value)


def _hash(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise ValueError("`hash` is 64 hex digits") from error


def _list(entry: Mapping[str, Json], name: str) -> tuple[str, ...]:
    value = entry.get(name, ())
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"`{name}` is a list of texts")
    return tuple(map(str, value))


def _time(entry: Mapping[str, Json], name: str) -> float:
    value = entry.get(name)
    if value is None:
        return 0.0
    try:
        # The loader may have made it a time already; its text form reads back as one.
        at = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise ValueError(f"`{name}` is a time such as 2027-01-01T00:00:00Z") from error
    # YAML times without a zone are UTC.
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
