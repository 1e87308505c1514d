"""Models: service files and their routes."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from bff.config.blocks import Block
from bff.config.graphql import GraphqlService
from bff.config.policies import AuthRules, Caps, Policies, ServiceRules, Telemetry
from bff.config.values import Seq, Template, refuse, shown
from bff.core.problems import nearest

__all__ = ["Binding", "Custom", "Route", "ServiceFile"]


class Custom(Block):
    """`custom`: a verb that HTTP rules have no word for."""

    kind: str
    """The method, as it is sent: `REPORT`; `*` is any that has no rule of its own there."""
    path: Template
    """Its path template."""


class Binding(Block):
    """An HTTP rule: a verb with its template, and where the body goes."""

    verbs: ClassVar[tuple[str, ...]] = ("get", "put", "post", "delete", "patch", "custom")
    get: Template | None = None
    """Path template (`/v1/{name=shelves/*}:verb`, docs/transcoding.md), as of the verbs below."""
    put: Template | None = None
    post: Template | None = None
    delete: Template | None = None
    patch: Template | None = None
    custom: Custom | None = None
    body: str | None = None
    """Field that takes the request body, or `*`: the whole message; none on GET and HEAD."""
    response_body: str | None = None
    """Field of the reply that is the response body."""

    @model_validator(mode="after")
    def _has_one_verb(self) -> "Binding":
        written = [verb for verb in self.verbs if getattr(self, verb) is not None]
        if len(written) > 1:
            both = " and ".join(f"`{verb}`" for verb in written)
            raise refuse(f"one verb per rule, here are {both}", hint="put the second under `also`")
        return self


class AlsoBinding(Binding):
    """`also[]`: a further HTTP rule of the same route."""

    @model_validator(mode="after")
    def _has_a_verb(self) -> "AlsoBinding":
        if all(getattr(self, verb) is None for verb in self.verbs):
            raise refuse("a rule needs a verb: get, put, post, delete, patch or custom")
        return self


class ReadMask(Block):
    """`routes[].read_mask`: clients ask for a part of the reply (AIP-157)."""

    param: Annotated[str, Field(min_length=1, max_length=64)] = "$fields"
    """The query parameter."""
    mode: Literal["prune", "forward"] = "prune"
    """`prune`: the gateway cuts the reply; `forward`: the service is asked by `x-goog-fieldmask`."""


class Route(Policies, Binding):
    """`routes[]`: one operation and how clients reach it."""

    rpc: str
    """The operation, or `*`: all that have a rule; with `unbound: true` all of the service."""
    also: Seq[AlsoBinding] = ()
    """Further HTTP rules."""
    annotation: Literal["keep"] | None = None
    """`keep`: the rules here stand beside the annotation; unset = they replace it."""
    unbound: bool = False
    """A method without a rule is reached by POST on its gRPC path, `/package.Service/Method`, its body the message."""
    id: str | None = None
    """Name of the route; unset = the method's name."""
    upstream: str | None = None
    """Unset = the file's."""
    status: Annotated[int, Field(ge=200, le=299)] = 200
    """Status of a success."""
    read_mask: ReadMask | None = None
    """Lets clients name the fields of the reply that they want; unset = they get all."""
    websocket: bool = False
    """Whether a stream may be had over WebSocket too, at the rule's path."""
    docs: bool = True
    """Whether OpenAPI shows it."""
    auth: AuthRules | None = None
    caps: Caps | None = None
    telemetry: Telemetry | None = None


def _all_annotated(value: Any) -> Any:
    if value == "annotations":
        return [{"rpc": "*"}]
    if isinstance(value, list):
        return value
    hint = "did you mean `annotations`?" if nearest(str(value), ["annotations"]) else ""
    message = f"expected `annotations` or a list of routes, got {shown(value)}"
    raise refuse(message, hint=hint, code="BFF-C012")


class ServiceFile(Policies):
    """A service document."""

    service: str
    """Full name of the gRPC service."""
    upstream: str
    """Name of `upstreams`."""
    routes: Annotated[Seq[Route], BeforeValidator(_all_annotated)] = ()
    """`annotations`, or a list."""
    graphql: GraphqlService | None = None
    auth: ServiceRules | None = None
    caps: Caps | None = None
    telemetry: Telemetry | None = None
