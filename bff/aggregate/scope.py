"""What is known while a plan is built: names and their types, what joins attach to them, faults so far."""

from collections.abc import Iterable, Mapping

from bff.aggregate.plan import Attachment
from bff.aggregate.specs import Compile, PlanFault, RootType, Scalar, SourceSpec
from bff.core.expressions import ExprError, Expression, Origin
from bff.core.problems import did_you_mean
from bff.core.schema import Field, MessageType

__all__ = ["Scope", "leads_through"]


class Scope:
    """Names of sources and inputs with their types; `roots` grow by what joins attach."""

    def __init__(
        self,
        specs: Iterable[SourceSpec],
        inputs: Mapping[str, RootType],
        compile_expr: Compile,
    ) -> None:
        outputs = {spec.name: spec.output for spec in specs}
        self._compile_expr = compile_expr
        self.names = frozenset(outputs)
        self.roots: dict[str, RootType] = {**outputs, **inputs}
        self.attachments: list[Attachment] = []
        self.faults: list[PlanFault] = []

    def fault(self, path: str, message: str, hint: str = "", column: int = 1) -> None:
        """One more, at this key of the mapping."""
        self.faults.append(PlanFault(path, message, column, hint))

    def compile(self, path: str, source: Scalar) -> Expression | None:
        """An expression over the names there are; None and a fault if it is not sound."""
        try:
            return self._compile_expr(source, self.roots)
        except ExprError as error:
            self.fault(path, error.message, error.hint, error.column)
            return None

    def field(self, message: MessageType, name: str, path: str) -> Field | None:
        """The field of this name; None and a fault if there is none."""
        field = message.by_name.get(name)
        if field is None:
            hint = did_you_mean(name, [one.name for one in message.fields])
            self.fault(path, f"{message.full_name} has no field '{name}'", hint)
        return field

    def sources_read(self, expr: Expression) -> frozenset[str]:
        """The sources that an expression reads, by name or by what they attached to another one."""
        attached = {
            one.join
            for one in self.attachments
            if any(leads_through(path, one) for path in expr.reads)
        }
        return (expr.roots & self.names) | attached


def leads_through(path: Origin, attachment: Attachment) -> bool:
    """Does this path lead through what was attached?"""
    whole = (attachment.root, *attachment.path, attachment.name)
    return path[: len(whole)] == whole
