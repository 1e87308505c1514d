"""Where the compiler notes what is wrong. It goes on after each, so that one run shows all."""

from typing import Protocol

from bff.core.problems import Problem

__all__ = ["Findings", "Located"]


class Located(Protocol):
    """A loaded document that can say where its values stand (`config.load.Placed`)."""

    def problem(
        self, message: str, *path: str | int, hint: str = "", code: str = "", column: int = 1
    ) -> Problem:
        """A problem at the value under `path`, or at a column of its text."""
        ...


class Findings:
    """Problems in the order they were found; an equal one is kept once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def add(
        self,
        placed: Located,
        message: str,
        *path: str | int,
        hint: str = "",
        code: str = "BFF-S001",
        column: int = 1,
    ) -> None:
        """Note a problem at a value of a document, or at a column of its text."""
        self.note(placed.problem(message, *path, hint=hint, code=code, column=column))

    def note(self, problem: Problem) -> None:
        """Note a problem that knows its own place."""
        if problem not in self.problems:
            self.problems.append(problem)

    def warn(self, problem: Problem) -> None:
        """Note what should be said out loud and stops nothing."""
        if problem not in self.warnings:
            self.warnings.append(problem)
