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
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from bff.auth.api_keys import ApiKeyRecord, check_record
from bff.core.errors import ConfigError
from bff.core.problems import Problem, Where, nearest

__all__ = ["FILE_BYTES", "format_record", "parse_key_file"]

FILE_BYTES: Final = 16 * 1024 * 1024
_TEXTS: Final = ("id", "hash", "sub", "tenant", "tier", "state")
_LISTS: Final = ("scopes", "addresses")
_TIMES: Final = ("not_before", "expires")
_NEEDED: Final = ("id", "hash", "sub")
_TEXT_TAG: Final = "tag:yaml.org,2002:str"
_NAMES: Final = (*_TEXTS, *_LISTS, *_TIMES)


def parse_key_file(text: str, *, file: str = "keys.yaml") -> list[ApiKeyRecord]:
    """The records of a key file.

    Raises ConfigError with every problem found; `file` names the place in them.
    """
    entries = _items(_compose(text, file))
    if entries is None:
        raise ConfigError([Problem(Where(file), "a key file holds one list, `keys`")])
    problems: list[Problem] = []
    records: list[ApiKeyRecord] = []
    for index, entry in enumerate(entries):
        mark = entry.start_mark
        where, path = Where(file, mark.line + 1, mark.column + 1), f"keys[{index}]"
        try:
            records.append(_record(entry))
        except ValueError as error:
            problems.append(Problem(where, str(error), path=path))
    if problems:
        raise ConfigError(problems)
    return records


def format_record(record: ApiKeyRecord) -> str:
    """The record as an entry of `keys:`, to be added to a key file."""
    # Digits alone, or with an e among them, would be read as a number.
    texts = {"id": record.id, "hash": record.secret_hash.hex(), "sub": record.sub}
    lines = [f"{name}: {_quoted(value)}" for name, value in texts.items()]
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


def _compose(text: str, file: str) -> Node | None:
    """The document as nodes: nothing is constructed of it, so no time, number or tag can fail."""
    if len(text) > FILE_BYTES:
        raise ConfigError([Problem(Where(file), f"more than {FILE_BYTES} bytes")])
    try:
        root: Node | None = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = Where(file) if mark is None else Where(file, mark.line + 1, mark.column + 1)
        raise ConfigError([Problem(where, f"not YAML: {error.problem}")]) from error
    except ReaderError as error:
        before = text[: error.position].replace("\r\n", "\n").replace("\r", "\n")
        where = Where(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise ConfigError([Problem(where, "a character that is not allowed in YAML")]) from error
    except (YAMLError, ValueError, OverflowError) as error:
        # ValueError and OverflowError: an escape that names no character.
        why = str(error).partition("\n")[0][:200]
        raise ConfigError([Problem(Where(file), f"not YAML: {why}")]) from error
    except RecursionError as error:
        raise ConfigError([Problem(Where(file), "nested too deeply")]) from error
    return root


def _items(root: Node | None) -> list[Node] | None:
    """The entries under `keys`, which stands alone; None for any other document."""
    if not isinstance(root, MappingNode) or len(root.value) != 1:
        return None
    ((key, entries),) = root.value
    if key.value != "keys" or not isinstance(entries, SequenceNode):
        return None
    items: list[Node] = entries.value
    return items


def _record(node: Node) -> ApiKeyRecord:
    """Raises ValueError saying what is wrong, without values but those that are no secret."""
    entry = _entry(node)
    for name in _NEEDED:
        if name not in entry or entry[name].value in ("", "~", "null"):
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


def _entry(node: Node) -> dict[str, Node]:
    if not isinstance(node, MappingNode):
        raise ValueError("an entry is a mapping")  # noqa: TRY004 - every fault here is a Problem
    entry: dict[str, Node] = {}
    for key, value in node.value:
        name = str(key.value) if isinstance(key, ScalarNode) else "a key that is no text"
        if name not in _NAMES:
            close = nearest(name, _NAMES)
            raise ValueError(
                f"{name[:60]!r} is not known" + (f"; did you mean {close!r}?" if close else "")
            )
        if name in entry:
            raise ValueError(f"`{name}` is written twice")
        entry[name] = value
    return entry


def _is_text(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == _TEXT_TAG


def _text(entry: Mapping[str, Node], name: str) -> str:
    node = entry.get(name)
    if node is None:
        return ""
    if not _is_text(node):
        raise ValueError(f"`{name}` is text; write it in quotes")
    return str(node.value)


def _hash(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise ValueError("`hash` is 64 hex digits") from error


def _list(entry: Mapping[str, Node], name: str) -> tuple[str, ...]:
    node = entry.get(name)
    if node is None:
        return ()
    if not isinstance(node, SequenceNode) or not all(map(_is_text, node.value)):
        raise ValueError(f"`{name}` is a list of texts")
    return tuple(str(item.value) for item in node.value)


def _time(entry: Mapping[str, Node], name: str) -> float:
    node = entry.get(name)
    if node is None:
        return 0.0
    try:
        at = datetime.fromisoformat(node.value if isinstance(node, ScalarNode) else "")
        # YAML times without a zone are UTC.
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"`{name}` is a time such as 2027-01-01T00:00:00Z") from error
