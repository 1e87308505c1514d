"""What the public listener is told, whichever server it is."""

from msgspec import Struct

__all__ = ["BACKLOG", "ListenerSettings", "ListenerTls"]

# Connections that the kernel keeps for us until we accept them.
BACKLOG = 2048


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
