"""CEL conditions (cel.dev): checked and compiled at load, answered with True or False at request.

The library has no types, no step limit and no view of the syntax tree, so what a condition may be
is judged on its tokens: known names and functions, comprehensions not nested, patterns as literals.
"""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Final, Literal

import re2
from msgspec import Struct

from bff.core.exchange import Json
from bff.core.expressions import EvalError, ExprError
from bff.core.problems import nearest
from bff.transform.cel_library import Program, compile_text, evaluate_text

__all__ = ["Condition", "ConditionError", "ConditionFault", "compile_condition"]

TEXT_BYTES: Final = 1024
# A comprehension visits each item once; with this many a condition stays within a millisecond.
ITEMS: Final = 100

# What the library may raise for a value that does not fit the expression.
_RUN_ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)

_MACROS = frozenset({"all", "exists", "exists_one", "existsOne", "map", "filter"})
_FUNCTIONS = frozenset(
    {
        "has", "size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double",
        "string", "bool", "bytes", "dyn", "type", "timestamp", "duration", "getFullYear", "getMonth",
        "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getHours", "getMinutes",
        "getSeconds", "getMilliseconds", "min", "max",
    }
)  # fmt: skip
_WORDS = frozenset({"true", "false", "null", "in"})

# The tokens of CEL's grammar that matter here. Alternatives start with different characters or are
# ordered longest first, and none can match the same text in two ways, so the scan is linear.
_TOKEN = re.compile(
    r"""(?P<skip>[ \t\r\n\f]+|//[^\n]*)
    |(?P<text>[rRbB]{0,2}(?:'''(?s:.*?)'''|\"\"\"(?s:.*?)\"\"\"|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"))
    |(?P<number>[0-9][0-9a-zA-Z_]*(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?)?[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>.)""",
    re.VERBOSE,
)
_PARSE_PLACE = re.compile(r"<input>:(\d+):(\d+): ([^\n]*)")


class ConditionError(ExprError):
    """A condition that cannot be used; `column` counts from 1 within its line."""


class ConditionFault(EvalError):
    """A condition that could not be decided for this request: a missing key, a type that does not fit.

    The text names the fault and no values.
    """


class Condition:
    """A compiled condition. `names` are the root names it reads."""

    __slots__ = ("_chains", "_execute", "_loops", "names", "text")

    def __init__(self, text: str, program: Program, shape: "_Shape") -> None:
        self.text = text
        self.names = shape.roots
        self._execute = program.execute
        self._loops = bool(shape.bound)
        self._chains = shape.chains

    def members_of(self, root: str) -> set[str]:
        """The members that it asks `root` for by name."""
        return {chain[1] for chain in self._chains if chain[0] == root and len(chain) > 1}

    def holds(self, scope: Mapping[str, Json]) -> bool:
        """The answer over `scope` (root name -> JSON tree).

        Raises ConditionFault when there is none; the caller denies.
        """
        # The library copies what it is given, so only what the condition reads.
        try:
            roots = {name: scope[name] for name in self.names}
        except KeyError as error:
            raise ConditionFault("a root name has no value here") from error
        if self._loops and any(_is_long(tree) for tree in roots.values()):
            raise ConditionFault(f"a list or object has more than {ITEMS} items")
        try:
            answer = self._execute(roots)
        except _RUN_ERRORS as error:
            raise ConditionFault(f"cannot be decided: {type(error).__name__}") from error
        if answer is True or answer is False:
            return answer
        raise ConditionFault("the result is not true or false")


def compile_condition(
    text: str, names: frozenset[str], *, samples: Mapping[str, Json] | None = None
) -> Condition:
    """Compile a condition over the root `names`.

    `samples` gives trees that roots are sure to look like (as `auth`); for the others the dry run
    makes up what the condition asks for. Raises ConditionError: too long, not CEL, a name or
    function that is not known, nested comprehensions, a result that is not true or false.
    """
    if len(text.encode()) > TEXT_BYTES:
        raise ConditionError(f"a condition has at most {TEXT_BYTES} bytes", TEXT_BYTES)
    try:
        program = compile_text(text)
    except _RUN_ERRORS as error:
        raise _parse_error(str(error)) from error
    shape = _read_shape(_tokens(text), names)
    # The library's own analysis must agree, should it read the text differently than we do.
    strange = sorted(set(program.variables()) - shape.bound - names)
    if strange:
        raise ConditionError(f"{strange[0]!r} is not known{_hint(strange[0], names)}")
    condition = Condition(text, program, shape)
    _dry_run(condition, shape, samples or {})
    return condition


class _Token(Struct, frozen=True):
    kind: Literal["text", "number", "name", "mark"]
    text: str
    column: int


class _Shape(Struct):
    """What the tokens tell: roots read, loop variables, and the member chains asked of each root."""

    roots: frozenset[str]
    bound: frozenset[str]
    chains: list[tuple[str, ...]]


def _tokens(text: str) -> list[_Token]:
    found = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind in ("text", "number", "name", "mark"):
            # A column within the line, as the parser counts.
            column = match.start() - text.rfind("\n", 0, match.start())
            found.append(_Token(kind, match.group(), column))  # type: ignore[arg-type]  # narrowed by the line above
    return found


def _read_shape(tokens: Sequence[_Token], names: frozenset[str]) -> _Shape:
    bound = _loop_variables(tokens, names)
    roots: set[str] = set()
    chains: list[tuple[str, ...]] = []
    for index, token in enumerate(tokens):
        if token.kind != "name" or token.text in _WORDS:
            continue
        after = _text_at(tokens, index + 1)
        is_member = _text_at(tokens, index - 1) == "."
        if after == "(":
            _check_function(tokens, index)
        elif not is_member and token.text not in bound:
            if token.text not in names:
                raise ConditionError(
                    f"{token.text!r} is not known{_hint(token.text, names)}", token.column
                )
            roots.add(token.text)
            chains.append(_chain(tokens, index))
    return _Shape(frozenset(roots), frozenset(bound), chains)


