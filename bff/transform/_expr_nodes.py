"""The compiler behind `transform.expr`: JMESPath nodes to closures, with shapes checked on the way.

Each `_compile_*` takes a node of the library's tree and the shape of the value it is applied to, and
gives a Node: the closure, the result's shape, and what it reads. Semantics are those of the library's
own interpreter; only the reading of a message's fields differs (defaults, both spellings).
"""

from collections.abc import Callable, Mapping
from typing import Any

from bff.core.exchange import Json
from bff.core.expressions import ExprError
from bff.core.problems import did_you_mean
from bff.transform._expr_functions import (
    FUNCTION_NAMES,
    argument_fault,
    call_function,
    count_fault,
    result_shape,
    signature_of,
    text_size,
    wanted_words,
)
from bff.transform._expr_parts import Node, chained, common, gathered, projected, said, shape_below
from bff.transform._expr_steps import (
    Meter,
    comparer,
    field_getter,
    filterer,
    flattener,
    getter,
    indexer,
    is_false,
    projector,
    reference,
    value_projector,
)
from bff.transform.shapes import (
    ANY,
    BOOLEAN,
    Shape,
    item_of,
    object_of,
    shape_of_field,
    shape_of_value,
    with_origin,
)

__all__ = ["Compiler"]

# Text costs memory, not turns: with this many to a turn an evaluation makes some megabytes of it.
_CHARACTERS_PER_TURN = 64


