"""Rules that need more than one key and no descriptors; part of `load`."""

from bff.config.documents import Document
from bff.core.problems import Problem

__all__ = ["check"]


def check(document: Document) -> list[Problem]:
    """Every problem and warning of a document whose blocks are each valid."""
    return []  # the rules come with the next step
