"""Models: how messages are written and read - transcoding, metadata, streams."""

from typing import Annotated, Literal

from pydantic import Field

from bff.config.blocks import Block
from bff.config.values import Seq, Timeout

__all__ = ["Metadata", "Sse", "Stream", "Transcoding"]


class Metadata(Block):
    """`metadata`: which header fields cross to services, and which metadata come back."""

    in_: Annotated[Seq[str], Field(alias="in")] = ()
    """Request header fields that go to the service as metadata."""
    out: Seq[str] = ()
    """Metadata of the reply that become response header fields."""
    set: dict[str, str] = Field(default_factory=dict)
    """Metadata with a fixed value, sent with every call."""


class Sse(Block):
    """`stream.sse`: what Server-Sent Events carry beside the messages."""

    id: str | None = None
    """Field of the message that is the event's id."""
    event: str | None = None
    """Field of the message that is the event's name."""
    resume: str | None = None
    """Field of the request that takes `Last-Event-ID`."""
    heartbeat: Timeout = 15.0
    """Silence after which a comment is sent."""
    retry: Timeout = 3.0
    """Wait of the client before it comes back."""


class Stream(Block):
    """`stream`: streams over HTTP."""

    default: Literal["array", "ndjson", "sse"] = "array"
    """The form without an Accept that decides."""
    wrap: bool = False
    """Whether each message stands under `result`."""
    first_wait: Timeout = 5.0
    """Longest wait of the header fields for the first message."""
    sse: Sse = Field(default_factory=Sse)
    write_timeout: Timeout = 30.0
    """Longest wait for a client that does not read."""
    max_duration: Timeout = 3600.0
    """Longest life of a stream."""
    idle: Timeout = 300.0
    """Longest silence of the service."""


class Transcoding(Block):
    """`transcoding`: switches of the JSON side; all others stand as the preset has them."""

    preset: Literal["strict", "grpc-gateway", "envoy"] = "strict"
    """The set of switches to start from."""
    emit_unpopulated: bool = False
    """Whether fields without a value are written."""
    enums: Literal["name", "number"] = "name"
    """How enum values are written."""
    names: Literal["json", "proto"] = "json"
    """How field names are written."""
