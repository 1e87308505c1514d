"""Models: the `graphql` blocks of gateway and service files."""

from typing import Annotated, Literal

from pydantic import Field

from bff.config.aggregates import Join
from bff.config.blocks import Block
from bff.config.values import Named, Size, Template, Timeout

__all__ = [
    "GraphqlCaps",
    "GraphqlField",
    "GraphqlGateway",
    "GraphqlJoin",
    "GraphqlService",
    "ListSize",
]

Count = Annotated[int, Field(ge=1)]


class GraphqlCaps(Block):
    """`graphql.caps`: how much one document may ask for."""

    body: Size = 64 << 10
    text: Size = 16 << 10
    tokens: Count = 1000
    comments: Count = 100
    nesting: Count = 32
    depth: Count = 8
    aliases: Count = 15
    root_fields: Count = 10
    directives: Count = 20
    same_name: Count = 4
    fragments: Count = 20
    spreads: Count = 40
    operations: Count = 5
    list_items: Count = 1000
    input_depth: Count = 8
    string: Size = 16 << 10
    variables: Count = 30
    calls: Count = 16
    errors: Count = 100


class GraphqlGateway(Block):
    """`graphql` of the gateway file."""

    path: Template = "/graphql"
    """Where the endpoint is."""
    introspection: Literal["scope", "open", "off"] = "scope"
    """Who may read the schema."""
    graphiql: bool = False
    """Whether a browser gets GraphiQL."""
    deadline: Timeout = 5.0
    """Of one GraphQL request."""
    expose: Literal["listed"] = "listed"
    nullability: Literal["presence"] = "presence"
    caps: GraphqlCaps = GraphqlCaps()


class ListSize(Block):
    """`list_size`: which argument is the page size."""

    arg: str
    default: Count = 20
    max: Count = 100


class GraphqlField(Block):
    """A root field: the operation that answers it."""

    short = "rpc"
    rpc: str
    """The operation."""
    args: dict[str, str] = Field(default_factory=dict)
    """GraphQL argument to field of the request."""
    timeout: Timeout | None = None
    list_size: ListSize | None = None
    """The page-size argument."""


class GraphqlJoin(Join):
    """`graphql.joins`: a field that another operation answers, for all parents at once."""

    rpc: str
    """The operation that is asked with the keys."""
    timeout: Timeout | None = None


class GraphqlService(Block):
    """`graphql` of a service file."""

    queries: Named[GraphqlField] = Field(default_factory=dict)
    """Fields of Query."""
    mutations: Named[GraphqlField] = Field(default_factory=dict)
    """Fields of Mutation."""
    joins: Named[GraphqlJoin] = Field(default_factory=dict)
    """Type.field to join."""
    expose: Literal["listed"] | None = None
    nullability: Literal["presence"] | None = None
