"""Files that operators write: whatever stands in them, they are what compiles, or problems with places."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from bff.auth.api_keys import ApiKeyRecord
from bff.auth.key_file import format_record, parse_key_file
from bff.config.documents import Document
from bff.config.load import load
from bff.config.service_config import read_service_config
from bff.config.yaml_tree import Source, lines_of, parse, plain
from bff.core.errors import ConfigError
from bff.core.events import silent
from bff.core.ports import SystemClock, system_random
from bff.core.problems import Problem
from bff.ratelimit.memory_store import MemoryStore
from bff.snapshot.compiler import Compiled, Compiler
from bff.snapshot.parts import Parts
from bff.snapshot.type_sources import Reflected, read_sources
from bff.transcoding.reflection import ReflectionError
from tests.support.proto_sets import compile_set

__all__ = ["KEY_FILE_SEEDS", "MAPPING_SEEDS", "YAML_SEEDS", "key_files", "mappings", "yaml"]

_SERVICE = """
syntax = "proto3";
package sample.v1;
message Item { string id = 1; repeated string tags = 2; int64 count = 3; }
message GetRequest { string id = 1; int32 page = 2; repeated string ids = 3; }
message GetReply { Item item = 1; repeated Item items = 2; string next = 3; }
service Items {
  rpc Get(GetRequest) returns (GetReply);
  rpc Watch(GetRequest) returns (stream Item);
}
"""
_GATEWAY = """
format: 1
descriptors: [{set: set.binpb}]
gateway: {listen: "127.0.0.1:0", trusted_proxies: [10.0.0.0/8]}
upstreams:
  items: {endpoints: ["127.0.0.1:50051"], timeout: 2s, retry: {codes: [UNAVAILABLE], budget: 20%}}
"""
_ITEMS = """
service: sample.v1.Items
upstream: items
routes:
- {rpc: Get, get: "/v1/items/{id}"}
- {rpc: Watch, get: "/v1/watch", stream: {default: sse}}
"""
_REST = """
auth:
  issuers: {main: {issuer: "https://id.example", audience: [a], claims: {tenant: t}}}
tiers: {guest: 60/min, gold: {rate: 5/s, burst: 9}}
limits: {slow: {rate: 1/s, by: [tenant, "claim:a"]}}
graphql: {introspection: open}
---
aggregate: GET /v1/home/{id}
sources:
  first: {rpc: items.Get, with: {id: path.id}}
  more: {rpc: items.Get, with: {ids: "first.items[].id"}, on_error: {default: null}}
