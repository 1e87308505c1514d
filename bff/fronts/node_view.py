"""What a node shows of itself at its admin address."""

from msgspec import Struct

__all__ = ["NodeView"]


class NodeView(Struct, kw_only=True, frozen=True):
    """The node as health sees it. `reasons` say why it is not ready; empty means ready."""

    started: bool
    reasons: tuple[str, ...]
    version: str
    workers: tuple[dict[str, str | int | bool], ...]
    details: tuple[str, ...] = ()
