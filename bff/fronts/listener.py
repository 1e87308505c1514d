"""The public listener: our own for HTTP/1.1, granian for HTTP/2, both with explicit limits.

Each number bounds something that a stranger can make us hold: time for headers, octets of buffers,
streams of a connection. The stock values are meant for trusted networks.
"""

import resource
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server import MPServer
from msgspec import Struct

from bff.fronts.http1 import Http1Settings
from bff.fronts.workers import Workers

__all__ = ["ListenerSettings", "ListenerTls", "check_tls", "serve_listener"]

_TLS_VERSIONS = {"tls1.2": ssl.TLSVersion.TLSv1_2, "tls1.3": ssl.TLSVersion.TLSv1_3}

_BACKLOG = 2048
_MAX_CONNECTIONS = 4096
# Behind a balancer the connections are few and kept long.
_IDLE_S = 10.0
_IDLE_PROXIED_S = 60.0


class ListenerTls(Struct, frozen=True, kw_only=True):
    """Certificate chain and key as PEM files; `min_version` is tls1.2 or tls1.3."""

    cert: str
    key: str
    min_version: str = "tls1.2"


class ListenerSettings(Struct, frozen=True, kw_only=True):
    """One public listener. `http` is auto, 1 or 2; `finish_s` is what running requests get at the end."""

    host: str
    port: int
    workers: int
    http: str = "auto"
    tls: ListenerTls | None = None
    behind_proxy: bool = False
    finish_s: float = 25.0


def serve_listener(settings: ListenerSettings, load_app: Callable[[], Any]) -> int:
    """Serve until SIGTERM; `load_app` runs once in each worker. Blocks; call it in a process of its own.

    On SIGTERM it stops accepting, lets running requests finish, and returns. Returns an exit code.
    """
    connections = max(1, min(_MAX_CONNECTIONS, _raise_fd_limit() // 2))
    if settings.http == "1" or (settings.http == "auto" and settings.tls is None):
        # Our own costs a third of granian's CPU a request, and `auto` without TLS means HTTP/1.1.
        return _workers(settings, load_app, connections).run()
    _serve_http2(settings, load_app, connections)
    return 0


def _workers(settings: ListenerSettings, load_app: Callable[[], Any], connections: int) -> Workers:
    idle_s = _IDLE_PROXIED_S if settings.behind_proxy else _IDLE_S
    return Workers(
        host=settings.host,
        port=settings.port,
        count=settings.workers,
        backlog=_BACKLOG,
        finish_s=settings.finish_s,
        settings=Http1Settings(idle_s=idle_s, connections=connections),
        tls=_tls_context(settings.tls) if settings.tls else None,
        load=load_app,
    )


def _tls_context(tls: ListenerTls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.cert, tls.key)
    context.minimum_version = _TLS_VERSIONS[tls.min_version]
    context.set_alpn_protocols(["http/1.1"])
    return context


def _serve_http2(settings: ListenerSettings, load_app: Callable[[], Any], connections: int) -> None:
    tls = settings.tls
    proxied = settings.behind_proxy
    with tempfile.TemporaryDirectory(prefix="bff-tls-") as folder:
        key = _pkcs8(Path(tls.key), Path(folder)) if tls else None
        server = MPServer(
            target="bff",
            address=settings.host,
            port=settings.port,
            interface=Interfaces.ASGI,
            workers=settings.workers,
            runtime_threads=1,
            loop=Loops.uvloop,
            http=HTTPModes(settings.http),
            websockets=True,
            backlog=_BACKLOG,
            backpressure=connections,
            http1_settings=HTTP1Settings(
                header_read_timeout=60_000 if proxied else 10_000,
                max_buffer_size=65_536,
            ),
            http2_settings=HTTP2Settings(
                max_headers_size=32_768,
                max_concurrent_streams=250 if proxied else 100,
                initial_stream_window_size=65_536,
                initial_connection_window_size=1_048_576,
                max_send_buffer_size=262_144,
                max_frame_size=16_384,
                keep_alive_interval=15_000,
                keep_alive_timeout=10,
            ),
            log_enabled=False,
            ssl_cert=Path(tls.cert) if tls else None,
            ssl_key=key,
            ssl_protocol_min=SSLProtocols(tls.min_version) if tls else SSLProtocols.tls12,
            respawn_failed_workers=True,
            respawn_interval=3.5,
            workers_kill_timeout=max(1, round(settings.finish_s)),
        )
        server.serve(target_loader=load_app, wrap_loader=False)


def check_tls(tls: ListenerTls) -> str:
    """Why this pair cannot be served; empty if it can."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as error:
        return f"{tls.cert} and {tls.key} cannot be served: {error}"
    return ""


def _pkcs8(key: Path, folder: Path) -> Path:
    """The key in the one form that the server reads, in a private file; PKCS#1 and SEC1 are common too."""
    loaded = serialization.load_pem_private_key(key.read_bytes(), password=None)
    converted = folder / "key.pem"
    converted.touch(mode=0o600)
    converted.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return converted


def _raise_fd_limit() -> int:
    """Take every file descriptor that we may have; the soft limit is often 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return max(soft, 65_536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
