"""The public listener by granian, where HTTP/2 is spoken. Imported by name, see `fronts.listener`."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from granian.constants import HTTPModes, Interfaces, Loops, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server import MPServer

from bff.fronts.listen_ports import until_listening
from bff.fronts.listener_settings import BACKLOG, ListenerSettings

__all__ = ["serve_by_granian"]


def serve_by_granian(
    settings: ListenerSettings, load_app: Callable[[], Any], connections: int
) -> None:
    """Serve until SIGTERM with at most so many connections a worker. Blocks."""
    tls = settings.tls
    proxied = settings.behind_proxy

    def load() -> Any:
        app = load_app()
        # It listens only after the app's lifespan has begun, when the node would call it ready.
        app.until_listening = partial(until_listening, settings.host, settings.port)
        return app

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
            backlog=BACKLOG,
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
        server.serve(target_loader=load, wrap_loader=False)


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
