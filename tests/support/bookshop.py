"""A bookshop: one service that tells its types by reflection, and gateways in front of it.

    async with ReflectingServer(compile_set(FIRST)) as server:
        bookshop = Bookshop(tmp_path, samples, server)
        gateway = await started(bookshop.gateway())

The gateways of one bookshop share the folder of their state, as a restarted one would.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.gateway import GatewayProcess
from tests.support.reflecting import ReflectingServer
from tests.support.samples import SampleServices

__all__ = [
    "BY_TITLE",
    "FIRST",
    "LESS",
    "MORE",
    "SHELF",
    "Bookshop",
    "details",
    "ended",
    "get",
    "started",
    "until_detail",
]

_ANNOTATIONS = """
syntax = "proto3";
package shelf.v1;
import "google/api/annotations.proto";
message Book { string id = 1; string title = 2; %s }
service Shelf {
  rpc Get(Book) returns (Book) { option (google.api.http) = {get: "/v1/books/{id}"}; }
  %s
}
"""
FIRST = _ANNOTATIONS % ("", "")
MORE = _ANNOTATIONS % (
    "string author = 3;",
    'rpc Put(Book) returns (Book) { option (google.api.http) = {put: "/v1/books/{id}" body: "*"}; }',
)
LESS = FIRST.replace("string title = 2;", "")
SHELF = "service: shelf.v1.Shelf\nupstream: shelf\nauth: {required: false}\nroutes: [{rpc: '*'}]\n"
# A route that needs the field that LESS lacks.
BY_TITLE = SHELF.replace("[{rpc: '*'}]", "[{rpc: '*'}, {rpc: Get, get: '/v1/titles/{title}'}]")


class Bookshop:
    """A folder for a gateway in front of one reflecting service, and nothing of the samples."""

    def __init__(self, folder: Path, samples: SampleServices, server: ReflectingServer) -> None:
        self.server = server
        self._folder = folder
        self._samples = samples
        self._count = 0

    def changes(self, **source: Any) -> dict[str, Any]:
        return {
            "gateway": {"protos": []},
            "control": {"state": str(self._folder / "state")},
            # A request may be held while types are fetched anew.
            "upstreams": {"shelf": {"endpoints": [self.server.address], "timeout": "30s"}},
            "deadline": "30s",
            "descriptors": [{"reflection": "shelf", "every": "1s", **source}],
            "graphql": {"caps": {}},
        }

    def gateway(
        self,
        *arguments: str,
        shelf: str = SHELF,
        changes: Mapping[str, Any] | None = None,
        **source: Any,
    ) -> GatewayProcess:
        """A gateway of its own folder for mappings; the state is that of all of this shop."""
        self._count += 1
        return GatewayProcess(
            self._folder / f"gateway-{self._count}",
            self._samples,
            changes={**self.changes(**source), **(changes or {})},
            files={
                "orders.yaml": None,
                "users.yaml": None,
                "catalog.yaml": None,
                "home.yaml": None,
                "shelf.yaml": shelf,
            },
            arguments=arguments,
        )


async def started(gateway: GatewayProcess) -> GatewayProcess:
    """Off the loop, on which the reflecting server answers."""
    return await asyncio.to_thread(gateway.start)


async def details(gateway: GatewayProcess) -> list[str]:
    async with gateway.admin_client() as admin:
        found: list[str] = (await admin.get("/readyz?verbose")).json()["details"]
        return found


async def until_detail(gateway: GatewayProcess, start: str, *, there: bool = True) -> None:
    """Ask readiness until a detail that starts so is there, or is not."""
    async with asyncio.timeout(30):
        while any(text.startswith(start) for text in await details(gateway)) != there:
            pass


async def get(gateway: GatewayProcess, path: str) -> tuple[int, Any]:
    async with gateway.client() as http:
        reply = await http.get(path)
        return reply.status_code, reply.json()


async def ended(gateway: GatewayProcess) -> None:
    assert await asyncio.to_thread(gateway.stop) == 0
