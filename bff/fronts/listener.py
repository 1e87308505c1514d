"""The public listener: our own for HTTP/1.1, granian for HTTP/2, both with explicit limits.

Each number bounds something that a stranger can make us hold: time for headers, octets of buffers,
streams of a connection. The stock values are meant for trusted networks.
"""

import resource
import ssl
from collections.abc import Callable
from typing import Any

from bff.core.late_import import import_late
from bff.fronts.http1 import Http1Settings
from bff.fronts.listener_settings import BACKLOG, ListenerSettings, ListenerTls
from bff.fronts.workers import Workers

__all__ = ["check_tls", "serve_listener"]

_TLS_VERSIONS = {"tls1.2": ssl.TLSVersion.TLSv1_2, "tls1.3": ssl.TLSVersion.TLSv1_3}

# Loaded where it serves: HTTP/1.1 does without.
_GRANIAN = "bff.fronts.granian_listener"
_MAX_CONNECTIONS = 4096
# Behind a balancer the connections are few and kept long.
_IDLE_S = 10.0
_IDLE_PROXIED_S = 60.0


def serve_listener(settings: ListenerSettings, load_app: Callable[[], Any]) -> int:
    """Serve until SIGTERM; `load_app` runs once in each worker. Blocks; call it in a process of its own.

    On SIGTERM it stops accepting, lets running requests finish, and returns. Returns an exit code.
    """
    connections = max(1, min(_MAX_CONNECTIONS, _raise_fd_limit() // 2))
    if settings.http == "1" or (settings.http == "auto" and settings.tls is None):
        # Our own costs a third of granian's CPU a request, and `auto` without TLS means HTTP/1.1.
        return _workers(settings, load_app, connections).run()
    import_late(_GRANIAN).serve_by_granian(settings, load_app, connections)
    return 0


def _workers(settings: ListenerSettings, load_app: Callable[[], Any], connections: int) -> Workers:
    idle_s = _IDLE_PROXIED_S if settings.behind_proxy else _IDLE_S
    return Workers(
        host=settings.host,
        port=settings.port,
        count=settings.workers,
        backlog=BACKLOG,
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


def check_tls(tls: ListenerTls) -> str:
    """Why this pair cannot be served; empty if it can."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.cert, tls.key)
    except (OSError, ssl.SSLError) as error:
        return f"{tls.cert} and {tls.key} cannot be served: {error}"
    return ""


def _raise_fd_limit() -> int:
    """Take every file descriptor that we may have; the soft limit is often 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return max(soft, 65_536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
