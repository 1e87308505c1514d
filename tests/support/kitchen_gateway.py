"""A gateway in front of a kitchen that echoes: mapping files in, requests through the whole line.

    kitchen = KitchenGateway(tmp_path, "transcoding: {preset: envoy}")
    answer = await kitchen.ask("GET /k/1?i32=5")
    assert answer.bound == {"text": "1", "i32": 5}

Nothing is opened: the only fake is the channel, which answers with the message it was sent.
"""

import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, cast

from bff.config.load import load
from bff.core.errors import UpstreamError
from bff.core.events import Emit, silent
from bff.core.ports import SystemClock, system_random
from bff.pipeline.run import handle
from bff.ratelimit.memory_store import MemoryStore
from bff.snapshot.compiler import Compiled, Compiler
from bff.snapshot.parts import Parts
from bff.snapshot.type_sources import read_sources
from bff.wire.channel import Channel, Metadata, UnaryReply
from tests.support.config_files import write
from tests.support.plain_request import plain_request
from tests.support.proto_sets import KITCHEN, compile_set

__all__ = ["COOK", "Answer", "KitchenGateway"]

COOK = (
    KITCHEN
    + """
message PatchKitchen { string id = 1; Kitchen child = 2; google.protobuf.FieldMask update_mask = 3; }
service Cook { rpc Get(Kitchen) returns (Kitchen); rpc Patch(PatchKitchen) returns (PatchKitchen);
  rpc Watch(Kitchen) returns (stream Kitchen);
  rpc Send(stream Kitchen) returns (Kitchen);
  rpc Look(Kitchen) returns (Kitchen) { option idempotency_level = NO_SIDE_EFFECTS; } }
"""
)
_ROUTES = """
  - rpc: Get
    get: "/k/{text}"
    also:
      - {post: "/k/{text}", body: "*"}
      - {post: "/kb/{text}", body: child}
      - {get: "/t/{text=**}"}
      - {get: "/s"}
  - {rpc: Patch, patch: "/p/{id}", body: child}
"""
_SETS: list[bytes] = []


class Echo:
    """A channel whose service sends each message back, or fails as told: a stream after its message.

    `leading` and `trailing` are the metadata of its replies.
    """

    def __init__(self) -> None:
        self.message: bytes | None = None
        self.metadata: Metadata = ()
        self.failure: UpstreamError | None = None
        self.leading: tuple[tuple[str, str | bytes], ...] = ()
        self.trailing: tuple[tuple[str, str | bytes], ...] = ()

    async def unary(
        self,
        path: str,
        message: bytes,
        metadata: Metadata,
        deadline_s: float,
        *,
        want_metadata: bool = False,
    ) -> UnaryReply:
        self.message, self.metadata = message, metadata
        if self.failure is not None:
            raise self.failure
        return UnaryReply(message, (*self.leading, *self.trailing), len(self.leading))

    async def stream(
        self,
        path: str,
        message: bytes,
        metadata: Metadata,
        deadline_s: float | None,
        *,
        received: list[tuple[str, str | bytes]] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        self.message = message
        if received is not None:
            received += self.leading
        yield message
        if self.failure is not None:
            raise self.failure
        if received is not None:
            received += self.trailing

    async def close(self) -> None:
        return

    def forget(self) -> None:
        """Before a new request."""
        self.message = None


class Answer:
    """What came back, and `bound`: the message that the service saw, as JSON (None: not called)."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, bound: Any) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.bound = bound

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """ErrorInfo's reason, in whichever form the error came."""
        tree = self.json
        if "reason" in tree:
            return str(tree["reason"])
        details = tree.get("error", tree)["details"]
        return next(str(d["reason"]) for d in details if d["@type"].endswith("ErrorInfo"))


class KitchenGateway:
    """The kitchen under these switches: `gateway` is YAML of the gateway file, `service` of the service's."""

    def __init__(
        self,
        folder: Path,
        gateway: str = "",
        *,
        service: str = "",
        routes: str = _ROUTES,
        emit: Emit = silent,
    ) -> None:
        if not _SETS:
            _SETS.append(compile_set(COOK))
        (folder / "types.binpb").write_bytes(_SETS[0])
        files = {
            "gateway.yaml": "gateway: {name: kitchen, domain: kitchen.example}\n"
            f"descriptors: [{{set: {folder / 'types.binpb'}}}]\n"
            f'upstreams: {{cook: {{endpoints: ["127.0.0.1:1"], retry: "off"}}}}\n{gateway}',
            "cook.yaml": "service: kitchen.v1.Cook\nupstream: cook\n"
            f"{service}\nroutes:\n{routes.strip(chr(10))}\n",
        }
        clock = SystemClock()
        self.echo = Echo()
        parts = Parts(
            clock=clock,
            random=system_random(),
            emit=emit,
            # It has what unary calls and server streams need.
            connect=lambda _settings, _endpoint: cast("Channel", self.echo),
            make_store=lambda _settings: MemoryStore(clock=clock),
        )
        document = load(write(folder, files))
        self.compiled: Compiled = Compiler(parts).compile(document, read_sources(document))
        self._clock = clock

    async def ask(
        self, target: str, body: bytes | str = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request; `target` is `GET /path?query`, the path as the door would hand it on."""
        method, _, rest = target.partition(" ")
        path, _, query = rest.partition("?")
        octets = body.encode() if isinstance(body, str) else body

        sent = {"content-length": str(len(octets)), **(headers or {})} if octets else headers or {}
        request = plain_request(
            method,
            path,
            query=query.encode(),
            headers=sent,
            body=octets,
            host="kitchen",
            now_s=self._clock.now_s(),
        )
        self.echo.forget()
        tools = self.compiled.tools
        reply = await handle(request, tools)
        shown = {name.decode(): value.decode() for name, value in reply.headers}
        seen = self.echo.message
        kind = (
            "kitchen.v1.PatchKitchen" if request.route_id == "cook.Patch" else "kitchen.v1.Kitchen"
        )
        bound = None if seen is None else json.loads(tools.codec.writer(kind)(seen))
        body = reply.body
        if reply.stream is not None:
            try:
                body = b"".join([part async for part in reply.stream])
            finally:
                await reply.stream.aclose()
        return Answer(reply.status, shown, body, bound)
