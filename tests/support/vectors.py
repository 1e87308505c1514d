"""Rows of `tests/vectors/*.yaml`: what they may say, and the mapping files that they run under.

    spec: transcoding                  # rules below are transcoding.<number>
    configs:
      plain:
        gateway: {transcoding: {preset: strict}}       # more keys of the gateway file
        service: {caps: {body: 1KiB}}                  # more keys of the service file
        routes:                                        # short or as in a mapping file
          - Get GET /k/{text}
          - First POST /k/{text} *
          - {rpc: Second, get: "/s/{i32}", transcoding: {query_unknown: ignore}}
    rows:
      - {rule: 55, config: plain, send: "GET /k/1?i32=2", saw: {text: "1", i32: 2}}

A row is one of three. One that is **sent** (`send`) goes to a gateway process of its `config` (by
default the file's only one) as exactly these octets, and on to a service:

| key | meaning |
|---|---|
| `send` | method and target; in it and in `body`, `<<x*3>>` stands for `xxx` |
| `headers` | further header lines, as they are (`"X-A: b"`); without `content-length` the body's is sent |
| `body`, `body64` | the body as text, or octets in base64 |
| `raw` | all octets of the request, in place of the three above (`\\r\\n` is up to the row) |
| `answer` | what the service says, see `Answer`; by default the message that it was sent |
| `rpc`, `saw` | the method that was called, its message as JSON (a list where the client streams) |
| `metadata` | metadata that the service saw: text, list of texts, or null for absent |
| `status`, `reason` | HTTP status (200, with a reason 400), ErrorInfo's reason; then nothing was called |
| `names` | fields of BadRequest, in order |
| `allow`, `fields` | the field Allow; header fields of the reply (null: absent) |
| `reply`, `text`, `octets64` | the reply's body as JSON, as text, as base64 |
| `says`, `hides` | texts that the reply's body says, or does not: itself, or in details that it has in binary |

One with a **template** (`template: "/{}"`) is a mapping with this path, which `bff check` must refuse
with `says`, pointing at `column` of the template. With `sound: true` it must pass, with `warns` pass
and say these texts. One with **load** gives the list under `routes:` as text, and `at: [line, column]`
counts in it. `rpc`, `method`, `body` and `service` (keys of the service file) say more about either.
"""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from ruamel.yaml import YAML

from tests.support.vector_kitchen import SERVICE, Answer

__all__ = ["Config", "Row", "Vector", "files_of", "mapping_of", "read_rows", "request_octets"]

VECTORS = Path(__file__).parents[1] / "vectors"
_REPEAT = re.compile(r"<<(.+?)\*([0-9]+)>>", re.DOTALL)
_METHODS = ("get", "put", "post", "delete", "patch")
# Nobody runs dry, nothing is tried twice, a service that was told to fail is asked again.
_GATEWAY: dict[str, Any] = {
    "gateway": {
        "name": "vectors",
        "domain": "vectors.example",
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "drain": {"grace": "0s", "finish": "5s"},
    },
    "tiers": {"guest": "30000/min"},
    "limiter": {"failures": "30000/min", "per_address": {"rate": "10000/s", "burst": 10_000}},
}


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One gateway: keys of its two files, and its routes."""

    routes: list[str | dict[str, Any]]
    gateway: dict[str, Any] = {}
    service: dict[str, Any] = {}


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row; the module's docstring says what each key means."""

    rule: int | str | list[int | str]
    name: str = ""
    config: str = ""
    send: str | None = None
    headers: list[str] = []
    body: str = ""
    body64: str = ""
    raw: str | None = None
    answer: Answer = Answer()
    rpc: str | None = None
    saw: Any = msgspec.UNSET
    metadata: dict[str, str | list[str] | None] = {}
    status: int | None = None
    reason: str | None = None
    names: list[str] | None = None
    allow: str | None = None
    fields: dict[str, str | None] = {}
    reply: Any = msgspec.UNSET
    text: str | None = None
    octets64: str | None = None
    says: list[str] = []
    hides: list[str] = []
    template: str | None = None
    column: int | None = None
    load: str | None = None
    at: tuple[int, int] | None = None
    sound: bool = False
    warns: list[str] = []
    method: str = "get"
    service: dict[str, Any] = {}

    @property
    def is_sent(self) -> bool:
        """Whether it is a request; else it is a mapping."""
        return self.send is not None or self.raw is not None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rows: list[Row]
    spec: str = "transcoding"
    configs: dict[str, Config] = {}