def _text_at(tokens: Sequence[_Token], index: int) -> str:
    return tokens[index].text if 0 <= index < len(tokens) else ""


def _check_function(tokens: Sequence[_Token], index: int) -> None:
    token = tokens[index]
    if token.text not in _FUNCTIONS and token.text not in _MACROS:
        hint = _hint(token.text, _FUNCTIONS | _MACROS)
        raise ConditionError(f"function {token.text!r} is not known{hint}", token.column)
    if token.text == "matches":
        _check_pattern(tokens, index)


def _check_pattern(tokens: Sequence[_Token], index: int) -> None:
    """`x.matches('...')`: a literal, so that no request can bring a pattern, and one RE2 takes."""
    if index + 3 >= len(tokens) or tokens[index + 2].kind != "text":
        raise ConditionError("matches() takes a pattern written as text", tokens[index].column)
    literal = tokens[index + 2]
    if tokens[index + 3].text != ")" or _text_at(tokens, index - 1) != ".":
        raise ConditionError("write value.matches('pattern')", tokens[index].column)
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(str(evaluate_text(literal.text)), options=options)
    except re2.error as error:
        raise ConditionError(f"not an RE2 pattern: {error}", literal.column) from error


def _loop_variables(tokens: Sequence[_Token], names: frozenset[str]) -> set[str]:
    """The variables that comprehensions bind. Raises ConditionError for one inside another."""
    bound: set[str] = set()
    depth = 0
    loop_depth = 0
    for index, token in enumerate(tokens):
        if token.text in "([{" and token.kind == "mark":
            depth += 1
        elif token.text in ")]}" and token.kind == "mark":
            if depth == loop_depth:
                loop_depth = 0
            depth -= 1
        elif (
            token.kind == "name"
            and token.text in _MACROS
            and _text_at(tokens, index - 1) == "."
            and _text_at(tokens, index + 1) == "("
        ):
            if loop_depth:
                raise ConditionError("comprehensions may not be nested", token.column)
            loop_depth = depth + 1
            variable = _text_at(tokens, index + 2)
            if variable in names:
                raise ConditionError(
                    f"{variable!r} is taken; name the item otherwise", token.column
                )
            bound.add(variable)
    return bound


def _chain(tokens: Sequence[_Token], index: int) -> tuple[str, ...]:
    """`a.b['c']` -> (a, b, c): the members that are asked for by name."""
    chain = [tokens[index].text]
    index += 1
    while True:
        after = [_text_at(tokens, index + ahead) for ahead in range(3)]
        if after[0] == "." and after[2] != "(":
            chain.append(after[1])
            index += 2
        elif after[0] == "[" and after[2] == "]" and tokens[index + 1].kind == "text":
            chain.append(str(evaluate_text(after[1])))
            index += 3
        else:
            return tuple(chain)


# What a value that the condition reads might be; one after the other until there is an answer.
_LEAVES: Final[tuple[Json, ...]] = ("s", 1, 1.5, True, ["s"], [1], {"s": "s"})


def _dry_run(condition: Condition, shape: _Shape, samples: Mapping[str, Json]) -> None:
    """Refuse a condition whose answer is no bool, or whose types never fit, whatever its inputs."""
    _check_sampled(shape, samples)
    faults: list[ConditionFault] = []
    for leaf in _LEAVES:
        scope = {root: deepcopy(samples.get(root, {})) for root in condition.names}
        for chain in shape.chains:
            # A copy: one that a longer chain of the same root goes through would hold itself.
            _plant(scope, chain, deepcopy(leaf))
        try:
            condition.holds(scope)
        except ConditionFault as fault:
            faults.append(fault)
        else:
            return
    # An index too high or a zero below a line says nothing of types: made-up values may cause it.
    if any(isinstance(fault.__cause__, (ArithmeticError, LookupError)) for fault in faults):
        return
    raise ConditionError(f"the result is never true or false: {faults[0]}")


def _check_sampled(shape: _Shape, samples: Mapping[str, Json]) -> None:
    for root, *members in shape.chains:
        if root in samples and members and members[0] not in samples[root]:
            hint = _hint(members[0], frozenset(samples[root]))
            raise ConditionError(f"{root!r} has no {members[0]!r}{hint}")


def _plant(scope: dict[str, Json], chain: tuple[str, ...], leaf: Json) -> None:
    if len(chain) == 1:
        scope[chain[0]] = scope.get(chain[0]) or leaf
        return
    place = scope
    for name in chain[:-1]:
        inner = place.get(name)
        if not isinstance(inner, dict):
            inner = place[name] = {}
        place = inner
    place.setdefault(chain[-1], leaf)


def _is_long(tree: Json) -> bool:
    """True if any list or object in the tree has more items than a comprehension may visit."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (list, tuple, dict)):
            if len(node) > ITEMS:
                return True
            waiting.extend(node.values() if isinstance(node, dict) else node)
    return False


def _parse_error(text: str) -> ConditionError:
    places = list(_PARSE_PLACE.finditer(text))
    if not places:
        return ConditionError("not a CEL expression")
    # What macros complain of comes first and has no place.
    place = next((found for found in places if int(found[2])), places[0])
    return ConditionError(f"not a CEL expression: {place[3]}", int(place[2]) or 1)


def _hint(name: str, known: frozenset[str]) -> str:
    close = nearest(name, known)
    return f"; did you mean {close!r}?" if close else f"; known are {', '.join(sorted(known))}"
