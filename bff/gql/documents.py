"""Documents, parsed and validated once per text: within the limits or refused, and kept either way."""

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import sha256

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    parse,
    validate,
)
from msgspec import Struct

from bff.gql.faults import FaultKind, RequestFault, coded, formatted
from bff.gql.limits import Caps, check_expanded
from bff.gql.text_limits import check_text

__all__ = ["Document", "DocumentCache"]

_MAX_ENTRIES = 1000
# What the executable documents of one schema may weigh together, by the estimate below.
_MAX_WEIGHT_BYTES = 64 << 20
# The estimate: what tracemalloc shows of documents of many shapes, rounded up. A token costs 360 to
# 625 bytes (lists of numbers least, lines of fields most), a document of a few tokens 12 KiB beside
# them, and an octet of text at most 4, where all of it is comment.
_DOCUMENT_BYTES = 12 << 10
_TOKEN_BYTES = 640
_OCTET_BYTES = 4
# Validation stops here; more errors help nobody.
_MAX_VALIDATION_ERRORS = 5


class Document(Struct, frozen=True, kw_only=True, eq=False):
    """A document that may be executed. `operations` are its kinds by name (`""` if it has none).

    `weight_bytes` is about the memory that it takes.
    """

    node: DocumentNode
    operations: dict[str, OperationType]
    introspects: bool
    weight_bytes: int


class DocumentCache:
    """Documents of one schema by the hash of their text, good and refused ones apart, each LRU.

    Good ones are bounded by number and by weight, since a tree is a hundred times its text; refused
    ones are a code and a message, and bounded by number.
    Never keyed by the parsed document: in graphql-core 3.3 its hash walks the whole tree.
    """

    def __init__(
        self,
        *,
        schema: GraphQLSchema,
        caps: Caps,
        max_entries: int = _MAX_ENTRIES,
        max_weight_bytes: int = _MAX_WEIGHT_BYTES,
    ) -> None:
        self._schema = schema
        self._caps = caps
        self._max_entries = max_entries
        self._max_weight_bytes = max_weight_bytes
        self._weight_bytes = 0
        self._good: OrderedDict[tuple[bytes, bool], Document] = OrderedDict()
        self._refused: OrderedDict[tuple[bytes, bool], RequestFault] = OrderedDict()

    def take(self, text: str, *, introspection: bool) -> Document | RequestFault:
        """The document, or why it is refused.

        Without `introspection` a document that reads the schema is refused, and messages suggest no
        names.
        """
        key = (sha256(text.encode("utf-8", "surrogatepass")).digest(), introspection)
        found = self._good.get(key)
        if found is not None:
            self._good.move_to_end(key)
            return found
        refused = self._refused.get(key)
        if refused is not None:
            self._refused.move_to_end(key)
            return refused
        made = _prepare(text, self._schema, self._caps, introspection=introspection)
        if isinstance(made, Document):
            self._keep(key, made)
        else:
            self._refused[key] = made
            if len(self._refused) > self._max_entries:
                self._refused.popitem(last=False)
        return made

    def _keep(self, key: tuple[bytes, bool], made: Document) -> None:
        self._good[key] = made
        self._weight_bytes += made.weight_bytes
        while len(self._good) > self._max_entries or self._weight_bytes > self._max_weight_bytes:
            _, oldest = self._good.popitem(last=False)
            self._weight_bytes -= oldest.weight_bytes


def _prepare(
    text: str, schema: GraphQLSchema, caps: Caps, *, introspection: bool
) -> Document | RequestFault:
    fault = check_text(text, caps)
    if fault is not None:
        return fault
    try:
        node = parse(text, max_lexical_tokens=caps.tokens, max_comments=caps.comments)
    except GraphQLError as error:
        return _refused("parse", "GRAPHQL_PARSE_FAILED", [error])
    fault = check_expanded(node, caps)
    if fault is not None:
        return fault
    introspects = _introspects(node)
    if introspects and not introspection:
        message = "Introspection is not open to this caller."
        return RequestFault("validation", (coded(message, "INTROSPECTION_DISABLED"),))
    errors = validate(
        schema, node, max_errors=_MAX_VALIDATION_ERRORS, hide_suggestions=not introspection
    )
    if errors:
        return _refused("validation", "GRAPHQL_VALIDATION_FAILED", errors)
    operations = {
        definition.name.value if definition.name else "": definition.operation
        for definition in node.definitions
        if isinstance(definition, OperationDefinitionNode)
    }
    octets = len(text.encode("utf-8", "surrogatepass"))
    weight = _DOCUMENT_BYTES + _TOKEN_BYTES * node.token_count + _OCTET_BYTES * octets
    return Document(node=node, operations=operations, introspects=introspects, weight_bytes=weight)


def _refused(kind: FaultKind, code: str, errors: Iterable[GraphQLError]) -> RequestFault:
    return RequestFault(kind, tuple(formatted(errors, code, on_bug=_no_bug)))


def _no_bug(error: BaseException) -> None:
    # Parsing and validation run none of our code, so nothing but the library's errors comes here.
    raise error


def _introspects(node: DocumentNode) -> bool:
    """True where any selection, fragments included, reads `__schema` or `__type`; `__typename` is free."""
    sets: list[SelectionSetNode] = [
        definition.selection_set
        for definition in node.definitions
        if isinstance(definition, OperationDefinitionNode | FragmentDefinitionNode)
    ]
    while sets:
        for selection in sets.pop().selections:
            if isinstance(selection, FieldNode) and selection.name.value in {"__schema", "__type"}:
                return True
            below = getattr(selection, "selection_set", None)
            if below is not None:
                sets.append(below)
    return False
