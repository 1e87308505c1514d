"""Keys of a route that could never have an effect, or only the wrong one: refused, not ignored."""

from collections.abc import Iterable, Sequence

from bff.core.expressions import ExprError
from bff.core.problems import nearest
from bff.core.schema import Method
from bff.snapshot.bindings import Entry
from bff.snapshot.findings import Findings
from bff.snapshot.policies import RULE_NAMES
from bff.transcoding.path_template import Template
from bff.transform.condition import ConditionError, compile_condition
from bff.transform.expr import compile_expr
from bff.transform.shapes import ANY

__all__ = ["judge_entry"]


def judge_entry(entry: Entry, templates: Sequence[Template], find: Findings) -> None:
    """Note what a route writes in vain. Only what it writes itself: wider levels speak for many routes."""
    if not entry.exact:
        return
    if "stream" in entry.route.model_fields_set and not _streams(entry.method):
        find.add(
            entry.file,
            f"{entry.method.name} is no stream",
            "routes",
            entry.index,
            "stream",
            hint="remove `stream`",
        )
    if templates:
        _judge_path_names(entry, templates, find)


def _streams(method: Method) -> bool:
    return method.server_streaming or method.client_streaming


def _judge_path_names(entry: Entry, templates: Sequence[Template], find: Findings) -> None:
    """A rule about a name that neither a path of the route nor its message has: it would refuse everyone."""
    auth = entry.route.auth
    if auth is None:
        return
    # As `path_of` gives them: under the whole text and the last part.
    paths = [variable.path for template in templates for variable in template.variables]
    variables = {name for path in paths for name in (".".join(path), path[-1])}
    # Below aggregates and GraphQL, and in RPC protocols, the message's fields stand for the path.
    fields = {name for field in entry.method.input.fields for name in (field.name, field.json_name)}
    for key, reads in (("when", _when_reads(auth.when)), ("tenant", _tenant_reads(auth.tenant))):
        for name in sorted(reads - variables - fields):
            close = nearest(name, variables) or nearest(name, fields)
            hint = f"did you mean `{close}`?" if close else _listed(variables)
            message = f"`path.{name}`: no path of this route has a variable `{name}`"
            find.add(entry.file, message, "routes", entry.index, "auth", key, hint=hint)


def _listed(known: Iterable[str]) -> str:
    names = ", ".join(sorted(known))
    return f"its variables: {names}" if names else "its paths have no variables"


def _when_reads(text: str | None) -> set[str]:
    if text is None or "path" not in text:
        return set()
    try:
        return compile_condition(text, RULE_NAMES).members_of("path")
    except ConditionError:
        # Told where the rule is compiled.
        return set()


def _tenant_reads(text: str | None) -> set[str]:
    if text is None:
        return set()
    try:
        reads = compile_expr(text, dict.fromkeys(RULE_NAMES, ANY)).reads
    except ExprError:
        return set()
    return {read[1] for read in reads if read[0] == "path" and len(read) > 1}
