"""JMESPath expressions (jmespath.org), checked against types at load and compiled to closures.

The library parses and lends its functions; the walk over the tree is ours, because a ProtoJSON tree
leaves out unset fields, and a mapping may spell a field as its proto does. Expressions read values
and make values: they call nothing, keep nothing, and their size, nesting and work are bounded.
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from jmespath.exceptions import JMESPathError, LexerError, ParseError
from jmespath.lexer import Lexer
from jmespath.parser import Parser
from msgspec import Struct

from bff.core.exchange import Json
from bff.core.expressions import EvalError, ExprError, Origin, Output
from bff.core.schema import Field, MessageType
from bff.transform._expr_limits import check_literals, check_repeats, deep_column
from bff.transform._expr_nodes import Compiler
from bff.transform._expr_steps import Meter, Step
from bff.transform.shapes import (
    Shape,
    object_of,
    shape_of_field,
    shape_of_message,
    shape_of_value,
    with_origin,
)

__all__ = [
    "MAX_EXPRESSION_BYTES",
    "MAX_NESTING",
    "MAX_STEPS",
    "EvalError",
    "Expr",
    "ExprError",
    "Output",
    "RootType",
    "binding_fault",
    "compile_expr",
]

MAX_EXPRESSION_BYTES = 1024
# Brackets within brackets.
MAX_NESTING = 16
# Loop turns of one evaluation; a doubling of lists, written ten times, ends here and not in memory.
MAX_STEPS = 100_000
# The library's parser and our compiler recurse over prefixes and chains that no bracket counts;
# these keep both far from Python's own limit.
_MAX_TREE_DEPTH = 64
_MAX_PREFIXES = 32

RootType = MessageType | Shape

_OPENING = frozenset({"lbracket", "lparen", "lbrace", "filter"})
_CLOSING = frozenset({"rbracket", "rparen", "rbrace"})
# Each of these makes the parser recurse without a bracket of its own.
_PREFIXES = frozenset({"not", "expref", "star", "flatten", "filter"})
_PATH_NODES = frozenset(
    {"field", "subexpression", "projection", "flatten", "identity", "index_expression"}
)


class Expr(Struct, frozen=True, kw_only=True):
    """A compiled expression (`core.expressions.Expression`).

    `roots` are the first names it reads; `reads` the full paths in JSON names, lists without a mark;
    `needs` the roots without which it is null (`a || 'x'` reads `a` and needs nothing). `path` is
    set where the expression is nothing but a path (`orders.orders[].id`), `literal` where it is a
    constant. `outputs` says which place of the result reads what.
    """

    source: str
    shape: Shape
    roots: frozenset[str]
    reads: frozenset[Origin]
    needs: frozenset[str]
    outputs: tuple[Output, ...]
    path: Origin | None
    literal: bool
    step: Step

    def evaluate(self, scope: Mapping[str, Json]) -> Json:
        """The value in this scope; absent roots read as null.

        The result may share parts with the scope, so neither may be changed. Raises EvalError where
        a function gets a value it cannot take, or the work exceeds `MAX_STEPS`.
        """
        try:
            return self.step(scope, Meter(MAX_STEPS))
        except EvalError:
            raise
        except (JMESPathError, TypeError, ArithmeticError, RecursionError) as error:
            # TypeError: jmespath's `max`, `sort` and orderings compare whatever the data holds.
            raise EvalError(f"{self.source}: {error}") from error


def compile_expr(
    source: str | float | bool | None,
    roots: Mapping[str, RootType],
) -> Expr:
    """Parse, check and compile one expression; numbers, booleans and null of YAML are literals.

    `roots` are the names it may read. Raises ExprError (column counts from 1 within the source).
    """
    if not isinstance(source, str):
        return _literal(source)
    tokens = _tokens(source)
    _check_bounds(tokens)
    check_literals(source, tokens, max_nesting=MAX_NESTING)
    tree = _parse(source)
    kinds = _check_depth(tree)
    columns = _columns(tree, tokens)
    check_repeats(tree, columns)
    scope = object_of({name: _root_shape(name, type_) for name, type_ in roots.items()})
    node = Compiler(columns, scope).compile_root(tree)
    reads = node.taint
    return Expr(
        source=source,
        shape=node.shape,
        roots=frozenset(path[0] for path in reads),
        reads=reads,
        needs=node.needs,
        outputs=tuple(Output(place, taint) for place, taint in node.outs),
        path=node.shape.origin if kinds <= _PATH_NODES and node.shape.origin else None,
        literal=tree["type"] == "literal",
        step=node.step,
    )


def binding_fault(expr: Expr, target: Field, owner: str) -> ExprError | None:
    """What is wrong with giving this expression's result to a request field, or None.

    `owner` names the request type in the message.
    """
    if expr.shape.kind in {"any", "null"}:
        return None
    wanted = shape_of_field(target)
    if _fits(expr.shape, wanted):
        return None
    hint = _BINDING_HINTS.get((expr.shape.kind, wanted.kind), "").format(expr.source)
    if expr.literal and hint.startswith("write to_string"):
        hint = f"write \"'{expr.source}'\""
    return ExprError(
        f"{expr.source} is {expr.shape.words}, {owner}.{target.name} {wanted.words}", 1, hint
    )


_BINDING_HINTS: dict[tuple[str, str], str] = {
    ("number", "string"): "write to_string({0})",
    ("boolean", "string"): "write to_string({0})",
    ("string", "number"): "write to_number({0})",
    ("string", "list"): "write [{0}]",
    ("int64", "list"): "write [{0}]",
    ("number", "list"): "write [{0}]",
    ("list", "string"): "write {0} | [0]",
}
# What ProtoJSON takes beside the kind itself: a 64-bit integer may come as a number or as text,
# text may be an enum's name or a number.
_ALSO_FITS: dict[str, frozenset[str]] = {
    "int64": frozenset({"string", "number"}),
    "string": frozenset({"int64", "enum"}),
    "enum": frozenset({"string"}),
    "number": frozenset({"int64"}),
    "map": frozenset({"object", "message"}),
    "message": frozenset({"object", "map"}),
}


def _fits(have: Shape, want: Shape) -> bool:
    if "any" in {have.kind, want.kind}:
        return True
    if have.kind == "list" and want.kind == "list":
        return have.item is None or want.item is None or _fits(have.item, want.item)
    if have.kind == "message" and want.kind == "message":
        return have.message is want.message or (
            have.message is not None
            and want.message is not None
            and have.message.full_name == want.message.full_name
        )
    return have.kind == want.kind or have.kind in _ALSO_FITS.get(want.kind, frozenset())


def _root_shape(name: str, root: RootType) -> Shape:
    shape = root if isinstance(root, Shape) else shape_of_message(root)
    return with_origin(shape, (name,))


def _literal(value: Json) -> Expr:
    return Expr(
        source=str(value),
        shape=shape_of_value(value),
        roots=frozenset(),
        reads=frozenset(),
        needs=frozenset(),
        outputs=(Output("", frozenset()),),
        path=None,
        literal=True,
        step=lambda _value, _meter: value,
    )


def _tokens(source: str) -> list[dict[str, Any]]:
    if not source.strip():
        raise ExprError("an expression cannot be empty", 1, "write \"''\" for empty text")
    if len(source.encode()) > MAX_EXPRESSION_BYTES:
        raise ExprError(f"the expression is longer than {MAX_EXPRESSION_BYTES} bytes", 1)
    try:
        with warnings.catch_warnings():
            # Of literals that are no JSON; they are refused below.
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            return list(Lexer().tokenize(source))
    except LexerError as error:
        raise ExprError(error.message, error.lexer_position + 1) from error
    except RecursionError as error:
        raise ExprError("the literal is nested too deeply", deep_column(source)) from error


def _check_bounds(tokens: list[dict[str, Any]]) -> None:
    depth = prefixes = 0
    for token in tokens:
        kind = token["type"]
        depth += (kind in _OPENING) - (kind in _CLOSING)
        prefixes += kind in _PREFIXES
        if depth > MAX_NESTING or prefixes > _MAX_PREFIXES:
            raise ExprError(
                f"the expression is nested deeper than {MAX_NESTING}", token["start"] + 1
            )


def _parse(source: str) -> dict[str, Any]:
    try:
        tree: dict[str, Any] = Parser().parse(source).parsed
    except ParseError as error:
        # An incomplete expression has no token to point at; its end is the place.
        position = len(source) if error.lex_position is None else error.lex_position
        raise ExprError(_parse_message(error), position + 1) from error
    except JMESPathError as error:
        raise ExprError(str(error).splitlines()[0], 1) from error
    return tree


def _parse_message(error: ParseError) -> str:
    if not error.token_value:
        return "the expression ends too early"
    return f"unexpected {error.token_value!r}"


def _check_depth(tree: dict[str, Any]) -> frozenset[str]:
    """The kinds of node in the tree; raises ExprError where it is too deep to walk."""
    kinds: set[str] = set()
    level = [tree]
    for _ in range(_MAX_TREE_DEPTH):
        if not level:
            return frozenset(kinds)
        kinds.update(node["type"] for node in level)
        level = [child for node in level for child in _children(node)]
    raise ExprError(f"the expression is nested deeper than {MAX_NESTING}", 1)


def _children(node: dict[str, Any]) -> list[dict[str, Any]]:
    """A node's children in the order of the text."""
    children = [child for child in node.get("children", ()) if isinstance(child, dict)]
    if node["type"] == "filter_projection":
        left, right, condition = children
        return [left, condition, right]
    return children


_NAMED = frozenset({"field", "function_expression", "key_val_pair"})
_NAME_TOKENS = frozenset({"unquoted_identifier", "quoted_identifier"})


def _columns(tree: dict[str, Any], tokens: list[dict[str, Any]]) -> dict[int, int]:
    """Columns of the named nodes, by `id`: the tree has no positions, but names come in its order."""
    names = (token for token in tokens if token["type"] in _NAME_TOKENS)
    return {
        id(node): token["start"] + 1 for node, token in zip(_named_nodes(tree), names, strict=False)
    }


def _named_nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if node["type"] in _NAMED:
        yield node
    for child in _children(node):
        yield from _named_nodes(child)