reply: {item: first.item, more: "more.items[?count > '1'].{a: id}"}
"""
_SAMPLE = Path(__file__).parents[2] / "mappings"
# Files behind each other, each under a line `### name`.
_MARK = b"### "
MAPPING_SEEDS = (
    *((_SAMPLE / name).read_bytes() for name in ("gateway.yaml", "home.yaml", "orders.yaml")),
    _GATEWAY.encode() + b"---" + _ITEMS.encode(),
    _GATEWAY.encode() + _REST.encode() + b"\n### items.yml" + _ITEMS.encode(),
    _GATEWAY.encode() + b"auth: {api_keys: {file: keys.yaml, pepper: env:HOME}}\n### keys.yaml\nkeys: []\n",
    b"### a.json\n" + json.dumps({"upstreams": {"a": {"endpoints": ["h:1"]}}}).encode() + b"\n### b.yaml\n{}",
    _GATEWAY.encode() + b"---" + _ITEMS.encode().replace(b"Get, get", b"Got, gte").replace(b"{id}", b"{idd=**}"),
    b'descriptors: [{set: "set\\0.binpb"}]\nupstreams: {a: {endpoints: [1], tls: {ca: /dev/zero}}}',
    b"gateway: &a [*a, &b {x: *b}]\nupstreams: {<<: *b, a: !!python/object:x {}}\nupstreams: 99999999999999999999",
)  # fmt: skip
YAML_SEEDS = (
    b"a: &x [1, 0x1F, 0o17, -0.5e3, .inf, ~, 'it''s', \"\\u00e4\\ud83d\\ude00\"]\nb: *x\n",
    b'{"a": [1.5, true, null, {"b": "\\ud83d\\ude00\\n"}], "c": -12}',
    b'a: 1\nb: "\\UFFFFFFFF\\U00110000"',
    b"- |2-\n  text\n - x\n- >\n  folded\n\n  more\n? key\n: value\n--- # next\n...\n%YAML 1.1\n---\n\tx: 1\n",
    b"a: {b: {c: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}}",
    b"a0: &a0 [x, x]\na1: &a1 [*a0, *a0]\na2: &a2 [*a1, *a1]\na3: &a3 [*a2, *a2]\na4: &a4 [*a3, *a3]\nb: [*a4, *a4]",
    'a: \u2028b\x85c: "\u2029"\r\n d: 1\r e: \ud7ff'.encode(), b"\xff\xfea\x00:\x00 \x001\x00", b"\xef\xbb\xbfa: 1\x00",
)  # fmt: skip
_RECORD = ApiKeyRecord(
    id="7f3k2m9q1x0a", secret_hash=bytes(32), sub="it's", tenant="t", tier="gold", scopes=("a.b", "c"),
    addresses=("10.0.0.0/8",), not_before_unix_s=1_767_225_600.0, expires_unix_s=1_798_761_600.0, state="active",
)  # fmt: skip
KEY_FILE_SEEDS = (
    b"keys:\n" + format_record(_RECORD).encode(),
    b"keys:\n- {id: 7f3k2m9q1x0a, hash: '" + b"0" * 64 + b"', sub: a, not_before: 2026-01-01, state: revoked}\n",
    b"keys: &a [*a, !!timestamp 2026-13-45T99:99:99Z, !!int x, {? [1]: 2}, 9999-99-99]", b"keys: [[[[[[[[{}]]]]]]]]",
)  # fmt: skip

_FOLDER = tempfile.TemporaryDirectory(prefix="bff-fuzz-")
_ROOT = Path(_FOLDER.name)
_SET = compile_set(_SERVICE)
_MOST_LINES = 400


def mappings(raw: bytes) -> None:
    """All files at once: what loads compiles or has problems, and its digest is that of its content."""
    files = _files(raw)
    for path in _ROOT.iterdir():
        path.unlink()
    (_ROOT / "set.binpb").write_bytes(_SET)
    for name, content in files.items():
        (_ROOT / name).write_bytes(content)
    try:
        document = load(_ROOT)
    except ConfigError as error:
        _judge(error.problems, files)
        assert error.problems  # noqa: PT017 - most inputs raise
        assert {problem.code[:5] for problem in error.problems} == {"BFF-C"}  # noqa: PT017 - as above
        return
    _judge(document.warnings, files)
    assert load(_ROOT).digest == document.digest
    _is_served(document, files)


def _is_served(document: Document, files: dict[str, bytes]) -> None:
    """Loaded, it compiles; each route that was written is found by its own path."""
    written = document.gateway.value
    if written.gateway.protos or any(source.protos for source in written.descriptors):
        # A compiler process for each input; `protos` has its own target.
        return
    try:
        compiled = _compiled(document)
    except ConfigError as error:
        _judge(error.problems, files)
        return
    _judge(compiled.warnings, files)


def _compiled(document: Document) -> Compiled:
    clock = SystemClock()

    def connect(*_settings: object) -> Any:
        return None

    def make_store(_settings: object) -> MemoryStore:
        return MemoryStore(clock=clock)

    parts = Parts(
        clock=clock, random=system_random(), emit=silent, connect=connect, make_store=make_store
    )
    return Compiler(parts).compile(document, read_sources(document, fetch=_unreached))


def _unreached(_source: Reflected) -> NoReturn:
    raise ReflectionError("nothing is asked here")


def _files(raw: bytes) -> dict[str, bytes]:
    """The files by name; text before the first mark is gateway.yaml."""
    files = {"gateway.yaml": b""}
    name = "gateway.yaml"
    for line in raw.splitlines(keepends=True):
        if line.startswith(_MARK) and len(files) < 5:
            word = line[len(_MARK) :].strip().decode("latin-1")
            name = word if word in {"a.json", "b.yaml", "items.yml", "keys.yaml"} else "c.yaml"
            files[name] = b""
        else:
            files[name] += line
    return files


def _judge(problems: Iterable[Problem], files: dict[str, bytes]) -> None:
    """Each says what is wrong in a line, at a place that there is, and shows that line."""
    for problem in problems:
        assert problem.message
        assert str(problem).isprintable(), problem
        where = problem.where
        if not where.line:
            continue
        assert where.column >= 1, problem
        content = files.get(Path(where.file).name)
        if content is None:
            continue
        lines = lines_of(content.decode("utf-8-sig", "replace"))
        assert where.line <= len(lines), problem
        assert where.column <= len(lines[where.line - 1]) + 1, problem
        assert problem.line_text in {"", lines[where.line - 1][:200]}, problem


def yaml(raw: bytes) -> None:
    """A text is trees or problems; JSON is the tree that JSON says; written as JSON it is the same tree."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return
    nodes, problems = parse(Source(name="a.yaml", path="a.yaml", lines=lines_of(text)), text)
    _judge(problems, {"a.yaml": raw})
    trees = []
    for node in nodes:
        tree, _, too_much = plain(node)
        if too_much is not None:
            _judge([too_much], {"a.yaml": raw})
            return
        trees.append(tree)
    assert len(json.dumps(trees)) <= 40 * len(raw) + 10_000 * (len(raw) + 8)
    if problems:
        return
    for tree in trees:
        assert _by_json(json.dumps(tree)) == [tree]
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return
    assert trees == ([] if told is None else [told])


def _by_json(text: str) -> list[Any]:
    nodes, problems = parse(Source(name="", path="", lines=(text,)), text)
    assert not problems, problems
    return [plain(node)[0] for node in nodes]


def key_files(raw: bytes) -> None:
    """A key file, and a service config: records or rules, or problems; records written again are the same."""
    (_ROOT / "rules.yaml").write_bytes(raw)
    config = read_service_config(_ROOT / "rules.yaml", "rules.yaml")
    _judge((*config.problems, *config.warnings), {"rules.yaml": raw})
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return
    try:
        records = parse_key_file(text, file="keys.yaml")
    except ConfigError as error:
        assert error.problems  # noqa: PT017 - most inputs raise
        _judge(error.problems, {"keys.yaml": raw})
        return
    whole = "keys:\n" + "".join(map(format_record, records)) if records else "keys: []"
    assert parse_key_file(whole) == records
