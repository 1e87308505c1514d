"""The evaluator of the package `cel`, without the rest of it.

The package's `__init__` imports its command line, and with it prompt_toolkit, wcwidth and pygments:
0.25 s of CPU at each start of a gateway that never shows a prompt. What conditions need is one
extension module, so that alone is loaded, from where the package lies.
"""

from collections.abc import Mapping, Sequence
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any, Protocol

__all__ = ["Program", "compile_text", "evaluate_text"]

_PACKAGE = "cel"
_EXTENSION = "cel.cel"


class Program(Protocol):
    """A compiled expression."""

    def execute(self, context: Mapping[str, Any] | None = None) -> Any:
        """Its value over root name -> tree. Raises built-in exceptions for values that do not fit."""
        ...

    def variables(self) -> Sequence[str]:
        """The root names that it reads."""
        ...


def _extension() -> Any:
    package = find_spec(_PACKAGE)
    places = package.submodule_search_locations if package is not None else None
    spec = PathFinder.find_spec(_EXTENSION, places)
    if places is None or spec is None or spec.loader is None:
        raise ModuleNotFoundError("no module named 'cel.cel'", name=_EXTENSION)
    extension = module_from_spec(spec)
    spec.loader.exec_module(extension)
    return extension


_CEL = _extension()


def compile_text(text: str) -> Program:
    """Compile an expression. Raises built-in exceptions, ValueError above all, where it is none."""
    program: Program = _CEL.compile(text)
    return program


def evaluate_text(text: str) -> Any:
    """The value of an expression that reads no names. Raises as `compile_text`."""
    return _CEL.evaluate(text)
