"""Keys and values of the language whose feature this version does not have, by model.

One table: loading refuses them by name, suggestions know them, the reference lists them. Building
a feature means taking its row out and giving the model its field.
"""

from msgspec import Struct

__all__ = ["NOT_BUILT", "NOT_BUILT_VALUES", "LaterValue"]


class LaterValue(Struct, frozen=True, kw_only=True):
    """Values of a key that are not built: words, beginnings of a text, or shapes (list, dict, ..)."""

    feature: str
    words: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()


def _all(feature: str, keys: str) -> dict[str, str]:
    return dict.fromkeys(keys.split(), feature)


# Model -> key -> feature. Rows of a parent model hold for its children.
NOT_BUILT: dict[str, dict[str, str]] = {
    "GatewayFile": {
        "cache_store": "response caching",
        "idempotency_keys": "idempotency keys",
        "batch": "client-defined batches",
        "operations": "registered GraphQL documents",
    },
    "GatewayBlock": {
        "health": "a health listener of its own",
        "egress": "egress rules",
        "region": "regions",
        "zone": "zones",
    },
    "Listener": {"client_certs": "client certificates"},
    "ListenerTls": {"hsts": "Strict-Transport-Security"},
    "Admin": {
        **_all("sign-in to the admin API", "issuer audience role_claim token client_certs"),
        "tls": "TLS of the admin listener",
        "hosts": "host names of the admin listener",
    },
    "Control": _all(
        "publishing of versions",
        "store seed edits fail_on canary on_refusal old_streams signing_key",
    ),
    "Store": {"tls": "TLS to a store"},
    "Upstream": {
        "discover": "service discovery",
        "slow_start": "slow start",
        "panic": "panic mode",
        "failover": "failover to other regions",
        **_all("HTTP services", "http2 connections"),
    },
    "Endpoint": {
        "zone": "zones",
        "priority": "endpoint priorities",
        "healthy": "health by file",
    },
    "OperationRules": {"hedge": "hedged calls", "idempotency_key": "idempotency keys"},
    "Outbound": _all("tokens to upstreams", "issuer audience scopes"),
    "Policies": {
        "importance": "shedding by importance",
        "sensitive": "sensitive routes",
        "cors": "CORS",
        "ip": "IP lists",
        "callout": "external authorization",
        "compress": "compression of replies",
        "cache_control": "Cache-Control of a route",
    },
    "Caps": {"message": "a cap of messages other than 4MiB"},
    "AggregateCaps": _all(
        "this cap of aggregates", "depth calls source_reply replies output expression steps"
    ),
    "GraphqlCaps": _all("this cap of GraphQL", "page_size cost positions reply batch"),
    "Telemetry": {"trace": "traces", "continue_trace": "traces"},
    "GatewayTelemetry": {
        "otlp": "export of traces",
        "tenants": "metrics by tenant",
        "baggage": "baggage",
        "webhook": "events to a webhook",
        "server_timing": "Server-Timing",
        "client_headers": "names of client apps",
    },
    "ServiceRules": {"all": "several credentials on one request"},
    "Auth": {"sessions": "browser sessions", "client_certs": "client certificates"},
    "Issuer": {
        "secret": "tokens with a shared secret",
        **_all("opaque tokens", "introspect client stale_if_error"),
    },
    "ApiKeys": {"store": "API keys in a store"},
    "Limit": {
        "quota": "quotas",
        "max_delay": "the leaky bucket",
        "regions": "limits by region",
    },
    "ServiceFile": {"internal": "internal fields"},
    "Route": {
        "http": "HTTP services",
        **_all("routing by conditions", "when priority"),
        "split": "traffic splits",
        "mirror": "mirrored traffic",
        "versions": "versions by header",
        **_all("deprecation of routes", "deprecated sunset link gone"),
        "inputs": "declared inputs",
        **_all("transformation of messages", "with reply redact encoding"),
        **_all("response caching", "cache invalidates"),
        "idempotency": "idempotency keys",
        "fallback": "fallbacks",
    },
    "AggregateFile": {
        "nulls": "dropping of nulls",
        "graphql": "aggregates in GraphQL",
        "hold": "progressive replies",
        "save_data": "Save-Data",
        "inputs": "declared inputs",
        **_all("response caching", "cache invalidates"),
        "idempotency": "idempotency keys",
        "fallback": "fallbacks",
        **_all("this policy on aggregates", "limit_headers metadata stream transcoding identity"),
        **_all("this policy on aggregates", "telemetry importance sensitive cors ip callout"),
        **_all("this policy on aggregates", "compress cache_control id docs"),
        **_all("deprecation of routes", "deprecated sunset link gone"),
        **_all("routing by conditions", "priority split mirror versions redact encoding"),
    },
    "Source": {
        **_all("HTTP sources", "http upstream path query headers body response"),
        "mask": "field masks",
        "status": "statuses by code",
        "importance": "shedding by importance",
        "identity": "identity of one source",
        "cache": "response caching",
        "fallback": "fallbacks",
    },
    "OnErrorDefault": {"stale": "stale replies", "else": "stale replies"},
    "Join": {
        "zero_key": "joins on zero keys",
        "allow_n_plus_one": "joins without a batch operation",
    },
    "GraphqlJoin": {
        "with": "arguments of a join",
        "mask": "field masks",
        "cost": "costs by hand",
    },
    "GraphqlGateway": {
        "incremental": "incremental delivery",
        "batching": "GraphQL batches",
        "query_method": "the QUERY method",
        "http_status_profile": "other HTTP status profiles",
        "on_mutation_error": "stopping after a failed mutation",
        "cost_mode": "measuring of costs",
        "clamp": "refusing of page sizes",
        "batch_wait": "waiting for batches",
        "verify": "comparing with a second executor",
        "documents": "trusted documents",
    },
    "GraphqlService": {
        "namespace": "namespaces",
        "subscriptions": "subscriptions",
        "types": "rules of GraphQL types",
    },
    "GraphqlField": {
        "with": "filled arguments",
        "mask": "field masks",
        "pick": "picking of a part",
        "invalidates": "response caching",
        "resume": "subscriptions",
        "overflow": "subscriptions",
        **_all("policies of one GraphQL field", "auth limit"),
        "cache": "response caching",
        "cost": "costs by hand",
    },
}

