"""The corpus of `tests/differential/envoy.yaml`: requests, and where Envoy and `preset: envoy` part.

    reasons:
      bad_path: {title: .., text: ..}
    rows:
      - {send: GET /k/1}                                    # both do the same
      - {send: GET /k/a%2Fb, differs: bad_path, envoy: "200 saw {..}", ours: "400 BAD_PATH"}

A row is a request as in `tests/support/vectors.py` (`send`, `headers`, `body`, `body64`, `answer`).
One that `differs` names its reason, and what comes of it on each side, as `Outcome.text` says it.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
from ruamel.yaml import YAML

from tests.support.proto_sets import KITCHEN, compile_set
from tests.support.vector_kitchen import Asked
from tests.support.vector_replies import Reply
from tests.support.vectors import Config, Row, files_of

__all__ = ["CORPUS", "Case", "Corpus", "Outcome", "cook_types", "gateway_files", "read_corpus"]

_FOLDER = Path(__file__).parents[1] / "differential"
CORPUS = _FOLDER / "envoy.yaml"
_MOST_CHARS = 300


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the two part, for a reader who moves: a heading and a paragraph."""

    title: str
    text: str


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request, and how it ends where it does not end alike."""

    send: str
    headers: list[str] = []
    body: str = ""
    body64: str = ""
    answer: dict[str, Any] = {}
    differs: str = ""
    envoy: str = ""
    ours: str = ""
    note: str = ""

    def row(self) -> Row:
        """As a row of vectors."""
        return msgspec.convert(
            {
                "rule": 0,
                "send": self.send,
                "headers": self.headers,
                "body": self.body,
                "body64": self.body64,
                "answer": self.answer,
            },
            Row,
        )


class Corpus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All requests and reasons."""

    reasons: dict[str, Reason]
    rows: list[Case]


def read_corpus() -> Corpus:
    """The file. Raises ValueError for a row whose reason is not there."""
    corpus = msgspec.convert(YAML(typ="safe").load(CORPUS.read_text()), Corpus)
    for case in corpus.rows:
        if case.differs and case.differs not in corpus.reasons:
            raise ValueError(f"{CORPUS.name}: {case.send}: no reason {case.differs!r}")
    return corpus


def cook_types() -> bytes:
    """The descriptor set that both sides read, with the annotations that give the routes."""
    return compile_set(KITCHEN + (_FOLDER / "cook.proto").read_text())


def gateway_files(port: int, types: Path) -> dict[str, str]:
    """Mapping files of our side: the preset, the annotations, and nothing else."""
    files = files_of(Config(routes=[], gateway={"transcoding": {"preset": "envoy"}}), port, types)
    cook = json.loads(files["cook.yaml"])
    cook["routes"] = "annotations"
    return {**files, "cook.yaml": json.dumps(cook)}


class Outcome(msgspec.Struct, frozen=True):
    """What came of a request on one side: status, what the service saw, what the client reads."""

    status: int
    saw: list[Any]
    said: Any

    @classmethod
    def of(cls, reply: Reply, asked: list[Asked], *, failed: bool) -> "Outcome":
        """Bodies by their meaning: JSON as such; of an error the code and words that both forms have.

        `failed`: the service answered with a status. Other errors are a gateway's own, and have the
        status alone: each has its words. Whether a stream that breaks off had begun a call is a race.
        """
        saw: list[Any] = [[each.rpc, _plain(each.messages)] for each in asked]
        if reply.status >= 400 and not (failed and _is_json(reply)):
            return cls(reply.status, [] if reply.status == 400 else saw, None)
        if reply.status >= 400:
            return cls(reply.status, saw, _error(reply) if saw else None)
        media = (reply.field("content-type") or "").partition(";")[0]
        if media != "application/json":
            return cls(reply.status, saw, f"{media} {reply.body.decode('latin-1')}".strip())
        try:
            return cls(reply.status, saw, _plain(json.loads(reply.body)))
        except ValueError:
            return cls(reply.status, saw, f"no JSON: {reply.body.decode('latin-1')}")

    @property
    def text(self) -> str:
        """As a row writes it: `200 First {"text": "1"}`, and the reply where it is not the message."""
        parts = [str(self.status)]
        for rpc, messages in self.saw:
            parts += [rpc, *(json.dumps(each, ensure_ascii=False) for each in messages)]
        replied = len(self.saw) == 1 and self.saw[0][1] == [self.said]
        if self.said is not None and not replied:
            parts.append(f"-> {json.dumps(self.said, ensure_ascii=False)}")
        text = " ".join(parts)
        return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}.."


def _is_json(reply: Reply) -> bool:
    return (reply.field("content-type") or "").startswith("application/json")


def _plain(tree: Any) -> Any:
    """Numbers as JSON has them (1.0 is 1, and -0.0 is 0), keys in order, no id of one request."""
    if isinstance(tree, float) and tree.is_integer():
        return int(tree)
    if isinstance(tree, dict):
        return {key: _plain(tree[key]) if key != "requestId" else ".." for key in sorted(tree)}
    return [_plain(each) for each in tree] if isinstance(tree, list) else tree


def _error(reply: Reply) -> Any:
    try:
        tree = json.loads(reply.body)
    except ValueError:
        return reply.body.decode("latin-1")
    if not isinstance(tree, dict):
        return tree
    # What we add to every error is told of once, not at each request.
    added = ("ErrorInfo", "RequestInfo")
    details = [
        each for each in tree.get("details", ()) if not str(each.get("@type", "")).endswith(added)
    ]
    return {"code": tree.get("code"), "message": tree.get("message", ""), "details": details}
