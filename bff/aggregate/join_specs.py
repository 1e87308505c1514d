"""From joins as written to Joins: where keys come from, where entities lie, what they are attached to."""

from collections.abc import Iterable

from bff.aggregate.plan import Attachment, Join
from bff.aggregate.scope import Scope
from bff.aggregate.specs import JoinSpec, SourceSpec
from bff.core.expressions import Expression
from bff.core.joining import attached_type, zero_key
from bff.core.schema import MessageType

__all__ = ["JoinMaker"]


class JoinMaker:
    """Makes the joins of one plan; what they attach changes the types of the scope's roots."""

    def __init__(self, scope: Scope, *, max_keys: int) -> None:
        self._scope = scope
        self._max_keys = max_keys

    def make(self, specs: Iterable[SourceSpec]) -> dict[str, Join]:
        """Joins by source. One may read what another attaches, so those that fail are tried again."""
        waiting = [spec for spec in specs if spec.join is not None]
        done: dict[str, Join] = {}
        while waiting:
            before = len(self._scope.faults)
            failed = []
            for spec in waiting:
                assert spec.join is not None
                made = self._join(spec, spec.join)
                if made is None:
                    failed.append(spec)
                else:
                    done[spec.name] = made
            if len(failed) == len(waiting):
                return done
            waiting = failed
            del self._scope.faults[before:]
        return done

    def _join(self, spec: SourceSpec, join: JoinSpec) -> Join | None:
        path = f"sources.{spec.name}.join"
        before = len(self._scope.faults)
        keys = self._scope.compile(f"{path}.keys", join.keys)
        into = self._scope.field(spec.input, join.into, f"{path}.into")
        entity, entities = self._entities(spec, join, path)
        key = None
        if join.match == "key" and entities and entity is not None:
            key = self._scope.field(entity, join.entity_key, f"{path}.entity_key")
        if keys is None or into is None or len(self._scope.faults) > before:
            return None
        many = join.mode == "many"
        if join.attach:
            self._attach(spec.name, keys, join.attach, entity or spec.output, many, f"{path}.as")
        if len(self._scope.faults) > before:
            return None
        return Join(
            keys=keys,
            into=into.json_name,
            batch=into.repeated,
            entities=entities,
            entity_key=key.json_name if key else "",
            zero=zero_key(into),
            index=join.match == "index",
            many=many,
            max_batch=join.max_batch,
            parallel=join.parallel or (4 if into.repeated else 8),
            max_keys=self._max_keys,
        )

    def _entities(
        self, spec: SourceSpec, join: JoinSpec, path: str
    ) -> tuple[MessageType | None, tuple[str, ...]]:
        if not join.entities:
            return spec.output, ()
        names, message = [], spec.output
        for name in join.entities.split("."):
            field = self._scope.field(message, name, f"{path}.entities")
            if field is None:
                return None, ()
            if field.message is None:
                self._scope.fault(
                    f"{path}.entities", f"{message.full_name}.{name} holds no messages"
                )
                return None, ()
            names.append(field.json_name)
            message = field.message
        return message, tuple(names)

    def _attach(
        self, name: str, keys: Expression, attach: str, entity: MessageType, many: bool, path: str
    ) -> None:
        where = keys.path
        if where is None or where[0] not in self._scope.names or len(where) < 2:
            hint = "write keys as a path such as orders.orders[].id"
            self._scope.fault(
                path, "only a plain path into a source has objects to attach to", hint
            )
            return
        root, holder, key = where[0], where[1:-1], where[-1]
        try:
            self._scope.roots[root] = attached_type(
                self._scope.roots[root], holder, attach, entity, many=many
            )
        except ValueError as error:
            self._scope.fault(path, str(error))
            return
        self._scope.attachments.append(
            Attachment(join=name, root=root, path=holder, key=key, name=attach)
        )
