"""google service-config files: their `http: rules:` as HTTP bindings by selector. The rest is not ours to read.

google/api/http.proto: "Specifies a set of HTTP rules"; the last rule of a selector wins. YAML or JSON.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from bff.config.yaml_tree import Entry, Node, Source, lines_of, parse
from bff.core.files import read_regular
from bff.core.problems import Problem, Where, nearest
from bff.core.schema import HttpBinding

__all__ = ["ServiceConfig", "read_service_config"]

_MAX_BYTES: Final = 8 << 20
_VERBS: Final = ("get", "put", "post", "delete", "patch")
_KEYS: Final = ("selector", *_VERBS, "custom", "body", "response_body", "additional_bindings")
# ProtoJSON writes these names so; both are read, as ProtoJSON says.
_OTHER_SPELLING: Final = {
    "responseBody": "response_body",
    "additionalBindings": "additional_bindings",
    "fullyDecodeReservedExpansion": "fully_decode_reserved_expansion",
}
_SELECTOR = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)
# RFC 9110 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Selected(Struct, frozen=True):
    """The bindings of one selector, and where it is written."""

    bindings: tuple[HttpBinding, ...]
    where: Where
    line_text: str


class ServiceConfig(Struct, frozen=True, kw_only=True):
    """What one file says: by full method name (`package.Service.Method`) its bindings."""

    rules: dict[str, Selected]
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def read_service_config(path: Path, name: str) -> ServiceConfig:
    """Read a file; `name` is how problems call it. Blocks. Nothing is raised: see `problems`."""
    try:
        content = read_regular(path, _MAX_BYTES)
        if len(content) > _MAX_BYTES:
            return _failed(Where(name), f"is larger than {_MAX_BYTES >> 20} MiB")
        text = content.decode("utf-8-sig")
    except OSError as error:
        return _failed(Where(name), f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return _failed(Where(name), "is not UTF-8")
    source = Source(name=name, path=str(path), lines=lines_of(text))
    nodes, problems = parse(source, text)
    if problems:
        return ServiceConfig(rules={}, problems=tuple(problems))
    reader = _Reader(source)
    for node in nodes:
        reader.read(node)
    return ServiceConfig(
        rules=reader.rules, problems=tuple(reader.problems), warnings=tuple(reader.warnings)
    )


def _failed(where: Where, message: str) -> ServiceConfig:
    return ServiceConfig(rules={}, problems=(Problem(where, message, code="BFF-C046"),))


class _Fault(Exception):
    def __init__(self, node: Node, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.node = node
        self.message = message
        self.hint = hint


class _Reader:
    """One file: its rules so far, and what is wrong."""

    def __init__(self, source: Source) -> None:
        self.rules: dict[str, Selected] = {}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self._source = source

    def read(self, node: Node) -> None:
        """The rules of one document."""
        try:
            http = _block(node, "a service config").get("http")
            if http is None:
                raise _Fault(node, "this service config has no `http` block")
            block = _block(http.node, "`http`")
            for key, entry in block.items():
                self._read_http(_OTHER_SPELLING.get(key, key), entry)
        except _Fault as fault:
            self._note(fault)

    def _read_http(self, key: str, entry: Entry) -> None:
        if key == "rules":
            for rule in _list(entry.node, "`rules`"):
                try:
                    self._read_rule(rule)
                except _Fault as fault:
                    self._note(fault)
        elif key == "fully_decode_reserved_expansion":
            if entry.node.value is not True:
                hint = "remove it, and write `transcoding: {path_decoding: except_reserved}`"
                raise _Fault(entry.node, f"`{key}: false` is a switch of transcoding here", hint)
        else:
            near = nearest(key, ("rules", "fully_decode_reserved_expansion"))
            hint = f"did you mean `{near}`?" if near else ""
            raise _Fault(entry.node, f"unknown key `{key}` in `http`", hint)

    def _read_rule(self, node: Node) -> None:
        rule = _rule(node)
        if "selector" not in rule:
            raise _Fault(node, "this rule has no `selector`", "name it package.Service.Method")
        at = rule["selector"].node
        selector = _text(rule["selector"], "selector")
        if not _SELECTOR.fullmatch(selector):
            hint = "a rule holds for one method, package.Service.Method"
            raise _Fault(at, f"the selector {selector[:80]!r} is no full name of a method", hint)
        bindings = [_binding(node, rule)]
        if "additional_bindings" in rule:
            further = _list(rule["additional_bindings"].node, "`additional_bindings`")
            bindings.extend(_additional(more) for more in further)
        made = Selected(tuple(bindings), at.where, self._source.line(at.line))
        before = self.rules.get(selector)
        if before is not None:
            self.warnings.append(
                Problem(
                    at.where,
                    f"{selector} has a rule at {before.where} too; the last one, this, holds",
                    code="BFF-C047",
                    severity="warning",
                    line_text=made.line_text,
                )
            )
        self.rules[selector] = made

    def _note(self, fault: _Fault) -> None:
        where = fault.node.where
        self.problems.append(
            Problem(
                where,
                fault.message,
                hint=fault.hint,
                code="BFF-C046",
                line_text=self._source.line(where.line),
            )
        )


def _additional(node: Node) -> HttpBinding:
    rule = _rule(node)
    for key in ("selector", "additional_bindings"):
        if key in rule:
            raise _Fault(rule[key].node, f"`additional_bindings` cannot hold `{key}`")
    return _binding(node, rule)


def _rule(node: Node) -> dict[str, Entry]:
    """The keys of a rule, all known."""
    rule = {_OTHER_SPELLING.get(key, key): entry for key, entry in _block(node, "a rule").items()}
    for key, entry in rule.items():
        if key not in _KEYS:
            near = nearest(key, _KEYS)
            hint = f"did you mean `{near}`?" if near else f"known here: {', '.join(_KEYS)}"
            raise _Fault(entry.node, f"unknown key `{key}` in a rule", hint)
    return rule


def _binding(node: Node, rule: dict[str, Entry]) -> HttpBinding:
    patterns = [key for key in (*_VERBS, "custom") if key in rule]
    if len(patterns) != 1:
        what = f"has {' and '.join(patterns)}" if patterns else "has no pattern"
        raise _Fault(
            node, f"this rule {what}", "write one of get, put, post, delete, patch, custom"
        )
    key = patterns[0]
    if key == "custom":
        method, template, where = _custom(rule[key].node)
    else:
        method, template, where = key.upper(), _text(rule[key], key), rule[key].node.where
    return HttpBinding(
        method=method,
        template=template,
        body=_text(rule["body"], "body") if "body" in rule else "",
        response_body=_text(rule["response_body"], "response_body")
        if "response_body" in rule
        else "",
        where=where,
        body_where=rule["body"].node.where if "body" in rule else None,
        response_body_where=rule["response_body"].node.where if "response_body" in rule else None,
    )


def _custom(node: Node) -> tuple[str, str, Where]:
    block = _block(node, "`custom`")
    if set(block) != {"kind", "path"}:
        raise _Fault(node, "`custom` has `kind` and `path`, and nothing else")
    kind = _text(block["kind"], "kind")
    if not _TOKEN.fullmatch(kind):
        raise _Fault(block["kind"].node, f"custom kind {kind[:40]!r} is no HTTP method")
    return kind, _text(block["path"], "path"), block["path"].node.where


def _block(node: Node, what: str) -> dict[str, Entry]:
    if not isinstance(node.value, dict):
        raise _Fault(node, f"{what} is a block of keys")
    return node.value


def _list(node: Node, what: str) -> Iterator[Node]:
    if not isinstance(node.value, list):
        raise _Fault(node, f"{what} is a list")
    yield from node.value


def _text(entry: Entry, key: str) -> str:
    value = entry.node.value
    if not isinstance(value, str):
        raise _Fault(entry.node, f"`{key}` is a text")
    return value