class Compiler:
    """Compiles one expression's tree; `columns` are its named nodes' places by `id`, `scope` the roots."""

    def __init__(self, columns: Mapping[int, int], scope: Shape) -> None:
        self._columns = columns
        self._scope = scope
        # Where a fault without a name of its own is shown: at the last name before it.
        self._column = 1
        self._table: dict[str, Callable[[dict[str, Any], Shape], Node]] = {
            "and_expression": self._compile_and,
            "comparator": self._compile_comparator,
            "current": self._compile_current,
            "field": self._compile_field,
            "filter_projection": self._compile_filter,
            "flatten": self._compile_flatten,
            "function_expression": self._compile_function,
            "identity": self._compile_current,
            "index": self._compile_index,
            "index_expression": self._compile_chain,
            "literal": self._compile_literal,
            "multi_select_dict": self._compile_dict,
            "multi_select_list": self._compile_list,
            "not_expression": self._compile_not,
            "or_expression": self._compile_or,
            "pipe": self._compile_chain,
            "projection": self._compile_projection,
            "slice": self._compile_slice,
            "subexpression": self._compile_chain,
            "value_projection": self._compile_values,
        }

    def compile_root(self, tree: dict[str, Any]) -> Node:
        """The whole expression over the scope; raises ExprError."""
        return self._compile(tree, self._scope)

    def _compile(self, node: dict[str, Any], shape: Shape) -> Node:
        self._column = self._columns.get(id(node), self._column)
        if node["type"] == "expref":
            raise self._error("& stands only before an argument of map, sort_by, min_by and max_by")
        return self._table[node["type"]](node, shape)

    def _error(self, message: str, hint: str = "") -> ExprError:
        return ExprError(message, self._column, hint)

    # Names

    def _compile_field(self, node: dict[str, Any], shape: Shape) -> Node:
        name = node["value"]
        match shape.kind:
            case "message":
                return self._message_field(name, shape)
            case "object":
                return self._object_field(name, shape)
            case "any" | "null":
                return Node(step=getter(name, None), shape=shape_below(ANY, shape, name))
            case "map":
                return Node(step=getter(name, None), shape=shape_below(item_of(shape), shape, name))
            case "list":
                hint = f"write [].{name}"
                raise self._error(f"'{name}' is read from a list", hint)
            case _:
                raise self._error(f"{shape.words} has no field '{name}'")

    def _message_field(self, name: str, shape: Shape) -> Node:
        message = shape.message
        assert message is not None
        field = message.by_name.get(name)
        if field is None:
            hint = did_you_mean(name, [*(one.name for one in message.fields), *message.by_name])
            raise self._error(f"{message.full_name} has no field '{name}'", hint)
        below = shape_below(shape_of_field(field), shape, field.json_name)
        return Node(step=field_getter(field), shape=below)

    def _object_field(self, name: str, shape: Shape) -> Node:
        fields = shape.fields or {}
        below = fields.get(name)
        if below is None:
            raise self._error(f"there is no '{name}' here", did_you_mean(name, fields))
        # Only the scope's own names are roots; those of a `{..}` lead on to where they came from.
        needs = frozenset({name}) if below.origin == (name,) else frozenset()
        return Node(step=getter(name, None), shape=below, needs=needs)

    def _compile_current(self, _node: dict[str, Any], shape: Shape) -> Node:
        if shape is self._scope:
            # It would read every name there is, and so make this wait for every source.
            raise self._error("an expression starts with a name")
        return Node(step=lambda value, _meter: value, shape=shape)

    def _compile_literal(self, node: dict[str, Any], _shape: Shape) -> Node:
        value = node["value"]
        return Node(step=lambda _value, _meter: value, shape=shape_of_value(value))

    # Chains and lists

    def _compile_chain(self, node: dict[str, Any], shape: Shape) -> Node:
        links: list[Node] = []
        for child in node["children"]:
            links.append(self._compile(child, links[-1].shape if links else shape))
        return chained(links)

    def _compile_index(self, node: dict[str, Any], shape: Shape) -> Node:
        self._require_list(shape, f"[{node['value']}]")
        return Node(step=indexer(node["value"]), shape=item_of(shape))

    def _compile_slice(self, node: dict[str, Any], shape: Shape) -> Node:
        self._require_list(shape, "a slice")
        if node["children"][2] == 0:
            raise self._error("a slice cannot step by 0")
        part = slice(*node["children"])

        def step(value: Json, _meter: Meter) -> Json:
            return value[part] if isinstance(value, list) else None

        return Node(step=step, shape=shape)

    def _compile_flatten(self, node: dict[str, Any], shape: Shape) -> Node:
        base = self._compile(node["children"][0], shape)
        self._require_list(base.shape, "[]")
        item = item_of(base.shape)
        flat = item if item.kind == "list" else Shape(kind="list", item=item)
        return Node(
            step=flattener(base.step),
            shape=with_origin(flat, base.shape.origin) if base.shape.origin else flat,
            read=base.read,
            needs=base.needs,
        )

    def _compile_projection(self, node: dict[str, Any], shape: Shape) -> Node:
        base = self._compile(node["children"][0], shape)
        self._require_list(base.shape, "[*]")
        right = self._compile(node["children"][1], item_of(base.shape))
        return projected(base, right, projector(base.step, right.step))

    def _compile_values(self, node: dict[str, Any], shape: Shape) -> Node:
        base = self._compile(node["children"][0], shape)
        if base.shape.kind not in {"any", "null", "map", "message", "object"}:
            raise self._error(f"'*' is read from {base.shape.words}")
        item = item_of(base.shape) if base.shape.kind == "map" else ANY
        right = self._compile(node["children"][1], with_origin(item, base.shape.origin))
        return projected(base, right, value_projector(base.step, right.step))

    def _compile_filter(self, node: dict[str, Any], shape: Shape) -> Node:
        base = self._compile(node["children"][0], shape)
        self._require_list(base.shape, "[?..]")
        condition = self._compile(node["children"][2], item_of(base.shape))
        right = self._compile(node["children"][1], item_of(base.shape))
        done = projected(base, right, filterer(base.step, condition.step, right.step))
        return Node(
            step=done.step,
            shape=done.shape,
            read=done.read | condition.taint,
            needs=done.needs,
            parts=(("", done.taint | condition.taint), *done.parts[1:]) if done.parts else (),
        )

    def _require_list(self, shape: Shape, what: str) -> None:
        if shape.kind not in {"list", "any", "null"}:
            said = ".".join(shape.origin) or "the value"
            raise self._error(f"{what} is applied to {said}, which is {shape.words}")

    # Selections

    def _compile_dict(self, node: dict[str, Any], shape: Shape) -> Node:
        parts = []
        for pair in node["children"]:
            self._column = self._columns.get(id(pair), self._column)
            parts.append((pair["value"], self._compile(pair["children"][0], shape)))
        steps = tuple((name, part.step) for name, part in parts)

        def step(value: Json, meter: Meter) -> Json:
            if value is None:
                return None
            meter.spend(len(steps))
            return {name: make(value, meter) for name, make in steps}

        made = gathered(step, [part for _, part in parts])
        made.shape = object_of({name: part.shape for name, part in parts})
        made.parts = tuple(
            (f".{name}{place}", taint) for name, part in parts for place, taint in part.outs
        )
        return made

    def _compile_list(self, node: dict[str, Any], shape: Shape) -> Node:
        parts = [self._compile(child, shape) for child in node["children"]]
        steps = tuple(part.step for part in parts)

        def step(value: Json, meter: Meter) -> Json:
            if value is None:
                return None
            meter.spend(len(steps))
            return [make(value, meter) for make in steps]

        made = gathered(step, parts)
        kinds = {part.shape.kind for part in parts}
        item = with_origin(parts[0].shape, ()) if len(kinds) == 1 else ANY
        made.shape = Shape(kind="list", item=item)
        return made

    # Logic

    def _compile_or(self, node: dict[str, Any], shape: Shape) -> Node:
        left, right = (self._compile(child, shape) for child in node["children"])
        left_step, right_step = left.step, right.step

        def step(value: Json, meter: Meter) -> Json:
            found = left_step(value, meter)
            return right_step(value, meter) if is_false(found) else found

        return Node(
            step=step,
            shape=common(left.shape, right.shape),
            read=left.taint | right.taint,
            needs=left.needs & right.needs,
        )

    def _compile_and(self, node: dict[str, Any], shape: Shape) -> Node:
        left, right = (self._compile(child, shape) for child in node["children"])
        left_step, right_step = left.step, right.step

        def step(value: Json, meter: Meter) -> Json:
            found = left_step(value, meter)
            return found if is_false(found) else right_step(value, meter)

        made = gathered(step, [left, right])
        made.shape = common(left.shape, right.shape)
        return made

    def _compile_not(self, node: dict[str, Any], shape: Shape) -> Node:
        inner = self._compile(node["children"][0], shape)
        inner_step = inner.step
        made = gathered(lambda value, meter: is_false(inner_step(value, meter)), [inner])
        made.shape = BOOLEAN
        return made

    def _compile_comparator(self, node: dict[str, Any], shape: Shape) -> Node:
        left, right = (self._compile(child, shape) for child in node["children"])
        self._check_comparison(left, right)
        self._check_comparison(right, left)
        step = comparer(node["value"], left.step, right.step)
        made = gathered(step, [left, right])
        made.shape = BOOLEAN
        return made

    def _check_comparison(self, one: Node, other: Node) -> None:
        if one.shape.kind == "int64" and other.shape.kind == "number":
            hint = f"write to_number({one.shape.origin[-1] if one.shape.origin else '..'})"
            message = (
                f"{said(one)} is a 64-bit integer, which is text here, and never equals a number"
            )
            raise self._error(message, hint)
        if one.shape.kind == "enum" and other.shape.kind == "string" and not other.taint:
            literal = other.step(None, Meter(0))
            if isinstance(literal, str) and literal not in one.shape.names:
                message = f"{said(one)} is never '{literal}'"
                raise self._error(message, did_you_mean(literal, one.shape.names))

    # Functions

    def _compile_function(self, node: dict[str, Any], shape: Shape) -> Node:
        name = node["value"]
        if name not in FUNCTION_NAMES:
            raise self._error(f"there is no function '{name}'", did_you_mean(name, FUNCTION_NAMES))
        children = node["children"]
        arguments = self._arguments(name, children, shape)
        steps = tuple(
            reference(argument.step) if child["type"] == "expref" else argument.step
            for child, argument in zip(children, arguments, strict=True)
        )

        def step(value: Json, meter: Meter) -> Json:
            given = [make(value, meter) for make in steps]
            meter.spend(1 + text_size(name, given) // _CHARACTERS_PER_TURN)
            made = call_function(name, given)
            if isinstance(made, str):
                meter.spend(len(made) // _CHARACTERS_PER_TURN)
            return made

        made = gathered(step, arguments)
        if name == "not_null":
            made.needs = frozenset.intersection(*(argument.needs for argument in arguments))
        elif name == "type":
            made.needs = frozenset()
        made.shape = result_shape(name, [argument.shape for argument in arguments])
        return made

    def _arguments(self, name: str, children: list[dict[str, Any]], shape: Shape) -> list[Node]:
        """Compiled in two turns: an `&expression` reads the items of the list beside it."""
        signature = signature_of(name)
        fault = count_fault(name, signature, len(children))
        if fault:
            raise self._error(fault)
        done: dict[int, Node] = {}
        for index, child in enumerate(children):
            wanted = signature[min(index, len(signature) - 1)]["types"]
            if ("expref" in wanted) is not (child["type"] == "expref"):
                raise self._error(f"argument {index + 1} of {name}() is {wanted_words(wanted)}")
            if child["type"] != "expref":
                done[index] = self._compile(child, shape)
                wrong = argument_fault(name, wanted, done[index].shape, said(done[index]))
                if wrong:
                    raise self._error(*wrong)
        items = next((item_of(node.shape) for node in done.values()), ANY)
        for index, child in enumerate(children):
            if child["type"] == "expref":
                done[index] = self._compile(child["children"][0], items)
        return [done[index] for index in range(len(children))]
