"""Models: how messages are written and read - transcoding, metadata, streams."""

from typing import Annotated, Literal

from pydantic import Field

from bff.config.blocks import Block
from bff.config.values import Seq, Timeout

__all__ = ["Metadata", "Stream", "Transcoding"]


class Metadata(Block):
    """`metadata`: which header fields cross to services, and which metadata come back."""

    in_: Annotated[Seq[str], Field(alias="in")] = ()
    """Request header fields that go to the service as metadata."""
    out: Seq[str] = ()
    """Metadata of the reply that become response header fields."""
    set: dict[str, str] = Field(default_factory=dict)
    """Metadata with a fixed value, sent with every call."""


class Stream(Block):
    """`stream`: server streams over HTTP."""

    default: Literal["array", "ndjson", "sse"] = "array"
    """The form without an Accept that decides."""
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
