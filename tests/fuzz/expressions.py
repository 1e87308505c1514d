"""Expressions of mappings over values of strangers: JMESPath held to its library, CEL to its own algebra."""

import json
from collections.abc import Mapping
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions, signature

from bff.core.errors import ClientError
from bff.core.expressions import EvalError, ExprError
from bff.core.json_text import read_json
from bff.transform.condition import Condition, ConditionFault, compile_condition
from bff.transform.expr import RootType, compile_expr
from bff.transform.shapes import ANY
from tests.support.shop_types import make_shop

__all__ = ["CONDITION_SEEDS", "EXPRESSION_SEEDS", "conditions", "expressions"]

_TREE = (
    b'{"a":[{"b":"x","c":[1,2]},{"b":"\xc3\xa4","c":[3]}],"b":{"a":{"c":-1.5},"b":"10"},"c":"c"}'
)
# The expression, a line break, and the tree that it reads.
EXPRESSION_SEEDS = (
    b"a[?b == 'x'].{n: length(c), s: sum(c), t: to_number(b)}\n" + _TREE,
    b'b.*.c | [0] || `{"a": [1.5, null]}`\n' + _TREE,
    b"sort_by(a, &b)[::-1].c[] | [?@ > `1`] | max(@)\n" + _TREE,
    b'join(c, a[].b) || to_string([b, "c"]) && !(b.b)\n' + _TREE,
    b"order.items[?quantity > `2`].product_id | to_string(@)\n" + b'{"order":{"items":[{"quantity":3}]}}',
    b"map(&merge(@, {d: `1`}), a) | not_null(x, contains(keys(@), 'b'), to_array(@))\n" + _TREE,
    b"ceil(to_number(c)) || floor(avg(a[0].c)) || abs(b.a.c)\n" + b'{"c":"nan"}',
    b"a|[@,@]|to_string([@])|[@,@]\n" + _TREE,
    b'`[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]` || `NaN` || "\\ud800"\n',
)  # fmt: skip
CONDITION_SEEDS = (
    b"a.b == 'x' || 'y' in a.c && size(b) > 2\n" + _TREE,
    b"has(a.b.c) ? a.b.c >= 1.5 : a.exists(x, x.matches('^[a-c]+$'))\n" + _TREE,
    b"timestamp(c) - duration('1h') < timestamp(c)\n" + b'{"c":"2029-12-31T23:59:59Z"}',
    b"int(c) / 2 + 9223372036854775807 > 0 && b'\\x01' != bytes(c) // why\n" + b'{"c":"0"}',
    b"a.map(x, x + 'y').filter(y, y.startsWith(r'\\n')).all(z, size(z) > 1u)\n" + b'{"a":["p"]}',
    # A root and a member of it.
    b"a+a.m/ 92//22",
    b"[1, 2][c] == {'a': 1}['a'] && -(-c) == c && \"\"\"a\n\"\"\".contains('''b''')\n" + b'{"c":1}',
)

_SHOP = make_shop()
_ROOTS: dict[str, RootType] = {"a": ANY, "b": ANY, "c": ANY, "order": _SHOP.order}
_NAMES = frozenset({"a", "b", "c"})


class _SpecFunctions(Functions):  # type: ignore[misc]  # the library has no types
    """The library's functions, with to_number as the specification has it: a number of JSON, or null."""

    @signature({"types": []})  # type: ignore[untyped-decorator]  # as above
    def _func_to_number(self, given: Any) -> Any:
        if isinstance(given, bool) or not isinstance(given, int | float | str):
            return None
        try:
            made = json.loads(given) if isinstance(given, str) and given == given.strip() else given
        except ValueError:
            return None
        if isinstance(made, str | bool) or made is None or not _is_finite(made):
            return None
        return made


_OPTIONS = jmespath.Options(custom_functions=_SpecFunctions())


def expressions(raw: bytes) -> None:
    """Compiled, it is worth what the library says, as JSON that a reply can carry; else its place is told."""
    source, tree = _split(raw)
    if source is None:
        return
    try:
        compiled = compile_expr(source, _ROOTS)
    except ExprError as error:
        assert 1 <= error.column <= len(source) + 1  # noqa: PT017 - most inputs raise
        return
    assert compiled.roots <= set(_ROOTS)
    assert compiled.needs <= compiled.roots
    before = json.dumps(tree)
    try:
        value = compiled.evaluate(tree)
    except EvalError:
        return
    finally:
        assert json.dumps(tree) == before
    # It needs only what it says that it reads.
    assert repr(value) == repr(compiled.evaluate({name: tree.get(name) for name in compiled.roots}))
    shown = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    assert len(shown) <= 8 * (len(raw) + 64) * 256
    # What has types reads unset fields otherwise.
    if "order" not in compiled.roots and _is_free(tree):
        assert repr(value) == _by_library(source, tree)


def _by_library(source: str, tree: Any) -> str:
    try:
        return repr(jmespath.compile(source).search(tree, options=_OPTIONS))
    except (JMESPathError, TypeError, ArithmeticError) as error:
        return f"fault {error!r}"


def conditions(raw: bytes) -> None:
    """True, false or a fault; its opposite is the opposite, and in brackets it is the same."""
    text, tree = _split(raw)
    if text is None:
        return
    scope = {name: tree.get(name) for name in _NAMES}
    try:
        condition = compile_condition(text, _NAMES)
    except ExprError as error:
        assert 1 <= error.column <= len(text.encode()) + 1  # noqa: PT017 - most inputs raise
        return
    answer = _answer(condition, scope)
    assert answer == _answer(condition, scope)
    for form, expected in (("({}\n)", answer), ("!({}\n)", _opposite(answer))):
        try:
            other = compile_condition(form.format(text), _NAMES)
        except ExprError:
            # Longer, or nested deeper, than one may be.
            continue
        assert _answer(other, scope) == expected


def _answer(condition: Condition, scope: Mapping[str, Any]) -> str:
    try:
        return str(condition.holds(scope))
    except ConditionFault:
        return "fault"


def _opposite(answer: str) -> str:
    return {"True": "False", "False": "True"}.get(answer, answer)


def _split(raw: bytes) -> tuple[str | None, Any]:
    """The text, and the tree behind its last line break; the usual one where it is none."""
    source, _, text = raw.rpartition(b"\n")
    try:
        tree = read_json(text)
    except ClientError:
        source, tree = raw, read_json(_TREE)
    if not isinstance(tree, dict):
        source, tree = raw, read_json(_TREE)
    try:
        return source.decode(), tree
    except UnicodeDecodeError:
        return None, tree


def _is_finite(number: float) -> bool:
    return abs(number) <= 1.7976931348623157e308


def _is_free(tree: Any) -> bool:
    """Without integers that are no 64-bit ones: those come out of functions as doubles."""
    if isinstance(tree, dict):
        return all(map(_is_free, tree.values()))
    if isinstance(tree, list):
        return all(map(_is_free, tree))
    return not isinstance(tree, int) or abs(tree) < 2**53
