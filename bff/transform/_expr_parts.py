"""Compiled parts of an expression, and what is known of one that is made of others: shape, reads, needs."""

from itertools import pairwise

from msgspec import Struct

from bff.core.expressions import Origin
from bff.transform._expr_steps import Step, chain
from bff.transform.shapes import ANY, Shape, with_origin

__all__ = ["Node", "Taint", "chained", "common", "gathered", "projected", "said", "shape_below"]

# Paths that something depends on.
Taint = frozenset[Origin]
_NOTHING: Taint = frozenset()


class Node(Struct, kw_only=True):
    """A compiled part. `read` is what it reads beside its own result; `outs` are places and their reads."""

    step: Step
    shape: Shape
    read: Taint = _NOTHING
    needs: frozenset[str] = frozenset()
    parts: tuple[tuple[str, Taint], ...] = ()

    @property
    def taint(self) -> Taint:
        """Everything the result depends on."""
        return self.read | {self.shape.origin} if self.shape.origin else self.read

    @property
    def outs(self) -> tuple[tuple[str, Taint], ...]:
        """Places of the result and what each reads."""
        return self.parts or (("", self.taint),)


def said(node: Node) -> str:
    """What a fault calls this part: where it came from."""
    return ".".join(node.shape.origin) or "the value"


def common(left: Shape, right: Shape) -> Shape:
    """The shape of what may be either."""
    if left.kind == "null":
        return right
    if right.kind in {left.kind, "null"}:
        return left
    return ANY


def shape_below(shape: Shape, parent: Shape, name: str) -> Shape:
    """A shape that is read from its parent by this name."""
    return with_origin(shape, (*parent.origin, name)) if parent.origin else shape


def gathered(step: Step, parts: list[Node]) -> Node:
    """A node that reads all of its parts and needs what any of them needs."""
    return Node(
        step=step,
        shape=ANY,
        read=_NOTHING.union(*(part.taint for part in parts)),
        needs=frozenset().union(*(part.needs for part in parts)),
    )


def chained(links: list[Node]) -> Node:
    """Each link reads what the one before it gave."""
    read, needs = links[0].read, links[0].needs
    for left, right in pairwise(links):
        # A literal after a pipe shows nothing of its left, but still asked for it.
        read |= right.read if right.taint else left.taint
        needs |= right.needs if not left.shape.origin else frozenset()
    return Node(
        step=chain([link.step for link in links]),
        shape=links[-1].shape,
        read=read,
        needs=needs,
        parts=links[-1].parts,
    )


def projected(base: Node, right: Node, step: Step) -> Node:
    """A list of what `right` gives for each item of `base`."""
    whole = base.taint
    parts = (("", whole), *((f"[]{place}", taint) for place, taint in right.parts))
    item = right.shape
    return Node(
        step=step,
        shape=Shape(kind="list", item=item, origin=item.origin),
        # Items that show nothing of the list still say how long it is.
        read=base.read | (right.read if right.taint else whole),
        needs=base.needs,
        parts=parts if right.parts else (),
    )