_ANY_SHAPE = ("dict", "list", "int", "float", "bool")

NOT_BUILT_VALUES: dict[str, dict[str, LaterValue]] = {
    "GatewayBlock": {"forwarded": LaterValue(feature="RFC 7239", words=("forwarded",))},
    "Store": {
        "redis": LaterValue(feature="several store addresses", shapes=("list",)),
        "mode": LaterValue(feature="clusters of stores", words=("cluster", "sentinel")),
    },
    "Upstream": {
        "transport": LaterValue(feature="this transport", words=("http",)),
        "concurrency": LaterValue(feature="adaptive concurrency", words=("adaptive",)),
        "balance": LaterValue(
            feature="this balancing", words=("weighted",), shapes=("dict",), starts=("hash",)
        ),
        "health": LaterValue(feature="health checks", shapes=_ANY_SHAPE),
        "ejection": LaterValue(feature="ejection of endpoints", shapes=_ANY_SHAPE),
        "hedge": LaterValue(feature="hedged calls", shapes=_ANY_SHAPE),
        "admission": LaterValue(feature="admission control", shapes=_ANY_SHAPE),
    },
    "Outbound": {
        "mode": LaterValue(
            feature="tokens to upstreams",
            words=("forward", "client_credentials", "exchange", "mint"),
        )
    },
    "ServiceRules": {
        "any": LaterValue(feature="this credential", words=("opaque", "session", "cert"))
    },
    "Issuer": {"jwks": LaterValue(feature="tokens with a shared secret", words=("secret",))},
    "Limit": {
        "cost": LaterValue(feature="computed costs", shapes=("str",)),
        "algorithm": LaterValue(
            feature="other algorithms", words=("leaky_bucket", "sliding_window", "fixed_window")
        ),
    },
    "AggregateFile": {"progressive": LaterValue(feature="progressive replies", words=("false",))},
    "Join": {
        "mode": LaterValue(feature="joins to many", words=("many",)),
        "match": LaterValue(feature="joins by index", words=("index",)),
    },
    "GraphqlService": {
        "expose": LaterValue(feature="exposing of everything", words=("all",)),
        "nullability": LaterValue(feature="other nullability", words=("all_nullable",)),
    },
    "GraphqlGateway": {
        "expose": LaterValue(feature="exposing of everything", words=("all",)),
        "nullability": LaterValue(feature="other nullability", words=("all_nullable",)),
    },
}