class Vector(msgspec.Struct, frozen=True):
    """A row with its place: an id with the rule, its rules as markers want them, its gateway."""

    id: str
    rules: tuple[str, ...]
    row: Row
    config: str


def read_rows() -> Iterator[Vector]:
    """Every row of every file. Raises ValueError for one that says what no row can say."""
    for path in sorted(VECTORS.glob("*.yaml")):
        try:
            file = msgspec.convert(YAML(typ="safe").load(path.read_text()), _File)
        except msgspec.ValidationError as error:
            raise ValueError(f"{path.name}: {error}") from error
        names: set[str] = set()
        for row in file.rows:
            numbers = row.rule if isinstance(row.rule, list) else [row.rule]
            rules = tuple(str(n) if "." in str(n) else f"{file.spec}.{n}" for n in numbers)
            what = row.name or row.send or row.template or row.load or row.raw or ""
            name = " ".join(f"{rules[0]} {what}".split())[:100]
            while name in names:
                name += "'"
            names.add(name)
            yield Vector(name, rules, row, _config_of(row, file, path) if row.is_sent else "")


def _config_of(row: Row, file: _File, path: Path) -> str:
    """The config as text: equal ones share a process, whichever file they stand in."""
    name = row.config or next(iter(file.configs), "")
    if name not in file.configs:
        raise ValueError(f"{path.name}: a row names the config {name!r}, which is not there")
    return msgspec.json.encode(file.configs[name]).decode()


def files_of(config: Config, port: int, types: Path) -> dict[str, str]:
    """The mapping files of a config, by name; JSON is YAML."""
    gateway = _merged(_GATEWAY, config.gateway)
    gateway["descriptors"] = [{"set": str(types)}]
    cook = {"endpoints": [f"127.0.0.1:{port}"], "retry": "off", "breaker": "off"}
    gateway = _merged({"upstreams": {"cook": cook}}, gateway)
    routes = [
        _route(each, at) if isinstance(each, str) else each for at, each in enumerate(config.routes)
    ]
    service = {"service": SERVICE, "upstream": "cook", **config.service, "routes": routes}
    return {"gateway.yaml": json.dumps(gateway), "cook.yaml": json.dumps(service)}


def _merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    made = dict(base)
    for key, value in more.items():
        both = isinstance(value, dict) and isinstance(made.get(key), dict)
        made[key] = _merged(made[key], value) if both else value
    return made


def _route(text: str, number: int) -> dict[str, Any]:
    """`Get GET /k/{text} child` as a route of a mapping file; the last word is its body."""
    rpc, method, template, *body = text.split(" ")
    route: dict[str, Any] = {"rpc": rpc, "id": f"r{number}"}
    if method.lower() in _METHODS:
        route[method.lower()] = template
    else:
        route["custom"] = {"kind": method, "path": template}
    if body:
        route["body"] = body[0]
    return route


def request_octets(row: Row) -> bytes:
    """The request as it goes over the socket."""
    if row.raw is not None:
        return _repeated(row.raw).encode("latin-1")
    body = base64.b64decode(row.body64) if row.body64 else _repeated(row.body).encode()
    lines = [f"{_repeated(row.send or '')} HTTP/1.1", "Host: gateway", "Connection: close"]
    lines += [_repeated(line) for line in row.headers]
    if body and not any(
        line.lower().startswith(("content-length:", "transfer-")) for line in row.headers
    ):
        lines.append(f"Content-Length: {len(body)}")
    # A character up to U+00FF is one octet, so that rows can hold what is no UTF-8.
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _repeated(text: str) -> str:
    return _REPEAT.sub(lambda found: found[1] * int(found[2]), text)


def mapping_of(row: Row, types: Path) -> tuple[dict[str, str], tuple[int, int] | None]:
    """The files of a row that is only loaded, and the line and column where it wants its problem."""
    config = Config(routes=[], gateway={})
    files = files_of(config, 1, types)
    head = [f"service: {SERVICE}", "upstream: cook"]
    head += [f"{key}: {json.dumps(value)}" for key, value in row.service.items()]
    head.append("routes:")
    if row.load is not None:
        text, at = row.load, row.at and (row.at[0] + len(head), row.at[1])
    else:
        template = _repeated(row.template or "")
        body = f", body: {json.dumps(row.body)}" if row.body else ""
        before = f"  - {{rpc: {row.rpc or 'Get'}, {row.method}: "
        text = f"{before}{json.dumps(template, ensure_ascii=False)}{body}}}\n"
        # One more for the quote.
        at = (len(head) + 1, len(before) + 1 + row.column) if row.column else None
    files["cook.yaml"] = "\n".join([*head, text])
    return files, at
